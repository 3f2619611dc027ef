//! The API of a daemon that trades at a simulator, and the commands beside it.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;

use inside::{World, run};
use qcat::api::auth::{LOCAL, now};
use qcat_actors::runtime::component::Component;
use qcat_core::strategy::registry::Registry;
use qcat_io::net::call::call;
use qcat_io::net::tls::Connector;
use qcat_io::net::url::Url;
use qcat_io::secret::{jwt::Tokens, password};
use qcat_io::store::{self, NoObserver, Role, SqliteOptions, StoreOptions};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "a key of the tests, longer than 32 bytes";

struct Asker {
    connector: Connector,
    url: Url,
}

impl Asker {
    async fn get(&self, path: &str) -> (u16, String) {
        let tokens = Tokens::new(&SecretString::from(KEY)).unwrap();
        let token = tokens.issue(LOCAL, "viewer", 0, now(), Duration::from_secs(60)).0;
        let bearer = format!("Bearer {}", token.expose_secret());
        let within = Duration::from_secs(20);
        let headers = [("authorization", bearer.as_str())];
        let answer = call(&self.connector, &self.url, ("GET", path), &headers, String::new(), within).await.unwrap();
        (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }
}

async fn address(world: &World) -> String {
    for _ in 0..200 {
        let view = world.component(Component::HttpServer).await;
        if let Some((_, address)) = view.facts.iter().find(|(name, _)| *name == "listen") {
            return address.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the API does not listen");
}

fn qcat(arguments: &[&str], config: &Path, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_qcat"))
        .args(arguments)
        .env_clear()
        .env("QCAT_CONFIG", config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// Every check that is configured passes, and every service has work.
async fn healthy(asker: &Asker) -> Value {
    let expected = [
        "lane",
        "journal",
        "journal_disk",
        "components",
        "exchange",
        "market_streams",
        "user_streams",
        "clock",
        "database",
        "memory",
    ];
    let mut health = Value::Null;
    for _ in 0..300 {
        health = serde_json::from_str(&asker.get("/health").await.1).unwrap();
        if health["status"] == "healthy" && names(&health["checks"]) == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(names(&health["checks"]), expected, "{health}");
    for (component, fact) in [
        ("health_checker", "healthy"),
        ("memory_manager", "level"),
        ("redis_cache", "redis"),
        ("optimizer", "searches"),
    ] {
        let view = asker.json(&format!("/api/v1/components/{component}")).await;
        assert!(view["facts"].as_array().unwrap().iter().any(|pair| pair[0] == fact), "{view}");
    }
    health
}

/// The trading thread, the database and the components tell what they do, and what was traded comes to be history.
async fn measured(asker: &Asker) {
    let names = [
        "trading_stage_duration_seconds_count{stage=\"decide\"}",
        "orders_total{account=\"sim\"}",
        "trades_volume{account=\"sim\",asset=\"USDT\"}",
        "pnl_total{account=\"sim\",asset=\"USDT\"}",
        "strategies_total{state=\"running\"}",
        "request_weight_left ",
        "db_connections ",
        "db_query_duration_seconds_count{operation=\"apply\"}",
        "projection_lag_inputs ",
        "projection_lag_seconds ",
        "component_restarts_total{component=\"database\"}",
        "component_up{component=\"risk_engine\"} 1",
        "component_mailbox_depth{component=\"order_managers\"}",
    ];
    let (mut metrics, mut trades) = (String::new(), Value::Null);
    for _ in 0..300 {
        (metrics, trades) = (asker.get("/metrics").await.1, asker.json("/api/v1/trades").await);
        let traded = trades["items"].as_array().is_some_and(|items| !items.is_empty());
        if traded && names.iter().all(|name| metrics.lines().any(|line| line.starts_with(name))) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let missing: Vec<_> = names.iter().filter(|name| !metrics.contains(**name)).collect();
    panic!("{missing:?} are not told, or nothing was traded: {trades}\n{metrics}");
}

#[test]
fn a_daemon_that_trades_can_be_read_over_http() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (config, exchange) = (folder.path().join("config.yaml"), daemon::exchange(15).await);
        let keyed = |text: String| {
            let checked = "health: { check_interval: 500ms, retry_interval: 100ms }";
            let text = format!("{text}{checked}\njwt: {{ secret_key: \"{KEY}\" }}\n");
            std::fs::write(&config, &text).unwrap();
            text
        };
        let world = World::configured(exchange, keyed, Arc::new(Registry::builtin()).into()).await;
        let url = format!("http://{}", address(&world).await);
        let asker =
            Asker { connector: Connector::new(None).unwrap(), url: Url::parse(&url, ["http", "https"]).unwrap() };
        world.trades_on().await;

        let components = asker.json("/api/v1/components").await;
        assert_eq!(names(&components["items"]), Component::ALL.map(|component| component.name().to_owned()));
        let health = healthy(&asker).await;
        assert_eq!(
            (&health["phase"], &health["status"]),
            (&Value::from("running"), &Value::from("healthy")),
            "{health}"
        );
        let ready = asker.json("/health/ready").await;
        assert_eq!((&ready["ready"], &ready["trading_ready"]), (&Value::from(true), &Value::from(true)), "{ready}");
        let strategies = asker.json("/api/v1/strategies").await;
        assert_eq!(names(&strategies["items"]), ["quick", "trend"]);
        assert_eq!(asker.json("/api/v1/strategies/quick").await["item"]["account"], "sim");
        let account = asker.json("/api/v1/accounts/sim").await;
        assert!(account["item"]["wallet"].as_str().is_some_and(|wallet| wallet.parse::<f64>().is_ok()), "{account}");
        assert_eq!(asker.json("/api/v1/risk").await["accounts"][0]["ready"], true);
        assert_eq!(asker.json("/api/v1/shutdown").await["report"], Value::Null);
        let before = asker.json("/api/v1/journal").await["lane"]["seq"].as_u64();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(asker.json("/api/v1/journal").await["lane"]["seq"].as_u64() > before, "a copy grows old");
        let (status, metrics) = asker.get("/metrics").await;
        assert_eq!(status, 200);
        assert!(
            metrics.contains("route=\"/api/v1/strategies/{id}\"")
                && metrics.lines().any(|line| line.starts_with("active_connections ") && !line.ends_with(" 0")),
            "{metrics}"
        );
        measured(&asker).await;

        let status = tokio::task::spawn_blocking(move || qcat(&["status", "--url", &url], &config, "")).await.unwrap();
        let shown = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.status.success(), "{shown}{}", String::from_utf8_lossy(&status.stderr));
        assert!(shown.starts_with("qcat: running, ") && shown.contains("orders may leave"), "{shown}");
        assert!(Component::ALL.iter().all(|component| shown.contains(component.name())), "{shown}");
        world.stop_and_compare().await;
    });
}

#[test]
fn users_are_added_listed_and_disabled_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let (config, database) = (folder.path().join("config.yaml"), folder.path().join("qcat.db"));
    let journal = folder.path().join("journal");
    std::fs::write(
        &config,
        format!(
            "exchange: {{ rest_url: http://127.0.0.1:1, ws_public_url: ws://127.0.0.1:1, ws_market_url: ws://127.0.0.1:1, \
             ws_private_url: ws://127.0.0.1:1, ws_api_url: ws://127.0.0.1:1 }}\njournal: {{ dir: {} }}\ndatabase: {{ path: {} }}\n\
             accounts: [{{ name: sim, api_key: k, api_secret: s }}]\n",
            journal.display(),
            database.display()
        ),
    )
    .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ask = |arguments: &[&str], input: &str| {
        let output = qcat(&[&["user"], arguments].concat(), &config, input);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let secret = "correct horse battery";
    let (code, shown, error) = ask(&["add", "ann", "--role", "admin"], &format!("{secret}\n"));
    assert_eq!((code, shown.as_str()), (Some(0), "user ann added as admin\n"), "{error}");
    assert_eq!(ask(&["add", "ANN", "--role", "viewer"], &format!("{secret}\n")).0, Some(65), "the name is taken");
    assert_eq!(ask(&["add", "bob", "--role", "viewer"], "short\n").0, Some(65));
    assert_eq!(ask(&["add", "bob", "--role", "owner"], &format!("{secret}\n")).0, Some(64));
    assert_eq!(ask(&["add", "bob", "--role", "viewer", "--generate"], "").0, Some(64), "no terminal to print it on");
    let (code, shown, error) = ask(&["disable", "ann"], "");
    assert_eq!(code, Some(0), "{shown}{error}");
    assert_eq!(ask(&["disable", "nobody"], "").0, Some(65));
    let (_, shown, _) = ask(&["list"], "");
    assert!(shown.lines().nth(1).is_some_and(|line| line.starts_with("ann") && line.contains("disabled")), "{shown}");
    assert!(!shown.contains("argon2"), "{shown}");
    let second = Duration::from_secs(5);
    let options = SqliteOptions { path: database, readers: 1, acquire_timeout: second, statement_timeout: second };
    run(async move {
        let store = store::open(StoreOptions::Sqlite(options), Arc::new(NoObserver)).await.unwrap();
        let ann = store.user("ann").await.unwrap().unwrap();
        assert_eq!((ann.role, ann.disabled, ann.token_version), (Role::Admin, true, 2));
        assert!(password::verify(&SecretString::from(secret), Some(&ann.hash)));
        store.close().await.unwrap();
    });
}
