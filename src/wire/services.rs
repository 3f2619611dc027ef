//! The work of the services: which loops the configuration asks for.

use super::StartError;
use crate::api::compose;
use crate::api::observed::Observed;
use crate::api::store::StoreSlot;
use crate::config::Config;
use crate::observe;
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::service::Services;
use qcat_io::logs::Logs;
use std::sync::Arc;

/// Makes the work of the services, which are given the console.
pub type Compose = Box<dyn FnOnce(&Console) -> Services>;

/// Prepares the work of the services. What can go wrong at the start (a port in use, a directory that cannot be written) goes
/// wrong here, before anything runs; a service without work in the configuration stays idle and says so.
pub fn services(config: &Config, logs: Option<Logs>) -> Result<Compose, StartError> {
    let access = logs.as_ref().map(Logs::access);
    let metrics = observe::metrics(config, logs).map_err(StartError::Thread)?;
    let watch = Observed { metrics: Some(metrics), access };
    let http = compose::prepare(config, StoreSlot::default(), Arc::new(watch))?;
    Ok(Box::new(move |console| Services { http_server: http.work(console), ..Services::default() }))
}
