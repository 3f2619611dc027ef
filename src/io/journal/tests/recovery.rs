//! What recovery hands out: snapshots, heads, marks, the watchdog's file; and reading from the middle.

use super::work::*;
use crate::disk::{Disk, SimDisk};
use crate::journal::RecordKind;
use crate::journal::marks::{Hung, write_hung};
use crate::journal::verify::{Tail, verify};
use crate::journal::{
    Durability, Entry, Journal, MarketData, OpenError, Options, Priority, Quarantine, Reader, SnapshotWriteError, State,
};
use crate::wire::arbitrary::Arbitrary;
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};
use qcat_core::event::{Decision, Input, Station};
use qcat_core::id::{AccountIx, AssetIx, Seq, StrategyIx};
use qcat_core::instrument::Definition;
use std::path::Path;
use std::sync::Arc;

fn state(seq: u64, byte: u8) -> State {
    State { seq: Seq(seq), at: at(seq), parts: vec![("desk:0".to_owned(), vec![byte; 100])] }
}

#[test]
fn the_newest_usable_snapshot_is_chosen_and_the_oldest_go() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Group);
    for seq in 1..=4 {
        append(&mut journal, seq).unwrap();
        journal.write_snapshot(state(seq, seq as u8)).unwrap();
    }
    append(&mut journal, 5).unwrap();
    drop(journal);
    let names = |disk: &SimDisk| -> Vec<String> {
        disk.list(dir()).unwrap().into_iter().filter(|name| name.ends_with(".snap")).collect()
    };
    // Two of the newest, and the first one of the segment.
    assert_eq!(names(&disk).len(), 3);
    let (_, mut recovered) = open(&disk, Durability::Group);
    assert_eq!(recovered.snapshot.as_ref().map(|s| s.state.clone()), Some(state(4, 4)));
    let tail: Vec<Entry> = recovered.entries().map(Result::unwrap).collect();
    assert_eq!(tail, [Entry::Snapshot, Entry::Input(input(5, trade(5)))]);

    // The newest one is damaged: the one before takes its place.
    let path = dir().join(names(&disk).last().unwrap());
    let mut bytes = disk.bytes(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.put(&path, bytes);
    let (_, recovered) = open(&disk, Durability::Group);
    assert_eq!(recovered.snapshot.map(|s| s.state), Some(state(3, 3)));
    assert!(recovered.skipped[0].reason.contains("checksum"), "{:?}", recovered.skipped);

    // Another version of the program uses none.
    let other = Options { program: "next".to_owned(), ..options(Durability::Group) };
    let (_, mut recovered) = Journal::open(Arc::new(disk.clone()), dir(), other).unwrap();
    assert!(recovered.snapshot.is_none() && recovered.skipped[1].reason.contains("version test"));
    assert_eq!(recovered.entries().count(), 9, "the whole journal instead");
}

#[test]
fn a_snapshot_is_never_ahead_of_the_journal() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Group);
    append(&mut journal, 1).unwrap();
    let pending = journal.take_snapshot(state(1, 1)).unwrap();
    assert!(matches!(pending.write(), Err(SnapshotWriteError::NotDurable { record: 1, durable: 0 })));
    assert!(matches!(journal.take_snapshot(state(2, 1)), Err(SnapshotWriteError::OutOfStep { .. })));
    let pending = journal.take_snapshot(state(1, 1)).unwrap();
    journal.sync_now().unwrap();
    // Another thread may write it.
    std::thread::spawn(move || pending.write().unwrap()).join().unwrap();
    journal.note_snapshot(1, at(1)).unwrap();
}

#[test]
fn each_segment_tells_what_must_be_known_before_it() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Group);
    let mut head_at = vec![journal.head().clone()];
    for seq in 1..=60 {
        let asset = AssetIx((seq / 10) as u16);
        let made = match seq % 10 {
            0 => Input::Definition(Definition::Asset { asset: AssetIx(asset.0 - 1), name: format!("A{seq}").into() }),
            5 if seq == 25 => Input::Configuration(Box::default()),
            7 if seq == 37 => Input::Start { epoch: 9 },
            _ => trade(seq),
        };
        journal.append_input(&input(seq, made), Priority::Normal).unwrap();
        head_at.push(journal.head().clone());
    }
    journal.close().unwrap();
    assert_eq!(head_at[60].universe.assets().count(), 6);
    for seq in 1..=60 {
        let mut reader = Reader::from_seq(Arc::new(disk.clone()), dir(), Seq(seq)).unwrap();
        assert_eq!(reader.head().unwrap(), &head_at[seq as usize - 1], "before {seq}");
        match reader.next_entry().unwrap() {
            Some(Entry::Input(admitted)) => assert_eq!(admitted.seq, Seq(seq)),
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.count() as u64, 60 - seq + 1);
    }
}

