//! The conditional-order service: stops and take-profits that wait for a price and then become ordinary orders.
//!
//! NEW → TRIGGERING → TRIGGERED → FINISHED; or CANCELED; or REJECTED when the order is refused at the trigger (`rm` says why); or
//! EXPIRED for a `closePosition` order that finds nothing to close. The order that it becomes carries the same client id and is
//! named by `became`. No margin is held before the trigger.
//! Contract price is the last trade on the book; while a symbol has no trades in its feed, the middle of the quote stands for it.
//! Not simulated: trailing stops, good till date, hedge mode (refused).

use super::account::quantity;
use super::faults::Chance;
use super::latency::Due;
use super::market::Symbol;
use super::request::{OrderRef, PlaceOrder};
use super::rules::{check_price, check_quantity, error};
use super::{Out, Venue};
use crate::command::{Report, VenueError};
use crate::id::{AccountIx, OrderKey, SymbolIx, VenueOrderId};
use crate::num::{Price, Quantity, Rate, Side};
use crate::order::{
    Conditional, ConditionalReport, ConditionalStatus, PositionSide, Terms, TimeInForce, Trigger, WorkingType,
};
use crate::time::{Span, Ts};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One conditional order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ConditionalOrder {
    pub id: VenueOrderId,
    pub account: AccountIx,
    pub key: OrderKey,
    pub symbol: SymbolIx,
    pub side: Side,
    pub terms: Conditional,
    pub quantity: Quantity,
    pub reduce_only: bool,
    pub status: ConditionalStatus,
    pub became: Option<VenueOrderId>,
    pub reason: Box<str>,
    pub updated: Ts,
}

impl ConditionalOrder {
    /// Whether it waits, or hangs in TRIGGERING: then it can be cancelled.
    pub fn is_open(&self) -> bool {
        matches!(self.status, ConditionalStatus::New | ConditionalStatus::Triggering)
    }

    /// Whether a rising price sets it off.
    fn rises(&self) -> bool {
        matches!((self.terms.trigger, self.side), (Trigger::Stop, Side::Buy) | (Trigger::TakeProfit, Side::Sell))
    }

    pub fn report(&self) -> ConditionalReport {
        ConditionalReport {
            account: self.account,
            symbol: self.symbol,
            key: self.key,
            venue_id: self.id,
            side: self.side,
            position_side: PositionSide::Both,
            terms: self.terms,
            quantity: self.quantity,
            reduce_only: self.reduce_only,
            status: self.status,
            became: self.became,
            reason: self.reason.clone(),
            exchange_time: self.updated,
        }
    }
}

/// The triggers of one symbol by price, so that a price looks only at the nearest.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Triggers {
    contract: Watch,
    mark: Watch,
}

/// The triggers that watch one price.
#[derive(Debug, Clone, Default, Serialize)]
struct Watch {
    rising: BTreeSet<(Price, VenueOrderId)>,
    falling: BTreeSet<(Price, VenueOrderId)>,
}

impl Watch {
    fn side(&mut self, rises: bool) -> &mut BTreeSet<(Price, VenueOrderId)> {
        if rises { &mut self.rising } else { &mut self.falling }
    }

    /// The trigger that `price` reaches, the one passed first before the others.
    fn due(&self, price: Price) -> Option<(bool, (Price, VenueOrderId))> {
        let up = self.rising.first().filter(|t| t.0 <= price).map(|&t| (true, t));
        up.or_else(|| self.falling.last().filter(|t| t.0 >= price).map(|&t| (false, t)))
    }
}

impl Triggers {
    fn watch(&mut self, working: WorkingType) -> &mut Watch {
        match working {
            WorkingType::ContractPrice => &mut self.contract,
            WorkingType::MarkPrice => &mut self.mark,
        }
    }

    /// Whether nothing waits for the contract price.
    #[inline]
    pub fn contract_is_empty(&self) -> bool {
        self.contract.rising.is_empty() && self.contract.falling.is_empty()
    }

    fn insert(&mut self, order: &ConditionalOrder) {
        let entry = (order.terms.trigger_price, order.id);
        self.watch(order.terms.working_type).side(order.rises()).insert(entry);
    }

