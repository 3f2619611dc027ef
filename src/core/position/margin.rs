//! Margin of linear contracts: initial and maintenance margin, and the price at which a cross position is liquidated.
//! Source of the formulas: the exchange's support article "How to Calculate Liquidation Price of USDⓈ-M Futures Contracts".
//! Tests: the article's worked example, and the definition of the liquidation price as a property.
#![deny(clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::id::SymbolIx;
use crate::instrument::{Bracket, Instrument};
use crate::num::{Money, NetQuantity, NumError, Price, Rate, Rounding, div_round, pow10};

/// Why a margin cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarginError {
    /// A number does not fit, or assets were mixed.
    #[error(transparent)]
    Number(#[from] NumError),
    /// The instrument has no leverage brackets yet.
    #[error("no leverage brackets are known for symbol {0:?}")]
    NoBrackets(SymbolIx),
    /// Leverage must be 1 at least.
    #[error("leverage is zero")]
    NoLeverage,
    /// A maintenance rate is outside 0 to 1 (1 excluded).
    #[error("symbol {0:?} has a maintenance margin rate of {1}, allowed: from 0 to below 1")]
    BadRate(SymbolIx, Rate),
}

/// Initial margin: the size of the notional value over the leverage, rounded up to 18 decimals.
pub fn initial_margin(notional: Money, leverage: u16) -> Result<Money, MarginError> {
    if leverage == 0 {
        return Err(MarginError::NoLeverage);
    }
    Ok(Money::new(notional.asset, div_round(notional.abs().mantissa(), leverage as i128, Rounding::Up)))
}

/// Maintenance margin: size of the notional value × rate − maintenance amount, of the bracket that holds for it, rounded up to
/// 18 decimals and never negative.
pub fn maintenance_margin(instrument: &Instrument, notional: Money) -> Result<Money, MarginError> {
    let bracket = instrument.bracket(notional).ok_or(MarginError::NoBrackets(instrument.symbol))?;
    maintenance_in(bracket, notional)
}

/// The highest leverage that the brackets allow for a position of this notional value.
pub fn max_leverage(instrument: &Instrument, notional: Money) -> Result<u16, MarginError> {
    Ok(instrument.bracket(notional).ok_or(MarginError::NoBrackets(instrument.symbol))?.max_leverage)
}

fn maintenance_in(bracket: &Bracket, notional: Money) -> Result<Money, MarginError> {
    let gross = notional.abs().times(bracket.maintenance_rate, Rounding::Up)?;
    let margin = gross.checked_sub(bracket.maintenance_amount)?;
    Ok(if margin.is_negative() { Money::zero(margin.asset) } else { margin })
}

/// Maintenance margin over margin balance, rounded up: liquidation begins at 1. `None` when the balance is not positive.
pub fn margin_ratio(maintenance: Money, balance: Money) -> Result<Option<Rate>, MarginError> {
    balance.checked_sub(maintenance)?;
    if balance.mantissa() <= 0 {
        return Ok(None);
    }
    let scaled = maintenance.mantissa().checked_mul(Rate::ONE.mantissa() as i128).ok_or(NumError::Overflow)?;
    let ratio = div_round(scaled, balance.mantissa(), Rounding::Up);
    Ok(Some(Rate::from_mantissa(i64::try_from(ratio).map_err(|_| NumError::Overflow)?)))
}

/// What backs a cross position besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backing {
    /// Wallet balance of the cross account.
    pub wallet: Money,
    /// Maintenance margin of all *other* cross positions.
    pub other_maintenance: Money,
    /// Unrealised profit of all *other* cross positions.
    pub other_unrealized: Money,
}

