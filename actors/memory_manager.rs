//! `memory_manager`: looks at resident memory, allocator and queues, and acts when memory runs short.
//!
//! Past its budget nobody looks; trading goes on.

use crate::runtime::component::Component;
use crate::runtime::service::{Served, Service};

/// The component. Its work is composed by the root.
pub type MemoryManager = Service<MemoryManagerKind>;

/// Tells [`MemoryManager`] from the other services.
#[derive(Debug)]
pub struct MemoryManagerKind;

impl Served for MemoryManagerKind {
    const COMPONENT: Component = Component::MemoryManager;
}
