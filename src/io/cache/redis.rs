//! Redis through a bb8 pool: bounded calls, retried where the connection broke.

use super::{CacheError, RedisOptions};
use bb8::{ManageConnection, Pool, RunError};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    Script,
};
use secrecy::ExposeSecret;
use std::time::Duration;

/// Before every key, so that others may use the same database.
const PREFIX: &str = "qcat:";
/// Counts, and begins a window when there is none. One step for Redis, so a window never stays without an end.
const COUNT: &str = "local n = redis.call('INCR', KEYS[1]) \
                     local left = redis.call('PTTL', KEYS[1]) \
                     if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) left = tonumber(ARGV[1]) end \
                     return {n, left}";

/// A call that came to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why; without the password.
    pub reason: String,
    /// Attempts that were made.
    pub attempts: u32,
}

struct Manager {
    client: Client,
    dial_timeout: Duration,
}

struct Connection {
    inner: MultiplexedConnection,
    /// Something of it may not be over: it is closed instead of used again.
    unsettled: bool,
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = RedisError;

    async fn connect(&self) -> Result<Connection, RedisError> {
        // Our own limits are around every call.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.dial_timeout)).set_response_timeout(None);
        let made = self.client.get_multiplexed_async_connection_with_config(&config);
        // Name and password are sent after the connection stands, by calls without a limit.
        match tokio::time::timeout(self.dial_timeout, made).await {
            Ok(made) => Ok(Connection { inner: made?, unsettled: false }),
            Err(_) => Err((ErrorKind::Io, "no connection in time").into()),
        }
    }

    async fn is_valid(&self, _: &mut Connection) -> Result<(), RedisError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.unsettled
    }
}

/// Keeps the newest reason why no connection could be made.
#[derive(Debug, Clone)]
struct Reasons(tokio::sync::watch::Sender<Option<String>>);

impl bb8::ErrorSink<RedisError> for Reasons {
    fn sink(&self, error: RedisError) {
        self.0.send_replace(Some(error.to_string()));
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<RedisError>> {
        Box::new(self.clone())
    }
}

/// Redis.
pub(super) struct Redis {
    pool: Pool<Manager>,
    reasons: tokio::sync::watch::Sender<Option<String>>,
    count: Script,
    retries: u32,
    dial: Duration,
    read: Duration,
    write: Duration,
}

fn client(options: &RedisOptions) -> Result<Client, CacheError> {
    let wrong = || CacheError(format!("redis.addr {} is not host:port, nor the path of a socket", options.addr));
    let addr = if options.addr.starts_with('/') {
        ConnectionAddr::Unix(options.addr.clone().into())
    } else {
        let (host, port) = options.addr.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        ConnectionAddr::Tcp(host.to_owned(), port.parse().map_err(|_| wrong())?)
    };
    let mut settings = RedisConnectionInfo::default().set_db(i64::from(options.db));
    if let Some(password) = &options.password {
        settings = settings.set_password(password.expose_secret());
    }
    let info = addr.into_connection_info().map_err(|_| wrong())?.set_redis_settings(settings);
    Client::open(info).map_err(|e| CacheError(e.to_string()))
}

impl Redis {
    /// A pool; nothing is connected yet. Needs a runtime around it.
    pub(super) fn new(options: &RedisOptions) -> Result<Redis, CacheError> {
        let RedisOptions { dial_timeout, read_timeout, write_timeout, .. } = *options;
        if options.pool_size == 0 || [dial_timeout, read_timeout, write_timeout].contains(&Duration::ZERO) {
            return Err(CacheError("redis.pool_size and its timeouts must be above zero".to_owned()));
        }
        let (reasons, _) = tokio::sync::watch::channel(None);
        let pool = Pool::builder()
            .max_size(options.pool_size)
            .min_idle(options.min_idle_conns.min(options.pool_size))
            .connection_timeout(dial_timeout)
            .test_on_check_out(false)
            .retry_connection(false)
            .error_sink(Box::new(Reasons(reasons.clone())))
            .build_unchecked(Manager { client: client(options)?, dial_timeout });
        let (read, write) = (read_timeout, write_timeout);
        let retries = options.max_retries;
        Ok(Redis { pool, reasons, count: Script::new(COUNT), retries, dial: dial_timeout, read, write })
    }

