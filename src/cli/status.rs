//! `qcat status`: the tree of the running daemon's components.

use super::local::{Local, Where};
use super::{exit, print_faults};
use crate::config;
use serde_json::Value;
use std::fmt::Write as _;

/// Show the running daemon: phase, health, components with their parts, restarts and faults.
///
/// It asks the daemon's API with a token that it makes itself from jwt.secret_key; without a key in the configuration it asks for
/// a token. Exit code 0: healthy or degraded; 69: unhealthy, or no answer.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Where,
    /// Print what the API answers, as one JSON object.
    #[arg(long)]
    json: bool,
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
    let asked = async {
        let local = Local::new(&arguments.which, config)?;
        let health = local.ask("viewer", "GET", "/health", None).await?;
        let ready = local.ask("viewer", "GET", "/health/ready", None).await?;
        let components = local.ask("viewer", "GET", "/api/v1/components", None).await?;
        Ok::<_, String>((health, ready, components))
    };
    super::on_local_runtime(async {
        match asked.await {
            Ok((health, ready, components)) => {
                let text = match arguments.json {
                    true => format!(
                        "{}\n",
                        serde_json::json!({ "health": health, "ready": ready, "components": components["items"] })
                    ),
                    false => tree(&health, &ready, &components),
                };
                print!("{text}");
                if health["status"] == "unhealthy" { exit::UNAVAILABLE } else { exit::OK }
            }
            Err(error) => {
                eprintln!("error: {error}");
                exit::UNAVAILABLE
            }
        }
    })
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// The tree as text.
fn tree(health: &Value, ready: &Value, components: &Value) -> String {
    let mut out = String::new();
    let trading = match ready["trading_ready"].as_bool() {
        Some(true) => "orders may leave",
        Some(false) => "no new risk",
        None => "not known whether orders may leave",
    };
    let _ = writeln!(out, "qcat: {}, {}, {trading}", word(&health["phase"]), word(&health["status"]));
    for why in [&health["reason"]].into_iter().chain(ready["not_ready"].as_array().into_iter().flatten()) {
        if let Some(why) = why.as_str() {
            let _ = writeln!(out, "  ! {why}");
        }
    }
    let items = components["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, component) in items.iter().enumerate() {
        let last = at + 1 == items.len();
        line(&mut out, if last { "└─ " } else { "├─ " }, component);
        let children = component["children"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (at, child) in children.iter().enumerate() {
            let (stem, branch) =
                (if last { "   " } else { "│  " }, if at + 1 == children.len() { "└─ " } else { "├─ " });
            line(&mut out, &format!("{stem}{branch}"), child);
        }
    }
    out
}

fn line(out: &mut String, branch: &str, what: &Value) {
    let name = format!("{branch}{}", word(&what["name"]));
    let _ = write!(out, "{name:<36}{:<12}", word(&what["state"]));
    if let Some(restarts) = what["restarts"].as_u64().filter(|restarts| *restarts > 0) {
        let _ = write!(out, " restarts {restarts}");
    }
    if let Some(fault) = what["last_fault"].as_str() {
        let _ = write!(out, " last fault: {fault}");
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::tree;
    use serde_json::json;

    #[test]
    fn the_tree_shows_parts_restarts_and_reasons() {
        let health = json!({ "status": "degraded", "phase": "running", "reason": null });
        let ready = json!({ "trading_ready": false, "not_ready": ["account sim: everything is halted: kill_switch"] });
        let child = json!({ "name": "quick", "state": "restarting", "restarts": 2, "last_fault": "panicked" });
        let components = json!({ "items": [
            { "name": "strategy_runners", "state": "degraded", "restarts": 2, "last_fault": null, "children": [child] },
            { "name": "http_server", "state": "running", "restarts": 0, "last_fault": null, "children": [] },
        ] });
        let expected = "qcat: running, degraded, no new risk\n  ! account sim: everything is halted: kill_switch\n\
                        ├─ strategy_runners                 degraded     restarts 2\n\
                        │  └─ quick                         restarting   restarts 2 last fault: panicked\n\
                        └─ http_server                      running\n";
        assert_eq!(tree(&health, &ready, &components), expected);
    }
}
