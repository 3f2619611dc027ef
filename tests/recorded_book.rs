//! The depth book against real recordings: built from the diffs without a gap, never crossed, equal to its naive twin, and
//! equal to the quote stream wherever both have the same update id.
#![allow(clippy::unwrap_used)]

#[path = "support/recording.rs"]
mod recording;

use qcat_core::book::naive::NaiveBook;
use qcat_core::book::{BookOutcome, DepthBook};
use recording::{Recorded, depth_feed, session_order};
use std::collections::BTreeMap;

/// Replays a recording; returns at how many equal update ids book and quote stream were compared.
fn compare(file: &str) -> Option<usize> {
    let feed = depth_feed(file)?;
    let quotes: BTreeMap<u64, _> = feed
        .iter()
        .filter_map(|event| match event {
            Recorded::Quote(quote) => Some((quote.update_id, *quote)),
            _ => None,
        })
        .collect();
    let (snapshot, diffs) = session_order(&feed);
    let (mut book, mut naive) = (DepthBook::new(), NaiveBook::default());
    assert_eq!(book.apply_reset(&snapshot), BookOutcome::Applied);
    naive.apply_reset(&snapshot);
    let mut compared = 0;
    for (i, diff) in diffs.iter().enumerate() {
        let outcome = book.apply_delta(diff);
        assert_eq!(
            (outcome, naive.apply_delta(diff)),
            (BookOutcome::Applied, BookOutcome::Applied),
            "{file}: diff {i}"
        );
        let best = (naive.bids.values().next_back().copied(), naive.asks.values().next().copied());
        assert_eq!((book.best_bid(), book.best_ask()), best);
        if i % 500 == 0 {
            assert!(book.bids().eq(naive.bids.values().rev().copied()) && book.asks().eq(naive.asks.values().copied()));
        }
        if let Some(quote) = quotes.get(&diff.last_id) {
            assert_eq!(book.quote().as_ref(), Some(quote));
            compared += 1;
        }
    }
    assert!(book.bids().eq(naive.bids.values().rev().copied()) && book.asks().eq(naive.asks.values().copied()));
    Some(compared)
}

#[test]
fn the_book_agrees_with_the_quote_stream_of_the_recordings() {
    for (file, equal_ids) in [("usdm_btcusdt_20240808.gz", 629), ("usdm_ethusdt_20240808.gz", 551)] {
        if let Some(compared) = compare(file) {
            assert_eq!(compared, equal_ids, "{file}");
        }
    }
}
