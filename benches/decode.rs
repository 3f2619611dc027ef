//! Decoding a frame into the domain (numbers to integers, symbol looked up) against serde_json into owned structs (numbers
//! left as text). Recorded frames where there are any, else printed ones. Only the ratio within one run says anything.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qcat_core::binance::decode::{decode_frame, decode_slow};
use qcat_core::binance::{instruments, print};
use qcat_core::id::{AccountIx, TradeId};
use qcat_core::instrument::Universe;
use qcat_core::market::{AggTrade, Candle, Mark, MarketEvent, MarketInput};
use qcat_core::num::{Money, Price, Quantity, Rate, Side};
use qcat_core::time::{Span, Ts};
use qcat_io::history::lines::Lines;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::hint::black_box;
use std::path::Path;

#[derive(Deserialize)]
#[allow(dead_code)]
struct Combined<T> {
    stream: String,
    data: T,
}

macro_rules! owned {
    ($name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        #[derive(Deserialize)]
        #[allow(dead_code, non_snake_case)]
        struct $name { $($field: $kind),* }
    };
}

owned!(BookTicker { e: String, u: u64, s: String, b: String, B: String, a: String, A: String, T: i64, E: i64 });
owned!(TradeEvent { e: String, E: i64, T: i64, s: String, t: i64, p: String, q: String, X: String, m: bool });
owned!(Depth {
    e: String, E: i64, T: i64, s: String, U: u64, u: u64, pu: u64, b: Vec<[String; 2]>, a: Vec<[String; 2]>,
});
owned!(Agg { e: String, E: i64, s: String, a: i64, p: String, q: String, f: i64, l: i64, T: i64, m: bool });
owned!(MarkPrice { e: String, E: i64, s: String, p: String, i: String, P: String, r: String, T: i64 });
owned!(Kline { e: String, E: i64, s: String, k: KlineBody });
owned!(KlineBody {
    t: i64,
    T: i64,
    s: String,
    i: String,
    f: i64,
    L: i64,
    o: String,
    c: String,
    h: String,
    l: String,
    v: String,
    n: i64,
    x: bool,
    q: String,
    V: String,
    Q: String,
});
owned!(OrderEvent { e: String, E: i64, T: i64, o: OrderBody });
owned!(OrderBody {
    s: String,
    c: String,
    S: String,
    o: String,
    f: String,
    q: String,
    p: String,
    ap: String,
    sp: String,
    x: String,
    X: String,
    i: i64,
    l: String,
    z: String,
    L: String,
    N: String,
    n: String,
    T: i64,
    t: i64,
    b: String,
    a: String,
    m: bool,
    R: bool,
    wt: String,
    ot: String,
    ps: String,
    cp: bool,
    pP: bool,
    si: i64,
    ss: i64,
    rp: String,
    V: String,
});

fn recorded(kind: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recorded/usdm_btcusdt_20240808_head.gz");
    let (mut lines, mut text, mut frames) = (Lines::open(&path).expect("in the repository"), String::new(), Vec::new());
    let mark = format!("\"e\":\"{kind}\"");
    while lines.next_line(&mut text).expect("whole") && frames.len() < 200 {
        if let Some((_, json)) = text.split_once(' ').filter(|(_, json)| json.contains(&mark)) {
            frames.push(json.to_owned());
        }
    }
    frames
}

fn printed(universe: &Universe, event: MarketEvent) -> Vec<String> {
    let i = universe.by_name("BTCUSDT").expect("embedded");
    let time = Ts::from_millis(1_723_161_256_567);
    let input = MarketInput { symbol: i.symbol, exchange_time: time, receive_time: time, derived: false, event };
    let mut raw = String::new();
    assert!(print::market_event(&mut raw, &input, i));
    vec![print::combined("btcusdt@stream", &raw); 50]
}

fn compare<T: DeserializeOwned>(c: &mut Criterion, universe: &Universe, kind: &str, frames: &[String]) {
    let mut group = c.benchmark_group(format!("decode/{kind}"));
    group.throughput(Throughput::Elements(frames.len() as u64));
    let account = Some(AccountIx(0));
    group.bench_function("qcat", |b| {
        b.iter(|| {
            for frame in frames {
                black_box(decode_frame(frame.as_bytes(), universe, account, Ts::ZERO).expect("decodes"));
            }
        });
    });
    group.bench_function("qcat_slow", |b| {
        b.iter(|| {
            for frame in frames {
                black_box(decode_slow(frame.as_bytes(), universe, account, Ts::ZERO).expect("decodes"));
            }
        });
    });
    group.bench_function("serde_json", |b| {
        b.iter(|| {
            for frame in frames {
                black_box(serde_json::from_slice::<Combined<T>>(frame.as_bytes()).expect("decodes"));
            }
        });
    });
    group.finish();
}

fn decode(c: &mut Criterion) {
    let universe = instruments::builtin_universe().expect("embedded");
    compare::<BookTicker>(c, &universe, "bookTicker", &recorded("bookTicker"));
    compare::<TradeEvent>(c, &universe, "trade", &recorded("trade"));
    compare::<Depth>(c, &universe, "depthUpdate", &recorded("depthUpdate"));
    let (price, quantity) =
        (Price::from_mantissa(6_180_030_000_000), Quantity::from_mantissa(1_135).expect("positive"));
    let trade = AggTrade {
        id: 5_933_014,
        first: TradeId(5_266_583_940),
        last: TradeId(5_266_583_944),
        price,
        quantity,
        aggressor: Side::Buy,
    };
    compare::<Agg>(c, &universe, "aggTrade", &printed(&universe, MarketEvent::AggTrade(trade)));
    let mark = Mark {
        mark_price: Price::from_mantissa(6_180_012_345_678),
        index_price: Price::from_mantissa(6_180_112_345_678),
        funding_rate: Rate::from_bps(1),
        next_funding: Ts::from_millis(1_723_190_400_000),
    };
    compare::<MarkPrice>(c, &universe, "markPriceUpdate", &printed(&universe, MarketEvent::Mark(mark)));
    let candle = Candle {
        interval: Span::from_secs(60),
        open_time: Ts::from_millis(1_723_161_240_000),
        open: price,
        high: price,
        low: price,
        close: price,
        volume: quantity,
        quote_volume: Money::units(universe.asset("USDT").expect("embedded"), 70_143),
        taker_buy_volume: quantity,
        trades: 321,
        closed: true,
    };
    compare::<Kline>(c, &universe, "kline", &printed(&universe, MarketEvent::Candle(Box::new(candle))));
    let order = include_str!("../tests/data/messages/order_update_trade_partial.json");
    let order = vec![print::combined("key", order); 50];
    compare::<OrderEvent>(c, &universe, "ORDER_TRADE_UPDATE", &order);
}

criterion_group!(benches, decode);
criterion_main!(benches);
