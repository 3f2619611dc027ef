//! QCAT's trading core: everything that decides, as pure state machines.
//!
//! No clock, no I/O, no async, no threads, no unseeded chance: time and inputs come in as arguments, effects go out as values.
//! Start reading at [`event`] (all that travels), then [`engine`] (who receives what, and in which order).
#![forbid(unsafe_code)]

pub mod binance;
pub mod book;
pub mod candle;
pub mod command;
pub mod config;
pub mod engine;
pub mod event;
pub mod health;
pub mod id;
pub mod indicator;
pub mod instrument;
pub mod market;
pub mod node;
pub mod num;
pub mod optimize;
pub mod order;
pub mod position;
pub mod risk;
pub mod sim;
pub mod stats;
pub mod strategy;
pub mod time;
pub mod venue;
