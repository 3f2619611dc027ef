//! The market session: public streams of a group of symbols.
//!
//! Two links, because streams are routed: `/public` (depth, bookTicker, trade) and `/market` (aggTrade, markPrice, kline).
//! Streams are named in the URL, so nothing can be subscribed to by halves. Out come [`Input::Market`] and [`Input::Stream`]:
//! a symbol is *up* when both links are open and its book is bridged.
//! Files: `depth` asks for snapshots and joins the diffs to them ([`Bridge`]), `silence` holds each stream against its bound.

use super::link::{Link, LinkDue};
use super::{Session, World, note};
use crate::binance::bridge::Bridge;
use crate::binance::decode::{self, Frame};
use crate::binance::encode::percent_encode;
use crate::binance::limits::WeightLimit;
use crate::binance::proto::{Action, Auth, HttpRequest, Incoming, LinkId, Method, ReplyHeaders, RequestId};
use crate::event::{Input, StreamFault, StreamState};
use crate::id::SymbolIx;
use crate::market::{MarketEvent, MarketInput};
use crate::time::{Span, Ts};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use silence::{Heard, Watched};
use std::cell::RefCell;
use std::rc::Rc;

mod depth;
mod silence;
#[cfg(test)]
mod tests;

/// What a market session watches.
#[derive(Debug, Clone)]
pub struct MarketOptions {
    /// Base of the public route, e.g. `wss://fstream.binance.com/public`.
    pub ws_public_url: String,
    /// Base of the market route, e.g. `wss://fstream.binance.com/market`.
    pub ws_market_url: String,
    /// The symbols.
    pub symbols: Vec<SymbolIx>,
    /// Symbols of which only the mark price is wanted, to value what is paid in their base asset. Nothing depends on them: they are
    /// never up or down, and their silence is no fault.
    pub marks_only: Vec<SymbolIx>,
    /// Depth speed: 100, 250 or 500 ms.
    pub depth_millis: u32,
    /// `aggTrade` of the market route in place of `trade` of the public one.
    pub aggregate_trades: bool,
    /// Kline intervals (the exchange's words, `1m` …) to subscribe to.
    pub kline_intervals: Vec<String>,
    /// A stream that says nothing for this long is silent: depth, quotes and mark prices.
    pub silence: Span,
    /// The same for trades and klines, which only speak when somebody trades.
    pub silence_trades: Span,
    /// Seed of the jitter.
    pub seed: u64,
}

const PUBLIC: LinkId = LinkId(0);
const MARKET: LinkId = LinkId(1);

#[derive(Debug)]
struct Symbol {
    symbol: SymbolIx,
    bridge: Bridge,
    /// The snapshot that is on its way.
    asked: Option<RequestId>,
    /// Not asked for again before.
    ask_at: Ts,
    heard: Heard,
    up: bool,
}

/// What a session counted: for metrics and for comparison with the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames by kind.
    pub quotes: u64,
    /// Trades.
    pub trades: u64,
    /// Aggregate trades.
    pub agg_trades: u64,
    /// Depth diffs, passed on or not.
    pub depth: u64,
    /// Mark prices.
    pub marks: u64,
    /// Klines.
    pub klines: u64,
    /// Kinds that are known and not used.
    pub unused: u64,
    /// Kinds that are not known.
    pub unknown: u64,
    /// Frames that could not be read.
    pub malformed: u64,
}

/// The session. See the module's text.
#[derive(Debug)]
pub struct MarketSession {
    options: MarketOptions,
    weight: Rc<RefCell<WeightLimit>>,
    links: [Link; 2],
    symbols: Vec<Symbol>,
    /// How long klines may be silent; `None` without any.
    kline_silence: Option<Span>,
    next_request: u64,
    counts: FrameCounts,
}

