//! The exchange's side of the protocol, sans-I/O, over [`crate::venue`]: what `qcat sim` serves.
//!
//! In: requests and WebSocket text of clients, and time. Out: answers and frames. The market comes from a source of events in
//! their own time ([`feed`]), shifted to now and paced by a speed factor. Clients are told apart by API key.
//! Files: [`rest`] routes requests, [`params`] reads them, [`answers`] prints what comes of them, [`limits`] counts, [`streams`] keeps subscriptions, [`feed`] paces the market.

use super::decode::definitions::ExchangeInfo;
use super::instruments;
use super::print::{self, OrderFacts};
use super::proto::{PeerId, ServerIn, ServerOut};
use crate::book::Markets;
use crate::command::{CommandId, Report};
use crate::id::{AccountIx, SymbolIx};
use crate::instrument::{ContractStatus, Definition, DefinitionError, Instrument, InstrumentSpec};
use crate::market::{AggTrade, Candle, MarketEvent, MarketInput};
use crate::num::{Money, Price, Quantity, Rounding, div_round, pow10};
use crate::order::OrderReport;
use crate::time::{Span, Ts};
use crate::venue::{OutputKind, RequestKind, Venue, VenueOutput, VenueRequest};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

mod answers;
pub mod feed;
mod limits;
mod params;
mod rest;
mod streams;

pub use feed::Feed;

use limits::Limits;
use streams::{Route, Streams};

/// A listen key lives this long without a word.
const KEY_LIFE: Span = Span::from_secs(3600);
/// Candles kept for `klines` requests, per symbol and interval.
const CANDLES_MAX: usize = 1500;

/// Frames sent to clients by kind, for comparison with what a session counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SentCounts {
    /// Quotes.
    pub quotes: u64,
    /// Trades.
    pub trades: u64,
    /// Depth diffs.
    pub depth: u64,
    /// Mark prices.
    pub marks: u64,
    /// Klines.
    pub klines: u64,
    /// Aggregate trades.
    pub agg_trades: u64,
    /// User events.
    pub user: u64,
}

/// What an HTTP answer is made of once the venue has spoken.
#[derive(Debug, Clone)]
enum Waiting {
    /// An order or its cancellation.
    Order { cancel: bool },
    /// A list or object by query.
    Query(answers::Shape),
    /// `{"code":200,"msg":"success"}`, or a leverage answer.
    Acknowledge(String),
}

struct Key {
    account: AccountIx,
    expires: Ts,
}

/// The simulated exchange behind its protocol.
pub struct SimExchange {
    venue: Venue,
    info: ExchangeInfo,
    feed: Feed,
    markets: Markets,
    streams: Streams,
    /// Accounts by API key.
    accounts: BTreeMap<String, AccountIx>,
    keys: BTreeMap<String, Key>,
    next_key: u64,
    /// Answers on their way, by command.
    waiting: BTreeMap<CommandId, (PeerId, Waiting)>,
    next_command: u64,
    /// What the venue sends, by the time of arrival.
    outputs: BTreeMap<(Ts, u64), VenueOutput>,
    next_output: u64,
    limits: Limits,
    candles: BTreeMap<(SymbolIx, Span), VecDeque<Candle>>,
    sent: SentCounts,
    /// How often `exchangeInfo` was asked for.
    info_asked: u64,
    venue_out: Vec<VenueOutput>,
}

