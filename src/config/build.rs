//! From values by path to the configuration's types, and what spans several keys.

mod get;
mod service;

use super::model::{Account, Config, Exchange, Journal, Limits, MarketData, Strategy};
use super::read::{Fault, Leaf};
use super::values::Values;
use get::{Faults, Get};
use qcat_core::command::MarginType;
use qcat_core::config::{OnFault, OnStop, OnStuckTrigger, ParamValue, RiskConfig, Timing};
use qcat_core::id::AccountIx;
use qcat_core::num::Rate;
use qcat_core::order::PositionMode;
use std::collections::BTreeMap;

/// Clocks differ: how much longer than `exchange.recv_window` nobody believes that an order never arrived.
const ABSENCE_MARGIN_MS: i64 = 1_000;

impl Config {
    /// Turns values into types and checks what spans several keys.
    pub(super) fn new(values: Values) -> (Config, Vec<Fault>) {
        let at = |base: &str| Get { values: &values, base: base.to_owned() };
        let mut faults = Faults { values: &values, found: Vec::new() };
        let accounts = accounts(&values, &mut faults);
        let strategies = strategies(&values, &accounts, &mut faults);
        let risk = RiskConfig { heartbeat: at("risk.").span("heartbeat"), budget_ttl: at("risk.").span("budget_ttl") };
        if risk.budget_ttl <= risk.heartbeat {
            let problem = "must be longer than risk.heartbeat, or budgets run out between two grants";
            faults.among(&["risk.budget_ttl", "risk.heartbeat"], problem);
        }
        let (exchange, timing) = (exchange(&at("exchange.")), timing(&at("orders.")));
        check_exchange(&exchange, &timing, &mut faults);
        let server = service::server(&at("server."), &mut faults);
        let monitoring = service::monitoring(&at("monitoring."), &server, &mut faults);
        let database = service::database(&at("database."), &mut faults);
        let redis = service::redis(&at("redis."), &mut faults);
        let health = service::health(&at("health."), &mut faults);
        let memory = service::memory(&at("memory."), &mut faults);
        let shutdown = service::shutdown(&at("shutdown."), &timing, &mut faults);
        let faults = faults.found;
        let config = Config {
            source: values.sources[0].clone(),
            app: service::app(&at("app.")),
            exchange,
            accounts,
            strategies,
            risk,
            timing,
            market_data: market_data(&at("market_data.")),
            step_timeout: at("watchdog.").span("step_timeout"),
            journal: journal(&at("journal.")),
            server,
            security: service::security(&at("security.")),
            jwt: service::jwt(&at("jwt.")),
            database,
            redis,
            logging: service::logging(&at("logging.")),
            monitoring,
            health,
            memory,
            optimizer: service::optimizer(&at("optimizer.")),
            shutdown,
            values: values.clone(),
        };
        (config, faults)
    }
}

fn check_exchange(exchange: &Exchange, timing: &Timing, faults: &mut Faults<'_>) {
    if timing.absent_after.millis() < exchange.recv_window.millis() + ABSENCE_MARGIN_MS {
        // Else an order that the exchange may still accept could be given up, and placed once more.
        let problem =
            "must be longer than exchange.recv_window by at least 1s: until then a placement may still arrive";
        faults.among(&["orders.absent_after", "exchange.recv_window"], problem);
    }
    for (key, url) in exchange.urls().into_iter().filter(|(_, url)| !url.is_loopback() && !url.tls) {
        let problem = format!("`{}` is on another machine and has no TLS: the API key would travel in clear", url.host);
        faults.add(format!("exchange.{key}"), problem);
    }
}

fn accounts(values: &Values, faults: &mut Faults<'_>) -> Vec<Account> {
    let get = |n: usize| Get { values, base: format!("accounts[{n}].") };
    let accounts: Vec<Account> = (0..values.count("accounts")).map(|n| account(&get(n))).collect();
    for (n, account) in accounts.iter().enumerate() {
        if accounts[..n].iter().any(|other| other.name == account.name) {
            faults.add(format!("accounts[{n}].name"), format!("`{}` is the name of an earlier account", account.name));
        }
        for (key, problem) in account.unsupported() {
            faults.add(format!("accounts[{n}].{key}"), problem);
        }
        let rates = [("leverage_max", account.limits.leverage_max), ("price_band", account.limits.price_band)];
        for (key, _) in rates.iter().filter(|(_, rate)| *rate == Rate::ZERO) {
            let problem = "found 0 or more than 10 decimals; it must be above 0";
            faults.add(format!("accounts[{n}].limits.{key}"), problem);
        }
    }
    if accounts.is_empty() {
        // Without one nothing could be watched either.
        faults.add("accounts", "at least one account is needed");
    }
    accounts
}

fn strategies(values: &Values, accounts: &[Account], faults: &mut Faults<'_>) -> Vec<Strategy> {
    let mut strategies: Vec<Strategy> = Vec::new();
    for n in 0..values.count("strategies") {
        let get = Get { values, base: format!("strategies[{n}].") };
        let name = get.text("name");
        if strategies.iter().any(|other| other.name == name) {
            faults.add(format!("strategies[{n}].name"), format!("`{name}` is the name of an earlier strategy"));
        }
        let owner = get.text("account");
        let found = accounts.iter().position(|account| owner.is_empty() || account.name == owner);
        if found.is_none() {
            let known: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
            let problem = format!("no account is named `{owner}`; there are: {}", known.join(", "));
            faults.add(format!("strategies[{n}].account"), problem);
        }
        strategies.push(strategy(&get, AccountIx(found.unwrap_or(0) as u16)));
    }
    strategies
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
        clock_offset_max: get.span("clock_offset_max"),
    }
}

fn account(get: &Get<'_>) -> Account {
    Account {
        name: get.text("name"),
        api_key: get.secret("api_key").unwrap_or_default(),
        api_secret: get.secret("api_secret").unwrap_or_default(),
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
        aggregate_trades: get.text("trades") == "aggregate",
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
        keep: get.span("keep"),
        keep_bytes: get.int("keep_bytes").unsigned_abs(),
    }
}
