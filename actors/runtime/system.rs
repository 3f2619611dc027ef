//! The system: starts the components in the reverse of their stop order, routes faults to them, stops them in order.
//!
//! It owns the lane. The final snapshot comes after `risk_engine`, the journal closes at the very end. It lives on the thread
//! of the lane, which must run a `LocalSet` (an actix arbiter is one).
//! Tests: `tests`, with a venue behind the lane and parts that panic, hang and refuse to stop.

use super::component::{Component, ComponentView};
use super::definitions::Definitions;
use super::lane::{Lane, LaneEvent, LaneOwner, LaneState, LaneView, Step, Tap};
use super::stop::{LastState, StopPlan, StopReport, StopState, Unstopped};
use super::supervise::{Cause, Line, Managed, supervise};
use crate::market_data_streams::{MarketDataStreams, Resync, StreamGroup};
use crate::network_manager::{Network, NetworkManager};
use crate::order_managers::{AccountSetup, OrderManagers, OrderWord};
use crate::position_managers::PositionManagers;
use crate::risk_engine::{RiskEngine, RiskWord};
use crate::strategy_runners::StrategyRunners;
use actix::prelude::*;
use qcat_core::engine::Fault;
use qcat_core::event::{Decision, HaltReason, Scope, Station};
use qcat_core::id::SymbolIx;
use qcat_io::journal::SnapshotWriteError;
use qcat_io::net::NetError;
use serde::Serialize;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long cancels may take to leave when control is lost, before the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often actors are looked after.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What a system is made of.
pub struct SystemOptions {
    /// The lane, begun and not running yet.
    pub lane: Lane,
    /// The way to the exchange.
    pub network: Network,
    /// Accounts, in the order of the configuration.
    pub accounts: Vec<AccountSetup>,
    /// Groups of symbols.
    pub streams: Vec<StreamGroup>,
    /// How to stop.
    pub stop: StopPlan,
    /// How often the exchange is asked for its time.
    pub probe_every: Duration,
    /// How its definitions are kept up to date; `None`: they are not asked for again.
    pub definitions: Option<Definitions>,
}

/// Everything at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// The lane.
    pub lane: LaneView,
    /// Components in stop order.
    pub components: Vec<ComponentView>,
    /// How far the stop is, once it has begun.
    pub stop: Option<StopReport>,
}

type Parts = Rc<Vec<Box<dyn Managed>>>;

/// The system's actor.
struct SystemActor {
    lane: Lane,
    parts: Parts,
    plan: StopPlan,
    report: Rc<RefCell<Option<StopReport>>>,
    unstopped: Unstopped,
    orders: Line<OrderManagers>,
    ended: watch::Sender<Option<String>>,
}

/// A running system. Clones are the same.
#[derive(Clone)]
pub struct SystemHandle {
    actor: Addr<SystemActor>,
    lane: Lane,
    risk: Line<RiskEngine>,
    unstopped: Unstopped,
    ended: watch::Receiver<Option<String>>,
}

