//! The table of every shape of an intent: sent or refused, and why. The rules of the exchange are quoted from its reference.

use super::world::*;
use crate::id::{OrderKey, StrategyIx};
use crate::num::{Price, Rate, Side};
use crate::order::{
    Conditional, Intent, OrderIntent, PositionMode, PositionSide, Terms, TimeInForce, Trigger, WorkingType,
};
use crate::time::Ts;

const TIMES: [TimeInForce; 5] = [
    TimeInForce::Gtc,
    TimeInForce::Ioc,
    TimeInForce::Fok,
    TimeInForce::PostOnly,
    TimeInForce::Gtd(Ts::from_millis(2_000_000)),
];

/// Every combination of terms, with prices that pass all filters for the side (the mark is at 100).
fn all_terms(side: Side) -> Vec<Terms> {
    let (above, below) = (price(10_300), price(9_700));
    let mut all = vec![Terms::Market];
    all.extend(TIMES.map(|time_in_force| Terms::Limit { price: price(10_000), time_in_force }));
    let trailing = Trigger::Trailing { callback_rate: Rate::from_bps(100), activation: None };
    for trigger in [Trigger::Stop, Trigger::TakeProfit, trailing] {
        let rises = (trigger == Trigger::Stop) == (side == Side::Buy);
        let trigger_price = if rises { above } else { below };
        let limits = TIMES.iter().map(|time| Some((trigger_price, *time))).chain([None]);
        for limit in limits {
            for working_type in [WorkingType::ContractPrice, WorkingType::MarkPrice] {
                for (close_position, price_protect) in [(false, false), (false, true), (true, false), (true, true)] {
                    all.push(Terms::Conditional(Conditional {
                        trigger,
                        trigger_price,
                        working_type,
                        limit,
                        close_position,
                        price_protect,
                    }));
                }
            }
        }
    }
    all
}

/// What must become of a shape: the code of the refusal, `sent`, or `sent reduce-only`. `position` is the strategy's, as a
/// sign; it is its symbol's only owner.
fn expected(order: &OrderIntent, mode: PositionMode, position: i64) -> &'static str {
    let empty = order.quantity.is_zero();
    let gtd = |time: TimeInForce| matches!(time, TimeInForce::Gtd(_));
    let against = if order.side == Side::Sell { position > 0 } else { position < 0 };
    let size = |sent: &'static str| match (empty, order.reduce_only, against) {
        (true, ..) => "invalid_shape",
        (false, true, true) => "sent reduce-only",
        // -2022: reduce-only refused.
        (false, true, false) => "nothing_to_reduce",
        (false, false, _) => sent,
    };
    // "`reduceOnly` cannot be sent in hedge mode; `positionSide` must be": hedge mode is typed only, so all of it is refused.
    match (mode, order.position_side, order.terms) {
        (PositionMode::Hedge, ..) => "unsupported",
        (_, PositionSide::Long | PositionSide::Short, _) => "unsupported",
        (_, _, Terms::Market) => size("sent"),
        (_, _, Terms::Limit { time_in_force, .. }) if gtd(time_in_force) => "unsupported",
        (_, _, Terms::Limit { .. }) => size("sent"),
        (_, _, Terms::Conditional(Conditional { trigger: Trigger::Trailing { .. }, .. })) => "unsupported",
        (_, _, Terms::Conditional(Conditional { limit: Some((_, time)), .. })) if gtd(time) => "unsupported",
        // closePosition and priceProtect are "used with STOP_MARKET or TAKE_PROFIT_MARKET".
        (_, _, Terms::Conditional(Conditional { limit: Some(_), close_position: true, .. })) => "invalid_shape",
        (_, _, Terms::Conditional(Conditional { limit: Some(_), price_protect: true, .. })) => "invalid_shape",
        (_, _, Terms::Conditional(Conditional { close_position: false, .. })) => size("sent"),
        // "`closePosition=true` excludes `quantity` and `reduceOnly`"
        (_, _, Terms::Conditional(_)) if !empty || order.reduce_only => "invalid_shape",
        (_, _, Terms::Conditional(_)) if against => "sent",
        (_, _, Terms::Conditional(_)) => "nothing_to_reduce",
    }
}

