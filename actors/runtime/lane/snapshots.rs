//! Snapshots of a lane, and its end. The state is taken between two inputs and written by another thread.

use super::open::to_journal;
use super::{Inner, Lane, LaneEvent, LaneState};
use crate::runtime::watchdog::Phase;
use qcat_core::engine::snapshot::Snapshot;
use qcat_core::time::Ts;
use qcat_io::journal::{AppendError, Mark, PendingSnapshot, SnapshotWriteError};
use std::rc::Rc;

/// Turns that the end of a lane waits for its queue to run empty.
const LAST_TURNS: u32 = 10_000;

impl Inner {
    /// Takes a snapshot when one is due, and has it written when the journal is durable up to it.
    pub(super) fn see_to_snapshots(&self, now: Ts) {
        let mut core = self.core.borrow_mut();
        if now >= core.snapshot_due && core.pending.is_none() && !core.writing && core.broken.is_none() {
            core.snapshot_due = now.plus(self.options.snapshot_every);
            let snapshot = core.engine.snapshot();
            match core.journal().take_snapshot(to_journal(&snapshot)) {
                Ok(pending) => core.pending = Some((pending, Rc::new(snapshot))),
                Err(error) => {
                    drop(core);
                    return self.tell(LaneEvent::SnapshotFailed(error.to_string()));
                }
            }
            core.journal().request_sync();
        }
        let durable = core.journal().durable();
        let ready = core.pending.as_ref().is_some_and(|(pending, _)| Mark(pending.record()) <= durable);
        if ready && let Some((pending, snapshot)) = core.pending.take() {
            core.writing = true;
            drop(core);
            self.write(pending, snapshot);
        }
    }

    fn write(&self, pending: PendingSnapshot, snapshot: Rc<Snapshot>) {
        let record = pending.record();
        let Some(lane) = self.me.upgrade() else { return };
        tokio::task::spawn_local(async move {
            let written = tokio::task::spawn_blocking(move || pending.write()).await;
            let result = match written {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            lane.written(record, snapshot, result);
        });
    }

    fn written(&self, record: u64, snapshot: Rc<Snapshot>, result: Result<(), String>) {
        let mut core = self.core.borrow_mut();
        core.writing = false;
        if self.state.get() == LaneState::Closed {
            return;
        }
        let noted = result.and_then(|()| {
            let now = self.pace.now();
            core.journal().note_snapshot(record, now).map_err(|error| error.to_string())
        });
        match noted {
            Ok(()) => core.base = Some(snapshot),
            Err(error) => {
                drop(core);
                self.tell(LaneEvent::SnapshotFailed(error));
            }
        }
    }
}

impl Lane {
    /// The last snapshot and sync: admits what still waits, makes it durable, writes the state. The lane goes on.
    pub fn finish(&self) -> Result<(), SnapshotWriteError> {
        for _ in 0..LAST_TURNS {
            self.sync().map_err(Box::new)?;
            if !self.turn() {
                break;
            }
        }
        self.sync().map_err(Box::new)?;
        if self.state() != LaneState::Running {
            return Ok(());
        }
        self.0.working(|inner| {
            let mut core = inner.core.borrow_mut();
            let snapshot = core.engine.snapshot();
            core.journal().write_snapshot(to_journal(&snapshot))?;
            core.base = Some(Rc::new(snapshot));
            Ok(())
        })
    }

    /// Closes the journal. Nothing is admitted and nothing leaves any more.
    pub fn close(&self) -> Result<(), AppendError> {
        self.0.state.set(LaneState::Closed);
        self.0.work.notify_one();
        let journal = self.0.core.borrow_mut().journal.take();
        let closed = self.0.working(|_| journal.map_or(Ok(()), |journal| journal.close()));
        self.0.pulse.enter(Phase::Quiet);
        closed
    }
}
