//! Metrics and the access log behind the API.

use super::state::{Answered, Watch};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use qcat_io::logs::{AccessLog, AccessRecord};
use qcat_io::metrics::Connection;
use qcat_io::metrics::Metrics;
use std::any::Any;
use std::sync::Arc;

/// Counts and logs requests.
pub struct Observed {
    /// The metrics, where they are on.
    pub metrics: Option<Arc<Metrics>>,
    /// The access log, where there is one.
    pub access: Option<AccessLog>,
}

impl Watch for Observed {
    fn answered(&self, request: &Answered<'_>) {
        if let Some(metrics) = &self.metrics {
            metrics.http.answered(request.method, request.route.unwrap_or("unmatched"), request.status, request.took);
        }
        if let Some(access) = &self.access {
            access.write(&AccessRecord {
                time: request.time,
                request_id: request.request_id,
                remote: request.remote,
                user: request.user,
                method: request.method,
                path: request.path,
                status: request.status,
                bytes: request.bytes,
                user_agent: request.user_agent,
                response_time: request.took,
            });
        }
    }

    fn connected(&self) -> Box<dyn Any> {
        match &self.metrics {
            Some(metrics) => Box::new(Connection::open(metrics.clone())),
            None => Box::new(()),
        }
    }

    fn metrics<'a>(&'a self, accept: Option<&'a str>) -> BoxFuture<'a, Option<(&'static str, String)>> {
        async move {
            match &self.metrics {
                Some(metrics) => Some(metrics.scrape(accept).await),
                None => None,
            }
        }
        .boxed()
    }
}
