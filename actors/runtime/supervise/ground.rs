//! What a component stands on: the lane's thread, or the system arbiter.

use crate::runtime::lane::{Lane, LaneState};
use qcat_core::event::{HaltReason, Input, Scope};
use qcat_core::time::{Span, Ts};
use std::sync::Arc;
use tokio::time::Instant;

/// What supervision needs of the thread that a component lives on.
pub trait Ground: Clone + Unpin + 'static {
    /// A time that never decreases, for budgets.
    fn now(&self) -> Ts;
    /// Stops new risk.
    fn halt(&self, scope: Scope, reason: HaltReason);
    /// The process has to end.
    fn lose(&self, reason: String);
}

impl Ground for Lane {
    fn now(&self) -> Ts {
        Lane::now(self)
    }

    fn halt(&self, scope: Scope, reason: HaltReason) {
        if self.state() == LaneState::Running {
            self.offer(Input::Halt { scope, reason });
        } else {
            // An engine that does not step any more cannot halt by itself, nor cancel.
            self.latch().set(reason);
            self.give_up();
        }
    }

    fn lose(&self, reason: String) {
        Lane::lose(self, reason);
    }
}

/// The system arbiter: nothing there reaches into the engine.
#[derive(Clone)]
pub struct SystemGround {
    began: Instant,
    lost: Arc<dyn Fn(String) + Send + Sync>,
}

impl SystemGround {
    /// `lost` is told why the process has to end.
    pub(crate) fn new(lost: Arc<dyn Fn(String) + Send + Sync>) -> SystemGround {
        SystemGround { began: Instant::now(), lost }
    }
}

impl Ground for SystemGround {
    fn now(&self) -> Ts {
        Ts::ZERO.plus(Span::from_nanos(i64::try_from(self.began.elapsed().as_nanos()).unwrap_or(i64::MAX)))
    }

    /// No row of the policy table asks for it; should one, the process ends rather than trade on.
    fn halt(&self, scope: Scope, reason: HaltReason) {
        self.lose(format!("a halt of {scope:?} ({reason:?}) from where no lane is"));
    }

    fn lose(&self, reason: String) {
        (self.lost)(reason);
    }
}
