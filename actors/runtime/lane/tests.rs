#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::testkit::*;
use qcat_core::command::CommandKind;
use qcat_core::engine::Observer;
use qcat_core::event::{Event, HaltReason, OperatorCommand, PauseReason, RunnerState, Scope, Station, StopReason};
use qcat_core::id::StrategyIx;
use qcat_io::disk::Fault as DiskFault;
use qcat_io::journal::{Durability, Entry, Reader};
use std::sync::atomic::{AtomicBool, Ordering};

fn entries(world: &World) -> Vec<Entry> {
    let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
    Reader::open(disk, &world.lane.0.options.dir).unwrap().map(Result::unwrap).collect()
}

fn inputs(world: &World) -> Vec<Input> {
    let input = |entry| if let Entry::Input(admitted) = entry { Some(admitted.input) } else { None };
    entries(world).into_iter().filter_map(input).collect()
}

/// The state of the nodes that a fold restores whole; strategies start fresh.
fn decided(parts: Vec<(String, u64)>) -> Vec<(String, u64)> {
    parts.into_iter().filter(|(name, _)| !name.starts_with("runner")).collect()
}

/// Panics at a station when told to, once.
struct Saboteur {
    station: Station,
    armed: Arc<AtomicBool>,
}

impl Observer for Saboteur {
    fn before_step(&mut self, station: Station, _seq: Seq, _event: &Event) {
        if station == self.station && self.armed.swap(false, Ordering::AcqRel) {
            panic!("sabotage");
        }
    }
}

fn saboteur(station: Station) -> (Arc<AtomicBool>, Option<Box<dyn Observer>>) {
    let armed = Arc::new(AtomicBool::new(false));
    (armed.clone(), Some(Box::new(Saboteur { station, armed })))
}

#[test]
fn nothing_leaves_before_the_journal_is_durable() {
    let world = World::running(&["steady"], Durability::Group, None);
    let before = world.wire.sent.borrow().len();
    for _ in 0..2 {
        world.quote();
        world.lane.turn();
    }
    assert!(world.lane.held(ACCOUNT) > 0);
    assert_eq!(world.wire.sent.borrow().len(), before);
    assert!(world.lane.view().durable_seq < world.lane.view().seq);
    world.lane.sync().unwrap();
    assert!(world.wire.sent.borrow().len() > before);
    assert_eq!(world.lane.held(ACCOUNT), 0);
}

#[test]
fn what_waited_too_long_for_the_journal_does_not_leave_at_an_old_price() {
    let world = World::running(&["steady"], Durability::Group, None);
    let held = |risky: bool| world.lane.0.core.borrow().held.iter().any(|held| held.command.kind.adds_risk() == risky);
    let bound = world.lane.read(|engine| engine.config().timing.order_timeout);
    for (risky, late, leaves) in [(true, 1, false), (false, 1, true), (true, 0, true)] {
        for _ in 0..4 {
            if !held(risky) {
                world.settle();
                world.quote();
                world.lane.turn();
            }
        }
        assert!(held(risky));
        let (sent, not_sent) = (world.wire.sent.borrow().len(), world.lane.view().not_sent);
        world.clock.advance(Span::from_nanos(bound.nanos() + late));
        world.lane.sync().unwrap();
        assert_eq!(world.wire.sent.borrow().len() > sent, leaves, "risky {risky}, {late} ns late");
        assert_eq!(world.lane.view().not_sent > not_sent, !leaves);
        assert!(!held(risky));
    }
}

#[test]
fn with_async_commands_leave_at_once() {
    let world = World::running(&["steady"], Durability::Async, None);
    let before = world.wire.sent.borrow().len();
    world.quote();
    world.lane.turn();
    world.quote();
    world.lane.turn();
    assert!(world.wire.sent.borrow().len() > before);
}

