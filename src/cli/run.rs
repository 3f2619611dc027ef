//! `qcat run`: the daemon.

use super::{exit, print_faults};
use crate::config::{self, Config};
use crate::daemon::{self, Daemon, Starting};
use crate::observe;
use crate::reload::Reload;
use crate::signals::Guard;
use crate::wire::{Composition, Knobs, StartError};
use qcat_actors::runtime::console::{Console, Phase};
use qcat_actors::runtime::lane::LaneError;
use qcat_actors::runtime::stop::StopPlan;
use qcat_actors::runtime::system::SystemHandle;
use qcat_core::strategy::registry::Registry;
use qcat_io::logs::{self, Logs};
use qcat_io::systemd::Notifier;
use std::path::PathBuf;
use std::sync::Arc;

/// Run the daemon until it is told to stop.
///
/// SIGINT or SIGTERM stops it in order: strategies first, their entries cancelled, the journal closed last. A second signal
/// forces it. The logs go where `logging` says. configs/sim.yaml is a configuration for `qcat sim`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// The configuration file. `.env` beside it is read too.
    #[arg(long, value_name = "FILE", env = "QCAT_CONFIG", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Another value for a key, such as `server.port=8083` or `accounts.main.leverage=5`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Check the configuration, tell every fault, and exit.
    #[arg(long)]
    validate: bool,
    /// Print the values in force, each with where it came from, and exit. Secrets are masked.
    #[arg(long, conflicts_with = "validate")]
    print_config: bool,
    /// Lift every halt that is in force from before: a daily loss, a fault, a full disk.
    #[arg(long, conflicts_with_all = ["validate", "print_config"])]
    resume: bool,
}

/// Where the configuration is unless something else is said.
const DEFAULT_CONFIG: &str = "/etc/qcat/config.yaml";

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let registry = Registry::builtin();
    let mut warnings = Vec::new();
    let checked = check(arguments, &registry, &mut warnings);
    if arguments.validate || arguments.print_config || checked.is_err() {
        warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    let (config, plan) = match checked {
        Ok(checked) => checked,
        Err(faults) => {
            print_faults(&faults);
            return exit::CONFIG;
        }
    };
    if arguments.validate {
        super::say(&format!("{}: valid\n", arguments.config.display()));
        return exit::OK;
    }
    if arguments.print_config {
        super::say(&config::print::effective(&config));
        return exit::OK;
    }
    let logs = match observe::log_options(&config).and_then(Logs::start) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("error: {error}");
            return exit::UNAVAILABLE;
        }
    };
    warnings.iter().for_each(|warning| tracing::warn!(code = "configuration_doubtful", "{warning}"));
    let notifier = Notifier::from_environment().unwrap_or_default();
    let knobs = Knobs::of(&config, Some(logs));
    let reload = reload(arguments.config.clone(), arguments.set.clone(), config.clone(), knobs.clone());
    let started = reload.start(notifier.clone());
    let composition = Composition { knobs: Some(knobs), ..Arc::new(registry).into() };
    let signals = config.shutdown.enable_signal_handling;
    let code = match started.and_then(|()| Guard::start(plan.force_shutdown_after(), exit::FORCED, signals)) {
        Ok(guard) => super::on_actix(serve(config, composition, arguments.resume, guard, notifier)),
        Err(error) => {
            tracing::error!(code = "signals_lost", %error, "no thread for signals");
            exit::UNAVAILABLE
        }
    };
    logs::flush_before_exit();
    code
}

/// Reads the configuration and tells every fault that can be known without the exchange.
fn check(
    arguments: &Arguments,
    registry: &Registry,
    warnings: &mut Vec<config::Fault>,
) -> Result<(Config, StopPlan), Vec<config::Fault>> {
    let mut examined = config::examine(&config::Inputs::gather(&arguments.config, arguments.set.clone())?)?;
    warnings.append(&mut examined.warnings);
    let config = examined.config();
    let checks =
        [config.check_credentials(), crate::check_strategies(config, registry), daemon::stop_plan(config).map(drop)];
    checks.into_iter().for_each(|checked| examined.also(checked));
    let config = examined.finish()?;
    let plan = daemon::stop_plan(&config)?;
    Ok((config, plan))
}

/// What SIGHUP does; a closed terminal sends it too, and must not end a daemon that holds positions.
fn reload(path: PathBuf, set: Vec<String>, begun: Config, knobs: Knobs) -> Reload {
    let (mut last, turned) = (begun.clone(), knobs.clone());
    let read_again = move || {
        let inputs = config::Inputs::gather(&path, set.clone());
        match inputs.and_then(|inputs| config::examine(&inputs)?.finish()) {
            Ok(new) => {
                let now = config::reload(&last, &new).changed_now;
                turned.turn(&new).map_err(|error| vec![error.to_string()])?;
                let found = config::Reload { changed_now: now, ..config::reload(&begun, &new) };
                last = new;
                Ok(changes(&found))
            }
            Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
        }
    };
    let reopen = move || {
        knobs.logs.iter().for_each(Logs::reopen);
        Ok("opened anew".to_owned())
    };
    Reload::default().with("logs", Box::new(reopen)).with("configuration", Box::new(read_again))
}

