//! The engine: admits one input at a time and runs its whole cascade to the end before the next.
//!
//! Live, paper, backtest, replay and standby run this same code; they differ in where inputs come from, who plays the venue,
//! and the clock. In: [`Admitted`] inputs. Out: [`Decision`]s, to be journaled and then released. It has no clock and does no I/O.
//!
//! * `cascade` runs one input. * [`asked`] takes commands of people. * [`flow`] says who receives what. * [`fold`] is recovery. * [`snapshot`] writes and reads the whole state.
//! * [`driver`] runs an engine beside a simulated venue.

use crate::book::Markets;
use crate::config::EngineConfig;
use crate::event::{Admitted, Decision, Equity, Event, Input, Station, TimerId, VirtualPosition};
use crate::id::{AccountIx, Seq, StrategyIx};
use crate::instrument::Universe;
use crate::node::{Context, Outbox};
use crate::order::desk::Desk;
use crate::order::reconcile::Reconciler;
use crate::order::{Fill, OrderUpdate};
use crate::position::ledger::Ledger;
use crate::risk::gate::Gate;
use crate::risk::view::GateView;
use crate::risk::watch::Risk;
use crate::strategy::registry::Registry;
use crate::strategy::runner::Runner;
use crate::time::Ts;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

pub mod asked;
pub mod budget;
mod cascade;
pub mod driver;
pub mod facts;
pub mod flow;
pub mod fold;
pub mod inbox;
pub mod parity;
pub mod snapshot;
pub mod timers;

use asked::{Keys, Overrides};
use cascade::Nodes;
use flow::Wiring;
use timers::Timers;

/// Events that one step of one node may emit: a page of a thousand missed trades makes two of each, and more.
pub const OUTBOX_MAX: usize = 8_192;
/// Events that one input's cascade may run to.
pub const CASCADE_MAX: usize = 16_384;

/// A node failed at one input: it panicked, or emitted more than its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which node.
    pub station: Station,
    /// At which input.
    pub seq: Seq,
    /// How.
    pub kind: FaultKind,
}

/// How a node failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It panicked.
    Panicked,
    /// It emitted more than its bound, or a cascade ran past its bound at it; the rest was dropped.
    Overrun,
}

impl Fault {
    /// Whether the deciding nodes have to be rebuilt by a fold before the next input. What a strategy emits beyond its bound may
    /// be dropped; what a deciding node emits tells others of fills and orders.
    pub fn is_deciding(&self) -> bool {
        !matches!(self.station, Station::Runner(_))
    }
}

/// Watches the engine from outside: times steps, publishes where the engine is, collects what happened. It changes nothing.
///
/// `before_step` runs inside the same catch as the node's step, so a panic in it is that node's fault; this is how tests make
/// any node fail without a hook in the product.
pub trait Observer: Send {
    /// A node is about to take an event.
    fn before_step(&mut self, _station: Station, _seq: Seq, _event: &Event) {}
    /// The node is done.
    fn after_step(&mut self, _station: Station, _seq: Seq) {}
    /// An event was taken from the agenda, before it is routed.
    fn event(&mut self, _seq: Seq, _now: Ts, _event: &Event) {}
}

/// What the last step told of orders, fills and worth: for views and projections, not journaled because recovery recomputes it.
#[derive(Debug, Default)]
pub struct Happened {
    /// Orders that changed.
    pub orders: Vec<OrderUpdate>,
    /// Fills, each told once.
    pub fills: Vec<Fill>,
    /// Virtual positions that changed.
    pub positions: Vec<VirtualPosition>,
    /// Accounts whose worth was computed anew.
    pub equities: Vec<Equity>,
}

impl Happened {
    fn clear(&mut self) {
        self.orders.clear();
        self.fills.clear();
        self.positions.clear();
        self.equities.clear();
    }
}

