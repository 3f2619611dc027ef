//! What can be subscribed to.

use qcat_io::store::Role;
use std::fmt;
use std::sync::Arc;

/// Characters of a topic.
const TOPIC_MAX: usize = 96;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Orders of all accounts.
    Orders,
    /// Positions of all accounts and strategies.
    Positions,
    /// Worth, halts, refusals.
    Risk,
    /// What a person should look at.
    Alerts,
    /// Components, phase, stop.
    System,
    /// One strategy: its state, orders, fills, positions, decisions.
    Strategy(Arc<str>),
    /// One market: quote, last trade, mark price.
    Market(Arc<str>),
}

impl Topic {
    /// From its text; `None`: there is no such topic.
    pub fn parse(text: &str) -> Option<Topic> {
        if text.len() > TOPIC_MAX {
            return None;
        }
        let name = |text: &str| Some(Arc::from(text)).filter(|_| !text.is_empty());
        Some(match text.split_once(':') {
            Some(("strategy", strategy)) => Topic::Strategy(name(strategy)?),
            Some(("market", symbol)) => Topic::Market(name(symbol)?),
            Some(_) => return None,
            None => match text {
                "orders" => Topic::Orders,
                "positions" => Topic::Positions,
                "risk" => Topic::Risk,
                "alerts" => Topic::Alerts,
                "system" => Topic::System,
                _ => return None,
            },
        })
    }

    /// The role that may see it.
    pub const fn least_role(&self) -> Role {
        match self {
            Topic::Orders
            | Topic::Positions
            | Topic::Risk
            | Topic::Alerts
            | Topic::System
            | Topic::Strategy(_)
            | Topic::Market(_) => Role::Viewer,
        }
    }

    /// Whether its sequence numbers are the journal's.
    pub const fn is_journaled(&self) -> bool {
        !matches!(self, Topic::System | Topic::Market(_))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Orders => f.write_str("orders"),
            Topic::Positions => f.write_str("positions"),
            Topic::Risk => f.write_str("risk"),
            Topic::Alerts => f.write_str("alerts"),
            Topic::System => f.write_str("system"),
            Topic::Strategy(name) => write!(f, "strategy:{name}"),
            Topic::Market(name) => write!(f, "market:{name}"),
        }
    }
}

impl serde::Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_as_they_are_written() {
        for text in ["orders", "positions", "risk", "alerts", "system", "strategy:a b:c", "market:BTCUSDT"] {
            assert_eq!(Topic::parse(text).map(|topic| topic.to_string()).as_deref(), Some(text));
        }
        for text in ["", "order", "market:", "strategy:", "orders:", "ORDERS", &format!("market:{}", "x".repeat(90))] {
            assert_eq!(Topic::parse(text), None, "{text}");
        }
    }
}