    fn remove(&mut self, order: &ConditionalOrder) {
        let entry = (order.terms.trigger_price, order.id);
        self.watch(order.terms.working_type).side(order.rises()).remove(&entry);
    }

    /// The next trigger price, of either working type, on the way from `from` to `to`, `from` excluded.
    pub fn on_the_way(&self, from: Price, to: Price) -> Option<Price> {
        let prices = |set: &BTreeSet<(Price, VenueOrderId)>| -> Option<Price> {
            let least = (Price::from_mantissa(from.mantissa().saturating_add(1)), VenueOrderId(i64::MIN));
            match to > from {
                true => set.range(least..).next().map(|t| t.0).filter(|&p| p < to),
                false => set.range(..(from, VenueOrderId(i64::MIN))).next_back().map(|t| t.0).filter(|&p| p > to),
            }
        };
        let [contract, mark] = [&self.contract, &self.mark];
        let set = if to > from { [&contract.rising, &mark.rising] } else { [&contract.falling, &mark.falling] };
        let found = set.into_iter().filter_map(prices);
        if to > from { found.min() } else { found.max() }
    }
}

/// All conditional orders, the newest done ones among them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Conditionals {
    map: BTreeMap<VenueOrderId, ConditionalOrder>,
    keys: BTreeMap<(AccountIx, SymbolIx, OrderKey), VenueOrderId>,
    open: BTreeSet<(AccountIx, VenueOrderId)>,
    done: VecDeque<VenueOrderId>,
    history_max: usize,
}

impl Conditionals {
    pub fn new(history_max: usize) -> Conditionals {
        Conditionals {
            map: BTreeMap::new(),
            keys: BTreeMap::new(),
            open: BTreeSet::new(),
            done: VecDeque::new(),
            history_max,
        }
    }

    fn insert(&mut self, order: ConditionalOrder) {
        self.keys.insert((order.account, order.symbol, order.key), order.id);
        self.open.insert((order.account, order.id));
        self.map.insert(order.id, order);
    }

    pub fn find(&self, account: AccountIx, symbol: SymbolIx, order: OrderRef) -> Option<&ConditionalOrder> {
        let id = match order {
            OrderRef::Id(id) => id,
            OrderRef::Key(key) => *self.keys.get(&(account, symbol, key))?,
        };
        self.map.get(&id).filter(|o| o.account == account && o.symbol == symbol)
    }

    /// Open orders of an account, oldest first.
    pub fn open_of(&self, account: AccountIx) -> impl Iterator<Item = &ConditionalOrder> {
        let range = (account, VenueOrderId(i64::MIN))..=(account, VenueOrderId(i64::MAX));
        self.open.range(range).filter_map(|(_, id)| self.map.get(id))
    }

    /// Sets the state; what is not open is forgotten when it is old enough.
    fn set(&mut self, id: VenueOrderId, status: ConditionalStatus, now: Ts) {
        let Some(order) = self.map.get_mut(&id) else { return };
        (order.status, order.updated) = (status, now);
        let over = !matches!(status, ConditionalStatus::Triggered) && !order.is_open();
        if !order.is_open() {
            self.open.remove(&(order.account, id));
        }
        if over {
            self.done.push_back(id);
        }
        while self.done.len() > self.history_max {
            let Some(order) = self.done.pop_front().and_then(|id| self.map.remove(&id)) else { break };
            let key = (order.account, order.symbol, order.key);
            if self.keys.get(&key) == Some(&order.id) {
                self.keys.remove(&key);
            }
        }
    }
}

impl Symbol {
    /// The price that a trigger watches, zero when not known yet.
    fn watched(&self, working: WorkingType) -> Price {
        match working {
            WorkingType::ContractPrice => self.last,
            WorkingType::MarkPrice => self.mark,
        }
    }
}

