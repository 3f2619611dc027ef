//! What the runner takes from recorded inputs and decisions on recovery, and from the nodes that were rebuilt beside it.
//!
//! Strategies are not stepped in a fold. What a runner wanted and could not see done before the end of its life (entries to be
//! cancelled, a position to be closed) follows from what was recorded of its state, so it is wanted again in the next life.

use super::stop::Flatten;
use super::{FLATTEN_TIMER, Runner, State};
use crate::command::{CommandKind, VenueCommand};
use crate::config::OnStop;
use crate::event::{Decision, Event, HaltReason, Input, OperatorCommand, RunnerState, StopReason, VirtualPosition};
use crate::node::{Context, SnapshotError, decode_state};
use crate::order::state::Order;
use crate::order::{Intent, OrderUpdate};

impl Runner {
    /// Takes a recorded decision on recovery. Idempotent.
    pub fn fold(&mut self, decision: &Decision, context: &Context<'_>) {
        match decision {
            Decision::Runner { strategy, state } if *strategy == self.ix => {
                self.state.announced = Some(*state);
                self.state.life.stopped = match state {
                    RunnerState::Stopped(reason) => Some(*reason),
                    _ => None,
                };
            }
            Decision::Command(VenueCommand { kind: CommandKind::Place(order), .. })
                if order.intent.id.strategy == self.ix =>
            {
                self.state.own.used(order.intent.id);
                let order = Order::placed(order, context.now).view();
                if !self.state.own.orders().iter().any(|o| o.update.key == order.key) {
                    self.state.own.book_order(&order);
                }
            }
            Decision::Refused(refused) if refused.intent.strategy() == self.ix => {
                if let Intent::Place(order) = refused.intent {
                    self.state.own.used(order.id);
                }
            }
            Decision::Halted { scope, reason } => self.halted(*scope, *reason),
            Decision::Resumed { scope } => self.state.life.halts.retain(|(s, _)| s != scope),
            _ => {}
        }
    }

    /// Only keeps the books: position, open orders, trust. The strategy is told nothing and nothing is emitted. For recovery.
    pub fn keep_books(&mut self, event: &Event) {
        match event {
            Event::Order(update) | Event::OrderAgain(update) if update.strategy == self.ix => {
                self.state.own.book_order(update);
            }
            Event::Position(position) if position.strategy == self.ix => self.state.own.book_position(position),
            Event::Refused(refused) if refused.intent.strategy() == self.ix => self.state.own.book_refusal(refused),
            Event::Untrusted(account) if *account == self.setup.account => self.state.life.untrusted = true,
            Event::Reconciled(account) if *account == self.setup.account => {
                self.state.life.untrusted = false;
                self.state.own.drop_unconfirmed();
            }
            _ => {}
        }
    }

    /// Keeps the books of an event that the strategy is not told because the engine folds, and takes from inputs what they did
    /// to the strategy's life. A decision that is missing at the end of the log changes nothing about that.
    pub fn miss(&mut self, event: &Event) {
        self.keep_books(event);
        if let Event::Input(input) = event {
            self.miss_input(input);
        }
        self.missed = true;
    }

    fn miss_input(&mut self, input: &Input) {
        let id = self.ix;
        match input {
            Input::Configuration(config) => self.book_setup(config),
            Input::Command(OperatorCommand::StopStrategy(ix)) if *ix == id => {
                let stopping = self.state.life.halts.iter().any(|(_, reason)| *reason == HaltReason::Stopping);
                self.miss_stop(if stopping { StopReason::Stopping } else { StopReason::Asked });
            }
            Input::GiveUp(ix) if *ix == id => {
                self.state.life.stopped.get_or_insert(StopReason::Faults);
            }
            Input::Command(OperatorCommand::StartStrategy(ix)) if *ix == id => {
                self.state.life.stopped = None;
                self.state.life.flatten = None;
            }
            Input::Timer(timer) if *timer == self.own_timer(FLATTEN_TIMER) && self.state.own.is_idle() => {
                self.state.life.flatten = None;
            }
            Input::Stream(state) => drop(self.book_stream(*state)),
            Input::Start { epoch } => self.begin_life(*epoch),
            _ => {}
        }
    }

    /// A recorded stop: whether there was anything to close then is found out by the next life.
    pub(super) fn miss_stop(&mut self, reason: StopReason) {
        self.state.life.stopped.get_or_insert(reason);
        if self.setup.on_stop == OnStop::Flatten {
            self.state.life.flatten.get_or_insert(Flatten::default());
        }
    }

    /// A life begins: nothing is known of the market. Entries that were to be cancelled when the last life ended still are; the
    /// strategy that comes back may want others, so only those of before are unwanted. A stop with the daemon is over.
    pub(super) fn begin_life(&mut self, epoch: u32) {
        let life = &mut self.state.life;
        if life.faulted
            || self.state.announced == Some(RunnerState::Faulted)
            || self.state.slots.iter().any(|s| s.fault.is_some())
        {
            life.unwanted_before = epoch;
        }
        life.halts.retain(|(_, reason)| *reason != HaltReason::Stopping);
        if life.stopped == Some(StopReason::Stopping) {
            life.stopped = None;
        }
        if life.stopped.is_none() {
            life.flatten = None;
        }
        for slot in &mut self.state.slots {
            (slot.awaiting, slot.fault) = (true, None);
        }
    }

    /// Open orders and positions as desk and ledger have them, after these were rebuilt beside a living strategy. Orders of which
    /// the desk has not told yet stay until the account is reconciled.
    pub fn take_books(
        &mut self,
        orders: impl Iterator<Item = OrderUpdate>,
        positions: impl Iterator<Item = VirtualPosition>,
    ) {
        let ix = self.ix;
        self.state.own.take_books(orders.filter(|order| order.strategy == ix), positions);
    }

    /// Takes position, open orders, counters and halts of a snapshot; the strategy starts fresh.
    pub fn restore_books(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        let (state, _): (State, Option<Vec<u8>>) = decode_state("runner", snapshot)?;
        self.state = state;
        self.state.own.drop_held();
        self.build();
        self.missed = true;
        self.find_permit();
        Ok(())
    }
}
