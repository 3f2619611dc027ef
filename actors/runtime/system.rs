//! The system: starts the components, routes faults to them, stops them in order.
//!
//! It starts in two phases. [`begin`] starts the system arbiter and the services, in the reverse of their stop order, so that the daemon
//! can be seen and stopped while it recovers and waits for the exchange; [`SystemHandle::attach`] then starts the components beside
//! the lane, again in the reverse of their stop order. So the whole order of the start differs from the reverse of the stop in
//! this: `health_checker` and `optimizer` come before `network_manager`, and `websocket_connections` comes with the services.
//! It owns the lane and lives on its thread, which must run a `LocalSet` (an actix arbiter is one).
//! Tests: `tests`, with a venue behind the lane and parts that panic, hang and refuse to stop.

mod arbiter;
mod router;
mod services;
mod stopping;

use super::component::{Component, ComponentState, ComponentView, Placement};
use super::console::{Console, Phase, PhaseView, Shared};
use super::definitions::Definitions;
use super::lane::{Lane, LaneView};
use super::service::Services;
use super::stop::{StopPlan, StopReport, Unstopped};
use super::supervise::{Line, Managed, NotRestarted, supervise};
use super::watchdog::Heart;
use crate::market_data_streams::{MarketDataStreams, StreamGroup};
use crate::network_manager::{Network, NetworkManager};
use crate::order_managers::{AccountSetup, OrderManagers, OrderWord};
use crate::position_managers::PositionManagers;
use crate::risk_engine::{RiskEngine, RiskWord};
use crate::strategy_runners::StrategyRunners;
use actix::prelude::*;
use arbiter::SystemArbiter;
use qcat_core::event::{HaltReason, Scope};
use qcat_io::net::NetError;
use router::{LogTap, Router};
use serde::Serialize;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use stopping::Stop;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long cancels may take to leave when control is lost, before the process ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often actors are looked after.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Looks in a row at a system arbiter that does not move, after which it is blocked for good.
const BLOCKED_LOOKS: u32 = 30;
/// How long the components may take to be looked at.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// What a system begins with.
pub struct BeginOptions {
    /// How to stop.
    pub stop: StopPlan,
    /// The work of the services. They are given the console, which answers from here on.
    pub services: Box<dyn FnOnce(&Console) -> Services>,
    /// Whether services have a thread of their own, as they have in life; otherwise they share this one.
    pub own_thread: bool,
    /// Ends the process at once, as a second signal does.
    pub force: Box<dyn Fn() + Send + Sync>,
}

/// What trades.
pub struct LaneOptions {
    /// The lane, begun and not running yet.
    pub lane: Lane,
    /// The way to the exchange.
    pub network: Network,
    /// Accounts, in the order of the configuration.
    pub accounts: Vec<AccountSetup>,
    /// Groups of symbols.
    pub streams: Vec<StreamGroup>,
    /// How often the exchange is asked for its time.
    pub probe_every: Duration,
    /// How its definitions are kept up to date; `None`: they are not asked for again.
    pub definitions: Option<Definitions>,
}

/// Everything at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    /// How far the daemon is.
    pub phase: PhaseView,
    /// The lane; `None`: it is not composed yet.
    pub lane: Option<LaneView>,
    /// All components, in stop order.
    pub components: Vec<ComponentView>,
    /// How far the stop is, once it has begun.
    pub stop: Option<StopReport>,
}

/// What the lane's thread has of the system.
pub(crate) struct Inner {
    plan: StopPlan,
    shared: Arc<Shared>,
    parts: RefCell<Vec<Rc<dyn Managed>>>,
    attached: RefCell<Option<Attached>>,
    /// Until the stop is over.
    arbiter: RefCell<Option<SystemArbiter>>,
    ended: watch::Sender<Option<String>>,
}

#[derive(Clone)]
struct Attached {
    lane: Lane,
    orders: Line<OrderManagers>,
    risk: Line<RiskEngine>,
}

