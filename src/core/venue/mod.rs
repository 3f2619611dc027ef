//! The simulated exchange: typed and pure, without a wire format. It stands beside the engine in a backtest and behind the real
//! protocol in the simulator; it is never a node.
//!
//! In: market events ([`Venue::on_market`], recorded or generated), requests of accounts ([`Venue::on_request`]), time
//! ([`Venue::on_time`], when [`Venue::next_wakeup`] says so). Out: [`VenueOutput`]s, each with the time at which it reaches the client.
//! Time is handed in and never goes back; chance comes from a seed and only for `faults`.
//!
//! An answer is the exchange's: that a request was written, timed out or lost its link is for the driver or the network to say.
//! Answers are pushed after the reports of the same request; which arrives first is a matter of [`Latency`].
//!
//! Each model states its assumption and its limits in its file: `queue` (liquidity and queue position), `matching` (orders),
//! `conditional`, `account` (books), `clearing` (funding, liquidation), `candles`, `latency`, `fees`, `faults`. What is
//! typed but not simulated (hedge mode, isolated and multi-assets margin, trailing stops, good till date) is refused with -1020.
//!
//! Cost: an event looks at the best simulated order of each side and at the nearest trigger, so orders far away cost nothing.

use crate::command::{
    AccountReason, Answer, Outcome, Query, Report, VenueBalance, VenueCommand, VenueError, VenuePosition,
};
use crate::engine::driver::{Counterparty, Delivery};
use crate::id::{AccountIx, SymbolIx, VenueOrderId};
use crate::instrument::{Definition, DefinitionError, Universe};
use crate::market::{Mark, MarketEvent, MarketInput};
use crate::node::{encode_state, hash_bytes};
use crate::num::{Money, Price, Quantity, Side};
use crate::order::{OrderStatus, Terms, WorkingType};
use crate::time::{Span, Ts};
use serde::Serialize;
use std::collections::BTreeMap;

mod account;
mod candles;
mod clearing;
mod conditional;
mod faults;
mod fees;
mod latency;
mod market;
mod matching;
mod orders;
mod queue;
mod request;
mod rules;
mod settings;

#[cfg(test)]
mod tests;

pub use account::{AccountSpec, MarginSummary};
pub use faults::FaultConfig;
pub use fees::Fees;
pub use latency::Latency;
pub use request::{OrderRef, OutputKind, PlaceOrder, RequestKind, VenueOutput, VenueRequest};
pub use settings::TRADES_PAGE;

use account::Account;
use conditional::Conditionals;
use faults::{Chance, Faults};
use latency::{Agenda, Due};
use market::{Symbol, is_sane};
use orders::Orders;
use queue::key_of;
use request::Reply;
use rules::error;

/// Where outputs go.
type Out<'a> = &'a mut Vec<VenueOutput>;

/// How a venue behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueConfig {
    /// Latencies.
    pub latency: Latency,
    /// Leverage of accounts that do not say their own.
    pub leverage: u16,
    /// From the trigger of a conditional order to its entry into the book.
    pub trigger_delay: Span,
    /// Open conditional orders that an account may have over all symbols.
    pub conditionals_max: usize,
    /// Orders that are over, and trades of an account in a symbol, that are remembered for questions.
    pub history_max: usize,
    /// Faults.
    pub faults: FaultConfig,
    /// Seed of the faults.
    pub seed: u64,
}

impl Default for VenueConfig {
    fn default() -> VenueConfig {
        VenueConfig {
            latency: Latency::default(),
            leverage: 20,
            trigger_delay: Span::ZERO,
            conditionals_max: 200,
            history_max: 100_000,
            faults: FaultConfig::default(),
            seed: 0,
        }
    }
}

/// The venue's numbers: they only count up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Counters {
    order: i64,
    trade: i64,
    conditional: i64,
}

