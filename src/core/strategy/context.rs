//! What a strategy may see and do.
//!
//! Reads: time, market, instruments, its own position and open orders. Acts: places, changes and cancels orders, arms timers. Every
//! order gets its client order id here and is listed among the open orders at once, so that a strategy that looks at its
//! orders never asks twice for the same thing.

use crate::book::{DepthBook, Market};
use crate::event::{Event, Station, TimerId};
use crate::id::{AccountIx, ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use crate::instrument::Instrument;
use crate::market::{Mark, Quote};
use crate::node::{Context, Outbox};
use crate::num::{Money, NetQuantity, Price, Quantity, Rounding, Side, pow10};
use crate::order::{
    Conditional, Intent, OrderIntent, OrderState, OrderUpdate, PositionSide, Terms, TimeInForce, Trigger, WorkingType,
};
use crate::strategy::own::{OpenOrder, OpenOrders, Own};
use crate::time::{Span, Ts};

/// How many actions (intents and timers) a strategy may take in one step; more is a fault of the strategy and dropped.
pub const ACTIONS_MAX: u32 = 32;

/// How far ahead a timer is at the least.
const TIMER_SOONEST: Span = Span::from_millis(1);

/// Timers that a strategy may have armed at one time.
pub const TIMERS_MAX: usize = 64;

/// A cancel or change that was asked for is asked for again only after this time, or when the order changed.
const ASK_AGAIN: Span = Span::from_secs(5);

/// What a strategy may do in the present step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permit {
    /// Only look: past candles, or the first and last event.
    Watch,
    /// Reduce: cancel, and place or change reduce-only orders. While paused or warming up.
    Reduce,
    /// Everything.
    Trade,
}

/// An order to place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderSpec {
    /// The symbol, one of the strategy's.
    pub symbol: SymbolIx,
    /// Buy or sell.
    pub side: Side,
    /// How much.
    pub quantity: Quantity,
    /// The terms.
    pub terms: Terms,
    /// Must not grow or flip the strategy's position.
    pub reduce_only: bool,
}

impl OrderSpec {
    /// Takes what is there.
    pub const fn market(symbol: SymbolIx, side: Side, quantity: Quantity) -> OrderSpec {
        OrderSpec { symbol, side, quantity, terms: Terms::Market, reduce_only: false }
    }

    /// A limit order, good till cancelled.
    pub const fn limit(symbol: SymbolIx, side: Side, price: Price, quantity: Quantity) -> OrderSpec {
        let terms = Terms::Limit { price, time_in_force: TimeInForce::Gtc };
        OrderSpec { symbol, side, quantity, terms, reduce_only: false }
    }

    /// A limit order that is refused if it would take.
    pub const fn post_only(symbol: SymbolIx, side: Side, price: Price, quantity: Quantity) -> OrderSpec {
        let terms = Terms::Limit { price, time_in_force: TimeInForce::PostOnly };
        OrderSpec { symbol, side, quantity, terms, reduce_only: false }
    }

    /// A protective stop: a reduce-only market order once the last price reaches `trigger_price`.
    pub const fn stop(symbol: SymbolIx, side: Side, trigger_price: Price, quantity: Quantity) -> OrderSpec {
        let terms = Terms::Conditional(Conditional {
            trigger: Trigger::Stop,
            trigger_price,
            working_type: WorkingType::ContractPrice,
            limit: None,
            close_position: false,
            price_protect: false,
        });
        OrderSpec { symbol, side, quantity, terms, reduce_only: true }
    }

    /// Closes a position at market, reduce-only, as far as the exchange takes at once; `None` when there is nothing that an
    /// order could close. What is left is for the next one.
    pub fn close(instrument: &Instrument, position: NetQuantity) -> Option<OrderSpec> {
        let quantity = instrument.market_part(position.abs());
        let side = position.side()?.opposite();
        (!quantity.is_zero()).then(|| OrderSpec::market(instrument.symbol, side, quantity).reduce_only())
    }

    /// The same order, reduce-only.
    pub const fn reduce_only(self) -> OrderSpec {
        OrderSpec { reduce_only: true, ..self }
    }

    const fn reduces(&self) -> bool {
        self.terms.reduces(self.reduce_only)
    }
}

/// Counts what a strategy does in one step.
#[derive(Debug, Default)]
pub(super) struct Actions {
    pub(super) taken: u32,
    pub(super) dropped: u32,
}

/// Who acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor<'a> {
    pub(super) strategy: StrategyIx,
    pub(super) account: AccountIx,
    pub(super) symbols: &'a [SymbolIx],
}

/// What a strategy may see and do in one step.
#[derive(Debug)]
pub struct StrategyContext<'a> {
    pub(super) engine: &'a Context<'a>,
    pub(super) actor: Actor<'a>,
    pub(super) own: &'a mut Own,
    pub(super) actions: &'a mut Actions,
    pub(super) out: &'a mut Outbox,
    pub(super) permit: Permit,
    /// Whether intents wait for the next input: in the answer to a refusal.
    pub(super) hold: bool,
}

