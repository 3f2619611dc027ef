//! `qcat stop`: stops the running daemon in order and shows how it goes.

use super::local::{Local, Where};
use super::{exit, print_faults};
use crate::config;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the stop is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Looks in a row without an answer after which the daemon is gone.
const SILENT: u32 = 3;

/// Stop the running daemon in order, and show each component as it stops.
///
/// Exit code 0: everything stopped within its time, as far as the daemon could still tell; 75: something was cut off; 69: no
/// answer. The daemon's own exit code and log tell the rest.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Where,
    /// Cut short a stop that has begun, as a second signal does.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let config = match config::load(&arguments.which.config) {
        Ok(config) => config,
        Err(faults) => {
            print_faults(&faults);
            return exit::CONFIG;
        }
    };
    super::on_local_runtime(async {
        let local = match Local::new(&arguments.which, config) {
            Ok(local) => local,
            Err(error) => return failed(&error),
        };
        let mode = if arguments.force { r#"{"mode":"force"}"# } else { r#"{"mode":"graceful"}"# };
        match local.ask("admin", "POST", "/api/v1/shutdown", Some(mode)).await {
            Ok(_) => follow(&local).await,
            Err(error) => failed(&error),
        }
    })
}

fn failed(error: &str) -> u8 {
    eprintln!("error: {error}");
    exit::UNAVAILABLE
}

/// Shows the stop until nobody answers any more: then the daemon, or at least its API, is gone.
async fn follow(local: &Local) -> u8 {
    let (mut shown, mut silent, mut overran) = (BTreeMap::new(), 0, false);
    while silent < SILENT {
        tokio::time::sleep(LOOK).await;
        match local.ask("viewer", "GET", "/api/v1/shutdown", None).await {
            Ok(answer) => {
                silent = 0;
                overran |= show(&answer["report"], &mut shown);
                if answer["report"]["over"] == true {
                    break;
                }
            }
            Err(_) => silent += 1,
        }
    }
    println!("the daemon does not answer any more; its log tells the rest of the stop");
    if overran { exit::FORCED } else { exit::OK }
}

/// Prints what is new. True when something was cut off.
fn show(report: &Value, shown: &mut BTreeMap<String, String>) -> bool {
    let mut overran = report["forced"] == true;
    for status in report["components"].as_array().into_iter().flatten() {
        let name = status["component"].as_str().unwrap_or("-").to_owned();
        let state = status["state"].as_str().unwrap_or("-").to_owned();
        overran |= ["failed", "skipped"].contains(&state.as_str());
        if state == "pending" || shown.get(&name) == Some(&state) {
            continue;
        }
        let took = status["took_ms"].as_u64().unwrap_or(0);
        match (state.as_str(), status["left"].as_str()) {
            ("running", _) => println!("{name:<24}stops"),
            (state, Some(left)) => println!("{name:<24}{state} after {took} ms: {left}"),
            (state, None) => println!("{name:<24}{state} after {took} ms"),
        }
        shown.insert(name, state);
    }
    overran
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_state_is_shown_once_and_what_is_cut_off_counts() {
        let mut shown = BTreeMap::new();
        let report = |state: &str| json!({ "forced": false, "components": [{ "component": "database", "state": state, "took_ms": 7 }] });
        assert!(!show(&report("pending"), &mut shown) && shown.is_empty());
        assert!(!show(&report("running"), &mut shown));
        assert!(!show(&report("stopped"), &mut shown));
        assert_eq!(shown.get("database").map(String::as_str), Some("stopped"));
        assert!(show(&report("failed"), &mut shown));
        assert!(!show(&Value::Null, &mut shown), "no stop is known of yet");
    }
}
