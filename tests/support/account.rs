//! Configurations of accounts and strategies that no limit stands in the way of; a test changes what it is about.

use qcat_core::command::MarginType;
use qcat_core::config::{
    AccountConfig, AccountLimits, OnFault, OnStop, OnStuckTrigger, REFERENCE_AGE_MAX, StrategyConfig,
};
use qcat_core::id::{AccountIx, SymbolIx};
use qcat_core::num::{Money, Rate};
use qcat_core::order::PositionMode;
use qcat_core::time::Span;

/// An account that may have, hold and lose `most`.
pub fn account(most: Money) -> AccountConfig {
    let limits = AccountLimits {
        order_notional_max: most,
        position_notional_max: most,
        exposure_max: most,
        leverage_max: Rate::from_bps(200_000),
        price_band: Rate::from_bps(5_000),
        reference_age_max: REFERENCE_AGE_MAX,
        order_rate_max: 1_000_000,
        order_rate_window: Span::from_secs(10),
        open_orders_max: 100,
        open_conditionals_max: 100,
        daily_loss_max: most,
        runaway_orders_max: 1_000_000,
        runaway_window: Span::from_secs(10),
    };
    AccountConfig {
        name: "main".into(),
        trading: true,
        position_mode: PositionMode::OneWay,
        multi_assets: false,
        margin_type: MarginType::Cross,
        leverage: 20,
        limits,
        on_fault: OnFault::CancelEntries,
        triggering_bound: Span::from_secs(10),
        on_stuck_trigger: OnStuckTrigger::Close,
    }
}

/// A strategy of the first account with the defaults of its parameters.
pub fn strategy(name: &str, kind: &str, symbol: SymbolIx) -> StrategyConfig {
    StrategyConfig {
        name: name.into(),
        kind: kind.into(),
        account: AccountIx(0),
        symbols: vec![symbol],
        params: Default::default(),
        on_stop: OnStop::Cancel,
        enabled: true,
    }
}
