//! Recovery in the driver, without a disk: what is folded equals what was lived, and a crash at any moment ends in agreement with
//! the venue: no client order id used twice, no fill lost or booked twice.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use proptest::prelude::*;
use qcat_core::config::OnStop;
use qcat_core::engine::Engine;
use qcat_core::engine::driver::Driver;
use qcat_core::engine::fold::Record;
use qcat_core::event::{AlertCode, Decision, Input, OperatorCommand, StreamFault, StreamState};
use qcat_core::id::StrategyIx;
use qcat_core::order::{Intent, OrderState, OrderUpdate};
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
        Record::Decisions(of, ..) => of.0 > seq,
    });
    &log[..end.unwrap_or(log.len())]
}

fn is_refused_modification(decision: &Decision) -> bool {
    matches!(decision, Decision::Refused(refused) if matches!(refused.intent, Intent::Modify { .. }))
}

fn first_difference(life: &[(String, u64)], fold: &[(String, u64)]) -> Option<String> {
    life.iter().zip(fold).find(|(a, b)| a.1 != 0 && a != b).map(|(a, _)| a.0.clone())
}

/// Lives once more up to the input at which the fold differs, and prints what differs.
fn print_difference(setup: &Setup, seconds: i64, fold: &Engine) {
    let state = |engine: &Engine| format!("{:#?}\n{:#?}", engine.desk(world::A), engine.gate(world::A));
    let mut lived = String::new();
    let mut seen = |engine: &Engine| {
        if engine.seq() == fold.seq() {
            lived = state(engine);
        }
    };
    setup.driver().run(setup.market(Span::from_secs(seconds)), &mut seen).unwrap();
    let folded = state(fold);
    for (life, fold) in lived.lines().zip(folded.lines()).filter(|(a, b)| a != b).take(10) {
        println!("life: {life}\nfold: {fold}");
    }
}

/// Lives for a while and folds at many moments on the way.
fn fold_equals_life(seed: u64, seconds: i64, step: u64) {
    let setup = setup(seed);
    let mut driver = setup.driver();
    let mut lived: Vec<(u64, Vec<(String, u64)>)> = Vec::new();
    let mut desk_refused = false;
    let mut seen = |engine: &Engine| {
        // Two things are not decisions and so not folded: that a cancellation waits for the confirmation of its order (strategies
        // ask again), and that the rate counts a modification which the gate passed and the desk refused.
        let waits = |o: &OrderUpdate| matches!(o.state, OrderState::InFlight | OrderState::Unknown);
        desk_refused |= engine.decisions().iter().any(is_refused_modification);
        if engine.seq().0.is_multiple_of(step)
            && !engine.desk(world::A).is_some_and(|desk| desk.orders().any(|o| waits(&o)))
        {
            let mut parts = world::deciding_parts(engine);
            parts.iter_mut().filter(|(name, _)| desk_refused && name.starts_with("gate")).for_each(|part| part.1 = 0);
            lived.push((engine.seq().0, parts));
        }
    };
    driver.run(setup.market(Span::from_secs(seconds)), &mut seen).unwrap();
    assert!(world::decisions(driver.log()).filter(|d| matches!(d, Decision::Command(_))).count() > 50);
    let mut fold = Engine::new(setup.registry.clone());
    let mut moments = lived.iter();
    let mut next = moments.next();
    for (at, record) in driver.log().iter().enumerate() {
        fold.fold(record.clone(), &[], false).unwrap();
        let ends = !matches!(driver.log().get(at + 1), Some(Record::Decisions(..)));
        if let Some((seq, parts)) = next
            && fold.seq().0 == *seq
            && ends
        {
            let here = world::deciding_parts(&fold);
            if first_difference(parts, &here).is_some() {
                print_difference(&setup, seconds, &fold);
            }
            assert_eq!(first_difference(parts, &here), None, "seed {seed}, input {seq}: {:?}", driver.log()[at]);
            next = moments.next();
        }
    }
    assert!(next.is_none(), "not every moment was compared");
}

