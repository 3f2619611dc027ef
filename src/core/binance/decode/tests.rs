use super::*;
use crate::binance::instruments;
use crate::id::{ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use crate::instrument::Universe;
use crate::market::MarketEvent;
use crate::order::{ConditionalStatus, Terms, TimeInForce, Trigger};
use proptest::prelude::*;

mod nested;

fn universe() -> Universe {
    instruments::builtin_universe().expect("embedded")
}

const ACCOUNT: Option<AccountIx> = Some(AccountIx(2));

fn frame(text: &str) -> Result<Frame, DecodeError> {
    decode_frame(text.as_bytes(), &universe(), ACCOUNT, Ts::from_nanos(7))
}

const SAMPLES: [&str; 12] = [
    include_str!("../../../../tests/data/messages/ws_futures_depth_update.json"),
    include_str!("../../../../tests/data/messages/kline_stream_closed.json"),
    include_str!("../../../../tests/data/messages/account_update.json"),
    include_str!("../../../../tests/data/messages/ws_futures_algo_update_triggered.json"),
    include_str!("../../../../tests/data/messages/order_update_adl.json"),
    include_str!("../../../../tests/data/messages/ws_futures_order_update_liquidation_zero_qty.json"),
    include_str!("../../../../tests/data/messages/ws_futures_order_update_trade_reduce_only_qty.json"),
    include_str!("../../../../tests/data/messages/http_futures_market_exchange_info.json"),
    include_str!("../../../../tests/data/messages/http_futures_account_orders.json"),
    include_str!("../../../../tests/data/messages/open_algo_orders.json"),
    include_str!("../../../../tests/data/messages/position_risk.json"),
    r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107856614,"s":"BTCUSDT","b":"61800.20","B":"2.890","a":"61800.30","A":"1.135","T":1723161256567,"E":1723161256567}}"#,
];

/// Everything that reads bytes from outside: none may panic.
fn read_as_everything(bytes: &[u8]) {
    let universe = universe();
    let _ = decode_frame(bytes, &universe, ACCOUNT, Ts::ZERO);
    let _ = rest::error(400, bytes);
    let _ = rest::order(bytes, &universe, AccountIx(0));
    let _ = rest::orders(bytes, &universe, AccountIx(0));
    let _ = rest::algo_order(bytes, &universe, AccountIx(0));
    let _ = rest::algo_orders(bytes, &universe, AccountIx(0));
    let _ = rest::algo_canceled(bytes, &universe);
    let _ = rest::user_trades(bytes, &universe);
    let _ = rest::positions(bytes, &universe);
    let _ = rest::balances(bytes, &universe);
    let _ = rest::symbol_config(bytes, &universe);
    let _ = rest::premium_index(bytes, &universe);
    let _ = rest::commission_rate(bytes, &universe);
    let _ = rest::account_config(bytes);
    let _ = rest::time(bytes);
    let _ = rest::listen_key(bytes);
    let _ = definitions::leverage_brackets(bytes);
    if let Ok(info) = definitions::exchange_info(bytes) {
        let _ = instruments::universe_of(&info);
    }
    let instrument = universe.instrument(SymbolIx(0)).expect("embedded");
    let _ = rest::depth(bytes, instrument);
    let _ = rest::klines(bytes, instrument, crate::time::Span::from_secs(60), Ts::ZERO);
}

/// The scanner says nothing or what serde says, and all short cuts together say what the long way says.
fn assert_agreement(bytes: &[u8]) -> bool {
    let universe = universe();
    let (all, judge) =
        (decode_frame(bytes, &universe, ACCOUNT, Ts::ZERO), decode_slow(bytes, &universe, ACCOUNT, Ts::ZERO));
    assert_eq!(all, judge, "{}", String::from_utf8_lossy(bytes));
    let fast = scan::scan(bytes, &universe, Ts::ZERO);
    let taken = fast.is_some();
    if let Some(input) = fast {
        let slow = decode_slow(bytes, &universe, ACCOUNT, Ts::ZERO);
        assert_eq!(slow, Ok(Frame::Market(input)), "{}", String::from_utf8_lossy(bytes));
    }
    taken
}

/// Decimal text, at times too fine, odd or broken.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[0-9]{1,6}\\.[0-9]{1,3}0{0,6}".prop_map(|t| format!("\"{t}\"")),
        1 => "-?[0-9]{0,20}\\.?[0-9]{0,12}".prop_map(|t| format!("\"{t}\"")),
        1 => Just("\"\"".to_owned()),
        1 => Just("null".to_owned()),
        1 => "[0-9]{1,6}(\\.[0-9]{1,2})?",
    ]
}

