//! The services' actors on their thread.

use super::arbiter::SystemArbiter;
use super::{EndInOrder, SystemActor};
use crate::database::Database;
use crate::health_checker::HealthChecker;
use crate::http_server::HttpServer;
use crate::memory_manager::MemoryManager;
use crate::optimizer::Optimizer;
use crate::redis_cache::RedisCache;
use crate::runtime::service::{Served, Service, Services};
use crate::runtime::supervise::{Managed, SystemGround, supervise};
use crate::websocket_connections::WebsocketConnections;
use actix::prelude::*;
use std::rc::Rc;
use std::sync::Arc;

type Made = Box<dyn Managed + Send>;

/// Makes the actor of every service, on the arbiter if there is one. They do nothing until they are told to begin.
pub(super) async fn start(
    services: Services,
    system: Addr<SystemActor>,
    arbiter: Option<&SystemArbiter>,
) -> std::io::Result<Vec<Rc<dyn Managed>>> {
    let make = move || all(services, &system);
    let made = match arbiter {
        Some(arbiter) => arbiter.run(make).await,
        None => Some(make()),
    };
    let made = made.ok_or_else(|| std::io::Error::other("the thread of the services is gone"))?;
    Ok(made.into_iter().map(|part| -> Rc<dyn Managed> { Rc::from(part as Box<dyn Managed>) }).collect())
}

fn all(services: Services, system: &Addr<SystemActor>) -> Vec<Made> {
    let Services {
        websocket_connections,
        optimizer,
        health_checker,
        memory_manager,
        redis_cache,
        database,
        http_server,
    } = services;
    let ground = SystemGround::new(ended(system.clone()));
    // Each by its own name: a component without an actor does not compile.
    let push: WebsocketConnections = Service::new(websocket_connections);
    let optimizer: Optimizer = Service::new(optimizer);
    let health: HealthChecker = Service::new(health_checker);
    let memory: MemoryManager = Service::new(memory_manager);
    let cache: RedisCache = Service::new(redis_cache);
    let database: Database = Service::new(database);
    let http: HttpServer = Service::new(http_server);
    vec![
        one(&ground, push),
        one(&ground, optimizer),
        one(&ground, health),
        one(&ground, memory),
        one(&ground, cache),
        one(&ground, database),
        one(&ground, http),
    ]
}

fn one<S: Served>(ground: &SystemGround, service: Service<S>) -> Made {
    Box::new(supervise(ground.clone(), |_| service))
}

fn ended(system: Addr<SystemActor>) -> Arc<dyn Fn(String) + Send + Sync> {
    #[allow(clippy::disallowed_methods)] // Comes once, and must arrive.
    Arc::new(move |reason| system.do_send(EndInOrder(reason)))
}
