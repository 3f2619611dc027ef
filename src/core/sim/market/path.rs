//! The latent fair price of a generated market: a random walk through regimes (trends, ranges, jumps).

use super::GeneratorParams;
use crate::sim::dice::Dice;
use crate::time::Ts;

/// What the market is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// Drifts up.
    TrendUp,
    /// Drifts down.
    TrendDown,
    /// Is drawn back to where the regime began.
    Range,
    /// Walks, and jumps now and then.
    Jumps,
}

/// The walk of the fair price, in ticks.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// The fair price in ticks.
    pub price: f64,
    bounds: (f64, f64),
    regime: Regime,
    anchor: f64,
    until: Ts,
    params: GeneratorParams,
    regimes: Dice,
    moves: Dice,
}

impl Path {
    pub fn new(seed: u64, price: f64, bounds: (f64, f64), start: Ts, params: GeneratorParams) -> Path {
        let (regimes, moves) = (Dice::new(seed, "path.regimes"), Dice::new(seed, "path.moves"));
        Path { price, bounds, regime: Regime::Range, anchor: price, until: start, params, regimes, moves }
    }

    /// What the market is doing.
    pub fn regime(&self) -> Regime {
        self.regime
    }

    /// Walks on to `now`, `seconds` after the last step, and returns the fair price in ticks.
    pub fn advance(&mut self, now: Ts, seconds: f64) -> f64 {
        if now >= self.until {
            self.change_regime(now);
        }
        const BP: f64 = 1e-4;
        let params = &self.params;
        let mut change = self.moves.normal() * params.volatility_bps * BP * libm::sqrt(seconds);
        let drift = params.trend_bps_per_minute * BP * seconds / 60.0;
        match self.regime {
            Regime::TrendUp => change += drift,
            Regime::TrendDown => change -= drift,
            Regime::Range => {
                let pull = 1.0 - libm::exp(-seconds / params.range_seconds);
                change += (self.anchor / self.price - 1.0) * pull;
            }
            Regime::Jumps => {
                if self.moves.chance(params.jumps_per_minute * seconds / 60.0) {
                    let size = (0.5 + self.moves.exponential(0.5)) * params.jump_bps * BP;
                    change += if self.moves.chance(0.5) { size } else { -size };
                }
            }
        }
        let (low, high) = self.bounds;
        // A single step never moves more than a fifth, whatever the parameters.
        self.price = (self.price * (1.0 + change.clamp(-0.2, 0.2))).clamp(low, high);
        self.price
    }

    fn change_regime(&mut self, now: Ts) {
        self.regime = match self.regimes.below(100) {
            0..30 => Regime::TrendUp,
            30..60 => Regime::TrendDown,
            60..85 => Regime::Range,
            _ => Regime::Jumps,
        };
        self.anchor = self.price;
        let mean = self.params.regime.nanos() as f64;
        let length = (0.3 + self.regimes.exponential(0.7)).min(5.0) * mean;
        self.until = Ts::from_nanos(now.nanos().saturating_add(length as i64));
    }
}
