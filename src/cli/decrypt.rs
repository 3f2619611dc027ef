//! `qcat decrypt`: an encrypted value of the configuration in clear.

use super::encrypt::KeyArguments;
use super::exit;
use qcat_io::secret::prompt;
use secrecy::ExposeSecret;

/// Decrypt a value of the configuration: prints it in clear.
///
/// `ENC:v1:...` is asked for on the terminal, or read from a pipe. The key is QCAT_ENCRYPTION_KEY, or stands in `--key-file`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    key: KeyArguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let decrypted = arguments.key.read().and_then(|key| {
        let text = prompt::secret("value to decrypt").map_err(|error| (error.to_string(), exit::DATA))?;
        key.decrypt(text.expose_secret().trim()).map_err(|error| (format!("the value: {error}"), exit::DATA))
    });
    match decrypted {
        Ok(plain) => {
            super::say(&format!("{}\n", plain.expose_secret()));
            exit::OK
        }
        Err((problem, code)) => {
            eprintln!("error: {problem}");
            code
        }
    }
}
