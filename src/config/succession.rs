//! A configuration after another: what has an index in a journal keeps it.
//!
//! Orders, fills and positions are recorded by the index of their account and strategy. So a name keeps its index for the life
//! of a journal, whatever order the file has, and no index is given to another name.

use qcat_core::config::{EngineConfig, StrategyConfig};
use std::sync::Arc;

/// Why a configuration cannot follow the one before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// An account is missing, renamed or in another place.
    #[error(
        "account {} was `{was}` in this journal, which holds its orders and positions; now it is {}. Keep names and order, add new \
         accounts at the end",
        at + 1, match now { Some(now) => format!("`{now}`"), None => "missing".to_owned() }
    )]
    Account {
        /// Its index.
        at: usize,
        /// Its name before.
        was: Arc<str>,
        /// The name there now.
        now: Option<Arc<str>>,
    },
    /// A strategy has another account.
    #[error(
        "strategy `{name}` traded on account `{was}` in this journal, which holds its position; on `{now}` it needs another name"
    )]
    Moved {
        /// Its name.
        name: Arc<str>,
        /// Its account before.
        was: Arc<str>,
        /// Its account now.
        now: Arc<str>,
    },
}

/// `new` with every account and strategy at the index that it has in `past`; new strategies follow. A strategy that is in `past`
/// only keeps its index, disabled: what it holds stays its own.
pub fn after(new: EngineConfig, past: &EngineConfig) -> Result<EngineConfig, SuccessionError> {
    for (at, before) in past.accounts.iter().enumerate() {
        let now = new.accounts.get(at).map(|account| account.name.clone());
        if now.as_ref() != Some(&before.name) {
            return Err(SuccessionError::Account { at, was: before.name.clone(), now });
        }
    }
    let EngineConfig { accounts, strategies: mut fresh, risk, timing } = new;
    let mut strategies = Vec::with_capacity(fresh.len().max(past.strategies.len()));
    for before in &past.strategies {
        let found = fresh.iter().position(|strategy| strategy.name == before.name);
        let strategy = found.map_or_else(|| gone(before), |at| fresh.remove(at));
        if strategy.account != before.account {
            let name_of = |strategy: &StrategyConfig| accounts[strategy.account.ix()].name.clone();
            let (was, now) = (name_of(before), name_of(&strategy));
            return Err(SuccessionError::Moved { name: before.name.clone(), was, now });
        }
        strategies.push(strategy);
    }
    strategies.append(&mut fresh);
    Ok(EngineConfig { accounts, strategies, risk, timing })
}

fn gone(before: &StrategyConfig) -> StrategyConfig {
    StrategyConfig { enabled: false, ..before.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qcat_core::binance::instruments;

    fn config(accounts: &[&str], strategies: &[(&str, &str)]) -> EngineConfig {
        let account = |name: &&str| format!("  - {{name: {name}}}\n");
        let strategy = |(name, account): &(&str, &str)| {
            format!("  - {{name: {name}, kind: trend_follower, account: {account}, symbols: [BTCUSDT]}}\n")
        };
        let accounts: String = accounts.iter().map(account).collect();
        let strategies: String = strategies.iter().map(strategy).collect();
        let text = format!("accounts:\n{accounts}strategies:\n{strategies}");
        let universe = instruments::builtin_universe().expect("embedded");
        crate::config::parse("c.yaml", &text, &[]).expect("valid").engine(&universe).expect("known symbols")
    }

    fn placed(config: &EngineConfig) -> Vec<(&str, bool)> {
        config.strategies.iter().map(|s| (&*s.name, s.enabled)).collect()
    }

    #[test]
    fn a_name_keeps_its_index_whatever_the_order_of_the_file() {
        let accounts = ["a", "b"];
        let past = config(&accounts, &[("one", "a"), ("two", "b"), ("three", "a")]);
        let now = after(config(&accounts, &[("new", "a"), ("three", "a"), ("one", "a")]), &past).expect("fits");
        assert_eq!(placed(&now), [("one", true), ("two", false), ("three", true), ("new", true)]);
        // And so again: what is gone may come back to its own.
        let back = after(config(&accounts, &[("two", "b"), ("one", "a")]), &now).expect("fits");
        assert_eq!(placed(&back), [("one", true), ("two", true), ("three", false), ("new", false)]);
        assert_eq!(after(past.clone(), &EngineConfig::default()), Ok(past));
    }

    #[test]
    fn an_account_never_becomes_another_and_a_position_never_changes_its_account() {
        let past = config(&["a", "b"], &[("one", "a")]);
        let told = |accounts: &[&str], account| match after(config(accounts, &[("one", account)]), &past) {
            Ok(_) => "fits".to_owned(),
            Err(error) => error.to_string(),
        };
        let swapped = told(&["b", "a"], "a");
        assert!(
            swapped.starts_with("account 1 was `a` in this journal") && swapped.contains("now it is `b`"),
            "{swapped}"
        );
        let gone = told(&["a"], "a");
        assert!(gone.starts_with("account 2 was `b`") && gone.contains("now it is missing"), "{gone}");
        assert!(told(&["a", "b"], "b").starts_with("strategy `one` traded on account `a`"));
        assert_eq!(told(&["a", "b", "c"], "a"), "fits");
    }
}
