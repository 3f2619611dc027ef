//! Candles from the venue's kline stream.

use super::{CandleError, CandleEvent, SECOND, Series};
use crate::market::Candle;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// What became of a kline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedOutcome {
    /// It closed: it was emitted.
    Closed,
    /// It grows: see [`CandleFeed::growing`].
    Growing,
    /// It was closed before, or is older than what is known: dropped.
    Stale,
    /// It has another interval: dropped.
    OtherInterval,
    /// Its numbers cannot be true: dropped.
    Impossible,
}

/// Orders the klines of one symbol and interval as a stream sends them: growing, closed, at times again or not at all.
///
/// Any interval of fixed length will do, also those of several days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandleFeed {
    interval: Span,
    series: Series,
    growing: Option<Candle>,
}

impl CandleFeed {
    /// A feed of candles of `interval`, a second at least.
    pub fn new(interval: Span) -> Result<CandleFeed, CandleError> {
        if interval < SECOND {
            return Err(CandleError::Interval(interval));
        }
        Ok(CandleFeed { interval, series: Series::default(), growing: None })
    }

    /// The interval.
    pub fn interval(&self) -> Span {
        self.interval
    }

    /// The newest candle that is not closed.
    pub fn growing(&self) -> Option<&Candle> {
        self.growing.as_ref()
    }

    /// Goes on after the newest candle of a warm-up: a hole after it is told, what it covers is stale. Ignored when the feed is
    /// farther already.
    pub fn continue_after(&mut self, candle: &Candle) {
        if candle.interval == self.interval {
            self.series.continue_after(candle);
            self.growing = self.growing.filter(|growing| !self.series.is_past(growing.open_time));
        }
    }

    /// Takes a kline.
    pub fn on_candle(&mut self, candle: &Candle, out: &mut Vec<CandleEvent>) -> FeedOutcome {
        if candle.interval != self.interval {
            return FeedOutcome::OtherInterval;
        }
        if !is_possible(candle) || !self.is_in_step(candle) {
            return FeedOutcome::Impossible;
        }
        if self.series.is_past(candle.open_time) {
            return FeedOutcome::Stale;
        }
        if candle.closed {
            self.series.emit(*candle, out);
            self.growing = self.growing.filter(|growing| !self.series.is_past(growing.open_time));
            return FeedOutcome::Closed;
        }
        // A candle only grows: of two states of one interval the one with more trades is newer.
        let age = |candle: &Candle| (candle.open_time, candle.trades);
        if self.growing.is_some_and(|growing| age(candle) < age(&growing)) {
            return FeedOutcome::Stale;
        }
        self.growing = Some(*candle);
        FeedOutcome::Growing
    }

    /// Whether the candle lies whole intervals away from those before.
    fn is_in_step(&self, candle: &Candle) -> bool {
        let distance = |next: Ts| candle.open_time.since(next).nanos();
        self.series.next.is_none_or(|next| distance(next) % self.interval.nanos() == 0)
    }
}

fn is_possible(candle: &Candle) -> bool {
    candle.low.mantissa() > 0
        && candle.low <= candle.open.min(candle.close)
        && candle.open.max(candle.close) <= candle.high
        && candle.taker_buy_volume <= candle.volume
        && !candle.quote_volume.is_negative()
}
