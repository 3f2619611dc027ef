//! How far the projections are behind the lane, in inputs and in time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the lane is looked at: so exact is the time.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Looks that are kept; of more, every second one is forgotten.
const LOOKS_MAX: usize = 4_096;

/// How far behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behind {
    /// Inputs that the lane has done and the database has not.
    pub inputs: u64,
    /// For how long the oldest of them has been waiting, a quarter of a second too little at most.
    pub time: Duration,
}

/// What the lane had done when it was looked at, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Lag(Mutex<VecDeque<(Instant, u64)>>);

impl Lag {
    /// The lane has done this much by now.
    pub fn look(&self, now: Instant, done: u64) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.back().is_some_and(|(_, seen)| *seen >= done) {
            return;
        }
        if looks.len() >= LOOKS_MAX {
            let mut keep = false;
            looks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        looks.push_back((now, done));
    }

    /// How far behind the lane is who has this much.
    pub fn behind(&self, now: Instant, done: u64, has: u64) -> Behind {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while looks.front().is_some_and(|(_, seen)| *seen <= has) {
            looks.pop_front();
        }
        let oldest = looks.front().map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at));
        Behind { inputs: done.saturating_sub(has), time: oldest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_missing_tells_the_time() {
        let (lag, begun) = (Lag::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let behind = |inputs, seconds| Behind { inputs, time: Duration::from_secs(seconds) };
        assert_eq!(lag.behind(at(0), 5, 5), behind(0, 0));
        for second in 0..10 {
            lag.look(at(second), 100 + 10 * second);
        }
        lag.look(at(10), 190);
        assert_eq!(lag.behind(at(10), 190, 120), behind(70, 7), "130 was done in second 3");
        assert_eq!(lag.behind(at(10), 190, 185), behind(5, 1));
        assert_eq!(lag.behind(at(10), 195, 190), behind(5, 0), "not looked at since");
        for second in 0..10_000 {
            lag.look(at(second), 200 + second);
        }
        let all = lag.behind(at(10_000), 10_200, 199);
        assert_eq!(all, behind(10_001, 10_000), "the oldest is never forgotten");
        assert!(lag.0.lock().expect("whole").len() <= LOOKS_MAX);
    }
}
