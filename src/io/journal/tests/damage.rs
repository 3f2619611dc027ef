//! Torn tails at every byte, flipped bits and missing segments, lying disks.

use super::work::*;
use crate::disk::{Disk, Fault, SimDisk};
use crate::journal::segment::{SEGMENT_HEADER, record_len};
use crate::journal::verify::verify;
use crate::journal::{Durability, Entry, Journal, OpenError, Options, Priority};
use crate::wire;
use qcat_core::event::Decision;
use qcat_core::id::Seq;
use std::path::Path;
use std::sync::Arc;

/// A closed journal of several segments, and its entries.
fn closed(steps: usize) -> (SimDisk, Vec<Entry>) {
    let disk = SimDisk::new(3);
    let mut log = Log::default();
    let (mut journal, _) = open(&disk, Durability::Group);
    run(&mut journal, &mut Dice(4), &mut log, steps).unwrap();
    journal.close().unwrap();
    (disk.clone(), entries(&disk))
}

/// A closed journal of forty trades.
fn trades() -> SimDisk {
    let disk = SimDisk::new(3);
    let (mut journal, _) = open(&disk, Durability::Group);
    (1..=40).for_each(|seq| assert_eq!(append(&mut journal, seq).unwrap().0, seq));
    journal.close().unwrap();
    disk
}

/// A disk with the same files, one of them changed.
fn with(disk: &SimDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> SimDisk {
    let copy = SimDisk::new(0);
    for name in disk.list(dir()).unwrap() {
        let file = dir().join(name);
        copy.put(&file, disk.bytes(&file).unwrap());
    }
    let mut bytes = disk.bytes(path).unwrap();
    change(&mut bytes);
    copy.put(path, bytes);
    copy
}

/// Where the used part of a segment ends.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b != 0).map_or(0, |at| (at + 1).next_multiple_of(8))
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_work_goes_on() {
    // One segment of unsynced trades: nothing of it was reported durable.
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Async);
    (1..=6).for_each(|seq| assert_eq!(append(&mut journal, seq).unwrap().0, seq));
    drop(journal);
    let path = dir().join("journal-000000000001.seg");
    let bytes = disk.bytes(&path).unwrap();
    let whole = entries(&disk);
    let mut starts = Vec::new();
    let mut start = SEGMENT_HEADER;
    while start < used(&bytes) {
        starts.push(start);
        start += record_len(u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap()) as usize);
    }
    assert_eq!(starts.len(), 6);
    for torn in SEGMENT_HEADER..used(&bytes) {
        for filler in [0, 0xa5] {
            let disk = with(&disk, &path, |bytes| bytes[torn..].fill(filler));
            let (mut journal, recovered) = open(&disk, Durability::Async);
            let kept = starts.iter().filter(|start| **start < torn).count();
            // The record in which the tear is may still be whole: its padding and last bytes may be what was there.
            let found = recovered.last_record as usize;
            assert!(found == kept || found + 1 == kept, "torn at {torn}: {found} of {kept}");
            assert_eq!(recovered.torn.is_some(), filler != 0 || found + 1 == kept, "torn at {torn}");
            append(&mut journal, found as u64 + 1).unwrap();
            drop(journal);
            assert_eq!(entries(&disk)[..found], whole[..found]);
            assert_eq!(entries(&disk).len(), found + 1);
        }
    }
}

/// A decision whose record takes so many bytes.
fn sized(bytes: usize) -> Vec<Decision> {
    let fits = |len: &usize| {
        let mut payload = Vec::new();
        wire::write_decisions(&[alert(&"x".repeat(*len))], &mut payload).unwrap();
        record_len(payload.len()) == bytes
    };
    vec![alert(&"x".repeat((0..bytes).find(fits).unwrap()))]
}