impl std::fmt::Debug for SimExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimExchange").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl SimExchange {
    /// An exchange over a venue whose accounts exist; `info` is what `exchangeInfo` answers. `history` holds closed candles before the start.
    pub fn new(
        venue: Venue,
        info: ExchangeInfo,
        accounts: BTreeMap<String, AccountIx>,
        feed: Feed,
        history: impl IntoIterator<Item = (SymbolIx, Candle)>,
    ) -> SimExchange {
        let mut exchange = SimExchange {
            venue,
            info,
            feed,
            markets: Markets::default(),
            streams: Streams::default(),
            accounts,
            keys: BTreeMap::new(),
            next_key: 0,
            waiting: BTreeMap::new(),
            next_command: 0,
            outputs: BTreeMap::new(),
            next_output: 0,
            limits: Limits::default(),
            candles: BTreeMap::new(),
            sent: SentCounts::default(),
            info_asked: 0,
            venue_out: Vec::new(),
        };
        for (symbol, candle) in history {
            exchange.keep_candle(symbol, candle);
        }
        exchange
    }

    /// The venue: its books are the truth that a client is compared with.
    pub fn venue(&self) -> &Venue {
        &self.venue
    }

    /// The venue, to change its faults.
    pub fn venue_mut(&mut self) -> &mut Venue {
        &mut self.venue
    }

    /// Changes a contract while the exchange runs: what `exchangeInfo` tells of it, and what orders are held to. A contract that
    /// needs a finer scale than before is only told so: the venue keeps to the old rules. False when there is no such contract.
    pub fn redefine(&mut self, name: &str, change: impl FnOnce(&mut InstrumentSpec)) -> Result<bool, DefinitionError> {
        let Some(spec) = self.info.instruments.iter_mut().find(|spec| spec.name == name) else { return Ok(false) };
        change(spec);
        let plan = instruments::plan(self.venue.universe(), &self.info);
        if let Some(error) = plan.refused.into_iter().next() {
            return Err(error);
        }
        let known = self.venue.universe().by_name(name).map(|i| i.symbol);
        let keeps = |definition: &&Definition| match definition {
            Definition::Asset { .. } => true,
            Definition::Instrument(i) => Some(i.symbol) == known && i.status != ContractStatus::Halted,
        };
        plan.definitions.iter().filter(keeps).try_for_each(|definition| self.venue.define(definition))?;
        Ok(true)
    }

    /// How often `exchangeInfo` was asked for.
    pub fn info_asked(&self) -> u64 {
        self.info_asked
    }

    /// What was sent so far.
    pub fn sent(&self) -> SentCounts {
        self.sent
    }

    /// Whether the source of the market is at its end.
    pub fn ended(&self) -> bool {
        self.feed.ended()
    }

    /// Holds the market still, or lets it go on: nothing is filled meanwhile but what clients send.
    pub fn hold_market(&mut self, held: bool) {
        self.feed.hold(held);
    }

    /// Takes what a client did.
    pub fn handle(&mut self, incoming: ServerIn<'_>, now: Ts, out: &mut Vec<ServerOut>) {
        self.on_time(now, out);
        match incoming {
            ServerIn::Http { peer, method, path, query, api_key, signature_valid } => {
                let call = rest::Call { peer, method, path, query, api_key, signature_valid };
                self.http(&call, now, out);
            }
            ServerIn::Open { peer, path, query } => self.open(peer, path, query, now, out),
            ServerIn::Text { peer, text } => {
                if let Some(reply) = self.streams.text(peer, text) {
                    out.push(ServerOut::Send { peer, text: reply.into() });
                }
            }
            ServerIn::Closed { peer } => self.streams.close(peer),
        }
        self.flush(now, out);
    }

    /// When [`SimExchange::on_time`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Ts> {
        let output = self.outputs.first_key_value().map(|((at, _), _)| *at);
        let key = self.keys.values().map(|key| key.expires).min();
        [self.feed.next_time(), output, self.venue.next_wakeup(), key].into_iter().flatten().min()
    }

    /// Does what is due: the market moves, answers and reports go out, listen keys expire.
    pub fn on_time(&mut self, now: Ts, out: &mut Vec<ServerOut>) {
        while let Some(event) = self.feed.next_until(now, self.venue.universe()) {
            // What the venue owes before this event goes out before it.
            self.flush(event.exchange_time, out);
            self.market(event, out);
        }
        let mut venue_out = std::mem::take(&mut self.venue_out);
        self.venue.on_time(now, &mut venue_out);
        self.take(&mut venue_out);
        self.venue_out = venue_out;
        self.flush(now, out);
        self.expire_keys(now, out);
    }

    fn market(&mut self, event: MarketInput, out: &mut Vec<ServerOut>) {
        let mut venue_out = std::mem::take(&mut self.venue_out);
        self.venue.on_market(&event, event.exchange_time, &mut venue_out);
        self.take(&mut venue_out);
        self.venue_out = venue_out;
        self.markets.apply(&event);
        self.tell(&event, out);
        match &event.event {
            MarketEvent::Trade(trade) => {
                let (id, first, last) = (trade.id.0, trade.id, trade.id);
                let (price, quantity, aggressor) = (trade.price, trade.quantity, trade.aggressor);
                let agg = MarketEvent::AggTrade(AggTrade { id, first, last, price, quantity, aggressor });
                self.tell(&MarketInput { derived: true, event: agg, ..event.clone() }, out);
            }
            MarketEvent::Candle(candle) if candle.closed => self.keep_candle(event.symbol, **candle),
            _ => {}
        }
    }

    fn keep_candle(&mut self, symbol: SymbolIx, candle: Candle) {
        let candles = self.candles.entry((symbol, candle.interval)).or_default();
        if candles.len() >= CANDLES_MAX {
            candles.pop_front();
        }
        candles.push_back(candle);
    }

    /// Sends a market event to those who subscribed to its stream on its own route.
    fn tell(&mut self, event: &MarketInput, out: &mut Vec<ServerOut>) {
        let universe = self.venue.universe();
        let Some(instrument) = universe.instrument(event.symbol) else { return };
        let subscribers = self.streams.subscribers(event, instrument);
        if subscribers.is_empty() {
            return;
        }
        let mut raw = String::with_capacity(256);
        if !print::market_event(&mut raw, event, instrument) {
            return;
        }
        if event.derived && raw.ends_with('}') {
            // What is computed is marked; clients ignore fields that they do not know.
            raw.truncate(raw.len() - 1);
            raw.push_str(",\"derived\":true}");
        }
        let raw: Arc<str> = raw.into();
        let count = match &event.event {
            MarketEvent::Quote(_) => &mut self.sent.quotes,
            MarketEvent::Trade(_) => &mut self.sent.trades,
            MarketEvent::BookDelta(_) => &mut self.sent.depth,
            MarketEvent::Mark(_) => &mut self.sent.marks,
            MarketEvent::Candle(_) => &mut self.sent.klines,
            _ => &mut self.sent.agg_trades,
        };
        for (peer, stream, combined) in subscribers {
            *count += 1;
            let text = if combined { print::combined(&stream, &raw).into() } else { raw.clone() };
            out.push(ServerOut::Send { peer, text });
        }
    }

    /// Takes what the venue sends; it goes out when its time has come.
    fn take(&mut self, outputs: &mut Vec<VenueOutput>) {
        for output in outputs.drain(..) {
            self.next_output += 1;
            self.outputs.insert((output.at, self.next_output), output);
        }
    }

    /// Sends what has arrived by `now`.
    fn flush(&mut self, now: Ts, out: &mut Vec<ServerOut>) {
        while let Some(entry) = self.outputs.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let output = entry.remove();
            self.output(output, now, out);
        }
    }

    fn output(&mut self, output: VenueOutput, now: Ts, out: &mut Vec<ServerOut>) {
        match output.kind {
            OutputKind::Report(report) => self.user_event(output.account, &report, now, out),
            OutputKind::Outcome(outcome) => self.answered(
                outcome.command,
                |waiting, universe| answers::outcome(&outcome.outcome, waiting, universe, now),
                output.account,
                now,
                out,
            ),
            OutputKind::Answer(answer) => self.answered(
                answer.command,
                |waiting, universe| answers::answer(&answer.result, waiting, universe, now),
                output.account,
                now,
                out,
            ),
            OutputKind::Acknowledged { command, result } => {
                self.answered(command, |waiting, _| answers::acknowledged(&result, waiting), output.account, now, out)
            }
        }
    }

    fn answered(
        &mut self,
        command: CommandId,
        print: impl FnOnce(&Waiting, &World<'_>) -> (u16, String),
        account: AccountIx,
        now: Ts,
        out: &mut Vec<ServerOut>,
    ) {
        let Some((peer, waiting)) = self.waiting.remove(&command) else { return };
        let world = World { venue: &self.venue, markets: &self.markets, account };
        let (status, body) = print(&waiting, &world);
        out.push(ServerOut::Reply { peer, status, headers: self.limits.headers(account, now), body });
    }

    fn user_event(&mut self, account: AccountIx, report: &Report, now: Ts, out: &mut Vec<ServerOut>) {
        let universe = self.venue.universe();
        let mut raw = String::with_capacity(512);
        let printed = match report {
            Report::Order(order) => {
                let world = World { venue: &self.venue, markets: &self.markets, account };
                print::order_update(&mut raw, order, &world.facts(order, order.exchange_time), universe, now)
            }
            Report::Conditional(order) => print::algo_update(&mut raw, order, universe, now),
            Report::Account(account) => {
                print::account_update(&mut raw, account, universe, now);
                true
            }
            Report::Leverage { .. } | Report::MultiAssets { .. } => {
                print::config_update(&mut raw, report, universe, now)
            }
            Report::MarginCall { symbol, .. } => {
                print::margin_call(&mut raw, &[*symbol], universe, now);
                true
            }
        };
        if !printed {
            return;
        }
        let raw: Arc<str> = raw.into();
        for (peer, key, combined) in self.streams.private(account) {
            self.sent.user += 1;
            let text = if combined { print::combined(&key, &raw).into() } else { raw.clone() };
            out.push(ServerOut::Send { peer, text });
        }
    }

    /// Lets every listen key expire now, whatever its age.
    pub fn expire_listen_keys(&mut self, now: Ts, out: &mut Vec<ServerOut>) {
        self.keys.values_mut().for_each(|key| key.expires = now);
        self.on_time(now, out);
    }

    /// A client wants a WebSocket.
    fn open(&mut self, peer: PeerId, path: &str, query: &str, now: Ts, out: &mut Vec<ServerOut>) {
        let refuse = |status, body: &str| ServerOut::Refuse { peer, status, body: body.to_owned() };
        let Some(target) = streams::target(path, query) else {
            return out.push(refuse(404, "no stream at this path"));
        };
        let account = match (&target.route, target.listen_key.as_deref()) {
            (Route::Private, Some(key)) => match self.keys.get(key).filter(|key| key.expires > now) {
                Some(key) => Some(key.account),
                None => return out.push(refuse(401, "the listen key does not exist")),
            },
            (Route::Private, None) => return out.push(refuse(401, "a listen key is needed")),
            _ => None,
        };
        self.streams.open(peer, target, account);
        out.push(ServerOut::Accept { peer });
    }

    fn expire_keys(&mut self, now: Ts, out: &mut Vec<ServerOut>) {
        let expired: Vec<String> = self.keys.iter().filter(|(_, k)| k.expires <= now).map(|(k, _)| k.clone()).collect();
        for text in expired {
            let Some(key) = self.keys.remove(&text) else { continue };
            let mut raw = String::new();
            print::listen_key_expired(&mut raw, &text, now);
            let raw: Arc<str> = raw.into();
            for (peer, ..) in self.streams.private(key.account) {
                out.push(ServerOut::Send { peer, text: raw.clone() });
                out.push(ServerOut::Close { peer });
                self.streams.close(peer);
            }
        }
    }

    /// Sends a request of a client to the venue; its answer goes to `peer` when it comes.
    fn request(&mut self, peer: PeerId, account: AccountIx, kind: RequestKind, waiting: Waiting, now: Ts) {
        self.next_command += 1;
        let command = CommandId(self.next_command);
        self.waiting.insert(command, (peer, waiting));
        let mut venue_out = std::mem::take(&mut self.venue_out);
        self.venue.on_request(account, VenueRequest { command, kind }, now, &mut venue_out);
        self.take(&mut venue_out);
        self.venue_out = venue_out;
    }
}

