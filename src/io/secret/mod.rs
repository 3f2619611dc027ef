//! Secrets: how they are kept in files and asked for on a terminal; tokens and passwords.

pub mod enc;
pub mod jwt;
pub mod password;
pub mod prompt;
