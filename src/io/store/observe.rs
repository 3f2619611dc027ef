//! What metrics and health checks may see of a store.

use super::StoreError;
use std::time::Duration;

/// Is told of every call. It must only count.
pub trait StoreObserver: Send + Sync + 'static {
    /// A call ended. `name` is one of a small fixed set (the method, or the table that was read); `took` includes the wait for a
    /// connection.
    fn query(&self, name: &'static str, took: Duration, error: Option<&StoreError>);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl StoreObserver for NoObserver {
    fn query(&self, _: &'static str, _: Duration, _: Option<&StoreError>) {}
}

/// Connections at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Connections that may be open.
    pub max: u32,
    /// Connections that are open.
    pub open: u32,
    /// Open ones that nobody uses.
    pub idle: u32,
    /// Open ones that somebody uses.
    pub in_use: u32,
    /// Calls that wait for one.
    pub waiting: u32,
    /// Calls that had to wait, since the start.
    pub waits: u64,
    /// Calls that waited in vain, since the start.
    pub timeouts: u64,
    /// Time that calls waited together, since the start.
    pub waited: Duration,
}
