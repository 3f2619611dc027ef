//! The loops of the services that stand as libraries: the cache, the health checks, the memory manager, the searches.

use super::checks::{Looked, checks};
use super::look::Look;
use crate::config::Config;
use crate::health::{Checker, HealthBoard};
use crate::memory::{Manager, MemoryAlert, MemoryBoard};
use crate::optimize::{self, OptimizerHandle};
use qcat_actors::runtime::service::{ServiceContext, Work};
use qcat_actors::runtime::system::Tree;
use qcat_core::strategy::registry::Registry;
use qcat_io::cache::{Cache, CacheOptions, RedisOptions, RedisState};
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::resources::Machine;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Without a sign of life for this long a loop counts as stalled; each gives one every second.
const BOUND: Duration = Duration::from_secs(30);
/// How often the cache's facts are told.
const TELL: Duration = Duration::from_secs(1);
/// How often the queues are looked at for the memory manager.
const LOOK: Duration = Duration::from_secs(5);
/// Bytes that the cache may hold in the process.
const CACHE_BYTES: u64 = 16 << 20;
/// How late a change of another node may be seen.
const CACHE_TTL: Duration = Duration::from_secs(5);

/// How the cache is set up.
pub(super) fn cache_options(config: &Config) -> CacheOptions {
    let redis = &config.redis;
    let behind = |addr: &String| RedisOptions {
        addr: addr.clone(),
        password: redis.password.clone(),
        db: u32::try_from(redis.db).unwrap_or(0),
        pool_size: redis.pool_size,
        min_idle_conns: redis.min_idle_conns,
        max_retries: redis.max_retries,
        dial_timeout: redis.dial_timeout,
        read_timeout: redis.read_timeout,
        write_timeout: redis.write_timeout,
    };
    CacheOptions { bytes_max: CACHE_BYTES, local_ttl_max: CACHE_TTL, redis: redis.addr.as_ref().map(behind) }
}

/// The work of `redis_cache`: the cache works by itself, this shows how.
pub(super) fn cache(cache: Cache) -> Work {
    Work::default().child("cache", BOUND, move |context: ServiceContext| {
        let cache = cache.clone();
        async move {
            while !context.stop.is_set() {
                context.beat.beat();
                show(&cache, &context);
                tokio::select! {
                    () = tokio::time::sleep(TELL) => {}
                    () = context.stop.wanted() => {}
                }
            }
            Ok(())
        }
    })
}

fn show(cache: &Cache, context: &ServiceContext) {
    let stats = cache.stats();
    let state = match stats.redis {
        RedisState::None => "in the process alone".to_owned(),
        RedisState::Up => "up".to_owned(),
        RedisState::Down(why) => format!("down: {why}"),
    };
    context.facts.set("redis", state);
    let numbers = [
        ("hits", stats.hits),
        ("redis_hits", stats.redis_hits),
        ("misses", stats.misses),
        ("entries", stats.entries),
        ("redis_failures", stats.redis_failures),
    ];
    numbers.into_iter().for_each(|(name, number)| context.facts.set(name, number.to_string()));
}

/// The work of `health_checker`.
pub(super) fn health(config: &Config, board: HealthBoard, looked: Looked) -> Work {
    let config = config.clone();
    Work::default().child("checks", BOUND, move |context: ServiceContext| {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let checker = Checker::new(checks(&config, looked.clone()), clock, board.clone());
        let board = board.clone();
        async move {
            let checker = checker.map_err(|error| error.to_string())?;
            let beat = || {
                context.beat.beat();
                let report = board.report();
                context.facts.set("healthy", format!("{} of {}", report.healthy, report.counted));
            };
            tokio::select! {
                never = checker.run(|_| {}, beat) => match never {},
                () = context.stop.wanted() => Ok(()),
            }
        }
    })
}

