//! Funding of perpetual contracts: what a position pays or receives, and how a payment is shared among strategies.
//! Tests: worked example, properties of the shares.
#![deny(clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::instrument::Instrument;
use crate::num::{Money, NetQuantity, NumError, Price, Rate, Rounding};

/// Decimals with which the exchange books balances.
pub const BOOKED_DECIMALS: u8 = 8;

/// What a position receives (positive) or pays (negative) at a settlement: `-(quantity × mark price) × rate`, in the
/// instrument's quote asset. A long pays when the rate is positive, a short receives.
///
/// Rounded down (against the account) to the 8 decimals with which the exchange books.
pub fn payment(
    instrument: &Instrument,
    quantity: NetQuantity,
    mark_price: Price,
    rate: Rate,
) -> Result<Money, NumError> {
    // Rounding down twice is rounding down once, so the way over 18 decimals changes nothing.
    let notional = instrument.signed_notional(mark_price, quantity)?;
    Ok(notional.negate().times(rate, Rounding::Down)?.round_to(BOOKED_DECIMALS, Rounding::Down))
}

/// Shares `amount` by signed quantities: each gets `amount × quantity / sum`, cut toward zero, and the remainder goes to the
/// largest (the first of equals), so the shares add up to `amount` exactly. A strategy whose position is opposite to
/// the account's gets the opposite sign: it receives what the others pay. `None` when the quantities cancel out.
pub fn share(amount: Money, quantities: &[NetQuantity]) -> Result<Option<Vec<Money>>, NumError> {
    let sum: i128 = quantities.iter().map(|q| q.mantissa() as i128).sum();
    if sum == 0 {
        return Ok(None);
    }
    let mut rest = amount;
    let mut shares = Vec::with_capacity(quantities.len());
    for quantity in quantities {
        let part = proportion(amount.mantissa(), quantity.mantissa() as i128, sum)?;
        let part = Money::new(amount.asset, part);
        rest = rest.checked_sub(part)?;
        shares.push(part);
    }
    let mut largest = 0;
    for (at, quantity) in quantities.iter().enumerate() {
        if quantity.mantissa().unsigned_abs() > quantities[largest].mantissa().unsigned_abs() {
            largest = at;
        }
    }
    shares[largest] = shares[largest].checked_add(rest)?;
    Ok(Some(shares))
}

/// `amount × part / whole` cut toward zero, without overflow in between for factors of 64 bits. `whole` must not be zero.
pub(crate) fn proportion(amount: i128, part: i128, whole: i128) -> Result<i128, NumError> {
    let overflow = || NumError::Overflow;
    let times = amount.checked_div(whole).ok_or_else(overflow)?;
    let left = amount.checked_rem(whole).ok_or_else(overflow)?;
    let high = times.checked_mul(part).ok_or_else(overflow)?;
    let low = left.checked_mul(part).and_then(|v| v.checked_div(whole)).ok_or_else(overflow)?;
    high.checked_add(low).ok_or_else(overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AssetIx;
    use crate::position::margin::tests::instrument;
    use proptest::prelude::*;

    const USDT: AssetIx = AssetIx(1);

    fn money(text: &str) -> Money {
        Money::parse(USDT, text.as_bytes()).expect("a number")
    }

    #[test]
    fn a_long_pays_a_positive_rate() {
        let btc = instrument(&[]);
        let mark = btc.parse_price("61800.12345678").expect("price");
        let pay = |quantity: i64, rate: &str| {
            let rate = Rate::parse(rate.as_bytes()).expect("rate");
            payment(&btc, NetQuantity::from_mantissa(quantity), mark, rate).expect("fits").to_string()
        };
        // 2.5 × 61800.12345678 × 0.0001 = 15.4500308641950
        assert_eq!(pay(2_500, "0.0001"), "-15.45003087");
        assert_eq!(pay(-2_500, "0.0001"), "15.45003086");
        assert_eq!(pay(2_500, "-0.0001"), "15.45003086");
        assert_eq!(pay(0, "0.0001"), "0");
    }

    #[test]
    fn strategies_pay_by_size_and_opposite_ones_receive() {
        let of = |amount: &str, quantities: &[i64]| {
            let quantities: Vec<_> = quantities.iter().map(|&q| NetQuantity::from_mantissa(q)).collect();
            let shares = share(money(amount), &quantities).expect("fits")?;
            Some(shares.iter().map(Money::to_string).collect::<Vec<_>>())
        };
        assert_eq!(of("-30", &[5, -2]), Some(vec!["-50".into(), "20".into()]));
        assert_eq!(
            of("0.00000001", &[1, 1, 1]).map(|s| s.join(" ")),
            Some("0.000000003333333334 0.000000003333333333 0.000000003333333333".into())
        );
        assert_eq!(of("1", &[3, -3]), None);
        assert_eq!(of("1", &[]), None);
    }

    proptest! {
        #[test]
        fn shares_add_up(amount in -(1i128 << 90)..(1i128 << 90), quantities in prop::collection::vec(-1_000_000i64..1_000_000, 1..6)) {
            let net: Vec<_> = quantities.iter().map(|&q| NetQuantity::from_mantissa(q)).collect();
            if let Some(shares) = share(Money::new(USDT, amount), &net).expect("fits") {
                prop_assert_eq!(shares.iter().map(|s| s.mantissa()).sum::<i128>(), amount);
            } else {
                prop_assert_eq!(quantities.iter().sum::<i64>(), 0);
            }
        }

        #[test]
        fn a_proportion_is_the_exact_one(amount in any::<i64>(), part in any::<i32>(), whole in any::<i64>()) {
            prop_assume!(whole != 0);
            let exact = amount as i128 * part as i128 / whole as i128;
            prop_assert_eq!(proportion(amount as i128, part as i128, whole as i128), Ok(exact));
        }
    }
}
