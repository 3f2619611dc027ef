//! Closing what a stuck stop should have closed: a task of each strategy and symbol, which lives until that is done.
//!
//! It is closed at market in the strategy's name, in parts of at most MARKET_LOT_SIZE, one after another. A part that is
//! refused, by the gate or the venue, or that never arrived is told to a person and tried again after a pause that doubles.
//! The task ends when as much is closed as the stuck orders should have, or when the strategy has no such position left.
//!
//! Everything in it follows from inputs (the trigger, fills, how a part ended) and from recorded decisions (which part was sent or
//! refused), so a recovery finds it where it was. A part of which neither tells was never sent: it is asked for anew.
#![deny(clippy::float_arithmetic)]

use super::Desk;
use super::table::Task;
use crate::event::{AlertCode, Event, Refused};
use crate::id::{ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use crate::node::{Context, Outbox};
use crate::num::{NetQuantity, Quantity, Side};
use crate::order::state::{Order, OrderRef, Phase, backoff};
use crate::order::{End, Intent, OrderIntent, PositionSide, Terms};
use crate::risk::gate::Refusal;
use crate::risk::refusal::Bound;
use crate::strategy::COUNTER_END;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whose position, and where.
type Owner = (StrategyIx, SymbolIx);

/// What is to be closed in the place of stuck stops.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Closing {
    side: Side,
    position_side: PositionSide,
    /// What is left to be closed; `None`: the position, however large it is.
    left: Option<Quantity>,
    /// The stuck orders: what they fill after all is closed too.
    stuck: BTreeSet<OrderKey>,
    /// The part that was asked for and is not known to be over.
    part: Option<ClientOrderId>,
    /// Parts that were asked for since the last one that filled.
    attempts: u32,
    /// When to look again.
    due: Ts,
}

impl Desk {
    /// A stop is stuck: from here on what it should have closed is closed in its place.
    pub(super) fn begin_close(&mut self, order: &Order, context: &Context<'_>) -> Owner {
        let owner = (order.strategy, order.symbol);
        let left = (!order.quantity.is_zero()).then(|| order.quantity.saturating_sub(order.booked));
        let before = self.end_close(owner).filter(|task| task.side == order.side);
        let mut task = before.unwrap_or_else(|| Closing {
            side: order.side,
            position_side: order.position_side,
            left: Some(Quantity::ZERO),
            stuck: BTreeSet::new(),
            part: None,
            attempts: 0,
            due: context.now,
        });
        task.left = task.left.zip(left).and_then(|(a, b)| a.checked_add(b));
        task.stuck.insert(order.key);
        self.state.reschedule(Task::Close(owner.0, owner.1), None, Some(task.due));
        self.state.closing.insert(owner, task);
        owner
    }

    /// Asks for the next part, unless one is under way or nothing is left.
    pub(super) fn work_close(&mut self, owner: Owner, context: &Context<'_>, out: &mut Outbox) {
        let Some(task) = self.state.closing.get(&owner) else { return };
        if task.part.is_some_and(|id| self.state.open.contains_key(&OrderRef::Ours(id))) {
            self.look_again(owner, context.now.plus(context.config.timing.order_timeout), context);
            return;
        }
        let (side, position_side) = (task.side, task.position_side);
        let wanted = self.wanted(owner, task);
        let instrument = context.universe.instrument(owner.1);
        let quantity = instrument.map_or(wanted, |instrument| instrument.market_part(wanted));
        if quantity.is_zero() {
            self.end_close(owner);
            if !wanted.is_zero() {
                self.tell_close(owner, "what is left is too small for an order: it stays open", out);
            }
            return;
        }
        let counter = self.state.next_close_id();
        let id = ClientOrderId { epoch: context.epoch, account: self.account, strategy: owner.0, counter };
        self.note_part(id, owner.1, context);
        out.push(Event::Intent(Intent::Place(OrderIntent {
            id,
            symbol: owner.1,
            side,
            quantity,
            terms: Terms::Market,
            reduce_only: true,
            position_side,
        })));
    }

    /// How much is to be closed: no more than the strategy's position, and while the account's covers a part of it, that part
    /// first, because it passes whatever is halted.
    fn wanted(&self, owner: Owner, task: &Closing) -> Quantity {
        let Some(net) = self.state.nets.get(&owner) else { return task.left.unwrap_or(Quantity::ZERO) };
        let position = against(*net, task.side);
        let wanted = task.left.map_or(position, |left| left.min(position));
        let of_symbol = self.state.nets.iter().filter(|((_, symbol), _)| *symbol == owner.1);
        let account = of_symbol.fold(NetQuantity::ZERO, |sum, (_, net)| sum.checked_add(*net).unwrap_or(sum));
        let cover = against(account, task.side);
        if cover.is_zero() { wanted } else { wanted.min(cover) }
    }

