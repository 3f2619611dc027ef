//! Recovery in the driver, without a disk: what is folded equals what was lived, and a crash at any moment ends in agreement with
//! the venue: no client order id used twice, no fill lost or booked twice.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use proptest::prelude::*;
use qcat_core::engine::Engine;
use qcat_core::engine::driver::Driver;
use qcat_core::engine::fold::Record;
use qcat_core::event::{AlertCode, Decision};
use qcat_core::time::{Span, Ts};
use qcat_core::venue::FaultConfig;
use std::collections::BTreeSet;
use world::{Cut, Mortal, Setup};

const BTC: &str = "BTCUSDT";

fn setup(seed: u64) -> Setup {
    Setup {
        seed,
        faults: world::bad_day(),
        ..Setup::new(&[("churner", 0, BTC), ("trend_follower", 0, BTC), ("mean_reverter", 0, BTC)])
    }
}

/// Records up to and including an input, with its decisions if they were recorded.
fn records_until(log: &[Record], seq: u64) -> &[Record] {
    let end = log.iter().position(|record| match record {
        Record::Input(admitted) => admitted.seq.0 > seq,
        Record::Decisions(of, _) => of.0 > seq,
    });
    &log[..end.unwrap_or(log.len())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_at_any_moment_ends_in_agreement(
        seed in 0u64..10_000,
        cuts in prop::collection::vec((prop_oneof![(1u64..400).prop_map(Ok), (0i64..8_000).prop_map(Err)], any::<bool>(), any::<bool>()), 1..3),
    ) {
        crash(seed, &cuts);
    }
}

/// What survives of the log: all up to the death; of the input at which a command was not sent, its decisions or not.
fn survivors(driver: &Driver<Mortal>, before: usize, recorded: bool, time: Option<Ts>) -> Vec<Record> {
    let log = driver.log();
    let end = match (driver.venue().dead, time) {
        (_, Some(time)) => log.iter().position(|r| matches!(r, Record::Input(a) if a.at >= time)).unwrap_or(log.len()),
        (Some((_, id)), None) => {
            let here = |r: &Record| matches!(r, Record::Decisions(_, ds) if ds.iter().any(|d| matches!(d, Decision::Command(c) if c.id == id)));
            let at = before + log[before..].iter().position(here).unwrap();
            let Record::Decisions(_, ds) = &log[at] else { unreachable!() };
            let first = ds.iter().find_map(|d| if let Decision::Command(c) = d { Some(c.id) } else { None });
            // What was sent was recorded before.
            if recorded || first != Some(id) { at + 1 } else { at }
        }
        (None, None) => log.len(),
    };
    log[..end].to_vec()
}

type Moment = (Result<u64, i64>, bool, bool);

fn crash(seed: u64, cuts: &[Moment]) {
    let setup = setup(seed);
    let mut driver = setup.driver();
    let mut placed_before = 0;
    let mut market = setup.market(Span::from_secs(30)).into_iter();
    for (moment, recorded, snapshot) in cuts {
        let now = driver.engine().now();
        let before = driver.log().len();
        let time = moment.err().map(|ms| now.plus(Span::from_millis(ms)));
        driver.venue_mut().cut = match *moment {
            Ok(n) => Cut::Command(n + placed_before),
            Err(_) => Cut::Time(time.unwrap()),
        };
        let mut kept = None;
        while let Some(event) = market.next() {
            let at = event.exchange_time;
            driver
                .run([event], &mut |engine| {
                    if engine.seq().0.is_multiple_of(701) {
                        kept = Some(engine.snapshot());
                    }
                })
                .unwrap();
            if driver.venue().dead.is_some() || time.is_some_and(|time| at >= time) {
                break;
            }
        }
        let log = survivors(&driver, before, *recorded, time);
        let last = log.iter().rev().find_map(|r| if let Record::Input(a) = r { Some(a.seq) } else { None }).unwrap();
        let engine = match kept.filter(|kept| *snapshot && kept.seq <= last) {
            Some(kept) => {
                let mut engine = Engine::new(setup.registry.clone());
                engine.restore(&kept, *recorded).unwrap();
                let done = records_until(&log, kept.seq.0).len();
                log[done..].iter().for_each(|record| engine.fold(record.clone(), &[], false).unwrap());
                engine
            }
            None => Engine::folded(&setup.registry, &log, &[]).unwrap(),
        };
        driver.venue_mut().revive();
        placed_before = driver.venue().received();
        let at = driver.engine().now().plus(Span::from_millis(900));
        driver.restart(engine, log, at).unwrap();
    }
    driver.run(market, &mut |_| {}).unwrap();
    driver.venue_mut().venue.set_faults(FaultConfig::default());
    let end = driver.engine().now();
    driver.run_until(end.plus(Span::from_secs(240)), &mut |_| {}).unwrap();
    world::assert_agree(&driver, &setup, "after the crashes");
    let placed = &driver.venue().placed;
    assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), placed.len(), "a client order id was used twice");
    for code in [
        AlertCode::PositionRepaired,
        AlertCode::BalanceRepaired,
        AlertCode::ImpossibleReport,
        AlertCode::ExposureMismatch,
    ] {
        // Equal sums by booking every fill once, not by repair.
        assert_eq!(world::alerts(driver.log(), code), 0, "{code:?}");
    }
    let known: BTreeSet<_> = world::decisions(driver.log())
        .filter_map(|d| match d {
            Decision::Command(c) => match &c.kind {
                qcat_core::command::CommandKind::Place(order) => Some(order.intent.id),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert!(placed.iter().all(|id| known.contains(id)), "an order whose intent is not in the journal");
}