impl Venue {
    /// Accepts a conditional order.
    pub(super) fn place_conditional(
        &mut self,
        account: AccountIx,
        order: &PlaceOrder,
        terms: Conditional,
        out: Out<'_>,
    ) -> Result<ConditionalReport, VenueError> {
        self.admit_conditional(account, order, &terms)?;
        self.counters.conditional += 1;
        let accepted = ConditionalOrder {
            id: VenueOrderId(self.counters.conditional),
            account,
            key: order.key,
            symbol: order.symbol,
            side: order.side,
            terms,
            quantity: order.quantity,
            reduce_only: order.reduce_only,
            status: ConditionalStatus::New,
            became: None,
            reason: "".into(),
            updated: self.clock,
        };
        let market = self.symbols.get(order.symbol.ix()).ok_or_else(|| error(-1121))?;
        let price = market.watched(terms.working_type);
        let triggers_at_once = !price.is_zero()
            && if accepted.rises() { price >= terms.trigger_price } else { price <= terms.trigger_price };
        if triggers_at_once {
            return Err(error(-2021));
        }
        if let Some(market) = self.symbols.get_mut(order.symbol.ix()) {
            market.triggers.insert(&accepted);
        }
        let report = accepted.report();
        self.conditionals.insert(accepted);
        self.report(account, Report::Conditional(Box::new(report.clone())), out);
        Ok(report)
    }

    fn admit_conditional(&self, account: AccountIx, order: &PlaceOrder, terms: &Conditional) -> Result<(), VenueError> {
        self.check_account(account, order)?;
        let instrument = self.instrument(order.symbol)?;
        if matches!(terms.trigger, Trigger::Trailing { .. }) || matches!(terms.limit, Some((_, TimeInForce::Gtd(_)))) {
            return Err(error(-1020));
        }
        if terms.trigger_price.mantissa() <= 0 {
            return Err(error(-4006));
        }
        check_price(instrument, terms.trigger_price)?;
        if let Some((price, _)) = terms.limit {
            check_price(instrument, price)?;
        }
        if terms.close_position {
            if !order.quantity.is_zero() || order.reduce_only || terms.limit.is_some() {
                return Err(error(-1106));
            }
        } else {
            let filters = &instrument.filters;
            let lot = if terms.limit.is_some() { &filters.lot } else { &filters.market_lot };
            check_quantity(lot, order.quantity.mantissa())?;
        }
        let open: Vec<&ConditionalOrder> = self.conditionals.open_of(account).collect();
        let in_symbol = open.iter().filter(|o| o.symbol == order.symbol);
        let symbol_max = instrument.filters.max_conditional_orders.map_or(usize::MAX, |n| n as usize);
        if open.len() >= self.config.conditionals_max || in_symbol.count() >= symbol_max {
            return Err(error(-4045));
        }
        let mut in_symbol = open.iter().filter(|o| o.symbol == order.symbol);
        if terms.close_position
            && in_symbol.any(|o| o.terms.close_position && o.side == order.side && o.terms.trigger == terms.trigger)
        {
            return Err(error(-4130));
        }
        if self.conditionals.find(account, order.symbol, OrderRef::Key(order.key)).is_some_and(|o| o.is_open()) {
            return Err(error(-4116));
        }
        Ok(())
    }

    /// A watched price moved: what it reaches is set off. A protected order waits while mark and contract price are too far
    /// apart.
    pub(super) fn watch(&mut self, symbol: SymbolIx, working: WorkingType, price: Price, out: Out<'_>) {
        let mut held = Vec::new();
        while let Some(market) = self.symbols.get_mut(symbol.ix()) {
            let watch = market.triggers.watch(working);
            let Some((rises, entry)) = watch.due(price) else { break };
            watch.side(rises).remove(&entry);
            let protected = self.conditionals.map.get(&entry.1).is_some_and(|o| o.terms.price_protect);
            if protected && self.prices_apart(symbol) {
                held.push((rises, entry));
            } else {
                self.trigger(entry.1, out);
            }
        }
        if let Some(market) = self.symbols.get_mut(symbol.ix()) {
            for (rises, entry) in held {
                market.triggers.watch(working).side(rises).insert(entry);
            }
        }
    }

    fn prices_apart(&self, symbol: SymbolIx) -> bool {
        let (Ok(market), Ok(instrument)) = (self.symbol(symbol), self.instrument(symbol)) else { return false };
        let Some(bound) = instrument.filters.trigger_protect else { return false };
        if market.mark.is_zero() || market.last.is_zero() {
            return false;
        }
        let apart = (market.mark.mantissa() as i128 - market.last.mantissa() as i128).abs();
        apart * Rate::ONE.mantissa() as i128 > market.mark.mantissa() as i128 * bound.mantissa() as i128
    }

