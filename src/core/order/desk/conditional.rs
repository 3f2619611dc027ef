//! Conditional orders: their reports, their refusal at the trigger, and triggers that get stuck.
#![deny(clippy::float_arithmetic)]

use super::table::Entry;
use super::{Desk, is_due};
use crate::config::OnStuckTrigger;
use crate::event::AlertCode;
use crate::id::{OrderKey, StrategyIx, SymbolIx};
use crate::node::{Context, Outbox};
use crate::order::state::{Leg, Order, OrderRef, Phase, Step, half};
use crate::order::{ConditionalReport, ConditionalStatus};

impl Desk {
    /// A report of the conditional-order service.
    pub(super) fn on_conditional_report(
        &mut self,
        report: &ConditionalReport,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let id = match report.key {
            OrderKey::Ours(id) => OrderRef::Ours(id),
            OrderKey::Foreign(_) => OrderRef::ForeignConditional(report.symbol, report.venue_id),
        };
        if self.state.entry(id).is_some() {
            self.apply_conditional(id, report, context, out);
        } else if !is_final(report.status) {
            let entry = Entry::new(Order::adopted_conditional(report, context.now));
            let text = format!("a conditional order that is not ours: {} {}", report.key, report.side.as_str());
            self.alert(AlertCode::ForeignOrder, Some(&entry.order), text, out);
            self.file(id, entry, context);
            self.apply_conditional(id, report, context, out);
        }
    }

    pub(super) fn apply_conditional(
        &mut self,
        id: OrderRef,
        report: &ConditionalReport,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let Some(mut entry) = self.state.take(id) else { return };
        let order = &mut entry.order;
        let ended = order.has_ended();
        match order.on_conditional(report, context.now) {
            Step::Impossible(why) => self.impossible(order, why, true, context, out),
            Step::Stale => {}
            Step::Moved if ended => {
                self.alert(AlertCode::OrderRepaired, Some(order), format!("order {} lives after all", order.key), out);
            }
            Step::Moved => {
                let refused = match report.status {
                    ConditionalStatus::Rejected => true,
                    ConditionalStatus::Expired => !report.reason.is_empty(),
                    _ => false,
                };
                if refused && order.has_ended() {
                    let text = format!("conditional order {} was refused at its trigger: {}", order.key, report.reason);
                    self.alert(AlertCode::TriggerRejected, Some(order), text, out);
                }
            }
        }
        self.put(id, entry, context, out);
    }

    /// Looks after an order whose trigger was reached: half way to the bound it is asked for, because the report may be lost.
    /// At the bound the alarm is given, the order is cancelled and, by policy, what it should have closed is closed in its place:
    /// whose that is, is returned, to be begun after the cancellation.
    pub(super) fn watch_trigger(
        &mut self,
        order: &mut Order,
        context: &Context<'_>,
        out: &mut Outbox,
    ) -> Option<(StrategyIx, SymbolIx)> {
        let Phase::Triggering { since } = order.phase else { return None };
        let account = self.config(context)?;
        if order.stuck {
            return None;
        }
        if !is_due(since.plus(account.triggering_bound), context.now) {
            let asked = order.ask.is_some() || order.answered_at >= since;
            if !asked && is_due(since.plus(half(account.triggering_bound)), context.now) {
                order.start_asking(context.now, false);
            }
            return None;
        }
        order.stuck = true;
        let text = format!("conditional order {} has been triggering for {:?}", order.key, context.now.since(since));
        self.alert(AlertCode::StuckTrigger, Some(order), text, out);
        if account.on_stuck_trigger != OnStuckTrigger::Close || order.adopted {
            return None;
        }
        order.want_cancel();
        // A conditional order that opens a position protects nothing.
        order.is_protective().then(|| self.begin_close(order, context))
    }

    /// Whether an order may be the owner of a stranger that trades on this side.
    pub(super) fn is_side(&self, id: OrderRef, side: crate::num::Side) -> bool {
        self.state.open.get(&id).is_some_and(|entry| entry.order.side == side)
    }

    /// Whether an open order waits at the conditional-order service.
    pub(super) fn is_waiting(order: &Order) -> bool {
        order.leg == Leg::Waiting
    }
}

const fn is_final(status: ConditionalStatus) -> bool {
    matches!(
        status,
        ConditionalStatus::Finished
            | ConditionalStatus::Canceled
            | ConditionalStatus::Rejected
            | ConditionalStatus::Expired
    )
}
