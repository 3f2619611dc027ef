//! Everything a configuration is read from, gathered before anything is read.

use super::read::Fault;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The variable that decrypts `ENC:` values.
pub const ENCRYPTION_KEY: &str = "QCAT_ENCRYPTION_KEY";
/// Variables that are no configuration keys.
pub(super) const OTHER_VARIABLES: [&str; 3] = ["QCAT_CONFIG", ENCRYPTION_KEY, "QCAT_TEST_DATA"];

/// The account of a run without an exchange.
pub(super) const OFFLINE_ACCOUNT: &str = "backtest";

/// What a configuration is read from.
#[derive(Default)]
pub struct Inputs {
    /// Name and text of the file.
    pub file: [String; 2],
    /// The `.env` beside it.
    pub dotenv: Option<DotEnv>,
    /// Variables of the process that begin with `QCAT_`.
    pub environment: Vec<(String, String)>,
    /// `key=value` of the command line.
    pub sets: Vec<String>,
    /// Without an exchange: without `accounts` there is one of this name, and encrypted values stay closed.
    pub offline: Option<&'static str>,
}

/// A `.env` file.
pub struct DotEnv {
    /// Its name.
    pub source: String,
    /// Its text.
    pub text: String,
    /// Whether others than its owner may do anything with it.
    pub open_to_others: bool,
}

impl Inputs {
    /// Reads the file, the `.env` beside it and the environment of this process.
    pub fn gather(path: &Path, sets: Vec<String>) -> Result<Inputs, Vec<Fault>> {
        let mut faults = Vec::new();
        let file = text_of(path).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let beside = path.with_file_name(".env");
        let dotenv = if beside.exists() {
            let metadata = std::fs::metadata(&beside).map(|metadata| metadata.permissions().mode());
            text_of(&beside).map_err(|fault| faults.push(fault)).ok().map(|text| DotEnv {
                source: beside.display().to_string(),
                text,
                open_to_others: metadata.map_or(true, |mode| mode & 0o077 != 0),
            })
        } else {
            None
        };
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                _ if !name.starts_with("QCAT_") => {}
                Ok(value) => environment.push((name, value)),
                Err(_) => {
                    let (source, problem) =
                        (format!("environment {name}"), "found a value that is not UTF-8".to_owned());
                    faults.push(Fault { source, pos: None, key: String::new(), problem });
                }
            }
        }
        // So that faults have an order.
        environment.sort();
        let file = [path.display().to_string(), file];
        if faults.is_empty() { Ok(Inputs { file, dotenv, environment, sets, offline: None }) } else { Err(faults) }
    }

    /// The file alone, for a run without an exchange.
    pub fn offline(path: &Path) -> Result<Inputs, Vec<Fault>> {
        let text = text_of(path).map_err(|fault| vec![fault])?;
        Ok(Inputs { file: [path.display().to_string(), text], offline: Some(OFFLINE_ACCOUNT), ..Inputs::default() })
    }
}

fn text_of(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|error| {
        let (source, problem) = (path.display().to_string(), format!("cannot be read: {error}"));
        Fault { source, pos: None, key: String::new(), problem }
    })
}
