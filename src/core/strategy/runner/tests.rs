//! The runner around strategies that do what a test tells them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{OnStop, ParamValue};
use crate::event::{Decision, History, StreamState, TimerId};
use crate::id::ClientOrderId;
use crate::market::MarketEvent;
use crate::num::{NetQuantity, Quantity, Side};
use crate::order::{Intent, OrderIntent, OrderState};
use crate::strategy::testkit::{ACCOUNT, Gate, IX, SYMBOL, World, candle, counter, instrument};
use crate::strategy::{CandleNeed, OrderSpec, ParamError, Params, StrategySpec};
use std::cell::{Cell, RefCell};

type Script = fn(&StrategyEvent<'_>, &mut StrategyContext<'_>);

thread_local! {
    static SCRIPT: Cell<Script> = const { Cell::new(|_, _| {}) };
    /// What strategies were told, in short, with `!` where they could trade.
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Scripted {
    needs: Needs,
}

impl Strategy for Scripted {
    fn needs(&self) -> Needs {
        self.needs.clone()
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        let what = match event {
            StrategyEvent::Start => "start".to_owned(),
            StrategyEvent::Stop => "stop".to_owned(),
            StrategyEvent::Candle { candle, .. } => format!("candle {}", candle.open_time.seconds()),
            StrategyEvent::Quote { .. } => "quote".to_owned(),
            StrategyEvent::Trade { .. } => "trade".to_owned(),
            StrategyEvent::Depth { .. } => "depth".to_owned(),
            StrategyEvent::Mark { .. } => "mark".to_owned(),
            StrategyEvent::Order(_) => "order".to_owned(),
            StrategyEvent::Fill(_) => "fill".to_owned(),
            StrategyEvent::Position(p) => format!("position {}", p.quantity.mantissa()),
            StrategyEvent::Refused(_) => "refused".to_owned(),
            StrategyEvent::Timer(key) => format!("timer {key}"),
        };
        let may = if ctx.can_trade() { "!" } else { "" };
        TOLD.with_borrow_mut(|told| told.push(format!("{what}{may}")));
        SCRIPT.get()(event, ctx);
    }
}

fn quotes(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    Ok(Box::new(Scripted { needs: Needs { quotes: true, ..Needs::default() } }))
}

fn candles(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    let candles = vec![CandleNeed { interval: Span::from_secs(1), warm_up: 3 }];
    Ok(Box::new(Scripted { needs: Needs { candles, ..Needs::default() } }))
}

fn registry() -> Registry {
    let mut registry = Registry::builtin();
    for (name, factory) in [("quotes", quotes as crate::strategy::registry::Factory), ("candles", candles)] {
        registry.register(StrategySpec { name, doc: "For tests.", params: &[], factory }).unwrap();
    }
    registry
}

fn world(kind: &str, on_stop: OnStop, script: Script) -> World {
    SCRIPT.set(script);
    told();
    World::started(registry(), kind, &[], on_stop)
}

fn told() -> Vec<String> {
    TOLD.with_borrow_mut(std::mem::take)
}

/// One thousandth of a coin times `n`.
fn lots(n: i64) -> Quantity {
    instrument().parse_quantity(&format!("0.{n:03}")).unwrap()
}

fn buy_once(event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
    if matches!(event, StrategyEvent::Quote { .. }) && ctx.orders().is_empty() && ctx.position(SYMBOL).is_zero() {
        ctx.market_order(SYMBOL, Side::Buy, lots(10));
    }
}

fn rest_once(event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
    if let StrategyEvent::Quote { quote, .. } = event
        && ctx.orders().is_empty()
    {
        ctx.limit(SYMBOL, Side::Buy, instrument().offset(quote.bid, -100), lots(10));
        let trigger = instrument().offset(quote.bid, -1000);
        ctx.stop(SYMBOL, Side::Sell, trigger, lots(10));
    }
}

#[test]
fn it_runs_when_reconciled_and_the_market_speaks_and_tells_each_change_once() {
    let mut world = world("quotes", OnStop::Cancel, |_, _| {});
    let untrusted = RunnerState::Paused(PauseReason::Untrusted);
    // Before the first input it is not trusted; after the start it waits for the market.
    assert_eq!(world.states, [untrusted, RunnerState::WarmingUp]);
    world.quote(100.0);
    world.quote(101.0);
    assert_eq!(world.states, [untrusted, RunnerState::WarmingUp, RunnerState::Running]);
    assert_eq!(told(), ["start", "quote!", "quote!"]);
}

#[test]
fn every_cause_of_a_pause_holds_and_goes_on_its_own() {
    let fault = StreamFault::Gap;
    let down = Event::Input(Input::Stream(StreamState::MarketDown(SYMBOL, fault)));
    let up = Event::Input(Input::Stream(StreamState::MarketUp(SYMBOL)));
    let reason = HaltReason::KillSwitch;
    let halt = |scope| Event::Halted { scope, reason };
    let cases = [
        (down, up, PauseReason::Stream(fault)),
        (Event::Untrusted(ACCOUNT), Event::Reconciled(ACCOUNT), PauseReason::Untrusted),
        (halt(Scope::All), Event::Resumed { scope: Scope::All }, PauseReason::Halt(reason)),
        (halt(Scope::Symbol(SYMBOL)), Event::Resumed { scope: Scope::Symbol(SYMBOL) }, PauseReason::Halt(reason)),
        (halt(Scope::Strategy(IX)), Event::Resumed { scope: Scope::Strategy(IX) }, PauseReason::Halt(reason)),
    ];
    for (pause, resume, why) in cases {
        let mut world = world("quotes", OnStop::Cancel, buy_once);
        world.quote(100.0);
        world.take_intents();
        world.event(pause);
        assert_eq!(world.states.last(), Some(&RunnerState::Paused(why)));
        told();
        world.position = 0;
        world.quote(102.0);
        assert_eq!(told(), ["quote"], "told, but not allowed to trade");
        assert_eq!(world.take_intents(), []);
        world.event(resume);
        assert_eq!(world.states.last(), Some(&RunnerState::Running), "{why:?}");
    }
}

#[test]
fn halts_of_others_do_not_concern_it_and_two_halts_need_two_resumes() {
    let mut world = world("quotes", OnStop::Cancel, |_, _| {});
    world.quote(100.0);
    let reason = HaltReason::DailyLoss;
    for scope in [Scope::Strategy(StrategyIx(2)), Scope::Symbol(SymbolIx(9)), Scope::Account(crate::id::AccountIx(9))] {
        world.event(Event::Halted { scope, reason });
        assert_eq!(world.runner.state(), RunnerState::Running, "{scope:?}");
    }
    world.event(Event::Halted { scope: Scope::All, reason });
    world.event(Event::Halted { scope: Scope::Account(ACCOUNT), reason });
    world.event(Event::Resumed { scope: Scope::All });
    assert_eq!(world.runner.state(), RunnerState::Paused(PauseReason::Halt(reason)));
    world.event(Event::Resumed { scope: Scope::Account(ACCOUNT) });
    assert_eq!(world.runner.state(), RunnerState::Running);
}

#[test]
fn a_slow_strategy_rests_for_longer_each_time() {
    let mut world = world("quotes", OnStop::Cancel, |_, _| {});
    world.quote(100.0);
    for pause in [1, 2, 4] {
        world.input(Input::SlowStep { strategy: IX, nanos: 9_000_000 });
        assert_eq!(world.runner.state(), RunnerState::Paused(PauseReason::SlowStep));
        world.pass(Span::from_millis(pause * 1000 - 1));
        assert_eq!(world.runner.state(), RunnerState::Paused(PauseReason::SlowStep), "{pause} s");
        world.pass(Span::from_millis(1));
        assert_eq!(world.runner.state(), RunnerState::Running, "{pause} s");
    }
}

#[test]
fn it_is_warm_after_enough_candles_past_or_live_and_may_only_watch_past_ones() {
    let mut world = world("candles", OnStop::Cancel, |event, ctx| {
        if matches!(event, StrategyEvent::Candle { .. }) {
            ctx.market_order(SYMBOL, Side::Buy, lots(10));
        }
    });
    world.market(MarketEvent::Candle(Box::new(candle(998, 100.0))));
    assert_eq!(told(), ["start", "candle 998"]);
    // History from before: a fresh instance sees everything in order.
    world.input(Input::History(History { symbol: SYMBOL, candles: [996, 997].map(|s| candle(s, 100.0)).to_vec() }));
    assert_eq!(told(), ["start", "candle 996", "candle 997", "candle 998"]);
    assert_eq!((world.runner.state(), world.take_intents()), (RunnerState::Running, vec![]));
    world.market(MarketEvent::Candle(Box::new(candle(999, 100.0))));
    assert_eq!((told()[0].as_str(), world.take_orders().len()), ("candle 999!", 1));
    // History that fills what was missed meanwhile: told once each, only to watch.
    let candles = [998, 999, 1000].map(|s| candle(s, 100.0)).to_vec();
    world.input(Input::History(History { symbol: SYMBOL, candles }));
    assert_eq!((told(), world.take_intents()), (vec!["candle 1000".to_owned()], vec![]));
}

#[test]
fn what_a_lost_stream_left_out_is_filled_in_though_later_candles_were_told() {
    let mut world = world("candles", OnStop::Cancel, |_, _| {});
    for second in [996, 997, 998, 1001] {
        world.market(MarketEvent::Candle(Box::new(candle(second, 100.0))));
    }
    assert_eq!(told().last().map(String::as_str), Some("candle 1001!"));
    let past = |seconds: &[i64]| {
        let candles = seconds.iter().map(|s| candle(*s, 100.0)).collect();
        Input::History(History { symbol: SYMBOL, candles })
    };
    world.input(past(&[998, 1001]));
    assert!(told().is_empty(), "nothing new");
    world.input(past(&[998, 999, 1000, 1001]));
    let told = told();
    assert!(told.ends_with(&["candle 999".to_owned(), "candle 1000".to_owned(), "candle 1001".to_owned()]), "{told:?}");
    assert_eq!((told[0].as_str(), world.runner.state()), ("start", RunnerState::Running));
}

#[test]
fn candles_come_from_trades_and_close_without_a_later_one_when_time_passes() {
    let mut world = world("candles", OnStop::Cancel, |_, _| {});
    for _ in 0..4 {
        world.trade(100.0);
        world.pass(Span::from_secs(1));
    }
    // The first interval was perhaps not seen from its beginning.
    assert_eq!(told(), ["start", "candle 1001", "candle 1002"]);
    world.pass(Span::from_millis(500));
    world.quote(100.0);
    assert_eq!(told(), ["candle 1003!"]);
    assert_eq!(world.runner.state(), RunnerState::Running);
}

#[test]
fn only_what_it_asked_for_is_told() {
    let mut world = world("candles", OnStop::Cancel, |_, _| {});
    world.quote(100.0);
    world.market(MarketEvent::BookGap);
    world.trade(100.0);
    assert_eq!(told(), ["start"]);
}

#[test]
fn a_quote_is_told_once_though_book_and_quote_stream_both_bring_it() {
    let mut world = world("quotes", OnStop::Cancel, |_, _| {});
    world.quote(100.0);
    world.quote(100.0);
    world.market(MarketEvent::BookGap);
    assert_eq!(told(), ["start", "quote!"]);
}

#[test]
fn an_answer_to_a_refusal_leaves_with_the_next_input() {
    let mut world = world("quotes", OnStop::Cancel, |event, ctx| match event {
        StrategyEvent::Quote { .. } if ctx.orders().is_empty() => {
            ctx.market_order(SYMBOL, Side::Buy, lots(10));
        }
        StrategyEvent::Refused(_) => {
            ctx.market_order(SYMBOL, Side::Buy, lots(5));
            let other = ctx.market_order(SYMBOL, Side::Sell, lots(5)).unwrap();
            assert!(ctx.cancel(crate::id::OrderKey::Ours(other)), "what has not left is taken back");
        }
        _ => {}
    });
    world.gate = Gate::Refuse;
    world.quote(100.0);
    assert_eq!(told(), ["start", "quote!", "refused!"]);
    assert_eq!(world.take_orders().len(), 1, "the answer waits");
    world.gate = Gate::Swallow;
    world.quote(101.0);
    let orders = world.take_orders();
    assert_eq!(orders.iter().map(|o| o.quantity).collect::<Vec<_>>(), [lots(5)]);
}

#[test]
fn a_held_entry_does_not_leave_into_a_pause() {
    let mut world = world("quotes", OnStop::Cancel, |event, ctx| {
        if matches!(event, StrategyEvent::Quote { .. } | StrategyEvent::Refused(_)) && ctx.orders().is_empty() {
            ctx.market_order(SYMBOL, Side::Buy, lots(10));
        }
    });
    world.gate = Gate::Refuse;
    world.quote(100.0);
    assert_eq!(world.take_orders().len(), 1);
    world.event(Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch });
    world.quote(101.0);
    assert_eq!(world.take_intents(), []);
    assert!(world.runner.state.own.orders().is_empty(), "it never happened");
}

