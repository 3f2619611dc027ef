//! Indicators: incremental, constant cost for each value (amortised where a window is kept), `f64`.
//!
//! All have the same form: `update` takes the next value and returns the indicator's value, `None` until enough were seen;
//! `value` returns it again; `reset` forgets everything (after a hole in the candles, say). They hold no time: what a step
//! means is the caller's choice, mostly a closed candle. State is serialisable, and a restored indicator goes on exactly.
//!
//! An input that is not finite or is larger than 1e100 is ignored, so that one bad value cannot poison all later ones.
//! `exp`, `ln`, `sqrt` and `pow` come from `libm`, so results are the same on every platform.
//! Tests: each against a computation from scratch over the whole input, and worked examples.

use serde::{Deserialize, Serialize};

mod atr;
mod ema;
mod imbalance;
mod rsi;
mod sma;
mod standard_deviation;
#[cfg(test)]
mod testing;
mod vwap;
mod window;

pub use atr::Atr;
pub use ema::Ema;
pub use imbalance::{book_imbalance, quote_imbalance};
pub use rsi::Rsi;
pub use sma::Sma;
pub use standard_deviation::StandardDeviation;
pub use vwap::Vwap;

/// The longest period or window.
pub const PERIOD_MAX: usize = 10_000;

/// A period that an indicator cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{indicator}: a period of {period} is not allowed ({min} to {PERIOD_MAX})")]
pub struct PeriodError {
    /// Which indicator.
    pub indicator: &'static str,
    /// The period asked for.
    pub period: usize,
    /// The shortest allowed.
    pub min: usize,
}

fn check_period(indicator: &'static str, period: usize, min: usize) -> Result<usize, PeriodError> {
    if (min..=PERIOD_MAX).contains(&period) { Ok(period) } else { Err(PeriodError { indicator, period, min }) }
}

/// Whether a value can be computed with: squares and sums of such values are finite.
fn is_usable(value: f64) -> bool {
    value.abs() <= 1e100
}

/// Wilder's smoothing: the mean of the first `period` values, then `average + (value − average) / period`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct WilderAverage {
    period: f64,
    seen: f64,
    average: f64,
}

impl WilderAverage {
    fn new(period: usize) -> WilderAverage {
        WilderAverage { period: period as f64, seen: 0.0, average: 0.0 }
    }

    fn update(&mut self, value: f64) -> Option<f64> {
        // Until the first mean is whole the same step yields the mean of what was seen.
        self.seen = (self.seen + 1.0).min(self.period);
        self.average += (value - self.average) / self.seen;
        self.value()
    }

    fn value(&self) -> Option<f64> {
        (self.seen == self.period).then_some(self.average)
    }
}
