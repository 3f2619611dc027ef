//! QCAT: a trading daemon for crypto derivatives.
//!
//! Map of the project: `qcat-core` decides (pure), `qcat-io` moves bytes, `qcat-actors` keeps both alive, this package puts them
//! together: configuration, command line, composition.

pub mod api;
pub mod backtest;
pub mod cli;
pub mod compare;
pub mod config;
pub mod daemon;
pub mod health;
pub mod memory;
pub mod observe;
pub mod optimize;
pub mod projector;
pub mod reload;
pub mod replay;
pub mod signals;
pub mod sim;
pub mod terminal;
pub mod wire;

use config::{Config, Fault};
use qcat_core::instrument::Instrument;
use qcat_core::num::{Price, Rounding};
use qcat_core::strategy::registry::Registry;

/// Checks kinds and parameters of all strategies against the registry.
pub fn check_strategies(config: &Config, registry: &Registry) -> Result<(), Vec<Fault>> {
    let wrong = |(n, strategy): (usize, &config::model::Strategy)| {
        let values = strategy.params.iter().map(|(k, v)| (k.as_str().into(), v.clone())).collect();
        let error = registry.build(&strategy.kind, &values).err()?;
        let key = match error {
            qcat_core::strategy::registry::BuildError::UnknownKind { .. } => format!("strategies[{n}].kind"),
            qcat_core::strategy::registry::BuildError::Params(_) => format!("strategies[{n}].params"),
        };
        Some(config.fault(key, error.to_string()))
    };
    let faults: Vec<Fault> = config.strategies.iter().enumerate().filter_map(wrong).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Where a generated market of an instrument begins: 61,800 for BTC, 2,500 for others.
pub fn start_price(instrument: &Instrument) -> Price {
    let value = if instrument.name.starts_with("BTC") { 61_800.0 } else { 2_500.0 };
    instrument.price_from(value, Rounding::Nearest).unwrap_or(instrument.filters.price.tick)
}
