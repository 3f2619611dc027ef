#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::component::ComponentState;
use crate::runtime::lane::LaneState;
use crate::runtime::stop::{StopState, StopTimes};
use crate::runtime::testkit::*;
use qcat_core::binance::session::account::AccountOptions;
use qcat_core::binance::session::market::MarketOptions;
use qcat_core::engine::Observer;
use qcat_core::event::{Event, Input, RunnerState, Station, StopReason};
use qcat_core::id::{Seq, StrategyIx};
use qcat_core::time::Span;
use qcat_io::journal::Durability;
use qcat_io::net::tls::Connector;
use qcat_io::shell::Credentials;
use qcat_io::sign::Signer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::LocalSet;

/// A system around this lane, services on this thread.
async fn start(services: Services, stop: StopPlan, options: LaneOptions) -> SystemHandle {
    let begin = BeginOptions { stop, services: Box::new(|_| services), own_thread: false, force: Box::new(|| {}) };
    let handle = begin_with(begin).await;
    handle.attach(options).await.unwrap();
    handle
}

async fn begin_with(options: BeginOptions) -> SystemHandle {
    begin(options).await.unwrap()
}

fn second_each() -> StopPlan {
    let second = Duration::from_secs(1);
    let times = StopTimes { component_timeout: second, shutdown_timeout: 3 * second, ..StopTimes::default() };
    StopPlan::new(Component::ALL.to_vec(), times).unwrap()
}

/// Without sockets, around a lane with the simulated venue behind it.
fn lane_options(world: &World) -> LaneOptions {
    // Nobody listens there: the probe fails, and nothing else depends on it.
    let network = Network::new(Connector::new(None).unwrap(), "http://127.0.0.1:1").unwrap();
    let (lane, probe_every) = (world.lane.clone(), Duration::from_secs(60));
    LaneOptions { lane, network, accounts: vec![], streams: vec![], probe_every, definitions: None }
}

