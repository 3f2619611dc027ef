//! `redis_cache`: the connection to the shared cache, behind the one in the process.
//!
//! Past its budget the cache in the process serves alone; nothing durable is kept there.

use crate::runtime::component::Component;
use crate::runtime::service::{Served, Service};

/// The component. Its work is composed by the root.
pub type RedisCache = Service<RedisCacheKind>;

/// Tells [`RedisCache`] from the other services.
#[derive(Debug)]
pub struct RedisCacheKind;

impl Served for RedisCacheKind {
    const COMPONENT: Component = Component::RedisCache;
}
