//! The layout of the engine's state: a stored snapshot of this layout restores into the same state. When this test fails a snapshot
//! of the last version does not restore any more, and records that it stands for may be gone.
//!
//! Who changes what a node stores: raise `engine::snapshot::LAYOUT`, add the way from the last layout to `UPCASTS`, write the new
//! sample (`QCAT_WRITE_SAMPLE=1 cargo nextest run --test snapshot_layout`), and keep the old one.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use qcat_core::engine::Engine;
use qcat_core::engine::snapshot::{LAYOUT, Snapshot, UPCASTS};
use qcat_core::node::{decode_state, encode_state};
use qcat_core::time::Span;
use std::path::{Path, PathBuf};
use world::Setup;

fn path(layout: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/snapshot-layout-{layout}.bin"))
}

fn setup() -> Setup {
    let strategies = [("trend_follower", 0, "BTCUSDT"), ("mean_reverter", 0, "ETHUSDT"), ("churner", 0, "BTCUSDT")];
    Setup { faults: world::bad_day(), seed: 3, ..Setup::new(&strategies) }
}

/// Moments of a life with much under way: orders in flight and unknown, a question to the venue, conditionals, halts.
fn moments() -> Vec<Snapshot> {
    let setup = setup();
    let mut driver = setup.driver();
    let mut moments = vec![driver.engine().snapshot()];
    let mut busiest = (0, None);
    let mut seen = |engine: &Engine| {
        let desk = engine.desk(world::A).unwrap();
        let busy = 10 * desk.unknown_count() + 10 * desk.owed_count() + desk.entries().count();
        if busy > busiest.0 {
            busiest = (busy, Some(engine.snapshot()));
        }
    };
    driver.run(setup.market(Span::from_secs(90)), &mut seen).unwrap();
    moments.extend(busiest.1);
    let now = driver.engine().now();
    let (scope, reason) = (qcat_core::event::Scope::All, qcat_core::event::HaltReason::KillSwitch);
    driver.admit_first(now, qcat_core::event::Input::Halt { scope, reason }).unwrap();
    moments.push(driver.engine().snapshot());
    moments
}

fn restored(snapshot: &Snapshot) -> Snapshot {
    let mut engine = Engine::new(setup().registry);
    engine.restore(snapshot, true).unwrap();
    engine.snapshot()
}

#[test]
fn a_stored_snapshot_of_this_layout_is_restored_into_the_same_state() {
    if std::env::var_os("QCAT_WRITE_SAMPLE").is_some() {
        std::fs::write(path(LAYOUT), encode_state(&moments())).unwrap();
    }
    let stored = std::fs::read(path(LAYOUT)).expect("a sample of each layout is kept");
    let stored: Vec<Snapshot> = decode_state("sample", &stored).unwrap();
    assert_eq!(stored.len(), 3);
    for snapshot in &stored {
        assert_eq!(snapshot.layout(), Some(LAYOUT));
        for (stored, restored) in snapshot.parts.iter().zip(restored(snapshot).parts) {
            // The churner keeps no state: it begins anew.
            if stored.0 != "runner:3" {
                assert!(*stored == restored, "{}: another layout under the same number", stored.0);
            }
        }
    }
}

#[test]
fn what_is_written_now_is_of_the_layout_that_is_stored() {
    let stored: Vec<Snapshot> = decode_state("sample", &std::fs::read(path(LAYOUT)).unwrap()).unwrap();
    for (now, stored) in moments().iter().zip(&stored) {
        let names = |s: &Snapshot| s.parts.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(now), names(stored));
        restored(now);
    }
}

#[test]
fn snapshots_of_earlier_layouts_are_read() {
    for (layout, _) in UPCASTS {
        let stored: Vec<Snapshot> = decode_state("sample", &std::fs::read(path(*layout)).unwrap()).unwrap();
        stored.iter().for_each(|snapshot| drop(restored(snapshot)));
    }
}
