//! The life of conditional orders: placed, triggered, refused at the trigger, cancelled, stuck.

use super::venue::Venue;
use super::world::*;
use crate::command::{CommandKind, Outcome, RequestOutcome};
use crate::config::{AccountConfig, OnStuckTrigger};
use crate::event::{AlertCode, Event, Input};
use crate::id::{OrderKey, StrategyIx};
use crate::num::Side;
use crate::order::reconcile::Finding;
use crate::order::{Conditional, End, Intent, OrderState, Terms};
use crate::time::Span;

fn deliver(world: &mut World, messages: Vec<Input>) {
    messages.into_iter().for_each(|message| world.input(message));
}

/// A world with a stop for 2 that the venue has.
fn waiting(account: AccountConfig, foreign_children: bool) -> (World, Venue) {
    let mut world = World::with(account);
    let mut venue = Venue { tick: 1, foreign_children, ..Venue::default() };
    world.place(stop(1, 2));
    let place = world.one_sent();
    deliver(&mut world, venue.execute(&place));
    let update = world.updates.last().expect("told");
    assert!(update.state == OrderState::Working && update.conditional);
    (world, venue)
}

#[test]
fn a_stop_triggers_and_its_fills_belong_to_its_strategy() {
    for foreign_children in [false, true] {
        let (mut world, mut venue) = waiting(account_config(), foreign_children);
        deliver(&mut world, venue.trigger(0));
        assert_eq!(world.state(id(1)), Some(OrderState::Triggering));
        deliver(&mut world, venue.trigger(0));
        let update = world.updates.last().expect("told");
        assert!(update.state == OrderState::Working && !update.conditional);
        deliver(&mut world, venue.fill(0, quantity(1)));
        deliver(&mut world, venue.fill(0, quantity(1)));
        assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Filled)));
        assert!(world.fills.iter().all(|fill| fill.strategy == STRATEGY && fill.key == OrderKey::Ours(id(1))));
        assert_eq!((world.fills.len(), world.alerts.len()), (2, 0));
    }
}

#[test]
fn the_triggered_order_may_report_before_the_report_that_names_it() {
    let (mut world, mut venue) = waiting(account_config(), true);
    venue.trigger(0);
    let mut triggered = venue.trigger(0);
    let naming = triggered.pop().expect("the naming report comes last");
    deliver(&mut world, triggered);
    let mut filled = venue.fill(0, quantity(2));
    filled.truncate(1);
    deliver(&mut world, filled);
    assert!(world.fills.is_empty(), "it could be a stranger's");
    world.input(naming);
    assert_eq!((world.fills.len(), world.fills[0].strategy), (1, STRATEGY));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Filled)));
}

#[test]
fn the_owner_of_a_stranger_is_asked_for_when_the_naming_report_is_lost() {
    let (mut world, mut venue) = waiting(account_config(), true);
    venue.trigger(0);
    venue.trigger(0);
    let mut filled = venue.fill(0, quantity(2));
    filled.truncate(1);
    deliver(&mut world, filled);
    world.pass(Span::from_millis(300));
    let ask = world.one_sent();
    assert!(is_question(&ask));
    deliver(&mut world, venue.execute(&ask));
    assert_eq!((world.fills.len(), world.fills[0].strategy), (1, STRATEGY));
}

#[test]
fn a_real_stranger_is_released_when_no_order_claims_it() {
    let (mut world, mut venue) = waiting(account_config(), true);
    let mut other = Venue { tick: 1, foreign_children: true, numbers: 50, ..Venue::default() };
    let mut outside = World::new();
    outside.place(stop(9, 2));
    other.execute(&outside.one_sent());
    other.trigger(0);
    other.trigger(0);
    let mut filled = other.fill(0, quantity(2));
    filled.truncate(1);
    deliver(&mut world, filled);
    world.pass(Span::from_millis(300));
    let ask = world.one_sent();
    deliver(&mut world, venue.execute(&ask));
    assert_eq!((world.fills.len(), world.fills[0].strategy), (1, StrategyIx::EXTERNAL));
    assert_eq!(world.count(AlertCode::ForeignOrder), 1);
    assert_eq!(world.state(id(1)), Some(OrderState::Working), "the stop still waits");
}

