//! Nodes that panic, in the driver: a strategy never disturbs another one; a deciding node is rebuilt from the log, not trusted
//! until reconciled, and ends in agreement with the venue.
#![allow(clippy::unwrap_used)]

#[path = "support/fragile.rs"]
mod fragile;
#[path = "support/world.rs"]
mod world;

use fragile::Fragile;
use qcat_core::engine::driver::Driver;
use qcat_core::engine::fold::Record;
use qcat_core::engine::{Engine, Observer};
use qcat_core::event::{AlertCode, Decision, Event, Input, RunnerState, Station, StopReason};
use qcat_core::id::{AccountIx, Seq, StrategyIx};
use qcat_core::num::{Quantity, Side};
use qcat_core::order::Intent;
use qcat_core::strategy::{Needs, OrderSpec, Params, Registry, Strategy, StrategyContext, StrategyEvent, StrategySpec};
use qcat_core::time::Span;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use world::{Mortal, Setup};

const SABOTAGE: &str = "sabotage";
const TENTH: &str = "as it does on every tenth input";

/// Trades like the churner and panics on every tenth quote.
const FRAGILE: StrategySpec = StrategySpec {
    name: "fragile",
    doc: "Panics on every tenth input.",
    params: &[],
    factory: |params: &Params| Ok(Fragile::boxed((world::CHURNER.factory)(params)?, TENTH)),
};

fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default();
            if text != SABOTAGE && text != TENTH {
                usual(info);
            }
        }));
    });
}

/// Arms a timer that is due at once, whenever it hears of anything.
const HASTY: StrategySpec = StrategySpec {
    name: "hasty",
    doc: "Arms timers that are due already.",
    params: &[],
    factory: |_: &Params| Ok(Box::new(Hasty) as Box<dyn Strategy>),
};

struct Hasty;

impl Strategy for Hasty {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, _: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        ctx.arm(1, ctx.now());
        ctx.arm(2, qcat_core::time::Ts::ZERO);
    }
}

/// How many times the storm may still begin.
static STORMS: AtomicU32 = AtomicU32::new(2);

/// Answers every word about an order with as many orders as it may.
const STORM: StrategySpec = StrategySpec {
    name: "storm",
    doc: "Never stops within one cascade.",
    params: &[],
    factory: |_: &Params| Ok(Box::new(Storm { raging: false }) as Box<dyn Strategy>),
};

struct Storm {
    raging: bool,
}

impl Strategy for Storm {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        let takes = |left: u32| left.checked_sub(1);
        if let StrategyEvent::Quote { .. } = event {
            let begins = || STORMS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok();
            self.raging = ctx.can_trade() && begins();
        }
        // What answers a refusal waits for the next input, and would count as much.
        if !self.raging || !matches!(event, StrategyEvent::Quote { .. } | StrategyEvent::Order(_)) {
            return;
        }
        let symbol = ctx.symbol();
        let (instrument, quote) = (ctx.instrument(symbol).unwrap().clone(), ctx.quote(symbol).unwrap());
        let price = instrument.offset(quote.bid, -2_000);
        let quantity = Quantity::from_mantissa(2 * instrument.filters.lot.step.mantissa()).unwrap();
        for _ in 0..32 {
            ctx.place(OrderSpec::post_only(symbol, Side::Buy, price, quantity));
        }
    }
}

fn strategy_of(decision: &Decision) -> Option<StrategyIx> {
    match decision {
        Decision::Command(command) => match &command.kind {
            qcat_core::command::CommandKind::Place(order) => Some(order.intent.id.strategy),
            qcat_core::command::CommandKind::Modify { id, .. } => Some(id.strategy),
            qcat_core::command::CommandKind::Cancel { key, .. } => key.ours().map(|id| id.strategy),
            qcat_core::command::CommandKind::Query(_) => None,
        },
        Decision::Refused(refused) => Some(refused.intent.strategy()),
        Decision::Runner { strategy, .. } => Some(*strategy),
        _ => None,
    }
}

/// The decisions about one strategy, without numbers of commands, with their times.
fn decisions_of(driver: &Driver<Mortal>, strategy: StrategyIx) -> Vec<String> {
    let mut at = world::START;
    let mut found = Vec::new();
    for record in driver.log() {
        match record {
            Record::Input(admitted) => at = admitted.at,
            Record::Decisions(_, _, decisions) => {
                for decision in decisions.iter().filter(|d| strategy_of(d) == Some(strategy)) {
                    let text = match decision {
                        Decision::Command(command) => format!("{:?}", command.kind),
                        other => format!("{other:?}"),
                    };
                    found.push(format!("{} {text}", at.nanos()));
                }
            }
        }
    }
    found
}

