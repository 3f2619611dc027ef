//! A first look through the journal: where lives begin, which snapshots recovery began with, what was quarantined.

use super::ReplayError;
use qcat_core::engine::fold::Quarantine;
use qcat_core::engine::snapshot::{LAYOUT, UPCASTS};
use qcat_core::event::{Input, Station};
use qcat_core::id::Seq;
use qcat_io::disk::Disk;
use qcat_io::journal::segment::FLAG_HEAD;
use qcat_io::journal::{Entry, Options, RawRecord, Reader, RecordKind, Snapshot, decode, oldest_snapshot};
use qcat_io::wire;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What must be known before the first record is replayed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What the replay begins with when the first records are gone.
    pub begin: Option<Snapshot>,
    /// The last record.
    pub last: u64,
    /// First record of each life, and the record of its `Input::Start`.
    lives: BTreeMap<u64, u64>,
    /// Quarantine marks by the record that holds them.
    marks: Vec<(u64, Quarantine)>,
    /// Inputs that must not be stepped: a node hung on them, or panicked at them on recovery.
    skipped: BTreeSet<Seq>,
    /// The last record of each snapshot that was stored.
    pub snapshots: BTreeSet<u64>,
    /// By the record that notes it, the last record of the snapshot that recovery begins with from then on; 0 for none. A start
    /// notes its own, because the life before may have ended between a snapshot and its note.
    pub noted: BTreeMap<u64, u64>,
}

/// Where the look is.
#[derive(Default)]
struct Look {
    /// The first record of a run of definitions and configurations at the end of what was seen: they may be a start's.
    run: Option<u64>,
    last_seq: Seq,
    /// Inputs that were marked since the last input.
    marked: Vec<(Seq, Station)>,
}

impl Plan {
    pub fn new(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Plan, ReplayError> {
        let mut reader = Reader::open(disk.clone(), dir)?;
        reader.replayable()?;
        let (mut plan, mut look) = (Plan::default(), Look::default());
        while let Some(record) = reader.next_raw()? {
            let number = record.header.number;
            if plan.last == 0 && number > 1 {
                plan.begin_with(&**disk, dir, number)?;
            }
            plan.last = number;
            if number <= plan.first() {
                continue;
            }
            plan.look(&mut look, record).map_err(|error| ReplayError::Wire { record: number, error })?;
        }
        if plan.last == 0 {
            return Err(ReplayError::Empty(dir.to_owned()));
        }
        plan.skipped.extend(look.marked.iter().map(|(seq, _)| *seq));
        Ok(plan)
    }

    /// The first records were removed: the oldest snapshot that is left stands for them.
    fn begin_with(&mut self, disk: &dyn Disk, dir: &Path, first: u64) -> Result<(), ReplayError> {
        let mut fits = |s: &Snapshot| s.state.parts_in(LAYOUT, UPCASTS).map(drop).map_err(|e| e.to_string());
        let begin = oldest_snapshot(disk, dir, Options::default().engine, first, &mut fits)?;
        let begin = begin.ok_or(ReplayError::NoBeginning { first })?;
        self.marks.extend(begin.head.quarantine.iter().map(|mark| (0, *mark)));
        self.begin = Some(begin);
        Ok(())
    }

    /// The last record that is not replayed.
    pub fn first(&self) -> u64 {
        self.begin.as_ref().map_or(0, |begin| begin.record)
    }

    fn look(&mut self, look: &mut Look, record: RawRecord<'_>) -> Result<(), wire::WireError> {
        let (header, number) = (record.header, record.header.number);
        match header.kind {
            RecordKind::Input => {
                // Only what the plan is made of is decoded.
                let input = if header.flags & FLAG_HEAD != 0 || !look.marked.is_empty() {
                    Some(wire::read_input(header.version, record.payload)?)
                } else {
                    None
                };
                self.look_at_input(look, number, input.as_ref());
                look.last_seq = Seq(header.seq);
            }
            RecordKind::Quarantine => {
                if let Entry::Quarantine(mark) = decode(&header, record.payload)? {
                    self.marks.push((number, mark));
                    look.marked.push((mark.seq, mark.station));
                }
            }
            RecordKind::Snapshot => {
                let stored: u64 = wire::read_snapshot_note(record.payload)?;
                self.snapshots.insert(stored);
                self.noted.insert(number, stored);
                // A start notes its snapshot first, so what stands before that is of an earlier life.
                look.run = None;
            }
            RecordKind::Close => look.run = None,
            RecordKind::Decisions | RecordKind::Epoch | RecordKind::Definitions | RecordKind::Configuration => {}
        }
        Ok(())
    }

    fn look_at_input(&mut self, look: &mut Look, number: u64, input: Option<&Input>) {
        // A fault in life is followed by the rebuild; what is marked otherwise was marked by a start, and never stepped again.
        let rebuilt = match input {
            Some(Input::Rebuild(station)) => Some(*station),
            _ => None,
        };
        let last = look.last_seq;
        let in_life = |(seq, station): &(Seq, Station)| *seq == last && Some(*station) == rebuilt;
        self.skipped.extend(look.marked.drain(..).filter(|mark| !in_life(mark)).map(|(seq, _)| seq));
        match input {
            Some(Input::Start { .. }) => {
                self.lives.insert(look.run.take().unwrap_or(number), number);
            }
            Some(Input::Definition(_) | Input::Configuration(_)) => {
                look.run.get_or_insert(number);
            }
            _ => look.run = None,
        }
    }

    /// Whether a life begins with this record.
    pub fn begins(&self, record: u64) -> bool {
        self.lives.contains_key(&record)
    }

    /// What the recovery at the beginning of a life knew to be quarantined.
    pub fn marks_of_life(&self, begin: u64) -> Vec<Quarantine> {
        self.marks_before(self.lives.get(&begin).copied().unwrap_or(begin))
    }

    /// What was quarantined before a record.
    pub fn marks_before(&self, record: u64) -> Vec<Quarantine> {
        self.marks.iter().filter(|(number, _)| *number < record).map(|(_, mark)| *mark).collect()
    }

    /// Whether an input must not be stepped.
    pub fn skips(&self, seq: Seq) -> bool {
        self.skipped.contains(&seq)
    }
}
