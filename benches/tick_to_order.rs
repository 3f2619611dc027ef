//! From the bytes of a frame to the bytes of a signed order, through everything that the daemon has between its two sockets:
//! the market session (decoding, sequence, silence watch), the lane's inbox, its draining task (admit, journal, step, journal,
//! release), the account session (limits, encoding) and the signature.
//!
//! The recorded slice goes round and round with its ids and times going on; the simulated exchange answers, outside of what is
//! measured. A frame without order ends when the lane is at rest again. The first part warms up. The same frames decoded alone
//! and, for `group`, a bare fdatasync of the same disk are the baselines of the run. Allocations are this thread's.
//! Run: `cargo bench --bench tick_to_order`.

#[path = "support/counting.rs"]
mod counting;
#[path = "tick_to_order/world.rs"]
mod world;

use counting::allocations;
use qcat_core::binance::decode::decode_frame;
use qcat_core::binance::instruments;
use qcat_core::binance::server::Feed;
use qcat_core::id::{ClientOrderId, OrderKey};
use qcat_core::market::{MarketEvent, MarketInput};
use qcat_core::sim::derive::DeriveParams;
use qcat_core::strategy::{
    Needs, OrderSpec, ParamError, Params, Registry, Strategy, StrategyContext, StrategyEvent, StrategySpec,
};
use qcat_core::time::{Span, Ts};
use qcat_io::journal::Durability;
use std::fs::OpenOptions;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use world::World;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Every twentieth quote an order far from the market, or the cancellation of the one before.
struct Pulse {
    quotes: u64,
    last: Option<ClientOrderId>,
}

