//! Level updates per second: the depth book against its naive twin, in one run, on one feed.
//!
//! The feed is the recorded one of BTCUSDT where `QCAT_TEST_DATA` is set, and a generated one of the same shape (distances from the
//! best, share of changed, added and removed levels, levels in a diff) everywhere.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/recording.rs"]
#[allow(dead_code)] // The quotes are for the tests.
mod recording;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qcat_core::book::naive::NaiveBook;
use qcat_core::book::{BookOutcome, DepthBook, Markets};
use qcat_core::id::{SymbolIx, TradeId};
use qcat_core::market::{BookLevels, Level, MarketEvent, MarketInput, Quote, Trade};
use qcat_core::num::{Price, Quantity, Side};
use qcat_core::time::Ts;
use std::hint::black_box;

/// A seeded generator (Knuth's MMIX constants), good enough to scatter levels.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// A distance from the best in ticks: each octave up to 4,096 about as likely, the middle ones more so.
    fn distance(&mut self) -> i64 {
        let octave = 2 + self.below(6) + self.below(6);
        self.below(1 << octave) as i64
    }
}

fn level(price: i64, quantity: u64) -> Level {
    Level { price: Price::from_mantissa(price), quantity: Quantity::from_mantissa(quantity as i64).unwrap() }
}

/// A snapshot and diffs of a market that wanders; prices have no tick of one mantissa unit.
fn generated(diffs: usize) -> (BookLevels, Vec<BookLevels>) {
    const TICK: i64 = 10_000_000;
    let mut dice = Dice(7);
    let mut best = 618_000i64;
    let side = |sign: i64| (1..=1_000).map(|i| level((best + sign * i) * TICK, 5)).collect();
    let snapshot = BookLevels { first_id: 1, last_id: 1, previous_id: 0, bids: side(-1), asks: side(1) };
    let mut list = Vec::new();
    for id in 1..=diffs as u64 {
        let moved = best + dice.below(7) as i64 - 3;
        let mut changed = |sign: i64| {
            let mut side: Vec<Level> = (0..34)
                .map(|_| {
                    level((moved + sign * (1 + dice.distance())) * TICK, [0, 0, 3, 5, 7, 9][dice.below(6) as usize])
                })
                .collect();
            // What the market moved over disappears.
            let passed = if sign < 0 { moved..best + 1 } else { best..moved + 1 };
            side.extend(passed.map(|price| level(price * TICK, 0)));
            side.sort_by_key(|level| level.price);
            side.dedup_by_key(|level| level.price);
            side
        };
        let (bids, asks) = (changed(-1), changed(1));
        list.push(BookLevels { first_id: id + 1, last_id: id + 1, previous_id: id, bids, asks });
        best = moved;
    }
    (snapshot, list)
}

fn race(criterion: &mut Criterion, name: &str, snapshot: &BookLevels, diffs: &[BookLevels]) {
    let updates: usize = diffs.iter().map(|diff| diff.bids.len() + diff.asks.len()).sum();
    let mut group = criterion.benchmark_group(format!("book/{name}"));
    group.throughput(Throughput::Elements(updates as u64)).sample_size(20);
    group.bench_function("depth", |bench| {
        let mut book = DepthBook::new();
        bench.iter(|| {
            assert_eq!(book.apply_reset(snapshot), BookOutcome::Applied);
            for diff in diffs {
                assert!(!matches!(black_box(book.apply_delta(diff)), BookOutcome::Gap(_)));
            }
            black_box(book.best_bid())
        });
    });
    group.bench_function("naive", |bench| {
        let mut book = NaiveBook::default();
        bench.iter(|| {
            assert_eq!(book.apply_reset(snapshot), BookOutcome::Applied);
            for diff in diffs {
                assert!(!matches!(black_box(book.apply_delta(diff)), BookOutcome::Gap(_)));
            }
            black_box(book.bids.len())
        });
    });
    group.finish();
}

fn books(criterion: &mut Criterion) {
    let (snapshot, diffs) = generated(5_000);
    race(criterion, "generated", &snapshot, &diffs);
    if let Some(feed) = recording::depth_feed("usdm_btcusdt_20240808.gz") {
        let (snapshot, diffs) = recording::session_order(&feed);
        race(criterion, "recorded", &snapshot, &diffs);
    }
}

/// The cost of a quote and of a trade in the market state.
fn markets(criterion: &mut Criterion) {
    let input = |event| MarketInput {
        symbol: SymbolIx(3),
        exchange_time: Ts::from_millis(1),
        receive_time: Ts::from_millis(1),
        derived: false,
        event,
    };
    let (price, quantity) = (Price::from_mantissa(100), Quantity::from_mantissa(1).unwrap());
    let mut group = criterion.benchmark_group("markets");
    group.throughput(Throughput::Elements(1));
    let ask = Price::from_mantissa(101);
    let quote = Quote { update_id: 1, bid: price, bid_quantity: quantity, ask, ask_quantity: quantity };
    let mut markets = Markets::default();
    let mut next = input(MarketEvent::Quote(quote));
    group.bench_function("quote", |bench| {
        bench.iter(|| {
            if let MarketEvent::Quote(quote) = &mut next.event {
                quote.update_id += 1;
            }
            markets.apply(black_box(&next))
        });
    });
    let trade = Trade { id: TradeId(1), price, quantity, aggressor: Side::Buy, on_book: true };
    let mut next = input(MarketEvent::Trade(trade));
    group.bench_function("trade", |bench| {
        bench.iter(|| {
            if let MarketEvent::Trade(trade) = &mut next.event {
                trade.id.0 += 1;
            }
            markets.apply(black_box(&next))
        });
    });
    group.finish();
}

criterion_group!(benches, books, markets);
criterion_main!(benches);
