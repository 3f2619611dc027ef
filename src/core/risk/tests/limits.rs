//! Every limit: passed at its bound, refused one step beyond. And what passes when nothing else does.

use super::world::*;
use crate::event::{AlertCode, Budget, Event, HaltReason, Input, Scope, StreamFault, StreamState};
use crate::id::{AccountIx, StrategyIx, SymbolIx};
use crate::instrument::ContractStatus;
use crate::market::{MarketEvent, Quote};
use crate::num::{Money, Price, Side};
use crate::order::{Conditional, End, Intent, OrderIntent, OrderState, Terms, TimeInForce, Trigger, WorkingType};
use crate::time::{Span, Ts};

/// Codes of single orders, each in a fresh world.
fn one(side: Side, thousandths: i64, terms: Terms) -> &'static str {
    let mut world = World::new();
    let order = world.order(1, side, thousandths, terms);
    world.code(order)
}

fn stop(trigger_cents: i64, limit_cents: Option<i64>) -> Terms {
    Terms::Conditional(Conditional {
        trigger: Trigger::Stop,
        trigger_price: price(trigger_cents),
        working_type: WorkingType::MarkPrice,
        limit: limit_cents.map(|cents| (price(cents), TimeInForce::Gtc)),
        close_position: false,
        price_protect: false,
    })
}

#[test]
fn filters_hold_at_their_bounds() {
    for (thousandths, terms, expected) in [
        (2_000, limit(10_010), "sent"),
        (2_000, limit(10_005), "price_filter"),
        (2_000, limit(990), "price_filter"),
        (2_000, limit(100_010), "price_filter"),
        (200, limit(10_000), "sent"),
        (201, limit(10_000), "lot_filter"),
        // Market lots are coarser.
        (202, Terms::Market, "lot_filter"),
        (204, Terms::Market, "sent"),
        // 10 dollars at least.
        (100, limit(10_000), "sent"),
        (98, limit(10_000), "min_notional"),
        (100, Terms::Market, "sent"),
        (96, Terms::Market, "min_notional"),
        (100_002, limit(10_000), "lot_filter"),
        (50_004, Terms::Market, "lot_filter"),
        // Triggers are prices too, and must not have been passed.
        (200, stop(10_205, None), "price_filter"),
        (200, stop(10_010, None), "sent"),
        (200, stop(10_000, None), "would_trigger"),
        (200, stop(9_990, None), "would_trigger"),
        (200, stop(10_010, Some(10_015)), "price_filter"),
        (202, stop(10_010, Some(10_020)), "sent"),
        (202, stop(10_010, None), "lot_filter"),
    ] {
        assert_eq!(one(Side::Buy, thousandths, terms), expected, "{thousandths} {terms:?}");
    }
    assert_eq!(one(Side::Sell, 200, stop(9_990, None)), "sent");
    assert_eq!(one(Side::Sell, 200, stop(10_000, None)), "would_trigger");
}

#[test]
fn prices_stay_near_the_reference() {
    // Our band is 5 %; the exchange's 10 %, upwards for buys and downwards for sells.
    for (side, cents, expected) in [
        (Side::Buy, 10_500, "sent"),
        (Side::Buy, 10_510, "price_band"),
        (Side::Buy, 9_500, "sent"),
        (Side::Buy, 9_490, "price_band"),
        (Side::Buy, 11_010, "percent_price"),
        (Side::Sell, 8_990, "percent_price"),
        (Side::Sell, 9_490, "price_band"),
        (Side::Sell, 10_510, "price_band"),
    ] {
        assert_eq!(one(side, 200, limit(cents)), expected, "{side:?} {cents}");
    }
    // A conditional order's limit price is judged around its trigger.
    assert_eq!(one(Side::Buy, 200, stop(12_000, Some(12_600))), "sent");
    assert_eq!(one(Side::Buy, 200, stop(12_000, Some(12_610))), "price_band");
    // The exchange's bounds hold for reductions, ours does not.
    for (cents, expected) in [(9_000, "sent"), (8_990, "percent_price"), (12_000, "sent")] {
        let mut world = World::new();
        world.position(3, OWN, 1_000);
        let order = world.order(3, Side::Sell, 200, limit(cents));
        assert_eq!(world.code(OrderIntent { reduce_only: true, ..order }), expected, "{cents}");
    }
}