/// Builds every component and starts them. Returns when they have been told to start.
pub async fn start(options: SystemOptions) -> Result<SystemHandle, NetError> {
    let SystemOptions { lane, network, accounts, streams, stop, probe_every, definitions } = options;
    let names = lane.read(|e| e.config().accounts.iter().map(|account| account.name.to_string()).collect());
    let orders = OrderManagers::new(accounts, network.clone())?;
    let (probed, streamed, traded) = (network.clone(), network.clone(), network);
    let network = supervise(lane.clone(), |_| NetworkManager::new(probed, probe_every, definitions));
    let risk = supervise(lane.clone(), |_| RiskEngine);
    let positions = supervise(lane.clone(), |_| PositionManagers::new(names));
    let orders = supervise(lane.clone(), |_| orders);
    let markets = supervise(lane.clone(), |_| MarketDataStreams::new(streams, streamed));
    let strategies = supervise(lane.clone(), |line| StrategyRunners::new(traded, &lane, line));
    let parts: Vec<Box<dyn Managed>> = vec![
        Box::new(strategies.clone()),
        Box::new(markets.clone()),
        Box::new(orders.clone()),
        Box::new(positions.clone()),
        Box::new(risk.clone()),
        Box::new(network),
    ];
    let (ended, over) = watch::channel(None);
    let unstopped = Unstopped::all(&stop);
    let system = SystemActor {
        lane: lane.clone(),
        parts: Rc::new(parts),
        plan: stop,
        unstopped: unstopped.clone(),
        report: Rc::default(),
        orders: orders.clone(),
        ended,
    };
    let parts = system.parts.clone();
    let begin: Vec<Component> = system.plan.order().iter().rev().copied().collect();
    let actor = system.start();
    lane.set_owner(Rc::new(Router {
        system: actor.clone(),
        strategies,
        markets,
        orders,
        positions,
        risk: risk.clone(),
    }));
    lane.tap(Box::new(LogTap));
    for component in begin {
        if let Some(part) = parts.iter().find(|part| part.component() == component) {
            part.begin().await;
        }
    }
    // Last: what the start decided finds its writers.
    lane.run();
    Ok(SystemHandle { actor, lane, risk, unstopped, ended: over })
}

impl SystemHandle {
    /// The lane.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Stops everything in order; a second call waits for the same stop.
    pub async fn stop(&self) -> StopReport {
        match self.actor.send(StopAll).await {
            Ok(report) => report,
            Err(error) => {
                let mut report = StopReport::pending(&StopPlan::default());
                (report.journal, report.forced) = (Some(error.to_string()), true);
                report
            }
        }
    }

    /// Everything at one look; `None` when the system's actor is dead.
    pub async fn tree(&self) -> Option<Tree> {
        self.actor.send(GetTree).await.ok()
    }

    /// The components that are not stopped, to be read from any thread.
    pub fn unstopped(&self) -> Unstopped {
        self.unstopped.clone()
    }

    /// The kill switch: nothing that adds risk leaves from here on, and entries are cancelled.
    pub fn kill(&self) {
        self.risk.tell(RiskWord::Kill);
        self.lane.latch().set(HaltReason::KillSwitch);
    }

    /// The halts in force.
    pub fn halts(&self) -> Vec<(Scope, HaltReason)> {
        self.lane.read(|engine| engine.risk().view().halts)
    }

    /// Lifts a halt.
    pub fn resume(&self, scope: Scope) {
        self.risk.tell(RiskWord::Resume(scope));
    }

    /// Waits until the process has to end by itself, and says why.
    pub async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the system's actor is gone".to_owned(),
        }
    }
}

/// Passes on what the lane tells.
struct Router {
    system: Addr<SystemActor>,
    strategies: Line<StrategyRunners>,
    markets: Line<MarketDataStreams>,
    orders: Line<OrderManagers>,
    positions: Line<PositionManagers>,
    risk: Line<RiskEngine>,
}

impl Router {
    fn fault(&self, fault: Fault) {
        tracing::error!(station = ?fault.station, seq = fault.seq.0, kind = ?fault.kind, "a node faulted");
        let cause = Cause::Node(fault);
        match fault.station {
            Station::Runner(strategy) => self.strategies.ended(strategy.ix().saturating_sub(1), cause),
            _ if !fault.is_deciding() => {}
            Station::Gate(account) | Station::Desk(account) | Station::Reconciler(account) => {
                self.orders.ended(account.ix(), cause);
            }
            Station::Ledger(account) => self.positions.ended(account.ix(), cause),
            Station::Risk | Station::Markets => self.risk.ended(0, cause),
        }
    }

    #[allow(clippy::disallowed_methods)] // Comes once, and must arrive.
    fn lost(&self, reason: String) {
        self.system.do_send(ControlLost(reason));
    }
}

