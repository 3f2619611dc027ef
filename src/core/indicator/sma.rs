//! Simple moving average.

use super::window::{Fold, Window};
use super::{PeriodError, check_period, is_usable};
use serde::{Deserialize, Serialize};

/// Simple moving average: the mean of the last `period` values, `Σ x / period`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sma {
    period: usize,
    window: Window<Sum>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Sum(f64);

impl Fold for Sum {
    fn then(self, later: Sum) -> Sum {
        Sum(self.0 + later.0)
    }
}

impl Sma {
    /// A mean over `period` values, 1 to [`super::PERIOD_MAX`].
    pub fn new(period: usize) -> Result<Sma, PeriodError> {
        let period = check_period("sma", period, 1)?;
        Ok(Sma { period, window: Window::new(period) })
    }

    /// Takes the next value.
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if is_usable(value) {
            self.window.push(Sum(value));
        }
        self.value()
    }

    /// The mean; `None` until `period` values were seen.
    pub fn value(&self) -> Option<f64> {
        self.window.value().map(|sum| sum.0 / self.period as f64)
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

    fn from_scratch(values: &[f64], period: usize) -> Option<f64> {
        let start = values.len().checked_sub(period)?;
        Some(values[start..].iter().sum::<f64>() / period as f64)
    }

    proptest! {
        #[test]
        fn it_equals_the_mean_of_the_window(values in prices(), period in 1usize..20) {
            let mut sma = Sma::new(period).expect("in range");
            for i in 0..values.len() {
                let value = sma.update(values[i]);
                prop_assert!(is_close(value, from_scratch(&values[..=i], period)));
            }
        }
    }

    #[test]
    fn a_huge_value_leaves_no_trace_once_it_is_out() {
        let mut sma = Sma::new(3).expect("in range");
        let values = [1e80, 1.0, 2.0, 3.0].map(|x| sma.update(x));
        assert_eq!(values[3], Some(2.0));
        sma.update(f64::NAN);
        assert_eq!(sma.value(), Some(2.0));
        goes_on_after_restore(sma.clone(), |sma| sma.update(5.5));
        sma.reset();
        assert_eq!(sma.update(1.0), None);
    }
}
