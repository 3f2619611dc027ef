//! The engine's configuration, as it is admitted and journaled. Reading it from files is the edge's work.

use crate::command::MarginType;
use crate::id::{AccountIx, StrategyIx, SymbolIx};
use crate::num::{Money, Rate};
use crate::order::PositionMode;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The whole configuration of one engine. Instruments come as definitions before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EngineConfig {
    /// Accounts by index.
    pub accounts: Vec<AccountConfig>,
    /// Strategies; the first has [`StrategyIx`] 1, because 0 is the reserved one.
    pub strategies: Vec<StrategyConfig>,
    /// The risk node.
    pub risk: RiskConfig,
    /// Times of order machine and reconciliation.
    pub timing: Timing,
}

impl EngineConfig {
    /// A strategy by index; `None` for the reserved one.
    pub fn strategy(&self, ix: StrategyIx) -> Option<&StrategyConfig> {
        ix.ix().checked_sub(1).and_then(|at| self.strategies.get(at))
    }

    /// An account by index.
    pub fn account(&self, ix: AccountIx) -> Option<&AccountConfig> {
        self.accounts.get(ix.ix())
    }

    /// All strategies with their index.
    pub fn strategies(&self) -> impl Iterator<Item = (StrategyIx, &StrategyConfig)> {
        self.strategies.iter().enumerate().map(|(at, s)| (StrategyIx(at as u16 + 1), s))
    }
}

/// One account at a venue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountConfig {
    /// Its name in configuration and API.
    pub name: Arc<str>,
    /// Whether orders may be sent at all; false: the account is only watched.
    pub trading: bool,
    /// What the account must be set to at the exchange; a difference refuses trading.
    pub position_mode: PositionMode,
    /// The same for multi-assets margin.
    pub multi_assets: bool,
    /// The same for each symbol traded.
    pub margin_type: MarginType,
    /// The same for each symbol traded.
    pub leverage: u16,
    /// Limits.
    pub limits: AccountLimits,
    /// What happens to orders when control is lost.
    pub on_fault: OnFault,
    /// A conditional order in TRIGGERING for longer than this raises the alarm.
    pub triggering_bound: Span,
    /// What then happens besides the alarm.
    pub on_stuck_trigger: OnStuckTrigger,
}

/// What is cancelled when control is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnFault {
    /// Entries, conditional ones too; protective orders (reduce-only or closing the position) stay.
    #[default]
    CancelEntries,
    /// Everything.
    CancelAll,
}

/// What happens to a stop that stays in TRIGGERING.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnStuckTrigger {
    /// Only the alarm.
    Alert,
    /// The alarm, and the strategy's position is closed at market.
    #[default]
    Close,
}

/// What [`AccountLimits::reference_age_max`] is where nobody says otherwise: many times the period of the mark price.
pub const REFERENCE_AGE_MAX: Span = Span::from_secs(60);

/// The gate's limits of one account. Amounts are in the margin asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLimits {
    /// Largest notional value of one order.
    pub order_notional_max: Money,
    /// Largest notional value of one symbol's position, with all working orders of the worse side filled.
    pub position_notional_max: Money,
    /// Largest sum of the above over all symbols.
    pub exposure_max: Money,
    /// Exposure (as above) over equity.
    pub leverage_max: Rate,
    /// A limit price may be this far from the reference price (mark, else mid), as a share.
    pub price_band: Rate,
    /// New risk is judged by a price (mark, else quote, else last trade) that was heard this long ago at most.
    pub reference_age_max: Span,
    /// Orders (places and modifications) in `order_rate_window`, beyond which only orders that reduce are placed.
    pub order_rate_max: u32,
    /// The window of `order_rate_max`.
    pub order_rate_window: Span,
    /// Open ordinary orders of one symbol.
    pub open_orders_max: u32,
    /// Open conditional orders over all symbols.
    pub open_conditionals_max: u32,
    /// Loss since 00:00 UTC (realised, unrealised, fees, funding) at which the account is halted.
    pub daily_loss_max: Money,
    /// Runaway guard: orders of one strategy without a fill in `runaway_window`, beyond which only its exits are placed.
    pub runaway_orders_max: u32,
    /// The window of `runaway_orders_max`.
    pub runaway_window: Span,
}

/// One strategy instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyConfig {
    /// Its name in configuration and API.
    pub name: Arc<str>,
    /// Which strategy: a name of the registry.
    pub kind: Arc<str>,
    /// Its account.
    pub account: AccountIx,
    /// Its symbols; the first is the main one.
    pub symbols: Vec<SymbolIx>,
    /// Values of its parameters; what is missing has its default.
    pub params: BTreeMap<Arc<str>, ParamValue>,
    /// What a stop does with its orders and position.
    pub on_stop: OnStop,
    /// Whether it runs from the start.
    pub enabled: bool,
}

/// The value of a strategy's parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ParamValue {
    /// A whole number.
    Int(i64),
    /// A number, in text form, so that equal texts are equal values.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A word.
    Text(Arc<str>),
}

// Parameters are refused when not finite, so equality is total.
impl Eq for ParamValue {}

/// What a stop does with a strategy's orders and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnStop {
    /// Nothing.
    Leave,
    /// Cancel entries, conditional ones too; reduce-only and closing orders and the position stay.
    #[default]
    Cancel,
    /// Cancel everything and close the position at market.
    Flatten,
}

/// The risk node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskConfig {
    /// How often limits are looked at and budgets granted.
    pub heartbeat: Span,
    /// How long a budget is good for; longer than `heartbeat`.
    pub budget_ttl: Span,
}

impl Default for RiskConfig {
    fn default() -> RiskConfig {
        RiskConfig { heartbeat: Span::from_secs(1), budget_ttl: Span::from_secs(5) }
    }
}

/// Times of order machine and reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// An order without any sign of life for this long is asked for.
    pub order_timeout: Span,
    /// First pause between two questions for the same order; doubles up to `query_backoff_max`.
    pub query_backoff: Span,
    /// Longest pause between two questions for the same order.
    pub query_backoff_max: Span,
    /// An order that the venue does not know is given up as never arrived only after this time since it was sent: longer than
    /// the venue takes a request after its time stamp, shorter than a stop may take.
    pub absent_after: Span,
    /// How often accounts are reconciled.
    pub reconcile_every: Span,
    /// A reconciliation without an answer for this long is begun anew.
    pub reconcile_timeout: Span,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            order_timeout: Span::from_secs(5),
            query_backoff: Span::from_millis(500),
            query_backoff_max: Span::from_secs(30),
            absent_after: Span::from_secs(8),
            reconcile_every: Span::from_secs(60),
            reconcile_timeout: Span::from_secs(15),
        }
    }
}