    /// Calls, and calls again where the connection broke. An answer that does not come in time is not waited for twice.
    async fn call<T, F>(&self, limit: Duration, call: impl Fn(MultiplexedConnection) -> F) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failed = |reason: String| Failed { reason, attempts };
            let mut connection = self.take().await.map_err(failed)?;
            connection.unsettled = true;
            let done = tokio::time::timeout(limit, call(connection.inner.clone())).await;
            match done {
                Ok(Ok(value)) => {
                    connection.unsettled = false;
                    return Ok(value);
                }
                Ok(Err(error)) if error.is_io_error() && attempts <= self.retries => {
                    drop(connection);
                    let pause = Duration::from_millis(8 << attempts.min(6));
                    tokio::time::sleep(pause).await;
                }
                Ok(Err(error)) => return Err(failed(error.to_string())),
                Err(_) => return Err(failed(format!("no answer within {limit:?}"))),
            }
        }
    }

    async fn take(&self) -> Result<bb8::PooledConnection<'_, Manager>, String> {
        let mut reasons = self.reasons.subscribe();
        let refused = async {
            // While there are connections, one of them will come back.
            while reasons.changed().await.is_err() || self.pool.state().connections > 0 {}
            reasons.borrow().clone()
        };
        tokio::select! {
            biased;
            reason = refused => Err(reason.unwrap_or_default()),
            taken = self.pool.get() => taken.map_err(|error| match error {
                RunError::TimedOut => format!("no connection became free within {:?}", self.dial),
                RunError::User(error) => error.to_string(),
            }),
        }
    }

    pub(super) async fn ping(&self) -> Result<(), Failed> {
        let ping = |mut c| async move { redis::cmd("PING").query_async::<()>(&mut c).await };
        self.call(self.read, ping).await
    }

    /// The value of a key and how long it lives.
    pub(super) async fn get(&self, key: &str) -> Result<Option<(Bytes, Duration)>, Failed> {
        let mut pipe = redis::pipe();
        pipe.cmd("GET").arg(named(key)).cmd("PTTL").arg(named(key));
        let pipe = &pipe;
        let get = |mut c| async move { pipe.query_async::<(Option<Vec<u8>>, i64)>(&mut c).await };
        let (value, left) = self.call(self.read, get).await?;
        // Between the two its time may have come.
        let left = u64::try_from(left).ok().filter(|left| *left > 0);
        Ok(value.zip(left).map(|(value, left)| (Bytes::from(value), Duration::from_millis(left))))
    }

    pub(super) async fn set(&self, key: &str, value: &Bytes, ttl: Duration) -> Result<(), Failed> {
        let mut cmd = redis::cmd("SET");
        cmd.arg(named(key)).arg(value.as_ref()).arg("PX").arg(millis(ttl));
        self.change(&cmd).await
    }

    pub(super) async fn delete(&self, keys: &[String]) -> Result<(), Failed> {
        let mut cmd = redis::cmd("UNLINK");
        for key in keys {
            cmd.arg(named(key));
        }
        self.change(&cmd).await
    }

    async fn change(&self, cmd: &redis::Cmd) -> Result<(), Failed> {
        self.call(self.write, |mut c| async move { cmd.query_async::<()>(&mut c).await }).await
    }

    /// Counts one; the count, and when its window ends.
    pub(super) async fn count(&self, key: &str, window: Duration) -> Result<(u64, Duration), Failed> {
        let mut call = self.count.prepare_invoke();
        call.key(named(key)).arg(millis(window));
        let call = &call;
        let count = |mut c| async move { call.invoke_async::<(u64, u64)>(&mut c).await };
        let (count, left) = self.call(self.write, count).await?;
        Ok((count, Duration::from_millis(left)))
    }

    /// Open connections, and idle ones.
    pub(super) fn connections(&self) -> (u32, u32) {
        let state = self.pool.state();
        (state.connections, state.idle_connections)
    }
}

fn named(key: &str) -> String {
    format!("{PREFIX}{key}")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 1_000)
}
