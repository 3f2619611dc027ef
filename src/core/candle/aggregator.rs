//! Bigger candles from smaller ones.

use super::{CandleError, CandleEvent, Series, check_interval};
use crate::market::Candle;
use crate::num::NumError;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// Puts closed candles of one interval together into candles of a multiple of it.
///
/// A big candle is emitted with the last small one of its interval, and only if none of them was missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandleAggregator {
    small: Span,
    large: Span,
    series: Series,
    /// Where the next small candle must open.
    next: Option<Ts>,
    /// The big candle so far, from its first small one on without a hole.
    growing: Option<Candle>,
}

impl CandleAggregator {
    /// Makes candles of `large` out of candles of `small`; both divide a day and `small` divides `large`.
    pub fn new(small: Span, large: Span) -> Result<CandleAggregator, CandleError> {
        check_interval(small)?;
        check_interval(large)?;
        if large <= small || large.nanos() % small.nanos() != 0 {
            return Err(CandleError::Multiple { small, large });
        }
        Ok(CandleAggregator { small, large, series: Series::default(), next: None, growing: None })
    }

    /// The interval of the candles that are made.
    pub fn interval(&self) -> Span {
        self.large
    }

    /// The big candle so far, `None` when its beginning is missing.
    pub fn growing(&self) -> Option<&Candle> {
        self.growing.as_ref()
    }

    /// Takes what a source of small candles emitted. Candles of another interval, open ones and those that were taken
    /// already are ignored.
    pub fn on_event(&mut self, event: &CandleEvent, out: &mut Vec<CandleEvent>) -> Result<(), CandleError> {
        match event {
            // The candle after the hole shows it too.
            CandleEvent::Hole { .. } => Ok(()),
            CandleEvent::Closed(candle) => self.on_closed(candle, out),
        }
    }

    /// Takes a closed small candle.
    pub fn on_closed(&mut self, candle: &Candle, out: &mut Vec<CandleEvent>) -> Result<(), CandleError> {
        let is_past = self.next.is_some_and(|next| candle.open_time < next);
        if candle.interval != self.small || !candle.closed || is_past {
            return Ok(());
        }
        let follows = self.next == Some(candle.open_time);
        self.next = Some(candle.close_time());
        let open_time = candle.open_time.floor(self.large);
        self.growing = match self.growing.take() {
            _ if candle.open_time == open_time => Some(Candle { interval: self.large, closed: false, ..*candle }),
            Some(growing) if follows => Some(join(&growing, candle)?),
            _ => None,
        };
        if let Some(whole) = self.growing.filter(|growing| growing.close_time() == candle.close_time()) {
            self.series.emit(Candle { closed: true, ..whole }, out);
            self.growing = None;
        }
        Ok(())
    }
}

/// A candle and the one that follows it as one.
fn join(first: &Candle, second: &Candle) -> Result<Candle, NumError> {
    // Flat candles before the first trade only carry an older close, which the big candle has not seen.
    let is_carried = first.volume.is_zero() && !second.volume.is_zero();
    let range = if is_carried { second } else { first };
    let volume = first.volume.checked_add(second.volume);
    let taker_buy_volume = first.taker_buy_volume.checked_add(second.taker_buy_volume);
    Ok(Candle {
        open: range.open,
        high: range.high.max(second.high),
        low: range.low.min(second.low),
        close: second.close,
        volume: volume.ok_or(NumError::Overflow)?,
        quote_volume: first.quote_volume.checked_add(second.quote_volume)?,
        taker_buy_volume: taker_buy_volume.ok_or(NumError::Overflow)?,
        trades: first.trades.saturating_add(second.trades),
        ..*first
    })
}