#[test]
fn without_a_price_nothing_adds_risk() {
    let mut world = World::new();
    world.env.markets = Default::default();
    assert_eq!(world.buy(1, 200), "no_reference_price");
    world.position(1, SHARED, 1_000);
    let order = world.order(1, Side::Sell, 200, Terms::Market);
    assert_eq!(world.code(OrderIntent { reduce_only: true, ..order }), "sent");
}

/// A price that nobody has renewed for long is none: a mute stream, or a snapshot from before a long pause.
#[test]
fn an_old_price_judges_no_new_risk() {
    let mut world = World::new();
    world.position(3, OWN, 1_000);
    let age = world.env.limits().reference_age_max;
    let resting = world.order(3, Side::Buy, 200, limit(10_000));
    world.place(resting).expect("fresh");
    world.env.now = world.env.now.plus(age);
    assert_eq!(world.buy(3, 200), "sent", "at the bound");
    world.env.now = world.env.now.plus(Span::from_nanos(1));
    assert_eq!(world.buy(3, 200), "no_reference_price");
    let (strategy, symbol, id) = (StrategyIx(3), OWN, resting.id);
    let modify = Intent::Modify { strategy, symbol, id, price: price(10_010), quantity: quantity(200) };
    assert_eq!(world.ask(modify).expect_err("it moves the order").code(), "no_reference_price");
    let exit = OrderIntent { reduce_only: true, ..world.order(3, Side::Sell, 200, Terms::Market) };
    assert_eq!(world.code(exit), "sent", "an exit needs no price");
    // Somebody else's order is bound as well, whatever is told of streams.
    let external = world.order(0, Side::Buy, 200, limit(10_000));
    assert_eq!(world.code(external), "no_reference_price");
    // The quote's time counts too: where there are no marks, or none any more.
    let (bid, ask) = (price(9_890), price(9_910));
    let (bid_quantity, ask_quantity) = (quantity(1), quantity(1));
    world.env.market(OWN, MarketEvent::Quote(Quote { update_id: 2, bid, bid_quantity, ask, ask_quantity }));
    assert_eq!(world.buy(3, 200), "sent");
    let near = world.order(3, Side::Buy, 200, limit(9_410));
    assert_eq!(world.code(near), "sent", "the band is around the quote, not around the old mark");
}

#[test]
fn an_order_is_held_at_its_worst_price() {
    let mut world = World::new();
    let mut held = |side, terms| {
        let order = world.order(1, side, 200, terms);
        world.place(order).expect("within limits").held_price.mantissa()
    };
    assert_eq!(held(Side::Buy, limit(10_200)), 10_200);
    assert_eq!(held(Side::Buy, limit(9_900)), 10_000, "what fills is a position at the mark price");
    assert_eq!(held(Side::Sell, limit(10_200)), 10_200);
    assert_eq!(held(Side::Buy, Terms::Market), 10_211, "ask and 2 %, rounded up");
    assert_eq!(held(Side::Sell, Terms::Market), 10_000);
    assert_eq!(held(Side::Buy, stop(11_000, None)), 11_220);
    assert_eq!(held(Side::Buy, stop(11_000, Some(11_100))), 11_100);
}

#[test]
fn the_order_notional_has_a_limit() {
    assert_eq!(one(Side::Buy, 50_000, limit(10_000)), "sent");
    assert_eq!(one(Side::Buy, 50_002, limit(10_000)), "order_notional");
    assert_eq!(one(Side::Sell, 50_002, limit(10_000)), "order_notional");
}

