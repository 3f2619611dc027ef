//! The feed: what each step told, handed to whoever subscribed, without the trading thread ever waiting or waking anybody.
//!
//! In: the lane's steps, through its tap. Out: [`Told`] over a bounded queue for each subscriber, who looks whether there is something:
//! waking a thread is a call of the system, and the trading thread makes none here. Each item names the one before it, so
//! a subscriber knows for certain when he missed something; he then reads the journal ([`qcat_io::journal::Follower`]) until
//! it meets the feed again. A step that broke the engine is not told: what its rebuild made of it stands in the journal.
//! Tests: `feed/tests.rs`, `tests/projections.rs`.

#[cfg(test)]
mod tests;

use super::lane::{Lane, Step, Tap};
use arc_swap::ArcSwap;
use qcat_core::engine::Fault;
use qcat_core::engine::facts::{Facts, Names};
use qcat_core::id::Seq;
use qcat_io::journal::DurableSeq;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

/// One item of the feed.
#[derive(Debug, Clone)]
pub struct Told {
    /// Whoever knows all facts up to here misses nothing between them and these. `None`: what the journal holds of this run
    /// is less than what happened (a full disk), so only the journal says what will be true after the next start.
    pub after: Option<Seq>,
    /// What the step told.
    pub facts: Arc<Facts>,
}

/// Gives out subscriptions, on any thread. Clones are the same feed.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: u16,
    slots: ArcSwap<Vec<Arc<Slot>>>,
    names: ArcSwap<Names>,
    durable: DurableSeq,
    /// The last step; what it told is queued by then.
    passed: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    sender: SyncSender<Told>,
    behind: AtomicBool,
}

/// What a look into a subscription finds.
#[derive(Debug)]
pub enum Next {
    /// The next item.
    Told(Told),
    /// Nothing waits.
    Nothing,
    /// The queue was full and items are lost; nothing more comes until [`Subscription::rejoin`].
    Behind,
}

/// A subscriber's end of the feed.
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
    slot: Arc<Slot>,
    receiver: Receiver<Told>,
}

impl Feed {
    /// A feed of everything that the lane does from here on. `valued`: mark prices are journaled, so what depends on them is told.
    pub fn of(lane: &Lane, engine: u16, valued: bool) -> Feed {
        let (last, names) = lane.read(|engine| (engine.seq(), Names::of(engine)));
        let shared = Arc::new(Shared {
            engine,
            slots: ArcSwap::default(),
            names: ArcSwap::from_pointee(names),
            durable: lane.durable(),
            passed: AtomicU64::new(last.0),
        });
        lane.tap(Box::new(FeedTap { shared: shared.clone(), last, valued, whole: true }));
        Feed(shared)
    }

    /// The engine's number.
    pub fn engine(&self) -> u16 {
        self.0.engine
    }

    /// Names and scales as of the last step that changed them.
    pub fn names(&self) -> Arc<Names> {
        self.0.names.load_full()
    }

    /// The last input that survives a loss of power with its decisions.
    pub fn durable(&self) -> Seq {
        self.0.durable.get()
    }

    /// Says up to which input the projections have the journal: what is newer is kept for them.
    pub fn has(&self, seq: Seq) {
        self.0.durable.has(seq);
    }

    /// What was said of that last; `None`: nothing.
    pub fn had(&self) -> Option<Seq> {
        self.0.durable.needed()
    }

    /// The last step. What it and those before it told is queued already, or the subscriber is behind.
    pub fn passed(&self) -> Seq {
        Seq(self.0.passed.load(Ordering::Acquire))
    }

    /// Subscribes from the next step on; `capacity` items may wait.
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        let (sender, receiver) = sync_channel(capacity.max(1));
        let slot = Arc::new(Slot { sender, behind: AtomicBool::new(false) });
        self.0.slots.rcu(|slots| {
            let mut slots = (**slots).clone();
            slots.push(slot.clone());
            slots
        });
        Subscription { feed: self.clone(), slot, receiver }
    }
}

impl Subscription {
    /// The feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Looks for the next item. What was queued before items were lost still comes first.
    pub fn look(&self) -> Next {
        let behind = self.slot.behind.load(Ordering::Acquire);
        match self.receiver.try_recv() {
            Ok(told) => Next::Told(told),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) if behind => Next::Behind,
            Err(_) => Next::Nothing,
        }
    }

    /// Takes items again. What was lost is seen from the next item's `after`.
    pub fn rejoin(&self) {
        self.slot.behind.store(false, Ordering::Release);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.0.slots.rcu(|slots| {
            let others = slots.iter().filter(|slot| !Arc::ptr_eq(slot, &self.slot));
            others.cloned().collect::<Vec<_>>()
        });
    }
}

struct FeedTap {
    shared: Arc<Shared>,
    last: Seq,
    valued: bool,
    whole: bool,
}

impl Tap for FeedTap {
    #[inline]
    fn after_step(&mut self, step: &Step<'_>) {
        let happened = step.happened;
        let quiet = happened.orders.is_empty() && happened.fills.is_empty() && happened.positions.is_empty();
        if !(quiet && happened.equities.is_empty() && step.decisions.is_empty() && step.cause.is_none()) {
            self.tell(step);
        }
        self.shared.passed.store(step.seq.0, Ordering::Release);
    }
}

impl FeedTap {
    fn tell(&mut self, step: &Step<'_>) {
        let slots = self.shared.slots.load();
        let lose = || slots.iter().for_each(|slot| slot.behind.store(true, Ordering::Release));
        if self.whole && !step.journaled {
            self.whole = false;
            lose();
        }
        if step.engine.faults().iter().any(Fault::is_deciding) {
            // The fold of the same input takes the place of what this step did.
            self.last = step.seq;
            return lose();
        }
        if step.cause.is_some_and(|cause| cause.renames()) {
            self.shared.names.store(Arc::new(Names::of(step.engine)));
        }
        if slots.is_empty() {
            self.last = step.seq;
            return;
        }
        let cause = step.cause.cloned();
        let Some(facts) = Facts::of(step.engine, cause, step.happened, step.decisions, self.valued) else { return };
        let told = Told { after: self.whole.then_some(self.last), facts: Arc::new(facts) };
        for slot in slots.iter().filter(|slot| !slot.behind.load(Ordering::Acquire)) {
            if let Err(TrySendError::Full(_)) = slot.sender.try_send(told.clone()) {
                slot.behind.store(true, Ordering::Release);
            }
        }
        self.last = step.seq;
    }
}
