//! The topics that the journal numbers: what each step told, kept for a while, and snapshots that meet it without a hole.
//!
//! A snapshot is the board of input S; a client that got it gets every later message: of what is kept when the hub is ahead of S,
//! live when it is behind. When the feed lost something, all is begun anew with new snapshots.

use super::clients::Clients;
use super::message::{Reply, encode};
use super::snapshot;
use super::topic::Topic;
use super::update::{Message, Told};
use qcat_actors::runtime::board::Board;
use qcat_actors::runtime::feed::{Feed, Next, Subscription, Told as Step};
use qcat_core::time::{Span, Ts};
use qcat_io::clock;
use qcat_io::store::DecisionRow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Steps that may wait in the feed.
const WAITING: usize = 8_192;
/// Steps that are kept for clients that come back.
const KEPT: usize = 8_192;
/// Messages of one topic that are sent to a client that comes back.
const RESUMED: usize = 1_024;
/// Steps that are taken before others get their turn: far fewer than may wait for a client.
const BATCH: usize = 256;
/// Alerts that a snapshot tells of.
const ALERTS: usize = 100;
/// How often accounts' worth is told when nothing is traded.
const EQUITY_EVERY: Span = Span::from_secs(1);
/// Pause before the board is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A client that waits for a snapshot.
struct Pending {
    client: u64,
    topic: Topic,
    /// The oldest board that will do.
    need: u64,
}

/// The journaled topics of one engine.
pub struct Journaled {
    feed: Subscription,
    engine: u16,
    /// What is kept: every step that told something after `floor`.
    kept: VecDeque<Told>,
    floor: u64,
    /// Everything up to here was told.
    last: u64,
    alerts: VecDeque<DecisionRow>,
    pending: Vec<Pending>,
    /// When the board may be asked for; `None`: it was, and has not come.
    ask: Option<Instant>,
    equity_at: Ts,
}

impl Journaled {
    /// From the next step on.
    pub fn new(feed: &Feed) -> Journaled {
        let subscription = feed.subscribe(WAITING);
        // Read after subscribing: what is later waits in the queue, or is seen to be missing.
        let last = feed.passed().0;
        Journaled {
            feed: subscription,
            engine: feed.engine(),
            kept: VecDeque::new(),
            floor: last,
            last,
            alerts: VecDeque::new(),
            pending: Vec::new(),
            ask: Some(Instant::now()),
            equity_at: Ts::ZERO,
        }
    }

    /// The feed.
    pub fn feed(&self) -> &Feed {
        self.feed.feed()
    }

    /// Takes what the feed has. True: there is more.
    pub fn turn(&mut self, clients: &mut Clients) -> bool {
        for _ in 0..BATCH {
            match self.feed.look() {
                Next::Told(step) => self.step(step, clients),
                Next::Nothing => return false,
                Next::Behind => {
                    self.feed.rejoin();
                    self.begin_anew(clients);
                    return true;
                }
            }
        }
        true
    }

    fn step(&mut self, step: Step, clients: &mut Clients) {
        let seq = step.facts.seq.0;
        if step.after.is_some_and(|after| after.0 > self.last) {
            self.begin_anew(clients);
        }
        if seq <= self.last {
            return;
        }
        self.last = seq;
        let due = !step.facts.fills.is_empty() || step.facts.at.since(self.equity_at) >= EQUITY_EVERY;
        let equity = due && !step.facts.equities.is_empty();
        if equity {
            self.equity_at = step.facts.at;
        }
        let mut told = Told::new(step.facts, self.feed().names(), self.engine, equity);
        if told.may_alert() {
            self.alerts.extend(told.alerts());
            let old = self.alerts.len().saturating_sub(ALERTS);
            self.alerts.drain(..old);
        }
        if clients.any(Topic::is_journaled) {
            for topic in told.topics() {
                if clients.has(&topic)
                    && let Some(frame) = told.frame(&topic)
                {
                    clients.tell(&topic, seq, &frame);
                }
            }
        }
        self.kept.push_back(told);
        if self.kept.len() > KEPT
            && let Some(old) = self.kept.pop_front()
        {
            self.floor = old.seq();
        }
    }

