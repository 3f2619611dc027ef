use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use qcat_core::binance::instruments;
use qcat_core::market::MarketEvent;
use qcat_core::time::Span;
use std::io::Write;

fn universe() -> Universe {
    instruments::builtin_universe().expect("embedded")
}

fn file(name: &str, text: &str, gzip: bool) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let file = std::fs::File::create(&path).expect("a file");
    if gzip {
        let mut encoder = GzEncoder::new(file, Compression::fast());
        encoder.write_all(text.as_bytes()).expect("written");
        encoder.finish().expect("finished");
    } else {
        (&file).write_all(text.as_bytes()).expect("written");
    }
    (folder, path)
}

fn diff(nanos: u64, first: u64, last: u64, previous: u64) -> String {
    format!(
        "{nanos} {{\"stream\":\"btcusdt@depth@0ms\",\"data\":{{\"e\":\"depthUpdate\",\"E\":1700000000100,\"T\":1700000000100,\
         \"s\":\"BTCUSDT\",\"U\":{first},\"u\":{last},\"pu\":{previous},\"b\":[[\"100.10\",\"1.000\"]],\"a\":[]}}}}\n"
    )
}

fn trade(nanos: u64, millis: u64, price: &str) -> String {
    format!(
        "{nanos} {{\"e\":\"trade\",\"E\":{millis},\"T\":{millis},\"s\":\"BTCUSDT\",\"t\":1,\"p\":\"{price}\",\"q\":\"0.003\",\
         \"X\":\"MARKET\",\"m\":false}}\n"
    )
}

const SNAPSHOT: &str = "4000 {\"lastUpdateId\":15,\"E\":1700000000200,\"T\":1,\"bids\":[[\"100.00\",\"2.5\"]],\"asks\":[[\"100.20\",\"1\"]]}\n";

fn kinds(path: &Path, options: &OpenOptions) -> Vec<(i64, String)> {
    let events = open(path, &universe(), options).expect("opens").map(|input| {
        let input = input.expect("no line is wrong");
        let kind = match &input.event {
            MarketEvent::BookReset(l) => format!("reset {}", l.last_id),
            MarketEvent::BookDelta(l) => format!("delta {}", l.last_id),
            MarketEvent::BookGap => "gap".to_owned(),
            MarketEvent::Trade(_) => "trade".to_owned(),
            MarketEvent::Mark(_) => format!("mark{}", if input.derived { " derived" } else { "" }),
            MarketEvent::Candle(c) => format!("candle {}", c.open_time.seconds()),
            other => format!("{other:?}"),
        };
        (input.receive_time.nanos(), kind)
    });
    events.collect()
}

#[test]
fn a_recording_is_bridged_to_its_snapshot() {
    let text = [
        diff(1000, 5, 9, 4),
        trade(2000, 1_700_000_000_150, "100.1"),
        diff(3000, 10, 16, 9),
        SNAPSHOT.to_owned(),
        diff(3500, 17, 20, 16),
        diff(6000, 25, 30, 24),
    ]
    .concat();
    for gzip in [false, true] {
        let (_folder, path) = file("recording", &text, gzip);
        let expected: Vec<(i64, String)> =
            [(2000, "trade"), (4000, "reset 15"), (4000, "delta 16"), (4000, "delta 20"), (6000, "gap")]
                .map(|(at, kind)| (at, kind.to_owned()))
                .into();
        assert_eq!(kinds(&path, &OpenOptions::default()), expected);
        let symbols = vec!["BTCUSDT".to_owned()];
        let first = Ts::from_millis(1_700_000_000_100);
        assert_eq!(probe(&path).expect("known"), Content::Recording { symbols, first });
    }
}

#[test]
fn what_a_recording_lacks_is_derived_on_request() {
    let text = [
        trade(1, 1_700_000_000_000, "100.1"),
        trade(2, 1_700_000_000_900, "100.3"),
        trade(3, 1_700_000_001_001, "100.2"),
    ]
    .concat();
    let (_folder, path) = file("recording", &text, false);
    let second = Span::from_secs(1);
    let derive = DeriveParams { marks: Some(second), candles: vec![second] };
    let found: Vec<String> =
        kinds(&path, &OpenOptions { derive, ..OpenOptions::default() }).into_iter().map(|k| k.1).collect();
    assert_eq!(found, ["trade", "mark derived", "trade", "candle 1700000000", "mark derived", "trade"]);
}

