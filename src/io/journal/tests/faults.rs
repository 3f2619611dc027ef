//! Full and read-only disks, failed syncs, second processes, and the journal on the real disk with its thread.

use super::work::*;
use crate::disk::{Disk, DiskError, Fault, RealDisk, SimDisk};
use crate::journal::{AppendError, Durability, Entry, Journal, Mark, OpenError, Options, Priority, Reader, SyncBy};
use qcat_core::command::{CommandId, CommandKind, VenueCommand};
use qcat_core::event::{Decision, HaltReason, Input, Scope};
use qcat_core::id::{AccountIx, ForeignId, OrderKey, Seq, SymbolIx};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn halt(seq: u64) -> qcat_core::event::Admitted {
    input(seq, Input::Halt { scope: Scope::All, reason: HaltReason::KillSwitch })
}

fn cancel() -> Vec<Decision> {
    let key = OrderKey::Foreign(ForeignId::new("x"));
    let kind = CommandKind::Cancel { symbol: SymbolIx(0), key, conditional: false };
    vec![Decision::Command(VenueCommand { id: CommandId(1), account: AccountIx(0), kind })]
}

#[test]
fn a_full_disk_takes_cancels_until_the_emergency_segment_is_full_and_recovers() {
    let disk = SimDisk::new(1);
    let (mut journal, recovered) = open(&disk, Durability::Group);
    assert!(!recovered.without_emergency);
    let mut seq = 0;
    // Room for what is there and nothing more.
    disk.plan(Fault::Capacity(1024 + 4096 + 64));
    while append(&mut journal, seq + 1).is_ok() {
        seq += 1;
    }
    assert!(matches!(append(&mut journal, seq + 1), Err(AppendError::DiskFull)) && journal.is_full());
    assert_eq!(journal.last_seq(), Seq(seq), "a refused input uses up nothing");
    let mut cancels = 0;
    while journal.append_input(&halt(seq + 1), Priority::of_input(&halt(0).input)).is_ok() {
        seq += 1;
        let decisions = cancel();
        let priority = Priority::of_decisions(&decisions);
        match journal.append_decisions(Seq(seq), at(seq), &decisions, priority) {
            Ok(mark) => {
                journal.sync_now().unwrap();
                assert!(journal.may_release(mark));
                cancels += 1;
            }
            Err(AppendError::DiskFull) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(append(&mut journal, seq + 1).is_err(), "market data never uses the emergency segment");
    }
    assert!(cancels > 20, "{cancels}");
    let before = entries(&disk);
    disk.heal();
    append(&mut journal, seq + 1).unwrap();
    assert!(!journal.is_full());
    journal.close().unwrap();
    let after = entries(&disk);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 2);
    assert!(disk.list(dir()).unwrap().contains(&"emergency.seg".to_owned()), "it is kept again");
    let (_, recovered) = open(&disk, Durability::Group);
    assert_eq!(recovered.last_record, after.len() as u64);
}

#[test]
fn a_failed_sync_is_not_tried_again_on_that_file() {
    let disk = SimDisk::new(5);
    let (mut journal, _) = open(&disk, Durability::Group);
    append(&mut journal, 1).unwrap();
    journal.sync_now().unwrap();
    append(&mut journal, 2).unwrap();
    let mark = append(&mut journal, 3).unwrap();
    assert!(!journal.may_release(mark));
    disk.plan(Fault::FailSync(1));
    journal.sync_now().unwrap();
    assert!(journal.may_release(mark) && journal.durable_seq() >= Seq(2));
    assert_eq!(segments(&disk).len(), 2);
    let found = entries(&disk.reboot(1));
    assert_eq!(found.len(), 3, "all that was reported durable");
    // Void records of the first segment are not read twice.
    assert_eq!(entries(&disk), found);
    let from_two: Vec<Entry> =
        Reader::from_seq(Arc::new(disk.clone()), dir(), Seq(2)).unwrap().map(Result::unwrap).collect();
    assert_eq!(from_two, found[1..]);
}

