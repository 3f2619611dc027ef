//! The health checker's loop: probes in parallel, each within its time, and the report that everybody reads.
//!
//! [`qcat_core::health`] decides; here are the clock, the timeouts and a few probes. A probe that hangs or panics has failed and keeps no
//! other from running. It belongs on the system arbiter, never on the trading thread.

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use qcat_core::health::{
    CheckRules, CheckSpec, Health, HealthAlert, HealthError, HealthStatus, Probe, Report, Thresholds,
};
use qcat_core::time::{Span, Ts};
use qcat_io::clock::Clock;
use qcat_io::resources;
use qcat_io::shell::panic_text;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The outcome of one probe, to come.
pub type Probing = Pin<Box<dyn Future<Output = Probe> + Send>>;

/// One thing to look at.
pub struct Check {
    /// Its name, unique; stable, because alerts and dashboards use it.
    pub name: &'static str,
    /// The whole is unhealthy while it fails.
    pub critical: bool,
    probe: Box<dyn FnMut() -> Probing + Send>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("name", &self.name).field("critical", &self.critical).finish_non_exhaustive()
    }
}

impl Check {
    /// A check whose probe waits for something. The future must not block its thread; it is dropped when its time is over.
    pub fn new<F: Future<Output = Probe> + Send + 'static>(
        name: &'static str,
        mut probe: impl FnMut() -> F + Send + 'static,
    ) -> Check {
        Check { name, critical: false, probe: Box::new(move || Box::pin(probe())) }
    }

    /// A check whose probe reads something that is at hand.
    pub fn read(name: &'static str, mut probe: impl FnMut() -> Probe + Send + 'static) -> Check {
        Check::new(name, move || std::future::ready(probe()))
    }

    /// A check whose probe blocks, such as a call of the file system: it runs on a thread of its own. While one that overran its
    /// time still blocks, no second one is begun.
    pub fn blocking(name: &'static str, probe: impl Fn() -> Probe + Send + Sync + 'static) -> Check {
        let (probe, running) = (Arc::new(probe), Arc::new(()));
        Check::new(name, move || {
            let (probe, free, token) = (probe.clone(), Arc::strong_count(&running) == 1, running.clone());
            async move {
                if !free {
                    return failed("the probe before it has not come back");
                }
                let probing = tokio::task::spawn_blocking(move || {
                    let _token = token;
                    probe()
                });
                probing.await.unwrap_or_else(|error| failed(&format!("the probe panicked: {error}")))
            }
        })
    }

    /// The same, critical.
    #[must_use]
    pub fn critical(self) -> Check {
        Check { critical: true, ..self }
    }
}

/// `health.*` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Times and thresholds of every check.
    pub rules: CheckRules,
    /// The longest that one probe may take.
    pub timeout: Duration,
    /// What the whole is worth.
    pub thresholds: Thresholds,
}

impl From<&crate::config::model::Health> for Options {
    fn from(health: &crate::config::model::Health) -> Options {
        let span = |time: Duration| Span::from_nanos(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        Options {
            rules: CheckRules {
                interval: span(health.check_interval),
                retry_count: health.retry_count,
                retry_interval: span(health.retry_interval),
                alert_threshold: health.alert_threshold,
                alert_cooldown: span(health.alert_cooldown),
            },
            timeout: health.timeout,
            thresholds: Thresholds { degraded: health.degraded_threshold, unhealthy: health.unhealthy_threshold },
        }
    }
}

/// The newest report, and the options in force, for any thread; reading never waits. It outlives the checker, which may be rebuilt.
#[derive(Debug, Clone)]
pub struct HealthBoard {
    report: Arc<ArcSwap<Report>>,
    options: Arc<ArcSwap<Options>>,
}

impl HealthBoard {
    /// A board that says "unknown" until a checker writes on it.
    pub fn new(options: Options, now: Ts) -> HealthBoard {
        let report = Report { status: HealthStatus::Unknown, since: now, healthy: 0, counted: 0, checks: Vec::new() };
        HealthBoard {
            report: Arc::new(ArcSwap::from_pointee(report)),
            options: Arc::new(ArcSwap::from_pointee(options)),
        }
    }

    /// Other options, from the next probes on. Senseless ones are refused by the checker, which logs it and goes on as before.
    pub fn tune(&self, options: Options) {
        self.options.store(Arc::new(options));
    }

    /// The newest report.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }
}

/// Checks that are ready to run.
#[derive(Debug)]
pub struct Checker {
    health: Health,
    checks: Vec<Check>,
    options: Arc<Options>,
    clock: Arc<dyn Clock>,
    board: HealthBoard,
}

/// The loop turns at least this often, so that whoever watches it sees it alive.
const TURN: Duration = Duration::from_secs(1);

impl Checker {
    /// A checker that writes on a board and takes its options from there.
    pub fn new(checks: Vec<Check>, clock: Arc<dyn Clock>, board: HealthBoard) -> Result<Checker, HealthError> {
        let options = board.options.load_full();
        let spec =
            |check: &Check| CheckSpec { name: check.name.into(), critical: check.critical, rules: options.rules };
        let specs: Vec<CheckSpec> = checks.iter().map(spec).collect();
        let health = Health::new(&specs, options.thresholds, clock.wall())?;
        board.report.store(Arc::new(health.report()));
        Ok(Checker { health, checks, options, clock, board })
    }

