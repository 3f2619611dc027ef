//! What a run is worth.

use crate::num::Rounding;
use crate::stats::Summary;
use serde::{Deserialize, Serialize};

/// What a run is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Net profit over initial equity; more is better.
    TotalReturn,
    /// Sharpe ratio, annualised; more is better.
    Sharpe,
    /// Largest loss from a peak of equity, as a share of it; less is better.
    MaxDrawdown,
    /// Closed round trips; more is better.
    RoundTrips,
}

/// What is kept of a run. What is not defined for it (a Sharpe ratio of one day) is absent; numbers are always finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Net profit in the margin asset, a decimal number.
    pub net_profit: String,
    /// Net profit over initial equity, a share.
    pub total_return: Option<f64>,
    /// Sharpe ratio, annualised.
    pub sharpe: Option<f64>,
    /// Largest loss from a peak of equity, a share of it.
    pub max_drawdown: Option<f64>,
    /// Profits over losses of round trips.
    pub profit_factor: Option<f64>,
    /// Share of round trips with a profit.
    pub win_rate: Option<f64>,
    /// Closed round trips.
    pub round_trips: u64,
    /// Fills.
    pub fills: u64,
}

/// Why a run has no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unscored {
    /// The metric is not defined for it.
    #[error("{0} is not defined for this run ({1})")]
    Undefined(&'static str, &'static str),
    /// It traded too little to say anything.
    #[error("{found} round trips, at least {least} are wanted")]
    TooFewTrades { found: u64, least: u64 },
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 4] = [Metric::TotalReturn, Metric::Sharpe, Metric::MaxDrawdown, Metric::RoundTrips];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::TotalReturn => "total_return",
            Metric::Sharpe => "sharpe",
            Metric::MaxDrawdown => "max_drawdown",
            Metric::RoundTrips => "round_trips",
        }
    }

    /// The score of a run by this metric; finite.
    pub fn score(self, measures: &Measures, trades_min: u64) -> Result<f64, Unscored> {
        if measures.round_trips < trades_min {
            return Err(Unscored::TooFewTrades { found: measures.round_trips, least: trades_min });
        }
        let (value, why) = match self {
            Metric::TotalReturn => (measures.total_return, "no equity at the start"),
            Metric::Sharpe => (measures.sharpe, "fewer than two whole days, or no change of equity"),
            Metric::MaxDrawdown => (measures.max_drawdown, "no equity"),
            Metric::RoundTrips => (Some(measures.round_trips as f64), ""),
        };
        value.filter(|value| value.is_finite()).ok_or(Unscored::Undefined(self.name(), why))
    }

    /// Whether score `a` is better than `b`; both finite.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Metric::MaxDrawdown => a < b,
            Metric::TotalReturn | Metric::Sharpe | Metric::RoundTrips => a > b,
        }
    }
}

impl Measures {
    /// What is kept of a summary. What is not finite is absent.
    pub fn of(summary: &Summary) -> Measures {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let drawdown = summary.max_drawdown_rate.to_string().parse().ok();
        Measures {
            net_profit: summary.net_profit.round_to(8, Rounding::Nearest).to_string(),
            total_return: finite(summary.total_return),
            sharpe: finite(summary.sharpe),
            max_drawdown: finite(drawdown),
            profit_factor: finite(summary.profit_factor),
            win_rate: finite(summary.win_rate),
            round_trips: summary.round_trips as u64,
            fills: summary.fills as u64,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stats::fixture::{HOUR, curve, fill, universe};

    pub fn measures(total_return: f64, round_trips: u64) -> Measures {
        Measures {
            net_profit: "0".to_owned(),
            total_return: Some(total_return),
            sharpe: None,
            max_drawdown: Some(0.1),
            profit_factor: None,
            win_rate: None,
            round_trips,
            fills: 2 * round_trips,
        }
    }

    #[test]
    fn worked_example() {
        use crate::num::Side::{Buy, Sell};
        let fills = [fill(0, Buy, "100", 1_000, "0.5"), fill(1, Sell, "90", 1_000, "0.5")];
        let summary = Summary::new(&curve(&[1_000, 989]), &fills, &universe(), HOUR).expect("fits");
        let measures = Measures::of(&summary);
        assert_eq!((measures.net_profit.as_str(), measures.round_trips, measures.fills), ("-11", 1, 2));
        assert_eq!((measures.total_return, measures.max_drawdown), (Some(-0.011), Some(0.011)));
        assert_eq!(Metric::MaxDrawdown.score(&measures, 0), Ok(0.011));
        assert!(Metric::Sharpe.score(&measures, 0).is_err_and(|e| e.to_string().contains("sharpe is not defined")));
        let few = Metric::TotalReturn.score(&measures, 2).map_err(|e| e.to_string());
        assert_eq!(few, Err("1 round trips, at least 2 are wanted".to_owned()));
    }

    #[test]
    fn what_is_not_finite_is_no_score() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let bad = Measures { sharpe: Some(value), max_drawdown: Some(value), ..measures(value, 5) };
            for metric in [Metric::TotalReturn, Metric::Sharpe, Metric::MaxDrawdown] {
                assert!(metric.score(&bad, 0).is_err(), "{metric:?} {value}");
            }
        }
    }

    #[test]
    fn a_smaller_drawdown_and_a_larger_everything_else_is_better() {
        for metric in Metric::ALL {
            assert_eq!(metric.is_better(0.2, 0.1), metric != Metric::MaxDrawdown, "{metric:?}");
            assert!(!metric.is_better(0.1, 0.1));
            assert_eq!(serde_json::to_value(metric).expect("text"), metric.name());
        }
    }
}
