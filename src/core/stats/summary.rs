//! All statistics of one run.

use super::{Drawdown, EquityPoint, RoundTrips, StatsError, profit_factor, sharpe, turnover, win_rate};
use crate::instrument::Universe;
use crate::num::{Money, Rate};
use crate::order::Fill;
use crate::position::Purse;
use crate::time::{Span, Ts};
use serde::Serialize;

/// The result of a run, from its equity curve and fills. Ratios are shares, not percentages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// First point of the curve.
    pub start: Ts,
    /// Last point of the curve.
    pub end: Ts,
    /// Equity at the start.
    pub initial_equity: Money,
    /// Equity at the end.
    pub final_equity: Money,
    /// The difference: realised and unrealised profit, fees, funding, and transfers if there were any.
    pub net_profit: Money,
    /// Net profit over initial equity; `None` when that is not positive.
    pub total_return: Option<f64>,
    /// The largest amount below a peak of equity.
    pub max_drawdown: Money,
    /// The largest share of a peak that was lost.
    pub max_drawdown_rate: Rate,
    /// The peak less the final equity.
    pub current_drawdown: Money,
    /// The longest time under water.
    pub longest_drawdown: Span,
    /// Annualised over 365 days from returns of `sharpe_period`; see [`mod@super::sharpe`].
    pub sharpe: Option<f64>,
    /// The period of the returns.
    pub sharpe_period: Span,
    /// Fills.
    pub fills: usize,
    /// Closed round trips.
    pub round_trips: usize,
    /// Round trips that are still open.
    pub open_round_trips: usize,
    /// Share of round trips with a profit after fees.
    pub win_rate: Option<f64>,
    /// Profits over losses of round trips.
    pub profit_factor: Option<f64>,
    /// Traded notional value, both sides.
    pub turnover: Money,
    /// Turnover over initial equity; `None` when that is not positive.
    pub turnover_ratio: Option<f64>,
    /// Fees by asset, positive when paid.
    pub fees: Purse,
}

impl Summary {
    /// Sums up a curve (by rising time) and the fills in their order. `sharpe_period` is one day by custom.
    pub fn new(
        curve: &[EquityPoint],
        fills: &[Fill],
        universe: &Universe,
        sharpe_period: Span,
    ) -> Result<Summary, StatsError> {
        let (Some(first), Some(last)) = (curve.first(), curve.last()) else { return Err(StatsError::EmptyCurve) };
        if let Some(at) = curve.windows(2).position(|pair| pair[1].at < pair[0].at) {
            return Err(StatsError::OutOfOrder(at + 1));
        }
        let drawdown = Drawdown::of(curve)?.ok_or(StatsError::EmptyCurve)?;
        let trips = RoundTrips::of(fills, universe)?;
        let net_profit = last.equity.checked_sub(first.equity)?;
        let turnover = turnover(fills, first.equity.asset, universe)?;
        let over_initial =
            |amount: Money| (first.equity.mantissa() > 0).then(|| amount.to_f64() / first.equity.to_f64());
        let mut fees = Purse::default();
        fills.iter().filter_map(|fill| fill.fee).try_for_each(|fee| fees.add(fee))?;
        Ok(Summary {
            start: first.at,
            end: last.at,
            initial_equity: first.equity,
            final_equity: last.equity,
            net_profit,
            total_return: over_initial(net_profit),
            max_drawdown: drawdown.max,
            max_drawdown_rate: drawdown.max_rate,
            current_drawdown: drawdown.current,
            longest_drawdown: drawdown.longest,
            sharpe: sharpe(curve, sharpe_period),
            sharpe_period,
            fills: fills.len(),
            round_trips: trips.closed().len(),
            open_round_trips: trips.open(),
            win_rate: win_rate(trips.closed()),
            profit_factor: profit_factor(trips.closed())?,
            turnover,
            turnover_ratio: over_initial(turnover),
            fees,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{HOUR, USDT, curve, fill, money, universe};
    use super::*;
    use crate::num::Side::{Buy, Sell};

    #[test]
    fn worked_example() {
        // Buy 1 at 100 and sell it at 110, buy 1 at 110 and sell it at 105; 0.5 fee each.
        let fills = [
            fill(0, Buy, "100", 1_000, "0.5"),
            fill(1, Sell, "110", 1_000, "0.5"),
            fill(1, Buy, "110", 1_000, "0.5"),
            fill(2, Sell, "105", 1_000, "0.5"),
        ];
        let curve = curve(&[1_000, 1_009, 1_003]);
        let summary = Summary::new(&curve, &fills, &universe(), HOUR).expect("fits");
        assert_eq!((summary.net_profit, summary.total_return), (money("3"), Some(0.003)));
        assert_eq!((summary.max_drawdown, summary.current_drawdown), (money("6"), money("6")));
        assert_eq!((summary.fills, summary.round_trips, summary.open_round_trips), (4, 2, 0));
        // Won 10 - 1, lost 5 + 1.
        assert_eq!((summary.win_rate, summary.profit_factor), (Some(0.5), Some(1.5)));
        assert_eq!((summary.turnover, summary.turnover_ratio), (money("425"), Some(0.425)));
        assert_eq!(summary.fees.get(USDT), money("2"));
        assert!(summary.sharpe.is_some());
        let json = serde_json::to_value(&summary).expect("serialisable");
        assert_eq!(json["round_trips"], 2);
    }

    #[test]
    fn bad_curves_are_refused() {
        assert_eq!(Summary::new(&[], &[], &universe(), HOUR), Err(StatsError::EmptyCurve));
        let mut back = curve(&[1, 2, 3]);
        back.swap(1, 2);
        assert_eq!(Summary::new(&back, &[], &universe(), HOUR), Err(StatsError::OutOfOrder(2)));
    }
}
