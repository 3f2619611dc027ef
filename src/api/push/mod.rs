//! Push sessions at `/ws`: snapshots and numbered updates of what trades, for dashboards and programs. `docs/push.md` has the protocol.
//!
//! In: the lane's feed and market places, boards, the system's console. Out: frames in bounded queues, one for each client.
//! [`hub`] is the one thread that makes messages; [`session`] a client's side on the server's threads; [`outbox`] what is between.
//! A slow client costs its own queue and nobody's time. Tests: `tests/push.rs`, `tests/push_bad.rs`, `benches/push.rs`.

mod clients;
mod hub;
mod journaled;
mod markets;
mod message;
pub mod outbox;
pub mod session;
mod snapshot;
mod system;
mod topic;
mod update;

use super::state::System;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hub::{Command, Hub};
use outbox::Reason;
use qcat_actors::runtime::feed::Feed;
use qcat_actors::runtime::lane::Lane;
use qcat_actors::runtime::market_feed::MarketFeed;
use qcat_actors::runtime::service::{ServiceContext, Work};
use qcat_io::metrics::{self, Samples};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests of clients that may wait for the hub.
const COMMANDS: usize = 1_024;
/// Without a sign of life for this long the hub counts as stalled.
const BOUND: Duration = Duration::from_secs(10);
/// How often operators see new numbers.
const FACTS: Duration = Duration::from_secs(1);

/// Where the messages come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// What each step tells.
    pub feed: Feed,
    /// The newest prices.
    pub markets: MarketFeed,
}

/// Holds the source, once there is a lane. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct SourceSlot(Arc<Mutex<Option<Source>>>);

impl SourceSlot {
    fn get(&self) -> Option<Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Stats {
    /// Clients that showed a token.
    pub clients: AtomicU64,
    /// Their topics.
    pub subscriptions: AtomicU64,
    /// Messages that were queued for clients.
    pub messages: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    ended: [AtomicU64; Reason::ALL.len()],
}

impl Stats {
    fn ended(&self, reason: Reason) {
        self.ended[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Sessions that ended, by reason.
    pub fn ends(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().map(|reason| (reason, self.ended[reason as usize].load(Ordering::Relaxed)))
    }
}

#[derive(Debug, Default)]
struct Inner {
    source: SourceSlot,
    stats: Arc<Stats>,
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    clients: AtomicU64,
}

/// The push sessions of a daemon: what the server, the component and the lane share. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Push(Arc<Inner>);

impl Push {
    /// Pushes what this lane does from here on. To be called on its thread, once.
    pub fn attach(&self, lane: &Lane, feed: Feed) {
        let source = Source { feed, markets: MarketFeed::of(lane) };
        *self.0.source.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// What is counted.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.0.stats
    }

    fn next_client(&self) -> u64 {
        self.0.clients.fetch_add(1, Ordering::Relaxed)
    }

    fn sender(&self) -> Option<mpsc::Sender<Command>> {
        self.0.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The work of `websocket_connections`: one hub, on a thread of its own.
    pub fn work(&self, running: Arc<dyn System>) -> Work {
        let push = self.clone();
        Work::default().child("hub", BOUND, move |context| run(push.clone(), running.clone(), context))
    }

    fn hub(&self, running: Arc<dyn System>) -> Hub {
        let (sender, commands) = mpsc::channel(COMMANDS);
        *self.0.commands.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Hub::new(running, self.0.source.clone(), self.0.stats.clone(), commands)
    }

    fn tell(&self, context: &ServiceContext) {
        let stats = &self.0.stats;
        for (name, value) in [
            ("clients", &stats.clients),
            ("subscriptions", &stats.subscriptions),
            ("messages", &stats.messages),
            ("bytes", &stats.bytes),
        ] {
            context.facts.set(name, value.load(Ordering::Relaxed).to_string());
        }
        let ends = stats.ends().filter(|(_, count)| *count > 0);
        let ends: Vec<String> = ends.map(|(reason, count)| format!("{} {count}", reason.word())).collect();
        if !ends.is_empty() {
            context.facts.set("ended", ends.join(", "));
        }
    }
}

async fn run(push: Push, running: Arc<dyn System>, context: ServiceContext) -> Result<(), String> {
    let (hub, beat, stop) = (push.hub(running), context.beat.clone(), context.stop.clone());
    let work = move || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| format!("the hub's runtime: {error}"))?;
        runtime.block_on(hub.run(beat, stop));
        Ok(())
    };
    let done = context.block(work);
    tokio::pin!(done);
    let mut facts = tokio::time::interval(FACTS);
    loop {
        tokio::select! {
            done = &mut done => {
                push.tell(&context);
                return done?;
            }
            _ = facts.tick() => push.tell(&context),
        }
    }
}

impl metrics::Source for Push {
    fn collect(&self) -> BoxFuture<'_, Samples> {
        async {
            let (stats, mut all) = (&self.0.stats, Samples::default());
            let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
            all.gauge("push_clients", "Clients of push sessions", &[], count(&stats.clients) as f64);
            all.gauge("push_subscriptions", "Topics that they have", &[], count(&stats.subscriptions) as f64);
            all.counter("push_messages_total", "Messages queued for clients", &[], count(&stats.messages));
            all.counter("push_bytes_total", "Bytes queued for clients", &[], count(&stats.bytes));
            for (reason, count) in stats.ends() {
                let labels = [("reason", reason.word().to_owned())];
                all.counter("push_sessions_ended_total", "Push sessions that ended", &labels, count);
            }
            all
        }
        .boxed()
    }
}
