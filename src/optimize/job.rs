//! A search as somebody asks for it, and the plan that it becomes once it is checked.

use super::Options;
use crate::backtest::{self, Data};
use crate::config::{self, Config};
use qcat_core::config::ParamValue;
use qcat_core::id::AccountIx;
use qcat_core::optimize::{Metric, Outcome, Point, Range, Space, Trial};
use qcat_core::strategy::registry::{BuildError, Registry};
use qcat_core::time::{Span, Ts};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Files named in an error at most.
const FILES_NAMED: usize = 20;
/// Longest market that is generated: a year.
const MINUTES_MAX: u32 = 525_600;

/// A single value: true or false, a number, or a word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A word.
    Text(String),
}

impl From<&Scalar> for ParamValue {
    fn from(value: &Scalar) -> ParamValue {
        match value {
            Scalar::Bool(value) => ParamValue::Bool(*value),
            Scalar::Int(value) => ParamValue::Int(*value),
            Scalar::Float(value) => ParamValue::Float(*value),
            Scalar::Text(value) => ParamValue::Text(value.as_str().into()),
        }
    }
}

impl From<&ParamValue> for Scalar {
    fn from(value: &ParamValue) -> Scalar {
        match value {
            ParamValue::Bool(value) => Scalar::Bool(*value),
            ParamValue::Int(value) => Scalar::Int(*value),
            ParamValue::Float(value) => Scalar::Float(*value),
            ParamValue::Text(value) => Scalar::Text(value.to_string()),
        }
    }
}

/// Values of one parameter: steps of a number, or a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Axis {
    /// `from`, and on by `step` as long as it is not beyond `to`.
    Steps { from: Scalar, to: Scalar, step: Scalar },
    /// Each of these.
    Values { values: Vec<Scalar> },
}

/// Where market data comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A recording or a file of candles, by its path inside `optimizer.data_dir`.
    File(String),
    /// The seeded generator, from 2024-08-08 00:00 UTC on.
    Generated { seed: u64, minutes: u32 },
}

/// A search. Either `strategy`, or `kind` and `symbols`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// A configured strategy: its kind, symbols, parameters and its account's limits hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// A kind of strategy, on an account with every limit at its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its symbols.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<String>,
    /// Parameters that stay as they are; what is missing has the strategy's value or its default.
    #[serde(default)]
    pub params: BTreeMap<String, Scalar>,
    /// Parameters that vary: every combination is tried.
    pub space: BTreeMap<String, Axis>,
    /// Market data.
    pub data: Source,
    /// What a run is judged by.
    #[schema(value_type = String, example = "total_return")]
    pub metric: Metric,
    /// Runs with fewer closed round trips are not judged.
    #[serde(default = "one")]
    pub trades_min: u64,
    /// Wallet at the start, in the margin asset.
    #[serde(default = "balance")]
    pub balance: String,
    /// Maker fee in basis points; negative is a rebate.
    #[serde(default = "maker_bps")]
    pub maker_bps: f64,
    /// Taker fee in basis points.
    #[serde(default = "taker_bps")]
    pub taker_bps: f64,
    /// One-way latency to and from the venue, in milliseconds.
    #[serde(default = "latency_ms")]
    pub latency_ms: u32,
    /// Seconds after which it ends with what it has; at most, and by default, `optimizer.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

fn one() -> u64 {
    1
}

fn balance() -> String {
    "10000".to_owned()
}

fn maker_bps() -> f64 {
    2.0
}

fn taker_bps() -> f64 {
    5.0
}

fn latency_ms() -> u32 {
    5
}

/// What came of one trial, for people and for the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TrialRecord {
    /// Its number in the grid.
    pub number: u64,
    /// Its values.
    pub params: BTreeMap<String, Scalar>,
    /// Its score; absent without one.
    pub score: Option<f64>,
    /// What it did; absent when it could not run.
    #[schema(value_type = Option<Object>)]
    pub measures: Option<qcat_core::optimize::Measures>,
    /// Why it has no score.
    pub error: Option<String>,
}

