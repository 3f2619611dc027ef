//! Hands commands to the writers once the journal holds their decisions.

use super::meter::Way;
use super::{Held, Inner, Lane, LaneState, Released, VenueWriter};
use qcat_core::command::{CommandId, CommandKind, Outcome, QueryAnswer, RequestOutcome, VenueCommand, VenueError};
use qcat_core::event::Input;
use qcat_core::id::AccountIx;
use std::rc::Rc;

impl Inner {
    /// Sends what may leave. What adds risk and has waited for longer than an order may go without a sign of life comes back
    /// instead: its price is of the past, and the proof that it never arrived rests on this bound. The core is not borrowed while a writer is called: it may offer inputs at once.
    pub(super) fn release(&self) {
        if self.state.get() == LaneState::Closed {
            return;
        }
        loop {
            let next = {
                let mut core = self.core.borrow_mut();
                let Some(front) = core.held.front() else { return };
                let mark = front.mark;
                if mark.is_some_and(|mark| !core.journal().may_release(mark)) {
                    core.journal().request_sync();
                    return;
                }
                let bound = core.engine.config().timing.order_timeout;
                core.held.pop_front().map(|held| (held, bound))
            };
            let Some((Held { command, at, received, .. }, bound)) = next else { return };
            let now = self.pace.now();
            if command.kind.adds_risk() && now.since(at) > bound {
                self.not_sent(&command, "it waited too long for the journal");
                continue;
            }
            let about = (command.id, command.account, Way::of(&command));
            if self.send(command) {
                self.meter_left(about, received, at, now);
            }
        }
    }

    /// The last step before the writer: the latch stops what adds risk, however far it had come. False: it came back.
    fn send(&self, command: VenueCommand) -> bool {
        if command.kind.adds_risk() && self.latch.is_set() {
            self.not_sent(&command, "halted before it was sent");
            return false;
        }
        let writer = self.writers.borrow().get(&command.account).map(Rc::clone);
        match writer {
            Some(writer) => writer.send(Released(command)),
            None => {
                self.not_sent(&command, "the account has no connection");
                return false;
            }
        }
        true
    }

    /// Comes back to the nodes as what it is: without effect, for certain.
    pub(super) fn not_sent(&self, command: &VenueCommand, why: &str) {
        self.not_sent.set(self.not_sent.get() + 1);
        let (id, account) = (command.id, command.account);
        self.push(match command.kind {
            CommandKind::Query(_) => {
                let error = VenueError { code: 0, message: why.into() };
                Input::Answer(QueryAnswer { command: id, account, result: Err(error) })
            }
            _ => Input::Outcome(RequestOutcome { command: id, account, outcome: Outcome::NotSent }),
        });
        self.work.notify_one();
    }
}

impl Lane {
    /// Cancels what [`Desk::lost_control`](qcat_core::order::desk::Desk::lost_control) names without the engine: for when that
    /// does not step any more. Nothing of it is journaled; the next reconciliation finds out. Returns how many cancels were handed out.
    pub fn cancel_entries(&self, account: AccountIx, writer: &dyn VenueWriter) -> usize {
        let cancels = self.open_entries(account);
        let count = cancels.len();
        for kind in cancels {
            let id = CommandId(self.0.unasked.get());
            self.0.unasked.set(id.0 - 1);
            writer.send(Released(VenueCommand { id, account, kind }));
        }
        count
    }

    fn open_entries(&self, account: AccountIx) -> Vec<CommandKind> {
        self.read(|engine| {
            let Some(desk) = engine.desk(account) else { return Vec::new() };
            let Some(config) = engine.config().account(account) else { return Vec::new() };
            let cancel = |entry: qcat_core::order::desk::OpenEntry| CommandKind::Cancel {
                symbol: entry.symbol,
                key: entry.key,
                conditional: entry.conditional,
            };
            desk.lost_control(config).map(cancel).collect()
        })
    }
}
