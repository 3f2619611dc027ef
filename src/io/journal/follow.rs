//! Reads what the journal's steps told, by folding it, while the lane writes on: for whoever missed the live feed.
//!
//! In: a data directory, without its lock, on any thread. Out: the [`Facts`] of every step after a given one, the same that the
//! step told when it was lived. It begins with the newest snapshot that lies at or before that step. What is not whole yet is
//! "not yet"; a node that panics in the fold waits for its quarantine mark. It writes nothing and decides nothing.
//! Tests: `tests/follow.rs` (all lives of a run with crashes), `tests/projections.rs`.

use super::reader::{Entry, ReadError, Reader};
use super::segment::MarketData;
use super::snapshot::{Snapshot, newest, oldest_snapshot};
use crate::disk::{Disk, DiskError};
use qcat_core::engine::Engine;
use qcat_core::engine::facts::{Cause, Facts, Names};
use qcat_core::engine::fold::{FoldError, Quarantine, Record};
use qcat_core::event::Decision;
use qcat_core::id::Seq;
use qcat_core::node::SnapshotError;
use qcat_core::strategy::registry::Registry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the journal cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It cannot be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The records do not fold.
    #[error("the journal does not fold: {0}")]
    Fold(#[from] FoldError),
    /// A snapshot that had fitted does not.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// What came after the step is gone.
    #[error("what the journal held after input {} is gone", .after.0)]
    Gone {
        /// The step.
        after: Seq,
        /// From where on it can be followed; `None`: from nowhere.
        from: Option<Seq>,
    },
}

impl FollowError {
    /// Whether the same may go well later: a file that was just removed, a mark that is not written yet.
    pub fn is_passing(&self) -> bool {
        match self {
            FollowError::Disk(_)
            | FollowError::Read(ReadError::Disk(_))
            | FollowError::Fold(FoldError::Fault { .. }) => true,
            FollowError::Read(_) | FollowError::Fold(_) | FollowError::Snapshot(_) | FollowError::Gone { .. } => false,
        }
    }
}

/// Follows a journal.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    reader: Reader,
    engine: Engine,
    marks: Vec<Quarantine>,
    /// Facts up to here are not told.
    after: Seq,
    /// The step whose decisions may still come.
    open: Option<Step>,
    /// A record that was read and belongs to the next step.
    waiting: Option<Record>,
    /// Market inputs may be missing.
    gaps: bool,
}

#[derive(Debug)]
struct Step {
    cause: Option<Cause>,
    decisions: Vec<Decision>,
}

