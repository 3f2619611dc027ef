//! The ordered stop: which component when, and until when.

use super::component::Component;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is wrong with a stop order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A component is not in it.
    #[error("shutdown_order does not name {0}")]
    Missing(Component),
    /// A component is in it more than once.
    #[error("shutdown_order names {0} more than once")]
    Twice(Component),
    /// Two components are in the wrong order.
    #[error("shutdown_order stops {1} before {0}, which needs it to stop in order")]
    Inverted(Component, Component),
    /// A time of zero.
    #[error("{0} must be longer than zero")]
    NoTime(&'static str),
    /// The force comes before the plan may be over.
    #[error("force_shutdown_after ({force:?}) must not be shorter than shutdown_timeout ({timeout:?})")]
    ForceTooEarly {
        /// `force_shutdown_after`.
        force: Duration,
        /// `shutdown_timeout`.
        timeout: Duration,
    },
}

/// The times of a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTimes {
    /// How long a component may take.
    pub component_timeout: Duration,
    /// How long these may, instead.
    pub component_timeouts: BTreeMap<Component, Duration>,
    /// How long all of them together may take.
    pub shutdown_timeout: Duration,
    /// How long it may take until nothing that adds risk leaves any more.
    pub signal_timeout: Duration,
    /// When the process ends whatever happens.
    pub force_shutdown_after: Duration,
}

impl Default for StopTimes {
    fn default() -> StopTimes {
        StopTimes {
            component_timeout: Duration::from_secs(10),
            component_timeouts: BTreeMap::new(),
            shutdown_timeout: Duration::from_secs(30),
            signal_timeout: Duration::from_secs(5),
            force_shutdown_after: Duration::from_secs(60),
        }
    }
}

/// In which order components stop, and how long that may take. The components' times need not add up: each has its own, and
/// all of them together no more than `shutdown_timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopPlan {
    order: Vec<Component>,
    times: StopTimes,
    log_progress: bool,
}

impl StopPlan {
    /// Checks an order and its times; tells everything that is wrong with them.
    pub fn new(order: Vec<Component>, times: StopTimes) -> Result<StopPlan, Vec<PlanError>> {
        let mut errors = Vec::new();
        for component in Component::ALL {
            match order.iter().filter(|c| **c == component).count() {
                0 => errors.push(PlanError::Missing(component)),
                1 => {}
                _ => errors.push(PlanError::Twice(component)),
            }
        }
        let place = |component| order.iter().position(|c| *c == component);
        for (early, late) in Component::BEFORE {
            if let (Some(early_at), Some(late_at)) = (place(early), place(late))
                && early_at > late_at
            {
                errors.push(PlanError::Inverted(early, late));
            }
        }
        let all = [
            ("component_timeout", times.component_timeout),
            ("shutdown_timeout", times.shutdown_timeout),
            ("signal_timeout", times.signal_timeout),
        ];
        errors.extend(all.into_iter().filter(|(_, time)| time.is_zero()).map(|(name, _)| PlanError::NoTime(name)));
        if times.component_timeouts.values().any(Duration::is_zero) {
            errors.push(PlanError::NoTime("component_timeouts"));
        }
        let (force, timeout) = (times.force_shutdown_after, times.shutdown_timeout);
        if force < timeout {
            errors.push(PlanError::ForceTooEarly { force, timeout });
        }
        match errors.is_empty() {
            true => Ok(StopPlan { order, times, log_progress: true }),
            false => Err(errors),
        }
    }

    /// The same, but only what goes wrong is logged while it stops.
    #[must_use]
    pub fn quiet(self) -> StopPlan {
        StopPlan { log_progress: false, ..self }
    }

    /// Components in the order in which they stop.
    pub fn order(&self) -> &[Component] {
        &self.order
    }

    /// How long a component may take by itself.
    pub fn component_timeout(&self, component: Component) -> Duration {
        self.times.component_timeouts.get(&component).copied().unwrap_or(self.times.component_timeout)
    }

    /// How long a component may take when the stop has taken `elapsed` so far.
    pub fn allowance(&self, component: Component, elapsed: Duration) -> Duration {
        self.component_timeout(component).min(self.times.shutdown_timeout.saturating_sub(elapsed))
    }

    /// How long it may take until nothing that adds risk leaves any more.
    pub fn signal_timeout(&self) -> Duration {
        self.times.signal_timeout
    }

    /// When the process is ended, however far the stop has come.
    pub fn force_shutdown_after(&self) -> Duration {
        self.times.force_shutdown_after
    }

    /// Whether each step is logged.
    pub fn log_progress(&self) -> bool {
        self.log_progress
    }
}

impl Default for StopPlan {
    fn default() -> StopPlan {
        StopPlan { order: Component::ALL.to_vec(), times: StopTimes::default(), log_progress: true }
    }
}

/// The components that are not stopped, for those outside of the trading thread. Clones are the same list.
#[derive(Debug, Clone)]
pub struct Unstopped(Arc<Mutex<Vec<Component>>>);

impl Unstopped {
    /// All components of a plan.
    pub fn all(plan: &StopPlan) -> Unstopped {
        Unstopped(Arc::new(Mutex::new(plan.order.clone())))
    }