#[test]
fn errors_name_file_line_and_cause() {
    let good = trade(1, 1_700_000_000_000, "100.1");
    for (bad, cause) in [
        (trade(2, 1, "1x0").as_str(), "field `p`, value `1x0`"),
        ("17 {\"e\":\"trade\",\"s\":\"NOSUCH\"}\n", "a symbol without a definition"),
        ("x1 {}\n", "expected nanoseconds since 1970, found `x1`"),
        ("nothing\n", "found no space"),
        ("5 {\"e\":\"bookTicker\",\n", "EOF"),
        ("5 {\"e\":\"newThing\"}\n", "unknown kind of message `newThing`"),
        (SNAPSHOT, "its symbol is not known"),
    ] {
        // Beyond the lines that the probe reads, so that the reader itself finds it.
        let text = good.repeat(2_000) + bad;
        let (_folder, path) = file("bad", &text, false);
        let mut history = open(&path, &universe(), &OpenOptions::default()).expect("opens");
        let error = history.by_ref().find_map(Result::err).expect("an error").to_string();
        assert!(error.contains("bad:2001: ") && error.contains(cause), "{error}");
        assert!(history.next().is_none(), "after an error it ends");
    }
    let (_folder, path) = file("cut.gz", &good.repeat(3_000), true);
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() - 9]).expect("written");
    let history = open(&path, &universe(), &OpenOptions::default()).expect("opens");
    assert!(history.filter_map(Result::err).last().expect("an error").to_string().contains("is the file whole?"));
    let missing = open(Path::new("/no/such/file"), &universe(), &OpenOptions::default()).expect_err("an error");
    assert!(missing.to_string().starts_with("/no/such/file: "));
}

#[test]
fn candles_are_read_with_or_without_a_header() {
    let export = "timestamp,open,high,low,close,volume\n\
        2021-12-31 23:01:00.000000,46319.0,46385.0,46319.0,46377.0,2300413.7295\n\
        2021-12-31 23:02:00.000000,46377.0,46411.0,46377.0,46411.0,1829623.1938\n\
        2021-12-31 23:05:00.000000,46377.0,46411.0,46377.0,46400.0,0\n";
    let (_folder, path) = file("candles.csv", export, true);
    let options = OpenOptions { symbol: Some("BTCUSDT".to_owned()), ..OpenOptions::default() };
    let read = |options: &OpenOptions| -> Vec<MarketInput> {
        open(&path, &universe(), options).expect("opens").map(|i| i.expect("right")).collect()
    };
    let candles: Vec<_> = read(&options)
        .iter()
        .map(|i| match &i.event {
            MarketEvent::Candle(c) => {
                assert_eq!((i.receive_time, i.derived, c.closed), (c.close_time(), false, true));
                (c.open_time.seconds(), c.volume.mantissa(), c.quote_volume.to_string())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    // 23:00 UTC; 2,300,413.7295 / 46,377 = 49.602469… BTC.
    assert_eq!(candles[0], (1_640_991_600, 49_602, "2300413.7295".to_owned()));
    assert_eq!(candles.iter().map(|c| c.0 - candles[0].0).collect::<Vec<_>>(), [0, 60, 240]);
    let inside = OpenOptions { klines: KlinesOptions { inside: true, ..KlinesOptions::default() }, ..options.clone() };
    let events = read(&inside);
    assert_eq!(events.len(), 3 * 13);
    assert!(events.windows(2).all(|w| w[0].receive_time <= w[1].receive_time));
    assert_eq!(events.iter().filter(|e| e.derived).count(), 3 * 12);

    let dump = "1640991600000,46319.0,46385.0,46319.0,46377.0,12.5,1640991659999,579000.5,321,6.25,1,0\n\
        1640991660000,46377.0,46411.0,46377.0,46411.0,1,1640991719999,46400,3,0.5,1,0\n";
    let (_folder, path) = file("dump.csv", dump, false);
    let first = open(&path, &universe(), &options).expect("opens").next().expect("one").expect("right");
    let MarketEvent::Candle(c) = first.event else { panic!() };
    assert_eq!((c.open_time.seconds(), c.volume.mantissa(), c.trades), (1_640_991_600, 12_500, 321));
    assert_eq!((c.taker_buy_volume.mantissa(), c.quote_volume.to_string()), (6_250, "579000.5".to_owned()));
}

#[test]
fn wrong_candles_are_refused_with_their_line() {
    let rows = |third: &str| {
        format!(
            "timestamp,open,high,low,close,volume\n2022-01-01 00:01:00,5,6,4,5,1\n2022-01-01 00:02:00,5,6,4,5,1\n{third}\n"
        )
    };
    for (third, cause) in [
        ("2022-01-01 00:02:00,5,6,4,5,1", "not whole intervals later"),
        ("2022-01-01 00:02:30,5,6,4,5,1", "not whole intervals later"),
        ("yesterday,5,6,4,5,1", "is not a time"),
        ("2022-01-01 00:03:00,5,6,5.5,5,1", "do not hold open and close"),
        ("2022-01-01 00:03:00,5,6,4,5", "has no column 6"),
        ("2022-01-01 00:03:00,-5,6,4,5,1", "is not positive"),
        ("2022-01-01 00:03:00,5,6,4,5,-1", "is not an amount"),
    ] {
        let (_folder, path) = file("c.csv", &rows(third), false);
        let options = OpenOptions { symbol: Some("BTCUSDT".to_owned()), ..OpenOptions::default() };
        let error =
            open(&path, &universe(), &options).expect("opens").find_map(Result::err).expect("an error").to_string();
        assert!(error.contains("c.csv:4: ") && error.contains(cause), "{error}");
    }
    let (_folder, path) = file("c.csv", &rows(""), false);
    let error = open(&path, &universe(), &OpenOptions::default()).expect_err("no symbol").to_string();
    assert!(error.contains("has to be given"), "{error}");
}
