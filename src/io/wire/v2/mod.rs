//! Version 2 of the wire form: limits gain `reference_age_max`. What is not named here is as in version 1. Frozen: a change is a
//! new version beside it, and a step of the upcast chain.

pub mod event;
pub mod setup;

/// The definitions of all modules as text.
pub const SCHEMA: [&str; 2] = [setup::SCHEMA, event::SCHEMA];
