//! Version 1 of the wire form. Frozen: a change is a new version beside it, and a step of the upcast chain.

pub mod command;
pub mod event;
pub mod market;
pub mod order;
pub mod refusal;
pub mod setup;
pub mod was;

/// The definitions of all modules as text.
pub const SCHEMA: [&str; 6] =
    [market::SCHEMA, order::SCHEMA, command::SCHEMA, setup::SCHEMA, refusal::SCHEMA, event::SCHEMA];
