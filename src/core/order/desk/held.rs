//! Strangers whose owner is being looked for.
//!
//! A triggered conditional order is an ordinary order with a number of its own, and it may report before the report that names
//! the number. It carries our client id as a rule; if it does not, only the number tells whose it is. So an order or a trade
//! of a stranger waits while an order of ours that has no number yet could be its owner; that order is asked for, and when
//! the answers are in, the stranger goes to its owner or is taken for foreign. Nothing of it is booked before.
#![deny(clippy::float_arithmetic)]

use super::table::Task;
use super::{Desk, is_due};
use crate::event::{AlertCode, Event};
use crate::id::{SymbolIx, VenueOrderId};
use crate::node::{Context, Outbox};
use crate::num::Side;
use crate::order::state::{Order, OrderRef, Phase, half};
use crate::order::{End, OrderReport, TradeRecord};
use crate::time::Ts;
use serde::{Deserialize, Serialize};

/// What a stranger reported so far. It is kept small by dropping duplicates.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held {
    reports: Vec<OrderReport>,
    trades: Vec<TradeRecord>,
    side: Side,
    /// When it was seen first.
    since: Ts,
    /// When to look again.
    due: Ts,
}

type Link = (SymbolIx, VenueOrderId);

impl Desk {
    fn held_mut(&mut self, link: Link, side: Side, context: &Context<'_>) -> &mut Held {
        let due = context.now.plus(half(context.config.timing.query_backoff));
        if !self.state.held.contains_key(&link) {
            self.state.reschedule(Task::Held(link.0, link.1), None, Some(due));
        }
        let fresh = || Held { reports: Vec::new(), trades: Vec::new(), side, since: context.now, due };
        self.state.held.entry(link).or_insert_with(fresh)
    }

    pub(super) fn hold_report(&mut self, report: &OrderReport, context: &Context<'_>) {
        let held = self.held_mut((report.symbol, report.venue_id), report.side, context);
        if !held.reports.contains(report) {
            held.reports.push(report.clone());
        }
    }

    pub(super) fn hold_trade(&mut self, trade: &TradeRecord, context: &Context<'_>) {
        let held = self.held_mut((trade.symbol, trade.venue_id), trade.side, context);
        if !held.trades.iter().any(|other| other.fill.trade_id == trade.fill.trade_id) {
            held.trades.push(trade.clone());
        }
    }

    /// Gives a stranger to the order that has its number.
    pub(super) fn release_to_owner(&mut self, link: Link, context: &Context<'_>, out: &mut Outbox) {
        let Some(held) = self.remove_held(link) else { return };
        for report in &held.reports {
            self.on_order_report(report, None, context, out);
        }
        self.book_trades(&held.trades, true, context, out);
    }

    fn remove_held(&mut self, link: Link) -> Option<Held> {
        let held = self.state.held.remove(&link)?;
        self.state.reschedule(Task::Held(link.0, link.1), Some(held.due), None);
        Some(held)
    }

    /// An order of ours turns out to have the number of an order that was taken for foreign before: the two become one. What
    /// was booked stays booked where it is.
    pub(super) fn absorb(&mut self, id: OrderRef, order: &mut Order, out: &mut Outbox) {
        let Some(venue) = order.venue_id else { return };
        let Some(other) = self.state.by_venue(order.symbol, venue).filter(|other| *other != id) else { return };
        let Some(mut entry) = self.state.remove(other) else { return };
        order.absorb(&entry.order);
        let text = format!("order {} was taken for a foreign one; its fills so far are booked as such", order.key);
        self.alert(AlertCode::OrderRepaired, Some(order), text, out);
        if !entry.order.is_over() {
            entry.order.phase = Phase::Ended(End::Canceled);
            (entry.order.settle, entry.order.reported) = (false, entry.order.booked);
            out.push(Event::Order(entry.order.view()));
        }
    }

    /// Looks for the owner: asks the orders that could be it, or takes the stranger for foreign when none is left.
    /// `due`: its own time has come, which is when the asking begins.
    pub(super) fn review_held(&mut self, link: Link, due: bool, context: &Context<'_>, out: &mut Outbox) {
        let Some(held) = self.state.held.get(&link) else { return };
        if !due && !is_due(held.since.plus(half(context.config.timing.query_backoff)), context.now) {
            return;
        }
        let candidates = self.owners_left(held, link.0);
        if candidates.is_empty() {
            self.release_as_foreign(link, context, out);
            return;
        }
        if !due {
            return;
        }
        let next = context.now.plus(context.config.timing.order_timeout);
        if let Some(held) = self.state.held.get_mut(&link) {
            held.due = next;
        }
        self.state.reschedule(Task::Held(link.0, link.1), None, Some(next));
        for id in candidates {
            let Some(mut entry) = self.state.take(id) else { continue };
            entry.order.start_asking(context.now, false);
            self.put(id, entry, context, out);
        }
    }

    /// Orders that could still be the owner: they have no number, and no answer to a question from after the stranger was seen; or they are on
    /// their way into the book just now.
    fn owners_left(&self, held: &Held, symbol: SymbolIx) -> Vec<OrderRef> {
        let waiting_only = !held.reports.is_empty();
        let open = |id: &OrderRef| self.state.open.get(id).map(|entry| &entry.order);
        let may_own = |order: &Order| {
            let on_its_way = matches!(order.phase, Phase::Triggering { .. }) && !order.stuck;
            order.side == held.side && (order.answered_at <= held.since || on_its_way)
        };
        let candidates = self.state.candidates(symbol, waiting_only);
        candidates.filter(|id| open(id).is_some_and(may_own)).collect()
    }

    fn release_as_foreign(&mut self, link: Link, context: &Context<'_>, out: &mut Outbox) {
        let Some(held) = self.remove_held(link) else { return };
        for report in &held.reports {
            match self.state.locate(report.symbol, report.key, report.venue_id) {
                Some(id) => self.apply(id, report, None, context, out),
                None => self.adopt(report, context, out),
            }
        }
        self.book_trades(&held.trades, false, context, out);
    }
}
