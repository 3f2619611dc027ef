//! Opens a journal: lock, check, cut off a torn tail or refuse damage, find what to recover from.

use super::head::Head;
use super::marks::{Hung, read_hung, retire_hung};
use super::reader::{Corruption, Entry, NotReplayable, ReadError, Reader, corruption};
use super::retained::Retained;
use super::scan::{Hole, Link, Position, Step, Walker, load_chain, prove_durable};
use super::segment::{HeaderError, RecordKind};
use super::snapshot::{SkippedSnapshot, Snapshot, newest};
use super::sync::{Duties, SPARE, Shared, SyncThread};
use super::writer::{Active, EMERGENCY};
use super::{AppendError, Durability, Journal, Options, Priority, SyncBy};
use crate::disk::{DirLock, Disk, DiskError};
use crate::wire::WireError;
use qcat_core::engine::fold::Quarantine;
use qcat_core::id::Seq;
use qcat_core::time::Ts;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed, is read-only, or another process holds the directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The journal is damaged. Nothing was changed.
    #[error("{0}. Nothing was changed: restore the directory from a backup, or move it away to begin anew")]
    Corrupt(Box<Corruption>),
    /// It belongs to another engine.
    #[error("{} belongs to engine {found}, this is engine {expected}", .segment.display())]
    Engine {
        /// A segment.
        segment: PathBuf,
        /// Its engine.
        found: u16,
        /// This engine.
        expected: u16,
    },
    /// A newer program wrote it.
    #[error("{}: {error}", .segment.display())]
    Newer {
        /// A segment.
        segment: PathBuf,
        /// What this program does not know.
        error: HeaderError,
    },
    /// A whole record does not decode.
    #[error("{}: record {record}: {error}", .segment.display())]
    Wire {
        /// The segment.
        segment: PathBuf,
        /// The record's number, 0 in a head.
        record: u64,
        /// What is wrong.
        error: WireError,
    },
    /// The first records are gone and no snapshot stands for them.
    #[error("the journal begins with record {first} and there is no usable snapshot to begin with{}", reasons(.skipped))]
    NoBeginning {
        /// Its first record.
        first: u64,
        /// The snapshots that are there.
        skipped: Vec<SkippedSnapshot>,
    },
    /// A snapshot holds more than the journal, which had been durable up to it: records are lost.
    #[error("{} holds records up to {record}, but the journal ends with {last}: records are lost", .path.display())]
    SnapshotAhead {
        /// The data directory.
        path: PathBuf,
        /// Last record in the snapshot.
        record: u64,
        /// Last record in the journal.
        last: u64,
    },
    /// There is no room to begin.
    #[error("the disk is full: a segment of {size} bytes does not fit into {}; free space", .dir.display())]
    Full {
        /// The data directory.
        dir: PathBuf,
        /// Bytes of a segment.
        size: u64,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// No thread could be started.
    #[error("cannot start the sync thread: {0}")]
    Thread(std::io::Error),
}

fn reasons(skipped: &[SkippedSnapshot]) -> String {
    let reason = |s: &SkippedSnapshot| format!("; {}: {}", s.path.display(), s.reason);
    skipped.iter().map(reason).collect()
}

/// The unfinished end that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment in which the last good record ends, if there is one.
    pub segment: Option<PathBuf>,
    /// The end of the last good record.
    pub offset: u64,
    /// The first record that is not whole.
    pub record: u64,
    /// What was found in its place.
    pub reason: String,
}

