//! Klines, the user stream's events and depth snapshots: what is read without serde is what serde reads.

use super::*;
use crate::num::Price;

type Body = Vec<(String, String)>;

fn text(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = proptest::sample::select(words).prop_map(|word| format!("\"{word}\""));
    prop_oneof![
        20 => word,
        1 => Just("\"\"".to_owned()),
        1 => Just("null".to_owned()),
        1 => Just("\"es\\\\caped\"".to_owned()),
        1 => Just("\"ä\"".to_owned()),
        1 => Just("\"ODD\"".to_owned()),
    ]
}

fn flag() -> impl Strategy<Value = String> {
    prop_oneof![8 => Just("true"), 8 => Just("false"), 1 => Just("\"TRUE\""), 1 => Just("0"), 1 => Just("null")]
        .prop_map(str::to_owned)
}

/// The kind of value that a field has, by a letter: `n` decimal text, `w` whole number, `f` truth value; else a word of a list.
fn value(shape: &'static str) -> BoxedStrategy<String> {
    match shape {
        "n" => number().boxed(),
        "w" => whole().boxed(),
        "f" => flag().boxed(),
        "symbol" => text(&["BTCUSDT", "ETHUSDT", "NOSUCH"]).boxed(),
        "side" => text(&["BUY", "SELL"]).boxed(),
        "asset" => text(&["USDT", "BNB"]).boxed(),
        "id" => text(&["q1-0-1-2", "web_1", "autoclose-1"]).boxed(),
        "type" => text(&["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TRAILING_STOP_MARKET", "LIQUIDATION"]).boxed(),
        "tif" => text(&["GTC", "IOC", "GTX", "GTD"]).boxed(),
        "exec" => text(&["NEW", "TRADE", "CANCELED", "EXPIRED", "CALCULATED"]).boxed(),
        "status" => text(&["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "TRIGGERED", "FINISHED"]).boxed(),
        "price" => text(&["MARK_PRICE", "CONTRACT_PRICE"]).boxed(),
        "ps" => text(&["BOTH", "LONG", "SHORT"]).boxed(),
        "interval" => text(&["1m", "1h", "1M"]).boxed(),
        "reason" => text(&["ORDER", "FUNDING_FEE", "DEPOSIT", "NEW_ONE"]).boxed(),
        other => panic!("no such shape: {other}"),
    }
}

/// An object with these fields (`name shape`, in the exchange's order), at times with one more, without one, or out of order.
fn body(shapes: &'static str) -> impl Strategy<Value = Body> {
    let fields: Vec<BoxedStrategy<(String, String)>> = shapes
        .split(',')
        .map(|field| {
            let (name, shape) = field.trim().split_once(' ').expect("name and shape");
            value(shape).prop_map(move |value| (name.to_owned(), value)).boxed()
        })
        .collect();
    changed(fields)
}

fn changed(fields: impl Strategy<Value = Body>) -> impl Strategy<Value = Body> {
    let at = || any::<prop::sample::Index>();
    let change = prop_oneof![
        6 => Just(None),
        1 => (extra(), at()).prop_map(|(field, at)| Some((Some(field), at))),
        1 => at().prop_map(|at| Some((None, at))),
    ];
    let fields =
        fields.prop_flat_map(|f| prop_oneof![4 => Just(f.clone()).boxed(), 1 => Just(f).prop_shuffle().boxed()]);
    (fields, change).prop_map(|(mut fields, change)| {
        match change {
            Some((Some(field), at)) => fields.insert(at.index(fields.len() + 1), field),
            Some((None, at)) => drop(fields.remove(at.index(fields.len()))),
            None => {}
        }
        fields
    })
}

fn list(rows: impl Strategy<Value = Body>) -> impl Strategy<Value = String> {
    proptest::collection::vec(rows, 0..3).prop_map(|rows| {
        let rows: Vec<String> = rows.iter().map(|row| join(row, "")).collect();
        format!("[{}]", rows.join(","))
    })
}

const KLINE: &str = "t w, T w, s symbol, i interval, f w, L w, o n, c n, h n, l n, v n, n w, x f, q n, V n, Q n, B n";
const ORDER: &str = "s symbol, c id, S side, o type, f tif, q n, p n, ap n, sp n, x exec, X status, i w, l n, z n, L n, \
    N asset, n n, T w, t w, b n, a n, m f, R f, wt price, ot type, ps ps, cp f, AP n, cr n, pP f, si w, ss w, rp n, gtd w, er w";
const ALGO: &str = "caid id, aid w, at type, o type, s symbol, S side, ps ps, f tif, q n, X status, ai w, ap n, aq n, act n, \
    tp n, p n, V status, wt price, pm status, cp f, pP f, R f, tt w, gtd w, rm id, AP n, cr n";

/// A frame of a kind that is read field by field.
fn event() -> impl Strategy<Value = Body> {
    let inner = |name: &'static str, body: BoxedStrategy<Body>| {
        body.prop_map(move |body| (name.to_owned(), join(&body, ""))).boxed()
    };
    let account =
        (value("reason"), list(body("a asset, wb n, cw n, bc n")), list(body("s symbol, pa n, ep n, cr n, ps ps")));
    let account = account.prop_map(|(m, balances, positions)| {
        vec![("m".to_owned(), m), ("B".to_owned(), balances), ("P".to_owned(), positions)]
    });
    let of_kind = prop_oneof![
        (Just("kline"), inner("k", body(KLINE).boxed())),
        (Just("ORDER_TRADE_UPDATE"), inner("o", body(ORDER).boxed())),
        (Just("ALGO_UPDATE"), inner("o", body(ALGO).boxed())),
        (Just("ACCOUNT_UPDATE"), inner("a", account.boxed())),
    ];
    let st = prop_oneof![4 => Just("1"), 1 => Just("2"), 1 => Just("\"1\"")];
    let around = (whole(), whole(), value("symbol"), st);
    let fields = (of_kind, around).prop_map(|((kind, inner), (time, at, symbol, st))| {
        let named = |name: &str, value: String| (name.to_owned(), value);
        let mut fields = vec![named("e", format!("\"{kind}\"")), named("E", at), named("T", time), inner];
        fields.extend([named("s", symbol), named("st", st.to_owned())]);
        fields
    });
    changed(fields)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn fields_and_serde_agree(
        fields in event(),
        space in prop_oneof![3 => Just(String::new()), 1 => "[ \\n]{0,2}"],
        combined: bool,
        tail in prop_oneof![12 => Just(""), 1 => Just("x"), 1 => Just("}")],
    ) {
        let mut text = join(&fields, &space);
        if combined {
            text = format!("{{\"stream\":\"key\",\"data\":{text}}}");
        }
        assert_agreement((text + tail).as_bytes());
    }

    #[test]
    fn snapshots_and_serde_agree(
        id in whole(), time in whole(), bids in levels(), asks in levels(),
        extra in proptest::option::of(extra()),
    ) {
        let mut fields = vec![("lastUpdateId", id), ("E", time.clone()), ("T", time), ("bids", bids), ("asks", asks)];
        let extra = extra.unwrap_or_default();
        if !extra.0.is_empty() {
            fields.insert(2, (&extra.0, extra.1));
        }
        let fields: Body = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let (text, universe) = (join(&fields, ""), universe());
        let instrument = universe.instrument(SymbolIx(0)).expect("embedded");
        assert_eq!(rest::depth(text.as_bytes(), instrument), rest::depth_slow(text.as_bytes(), instrument), "{text}");
    }
}

/// Without the line breaks of the samples, as the exchange sends them, and of a symbol that is defined.
fn sent(sample: &str) -> String {
    let text: String = sample.chars().filter(|c| !c.is_whitespace()).collect();
    text.replace("DOGEUSDT", "BTCUSDT").replace("BNBUSDT", "BTCUSDT")
}

#[test]
fn serde_is_not_asked_about_what_the_exchange_sends_all_the_time() {
    let universe = universe();
    for sample in [
        include_str!("../../../../../tests/data/messages/kline_stream_closed.json"),
        include_str!("../../../../../tests/data/messages/account_update.json"),
        include_str!("../../../../../tests/data/messages/ws_futures_algo_update_triggered.json"),
        include_str!("../../../../../tests/data/messages/algo_update_canceled.json"),
        include_str!("../../../../../tests/data/messages/order_update_trade_partial.json"),
        include_str!("../../../../../tests/data/messages/order_update_adl.json"),
    ] {
        let text = sent(sample);
        let direct = decode_direct(text.as_bytes(), &universe, ACCOUNT, Ts::ZERO);
        assert!(direct.is_some(), "{text}");
        assert!(!assert_agreement(text.as_bytes()), "not one of the scanner's");
    }
    // A minute without trades has no ids of them.
    let text = r#"{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":0,"T":59999,"s":"BTCUSDT","i":"1m","f":-1,"L":-1,"o":"1","c":"1","h":"1","l":"1","v":"0","n":0,"x":true,"q":"0","V":"0","Q":"0","B":"0"}}"#;
    assert!(decode_direct(text.as_bytes(), &universe, None, Ts::ZERO).is_some());
    assert!(!assert_agreement(text.as_bytes()));
    let instrument = universe.instrument(SymbolIx(0)).expect("embedded");
    let text = br#"{"lastUpdateId":7,"E":5,"T":4,"bids":[["1.5","2"]],"asks":[]}"#;
    let (levels, time) = scan::snapshot(text, instrument).expect("usual");
    assert_eq!(
        (levels.last_id, time, levels.bids[0].price),
        (7, Ts::from_millis(5), Price::from_mantissa(150_000_000))
    );
}
