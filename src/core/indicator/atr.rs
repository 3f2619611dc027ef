//! Average true range.

use super::{PeriodError, WilderAverage, check_period, is_usable};
use serde::{Deserialize, Serialize};

/// Average true range: Wilder's average over `period` candles of the true range
/// `max(high − low, |high − previous close|, |low − previous close|)`; the first candle's is `high − low`.
///
/// Source: J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978). (TA-Lib leaves the first
/// candle out, so its first value comes one candle later.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Atr {
    period: usize,
    close: Option<f64>,
    average: WilderAverage,
}

impl Atr {
    /// Over `period` candles, 1 to [`super::PERIOD_MAX`]; 14 is Wilder's choice.
    pub fn new(period: usize) -> Result<Atr, PeriodError> {
        let period = check_period("atr", period, 1)?;
        Ok(Atr { period, close: None, average: WilderAverage::new(period) })
    }

    /// Takes the next closed candle. Ignored when `high` is below `low`.
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> Option<f64> {
        if is_usable(high) && is_usable(low) && is_usable(close) && low <= high {
            // A close before outside of the candle widens its range up to that close.
            let (top, bottom) = match self.close {
                Some(close) => (high.max(close), low.min(close)),
                None => (high, low),
            };
            self.close = Some(close);
            self.average.update(top - bottom);
        }
        self.value()
    }

    /// The average; `None` until `period` candles were seen.
    pub fn value(&self) -> Option<f64> {
        self.average.value()
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        (self.close, self.average) = (None, WilderAverage::new(self.period));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;

    fn from_scratch(candles: &[(f64, f64, f64)], period: usize) -> Option<f64> {
        let true_range = |i: usize| {
            let (high, low, _) = candles[i];
            let widest = |before: f64| (high - low).max((high - before).abs()).max((low - before).abs());
            if i == 0 { high - low } else { widest(candles[i - 1].2) }
        };
        wilder(&(0..candles.len()).map(true_range).collect::<Vec<f64>>(), period)
    }

    proptest! {
        #[test]
        fn it_equals_the_formula_over_the_whole_input(closes in prices(), up in prices(), period in 1usize..20) {
            let candles: Vec<(f64, f64, f64)> =
                closes.iter().zip(&up).map(|(close, up)| (close + up / 50.0, close - up / 90.0, *close)).collect();
            let mut atr = Atr::new(period).expect("in range");
            for i in 0..candles.len() {
                let (high, low, close) = candles[i];
                prop_assert!(is_close(atr.update(high, low, close), from_scratch(&candles[..=i], period)));
            }
        }
    }

    #[test]
    fn a_gap_between_candles_counts() {
        let mut atr = Atr::new(2).expect("in range");
        assert_eq!(atr.update(12.0, 10.0, 11.0), None);
        // True range 20 − 11 = 9; mean of 2 and 9.
        assert_eq!(atr.update(20.0, 18.0, 19.0), Some(5.5));
        // True range 19 − 8 = 11; 5.5 + (11 − 5.5) / 2.
        assert_eq!(atr.update(9.0, 8.0, 8.5), Some(8.25));
        assert_eq!(atr.update(8.0, 9.0, 8.5), Some(8.25), "high below low");
        assert_eq!(atr.update(f64::NAN, 9.0, 8.5), Some(8.25));
        goes_on_after_restore(atr, |atr| atr.update(10.0, 9.0, 9.5));
    }
}
