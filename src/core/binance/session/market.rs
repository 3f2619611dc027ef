//! The market session: public streams of a group of symbols.
//!
//! Two links, because streams are routed: `/public` (depth, bookTicker, trade) and `/market` (aggTrade, markPrice, kline).
//! Streams are named in the URL, so nothing can be subscribed to by halves. Out come [`Input::Market`] and [`Input::Stream`]:
//! a symbol is *up* when both links are open and its book is bridged, and each stream is held against a silence bound.
//! Depth: diffs are buffered, a snapshot is asked for, what bridges it is passed on; a broken chain starts over.

use super::link::{Link, LinkDue};
use super::{Session, World, note};
use crate::binance::decode::{self, Frame};
use crate::binance::encode::percent_encode;
use crate::binance::limits::WeightLimit;
use crate::binance::proto::{Action, Auth, HttpRequest, Incoming, LinkId, Method, ReplyHeaders, RequestId};
use crate::event::{Input, StreamFault, StreamState};
use crate::id::SymbolIx;
use crate::market::{BookLevels, MarketEvent, MarketInput};
use crate::time::{Span, Ts};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use std::cell::RefCell;
use std::rc::Rc;

/// What a market session watches.
#[derive(Debug, Clone)]
pub struct MarketOptions {
    /// Base of the public route, e.g. `wss://fstream.binance.com/public`.
    pub ws_public_url: String,
    /// Base of the market route, e.g. `wss://fstream.binance.com/market`.
    pub ws_market_url: String,
    /// The symbols.
    pub symbols: Vec<SymbolIx>,
    /// Depth speed: 100, 250 or 500 ms.
    pub depth_millis: u32,
    /// Kline intervals (the exchange's words, `1m` …) to subscribe to.
    pub kline_intervals: Vec<String>,
    /// A stream that says nothing for this long is silent: depth and quotes.
    pub silence: Span,
    /// The same for trades, which may be rare.
    pub silence_trades: Span,
    /// Seed of the jitter.
    pub seed: u64,
}

const PUBLIC: LinkId = LinkId(0);
const MARKET: LinkId = LinkId(1);
/// Levels a side of a depth snapshot; its weight is 20.
const SNAPSHOT_LEVELS: u32 = 1000;
const SNAPSHOT_WEIGHT: u32 = 20;
const SNAPSHOT_TIMEOUT: Span = Span::from_secs(10);
/// Pause before a snapshot is asked for again.
const SNAPSHOT_PAUSE: Span = Span::from_secs(1);
/// Diffs buffered while a snapshot is on its way: ten minutes at the fastest speed.
const BUFFER_MAX: usize = 6_000;

/// The streams of one symbol that are held against a silence bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Depth,
    Quote,
    Trade,
    Mark,
}

const WATCHED: [Watched; 4] = [Watched::Depth, Watched::Quote, Watched::Trade, Watched::Mark];

#[derive(Debug)]
enum Depth {
    /// Diffs wait for a snapshot.
    Buffering { diffs: Vec<MarketInput>, asked: Option<RequestId>, ask_at: Ts },
    /// The snapshot was passed on; the first diff that spans its id begins the chain.
    Bridging { snapshot_id: u64 },
    /// The chain holds up to this update id.
    Live { last_id: u64 },
}

impl Depth {
    fn empty(ask_at: Ts) -> Depth {
        Depth::Buffering { diffs: Vec::new(), asked: None, ask_at }
    }
}

