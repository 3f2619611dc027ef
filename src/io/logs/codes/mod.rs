//! Every code that a warning or an error of the log can have: what it means and what to do. Codes are stable: programs and
//! people search for them. `docs/log-codes.md` is written from this table; `tests/log_codes.rs` holds both to the sources.

use super::Level;
use outside::{EXCHANGE, JOURNAL, SERVICES};
use std::fmt::Write as _;
use trading::{ALERTS, COMPONENTS, ORDERS};

mod outside;
mod trading;

/// A code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// As it stands in the line.
    pub code: &'static str,
    /// The level of its lines.
    pub level: Level,
    /// What happened.
    pub meaning: &'static str,
    /// What a person does about it.
    pub action: &'static str,
}

const fn code(level: Level, code: &'static str, meaning: &'static str, action: &'static str) -> Code {
    Code { code, level, meaning, action }
}

/// All codes, by subject.
pub const CODES: &[(&str, &[Code])] = &[
    ("The log itself", LOG),
    ("Orders", ORDERS),
    ("Alerts of the trading core", ALERTS),
    ("Components and the engine", COMPONENTS),
    ("Journal and start", JOURNAL),
    ("Connections to the exchange", EXCHANGE),
    ("Health, memory, stores, API", SERVICES),
];

const LOG: &[Code] = &[
    code(
        Level::Warn,
        "log_lines_dropped",
        "More lines were logged than could be written; so many are missing.",
        "Look for the cause of the flood, or for a slow disk.",
    ),
    code(
        Level::Error,
        "log_write_failed",
        "A log file takes nothing. Lines wait in memory, then are lost and counted; trading goes on.",
        "Free space on the disk of `logging.log_dir`, or mend its permissions.",
    ),
    code(
        Level::Error,
        "log_rotation_failed",
        "A log file that is full could not be put aside; it grows on.",
        "Mend the permissions of `logging.log_dir`.",
    ),
    code(
        Level::Warn,
        "log_tidy_failed",
        "Old log files could not be compressed or deleted.",
        "Free space, or mend the permissions of `logging.log_dir`.",
    ),
    code(
        Level::Warn,
        "order_lines_dropped",
        "More happened to orders than could be logged; so many lines are missing. The journal has all of it.",
        "`qcat journal` shows what the log lacks.",
    ),
    code(
        Level::Error,
        "panic",
        "A part of the program panicked: a bug. The lines after it say what was rebuilt.",
        "Report `place` and `text`; watch the component's restarts.",
    ),
];

/// The table as a page for people.
pub fn page() -> String {
    let mut page = String::from(
        "# Codes of the log\n\nEvery warning and error has a `code`. Codes do not change; texts may. \
         This page is written from `src/io/logs/codes`.\n",
    );
    for (subject, codes) in CODES {
        let _ = write!(page, "\n## {subject}\n\n| code | level | meaning | what to do |\n|---|---|---|---|\n");
        for Code { code, level, meaning, action } in *codes {
            let _ = writeln!(page, "| `{code}` | {} | {meaning} | {action} |", level.as_str().to_ascii_uppercase());
        }
    }
    page
}
