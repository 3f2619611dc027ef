//! `qcat user`: the users of the API, in the database of the configuration. A running daemon knows of a change within seconds.

use super::{exit, print_faults};
use crate::config;
use crate::projector::database;
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::secret::{password, prompt};
use qcat_io::store::{self, Micros, NoObserver, Role, Store, UserChange};
use secrecy::{ExposeSecret, SecretString};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

/// Add, list or disable the users of the API.
///
/// There is no user at the beginning. Passwords come from the terminal or from standard input, never from the command line.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "QCAT_CONFIG", default_value = "/etc/qcat/config.yaml", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Add a user.
    Add {
        /// The name: 1 to 64 of letters, digits and ._@-
        name: String,
        /// What the user may do: viewer reads, trader trades too, admin does everything.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Make a password, and print it once on this terminal.
        #[arg(long)]
        generate: bool,
    },
    /// List all users.
    List,
    /// Keep a user from logging in, and void the tokens that it has.
    Disable {
        /// The name.
        name: String,
    },
}

fn role(word: &str) -> Result<Role, String> {
    word.parse().map_err(|error: store::NotRole| error.to_string())
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(faults) => {
            print_faults(&faults);
            return exit::CONFIG;
        }
    };
    super::on_local_runtime(async {
        let outcome = async {
            let opened = store::open(database::options(&config.database), Arc::new(NoObserver)).await;
            let store = opened.map_err(|error| (exit::UNAVAILABLE, error.to_string()))?;
            let done = what(&arguments.what, &*store).await;
            store.close().await.map_err(|error| (exit::UNAVAILABLE, error.to_string()))?;
            done
        };
        match outcome.await {
            Ok(()) => exit::OK,
            Err((code, error)) => {
                eprintln!("error: {error}");
                code
            }
        }
    })
}

type Failed = (u8, String);

async fn what(what: &What, store: &dyn Store) -> Result<(), Failed> {
    let unavailable = |error: store::StoreError| {
        let code = if error.is_retryable() { exit::UNAVAILABLE } else { exit::DATA };
        (code, error.to_string())
    };
    let at = Micros::from(SystemClock::new().wall());
    match what {
        What::Add { name, role, generate } => {
            let (secret, made) = new_password(*generate)?;
            let hash = password::hash(&secret).map_err(|error| (exit::DATA, error.to_string()))?;
            store.add_user(name, hash, *role, at).await.map_err(unavailable)?;
            println!("user {name} added as {role}");
            if made {
                println!("password: {}\nIt is shown this once and kept nowhere.", secret.expose_secret());
            }
        }
        What::List => {
            println!("{:<24}{:<10}{:<10}added", "name", "role", "state");
            for user in store.users().await.map_err(unavailable)? {
                let state = if user.disabled { "disabled" } else { "enabled" };
                println!("{:<24}{:<10}{state:<10}{}", user.name, user.role.word(), user.created_at);
            }
        }
        What::Disable { name } => {
            if !store.change_user(name, UserChange::Disabled(true), at).await.map_err(unavailable)? {
                return Err((exit::DATA, format!("there is no user {name}")));
            }
            println!("user {name} is disabled; its tokens are void within seconds");
        }
    }
    Ok(())
}

/// The password of a new user, and whether it was made here.
fn new_password(generate: bool) -> Result<(SecretString, bool), Failed> {
    let failed = |error: String| (exit::DATA, error);
    if generate {
        if !std::io::stdout().is_terminal() {
            return Err((exit::USAGE, "a generated password is printed on a terminal only".to_owned()));
        }
        return password::generate().map(|made| (made, true)).map_err(|error| failed(error.to_string()));
    }
    let first = prompt::secret("password").map_err(|error| failed(error.to_string()))?;
    if std::io::stdin().is_terminal() {
        let again = prompt::secret("the same again").map_err(|error| failed(error.to_string()))?;
        if first.expose_secret() != again.expose_secret() {
            return Err(failed("the two are not the same".to_owned()));
        }
    }
    Ok((first, false))
}
