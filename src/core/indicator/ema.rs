//! Exponential moving average.

use super::{PeriodError, check_period, is_usable};
use serde::{Deserialize, Serialize};

/// Exponential moving average: `EMA ← EMA + α (x − EMA)` with `α = 2 / (period + 1)`, started with the mean of the first
/// `period` values.
///
/// Source: the usual definition, and the start of TA-Lib's `EMA` (classic compatibility).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ema {
    period: usize,
    seen: usize,
    average: f64,
}

impl Ema {
    /// An average over `period` values, 1 to [`super::PERIOD_MAX`].
    pub fn new(period: usize) -> Result<Ema, PeriodError> {
        Ok(Ema { period: check_period("ema", period, 1)?, seen: 0, average: 0.0 })
    }

    /// Takes the next value.
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if is_usable(value) {
            let weight = if self.seen < self.period {
                self.seen += 1;
                1.0 / self.seen as f64
            } else {
                2.0 / (self.period as f64 + 1.0)
            };
            self.average += weight * (value - self.average);
        }
        self.value()
    }

    /// The average; `None` until `period` values were seen.
    pub fn value(&self) -> Option<f64> {
        (self.seen == self.period).then_some(self.average)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        (self.seen, self.average) = (0, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;

    /// As a weighted sum: the first mean and each later value with its own power of `1 − α`.
    fn from_scratch(values: &[f64], period: usize) -> Option<f64> {
        let alpha = 2.0 / (period as f64 + 1.0);
        let (first, later) = values.split_at_checked(period)?;
        let mean = first.iter().sum::<f64>() / period as f64;
        let weight = |i: usize| libm::pow(1.0 - alpha, (later.len() - i) as f64);
        let sum: f64 = later.iter().enumerate().map(|(i, x)| alpha * weight(i + 1) * x).sum();
        Some(weight(0) * mean + sum)
    }

    proptest! {
        #[test]
        fn it_equals_the_weighted_sum(values in prices(), period in 1usize..20) {
            let mut ema = Ema::new(period).expect("in range");
            for i in 0..values.len() {
                let value = ema.update(values[i]);
                prop_assert!(is_close(value, from_scratch(&values[..=i], period)));
            }
        }
    }

    #[test]
    fn a_bad_value_is_ignored_and_a_restored_state_goes_on() {
        let mut ema = Ema::new(3).expect("in range");
        let values = [1.0, 2.0, f64::NAN, 6.0, f64::INFINITY, -1e300, 11.0].map(|x| ema.update(x));
        assert_eq!(values, [None, None, None, Some(3.0), Some(3.0), Some(3.0), Some(7.0)]);
        goes_on_after_restore(ema, |ema| ema.update(5.5));
        assert!(Ema::new(0).is_err() && Ema::new(super::super::PERIOD_MAX + 1).is_err());
    }
}
