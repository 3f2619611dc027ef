//! Round trips: from flat to flat, of one strategy in one symbol. A fill that flips a position ends one and begins the next.

use super::StatsError;
use crate::id::{StrategyIx, SymbolIx};
use crate::instrument::{Instrument, Universe};
use crate::num::{Money, Quantity, Side};
use crate::order::Fill;
use crate::position::Position;
use crate::position::funding::proportion;
use crate::time::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One closed round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// The strategy.
    pub strategy: StrategyIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// `Buy` for a long one.
    pub side: Side,
    /// Exchange time of the first fill.
    pub opened: Ts,
    /// Exchange time of the last fill.
    pub closed: Ts,
    /// Realised profit less the fees that were paid in the same (quote) asset. Without funding and fees in other assets.
    pub profit: Money,
}

/// Builds round trips from fills, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoundTrips {
    open: BTreeMap<(StrategyIx, SymbolIx), Open>,
    closed: Vec<RoundTrip>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    position: Position,
    fees: Money,
    opened: Ts,
}

impl RoundTrips {
    /// All that the fills closed.
    pub fn of(fills: &[Fill], universe: &Universe) -> Result<RoundTrips, StatsError> {
        let mut trips = RoundTrips::default();
        fills.iter().try_for_each(|fill| trips.push(fill, universe))?;
        Ok(trips)
    }

    /// The closed ones, in the order of their end.
    pub fn closed(&self) -> &[RoundTrip] {
        &self.closed
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes the next fill.
    pub fn push(&mut self, fill: &Fill, universe: &Universe) -> Result<(), StatsError> {
        let instrument = universe.instrument(fill.symbol).ok_or(StatsError::UnknownSymbol(fill.symbol))?;
        if fill.quantity.is_zero() {
            return Ok(());
        }
        let key = (fill.strategy, fill.symbol);
        let against = self.open.get(&key).map(|open| open.position.quantity);
        let against = against.filter(|have| have.side() == Some(fill.side.opposite()));
        let closing = against.map_or(Quantity::ZERO, |have| have.abs().min(fill.quantity));
        let fee = fill.fee.filter(|fee| fee.asset == instrument.quote).unwrap_or(Money::zero(instrument.quote));
        // The fee of a flip belongs to both trips, by quantity.
        let part = proportion(fee.mantissa(), closing.mantissa() as i128, fill.quantity.mantissa() as i128)?;
        let closing_fee = Money::new(fee.asset, part);
        if !closing.is_zero() {
            self.trade(fill, instrument, closing, closing_fee)?;
        }
        let opening = fill.quantity.saturating_sub(closing);
        if !opening.is_zero() {
            self.trade(fill, instrument, opening, fee.checked_sub(closing_fee)?)?;
        }
        Ok(())
    }

    /// A fill, or the part of it, that does not flip.
    fn trade(
        &mut self,
        fill: &Fill,
        instrument: &Instrument,
        quantity: Quantity,
        fee: Money,
    ) -> Result<(), StatsError> {
        let key = (fill.strategy, fill.symbol);
        let begun = || Open {
            position: Position::flat(instrument.quote),
            fees: Money::zero(instrument.quote),
            opened: fill.exchange_time,
        };
        let open = self.open.entry(key).or_insert_with(begun);
        open.position = open.position.traded(instrument, fill.side, fill.price, quantity)?;
        open.fees = open.fees.checked_add(fee)?;
        if open.position.is_flat() {
            self.closed.push(RoundTrip {
                strategy: fill.strategy,
                symbol: fill.symbol,
                side: fill.side.opposite(),
                opened: open.opened,
                closed: fill.exchange_time,
                profit: open.position.realized.checked_sub(open.fees)?,
            });
            self.open.remove(&key);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::fixture::{USDT, fill, money, universe};
    use super::*;
    use crate::num::Side::{Buy, Sell};

    /// Round trips with these profits, in whole units.
    pub fn trips(profits: &[i64]) -> Vec<RoundTrip> {
        let trip = |&profit: &i64| RoundTrip {
            strategy: StrategyIx(1),
            symbol: SymbolIx(0),
            side: Buy,
            opened: Ts::ZERO,
            closed: Ts::ZERO,
            profit: Money::units(USDT, profit),
        };
        profits.iter().map(trip).collect()
    }

    #[test]
    fn worked_example() {
        // Long 2 at 100, half out at 110, at 120 the rest and one more: that one is short, and bought back at 115.
        let fills = [
            fill(0, Buy, "100", 2_000, "0.2"),
            fill(1, Sell, "110", 1_000, "0.1"),
            fill(2, Sell, "120", 2_000, "0.4"),
            fill(3, Buy, "115", 1_000, "0.1"),
            fill(4, Buy, "115", 1_000, "0.1"),
        ];
        let trips = RoundTrips::of(&fills, &universe()).expect("fits");
        let facts: Vec<_> =
            trips.closed().iter().map(|t| (t.side, t.profit, t.closed.since(t.opened).millis())).collect();
        assert_eq!(facts, [(Buy, money("29.5"), 7_200_000), (Sell, money("4.7"), 3_600_000)]);
        assert_eq!(trips.open(), 1);
    }

    #[test]
    fn an_unknown_symbol_is_an_error() {
        let fill = Fill { symbol: SymbolIx(9), ..fill(0, Buy, "100", 1, "0") };
        assert_eq!(RoundTrips::of(&[fill], &universe()), Err(StatsError::UnknownSymbol(SymbolIx(9))));
    }
}
