//! Version 3 of the wire form: commands tell who asked, and there are more of them. What is not named here is as in version 2.
//! Frozen: a change is a new version beside it, and a step of the upcast chain.

pub mod event;

/// The definitions of all modules as text.
pub const SCHEMA: [&str; 1] = [event::SCHEMA];
