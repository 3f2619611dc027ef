//! The L2 book of one symbol, kept by the exchange's sequence rules.
//!
//! In: snapshots and diffs as [`BookLevels`], in the order received (buffering diffs until the snapshot is there, and asking
//! for the next snapshot, are the session's work). Out: the best levels, depth, and a typed outcome of every step.
//!
//! Rules (USDⓈ-M futures): after a snapshot, diffs with `u < lastUpdateId` are dropped; the first one taken has
//! `U ≤ lastUpdateId ≤ u`; from then on each `pu` equals the `u` before, else the book is void until the next snapshot. A first
//! diff whose `pu` equals `lastUpdateId` follows the snapshot just as tightly and is taken too. Diffs merged in a
//! queue (first `U` and `pu`, last `u`, newest quantity of each level) obey the same rules, because levels are absolute.
//!
//! Bounds: a side keeps the [`LEVELS_MAX`] best levels at most; beyond it the farthest quarter is dropped. The top stays
//! right: whatever is dropped is farther than thousands of levels that are kept, every later change of any level
//! is still taken, and [`DepthBook::complete_to`] says down to which price no level can be missing (a snapshot of
//! the exchange has an end too). Depth beyond that price is a lower bound.
//! Tests: properties against [`super::naive`], worked examples of every rule.

use super::ladder::{LEVELS_MAX, Ladder, Malformed, Order};
use crate::market::{BookLevels, Level, Quote};
use crate::num::{Price, Quantity, Side};
use serde::{Deserialize, Serialize};

/// Where a book stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookStatus {
    /// No snapshot has come yet.
    Empty,
    /// The levels are the exchange's as of [`DepthBook::last_update_id`].
    Live,
    /// The sequence broke or the data was impossible: there are no levels until the next snapshot.
    Gap,
}

/// What became of a snapshot or diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BookOutcome {
    /// It is in the book.
    Applied,
    /// It is older than the snapshot: dropped, as it must be.
    Stale,
    /// It made the book void, which it was not before.
    Gap(GapReason),
    /// The book was void or empty already: dropped, a snapshot must come first.
    Void,
}

/// Why a book became void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum GapReason {
    /// Diffs are missing.
    #[error("a diff after update {expected} was expected, but this one follows {found}")]
    Sequence {
        /// The last update in the book.
        expected: u64,
        /// The update that the diff follows (`pu`).
        found: u64,
    },
    /// The best bid is not below the best ask.
    #[error("the book is crossed")]
    Crossed,
    /// Update ids run backward, a price is not positive or a quantity is negative.
    #[error("impossible levels or update ids")]
    Malformed,
    /// The session says that diffs were lost.
    #[error("the stream lost diffs")]
    Announced,
}

/// How the next diff must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum State {
    #[default]
    Empty,
    /// A snapshot is in, no diff since.
    Snapshot {
        last_id: u64,
    },
    /// Diffs chain by `pu`.
    Chained {
        last_id: u64,
    },
    Gap,
}

/// The L2 book of one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthBook {
    state: State,
    bids: Ladder,
    asks: Ladder,
}

impl DepthBook {
    /// The most levels kept on a side.
    pub const LEVELS_MAX: usize = LEVELS_MAX;

    /// A book without a snapshot.
    pub const fn new() -> DepthBook {
        DepthBook { state: State::Empty, bids: Ladder::new(), asks: Ladder::new() }
    }

    /// Where the book stands.
    pub fn status(&self) -> BookStatus {
        match self.state {
            State::Empty => BookStatus::Empty,
            State::Snapshot { .. } | State::Chained { .. } => BookStatus::Live,
            State::Gap => BookStatus::Gap,
        }
    }

    /// The id of the last update in the book (`lastUpdateId`, then `u`); `None` unless live.
    #[inline]
    pub fn last_update_id(&self) -> Option<u64> {
        match self.state {
            State::Snapshot { last_id } | State::Chained { last_id } => Some(last_id),
            State::Empty | State::Gap => None,
        }
    }

    /// The highest bid.
    #[inline]
    pub fn best_bid(&self) -> Option<Level> {
        self.bids.best(Order::Bids)
    }

    /// The lowest ask.
    #[inline]
    pub fn best_ask(&self) -> Option<Level> {
        self.asks.best(Order::Asks)
    }

