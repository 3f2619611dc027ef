//! Sharpe ratio of an equity curve.

use super::EquityPoint;
use crate::time::{Span, Ts};

/// The length of the year to which ratios are annualised: 365 days, for markets that never close.
pub const YEAR: Span = Span::from_secs(365 * 86_400);

/// Mean over sample standard deviation of the simple returns of equal periods, times the square root of the number of periods
/// in a [`YEAR`]; the risk-free rate is zero.
///
/// Periods are multiples of `period` since the Unix epoch (a day begins at 00:00 UTC); equity at a boundary is that of the last point at
/// or before it. The parts of periods before the first boundary and after the last one do not count. `None` with fewer than
/// two returns, without variation, or when equity is not positive at a boundary.
pub fn sharpe(curve: &[EquityPoint], period: Span) -> Option<f64> {
    let returns = returns(curve, period)?;
    if returns.len() < 2 {
        return None;
    }
    let count = returns.len() as f64;
    let mean = returns.iter().sum::<f64>() / count;
    let variance = returns.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / (count - 1.0);
    let periods = YEAR.nanos() as f64 / period.nanos() as f64;
    // Equal returns leave a variance of rounding errors only.
    (variance > 1e-24 * mean * mean && variance > 0.0).then(|| mean / variance.sqrt() * periods.sqrt())
}

/// Simple returns from boundary to boundary.
fn returns(curve: &[EquityPoint], period: Span) -> Option<Vec<f64>> {
    if period.nanos() <= 0 {
        return None;
    }
    let (first, last) = (curve.first()?, curve.last()?);
    let mut boundary = first.at.floor(period);
    if boundary < first.at {
        boundary = boundary.plus(period);
    }
    let mut values = Vec::new();
    let mut at = 0;
    while boundary <= last.at && boundary < Ts::MAX {
        while curve.get(at + 1).is_some_and(|next| next.at <= boundary) {
            at += 1;
        }
        let value = curve[at].equity.to_f64();
        if value <= 0.0 {
            return None;
        }
        values.push(value);
        boundary = boundary.plus(period);
    }
    Some(values.windows(2).map(|pair| pair[1] / pair[0] - 1.0).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{HOUR, USDT, curve};
    use super::*;
    use crate::num::Money;

    #[test]
    fn worked_example() {
        // Hourly returns 10 %, -5 %, 10 %: mean 0.05, sample deviation 0.0866025, 8,760 hours a year.
        let points = curve(&[1_000_000, 1_100_000, 1_045_000, 1_149_500]);
        let expected = 0.05 / 0.007_5f64.sqrt() * 8_760f64.sqrt();
        let ratio = sharpe(&points, HOUR).expect("enough points");
        assert!((ratio - expected).abs() < 1e-9, "{ratio} {expected}");
    }

    #[test]
    fn points_between_boundaries_do_not_count() {
        let mut points = curve(&[1_000_000, 1_100_000, 1_045_000, 1_149_500]);
        let plain = sharpe(&points, HOUR);
        let between = EquityPoint { at: Ts::from_millis(5_400_000), equity: Money::units(USDT, 5) };
        // The last word before the boundary at two hours is that of the boundary itself.
        points.insert(2, between);
        points.push(EquityPoint { at: Ts::from_millis(3 * 3_600_000 + 1), equity: Money::units(USDT, 7) });
        assert_eq!(sharpe(&points, HOUR), plain);
    }

    #[test]
    fn nothing_to_say() {
        assert_eq!(sharpe(&curve(&[1, 2]), HOUR), None, "one return");
        assert_eq!(sharpe(&curve(&[100, 110, 121]), HOUR), None, "no variation");
        assert_eq!(sharpe(&curve(&[100, 0, 50, 60]), HOUR), None, "broke");
        assert_eq!(sharpe(&[], HOUR), None);
        assert_eq!(sharpe(&curve(&[1, 2, 3]), Span::ZERO), None);
    }
}
