//! Rebuilds a broken engine: a fresh one is folded from snapshot and journal. Only what panics in the fold again is left out: a
//! fill that a node lost by a passing fault would be missing in the books of its strategy for ever.

use super::open::{fold_entries, marks};
use super::{Lane, LaneError, LaneOptions, LaneState, Unpublished};
use crate::runtime::watchdog::Phase;
use qcat_core::engine::Engine;
use qcat_core::engine::fold::FoldError;
use qcat_core::engine::snapshot::Snapshot;
use qcat_core::event::{Input, Station};
use qcat_core::id::Seq;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::Ts;
use qcat_io::disk::Disk;
use qcat_io::journal::{Journal, Reader};
use std::sync::Arc;

/// Nodes that may panic one after the other in one recovery before it is given up.
const ATTEMPTS: usize = 16;

/// Why a lane was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// It is not broken.
    #[error("the lane is not broken")]
    NotBroken,
    /// The fold failed; the lane stays broken.
    #[error(transparent)]
    Lane(#[from] LaneError),
}

impl Lane {
    /// Rebuilds the deciding nodes after a fault: folds snapshot and journal into a fresh engine, takes the strategies over, and
    /// admits `Input::Rebuild(station)`, after which nothing is trusted until reconciled. A node that panics at the input again
    /// is quarantined for it and not stepped with it any more. The thread is busy for as long as the records since the last snapshot take.
    pub fn rebuild(&self, station: Station) -> Result<(), RebuildError> {
        let inner = &self.0;
        if inner.state.get() != LaneState::Broken {
            return Err(RebuildError::NotBroken);
        }
        let now = inner.pace.now();
        {
            let mut core = inner.core.borrow_mut();
            if core.broken.is_none() {
                return Err(RebuildError::NotBroken);
            }
            let base = core.base.clone();
            let journal = core.journal();
            let before = inner.pulse.enter(Phase::Works);
            let folded = fold_again(&inner.options, &inner.registry, &inner.disk, journal, base.as_deref(), now);
            inner.pulse.enter(before);
            let (mut engine, _) = folded?;
            engine.adopt_runners(&mut core.engine);
            let (seq, at) = (core.engine.seq(), core.engine.now());
            engine.skip_to(seq, at);
            core.engine = engine;
            core.broken = None;
            core.unpublished = Unpublished::Instruments;
        }
        inner.state.set(LaneState::Running);
        inner.queue.borrow_mut().push_first(Input::Rebuild(station));
        inner.work.notify_one();
        Ok(())
    }
}

/// Folds what is on disk, as often as it takes to quarantine every node that panics in it.
pub(super) fn fold_again(
    options: &LaneOptions,
    registry: &Arc<Registry>,
    disk: &Arc<dyn Disk>,
    journal: &mut Journal,
    base: Option<&Snapshot>,
    now: Ts,
) -> Result<(Engine, u64), LaneError> {
    let first = base.map_or(Seq(0), |base| Seq(base.seq.0 + 1));
    for _ in 0..ATTEMPTS {
        let reader = Reader::follow(disk.clone(), &options.dir, first)?;
        let gaps = reader.replayable().is_err();
        match fold_entries(registry, base, reader, &marks(journal), gaps) {
            Err(LaneError::Fold(FoldError::Fault { station, seq })) => journal.quarantine(seq, station, now)?,
            other => return other,
        }
    }
    Err(LaneError::Start(format!("nodes panic at more than {ATTEMPTS} recorded inputs")))
}
