//! Mean and standard deviation over a window.

use super::window::{Fold, Window};
use super::{PeriodError, check_period, is_usable};
use serde::{Deserialize, Serialize};

/// Standard deviation of the last `period` values: population `√(Σ (x − mean)² / n)`, sample `√(Σ (x − mean)² / (n − 1))`.
///
/// Sums of squared deviations are joined pairwise and never subtracted, so neither a large mean nor an outlier that has left the
/// window costs digits. Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
/// Statistician 37 (1983).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandardDeviation {
    window: Window<Moments>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Moments {
    count: f64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl Fold for Moments {
    fn then(self, later: Moments) -> Moments {
        let count = self.count + later.count;
        let distance = later.mean - self.mean;
        Moments {
            count,
            mean: self.mean + distance * (later.count / count),
            squares: self.squares + later.squares + distance * distance * (self.count * later.count / count),
        }
    }
}

impl StandardDeviation {
    /// Over `period` values, 2 to [`super::PERIOD_MAX`].
    pub fn new(period: usize) -> Result<StandardDeviation, PeriodError> {
        let period = check_period("standard deviation", period, 2)?;
        Ok(StandardDeviation { window: Window::new(period) })
    }

    /// Takes the next value; returns the population deviation.
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if is_usable(value) {
            self.window.push(Moments { count: 1.0, mean: value, squares: 0.0 });
        }
        self.value()
    }

    /// The population deviation (of Bollinger bands, for one); `None` until `period` values were seen.
    pub fn value(&self) -> Option<f64> {
        self.window.value().map(|moments| libm::sqrt(moments.squares / moments.count))
    }

    /// The sample deviation; `None` until `period` values were seen.
    pub fn sample(&self) -> Option<f64> {
        self.window.value().map(|moments| libm::sqrt(moments.squares / (moments.count - 1.0)))
    }

    /// The mean of the same window; `None` until `period` values were seen.
    pub fn mean(&self) -> Option<f64> {
        self.window.value().map(|moments| moments.mean)
    }

    /// How many population deviations `value` lies from the mean; `None` until `period` values were seen or when all of them
    /// are equal.
    pub fn score(&self, value: f64) -> Option<f64> {
        let deviation = self.value().filter(|deviation| *deviation > 0.0)?;
        Some((value - self.mean()?) / deviation).filter(|score| score.is_finite())
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.window.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;

    /// Population and sample deviation of the last values, in two passes.
    fn from_scratch(values: &[f64], period: usize) -> Option<(f64, f64)> {
        let window = &values[values.len().checked_sub(period)?..];
        let mean = window.iter().sum::<f64>() / period as f64;
        let squares: f64 = window.iter().map(|x| (x - mean) * (x - mean)).sum();
        Some((libm::sqrt(squares / period as f64), libm::sqrt(squares / (period as f64 - 1.0))))
    }

    proptest! {
        #[test]
        fn it_equals_two_passes_over_the_window(values in prices(), period in 2usize..20) {
            let mut deviation = StandardDeviation::new(period).expect("in range");
            for i in 0..values.len() {
                let value = deviation.update(values[i]);
                let expected = from_scratch(&values[..=i], period);
                prop_assert!(is_close(value, expected.map(|e| e.0)), "{value:?} {expected:?}");
                prop_assert!(is_close(deviation.sample(), expected.map(|e| e.1)));
            }
        }
    }

    #[test]
    fn neither_a_large_mean_nor_a_past_outlier_costs_digits() {
        let mut deviation = StandardDeviation::new(4).expect("in range");
        // The textbook formula (mean of squares minus square of mean) yields zero here or worse.
        for value in [1e12, 1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0] {
            deviation.update(value);
        }
        assert_eq!(deviation.sample(), Some(libm::sqrt(30.0)));
        assert_eq!(deviation.mean(), Some(1e9 + 10.0));
        assert_eq!(deviation.score(1e9 + 10.0), Some(0.0));
    }

    #[test]
    fn equal_values_do_not_deviate_and_have_no_score() {
        let mut deviation = StandardDeviation::new(3).expect("in range");
        for _ in 0..7 {
            deviation.update(0.1);
        }
        assert_eq!((deviation.value(), deviation.score(5.0)), (Some(0.0), None));
        goes_on_after_restore(deviation, |deviation| deviation.update(5.5));
        assert!(StandardDeviation::new(1).is_err());
    }
}
