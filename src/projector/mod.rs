//! The projections: rows in SQL that say what the journal says, and how far they have come.
//!
//! In: the live feed and the journal ([`source`]), a store. Out: batches, each applied with its checkpoint in one transaction, in
//! order, again and again while the database is away; trading never waits for any of it. A batch that was half done or
//! done without an answer is told again and changes nothing. When the journal no longer holds what the store has not, nothing is
//! patched over: the projections stop, an alert says so, and a rebuild begins anew.
//! Tests: `tests/projections.rs` (daemons at a simulator, a real PostgreSQL server and SQLite; outages, kills).

pub mod database;
mod lag;
pub mod rows;
mod source;
pub mod words;

pub use lag::Behind;
pub use source::{Origin, SourceError};

use qcat_core::id::Seq;
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::journal::FollowError;
use qcat_io::store::{Checkpoint, Filter, Micros, Page, Store, StoreError, Text};
use rows::{Builder, number};
use source::Source;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Batches that may wait for the store.
const BATCHES: usize = 4;
/// First pause after the database was away; doubles up to the second.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// How long a stop waits for a database that is away.
const LAST: Duration = Duration::from_secs(2);
/// How often what is too old is deleted.
const RETENTION_EVERY: Duration = Duration::from_secs(3_600);

/// How long rows are kept that grow without end.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Decisions.
    pub decisions: Duration,
    /// Samples of equity.
    pub equity: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Retention { decisions: days(90), equity: days(730) }
    }
}

/// Whoever supervises the projections. Calls only note.
pub trait Attendant {
    /// They progress, or wait for what is away.
    fn beat(&self);
    /// Something that operators should see.
    fn fact(&self, name: &'static str, value: String);
}

/// Why the projections cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    /// The store takes nothing any more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are no more facts.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The journal no longer holds what the store has not.
    #[error(
        "the database has everything up to input {}, but the journal was cut behind it: `qcat database rebuild` begins anew with what there is",
        .0.0
    )]
    Gap(Seq),
    /// The store knows of more than the journal holds: they do not belong together.
    #[error(
        "the database has everything up to input {}, but the journal ends with input {}: it belongs to another journal, or records are \
         lost; `qcat database rebuild` begins anew",
        .checkpoint.0, .journal.0
    )]
    Ahead {
        /// Up to where the store is.
        checkpoint: Seq,
        /// Where the journal is.
        journal: Seq,
    },
    /// The thread could not be started, or panicked.
    #[error("the projections' thread: {0}")]
    Thread(String),
}

/// Projects one engine's facts into a store.
#[derive(Clone)]
pub struct Projector {
    /// Where the facts come from.
    pub origin: Origin,
    /// Where the rows go.
    pub store: Arc<dyn Store>,
    /// How long rows are kept.
    pub retention: Retention,
}

/// What is under way to the store.
struct Line {
    batches: mpsc::Receiver<qcat_io::store::Batch>,
    ended: oneshot::Receiver<Result<(), SourceError>>,
    ending: Arc<AtomicBool>,
    live: Arc<AtomicBool>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
    }
}

