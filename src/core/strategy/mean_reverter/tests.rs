//! The mean reverter on small price paths, with fills at once.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{OnStop, ParamValue};
use crate::order::{OrderIntent, Terms, TimeInForce};
use crate::strategy::Registry;
use crate::strategy::testkit::{Gate, World, instrument};
use proptest::prelude::*;

const SAMPLE: Span = Span::from_millis(250);

/// Eight samples, entries beyond ten ticks (1.0), 500 a time up to 1,200.
fn world(requote: &str) -> World {
    let params = [
        ("fair_samples", ParamValue::Int(8)),
        ("entry_sigmas", ParamValue::Float(0.1)),
        ("entry_ticks_min", ParamValue::Int(10)),
        ("position_notional_max", ParamValue::Int(1_200)),
        ("requote", ParamValue::Text(requote.into())),
        ("loss_bps_max", ParamValue::Int(100)),
    ];
    World::started(Registry::builtin(), "mean_reverter", &params, OnStop::Cancel)
}

fn walk(world: &mut World, bids: &[f64]) {
    for &bid in bids {
        world.pass(SAMPLE);
        world.quote(bid);
    }
}

fn calm(requote: &str) -> World {
    let mut world = world(requote);
    walk(&mut world, &[1_000.0, 1_000.1].repeat(6));
    assert_eq!(world.take_intents(), [], "at fair there is nothing to do");
    world
}

fn price(order: &OrderIntent) -> f64 {
    order.terms.limit_price().map_or(0.0, |p| instrument().price_f64(p))
}

#[test]
fn a_fall_is_bought_post_only_and_sold_at_fair_reduce_only() {
    let mut world = calm("modify");
    walk(&mut world, &[996.0]);
    let entry = world.take_orders();
    assert_eq!(entry.len(), 1);
    assert_eq!((entry[0].side, entry[0].reduce_only), (Side::Buy, false));
    assert!(matches!(entry[0].terms, Terms::Limit { time_in_force: TimeInForce::PostOnly, .. }));
    // 500 at 996, down to the thousandth; at the best bid.
    assert_eq!((instrument().quantity_text(entry[0].quantity), price(&entry[0])), ("0.502".to_owned(), 996.0));
    walk(&mut world, &[995.8]);
    assert_eq!(world.fills.len(), 1, "the market came to it");
    walk(&mut world, &[996.5]);
    let exit: Vec<_> = world.take_orders().into_iter().filter(|o| o.reduce_only).collect();
    assert_eq!((exit[0].side, exit[0].quantity), (Side::Sell, entry[0].quantity));
    assert!((996.6..1_000.0).contains(&price(&exit[0])), "at fair: {}", price(&exit[0]));
    walk(&mut world, &[998.0, 998.6]);
    assert_eq!(world.position, 0, "back at fair it is flat");
    assert!(world.fills[1].price > world.fills[0].price);
}

#[test]
fn an_entry_is_withdrawn_when_the_price_comes_back_without_it() {
    let mut world = calm("modify");
    walk(&mut world, &[1_004.0]);
    assert_eq!(world.take_orders()[0].side, Side::Sell);
    walk(&mut world, &[1_000.8]);
    assert!(matches!(world.take_intents()[..], [Intent::Cancel { .. }]));
    assert!(world.open.is_empty());
}

#[test]
fn an_order_follows_the_market_in_place_or_by_cancel_as_configured() {
    for requote in ["modify", "cancel"] {
        let mut world = calm(requote);
        walk(&mut world, &[1_006.0, 1_005.8]);
        assert_eq!(world.take_intents().len(), 1, "two ticks are not worth a new quote");
        // Lower than the order, so that it is not filled, but still far from fair.
        walk(&mut world, &[1_005.2]);
        let intents = world.take_intents();
        match requote {
            "modify" => assert!(matches!(intents[..], [Intent::Modify { .. }]), "{intents:?}"),
            _ => assert!(matches!(intents[..], [Intent::Cancel { .. }]), "{intents:?}"),
        }
        // A quote that differs is told; the price is still far from fair.
        walk(&mut world, &[1_005.1]);
        assert_eq!(world.open.len(), 1, "{requote}: {:?}", world.take_intents());
        let at = if requote == "modify" { 1_005.3 } else { 1_005.2 };
        assert_eq!(price(&world.open[0].0), at, "the best ask when it was quoted");
    }
}

