//! What a step told in life is what the fold of its records tells: projections may read either.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use proptest::prelude::*;
use qcat_core::engine::Engine;
use qcat_core::engine::facts::Facts;
use qcat_core::engine::fold::Record;
use qcat_core::event::{Decision, HaltReason, Input, Scope, StreamFault, StreamState};
use qcat_core::order::{End, OrderState};
use qcat_core::time::Span;
use world::Setup;

const BTC: &str = "BTCUSDT";

/// What the records tell, one step after the other.
fn folded(setup: &Setup, log: &[Record]) -> Vec<Facts> {
    let mut engine = Engine::new(setup.registry.clone());
    let mut told = Vec::new();
    for (at, record) in log.iter().enumerate() {
        let decisions: &[Decision] = if let Record::Decisions(_, _, decisions) = record { decisions } else { &[] };
        engine.fold(record.clone(), &[], false).unwrap();
        let ends = !matches!(log.get(at + 1), Some(Record::Decisions(..)));
        if ends {
            told.extend(Facts::of(&engine, None, engine.happened(), decisions, true));
        }
    }
    told
}

fn life_and_fold_tell_the_same(seed: u64, seconds: i64) -> Vec<Facts> {
    let strategies = [("churner", 0, BTC), ("trend_follower", 0, BTC), ("mean_reverter", 0, BTC)];
    let setup = Setup { seed, faults: world::bad_day(), ..Setup::new(&strategies) };
    let mut driver = setup.driver();
    let mut lived = Vec::new();
    let mut seen = |engine: &Engine| {
        lived.extend(Facts::of(engine, None, engine.happened(), engine.decisions(), true));
    };
    driver.run(setup.market(Span::from_secs(seconds)), &mut seen).unwrap();
    // A stream that breaks and comes back is compared with the venue and repaired; then everything is halted.
    let now = driver.engine().now();
    driver.deliver(now, Input::Stream(StreamState::UserDown(world::A, StreamFault::LinkLost)));
    let later = now.plus(Span::from_secs(3));
    driver.run_until(later, &mut seen).unwrap();
    driver.deliver(later, Input::Stream(StreamState::UserUp(world::A)));
    driver.run_until(later.plus(Span::from_secs(10)), &mut seen).unwrap();
    let end = driver.engine().now();
    driver.deliver(end, Input::Halt { scope: Scope::All, reason: HaltReason::KillSwitch });
    driver.run_until(end.plus(Span::from_secs(5)), &mut seen).unwrap();
    let folded = folded(&setup, driver.log());
    // What was admitted before the first step that was seen.
    let first = lived.first().unwrap().seq;
    let folded = folded.into_iter().filter(|facts| facts.seq >= first);
    for (life, fold) in lived.iter().zip(folded.clone()) {
        assert_eq!(*life, fold, "seed {seed}");
    }
    assert_eq!(lived.len(), folded.count(), "seed {seed}");
    lived
}

#[test]
fn every_kind_of_step_tells_the_same_in_life_and_in_the_fold() {
    let told: Vec<Facts> = (11..13).flat_map(|seed| life_and_fold_tell_the_same(seed, 40)).collect();
    let order = |hit: fn(OrderState) -> bool| told.iter().flat_map(|f| &f.orders).any(|o| hit(o.update.state));
    assert!(order(|state| state == OrderState::InFlight) && order(|state| state == OrderState::Working));
    assert!(order(|state| state == OrderState::Done(End::Filled)) && order(|s| s == OrderState::Done(End::Canceled)));
    assert!(order(|state| state == OrderState::Unknown), "a lost answer");
    let decided = |hit: fn(&Decision) -> bool| told.iter().flat_map(|f| &f.decisions).any(hit);
    assert!(decided(|d| matches!(d, Decision::Refused(_))) && decided(|d| matches!(d, Decision::Halted { .. })));
    assert!(told.iter().any(|f| !f.fills.is_empty() && !f.positions.is_empty() && !f.equities.is_empty()));
    assert!(told.iter().flat_map(|f| &f.orders).all(|o| o.terms.is_some() || o.update.key.ours().is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn life_and_fold_tell_the_same_on_bad_days(seed in 0u64..1 << 32) {
        life_and_fold_tell_the_same(seed, 12);
    }
}
