//! Old segments go and nothing that a recovery or a replay needs goes with them, whatever call a crash comes at.

use super::work::*;
use crate::disk::{Disk, Fault, SimDisk};
use crate::journal::verify::verify;
use crate::journal::{
    Durability, Entry, Journal, OpenError, Options, Reader, SnapshotWriteError, State, oldest_snapshot,
};
use qcat_core::id::Seq;
use qcat_core::time::Span;
use std::sync::Arc;

/// Everything that no recovery needs is removed at once.
fn greedy() -> Options {
    Options { keep: Span::ZERO, ..options(Durability::Group) }
}

fn life(disk: &SimDisk, options: &Options, seqs: u64, log: &mut Vec<Entry>) -> Result<u64, String> {
    life_beside(u64::MAX, disk, options, seqs, log)
}

/// A life beside a reader who has everything up to input `has`.
fn life_beside(has: u64, disk: &SimDisk, options: &Options, seqs: u64, log: &mut Vec<Entry>) -> Result<u64, String> {
    let opened = Journal::open(Arc::new(disk.clone()), dir(), options.clone());
    let (mut journal, recovered) = opened.map_err(|e| e.to_string())?;
    journal.durable_watch().has(Seq(has));
    log.truncate(recovered.last_record as usize);
    let mut durable = 0;
    for seq in recovered.last_seq.0 + 1..=recovered.last_seq.0 + seqs {
        append(&mut journal, seq).map_err(|e| e.to_string())?;
        log.push(Entry::Input(input(seq, trade(seq))));
        if seq % 9 == 0 {
            let state =
                State { seq: Seq(seq), at: at(seq), parts: vec![("part".to_owned(), seq.to_le_bytes().to_vec())] };
            // A snapshot may be on disk though what follows it failed.
            journal.write_snapshot(state).map_err(|e| e.to_string())?;
            log.push(Entry::Snapshot);
        }
        durable = durable.max(journal.durable().0);
    }
    Ok(durable)
}

/// What is on disk is whole: it verifies, it is the end of what was appended, and a recovery gets the newest snapshot and all
/// records behind it.
fn check(disk: &SimDisk, options: &Options, log: &[Entry], durable: u64, what: &str) {
    let report = verify(Arc::new(disk.clone()), dir()).expect("looked through");
    assert!(report.is_sound(), "{what}: {report}");
    let removed = report.segments.iter().find_map(|s| s.first_record).is_some_and(|first| first > 1);
    assert_eq!(report.to_string().contains("what came before was removed"), removed, "{what}: {report}");
    let opened = Journal::open(Arc::new(disk.clone()), dir(), options.clone());
    let (_journal, mut recovered) = opened.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(recovered.last_record >= durable, "{what}: {} of {durable} durable records", recovered.last_record);
    let snapshot = recovered.snapshot.clone();
    let from = snapshot.as_ref().map_or(0, |s| s.record as usize);
    let tail: Vec<Entry> = recovered.entries().map(|e| e.expect("whole")).collect();
    let known = log.len().min(recovered.last_record as usize);
    assert_eq!(tail[..known - from], log[from..known], "{what}");
    if let Some(snapshot) = &snapshot {
        assert_eq!(snapshot.state.parts[0].1, snapshot.state.seq.0.to_le_bytes(), "{what}");
    }
    // A replay begins with the first record, or with a snapshot before which nothing is missing.
    let mut reader = Reader::open(Arc::new(disk.clone()), dir()).expect("readable");
    let first = reader.next_raw().expect("whole").map_or(1, |record| record.header.number);
    if first > 1 {
        let oldest = oldest_snapshot(disk, dir(), 0, first, &mut |_| Ok(())).expect("read");
        assert!(oldest.is_some_and(|s| s.record + 1 >= first), "{what}: no beginning for a replay from {first}");
    }
}

#[test]
fn a_crash_at_any_call_while_segments_are_removed_leaves_a_whole_journal() {
    let options = greedy();
    let (whole, mut log) = (SimDisk::new(1), Vec::new());
    life(&whole, &options, 120, &mut log).expect("a life");
    assert!(!segments(&whole)[0].ends_with("001.seg"), "the head must be gone: {:?}", segments(&whole));
    for call in 1..=whole.calls() {
        let (disk, mut log) = (SimDisk::new(1), Vec::new());
        disk.plan(Fault::CrashAt(call));
        let durable = life(&disk, &options, 120, &mut log).unwrap_or(0);
        for power in [true, false] {
            let survivor = if power { disk.reboot(call) } else { disk.after_kill() };
            let what = format!("crash at call {call}, loss of power {power}");
            let mut log = log.clone();
            check(&survivor, &options, &log, durable, &what);
            // The next life goes on and removes further.
            life(&survivor, &options, 30, &mut log).unwrap_or_else(|e| panic!("{what}: {e}"));
            check(&survivor, &options, &log, 0, &format!("{what}, next life"));
        }
    }
}

