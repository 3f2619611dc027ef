//! Faults in the real daemon against the simulated exchange over real sockets: a strategy that panics, a ledger that panics,
//! sessions that panic, connections that end or turn to garbage. What broke is built anew by its component, nothing is trusted
//! before it is reconciled, the rest trades on, and in the end the books are the exchange's.
//!
//! Faults come in by the registry of strategies and by the watchers of engine and sessions; the product has no hook for them.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/fragile.rs"]
mod fragile;
#[path = "support/inside.rs"]
mod inside;
#[path = "support/proxy.rs"]
mod proxy;

use daemon::until;
use fragile::Fragile;
use inside::{SABOTAGE, World, run};
use proxy::{Break, Proxy};
use qcat::replay;
use qcat::wire::Composition;
use qcat_actors::runtime::component::{Component, ComponentState};
use qcat_actors::runtime::host::SessionWatch;
use qcat_core::binance::proto::Incoming;
use qcat_core::engine::Observer;
use qcat_core::event::{Event, Input, RunnerState, Station, StopReason};
use qcat_core::id::Seq;
use qcat_core::strategy::{ParamSpec, Params, Registry, StrategySpec, mean_reverter};
use qcat_io::disk::RealDisk;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Trades like the mean reverter and panics on every tenth quote.
const FRAGILE: StrategySpec = StrategySpec {
    name: "fragile",
    doc: "Panics on every tenth input.",
    params: mean_reverter::SPEC.params as &[ParamSpec],
    factory: |params: &Params| Ok(Fragile::boxed((mean_reverter::SPEC.factory)(params)?, SABOTAGE)),
};

/// Panics in the ledger's next steps with a matching event.
struct LedgerSaboteur(Arc<AtomicU32>, fn(&Event) -> bool);

impl Observer for LedgerSaboteur {
    fn before_step(&mut self, station: Station, _seq: Seq, event: &Event) {
        if matches!(station, Station::Ledger(_)) && (self.1)(event) && self.0.load(Ordering::Acquire) > 0 {
            self.0.fetch_sub(1, Ordering::AcqRel);
            panic!("{SABOTAGE}");
        }
    }
}

/// Panics at a session's next frames.
#[derive(Debug, Default)]
struct SessionSaboteur {
    markets: Cell<u32>,
    orders: Cell<u32>,
}

impl SessionWatch for SessionSaboteur {
    fn before(&self, component: Component, incoming: &Incoming<'_>) {
        let left = match component {
            Component::MarketDataStreams => &self.markets,
            _ => &self.orders,
        };
        if left.get() > 0 && matches!(incoming, Incoming::Frame { .. }) {
            left.set(left.get() - 1);
            panic!("{SABOTAGE}");
        }
    }
}

#[test]
fn a_strategy_that_panics_on_every_tenth_input_is_rebuilt_by_budget_then_stopped_and_the_others_trade_on() {
    run(async {
        let mut registry = Registry::builtin();
        registry.register(FRAGILE).unwrap();
        let registry = Arc::new(registry);
        let exchange = daemon::exchange(11).await;
        let (at, more) = (exchange.address, "- { name: fragile, kind: fragile, symbols: [BTCUSDT] }\n");
        let world = World::start(exchange, at, more, registry.clone().into()).await;
        until("it is never given up", || world.runner(3) == RunnerState::Stopped(StopReason::Faults)).await;
        let runners = world.component(Component::StrategyRunners).await;
        assert_eq!((runners.state, runners.restarts), (ComponentState::Degraded, 5));
        assert_eq!(runners.exits, [("node_fault", 6)]);
        let states: Vec<_> = runners.children.iter().map(|child| (child.state, child.restarts)).collect();
        let (running, failed) = (ComponentState::Running, ComponentState::Failed);
        assert_eq!(states, [(running, 0), (running, 0), (failed, 5)]);
        assert_eq!((world.seen.count("1 Faulted"), world.seen.count("2 Faulted")), (0, 0));
        world.trades_on().await;
        world.stop_and_compare().await;
        // It panics in the replay as it did in life: the same decisions, the same state.
        let replayed = replay::run(Arc::new(RealDisk), &world.journal, registry, None).unwrap();
        assert!(replayed.is_same(), "{:?} {:?}", replayed.difference, replayed.fault);
    });
}