#[derive(Debug)]
struct Symbol {
    symbol: SymbolIx,
    depth: Depth,
    /// Last word of each watched stream.
    heard: [Ts; WATCHED.len()],
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
            depth: Depth::empty(Ts::ZERO),
            heard: [Ts::ZERO; WATCHED.len()],
            up: false,
        };
        let symbols = options.symbols.iter().map(fresh).collect();
        MarketSession { options, weight, links, symbols, next_request: 0, counts: FrameCounts::default() }
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
                streams.push(format!("{name}@trade"));
            } else {
                streams.push(format!("{name}@markPrice@1s"));
                streams.extend(self.options.kline_intervals.iter().map(|i| format!("{name}@kline_{i}")));
            }
        }
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

    fn void_book(&mut self, at: usize, now: Ts, out: &mut Vec<Action>) {
        let symbol = &mut self.symbols[at];
        if !matches!(symbol.depth, Depth::Buffering { .. }) {
            let (exchange_time, receive_time) = (now, now);
            let event = MarketEvent::BookGap;
            let gap = MarketInput { symbol: symbol.symbol, exchange_time, receive_time, derived: false, event };
            out.push(Action::Offer(Input::Market(gap)));
        }
        symbol.depth = Depth::empty(now);
    }

    /// Tells that a symbol is up once both links are open and its book is bridged.
    fn maybe_up(&mut self, at: usize, out: &mut Vec<Action>) {
        let open = self.links.iter().all(Link::is_up);
        let symbol = &mut self.symbols[at];
        if open && !symbol.up && matches!(symbol.depth, Depth::Live { .. }) {
            symbol.up = true;
            out.push(Action::Offer(Input::Stream(StreamState::MarketUp(symbol.symbol))));
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
            MarketEvent::AggTrade(_) => (&mut counts.agg_trades, None),
            MarketEvent::Mark(_) => (&mut counts.marks, Some(Watched::Mark)),
            MarketEvent::Candle(_) => (&mut counts.klines, None),
            MarketEvent::BookDelta(_) => (&mut counts.depth, Some(Watched::Depth)),
            MarketEvent::BookReset(_) | MarketEvent::BookGap => (&mut counts.unused, None),
        };
        *count += 1;
        // A stream that we did not ask for has no place here.
        let Some(at) = self.symbols.iter().position(|s| s.symbol == input.symbol) else { return };
        if let Some(watched) = watched {
            self.symbols[at].heard[watched as usize] = world.now;
        }
        if matches!(input.event, MarketEvent::BookDelta(_)) {
            self.diff(at, input, world, out);
        } else {
            out.push(Action::Offer(Input::Market(input)));
        }
    }

    fn diff(&mut self, at: usize, input: MarketInput, world: &World<'_>, out: &mut Vec<Action>) {
        let MarketEvent::BookDelta(levels) = &input.event else { return };
        match &mut self.symbols[at].depth {
            Depth::Live { last_id } if levels.previous_id == *last_id => {
                *last_id = levels.last_id;
                out.push(Action::Offer(Input::Market(input)));
            }
            Depth::Live { last_id } if levels.last_id <= *last_id => {}
            Depth::Bridging { snapshot_id } if levels.last_id < *snapshot_id => {}
            Depth::Bridging { snapshot_id }
                if levels.first_id <= *snapshot_id || levels.previous_id == *snapshot_id =>
            {
                self.symbols[at].depth = Depth::Live { last_id: levels.last_id };
                out.push(Action::Offer(Input::Market(input)));
                self.maybe_up(at, out);
            }
            Depth::Live { .. } | Depth::Bridging { .. } => {
                self.void_book(at, world.now, out);
                self.symbol_down(at, StreamFault::Gap, out);
                self.diff(at, input, world, out);
            }
            Depth::Buffering { diffs, asked, ask_at } => {
                // A hole in the buffer cannot be bridged: what came before it is of no use.
                if let Some(MarketEvent::BookDelta(last)) = diffs.last().map(|d| &d.event)
                    && last.last_id != levels.previous_id
                {
                    diffs.clear();
                }
                diffs.push(input);
                if diffs.len() > BUFFER_MAX {
                    diffs.clear();
                }
                if asked.is_none() && world.now >= *ask_at {
                    self.ask_snapshot(at, world, out);
                }
            }
        }
    }

    fn ask_snapshot(&mut self, at: usize, world: &World<'_>, out: &mut Vec<Action>) {
        let Some(instrument) = world.universe.instrument(self.symbols[at].symbol) else { return };
        let Depth::Buffering { asked, ask_at, .. } = &mut self.symbols[at].depth else { return };
        if let Err(until) = self.weight.borrow_mut().take(SNAPSHOT_WEIGHT, false, world.now) {
            *ask_at = until;
            return;
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        *asked = Some(id);
        let mut query = String::from("symbol=");
        percent_encode(&mut query, &instrument.name);
        query.push_str(&format!("&limit={SNAPSHOT_LEVELS}"));
        let (method, path) = (Method::Get, "/fapi/v1/depth");
        let (auth, timeout) = (Auth::None, SNAPSHOT_TIMEOUT);
        out.push(Action::Http(HttpRequest { id, method, path, query, auth, timeout, urgent: false }));
    }

    /// Which symbol's snapshot a request asked for.
    fn asked_by(&self, id: RequestId) -> Option<usize> {
        let mine = |s: &Symbol| matches!(s.depth, Depth::Buffering { asked: Some(asked), .. } if asked == id);
        self.symbols.iter().position(mine)
    }

    fn snapshot_failed(&mut self, at: usize, now: Ts) {
        if let Depth::Buffering { asked, ask_at, .. } = &mut self.symbols[at].depth {
            (*asked, *ask_at) = (None, now.plus(SNAPSHOT_PAUSE));
        }
    }

    fn reply(
        &mut self,
        id: RequestId,
        status: u16,
        headers: &ReplyHeaders,
        body: &[u8],
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        self.weight.borrow_mut().learn(status, headers, world.now);
        let Some(at) = self.asked_by(id) else { return };
        let Some(instrument) = world.universe.instrument(self.symbols[at].symbol) else { return };
        match decode::rest::depth(body, instrument) {
            Ok((levels, exchange_time)) if status == 200 => self.snapshot(at, levels, exchange_time, world.now, out),
            result => {
                self.snapshot_failed(at, world.now);
                match result {
                    Err(error) => note(out, "snapshot_malformed", format!("status {status}: {error}"), body),
                    Ok(_) => note(out, "snapshot_refused", format!("status {status}"), body),
                }
            }
        }
    }

    fn snapshot(&mut self, at: usize, levels: BookLevels, exchange_time: Ts, now: Ts, out: &mut Vec<Action>) {
        let state = &mut self.symbols[at];
        let Depth::Buffering { diffs, asked, ask_at } = &mut state.depth else { return };
        *asked = None;
        let snapshot_id = levels.last_id;
        diffs.retain(|d| matches!(&d.event, MarketEvent::BookDelta(l) if l.last_id >= snapshot_id));
        if let Some(MarketEvent::BookDelta(first)) = diffs.first().map(|d| &d.event)
            && first.first_id > snapshot_id
            && first.previous_id != snapshot_id
        {
            // The snapshot is older than the buffer: ask again.
            *ask_at = now.plus(SNAPSHOT_PAUSE);
            return;
        }
        let symbol = state.symbol;
        let event = MarketEvent::BookReset(Box::new(levels));
        out.push(Action::Offer(Input::Market(MarketInput {
            symbol,
            exchange_time,
            receive_time: now,
            derived: false,
            event,
        })));
        let mut last_id = None;
        for diff in diffs.drain(..) {
            if let MarketEvent::BookDelta(levels) = &diff.event {
                last_id = Some(levels.last_id);
            }
            out.push(Action::Offer(Input::Market(diff)));
        }
        match last_id {
            Some(last_id) => {
                state.depth = Depth::Live { last_id };
                self.maybe_up(at, out);
            }
            None => state.depth = Depth::Bridging { snapshot_id },
        }
    }
}

