//! Threads that own a connection each and take jobs from one bounded queue.

use super::{SqliteOptions, StoreError, classify};
use crate::store::{Answer, PoolStats};
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait.
const QUEUE: usize = 64;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 10_000;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;
type Opening = fn(&SqliteOptions) -> Result<Connection, StoreError>;

/// The threads.
pub(super) struct Workers {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    counts: Arc<Counts>,
    max: u32,
    acquire: Duration,
    limit: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU32,
    in_use: AtomicU32,
    waiting: AtomicU32,
    waits: AtomicU64,
    timeouts: AtomicU64,
    waited_micros: AtomicU64,
}

/// Opens the connection that writes, and with it the file.
pub(super) fn writing(options: &SqliteOptions) -> Result<Connection, StoreError> {
    make(&options.path)?;
    let opened = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&options.path, flags)?;
        connection.busy_timeout(options.acquire_timeout)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    opened().map_err(|error| named(&options.path, &classify(&error)))
}

/// Opens a connection that reads.
pub(super) fn reading(options: &SqliteOptions) -> Result<Connection, StoreError> {
    let opened = || {
        // Not a read-only one: that could not make the shared memory of the write-ahead log anew.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&options.path, flags)?;
        connection.busy_timeout(options.acquire_timeout)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    opened().map_err(|error| named(&options.path, &classify(&error)))
}

fn named(path: &Path, error: &StoreError) -> StoreError {
    let text = format!("{}: {error}", path.display());
    if error.is_retryable() { StoreError::Unavailable(text) } else { StoreError::Refused(text) }
}

/// Makes the file, for its owner only: it holds hashes of passwords.
fn make(path: &Path) -> Result<(), StoreError> {
    let wrong = |e: std::io::Error| StoreError::Refused(format!("{}: {e}", path.display()));
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(wrong)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(wrong)?;
    Ok(())
}

impl Workers {
    /// Starts `count` threads; each opens its connection before this returns.
    pub(super) async fn start(
        name: &str,
        count: u32,
        options: &SqliteOptions,
        opening: Opening,
    ) -> Result<Workers, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (queue, counts) = (Arc::new(Mutex::new(queue)), Arc::new(Counts::default()));
        for _ in 0..count {
            let (opened, wait) = oneshot::channel();
            let (queue, counts, options) = (queue.clone(), counts.clone(), options.clone());
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || match opening(&options) {
                Ok(connection) => {
                    counts.open.fetch_add(1, Ordering::Relaxed);
                    // Who waits may be gone; then the queue ends at once.
                    let _ = opened.send(Ok(()));
                    work(connection, &queue);
                    counts.open.fetch_sub(1, Ordering::Relaxed);
                }
                Err(error) => drop(opened.send(Err(error))),
            });
            thread.map_err(|e| StoreError::Unavailable(format!("no thread for it: {e}")))?;
            wait.await.map_err(|_| StoreError::Bug("a thread ended while it opened the file".to_owned()))??;
        }
        let (acquire, limit) = (options.acquire_timeout, options.statement_timeout);
        Ok(Workers { jobs: Mutex::new(Some(jobs)), counts, max: count, acquire, limit })
    }

    /// Has a thread do a job.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer<T> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (acquire, limit, counts) = (self.acquire, self.limit, self.counts.clone());
        Box::pin(async move {
            let closed = || StoreError::Unavailable("it is closed".to_owned());
            let (answer, wait) = oneshot::channel();
            let asked = Instant::now();
            let (waiting, refused) = (Count::up(&counts, |counts| &counts.waiting), counts.clone());
            let job: Job = Box::new(move |connection| {
                let waited = asked.elapsed();
                drop(waiting);
                if waited > acquire {
                    counts.timeouts.fetch_add(1, Ordering::Relaxed);
                    let late = format!("no connection became free within {acquire:?}");
                    return drop(answer.send(Err(StoreError::Unavailable(late))));
                }
                if waited > Duration::from_millis(1) {
                    counts.waits.fetch_add(1, Ordering::Relaxed);
                    counts.waited_micros.fetch_add(waited.as_micros() as u64, Ordering::Relaxed);
                }
                let in_use = Count::up(&counts, |counts| &counts.in_use);
                let done = bounded(connection, limit, job).map_err(|error| classify(&error));
                // Whoever has the answer sees the connection free.
                drop(in_use);
                // Nobody may want it any more.
                let _ = answer.send(done);
            });
            match tokio::time::timeout(acquire, jobs.ok_or_else(closed)?.send(job)).await {
                Ok(sent) => sent.map_err(|_| closed())?,
                Err(_) => {
                    refused.timeouts.fetch_add(1, Ordering::Relaxed);
                    return Err(StoreError::Unavailable(format!("{QUEUE} calls wait already")));
                }
            }
            wait.await.map_err(|_| StoreError::Bug("its job panicked".to_owned()))?
        })
    }

    /// Takes no more jobs; ready when those that wait are done.
    pub(super) fn stop(&self) -> impl Future<Output = ()> + Send + 'static {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let counts = self.counts.clone();
        async move {
            drop(jobs);
            while counts.open.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// The connections at this moment.
    pub(super) fn stats(&self) -> PoolStats {
        let load = |count: &AtomicU32| count.load(Ordering::Relaxed);
        let (open, in_use) = (load(&self.counts.open), load(&self.counts.in_use));
        PoolStats {
            max: self.max,
            open,
            idle: open.saturating_sub(in_use),
            in_use,
            waiting: load(&self.counts.waiting),
            waits: self.counts.waits.load(Ordering::Relaxed),
            timeouts: self.counts.timeouts.load(Ordering::Relaxed),
            waited: Duration::from_micros(self.counts.waited_micros.load(Ordering::Relaxed)),
        }
    }
}

/// Counts up while it lives.
struct Count(Arc<Counts>, fn(&Counts) -> &AtomicU32);

impl Count {
    fn up(counts: &Arc<Counts>, which: fn(&Counts) -> &AtomicU32) -> Count {
        which(counts).fetch_add(1, Ordering::Relaxed);
        Count(counts.clone(), which)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a job for at most `limit`.
fn bounded<T>(
    connection: &mut Connection,
    limit: Duration,
    job: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let start = Instant::now();
    connection.progress_handler(STEPS, Some(move || start.elapsed() > limit))?;
    let done = job(connection);
    connection.progress_handler(STEPS, None::<fn() -> bool>)?;
    done
}

fn work(mut connection: Connection, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // One thread waits in the queue, the others for the lock.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(job) = job else { return };
        // A transaction that was open is rolled back by its own end; whoever asked sees his answer lost.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut connection)));
    }
}
