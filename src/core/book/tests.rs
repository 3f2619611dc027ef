//! Tests of the depth book against its twin, of the sequence rules, and of the market state.

use super::naive::NaiveBook;
use super::*;
use crate::id::TradeId;
use crate::market::{BookLevels, Level};
use crate::num::{Quantity, Rate, Side};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn level(price: i64, quantity: i64) -> Level {
    Level { price: Price::from_mantissa(price), quantity: Quantity::from_mantissa(quantity).expect("not negative") }
}

fn levels(list: &[(i64, i64)]) -> Vec<Level> {
    list.iter().map(|&(price, quantity)| level(price, quantity)).collect()
}

fn diff(previous_id: u64, first_id: u64, last_id: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> BookLevels {
    BookLevels { first_id, last_id, previous_id, bids: levels(bids), asks: levels(asks) }
}

fn snapshot(last_id: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> BookLevels {
    diff(0, last_id, last_id, bids, asks)
}

/// A book at update 100: bids 99 and 98, asks 101 and 102.
fn book() -> DepthBook {
    let mut book = DepthBook::new();
    assert_eq!(book.apply_reset(&snapshot(100, &[(99, 5), (98, 6)], &[(101, 7), (102, 8)])), BookOutcome::Applied);
    book
}

#[test]
fn the_first_diff_must_bridge_the_snapshot() {
    let sequence = |expected, found| BookOutcome::Gap(GapReason::Sequence { expected, found });
    let cases = [
        // (pu, U, u) against lastUpdateId 100
        ((80, 81, 99), BookOutcome::Stale),
        ((80, 81, 100), BookOutcome::Applied),
        ((99, 100, 100), BookOutcome::Applied),
        ((90, 95, 110), BookOutcome::Applied),
        ((99, 100, 110), BookOutcome::Applied),
        ((100, 101, 110), BookOutcome::Applied),
        ((100, 105, 110), BookOutcome::Applied),
        ((101, 102, 110), sequence(100, 101)),
        ((99, 110, 109), BookOutcome::Gap(GapReason::Malformed)),
        ((120, 105, 110), BookOutcome::Gap(GapReason::Malformed)),
    ];
    for ((previous, first, last), expected) in cases {
        let mut book = book();
        assert_eq!(
            book.apply_delta(&diff(previous, first, last, &[(97, 1)], &[])),
            expected,
            "{previous} {first} {last}"
        );
        let taken = expected == BookOutcome::Applied;
        assert_eq!(book.quantity_at(Side::Buy, Price::from_mantissa(97)).mantissa(), taken as i64);
    }
}

#[test]
fn later_diffs_must_chain_and_a_gap_lasts_until_the_next_snapshot() {
    let mut book = book();
    assert_eq!(book.apply_delta(&diff(95, 98, 105, &[], &[])), BookOutcome::Applied);
    assert_eq!(book.apply_delta(&diff(105, 110, 120, &[(99, 0)], &[(101, 9)])), BookOutcome::Applied);
    assert_eq!(book.last_update_id(), Some(120));
    assert_eq!((book.best_bid(), book.best_ask()), (Some(level(98, 6)), Some(level(101, 9))));
    // Bridging is for the first diff alone: this one overlaps.
    let overlap = book.apply_delta(&diff(110, 111, 130, &[], &[]));
    assert_eq!(overlap, BookOutcome::Gap(GapReason::Sequence { expected: 120, found: 110 }));
    assert_eq!((book.status(), book.last_update_id()), (BookStatus::Gap, None));
    assert_eq!((book.best_bid(), book.best_ask(), book.quote()), (None, None, None));
    assert_eq!(book.apply_delta(&diff(120, 121, 131, &[(99, 1)], &[])), BookOutcome::Void);
    assert_eq!(book.apply_reset(&snapshot(90, &[(97, 1)], &[])), BookOutcome::Applied);
    assert_eq!((book.status(), book.last_update_id()), (BookStatus::Live, Some(90)));
    assert_eq!(book.apply_delta(&diff(80, 81, 89, &[(97, 0)], &[])), BookOutcome::Stale);
    assert_eq!(book.best_bid(), Some(level(97, 1)));
}

#[test]
fn a_diff_before_any_snapshot_is_dropped() {
    let mut book = DepthBook::new();
    assert_eq!(book.apply_delta(&diff(0, 1, 2, &[(97, 1)], &[])), BookOutcome::Void);
    assert_eq!((book.status(), book.best_bid()), (BookStatus::Empty, None));
}

#[test]
fn a_crossed_or_impossible_book_is_void() {
    for (bids, asks, reason) in [
        (&[(101, 1)][..], &[][..], GapReason::Crossed),
        (&[], &[(98, 1)], GapReason::Crossed),
        (&[(0, 1)], &[], GapReason::Malformed),
        (&[], &[(-5, 0)], GapReason::Malformed),
    ] {
        let mut book = book();
        assert_eq!(book.apply_delta(&diff(100, 101, 110, bids, asks)), BookOutcome::Gap(reason));
        assert_eq!(book.status(), BookStatus::Gap);
        assert_eq!(book.apply_reset(&snapshot(7, &[(98, 1), (110, 1)], &[(101, 1), (99, 1)])), {
            BookOutcome::Gap(GapReason::Crossed)
        });
    }
    // The best ask moves through the old best bid, which goes in the same diff: not crossed.
    let mut book = book();
    assert_eq!(book.apply_delta(&diff(100, 101, 110, &[(99, 0)], &[(99, 3)])), BookOutcome::Applied);
    assert_eq!(book.best_ask(), Some(level(99, 3)));
}

#[test]
fn depth_is_summed_up_to_a_price() {
    let book = book();
    let depth = |side, price| book.depth_quantity(side, Price::from_mantissa(price)).mantissa();
    assert_eq!([100, 99, 98, 1].map(|price| depth(Side::Buy, price)), [0, 5, 11, 11]);
    assert_eq!([100, 101, 102, 500].map(|price| depth(Side::Sell, price)), [0, 7, 15, 15]);
    assert_eq!((book.level_count(Side::Buy), book.level_count(Side::Sell)), (2, 2));
}

/// One step of a random feed.
#[derive(Debug, Clone)]
enum Step {
    Reset { bids: Raw, asks: Raw },
    Diff { bids: Raw, asks: Raw, order: u8, skip: u64 },
    Void,
}

/// Levels as (price, quantity).
type Raw = Vec<(i64, i64)>;

const MIDDLE: i64 = 1_000;

/// Levels as (distance from the middle, quantity), turned into prices. A distance of zero on both sides crosses.
fn sides(bids: Raw, asks: Raw) -> (Raw, Raw) {
    let bids = bids.into_iter().map(|(distance, quantity)| (MIDDLE - distance, quantity)).collect();
    (bids, asks.into_iter().map(|(distance, quantity)| (MIDDLE + distance, quantity)).collect())
}

fn step() -> impl Strategy<Value = Step> {
    let near = || prop_oneof![1 => 0i64..3, 200 => 1i64..450];
    let change = move || prop::collection::vec((near(), prop_oneof![2 => Just(0i64), 3 => 1i64..9]), 0..40);
    let whole = || prop::collection::vec((1i64..450, 0i64..9), 0..400);
    let reset = (whole(), whole()).prop_map(|(bids, asks)| {
        let (bids, asks) = sides(bids, asks);
        Step::Reset { bids, asks }
    });
    let diff = (change(), change(), 0u8..4, prop_oneof![60 => Just(0u64), 1 => 1u64..5]).prop_map(|parts| {
        let (bids, asks) = sides(parts.0, parts.1);
        Step::Diff { bids, asks, order: parts.2, skip: parts.3 }
    });
    prop_oneof![3 => reset, 60 => diff, 1 => Just(Step::Void)]
}

/// Sorts a diff as the exchange does (rising), the other way round, or not at all.
fn arrange(mut list: Raw, order: u8) -> Raw {
    match order {
        0 => list.sort_by_key(|level| level.0),
        1 => list.sort_by_key(|level| -level.0),
        _ => {}
    }
    list
}

fn assert_same(fast: &DepthBook, naive: &NaiveBook) -> Result<(), TestCaseError> {
    prop_assert_eq!(fast.last_update_id(), naive.last_id);
    prop_assert!(fast.bids().eq(naive.bids.values().rev().copied()));
    prop_assert!(fast.asks().eq(naive.asks.values().copied()));
    prop_assert_eq!(fast.best_bid(), naive.bids.values().next_back().copied());
    prop_assert_eq!(fast.best_ask(), naive.asks.values().next().copied());
    prop_assert_eq!(fast.level_count(Side::Buy), naive.bids.len());
    prop_assert!(fast.is_uncrossed());
    for price in [MIDDLE - 100, MIDDLE, MIDDLE + 77] {
        let bids: i64 =
            naive.bids.values().filter(|l| l.price.mantissa() >= price).map(|l| l.quantity.mantissa()).sum();
        let asks: i64 =
            naive.asks.values().filter(|l| l.price.mantissa() <= price).map(|l| l.quantity.mantissa()).sum();
        prop_assert_eq!(fast.depth_quantity(Side::Buy, Price::from_mantissa(price)).mantissa(), bids);
        prop_assert_eq!(fast.depth_quantity(Side::Sell, Price::from_mantissa(price)).mantissa(), asks);
    }
    Ok(())
}

/// What a queue does with diffs that wait: first `U` and `pu`, last `u`, the newest quantity of each level.
fn merged(diffs: &[BookLevels]) -> BookLevels {
    let newest = |side: fn(&BookLevels) -> &Vec<Level>| {
        let all = diffs.iter().flat_map(|diff| side(diff).iter().map(|level| (level.price, *level)));
        all.collect::<BTreeMap<_, _>>().into_values().collect()
    };
    let (first, last) = (&diffs[0], &diffs[diffs.len() - 1]);
    BookLevels {
        first_id: first.first_id,
        last_id: last.last_id,
        previous_id: first.previous_id,
        bids: newest(|diff| &diff.bids),
        asks: newest(|diff| &diff.asks),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_fast_book_and_its_naive_twin_agree(steps in prop::collection::vec(step(), 1..120)) {
        let (mut fast, mut naive) = (DepthBook::new(), NaiveBook::default());
        let mut id = 1_000u64;
        for step in steps {
            match step {
                Step::Reset { bids, asks } => {
                    let reset = snapshot(id, &bids, &asks);
                    prop_assert_eq!(fast.apply_reset(&reset), naive.apply_reset(&reset));
                }
                Step::Diff { bids, asks, order, skip } => {
                    let (bids, asks) = (arrange(bids, order), arrange(asks, order));
                    let delta = diff(id + skip, id + skip + 1, id + skip + 3, &bids, &asks);
                    prop_assert_eq!(fast.apply_delta(&delta), naive.apply_delta(&delta));
                    id += skip + 3;
                }
                Step::Void => {
                    fast.void();
                    naive.void();
                }
            }
            assert_same(&fast, &naive)?;
        }
        // Stored and read back it is the same book, and the same bytes whatever slots are vacant.
        let bytes = encode_state(&fast);
        let read: DepthBook = decode_state("book", &bytes).expect("own state");
        prop_assert_eq!(&read, &fast);
        prop_assert_eq!(encode_state(&read), bytes);
    }

    #[test]
    fn merged_diffs_lead_to_the_same_book(
        changes in prop::collection::vec(prop::collection::vec((1i64..60, 0i64..3), 0..12), 2..30),
        cuts in prop::collection::vec(any::<bool>(), 30),
        behind in 0u64..9,
    ) {
        let feed: Vec<BookLevels> = changes.iter().enumerate().map(|(i, change)| {
            let (bids, asks) = sides(change.clone(), change.iter().map(|l| (l.0 + 1, 2 - l.1)).collect());
            let last = 103 + 3 * i as u64;
            diff(last - 3, last - 2, last, &bids, &asks)
        }).collect();
        // The snapshot holds the feed up to some update; the feed starts before it.
        let known = (behind as usize).min(feed.len() - 1);
        let mut naive = NaiveBook::default();
        naive.apply_reset(&snapshot(100, &[(500, 1)], &[(1_500, 1)]));
        for delta in &feed[..known] {
            naive.apply_delta(delta);
        }
        let start = BookLevels {
            last_id: 100 + 3 * known as u64,
            bids: naive.bids.values().copied().collect(),
            asks: naive.asks.values().copied().collect(),
            ..BookLevels::default()
        };
        let (mut plain, mut queued) = (DepthBook::new(), DepthBook::new());
        plain.apply_reset(&start);
        queued.apply_reset(&start);
        for delta in &feed {
            prop_assert!(matches!(plain.apply_delta(delta), BookOutcome::Applied | BookOutcome::Stale));
        }
        let mut waiting = Vec::new();
        for (delta, cut) in feed.iter().zip(&cuts) {
            waiting.push(delta.clone());
            if *cut {
                prop_assert!(matches!(queued.apply_delta(&merged(&waiting)), BookOutcome::Applied | BookOutcome::Stale));
                waiting.clear();
            }
        }
        if !waiting.is_empty() {
            prop_assert!(matches!(queued.apply_delta(&merged(&waiting)), BookOutcome::Applied));
        }
        prop_assert_eq!(plain, queued);
    }
}

const SYMBOL: SymbolIx = SymbolIx(3);

fn apply(markets: &mut Markets, millis: i64, event: MarketEvent) -> MarketOutcome {
    let time = Ts::from_millis(millis);
    markets.apply(&MarketInput { symbol: SYMBOL, exchange_time: time, receive_time: time, derived: false, event })
}

fn quote(update_id: u64, bid: i64, ask: i64) -> MarketEvent {
    let (bid, ask) = (level(bid, 1), level(ask, 1));
    MarketEvent::Quote(Quote {
        update_id,
        bid: bid.price,
        bid_quantity: bid.quantity,
        ask: ask.price,
        ask_quantity: ask.quantity,
    })
}

fn trade(id: i64, price: i64, on_book: bool) -> MarketEvent {
    let Level { price, quantity } = level(price, 1);
    MarketEvent::Trade(Trade { id: TradeId(id), price, quantity, aggressor: Side::Buy, on_book })
}

fn mark(price: i64) -> MarketEvent {
    let mark_price = Price::from_mantissa(price);
    MarketEvent::Mark(Mark { mark_price, index_price: Price::ZERO, funding_rate: Rate::ZERO, next_funding: Ts::ZERO })
}

fn reset(last_id: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> MarketEvent {
    MarketEvent::BookReset(Box::new(snapshot(last_id, bids, asks)))
}

#[test]
fn an_unknown_symbol_has_an_empty_market() {
    let mut markets = Markets::default();
    assert_eq!(markets.market(SymbolIx(9)), &Market::new());
    assert_eq!(markets.market(SymbolIx(9)).reference_price(), None);
    assert_eq!(apply(&mut markets, 1, mark(5)), MarketOutcome::Applied);
    assert_eq!(markets.market(SymbolIx(0)), &Market::new());
    assert_eq!(markets.market(SYMBOL).reference_price(), Some(Price::from_mantissa(5)));
}

#[test]
fn the_reference_is_the_mark_then_the_middle_then_the_last_trade() {
    let mut markets = Markets::default();
    let reference = |markets: &Markets| markets.market(SYMBOL).reference_price().map(Price::mantissa);
    apply(&mut markets, 1, trade(1, 90, true));
    assert_eq!(reference(&markets), Some(90));
    apply(&mut markets, 1, quote(1, 0, 104));
    assert_eq!(reference(&markets), Some(90), "a quote with one side has no middle");
    apply(&mut markets, 1, quote(2, 101, 104));
    assert_eq!(reference(&markets), Some(102));
    apply(&mut markets, 1, quote(3, i64::MAX - 3, i64::MAX));
    assert_eq!(reference(&markets), Some(i64::MAX - 2));
    apply(&mut markets, 1, mark(95));
    assert_eq!(reference(&markets), Some(95));
}

#[test]
fn the_newest_quote_wins_by_update_id_whichever_stream_it_is_of() {
    let mut markets = Markets::default();
    let bid = |markets: &Markets| markets.market(SYMBOL).quote.map(|quote| quote.bid.mantissa());
    assert_eq!(apply(&mut markets, 1, quote(50, 97, 101)), MarketOutcome::Applied);
    assert_eq!(apply(&mut markets, 2, reset(100, &[(99, 1)], &[(101, 1)])), MarketOutcome::Applied);
    assert_eq!(bid(&markets), Some(99));
    assert_eq!(apply(&mut markets, 3, quote(99, 98, 101)), MarketOutcome::Stale);
    assert_eq!(apply(&mut markets, 3, quote(150, 98, 101)), MarketOutcome::Applied);
    let behind = diff(100, 101, 140, &[(97, 1)], &[]);
    assert_eq!(apply(&mut markets, 3, MarketEvent::BookDelta(Box::new(behind))), MarketOutcome::Applied);
    assert_eq!(bid(&markets), Some(98), "the book is behind the quote stream");
    let ahead = diff(140, 141, 160, &[(99, 0)], &[]);
    assert_eq!(apply(&mut markets, 4, MarketEvent::BookDelta(Box::new(ahead))), MarketOutcome::Applied);
    assert_eq!(bid(&markets), Some(97));
    assert_eq!(apply(&mut markets, 5, quote(170, 102, 101)), MarketOutcome::Impossible);
    assert_eq!(bid(&markets), Some(97));
    assert_eq!(apply(&mut markets, 10_005, quote(7, 50, 60)), MarketOutcome::Applied, "ids were restarted");
    assert_eq!((bid(&markets), markets.market(SYMBOL).updated), (Some(50), Ts::from_millis(10_005)));
}

#[test]
fn only_newer_trades_on_the_book_and_newer_marks_count() {
    let mut markets = Markets::default();
    let last = |markets: &Markets| markets.market(SYMBOL).last.map(|trade| trade.price.mantissa());
    assert_eq!(apply(&mut markets, 1, trade(5, 90, true)), MarketOutcome::Applied);
    assert_eq!(apply(&mut markets, 2, trade(6, 10, false)), MarketOutcome::Applied);
    assert_eq!(apply(&mut markets, 2, trade(5, 91, true)), MarketOutcome::Stale);
    assert_eq!(apply(&mut markets, 2, trade(8, 0, true)), MarketOutcome::Impossible);
    assert_eq!(last(&markets), Some(90));
    let Level { price, quantity } = level(92, 4);
    let (first, newest) = (TradeId(6), TradeId(8));
    let aggregate = AggTrade { id: 1, first, last: newest, price, quantity, aggressor: Side::Sell };
    assert_eq!(apply(&mut markets, 3, MarketEvent::AggTrade(aggregate)), MarketOutcome::Applied);
    assert_eq!(apply(&mut markets, 3, trade(8, 93, true)), MarketOutcome::Stale, "it is part of the aggregate");
    assert_eq!(last(&markets), Some(92));
    assert_eq!(apply(&mut markets, 5, mark(70)), MarketOutcome::Applied);
    assert_eq!(apply(&mut markets, 4, mark(71)), MarketOutcome::Stale);
    assert_eq!(apply(&mut markets, 6, mark(0)), MarketOutcome::Impossible);
    assert_eq!(markets.market(SYMBOL).mark.map(|mark| mark.mark_price.mantissa()), Some(70));
}

#[test]
fn a_gap_is_told_once_and_the_quote_outlives_it() {
    let mut markets = Markets::default();
    apply(&mut markets, 1, reset(100, &[(99, 1)], &[(101, 1)]));
    let skipping = diff(105, 106, 107, &[], &[]);
    let sequence = GapReason::Sequence { expected: 100, found: 105 };
    assert_eq!(
        apply(&mut markets, 2, MarketEvent::BookDelta(Box::new(skipping.clone()))),
        MarketOutcome::Gap(sequence)
    );
    assert_eq!(apply(&mut markets, 3, MarketEvent::BookDelta(Box::new(skipping))), MarketOutcome::Void);
    assert_eq!(apply(&mut markets, 3, MarketEvent::BookGap), MarketOutcome::Void);
    assert!(markets.market(SYMBOL).quote.is_some());
    assert_eq!(apply(&mut markets, 4, reset(110, &[(99, 1)], &[])), MarketOutcome::Applied);
    assert_eq!(apply(&mut markets, 5, MarketEvent::BookGap), MarketOutcome::Gap(GapReason::Announced));
}

#[test]
fn a_restored_state_is_the_same_state() {
    let mut markets = Markets::default();
    apply(&mut markets, 1, reset(100, &[(99, 1), (98, 2), (97, 3)], &[(101, 1)]));
    apply(&mut markets, 2, MarketEvent::BookDelta(Box::new(diff(100, 101, 102, &[(98, 0)], &[]))));
    apply(&mut markets, 3, trade(5, 90, true));
    apply(&mut markets, 4, mark(70));
    let mut restored = Markets::default();
    restored.restore(&markets.snapshot()).expect("own snapshot");
    assert_eq!((&restored, restored.state_hash()), (&markets, markets.state_hash()));
    let next = MarketEvent::BookDelta(Box::new(diff(102, 103, 104, &[(98, 9)], &[(100, 1)])));
    assert_eq!(apply(&mut restored, 5, next.clone()), apply(&mut markets, 5, next));
    assert_eq!(restored.state_hash(), markets.state_hash());
    apply(&mut markets, 6, trade(6, 91, true));
    assert_ne!(restored.state_hash(), markets.state_hash());
    assert!(restored.restore(&[1, 2, 3]).is_err());
    let mut crossed = DepthBook::new();
    crossed.apply_reset(&snapshot(1, &[(99, 1)], &[]));
    let mut bytes = encode_state(&vec![Market { book: crossed, ..Market::new() }]);
    assert!(restored.restore(&bytes).is_ok());
    bytes.truncate(bytes.len() - 1);
    assert!(restored.restore(&bytes).is_err());
}