#[test]
fn a_refusal_at_the_trigger_alarms() {
    let (mut world, mut venue) = waiting(account_config(), false);
    deliver(&mut world, venue.trigger(0));
    deliver(&mut world, venue.refuse_trigger(0));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Rejected(0))));
    assert_eq!(world.count(AlertCode::TriggerRejected), 1);
}

#[test]
fn a_waiting_stop_is_cancelled_at_its_own_service_and_a_triggered_one_in_the_book() {
    let (mut world, mut venue) = waiting(account_config(), true);
    world.cancel(id(1));
    let cancel = world.one_sent();
    assert!(matches!(cancel.kind, CommandKind::Cancel { conditional: true, .. }));
    deliver(&mut world, venue.execute(&cancel));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Canceled)));

    let (mut world, mut venue) = waiting(account_config(), true);
    deliver(&mut world, venue.trigger(0));
    deliver(&mut world, venue.trigger(0));
    world.cancel(id(1));
    let cancel = world.one_sent();
    let own = venue.child_key(0);
    assert!(matches!(cancel.kind, CommandKind::Cancel { conditional: false, key, .. } if key == own));
    deliver(&mut world, venue.execute(&cancel));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Canceled)));
}

#[test]
fn a_stuck_trigger_alarms_once_cancels_and_closes_the_position() {
    for (policy, held, closes) in [
        (OnStuckTrigger::Close, 5, Some(2)),
        (OnStuckTrigger::Close, 1, Some(1)),
        (OnStuckTrigger::Close, 0, None),
        (OnStuckTrigger::Alert, 5, None),
    ] {
        let (mut world, mut venue) = waiting(AccountConfig { on_stuck_trigger: policy, ..account_config() }, false);
        // A long position, bought before.
        if held > 0 {
            world.place(limit(2, held));
            let place = world.one_sent();
            deliver(&mut world, venue.execute(&place));
            deliver(&mut world, venue.fill(1, quantity(held)));
        } else {
            let net = crate::num::NetQuantity::ZERO;
            let cost = crate::num::Money::zero(crate::id::AssetIx(0));
            world.event(&Event::Position(crate::event::VirtualPosition {
                account: ACCOUNT,
                strategy: STRATEGY,
                symbol: BTC,
                quantity: net,
                cost,
                account_quantity: net,
            }));
        }
        deliver(&mut world, venue.trigger(0));
        world.pass(Span::from_secs(6));
        let ask = world.one_sent();
        assert!(is_question(&ask), "first it is asked for: the report may be lost");
        deliver(&mut world, venue.execute(&ask));
        assert_eq!(world.alerts.len(), 0);
        world.pass(Span::from_millis(4_200));
        assert_eq!(world.count(AlertCode::StuckTrigger), 1);
        let cancels = world.take_sent().iter().filter(|c| matches!(c.kind, CommandKind::Cancel { .. })).count();
        assert_eq!(cancels, usize::from(policy == OnStuckTrigger::Close));
        let asked = std::mem::take(&mut world.intents);
        assert_eq!(asked.iter().map(closing).collect::<Vec<_>>(), Vec::from_iter(closes));
        if let Some(Intent::Place(intent)) = asked.first() {
            let at = venue.orders.len();
            world.place(crate::order::NewOrder { intent: *intent, send_reduce_only: true, held_price: price(100) });
            for command in world.take_sent() {
                deliver(&mut world, venue.execute(&command));
            }
            deliver(&mut world, venue.fill(at, intent.quantity));
        }
        world.pass(Span::from_secs(60));
        assert_eq!((world.count(AlertCode::StuckTrigger), world.intents.len()), (1, 0), "once");
    }
}

