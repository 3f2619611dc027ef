//! Subscriptions: every stream only on its own route, as the exchange has it since April 2026.
//!
//! The old path without a route still accepts and acknowledges everything, but delivers nothing that belongs to `/market`: the
//! same silent failure as at the exchange. So does a stream that is asked for on a wrong route.

use crate::binance::decode::market::interval_word;
use crate::binance::encode::percent_decode;
use crate::binance::proto::PeerId;
use crate::id::AccountIx;
use crate::instrument::Instrument;
use crate::market::{MarketEvent, MarketInput};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The route that a connection came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/public`.
    Public,
    /// `/market`.
    Market,
    /// `/private`.
    Private,
    /// The retired path without a route.
    Unrouted,
}

/// What a path and query ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The route.
    pub route: Route,
    /// Whether frames are wrapped as `{"stream":…,"data":…}`.
    pub combined: bool,
    /// Streams named in the URL.
    pub names: Vec<String>,
    /// For the private route.
    pub listen_key: Option<String>,
}

#[derive(Debug)]
struct Peer {
    route: Route,
    combined: bool,
    names: BTreeSet<String>,
    account: Option<AccountIx>,
    key: String,
}

/// All open connections.
#[derive(Debug, Default)]
pub struct Streams {
    peers: BTreeMap<PeerId, Peer>,
    by_name: BTreeMap<String, BTreeSet<PeerId>>,
}

/// Streams on one connection at most.
const STREAMS_MAX: usize = 1024;

/// Reads the path and query of a WebSocket.
pub fn target(path: &str, query: &str) -> Option<Target> {
    let (route, rest) = if let Some(rest) = path.strip_prefix("/public") {
        (Route::Public, rest)
    } else if let Some(rest) = path.strip_prefix("/market") {
        (Route::Market, rest)
    } else if let Some(rest) = path.strip_prefix("/private") {
        (Route::Private, rest)
    } else {
        (Route::Unrouted, path)
    };
    let value = |name: &str| {
        let raw = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        percent_decode(raw)
    };
    let (combined, named) = match rest {
        "/stream" => (true, value("streams").unwrap_or_default()),
        "/ws" => (false, String::new()),
        _ => (false, percent_decode(rest.strip_prefix("/ws/")?)?),
    };
    let listen_key = if route == Route::Private { value("listenKey").or(Some(named.clone())) } else { None };
    let names = if route == Route::Private { Vec::new() } else { split(&named) };
    Some(Target { route, combined, names, listen_key: listen_key.filter(|key| !key.is_empty()) })
}

fn split(names: &str) -> Vec<String> {
    names.split('/').filter(|n| !n.is_empty()).take(STREAMS_MAX).map(str::to_owned).collect()
}

/// The route on which a stream is delivered.
fn home(name: &str) -> Route {
    let kind = name.split_once('@').map_or(name, |(_, kind)| kind);
    let public = ["depth", "bookTicker", "trade", "rpiDepth"];
    let is = |word: &str| {
        kind == word
            || kind
                .strip_prefix(word)
                .is_some_and(|r| r.starts_with('@') || r.starts_with(|c: char| c.is_ascii_digit()))
    };
    if public.into_iter().any(is) || name == "!bookTicker" { Route::Public } else { Route::Market }
}

impl Streams {
    /// A connection was accepted.
    pub fn open(&mut self, peer: PeerId, target: Target, account: Option<AccountIx>) {
        let Target { route, combined, names, listen_key } = target;
        let key = listen_key.unwrap_or_default();
        self.peers.insert(peer, Peer { route, combined, names: BTreeSet::new(), account, key });
        for name in names {
            self.subscribe(peer, name);
        }
    }

    /// A connection is gone.
    pub fn close(&mut self, peer: PeerId) {
        if let Some(gone) = self.peers.remove(&peer) {
            for name in gone.names {
                self.forget(peer, &name);
            }
        }
    }

    fn subscribe(&mut self, peer: PeerId, name: String) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        if state.names.len() >= STREAMS_MAX {
            return false;
        }
        // Acknowledged wherever it is asked for, delivered only where it belongs.
        let delivered = match state.route {
            Route::Unrouted => home(&name) == Route::Public,
            route => home(&name) == route,
        };
        state.names.insert(name.clone());
        if delivered {
            self.by_name.entry(name).or_default().insert(peer);
        }
        true
    }

    fn forget(&mut self, peer: PeerId, name: &str) {
        if let Some(peers) = self.by_name.get_mut(name) {
            peers.remove(&peer);
            if peers.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// Who receives a market event: peer, stream name, wrapped or not.
    pub fn subscribers(&self, event: &MarketInput, instrument: &Instrument) -> Vec<(PeerId, String, bool)> {
        let symbol = instrument.name.to_lowercase();
        let names = match &event.event {
            MarketEvent::Quote(_) => vec![format!("{symbol}@bookTicker")],
            MarketEvent::Trade(_) => vec![format!("{symbol}@trade")],
            MarketEvent::AggTrade(_) => vec![format!("{symbol}@aggTrade")],
            MarketEvent::Mark(_) => vec![format!("{symbol}@markPrice"), format!("{symbol}@markPrice@1s")],
            MarketEvent::BookDelta(_) => {
                ["", "@0ms", "@100ms", "@250ms", "@500ms"].map(|speed| format!("{symbol}@depth{speed}")).to_vec()
            }
            MarketEvent::Candle(candle) => match interval_word(candle.interval) {
                Some(word) => vec![format!("{symbol}@kline_{word}")],
                None => Vec::new(),
            },
            MarketEvent::BookReset(_) | MarketEvent::BookGap => Vec::new(),
        };
        let mut found = Vec::new();
        for name in names {
            for peer in self.by_name.get(&name).into_iter().flatten() {
                let combined = self.peers.get(peer).is_some_and(|p| p.combined);
                found.push((*peer, name.clone(), combined));
            }
        }
        found
    }

    /// The user streams of an account: peer, listen key, wrapped or not.
    pub fn private(&self, account: AccountIx) -> Vec<(PeerId, String, bool)> {
        let mine = self.peers.iter().filter(|(_, p)| p.account == Some(account));
        mine.map(|(id, p)| (*id, p.key.clone(), p.combined)).collect()
    }

    /// A text frame of a client; the answer to it.
    pub fn text(&mut self, peer: PeerId, text: &str) -> Option<String> {
        let error = |id: Value, code: i32, msg: &str| {
            Some(json!({ "error": { "code": code, "msg": msg }, "id": id }).to_string())
        };
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return error(Value::Null, 3, "Invalid JSON: expected value");
        };
        let id = message.get("id").cloned().unwrap_or(Value::Null);
        let params = || -> Option<Vec<String>> {
            message.get("params")?.as_array()?.iter().map(|p| p.as_str().map(str::to_owned)).collect()
        };
        match message.get("method").and_then(Value::as_str) {
            Some("SUBSCRIBE") => match params() {
                Some(names) => {
                    let all = names.into_iter().all(|name| self.subscribe(peer, name));
                    if all {
                        Some(json!({ "result": null, "id": id }).to_string())
                    } else {
                        error(id, 1, "too many streams")
                    }
                }
                None => error(id, 2, "Invalid request: params must be a list of stream names"),
            },
            Some("UNSUBSCRIBE") => match params() {
                Some(names) => {
                    for name in names {
                        self.forget(peer, &name);
                        if let Some(state) = self.peers.get_mut(&peer) {
                            state.names.remove(&name);
                        }
                    }
                    Some(json!({ "result": null, "id": id }).to_string())
                }
                None => error(id, 2, "Invalid request: params must be a list of stream names"),
            },
            Some("LIST_SUBSCRIPTIONS") => {
                let names: Vec<&String> = self.peers.get(&peer).map(|p| p.names.iter().collect()).unwrap_or_default();
                Some(json!({ "result": names, "id": id }).to_string())
            }
            _ => error(id, 2, "Invalid request: unknown method"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_delivered_on_their_own_route_only() {
        for (name, route) in [
            ("btcusdt@depth@100ms", Route::Public),
            ("btcusdt@depth5@100ms", Route::Public),
            ("btcusdt@bookTicker", Route::Public),
            ("btcusdt@trade", Route::Public),
            ("!bookTicker", Route::Public),
            ("btcusdt@aggTrade", Route::Market),
            ("btcusdt@markPrice@1s", Route::Market),
            ("btcusdt@kline_1m", Route::Market),
            ("!markPrice@arr", Route::Market),
            ("tradingSession", Route::Market),
        ] {
            assert_eq!(home(name), route, "{name}");
        }
        let mut streams = Streams::default();
        let target = target("/stream", "streams=btcusdt@kline_1m/btcusdt@trade").expect("a target");
        assert_eq!(target.route, Route::Unrouted);
        streams.open(PeerId(1), target, None);
        assert!(!streams.by_name.contains_key("btcusdt@kline_1m") && streams.by_name.contains_key("btcusdt@trade"));
        let list = streams.text(PeerId(1), r#"{"method":"LIST_SUBSCRIPTIONS","id":3}"#).expect("an answer");
        assert!(list.contains("kline_1m"), "acknowledged, though never delivered: {list}");
    }

    #[test]
    fn both_forms_of_the_private_path_carry_the_key() {
        for (path, query) in
            [("/private/ws", "listenKey=abc"), ("/private/ws/abc", ""), ("/private/stream", "listenKey=abc&events=X")]
        {
            assert_eq!(target(path, query).expect("a target").listen_key.as_deref(), Some("abc"), "{path}?{query}");
        }
        assert!(target("/elsewhere", "").is_none());
    }

    #[test]
    fn nonsense_is_answered_with_an_error() {
        let mut streams = Streams::default();
        for text in [
            "",
            "{",
            "[]",
            "1",
            r#"{"method":"SUBSCRIBE"}"#,
            r#"{"method":"SUBSCRIBE","params":[1]}"#,
            r#"{"method":"X","id":1}"#,
        ] {
            assert!(streams.text(PeerId(9), text).expect("an answer").contains("error"), "{text}");
        }
    }
}
