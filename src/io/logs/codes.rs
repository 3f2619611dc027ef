//! Every code that a warning or an error of the log can have: what it means and what to do. Codes are stable: programs and
//! people search for them. `docs/log-codes.md` is written from this table; `tests/log_codes.rs` holds both to the sources.

use super::Level;
use std::fmt::Write as _;

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

const ORDERS: &[Code] = &[
    code(Level::Info, "order_placed", "An order passed the gate and is on its way.", "Nothing."),
    code(Level::Info, "order_modified", "A change of an order is on its way.", "Nothing."),
    code(Level::Info, "order_cancelled", "A cancellation is on its way.", "Nothing."),
    code(
        Level::Info,
        "order_refused",
        "An intent was refused; `reason` is its code, `why` says it with numbers.",
        "Nothing, or mend what the reason names.",
    ),
    code(Level::Info, "order_filled", "A fill was booked.", "Nothing."),
    code(Level::Info, "order_over", "An order is over; `end` says how, `reason` is the exchange's code.", "Nothing."),
    code(Level::Debug, "order_changed", "An order changed its state.", "Nothing."),
];

const ALERTS: &[Code] = &[
    code(
        Level::Error,
        "impossible_report",
        "The exchange reported what cannot be; the symbol is halted until it is reconciled.",
        "Compare the order at the exchange; resume when it agrees.",
    ),
    code(
        Level::Error,
        "foreign_order",
        "An order that is not ours was found or filled.",
        "Find out who trades on the account.",
    ),
    code(
        Level::Error,
        "forced_close",
        "The exchange closed a position: liquidation, auto-deleveraging or settlement.",
        "Look at margin and position at once.",
    ),
    code(
        Level::Error,
        "missed_fill",
        "A fill was found that no report had told of; it is booked.",
        "Watch for more: the user stream loses reports.",
    ),
    code(
        Level::Error,
        "position_repaired",
        "A position differed from the exchange's and was repaired.",
        "Find out why; compare the trades.",
    ),
    code(
        Level::Error,
        "balance_repaired",
        "A balance differed from the exchange's and was repaired.",
        "Find out why; compare the income history.",
    ),
    code(
        Level::Error,
        "order_repaired",
        "An order that should be open is not, or the reverse.",
        "Look at the order at the exchange.",
    ),
    code(
        Level::Error,
        "stuck_trigger",
        "A conditional order stays triggering for too long.",
        "Look at the position: it may be unprotected.",
    ),
    code(
        Level::Error,
        "trigger_rejected",
        "A protective order was refused at its trigger.",
        "Look at the position at once: it may be unprotected.",
    ),
    code(
        Level::Error,
        "settings_differ",
        "The account's settings differ from the configuration; it does not trade.",
        "Change them at the exchange, or in the configuration.",
    ),
    code(
        Level::Error,
        "node_fault",
        "A node of the engine faulted and is rebuilt.",
        "Report the panic that stands before it.",
    ),
    code(
        Level::Error,
        "strategy_stopped",
        "A strategy stopped for good.",
        "Look at its faults; start it again when they are mended.",
    ),
    code(Level::Error, "halted", "New risk is refused.", "See the reason; `qcat run --resume` lifts it."),
    code(Level::Error, "daily_loss", "The daily loss limit is reached.", "Decide whether to trade on today."),
    code(Level::Error, "margin_call", "The exchange warns that margin is short.", "Add margin or reduce at once."),
    code(
        Level::Error,
        "exposure_mismatch",
        "Held and booked exposure differ: a bug. The account is halted.",
        "Report it; compare with the exchange before resuming.",
    ),
    code(Level::Error, "overrun", "A node emitted more than its bound; the rest was dropped.", "Report it."),
    code(
        Level::Error,
        "runaway",
        "A strategy sends too many orders without a fill; it is stopped.",
        "Look at the strategy.",
    ),
    code(
        Level::Error,
        "booking_failed",
        "Something could not be booked or valued; the account is not trusted until it is reconciled.",
        "Report it; compare the books with the exchange.",
    ),
    code(
        Level::Error,
        "balance_adjusted",
        "The exchange changed a balance for an unusual reason.",
        "Look at the income history.",
    ),
];

