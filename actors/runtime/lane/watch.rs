//! Times the steps of strategies from outside the engine, and publishes every step for the watchdog.

use crate::runtime::watchdog::Pulse;
use qcat_core::engine::Observer;
use qcat_core::event::{Event, Station};
use qcat_core::id::{Seq, StrategyIx};
use qcat_core::time::{Span, Ts};
use qcat_io::clock::Clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Steps that took too long, until the lane takes them.
#[derive(Debug, Default)]
pub(super) struct SlowSteps {
    any: AtomicBool,
    list: Mutex<Vec<(StrategyIx, Span)>>,
}

impl SlowSteps {
    pub fn take(&self) -> Vec<(StrategyIx, Span)> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, strategy: StrategyIx, took: Span) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((strategy, took));
        self.any.store(true, Ordering::Release);
    }
}

/// The lane's observer of its engine, in front of somebody else's.
pub(super) struct StepWatch {
    pub pulse: Arc<Pulse>,
    pub clock: Arc<dyn Clock>,
    pub budget: Span,
    pub slow: Arc<SlowSteps>,
    pub began: Span,
    pub inner: Option<Box<dyn Observer>>,
}

impl Observer for StepWatch {
    fn before_step(&mut self, station: Station, seq: Seq, event: &Event) {
        self.pulse.step(station, seq);
        if let Some(inner) = &mut self.inner {
            inner.before_step(station, seq, event);
        }
        if matches!(station, Station::Runner(_)) {
            self.began = self.clock.monotonic();
        }
    }

    fn after_step(&mut self, station: Station, seq: Seq) {
        if let Station::Runner(strategy) = station {
            let took = Span::from_nanos(self.clock.monotonic().nanos().saturating_sub(self.began.nanos()));
            if took > self.budget {
                self.slow.push(strategy, took);
            }
        }
        if let Some(inner) = &mut self.inner {
            inner.after_step(station, seq);
        }
    }

    fn event(&mut self, seq: Seq, now: Ts, event: &Event) {
        if let Some(inner) = &mut self.inner {
            inner.event(seq, now, event);
        }
    }
}
