//! The order desk of one account: the table of its orders, the commands about them, and the booking of their fills.
//!
//! In: what the gate approved, what the venue says (reports, answers, outcomes), timers, findings of the reconciliation, halts.
//! Out: commands to the venue, a `Fill` exactly once per trade, an `Order` whenever an order's view changed, alerts.
//! It never sends a placement twice: what is not known to have failed is asked for, and it never gives up an order of which
//! the venue may still know. The steps of a single order are in [`super::state`]; here is the table around them.
//! The cost of an event depends on the number of open orders at most by a logarithm, on finished ones not at all.
#![deny(clippy::float_arithmetic)]

use crate::command::{
    Answer, CommandId, CommandKind, Outcome, Query, QueryAnswer, Report, RequestOutcome, VenueCommand,
};
use crate::config::{AccountConfig, OnFault};
use crate::event::{Alert, AlertCode, Decision, Event, HaltReason, Input, OperatorCommand, Scope, Station, TimerId};
use crate::id::{AccountIx, OrderKey, SymbolIx};
use crate::node::{Context, Node, Outbox, SnapshotError, decode_state, encode_state};
use crate::order::OrderUpdate;
use crate::order::reconcile::Finding;
use crate::order::state::{CancelStage, Order, OrderRef, Phase};
use crate::time::{Span, Ts};
use std::sync::Arc;

mod ask;
mod close;
mod conditional;
mod fills;
mod finding;
mod held;
mod report;
mod request;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::account_config as test_account;

use table::{Entry, Pending, State, Task};

/// Events that one order or trade may need at most. With less room left in its step, the desk goes on in a later one: a legal
/// answer of any length, or a halt with any number of orders, is never more than a step may emit.
const ROOM: usize = 64;

/// The node Desk of one account.
#[derive(Debug, Clone)]
pub struct Desk {
    account: AccountIx,
    state: State,
}

/// An open order as the watchdog needs it, to cancel entries when control is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenEntry {
    /// The symbol.
    pub symbol: SymbolIx,
    /// The client id under which the venue knows it.
    pub key: OrderKey,
    /// Whether the conditional-order service has it.
    pub conditional: bool,
    /// It stays when control is lost, unless the account says otherwise: see [`Terms::reduces`](crate::order::Terms::reduces).
    pub protective: bool,
}

impl OpenEntry {
    fn of(order: &Order) -> OpenEntry {
        OpenEntry {
            symbol: order.symbol,
            key: order.wire_key(),
            conditional: order.view().conditional,
            protective: order.is_protective(),
        }
    }
}

/// Whether an order is cancelled when control over its account is lost: entries of ours, or everything where the account says
/// so. Others' orders are left to their owners then, and an account that is only watched is left alone.
fn goes_with_control(order: &Order, account: &AccountConfig) -> bool {
    let all = account.on_fault == OnFault::CancelAll;
    account.trading && (all || !(order.is_protective() || order.adopted))
}

impl Desk {
    /// A desk without orders.
    pub fn new(account: AccountIx) -> Desk {
        Desk { account, state: State::default() }
    }

