//! A thousand push clients, a tenth of them stalled, beside a daemon that trades: a measurement, to be run by hand with
//! `cargo test --release --test push_load -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;
#[path = "support/push.rs"]
mod push;

use futures_util::StreamExt;
use inside::{World, run};
use push::Client;
use qcat::daemon::Stopped;
use qcat_actors::runtime::component::Component;
use qcat_core::strategy::registry::Registry;
use qcat_io::net::{call::call, tls::Connector, url::Url};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

const KEY: &str = "a key of the tests, longer than 32 bytes";
const CLIENTS: usize = 1_000;
const STALLED: usize = 100;
/// How long trading is measured, without clients and with them.
const MEASURED: Duration = Duration::from_secs(30);

async fn metrics(at: SocketAddr) -> String {
    let url = Url::parse(&format!("http://{at}"), ["http", "https"]).unwrap();
    let connector = Connector::new(None).unwrap();
    let within = Duration::from_secs(30);
    let answer = call(&connector, &url, ("GET", "/metrics"), &[], String::new(), within).await.unwrap();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// The buckets of a stage: upper bound in seconds, count up to it.
fn buckets(metrics: &str, stage: &str) -> Vec<(f64, f64)> {
    let of = |line: &&str| {
        line.starts_with("trading_stage_duration_seconds_bucket") && line.contains(&format!("stage=\"{stage}\""))
    };
    let read = |line: &str| {
        let bound = line.split("le=\"").nth(1)?.split('"').next()?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, line.rsplit(' ').next()?.parse().ok()?))
    };
    metrics.lines().filter(of).filter_map(read).collect()
}

/// The bound below which 99 of 100 of what came between two scrapes lie.
fn p99(before: &[(f64, f64)], after: &[(f64, f64)]) -> (f64, f64) {
    let old = |bound: f64| before.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, count)| *count);
    let new: Vec<(f64, f64)> = after.iter().map(|(bound, count)| (*bound, count - old(*bound))).collect();
    let all = new.last().map_or(0.0, |(_, count)| *count);
    (new.iter().find(|(_, count)| *count >= all * 0.99).map_or(f64::NAN, |(bound, _)| *bound), all)
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn seq(text: &str) -> Option<u64> {
    let update = text.contains("\"type\":\"update\"") && text.starts_with("{\"topic\":\"orders\"");
    if !update { None } else { text.split("\"seq\":").nth(1)?.split(',').next()?.parse().ok() }
}

/// Reads to the end; the numbers of all updates of orders.
async fn reader(mut client: Client, ready: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Vec<u64> {
    client.subscribe(&["orders", "market:BTCUSDT"], None).await;
    ready.fetch_add(1, Ordering::Relaxed);
    let mut seen = Vec::new();
    while !over.load(Ordering::Relaxed) {
        match tokio::time::timeout(Duration::from_secs(1), client.socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => seen.extend(seq(&text)),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) | Err(_) => {}
            Ok(other) => panic!("a reader was dropped: {other:?}"),
        }
    }
    seen
}

/// All clients, on a thread of their own.
fn clients(at: SocketAddr, ready: &Arc<AtomicUsize>, over: &Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<Vec<u64>>> {
    let (ready, over) = (ready.clone(), over.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut stalled = Vec::new();
            for _ in 0..STALLED {
                let mut client = Client::start_small(at, KEY).await;
                client.subscribe(&["orders", "positions", "risk", "strategy:quick", "strategy:trend"], None).await;
                ready.fetch_add(1, Ordering::Relaxed);
                stalled.push(client);
            }
            let mut readers = Vec::new();
            for _ in STALLED..CLIENTS {
                let client = Client::start(at, KEY).await;
                readers.push(tokio::task::spawn_local(reader(client, ready.clone(), over.clone())));
            }
            let mut all = Vec::new();
            for reader in readers {
                all.push(reader.await.unwrap());
            }
            all
        })
    })
}

#[test]
#[ignore = "a measurement of two minutes"]
fn a_thousand_clients_a_tenth_of_them_stalled() {
    run(async {
        let keyed = |text: String| {
            format!("{text}jwt: {{ secret_key: \"{KEY}\" }}\nsecurity: {{ rate_limit_enabled: false }}\n")
        };
        let exchange = daemon::exchange(31).await;
        let world = World::configured(exchange, keyed, Arc::new(Registry::builtin()).into()).await;
        world.trades_on().await;
        let view = world.component(Component::HttpServer).await;
        let (_, at) = view.facts.iter().find(|(name, _)| *name == "listen").unwrap();
        let at: SocketAddr = at.parse().unwrap();

        let start = metrics(at).await;
        tokio::time::sleep(MEASURED).await;
        let alone = metrics(at).await;
        let (ready, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let before = memory();
        let thread = clients(at, &ready, &over);
        while ready.load(Ordering::Relaxed) < CLIENTS {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (connected, begun) = (memory(), metrics(at).await);
        tokio::time::sleep(MEASURED).await;
        let (with, loaded) = (metrics(at).await, memory());
        over.store(true, Ordering::Relaxed);
        while !thread.is_finished() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let seen = thread.join().unwrap();
        for stage in ["decide", "order"] {
            let (without, count) = p99(&buckets(&start, stage), &buckets(&alone, stage));
            let (beside, more) = p99(&buckets(&begun, stage), &buckets(&with, stage));
            println!("{stage}: p99 below {without} s without clients ({count}), below {beside} s with them ({more})");
        }
        println!("memory: {before} kB, {connected} kB with all clients (both ends), {loaded} kB at the end");
        with.lines().filter(|line| line.starts_with("push_")).for_each(|line| println!("{line}"));
        // What all of them saw between the last to begin and the first to end is the same.
        let from = seen.iter().map(|seqs| *seqs.first().unwrap()).max().unwrap();
        let until = seen.iter().map(|seqs| *seqs.last().unwrap()).min().unwrap();
        let within = |seqs: &[u64]| seqs.iter().copied().filter(|seq| (from..=until).contains(seq)).collect::<Vec<_>>();
        let expected = within(&seen[0]);
        println!("{} readers, {} updates of orders each between {from} and {until}", seen.len(), expected.len());
        assert!(expected.len() > 100);
        assert!(seen.iter().all(|seqs| within(seqs) == expected), "a reader lost something");
        assert_eq!(world.daemon.stop().await, Stopped::InTime);
    });
}