impl MarketSession {
    fn link_up(&mut self, link: LinkId, now: Ts, out: &mut Vec<Action>) {
        let Some(state) = self.links.get_mut(link.0 as usize) else { return };
        if !state.up(now) {
            return;
        }
        for at in 0..self.symbols.len() {
            let heard = &mut self.symbols[at].heard;
            for watched in WATCHED.into_iter().filter(|w| carrier(*w) == link) {
                heard[watched as usize] = now;
            }
            self.maybe_up(at, out);
        }
    }

    fn bound(&self, watched: Watched) -> Span {
        match watched {
            Watched::Depth | Watched::Quote | Watched::Mark => self.options.silence,
            Watched::Trade => self.options.silence_trades,
        }
    }

    /// When the first watched stream of an open link counts as silent.
    fn silence_deadline(&self) -> Option<Ts> {
        let deadlines = self.symbols.iter().flat_map(|symbol| {
            let open = |w: &Watched| self.links[carrier(*w).0 as usize].is_up();
            WATCHED.into_iter().filter(open).map(|w| symbol.heard[w as usize].plus(self.bound(w)))
        });
        deadlines.min()
    }

    /// The link of a stream that is silent beyond its bound, with the facts.
    fn silent(&self, world: &World<'_>) -> Option<(LinkId, String)> {
        for symbol in &self.symbols {
            for watched in WATCHED {
                let link = carrier(watched);
                let silent_since = symbol.heard[watched as usize];
                if self.links[link.0 as usize].is_up() && world.now >= silent_since.plus(self.bound(watched)) {
                    let name = world.universe.instrument(symbol.symbol).map_or("?", |i| &i.name);
                    let silence = world.now.since(silent_since);
                    return Some((link, format!("{name}: {watched:?} stream silent for {silence:?}")));
                }
            }
        }
        None
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

/// The link that carries a stream.
fn carrier(watched: Watched) -> LinkId {
    match watched {
        Watched::Depth | Watched::Quote | Watched::Trade => PUBLIC,
        Watched::Mark => MARKET,
    }
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
        let snapshots = self.symbols.iter().filter_map(|s| match &s.depth {
            Depth::Buffering { diffs, asked: None, ask_at } if !diffs.is_empty() => Some(*ask_at),
            _ => None,
        });
        links.chain(snapshots).chain(self.silence_deadline()).min()
    }

    fn on_time(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
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
        while let Some((link, facts)) = self.silent(world) {
            note(out, "stream_silent", facts, &[]);
            out.push(Action::Close { link });
            self.link_down(link, StreamFault::Silent, world, out);
        }
        for at in 0..self.symbols.len() {
            if let Depth::Buffering { diffs, asked: None, ask_at } = &self.symbols[at].depth
                && !diffs.is_empty()
                && *ask_at <= world.now
            {
                self.ask_snapshot(at, world, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
