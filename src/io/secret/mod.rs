//! Secrets: how they are kept in files and asked for on a terminal.

pub mod enc;
pub mod prompt;