#[test]
fn the_position_notional_counts_position_and_orders_of_the_worse_side() {
    let mut world = World::new();
    world.position(1, SHARED, 20_000);
    assert_eq!(world.buy(1, 30_000), "sent");
    assert_eq!(world.buy(2, 10_002), "position_notional");
    assert_eq!(world.buy(2, 10_000), "sent");
    assert_eq!(world.buy(2, 200), "position_notional");
    // Sells first close the 20, then go 60 short: together 80.
    let mut sell = |thousandths| {
        let order = world.order(2, Side::Sell, thousandths, limit(10_000));
        world.code(order)
    };
    assert_eq!((sell(40_000), sell(40_002), sell(40_000)), ("sent", "position_notional", "sent"));
}

#[test]
fn a_position_over_its_limit_can_be_brought_down() {
    let mut world = World::new();
    world.position(1, SHARED, 70_000);
    assert_eq!(world.buy(1, 200), "position_notional");
    let order = world.order(1, Side::Sell, 10_000, limit(10_000));
    assert_eq!(world.code(order), "sent");
}

#[test]
fn exposure_budget_and_leverage_bound_the_whole_account() {
    for (exposure, budget, equity_now, beyond) in [
        (8_000, 9_000, 10_000, "exposure"),
        (9_000, 8_000, 10_000, "budget_exposure"),
        (9_000, 9_000, 1_600, "leverage"),
    ] {
        let mut world = World::new();
        world.env.limits().exposure_max = Money::units(USDT, exposure);
        world.budget(2, budget);
        world.tell(&Event::Equity(equity(equity_now, 0)));
        world.position(3, OWN, -40_000);
        assert_eq!(world.buy(1, 40_002), beyond);
        assert_eq!(world.buy(1, 40_000), "sent");
        assert_eq!(world.buy(1, 200), beyond);
    }
}

#[test]
fn a_position_without_a_price_counts_at_its_cost() {
    let mut world = World::new();
    world.position(3, OWN, -40_000);
    world.tell(&told(3, OWN, -40_000, -40_000));
    world.env.markets = Default::default();
    world.env.mark(SHARED, 10_000);
    assert_eq!(world.buy(1, 40_002), "exposure");
    assert_eq!(world.buy(1, 40_000), "sent");
}

#[test]
fn no_leverage_without_equity() {
    let mut world = World::new();
    world.gate.state.equity = None;
    assert_eq!(world.buy(1, 200), "no_equity");
    world.tell(&Event::Equity(equity(-5, 0)));
    assert_eq!(world.buy(1, 200), "leverage");
}

#[test]
fn the_order_rate_is_a_sliding_window_over_places_and_modifications() {
    let mut world = World::new();
    world.env.limits().order_rate_max = 3;
    let first = world.order(3, Side::Buy, 200, limit(10_000));
    assert_eq!(world.code(first), "sent");
    world.env.now = world.env.now.plus(Span::from_secs(4));
    assert_eq!(world.buy(1, 200), "sent");
    let (strategy, symbol, id) = (StrategyIx(3), OWN, first.id);
    let modify = Intent::Modify { strategy, symbol, id, price: price(10_010), quantity: quantity(200) };
    assert!(world.ask(modify).is_ok());
    assert_eq!(world.buy(1, 200), "order_rate");
    assert_eq!(world.ask(modify).expect_err("the window is full").code(), "order_rate");
    // Reductions count, but are not bound: what quotes too much must not stand in the way of another's stop.
    world.position(3, OWN, 1_000);
    let order = world.order(3, Side::Sell, 200, limit(10_000));
    assert_eq!(world.code(OrderIntent { reduce_only: true, ..order }), "sent");
    world.env.now = world.env.now.plus(Span::from_secs(6));
    assert_eq!(world.buy(1, 200), "order_rate", "three of the last ten seconds: a place, a modification, an exit");
    world.env.now = world.env.now.plus(Span::from_nanos(3_999_999_999));
    assert_eq!(world.buy(1, 200), "order_rate");
    world.env.now = world.env.now.plus(Span::from_nanos(1));
    for expected in ["sent", "sent", "sent", "order_rate"] {
        assert_eq!(world.buy(1, 200), expected);
    }
}

