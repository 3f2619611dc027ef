//! The work of the services: which loops the configuration asks for.

use super::checks::Looked;
use super::look::Look;
use super::sources::{Caches, Components, Projections, Queries, pool};
use super::work::{self, Searches};
use super::{Knobs, StartError};
use crate::api::compose;
use crate::api::live::Live;
use crate::api::observed::Observed;
use crate::api::push::Push;
use crate::api::state::Beside;
use crate::api::store::StoreSlot;
use crate::config::Config;
use crate::observe;
use crate::projector::database::{self, Database};
use qcat_actors::runtime::commands::Commands;
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::service::Services;
use qcat_core::strategy::registry::Registry;
use qcat_io::cache::Cache;
use qcat_io::logs::Logs;
use qcat_io::metrics::Metrics;
use std::sync::Arc;

/// What the services are composed of.
pub struct Composed {
    /// Everything that is measured.
    pub metrics: Arc<Metrics>,
    /// The database, to be told of the lane.
    pub database: Database,
    /// The push sessions, to be told of the lane.
    pub push: Push,
    /// Makes the work of the services, which are given the console.
    pub work: Box<dyn FnOnce(&Console) -> Services>,
}

impl std::fmt::Debug for Composed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composed").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

/// Prepares the work of the services. What can go wrong at the start (a port in use, a database that refuses) goes wrong here,
/// before anything runs; a service without work in the configuration stays idle and says so.
pub async fn services(config: &Config, knobs: Knobs, registry: Arc<Registry>) -> Result<Composed, StartError> {
    let access = knobs.logs.as_ref().map(Logs::access);
    let metrics = observe::metrics(config, knobs.logs.clone()).map_err(StartError::Thread)?;
    let cache = Cache::start(work::cache_options(config))?;
    let (store, push) = (StoreSlot::default(), Push::default());
    metrics.add_source("push", Arc::new(push.clone()));
    let watch = Observed { metrics: Some(metrics.clone()), access };
    let shared = config.redis.addr.is_some().then(|| cache.clone());
    let beside = Beside {
        health: Some(knobs.health.clone()),
        rate: Some(knobs.rate.clone()),
        cache: shared,
        push: push.clone(),
    };
    let http = compose::prepare(config, store.clone(), Arc::new(watch), beside)?;
    let database = open(config, &metrics, store.clone()).await?;
    let projections = database::work(&database, &config.database);
    let sessions = push.clone();
    let (measured, projected, config) = (metrics.clone(), database.clone(), config.clone());
    let work = Box::new(move |console: &Console| {
        let look = Arc::new(Look::new(console.clone()));
        measured.add_source("components", Arc::new(Components(look.clone())));
        measured.add_source("projections", Arc::new(Projections(projected)));
        measured.add_source("cache", Arc::new(Caches(cache.clone())));
        let Knobs { health, memory, .. } = knobs;
        let looked = Looked { look: look.clone(), store, cache: cache.clone(), memory: memory.clone() };
        let commands = Commands::new(console.clone());
        Services {
            websocket_connections: sessions.work(Arc::new(Live::new(console.clone(), commands.clone()))),
            http_server: http.work(console, commands),
            database: projections,
            health_checker: work::health(&config, health, looked),
            optimizer: work::searches(&config, registry, memory.clone(), Searches::default()),
            memory_manager: work::memory(memory, cache.clone(), look),
            redis_cache: work::cache(cache),
        }
    });
    Ok(Composed { metrics, database, push, work })
}

/// The database; whoever reads history or users has it as soon as it is open.
async fn open(config: &Config, metrics: &Arc<Metrics>, slot: StoreSlot) -> Result<Database, StartError> {
    let (options, required) = (database::options(&config.database), config.database.required);
    let database = Database::start(options, Arc::new(Queries(metrics.clone())), required).await?;
    let metrics = metrics.clone();
    Ok(database.tells(Arc::new(move |store| {
        pool(&metrics, store);
        slot.set(Some(store.clone()));
    })))
}
