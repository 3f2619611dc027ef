//! `qcat sim`: the simulated exchange on loopback.

use super::exit;
use crate::sim::{self, Market, SimAccount, SimOptions};
use qcat_core::time::Span;
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serve the simulated exchange on loopback: REST and streams as Binance USDⓈ-M futures has them.
///
/// It prints the URLs that a configuration needs and serves until it is stopped, or until the recording that it replays ends.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen (loopback only; port 0 takes a free one).
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// Serve TLS with a CA made for this run; its certificate is written to `--ca-out`.
    #[arg(long)]
    tls: bool,
    /// Where the CA's certificate goes (for `exchange.ca_file`).
    #[arg(long, value_name = "FILE", default_value = "qcat-sim-ca.pem", requires = "tls")]
    ca_out: PathBuf,
    /// Replay this recording instead of generating a market.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Speed of the replay: 1 is its own.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "replay")]
    speed: f64,
    /// Seed of the generated market.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Symbols of the generated market, with commas between them.
    #[arg(long, value_name = "SYMBOLS", default_value = "BTCUSDT", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Accounts as `key:secret:balance`; may be given several times.
    #[arg(long, value_name = "KEY:SECRET:BALANCE", default_value = "sim-key:sim-secret:10000")]
    account: Vec<String>,
    /// From the arrival of a request to its effect, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 1)]
    latency_ms: u32,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let accounts: Result<Vec<SimAccount>, String> = arguments.account.iter().map(|text| account(text)).collect();
    let accounts = match accounts {
        Ok(accounts) => accounts,
        Err(problem) => {
            eprintln!("error: {problem}");
            return exit::USAGE;
        }
    };
    if !(arguments.speed.is_finite() && (0.001..=1000.0).contains(&arguments.speed)) {
        eprintln!("error: --speed is allowed from 0.001 to 1000");
        return exit::USAGE;
    }
    let market = match &arguments.replay {
        Some(path) => Market::Replay { path: path.clone(), speed_permille: (arguments.speed * 1000.0) as i64 },
        None => Market::Generated { seed: arguments.seed, symbols: arguments.symbols.clone() },
    };
    let options = SimOptions {
        listen: arguments.listen,
        tls: arguments.tls,
        market,
        accounts,
        latency: Span::from_millis(i64::from(arguments.latency_ms)),
        fees: qcat_core::venue::Fees::default(),
    };
    super::on_local_runtime(serve(arguments, &options))
}

async fn serve(arguments: &Arguments, options: &SimOptions) -> u8 {
    let running = match sim::start(options).await {
        Ok(running) => running,
        Err(error) => {
            eprintln!("error: {error}");
            return match error {
                sim::SimError::Listen { .. } => exit::UNAVAILABLE,
                sim::SimError::History(_) => exit::DATA,
                _ => exit::USAGE,
            };
        }
    };
    if let Some(pem) = &running.ca_pem
        && let Err(error) = std::fs::write(&arguments.ca_out, pem)
    {
        eprintln!("error: {}: {error}", arguments.ca_out.display());
        return exit::UNAVAILABLE;
    }
    println!("# the simulated exchange listens; a configuration for it:");
    print!("{}", sim::config_urls(running.address, options.tls));
    if options.tls {
        println!("  ca_file: {}", arguments.ca_out.display());
    }
    let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
    loop {
        tokio::select! {
            _ = crate::signals::stop() => return exit::OK,
            _ = look.tick() => {
                if running.server.exchange(|exchange, _, _| exchange.ended()) {
                    let sent = running.server.exchange(|exchange, _, _| exchange.sent());
                    println!("# the recording has ended; frames sent: {sent:?}");
                    // Clients hear of the end by the close of their connections.
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    return exit::OK;
                }
            }
        }
    }
}

fn account(text: &str) -> Result<SimAccount, String> {
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(key), Some(secret), Some(balance)) if !key.is_empty() && !secret.is_empty() => Ok(SimAccount {
            key: key.to_owned(),
            secret: SecretString::from(secret),
            balance: balance.to_owned(),
            leverage: 20,
        }),
        _ => Err("--account: `key:secret:balance` is expected".to_owned()),
    }
}