    /// This one stopped, in time or not.
    pub(crate) fn stopped(&self, component: Component) {
        self.locked().retain(|other| *other != component);
    }

    /// What is left, for people.
    pub fn text(&self) -> String {
        let names: Vec<String> = self.locked().iter().map(ToString::to_string).collect();
        match names.is_empty() {
            true => "every component is stopped, the journal is not closed".to_owned(),
            false => format!("not stopped: {}", names.join(", ")),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Component>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the stop of a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopState {
    /// Its turn has not come.
    Pending,
    /// It stops.
    Running,
    /// It stopped in time.
    Stopped,
    /// It did not, and was aborted.
    Failed,
    /// No time was left for it: it was aborted at once.
    Skipped,
}

/// The stop of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopStatus {
    /// The component.
    pub component: Component,
    /// How far it is.
    pub state: StopState,
    /// How long it was allowed to take, in milliseconds.
    pub allowed_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What it still had to do when it was aborted.
    pub left: Option<String>,
}

/// An engine at its last input. The replay of its journal ends with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LastState {
    /// The last admitted input.
    pub seq: u64,
    /// A hash of the whole state.
    pub state_hash: u64,
}

/// A stop as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StopReport {
    /// Each component, in order.
    pub components: Vec<StopStatus>,
    /// What went wrong with the last snapshot and the end of the journal.
    pub journal: Option<String>,
    /// The engine as the journal ends with it; `None` when it was broken, or the stop did not come so far.
    pub last: Option<LastState>,
    /// Cut off by `force_shutdown_after`.
    pub forced: bool,
    /// Nothing more comes.
    pub over: bool,
}

impl StopReport {
    /// A stop that has not begun.
    pub fn pending(plan: &StopPlan) -> StopReport {
        let status = |component: &Component| StopStatus {
            component: *component,
            state: StopState::Pending,
            allowed_ms: 0,
            took_ms: 0,
            left: None,
        };
        let components = plan.order.iter().map(status).collect();
        StopReport { components, journal: None, last: None, forced: false, over: false }
    }

    /// Whether everything stopped in order.
    pub fn is_clean(&self) -> bool {
        !self.forced && self.journal.is_none() && self.components.iter().all(|c| c.state == StopState::Stopped)
    }

    /// Components that were aborted.
    pub fn overrun(&self) -> impl Iterator<Item = &StopStatus> {
        self.components.iter().filter(|c| matches!(c.state, StopState::Failed | StopState::Skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times() -> StopTimes {
        let component_timeouts = BTreeMap::from([(Component::Database, 2 * SECOND)]);
        let (component_timeout, shutdown_timeout, signal_timeout) = (SECOND, 3 * SECOND, SECOND);
        let force_shutdown_after = 6 * SECOND;
        StopTimes { component_timeout, component_timeouts, shutdown_timeout, signal_timeout, force_shutdown_after }
    }

    fn plan(order: &[Component]) -> Result<StopPlan, Vec<PlanError>> {
        StopPlan::new(order.to_vec(), times())
    }

    fn swapped(a: Component, b: Component) -> [Component; 13] {
        let mut order = Component::ALL;
        order.swap(a as usize, b as usize);
        order
    }

    #[test]
    fn an_order_names_each_component_once_and_turns_no_dependency_around() {
        use Component::*;
        assert!(plan(&Component::ALL).is_ok());
        let inverted = |early, late| PlanError::Inverted(early, late);
        let blind = vec![inverted(StrategyRunners, MarketDataStreams), inverted(StrategyRunners, OrderManagers)];
        assert_eq!(plan(&swapped(StrategyRunners, OrderManagers)), Err(blind));
        let lost = vec![inverted(RiskEngine, Database)];
        assert_eq!(plan(&swapped(RiskEngine, Database)), Err(lost));
        // Order that is not depended on is free.
        for free in [
            swapped(MarketDataStreams, OrderManagers),
            swapped(Optimizer, NetworkManager),
            swapped(RedisCache, HttpServer),
        ] {
            assert!(plan(&free).is_ok(), "{free:?}");
        }
        let mut twice = Component::ALL;
        twice[NetworkManager as usize] = RiskEngine;
        assert_eq!(plan(&twice), Err(vec![PlanError::Twice(RiskEngine), PlanError::Missing(NetworkManager)]));
    }

    #[test]
    fn a_component_gets_its_time_and_never_more_than_is_left() {
        let plan = plan(&Component::ALL).expect("valid");
        let allowed = |component, elapsed| plan.allowance(component, Duration::from_millis(elapsed)).as_millis();
        assert_eq!([0, 2_400, 9_000].map(|elapsed| allowed(Component::RiskEngine, elapsed)), [1_000, 600, 0]);
        assert_eq!([0, 2_400, 9_000].map(|elapsed| allowed(Component::Database, elapsed)), [2_000, 600, 0]);
        let none = StopTimes { component_timeout: Duration::ZERO, force_shutdown_after: SECOND, ..times() };
        assert_eq!(StopPlan::new(Component::ALL.to_vec(), none).map_err(|e| e.len()), Err(2));
    }
}
