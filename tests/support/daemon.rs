//! The real daemon as a child process, and its journal folded from the first record.
#![allow(dead_code)] // Each test uses a part of it.

use qcat::sim::{self, Market, RunningSim, SimOptions};
use qcat_core::command::{Answer, CommandKind, Query, TradeCursor};
use qcat_core::engine::Engine;
use qcat_core::engine::fold::{Quarantine, Record};
use qcat_core::event::{Decision, Input};
use qcat_core::id::{AccountIx, ClientOrderId, TradeId};
use qcat_core::market::{MarketEvent, MarketInput};
use qcat_core::order::{Fill, TradeRecord};
use qcat_core::strategy::registry::Registry;
use qcat_core::time::{Span, Ts};
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Entry, Reader};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// What a journal says.
pub struct Past {
    /// The engine after the last record.
    pub engine: Engine,
    /// All fills.
    pub fills: Vec<Fill>,
    /// Orders whose placing was decided.
    pub placed: BTreeSet<ClientOrderId>,
    /// Trades of the market that were admitted.
    pub market_trades: u64,
}

/// Folds a journal from its first record.
pub fn fold(journal: &Path) -> Past {
    let registry = Arc::new(Registry::builtin());
    let mut reader = Reader::open(Arc::new(RealDisk), journal).expect("the journal opens");
    let mut past = Past { engine: Engine::new(registry), fills: Vec::new(), placed: BTreeSet::new(), market_trades: 0 };
    let quarantine: [Quarantine; 0] = [];
    while let Some(entry) = reader.next_entry().expect("the journal reads") {
        match entry {
            Entry::Input(admitted) => {
                if let Input::Market(MarketInput { event: MarketEvent::Trade(_), .. }) = admitted.input {
                    past.market_trades += 1;
                }
                past.engine.fold(Record::Input(admitted), &quarantine, false).expect("it folds");
                past.fills.extend(&past.engine.happened().fills);
            }
            Entry::Decisions { seq, at, decisions } => {
                for decision in &decisions {
                    if let Decision::Command(command) = decision
                        && let CommandKind::Place(order) = &command.kind
                    {
                        let id = order.intent.id;
                        assert!(past.placed.insert(id), "client order id {id} was used twice");
                    }
                }
                past.engine.fold(Record::Decisions(seq, at, decisions), &quarantine, false).expect("it folds");
            }
            Entry::Quarantine(mark) => panic!("a node panicked: {mark:?}"),
            Entry::Epoch(_) | Entry::Snapshot | Entry::Close => {}
        }
    }
    past
}

/// A configuration for a daemon at a simulator, with strategies that trade within seconds.
pub fn configuration(exchange: &RunningSim, journal: &Path) -> String {
    let urls = sim::config_beside(exchange.address, false);
    format!(
        "{urls}  recv_window: 1500ms\n\
         journal: {{ dir: {0}, segment_size: 16777216 }}\n\
         database: {{ path: {0}.db }}\n\
         logging: {{ output: stderr, format: text }}\n\
         accounts: [{{ name: sim, api_key: sim-key, api_secret: sim-secret, limits: {{ runaway_orders_max: 10000, order_rate_max: 250 }} }}]\n\
         orders: {{ timeout: 1s, query_backoff: 100ms, query_backoff_max: 500ms, absent_after: 2500ms }}\n\
         {STRATEGIES}",
        journal.display()
    )
}

/// The strategies of [`configuration`].
pub const STRATEGIES: &str = "strategies:\n\
     - { name: quick, kind: mean_reverter, symbols: [BTCUSDT], params: { sample_millis: 20, fair_samples: 4, \
       entry_sigmas: 0.2, entry_ticks_min: 1, requote_ticks: 1, rest_secs: 0, requote: modify } }\n\
     - { name: trend, kind: trend_follower, symbols: [BTCUSDT], params: { fast_periods: 1, slow_periods: 2, atr_periods: 1, \
       band_atr: 0.0 } }\n";

/// A simulator on a free port with a generated market and one account of 100,000 USDT.
pub async fn exchange(seed: u64) -> RunningSim {
    let options = SimOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: false,
        market: Market::Generated { seed, symbols: vec!["BTCUSDT".to_owned()] },
        accounts: vec![sim::default_account("100000")],
        latency: Span::from_millis(1),
        fees: qcat_core::venue::Fees::default(),
    };
    sim::start(&options).await.expect("the simulator starts")
}

/// Trades of the first account at the exchange, oldest first.
pub fn trades(exchange: &RunningSim) -> Vec<TradeRecord> {
    exchange.server.exchange(|exchange, _, _| {
        let venue = exchange.venue();
        let mut all = Vec::new();
        for instrument in venue.universe().instruments() {
            let mut from = TradeCursor::Time(Ts::ZERO);
            while let Ok(Answer::Trades { trades, .. }) =
                venue.look(AccountIx(0), &Query::Trades { symbol: instrument.symbol, from })
            {
                let Some(last) = trades.last() else { break };
                from = TradeCursor::Id(TradeId(last.fill.trade_id.0 + 1));
                all.extend(trades);
            }
        }
        all
    })
}

/// Runs what needs local tasks.
pub fn on_local_set(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Waits until something is so; panics with `what` after a minute.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

/// Starts the daemon; its log goes to `daemon.log` in `directory`.
pub fn spawn(config: &Path, directory: &Path) -> Child {
    spawn_with_log(config, &directory.join("daemon.log"))
}

/// Starts the daemon; `log` takes what it says.
pub fn spawn_with_log(config: &Path, log: &Path) -> Child {
    spawn_with(config, log, &[])
}

/// Starts the daemon with more arguments.
pub fn spawn_with(config: &Path, log: &Path, arguments: &[&str]) -> Child {
    let log = std::fs::File::create(log).expect("a log file");
    // QCAT_BIN: another build of the daemon, an optimised one for instance.
    let binary = std::env::var("QCAT_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_qcat").to_owned());
    let mut command = Command::new(binary);
    // What tells the test what to do would be an unknown key of the daemon's configuration.
    std::env::vars().filter(|(name, _)| name.starts_with("QCAT_")).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command
        .args(["run", "--config"])
        .arg(config)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the daemon starts")
}

/// Tells the daemon to stop.
pub fn terminate(daemon: &Child) {
    let pid = daemon.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
}

/// Stops the daemon in order.
pub async fn stop(daemon: &mut Child) -> ExitStatus {
    terminate(daemon);
    ended(daemon).await
}

/// Waits for the end of the daemon; the exchange goes on beside it.
pub async fn ended(daemon: &mut Child) -> ExitStatus {
    loop {
        if let Some(status) = daemon.try_wait().expect("a child") {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