/// The mark price at which a cross position in one-way mode is liquidated, all else staying as it is:
///
/// `(wallet − other maintenance + other unrealised + amount − cost) / (|quantity| × rate − quantity)`
///
/// with `cost` the signed sum of entry price × quantity, and rate and amount of the bracket that holds *at that price*. Because
/// maintenance margin is the largest of the brackets' lines, that is the highest of the brackets' answers for a long and the
/// lowest for a short. Rounded towards the earlier liquidation.
///
/// `None` when flat, and for a long that no positive price liquidates. `Price::ZERO` for a short that is below maintenance
/// at any price. For an isolated position, pass its own wallet and zeros.
pub fn liquidation_price(
    instrument: &Instrument,
    quantity: NetQuantity,
    cost: Money,
    backing: Backing,
) -> Result<Option<Price>, MarginError> {
    let size = quantity.mantissa().unsigned_abs() as i128;
    if size == 0 {
        return Ok(None);
    }
    let long = quantity.mantissa() > 0;
    let free = backing.wallet.checked_sub(backing.other_maintenance)?.checked_add(backing.other_unrealized)?;
    let mut price: Option<i128> = None;
    for bracket in &instrument.brackets {
        let rate = bracket.maintenance_rate;
        if rate < Rate::ZERO || rate >= Rate::ONE {
            return Err(MarginError::BadRate(instrument.symbol, rate));
        }
        // The formula with both signs turned for a long, so that the divisor is positive.
        let buffer = free.checked_add(bracket.maintenance_amount)?.checked_sub(cost)?.mantissa();
        let (one, rate) = (Rate::ONE.mantissa() as i128, rate.mantissa() as i128);
        let (sum, factor) =
            if long { (buffer.checked_neg(), one.checked_sub(rate)) } else { (Some(buffer), one.checked_add(rate)) };
        let (sum, factor) = (sum.ok_or(NumError::Overflow)?, factor.ok_or(NumError::Overflow)?);
        let here = quotient(instrument, sum, size, factor, if long { Rounding::Up } else { Rounding::Down })?;
        price = Some(match price {
            Some(best) if long => best.max(here),
            Some(best) => best.min(here),
            None => here,
        });
    }
    let price = price.ok_or(MarginError::NoBrackets(instrument.symbol))?;
    if price <= 0 {
        return Ok((!long).then_some(Price::ZERO));
    }
    Ok(Some(Price::from_mantissa(i64::try_from(price).map_err(|_| NumError::Overflow)?)))
}

