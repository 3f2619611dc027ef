//! The simulator replays a recording, the real daemon trades on it over sockets: it trades at recorded prices, every trade of the
//! market arrives, and in the end the books agree.

use qcat::compare;
use qcat::sim::{self, Market, SimOptions};
use qcat_core::id::AccountIx;
use qcat_core::market::MarketEvent;
use qcat_core::num::Price;
use qcat_core::time::Span;
use qcat_io::history;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[path = "support/daemon.rs"]
mod daemon;

#[test]
fn the_daemon_trades_a_recording() {
    let Some(data) = std::env::var_os("QCAT_TEST_DATA") else {
        eprintln!("SKIPPED: QCAT_TEST_DATA is not set; the whole recording is needed");
        return;
    };
    let recording = PathBuf::from(data).join("recorded/usdm_btcusdt_20240808.gz");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, run(recording));
}

async fn run(recording: PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = SimOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: false,
        market: Market::Replay { path: recording.clone(), speed_permille: 8_000 },
        accounts: vec![sim::default_account("100000")],
        latency: Span::from_millis(1),
        fees: qcat_core::venue::Fees::default(),
    };
    let exchange = sim::start(&options).await.expect("the simulator starts");
    let journal = directory.path().join("journal");
    let config = directory.path().join("config.yaml");
    let urls = sim::config_beside(exchange.address, false);
    let demo = include_str!("../configs/demo.yaml");
    std::fs::write(
        &config,
        format!("{urls}journal: {{ dir: {0} }}\ndatabase: {{ path: {0}.db }}\n{demo}", journal.display()),
    )
    .expect("written");
    let mut child = daemon::spawn(&config, directory.path());
    while !exchange.server.exchange(|exchange, _, _| exchange.ended()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What was sent last arrives.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = daemon::stop(&mut child).await;
    let log = std::fs::read_to_string(directory.path().join("daemon.log")).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "{log}");
    let past = daemon::fold(&journal);
    let prices = recorded_prices(&recording);
    assert!(!past.fills.is_empty(), "nothing was traded\n{log}");
    for fill in &past.fills {
        assert!(prices.contains(&fill.price), "a fill at {:?}, which the recording never saw", fill.price);
    }
    exchange.server.exchange(|exchange, _, _| {
        assert_eq!(past.market_trades, exchange.sent().trades, "trades sent and trades admitted\n{log}");
        let differences = compare::differences(&past.engine, &past.fills, exchange.venue(), AccountIx(0));
        assert!(differences.is_empty(), "{differences:#?}\n{log}");
    });
    println!("{} fills at recorded prices, {} trades of the market", past.fills.len(), past.market_trades);
}

/// Every price at which the recording quoted, traded or showed depth.
fn recorded_prices(recording: &Path) -> BTreeSet<Price> {
    let universe = qcat_core::binance::instruments::builtin_universe().expect("embedded");
    let mut prices = BTreeSet::new();
    for event in history::open(recording, &universe, &history::OpenOptions::default()).expect("opens") {
        match event.expect("reads").event {
            MarketEvent::Quote(quote) => prices.extend([quote.bid, quote.ask]),
            MarketEvent::Trade(trade) => prices.extend([trade.price]),
            MarketEvent::BookDelta(levels) | MarketEvent::BookReset(levels) => {
                prices.extend(levels.bids.iter().chain(&levels.asks).map(|level| level.price));
            }
            _ => {}
        }
    }
    prices
}
