//! Win rate: the share of round trips that ended with a profit.

use super::RoundTrip;

/// Round trips with a profit (after fees) over all of them, 0 to 1; one that ends at zero is no win. `None` when there are none.
pub fn win_rate(trips: &[RoundTrip]) -> Option<f64> {
    let won = trips.iter().filter(|trip| trip.profit.mantissa() > 0).count();
    (!trips.is_empty()).then(|| won as f64 / trips.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::tests::trips;
    use super::*;

    #[test]
    fn worked_example() {
        assert_eq!(win_rate(&trips(&[30, -15, 0, 1])), Some(0.5));
        assert_eq!(win_rate(&[]), None);
    }
}
