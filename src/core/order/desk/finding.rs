//! What a reconciliation found: the venue's lists of open orders, compared with ours.
#![deny(clippy::float_arithmetic)]

use super::{Desk, ROOM};
use crate::event::Event;
use crate::id::{OrderKey, SymbolIx, VenueOrderId};
use crate::node::{Context, Outbox};
use crate::order::reconcile::Finding;
use crate::order::state::{Leg, Order, OrderRef, Phase};
use crate::order::{ConditionalReport, OrderReport};
use crate::time::Ts;
use std::collections::BTreeSet;

impl Desk {
    /// The list of open ordinary orders. What it has is taken like a report; what it lacks is asked for one by one, because
    /// only the order itself can tell how it ended.
    pub(super) fn on_open_orders(
        &mut self,
        asked_at: Ts,
        orders: &[OrderReport],
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let listed: BTreeSet<(SymbolIx, VenueOrderId)> = orders.iter().map(|o| (o.symbol, o.venue_id)).collect();
        let missing = |order: &Order| {
            let on_book = matches!(order.leg, Leg::Plain | Leg::Became { seen: true, .. });
            on_book
                && order.phase == Phase::Working
                && order.venue_id.is_none_or(|venue| !listed.contains(&(order.symbol, venue)))
        };
        self.ask_missing(asked_at, missing, context, out);
        self.take_listed(asked_at, orders, &[], context, out);
        self.hurry(context, out);
    }

    /// The list of open conditional orders.
    pub(super) fn on_open_conditionals(
        &mut self,
        asked_at: Ts,
        orders: &[ConditionalReport],
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let listed: BTreeSet<(SymbolIx, OrderKey)> = orders.iter().map(|o| (o.symbol, o.key)).collect();
        let missing = |order: &Order| {
            Desk::is_waiting(order)
                && matches!(order.phase, Phase::Working | Phase::Triggering { .. })
                && !listed.contains(&(order.symbol, order.key))
        };
        self.ask_missing(asked_at, missing, context, out);
        self.take_listed(asked_at, &[], orders, context, out);
    }

    /// Takes listed orders like reports, unless something newer is known. What finds no room comes again.
    pub(super) fn take_listed(
        &mut self,
        asked_at: Ts,
        orders: &[OrderReport],
        conditionals: &[ConditionalReport],
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let (mut plain, mut waiting) = (orders.iter(), conditionals.iter());
        while out.room() >= ROOM {
            if let Some(report) = plain.next() {
                let known = self.state.locate(report.symbol, report.key, report.venue_id);
                let changed = known.and_then(|id| self.state.entry(id)).map(|entry| entry.order.changed_at);
                if changed.is_none_or(|changed| changed < asked_at) {
                    self.on_order_report(report, Some(asked_at), context, out);
                }
            } else if let Some(report) = waiting.next() {
                let known = match report.key {
                    OrderKey::Ours(id) => self.state.entry(OrderRef::Ours(id)),
                    OrderKey::Foreign(_) => {
                        self.state.entry(OrderRef::ForeignConditional(report.symbol, report.venue_id))
                    }
                };
                if known.is_none_or(|entry| entry.order.changed_at < asked_at) {
                    self.on_conditional_report(report, context, out);
                }
            } else {
                return;
            }
        }
        let (orders, conditionals) = (plain.as_slice().to_vec(), waiting.as_slice().to_vec());
        out.push(Event::Finding(Finding::Listed { account: self.account, asked_at, orders, conditionals }));
    }

    fn ask_missing(&mut self, asked_at: Ts, missing: impl Fn(&Order) -> bool, context: &Context<'_>, out: &mut Outbox) {
        let open = self.state.open.iter().map(|(id, entry)| (id, &entry.order));
        let gone = open.filter(|(_, order)| order.changed_at < asked_at && order.ask.is_none() && missing(order));
        let gone: Vec<OrderRef> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            let Some(mut entry) = self.state.take(id) else { continue };
            entry.order.start_asking(context.now, true);
            self.put(id, entry, context, out);
        }
    }

    /// The venue answers: what is asked for after a long pause only, because it did not, is asked for at once.
    fn hurry(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let waits = |order: &Order| order.ask.is_some_and(|ask| ask.command.is_none() && ask.next_at > context.now);
        for id in self.orders_where(waits) {
            let Some(mut entry) = self.state.take(id) else { continue };
            entry.order.hurry(context.now);
            self.put(id, entry, context, out);
        }
    }
}