#[test]
fn a_rebuilt_strategy_keeps_counter_position_and_open_orders() {
    let mut world = world("quotes", OnStop::Cancel, buy_once);
    world.quote(100.0);
    assert_eq!(world.take_orders().iter().map(|o| counter(o.id)).collect::<Vec<_>>(), [1]);
    assert_eq!(world.position, lots(10).mantissa());
    world.fault();
    assert_eq!(world.states.last(), Some(&RunnerState::Faulted));
    told();
    world.quote(101.0);
    assert_eq!(told(), [""; 0], "nothing is asked of a faulted strategy");
    SCRIPT.set(|event, ctx| {
        if matches!(event, StrategyEvent::Quote { .. }) {
            assert_eq!(ctx.position(SYMBOL), NetQuantity::from_mantissa(lots(10).mantissa()));
            assert!((ctx.average_entry(SYMBOL).unwrap() - 100.1).abs() < 1e-9);
            ctx.limit(SYMBOL, Side::Buy, instrument().parse_price("50").unwrap(), lots(10));
        }
    });
    world.input(Input::Rebuild(Station::Runner(IX)));
    world.quote(102.0);
    assert_eq!(told()[..2], ["start", "quote!"]);
    assert_eq!(world.take_orders().iter().map(|o| counter(o.id)).collect::<Vec<_>>(), [2], "no id twice");
    assert_eq!(world.runner.state.own.orders().len(), 1);
}

