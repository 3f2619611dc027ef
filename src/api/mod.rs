//! The HTTP API: health, metrics, logins, reads of the running system, commands to it, its description and the page that shows it.
//!
//! In: requests, on threads of its own. Out: answers from copies ([`state::System`]) that the trading thread makes when asked for;
//! nothing here waits on that thread, and nothing there waits for a client. [`server`] is the sockets and the routes, `edge` what
//! every request passes; the rest are handlers. A new path is a handler with its role among its arguments and its
//! `utoipa::path`, a line among the routes of [`server`] and a word in [`openapi`]; `tests/api_paths.rs` fails without either.
//! Tests: over real sockets in `tests/api_*.rs`.

pub mod auth;
mod body;
pub mod client;
pub mod commands;
pub mod compose;
mod cors;
mod edge;
pub mod error;
mod guarded;
pub mod health;
mod history;
pub mod limit;
pub mod live;
mod login;
mod metrics;
pub mod observed;
pub mod openapi;
pub mod options;
mod orders;
mod page;
pub mod push;
mod reads;
mod refusal;
pub mod server;
pub mod state;
pub mod store;
pub mod system;
