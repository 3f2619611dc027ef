//! Profit factor: what the winners won over what the losers lost.

use super::{RoundTrip, StatsError};
use crate::num::NumError;

/// Sum of the profits over sum of the losses of round trips. `None` when nothing was lost.
pub fn profit_factor(trips: &[RoundTrip]) -> Result<Option<f64>, StatsError> {
    let (mut won, mut lost) = (0i128, 0i128);
    for trip in trips {
        if trip.profit.asset != trips[0].profit.asset {
            return Err(NumError::AssetMismatch(trips[0].profit.asset, trip.profit.asset).into());
        }
        let profit = trip.profit.mantissa();
        let sum = if profit >= 0 { &mut won } else { &mut lost };
        *sum = sum.checked_add(profit).ok_or(NumError::Overflow)?;
    }
    Ok((lost != 0).then(|| won as f64 / -(lost as f64)))
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::tests::trips;
    use super::*;

    #[test]
    fn worked_example() {
        // Won 30 and 10, lost 15 and 1.
        assert_eq!(profit_factor(&trips(&[30, -15, 10, 0, -1])), Ok(Some(2.5)));
        assert_eq!(profit_factor(&trips(&[30])), Ok(None));
        assert_eq!(profit_factor(&[]), Ok(None));
    }
}
