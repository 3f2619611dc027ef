//! The network between client and exchange: connections keep their order, requests do not, both lose what the faults say.

use super::Who;
use crate::binance::proto::{Action, Auth, HttpRequest, LinkId, PeerId, ReplyHeaders, RequestId, ServerOut};
use crate::sim::faults::{Chance, Fate, NetFaults, Trouble};
use crate::time::{Span, Ts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is on its way, or happens by itself.
#[derive(Debug)]
pub(super) enum Parcel {
    Open { peer: PeerId, path: String, query: String },
    Text { peer: PeerId, text: String },
    Closed { peer: PeerId },
    Request { peer: PeerId, method: &'static str, path: &'static str, query: String, api_key: Option<String> },
    Up { peer: PeerId },
    Down { peer: PeerId, reason: String },
    Frame { peer: PeerId, text: Arc<str> },
    Written { peer: PeerId },
    Reply { peer: PeerId, status: u16, headers: ReplyHeaders, body: String },
    Failed { peer: PeerId, timed_out: bool },
    Trouble(Trouble),
}

#[derive(Debug)]
struct Connection {
    who: Who,
    link: LinkId,
    /// Nothing of it arrives any more; the end itself will be told.
    broken: bool,
    /// Frames to the client vanish.
    muted: bool,
    /// Last arrival each way: a connection keeps its order.
    to_server: Ts,
    to_client: Ts,
}

#[derive(Debug)]
struct Call {
    who: Who,
    id: RequestId,
    written: bool,
    /// The answer is lost, or late.
    answer: Option<Span>,
}

#[derive(Debug)]
pub(super) struct Wire {
    chance: Chance,
    latency: Span,
    keys: Vec<String>,
    agenda: BTreeMap<(Ts, u64), Parcel>,
    parcels: u64,
    peers: u64,
    connections: BTreeMap<PeerId, Connection>,
    calls: BTreeMap<PeerId, Call>,
    outage_until: Ts,
}

impl Wire {
    pub fn new(chance: Chance, latency: Span, keys: Vec<String>) -> Wire {
        Wire {
            chance,
            latency,
            keys,
            agenda: BTreeMap::new(),
            parcels: 0,
            peers: 0,
            connections: BTreeMap::new(),
            calls: BTreeMap::new(),
            outage_until: Ts::ZERO,
        }
    }

    pub fn set_faults(&mut self, faults: NetFaults, now: Ts) {
        self.chance.faults = faults;
        self.outage_until = now;
        let muted: Vec<PeerId> = self.connections.iter().filter(|(_, c)| c.muted).map(|(peer, _)| *peer).collect();
        muted.into_iter().for_each(|peer| self.break_connection(peer, now));
    }

    pub fn next(&self) -> Option<Ts> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn pop(&mut self) -> Option<Parcel> {
        self.agenda.pop_first().map(|(_, parcel)| parcel)
    }

    pub fn stall(&mut self) -> Span {
        self.chance.length(self.chance.faults.stall_max)
    }

    /// Whether a kind of trouble is switched on.
    pub fn is_on(&self, trouble: Trouble) -> bool {
        self.chance.mean(trouble).is_some()
    }

    /// Plans the next trouble of a kind, from here on.
    pub fn plan(&mut self, trouble: Trouble, now: Ts) {
        if let Some(pause) = self.chance.next(trouble) {
            self.schedule(now.plus(pause), Parcel::Trouble(trouble));
        }
    }

    pub fn trouble(&mut self, trouble: Trouble, now: Ts) {
        if trouble == Trouble::Outage {
            self.outage_until = now.plus(self.chance.length(self.chance.faults.outage_max));
            let all: Vec<PeerId> = self.connections.keys().copied().collect();
            return all.into_iter().for_each(|peer| self.break_connection(peer, now));
        }
        let live: Vec<PeerId> = self.connections.iter().filter(|(_, c)| !c.broken).map(|(peer, _)| *peer).collect();
        let at = self.chance.pick(trouble, live.len());
        let Some(&peer) = live.get(at) else { return };
        match trouble {
            Trouble::LoseLink => self.break_connection(peer, now),
            _ => {
                if let Some(connection) = self.connections.get_mut(&peer) {
                    connection.muted = true;
                }
                // Nobody hears anything, not even a pong: the shell gives the connection up in the end.
                let reason = "nothing received, not even a pong".to_owned();
                self.schedule(now.plus(SHELL_PATIENCE), Parcel::Down { peer, reason });
            }
        }
    }

    fn break_connection(&mut self, peer: PeerId, now: Ts) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        if std::mem::replace(&mut connection.broken, true) {
            return;
        }
        let (here, there) = (self.chance.length(NOTICED_WITHIN), self.chance.length(NOTICED_WITHIN));
        self.schedule(now.plus(here), Parcel::Down { peer, reason: "connection reset".to_owned() });
        self.schedule(now.plus(there), Parcel::Closed { peer });
    }

    fn schedule(&mut self, at: Ts, parcel: Parcel) {
        self.parcels += 1;
        self.agenda.insert((at, self.parcels), parcel);
    }

    fn way(&mut self) -> Span {
        Span::from_nanos(self.latency.nanos() + self.chance.jitter().nanos())
    }

    fn send_up(&mut self, peer: PeerId, parcel: Parcel, now: Ts) {
        let way = self.way();
        let Some(connection) = self.connections.get_mut(&peer).filter(|c| !c.broken) else { return };
        connection.to_server = connection.to_server.max(now.plus(way));
        let at = connection.to_server;
        self.schedule(at, parcel);
    }

    fn send_down(&mut self, peer: PeerId, parcel: Parcel, now: Ts) {
        let way = self.way();
        let Some(connection) = self.connections.get_mut(&peer).filter(|c| !c.broken) else { return };
        connection.to_client = connection.to_client.max(now.plus(way));
        let at = connection.to_client;
        self.schedule(at, parcel);
    }

    /// What a session wants of its shell.
    pub fn of_client(&mut self, who: Who, action: Action, now: Ts) {
        match action {
            Action::Connect { link, url } => self.connect(who, link, &url, now),
            Action::Close { link } => self.close(who, link, now),
            Action::Send { link, text } => {
                if let Some(peer) = self.peer(who, link) {
                    self.send_up(peer, Parcel::Text { peer, text }, now);
                }
            }
            Action::Http(request) => self.request(who, request, now),
            // Not the network's.
            Action::Offer(_) | Action::Note(_) | Action::LearnDefinitions => {}
        }
    }

    fn peer(&self, who: Who, link: LinkId) -> Option<PeerId> {
        self.connections.iter().find(|(_, c)| (c.who, c.link) == (who, link)).map(|(peer, _)| *peer)
    }

    fn close(&mut self, who: Who, link: LinkId, now: Ts) {
        if let Some(peer) = self.peer(who, link) {
            self.send_up(peer, Parcel::Closed { peer }, now);
            self.connections.remove(&peer);
        }
    }

    fn connect(&mut self, who: Who, link: LinkId, url: &str, now: Ts) {
        self.close(who, link, now);
        self.peers += 1;
        let peer = PeerId(self.peers);
        let connection = Connection { who, link, broken: false, muted: false, to_server: now, to_client: now };
        self.connections.insert(peer, connection);
        if now < self.outage_until {
            let reason = "connection refused".to_owned();
            return self.send_down(peer, Parcel::Down { peer, reason }, now);
        }
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let target = rest.find('/').map_or("/", |at| &rest[at..]);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parcel = Parcel::Open { peer, path: path.to_owned(), query: query.to_owned() };
        self.send_up(peer, parcel, now);
    }

    fn request(&mut self, who: Who, request: HttpRequest, now: Ts) {
        self.peers += 1;
        let peer = PeerId(self.peers);
        let HttpRequest { id, method, path, query, auth, timeout, urgent: _ } = request;
        let fate = if now < self.outage_until { Fate::NotSent } else { self.chance.request() };
        let answer = match fate {
            Fate::Through => Some(Span::ZERO),
            Fate::AnswerLate(late) => Some(late),
            _ => None,
        };
        self.calls.insert(peer, Call { who, id, written: false, answer });
        self.schedule(now.plus(timeout), Parcel::Failed { peer, timed_out: true });
        let there_and_back = Span::from_nanos(self.way().nanos() + self.way().nanos());
        if fate == Fate::NotSent {
            return self.schedule(now.plus(there_and_back), Parcel::Failed { peer, timed_out: false });
        }
        self.schedule(now, Parcel::Written { peer });
        let arrives = !matches!(fate, Fate::Lost | Fate::Limited | Fate::Unavailable(false));
        if arrives {
            let api_key = match (auth, who) {
                (Auth::None, _) | (_, Who::Market) => None,
                (_, Who::Account(at)) => self.keys.get(at).cloned(),
            };
            let way = self.way();
            let parcel = Parcel::Request { peer, method: method.as_str(), path, query, api_key };
            self.schedule(now.plus(way), parcel);
        }
        let reply = |status, retry_after, body: &str| Parcel::Reply {
            peer,
            status,
            headers: ReplyHeaders { retry_after, ..ReplyHeaders::default() },
            body: body.to_owned(),
        };
        let back = now.plus(there_and_back);
        match fate {
            // Half of what is lost is noticed at once, half only by waiting.
            Fate::Lost | Fate::AnswerLost if self.peers.is_multiple_of(2) => {
                self.schedule(back, Parcel::Failed { peer, timed_out: false });
            }
            Fate::Limited => self
                .schedule(back, reply(429, Some(Span::from_secs(2)), r#"{"code":-1003,"msg":"Too many requests."}"#)),
            Fate::Unavailable(_) => self.schedule(
                back,
                reply(503, None, r#"{"msg":"Unknown error, please check your request or try again later."}"#),
            ),
            _ => {}
        }
    }

    /// What the exchange wants of its shell.
    pub fn of_server(&mut self, out: ServerOut, now: Ts) {
        match out {
            ServerOut::Accept { peer } => self.send_down(peer, Parcel::Up { peer }, now),
            ServerOut::Refuse { peer, status, body } => {
                let reason = format!("refused with HTTP status {status}: {body}");
                self.send_down(peer, Parcel::Down { peer, reason }, now);
            }
            ServerOut::Send { peer, text } => {
                if self.connections.get(&peer).is_none_or(|c| c.muted || c.broken) {
                    return;
                }
                for _ in 0..self.chance.frame() {
                    self.send_down(peer, Parcel::Frame { peer, text: text.clone() }, now);
                }
            }
            ServerOut::Close { peer } => {
                self.send_down(peer, Parcel::Down { peer, reason: "closed by the exchange".to_owned() }, now);
            }
            ServerOut::Reply { peer, status, headers, body } => {
                let Some(late) = self.calls.get(&peer).and_then(|call| call.answer) else { return };
                let way = self.way();
                self.schedule(now.plus(way).plus(late), Parcel::Reply { peer, status, headers, body });
            }
        }
    }

    /// The session's link of a connection that still counts.
    pub fn owner(&self, peer: PeerId) -> Option<(Who, LinkId)> {
        self.connections.get(&peer).filter(|c| !c.broken).map(|c| (c.who, c.link))
    }

    pub fn opened(&mut self, peer: PeerId) -> Option<(Who, LinkId)> {
        self.owner(peer)
    }

    pub fn ended(&mut self, peer: PeerId) -> Option<(Who, LinkId)> {
        self.connections.remove(&peer).map(|c| (c.who, c.link))
    }

    pub fn written(&mut self, peer: PeerId) -> Option<(Who, RequestId)> {
        let call = self.calls.get_mut(&peer)?;
        call.written = true;
        Some((call.who, call.id))
    }

    pub fn answered(&mut self, peer: PeerId) -> Option<(Who, RequestId)> {
        self.calls.remove(&peer).map(|call| (call.who, call.id))
    }

    pub fn failed(&mut self, peer: PeerId) -> Option<(Who, RequestId, bool)> {
        self.calls.remove(&peer).map(|call| (call.who, call.id, call.written))
    }
}

/// A connection without a word, no pong either, is given up by the shell after this time.
const SHELL_PATIENCE: Span = Span::from_secs(25);
/// How long either side may take to notice a lost connection.
const NOTICED_WITHIN: Span = Span::from_secs(2);
