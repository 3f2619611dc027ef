//! A bounded queue of lines and the thread that writes them.
//!
//! The thread looks every [`EVERY`] instead of being woken: a line then costs whoever logs it neither a lock that somebody else
//! holds for long nor a system call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait.
const LINES_MAX: usize = 8_192;
/// Bytes that may wait.
const BYTES_MAX: usize = 8 << 20;
/// Lines after which they are written.
const BATCH: usize = 512;
/// How often the thread looks.
const EVERY: Duration = Duration::from_millis(20);

/// Which files of a sink a line goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Targets(u8);

impl Targets {
    /// The first one.
    pub const FIRST: Targets = Targets(1);
    /// The first two.
    pub const BOTH: Targets = Targets(3);

    /// Whether the file at this place is one of them.
    pub fn has(self, at: usize) -> bool {
        self.0 & (1 << at) != 0
    }
}

struct Line {
    to: Targets,
    text: Vec<u8>,
}

/// What was lost on the way to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounts {
    /// Lines that were dropped because too much waited.
    pub dropped: u64,
    /// Writes that failed; they are tried again.
    pub write_failures: u64,
}

/// Counters that a sink and its queue share.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub dropped: AtomicU64,
    pub write_failures: AtomicU64,
}

/// Writes lines. Called on its own thread.
pub(super) trait Sink: Send + 'static {
    /// Takes a line, to be written with the next `settle`.
    fn take(&mut self, to: Targets, line: &[u8], losses: &Losses);
    /// Writes what was taken. True when nothing is left.
    fn settle(&mut self, now: Instant, losses: &Losses) -> bool;
    /// Opens files anew.
    fn reopen(&mut self);
}

/// The way in. Clones lead to the same thread.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    lines: SyncSender<Line>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    losses: Losses,
    /// Lines put in and lines that the sink was done with.
    sent: AtomicU64,
    done: AtomicU64,
    bytes: AtomicUsize,
    reopen: AtomicBool,
}

impl Outlet {
    /// Starts the thread.
    pub fn start(name: &'static str, sink: impl Sink) -> io::Result<Outlet> {
        let (lines, waiting) = sync_channel(LINES_MAX);
        let shared = Arc::new(Shared::default());
        let outlet = Outlet { lines, shared: shared.clone() };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || Writer { sink, shared, name, told: 0 }.run(waiting))?;
        Ok(outlet)
    }

    /// Puts a line in, or drops and counts it. Never waits.
    pub fn send(&self, to: Targets, text: Vec<u8>) {
        let length = text.len();
        let waiting = self.shared.bytes.fetch_add(length, Ordering::Relaxed);
        if waiting + length <= BYTES_MAX && self.lines.try_send(Line { to, text }).is_ok() {
            self.shared.sent.fetch_add(1, Ordering::Release);
        } else {
            self.shared.bytes.fetch_sub(length, Ordering::Relaxed);
            self.shared.losses.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the files opened anew.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// What was lost.
    pub fn counts(&self) -> LogCounts {
        let Losses { dropped, write_failures } = &self.shared.losses;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LogCounts { dropped: read(dropped), write_failures: read(write_failures) }
    }

    /// Waits until what was put in before is written.
    pub fn flush(&self, until: Instant) -> bool {
        let sent = self.shared.sent.load(Ordering::Acquire);
        while self.shared.done.load(Ordering::Acquire) < sent || self.shared.reopen.load(Ordering::Acquire) {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

struct Writer<S> {
    sink: S,
    shared: Arc<Shared>,
    name: &'static str,
    /// Lost lines that were told of.
    told: u64,
}

impl<S: Sink> Writer<S> {
    fn run(mut self, waiting: Receiver<Line>) {
        loop {
            let (taken, more) = self.batch(&waiting);
            let flows = self.sink.settle(Instant::now(), &self.shared.losses);
            self.shared.done.fetch_add(taken, Ordering::Release);
            match more {
                Err(TryRecvError::Disconnected) => return,
                Ok(()) => {}
                Err(TryRecvError::Empty) => {
                    if flows {
                        self.tell_losses();
                    }
                    std::thread::sleep(EVERY);
                }
            }
        }
    }

    /// Takes what waits, up to a batch. `Ok`: there may be more.
    fn batch(&mut self, waiting: &Receiver<Line>) -> (u64, Result<(), TryRecvError>) {
        for taken in 0..BATCH as u64 {
            match waiting.try_recv() {
                Ok(Line { to, text }) => {
                    self.shared.bytes.fetch_sub(text.len(), Ordering::Relaxed);
                    self.sink.take(to, &text, &self.shared.losses);
                }
                Err(end) => {
                    // Only now: what was logged before the request belongs into the old files.
                    if self.shared.reopen.swap(false, Ordering::AcqRel) {
                        self.sink.settle(Instant::now(), &self.shared.losses);
                        self.sink.reopen();
                    }
                    return (taken, Err(end));
                }
            }
        }
        (BATCH as u64, Ok(()))
    }

    /// Lines flow again: says how many are missing.
    fn tell_losses(&mut self) {
        let lost = self.shared.losses.dropped.load(Ordering::Relaxed);
        let missing = lost - self.told;
        if missing > 0 {
            self.told = lost;
            tracing::warn!(code = "log_lines_dropped", log = self.name, missing, "lines of the log were dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Writes nothing until it is let.
    struct Gate(Arc<Mutex<Vec<Vec<u8>>>>, Arc<AtomicBool>);

    impl Sink for Gate {
        fn take(&mut self, _to: Targets, line: &[u8], _losses: &Losses) {
            while !self.1.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.0.lock().unwrap().push(line.to_vec());
        }
        fn settle(&mut self, _now: Instant, _losses: &Losses) -> bool {
            true
        }
        fn reopen(&mut self) {}
    }

    #[test]
    fn a_sink_that_hangs_costs_lines_beyond_the_bound_and_each_is_counted() {
        let (seen, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let outlet = Outlet::start("test", Gate(seen.clone(), open.clone())).unwrap();
        let all = LINES_MAX as u64 + 5_000;
        (0..all).for_each(|number| outlet.send(Targets::FIRST, number.to_string().into_bytes()));
        let dropped = outlet.counts().dropped;
        assert!((4_000..=5_000).contains(&dropped), "{dropped} of {all}");
        assert!(!outlet.flush(Instant::now() + Duration::from_millis(10)));
        open.store(true, Ordering::Release);
        assert!(outlet.flush(Instant::now() + Duration::from_secs(20)));
        assert_eq!(seen.lock().unwrap().len() as u64, all - dropped);
        (0..9).for_each(|_| outlet.send(Targets::FIRST, vec![0; BYTES_MAX / 8]));
        assert!(outlet.flush(Instant::now() + Duration::from_secs(20)));
        outlet.send(Targets::FIRST, vec![0; BYTES_MAX + 1]);
        assert!(outlet.counts().dropped > dropped, "one line above the bound of bytes");
    }
}
