//! `qcat doctor`, `version` and `strategy` as processes: against a simulated exchange and in broken environments.
#![allow(clippy::unwrap_used)]

use qcat::sim::{self, Market, SimAccount, SimOptions};
use qcat_core::time::Span;
use secrecy::SecretString;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

/// The exchange on a thread of its own; it ends with the test's process.
fn exchange() -> SocketAddr {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let account = |key: &str| SimAccount {
                key: key.to_owned(),
                secret: SecretString::from("secret"),
                balance: "10000".to_owned(),
                leverage: 20,
            };
            let options = SimOptions {
                listen: "127.0.0.1:0".parse().unwrap(),
                tls: false,
                market: Market::Generated { seed: 1, symbols: vec!["BTCUSDT".to_owned()] },
                accounts: vec![account("good")],
                latency: Span::from_millis(1),
                fees: qcat_core::venue::Fees::default(),
            };
            let running = sim::start(&options).await.unwrap();
            send.send(running.address).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receive.recv().unwrap()
}

#[path = "support/postgres.rs"]
mod postgres;

struct Case<'a> {
    address: SocketAddr,
    key: &'a str,
    secret: &'a str,
    symbol: &'a str,
    more: &'a str,
}

fn qcat(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qcat"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QCAT_")) {
        command.env_remove(name);
    }
    let output = command.args(arguments).env("LC_ALL", "en_US.UTF-8").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn doctor(folder: &Path, case: &Case<'_>, arguments: &[&str]) -> (i32, String) {
    let Case { address, key, secret, symbol, more } = case;
    let dir = folder.display();
    let file = if more.contains("database:") { String::new() } else { format!("database:\n  path: {dir}/qcat.db\n") };
    let text = format!(
        "{}accounts:\n  - name: main\n    api_key: {key}\n    api_secret: {secret}\nstrategies:\n  - name: trend\n    kind: \
         trend_follower\n    symbols: [{symbol}]\njournal:\n  dir: {dir}/journal\n  segment_size: 1048576\nlogging:\n  \
         output: stderr\noptimizer:\n  data_dir: {dir}\n{file}{more}",
        sim::config_urls(*address, false)
    );
    let file = folder.join("config.yaml");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    qcat(&[&["doctor", "--config", &file], arguments].concat())
}

const FREE: &str = "server:\n  port: 0\nmonitoring:\n  prometheus_port: 0\n";

#[test]
fn a_sound_installation_passes_and_each_fault_is_named_with_its_remedy() {
    let (folder, address) = (tempfile::tempdir().unwrap(), exchange());
    let good = Case { address, key: "good", secret: "secret", symbol: "BTCUSDT", more: FREE };
    let (code, text) = doctor(folder.path(), &good, &[]);
    assert_eq!(code, 0, "{text}");
    for part in [
        "ok    exchange",
        "ok    clock",
        "ok    symbols",
        "ok    account main",
        "the key works; orders are sent",
        "ok    journal.dir",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("FAIL"), "{text}");
    assert!(!folder.path().join("journal").exists(), "nothing was made");

    let fails = |case: Case<'_>, arguments: &[&str], parts: &[&str]| {
        let (code, text) = doctor(folder.path(), &case, arguments);
        assert_eq!(code, 69, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("hidden-secret"), "{text}");
    };
    fails(Case { key: "other", ..good }, &[], &["FAIL  account main", "-2015", "allow this machine's address"]);
    fails(Case { secret: "hidden-secret", ..good }, &[], &["-1022", "api_secret does not belong to api_key"]);
    fails(
        Case { symbol: "NOPEUSDT", ..good },
        &[],
        &["FAIL  symbols", "no symbol `NOPEUSDT`", "ok    account main", "the key works"],
    );
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = FREE.replace("  port: 0", &format!("  host: 127.0.0.1\n  port: {}", held.local_addr().unwrap().port()));
    fails(Case { more: &ports, ..good }, &[], &["FAIL  server.port", "is held by", "set another server.port"]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(Case { address: nobody, ..good }, &["--lang", "zh"], &["错误  exchange", "无响应", "目前无法启动或交易"]);
    // Redis is not needed: without it there is a warning.
    let redis = format!("{FREE}redis:\n  addr: {nobody}\n");
    let (code, text) = doctor(folder.path(), &Case { more: &redis, ..good }, &[]);
    assert!(code == 0 && text.contains("warn  redis") && text.contains("it can start"), "{text}");
    let wrong = format!("{FREE}risk:\n  heartbeat: soon\n");
    let (code, text) = doctor(folder.path(), &Case { more: &wrong, ..good }, &[]);
    assert!(code == 78 && text.contains("risk.heartbeat") && text.contains("FAIL  config"), "{text}");
}

#[test]
fn the_database_is_looked_at_and_left_as_it_is() {
    let (folder, address, server) = (tempfile::tempdir().unwrap(), exchange(), postgres::Postgres::start(&[]));
    server.database("fresh");
    let look = |password: &str, name: &str, required: bool, port: u16| {
        let user = postgres::USER;
        let more = format!(
            "{FREE}database:\n  kind: postgres\n  host: 127.0.0.1\n  port: {port}\n  user: {user}\n  password: \"{password}\"\n  \
             name: {name}\n  ssl_mode: disable\n  required: {required}\n"
        );
        doctor(folder.path(), &Case { address, key: "good", secret: "secret", symbol: "BTCUSDT", more: &more }, &[])
    };
    let (code, text) = look(postgres::PASSWORD, "fresh", true, server.port);
    assert!(code == 0 && text.contains("no schema yet"), "{text}");
    assert_eq!(server.sql("fresh", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").trim(), "0");
    let (code, text) = look("planted-wrong", "fresh", false, server.port);
    assert!(code == 69 && text.contains("FAIL  database") && !text.contains("planted"), "{text}");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let codes = [false, true].map(|required| look(postgres::PASSWORD, "fresh", required, gone).0);
    assert_eq!(codes, [0, 69], "only one that is required keeps it from starting");
}

#[test]
fn the_program_tells_what_it_is_and_what_it_can_run() {
    let (code, text) = qcat(&["version", "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, facts["version"].as_str()), (0, Some(env!("CARGO_PKG_VERSION"))));
    assert!(facts["compiler"].as_str().unwrap().starts_with("rustc "), "{text}");
    assert!(facts["journal_format"].is_u64() && facts["snapshot_layout"].is_u64(), "{text}");
    assert!(qcat(&["version"]).1.contains("target"));

    let (code, text) = qcat(&["strategy", "list"]);
    assert!(code == 0 && text.contains("trend_follower") && text.contains("mean_reverter"), "{text}");
    assert!(qcat(&["strategy", "show", "trend_follower"]).1.contains("fast_periods"));
    let (code, text) = qcat(&["strategy", "show", "other"]);
    assert!(code == 64 && text.contains("trend_follower"), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml").display().to_string();
    let new = ["strategy", "new", "mine", "--kind", "mean_reverter", "--file", &file];
    assert_eq!(qcat(&new).0, 0);
    let (code, text) = qcat(&["backtest", "--strategy", &file, "--generate", "1", "--minutes", "1"]);
    assert!(code == 0 && text.contains("mine"), "{text}");
    let (code, text) = qcat(&new);
    assert!(code == 64 && text.contains("not overwritten"), "{text}");
}