/// The quantity of a closing intent, which must be what the policy says.
fn closing(intent: &Intent) -> i64 {
    let Intent::Place(order) = intent else { panic!("{intent:?}") };
    assert!(order.reduce_only && order.terms == Terms::Market && order.side == Side::Sell);
    assert!(order.id.counter >= 0x8000_0000 && order.id.strategy == STRATEGY && order.id.epoch == EPOCH);
    order.quantity.mantissa()
}

#[test]
fn a_stop_that_closes_the_position_closes_all_of_it_when_stuck() {
    let mut world = World::new();
    let mut venue = Venue { tick: 1, ..Venue::default() };
    let mut new = stop(1, 0);
    if let Terms::Conditional(terms) = new.intent.terms {
        new.intent.terms = Terms::Conditional(Conditional { close_position: true, ..terms });
    }
    for order in [new, limit(2, 7)] {
        world.place(order);
        let place = world.one_sent();
        deliver(&mut world, venue.execute(&place));
    }
    deliver(&mut world, venue.fill(1, quantity(7)));
    deliver(&mut world, venue.trigger(0));
    world.pass(Span::from_millis(10_200));
    assert_eq!(world.intents.iter().map(closing).collect::<Vec<_>>(), [7]);
}

#[test]
fn a_stop_that_ended_while_nobody_listened_is_found_with_its_fills() {
    // Triggered and filled between two starts; the order in the book has another client id, so only the trades tell.
    for foreign_children in [false, true] {
        let (mut world, mut venue) = waiting(account_config(), foreign_children);
        venue.trigger(0);
        venue.trigger(0);
        venue.fill(0, quantity(2));
        world.input(Input::Start { epoch: EPOCH + 1 });
        let asked_at = world.now.plus(Span::from_millis(5));
        world.now = asked_at.plus(Span::from_millis(5));
        world.event(&Event::Finding(Finding::OpenConditionals { account: ACCOUNT, asked_at, orders: Vec::new() }));
        for _ in 0..40 {
            for command in world.take_sent() {
                deliver(&mut world, venue.execute(&command));
            }
            if world.next_timer().is_some() {
                world.fire();
            }
        }
        assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Filled)), "{foreign_children}");
        assert_eq!((world.fills.len(), world.fills[0].strategy), (1, STRATEGY));
    }
}

#[test]
fn an_unknown_stop_is_asked_for_at_its_own_service() {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(stop(1, 2));
    let place = world.one_sent();
    venue.execute(&place);
    let lost = RequestOutcome { command: place.id, account: ACCOUNT, outcome: Outcome::LinkLost };
    world.input(Input::Outcome(lost));
    let ask = world.one_sent();
    assert!(matches!(&ask.kind, CommandKind::Query(crate::command::Query::Order { conditional: true, .. })));
    deliver(&mut world, venue.execute(&ask));
    assert_eq!(world.state(id(1)), Some(OrderState::Working));
}

#[test]
fn an_absence_asked_for_before_the_triggered_order_was_seen_proves_nothing() {
    let (mut world, mut venue) = waiting(account_config(), true);
    deliver(&mut world, venue.trigger(0));
    let mut triggered = venue.trigger(0);
    world.input(triggered.remove(1));
    // Its own client id is not known: our key finds nothing in the book, again and again.
    let mut asked = 0;
    while asked < 3 {
        world.fire();
        for ask in world.take_sent() {
            asked += 1;
            let answer = venue.execute(&ask);
            match asked {
                1 => deliver(&mut world, answer),
                // The conditional-order service's answer is lost.
                2 => {}
                // The order reports while the answer is on its way.
                _ => {
                    world.pass(Span::from_millis(1));
                    deliver(&mut world, std::mem::take(&mut triggered));
                    deliver(&mut world, answer);
                }
            }
        }
    }
    world.pass(Span::from_secs(60));
    assert_eq!((world.state(id(1)), world.alerts.len()), (Some(OrderState::Working), 0));
}
