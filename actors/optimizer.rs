//! `optimizer`: searches over the parameters of strategies, on worker threads that never trade.
//!
//! Past its budget nothing is searched; trading goes on. Each search beats once a trial.

use crate::runtime::component::Component;
use crate::runtime::service::{Served, Service};

/// The component. Its work is composed by the root.
pub type Optimizer = Service<OptimizerKind>;

/// Tells [`Optimizer`] from the other services.
#[derive(Debug)]
pub struct OptimizerKind;

impl Served for OptimizerKind {
    const COMPONENT: Component = Component::Optimizer;
}
