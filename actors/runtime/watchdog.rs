//! The watchdog: a thread of its own that ends the process when the trading thread hangs.
//!
//! A synchronous step that hangs cannot be preempted. The trading thread publishes in its [`Pulse`] what it steps and that it goes
//! on. When it does not for longer than the bound, the watchdog sets the halt latch, cancels the entries over connections of its
//! own, writes which station hung on which input to a file that the next start reads first, and ends the process. A thread that
//! is blocked outside of any step ends the same way, without that file. The service manager is told that the daemon is alive
//! only while all threads go on.
//! Tests: `tests`, with a pulse that stops; `tests/hung.rs`, with a daemon as a process.

mod pulse;
#[cfg(test)]
mod tests;

pub use pulse::{Beat, Orders, Phase, Pulse};

use super::latch::HaltLatch;
use qcat_core::engine::fold::Quarantine;
use qcat_core::event::HaltReason;
use qcat_io::clock::Clock;
use qcat_io::disk::Disk;
use qcat_io::journal::marks;
use qcat_io::last_resort::{self, Access};
use qcat_io::systemd::Notifier;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// The drain looks around at least this often, also when it has nothing to do.
const LOOKS_AROUND: Duration = Duration::from_secs(1);
/// A fold or a last snapshot may take so many times longer than a step.
const WORK_FACTOR: u32 = 12;
/// How long cancels may take.
const CANCELS_WITHIN: Duration = Duration::from_secs(4);
/// How long the mark may take to be durable, beside the cancels: the disk may be what hangs.
const MARK_WITHIN: Duration = Duration::from_secs(2);
/// How long the last words may take: the log may be what hangs.
const WORDS_WITHIN: Duration = Duration::from_secs(1);
/// Bounds of the time between two looks.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));
/// A thread that proves its life does so this often.
const HEART_EVERY: Duration = Duration::from_millis(500);

/// A thread beside the trading one that proves its life: it runs [`Heart::beat`] as a task.
#[derive(Debug, Clone, Default)]
pub struct Heart(Arc<AtomicU64>);

impl Heart {
    /// Beats for as long as the thread that runs this serves its tasks.
    pub async fn beat(self) {
        loop {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(HEART_EVERY).await;
        }
    }
}

/// What a watchdog needs to know.
#[derive(Debug)]
pub struct WatchdogOptions {
    /// A step that takes longer is a hang.
    pub step_timeout: Duration,
    /// The lane's pulse.
    pub pulse: Arc<Pulse>,
    /// Set when the thread hangs.
    pub latch: Arc<HaltLatch>,
    /// Threads besides the trading one, by name.
    pub hearts: Vec<(&'static str, Heart)>,
    /// The lane's data directory.
    pub dir: PathBuf,
    /// The disk of that directory.
    pub disk: Arc<dyn Disk>,
    /// Stamps the mark.
    pub clock: Arc<dyn Clock>,
    /// The way to the exchange.
    pub access: Access,
    /// The service manager.
    pub notifier: Notifier,
    /// How often it wants to hear of us, at least; `None`: never.
    pub alive_every: Option<Duration>,
    /// Ends the process.
    pub end: fn() -> !,
}

/// A running watchdog; it ends when this is dropped.
#[derive(Debug)]
pub struct Watchdog(Arc<AtomicBool>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watchdog {
    /// Starts the thread.
    pub fn start(options: WatchdogOptions) -> std::io::Result<Watchdog> {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&options, &told))?;
        Ok(Watchdog(over))
    }
}

/// What hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// A step.
    Step(Quarantine),
    /// The thread, outside of any step.
    Thread,
}

/// How long the trading thread has not gone on, as far as it was looked at.
#[derive(Debug)]
struct Stillness {
    count: u64,
    since: Duration,
}

impl Stillness {
    fn new(beat: Beat) -> Stillness {
        Stillness { count: beat.count, since: Duration::ZERO }
    }

    /// Another look, `passed` after the last one. Of a pause in which this thread did not run either (a stopped process, a
    /// sleeping machine) no more counts than `expected`.
    fn look(&mut self, beat: Beat, passed: Duration, expected: Duration, bound: Duration) -> Option<Trouble> {
        if beat.count != self.count {
            *self = Stillness::new(beat);
            return None;
        }
        self.since += passed.min(expected);
        let (allowed, trouble) = match (beat.step, beat.phase) {
            (Some(step), _) => (bound, Trouble::Step(step)),
            (None, Phase::Quiet) => return None,
            (None, Phase::Drains) => (bound + LOOKS_AROUND, Trouble::Thread),
            (None, Phase::Works) => (bound * WORK_FACTOR, Trouble::Thread),
        };
        (self.since > allowed).then_some(trouble)
    }
}

