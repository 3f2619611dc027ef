//! Health of the program with hysteresis: when to probe what, when a check has failed, what the whole is worth, when to alert.
//!
//! In: the time, and what each probe found. Out: which checks to probe now, a [`Report`], [`HealthAlert`]s. It probes nothing itself.
//! A probe that fails is tried again `retry_count` times, `retry_interval` apart, before its check counts as failed; a check that
//! has failed `alert_threshold` times in a row is alerted, at most once per `alert_cooldown`; its recovery is told once. A dependency that is not
//! configured is neither healthy nor unhealthy: it does not count.
//! Tests: properties over random probes; worked examples.

use crate::time::{Span, Ts};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The times and thresholds of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckRules {
    /// From the beginning of one check to the beginning of the next; positive.
    pub interval: Span,
    /// Probes after the first one that failed, before the check counts as failed.
    pub retry_count: u32,
    /// From the end of a failed probe to the next one.
    pub retry_interval: Span,
    /// Failed checks in a row that are alerted; at least 1.
    pub alert_threshold: u32,
    /// Between two alerts of one check's failure.
    pub alert_cooldown: Span,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The whole is unhealthy while it fails.
    pub critical: bool,
    /// Its times and thresholds.
    pub rules: CheckRules,
}

/// Shares of healthy checks, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// From this share on the whole is healthy.
    pub degraded: f64,
    /// From this share on it is degraded, below it unhealthy.
    pub unhealthy: f64,
}

/// Why checks and thresholds cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HealthError {
    /// Thresholds are out of order or no shares.
    #[error("thresholds: 0 <= unhealthy ({unhealthy}) <= degraded ({degraded}) <= 1 is expected")]
    Thresholds { degraded: f64, unhealthy: f64 },
    /// Two checks have one name.
    #[error("two checks are named `{0}`")]
    Name(Arc<str>),
    /// A time or count makes no sense.
    #[error("check `{check}`: {what}")]
    Rule { check: Arc<str>, what: &'static str },
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// All is well.
    Passed,
    /// What would be probed is not configured.
    NotConfigured,
    /// What is wrong, for people; no secrets.
    Failed(Box<str>),
}

/// The state of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// No check has ended yet.
    Unknown,
    /// The last check passed.
    Healthy,
    /// The last check failed, all its retries too.
    Failed,
    /// There is nothing to check.
    NotConfigured,
}

/// The state of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// There are checks, and none has ended yet.
    Unknown,
    /// Enough checks are healthy, or none is configured.
    Healthy,
    /// Fewer are.
    Degraded,
    /// Too few are, or a critical one fails.
    Unhealthy,
}

/// One check as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Its name.
    pub name: Arc<str>,
    /// The whole is unhealthy while it fails.
    pub critical: bool,
    /// Its state.
    pub status: CheckStatus,
    /// Since when; `None` before the first check has ended.
    pub since: Option<Ts>,
    /// When the newest probe ended.
    pub probed: Option<Ts>,
    /// How long the newest probe took.
    pub latency: Option<Span>,
    /// Failed checks in a row.
    pub failures: u32,
    /// What the newest probe that failed said, and when; kept after a recovery.
    pub last_error: Option<(Ts, Box<str>)>,
    /// Its newest probe failed and is being tried again; `status` is that of the last check.
    pub retrying: bool,
}

/// The whole as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its state.
    pub status: HealthStatus,
    /// Since when.
    pub since: Ts,
    /// Healthy checks.
    pub healthy: usize,
    /// Checks that are configured and have ended at least once.
    pub counted: usize,
    /// Every check in the order of the configuration.
    pub checks: Vec<CheckReport>,
}

/// What a person should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthAlert {
    /// A check has failed this many times in a row.
    Failed { check: Arc<str>, critical: bool, failures: u32, error: Box<str> },
    /// A check that was alerted passes again.
    Recovered { check: Arc<str>, critical: bool },
}

