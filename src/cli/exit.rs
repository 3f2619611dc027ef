//! Exit codes, after sysexits: the one table of them. The service unit restarts after every code but [`USAGE`] and [`CONFIG`],
//! which no restart mends.

/// Everything went well; a stop was in order.
pub const OK: u8 = 0;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// Input data is wrong or missing.
pub const DATA: u8 = 65;
/// The start failed: a port, a directory, a lock, a schema that is refused, a database that is required.
pub const UNAVAILABLE: u8 = 69;
/// The trading thread hung and the watchdog ended the process, or a bug: something panicked, books differ.
pub const SOFTWARE: u8 = 70;
/// The stop overran its time and was forced, or a second signal forced it.
pub const FORCED: u8 = 75;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;

/// Every code with what it says to people.
pub const TABLE: [(u8, &str); 7] = [
    (OK, "clean"),
    (USAGE, "wrong usage"),
    (DATA, "wrong or missing data"),
    (UNAVAILABLE, "the start failed (port, directory, lock, exchange)"),
    (SOFTWARE, "the trading thread hung, a bug, or books that differ"),
    (FORCED, "the stop was forced"),
    (CONFIG, "wrong configuration"),
];

/// The table for `--help`.
pub(super) fn help() -> String {
    let codes = TABLE.map(|(code, meaning)| format!("  {code:>2}  {meaning}"));
    format!("Exit codes:\n{}", codes.join("\n"))
}
