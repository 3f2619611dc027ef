//! `health_checker`: the checks of the daemon's parts with hysteresis, and the alerts when they change.
//!
//! Past its budget health is unknown, never healthy; trading goes on.

use crate::runtime::component::Component;
use crate::runtime::service::{Served, Service};

/// The component. Its work is composed by the root.
pub type HealthChecker = Service<HealthCheckerKind>;

/// Tells [`HealthChecker`] from the other services.
#[derive(Debug)]
pub struct HealthCheckerKind;

impl Served for HealthCheckerKind {
    const COMPONENT: Component = Component::HealthChecker;
}
