//! How the server runs, as plain values; the composition root maps the configuration to it.

use crate::config::model::Network;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A certificate and its key, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A limit of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a window.
    pub requests: u32,
    /// The window.
    pub window: Duration,
}

/// How the server runs.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where metrics are served besides the API's own port; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The path of the metrics there; on the API's port it is `/metrics`.
    pub metrics_path: String,
    /// TLS on the API's port.
    pub tls: Option<TlsFiles>,
    /// Threads that serve; none of them is the trading thread.
    pub workers: usize,
    /// How long a request's head may take to come, and then its body.
    pub read_timeout: Duration,
    /// How long an answer may take to leave.
    pub write_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// Connections at a time.
    pub connections_max: usize,
    /// Bytes of a request's body.
    pub body_max: usize,
    /// Bytes of a request's head.
    pub header_max: usize,
    /// Proxies whose word on the client's address is believed.
    pub trusted_proxies: Vec<Network>,
    /// Origins whose pages may read answers; `None`: CORS is off.
    pub cors_origins: Option<Vec<String>>,
    /// The limit of each user or address; `None`: no limit but that of logins.
    pub rate: Option<Rate>,
    /// How long a token is good.
    pub token_lifetime: Duration,
}

impl Default for ServerOptions {
    /// The operations manual's values, on the loopback address.
    fn default() -> ServerOptions {
        ServerOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 8082)),
            metrics_listen: None,
            metrics_path: "/metrics".to_owned(),
            tls: None,
            workers: 2,
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            connections_max: 4_096,
            body_max: 1 << 20,
            header_max: 16 << 10,
            trusted_proxies: Vec::new(),
            cors_origins: None,
            rate: Some(Rate { requests: 100, window: Duration::from_secs(60) }),
            token_lifetime: Duration::from_secs(24 * 3_600),
        }
    }
}

impl ServerOptions {
    /// Whether passwords and tokens would cross a network in clear text with nobody saying that this is meant.
    pub fn is_open(&self) -> bool {
        let private = match self.listen.ip().to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback(),
        };
        !private && self.tls.is_none() && self.trusted_proxies.is_empty()
    }
}