/// What to recover from.
#[derive(Debug)]
pub struct Recovered {
    /// The newest usable snapshot; none: recovery begins with the first record.
    pub snapshot: Option<Snapshot>,
    /// Snapshots that cannot be used, newest first.
    pub skipped: Vec<SkippedSnapshot>,
    /// All quarantine marks, to be read before the first record is folded.
    pub quarantine: Vec<Quarantine>,
    /// What the watchdog left behind; a station is in `quarantine` too.
    pub hung: Option<Hung>,
    /// The newest epoch that was used.
    pub epoch: Option<u32>,
    /// The last input.
    pub last_seq: Seq,
    /// The time of the last record.
    pub last_at: Ts,
    /// The last record.
    pub last_record: u64,
    /// The unfinished end that was cut off.
    pub torn: Option<TornTail>,
    /// Whether the journal was closed in order.
    pub closed: bool,
    /// Whether there is no room kept for cancels on a full disk.
    pub without_emergency: bool,
    reader: Reader,
}

impl Recovered {
    /// The records after the snapshot, decoded, in order.
    pub fn entries(&mut self) -> impl Iterator<Item = Result<Entry, ReadError>> + '_ {
        &mut self.reader
    }

    /// The same, one by one and undecoded where that is enough.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// Whether decisions can be recomputed from the records after the snapshot.
    pub fn replayable(&self) -> Result<(), NotReplayable> {
        self.reader.replayable()
    }
}

/// What the first walk through the records finds.
struct Survey {
    links: Vec<Link>,
    head: Head,
    good: Option<Position>,
    next: u64,
    last_seq: u64,
    last_at: Ts,
    closed: bool,
    hole: Option<Hole>,
    /// Newest record that some record or header knows to be durable.
    durable: u64,
}