#[test]
fn open_orders_are_bounded_by_us_and_by_the_exchange() {
    let mut world = World::new();
    world.env.limits().open_orders_max = 2;
    let order = world.order(1, Side::Buy, 200, limit(10_000));
    let first = world.place(order).expect("within limits");
    assert_eq!(world.buy(1, 200), "sent");
    assert_eq!(world.buy(1, 200), "open_orders");
    let taker = world.order(1, Side::Buy, 200, Terms::Market);
    assert_eq!(world.code(taker), "sent", "what cannot rest is no open order");
    // It is on its way still, and so are two others: one more may rest only when two are over.
    world.tell(&Event::Order(update(&first, 0, OrderState::Done(End::Canceled))));
    assert_eq!(world.buy(1, 200), "open_orders");
    // Reductions pass our bound, not the exchange's.
    world.position(1, SHARED, 1_000);
    let order = world.order(1, Side::Sell, 200, limit(10_000));
    let order = OrderIntent { reduce_only: true, ..order };
    world.env.edit(SHARED, |instrument| instrument.filters.max_orders = Some(2));
    assert_eq!(world.code(order), "open_orders");
    world.env.edit(SHARED, |instrument| instrument.filters.max_orders = Some(3));
    assert_eq!(world.code(order), "sent");
}

#[test]
fn open_conditional_orders_are_bounded_over_all_symbols() {
    let mut world = World::new();
    world.env.limits().open_conditionals_max = 2;
    let mut ask = |strategy| {
        let order = world.order(strategy, Side::Buy, 200, stop(11_000, None));
        world.place(order)
    };
    assert!(ask(1).is_ok());
    let second = ask(3).expect("two may wait");
    assert_eq!(ask(1).expect_err("a third may not").code(), "open_conditionals");
    // Triggered, it is an ordinary order.
    let triggered = crate::order::OrderUpdate { conditional: false, ..update(&second, 0, OrderState::Working) };
    world.tell(&Event::Order(triggered));
    let order = world.order(1, Side::Buy, 200, stop(11_000, None));
    assert_eq!(world.code(order), "sent");
    world.env.limits().open_conditionals_max = 20;
    world.env.edit(SHARED, |instrument| instrument.filters.max_conditional_orders = Some(2));
    let order = world.order(1, Side::Buy, 200, stop(11_000, None));
    assert_eq!(world.code(order), "open_conditionals");
}

#[test]
fn a_runaway_strategy_is_stopped_until_it_fills_or_the_window_passes() {
    let mut world = World::new();
    world.env.limits().runaway_orders_max = 3;
    let mut alerts = 0;
    let mut send = |world: &mut World, strategy: u16| {
        let order = world.order(strategy, Side::Buy, 200, limit(10_000));
        let events = world.tell(&Event::Intent(Intent::Place(order)));
        alerts += events.iter().filter(|e| matches!(e, Event::Alert(a) if a.code == AlertCode::Runaway)).count();
        match events.last() {
            Some(Event::Approved(_)) => "sent",
            Some(Event::Refused(refused)) => refused.reason.code(),
            other => panic!("an intent is answered, not with {other:?}"),
        }
    };
    for expected in ["sent", "sent", "sent", "runaway", "runaway"] {
        assert_eq!(send(&mut world, 1), expected);
    }
    assert_eq!(send(&mut world, 2), "sent", "another strategy trades on");
    world.position(1, SHARED, 200);
    for expected in ["sent", "sent", "sent", "runaway"] {
        assert_eq!(send(&mut world, 1), expected, "a fill begins anew");
    }
    world.env.now = world.env.now.plus(Span::from_secs(60));
    world.budget(2, 1_000_000);
    assert_eq!(send(&mut world, 1), "sent", "the window passed");
    assert_eq!(alerts, 2, "told once per time");
}

