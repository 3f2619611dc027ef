//! Configuration: one schema table, a tree that knows its positions, every fault in one run.
//!
//! Order: defaults of the table, the file, the environment (`QCAT_` and the key's path). [`model`] turns the values into types.

mod build;
pub mod model;
mod nearest;
pub mod read;
pub mod schema;
pub mod succession;
pub mod tree;
pub mod value;

pub use model::Config;
pub use read::Fault;

use std::path::Path;

/// Variables that are no configuration keys.
const OTHER_VARIABLES: [&str; 3] = ["QCAT_CONFIG", "QCAT_ENCRYPTION_KEY", "QCAT_TEST_DATA"];

/// Reads a configuration file with the environment of this process.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let source = path.display().to_string();
    let text = read_file(path)?;
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with("QCAT_") && !OTHER_VARIABLES.contains(&name.as_str()))
        .collect();
    parse(&source, &text, &environment)
}

/// Reads a configuration from its text; `source` names it in faults.
pub fn parse(source: &str, text: &str, environment: &[(String, String)]) -> Result<Config, Vec<Fault>> {
    Config::new(source, &read::read(source, text, environment, None)?)
}

/// Reads a file for a run without an exchange: without `accounts` there is one with every default.
pub fn load_offline(path: &Path) -> Result<Config, Vec<Fault>> {
    let source = path.display().to_string();
    let text = read_file(path)?;
    parse_offline(&source, &text)
}

/// The same from its text; `source` names it in faults.
pub fn parse_offline(source: &str, text: &str) -> Result<Config, Vec<Fault>> {
    Config::new(source, &read::read(source, text, &[], Some("backtest"))?)
}

fn read_file(path: &Path) -> Result<String, Vec<Fault>> {
    std::fs::read_to_string(path).map_err(|error| {
        let (source, problem) = (path.display().to_string(), format!("cannot be read: {error}"));
        vec![Fault { source, pos: None, key: String::new(), problem }]
    })
}

#[cfg(test)]
mod tests;
