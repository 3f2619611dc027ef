//! Searches over the parameters of a strategy: a grid of backtests on threads of their own, apart from trading and from whoever asks.
//!
//! A job is checked when it is submitted, waits for its turn, and runs on [`Options::workers`] threads that yield to everything
//! else. It has its own deadline, can be cancelled, and is kept on disk. [`OptimizerHandle`] is for the API; [`OptimizerHandle::serve`] is the work, for the
//! component that supervises it.
//! Tests: real backtests; strategies that panic and that hang.

mod job;
mod shelf;
mod work;

pub use job::{Axis, Job, Scalar, Source, TrialRecord};
pub use shelf::{JobRecord, JobState};

use crate::config::Config;
use job::Plan;
use qcat_core::strategy::registry::Registry;
use qcat_io::clock::{Clock, text};
use shelf::Shelf;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// `optimizer.*` of the configuration, and where results are kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Recorded market data.
    pub data_dir: PathBuf,
    /// One file for each job; made if need be.
    pub results_dir: PathBuf,
    /// Threads that run trials.
    pub workers: usize,
    /// The longest that one job may run.
    pub timeout: Duration,
    /// Trials of one job at most.
    pub trials_max: u64,
    /// Jobs that may wait.
    pub queue_max: usize,
    /// Jobs that are over and are kept; the oldest go first.
    pub keep: usize,
    /// A trial that was told to stop and has not after this time is left behind with its thread.
    pub grace: Duration,
}

/// Jobs that wait at most.
const QUEUE_MAX: usize = 16;
/// Jobs that are over and are kept.
const KEEP: usize = 200;
/// Time that a trial has to heed its end.
const GRACE: Duration = Duration::from_secs(10);

impl Options {
    /// As configured; results are kept beside the journal, in `optimizer`.
    pub fn of(config: &Config) -> Options {
        let optimizer = &config.optimizer;
        Options {
            data_dir: optimizer.data_dir.clone(),
            results_dir: config.journal.dir.with_file_name("optimizer"),
            workers: optimizer.workers,
            timeout: optimizer.timeout,
            trials_max: optimizer.trials_max,
            queue_max: QUEUE_MAX,
            keep: KEEP,
            grace: GRACE,
        }
    }
}

/// Whether work that can wait may begin now; if not, why.
pub type Admit = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Why a job is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It cannot be run: everything that is wrong.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// Too many wait already.
    #[error("{0} searches wait already: try again when one has ended")]
    Full(usize),
    /// Not now.
    #[error("no new search now: {0}")]
    NotNow(String),
    /// It could not be written down.
    #[error("the search cannot be kept: {0}")]
    Disk(String),
}

/// Why a job cannot be cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// There is none of this number.
    #[error("no search has this number")]
    Unknown,
    /// It is over.
    #[error("the search is over already")]
    Over,
}

/// Why a job that runs shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Cancelled,
    TimedOut,
    Interrupted,
}

struct Entry {
    record: JobRecord,
    /// Until its turn comes.
    plan: Option<Box<Plan>>,
    cut: Option<Cut>,
}

#[derive(Default)]
struct Jobs {
    entries: BTreeMap<Uuid, Entry>,
    queue: VecDeque<Uuid>,
    /// Counts those that serve: a later one takes over from an earlier one that was given up.
    generation: u64,
}

struct Shared {
    options: Options,
    registry: Arc<Registry>,
    daemon: Option<Config>,
    admit: Admit,
    clock: Arc<dyn Clock>,
    shelf: Shelf,
    jobs: Mutex<Jobs>,
    /// Something changed in `jobs`.
    changed: Condvar,
    /// Threads of trials: those of the job that runs, and those that were left behind.
    threads: Arc<AtomicUsize>,
}

/// The searches. Clones are the same; any thread may ask, except the trading one: a call may wait for the disk.
#[derive(Clone)]
pub struct OptimizerHandle(Arc<Shared>);