#[test]
fn the_days_loss_stops_new_risk_before_the_halt_arrives() {
    let mut world = World::new();
    world.tell(&Event::Equity(equity(10_000, -499)));
    assert_eq!(world.buy(1, 200), "sent");
    world.tell(&Event::Equity(equity(10_000, -500)));
    assert_eq!(world.buy(1, 200), "daily_loss");
}

/// Everything that refuses new risk, one at a time; a reduction passes each.
#[test]
fn what_refuses_new_risk_lets_reductions_pass() {
    type Spoil = fn(&mut World);
    let spoilers: [(&str, Spoil); 11] = [
        ("halted", |w| drop(w.tell(&Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch }))),
        ("halted", |w| drop(w.tell(&Event::Halted { scope: Scope::Account(ACCOUNT), reason: HaltReason::Fault }))),
        ("halted", |w| drop(w.tell(&Event::Halted { scope: Scope::Symbol(OWN), reason: HaltReason::Instrument }))),
        ("halted", |w| {
            drop(w.tell(&Event::Halted { scope: Scope::Strategy(StrategyIx(3)), reason: HaltReason::Runaway }))
        }),
        ("untrusted", |w| drop(w.tell(&Event::Untrusted(ACCOUNT)))),
        ("untrusted", |w| {
            let down = StreamState::UserDown(ACCOUNT, StreamFault::LinkLost);
            drop(w.tell(&Event::Input(Input::Stream(down))));
        }),
        ("untrusted", |w| drop(w.tell(&Event::Input(Input::Start { epoch: 2 })))),
        ("budget_expired", |w| w.env.now = w.env.now.plus(Span::from_secs(1_000))),
        ("no_budget", |w| w.gate.state.budget = None),
        ("no_budget", |w| {
            let (account, expires, exposure_max) = (ACCOUNT, Ts::MAX, Money::units(USDT, 1));
            let budget = Budget { account, version: 2, expires, exposure_max, new_risk: false };
            drop(w.tell(&Event::Budget(budget)));
        }),
        ("daily_loss", |w| drop(w.tell(&Event::Equity(equity(10_000, -600))))),
    ];
    for (code, spoil) in spoilers {
        let mut world = World::new();
        world.position(3, OWN, 1_000);
        let resting = world.order(3, Side::Buy, 600, limit(9_900));
        assert_eq!(world.code(resting), "sent");
        spoil(&mut world);
        let entry = world.order(3, Side::Buy, 200, limit(10_000));
        assert_eq!(world.code(entry), code);
        let exit = world.order(3, Side::Sell, 1_000, Terms::Market);
        assert_eq!(world.code(OrderIntent { reduce_only: true, ..exit }), "sent", "{code}");
        // The same for modifications: only less of the same passes.
        let mut modify = |cents, thousandths| {
            let (strategy, symbol, id) = (StrategyIx(3), OWN, resting.id);
            let intent = Intent::Modify { strategy, symbol, id, price: price(cents), quantity: quantity(thousandths) };
            world.ask(intent).map_or_else(|refusal| refusal.code(), |_| "sent")
        };
        assert_eq!((modify(9_900, 602), modify(9_910, 600), modify(9_900, 400)), (code, code, "sent"));
    }
}

#[test]
fn halts_are_told_apart_by_scope() {
    let mut world = World::new();
    for scope in [Scope::Account(AccountIx(1)), Scope::Symbol(OWN), Scope::Strategy(StrategyIx(2))] {
        world.tell(&Event::Halted { scope, reason: HaltReason::KillSwitch });
    }
    assert_eq!(world.buy(1, 200), "sent");
    assert_eq!(world.buy(2, 200), "halted");
    assert_eq!(world.buy(3, 200), "halted");
    world.tell(&Event::Resumed { scope: Scope::Symbol(OWN) });
    assert_eq!(world.buy(3, 200), "sent");
    assert_eq!(world.buy(2, 200), "halted");
}