async fn system(world: &World) -> SystemHandle {
    let handle = start(Services::default(), second_each(), lane_options(world)).await;
    world.go();
    handle
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn component(tree: &Tree, component: Component) -> &ComponentView {
    tree.components.iter().find(|view| view.name == component).unwrap()
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_panicking_strategy_is_rebuilt_by_budget_then_given_up_while_the_other_trades_on() {
    let test = async {
        let world = World::running(&["flaky", "steady"], Durability::Async, None);
        let handle = system(&world).await;
        seconds(90).await;
        assert_eq!(world.runner(1), RunnerState::Stopped(StopReason::Faults));
        assert_eq!(world.runner(2), RunnerState::Running);
        let tree = handle.tree().await.unwrap();
        let runners = component(&tree, Component::StrategyRunners);
        assert_eq!((runners.state, runners.restarts), (ComponentState::Degraded, 5));
        assert_eq!(runners.exits, [("node_fault", 6)]);
        assert_eq!(runners.children[0].state, ComponentState::Failed);
        assert_eq!((runners.children[1].state, runners.children[1].restarts), (ComponentState::Running, 0));
        let places = world.wire.places_of(StrategyIx(2));
        seconds(5).await;
        assert!(world.wire.places_of(StrategyIx(2)) > places);
        assert!(serde_json::to_string(&tree).unwrap().contains("\"strategy_runners\""));
    };
    LocalSet::new().run_until(test).await;
}

struct Saboteur {
    armed: Arc<AtomicBool>,
    again: bool,
}

impl Observer for Saboteur {
    fn before_step(&mut self, station: Station, _seq: Seq, event: &Event) {
        let mark = matches!(event, Event::Input(Input::Market(_)));
        if mark && matches!(station, Station::Ledger(_)) && self.armed.swap(self.again, Ordering::AcqRel) {
            panic!("sabotage");
        }
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_ledger_panic_is_rebuilt_by_its_component_and_trading_goes_on() {
    let test = async {
        let armed = Arc::new(AtomicBool::new(false));
        let world = World::running(
            &["steady"],
            Durability::Async,
            Some(Box::new(Saboteur { armed: armed.clone(), again: false })),
        );
        let handle = system(&world).await;
        seconds(2).await;
        armed.store(true, Ordering::Release);
        while world.lane.state() == LaneState::Running {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seconds(5).await;
        assert_eq!(world.lane.state(), LaneState::Running);
        assert!(world.lane.read(|e| e.gate(ACCOUNT).unwrap().is_trusted()));
        let tree = handle.tree().await.unwrap();
        let ledgers = component(&tree, Component::PositionManagers);
        assert_eq!((ledgers.state, ledgers.restarts), (ComponentState::Running, 1));
        assert_eq!(component(&tree, Component::OrderManagers).restarts, 0);
        let places = world.wire.places();
        seconds(2).await;
        assert!(world.wire.places() > places);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_engine_that_breaks_again_and_again_is_left_broken_and_halted() {
    let test = async {
        let armed = Arc::new(AtomicBool::new(false));
        let saboteur = Saboteur { armed: armed.clone(), again: true };
        let world = World::running(&["steady"], Durability::Async, Some(Box::new(saboteur)));
        let handle = system(&world).await;
        seconds(2).await;
        armed.store(true, Ordering::Release);
        seconds(60).await;
        assert_eq!(world.lane.state(), LaneState::Broken);
        assert_eq!(world.lane.latch().get().map(|(_, reason)| reason), Some(HaltReason::Fault));
        let tree = handle.tree().await.unwrap();
        let ledgers = component(&tree, Component::PositionManagers);
        assert_eq!((ledgers.state, ledgers.restarts), (ComponentState::Failed, 3));
        // What a person still can do: stop. The strategies cannot, and are named.
        let report = handle.stop().await;
        assert_eq!(report.overrun().map(|status| status.component).collect::<Vec<_>>(), [Component::StrategyRunners]);
        assert_eq!(report.components[1].left.as_deref(), Some("the engine is Broken"));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread")]
async fn without_an_exchange_everything_comes_back_unsent_and_the_stop_is_clean() {
    let test = async {
        let world = World::new(&["steady"], Durability::Async, None);
        let network = Network::new(Connector::new(None).unwrap(), "http://127.0.0.1:1").unwrap();
        let secret = "secret".to_owned().into();
        let credentials = Credentials { key: "key".to_owned().into(), signer: Signer::new(&secret) };
        let (ws, seed) = ("ws://127.0.0.1:1".to_owned(), 1);
        let (recv_window, report_timeout, clock_offset_max) =
            (Span::from_secs(5), Span::from_secs(5), Span::from_secs(1));
        let options = AccountOptions {
            account: ACCOUNT,
            symbols: vec![SYMBOL],
            ws_private_url: ws.clone(),
            recv_window,
            report_timeout,
            clock_offset_max,
            seed,
        };
        let account = AccountSetup { name: "main".to_owned(), options, credentials, order_limits: vec![] };
        let (silence, kline_intervals) = (Span::from_secs(10), vec!["1m".to_owned()]);
        let options = MarketOptions {
            ws_public_url: ws.clone(),
            ws_market_url: ws,
            symbols: vec![SYMBOL],
            marks_only: vec![],
            depth_millis: 100,
            aggregate_trades: false,
            kline_intervals,
            silence,
            silence_trades: silence,
            seed,
        };
        let streams = vec![StreamGroup { name: "all".to_owned(), options }];
        let options = LaneOptions {
            network,
            accounts: vec![account],
            streams,
            probe_every: Duration::from_secs(1),
            ..lane_options(&world)
        };
        let handle = start(Services::default(), StopPlan::default(), options).await;
        for _ in 0..40 {
            world.clock.advance(Span::from_millis(100));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Our socket is the account's writer now; the questions of the reconciliation came back and are asked again.
        assert!(world.wire.sent.borrow().is_empty());
        assert!(!world.lane.read(|e| e.gate(ACCOUNT).unwrap().is_trusted()));
        assert_eq!(world.lane.state(), LaneState::Running);
        let tree = handle.tree().await.unwrap();
        assert!(component(&tree, Component::NetworkManager).facts.iter().any(|(name, _)| *name == "no_time"));
        let report = handle.stop().await;
        assert!(report.is_clean(), "{report:?}");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn everything_stops_in_order_leaves_no_entry_and_goes_on_with_the_next_start() {
    let test = async {
        let world = World::running(&["steady"], Durability::Async, None);
        let handle = system(&world).await;
        seconds(3).await;
        let (report, again) = tokio::join!(handle.stop(), handle.stop());
        assert_eq!(report, again);
        assert!(report.is_clean(), "{report:?}");
        let order: Vec<Component> = report.components.iter().map(|status| status.component).collect();
        assert_eq!(order, Component::ALL);
        assert_eq!(world.runner(1), RunnerState::Stopped(StopReason::Stopping));
        let open = world.lane.read(|e| e.desk(ACCOUNT).unwrap().entries().count());
        assert_eq!((open, world.lane.state()), (0, LaneState::Closed));
        let tree = handle.tree().await.unwrap();
        assert!(tree.components.iter().all(|view| view.state == ComponentState::Stopped));
        // The last snapshot holds everything, and the strategy runs again.
        let disk = world.disk.after_kill();
        let next = World::on(disk, world.clock.clone(), &["steady"], options(Durability::Async), None);
        next.wire.venue.replace(world.wire.venue.borrow().clone());
        assert_eq!((next.report.folded, next.report.closed), (0, true));
        next.connect();
        next.pass(Span::from_secs(3));
        next.quote();
        next.settle();
        assert_eq!(next.runner(1), RunnerState::Running);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_component_that_overruns_its_time_is_aborted_and_named() {
    let test = async {
        let world = World::running(&["steady"], Durability::Async, None);
        let handle = system(&world).await;
        seconds(3).await;
        // An order is open and the venue answers no more.
        while world.lane.read(|e| e.desk(ACCOUNT).unwrap().entries().count()) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.wire.cut.set(true);
        let began = Instant::now();
        let report = handle.stop().await;
        let overrun: Vec<_> = report.overrun().map(|status| (status.component, status.state)).collect();
        assert_eq!(overrun, [(Component::StrategyRunners, StopState::Failed)]);
        assert!(report.components[1].left.as_ref().unwrap().contains("1 orders open"), "{report:?}");
        assert_eq!((report.components[1].allowed_ms, report.forced), (1000, false));
        assert!(report.components[1].took_ms >= 1000 && began.elapsed() < Duration::from_secs(3));
        assert!(report.components[2..].iter().all(|status| status.state == StopState::Stopped));
        assert_eq!(world.lane.state(), LaneState::Closed);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_kill_switch_halts_everything_and_a_resume_lifts_it() {
    let test = async {
        let world = World::running(&["steady"], Durability::Async, None);
        let handle = system(&world).await;
        seconds(1).await;
        handle.kill();
        seconds(1).await;
        let places = world.wire.places();
        seconds(3).await;
        assert_eq!(world.wire.places(), places);
        assert_eq!(world.lane.read(|e| e.desk(ACCOUNT).unwrap().entries().count()), 0);
        handle.resume(Scope::All);
        seconds(3).await;
        assert!(world.wire.places() > places);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_journal_that_fails_for_good_ends_the_process() {
    let test = async {
        let world = World::running(&["steady"], Durability::Async, None);
        let handle = system(&world).await;
        seconds(1).await;
        world.disk.plan(qcat_io::disk::Fault::ReadOnly);
        let reason = tokio::time::timeout(Duration::from_secs(30), handle.ended()).await.unwrap();
        assert!(reason.contains("the journal failed"), "{reason}");
        assert!(world.lane.latch().is_set());
        assert_eq!(world.lane.state(), LaneState::Dead);
    };
    LocalSet::new().run_until(test).await;
}
