//! Amounts of several assets, one sum per asset.
#![deny(clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::id::AssetIx;
use crate::num::{Money, NumError};
use serde::{Deserialize, Serialize};

/// One sum per asset, in the order of the asset index. A sum that returned to zero stays listed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Purse(Vec<Money>);

impl Purse {
    /// The sum of an asset; zero when nothing was ever added.
    pub fn get(&self, asset: AssetIx) -> Money {
        match self.0.binary_search_by_key(&asset, |m| m.asset) {
            Ok(at) => self.0[at],
            Err(_) => Money::zero(asset),
        }
    }

    /// Adds an amount to the sum of its asset; on overflow nothing changes.
    pub fn add(&mut self, amount: Money) -> Result<(), NumError> {
        match self.0.binary_search_by_key(&amount.asset, |m| m.asset) {
            Ok(at) => self.0[at] = self.0[at].checked_add(amount)?,
            Err(at) => self.0.insert(at, amount),
        }
        Ok(())
    }

    /// Takes an amount from the sum of its asset; on overflow nothing changes.
    pub fn take(&mut self, amount: Money) -> Result<(), NumError> {
        let negative = amount.mantissa().checked_neg().ok_or(NumError::Overflow)?;
        self.add(Money::new(amount.asset, negative))
    }

    /// All sums, by asset.
    pub fn iter(&self) -> impl Iterator<Item = Money> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sum_per_asset_and_nothing_lost_on_overflow() {
        let (usdt, bnb) = (AssetIx(3), AssetIx(1));
        let mut purse = Purse::default();
        purse.add(Money::units(usdt, 5)).expect("fits");
        purse.take(Money::units(bnb, 2)).expect("fits");
        purse.add(Money::units(usdt, 1)).expect("fits");
        assert_eq!(purse.get(usdt), Money::units(usdt, 6));
        assert_eq!(purse.get(AssetIx(2)), Money::zero(AssetIx(2)));
        assert_eq!(purse.add(Money::new(usdt, i128::MAX)), Err(NumError::Overflow));
        assert_eq!(purse.take(Money::new(usdt, i128::MIN)), Err(NumError::Overflow));
        assert_eq!(purse.iter().collect::<Vec<_>>(), [Money::units(bnb, -2), Money::units(usdt, 6)]);
    }
}
