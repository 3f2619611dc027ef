//! What is scraped, as Prometheus' own tool judges it.

use qcat_io::metrics::{AccountMeter, Exposition, HostOptions, Metrics, PoolState, Stage};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The names that the operations manual gives.
const MANUAL: [(&str, &str); 15] = [
    ("cpu_usage_percent", "gauge"),
    ("memory_usage_percent", "gauge"),
    ("disk_usage_percent", "gauge"),
    ("network_io_bytes", "gauge"),
    ("http_requests_total", "counter"),
    ("http_request_duration_seconds", "histogram"),
    ("http_errors_total", "counter"),
    ("active_connections", "gauge"),
    ("db_connections", "gauge"),
    ("db_query_duration_seconds", "histogram"),
    ("db_errors_total", "counter"),
    ("strategies_total", "gauge"),
    ("orders_total", "counter"),
    ("trades_volume", "gauge"),
    ("pnl_total", "gauge"),
];

fn used() -> Arc<Metrics> {
    let directories = vec![("data", std::env::temp_dir())];
    let metrics =
        Metrics::start(HostOptions { every: Duration::from_millis(200), directories }, None).expect("threads");
    metrics.http.answered("GET", "/health", 200, Duration::from_millis(1));
    metrics.http.answered("POST", "/api/v1/orders", 500, Duration::from_millis(1));
    metrics.database.set_pool(|| Some(PoolState { connections: 3, idle: 2, max: 25 }));
    metrics.database.query("orders", Duration::from_millis(2), false);
    Stage::ALL.into_iter().for_each(|stage| metrics.trading.record(stage, 4_200));
    let accounts = metrics.trading.accounts(|| vec![AccountMeter::new("main", "USDT")]);
    accounts[0].filled(12.5);
    accounts[0].set_profit(Some(-3.25));
    let mut summary = qcat_io::metrics::Samples::default();
    summary.gauge("strategies_total", "Configured strategies", &[("state", "running".to_owned())], 2.0);
    metrics.trading.publish(summary);
    metrics
}

async fn text(metrics: &Metrics, accept: &str) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, text) = metrics.scrape(Some(accept)).await;
        if text.contains("\ncpu_usage_percent ") {
            return text;
        }
        assert!(Instant::now() < until, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn promtool_objects_to_nothing_but_the_two_names_that_the_manual_fixed() {
    let metrics = used();
    let classic = text(&metrics, "text/plain").await;
    for (name, kind) in MANUAL {
        assert!(classic.contains(&format!("# TYPE {name} {kind}\n")), "{name} {kind}:\n{classic}");
    }
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: Debian's package prometheus has it");
    tool.stdin.take().expect("piped").write_all(classic.as_bytes()).expect("written");
    let output = tool.wait_with_output().expect("ended");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    let expected = ["pnl_total", "strategies_total"]
        .map(|name| format!("{name} non-counter metrics should not have \"_total\" suffix"));
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn openmetrics_has_the_same_names_on_the_wire() {
    let metrics = used();
    let open = text(&metrics, "application/openmetrics-text; version=1.0.0").await;
    assert!(open.ends_with("\n# EOF\n"));
    for (name, kind) in MANUAL {
        let family = if kind == "counter" { name.strip_suffix("_total").expect("a counter's name") } else { name };
        assert!(open.contains(&format!("# TYPE {family} {kind}\n")), "{name}");
        let sample = if kind == "histogram" { format!("\n{name}_bucket{{") } else { format!("\n{name}") };
        let point = open
            .match_indices(&sample)
            .any(|(at, _)| open[at + sample.len()..].starts_with(['{', ' ']) || kind == "histogram");
        assert!(point, "{name}");
    }
    assert_eq!(Exposition::negotiate("text/plain"), Exposition::Classic);
}
