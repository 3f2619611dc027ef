//! The engine of a replay, and its way through restarts.

use super::plan::Plan;
use super::{Change, ReplayError};
use qcat_core::engine::fold::{Quarantine, Record};
use qcat_core::engine::snapshot::Snapshot;
use qcat_core::engine::{Engine, Fault};
use qcat_core::event::{Admitted, Decision, Input};
use qcat_core::id::Seq;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::Ts;
use qcat_io::disk::Disk;
use qcat_io::journal::{Entry, Reader, decode};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Snapshots that are kept: a start may begin with an older one when the newest is damaged.
const TAKEN_MAX: usize = 8;

pub(super) struct World<'c> {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    registry: Arc<Registry>,
    change: Option<&'c Change>,
    engine: Engine,
    /// Snapshots that were taken where the daemon took one, and may become the base.
    taken: BTreeMap<u64, Snapshot>,
    /// What a recovery begins with.
    base: Option<Snapshot>,
    /// A deciding node broke at the last input.
    broken: Option<Fault>,
}

impl<'c> World<'c> {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, registry: Arc<Registry>, change: Option<&'c Change>) -> World<'c> {
        World {
            disk,
            dir: dir.to_owned(),
            engine: Engine::new(registry.clone()),
            registry,
            change,
            taken: BTreeMap::new(),
            base: None,
            broken: None,
        }
    }

    /// Begins with the state after a record instead of with nothing.
    pub fn begin_with(&mut self, record: u64, state: &Snapshot) -> Result<(), ReplayError> {
        self.engine.restore(state, true)?;
        self.taken.insert(record, state.clone());
        self.base = Some(state.clone());
        Ok(())
    }

    /// The deciding node that broke at the last input, if one did.
    pub fn broken(&self) -> Option<Fault> {
        self.broken
    }

    pub fn state_hash(&self) -> u64 {
        self.engine.state_hash()
    }

    /// Steps an input; what was decided.
    pub fn step(&mut self, admitted: Admitted) -> Result<Vec<Decision>, ReplayError> {
        let admitted = self.changed(admitted)?;
        self.engine.step(admitted);
        self.broken = self.engine.faults().iter().find(|fault| fault.is_deciding()).copied();
        Ok(self.engine.take_decisions())
    }

    /// Takes a record as recovery does, without stepping.
    pub fn fold(&mut self, record: u64, what: Record, marks: &[Quarantine]) -> Result<(), ReplayError> {
        let what = match what {
            Record::Input(admitted) => Record::Input(self.changed(admitted)?),
            decisions => decisions,
        };
        self.engine.fold(what, marks, false).map_err(|error| ReplayError::Fold { record, error })
    }

    /// A start: the engine as the recovery before record `begin` left it. `differs`: this run has left the recorded one, so
    /// its own snapshots are no base for recorded records.
    pub fn recover(&mut self, begin: u64, marks: &[Quarantine], differs: bool) -> Result<(), ReplayError> {
        self.engine = self.folded(begin, marks, differs)?;
        self.broken = None;
        Ok(())
    }

    /// A rebuild of deciding nodes before record `at`: strategies live on.
    pub fn rebuild(&mut self, at: u64, marks: &[Quarantine], differs: bool) -> Result<(), ReplayError> {
        let mut rebuilt = self.folded(at, marks, differs)?;
        let (seq, now) = (self.engine.seq(), self.engine.now());
        rebuilt.adopt_runners(&mut self.engine);
        rebuilt.skip_to(seq, now);
        self.engine = rebuilt;
        self.broken = None;
        Ok(())
    }

    /// Takes a snapshot where the daemon did, and makes it the base when the daemon did.
    pub fn see_to_snapshots(&mut self, plan: &Plan, record: u64) {
        if plan.snapshots.contains(&record) {
            self.taken.insert(record, self.engine.snapshot());
        }
        match plan.noted.get(&record) {
            Some(0) if plan.begin.is_none() => self.base = None,
            Some(stored) => {
                self.base = self.taken.get(stored).cloned().or(self.base.take());
                while self.taken.len() > TAKEN_MAX {
                    self.taken.pop_first();
                }
            }
            None => {}
        }
    }

    /// A fresh engine with the base's state and the records up to `end`, without it.
    fn folded(&self, end: u64, marks: &[Quarantine], differs: bool) -> Result<Engine, ReplayError> {
        let mut engine = Engine::new(self.registry.clone());
        let mut first = Seq(0);
        if let Some(base) = self.base.as_ref().filter(|_| !differs) {
            engine.restore(base, true)?;
            first = Seq(base.seq.0 + 1);
        }
        let mut last_at = Ts::ZERO;
        let mut reader = Reader::from_seq(self.disk.clone(), &self.dir, first)?;
        while let Some(record) = reader.next_raw()? {
            let number = record.header.number;
            if number >= end {
                break;
            }
            last_at = last_at.max(record.header.at);
            let entry =
                decode(&record.header, record.payload).map_err(|error| ReplayError::Wire { record: number, error })?;
            let folded = match entry {
                Entry::Input(admitted) if admitted.seq <= engine.seq() => continue,
                Entry::Input(admitted) => Record::Input(self.changed(admitted)?),
                Entry::Decisions { seq, at, decisions } => Record::Decisions(seq, at, decisions),
                Entry::Epoch(_) | Entry::Quarantine(_) | Entry::Snapshot | Entry::Close => continue,
            };
            engine.fold(folded, marks, false).map_err(|error| ReplayError::Fold { record: number, error })?;
        }
        let seq = engine.seq();
        engine.skip_to(seq, last_at);
        Ok(engine)
    }

    fn changed(&self, mut admitted: Admitted) -> Result<Admitted, ReplayError> {
        if let (Some(change), Input::Configuration(config)) = (self.change, &mut admitted.input) {
            change(config).map_err(ReplayError::Change)?;
        }
        Ok(admitted)
    }
}