impl MarketSession {
    /// A session that waits for [`Session::start`]. `weight` is shared by all sessions of the address.
    pub fn new(options: MarketOptions, weight: Rc<RefCell<WeightLimit>>) -> MarketSession {
        let dice = |salt| ChaCha8Rng::seed_from_u64(options.seed ^ salt);
        let links = [Link::new(PUBLIC, dice(0x7075_626c)), Link::new(MARKET, dice(0x6d61_726b))];
        let fresh = |symbol: &SymbolIx| Symbol {
            symbol: *symbol,
            bridge: Bridge::default(),
            asked: None,
            ask_at: Ts::ZERO,
            heard: Heard::default(),
            up: false,
        };
        let symbols = options.symbols.iter().map(fresh).collect();
        let kline_silence = silence::kline_silence(&options);
        MarketSession {
            options,
            weight,
            links,
            symbols,
            kline_silence,
            next_request: 0,
            counts: FrameCounts::default(),
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> FrameCounts {
        self.counts
    }

    /// Whether every symbol is up.
    pub fn is_up(&self) -> bool {
        self.symbols.iter().all(|s| s.up)
    }

    /// Starts a symbol's book over: something between here and the engine was lost.
    pub fn resync(&mut self, symbol: SymbolIx, world: &World<'_>, out: &mut Vec<Action>) {
        if let Some(at) = self.symbols.iter().position(|s| s.symbol == symbol) {
            self.void_book(at, world.now, out);
            self.symbol_down(at, StreamFault::Overflow, out);
        }
    }

    fn connect(&mut self, link: LinkId, world: &World<'_>, out: &mut Vec<Action>) {
        let mut streams = Vec::new();
        for state in &self.symbols {
            let Some(instrument) = world.universe.instrument(state.symbol) else { continue };
            let name = instrument.name.to_lowercase();
            if link == PUBLIC {
                streams.push(format!("{name}@depth@{}ms", self.options.depth_millis));
                streams.push(format!("{name}@bookTicker"));
            }
            if link == Watched::Trade.carrier(&self.options) {
                streams.push(format!("{name}@{}", if self.options.aggregate_trades { "aggTrade" } else { "trade" }));
            }
            if link == MARKET {
                streams.push(format!("{name}@markPrice@1s"));
                streams.extend(self.options.kline_intervals.iter().map(|i| format!("{name}@kline_{i}")));
            }
        }
        let marks = self.options.marks_only.iter().filter(|_| link != PUBLIC);
        let marks = marks.filter_map(|symbol| world.universe.instrument(*symbol));
        streams.extend(marks.map(|instrument| format!("{}@markPrice@1s", instrument.name.to_lowercase())));
        let base = if link == PUBLIC { &self.options.ws_public_url } else { &self.options.ws_market_url };
        // Stream names keep their `@` and `/`; only letters outside ASCII are encoded.
        let names: Vec<String> = streams.iter().map(|s| encode_stream(s)).collect();
        let url = format!("{}/stream?streams={}", base.trim_end_matches('/'), names.join("/"));
        self.links[link.0 as usize].connecting(world.now);
        out.push(Action::Connect { link, url });
    }

    fn link_down(&mut self, link: LinkId, fault: StreamFault, world: &World<'_>, out: &mut Vec<Action>) {
        let Some(state) = self.links.get_mut(link.0 as usize) else { return };
        state.down(world.now);
        for at in 0..self.symbols.len() {
            self.symbol_down(at, fault, out);
            if link == PUBLIC {
                self.void_book(at, world.now, out);
            }
        }
    }

    fn symbol_down(&mut self, at: usize, fault: StreamFault, out: &mut Vec<Action>) {
        let symbol = &mut self.symbols[at];
        if std::mem::take(&mut symbol.up) {
            out.push(Action::Offer(Input::Stream(StreamState::MarketDown(symbol.symbol, fault))));
        }
    }

    /// Tells that a symbol is up once both links are open and its book is bridged.
    fn maybe_up(&mut self, at: usize, out: &mut Vec<Action>) {
        let open = self.links.iter().all(Link::is_up);
        let symbol = &mut self.symbols[at];
        if open && !symbol.up && symbol.bridge.is_live() && !symbol.heard.is_silent() {
            symbol.up = true;
            out.push(Action::Offer(Input::Stream(StreamState::MarketUp(symbol.symbol))));
        }
    }

    fn link_up(&mut self, link: LinkId, now: Ts, out: &mut Vec<Action>) {
        let Some(state) = self.links.get_mut(link.0 as usize) else { return };
        if !state.up(now) {
            return;
        }
        for at in 0..self.symbols.len() {
            self.symbols[at].heard.opened(link, &self.options, now);
            self.maybe_up(at, out);
        }
    }

    fn frame(&mut self, bytes: &[u8], world: &World<'_>, out: &mut Vec<Action>) {
        match decode::decode_frame(bytes, world.universe, None, world.now) {
            Ok(Frame::Market(input)) => self.market(input, world, out),
            Ok(Frame::Unused(_)) => self.counts.unused += 1,
            Ok(Frame::Unknown(kind)) => {
                self.counts.unknown += 1;
                note(out, "frame_unknown", format!("unknown kind of message `{kind}`"), bytes);
            }
            Ok(_) => {
                self.counts.unused += 1;
            }
            Err(error) => {
                self.counts.malformed += 1;
                note(out, "frame_malformed", error, bytes);
            }
        }
    }

    fn market(&mut self, input: MarketInput, world: &World<'_>, out: &mut Vec<Action>) {
        let counts = &mut self.counts;
        let (count, watched) = match &input.event {
            MarketEvent::Quote(_) => (&mut counts.quotes, Some(Watched::Quote)),
            MarketEvent::Trade(_) => (&mut counts.trades, Some(Watched::Trade)),
            MarketEvent::AggTrade(_) => (&mut counts.agg_trades, Some(Watched::Trade)),
            MarketEvent::Mark(_) => (&mut counts.marks, Some(Watched::Mark)),
            MarketEvent::Candle(_) => (&mut counts.klines, Some(Watched::Kline)),
            MarketEvent::BookDelta(_) => (&mut counts.depth, Some(Watched::Depth)),
            MarketEvent::BookReset(_) | MarketEvent::BookGap => (&mut counts.unused, None),
        };
        *count += 1;
        // A stream that we did not ask for has no place here.
        let Some(at) = self.symbols.iter().position(|s| s.symbol == input.symbol) else {
            if matches!(input.event, MarketEvent::Mark(_)) && self.options.marks_only.contains(&input.symbol) {
                out.push(Action::Offer(Input::Market(input)));
            }
            return;
        };
        if let Some(watched) = watched
            && self.symbols[at].heard.at(watched, world.now)
        {
            self.maybe_up(at, out);
        }
        if matches!(input.event, MarketEvent::BookDelta(_)) {
            self.diff(at, input, world, out);
        } else {
            out.push(Action::Offer(Input::Market(input)));
        }
    }
}

fn encode_stream(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c == '@' || c == '!' {
            out.push(c);
        } else {
            percent_encode(&mut out, c.encode_utf8(&mut [0; 4]));
        }
    }
    out
}

impl Session for MarketSession {
    fn start(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        self.connect(PUBLIC, world, out);
        self.connect(MARKET, world, out);
    }