    /// Checks for ever. `alert` takes what a person should hear of, `beat` is called at every turn; state changes are logged here.
    pub async fn run(mut self, mut alert: impl FnMut(&HealthAlert), mut beat: impl FnMut()) -> Infallible {
        let mut running = FuturesUnordered::new();
        loop {
            beat();
            self.retune();
            for at in self.health.start(self.clock.wall()) {
                running.push(probe(at, &mut self.checks[at], self.options.timeout, self.clock.clone()));
            }
            let now = self.clock.wall();
            let wait = self
                .health
                .next_start()
                .map_or(TURN, |due| Duration::from_nanos(due.since(now).nanos().max(0).unsigned_abs()).min(TURN));
            let ended = tokio::select! {
                Some(ended) = running.next(), if !running.is_empty() => Some(ended),
                () = tokio::time::sleep(wait) => None,
            };
            if let Some((at, latency, probe)) = ended {
                self.ended(at, latency, probe, &mut alert);
            }
        }
    }

    fn retune(&mut self) {
        let options = self.board.options.load_full();
        if Arc::ptr_eq(&options, &self.options) {
            return;
        }
        match self.health.retune(options.rules, options.thresholds, self.clock.wall()) {
            Ok(()) => self.board.report.store(Arc::new(self.health.report())),
            Err(error) => {
                tracing::error!(code = "health_options_refused", %error, "health: the new options are not taken")
            }
        }
        self.options = options;
    }

    fn ended(&mut self, at: usize, latency: Span, probe: Probe, alert: &mut impl FnMut(&HealthAlert)) {
        let before = self.health.status();
        let told = self.health.finished(at, self.clock.wall(), latency, probe);
        let report = self.health.report();
        let status = report.status;
        self.board.report.store(Arc::new(report));
        if let Some(told) = told {
            log(&told);
            alert(&told);
        }
        if status != before {
            match status {
                HealthStatus::Healthy => tracing::info!(?before, "healthy"),
                _ => tracing::warn!(code = "health_changed", ?before, ?status, "health changed"),
            }
        }
    }
}

fn log(alert: &HealthAlert) {
    match alert {
        HealthAlert::Failed { check, critical, failures, error } => {
            tracing::error!(code = "health_check_failed", %check, critical, failures, %error, "a health check fails");
        }
        HealthAlert::Recovered { check, .. } => tracing::info!(%check, "a health check passes again"),
    }
}

fn probe(
    at: usize,
    check: &mut Check,
    timeout: Duration,
    clock: Arc<dyn Clock>,
) -> impl Future<Output = (usize, Span, Probe)> + use<> {
    let begun = clock.monotonic();
    // Making the future may panic as well as running it.
    let probing = std::panic::catch_unwind(AssertUnwindSafe(|| (check.probe)()));
    async move {
        let probe = match probing {
            Err(panic) => failed(&format!("the probe panicked: {}", panic_text(&*panic))),
            Ok(probing) => match tokio::time::timeout(timeout, AssertUnwindSafe(probing).catch_unwind()).await {
                Ok(Ok(probe)) => probe,
                Ok(Err(panic)) => failed(&format!("the probe panicked: {}", panic_text(&*panic))),
                Err(_) => failed(&format!("no answer within {timeout:?}")),
            },
        };
        (at, Span::from_nanos(clock.monotonic().nanos().saturating_sub(begun.nanos())), probe)
    }
}

fn failed(error: &str) -> Probe {
    Probe::Failed(error.into())
}

/// Something that must go on counting, such as the engine's inputs: fails when `count` stays the same for `within`. `None`
/// means that it does not run and need not.
pub fn progress(
    clock: Arc<dyn Clock>,
    within: Span,
    mut count: impl FnMut() -> Option<u64> + Send,
) -> impl FnMut() -> Probe + Send {
    let mut last: Option<(u64, Ts)> = None;
    move || {
        let Some(count) = count() else { return Probe::NotConfigured };
        let now = clock.wall();
        match last {
            Some((before, since)) if before == count => {
                let still = now.since(since);
                if still > within {
                    return failed(&format!("no progress for {still:?} (at {count})"));
                }
            }
            _ => last = Some((count, now)),
        }
        Probe::Passed
    }
}

/// A number that must stay low, such as a lag or a share: fails above `most`. `None`: it is not measured yet, or there is nothing to measure.
pub fn at_most(
    what: &'static str,
    most: u64,
    mut read: impl FnMut() -> Option<u64> + Send,
) -> impl FnMut() -> Probe + Send {
    move || match read() {
        None => Probe::NotConfigured,
        Some(found) if found <= most => Probe::Passed,
        Some(found) => failed(&format!("{what}: {found}, at most {most} is expected")),
    }
}

/// Space left where `dir` is: fails below `least` bytes, or when it takes no writes. To be used with [`Check::blocking`].
pub fn disk_space(dir: PathBuf, least: u64) -> impl Fn() -> Probe + Send + Sync {
    move || match resources::disk_space(&dir) {
        Err(error) => failed(&error.to_string()),
        Ok(space) if space.read_only => failed(&format!("{} takes no writes", dir.display())),
        Ok(space) if space.available < least => {
            let mebibytes = |bytes: u64| bytes >> 20;
            let [left, least] = [space.available, least].map(mebibytes);
            failed(&format!("{}: {left} MiB left, at least {least} MiB are expected", dir.display()))
        }
        Ok(_) => Probe::Passed,
    }
}

#[cfg(test)]
mod tests;
