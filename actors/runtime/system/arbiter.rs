//! The system arbiter: a thread with a runtime of its own, for every actor that is not beside the lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

/// How often it shows that it is not blocked.
const PULSE: Duration = Duration::from_millis(100);

pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The thread. It ends when this is dropped, whatever still runs on it.
#[derive(Debug)]
pub(super) struct SystemArbiter {
    jobs: mpsc::UnboundedSender<Job>,
    pulse: Arc<AtomicU64>,
}

impl SystemArbiter {
    pub fn start() -> std::io::Result<SystemArbiter> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let pulse = Arc::new(AtomicU64::new(0));
        let beats = pulse.clone();
        std::thread::Builder::new().name("qcat-system".to_owned()).spawn(move || {
            let local = LocalSet::new();
            local.spawn_local(async move {
                loop {
                    beats.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PULSE).await;
                }
            });
            local.block_on(&runtime, async {
                while let Some(job) = queue.recv().await {
                    job();
                }
            });
            drop(local);
            // Blocking work that does not come back must not keep the thread.
            runtime.shutdown_background();
        })?;
        Ok(SystemArbiter { jobs, pulse })
    }

    /// Runs this on the thread, inside its `LocalSet`. `None`: the thread is gone.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let job = move || {
            // Whoever asked may be gone.
            let _ = done.send(job());
        };
        self.jobs.send(Box::new(job)).ok()?;
        answer.await.ok()
    }

    /// Where jobs for the thread go.
    pub fn jobs(&self) -> mpsc::UnboundedSender<Job> {
        self.jobs.clone()
    }

    /// Moves while the thread is not blocked.
    pub fn pulse(&self) -> u64 {
        self.pulse.load(Ordering::Relaxed)
    }
}
