//! The database: its queries, timed by the store, and its pool, asked for at each scrape.

use super::histogram::{Histogram, REQUEST_BOUNDS};
use super::http::Labelled;
use super::samples::Samples;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections of a pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Open ones.
    pub connections: u32,
    /// Those of them that wait for work.
    pub idle: u32,
    /// As many as there may be.
    pub max: u32,
}

type Pool = Arc<dyn Fn() -> Option<PoolState> + Send + Sync>;

/// Queries and connections. Nothing is told before there is a pool or a query.
#[derive(Default)]
pub struct Database {
    pool: Mutex<Option<Pool>>,
    queries: Labelled<&'static str, Query>,
    errors: AtomicU64,
}

struct Query(Histogram);

impl Default for Query {
    fn default() -> Query {
        Query(Histogram::new(REQUEST_BOUNDS))
    }
}

impl Database {
    /// Says who knows the pool. It answers at once; `None` when it does not know.
    pub fn set_pool(&self, pool: impl Fn() -> Option<PoolState> + Send + Sync + 'static) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pool));
    }

    /// A query of this kind is done. The time to wait for a connection is part of it.
    pub fn query(&self, operation: &'static str, took: Duration, ok: bool) {
        self.queries.with(operation, |query| query.0.observe(took));
        if !ok {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Something of the database failed that is no query: a connection that could not be opened.
    pub fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collect(&self, all: &mut Samples) {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut used = pool.is_some();
        if let Some(state) = pool.and_then(|pool| pool()) {
            all.gauge("db_connections", "Open connections to the database", &[], f64::from(state.connections));
            all.gauge(
                "db_connections_idle",
                "Connections to the database that wait for work",
                &[],
                f64::from(state.idle),
            );
            all.gauge("db_connections_max", "Connections that the pool may open", &[], f64::from(state.max));
        }
        self.queries.each(|operation, query| {
            used = true;
            let help = "Time of database queries, the wait for a connection included";
            let labels = [("operation", (*operation).to_owned())];
            all.histogram("db_query_duration_seconds", help, &labels, query.0.read());
        });
        let errors = self.errors.load(Ordering::Relaxed);
        if used || errors > 0 {
            all.counter("db_errors_total", "Queries and connections of the database that failed", &[], errors);
        }
    }
}
