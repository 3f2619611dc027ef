//! What is measured besides the trading thread: the components, the projections, the database's queries and connections.

use super::look::Look;
use crate::projector::database::Database;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use qcat_actors::runtime::component::ComponentState;
use qcat_actors::runtime::system::Tree;
use qcat_io::cache::{Cache, RedisState};
use qcat_io::metrics::{Metrics, PoolState, Samples, Source};
use qcat_io::store::{Store, StoreError, StoreObserver};
use std::sync::Arc;
use std::time::Duration;

/// Counts queries of the database.
pub(super) struct Queries(pub Arc<Metrics>);

impl StoreObserver for Queries {
    fn query(&self, name: &'static str, took: Duration, error: Option<&StoreError>) {
        // That a name is taken or a question makes no sense is an answer of the database, no fault of it.
        let answered = matches!(error, None | Some(StoreError::Conflict(_) | StoreError::Invalid(_)));
        self.0.database.query(name, took, answered);
    }
}

/// Has the connections of an open store told.
pub(super) fn pool(metrics: &Metrics, store: &Arc<dyn Store>) {
    let store = store.clone();
    metrics.database.set_pool(move || {
        let stats = store.stats();
        Some(PoolState { connections: stats.open, idle: stats.idle, max: stats.max })
    });
}

/// The components.
pub(super) struct Components(pub Arc<Look>);

impl Source for Components {
    fn collect(&self) -> BoxFuture<'_, Samples> {
        async {
            // A trading thread that does not answer leaves them out.
            self.0.tree().await.map(|look| components(&look.1)).unwrap_or_default()
        }
        .boxed()
    }
}

fn components(tree: &Tree) -> Samples {
    let mut all = Samples::default();
    for component in &tree.components {
        let labels = [("component", component.name.name().to_owned())];
        all.counter("component_restarts_total", "Restarts of a component's parts", &labels, component.restarts);
        let up = f64::from(u8::from(component.state == ComponentState::Running));
        all.gauge("component_up", "Whether a component runs with all of its parts: 1, else 0", &labels, up);
        if component.state != ComponentState::Silent {
            let help = "Messages that wait for a component's actor";
            all.gauge("component_mailbox_depth", help, &labels, component.mailbox as f64);
        }
    }
    all
}

/// How far the projections are behind.
pub(super) struct Projections(pub Database);

impl Source for Projections {
    fn collect(&self) -> BoxFuture<'_, Samples> {
        let mut all = Samples::default();
        if let Some(behind) = self.0.behind() {
            let help = "Inputs that the lane has done and the database has not";
            all.gauge("projection_lag_inputs", help, &[], behind.inputs as f64);
            let help = "Age of the oldest input that the lane has done and the database has not";
            all.gauge("projection_lag_seconds", help, &[], behind.time.as_secs_f64());
        }
        std::future::ready(all).boxed()
    }
}

/// The cache.
pub(super) struct Caches(pub Cache);

impl Source for Caches {
    fn collect(&self) -> BoxFuture<'_, Samples> {
        let (mut all, stats) = (Samples::default(), self.0.stats());
        for (tier, hits) in [("process", stats.hits), ("redis", stats.redis_hits)] {
            let labels = [("tier", tier.to_owned())];
            all.counter("cache_hits_total", "Reads that the cache answered", &labels, hits);
        }
        all.counter("cache_misses_total", "Reads that the cache could not answer", &[], stats.misses);
        all.gauge("cache_bytes", "Bytes of the values that the cache holds in the process", &[], stats.bytes as f64);
        if stats.redis != RedisState::None {
            let up = f64::from(u8::from(stats.redis == RedisState::Up));
            all.gauge("redis_up", "Whether Redis answers: 1, else 0", &[], up);
            all.counter("redis_failures_total", "Attempts at Redis that failed", &[], stats.redis_failures);
        }
        std::future::ready(all).boxed()
    }
}