const COMPONENTS: &[Code] = &[
    code(
        Level::Warn,
        "part_restarts",
        "A part of a component failed and is started again after a pause.",
        "Nothing the first time; look at `fault` when it goes on.",
    ),
    code(
        Level::Warn,
        "part_not_restarted",
        "A part could not be started again; the next try follows.",
        "Look at `why`.",
    ),
    code(Level::Warn, "part_restarted_by_hand", "A person had a part started again.", "Nothing."),
    code(
        Level::Error,
        "part_given_up",
        "A part is past its restarts; `then` says what happens now.",
        "Mend the cause, then start it again or restart the daemon.",
    ),
    code(
        Level::Error,
        "node_faulted",
        "A node of the engine panicked or overran.",
        "Report the panic that stands before it.",
    ),
    code(
        Level::Error,
        "engine_broken",
        "The engine cannot be rebuilt any more; entries are cancelled.",
        "Restart the daemon; report what stands before.",
    ),
    code(
        Level::Error,
        "control_lost",
        "Nothing can be decided any more; entries are cancelled and the process ends.",
        "Look at `reason`; the service manager starts it again.",
    ),
    code(
        Level::Error,
        "entries_cancelled",
        "Control is lost: the account's entries are cancelled without the engine.",
        "Compare the account at the exchange.",
    ),
    code(Level::Error, "daemon_stops", "The daemon stops by itself.", "Look at `reason`."),
    code(
        Level::Error,
        "daemon_failed",
        "The daemon cannot go on.",
        "Look at `reason`; the service manager starts it again.",
    ),
    code(
        Level::Warn,
        "halt_in_force",
        "New risk is refused from here on.",
        "See the reason; `qcat run --resume` lifts it.",
    ),
    code(
        Level::Warn,
        "halt_from_before",
        "A halt from before the start is in force.",
        "`qcat run --resume` lifts it when its cause is gone.",
    ),
    code(Level::Warn, "halt_lifted", "A halt from before the start is lifted.", "Nothing."),
    code(
        Level::Error,
        "clock_set",
        "The machine's clock was set; timers go on without it until a restart.",
        "Find out who sets the clock; use chrony.",
    ),
    code(
        Level::Error,
        "thread_stalled",
        "A thread does not go on.",
        "The service manager restarts the process; report the lines before.",
    ),
    code(
        Level::Error,
        "step_hung",
        "A step of a strategy hung; the process ends with exit code 70 and the strategy stays paused.",
        "Look at the strategy.",
    ),
];

const JOURNAL: &[Code] = &[
    code(
        Level::Error,
        "disk_full",
        "The journal's disk is full: no new risk.",
        "Free space; then `qcat run --resume`.",
    ),
    code(
        Level::Warn,
        "disk_free",
        "The journal's disk has room again; halted until a person resumes.",
        "`qcat run --resume`.",
    ),
    code(
        Level::Error,
        "snapshot_failed",
        "No snapshot was written: the next start takes longer.",
        "Look at space and permissions of `journal.dir`.",
    ),
    code(
        Level::Warn,
        "snapshot_unused",
        "A snapshot could not be used; an older one or the whole journal is.",
        "Nothing; report it if it comes again.",
    ),
    code(
        Level::Error,
        "journal_not_closed",
        "The journal was not closed in order.",
        "Look at the disk; the next start recovers.",
    ),
    code(
        Level::Error,
        "journal_not_durable",
        "The journal's end may not survive a loss of power.",
        "Look at the disk.",
    ),
    code(
        Level::Error,
        "halt_not_taken",
        "The engine did not take the halt in time; the stop goes on.",
        "Look at the lines before.",
    ),
    code(
        Level::Error,
        "stop_overran",
        "A component did not stop in its time and was cut off.",
        "Look at what it had left.",
    ),
    code(Level::Warn, "stop_cut_off", "The stop overran its time.", "Look at the components named."),
    code(Level::Warn, "stop_asked", "A person asked for a stop over HTTP.", "Nothing."),
    code(Level::Error, "start_failed", "The daemon could not start.", "Do what the message says."),
    code(Level::Error, "guard_failed", "No thread watches over the stop.", "Look at the limits of the process."),
    code(
        Level::Warn,
        "contract_refused",
        "A contract of the exchange cannot be followed.",
        "Nothing, unless a strategy needs it.",
    ),
    code(
        Level::Warn,
        "exchange_away_known",
        "The exchange cannot be asked; the start goes on with the journal's contracts.",
        "Look at the network.",
    ),
    code(Level::Warn, "exchange_away", "The exchange cannot be asked; it is tried again.", "Look at the network."),
    code(Level::Error, "recording_ended", "A recording cannot be read to its end.", "Look at the file."),
    code(Level::Warn, "notify_failed", "The service manager cannot be told anything.", "Look at NOTIFY_SOCKET."),
];

