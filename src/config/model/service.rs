//! The daemon around trading, as types: server, stores, logs, metrics, checks, stop.

use super::COMPONENT_NAMES;
use qcat_core::time::Span;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What this installation is called.
#[derive(Debug, Clone)]
pub struct App {
    /// `app.name`.
    pub name: String,
    /// `app.version`, a label.
    pub version: Option<String>,
    /// `app.environment`.
    pub environment: String,
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host name or address to listen on.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Time for a request to arrive.
    pub read_timeout: Duration,
    /// Time for a response to be taken.
    pub write_timeout: Duration,
    /// Certificate chain and private key, both PEM files.
    pub tls: Option<TlsFiles>,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Threads.
    pub workers: usize,
    /// Bytes of a body.
    pub body_limit: usize,
    /// Open connections.
    pub connections_max: usize,
}

/// The files of a TLS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// An address, or all addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `10.0.0.1`, `10.0.0.0/8` or `fd00::/8`. Bits beyond the prefix must be zero: what is written is what is meant.
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address.parse::<IpAddr>().ok()?, Some(prefix)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|b| b.is_ascii_digit()) => prefix.parse().ok()?,
            Some(_) => return None,
            None => bits,
        };
        let network = Network { address, prefix };
        (prefix <= bits && network.masked(address) == Some(address)).then_some(network)
    }

    /// Whether an address belongs to it. An IPv4 address in its IPv6 form counts as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.masked(address.to_canonical()) == Some(self.address)
    }

    /// The address with the bits beyond the prefix zeroed; `None` for one of the other family.
    fn masked(&self, address: IpAddr) -> Option<IpAddr> {
        let prefix = u32::from(self.prefix);
        match (address, self.address) {
            (IpAddr::V4(v4), IpAddr::V4(_)) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                Some(IpAddr::V4((v4.to_bits() & mask).into()))
            }
            (IpAddr::V6(v6), IpAddr::V6(_)) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                Some(IpAddr::V6((v6.to_bits() & mask).into()))
            }
            _ => None,
        }
    }
}

/// Limits for callers of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Whether requests are limited.
    pub rate_limit_enabled: bool,
    /// Requests in the window.
    pub rate_limit_requests: u32,
    /// The window.
    pub rate_limit_window: Duration,
    /// Whether pages of other origins are answered.
    pub cors_enabled: bool,
    /// Which.
    pub cors_origins: Vec<String>,
}

/// Tokens.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// The key; `None` means a random one for each start.
    pub secret_key: Option<SecretString>,
    /// For how long a token is good.
    pub expiration: Duration,
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// TLS to PostgreSQL, by libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server offers it.
    Prefer,
    /// Always, whatever certificate.
    Require,
    /// Always, with a trusted certificate.
    VerifyCa,
    /// Always, with a trusted certificate of that host.
    VerifyFull,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Which.
    pub kind: DatabaseKind,
    /// The SQLite file.
    pub path: PathBuf,
    /// PostgreSQL's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Option<SecretString>,
    /// The database.
    pub name: String,
    /// TLS.
    pub ssl_mode: SslMode,
    /// Trusted certificates.
    pub ca_file: Option<PathBuf>,
    /// Connections at most.
    pub max_open_conns: u32,
    /// Connections kept ready.
    pub max_idle_conns: u32,
    /// Age at which one is replaced.
    pub conn_max_lifetime: Duration,
    /// Idle time after which one beyond `max_idle_conns` is closed.
    pub conn_max_idle_time: Duration,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a statement.
    pub statement_timeout: Duration,
    /// Whether the start needs it.
    pub required: bool,
}

/// Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    /// `host:port`; `None` means the cache in the process alone.
    pub addr: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// Number of its database.
    pub db: i64,
    /// Connections at most.
    pub pool_size: u32,
    /// Connections kept ready.
    pub min_idle_conns: u32,
    /// Tries after an error.
    pub max_retries: u32,
    /// Time to connect.
    pub dial_timeout: Duration,
    /// Time for an answer.
    pub read_timeout: Duration,
    /// Time to send.
    pub write_timeout: Duration,
}

/// Logs.
#[derive(Debug, Clone)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// JSON, else text.
    pub json: bool,
    /// Files, else standard error alone.
    pub to_files: bool,
    /// Megabytes at which a file is rotated; `None`: never.
    pub max_size_mb: Option<u64>,
    /// Rotated files of each log; `None`: all.
    pub max_backups: Option<usize>,
    /// Age at which rotated files are removed; `None`: never.
    pub max_age: Option<Duration>,
    /// Whether they are compressed.
    pub compress: bool,
    /// Where the files are.
    pub dir: PathBuf,
}

/// The metrics' own port.
#[derive(Debug, Clone)]
pub struct Monitoring {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The path.
    pub metrics_path: String,
}

/// Health checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// How often.
    pub check_interval: Duration,
    /// Time for one check.
    pub timeout: Duration,
    /// Tries again.
    pub retry_count: u32,
    /// The pause before them.
    pub retry_interval: Duration,
    /// Share of healthy checks below which the daemon is degraded.
    pub degraded_threshold: f64,
    /// Share below which it is unhealthy.
    pub unhealthy_threshold: f64,
    /// Failures in a row that raise an alert.
    pub alert_threshold: u32,
    /// Time without the same alert.
    pub alert_cooldown: Duration,
}

/// Resident memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// How often it is measured.
    pub check_interval: Duration,
    /// What the process may use; `None`: what the machine has.
    pub limit_mb: Option<u64>,
    /// Share at which caches are emptied.
    pub high_threshold: f64,
    /// Share at which an alert is raised.
    pub alert_threshold: f64,
}

/// The search for parameters.
#[derive(Debug, Clone)]
pub struct Optimizer {
    /// Recorded market data.
    pub data_dir: PathBuf,
    /// Threads.
    pub workers: usize,
    /// Time for one search.
    pub timeout: Duration,
    /// Trials of one search.
    pub trials_max: u64,
}

/// The stop.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Time for the whole stop.
    pub shutdown_timeout: Span,
    /// Time for one component without its own in `component_timeouts`.
    pub component_timeout: Span,
    /// Times for single components by name.
    pub component_timeouts: BTreeMap<String, Span>,
    /// From the signal until readiness is off and new risk is refused.
    pub signal_timeout: Span,
    /// Whether signals stop in order.
    pub enable_signal_handling: bool,
    /// The process ends then.
    pub force_shutdown_after: Span,
    /// Whether each component's stop is logged.
    pub log_shutdown_progress: bool,
    /// The order.
    pub order: Vec<String>,
}

impl Shutdown {
    /// The time of one component by its name.
    pub fn timeout_of(&self, component: &str) -> Span {
        debug_assert!(COMPONENT_NAMES.contains(&component), "{component}");
        self.component_timeouts.get(component).copied().unwrap_or(self.component_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_begins_like_it() {
        let network = |text| Network::parse(text).expect("a network");
        let holds = |text, address: &str| network(text).contains(address.parse().expect("an address"));
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"), "an IPv4 address in its IPv6 form");
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("fd00::/8", "fdff::1") && holds("::1", "::1") && !holds("::1", "::2"));
        for wrong in
            ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "localhost", "10.0.0.0/8/8", "fd00::/129"]
        {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }
}
