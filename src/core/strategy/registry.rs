//! The strategies that can be configured, by name.

use crate::config::ParamValue;
use crate::strategy::param::{ParamError, ParamSpec, Params, nearest};
use crate::strategy::{Strategy, mean_reverter, trend_follower};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Builds one instance; fails when the values do not go together.
pub type Factory = fn(&Params) -> Result<Box<dyn Strategy>, ParamError>;

/// One kind of strategy.
#[derive(Debug, Clone, Copy)]
pub struct StrategySpec {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What it does, for people.
    pub doc: &'static str,
    /// Its parameters.
    pub params: &'static [ParamSpec],
    /// Builds one instance.
    pub factory: Factory,
}

/// Why a strategy cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// No such strategy.
    #[error("unknown strategy `{kind}`; known: {known}")]
    UnknownKind { kind: String, known: String, nearest: Option<&'static str> },
    /// Parameters are wrong: all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Params(Vec<ParamError>),
}

/// A kind of this name is registered already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a strategy named `{0}` is registered already")]
pub struct AlreadyRegistered(pub &'static str);

/// All kinds of strategies by name.
#[derive(Debug, Clone, Default)]
pub struct Registry(BTreeMap<&'static str, StrategySpec>);

impl Registry {
    /// The strategies that come with the program.
    pub fn builtin() -> Registry {
        let specs = [trend_follower::SPEC, mean_reverter::SPEC];
        Registry(specs.into_iter().map(|spec| (spec.name, spec)).collect())
    }

    /// Adds a kind.
    pub fn register(&mut self, spec: StrategySpec) -> Result<(), AlreadyRegistered> {
        if self.0.contains_key(spec.name) {
            return Err(AlreadyRegistered(spec.name));
        }
        self.0.insert(spec.name, spec);
        Ok(())
    }

    /// A kind by name.
    pub fn get(&self, kind: &str) -> Option<&StrategySpec> {
        self.0.get(kind)
    }

    /// All kinds by name.
    pub fn iter(&self) -> impl Iterator<Item = &StrategySpec> {
        self.0.values()
    }

    /// Builds an instance with configured values. Also what the check of a configuration calls: it lists all errors.
    pub fn build(&self, kind: &str, values: &BTreeMap<Arc<str>, ParamValue>) -> Result<Box<dyn Strategy>, BuildError> {
        let spec = self.get(kind).ok_or_else(|| BuildError::UnknownKind {
            kind: kind.to_owned(),
            known: self.0.keys().copied().collect::<Vec<_>>().join(", "),
            nearest: nearest(kind, self.0.keys().copied()),
        })?;
        let params = Params::read(spec.params, values).map_err(BuildError::Params)?;
        (spec.factory)(&params).map_err(|error| BuildError::Params(vec![error]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_strategy_builds_from_its_defaults_and_documents_itself() {
        let registry = Registry::builtin();
        assert_eq!(registry.iter().map(|s| s.name).collect::<Vec<_>>(), ["mean_reverter", "trend_follower"]);
        for spec in registry.iter() {
            assert!(registry.build(spec.name, &BTreeMap::new()).is_ok(), "{}", spec.name);
            assert!(!spec.doc.is_empty());
            for param in spec.params {
                assert_eq!(param.check(&param.kind.default_value()), Ok(param.kind.default_value()), "{}", param.name);
                assert!(param.doc.ends_with('.'), "{}.{} is not documented", spec.name, param.name);
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_named_with_its_neighbours() {
        let error = Registry::builtin().build("trend_folower", &BTreeMap::new()).err();
        let Some(BuildError::UnknownKind { nearest, known, .. }) = error else { panic!("{error:?}") };
        assert_eq!((nearest, known.as_str()), (Some("trend_follower"), "mean_reverter, trend_follower"));
    }

    #[test]
    fn a_name_is_registered_once() {
        let mut registry = Registry::builtin();
        assert_eq!(registry.register(trend_follower::SPEC), Err(AlreadyRegistered("trend_follower")));
    }
}
