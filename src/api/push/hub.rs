//! The hub: one thread, away from trading, that drinks the feed, encodes each message once and queues it for every subscriber.

use super::clients::Clients;
use super::journaled::Journaled;
use super::markets::Markets;
use super::message::{ErrorCode, Refusal, Reply, TOPICS_MAX, encode, too_many};
use super::outbox::{Outbox, Reason};
use super::system::SystemTopic;
use super::topic::Topic;
use super::{Source, SourceSlot, Stats};
use crate::api::state::System;
use qcat_actors::runtime::board::Board;
use qcat_actors::runtime::market_feed::MarketFeed;
use qcat_actors::runtime::service::StopSignal;
use qcat_actors::runtime::supervise::Beat;
use qcat_actors::runtime::system::Tree;
use qcat_core::id::StrategyIx;
use qcat_core::instrument::Instrument;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often the feed is looked at while there are clients, and without them.
const LOOK: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];
/// Pause between two parts of a burst, in which connections take theirs.
const BURST: Duration = Duration::from_millis(1);
/// How often markets are looked at.
const MARKETS: Duration = Duration::from_millis(50);
/// How often phase and stop are looked at.
const PHASE: Duration = Duration::from_millis(250);
/// How often the components are asked for.
const TREE: Duration = Duration::from_secs(1);
/// How long the trading thread may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How long clients may take at the end to take what waits for them.
const FAREWELL: Duration = Duration::from_secs(3);

/// What sessions tell the hub.
pub enum Command {
    /// A client showed a good token.
    Join { client: u64, outbox: Arc<Outbox> },
    /// A client went.
    Leave(u64),
    /// A client wants topics.
    Subscribe { client: u64, id: Option<u64>, topics: Vec<Topic>, from_seq: Option<u64> },
    /// A client does not want topics any more.
    Unsubscribe { client: u64, id: Option<u64>, topics: Vec<Topic> },
}

/// What was asked of the running system.
enum Answer {
    Board(Option<Arc<Board>>),
    Tree(Option<Arc<Tree>>),
}

/// A hub.
pub struct Hub {
    running: Arc<dyn System>,
    source: SourceSlot,
    commands: mpsc::Receiver<Command>,
    clients: Clients,
    journaled: Option<(Journaled, MarketFeed)>,
    markets: Markets,
    system: SystemTopic,
    answers: (mpsc::UnboundedSender<Answer>, mpsc::UnboundedReceiver<Answer>),
    tree_asked: bool,
    due: [Instant; 3],
}

impl Hub {
    /// Of this system.
    pub fn new(
        running: Arc<dyn System>,
        source: SourceSlot,
        stats: Arc<Stats>,
        commands: mpsc::Receiver<Command>,
    ) -> Hub {
        Hub {
            running,
            source,
            commands,
            clients: Clients::new(stats),
            journaled: None,
            markets: Markets::default(),
            system: SystemTopic::default(),
            answers: mpsc::unbounded_channel(),
            tree_asked: false,
            due: [Instant::now(); 3],
        }
    }

