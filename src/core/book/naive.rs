//! The naive twin of [`DepthBook`](super::DepthBook): the same rules in the plainest form, as an oracle for tests and a
//! yardstick for benchmarks. It keeps every level, however far.

use super::depth::{BookOutcome, GapReason};
use crate::market::{BookLevels, Level};
use crate::num::Price;
use std::collections::BTreeMap;

/// A depth book in two ordered maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NaiveBook {
    /// Bids by price.
    pub bids: BTreeMap<Price, Level>,
    /// Asks by price.
    pub asks: BTreeMap<Price, Level>,
    /// The last update id, `None` when void.
    pub last_id: Option<u64>,
    /// Whether a diff has been applied since the snapshot.
    pub chained: bool,
}

impl NaiveBook {
    /// Takes a snapshot.
    pub fn apply_reset(&mut self, snapshot: &BookLevels) -> BookOutcome {
        self.void();
        self.take(snapshot);
        self.settle(snapshot)
    }

    /// Takes a diff.
    pub fn apply_delta(&mut self, diff: &BookLevels) -> BookOutcome {
        let Some(last_id) = self.last_id else {
            return BookOutcome::Void;
        };
        if diff.first_id > diff.last_id || diff.previous_id > diff.last_id {
            self.void();
            return BookOutcome::Gap(GapReason::Malformed);
        }
        let bridges = diff.first_id <= last_id && last_id <= diff.last_id;
        if !self.chained && diff.last_id < last_id {
            return BookOutcome::Stale;
        }
        if diff.previous_id != last_id && (self.chained || !bridges) {
            self.void();
            return BookOutcome::Gap(GapReason::Sequence { expected: last_id, found: diff.previous_id });
        }
        self.take(diff);
        self.chained = true;
        self.settle(diff)
    }

    /// Forgets everything.
    pub fn void(&mut self) {
        *self = NaiveBook::default();
    }

    fn take(&mut self, levels: &BookLevels) {
        for (side, changed) in [(&mut self.bids, &levels.bids), (&mut self.asks, &levels.asks)] {
            for level in changed {
                if level.quantity.is_zero() {
                    side.remove(&level.price);
                } else {
                    side.insert(level.price, *level);
                }
            }
        }
    }

    fn settle(&mut self, levels: &BookLevels) -> BookOutcome {
        let mut all = levels.bids.iter().chain(&levels.asks);
        if all.any(|level| level.price.mantissa() <= 0 || level.quantity.mantissa() < 0) {
            self.void();
            return BookOutcome::Gap(GapReason::Malformed);
        }
        if let (Some((bid, _)), Some((ask, _))) = (self.bids.last_key_value(), self.asks.first_key_value())
            && bid >= ask
        {
            self.void();
            return BookOutcome::Gap(GapReason::Crossed);
        }
        self.last_id = Some(levels.last_id);
        BookOutcome::Applied
    }
}