/// The work of `memory_manager`.
pub(super) fn memory(board: MemoryBoard, cache: Cache, look: Arc<Look>) -> Work {
    Work::default().child("memory", BOUND, move |context: ServiceContext| {
        let (cache, looking) = (cache.clone(), look.clone());
        let depth = |look: &Arc<Look>, depth: fn(&Tree) -> Option<u64>| {
            let look = look.clone();
            move || look.last().and_then(|last| depth(&last.1))
        };
        let lane = depth(&look, |tree| tree.lane.as_ref().map(|lane| lane.queued as u64));
        let mailboxes = depth(&look, |tree| Some(tree.components.iter().map(|c| c.mailbox as u64).sum()));
        let manager = Manager::new(Machine::default(), Arc::new(SystemClock::new()), board.clone())
            .trims("cache", move || cache.clear_local())
            .queue("lane", lane)
            .queue("mailboxes", mailboxes);
        let board = board.clone();
        async move {
            let beat = || {
                context.beat.beat();
                let facts = board.facts();
                let mebibytes = |bytes: Option<u64>| bytes.map(|bytes| (bytes >> 20).to_string());
                context.facts.set("level", format!("{:?}", facts.level).to_lowercase());
                mebibytes(facts.resident).into_iter().for_each(|mib| context.facts.set("resident_mib", mib));
                mebibytes(facts.limit).into_iter().for_each(|mib| context.facts.set("limit_mib", mib));
                context.facts.set("trims", facts.trims.to_string());
            };
            tokio::select! {
                never = manager.run(told, beat) => match never {},
                never = keep_looking(&looking) => match never {},
                () = context.stop.wanted() => Ok(()),
            }
        }
    })
}

fn told(alert: MemoryAlert) {
    match alert {
        MemoryAlert::Short { resident, limit } => {
            tracing::warn!(code = "memory_short", level = "alert", resident, limit, "memory is short: searches wait");
        }
        MemoryAlert::Released { resident, limit } => tracing::info!(resident, limit, "memory is no longer short"),
    }
}

async fn keep_looking(look: &Look) -> std::convert::Infallible {
    loop {
        // A trading thread that does not answer is told by others.
        let _ = look.tree().await;
        tokio::time::sleep(LOOK).await;
    }
}

/// The searches, once their directory could be read. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Searches(Arc<OnceLock<OptimizerHandle>>);

impl Searches {
    /// The searches; `None`: their directory cannot be used, as the component `optimizer` tells.
    pub fn get(&self) -> Option<&OptimizerHandle> {
        self.0.get()
    }
}

/// The work of `optimizer`.
pub(super) fn searches(config: &Config, registry: Arc<Registry>, memory: MemoryBoard, slot: Searches) -> Work {
    let config = config.clone();
    Work::default().child("searches", BOUND, move |context: ServiceContext| {
        let (config, registry, memory, slot) = (config.clone(), registry.clone(), memory.clone(), slot.clone());
        async move {
            if slot.get().is_none() {
                let options = optimize::Options::of(&config);
                let dir = options.results_dir.display().to_string();
                let (admit, clock) = (Arc::new(move || memory.admit()), Arc::new(SystemClock::new()));
                let open = move || OptimizerHandle::open(options, registry, Some(config), admit, clock);
                let opened = context.block(open).await?.map_err(|error| format!("{dir}: {error}"))?;
                // Only one of its kind opens at a time; a second one would be the same directory.
                let _ = slot.0.set(opened);
            }
            let Some(handle) = slot.get().cloned() else { return Err("the searches are not open".to_owned()) };
            serve(handle, &context).await
        }
    })
}

async fn serve(handle: OptimizerHandle, context: &ServiceContext) -> Result<(), String> {
    let (stop, beat) = (Arc::new(AtomicBool::new(false)), context.beat.clone());
    let (flag, shown) = (stop.clone(), handle.clone());
    let mut serving = Box::pin(context.block(move || handle.serve(&flag, &mut || beat.beat())));
    loop {
        let (running, waiting, threads) = shown.load();
        context.facts.set("searches", format!("{running} run, {waiting} wait"));
        context.facts.set("trial_threads", threads.to_string());
        tokio::select! {
            ended = &mut serving => return ended,
            () = context.stop.wanted(), if !stop.load(Ordering::Acquire) => stop.store(true, Ordering::Release),
            () = tokio::time::sleep(TELL) => {}
        }
    }
}