impl std::fmt::Debug for OptimizerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OptimizerHandle").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl OptimizerHandle {
    /// Reads the jobs of before. `daemon` is the configuration whose strategies can be named by jobs.
    pub fn open(
        options: Options,
        registry: Arc<Registry>,
        daemon: Option<Config>,
        admit: Admit,
        clock: Arc<dyn Clock>,
    ) -> io::Result<OptimizerHandle> {
        let (shelf, records) = Shelf::open(&options.results_dir)?;
        let entry = |(id, record)| (id, Entry { record, plan: None, cut: None });
        let jobs = Jobs { entries: records.into_iter().map(entry).collect(), ..Jobs::default() };
        let (jobs, changed, threads) = (Mutex::new(jobs), Condvar::new(), Arc::default());
        Ok(OptimizerHandle(Arc::new(Shared { options, registry, daemon, admit, clock, shelf, jobs, changed, threads })))
    }

    /// Takes a job. Its directory of data, its parameters and everything else is checked first.
    pub fn submit(&self, job: Job) -> Result<JobRecord, SubmitError> {
        let shared = &self.0;
        (shared.admit)().map_err(SubmitError::NotNow)?;
        let threads = shared.threads.load(Ordering::Acquire);
        if threads > 2 * shared.options.workers {
            return Err(SubmitError::NotNow(format!("{threads} trials of this and earlier searches hang")));
        }
        let plan = Plan::new(&job, &shared.options, shared.daemon.as_ref(), &shared.registry);
        let plan = Box::new(plan.map_err(SubmitError::Invalid)?);
        let record = JobRecord {
            id: Uuid::now_v7(),
            state: JobState::Queued,
            submitted: shared.now(),
            started: None,
            ended: None,
            error: None,
            done: 0,
            total: plan.space.size(),
            best: None,
            job,
            trials: Vec::new(),
        };
        let mut jobs = shared.lock();
        if jobs.queue.len() >= shared.options.queue_max {
            return Err(SubmitError::Full(jobs.queue.len()));
        }
        shared.shelf.keep(&record).map_err(|error| SubmitError::Disk(error.to_string()))?;
        jobs.entries.insert(record.id, Entry { record: record.clone(), plan: Some(plan), cut: None });
        jobs.queue.push_back(record.id);
        shared.changed.notify_all();
        Ok(record)
    }

    /// All jobs, the newest first, without their trials.
    pub fn list(&self) -> Vec<JobRecord> {
        let jobs = self.0.lock();
        let brief = |entry: &Entry| JobRecord { trials: Vec::new(), ..entry.record.clone() };
        jobs.entries.values().rev().map(brief).collect()
    }

    /// One job with its trials.
    pub fn get(&self, id: Uuid) -> Option<JobRecord> {
        self.0.lock().entries.get(&id).map(|entry| entry.record.clone())
    }

    /// Ends a job. One that runs ends soon after; one that waits is over at once.
    pub fn cancel(&self, id: Uuid) -> Result<(), CancelError> {
        let mut jobs = self.0.lock();
        let entry = jobs.entries.get_mut(&id).ok_or(CancelError::Unknown)?;
        match entry.record.state {
            JobState::Running => entry.cut = entry.cut.or(Some(Cut::Cancelled)),
            JobState::Queued => {
                entry.record.state = JobState::Cancelled;
                entry.record.ended = Some(self.0.now());
                entry.plan = None;
                self.0.keep(&mut entry.record);
                jobs.queue.retain(|waiting| *waiting != id);
            }
            _ => return Err(CancelError::Over),
        }
        self.0.changed.notify_all();
        Ok(())
    }

    /// How many jobs run, how many wait, and how many threads run trials (those that were left behind, too).
    pub fn load(&self) -> (usize, usize, usize) {
        let jobs = self.0.lock();
        let running = jobs.entries.values().filter(|entry| entry.record.state == JobState::Running).count();
        (running, jobs.queue.len(), self.0.threads.load(Ordering::Acquire))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        // Every change is whole before anything that could panic.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> String {
        text(self.clock.wall())
    }

    /// Writes a record down; what cannot be kept is said in it.
    fn keep(&self, record: &mut JobRecord) {
        if let Err(error) = self.shelf.keep(record) {
            tracing::error!(code = "search_not_kept", id = %record.id, %error, "the record of a search cannot be kept");
            let told = record.error.take().map_or(String::new(), |error| format!("{error}; "));
            record.error = Some(format!("{told}this record cannot be kept: {error}"));
        }
    }
}

#[cfg(test)]
mod tests;
