//! The trend follower on small price paths, with fills at once.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{OnStop, ParamValue};
use crate::event::{Input, Station};
use crate::order::{OrderIntent, Terms};
use crate::strategy::Registry;
use crate::strategy::testkit::{Gate, IX, World, instrument};
use proptest::prelude::*;

/// Short averages, so that paths are short; a stop of two ATRs, one percent at least.
fn world() -> World {
    let params = [
        ("fast_periods", ParamValue::Int(2)),
        ("slow_periods", ParamValue::Int(4)),
        ("atr_periods", ParamValue::Int(2)),
        ("stop_atr", ParamValue::Float(2.0)),
        ("stop_bps_min", ParamValue::Int(100)),
    ];
    World::started(Registry::builtin(), "trend_follower", &params, OnStop::Cancel)
}

/// One trade a second; its candle closes with the next one.
fn walk(world: &mut World, prices: &[f64]) {
    for &price in prices {
        world.pass(Span::from_secs(1));
        world.quote(price);
        world.trade(price);
    }
}

fn trigger(order: &OrderIntent) -> Option<f64> {
    match order.terms {
        Terms::Conditional(terms) => Some(instrument().price_f64(terms.trigger_price)),
        _ => None,
    }
}

/// Warmed up in a flat market, then a rise.
fn long() -> World {
    let mut world = world();
    walk(&mut world, &[100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0]);
    assert_eq!(world.take_intents(), [], "no trend, no orders");
    walk(&mut world, &[101.0, 102.0]);
    world
}

#[test]
fn a_rise_is_bought_for_the_notional_and_protected_by_a_stop() {
    let mut world = long();
    let orders = world.take_orders();
    assert_eq!(orders.len(), 2, "{orders:?}");
    let (entry, stop) = (orders[0], orders[1]);
    assert_eq!((entry.side, entry.terms, entry.reduce_only), (Side::Buy, Terms::Market, false));
    assert_eq!(
        instrument().quantity_text(entry.quantity),
        "9.9".replace("9.9", "1"),
        "bound by the largest market order"
    );
    assert_eq!((stop.side, stop.reduce_only, stop.quantity), (Side::Sell, true, entry.quantity));
    let distance = 101.0 - trigger(&stop).unwrap();
    assert!((1.01..4.0).contains(&distance), "{distance}");
    walk(&mut world, &[103.0, 104.0]);
    assert_eq!(world.take_intents(), [], "it holds");
}

#[test]
fn a_turn_closes_reduce_only_and_only_then_enters_the_other_side() {
    let mut world = long();
    world.take_intents();
    walk(&mut world, &[101.9, 101.5, 101.2, 101.0, 100.9, 100.8]);
    let orders = world.take_orders();
    let shape: Vec<_> = orders.iter().map(|o| (o.side, o.reduce_only, o.terms.is_conditional())).collect();
    assert_eq!(shape, [(Side::Sell, true, false), (Side::Sell, false, false), (Side::Buy, true, true)]);
    assert!(world.position < 0);
    assert_eq!(world.open.len(), 1, "the old stop is gone, the new one stands");
}

#[test]
fn after_its_stop_it_waits_for_the_next_turn() {
    let mut world = long();
    let entry = world.take_orders()[0];
    // The price falls through the stop within one candle, then recovers: the averages never cross.
    world.quote(95.0);
    world.trade(95.0);
    assert_eq!(world.position, 0, "stopped out");
    world.trade(102.5);
    walk(&mut world, &[103.0, 104.0, 105.0]);
    assert!(world.take_orders().iter().all(|o| o.side != entry.side || o.reduce_only), "not the same side again");
}

#[test]
fn a_refused_stop_closes_the_position_and_a_refused_entry_is_not_hammered() {
    let mut world = world();
    walk(&mut world, &[100.0; 7]);
    world.gate = Gate::Refuse;
    walk(&mut world, &[101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0]);
    assert_eq!(world.take_orders().len(), 1, "the next try is ten candles later");
    let mut world = long();
    world.take_intents();
    // The stop is rejected by the venue when it is touched.
    let (stop, update) = world.open.remove(0);
    let state = OrderState::Done(End::Rejected(-2022));
    world.event(crate::event::Event::Order(OrderUpdate { state, ..update }));
    walk(&mut world, &[103.0, 104.0]);
    let close = world.take_orders()[0];
    assert_eq!((close.side, close.reduce_only, close.terms), (Side::Sell, true, Terms::Market));
    assert_eq!(close.quantity, stop.quantity);
}

#[test]
fn a_rebuilt_instance_adopts_position_and_stop() {
    let mut world = long();
    world.take_intents();
    world.fault();
    world.input(Input::Rebuild(Station::Runner(IX)));
    walk(&mut world, &[103.0, 104.0, 105.0, 106.0]);
    assert_eq!(world.take_intents(), [], "the stop that stands is its own");
    assert_eq!(world.open.len(), 1);
}

#[test]
fn a_snapshot_goes_on_as_if_nothing_had_been() {
    let mut world = long();
    let state = world.runner_snapshot();
    let hash = world.runner_hash();
    world.restore(&state);
    assert_eq!(world.runner_hash(), hash);
    let mut other = long();
    world.take_intents();
    other.take_intents();
    for world in [&mut world, &mut other] {
        walk(world, &[101.9, 101.5, 101.2, 101.0]);
    }
    assert_eq!(world.take_intents(), other.take_intents());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever the path: the position stays within one entry, and is covered by exactly one stop on the right side.
    #[test]
    fn it_never_holds_more_than_one_entry_and_is_always_protected(steps in prop::collection::vec(-12i32..=12, 20..120)) {
        let mut world = world();
        let mut price = 1_000.0;
        for step in steps {
            price = (price + f64::from(step)).max(100.0);
            walk(&mut world, &[price]);
            let i = instrument();
            let largest = world.fills.iter().map(|f| f.quantity).max().unwrap_or(Quantity::ZERO);
            prop_assert!(world.position.unsigned_abs() <= largest.mantissa().unsigned_abs());
            prop_assert!(i.quantity_f64(largest) * 100.0 <= 1_000.0 * 10.0);
            let stops: Vec<_> = world.open.iter().filter(|(o, _)| o.terms.is_conditional()).collect();
            if world.position == 0 {
                prop_assert!(stops.is_empty(), "{stops:?}");
            } else {
                prop_assert_eq!(stops.len(), 1);
                prop_assert_eq!(stops[0].0.quantity.signed(stops[0].0.side).mantissa(), -world.position);
            }
        }
    }
}
