//! What happens to orders and in the trading core.

use super::{Code, Level, code};

pub(super) const ORDERS: &[Code] = &[
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

pub(super) const ALERTS: &[Code] = &[
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

pub(super) const COMPONENTS: &[Code] = &[
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
    code(
        Level::Error,
        "node_quarantined",
        "A node hung in the last life; it is not stepped with that input again.",
        "Report the station and the sequence number, with the journal.",
    ),
];
