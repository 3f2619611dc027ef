//! Time: nanoseconds since the Unix epoch, handed in from outside.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A point in time: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Ts(i64);

/// A length of time in nanoseconds; may be negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Span(i64);

impl Ts {
    /// The Unix epoch.
    pub const ZERO: Ts = Ts(0);
    /// Later than any real time.
    pub const MAX: Ts = Ts(i64::MAX);

    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Ts {
        Ts(nanos)
    }

    /// From milliseconds since the Unix epoch (the exchange's unit); saturates.
    pub const fn from_millis(millis: i64) -> Ts {
        Ts(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds since the Unix epoch.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// The time `span` later; saturates.
    pub const fn plus(self, span: Span) -> Ts {
        Ts(self.0.saturating_add(span.0))
    }

    /// The time from `earlier` to this one.
    pub const fn since(self, earlier: Ts) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The latest multiple of `span` since the epoch that is not after this time. `span` must be positive.
    pub const fn floor(self, span: Span) -> Ts {
        Ts(self.0 - self.0.rem_euclid(span.0))
    }
}

impl Span {
    /// No time.
    pub const ZERO: Span = Span(0);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Span {
        Span(nanos)
    }

    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Span {
        Span(micros * 1_000)
    }

    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Span {
        Span(millis * 1_000_000)
    }

    /// From seconds.
    pub const fn from_secs(secs: i64) -> Span {
        Span(secs * 1_000_000_000)
    }

    /// Nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds.
    pub const fn millis(self) -> i64 {
        self.0 / 1_000_000
    }
}

impl fmt::Debug for Ts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", std::time::Duration::from_nanos(self.0.unsigned_abs()))
    }
}
