//! The real daemon under SIGKILL at random moments, against the simulated exchange over real sockets.
//!
//! After every few kills the daemon runs on, is stopped in order, and its journal is folded from its first record: orders, fills,
//! positions and balances must equal the exchange's, no client order id may be used twice, and no order may be at the exchange
//! whose decision is not in the journal. `QCAT_KILLS` says how many kills (20 by default, `make soak` does a thousand).

use qcat::compare;
use qcat::sim::{self, Market, RunningSim, SimOptions};
use qcat_core::command::{Answer, CommandKind, Query};
use qcat_core::engine::Engine;
use qcat_core::engine::fold::{Quarantine, Record};
use qcat_core::event::Decision;
use qcat_core::id::{AccountIx, ClientOrderId, OrderKey};
use qcat_core::order::Fill;
use qcat_core::sim::dice::Dice;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::Span;
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Entry, Reader};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

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
    for kill in 1..=kills {
        let mut daemon = spawn(&config, directory.path());
        tokio::time::sleep(Duration::from_millis(50 + dice.below(2_500))).await;
        daemon.kill().expect("killed");
        daemon.wait().expect("gone");
        if kill % KILLS_BETWEEN_CHECKS == 0 || kill == kills {
            check(&exchange, &config, &journal, directory.path(), kill).await;
        }
    }
}

/// Starts the daemon once more, lets it settle and trade, stops it in order, and compares.
async fn check(exchange: &RunningSim, config: &Path, journal: &Path, directory: &Path, kill: u32) {
    let mut daemon = spawn(config, directory);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pid = daemon.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let status = loop {
        if let Some(status) = daemon.try_wait().expect("a child") {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let log = || std::fs::read_to_string(directory.join("daemon.log")).unwrap_or_default();
    assert_eq!(status.code(), Some(0), "after kill {kill}: the stop is clean\n{}", log());
    let past = fold(journal);
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
}

struct Past {
    engine: Engine,
    fills: Vec<Fill>,
    placed: BTreeSet<ClientOrderId>,
}

/// Folds a journal from its first record.
fn fold(journal: &Path) -> Past {
    let registry = Arc::new(Registry::builtin());
    let mut reader = Reader::open(Arc::new(RealDisk), journal).expect("the journal opens");
    let mut past = Past { engine: Engine::new(registry), fills: Vec::new(), placed: BTreeSet::new() };
    let quarantine: [Quarantine; 0] = [];
    while let Some(entry) = reader.next_entry().expect("the journal reads") {
        match entry {
            Entry::Input(admitted) => {
                past.engine.fold(Record::Input(admitted), &quarantine, false).expect("it folds");
                past.fills.extend(&past.engine.happened().fills);
            }
            Entry::Decisions { seq, decisions, .. } => {
                for decision in &decisions {
                    if let Decision::Command(command) = decision
                        && let CommandKind::Place(order) = &command.kind
                    {
                        let id = order.intent.id;
                        assert!(past.placed.insert(id), "client order id {id} was used twice");
                    }
                }
                past.engine.fold(Record::Decisions(seq, decisions), &quarantine, false).expect("it folds");
            }
            Entry::Quarantine(mark) => panic!("a node panicked: {mark:?}"),
            Entry::Epoch(_) | Entry::Snapshot | Entry::Close => {}
        }
    }
    past
}

fn spawn(config: &Path, directory: &Path) -> Child {
    let log = std::fs::File::create(directory.join("daemon.log")).expect("a log file");
    Command::new(env!("CARGO_BIN_EXE_qcat"))
        .args(["run", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the daemon starts")
}

fn configuration(exchange: &RunningSim, journal: &Path) -> String {
    let urls = sim::config_urls(exchange.address, false);
    let demo = include_str!("../configs/demo.yaml");
    format!(
        "{urls}journal: {{ dir: {}, segment_size: 16777216 }}\nlogging: {{ level: info }}\n{demo}",
        journal.display()
    )
}
