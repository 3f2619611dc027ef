//! Decoding a frame into the domain (numbers to integers, symbol looked up) against serde_json into owned structs (numbers
//! left as text). Recorded frames where there are any, else printed ones. Only the ratio within one run says anything.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qcat_core::binance::decode::{decode_frame, decode_slow, rest};
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

owned!(AlgoEvent { e: String, E: i64, T: i64, o: AlgoBody });
owned!(AlgoBody {
    caid: String,
    aid: i64,
    at: String,
    o: String,
    s: String,
    S: String,
    ps: String,
    f: String,
    q: String,
    X: String,
    ai: String,
    ap: String,
    aq: String,
    act: String,
    tp: String,
    p: String,
    V: String,
    wt: String,
    pm: String,
    cp: bool,
    pP: bool,
    R: bool,
    tt: i64,
    gtd: i64,
});
owned!(AccountEvent { e: String, E: i64, T: i64, a: AccountBody });
owned!(AccountBody { m: String, B: Vec<BalanceBody>, P: Vec<PositionBody> });
owned!(BalanceBody { a: String, wb: String, cw: String, bc: String });
owned!(PositionBody { s: String, pa: String, ep: String, cr: String, up: String, mt: String, iw: String, ps: String });
owned!(Snapshot { lastUpdateId: u64, E: i64, T: i64, bids: Vec<[String; 2]>, asks: Vec<[String; 2]> });

/// A message of the user stream without the line breaks of the sample, as the exchange sends it, and of a symbol that is defined.
fn user(sample: &str) -> Vec<String> {
    let text: String = sample.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.replace("DOGEUSDT", "BTCUSDT");
    vec![if text.contains("\"stream\"") { text } else { print::combined("key", &text) }; 50]
}

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
    let order = user(include_str!("../tests/data/messages/order_update_trade_partial.json"));
    compare::<OrderEvent>(c, &universe, "ORDER_TRADE_UPDATE", &order);
    let algo = user(include_str!("../tests/data/messages/ws_futures_algo_update_triggered.json"));
    compare::<AlgoEvent>(c, &universe, "ALGO_UPDATE", &algo);
    compare::<AccountEvent>(
        c,
        &universe,
        "ACCOUNT_UPDATE",
        &user(include_str!("../tests/data/messages/account_update.json")),
    );
    snapshot(c, &universe);
}

/// The answer that a book begins with: a thousand levels a side.
fn snapshot(c: &mut Criterion, universe: &Universe) {
    let instrument = universe.by_name("BTCUSDT").expect("embedded");
    let level = |at: i32| {
        format!("[\"{}.{}0\",\"{}.{:03}\"]", 61_800 + at / 10, at.rem_euclid(10), at.rem_euclid(7), at.rem_euclid(997))
    };
    let side = |sign: i32| (1..=1000).map(|at| level(sign * at)).collect::<Vec<_>>().join(",");
    let body = format!(
        "{{\"lastUpdateId\":5123107832006,\"E\":1723161256299,\"T\":1723161256298,\"bids\":[{}],\"asks\":[{}]}}",
        side(-1),
        side(1)
    );
    let mut group = c.benchmark_group("decode/depth snapshot");
    group.bench_function("qcat", |b| b.iter(|| black_box(rest::depth(body.as_bytes(), instrument).expect("decodes"))));
    group.bench_function("serde_json", |b| {
        b.iter(|| black_box(serde_json::from_slice::<Snapshot>(body.as_bytes()).expect("decodes")));
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