impl Inner {
    fn lane(&self) -> Option<Lane> {
        self.attached.borrow().as_ref().map(|attached| attached.lane.clone())
    }

    fn part(&self, component: Component) -> Option<Rc<dyn Managed>> {
        self.parts.borrow().iter().find(|part| part.component() == component).cloned()
    }

    async fn tree(&self) -> Tree {
        let deadline = Instant::now() + LOOK_TIME;
        let mut components = Vec::new();
        for component in self.plan.order() {
            let view = match self.part(*component) {
                None => ComponentView::of(*component, ComponentState::Pending),
                Some(part) => match tokio::time::timeout_at(deadline, part.view()).await {
                    Ok(Some(view)) => view,
                    Ok(None) | Err(_) => ComponentView::of(*component, ComponentState::Silent),
                },
            };
            let stop_within_ms = u64::try_from(self.plan.component_timeout(*component).as_millis()).unwrap_or(u64::MAX);
            components.push(ComponentView { stop_within_ms, ..view });
        }
        let phase = self.shared.current_phase();
        Tree { phase, lane: self.lane().map(|lane| lane.view()), components, stop: self.shared.report(|r| r.clone()) }
    }
}

/// The system's actor.
pub(crate) struct SystemActor {
    inner: Rc<Inner>,
    /// The last pulse of the system arbiter, and how often it was the same.
    pulse: (u64, u32),
}

/// A running system. Clones are the same.
#[derive(Clone)]
pub struct SystemHandle {
    actor: Addr<SystemActor>,
    inner: Rc<Inner>,
}

/// Starts the services. Returns when they have been told to start.
pub async fn begin(options: BeginOptions) -> std::io::Result<SystemHandle> {
    let BeginOptions { stop, services, own_thread, force } = options;
    let shared = Shared::new(Unstopped::all(&stop), force);
    let arbiter = own_thread.then(SystemArbiter::start).transpose()?;
    let inner = Rc::new(Inner {
        plan: stop,
        shared: shared.clone(),
        parts: RefCell::default(),
        attached: RefCell::default(),
        arbiter: RefCell::default(),
        ended: watch::Sender::new(None),
    });
    let actor = SystemActor { inner: inner.clone(), pulse: (0, 0) }.start();
    let handle = SystemHandle { actor, inner };
    let work = services(&handle.console());
    let parts = services::start(work, handle.actor.clone(), arbiter.as_ref()).await?;
    *handle.inner.parts.borrow_mut() = parts;
    *handle.inner.arbiter.borrow_mut() = arbiter;
    handle.tell_to_begin(Placement::System).await;
    Ok(handle)
}

impl SystemHandle {
    /// Starts what trades. Returns when every component has been told to start and the lane runs.
    pub async fn attach(&self, options: LaneOptions) -> Result<(), NetError> {
        let LaneOptions { lane, network, accounts, streams, probe_every, definitions } = options;
        let names = lane.read(|e| e.config().accounts.iter().map(|account| account.name.to_string()).collect());
        let orders = OrderManagers::new(accounts, network.clone())?;
        let (probed, streamed, traded) = (network.clone(), network.clone(), network);
        let network = supervise(lane.clone(), |_| NetworkManager::new(probed, probe_every, definitions));
        let risk = supervise(lane.clone(), |_| RiskEngine);
        let positions = supervise(lane.clone(), |_| PositionManagers::new(names));
        let orders = supervise(lane.clone(), |_| orders);
        let markets = supervise(lane.clone(), |_| MarketDataStreams::new(streams, streamed));
        let strategies = supervise(lane.clone(), |line| StrategyRunners::new(traded, &lane, line));
        let parts: [Rc<dyn Managed>; 6] = [
            Rc::new(strategies.clone()),
            Rc::new(markets.clone()),
            Rc::new(orders.clone()),
            Rc::new(positions.clone()),
            Rc::new(risk.clone()),
            Rc::new(network),
        ];
        self.inner.parts.borrow_mut().extend(parts);
        let attached = Attached { lane: lane.clone(), orders: orders.clone(), risk: risk.clone() };
        *self.inner.attached.borrow_mut() = Some(attached);
        let system = self.actor.clone();
        lane.set_owner(Rc::new(Router { system, strategies, markets, orders, positions, risk }));
        lane.tap(Box::new(LogTap));
        self.tell_to_begin(Placement::Trading).await;
        // Last: what the start decided finds its writers.
        lane.run();
        self.phase(Phase::Running, None);
        Ok(())
    }

