//! Rates, and amounts of one asset.

use super::{NumError, Rounding, div_round, mantissa_to_string, parse_i64, parse_mantissa, pow10};
use crate::id::AssetIx;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A dimensionless rate (fee rate, funding rate, margin rate) with 10 decimals: 0.0005 is 5,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Rate(i64);

impl Rate {
    /// Decimals of a rate.
    pub const SCALE: u8 = 10;
    /// No rate.
    pub const ZERO: Rate = Rate(0);
    /// The rate 1 (100 %).
    pub const ONE: Rate = Rate(10_000_000_000);

    /// From a mantissa with ten decimals.
    pub const fn from_mantissa(mantissa: i64) -> Rate {
        Rate(mantissa)
    }

    /// From basis points (1 bp = 0.0001).
    pub const fn from_bps(bps: i64) -> Rate {
        Rate(bps * 1_000_000)
    }

    /// The mantissa with ten decimals.
    pub const fn mantissa(self) -> i64 {
        self.0
    }

    /// Reads decimal text.
    pub fn parse(text: &[u8]) -> Result<Rate, NumError> {
        parse_i64(text, Self::SCALE).map(Rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mantissa_to_string(self.0 as i128, Self::SCALE))
    }
}

/// An amount of one asset, exact to 18 decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// The asset.
    pub asset: AssetIx,
    #[serde(with = "amount_form")]
    amount: i128,
}

/// An amount in the journal is its mantissa; in JSON and the like, where numbers end at 64 bits, its decimal text.
mod amount_form {
    use super::{Money, mantissa_to_string, parse_mantissa};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(amount: &i128, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            mantissa_to_string(*amount, Money::SCALE).serialize(to)
        } else {
            amount.serialize(to)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        if from.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
            parse_mantissa(text.as_bytes(), Money::SCALE).map_err(D::Error::custom)
        } else {
            i128::deserialize(from)
        }
    }
}

impl Money {
    /// Decimals of every amount.
    pub const SCALE: u8 = 18;
    /// One whole unit of an asset.
    pub const UNIT: i128 = pow10(18);

    /// From a mantissa with 18 decimals.
    pub const fn new(asset: AssetIx, mantissa: i128) -> Money {
        Money { asset, amount: mantissa }
    }

    /// Nothing of an asset.
    pub const fn zero(asset: AssetIx) -> Money {
        Money { asset, amount: 0 }
    }

    /// Whole units of an asset.
    pub const fn units(asset: AssetIx, units: i64) -> Money {
        Money { asset, amount: units as i128 * Self::UNIT }
    }

    /// The mantissa with 18 decimals.
    pub const fn mantissa(self) -> i128 {
        self.amount
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.amount == 0
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.amount < 0
    }

    /// Reads decimal text.
    pub fn parse(asset: AssetIx, text: &[u8]) -> Result<Money, NumError> {
        Ok(Money { asset, amount: parse_mantissa(text, Self::SCALE)? })
    }

    /// The sum of two amounts of the same asset.
    pub fn checked_add(self, other: Money) -> Result<Money, NumError> {
        if self.asset != other.asset {
            return Err(NumError::AssetMismatch(self.asset, other.asset));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(NumError::Overflow)?;
        Ok(Money { asset: self.asset, amount })
    }

    /// The difference of two amounts of the same asset.
    pub fn checked_sub(self, other: Money) -> Result<Money, NumError> {
        self.checked_add(other.negate())
    }

    /// The amount with the other sign.
    pub const fn negate(self) -> Money {
        Money { asset: self.asset, amount: -self.amount }
    }

    /// The amount without its sign.
    pub const fn abs(self) -> Money {
        Money { asset: self.asset, amount: self.amount.saturating_abs() }
    }

    /// This amount times a rate, rounded to 18 decimals.
    pub fn times(self, rate: Rate, rounding: Rounding) -> Result<Money, NumError> {
        let unit = pow10(Rate::SCALE);
        // Split, so that a large amount does not overflow before the division.
        let (whole, part) = (self.amount.div_euclid(unit), self.amount.rem_euclid(unit));
        let high = whole.checked_mul(rate.0 as i128).ok_or(NumError::Overflow)?;
        let low = div_round(part * rate.0 as i128, unit, rounding);
        Ok(Money { asset: self.asset, amount: high.checked_add(low).ok_or(NumError::Overflow)? })
    }

    /// The amount rounded to `decimals` (exchanges book with 8).
    pub fn round_to(self, decimals: u8, rounding: Rounding) -> Money {
        let unit = pow10(Self::SCALE.saturating_sub(decimals));
        Money { asset: self.asset, amount: div_round(self.amount, unit, rounding) * unit }
    }

    /// The nearest `f64`, for statistics and display only.
    pub fn to_f64(self) -> f64 {
        self.amount as f64 / 1e18
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mantissa_to_string(self.amount, Self::SCALE))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}", mantissa_to_string(self.amount, Self::SCALE), self.asset)
    }
}
