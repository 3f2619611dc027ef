//! What the gate granted, and what became of the requests.
#![deny(clippy::float_arithmetic)]

use super::table::{Entry, Pending};
use super::{Desk, is_due};
use crate::command::{CommandId, CommandKind, Outcome, VenueCommand};
use crate::event::{Event, Refused};
use crate::id::{ClientOrderId, OrderKey, SymbolIx};
use crate::node::{Context, Outbox};
use crate::num::{Price, Quantity};
use crate::order::state::{Cancel, CancelStage, Order, OrderRef, backoff};
use crate::order::{End, Intent, NewOrder};
use crate::risk::gate::{Grant, Refusal};
use crate::time::Ts;

impl Desk {
    pub(super) fn on_grant(&mut self, grant: &Grant, context: &Context<'_>, out: &mut Outbox) {
        match grant {
            Grant::Place(order) => self.place(order, context, out),
            Grant::Other(intent) => match *intent {
                Intent::Cancel { symbol, key, .. } => self.cancel(symbol, key, context, out),
                Intent::Modify { symbol, id, price, quantity, .. } => {
                    self.modify(intent, symbol, id, (price, quantity), context, out);
                }
                Intent::CancelAll { strategy, symbol, .. } => {
                    let hit = |order: &Order| order.strategy == strategy && symbol.is_none_or(|s| s == order.symbol);
                    for id in self.orders_where(hit) {
                        self.want_cancel(id, context, out);
                    }
                }
                // A placement has a grant of its own.
                Intent::Place(_) => {}
            },
        }
    }

    /// Records an order and sends it. An id that was used is refused: the venue would accept it again.
    fn place(&mut self, order: &NewOrder, context: &Context<'_>, out: &mut Outbox) {
        let id = OrderRef::Ours(order.intent.id);
        if self.state.entry(id).is_some() {
            let reason = Refusal::DuplicateId(order.intent.id);
            out.push(Event::Refused(Refused { intent: Intent::Place(order.intent), reason }));
            return;
        }
        let mut entry = Entry::new(Order::placed(order, context.now));
        self.issue(id, &mut entry.order, CommandKind::Place(*order), context, out);
        self.put(id, entry, context, out);
    }

    /// Cancels one order. A cancellation of an order that is not confirmed waits for that, because it could overtake it and
    /// then prove nothing. One of an order that nobody here knows is sent as it is.
    fn cancel(&mut self, symbol: SymbolIx, key: OrderKey, context: &Context<'_>, out: &mut Outbox) {
        if let Some(id) = self.state.find_open(symbol, key) {
            self.want_cancel(id, context, out);
            return;
        }
        if key.ours().is_some_and(|id| self.state.entry(OrderRef::Ours(id)).is_some()) {
            return;
        }
        let kind = CommandKind::Cancel { symbol, key, conditional: false };
        let command = VenueCommand { id: context.next_command(), account: self.account, kind };
        self.state.replace_command(None, command.id, Pending::Blind);
        out.push(Event::Command(command));
    }

    /// The open orders that `hit` chooses.
    pub(super) fn orders_where(&self, hit: impl Fn(&Order) -> bool) -> Vec<OrderRef> {
        let open = self.state.open.iter().filter(|(_, entry)| hit(&entry.order));
        open.map(|(id, _)| *id).collect()
    }

    pub(super) fn want_cancel(&mut self, id: OrderRef, context: &Context<'_>, out: &mut Outbox) {
        let Some(mut entry) = self.state.take(id) else { return };
        entry.order.want_cancel();
        entry.order.hurry(context.now);
        self.put(id, entry, context, out);
    }

    pub(super) fn send_cancel(&mut self, id: OrderRef, order: &mut Order, context: &Context<'_>, out: &mut Outbox) {
        let conditional = order.view().conditional;
        let kind = CommandKind::Cancel { symbol: order.symbol, key: order.wire_key(), conditional };
        self.issue(id, order, kind, context, out);
    }

    /// Changes price and quantity of a limit order that works. From here on its view has the larger of old and new.
    fn modify(
        &mut self,
        intent: &Intent,
        symbol: SymbolIx,
        client: ClientOrderId,
        (price, quantity): (Price, Quantity),
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let id = OrderRef::Ours(client);
        let can = self.state.open.get(&id).is_some_and(|entry| entry.order.can_modify());
        let taken = if can { self.state.take(id) } else { None };
        let Some(mut entry) = taken else {
            let reason = Refusal::UnknownOrder(OrderKey::Ours(client));
            out.push(Event::Refused(Refused { intent: *intent, reason }));
            self.tell_again(id, out);
            return;
        };
        let kind = CommandKind::Modify { symbol, id: client, side: entry.order.side, price, quantity };
        self.issue(id, &mut entry.order, kind, context, out);
        self.put(id, entry, context, out);
    }

