//! A position as exact sums: signed quantity, signed cost, realised profit. No average price is stored.
//!
//! Invariant, whatever the order of fills: `realised − cost` is minus the sum of the signed notional values of all fills; so
//! realised plus unrealised profit is the same however fills are shared among strategies.
//! Tests: worked examples, properties against a plain recomputation.
#![deny(clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::funding::proportion;
use crate::id::AssetIx;
use crate::instrument::Instrument;
use crate::num::{Money, NetQuantity, NumError, Price, Quantity, Rounding, Side, div_round};
use serde::{Deserialize, Serialize};

/// An exact position in one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Signed quantity: positive is long.
    pub quantity: NetQuantity,
    /// Signed sum of price × quantity of what is open, in the quote asset; divided by the quantity it is the average entry price.
    pub cost: Money,
    /// Profit of what was closed, by average cost, before fees and funding, in the quote asset.
    pub realized: Money,
}

impl Position {
    /// No position, nothing realised.
    pub const fn flat(quote: AssetIx) -> Position {
        Position { quantity: NetQuantity::ZERO, cost: Money::zero(quote), realized: Money::zero(quote) }
    }

    /// The position after a fill. What closes takes its share of the cost out (`cost × closed / quantity`, cut toward zero, the
    /// remainder stays in the cost of what is left) and realises the difference; what is beyond that opens the other way.
    pub fn traded(
        self,
        instrument: &Instrument,
        side: Side,
        price: Price,
        quantity: Quantity,
    ) -> Result<Position, NumError> {
        let (have, fill) = (self.quantity.mantissa(), quantity.signed(side).mantissa());
        let closing = if have.signum() == fill.signum().saturating_neg() {
            let size = have.unsigned_abs().min(fill.unsigned_abs());
            i64::try_from(size).map_err(|_| NumError::Overflow)?.saturating_mul(have.signum())
        } else {
            0
        };
        let closed = self.closed(instrument, price, closing)?;
        let opening = fill.checked_add(closing).ok_or(NumError::Overflow)?;
        let opening = NetQuantity::from_mantissa(opening);
        Ok(Position {
            quantity: closed.quantity.checked_add(opening).ok_or(NumError::Overflow)?,
            cost: closed.cost.checked_add(instrument.signed_notional(price, opening)?)?,
            realized: closed.realized,
        })
    }

    /// Closes `closing` (of the sign of the position, and no larger) at a price.
    fn closed(self, instrument: &Instrument, price: Price, closing: i64) -> Result<Position, NumError> {
        if closing == 0 {
            return Ok(self);
        }
        let have = self.quantity.mantissa();
        let removed = proportion(self.cost.mantissa(), closing as i128, have as i128)?;
        let removed = Money::new(self.cost.asset, removed);
        let worth = instrument.signed_notional(price, NetQuantity::from_mantissa(closing))?;
        Ok(Position {
            quantity: NetQuantity::from_mantissa(have.checked_sub(closing).ok_or(NumError::Overflow)?),
            cost: self.cost.checked_sub(removed)?,
            realized: self.realized.checked_add(worth)?.checked_sub(removed)?,
        })
    }

    /// Whether nothing is open.
    pub const fn is_flat(&self) -> bool {
        self.quantity.is_zero()
    }

    /// Signed value at a price.
    pub fn value(&self, instrument: &Instrument, price: Price) -> Result<Money, NumError> {
        instrument.signed_notional(price, self.quantity)
    }

    /// Profit of what is open at a price, before fees and funding.
    pub fn unrealized(&self, instrument: &Instrument, price: Price) -> Result<Money, NumError> {
        self.value(instrument, price)?.checked_sub(self.cost)
    }

    /// The average entry price, rounded to the nearest that the price scale can hold; `None` when flat or when it does not fit.
    pub fn entry_price(&self, instrument: &Instrument) -> Option<Price> {
        let one = instrument.signed_notional(Price::from_mantissa(1), self.quantity).ok()?.mantissa();
        if one == 0 {
            return None;
        }
        let cost = self.cost.mantissa().checked_mul(one.signum())?;
        let price = div_round(cost, one.checked_abs()?, Rounding::Nearest);
        i64::try_from(price).ok().map(Price::from_mantissa)
    }

