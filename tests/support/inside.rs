//! A daemon at a simulator over real sockets, both in this process, so that a test sees into both.
#![allow(dead_code)] // Each test uses a part of it.

use crate::daemon::{self, until};
use qcat::daemon::{Daemon, Stopped};
use qcat::sim::RunningSim;
use qcat::wire::Composition;
use qcat::{compare, config, sim};
use qcat_actors::runtime::component::{Component, ComponentView};
use qcat_actors::runtime::lane::{Step, Tap};
use qcat_actors::runtime::stop::StopState;
use qcat_core::event::{Decision, RunnerState};
use qcat_core::id::{AccountIx, StrategyIx};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// The only account.
pub const ACCOUNT: AccountIx = AccountIx(0);
/// What a panic on purpose says.
pub const SABOTAGE: &str = "sabotage";

/// Remembers every change of trust and of the strategies' states, and every alert.
#[derive(Clone, Default)]
pub struct Seen(pub Rc<RefCell<Vec<String>>>);

impl Seen {
    /// How often this came.
    pub fn count(&self, what: &str) -> usize {
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
pub struct World {
    pub exchange: RunningSim,
    pub daemon: Daemon,
    pub seen: Seen,
    pub journal: PathBuf,
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

pub fn run(test: impl Future<Output = ()>) {
    quiet_panics();
    actix_rt::System::new().block_on(test);
}

impl World {
    /// With the strategies `quick` and `trend`, and others of the given text.
    pub async fn start(exchange: RunningSim, at: SocketAddr, more: &str, composition: Composition) -> World {
        let urls = (sim::config_beside(exchange.address, false), sim::config_beside(at, false));
        World::configured(exchange, |text| text.replace(&urls.0, &urls.1) + more, composition).await
    }

    /// With the usual configuration, changed.
    pub async fn configured(
        exchange: RunningSim,
        change: impl FnOnce(String) -> String,
        composition: Composition,
    ) -> World {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        let text = change(daemon::configuration(&exchange, &journal));
        let config = config::parse("test", &text, &[]).unwrap_or_else(|faults| panic!("{faults:?}"));
        let daemon = Daemon::start(&config, Composition { keep_fills: true, ..composition }).await.unwrap();
        let seen = Seen::default();
        daemon.lane().tap(Box::new(SeenTap { seen: seen.clone(), trusted: false }));
        World { exchange, daemon, seen, journal, _folder: folder }
    }

    pub fn runner(&self, strategy: u16) -> RunnerState {
        self.daemon.lane().read(|engine| engine.runner(StrategyIx(strategy)).unwrap().state())
    }

    pub fn is_trusted(&self) -> bool {
        self.daemon.lane().read(|engine| engine.gate(ACCOUNT).unwrap().is_trusted())
    }

    pub fn fills_of(&self, strategy: u16) -> usize {
        self.daemon.fills().iter().filter(|fill| fill.strategy == StrategyIx(strategy)).count()
    }

    /// Waits until both strategies have traded again.
    pub async fn trades_on(&self) {
        let before = [self.fills_of(1), self.fills_of(2)];
        let more = || self.is_trusted() && self.fills_of(1) > before[0] && self.fills_of(2) > before[1];
        until("it does not trade on", more).await;
    }

    pub async fn component(&self, component: Component) -> ComponentView {
        let tree = self.daemon.system().tree().await.unwrap();
        tree.components.into_iter().find(|view| view.name == component).unwrap()
    }

    /// The books differ so when the user stream ends. The exchange lives on: what is left there, such as a stop that protects a
    /// position, may trade while the other components stop.
    async fn differences_at_the_end(&self) -> Vec<String> {
        let console = self.daemon.system().console();
        let deaf = || {
            let report = console.stop_report()?;
            let orders = report.components.iter().find(|status| status.component == Component::OrderManagers)?;
            (!matches!(orders.state, StopState::Pending | StopState::Running)).then_some(())
        };
        while deaf().is_none() || !self.daemon.lane().is_idle() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let fills = self.daemon.fills();
        self.exchange.server.exchange(|exchange, _, _| {
            self.daemon.lane().read(|engine| compare::differences(engine, &fills, exchange.venue(), ACCOUNT))
        })
    }

    /// Stops, and compares every book with the exchange's.
    pub async fn stop_and_compare(&self) {
        let (stopped, differences) = tokio::join!(self.daemon.stop(), self.differences_at_the_end());
        assert_eq!(stopped, Stopped::InTime);
        assert!(differences.is_empty(), "{differences:#?}");
        let fills = self.daemon.fills();
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