#[test]
fn the_latch_overtakes_what_waits_and_stops_what_was_already_decided() {
    let world = World::running(&["steady"], Durability::Group, None);
    let risky = || world.lane.0.core.borrow().held.iter().any(|held| held.command.kind.adds_risk());
    // Decided, journaled, not durable yet.
    for _ in 0..4 {
        if !risky() {
            world.settle();
            world.quote();
            world.lane.turn();
        }
    }
    assert!(risky());
    let places = world.wire.places();
    for _ in 0..5 {
        world.quote();
    }
    let waiting = inputs(&world).len();
    world.lane.latch().set(HaltReason::KillSwitch);
    world.settle();
    assert_eq!(inputs(&world)[waiting], Input::Halt { scope: Scope::All, reason: HaltReason::KillSwitch });
    assert_eq!(world.wire.places(), places);
    assert!(world.lane.view().not_sent > 0);
    assert_eq!(world.runner(1), RunnerState::Paused(PauseReason::Halt(HaltReason::KillSwitch)));
    // Cleared and resumed it trades again; set again it is admitted again.
    world.lane.latch().clear();
    world.lane.offer(Input::Command(OperatorCommand::Resume(Scope::All)));
    world.settle();
    (0..4).for_each(|_| (world.quote(), world.settle()).1);
    assert!(world.wire.places() > places);
    world.lane.latch().set(HaltReason::ControlLost);
    world.settle();
    let halts = inputs(&world).into_iter().filter(|i| matches!(i, Input::Halt { .. })).count();
    assert_eq!(halts, 2);
}

#[test]
fn what_waits_conflates_before_it_is_admitted() {
    let world = World::running(&["steady"], Durability::Async, None);
    let before = inputs(&world).len();
    (0..50).for_each(|_| world.quote());
    world.settle();
    let quotes = inputs(&world)[before..].iter().filter(|i| matches!(i, Input::Market(_))).count();
    assert_eq!(quotes, 1);
    assert_eq!(world.lane.view().conflated, 49);
}

#[test]
fn a_ledger_panic_is_rebuilt_by_fold_and_not_trusted_until_reconciled() {
    let (armed, observer) = saboteur(Station::Ledger(ACCOUNT));
    let world = World::running(&["steady"], Durability::Group, observer);
    (0..6).for_each(|_| (world.quote(), world.settle()).1);
    armed.store(true, Ordering::Release);
    world.mark();
    world.lane.turn();
    assert_eq!(world.lane.state(), LaneState::Broken);
    let heard = world.ear.heard.borrow().clone();
    let [LaneEvent::Faulted(fault)] = heard.as_slice() else { panic!("{heard:?}") };
    assert_eq!(fault.station, Station::Ledger(ACCOUNT));
    // Broken it only queues.
    let seq = world.lane.view().seq;
    world.quote();
    world.settle_broken();
    assert_eq!((world.lane.view().seq, world.lane.view().queued), (seq, 1));
    world.wire.cut.set(true);
    world.lane.rebuild(fault.station).unwrap();
    assert_eq!(world.lane.state(), LaneState::Running);
    world.lane.turn();
    assert!(!world.lane.read(|e| e.gate(ACCOUNT).unwrap().is_trusted()));
    assert_eq!(world.runner(1), RunnerState::Paused(PauseReason::Untrusted));
    // It did not panic again in the fold, so nothing is left out.
    assert!(!entries(&world).iter().any(|entry| matches!(entry, Entry::Quarantine(_))));
    // The venue answers again: reconciled, and it goes on.
    world.wire.cut.set(false);
    world.pass(Span::from_secs(40));
    assert!(world.lane.read(|e| e.gate(ACCOUNT).unwrap().is_trusted()));
    let places = world.wire.places();
    (0..6).for_each(|_| (world.quote(), world.settle()).1);
    assert!(world.wire.places() > places);
    // And the next start recovers to the same state.
    world.settle();
    let hashes = world.lane.read(|e| e.part_hashes());
    let recovered = recover(&world.disk.after_kill(), &world.clock, options(Durability::Group));
    assert_eq!(decided(recovered.engine().part_hashes()), decided(hashes));
}

#[test]
fn a_strategy_that_gives_up_does_not_disturb_the_other() {
    let world = World::running(&["flaky", "steady"], Durability::Async, None);
    let faults = || {
        let heard = world.ear.heard.borrow();
        heard
            .iter()
            .filter(|e| matches!(e, LaneEvent::Faulted(f) if f.station == Station::Runner(StrategyIx(1))))
            .count()
    };
    for round in 1..=3 {
        while faults() < round {
            world.quote();
            world.settle();
        }
        assert_eq!((world.runner(1), world.lane.state()), (RunnerState::Faulted, LaneState::Running));
        world.lane.offer(Input::Rebuild(Station::Runner(StrategyIx(1))));
        world.settle();
    }
    world.lane.offer(Input::GiveUp(StrategyIx(1)));
    world.settle();
    assert_eq!(world.runner(1), RunnerState::Stopped(StopReason::Faults));
    let of = |strategy| {
        let sent = world.wire.sent.borrow();
        sent.iter().filter(|c| matches!(&c.kind, CommandKind::Place(o) if o.intent.id.strategy == strategy)).count()
    };
    let (flaky, steady) = (of(StrategyIx(1)), of(StrategyIx(2)));
    (0..10).for_each(|_| (world.quote(), world.settle()).1);
    assert_eq!(of(StrategyIx(1)), flaky);
    assert!(of(StrategyIx(2)) > steady);
}

