//! Recomputes the decisions of a journal from its inputs and compares them with the recorded ones.
//!
//! A fresh engine is stepped through everything that was admitted. Where the daemon came back from a restart, its engine came
//! from a fold of the journal, not from stepping on; so at the beginning of each life a fresh engine is folded from the same
//! snapshot and the same records, as it is for `Input::Rebuild` of deciding nodes. Snapshots are the replay's own, taken
//! where the journal notes one. Nodes that were quarantined at an input on recovery are not stepped with it.
//! Tests: `tests/replay.rs`, `tests/crash_disk.rs`.

mod plan;
mod world;

use qcat_core::config::EngineConfig;
use qcat_core::engine::Fault;
use qcat_core::engine::fold::{FoldError, Record};
use qcat_core::engine::parity::{self, Difference};
use qcat_core::event::{Decision, Input, Station};
use qcat_core::id::Seq;
use qcat_core::node::{SnapshotError, encode_state, hash_bytes};
use qcat_core::strategy::registry::Registry;
use qcat_core::time::Ts;
use qcat_io::disk::{Disk, DiskError};
use qcat_io::journal::{Entry, NotReplayable, ReadError, Reader, decode};
use qcat_io::wire::WireError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plan::Plan;
use world::World;

/// Changes a recorded configuration before it is admitted: another strategy's parameters, for a comparison.
pub type Change = dyn Fn(&mut EngineConfig) -> Result<(), String>;

/// Why a journal cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Market inputs were not journaled.
    #[error(transparent)]
    NotReplayable(#[from] NotReplayable),
    /// There is nothing.
    #[error("{} holds no journal", .0.display())]
    Empty(PathBuf),
    /// The first records are gone, and what stands for them cannot be used.
    #[error(
        "the journal begins with record {first}; a replay needs all of them, or a snapshot of this program for those that are \
         gone; one with another strategy needs them all"
    )]
    NoBeginning {
        /// The first record that is there.
        first: u64,
    },
    /// A record of the journal's own does not decode.
    #[error("record {record}: {error}")]
    Wire {
        /// The record.
        record: u64,
        /// What is wrong.
        error: WireError,
    },
    /// The records do not fold.
    #[error("the recovery before record {record} cannot be repeated: {error}")]
    Fold {
        /// The first record after it.
        record: u64,
        /// Why not.
        error: FoldError,
    },
    /// The replay's own snapshot does not restore.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The changed configuration is wrong.
    #[error("{0}")]
    Change(String),
}

/// What came of a replay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The input behind which it began, because the first records are gone; 0: with the first one.
    pub after: Seq,
    /// Inputs in the journal.
    pub inputs: u64,
    /// Decisions in the journal.
    pub decisions: u64,
    /// Starts of the daemon.
    pub starts: u64,
    /// Rebuilds of deciding nodes within a life.
    pub rebuilds: u64,
    /// Inputs that were folded and not stepped, because a node was quarantined for them on recovery.
    pub quarantined: u64,
    /// Recomputed decisions of inputs at which a life ended before they were recorded; none of them left the daemon.
    pub unrecorded: u64,
    /// A hash of every recomputed decision in order; the same as that of a backtest or simulation of the same inputs.
    pub trail: u64,
    /// A hash of the engine's state at the end.
    pub state_hash: u64,
    /// The first decision that differs: recorded, then recomputed.
    pub difference: Option<Difference>,
    /// A deciding node panicked in the replay and not in the daemon: the replay ends there.
    pub fault: Option<Fault>,
}

impl Outcome {
    /// Whether the same was decided, to the end.
    pub fn is_same(&self) -> bool {
        self.difference.is_none() && self.fault.is_none()
    }
}

/// Replays the journal in `dir`; `change` is applied to every recorded configuration.
pub fn run(
    disk: Arc<dyn Disk>,
    dir: &Path,
    registry: Arc<Registry>,
    change: Option<&Change>,
) -> Result<Outcome, ReplayError> {
    let plan = Plan::new(&disk, dir)?;
    let mut reader = Reader::open(disk.clone(), dir)?;
    let mut replay = Replay {
        world: World::new(disk, dir, registry, change),
        compare: Compare::default(),
        outcome: Outcome::default(),
        plan,
    };
    replay.outcome.trail = hash_bytes(b"qcat decisions");
    if let Some(begin) = &replay.plan.begin {
        if change.is_some() {
            return Err(ReplayError::NoBeginning { first: begin.record });
        }
        replay.outcome.after = begin.state.seq;
        replay.world.begin_with(begin.record, &begin.state)?;
    }
    while let Some(record) = reader.next_raw()? {
        let number = record.header.number;
        if number > replay.plan.last {
            // Written since the plan was made.
            break;
        }
        if number <= replay.plan.first() {
            continue;
        }
        let entry =
            decode(&record.header, record.payload).map_err(|error| ReplayError::Wire { record: number, error })?;
        if !replay.take(number, entry)? {
            break;
        }
    }
    Ok(replay.finish())
}

