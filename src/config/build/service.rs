//! The daemon around trading: from values to types, and what spans several of its keys.

use super::get::{Faults, Get};
use crate::config::model::*;
use qcat_core::config::Timing;
use qcat_core::time::Span;
use std::net::IpAddr;
use std::time::Duration;

pub(super) fn app(get: &Get<'_>) -> App {
    App { name: get.text("name"), version: get.some_text("version"), environment: get.text("environment") }
}

pub(super) fn server(get: &Get<'_>, faults: &mut Faults<'_>) -> Server {
    let tls = match (get.path("tls_cert_file"), get.path("tls_key_file")) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (Some(_), None) => {
            faults.add("server.tls_cert_file", "needs server.tls_key_file beside it");
            None
        }
        (None, Some(_)) => {
            faults.add("server.tls_key_file", "needs server.tls_cert_file beside it");
            None
        }
        (None, None) => None,
    };
    let networks = get.texts("trusted_proxies");
    let server = Server {
        host: get.text("host"),
        port: get.u16("port"),
        read_timeout: get.duration("read_timeout"),
        write_timeout: get.duration("write_timeout"),
        tls,
        trusted_proxies: networks.iter().filter_map(|text| Network::parse(text)).collect(),
        workers: get.usize("workers"),
        body_limit: get.usize("body_limit"),
        connections_max: get.usize("connections_max"),
    };
    if !is_loopback(&server.host) && server.tls.is_none() && server.trusted_proxies.is_empty() {
        let problem = format!(
            "found `{}`, which others can reach: passwords and tokens would travel in clear; allowed: an address of this \
             machine (127.0.0.1, ::1, localhost), or server.tls_cert_file and server.tls_key_file, or server.trusted_proxies \
             with the proxy that speaks TLS",
            server.host
        );
        let keys = ["server.host", "server.trusted_proxies", "server.tls_cert_file", "server.tls_key_file"];
        faults.among(&keys, problem);
    }
    server
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn security(get: &Get<'_>) -> Security {
    Security {
        rate_limit_enabled: get.bool("rate_limit_enabled"),
        rate_limit_requests: get.u32("rate_limit_requests"),
        rate_limit_window: get.duration("rate_limit_window"),
        cors_enabled: get.bool("cors_enabled"),
        cors_origins: get.texts("cors_origins"),
    }
}

pub(super) fn jwt(get: &Get<'_>) -> Jwt {
    Jwt {
        secret_key: get.secret("secret_key"),
        expiration: Duration::from_secs(get.u64("expiration_hours").saturating_mul(3_600)),
    }
}

pub(super) fn database(get: &Get<'_>, faults: &mut Faults<'_>) -> Database {
    let host = get.some_text("host");
    let kind = match get.text("kind").as_str() {
        "postgres" => DatabaseKind::Postgres,
        "" if host.is_some() => DatabaseKind::Postgres,
        _ => DatabaseKind::Sqlite,
    };
    let ssl_mode = match get.text("ssl_mode").as_str() {
        "disable" => SslMode::Disable,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => SslMode::Prefer,
    };
    let database = Database {
        kind,
        path: get.path("path").unwrap_or_default(),
        host: host.unwrap_or_else(|| "localhost".to_owned()),
        port: get.u16("port"),
        user: get.text("user"),
        password: get.secret("password"),
        name: get.text("name"),
        ssl_mode,
        ca_file: get.path("ca_file"),
        max_open_conns: get.u32("max_open_conns"),
        max_idle_conns: get.u32("max_idle_conns"),
        conn_max_lifetime: get.duration("conn_max_lifetime"),
        conn_max_idle_time: get.duration("conn_max_idle_time"),
        connect_timeout: get.duration("connect_timeout"),
        statement_timeout: get.duration("statement_timeout"),
        required: get.bool("required"),
    };
    if database.max_idle_conns > database.max_open_conns {
        let (idle, open) = (database.max_idle_conns, database.max_open_conns);
        let problem = format!("found {idle}, allowed: database.max_open_conns ({open}) at most");
        faults.among(&["database.max_idle_conns", "database.max_open_conns"], problem);
    }
    database
}

pub(super) fn redis(get: &Get<'_>, faults: &mut Faults<'_>) -> Redis {
    let redis = Redis {
        addr: get.some_text("addr"),
        password: get.secret("password"),
        db: get.int("db"),
        pool_size: get.u32("pool_size"),
        min_idle_conns: get.u32("min_idle_conns"),
        max_retries: get.u32("max_retries"),
        dial_timeout: get.duration("dial_timeout"),
        read_timeout: get.duration("read_timeout"),
        write_timeout: get.duration("write_timeout"),
    };
    if redis.min_idle_conns > redis.pool_size {
        let (idle, pool) = (redis.min_idle_conns, redis.pool_size);
        let problem = format!("found {idle}, allowed: redis.pool_size ({pool}) at most");
        faults.among(&["redis.min_idle_conns", "redis.pool_size"], problem);
    }
    redis
}

