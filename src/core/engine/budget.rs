//! How often something may be restarted: a budget over a sliding window, with exponential back-off.

use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// The rule of a component or node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRule {
    /// Restarts allowed within `window`.
    pub max: u32,
    /// The window.
    pub window: Span,
    /// Pause before the first restart; doubles with each one in the window.
    pub backoff: Span,
    /// Longest pause.
    pub backoff_max: Span,
}

impl Default for RestartRule {
    fn default() -> RestartRule {
        RestartRule {
            max: 5,
            window: Span::from_secs(600),
            backoff: Span::from_millis(200),
            backoff_max: Span::from_secs(30),
        }
    }
}

/// What is left of a rule's budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartBudget {
    rule: RestartRule,
    restarts: Vec<Ts>,
    total: u64,
}

impl RestartBudget {
    /// A full budget.
    pub fn new(rule: RestartRule) -> RestartBudget {
        RestartBudget { rule, restarts: Vec::new(), total: 0 }
    }

    /// Takes one restart. `Some(pause)`: restart after that pause; `None`: the budget is used up.
    pub fn take(&mut self, now: Ts) -> Option<Span> {
        self.restarts.retain(|at| now.since(*at) < self.rule.window);
        if self.restarts.len() >= self.rule.max as usize {
            return None;
        }
        let doubled = self.rule.backoff.nanos().saturating_mul(1 << self.restarts.len().min(30));
        self.restarts.push(now);
        self.total += 1;
        Some(Span::from_nanos(doubled.min(self.rule.backoff_max.nanos())))
    }

    /// A person answers for the next ones: the budget is full again.
    pub fn refill(&mut self) {
        self.restarts.clear();
    }

    /// Restarts since the beginning.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_the_budget_comes_back_with_time() {
        let rule = RestartRule {
            max: 3,
            window: Span::from_secs(10),
            backoff: Span::from_secs(1),
            backoff_max: Span::from_secs(3),
        };
        let mut budget = RestartBudget::new(rule);
        let at = |s: i64| Ts::from_millis(s * 1000);
        assert_eq!(budget.take(at(0)), Some(Span::from_secs(1)));
        assert_eq!(budget.take(at(1)), Some(Span::from_secs(2)));
        assert_eq!(budget.take(at(2)), Some(Span::from_secs(3)));
        assert_eq!(budget.take(at(9)), None);
        assert_eq!(budget.take(at(10)), Some(Span::from_secs(3)));
        assert_eq!(budget.total(), 4);
    }
}