    /// Notes that a part was asked for: when that is decided, and when a record tells of it. Idempotent.
    pub(super) fn note_part(&mut self, id: ClientOrderId, symbol: SymbolIx, context: &Context<'_>) {
        self.state.note_close_id(id, context.epoch);
        let owner = (id.strategy, symbol);
        let Some(task) = self.state.closing.get_mut(&owner).filter(|task| task.part != Some(id)) else { return };
        task.part = Some(id);
        task.attempts = task.attempts.saturating_add(1);
        let pause = backoff(&context.config.timing, task.attempts);
        self.look_again(owner, context.now.plus(pause), context);
    }

    /// A part was refused here: told, and tried again after a pause. Idempotent. Returns what a person is to be told.
    pub(super) fn part_refused(&mut self, refused: &Refused, context: &Context<'_>) -> Option<(Owner, String)> {
        let Intent::Place(order) = &refused.intent else { return None };
        if !is_part(order.id) {
            return None;
        }
        self.note_part(order.id, order.symbol, context);
        let owner = (order.id.strategy, order.symbol);
        let unknown = !self.state.nets.contains_key(&owner);
        let task = self.state.closing.get_mut(&owner).filter(|task| task.part == Some(order.id))?;
        task.part = None;
        let hopeless = match refused.reason {
            Refusal::MinNotional { .. } => true,
            Refusal::LotFilter { broken, .. } => broken != Bound::Max,
            Refusal::NothingToReduce { .. } => unknown,
            _ => false,
        };
        if hopeless {
            self.end_close(owner);
        }
        let next = if hopeless { "it stays open" } else { "it will be tried again" };
        Some((owner, format!("the close was refused: {}; {next}", refused.reason)))
    }

    /// A part is over, its fills booked: the next one goes at once, what failed is tried again after a pause.
    pub(super) fn part_over(&mut self, order: &Order, context: &Context<'_>, out: &mut Outbox) {
        let Some(id) = order.key.ours().filter(|id| is_part(*id)) else { return };
        let owner = (order.strategy, order.symbol);
        let Some(task) = self.state.closing.get_mut(&owner).filter(|task| task.part == Some(id)) else { return };
        task.part = None;
        match order.phase {
            Phase::Ended(End::Filled) => {
                task.attempts = 0;
                self.look_again(owner, context.now, context);
            }
            phase => {
                let pause = backoff(&context.config.timing, task.attempts);
                self.look_again(owner, context.now.plus(pause), context);
                self.tell_close(owner, &format!("the close {id} ended as {phase:?}; it will be tried again"), out);
            }
        }
    }

    /// A fill was booked: what stuck orders and parts fill need not be closed any more.
    pub(super) fn note_closed(&mut self, owner: Owner, key: OrderKey, side: Side, quantity: Quantity) {
        if let Some(task) = self.state.closing.get_mut(&owner)
            && task.side == side
            && (task.stuck.contains(&key) || key.ours().is_some_and(is_part))
            && let Some(left) = &mut task.left
        {
            *left = left.saturating_sub(quantity);
        }
        self.end_if_closed(owner);
    }

    /// Ends a task as soon as nothing is left, so that it never closes what the strategy opens later.
    pub(super) fn end_if_closed(&mut self, owner: Owner) {
        if self.state.closing.get(&owner).is_some_and(|task| self.wanted(owner, task).is_zero()) {
            self.end_close(owner);
        }
    }

    fn end_close(&mut self, owner: Owner) -> Option<Closing> {
        let task = self.state.closing.remove(&owner)?;
        self.state.reschedule(Task::Close(owner.0, owner.1), Some(task.due), None);
        Some(task)
    }

    fn look_again(&mut self, owner: Owner, at: Ts, context: &Context<'_>) {
        let Some(task) = self.state.closing.get_mut(&owner) else { return };
        // Never at once: a timer must not fire itself.
        let at = at.max(context.now.plus(Span::from_millis(1)));
        let old = std::mem::replace(&mut task.due, at);
        self.state.reschedule(Task::Close(owner.0, owner.1), Some(old), Some(at));
    }

    pub(super) fn tell_close(&self, (strategy, symbol): Owner, what: &str, out: &mut Outbox) {
        let text = format!("position of strategy {} in symbol {} behind a stuck stop: {what}", strategy.0, symbol.0);
        out.push(Event::Alert(crate::event::Alert {
            code: AlertCode::TriggerRejected,
            account: Some(self.account),
            symbol: Some(symbol),
            order: None,
            text: text.into(),
        }));
    }
}

/// How much of a position an order of this side closes.
fn against(net: NetQuantity, side: Side) -> Quantity {
    if net.side() == Some(side.opposite()) { net.abs() } else { Quantity::ZERO }
}

/// Whether an order is one of the desk's own.
pub(super) const fn is_part(id: ClientOrderId) -> bool {
    id.counter >= COUNTER_END
}
