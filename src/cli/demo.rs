//! `qcat demo`: the simulated exchange and the daemon in one process, shown on the terminal.

use super::exit;
use crate::daemon::Daemon;
use crate::sim::{self, Market, RunningSim, SimOptions};
use crate::wire::Composition;
use crate::{compare, config, terminal};
use qcat_core::event::{Input, OperatorCommand};
use qcat_core::id::{AccountIx, StrategyIx};
use qcat_core::order::OrderState;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::Span;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

const TITLE: &str = "QCAT demo (Ctrl-C stops)";

/// Watch QCAT trade on a simulated exchange: nothing to install, no key, no network.
///
/// The simulated exchange and the daemon run in one process and talk over real sockets on this machine. Two strategies trade a
/// generated market; the trend follower begins after about 20 seconds, when it has seen enough. At the end the strategies stop
/// and the books of daemon and exchange are compared. Exit code 0: they agree; 70: they differ.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Stop after this many seconds; without it Ctrl-C stops.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Speak TLS with a CA made for this run.
    #[arg(long)]
    tls: bool,
    /// Seed of the generated market.
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Stop as soon as every strategy has traded; an error when the time is over before that.
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
    let composition = Composition { keep_fills: true, ..Arc::new(Registry::builtin()).into() };
    let daemon = match Daemon::start(&config, composition).await {
        Ok(daemon) => daemon,
        Err(error) => {
            eprintln!("error: {error}");
            return super::run::start_code(&error);
        }
    };
    watch(&arguments, &daemon).await;
    let settled = async {
        let agreed = settle(&arguments, &daemon, &exchange).await;
        daemon.stop().await;
        agreed
    };
    tokio::select! {
        agreed = settled => agreed,
        () = crate::signals::stop_again() => exit::FORCED,
    }
}

fn configuration(exchange: &RunningSim, directory: &std::path::Path) -> Result<config::Config, String> {
    let mut text = sim::config_beside(exchange.address, exchange.ca_pem.is_some());
    if let Some(pem) = &exchange.ca_pem {
        let path = directory.join("ca.pem");
        std::fs::write(&path, pem).map_err(|error| format!("{}: {error}", path.display()))?;
        text.push_str(&format!("  ca_file: {}\n", path.display()));
    }
    text.push_str(&format!("journal: {{ dir: {} }}\n", directory.join("journal").display()));
    text.push_str(&format!("database: {{ path: {} }}\n", directory.join("qcat.db").display()));
    text.push_str(include_str!("../../configs/demo.yaml"));
    let faults = |faults: Vec<config::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    config::parse("demo", &text, &[]).map_err(faults)
}

/// Shows the table until the time is over or somebody presses Ctrl-C.
async fn watch(arguments: &Arguments, daemon: &Daemon) {
    let terminal = std::io::stdout().is_terminal();
    let mut tick = tokio::time::interval(Duration::from_millis(if terminal { 500 } else { 5_000 }));
    let end = tokio::time::sleep(Duration::from_secs(arguments.seconds.unwrap_or(u64::MAX / 4)));
    let stop = crate::signals::stop();
    tokio::pin!(end, stop);
    loop {
        tokio::select! {
            () = &mut end => return,
            () = &mut stop => return,
            _ = tick.tick() => {
                let table = daemon.lane().read(|engine| terminal::render(TITLE, engine, &daemon.recent()));
                let drawn = match qcat_io::terminal::size().filter(|_| terminal) {
                    // Home and clear below: the table is drawn over the last one.
                    Some((columns, rows)) => say(&format!("\x1b[H\x1b[J{}", terminal::fit(&table, columns, rows))),
                    None => say(&format!("{table}\n")),
                };
                // Nobody reads any more, or there is nothing more to wait for.
                if drawn.is_err() || (arguments.must_trade && all_traded(daemon)) {
                    return;
                }
            }
        }
    }
}

/// Writes to standard output; a reader that is gone is no reason to panic.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Stops the strategies, lets everything arrive, and compares the books.
async fn settle(arguments: &Arguments, daemon: &Daemon, exchange: &RunningSim) -> u8 {
    let strategies = daemon.lane().read(|engine| engine.config().strategies.len());
    let _ = say("\nstopping the strategies; what is under way arrives, then the books are compared\n");
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
    let mut report = comparison(daemon, exchange, account);
    differences.iter().for_each(|difference| report.push_str(&format!("DIFFERENCE {difference}\n")));
    if differences.is_empty() {
        report.push_str("the books of daemon and exchange agree to the last digit\n");
    }
    let failed = arguments.must_trade && !all_traded(daemon);
    if failed {
        report.push_str("not every strategy has traded\n");
    }
    let _ = say(&report);
    if differences.is_empty() && !failed { exit::OK } else { exit::SOFTWARE }
}

fn all_traded(daemon: &Daemon) -> bool {
    let (strategies, recent) = (daemon.lane().read(|engine| engine.config().strategies.len()), daemon.recent());
    (1..=strategies).all(|at| recent.counts.get(at).is_some_and(|count| *count > 0))
}

/// Both books side by side, and who traded how often.
fn comparison(daemon: &Daemon, exchange: &RunningSim, account: AccountIx) -> String {
    let lines = exchange.server.exchange(|exchange, _, _| {
        daemon.lane().read(|engine| compare::lines(engine, &daemon.fills(), exchange.venue(), account))
    });
    let mut text = format!("\n{:<24}{:>24}{:>24}\n", "", "daemon", "exchange");
    for compare::Line { what, here, there } in lines {
        text.push_str(&format!("{what:<24}{here:>24}{there:>24}\n"));
    }
    let (recent, mut traded) = (daemon.recent(), Vec::new());
    daemon.lane().read(|engine| {
        for (ix, strategy) in engine.config().strategies() {
            traded.push(format!("{} {}", strategy.name, recent.counts.get(ix.ix()).copied().unwrap_or(0)));
        }
    });
    text.push_str(&format!("fills by strategy: {}\n", traded.join(", ")));
    text
}

fn differences(daemon: &Daemon, exchange: &RunningSim, account: AccountIx) -> Vec<String> {
    exchange.server.exchange(|exchange, _, _| {
        daemon.lane().read(|engine| compare::differences(engine, &daemon.fills(), exchange.venue(), account))
    })
}
