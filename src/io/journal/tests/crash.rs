//! A crash at every call of a run: what was reported durable is there, what is there was appended, and work goes on.

use super::work::*;
use crate::disk::{Fault, SimDisk};
use crate::journal::{Durability, Entry, Journal};

const STEPS: usize = 40;

/// Opens and works until the end or the crash.
fn life(disk: &SimDisk, seed: u64, durability: Durability) -> Log {
    let mut log = Log::default();
    let Ok((mut journal, _)) = try_open(disk, durability) else { return log };
    let done = run(&mut journal, &mut Dice(seed), &mut log, STEPS);
    if done.is_ok() && journal.close().is_ok() {
        log.entries.push(Entry::Close);
        log.durable = log.entries.len() as u64;
    }
    log
}

/// After a crash: opens, compares with the log, goes on, and reads everything back.
fn check(disk: &SimDisk, log: &Log, durability: Durability, what: &str) {
    let (mut journal, mut recovered) = try_open(disk, durability).unwrap_or_else(|e| panic!("{what}: {e}"));
    let found = entries(disk);
    assert!(found.len() as u64 >= log.durable, "{what}: {} of {} durable records", found.len(), log.durable);
    // One record more than the log knows can be on disk: the call that crashed may have written it.
    let known = log.entries.len().min(found.len());
    assert!(found.len() <= log.entries.len() + 1, "{what}: {} of {}", found.len(), log.entries.len());
    assert_eq!(found[..known], log.entries[..known], "{what}");
    assert_eq!(recovered.last_record, found.len() as u64, "{what}");
    let skip = recovered.snapshot.as_ref().map_or(0, |s| s.record as usize);
    if let Some(written) = log.snapshot {
        assert!(recovered.snapshot.as_ref().is_some_and(|s| s.state.seq >= written), "{what}: snapshot {written:?}");
    }
    let tail: Vec<Entry> = recovered.entries().map(|e| e.expect("whole")).collect();
    assert_eq!(tail, found[skip..], "{what}: after the snapshot");
    let marks = found.iter().filter(|e| matches!(e, Entry::Quarantine(mark) if recovered.quarantine.contains(mark)));
    assert_eq!(marks.count(), found.iter().filter(|e| matches!(e, Entry::Quarantine(_))).count(), "{what}");

    let epoch = journal.begin_epoch(at(0)).expect("an epoch");
    assert!(log.epochs.iter().all(|used| *used < epoch), "{what}: epoch {epoch} again");
    let mut more = Log { entries: found, ..Log::default() };
    more.entries.push(Entry::Epoch(epoch));
    run(&mut journal, &mut Dice(99), &mut more, 15).unwrap_or_else(|e| panic!("{what}: {e}"));
    journal.close().expect("closed");
    more.entries.push(Entry::Close);
    assert_eq!(entries(disk), more.entries, "{what}: going on");
}

fn crash_everywhere(seed: u64, durability: Durability) {
    let whole = SimDisk::new(seed);
    let log = life(&whole, seed, durability);
    assert_eq!(log.entries.last(), Some(&Entry::Close));
    assert!(segments(&whole).len() > 3, "the run must rotate");
    check(&whole, &log, durability, "no crash");
    for call in 1..=calls(seed, durability) {
        let disk = SimDisk::new(seed);
        disk.plan(Fault::CrashAt(call));
        let log = life(&disk, seed, durability);
        assert!(disk.crashed());
        for power in [true, false] {
            let survivor = if power { disk.reboot(seed ^ call) } else { disk.after_kill() };
            let what = format!("{durability:?}, seed {seed}, crash at call {call}, loss of power {power}");
            check(&survivor, &log, durability, &what);
            if !power {
                // A killed process loses nothing that was admitted.
                assert!(entries(&survivor).len() >= log.entries.len(), "{what}");
            }
        }
    }
}

fn calls(seed: u64, durability: Durability) -> u64 {
    let disk = SimDisk::new(seed);
    life(&disk, seed, durability);
    disk.calls()
}

#[test]
fn a_crash_at_any_call_loses_nothing_durable_under_group() {
    (1..=4).for_each(|seed| crash_everywhere(seed, Durability::Group));
}

#[test]
fn a_crash_at_any_call_loses_nothing_durable_under_async() {
    (5..=6).for_each(|seed| crash_everywhere(seed, Durability::Async));
}

#[test]
fn a_crash_at_any_call_loses_nothing_durable_under_each() {
    (7..=8).for_each(|seed| crash_everywhere(seed, Durability::Each));
}

#[test]
fn a_crash_during_recovery_from_a_crash_loses_nothing_either() {
    for seed in 10..14 {
        let first = SimDisk::new(seed);
        first.plan(Fault::CrashAt(calls(seed, Durability::Group) * 2 / 3));
        let log = life(&first, seed, Durability::Group);
        let survivor = first.reboot(seed);
        let opening = {
            let probe = survivor.after_kill();
            drop(try_open(&probe, Durability::Group));
            probe.calls()
        };
        for call in 1..=opening {
            let disk = first.reboot(seed);
            disk.plan(Fault::CrashAt(call));
            drop(try_open(&disk, Durability::Group));
            let what = format!("seed {seed}, crash at call {call} of the recovery");
            check(&disk.reboot(call), &log, Durability::Group, &what);
        }
    }
}

#[test]
fn failed_syncs_and_writes_lose_nothing_durable_even_with_a_crash_after_them() {
    for seed in 20..60 {
        let disk = SimDisk::new(seed);
        let mut log = Log::default();
        let mut dice = Dice(seed);
        let (mut journal, _): (Journal, _) = open(&disk, Durability::Group);
        for round in 0..4 {
            let fault = if round % 2 == 0 { Fault::FailSync(1 + seed % 3) } else { Fault::FailWrite(1 + seed % 5) };
            disk.plan(fault);
            // A step may fail when its snapshot cannot be written; the journal itself must go on.
            for _ in 0..12 {
                let _ = step(&mut journal, &mut dice, &mut log);
            }
            let appended = journal.appended().0;
            assert_eq!(appended, log.entries.len() as u64, "seed {seed}, round {round}");
        }
        disk.heal();
        drop(journal);
        for survivor in [disk.after_kill(), disk.reboot(seed)] {
            check(&survivor, &log, Durability::Group, &format!("seed {seed}"));
        }
    }
}