/// The ledger panics twice at such events.
fn a_ledger_panics_at(events: fn(&Event) -> bool) {
    run(async move {
        let armed = Arc::new(AtomicU32::new(0));
        let saboteur = LedgerSaboteur(armed.clone(), events);
        let registry = Arc::new(Registry::builtin());
        let composition = Composition { observer: Some(Box::new(saboteur)), ..registry.into() };
        let exchange = daemon::exchange(12).await;
        let at = exchange.address;
        let world = World::start(exchange, at, "", composition).await;
        world.trades_on().await;
        for fault in 1..=2 {
            let lost = world.seen.count("untrusted");
            armed.store(1, Ordering::Release);
            until("it does not panic", || armed.load(Ordering::Acquire) == 0).await;
            until("its rebuild is trusted unseen", || world.seen.count("untrusted") > lost).await;
            until("it is never reconciled", || world.is_trusted()).await;
            world.trades_on().await;
            let ledgers = world.component(Component::PositionManagers).await;
            assert_eq!((ledgers.state, ledgers.restarts), (ComponentState::Running, fault));
        }
        // The fold lost nothing: there was nothing to repair.
        assert_eq!(world.seen.count("PositionRepaired") + world.seen.count("BalanceRepaired"), 0, "{:?}", world.seen.0);
        world.stop_and_compare().await;
    });
}

#[test]
fn a_ledger_that_panics_at_a_price_is_rebuilt_by_fold_and_untrusted_until_reconciled() {
    a_ledger_panics_at(|event| matches!(event, Event::Input(Input::Market(_))));
}

#[test]
fn a_ledger_that_panics_at_a_fill_is_rebuilt_by_fold_and_untrusted_until_reconciled() {
    a_ledger_panics_at(|event| matches!(event, Event::Fill(_)));
}

#[test]
fn sessions_that_panic_are_built_anew_and_the_account_is_untrusted_until_reconciled() {
    run(async {
        let watch = Rc::new(SessionSaboteur::default());
        let registry = Arc::new(Registry::builtin());
        let composition = Composition { watch: Some(watch.clone()), ..registry.into() };
        let exchange = daemon::exchange(13).await;
        let at = exchange.address;
        let world = World::start(exchange, at, "", composition).await;
        world.trades_on().await;
        let paused = world.seen.count("1 Paused");
        watch.markets.set(2);
        until("it does not panic", || watch.markets.get() == 0).await;
        until("nobody noticed", || world.seen.count("1 Paused") > paused).await;
        world.trades_on().await;
        let lost = world.seen.count("untrusted");
        watch.orders.set(2);
        until("it does not panic", || watch.orders.get() == 0).await;
        until("what was missed is trusted", || world.seen.count("untrusted") > lost).await;
        world.trades_on().await;
        for component in [Component::MarketDataStreams, Component::OrderManagers] {
            let view = world.component(component).await;
            assert_eq!((view.state, view.restarts, view.exits), (ComponentState::Running, 2, vec![("panicked", 2)]));
        }
        world.stop_and_compare().await;
    });
}

#[test]
fn connections_that_end_or_turn_to_garbage_are_made_anew() {
    run(async {
        let exchange = daemon::exchange(14).await;
        let proxy = Proxy::start(exchange.address).await;
        let world = World::start(exchange, proxy.address, "", Arc::new(Registry::builtin()).into()).await;
        world.trades_on().await;
        for how in [Break::End, Break::Garble] {
            for (route, sign) in [("GET /public", "1 Paused"), ("GET /market", "1 "), ("GET /private", "untrusted")] {
                let (made, seen) = (proxy.count(route), world.seen.count(sign));
                proxy.break_open(route, how);
                until(route, || proxy.count(route) > made && world.seen.count(sign) > seen).await;
                world.trades_on().await;
            }
        }
        // Requests under way when every REST connection ends: their outcome is asked for.
        for request in ["POST /fapi", "PUT /fapi", "DELETE /fapi"] {
            proxy.break_open(request, Break::End);
            world.trades_on().await;
        }
        world.stop_and_compare().await;
    });
}
