//! The engine: admits one input at a time and runs its whole cascade to the end before the next.
//!
//! Live, paper, backtest, replay and standby run this same code; they differ in where inputs come from, who plays the venue,
//! and the clock. In: [`Admitted`] inputs. Out: [`Decision`]s, to be journaled and then released. It has no clock and does no I/O.
//!
//! * [`flow`] says who receives what. * [`fold`] is recovery. * [`snapshot`] writes and reads the whole state.
//! * [`driver`] runs an engine beside a simulated venue.

use crate::book::Markets;
use crate::config::EngineConfig;
use crate::event::{
    Admitted, Alert, AlertCode, Decision, Equity, Event, Input, OperatorCommand, Station, TimerId, VirtualPosition,
};
use crate::id::{AccountIx, Seq, StrategyIx};
use crate::instrument::Universe;
use crate::node::{Context, Node, Outbox};
use crate::order::desk::Desk;
use crate::order::reconcile::Reconciler;
use crate::order::{Fill, OrderUpdate};
use crate::position::ledger::Ledger;
use crate::risk::gate::Gate;
use crate::risk::watch::Risk;
use crate::strategy::registry::Registry;
use crate::strategy::runner::Runner;
use crate::time::Ts;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub mod budget;
pub mod driver;
pub mod flow;
pub mod fold;
pub mod inbox;
pub mod parity;
pub mod snapshot;
pub mod timers;

use flow::{Wiring, route};
use timers::Timers;

/// Events that one step of one node may emit.
pub const OUTBOX_MAX: usize = 1024;
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
    /// It emitted more than its bound; the rest was dropped.
    Overrun,
}