fn run(fragile_runs: bool) -> (Setup, Driver<Mortal>) {
    let mut setup = Setup::new(&[("churner", 0, "BTCUSDT"), ("fragile", 1, "BTCUSDT")]);
    setup.accounts = 2;
    let mut registry = Registry::builtin();
    registry.register(world::CHURNER).unwrap();
    registry.register(FRAGILE).unwrap();
    setup.registry = Arc::new(registry);
    let mut config = setup.config();
    config.strategies[1].enabled = fragile_runs;
    let mut driver = setup.driver_with(config);
    driver.run(setup.market(Span::from_secs(25)), &mut |_| {}).unwrap();
    (setup, driver)
}

#[test]
fn a_strategy_that_panics_on_every_tenth_input_disturbs_nobody() {
    quiet_panics();
    let (sound, fragile) = (StrategyIx(1), StrategyIx(2));
    let (setup, mut with) = run(true);
    let (_, without) = run(false);
    let (a, b) = (decisions_of(&with, sound), decisions_of(&without, sound));
    assert!(a.len() > 50, "{}", a.len());
    assert_eq!(a, b);
    // It was rebuilt as often as its budget allows, then stopped for good.
    let rule = setup.options.restart;
    let states: Vec<RunnerState> = world::decisions(with.log())
        .filter_map(|d| match d {
            Decision::Runner { strategy, state } if *strategy == fragile => Some(*state),
            _ => None,
        })
        .collect();
    let faulted = states.iter().filter(|state| **state == RunnerState::Faulted).count();
    assert_eq!(faulted, rule.max as usize + 1, "{states:?}");
    assert_eq!(states.last(), Some(&RunnerState::Stopped(StopReason::Faults)));
    assert_eq!(world::alerts(with.log(), AlertCode::NodeFault), faulted);
    assert_eq!(world::alerts(with.log(), AlertCode::StrategyStopped), 1);
    // Its orders were looked after: once the other one is quiet too, nothing differs from the venue.
    let end = with.engine().now();
    with.run_until(end.plus(Span::from_secs(90)), &mut |_| {}).unwrap();
    world::assert_agree(&with, &setup, "after the strategy was given up");
    let entries = with.engine().desk(AccountIx(1)).unwrap().entries().filter(|entry| !entry.protective).count();
    assert_eq!(entries, 0, "entries of a strategy that was given up");
}

#[test]
fn a_timer_that_is_due_at_once_does_not_fire_without_end() {
    let mut setup = Setup::new(&[("hasty", 0, "BTCUSDT")]);
    let mut registry = Registry::builtin();
    registry.register(HASTY).unwrap();
    setup.registry = Arc::new(registry);
    let mut driver = setup.driver();
    let mut seen = |engine: &Engine| assert!(engine.seq().0 < 20_000, "it spins at {:?}", engine.now());
    driver.run(setup.market(Span::from_secs(2)), &mut seen).unwrap();
    assert!(driver.engine().now() > world::START.plus(Span::from_millis(1_900)));
}

#[test]
fn a_strategy_that_never_stops_loses_nobodys_reports() {
    let mut setup = Setup::new(&[("churner", 0, "BTCUSDT"), ("storm", 1, "BTCUSDT"), ("storm", 2, "BTCUSDT")]);
    setup.accounts = 3;
    let mut registry = Registry::builtin();
    registry.register(world::CHURNER).unwrap();
    registry.register(STORM).unwrap();
    setup.registry = Arc::new(registry);
    let mut config = setup.config();
    for account in &mut config.accounts {
        account.limits.open_orders_max = 1_000;
    }
    let mut driver = setup.driver_with(config);
    driver.run(setup.market(Span::from_secs(20)), &mut |_| {}).unwrap();
    assert!(world::alerts(driver.log(), AlertCode::Overrun) > 0, "it stopped by itself");
    // What was dropped was more than its own intents: the deciding nodes were folded from the log and reconciled.
    let rebuilt = |record: &&Record| matches!(record, Record::Input(admitted) if matches!(admitted.input, Input::Rebuild(Station::Markets)));
    assert_eq!(driver.log().iter().filter(rebuilt).count(), 1);
    // Nobody else is at fault, then or later.
    let faulted = |strategy| {
        let is = |d: &&Decision| matches!(d, Decision::Runner { strategy: of, state: RunnerState::Faulted } if *of == StrategyIx(strategy));
        world::decisions(driver.log()).filter(is).count()
    };
    assert_eq!((faulted(1), faulted(2) + faulted(3)), (0, 1));
    let end = driver.engine().now();
    driver.run_until(end.plus(Span::from_secs(180)), &mut |_| {}).unwrap();
    world::assert_agree(&driver, &setup, "after the storm");
}

