//! Each component made to fail in a running daemon that trades at the simulator: services by an error, a panic, an end nobody
//! asked for and a stall, sessions by a stall. What broke is built anew as the policy table says, the rest trades on, and in the end
//! the books are the exchange's. Panics of nodes and sessions are in `daemon_faults`.
//!
//! Faults come in by the factories of the services and by the watcher of the sessions; the product has no hook for them.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;

use inside::{SABOTAGE, World, run};
use qcat::wire::Composition;
use qcat_actors::runtime::component::{Component, ComponentState, ComponentView, Placement};
use qcat_actors::runtime::host::{SessionWatch, Turn};
use qcat_actors::runtime::service::{ServiceContext, Services, Work};
use qcat_core::strategy::registry::Registry;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a loop does next, and the word under which its end is counted.
const FAULTS: [&str; 4] = ["failed", "panicked", "done", "stalled"];
const BOUND: Duration = Duration::from_millis(400);

/// Who is to fail, and how.
type Armed = Arc<Mutex<Option<(Component, &'static str)>>>;

async fn sabotaged(component: Component, armed: Armed, context: ServiceContext) -> Result<(), String> {
    while !context.stop.is_set() {
        context.beat.beat();
        let fault = {
            let mut armed = armed.lock().unwrap();
            if armed.is_some_and(|(who, _)| who == component) { armed.take() } else { None }
        };
        match fault {
            None => tokio::time::sleep(Duration::from_millis(10)).await,
            Some((_, "failed")) => return Err("an error".to_owned()),
            Some((_, "panicked")) => std::panic::panic_any(SABOTAGE),
            Some((_, "done")) => return Ok(()),
            Some(_) => std::future::pending().await,
        }
    }
    Ok(())
}

fn services() -> impl Iterator<Item = Component> {
    Component::ALL.into_iter().filter(|component| component.policy().placement == Placement::System)
}

fn exits(view: &ComponentView, word: &str) -> u64 {
    view.exits.iter().find(|(name, _)| *name == word).map_or(0, |(_, count)| *count)
}

/// Waits until a component is so.
async fn until_view(world: &World, component: Component, what: &str, is_so: impl Fn(&ComponentView) -> bool) {
    for _ in 0..3_000 {
        let view = world.component(component).await;
        if is_so(&view) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{component}: {what}: {:?}", world.component(component).await);
}

#[test]
fn every_service_fails_in_every_way_is_built_anew_and_trading_does_not_notice() {
    run(async {
        let armed = Armed::default();
        let wrapped = armed.clone();
        let wrap = move |work: &mut Services| {
            for component in services() {
                let armed = wrapped.clone();
                let build = move |context| sabotaged(component, armed.clone(), context);
                *work.get_mut(component).unwrap() = Work::default().child("loop", BOUND, build);
            }
        };
        let composition = Composition { services: Box::new(wrap), ..Arc::new(Registry::builtin()).into() };
        let exchange = daemon::exchange(31).await;
        let at = exchange.address;
        let world = World::start(exchange, at, "", composition).await;
        world.trades_on().await;
        let console = world.daemon.system().console();
        for word in FAULTS {
            for component in services() {
                *armed.lock().unwrap() = Some((component, word));
                until_view(&world, component, word, |view| exits(view, word) == 1).await;
            }
            for component in services() {
                let again = |view: &ComponentView| view.state == ComponentState::Running;
                until_view(&world, component, "not built anew", again).await;
                // With a fresh budget the next pause is a short one.
                console.component_restart(component, None).await.unwrap();
            }
            world.trades_on().await;
        }
        assert_eq!(world.seen.count("untrusted"), 0, "{:?}", world.seen.0);
        world.stop_and_compare().await;
        let report = console.stop_report().unwrap();
        assert!(report.is_clean() && report.components.len() == 13, "{report:?}");
    });
}

/// Has the timers of sessions stand still.
#[derive(Debug, Default)]
struct Stalls(Cell<Option<Component>>);

impl SessionWatch for Stalls {
    fn turn(&self, component: Component) -> Turn {
        if self.0.get() == Some(component) {
            self.0.set(None);
            return Turn::Stall;
        }
        Turn::Go
    }
}

#[test]
fn sessions_that_stall_are_aborted_and_built_anew() {
    run(async {
        let stalls = Rc::new(Stalls::default());
        let composition = Composition { watch: Some(stalls.clone()), ..Arc::new(Registry::builtin()).into() };
        let exchange = daemon::exchange(32).await;
        let at = exchange.address;
        let world = World::start(exchange, at, "", composition).await;
        world.trades_on().await;
        for component in [Component::MarketDataStreams, Component::OrderManagers] {
            stalls.0.set(Some(component));
            until_view(&world, component, "no stall", |view| exits(view, "stalled") == 1).await;
            until_view(&world, component, "not built anew", |view| view.state == ComponentState::Running).await;
            world.trades_on().await;
        }
        world.stop_and_compare().await;
    });
}
