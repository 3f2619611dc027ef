//! A strategy that never comes back from a step: the watchdog cancels the entries over connections of its own, ends the process,
//! and the next start leaves the strategy stopped while the others trade.
#![allow(clippy::unwrap_used)]

use daemon::{ended, on_local_set, terminate, until};
use qcat::config;
use qcat::daemon::Daemon;
use qcat::signals::Guard;
use qcat::sim::RunningSim;
use qcat_core::command::{Answer, Query};
use qcat_core::engine::Engine;
use qcat_core::engine::fold::{Quarantine, Record};
use qcat_core::event::{RunnerState, Station, StopReason};
use qcat_core::id::{AccountIx, OrderKey, StrategyIx};
use qcat_core::num::{Price, Rounding, Side};
use qcat_core::order::Fill;
use qcat_core::strategy::registry::{Registry, StrategySpec};
use qcat_core::strategy::{Needs, OrderSpec, Strategy, StrategyContext, StrategyEvent};
use qcat_io::disk::RealDisk;
use qcat_io::journal::marks::{HUNG, Hung, RETIRED, read_hung};
use qcat_io::journal::{Entry, Reader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

#[path = "support/daemon.rs"]
mod daemon;

const ACCOUNT: AccountIx = AccountIx(0);
/// Behind the two of the usual configuration.
const PLANTER: StrategyIx = StrategyIx(3);
/// Tells the child where its configuration and the word to hang are.
const FOLDER: &str = "HUNG_TEST_FOLDER";

/// Takes a position, protects it, plants entries far from the market, both kinds, and never comes back once told to hang.
struct Planter {
    planted: u32,
    word: PathBuf,
}

impl Strategy for Planter {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        let StrategyEvent::Quote { symbol, quote } = *event else { return };
        if self.word.exists() {
            loop {
                std::thread::park();
            }
        }
        if !ctx.can_trade() {
            return;
        }
        let Some(instrument) = ctx.instrument(symbol) else { return };
        let tick = instrument.filters.price.tick.mantissa();
        let size = instrument.quantity_from(0.01, Rounding::Down).unwrap();
        let far = |price: Price, percent: i64| {
            Price::from_mantissa((price.mantissa() + price.mantissa() / 100 * percent) / tick * tick)
        };
        let long = ctx.position(symbol).mantissa() > 0;
        match self.planted {
            0 => drop(ctx.market_order(symbol, Side::Buy, size)),
            1 if long => drop(ctx.stop(symbol, Side::Sell, far(quote.bid, -3), size)),
            2 => drop(ctx.limit(symbol, Side::Buy, far(quote.bid, -2), size)),
            3 => drop(ctx.place(OrderSpec {
                reduce_only: false,
                ..OrderSpec::stop(symbol, Side::Buy, far(quote.ask, 3), size)
            })),
            _ => return,
        }
        self.planted += 1;
    }
}

fn registry() -> Arc<Registry> {
    let factory = |_: &qcat_core::strategy::Params| {
        let word = PathBuf::from(std::env::var(FOLDER).unwrap_or_default()).join("hang");
        Ok(Box::new(Planter { planted: 0, word }) as Box<dyn Strategy>)
    };
    let mut registry = Registry::builtin();
    registry.register(StrategySpec { name: "planter", doc: "", params: &[], factory }).unwrap();
    Arc::new(registry)
}

/// A child of the test below: a whole daemon with the planter.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn hung_child() {
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr);
    lines.init();
    let guard = Guard::start(Duration::from_secs(600), 75, true).unwrap();
    let text = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
    let config = config::parse("test", &text, &[]).unwrap_or_else(|faults| panic!("{faults:?}"));
    actix_rt::System::new().block_on(async {
        let daemon = Daemon::start(&config, registry()).await.unwrap();
        guard.asked().await;
        daemon.stop().await;
    });
}

