//! How soon the fate of an order is settled that nobody is sure of.

use super::world::{ACCOUNT, World, id, is_question, limit};
use crate::command::{Answer, Outcome, QueryAnswer, RequestOutcome};
use crate::config::Timing;
use crate::event::{Event, Input};
use crate::order::reconcile::Finding;
use crate::order::{End, OrderState};
use crate::time::{Span, Ts};

/// An order whose every question was lost with the link, for a minute.
fn cut_off() -> World {
    let mut world = World::new();
    world.place(limit(1, 2));
    world.take_sent();
    let begun = world.now;
    while world.now.since(begun) < Span::from_secs(60) {
        world.fire();
        for command in world.take_sent() {
            let outcome = Outcome::LinkLost;
            world.input(Input::Outcome(RequestOutcome { command: command.id, account: ACCOUNT, outcome }));
        }
    }
    assert!(world.next_timer().is_some_and(|at| at.since(world.now) > Span::from_secs(10)), "the pause has grown");
    world
}

fn settles_at_once(mut world: World) {
    for _ in 0..2 {
        let asked = world.take_sent();
        assert!(asked.len() == 1 && is_question(&asked[0]), "{asked:?}");
        let result = Ok(Answer::NoSuchOrder);
        world.input(Input::Answer(QueryAnswer { command: asked[0].id, account: ACCOUNT, result }));
        world.fire();
    }
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::NeverArrived)));
}

#[test]
fn an_order_that_is_to_go_is_asked_for_at_once() {
    let mut world = cut_off();
    world.cancel(id(1));
    settles_at_once(world);
}

#[test]
fn a_venue_that_answers_again_is_asked_at_once() {
    let mut world = cut_off();
    let (asked_at, orders) = (world.now, Vec::new());
    world.event(&Event::Finding(Finding::OpenOrders { account: ACCOUNT, asked_at, orders }));
    settles_at_once(world);
}

#[test]
fn an_order_proves_absent_only_by_questions_from_after_it_was_written() {
    let mut world = World::new();
    world.place(limit(1, 2));
    let place = world.one_sent().id;
    let absent = Timing::default().absent_after;
    let settled = |world: &mut World, until: Ts| {
        while world.next_timer().is_some_and(|at| at < until) {
            world.fire();
            for command in world.take_sent() {
                let result = Ok(Answer::NoSuchOrder);
                world.input(Input::Answer(QueryAnswer { command: command.id, account: ACCOUNT, result }));
            }
        }
        world.state(id(1)) == Some(OrderState::Done(End::NeverArrived))
    };
    // The journal held it back; the questions about it were asked before it left.
    let written = world.now.plus(Span::from_secs(12));
    assert!(!settled(&mut world, written));
    world.now = written;
    let outcome = Outcome::Written;
    world.input(Input::Outcome(RequestOutcome { command: place, account: ACCOUNT, outcome }));
    assert!(!settled(&mut world, written.plus(absent)));
    assert!(settled(&mut world, written.plus(absent).plus(Span::from_secs(60))));
}
