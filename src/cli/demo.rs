//! `qcat demo`: the simulated exchange and the daemon in one process, shown on the terminal.

use super::exit;
use crate::daemon::Daemon;
use crate::sim::{self, Market, RunningSim, SimOptions};
use crate::{compare, config, terminal};
use qcat_core::event::{Input, OperatorCommand};
use qcat_core::id::{AccountIx, StrategyIx};
use qcat_core::order::OrderState;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::Span;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

/// Watch QCAT trade: simulated exchange and daemon in one process, nothing to install, no key, no network.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Stop after this many seconds; without it Ctrl-C stops.
    #[arg(long)]
    seconds: Option<u64>,
    /// Speak TLS with a CA made for this run.
    #[arg(long)]
    tls: bool,
    /// Seed of the generated market.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// End with an error unless every strategy has traded.
    #[arg(long)]
    must_trade: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let directory = match tempfile::Builder::new().prefix("qcat-demo-").tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("error: no temporary directory: {error}");
            return exit::UNAVAILABLE;
        }
    };
    super::log_to_stderr(if std::io::stdout().is_terminal() { "error" } else { "warn" });
    super::on_actix(serve(arguments.clone_for_run(), directory))
}

impl Arguments {
    fn clone_for_run(&self) -> Arguments {
        Arguments { seconds: self.seconds, tls: self.tls, seed: self.seed, must_trade: self.must_trade }
    }
}

async fn serve(arguments: Arguments, directory: tempfile::TempDir) -> u8 {
    let options = SimOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: arguments.tls,
        market: Market::Generated { seed: arguments.seed, symbols: vec!["BTCUSDT".to_owned()] },
        accounts: vec![sim::default_account("10000")],
        latency: Span::from_millis(1),
        fees: qcat_core::venue::Fees::default(),
    };
    let exchange = match sim::start(&options).await {
        Ok(exchange) => exchange,
        Err(error) => {
            eprintln!("error: {error}");
            return exit::UNAVAILABLE;
        }
    };
    let config = match configuration(&exchange, directory.path()) {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("error: {problem}");
            return exit::SOFTWARE;
        }
    };
    let daemon = match Daemon::start(&config, Arc::new(Registry::builtin())).await {
        Ok(daemon) => daemon,
        Err(error) => {
            eprintln!("error: {error}");
            return super::run::start_code(&error);
        }
    };
    watch(&arguments, &daemon).await;
    let agreed = settle(&arguments, &daemon, &exchange).await;
    daemon.stop().await;
    agreed
}

fn configuration(exchange: &RunningSim, directory: &std::path::Path) -> Result<config::Config, String> {
    let mut text = sim::config_urls(exchange.address, exchange.ca_pem.is_some());
    if let Some(pem) = &exchange.ca_pem {
        let path = directory.join("ca.pem");
        std::fs::write(&path, pem).map_err(|error| format!("{}: {error}", path.display()))?;
        text.push_str(&format!("  ca_file: {}\n", path.display()));
    }
    text.push_str(&format!("journal: {{ dir: {} }}\n", directory.join("journal").display()));
    text.push_str(include_str!("../../configs/demo.yaml"));
    let faults = |faults: Vec<config::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    config::parse("demo", &text, &[]).map_err(faults)
}

/// Shows the table until the time is over or somebody presses Ctrl-C.
async fn watch(arguments: &Arguments, daemon: &Daemon) {
    let terminal = std::io::stdout().is_terminal();
    let mut tick = tokio::time::interval(Duration::from_millis(if terminal { 500 } else { 5_000 }));
    let end = tokio::time::sleep(Duration::from_secs(arguments.seconds.unwrap_or(u64::MAX / 4)));
    let stop = super::stop_signal();
    tokio::pin!(end, stop);
    loop {
        tokio::select! {
            () = &mut end => return,
            () = &mut stop => return,
            _ = tick.tick() => {
                let table = daemon.lane().read(|engine| {
                    terminal::render("QCAT demo on a simulated exchange (Ctrl-C stops)", engine, &daemon.recent())
                });
                let mut out = std::io::stdout().lock();
                // Home and clear below: the table is drawn over the last one.
                let head = if terminal { "\x1b[H\x1b[J" } else { "\n" };
                let _ = write!(out, "{head}{table}");
                let _ = out.flush();
            }
        }
    }
}

/// Stops the strategies, lets everything arrive, and compares the books.
async fn settle(arguments: &Arguments, daemon: &Daemon, exchange: &RunningSim) -> u8 {
    let strategies = daemon.lane().read(|engine| engine.config().strategies.len());
    for at in 1..=strategies {
        daemon.lane().offer(Input::Command(OperatorCommand::StopStrategy(StrategyIx(at as u16))));
    }
    let account = AccountIx(0);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let open = daemon.lane().read(|engine| {
            let busy =
                |o: &qcat_core::order::OrderUpdate| !matches!(o.state, OrderState::Done(_) | OrderState::Working);
            engine.desk(account).map_or(0, |desk| desk.orders().filter(busy).count() + desk.owed_count())
        });
        if open == 0 && differences(daemon, exchange, account).is_empty() {
            break;
        }
    }
    let differences = differences(daemon, exchange, account);
    let recent = daemon.recent();
    println!("\nfills by strategy: {:?}", recent.counts.get(1..).unwrap_or_default());
    if !differences.is_empty() {
        differences.iter().for_each(|difference| println!("DIFFERENCE {difference}"));
        return exit::SOFTWARE;
    }
    println!("orders, fills, positions, fees and balances of daemon and exchange agree to the last digit");
    let all_traded = (1..=strategies).all(|at| recent.counts.get(at).is_some_and(|count| *count > 0));
    if arguments.must_trade && !all_traded {
        println!("not every strategy has traded");
        return exit::SOFTWARE;
    }
    exit::OK
}

fn differences(daemon: &Daemon, exchange: &RunningSim, account: AccountIx) -> Vec<String> {
    exchange.server.exchange(|exchange, _, _| {
        daemon.lane().read(|engine| compare::differences(engine, &daemon.fills(), exchange.venue(), account))
    })
}
