//! Result statistics of a backtest or of a live account: one metric per file, and a [`Summary`] of all.
//!
//! Amounts are exact; ratios that are only looked at are `f64`. All read an equity curve ([`EquityPoint`]s by rising time, in one
//! asset) or fills, and never the engine.
//! Tests: a worked example with each metric, properties where there are some.

use crate::num::{Money, NumError};
use crate::time::Ts;
use serde::{Deserialize, Serialize};

pub mod drawdown;
pub mod profit_factor;
pub mod round_trip;
pub mod sharpe;
pub mod summary;
pub mod turnover;
pub mod win_rate;

pub use drawdown::Drawdown;
pub use profit_factor::profit_factor;
pub use round_trip::{RoundTrip, RoundTrips};
pub use sharpe::sharpe;
pub use summary::Summary;
pub use turnover::turnover;
pub use win_rate::win_rate;

/// What an account was worth (wallet plus unrealised profit) at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquityPoint {
    /// When.
    pub at: Ts,
    /// How much.
    pub equity: Money,
}

/// Why statistics cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// The equity curve has no point.
    #[error("the equity curve is empty")]
    EmptyCurve,
    /// A point of the curve lies before its predecessor.
    #[error("the equity curve goes back in time at point {0}")]
    OutOfOrder(usize),
    /// A fill is in a symbol that was never defined.
    #[error("symbol {0:?} is not defined")]
    UnknownSymbol(crate::id::SymbolIx),
    /// A number does not fit, or assets were mixed.
    #[error(transparent)]
    Number(#[from] NumError),
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::id::{AccountIx, AssetIx, ForeignId, OrderKey, StrategyIx, SymbolIx, TradeId, VenueOrderId};
    use crate::instrument::{Definition, Universe};
    use crate::num::{Quantity, Side};
    use crate::order::{Fill, PositionSide};
    use crate::time::Span;

    pub const USDT: AssetIx = AssetIx(1);
    pub const HOUR: Span = Span::from_secs(3_600);

    pub fn money(text: &str) -> Money {
        Money::parse(USDT, text.as_bytes()).expect("a number")
    }

    /// One point an hour.
    pub fn curve(values: &[i64]) -> Vec<EquityPoint> {
        let point = |(hour, &value): (usize, &i64)| EquityPoint {
            at: Ts::from_millis(hour as i64 * 3_600_000),
            equity: Money::units(USDT, value),
        };
        values.iter().enumerate().map(point).collect()
    }

    pub fn universe() -> Universe {
        let mut universe = Universe::default();
        for (at, name) in ["BTC", "USDT"].into_iter().enumerate() {
            universe.define(&Definition::Asset { asset: AssetIx(at as u16), name: name.into() }).expect("in order");
        }
        let instrument = crate::position::margin::tests::instrument(&[]);
        universe.define(&Definition::Instrument(Box::new(instrument))).expect("in order");
        universe
    }

    /// A fill of strategy 1 in the only symbol; quantity in thousandths.
    pub fn fill(hour: i64, side: Side, price: &str, quantity: i64, fee: &str) -> Fill {
        let btc = crate::position::margin::tests::instrument(&[]);
        Fill {
            account: AccountIx(0),
            strategy: StrategyIx(1),
            symbol: SymbolIx(0),
            key: OrderKey::Foreign(ForeignId::new("x")),
            venue_order: VenueOrderId(1),
            trade_id: TradeId(hour),
            side,
            position_side: PositionSide::Both,
            price: btc.parse_price(price).expect("price"),
            quantity: Quantity::from_mantissa(quantity).expect("positive"),
            maker: false,
            fee: Some(money(fee)),
            realized: Money::zero(USDT),
            exchange_time: Ts::from_millis(hour * 3_600_000),
        }
    }
}