#[test]
fn epochs_rise_even_when_the_clock_does_not() {
    let disk = SimDisk::new(1);
    let mut last = 0;
    for _ in 0..3 {
        let (mut journal, recovered) = open(&disk, Durability::Async);
        assert_eq!(recovered.epoch.unwrap_or(0), last);
        let epoch = journal.begin_epoch(at(0)).unwrap();
        assert!(epoch > last && journal.durable() == journal.appended());
        last = epoch;
    }
}

#[test]
fn quarantine_marks_and_the_watchdogs_file_are_known_before_the_first_record() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Group);
    append(&mut journal, 1).unwrap();
    let first = Quarantine { seq: Seq(1), station: Station::Ledger(AccountIx(0)) };
    journal.quarantine(first.seq, first.station, at(1)).unwrap();
    drop(journal);
    let second = Quarantine { seq: Seq(1), station: Station::Runner(StrategyIx(2)) };
    write_hung(&disk, dir(), second, at(2)).unwrap();
    let (journal, recovered) = open(&disk.reboot(1), Durability::Group);
    assert_eq!((recovered.quarantine, recovered.hung), (vec![first, second], Some(Hung::Station(second))));
    drop(journal);

    // The file stays until what follows from it is durable.
    let (mut journal, recovered) = open(&disk, Durability::Group);
    assert!(recovered.hung.is_some());
    journal.retire_hung().unwrap();
    journal.retire_hung().unwrap();
    drop(journal);
    let (_, recovered) = open(&disk, Durability::Group);
    assert_eq!((recovered.quarantine, recovered.hung), (vec![first, second], None), "taken over once");
    // An input that the journal has lost gives its number to another one, which must not be left out.
    let lost = Quarantine { seq: Seq(9), station: Station::Ledger(AccountIx(0)) };
    write_hung(&disk, dir(), lost, at(3)).unwrap();
    let (_, recovered) = open(&disk, Durability::Group);
    assert_eq!((recovered.quarantine, recovered.hung), (vec![first, second], Some(Hung::Station(lost))));
    disk.put(&dir().join("hung"), vec![1, 2, 3]);
    assert_eq!(open(&disk, Durability::Group).1.hung, Some(Hung::Damaged));
}

#[test]
fn without_market_inputs_recovery_is_whole_and_replay_refused() {
    let disk = SimDisk::new(1);
    let none = Options { market_data: MarketData::None, ..options(Durability::Group) };
    let (mut journal, _) = open(&disk, Durability::Group);
    append(&mut journal, 1).unwrap();
    journal.close().unwrap();
    let (mut journal, recovered) = Journal::open(Arc::new(disk.clone()), dir(), none).unwrap();
    recovered.replayable().unwrap();
    append(&mut journal, 2).unwrap();
    journal.append_decisions(Seq(2), at(2), &[alert("a")], Priority::Normal).unwrap();
    journal.append_input(&input(3, Input::GiveUp(StrategyIx(1))), Priority::Normal).unwrap();
    journal.close().unwrap();
    let (_, mut recovered) = open(&disk, Durability::Group);
    let refused = recovered.replayable().unwrap_err();
    assert!(refused.to_string().contains("market_data: none"), "{refused}");
    let found: Vec<Entry> = recovered.entries().map(Result::unwrap).collect();
    let decided = Entry::Decisions { seq: Seq(2), at: at(2), decisions: vec![alert("a")] };
    assert_eq!(found[2], decided);
    assert!(matches!(&found[3], Entry::Input(admitted) if admitted.seq == Seq(3)));
    assert_eq!(recovered.last_seq, Seq(3));
}

#[test]
fn the_journal_of_another_engine_or_a_newer_program_is_refused() {
    let disk = SimDisk::new(1);
    open(&disk, Durability::Group);
    let other = Options { engine: 7, ..options(Durability::Group) };
    let refused = Journal::open(Arc::new(disk.clone()), dir(), other);
    assert!(matches!(refused, Err(OpenError::Engine { found: 0, expected: 7, .. })));
}