impl Journal {
    /// Opens or begins the journal of `options.engine` in its data directory. Snapshots of `options.program` are used.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<(Journal, Recovered), OpenError> {
        let program = options.program.clone();
        Journal::open_with(disk, dir, options, &mut |snapshot| snapshot.check_program(&program))
    }

    /// The same; the newest snapshot that `fits` is used. Where it does not, with a reason, an older one is tried, and after the
    /// last one all records take its place, if they are all there.
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        fits: &mut dyn FnMut(&Snapshot) -> Result<(), String>,
    ) -> Result<(Journal, Recovered), OpenError> {
        let lock = disk.lock(dir)?;
        let (snapshot, skipped) = newest(&*disk, dir, options.engine, fits)?;
        let links = load_chain(&*disk, dir)?;
        check_headers(&links, options.engine)?;
        let from = snapshot.as_ref().map_or(1, |s| s.record + 1);
        let survey = survey(&disk, links, from, snapshot.as_ref()).map_err(|error| match error {
            OpenError::NoBeginning { first, .. } => OpenError::NoBeginning { first, skipped: skipped.clone() },
            other => other,
        })?;
        if let Some(s) = snapshot.as_ref().filter(|s| s.record >= survey.next) {
            return Err(OpenError::SnapshotAhead { path: dir.to_owned(), record: s.record, last: survey.next - 1 });
        }
        let torn = cut(&*disk, dir, &survey)?;
        let mut journal = Journal::begin(disk.clone(), dir, options, lock, &survey)?;
        let hung = journal.take_hung()?;
        let last_record = survey.next - 1;
        let recovered = Recovered {
            quarantine: journal.head.quarantine.clone(),
            hung,
            epoch: survey.head.epoch,
            last_seq: Seq(survey.last_seq),
            last_at: survey.last_at,
            last_record,
            torn,
            closed: survey.closed,
            without_emergency: journal.emergency.is_none(),
            reader: Reader::between(disk, dir, from, last_record)?,
            snapshot,
            skipped,
        };
        Ok((journal, recovered))
    }

    /// The writer behind the last good record.
    fn begin(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        lock: Box<dyn DirLock>,
        survey: &Survey,
    ) -> Result<Journal, OpenError> {
        let last = survey.good.map(|position| (&survey.links[position.link], position.offset));
        let durable = survey.next - 1;
        let shared = Arc::new(Shared::new(disk.clone(), dir, durable, survey.last_seq));
        let mut journal = Journal {
            disk: disk.clone(),
            dir: dir.to_owned(),
            shared,
            thread: None,
            active: None,
            segment: last.map_or(0, |(link, _)| link.file_number),
            next: survey.next,
            last_seq: survey.last_seq,
            last_at: survey.last_at,
            buffer: Vec::with_capacity(4096),
            retained: Retained::default(),
            head: survey.head.clone(),
            emergency: None,
            full: false,
            repairs: (0, 0),
            dead: None,
            options,
            _lock: lock,
        };
        journal.tidy()?;
        let same = |h: &super::segment::SegmentHeader| h.market_data == journal.options.market_data;
        if let Some((link, offset)) = last.filter(|(link, _)| link.in_use().is_some_and(same)) {
            let file = disk.open(&link.path)?;
            let capacity = file.size()?;
            journal.shared.push(file.clone(), false);
            journal.active = Some(Active { file, offset, capacity });
        } else {
            // The market data setting stands in the segment's header, so another one begins a segment.
            let (dir, size) = (journal.dir.clone(), journal.options.segment_size);
            journal.begin_segment(survey.next, Priority::Emergency).map_err(|error| match error {
                AppendError::DiskFull => OpenError::Full { dir, size },
                other => other.into(),
            })?;
            journal.fill_active()?;
            journal.shared.sync();
            if let Some(error) = journal.shared.take_error() {
                return Err(error.into());
            }
        }
        if journal.options.sync_by == SyncBy::Thread {
            let interval = (journal.options.durability != Durability::Each).then_some(journal.options.sync_interval);
            let duties = Duties { interval, spare_size: journal.options.segment_size };
            let thread = SyncThread::start(journal.shared.clone(), duties).map_err(OpenError::Thread)?;
            journal.thread = Some(thread);
        }
        Ok(journal)
    }

    /// Removes a half-made spare and sees to the emergency segment.
    fn tidy(&mut self) -> Result<(), DiskError> {
        match self.disk.remove(&self.dir.join(SPARE)) {
            Err(e) if !e.is_missing() => return Err(e),
            _ => {}
        }
        match self.disk.open(&self.dir.join(EMERGENCY)) {
            Ok(file) if file.size()? == self.options.emergency_size => self.emergency = Some(file),
            Ok(_) => {
                self.disk.remove(&self.dir.join(EMERGENCY))?;
                self.keep_emergency();
            }
            Err(_) => {
                self.keep_emergency();
            }
        }
        self.disk.sync_dir(&self.dir)
    }

    /// Takes the watchdog's mark over into the journal. Its file stays until [`Journal::retire_hung`].
    fn take_hung(&mut self) -> Result<Option<Hung>, OpenError> {
        let hung = read_hung(&*self.disk, &self.dir)?;
        // An input that is not in the journal is never folded; its number may come again for another one.
        if let Some(Hung::Station(mark)) = hung
            && mark.seq.0 <= self.last_seq
        {
            self.quarantine(mark.seq, mark.station, self.last_at)?;
        }
        Ok(hung)
    }

    /// Retires the watchdog's mark: what follows from it is durable.
    pub fn retire_hung(&mut self) -> Result<(), DiskError> {
        retire_hung(&*self.disk, &self.dir)
    }
}

