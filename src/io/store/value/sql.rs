//! The values in the words of PostgreSQL (binary) and of SQLite (integers and text).

use super::{Decimal, Kind, Micros, Text, Value};
use bytes::{BufMut, BytesMut};
use rusqlite::types::{ToSqlOutput, ValueRef};
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Value::Null, _) => return Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => out.put_i64(*value),
            (Value::Text(value), &Type::TEXT) => out.put_slice(value.as_bytes()),
            (Value::Decimal(value), &Type::NUMERIC) => value.write_binary(out),
            (Value::Time(value), &Type::TIMESTAMPTZ) => {
                let since = value.get().checked_sub(POSTGRES_EPOCH).ok_or("the time is out of range")?;
                out.put_i64(since);
            }
            (Value::Bool(value), &Type::BOOL) => out.put_u8(u8::from(*value)),
            // The value itself may be a secret.
            _ => return Err(format!("a value does not fit its parameter of type {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true // `to_sql` knows the value too
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Value, Box<dyn Error + Sync + Send>> {
        match *ty {
            Type::INT8 => Ok(Value::Int(i64::from_sql(ty, raw)?)),
            Type::TEXT => Ok(Value::text(<&str>::from_sql(ty, raw)?)),
            Type::BOOL => Ok(Value::Bool(bool::from_sql(ty, raw)?)),
            Type::NUMERIC => Ok(Value::Decimal(Decimal::from_binary(raw).ok_or("a numeric does not fit 38 digits")?)),
            Type::TIMESTAMPTZ => {
                let raw: [u8; 8] = raw.try_into()?;
                let at = i64::from_be_bytes(raw).checked_add(POSTGRES_EPOCH).ok_or("a time is out of range")?;
                Ok(Value::Time(Micros::new(at)))
            }
            _ => Err(format!("a column of type {ty} is not expected").into()),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Value, Box<dyn Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true // `from_sql` refuses what it does not know
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Int(value) => ToSqlOutput::Borrowed(ValueRef::Integer(*value)),
            Value::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Value::Decimal(value) => ToSqlOutput::Owned(value.to_string().into()),
            Value::Time(value) => ToSqlOutput::Borrowed(ValueRef::Integer(value.get())),
            Value::Bool(value) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*value))),
        })
    }
}

impl Value {
    /// Reads a column of SQLite; `None` when it holds something else than its kind.
    pub(crate) fn from_sqlite(kind: Kind, raw: ValueRef<'_>) -> Option<Value> {
        match (kind, raw) {
            (_, ValueRef::Null) => Some(Value::Null),
            (Kind::Int, ValueRef::Integer(value)) => Some(Value::Int(value)),
            (Kind::Time, ValueRef::Integer(value)) => Some(Value::Time(Micros::new(value))),
            (Kind::Bool, ValueRef::Integer(value)) => Some(Value::Bool(value != 0)),
            (Kind::Text, ValueRef::Text(value)) => Some(Value::Text(Text::from(std::str::from_utf8(value).ok()?))),
            (Kind::Decimal, ValueRef::Text(value)) => {
                Some(Value::Decimal(std::str::from_utf8(value).ok()?.parse().ok()?))
            }
            _ => None,
        }
    }
}
