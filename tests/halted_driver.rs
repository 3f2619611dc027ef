//! A halt that some nodes never heard of, because another one broke or the process died in between, in the driver: it is said
//! again, and what it cancels is cancelled.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use qcat_core::engine::driver::Driver;
use qcat_core::engine::fold::Record;
use qcat_core::engine::{Engine, Observer};
use qcat_core::event::{Decision, Event, HaltReason, Input, PauseReason, RunnerState, Scope, Station};
use qcat_core::id::{Seq, StrategyIx};
use qcat_core::time::Span;
use world::{Mortal, Setup};

const KILL: Input = Input::Halt { scope: Scope::All, reason: HaltReason::KillSwitch };
const SABOTAGE: &str = "sabotage";

/// Makes the gate panic when it hears of its first halt.
struct DeafGate(bool);

impl Observer for DeafGate {
    fn before_step(&mut self, station: Station, _seq: Seq, event: &Event) {
        if matches!((station, event), (Station::Gate(_), Event::Halted { .. })) && !std::mem::replace(&mut self.0, true)
        {
            std::panic::resume_unwind(Box::new(SABOTAGE));
        }
    }
}

/// A daemon with resting entries, and the rest of its market.
fn busy(setup: &Setup) -> (Driver<Mortal>, Vec<qcat_core::market::MarketInput>) {
    let mut driver = setup.driver();
    let mut market = setup.market(Span::from_secs(40)).into_iter();
    let soonest = world::START.plus(Span::from_secs(10));
    for event in market.by_ref() {
        driver.run([event], &mut |_| {}).unwrap();
        if driver.engine().now() > soonest && entries(driver.engine()) > 2 {
            return (driver, market.collect());
        }
    }
    panic!("no entries rest");
}

fn entries(engine: &Engine) -> usize {
    engine.desk(world::A).unwrap().entries().filter(|entry| !entry.protective).count()
}

/// Lives on: no new risk, and everything that the halt should have stopped is stopped.
fn is_halted(mut driver: Driver<Mortal>, setup: &Setup, market: Vec<qcat_core::market::MarketInput>, what: &str) {
    let places = |d: &Decision| matches!(d, Decision::Command(c) if c.kind.adds_risk());
    let mut risk = 0;
    let mut seen = |engine: &Engine| risk += engine.decisions().iter().filter(|d| places(d)).count();
    driver.run(market, &mut seen).unwrap();
    let end = driver.engine().now();
    driver.run_until(end.plus(Span::from_secs(60)), &mut seen).unwrap();
    assert_eq!(risk, 0, "{what}: new risk");
    assert_eq!(entries(driver.engine()), 0, "{what}: entries rest");
    let state = driver.engine().runner(StrategyIx(1)).unwrap().state();
    assert_eq!(state, RunnerState::Paused(PauseReason::Halt(HaltReason::KillSwitch)), "{what}");
    world::assert_agree(&driver, setup, what);
}

#[test]
fn a_halt_that_broke_off_at_a_fault_is_said_again_after_the_rebuild() {
    let setup = Setup::new(&[("churner", 0, "BTCUSDT")]);
    let (mut driver, market) = busy(&setup);
    driver.engine_mut().observe(Some(Box::new(DeafGate(false))));
    let now = driver.engine().now();
    driver.admit_first(now, KILL).unwrap();
    assert_eq!(driver.engine().faults().len(), 0, "rebuilt");
    is_halted(driver, &setup, market, "a gate that broke at the halt");
}

#[test]
fn a_halt_whose_decisions_were_lost_in_a_crash_is_said_again_at_the_start() {
    let setup = Setup::new(&[("churner", 0, "BTCUSDT")]);
    let (mut driver, market) = busy(&setup);
    let now = driver.engine().now();
    let mut log = driver.log().to_vec();
    log.push(Record::Input(driver.engine().admit(now, KILL)));
    let engine = Engine::folded(&setup.registry, &log, &[]).unwrap();
    driver.restart(engine, log, now.plus(Span::from_millis(900))).unwrap();
    is_halted(driver, &setup, market, "a crash between the halt and its decisions");
}
