//! A stop under way: new risk is refused, then each component has its time, in order. The last snapshot and sync come after
//! `risk_engine`, the journal closes after `database` has drained.

use super::Inner;
use crate::runtime::component::Component;
use crate::runtime::console::Phase;
use crate::runtime::lane::{Lane, LaneState};
use crate::runtime::stop::{LastState, StopReport, StopState};
use crate::runtime::supervise::Managed;
use qcat_core::event::{HaltReason, Input, Scope};
use qcat_io::journal::SnapshotWriteError;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked whether the engine took the halt.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long an actor may take to abort its component.
const ABORT: Duration = Duration::from_millis(500);

/// A stop under way.
pub(super) struct Stop(pub Rc<Inner>);

impl Stop {
    pub(super) async fn run(&self) {
        let within = self.0.plan.force_shutdown_after();
        let forced = tokio::time::timeout(within, self.in_order()).await.is_err();
        self.update(|report| (report.forced, report.over) = (forced, true));
        self.0.shared.phase(Phase::Stopped, None);
    }

    async fn in_order(&self) {
        let began = Instant::now();
        self.0.shared.phase(Phase::Stopping, None);
        self.refuse_new_risk().await;
        for (at, component) in self.0.plan.order().iter().enumerate() {
            let part = self.0.part(*component);
            match part {
                Some(part) => self.one(at, &*part, self.0.plan.allowance(*component, began.elapsed())).await,
                // The start did not come so far: there is nothing to stop.
                None => self.over(at, *component, StopState::Stopped, Duration::ZERO, None),
            }
            match component {
                Component::RiskEngine => self.finish(),
                Component::Database => self.close(),
                _ => {}
            }
        }
    }

    /// Before any component stops: nothing that adds risk leaves any more, what lowers it still does. The rest follows even if
    /// the engine does not take it in time.
    async fn refuse_new_risk(&self) {
        let Some(lane) = self.0.lane() else { return };
        let (scope, reason) = (Scope::All, HaltReason::Stopping);
        lane.offer(Input::Halt { scope, reason });
        let halted = async {
            while lane.state() == LaneState::Running && !lane.read(|e| e.risk().view().halts.contains(&(scope, reason)))
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(self.0.plan.signal_timeout(), halted).await.is_err() {
            tracing::error!(code = "halt_not_taken", "the engine did not take the halt in time; the stop goes on");
        }
    }

    fn close(&self) {
        let Some(lane) = self.0.lane() else { return };
        self.note_last_state(&lane);
        if let Err(error) = lane.close() {
            tracing::error!(code = "journal_not_closed", %error, "the journal was not closed in order");
            self.update(|report| report.journal = Some(error.to_string()));
        }
    }

    /// Nothing is admitted between this and the end of the journal: both come in one breath.
    fn note_last_state(&self, lane: &Lane) {
        if lane.state() == LaneState::Running {
            let (seq, state_hash) = lane.read(|engine| (engine.seq().0, engine.state_hash()));
            tracing::info!(seq, state_hash = %format_args!("{state_hash:016x}"), "the last state");
            self.update(|report| report.last = Some(LastState { seq, state_hash }));
        }
    }

    fn finish(&self) {
        let Some(lane) = self.0.lane() else { return };
        match lane.finish() {
            Ok(()) => {}
            Err(SnapshotWriteError::Journal(error)) => {
                tracing::error!(code = "journal_not_durable", %error, "the journal is not durable to its end");
                self.update(|report| report.journal = Some(error.to_string()));
            }
            // The journal alone is enough to recover: nothing is lost, and the stop is in order.
            Err(error) => {
                tracing::error!(code = "snapshot_failed", %error, "the last snapshot was not written: the next start takes longer")
            }
        }
    }

    async fn one(&self, at: usize, part: &dyn Managed, allowed: Duration) {
        let component = part.component();
        if self.0.plan.log_progress() {
            tracing::info!(%component, ?allowed, "stops");
        }
        let began = Instant::now();
        self.update(|report| {
            let status = &mut report.components[at];
            (status.state, status.allowed_ms) = (StopState::Running, millis(allowed));
        });
        let in_time = !allowed.is_zero() && tokio::time::timeout(allowed, part.drain()).await.is_ok();
        let mut left = None;
        if !in_time {
            // A thread that is blocked answers nothing: it is not waited for.
            left = match tokio::time::timeout(ABORT, part.abort()).await {
                Ok(left) => left,
                Err(_) => Some("its actor does not answer".to_owned()),
            };
            tracing::error!(code = "stop_overran", %component, left = left.as_deref().unwrap_or("nothing"), "did not stop in time: aborted");
        }
        let state = match (in_time, allowed.is_zero()) {
            (true, _) => StopState::Stopped,
            (false, true) => StopState::Skipped,
            (false, false) => StopState::Failed,
        };
        self.over(at, component, state, began.elapsed(), left);
    }

    fn over(&self, at: usize, component: Component, state: StopState, took: Duration, left: Option<String>) {
        let took_ms = millis(took);
        if self.0.plan.log_progress() {
            tracing::info!(%component, ?state, took_ms, "stopped");
        }
        self.0.shared.unstopped.stopped(component);
        self.update(|report| {
            let status = &mut report.components[at];
            (status.state, status.took_ms, status.left) = (state, took_ms, left);
        });
    }

    fn update(&self, change: impl FnOnce(&mut StopReport)) {
        self.0.shared.report(|report| {
            if let Some(report) = report {
                change(report);
            }
        });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
