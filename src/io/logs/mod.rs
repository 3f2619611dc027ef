//! Logs: `qcat.log` (the program), `error.log` (its errors alone), `access.log` (requests), or standard error.
//!
//! Whoever logs only puts a line into a bounded queue; threads of this module write it. A disk that is full, a directory that
//! cannot be written or a standard error that takes nothing makes lines late and then lost, counted, and never makes anybody
//! wait. Levels are upper case, times ISO 8601 in UTC; every warning and error has a `code` of [`codes`].
//! Tests: `tests`, with real directories, and `tests/logs.rs` with what the operations manual does with the files.

mod access;
pub mod codes;
mod outlet;
mod panics;
mod rolling;
mod sink;
#[cfg(test)]
mod tests;
mod tidy;

pub use access::{AccessLog, AccessRecord};
pub use outlet::LogCounts;

use outlet::{Outlet, Targets};
use rolling::Rolling;
use sink::{Files, Stderr};
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tidy::{Retention, Tidy};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The crates whose level is the configured one.
const OURS: [&str; 4] = ["qcat", "qcat_io", "qcat_actors", "qcat_core"];
/// How long the end of the process waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(2);
/// The logs of this process, for those that end it.
static ACTIVE: OnceLock<Logs> = OnceLock::new();

/// From which level on lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A person must act.
    Error,
    /// Unusual, still correct.
    Warn,
    /// Changes that an operator wants to see.
    Info,
    /// A branch taken.
    Debug,
    /// Every message; not in release builds.
    Trace,
}

impl Level {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }

    /// Our crates speak from this level on. Libraries never below `info`: their details hold frames, headers and with them secrets.
    fn filter(self) -> EnvFilter {
        let others = self.min(Level::Info).as_str();
        let ours = OURS.map(|name| format!("{name}={}", self.as_str())).join(",");
        EnvFilter::new(format!("{others},{ours}"))
    }
}

impl FromStr for Level {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Level, LogError> {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
        let found = levels.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| LogError::Level(text.chars().take(32).collect()))
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Files in `log_dir`; warnings and above to standard error too.
    File,
    /// Standard error alone, requests too.
    Stderr,
}

/// What is logged, how, and where to.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// From which level on.
    pub level: Level,
    /// How lines look in files; on standard error too when that is the only output.
    pub format: Format,
    /// Where they go.
    pub output: Output,
    /// Bytes after which a file is put aside; 0: never by us.
    pub max_size: u64,
    /// Files that are kept aside, of each log; 0: any number.
    pub max_backups: u32,
    /// How long they are kept; zero: without end.
    pub max_age: Duration,
    /// Whether they are compressed with gzip.
    pub compress: bool,
    /// Where the files are; made when it is missing.
    pub log_dir: PathBuf,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Files cannot be written there.
    #[error("logging.log_dir {}: {error}", dir.display())]
    Directory { dir: PathBuf, error: io::Error },
    /// No thread that writes.
    #[error("no thread for the log: {0}")]
    Thread(io::Error),
    /// Not a level.
    #[error("`{0}` is not a level: error, warn, info, debug or trace")]
    Level(String),
    /// Logs were started before in this process.
    #[error("the log was started before")]
    Started,
}

/// The logs. Clones are the same.
#[derive(Debug, Clone)]
pub struct Logs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: LogOptions,
    /// Lines of the program.
    main: Outlet,
    /// Requests; the same as `main` without files.
    access: Outlet,
    stderr: Outlet,
    filter: OnceLock<reload::Handle<EnvFilter, Registry>>,
}

impl Logs {
    /// Starts the logs of this process: lines of `tracing` and panics go there from here on.
    pub fn start(options: LogOptions) -> Result<Logs, LogError> {
        let logs = Logs::open(options)?;
        tracing::subscriber::set_global_default(logs.subscriber()).map_err(|_| LogError::Started)?;
        panics::install();
        ACTIVE.set(logs.clone()).map_err(|_| LogError::Started)?;
        Ok(logs)
    }