impl StrategyContext<'_> {
    /// The time of the input.
    pub fn now(&self) -> Ts {
        self.engine.now
    }

    /// The strategy's symbols; the first is the main one.
    pub fn symbols(&self) -> &[SymbolIx] {
        self.actor.symbols
    }

    /// The main symbol.
    pub fn symbol(&self) -> SymbolIx {
        self.actor.symbols.first().copied().unwrap_or_default()
    }

    /// An instrument.
    pub fn instrument(&self, symbol: SymbolIx) -> Option<&Instrument> {
        self.engine.universe.instrument(symbol)
    }

    /// Everything known of a symbol's market.
    pub fn market(&self, symbol: SymbolIx) -> &Market {
        self.engine.markets.market(symbol)
    }

    /// The depth book.
    pub fn book(&self, symbol: SymbolIx) -> &DepthBook {
        &self.market(symbol).book
    }

    /// Best bid and ask.
    pub fn quote(&self, symbol: SymbolIx) -> Option<Quote> {
        self.market(symbol).quote
    }

    /// Mark price.
    pub fn mark(&self, symbol: SymbolIx) -> Option<Mark> {
        self.market(symbol).mark
    }

    /// The strategy's own position.
    pub fn position(&self, symbol: SymbolIx) -> NetQuantity {
        self.own.position(symbol)
    }

    /// Average entry price of the strategy's own position, for decisions, not for books; `None` when flat.
    pub fn average_entry(&self, symbol: SymbolIx) -> Option<f64> {
        let position = self.own.positions.iter().find(|p| p.symbol == symbol && !p.quantity.is_zero())?;
        let quantity = self.instrument(symbol)?.quantity_f64(position.quantity.abs());
        Some((position.cost.mantissa() as f64 / pow10(Money::SCALE) as f64 / quantity).abs())
    }

    /// The strategy's orders that are not over, oldest first, with those that are on their way.
    pub fn orders(&self) -> OpenOrders<'_> {
        self.own.orders()
    }

    /// Whether orders may add risk in this step: not while warming up or paused.
    pub fn can_trade(&self) -> bool {
        self.permit == Permit::Trade
    }

    /// Whether orders may be cancelled and reduce-only ones placed in this step.
    pub fn can_reduce(&self) -> bool {
        self.permit >= Permit::Reduce
    }

    /// Asks for an order. `None`, and nothing happens, where the permit of this step does not allow it, the symbol is not the
    /// strategy's, or the bound of actions in one step is reached.
    pub fn place(&mut self, order: OrderSpec) -> Option<ClientOrderId> {
        let needed = if order.reduces() { Permit::Reduce } else { Permit::Trade };
        if self.permit < needed || !self.actor.symbols.contains(&order.symbol) || !self.act() {
            return None;
        }
        let Actor { strategy, account, .. } = self.actor;
        let id = self.own.next_id(self.engine.epoch, account, strategy)?;
        let OrderSpec { symbol, side, quantity, terms, reduce_only } = order;
        let position_side = PositionSide::Both;
        let update = OrderUpdate {
            account,
            strategy,
            symbol,
            key: OrderKey::Ours(id),
            side,
            price: terms.limit_price().unwrap_or(Price::ZERO),
            quantity,
            filled: Quantity::ZERO,
            reduce_only,
            protective: terms.reduces(reduce_only),
            conditional: terms.is_conditional(),
            state: OrderState::InFlight,
        };
        self.own.orders.insert(update.key, OpenOrder { update, asked: None, confirmed: false });
        self.emit(Intent::Place(OrderIntent { id, symbol, side, quantity, terms, reduce_only, position_side }));
        Some(id)
    }

    /// Asks for a market order: see [`StrategyContext::place`].
    pub fn market_order(&mut self, symbol: SymbolIx, side: Side, quantity: Quantity) -> Option<ClientOrderId> {
        self.place(OrderSpec::market(symbol, side, quantity))
    }

    /// Asks to close the strategy's position in a symbol at market, as far as the exchange takes at once: see
    /// [`OrderSpec::close`] and [`StrategyContext::place`].
    pub fn close(&mut self, symbol: SymbolIx) -> Option<ClientOrderId> {
        let close = OrderSpec::close(self.instrument(symbol)?, self.position(symbol))?;
        self.place(close)
    }

    /// Asks for a limit order, good till cancelled: see [`StrategyContext::place`].
    pub fn limit(&mut self, symbol: SymbolIx, side: Side, price: Price, quantity: Quantity) -> Option<ClientOrderId> {
        self.place(OrderSpec::limit(symbol, side, price, quantity))
    }

    /// Asks for a limit order that must not take: see [`StrategyContext::place`].
    pub fn post_only(
        &mut self,
        symbol: SymbolIx,
        side: Side,
        price: Price,
        quantity: Quantity,
    ) -> Option<ClientOrderId> {
        self.place(OrderSpec::post_only(symbol, side, price, quantity))
    }

    /// Asks for a protective stop on the last price: see [`OrderSpec::stop`] and [`StrategyContext::place`].
    pub fn stop(&mut self, symbol: SymbolIx, side: Side, trigger: Price, quantity: Quantity) -> Option<ClientOrderId> {
        self.place(OrderSpec::stop(symbol, side, trigger, quantity))
    }

    /// Asks to cancel an open order. False, and nothing happens, when there is no such order, when that was asked for already
    /// and is not settled, or where the permit does not allow it.
    pub fn cancel(&mut self, key: OrderKey) -> bool {
        let Some(symbol) = self.ask(key, Permit::Reduce) else { return false };
        let held = |i: &Intent| matches!(i, Intent::Place(order) if OrderKey::Ours(order.id) == key);
        if let Some(at) = self.own.held.iter().position(held) {
            // It never left: taking it back is enough.
            self.own.held.remove(at);
            self.own.forget(key);
            return true;
        }
        let Actor { strategy, account, .. } = self.actor;
        self.emit(Intent::Cancel { account, strategy, symbol, key });
        true
    }

    /// Asks to change price and (whole, with what is filled) quantity of a limit order of this program. False, and nothing
    /// happens, as for [`StrategyContext::cancel`].
    pub fn modify(&mut self, id: ClientOrderId, price: Price, quantity: Quantity) -> bool {
        let key = OrderKey::Ours(id);
        let Some(order) = self.own.orders.get(&key) else { return false };
        let needed = if order.update.reduce_only { Permit::Reduce } else { Permit::Trade };
        let Some(symbol) = self.ask(key, needed) else { return false };
        self.emit(Intent::Modify { strategy: self.actor.strategy, symbol, id, price, quantity });
        true
    }

    /// Asks to cancel all open orders of the strategy, in one symbol or in all.
    pub fn cancel_all(&mut self, symbol: Option<SymbolIx>) -> bool {
        if self.permit < Permit::Reduce || !self.act() {
            return false;
        }
        let now = self.engine.now;
        let in_symbol = |o: &&mut OpenOrder| symbol.is_none_or(|s| s == o.update.symbol);
        self.own.orders.values_mut().filter(in_symbol).for_each(|o| o.asked = Some(now));
        let Actor { strategy, account, .. } = self.actor;
        self.emit(Intent::CancelAll { account, strategy, symbol });
        true
    }

    /// Wants [`StrategyEvent::Timer`](super::StrategyEvent::Timer) with this key at that time, in a millisecond at the soonest;
    /// arming again moves it.
    pub fn arm(&mut self, key: u32, at: Ts) -> bool {
        let known = self.own.timers.contains(&key);
        if (!known && self.own.timers.len() >= TIMERS_MAX) || !self.act() {
            return false;
        }
        if !known {
            self.own.timers.push(key);
        }
        // A timer that is due at once would fire without end in its own handler.
        let at = at.max(self.engine.now.plus(TIMER_SOONEST));
        self.out.push(Event::Arm { timer: self.timer(key), at });
        true
    }

    /// Does not want that timer any more.
    pub fn disarm(&mut self, key: u32) {
        if self.own.fired(key) {
            self.out.push(Event::Disarm(self.timer(key)));
        }
    }

    fn timer(&self, key: u32) -> TimerId {
        TimerId { station: Station::Runner(self.actor.strategy), key: u64::from(key) }
    }

    /// Marks an open order as being changed, if it may be; its symbol.
    fn ask(&mut self, key: OrderKey, needed: Permit) -> Option<SymbolIx> {
        let now = self.engine.now;
        let order = self.own.orders.get(&key)?;
        let settled = order.asked.is_none_or(|since| now >= since.plus(ASK_AGAIN));
        if self.permit < needed || !settled || !self.act() {
            return None;
        }
        let order = self.own.orders.get_mut(&key)?;
        order.asked = Some(now);
        Some(order.update.symbol)
    }

    /// Counts one action; false when the bound is reached.
    fn act(&mut self) -> bool {
        let allowed = self.actions.taken < ACTIONS_MAX && self.own.held.len() < ACTIONS_MAX as usize;
        if allowed {
            self.actions.taken += 1;
        } else {
            self.actions.dropped += 1;
        }
        allowed
    }

    fn emit(&mut self, intent: Intent) {
        if self.hold {
            self.own.held.push(intent);
        } else {
            self.out.push(Event::Intent(intent));
        }
    }
}

/// The quantity on the lot step that is worth at most `notional` of the quote asset at `price`, within the bounds of limit and
/// market orders. `None` when it is below the least quantity or the least notional value.
pub fn quantity_for(instrument: &Instrument, notional: f64, price: f64) -> Option<Quantity> {
    let filters = &instrument.filters;
    let wanted = instrument.quantity_from(notional / price, Rounding::Down)?;
    let bound = [filters.lot.max, filters.market_lot.max].into_iter().filter(|q| !q.is_zero()).min();
    let quantity = bound.map_or(wanted, |bound| instrument.round_quantity(bound.min(wanted), Rounding::Down));
    let value = instrument.notional(instrument.price_from(price, Rounding::Down)?, quantity).ok()?;
    let enough = filters.min_notional.is_none_or(|least| value.mantissa() >= least.mantissa());
    let least = filters.lot.min.max(filters.market_lot.min).max(Quantity::from_mantissa(1)?);
    (quantity >= least && enough).then_some(quantity)
}