#[test]
fn decisions_whose_input_is_left_out_of_the_journal_are_folded_at_their_own_time() {
    let setup = setup(5);
    let mut driver = setup.driver();
    driver.run(setup.market(Span::from_secs(12)), &mut |_| {}).unwrap();
    let is_market =
        |record: &Record| matches!(record, Record::Input(a) if qcat_core::engine::fold::is_market_data(&a.input));
    let mut fold = Engine::new(setup.registry.clone());
    let (mut left_out, mut late) = (0, 0);
    for record in driver.log().iter().filter(|record| !is_market(record)) {
        let before = fold.seq();
        fold.fold(record.clone(), &[], true).unwrap();
        if let Record::Decisions(seq, at, _) = record {
            left_out += u32::from(*seq != before);
            late += u32::from((fold.seq(), fold.now()) != (*seq, *at));
        }
    }
    assert!(left_out > 20, "decisions from market data: {left_out}");
    assert_eq!(late, 0, "decisions folded at another time than they were made");
    // With whole records such a gap is a hole.
    let mut whole = Engine::new(setup.registry.clone());
    let folded = driver.log().iter().filter(|r| !is_market(r)).try_for_each(|r| whole.fold(r.clone(), &[], false));
    assert!(folded.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_is_folded_equals_what_was_lived(seed in 0u64..10_000) {
        fold_equals_life(seed, 12, 1);
    }

    #[test]
    fn a_crash_at_any_moment_ends_in_agreement(
        seed in 0u64..10_000,
        cuts in prop::collection::vec((prop_oneof![(1u64..400).prop_map(Ok), (0i64..8_000).prop_map(Err)], any::<bool>(), any::<bool>()), 1..3),
    ) {
        crash(seed, &cuts);
    }

    #[test]
    fn a_crash_in_the_middle_of_a_stop_ends_as_the_policy_says(
        seed in 0u64..10_000,
        flatten in any::<bool>(),
        end in prop_oneof![Just(End::Asked), Just(End::GivenUp), Just(End::Blind)],
        // At 0 the word itself would not be in the log.
        after in prop_oneof![1i64..60, 1i64..6_000],
    ) {
        crash_in_a_stop(seed, if flatten { OnStop::Flatten } else { OnStop::Cancel }, end, after);
    }
}

/// Why a strategy's entries are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Asked,
    GivenUp,
    Blind,
}

/// The daemon dies `after` milliseconds behind the word that ends a strategy, and comes back from its log alone.
fn crash_in_a_stop(seed: u64, on_stop: OnStop, end: End, after: i64) {
    let setup = setup(seed);
    let mut config = setup.config();
    config.strategies[0].on_stop = on_stop;
    let strategy = StrategyIx(1);
    let symbol = config.strategies[0].symbols[0];
    let mut driver = setup.driver_with(config);
    let told = world::START.plus(Span::from_millis(4_000 + (seed % 977) as i64));
    let dies = told.plus(Span::from_millis(after));
    driver.deliver(
        told,
        match end {
            End::Asked => Input::Command(OperatorCommand::StopStrategy(strategy)),
            End::GivenUp => Input::GiveUp(strategy),
            End::Blind => Input::Stream(StreamState::MarketDown(symbol, StreamFault::Silent)),
        },
    );
    driver.venue_mut().cut = Cut::Time(dies);
    let mut market = setup.market(Span::from_secs(20)).into_iter();
    for event in market.by_ref() {
        let at = event.exchange_time;
        driver.run([event], &mut |_| {}).unwrap();
        if at >= dies {
            break;
        }
    }
    let log = survivors(&driver, 0, true, Some(dies));
    let engine = Engine::folded(&setup.registry, &log, &[]).unwrap();
    driver.venue_mut().revive();
    let at = driver.engine().now().plus(Span::from_millis(900));
    driver.restart(engine, log, at).unwrap();
    let epoch = driver.engine().epoch();
    driver.run(market, &mut |_| {}).unwrap();
    driver.venue_mut().venue.set_faults(FaultConfig::default());
    let now = driver.engine().now();
    driver.run_until(now.plus(Span::from_secs(240)), &mut |_| {}).unwrap();
    let what = format!("seed {seed}, {on_stop:?}, {end:?}, {after} ms");
    world::assert_agree(&driver, &setup, &what);
    let engine = driver.engine();
    let left: Vec<OrderUpdate> =
        engine.desk(world::A).unwrap().orders().filter(|o| o.strategy == strategy && !o.protective).collect();
    match end {
        End::Blind => assert!(left.iter().all(|o| o.key.ours().unwrap().epoch == epoch), "{what}: {left:#?}"),
        End::Asked | End::GivenUp => assert!(left.is_empty(), "{what}: {left:#?}"),
    }
    if end == End::Asked && on_stop == OnStop::Flatten {
        let open = engine.desk(world::A).unwrap().orders().filter(|o| o.strategy == strategy).count();
        let position = engine.ledger(world::A).unwrap().virtual_position(strategy, symbol);
        assert_eq!((open, position.map_or(0, |p| p.quantity.mantissa())), (0, 0), "{what}");
    }
}

/// What survives of the log: all up to the death; of the input at which a command was not sent, its decisions or not.
fn survivors(driver: &Driver<Mortal>, before: usize, recorded: bool, time: Option<Ts>) -> Vec<Record> {
    let log = driver.log();
    let end = match (driver.venue().dead, time) {
        (_, Some(time)) => log.iter().position(|r| matches!(r, Record::Input(a) if a.at >= time)).unwrap_or(log.len()),
        (Some((_, id)), None) => {
            let here = |r: &Record| matches!(r, Record::Decisions(_, _, ds) if ds.iter().any(|d| matches!(d, Decision::Command(c) if c.id == id)));
            let at = before + log[before..].iter().position(here).unwrap();
            let Record::Decisions(_, _, ds) = &log[at] else { unreachable!() };
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
        for event in market.by_ref() {
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
