//! Commands of somebody who is named: a repeat of one does nothing, and what is meant for nodes reaches them as the input that they
//! know. Tests: below, and `tests/commands_driver.rs` for the whole way, recovery and replay included.

use super::Engine;
use crate::config::{EngineConfig, ParamValue};
use crate::event::{Asked, Event, HaltReason, IdempotencyKey, Input, OperatorCommand};
use crate::id::{ClientOrderId, Seq, StrategyIx};
use crate::order::Intent;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How long a repeat is known as one.
pub const KEYS_KEPT: Span = Span::from_secs(24 * 3_600);
/// How many keys are known at most; beyond it the oldest is forgotten.
pub const KEYS_MAX: usize = 10_000;

/// What became of a command with an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The input that it was.
    pub seq: Seq,
    /// A hash of what was asked.
    pub fingerprint: u64,
    /// The order that it placed.
    pub order: Option<ClientOrderId>,
}

/// A user and the word that he gave.
type Name = (Arc<str>, Arc<str>);

/// The keys of the last day by user and word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    known: BTreeMap<Name, Answered>,
    by_age: VecDeque<(Ts, Name)>,
}

impl Keys {
    fn note(&mut self, user: &Arc<str>, key: &IdempotencyKey, answered: Answered, now: Ts) {
        while let Some((at, oldest)) = self.by_age.front()
            && (now.since(*at) >= KEYS_KEPT || self.by_age.len() >= KEYS_MAX)
        {
            self.known.remove(oldest);
            self.by_age.pop_front();
        }
        let name = (user.clone(), key.key.clone());
        self.known.insert(name.clone(), answered);
        self.by_age.push_back((now, name));
    }
}

type Params = BTreeMap<Arc<str>, ParamValue>;

/// Parameters that a person gave, in the place of the configuration's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Overrides(BTreeMap<StrategyIx, Override>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Override {
    /// What the configuration said then. When it says something else, that is the newer word.
    configured: Params,
    params: Params,
}

impl Overrides {
    /// Puts them into a configuration.
    fn apply(&mut self, config: &mut EngineConfig) {
        self.0.retain(|strategy, over| {
            let setup = strategy.ix().checked_sub(1).and_then(|at| config.strategies.get_mut(at));
            match setup {
                Some(setup) if setup.params == over.configured => {
                    setup.params = over.params.clone();
                    true
                }
                _ => false,
            }
        });
    }
}

impl Engine {
    /// What became of a command that this user gave this name, within [`KEYS_KEPT`].
    pub fn answered(&self, user: &str, key: &str) -> Option<Answered> {
        self.keys.known.get(&(Arc::from(user), Arc::from(key))).copied()
    }

    /// The parameters of a strategy were given by a person, not by the configuration.
    pub fn is_overridden(&self, strategy: StrategyIx) -> bool {
        self.overrides.0.contains_key(&strategy)
    }

    /// Takes a command of somebody. Nothing for a repeat.
    pub(super) fn begin_asked(&mut self, asked: Asked) -> Option<Event> {
        let Asked { by, key, command } = asked;
        if let Some(key) = &key {
            if self.answered(&by.user, &key.key).is_some() {
                return None;
            }
            let order = match &command {
                OperatorCommand::Intent(Intent::Place(order)) => Some(order.id),
                _ => None,
            };
            let answered = Answered { seq: self.seq, fingerprint: key.fingerprint, order };
            self.keys.note(&by.user, key, answered, self.now);
        }
        self.begin_command(command)
    }

    /// The first event of a command's cascade.
    pub(super) fn begin_command(&mut self, command: OperatorCommand) -> Option<Event> {
        match command {
            OperatorCommand::Intent(intent) => (!self.folding).then_some(Event::Intent(intent)),
            OperatorCommand::Halt(scope) => Some(Event::Input(Input::Halt { scope, reason: HaltReason::KillSwitch })),
            OperatorCommand::SetParams { strategy, params } => self.set_params(strategy, params),
            OperatorCommand::Note { .. } => None,
            command => Some(Event::Input(Input::Command(command))),
        }
    }

    /// A configuration from outside, with what people changed since.
    pub(super) fn begin_configuration(&mut self, mut config: Box<EngineConfig>) -> Event {
        self.overrides.apply(&mut config);
        self.configure(&config);
        Event::Input(Input::Configuration(config))
    }

    /// Parameters that the strategy does not take change nothing: whoever offers them has tried them.
    fn set_params(&mut self, strategy: StrategyIx, params: Params) -> Option<Event> {
        let setup = self.config.strategy(strategy)?;
        self.registry.build(&setup.kind, &params).ok()?;
        let configured = match self.overrides.0.remove(&strategy) {
            Some(before) => before.configured,
            None => setup.params.clone(),
        };
        if params != configured {
            self.overrides.0.insert(strategy, Override { configured, params: params.clone() });
        }
        let mut config = self.config.clone();
        config.strategies.get_mut(strategy.ix().checked_sub(1)?)?.params = params;
        self.configure(&config);
        Some(Event::Input(Input::Configuration(Box::new(config))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(word: &str) -> IdempotencyKey {
        IdempotencyKey { key: word.into(), fingerprint: 7 }
    }

    #[test]
    fn keys_are_known_for_a_day_and_never_more_than_the_bound() {
        let (mut keys, user): (Keys, Arc<str>) = (Keys::default(), "ada".into());
        let answered = |seq| Answered { seq: Seq(seq), fingerprint: 7, order: None };
        let known = |keys: &Keys, word: &str| keys.known.contains_key(&(Arc::from("ada"), Arc::from(word)));
        keys.note(&user, &key("a"), answered(1), Ts::ZERO);
        let almost = Ts::ZERO.plus(KEYS_KEPT).plus(Span::from_nanos(-1));
        keys.note(&user, &key("b"), answered(2), almost);
        assert!(known(&keys, "a") && known(&keys, "b"));
        keys.note(&user, &key("c"), answered(3), Ts::ZERO.plus(KEYS_KEPT));
        assert!(!known(&keys, "a") && known(&keys, "b") && known(&keys, "c"));
        for at in 0..KEYS_MAX {
            keys.note(&user, &key(&format!("n{at}")), answered(4), Ts::ZERO.plus(KEYS_KEPT));
        }
        assert_eq!((keys.known.len(), keys.by_age.len()), (KEYS_MAX, KEYS_MAX));
        assert!(!known(&keys, "b") && !known(&keys, "c") && known(&keys, "n0"));
    }
}
