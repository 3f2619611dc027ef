//! The one task that drains a lane.

use super::{Core, Held, Inner, Lane, LaneEvent, LaneState, Step, Unpublished, meter};
use crate::runtime::watchdog::Phase;
use qcat_core::command::VenueCommand;
use qcat_core::engine::facts::Cause;
use qcat_core::event::{Admitted, Decision, HaltReason, Input, Scope, StreamState};
use qcat_core::id::{Seq, SymbolIx};
use qcat_core::market::MarketEvent;
use qcat_core::time::Ts;
use qcat_io::journal::{AppendError, Mark, Priority};
use qcat_io::shell::panic_text;
use std::rc::Weak;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The drain looks around at least this often, whatever it was told.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What the drain does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There is more to do: others get their turn first.
    More,
    /// Nothing to do until woken, or for this long.
    Idle(Duration),
    /// Nothing any more.
    Over,
}

impl Lane {
    /// Starts the task that drains the lane, on this thread's `LocalSet`. Should it panic, which only happens outside of every
    /// node, the owner is told.
    pub fn run(&self) -> JoinHandle<()> {
        self.0.pulse.enter(Phase::Drains);
        let task = tokio::task::spawn_local(drain(std::rc::Rc::downgrade(&self.0)));
        let weak = std::rc::Rc::downgrade(&self.0);
        tokio::task::spawn_local(async move {
            let ended = task.await;
            let Some(inner) = weak.upgrade() else { return };
            if let Err(error) = ended
                && error.is_panic()
            {
                inner.state.set(LaneState::Dead);
                inner.pulse.enter(Phase::Quiet);
                inner.tell(LaneEvent::Ended(format!("the lane panicked: {}", panic_text(&*error.into_panic()))));
            }
        })
    }

    /// Does what is due now, without a task: for the end, and for tests. True when something may be left.
    pub fn turn(&self) -> bool {
        self.0.turn() == Turn::More
    }
}