struct Replay<'c> {
    plan: Plan,
    world: World<'c>,
    compare: Compare,
    outcome: Outcome,
}

impl Replay<'_> {
    /// One record. False: the replay cannot go on.
    fn take(&mut self, number: u64, entry: Entry) -> Result<bool, ReplayError> {
        if self.plan.begins(number) {
            self.settle(true);
            self.outcome.starts += 1;
            let marks = self.plan.marks_of_life(number);
            self.world.recover(number, &marks, self.outcome.difference.is_some())?;
        }
        let on = match entry {
            Entry::Input(admitted) => {
                self.settle(false);
                self.input(number, admitted)?
            }
            Entry::Decisions { seq, at, decisions } => {
                self.outcome.decisions += decisions.len() as u64;
                if self.plan.skips(seq) {
                    self.world.fold(number, Record::Decisions(seq, at, decisions), &[])?;
                } else {
                    self.compare.recorded = decisions;
                }
                true
            }
            Entry::Epoch(_) | Entry::Quarantine(_) | Entry::Snapshot | Entry::Close => true,
        };
        self.world.see_to_snapshots(&self.plan, number);
        Ok(on)
    }

    fn input(&mut self, number: u64, admitted: qcat_core::event::Admitted) -> Result<bool, ReplayError> {
        let seq = admitted.seq;
        self.outcome.inputs += 1;
        if let Input::Rebuild(station) = admitted.input
            && !matches!(station, Station::Runner(_))
        {
            self.outcome.rebuilds += 1;
            let marks = self.plan.marks_before(number);
            self.world.rebuild(number, &marks, self.outcome.difference.is_some())?;
        } else if let Some(fault) = self.world.broken() {
            self.outcome.fault = Some(fault);
            return Ok(false);
        }
        if self.plan.skips(seq) {
            self.outcome.quarantined += 1;
            let marks = self.plan.marks_before(u64::MAX);
            self.world.fold(number, Record::Input(admitted), &marks)?;
            return Ok(true);
        }
        self.compare.seq = seq;
        self.compare.computed = self.world.step(admitted)?;
        if !self.compare.computed.is_empty() {
            let mut bytes = encode_state(&(self.outcome.trail, seq));
            bytes.extend(encode_state(&self.compare.computed));
            self.outcome.trail = hash_bytes(&bytes);
        }
        Ok(true)
    }

    /// Compares what was decided from the last input. At the end of a life its decisions may not have been recorded any more.
    fn settle(&mut self, ends: bool) {
        let Compare { seq, recorded, computed, position } = std::mem::take(&mut self.compare);
        self.compare.position = position + recorded.len();
        if ends && recorded.is_empty() {
            self.outcome.unrecorded += computed.len() as u64;
            return;
        }
        if self.outcome.difference.is_some() || recorded == computed {
            return;
        }
        // The comparison does not look at times.
        let at = Ts::ZERO;
        let (recorded, computed) = (Record::Decisions(seq, at, recorded), Record::Decisions(seq, at, computed));
        let difference = parity::first_difference(&[recorded], &[computed]);
        self.outcome.difference = difference.map(|d| Difference { position: position + d.position, ..d });
    }

    fn finish(mut self) -> Outcome {
        self.settle(true);
        self.outcome.state_hash = self.world.state_hash();
        if self.outcome.fault.is_none() && self.outcome.difference.is_some() {
            self.outcome.fault = self.world.broken();
        }
        self.outcome
    }
}

/// What was decided from one input, recorded and recomputed.
#[derive(Default)]
struct Compare {
    seq: Seq,
    recorded: Vec<Decision>,
    computed: Vec<Decision>,
    /// Recorded decisions before this input.
    position: usize,
}
