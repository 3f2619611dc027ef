//! One input's cascade: the agenda, the hand-over of each event to the nodes that receive it, and what is kept of it.

use super::flow::{Wiring, route};
use super::{CASCADE_MAX, Engine, Fault, FaultKind, OUTBOX_MAX};
use crate::config::EngineConfig;
use crate::event::{Admitted, Alert, AlertCode, Decision, Event, Input, Station};
use crate::id::{AccountIx, StrategyIx};
use crate::node::{Context, Node, Outbox};
use crate::order::desk::Desk;
use crate::order::reconcile::Reconciler;
use crate::position::ledger::Ledger;
use crate::risk::gate::Gate;
use crate::risk::watch::Risk;
use crate::strategy::runner::Runner;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The nodes of one trading thread.
#[derive(Default)]
pub(super) struct Nodes {
    pub(super) runners: Vec<Runner>,
    pub(super) gates: Vec<Gate>,
    pub(super) desks: Vec<Desk>,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) reconcilers: Vec<Reconciler>,
    pub(super) risk: Risk,
}

impl Engine {
    /// Takes what the engine itself keeps of an input. Returns the first event of its cascade.
    #[inline]
    pub(super) fn begin(&mut self, admitted: Admitted) -> Option<Event> {
        let Admitted { seq, at, input } = admitted;
        self.seq = seq;
        self.now = at;
        match &input {
            Input::Market(market) => {
                self.markets.apply(market);
            }
            Input::Command(_) | Input::Asked(_) | Input::Configuration(_) => return self.begin_otherwise(input),
            other => self.keep_input(other),
        }
        Some(Event::Input(input))
    }

    /// Inputs of which nodes are told something else.
    fn begin_otherwise(&mut self, input: Input) -> Option<Event> {
        match input {
            Input::Command(command) => self.begin_command(command),
            Input::Asked(asked) => self.begin_asked(*asked),
            Input::Configuration(config) => Some(self.begin_configuration(config)),
            other => Some(Event::Input(other)),
        }
    }

    fn keep_input(&mut self, input: &Input) {
        match input {
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
            _ => {}
        }
    }

    pub(super) fn configure(&mut self, config: &EngineConfig) {
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

    /// Runs the first event of an input and then the agenda until it is empty.
    #[inline]
    pub(super) fn cascade(&mut self, first: Option<Event>) {
        if let Some(event) = &first {
            self.take(event);
        }
        let mut events = 1usize;
        while let Some((from, event)) = self.agenda.pop_front() {
            events += 1;
            if events == CASCADE_MAX {
                self.overrun(from, &event);
                continue;
            }
            // What the fault itself brings about has room of its own.
            if events > CASCADE_MAX + OUTBOX_MAX {
                self.agenda.clear();
                break;
            }
            self.take(&event);
            self.keep(event);
        }
    }

    /// Hands an event to every node that receives it.
    #[inline]
    fn take(&mut self, event: &Event) {
        if let Some(observer) = &mut self.observer {
            observer.event(self.seq, self.now, event);
        }
        let mut stations = std::mem::take(&mut self.stations);
        stations.clear();
        route(event, &self.wiring, &mut stations);
        for station in &stations {
            if !self.dispatch(*station, event) {
                // A deciding node is broken: what is left of the cascade is recomputed by the fold.
                self.agenda.clear();
                break;
            }
        }
        self.stations = stations;
    }

    /// Hands an event to one node. False when a deciding node panicked.
    #[inline]
    pub(super) fn dispatch(&mut self, station: Station, event: &Event) -> bool {
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
        if !panicked && self.outbox.is_empty() {
            return true;
        }
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
            FaultKind::Overrun => format!("{station:?} emitted more than its bound at input {}", self.seq.0),
        };
        let code = if kind == FaultKind::Panicked { AlertCode::NodeFault } else { AlertCode::Overrun };
        let alert = Alert { code, account: station.account(), symbol: None, order: None, text: text.into() };
        self.alert(alert);
        if let Station::Runner(strategy) = station
            && let Some(runner) = self.nodes.runner_mut(strategy)
        {
            runner.mark_faulted(&mut self.outbox);
            // What finds no room here is not the fault of whoever steps next.
            self.outbox.take_overrun();
        }
    }

    /// The cascade ran past its bound: the strategy that emitted last is at fault, or else the node; the rest is dropped.
    /// Strategies' intents may be; where anything else is among it, reports and fills would be lost: then the deciding nodes are
    /// rebuilt by the fold too.
    #[cold]
    fn overrun(&mut self, from: Option<Station>, event: &Event) {
        // Behind a refusal or a report stands the strategy that wanted too much.
        let behind = |from: Option<Station>, event: &Event| match (from, event) {
            (Some(Station::Runner(_)), _) => from,
            (_, Event::Refused(refused)) => {
                let strategy = refused.intent.strategy();
                (strategy != StrategyIx::EXTERNAL).then_some(Station::Runner(strategy))
            }
            _ => None,
        };
        let mut rest = self.agenda.iter().rev();
        let strategy = behind(from, event).or_else(|| rest.find_map(|(from, event)| behind(*from, event)));
        let station = strategy.or(from).unwrap_or(Station::Markets);
        let is_intent = |event: &Event| matches!(event, Event::Intent(_));
        let only_intents = is_intent(event) && self.agenda.iter().all(|(_, event)| is_intent(event));
        self.agenda.clear();
        self.fault(station, FaultKind::Overrun);
        if !only_intents && matches!(station, Station::Runner(_)) {
            self.fault(Station::Markets, FaultKind::Overrun);
        }
        self.agenda.extend(self.outbox.drain().map(|event| (Some(station), event)));
    }

    /// Keeps what concerns the engine itself or the outside.
    pub(super) fn keep(&mut self, event: Event) {
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
            | Event::OrderAgain(_)
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

    pub(super) fn runner_mut(&mut self, strategy: StrategyIx) -> Option<&mut Runner> {
        strategy.ix().checked_sub(1).and_then(|at| self.runners.get_mut(at))
    }
}

#[inline]
fn on<N: Node>(node: Option<&mut N>, event: &Event, context: &Context<'_>, out: &mut Outbox) {
    if let Some(node) = node {
        node.on(event, context, out);
    }
}
