//! Fees: a share of the notional value of each fill, by role.
//!
//! Assumptions: constant rates per account, no tiers and no discount for paying in another asset; the fee is taken in the margin
//! asset. Each fee is rounded **up** to 8 decimals, a rebate therefore down in size: never in the account's favour. The exchange
//! does not publish its rounding.

use crate::num::{Money, NumError, Rate, Rounding};
use serde::{Deserialize, Serialize};

/// Decimals to which the exchange books money.
pub const BOOKED_DECIMALS: u8 = 8;

/// Fee rates of one account; a negative one is a rebate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    /// Rate of fills as maker.
    pub maker: Rate,
    /// Rate of fills as taker.
    pub taker: Rate,
}

impl Default for Fees {
    /// The exchange's rates for a new account: 0.02 % and 0.05 %.
    fn default() -> Fees {
        Fees { maker: Rate::from_bps(2), taker: Rate::from_bps(5) }
    }
}

impl Fees {
    /// No fees at all.
    pub const NONE: Fees = Fees { maker: Rate::ZERO, taker: Rate::ZERO };

    /// The fee of a fill: positive is paid.
    pub fn of(&self, notional: Money, maker: bool) -> Result<Money, NumError> {
        let rate = if maker { self.maker } else { self.taker };
        Ok(notional.times(rate, Rounding::Up)?.round_to(BOOKED_DECIMALS, Rounding::Up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AssetIx;

    #[test]
    fn fees_round_against_the_account() {
        let fees = Fees { maker: Rate::from_mantissa(-1_000_000), taker: Rate::from_bps(5) };
        let money = |text: &str| Money::parse(AssetIx(0), text.as_bytes()).expect("a number");
        assert_eq!(fees.of(money("1236.0006"), false), Ok(money("0.6180003")));
        assert_eq!(fees.of(money("0.00000001"), false), Ok(money("0.00000001")));
        assert_eq!(fees.of(money("123.00000001"), true), Ok(money("-0.0123")));
    }
}