fn whole() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[1-9][0-9]{0,14}", 1 => "-?[0-9]{1,20}", 1 => "\"[0-9]{1,12}\""]
}

fn levels() -> impl Strategy<Value = String> {
    proptest::collection::vec((number(), number()), 0..5).prop_map(|rows| {
        let rows: Vec<String> = rows.iter().map(|(p, q)| format!("[{p}, {q}]")).collect();
        format!("[{}]", rows.join(","))
    })
}

/// The fields of a hot event of some kind, in the exchange's order.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let flag = prop_oneof![4 => Just("true"), 4 => Just("false"), 1 => Just("1"), 1 => Just("\"true\"")];
    let word = prop_oneof![Just("\"MARKET\""), Just("\"NA\""), Just("\"INSURANCE_FUND\"")];
    let st = prop_oneof![6 => Just("1"), 1 => Just("2"), 1 => Just("\"2\"")];
    let symbol = prop_oneof![9 => Just("\"BTCUSDT\""), 3 => Just("\"ETHUSDT\""), 1 => Just("\"NOSUCH\"")];
    let wholes = proptest::collection::vec(whole(), 8);
    let numbers = proptest::collection::vec(number(), 4);
    (0usize..5, symbol, wholes, numbers, levels(), levels(), (flag, word, st)).prop_map(
        |(kind, symbol, w, n, bids, asks, (flag, word, st))| {
            let names = ["bookTicker", "trade", "aggTrade", "depthUpdate", "markPriceUpdate"];
            let mut fields = vec![("e", format!("\"{}\"", names[kind])), ("E", w[0].clone()), ("T", w[1].clone())];
            fields.extend([("s", symbol.to_owned()), ("st", st.to_owned()), ("ps", symbol.to_owned())]);
            let w = |at: usize| w[at].clone();
            let n = |at: usize| n[at].clone();
            match kind {
                0 => fields.extend([("u", w(2)), ("b", n(0)), ("B", n(1)), ("a", n(2)), ("A", n(3))]),
                1 => fields.extend([
                    ("t", w(2)),
                    ("p", n(0)),
                    ("q", n(1)),
                    ("X", word.to_owned()),
                    ("m", flag.to_owned()),
                ]),
                2 => {
                    fields.extend([("a", w(2)), ("p", n(0)), ("q", n(1)), ("nq", n(2)), ("f", w(3)), ("l", w(4))]);
                    fields.push(("m", flag.to_owned()));
                }
                3 => fields.extend([("U", w(2)), ("u", w(3)), ("pu", w(4)), ("b", bids), ("a", asks)]),
                _ => fields.extend([("p", n(0)), ("ap", n(1)), ("P", n(1)), ("i", n(2)), ("r", n(3))]),
            }
            fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        },
    )
}

fn extra() -> impl Strategy<Value = (String, String)> {
    let key = prop_oneof!["[a-zA-Z]{1,3}", Just("id".to_owned()), Just("data".to_owned()), Just("code".to_owned())];
    let value = prop_oneof![
        "[0-9]{1,5}",
        Just("\"text\"".to_owned()),
        Just("{\"a\":[1,{}]}".to_owned()),
        Just("[]".to_owned()),
        Just("null".to_owned()),
        Just("-1.5e3".to_owned()),
        Just("\"es\\\"caped\"".to_owned()),
        Just("007".to_owned()),
    ];
    (key, value)
}

fn join(fields: &[(String, String)], space: &str) -> String {
    let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{space}\"{k}\"{space}:{space}{v}")).collect();
    format!("{space}{{{}{space}}}{space}", fields.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn scanner_and_serde_agree_on_any_order_and_any_extras(
        fields in fields().prop_flat_map(|f| prop_oneof![Just(f.clone()), Just(f).prop_shuffle()]),
        extras in prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec((extra(), any::<prop::sample::Index>()), 1..3)],
        space in prop_oneof![2 => Just(String::new()), 1 => "[ \\n\\t]{0,2}"],
        combined: bool,
        tail in prop_oneof![12 => Just(""), 1 => Just("x"), 1 => Just("}")],
    ) {
        let mut fields = fields;
        for (field, at) in extras {
            fields.insert(at.index(fields.len() + 1), field);
        }
        let mut text = join(&fields, &space);
        if combined {
            text = format!("{space}{{\"stream\":\"x@y\",{space}\"data\":{text}}}");
        }
        assert_agreement((text + tail).as_bytes());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        assert_agreement(&bytes);
        read_as_everything(&bytes);
    }

    #[test]
    fn no_damaged_message_panics(
        sample in 0..SAMPLES.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..6),
    ) {
        let mut bytes = SAMPLES[sample].as_bytes().to_vec();
        for (at, byte, what) in damage {
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, byte),
                // Digits and quotes break more than noise does.
                _ => bytes[at] = b"\"0123456789-.e{}[],:n"[byte as usize % 21],
            }
        }
        assert_agreement(&bytes);
        read_as_everything(&bytes);
    }
}

