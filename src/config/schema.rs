//! The one table of configuration keys: path, kind, range, default, doc, whether it is secret or can be changed at run time.
//! Reading, validation, `--print-config` and the environment names all come from it.

use super::model::COMPONENT_NAMES;

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number in this range.
    Int(i64, i64),
    /// An exact decimal number in this range (bounds as text).
    Decimal(&'static str, &'static str),
    /// A duration such as `30s`, `5m`, `250ms`, in this range of milliseconds.
    Duration(i64, i64),
    /// A URL of one of two schemes.
    Url([&'static str; 2]),
    /// A path of a file or directory.
    Path,
    /// A list of texts, not empty.
    Texts,
    /// Each of these words exactly once, in any order.
    Order(&'static [&'static str]),
    /// Free keys with scalar values.
    Params,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its path; `[]` stands for each item of a list.
    pub path: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value when it is missing: `None` means required, an empty text means unset.
    pub default: Option<&'static str>,
    /// One sentence for people.
    pub doc: &'static str,
    /// Never printed.
    pub secret: bool,
}

const fn row(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row { path, kind, default: Some(default), doc, secret: false }
}

const fn required(path: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row { path, kind, default: None, doc, secret: false }
}

const fn secret(path: &'static str, doc: &'static str) -> Row {
    Row { path, kind: Kind::Text, default: Some(""), doc, secret: true }
}

const HOUR: i64 = 3_600_000;
const HTTP: [&str; 2] = ["http", "https"];
const WS: [&str; 2] = ["ws", "wss"];

