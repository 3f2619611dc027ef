//! The journal: every admitted input and what the engine decided from it, in order, on disk.
//!
//! The trading thread appends with one `pwrite` a record ([`Journal`]); a sync thread makes it durable. [`Journal::open`] locks the
//! data directory, checks what is there, cuts off a torn tail, refuses damage, and hands out what to recover from. [`Reader`]
//! reads without a lock. It may not decide anything: which inputs are admitted and what leaves when is the lane's business.
//! Tests: a crash at every call of random runs, torn tails at every byte, flipped bits, failed syncs, a full disk.

mod follow;
mod head;
pub mod marks;
mod open;
pub mod owner;
mod reader;
mod retained;
mod retire;
mod scan;
pub mod segment;
mod snapshot;
mod sync;
#[cfg(test)]
mod tests;
pub mod verify;
mod writer;

pub use follow::{FollowError, Follower};
pub use head::Head;
pub use open::{OpenError, Recovered, TornTail};
pub use qcat_core::engine::fold::{Quarantine, Record};
pub use qcat_core::engine::snapshot::Snapshot as State;
pub use reader::{Corruption, Entry, NotReplayable, RawRecord, ReadError, Reader, decode};
pub use scan::Proof;
pub use segment::{MarketData, RecordHeader, RecordKind};
pub use snapshot::{PendingSnapshot, SkippedSnapshot, Snapshot, SnapshotWriteError, oldest_snapshot};
pub use sync::{DurableSeq, Waker};
pub use writer::{AppendError, Journal};

use qcat_core::event::{Decision, Input, OperatorCommand};
use qcat_core::order::Intent;
use qcat_core::time::Span;
use std::time::Duration;

/// When a command may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When its decision is in the page cache: safe against the death of the process, not of the machine.
    Async,
    /// When a sync that covers its decision is done; one sync serves a batch.
    #[default]
    Group,
    /// The same, with a sync of its own for each record, in the append itself.
    Each,
}

/// Who syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncBy {
    /// A thread of the journal.
    #[default]
    Thread,
    /// Nobody but [`Journal::sync_now`]; for simulated runs, which must be the same every time.
    Caller,
}

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine's number; the directory belongs to it alone.
    pub engine: u16,
    /// The layout of the engine's state; snapshots of another one are not restored.
    pub program: String,
    /// When commands may leave.
    pub durability: Durability,
    /// Which market inputs are journaled.
    pub market_data: MarketData,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Bytes kept for cancels and reductions when the disk is full.
    pub emergency_size: u64,
    /// Who syncs.
    pub sync_by: SyncBy,
    /// How long records stay undurable when nobody asks for a sync.
    pub sync_interval: Duration,
    /// How many bytes may wait for a sync before an append waits too.
    pub unsynced_max: usize,
    /// How many of the newest snapshots are kept, two at least, with all records behind the oldest of them.
    pub keep_snapshots: usize,
    /// How long segments are kept for replays beyond that.
    pub keep: Span,
    /// How many bytes of segments are kept for replays at most.
    pub keep_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            engine: 0,
            program: format!("state {}", qcat_core::engine::snapshot::LAYOUT),
            durability: Durability::default(),
            market_data: MarketData::default(),
            segment_size: 64 << 20,
            emergency_size: 4 << 20,
            sync_by: SyncBy::default(),
            sync_interval: Duration::from_millis(50),
            unsynced_max: 64 << 20,
            keep_snapshots: 3,
            keep: Span::from_secs(30 * 24 * 3600),
            keep_bytes: 64 << 30,
        }
    }
}

/// Whether a record may use the space that is kept for a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// No.
    Normal,
    /// Yes: it lowers risk or tells what happened.
    Emergency,
}

impl Priority {
    /// Of an input: everything that reports what happened, stops, cancels or reduces may use the emergency space; market
    /// data, history, configuration, definitions and orders that add risk may not.
    pub fn of_input(input: &Input) -> Priority {
        match input {
            Input::Market(_)
            | Input::History(_)
            | Input::Configuration(_)
            | Input::Definition(_)
            | Input::Start { .. } => Priority::Normal,
            Input::Command(command) => Priority::of_command(command),
            Input::Asked(asked) => Priority::of_command(&asked.command),
            _ => Priority::Emergency,
        }
    }

    fn of_command(command: &OperatorCommand) -> Priority {
        match command {
            OperatorCommand::StartStrategy(_)
            | OperatorCommand::Resume(_)
            | OperatorCommand::SetParams { .. }
            | OperatorCommand::Intent(Intent::Modify { .. }) => Priority::Normal,
            OperatorCommand::Intent(Intent::Place(order)) if !order.reduces() => Priority::Normal,
            _ => Priority::Emergency,
        }
    }

    /// Of the decisions of one input: they may use the emergency space unless one of them adds risk.
    pub fn of_decisions(decisions: &[Decision]) -> Priority {
        let adds_risk = |d: &Decision| matches!(d, Decision::Command(command) if command.kind.adds_risk());
        if decisions.iter().any(adds_risk) { Priority::Normal } else { Priority::Emergency }
    }
}

/// The number of a record, counted from 1 over the whole journal: the coin in which durability is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark(pub u64);
