//! Fees that are paid in another asset than the margin asset: what they cost in it, so that the day's profit and its limit see them.
//!
//! A fee is valued once, when it is booked, at the mark price of the contract `<its asset>/<margin asset>`, rounded against the
//! account. Where no such price is known yet the fee waits, told to a person and shown apart, and is valued at the first one.
//! The wallets are not concerned: they hold what the exchange took, in the asset in which it took it.

use super::Ledger;
use super::state::State;
use crate::event::AlertCode;
use crate::id::AssetIx;
use crate::instrument::{Instrument, Universe};
use crate::node::{Context, Outbox};
use crate::num::{Money, NumError, Price, Rounding, div_round};
use crate::position::Purse;

/// Fees in other assets than the margin asset, as they stand after a booking.
pub(super) struct OtherFees {
    pub valued: Purse,
    pub waiting: Purse,
    /// The asset whose fees wait now and did not before.
    pub unknown: Option<AssetIx>,
}

impl State {
    /// Adds a fee to what it has to count as; changes nothing itself.
    pub fn other_fee(&self, fee: Money, margin: AssetIx, universe: &Universe) -> Result<OtherFees, NumError> {
        let mut fees = OtherFees { valued: self.valued.clone(), waiting: self.waiting.clone(), unknown: None };
        if fee.asset == margin {
            return Ok(fees);
        }
        match self.price_of(fee.asset, margin, universe) {
            Some((contract, price)) => fees.valued.add(worth(fee, contract, price)?)?,
            None => {
                fees.unknown = fees.waiting.get(fee.asset).is_zero().then_some(fee.asset);
                fees.waiting.add(fee)?;
            }
        }
        Ok(fees)
    }

    /// Values the fees that wait, as far as prices are known by now. Says whether any was.
    pub fn value_waiting(&mut self, margin: AssetIx, universe: &Universe) -> Result<bool, NumError> {
        let waiting: Vec<Money> = self.waiting.iter().filter(|fee| !fee.is_zero()).collect();
        let mut any = false;
        for fee in waiting {
            if fee.asset == margin {
                // The margin asset was changed to it: it counts as it is.
                self.waiting.take(fee)?;
                continue;
            }
            let Some((contract, price)) = self.price_of(fee.asset, margin, universe) else { continue };
            self.valued.add(worth(fee, contract, price)?)?;
            self.waiting.take(fee)?;
            any = true;
        }
        Ok(any)
    }

    /// The contract that prices an asset in another one, and its newest mark price.
    fn price_of<'u>(
        &self,
        asset: AssetIx,
        in_asset: AssetIx,
        universe: &'u Universe,
    ) -> Option<(&'u Instrument, Price)> {
        let prices = |i: &&Instrument| i.base == asset && i.quote == in_asset;
        universe.instruments().iter().filter(prices).find_map(|i| Some((i, *self.marks.get(&i.symbol)?)))
    }
}

/// What an amount of a contract's base asset is worth in its quote asset, rounded up: a fee is never made smaller.
fn worth(amount: Money, contract: &Instrument, price: Price) -> Result<Money, NumError> {
    let unit = 10i128.checked_pow(u32::from(contract.price_scale)).ok_or(NumError::Overflow)?;
    let product = amount.mantissa().checked_mul(i128::from(price.mantissa())).ok_or(NumError::Overflow)?;
    Ok(Money::new(contract.quote, div_round(product, unit, Rounding::Up)))
}

impl Ledger {
    pub(super) fn warn_of_fees(&self, asset: AssetIx, context: &Context<'_>, out: &mut Outbox) {
        let (asset, margin) = (context.universe.asset_name(asset), context.universe.asset_name(self.margin));
        let text = format!(
            "fees are paid in {asset} and no mark price of {asset}{margin} is known: they are missing in the day's profit and its limit until there is one"
        );
        self.alert(AlertCode::SettingsDiffer, None, text, out);
    }
}
