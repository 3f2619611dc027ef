//! How loops end, and why parts are restarted.

use crate::runtime::component::Component;
use qcat_core::engine::Fault;
use std::fmt;
use std::sync::Arc;

/// How a loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It had nothing more to do.
    Done,
    /// It was asked to.
    Quit,
    /// What it depends on is gone.
    PeerGone(Component),
    /// It was aborted.
    Killed,
    /// It made no progress for too long, and was aborted.
    Stalled,
    /// An error.
    Failed(Arc<str>),
    /// A panic.
    Panicked(Arc<str>),
}

/// Why a part of a component has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its loop ended.
    Loop(Exit),
    /// A node of the engine that it answers for faulted.
    Node(Fault),
    /// A person wants it.
    Asked,
}

impl Cause {
    /// The word under which it is counted.
    pub fn word(&self) -> &'static str {
        match self {
            Cause::Loop(Exit::Done) => "done",
            Cause::Loop(Exit::Quit) => "quit",
            Cause::Loop(Exit::PeerGone(_)) => "peer_gone",
            Cause::Loop(Exit::Killed) => "killed",
            Cause::Loop(Exit::Stalled) => "stalled",
            Cause::Loop(Exit::Failed(_)) => "failed",
            Cause::Loop(Exit::Panicked(_)) => "panicked",
            Cause::Node(_) => "node_fault",
            Cause::Asked => "asked",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Loop(Exit::Failed(text) | Exit::Panicked(text)) => f.write_str(text),
            Cause::Loop(Exit::PeerGone(component)) => write!(f, "{component} is gone"),
            Cause::Loop(_) | Cause::Asked => f.write_str(self.word()),
            Cause::Node(Fault { station, seq, kind }) => write!(f, "{station:?} {kind:?} at input {}", seq.0),
        }
    }
}