impl Fault {
    /// Whether the deciding nodes have to be rebuilt by a fold before the next input.
    pub fn is_deciding(&self) -> bool {
        !matches!(self.station, Station::Runner(_)) && self.kind == FaultKind::Panicked
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

/// The nodes of one trading thread.
#[derive(Default)]
struct Nodes {
    runners: Vec<Runner>,
    gates: Vec<Gate>,
    desks: Vec<Desk>,
    ledgers: Vec<Ledger>,
    reconcilers: Vec<Reconciler>,
    risk: Risk,
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
        self.begin(admitted);
        self.cascade();
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

    /// Takes what the engine itself keeps of an input and puts the first event on the agenda.
    fn begin(&mut self, admitted: Admitted) {
        self.seq = admitted.seq;
        self.now = admitted.at;
        match &admitted.input {
            Input::Market(market) => {
                self.markets.apply(market);
            }
            Input::Definition(definition) => {
                if let Err(error) = self.universe.define(definition) {
                    let text = Arc::from(error.to_string());
                    self.alert(Alert {
                        code: AlertCode::SettingsDiffer,
                        account: None,
                        symbol: None,
                        order: None,
                        text,
                    });
                }
            }
            Input::Configuration(config) => self.configure(config),
            Input::Start { epoch } => self.epoch = *epoch,
            Input::Timer(timer) => self.timers.disarm(*timer),
            Input::Rebuild(station) if !matches!(station, Station::Runner(_)) => {
                // Whatever broke, nothing that it told others is trusted before the venue was asked.
                let accounts = match station.account() {
                    Some(account) => account.0..account.0 + 1,
                    None => 0..self.config.accounts.len() as u16,
                };
                self.agenda.extend(accounts.map(|account| (None, Event::Untrusted(AccountIx(account)))));
            }
            Input::Command(OperatorCommand::Intent(intent)) => {
                if !self.folding {
                    self.agenda.push_back((None, Event::Intent(*intent)));
                }
                return;
            }
            _ => {}
        }
        self.agenda.push_back((None, Event::Input(admitted.input)));
    }

    fn configure(&mut self, config: &EngineConfig) {
        self.wiring = Wiring::new(config);
        for at in self.nodes.desks.len()..config.accounts.len() {
            let account = AccountIx(at as u16);
            self.nodes.desks.push(Desk::new(account));
            self.nodes.gates.push(Gate::new(account));
            self.nodes.ledgers.push(Ledger::new(account, config.accounts[at].limits.exposure_max.asset));
            self.nodes.reconcilers.push(Reconciler::new(account));
        }
        for at in self.nodes.runners.len()..config.strategies.len() {
            let setup = &config.strategies[at];
            self.nodes.runners.push(Runner::new(StrategyIx(at as u16 + 1), setup, self.registry.clone()));
        }
        self.config = config.clone();
    }

    fn alert(&mut self, alert: Alert) {
        if !self.folding {
            self.decisions.push(Decision::Alert(alert));
        }
    }

    /// Runs the agenda empty.
    fn cascade(&mut self) {
        let mut events = 0usize;
        while let Some((from, event)) = self.agenda.pop_front() {
            events += 1;
            if events > CASCADE_MAX {
                self.overrun(from);
                break;
            }
            if let Some(observer) = &mut self.observer {
                observer.event(self.seq, self.now, &event);
            }
            let mut stations = std::mem::take(&mut self.stations);
            stations.clear();
            route(&event, &self.wiring, &mut stations);
            for station in &stations {
                if !self.dispatch(*station, &event) {
                    // A deciding node is broken: what is left of the cascade is recomputed by the fold.
                    self.agenda.clear();
                    break;
                }
            }
            self.stations = stations;
            self.keep(event);
        }
    }

    /// Hands an event to one node. False when a deciding node panicked.
    #[inline]
    fn dispatch(&mut self, station: Station, event: &Event) -> bool {
        let Engine { nodes, outbox, observer, markets, universe, config, commands, registry: _, .. } = self;
        let context = Context { now: self.now, seq: self.seq, epoch: self.epoch, markets, universe, config, commands };
        let seq = self.seq;
        let step = catch_unwind(AssertUnwindSafe(|| {
            if let Some(observer) = observer {
                observer.before_step(station, seq, event);
            }
            nodes.on(station, event, &context, outbox);
            if let Some(observer) = observer {
                observer.after_step(station, seq);
            }
        }));
        let panicked = step.is_err();
        if panicked {
            self.outbox.clear();
            self.fault(station, FaultKind::Panicked);
        } else if self.outbox.take_overrun() > 0 {
            self.fault(station, FaultKind::Overrun);
        }
        for event in self.outbox.drain() {
            if !self.folding || survives_fold(&event) {
                self.agenda.push_back((Some(station), event));
            }
        }
        !panicked || matches!(station, Station::Runner(_))
    }

    fn fault(&mut self, station: Station, kind: FaultKind) {
        self.faults.push(Fault { station, seq: self.seq, kind });
        let text = match kind {
            FaultKind::Panicked => format!("{station:?} panicked at input {}", self.seq.0),
            FaultKind::Overrun => format!("{station:?} emitted more than {OUTBOX_MAX} events at input {}", self.seq.0),
        };
        let code = if kind == FaultKind::Panicked { AlertCode::NodeFault } else { AlertCode::Overrun };
        let alert = Alert { code, account: station.account(), symbol: None, order: None, text: text.into() };
        self.alert(alert);
        if let Station::Runner(strategy) = station
            && let Some(runner) = self.nodes.runner_mut(strategy)
        {
            runner.mark_faulted(&mut self.outbox);
        }
    }

    /// The cascade ran past its bound: whoever emitted last is at fault, the rest is dropped.
    fn overrun(&mut self, from: Option<Station>) {
        // Reports and fills that are still queued must not be lost: a deciding node is then rebuilt by the fold.
        let station = from.unwrap_or(Station::Markets);
        let only_intents = self.agenda.iter().all(|(_, event)| matches!(event, Event::Intent(_)));
        self.agenda.clear();
        self.fault(station, if only_intents { FaultKind::Overrun } else { FaultKind::Panicked });
    }

    /// Keeps what concerns the engine itself or the outside.
    fn keep(&mut self, event: Event) {
        match event {
            Event::Arm { timer, at } => self.timers.arm(timer, at),
            Event::Disarm(timer) => self.timers.disarm(timer),
            Event::Command(command) => self.decisions.push(Decision::Command(command)),
            Event::Refused(refused) => self.decisions.push(Decision::Refused(refused)),
            Event::Halted { scope, reason } => self.decisions.push(Decision::Halted { scope, reason }),
            Event::Resumed { scope } => self.decisions.push(Decision::Resumed { scope }),
            Event::Runner { strategy, state } => self.decisions.push(Decision::Runner { strategy, state }),
            Event::Alert(alert) => self.decisions.push(Decision::Alert(alert)),
            Event::Order(update) => self.happened.orders.push(update),
            Event::Fill(fill) => self.happened.fills.push(fill),
            Event::Position(position) => self.happened.positions.push(position),
            Event::Equity(equity) => self.happened.equities.push(equity),
            Event::Input(_)
            | Event::Intent(_)
            | Event::Approved(_)
            | Event::Budget(_)
            | Event::Reconciled(_)
            | Event::Untrusted(_)
            | Event::Finding(_) => {}
        }
    }
}

/// Whether an event that a node emits while folding is followed. Decisions are not: the recorded ones take their place.
fn survives_fold(event: &Event) -> bool {
    !matches!(
        event,
        Event::Intent(_)
            | Event::Approved(_)
            | Event::Refused(_)
            | Event::Command(_)
            | Event::Alert(_)
            | Event::Halted { .. }
            | Event::Resumed { .. }
            | Event::Runner { .. }
    )
}

impl Nodes {
    /// Hands an event to the node of a station. A station that does not exist takes nothing: its index came from outside.
    #[inline]
    fn on(&mut self, station: Station, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        match station {
            Station::Runner(strategy) => {
                if let Some(runner) = self.runner_mut(strategy) {
                    runner.on(event, context, out);
                }
            }
            Station::Gate(account) => on(self.gates.get_mut(account.ix()), event, context, out),
            Station::Desk(account) => on(self.desks.get_mut(account.ix()), event, context, out),
            Station::Ledger(account) => on(self.ledgers.get_mut(account.ix()), event, context, out),
            Station::Reconciler(account) => on(self.reconcilers.get_mut(account.ix()), event, context, out),
            Station::Risk => self.risk.on(event, context, out),
            Station::Markets => {}
        }
    }

    fn runner_mut(&mut self, strategy: StrategyIx) -> Option<&mut Runner> {
        strategy.ix().checked_sub(1).and_then(|at| self.runners.get_mut(at))
    }
}

#[inline]
fn on<N: Node>(node: Option<&mut N>, event: &Event, context: &Context<'_>, out: &mut Outbox) {
    if let Some(node) = node {
        node.on(event, context, out);
    }
}
