//! The lane: an engine, its bounded queue, its journal and the venue writers, on one trading thread.
//!
//! In: [`Lane::offer`], the halt latch, the engine's timers. One task drains it: admit (number, time, journal), step, append the
//! decisions, release what the journal holds durably. Out: [`Released`] commands to the writers, [`LaneEvent`]s to its owner,
//! and every step to the taps. It decides nothing; it stops stepping when a deciding node broke, until its owner has it rebuilt.
//! Not `Send`: everything here stays on one thread, and only [`HaltLatch`] and the journal's sync thread reach into it.
//! Tests: `tests`, with a simulated disk and a writer that remembers.

mod drain;
mod hung;
mod meter;
mod open;
mod pace;
mod queue;
mod rebuild;
mod release;
mod released;
mod snapshots;
mod summary;
#[cfg(test)]
mod tests;
mod watch;

pub use meter::Publish;
pub use open::{LaneError, Recovering, RecoveryReport};
pub use rebuild::RebuildError;
pub use released::{Released, VenueWriter};

use super::latch::HaltLatch;
use super::watchdog::{Phase, Pulse};
use pace::Pace;
use qcat_core::command::VenueCommand;
use qcat_core::engine::facts::Cause;
use qcat_core::engine::inbox::Offered;
use qcat_core::engine::snapshot::Snapshot;
use qcat_core::engine::{Engine, Fault, Happened};
use qcat_core::event::{Decision, Input, StreamFault, StreamState};
use qcat_core::id::{AccountIx, Seq, SymbolIx};
use qcat_core::instrument::Universe;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::{Span, Ts};
use qcat_io::disk::Disk;
use qcat_io::journal::{self, AppendError, DurableSeq, Journal, Mark, PendingSnapshot};
use queue::Queue;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use tokio::sync::Notify;
use watch::SlowSteps;

/// How a lane runs.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// The engine's own data directory.
    pub dir: PathBuf,
    /// How the journal is kept.
    pub journal: journal::Options,
    /// Market inputs that may wait; as many others may.
    pub queue: usize,
    /// Inputs after which others on the thread get their turn.
    pub batch: u32,
    /// A strategy's step that takes longer is told to its runner.
    pub step_budget: Span,
    /// How often the state is written, besides at the end.
    pub snapshot_every: Span,
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// It steps.
    Running,
    /// A deciding node broke: it only queues, until it is rebuilt.
    Broken,
    /// The journal takes nothing more: it only queues, for good.
    Dead,
    /// Closed.
    Closed,
}

/// A lane as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LaneView {
    /// Where it is.
    pub state: LaneState,
    /// The last admitted input.
    pub seq: u64,
    /// The last input that survives a loss of power with its decisions.
    pub durable_seq: u64,
    /// Inputs that wait.
    pub queued: usize,
    /// Inputs that were merged into one that waited.
    pub conflated: u64,
    /// Inputs that were refused because the queue was full.
    pub refused: u64,
    /// Commands that wait for the journal.
    pub held: usize,
    /// Commands that did not leave: the latch, no writer, no journal.
    pub not_sent: u64,
    /// Whether the disk is full.
    pub disk_full: bool,
    /// Inputs that were dropped because the journal could not take them.
    pub dropped: u64,
}

/// What the owner of a lane is told. Each of these needs somebody to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneEvent {
    /// A node faulted. When it is a deciding one the lane is broken until [`Lane::rebuild`].
    Faulted(Fault),
    /// The disk is full: nothing that adds risk leaves any more.
    DiskFull,
    /// The disk has room again. Whoever wants to trade on must resume.
    DiskFree,
    /// The journal takes nothing more; the lane is dead.
    JournalFailed(String),
    /// The machine's wall clock was set by this much. The lane's time goes on as before.
    ClockSet(Span),
    /// A snapshot could not be written; the journal alone is enough to recover, but it takes longer.
    SnapshotFailed(String),
    /// The engine is broken and will not be rebuilt any more: entries must be cancelled without it.
    GivenUp,
    /// The process cannot go on: the draining task panicked outside of any node, or a component is past its budget.
    Ended(String),
}

/// Is told what happens to the lane. Called between two inputs; it must only pass the word on.
pub trait LaneOwner {
    /// Something happened.
    fn told(&self, event: LaneEvent);
    /// Book data of a symbol was refused: its session must start the book over.
    fn resync(&self, symbol: SymbolIx);
}