/// The engine. See the module's text.
pub struct Engine {
    registry: Arc<Registry>,
    universe: Universe,
    config: EngineConfig,
    wiring: Wiring,
    markets: Markets,
    nodes: Nodes,
    timers: Timers,
    keys: Keys,
    overrides: Overrides,
    epoch: u32,
    now: Ts,
    seq: Seq,
    commands: Cell<u64>,
    folding: bool,
    // Below: scratch space of one step, empty between steps.
    agenda: VecDeque<(Option<Station>, Event)>,
    stations: Vec<Station>,
    outbox: Outbox,
    decisions: Vec<Decision>,
    faults: Vec<Fault>,
    happened: Happened,
    observer: Option<Box<dyn Observer>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("seq", &self.seq)
            .field("now", &self.now)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without instruments, accounts or strategies: all of them come as inputs.
    pub fn new(registry: Arc<Registry>) -> Engine {
        Engine {
            registry,
            universe: Universe::default(),
            config: EngineConfig::default(),
            wiring: Wiring::default(),
            markets: Markets::default(),
            nodes: Nodes::default(),
            timers: Timers::default(),
            keys: Keys::default(),
            overrides: Overrides::default(),
            epoch: 0,
            now: Ts::ZERO,
            seq: Seq(0),
            commands: Cell::new(0),
            folding: false,
            agenda: VecDeque::with_capacity(64),
            stations: Vec::with_capacity(16),
            outbox: Outbox::new(OUTBOX_MAX),
            decisions: Vec::with_capacity(16),
            faults: Vec::new(),
            happened: Happened::default(),
            observer: None,
        }
    }

    /// Has somebody watch from here on.
    pub fn observe(&mut self, observer: Option<Box<dyn Observer>>) {
        self.observer = observer;
    }

    /// Gives an input the next number and a time that never decreases.
    pub fn admit(&self, wall: Ts, input: Input) -> Admitted {
        Admitted { seq: Seq(self.seq.0 + 1), at: wall.max(self.now), input }
    }

    /// Runs one admitted input's cascade to its end. What was decided stands in [`Engine::decisions`] until the next step.
    pub fn step(&mut self, admitted: Admitted) {
        debug_assert_eq!(admitted.seq.0, self.seq.0 + 1, "inputs are numbered without a gap");
        self.decisions.clear();
        self.faults.clear();
        self.happened.clear();
        let first = self.begin(admitted);
        self.cascade(first);
    }

    /// What the last step told of orders, fills and worth.
    pub fn happened(&self) -> &Happened {
        &self.happened
    }

    /// What the last step decided, in order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Takes the decisions of the last step.
    pub fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }

    /// Gives the room of decisions that were taken back, so that the next ones need none.
    pub fn recycle(&mut self, mut decisions: Vec<Decision>) {
        if self.decisions.is_empty() {
            decisions.clear();
            self.decisions = decisions;
        }
    }

    /// The faults of the last step. After a deciding fault the engine must be rebuilt by a fold before the next input.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The timer that is due first; the owner admits `Input::Timer` when its time has come.
    pub fn next_timer(&self) -> Option<(Ts, TimerId)> {
        self.timers.next()
    }

    /// The number of the last input.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The time of the last input.
    pub fn now(&self) -> Ts {
        self.now
    }

    /// The epoch of client order ids.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Assets and instruments.
    pub fn universe(&self) -> &Universe {
        &self.universe
    }

    /// The configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Books, quotes and marks.
    pub fn markets(&self) -> &Markets {
        &self.markets
    }

    /// An account's order desk.
    pub fn desk(&self, account: AccountIx) -> Option<&Desk> {
        self.nodes.desks.get(account.ix())
    }

    /// An account's ledger.
    pub fn ledger(&self, account: AccountIx) -> Option<&Ledger> {
        self.nodes.ledgers.get(account.ix())
    }

    /// An account's gate.
    pub fn gate(&self, account: AccountIx) -> Option<&Gate> {
        self.nodes.gates.get(account.ix())
    }

    /// What people may see of an account's gate at this moment.
    pub fn gate_view(&self, account: AccountIx) -> Option<GateView> {
        // A view asks for nothing, so it takes no numbers of commands.
        let commands = Cell::new(self.commands.get());
        let (markets, universe, config, commands) = (&self.markets, &self.universe, &self.config, &commands);
        let context = Context { now: self.now, seq: self.seq, epoch: self.epoch, markets, universe, config, commands };
        self.gate(account).map(|gate| gate.view(&context))
    }

    /// An account's reconciliation.
    pub fn reconciler(&self, account: AccountIx) -> Option<&Reconciler> {
        self.nodes.reconcilers.get(account.ix())
    }

    /// The risk node.
    pub fn risk(&self) -> &Risk {
        &self.nodes.risk
    }

    /// A strategy's runner.
    pub fn runner(&self, strategy: StrategyIx) -> Option<&Runner> {
        strategy.ix().checked_sub(1).and_then(|at| self.nodes.runners.get(at))
    }
}
