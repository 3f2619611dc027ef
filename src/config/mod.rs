//! Configuration: one schema table, a tree that knows its positions, every fault in one run.
//!
//! Order: defaults of the table, the file, the `.env` beside it, the environment (`QCAT_` and the key's path), the command line.
//! [`model`] turns the values into types.

mod build;
pub mod docs;
mod dotenv;
pub mod inputs;
pub mod model;
mod nearest;
pub mod print;
pub mod read;
pub mod reload;
pub mod schema;
pub mod succession;
pub mod tree;
pub mod value;
pub mod values;
mod yaml;

pub use inputs::Inputs;
pub use model::Config;
pub use read::Fault;
pub use reload::{Reload, reload};

use std::path::Path;

/// A configuration with everything that is wrong with it. Keys that were refused have their defaults in it.
pub struct Examined {
    config: Config,
    faults: Vec<Fault>,
    /// What is allowed but unwise.
    pub warnings: Vec<Fault>,
}

impl Examined {
    /// The configuration, for further checks. It must not be used while there are faults.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Adds the faults of a further check, except those of keys that were refused already.
    pub fn also(&mut self, checked: Result<(), Vec<Fault>>) {
        let values = &self.config.values;
        for mut fault in checked.err().into_iter().flatten() {
            if !values.refused.contains(&fault.key) {
                if fault.pos.is_none() && fault.source == self.config.source {
                    fault.pos = values.section_of(&fault.key);
                }
                self.faults.push(fault);
            }
        }
    }

    /// The configuration, or every fault in the order of the sources and of their lines.
    pub fn finish(mut self) -> Result<Config, Vec<Fault>> {
        if self.faults.is_empty() {
            return Ok(self.config);
        }
        let [file, dotenv] = &self.config.values.sources;
        let place = |fault: &Fault| {
            let source = if fault.source == *file { 0 } else { 1 + usize::from(fault.source != *dotenv) };
            (source, fault.pos)
        };
        self.faults.sort_by_key(place);
        Err(self.faults)
    }
}

/// Reads and checks a configuration. Only what cannot be read at all, or is not YAML, ends this early.
pub fn examine(inputs: &Inputs) -> Result<Examined, Vec<Fault>> {
    let read::Read { values, mut faults, warnings } = read::read(inputs)?;
    let (config, spanning) = Config::new(values);
    faults.extend(spanning);
    Ok(Examined { config, faults, warnings })
}

/// Reads a configuration file, the `.env` beside it and the environment of this process.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    examine(&Inputs::gather(path, Vec::new())?)?.finish()
}

/// Reads a configuration from its text; `source` names it in faults.
pub fn parse(source: &str, text: &str, environment: &[(String, String)]) -> Result<Config, Vec<Fault>> {
    let file = [source.to_owned(), text.to_owned()];
    examine(&Inputs { file, environment: environment.to_vec(), ..Inputs::default() })?.finish()
}

/// Reads a file for a run without an exchange: without `accounts` there is one with every default.
pub fn load_offline(path: &Path) -> Result<Config, Vec<Fault>> {
    examine(&Inputs::offline(path)?)?.finish()
}

/// The same from its text; `source` names it in faults.
pub fn parse_offline(source: &str, text: &str) -> Result<Config, Vec<Fault>> {
    let file = [source.to_owned(), text.to_owned()];
    examine(&Inputs { file, offline: Some(inputs::OFFLINE_ACCOUNT), ..Inputs::default() })?.finish()
}

#[cfg(test)]
mod tests;