#[test]
fn what_is_written_while_one_reads_is_no_damage() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Each);
    append(&mut journal, 1).unwrap();
    let mut reader = Reader::open(Arc::new(disk.clone()), dir()).unwrap();
    assert!(reader.next_entry().unwrap().is_some());
    // The reader's buffer holds the empty space from before these, and they know each other to be durable.
    (2..=40).for_each(|seq| assert_eq!(append(&mut journal, seq).unwrap().0, seq));
    assert_eq!(reader.count(), 39);
}

#[test]
fn a_follower_reads_on_while_the_journal_is_written() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Group);
    let mut follower = Reader::follow(Arc::new(disk.clone()), dir(), Seq(1)).unwrap();
    let mut found = Vec::new();
    for seq in 1..=50 {
        append(&mut journal, seq).unwrap();
        if seq % 20 == 0 {
            disk.plan(crate::disk::Fault::FailSync(1));
        }
        if seq % 5 == 0 {
            journal.sync_now().unwrap();
        }
        if seq % 3 == 0 {
            follower.refresh(dir()).unwrap();
            while let Some(entry) = follower.next_entry().unwrap() {
                found.push(entry);
            }
        }
    }
    follower.refresh(dir()).unwrap();
    while let Some(entry) = follower.next_entry().unwrap() {
        found.push(entry);
    }
    assert_eq!(found, entries(&disk));
    assert!(Reader::open(Arc::new(SimDisk::new(0)), Path::new("none")).unwrap().next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_over_all_rotations(seed: u64, count in 1u64..60, size in 200u64..4_000) {
        let disk = SimDisk::new(seed);
        let small = Options { segment_size: size, ..options(Durability::Async) };
        let (mut journal, _) = Journal::open(Arc::new(disk.clone()), dir(), small).unwrap();
        let mut arbitrary = Arbitrary::default();
        let mut written = Vec::new();
        for seq in 1..=count {
            let admitted = input(seq, arbitrary.make(seed ^ seq));
            let decisions: Vec<Decision> = arbitrary.make(seed ^ !seq);
            journal.append_input(&admitted, Priority::Normal).unwrap();
            written.push(Entry::Input(admitted));
            journal.append_decisions(Seq(seq), at(seq), &decisions, Priority::Normal).unwrap();
            if !decisions.is_empty() {
                written.push(Entry::Decisions { seq: Seq(seq), at: at(seq), decisions });
            }
        }
        let head = journal.head().clone();
        prop_assert_eq!(&entries(&disk), &written);
        drop(journal);
        let (journal, mut recovered) = open(&disk, Durability::Async);
        prop_assert_eq!(journal.head(), &head);
        let found: Vec<Entry> = recovered.entries().map(Result::unwrap).collect();
        prop_assert_eq!(found, written);
    }
}

#[test]
fn verify_and_tail_tell_what_is_there() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk, Durability::Group);
    for seq in 1..=30 {
        append(&mut journal, seq).unwrap();
    }
    journal.append_decisions(Seq(30), at(30), &[alert("look")], Priority::Normal).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (lines, mut tail) = Tail::open(shared.clone(), dir(), 2).unwrap();
    let parsed: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&parsed[0]["record"], &parsed[0]["kind"]), (&30.into(), &"input".into()));
    assert_eq!(parsed[0]["content"]["Market"]["event"]["Trade"]["id"], 30);
    assert_eq!(parsed[1]["content"][0]["Alert"]["text"], "look");
    assert_eq!(parsed[1]["time"], "2023-11-14T22:13:20.030000000Z");
    assert!(tail.more().unwrap().is_empty());
    let epoch = journal.begin_epoch(at(31)).unwrap();
    assert_eq!(tail.more().unwrap().len(), 1);
    journal.close().unwrap();

    let report = verify(shared, dir()).unwrap();
    assert!(report.is_sound() && report.closed && report.torn.is_none(), "{report}");
    assert_eq!((report.records[&RecordKind::Input], report.records[&RecordKind::Decisions]), (30, 1));
    assert_eq!((report.first, report.last), (Some((Seq(1), at(1))), Some((Seq(30), at(30)))));
    assert_eq!(report.epoch, Some(epoch));
    assert_eq!(report.segments.iter().map(|s| s.records).sum::<u64>(), 33);
    assert!(report.to_string().contains("sound, closed in order"), "{report}");
}
