#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::lane::LaneState;
use crate::runtime::testkit::*;
use qcat_core::engine::Observer;
use qcat_core::event::{Event, Station};
use qcat_core::id::Seq;
use qcat_io::disk::Disk;
use qcat_io::journal::{Durability, Follower};
use std::sync::atomic::AtomicBool;

fn journaled(world: &World, after: Seq) -> Vec<Facts> {
    world.lane.sync().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
    let mut follower = Follower::open(disk, &options(Durability::Group).dir, 0, world.lane.registry(), after).unwrap();
    let durable = world.lane.durable().get();
    std::iter::from_fn(|| follower.next(durable).unwrap()).collect()
}

fn drink(subscription: &Subscription) -> Vec<Told> {
    std::iter::from_fn(|| if let Next::Told(told) = subscription.look() { Some(told) } else { None }).collect()
}

fn trade(world: &World, rounds: u32) {
    for _ in 0..rounds {
        world.quote();
        world.settle();
    }
}

#[test]
fn a_subscriber_hears_what_the_journal_tells_without_a_hole() {
    let world = World::running(&["steady"], Durability::Group, None);
    let feed = Feed::of(&world.lane, 0, true);
    let subscription = feed.subscribe(10_000);
    let begin = feed.passed();
    trade(&world, 30);
    let told = drink(&subscription);
    assert!(told.len() > 20 && told.iter().any(|told| !told.facts.orders.is_empty()));
    let mut last = begin;
    for told in &told {
        assert_eq!(told.after, Some(last));
        last = told.facts.seq;
    }
    assert!(feed.passed() >= last);
    let live: Vec<Facts> = told.iter().map(|told| (*told.facts).clone()).collect();
    assert_eq!(live, journaled(&world, begin));
    assert!(matches!(subscription.look(), Next::Nothing));
}

#[test]
fn who_falls_behind_is_told_so_and_sees_the_hole_when_he_is_back() {
    let world = World::running(&["steady"], Durability::Group, None);
    let feed = Feed::of(&world.lane, 0, true);
    let (slow, quick) = (feed.subscribe(3), feed.subscribe(10_000));
    trade(&world, 10);
    let heard = drink(&slow);
    assert_eq!(heard.len(), 3);
    assert!(matches!(slow.look(), Next::Behind));
    trade(&world, 1);
    assert!(matches!(slow.look(), Next::Behind), "nothing comes before it rejoins");
    slow.rejoin();
    trade(&world, 1);
    let again = drink(&slow);
    assert!(again[0].after > Some(heard[2].facts.seq), "the hole is seen");
    // What the journal tells closes it.
    let missed = journaled(&world, heard[2].facts.seq);
    assert!(missed.iter().any(|facts| Some(facts.seq) == again[0].after));
    assert!(drink(&quick).len() > 10, "others lose nothing");
    drop(slow);
    assert_eq!(feed.0.slots.load().len(), 1);
}

/// Panics at the desk once, when told to.
struct Saboteur(Arc<AtomicBool>);

impl Observer for Saboteur {
    fn before_step(&mut self, station: Station, _seq: Seq, _event: &Event) {
        if matches!(station, Station::Desk(_)) && self.0.swap(false, Ordering::AcqRel) {
            panic!("sabotage");
        }
    }
}

#[test]
fn a_step_that_broke_the_engine_is_left_to_the_journal() {
    let armed = Arc::new(AtomicBool::new(false));
    let world = World::running(&["steady"], Durability::Group, Some(Box::new(Saboteur(armed.clone()))));
    let feed = Feed::of(&world.lane, 0, true);
    let subscription = feed.subscribe(10_000);
    trade(&world, 5);
    let known = drink(&subscription).last().unwrap().facts.seq;
    armed.store(true, Ordering::Release);
    // The desk takes the next quote's orders or reports.
    for _ in 0..20 {
        if world.lane.state() == LaneState::Running {
            world.quote();
            world.lane.turn();
        }
    }
    assert_eq!(world.lane.state(), LaneState::Broken);
    let broken = world.lane.read(|engine| engine.seq());
    let before = drink(&subscription);
    assert!(matches!(subscription.look(), Next::Behind), "whoever did not fold it is behind");
    subscription.rejoin();
    world.lane.rebuild(Station::Desk(ACCOUNT)).unwrap();
    trade(&world, 3);
    let after = drink(&subscription);
    assert_eq!(after[0].after, Some(broken), "and sees a hole");
    let told: Vec<Told> = before.into_iter().chain(after).collect();
    assert!(told.iter().all(|told| told.facts.seq != broken));
    let live: Vec<Facts> = told.iter().map(|told| (*told.facts).clone()).collect();
    let all = journaled(&world, known);
    let others: Vec<Facts> = all.into_iter().filter(|facts| facts.seq != broken).collect();
    assert_eq!(live, others);
}
