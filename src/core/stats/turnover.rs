//! Turnover: what was traded.

use super::StatsError;
use crate::id::AssetIx;
use crate::instrument::Universe;
use crate::num::Money;
use crate::order::Fill;

/// Sum of price × quantity of the fills, both sides, in `quote`. A fill that is quoted in another asset is an error.
pub fn turnover(fills: &[Fill], quote: AssetIx, universe: &Universe) -> Result<Money, StatsError> {
    let mut sum = Money::zero(quote);
    for fill in fills {
        let instrument = universe.instrument(fill.symbol).ok_or(StatsError::UnknownSymbol(fill.symbol))?;
        sum = sum.checked_add(instrument.notional(fill.price, fill.quantity)?)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{USDT, fill, money, universe};
    use super::*;
    use crate::num::Side::{Buy, Sell};

    #[test]
    fn worked_example() {
        let fills = [fill(0, Buy, "100.5", 2_000, "0"), fill(1, Sell, "99", 500, "0")];
        assert_eq!(turnover(&fills, USDT, &universe()), Ok(money("250.5")));
        assert!(matches!(turnover(&fills, AssetIx(0), &universe()), Err(StatsError::Number(_))));
    }
}
