//! `qcat encrypt`: a value for the configuration that only the holder of the key can read.

use super::exit;
use crate::config::inputs::ENCRYPTION_KEY;
use qcat_io::secret::enc::EncryptionKey;
use qcat_io::secret::prompt;
use secrecy::ExposeSecret;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Encrypt a value for the configuration: prints `ENC:v1:...`.
///
/// The value is asked for on the terminal without echo, or read from a pipe; it is never taken from the command line, which
/// everybody on the machine can read. The key is QCAT_ENCRYPTION_KEY, or stands in `--key-file`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    key: KeyArguments,
}

/// Where the key is.
#[derive(Debug, clap::Args)]
pub struct KeyArguments {
    /// A file with the key, in place of QCAT_ENCRYPTION_KEY.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl KeyArguments {
    /// The key, or what to tell and the exit code.
    pub fn read(&self) -> Result<EncryptionKey, (String, u8)> {
        let (source, text) = match &self.key_file {
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => (path.display().to_string(), Zeroizing::new(text)),
                Err(error) => return Err((format!("{}: cannot be read: {error}", path.display()), exit::DATA)),
            },
            None => match std::env::var(ENCRYPTION_KEY) {
                Ok(text) => (ENCRYPTION_KEY.to_owned(), Zeroizing::new(text)),
                Err(_) => {
                    let problem = format!("no key: set {ENCRYPTION_KEY} or give --key-file (`qcat keygen` makes one)");
                    return Err((problem, exit::USAGE));
                }
            },
        };
        EncryptionKey::parse(&text).map_err(|error| (format!("{source}: {error}"), exit::DATA))
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let encrypted = arguments.key.read().and_then(|key| {
        let plain = prompt::secret("value to encrypt").map_err(|error| (error.to_string(), exit::DATA))?;
        if plain.expose_secret().is_empty() {
            return Err(("found nothing to encrypt".to_owned(), exit::DATA));
        }
        key.encrypt(&plain).map_err(|error| (error.to_string(), exit::UNAVAILABLE))
    });
    match encrypted {
        Ok(text) => {
            super::say(&format!("{text}\n"));
            exit::OK
        }
        Err((problem, code)) => {
            eprintln!("error: {problem}");
            code
        }
    }
}
