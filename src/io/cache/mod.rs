//! The cache: in the process first, Redis behind it. Nothing in it is durable, and no caller ever sees that Redis is away.
//!
//! A breaker with hysteresis stands before Redis: some failed attempts in a row open it, then a prober on the cache's own thread
//! asks until Redis has answered several times in a row. What was written or deleted meanwhile is deleted in Redis before it is
//! read again. It may not decide anything, and nothing may depend on a value still being there.
//!
//! Tests: `tests/cache_redis.rs`, against a real server that is killed, restarted and stopped.

mod breaker;
mod redis;

use crate::store::runtime::Background;
use breaker::Breaker;
use bytes::Bytes;
use moka::future::Cache as Local;
use moka::policy::Expiry;
use redis::{Failed, Redis};
use secrecy::SecretString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How the cache is set up.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Bytes that it may hold in the process, keys included.
    pub bytes_max: u64,
    /// How long a value that came from Redis is kept in the process: so much later, at most, a change by another node is seen.
    pub local_ttl_max: Duration,
    /// Redis; `None`: in the process alone.
    pub redis: Option<RedisOptions>,
}

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `host:port`, or the path of a Unix socket.
    pub addr: String,
    /// Its password; `None`: it wants none.
    pub password: Option<SecretString>,
    /// The database's number.
    pub db: u32,
    /// Connections at most, 1 at least.
    pub pool_size: u32,
    /// Idle connections that are kept ready.
    pub min_idle_conns: u32,
    /// Times that a call whose connection broke is tried again.
    pub max_retries: u32,
    /// Longest wait for a connection, new or not. Above zero.
    pub dial_timeout: Duration,
    /// Longest wait for the answer to a read. Above zero.
    pub read_timeout: Duration,
    /// Longest wait for the answer to a write. Above zero.
    pub write_timeout: Duration,
}

/// The options make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cache: {0}")]
pub struct CacheError(String);

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisState {
    /// Not configured.
    None,
    /// It answers.
    Up,
    /// It is away, for this reason; the cache is in the process alone.
    Down(String),
}

/// The cache in numbers, since the start where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheStats {
    /// Where Redis is.
    pub redis: RedisState,
    /// Values in the process now, as far as it is settled.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Reads answered in the process.
    pub hits: u64,
    /// Reads answered by Redis.
    pub redis_hits: u64,
    /// Reads without an answer.
    pub misses: u64,
    /// Attempts at Redis that failed.
    pub redis_failures: u64,
    /// Times that the breaker opened.
    pub redis_trips: u64,
    /// Open connections to Redis now.
    pub connections: u32,
    /// Idle ones of them.
    pub idle: u32,
    /// Keys that must be deleted in Redis before they are read from it again.
    pub dirty: u64,
}

/// A count in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// This one included.
    pub count: u64,
    /// When the window ends.
    pub ends_in: Duration,
    /// Whether other nodes were counted, too.
    pub shared: bool,
}

/// The cache. Clones are the same cache.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    values: Local<Arc<str>, Entry>,
    counters: Local<Arc<str>, Arc<Window>>,
    local_ttl_max: Duration,
    remote: Option<Remote>,
    hits: AtomicU64,
    redis_hits: AtomicU64,
    misses: AtomicU64,
}

/// Redis, its breaker, and the thread where its sockets live.
struct Remote {
    redis: Arc<Redis>,
    breaker: Arc<Breaker>,
    background: Background,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    ttl: Duration,
}

struct Window {
    ends: Instant,
    count: AtomicU64,
}

/// Each value lives as long as its own time says.
struct OwnTtl;

impl Expiry<Arc<str>, Entry> for OwnTtl {
    fn expire_after_create(&self, _: &Arc<str>, entry: &Entry, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(&self, _: &Arc<str>, entry: &Entry, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.ttl)
    }
}

impl Expiry<Arc<str>, Arc<Window>> for OwnTtl {
    fn expire_after_create(&self, _: &Arc<str>, window: &Arc<Window>, now: Instant) -> Option<Duration> {
        Some(window.ends.saturating_duration_since(now))
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cache").field(&self.stats()).finish()
    }
}

impl Cache {
    /// Windows that are counted at once, at most.
    const COUNTERS_MAX: u64 = 100_000;

