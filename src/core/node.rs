//! What every deciding part of the engine has in common.

use crate::book::Markets;
use crate::command::CommandId;
use crate::config::EngineConfig;
use crate::event::Event;
use crate::id::Seq;
use crate::instrument::Universe;
use crate::time::Ts;
use std::cell::Cell;

/// A synchronous state machine: no clock, no I/O, no async, no globals, no unseeded chance.
pub trait Node {
    /// Takes one event that `flow::route` sends to this node and pushes what follows from it. Events that the node has
    /// nothing to do with are ignored. A panic is caught by the engine; the half-made output is dropped.
    fn on(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox);

    /// The whole state, in a form that [`Node::restore`] of the same program version reads.
    fn snapshot(&self) -> Vec<u8>;

    /// Takes the state of an earlier [`Node::snapshot`].
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError>;

    /// A hash of the whole state: equal states have equal hashes.
    fn state_hash(&self) -> u64 {
        hash_bytes(&self.snapshot())
    }
}

/// A snapshot that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("snapshot of {part} cannot be read: {reason}")]
pub struct SnapshotError {
    /// Which part.
    pub part: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// Encodes a node's state.
pub fn encode_state<T: serde::Serialize>(state: &T) -> Vec<u8> {
    postcard::to_allocvec(state).expect("node state holds only types that postcard can write")
}

/// Decodes a node's state.
pub fn decode_state<T: serde::de::DeserializeOwned>(part: &'static str, bytes: &[u8]) -> Result<T, SnapshotError> {
    postcard::from_bytes(bytes).map_err(|e| SnapshotError { part, reason: e.to_string() })
}

/// The hash of a state's encoding, without the encoding in memory: `hash_bytes(&encode_state(state))`.
pub fn hash_state<T: serde::Serialize>(state: &T) -> u64 {
    postcard::serialize_with_flavor(state, Hashing(FNV_BASIS))
        .expect("node state holds only types that postcard can write")
}

/// Where postcard writes what is only hashed.
struct Hashing(u64);

impl postcard::ser_flavors::Flavor for Hashing {
    type Output = u64;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0 = fnv(self.0, byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<u64> {
        Ok(self.0)
    }
}

/// FNV-1a, 64 bits: stable over platforms and versions (<http://www.isthe.com/chongo/tech/comp/fnv/>).
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_BASIS, |hash, &byte| fnv(hash, byte))
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

const fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x100_0000_01b3)
}

/// What a node may read besides its input: all of it is a function of the inputs so far.
#[derive(Debug)]
pub struct Context<'a> {
    /// The input's time.
    pub now: Ts,
    /// The input's number.
    pub seq: Seq,
    /// The epoch of client order ids.
    pub epoch: u32,
    /// Books, quotes and marks.
    pub markets: &'a Markets,
    /// Instruments and assets.
    pub universe: &'a Universe,
    /// The configuration.
    pub config: &'a EngineConfig,
    /// Source of command ids.
    pub commands: &'a Cell<u64>,
}

impl Context<'_> {
    /// The next command id.
    pub fn next_command(&self) -> CommandId {
        self.commands.set(self.commands.get() + 1);
        CommandId(self.commands.get())
    }
}

/// A bounded list of what a node emits. What exceeds the bound is dropped and is a fault of the node.
#[derive(Debug)]
pub struct Outbox {
    events: Vec<Event>,
    bound: usize,
    overrun: usize,
}

impl Outbox {
    /// An empty outbox that takes `bound` events a step.
    pub fn new(bound: usize) -> Outbox {
        Outbox { events: Vec::with_capacity(bound.min(64)), bound, overrun: 0 }
    }

    /// Emits an event.
    #[inline]
    pub fn push(&mut self, event: Event) {
        if self.events.len() < self.bound {
            self.events.push(event);
        } else {
            self.overrun += 1;
        }
    }

    /// Whether nothing was emitted, nor dropped.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.overrun == 0
    }

    /// How many events it still takes.
    pub fn room(&self) -> usize {
        self.bound - self.events.len()
    }

    /// What was emitted so far, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Takes everything out, oldest first.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.events.clear();
        self.overrun = 0;
    }

    /// How many events exceeded the bound since the last call.
    pub fn take_overrun(&mut self) -> usize {
        std::mem::take(&mut self.overrun)
    }
}
