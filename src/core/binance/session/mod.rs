//! The client side of the protocol: sans-I/O sessions. Frames, answers and time in; frames, requests and inputs for the lane out.
//!
//! * [`market`]: the public streams of a group of symbols, with snapshots, sequence, silence and reconnection.
//! * [`account`]: one account's user stream, commands and queries, with listen key, clock offset and rate limits.

use super::proto::{Action, Incoming, Note};
use crate::instrument::Universe;
use crate::time::Ts;

pub mod account;
pub mod link;
pub mod market;

/// A sans-I/O session.
pub trait Session {
    /// Begins: asks for what it needs first.
    fn start(&mut self, world: &World<'_>, out: &mut Vec<Action>);
    /// Takes what the shell tells.
    fn handle(&mut self, incoming: Incoming<'_>, world: &World<'_>, out: &mut Vec<Action>);
    /// When [`Session::on_time`] wants to be called next.
    fn next_timeout(&self) -> Option<Ts>;
    /// Does what is due at `world.now`.
    fn on_time(&mut self, world: &World<'_>, out: &mut Vec<Action>);
}

/// What a session reads besides its input.
#[derive(Debug)]
pub struct World<'a> {
    /// The local time.
    pub now: Ts,
    /// Instruments as the engine knows them.
    pub universe: &'a Universe,
}

/// Counts a malformed or unknown frame and tells about it, with the beginning of what was received.
pub(super) fn note(out: &mut Vec<Action>, code: &'static str, facts: impl std::fmt::Display, bytes: &[u8]) {
    let sample = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned();
    let text = if sample.is_empty() { facts.to_string() } else { format!("{facts}: {sample}") };
    out.push(Action::Note(Note { code, text, frame: bytes.into() }));
}