/// One step, as the taps see it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The input's number.
    pub seq: Seq,
    /// The input's time.
    pub at: Ts,
    /// What it told of a stream.
    pub stream: Option<StreamState>,
    /// The symbol whose market it told of.
    pub market: Option<SymbolIx>,
    /// What it was, where it tells something by itself.
    pub cause: Option<&'a Cause>,
    /// The engine after it.
    pub engine: &'a Engine,
    /// What happened to orders, fills, positions and worth.
    pub happened: &'a Happened,
    /// What was decided.
    pub decisions: &'a [Decision],
    /// Whether the journal holds all of it.
    pub journaled: bool,
}

/// Sees every step after its decisions were journaled.
pub trait Tap {
    /// A step was done. It may offer inputs, and must not wait.
    fn after_step(&mut self, step: &Step<'_>);
    /// The journal has no room for an input: the engine never sees it.
    fn not_admitted(&mut self, _input: &Input) {}
}

/// A lane. Clones are the same lane.
#[derive(Clone)]
pub struct Lane(Rc<Inner>);

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lane").field(&self.0.state.get()).finish()
    }
}

struct Inner {
    me: Weak<Inner>,
    options: LaneOptions,
    registry: Arc<Registry>,
    disk: Arc<dyn Disk>,
    pace: Pace,
    latch: Arc<HaltLatch>,
    pulse: Arc<Pulse>,
    work: Arc<Notify>,
    state: Cell<LaneState>,
    queue: RefCell<Queue>,
    core: RefCell<Core>,
    universe: RefCell<Rc<Universe>>,
    writers: RefCell<BTreeMap<AccountIx, Rc<dyn VenueWriter>>>,
    taps: RefCell<Vec<Box<dyn Tap>>>,
    owner: RefCell<Option<Rc<dyn LaneOwner>>>,
    slow: Arc<SlowSteps>,
    /// There when somebody measures.
    meter: RefCell<Option<meter::Meter>>,
    not_sent: Cell<u64>,
    /// Numbers of cancels that no engine decided, from the top of the range down.
    unasked: Cell<u64>,
}

struct Core {
    engine: Engine,
    /// There until the lane is closed.
    journal: Option<Journal>,
    held: VecDeque<Held>,
    /// The fault that broke the lane.
    broken: Option<Fault>,
    /// Which setting of the latch was admitted.
    latch_seen: u64,
    /// A timer was admitted last: the queue has its turn.
    after_timer: bool,
    /// What a rebuild begins with.
    base: Option<Rc<Snapshot>>,
    snapshot_due: Ts,
    pending: Option<(PendingSnapshot, Rc<Snapshot>)>,
    writing: bool,
    full: bool,
    /// Symbols of which market data was dropped because the disk is full.
    missed: BTreeSet<SymbolIx>,
    dropped: u64,
    /// What the watchdog would cancel is to be published anew.
    unpublished: Unpublished,
}

/// What changed of orders since they were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unpublished {
    /// Nothing.
    Nothing,
    /// Orders.
    Orders,
    /// Instruments too.
    Instruments,
}

/// A command that waits for the journal.
struct Held {
    /// The record of its decision; `None`: the journal had no room even for it, and it lowers risk.
    mark: Option<Mark>,
    /// When it was decided.
    at: Ts,
    /// When the frame came that caused it.
    received: Option<Ts>,
    command: VenueCommand,
}

impl Lane {
    /// Takes an input from outside. Never waits.
    pub fn offer(&self, input: Input) -> Offered {
        if self.0.state.get() == LaneState::Closed {
            return Offered::Full;
        }
        let offered = self.0.queue.borrow_mut().offer(input);
        self.0.work.notify_one();
        offered
    }

    /// Reads the engine, between two steps.
    pub fn read<T>(&self, read: impl FnOnce(&Engine) -> T) -> T {
        read(&self.0.core.borrow().engine)
    }

    /// Instruments as the engine knows them.
    pub fn universe(&self) -> Rc<Universe> {
        self.0.universe.borrow().clone()
    }

    /// The lane's time: inputs that are admitted now are stamped with it.
    pub fn now(&self) -> Ts {
        self.0.pace.now()
    }

    /// The halt latch.
    pub fn latch(&self) -> &Arc<HaltLatch> {
        &self.0.latch
    }

