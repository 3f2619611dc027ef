//! Latency, and the venue's own agenda.
//!
//! Assumption: constant spans. A request acts when it arrives, `entry` after it was sent, on the market as it is then; its
//! answer comes `answer` after that, reports of the user stream `report` after what they tell of. Nothing overtakes within one
//! of the three ways. Jitter and loss are faults: see [`super::faults`].

use super::request::VenueRequest;
use crate::id::{AccountIx, SymbolIx, VenueOrderId};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Constant latencies of one venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// From sending a request to its effect.
    pub entry: Span,
    /// From the effect to the arrival of the answer.
    pub answer: Span,
    /// From an event to the arrival of its report on the user stream.
    pub report: Span,
}

/// What the venue does by itself at a given time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) enum Due {
    /// A request arrives.
    Arrival(AccountIx, VenueRequest),
    /// Funding of a symbol.
    Funding(SymbolIx),
    /// A triggered conditional order enters the book.
    Launch(VenueOrderId),
}

/// What is due when; ties in the order of scheduling.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Agenda {
    due: BTreeMap<(Ts, u64), Due>,
    scheduled: u64,
}

impl Agenda {
    pub fn schedule(&mut self, at: Ts, due: Due) {
        self.scheduled += 1;
        self.due.insert((at, self.scheduled), due);
    }

    /// When something is due next.
    pub fn next(&self) -> Option<Ts> {
        self.due.first_key_value().map(|(&(at, _), _)| at)
    }

    /// The next thing that is due by `now`.
    pub fn pop(&mut self, now: Ts) -> Option<(Ts, Due)> {
        let entry = self.due.first_entry()?;
        let at = entry.key().0;
        (at <= now).then(|| (at, entry.remove()))
    }
}
