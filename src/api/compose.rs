//! From the configuration to a server under the component `http_server`.

use super::live::Live;
use super::options::{Rate, ServerOptions, TlsFiles};
use super::server::{BindError, Sockets};
use super::state::{ApiParts, Beside, Watch};
use super::store::StoreSlot;
use crate::config::Config;
use qcat_actors::runtime::commands::Commands;
use qcat_actors::runtime::console::Console;
use qcat_actors::runtime::service::{ServiceContext, Work};
use qcat_io::secret::jwt::Tokens;
use secrecy::SecretString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// Without a sign of life for this long the server counts as stalled.
const BOUND: Duration = Duration::from_secs(10);
/// How often the server gives one.
const BEAT: Duration = Duration::from_secs(1);
/// How long a connection may wait for its next request: longer than proxies keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What the configuration says of the server.
pub fn options(config: &Config) -> Result<ServerOptions, BindError> {
    let (server, security, monitoring) = (&config.server, &config.security, &config.monitoring);
    let listen = resolve("server.host", &server.host, server.port)?;
    let metrics = monitoring.enabled.then(|| resolve("monitoring.prometheus_port", &monitoring.host, monitoring.port));
    let metrics_listen = metrics.transpose()?;
    Ok(ServerOptions {
        listen,
        metrics_listen,
        metrics_path: monitoring.metrics_path.clone(),
        tls: server.tls.as_ref().map(|tls| TlsFiles { certificate: tls.cert.clone(), key: tls.key.clone() }),
        workers: server.workers,
        read_timeout: server.read_timeout,
        write_timeout: server.write_timeout,
        keep_alive: KEEP_ALIVE,
        connections_max: server.connections_max,
        body_max: server.body_limit,
        trusted_proxies: server.trusted_proxies.clone(),
        cors_origins: security.cors_enabled.then(|| security.cors_origins.clone()),
        rate: security
            .rate_limit_enabled
            .then_some(Rate { requests: security.rate_limit_requests, window: security.rate_limit_window }),
        token_lifetime: config.jwt.expiration,
        ..ServerOptions::default()
    })
}

fn resolve(what: &'static str, host: &str, port: u16) -> Result<SocketAddr, BindError> {
    let found =
        (host, port).to_socket_addrs().map_err(|error| BindError::Host { what, host: host.to_owned(), error })?;
    let nothing = || std::io::Error::other("it has no address");
    let mut found = found;
    found.next().ok_or_else(|| BindError::Host { what, host: host.to_owned(), error: nothing() })
}

/// The key that signs tokens: the configured one, else one of chance, which ends every session with the process.
pub fn key(config: &Config) -> Result<SecretString, BindError> {
    match &config.jwt.secret_key {
        Some(key) => Ok(key.clone()),
        None => qcat_io::secret::jwt::random_key().map_err(|error| BindError::Key(error.to_string())),
    }
}

/// A server that holds its ports and waits to be run.
pub struct Prepared {
    sockets: Sockets,
    key: SecretString,
    store: StoreSlot,
    watch: Arc<dyn Watch>,
    beside: Beside,
}

/// Takes the ports and reads the certificate. What can go wrong at the start goes wrong here.
pub fn prepare(
    config: &Config,
    store: StoreSlot,
    watch: Arc<dyn Watch>,
    beside: Beside,
) -> Result<Prepared, BindError> {
    let key = key(config)?;
    Tokens::new(&key).map_err(|error| BindError::Key(error.to_string()))?;
    let sockets = Sockets::bind(options(config)?)?;
    Ok(Prepared { sockets, key, store, watch, beside })
}

impl Prepared {
    /// The work of `http_server`. `commands` gives out ids: there is one of it in a process.
    pub fn work(self, console: &Console, commands: Commands) -> Work {
        let (prepared, console) = (Arc::new(self), console.clone());
        Work::default().child("api", BOUND, move |context| {
            run(prepared.clone(), Live::new(console.clone(), commands.clone()), context)
        })
    }

    fn parts(&self, live: Live) -> Result<ApiParts, String> {
        Ok(ApiParts {
            system: Arc::new(live),
            users: Arc::new(self.store.clone()),
            store: self.store.clone(),
            tokens: Tokens::new(&self.key).map_err(|error| error.to_string())?,
            watch: self.watch.clone(),
            beside: self.beside.clone(),
        })
    }
}

async fn run(prepared: Arc<Prepared>, live: Live, context: ServiceContext) -> Result<(), String> {
    let bound = prepared.sockets.serve(prepared.parts(live)?).map_err(|error| error.to_string())?;
    context.facts.set("listen", bound.address.to_string());
    if let Some(address) = bound.metrics_address {
        context.facts.set("metrics_listen", address.to_string());
    }
    tracing::info!(address = %bound.address, "the API listens");
    let (handle, mut ended) = (bound.handle(), Box::pin(bound.run()));
    let mut beats = tokio::time::interval(BEAT);
    let stop = context.stop.clone();
    let mut stopping = Box::pin(async move {
        stop.wanted().await;
        handle.stop(true).await;
    });
    let mut stopped = false;
    loop {
        tokio::select! {
            end = &mut ended => return match end {
                Ok(()) if context.stop.is_set() => Ok(()),
                Ok(()) => Err("the server ended by itself".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            () = &mut stopping, if !stopped => stopped = true,
            _ = beats.tick() => context.beat.beat(),
        }
    }
}
