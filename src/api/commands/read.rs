//! What bodies say, and which things of the engine they name. Every error names the member, and what is allowed.

use crate::api::error::{Code, Problem};
use qcat_actors::runtime::commands::Look;
use qcat_core::id::{AccountIx, StrategyIx};
use qcat_core::instrument::Instrument;
use qcat_core::num::NumError;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Characters of a member's text that an error repeats.
const SHOWN: usize = 40;

/// Everything that is wrong with a body.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// One more.
    pub fn add(&mut self, name: &str, fault: impl fmt::Display) {
        self.0.push(format!("{name}: {fault}"));
    }

    /// A member that is a text.
    pub fn text(&mut self, name: &str, value: Option<Value>) -> Option<String> {
        match value? {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::Number(_) => {
                self.add(name, "a number in quotes is expected, such as \"0.10\"");
                None
            }
            _ => {
                self.add(name, "a text that is not empty is expected");
                None
            }
        }
    }

    /// A member that is a text and must be there.
    pub fn needed(&mut self, name: &str, value: Option<Value>) -> String {
        if value.is_none() {
            self.add(name, "missing");
        }
        self.text(name, value).unwrap_or_default()
    }

    /// A member that is one of some words.
    pub fn choice<T: Copy>(&mut self, name: &str, value: Option<Value>, allowed: &[(&str, T)]) -> Option<T> {
        let found = value.as_ref()?.as_str().and_then(|word| allowed.iter().find(|(known, _)| *known == word));
        if found.is_none() {
            let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
            self.add(name, format_args!("allowed are {}", words.join(", ")));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A member that is true or false; missing means false.
    pub fn flag(&mut self, name: &str, value: Option<Value>) -> bool {
        match value {
            None => false,
            Some(Value::Bool(value)) => value,
            Some(_) => {
                self.add(name, "true or false is expected");
                false
            }
        }
    }

    /// A member that is there exactly when `wanted`; `with` says when that is.
    pub fn only_with(&mut self, name: &str, is_there: bool, wanted: bool, with: &str) {
        match (is_there, wanted) {
            (true, false) => self.add(name, format_args!("only with {with}")),
            (false, true) => self.add(name, format_args!("missing; needed with {with}")),
            _ => {}
        }
    }

    /// What was read, if nothing was wrong.
    pub fn or<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Problem::new(Code::BadValue, self.0.join("; "))),
        }
    }
}

/// A text that cannot be read as a price or quantity, of which multiples of `step` are allowed.
pub fn not_decimal(name: &str, error: &NumError, step: &str) -> Problem {
    let reason = match error {
        NumError::Malformed(_) => "a decimal text such as \"0.10\" is expected".to_owned(),
        NumError::Negative(_) => "it must not be below zero".to_owned(),
        NumError::TooFine { .. } => format!("multiples of {step} are allowed"),
        error => error.to_string(),
    };
    Problem::new(Code::BadValue, format!("{name}: {reason}"))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).filter(|letter| !letter.is_control()).collect()
}

/// An account by name.
pub fn account(look: Look<'_>, name: &str) -> Result<AccountIx, Problem> {
    let accounts = &look.engine.config().accounts;
    let found = accounts.iter().position(|account| &*account.name == name).and_then(|at| u16::try_from(at).ok());
    found.map(AccountIx).ok_or_else(|| {
        let known: Vec<&str> = accounts.iter().map(|account| &*account.name).collect();
        Problem::new(
            Code::BadValue,
            format!("account: there is none named `{}`; known: {}", shown(name), known.join(", ")),
        )
    })
}

/// A strategy by name.
pub fn strategy(look: Look<'_>, name: &str) -> Result<StrategyIx, Problem> {
    let found = look.engine.config().strategies().find(|(_, setup)| &*setup.name == name);
    found.map(|(ix, _)| ix).ok_or_else(|| Problem::not_found("there is no such strategy"))
}

/// A symbol by the exchange's name.
pub fn symbol<'a>(look: Look<'a>, name: &str) -> Result<&'a Instrument, Problem> {
    let found = look.engine.universe().by_name(name);
    found.ok_or_else(|| {
        Problem::new(Code::BadValue, format!("symbol: the exchange lists no `{}` (names are upper case)", shown(name)))
    })
}

/// The members of a JSON object, each named once.
#[derive(Debug, serde::Serialize)]
pub struct Members(pub BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("duplicate member"));
                    }
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Object)
    }
}
