//! Parameters of strategies: declared with type, range, default and doc; read from the configuration; checked all at once.
//!
//! A strategy declares a table of [`ParamSpec`]. [`Params::read`] takes the configured values and either gives every declared
//! parameter a value, or lists everything that is wrong. Tests: table of errors, defaults.

use crate::config::ParamValue;
use crate::indicator::PeriodError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Type, range and default of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParamKind {
    /// A whole number from `min` to `max`, both included.
    Int { min: i64, max: i64, default: i64 },
    /// A finite number from `min` to `max`, both included.
    Float { min: f64, max: f64, default: f64 },
    /// True or false.
    Bool { default: bool },
    /// One of some words.
    Choice { allowed: &'static [&'static str], default: &'static str },
}

/// One parameter of a strategy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamSpec {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Type, range and default.
    pub kind: ParamKind,
    /// What it does, with its unit; one or two sentences for people.
    pub doc: &'static str,
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// No such parameter.
    #[error("unknown parameter `{name}`{}", nearest.map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default())]
    Unknown { name: String, nearest: Option<&'static str> },
    /// A value of another type.
    #[error("parameter `{name}`: {found} is of the wrong type; allowed: {allowed}")]
    WrongType { name: &'static str, found: String, allowed: String },
    /// A value out of its range.
    #[error("parameter `{name}`: {found} is out of range; allowed: {allowed}")]
    OutOfRange { name: &'static str, found: String, allowed: String },
    /// Values that do not go together.
    #[error("parameter `{name}`: {found} does not fit the others: {reason}")]
    Inconsistent { name: &'static str, found: String, reason: &'static str },
    /// The strategy reads a parameter that it does not declare, or as another type: a mistake in its code.
    #[error("parameter `{name}` is not declared as {kind}")]
    Undeclared { name: &'static str, kind: &'static str },
}

impl ParamKind {
    /// The default.
    pub fn default_value(&self) -> ParamValue {
        match *self {
            ParamKind::Int { default, .. } => ParamValue::Int(default),
            ParamKind::Float { default, .. } => ParamValue::Float(default),
            ParamKind::Bool { default } => ParamValue::Bool(default),
            ParamKind::Choice { default, .. } => ParamValue::Text(default.into()),
        }
    }

    /// What is allowed, for people.
    pub fn allowed(&self) -> String {
        match self {
            ParamKind::Int { min, max, .. } => format!("a whole number from {min} to {max}"),
            ParamKind::Float { min, max, .. } => format!("a number from {min} to {max}"),
            ParamKind::Bool { .. } => "true or false".to_owned(),
            ParamKind::Choice { allowed, .. } => format!("one of {}", allowed.join(", ")),
        }
    }
}

impl ParamSpec {
    /// Checks one value and brings it to the declared type (a whole number is a number too).
    pub fn check(&self, value: &ParamValue) -> Result<ParamValue, ParamError> {
        let out_of_range =
            || ParamError::OutOfRange { name: self.name, found: show(value), allowed: self.kind.allowed() };
        match (self.kind, value) {
            (ParamKind::Int { min, max, .. }, ParamValue::Int(v)) => {
                if (min..=max).contains(v) {
                    Ok(value.clone())
                } else {
                    Err(out_of_range())
                }
            }
            (ParamKind::Float { min, max, .. }, ParamValue::Int(_) | ParamValue::Float(_)) => {
                let number = match value {
                    ParamValue::Int(v) => *v as f64,
                    ParamValue::Float(v) => *v,
                    _ => f64::NAN,
                };
                // A NaN is in no range.
                if (min..=max).contains(&number) { Ok(ParamValue::Float(number)) } else { Err(out_of_range()) }
            }
            (ParamKind::Bool { .. }, ParamValue::Bool(_)) => Ok(value.clone()),
            (ParamKind::Choice { allowed, .. }, ParamValue::Text(word)) => {
                if allowed.contains(&&**word) {
                    Ok(value.clone())
                } else {
                    Err(out_of_range())
                }
            }
            _ => Err(ParamError::WrongType { name: self.name, found: show(value), allowed: self.kind.allowed() }),
        }
    }
}

fn show(value: &ParamValue) -> String {
    match value {
        ParamValue::Int(v) => v.to_string(),
        ParamValue::Float(v) => v.to_string(),
        ParamValue::Bool(v) => v.to_string(),
        ParamValue::Text(v) => format!("\"{v}\""),
    }
}

/// The values of all declared parameters of one strategy instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(BTreeMap<&'static str, ParamValue>);

impl Params {
    /// Reads configured values; what is missing has its default. On failure lists everything that is wrong.
    pub fn read(specs: &[ParamSpec], values: &BTreeMap<Arc<str>, ParamValue>) -> Result<Params, Vec<ParamError>> {
        let mut errors = Vec::new();
        for name in values.keys().filter(|name| !specs.iter().any(|spec| spec.name == &***name)) {
            let nearest = nearest(name, specs.iter().map(|spec| spec.name));
            errors.push(ParamError::Unknown { name: name.to_string(), nearest });
        }
        let mut params = BTreeMap::new();
        for spec in specs {
            match values.get(spec.name).map_or_else(|| Ok(spec.kind.default_value()), |value| spec.check(value)) {
                Ok(value) => {
                    params.insert(spec.name, value);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Params(params)) } else { Err(errors) }
    }

    /// A whole number.
    pub fn int(&self, name: &'static str) -> Result<i64, ParamError> {
        match self.0.get(name) {
            Some(ParamValue::Int(value)) => Ok(*value),
            _ => Err(ParamError::Undeclared { name, kind: "a whole number" }),
        }
    }

    /// A number.
    pub fn float(&self, name: &'static str) -> Result<f64, ParamError> {
        match self.0.get(name) {
            Some(ParamValue::Float(value)) => Ok(*value),
            _ => Err(ParamError::Undeclared { name, kind: "a number" }),
        }
    }

    /// True or false.
    pub fn bool(&self, name: &'static str) -> Result<bool, ParamError> {
        match self.0.get(name) {
            Some(ParamValue::Bool(value)) => Ok(*value),
            _ => Err(ParamError::Undeclared { name, kind: "true or false" }),
        }
    }

    /// A word.
    pub fn text(&self, name: &'static str) -> Result<&str, ParamError> {
        match self.0.get(name) {
            Some(ParamValue::Text(value)) => Ok(value),
            _ => Err(ParamError::Undeclared { name, kind: "a word" }),
        }
    }

    /// All values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &ParamValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }
}

/// An indicator does not take the period, though its range was checked.
pub(crate) fn refused_period(name: &'static str, error: PeriodError) -> ParamError {
    ParamError::OutOfRange { name, found: error.period.to_string(), allowed: error.to_string() }
}

/// The known name that is closest to a misspelt one, if any is close.
pub(crate) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let bound = (name.len() / 3).max(2);
    known.map(|k| (edit_distance(name, k), k)).filter(|(distance, _)| *distance <= bound).min().map(|(_, k)| k)
}

/// Levenshtein distance: the number of letters to insert, remove or change.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SPECS: &[ParamSpec] = &[
        ParamSpec { name: "fast", kind: ParamKind::Int { min: 1, max: 50, default: 8 }, doc: "Periods." },
        ParamSpec { name: "notional", kind: ParamKind::Float { min: 1.0, max: 1e6, default: 100.0 }, doc: "USDT." },
        ParamSpec { name: "both", kind: ParamKind::Bool { default: true }, doc: "Both sides." },
        ParamSpec {
            name: "mode",
            kind: ParamKind::Choice { allowed: &["modify", "cancel"], default: "modify" },
            doc: "How.",
        },
    ];

    fn read(values: &[(&str, ParamValue)]) -> Result<Params, Vec<String>> {
        let values = values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        Params::read(SPECS, &values).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_missing_has_its_default_and_a_whole_number_is_a_number() {
        let params = read(&[("notional", ParamValue::Int(250))]).unwrap();
        assert_eq!((params.int("fast"), params.float("notional")), (Ok(8), Ok(250.0)));
        assert_eq!((params.bool("both"), params.text("mode")), (Ok(true), Ok("modify")));
        assert!(matches!(params.int("notional"), Err(ParamError::Undeclared { name: "notional", .. })));
    }

    #[test]
    fn every_error_names_parameter_value_and_what_is_allowed() {
        let errors = read(&[
            ("fasst", ParamValue::Int(3)),
            ("zzzzzzzz", ParamValue::Int(3)),
            ("fast", ParamValue::Int(51)),
            ("notional", ParamValue::Float(f64::NAN)),
            ("both", ParamValue::Text("yes".into())),
            ("mode", ParamValue::Text("replace".into())),
        ])
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "unknown parameter `fasst` (did you mean `fast`?)",
                "unknown parameter `zzzzzzzz`",
                "parameter `fast`: 51 is out of range; allowed: a whole number from 1 to 50",
                "parameter `notional`: NaN is out of range; allowed: a number from 1 to 1000000",
                "parameter `both`: \"yes\" is of the wrong type; allowed: true or false",
                "parameter `mode`: \"replace\" is out of range; allowed: one of modify, cancel",
            ]
        );
    }

    #[test]
    fn the_edges_of_a_range_are_allowed() {
        for value in [1, 50] {
            assert_eq!(read(&[("fast", ParamValue::Int(value))]).unwrap().int("fast"), Ok(value));
        }
        assert!(read(&[("fast", ParamValue::Int(0))]).is_err());
        assert!(read(&[("fast", ParamValue::Float(8.0))]).is_err(), "a number is not a whole number");
    }
}
