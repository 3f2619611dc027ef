//! Exact values of columns, and how each of the two databases spells them.
//!
//! Tests: decimals through text, PostgreSQL's binary form and back; times.

mod decimal;
mod sql;

pub use decimal::{Decimal, NotDecimal};

use qcat_core::time::Ts;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Text of a column; cheap to copy.
pub type Text = Arc<str>;

/// A time as databases keep it: whole microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(i64);

impl Micros {
    /// From microseconds since the Unix epoch.
    pub const fn new(micros: i64) -> Micros {
        Micros(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl From<Ts> for Micros {
    /// The part of a microsecond is cut off.
    fn from(at: Ts) -> Micros {
        Micros(at.nanos().div_euclid(1_000))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{at:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A value on its way to or from a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(Text),
    Decimal(Decimal),
    Time(Micros),
    Bool(bool),
}

impl Value {
    /// A text.
    pub(crate) fn text(text: &str) -> Value {
        Value::Text(text.into())
    }
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Decimal,
    Time,
    Bool,
}

/// A Rust type that fits a column.
pub(crate) trait Cell: Sized {
    const KIND: Kind;
    const NULLABLE: bool = false;
    fn into_value(self) -> Value;
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! cell {
    ($type:ty, $kind:ident) => {
        impl Cell for $type {
            const KIND: Kind = Kind::$kind;

            fn into_value(self) -> Value {
                Value::$kind(self)
            }

            fn from_value(value: Value) -> Option<Self> {
                if let Value::$kind(value) = value { Some(value) } else { None }
            }
        }
    };
}

cell!(i64, Int);
cell!(Decimal, Decimal);
cell!(Micros, Time);
cell!(bool, Bool);

impl Cell for Text {
    const KIND: Kind = Kind::Text;

    /// PostgreSQL's text holds no NUL.
    fn into_value(self) -> Value {
        if self.as_bytes().contains(&0) { Value::text(&self.replace('\0', "\u{fffd}")) } else { Value::Text(self) }
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(value) = value { Some(value) } else { None }
    }
}

impl<T: Cell> Cell for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;

    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }

    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}
