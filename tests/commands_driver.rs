//! Commands of people, in the driver: a repeat does nothing, whatever comes between; parameters stay over restarts until the
//! configuration says otherwise; cancelling all spares nothing; and all of it is folded as it was lived.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use qcat_core::command::CommandKind;
use qcat_core::config::{OnStop, ParamValue};
use qcat_core::engine::Engine;
use qcat_core::engine::driver::Driver;
use qcat_core::engine::snapshot::Snapshot;
use qcat_core::event::{Asked, Decision, IdempotencyKey, Input, OperatorCommand, Origin, Scope};
use qcat_core::id::{ClientOrderId, StrategyIx, SymbolIx};
use qcat_core::num::{Quantity, Side};
use qcat_core::order::{Intent, OrderIntent, PositionSide, Terms};
use qcat_core::time::Span;
use std::collections::BTreeMap;
use std::sync::Arc;
use world::{Mortal, Setup};

const TREND: StrategyIx = StrategyIx(1);

fn asked(user: &str, key: Option<&str>, command: OperatorCommand) -> Input {
    let word = |text: &str| Arc::<str>::from(text);
    let by = Origin { user: word(user), role: word("trader"), remote: word("127.0.0.1"), request: word("r") };
    let key = key.map(|key| IdempotencyKey { key: word(key), fingerprint: 1 });
    Input::Asked(Box::new(Asked { by, key, command }))
}

fn place(driver: &Driver<Mortal>, counter: u32) -> OperatorCommand {
    let id =
        ClientOrderId { epoch: driver.engine().epoch(), account: world::A, strategy: StrategyIx::EXTERNAL, counter };
    OperatorCommand::Intent(Intent::Place(OrderIntent {
        id,
        symbol: SymbolIx(0),
        side: Side::Buy,
        quantity: Quantity::from_mantissa(10).unwrap(),
        terms: Terms::Market,
        reduce_only: false,
        position_side: PositionSide::Both,
    }))
}

/// Runs a fresh market for some seconds and then tells it.
fn lived(setup: &Setup, seconds: i64) -> Driver<Mortal> {
    let mut driver = setup.driver();
    driver.run(setup.market(Span::from_secs(seconds)), &mut |_| {}).unwrap();
    driver
}

fn tell(driver: &mut Driver<Mortal>, input: Input) -> Vec<Decision> {
    let (now, before) = (driver.engine().now(), driver.log().len());
    driver.admit_first(now, input).unwrap();
    let decided = world::decisions(&driver.log()[before..]).cloned().collect();
    driver.run_until(now.plus(Span::from_secs(5)), &mut |_| {}).unwrap();
    decided
}

fn placed(decided: &[Decision]) -> bool {
    matches!(decided, [Decision::Command(command)] if matches!(command.kind, CommandKind::Place(_)))
}

fn folded(setup: &Setup, driver: &Driver<Mortal>) -> Engine {
    Engine::folded(&setup.registry, driver.log(), &[]).unwrap()
}

fn restored(setup: &Setup, snapshot: &Snapshot) -> Engine {
    let mut engine = Engine::new(setup.registry.clone());
    engine.restore(snapshot, true).unwrap();
    engine
}

#[test]
fn a_repeat_of_a_named_command_does_nothing_also_after_a_fold_and_a_snapshot() {
    let setup = Setup::new(&[("mean_reverter", 0, "BTCUSDT")]);
    let mut driver = lived(&setup, 10);
    let first = place(&driver, 1);
    let decided = tell(&mut driver, asked("ada", Some("k"), first));
    assert!(placed(&decided), "{decided:?}");
    let answered = driver.engine().answered("ada", "k").unwrap();
    assert_eq!(answered.order.map(|id| id.counter), Some(1));
    // The edge would give it another id.
    let again = place(&driver, 2);
    assert_eq!(tell(&mut driver, asked("ada", Some("k"), again.clone())), []);
    for engine in [folded(&setup, &driver), restored(&setup, &driver.engine().snapshot())] {
        assert_eq!(engine.answered("ada", "k"), Some(answered));
    }
    // The word is another user's own.
    assert!(placed(&tell(&mut driver, asked("bob", Some("k"), again))));
    let third = place(&driver, 3);
    assert!(placed(&tell(&mut driver, asked("ada", None, third))));
    world::assert_agree(&driver, &setup, "commands");
}

fn params_of(engine: &Engine) -> BTreeMap<Arc<str>, ParamValue> {
    engine.config().strategy(TREND).unwrap().params.clone()
}