    /// Works until the word to stop, then says farewell to every client.
    pub async fn run(mut self, beat: Beat, stop: StopSignal) {
        let stopping = stop.wanted();
        tokio::pin!(stopping);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => break,
                () = tokio::time::sleep_until(next) => {
                    beat.beat();
                    let more = self.turn();
                    let pause = if more { BURST } else { LOOK[usize::from(self.clients.is_empty())] };
                    next = Instant::now() + pause;
                    tokio::task::yield_now().await;
                }
                Some(command) = self.commands.recv() => self.command(command),
                Some(answer) = self.answers.1.recv() => self.answer(answer),
            }
        }
        self.farewell(&beat).await;
    }

    async fn farewell(mut self, beat: &Beat) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Join { client, outbox } = command {
                self.clients.join(client, outbox);
            }
        }
        let outboxes = self.clients.end(Reason::Shutdown);
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline && outboxes.iter().any(|outbox| !outbox.is_gone()) {
            beat.beat();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Does what is due. True: there is more at once.
    fn turn(&mut self) -> bool {
        if self.journaled.is_none()
            && let Some(Source { feed, markets }) = self.source.get()
        {
            self.journaled = Some((Journaled::new(&feed), markets));
        }
        let more = self.journaled.as_mut().is_some_and(|(journaled, _)| journaled.turn(&mut self.clients));
        if self.journaled.as_mut().is_some_and(|(journaled, _)| journaled.asks(&self.clients)) {
            self.ask(|running| async move { Answer::Board(running.board().await.ok()) }, Answer::Board(None));
        }
        let now = Instant::now();
        let mut is_due = |which: usize, every: Duration| {
            let is_due = self.due[which] <= now;
            if is_due {
                self.due[which] = now + every;
            }
            is_due
        };
        let (markets, phase, tree) = (is_due(0, MARKETS), is_due(1, PHASE), is_due(2, TREE));
        if markets {
            self.markets.look(&mut self.clients);
        }
        if phase && self.clients.has(&Topic::System) {
            self.system.look(&mut self.clients, &*self.running, None);
            if tree && !self.tree_asked {
                self.tree_asked = true;
                let ask = |running: Arc<dyn System>| async move { Answer::Tree(running.tree().await.ok()) };
                self.ask(ask, Answer::Tree(None));
            }
        }
        more
    }

    /// Asks the running system, without waiting here.
    fn ask<F>(&self, ask: impl FnOnce(Arc<dyn System>) -> F, late: Answer)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (answers, asked) = (self.answers.0.clone(), ask(self.running.clone()));
        tokio::spawn(async move {
            let answer = tokio::time::timeout(ANSWER, asked).await.unwrap_or(late);
            // The hub may be gone.
            let _ = answers.send(answer);
        });
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Board(board) => {
                if let Some((journaled, _)) = &mut self.journaled {
                    journaled.board(&mut self.clients, board.as_deref());
                }
            }
            Answer::Tree(tree) => {
                self.tree_asked = false;
                let components = tree.as_ref().map(|tree| &*tree.components);
                self.system.look(&mut self.clients, &*self.running, components);
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Join { client, outbox } => self.clients.join(client, outbox),
            Command::Leave(client) => self.clients.leave(client),
            Command::Unsubscribe { client, id, topics } => {
                topics.iter().for_each(|topic| self.clients.forget(client, topic));
                self.clients.answer(client, encode(&Reply::Unsubscribed { topics: &topics, id }));
            }
            Command::Subscribe { client, id, topics, from_seq } => self.subscribe(client, id, topics, from_seq),
        }
    }

    fn subscribe(&mut self, client: u64, id: Option<u64>, topics: Vec<Topic>, from_seq: Option<u64>) {
        if self.clients.topics_with(client, &topics) > TOPICS_MAX {
            return self.clients.answer(client, too_many(id).frame());
        }
        // All or none.
        for topic in &topics {
            if let Err((code, detail)) = self.knows(topic) {
                let refusal = Refusal::new(id, code, detail).of(topic.to_string());
                return self.clients.answer(client, refusal.frame());
            }
        }
        topics.iter().for_each(|topic| self.clients.want(client, topic));
        self.clients.answer(client, encode(&Reply::Subscribed { topics: &topics, id }));
        for topic in topics {
            match &topic {
                Topic::System => self.system.want(&mut self.clients, &*self.running, client),
                Topic::Market(name) => {
                    if let (Some(instrument), Some((_, feed))) = (self.instrument(name), &self.journaled) {
                        self.markets.want(feed, &topic, &instrument, client);
                    }
                }
                _ => {
                    if let Some((journaled, _)) = &mut self.journaled {
                        journaled.want(&mut self.clients, client, topic, from_seq);
                    }
                }
            }
        }
    }

    fn instrument(&self, name: &str) -> Option<Instrument> {
        let (journaled, _) = self.journaled.as_ref()?;
        journaled.feed().names().universe.by_name(name).cloned()
    }

    /// Whether there is such a topic.
    fn knows(&self, topic: &Topic) -> Result<(), (ErrorCode, &'static str)> {
        if *topic == Topic::System {
            return Ok(());
        }
        let starting = (ErrorCode::NotReady, "the daemon is still starting: subscribe again in some seconds");
        let (journaled, _) = self.journaled.as_ref().ok_or(starting)?;
        let known = match topic {
            Topic::Strategy(name) => {
                let names = journaled.feed().names();
                let strategies = names.config.strategies.len();
                let mut all = (1..=strategies).filter_map(|at| u16::try_from(at).ok());
                **name == *"external"
                    || all.any(|at| names.config.strategy(StrategyIx(at)).is_some_and(|known| known.name == *name))
            }
            Topic::Market(name) => self.instrument(name).is_some(),
            _ => true,
        };
        let what =
            if matches!(topic, Topic::Market(_)) { "there is no such symbol" } else { "there is no such strategy" };
        if known { Ok(()) } else { Err((ErrorCode::UnknownTopic, what)) }
    }
}