impl From<&Trial> for TrialRecord {
    fn from(trial: &Trial) -> TrialRecord {
        let params = trial.point.iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        let (score, measures, error) = match trial.outcome.clone() {
            Outcome::Scored { score, measures } => (Some(score), Some(measures), None),
            Outcome::Unscored { reason, measures } => (None, Some(measures), Some(reason)),
            Outcome::Failed { error } => (None, None, Some(error)),
        };
        TrialRecord { number: trial.number, params, score, measures, error }
    }
}

/// A job that was checked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    config: Config,
    pub(super) space: Space,
    pub(super) options: backtest::Options,
    pub(super) timeout: Duration,
}

impl Plan {
    /// Checks a job; on failure lists everything that is wrong. `daemon` has the configured strategies.
    pub(super) fn new(
        job: &Job,
        options: &Options,
        daemon: Option<&Config>,
        registry: &Registry,
    ) -> Result<Plan, Vec<String>> {
        let mut config = subject(job, daemon)?;
        let mut wrong = Vec::new();
        let strategy = &mut config.strategies[0];
        for (name, value) in &job.params {
            if job.space.contains_key(name) {
                wrong.push(format!("params.{name}: it stands in `space` too"));
            }
            strategy.params.insert(name.clone(), value.into());
        }
        let space = space(job, &strategy.kind, registry, options.trials_max);
        let space = space.map_err(|errors| wrong.extend(errors)).ok();
        // What varies need not go with the others' defaults: only names and ranges are checked here.
        if let Some(spec) = registry.get(&strategy.kind) {
            let fixed = strategy.params.iter().filter(|(name, _)| !job.space.contains_key(*name));
            let fixed = fixed.map(|(name, value)| (name.as_str().into(), value.clone())).collect();
            let errors = qcat_core::strategy::Params::read(spec.params, &fixed).err().unwrap_or_default();
            wrong.extend(errors.iter().map(|error| format!("params: {error}")));
        }
        let data = data(job, &options.data_dir).map_err(|error| wrong.push(error)).ok();
        let fees = backtest::fees(job.maker_bps, job.taker_bps);
        if fees.is_none() {
            wrong.push("maker_bps, taker_bps: -1000 to 1000 basis points are allowed".to_owned());
        }
        if job.latency_ms > 60_000 {
            wrong.push(format!("latency_ms: found {}, allowed: 0 to 60000", job.latency_ms));
        }
        let timeout = job.timeout_seconds.map_or(options.timeout, Duration::from_secs);
        if timeout.is_zero() || timeout > options.timeout {
            let most = options.timeout.as_secs();
            wrong.push(format!("timeout_seconds: found {}, allowed: 1 to {most}", timeout.as_secs()));
        }
        match (space, data, fees) {
            (Some(space), Some(data), Some(fees)) if wrong.is_empty() => {
                let (balance, latency) = (job.balance.clone(), Span::from_millis(i64::from(job.latency_ms)));
                let options = backtest::Options { data, balance, fees, latency, keep_log: false, stop: Arc::default() };
                Ok(Plan { config, space, options, timeout })
            }
            _ => Err(wrong),
        }
    }

    /// The configuration of one trial.
    pub(super) fn config(&self, point: &Point) -> Config {
        let mut config = self.config.clone();
        for (name, value) in point {
            config.strategies[0].params.insert(name.to_string(), value.clone());
        }
        config
    }
}

