//! Snapshots: the state of all nodes between two inputs, so that recovery need not begin at the first record.
//!
//! A file holds: magic `QCATSNAP`, format u16, engine u16, checksum u32 of all that follows, record u64, sequence u64, time
//! i64, length of the head u32, 4 zeros, the head's records, then the body in postcard: program version, and name and bytes of each part.
//! It is written under a temporary name, synced, renamed; the newest ones are kept. One that cannot be used is skipped with
//! a reason, and an older one or the whole journal takes its place.

use super::head::Head;
use super::retire::{Keep, retire};
use super::segment::{Place, inspect};
use super::sync::Shared;
use crate::disk::{Disk, DiskError};
use crate::wire::{self, WireError};
use qcat_core::engine::snapshot::Snapshot as State;
use qcat_core::id::Seq;
use qcat_core::time::Ts;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const MAGIC: &[u8; 8] = b"QCATSNAP";
const FORMAT: u16 = 1;
const HEADER: usize = 48;
const TEMPORARY: &str = "snapshot.tmp";

/// A stored snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The last record that it contains.
    pub record: u64,
    /// The layout of its state, as the program that wrote it names it.
    pub program: String,
    /// Definitions, configuration, epoch and quarantine marks at that point.
    pub head: Head,
    /// The engine's state.
    pub state: State,
}

/// A snapshot that was not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedSnapshot {
    /// The file.
    pub path: PathBuf,
    /// Why it was not used.
    pub reason: String,
}

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotWriteError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The journal is not durable up to it; it would be ahead of the journal after a crash.
    #[error("the journal is durable up to record {durable}, the snapshot holds record {record}")]
    NotDurable {
        /// Last record in the snapshot.
        record: u64,
        /// Newest durable record.
        durable: u64,
    },
    /// The state is not that after the last journaled input.
    #[error("the state is that after sequence {state}, the journal's last is {journal}")]
    OutOfStep {
        /// The state's.
        state: u64,
        /// The journal's.
        journal: u64,
    },
    /// The state does not encode.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The journal refused the record that names the snapshot.
    #[error(transparent)]
    Journal(#[from] Box<super::AppendError>),
}

/// A snapshot that is taken but not on disk yet; it can be written by another thread than the trading one.
#[derive(Debug)]
pub struct PendingSnapshot {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shared: Arc<Shared>,
    pub(super) dir: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) record: u64,
    pub(super) at: Ts,
    pub(super) keep: Keep,
}

impl PendingSnapshot {
    /// The record up to which the journal must be durable before [`PendingSnapshot::write`].
    pub fn record(&self) -> u64 {
        self.record
    }

    /// Writes it durably, then removes what is not kept any more: on a full disk too, where that makes room.
    pub fn write(self) -> Result<(), SnapshotWriteError> {
        let stored = self.store();
        match &stored {
            Ok(()) => {}
            Err(SnapshotWriteError::Disk(error)) if error.is_full() => {}
            Err(_) => return stored,
        }
        let needed = Seq(self.shared.needed.load(Ordering::Acquire));
        retire(&*self.disk, &self.dir, &self.keep, self.at, needed)?;
        stored
    }

    fn store(&self) -> Result<(), SnapshotWriteError> {
        let durable = self.shared.durable.load(Ordering::Acquire);
        if durable < self.record {
            return Err(SnapshotWriteError::NotDurable { record: self.record, durable });
        }
        let temporary = self.dir.join(TEMPORARY);
        match self.disk.remove(&temporary) {
            Err(e) if !e.is_missing() => return Err(e.into()),
            _ => {}
        }
        let file = self.disk.create(&temporary, self.bytes.len() as u64)?;
        file.write_at(0, &self.bytes)?;
        file.sync_data()?;
        self.disk.rename(&temporary, &self.dir.join(name(self.record)))?;
        self.disk.sync_dir(&self.dir)?;
        Ok(())
    }
}

pub(super) fn name(record: u64) -> String {
    format!("snapshot-{record:020}.snap")
}