/// The simulated exchange.
#[derive(Debug, Clone)]
pub struct Venue {
    config: VenueConfig,
    universe: Universe,
    symbols: Vec<Symbol>,
    accounts: BTreeMap<AccountIx, Account>,
    orders: Orders,
    conditionals: Conditionals,
    agenda: Agenda,
    /// When `agenda` has something next; [`Ts::MAX`] for never.
    next_due: Ts,
    faults: Faults,
    clock: Ts,
    counters: Counters,
    /// Room for the outputs of one call; empty between calls.
    outputs: Vec<VenueOutput>,
}

impl Venue {
    /// A venue without accounts.
    pub fn new(config: VenueConfig, universe: Universe) -> Venue {
        let symbols = universe.instruments().iter().map(|i| Symbol::new(i.symbol)).collect();
        Venue {
            symbols,
            universe,
            accounts: BTreeMap::new(),
            orders: Orders::new(config.history_max),
            conditionals: Conditionals::new(config.history_max),
            agenda: Agenda::default(),
            next_due: Ts::MAX,
            faults: Faults::new(config.seed, config.faults),
            clock: Ts::ZERO,
            counters: Counters::default(),
            outputs: Vec::new(),
            config,
        }
    }

    /// Opens an account, or opens it anew.
    pub fn add_account(&mut self, account: AccountIx, spec: &AccountSpec) {
        self.accounts.insert(account, Account::new(spec, self.config.leverage));
    }

    /// Takes a new asset or instrument, or a new version of one.
    pub fn define(&mut self, definition: &Definition) -> Result<(), DefinitionError> {
        self.universe.define(definition)?;
        let known = self.symbols.len();
        let new = self.universe.instruments().iter().skip(known).map(|i| Symbol::new(i.symbol));
        self.symbols.extend(new);
        Ok(())
    }

    /// The instruments that it trades.
    pub fn universe(&self) -> &Universe {
        &self.universe
    }

    /// Switches faults from here on.
    pub fn set_faults(&mut self, faults: FaultConfig) {
        self.faults.config = faults;
    }

    /// When something happens here without any input; `None` for never. The driver then calls [`Venue::on_time`].
    #[inline]
    pub fn next_wakeup(&self) -> Option<Ts> {
        (self.next_due != Ts::MAX).then_some(self.next_due)
    }

    /// The market moves at `now`, the exchange's time of it. What was due before happens first.
    pub fn on_market(&mut self, input: &MarketInput, now: Ts, out: &mut Vec<VenueOutput>) {
        self.advance(now, out);
        let ix = input.symbol;
        let Some(symbol) = self.symbols.get_mut(ix.ix()) else { return };
        match &input.event {
            MarketEvent::Quote(quote) => {
                symbol.on_quote(quote);
                if !symbol.trades && !symbol.triggers.contract_is_empty() {
                    return self.on_quote_as_trade(ix, out);
                }
            }
            MarketEvent::Trade(trade) => {
                if trade.on_book && is_sane(trade.price) && symbol.see_trades(trade.id.0, trade.id.0) {
                    return self.on_trade(ix, trade.price, trade.quantity, trade.aggressor, out);
                }
                return;
            }
            MarketEvent::AggTrade(trade) => {
                if is_sane(trade.price) && symbol.see_trades(trade.first.0, trade.last.0) {
                    return self.on_trade(ix, trade.price, trade.quantity, trade.aggressor, out);
                }
                return;
            }
            MarketEvent::BookReset(levels) => symbol.on_reset(levels),
            MarketEvent::BookDelta(levels) => symbol.on_delta(levels),
            MarketEvent::BookGap => symbol.on_gap(),
            MarketEvent::Mark(mark) => return self.on_mark(ix, mark, out),
            MarketEvent::Candle(candle) => return self.on_candle(ix, candle, out),
        }
        self.meet(ix, out);
    }