#[test]
fn a_disk_that_never_syncs_ends_the_journal() {
    let disk = SimDisk::new(5);
    let (mut journal, _) = open(&disk, Durability::Group);
    append(&mut journal, 1).unwrap();
    // Counted from now: each of the next syncs fails.
    (1..=10).for_each(|nth| disk.plan(Fault::FailSync(nth)));
    assert!(matches!(journal.sync_now(), Err(AppendError::Dead(reason)) if reason.contains("sync")));
    assert!(matches!(append(&mut journal, 2), Err(AppendError::Dead(_))), "and it stays so");
    assert_eq!(journal.durable(), Mark(0));
}

#[test]
fn only_one_process_holds_the_data() {
    let disk = SimDisk::new(1);
    let (journal, _) = open(&disk, Durability::Group);
    let refused = try_open(&disk, Durability::Group);
    assert!(matches!(refused, Err(OpenError::Disk(DiskError::Locked { pid: Some(_), .. }))));
    drop(journal);
    open(&disk, Durability::Group);
}

#[test]
fn a_read_only_directory_is_one_clear_error() {
    let disk = SimDisk::new(1);
    open(&disk, Durability::Group);
    disk.plan(Fault::ReadOnly);
    match try_open(&disk, Durability::Group) {
        Err(OpenError::Disk(error)) => {
            assert!(error.is_read_only() && error.to_string().contains(DIR), "{error}");
        }
        other => panic!("{:?}", other.map(|(_, r)| r)),
    }
}

#[test]
fn sequences_must_follow_each_other() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Group);
    append(&mut journal, 1).unwrap();
    assert!(matches!(append(&mut journal, 3), Err(AppendError::OutOfOrder { last: 1, got: 3 })));
    assert!(append(&mut journal, 1).is_err());
    let late = journal.append_decisions(Seq(2), at(2), &[alert("x")], Priority::Normal);
    assert!(matches!(late, Err(AppendError::OutOfOrder { .. })));
    assert_eq!(journal.appended(), Mark(1));
}

fn real(durability: Durability) -> Options {
    Options { sync_by: SyncBy::Thread, segment_size: 8 << 10, ..options(durability) }
}

#[test]
fn the_sync_thread_makes_records_durable_and_wakes_the_lane() {
    for durability in [Durability::Group, Durability::Async, Durability::Each] {
        let tmp = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(Arc::new(RealDisk), tmp.path(), real(durability)).unwrap();
        let woken = Arc::new(AtomicU64::new(0));
        let count = woken.clone();
        journal.set_waker(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        // Enough for several segments, so the spare one is used too.
        let last = if durability == Durability::Each { 200 } else { 1_000 };
        for seq in 1..=last {
            append(&mut journal, seq).unwrap();
            let decisions = [alert("decided")];
            let mark = journal.append_decisions(Seq(seq), at(seq), &decisions, Priority::Normal).unwrap();
            assert!(journal.may_release(mark) || durability == Durability::Group);
            if seq % 100 == 0 {
                journal.request_sync();
                let patience = std::time::Instant::now();
                while journal.durable() < mark && patience.elapsed() < Duration::from_secs(20) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                assert!(journal.durable() >= mark && journal.durable_seq() == Seq(seq));
            }
        }
        assert!(woken.load(Ordering::Relaxed) > 0);
        journal.close().unwrap();
        let names = RealDisk.list(tmp.path()).unwrap();
        assert!(names.iter().filter(|n| n.starts_with("journal-")).count() > 3 && !names.contains(&"spare.seg".into()));
        let (_, mut recovered) = Journal::open(Arc::new(RealDisk), tmp.path(), real(durability)).unwrap();
        assert!(recovered.closed && recovered.last_seq == Seq(last));
        assert_eq!(recovered.entries().map(Result::unwrap).count() as u64, 2 * last + 1);
    }
}
