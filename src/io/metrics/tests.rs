use super::*;
use std::time::Instant;

fn host() -> HostOptions {
    HostOptions { every: Duration::from_millis(200), directories: vec![("data", std::env::temp_dir())] }
}

fn number(samples: &Samples, name: &str, labels: &[(&'static str, &str)]) -> Option<f64> {
    match samples.get(name, labels)? {
        Value::Count(count) => Some(*count as f64),
        Value::Number(number) => Some(*number),
        Value::Since(at) => Some(at.elapsed().as_secs_f64()),
        Value::Durations(recorded) => Some(recorded.count() as f64),
    }
}

#[test]
fn durations_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
    let histogram = Histogram::new(&[10, 20]);
    [0, 10, 11, 20, 21, u64::MAX / 4].into_iter().for_each(|nanos| histogram.record(nanos));
    let recorded = histogram.read();
    assert_eq!(recorded.buckets, [(1e-8, 2), (2e-8, 2), (f64::INFINITY, 2)]);
    assert_eq!((recorded.count(), recorded.sum), (6, (62 + u64::MAX / 4) as f64 / 1e9));
}

#[test]
fn the_format_is_what_the_scraper_prefers() {
    use Exposition::{Classic, OpenMetrics};
    for (accept, expected) in [
        ("", Classic),
        ("*/*", Classic),
        ("text/plain;version=0.0.4", Classic),
        ("application/openmetrics-text; version=1.0.0", OpenMetrics),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        ),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.5", Classic),
        ("application/openmetrics-text;q=x", Classic),
        ("image/png", Classic),
    ] {
        assert_eq!(Exposition::negotiate(accept), expected, "{accept}");
    }
}

#[test]
fn both_formats_have_the_exact_names() {
    let samples = || {
        let mut all = Samples::default();
        all.counter("orders_total", "Orders", &[("account", "a\"\\\n".to_owned())], 3);
        all.gauge("pnl_total", "Profit", &[], -1.5);
        all.gauge("unknown_value", "Not told", &[], f64::NAN);
        let histogram = Histogram::new(&[1_000_000]);
        histogram.record(500_000);
        all.histogram("x_seconds", "Times", &[], histogram.read());
        all
    };
    let points = "orders_total{account=\"a\\\"\\\\\\n\"} 3\n";
    let open = Exposition::OpenMetrics.encode(samples());
    assert!(open.starts_with(&format!("# HELP orders Orders\n# TYPE orders counter\n{points}")), "{open}");
    assert!(open.ends_with("# EOF\n") && !open.contains("unknown_value"), "{open}");
    let classic = Exposition::Classic.encode(samples());
    assert_eq!(
        classic,
        format!(
            "# HELP orders_total Orders\n# TYPE orders_total counter\n{points}\
             # HELP pnl_total Profit\n# TYPE pnl_total gauge\npnl_total -1.5\n\
             # HELP x_seconds Times\n# TYPE x_seconds histogram\nx_seconds_sum 0.0005\nx_seconds_count 1\n\
             x_seconds_bucket{{le=\"0.001\"}} 1\nx_seconds_bucket{{le=\"+Inf\"}} 1\n"
        )
    );
}

struct Late;
impl Source for Late {
    fn collect(&self) -> BoxFuture<'_, Samples> {
        Box::pin(std::future::pending())
    }
}

struct Quick;
impl Source for Quick {
    fn collect(&self) -> BoxFuture<'_, Samples> {
        let mut samples = Samples::default();
        samples.gauge("quick", "Told", &[], 7.0);
        Box::pin(std::future::ready(samples))
    }
}

#[tokio::test]
async fn a_source_that_hangs_is_left_out_and_counted() {
    let metrics = Metrics::start(host(), None).unwrap();
    metrics.add_source("late", Arc::new(Late));
    metrics.add_source("quick", Arc::new(Quick));
    let samples = metrics.gather().await;
    assert_eq!(number(&samples, "quick", &[]), Some(7.0));
    assert_eq!(number(&samples, "metrics_source_timeouts_total", &[("source", "late")]), Some(1.0));
}

#[tokio::test]
async fn requests_and_queries_are_counted_and_what_is_not_measured_is_absent() {
    let metrics = Metrics::start(host(), None).unwrap();
    let before = metrics.gather().await;
    for name in ["db_connections", "db_errors_total", "db_query_duration_seconds", "orders_total", "pnl_total"] {
        assert!(!before.families.contains_key(name), "{name}");
    }
    let connection = http::Connection::open(metrics.clone());
    metrics.http.answered("GET", "/health", 200, Duration::from_micros(300));
    metrics.http.answered("BREW\n", "/health", 503, Duration::from_secs(60));
    (0..3_000).for_each(|n| metrics.http.answered("GET", &format!("/{n}"), 404, Duration::ZERO));
    metrics.database.set_pool(|| Some(PoolState { connections: 21, idle: 3, max: 25 }));
    metrics.database.query("orders", Duration::from_millis(2), true);
    metrics.database.query("orders", Duration::from_millis(2), false);
    let after = metrics.gather().await;
    let health = [("method", "GET"), ("route", "/health"), ("status", "200")];
    assert_eq!(number(&after, "http_requests_total", &health), Some(1.0));
    assert_eq!(
        number(&after, "http_request_duration_seconds", &[("method", "other"), ("route", "/health")]),
        Some(1.0)
    );
    assert!(after.families["http_requests_total"].points.len() <= 1_000, "bounded");
    for (name, value) in
        [("http_errors_total", 1.0), ("active_connections", 1.0), ("db_connections", 21.0), ("db_errors_total", 1.0)]
    {
        assert_eq!(number(&after, name, &[]), Some(value), "{name}");
    }
    drop(connection);
    assert_eq!(number(&metrics.gather().await, "active_connections", &[]), Some(0.0));
}

#[tokio::test]
async fn the_machine_and_the_process_are_looked_at() {
    let metrics = Metrics::start(host(), None).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let samples = loop {
        let samples = metrics.gather().await;
        if samples.families.contains_key("cpu_usage_percent") {
            break samples;
        }
        assert!(Instant::now() < until, "no second look");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (name, labels) in [("memory_usage_percent", &[][..]), ("disk_usage_percent", &[("directory", "data")])] {
        let percent = number(&samples, name, labels).unwrap();
        assert!(percent > 0.0 && percent <= 100.0, "{name} {percent}");
    }
    assert!(!samples.families["network_io_bytes"].points.is_empty());
    assert!(number(&samples, "process_resident_memory_bytes", &[]).unwrap() > 1e6);
    assert!(number(&samples, "process_open_fds", &[]).unwrap() >= 3.0);
    let started = number(&samples, "process_start_time_seconds", &[]).unwrap();
    let now = jiff::Timestamp::now().as_second() as f64;
    assert!((now - started).abs() < 3_600.0, "{started}");
}
