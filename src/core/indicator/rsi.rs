//! Relative strength index.

use super::{PeriodError, WilderAverage, check_period, is_usable};
use serde::{Deserialize, Serialize};

/// Relative strength index: `100 − 100 / (1 + G / L)`, where `G` and `L` are Wilder's averages of the rises and of the falls
/// from value to value over `period` changes. From 0 to 100; 50 when nothing moved at all.
///
/// Source: J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978). A market that stands still
/// has no ratio; 50 says neither bought nor sold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rsi {
    period: usize,
    last: Option<f64>,
    gains: WilderAverage,
    losses: WilderAverage,
}

impl Rsi {
    /// Over `period` changes, 1 to [`super::PERIOD_MAX`]; 14 is Wilder's choice.
    pub fn new(period: usize) -> Result<Rsi, PeriodError> {
        let period = check_period("rsi", period, 1)?;
        let average = WilderAverage::new(period);
        Ok(Rsi { period, last: None, gains: average, losses: average })
    }

    /// Takes the next value, mostly a close.
    pub fn update(&mut self, value: f64) -> Option<f64> {
        if is_usable(value)
            && let Some(last) = self.last.replace(value)
        {
            self.gains.update((value - last).max(0.0));
            self.losses.update((last - value).max(0.0));
        }
        self.value()
    }

    /// The index; `None` until `period` changes were seen.
    pub fn value(&self) -> Option<f64> {
        let (gain, loss) = (self.gains.value()?, self.losses.value()?);
        // The same as the formula above, without the infinite ratio when nothing fell.
        Some(if gain + loss > 0.0 { 100.0 * (gain / (gain + loss)) } else { 50.0 })
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        let average = WilderAverage::new(self.period);
        (self.last, self.gains, self.losses) = (None, average, average);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use proptest::prelude::*;

    fn from_scratch(values: &[f64], period: usize) -> Option<f64> {
        let changes: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let gains: Vec<f64> = changes.iter().map(|c| c.max(0.0)).collect();
        let losses: Vec<f64> = changes.iter().map(|c| (-c).max(0.0)).collect();
        let (gain, loss) = (wilder(&gains, period)?, wilder(&losses, period)?);
        Some(match (gain == 0.0, loss == 0.0) {
            (true, true) => 50.0,
            (_, true) => 100.0,
            _ => 100.0 - 100.0 / (1.0 + gain / loss),
        })
    }

    proptest! {
        #[test]
        fn it_equals_the_formula_over_the_whole_input(values in prices(), period in 1usize..20) {
            let mut rsi = Rsi::new(period).expect("in range");
            for i in 0..values.len() {
                let value = rsi.update(values[i]);
                prop_assert!(is_close(value, from_scratch(&values[..=i], period)));
                prop_assert!(value.is_none_or(|value| (0.0..=100.0).contains(&value)));
            }
        }
    }

    #[test]
    fn the_worked_example_of_a_chart_school() {
        // chartschool.stockcharts.com, "Relative Strength Index (RSI)": QQQQ, 14 days.
        let closes = [
            44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826, 45.8931, 46.0328,
            45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222,
        ];
        let mut rsi = Rsi::new(14).expect("in range");
        let values: Vec<f64> = closes.iter().filter_map(|close| rsi.update(*close)).collect();
        let rounded: Vec<f64> = values.iter().map(|value| libm::round(value * 100.0) / 100.0).collect();
        assert_eq!(rounded, [70.53, 66.32, 66.55, 69.41, 66.36]);
    }

    #[test]
    fn a_market_that_only_rises_or_stands_still_has_an_index() {
        let mut rsi = Rsi::new(2).expect("in range");
        assert_eq!([1.0, 1.0, f64::NAN, 1.0, 2.0].map(|x| rsi.update(x)), [None, None, None, Some(50.0), Some(100.0)]);
        goes_on_after_restore(rsi.clone(), |rsi| rsi.update(1.5));
        rsi.reset();
        assert_eq!([3.0, 2.0, 1.0].map(|x| rsi.update(x)), [None, None, Some(0.0)]);
    }
}
