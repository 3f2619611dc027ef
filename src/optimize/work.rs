//! The threads of a search: one that leads, and workers that run trials.

use super::job::{Plan, TrialRecord};
use super::{Cut, JobState, OptimizerHandle, Shared};
use crate::backtest::{self, BacktestError};
use qcat_core::optimize::{Measures, Point, Search};
use qcat_core::strategy::registry::Registry;
use qcat_io::resources;
use qcat_io::shell::panic_text;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The leader looks around at least this often.
const TURN: Duration = Duration::from_millis(200);

/// What a worker tells the leader.
enum Word {
    Ended(u64, Result<Measures, String>),
    /// The data or the market cannot be read: no trial could run.
    Hopeless(String),
}

/// What the workers of one job share.
struct Crew {
    plan: Box<Plan>,
    registry: Arc<Registry>,
    search: Mutex<Search>,
    stop: Arc<AtomicBool>,
}

/// How a job's trials ended.
struct End {
    state: JobState,
    error: Option<String>,
}

impl OptimizerHandle {
    /// Runs the jobs, one after the other, until `stop` is set; blocks its thread. `beat` is called all the while. If called again, on
    /// another thread, the earlier call ends: so a supervisor can give one up.
    pub fn serve(&self, stop: &AtomicBool, beat: &mut dyn FnMut()) {
        let shared = &*self.0;
        let generation = {
            let mut jobs = shared.lock();
            jobs.generation += 1;
            // What an earlier one left in the middle is not taken up again.
            for entry in jobs.entries.values_mut().filter(|entry| entry.record.state == JobState::Running) {
                entry.record.state = JobState::Interrupted;
                entry.record.ended = Some(shared.now());
                shared.keep(&mut entry.record);
            }
            shared.changed.notify_all();
            jobs.generation
        };
        while let Some((id, plan)) = shared.next(generation, stop, beat) {
            shared.run(id, plan, generation, stop, beat);
        }
    }
}

