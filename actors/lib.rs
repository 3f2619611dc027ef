//! QCAT's actors: who runs the engine, its sockets and its journal, and what happens when one of them fails.
//!
//! One file per component, in the order in which they stop ([`runtime::component::Component`]); each owns the life of its part,
//! not the data's way through the engine. [`runtime`] holds what they share: the lane, supervision, the ordered stop.
#![forbid(unsafe_code)]

pub mod database;
pub mod health_checker;
pub mod http_server;
pub mod market_data_streams;
pub mod memory_manager;
pub mod network_manager;
pub mod optimizer;
pub mod order_managers;
pub mod position_managers;
pub mod redis_cache;
pub mod risk_engine;
pub mod runtime;
pub mod strategy_runners;
pub mod websocket_connections;
