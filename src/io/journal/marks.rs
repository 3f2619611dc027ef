//! The watchdog's mark: which station hung on which input. It is a file of its own, because the thread that writes the journal is
//! the one that hangs; the next start takes it over into the journal.

use super::head::{read_mark, write_mark};
use super::segment::{Place, RECORD_HEADER, RecordHeader, RecordKind, begin_record, finish_record, inspect};
use crate::disk::{Disk, DiskError};
use crate::wire;
use qcat_core::engine::fold::Quarantine;
use qcat_core::time::Ts;
use std::path::Path;

/// The mark's file name.
pub const HUNG: &str = "hung";
/// The name of the last mark that was taken over, for people.
pub const RETIRED: &str = "hung.last";
const TEMPORARY: &str = "hung.tmp";

/// What the mark's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hung {
    /// This station hung on this input.
    Station(Quarantine),
    /// Something hung, but the file is damaged.
    Damaged,
}

/// Writes the mark durably; for the watchdog, which holds no lock. `dir` is the engine's data directory.
pub fn write_hung(disk: &dyn Disk, dir: &Path, mark: Quarantine, at: Ts) -> Result<(), DiskError> {
    let mut bytes = Vec::new();
    let start = begin_record(&mut bytes);
    let temporary = dir.join(TEMPORARY);
    write_mark(&mark, &mut bytes).map_err(|e| DiskError::io("encode", &temporary)(std::io::Error::other(e)))?;
    let header = RecordHeader {
        len: 0,
        number: 0,
        seq: mark.seq.0,
        at,
        lag: 0,
        kind: RecordKind::Quarantine,
        version: wire::VERSION,
        flags: 0,
    };
    finish_record(&mut bytes, start, &header);
    match disk.remove(&temporary) {
        Err(e) if !e.is_missing() => return Err(e),
        _ => {}
    }
    let file = disk.create(&temporary, bytes.len() as u64)?;
    file.write_at(0, &bytes)?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(HUNG))?;
    disk.sync_dir(dir)
}

/// Puts the mark aside, if there is one: everything that follows from it is durable.
pub(super) fn retire_hung(disk: &dyn Disk, dir: &Path) -> Result<(), DiskError> {
    match disk.rename(&dir.join(HUNG), &dir.join(RETIRED)) {
        Err(e) if e.is_missing() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => disk.sync_dir(dir),
    }
}

/// Reads the mark, if there is one.
pub fn read_hung(disk: &dyn Disk, dir: &Path) -> Result<Option<Hung>, DiskError> {
    let file = match disk.open_read(&dir.join(HUNG)) {
        Err(e) if e.is_missing() => return Ok(None),
        other => other?,
    };
    let mut bytes = [0; 256];
    let read = file.read_at(0, &mut bytes)?;
    let mark = match inspect(&bytes[..read]) {
        Place::Record(header, _) if header.kind == RecordKind::Quarantine => {
            read_mark(header.version, &bytes[RECORD_HEADER..][..header.len as usize]).ok()
        }
        _ => None,
    };
    Ok(Some(mark.map_or(Hung::Damaged, Hung::Station)))
}
