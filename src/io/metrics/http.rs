//! Requests that we answer. Recorded by the threads of the HTTP server.

use super::histogram::{Histogram, REQUEST_BOUNDS};
use super::samples::Samples;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// Different label values of one metric; what comes beyond is not told apart, so that nobody outside makes it grow.
const SERIES_MAX: usize = 1_000;

/// Values by label. Reading a known one takes a shared lock only.
#[derive(Debug)]
pub(super) struct Labelled<K, V>(RwLock<BTreeMap<K, V>>);

impl<K, V> Default for Labelled<K, V> {
    fn default() -> Labelled<K, V> {
        Labelled(RwLock::default())
    }
}

impl<K: Ord, V: Default> Labelled<K, V> {
    /// Calls with the value of this label. Beyond the bound of labels nothing is called.
    pub fn with<T>(&self, key: K, call: impl FnOnce(&V) -> T) {
        if let Some(value) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            call(value);
            return;
        }
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() < SERIES_MAX {
            call(map.entry(key).or_default());
        }
    }

    /// Calls with each.
    pub fn each(&self, mut call: impl FnMut(&K, &V)) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|(key, value)| call(key, value));
    }
}

#[derive(Debug)]
struct Times(Histogram);

impl Default for Times {
    fn default() -> Times {
        Times(Histogram::new(REQUEST_BOUNDS))
    }
}

/// Requests.
#[derive(Debug, Default)]
pub struct Http {
    requests: Labelled<(&'static str, String, u16), AtomicU64>,
    durations: Labelled<(&'static str, String), Times>,
    errors: AtomicU64,
    connections: AtomicI64,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct Connection(std::sync::Arc<super::Metrics>);

impl Connection {
    /// A connection was opened.
    pub fn open(metrics: std::sync::Arc<super::Metrics>) -> Connection {
        metrics.http.connections.fetch_add(1, Ordering::Relaxed);
        Connection(metrics)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.http.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http {
    /// A request was answered. `route` is the *pattern* that matched (`/api/v1/orders/{id}`), never the path; a request without
    /// one is `unmatched`.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let method = known_method(method);
        self.requests.with((method, route.to_owned(), status), |count| count.fetch_add(1, Ordering::Relaxed));
        self.durations.with((method, route.to_owned()), |times| times.0.observe(took));
        if status >= 500 {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn collect(&self, all: &mut Samples) {
        self.requests.each(|(method, route, status), count| {
            let labels = [("method", (*method).into()), ("route", route.clone()), ("status", status.to_string())];
            let count = count.load(Ordering::Relaxed);
            all.counter("http_requests_total", "Requests answered", &labels, count);
        });
        self.durations.each(|(method, route), times| {
            let labels = [("method", (*method).into()), ("route", route.clone())];
            let help = "Time from a request's head to its answer's end";
            all.histogram("http_request_duration_seconds", help, &labels, times.0.read());
        });
        let errors = self.errors.load(Ordering::Relaxed);
        all.counter("http_errors_total", "Requests that we failed to serve: answers of 500 and above", &[], errors);
        let connections = self.connections.load(Ordering::Relaxed);
        all.gauge("active_connections", "Open connections of clients", &[], connections as f64);
    }
}

/// Methods are text from outside.
fn known_method(method: &str) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method).unwrap_or("other")
}
