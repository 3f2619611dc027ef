//! From the bytes of a frame to the bytes of a signed order: decode, admit, journal, engine, journal, release, encode, sign.
//!
//! Prints p50, p99, p99.9 of inputs that led to an order and of those that did not, and allocations per event; `group` apart,
//! where an order waits for the disk. The same frames are decoded alone in the same run as the baseline.
//! Run: `cargo bench --bench tick_to_order`.

use qcat_core::binance::decode::{Frame, decode_frame};
use qcat_core::binance::encode::{self, Stamp};
use qcat_core::binance::instruments;
use qcat_core::command::CommandKind;
use qcat_core::engine::Engine;
use qcat_core::engine::driver::{Driver, DriverOptions};
use qcat_core::event::{Decision, Input, StreamState};
use qcat_core::id::{AccountIx, OrderKey, SymbolIx};
use qcat_core::num::Money;
use qcat_core::strategy::{
    Needs, OrderSpec, ParamError, Params, Registry, Strategy, StrategyContext, StrategyEvent, StrategySpec,
};
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{AccountSpec, Fees, Venue, VenueConfig};
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Durability, Journal, Options, Priority};
use qcat_io::sign::Signer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// Counting allocations needs an allocator of its own; it only passes calls on.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every fiftieth quote: an order far from the market, and the one before it cancelled.
struct Pulse {
    quotes: u64,
    last: Option<qcat_core::id::ClientOrderId>,
}

impl Strategy for Pulse {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        let StrategyEvent::Quote { symbol, quote } = event else { return };
        self.quotes += 1;
        if !self.quotes.is_multiple_of(50) {
            return;
        }
        if let Some(id) = self.last.take() {
            ctx.cancel(OrderKey::Ours(id));
        }
        let Some(instrument) = ctx.instrument(*symbol) else { return };
        let price = instrument.offset(quote.bid, -200);
        let Ok(quantity) = instrument.parse_quantity("0.002") else { return };
        self.last = ctx.place(OrderSpec::post_only(*symbol, qcat_core::num::Side::Buy, price, quantity));
    }
}

fn pulse(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    Ok(Box::new(Pulse { quotes: 0, last: None }))
}

fn main() {
    let frames = frames();
    for durability in [Durability::Async, Durability::Group] {
        run(&frames, durability);
    }
}

/// Quotes and trades as the exchange sends them, from the recorded slice.
fn frames() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recorded/usdm_btcusdt_20240808_head.gz");
    let mut lines = qcat_io::history::lines::Lines::open(path.as_ref()).expect("the slice is in the repository");
    let (mut line, mut frames) = (String::new(), Vec::new());
    while lines.next_line(&mut line).expect("readable") {
        let frame = line.split_once(' ').map_or("", |(_, frame)| frame);
        if frame.contains("@bookTicker") || frame.contains("@trade") {
            frames.push(frame.as_bytes().to_vec());
        }
    }
    frames
}

/// An engine that is reconciled and runs the strategy: brought there by the driver, beside a venue.
fn engine(start: Ts) -> Engine {
    let universe = instruments::builtin_universe().expect("embedded");
    let mut registry = Registry::builtin();
    let spec = StrategySpec { name: "pulse", doc: "bench", params: &[], factory: pulse };
    registry.register(spec).expect("a new name");
    let text = "strategies: [{name: p, kind: pulse, symbols: [BTCUSDT]}]\n\
                accounts: [{name: a, limits: {order_rate_max: 100000, runaway_orders_max: 100000, open_orders_max: 10000}}]\n\
                risk: {heartbeat: 60s, budget_ttl: 600s}\n";
    let config = qcat::config::parse("bench", text, &[]).expect("valid");
    let mut config = config.engine(&universe).expect("known symbols");
    config.accounts[0].trading = true;
    let mut venue = Venue::new(VenueConfig::default(), universe.clone());
    let usdt = universe.asset("USDT").expect("embedded");
    let spec = AccountSpec { balances: vec![Money::units(usdt, 1_000_000)], fees: Fees::default(), leverage: 20 };
    venue.add_account(AccountIx(0), &spec);
    let options = DriverOptions::default();
    let mut driver =
        Driver::new(Arc::new(registry), venue, options, start, universe.definitions(), config).expect("starts");
    driver.deliver(start, Input::Stream(StreamState::MarketUp(SymbolIx(0))));
    driver.run_until(start.plus(Span::from_secs(5)), &mut |_| {}).expect("runs");
    driver.into_engine()
}

