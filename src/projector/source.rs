//! Where the projections come from: the journal as long as they are behind, then the live feed, and the journal again whenever the
//! feed shows a hole.
//!
//! It runs on a thread of its own, because folding is work. In: a feed and a data directory. Out: batches over a bounded
//! queue; whoever takes none holds it up, so the memory is bounded by the queues. Nothing that a loss of power could take back is
//! in a batch: it waits for the journal to be durable.

use super::rows::{Builder, RowError};
use qcat_actors::runtime::feed::{Feed, Next, Subscription, Told};
use qcat_core::engine::facts::{Cause, Facts, Names};
use qcat_core::id::Seq;
use qcat_core::strategy::registry::Registry;
use qcat_io::disk::Disk;
use qcat_io::journal::{FollowError, Follower};
use qcat_io::store::Batch;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Live items that may wait.
const QUEUE: usize = 16_384;
/// Rows after which a batch is full.
const ROWS: usize = 2_000;
/// How long rows wait for others.
const AGE: Duration = Duration::from_millis(100);
/// How often a checkpoint without rows is written.
const IDLE: Duration = Duration::from_secs(1);
/// How often the feed is looked at, and the journal when there is nothing new in it.
const LOOK: Duration = Duration::from_millis(10);
/// How long to wait after what may pass.
const RETRY: Duration = Duration::from_millis(500);

/// Where the facts come from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// What happens.
    pub feed: Feed,
    /// What happened.
    pub disk: Arc<dyn Disk>,
    /// The engine's data directory.
    pub journal: PathBuf,
    /// The strategies that may be in it.
    pub registry: Arc<Registry>,
}

/// Why there are no more batches.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The journal cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A fact is no row.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// It ended, or nobody takes its batches any more.
enum Stopped {
    Ended,
    Failed(SourceError),
}

impl<E: Into<SourceError>> From<E> for Stopped {
    fn from(error: E) -> Stopped {
        Stopped::Failed(error.into())
    }
}

pub(super) struct Source {
    pub origin: Origin,
    pub builder: Builder,
    pub out: mpsc::Sender<Batch>,
    /// It ends when it has told what is durable.
    pub ending: Arc<AtomicBool>,
    /// Whether it reads the live feed.
    pub live: Arc<AtomicBool>,
}

struct Reading {
    source: Source,
    names: Names,
    /// The first row that waits was added then.
    since: Option<Instant>,
    sent: Instant,
}

impl Source {
    /// Runs until it is to end, fails, or is not listened to.
    pub fn run(self) -> Result<(), SourceError> {
        let subscription = self.origin.feed.subscribe(QUEUE);
        let mut reading = Reading { source: self, names: Names::default(), since: None, sent: Instant::now() };
        loop {
            let round = reading.journal(&subscription).and_then(|told| {
                reading.source.live.store(true, Ordering::Relaxed);
                reading.live(&subscription, told)
            });
            reading.source.live.store(false, Ordering::Relaxed);
            match round {
                Ok(()) => {}
                Err(Stopped::Ended) => return Ok(()),
                Err(Stopped::Failed(error)) => return Err(error),
            }
        }
    }
}

impl Reading {
    fn seq(&self) -> Seq {
        self.source.builder.seq()
    }

    fn open(&mut self) -> Result<Follower, Stopped> {
        loop {
            let Origin { feed, disk, journal, registry } = &self.source.origin;
            match Follower::open(disk.clone(), journal, feed.engine(), registry, self.seq()) {
                Err(error) if error.is_passing() => self.pause(&error)?,
                other => return Ok(other?),
            }
        }
    }

    fn pause(&mut self, error: &FollowError) -> Result<(), Stopped> {
        tracing::warn!(code = "projection_waits", %error, "the journal cannot be followed just now");
        std::thread::sleep(RETRY);
        self.flush(false)?;
        if self.source.ending.load(Ordering::Acquire) { Err(Stopped::Ended) } else { Ok(()) }
    }

