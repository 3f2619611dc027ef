//! Watching over loops: how they end, and whether they make progress at all.
//!
//! A blocked thread can run no watcher either: only looks that come in time count, so a thread that was held up for a while does not
//! make its loops look stalled. That the thread itself is blocked is seen from outside of it.

use super::{Cause, Exit, Line, Part};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle};

/// Looks in a row that must find no progress.
const LOOKS: u32 = 4;

/// The progress of a loop. Clones are the same; any thread may tell it.
#[derive(Debug, Clone, Default)]
pub struct Beat(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    count: AtomicU64,
    waits: AtomicUsize,
}

impl Beat {
    /// Progress was made.
    pub fn beat(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    /// From here on it waits for something that may take any time, until the guard is dropped: that is no stall.
    pub fn wait(&self) -> Waiting {
        self.0.waits.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }

    /// Waits for this on purpose: [`Beat::wait`] around a future.
    pub async fn waiting<T>(&self, future: impl Future<Output = T>) -> T {
        let _waiting = self.wait();
        future.await
    }

    /// Its count, for a [`stalled`]; `None` while it waits on purpose.
    pub fn progress(&self) -> Option<u64> {
        let count = self.0.count.load(Ordering::Relaxed);
        (self.0.waits.load(Ordering::Relaxed) == 0).then_some(count)
    }
}

/// A deliberate wait; over when it is dropped.
#[derive(Debug)]
#[must_use = "the wait is over when the guard is dropped"]
pub struct Waiting(Beat);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.beat();
        self.0.0.waits.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Comes back when `progress` stood still for `bound`. `None`: a deliberate wait.
pub async fn stalled(bound: Duration, progress: impl Fn() -> Option<u64>) {
    let (mut last, mut still) = (progress(), 0);
    while still < LOOKS {
        tokio::time::sleep(bound / LOOKS).await;
        let seen = progress();
        still = if seen.is_some() && seen == last { still + 1 } else { 0 };
        last = seen;
    }
}

/// Runs a task for a part: when it ends, by a panic too, or makes no progress for `bound`, the part's actor is told. Aborting it
/// tells nothing.
pub fn watch<P: Part>(
    line: &Line<P>,
    child: usize,
    (beat, bound): (Beat, Duration),
    task: impl Future<Output = Exit> + 'static,
) -> JoinHandle<()> {
    let line = line.clone();
    let task = tokio::task::spawn_local(task);
    let inner = AbortOnDrop(task.abort_handle());
    tokio::task::spawn_local(async move {
        let exit = tokio::select! {
            ended = task => match ended {
                Ok(exit) => exit,
                Err(error) if error.is_panic() => {
                    Exit::Panicked(qcat_io::shell::panic_text(&*error.into_panic()).into())
                }
                Err(_) => return,
            },
            () = stalled(bound, || beat.progress()) => Exit::Stalled,
        };
        drop(inner);
        line.ended(child, Cause::Loop(exit));
    })
}

/// Tells the part's actor when `progress` stands still for `bound`, of what is not a single task. Until it is aborted.
pub fn watch_progress<P: Part>(
    line: &Line<P>,
    child: usize,
    bound: Duration,
    progress: impl Fn() -> Option<u64> + 'static,
) -> AbortOnDrop {
    let line = line.clone();
    let task = tokio::task::spawn_local(async move {
        stalled(bound, progress).await;
        line.ended(child, Cause::Loop(Exit::Stalled));
    });
    AbortOnDrop(task.abort_handle())
}

/// Aborts a task when it is dropped.
#[derive(Debug)]
pub struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(4);

    #[tokio::test(start_paused = true)]
    async fn only_what_neither_moves_nor_waits_is_stalled() {
        let beat = Beat::default();
        let stall = |beat: &Beat| {
            let beat = beat.clone();
            async move { tokio::time::timeout(10 * BOUND, stalled(BOUND, || beat.progress())).await.is_ok() }
        };
        assert!(stall(&beat).await);
        let waiting = beat.wait();
        assert!(!stall(&beat).await);
        drop(waiting);
        let moving = beat.clone();
        let mover = tokio::spawn(async move {
            loop {
                tokio::time::sleep(BOUND / 2).await;
                moving.beat();
            }
        });
        assert!(!stall(&beat).await);
        mover.abort();
        assert!(stall(&beat).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_was_held_up_is_no_stall() {
        let beat = Beat::default();
        let slow = beat.clone();
        let stalled = stalled(BOUND, move || slow.progress());
        tokio::pin!(stalled);
        for _ in 0..5 {
            // Neither the loop nor the one who looks after it has its turn meanwhile.
            assert!(futures(&mut stalled).await);
            tokio::time::advance(20 * BOUND).await;
            assert!(futures(&mut stalled).await);
            beat.beat();
        }
    }

    /// One turn; true: not over yet.
    async fn futures(stalled: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *stalled).poll(context).is_pending())
        })
        .await
    }
}