fn changes(found: &config::Reload) -> String {
    let now: Vec<String> =
        found.changed_now.iter().map(|change| format!("{} = {}", change.key, change.value)).collect();
    let told = [("in force now", now), ("needs a restart", found.needs_restart.clone())];
    let told = told.into_iter().filter(|(_, keys)| !keys.is_empty());
    let told: Vec<String> = told.map(|(what, keys)| format!("{what}: {}", keys.join(", "))).collect();
    if told.is_empty() { "nothing was changed".to_owned() } else { told.join("; ") }
}

async fn serve(config: Config, composition: Composition, resume: bool, guard: Guard, notifier: Notifier) -> u8 {
    tracing::info!(name = %config.app.name, environment = %config.app.environment, exchange = %config.exchange.rest_url,
        version = env!("CARGO_PKG_VERSION"), "starting");
    let force = guard.clone();
    let composition = Composition { force: Box::new(move || force.force()), ..composition };
    let mut starting = match Starting::begin(&config, composition).await {
        Ok(starting) => starting,
        Err(error) => return not_started(&error),
    };
    let system = starting.system().clone();
    guard.watch(system.unstopped());
    actix_rt::spawn(tell_phases(system.console(), notifier.clone()));
    let code = tokio::select! {
        code = trade(&mut starting, &config, resume) => code,
        code = told(&system, &guard) => code,
    };
    notifier.stopping("stopping");
    guard.arm();
    match system.stop().await {
        report if report.is_clean() => code,
        report => {
            let names: Vec<&str> = report.overrun().map(|status| status.component.name()).collect();
            tracing::warn!(code = "stop_cut_off", components = %names.join(", "), journal = report.journal, "cut off");
            exit::FORCED
        }
    }
}

/// Trades until something else ends it; comes back only when it cannot.
async fn trade(starting: &mut Starting, config: &Config, resume: bool) -> u8 {
    match starting.trade(config).await {
        Ok(daemon) => {
            settle_halts(&daemon, resume);
            std::future::pending().await
        }
        Err(error) => not_started(&error),
    }
}

/// Waits until the daemon is told to stop, or has to.
async fn told(system: &SystemHandle, guard: &Guard) -> u8 {
    tokio::select! {
        () = guard.asked() => tracing::info!("told to stop"),
        why = system.stop_wanted() => tracing::info!(%why, "told to stop"),
        reason = system.ended() => {
            tracing::error!(code = "daemon_failed", %reason, "the daemon cannot go on");
            return exit::SOFTWARE;
        }
    }
    exit::OK
}

fn not_started(error: &StartError) -> u8 {
    tracing::error!(code = "start_failed", "{error}");
    start_code(error)
}

/// Tells the service manager how far the daemon is. It is ready when the API is bound and the journal is recovered, also while the
/// exchange is away.
async fn tell_phases(console: Console, notifier: Notifier) {
    let (mut phases, mut ready) = (console.phases(), false);
    loop {
        let view = phases.borrow_and_update().clone();
        let text = view.reason.map_or_else(|| format!("{:?}", view.phase), |why| format!("{:?}: {why}", view.phase));
        match view.phase {
            Phase::Starting => notifier.status(&text),
            Phase::Stopping | Phase::Stopped => return,
            Phase::Recovered | Phase::WaitingForExchange | Phase::Running if ready => notifier.status(&text),
            Phase::Recovered | Phase::WaitingForExchange | Phase::Running => {
                ready = true;
                notifier.ready(&text);
            }
        }
        if phases.changed().await.is_err() {
            return;
        }
    }
}

/// Halts outlive the process, so that a restart is no way around them.
fn settle_halts(daemon: &Daemon, resume: bool) {
    for (scope, reason) in daemon.system().halts() {
        if resume {
            tracing::warn!(code = "halt_lifted", ?scope, ?reason, "halted before: resuming");
            daemon.system().resume(scope);
        } else {
            tracing::warn!(
                code = "halt_from_before",
                ?scope,
                ?reason,
                "halted from before: no new risk; --resume lifts it"
            );
        }
    }
}

/// The exit code of a failed start.
pub fn start_code(error: &StartError) -> u8 {
    match error {
        StartError::Config(_) => exit::CONFIG,
        StartError::Lane { error: LaneError::NoBeginning(_), .. } => exit::DATA,
        _ => exit::UNAVAILABLE,
    }
}
