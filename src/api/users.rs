//! Users as the API needs them.

use super::state::Away;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// What a user may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, and trade.
    Trader,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Trader, Role::Admin];

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
        Role::ALL.into_iter().find(|role| role.word() == word).ok_or(NotRole)
    }
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password's hash in PHC form.
    pub hash: SecretString,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may not log in.
    pub disabled: bool,
    /// Raised by every change of password, role or `disabled`: tokens that were given out under a lower one are void.
    pub token_version: i64,
}

/// Where users are kept.
pub trait Users: Send + Sync {
    /// A user by name; `None`: there is none.
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<User>, Away>>;
}
