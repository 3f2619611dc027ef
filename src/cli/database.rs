//! `qcat database`: what an operator does about the projections in SQL.

use super::{exit, print_faults};
use crate::config;
use crate::projector::database;
use qcat_io::store::{self, NoObserver, StoreError};
use std::path::PathBuf;
use std::sync::Arc;

/// Look after the history in the database. The journal is the truth; the database can always be filled again.
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
    /// Empty the history, so that the daemon fills it again from the journal.
    ///
    /// Users and the audit log stay. What the journal does not hold any more (journal.keep, journal.keep_bytes) is not filled
    /// again. Stop the daemon first; it fills the database after its next start.
    Rebuild,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let What::Rebuild = arguments.what;
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(faults) => {
            print_faults(&faults);
            return exit::CONFIG;
        }
    };
    super::on_local_runtime(async {
        let emptied = async {
            let store = store::open(database::options(&config.database), Arc::new(NoObserver)).await?;
            store.clear_projections().await?;
            store.close().await
        };
        let emptied: Result<(), StoreError> = emptied.await;
        match emptied {
            Ok(()) => {
                super::say("the history is empty: the daemon fills it from the journal\n");
                exit::OK
            }
            Err(error) => {
                eprintln!("error: {error}");
                exit::UNAVAILABLE
            }
        }
    })
}