fn watch(options: &WatchdogOptions, over: &AtomicBool) {
    let pause = (options.step_timeout / 20).clamp(LOOK_EVERY.0, LOOK_EVERY.1);
    let alive_every = options.alive_every.map(|period| period / 3);
    let mut still = Stillness::new(options.pulse.look());
    let mut others: Vec<(u64, Duration)> = options.hearts.iter().map(|_| (0, Duration::ZERO)).collect();
    let (mut looked, mut told) = (Instant::now(), None::<Instant>);
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(pause.min(alive_every.unwrap_or(pause)));
        let passed = looked.elapsed();
        looked += passed;
        if let Some(trouble) = still.look(options.pulse.look(), passed, pause * 2, options.step_timeout) {
            last_words(options, trouble, still.since);
            (options.end)();
        }
        let alive = all_alive(options, &mut others, passed.min(pause * 2));
        if let Some(every) = alive_every
            && alive
            && told.is_none_or(|at| at.elapsed() >= every)
        {
            options.notifier.alive();
            told = Some(looked);
        }
    }
}

/// Whether every other thread went on within its bound. What does not is told once; the service manager ends it.
fn all_alive(options: &WatchdogOptions, seen: &mut [(u64, Duration)], passed: Duration) -> bool {
    let bound = options.step_timeout + HEART_EVERY;
    let mut alive = true;
    for ((name, heart), (count, still)) in options.hearts.iter().zip(seen) {
        let now = heart.0.load(Ordering::Relaxed);
        let before = *still;
        (*count, *still) = if now == *count { (now, before + passed) } else { (now, Duration::ZERO) };
        // One that never began has nothing to prove yet.
        let stuck = now > 0 && *still > bound;
        if stuck && before <= bound {
            tracing::error!(
                code = "thread_stalled",
                thread = name,
                ?bound,
                "a thread does not go on; the service manager is told nothing more"
            );
        }
        alive &= !stuck;
    }
    alive
}

/// Halts, cancels and marks, all within their bounds; then says what was done, as far as somebody listens.
fn last_words(options: &WatchdogOptions, trouble: Trouble, since: Duration) {
    options.latch.set(HaltReason::ControlLost);
    let marked = match trouble {
        Trouble::Step(step) => Some(mark(options, step)),
        Trouble::Thread => None,
    };
    let canceled = cancel(options);
    let marked = marked.map(|marked| match marked.recv_timeout(MARK_WITHIN) {
        Ok(Ok(())) => "; it is not stepped with that input again".to_owned(),
        Ok(Err(error)) => format!("; the mark was not written: {error}"),
        Err(_) => "; the mark was not written in time".to_owned(),
    });
    let what = match trouble {
        Trouble::Step(Quarantine { station, seq }) => format!("{station:?} hangs at input {}", seq.0),
        Trouble::Thread => "the trading thread is blocked outside of any step".to_owned(),
    };
    let text = format!("watchdog: {what} for {since:.1?}; {canceled}{}; ends", marked.unwrap_or_default());
    say(text);
}

/// On a thread of its own: a disk that hangs must not keep the cancels.
fn mark(options: &WatchdogOptions, step: Quarantine) -> mpsc::Receiver<Result<(), String>> {
    let (done, wait) = mpsc::channel();
    let (disk, dir, at) = (options.disk.clone(), options.dir.clone(), options.clock.wall());
    std::thread::spawn(move || {
        let written = marks::write_hung(&*disk, &dir, step, at).map_err(|error| error.to_string());
        // Whoever asked may not wait any more.
        let _ = done.send(written);
    });
    wait
}

fn cancel(options: &WatchdogOptions) -> String {
    let Some(Orders { universe, entries, staying }) = options.pulse.orders(MARK_WITHIN) else {
        return "nothing is cancelled: it hangs while it publishes its orders".to_owned();
    };
    match last_resort::cancel(&options.access, &universe, &entries, CANCELS_WITHIN) {
        Err(error) => format!("none of {} entries is cancelled: {error}", entries.len()),
        Ok(done) => {
            let left = match done.left.is_empty() {
                true => String::new(),
                false => format!(", {} NOT CANCELLED: {}", done.left.len(), done.left.join(", ")),
            };
            format!(
                "{} entries cancelled, {} were gone{left}; {staying} protective orders stay",
                done.canceled, done.gone
            )
        }
    }
}

/// To the log and, should the log be what hangs, to standard error alone.
fn say(text: String) {
    let speak = |speak: Box<dyn FnOnce() + Send>| {
        let (done, wait) = mpsc::channel();
        std::thread::spawn(move || {
            speak();
            let _ = done.send(());
        });
        wait.recv_timeout(WORDS_WITHIN).is_ok()
    };
    let words = text.clone();
    if !speak(Box::new(move || tracing::error!(code = "step_hung", "{words}"))) {
        speak(Box::new(move || {
            let _ = writeln!(std::io::stderr(), "{text}");
        }));
    }
}
