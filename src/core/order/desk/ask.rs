//! Questions about single orders, repeated until the venue's answer settles the matter.
#![deny(clippy::float_arithmetic)]

use super::{Desk, is_due};
use crate::command::{Answer, CommandId, CommandKind, Outcome, Query, VenueError};
use crate::event::AlertCode;
use crate::id::SymbolIx;
use crate::node::{Context, Outbox};
use crate::order::state::Absence;
use crate::order::state::{CancelStage, Order, OrderRef, Phase};
use crate::time::Ts;

impl Desk {
    pub(super) fn send_question(&mut self, id: OrderRef, order: &mut Order, context: &Context<'_>, out: &mut Outbox) {
        let conditional = order.asks_conditional();
        let key = if conditional { order.key } else { order.wire_key() };
        let kind = CommandKind::Query(Query::Order { symbol: order.symbol, key, conditional });
        self.issue(id, order, kind, context, out);
    }

    pub(super) fn on_order_answer(
        &mut self,
        id: OrderRef,
        command: CommandId,
        result: &Result<Answer, VenueError>,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let Some(asked_at) = self.asked_at(id, command) else { return };
        match result {
            Ok(Answer::Order(report)) => {
                self.apply(id, report, Some(asked_at), context, out);
                self.answered(id, command, context, out);
            }
            Ok(Answer::Conditional(report)) => {
                self.apply_conditional(id, report, context, out);
                self.answered(id, command, context, out);
            }
            Ok(Answer::NoSuchOrder) => self.absent(id, context, out),
            Err(error) if error.is_unknown_order() => self.absent(id, context, out),
            _ => self.unanswered(id, None, context, out),
        }
    }

    /// When the question that this command asked was asked; `None` when the question is settled or was repeated since.
    fn asked_at(&self, id: OrderRef, command: CommandId) -> Option<Ts> {
        let ask = self.state.open.get(&id)?.order.ask?;
        (ask.command == Some(command)).then_some(ask.asked_at)
    }

    fn answered(&mut self, id: OrderRef, command: CommandId, context: &Context<'_>, out: &mut Outbox) {
        let Some(symbol) = self.state.entry(id).map(|entry| entry.order.symbol) else { return };
        if self.asked_at(id, command).is_some()
            && let Some(mut entry) = self.state.take(id)
        {
            entry.order.on_answered(&context.config.timing, context.now);
            self.put(id, entry, context, out);
        }
        self.review_symbol(symbol, context, out);
    }

    fn absent(&mut self, id: OrderRef, context: &Context<'_>, out: &mut Outbox) {
        let Some(mut entry) = self.state.take(id) else { return };
        let order = &mut entry.order;
        let absence = order.on_absent(&context.config.timing, context.now);
        if absence == Absence::Gone {
            let text = format!("order {} is gone from the venue without a report", order.key);
            self.alert(AlertCode::OrderRepaired, Some(order), text, out);
        }
        let symbol = order.symbol;
        self.put(id, entry, context, out);
        if absence == Absence::AskTrades {
            self.look_at_trades(symbol, context);
        }
        self.review_symbol(symbol, context, out);
    }

    fn unanswered(&mut self, id: OrderRef, retry_at: Option<Ts>, context: &Context<'_>, out: &mut Outbox) {
        let Some(mut entry) = self.state.take(id) else { return };
        entry.order.on_unanswered(&context.config.timing, context.now, retry_at);
        self.put(id, entry, context, out);
    }

    pub(super) fn on_question_failed(
        &mut self,
        id: OrderRef,
        command: CommandId,
        outcome: &Outcome,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        if self.asked_at(id, command).is_none() {
            return;
        }
        match outcome {
            Outcome::Rejected(error) if error.is_unknown_order() => self.absent(id, context, out),
            Outcome::Limited(at) => self.unanswered(id, Some(*at), context, out),
            _ => self.unanswered(id, None, context, out),
        }
    }

    /// Time has brought something for an order.
    pub(super) fn wake(&mut self, id: OrderRef, context: &Context<'_>, out: &mut Outbox) {
        let Some(mut entry) = self.state.take(id) else { return };
        let (now, timing) = (context.now, &context.config.timing);
        let order = &mut entry.order;
        if order.phase == Phase::InFlight && is_due(order.sent_at.plus(timing.order_timeout), now) {
            order.on_place_unknown(now);
        }
        if let Some(CancelStage::Sent { at, .. }) = order.cancel.map(|cancel| cancel.stage)
            && is_due(at.plus(timing.order_timeout), now)
        {
            order.on_cancel_unknown(now);
        }
        if let Some(modify) = order.modify
            && modify.command.is_some()
            && is_due(modify.sent_at.plus(timing.order_timeout), now)
        {
            order.on_modify_unknown(now);
        }
        if order.ask.is_none() && order.child_due(timing).is_some_and(|at| is_due(at, now)) {
            order.start_asking(now, false);
        }
        if let Some(ask) = &mut order.ask
            && is_due(ask.next_at, now)
        {
            // No answer in time: asked anew.
            ask.command = None;
        }
        let closing = self.watch_trigger(order, context, out);
        self.put(id, entry, context, out);
        if let Some(owner) = closing {
            self.work_close(owner, context, out);
        }
    }

    /// Looks again for the owners of strangers of a symbol, after something was learnt of its orders.
    pub(super) fn review_symbol(&mut self, symbol: SymbolIx, context: &Context<'_>, out: &mut Outbox) {
        let held: Vec<_> = self.state.held.keys().copied().filter(|(other, _)| *other == symbol).collect();
        for link in held {
            self.review_held(link, false, context, out);
        }
    }
}
