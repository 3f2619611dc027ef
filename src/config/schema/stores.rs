//! The keys of the stores: database and cache.

use super::{DAY, HOUR, Kind, Row, row, secret};

/// Database and cache.
pub(super) const STORES: &[Row] = &[
    row(
        "database.kind",
        Kind::Word(&["sqlite", "postgres"]),
        "",
        "Which database. Unset: `postgres` if `database.host` is set, else `sqlite`, which needs nothing installed.",
    ),
    row("database.path", Kind::Path, "/var/lib/qcat/qcat.db", "The SQLite file."),
    row("database.host", Kind::Host, "", "PostgreSQL's host; `localhost` when `database.kind` is `postgres`."),
    row("database.port", Kind::Int(1, 65_535), "5432", "PostgreSQL's port."),
    row("database.user", Kind::Text, "qcat_user", "The user, who owns the database."),
    secret("database.password", 1, "The user's password."),
    row("database.name", Kind::Text, "qcat", "The database."),
    row(
        "database.ssl_mode",
        Kind::Word(&["disable", "prefer", "require", "verify-ca", "verify-full"]),
        "prefer",
        "TLS: never, if offered, always, always with a trusted certificate, and of that very host.",
    ),
    row(
        "database.ca_file",
        Kind::Path,
        "",
        "PEM file of certificates that `verify-ca` and `verify-full` trust beside the public roots.",
    ),
    row("database.max_open_conns", Kind::Int(1, 10_000), "25", "Connections at most."),
    row("database.max_idle_conns", Kind::Int(0, 10_000), "5", "Connections kept ready while there is nothing to do."),
    row(
        "database.conn_max_lifetime",
        Kind::Duration(1_000, 30 * DAY),
        "5m",
        "A connection is replaced after this time.",
    ),
    row(
        "database.conn_max_idle_time",
        Kind::Duration(1_000, 30 * DAY),
        "1m",
        "A connection beyond `database.max_idle_conns` is closed after this time without work.",
    ),
    row("database.connect_timeout", Kind::Duration(100, HOUR), "5s", "Time to connect, and to get a connection."),
    row("database.statement_timeout", Kind::Duration(100, DAY), "30s", "Time for one statement."),
    row(
        "database.required",
        Kind::Bool,
        "false",
        "Whether the start fails when the database is away; else it starts degraded and catches up from the journal.",
    ),
    row("redis.addr", Kind::Address, "", "`host:port` of Redis. Unset: the cache in the process alone."),
    secret("redis.password", 1, "The password of Redis."),
    row("redis.db", Kind::Int(0, 65_535), "0", "Number of the Redis database."),
    row("redis.pool_size", Kind::Int(1, 10_000), "10", "Connections at most."),
    row("redis.min_idle_conns", Kind::Int(0, 10_000), "5", "Connections kept ready."),
    row("redis.max_retries", Kind::Int(0, 100), "3", "How often a command is tried again after an error."),
    row("redis.dial_timeout", Kind::Duration(10, HOUR), "5s", "Time to connect."),
    row("redis.read_timeout", Kind::Duration(10, HOUR), "3s", "Time for an answer."),
    row("redis.write_timeout", Kind::Duration(10, HOUR), "3s", "Time to send a command."),
];