impl LaneOwner for Router {
    fn told(&self, event: LaneEvent) {
        match event {
            LaneEvent::Faulted(fault) => self.fault(fault),
            LaneEvent::DiskFull => {
                tracing::error!("the disk is full: no new risk; free space; then `qcat run --resume` trades on")
            }
            LaneEvent::DiskFree => tracing::warn!("the disk has room again; halted until `qcat run --resume`"),
            LaneEvent::ClockSet(by) => {
                let (by, way) = (by.millis(), if by.nanos() < 0 { "back" } else { "forward" });
                tracing::error!(
                    by_ms = by,
                    "the machine's clock was set {way}; timers go on without it until a restart"
                );
            }
            LaneEvent::SnapshotFailed(error) => tracing::error!(%error, "no snapshot was written"),
            LaneEvent::GivenUp => {
                tracing::error!("the engine stays broken: entries are cancelled, a person has to restart the daemon");
                self.orders.tell(OrderWord::CancelEntries);
            }
            LaneEvent::JournalFailed(error) => self.lost(format!("the journal failed: {error}")),
            LaneEvent::Ended(error) => self.lost(error),
        }
    }

    fn resync(&self, symbol: SymbolIx) {
        self.markets.tell(Resync(symbol));
    }
}

/// Logs what operators must see of decisions.
struct LogTap;

impl Tap for LogTap {
    fn after_step(&mut self, step: &Step<'_>) {
        for decision in step.decisions {
            match decision {
                Decision::Alert(alert) => {
                    let (account, symbol, order) = (alert.account, alert.symbol, alert.order);
                    tracing::error!(code = ?alert.code, ?account, ?symbol, ?order, seq = step.seq.0, "{}", alert.text);
                }
                Decision::Runner { strategy, state } => tracing::info!(strategy = strategy.0, ?state, "strategy"),
                Decision::Halted { scope, reason } => tracing::warn!(?scope, ?reason, "halted"),
                Decision::Resumed { scope } => tracing::info!(?scope, "resumed"),
                Decision::Command(_) | Decision::Refused(_) => {}
            }
        }
    }
}

impl Actor for SystemActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(LOOK_AFTER, |me, context| {
            let dead = me.parts.iter().find(|part| !part.is_alive()).map(|part| part.component());
            if let Some(component) = dead
                && me.ended.borrow().is_none()
            {
                me.lose(format!("the actor of {component} is dead"), context);
            }
        });
    }
}