#[test]
fn orders_of_the_step_that_panicked_are_forgotten_and_entries_cancelled() {
    let mut world = world("quotes", OnStop::Cancel, rest_once);
    world.quote(100.0);
    let placed = world.take_orders();
    // The gate never saw this one: it was half-made output.
    world.gate = Gate::Swallow;
    SCRIPT.set(|_, ctx| {
        ctx.market_order(SYMBOL, Side::Buy, lots(10));
    });
    world.quote(101.0);
    world.gate = Gate::Pass;
    world.take_intents();
    world.fault();
    assert_eq!(world.take_intents(), [cancel(&placed[0])]);
    let left: Vec<_> = world.runner.state.own.orders().iter().map(|o| o.id().unwrap()).collect();
    assert_eq!(left, [placed[1].id], "the stop goes on protecting");
}

fn cancel(order: &OrderIntent) -> Intent {
    let key = crate::id::OrderKey::Ours(order.id);
    Intent::Cancel { account: ACCOUNT, strategy: IX, symbol: SYMBOL, key }
}

#[test]
fn after_the_last_restart_entries_are_cancelled_and_a_person_is_told() {
    let mut world = world("quotes", OnStop::Leave, rest_once);
    world.quote(100.0);
    let placed = world.take_orders();
    world.fault();
    assert_eq!(world.take_intents(), [], "Leave: nothing at the fault itself");
    world.input(Input::GiveUp(IX));
    assert_eq!(world.states.last(), Some(&RunnerState::Stopped(StopReason::Faults)));
    assert_eq!(world.take_intents(), [cancel(&placed[0])]);
    assert_eq!(world.alerts.last().map(|a| a.code), Some(AlertCode::StrategyStopped));
    world.input(Input::Rebuild(Station::Runner(IX)));
    world.quote(101.0);
    assert_eq!(world.runner.state(), RunnerState::Stopped(StopReason::Faults), "a late rebuild does not wake it");
    world.input(Input::Command(OperatorCommand::StartStrategy(IX)));
    assert_eq!(world.runner.state(), RunnerState::Running);
}

