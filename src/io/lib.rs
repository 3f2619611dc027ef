//! QCAT's I/O: bytes in and out, and the only wall clock. It decides nothing.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ask;
pub mod cache;
pub mod clock;
pub mod definitions;
pub mod disk;
pub mod history;
pub mod journal;
pub mod kept;
pub mod last_resort;
pub mod logs;
pub mod metrics;
pub mod net;
pub mod resources;
pub mod seat;
pub mod secret;
pub mod serve;
pub mod shell;
pub mod sign;
pub mod store;
pub mod systemd;
pub mod terminal;
pub mod wire;