/// The configuration with the one strategy that is searched.
fn subject(job: &Job, daemon: Option<&Config>) -> Result<Config, Vec<String>> {
    match (&job.strategy, &job.kind) {
        (Some(name), None) if job.symbols.is_empty() => {
            let known = || {
                let names = daemon.into_iter().flat_map(|config| &config.strategies).map(|s| s.name.as_str());
                names.collect::<Vec<_>>().join(", ")
            };
            let found = daemon.and_then(|config| Some((config, config.strategies.iter().find(|s| &s.name == name)?)));
            let Some((config, strategy)) = found else {
                return Err(vec![format!("strategy: no strategy `{name}` is configured; configured: {}", known())]);
            };
            let mut strategy = strategy.clone();
            let mut account = config.accounts[strategy.account.ix()].clone();
            // Nothing is sent anywhere: the keys are not needed.
            (account.api_key, account.api_secret) = (SecretString::default(), SecretString::default());
            (strategy.account, strategy.enabled) = (AccountIx(0), true);
            let mut config = config.clone();
            (config.accounts, config.strategies) = (vec![account], vec![strategy]);
            Ok(config)
        }
        (None, Some(kind)) if !job.symbols.is_empty() => {
            // JSON is YAML; quoting keeps what is in it from being anything else.
            let text = serde_json::json!({ "strategies": [{ "name": "trial", "kind": kind, "symbols": job.symbols }] });
            let faults = |faults: Vec<config::Fault>| {
                faults
                    .iter()
                    .map(|fault| format!("{}: {}", fault.key.replace("strategies[0].", ""), fault.problem))
                    .collect()
            };
            config::parse_offline("job", &text.to_string()).map_err(faults)
        }
        _ => Err(vec!["either `strategy`, or `kind` and `symbols` are expected".to_owned()]),
    }
}

fn space(job: &Job, kind: &str, registry: &Registry, most: u64) -> Result<Space, Vec<String>> {
    let Some(spec) = registry.get(kind) else {
        let unknown = registry.build(kind, &BTreeMap::new()).err();
        return Err(unknown.iter().map(|error: &BuildError| format!("kind: {error}")).collect());
    };
    let range = |axis: &Axis| match axis {
        Axis::Steps { from, to, step } => Range::Steps { from: from.into(), to: to.into(), step: step.into() },
        Axis::Values { values } => Range::Values(values.iter().map(ParamValue::from).collect()),
    };
    let ranges = job.space.iter().map(|(name, axis)| (Arc::from(name.as_str()), range(axis))).collect();
    let errors = |errors: Vec<qcat_core::optimize::SpaceError>| errors.iter().map(|e| format!("space: {e}")).collect();
    Space::new(spec.params, &ranges, most).map_err(errors)
}

fn data(job: &Job, dir: &Path) -> Result<Data, String> {
    match &job.data {
        Source::Generated { seed, minutes } if (1..=MINUTES_MAX).contains(minutes) => Ok(Data::Generated {
            seed: *seed,
            start: Ts::from_millis(1_723_075_200_000),
            length: Span::from_secs(i64::from(*minutes) * 60),
        }),
        Source::Generated { minutes, .. } => {
            Err(format!("data.generated.minutes: found {minutes}, allowed: 1 to {MINUTES_MAX}"))
        }
        Source::File(name) => file(dir, name).map(Data::File),
    }
}

/// A file inside the data directory, links followed: nothing outside of it can be read.
fn file(dir: &Path, name: &str) -> Result<PathBuf, String> {
    let root = dir.canonicalize().map_err(|error| format!("optimizer.data_dir {}: {error}", dir.display()))?;
    // A name is joined only if it has no way out; an absolute one would replace the directory.
    let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let found = plain.then(|| root.join(name).canonicalize().ok()).flatten();
    found.filter(|path| path.starts_with(&root) && path.is_file()).ok_or_else(|| {
        let mut names: Vec<String> = std::fs::read_dir(&root)
            .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        let more = names.len().saturating_sub(FILES_NAMED);
        names.truncate(FILES_NAMED);
        let there =
            if names.is_empty() { "it is empty".to_owned() } else { format!("there are: {}", names.join(", ")) };
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("data.file: no file `{name}` in optimizer.data_dir {}; {there}{more}", dir.display())
    })
}