#[test]
fn a_stop_leaves_cancels_or_flattens_as_configured() {
    for on_stop in [OnStop::Leave, OnStop::Cancel, OnStop::Flatten] {
        let mut world = world("quotes", on_stop, buy_once);
        world.quote(100.0);
        SCRIPT.set(rest_once);
        world.quote(101.0);
        let placed = world.take_orders();
        told();
        world.input(Input::Command(OperatorCommand::StopStrategy(IX)));
        assert_eq!((told(), world.runner.state()), (vec!["stop".to_owned()], RunnerState::Stopped(StopReason::Asked)));
        let entry = cancel(&placed[1]);
        let all = Intent::CancelAll { account: ACCOUNT, strategy: IX, symbol: None };
        let expected = match on_stop {
            OnStop::Leave => vec![],
            OnStop::Cancel => vec![entry],
            OnStop::Flatten => vec![all],
        };
        assert_eq!(world.take_intents(), expected);
        world.pass(Span::from_secs(60));
        let flat = world.position == 0;
        assert_eq!(flat, on_stop == OnStop::Flatten, "{on_stop:?}");
        if flat {
            let close = world.take_orders();
            assert_eq!(close.len(), 1);
            assert!(close[0].reduce_only && close[0].side == Side::Sell && close[0].quantity == lots(10));
            assert_eq!(world.timers.len(), 0, "nothing is left to do");
        }
    }
}