/// A check between its probes.
#[derive(Debug)]
struct Check {
    rules: CheckRules,
    report: CheckReport,
    /// When the next probe is due; `None` while one runs.
    due: Option<Ts>,
    /// When the first probe of the running check began.
    begun: Ts,
    /// Probes of the running check that failed.
    attempts: u32,
    alerted: Option<Ts>,
    /// A failure was alerted and no recovery since.
    open: bool,
}

/// The checks and what they are worth together.
#[derive(Debug)]
pub struct Health {
    thresholds: Thresholds,
    checks: Vec<Check>,
    status: HealthStatus,
    since: Ts,
}

impl CheckRules {
    fn check(&self, name: &Arc<str>) -> Result<(), HealthError> {
        let wrong = |what| Err(HealthError::Rule { check: name.clone(), what });
        match self {
            r if r.interval <= Span::ZERO => wrong("its interval must be positive"),
            r if r.retry_interval < Span::ZERO => wrong("its retry_interval must not be negative"),
            r if r.alert_threshold == 0 => wrong("its alert_threshold must be at least 1"),
            _ => Ok(()),
        }
    }
}

impl Thresholds {
    fn check(self) -> Result<(), HealthError> {
        let Thresholds { degraded, unhealthy } = self;
        // Written so that a NaN is refused.
        let in_order = 0.0 <= unhealthy && unhealthy <= degraded && degraded <= 1.0;
        if in_order { Ok(()) } else { Err(HealthError::Thresholds { degraded, unhealthy }) }
    }
}

impl Health {
    /// Checks that are all due at `now`.
    pub fn new(specs: &[CheckSpec], thresholds: Thresholds, now: Ts) -> Result<Health, HealthError> {
        thresholds.check()?;
        let mut names = BTreeSet::new();
        for spec in specs {
            if !names.insert(&spec.name) {
                return Err(HealthError::Name(spec.name.clone()));
            }
            spec.rules.check(&spec.name)?;
        }
        let checks: Vec<Check> = specs.iter().map(|spec| Check::new(spec, now)).collect();
        let status = if checks.is_empty() { HealthStatus::Healthy } else { HealthStatus::Unknown };
        Ok(Health { thresholds, checks, status, since: now })
    }

    /// Gives every check other rules and the whole other thresholds, from the next probes on. On failure nothing changes.
    pub fn retune(&mut self, rules: CheckRules, thresholds: Thresholds, now: Ts) -> Result<(), HealthError> {
        thresholds.check()?;
        self.checks.iter().try_for_each(|check| rules.check(&check.report.name))?;
        for check in &mut self.checks {
            check.rules = rules;
            if check.due.is_some() && !check.report.retrying && check.report.probed.is_some() {
                check.due = Some(check.begun.plus(rules.interval).max(now));
            }
        }
        self.thresholds = thresholds;
        self.settle(now);
        Ok(())
    }

    /// The checks to probe now, by index. Each is in the air until [`Health::finished`] is told of it.
    pub fn start(&mut self, now: Ts) -> Vec<usize> {
        let mut started = Vec::new();
        for (at, check) in self.checks.iter_mut().enumerate() {
            if check.due.is_some_and(|due| due <= now) {
                check.due = None;
                if check.attempts == 0 {
                    check.begun = now;
                }
                started.push(at);
            }
        }
        started
    }

    /// When [`Health::start`] has something to start next.
    pub fn next_start(&self) -> Option<Ts> {
        self.checks.iter().filter_map(|check| check.due).min()
    }

    /// A probe that was started ended at `now` after `latency`. What nobody started is ignored.
    pub fn finished(&mut self, check: usize, now: Ts, latency: Span, probe: Probe) -> Option<HealthAlert> {
        let alert = self.checks.get_mut(check).filter(|check| check.due.is_none())?.finished(now, latency, probe);
        self.settle(now);
        alert
    }

    fn settle(&mut self, now: Ts) {
        let status = self.judge();
        if status != self.status {
            (self.status, self.since) = (status, now);
        }
    }

