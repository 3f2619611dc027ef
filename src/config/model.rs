//! The configuration as types. What needs instruments or assets stays text until they are known: see [`Config::engine`].

mod service;

pub use service::*;

use super::read::Fault;
use super::values::Values;
use qcat_actors::runtime::component::Component;
use qcat_core::command::MarginType;
use qcat_core::config::{
    AccountConfig, AccountLimits, EngineConfig, OnFault, OnStop, OnStuckTrigger, ParamValue, RiskConfig,
    StrategyConfig, Timing,
};
use qcat_core::id::{AccountIx, AssetIx};
use qcat_core::instrument::Universe;
use qcat_core::num::{Money, Rate};
use qcat_core::order::PositionMode;
use qcat_core::time::Span;
use qcat_io::net::url::Url;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The names of the components, in the order in which they stop.
pub const COMPONENT_NAMES: &[&str] = &{
    let mut names = [""; Component::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Component::ALL[at].name();
        at += 1;
    }
    names
};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read from.
    pub source: String,
    /// What this installation is called.
    pub app: App,
    /// The exchange.
    pub exchange: Exchange,
    /// Accounts by index.
    pub accounts: Vec<Account>,
    /// Strategies; the first has index 1 in the engine.
    pub strategies: Vec<Strategy>,
    /// The risk node.
    pub risk: RiskConfig,
    /// Times of order machine and reconciliation.
    pub timing: Timing,
    /// Market data.
    pub market_data: MarketData,
    /// `watchdog.step_timeout`.
    pub step_timeout: Span,
    /// The journal.
    pub journal: Journal,
    /// The HTTP server.
    pub server: Server,
    /// Limits for callers of the API.
    pub security: Security,
    /// Tokens.
    pub jwt: Jwt,
    /// The database.
    pub database: Database,
    /// The cache.
    pub redis: Redis,
    /// Logs.
    pub logging: Logging,
    /// The metrics' own port.
    pub monitoring: Monitoring,
    /// Health checks.
    pub health: Health,
    /// Resident memory.
    pub memory: Memory,
    /// The search for parameters.
    pub optimizer: Optimizer,
    /// The stop.
    pub shutdown: Shutdown,
    /// All values, with where each came from.
    pub(super) values: Values,
}

/// Where the exchange is: only these tell it from the simulator.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// REST.
    pub rest_url: String,
    /// Streams of the public route.
    pub ws_public_url: String,
    /// Streams of the market route.
    pub ws_market_url: String,
    /// User streams.
    pub ws_private_url: String,
    /// WebSocket API.
    pub ws_api_url: String,
    /// More trusted certificates.
    pub ca_file: Option<PathBuf>,
    /// `recvWindow`.
    pub recv_window: Span,
    /// How often the definitions are asked for.
    pub definitions_every: Span,
    /// What was acknowledged must be heard of on the user stream within this time.
    pub report_timeout: Span,
    /// Our clock may differ from the exchange's by this much.
    pub clock_offset_max: Span,
}

impl Exchange {
    /// Every URL by its key. The schema has taken only what parses.
    pub(super) fn urls(&self) -> Vec<(&'static str, Url)> {
        let ws = [
            ("ws_public_url", &self.ws_public_url),
            ("ws_market_url", &self.ws_market_url),
            ("ws_private_url", &self.ws_private_url),
            ("ws_api_url", &self.ws_api_url),
        ];
        let ws = ws.into_iter().filter_map(|(key, url)| Some((key, Url::parse(url, ["ws", "wss"]).ok()?)));
        let rest = Url::parse(&self.rest_url, ["http", "https"]).ok().map(|url| ("rest_url", url));
        rest.into_iter().chain(ws).collect()
    }
}

/// One account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// API key.
    pub api_key: SecretString,
    /// API secret.
    pub api_secret: SecretString,
    /// `live`.
    pub live: bool,
    pub(super) position_mode: PositionMode,
    pub(super) multi_assets: bool,
    pub(super) margin_type: MarginType,
    pub(super) leverage: u16,
    pub(super) on_fault: OnFault,
    pub(super) triggering_bound: Span,
    pub(super) on_stuck_trigger: OnStuckTrigger,
    pub(super) limits: Limits,
}

/// Limits with amounts as text: their asset is not known yet.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) order_notional_max: String,
    pub(super) position_notional_max: String,
    pub(super) exposure_max: String,
    pub(super) daily_loss_max: String,
    pub(super) leverage_max: Rate,
    pub(super) price_band: Rate,
    pub(super) reference_age_max: Span,
    pub(super) order_rate_max: u32,
    pub(super) order_rate_window: Span,
    pub(super) open_orders_max: u32,
    pub(super) open_conditionals_max: u32,
    pub(super) runaway_orders_max: u32,
    pub(super) runaway_window: Span,
}

/// One strategy.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its account.
    pub account: AccountIx,
    /// Its symbols.
    pub symbols: Vec<String>,
    /// Whether it runs from the start.
    pub enabled: bool,
    pub(super) on_stop: OnStop,
    /// Its parameters.
    pub params: BTreeMap<String, ParamValue>,
}

/// Market data.
#[derive(Debug, Clone)]
pub struct MarketData {
    /// Depth speed in milliseconds.
    pub depth_millis: u32,
    /// Aggregate trades in place of single ones.
    pub aggregate_trades: bool,
    /// Silence bound of depth, quotes, marks.
    pub silence: Span,
    /// Silence bound of trades.
    pub silence_trades: Span,
    /// Capacity of the engine's queue.
    pub queue: usize,
    /// Longest step of a strategy.
    pub step_budget: Span,
}