#[test]
fn flattening_is_tried_again_until_it_succeeds_but_not_in_a_hurry() {
    let mut world = world("quotes", OnStop::Flatten, buy_once);
    world.quote(100.0);
    world.take_intents();
    world.gate = Gate::Refuse;
    world.input(Input::Command(OperatorCommand::StopStrategy(IX)));
    world.pass(Span::from_secs(120));
    let tried = world.take_orders().len();
    assert!((4..=10).contains(&tried), "{tried} attempts in two minutes");
    world.gate = Gate::Pass;
    world.pass(Span::from_secs(60));
    assert_eq!(world.position, 0);
    let done = world.take_orders().len();
    world.pass(Span::from_secs(600));
    assert_eq!((done, world.take_orders().len()), (1, 0));
}

#[test]
fn a_stream_that_is_down_costs_the_entries_but_not_the_stop() {
    let mut world = world("quotes", OnStop::Flatten, rest_once);
    world.quote(100.0);
    let placed = world.take_orders();
    world.input(Input::Stream(StreamState::MarketDown(SYMBOL, StreamFault::Silent)));
    assert_eq!(world.take_intents(), [cancel(&placed[0])]);
}

#[test]
fn flattening_takes_the_exchanges_bounds_and_ends_at_what_no_order_can_close() {
    let stop = || Input::Command(OperatorCommand::StopStrategy(IX));
    let sizes = |world: &mut World| world.take_orders().iter().map(|o| o.quantity).collect::<Vec<_>>();
    let stopped = |gate| {
        let mut world = world("quotes", OnStop::Flatten, buy_once);
        world.quote(100.0);
        world.take_intents();
        world.gate = gate;
        world
    };
    // In parts that one market order takes.
    let mut world = stopped(Gate::Pass);
    world.redefine(|instrument| instrument.filters.market_lot.max = lots(4));
    world.input(stop());
    world.pass(Span::from_secs(60));
    assert_eq!((sizes(&mut world), world.position), (vec![lots(4), lots(4), lots(2)], 0));
    // What the account covers first; the rest when that is filled.
    let mut world = stopped(Gate::Covers(lots(6)));
    world.input(stop());
    world.pass(Span::from_secs(60));
    assert_eq!((sizes(&mut world), world.position), (vec![lots(10), lots(6), lots(4)], 0));
    // What is too small stays, is told, and nothing goes on.
    let mut world = stopped(Gate::Dust);
    world.input(stop());
    world.pass(Span::from_secs(600));
    assert_eq!((sizes(&mut world), world.timers.len()), (vec![lots(10)], 0));
    assert_eq!(world.alerts.last().map(|a| a.code), Some(AlertCode::StrategyStopped));
}