    fn trigger(&mut self, id: VenueOrderId, out: Out<'_>) {
        self.set_conditional(id, ConditionalStatus::Triggering, out);
        if self.faults.happens(Chance::Stuck) {
            return;
        }
        if self.config.trigger_delay == Span::ZERO {
            self.launch(id, out);
        } else {
            self.schedule(self.clock.plus(self.config.trigger_delay), Due::Launch(id));
        }
    }

    /// A triggered order enters the book as an ordinary one.
    pub(super) fn launch(&mut self, id: VenueOrderId, out: Out<'_>) {
        let Some(order) = self.conditionals.map.get(&id) else { return };
        if order.status != ConditionalStatus::Triggering {
            return;
        }
        let account = order.account;
        let reducible = self.accounts.get(&account).map_or(0, |a| a.reducible(order.symbol, order.side));
        let close = order.terms.close_position;
        if close && reducible == 0 {
            return self.set_conditional(id, ConditionalStatus::Expired, out);
        }
        let terms = match order.terms.limit {
            Some((price, time_in_force)) => Terms::Limit { price, time_in_force },
            None => Terms::Market,
        };
        let child = PlaceOrder {
            key: order.key,
            symbol: order.symbol,
            side: order.side,
            quantity: if close { quantity(reducible) } else { order.quantity },
            terms,
            reduce_only: order.reduce_only || close,
            position_side: PositionSide::Both,
        };
        if let Err(refused) = self.place(account, &child, Some(id), out) {
            if let Some(order) = self.conditionals.map.get_mut(&id) {
                order.reason = refused.message;
            }
            self.set_conditional(id, ConditionalStatus::Rejected, out);
        }
    }

    /// The ordinary order exists.
    pub(super) fn conditional_became(&mut self, id: VenueOrderId, child: VenueOrderId, out: Out<'_>) {
        if let Some(order) = self.conditionals.map.get_mut(&id) {
            order.became = Some(child);
        }
        self.set_conditional(id, ConditionalStatus::Triggered, out);
    }

    /// The ordinary order is over.
    pub(super) fn conditional_finished(&mut self, id: VenueOrderId, out: Out<'_>) {
        self.set_conditional(id, ConditionalStatus::Finished, out);
    }

    fn set_conditional(&mut self, id: VenueOrderId, status: ConditionalStatus, out: Out<'_>) {
        self.conditionals.set(id, status, self.clock);
        if let Some(order) = self.conditionals.map.get(&id) {
            let (account, report) = (order.account, order.report());
            self.report(account, Report::Conditional(Box::new(report)), out);
        }
    }

    /// Cancels one that waits or hangs.
    pub(super) fn cancel_conditional(
        &mut self,
        account: AccountIx,
        symbol: SymbolIx,
        order: OrderRef,
        out: Out<'_>,
    ) -> Result<ConditionalReport, VenueError> {
        let found = self.conditionals.find(account, symbol, order).filter(|o| o.is_open());
        let found = found.ok_or_else(|| error(-2011))?;
        let id = found.id;
        if let Some(market) = self.symbols.get_mut(symbol.ix()) {
            market.triggers.remove(found);
        }
        self.set_conditional(id, ConditionalStatus::Canceled, out);
        self.conditionals.map.get(&id).map(|o| o.report()).ok_or_else(|| error(-2011))
    }

    /// Cancels all that wait or hang, of one symbol or of all.
    pub(super) fn cancel_all_conditionals(&mut self, account: AccountIx, symbol: Option<SymbolIx>, out: Out<'_>) {
        let open = self.conditionals.open_of(account).filter(|o| symbol.is_none_or(|s| o.symbol == s));
        let open: Vec<(SymbolIx, VenueOrderId)> = open.map(|o| (o.symbol, o.id)).collect();
        for (symbol, id) in open {
            // Each was found open a line ago.
            let _ = self.cancel_conditional(account, symbol, OrderRef::Id(id), out);
        }
    }
}
