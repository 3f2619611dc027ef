//! `http_server`: REST, push, dashboard and metrics over HTTP.
//!
//! It answers to the end of a stop. A daemon that nobody can see or command does not trade on: past its budget the process stops in order.

use crate::runtime::component::Component;
use crate::runtime::service::{Served, Service};

/// The component. Its work is composed by the root.
pub type HttpServer = Service<HttpServerKind>;

/// Tells [`HttpServer`] from the other services.
#[derive(Debug)]
pub struct HttpServerKind;

impl Served for HttpServerKind {
    const COMPONENT: Component = Component::HttpServer;
}
