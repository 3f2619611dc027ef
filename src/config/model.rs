//! The configuration as types. What needs instruments or assets stays text until they are known: see [`Config::engine`].

use super::read::{Fault, Leaf, Values};
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

/// Clocks differ: how much longer than `exchange.recv_window` nobody believes that an order never arrived.
const ABSENCE_MARGIN_MS: i64 = 1_000;

/// The components that exist, in the order in which they stop.
pub const COMPONENT_NAMES: &[&str] = &[
    "strategy_runners",
    "market_data_streams",
    "order_managers",
    "position_managers",
    "risk_engine",
    "network_manager",
];

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read from.
    pub source: String,
    /// `app.name`.
    pub name: String,
    /// `app.environment`.
    pub environment: String,
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
    /// The journal.
    pub journal: Journal,
    /// `logging.level`.
    pub log_level: String,
    /// The stop.
    pub shutdown: Shutdown,
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
}

impl Exchange {
    /// Every URL by its key. The schema has taken only what parses.
    fn urls(&self) -> Vec<(&'static str, Url)> {
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
    position_mode: PositionMode,
    multi_assets: bool,
    margin_type: MarginType,
    leverage: u16,
    on_fault: OnFault,
    triggering_bound: Span,
    on_stuck_trigger: OnStuckTrigger,
    limits: Limits,
}

/// Limits with amounts as text: their asset is not known yet.
#[derive(Debug, Clone)]
struct Limits {
    order_notional_max: String,
    position_notional_max: String,
    exposure_max: String,
    daily_loss_max: String,
    leverage_max: Rate,
    price_band: Rate,
    reference_age_max: Span,
    order_rate_max: u32,
    order_rate_window: Span,
    open_orders_max: u32,
    open_conditionals_max: u32,
    runaway_orders_max: u32,
    runaway_window: Span,
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
    on_stop: OnStop,
    /// Its parameters.
    pub params: BTreeMap<String, ParamValue>,
}

/// Market data.
#[derive(Debug, Clone)]
pub struct MarketData {
    /// Depth speed in milliseconds.
    pub depth_millis: u32,
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
}

/// The stop.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Time for the whole stop.
    pub shutdown_timeout: Span,
    /// Time for one component.
    pub component_timeout: Span,
    /// The process ends then.
    pub force_shutdown_after: Span,
    /// The order.
    pub order: Vec<String>,
}

/// Reads typed values by path. The schema guarantees kind and presence, so a miss is a bug of this file's paths.
struct Get<'a> {
    values: &'a Values,
    base: String,
}