    /// Simulated orders that the other side has come to meet fill at their own price.
    #[inline]
    fn meet(&mut self, ix: SymbolIx, out: Out<'_>) {
        loop {
            let Some(symbol) = self.symbols.get_mut(ix.ix()) else { return };
            let (bids, asks) = (&mut symbol.bids, &mut symbol.asks);
            let (matched, side) = match bids.meet(asks) {
                Some(matched) => (matched, Side::Buy),
                None => match asks.meet(bids) {
                    Some(matched) => (matched, Side::Sell),
                    None => return,
                },
            };
            self.fill_maker(matched, side, out);
        }
    }

    fn on_trade(&mut self, ix: SymbolIx, price: Price, quantity: Quantity, aggressor: Side, out: Out<'_>) {
        let makers = aggressor.opposite();
        let key = key_of(makers, price);
        let mut left = quantity.mantissa();
        while let Some(symbol) = self.symbols.get_mut(ix.ix()) {
            symbol.last = price;
            let Some(matched) = symbol.side_mut(makers).trade(key, &mut left) else { break };
            self.fill_maker(matched, makers, out);
        }
        self.watch(ix, WorkingType::ContractPrice, price, out);
    }

    #[cold]
    fn on_quote_as_trade(&mut self, ix: SymbolIx, out: Out<'_>) {
        self.meet(ix, out);
        let Some(symbol) = self.symbols.get_mut(ix.ix()) else { return };
        let (Some(bid), Some(ask)) = (symbol.bids.best_price(), symbol.asks.best_price()) else { return };
        let middle = Price::from_mantissa(bid.mantissa() + (ask.mantissa() - bid.mantissa()) / 2);
        symbol.last = middle;
        self.watch(ix, WorkingType::ContractPrice, middle, out);
    }

    fn on_mark(&mut self, ix: SymbolIx, mark: &Mark, out: Out<'_>) {
        if !is_sane(mark.mark_price) {
            return;
        }
        if let Some(symbol) = self.symbols.get_mut(ix.ix()) {
            symbol.mark = mark.mark_price;
        }
        self.note_funding(ix, mark);
        self.watch(ix, WorkingType::MarkPrice, mark.mark_price, out);
        self.check_liquidations(ix, out);
    }

    /// A request is sent at `now`; it acts when it arrives.
    pub fn on_request(&mut self, account: AccountIx, request: VenueRequest, now: Ts, out: &mut Vec<VenueOutput>) {
        self.advance(now, out);
        let arrival = self.clock.plus(self.config.latency.entry);
        if arrival <= self.clock {
            self.process(account, request, out);
        } else {
            self.schedule(arrival, Due::Arrival(account, request));
        }
    }

    fn schedule(&mut self, at: Ts, due: Due) {
        self.agenda.schedule(at, due);
        self.next_due = self.next_due.min(at);
    }

    /// Time is `now`: what is due happens.
    pub fn on_time(&mut self, now: Ts, out: &mut Vec<VenueOutput>) {
        self.advance(now, out);
    }

    /// Moves money into a wallet, or out of it when negative: a transfer of the account's owner.
    pub fn transfer(&mut self, account: AccountIx, amount: Money, now: Ts, out: &mut Vec<VenueOutput>) {
        self.advance(now, out);
        self.move_money(account, amount, AccountReason::Transfer, out);
    }

    #[inline]
    fn advance(&mut self, now: Ts, out: Out<'_>) {
        if self.next_due <= now {
            self.run_due(now, out);
        }
        self.clock = self.clock.max(now);
    }

    fn run_due(&mut self, now: Ts, out: Out<'_>) {
        while let Some((at, due)) = self.agenda.pop(now) {
            self.clock = self.clock.max(at);
            match due {
                Due::Arrival(account, request) => self.process(account, request, out),
                Due::Funding(symbol) => self.pay_funding(symbol, out),
                Due::Launch(id) => self.launch(id, out),
            }
        }
        self.next_due = self.agenda.next().unwrap_or(Ts::MAX);
    }