fn run(frames: &[Vec<u8>], durability: Durability) {
    let start = Ts::from_millis(1_723_161_000_000);
    let mut engine = engine(start);
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { durability, segment_size: 1 << 30, ..Options::default() };
    let (mut journal, _) = Journal::open(Arc::new(RealDisk), dir.path(), options).expect("a journal");
    // The journal counts from one; the engine has a past from the driver.
    let skip = engine.seq().0;
    let signer = Signer::new(&"secret".to_owned().into());
    let universe = engine.universe().clone();
    let rounds = 200_000 / frames.len() + 1;
    let (mut orders, mut quiet, mut decode) = (Vec::new(), Vec::new(), Vec::new());
    let (mut allocations, mut events) = (0u64, 0u64);
    for round in 0..rounds {
        for frame in frames {
            let now = engine.now().plus(Span::from_micros(500));
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let begin = Instant::now();
            let Ok(Frame::Market(input)) = decode_frame(frame, &universe, None, now) else { continue };
            let decoded = begin.elapsed();
            let admitted = engine.admit(now, Input::Market(renumbered(input, round)));
            let (seq, at) = (admitted.seq, admitted.at);
            let mut journaled = admitted.clone();
            journaled.seq = qcat_core::id::Seq(seq.0 - skip);
            let journaled_seq = journaled.seq;
            journal.append_input(&journaled, Priority::Normal).expect("appended");
            engine.step(admitted);
            let mut sent = false;
            if !engine.decisions().is_empty() {
                let decisions = engine.take_decisions();
                let mark = journal.append_decisions(journaled_seq, at, &decisions, Priority::Normal).expect("appended");
                while !journal.may_release(mark) {
                    journal.sync_now().expect("synced");
                }
                for decision in &decisions {
                    let Decision::Command(command) = decision else { continue };
                    let stamp = Stamp { at: now, window: Span::from_secs(5) };
                    if let Ok(mut encoded) = encode::command(&command.kind, &universe, stamp) {
                        signer.sign(&mut encoded.query);
                        sent |= matches!(command.kind, CommandKind::Place(_));
                        black_box(encoded.query);
                    }
                }
            }
            let took = begin.elapsed();
            allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
            events += 1;
            decode.push(decoded);
            if sent { orders.push(took) } else { quiet.push(took) }
        }
    }
    println!(
        "journal {durability:?}: {events} frames, {:.2} allocations per event",
        allocations as f64 / events as f64
    );
    for (name, samples) in
        [("frame -> signed order", &mut orders), ("frame without order", &mut quiet), ("decode alone", &mut decode)]
    {
        samples.sort_unstable();
        let at =
            |share: f64| samples.get(((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1)));
        let text = |share| at(share).map_or("-".to_owned(), |d| format!("{:.2} µs", d.as_nanos() as f64 / 1e3));
        println!(
            "  {name:<24} n {:>7}   p50 {:>10}   p99 {:>10}   p99.9 {:>10}",
            samples.len(),
            text(0.5),
            text(0.99),
            text(0.999)
        );
    }
}

/// The same frames again and again are new events: their ids go on.
fn renumbered(mut input: qcat_core::market::MarketInput, round: usize) -> qcat_core::market::MarketInput {
    use qcat_core::market::MarketEvent;
    match &mut input.event {
        MarketEvent::Quote(quote) => quote.update_id += round as u64 * 1_000_000_000,
        MarketEvent::Trade(trade) => trade.id.0 += round as i64 * 1_000_000,
        _ => {}
    }
    input
}