    /// Something was lost: everybody gets a new snapshot.
    fn begin_anew(&mut self, clients: &mut Clients) {
        tracing::info!("push sessions lost the feed's thread and begin with new snapshots");
        self.kept.clear();
        self.last = self.feed().passed().0.max(self.last);
        self.floor = self.last;
        self.pending.clear();
        for (client, topic) in clients.wanting(Topic::is_journaled) {
            clients.rewind(&topic);
            self.snapshot(clients, client, topic, Some("behind"));
        }
    }

    /// A client wants a topic, from after an input or from a snapshot.
    pub fn want(&mut self, clients: &mut Clients, client: u64, topic: Topic, from_seq: Option<u64>) {
        match from_seq {
            Some(from) if from >= self.floor && from <= self.last && self.resume(clients, client, &topic, from) => {}
            Some(from) if from <= self.last => self.snapshot(clients, client, topic, Some("too_old")),
            Some(_) => self.snapshot(clients, client, topic, Some("unknown_seq")),
            None => self.snapshot(clients, client, topic, None),
        }
    }

    /// Sends what is kept after an input; what comes is live. False: it is too much, nothing was sent.
    fn resume(&mut self, clients: &mut Clients, client: u64, topic: &Topic, from: u64) -> bool {
        let first = self.kept.partition_point(|told| told.seq() <= from);
        let frames: Vec<_> = self.kept.range_mut(first..).filter_map(|told| told.frame(topic)).collect();
        let bytes: usize = frames.iter().map(bytes::Bytes::len).sum();
        if frames.len() > RESUMED || bytes > clients.room(client) {
            return false;
        }
        frames.into_iter().for_each(|frame| clients.snapshot(client, frame));
        clients.begin(client, topic, from.max(self.last));
        true
    }

    fn snapshot(&mut self, clients: &mut Clients, client: u64, topic: Topic, resync: Option<&'static str>) {
        if let Some(reason) = resync {
            clients.answer(client, encode(&Reply::Resync { topic: &topic, reason }));
        }
        if topic != Topic::Alerts {
            self.pending.push(Pending { client, topic, need: self.floor });
            return;
        }
        let at = clock::text(super::markets::wall());
        let (engine, seq) = (Some(self.engine), self.last);
        let data = &self.alerts;
        let frame = encode(&Message { topic: &topic, engine, seq, at: &at, kind: "snapshot", gap: None, data });
        clients.snapshot(client, frame);
        clients.begin(client, &topic, self.last);
    }

    /// Whether the board should be asked for now; then it counts as asked.
    pub fn asks(&mut self, clients: &Clients) -> bool {
        self.pending.retain(|pending| clients.wants(pending.client, &pending.topic));
        let now = Instant::now();
        !self.pending.is_empty() && self.ask.take_if(|at| *at <= now).is_some()
    }

    /// The board came, or did not.
    pub fn board(&mut self, clients: &mut Clients, board: Option<&Board>) {
        self.ask = Some(Instant::now() + ASK_AGAIN);
        let Some(board) = board else { return };
        let mut frames: Vec<(Topic, bytes::Bytes)> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            if board.seq < pending.need {
                self.pending.push(pending);
                continue;
            }
            let Pending { client, topic, .. } = pending;
            if !clients.wants(client, &topic) {
                continue;
            }
            let known = frames.iter().find(|(known, _)| *known == topic).map(|(_, frame)| frame.clone());
            let Some(frame) = known.or_else(|| snapshot::frame(&topic, self.engine, board)) else { continue };
            clients.snapshot(client, frame.clone());
            if self.resume(clients, client, &topic, board.seq) {
                frames.push((topic, frame));
            } else {
                // A newer board leaves less to be sent after it.
                clients.answer(client, encode(&Reply::Resync { topic: &topic, reason: "behind" }));
                self.pending.push(Pending { client, topic, need: self.last });
            }
        }
    }
}
