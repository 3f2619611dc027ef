//! Metrics: counted and timed without a lock where that matters, gathered when somebody asks.
//!
//! A metric is measured or absent: a source that does not answer leaves its metrics out. Fifteen names are the operations
//! manual's and stand exactly so on the wire; the rest is ours. No label holds anything that comes from outside unbounded.
//! Tests: `tests`; `tests/metrics.rs` has promtool judge the classic text.

mod database;
mod encode;
mod histogram;
mod host;
mod http;
mod samples;
#[cfg(test)]
mod tests;
mod trading;

pub use database::{Database, PoolState};
pub use encode::Exposition;
pub use histogram::{Histogram, Recorded};
pub use host::HostOptions;
pub use http::{Connection, Http};
pub use samples::{Samples, Value};
pub use trading::{AccountMeter, Stage, Trading};

use crate::logs::Logs;
use futures_util::future::{BoxFuture, join_all};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a source may take.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells what it knows when somebody scrapes: a store, the tree of components. Called on the scraper's thread, never on the
/// trading one.
pub trait Source: Send + Sync {
    /// Adds what is measured; what is not known is left out. What takes longer than a second is left out of the answer.
    fn collect(&self) -> BoxFuture<'_, Samples>;
}

/// All metrics of the process. Shared behind an `Arc`.
pub struct Metrics {
    /// Requests that we answer.
    pub http: Http,
    /// The database's queries and connections.
    pub database: Database,
    /// What the trading thread measures.
    pub trading: Arc<Trading>,
    host: host::Host,
    logs: Option<Logs>,
    sources: Mutex<Vec<(&'static str, Arc<dyn Source>)>>,
    late: http::Labelled<[&'static str; 1], std::sync::atomic::AtomicU64>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Begins to measure; the machine is looked at on a thread of its own.
    pub fn start(options: HostOptions, logs: Option<Logs>) -> io::Result<Arc<Metrics>> {
        Ok(Arc::new(Metrics {
            http: Http::default(),
            database: Database::default(),
            trading: Arc::default(),
            host: host::Host::start(options)?,
            logs,
            sources: Mutex::default(),
            late: http::Labelled::default(),
        }))
    }

    /// Has a source asked at each scrape. A second one of the same name takes the place of the first.
    pub fn add_source(&self, name: &'static str, source: Arc<dyn Source>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|(known, _)| *known != name);
        sources.push((name, source));
    }

    /// Everything measured, as the value of an `Accept` header wants it: its content type and the text.
    pub async fn scrape(&self, accept: Option<&str>) -> (&'static str, String) {
        let format = Exposition::negotiate(accept.unwrap_or_default());
        (format.content_type(), format.encode(self.gather().await))
    }

    /// Everything measured.
    pub async fn gather(&self) -> Samples {
        let mut all = Samples::default();
        let info = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        all.gauge("qcat_build_info", "The version of the program; always 1", &info, 1.0);
        self.host.collect(&mut all);
        self.http.collect(&mut all);
        self.database.collect(&mut all);
        self.trading.collect(&mut all);
        for (log, counts) in self.logs.as_ref().map(Logs::counts).unwrap_or_default() {
            let labels = [("log", log.to_owned())];
            all.counter("log_lines_dropped_total", "Lines of the log that were lost", &labels, counts.dropped);
            let help = "Writes of the log that failed and were tried again";
            all.counter("log_write_failures_total", help, &labels, counts.write_failures);
        }
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ask = sources
            .iter()
            .map(|(name, source)| async move { (*name, tokio::time::timeout(SOURCE_TIMEOUT, source.collect()).await) });
        for (name, answer) in join_all(ask).await {
            match answer {
                Ok(samples) => all.merge(samples),
                Err(_) => self.late.with([name], |count| count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
            }
        }
        self.late.each(|[name], count| {
            let count = count.load(std::sync::atomic::Ordering::Relaxed);
            let help = "Scrapes in which a source did not answer in time";
            all.counter("metrics_source_timeouts_total", help, &[("source", (*name).to_owned())], count);
        });
        all
    }
}
