//! What REST acknowledged has to be heard of on the user stream as well: one that says nothing of it within the bound is mute,
//! though its connection lives.

use crate::command::{CommandId, CommandKind, Report};
use crate::id::OrderKey;
use crate::time::Ts;

#[derive(Debug)]
struct Awaited {
    command: CommandId,
    key: OrderKey,
    /// The stream spoke of the order since the request was made.
    heard: bool,
    /// The request was acknowledged: the stream has to speak by then.
    due: Option<Ts>,
}

/// Requests about orders of which the stream has to speak.
#[derive(Debug, Default)]
pub(super) struct Confirmations(Vec<Awaited>);

impl Confirmations {
    /// A request leaves. Questions change nothing, so nothing is said of them.
    pub fn sent(&mut self, command: CommandId, kind: &CommandKind) {
        let key = match kind {
            CommandKind::Place(order) => OrderKey::Ours(order.intent.id),
            CommandKind::Modify { id, .. } => OrderKey::Ours(*id),
            CommandKind::Cancel { key, .. } => *key,
            CommandKind::Query(_) => return,
        };
        self.0.push(Awaited { command, key, heard: false, due: None });
    }

    /// The stream spoke.
    pub fn heard(&mut self, report: &Report) {
        let key = match report {
            Report::Order(order) => order.key,
            Report::Conditional(order) => order.key,
            Report::Account(_) | Report::Leverage { .. } | Report::MultiAssets { .. } | Report::MarginCall { .. } => {
                return;
            }
        };
        self.0.retain_mut(|awaited| {
            awaited.heard |= awaited.key == key;
            awaited.due.is_none() || awaited.key != key
        });
    }

    /// The request was acknowledged: it has its effect.
    pub fn accepted(&mut self, command: CommandId, due: Ts) {
        self.0.retain_mut(|awaited| {
            let mine = awaited.command == command;
            if mine {
                awaited.due = Some(due);
            }
            !(mine && awaited.heard)
        });
    }

    /// The request had no effect, or nobody knows.
    pub fn forget(&mut self, command: CommandId) {
        self.0.retain(|awaited| awaited.command != command);
    }

    /// The stream ends: the next one is followed by a reconciliation.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// When the first of them is overdue.
    pub fn next_due(&self) -> Option<Ts> {
        self.0.iter().filter_map(|awaited| awaited.due).min()
    }

    /// An order of which the stream should have spoken by `now`.
    pub fn overdue(&self, now: Ts) -> Option<OrderKey> {
        self.0.iter().find(|awaited| awaited.due.is_some_and(|due| due <= now)).map(|awaited| awaited.key)
    }
}
