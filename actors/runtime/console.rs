//! The console: what other threads may see and ask of the running system.
//!
//! Clones are the same and may go anywhere. Phase and stop report are read where the caller is; everything else is a message to the
//! system's actor on the trading thread, answered between two steps. Nobody waits for a caller there.

use super::component::Component;
use super::lane::Lane;
use super::stop::{StopReport, Unstopped};
use super::supervise::NotRestarted;
use super::system::{GetTree, OnLane, RestartPart, SystemActor, Tree};
use actix::prelude::*;
use serde::Serialize;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long the trading thread may take to answer a look at everything.
const ANSWER: Duration = Duration::from_secs(3);

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The journal is not recovered yet.
    Starting,
    /// The journal is recovered.
    Recovered,
    /// It waits for the exchange, which has not told its contracts yet.
    WaitingForExchange,
    /// The lane runs. Whether orders may leave is a matter of halts and trust.
    Running,
    /// It stops: nothing new is taken on.
    Stopping,
    /// It has stopped.
    Stopped,
}

/// How far the daemon is, and why it is no further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhaseView {
    /// How far.
    pub phase: Phase,
    /// What it waits for, or why it stops.
    pub reason: Option<String>,
}

/// What is read without the trading thread.
pub(crate) struct Shared {
    phase: watch::Sender<PhaseView>,
    report: Mutex<Option<StopReport>>,
    stop_wanted: watch::Sender<Option<String>>,
    force: Box<dyn Fn() + Send + Sync>,
    pub(crate) unstopped: Unstopped,
}

impl Shared {
    pub(crate) fn new(unstopped: Unstopped, force: Box<dyn Fn() + Send + Sync>) -> Arc<Shared> {
        let phase = watch::Sender::new(PhaseView { phase: Phase::Starting, reason: None });
        let (report, stop_wanted) = (Mutex::default(), watch::Sender::new(None));
        Arc::new(Shared { phase, report, stop_wanted, force, unstopped })
    }

    /// The daemon came this far. It never goes back from a stop.
    pub(crate) fn phase(&self, phase: Phase, reason: Option<String>) {
        self.phase.send_if_modified(|view| {
            let next = PhaseView { phase, reason };
            let changes = *view != next && !(view.phase >= Phase::Stopping && phase < view.phase);
            if changes {
                *view = next;
            }
            changes
        });
    }

    pub(crate) fn current_phase(&self) -> PhaseView {
        self.phase.borrow().clone()
    }

    pub(crate) fn report<T>(&self, change: impl FnOnce(&mut Option<StopReport>) -> T) -> T {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn stop_wanted(&self) -> String {
        let mut wanted = self.stop_wanted.subscribe();
        match wanted.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // `self` holds the sender.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsoleError {
    /// There is no lane yet.
    #[error("the daemon is still starting")]
    NoLane,
    /// The trading thread did not answer in time, or the system's actor is gone.
    #[error("the trading thread does not answer")]
    NoAnswer,
    /// The part was not restarted.
    #[error(transparent)]
    NotRestarted(#[from] NotRestarted),
}

/// The way to the running system, for every other thread.
#[derive(Clone)]
pub struct Console {
    system: Addr<SystemActor>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Console").field(&self.phase()).finish()
    }
}

impl Console {
    pub(super) fn new(system: Addr<SystemActor>, shared: Arc<Shared>) -> Console {
        Console { system, shared }
    }

    /// How far the daemon is.
    pub fn phase(&self) -> PhaseView {
        self.shared.current_phase()
    }

    /// Sees every change of [`Console::phase`].
    pub fn phases(&self) -> watch::Receiver<PhaseView> {
        self.shared.phase.subscribe()
    }

    /// How far the stop is; `None`: it has not begun. It changes while the stop goes on.
    pub fn stop_report(&self) -> Option<StopReport> {
        self.shared.report(|report| report.clone())
    }

    /// The components that are not stopped.
    pub fn unstopped(&self) -> Unstopped {
        self.shared.unstopped.clone()
    }

    /// Everything at one look. `Err`: the trading thread does not answer, which is so while a long journal is recovered, too.
    pub async fn tree(&self) -> Result<Tree, ConsoleError> {
        self.ask(self.system.send(GetTree)).await
    }

    /// Stops the daemon in order, as a signal would; returns at once. `why` is for the log.
    pub fn stop(&self, why: &str) {
        self.shared.stop_wanted.send_if_modified(|wanted| {
            let first = wanted.is_none();
            wanted.get_or_insert_with(|| why.to_owned());
            first
        });
    }

    /// Ends the process as a second signal would: what is not stopped is named, and the exit code tells.
    pub fn force(&self) {
        (self.shared.force)();
    }

    /// Restarts a part of a component, or all of its parts, with a fresh budget.
    pub async fn component_restart(&self, component: Component, child: Option<String>) -> Result<(), ConsoleError> {
        Ok(self.ask(self.system.send(RestartPart(component, child))).await??)
    }

    /// Runs this on the trading thread between two steps, to read the lane or to offer it something. It must be short, a few
    /// microseconds: orders wait for it. It must not panic.
    pub async fn on_lane<R: Send + 'static>(
        &self,
        call: impl FnOnce(&Lane) -> R + Send + 'static,
    ) -> Result<R, ConsoleError> {
        let (done, answer) = oneshot::channel();
        let call = move |lane: Option<&Lane>| {
            // Whoever asked may be gone.
            let _ = done.send(lane.map(call));
        };
        self.ask(self.system.send(OnLane(Box::new(call)))).await?;
        answer.await.map_err(|_| ConsoleError::NoAnswer)?.ok_or(ConsoleError::NoLane)
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T, MailboxError>>) -> Result<T, ConsoleError> {
        match tokio::time::timeout(ANSWER, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(ConsoleError::NoAnswer),
        }
    }
}