impl Shared {
    /// Waits for the next job and marks it as running. `None`: to stop.
    fn next(&self, generation: u64, stop: &AtomicBool, beat: &mut dyn FnMut()) -> Option<(Uuid, Box<Plan>)> {
        let mut jobs = self.lock();
        loop {
            beat();
            if stop.load(Ordering::Acquire) || jobs.generation != generation {
                return None;
            }
            if let Some(id) = jobs.queue.pop_front() {
                let Some(entry) = jobs.entries.get_mut(&id) else { continue };
                let Some(plan) = entry.plan.take() else { continue };
                entry.record.state = JobState::Running;
                entry.record.started = Some(self.now());
                self.keep(&mut entry.record);
                return Some((id, plan));
            }
            jobs = self.changed.wait_timeout(jobs, TURN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self, id: Uuid, mut plan: Box<Plan>, generation: u64, stop: &AtomicBool, beat: &mut dyn FnMut()) {
        let deadline = Instant::now() + plan.timeout;
        let halt = Arc::new(AtomicBool::new(false));
        plan.options.stop = halt.clone();
        let (metric, trades_min) = {
            let jobs = self.lock();
            let Some(entry) = jobs.entries.get(&id) else { return };
            (entry.record.job.metric, entry.record.job.trades_min)
        };
        let search = Mutex::new(Search::new(plan.space.clone(), metric, trades_min));
        let crew = Arc::new(Crew { plan, registry: self.registry.clone(), search, stop: halt });
        let (words, heard) = channel();
        let begun = (0..self.options.workers.max(1)).filter(|_| self.hire(&crew, words.clone())).count();
        drop(words);
        let end = match begun {
            0 => End { state: JobState::Failed, error: Some("no thread to run it".to_owned()) },
            _ => self.lead(id, &crew, &heard, (deadline, generation), stop, beat),
        };
        crew.stop.store(true, Ordering::Release);
        self.over(id, &crew, end, generation);
    }

    /// Starts one worker.
    fn hire(&self, crew: &Arc<Crew>, words: Sender<Word>) -> bool {
        let crew = crew.clone();
        // Counted here, and not any more when the thread ends or was never begun.
        self.threads.fetch_add(1, Ordering::AcqRel);
        let leaving = Leaving(self.threads.clone());
        let worker = move || {
            let _leaving = leaving;
            if let Err(error) = resources::run_last() {
                tracing::warn!(code = "search_priority", %error, "a thread of a search keeps its priority");
            }
            crew.work(&words);
        };
        let hired = std::thread::Builder::new().name("qcat-trial".to_owned()).spawn(worker);
        hired
            .inspect_err(|error| tracing::error!(code = "search_not_started", %error, "no thread for a search"))
            .is_ok()
    }

    /// Takes what the workers say until they are done, or the job is cut off.
    fn lead(
        &self,
        id: Uuid,
        crew: &Crew,
        heard: &Receiver<Word>,
        (deadline, generation): (Instant, u64),
        stop: &AtomicBool,
        beat: &mut dyn FnMut(),
    ) -> End {
        let mut cut: Option<(JobState, Instant)> = None;
        loop {
            beat();
            if cut.is_none() {
                cut = self.cut(id, deadline, generation, stop).map(|cut| (cut, Instant::now()));
                crew.stop.store(cut.is_some(), Ordering::Release);
            }
            if let Some((state, since)) = cut
                && since.elapsed() > self.options.grace
            {
                tracing::error!(code = "search_hangs", %id, "a trial hangs: its thread is left behind");
                return End { state, error: Some("a trial hung and was left behind".to_owned()) };
            }
            match heard.recv_timeout(TURN) {
                Ok(Word::Ended(number, result)) => self.ended(id, crew, number, result, generation),
                Ok(Word::Hopeless(error)) => return End { state: JobState::Failed, error: Some(error) },
                Err(RecvTimeoutError::Timeout) => {}
                // All workers are gone.
                Err(RecvTimeoutError::Disconnected) => {
                    let state = cut.map_or(JobState::Finished, |(state, _)| state);
                    return End { state, error: None };
                }
            }
        }
    }

    fn cut(&self, id: Uuid, deadline: Instant, generation: u64, stop: &AtomicBool) -> Option<JobState> {
        let jobs = self.lock();
        let asked = jobs.entries.get(&id).and_then(|entry| entry.cut);
        let late = (Instant::now() >= deadline).then_some(Cut::TimedOut);
        let gone = stop.load(Ordering::Acquire) || jobs.generation != generation;
        asked.or(late).or(gone.then_some(Cut::Interrupted)).map(|cut| match cut {
            Cut::Cancelled => JobState::Cancelled,
            Cut::TimedOut => JobState::TimedOut,
            Cut::Interrupted => JobState::Interrupted,
        })
    }

    fn ended(&self, id: Uuid, crew: &Crew, number: u64, result: Result<Measures, String>, generation: u64) {
        let mut search = crew.search();
        search.ended(number, result);
        let (done, best) = (search.done(), search.best().map(TrialRecord::from));
        drop(search);
        let mut jobs = self.lock();
        if jobs.generation != generation {
            return;
        }
        if let Some(entry) = jobs.entries.get_mut(&id) {
            (entry.record.done, entry.record.best) = (done, best);
        }
    }

    /// Writes down how a job ended, and only then shows it.
    fn over(&self, id: Uuid, crew: &Crew, end: End, generation: u64) {
        let trials: Vec<TrialRecord> = crew.search().trials().map(TrialRecord::from).collect();
        let failed = trials.iter().filter(|trial| trial.measures.is_none()).count();
        let End { mut state, mut error } = end;
        if state == JobState::Finished && failed == trials.len() {
            state = JobState::Failed;
            let first = trials.first().and_then(|trial| trial.error.clone()).unwrap_or_default();
            error = Some(format!("no trial could run; the first: {first}"));
        }
        let mut jobs = self.lock();
        if jobs.generation != generation {
            return;
        }
        let Some(entry) = jobs.entries.get_mut(&id) else { return };
        let mut record = entry.record.clone();
        (record.state, record.error, record.trials) = (state, error, trials);
        record.ended = Some(self.now());
        drop(jobs);
        self.keep(&mut record);
        tracing::info!(%id, ?state, done = record.done, total = record.total, failed, "a search ended");
        let mut jobs = self.lock();
        if let Some(entry) = jobs.entries.get_mut(&id) {
            entry.record = record;
        }
        let over: Vec<Uuid> =
            jobs.entries.iter().filter(|(_, entry)| entry.record.state.is_over()).map(|(id, _)| *id).collect();
        for id in over.iter().take(over.len().saturating_sub(self.options.keep)) {
            jobs.entries.remove(id);
            self.shelf.forget(*id);
        }
        self.changed.notify_all();
    }
}

impl Crew {
    fn search(&self) -> std::sync::MutexGuard<'_, Search> {
        self.search.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, words: &Sender<Word>) {
        while !self.stop.load(Ordering::Acquire) {
            let Some((number, point)) = self.search().next_trial() else { return };
            let ran = catch_unwind(AssertUnwindSafe(|| self.trial(&point)));
            let word = match ran {
                Ok(Ok(measures)) => Word::Ended(number, Ok(measures)),
                // Not a word on it: it did not end.
                Ok(Err(BacktestError::Stopped)) => return,
                Ok(Err(
                    error @ (BacktestError::Data(_) | BacktestError::Instruments(_) | BacktestError::Generator(_)),
                )) => Word::Hopeless(error.to_string()),
                Ok(Err(error)) => Word::Ended(number, Err(error.to_string())),
                Err(panic) => Word::Ended(number, Err(format!("it panicked: {}", panic_text(&*panic)))),
            };
            // The leader may have left this thread behind.
            if words.send(word).is_err() {
                return;
            }
        }
    }

    fn trial(&self, point: &Point) -> Result<Measures, BacktestError> {
        let outcome = backtest::run(&self.plan.config(point), self.registry.clone(), &self.plan.options)?;
        Ok(Measures::of(&outcome.summary))
    }
}

struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
