//! The keys of the daemon around trading: server, logs, metrics, health, stop.

use super::{COMPONENT_NAMES, DAY, HOUR, Kind, Row, row, secret};

/// What this installation is called.
pub(super) const APP: &[Row] = &[
    row("app.name", Kind::Text, "QCAT", "Name of this installation in logs and on the terminal."),
    row(
        "app.version",
        Kind::Text,
        "",
        "A label of what is deployed. The program's own version is told by `qcat --version` and the API.",
    ),
    row(
        "app.environment",
        Kind::Text,
        "production",
        "A label of this installation. In `production`, secrets that stand in clear in the file are warned about.",
    ),
];

/// The server and those who call it.
pub(super) const SERVICE: &[Row] = &[
    row(
        "server.host",
        Kind::Host,
        "127.0.0.1",
        "Where the API listens. Beyond this machine it needs TLS files or trusted proxies.",
    ),
    row("server.port", Kind::Int(0, 65_535), "8082", "Port of the API; 0 takes a free one."),
    row("server.read_timeout", Kind::Duration(100, HOUR), "30s", "A request must have arrived whole within this time."),
    row(
        "server.write_timeout",
        Kind::Duration(100, HOUR),
        "30s",
        "A response must have been taken within this time, or its connection is closed.",
    ),
    row("server.tls_cert_file", Kind::Path, "", "PEM file of the certificate chain; with it the API speaks TLS only."),
    row("server.tls_key_file", Kind::Path, "", "PEM file of the certificate's private key."),
    row(
        "server.trusted_proxies",
        Kind::Networks,
        "",
        "Addresses and networks of the reverse proxies whose `X-Forwarded-*` headers are believed.",
    ),
    row("server.workers", Kind::Int(1, 64), "2", "Threads that answer requests."),
    row("server.body_limit", Kind::Int(1_024, 1 << 30), "1048576", "Bytes of a request's body at most."),
    row("server.connections_max", Kind::Int(8, 1_000_000), "4096", "Open connections at most, of API and push."),
    row("security.rate_limit_enabled", Kind::Bool, "true", "Whether requests are limited, per address and user.")
        .reloadable(),
    row(
        "security.rate_limit_requests",
        Kind::Int(1, 10_000_000),
        "100",
        "Requests in `security.rate_limit_window`. Servers that share a Redis share the count; others count alone.",
    )
    .reloadable(),
    row("security.rate_limit_window", Kind::Duration(1_000, DAY), "1m", "The window of the limit.").reloadable(),
    row("security.cors_enabled", Kind::Bool, "true", "Whether browsers' pages of other origins are answered."),
    row("security.cors_origins", Kind::Origins, "", "The origins that are, such as `https://admin.example.com`."),
    secret(
        "jwt.secret_key",
        32,
        "Key that signs tokens (HS256). Unset: a random one for each start, so that a restart ends all sessions.",
    ),
    row("jwt.expiration_hours", Kind::Int(1, 8_760), "24", "Hours for which a token is good."),
];

