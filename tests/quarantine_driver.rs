//! A node that is never stepped again with one input of its own timer, in the driver: the timer comes again, and all that hangs
//! on it goes on.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use qcat_core::config::ParamValue;
use qcat_core::engine::Engine;
use qcat_core::engine::driver::Driver;
use qcat_core::engine::fold::{FoldError, Quarantine, Record};
use qcat_core::event::{Input, Station, TimerId};
use qcat_core::id::StrategyIx;
use qcat_core::strategy::{ParamKind, ParamSpec, Params, Registry, StrategySpec};
use qcat_core::time::Span;
use std::sync::Arc;
use world::Setup;

fn fires(record: &Record, which: fn(&TimerId) -> bool) -> bool {
    matches!(record, Record::Input(admitted) if matches!(&admitted.input, Input::Timer(timer) if which(timer)))
}

/// Ends a life at a firing of the timer, rebuilds the engine without that firing, and lives on.
fn left_out(station: Station, which: fn(&TimerId) -> bool) {
    let mut setup = Setup::new(&[("churner", 0, "BTCUSDT")]);
    setup.faults = world::bad_day();
    let mut first = setup.driver();
    first.run(setup.market(Span::from_secs(40)), &mut |_| {}).unwrap();
    let mut log = first.log().to_vec();
    match log.iter().position(|record| fires(record, which)) {
        Some(at) => log.truncate(at + 1),
        // The end of the ledger's day is far away: let it come now.
        None => {
            let timer = Input::Timer(TimerId { station, key: 0 });
            log.push(Record::Input(first.engine().admit(first.engine().now(), timer)));
        }
    }
    let Some(Record::Input(fired)) = log.last() else { unreachable!() };
    let quarantine = [Quarantine { station, seq: fired.seq }];
    let mut rebuilt = Engine::folded(&setup.registry, &log, &quarantine).unwrap();

    // The venue lives the same life up to there.
    let mut broken = setup.driver();
    let before = |input: &&qcat_core::market::MarketInput| input.exchange_time < fired.at;
    let market = setup.market(Span::from_secs(100));
    broken.run(market.iter().take_while(before).cloned(), &mut |_| {}).unwrap();
    let (mut engine, venue) = broken.into_parts();
    rebuilt.adopt_runners(&mut engine);
    let mut driver = Driver::around(rebuilt, setup.registry.clone(), venue, setup.options.clone(), fired.at);
    driver.admit_first(fired.at, Input::Rebuild(station)).unwrap();
    driver.run(market.into_iter().skip_while(|input| before(&input)), &mut |_| {}).unwrap();
    driver.venue_mut().venue.set_faults(Default::default());
    driver.run_until(world::START.plus(Span::from_secs(250)), &mut |_| {}).unwrap();

    let again = driver.log().iter().filter(|record| fires(record, which)).count();
    assert!(again > 0, "{station:?}: its timer never came again");
    let engine = driver.engine();
    let (_, _, budget) = engine.risk().view().accounts[0];
    assert!(budget.unwrap().expires > engine.now(), "{station:?}: no budget any more");
    assert!(!engine.reconciler(world::A).unwrap().is_running(), "{station:?}: a reconciliation hangs");
    world::assert_agree(&driver, &setup, &format!("{station:?}"));
}

/// A strategy whose kind breaks while it is built with one parameter.
const BRITTLE: StrategySpec = StrategySpec {
    name: "brittle",
    doc: "Cannot be built when it is told to break.",
    params: &[ParamSpec { name: "breaks", doc: "Whether it breaks.", kind: ParamKind::Bool { default: false } }],
    factory: |params: &Params| {
        if params.bool("breaks")? {
            std::panic::resume_unwind(Box::new("brittle"));
        }
        (world::CHURNER.factory)(params)
    },
};

#[test]
fn books_that_break_in_the_fold_end_it_and_are_passed_over_once_quarantined() {
    let mut setup = Setup::new(&[("churner", 0, "BTCUSDT"), ("brittle", 0, "BTCUSDT")]);
    let mut registry = Registry::builtin();
    registry.register(world::CHURNER).unwrap();
    registry.register(BRITTLE).unwrap();
    setup.registry = Arc::new(registry);
    let mut driver = setup.driver();
    driver.run(setup.market(Span::from_secs(10)), &mut |_| {}).unwrap();
    let mut config = driver.engine().config().clone();
    config.strategies[1].params.insert("breaks".into(), ParamValue::Bool(true));
    let now = driver.engine().now();
    driver.admit_first(now, Input::Configuration(Box::new(config))).unwrap();
    let broke = driver.engine().seq();

    let station = Station::Runner(StrategyIx(2));
    let fault = Engine::folded(&setup.registry, driver.log(), &[]).unwrap_err();
    assert_eq!(fault, FoldError::Fault { station, seq: broke });
    let folded = Engine::folded(&setup.registry, driver.log(), &[Quarantine { station, seq: broke }]).unwrap();
    assert_eq!(world::deciding_parts(&folded), world::deciding_parts(driver.engine()));
}

#[test]
fn a_timer_that_its_node_is_not_stepped_with_comes_again() {
    left_out(Station::Desk(world::A), |timer| matches!(timer.station, Station::Desk(_)));
    left_out(Station::Gate(world::A), |timer| matches!(timer.station, Station::Gate(_)));
    left_out(Station::Risk, |timer| timer.station == Station::Risk);
    // A question's deadline, and the next run.
    left_out(Station::Reconciler(world::A), |timer| matches!(timer.station, Station::Reconciler(_)) && timer.key == 0);
    left_out(Station::Reconciler(world::A), |timer| matches!(timer.station, Station::Reconciler(_)) && timer.key == 1);
    left_out(Station::Ledger(world::A), |timer| matches!(timer.station, Station::Ledger(_)));
}
