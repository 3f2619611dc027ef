//! The one table of configuration keys: path, kind, range, default, doc, whether it is secret or can be changed at run time.
//! Reading, validation, `--print-config`, the environment names, docs/configuration.md and configs/config.yaml all come from it.

mod service;
mod stores;
mod trading;

use super::model::COMPONENT_NAMES;

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// Text that is never printed, of this many bytes at least.
    Secret(usize),
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
    /// A host name or IP address, without a port.
    Host,
    /// `host:port`.
    Address,
    /// A path of a file or directory.
    Path,
    /// A path of a URL, beginning with `/`.
    UrlPath,
    /// A list of texts, not empty.
    Texts,
    /// A list of IP addresses and networks (`10.0.0.0/8`), which may be empty.
    Networks,
    /// A list of web origins (`https://host:port`), which may be empty.
    Origins,
    /// Each of these words exactly once, in any order.
    Order(&'static [&'static str]),
    /// Durations by some of these names, in this range of milliseconds.
    Durations(&'static [&'static str], i64, i64),
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
    /// Whether a running daemon takes a new value; else it needs a restart.
    pub reloadable: bool,
}

impl Row {
    /// Whether its value is never printed.
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret(_))
    }

    /// A key whose new value a running daemon takes.
    const fn reloadable(self) -> Row {
        Row { reloadable: true, ..self }
    }
}

const fn row(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row { path, kind, default: Some(default), doc, reloadable: false }
}

const fn required(path: &'static str, kind: Kind, doc: &'static str) -> Row {
    Row { path, kind, default: None, doc, reloadable: false }
}

const fn secret(path: &'static str, bytes_min: usize, doc: &'static str) -> Row {
    row(path, Kind::Secret(bytes_min), "", doc)
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const HTTP: [&str; 2] = ["http", "https"];
const WS: [&str; 2] = ["ws", "wss"];

/// The sections in the order of the documentation, each with one sentence.
pub const SECTIONS: &[(&str, &str)] = &[
    ("app", "What this installation is called."),
    ("exchange", "Where the exchange is: only these keys tell it from the simulator."),
    (
        "accounts",
        "The accounts at the exchange. What belongs to one keeps its name and place for the life of a journal.",
    ),
    ("strategies", "The strategies, each on one account."),
    ("risk", "The risk engine."),
    ("orders", "The order machine and the comparison with the exchange."),
    ("market_data", "Market data and the engine's queue."),
    ("watchdog", "The watchdog over the trading thread."),
    ("journal", "The journal: everything the engine is given and decides."),
    ("server", "The HTTP server of API, dashboard and push."),
    ("security", "Limits for those who call the API."),
    ("jwt", "The tokens of the API."),
    ("database", "Where the history is projected to. The journal, not the database, is what a restart needs."),
    ("redis", "The cache. Without it everything is cached in the process."),
    ("logging", "The logs: qcat.log, access.log, error.log."),
    ("monitoring", "Metrics for Prometheus, besides `/metrics` of the API."),
    ("health", "The health checks."),
    ("memory", "The watch over resident memory."),
    ("optimizer", "The search for parameters of strategies."),
    ("shutdown", "The stop."),
];

const TABLES: [&[Row]; 6] =
    [service::APP, trading::ACCOUNTS, trading::TRADING, service::SERVICE, stores::STORES, service::OPERATION];

/// All keys, by section in the order of [`SECTIONS`].
pub fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.into_iter().flatten()
}

/// The row of a path in which list indices are replaced by `[]`.
pub fn find(pattern: &str) -> Option<&'static Row> {
    rows().find(|row| row.path == pattern)
}

/// Whether a path is a section, i.e. the beginning of rows.
pub fn is_section(pattern: &str) -> bool {
    rows().any(|row| {
        row.path
            .strip_prefix(pattern)
            .is_some_and(|rest| pattern.is_empty() || rest.starts_with('.') || rest.starts_with("[]"))
    })
}

/// Whether a path is a list of sections.
pub fn is_list(pattern: &str) -> bool {
    rows().any(|row| row.path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with("[]")))
}

/// The names that may stand in a section.
pub fn names_in(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = rows()
        .filter_map(|row| {
            let rest = if section.is_empty() { row.path } else { row.path.strip_prefix(section)?.strip_prefix('.')? };
            rest.split(['.', '[']).next()
        })
        .collect();
    names.dedup();
    names
}
