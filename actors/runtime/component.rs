//! The components: a closed list in the order in which they stop, and what is to happen when one of them fails.

use qcat_core::engine::budget::RestartRule;
use qcat_core::time::Span;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A component. The names are those of the configuration's `shutdown_order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Life of each strategy instance.
    StrategyRunners,
    /// Sockets of the venue's public streams.
    MarketDataStreams,
    /// User streams and venue writers.
    OrderManagers,
    /// Ledgers.
    PositionManagers,
    /// Limits, budgets, the kill switch.
    RiskEngine,
    /// Connectivity, latency, clock offset, request weight.
    NetworkManager,
}

impl Component {
    /// All of them, in the order in which they stop.
    pub const ALL: [Component; 6] = [
        Component::StrategyRunners,
        Component::MarketDataStreams,
        Component::OrderManagers,
        Component::PositionManagers,
        Component::RiskEngine,
        Component::NetworkManager,
    ];

    /// Pairs whose first must stop before their second: strategies need prices and a writer to leave the market with, and
    /// every cancel needs the nodes and the address that carry it.
    pub const BEFORE: [(Component, Component); 6] = [
        (Component::StrategyRunners, Component::MarketDataStreams),
        (Component::StrategyRunners, Component::OrderManagers),
        (Component::OrderManagers, Component::PositionManagers),
        (Component::OrderManagers, Component::RiskEngine),
        (Component::PositionManagers, Component::RiskEngine),
        (Component::OrderManagers, Component::NetworkManager),
    ];

    /// Its name everywhere outside.
    pub const fn name(self) -> &'static str {
        match self {
            Component::StrategyRunners => "strategy_runners",
            Component::MarketDataStreams => "market_data_streams",
            Component::OrderManagers => "order_managers",
            Component::PositionManagers => "position_managers",
            Component::RiskEngine => "risk_engine",
            Component::NetworkManager => "network_manager",
        }
    }

    /// What is to happen with it.
    pub fn policy(self) -> &'static Policy {
        &POLICIES[self as usize]
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A name that is no component's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a component; they are: {list}", list = Component::ALL.map(Component::name).join(", "))]
pub struct UnknownComponent(pub String);

impl FromStr for Component {
    type Err = UnknownComponent;

    fn from_str(name: &str) -> Result<Component, UnknownComponent> {
        let found = Component::ALL.into_iter().find(|component| component.name() == name);
        found.ok_or_else(|| UnknownComponent(name.to_owned()))
    }
}

/// What happens when the restart budget of one of a component's parts is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhausted {
    /// Go on without it.
    Degrade,
    /// Strategies that need it pause; what they do with their position is their policy.
    PauseStrategies,
    /// Halt what it serves, and cancel its entries by REST.
    HaltTrading,
    /// Halt new risk.
    HaltNewRisk,
    /// End the process.
    StopProcess,
}

/// A row of the policy table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Which component.
    pub component: Component,
    /// How often each of its parts may be restarted.
    pub restart: RestartRule,
    /// What happens past that.
    pub exhausted: Exhausted,
    /// Messages that may wait for its actor before it is called overloaded.
    pub mailbox: usize,
}

const fn rule(max: u32, backoff_millis: i64) -> RestartRule {
    RestartRule {
        max,
        window: Span::from_secs(600),
        backoff: Span::from_millis(backoff_millis),
        backoff_max: Span::from_secs(30),
    }
}

const fn row(component: Component, restart: RestartRule, exhausted: Exhausted, mailbox: usize) -> Policy {
    Policy { component, restart, exhausted, mailbox }
}

/// The policy table: the only place where failure has a meaning.
pub const POLICIES: [Policy; 6] = {
    use Component::*;
    use Exhausted::*;
    [
        row(StrategyRunners, rule(5, 1_000), Degrade, 256),
        row(MarketDataStreams, rule(10, 200), PauseStrategies, 256),
        row(OrderManagers, rule(5, 200), HaltTrading, 256),
        row(PositionManagers, rule(3, 200), HaltNewRisk, 64),
        row(RiskEngine, rule(3, 200), HaltNewRisk, 64),
        row(NetworkManager, rule(10, 1_000), Degrade, 64),
    ]
};

/// Where a component or one of its parts is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// Not started yet.
    Pending,
    /// It works.
    Running,
    /// It waits to be restarted.
    Restarting,
    /// A part of it is past its budget; the rest works.
    Degraded,
    /// It finishes what is under way.
    Stopping,
    /// It has stopped.
    Stopped,
    /// It is past its budget, or was aborted.
    Failed,
}

/// A component as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentView {
    /// Its name.
    pub name: Component,
    /// Where it is.
    pub state: ComponentState,
    /// Restarts of its parts so far.
    pub restarts: u64,
    /// Messages that wait for its actor.
    pub mailbox: usize,
    /// Messages that may wait.
    pub mailbox_bound: usize,
    /// How its parts ended so far, by cause.
    pub exits: Vec<(&'static str, u64)>,
    /// The last fault of any part.
    pub last_fault: Option<String>,
    /// Its parts: strategies, stream groups, accounts.
    pub children: Vec<ChildView>,
    /// What else there is to know: numbers and short words.
    pub facts: Vec<(&'static str, String)>,
}

/// A part of a component. Parts are records of their parent's actor: they have no mailbox of their own, because everything
/// that reaches them comes through the lane or through their parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChildView {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: ComponentState,
    /// Restarts so far.
    pub restarts: u64,
    /// Its last fault.
    pub last_fault: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_names_follow_the_list() {
        for (at, component) in Component::ALL.into_iter().enumerate() {
            assert_eq!((component as usize, component.policy().component), (at, component));
            assert_eq!(component.name().parse(), Ok(component));
            assert_eq!(serde_json::to_string(&component).ok(), Some(format!("\"{component}\"")));
        }
        assert_eq!("order_manager".parse::<Component>(), Err(UnknownComponent("order_manager".to_owned())));
        let place = |c| Component::ALL.iter().position(|x| *x == c);
        assert!(Component::BEFORE.iter().all(|(early, late)| place(*early) < place(*late)));
    }

    /// The folder is the list.
    #[test]
    fn every_component_has_its_file_and_no_other_file_is_there() {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<String> = std::fs::read_dir(here)
            .expect("the package's folder")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
            .filter(|name| name != "lib")
            .collect();
        let mut names = Component::ALL.map(|c| c.name().to_owned());
        files.sort();
        names.sort();
        assert_eq!(files, names);
    }
}
