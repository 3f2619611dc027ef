//! What the indicators' tests share.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Up to a hundred values: small, large, equal ones.
pub fn prices() -> impl Strategy<Value = Vec<f64>> {
    let price = prop_oneof![4 => 1.0f64..100.0, 1 => 50_000.0f64..70_000.0, 1 => Just(42.0)];
    prop::collection::vec(price, 1..100)
}

/// Whether both are missing or equal up to rounding, on the scale of [`prices`].
pub fn is_close(value: Option<f64>, expected: Option<f64>) -> bool {
    match (value, expected) {
        (Some(value), Some(expected)) => (value - expected).abs() <= 1e-9 * expected.abs().max(1.0),
        (None, None) => true,
        _ => false,
    }
}

/// Wilder's average of a whole series: the mean of the first values, then `(average × (n − 1) + value) / n`.
pub fn wilder(values: &[f64], period: usize) -> Option<f64> {
    let (first, later) = values.split_at_checked(period)?;
    let n = period as f64;
    let mean = first.iter().sum::<f64>() / n;
    Some(later.iter().fold(mean, |average, value| (average * (n - 1.0) + value) / n))
}

/// Stores the indicator, reads it back, and steps both: they stay equal to the last bit.
pub fn goes_on_after_restore<T>(mut indicator: T, mut step: impl FnMut(&mut T) -> Option<f64>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = postcard::to_allocvec(&indicator).expect("it can be written");
    let mut restored: T = postcard::from_bytes(&bytes).expect("it can be read");
    for _ in 0..5 {
        assert_eq!(step(&mut restored), step(&mut indicator));
        assert_eq!(restored, indicator);
    }
}
