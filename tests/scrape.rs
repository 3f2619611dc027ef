//! Debian's own Prometheus scrapes a daemon that trades, on both of its ports, and is asked what it has: every name that the
//! manual gives is there, and what the load changes moves.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/running.rs"]
mod running;

use daemon::on_local_set;
use postgres::Postgres;
use qcat_io::net::call::call;
use qcat_io::net::tls::Connector;
use qcat_io::net::url::Url;
use running::{Running, said, token, tool};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The names of the manual, as Prometheus can ask for them.
const MANUAL: [&str; 15] = [
    "cpu_usage_percent",
    "memory_usage_percent",
    "disk_usage_percent",
    "network_io_bytes",
    "http_requests_total",
    "http_request_duration_seconds_count",
    "http_errors_total",
    "active_connections",
    "db_connections",
    "db_query_duration_seconds_count",
    "db_errors_total",
    "strategies_total",
    "orders_total",
    "trades_volume",
    "pnl_total",
];
/// What requests and trades move.
const LOAD: [&str; 11] = [
    "cpu_usage_percent",
    "memory_usage_percent",
    "disk_usage_percent",
    "network_io_bytes",
    "http_requests_total",
    "http_request_duration_seconds_count",
    "active_connections",
    "db_query_duration_seconds_count",
    "orders_total",
    "trades_volume",
    "pnl_total",
];
/// What the end of the database moves.
const OUTAGE: [&str; 3] = ["http_errors_total", "db_connections", "db_errors_total"];
/// Both ports.
const JOBS: [&str; 2] = ["api", "port"];

/// A Prometheus process; it ends with this value.
struct Prometheus {
    child: Child,
    connector: Connector,
    url: Url,
    folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    async fn start(api: &str, port: &str) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let job = |(name, target): (&str, &str)| {
            format!("  - job_name: {name}\n    static_configs: [{{ targets: [\"{target}\"] }}]\n")
        };
        let jobs: String = [(JOBS[0], api), (JOBS[1], port)].map(job).concat();
        let text = format!("global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}\nscrape_configs:\n{jobs}");
        std::fs::write(&config, text).unwrap();
        // It cannot say which port it took: it is given one that is free.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .expect("Debian's package prometheus; `.ci/run` installs it");
        let url = Url::parse(&format!("http://{listen}"), ["http", "https"]).unwrap();
        Prometheus { child, connector: Connector::new(None).unwrap(), url, folder }
    }

    /// What a query tells for each job.
    async fn ask(&self, query: &str) -> BTreeMap<String, f64> {
        let escape = |byte: u8| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let path = format!("/api/v1/query?query={}", query.bytes().map(escape).collect::<String>());
        let within = Duration::from_secs(20);
        let Ok(answer) = call(&self.connector, &self.url, ("GET", &path), &[], String::new(), within).await else {
            return BTreeMap::new();
        };
        let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |series: &Value| {
            let job = series["metric"]["job"].as_str()?.to_owned();
            Some((job, series["value"][1].as_str()?.parse().ok()?))
        };
        series.iter().filter_map(value).collect()
    }

    async fn sum(&self, name: &str) -> BTreeMap<String, f64> {
        self.ask(&format!("sum by (job) ({name})")).await
    }

    /// Waits until both jobs have it, and tells what.
    async fn has(&self, name: &str) -> BTreeMap<String, f64> {
        for _ in 0..600 {
            let found = self.sum(name).await;
            if JOBS.iter().all(|job| found.contains_key(*job)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} is not scraped: {:?}\n{}", self.sum(name).await, self.log());
    }

    /// Waits until it is another one on both ports.
    async fn moves(&self, name: &str, from: &BTreeMap<String, f64>) {
        for _ in 0..600 {
            let now = self.sum(name).await;
            if JOBS.iter().all(|job| now.get(*job).is_some_and(|now| Some(now) != from.get(*job))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} stays {from:?}\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn on_postgres(text: &str, journal: &Path, port: u16) -> String {
    let sqlite = format!("database: {{ path: {}.db }}\n", journal.display());
    let ours = format!(
        "database: {{ kind: postgres, host: 127.0.0.1, port: {port}, user: {}, password: \"{}\", name: qcat, \
         ssl_mode: disable }}\n",
        postgres::USER,
        postgres::PASSWORD
    );
    assert!(text.contains(&sqlite), "{text}");
    text.replace(&sqlite, &ours)
}

/// What Prometheus' own checker says of the page.
async fn checked(text: String) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("metrics");
    std::fs::File::create(&page).unwrap().write_all(text.as_bytes()).unwrap();
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(std::fs::File::open(&page).unwrap());
    let mut lines: Vec<String> = said(&tool(check).await).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn prometheus_has_every_name_of_the_manual_and_sees_them_move() {
    on_local_set(async {
        let (exchange, mut database) = (daemon::exchange(61).await, Postgres::start(&[]));
        database.database("qcat");
        let port = database.port;
        let text = |journal: &Path| on_postgres(&daemon::configuration(&exchange, journal), journal, port);
        let daemon = Running::start(text, |_| ()).await;
        let prometheus = Prometheus::start(&daemon.address(), &daemon.metrics_address().await).await;
        daemon.trades().await;

        let mut before = BTreeMap::new();
        for name in MANUAL {
            before.insert(name, prometheus.has(name).await);
        }
        for name in ["cpu_usage_percent", "memory_usage_percent", "disk_usage_percent"] {
            let most = prometheus.ask(&format!("max by (job) ({name})")).await;
            assert!(most.values().all(|percent| (0.0..=100.0).contains(percent)), "{name}: {most:?}");
        }
        assert!(before["strategies_total"].values().all(|count| *count == 2.0), "{before:?}");

        let _held: Vec<TcpStream> = (0..7).map(|_| TcpStream::connect(daemon.address()).unwrap()).collect();
        for path in ["/api/v1/orders", "/api/v1/trades", "/api/v1/nothing", "/health"] {
            daemon.look(path).await.unwrap();
        }
        for name in LOAD {
            prometheus.moves(name, &before[name]).await;
        }

        const RUNNING: &str = "strategies_total{state=\"running\"}";
        let running = prometheus.has(RUNNING).await;
        let (status, told) = daemon.ask("POST", "/api/v1/strategies/quick/stop", &token("trader"), "{}").await.unwrap();
        assert_eq!(status, 202, "{told}");
        prometheus.moves(RUNNING, &running).await;

        let page = daemon.ask("GET", "/metrics", &token("viewer"), "").await.unwrap().1;
        let allowed = ["pnl_total", "strategies_total"]
            .map(|name| format!("{name} non-counter metrics should not have \"_total\" suffix"));
        assert_eq!(checked(page).await, allowed);

        database.stop();
        assert_eq!(daemon.look("/api/v1/trades").await.unwrap().0, 503);
        for name in OUTAGE {
            prometheus.moves(name, &before[name]).await;
        }
        let orders = prometheus.sum("orders_total").await;
        prometheus.moves("orders_total", &orders).await;
    });
}
