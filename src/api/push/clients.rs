//! The clients of a hub and who has subscribed to what.

use super::Stats;
use super::outbox::{Outbox, Reason};
use super::topic::Topic;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A subscription that has its snapshot.
struct Subscriber {
    client: u64,
    outbox: Arc<Outbox>,
    /// It has everything up to here.
    after: u64,
}

struct Client {
    outbox: Arc<Outbox>,
    topics: BTreeSet<Topic>,
}

/// All clients.
#[derive(Default)]
pub struct Clients {
    clients: BTreeMap<u64, Client>,
    /// By topic; a client is there from its snapshot on.
    subscribers: BTreeMap<Topic, Vec<Subscriber>>,
    stats: Arc<Stats>,
}

impl Clients {
    /// None yet.
    pub fn new(stats: Arc<Stats>) -> Clients {
        let mut clients = Clients::default();
        clients.stats = stats;
        clients
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// A client came.
    pub fn join(&mut self, client: u64, outbox: Arc<Outbox>) {
        self.clients.insert(client, Client { outbox, topics: BTreeSet::new() });
        self.count();
    }

    /// A client went.
    pub fn leave(&mut self, client: u64) {
        if let Some(gone) = self.clients.remove(&client) {
            gone.topics.iter().for_each(|topic| self.remove(client, topic));
        }
        self.count();
    }

    /// The queue of a client; `None`: it went.
    pub fn outbox(&self, client: u64) -> Option<&Arc<Outbox>> {
        self.clients.get(&client).map(|client| &client.outbox)
    }

    /// Bytes of what it asks for that still fit its queue.
    pub fn room(&self, client: u64) -> usize {
        self.outbox(client).map_or(0, |outbox| outbox.room())
    }

    /// How many topics a client would have with these.
    pub fn topics_with(&self, client: u64, more: &[Topic]) -> usize {
        let own = self.clients.get(&client).map(|client| &client.topics);
        let new = more.iter().filter(|topic| own.is_none_or(|own| !own.contains(topic))).count();
        own.map_or(0, BTreeSet::len) + new
    }

    /// A client wants a topic; it gets nothing of it until [`Clients::begin`].
    pub fn want(&mut self, client: u64, topic: &Topic) {
        if let Some(known) = self.clients.get_mut(&client)
            && !known.topics.insert(topic.clone())
        {
            self.remove(client, topic);
        }
        self.count();
    }

    /// Whether it still wants it.
    pub fn wants(&self, client: u64, topic: &Topic) -> bool {
        self.clients.get(&client).is_some_and(|client| client.topics.contains(topic))
    }

    /// A client does not want a topic any more.
    pub fn forget(&mut self, client: u64, topic: &Topic) {
        if let Some(known) = self.clients.get_mut(&client) {
            known.topics.remove(topic);
        }
        self.remove(client, topic);
        self.count();
    }

    /// A client has everything of a topic up to here.
    pub fn begin(&mut self, client: u64, topic: &Topic, after: u64) {
        let Some(outbox) = self.outbox(client).cloned() else { return };
        self.subscribers.entry(topic.clone()).or_default().push(Subscriber { client, outbox, after });
    }

    fn remove(&mut self, client: u64, topic: &Topic) {
        if let Some(all) = self.subscribers.get_mut(topic) {
            all.retain(|subscriber| subscriber.client != client);
            if all.is_empty() {
                self.subscribers.remove(topic);
            }
        }
    }

    /// Whether anybody gets this topic.
    pub fn has(&self, topic: &Topic) -> bool {
        self.subscribers.contains_key(topic)
    }

    /// Whether anybody gets a topic of this kind.
    pub fn any(&self, wanted: impl Fn(&Topic) -> bool) -> bool {
        self.subscribers.keys().any(wanted)
    }

    /// Who wants any topic of this kind, with it.
    pub fn wanting(&self, wanted: impl Fn(&Topic) -> bool) -> Vec<(u64, Topic)> {
        let each = self.clients.iter().flat_map(|(id, client)| client.topics.iter().map(move |topic| (*id, topic)));
        each.filter(|(_, topic)| wanted(topic)).map(|(id, topic)| (id, topic.clone())).collect()
    }

    /// Takes the subscribers of a topic back to where they have no snapshot.
    pub fn rewind(&mut self, topic: &Topic) {
        self.subscribers.remove(topic);
    }

    /// Sends an update to all who do not have it.
    pub fn tell(&mut self, topic: &Topic, seq: u64, frame: &Bytes) {
        let Some(all) = self.subscribers.get_mut(topic) else { return };
        let mut slow = Vec::new();
        let mut told = 0;
        for subscriber in all.iter_mut().filter(|subscriber| subscriber.after < seq) {
            match subscriber.outbox.push(frame.clone()) {
                Ok(()) => told += 1,
                Err(_) => slow.push(subscriber.client),
            }
            subscriber.after = seq;
        }
        self.sent(told, frame.len());
        slow.into_iter().for_each(|client| self.cut(client));
    }

    /// Sends the newest state of a market to all; who has an older one waiting gets this one with the mark of a gap.
    pub fn tell_market(&mut self, topic: &Topic, market: u32, frame: &Bytes, with_gap: impl Fn() -> Bytes) {
        let Some(all) = self.subscribers.get(topic) else { return };
        let mut marked: Option<Bytes> = None;
        for subscriber in all {
            subscriber.outbox.push_market(market, frame, || marked.get_or_insert_with(&with_gap).clone());
        }
        self.sent(all.len() as u64, frame.len());
    }

    /// Sends a client what is for it alone.
    pub fn answer(&mut self, client: u64, frame: Bytes) {
        let Some(outbox) = self.outbox(client) else { return };
        let length = frame.len();
        match outbox.push(frame) {
            Ok(()) => self.sent(1, length),
            Err(_) => self.cut(client),
        }
    }

    /// Sends a client a snapshot.
    pub fn snapshot(&mut self, client: u64, frame: Bytes) {
        let Some(outbox) = self.outbox(client) else { return };
        let length = frame.len();
        match outbox.push_snapshot(frame) {
            Ok(()) => self.sent(1, length),
            Err(_) => self.cut(client),
        }
    }

    /// Ends a client that does not take what it subscribed to.
    fn cut(&mut self, client: u64) {
        if let Some(outbox) = self.outbox(client) {
            outbox.cut(Reason::SlowConsumer);
        }
        self.leave(client);
    }

    /// Ends all; gives back their queues.
    pub fn end(&mut self, reason: Reason) -> Vec<Arc<Outbox>> {
        self.subscribers.clear();
        let clients = std::mem::take(&mut self.clients);
        self.count();
        let outboxes: Vec<_> = clients.into_values().map(|client| client.outbox).collect();
        outboxes.iter().for_each(|outbox| outbox.finish(reason));
        outboxes
    }

    fn sent(&self, messages: u64, length: usize) {
        self.stats.messages.fetch_add(messages, Ordering::Relaxed);
        self.stats.bytes.fetch_add(messages * length as u64, Ordering::Relaxed);
    }

    fn count(&self) {
        let topics: usize = self.clients.values().map(|client| client.topics.len()).sum();
        self.stats.clients.store(self.clients.len() as u64, Ordering::Relaxed);
        self.stats.subscriptions.store(topics as u64, Ordering::Relaxed);
    }
}

impl Drop for Clients {
    /// The hub is gone, by a panic too.
    fn drop(&mut self) {
        self.end(Reason::Restart);
    }
}
