//! `qcat keygen`: a key for encrypted values.

use super::exit;
use qcat_io::secret::enc;
use secrecy::ExposeSecret;
use std::io::IsTerminal;

/// Print a new key for the encrypted values of a configuration.
///
/// Keep it as QCAT_ENCRYPTION_KEY in /etc/qcat/.env (mode 0600), or in a file for `--key-file`. Who has it can read every
/// encrypted value; without it nobody can.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs the command.
pub fn run(_: &Arguments) -> u8 {
    match enc::generate() {
        Ok(key) => {
            super::say(&format!("{}\n", key.expose_secret()));
            if std::io::stdout().is_terminal() {
                eprintln!("keep it as QCAT_ENCRYPTION_KEY in /etc/qcat/.env, mode 0600");
            }
            exit::OK
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit::UNAVAILABLE
        }
    }
}
