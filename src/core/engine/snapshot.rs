//! The whole state of an engine, written between two inputs, so it is consistent.

use super::Engine;
use super::timers::Timers;
use crate::config::EngineConfig;
use crate::id::{AccountIx, Seq, StrategyIx};
use crate::instrument::Universe;
use crate::node::{Node, SnapshotError, decode_state, encode_state, hash_bytes};
use crate::time::Ts;
use serde::{Deserialize, Serialize};

/// The state of every part by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last input that it contains.
    pub seq: Seq,
    /// The time of that input.
    pub at: Ts,
    /// Parts in a fixed order.
    pub parts: Vec<(String, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct Frame {
    universe: Universe,
    config: EngineConfig,
    timers: Timers,
    epoch: u32,
    commands: u64,
}

impl Engine {
    /// Writes the whole state.
    pub fn snapshot(&self) -> Snapshot {
        let frame = Frame {
            universe: self.universe.clone(),
            config: self.config.clone(),
            timers: self.timers.clone(),
            epoch: self.epoch,
            commands: self.commands.get(),
        };
        let mut parts =
            vec![("engine".to_owned(), encode_state(&frame)), ("markets".to_owned(), self.markets.snapshot())];
        self.each_node(|name, node| parts.push((name, node.snapshot())));
        Snapshot { seq: self.seq, at: self.now, parts }
    }

    /// Takes the state of a snapshot into a fresh engine. Without `strategies` the runners take their books (positions, open
    /// orders, counters, halts), and the strategies start fresh. With it the strategies go on from the snapshot, unless records
    /// are folded behind it: then what they missed makes them start fresh too.
    pub fn restore(&mut self, snapshot: &Snapshot, strategies: bool) -> Result<(), SnapshotError> {
        let part = |name: &str| {
            let found = snapshot.parts.iter().find(|(n, _)| n == name);
            found
                .map(|(_, bytes)| bytes.as_slice())
                .ok_or_else(|| SnapshotError { part: "engine", reason: format!("{name} is missing") })
        };
        let frame: Frame = decode_state("engine", part("engine")?)?;
        self.universe = frame.universe;
        self.configure(&frame.config);
        self.timers = frame.timers;
        self.epoch = frame.epoch;
        self.commands.set(frame.commands);
        self.seq = snapshot.seq;
        self.now = snapshot.at;
        self.markets.restore(part("markets")?)?;
        for at in 0..self.nodes.desks.len() {
            self.nodes.desks[at].restore(part(&format!("desk:{at}"))?)?;
            self.nodes.gates[at].restore(part(&format!("gate:{at}"))?)?;
            self.nodes.ledgers[at].restore(part(&format!("ledger:{at}"))?)?;
            self.nodes.reconcilers[at].restore(part(&format!("reconciler:{at}"))?)?;
        }
        self.nodes.risk.restore(part("risk")?)?;
        for at in 0..self.nodes.runners.len() {
            let name = format!("runner:{}", at + 1);
            let runner = &mut self.nodes.runners[at];
            if strategies {
                runner.restore(part(&name)?)?;
            } else {
                runner.restore_books(part(&name)?)?;
            }
        }
        Ok(())
    }

    /// A hash of the whole state: two engines that decided the same from the same inputs have the same.
    pub fn state_hash(&self) -> u64 {
        let mut bytes = Vec::new();
        bytes.extend(self.seq.0.to_le_bytes());
        bytes.extend(self.now.nanos().to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.commands.get().to_le_bytes());
        bytes.extend(encode_state(&self.timers));
        bytes.extend(self.markets.state_hash().to_le_bytes());
        self.each_node(|_, node| bytes.extend(node.state_hash().to_le_bytes()));
        hash_bytes(&bytes)
    }

    /// The state hash of each part, to find which one differs.
    pub fn part_hashes(&self) -> Vec<(String, u64)> {
        let mut parts = vec![("markets".to_owned(), self.markets.state_hash())];
        self.each_node(|name, node| parts.push((name, node.state_hash())));
        parts
    }

    fn each_node(&self, mut visit: impl FnMut(String, &dyn Node)) {
        for at in 0..self.nodes.desks.len() {
            let account = AccountIx(at as u16).0;
            visit(format!("desk:{account}"), &self.nodes.desks[at]);
            visit(format!("gate:{account}"), &self.nodes.gates[at]);
            visit(format!("ledger:{account}"), &self.nodes.ledgers[at]);
            visit(format!("reconciler:{account}"), &self.nodes.reconcilers[at]);
        }
        visit("risk".to_owned(), &self.nodes.risk);
        for (at, runner) in self.nodes.runners.iter().enumerate() {
            visit(format!("runner:{}", StrategyIx(at as u16 + 1).0), runner);
        }
    }
}
