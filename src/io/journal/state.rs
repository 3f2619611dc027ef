//! What the journal stores for the engine, in the engine's own terms.

use qcat_core::event::{Admitted, Decision, Station};
use qcat_core::id::Seq;
use qcat_core::time::Ts;

/// A (node, input) pair that is never stepped again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarantine {
    /// The node.
    pub station: Station,
    /// The input.
    pub seq: Seq,
}

/// One record of the journal, as recovery reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An admitted input.
    Input(Admitted),
    /// What the engine decided from it.
    Decisions(Seq, Vec<Decision>),
}

/// The state of the engine after an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The last input that it contains.
    pub seq: Seq,
    /// The time of that input.
    pub at: Ts,
    /// Parts in a fixed order, by name.
    pub parts: Vec<(String, Vec<u8>)>,
}
