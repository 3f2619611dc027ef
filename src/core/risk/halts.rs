//! The halts in force: scopes, each with every reason that was given for it.
//!
//! A resume lifts one scope with all its reasons and no other scope: "everything" resumed does not resume an account that was
//! halted for itself.
#![deny(clippy::float_arithmetic)]

use crate::event::{HaltReason, Scope};
use crate::id::{AccountIx, StrategyIx, SymbolIx};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The halts in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Halts {
    scopes: BTreeMap<Scope, BTreeSet<HaltReason>>,
}

impl Halts {
    /// Adds a halt. False when it is in force already for that reason.
    pub fn add(&mut self, scope: Scope, reason: HaltReason) -> bool {
        self.scopes.entry(scope).or_default().insert(reason)
    }

    /// Lifts a scope. False when it was not halted.
    pub fn lift(&mut self, scope: Scope) -> bool {
        self.scopes.remove(&scope).is_some()
    }

    /// Takes back one reason everywhere. Returns the scopes that have no other reason and are lifted by it.
    pub fn retract(&mut self, reason: HaltReason) -> Vec<Scope> {
        let scopes: Vec<Scope> = self.scopes.keys().copied().collect();
        scopes.into_iter().filter(|scope| self.retract_from(*scope, reason)).collect()
    }

    /// Takes back one reason of one scope. True when the scope has no other reason and is lifted by it.
    fn retract_from(&mut self, scope: Scope, reason: HaltReason) -> bool {
        let Some(reasons) = self.scopes.get_mut(&scope) else { return false };
        let lifted = reasons.remove(&reason) && reasons.is_empty();
        if lifted {
            self.scopes.remove(&scope);
        }
        lifted
    }

    /// Whether a scope is halted for a reason.
    pub fn contains(&self, scope: Scope, reason: HaltReason) -> bool {
        self.scopes.get(&scope).is_some_and(|reasons| reasons.contains(&reason))
    }

    /// The widest halt that keeps this strategy from adding risk in this symbol of this account.
    pub fn blocking(&self, account: AccountIx, symbol: SymbolIx, strategy: StrategyIx) -> Option<(Scope, HaltReason)> {
        [Scope::All, Scope::Account(account), Scope::Symbol(symbol), Scope::Strategy(strategy)]
            .into_iter()
            .find_map(|scope| self.reason(scope).map(|reason| (scope, reason)))
    }

    /// The same for an exit. A stop of the daemon does not keep it back: in a stop strategies leave the market.
    pub fn blocking_exit(
        &self,
        account: AccountIx,
        symbol: SymbolIx,
        strategy: StrategyIx,
    ) -> Option<(Scope, HaltReason)> {
        [Scope::All, Scope::Account(account), Scope::Symbol(symbol), Scope::Strategy(strategy)]
            .into_iter()
            .find_map(|scope| self.lasting(scope).map(|reason| (scope, reason)))
    }

    /// The first reason of a scope that is not a stop of the daemon.
    pub fn lasting(&self, scope: Scope) -> Option<HaltReason> {
        self.scopes.get(&scope)?.iter().copied().find(|reason| *reason != HaltReason::Stopping)
    }

    /// The first reason of a scope.
    pub fn reason(&self, scope: Scope) -> Option<HaltReason> {
        self.scopes.get(&scope).and_then(|reasons| reasons.first().copied())
    }

    /// All halts in force.
    pub fn iter(&self) -> impl Iterator<Item = (Scope, HaltReason)> {
        self.scopes.iter().flat_map(|(scope, reasons)| reasons.iter().map(|reason| (*scope, *reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_lifts_its_own_scope_only() {
        let mut halts = Halts::default();
        let account = Scope::Account(AccountIx(1));
        assert!(halts.add(Scope::All, HaltReason::KillSwitch));
        assert!(halts.add(account, HaltReason::DailyLoss));
        assert!(!halts.add(account, HaltReason::DailyLoss), "twice is once");
        let blocking = |halts: &Halts, account| halts.blocking(AccountIx(account), SymbolIx(0), StrategyIx(1));
        assert!(halts.lift(Scope::All));
        assert_eq!(blocking(&halts, 0), None);
        assert_eq!(blocking(&halts, 1), Some((account, HaltReason::DailyLoss)));
        assert!(halts.lift(account) && !halts.lift(account));
        assert_eq!(blocking(&halts, 1), None);
    }

    #[test]
    fn a_retracted_reason_leaves_the_others() {
        let mut halts = Halts::default();
        let (one, two) = (Scope::Symbol(SymbolIx(1)), Scope::Symbol(SymbolIx(2)));
        halts.add(one, HaltReason::Stopping);
        halts.add(two, HaltReason::Stopping);
        halts.add(two, HaltReason::KillSwitch);
        assert_eq!(halts.retract(HaltReason::Stopping), [one]);
        assert_eq!(halts.iter().collect::<Vec<_>>(), [(two, HaltReason::KillSwitch)]);
    }
}