    /// Reads the journal until it meets the live feed; returns the item there.
    fn journal(&mut self, live: &Subscription) -> Result<Told, Stopped> {
        let (mut follower, mut named, mut met) = (self.open()?, false, None);
        loop {
            let facts = match follower.next(self.source.origin.feed.durable()) {
                Ok(facts) => facts,
                Err(error) if error.is_passing() => {
                    self.pause(&error)?;
                    (follower, named) = (self.open()?, false);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let renames = facts.as_ref().and_then(|facts| facts.cause.as_ref()).is_some_and(Cause::renames);
            if renames || !named {
                (self.names, named) = (follower.names(), true);
            }
            if let Some(facts) = facts {
                self.add(&facts)?;
                continue;
            }
            self.source.builder.pass(follower.seq());
            if let Some(told) = self.meet(live, &mut met) {
                return Ok(told);
            }
            self.rest()?;
        }
    }

    /// The live item that follows what is known, if it is there.
    fn meet(&self, live: &Subscription, met: &mut Option<Told>) -> Option<Told> {
        loop {
            let told = match met.take() {
                Some(told) => told,
                None => match live.look() {
                    Next::Told(told) => told,
                    Next::Behind => {
                        live.rejoin();
                        return None;
                    }
                    Next::Nothing => return None,
                },
            };
            if told.facts.seq <= self.seq() {
                continue;
            }
            match told.after {
                Some(after) if after <= self.seq() => return Some(told),
                // The journal has to come so far first.
                Some(_) => *met = Some(told),
                // Only the journal tells what counts.
                None => continue,
            }
            return None;
        }
    }

    /// Reads the live feed until it shows a hole.
    fn live(&mut self, live: &Subscription, first: Told) -> Result<(), Stopped> {
        let mut held = Some(first);
        loop {
            let feed = &self.source.origin.feed;
            let durable = feed.durable();
            if let Some(told) = held.take() {
                if told.facts.seq <= self.seq() {
                    continue;
                }
                if told.after.is_none_or(|after| after > self.seq()) {
                    return Ok(());
                }
                if told.facts.seq > durable {
                    self.source.builder.pass(Seq(told.facts.seq.0 - 1).min(durable));
                    held = Some(told);
                    self.rest()?;
                    continue;
                }
                self.names.follow(&told.facts);
                self.add(&told.facts)?;
                continue;
            }
            // What is queued after this look came after this step.
            let passed = feed.passed();
            match live.look() {
                Next::Told(told) => held = Some(told),
                Next::Behind => return Ok(()),
                Next::Nothing => {
                    self.source.builder.pass(passed.min(durable));
                    self.rest()?;
                }
            }
        }
    }

    fn add(&mut self, facts: &Facts) -> Result<(), Stopped> {
        self.source.builder.add(facts, &self.names)?;
        self.flush(false)
    }

    /// Nothing more is there: sends what is old enough, and looks away for a moment, or ends.
    fn rest(&mut self) -> Result<(), Stopped> {
        let ending = self.source.ending.load(Ordering::Acquire);
        self.flush(ending)?;
        if ending {
            return Err(Stopped::Ended);
        }
        std::thread::sleep(LOOK);
        Ok(())
    }

    fn flush(&mut self, now: bool) -> Result<(), Stopped> {
        let Source { builder, out, .. } = &mut self.source;
        if builder.rows() > 0 && self.since.is_none() {
            self.since = Some(Instant::now());
        }
        let full = builder.rows() >= ROWS || self.since.is_some_and(|since| since.elapsed() >= AGE);
        if builder.is_empty() || !(full || now || self.sent.elapsed() >= IDLE) {
            return Ok(());
        }
        (self.since, self.sent) = (None, Instant::now());
        // Whoever took the batches is gone: so is the need for more.
        out.blocking_send(builder.take()).map_err(|_| Stopped::Ended)
    }
}
