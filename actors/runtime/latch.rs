//! The halt latch: any thread sets it; the lane admits the halt before anything else and sends nothing that adds risk.
//!
//! It is no state of the engine: a node never reads it. What it led to is journaled as `Input::Halt`.

use qcat_core::event::HaltReason;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The reasons by the number that stands for them, counted from 1.
const REASONS: [HaltReason; 10] = [
    HaltReason::KillSwitch,
    HaltReason::DailyLoss,
    HaltReason::Fault,
    HaltReason::ImpossibleReport,
    HaltReason::Settings,
    HaltReason::ExposureMismatch,
    HaltReason::Stopping,
    HaltReason::Instrument,
    HaltReason::ControlLost,
    HaltReason::Runaway,
];

/// The latch. The first reason stays until it is cleared.
#[derive(Debug, Default)]
pub struct HaltLatch {
    /// How often it was set, in the upper 56 bits; the reason's number, 0 for none, in the lowest 8.
    word: AtomicU64,
    lanes: Mutex<Vec<Arc<Notify>>>,
}

impl HaltLatch {
    /// A latch that is not set.
    pub fn new() -> Arc<HaltLatch> {
        Arc::default()
    }

    /// Sets it and wakes every lane.
    pub fn set(&self, reason: HaltReason) {
        let code = REASONS.iter().position(|r| *r == reason).map_or(1, |at| at as u64 + 1);
        let raise = |word: u64| (word & 0xff == 0).then_some(((word >> 8) + 1) << 8 | code);
        if self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise).is_ok() {
            let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.iter().for_each(|lane| lane.notify_one());
        }
    }

    /// Clears it. The halt that it led to stays until an operator resumes.
    pub fn clear(&self) {
        self.word.fetch_and(!0xff, Ordering::AcqRel);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.word.load(Ordering::Acquire) & 0xff != 0
    }

    /// How often it was set so far, and why, while it is set.
    pub fn get(&self) -> Option<(u64, HaltReason)> {
        let word = self.word.load(Ordering::Acquire);
        let at = usize::try_from(word & 0xff).ok()?.checked_sub(1)?;
        Some((word >> 8, REASONS[at]))
    }

    /// Has a lane woken when the latch is set.
    pub(super) fn wakes(&self, lane: Arc<Notify>) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_each_setting_counts() {
        let latch = HaltLatch::new();
        assert_eq!((latch.get(), latch.is_set()), (None, false));
        latch.set(HaltReason::ControlLost);
        latch.set(HaltReason::KillSwitch);
        assert_eq!(latch.get(), Some((1, HaltReason::ControlLost)));
        latch.clear();
        assert_eq!(latch.get(), None);
        for (at, reason) in REASONS.into_iter().enumerate() {
            latch.set(reason);
            assert_eq!(latch.get(), Some((at as u64 + 2, reason)));
            latch.clear();
        }
    }
}
