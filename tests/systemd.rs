//! What the service manager hears of a daemon, over a real notify socket, and what stands in its unit.
#![allow(clippy::unwrap_used)]

use daemon::{ended, on_local_set, terminate, until};
use qcat::config::schema;
use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[path = "support/daemon.rs"]
mod daemon;

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn count(&mut self, what: &str) -> usize {
        let mut bytes = [0; 4096];
        while let Ok(read) = self.socket.recv(&mut bytes) {
            self.heard.push(String::from_utf8(bytes[..read].to_vec()).unwrap());
        }
        self.heard.iter().filter(|message| message.lines().any(|line| line.starts_with(what))).count()
    }
}

fn spawn(config: &Path, log: &Path, socket: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_qcat"))
        .env_clear()
        .env("QCAT_CONFIG", config)
        .env("NOTIFY_SOCKET", socket)
        .env("WATCHDOG_USEC", "600000")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(log).unwrap())
        .spawn()
        .unwrap()
}

async fn hears(socket: UnixDatagram, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (config, log) = (folder.path().join("config.yaml"), folder.path().join("log"));
    let exchange = daemon::exchange(5).await;
    let text = daemon::configuration(&exchange, &folder.path().join("journal"));
    std::fs::write(&config, &text).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut manager = Manager { socket, heard: Vec::new() };
    let mut running = spawn(&config, &log, name);
    let log = || std::fs::read_to_string(&log).unwrap_or_default();

    until("it is not ready", || manager.count("READY=1") == 1).await;
    until("it is not alive", || manager.count("WATCHDOG=1") >= 4).await;
    let hangup = || {
        let pid = running.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    };
    hangup();
    until("the reload is not over", || manager.count("READY=1") == 2).await;
    assert_eq!((manager.count("RELOADING=1"), manager.count("MONOTONIC_USEC=")), (1, 1));
    // What can change while it runs does, and is told; the rest waits.
    let other = text
        .replace("format: text", "format: text, level: debug")
        .replace("segment_size: 16777216", "segment_size: 33554432");
    std::fs::write(&config, other).unwrap();
    hangup();
    until("nothing is told of the change", || {
        log().contains("in force now: logging.level = debug; needs a restart: journal.segment_size")
    })
    .await;
    until("nothing is debugged", || log().contains(" DEBUG ")).await;
    std::fs::write(&config, &text).unwrap();
    hangup();
    until("it is not taken back", || log().contains("in force now: logging.level = info")).await;
    until("the reloads are not over", || manager.count("READY=1") == 4).await;
    // A broken file changes nothing, is told with its faults, and the reload is over for the manager.
    std::fs::write(&config, text.replace("journal:", "jurnal:")).unwrap();
    hangup();
    until("the second reload is not over", || manager.count("READY=1") == 5).await;
    until("the fault is not told", || log().contains("not reloaded") && log().contains("jurnal")).await;
    let alive = manager.count("WATCHDOG=1");
    until("it is not alive any more", || manager.count("WATCHDOG=1") > alive).await;
    assert_eq!(manager.count("STOPPING=1"), 0);
    terminate(&running);
    assert_eq!(ended(&mut running).await.code(), Some(0), "{}", log());
    assert_eq!((manager.count("STOPPING=1"), manager.count("READY=1")), (1, 5), "{:?}", manager.heard);
}

#[test]
fn a_service_manager_hears_of_start_life_reload_and_stop() {
    on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        hears(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap()).await;
        let name = format!("qcat-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        hears(UnixDatagram::bind_addr(&address).unwrap(), &format!("@{name}")).await;
    });
}

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/qcat.service");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn systemd_takes_the_unit() {
    // No systemd on this machine; `.ci/run` installs it.
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: systemd-analyze cannot be run");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The binary must be there; nothing else is changed.
    let text = unit().replace("ExecStart=/opt/qcat/bin/qcat", &format!("ExecStart={}", env!("CARGO_BIN_EXE_qcat")));
    assert_ne!(text, unit());
    let file = folder.path().join("qcat.service");
    std::fs::write(&file, text).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("qcat")).collect();
    assert!(verified.status.success() && about_us.is_empty(), "{said}");
}

fn default_of(key: &str) -> String {
    let row = schema::rows().find(|row| row.path == key);
    row.unwrap_or_else(|| panic!("no key {key}")).default.unwrap().to_owned()
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap()
}

#[test]
fn the_unit_fits_the_defaults_of_the_configuration() {
    let text = unit();
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        values.entry(key).or_default().push(value);
    }
    let one = |key: &str| {
        let found = values.get(key).map_or(&[][..], Vec::as_slice);
        assert_eq!(found.len(), 1, "{key}: {found:?}");
        found[0]
    };
    assert!(seconds(one("TimeoutStopSec")) > seconds(&default_of("shutdown.force_shutdown_after")));
    // The daemon's own watchdog comes first: its bound, the drain's second, and the cancels.
    assert!(seconds(one("WatchdogSec")) > seconds(&default_of("watchdog.step_timeout")) + 10);
    for (directory, root, keys) in [
        ("StateDirectory", "/var/lib", ["journal.dir", "database.path"].as_slice()),
        ("LogsDirectory", "/var/log", &["logging.log_dir"]),
    ] {
        let directory = Path::new(root).join(one(directory));
        keys.iter().for_each(|key| assert!(Path::new(&default_of(key)).starts_with(&directory), "{key}"));
    }
    for (key, value) in [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("ExecStart", "/opt/qcat/bin/qcat"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("Environment", "QCAT_CONFIG=/etc/qcat/config.yaml"),
        ("EnvironmentFile", "-/etc/qcat/.env"),
        ("WorkingDirectory", "/opt/qcat"),
        ("User", "qcat"),
        ("Group", "qcat"),
        ("Restart", "always"),
        ("RestartSec", "5"),
        ("LimitNOFILE", "65535"),
        ("WantedBy", "multi-user.target"),
        ("Description", "QCAT Quant Trading System"),
        ("After", "network.target postgresql.service redis-server.service"),
    ] {
        assert_eq!(one(key), value, "{key}");
    }
    let codes = [qcat::cli::exit::USAGE, qcat::cli::exit::CONFIG].map(|code| code.to_string());
    assert_eq!(one("RestartPreventExitStatus"), codes.join(" "));
}
