//! Embedded definitions, for recordings without an `exchangeInfo`, for generated markets and for tests.
//!
//! `configs/instruments.json` has the shape of `exchangeInfo`, with the answer to `leverageBracket` under `leverageBrackets`.

use super::decode::DecodeError;
use super::decode::definitions::{ExchangeInfo, exchange_info, leverage_brackets};
use crate::id::AssetIx;
use crate::instrument::{ContractStatus, Definition, DefinitionError, Instrument, Universe};
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

/// What to admit for what the exchange says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In order: assets, then instruments. None for what is known already.
    pub definitions: Vec<Definition>,
    /// Contracts that cannot be followed. One that was known is halted, one that was not stays unknown: it costs nobody else.
    pub refused: Vec<DefinitionError>,
}

/// Compares what is known with all that the exchange says. A known contract of which it says nothing any more is closed.
pub fn plan(universe: &Universe, info: &ExchangeInfo) -> Plan {
    let (mut grown, mut plan) = (universe.clone(), Plan::default());
    for name in info.assets.iter().filter(|name| universe.asset(name).is_none()) {
        let next = u16::try_from(grown.assets().count()).map(AssetIx).map_err(|_| DefinitionError::Full);
        let definition = next.map(|asset| Definition::Asset { asset, name: name.as_str().into() });
        plan.take(definition.map(|definition| vec![definition]), &mut grown);
    }
    for spec in &info.instruments {
        let planned = grown.plan(spec);
        if planned.is_err() {
            plan.end(universe.by_name(&spec.name), ContractStatus::Halted, &mut grown);
        }
        plan.take(planned, &mut grown);
    }
    let told = |name: &str| info.instruments.iter().any(|spec| spec.name == name);
    for gone in universe.instruments().iter().filter(|i| !told(&i.name)) {
        plan.end(Some(gone), ContractStatus::Close, &mut grown);
    }
    plan
}

impl Plan {
    fn take(&mut self, planned: Result<Vec<Definition>, DefinitionError>, grown: &mut Universe) {
        let defined = planned.and_then(|definitions| {
            for definition in definitions {
                grown.define(&definition)?;
                self.definitions.push(definition);
            }
            Ok(())
        });
        self.refused.extend(defined.err());
    }

    /// Ends an instrument that was tradable.
    fn end(&mut self, known: Option<&Instrument>, status: ContractStatus, grown: &mut Universe) {
        let Some(known) = known.filter(|i| i.is_tradable()) else { return };
        let ended = Instrument { version: known.version + 1, status, ..known.clone() };
        self.take(Ok(vec![Definition::Instrument(Box::new(ended))]), grown);
    }
}

/// A universe of what the exchange says, and nothing else.
pub fn universe_of(info: &ExchangeInfo) -> Result<Universe, InstrumentsError> {
    let mut universe = Universe::default();
    let Plan { definitions, refused } = plan(&universe, info);
    if let Some(error) = refused.into_iter().next() {
        return Err(error.into());
    }
    definitions.iter().try_for_each(|definition| universe.define(definition))?;
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
        assert_eq!(plan(&universe, &info), Plan::default());
    }

    fn told(plan: &Plan) -> Vec<(&str, u16, u32, ContractStatus)> {
        let definitions = plan.definitions.iter().map(|definition| match definition {
            Definition::Instrument(i) => (&*i.name, i.symbol.0, i.version, i.status),
            other => panic!("{other:?}"),
        });
        definitions.collect()
    }

    #[test]
    fn what_changed_is_a_new_version_and_what_cannot_be_followed_costs_nobody_else() {
        use ContractStatus::{Close, Halted, Settling, Trading};
        let info = builtin().expect("valid");
        let universe = universe_of(&info).expect("valid");
        let with = |change: &dyn Fn(&mut ExchangeInfo)| {
            let mut changed = info.clone();
            change(&mut changed);
            plan(&universe, &changed)
        };
        // A coarser tick and a contract that settles.
        let changed = with(&|info| {
            info.instruments[0].price[2] = "0.50".to_owned();
            info.instruments[1].status = Settling;
        });
        assert_eq!(told(&changed), [("BTCUSDT", 0, 2, Trading), ("ETHUSDT", 1, 2, Settling)]);
        let Definition::Instrument(btc) = &changed.definitions[0] else { panic!("an instrument") };
        assert_eq!(btc.price_text(btc.filters.price.tick), "0.5");
        // A finer lot than the scale has: the old index ends, a new one begins.
        let finer = with(&|info| {
            info.instruments[0].quantity_decimals = 4;
            info.instruments[0].lot[2] = "0.0001".to_owned();
        });
        assert_eq!(told(&finer), [("BTCUSDT", 0, 2, Halted), ("BTCUSDT", 2, 1, Trading)]);
        // Numbers that cannot be true, and more decimals than money has: the known one halts, the unknown one stays unknown.
        let wrong = with(&|info| {
            let mut strange = info.instruments[1].clone();
            (strange.name, strange.quantity_decimals) = ("STRANGEUSDT".to_owned(), 15);
            info.instruments[0].lot[0] = "much".to_owned();
            info.instruments[1].price[2] = "0.05".to_owned();
            info.instruments.push(strange);
        });
        assert_eq!(told(&wrong), [("BTCUSDT", 0, 2, Halted), ("ETHUSDT", 1, 2, Trading)]);
        assert_eq!(wrong.refused.len(), 2, "{:?}", wrong.refused);
        // A contract of which nothing is said any more.
        let gone = with(&|info| info.instruments.truncate(1));
        assert_eq!(told(&gone), [("ETHUSDT", 1, 2, Close)]);
        let mut closed = universe.clone();
        gone.definitions.iter().for_each(|d| closed.define(d).expect("it follows"));
        let mut less = info.clone();
        less.instruments.truncate(1);
        assert_eq!(plan(&closed, &less), Plan::default(), "told once");
    }
}