#[test]
fn what_is_young_or_small_stays_and_each_segment_keeps_its_first_snapshot() {
    let by_age = Options { keep: Span::from_millis(60), ..options(Durability::Group) };
    let by_size = Options { keep_bytes: 4 * 1024, ..options(Durability::Group) };
    let (disk, mut log) = (SimDisk::new(3), Vec::new());
    life(&disk, &options(Durability::Group), 120, &mut log).expect("a life");
    let all = segments(&disk);
    assert!(all[0].ends_with("001.seg") && all.len() > 6, "nothing is removed by default: {all:?}");
    let snapshots = |disk: &SimDisk| disk.list(dir()).expect("listed").iter().filter(|n| n.ends_with(".snap")).count();
    assert!(snapshots(&disk) > 2 && snapshots(&disk) <= all.len() + 2, "{} snapshots", snapshots(&disk));
    for (options, most) in [(by_age, all.len() - 1), (by_size, 6)] {
        let (disk, mut log) = (disk.after_kill(), log.clone());
        life(&disk, &options, 40, &mut log).expect("a life");
        let left = segments(&disk);
        assert!(!left[0].ends_with("001.seg") && left.len() >= 3 && left.len() <= most, "{left:?}");
        check(&disk, &options, &log, 0, "bounded");
    }
}

#[test]
fn what_a_reader_has_not_read_yet_stays_as_long_as_the_bytes_allow() {
    for has in [0, 1, 40, 63, 64, 100] {
        let (disk, mut log) = (SimDisk::new(8), Vec::new());
        life_beside(has, &disk, &greedy(), 120, &mut log).expect("a life");
        let mut reader = Reader::open(Arc::new(disk.clone()), dir()).expect("readable");
        let first = reader.next_raw().expect("whole").map_or(1, |record| record.header.number);
        // He begins with the first record, or with a snapshot of nothing that he has not, behind which no record is missing.
        let at_most = |s: &crate::journal::Snapshot| if s.state.seq.0 <= has { Ok(()) } else { Err(String::new()) };
        let begins = oldest_snapshot(&disk, dir(), 0, first, &mut |s| at_most(s)).expect("read");
        assert!(first == 1 || begins.is_some(), "has {has}, first record {first}");
        assert!(first == 1 || has > 9, "has {has}, first record {first}");
        assert!(first > 1 || has < 100, "what he has is removed all the same");
        check(&disk, &greedy(), &log, 0, "beside a reader");
        // Not beyond the bytes that are kept at most.
        let bounded = Options { keep_bytes: 4 * 1024, ..greedy() };
        life_beside(has, &disk, &bounded, 40, &mut log).expect("a life");
        assert!(segments(&disk).len() <= 6, "{:?}", segments(&disk));
    }
}

#[test]
fn nothing_is_removed_behind_a_snapshot_that_cannot_be_read() {
    let (disk, mut log) = (SimDisk::new(4), Vec::new());
    life(&disk, &options(Durability::Group), 100, &mut log).expect("a life");
    let names: Vec<String> = disk.list(dir()).expect("listed").into_iter().filter(|n| n.ends_with(".snap")).collect();
    // With the next snapshot this one is the oldest that a recovery may begin with.
    let path = dir().join(&names[names.len() - 1]);
    let mut bytes = disk.bytes(&path).expect("there");
    bytes[60] ^= 1;
    disk.put(&path, bytes);
    life(&disk, &greedy(), 9, &mut log).expect("a life");
    assert!(segments(&disk)[0].ends_with("001.seg"), "{:?}", segments(&disk));
    check(&disk, &greedy(), &log, 0, "a damaged snapshot");
}

#[test]
fn a_full_disk_gets_room_from_segments_that_are_not_kept() {
    let (disk, mut log) = (SimDisk::new(6), Vec::new());
    life(&disk, &options(Durability::Group), 120, &mut log).expect("a life");
    let (mut journal, recovered) = Journal::open(Arc::new(disk.clone()), dir(), greedy()).expect("opened");
    disk.plan(Fault::Capacity(1));
    let state = State { seq: recovered.last_seq, at: recovered.last_at, parts: Vec::new() };
    let full = journal.write_snapshot(state).expect_err("no room");
    assert!(matches!(&full, SnapshotWriteError::Disk(error) if error.is_full()), "{full}");
    assert!(!segments(&disk)[0].ends_with("001.seg"), "{:?}", segments(&disk));
    disk.heal();
    drop((journal, recovered));
    check(&disk, &greedy(), &log, 0, "after a full disk");
}

#[test]
fn a_journal_without_head_and_without_usable_snapshot_says_which_snapshots_there_are() {
    let (disk, mut log) = (SimDisk::new(5), Vec::new());
    life(&disk, &greedy(), 120, &mut log).expect("a life");
    let other = Options { program: "next".to_owned(), ..greedy() };
    let error = Journal::open(Arc::new(disk.clone()), dir(), other).expect_err("refused");
    assert!(matches!(&error, OpenError::NoBeginning { skipped, .. } if !skipped.is_empty()), "{error}");
    assert!(error.to_string().contains("written by version test, this is next"), "{error}");
}
