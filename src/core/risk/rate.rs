//! Counting what was sent in a sliding window, exactly: one time per order, no buckets.
#![deny(clippy::float_arithmetic)]

use crate::id::StrategyIx;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The times of what was sent, oldest first. The window is `(now − length, now]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    sent: VecDeque<Ts>,
}

impl Window {
    /// How many were sent in the window that ends now.
    pub fn count(&self, now: Ts, length: Span) -> u32 {
        let old = self.sent.partition_point(|sent| now.since(*sent) >= length);
        u32::try_from(self.sent.len().saturating_sub(old)).unwrap_or(u32::MAX)
    }

    /// Notes one sent now, and forgets what left the window.
    pub fn record(&mut self, now: Ts, length: Span) {
        while self.sent.front().is_some_and(|sent| now.since(*sent) >= length) {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sent.clear();
    }
}

/// The runaway guard: a strategy that places order after order without any fill is stopped from sending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Runaway {
    strategies: BTreeMap<StrategyIx, Guard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Guard {
    placed: Window,
    /// Whether a person was told; until an order passes again.
    told: bool,
}

impl Runaway {
    /// Orders that a strategy placed since its last fill, in the window that ends now.
    pub fn count(&self, strategy: StrategyIx, now: Ts, length: Span) -> u32 {
        self.strategies.get(&strategy).map_or(0, |guard| guard.placed.count(now, length))
    }

    /// Notes an order.
    pub fn placed(&mut self, strategy: StrategyIx, now: Ts, length: Span) {
        self.strategies.entry(strategy).or_default().placed.record(now, length);
    }

    /// An order that adds risk passed the guard: the next refusal is told again.
    pub fn passed(&mut self, strategy: StrategyIx) {
        self.strategies.entry(strategy).or_default().told = false;
    }

    /// A fill: the strategy does trade.
    pub fn filled(&mut self, strategy: StrategyIx) {
        if let Some(guard) = self.strategies.get_mut(&strategy) {
            guard.placed.clear();
            guard.told = false;
        }
    }

    /// Notes that a refusal is told. False when it was told before.
    pub fn tell(&mut self, strategy: StrategyIx) -> bool {
        !std::mem::replace(&mut self.strategies.entry(strategy).or_default().told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_exactly() {
        let mut window = Window::default();
        let (length, at) = (Span::from_millis(10), Ts::from_millis);
        for time in [0, 4, 9] {
            window.record(at(time), length);
        }
        assert_eq!(window.count(at(9), length), 3);
        assert_eq!(window.count(at(10), length), 2, "what is as old as the window left it");
        assert_eq!(window.count(at(13), length), 2);
        assert_eq!(window.count(at(14), length), 1);
        window.record(at(30), length);
        assert_eq!(window.sent.len(), 1, "what left the window is forgotten");
    }
}