impl Strategy for Pulse {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        let StrategyEvent::Quote { symbol, quote } = event else { return };
        self.quotes += 1;
        if !self.quotes.is_multiple_of(20) {
            return;
        }
        if let Some(id) = self.last.take() {
            ctx.cancel(OrderKey::Ours(id));
            return;
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

const CONFIG: &str = "strategies: [{name: p, kind: pulse, symbols: [BTCUSDT]}]\n\
    accounts: [{name: a, limits: {order_rate_max: 100000, runaway_orders_max: 100000, open_orders_max: 10000}}]\n";
/// Share of the frames that only warm up.
const WARM: usize = 5;

fn main() {
    let frames = std::env::var("QCAT_FRAMES").ok().and_then(|text| text.parse().ok());
    let only = std::env::var("QCAT_DURABILITY").ok();
    for (durability, usual) in [(Durability::Async, 400_000), (Durability::Group, 40_000)] {
        if only.as_deref().is_none_or(|only| format!("{durability:?}").eq_ignore_ascii_case(only)) {
            run(frames.unwrap_or(usual), durability);
        }
    }
}

/// The recorded slice without end: each round's ids and times go on where the last one ended.
fn feed() -> Feed {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recorded/usdm_btcusdt_20240808_head.gz");
    let universe = instruments::builtin_universe().expect("embedded");
    let options = qcat_io::history::OpenOptions { derive: DeriveParams::NOTHING, ..Default::default() };
    let events = qcat_io::history::open(Path::new(path), &universe, &options).expect("in the repository");
    let events: Vec<MarketInput> = events.map(|event| event.expect("readable")).collect();
    let time = |event: Option<&MarketInput>| event.map_or(Ts::ZERO, |event| event.exchange_time);
    let length = time(events.last()).since(time(events.first())).nanos() + 1_000_000;
    let diffs = || events.iter().filter_map(|e| if let MarketEvent::BookDelta(l) = &e.event { Some(l) } else { None });
    let ids = diffs().next_back().map_or(0, |l| l.last_id) - diffs().next().map_or(0, |l| l.previous_id);
    let endless = (0..).flat_map(move |round: i64| {
        let again = move |event: &MarketInput| renumbered(event, round as u64 * ids, round, length);
        events.iter().map(again).collect::<Vec<_>>()
    });
    // A third of the recording's speed keeps the orders below the exchange's rate.
    Feed::new(endless, world::start(), 333, DeriveParams { marks: Some(Span::from_secs(1)), candles: Vec::new() })
        .expect("no candles")
}

fn renumbered(event: &MarketInput, ids: u64, round: i64, length: i64) -> MarketInput {
    let mut input = event.clone();
    input.exchange_time = input.exchange_time.plus(Span::from_nanos(round * length));
    match &mut input.event {
        MarketEvent::Quote(quote) => quote.update_id += ids,
        MarketEvent::Trade(trade) => trade.id.0 += round * 1_000_000,
        MarketEvent::BookDelta(levels) => {
            levels.first_id += ids;
            levels.last_id += ids;
            levels.previous_id += ids;
        }
        _ => {}
    }
    input
}

#[derive(Default)]
struct Samples {
    times: Vec<Duration>,
    allocations: u64,
}

impl Samples {
    fn push(&mut self, took: Duration, allocations: u64) {
        self.times.push(took);
        self.allocations += allocations;
    }

    fn print(mut self, name: &str) {
        self.times.sort_unstable();
        let count = self.times.len();
        let at = |share: f64| match self.times.get(((count as f64 * share) as usize).min(count.saturating_sub(1))) {
            Some(took) => format!("{:.2} µs", took.as_nanos() as f64 / 1e3),
            None => "-".to_owned(),
        };
        let allocations = self.allocations as f64 / count.max(1) as f64;
        println!(
            "  {name:<26} n {count:>7}   p50 {:>10}   p99 {:>10}   p99.9 {:>10}   allocations {allocations:>6.2}",
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
}

#[derive(Default)]
struct Results {
    orders: Samples,
    cancels: Samples,
    ticks: Samples,
    diffs: Samples,
    decode: Samples,
}

fn run(frames: usize, durability: Durability) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Not a temporary directory of the system: that one is often in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let local = tokio::task::LocalSet::new();
    let task = local.spawn_local(measure(dir.path().to_owned(), frames, durability));
    let results = runtime.block_on(local.run_until(task)).expect("no panic");
    println!("journal {durability:?}");
    results.orders.print("frame -> signed order");
    results.cancels.print("frame -> signed cancel");
    results.ticks.print("quote or trade, no request");
    results.diffs.print("depth diff, no request");
    results.decode.print("decode alone");
    if durability == Durability::Group {
        bare_sync(dir.path()).print("bare pwrite and fdatasync");
    }
}

async fn measure(dir: std::path::PathBuf, frames: usize, durability: Durability) -> Results {
    let mut registry = Registry::builtin();
    let spec = StrategySpec { name: "pulse", doc: "bench", params: &[], factory: pulse };
    registry.register(spec).expect("a new name");
    let world = World::new(&dir, durability, registry, CONFIG, feed(), allocations);
    let (mut results, mut seen) = (Results::default(), 0);
    while seen < frames {
        world.advance().await;
        while let Some((link, text)) = world.next_frame() {
            seen += 1;
            if seen == frames / WARM {
                assert!(world.is_up(), "the sessions are up after the warm-up");
                results = Results::default();
            }
            let begin = Instant::now();
            black_box(decode_frame(text.as_bytes(), &world.universe(), None, Ts::ZERO)).expect("decodes");
            results.decode.push(begin.elapsed(), 0);
            one(&world, &mut results, link, text.as_bytes()).await;
            world.settle().await;
        }
    }
    assert_eq!(world.refused.get(), 0, "the exchange refuses nothing");
    assert!(world.accepted.get() as usize >= results.orders.times.len(), "every order was answered");
    results
}

/// One frame: up to the signed bytes of its first order, or until the lane is at rest.
async fn one(world: &World, results: &mut Results, link: qcat_core::binance::proto::LinkId, bytes: &[u8]) {
    // A frame comes to a thread that was just asked by the runtime.
    tokio::task::yield_now().await;
    world.sent.set(None);
    let before = allocations();
    let begin = Instant::now();
    world.frame(link, bytes);
    world::turn_of_others().await;
    while world.lane.held(world::ACCOUNT) > 0 {
        world::turn_of_others().await;
    }
    let (end, after) = (Instant::now(), allocations());
    match world.sent.take() {
        Some(sent) if sent.places => results.orders.push(sent.at - begin, sent.allocations - before),
        Some(sent) => results.cancels.push(sent.at - begin, sent.allocations - before),
        None if is_diff(bytes) => results.diffs.push(end - begin, after - before),
        None => results.ticks.push(end - begin, after - before),
    }
}

fn is_diff(bytes: &[u8]) -> bool {
    bytes.windows(5).any(|window| window == b"\"pu\":")
}

/// What the disk takes for a record alone.
fn bare_sync(dir: &Path) -> Samples {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(dir.join("bare")).expect("a file");
    file.write_all_at(&vec![0; 1 << 20], 0).and_then(|()| file.sync_all()).expect("written");
    let mut samples = Samples::default();
    for at in 0..2_000 {
        let begin = Instant::now();
        file.write_all_at(&[7; 200], at * 200).and_then(|()| file.sync_data()).expect("synced");
        samples.push(begin.elapsed(), 0);
    }
    samples
}
