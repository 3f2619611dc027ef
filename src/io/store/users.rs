//! Users: who may ask for what. They are in tables of their own, which a rebuild of the projections never touches.

use super::StoreError;
use super::query::Statement;
use super::value::{Cell, Kind, Micros, Text, Value};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::str::FromStr;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, and trade.
    Trader,
    /// Everything.
    Admin,
}

impl Role {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Trader => "trader",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Not one of `viewer`, `trader`, `admin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, trader or admin")]
pub struct NotRole;

impl FromStr for Role {
    type Err = NotRole;

    fn from_str(word: &str) -> Result<Role, NotRole> {
        [Role::Viewer, Role::Trader, Role::Admin].into_iter().find(|role| role.word() == word).ok_or(NotRole)
    }
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The name, 1 to 64 of `[A-Za-z0-9._@-]`; two that differ in case only are the same.
    pub name: Text,
    /// The password's hash in PHC form.
    pub hash: SecretString,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may not log in.
    pub disabled: bool,
    /// Raised by every change of password, role or `disabled`: tokens that were given out under a lower one are void.
    pub token_version: i64,
    /// When it was added.
    pub created_at: Micros,
    /// When it last changed.
    pub changed_at: Micros,
}

/// A change of a user.
#[derive(Debug, Clone)]
pub enum UserChange {
    /// A new password's hash in PHC form.
    Password(SecretString),
    /// Another role.
    Role(Role),
    /// May not log in any more, or may again.
    Disabled(bool),
}

const COLUMNS: &str = "name, hash, role, disabled, token_version, created_at, changed_at";
const KINDS: [Kind; 7] = [Kind::Text, Kind::Text, Kind::Text, Kind::Bool, Kind::Int, Kind::Time, Kind::Time];

fn name_value(name: &str) -> Result<Value, StoreError> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(known) {
        return Err(StoreError::Invalid("a user's name is 1 to 64 of letters, digits and ._@-".to_owned()));
    }
    Ok(Value::text(name))
}

pub(crate) fn add(name: &str, hash: &SecretString, role: Role, at: Micros) -> Result<Statement, StoreError> {
    let sql = format!("INSERT INTO users ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING");
    let hash = Value::text(hash.expose_secret());
    let (role, at) = (Value::text(role.word()), Value::Time(at));
    let params = vec![name_value(name)?, hash, role, Value::Bool(false), Value::Int(1), at.clone(), at];
    Ok(Statement::new(sql, params))
}

pub(crate) fn list() -> Statement {
    let sql = format!("SELECT {COLUMNS} FROM users ORDER BY name LIMIT 10000");
    Statement { sql, params: Vec::new(), kinds: KINDS.to_vec() }
}

/// Nobody has a name that is not a name, so asking for one is no error.
pub(crate) fn get(name: &str) -> Option<Statement> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE lower(name) = lower($1)");
    Some(Statement { sql, params: vec![name_value(name).ok()?], kinds: KINDS.to_vec() })
}

pub(crate) fn change(name: &str, change: &UserChange, at: Micros) -> Option<Statement> {
    let (column, value) = match change {
        UserChange::Password(hash) => ("hash", Value::text(hash.expose_secret())),
        UserChange::Role(role) => ("role", Value::text(role.word())),
        UserChange::Disabled(disabled) => ("disabled", Value::Bool(*disabled)),
    };
    let sql = format!(
        "UPDATE users SET {column} = $1, token_version = token_version + 1, changed_at = $2 WHERE lower(name) = lower($3)"
    );
    Some(Statement::new(sql, vec![value, Value::Time(at), name_value(name).ok()?]))
}

pub(crate) fn read(values: Vec<Value>) -> Result<User, StoreError> {
    let mut values = values.into_iter();
    let mut user = || {
        Some(User {
            name: Text::from_value(values.next()?)?,
            hash: SecretString::from(&*Text::from_value(values.next()?)?),
            role: Text::from_value(values.next()?)?.parse().ok()?,
            disabled: bool::from_value(values.next()?)?,
            token_version: i64::from_value(values.next()?)?,
            created_at: Micros::from_value(values.next()?)?,
            changed_at: Micros::from_value(values.next()?)?,
        })
    };
    user().ok_or_else(|| StoreError::Bug("a row of users does not fit its type".to_owned()))
}
