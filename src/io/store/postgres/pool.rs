//! The pool: bb8, with a cap on idle connections, statements prepared once per connection, and errors that say why.

use super::errors::chain;
use super::{Failure, classify, tls};
use crate::store::{PoolStats, PostgresOptions, SslMode, StoreError};
use bb8::{ManageConnection, Pool, PooledConnection, RunError};
use bb8_postgres::PostgresConnectionManager;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Prepared statements of a connection at most; beyond that all are forgotten.
const PREPARED_MAX: usize = 256;

/// How to make a connection.
pub(super) struct Settings {
    config: Config,
    tls: MakeRustlsConnect,
}

/// The driver's settings; the fault in ours, if there is one.
pub(super) fn settings(options: &PostgresOptions) -> Result<Settings, StoreError> {
    let zero = [options.connect_timeout, options.statement_timeout].contains(&Duration::ZERO);
    if options.max_open_conns == 0 || zero {
        return Err(StoreError::Invalid(
            "max_open_conns, connect_timeout and statement_timeout must be above zero".into(),
        ));
    }
    let limit = options.statement_timeout.as_millis().min(i32::MAX as u128);
    let mut config = Config::new();
    config
        .host(&options.host)
        .port(options.port)
        .user(&options.user)
        .dbname(&options.name)
        .application_name("qcat")
        // A transaction that we forgot, or whose end got lost, must not keep others out for ever.
        .options(format!(
            "-c statement_timeout={limit} -c idle_in_transaction_session_timeout={} -c timezone=UTC",
            limit.saturating_mul(4).min(i32::MAX as u128)
        ))
        .connect_timeout(options.connect_timeout)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(options.statement_timeout.saturating_add(Duration::from_secs(10)));
    if let Some(password) = &options.password {
        config.password(password.expose_secret());
    }
    config.ssl_mode(match options.ssl_mode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
        _ => tokio_postgres::config::SslMode::Require,
    });
    Ok(Settings { config, tls: tls::connector(&options.ssl_mode)? })
}

/// A connection.
pub(super) struct Connection {
    client: Client,
    prepared: HashMap<String, Statement>,
    /// Something of it may not be over: it is closed instead of used again.
    unsettled: bool,
    shared: Arc<Shared>,
}