    /// The open orders as others see them: those not over, or with fills still to be booked.
    pub fn orders(&self) -> impl Iterator<Item = OrderUpdate> + '_ {
        self.state.open.values().map(|entry| entry.order.view())
    }

    /// An order, open or lately over; somebody else's only while it is open.
    pub fn order(&self, symbol: SymbolIx, key: OrderKey) -> Option<&Order> {
        let open = || self.state.find_open(symbol, key);
        let id = key.ours().map(OrderRef::Ours).filter(|id| self.state.entry(*id).is_some()).or_else(open)?;
        self.state.entry(id).map(|entry| &entry.order)
    }

    /// The open orders as the watchdog needs them.
    pub fn entries(&self) -> impl Iterator<Item = OpenEntry> + '_ {
        self.state.open.values().map(|entry| &entry.order).filter(|order| !order.has_ended()).map(OpenEntry::of)
    }

    /// What is cancelled when control is lost.
    pub fn lost_control<'a>(&'a self, account: &'a AccountConfig) -> impl Iterator<Item = OpenEntry> + 'a {
        let open = self.state.open.values().map(|entry| &entry.order).filter(|order| !order.has_ended());
        open.filter(|order| goes_with_control(order, account)).map(OpenEntry::of)
    }

    /// How many orders may or may not exist.
    pub fn unknown_count(&self) -> usize {
        self.state.open.values().filter(|entry| entry.order.phase == Phase::Unknown).count()
    }

    /// How many orders ended at the venue with fills that are not booked yet, or work with such fills.
    pub fn owed_count(&self) -> usize {
        self.state.owed.len()
    }

    /// Takes a recorded decision on recovery: what it did to the orders is done again, once. Views that change by it are told.
    pub fn fold(&mut self, decision: &Decision, context: &Context<'_>, out: &mut Outbox) {
        let command = match decision {
            Decision::Command(command) if command.account == self.account => command,
            // What it cancels at once is recorded too; what waited for its confirmation is only known from here.
            Decision::Halted { scope, reason } => {
                for id in self.halted_orders(*scope, *reason, context) {
                    self.fold_wish(id, context);
                }
                return;
            }
            Decision::Refused(refused) if refused.intent.account() == self.account => {
                self.part_refused(refused, context);
                return;
            }
            _ => return,
        };
        match &command.kind {
            CommandKind::Place(new) => {
                let id = OrderRef::Ours(new.intent.id);
                if self.state.entry(id).is_none() {
                    self.file(id, Entry::new(Order::placed(new, context.now)), context);
                }
                if close::is_part(new.intent.id) {
                    self.note_part(new.intent.id, new.intent.symbol, context);
                }
                self.fold_sent(id, command, context, out);
            }
            CommandKind::Modify { id, .. } => self.fold_sent(OrderRef::Ours(*id), command, context, out),
            CommandKind::Cancel { symbol, key, .. } | CommandKind::Query(Query::Order { symbol, key, .. }) => {
                if let Some(id) = self.state.find_open(*symbol, *key) {
                    self.fold_sent(id, command, context, out);
                }
            }
            CommandKind::Query(Query::Trades { symbol, from }) => {
                self.trades_sent(*symbol, *from, command.id, context, true);
            }
            CommandKind::Query(_) => {}
        }
    }

    fn fold_sent(&mut self, id: OrderRef, command: &VenueCommand, context: &Context<'_>, out: &mut Outbox) {
        let Some(mut entry) = self.state.take(id) else { return };
        let old = entry.order.sent(&command.kind, command.id, context.now, &context.config.timing);
        self.state.replace_command(old, command.id, Pending::of(&command.kind, id));
        let view = entry.order.view();
        if entry.told != Some(view) {
            entry.told = Some(view);
            out.push(Event::Order(view));
        }
        self.file(id, entry, context);
    }

    fn fold_wish(&mut self, id: OrderRef, context: &Context<'_>) {
        if let Some(mut entry) = self.state.take(id) {
            entry.order.want_cancel();
            self.file(id, entry, context);
        }
    }

    /// Emits a command about an order and notes it; see [`Order::sent`].
    fn issue(&mut self, id: OrderRef, order: &mut Order, kind: CommandKind, context: &Context<'_>, out: &mut Outbox) {
        let command = VenueCommand { id: context.next_command(), account: self.account, kind };
        let old = order.sent(&command.kind, command.id, context.now, &context.config.timing);
        self.state.replace_command(old, command.id, Pending::of(&command.kind, id));
        out.push(Event::Command(command));
    }

    /// Puts an order back that was taken out: sends what it waits to send, tells its view if that changed, and files it.
    fn put(&mut self, id: OrderRef, mut entry: Box<Entry>, context: &Context<'_>, out: &mut Outbox) {
        self.absorb(id, &mut entry.order, out);
        self.flush(id, &mut entry.order, context, out);
        let view = entry.order.view();
        if entry.told != Some(view) {
            entry.told = Some(view);
            out.push(Event::Order(view));
        }
        if entry.order.is_over() {
            self.part_over(&entry.order, context, out);
        }
        let link = entry.order.venue_id.map(|venue| (entry.order.symbol, venue));
        self.file(id, entry, context);
        if let Some(link) = link
            && self.state.held.contains_key(&link)
        {
            self.release_to_owner(link, context, out);
        }
    }

    /// Sends a cancellation that waited for its time, and a question that is due.
    fn flush(&mut self, id: OrderRef, order: &mut Order, context: &Context<'_>, out: &mut Outbox) {
        if order.has_ended() || out.room() < ROOM {
            return;
        }
        if let Some(cancel) = order.cancel
            && order.can_cancel()
        {
            let due = match cancel.stage {
                CancelStage::Queued => true,
                CancelStage::Retry { at } => at <= context.now,
                CancelStage::Sent { .. } | CancelStage::Asked => false,
            };
            if due {
                self.send_cancel(id, order, context, out);
            }
        }
        if order.ask.is_some_and(|ask| ask.command.is_none() && ask.next_at <= context.now) {
            self.send_question(id, order, context, out);
        }
    }

    /// Files an order: its place in the tables, its indices, its next waking.
    fn file(&mut self, id: OrderRef, entry: Box<Entry>, context: &Context<'_>) {
        let bound = self.config(context).map_or(Span::from_secs(10), |account| account.triggering_bound);
        // Never at once: what is due now has been done, and a timer must not fire itself.
        let soonest = context.now.plus(Span::from_millis(1));
        let wake = entry.order.next_wake(&context.config.timing, bound).map(|at| at.max(soonest));
        let (symbol, owes) = (entry.order.symbol, entry.order.owes());
        self.state.file(id, entry, wake);
        if owes {
            self.expect_trades(symbol, context);
        }
    }

    fn config<'c>(&self, context: &Context<'c>) -> Option<&'c AccountConfig> {
        context.config.account(self.account)
    }

    fn alert(&self, code: AlertCode, order: Option<&Order>, text: impl Into<Arc<str>>, out: &mut Outbox) {
        out.push(Event::Alert(Alert {
            code,
            account: Some(self.account),
            symbol: order.map(|order| order.symbol),
            order: order.and_then(|order| order.key.ours()),
            text: text.into(),
        }));
    }

    /// A report that cannot be: a person is told, the account is not trusted until it is reconciled (so the gate refuses new
    /// risk), and the order is asked for. The report itself is not applied.
    fn impossible(&mut self, order: &mut Order, why: &str, ask: bool, context: &Context<'_>, out: &mut Outbox) {
        let text = format!("order {}: {why}", order.key);
        self.alert(AlertCode::ImpossibleReport, Some(order), text, out);
        out.push(Event::Untrusted(self.account));
        if ask && !order.has_ended() {
            order.start_asking(context.now, true);
        }
    }

    fn on_input(&mut self, input: &Input, context: &Context<'_>, out: &mut Outbox) {
        match input {
            Input::Report(Report::Order(report)) if report.account == self.account => {
                self.on_order_report(report, None, context, out);
            }
            Input::Report(Report::Conditional(report)) if report.account == self.account => {
                self.on_conditional_report(report, context, out);
            }
            Input::Answer(QueryAnswer { command, account, result }) if *account == self.account => {
                self.on_answer(*command, result, context, out);
            }
            Input::Outcome(RequestOutcome { command, account, outcome }) if *account == self.account => {
                self.on_outcome(*command, outcome, context, out);
            }
            Input::Timer(timer) if timer.station == Station::Desk(self.account) => self.on_timer(context, out),
            Input::Start { .. } => self.on_start(context, out),
            Input::Command(OperatorCommand::CancelAll { account, symbol }) if *account == self.account => {
                for id in self.orders_where(|order| symbol.is_none_or(|s| s == order.symbol)) {
                    self.want_cancel(id, context, out);
                }
            }
            _ => {}
        }
    }

    fn on_answer(
        &mut self,
        command: CommandId,
        result: &Result<Answer, crate::command::VenueError>,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        match self.state.commands.remove(&command) {
            Some(Pending::Ask(id)) => self.on_order_answer(id, command, result, context, out),
            Some(Pending::Trades(symbol)) => self.on_trades_answer(symbol, command, result, context, out),
            Some(other) => {
                // An answer to something that is not a question: its outcome comes by itself.
                self.state.commands.insert(command, other);
            }
            None => {}
        }
    }

    fn on_outcome(&mut self, command: CommandId, outcome: &Outcome, context: &Context<'_>, out: &mut Outbox) {
        if matches!(outcome, Outcome::Written) {
            return self.on_written(command, context, out);
        }
        match self.state.commands.remove(&command) {
            Some(Pending::Place(id)) => self.on_place_outcome(id, outcome, context, out),
            Some(Pending::Cancel(id)) => self.on_cancel_outcome(id, command, outcome, context, out),
            Some(Pending::Modify(id)) => self.on_modify_outcome(id, command, outcome, context, out),
            Some(Pending::Ask(id)) => self.on_question_failed(id, command, outcome, context, out),
            Some(Pending::Trades(symbol)) => self.on_trades_failed(symbol, command, outcome, context),
            Some(Pending::Blind) => match outcome {
                Outcome::Order(report) => self.on_order_report(report, None, context, out),
                Outcome::Conditional(report) => self.on_conditional_report(report, context, out),
                _ => {}
            },
            None => {}
        }
    }

    /// The engine starts: no request of before will be answered, so whatever was under way is unknown and asked for.
    fn on_start(&mut self, context: &Context<'_>, out: &mut Outbox) {
        self.state.commands.clear();
        self.state.armed = None;
        let open: Vec<OrderRef> = self.state.open.keys().copied().collect();
        for id in open {
            let Some(mut entry) = self.state.take(id) else { continue };
            let order = &mut entry.order;
            order.on_request_over(context.now);
            order.on_place_unknown(context.now);
            if matches!(order.cancel.map(|cancel| cancel.stage), Some(CancelStage::Sent { .. })) {
                order.on_cancel_unknown(context.now);
            }
            if order.modify.is_some() {
                order.on_modify_unknown(context.now);
            }
            if let Some(ask) = &mut order.ask {
                ask.command = None;
                ask.next_at = context.now;
            }
            self.put(id, entry, context, out);
        }
        self.restart_trades(context);
    }

    fn on_halted(&mut self, scope: Scope, reason: HaltReason, context: &Context<'_>, out: &mut Outbox) {
        for id in self.halted_orders(scope, reason, context) {
            self.want_cancel(id, context, out);
        }
    }

    /// The orders that a halt cancels: see [`goes_with_control`]. A stop of the daemon cancels nothing here: strategies do that
    /// by their `on_stop`.
    fn halted_orders(&self, scope: Scope, reason: HaltReason, context: &Context<'_>) -> Vec<OrderRef> {
        if reason == HaltReason::Stopping {
            return Vec::new();
        }
        let Some(account) = self.config(context) else { return Vec::new() };
        self.orders_where(|order| {
            let in_scope = match scope {
                Scope::All => true,
                Scope::Account(account) => account == order.account,
                Scope::Symbol(symbol) => symbol == order.symbol,
                Scope::Strategy(strategy) => strategy == order.strategy,
            };
            in_scope && goes_with_control(order, account)
        })
    }

    fn on_timer(&mut self, context: &Context<'_>, out: &mut Outbox) {
        self.state.armed = None;
        while out.room() >= ROOM
            && let Some(task) = self.state.due(context.now)
        {
            match task {
                Task::Order(id) => self.wake(id, context, out),
                Task::Trades(symbol) => self.wake_trades(symbol, context, out),
                Task::Held(symbol, venue) => self.review_held((symbol, venue), true, context, out),
                Task::Close(strategy, symbol) => self.work_close((strategy, symbol), context, out),
            }
        }
    }

    /// Keeps one timer of the engine at the earliest task.
    pub(crate) fn rearm(&mut self, out: &mut Outbox) {
        let earliest = self.state.tasks.first().map(|(at, _)| *at);
        if earliest == self.state.armed {
            return;
        }
        self.state.armed = earliest;
        let timer = TimerId { station: Station::Desk(self.account), key: 0 };
        out.push(match earliest {
            Some(at) => Event::Arm { timer, at },
            None => Event::Disarm(timer),
        });
    }
}

