//! The health checks of a daemon: what is looked at, and what is wrong with it.

use super::look::Look;
use crate::api::store::StoreSlot;
use crate::config::Config;
use crate::health::{Check, disk_space};
use crate::memory::{Level, MemoryBoard};
use qcat_actors::runtime::component::{Component, ComponentState, ComponentView};
use qcat_actors::runtime::lane::{LaneState, LaneView};
use qcat_actors::runtime::system::Tree;
use qcat_core::health::Probe;
use qcat_io::cache::{Cache, RedisState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A journal whose end is not durable for so long hangs.
const DURABLE_WITHIN: Duration = Duration::from_secs(10);
/// The exchange is asked for its time every half minute; two answers may be missing.
const ANSWER_AGE_MS: u64 = 95_000;
/// Segments of the journal for which there must be space.
const SEGMENTS: u64 = 4;

/// What is looked at.
#[derive(Clone)]
pub(super) struct Looked {
    pub look: Arc<Look>,
    pub store: StoreSlot,
    pub cache: Cache,
    pub memory: MemoryBoard,
}

/// The checks. Without the trading thread, its journal or a database that is required the daemon is unhealthy.
pub(super) fn checks(config: &Config, looked: Looked) -> Vec<Check> {
    let Looked { look, store, cache, memory } = looked;
    let of_tree = |name, judge: fn(&Tree) -> Probe| {
        let look = look.clone();
        Check::new(name, move || {
            let look = look.clone();
            async move { look.tree().await.map_or_else(|error| failed(&error), |look| judge(&look.1)) }
        })
    };
    let disk = disk_space(config.journal.dir.clone(), config.journal.segment_size.saturating_mul(SEGMENTS));
    let database = Check::new("database", move || {
        let store = store.get();
        async move {
            match store {
                None => failed("it was never reached"),
                Some(store) => store.ping().await.map_or_else(|error| failed(&error.to_string()), |()| Probe::Passed),
            }
        }
    });
    let redis = Check::read("redis", move || match cache.redis() {
        RedisState::None => Probe::NotConfigured,
        RedisState::Up => Probe::Passed,
        RedisState::Down(why) => failed(&why),
    });
    let memory = Check::read("memory", move || {
        let facts = memory.facts();
        match (facts.level, &facts.error) {
            (Level::Alert, _) => failed("it is past memory.alert_threshold"),
            (_, Some(error)) => failed(error),
            _ => Probe::Passed,
        }
    });
    let offset_max = config.exchange.clock_offset_max.millis();
    let clock = {
        let look = look.clone();
        Check::new("clock", move || {
            let look = look.clone();
            async move { look.tree().await.map_or_else(|error| failed(&error), |look| clock(&look.1, offset_max)) }
        })
    };
    vec![
        of_tree("lane", |tree| tree.lane.as_ref().map_or(Probe::NotConfigured, lane)).critical(),
        journal(look.clone()).critical(),
        Check::blocking("journal_disk", disk).critical(),
        of_tree("components", components),
        of_tree("exchange", exchange),
        of_tree("market_streams", |tree| all_up(tree, Component::MarketDataStreams, "groups_up")),
        of_tree("user_streams", |tree| all_up(tree, Component::OrderManagers, "user_streams_up")),
        clock,
        if config.database.required { database.critical() } else { database },
        redis,
        memory,
    ]
}

fn failed(why: &str) -> Probe {
    Probe::Failed(why.into())
}

fn lane(lane: &LaneView) -> Probe {
    match lane.state {
        LaneState::Running if lane.disk_full => failed("the journal's disk is full: no new risk"),
        LaneState::Running => Probe::Passed,
        LaneState::Broken => failed("the engine waits to be rebuilt"),
        LaneState::Dead => failed("the journal takes nothing more"),
        LaneState::Closed => failed("the journal is closed"),
    }
}

/// What is written becomes durable.
fn journal(look: Arc<Look>) -> Check {
    let last: Arc<Mutex<Option<(u64, Instant)>>> = Arc::default();
    Check::new("journal", move || {
        let (look, last) = (look.clone(), last.clone());
        async move {
            let look = match look.tree().await {
                Ok(look) => look,
                Err(error) => return failed(&error),
            };
            let Some(lane) = &look.1.lane else { return Probe::NotConfigured };
            durable(&mut last.lock().unwrap_or_else(PoisonError::into_inner), (lane.seq, lane.durable_seq), look.0)
        }
    })
}

/// `last`: what was durable when it moved last, and when that was.
fn durable(last: &mut Option<(u64, Instant)>, (seq, durable): (u64, u64), now: Instant) -> Probe {
    match *last {
        Some((before, since)) if before == durable && durable < seq => {
            let still = now.saturating_duration_since(since);
            if still > DURABLE_WITHIN {
                return failed(&format!("input {seq} is written, but {durable} is durable since {}s", still.as_secs()));
            }
        }
        _ => *last = Some((durable, now)),
    }
    Probe::Passed
}

fn components(tree: &Tree) -> Probe {
    let bad = |state| matches!(state, ComponentState::Failed | ComponentState::Degraded | ComponentState::Silent);
    let bad = tree.components.iter().filter(|component| bad(component.state));
    let words: Vec<String> = bad
        .map(|component| match &component.last_fault {
            Some(fault) => format!("{}: {fault}", component.name),
            None => format!("{} is past its restarts or does not answer", component.name),
        })
        .collect();
    if words.is_empty() { Probe::Passed } else { failed(&words.join("; ")) }
}

fn view(tree: &Tree, component: Component) -> Option<&ComponentView> {
    // Before there is a lane, components beside it have nothing to do.
    tree.lane.as_ref()?;
    tree.components.iter().find(|view| view.name == component)
}

fn number(view: &ComponentView, name: &str) -> Option<i64> {
    view.facts.iter().find(|(known, _)| *known == name)?.1.parse().ok()
}

fn exchange(tree: &Tree) -> Probe {
    let Some(network) = view(tree, Component::NetworkManager) else { return Probe::NotConfigured };
    match number(network, "answered_ms_ago").and_then(|age| u64::try_from(age).ok()) {
        None => failed("it has not told its time yet"),
        Some(age) if age > ANSWER_AGE_MS => failed(&format!("it has not told its time for {} s", age / 1_000)),
        Some(_) => Probe::Passed,
    }
}

fn clock(tree: &Tree, offset_max: i64) -> Probe {
    let Some(network) = view(tree, Component::NetworkManager) else { return Probe::NotConfigured };
    match number(network, "clock_offset_ms") {
        None => Probe::NotConfigured,
        Some(offset) if offset.saturating_abs() > offset_max => {
            failed(&format!("this machine's clock is {offset} ms off the exchange's, at most {offset_max} are allowed"))
        }
        Some(_) => Probe::Passed,
    }
}

fn all_up(tree: &Tree, component: Component, fact: &str) -> Probe {
    let Some(view) = view(tree, component) else { return Probe::NotConfigured };
    let (all, up) = (view.children.len() as i64, number(view, fact).unwrap_or(0));
    match all {
        0 => Probe::NotConfigured,
        all if up < all => failed(&format!("{up} of {all} are up")),
        _ => Probe::Passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_is_behind_and_does_not_move_hangs_and_a_quiet_one_does_not() {
        let (mut last, begun) = (None, Instant::now());
        let mut look = |second, seqs| durable(&mut last, seqs, begun + Duration::from_secs(second)) == Probe::Passed;
        assert!(look(0, (5, 5)) && look(1_000, (5, 5)), "quiet");
        assert!(look(1_001, (9, 7)) && look(1_020, (20, 8)), "behind, but it moves");
        assert!(look(1_030, (30, 8)) && !look(1_031, (31, 8)));
        assert!(look(1_032, (31, 31)));
    }

    #[test]
    fn the_exchange_the_clock_and_streams_are_judged_by_what_the_components_tell() {
        let mut network = ComponentView::of(Component::NetworkManager, ComponentState::Running);
        let lane = LaneView {
            state: LaneState::Running,
            seq: 1,
            durable_seq: 1,
            queued: 0,
            conflated: 0,
            refused: 0,
            held: 0,
            not_sent: 0,
            disk_full: false,
            dropped: 0,
        };
        let phase = qcat_actors::runtime::console::Phase::Running;
        let phase = qcat_actors::runtime::console::PhaseView { phase, reason: None };
        let tree = |lane: Option<LaneView>, network: &ComponentView| Tree {
            phase: phase.clone(),
            lane,
            components: vec![network.clone()],
            stop: None,
        };
        assert_eq!(exchange(&tree(None, &network)), Probe::NotConfigured);
        assert!(matches!(exchange(&tree(Some(lane.clone()), &network)), Probe::Failed(_)), "no answer yet");
        network.facts = vec![("answered_ms_ago", "95000".to_owned()), ("clock_offset_ms", "-500".to_owned())];
        let sound = tree(Some(lane.clone()), &network);
        assert_eq!([exchange(&sound), clock(&sound, 500)], [Probe::Passed, Probe::Passed]);
        assert!(matches!(clock(&sound, 499), Probe::Failed(_)));
        network.facts[0].1 = "95001".to_owned();
        assert!(matches!(exchange(&tree(Some(lane.clone()), &network)), Probe::Failed(_)));
        assert_eq!(components(&sound), Probe::Passed);
        network.state = ComponentState::Failed;
        assert!(matches!(components(&tree(Some(lane), &network)), Probe::Failed(_)));
        let broken = |state| LaneView { state, ..sound.lane.clone().expect("there") };
        assert!(matches!(super::lane(&broken(LaneState::Dead)), Probe::Failed(_)));
    }
}