    /// Best bid and ask with the book's update id; a missing side is zero. `None` unless live with one level at least.
    #[inline]
    pub fn quote(&self) -> Option<Quote> {
        let update_id = self.last_update_id()?;
        let (bid, ask) = (self.best_bid(), self.best_ask());
        if bid.is_none() && ask.is_none() {
            return None;
        }
        let none = Level { price: Price::ZERO, quantity: Quantity::ZERO };
        let (bid, ask) = (bid.unwrap_or(none), ask.unwrap_or(none));
        Some(Quote {
            update_id,
            bid: bid.price,
            bid_quantity: bid.quantity,
            ask: ask.price,
            ask_quantity: ask.quantity,
        })
    }

    /// Bids, highest price first.
    pub fn bids(&self) -> impl Iterator<Item = Level> + '_ {
        self.bids.levels(Order::Bids)
    }

    /// Asks, lowest price first.
    pub fn asks(&self) -> impl Iterator<Item = Level> + '_ {
        self.asks.levels(Order::Asks)
    }

    /// Number of levels: bids (`Buy`) or asks (`Sell`).
    pub fn level_count(&self, side: Side) -> usize {
        self.side(side).1.len()
    }

    /// The quantity resting at exactly `price` among the bids (`Buy`) or asks (`Sell`).
    pub fn quantity_at(&self, side: Side, price: Price) -> Quantity {
        let (order, ladder) = self.side(side);
        ladder.quantity_at(order, price)
    }

    /// The quantity resting at `price` and better: bids (`Buy`) at `price` or higher, asks (`Sell`) at `price` or
    /// lower. Saturates; a lower bound beyond [`DepthBook::complete_to`].
    pub fn depth_quantity(&self, side: Side, price: Price) -> Quantity {
        let (order, ladder) = self.side(side);
        ladder.depth(order, price)
    }

    /// The farthest price of a side, bids (`Buy`) or asks (`Sell`), up to which no level can be missing; `None` when none
    /// can be missing at all. A snapshot side of 1,000 levels or more, the most the exchange sends, is taken to be cut.
    pub fn complete_to(&self, side: Side) -> Option<Price> {
        let (order, ladder) = self.side(side);
        ladder.complete_to(order)
    }

    /// Takes a snapshot: earlier levels are forgotten.
    pub fn apply_reset(&mut self, snapshot: &BookLevels) -> BookOutcome {
        let bids = self.bids.reset(Order::Bids, &snapshot.bids);
        let asks = self.asks.reset(Order::Asks, &snapshot.asks);
        self.finish(bids.and(asks), State::Snapshot { last_id: snapshot.last_id })
    }

    /// Takes a diff, plain or merged.
    pub fn apply_delta(&mut self, diff: &BookLevels) -> BookOutcome {
        match self.state {
            State::Empty | State::Gap => return BookOutcome::Void,
            _ if diff.first_id > diff.last_id || diff.previous_id > diff.last_id => {
                return self.gap(GapReason::Malformed);
            }
            State::Snapshot { last_id } if diff.last_id < last_id => return BookOutcome::Stale,
            State::Snapshot { last_id } if diff.first_id <= last_id || diff.previous_id == last_id => {}
            State::Chained { last_id } if diff.previous_id == last_id => {}
            State::Snapshot { last_id } | State::Chained { last_id } => {
                return self.gap(GapReason::Sequence { expected: last_id, found: diff.previous_id });
            }
        }
        let bids = self.bids.update(Order::Bids, &diff.bids);
        let asks = self.asks.update(Order::Asks, &diff.asks);
        self.finish(bids.and(asks), State::Chained { last_id: diff.last_id })
    }

    /// Makes the book void until the next snapshot.
    pub fn void(&mut self) {
        self.state = State::Gap;
        self.bids.clear();
        self.asks.clear();
    }

    /// Whether best bid and best ask do not touch. Every applied step leaves it so; a decoded book must be asked.
    pub(super) fn is_uncrossed(&self) -> bool {
        match (self.best_bid(), self.best_ask()) {
            (Some(bid), Some(ask)) => bid.price < ask.price,
            _ => true,
        }
    }

    fn finish(&mut self, levels: Result<(), Malformed>, state: State) -> BookOutcome {
        if levels.is_err() {
            return self.gap(GapReason::Malformed);
        }
        if !self.is_uncrossed() {
            return self.gap(GapReason::Crossed);
        }
        self.state = state;
        BookOutcome::Applied
    }

    #[cold]
    fn gap(&mut self, reason: GapReason) -> BookOutcome {
        self.void();
        BookOutcome::Gap(reason)
    }

    fn side(&self, side: Side) -> (Order, &Ladder) {
        match side {
            Side::Buy => (Order::Bids, &self.bids),
            Side::Sell => (Order::Asks, &self.asks),
        }
    }
}
