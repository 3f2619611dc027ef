//! Volume-weighted average price over a rolling window.

use super::window::{Fold, Window};
use super::{PeriodError, check_period, is_usable};
use serde::{Deserialize, Serialize};

/// Volume-weighted average price of the last `period` updates: `Σ price × volume / Σ volume`.
///
/// An update is a trade, or a candle with its typical price `(high + low + close) / 3`, or exactly: its quote volume and its
/// volume by [`Vwap::update_value`]. Source: Berkowitz, Logue, Noser, "The total cost of transactions on the NYSE", Journal of
/// Finance 43 (1988), here over a rolling window in place of a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vwap {
    window: Window<Traded>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Traded {
    value: f64,
    volume: f64,
}

impl Fold for Traded {
    fn then(self, later: Traded) -> Traded {
        Traded { value: self.value + later.value, volume: self.volume + later.volume }
    }
}

impl Vwap {
    /// Over `period` updates, 1 to [`super::PERIOD_MAX`].
    pub fn new(period: usize) -> Result<Vwap, PeriodError> {
        Ok(Vwap { window: Window::new(check_period("vwap", period, 1)?) })
    }

    /// Takes a price and the volume traded at it; a negative volume is ignored.
    pub fn update(&mut self, price: f64, volume: f64) -> Option<f64> {
        if is_usable(price) && is_usable(volume) {
            return self.update_value(price * volume, volume);
        }
        self.value()
    }

    /// Takes a traded value (price × volume, a candle's quote volume) and its volume; a negative volume is ignored.
    pub fn update_value(&mut self, value: f64, volume: f64) -> Option<f64> {
        if value.is_finite() && is_usable(volume) && volume >= 0.0 {
            self.window.push(Traded { value, volume });
        }
        self.value()
    }

    /// The average price; `None` until `period` updates were seen or when nothing was traded in them.
    pub fn value(&self) -> Option<f64> {
        let traded = self.window.value().filter(|traded| traded.volume > 0.0)?;
        Some(traded.value / traded.volume).filter(|price| price.is_finite())
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

    fn from_scratch(trades: &[(f64, f64)], period: usize) -> Option<f64> {
        let window = &trades[trades.len().checked_sub(period)?..];
        let volume: f64 = window.iter().map(|trade| trade.1).sum();
        let value: f64 = window.iter().map(|trade| trade.0 * trade.1).sum();
        (volume > 0.0).then(|| value / volume)
    }

    proptest! {
        #[test]
        fn it_equals_the_ratio_over_the_window(
            prices in prices(),
            volumes in prop::collection::vec(prop_oneof![Just(0.0), 0.001f64..50.0], 100),
            period in 1usize..20,
        ) {
            let trades: Vec<(f64, f64)> = prices.iter().copied().zip(volumes.iter().copied()).collect();
            let mut vwap = Vwap::new(period).expect("in range");
            for i in 0..trades.len() {
                let value = vwap.update(trades[i].0, trades[i].1);
                prop_assert!(is_close(value, from_scratch(&trades[..=i], period)));
            }
        }
    }

    #[test]
    fn without_volume_there_is_no_price() {
        let mut vwap = Vwap::new(2).expect("in range");
        assert_eq!(vwap.update(10.0, 0.0), None);
        assert_eq!(vwap.update(10.0, 0.0), None);
        assert_eq!(vwap.update(20.0, 3.0), Some(20.0));
        assert_eq!(vwap.update(1e9, -1.0), Some(20.0), "ignored");
        assert_eq!(vwap.update(40.0, 1.0), Some(25.0));
        goes_on_after_restore(vwap, |vwap| vwap.update(5.5, 2.0));
    }
}
