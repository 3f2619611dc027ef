//! Drawdown: how far equity is, and was, below its highest value so far.

use super::EquityPoint;
use crate::num::{Money, NumError, Rate};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// Drawdown of an equity curve, fed point by point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawdown {
    /// Highest equity so far.
    pub peak: Money,
    /// When it was first reached.
    pub peak_at: Ts,
    /// The peak less the newest equity; never negative.
    pub current: Money,
    /// The largest amount below a peak.
    pub max: Money,
    /// The largest share of a peak that was lost, cut to ten decimals; above 1 when equity fell below zero. A peak that is not positive
    /// has no share.
    pub max_rate: Rate,
    /// The longest time from a peak that was fallen from to the next higher one, or to the newest point below it.
    pub longest: Span,
    /// Whether equity was below the peak since the peak.
    underwater: bool,
}

impl Drawdown {
    /// Begins with the first point.
    pub fn new(first: EquityPoint) -> Drawdown {
        let none = Money::zero(first.equity.asset);
        Drawdown {
            peak: first.equity,
            peak_at: first.at,
            current: none,
            max: none,
            max_rate: Rate::ZERO,
            longest: Span::ZERO,
            underwater: false,
        }
    }

    /// Takes the next point. An error (assets mixed, overflow) leaves everything as it was.
    pub fn push(&mut self, point: EquityPoint) -> Result<(), NumError> {
        let below = self.peak.checked_sub(point.equity)?;
        let away = point.at.since(self.peak_at);
        if below.mantissa() > 0 {
            (self.current, self.underwater) = (below, true);
            self.max = if below.mantissa() > self.max.mantissa() { below } else { self.max };
            self.max_rate = self.max_rate.max(share(below, self.peak));
            self.longest = self.longest.max(away);
        } else {
            self.current = Money::zero(point.equity.asset);
            if below.is_negative() {
                if self.underwater {
                    self.longest = self.longest.max(away);
                }
                (self.peak, self.peak_at, self.underwater) = (point.equity, point.at, false);
            }
        }
        Ok(())
    }

    /// Drawdown of a whole curve; `None` for an empty one.
    pub fn of(curve: &[EquityPoint]) -> Result<Option<Drawdown>, NumError> {
        let Some((&first, rest)) = curve.split_first() else { return Ok(None) };
        let mut drawdown = Drawdown::new(first);
        rest.iter().try_for_each(|&point| drawdown.push(point))?;
        Ok(Some(drawdown))
    }
}

/// `part / whole`, cut to ten decimals and to what a rate can hold; zero when `whole` is not positive.
fn share(part: Money, whole: Money) -> Rate {
    let unit = Rate::ONE.mantissa() as i128;
    let (mut part, mut whole) = (part.mantissa(), whole.mantissa());
    if part > i128::MAX / unit {
        // More than ten billions: ten of its 28 digits and more do not show in the result.
        (part, whole) = (part / unit, whole / unit);
    }
    if whole <= 0 {
        return Rate::ZERO;
    }
    Rate::from_mantissa(i64::try_from(part * unit / whole).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{HOUR, USDT, curve};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_example() {
        // 1000 -> 1200 -> 900 -> 1300 -> 1250: 300 below 1200 is a quarter, two hours from the peak at 1 to the next at 3.
        let drawdown = Drawdown::of(&curve(&[1_000, 1_200, 900, 1_300, 1_250])).expect("fits").expect("not empty");
        assert_eq!(drawdown.max, Money::units(USDT, 300));
        assert_eq!(drawdown.max_rate.to_string(), "0.25");
        assert_eq!(drawdown.current, Money::units(USDT, 50));
        assert_eq!((drawdown.peak, drawdown.peak_at), (Money::units(USDT, 1_300), Ts::from_millis(3 * 3_600_000)));
        assert_eq!(drawdown.longest.nanos(), 2 * HOUR.nanos());
        let rising = Drawdown::of(&curve(&[1, 2, 2, 3])).expect("fits").expect("not empty");
        assert_eq!((rising.max, rising.longest), (Money::zero(USDT), Span::ZERO));
        let broke = Drawdown::of(&curve(&[100, -50])).expect("fits").expect("not empty");
        assert_eq!(broke.max_rate.to_string(), "1.5");
        assert_eq!(Drawdown::of(&[]), Ok(None));
    }

    #[test]
    fn large_amounts_have_a_share_too() {
        let drawdown = Drawdown::of(&curve(&[4_000_000_000_000_000, 1_000_000_000_000_000])).expect("fits");
        assert_eq!(drawdown.expect("not empty").max_rate.to_string(), "0.75");
    }

    proptest! {
        #[test]
        fn the_largest_fall_over_all_pairs(values in prop::collection::vec(-1_000i64..1_000, 1..30)) {
            let drawdown = Drawdown::of(&curve(&values)).expect("fits").expect("not empty");
            let pairs = (0..values.len()).flat_map(|to| (0..=to).map(move |from| (from, to)));
            let most = pairs.map(|(from, to)| values[from] - values[to]).max().unwrap_or(0);
            prop_assert_eq!(drawdown.max, Money::units(USDT, most));
        }
    }
}
