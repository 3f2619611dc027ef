//! How a store is reached: plain values.

use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;

/// Which store, and how it is reached.
#[derive(Debug, Clone)]
pub enum StoreOptions {
    /// A PostgreSQL server, 13 or newer.
    Postgres(PostgresOptions),
    /// A file.
    Sqlite(SqliteOptions),
}

/// How much a connection is protected; the words of libpq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS if the server has it; nothing is verified.
    Prefer,
    /// TLS or nothing; the server is not verified.
    Require,
    /// TLS; the certificate must come from `ca_file`, or from the public roots.
    VerifyCa {
        /// Certificates in PEM form.
        ca_file: Option<PathBuf>,
    },
    /// As [`SslMode::VerifyCa`], and the certificate must be for the host.
    VerifyFull {
        /// Certificates in PEM form.
        ca_file: Option<PathBuf>,
    },
}

/// How a PostgreSQL server is reached.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Name, address, or the directory of a Unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role. It should own the database.
    pub user: String,
    /// Its password; `None`: the server wants none.
    pub password: Option<SecretString>,
    /// Database.
    pub name: String,
    /// Protection.
    pub ssl_mode: SslMode,
    /// Connections at most, 1 at least.
    pub max_open_conns: u32,
    /// Idle connections at most.
    pub max_idle_conns: u32,
    /// Age at which a connection is closed; zero: none.
    pub conn_max_lifetime: Duration,
    /// Idle time after which a connection is closed; zero: none.
    pub conn_max_idle_time: Duration,
    /// Longest wait for a connection, new or not. Above zero.
    pub connect_timeout: Duration,
    /// Longest run of a statement. Above zero.
    pub statement_timeout: Duration,
}

/// How a SQLite file is used. There is one connection that writes.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The file; it and its directory are made when they are not there.
    pub path: PathBuf,
    /// Connections that read, 1 to 16.
    pub readers: u32,
    /// Longest wait for a connection, and for locks of other processes. Above zero.
    pub acquire_timeout: Duration,
    /// Longest run of a statement. Above zero.
    pub statement_timeout: Duration,
}
