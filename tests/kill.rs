//! The real daemon under SIGKILL at random moments, against the simulated exchange over real sockets.
//!
//! After every few kills the daemon runs on, is stopped in order, and its journal is folded from its first record: orders, fills,
//! positions and balances must equal the exchange's, no client order id may be used twice, and no order may be at the exchange
//! whose decision is not in the journal. `QCAT_KILLS` says how many kills (20 by default, `make soak` does a thousand).

use qcat::compare;
use qcat::sim::{self, Market, RunningSim, SimOptions};
use qcat_core::command::{Answer, Query};
use qcat_core::id::{AccountIx, OrderKey};
use qcat_core::sim::dice::Dice;
use qcat_core::time::Span;
use std::path::Path;
use std::time::Duration;

#[path = "support/daemon.rs"]
mod daemon;

const KILLS_BETWEEN_CHECKS: u32 = 5;

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let kills: u32 = std::env::var("QCAT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, run(kills));
}

async fn run(kills: u32) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = SimOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: false,
        market: Market::Generated { seed: 11, symbols: vec!["BTCUSDT".to_owned()] },
        accounts: vec![sim::default_account("100000")],
        latency: Span::from_millis(1),
        fees: qcat_core::venue::Fees::default(),
    };
    let exchange = sim::start(&options).await.expect("the simulator starts");
    let journal = directory.path().join("journal");
    let config = directory.path().join("config.yaml");
    std::fs::write(&config, configuration(&exchange, &journal)).expect("written");
    let mut dice = Dice::new(u64::from(kills), "kill");
    let mut fills = 0;
    for kill in 1..=kills {
        let mut daemon = daemon::spawn(&config, directory.path());
        tokio::time::sleep(Duration::from_millis(50 + dice.below(3_500))).await;
        daemon.kill().expect("killed");
        daemon.wait().expect("gone");
        if kill % KILLS_BETWEEN_CHECKS == 0 || kill == kills {
            fills = check(&exchange, &config, &journal, directory.path(), kill).await;
        }
    }
    assert!(fills >= kills as usize, "the kills hit a daemon that trades: {fills} fills");
}

/// Starts the daemon once more, lets it settle and trade, stops it in order, and compares.
async fn check(exchange: &RunningSim, config: &Path, journal: &Path, directory: &Path, kill: u32) -> usize {
    let log = || std::fs::read_to_string(directory.join("daemon.log")).unwrap_or_default();
    let mut lives = 0;
    let past = loop {
        let mut daemon = daemon::spawn(config, directory);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let status = daemon::stop(&mut daemon).await;
        let past = daemon::fold(journal);
        lives += 1;
        // An order whose fate is unknown is asked for until it is known; a slow machine may need another life for it.
        let unknown = past.engine.desk(AccountIx(0)).map_or(0, |desk| desk.unknown_count());
        if unknown == 0 && status.code() == Some(0) {
            break past;
        }
        // Only such an order may keep a stop from being clean (75: cut off and named), and not for ever.
        assert!(matches!(status.code(), Some(0 | 75)), "after kill {kill}: stopped with {status}\n{}", log());
        assert!(lives < 10, "after kill {kill}: no clean stop, {unknown} orders unknown\n{}", log());
    };
    let account = AccountIx(0);
    exchange.server.exchange(|exchange, _, _| {
        let venue = exchange.venue();
        let differences = compare::differences(&past.engine, &past.fills, venue, account);
        assert!(differences.is_empty(), "after kill {kill}: {differences:#?}\n{}", log());
        for query in [Query::OpenOrders, Query::OpenConditionals] {
            let keys: Vec<OrderKey> = match venue.look(account, &query) {
                Ok(Answer::OpenOrders(orders)) => orders.iter().map(|o| o.key).collect(),
                Ok(Answer::OpenConditionals(orders)) => orders.iter().map(|o| o.key).collect(),
                other => panic!("{other:?}"),
            };
            for key in keys {
                let recorded = key.ours().is_some_and(|id| past.placed.contains(&id));
                assert!(
                    recorded,
                    "after kill {kill}: order {key} is at the exchange and its decision is not in the journal"
                );
            }
        }
        for fill in &past.fills {
            let recorded = fill.key.ours().is_some_and(|id| past.placed.contains(&id));
            assert!(recorded, "after kill {kill}: a fill of {} whose decision is not in the journal", fill.key);
        }
    });
    println!("after {kill} kills: {} orders, {} fills, books agree", past.placed.len(), past.fills.len());
    past.fills.len()
}

fn configuration(exchange: &RunningSim, journal: &Path) -> String {
    let urls = sim::config_urls(exchange.address, false);
    // Quick strategies: each life is short.
    format!(
        "{urls}journal: {{ dir: {}, segment_size: 16777216 }}\n\
         accounts: [{{ name: sim, api_key: sim-key, api_secret: sim-secret, limits: {{ runaway_orders_max: 10000, order_rate_max: 250 }} }}]\n\
         orders: {{ timeout: 1s, query_backoff: 100ms, query_backoff_max: 500ms, absent_after: 1s }}\n\
         strategies:\n\
         - {{ name: quick, kind: mean_reverter, symbols: [BTCUSDT], params: {{ sample_millis: 20, fair_samples: 4, \
           entry_sigmas: 0.2, entry_ticks_min: 1, requote_ticks: 1, rest_secs: 0, requote: modify }} }}\n\
         - {{ name: trend, kind: trend_follower, symbols: [BTCUSDT], params: {{ fast_periods: 1, slow_periods: 2, atr_periods: 1, \
           band_atr: 0.0 }} }}\n",
        journal.display()
    )
}