impl Projector {
    /// Runs until `stop`, then until what is durable is in the store, or the database is away for too long: the next start goes on
    /// from the checkpoint.
    pub async fn run(&self, on: &impl Attendant, stop: impl Future<Output = ()>) -> Result<(), ProjectorError> {
        let mut stop = std::pin::pin!(stop);
        let mut after = tokio::select! {
            begun = self.begin(on) => begun?,
            () = &mut stop => return Ok(()),
        };
        self.origin.feed.has(after);
        let mut line = self.start(after).await?;
        let (mut stopping, mut swept) = (None, None);
        loop {
            let batch = tokio::select! {
                batch = line.batches.recv() => batch,
                () = &mut stop, if stopping.is_none() => {
                    line.ending.store(true, Ordering::Release);
                    stopping = Some(Instant::now());
                    continue;
                }
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    self.show(after, &line, on);
                    continue;
                }
            };
            let Some(batch) = batch else { break };
            let last = Seq(batch.last.unsigned_abs());
            let applied = tokio::select! {
                applied = self.apply(batch, on) => applied,
                () = out_of_time(&mut stop, &mut stopping) => {
                    tracing::warn!(code = "projection_unfinished", checkpoint = after.0,
                        "the database is away at the stop; the next start goes on from its checkpoint");
                    return Ok(());
                }
            };
            applied?;
            after = last;
            self.origin.feed.has(after);
            self.show(after, &line, on);
            if swept.is_none_or(|at: Instant| at.elapsed() >= RETENTION_EVERY) {
                swept = Some(Instant::now());
                self.sweep().await;
            }
        }
        let ended = (&mut line.ended).await.map_err(|_| ProjectorError::Thread("it panicked".to_owned()))?;
        self.show(after, &line, on);
        match ended {
            Ok(()) => Ok(()),
            Err(SourceError::Follow(FollowError::Gone { after, .. })) => {
                tracing::error!(
                    code = "projection_gap",
                    checkpoint = after.0,
                    "the journal no longer holds what the database has not; `qcat database rebuild` begins anew"
                );
                Err(ProjectorError::Gap(after))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Where the store is. An empty one begins with the first input that the journal still tells of.
    async fn begin(&self, on: &impl Attendant) -> Result<Seq, ProjectorError> {
        let engine = i64::from(self.origin.feed.engine());
        let found = self.until_there(on, || self.store.checkpoint(engine)).await?;
        if let Some(Checkpoint { seq, .. }) = found {
            let (checkpoint, journal) = (Seq(seq.unsigned_abs()), self.origin.feed.passed());
            return if checkpoint > journal {
                Err(ProjectorError::Ahead { checkpoint, journal })
            } else {
                Ok(checkpoint)
            };
        }
        let Origin { disk, journal, registry, feed } = self.origin.clone();
        let first =
            move || qcat_io::journal::Follower::open(disk, &journal, feed.engine(), &registry, Seq(0)).map(drop);
        let opened = tokio::task::spawn_blocking(first).await.map_err(|e| ProjectorError::Thread(e.to_string()))?;
        match opened {
            Err(FollowError::Gone { from: Some(from), .. }) => {
                tracing::warn!(
                    code = "projection_begins_late",
                    input = from.0,
                    "the journal before this input is gone: the database's history begins after it"
                );
                self.until_there(on, || self.store.start_after(engine, number(from))).await?;
                Ok(from)
            }
            // What may pass is tried again by the source.
            Err(FollowError::Gone { after, from: None }) => Err(ProjectorError::Gap(after)),
            Ok(()) | Err(_) => Ok(Seq(0)),
        }
    }

    /// Starts the source behind an input.
    async fn start(&self, after: Seq) -> Result<Line, ProjectorError> {
        let sampled = self.sampled().await?;
        let (out, batches) = mpsc::channel(BATCHES);
        let (tell, ended) = oneshot::channel();
        let (ending, live) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let builder = Builder::new(self.origin.feed.engine(), after, sampled);
        let (origin, ending_too, live_too) = (self.origin.clone(), ending.clone(), live.clone());
        let work = move || {
            let source = Source { origin, builder, out, ending: ending_too, live: live_too };
            // Whoever asked may be gone.
            let _ = tell.send(source.run());
        };
        let spawned = std::thread::Builder::new().name("qcat-projector".to_owned()).spawn(work);
        spawned.map_err(|error| ProjectorError::Thread(error.to_string()))?;
        Ok(Line { batches, ended, ending, live })
    }

    /// When each account was last sampled, so that a restart samples no minute twice.
    async fn sampled(&self) -> Result<Vec<(Text, Micros)>, StoreError> {
        let mut sampled = Vec::new();
        for account in &self.origin.feed.names().config.accounts {
            let filter = Filter { account: Some(account.name.clone()), ..Filter::default() };
            let newest = self.store.equity(filter, Page { limit: 1, cursor: None }).await?;
            sampled.extend(newest.rows.into_iter().map(|row| (row.account, row.at)));
        }
        Ok(sampled)
    }

    /// Applies a batch, however long the database is away.
    async fn apply(&self, batch: qcat_io::store::Batch, on: &impl Attendant) -> Result<(), StoreError> {
        self.until_there(on, || self.store.apply(batch.clone())).await.map(drop)
    }

    /// Asks the store until it answers.
    async fn until_there<T>(
        &self,
        on: &impl Attendant,
        ask: impl Fn() -> qcat_io::store::Answer<T>,
    ) -> Result<T, StoreError> {
        let mut pause = BACKOFF[0];
        loop {
            on.beat();
            match ask().await {
                Err(error) if error.is_retryable() => {
                    if pause == BACKOFF[0] {
                        tracing::warn!(code = "database_away", %error, "the database is away; its rows wait in the journal");
                    }
                    on.fact("state", format!("away: {error}"));
                }
                answer => {
                    if pause != BACKOFF[0] {
                        tracing::info!(code = "database_back", "the database answers again");
                    }
                    return answer;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF[1]);
        }
    }

    /// Deletes what is too old. A failure is no loss: the next time deletes it.
    async fn sweep(&self) {
        let now = Micros::from(SystemClock::new().wall()).get();
        let before =
            |kept: Duration| Micros::new(now.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX)));
        let deleted = self.store.delete_decisions(before(self.retention.decisions)).await;
        if let Err(error) = deleted.and(self.store.delete_equity(before(self.retention.equity)).await) {
            tracing::warn!(code = "retention_failed", %error, "old rows were not deleted");
        }
    }

    fn show(&self, applied: Seq, line: &Line, on: &impl Attendant) {
        on.beat();
        let behind = self.origin.feed.passed().0.saturating_sub(applied.0);
        on.fact("checkpoint", applied.0.to_string());
        on.fact("inputs_behind", behind.to_string());
        on.fact("reads", if line.live.load(Ordering::Relaxed) { "live" } else { "journal" }.to_owned());
        on.fact("state", "working".to_owned());
    }
}

/// Comes back when a stop has waited long enough.
async fn out_of_time(stop: &mut (impl Future<Output = ()> + Unpin), stopping: &mut Option<Instant>) {
    let since = match *stopping {
        Some(since) => since,
        None => {
            stop.await;
            *stopping.insert(Instant::now())
        }
    };
    tokio::time::sleep(LAST.saturating_sub(since.elapsed())).await;
}
