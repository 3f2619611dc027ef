//! `qcat backtest`: strategies of a file against recorded or generated market data.

use super::{exit, print_faults};
use crate::backtest::{self, BacktestError, Data, Options, Outcome};
use crate::config;
use qcat_core::engine::fold::Record;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::{Span, Ts};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Run strategies through recorded or generated market data and print what came of it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A recording (`<ns> <frame>` a line, gzip or plain) or a file of candles.
    #[arg(long, value_name = "FILE", required_unless_present = "generate", conflicts_with = "generate")]
    data: Option<PathBuf>,
    /// Generate the market from this seed instead.
    #[arg(long, value_name = "SEED")]
    generate: Option<u64>,
    /// Minutes of generated market.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=525_600))]
    minutes: u32,
    /// A file with `strategies:` (and, if wanted, `accounts:` with limits).
    #[arg(long, value_name = "FILE")]
    strategy: PathBuf,
    /// Wallet at the start, in the margin asset.
    #[arg(long, value_name = "AMOUNT", default_value = "10000")]
    balance: String,
    /// Maker fee in basis points; negative is a rebate.
    #[arg(long, value_name = "BPS", default_value_t = 2.0, allow_negative_numbers = true)]
    maker_bps: f64,
    /// Taker fee in basis points.
    #[arg(long, value_name = "BPS", default_value_t = 5.0, allow_negative_numbers = true)]
    taker_bps: f64,
    /// One-way latency to and from the venue, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    latency_ms: u32,
    /// Print every decision with the number of its input.
    #[arg(long)]
    decisions: bool,
    /// Compare with the same run of another strategy file: prints the first decision that differs.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let started = Instant::now();
    let outcome = match one(arguments, &arguments.strategy) {
        Ok(outcome) => outcome,
        Err(code) => return code,
    };
    if arguments.decisions {
        for record in &outcome.log {
            if let Record::Decisions(seq, _, decisions) = record {
                decisions.iter().for_each(|decision| println!("{} {decision:?}", seq.0));
            }
        }
    }
    print(&outcome, started.elapsed().as_secs_f64());
    let Some(other) = &arguments.compare else { return exit::OK };
    match one(arguments, other) {
        Ok(other) => {
            println!("{}", qcat_core::engine::parity::report(&outcome.log, &other.log));
            exit::OK
        }
        Err(code) => code,
    }
}

fn one(arguments: &Arguments, strategy: &std::path::Path) -> Result<Outcome, u8> {
    let config = config::load_offline(strategy).map_err(|faults| {
        print_faults(&faults);
        exit::CONFIG
    })?;
    let Some(fees) = backtest::fees(arguments.maker_bps, arguments.taker_bps) else {
        eprintln!("error: fees are allowed from -1000 to 1000 basis points");
        return Err(exit::USAGE);
    };
    let data = match (&arguments.data, arguments.generate) {
        (Some(path), _) => Data::File(path.clone()),
        (None, seed) => Data::Generated {
            seed: seed.unwrap_or(1),
            // A fixed beginning, so that a seed says everything: 2024-08-08 00:00 UTC.
            start: Ts::from_millis(1_723_075_200_000),
            length: Span::from_secs(i64::from(arguments.minutes) * 60),
        },
    };
    let options = Options {
        data,
        balance: arguments.balance.clone(),
        fees,
        latency: Span::from_millis(i64::from(arguments.latency_ms)),
        keep_log: arguments.compare.is_some() || arguments.decisions,
        stop: Arc::default(),
    };
    backtest::run(&config, Arc::new(Registry::builtin()), &options).map_err(|error| {
        eprintln!("error: {error}");
        match error {
            BacktestError::Config(_) => exit::CONFIG,
            BacktestError::Number(_) => exit::USAGE,
            BacktestError::Data(_) => exit::DATA,
            _ => exit::SOFTWARE,
        }
    })
}

fn print(outcome: &Outcome, seconds: f64) {
    let s = &outcome.summary;
    let asset = outcome.universe.asset_name(s.initial_equity.asset);
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0));
    println!(
        "inputs            {} in {seconds:.2} s ({:.2} M/s)",
        outcome.inputs,
        outcome.inputs as f64 / seconds / 1e6
    );
    println!("decisions         {}", outcome.decisions);
    println!("fills             {}", s.fills);
    for (name, fills) in &outcome.by_strategy {
        println!("  {name:<16}{fills}");
    }
    for (reason, count) in &outcome.refusals {
        println!("refused           {count} times: {reason}");
    }
    for alert in &outcome.alerts {
        println!("alert             {:?}: {}", alert.code, alert.text);
    }
    println!("round trips       {} closed, {} open, {} won", s.round_trips, s.open_round_trips, percent(s.win_rate));
    println!(
        "equity            {} -> {} {asset}",
        s.initial_equity.round_to(2, qcat_core::num::Rounding::Nearest),
        s.final_equity.round_to(8, qcat_core::num::Rounding::Nearest)
    );
    println!(
        "net profit        {} {asset} ({})",
        s.net_profit.round_to(8, qcat_core::num::Rounding::Nearest),
        percent(s.total_return)
    );
    for fee in s.fees.iter() {
        println!("fees              {fee} {}", outcome.universe.asset_name(fee.asset));
    }
    println!("max drawdown      {} {asset}", s.max_drawdown.round_to(8, qcat_core::num::Rounding::Nearest));
    println!("turnover          {} {asset}", s.turnover);
    println!("profit factor     {}", s.profit_factor.map_or("-".to_owned(), |f| format!("{f:.2}")));
    println!("decision hash     {:016x}", outcome.trail);
    println!("state_hash        {:016x}", outcome.state_hash);
}