    /// Opens the files and starts the threads.
    fn open(options: LogOptions) -> Result<Logs, LogError> {
        let stderr = Outlet::start("qcat-log-stderr", Stderr::new()).map_err(LogError::Thread)?;
        let (main, access) = match options.output {
            Output::Stderr => (stderr.clone(), stderr.clone()),
            Output::File => {
                let wrong = |error| LogError::Directory { dir: options.log_dir.clone(), error };
                let keep = Retention {
                    max_backups: options.max_backups,
                    max_age: options.max_age,
                    compress: options.compress,
                };
                let file = |stem: &'static str| Rolling::open(&options.log_dir, stem, options.max_size).map_err(wrong);
                let (program, errors, requests) = (file("qcat")?, file("error")?, file("access")?);
                let stems = ["qcat", "error", "access"];
                let tidy = Tidy::start(options.log_dir.clone(), stems.to_vec(), keep).map_err(LogError::Thread)?;
                let main = Outlet::start("qcat-log", Files::new(vec![program, errors], tidy.clone()));
                let access = Outlet::start("qcat-log-access", Files::new(vec![requests], tidy));
                (main.map_err(LogError::Thread)?, access.map_err(LogError::Thread)?)
            }
        };
        Ok(Logs(Arc::new(Inner { options, main, access, stderr, filter: OnceLock::new() })))
    }

    /// What writes lines of `tracing` here.
    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        let Inner { options, main, stderr, .. } = &*self.0;
        let (filter, handle) = reload::Layer::new(options.level.filter());
        // Only the first subscriber's level can be changed; there is one but in tests.
        let _ = self.0.filter.set(handle);
        let mut layers = vec![lines(options, Lines { outlet: main.clone(), errors_apart: true })];
        if options.output == Output::File {
            let text = LogOptions { format: Format::Text, ..options.clone() };
            let loud = lines(&text, Lines { outlet: stderr.clone(), errors_apart: false });
            layers.push(loud.with_filter(LevelFilter::WARN).boxed());
        }
        tracing_subscriber::registry().with(filter).with(layers)
    }

    /// Opens the files anew, after somebody moved them away. Does not wait for it.
    pub fn reopen(&self) {
        self.0.main.reopen();
        self.0.access.reopen();
    }

    /// Changes the level.
    pub fn set_level(&self, level: Level) {
        if let Some(filter) = self.0.filter.get() {
            // It fails only when the subscriber is gone, and then nothing is logged anyway.
            let _ = filter.reload(level.filter());
        }
    }

    /// What writes requests to `access.log`. Clones write to the same file.
    pub fn access(&self) -> AccessLog {
        AccessLog::new(self.0.access.clone(), self.0.main.clone(), self.0.options.output == Output::File)
    }

    /// Lines that were lost and writes that failed, by log. To be polled.
    pub fn counts(&self) -> Vec<(&'static str, LogCounts)> {
        match self.0.options.output {
            Output::Stderr => vec![("stderr", self.0.stderr.counts())],
            Output::File => vec![
                ("qcat", self.0.main.counts()),
                ("access", self.0.access.counts()),
                ("stderr", self.0.stderr.counts()),
            ],
        }
    }

    /// Waits until what was logged so far is written, for so long at most. False: something is left.
    pub fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        // All of them, also when the first is stuck.
        let written = [&self.0.main, &self.0.access, &self.0.stderr].map(|outlet| outlet.flush(until));
        written.into_iter().all(|written| written)
    }
}

/// To be called before the process ends by another way than the return of `main`: the last lines are the ones that count. Waits
/// two seconds at most.
pub fn flush_before_exit() {
    if let Some(logs) = ACTIVE.get() {
        logs.flush(LAST_LINES);
    }
}

fn lines(options: &LogOptions, to: Lines) -> Box<dyn Layer<Filtered> + Send + Sync> {
    let ansi = options.output == Output::Stderr && io::IsTerminal::is_terminal(&io::stderr());
    let layer = fmt::layer().with_writer(to).log_internal_errors(false);
    match options.format {
        Format::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        Format::Text => layer.with_ansi(ansi).boxed(),
    }
}

/// What the layers of lines sit on.
type Filtered = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;

/// Puts formatted lines into a queue.
struct Lines {
    outlet: Outlet,
    /// Errors go to a file of their own, too.
    errors_apart: bool,
}

struct OneLine<'a> {
    outlet: &'a Outlet,
    to: Targets,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        OneLine { outlet: &self.outlet, to: Targets::FIRST }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> OneLine<'a> {
        let error = self.errors_apart && *meta.level() == tracing::Level::ERROR;
        OneLine { outlet: &self.outlet, to: if error { Targets::BOTH } else { Targets::FIRST } }
    }
}

/// The formatter hands over a whole line at once.
impl io::Write for OneLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.outlet.send(self.to, line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
