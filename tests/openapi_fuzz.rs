//! Every path of the description is asked by schemathesis, which knows nothing but the description, with a trader's token, at a
//! daemon that trades: no error of the server, no answer that is not described.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/running.rs"]
mod running;

use daemon::on_local_set;
use running::{Running, python, said, tool};
use std::path::Path;
use std::process::Command;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

const KILL_SWITCH: &str = "/api/v1/risk/kill-switch";

async fn fuzz(daemon: &Running, token: &str, which: &[&str]) {
    let mut fuzz = Command::new(python("st"));
    fuzz.arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", daemon.address()))
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "7"])
        .args(["--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure"])
        .args(["--request-timeout", "20", "--no-color"])
        .args(which)
        .current_dir(daemon.config.parent().unwrap());
    let output = tool(fuzz).await;
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn no_request_has_an_answer_that_is_not_described() {
    on_local_set(async {
        let exchange = daemon::exchange(41).await;
        let user = |config: &Path| running::add_user(config, "tess", "trader");
        let daemon = Running::start(|journal| daemon::configuration(&exchange, journal), user).await;
        daemon.trades().await;
        let token = daemon.login("tess").await;
        // Last what a trader may do to end all trading: the paths before it are asked while orders flow.
        fuzz(&daemon, &token, &["--exclude-path", KILL_SWITCH]).await;
        daemon.trades().await;
        fuzz(&daemon, &token, &["--include-path", KILL_SWITCH]).await;
        let (_, health) = daemon.look("/health").await.unwrap();
        assert_eq!(health["phase"], "running", "nobody but an admin may stop it: {health}");
        let risk = daemon.get("/api/v1/risk").await;
        assert_eq!(
            risk["halts"][0]["reason"], "kill_switch",
            "a trader may throw it, and only an admin takes it back: {risk}"
        );
    });
}