/// Each record fills a sector. Those behind a torn one are whole, and of the same size as those that take the torn one's
/// place: were they not removed for good, they would continue the new ones after a crash.
#[test]
fn what_was_cut_off_never_comes_back() {
    let options = || Options { segment_size: 8192, ..options(Durability::Async) };
    let open = |disk: &SimDisk| Journal::open(Arc::new(disk.clone()), dir(), options()).unwrap();
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk);
    append(&mut journal, 1).unwrap();
    let path = dir().join("journal-000000000001.seg");
    let first = used(&disk.bytes(&path).unwrap());
    let decide = |journal: &mut Journal, bytes| {
        journal.append_decisions(Seq(1), at(1), &sized(bytes), Priority::Normal).unwrap();
    };
    decide(&mut journal, 512 - first);
    (0..6).for_each(|_| decide(&mut journal, 512));
    drop(journal);
    for torn in 3..8 {
        for seed in 0..200 {
            let at = (torn - 2) * 512;
            let disk = with(&disk, &path, |bytes| bytes[at..at + 512].fill(0));
            let (mut journal, recovered) = open(&disk);
            assert_eq!(recovered.last_record, torn as u64 - 1);
            decide(&mut journal, 512);
            drop(journal);
            assert_eq!(entries(&disk).len(), torn);
            let found = entries(&disk.reboot(seed)).len();
            assert!(found == torn || found == torn - 1, "{found} records, torn at {torn}, seed {seed}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (disk, whole) = closed(50);
    let names = segments(&disk);
    assert!(names.len() > 3);
    assert_eq!(whole.last(), Some(&Entry::Close));
    for name in &names {
        let path = dir().join(name);
        let last = Some(name) == names.last();
        let bytes = disk.bytes(&path).unwrap();
        let end = used(&bytes);
        for at in (0..end).step_by(5) {
            let damaged = with(&disk, &path, |bytes| bytes[at] ^= 1 << (at % 8));
            let opened = try_open(&damaged, Durability::Group);
            let snapshot = opened.as_ref().is_ok_and(|(_, r)| r.snapshot.is_some());
            match opened {
                Err(OpenError::Corrupt(damage)) => {
                    assert!(damage.proof.is_some() && damage.record >= 1, "{damage}");
                    assert!(damage.to_string().contains("is damaged at byte"));
                }
                Err(other) => panic!("{name} at {at}: {other}"),
                // The last record is the note that the journal was closed; without it nothing is lost.
                Ok((_, recovered)) if last && recovered.last_record == whole.len() as u64 - 1 => {
                    assert!(recovered.torn.is_some() && !recovered.closed);
                }
                // Segments before the snapshot are not read at a start.
                Ok((_, recovered)) => {
                    assert!(snapshot, "{name} at {at}: not found");
                    assert_eq!(recovered.last_record, whole.len() as u64, "{name} at {at}");
                    let report = verify(Arc::new(damaged.clone()), dir()).unwrap();
                    assert!(!report.is_sound(), "{name} at {at}: verify must see it");
                }
            }
        }
    }
}

#[test]
fn damage_changes_nothing_on_disk() {
    let disk = trades();
    let path = dir().join(&segments(&disk)[0]);
    let middle = used(&disk.bytes(&path).unwrap()) / 2;
    let damaged = with(&disk, &path, |bytes| bytes[middle] ^= 1);
    let before = damaged.bytes(&path).unwrap();
    assert!(try_open(&damaged, Durability::Group).is_err());
    assert_eq!(damaged.bytes(&path).unwrap(), before);
}

#[test]
fn a_missing_segment_is_found() {
    let disk = trades();
    let names = segments(&disk);
    assert!(names.len() > 3);
    let middle = dir().join(&names[names.len() - 2]);
    disk.remove(&middle).unwrap();
    let report = verify(Arc::new(disk.clone()), dir()).unwrap();
    assert!(!report.is_sound(), "{report}");
    match try_open(&disk, Durability::Group) {
        Err(OpenError::Corrupt(damage)) => assert!(damage.reason.contains("missing"), "{damage}"),
        other => panic!("{:?}", other.map(|(_, r)| r)),
    }
}

#[test]
fn a_lost_last_segment_is_found_by_the_snapshot() {
    let disk = SimDisk::new(3);
    let (mut journal, _) = open(&disk, Durability::Group);
    (1..=30).for_each(|seq| assert_eq!(append(&mut journal, seq).unwrap().0, seq));
    let state = crate::journal::State { seq: journal.last_seq(), at: at(30), parts: Vec::new() };
    journal.write_snapshot(state).unwrap();
    drop(journal);
    disk.remove(&dir().join(segments(&disk).last().unwrap())).unwrap();
    assert!(matches!(try_open(&disk, Durability::Group), Err(OpenError::SnapshotAhead { .. })));
}

#[test]
fn a_write_that_the_disk_swallowed_is_found_and_nothing_is_invented() {
    let mut found = 0;
    for nth in 1..30 {
        let disk = SimDisk::new(nth);
        let (mut journal, _) = open(&disk, Durability::Each);
        disk.plan(Fault::LoseWrite(nth));
        for seq in 1..=40 {
            append(&mut journal, seq).unwrap();
        }
        drop(journal);
        let survivor = disk.reboot(nth);
        match try_open(&survivor, Durability::Each) {
            Err(OpenError::Corrupt(_)) => found += 1,
            Err(other) => panic!("write {nth}: {other}"),
            Ok((_, recovered)) => panic!("write {nth}: {} records taken for whole", recovered.last_record),
        }
    }
    assert_eq!(found, 29);
}