#[test]
fn every_shape_is_sent_or_refused_by_name() {
    let mut counts = std::collections::BTreeMap::<&str, u32>::new();
    for mode in [PositionMode::OneWay, PositionMode::Hedge] {
        for position in [-1_000, 0, 1_000] {
            let mut world = World::new();
            world.position(3, OWN, position);
            world.env.config.accounts[0].position_mode = mode;
            let clean = world.gate.state.clone();
            for position_side in [PositionSide::Both, PositionSide::Long, PositionSide::Short] {
                for side in [Side::Buy, Side::Sell] {
                    for terms in all_terms(side) {
                        for (thousandths, reduce_only) in [(0, false), (0, true), (400, false), (400, true)] {
                            world.gate.state = clean.clone();
                            let order = world.order(3, side, thousandths, terms);
                            let order = OrderIntent { reduce_only, position_side, ..order };
                            let found = match world.place(order) {
                                Ok(passed) if passed.send_reduce_only => "sent reduce-only",
                                Ok(_) => "sent",
                                Err(refusal) => refusal.code(),
                            };
                            assert_eq!(found, expected(&order, mode, position), "{mode:?} {position} {order:?}");
                            *counts.entry(found).or_default() += 1;
                        }
                    }
                }
            }
        }
    }
    // The table is not empty in any of its outcomes.
    assert_eq!(
        counts.keys().copied().collect::<Vec<_>>(),
        ["invalid_shape", "nothing_to_reduce", "sent", "sent reduce-only", "unsupported"]
    );
}

/// Modify: "LIMIT only, price and quantity both sent … a quantity ≤ what is filled cancels the order".
#[test]
fn only_working_limit_orders_are_modified() {
    for side in [Side::Buy, Side::Sell] {
        for reduce_only in [false, true] {
            for terms in all_terms(side) {
                let mut world = World::new();
                world.position(3, OWN, if side == Side::Sell { 1_000 } else { -1_000 });
                let order = OrderIntent { reduce_only, ..world.order(3, side, 400, terms) };
                if world.code(order) != "sent" {
                    continue;
                }
                let mut ask = |strategy, id, cents: i64, thousandths| {
                    let (price, quantity) = (Price::from_mantissa(cents), quantity(thousandths));
                    let intent = Intent::Modify { strategy: StrategyIx(strategy), symbol: OWN, id, price, quantity };
                    world.ask(intent).map_or_else(|refusal| refusal.code(), |_| "sent")
                };
                let plain = matches!(terms, Terms::Limit { .. });
                assert_eq!(ask(3, order.id, 10_010, 200), if plain { "sent" } else { "not_modifiable" }, "{terms:?}");
                assert_eq!(ask(1, order.id, 10_010, 200), "unknown_order", "another strategy's");
                let other = crate::id::ClientOrderId { counter: 999, ..order.id };
                assert_eq!(ask(3, other, 10_010, 200), "unknown_order");
                if plain {
                    assert_eq!(ask(3, order.id, 10_010, 0), "invalid_shape");
                    assert_eq!(ask(3, order.id, 0, 200), "invalid_shape");
                    assert_eq!(ask(3, order.id, 10_005, 200), "price_filter");
                    assert_eq!(ask(3, order.id, 10_010, 201), "lot_filter");
                    assert_eq!(
                        ask(3, order.id, 10_010, 1_002),
                        if reduce_only { "reduce_only_too_large" } else { "sent" }
                    );
                }
            }
        }
    }
}

#[test]
fn a_modification_below_what_is_filled_is_refused() {
    let mut world = World::new();
    let order = world.order(3, Side::Buy, 400, limit(10_000));
    world.place(order).expect("within limits");
    world.tell(&crate::event::Event::Fill(fill(3, OWN, OrderKey::Ours(order.id), Side::Buy, 200, 10_000)));
    let modify = |thousandths| Intent::Modify {
        strategy: StrategyIx(3),
        symbol: OWN,
        id: order.id,
        price: price(10_000),
        quantity: quantity(thousandths),
    };
    assert_eq!(world.ask(modify(200)).expect_err("all of it is filled").code(), "not_modifiable");
    assert!(world.ask(modify(202)).is_ok());
}

/// Cancels pass whatever stands in the way of risk, even for orders that the gate does not hold.
#[test]
fn cancels_pass_while_everything_is_refused() {
    let mut world = World::new();
    world.tell(&crate::event::Event::Untrusted(ACCOUNT));
    world.tell(&crate::event::Event::Halted {
        scope: crate::event::Scope::All,
        reason: crate::event::HaltReason::KillSwitch,
    });
    world.env.config.accounts[0].position_mode = PositionMode::Hedge;
    let cancels = [
        Intent::Cancel { account: ACCOUNT, strategy: StrategyIx(1), symbol: SHARED, key: OrderKey::parse("somebody") },
        Intent::CancelAll { account: ACCOUNT, strategy: StrategyIx(1), symbol: None },
    ];
    for intent in cancels {
        assert!(world.ask(intent).is_ok());
    }
    world.env.config.accounts[0].trading = false;
    for intent in cancels {
        assert_eq!(world.ask(intent).expect_err("only watched").code(), "watch_only");
    }
}