/// Logs, metrics, checks, and the stop.
pub(super) const OPERATION: &[Row] = &[
    row(
        "logging.level",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "What is logged: this and everything more severe.",
    )
    .reloadable(),
    row("logging.format", Kind::Word(&["json", "text"]), "json", "One JSON object a line, or text for people."),
    row(
        "logging.output",
        Kind::Word(&["file", "stderr"]),
        "file",
        "Files in `logging.log_dir` (warnings and errors go to standard error too), or standard error alone.",
    ),
    row(
        "logging.max_size",
        Kind::Int(0, 1 << 20),
        "100",
        "Megabytes of a log file at which it is rotated; 0 leaves rotation to logrotate.",
    ),
    row("logging.max_backups", Kind::Int(0, 100_000), "10", "Rotated files that are kept of each log; 0 keeps all."),
    row("logging.max_age", Kind::Int(0, 36_500), "30", "Days for which rotated files are kept; 0 keeps them forever."),
    row("logging.compress", Kind::Bool, "true", "Whether rotated files are compressed (gzip)."),
    row("logging.log_dir", Kind::Path, "/var/log/qcat", "Directory of the log files."),
    row("monitoring.prometheus_enabled", Kind::Bool, "true", "Whether metrics have a port of their own."),
    row("monitoring.prometheus_host", Kind::Host, "127.0.0.1", "Where that port listens."),
    row("monitoring.prometheus_port", Kind::Int(0, 65_535), "9090", "The port; 0 takes a free one."),
    row("monitoring.metrics_path", Kind::UrlPath, "/metrics", "The path of the metrics on that port."),
    row("health.check_interval", Kind::Duration(100, DAY), "30s", "How often each part is checked.").reloadable(),
    row("health.timeout", Kind::Duration(10, HOUR), "10s", "A check without an answer for this long has failed.")
        .reloadable(),
    row("health.retry_count", Kind::Int(0, 100), "3", "How often a failed check is tried again before it counts.")
        .reloadable(),
    row("health.retry_interval", Kind::Duration(10, HOUR), "5s", "The pause before such a retry.").reloadable(),
    row(
        "health.degraded_threshold",
        Kind::Decimal("0", "1"),
        "0.8",
        "Below this share of healthy checks the daemon is degraded.",
    )
    .reloadable(),
    row("health.unhealthy_threshold", Kind::Decimal("0", "1"), "0.5", "Below this share it is unhealthy.").reloadable(),
    row("health.alert_threshold", Kind::Int(1, 10_000), "3", "Failures in a row of one check that raise an alert.")
        .reloadable(),
    row("health.alert_cooldown", Kind::Duration(0, 30 * DAY), "5m", "How long the same alert is not raised again.")
        .reloadable(),
    row("memory.check_interval", Kind::Duration(100, DAY), "30s", "How often resident memory is measured.")
        .reloadable(),
    row(
        "memory.limit_mb",
        Kind::Int(0, 1 << 30),
        "0",
        "Megabytes that the process may use; 0 takes the limit of its control group, or the machine's memory.",
    )
    .reloadable(),
    row("memory.high_threshold", Kind::Decimal("0", "1"), "0.8", "Share of it at which caches are emptied.")
        .reloadable(),
    row("memory.alert_threshold", Kind::Decimal("0", "1"), "0.9", "Share of it at which an alert is raised.")
        .reloadable(),
    row(
        "optimizer.data_dir",
        Kind::Path,
        "/var/lib/qcat/history",
        "Directory of the recorded market data to search on.",
    ),
    row("optimizer.workers", Kind::Int(1, 256), "1", "Threads that run trials, at the lowest priority."),
    row("optimizer.timeout", Kind::Duration(1_000, 30 * DAY), "30m", "A search ends after this time with what it has."),
    row("optimizer.trials_max", Kind::Int(1, 100_000_000), "10000", "Trials of one search at most."),
    row(
        "shutdown.shutdown_timeout",
        Kind::Duration(100, HOUR),
        "30s",
        "Time for the whole stop; cuts the time of each component.",
    ),
    row("shutdown.component_timeout", Kind::Duration(100, HOUR), "10s", "Time for the stop of one component."),
    row(
        "shutdown.component_timeouts",
        Kind::Durations(COMPONENT_NAMES, 100, HOUR),
        "",
        "Other times for single components, as `name: duration`.",
    ),
    row(
        "shutdown.signal_timeout",
        Kind::Duration(10, HOUR),
        "5s",
        "From the signal until readiness is off and intents that add risk are refused.",
    ),
    row(
        "shutdown.enable_signal_handling",
        Kind::Bool,
        "true",
        "Whether SIGINT and SIGTERM stop in order. Without it they do nothing: only the API stops it (and `kill -9`).",
    ),
    row("shutdown.force_shutdown_after", Kind::Duration(100, HOUR), "60s", "The process ends then whatever happens."),
    row("shutdown.log_shutdown_progress", Kind::Bool, "true", "Whether each component's stop is logged with its time."),
    row(
        "shutdown.shutdown_order",
        Kind::Order(COMPONENT_NAMES),
        "",
        "The order in which components stop: each exactly once. Unset: the order in which they are listed here.",
    ),
];
