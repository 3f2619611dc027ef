//! `qcat replay`: the decisions of a journal, recomputed and compared.

use super::{exit, print_faults};
use crate::config::{self, Config};
use crate::replay::{self, Outcome, ReplayError};
use qcat_core::config::EngineConfig;
use qcat_core::engine::parity::Difference;
use qcat_core::event::Decision;
use qcat_core::id::Seq;
use qcat_core::strategy::registry::Registry;
use qcat_io::disk::RealDisk;
use std::path::PathBuf;
use std::sync::Arc;

/// Recompute the decisions of a journal from its inputs and compare them with the recorded ones.
///
/// Exit code 0: the same decisions; 70: this program decides otherwise. With `--strategy` a difference is the answer, not an
/// error.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The journal's directory. It is only read; a daemon may be writing it.
    dir: PathBuf,
    /// A file with `strategies:`: kinds and parameters of those with the same name take the place of the recorded ones.
    #[arg(long, value_name = "FILE")]
    strategy: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let registry = Arc::new(Registry::builtin());
    let config = match &arguments.strategy {
        Some(path) => {
            let loaded = config::load_offline(path);
            let checked = loaded.and_then(|c| crate::check_strategies(&c, &registry).map(|()| c));
            match checked {
                Ok(config) => Some(config),
                Err(faults) => {
                    print_faults(&faults);
                    return exit::CONFIG;
                }
            }
        }
        None => None,
    };
    let change = config.map(|config| move |recorded: &mut EngineConfig| change(&config, recorded));
    let changes = change.is_some();
    let change = change.as_ref().map(|change| change as &replay::Change);
    match replay::run(Arc::new(RealDisk), &arguments.dir, registry, change) {
        Ok(outcome) => {
            print(&outcome);
            if outcome.fault.is_some() || (outcome.difference.is_some() && !changes) {
                exit::SOFTWARE
            } else {
                exit::OK
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                ReplayError::Change(_) => exit::CONFIG,
                ReplayError::Fold { .. } | ReplayError::Snapshot(_) => exit::SOFTWARE,
                _ => exit::DATA,
            }
        }
    }
}

/// Puts kinds and parameters of the file's strategies into a recorded configuration.
fn change(config: &Config, recorded: &mut EngineConfig) -> Result<(), String> {
    for strategy in &config.strategies {
        let Some(found) = recorded.strategies.iter_mut().find(|s| *s.name == *strategy.name) else {
            let names: Vec<&str> = recorded.strategies.iter().map(|s| &*s.name).collect();
            return Err(format!("the journal has no strategy `{}`; it has: {}", strategy.name, names.join(", ")));
        };
        found.kind = strategy.kind.as_str().into();
        found.params = strategy.params.iter().map(|(k, v)| (k.as_str().into(), v.clone())).collect();
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    if outcome.after.0 > 0 {
        println!("begins            behind input {}: what came before was removed", outcome.after.0);
    }
    println!("inputs            {}", outcome.inputs);
    println!("decisions         {}", outcome.decisions);
    println!("starts            {}", outcome.starts);
    if outcome.rebuilds > 0 {
        println!("rebuilds          {}", outcome.rebuilds);
    }
    if outcome.quarantined > 0 {
        println!("not recomputed    {} inputs, quarantined", outcome.quarantined);
    }
    if outcome.unrecorded > 0 {
        println!("not recorded      {} decisions at the end of a life; none of them was sent", outcome.unrecorded);
    }
    println!("decision hash     {:016x}", outcome.trail);
    println!("state_hash        {:016x}", outcome.state_hash);
    if let Some(fault) = &outcome.fault {
        println!("{:?} panicked at input {} in the replay, and not in the daemon", fault.station, fault.seq.0);
    }
    match &outcome.difference {
        None if outcome.fault.is_none() => println!("same decisions"),
        None => {}
        Some(Difference { position, first, second }) => {
            println!("decision {position} is the first that differs");
            println!("  recorded:   {}", side(first));
            println!("  recomputed: {}", side(second));
        }
    }
}

fn side(side: &Option<(Seq, Decision)>) -> String {
    match side {
        Some((seq, decision)) => format!("input {}: {decision:?}", seq.0),
        None => "nothing more was decided from this input".to_owned(),
    }
}
