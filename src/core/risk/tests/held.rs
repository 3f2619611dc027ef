//! What is held for orders in the less common ways through life.

use super::world::*;
use crate::event::Event;
use crate::id::OrderKey;
use crate::num::{Money, Side};
use crate::order::{End, NewOrder, OrderState, OrderUpdate};

/// A foreign order that is found resting is held from then on, and what of it was booked before is settled by reconciliation.
#[test]
fn foreign_orders_are_held_too() {
    let mut world = World::new();
    let order = world.order(0, Side::Buy, 20_000, limit(10_000));
    let passed = NewOrder { intent: order, send_reduce_only: false, held_price: price(10_000) };
    let key = OrderKey::parse("somebody");
    let foreign = OrderUpdate { key, ..update(&passed, 5_000, OrderState::Working) };
    world.tell(&Event::Order(foreign));
    let value = |world: &World| world.gate.exposure(FREE, &world.env.context()).map(|m| m.mantissa() / Money::UNIT);
    assert_eq!(value(&world), Some(2_000));
    world.tell(&Event::Reconciled(ACCOUNT));
    assert_eq!(value(&world), Some(1_500), "5 were booked before");
    world.tell(&Event::Fill(fill(0, FREE, key, Side::Buy, 5_000, 10_000)));
    assert_eq!(value(&world), Some(1_500), "from the order to the position");
    let done = OrderUpdate { state: OrderState::Done(End::Canceled), filled: quantity(10_000), ..foreign };
    world.tell(&Event::Order(done));
    assert_eq!(value(&world), Some(500));
}

/// An order that is over keeps what its fills still owe to the position.
#[test]
fn an_order_that_is_over_is_held_until_its_fills_are_booked() {
    let mut world = World::new();
    let order = world.order(0, Side::Buy, 20_000, limit(10_000));
    let passed = world.place(order).expect("within limits");
    let value = |world: &World| world.gate.exposure(FREE, &world.env.context()).map(|m| m.mantissa() / Money::UNIT);
    world.tell(&Event::Order(update(&passed, 15_000, OrderState::Done(End::Canceled))));
    assert_eq!(value(&world), Some(1_500));
    let key = OrderKey::Ours(order.id);
    world.tell(&Event::Fill(fill(0, FREE, key, Side::Buy, 10_000, 10_000)));
    assert_eq!(value(&world), Some(1_500));
    assert!(world.gate.hold(key).is_some());
    world.tell(&Event::Fill(fill(0, FREE, key, Side::Buy, 5_000, 10_000)));
    assert_eq!((value(&world), world.gate.hold(key)), (Some(1_500), None));
}

/// What is left of buys after they closed a short position may be the dearest of them.
#[test]
fn what_is_left_after_a_flip_counts_at_the_highest_price() {
    let mut world = World::new();
    world.position(0, FREE, -10_000);
    let value = |world: &World| world.gate.exposure(FREE, &world.env.context()).map(|m| m.mantissa() / Money::UNIT);
    for (thousandths, cents, expected) in [(10_000, 10_000, 1_000), (10_000, 10_400, 1_040), (10_000, 10_200, 2_080)] {
        let order = world.order(0, Side::Buy, thousandths, limit(cents));
        world.place(order).expect("within limits");
        assert_eq!(value(&world), Some(expected));
    }
    let order = world.order(0, Side::Sell, 2_000, limit(10_000));
    world.place(order).expect("within limits");
    assert_eq!(value(&world), Some(2_080), "sells are the other side");
}