impl Follower {
    /// Follows the journal of `engine` in `dir` from the step after `after` on.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        engine: u16,
        registry: &Arc<Registry>,
        after: Seq,
    ) -> Result<Follower, FollowError> {
        let marks = marks(&disk, dir)?;
        let mut fits = |snapshot: &Snapshot| match snapshot.state.seq > after {
            true => Err("it is newer than what is wanted".to_owned()),
            false => restore(registry, snapshot).map(drop),
        };
        let (snapshot, _) = newest(&*disk, dir, engine, &mut fits)?;
        let first = snapshot.as_ref().map_or(1, |snapshot| snapshot.record + 1);
        let reader = Reader::follow_records(disk.clone(), dir, first)?;
        let begins = reader.first_record();
        if begins.is_some_and(|begins| begins > first) {
            let mut restores = |snapshot: &Snapshot| restore(registry, snapshot).map(drop);
            let oldest = oldest_snapshot(&*disk, dir, engine, begins.unwrap_or(first), &mut restores)?;
            return Err(FollowError::Gone { after, from: oldest.map(|snapshot| snapshot.state.seq) });
        }
        let engine = match &snapshot {
            Some(snapshot) => restore(registry, snapshot).map_err(|reason| SnapshotError { part: "engine", reason })?,
            None => Engine::new(registry.clone()),
        };
        let (dir, gaps) = (dir.to_owned(), reader.replayable().is_err());
        Ok(Follower { dir, reader, engine, marks, after, open: None, waiting: None, gaps })
    }

    /// Names and scales as of the step that [`Follower::next`] told last, if it did at the last call.
    pub fn names(&self) -> Names {
        Names::of(&self.engine)
    }

    /// The engine after the step that [`Follower::next`] told last, if it did at the last call.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The facts of the next step that told something, no step after `durable`; `None`: there is none yet. A step is told when
    /// it is whole: a record of a later one stands behind it, or it is durable with its decisions. Of a journal that nobody
    /// writes everything is. After an error it is of no use.
    pub fn next(&mut self, durable: Seq) -> Result<Option<Facts>, FollowError> {
        let mut fresh = false;
        loop {
            self.peek()?;
            let ended = match &self.waiting {
                Some(record) => !self.continues(record),
                // What was appended before `durable` was asked for is there after a second look.
                None if !fresh => {
                    fresh = true;
                    self.refresh()?;
                    continue;
                }
                None => self.engine.seq() <= durable,
            };
            if self.open.is_some() {
                if !ended {
                    match self.waiting.take() {
                        Some(record) => self.fold(record)?,
                        None => return Ok(None),
                    }
                } else if let Some(facts) = self.finish() {
                    return Ok(Some(facts));
                }
                continue;
            }
            match self.waiting.take() {
                Some(record) if seq_of(&record) <= durable => self.fold(record)?,
                later => {
                    self.waiting = later;
                    return Ok(None);
                }
            }
        }
    }

    /// Whether a record belongs to the step that was folded last.
    fn continues(&self, record: &Record) -> bool {
        matches!(record, Record::Decisions(seq, ..) if *seq == self.engine.seq())
    }

    /// Reads the next record, which stays to be taken.
    fn peek(&mut self) -> Result<(), FollowError> {
        if self.waiting.is_none() {
            self.waiting = self.read()?;
        }
        Ok(())
    }

    /// The last step that was folded whole.
    pub fn seq(&self) -> Seq {
        match &self.open {
            Some(_) => Seq(self.engine.seq().0.saturating_sub(1)),
            None => self.engine.seq(),
        }
    }

    fn refresh(&mut self) -> Result<(), FollowError> {
        self.reader.refresh(&self.dir)?;
        self.gaps = self.reader.replayable().is_err();
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Record>, FollowError> {
        while let Some((_, entry)) = self.reader.next_numbered()? {
            if let Entry::Quarantine(mark) = entry {
                self.marks.push(mark);
                continue;
            }
            if let Some(record) = entry.record() {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn fold(&mut self, record: Record) -> Result<(), FollowError> {
        let step = match &record {
            Record::Input(admitted) => Step { cause: Cause::of(&admitted.input), decisions: Vec::new() },
            Record::Decisions(_, _, decisions) => {
                let cause = self.open.take().and_then(|step| step.cause);
                Step { cause, decisions: decisions.clone() }
            }
        };
        self.engine.fold(record, &self.marks, self.gaps)?;
        self.open = Some(step);
        Ok(())
    }

    /// The facts of the step that was folded last.
    fn finish(&mut self) -> Option<Facts> {
        let Step { cause, decisions, .. } = self.open.take()?;
        if self.engine.seq() <= self.after {
            return None;
        }
        let valued = self.reader.market_data() != Some(MarketData::None);
        Facts::of(&self.engine, cause, self.engine.happened(), &decisions, valued)
    }
}

fn seq_of(record: &Record) -> Seq {
    match record {
        Record::Input(admitted) => admitted.seq,
        Record::Decisions(seq, ..) => *seq,
    }
}

/// An engine with the state of a snapshot, or why there is none.
fn restore(registry: &Arc<Registry>, snapshot: &Snapshot) -> Result<Engine, String> {
    let mut engine = Engine::new(registry.clone());
    let restored = catch_unwind(AssertUnwindSafe(|| engine.restore(&snapshot.state, true)));
    match restored {
        Ok(restored) => restored.map(|()| engine).map_err(|error| error.to_string()),
        Err(_) => Err("a node panics at it".to_owned()),
    }
}

/// All quarantine marks that are in the journal so far: each segment's head repeats them.
fn marks(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Vec<Quarantine>, ReadError> {
    Ok(Reader::follow(disk.clone(), dir, Seq(u64::MAX))?.head()?.quarantine.clone())
}