    async fn tell_to_begin(&self, placement: Placement) {
        for component in self.inner.plan.order().iter().rev().filter(|c| c.policy().placement == placement) {
            if let Some(part) = self.inner.part(*component) {
                part.begin().await;
            }
        }
    }

    /// The daemon came this far; `reason`: why it is no further.
    pub fn phase(&self, phase: Phase, reason: Option<String>) {
        self.inner.shared.phase(phase, reason);
    }

    /// What other threads may see and ask.
    pub fn console(&self) -> Console {
        Console::new(self.actor.clone(), self.inner.shared.clone())
    }

    /// Stops everything in order, however far the start came; a second call waits for the same stop.
    pub async fn stop(&self) -> StopReport {
        match self.actor.send(StopAll).await {
            Ok(report) => report,
            Err(error) => {
                let mut report = StopReport::pending(&self.inner.plan);
                (report.journal, report.forced) = (Some(error.to_string()), true);
                report
            }
        }
    }

    /// Has a heart beat on the thread of the services; without such a thread, on this one.
    pub async fn beats(&self, heart: Heart) {
        let job = move || drop(tokio::task::spawn_local(heart.beat()));
        let arbiter = self.inner.arbiter.borrow().as_ref().map(SystemArbiter::jobs);
        match arbiter {
            // A thread that is gone never beats: that is what a heart tells.
            Some(jobs) => drop(jobs.send(Box::new(job))),
            None => job(),
        }
    }

    /// Waits until somebody wants a stop over the console, and says why.
    pub async fn stop_wanted(&self) -> String {
        self.inner.shared.stop_wanted().await
    }

    /// Everything at one look; `None` when the system's actor is dead.
    pub async fn tree(&self) -> Option<Tree> {
        self.actor.send(GetTree).await.ok()
    }

    /// The components that are not stopped, to be read from any thread.
    pub fn unstopped(&self) -> Unstopped {
        self.inner.shared.unstopped.clone()
    }

    /// The kill switch: nothing that adds risk leaves from here on, and entries are cancelled. Without a lane nothing leaves.
    pub fn kill(&self) {
        if let Some(attached) = &*self.inner.attached.borrow() {
            attached.risk.tell(RiskWord::Kill);
            attached.lane.latch().set(HaltReason::KillSwitch);
        }
    }

    /// The halts in force.
    pub fn halts(&self) -> Vec<(Scope, HaltReason)> {
        self.inner.lane().map_or_else(Vec::new, |lane| lane.read(|engine| engine.risk().view().halts))
    }

    /// Lifts a halt.
    pub fn resume(&self, scope: Scope) {
        if let Some(attached) = &*self.inner.attached.borrow() {
            attached.risk.tell(RiskWord::Resume(scope));
        }
    }

    /// Waits until the process has to end by itself, and says why.
    pub async fn ended(&self) -> String {
        let mut ended = self.inner.ended.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the system's actor is gone".to_owned(),
        }
    }
}

impl Actor for SystemActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(LOOK_AFTER, |me, context| {
            if me.inner.ended.borrow().is_some() {
                return;
            }
            let parts = me.inner.parts.borrow();
            let dead = parts.iter().find(|part| !part.is_alive()).map(|part| part.component());
            drop(parts);
            if let Some(component) = dead {
                me.lose(format!("the actor of {component} is dead"), context);
            } else if me.is_arbiter_blocked() {
                me.end("the thread of the services is blocked".to_owned());
            }
        });
    }
}