fn start(folder: &Path, log: &str) -> Child {
    let log = std::fs::File::create(folder.join(log)).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "hung_child"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Open orders of the account at the exchange: entries and, apart, protective ones; those of the planter as conditional or not.
fn open(exchange: &RunningSim) -> (Vec<(OrderKey, bool)>, Vec<OrderKey>) {
    exchange.server.exchange(|exchange, _, _| {
        let venue = exchange.venue();
        let (mut entries, mut protective) = (Vec::new(), Vec::new());
        match venue.look(ACCOUNT, &Query::OpenOrders) {
            Ok(Answer::OpenOrders(orders)) => entries.extend(orders.iter().map(|order| (order.key, false))),
            other => panic!("{other:?}"),
        }
        match venue.look(ACCOUNT, &Query::OpenConditionals) {
            Ok(Answer::OpenConditionals(orders)) => {
                for order in orders {
                    // The planter's stops of a long position sell, its conditional entries buy.
                    match order.side {
                        Side::Sell => protective.push(order.key),
                        Side::Buy => entries.push((order.key, true)),
                    }
                }
            }
            other => panic!("{other:?}"),
        }
        (entries, protective)
    })
}

/// Whether the planter has planted everything.
fn planted(exchange: &RunningSim) -> bool {
    let (entries, protective) = open(exchange);
    let has = |conditional| {
        let own = |(key, kind): &(OrderKey, bool)| {
            *kind == conditional && key.ours().is_some_and(|id| id.strategy == PLANTER)
        };
        entries.iter().any(own)
    };
    has(false) && has(true) && protective.iter().any(|key| key.ours().is_some_and(|id| id.strategy == PLANTER))
}

/// The journal, folded with what is quarantined in it.
fn fold(journal: &Path) -> (Engine, Vec<Fill>) {
    let entries = || Reader::open(Arc::new(RealDisk), journal).unwrap().map(Result::unwrap);
    let mark = |entry| if let Entry::Quarantine(mark) = entry { Some(mark) } else { None };
    let marks: Vec<Quarantine> = entries().filter_map(mark).collect();
    let (mut engine, mut fills) = (Engine::new(registry()), Vec::new());
    for entry in entries() {
        let record = match entry {
            Entry::Input(admitted) => Record::Input(admitted),
            Entry::Decisions { seq, at, decisions } => Record::Decisions(seq, at, decisions),
            _ => continue,
        };
        let input = matches!(record, Record::Input(_));
        engine.fold(record, &marks, false).unwrap();
        if input {
            fills.extend(&engine.happened().fills);
        }
    }
    (engine, fills)
}

#[test]
fn a_hung_strategy_ends_the_process_without_its_entries_and_stays_stopped() {
    on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let (path, journal) = (folder.path(), folder.path().join("journal"));
        let exchange = daemon::exchange(11).await;
        let text = daemon::configuration(&exchange, &journal)
            + "- { name: planter, kind: planter, symbols: [BTCUSDT] }\nwatchdog: { step_timeout: 2s }\n";
        std::fs::write(path.join("config.yaml"), text).unwrap();

        let mut first = start(path, "first.log");
        let log = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        until("nothing was planted", || planted(&exchange) && daemon::trades(&exchange).len() > 3).await;
        let protective = open(&exchange).1;
        std::fs::write(path.join("hang"), "").unwrap();
        assert_eq!(ended(&mut first).await.code(), Some(70), "{}", log("first.log"));
        assert!(log("first.log").contains("Runner(StrategyIx(3)) hangs at input"), "{}", log("first.log"));
        let left = open(&exchange);
        assert_eq!(left, (Vec::new(), protective), "{}", log("first.log"));
        let hung = read_hung(&RealDisk, &journal).unwrap();
        let Some(Hung::Station(mark)) = hung else { panic!("{hung:?}") };
        assert_eq!(mark.station, Station::Runner(PLANTER));

        // The word to hang is still there: stepped once, it would hang again.
        let before = daemon::trades(&exchange).len();
        let mut second = start(path, "second.log");
        until("it does not trade again", || daemon::trades(&exchange).len() > before + 3).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(second.try_wait().unwrap(), None, "{}", log("second.log"));
        assert!(!journal.join(HUNG).exists() && journal.join(RETIRED).exists());
        assert!(log("second.log").contains("strategy planter hung at input"), "{}", log("second.log"));
        exchange.server.exchange(|exchange, _, _| exchange.hold_market(true));
        terminate(&second);
        assert_eq!(ended(&mut second).await.code(), Some(0), "{}", log("second.log"));

        let (engine, fills) = fold(&journal);
        assert_eq!(engine.runner(PLANTER).unwrap().state(), RunnerState::Stopped(StopReason::Faults));
        exchange.server.exchange(|exchange, _, _| {
            exchange.hold_market(false);
            let differences = qcat::compare::differences(&engine, &fills, exchange.venue(), ACCOUNT);
            assert!(differences.is_empty(), "{differences:#?}");
        });
    });
}