    /// A request has arrived.
    fn process(&mut self, account: AccountIx, request: VenueRequest, out: Out<'_>) {
        let VenueRequest { command, kind } = request;
        let throttled = match &kind {
            RequestKind::Place(order) => !order.reduce_only && !closes_position(&order.terms),
            RequestKind::Modify { .. } => true,
            _ => false,
        };
        let reply = if self.faults.happens(Chance::Swallow) {
            Reply::unknown(&kind, error(-1007))
        } else if throttled && self.faults.happens(Chance::Reject) {
            Reply::refused(&kind, error(-1008))
        } else {
            let reply = self.perform(account, &kind, out);
            if self.faults.happens(Chance::LoseAnswer) { Reply::unknown(&kind, error(-1007)) } else { reply }
        };
        let at = self.clock.plus(self.config.latency.answer);
        out.push(VenueOutput { at, account, kind: reply.into_kind(command, account) });
    }

    fn perform(&mut self, account: AccountIx, kind: &RequestKind, out: Out<'_>) -> Reply {
        if let Err(unknown) = self.account(account) {
            return Reply::refused(kind, unknown);
        }
        let outcome = |result| Reply::Outcome(result);
        let order = |result: Result<_, _>| match result {
            Ok(report) => outcome(Outcome::Order(Box::new(report))),
            Err(refused) => outcome(Outcome::Rejected(refused)),
        };
        let conditional_order = |result: Result<_, _>| match result {
            Ok(report) => outcome(Outcome::Conditional(Box::new(report))),
            Err(refused) => outcome(Outcome::Rejected(refused)),
        };
        match *kind {
            RequestKind::Place(ref new) => match new.terms {
                Terms::Conditional(terms) => conditional_order(self.place_conditional(account, new, terms, out)),
                _ => order(self.place(account, new, None, out)),
            },
            RequestKind::Modify { symbol, order: named, side, price, quantity } => {
                order(self.modify(account, symbol, named, (side, price, quantity), out))
            }
            RequestKind::Cancel { symbol, order: named, conditional: true } => {
                conditional_order(self.cancel_conditional(account, symbol, named, out))
            }
            RequestKind::Cancel { symbol, order: named, conditional: false } => {
                order(self.cancel(account, symbol, named, out))
            }
            RequestKind::CancelAll { symbol, conditional } => {
                if conditional {
                    self.cancel_all_conditionals(account, Some(symbol), out);
                } else {
                    self.cancel_all(account, Some(symbol), OrderStatus::Canceled, 0, out);
                }
                Reply::Acknowledged(Ok(()))
            }
            RequestKind::Find { symbol, order: named, conditional } => {
                Reply::Answer(Ok(self.find(account, symbol, named, conditional)))
            }
            RequestKind::Query(ref query) => Reply::Answer(self.answer(account, query)),
            _ => Reply::Acknowledged(self.set(account, kind, out)),
        }
    }

    /// Sends a report on the user stream, with its faults.
    fn report(&mut self, account: AccountIx, report: Report, out: Out<'_>) {
        if self.faults.happens(Chance::LoseReport) {
            return;
        }
        let at = self.clock.plus(self.config.latency.report);
        if self.faults.happens(Chance::Duplicate) {
            let again = at.plus(self.faults.delay());
            out.push(VenueOutput { at: again, account, kind: OutputKind::Report(report.clone()) });
        }
        let at = at.plus(self.faults.delay());
        out.push(VenueOutput { at, account, kind: OutputKind::Report(report) });
    }

    /// Answers a question at once, without latency or faults: for whoever compares a client's books with these.
    pub fn look(&self, account: AccountIx, query: &Query) -> Result<Answer, VenueError> {
        self.answer(account, query)
    }

    /// The symbol of a conditional order of the account, open or not.
    pub fn conditional_symbol(&self, account: AccountIx, order: OrderRef) -> Option<SymbolIx> {
        let symbols = self.universe.instruments().iter().map(|i| i.symbol);
        symbols.into_iter().find(|symbol| self.conditionals.find(account, *symbol, order).is_some())
    }