#[test]
fn a_loss_beyond_the_bound_is_closed_at_market_and_followed_by_a_rest() {
    let mut world = calm("modify");
    walk(&mut world, &[996.0, 995.0]);
    assert!(world.position > 0);
    world.take_intents();
    walk(&mut world, &[980.0, 979.0, 980.0, 979.0]);
    let orders = world.take_orders();
    assert_eq!(world.position, 0);
    let close = orders.last().unwrap();
    assert_eq!((close.terms, close.reduce_only, close.side), (Terms::Market, true, Side::Sell));
    walk(&mut world, &[960.0; 4]);
    assert_eq!(world.take_orders(), [], "it rests");
}

#[test]
fn a_position_larger_than_a_market_order_is_closed_in_parts() {
    let mut world = calm("modify");
    walk(&mut world, &[996.0, 995.0]);
    let held = Quantity::from_mantissa(world.position).unwrap();
    let part = Quantity::from_mantissa(held.mantissa() / 2 / 100 * 100).unwrap();
    assert!(!part.is_zero());
    world.redefine(|instrument| instrument.filters.market_lot.max = part);
    world.take_intents();
    walk(&mut world, &[980.0, 979.0].repeat(15));
    assert_eq!(world.position, 0);
    let closes: Vec<_> = world.take_orders().into_iter().filter(|o| o.terms == Terms::Market).collect();
    assert!(closes.len() >= 2 && closes.iter().all(|o| o.reduce_only && o.quantity <= part), "{closes:?}");
}

#[test]
fn a_refusal_is_not_hammered() {
    let mut world = calm("modify");
    world.gate = Gate::Refuse;
    walk(&mut world, &[996.0, 995.0, 994.0, 993.0]);
    assert_eq!(world.take_orders().len(), 1, "the next try is two seconds later");
}

#[test]
fn after_a_hole_the_old_fair_value_is_forgotten() {
    let mut world = calm("modify");
    world.pass(Span::from_secs(60));
    walk(&mut world, &[900.0, 901.0, 899.0]);
    assert_eq!(world.take_intents(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever the path: position and open entry stay within the bound at the price of the order, exits never exceed the
    /// position, and there is at most one order of each kind.
    #[test]
    fn the_inventory_bound_holds_on_every_path(
        steps in prop::collection::vec(-25i32..=25, 40..200),
        modify: bool,
    ) {
        let mut world = world(if modify { "modify" } else { "cancel" });
        let i = instrument();
        let mut bid = 1_000.0;
        for step in steps {
            bid = (bid + f64::from(step) / 10.0).max(100.0);
            walk(&mut world, &[bid]);
            let (mut entry, mut exit) = (Quantity::ZERO, Quantity::ZERO);
            let mut at = bid;
            for (order, update) in &world.open {
                let kind = if order.reduce_only { &mut exit } else { &mut entry };
                prop_assert!(kind.is_zero());
                *kind = update.open_quantity();
                if !order.reduce_only {
                    at = price(order);
                    prop_assert!(world.position == 0 || (world.position > 0) == (order.side == Side::Buy));
                }
            }
            let held = Quantity::from_mantissa(world.position.abs()).unwrap();
            prop_assert!(exit <= held);
            if !entry.is_zero() {
                let value = i.quantity_f64(held.checked_add(entry).unwrap()) * at;
                prop_assert!(value <= 1_200.0 + 1e-6, "{}", value);
            }
        }
    }
}
