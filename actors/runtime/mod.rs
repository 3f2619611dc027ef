//! What the components share.
//!
//! * [`lane`]: an engine with its queue, journal and writers on one thread. * [`latch`]: stops new risk from any thread.
//! * [`component`]: the list of components and the policy table. * [`supervise`]: their actors, restarts, budgets.
//! * [`service`]: components whose work is a loop that the root gives. * [`console`]: what other threads may see and ask.
//! * [`commands`]: commands of people on their way to the engine.
//! * [`stop`]: the ordered stop. * [`system`]: starts and stops them all. * [`host`]: the lane's side of a socket shell.
//! * [`order_log`]: a line for each decision about an order.
//! * [`board`]: a copy of what the engine believes, for readers on other threads.
//! * [`feed`]: what each step told, for everybody off the trading thread.
//! * [`market_feed`]: the newest prices of watched symbols.
//! * [`watchdog`]: ends a process whose trading thread hangs.
//! * [`definitions`] and `history` ask the exchange for what the engine needs besides its streams.

pub mod board;
pub mod commands;
pub mod component;
pub mod console;
pub mod definitions;
pub mod feed;
pub(crate) mod history;
pub mod host;
pub mod lane;
pub mod latch;
pub mod market_feed;
pub mod order_log;
pub mod service;
pub mod stop;
pub mod supervise;
pub mod system;
#[cfg(test)]
pub(crate) mod testkit;
pub mod watchdog;