    /// Starts the cache. It does not wait for Redis.
    pub fn start(options: CacheOptions) -> Result<Cache, CacheError> {
        let weigh =
            |key: &Arc<str>, entry: &Entry| u32::try_from(key.len() + entry.value.len() + 64).unwrap_or(u32::MAX);
        let values = Local::builder().max_capacity(options.bytes_max).weigher(weigh).expire_after(OwnTtl).build();
        let counters = Local::builder().max_capacity(Self::COUNTERS_MAX).expire_after(OwnTtl).build();
        let remote = options.redis.map(Remote::start).transpose()?;
        let (hits, redis_hits, misses) = Default::default();
        let local_ttl_max = options.local_ttl_max;
        Ok(Cache(Arc::new(Inner { values, counters, local_ttl_max, remote, hits, redis_hits, misses })))
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Option<Bytes> {
        let inner = &self.0;
        if let Some(entry) = inner.values.get(key).await {
            inner.hits.fetch_add(1, Ordering::Relaxed);
            return Some(entry.value);
        }
        let found = match &inner.remote {
            Some(remote) if !remote.breaker.is_dirty(key) => {
                let (redis, name) = (remote.redis.clone(), key.to_owned());
                remote.ask(async move { redis.get(&name).await }).await.flatten()
            }
            _ => None,
        };
        let Some((value, left)) = found else {
            inner.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        inner.redis_hits.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { value: value.clone(), ttl: left.min(inner.local_ttl_max) };
        inner.values.insert(key.into(), entry).await;
        Some(value)
    }

    /// Keeps a value for `ttl`.
    pub async fn set(&self, key: &str, value: Bytes, ttl: Duration) {
        if ttl < Duration::from_millis(1) {
            return self.delete(key).await;
        }
        let inner = &self.0;
        inner.values.insert(key.into(), Entry { value: value.clone(), ttl }).await;
        if let Some(remote) = &inner.remote {
            let (redis, name) = (remote.redis.clone(), key.to_owned());
            remote.change(key, async move { redis.set(&name, &value, ttl).await }).await;
        }
    }

    /// Forgets a key. Other nodes may still have it for [`CacheOptions::local_ttl_max`].
    pub async fn delete(&self, key: &str) {
        self.0.values.invalidate(key).await;
        if let Some(remote) = &self.0.remote {
            let (redis, name) = (remote.redis.clone(), key.to_owned());
            remote.change(key, async move { redis.delete(&[name]).await }).await;
        }
    }

    /// Counts one under a key, in windows of this length: for rate limits. While Redis is away each node counts for itself, and
    /// never from less than it counted before.
    pub async fn count(&self, key: &str, window: Duration) -> Counted {
        let inner = &self.0;
        let fresh = async { Arc::new(Window { ends: Instant::now() + window, count: AtomicU64::new(0) }) };
        let local = inner.counters.get_with(key.into(), fresh).await;
        let count = local.count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let ends_in = local.ends.saturating_duration_since(Instant::now());
        let shared = match &inner.remote {
            Some(remote) => {
                let (redis, name) = (remote.redis.clone(), key.to_owned());
                remote.ask(async move { redis.count(&name, window).await }).await
            }
            None => None,
        };
        match shared {
            Some((shared, left)) => Counted { count: count.max(shared), ends_in: ends_in.max(left), shared: true },
            None => Counted { count, ends_in, shared: false },
        }
    }

    /// Where Redis is.
    pub fn redis(&self) -> RedisState {
        self.0.remote.as_ref().map_or(RedisState::None, |remote| remote.breaker.state())
    }

    /// The cache in numbers.
    pub fn stats(&self) -> CacheStats {
        let inner = &self.0;
        let (failures, trips, dirty) = inner.remote.as_ref().map_or((0, 0, 0), |remote| remote.breaker.counts());
        let (connections, idle) = inner.remote.as_ref().map_or((0, 0), |remote| remote.redis.connections());
        CacheStats {
            redis: self.redis(),
            entries: inner.values.entry_count(),
            bytes: inner.values.weighted_size(),
            hits: inner.hits.load(Ordering::Relaxed),
            redis_hits: inner.redis_hits.load(Ordering::Relaxed),
            misses: inner.misses.load(Ordering::Relaxed),
            redis_failures: failures,
            redis_trips: trips,
            connections,
            idle,
            dirty,
        }
    }

    /// Drops all values of this process; those in Redis stay.
    pub fn clear_local(&self) {
        self.0.values.invalidate_all();
    }
}

impl Remote {
    fn start(options: RedisOptions) -> Result<Remote, CacheError> {
        let background =
            Background::start("qcat-redis").map_err(|e| CacheError(format!("no thread for Redis: {e}")))?;
        let (redis, breaker) = (background.within(|| Redis::new(&options))?, Arc::new(Breaker::new()));
        let redis = Arc::new(redis);
        background.spawn(probe(Arc::downgrade(&redis), breaker.clone()));
        Ok(Remote { redis, breaker, background })
    }

    /// Asks Redis, unless the breaker is open; `None`: no answer.
    async fn ask<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Option<T> {
        if !self.breaker.is_closed() {
            return None;
        }
        let breaker = self.breaker.clone();
        let done = self.background.run(async move { breaker.watch(call.await) });
        done.await.ok().flatten()
    }

    /// Changes a key in Redis. If that did not go well the key is deleted there later.
    async fn change(&self, key: &str, call: impl Future<Output = Result<(), Failed>> + Send + 'static) {
        // Marked before: nobody reads the old value while the new one is on its way.
        let mark = self.breaker.mark(key);
        if self.ask(call).await.is_some() {
            self.breaker.unmark(key, mark);
        }
    }
}

/// Asks Redis from time to time, closes the breaker when it answers, and deletes what it holds that is old.
async fn probe(redis: Weak<Redis>, breaker: Arc<Breaker>) {
    loop {
        let Some(redis) = redis.upgrade() else { return };
        if breaker.wants_probe() {
            match redis.ping().await {
                Ok(()) => {
                    let dirty = breaker.dirty();
                    let names: Vec<String> = dirty.iter().map(|(key, _)| key.to_string()).collect();
                    let cleaned = if names.is_empty() { Ok(()) } else { redis.delete(&names).await };
                    match cleaned {
                        Ok(()) => {
                            dirty.into_iter().for_each(|(key, mark)| breaker.unmark(&key, mark));
                            breaker.answered();
                        }
                        Err(failed) => breaker.failed(&failed.reason),
                    }
                }
                Err(failed) => breaker.failed(&failed.reason),
            }
        }
        drop(redis);
        tokio::time::sleep(Breaker::PROBE_EVERY).await;
    }
}