/// `sum / (size × factor)` as a price mantissa: `sum` has 18 decimals, `factor` those of a rate.
fn quotient(
    instrument: &Instrument,
    sum: i128,
    size: i128,
    factor: i128,
    rounding: Rounding,
) -> Result<i128, NumError> {
    let divisor = size.checked_mul(factor).ok_or(NumError::Overflow)?;
    let up = instrument.price_scale.saturating_add(instrument.quantity_scale).saturating_add(Rate::SCALE);
    let (sum, divisor) = match up.checked_sub(Money::SCALE) {
        Some(shift) => (sum.checked_mul(pow10(shift)), Some(divisor)),
        None => (Some(sum), divisor.checked_mul(pow10(Money::SCALE.saturating_sub(up)))),
    };
    Ok(div_round(sum.ok_or(NumError::Overflow)?, divisor.ok_or(NumError::Overflow)?, rounding))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::binance::instruments;
    use crate::id::AssetIx;
    use crate::instrument::{Definition, InstrumentSpec, Universe};
    use proptest::prelude::*;

    const USDT: AssetIx = AssetIx(1);

    fn money(text: &str) -> Money {
        Money::parse(USDT, text.as_bytes()).expect("a number")
    }

    /// floor, cap, leverage, rate, amount
    type BracketText = (&'static str, &'static str, u16, &'static str, &'static str);

    /// BTCUSDT of 2021, the time of the exchange's worked example.
    const BTC: &[BracketText] = &[
        ("0", "50000", 125, "0.004", "0"),
        ("50000", "250000", 100, "0.005", "50"),
        ("250000", "1000000", 50, "0.01", "1300"),
        ("1000000", "10000000", 20, "0.025", "16300"),
        ("10000000", "20000000", 10, "0.05", "266300"),
    ];
    /// ETHUSDT of the same time, from the example itself.
    const ETH: &[BracketText] = &[("0", "10000000", 10, "0.10", "135365")];

    pub fn instrument(brackets: &[BracketText]) -> Instrument {
        let listed = instruments::builtin().expect("sound").instruments.swap_remove(0);
        let spec = InstrumentSpec {
            brackets: brackets
                .iter()
                .map(|&(floor, cap, leverage, rate, amount)| {
                    let rate = Rate::parse(rate.as_bytes()).expect("rate");
                    (floor.to_owned(), cap.to_owned(), leverage, rate, amount.to_owned())
                })
                .collect(),
            ..listed
        };
        let plan = Universe::default().plan(&spec).expect("valid");
        let instrument = plan.into_iter().find_map(|d| match d {
            Definition::Instrument(instrument) => Some(*instrument),
            Definition::Asset { .. } => None,
        });
        instrument.expect("defined")
    }

    fn liquidation(of: &Instrument, quantity: i64, entry: &str, wallet: &str, others: [&str; 2]) -> Option<String> {
        let quantity = NetQuantity::from_mantissa(quantity);
        let cost = of.signed_notional(of.parse_price(entry).expect("price"), quantity).expect("fits");
        let backing =
            Backing { wallet: money(wallet), other_maintenance: money(others[0]), other_unrealized: money(others[1]) };
        let price = liquidation_price(of, quantity, cost, backing).expect("computable")?;
        let cents = div_round(price.mantissa() as i128, 1_000_000, Rounding::Nearest);
        Some(crate::num::mantissa_to_string(cents, 2))
    }

    /// The exchange's own example: one cross wallet of 1,535,443.01 USDT, long 109.488 BTC and 3,683.979 ETH.
    #[test]
    fn the_exchanges_worked_example() {
        let (btc, eth) = (instrument(BTC), instrument(ETH));
        let wallet = "1535443.01";
        let btc_price = liquidation(&btc, 109_488, "32481.980", wallet, ["356512.508", "-448192.89"]);
        assert_eq!(btc_price.as_deref(), Some("26316.89"));
        let eth_price = liquidation(&eth, 3_683_979, "1456.84", wallet, ["71200.81144", "-56354.57"]);
        assert_eq!(eth_price.as_deref(), Some("1153.26"));
        // "Maintenance Margin of BTCUSDT = 71200.81144 (3500032.458 * 2.5% - 16300)"
        let margin = maintenance_margin(&btc, money("3500032.458")).expect("computable");
        assert_eq!(margin.to_string(), "71200.81145");
        let isolated = liquidation(&btc, 109_488, "32481.980", wallet, ["0", "0"]);
        assert_eq!(isolated.as_deref(), Some("18778.73"));
    }

    #[test]
    fn edges_of_liquidation() {
        let btc = instrument(BTC);
        assert_eq!(liquidation(&btc, 0, "100", "5", ["0", "0"]), None, "flat");
        assert_eq!(liquidation(&btc, 1_000, "100", "200", ["0", "0"]), None, "a long with more money than it can lose");
        assert_eq!(liquidation(&btc, -1_000, "100", "-200", ["0", "0"]).as_deref(), Some("0"), "a lost short");
        let bare = instrument(&[]);
        let nothing = Backing { wallet: money("1"), other_maintenance: money("0"), other_unrealized: money("0") };
        assert_eq!(
            liquidation_price(&bare, NetQuantity::from_mantissa(1), money("1"), nothing),
            Err(MarginError::NoBrackets(SymbolIx(0)))
        );
    }

    #[test]
    fn margins() {
        let btc = instrument(BTC);
        assert_eq!(initial_margin(money("-1000"), 20).expect("computable").to_string(), "50");
        assert_eq!(initial_margin(money("1"), 0), Err(MarginError::NoLeverage));
        // Continuous at the edge of two brackets: 250,000 × 0.005 − 50 = 250,000 × 0.01 − 1,300.
        assert_eq!(maintenance_margin(&btc, money("-250000")).expect("computable").to_string(), "1200");
        assert_eq!(maintenance_margin(&btc, money("250000.1")).expect("computable").to_string(), "1200.001");
        assert_eq!(max_leverage(&btc, money("60000")), Ok(100));
        let ratio = margin_ratio(money("25"), money("1000")).expect("computable").expect("positive");
        assert_eq!(ratio.to_string(), "0.025");
        assert_eq!(margin_ratio(money("25"), money("0")), Ok(None));
    }

    proptest! {
        /// At the liquidation price the balance has just fallen to maintenance margin, one price step before it has not.
        #[test]
        fn the_price_is_where_balance_meets_maintenance(
            size in 1i64..1_000_000, short: bool, entry in 1_000i64..100_000, wallet in 0i64..20_000_000, other in -1_000_000i64..1_000_000,
        ) {
            let btc = instrument(BTC);
            let quantity = NetQuantity::from_mantissa(if short { -size } else { size });
            let cost = btc.signed_notional(btc.parse_price(&entry.to_string()).expect("price"), quantity).expect("fits");
            let backing = Backing {
                wallet: Money::units(USDT, wallet), other_maintenance: Money::zero(USDT), other_unrealized: Money::units(USDT, other),
            };
            let short_of = |price: i64| {
                let notional = btc.signed_notional(Price::from_mantissa(price), quantity).expect("fits");
                let balance = backing.wallet.mantissa() + backing.other_unrealized.mantissa() + notional.mantissa() - cost.mantissa();
                balance <= maintenance_margin(&btc, notional).expect("computable").mantissa()
            };
            match liquidation_price(&btc, quantity, cost, backing).expect("computable") {
                Some(price) if price.is_zero() => prop_assert!(short && short_of(1)),
                Some(price) => {
                    let away = if short { -2 } else { 2 };
                    prop_assert!(short_of(price.mantissa() - away / 2));
                    prop_assert!(!short_of(price.mantissa() + away));
                }
                None => prop_assert!(!short && !short_of(1)),
            }
        }
    }
}
