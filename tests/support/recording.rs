//! Reads the depth feed of a recording by hand, for tests and benchmarks that must not depend on the decoders.

use flate2::read::GzDecoder;
use qcat_core::binance::bridge::Bridge;
use qcat_core::id::SymbolIx;
use qcat_core::market::{BookLevels, Level, MarketEvent, MarketInput, Quote};
use qcat_core::num::{Price, Quantity, parse_i64};
use qcat_core::time::Ts;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

/// What a book needs to know of a recording.
pub enum Recorded {
    /// A REST snapshot.
    Snapshot(BookLevels),
    /// A diff.
    Diff(BookLevels),
    /// Best bid and ask.
    Quote(Quote),
}

/// A recording below `QCAT_TEST_DATA`; `None`, said loudly, when that is not set.
pub fn depth_feed(file: &str) -> Option<Vec<Recorded>> {
    let Some(folder) = std::env::var_os("QCAT_TEST_DATA") else {
        eprintln!("SKIPPED: QCAT_TEST_DATA is not set, {file} is not read");
        return None;
    };
    let path = PathBuf::from(folder).join("recorded").join(file);
    let open = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(GzDecoder::new(open)).lines();
    Some(lines.filter_map(|line| recorded(&line.expect("a line of text"))).collect())
}

/// What a session hands on of the feed: the snapshot once it is there, then every diff of its chain.
pub fn session_order(feed: &[Recorded]) -> (BookLevels, Vec<BookLevels>) {
    let (mut bridge, mut out): (_, Vec<MarketInput>) = (Bridge::default(), Vec::new());
    let (symbol, time) = (SymbolIx(0), Ts::ZERO);
    let input = |event| MarketInput { symbol, exchange_time: time, receive_time: time, derived: false, event };
    for event in feed {
        match event {
            Recorded::Snapshot(levels) if bridge.needs_snapshot() => {
                let used = bridge.on_snapshot(input(MarketEvent::BookReset(Box::new(levels.clone()))), &mut out);
                assert!(used, "the recorded snapshot spans the recorded diffs");
            }
            Recorded::Diff(levels) => {
                bridge.on_delta(input(MarketEvent::BookDelta(Box::new(levels.clone()))), &mut out)
            }
            Recorded::Snapshot(_) | Recorded::Quote(_) => {}
        }
    }
    let mut events = out.into_iter().map(|input| input.event);
    let Some(MarketEvent::BookReset(snapshot)) = events.next() else { panic!("a recording has a snapshot") };
    let diff = |event| match event {
        MarketEvent::BookDelta(levels) => *levels,
        other => panic!("the chain of the recording breaks: {other:?}"),
    };
    (*snapshot, events.map(diff).collect())
}

fn recorded(line: &str) -> Option<Recorded> {
    let (_, json) = line.split_once(' ').expect("a time and a frame");
    let frame: Value = serde_json::from_str(json).expect("JSON");
    if frame.get("lastUpdateId").is_some() {
        let id = number(&frame["lastUpdateId"]);
        return Some(Recorded::Snapshot(levels(id, id, 0, &frame["bids"], &frame["asks"])));
    }
    let data = &frame["data"];
    match data["e"].as_str() {
        Some("depthUpdate") => {
            let ids = [&data["U"], &data["u"], &data["pu"]].map(number);
            Some(Recorded::Diff(levels(ids[0], ids[1], ids[2], &data["b"], &data["a"])))
        }
        Some("bookTicker") => Some(Recorded::Quote(Quote {
            update_id: number(&data["u"]),
            bid: price(&data["b"]),
            bid_quantity: quantity(&data["B"]),
            ask: price(&data["a"]),
            ask_quantity: quantity(&data["A"]),
        })),
        _ => None,
    }
}

fn levels(first_id: u64, last_id: u64, previous_id: u64, bids: &Value, asks: &Value) -> BookLevels {
    let side = |side: &Value| {
        let side = side.as_array().expect("levels");
        side.iter().map(|level| Level { price: price(&level[0]), quantity: quantity(&level[1]) }).collect()
    };
    BookLevels { first_id, last_id, previous_id, bids: side(bids), asks: side(asks) }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("an id")
}

fn price(value: &Value) -> Price {
    Price::from_mantissa(parse_i64(value.as_str().expect("text").as_bytes(), 8).expect("a price"))
}

fn quantity(value: &Value) -> Quantity {
    let mantissa = parse_i64(value.as_str().expect("text").as_bytes(), 3).expect("a quantity");
    Quantity::from_mantissa(mantissa).expect("not negative")
}