async fn drain(lane: Weak<Inner>) {
    loop {
        let Some(inner) = lane.upgrade() else { return };
        let turn = inner.turn();
        let work = inner.work.clone();
        drop(inner);
        match turn {
            Turn::Over => return,
            Turn::More => tokio::task::yield_now().await,
            Turn::Idle(wait) => {
                tokio::select! {
                    () = work.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// What is left of an input that the engine took.
struct StepInput {
    seq: Seq,
    at: Ts,
    stream: Option<StreamState>,
    market: Option<SymbolIx>,
    cause: Option<Cause>,
}

impl Inner {
    pub(super) fn turn(&self) -> Turn {
        if self.state.get() == LaneState::Closed {
            return Turn::Over;
        }
        self.pulse.beat();
        // Reading the clocks is dear enough to be done once for an input and for the look that finds nothing.
        let mut now = self.pace.now();
        self.maintain(now);
        for _ in 0..self.options.batch.max(1) {
            self.release();
            // Behind what leaves: no order waits for it.
            self.publish_orders();
            if self.state.get() != LaneState::Running {
                return Turn::Idle(LONGEST_WAIT);
            }
            let Some(input) = self.next_input(now) else {
                self.meter_publish(now);
                return Turn::Idle(self.wait(now));
            };
            let stepped = self.step(now, input);
            // Before anybody is told of the step: nothing stands between a decision and its way out.
            self.release();
            now = self.pace.now();
            self.meter_stepped(now);
            if let Some(told) = stepped {
                self.after_step(&told);
            }
        }
        self.release();
        Turn::More
    }

    /// Looks at the wall clock, goes on after a failed sync, and sees to snapshots.
    fn maintain(&self, now: Ts) {
        if let Some(by) = self.pace.stepped(now) {
            self.tell(LaneEvent::ClockSet(by));
        }
        if !matches!(self.state.get(), LaneState::Running | LaneState::Broken) {
            return;
        }
        let result = self.core.borrow_mut().journal().maintain();
        match result {
            Ok(()) => self.see_to_snapshots(now),
            Err(AppendError::DiskFull) => self.disk_is_full(),
            Err(error) => self.die(&error),
        }
    }

    /// What is admitted next: the latch, a timer that is due, what waits. A timer never comes twice before what waits.
    fn next_input(&self, now: Ts) -> Option<Input> {
        let mut core = self.core.borrow_mut();
        if let Some((setting, reason)) = self.latch.get()
            && setting != core.latch_seen
        {
            core.latch_seen = setting;
            return Some(Input::Halt { scope: Scope::All, reason });
        }
        let timer = core.engine.next_timer().filter(|(at, _)| *at <= now).map(|(_, timer)| Input::Timer(timer));
        if timer.is_some() && !core.after_timer {
            core.after_timer = true;
            return timer;
        }
        core.after_timer = false;
        drop(core);
        let waiting = self.queue.borrow_mut().pop();
        waiting.or(timer)
    }

    fn wait(&self, now: Ts) -> Duration {
        let core = self.core.borrow();
        let timer = core.engine.next_timer().map_or(Ts::MAX, |(at, _)| at);
        let nanos = timer.min(core.snapshot_due).since(now).nanos().max(0);
        Duration::from_nanos(nanos.unsigned_abs()).min(LONGEST_WAIT)
    }

    /// One input, with those told who see every step.
    pub(super) fn admit(&self, now: Ts, input: Input) {
        if let Some(told) = self.step(now, input) {
            self.after_step(&told);
        }
    }

    /// One input, from its number and time to its journaled decisions. `None`: it was not admitted.
    fn step(&self, now: Ts, input: Input) -> Option<(StepInput, bool)> {
        let (told, refused) = {
            let mut core = self.core.borrow_mut();
            let admitted = core.engine.admit(now, input);
            let priority = Priority::of_input(&admitted.input);
            if let Err(error) = core.journal().append_input(&admitted, priority) {
                drop(core);
                self.not_admitted(admitted, error);
                return None;
            }
            let (seq, at) = (admitted.seq, admitted.at);
            let defines = matches!(admitted.input, Input::Definition(_));
            let stream = if let Input::Stream(state) = admitted.input { Some(state) } else { None };
            let market = if let Input::Market(market) = &admitted.input { Some(market.symbol) } else { None };
            let cause = Cause::of(&admitted.input);
            let received = meter::received(&admitted.input);
            self.meter_admitted(&admitted);
            let configures = matches!(admitted.input, Input::Configuration(_));
            core.engine.step(admitted);
            self.pulse.stepped();
            core.note_unpublished(configures, defines);
            if defines {
                *self.universe.borrow_mut() = core.engine.universe().clone().into();
            }
            (StepInput { seq, at, stream, market, cause }, core.append_decisions(seq, at, received))
        };
        let journaled = refused.as_ref().is_ok_and(Vec::is_empty);
        match refused {
            Ok(commands) if commands.is_empty() => self.look_at_disk(),
            Ok(commands) => {
                commands.iter().for_each(|command| self.not_sent(command, "the disk is full"));
                self.disk_is_full();
            }
            Err(error) => self.die(&error),
        }
        Some((told, journaled))
    }

    /// Tells of the step, and looks for faults and slow steps.
    fn after_step(&self, (input, journaled): &(StepInput, bool)) {
        {
            let core = self.core.borrow();
            let (engine, StepInput { seq, at, stream, market, cause }) = (&core.engine, input);
            let (happened, decisions) = (engine.happened(), engine.decisions());
            let (seq, at, stream, market, cause) = (*seq, *at, *stream, *market, cause.as_ref());
            let step = Step { seq, at, stream, market, cause, engine, happened, decisions, journaled: *journaled };
            self.taps.borrow_mut().iter_mut().for_each(|tap| tap.after_step(&step));
        }
        for (strategy, took) in self.slow.take() {
            self.push(Input::SlowStep { strategy, nanos: took.nanos() });
        }
        if self.core.borrow().engine.faults().is_empty() {
            return;
        }
        let faults = self.core.borrow().engine.faults().to_vec();
        for fault in faults {
            if fault.is_deciding() && self.state.get() == LaneState::Running {
                self.core.borrow_mut().broken = Some(fault);
                self.state.set(LaneState::Broken);
            }
            self.tell(LaneEvent::Faulted(fault));
        }
    }

    /// The journal did not take an input, so the engine must not see it.
    fn not_admitted(&self, admitted: Admitted, error: AppendError) {
        let lost = Priority::of_input(&admitted.input) == Priority::Emergency;
        if !matches!(error, AppendError::DiskFull) || lost {
            return self.die(&error);
        }
        let mut core = self.core.borrow_mut();
        core.dropped += 1;
        let first = match &admitted.input {
            Input::Market(market) if market.event != MarketEvent::BookGap => core.missed.insert(market.symbol),
            _ => false,
        };
        drop(core);
        self.taps.borrow_mut().iter_mut().for_each(|tap| tap.not_admitted(&admitted.input));
        self.disk_is_full();
        if let (true, Input::Market(market)) = (first, &admitted.input) {
            self.missed(market.symbol);
        }
    }

    /// The disk is full: no new risk from here on, by an input that may use the space kept for it.
    fn disk_is_full(&self) {
        if !std::mem::replace(&mut self.core.borrow_mut().full, true) {
            self.queue.borrow_mut().push_first(Input::Halt { scope: Scope::All, reason: HaltReason::ControlLost });
            self.tell(LaneEvent::DiskFull);
        }
    }

    /// Whether a disk that was full took a record again.
    fn look_at_disk(&self) {
        let free = {
            let mut core = self.core.borrow_mut();
            core.full && !core.journal().is_full()
        };
        if free {
            self.disk_is_free();
        }
    }

    /// The disk has room again: what market data is missing is asked for again.
    fn disk_is_free(&self) {
        let missed = {
            let mut core = self.core.borrow_mut();
            core.full = false;
            std::mem::take(&mut core.missed)
        };
        self.tell(LaneEvent::DiskFree);
        let owner = self.owner.borrow().clone();
        // The session tells that the symbol is up again when its book is.
        if let Some(owner) = owner {
            missed.into_iter().for_each(|symbol| owner.resync(symbol));
        }
    }
}

impl Core {
    /// What the last step changed of the orders that the watchdog would cancel.
    fn note_unpublished(&mut self, configures: bool, defines: bool) {
        let changed = match defines {
            true => Unpublished::Instruments,
            false if configures || !self.engine.happened().orders.is_empty() => Unpublished::Orders,
            false => return,
        };
        self.unpublished = self.unpublished.max(changed);
    }

    /// Journals what the last step decided and queues its commands. Returns the commands that the journal has no room for.
    fn append_decisions(&mut self, seq: Seq, at: Ts, received: Option<Ts>) -> Result<Vec<VenueCommand>, AppendError> {
        let Core { engine, journal, held, .. } = self;
        let journal = journal.as_mut().expect("a lane that is not closed has its journal");
        let decisions = engine.decisions();
        match journal.append_decisions(seq, at, decisions, Priority::of_decisions(decisions)) {
            Ok(mark) => {
                held.extend(commands(decisions).map(|command| Held {
                    mark: Some(mark),
                    at,
                    received,
                    command: command.clone(),
                }));
                return Ok(Vec::new());
            }
            Err(AppendError::DiskFull) => {}
            Err(error) => return Err(error),
        }
        // What adds risk is taken back; the rest has room kept for it. Failing even that, what lowers risk leaves unjournaled
        // and is found by the reconciliation after the next start.
        let (kept, refused): (Vec<Decision>, Vec<Decision>) = decisions.iter().cloned().partition(|d| !adds_risk(d));
        let mark: Option<Mark> = match journal.append_decisions(seq, at, &kept, Priority::Emergency) {
            Ok(mark) => Some(mark),
            Err(AppendError::DiskFull) => None,
            Err(error) => return Err(error),
        };
        held.extend(commands(&kept).map(|command| Held { mark, at, received, command: command.clone() }));
        Ok(commands(&refused).cloned().collect())
    }
}

fn commands(decisions: &[Decision]) -> impl Iterator<Item = &VenueCommand> {
    decisions.iter().filter_map(|decision| match decision {
        Decision::Command(command) => Some(command),
        _ => None,
    })
}

fn adds_risk(decision: &Decision) -> bool {
    Priority::of_decisions(std::slice::from_ref(decision)) == Priority::Normal
}