#[test]
fn the_scanner_takes_what_the_exchange_sends() {
    for text in [
        r#"{"e":"bookTicker","u":400900217,"E":1568014460893,"T":1568014460891,"s":"BTCUSDT","b":"25.3519","B":"31.21","a":"25.3652","A":"40.66","st":1,"ps":"BTCUSDT"}"#,
        r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":5,"p":"61800.30","q":"0.003","X":"MARKET","m":false}}"#,
        r#"{"e":"aggTrade","E":123456789,"s":"BTCUSDT","a":5933014,"p":"0.001","q":"100","nq":"100","f":100,"l":105,"T":123456785,"m":true}"#,
        r#"{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":157,"u":160,"pu":149,"b":[["0.0024","10"]],"a":[],"st":1}"#,
        r#"{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15000000","ap":"11794.0","i":"11784.62659091","P":"11784.25641265","r":"0.00038167","T":1562306400000}"#,
    ] {
        assert!(assert_agreement(text.as_bytes()), "{text}");
    }
}

#[test]
fn kinds_that_are_not_used_or_not_known_are_values() {
    assert_eq!(frame(r#"{"e":"24hrTicker","E":1,"s":"X"}"#), Ok(Frame::Unused("24hrTicker")));
    assert_eq!(
        frame(r#"{"stream":"!markPrice@arr","data":[{"e":"markPriceUpdate"}]}"#),
        Ok(Frame::Unused("array of events"))
    );
    assert_eq!(frame(r#"{"e":"trade","st":2,"s":"BTCUSD_PERP"}"#), Ok(Frame::Unused("COIN-M")));
    assert_eq!(frame(r#"{"e":"somethingNew","x":{}}"#), Ok(Frame::Unknown("somethingNew".into())));
    assert_eq!(frame(r#"{"e":"listenKeyExpired","E":1,"listenKey":"abc"}"#), Ok(Frame::ListenKeyExpired));
}

#[test]
fn replies_carry_their_id_and_result_or_error() {
    let reply = |id, result| Ok(Frame::Reply(Reply { id, result }));
    assert_eq!(frame(r#"{"result":null,"id":3}"#), reply(Some(3), Ok(Vec::new())));
    assert_eq!(frame(r#"{"result":["a@trade"],"id":4}"#), reply(Some(4), Ok(vec!["a@trade".to_owned()])));
    let refused = VenueError { code: 2, message: "Invalid request".into() };
    assert_eq!(frame(r#"{"error":{"code":2,"msg":"Invalid request"},"id":5}"#), reply(Some(5), Err(refused.clone())));
    assert_eq!(frame(r#"{"code":2,"msg":"Invalid request"}"#), reply(None, Err(refused)));
}

#[test]
fn errors_name_kind_field_and_value() {
    for (text, expected) in [
        (r#"{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1x","q":"1","m":true}"#, "trade: field `p`, value `1x`"),
        (r#"{"e":"trade","E":1,"s":"NOSUCH"}"#, "trade: field `s`, value `NOSUCH`: is a symbol without a definition"),
        (r#"{"e":"bookTicker","u":1,"s":"BTCUSDT"}"#, "bookTicker: field `b`, value ``: is missing"),
        (r#"{"e":"bookTicker","u":-1,"s":"BTCUSDT"}"#, "bookTicker: field `u`, value `-1`"),
        (r#"{"e":"MARGIN_CALL","E":1,"p":[]}"#, "MARGIN_CALL: field `p`"),
        ("[1,2", "frame: field ``"),
        ("{}", "frame: field `e`"),
    ] {
        let error = frame(text).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn user_events_beyond_the_samples() {
    let account = AccountIx(2);
    let leverage = frame(r#"{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ac":{"s":"ETHUSDT","l":25}}"#);
    assert_eq!(leverage, Ok(Frame::User(Report::Leverage { account, symbol: SymbolIx(1), leverage: 25 })));
    let multi = frame(r#"{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ai":{"j":true}}"#);
    assert_eq!(multi, Ok(Frame::User(Report::MultiAssets { account, multi_assets: true })));
    let calls =
        frame(r#"{"e":"MARGIN_CALL","E":1,"cw":"3","p":[{"s":"ETHUSDT","ps":"LONG"},{"s":"BTCUSDT","ps":"BOTH"}]}"#);
    let Ok(Frame::MarginCalls(calls)) = calls else { panic!("{calls:?}") };
    assert_eq!(calls.len(), 2);
    let trailing = frame(
        r#"{"e":"ALGO_UPDATE","T":5,"E":6,"o":{"caid":"q1-2-3-4","aid":9,"at":"CONDITIONAL","o":"TRAILING_STOP_MARKET",
        "s":"BTCUSDT","S":"SELL","ps":"BOTH","f":"GTC","q":"0.01","X":"REJECTED","ai":"","tp":"0","p":"0","wt":"MARK_PRICE",
        "cp":false,"pP":true,"R":true,"rm":"Reduce \"Only\" reject","ia":false,"AP":"70000","cr":"0.3","new":[{}]}}"#,
    );
    let Ok(Frame::User(Report::Conditional(report))) = trailing else { panic!("{trailing:?}") };
    assert_eq!((report.status, &*report.reason), (ConditionalStatus::Rejected, "Reduce \"Only\" reject"));
    assert!(
        matches!(report.key, OrderKey::Ours(id) if id.counter == 4) && report.became.is_none() && report.reduce_only
    );
    let Trigger::Trailing { callback_rate, activation } = report.terms.trigger else { panic!() };
    assert_eq!(
        (callback_rate.to_string().as_str(), activation.map(|p| p.mantissa())),
        ("0.003", Some(7_000_000_000_000))
    );
}

#[test]
fn funding_reaches_the_mark_price_and_odd_ones_are_rounded() {
    let text = r#"{"e":"markPriceUpdate","E":5,"s":"BTCUSDT","p":"11794.123456789","i":"","r":"","T":0}"#;
    let Ok(Frame::Market(input)) = frame(text) else { panic!() };
    let MarketEvent::Mark(mark) = input.event else { panic!() };
    assert_eq!((mark.mark_price.mantissa(), mark.index_price.mantissa()), (1_179_412_345_679, 0));
}

#[test]
fn rest_answers_beyond_the_samples() {
    let universe = universe();
    assert_eq!(rest::error(400, br#"{"code":-2019,"msg":"Margin is insufficient."}"#).code, -2019);
    let proxy = rest::error(502, b"<html>Bad Gateway");
    assert_eq!((proxy.code, &*proxy.message), (-502, "<html>Bad Gateway"));
    assert_eq!(rest::time(br#"{"serverTime":1499827319559}"#), Ok(Ts::from_millis(1_499_827_319_559)));
    let secret = rest::listen_key(br#"{"listenKey":"pqia91ma19a5s61cv6a81va65sdf"#).expect_err("cut").to_string();
    assert!(!secret.contains("pqia"), "{secret}");
    let balances = rest::balances(
        br#"[{"asset":"USDT","balance":"122607.35137903"},{"asset":"DUST","balance":"0.00000000"}]"#,
        &universe,
    );
    assert_eq!(balances.expect("valid").rows[0].wallet.to_string(), "122607.35137903");
    let trades = br#"[{"symbol":"BTCUSDT","id":698759,"orderId":25851813,"side":"SELL","price":"7819.01","qty":"0.002",
        "realizedPnl":"-0.91539999","commission":"0.07819010","commissionAsset":"BNB","time":1569514978020,
        "positionSide":"BOTH","buyer":false,"maker":true}]"#;
    let trade = &rest::user_trades(trades, &universe).expect("valid")[0];
    assert_eq!(
        trade.fill.fee.map(|f| (universe.asset_name(f.asset), f.to_string())),
        Some(("BNB", "0.0781901".to_owned()))
    );
    assert_eq!((trade.fill.realized.to_string().as_str(), trade.fill.maker), ("-0.91539999", true));
    let order = br#"{"orderId":1,"symbol":"BTCUSDT","status":"EXPIRED","clientOrderId":"x","price":"1","origQty":"2",
        "executedQty":"1","timeInForce":"GTD","goodTillDate":99,"type":"LIMIT","side":"BUY","updateTime":4}"#;
    let order = rest::order(order, &universe, AccountIx(0)).expect("valid");
    assert!(matches!(order.terms, Terms::Limit { time_in_force: TimeInForce::Gtd(until), .. } if until.millis() == 99));
    let flags = rest::account_config(br#"{"dualSidePosition":true,"multiAssetsMargin":false,"canTrade":true}"#);
    assert_eq!(flags.map(|f| (f.position_mode, f.multi_assets)), Ok((crate::order::PositionMode::Hedge, false)));
}

/// What is not traded here must not hide what is.
#[test]
fn rows_without_a_definition_are_left_out_and_told() {
    let universe = universe();
    let (btc, eth) = (SymbolIx(0), SymbolIx(1));
    let list = br#"[{"asset":"LDUSDT","balance":"5.0"},{"asset":"USDT","balance":"7"},{"asset":"BNB","balance":"x"}]"#;
    let list = rest::balances(list, &universe).expect("a list");
    assert_eq!(list.rows.iter().map(|b| b.wallet.to_string()).collect::<Vec<_>>(), ["7"]);
    let told: Vec<(String, bool)> = list.left_out.iter().map(|l| (l.error.to_string(), l.blocks(&[btc]))).collect();
    assert!(told[0].0.contains("value `LDUSDT`: is an asset without a definition"), "{told:?}");
    assert_eq!((told[0].1, told[1].1), (false, true), "what the wallet of a known asset holds cannot be guessed");

    let list = br#"[{"symbol":"NEWUSDT","positionAmt":"1","entryPrice":"1"},
        {"symbol":"ETHUSDT","positionAmt":"1","positionSide":"NEW","entryPrice":"1"},
        {"symbol":"BTCUSDT","positionAmt":"-0.5","entryPrice":"61000"}]"#;
    let list = rest::positions(list, &universe).expect("a list");
    assert_eq!(list.rows.iter().map(|p| p.symbol).collect::<Vec<_>>(), [btc]);
    assert_eq!(list.left_out.iter().map(|l| l.blocks(&[btc])).collect::<Vec<_>>(), [false, true]);

    let ours = ClientOrderId { epoch: 1, account: AccountIx(0), strategy: StrategyIx(1), counter: 7 };
    let order = |symbol: &str, client: &str, kind: &str, name: &str| {
        format!(
            r#"{{"orderId":1,"algoId":1,"symbol":"{symbol}","status":"NEW","algoStatus":"NEW","clientOrderId":"{client}",
            "clientAlgoId":"{client}","price":"1","triggerPrice":"1","origQty":"2","quantity":"2","executedQty":"0",
            "timeInForce":"GTC","{name}":"{kind}","side":"BUY","updateTime":4}}"#
        )
    };
    for (name, kind, known) in [("type", "LIMIT", true), ("orderType", "STOP_MARKET", false)] {
        let rows = [
            order("BTCUSDT", "web_1", kind, name),
            order("ETHUSDT", "web_2", "ICEBERG", name),
            order("NEWUSDT", "web_3", kind, name),
            order("ETHUSDT", &ours.to_string(), "ICEBERG", name),
        ];
        let text = format!("[{}]", rows.join(","));
        let (read, left_out) = if known {
            let list = rest::orders(text.as_bytes(), &universe, AccountIx(0)).expect("a list");
            (list.rows.len(), list.left_out)
        } else {
            let list = rest::algo_orders(text.as_bytes(), &universe, AccountIx(0)).expect("a list");
            (list.rows.len(), list.left_out)
        };
        let blocks = |traded: &[SymbolIx]| left_out.iter().map(|l| l.blocks(traded)).collect::<Vec<_>>();
        assert_eq!(read, 1);
        assert_eq!(blocks(&[btc]), [false, false, true], "one of ours may be missing nowhere");
        assert_eq!(blocks(&[btc, eth]), [true, false, true]);
    }

    let update = |asset: &str, amount: &str| {
        let text = format!(
            r#"{{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{{"m":"ORDER","B":[{{"a":"{asset}","wb":"{amount}","cw":"1","bc":"0"}},
            {{"a":"USDT","wb":"9","cw":"9","bc":"0"}}],"P":[{{"s":"NEWUSDT","pa":"1","ep":"1","ps":"BOTH"}}]}}}}"#
        );
        decode_frame(text.as_bytes(), &universe, ACCOUNT, Ts::ZERO)
    };
    let Ok(Frame::Partly(Report::Account(report), left_out)) = update("LDUSDT", "5") else { panic!("partly") };
    assert_eq!((report.balances.len(), report.positions.len(), left_out.len()), (1, 0, 2));
    assert!(update("USDT", "x").is_err(), "a known asset");
}
