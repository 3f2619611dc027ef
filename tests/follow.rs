//! Whoever follows the journal from any step on, through crashes and restarts, from snapshots, learns what a fold of all of it tells.

#[path = "support/journaled.rs"]
mod journaled;

use journaled::*;
use qcat_core::engine::Engine;
use qcat_core::engine::facts::{Cause, Facts};
use qcat_core::engine::fold::Record;
use qcat_core::id::Seq;
use qcat_core::time::Span;
use qcat_io::disk::{Fault, SimDisk};
use qcat_io::journal::{Durability, FollowError, Follower, Priority, Reader};
use std::sync::Arc;

/// What all records tell, one step after the other.
fn whole(disk: &SimDisk) -> Vec<Facts> {
    let records: Vec<Record> = entries(disk).into_iter().filter_map(|entry| entry.record()).collect();
    let (mut engine, mut told, mut cause) = (Engine::new(registry()), Vec::new(), None);
    for (at, record) in records.iter().enumerate() {
        let decisions = match record {
            Record::Input(admitted) => {
                cause = Cause::of(&admitted.input);
                Vec::new()
            }
            Record::Decisions(_, _, decisions) => decisions.clone(),
        };
        engine.fold(record.clone(), &[], false).expect("it folds");
        if !matches!(records.get(at + 1), Some(Record::Decisions(..))) {
            told.extend(Facts::of(&engine, cause.take(), engine.happened(), &decisions, true));
        }
    }
    told
}

fn follower(disk: &SimDisk, after: u64) -> Result<Follower, FollowError> {
    Follower::open(Arc::new(disk.clone()), dir(), 0, &registry(), Seq(after))
}

fn rest(follower: &mut Follower, durable: u64) -> Vec<Facts> {
    std::iter::from_fn(|| follower.next(Seq(durable)).expect("it is whole")).collect()
}

/// A life that the disk ends, and one after it.
fn two_lives(plan: &Plan) -> SimDisk {
    let disk = SimDisk::new(7);
    disk.plan(Fault::CrashAt(900));
    let first = live(&disk, Outside::new(3, 20), plan, None);
    assert!(first.died.is_some());
    let disk = disk.reboot(1);
    assert_eq!(live(&disk, first.outside, plan, None).died, None);
    disk
}

#[test]
fn following_from_any_step_tells_what_the_fold_of_everything_tells() {
    let disk = two_lives(&Plan::new(Durability::Group));
    let all = whole(&disk);
    assert!(all.len() > 100 && all.iter().map(|facts| facts.fills.len()).sum::<usize>() > 15);
    let last = all.last().expect("facts").seq.0;
    for after in (0..=last).step_by(97).chain([last - 1, last]) {
        let told = rest(&mut follower(&disk, after).expect("it is there"), u64::MAX);
        let expected: Vec<Facts> = all.iter().filter(|facts| facts.seq.0 > after).cloned().collect();
        assert!(told == expected, "after {after}: {} facts instead of {}", told.len(), expected.len());
    }
}

#[test]
fn nothing_is_told_before_it_is_durable_nor_before_its_decisions() {
    let whole_disk = two_lives(&Plan::new(Durability::Group));
    let all = whole(&whole_disk);
    // A second journal that grows record by record, under the eyes of its follower.
    let disk = SimDisk::new(2);
    let options = qcat_io::journal::Options {
        sync_by: qcat_io::journal::SyncBy::Caller,
        segment_size: 24 << 10,
        emergency_size: 4 << 10,
        ..qcat_io::journal::Options::default()
    };
    let (mut journal, _) = qcat_io::journal::Journal::open(Arc::new(disk.clone()), dir(), options).expect("it opens");
    let mut follower = follower(&disk, 0).expect("an empty journal");
    let (mut told, mut since_sync) = (Vec::new(), 0);
    for record in entries(&whole_disk).into_iter().filter_map(|entry| entry.record()) {
        match &record {
            Record::Input(admitted) => journal.append_input(admitted, Priority::Emergency).map(drop),
            Record::Decisions(seq, at, decisions) => {
                journal.append_decisions(*seq, *at, decisions, Priority::Emergency).map(drop)
            }
        }
        .expect("room");
        since_sync += 1;
        if since_sync % 5 == 0 {
            journal.sync_now().expect("it syncs");
        }
        let durable = journal.durable_seq();
        while let Some(facts) = follower.next(durable).expect("it is whole") {
            assert!(facts.seq <= durable);
            told.push(facts);
        }
    }
    let last = journal.last_seq();
    journal.append_decisions(last, all.last().expect("facts").at, &[], Priority::Emergency).ok();
    journal.sync_now().expect("it syncs");
    told.extend(rest(&mut follower, journal.durable_seq().0));
    assert!(told == all, "{} of {}", told.len(), all.len());
}

#[test]
fn a_beginning_that_is_gone_is_named_with_where_it_goes_on() {
    let disk = two_lives(&Plan { keep: Span::from_secs(1), ..Plan::new(Durability::Group) });
    let mut reader = Reader::open(Arc::new(disk.clone()), dir()).expect("readable");
    assert!(reader.next_raw().expect("whole").expect("a record").header.number > 1, "nothing was retired");
    let Err(FollowError::Gone { after, from: Some(from) }) = follower(&disk, 0) else { panic!("it is not gone") };
    assert_eq!(after, Seq(0));
    let told = rest(&mut follower(&disk, from.0).expect("from there"), u64::MAX);
    assert!(told.first().is_some_and(|facts| facts.seq > from) && told.len() > 50);
}