impl Connection {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Prepares a statement, once.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(sql).await?;
        if self.prepared.len() >= PREPARED_MAX {
            self.prepared.clear();
        }
        self.prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What connections and those who wait for them know of each other.
#[derive(Debug, Default)]
struct Shared {
    open: AtomicU32,
    in_use: AtomicU32,
    waiting: AtomicU32,
    max_idle: u32,
    /// Why the last connection could not be made.
    failure: Mutex<Option<StoreError>>,
    failed: Notify,
}

impl Shared {
    fn failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_failure(&self, failure: Option<StoreError>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// Counts up while it lives.
struct Count<'a>(&'a AtomicU32);

impl<'a> Count<'a> {
    fn up(counter: &'a AtomicU32) -> Count<'a> {
        counter.fetch_add(1, Ordering::Relaxed);
        Count(counter)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Manager {
    inner: PostgresConnectionManager<MakeRustlsConnect>,
    timeout: Duration,
    shared: Arc<Shared>,
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = StoreError;

    async fn connect(&self) -> Result<Connection, StoreError> {
        // The driver's own limit ends with the TCP connection; a server may be silent after that.
        let made = match tokio::time::timeout(self.timeout, self.inner.connect()).await {
            Ok(made) => made.map_err(|error| match classify(&error) {
                StoreError::Unavailable(_) if error.as_db_error().is_none() => StoreError::Unavailable(chain(&error)),
                other => other,
            }),
            Err(_) => Err(StoreError::Unavailable(format!("no connection within {:?}", self.timeout))),
        };
        match made {
            Ok(client) => {
                self.shared.set_failure(None);
                self.shared.open.fetch_add(1, Ordering::Relaxed);
                Ok(Connection { client, prepared: HashMap::new(), unsettled: false, shared: self.shared.clone() })
            }
            Err(error) => {
                self.shared.set_failure(Some(error.clone()));
                self.shared.failed.notify_waiters();
                Err(error)
            }
        }
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), StoreError> {
        if connection.client.is_closed() { Err(StoreError::Unavailable("closed".to_owned())) } else { Ok(()) }
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        let shared = &self.shared;
        let idle = shared.open.load(Ordering::Relaxed).saturating_sub(shared.in_use.load(Ordering::Relaxed));
        let surplus = idle > shared.max_idle && shared.waiting.load(Ordering::Relaxed) == 0;
        connection.unsettled || connection.client.is_closed() || surplus
    }
}

/// The pool.
#[derive(Clone)]
pub(super) struct Connections {
    /// `None` once it is closed.
    pool: Arc<Mutex<Option<Pool<Manager>>>>,
    shared: Arc<Shared>,
    options: (u32, Duration),
}

impl Connections {
    /// A pool; nothing is connected yet. Needs a runtime around it.
    pub(super) fn new(options: &PostgresOptions, settings: Settings) -> Connections {
        let shared = Arc::new(Shared { max_idle: options.max_idle_conns, ..Shared::default() });
        let inner = PostgresConnectionManager::new(settings.config, settings.tls);
        let manager = Manager { inner, timeout: options.connect_timeout, shared: shared.clone() };
        let age = |limit: Duration| Some(limit).filter(|limit| !limit.is_zero());
        let ages = [age(options.conn_max_lifetime), age(options.conn_max_idle_time)];
        let reap = ages.iter().flatten().min().map_or(Duration::from_secs(30), |shortest| *shortest / 2);
        let pool = Pool::builder()
            .max_size(options.max_open_conns)
            .max_lifetime(ages[0])
            .idle_timeout(ages[1])
            .reaper_rate(reap.clamp(Duration::from_millis(50), Duration::from_secs(30)))
            .connection_timeout(options.connect_timeout)
            // Who asks next tries next; nothing dials in the background while nobody wants anything.
            .retry_connection(false)
            .build_unchecked(manager);
        let options = (options.max_open_conns, options.connect_timeout);
        Connections { pool: Arc::new(Mutex::new(Some(pool))), shared, options }
    }

    fn pool(&self) -> Option<Pool<Manager>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn take(&self) -> Result<PooledConnection<'static, Manager>, StoreError> {
        let pool = self.pool().ok_or_else(|| StoreError::Unavailable("it is closed".to_owned()))?;
        let _waiting = Count::up(&self.shared.waiting);
        let failed = async {
            loop {
                self.shared.failed.notified().await;
                // While others are open, one of them will come back.
                if self.shared.open.load(Ordering::Relaxed) == 0 {
                    return;
                }
            }
        };
        let (max, timeout) = self.options;
        let why = |otherwise: &str| {
            let text = format!("{otherwise} within {timeout:?} ({max} connections at most)");
            self.shared.failure().unwrap_or(StoreError::Unavailable(text))
        };
        tokio::select! {
            biased;
            () = failed => Err(why("no connection")),
            taken = pool.get_owned() => taken.map_err(|error| match error {
                RunError::TimedOut => why("no connection became free"),
                RunError::User(error) => error,
            }),
        }
    }

    /// Works with a connection for at most `limit`. One that did not come to a clean end is closed.
    pub(super) async fn with<T, W>(&self, limit: Duration, work: W) -> Result<T, StoreError>
    where
        W: for<'a> FnOnce(&'a mut Connection) -> BoxFuture<'a, Result<T, Failure>> + Send,
    {
        let mut connection = self.take().await?;
        let in_use = Count::up(&self.shared.in_use);
        connection.unsettled = true;
        let done = tokio::time::timeout(limit, work(&mut connection)).await;
        connection.unsettled = !matches!(done, Ok(Ok(_) | Err(Failure::Store(_))));
        // Before the connection goes back, so that it counts as idle there.
        drop(in_use);
        match done {
            Ok(done) => done.map_err(Failure::into_store),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {limit:?}"))),
        }
    }

    /// The connections at this moment.
    pub(super) fn stats(&self) -> PoolStats {
        let shared = &self.shared;
        let (open, in_use) = (shared.open.load(Ordering::Relaxed), shared.in_use.load(Ordering::Relaxed));
        let past = self.pool().map(|pool| pool.state().statistics);
        PoolStats {
            max: self.options.0,
            open,
            idle: open.saturating_sub(in_use),
            in_use,
            waiting: shared.waiting.load(Ordering::Relaxed),
            waits: past.as_ref().map_or(0, |past| past.get_waited + past.get_timed_out),
            timeouts: past.as_ref().map_or(0, |past| past.get_timed_out),
            waited: past.map_or(Duration::ZERO, |past| past.get_wait_time),
        }
    }

    /// Lets nobody in any more and waits, for at most `limit`, until those inside are done.
    pub(super) async fn close(&self, limit: Duration) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = async {
            while self.shared.open.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // What is not over then is cut off with the thread.
        let _ = tokio::time::timeout(limit, ended).await;
    }
}
