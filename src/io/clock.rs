//! The wall clock and the monotonic clock. Nothing else in the program asks for the time.
//!
//! Tests: a clock that goes back.

use qcat_core::time::{Span, Ts};
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync + Debug {
    /// Wall time; never less than any earlier answer of the same clock, even when the machine's clock is set back.
    fn wall(&self) -> Ts;

    /// What the machine's wall clock shows; it may go back.
    fn machine(&self) -> Ts {
        self.wall()
    }

    /// Time since an arbitrary point; for timers and latencies.
    fn monotonic(&self) -> Span;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    last: AtomicI64,
}

impl SystemClock {
    /// A clock; its monotonic time starts at zero.
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now(), last: AtomicI64::new(0) }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Ts {
        never_less(&self.last, self.machine().nanos())
    }

    fn machine(&self) -> Ts {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ts::from_nanos(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Span {
        Span::from_nanos(i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }
}

/// A clock that goes only when told to.
#[derive(Debug, Default)]
pub struct SimClock {
    set: AtomicI64,
    last: AtomicI64,
    passed: AtomicI64,
}

impl SimClock {
    /// A clock that shows `at`.
    pub fn new(at: Ts) -> SimClock {
        SimClock { set: AtomicI64::new(at.nanos()), last: AtomicI64::new(at.nanos()), passed: AtomicI64::new(0) }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, span: Span) {
        self.set.fetch_add(span.nanos(), Ordering::Relaxed);
        self.passed.fetch_add(span.nanos().max(0), Ordering::Relaxed);
    }

    /// Sets the machine's wall clock, also back; the monotonic clock does not notice.
    pub fn set_wall(&self, at: Ts) {
        self.set.store(at.nanos(), Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Ts {
        never_less(&self.last, self.set.load(Ordering::Relaxed))
    }

    fn machine(&self) -> Ts {
        Ts::from_nanos(self.set.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Span {
        Span::from_nanos(self.passed.load(Ordering::Relaxed))
    }
}

/// A time for people, in UTC.
pub fn text(at: Ts) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(at.nanos())) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{} ns", at.nanos()),
    }
}

/// A time from RFC 3339 text; `None` when it is none, or beyond the years that nanoseconds reach.
pub fn parse(text: &str) -> Option<Ts> {
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(Ts::from_nanos)
}

fn never_less(last: &AtomicI64, now: i64) -> Ts {
    Ts::from_nanos(last.fetch_max(now, Ordering::Relaxed).max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_never_goes_back() {
        let clock = SimClock::new(Ts::from_millis(5_000));
        clock.set_wall(Ts::from_millis(1_000));
        assert_eq!(clock.wall(), Ts::from_millis(5_000));
        clock.advance(Span::from_secs(10));
        assert_eq!((clock.wall(), clock.monotonic()), (Ts::from_millis(11_000), Span::from_secs(10)));

        let real = SystemClock::new();
        let first = real.wall();
        real.last.fetch_add(3_600_000_000_000, Ordering::Relaxed);
        assert!(real.wall() >= first.plus(Span::from_secs(3_600)) && real.monotonic() >= Span::ZERO);
    }
}