impl Get<'_> {
    fn leaf(&self, key: &str) -> Option<&Leaf> {
        self.values.get(&format!("{}{key}", self.base))
    }

    fn text(&self, key: &str) -> String {
        match self.leaf(key) {
            Some(Leaf::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn bool(&self, key: &str) -> bool {
        matches!(self.leaf(key), Some(Leaf::Bool(true)))
    }

    fn int(&self, key: &str) -> i64 {
        match self.leaf(key) {
            Some(Leaf::Int(number)) => *number,
            _ => 0,
        }
    }

    fn u32(&self, key: &str) -> u32 {
        u32::try_from(self.int(key)).unwrap_or(u32::MAX)
    }

    fn span(&self, key: &str) -> Span {
        match self.leaf(key) {
            Some(Leaf::Duration(span)) => *span,
            _ => Span::ZERO,
        }
    }

    fn rate(&self, key: &str) -> Rate {
        Rate::parse(self.text(key).as_bytes()).unwrap_or(Rate::ZERO)
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match self.leaf(key) {
            Some(Leaf::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.text(key)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }
}

impl Config {
    /// Turns values into types and checks what spans several keys.
    pub fn new(source: &str, values: &Values) -> Result<Config, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut fault = |key: String, problem: String| {
            faults.push(Fault { source: source.to_owned(), pos: values.pos(&key), key, problem });
        };
        let at = |base: &str| Get { values, base: base.to_owned() };
        let accounts: Vec<Account> =
            (0..values.count("accounts")).map(|n| account(&at(&format!("accounts[{n}].")))).collect();
        for (n, account) in accounts.iter().enumerate() {
            if accounts[..n].iter().any(|other| other.name == account.name) {
                fault(format!("accounts[{n}].name"), format!("`{}` is the name of an earlier account", account.name));
            }
            for (key, problem) in account.unsupported() {
                fault(format!("accounts[{n}].{key}"), problem);
            }
            let rates = [("leverage_max", account.limits.leverage_max), ("price_band", account.limits.price_band)];
            for (key, _) in rates.iter().filter(|(_, rate)| *rate == Rate::ZERO) {
                fault(
                    format!("accounts[{n}].limits.{key}"),
                    "found 0 or more than 10 decimals; it must be above 0".to_owned(),
                );
            }
        }
        if accounts.is_empty() {
            // Without one nothing could be watched either.
            fault("accounts".to_owned(), "at least one account is needed".to_owned());
        }
        let mut strategies: Vec<Strategy> = Vec::new();
        for n in 0..values.count("strategies") {
            let get = at(&format!("strategies[{n}]."));
            let name = get.text("name");
            if strategies.iter().any(|other| other.name == name) {
                fault(format!("strategies[{n}].name"), format!("`{name}` is the name of an earlier strategy"));
            }
            let owner = get.text("account");
            let found = accounts.iter().position(|account| owner.is_empty() || account.name == owner);
            if found.is_none() {
                let known: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
                fault(
                    format!("strategies[{n}].account"),
                    format!("no account is named `{owner}`; there are: {}", known.join(", ")),
                );
            }
            strategies.push(strategy(&get, AccountIx(found.unwrap_or(0) as u16)));
        }
        let risk = RiskConfig { heartbeat: at("risk.").span("heartbeat"), budget_ttl: at("risk.").span("budget_ttl") };
        if risk.budget_ttl <= risk.heartbeat {
            fault(
                "risk.budget_ttl".to_owned(),
                "must be longer than risk.heartbeat, or budgets run out between two grants".to_owned(),
            );
        }
        let (exchange, timing) = (exchange(&at("exchange.")), timing(&at("orders.")));
        if timing.absent_after.millis() < exchange.recv_window.millis() + ABSENCE_MARGIN_MS {
            // Else an order that the exchange may still accept could be given up, and placed once more.
            let problem =
                "must be longer than exchange.recv_window by at least 1s: until then a placement may still arrive";
            fault("orders.absent_after".to_owned(), problem.to_owned());
        }
        for (key, url) in exchange.urls().into_iter().filter(|(_, url)| !url.is_loopback() && !url.tls) {
            let problem =
                format!("`{}` is on another machine and has no TLS: the API key would travel in clear", url.host);
            fault(format!("exchange.{key}"), problem);
        }
        let shutdown = shutdown(&at("shutdown."));
        if shutdown.force_shutdown_after < shutdown.shutdown_timeout {
            fault(
                "shutdown.force_shutdown_after".to_owned(),
                "must not be shorter than shutdown.shutdown_timeout".to_owned(),
            );
        }
        if shutdown.component_timeout.nanos() - timing.absent_after.nanos() < Span::from_secs(1).nanos() {
            fault(
                "shutdown.component_timeout".to_owned(),
                "must be longer than orders.absent_after by 1s at least, or a stop cannot wait until the fate of every order is known"
                    .to_owned(),
            );
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Config {
            source: source.to_owned(),
            name: at("app.").text("name"),
            environment: at("app.").text("environment"),
            exchange,
            accounts,
            strategies,
            risk,
            timing,
            market_data: market_data(&at("market_data.")),
            journal: journal(&at("journal.")),
            log_level: at("logging.").text("level"),
            shutdown,
        })
    }

    /// What a run against an exchange needs beyond a valid file: API keys.
    pub fn check_credentials(&self) -> Result<(), Vec<Fault>> {
        let missing = self.accounts.iter().enumerate().flat_map(|(n, account)| {
            let keys = [("api_key", &account.api_key), ("api_secret", &account.api_secret)];
            keys.into_iter().filter(|(_, secret)| secret.expose_secret().is_empty()).map(move |(key, _)| (n, key))
        });
        let fault = |(n, key)| Fault {
            source: self.source.clone(),
            pos: None,
            key: format!("accounts[{n}].{key}"),
            problem: "is missing: the exchange needs it".to_owned(),
        };
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
        let mut fault = |key: String, problem: String| {
            faults.push(Fault { source: self.source.clone(), pos: None, key, problem });
        };
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
    fn unsupported(&self) -> impl Iterator<Item = (&'static str, String)> {
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

fn exchange(get: &Get<'_>) -> Exchange {
    Exchange {
        rest_url: get.text("rest_url"),
        ws_public_url: get.text("ws_public_url"),
        ws_market_url: get.text("ws_market_url"),
        ws_private_url: get.text("ws_private_url"),
        ws_api_url: get.text("ws_api_url"),
        ca_file: get.path("ca_file"),
        recv_window: get.span("recv_window"),
        definitions_every: get.span("definitions_every"),
        report_timeout: get.span("report_timeout"),
    }
}

fn account(get: &Get<'_>) -> Account {
    Account {
        name: get.text("name"),
        api_key: get.text("api_key").into(),
        api_secret: get.text("api_secret").into(),
        live: get.bool("live"),
        position_mode: if get.text("position_mode") == "hedge" { PositionMode::Hedge } else { PositionMode::OneWay },
        multi_assets: get.bool("multi_assets"),
        margin_type: if get.text("margin_type") == "isolated" { MarginType::Isolated } else { MarginType::Cross },
        leverage: u16::try_from(get.int("leverage")).unwrap_or(1),
        on_fault: if get.text("on_fault") == "cancel_all" { OnFault::CancelAll } else { OnFault::CancelEntries },
        triggering_bound: get.span("triggering_bound"),
        on_stuck_trigger: if get.text("on_stuck_trigger") == "alert" {
            OnStuckTrigger::Alert
        } else {
            OnStuckTrigger::Close
        },
        limits: Limits {
            order_notional_max: get.text("limits.order_notional_max"),
            position_notional_max: get.text("limits.position_notional_max"),
            exposure_max: get.text("limits.exposure_max"),
            daily_loss_max: get.text("limits.daily_loss_max"),
            leverage_max: get.rate("limits.leverage_max"),
            price_band: get.rate("limits.price_band"),
            reference_age_max: get.span("limits.reference_age_max"),
            order_rate_max: get.u32("limits.order_rate_max"),
            order_rate_window: get.span("limits.order_rate_window"),
            open_orders_max: get.u32("limits.open_orders_max"),
            open_conditionals_max: get.u32("limits.open_conditionals_max"),
            runaway_orders_max: get.u32("limits.runaway_orders_max"),
            runaway_window: get.span("limits.runaway_window"),
        },
    }
}

fn strategy(get: &Get<'_>, account: AccountIx) -> Strategy {
    let params = match get.leaf("params") {
        Some(Leaf::Params(params)) => {
            params.iter().map(|(name, text, quoted)| (name.clone(), param(text, *quoted))).collect()
        }
        _ => BTreeMap::new(),
    };
    let on_stop = match get.text("on_stop").as_str() {
        "leave" => OnStop::Leave,
        "flatten" => OnStop::Flatten,
        _ => OnStop::Cancel,
    };
    Strategy {
        name: get.text("name"),
        kind: get.text("kind"),
        account,
        symbols: get.texts("symbols"),
        enabled: get.bool("enabled"),
        on_stop,
        params,
    }
}

/// A parameter's value by its form; the strategy's own specification decides whether it fits.
fn param(text: &str, quoted: bool) -> ParamValue {
    if quoted {
        return ParamValue::Text(text.into());
    }
    match text {
        "true" => ParamValue::Bool(true),
        "false" => ParamValue::Bool(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => ParamValue::Int(number),
            (_, Ok(number)) if number.is_finite() => ParamValue::Float(number),
            _ => ParamValue::Text(text.into()),
        },
    }
}

fn timing(get: &Get<'_>) -> Timing {
    Timing {
        order_timeout: get.span("timeout"),
        query_backoff: get.span("query_backoff"),
        query_backoff_max: get.span("query_backoff_max"),
        absent_after: get.span("absent_after"),
        reconcile_every: get.span("reconcile_every"),
        reconcile_timeout: get.span("reconcile_timeout"),
    }
}

fn market_data(get: &Get<'_>) -> MarketData {
    let depth = get.text("depth_speed");
    MarketData {
        depth_millis: depth.trim_end_matches("ms").parse().unwrap_or(100),
        silence: get.span("silence"),
        silence_trades: get.span("silence_trades"),
        queue: usize::try_from(get.int("queue")).unwrap_or(64),
        step_budget: get.span("step_budget"),
    }
}

fn journal(get: &Get<'_>) -> Journal {
    Journal {
        dir: get.path("dir").unwrap_or_default(),
        durability: get.text("durability"),
        segment_size: get.int("segment_size").unsigned_abs(),
        market_data: get.text("market_data"),
        snapshot_every: get.span("snapshot_every"),
    }
}

fn shutdown(get: &Get<'_>) -> Shutdown {
    let order = get.texts("shutdown_order");
    let order = if order.is_empty() { COMPONENT_NAMES.iter().map(|n| (*n).to_owned()).collect() } else { order };
    Shutdown {
        shutdown_timeout: get.span("shutdown_timeout"),
        component_timeout: get.span("component_timeout"),
        force_shutdown_after: get.span("force_shutdown_after"),
        order,
    }
}