    fn handle(&mut self, incoming: Incoming<'_>, world: &World<'_>, out: &mut Vec<Action>) {
        match incoming {
            Incoming::Frame { bytes, .. } => self.frame(bytes, world, out),
            Incoming::LinkUp(link) => self.link_up(link, world.now, out),
            Incoming::LinkDown { link, reason } => {
                note(out, "link_down", format!("market link {}: {reason}", link.0), &[]);
                self.link_down(link, StreamFault::LinkLost, world, out);
            }
            Incoming::Reply { id, status, headers, body } => self.reply(id, status, &headers, body, world, out),
            Incoming::Failed { id, .. } => {
                if let Some(at) = self.asked_by(id) {
                    self.snapshot_failed(at, world.now);
                }
            }
            Incoming::Written(_) => {}
        }
    }

    fn next_timeout(&self) -> Option<Ts> {
        let links = self.links.iter().filter_map(Link::next_timeout);
        let snapshots = self.symbols.iter().filter_map(Symbol::snapshot_due);
        links.chain(snapshots).chain(self.silence_deadline()).min()
    }

    fn on_time(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        self.excuse_closed(world);
        for link in [PUBLIC, MARKET] {
            match self.links[link.0 as usize].due(world.now) {
                None => {}
                Some(LinkDue::Connect) => self.connect(link, world, out),
                Some(LinkDue::AttemptHangs | LinkDue::Renew) => {
                    out.push(Action::Close { link });
                    self.link_down(link, StreamFault::LinkLost, world, out);
                }
            }
        }
        self.judge_silence(world, out);
        for at in 0..self.symbols.len() {
            if self.symbols[at].snapshot_due().is_some_and(|due| due <= world.now) {
                self.ask_snapshot(at, world, out);
            }
        }
    }
}
