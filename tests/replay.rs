//! A replay decides as the daemon did, through restarts, reloads and quarantine; and says where another strategy decides otherwise.

#[path = "support/journaled.rs"]
mod journaled;

use journaled::*;
use qcat::replay::{self, ReplayError};
use qcat_core::event::{Decision, Station};
use qcat_core::time::Span;
use qcat_io::disk::{Fault, SimDisk};
use qcat_io::journal::marks::write_hung;
use qcat_io::journal::{Durability, Entry, MarketData, Quarantine};
use std::sync::Arc;

const SECONDS: i64 = 8;

fn replayed(disk: &SimDisk) -> replay::Outcome {
    replay::run(Arc::new(disk.clone()), dir(), registry(), None).expect("replayable")
}

#[test]
fn a_replay_gives_the_same_decisions_and_the_same_state() {
    let disk = SimDisk::new(1);
    let end = live(&disk, Outside::new(5, SECONDS), &Plan::new(Durability::Group), None);
    let engine = end.engine.expect("it lived");
    let outcome = replayed(&disk);
    assert!(outcome.is_same(), "{outcome:?}");
    assert!(outcome.decisions > 50 && outcome.inputs == engine.seq().0, "{outcome:?}");
    assert_eq!((outcome.trail, outcome.state_hash), (end.trail, engine.state_hash()));
    assert_eq!((outcome.starts, outcome.unrecorded, outcome.quarantined), (1, 0, 0));
}

#[test]
fn a_journal_whose_first_segments_were_removed_is_replayed_from_a_snapshot() {
    let plan = Plan { keep: Span::ZERO, ..Plan::new(Durability::Group) };
    let disk = SimDisk::new(1);
    let first = live(&disk, Outside::new(5, 3 * SECONDS), &plan, None);
    assert_eq!(first.died, None);
    let second = live(&disk, first.outside, &plan, None);
    let begins = entries(&disk).first().cloned();
    assert!(!matches!(begins, Some(Entry::Input(input)) if input.seq.0 == 1), "the head must be gone");
    let outcome = replayed(&disk);
    assert!(outcome.is_same() && outcome.after.0 > 0 && outcome.decisions > 20, "{outcome:?}");
    assert_eq!(outcome.state_hash, second.engine.expect("it lived").state_hash());
    let change = |_: &mut qcat_core::config::EngineConfig| Ok(());
    let refused =
        replay::run(Arc::new(disk), dir(), registry(), Some(&change)).expect_err("no configuration to change");
    assert!(matches!(refused, ReplayError::NoBeginning { .. }), "{refused}");
}

#[test]
fn another_strategy_is_told_by_its_first_decision() {
    let disk = SimDisk::new(1);
    live(&disk, Outside::new(5, SECONDS), &Plan::new(Durability::Group), None);
    let change = |config: &mut qcat_core::config::EngineConfig| {
        config.strategies[0].kind = "large".into();
        Ok(())
    };
    let outcome = replay::run(Arc::new(disk), dir(), registry(), Some(&change)).expect("replayable");
    let difference = outcome.difference.expect("a larger size");
    let sizes = [difference.first, difference.second].map(|side| match side {
        Some((seq, Decision::Command(command))) => (seq, format!("{:?}", command.kind).contains("Quantity(20)")),
        other => panic!("{other:?}"),
    });
    assert_eq!((sizes[0].1, sizes[1].1), (false, true));
    assert_eq!(sizes[0].0, sizes[1].0, "at the same input");
}

#[test]
fn a_restart_after_a_reload_goes_on_with_the_reloaded_strategy() {
    // With and without a snapshot that holds the new configuration.
    for snapshots in [true, false] {
        let reload = Some((40, config("large")));
        let plan = Plan { reload, snapshots, ..Plan::new(Durability::Async) };
        for call in [300, 330, 360] {
            let disk = SimDisk::new(1);
            disk.plan(Fault::CrashAt(call));
            let first = live(&disk, Outside::new(5, 2 * SECONDS), &plan, None);
            assert!(first.died.is_some() && first.outside.had > 40, "{} events", first.outside.had);
            let before = first.outside.watched.sent.len();
            let survivor = disk.after_kill();
            let second = live(&survivor, first.outside, &plan, None);
            assert_eq!(second.died, None);
            let sent = &second.outside.watched.sent[before..];
            let large = sent.iter().filter(|c| format!("{:?}", c.kind).contains("quantity: Quantity(20)")).count();
            let small = sent.iter().filter(|c| format!("{:?}", c.kind).contains("quantity: Quantity(10)")).count();
            assert!(large > 4 && small == 0, "{large} large and {small} small orders after the restart");
            let outcome = replayed(&survivor);
            assert!(outcome.is_same() && outcome.starts == 2, "{outcome:?}");
            assert_eq!(outcome.state_hash, second.engine.expect("it lived").state_hash());
        }
    }
}

#[test]
fn an_input_that_a_strategy_hung_on_is_not_stepped_again() {
    let plan = Plan::new(Durability::Async);
    let disk = SimDisk::new(1);
    disk.plan(Fault::CrashAt(260));
    let first = live(&disk, Outside::new(5, SECONDS), &plan, None);
    let survivor = disk.after_kill();
    let last = entries(&survivor).into_iter().rev().find_map(|e| if let Entry::Input(i) = e { Some(i) } else { None });
    let last = last.expect("inputs");
    let mark = Quarantine { station: Station::Runner(STRATEGY), seq: last.seq };
    write_hung(&survivor, dir(), mark, last.at).expect("written");
    let second = live(&survivor, first.outside, &plan, None);
    assert_eq!(second.died, None);
    let outcome = replayed(&survivor);
    assert!(outcome.is_same(), "{outcome:?}");
    assert_eq!((outcome.starts, outcome.quarantined), (2, 1));
    assert_eq!(outcome.state_hash, second.engine.expect("it lived").state_hash());
}

#[test]
fn a_journal_without_market_data_or_without_anything_is_refused() {
    let disk = SimDisk::new(1);
    let plan = Plan { market_data: MarketData::None, ..Plan::new(Durability::Async) };
    live(&disk, Outside::new(5, 2), &plan, None);
    let refused = replay::run(Arc::new(disk), dir(), registry(), None);
    assert!(matches!(refused, Err(ReplayError::NotReplayable(_))), "{refused:?}");
    let refused = replay::run(Arc::new(SimDisk::new(1)), dir(), registry(), None);
    assert!(matches!(refused, Err(ReplayError::Empty(_))), "{refused:?}");
}