#[test]
fn a_stop_of_the_daemon_does_not_halt_the_next_start() {
    let mut world = World::new();
    world.tell(&Event::Halted { scope: Scope::All, reason: HaltReason::Stopping });
    world.tell(&Event::Halted { scope: Scope::Symbol(OWN), reason: HaltReason::KillSwitch });
    world.tell(&Event::Input(Input::Start { epoch: 2 }));
    world.budget(2, 1_000_000);
    world.tell(&Event::Reconciled(ACCOUNT));
    assert_eq!(world.buy(1, 200), "sent");
    assert_eq!(world.buy(3, 200), "halted", "a kill switch outlives the start");
}

#[test]
fn an_older_budget_never_replaces_a_newer_one() {
    let mut world = World::new();
    world.budget(7, 0);
    world.budget(6, 1_000_000);
    assert_eq!(world.buy(1, 200), "budget_exposure");
    world.budget(8, 1_000_000);
    assert_eq!(world.buy(1, 200), "sent");
}

#[test]
fn who_may_trade_what_is_configured() {
    let mut world = World::new();
    let order = world.order(1, Side::Buy, 200, limit(10_000));
    assert_eq!(world.code(OrderIntent { symbol: OWN, ..order }), "foreign_symbol");
    let stranger = crate::id::ClientOrderId { strategy: StrategyIx(9), ..order.id };
    assert_eq!(world.code(OrderIntent { id: stranger, ..order }), "unknown_strategy");
    let external = world.order(0, Side::Buy, 200, limit(10_000));
    assert_eq!(world.code(OrderIntent { symbol: SymbolIx(9), ..external }), "unknown_symbol");
    for status in [ContractStatus::PreSettle, ContractStatus::Close, ContractStatus::Halted, ContractStatus::Other] {
        world.env.edit(SHARED, |instrument| instrument.status = status);
        assert_eq!(world.code(order), "not_tradable");
    }
    world.env.edit(SHARED, |instrument| instrument.status = ContractStatus::Trading);
    world.env.config.accounts[0].trading = false;
    assert_eq!(world.code(order), "watch_only");
    world.env.config.accounts[0].trading = true;
    assert_eq!(world.code(order), "sent");
    assert_eq!(world.code(order), "duplicate_id");
    // Nor after it is over: the exchange would take the id again.
    let passed = crate::order::NewOrder { intent: order, send_reduce_only: false, held_price: Price::ZERO };
    world.tell(&Event::Order(update(&passed, 0, OrderState::Done(End::NeverArrived))));
    assert_eq!(world.code(order), "duplicate_id");
}

#[test]
fn closing_is_for_the_only_owner() {
    let close = |world: &mut World, strategy: u16| {
        let order = world.order(strategy, Side::Sell, 0, stop(9_000, None));
        let Terms::Conditional(terms) = order.terms else { unreachable!() };
        world.code(OrderIntent { terms: Terms::Conditional(Conditional { close_position: true, ..terms }), ..order })
    };
    let mut world = World::new();
    world.position(1, SHARED, 1_000);
    assert_eq!(close(&mut world, 1), "not_sole_owner", "another strategy is configured for the symbol");
    world.position(3, OWN, 1_000);
    world.position(0, OWN, 200);
    assert_eq!(close(&mut world, 3), "not_sole_owner", "somebody else has a position");
    world.position(0, OWN, -200);
    assert_eq!(close(&mut world, 3), "sent");
    let intruder = OrderIntent { symbol: OWN, ..world.order(0, Side::Buy, 200, limit(10_000)) };
    assert_eq!(world.code(intruder), "exclusive", "the stop would close the intruder's position too");
}

/// A sole owner's stop, take-profit and exit rest side by side: the exchange knocks out what comes too late.
#[test]
fn a_sole_owner_may_bracket_its_position() {
    let mut world = World::new();
    world.position(3, OWN, 1_000);
    let mut ask = |terms, thousandths| {
        let order = world.order(3, Side::Sell, thousandths, terms);
        match world.place(OrderIntent { reduce_only: true, ..order }) {
            Ok(passed) => assert!(passed.send_reduce_only),
            Err(refusal) => return refusal.code(),
        }
        "sent"
    };
    assert_eq!(ask(stop(9_000, None), 1_000), "sent");
    assert_eq!(ask(stop(9_000, None), 1_004), "reduce_only_too_large");
    assert_eq!(ask(limit(10_500), 600), "sent");
    assert_eq!(ask(Terms::Market, 404), "reduce_only_too_large");
    assert_eq!(ask(Terms::Market, 400), "sent");
}