/// All keys.
pub const SCHEMA: &[Row] = &[
    row("app.name", Kind::Text, "QCAT", "Name of this installation in logs and on the terminal."),
    row("app.environment", Kind::Text, "production", "A label of this installation."),
    row("exchange.rest_url", Kind::Url(HTTP), "https://fapi.binance.com", "REST API."),
    row("exchange.ws_public_url", Kind::Url(WS), "wss://fstream.binance.com/public", "Streams of the public route."),
    row("exchange.ws_market_url", Kind::Url(WS), "wss://fstream.binance.com/market", "Streams of the market route."),
    row("exchange.ws_private_url", Kind::Url(WS), "wss://fstream.binance.com/private", "User streams."),
    row(
        "exchange.ws_api_url",
        Kind::Url(WS),
        "wss://ws-fapi.binance.com/ws-fapi/v1",
        "WebSocket API. Nothing is sent there: orders and questions go by REST. It is read for one thing: an account without `live` trades only when this URL, too, is on this machine.",
    ),
    row("exchange.ca_file", Kind::Path, "", "PEM file of certificates that are trusted beside the public roots."),
    row("exchange.recv_window", Kind::Duration(100, 60_000), "5s", "How late a signed request may reach the exchange."),
    row(
        "exchange.report_timeout",
        Kind::Duration(100, 600_000),
        "5s",
        "What the exchange acknowledged over REST must be heard of on the user stream within this time; else the stream counts as mute, is opened anew, and the account is reconciled.",
    ),
    row(
        "exchange.clock_offset_max",
        Kind::Duration(10, 60_000),
        "1s",
        "How far our clock may be from the exchange's; beyond it no new risk is taken until it agrees again. More than a minute refuses the start.",
    ),
    row(
        "exchange.definitions_every",
        Kind::Duration(1_000, 24 * HOUR),
        "1h",
        "How often contracts, filters and leverage brackets are asked for while the daemon runs; besides, whenever the exchange refuses an order by a rule that is not known so.",
    ),
    required("accounts[].name", Kind::Text, "The account's name here, unique."),
    secret("accounts[].api_key", "API key."),
    secret("accounts[].api_secret", "API secret (HMAC)."),
    row(
        "accounts[].live",
        Kind::Bool,
        "false",
        "Trade although a URL of the exchange is not on this machine. Without it the account is watched and its orders are refused.",
    ),
    row(
        "accounts[].position_mode",
        Kind::Word(&["one_way", "hedge"]),
        "one_way",
        "What the account must be set to at the exchange.",
    ),
    row("accounts[].multi_assets", Kind::Bool, "false", "What the account must be set to at the exchange."),
    row(
        "accounts[].margin_type",
        Kind::Word(&["cross", "isolated"]),
        "cross",
        "What each traded symbol must be set to at the exchange.",
    ),
    row("accounts[].leverage", Kind::Int(1, 125), "20", "What each traded symbol must be set to at the exchange."),
    row(
        "accounts[].on_fault",
        Kind::Word(&["cancel_entries", "cancel_all"]),
        "cancel_entries",
        "Which orders are cancelled when control is lost: entries, conditional ones too, or everything.",
    ),
    row(
        "accounts[].triggering_bound",
        Kind::Duration(100, HOUR),
        "5s",
        "A conditional order in TRIGGERING for longer raises the alarm.",
    ),
    row(
        "accounts[].on_stuck_trigger",
        Kind::Word(&["close", "alert"]),
        "close",
        "What happens then besides the alarm: close the position at market, or nothing.",
    ),
    row(
        "accounts[].limits.order_notional_max",
        Kind::Decimal("0", "1000000000000"),
        "20000",
        "Largest notional value of one order, in the margin asset.",
    ),
    row(
        "accounts[].limits.position_notional_max",
        Kind::Decimal("0", "1000000000000"),
        "50000",
        "Largest notional value of a symbol's position, all working orders of the worse side filled.",
    ),
    row(
        "accounts[].limits.exposure_max",
        Kind::Decimal("0", "1000000000000"),
        "100000",
        "Largest sum of the above over all symbols.",
    ),
    row("accounts[].limits.leverage_max", Kind::Decimal("0", "125"), "10", "Largest exposure over equity."),
    row(
        "accounts[].limits.price_band",
        Kind::Decimal("0", "1"),
        "0.05",
        "How far a limit price may be from the reference price, as a share.",
    ),
    row(
        "accounts[].limits.reference_age_max",
        Kind::Duration(1_000, HOUR),
        "60s",
        "How old the newest price (mark, quote or trade) of a symbol may be for orders that add risk.",
    ),
    row(
        "accounts[].limits.order_rate_max",
        Kind::Int(1, 100_000),
        "100",
        "Orders and modifications in `order_rate_window`; what reduces is placed beyond it.",
    ),
    row("accounts[].limits.order_rate_window", Kind::Duration(100, HOUR), "10s", "The window of `order_rate_max`."),
    row("accounts[].limits.open_orders_max", Kind::Int(1, 10_000), "100", "Open ordinary orders of one symbol."),
    row(
        "accounts[].limits.open_conditionals_max",
        Kind::Int(0, 200),
        "50",
        "Open conditional orders over all symbols.",
    ),
    row(
        "accounts[].limits.daily_loss_max",
        Kind::Decimal("0", "1000000000000"),
        "1000",
        "Loss since 00:00 UTC at which the account is halted, in the margin asset.",
    ),
    row(
        "accounts[].limits.runaway_orders_max",
        Kind::Int(1, 100_000),
        "60",
        "Orders of one strategy without a fill in `runaway_window` after which it may send no more.",
    ),
    row("accounts[].limits.runaway_window", Kind::Duration(1_000, HOUR), "30s", "The window of `runaway_orders_max`."),
    required("strategies[].name", Kind::Text, "The strategy's name here, unique."),
    required("strategies[].kind", Kind::Text, "Which strategy: `trend_follower` or `mean_reverter`."),
    row("strategies[].account", Kind::Text, "", "The name of its account; the first account when missing."),
    required("strategies[].symbols", Kind::Texts, "Its symbols; the first is the main one."),
    row("strategies[].enabled", Kind::Bool, "true", "Whether it runs from the start."),
    row(
        "strategies[].on_stop",
        Kind::Word(&["leave", "cancel", "flatten"]),
        "cancel",
        "What a stop does with its orders and position.",
    ),
    row("strategies[].params", Kind::Params, "", "Values of its parameters; what is missing has its default."),
    row("risk.heartbeat", Kind::Duration(10, 60_000), "1s", "How often limits are looked at and budgets granted."),
    row(
        "risk.budget_ttl",
        Kind::Duration(20, 600_000),
        "5s",
        "How long a budget is good for; longer than `risk.heartbeat`.",
    ),
    row(
        "orders.timeout",
        Kind::Duration(100, 600_000),
        "5s",
        "An order without any sign of life for this long is asked for.",
    ),
    row(
        "orders.query_backoff",
        Kind::Duration(10, 60_000),
        "500ms",
        "First pause between two questions for the same order.",
    ),
    row(
        "orders.query_backoff_max",
        Kind::Duration(10, 600_000),
        "30s",
        "Longest pause between two questions for the same order.",
    ),
    row(
        "orders.absent_after",
        Kind::Duration(1_000, 600_000),
        "8s",
        "An order that the exchange does not know counts as never arrived only this long after it was sent; longer than recv_window.",
    ),
    row(
        "orders.reconcile_every",
        Kind::Duration(1_000, 24 * HOUR),
        "60s",
        "How often accounts are compared with the exchange.",
    ),
    row(
        "orders.reconcile_timeout",
        Kind::Duration(1_000, 600_000),
        "15s",
        "A comparison without an answer for this long is begun anew.",
    ),
    row("market_data.depth_speed", Kind::Word(&["100ms", "250ms", "500ms"]), "100ms", "Speed of the depth stream."),
    row(
        "market_data.trades",
        Kind::Word(&["single", "aggregate"]),
        "single",
        "Which trades are subscribed to: each one, or those of one order at one price in one (fewer messages, 100 ms late).",
    ),
    row(
        "market_data.silence",
        Kind::Duration(1_000, HOUR),
        "10s",
        "Depth, quotes or mark price silent for longer is a fault.",
    ),
    row("market_data.silence_trades", Kind::Duration(1_000, 24 * HOUR), "5m", "Trades silent for longer is a fault."),
    row("market_data.queue", Kind::Int(64, 1_000_000), "65536", "Market inputs that may wait in front of the engine."),
    row("market_data.step_budget", Kind::Duration(1, 60_000), "50ms", "A strategy whose step takes longer is paused."),
    row("journal.dir", Kind::Path, "/var/lib/qcat/journal", "Directory of the journal."),
    row(
        "journal.durability",
        Kind::Word(&["async", "group", "each"]),
        "group",
        "When a command may leave: `async` once written, `group` once synced with others, `each` once synced alone.",
    ),
    row("journal.segment_size", Kind::Int(1 << 16, 1 << 34), "268435456", "Bytes of one segment."),
    row(
        "journal.market_data",
        Kind::Word(&["all", "conflated", "none"]),
        "all",
        "Which market data is journaled; with `none` recovery is whole but replay is not possible.",
    ),
    row(
        "journal.snapshot_every",
        Kind::Duration(1_000, 24 * HOUR),
        "60s",
        "How often a snapshot of the engine is written.",
    ),
    row(
        "journal.keep",
        Kind::Duration(HOUR, 87_600 * HOUR),
        "720h",
        "How long segments are kept for replays after no recovery needs them any more; older ones are removed.",
    ),
    row(
        "journal.keep_bytes",
        Kind::Int(1 << 20, 1 << 50),
        "68719476736",
        "How many bytes of segments are kept at most; beyond it the oldest that no recovery needs are removed, however young.",
    ),
    row(
        "logging.level",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "What is logged to standard error.",
    ),
    row(
        "shutdown.shutdown_timeout",
        Kind::Duration(100, HOUR),
        "30s",
        "Time for the whole stop; cuts the time of each component.",
    ),
    row("shutdown.component_timeout", Kind::Duration(100, HOUR), "10s", "Time for the stop of one component."),
    row("shutdown.force_shutdown_after", Kind::Duration(100, HOUR), "60s", "The process ends then whatever happens."),
    row(
        "shutdown.shutdown_order",
        Kind::Order(COMPONENT_NAMES),
        "",
        "The order in which components stop: each exactly once.",
    ),
];

/// The row of a path in which list indices are replaced by `[]`.
pub fn find(pattern: &str) -> Option<&'static Row> {
    SCHEMA.iter().find(|row| row.path == pattern)
}

/// Whether a path is a section, i.e. the beginning of rows.
pub fn is_section(pattern: &str) -> bool {
    SCHEMA.iter().any(|row| {
        row.path
            .strip_prefix(pattern)
            .is_some_and(|rest| pattern.is_empty() || rest.starts_with('.') || rest.starts_with("[]"))
    })
}

/// Whether a path is a list of sections.
pub fn is_list(pattern: &str) -> bool {
    SCHEMA.iter().any(|row| row.path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with("[]")))
}

/// The names that may stand in a section.
pub fn names_in(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = SCHEMA
        .iter()
        .filter_map(|row| {
            let rest = if section.is_empty() { row.path } else { row.path.strip_prefix(section)?.strip_prefix('.')? };
            rest.split(['.', '[']).next()
        })
        .collect();
    names.dedup();
    names
}