    /// The account's wallet of an asset.
    pub fn balance(&self, account: AccountIx, asset: crate::id::AssetIx) -> Option<VenueBalance> {
        self.accounts.get(&account).map(|a| VenueBalance { wallet: a.wallet(asset) })
    }

    /// The account's position in a symbol.
    pub fn position(&self, account: AccountIx, symbol: SymbolIx) -> Option<VenuePosition> {
        let holding = self.accounts.get(&account)?.holdings.get(&symbol)?;
        self.universe.instrument(symbol).map(|instrument| holding.position(instrument))
    }

    /// The value, in the quote asset, of what was filled of an order up to `filled`; `None` when its trades are forgotten.
    pub fn quote_filled(
        &self,
        account: AccountIx,
        symbol: SymbolIx,
        order: VenueOrderId,
        filled: Quantity,
    ) -> Option<Money> {
        let instrument = self.universe.instrument(symbol)?;
        let trades = self.accounts.get(&account)?.trades.get(&symbol);
        let (mut left, mut value) = (self.orders.get(order)?.filled, Money::zero(instrument.quote));
        // From the newest back, as most questions are about new orders; what was filled later is passed over.
        for trade in trades.into_iter().flat_map(|t| t.iter().rev()).filter(|t| t.venue_id == order) {
            let counts = left <= filled.mantissa();
            left = left.checked_sub(trade.fill.quantity.mantissa())?;
            if counts {
                let part = instrument.notional(trade.fill.price, trade.fill.quantity).ok()?;
                value = value.checked_add(part).ok()?;
            }
            if left <= 0 {
                break;
            }
        }
        (left == 0).then_some(value)
    }

    /// What a margin asset of the account carries.
    pub fn margin(&self, account: AccountIx, asset: crate::id::AssetIx) -> Option<MarginSummary> {
        self.accounts.get(&account).map(|holder| self.margin_use(holder, asset, None).summary(asset))
    }

    /// The account's fee rates.
    pub fn fees(&self, account: AccountIx) -> Option<Fees> {
        self.accounts.get(&account).map(|holder| holder.fees)
    }

    /// A hash of the whole state: equal states have equal hashes. It walks everything: not for every event.
    pub fn state_hash(&self) -> u64 {
        let state = (
            &self.symbols,
            &self.accounts,
            &self.orders,
            &self.conditionals,
            &self.agenda,
            (self.clock, self.counters, self.config.seed, self.faults.draws()),
        );
        hash_bytes(&encode_state(&state))
    }
}

/// The venue beside an engine in the driver.
impl Counterparty for Venue {
    #[inline]
    fn market(&mut self, input: &MarketInput, now: Ts, out: &mut Vec<Delivery>) {
        self.deliver(out, |venue, outputs| venue.on_market(input, now, outputs));
    }

    fn command(&mut self, command: &VenueCommand, now: Ts, out: &mut Vec<Delivery>) {
        self.deliver(out, |venue, outputs| {
            venue.on_request(command.account, VenueRequest::from(command), now, outputs)
        });
    }

    #[inline]
    fn next_wakeup(&self) -> Option<Ts> {
        Venue::next_wakeup(self)
    }

    fn wake(&mut self, now: Ts, out: &mut Vec<Delivery>) {
        self.deliver(out, |venue, outputs| venue.on_time(now, outputs));
    }
}

impl Venue {
    /// Delivers what a call sends; its room is kept for the next.
    #[inline]
    fn deliver(&mut self, out: &mut Vec<Delivery>, act: impl FnOnce(&mut Venue, &mut Vec<VenueOutput>)) {
        let mut outputs = std::mem::take(&mut self.outputs);
        act(self, &mut outputs);
        out.extend(outputs.drain(..).filter_map(|output| {
            let at = output.at;
            output.into_input().map(|input| Delivery { at, input })
        }));
        self.outputs = outputs;
    }
}

fn closes_position(terms: &Terms) -> bool {
    matches!(terms, Terms::Conditional(c) if c.close_position)
}