    /// The state of the whole.
    pub fn status(&self) -> HealthStatus {
        self.status
    }

    /// Everything as it stands.
    pub fn report(&self) -> Report {
        let checks: Vec<CheckReport> = self.checks.iter().map(|check| check.report.clone()).collect();
        let (healthy, counted) = self.counts();
        Report { status: self.status, since: self.since, healthy, counted, checks }
    }

    fn counts(&self) -> (usize, usize) {
        let count = |status| self.checks.iter().filter(|check| check.report.status == status).count();
        let healthy = count(CheckStatus::Healthy);
        (healthy, healthy + count(CheckStatus::Failed))
    }

    fn judge(&self) -> HealthStatus {
        let (healthy, counted) = self.counts();
        let failed = |check: &Check| check.report.critical && check.report.status == CheckStatus::Failed;
        if self.checks.iter().any(failed) {
            return HealthStatus::Unhealthy;
        }
        if counted == 0 {
            let waiting = self.checks.iter().any(|check| check.report.status == CheckStatus::Unknown);
            return if waiting { HealthStatus::Unknown } else { HealthStatus::Healthy };
        }
        match healthy as f64 / counted as f64 {
            share if share >= self.thresholds.degraded => HealthStatus::Healthy,
            share if share >= self.thresholds.unhealthy => HealthStatus::Degraded,
            _ => HealthStatus::Unhealthy,
        }
    }
}

impl Check {
    fn new(spec: &CheckSpec, now: Ts) -> Check {
        let report = CheckReport {
            name: spec.name.clone(),
            critical: spec.critical,
            status: CheckStatus::Unknown,
            since: None,
            probed: None,
            latency: None,
            failures: 0,
            last_error: None,
            retrying: false,
        };
        Check { rules: spec.rules, report, due: Some(now), begun: now, attempts: 0, alerted: None, open: false }
    }

    fn finished(&mut self, now: Ts, latency: Span, probe: Probe) -> Option<HealthAlert> {
        (self.report.probed, self.report.latency) = (Some(now), Some(latency));
        if let Probe::Failed(error) = &probe {
            self.report.last_error = Some((now, error.clone()));
            if self.attempts < self.rules.retry_count {
                self.attempts += 1;
                self.report.retrying = true;
                self.due = Some(now.plus(self.rules.retry_interval));
                return None;
            }
        }
        (self.attempts, self.report.retrying) = (0, false);
        // A check that took longer than its interval is due at once, not as often as it was missed.
        self.due = Some(self.begun.plus(self.rules.interval).max(now));
        match probe {
            Probe::Failed(error) => self.failed(now, error),
            Probe::Passed => self.passed(now, CheckStatus::Healthy),
            Probe::NotConfigured => self.passed(now, CheckStatus::NotConfigured),
        }
    }

    fn failed(&mut self, now: Ts, error: Box<str>) -> Option<HealthAlert> {
        self.turn(now, CheckStatus::Failed);
        self.report.failures = self.report.failures.saturating_add(1);
        let cooled = self.alerted.is_none_or(|last| now.since(last) >= self.rules.alert_cooldown);
        if self.report.failures < self.rules.alert_threshold || !cooled {
            return None;
        }
        (self.alerted, self.open) = (Some(now), true);
        let (check, critical, failures) = (self.report.name.clone(), self.report.critical, self.report.failures);
        Some(HealthAlert::Failed { check, critical, failures, error })
    }

    fn passed(&mut self, now: Ts, status: CheckStatus) -> Option<HealthAlert> {
        self.turn(now, status);
        self.report.failures = 0;
        let (check, critical) = (self.report.name.clone(), self.report.critical);
        std::mem::take(&mut self.open).then_some(HealthAlert::Recovered { check, critical })
    }

    fn turn(&mut self, now: Ts, status: CheckStatus) {
        if self.report.status != status {
            (self.report.status, self.report.since) = (status, Some(now));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