#[test]
fn a_full_disk_lets_only_lower_risk_through_and_everything_again_when_there_is_room() {
    let world = World::running(&["steady"], Durability::Async, None);
    let places = world.wire.places();
    world.disk.plan(DiskFault::Capacity(0));
    for _ in 0..40_000 {
        world.quote();
        world.mark();
        world.settle();
        if world.lane.view().disk_full {
            break;
        }
    }
    assert!(world.lane.view().disk_full);
    let at_full = world.wire.places();
    assert!(at_full > places);
    (0..20).for_each(|_| (world.quote(), world.settle()).1);
    assert_eq!(world.wire.places(), at_full);
    assert_eq!(world.lane.state(), LaneState::Running);
    assert_eq!(world.runner(1), RunnerState::Paused(PauseReason::Halt(HaltReason::ControlLost)));
    let open = world.lane.read(|e| e.desk(ACCOUNT).unwrap().entries().filter(|o| !o.protective).count());
    assert_eq!(open, 0, "entries are cancelled");
    world.disk.heal();
    world.quote();
    world.settle();
    assert!(!world.lane.view().disk_full);
    assert_eq!(*world.ear.resyncs.borrow(), [SYMBOL]);
    assert_eq!(world.ear.heard.borrow().last(), Some(&LaneEvent::DiskFree));
}

#[test]
fn every_start_has_a_larger_epoch_and_recovers_what_was_decided() {
    let world = World::running(&["steady"], Durability::Group, None);
    (0..30).for_each(|_| (world.quote(), world.settle()).1);
    let (epoch, seq) = world.lane.read(|e| (e.epoch(), e.seq()));
    let hashes = world.lane.read(|e| e.part_hashes());
    let disk = world.disk.after_kill();
    let recovered = recover(&disk, &world.clock, options(Durability::Group));
    assert_eq!(recovered.engine().seq(), seq);
    assert_eq!(decided(recovered.engine().part_hashes()), decided(hashes));
    let (lane, report) = recovered.begin(universe().definitions(), config(&["steady"]), None).unwrap();
    assert!(lane.read(|e| e.epoch()) > epoch);
    assert_eq!((report.last_seq, report.closed), (seq, false));
    // Nothing changed, so only the start was admitted.
    assert_eq!(lane.view().seq, seq.0 + 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_snapshot_is_written_beside_the_lane_and_recovery_begins_with_it() {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let world = World::running(&["steady"], Durability::Group, None);
            world.pass(Span::from_secs(61));
            world.settle();
            for _ in 0..1000 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                world.lane.turn();
                if world.lane.0.core.borrow().base.is_some() {
                    break;
                }
            }
            let base = world.lane.0.core.borrow().base.clone().unwrap();
            (0..10).for_each(|_| (world.quote(), world.settle()).1);
            let hashes = world.lane.read(|e| e.part_hashes());
            let recovered = recover(&world.disk.after_kill(), &world.clock, options(Durability::Group));
            assert_eq!(recovered.report().snapshot, Some(base.seq));
            assert!(recovered.report().folded > 0);
            assert_eq!(decided(recovered.engine().part_hashes()), decided(hashes));
            // The end writes another one, so that nothing is left to fold.
            world.lane.finish().unwrap();
            world.lane.close().unwrap();
            let recovered = recover(&world.disk.after_kill(), &world.clock, options(Durability::Group));
            assert_eq!((recovered.report().folded, recovered.report().closed), (0, true));
        })
        .await;
}

/// Stores a snapshot behind the last record, as a program with another idea of the state would.
fn store(disk: &qcat_io::disk::SimDisk, state: impl FnOnce(&Engine) -> Snapshot) {
    let clock = Arc::new(qcat_io::clock::SimClock::new(START));
    let state = state(recover(disk, &clock, options(Durability::Group)).engine());
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = options(Durability::Group);
    let (mut journal, _) = Journal::open(disk, &options.dir, options.journal.clone()).unwrap();
    journal.write_snapshot(state).unwrap();
    journal.close().unwrap();
}

