//! The stop of a daemon that trades: in order, within its times, visible while it happens; what cannot stop is cut off and named.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/running.rs"]
mod running;

use daemon::{on_local_set, terminate, until};
use inside::World;
use proxy::{Break, Proxy};
use qcat::sim::{self, Market, RunningSim, SimOptions};
use qcat::wire::Composition;
use qcat_actors::runtime::component::{Component, ComponentState};
use qcat_actors::runtime::service::{ServiceContext, Services, Work};
use qcat_actors::runtime::stop::StopState;
use qcat_core::command::{Answer, Query};
use qcat_core::event::{Decision, HaltReason, Input};
use qcat_core::id::AccountIx;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::Span;
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Entry, Reader};
use running::{Running, token};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Beside the two strategies of every configuration.
const MORE: &str = "- { name: other, kind: mean_reverter, symbols: [BTCUSDT], params: { sample_millis: 30, fair_samples: 6, \
     entry_sigmas: 0.3, entry_ticks_min: 1, requote_ticks: 1, rest_secs: 0, requote: modify } }\n\
     - { name: slow, kind: trend_follower, symbols: [BTCUSDT], params: { fast_periods: 2, slow_periods: 4, atr_periods: 2, \
     band_atr: 0.0 } }\n";

/// A simulator that takes its time, so that a stop can be watched.
async fn far_exchange(seed: u64) -> RunningSim {
    let options = SimOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: false,
        market: Market::Generated { seed, symbols: vec!["BTCUSDT".to_owned()] },
        accounts: vec![sim::default_account("100000")],
        latency: Span::from_millis(150),
        fees: qcat_core::venue::Fees::default(),
    };
    sim::start(&options).await.unwrap()
}

fn open_orders(exchange: &RunningSim) -> usize {
    exchange.server.exchange(|exchange, _, _| match exchange.venue().look(AccountIx(0), &Query::OpenOrders) {
        Ok(Answer::OpenOrders(orders)) => orders.len(),
        other => panic!("{other:?}"),
    })
}

/// Until the exchange has trades and an open order.
async fn under_load(exchange: &RunningSim, daemon: &Running) {
    daemon.trades().await;
    until("nothing is traded", || daemon::trades(exchange).len() >= 4 && open_orders(exchange) > 0).await;
}

/// One look at a stop: what each component is at, and what readiness said right after.
#[derive(Debug)]
struct Look {
    states: Vec<(String, String)>,
    ready: u16,
}