    /// Tells an order's view once more, for a gate that already holds exposure for a change that does not happen.
    fn tell_again(&self, id: OrderRef, out: &mut Outbox) {
        if let Some(entry) = self.state.entry(id) {
            out.push(Event::OrderAgain(entry.order.view()));
        }
    }

    /// A request was handed to the socket: from here on it may arrive, so proofs that it did not count from here.
    pub(super) fn on_written(&mut self, command: CommandId, context: &Context<'_>, out: &mut Outbox) {
        let (id, place) = match self.state.commands.get(&command) {
            Some(Pending::Place(id)) => (*id, true),
            Some(Pending::Modify(id)) => (*id, false),
            _ => return,
        };
        let Some(mut entry) = self.state.take(id) else { return };
        if place {
            entry.order.on_request_over(context.now);
        } else {
            entry.order.on_modify_written(command, context.now);
        }
        self.put(id, entry, context, out);
    }

    pub(super) fn on_place_outcome(
        &mut self,
        id: OrderRef,
        outcome: &Outcome,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let Some(mut entry) = self.state.take(id) else { return };
        let (order, now) = (&mut entry.order, context.now);
        let asked_at = order.sent_at;
        order.on_request_over(now);
        match outcome {
            Outcome::Rejected(error) => {
                order.on_place_failed(End::Rejected(error.code), now);
            }
            Outcome::NotSent | Outcome::Limited(_) => {
                order.on_place_failed(End::NeverArrived, now);
            }
            Outcome::Unknown(_) | Outcome::TimedOut | Outcome::LinkLost => {
                order.on_place_unknown(now);
            }
            Outcome::Written | Outcome::Order(_) | Outcome::Conditional(_) => {}
        }
        self.put(id, entry, context, out);
        self.take_reply(id, outcome, asked_at, context, out);
    }

    /// Applies the state that came as the answer to a request.
    fn take_reply(&mut self, id: OrderRef, outcome: &Outcome, asked_at: Ts, context: &Context<'_>, out: &mut Outbox) {
        match outcome {
            Outcome::Order(report) => self.apply(id, report, Some(asked_at), context, out),
            Outcome::Conditional(report) => self.apply_conditional(id, report, context, out),
            _ => {}
        }
    }

    pub(super) fn on_cancel_outcome(
        &mut self,
        id: OrderRef,
        command: CommandId,
        outcome: &Outcome,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let stage = self.state.open.get(&id).and_then(|entry| entry.order.cancel).map(|cancel| cancel.stage);
        let sent_at = match stage {
            Some(CancelStage::Sent { command: current, at }) if current == command => at,
            _ => Ts::ZERO,
        };
        self.take_reply(id, outcome, sent_at, context, out);
        let Some(mut entry) = self.state.take(id) else { return };
        let (order, now) = (&mut entry.order, context.now);
        if let Some(Cancel { stage: CancelStage::Sent { command: current, .. }, attempts }) = order.cancel
            && current == command
        {
            let pause = now.plus(backoff(&context.config.timing, attempts));
            match outcome {
                Outcome::NotSent => order.on_cancel_unsent(pause),
                Outcome::Limited(at) => order.on_cancel_unsent(if is_due(*at, now) { pause } else { *at }),
                // Refused, lost, or accepted without the order being over: the order itself tells.
                _ => order.on_cancel_unknown(now),
            }
        }
        self.put(id, entry, context, out);
    }

    pub(super) fn on_modify_outcome(
        &mut self,
        id: OrderRef,
        command: CommandId,
        outcome: &Outcome,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let sent = self.state.open.get(&id).and_then(|entry| entry.order.modify);
        let Some(modify) = sent.filter(|modify| modify.command == Some(command)) else {
            self.take_reply(id, outcome, Ts::ZERO, context, out);
            return;
        };
        self.take_reply(id, outcome, modify.sent_at, context, out);
        let Some(mut entry) = self.state.take(id) else { return };
        let order = &mut entry.order;
        match outcome {
            Outcome::Unknown(_) | Outcome::TimedOut | Outcome::LinkLost => order.on_modify_unknown(context.now),
            Outcome::Rejected(error) => {
                order.on_modify_failed();
                if error.is_unknown_order() && !order.has_ended() {
                    order.start_asking(context.now, false);
                }
            }
            // Not sent; or done, and the state that came with it has been taken.
            _ => order.on_modify_failed(),
        }
        self.put(id, entry, context, out);
    }
}
