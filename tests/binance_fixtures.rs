//! The exchange's real messages: they parse, and print back equal number for number; recordings are whole, and the book that
//! follows from their diffs agrees with the quotes at every equal update id.

use qcat_core::binance::decode::definitions::{ExchangeInfo, exchange_info};
use qcat_core::binance::decode::{Frame, decode_frame, decode_slow, rest};
use qcat_core::binance::{instruments, print};
use qcat_core::book::DepthBook;
use qcat_core::command::{AccountReport, Report};
use qcat_core::id::AccountIx;
use qcat_core::instrument::Universe;
use qcat_core::market::MarketEvent;
use qcat_core::order::{ExecutionType, OrderStatus};
use qcat_core::time::{Span, Ts};
use qcat_io::history::{self, Content, OpenOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ACCOUNT: AccountIx = AccountIx(0);

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn message(name: &str) -> Vec<u8> {
    std::fs::read(data().join("messages").join(name)).expect("the file is in the repository")
}

/// The sample's own definitions, and the other symbols that samples mention. The kline sample counts to eight decimals.
fn definitions() -> ExchangeInfo {
    let mut info = exchange_info(&message("http_futures_market_exchange_info.json")).expect("valid");
    let model = info.instruments[0].clone();
    for (name, quantity_decimals) in [("BNBUSDT", 3), ("DOGEUSDT", 3), ("FINEUSDT", 8)] {
        let (name, price_decimals) = (name.to_owned(), 8);
        info.instruments.push(qcat_core::instrument::InstrumentSpec {
            name,
            price_decimals,
            quantity_decimals,
            ..model.clone()
        });
    }
    info
}

fn universe() -> Universe {
    instruments::universe_of(&definitions()).expect("valid")
}

// ---- Number for number ----

/// Every number of a document by its path: JSON numbers, and texts that are decimal numbers.
fn numbers(value: &Value, path: &str, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, v)| numbers(v, &format!("{path}.{key}"), out)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, v)| numbers(v, &format!("{path}.{at}"), out)),
        Value::Number(n) => drop(out.insert(path.to_owned(), plain(&n.to_string()))),
        Value::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                out.insert(path.to_owned(), plain(text));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// A decimal number without zeros that mean nothing.
fn plain(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole.is_empty(), fraction.is_empty()) {
        (true, true) => "0".to_owned(),
        (_, true) => format!("{sign}{whole}"),
        _ => format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { whole }),
    }
}

/// Each number of the source stands equal in what was printed, but for those that the domain does not keep.
fn assert_same_numbers(name: &str, source: &[u8], printed: &str, not_kept: &[&str]) {
    let read = |text: &[u8]| {
        let mut value: Value = serde_json::from_slice(text).unwrap_or_else(|e| panic!("{name}: {e}: {printed}"));
        if let Some(data) = value.get_mut("data") {
            value = data.take();
        }
        let mut found = BTreeMap::new();
        numbers(&value, "", &mut found);
        found
    };
    let (source, printed) = (read(source), read(printed.as_bytes()));
    let mut compared = 0;
    for (path, number) in &source {
        let leaf = path.rsplit('.').next().unwrap_or_default();
        if not_kept.contains(&leaf) {
            continue;
        }
        assert_eq!(printed.get(path), Some(number), "{name}: {path}");
        compared += 1;
    }
    assert!(compared >= 2, "{name}: only {compared} numbers compared");
}

/// Of streams: the transaction time beside the event time; trade ids and parts of values in a kline.
const MARKET_NOT_KEPT: [&str; 6] = ["T", "f", "L", "Q", "B", "st"];
/// Of user events: averages (the ledger computes its own), working and trigger times, activation of ordinary orders, bid and
/// ask notional, wallets of isolated margin, unrealised profit (which follows from mark prices).
const USER_NOT_KEPT: [&str; 18] =
    ["ap", "aq", "act", "tt", "W", "AP", "cr", "b", "a", "si", "ss", "cw", "bep", "up", "iw", "cp", "mm", "mp"];
/// Of answers: what follows from fills or from mark prices, dates of listing, precisions of display.
const REST_NOT_KEPT: [&str; 25] = [
    "avgPrice",
    "cumQuote",
    "time",
    "createTime",
    "isolatedMargin",
    "isolatedWallet",
    "leverage",
    "liquidationPrice",
    "markPrice",
    "maxNotionalValue",
    "unRealizedProfit",
    "updateTime",
    "notional",
    "breakEvenPrice",
    "deliveryDate",
    "onboardDate",
    "maintMarginPercent",
    "requiredMarginPercent",
    "baseAssetPrecision",
    "quotePrecision",
    "settlePlan",
    "multiplierDecimal",
    "autoAssetExchange",
    "estimatedSettlePrice",
    "interestRate",
];