/// Records of the stored snapshots, rising.
pub(super) fn stored(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, DiskError> {
    let digits = |name: &String| name.strip_prefix("snapshot-")?.strip_suffix(".snap")?.parse().ok();
    Ok(disk.list(dir)?.iter().filter_map(digits).collect())
}

/// The bytes of a snapshot.
pub(super) fn encode(engine: u16, snapshot: &Snapshot) -> Result<Vec<u8>, WireError> {
    let mut out = vec![0; HEADER];
    let State { seq, at, parts } = &snapshot.state;
    snapshot.head.write(*seq, *at, &mut out)?;
    let head_len = (out.len() - HEADER) as u32;
    wire::append(&(&snapshot.program, parts), &mut out)?;
    out[..8].copy_from_slice(MAGIC);
    out[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    out[10..12].copy_from_slice(&engine.to_le_bytes());
    out[16..24].copy_from_slice(&snapshot.record.to_le_bytes());
    out[24..32].copy_from_slice(&seq.0.to_le_bytes());
    out[32..40].copy_from_slice(&at.nanos().to_le_bytes());
    out[40..44].copy_from_slice(&head_len.to_le_bytes());
    let sum = crc32fast::hash(&out[16..]);
    out[12..16].copy_from_slice(&sum.to_le_bytes());
    Ok(out)
}

/// Reads the bytes of a snapshot.
fn decode(engine: u16, bytes: &[u8]) -> Result<Snapshot, String> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| word(at) as u64 | (word(at + 4) as u64) << 32;
    if bytes.len() < HEADER || &bytes[..8] != MAGIC {
        return Err("not a snapshot".to_owned());
    }
    if word(8) as u16 != FORMAT {
        return Err(format!("format {} is not known to this version", word(8) as u16));
    }
    if crc32fast::hash(&bytes[16..]) != word(12) {
        return Err("its bytes do not match their checksum".to_owned());
    }
    if (word(8) >> 16) as u16 != engine {
        return Err(format!("of engine {}", word(8) >> 16));
    }
    let body = HEADER + word(40) as usize;
    let mut head = Head::default();
    let mut records = bytes.get(HEADER..body).ok_or("cut short")?;
    while !records.is_empty() {
        let Place::Record(header, total) = inspect(records) else { return Err("damaged head".to_owned()) };
        let payload = &records[super::segment::RECORD_HEADER..][..header.len as usize];
        head.fold(&header, payload).map_err(|e| e.to_string())?;
        records = &records[total..];
    }
    let (program, parts) = wire::parse(&bytes[body..]).map_err(|e| e.to_string())?;
    let state = State { seq: Seq(long(24)), at: Ts::from_nanos(long(32) as i64), parts };
    Ok(Snapshot { record: long(16), program, head, state })
}

impl Snapshot {
    /// Whether it is of the layout that this program names, with the reason why not.
    pub(super) fn check_program(&self, program: &str) -> Result<(), String> {
        match self.program == program {
            true => Ok(()),
            false => Err(format!("written by version {}, this is {program}", self.program)),
        }
    }
}

/// Says whether a snapshot can be restored, or why not.
pub type Fits<'f> = dyn FnMut(&Snapshot) -> Result<(), String> + 'f;

/// The newest snapshot that `fits`, and those that were skipped, newest first.
pub(super) fn newest(
    disk: &dyn Disk,
    dir: &Path,
    engine: u16,
    fits: &mut Fits<'_>,
) -> Result<(Option<Snapshot>, Vec<SkippedSnapshot>), DiskError> {
    newest_of(disk, dir, engine, &stored(disk, dir)?, fits)
}

/// The same of these records only, which rise.
pub(super) fn newest_of(
    disk: &dyn Disk,
    dir: &Path,
    engine: u16,
    records: &[u64],
    fits: &mut Fits<'_>,
) -> Result<(Option<Snapshot>, Vec<SkippedSnapshot>), DiskError> {
    let mut skipped = Vec::new();
    for record in records.iter().rev().copied() {
        let path = dir.join(name(record));
        let snapshot = read(disk, &path)?;
        let usable = decode(engine, &snapshot).and_then(|s| {
            if s.record != record {
                return Err(format!("holds record {} under another name", s.record));
            }
            fits(&s).map(|()| s)
        });
        match usable {
            Ok(snapshot) => return Ok((Some(snapshot), skipped)),
            Err(reason) => skipped.push(SkippedSnapshot { path, reason }),
        }
    }
    Ok((None, skipped))
}

/// The oldest snapshot that `fits` behind which no record of a journal that begins with record `first` is missing.
pub fn oldest_snapshot(
    disk: &dyn Disk,
    dir: &Path,
    engine: u16,
    first: u64,
    fits: &mut Fits<'_>,
) -> Result<Option<Snapshot>, DiskError> {
    for record in stored(disk, dir)?.into_iter().filter(|record| record.saturating_add(1) >= first) {
        if let (Some(snapshot), _) = newest_of(disk, dir, engine, &[record], fits)? {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, DiskError> {
    let file = disk.open_read(path)?;
    let mut bytes = vec![0; file.size()? as usize];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