#[test]
fn parameters_that_a_person_gave_outlive_restarts_until_the_configuration_says_otherwise() {
    let setup = Setup::new(&[("trend_follower", 0, "BTCUSDT")]);
    let mut driver = lived(&setup, 10);
    let configured = params_of(driver.engine());
    let mut given = configured.clone();
    given.insert("fast_periods".into(), ParamValue::Int(7));
    let set = |params| asked("ada", None, OperatorCommand::SetParams { strategy: TREND, params });
    tell(&mut driver, set(given.clone()));
    assert_eq!((params_of(driver.engine()), driver.engine().is_overridden(TREND)), (given.clone(), true));
    // What the strategy does not take changes nothing.
    let wrong = BTreeMap::from([(Arc::from("fast_periods"), ParamValue::Int(-1))]);
    tell(&mut driver, set(wrong));
    assert_eq!(params_of(driver.engine()), given);
    // The next life is begun with the file's own words.
    let again = Input::Configuration(Box::new(setup.config()));
    tell(&mut driver, again);
    assert_eq!(params_of(driver.engine()), given);
    assert_eq!(params_of(&folded(&setup, &driver)), given);
    assert_eq!(params_of(&restored(&setup, &driver.engine().snapshot())), given);
    let mut newer = setup.config();
    newer.strategies[0].params.insert("fast_periods".into(), ParamValue::Int(9));
    tell(&mut driver, Input::Configuration(Box::new(newer.clone())));
    assert_eq!(
        (params_of(driver.engine()), driver.engine().is_overridden(TREND)),
        (newer.strategies[0].params.clone(), false)
    );
}

#[test]
fn a_person_cancels_every_order_of_an_account_or_of_one_symbol() {
    let setup = Setup::new(&[("churner", 0, "BTCUSDT"), ("trend_follower", 0, "ETHUSDT")]);
    let mut config = setup.config();
    config.strategies.iter_mut().for_each(|strategy| strategy.on_stop = OnStop::Leave);
    let mut driver = setup.driver_with(config);
    let mut market = setup.market(Span::from_secs(240)).into_iter();
    let open = |engine: &Engine, symbol: Option<SymbolIx>| {
        engine.desk(world::A).unwrap().entries().filter(|entry| symbol.is_none_or(|s| s == entry.symbol)).count()
    };
    let soonest = world::START.plus(Span::from_secs(20));
    for event in market.by_ref() {
        driver.run([event], &mut |_| {}).unwrap();
        let engine = driver.engine();
        let (btc, all) = (open(engine, Some(SymbolIx(0))), open(engine, None));
        if engine.now() > soonest
            && (1..all).contains(&btc)
            && engine.desk(world::A).unwrap().entries().any(|e| e.protective)
        {
            break;
        }
    }
    let (btc, all) = (open(driver.engine(), Some(SymbolIx(0))), open(driver.engine(), None));
    assert!(btc > 0 && all > btc, "{btc} of {all}");
    // Strategies leave their orders and do nothing more, so that what is cancelled stays away.
    for strategy in 1..=2 {
        let now = driver.engine().now();
        driver.admit_first(now, Input::Command(OperatorCommand::StopStrategy(StrategyIx(strategy)))).unwrap();
    }
    let cancel = |symbol| asked("ada", None, OperatorCommand::CancelAll { account: world::A, symbol });
    let now = driver.engine().now();
    driver.admit_first(now, cancel(Some(SymbolIx(0)))).unwrap();
    driver.run_until(now.plus(Span::from_millis(900)), &mut |_| {}).unwrap();
    assert_eq!(open(driver.engine(), Some(SymbolIx(0))), 0);
    assert!(open(driver.engine(), None) > 0);
    let now = driver.engine().now();
    driver.admit_first(now, cancel(None)).unwrap();
    driver.run_until(now.plus(Span::from_millis(900)), &mut |_| {}).unwrap();
    assert_eq!(open(driver.engine(), None), 0);
    assert_eq!(world::deciding_parts(&folded(&setup, &driver)), world::deciding_parts(driver.engine()));
}

#[test]
fn the_kill_switch_stays_over_a_fold_until_it_is_resumed() {
    let setup = Setup::new(&[("churner", 0, "BTCUSDT")]);
    let mut driver = lived(&setup, 10);
    let decided = tell(&mut driver, asked("ada", None, OperatorCommand::Halt(Scope::All)));
    assert!(decided.iter().any(|d| matches!(d, Decision::Halted { scope: Scope::All, .. })), "{decided:?}");
    let halts = driver.engine().risk().view().halts;
    assert_eq!(folded(&setup, &driver).risk().view().halts, halts);
    assert_eq!(halts.len(), 1);
    let decided = tell(&mut driver, asked("ada", None, OperatorCommand::Resume(Scope::All)));
    assert!(decided.iter().any(|d| matches!(d, Decision::Resumed { scope: Scope::All })), "{decided:?}");
    assert_eq!(driver.engine().risk().view().halts, []);
}