/// A conditional order that opens a position is an entry, wherever entries are cancelled; what closes stays.
#[test]
fn a_waiting_breakout_goes_with_the_entries() {
    let breakout: Script = |event, ctx| {
        if let StrategyEvent::Quote { quote, .. } = event
            && ctx.orders().is_empty()
        {
            let trigger = instrument().offset(quote.ask, 1000);
            let stop = OrderSpec::stop(SYMBOL, Side::Buy, trigger, lots(10));
            ctx.place(OrderSpec { reduce_only: false, ..stop });
            let mut close = OrderSpec::stop(SYMBOL, Side::Sell, instrument().offset(quote.bid, -1000), Quantity::ZERO);
            if let crate::order::Terms::Conditional(terms) = &mut close.terms {
                terms.close_position = true;
            }
            ctx.place(OrderSpec { reduce_only: false, ..close });
        }
    };
    let down = Input::Stream(StreamState::MarketDown(SYMBOL, StreamFault::Silent));
    let stop = Input::Command(OperatorCommand::StopStrategy(IX));
    for end in [Some(down), Some(stop), Some(Input::GiveUp(IX)), None] {
        let mut world = world("quotes", OnStop::Cancel, breakout);
        world.quote(100.0);
        let placed = world.take_orders();
        assert_eq!(placed.len(), 2);
        match end {
            Some(input) => world.input(input),
            None => world.fault(),
        }
        assert_eq!(world.take_intents(), [cancel(&placed[0])]);
    }
}

#[test]
fn what_exceeds_the_bound_of_a_step_is_dropped_and_told() {
    let mut world = world("quotes", OnStop::Cancel, |event, ctx| {
        if matches!(event, StrategyEvent::Quote { .. }) {
            for _ in 0..40 {
                ctx.limit(SYMBOL, Side::Buy, instrument().parse_price("50").unwrap(), lots(10));
            }
        }
    });
    world.quote(100.0);
    assert_eq!(world.take_orders().len(), 32);
    assert_eq!(world.alerts.iter().map(|a| a.code).collect::<Vec<_>>(), [AlertCode::Overrun]);
    world.quote(101.0);
    assert_eq!(world.take_orders().len(), 32, "the next step starts anew");
}

#[test]
fn timers_reach_the_instance_that_armed_them_only() {
    let mut world = world("quotes", OnStop::Cancel, |event, ctx| {
        if matches!(event, StrategyEvent::Quote { .. }) {
            let at = ctx.now().plus(Span::from_secs(1));
            ctx.arm(5, at);
            ctx.arm(6, at);
            ctx.disarm(6);
        }
    });
    world.quote(100.0);
    world.pass(Span::from_secs(1));
    assert_eq!(told(), ["start", "quote!", "timer 5!"]);
    world.quote(101.0);
    world.input(Input::Rebuild(Station::Runner(IX)));
    world.input(Input::Timer(TimerId { station: Station::Runner(IX), key: 5 }));
    world.pass(Span::from_secs(5));
    assert_eq!(told(), ["quote!", "start"], "a timer of the earlier instance");
}

#[test]
fn ids_start_anew_with_the_epoch_and_recorded_ones_are_never_given_again() {
    let mut world = world("quotes", OnStop::Cancel, |event, ctx| {
        if matches!(event, StrategyEvent::Quote { .. }) {
            ctx.limit(SYMBOL, Side::Buy, instrument().parse_price("50").unwrap(), lots(10));
        }
    });
    world.quote(100.0);
    let id = |counter| ClientOrderId { epoch: 7, account: ACCOUNT, strategy: IX, counter };
    assert_eq!(world.take_orders()[0].id, id(1));
    world.runner.state.own.used(id(8));
    world.runner.state.own.used(id(0x8000_0001));
    world.quote(101.0);
    assert_eq!(world.take_orders()[0].id, id(9), "those of the desk do not count");
    world.epoch = 8;
    world.quote(102.0);
    assert_eq!(world.take_orders()[0].id, ClientOrderId { epoch: 8, ..id(1) });
}