/// The journal.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Its directory.
    pub dir: PathBuf,
    /// `async`, `group` or `each`.
    pub durability: String,
    /// Bytes of one segment.
    pub segment_size: u64,
    /// `all`, `conflated` or `none`.
    pub market_data: String,
    /// How often a snapshot is written.
    pub snapshot_every: Span,
    /// How long segments that no recovery needs are kept for replays.
    pub keep: Span,
    /// How many bytes of segments are kept for that at most.
    pub keep_bytes: u64,
}

impl Config {
    /// A fault of a key of this configuration, with its place if it stands in the file.
    pub fn fault(&self, key: String, problem: String) -> Fault {
        self.values.fault(&[&key], problem)
    }

    /// What a run against an exchange needs beyond a valid file: API keys.
    pub fn check_credentials(&self) -> Result<(), Vec<Fault>> {
        let missing = self.accounts.iter().enumerate().flat_map(|(n, account)| {
            let keys = [("api_key", &account.api_key), ("api_secret", &account.api_secret)];
            keys.into_iter().filter(|(_, secret)| secret.expose_secret().is_empty()).map(move |(key, _)| (n, key))
        });
        let fault =
            |(n, key)| self.fault(format!("accounts[{n}].{key}"), "is missing: the exchange needs it".to_owned());
        let faults: Vec<Fault> = missing.map(fault).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Whether every URL of the exchange is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.exchange.urls().iter().all(|(_, url)| url.is_loopback())
    }

    /// The engine's configuration, now that instruments are known. Faults name strategies whose symbols do not exist.
    pub fn engine(&self, universe: &Universe) -> Result<EngineConfig, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut fault = |key: String, problem: String| faults.push(self.fault(key, problem));
        let mut strategies = Vec::new();
        for (n, strategy) in self.strategies.iter().enumerate() {
            let mut symbols = Vec::new();
            let margin = self.margin_asset(strategy.account.ix(), universe);
            for name in &strategy.symbols {
                match universe.by_name(name) {
                    Some(instrument) => {
                        symbols.push(instrument.symbol);
                        if instrument.margin != margin {
                            let [found, margin] = [instrument.margin, margin].map(|asset| universe.asset_name(asset));
                            let problem =
                                format!("{name} margins in {found}, its account in {margin}: it needs its own");
                            fault(format!("strategies[{n}].symbols"), problem);
                        }
                    }
                    None => fault(format!("strategies[{n}].symbols"), format!("the exchange lists no symbol `{name}`")),
                }
            }
            strategies.push(StrategyConfig {
                name: strategy.name.as_str().into(),
                kind: strategy.kind.as_str().into(),
                account: strategy.account,
                symbols,
                params: strategy.params.iter().map(|(k, v)| (k.as_str().into(), v.clone())).collect(),
                on_stop: strategy.on_stop,
                enabled: strategy.enabled,
            });
        }
        let loopback = self.is_loopback();
        let mut accounts = Vec::new();
        for (n, account) in self.accounts.iter().enumerate() {
            match account.engine(self.margin_asset(n, universe), loopback) {
                Ok(account) => accounts.push(account),
                Err(error) => fault(format!("accounts[{n}].limits"), error.to_string()),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(EngineConfig { accounts, strategies, risk: self.risk.clone(), timing: self.timing.clone() })
    }

    /// The margin asset of an account: that of its first strategy's first symbol, else USDT, else the first asset.
    fn margin_asset(&self, account: usize, universe: &Universe) -> AssetIx {
        let mine = self.strategies.iter().filter(|s| s.account.ix() == account);
        let symbols = mine.flat_map(|s| &s.symbols).filter_map(|name| universe.by_name(name));
        symbols.map(|i| i.margin).next().or_else(|| universe.asset("USDT")).unwrap_or(AssetIx(0))
    }
}

impl Account {
    /// What can be written down but not traded: refused here, so that nothing is ever sized or margined wrongly.
    pub(super) fn unsupported(&self) -> impl Iterator<Item = (&'static str, String)> {
        let text = |found, allowed| format!("found `{found}`, which is not supported yet; allowed: {allowed}");
        let hedge = (self.position_mode == PositionMode::Hedge).then(|| ("position_mode", text("hedge", "one_way")));
        let multi = self.multi_assets.then(|| ("multi_assets", text("true", "false")));
        let isolated = (self.margin_type == MarginType::Isolated).then(|| ("margin_type", text("isolated", "cross")));
        [hedge, multi, isolated].into_iter().flatten()
    }

    fn engine(&self, margin: AssetIx, loopback: bool) -> Result<AccountConfig, qcat_core::num::NumError> {
        let money = |text: &str| Money::parse(margin, text.as_bytes());
        let limits = &self.limits;
        Ok(AccountConfig {
            name: self.name.as_str().into(),
            trading: loopback || self.live,
            position_mode: self.position_mode,
            multi_assets: self.multi_assets,
            margin_type: self.margin_type,
            leverage: self.leverage,
            limits: AccountLimits {
                order_notional_max: money(&limits.order_notional_max)?,
                position_notional_max: money(&limits.position_notional_max)?,
                exposure_max: money(&limits.exposure_max)?,
                leverage_max: limits.leverage_max,
                price_band: limits.price_band,
                reference_age_max: limits.reference_age_max,
                order_rate_max: limits.order_rate_max,
                order_rate_window: limits.order_rate_window,
                open_orders_max: limits.open_orders_max,
                open_conditionals_max: limits.open_conditionals_max,
                daily_loss_max: money(&limits.daily_loss_max)?,
                runaway_orders_max: limits.runaway_orders_max,
                runaway_window: limits.runaway_window,
            },
            on_fault: self.on_fault,
            triggering_bound: self.triggering_bound,
            on_stuck_trigger: self.on_stuck_trigger,
        })
    }
}
