//! The domain types of version 1 that have changed since, and the step of the upcast chain that makes them the present ones.
//!
//! `setup` is read into these in the place of the domain's, so that its frozen text stays what it was.

pub use qcat_core::instrument;

/// The configuration, as it was.
pub mod config {
    use qcat_core::command::MarginType;
    use qcat_core::config as present;
    pub use qcat_core::config::{OnFault, OnStop, OnStuckTrigger, ParamValue, RiskConfig, StrategyConfig, Timing};
    use qcat_core::num::{Money, Rate};
    use qcat_core::order::PositionMode;
    use qcat_core::time::Span;
    use std::sync::Arc;

    /// The whole configuration.
    #[allow(missing_docs)]
    pub struct EngineConfig {
        pub accounts: Vec<AccountConfig>,
        pub strategies: Vec<StrategyConfig>,
        pub risk: RiskConfig,
        pub timing: Timing,
    }

    /// One account.
    #[allow(missing_docs)]
    pub struct AccountConfig {
        pub name: Arc<str>,
        pub trading: bool,
        pub position_mode: PositionMode,
        pub multi_assets: bool,
        pub margin_type: MarginType,
        pub leverage: u16,
        pub limits: AccountLimits,
        pub on_fault: OnFault,
        pub triggering_bound: Span,
        pub on_stuck_trigger: OnStuckTrigger,
    }

    /// Its limits: the age of a reference price had none.
    #[allow(missing_docs)]
    pub struct AccountLimits {
        pub order_notional_max: Money,
        pub position_notional_max: Money,
        pub exposure_max: Money,
        pub leverage_max: Rate,
        pub price_band: Rate,
        pub order_rate_max: u32,
        pub order_rate_window: Span,
        pub open_orders_max: u32,
        pub open_conditionals_max: u32,
        pub daily_loss_max: Money,
        pub runaway_orders_max: u32,
        pub runaway_window: Span,
    }

    impl EngineConfig {
        /// As it is in the present version: what it lacks has its default.
        pub fn upcast(self) -> present::EngineConfig {
            let EngineConfig { accounts, strategies, risk, timing } = self;
            let accounts = accounts.into_iter().map(AccountConfig::upcast).collect();
            present::EngineConfig { accounts, strategies, risk, timing }
        }
    }

    impl AccountConfig {
        fn upcast(self) -> present::AccountConfig {
            present::AccountConfig {
                name: self.name,
                trading: self.trading,
                position_mode: self.position_mode,
                multi_assets: self.multi_assets,
                margin_type: self.margin_type,
                leverage: self.leverage,
                limits: self.limits.upcast(),
                on_fault: self.on_fault,
                triggering_bound: self.triggering_bound,
                on_stuck_trigger: self.on_stuck_trigger,
            }
        }
    }

    impl AccountLimits {
        fn upcast(self) -> present::AccountLimits {
            present::AccountLimits {
                order_notional_max: self.order_notional_max,
                position_notional_max: self.position_notional_max,
                exposure_max: self.exposure_max,
                leverage_max: self.leverage_max,
                price_band: self.price_band,
                reference_age_max: present::REFERENCE_AGE_MAX,
                order_rate_max: self.order_rate_max,
                order_rate_window: self.order_rate_window,
                open_orders_max: self.open_orders_max,
                open_conditionals_max: self.open_conditionals_max,
                daily_loss_max: self.daily_loss_max,
                runaway_orders_max: self.runaway_orders_max,
                runaway_window: self.runaway_window,
            }
        }
    }
}
