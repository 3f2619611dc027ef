//! The components: a closed list in the order in which they stop, and what is to happen when one of them fails.

use qcat_core::engine::budget::RestartRule;
use qcat_core::time::Span;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A component. The names are those of the configuration's `shutdown_order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// Push sessions of dashboards and programs.
    WebsocketConnections,
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
    /// Search over parameters, on threads that never trade.
    Optimizer,
    /// Checks with hysteresis, readiness.
    HealthChecker,
    /// Connectivity, latency, clock offset, request weight.
    NetworkManager,
    /// Memory, and what is done when it runs short.
    MemoryManager,
    /// The shared cache; the one in the process goes on without it.
    RedisCache,
    /// Projections to SQL and reads from it.
    Database,
    /// REST, push, dashboard, metrics.
    HttpServer,
}

impl Component {
    /// All of them, in the order in which they stop.
    pub const ALL: [Component; 13] = [
        Component::WebsocketConnections,
        Component::StrategyRunners,
        Component::MarketDataStreams,
        Component::OrderManagers,
        Component::PositionManagers,
        Component::RiskEngine,
        Component::Optimizer,
        Component::HealthChecker,
        Component::NetworkManager,
        Component::MemoryManager,
        Component::RedisCache,
        Component::Database,
        Component::HttpServer,
    ];

    /// Pairs whose first must stop before their second: strategies need prices and a writer to leave the market with, every
    /// cancel needs the nodes and the address that carry it, the projections take what the trading parts decide to their end, and
    /// push sessions sit on the server's sockets.
    pub const BEFORE: [(Component, Component); 9] = [
        (Component::StrategyRunners, Component::MarketDataStreams),
        (Component::StrategyRunners, Component::OrderManagers),
        (Component::OrderManagers, Component::PositionManagers),
        (Component::OrderManagers, Component::RiskEngine),
        (Component::PositionManagers, Component::RiskEngine),
        (Component::OrderManagers, Component::NetworkManager),
        (Component::MarketDataStreams, Component::Database),
        (Component::RiskEngine, Component::Database),
        (Component::WebsocketConnections, Component::HttpServer),
    ];

    /// Its name everywhere outside.
    pub const fn name(self) -> &'static str {
        match self {
            Component::WebsocketConnections => "websocket_connections",
            Component::StrategyRunners => "strategy_runners",
            Component::MarketDataStreams => "market_data_streams",
            Component::OrderManagers => "order_managers",
            Component::PositionManagers => "position_managers",
            Component::RiskEngine => "risk_engine",
            Component::Optimizer => "optimizer",
            Component::HealthChecker => "health_checker",
            Component::NetworkManager => "network_manager",
            Component::MemoryManager => "memory_manager",
            Component::RedisCache => "redis_cache",
            Component::Database => "database",
            Component::HttpServer => "http_server",
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

/// The thread that a component's actor lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The trading arbiter, beside the lane: a hop there is short.
    Trading,
    /// The system arbiter, a thread of its own: nothing there delays an order.
    System,
}

/// A row of the policy table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Which component.
    pub component: Component,
    /// Where its actor lives.
    pub placement: Placement,
    /// How often each of its parts may be restarted.
    pub restart: RestartRule,
    /// What happens past that.
    pub exhausted: Exhausted,
    /// Messages that may wait for its actor before it is called overloaded.
    pub mailbox: usize,
    /// The kinds of the engine's nodes that it answers for.
    pub nodes: &'static [&'static str],
}

const fn rule(max: u32, backoff_millis: i64) -> RestartRule {
    RestartRule {
        max,
        window: Span::from_secs(600),
        backoff: Span::from_millis(backoff_millis),
        backoff_max: Span::from_secs(30),
    }
}

/// Of a component beside the lane.
const fn trading(
    component: Component,
    restart: RestartRule,
    exhausted: Exhausted,
    mailbox: usize,
    nodes: &'static [&'static str],
) -> Policy {
    Policy { component, placement: Placement::Trading, restart, exhausted, mailbox, nodes }
}

/// Of a component on the system arbiter.
const fn system(component: Component, restart: RestartRule, exhausted: Exhausted) -> Policy {
    Policy { component, placement: Placement::System, restart, exhausted, mailbox: 64, nodes: &[] }
}

/// The policy table: the only place where failure has a meaning.
pub const POLICIES: [Policy; 13] = {
    use Component::*;
    use Exhausted::*;
    [
        system(WebsocketConnections, rule(10, 200), Degrade),
        trading(StrategyRunners, rule(5, 1_000), Degrade, 256, &["runner"]),
        trading(MarketDataStreams, rule(10, 200), PauseStrategies, 256, &[]),
        trading(OrderManagers, rule(5, 200), HaltTrading, 256, &["gate", "desk", "reconciler"]),
        trading(PositionManagers, rule(3, 200), HaltNewRisk, 64, &["ledger"]),
        trading(RiskEngine, rule(3, 200), HaltNewRisk, 64, &["risk", "markets"]),
        system(Optimizer, rule(5, 1_000), Degrade),
        system(HealthChecker, rule(10, 1_000), Degrade),
        trading(NetworkManager, rule(10, 1_000), Degrade, 64, &[]),
        system(MemoryManager, rule(10, 1_000), Degrade),
        system(RedisCache, rule(10, 1_000), Degrade),
        system(Database, rule(10, 1_000), Degrade),
        system(HttpServer, rule(5, 200), StopProcess),
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
    /// Its actor does not answer: its thread is blocked.
    Silent,
}

/// A component as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentView {
    /// Its name.
    pub name: Component,
    /// Where it is.
    pub state: ComponentState,
    /// The thread that its actor lives on.
    pub placement: Placement,
    /// What happens when a part of it is past its budget.
    pub exhausted: Exhausted,
    /// The kinds of the engine's nodes that it answers for.
    pub nodes: &'static [&'static str],
    /// How long its stop may take, in milliseconds; the whole stop may leave it less.
    pub stop_within_ms: u64,
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

impl ComponentView {
    /// One of which nothing more is known.
    pub fn of(component: Component, state: ComponentState) -> ComponentView {
        let policy = component.policy();
        ComponentView {
            name: component,
            state,
            placement: policy.placement,
            exhausted: policy.exhausted,
            nodes: policy.nodes,
            stop_within_ms: 0,
            restarts: 0,
            mailbox: 0,
            mailbox_bound: policy.mailbox,
            exits: Vec::new(),
            last_fault: None,
            children: Vec::new(),
            facts: Vec::new(),
        }
    }
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
        let manual = "websocket_connections strategy_runners market_data_streams order_managers position_managers risk_engine \
                      optimizer health_checker network_manager memory_manager redis_cache database http_server";
        assert_eq!(Component::ALL.map(Component::name).join(" "), manual);
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
