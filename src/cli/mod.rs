//! The command line. Each command is a file; all of them return an exit code.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod backtest;
mod database;
mod decrypt;
mod demo;
mod doctor;
mod encrypt;
pub mod exit;
mod journal;
mod keygen;
mod local;
mod replay;
mod run;
mod sim;
mod status;
mod stop;
mod strategy;
mod user;
mod version;

/// What stands below every help.
fn after_help() -> String {
    format!("{AFTER_HELP}\n\n{}", exit::help())
}

const AFTER_HELP: &str = "\
Begin with `qcat demo`. `qcat COMMAND --help` says more about a command than `-h`.

Examples:
  qcat demo                                     both sides on this machine, nothing to install
  qcat --config FILE --validate                 every fault of a configuration, with line and column
  qcat --config FILE --print-config             the values in force, and where each came from
  qcat --config FILE --set server.port=8083     run with another value for one key
  qcat keygen > key; qcat encrypt --key-file key    a value for the configuration that nobody can read

Files:
  /etc/qcat/config.yaml    the configuration; configs/config.yaml has every key, docs/configuration.md explains them
  /etc/qcat/.env           variables, read too when it stands beside the configuration; mode 0600

Environment:
  QCAT_CONFIG              the configuration file
  QCAT_ENCRYPTION_KEY      opens the ENC:v1: values of the configuration
  QCAT_SECTION_KEY         overrides a key, such as QCAT_SERVER_PORT=8083";

/// QCAT: a trading daemon for crypto derivatives.
///
/// Without a command it runs the daemon, as `qcat run` does.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = after_help(), args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
}

/// What each is for stands at its arguments: here it would hide their longer text.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Demo(demo::Arguments),
    Backtest(backtest::Arguments),
    Journal(journal::Arguments),
    Database(database::Arguments),
    Replay(replay::Arguments),
    Sim(sim::Arguments),
    Encrypt(encrypt::Arguments),
    Decrypt(decrypt::Arguments),
    Keygen(keygen::Arguments),
    Status(status::Arguments),
    Stop(stop::Arguments),
    User(user::Arguments),
    Strategy(strategy::Arguments),
    Doctor(doctor::Arguments),
    Version(version::Arguments),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    ExitCode::from(match arguments.command {
        None => run::run(&arguments.run),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Backtest(arguments)) => backtest::run(&arguments),
        Some(Command::Journal(arguments)) => journal::run(&arguments),
        Some(Command::Database(arguments)) => database::run(&arguments),
        Some(Command::Replay(arguments)) => replay::run(&arguments),
        Some(Command::Sim(arguments)) => sim::run(&arguments),
        Some(Command::Encrypt(arguments)) => encrypt::run(&arguments),
        Some(Command::Decrypt(arguments)) => decrypt::run(&arguments),
        Some(Command::Keygen(arguments)) => keygen::run(&arguments),
        Some(Command::Status(arguments)) => status::run(&arguments),
        Some(Command::Stop(arguments)) => stop::run(&arguments),
        Some(Command::User(arguments)) => user::run(&arguments),
        Some(Command::Strategy(arguments)) => strategy::run(&arguments),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments),
        Some(Command::Version(arguments)) => version::run(&arguments),
    })
}

/// Prints configuration faults, one a line.
fn print_faults(faults: &[crate::config::Fault]) {
    for fault in faults {
        eprintln!("error: {fault}");
    }
}

/// Writes to standard output. A reader that is gone is no reason to panic.
fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Runs a future on one thread with local tasks.
fn on_local_runtime(future: impl Future<Output = u8>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return exit::UNAVAILABLE;
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Runs a future on an actix system: the trading arbiter is the thread that calls this.
fn on_actix(future: impl Future<Output = u8>) -> u8 {
    actix_rt::System::new().block_on(future)
}

/// Log lines go to standard error.
fn log_to_stderr(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_new(level).unwrap_or_default();
    // A second call, as in tests, keeps the first subscriber.
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A standard error that is gone (a closed terminal, an ended pipe) loses the line; it must not end the daemon.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).log_internal_errors(false);
    let _ = lines.with_writer(std::io::stderr).try_init();
}