fn print_frame(frame: &Frame, universe: &Universe, event_time: Ts) -> Option<String> {
    let mut out = String::new();
    let printed = match frame {
        Frame::Market(input) => print::market_event(&mut out, input, universe.instrument(input.symbol)?),
        Frame::User(Report::Order(report)) => {
            print::order_update(&mut out, report, &print::OrderFacts::default(), universe, event_time)
        }
        Frame::User(Report::Conditional(report)) => print::algo_update(&mut out, report, universe, event_time),
        Frame::User(Report::Account(report)) => {
            print::account_update(&mut out, report, universe, event_time);
            true
        }
        _ => false,
    };
    printed.then_some(out)
}

fn event_time(bytes: &[u8]) -> Ts {
    let value: Value = serde_json::from_slice(bytes).expect("JSON");
    let event = value.get("data").unwrap_or(&value);
    Ts::from_millis(event["E"].as_i64().expect("events have a time"))
}

const FRAMES: [&str; 18] = [
    "book_ticker_stream.json",
    "ws_futures_book_ticker.json",
    "ws_futures_depth_update.json",
    "kline_stream_closed.json",
    "account_update.json",
    "algo_update_canceled.json",
    "ws_futures_algo_update_triggered.json",
    "ws_futures_algo_update_finished.json",
    "order_update_adl.json",
    "order_update_calculated_pending.json",
    "order_update_insurance.json",
    "order_update_settlement.json",
    "order_update_trade_partial.json",
    "ws_futures_order_update_adl_filled.json",
    "ws_futures_order_update_liquidation_zero_qty.json",
    "ws_futures_order_update_new_price_match.json",
    "ws_futures_order_update_new_stop_limit_price_match.json",
    "ws_futures_order_update_trade_reduce_only_qty.json",
];
const FRAMES_UNUSED: [&str; 3] = ["ticker_stream.json", "liquidation_stream.json", "ws_futures_trade_lite.json"];
const ANSWERS: [&str; 9] = [
    "http_futures_account_orders.json",
    "http_futures_account_positions_hedge.json",
    "position_risk.json",
    "http_futures_account_symbol_config.json",
    "http_futures_market_exchange_info.json",
    "http_futures_market_klines.json",
    "http_futures_market_premium_index.json",
    "http_futures_wallet_commission_rate_btcusdt_quarterly.json",
    "open_algo_orders.json",
];
/// Answers to calls that are not made.
const ANSWERS_UNUSED: [&str; 10] = [
    "account_info_v2.json",
    "http_futures_market_agg_trades.json",
    "http_futures_market_blvt_nav_kline.json",
    "http_futures_market_continuous_klines.json",
    "http_futures_market_global_long_short_account_ratio.json",
    "http_futures_market_index_info.json",
    "http_futures_market_open_interest.json",
    "http_futures_market_ticker_24hr.json",
    "http_futures_market_top_long_short_account_ratio.json",
    "http_futures_market_trades.json",
];