impl SystemActor {
    /// Nothing can be decided any more: entries are cancelled without the engine, then the process ends.
    fn lose(&mut self, reason: String, context: &mut Context<Self>) {
        tracing::error!(%reason, "control is lost");
        self.lane.latch().set(HaltReason::ControlLost);
        self.orders.tell(OrderWord::CancelEntries);
        context.run_later(LAST_WORDS, move |me, _| {
            me.ended.send_replace(Some(reason));
        });
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct ControlLost(String);

impl Handler<ControlLost> for SystemActor {
    type Result = ();

    fn handle(&mut self, ControlLost(reason): ControlLost, context: &mut Context<Self>) {
        self.lose(reason, context);
    }
}

#[derive(Message)]
#[rtype(result = "Tree")]
struct GetTree;

impl Handler<GetTree> for SystemActor {
    type Result = ResponseFuture<Tree>;

    fn handle(&mut self, _: GetTree, _: &mut Context<Self>) -> ResponseFuture<Tree> {
        let (lane, parts, report) = (self.lane.clone(), self.parts.clone(), self.report.clone());
        Box::pin(async move {
            let mut components = Vec::new();
            for part in parts.iter() {
                components.extend(part.view().await);
            }
            Tree { lane: lane.view(), components, stop: report.borrow().clone() }
        })
    }
}

#[derive(Message)]
#[rtype(result = "StopReport")]
struct StopAll;

impl Handler<StopAll> for SystemActor {
    type Result = ResponseFuture<StopReport>;

    fn handle(&mut self, _: StopAll, _: &mut Context<Self>) -> ResponseFuture<StopReport> {
        let (lane, parts, plan, report) =
            (self.lane.clone(), self.parts.clone(), self.plan.clone(), self.report.clone());
        let unstopped = self.unstopped.clone();
        Box::pin(async move {
            let first = report.borrow().is_none();
            if first {
                *report.borrow_mut() = Some(StopReport::pending(&plan));
                let stop = Stop { lane, parts, plan: plan.clone(), report: report.clone(), unstopped };
                stop.run().await;
            } else {
                while report.borrow().as_ref().is_some_and(is_under_way) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            let done = report.borrow().clone();
            done.unwrap_or_else(|| StopReport::pending(&plan))
        })
    }
}

fn is_under_way(report: &StopReport) -> bool {
    !report.over
}

/// A stop under way.
struct Stop {
    lane: Lane,
    parts: Parts,
    plan: StopPlan,
    report: Rc<RefCell<Option<StopReport>>>,
    unstopped: Unstopped,
}

impl Stop {
    async fn run(&self) {
        let within = self.plan.force_shutdown_after();
        let forced = tokio::time::timeout(within, self.in_order()).await.is_err();
        self.update(|report| (report.forced, report.over) = (forced, true));
    }

    async fn in_order(&self) {
        let began = Instant::now();
        for (at, component) in self.plan.order().iter().enumerate() {
            let part = self.parts.iter().find(|part| part.component() == *component);
            if let Some(part) = part {
                self.one(at, &**part, self.plan.allowance(began.elapsed())).await;
            }
            if *component == Component::RiskEngine {
                self.finish();
            }
        }
        self.note_last_state();
        if let Err(error) = self.lane.close() {
            tracing::error!(%error, "the journal was not closed in order");
            self.update(|report| report.journal = Some(error.to_string()));
        }
    }

    /// Nothing is admitted between this and the end of the journal: both come in one breath.
    fn note_last_state(&self) {
        if self.lane.state() == LaneState::Running {
            let (seq, state_hash) = self.lane.read(|engine| (engine.seq().0, engine.state_hash()));
            tracing::info!(seq, state_hash = %format_args!("{state_hash:016x}"), "the last state");
            self.update(|report| report.last = Some(LastState { seq, state_hash }));
        }
    }

    fn finish(&self) {
        match self.lane.finish() {
            Ok(()) => {}
            Err(SnapshotWriteError::Journal(error)) => {
                tracing::error!(%error, "the journal is not durable to its end");
                self.update(|report| report.journal = Some(error.to_string()));
            }
            // The journal alone is enough to recover: nothing is lost, and the stop is in order.
            Err(error) => tracing::error!(%error, "the last snapshot was not written: the next start takes longer"),
        }
    }

    async fn one(&self, at: usize, part: &dyn Managed, allowed: Duration) {
        let component = part.component();
        tracing::info!(%component, ?allowed, "stops");
        let began = Instant::now();
        self.update(|report| {
            let status = &mut report.components[at];
            (status.state, status.allowed_ms) = (StopState::Running, millis(allowed));
        });
        let in_time = !allowed.is_zero() && tokio::time::timeout(allowed, part.drain()).await.is_ok();
        let mut left = None;
        if !in_time {
            left = part.abort().await;
            tracing::error!(%component, left = left.as_deref().unwrap_or("nothing"), "did not stop in time: aborted");
        }
        self.unstopped.stopped(component);
        self.update(|report| {
            let status = &mut report.components[at];
            status.took_ms = millis(began.elapsed());
            status.left = left;
            status.state = match (in_time, allowed.is_zero()) {
                (true, _) => StopState::Stopped,
                (false, true) => StopState::Skipped,
                (false, false) => StopState::Failed,
            };
        });
    }

    fn update(&self, change: impl FnOnce(&mut StopReport)) {
        if let Some(report) = &mut *self.report.borrow_mut() {
            change(report);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