/// In a shared symbol everything on the closing side fits into the position together.
#[test]
fn reductions_of_a_shared_symbol_fit_together() {
    let mut world = World::new();
    world.position(1, SHARED, 1_000);
    world.position(2, SHARED, -600);
    let ask = |world: &mut World, reduce_only, terms, thousandths| {
        let order = world.order(1, Side::Sell, thousandths, terms);
        world.place(OrderIntent { reduce_only, ..order }).map(|o| o.send_reduce_only).map_err(|r| r.code())
    };
    assert_eq!(ask(&mut world, true, stop(9_000, None), 400), Ok(true), "the account is long 0.4");
    assert_eq!(ask(&mut world, true, limit(10_100), 400), Ok(false), "of which nothing is left");
    assert_eq!(ask(&mut world, true, limit(10_100), 202), Err("reduce_only_too_large"));
    assert_eq!(ask(&mut world, false, limit(10_100), 202), Err("reduce_only_conflict"));
    assert_eq!(ask(&mut world, false, limit(10_100), 200), Ok(false));
    assert_eq!(ask(&mut world, true, limit(10_100), 100), Err("reduce_only_too_large"));
}

/// Strategies that offset each other leave the market when the daemon stops, one after the other; at any other halt the account
/// is flat, and stays so.
#[test]
fn strategies_that_offset_each_other_can_leave_in_a_stop_only() {
    for (reason, expect) in [(HaltReason::Stopping, "sent"), (HaltReason::KillSwitch, "halted")] {
        let mut world = World::new();
        world.position(1, SHARED, 400);
        world.position(2, SHARED, -400);
        world.tell(&Event::Halted { scope: Scope::All, reason });
        let exit = world.order(1, Side::Sell, 400, Terms::Market);
        let asked = world.place(OrderIntent { reduce_only: true, ..exit });
        assert_eq!(asked.as_ref().map_or_else(|refusal| refusal.code(), |_| "sent"), expect);
        assert_eq!(world.buy(1, 200), "halted", "and nothing else");
        if let Ok(order) = asked {
            assert!(!order.send_reduce_only, "the account is flat");
            let key = crate::id::OrderKey::Ours(order.intent.id);
            world.tell(&Event::Fill(fill(1, SHARED, key, Side::Sell, 400, 10_000)));
            world.tell(&Event::Order(update(&order, 400, OrderState::Done(End::Filled))));
            let exit = world.order(2, Side::Buy, 400, Terms::Market);
            let second = world.place(OrderIntent { reduce_only: true, ..exit });
            let second = second.map(|order| order.send_reduce_only).map_err(|refusal| refusal.to_string());
            assert_eq!(second, Ok(true), "the account is short by it now");
        }
    }
}

/// A strategy's exit is new risk where the account has no such position, and what only somebody else closed is not opened again.
#[test]
fn an_exit_that_the_account_does_not_cover_is_new_risk() {
    let halt = Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch };
    for (strategy, symbol) in [(3, OWN), (1, SHARED)] {
        for halted in [false, true] {
            let mut world = World::new();
            world.position(strategy, symbol, 1_000);
            // Closed by a liquidation, an auto-deleveraging, a person, or a repair: the reserved strategy has it.
            world.position(0, symbol, -1_000);
            if halted {
                world.tell(&halt);
            }
            for terms in [Terms::Market, limit(10_100), stop(9_000, None)] {
                let exit = OrderIntent { reduce_only: true, ..world.order(strategy, Side::Sell, 1_000, terms) };
                assert_eq!(world.code(exit), if halted { "halted" } else { "reduce_only_too_large" });
            }
            // The part of it that is left is closed, whatever is halted.
            world.position(0, symbol, 400);
            let exit = OrderIntent { reduce_only: true, ..world.order(strategy, Side::Sell, 1_000, Terms::Market) };
            let refusal = world.place(exit).expect_err("too much");
            assert!(refusal.to_string().contains("exceeds 0.4,"), "{refusal}");
            let exit = OrderIntent { quantity: quantity(400), ..exit };
            assert!(world.place(exit).expect("it is there").send_reduce_only);
        }
    }
}

