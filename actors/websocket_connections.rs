//! `websocket_connections`: push sessions of dashboards and programs: a bounded queue for each, slow clients dropped with a reason.
//!
//! Past its budget there is no push; trading and the other reads go on. First to stop: clients are told to come back later.

use crate::runtime::component::Component;
use crate::runtime::service::{Served, Service};

/// The component. Its work is composed by the root.
pub type WebsocketConnections = Service<WebsocketConnectionsKind>;

/// Tells [`WebsocketConnections`] from the other services.
#[derive(Debug)]
pub struct WebsocketConnectionsKind;

impl Served for WebsocketConnectionsKind {
    const COMPONENT: Component = Component::WebsocketConnections;
}
