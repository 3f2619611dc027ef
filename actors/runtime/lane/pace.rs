//! The lane's time: it begins with the wall clock and goes on by the monotonic clock alone, so that a wall clock that is set moves
//! no timer, no bound and no day. That the wall clock was set is noticed.

use qcat_core::time::{Span, Ts};
use qcat_io::clock::Clock;
use std::cell::Cell;
use std::sync::Arc;

/// The wall clock is looked at this often.
const LOOK_EVERY: Span = Span::from_secs(1);
/// A change of the wall clock against the monotonic one, between two looks, that nothing but a setting explains.
const STEP: Span = Span::from_millis(500);

#[derive(Debug)]
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    /// The time at a reading of the monotonic clock.
    begin: (Ts, Span),
    /// The last look at the wall clock, and by how much it was ahead.
    looked: Cell<(Ts, Span)>,
}

impl Pace {
    /// A time that begins no earlier than `floor`, the time of the last input before.
    pub fn new(clock: Arc<dyn Clock>, floor: Ts) -> Pace {
        let machine = clock.machine();
        let begin = (machine.max(floor), clock.monotonic());
        Pace { clock, begin, looked: Cell::new((begin.0, machine.since(begin.0))) }
    }

    pub fn now(&self) -> Ts {
        let (began, then) = self.begin;
        let gone = self.clock.monotonic().nanos().saturating_sub(then.nanos()).max(0);
        began.plus(Span::from_nanos(gone))
    }

    /// By how much the wall clock was set since the last look; `None`: it was not, or it is not the time to look.
    pub fn stepped(&self, now: Ts) -> Option<Span> {
        let (last, ahead_then) = self.looked.get();
        if now.since(last) < LOOK_EVERY {
            return None;
        }
        let ahead = self.clock.machine().since(now);
        self.looked.set((now, ahead));
        let by = Span::from_nanos(ahead.nanos().saturating_sub(ahead_then.nanos()));
        (by.nanos().saturating_abs() > STEP.nanos()).then_some(by)
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qcat_io::clock::SimClock;

    #[test]
    fn a_wall_clock_that_is_set_moves_no_time_and_is_noticed_once() {
        let clock = Arc::new(SimClock::new(Ts::from_millis(10_000)));
        let pace = Pace::new(clock.clone(), Ts::from_millis(3_000));
        assert_eq!(pace.now(), Ts::from_millis(10_000));
        let mut passed = 0;
        for (set, by) in [(0, None), (-9_000, Some(-9_000)), (0, None), (31_536_000_000, Some(31_536_000_000))] {
            clock.set_wall(clock.machine().plus(Span::from_millis(set)));
            assert_eq!(pace.now(), Ts::from_millis(10_000 + passed), "set by {set}");
            clock.advance(Span::from_millis(1_000));
            passed += 1_000;
            assert_eq!(pace.now(), Ts::from_millis(10_000 + passed));
            assert_eq!(pace.stepped(pace.now()), by.map(Span::from_millis));
            assert_eq!(pace.stepped(pace.now()), None);
        }
        let after_restart = Pace::new(clock, Ts::from_millis(90_000_000_000));
        assert_eq!(after_restart.now(), Ts::from_millis(90_000_000_000));
    }
}
