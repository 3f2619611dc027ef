//! Candles: from trades, from the venue's kline stream, and from smaller candles.
//!
//! All three emit a [`CandleEvent`] list with the same promise: each closed candle once, in rising order of time, and a
//! [`CandleEvent::Hole`] directly before a candle that does not follow the one before it. So whoever computes indicators knows
//! that his values are continuous or must be warmed up again. A candle of which a part was missed is never emitted.
//!
//! An interval without a trade has a flat candle: open, high, low and close are the close before it, volume is zero. The
//! exchange's klines are made so, and indicators over time need one value for each interval.
//! Numbers are exact. Nothing here reads a clock: time is the exchange's event time, or handed in.
//! Tests: worked examples; properties against candles computed from scratch.

use crate::market::Candle;
use crate::num::NumError;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

mod aggregator;
mod builder;
mod feed;
#[cfg(test)]
mod tests;

pub use aggregator::CandleAggregator;
pub use builder::{CandleBuilder, TradeOutcome};
pub use feed::{CandleFeed, FeedOutcome};

/// What a source of candles tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CandleEvent {
    /// The interval is over and the candle is whole.
    Closed(Candle),
    /// There are no candles from `from` (included) to `to` (excluded), where the next candle opens.
    Hole {
        /// Start of the first interval without a candle.
        from: Ts,
        /// Start of the next candle.
        to: Ts,
    },
}

/// What can be wrong with candles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CandleError {
    /// The interval is not supported.
    #[error("a candle interval of {0:?} is not supported (allowed: whole seconds that divide a day)")]
    Interval(Span),
    /// Candles cannot be put together from these.
    #[error("candles of {large:?} cannot be made of candles of {small:?}")]
    Multiple { small: Span, large: Span },
    /// A sum does not fit; the candle is given up and a hole will be told.
    #[error("a candle's sum: {0}")]
    Number(#[from] NumError),
}

const DAY: Span = Span::from_secs(86_400);
const SECOND: Span = Span::from_secs(1);

/// Whether candles of this length can be built here: whole seconds that divide a day, so that they start where the exchange's do.
pub fn check_interval(interval: Span) -> Result<(), CandleError> {
    let nanos = interval.nanos();
    let fits = nanos >= SECOND.nanos() && nanos % SECOND.nanos() == 0 && DAY.nanos() % nanos == 0;
    if fits { Ok(()) } else { Err(CandleError::Interval(interval)) }
}

/// The order of what is emitted: never twice, never backward, holes told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Series {
    /// Where the next candle must open; `None` before the first.
    next: Option<Ts>,
}

impl Series {
    /// Whether a candle that opens here has been emitted or passed over already.
    fn is_past(&self, open_time: Ts) -> bool {
        self.next.is_some_and(|next| open_time < next)
    }

    /// Goes on after a candle from elsewhere, if that is not backward.
    fn continue_after(&mut self, candle: &Candle) {
        self.next = self.next.max(Some(candle.close_time()));
    }

    /// Emits a closed candle that [`Series::is_past`] does not hold for.
    fn emit(&mut self, candle: Candle, out: &mut Vec<CandleEvent>) {
        debug_assert!(candle.closed && !self.is_past(candle.open_time));
        match self.next {
            Some(next) if candle.open_time > next => out.push(CandleEvent::Hole { from: next, to: candle.open_time }),
            _ => {}
        }
        self.next = Some(candle.close_time());
        out.push(CandleEvent::Closed(candle));
    }
}