    /// What the watchdog sees of this lane.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.0.pulse
    }

    /// The strategies that can be configured.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// Where it is.
    pub fn state(&self) -> LaneState {
        self.0.state.get()
    }

    /// How far the journal survives a loss of power, for other threads. The lane must not be closed.
    pub fn durable(&self) -> DurableSeq {
        self.0.core.borrow_mut().journal().durable_watch()
    }

    /// When a command may leave, and a person be told that his is taken.
    pub fn durability(&self) -> journal::Durability {
        self.0.options.journal.durability
    }

    /// Commands of an account that wait for the journal.
    pub fn held(&self, account: AccountIx) -> usize {
        self.0.core.borrow().held.iter().filter(|held| held.command.account == account).count()
    }

    /// The lane as an operator sees it.
    pub fn view(&self) -> LaneView {
        let (core, queue) = (self.0.core.borrow(), self.0.queue.borrow());
        let (conflated, refused) = queue.counts();
        LaneView {
            state: self.0.state.get(),
            seq: core.engine.seq().0,
            durable_seq: core.journal.as_ref().map_or(core.engine.seq().0, |journal| journal.durable_seq().0),
            queued: queue.len(),
            conflated,
            refused,
            held: core.held.len(),
            not_sent: self.0.not_sent.get(),
            disk_full: core.full,
            dropped: core.dropped,
        }
    }

    /// Says who sends the commands of an account; `None`: nobody, they come back as not sent.
    pub fn set_writer(&self, account: AccountIx, writer: Option<Rc<dyn VenueWriter>>) {
        match writer {
            Some(writer) => self.0.writers.borrow_mut().insert(account, writer),
            None => self.0.writers.borrow_mut().remove(&account),
        };
        self.0.work.notify_one();
    }

    /// Has somebody see every step from here on.
    pub fn tap(&self, tap: Box<dyn Tap>) {
        self.0.taps.borrow_mut().push(tap);
    }

    /// Says who is told of faults.
    pub fn set_owner(&self, owner: Rc<dyn LaneOwner>) {
        *self.0.owner.borrow_mut() = Some(owner);
    }

    /// Whether the draining task would find something to do at once.
    pub fn is_idle(&self) -> bool {
        let core = self.0.core.borrow();
        self.0.queue.borrow().len() == 0 && core.held.is_empty()
    }

    /// Tells the owner that a broken engine will not be rebuilt any more.
    pub(crate) fn give_up(&self) {
        self.0.tell(LaneEvent::GivenUp);
    }

    /// Tells the owner that the process cannot go on.
    pub(crate) fn lose(&self, reason: String) {
        self.0.tell(LaneEvent::Ended(reason));
    }

    /// Makes everything that was appended durable, and releases what waited for it.
    pub fn sync(&self) -> Result<(), AppendError> {
        let synced = self.0.working(|inner| inner.core.borrow_mut().journal.as_mut().map_or(Ok(()), Journal::sync_now));
        self.0.release();
        synced
    }
}

impl Inner {
    fn tell(&self, event: LaneEvent) {
        let owner = self.owner.borrow().clone();
        if let Some(owner) = owner {
            owner.told(event);
        }
    }

    /// Does what takes long by its nature.
    fn working<T>(&self, work: impl FnOnce(&Inner) -> T) -> T {
        let before = self.pulse.enter(Phase::Works);
        let done = work(self);
        self.pulse.enter(before);
        done
    }

    /// Publishes for the watchdog what changed of orders.
    fn publish_orders(&self) {
        let mut core = self.core.borrow_mut();
        let changed = std::mem::replace(&mut core.unpublished, Unpublished::Nothing);
        if changed != Unpublished::Nothing {
            self.pulse.publish(&core.engine, changed == Unpublished::Instruments);
        }
    }

    fn push(&self, input: Input) {
        self.queue.borrow_mut().push(input);
    }

    /// The journal takes nothing more.
    fn die(&self, error: &AppendError) {
        if self.state.get() != LaneState::Closed {
            self.state.set(LaneState::Dead);
            self.tell(LaneEvent::JournalFailed(error.to_string()));
        }
    }

    /// Market data of a symbol is missing from here on.
    fn missed(&self, symbol: SymbolIx) {
        self.push(Input::Stream(StreamState::MarketDown(symbol, StreamFault::Overflow)));
    }
}

impl Core {
    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("a lane that is not closed has its journal")
    }
}