/// What answers are printed from.
struct World<'a> {
    venue: &'a Venue,
    markets: &'a Markets,
    account: AccountIx,
}

/// Decimals of an average price at least; more where the tick has more.
const AVERAGE_DECIMALS: u8 = 5;

impl World<'_> {
    /// What clients expect of an order and its report does not keep.
    fn facts(&self, report: &OrderReport, created: Ts) -> OrderFacts {
        let value = self.venue.quote_filled(self.account, report.symbol, report.venue_id, report.filled);
        let quote_filled = value.filter(|_| report.filled != Quantity::ZERO);
        let instrument = self.venue.universe().instrument(report.symbol);
        let average = quote_filled.zip(instrument).and_then(|(value, i)| average_price(value, report.filled, i));
        OrderFacts { average_price: average.unwrap_or_default(), quote_filled, created }
    }
}

/// Value over quantity, rounded to the decimals in which the exchange tells it.
fn average_price(value: Money, quantity: Quantity, instrument: &Instrument) -> Option<Price> {
    let (price_scale, quantity_scale) = (instrument.price_scale, instrument.quantity_scale);
    // A money mantissa over a quantity mantissa is a price of the remaining decimals.
    let decimals = Money::SCALE.checked_sub(quantity_scale)?;
    let kept = AVERAGE_DECIMALS
        .max(print::decimals_of(instrument.filters.price.tick.mantissa(), price_scale))
        .min(price_scale);
    let coarse = pow10(decimals.checked_sub(kept)?).checked_mul(quantity.mantissa().into())?;
    let average = div_round(value.mantissa(), coarse, Rounding::Nearest).checked_mul(pow10(price_scale - kept))?;
    i64::try_from(average).ok().map(Price::from_mantissa)
}

#[cfg(test)]
mod tests;
