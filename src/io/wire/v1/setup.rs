//! Configuration and definitions, version 1.

use super::command::MarginType;
use super::order::PositionMode;
// What has changed since is read into what it was.
use super::was as qcat_core;
use crate::wire::frozen::{Amount, Frozen, Invalid, View, frozen};
use serde::ser::{SerializeStruct, SerializeTupleVariant};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

frozen! {
    struct EngineConfig for config::EngineConfig {
        accounts: Vec<AccountConfig>, strategies: Vec<StrategyConfig>, risk: RiskConfig, timing: Timing,
    }

    struct AccountConfig for config::AccountConfig {
        name: String, trading: bool, position_mode: PositionMode, multi_assets: bool, margin_type: MarginType,
        leverage: u16, limits: AccountLimits, on_fault: OnFault, triggering_bound: i64,
        on_stuck_trigger: OnStuckTrigger,
    }

    enum OnFault for config::OnFault { CancelEntries, CancelAll }

    enum OnStuckTrigger for config::OnStuckTrigger { Alert, Close }

    struct AccountLimits for config::AccountLimits {
        order_notional_max: Amount, position_notional_max: Amount, exposure_max: Amount, leverage_max: i64,
        price_band: i64, order_rate_max: u32, order_rate_window: i64, open_orders_max: u32, open_conditionals_max: u32,
        daily_loss_max: Amount, runaway_orders_max: u32, runaway_window: i64,
    }

    struct StrategyConfig for config::StrategyConfig {
        name: String, kind: String, account: u16, symbols: Vec<u16>, params: BTreeMap<String, ParamValue>,
        on_stop: OnStop, enabled: bool,
    }

    enum ParamValue for config::ParamValue { Int(value: i64), Float(value: f64), Bool(value: bool), Text(value: String) }

    enum OnStop for config::OnStop { Leave, Cancel, Flatten }

    struct RiskConfig for config::RiskConfig { heartbeat: i64, budget_ttl: i64 }

    struct Timing for config::Timing {
        order_timeout: i64, query_backoff: i64, query_backoff_max: i64, absent_after: i64, reconcile_every: i64,
        reconcile_timeout: i64,
    }

    enum Definition for instrument::Definition {
        Asset { asset: u16, name: String },
        Instrument(instrument: Instrument),
    }

    struct Instrument for instrument::Instrument {
        symbol: u16, name: String, version: u32, status: ContractStatus, contract: ContractType, base: u16, quote: u16,
        margin: u16, price_scale: u8, quantity_scale: u8, filters: Filters, liquidation_fee: i64, brackets: Vec<Bracket>,
    }

    enum ContractStatus for instrument::ContractStatus {
        PendingTrading, Trading, PreDelivering, Delivering, Delivered, PreSettle, Settling, Close, Halted, Other,
    }

    enum ContractType for instrument::ContractType { Perpetual, TradifiPerpetual, Delivery, Other }

    struct Filters for instrument::Filters {
        price: PriceFilter, lot: LotFilter, market_lot: LotFilter, max_orders: Option<u32>,
        max_conditional_orders: Option<u32>, min_notional: Option<Amount>, percent_price: Option<PercentPrice>,
        trigger_protect: Option<i64>, market_take_bound: Option<i64>, unknown: Vec<String>,
    }

    struct PriceFilter for instrument::PriceFilter { min: i64, max: i64, tick: i64 }

    struct LotFilter for instrument::LotFilter { min: i64, max: i64, step: i64 }

    struct PercentPrice for instrument::PercentPrice { up: i64, down: i64 }

    struct Bracket for instrument::Bracket {
        notional_floor: Amount, notional_cap: Amount, max_leverage: u16, maintenance_rate: i64,
        maintenance_amount: Amount,
    }
}

/// A step of the upcast chain. Written is version 2 only.
impl Frozen<::qcat_core::config::EngineConfig> for EngineConfig {
    fn write<S: Serializer>(_: &::qcat_core::config::EngineConfig, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a configuration is not written in version 1 any more"))
    }

    fn thaw(self) -> Result<::qcat_core::config::EngineConfig, Invalid> {
        let was: qcat_core::config::EngineConfig = self.thaw()?;
        Ok(was.upcast())
    }
}
