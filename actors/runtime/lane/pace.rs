//! The lane's time: the wall clock, but it never stands still. When the machine's clock is set back, it goes on at the pace of the
//! monotonic clock, so that timers fire when they should.

use qcat_core::time::{Span, Ts};
use qcat_io::clock::Clock;
use std::cell::Cell;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Pace {
    clock: Arc<dyn Clock>,
    last: Cell<(Ts, Span)>,
}

impl Pace {
    /// A time that begins no earlier than `floor`, the time of the last input before.
    pub fn new(clock: Arc<dyn Clock>, floor: Ts) -> Pace {
        let last = Cell::new((clock.wall().max(floor), clock.monotonic()));
        Pace { clock, last }
    }

    pub fn now(&self) -> Ts {
        let (last, then) = self.last.get();
        let passed = self.clock.monotonic();
        let gone = Span::from_nanos(passed.nanos().saturating_sub(then.nanos()).max(0));
        let now = self.clock.wall().max(last.plus(gone));
        self.last.set((now, passed));
        now
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
    fn a_clock_that_is_set_back_does_not_stop_time() {
        let clock = Arc::new(SimClock::new(Ts::from_millis(10_000)));
        let pace = Pace::new(clock.clone(), Ts::from_millis(3_000));
        assert_eq!(pace.now(), Ts::from_millis(10_000));
        clock.set_wall(Ts::from_millis(1_000));
        clock.advance(Span::from_millis(500));
        assert_eq!(pace.now(), Ts::from_millis(10_500));
        clock.set_wall(Ts::from_millis(20_000));
        assert_eq!(pace.now(), Ts::from_millis(20_000));
        let after_restart = Pace::new(clock, Ts::from_millis(90_000));
        assert_eq!(after_restart.now(), Ts::from_millis(90_000));
    }
}