    /// `realised − cost`: minus the sum of the signed notional values of all fills, whatever their order.
    pub fn balance(&self) -> Result<Money, NumError> {
        self.realized.checked_sub(self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::margin::tests::instrument;
    use proptest::prelude::*;

    const USDT: AssetIx = AssetIx(1);

    fn after(fills: &[(Side, &str, &str)]) -> Position {
        let btc = instrument(&[]);
        fills.iter().fold(Position::flat(USDT), |position, (side, price, quantity)| {
            let (price, quantity) =
                (btc.parse_price(price).expect("price"), btc.parse_quantity(quantity).expect("quantity"));
            position.traded(&btc, *side, price, quantity).expect("fits")
        })
    }

    fn facts(position: Position) -> (i64, String, String) {
        (position.quantity.mantissa(), position.cost.to_string(), position.realized.to_string())
    }

    #[test]
    fn opens_grows_closes_and_flips() {
        use Side::{Buy, Sell};
        let opened = [(Buy, "100", "1"), (Buy, "103", "2")];
        assert_eq!(facts(after(&opened)), (3_000, "306".into(), "0".into()));
        assert_eq!(after(&opened).entry_price(&instrument(&[])), Some(Price::from_mantissa(10_200_000_000)));
        let part = [opened[0], opened[1], (Sell, "110", "1")];
        assert_eq!(facts(after(&part)), (2_000, "204".into(), "8".into()));
        let flipped = [opened[0], opened[1], (Sell, "110", "5")];
        assert_eq!(facts(after(&flipped)), (-2_000, "-220".into(), "24".into()));
        let back = [flipped[0], flipped[1], flipped[2], (Buy, "100", "2")];
        assert_eq!(facts(after(&back)), (0, "0".into(), "44".into()));
        assert_eq!(after(&back).entry_price(&instrument(&[])), None);
    }

    #[test]
    fn the_remainder_stays_in_the_cost() {
        use Side::{Buy, Sell};
        // Cost 100.00000001 over 3 steps: a third has no end, what is cut stays and comes out with the last.
        let fills =
            [(Buy, "33333.33333333", "0.001"), (Buy, "33333.33333333", "0.001"), (Buy, "33333.33333335", "0.001")];
        let one = [fills[0], fills[1], fills[2], (Sell, "33333.33333333", "0.001")];
        assert_eq!(facts(after(&one)).1, "66.666666666673333334");
        let all = [one[0], one[1], one[2], one[3], (Sell, "33333.33333333", "0.002")];
        assert_eq!(facts(after(&all)), (0, "0".into(), "-0.00000000002".into()));
    }

    #[test]
    fn too_large_is_an_error() {
        let btc = instrument(&[]);
        let (price, quantity) = (Price::from_mantissa(i64::MAX), Quantity::from_mantissa(i64::MAX).expect("positive"));
        let mut position = Position::flat(USDT);
        assert_eq!(position.traded(&btc, Side::Buy, price, quantity), Err(NumError::Overflow), "cost");
        position.quantity = NetQuantity::from_mantissa(i64::MAX);
        assert_eq!(position.traded(&btc, Side::Buy, Price::ZERO, quantity), Err(NumError::Overflow), "quantity");
        position.quantity = NetQuantity::from_mantissa(i64::MIN);
        assert!(position.traded(&btc, Side::Buy, Price::ZERO, quantity).is_ok());
    }

    /// The rules again, in whole numbers, with a plain average-cost formula.
    fn twin(fills: &[(Side, i64, i64)], factor: i128) -> (i64, i128, i128) {
        let (mut quantity, mut cost, mut realized) = (0i128, 0i128, 0i128);
        for &(side, price, size) in fills {
            let price = price as i128 * factor;
            let signed = if side == Side::Buy { size as i128 } else { -(size as i128) };
            if quantity * signed >= 0 {
                cost += signed * price;
            } else if signed.abs() <= quantity.abs() {
                let removed = cost * -signed / quantity;
                realized += -signed * price - removed;
                cost -= removed;
            } else {
                realized += quantity * price - cost;
                cost = (quantity + signed) * price;
            }
            quantity += signed;
        }
        (quantity as i64, cost, realized)
    }

    fn fills() -> impl Strategy<Value = Vec<(Side, i64, i64)>> {
        let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
        prop::collection::vec((side, 1i64..1_000_000_000_000, 0i64..2_000), 0..40)
    }

    proptest! {
        #[test]
        fn step_by_step_is_the_recomputation(fills in fills(), mark in 1i64..1_000_000_000_000) {
            let btc = instrument(&[]);
            let factor = btc.notional(Price::from_mantissa(1), Quantity::from_mantissa(1).expect("positive")).expect("fits").mantissa();
            let mut position = Position::flat(USDT);
            let mut spent = 0i128;
            for (at, &(side, price, size)) in fills.iter().enumerate() {
                let quantity = Quantity::from_mantissa(size).expect("positive");
                position = position.traded(&btc, side, Price::from_mantissa(price), quantity).expect("fits");
                let now = (position.quantity.mantissa(), position.cost.mantissa(), position.realized.mantissa());
                prop_assert_eq!(now, twin(&fills[..=at], factor));
                spent += quantity.signed(side).mantissa() as i128 * price as i128 * factor;
                prop_assert_eq!(position.balance().expect("fits").mantissa(), -spent);
                prop_assert!(!position.is_flat() || position.cost.is_zero());
            }
            let mark = Price::from_mantissa(mark);
            let total = position.realized.checked_add(position.unrealized(&btc, mark).expect("fits")).expect("fits");
            prop_assert_eq!(total.mantissa(), position.value(&btc, mark).expect("fits").mantissa() - spent);
        }
    }
}
