//! The cache against a real Redis: shared, away, back, slow, with a wrong password.

#[path = "support/redis.rs"]
mod redis;

use qcat_io::cache::{Cache, CacheOptions, RedisOptions, RedisState};
use redis::Redis;
use std::time::{Duration, Instant};

const PASSWORD: &str = "planted-redis-secret";
const LONG: Duration = Duration::from_secs(600);

fn options(redis: &Redis) -> CacheOptions {
    let redis = RedisOptions {
        addr: redis.addr(),
        password: Some(PASSWORD.to_owned().into()),
        db: 3,
        pool_size: 4,
        min_idle_conns: 1,
        max_retries: 2,
        dial_timeout: Duration::from_millis(500),
        read_timeout: Duration::from_millis(300),
        write_timeout: Duration::from_millis(300),
    };
    CacheOptions { bytes_max: 1 << 20, local_ttl_max: Duration::from_secs(60), redis: Some(redis) }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn up(redis: &Redis) -> Cache {
    let cache = Cache::start(options(redis)).expect("started");
    until("Redis is up", async || cache.redis() == RedisState::Up).await;
    cache
}

#[tokio::test]
async fn alone_it_keeps_values_for_their_time() {
    let cache = Cache::start(CacheOptions { bytes_max: 10_000, local_ttl_max: LONG, redis: None }).expect("started");
    assert_eq!(cache.redis(), RedisState::None);
    assert_eq!(cache.get("a").await, None);
    cache.set("a", "1".into(), LONG).await;
    cache.set("b", "2".into(), Duration::from_millis(30)).await;
    assert_eq!(cache.get("a").await.as_deref(), Some(&b"1"[..]));
    until("b ends", async || cache.get("b").await.is_none()).await;
    cache.set("a", "3".into(), LONG).await;
    assert_eq!(cache.get("a").await.as_deref(), Some(&b"3"[..]));
    cache.delete("a").await;
    assert_eq!(cache.get("a").await, None);
    for n in 1..=3 {
        let counted = cache.count("who", LONG).await;
        assert_eq!((counted.count, counted.shared), (n, false));
        assert!(counted.ends_in <= LONG);
    }
    assert_eq!(cache.count("other", Duration::from_millis(40)).await.count, 1);
    until("a new window", async || {
        tokio::time::sleep(Duration::from_millis(60)).await;
        cache.count("other", Duration::from_millis(40)).await.count == 1
    })
    .await;
    // Bounded: what does not fit goes.
    for n in 0..1_000 {
        cache.set(&format!("k{n}"), vec![0; 100].into(), LONG).await;
    }
    until("it shrinks", async || {
        cache.get("k0").await;
        cache.stats().bytes <= 10_000
    })
    .await;
}

#[tokio::test]
async fn two_nodes_share_values_and_counts() {
    let server = Redis::start(Some(PASSWORD));
    let (one, two) = (up(&server).await, up(&server).await);
    one.set("k", "v\0\u{fe}".into(), LONG).await;
    assert_eq!(two.get("k").await.as_deref(), Some("v\0\u{fe}".as_bytes()));
    assert_eq!(two.get("nothing").await, None);
    assert_eq!(two.redis(), RedisState::Up, "a miss is no failure");
    let stats = two.stats();
    assert_eq!((stats.redis_hits, stats.misses, stats.redis_failures), (1, 1, 0));
    one.delete("k").await;
    two.clear_local();
    assert_eq!(two.get("k").await, None);
    let mut counts = Vec::new();
    for _ in 0..20 {
        let (a, b) = tokio::join!(one.count("ip", LONG), two.count("ip", LONG));
        assert!(a.shared && b.shared);
        counts.extend([a.count, b.count]);
    }
    counts.sort();
    assert_eq!(counts, (1..=40).collect::<Vec<_>>(), "each number once");
    // In its own database, under its own prefix, with an end.
    assert!(
        server.command(&["INFO", "keyspace"]).contains("db3:keys=1,expires=1"),
        "{}",
        server.command(&["INFO", "keyspace"])
    );
    assert_eq!(one.count("fresh", Duration::from_millis(200)).await.count, 1);
    until("a new shared window", async || {
        tokio::time::sleep(Duration::from_millis(250)).await;
        two.count("fresh", Duration::from_millis(200)).await.count == 1
    })
    .await;
}

#[tokio::test]
async fn killed_it_is_alone_and_restarted_it_is_back() {
    let mut server = Redis::start(Some(PASSWORD));
    let cache = up(&server).await;
    cache.set("k", "1".into(), LONG).await;
    assert!(cache.count("ip", LONG).await.shared);
    server.kill();
    until("down", async || {
        cache.get("missing").await;
        matches!(cache.redis(), RedisState::Down(_))
    })
    .await;
    assert_eq!(cache.get("k").await.as_deref(), Some(&b"1"[..]), "in the process alone");
    let counted = cache.count("ip", LONG).await;
    assert_eq!((counted.count, counted.shared), (2, false), "it counts on, not anew");
    cache.set("new", "2".into(), LONG).await;
    assert_eq!(cache.get("new").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(cache.stats().redis_trips, 1);
    server.resume();
    until("back by itself", async || cache.redis() == RedisState::Up).await;
    let counted = cache.count("ip", LONG).await;
    assert_eq!((counted.count, counted.shared), (3, true), "never less than before");
    cache.set("again", "3".into(), LONG).await;
    cache.clear_local();
    assert_eq!(cache.get("again").await.as_deref(), Some(&b"3"[..]));
}

#[tokio::test]
async fn a_slow_server_is_left_alone_and_its_old_values_do_not_come_back() {
    let server = Redis::start(Some(PASSWORD));
    let cache = up(&server).await;
    cache.set("changed", "old".into(), LONG).await;
    cache.set("deleted", "old".into(), LONG).await;
    server.freeze(true);
    cache.set("changed", "new".into(), LONG).await;
    cache.delete("deleted").await;
    until("down", async || {
        cache.get("missing").await;
        matches!(cache.redis(), RedisState::Down(_))
    })
    .await;
    assert!(cache.stats().dirty >= 2, "{:?}", cache.stats());
    assert_eq!(cache.get("deleted").await, None);
    server.freeze(false);
    until("back", async || cache.redis() == RedisState::Up && cache.stats().dirty == 0).await;
    cache.clear_local();
    assert_eq!(cache.get("deleted").await, None);
    let changed = cache.get("changed").await;
    assert_ne!(changed.as_deref(), Some(&b"old"[..]));
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Redis::start(Some("another one"));
    let cache = Cache::start(options(&server)).expect("started");
    until("the reason", async || matches!(cache.redis(), RedisState::Down(reason) if reason.contains("uthenticat")))
        .await;
    cache.set("k", "v".into(), LONG).await;
    assert_eq!(cache.get("k").await.as_deref(), Some(&b"v"[..]));
    assert!(!format!("{cache:?}{:?}{:?}", cache.redis(), options(&server)).contains(PASSWORD));
}

#[tokio::test]
async fn bad_options_are_refused() {
    let server = Redis::start(None);
    type Change = fn(&mut RedisOptions);
    let changes: [Change; 6] = [
        |o| o.addr = "nowhere".to_owned(),
        |o| o.addr = ":6379".to_owned(),
        |o| o.addr = "host:99999".to_owned(),
        |o| o.pool_size = 0,
        |o| o.read_timeout = Duration::ZERO,
        |o| o.dial_timeout = Duration::ZERO,
    ];
    for change in changes {
        let mut bad = options(&server);
        change(bad.redis.as_mut().expect("set"));
        Cache::start(bad).expect_err("refused");
    }
}
