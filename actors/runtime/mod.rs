//! What the components share.
//!
//! * [`lane`]: an engine with its queue, journal and writers on one thread. * [`latch`]: stops new risk from any thread.

pub mod lane;
pub mod latch;
#[cfg(test)]
pub(crate) mod testkit;