pub(super) fn logging(get: &Get<'_>) -> Logging {
    let some = |key| Some(get.u64(key)).filter(|number| *number > 0);
    Logging {
        level: get.text("level"),
        json: get.text("format") == "json",
        to_files: get.text("output") == "file",
        max_size_mb: some("max_size"),
        max_backups: some("max_backups").and_then(|count| usize::try_from(count).ok()),
        max_age: some("max_age").map(|days| Duration::from_secs(days.saturating_mul(86_400))),
        compress: get.bool("compress"),
        dir: get.path("log_dir").unwrap_or_default(),
    }
}

pub(super) fn monitoring(get: &Get<'_>, server: &Server, faults: &mut Faults<'_>) -> Monitoring {
    let monitoring = Monitoring {
        enabled: get.bool("prometheus_enabled"),
        host: get.text("prometheus_host"),
        port: get.u16("prometheus_port"),
        metrics_path: get.text("metrics_path"),
    };
    if monitoring.enabled && monitoring.port == server.port && monitoring.port != 0 {
        let problem = format!("found {}, which is server.port: each needs its own", monitoring.port);
        faults.among(&["monitoring.prometheus_port", "server.port"], problem);
    }
    monitoring
}

pub(super) fn health(get: &Get<'_>, faults: &mut Faults<'_>) -> Health {
    let health = Health {
        check_interval: get.duration("check_interval"),
        timeout: get.duration("timeout"),
        retry_count: get.u32("retry_count"),
        retry_interval: get.duration("retry_interval"),
        degraded_threshold: get.share("degraded_threshold"),
        unhealthy_threshold: get.share("unhealthy_threshold"),
        alert_threshold: get.u32("alert_threshold"),
        alert_cooldown: get.duration("alert_cooldown"),
    };
    if health.unhealthy_threshold > health.degraded_threshold {
        let problem = "must not be above health.degraded_threshold: what is unhealthy is degraded too";
        faults.among(&["health.unhealthy_threshold", "health.degraded_threshold"], problem);
    }
    health
}

pub(super) fn memory(get: &Get<'_>, faults: &mut Faults<'_>) -> Memory {
    let memory = Memory {
        check_interval: get.duration("check_interval"),
        limit_mb: Some(get.u64("limit_mb")).filter(|limit| *limit > 0),
        high_threshold: get.share("high_threshold"),
        alert_threshold: get.share("alert_threshold"),
    };
    if memory.high_threshold > memory.alert_threshold {
        let problem = "must not be above memory.alert_threshold: memory is freed before anybody is woken";
        faults.among(&["memory.high_threshold", "memory.alert_threshold"], problem);
    }
    memory
}

pub(super) fn optimizer(get: &Get<'_>) -> Optimizer {
    Optimizer {
        data_dir: get.path("data_dir").unwrap_or_default(),
        workers: get.usize("workers"),
        timeout: get.duration("timeout"),
        trials_max: get.u64("trials_max"),
    }
}

pub(super) fn shutdown(get: &Get<'_>, timing: &Timing, faults: &mut Faults<'_>) -> Shutdown {
    let order = get.texts("shutdown_order");
    let order = if order.is_empty() { COMPONENT_NAMES.iter().map(|n| (*n).to_owned()).collect() } else { order };
    let shutdown = Shutdown {
        shutdown_timeout: get.span("shutdown_timeout"),
        component_timeout: get.span("component_timeout"),
        component_timeouts: get.spans("component_timeouts"),
        signal_timeout: get.span("signal_timeout"),
        enable_signal_handling: get.bool("enable_signal_handling"),
        force_shutdown_after: get.span("force_shutdown_after"),
        log_shutdown_progress: get.bool("log_shutdown_progress"),
        order,
    };
    if shutdown.force_shutdown_after < shutdown.shutdown_timeout {
        let problem = "must not be shorter than shutdown.shutdown_timeout";
        faults.among(&["shutdown.force_shutdown_after", "shutdown.shutdown_timeout"], problem);
    }
    if shutdown.signal_timeout > shutdown.shutdown_timeout {
        let problem = "must not be longer than shutdown.shutdown_timeout, of which it is a part";
        faults.among(&["shutdown.signal_timeout", "shutdown.shutdown_timeout"], problem);
    }
    let orders = "order_managers";
    if shutdown.timeout_of(orders).nanos() - timing.absent_after.nanos() < Span::from_secs(1).nanos() {
        let own = shutdown.component_timeouts.contains_key(orders);
        let key = if own { "shutdown.component_timeouts" } else { "shutdown.component_timeout" };
        let problem = "must be longer than orders.absent_after by 1s at least, or a stop cannot wait until the fate of every \
                       order is known";
        faults.among(&[key, "orders.absent_after"], problem);
    }
    shutdown
}
