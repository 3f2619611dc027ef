//! Configuration, version 2.

use crate::wire::frozen::{Amount, Frozen, Invalid, View, frozen};
use crate::wire::v1::command::MarginType;
use crate::wire::v1::order::PositionMode;
use crate::wire::v1::setup::{OnFault, OnStuckTrigger, RiskConfig, StrategyConfig, Timing};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

frozen! {
    struct EngineConfig for config::EngineConfig {
        accounts: Vec<AccountConfig>, strategies: Vec<StrategyConfig>, risk: RiskConfig, timing: Timing,
    }

    struct AccountConfig for config::AccountConfig {
        name: String, trading: bool, position_mode: PositionMode, multi_assets: bool, margin_type: MarginType,
        leverage: u16, limits: AccountLimits, on_fault: OnFault, triggering_bound: i64,
        on_stuck_trigger: OnStuckTrigger,
    }

    struct AccountLimits for config::AccountLimits {
        order_notional_max: Amount, position_notional_max: Amount, exposure_max: Amount, leverage_max: i64,
        price_band: i64, reference_age_max: i64, order_rate_max: u32, order_rate_window: i64, open_orders_max: u32,
        open_conditionals_max: u32, daily_loss_max: Amount, runaway_orders_max: u32, runaway_window: i64,
    }
}