/// What two strategies hold against each other the account does not hold: each may leave, unless nothing may be added.
#[test]
fn strategies_that_offset_each_other_may_leave_within_the_limits() {
    let mut world = World::new();
    world.position(1, SHARED, 1_000);
    world.position(2, SHARED, -1_000);
    let exit = |world: &mut World, terms| {
        let exit = OrderIntent { reduce_only: true, ..world.order(1, Side::Sell, 1_000, terms) };
        let answer = world.place(exit);
        answer.map(|passed| (exit.id, passed.send_reduce_only, passed.adds_risk())).map_err(|refusal| refusal.code())
    };
    world.env.limits().position_notional_max = Money::units(USDT, 50);
    assert_eq!(exit(&mut world, Terms::Market), Err("position_notional"));
    world.env.limits().position_notional_max = Money::units(USDT, 6_000);
    let (id, sent, risk) = exit(&mut world, limit(10_000)).expect("strategy 2 holds the opposite");
    assert!(!sent && risk, "the latch stops it too");
    world.tell(&Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch });
    assert_eq!(exit(&mut world, Terms::Market), Err("reduce_only_too_large"), "the first one is open still");
    let mut modify = |cents, thousandths| {
        let (strategy, symbol) = (StrategyIx(1), SHARED);
        let intent = Intent::Modify { strategy, symbol, id, price: price(cents), quantity: quantity(thousandths) };
        world.ask(intent).map_or_else(|refusal| refusal.code(), |_| "sent")
    };
    assert_eq!((modify(10_010, 1_000), modify(10_000, 600)), ("halted", "sent"));
}

/// The exchange asks for the smallest notional value of every order without `reduceOnly` (-4164), an exit too.
#[test]
fn a_small_exit_is_refused_where_reduce_only_cannot_be_sent() {
    let mut world = World::new();
    world.position(1, SHARED, 20);
    let exit = |world: &mut World| {
        let exit = OrderIntent { reduce_only: true, ..world.order(1, Side::Sell, 20, Terms::Market) };
        world.place(exit).map(|passed| passed.send_reduce_only).map_err(|refusal| refusal.code())
    };
    let mut covered = World::new();
    covered.position(1, SHARED, 20);
    assert_eq!(exit(&mut covered), Ok(true), "two dollars");
    world.position(2, SHARED, -20);
    assert_eq!(exit(&mut world), Err("min_notional"));
}

/// The desk closes a position whose stop got stuck, with ids of its own: the strategy's stay usable.
#[test]
fn a_stuck_stop_does_not_stand_in_the_way_of_the_close() {
    let mut world = World::new();
    world.position(1, SHARED, 400);
    world.position(2, SHARED, -200);
    let protect = world.order(1, Side::Sell, 400, stop(9_000, None));
    assert_eq!(world.code(OrderIntent { reduce_only: true, ..protect }), "sent");
    let id = crate::id::ClientOrderId { counter: crate::strategy::COUNTER_END + 1, ..protect.id };
    let close = OrderIntent { id, reduce_only: true, ..world.order(1, Side::Sell, 404, Terms::Market) };
    assert_eq!(world.code(close), "reduce_only_too_large");
    let close = OrderIntent { quantity: quantity(400), ..close };
    let passed = world.place(close).expect("it fits the position");
    assert!(!passed.send_reduce_only, "the account is long 0.2 only");
    assert_eq!(world.code(close), "duplicate_id");
    assert_eq!(world.buy(1, 200), "sent");
}
