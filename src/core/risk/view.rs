//! What people may see of a gate: holds, what of the limits is used, halts, budget.
#![deny(clippy::float_arithmetic)]

use super::gate::Gate;
use super::holds::Hold;
use crate::event::{Budget, Equity, HaltReason, Scope};
use crate::id::{AccountIx, OrderKey, StrategyIx, SymbolIx};
use crate::node::Context;
use crate::num::{Money, NetQuantity};
use serde::Serialize;

/// A gate, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateView {
    /// The account.
    pub account: AccountIx,
    /// Whether the account is reconciled with the venue.
    pub trusted: bool,
    /// Halts in force that concern the account.
    pub halts: Vec<(Scope, HaltReason)>,
    /// The newest budget, expired or not.
    pub budget: Option<Budget>,
    /// The newest equity.
    pub equity: Option<Equity>,
    /// Exposure by symbol; `None` where it cannot be computed (no price, no definition).
    pub exposures: Vec<(SymbolIx, Option<Money>)>,
    /// Positions by fills.
    pub positions: Vec<(SymbolIx, StrategyIx, NetQuantity)>,
    /// What is held, by order.
    pub holds: Vec<(OrderKey, Hold)>,
    /// Orders and modifications in the window of the order rate.
    pub sent_in_window: u32,
    /// Open conditional orders.
    pub conditionals: u32,
}

impl Gate {
    /// The account.
    pub fn account(&self) -> AccountIx {
        self.account
    }

    /// Whether the account is reconciled with the venue.
    pub fn is_trusted(&self) -> bool {
        self.state.trusted
    }

    /// What is held for an order.
    pub fn hold(&self, key: OrderKey) -> Option<&Hold> {
        self.state.holds.get(key)
    }

    /// The exposure of one symbol; `None` where it cannot be computed.
    pub fn exposure(&self, symbol: SymbolIx, context: &Context<'_>) -> Option<Money> {
        self.symbol_exposure(symbol, context).ok()
    }

    /// The whole view.
    pub fn view(&self, context: &Context<'_>) -> GateView {
        let state = &self.state;
        let (rate_window, _) = super::gate::windows(context.config.account(self.account));
        GateView {
            account: self.account,
            trusted: state.trusted,
            halts: state.halts.iter().collect(),
            budget: state.budget,
            equity: state.equity,
            exposures: state.holds.symbols().map(|symbol| (symbol, self.exposure(symbol, context))).collect(),
            positions: state.holds.positions().map(|((symbol, strategy), q)| (symbol, strategy, q)).collect(),
            holds: state.holds.iter().map(|(key, hold)| (*key, *hold)).collect(),
            sent_in_window: state.rate.count(context.now, rate_window),
            conditionals: state.holds.conditionals(),
        }
    }
}