/// Looks at the stop until nobody answers any more.
async fn watch(daemon: &Running) -> Vec<Look> {
    let mut seen = Vec::new();
    while let Some((200, stop)) = daemon.look("/api/v1/shutdown").await {
        let Some((ready, _)) = daemon.look("/health/ready").await else { break };
        let components = stop["report"]["components"].as_array().cloned().unwrap_or_default();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let states = components.iter().map(|c| (word(&c["component"]), word(&c["state"]))).collect();
        seen.push(Look { states, ready });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

/// The components that the log tells as stopped, with the milliseconds that they took.
fn logged(log: &str) -> Vec<(Component, u64)> {
    let line = |line: &str| {
        let took = line.split("took_ms").nth(1)?;
        let took: String = took.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        let component = Component::ALL.into_iter().find(|component| line.contains(component.name()))?;
        Some((component, took.parse().ok()?))
    };
    log.lines().filter_map(line).collect()
}

/// Commands that add risk and were decided after the word to stop.
fn after_the_word(journal: &Path) -> usize {
    let mut reader = Reader::open(Arc::new(RealDisk), journal).unwrap();
    let (mut told, mut adds) = (false, 0);
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry {
            Entry::Input(admitted) => {
                told |= matches!(admitted.input, Input::Halt { reason: HaltReason::Stopping, .. });
            }
            Entry::Decisions { decisions, .. } if told => {
                for decision in &decisions {
                    let Decision::Command(command) = decision else { continue };
                    adds += usize::from(command.kind.adds_risk());
                }
            }
            _ => {}
        }
    }
    assert!(told, "the stop is not in the journal");
    adds
}

#[test]
fn under_load_thirteen_components_stop_in_order_and_it_can_be_watched() {
    on_local_set(async {
        let exchange = far_exchange(51).await;
        let text = |journal: &Path| daemon::configuration(&exchange, journal) + MORE;
        let mut daemon = Running::start(text, |_| ()).await;
        under_load(&exchange, &daemon).await;
        assert!(daemon.get("/api/v1/shutdown").await["report"].is_null());
        terminate(&daemon.child);
        let seen = watch(&daemon).await;
        assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());

        let names = Component::ALL.map(|component| component.name().to_owned());
        let begun: Vec<&Look> = seen.iter().filter(|look| !look.states.is_empty()).collect();
        for look in &begun {
            assert_eq!(look.states.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
            let words: Vec<&str> = look.states.iter().map(|(_, state)| state.as_str()).collect();
            let order: Vec<usize> = words
                .iter()
                .map(|word| ["stopped", "running", "pending"].iter().position(|known| known == word).unwrap())
                .collect();
            assert!(order.is_sorted() && order.iter().filter(|at| **at == 1).count() <= 1, "{words:?}");
            assert_eq!(look.ready, 503, "readiness goes first: {words:?}");
        }
        let all_three = |look: &&&Look| {
            ["stopped", "running", "pending"].iter().all(|word| look.states.iter().any(|(_, state)| state == word))
        };
        assert!(begun.iter().filter(all_three).count() > 0, "it was not seen while it happened: {seen:?}");
        let took = logged(&daemon.log());
        assert_eq!(
            took.iter().map(|(component, _)| *component).collect::<Vec<_>>(),
            Component::ALL,
            "{}",
            daemon.log()
        );
        assert!(took.iter().all(|(_, took)| *took <= 10_000) && took.iter().any(|(_, took)| *took > 0), "{took:?}");

        // Whether an entry rests at that moment is the market's affair: what rested was cancelled.
        assert_eq!(after_the_word(&daemon.journal()), 0, "commands with new risk");
        assert_eq!(open_orders(&exchange), 0);
    });
}

#[test]
fn a_component_that_waits_for_a_silent_exchange_is_cut_off_and_named() {
    on_local_set(async {
        let exchange = daemon::exchange(52).await;
        let proxy = Proxy::start(exchange.address).await;
        let text = |journal: &Path| {
            let text = daemon::configuration(&exchange, journal) + MORE;
            let times = "shutdown: { component_timeout: 3600ms, shutdown_timeout: 9s, force_shutdown_after: 30s }\n";
            text.replace(&exchange.address.to_string(), &proxy.address.to_string()) + times
        };
        let mut daemon = Running::start(text, |_| ()).await;
        under_load(&exchange, &daemon).await;
        proxy.break_open("", Break::Silence);
        terminate(&daemon.child);
        let seen = watch(&daemon).await;
        assert_eq!(daemon.ended().await.code(), Some(75), "{}", daemon.log());
        let last = &seen.iter().rfind(|look| !look.states.is_empty()).unwrap().states;
        let failed: Vec<&str> = last.iter().filter(|(_, state)| state == "failed").map(|(name, _)| &**name).collect();
        assert!(failed.contains(&"order_managers"), "{last:?}");
        let log = daemon.log();
        let told = log.lines().find(|line| line.contains("cut off")).unwrap();
        assert!(failed.iter().all(|name| told.contains(name)) && log.contains("did not stop in time"), "{log}");
        assert_eq!(logged(&log).len(), 13, "{log}");
    });
}

#[test]
fn a_daemon_that_waits_for_the_exchange_stops_at_once() {
    on_local_set(async {
        let exchange = daemon::exchange(53).await;
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = |journal: &Path| {
            daemon::configuration(&exchange, journal).replace(&exchange.address.to_string(), &nobody.to_string())
        };
        let mut daemon = Running::start(text, |_| ()).await;
        for _ in 0..1_000 {
            let (_, ready) = daemon.look("/health/ready").await.unwrap();
            if ready["phase"] == "waiting_for_exchange" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (status, ready) = daemon.look("/health/ready").await.unwrap();
        assert_eq!((status, &ready["phase"]), (200, &Value::from("waiting_for_exchange")), "{ready}");
        assert_eq!(ready["trading_ready"], Value::Null, "{ready}");
        terminate(&daemon.child);
        assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
        assert_eq!(logged(&daemon.log()).len(), 13);
    });
}

#[test]
fn an_admin_stops_it_over_http_and_cuts_a_stop_short_that_hangs() {
    on_local_set(async {
        for silent in [false, true] {
            let exchange = daemon::exchange(54).await;
            let proxy = Proxy::start(exchange.address).await;
            let text = |journal: &Path| {
                let text = daemon::configuration(&exchange, journal);
                text.replace(&exchange.address.to_string(), &proxy.address.to_string())
            };
            let mut daemon = Running::start(text, |_| ()).await;
            under_load(&exchange, &daemon).await;
            let admin = token("admin");
            let (graceful, force) = (r#"{"mode":"graceful"}"#, r#"{"mode":"force"}"#);
            let stop = async |token: &str, how: &str| daemon.ask("POST", "/api/v1/shutdown", token, how).await.unwrap();
            assert_eq!(stop(&token("trader"), graceful).await.0, 403);
            assert_eq!(stop(&admin, force).await.0, 409, "there is nothing to cut short");
            if silent {
                proxy.break_open("", Break::Silence);
            }
            let (status, body) = stop(&admin, graceful).await;
            assert_eq!(status, 202, "{body}");
            if silent {
                let begun = async || {
                    let stop = daemon.get("/api/v1/shutdown").await;
                    stop["report"]["components"]
                        .as_array()
                        .is_some_and(|all| all.iter().any(|c| c["state"] == "running"))
                };
                while !begun().await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                // Its answer may be cut off with the process.
                let _ = daemon.ask("POST", "/api/v1/shutdown", &admin, force).await;
            }
            assert_eq!(daemon.ended().await.code(), Some(if silent { 75 } else { 0 }), "{}", daemon.log());
            assert_eq!(daemon.log().contains("forced: "), silent, "{}", daemon.log());
            if silent {
                assert!(daemon.log().contains("not stopped: "), "{}", daemon.log());
            }
        }
    });
}

#[test]
fn a_service_that_ignores_the_word_to_stop_is_aborted_and_the_rest_stops_in_order() {
    inside::run(async {
        let stubborn = |work: &mut Services| {
            let deaf = |context: ServiceContext| async move {
                loop {
                    context.beat.beat();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            *work.get_mut(Component::MemoryManager).unwrap() =
                Work::default().child("deaf", Duration::from_secs(60), deaf);
        };
        let composition = Composition { services: Box::new(stubborn), ..Arc::new(Registry::builtin()).into() };
        let exchange = daemon::exchange(55).await;
        let times = |text| text + "shutdown: { component_timeouts: { memory_manager: 300ms } }\n";
        let world = World::configured(exchange, times, composition).await;
        world.trades_on().await;
        assert_eq!(world.component(Component::MemoryManager).await.state, ComponentState::Running);
        world.daemon.stop().await;
        let report = world.daemon.system().console().stop_report().unwrap();
        assert!(!report.is_clean() && !report.forced && report.over);
        for status in &report.components {
            let expected =
                if status.component == Component::MemoryManager { StopState::Failed } else { StopState::Stopped };
            assert_eq!(status.state, expected, "{report:?}");
        }
    });
}