#[test]
fn a_snapshot_that_does_not_restore_gives_way_to_an_older_one_and_to_the_whole_journal() {
    let world = World::running(&["steady"], Durability::Group, None);
    (0..10).for_each(|_| (world.quote(), world.settle()).1);
    world.lane.finish().unwrap();
    let good = world.lane.0.core.borrow().base.as_ref().unwrap().seq;
    (0..10).for_each(|_| (world.quote(), world.settle()).1);
    let hashes = decided(world.lane.read(|e| e.part_hashes()));
    world.lane.close().unwrap();
    let disk = world.disk.after_kill();
    // One whose parts do not decode, one whose parts are of two moments, one of a layout that nobody knows.
    let mut bad: [fn(&mut Snapshot); 3] = [
        |s| s.parts.iter_mut().filter(|(name, _)| name == "desk:0").for_each(|(_, bytes)| bytes.truncate(3)),
        |s| s.parts.iter_mut().filter(|(name, _)| name == "markets").for_each(|(_, bytes)| bytes.clear()),
        |s| s.parts[0].1 = 77u32.to_le_bytes().to_vec(),
    ];
    for (count, spoil) in (1..).zip(&mut bad) {
        store(&disk, |engine| {
            let mut snapshot = engine.snapshot();
            spoil(&mut snapshot);
            snapshot
        });
        let recovered = recover(&disk, &world.clock, options(Durability::Group));
        let report = recovered.report();
        assert_eq!((report.snapshot, report.skipped.len()), (Some(good), count), "{:?}", report.skipped);
        assert_eq!(decided(recovered.engine().part_hashes()), hashes);
    }
    // The oldest of them, which its segment keeps, is the good one.
    let dir = options(Durability::Group).dir;
    let names = disk.list(&dir).unwrap();
    disk.remove(&dir.join(names.iter().find(|name| name.ends_with(".snap")).unwrap())).unwrap();
    let recovered = recover(&disk, &world.clock, options(Durability::Group));
    assert_eq!((recovered.report().snapshot, recovered.report().skipped.len()), (None, 3));
    assert_eq!(decided(recovered.engine().part_hashes()), hashes);
}

#[test]
fn without_a_snapshot_and_without_the_first_records_the_start_is_refused() {
    let mut options = options(Durability::Group);
    options.journal.segment_size = 1 << 14;
    let (disk, clock) = (qcat_io::disk::SimDisk::new(1), Arc::new(qcat_io::clock::SimClock::new(START)));
    let world = World::on(disk, clock, &["steady"], options.clone(), None);
    world.connect();
    (0..200).for_each(|_| (world.quote(), world.settle()).1);
    world.lane.finish().unwrap();
    world.lane.close().unwrap();
    let disk = world.disk.after_kill();
    let names = disk.list(&options.dir).unwrap();
    let first = names.iter().filter(|name| name.starts_with("journal-")).min().unwrap();
    disk.remove(&options.dir.join(first)).unwrap();
    recover(&disk, &world.clock, options.clone());
    for name in names.iter().filter(|name| name.ends_with(".snap")) {
        let path = options.dir.join(name);
        let mut bytes = disk.bytes(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        disk.put(&path, bytes);
    }
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let opened = Lane::open(options, registry(), disk, world.clock.clone(), HaltLatch::new());
    let Err(refused) = opened else { panic!("it started") };
    assert!(matches!(refused, LaneError::NoBeginning(_)), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("checksum") && text.contains("restore the directory from a backup"), "{text}");
}

#[test]
fn a_slow_strategy_is_told_so() {
    let mut options = options(Durability::Async);
    options.step_budget = Span::from_nanos(-1);
    let (disk, clock) = (qcat_io::disk::SimDisk::new(1), Arc::new(qcat_io::clock::SimClock::new(START)));
    let world = World::on(disk, clock, &["steady"], options, None);
    world.lane.offer(Input::Stream(StreamState::UserUp(ACCOUNT)));
    world.lane.turn();
    assert!(inputs(&world).iter().any(|i| matches!(i, Input::SlowStep { strategy: StrategyIx(1), .. })));
}
