//! The engine alone: quotes and trades of the recording, looped to a million, with a strategy that trades.
//!
//! `with venue` runs the driver with the simulated venue; `engine alone` steps a fresh engine through the very inputs that the first
//! run admitted, reports and answers among them, and ends in the same state. Then the same with more and more orders, resting or
//! ended, against a run with none. Prints events per second, nanoseconds and allocations per event.
//! Run: `cargo bench --bench engine`; `cargo bench --bench engine -- alone 1000000` (or `venue`, `growth`) for a profile.
#![allow(clippy::unwrap_used)]

#[path = "support/counting.rs"]
mod counting;
#[path = "engine/trader.rs"]
mod trader;
#[path = "engine/world.rs"]
mod world;

use counting::allocations;
use qcat_core::engine::Engine;
use qcat_core::engine::fold::Record;
use qcat_core::event::{Admitted, Input};
use qcat_core::market::MarketInput;
use std::time::{Duration, Instant};
use world::{Past, Tape, World, registry};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Market events of a run of the growth series.
const SERIES: usize = 200_000;
/// Orders of the growth series.
const SIZES: [u32; 5] = [0, 10, 100, 1_000, 10_000];
/// Repetitions of the growth series.
const ROUNDS: usize = 5;
/// A run is repeated this often and the best one counts: others use the machine too.
const REPEATS: usize = 3;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let what = args.next().unwrap_or_else(|| "all".to_owned());
    let events = args.next().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let tape = Tape::load();
    println!("{} quotes and trades recorded, looped to {events}", tape.len());
    if what != "growth" {
        whole(&tape, events, &what);
    }
    if what == "all" || what == "growth" {
        growth(&tape);
    }
}

/// One run with the venue, and the engine alone through what it admitted.
fn whole(tape: &Tape, events: usize, what: &str) {
    if what != "alone" {
        let best = (0..REPEATS).map(|_| with_venue(tape, Past::default(), events)).min_by_key(|m| m.took);
        best.unwrap().print("with venue");
    }
    if what == "venue" {
        return;
    }
    let (before, timed, engine) = recorded(tape, Past::default(), events);
    println!("{}", world::summary(&before, &timed, &engine));
    let mut best = None::<Measured>;
    for _ in 0..REPEATS {
        let run = alone(before.clone(), timed.clone(), events, &engine);
        best = Some(best.filter(|b| b.took <= run.took).unwrap_or(run));
    }
    best.unwrap().print("engine alone");
    allocations_by_kind(before, timed);
}

/// What a market event allocates that leads to nothing, and what all others do.
fn allocations_by_kind(before: Vec<Admitted>, timed: Vec<Admitted>) {
    let mut engine = warmed(before);
    let (mut quiet, mut other) = ((0u64, 0u64), (0u64, 0u64));
    for admitted in timed {
        let (market, start) = (is_market(&admitted.input).is_some(), allocations());
        engine.step(admitted);
        let count = if market && engine.decisions().is_empty() { &mut quiet } else { &mut other };
        *count = (count.0 + 1, count.1 + allocations() - start);
    }
    println!("  allocations: {} in {} quiet market events, {} in {} other inputs", quiet.1, quiet.0, other.1, other.0);
}

/// What a run cost.
struct Measured {
    events: usize,
    inputs: u64,
    took: Duration,
    allocations: u64,
}

impl Measured {
    fn nanos(&self) -> f64 {
        self.took.as_nanos() as f64 / self.events as f64
    }

    fn print(&self, name: &str) {
        println!(
            "{name:<16} {:>6.2} M events/s   {:>7.1} ns per event ({:.1} ns per input)   {:.3} allocations per event",
            1e3 / self.nanos(),
            self.nanos(),
            self.took.as_nanos() as f64 / self.inputs as f64,
            self.allocations as f64 / self.events as f64,
        );
    }
}

fn with_venue(tape: &Tape, past: Past, events: usize) -> Measured {
    let mut world = World::new(tape, past, false);
    world.make_past(tape);
    let inputs = world.driver.inputs();
    let (start, before) = (Instant::now(), allocations());
    world.run(tape, events);
    let took = start.elapsed();
    Measured { events, inputs: world.driver.inputs() - inputs, took, allocations: allocations() - before }
}

/// The inputs of a run: those until the orders of the past were made, and those that are timed; and the engine after them.
fn recorded(tape: &Tape, past: Past, events: usize) -> (Vec<Admitted>, Vec<Admitted>, Engine) {
    let mut world = World::new(tape, past, true);
    world.make_past(tape);
    let made = world.driver.engine().seq();
    world.run(tape, events);
    let inputs = world.driver.log().iter().filter_map(|record| match record {
        Record::Input(admitted) => Some(admitted.clone()),
        Record::Decisions(..) => None,
    });
    let (before, timed) = inputs.partition(|admitted| admitted.seq <= made);
    (before, timed, world.driver.into_engine())
}

fn warmed(before: Vec<Admitted>) -> Engine {
    let mut engine = Engine::new(registry());
    before.into_iter().for_each(|admitted| engine.step(admitted));
    engine
}

fn alone(before: Vec<Admitted>, timed: Vec<Admitted>, events: usize, same: &Engine) -> Measured {
    let mut engine = warmed(before);
    let inputs = timed.len() as u64;
    let (start, counted) = (Instant::now(), allocations());
    for admitted in timed {
        engine.step(admitted);
    }
    let (took, allocations) = (start.elapsed(), allocations() - counted);
    assert_eq!(engine.state_hash(), same.state_hash(), "the same inputs lead to the same state");
    Measured { events, inputs, took, allocations }
}

/// The same run with more and more orders. The sizes take turns, so that whatever else the machine does hits all of them.
fn growth(tape: &Tape) {
    let resting = |orders| Past { resting: orders, ended: 0 };
    let ended = |orders| Past { resting: 0, ended: orders };
    series(tape, "resting far away", SIZES.map(resting));
    series(tape, "ended in the past", SIZES.map(ended));
}

fn series(tape: &Tape, name: &str, pasts: [Past; SIZES.len()]) {
    println!("orders {name}, {SERIES} events:");
    let tapes = pasts.map(|past| recorded(tape, past, SERIES));
    let mut best = [(f64::MAX, f64::MAX); SIZES.len()];
    for _ in 0..ROUNDS {
        for (at, past) in pasts.into_iter().enumerate() {
            let (before, timed, engine) = &tapes[at];
            let venue = with_venue(tape, past, SERIES).nanos();
            let alone = alone(before.clone(), timed.clone(), SERIES, engine).nanos();
            best[at] = (best[at].0.min(venue), best[at].1.min(alone));
        }
    }
    for (at, (venue, alone)) in best.into_iter().enumerate() {
        println!(
            "  {:>6} orders ({} open at the end)   with venue {venue:>7.1} ns ×{:.2}   alone {alone:>7.1} ns ×{:.2}",
            SIZES[at],
            tapes[at].2.desk(world::ACCOUNT).map_or(0, |desk| desk.orders().count()),
            venue / best[0].0,
            alone / best[0].1,
        );
    }
}

/// Whether an input is market data.
fn is_market(input: &Input) -> Option<&MarketInput> {
    if let Input::Market(market) = input { Some(market) } else { None }
}