#[test]
fn wrong_parameters_stop_it_with_a_reason_and_a_new_configuration_starts_it() {
    let bad = [("fast_periods", ParamValue::Int(90))];
    let mut world = World::started(registry(), "trend_follower", &bad, OnStop::Cancel);
    assert_eq!(world.runner.state(), RunnerState::Stopped(StopReason::Invalid));
    let text = &world.alerts[0].text;
    assert!(text.contains("`fast_periods`: 90") && text.contains("below slow_periods"), "{text}");
    world.config.strategies[0].params.clear();
    world.input(Input::Configuration(Box::new(world.config.clone())));
    assert_eq!(world.runner.state(), RunnerState::WarmingUp);
}

#[test]
fn a_snapshot_holds_everything() {
    let mut world = world("quotes", OnStop::Cancel, rest_once);
    world.quote(100.0);
    world.trade(100.0);
    let mut twin = World::new(registry(), "quotes", &[], OnStop::Cancel).runner;
    assert_ne!(twin.state_hash(), world.runner.state_hash());
    twin.restore(&world.runner.snapshot()).unwrap();
    // This strategy gives no snapshot: it starts fresh, everything else is as it was.
    assert!(!twin.state.begun);
    twin.state.begun = true;
    assert_eq!(twin.state_hash(), world.runner.state_hash());
    assert!(twin.restore(b"\xff\xff").is_err());
}

#[test]
fn a_stop_by_a_person_outlives_a_crash() {
    let mut world = World::new(registry(), "quotes", &[], OnStop::Cancel);
    let state = RunnerState::Stopped(StopReason::Asked);
    let decision = Decision::Runner { strategy: IX, state };
    let (universe, markets) = (crate::strategy::testkit::universe(), crate::book::Markets::default());
    let commands = Cell::new(0);
    let context = Context {
        now: Ts::ZERO,
        seq: crate::id::Seq(1),
        epoch: 7,
        markets: &markets,
        universe: &universe,
        config: &world.config,
        commands: &commands,
    };
    world.runner.fold(&decision, &context);
    world.runner.fold(&decision, &context);
    world.input(Input::Configuration(Box::new(world.config.clone())));
    world.input(Input::Start { epoch: 8 });
    world.event(Event::Reconciled(ACCOUNT));
    world.quote(100.0);
    assert_eq!(world.runner.state(), state);
}

#[test]
fn a_stop_with_the_daemon_ends_with_the_next_start_and_one_by_a_person_does_not() {
    for (before, expected) in [(false, RunnerState::Running), (true, RunnerState::Stopped(StopReason::Asked))] {
        let mut world = World::started(registry(), "quotes", &[], OnStop::Cancel);
        world.quote(100.0);
        if before {
            world.input(Input::Command(OperatorCommand::StopStrategy(IX)));
        }
        world.event(Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch });
        world.event(Event::Halted { scope: Scope::All, reason: HaltReason::Stopping });
        world.input(Input::Command(OperatorCommand::StopStrategy(IX)));
        assert!(matches!(world.runner.state(), RunnerState::Stopped(_)));
        world.input(Input::Start { epoch: 8 });
        world.event(Event::Resumed { scope: Scope::All });
        world.event(Event::Reconciled(ACCOUNT));
        world.quote(101.0);
        assert_eq!(world.runner.state(), expected);
    }
}

#[test]
fn an_order_is_listed_from_the_moment_it_is_placed_and_cancelled_once() {
    let mut world = world("quotes", OnStop::Cancel, |event, ctx| {
        if matches!(event, StrategyEvent::Quote { .. }) {
            if ctx.orders().is_empty() {
                let price = instrument().parse_price("50").unwrap();
                ctx.place(OrderSpec::limit(SYMBOL, Side::Buy, price, lots(10)));
                assert_eq!(ctx.orders().first().unwrap().update.state, OrderState::InFlight);
            } else {
                let key = ctx.orders().first().unwrap().update.key;
                ctx.cancel(key);
                ctx.cancel(key);
            }
        }
    });
    world.quote(100.0);
    world.take_intents();
    world.gate = Gate::Swallow;
    world.quote(101.0);
    world.quote(102.0);
    assert_eq!(world.take_intents().len(), 1, "its outcome is waited for");
    world.pass(Span::from_secs(5));
    world.quote(103.0);
    assert_eq!(world.take_intents().len(), 1, "but not for ever");
}
