//! A histogram with fixed bounds that is recorded into without lock and without memory: two additions of atomics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of stages of trading, in nanoseconds: 1 µs to 10 s.
pub(super) const STAGE_BOUNDS: &[u64] = &[
    1_000,
    2_000,
    3_000,
    5_000,
    7_500,
    10_000,
    15_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    10_000_000_000,
];
/// Bounds of requests and queries, in nanoseconds: 100 µs to 10 s.
pub(super) const REQUEST_BOUNDS: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Durations by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than bounds: what is above the last.
    buckets: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

/// What was recorded up to a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Seconds in all.
    pub sum: f64,
    /// Upper bound in seconds and how many are in the bucket itself; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl Recorded {
    /// How many in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    /// For bounds in rising order.
    pub(super) fn new(bounds: &'static [u64]) -> Histogram {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, buckets, sum_nanos: AtomicU64::new(0) }
    }

    /// Records a duration in nanoseconds.
    #[inline]
    pub fn record(&self, nanos: u64) {
        let at = self.bounds.partition_point(|bound| *bound < nanos);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Records a duration.
    pub fn observe(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was recorded so far.
    pub fn read(&self) -> Recorded {
        let bound = |nanos: &u64| *nanos as f64 / 1e9;
        let bounds = self.bounds.iter().map(bound).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let sum = self.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        Recorded { sum, buckets: bounds.zip(counts).collect() }
    }
}