impl Node for Desk {
    fn on(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        match event {
            Event::Input(input) => self.on_input(input, context, out),
            Event::Approved(approved) if approved.account() == self.account => {
                self.on_grant(approved.grant(), context, out);
            }
            Event::Refused(refused) if refused.intent.account() == self.account => {
                if let Some((owner, text)) = self.part_refused(refused, context) {
                    self.tell_close(owner, &text, out);
                }
            }
            Event::Halted { scope, reason } => self.on_halted(*scope, *reason, context, out),
            Event::Reconciled(account) if *account == self.account => self.on_reconciled(),
            Event::Finding(finding) if finding.account() == self.account => match finding {
                Finding::OpenOrders { asked_at, orders, .. } => self.on_open_orders(*asked_at, orders, context, out),
                Finding::OpenConditionals { asked_at, orders, .. } => {
                    self.on_open_conditionals(*asked_at, orders, context, out);
                }
                Finding::Listed { asked_at, orders, conditionals, .. } => {
                    self.take_listed(*asked_at, orders, conditionals, context, out);
                }
                Finding::Trades { trades, .. } => {
                    self.note_page(trades);
                    self.book_trades(trades, true, context, out);
                }
                Finding::Holdings { .. } | Finding::Compared { .. } => {}
            },
            Event::Position(position) if position.account == self.account => {
                self.state.nets.insert((position.strategy, position.symbol), position.quantity);
                self.end_if_closed((position.strategy, position.symbol));
            }
            _ => {}
        }
        self.rearm(out);
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&self.state)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.state = decode_state("desk", snapshot)?;
        Ok(())
    }
}

/// Whether this is the time to do something that is due `at`.
const fn is_due(at: Ts, now: Ts) -> bool {
    at.nanos() <= now.nanos()
}
