//! Embedded definitions, for recordings without an `exchangeInfo`, for generated markets and for tests.
//!
//! `configs/instruments.json` has the shape of `exchangeInfo`, with the answer to `leverageBracket` under `leverageBrackets`.

use super::decode::DecodeError;
use super::decode::definitions::{ExchangeInfo, exchange_info, leverage_brackets};
use crate::id::AssetIx;
use crate::instrument::{Definition, DefinitionError, InstrumentSpec, Universe};
use serde::Deserialize;
use serde_json::value::RawValue;

const BUILTIN: &str = include_str!("../../../configs/instruments.json");

/// Definitions that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstrumentsError {
    /// The file cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A definition cannot be followed.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

/// The embedded BTCUSDT and ETHUSDT, with brackets.
pub fn builtin() -> Result<ExchangeInfo, InstrumentsError> {
    from_json(BUILTIN.as_bytes())
}

/// A universe of the embedded definitions.
pub fn builtin_universe() -> Result<Universe, InstrumentsError> {
    universe_of(&builtin()?)
}

/// Reads a file of the shape of `exchangeInfo`, with brackets when it has `leverageBrackets`.
pub fn from_json(bytes: &[u8]) -> Result<ExchangeInfo, InstrumentsError> {
    #[derive(Deserialize)]
    struct File<'a> {
        #[serde(borrow, default, rename = "leverageBrackets")]
        brackets: Option<&'a RawValue>,
    }
    let mut info = exchange_info(bytes)?;
    let file = serde_json::from_slice::<File<'_>>(bytes).ok();
    if let Some(raw) = file.and_then(|f| f.brackets) {
        let mut brackets = leverage_brackets(raw.get().as_bytes())?;
        for spec in &mut info.instruments {
            spec.brackets = brackets.remove(&spec.name).unwrap_or_default();
        }
    }
    Ok(info)
}

/// The definitions to admit for what the exchange says, in order: assets, then instruments. None for what is known already.
pub fn plan(universe: &Universe, info: &ExchangeInfo) -> Result<Vec<Definition>, DefinitionError> {
    plan_of(universe, &info.assets, &info.instruments)
}

fn plan_of(
    universe: &Universe,
    assets: &[String],
    instruments: &[InstrumentSpec],
) -> Result<Vec<Definition>, DefinitionError> {
    let (mut grown, mut plan) = (universe.clone(), Vec::new());
    for name in assets {
        if grown.asset(name).is_none() {
            let next = u16::try_from(grown.assets().count()).map_err(|_| DefinitionError::Full)?;
            let definition = Definition::Asset { asset: AssetIx(next), name: name.as_str().into() };
            grown.define(&definition)?;
            plan.push(definition);
        }
    }
    for spec in instruments {
        for definition in grown.plan(spec)? {
            grown.define(&definition)?;
            plan.push(definition);
        }
    }
    Ok(plan)
}

/// A universe of what the exchange says, and nothing else.
pub fn universe_of(info: &ExchangeInfo) -> Result<Universe, InstrumentsError> {
    let mut universe = Universe::default();
    for definition in plan(&universe, info)? {
        universe.define(&definition)?;
    }
    Ok(universe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_definitions_are_whole() {
        let universe = builtin_universe().expect("valid");
        for (name, tick, leverage) in [("BTCUSDT", "0.1", 125), ("ETHUSDT", "0.01", 125)] {
            let i = universe.by_name(name).expect("embedded");
            assert_eq!(i.price_text(i.filters.price.tick), tick);
            assert_eq!(i.quantity_text(i.filters.lot.step), "0.001");
            assert!(i.filters.min_notional.is_some() && i.filters.percent_price.is_some());
            assert_eq!(i.brackets.len(), 12);
            assert_eq!((i.brackets[0].max_leverage, i.brackets[0].notional_floor.mantissa()), (leverage, 0));
            // Maintenance margin is continuous where one bracket follows another.
            for pair in i.brackets.windows(2) {
                let margin = |at: usize| {
                    let part = pair[0].notional_cap.times(pair[at].maintenance_rate, crate::num::Rounding::Nearest);
                    part.and_then(|p| p.checked_sub(pair[at].maintenance_amount)).expect("in range")
                };
                assert_eq!((margin(0), pair[0].notional_cap), (margin(1), pair[1].notional_floor), "{name}");
            }
        }
        assert!(universe.asset("BNB").is_some());
    }

    #[test]
    fn what_is_known_is_not_defined_again() {
        let info = builtin().expect("valid");
        let universe = universe_of(&info).expect("valid");
        assert_eq!(plan(&universe, &info), Ok(Vec::new()));
    }
}
