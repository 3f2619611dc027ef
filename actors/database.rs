//! `database`: the projections to SQL: orders, fills, positions, decisions, with the last sequence in the same transaction.
//!
//! Past its budget it trades on with the journal: what is missing is projected from it later. It drains before the journal closes.

use crate::runtime::component::Component;
use crate::runtime::service::{Served, Service};

/// The component. Its work is composed by the root.
pub type Database = Service<DatabaseKind>;

/// Tells [`Database`] from the other services.
#[derive(Debug)]
pub struct DatabaseKind;

impl Served for DatabaseKind {
    const COMPONENT: Component = Component::Database;
}