const EXCHANGE: &[Code] = &[
    code(
        Level::Warn,
        "link_down",
        "A connection to the exchange was lost; it is opened again.",
        "Nothing; look at the network when it goes on.",
    ),
    code(
        Level::Warn,
        "no_connection",
        "A connection for orders could not be opened ahead of need.",
        "Look at the network.",
    ),
    code(
        Level::Warn,
        "send_queue_full",
        "A WebSocket takes no more text; a frame was dropped.",
        "Look at the network.",
    ),
    code(
        Level::Warn,
        "credentials_missing",
        "A signed request was asked for without an API key.",
        "Give the account its key.",
    ),
    code(
        Level::Warn,
        "credentials_refused",
        "The exchange refuses the API key.",
        "Look at the key, its permissions and its addresses.",
    ),
    code(Level::Warn, "request_failed", "A request got no answer.", "Nothing; look at the network when it goes on."),
    code(Level::Warn, "no_time", "The exchange did not tell its time.", "Look at the network."),
    code(
        Level::Warn,
        "clock_off",
        "This machine's clock is too far from the exchange's: no new risk.",
        "Set the clock; use chrony.",
    ),
    code(Level::Warn, "clock_agrees", "The clocks agree again.", "Nothing."),
    code(
        Level::Warn,
        "no_history",
        "No past candles for the warm-up; they are asked for again.",
        "Look at the network.",
    ),
    code(Level::Warn, "no_definitions", "The exchange's contracts could not be asked for.", "Look at the network."),
    code(
        Level::Warn,
        "definition_refused",
        "A contract's new definition cannot be followed; its symbol is halted.",
        "Look at the contract; report it.",
    ),
    code(
        Level::Warn,
        "frame_malformed",
        "A frame could not be read; it is kept for a look.",
        "Report it with the kept frame.",
    ),
    code(
        Level::Warn,
        "frame_unknown",
        "A frame of an unknown kind came; it is kept for a look.",
        "Report it with the kept frame.",
    ),
    code(
        Level::Warn,
        "frame_not_kept",
        "A frame that could not be used could not be kept either.",
        "Look at space and permissions of `journal.dir`.",
    ),
    code(
        Level::Warn,
        "row_left_out",
        "A row of an answer could not be read and was left out.",
        "Report it with the kept frame.",
    ),
    code(Level::Warn, "answer_malformed", "An answer could not be read.", "Report it with the kept frame."),
    code(
        Level::Warn,
        "outcome_unreadable",
        "The answer to an order could not be read; the order is asked for.",
        "Report it with the kept frame.",
    ),
    code(
        Level::Warn,
        "listen_key_refused",
        "The exchange gives no key for the user stream; it is asked again.",
        "Look at the key's permissions.",
    ),
    code(
        Level::Warn,
        "user_stream_mute",
        "The user stream tells nothing of our orders; it is opened again.",
        "Nothing; look at the network when it goes on.",
    ),
    code(
        Level::Warn,
        "snapshot_malformed",
        "A book snapshot could not be read; it is asked for again.",
        "Report it with the kept frame.",
    ),
    code(
        Level::Warn,
        "snapshot_refused",
        "A book snapshot was refused; it is asked for again.",
        "Nothing, unless it goes on.",
    ),
    code(
        Level::Warn,
        "symbol_silent",
        "A symbol's stream is silent; strategies on it pause.",
        "Look at the exchange's status.",
    ),
    code(Level::Warn, "stream_silent", "A stream is silent; it is opened again.", "Look at the network."),
];

const SERVICES: &[Code] = &[
    code(Level::Warn, "health_changed", "The daemon's health changed.", "Look at the checks that fail."),
    code(Level::Error, "health_check_failed", "A health check fails.", "Look at the component that `check` names."),
    code(
        Level::Error,
        "health_options_refused",
        "New options of the checks are not valid; the old ones stay.",
        "Mend the configuration.",
    ),
    code(Level::Error, "memory_unmeasured", "The process's memory cannot be measured.", "Look at /proc."),
    code(
        Level::Warn,
        "memory_short",
        "The process nears its memory limit; caches are given back.",
        "Look at `level`; raise the limit or add memory.",
    ),
    code(Level::Error, "memory_action_panicked", "Giving memory back panicked: a bug.", "Report it."),
    code(Level::Warn, "database_read_failed", "A read of the database failed.", "Look at the database."),
    code(Level::Warn, "database_away", "A request cannot be answered without the database.", "Look at the database."),
    code(Level::Error, "handler_panicked", "A handler of the API panicked: a bug; the request got 500.", "Report it."),
    code(
        Level::Error,
        "journal_cut",
        "The database was away for so long that journal records it lacks had to go: the disk's share for them is used up.",
        "When the database is back, rebuild the projections.",
    ),
    code(Level::Info, "database_back", "The database is open again.", "Nothing."),
    code(
        Level::Warn,
        "projection_begins_late",
        "The journal's beginning is gone, so the database's history begins later.",
        "Nothing.",
    ),
    code(
        Level::Error,
        "projection_gap",
        "The journal no longer holds what the database lacks.",
        "`qcat database rebuild`.",
    ),
    code(
        Level::Warn,
        "projection_unfinished",
        "The database was away at the stop.",
        "Nothing: the next start goes on from its checkpoint.",
    ),
    code(
        Level::Warn,
        "projection_waits",
        "The journal cannot be followed just now; it is tried again.",
        "Look at `journal.dir` when it goes on.",
    ),
    code(
        Level::Warn,
        "retention_failed",
        "Old rows of the database were not deleted; it is tried again.",
        "Look at the database.",
    ),
];

/// The table as a page for people.
pub fn page() -> String {
    let mut page = String::from(
        "# Codes of the log\n\nEvery warning and error has a `code`. Codes do not change; texts may. \
         This page is written from `src/io/logs/codes.rs`.\n",
    );
    for (subject, codes) in CODES {
        let _ = write!(page, "\n## {subject}\n\n| code | level | meaning | what to do |\n|---|---|---|---|\n");
        for Code { code, level, meaning, action } in *codes {
            let _ = writeln!(page, "| `{code}` | {} | {meaning} | {action} |", level.as_str().to_ascii_uppercase());
        }
    }
    page
}
