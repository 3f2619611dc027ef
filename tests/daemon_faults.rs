//! Faults in the real daemon against the simulated exchange over real sockets: a strategy that panics, a ledger that panics,
//! sessions that panic, connections that end or turn to garbage. What broke is built anew by its component, nothing is trusted
//! before it is reconciled, the rest trades on, and in the end the books are the exchange's.
//!
//! Faults come in by the registry of strategies and by the watchers of engine and sessions; the product has no hook for them.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/proxy.rs"]
mod proxy;

use daemon::until;
use proxy::{Break, Proxy};
use qcat::daemon::{Daemon, Stopped};
use qcat::sim::RunningSim;
use qcat::wire::Composition;
use qcat::{compare, config, replay, sim};
use qcat_actors::runtime::component::{Component, ComponentState, ComponentView};
use qcat_actors::runtime::host::SessionWatch;
use qcat_actors::runtime::lane::{Step, Tap};
use qcat_core::binance::proto::Incoming;
use qcat_core::engine::Observer;
use qcat_core::event::{Decision, Event, Input, RunnerState, Station, StopReason};
use qcat_core::id::{AccountIx, Seq, StrategyIx};
use qcat_core::strategy::{
    Needs, ParamSpec, Params, Registry, Strategy, StrategyContext, StrategyEvent, StrategySpec, mean_reverter,
};
use qcat_io::disk::RealDisk;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const ACCOUNT: AccountIx = AccountIx(0);
const SABOTAGE: &str = "sabotage";

/// Trades like the mean reverter and panics on every tenth quote.
const FRAGILE: StrategySpec = StrategySpec {
    name: "fragile",
    doc: "Panics on every tenth input.",
    params: mean_reverter::SPEC.params as &[ParamSpec],
    factory: |params: &Params| {
        Ok(Box::new(Fragile { inner: (mean_reverter::SPEC.factory)(params)?, inputs: 0 }) as Box<dyn Strategy>)
    },
};

struct Fragile {
    inner: Box<dyn Strategy>,
    inputs: u32,
}

impl Strategy for Fragile {
    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        self.inner.on(event, ctx);
        if let StrategyEvent::Quote { .. } = event {
            self.inputs += 1;
            assert!(!self.inputs.is_multiple_of(10), "{SABOTAGE}");
        }
    }
}

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

/// Remembers every change of trust and of the strategies' states, and every alert.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    /// How often this came.
    fn count(&self, what: &str) -> usize {
        self.0.borrow().iter().filter(|seen| seen.starts_with(what)).count()
    }
}

struct SeenTap {
    seen: Seen,
    trusted: bool,
}

impl Tap for SeenTap {
    fn after_step(&mut self, step: &Step<'_>) {
        let trusted = step.engine.gate(ACCOUNT).is_some_and(|gate| gate.is_trusted());
        let mut seen = self.seen.0.borrow_mut();
        if std::mem::replace(&mut self.trusted, trusted) != trusted {
            seen.push(if trusted { "trusted".to_owned() } else { "untrusted".to_owned() });
        }
        for decision in step.decisions {
            match decision {
                Decision::Runner { strategy, state } => seen.push(format!("{} {state:?}", strategy.0)),
                Decision::Alert(alert) => seen.push(format!("{:?}: {}", alert.code, alert.text)),
                _ => {}
            }
        }
    }
}

/// A daemon at a simulator, in this process.
struct World {
    exchange: RunningSim,
    daemon: Daemon,
    seen: Seen,
    journal: PathBuf,
    _folder: tempfile::TempDir,
}

fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some(SABOTAGE) {
                usual(info);
            }
        }));
    });
}

fn run(test: impl Future<Output = ()>) {
    quiet_panics();
    actix_rt::System::new().block_on(test);
}

impl World {
    /// With the strategies `quick` and `trend`, and others of the given text.
    async fn start(exchange: RunningSim, at: SocketAddr, more: &str, composition: Composition) -> World {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        let urls = sim::config_urls(exchange.address, false);
        let text = daemon::configuration(&exchange, &journal).replace(&urls, &sim::config_urls(at, false)) + more;
        let config = config::parse("test", &text, &[]).unwrap_or_else(|faults| panic!("{faults:?}"));
        let daemon = Daemon::start(&config, composition).await.unwrap();
        let seen = Seen::default();
        daemon.lane().tap(Box::new(SeenTap { seen: seen.clone(), trusted: false }));
        World { exchange, daemon, seen, journal, _folder: folder }
    }

    fn runner(&self, strategy: u16) -> RunnerState {
        self.daemon.lane().read(|engine| engine.runner(StrategyIx(strategy)).unwrap().state())
    }

    fn is_trusted(&self) -> bool {
        self.daemon.lane().read(|engine| engine.gate(ACCOUNT).unwrap().is_trusted())
    }

    fn fills_of(&self, strategy: u16) -> usize {
        self.daemon.fills().iter().filter(|fill| fill.strategy == StrategyIx(strategy)).count()
    }

    /// Waits until both strategies have traded again.
    async fn trades_on(&self) {
        let before = [self.fills_of(1), self.fills_of(2)];
        let more = || self.is_trusted() && self.fills_of(1) > before[0] && self.fills_of(2) > before[1];
        until("it does not trade on", more).await;
    }

    async fn component(&self, component: Component) -> ComponentView {
        let tree = self.daemon.system().tree().await.unwrap();
        tree.components.into_iter().find(|view| view.name == component).unwrap()
    }

    /// Stops, and compares every book with the exchange's.
    async fn stop_and_compare(&self) {
        assert_eq!(self.daemon.stop().await, Stopped::InTime);
        let fills = self.daemon.fills();
        let differences = self.exchange.server.exchange(|exchange, _, _| {
            self.daemon.lane().read(|engine| compare::differences(engine, &fills, exchange.venue(), ACCOUNT))
        });
        assert!(differences.is_empty(), "{differences:#?}");
        // Every strategy holds what its own fills come to, and nothing was left to the reserved one.
        let symbol = fills.first().unwrap().symbol;
        for strategy in 0..=self.daemon.lane().read(|engine| engine.config().strategies.len() as u16) {
            let strategy = StrategyIx(strategy);
            let own = fills.iter().filter(|fill| fill.strategy == strategy);
            let traded: i64 = own.map(|fill| fill.quantity.signed(fill.side).mantissa()).sum();
            let held = self.daemon.lane().read(|engine| {
                let position = engine.ledger(ACCOUNT)?.virtual_position(strategy, symbol)?;
                Some(position.quantity.mantissa())
            });
            assert_eq!(held.unwrap_or(0), traded, "{strategy:?}");
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