#[test]
fn every_sample_is_accounted_for() {
    let folder = std::fs::read_dir(data().join("messages")).expect("a folder");
    let mut found: Vec<String> = folder.map(|f| f.expect("a file").file_name().into_string().expect("text")).collect();
    let mut known: Vec<&str> = FRAMES.into_iter().chain(FRAMES_UNUSED).chain(ANSWERS).chain(ANSWERS_UNUSED).collect();
    found.sort();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn frames_print_back_number_for_number() {
    let universe = universe();
    for name in FRAMES {
        let bytes = message(name);
        let frame = decode_frame(&bytes, &universe, Some(ACCOUNT), Ts::ZERO).unwrap_or_else(|e| panic!("{name}: {e}"));
        let printed = print_frame(&frame, &universe, event_time(&bytes)).unwrap_or_else(|| panic!("{name}: {frame:?}"));
        let mut not_kept: Vec<&str> = match frame {
            Frame::Market(_) => MARKET_NOT_KEPT.to_vec(),
            _ => USER_NOT_KEPT.to_vec(),
        };
        if name.contains("liquidation_zero_qty") {
            // The id of a trade of nothing.
            not_kept.push("t");
        }
        assert_same_numbers(name, &bytes, &printed, &not_kept);
    }
    for name in FRAMES_UNUSED {
        let frame = decode_frame(&message(name), &universe, Some(ACCOUNT), Ts::ZERO);
        assert!(matches!(frame, Ok(Frame::Unused(_))), "{name}: {frame:?}");
    }
}

#[test]
fn answers_print_back_number_for_number() {
    let universe = universe();
    for name in ANSWERS {
        let bytes = message(name);
        let mut out = String::new();
        print_answer(name, &bytes, &universe, &mut out).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut not_kept = REST_NOT_KEPT.to_vec();
        match name {
            // What is left out of one answer is kept of another.
            "http_futures_account_symbol_config.json" => not_kept.retain(|key| *key != "leverage"),
            "http_futures_market_premium_index.json" => not_kept.retain(|key| !["markPrice", "time"].contains(key)),
            "http_futures_market_exchange_info.json" => not_kept.retain(|key| *key != "notional"),
            "http_futures_account_orders.json" | "open_algo_orders.json" => not_kept.retain(|key| *key != "updateTime"),
            // Takers' part of the traded value, and a column that the exchange says to ignore.
            "http_futures_market_klines.json" => not_kept.extend(["10", "11"]),
            _ => {}
        }
        assert_same_numbers(name, &bytes, &out, &not_kept);
    }
}

fn print_answer(
    name: &str,
    bytes: &[u8],
    universe: &Universe,
    out: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let i = |name: &str| universe.by_name(name).expect("defined");
    let facts = print::OrderFacts::default();
    match name {
        "http_futures_account_orders.json" => {
            let orders = rest::orders(bytes, universe, ACCOUNT)?.all()?;
            print::list(out, &orders, |out, order| print::order(out, order, &facts, universe));
        }
        "open_algo_orders.json" => {
            let orders = rest::algo_orders(bytes, universe, ACCOUNT)?.all()?;
            print::list(out, &orders, |out, order| print::algo_order(out, order, Ts::ZERO, universe));
        }
        "http_futures_account_positions_hedge.json" | "position_risk.json" => {
            let mark = rest::premium_index(&message("http_futures_market_premium_index.json"), universe)?[0].2;
            let positions = rest::positions(bytes, universe)?.all()?;
            print::list(out, &positions, |out, p| print::position(out, p, &mark, universe, Ts::ZERO));
        }
        "http_futures_account_symbol_config.json" => {
            let settings = rest::symbol_config(bytes, universe)?;
            print::list(out, &settings, |out, s| print::symbol_settings(out, s, universe));
        }
        "http_futures_market_exchange_info.json" => print::exchange_info(out, &exchange_info(bytes)?),
        "http_futures_market_klines.json" => {
            let candles = rest::klines(bytes, i("FINEUSDT"), Span::from_secs(604_800), Ts::MAX)?;
            print::list(out, &candles, |out, candle| {
                print::kline_row(out, candle, i("FINEUSDT"));
                true
            });
        }
        "http_futures_market_premium_index.json" => {
            let (symbol, time, mark) = rest::premium_index(bytes, universe)?[0];
            print::premium_index(out, &mark, universe.instrument(symbol).expect("defined"), time);
        }
        _ => {
            let rates = rest::commission_rate(bytes, universe)?;
            print::commission_rate(out, universe.instrument(rates.symbol).expect("defined"), rates.maker, rates.taker);
        }
    }
    Ok(())
}

// ---- What the samples mean ----

fn order(name: &str) -> qcat_core::order::OrderReport {
    match decode_frame(&message(name), &universe(), Some(ACCOUNT), Ts::ZERO) {
        Ok(Frame::User(Report::Order(report))) => *report,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn forced_closes_are_fills_whatever_their_state_is_called() {
    for (name, execution, status, trade) in [
        ("order_update_adl.json", ExecutionType::Calculated, OrderStatus::Filled, Some(12_346_001)),
        ("order_update_insurance.json", ExecutionType::Calculated, OrderStatus::Filled, Some(12_346_003)),
        ("order_update_settlement.json", ExecutionType::Trade, OrderStatus::Filled, Some(12_346_002)),
        ("order_update_calculated_pending.json", ExecutionType::Calculated, OrderStatus::New, None),
        ("ws_futures_order_update_adl_filled.json", ExecutionType::Trade, OrderStatus::Filled, Some(2_233_445_566)),
        ("ws_futures_order_update_liquidation_zero_qty.json", ExecutionType::Calculated, OrderStatus::Filled, None),
        ("order_update_trade_partial.json", ExecutionType::Trade, OrderStatus::PartiallyFilled, Some(12_345_678)),
    ] {
        let report = order(name);
        let found = (report.execution, report.status, report.fill.as_ref().map(|f| f.trade_id.0));
        assert_eq!(found, (execution, status, trade), "{name}");
        assert!(report.key.ours().is_none(), "{name}");
    }
}

#[test]
fn an_account_update_has_positions_of_both_sides_and_the_change_of_the_wallet() {
    let frame = decode_frame(&message("account_update.json"), &universe(), Some(ACCOUNT), Ts::ZERO);
    let Ok(Frame::User(Report::Account(report))) = frame else { panic!("{frame:?}") };
    let AccountReport { balances, positions, .. } = *report;
    assert_eq!(balances[0].0.wallet.to_string(), "122624.12345678");
    assert_eq!(balances[0].1.to_string(), "50.12345678");
    let quantities: Vec<i64> = positions.iter().map(|p| p.quantity.mantissa()).collect();
    assert_eq!(quantities, [0, 20_000, -10_000]);
}

#[test]
fn a_user_event_needs_an_account() {
    let error = decode_frame(&message("account_update.json"), &universe(), None, Ts::ZERO).expect_err("no account");
    assert!(error.to_string().contains("without an account"), "{error}");
}

// ---- Recordings ----

/// The book from snapshot and diffs against the quotes: (compared, equal), and frames read.
fn compare(path: &Path) -> (u64, u64, u64) {
    let universe = instruments::builtin_universe().expect("embedded");
    let mut history = history::open(path, &universe, &OpenOptions::default()).expect("opens");
    let (mut book, mut quotes) = (DepthBook::new(), BTreeMap::new());
    let (mut compared, mut equal, mut chained) = (0, 0, false);
    for input in history.by_ref() {
        match input.expect("every frame parses").event {
            MarketEvent::BookReset(levels) => drop(book.apply_reset(&levels)),
            MarketEvent::BookDelta(levels) => {
                assert_eq!(book.apply_delta(&levels), qcat_core::book::depth::BookOutcome::Applied);
                chained = true;
                if let Some(quote) = quotes.get(&levels.last_id) {
                    compared += 1;
                    equal += u64::from(book.quote().as_ref() == Some(quote));
                }
                // Quotes come before the diff of their id; those passed cannot match any more.
                quotes.retain(|id, _| *id > levels.last_id);
            }
            MarketEvent::Quote(quote) => {
                if chained && book.last_update_id() == Some(quote.update_id) {
                    compared += 1;
                    equal += u64::from(book.quote() == Some(quote));
                } else {
                    quotes.insert(quote.update_id, quote);
                }
            }
            MarketEvent::BookGap => panic!("the recording has no gap"),
            _ => {}
        }
    }
    (compared, equal, history.counts().read)
}

#[test]
fn the_slice_s_book_agrees_with_its_quotes() {
    let (compared, equal, read) = compare(&data().join("recorded/usdm_btcusdt_20240808_head.gz"));
    assert_eq!(read, 1_500);
    assert!(compared > 5, "{compared}");
    assert_eq!(compared, equal);
}

#[test]
fn whole_recordings_parse_and_their_books_agree_with_every_quote() {
    let Some(folder) = std::env::var_os("QCAT_TEST_DATA").map(PathBuf::from) else {
        eprintln!("SKIPPED: whole recordings, because QCAT_TEST_DATA is not set");
        return;
    };
    for (name, symbol, frames, quotes) in
        [("usdm_btcusdt_20240808.gz", "BTCUSDT", 93_954, 629), ("usdm_ethusdt_20240808.gz", "ETHUSDT", 74_655, 551)]
    {
        let path = folder.join("recorded").join(name);
        let content = history::probe(&path).expect("known");
        assert!(matches!(&content, Content::Recording { symbols, .. } if symbols == &[symbol]), "{content:?}");
        assert_eq!(compare(&path), (quotes, quotes, frames), "{name}");
    }
}

#[test]
fn the_scanner_and_serde_agree_on_recorded_frames() {
    let universe = instruments::builtin_universe().expect("embedded");
    let mut lines = history::lines::Lines::open(&data().join("recorded/usdm_btcusdt_20240808_head.gz")).expect("opens");
    let (mut text, mut scanned) = (String::new(), 0);
    while lines.next_line(&mut text).expect("whole") {
        let (_, json) = text.split_once(' ').expect("two parts");
        let fast = qcat_core::binance::decode::scan::scan(json.as_bytes(), &universe, Ts::ZERO);
        match decode_slow(json.as_bytes(), &universe, None, Ts::ZERO) {
            Ok(Frame::Market(input)) => assert_eq!(fast, Some(input)),
            other => assert!(fast.is_none(), "{other:?}"),
        }
        scanned += u32::from(fast.is_some());
    }
    assert_eq!(scanned, 1_499, "all but the snapshot take the fast way");
}