/// Makes one node panic, once, when it takes an event of one kind.
struct Saboteur {
    station: Station,
    which: fn(&Event) -> bool,
    /// How many such events pass before.
    spare: u32,
    done: Arc<AtomicBool>,
}

impl Observer for Saboteur {
    fn before_step(&mut self, station: Station, _seq: Seq, event: &Event) {
        if station != self.station || !(self.which)(event) || self.done.load(Ordering::Relaxed) {
            return;
        }
        match self.spare.checked_sub(1) {
            Some(left) => self.spare = left,
            None => {
                self.done.store(true, Ordering::Relaxed);
                panic!("{SABOTAGE}");
            }
        }
    }
}

fn sabotage(station: Station, which: fn(&Event) -> bool, spare: u32) {
    quiet_panics();
    let what = format!("{station:?} after {spare}");
    let setup =
        Setup { seed: u64::from(spare), ..Setup::new(&[("churner", 0, "BTCUSDT"), ("mean_reverter", 0, "BTCUSDT")]) };
    let mut driver = setup.driver();
    let done = Arc::new(AtomicBool::new(false));
    let saboteur = Saboteur { station, which, spare, done: done.clone() };
    driver.engine_mut().observe(Some(Box::new(saboteur)));
    let (mut distrusted, mut trusted_again, mut commands) = (false, false, 0);
    let flag = done.clone();
    let mut seen = |engine: &Engine| {
        if flag.load(Ordering::Relaxed) && engine.faults().is_empty() {
            let trusted = engine.gate(world::A).unwrap().is_trusted();
            distrusted |= !trusted;
            trusted_again |= distrusted && trusted;
            let places = |d: &&Decision| matches!(d, Decision::Command(c) if c.kind.adds_risk());
            let adds = engine.decisions().iter().filter(places).count();
            assert!(trusted || adds == 0, "{what}: new risk while not trusted");
            commands += if trusted_again { adds } else { 0 };
        }
    };
    driver.run(setup.market(Span::from_secs(20)), &mut seen).unwrap();
    assert!(done.load(Ordering::Relaxed), "{what}: never reached");
    assert!(distrusted && trusted_again, "{what}: distrusted {distrusted}, trusted again {trusted_again}");
    assert!(commands > 5, "{what}: trading goes on, {commands}");
    assert_eq!(world::alerts(driver.log(), AlertCode::NodeFault), 1, "{what}");
    let end = driver.engine().now();
    driver.run_until(end.plus(Span::from_secs(180)), &mut |_| {}).unwrap();
    world::assert_agree(&driver, &setup, &what);
    for strategy in [StrategyIx(1), StrategyIx(2)] {
        let state = driver.engine().runner(strategy).unwrap().state();
        assert_eq!(state, RunnerState::Running, "{what}: {strategy:?}");
    }
}

#[test]
fn a_ledger_that_panics_is_rebuilt_and_reconciled() {
    for spare in [0, 3, 8] {
        sabotage(Station::Ledger(world::A), |event| matches!(event, Event::Fill(_)), spare);
    }
}

#[test]
fn a_desk_that_panics_is_rebuilt_and_reconciled() {
    sabotage(Station::Desk(world::A), |event| matches!(event, Event::Approved(_)), 7);
    sabotage(Station::Desk(world::A), |event| matches!(event, Event::Input(Input::Report(_))), 11);
    sabotage(Station::Desk(world::A), |event| matches!(event, Event::Input(Input::Outcome(_))), 5);
}

#[test]
fn a_gate_that_panics_is_rebuilt_and_reconciled() {
    sabotage(Station::Gate(world::A), |event| matches!(event, Event::Intent(Intent::Place(_))), 6);
    sabotage(Station::Gate(world::A), |event| matches!(event, Event::Fill(_)), 2);
    sabotage(Station::Gate(world::A), |event| matches!(event, Event::Order(_)), 9);
}

#[test]
fn reconciliation_and_risk_that_panic_are_rebuilt() {
    sabotage(Station::Reconciler(world::A), |event| matches!(event, Event::Fill(_)), 4);
    sabotage(Station::Reconciler(world::A), |event| matches!(event, Event::Input(Input::Answer(_))), 2);
    sabotage(Station::Risk, |event| matches!(event, Event::Equity(_)), 12);
    sabotage(Station::Risk, |event| matches!(event, Event::Input(Input::Timer(_))), 3);
}
