//! The work of the services: which loops the configuration asks for.

use super::StartError;
use super::look::Look;
use super::sources::{Components, Projections, Queries, pool};
use crate::api::compose;
use crate::api::observed::Observed;
use crate::api::store::StoreSlot;
use crate::config::Config;
use crate::observe;
use crate::projector::database::{self, Database};
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::service::Services;
use qcat_io::logs::Logs;
use qcat_io::metrics::Metrics;
use std::sync::Arc;

/// What the services are composed of.
pub struct Composed {
    /// Everything that is measured.
    pub metrics: Arc<Metrics>,
    /// The database, to be told of the lane.
    pub database: Database,
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
pub async fn services(config: &Config, logs: Option<Logs>) -> Result<Composed, StartError> {
    let access = logs.as_ref().map(Logs::access);
    let metrics = observe::metrics(config, logs).map_err(StartError::Thread)?;
    let store = StoreSlot::default();
    let watch = Observed { metrics: Some(metrics.clone()), access };
    let http = compose::prepare(config, store.clone(), Arc::new(watch))?;
    let database = open(config, &metrics, store).await?;
    let projections = database::work(&database, &config.database);
    let (measured, projected) = (metrics.clone(), database.clone());
    let work = Box::new(move |console: &Console| {
        let look = Arc::new(Look::new(console.clone()));
        measured.add_source("components", Arc::new(Components(look)));
        measured.add_source("projections", Arc::new(Projections(projected)));
        Services { http_server: http.work(console), database: projections, ..Services::default() }
    });
    Ok(Composed { metrics, database, work })
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