impl SystemActor {
    fn is_arbiter_blocked(&mut self) -> bool {
        let arbiter = self.inner.arbiter.borrow();
        let Some(arbiter) = &*arbiter else { return false };
        let (last, still) = self.pulse;
        self.pulse = if arbiter.pulse() == last { (last, still + 1) } else { (arbiter.pulse(), 0) };
        self.pulse.1 >= BLOCKED_LOOKS
    }

    /// The process has to end, in order: the lane is sound.
    fn end(&mut self, reason: String) {
        if self.inner.ended.borrow().is_none() {
            tracing::error!(code = "daemon_stops", %reason, "the daemon stops");
            self.inner.ended.send_replace(Some(reason));
        }
    }

    /// Nothing more can be relied on: entries are cancelled, then the process ends.
    fn lose(&mut self, reason: String, context: &mut Context<Self>) {
        tracing::error!(code = "control_lost", %reason, "control is lost");
        if let Some(attached) = &*self.inner.attached.borrow() {
            attached.lane.latch().set(HaltReason::ControlLost);
            attached.orders.tell(OrderWord::CancelEntries);
        }
        context.run_later(LAST_WORDS, move |me, _| {
            me.inner.ended.send_replace(Some(reason));
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

/// A service is past what the daemon can do without.
#[derive(Message)]
#[rtype(result = "()")]
struct EndInOrder(String);

impl Handler<EndInOrder> for SystemActor {
    type Result = ();

    fn handle(&mut self, EndInOrder(reason): EndInOrder, _: &mut Context<Self>) {
        self.end(reason);
    }
}

#[derive(Message)]
#[rtype(result = "Tree")]
pub(super) struct GetTree;

impl Handler<GetTree> for SystemActor {
    type Result = ResponseFuture<Tree>;

    fn handle(&mut self, _: GetTree, _: &mut Context<Self>) -> ResponseFuture<Tree> {
        let inner = self.inner.clone();
        Box::pin(async move { inner.tree().await })
    }
}

/// A person wants a part restarted.
#[derive(Message)]
#[rtype(result = "Result<(), NotRestarted>")]
pub(super) struct RestartPart(pub Component, pub Option<String>);

impl Handler<RestartPart> for SystemActor {
    type Result = ResponseFuture<Result<(), NotRestarted>>;

    fn handle(&mut self, RestartPart(component, child): RestartPart, _: &mut Context<Self>) -> Self::Result {
        let part = self.inner.part(component);
        Box::pin(async move {
            match part {
                Some(part) => part.restart(child).await,
                None => Err(NotRestarted::NotRunning),
            }
        })
    }
}

/// What is called with the lane.
pub(super) type LaneCall = Box<dyn FnOnce(Option<&Lane>) + Send>;

/// Calls this with the lane.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct OnLane(pub LaneCall);

impl Handler<OnLane> for SystemActor {
    type Result = ();

    fn handle(&mut self, OnLane(call): OnLane, _: &mut Context<Self>) {
        call(self.inner.lane().as_ref());
    }
}

#[derive(Message)]
#[rtype(result = "StopReport")]
struct StopAll;

impl Handler<StopAll> for SystemActor {
    type Result = ResponseFuture<StopReport>;

    fn handle(&mut self, _: StopAll, _: &mut Context<Self>) -> ResponseFuture<StopReport> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let first = inner.shared.report(|report| {
                let first = report.is_none();
                report.get_or_insert_with(|| StopReport::pending(&inner.plan));
                first
            });
            if first {
                Stop(inner.clone()).run().await;
                inner.arbiter.take();
            }
            loop {
                if let Some(done) = inner.shared.report(|report| report.clone()).filter(|report| report.over) {
                    return done;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    }
}

#[cfg(test)]
mod tests;