fn check_headers(links: &[Link], engine: u16) -> Result<(), OpenError> {
    for link in links {
        match &link.header {
            Ok(header) if header.engine != engine => {
                let segment = link.path.clone();
                return Err(OpenError::Engine { segment, found: header.engine, expected: engine });
            }
            Err(error @ HeaderError::Format(_)) => {
                return Err(OpenError::Newer { segment: link.path.clone(), error: *error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Walks from the segment that holds record `from`, or an earlier one whose end may be torn, to the end.
fn survey(disk: &Arc<dyn Disk>, links: Vec<Link>, from: u64, snapshot: Option<&Snapshot>) -> Result<Survey, OpenError> {
    let first = links.iter().find_map(Link::in_use).map_or(1, |h| h.first_record);
    if first > from && links.first().is_some_and(|l| l.header.is_ok()) {
        return Err(OpenError::NoBeginning { first, skipped: Vec::new() });
    }
    let known = links.iter().filter_map(Link::in_use).map(|h| h.durable).max().unwrap_or(0);
    let begin = |l: &Link| l.in_use().is_some_and(|h| h.first_record <= from.min(known + 1));
    let start = links.iter().rposition(begin).unwrap_or(0);
    let mut walker = Walker::new(disk.clone(), links, start);
    let mut found = Survey {
        links: Vec::new(),
        head: snapshot.map(|s| s.head.clone()).unwrap_or_default(),
        good: None,
        next: 1,
        last_seq: snapshot.map_or(0, |s| s.state.seq.0),
        last_at: snapshot.map_or(Ts::ZERO, |s| s.state.at),
        closed: false,
        hole: None,
        durable: known,
    };
    loop {
        match walker.step()? {
            Step::Record(header) => {
                // What a snapshot knows already is not folded twice.
                if header.number == 0 && snapshot.is_none() || header.number >= from {
                    let folded = found.head.fold(&header, walker.payload()?);
                    let segment = || walker.place().0.to_owned();
                    folded.map_err(|error| OpenError::Wire { segment: segment(), record: header.number, error })?;
                }
                found.last_seq = found.last_seq.max(header.seq);
                found.last_at = found.last_at.max(header.at);
                if header.number != 0 {
                    found.durable = found.durable.max(header.durable());
                    found.closed = header.kind == RecordKind::Close;
                }
            }
            Step::End => break,
            Step::Hole(hole) => {
                found.hole = Some(hole);
                break;
            }
        }
    }
    if let Some(proof) = prove_durable(&**disk, &walker.links, walker.good, walker.next)? {
        let damage = corruption(&walker, found.hole, found.last_seq, Some(proof));
        return Err(OpenError::Corrupt(Box::new(damage)));
    }
    (found.good, found.next) = (walker.good, walker.next);
    found.links = walker.links;
    Ok(found)
}

/// Zeroes what stands behind the last good record and removes later segments, all durably: nothing of it may ever be taken for
/// a record again. Also syncs what the last process may have left in the page cache.
fn cut(disk: &dyn Disk, dir: &Path, survey: &Survey) -> Result<Option<TornTail>, DiskError> {
    let mut dirty = survey.hole.as_ref().map(|hole| hole.reason.clone());
    for (ix, link) in survey.links.iter().enumerate() {
        // Segments whose end was not known to be durable.
        let open = survey.good.is_some_and(|good| ix < good.link) && link.limit > survey.durable;
        if open && link.in_use().is_some() {
            disk.open(&link.path)?.sync_data()?;
        }
    }
    let kept = survey.good.map(|good| &survey.links[good.link]);
    if let (Some(good), Some(link)) = (survey.good, kept) {
        let file = disk.open(&link.path)?;
        let mut chunk = vec![0; 1 << 20];
        let mut offset = good.offset;
        loop {
            let read = file.read_at(offset, &mut chunk)?;
            if read == 0 {
                break;
            }
            if chunk[..read].iter().any(|b| *b != 0) {
                chunk[..read].fill(0);
                file.write_at(offset, &chunk[..read])?;
                dirty.get_or_insert_with(|| "unfinished bytes stand there".to_owned());
            }
            offset += read as u64;
        }
        file.sync_data()?;
    }
    let later = survey.good.map_or(0, |good| good.link + 1);
    for link in &survey.links[later..] {
        disk.remove(&link.path)?;
        dirty.get_or_insert_with(|| "an unfinished segment stands there".to_owned());
    }
    disk.sync_dir(dir)?;
    Ok(dirty.map(|reason| TornTail {
        segment: kept.map(|link| link.path.clone()),
        offset: survey.good.map_or(0, |good| good.offset),
        record: survey.next,
        reason,
    }))
}
