//! The whole state of an engine, written between two inputs, so it is consistent.

use super::Engine;
use super::asked::{Keys, Overrides};
use super::timers::Timers;
use crate::config::EngineConfig;
use crate::id::{AccountIx, Seq, StrategyIx};
use crate::instrument::Universe;
use crate::node::{Node, SnapshotError, decode_state, encode_state, hash_bytes};
use crate::time::Ts;
use serde::{Deserialize, Serialize};

/// The layout of the state of all parts. Records that a snapshot stands for are removed in time, so a version that cannot restore
/// the last one's snapshots cannot start: whoever changes a part's state raises this and restores the earlier layouts too.
pub const LAYOUT: u32 = 1;

/// The state of every part by name.
pub type Parts = Vec<(String, Vec<u8>)>;

/// Turns the parts of one layout into those of the next.
pub type Upcast = fn(Parts) -> Result<Parts, SnapshotError>;

/// What reads earlier layouts: each takes the layout that it is named by. They are applied one after the other.
pub const UPCASTS: &[(u32, Upcast)] = &[];

/// The part that names the layout.
const LAYOUT_PART: &str = "layout";
/// The part that holds the hash of all parts but itself and the strategies', which may start fresh.
const HASH_PART: &str = "hash";

/// The state of every part by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last input that it contains.
    pub seq: Seq,
    /// The time of that input.
    pub at: Ts,
    /// Parts in a fixed order; the first names the layout, the last the hash.
    pub parts: Parts,
}

impl Snapshot {
    /// The layout of its parts; `None`: it names none.
    pub fn layout(&self) -> Option<u32> {
        let bytes = find(&self.parts, LAYOUT_PART)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Its parts in layout `layout`, if they are what was written and `upcasts` lead there.
    pub fn parts_in(&self, layout: u32, upcasts: &[(u32, Upcast)]) -> Result<Parts, SnapshotError> {
        let mut at = self.layout().ok_or_else(|| unfit("it names no layout"))?;
        if find(&self.parts, HASH_PART) != Some(&hash_parts(&self.parts).to_le_bytes()) {
            return Err(unfit("its parts are not what was written"));
        }
        let mut parts = self.parts.clone();
        while at != layout {
            let upcast = upcasts.iter().find(|(from, _)| *from == at && at < layout);
            let (_, upcast) =
                upcast.ok_or_else(|| unfit(format!("it is of layout {at}, this version reads layout {layout}")))?;
            parts = upcast(parts)?;
            at += 1;
        }
        Ok(parts)
    }
}

fn unfit(reason: impl Into<String>) -> SnapshotError {
    SnapshotError { part: "engine", reason: reason.into() }
}

fn find<'a>(parts: &'a Parts, name: &str) -> Option<&'a [u8]> {
    parts.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.as_slice())
}

/// The parts that are as they were after a restore.
fn deciding(parts: &Parts) -> impl Iterator<Item = &(String, Vec<u8>)> {
    let other = |name: &str| name == LAYOUT_PART || name == HASH_PART || name.starts_with("runner:");
    parts.iter().filter(move |(name, _)| !other(name))
}

fn hash_parts(parts: &Parts) -> u64 {
    let hashes: Vec<(&str, u64)> = deciding(parts).map(|(name, bytes)| (name.as_str(), hash_bytes(bytes))).collect();
    hash_bytes(&encode_state(&hashes))
}

#[derive(Serialize, Deserialize)]
struct Frame {
    universe: Universe,
    config: EngineConfig,
    timers: Timers,
    epoch: u32,
    commands: u64,
    keys: Keys,
    overrides: Overrides,
}

impl Engine {
    /// Writes the whole state.
    pub fn snapshot(&self) -> Snapshot {
        let mut parts = vec![(LAYOUT_PART.to_owned(), LAYOUT.to_le_bytes().to_vec())];
        self.write_deciding(&mut parts);
        for (at, runner) in self.nodes.runners.iter().enumerate() {
            parts.push((format!("runner:{}", at + 1), runner.snapshot()));
        }
        parts.push((HASH_PART.to_owned(), hash_parts(&parts).to_le_bytes().to_vec()));
        Snapshot { seq: self.seq, at: self.now, parts }
    }

    fn write_deciding(&self, parts: &mut Parts) {
        let frame = Frame {
            universe: self.universe.clone(),
            config: self.config.clone(),
            timers: self.timers.clone(),
            epoch: self.epoch,
            commands: self.commands.get(),
            keys: self.keys.clone(),
            overrides: self.overrides.clone(),
        };
        parts.push(("engine".to_owned(), encode_state(&frame)));
        parts.push(("markets".to_owned(), self.markets.snapshot()));
        self.each_deciding(|name, node| parts.push((name, node.snapshot())));
    }

    /// Takes the state of a snapshot into a fresh engine. Without `strategies` the runners take their books (positions, open
    /// orders, counters, halts), and the strategies start fresh. With it the strategies go on from the snapshot, unless records
    /// are folded behind it: then what they missed makes them start fresh too.
    ///
    /// Earlier layouts are read as far as [`UPCASTS`] lead. What was restored is compared with what was written; after an error the
    /// engine is of no use.
    pub fn restore(&mut self, snapshot: &Snapshot, strategies: bool) -> Result<(), SnapshotError> {
        let parts = snapshot.parts_in(LAYOUT, UPCASTS)?;
        let part = |name: &str| find(&parts, name).ok_or_else(|| unfit(format!("{name} is missing")));
        let frame: Frame = decode_state("engine", part("engine")?)?;
        self.universe = frame.universe;
        self.configure(&frame.config);
        self.timers = frame.timers;
        self.epoch = frame.epoch;
        self.commands.set(frame.commands);
        (self.keys, self.overrides) = (frame.keys, frame.overrides);
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
        let mut restored = Parts::new();
        self.write_deciding(&mut restored);
        match deciding(&parts).zip(&restored).find(|(written, restored)| written != restored) {
            Some(((name, _), _)) => Err(unfit(format!("{name} is not what was written after it was restored"))),
            None if deciding(&parts).count() == restored.len() => Ok(()),
            None => Err(unfit("it has parts that nobody restored")),
        }
    }

    /// A hash of the whole state: two engines that decided the same from the same inputs have the same.
    pub fn state_hash(&self) -> u64 {
        let mut bytes = Vec::new();
        bytes.extend(self.seq.0.to_le_bytes());
        bytes.extend(self.now.nanos().to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.commands.get().to_le_bytes());
        bytes.extend(encode_state(&self.timers));
        bytes.extend(encode_state(&(&self.keys, &self.overrides)));
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
        self.each_deciding(&mut visit);
        for (at, runner) in self.nodes.runners.iter().enumerate() {
            visit(format!("runner:{}", StrategyIx(at as u16 + 1).0), runner);
        }
    }

    fn each_deciding(&self, mut visit: impl FnMut(String, &dyn Node)) {
        for at in 0..self.nodes.desks.len() {
            let account = AccountIx(at as u16).0;
            visit(format!("desk:{account}"), &self.nodes.desks[at]);
            visit(format!("gate:{account}"), &self.nodes.gates[at]);
            visit(format!("ledger:{account}"), &self.nodes.ledgers[at]);
            visit(format!("reconciler:{account}"), &self.nodes.reconcilers[at]);
        }
        visit("risk".to_owned(), &self.nodes.risk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::registry::Registry;
    use std::sync::Arc;

    fn rename(parts: Parts) -> Result<Parts, SnapshotError> {
        Ok(parts.into_iter().map(|(name, bytes)| (name.replace("danger", "risk"), bytes)).collect())
    }

    fn refuse(_: Parts) -> Result<Parts, SnapshotError> {
        Err(unfit("not this one"))
    }

    /// A snapshot of another layout.
    fn other(layout: u32) -> Snapshot {
        let mut snapshot = Engine::new(Arc::new(Registry::builtin())).snapshot();
        snapshot.parts[0].1 = layout.to_le_bytes().to_vec();
        snapshot
    }

    #[test]
    fn an_earlier_layout_is_read_where_upcasts_lead_and_refused_elsewhere() {
        let snapshot = other(LAYOUT);
        assert_eq!(snapshot.parts_in(LAYOUT, &[]).expect("its own"), snapshot.parts);
        let mut old = other(1);
        for (name, _) in &mut old.parts {
            *name = name.replace("risk", "danger");
        }
        old.parts.last_mut().expect("the hash").1 = hash_parts(&old.parts).to_le_bytes().to_vec();
        let parts = old.parts_in(3, &[(2, |parts| Ok(parts)), (1, rename)]).expect("two steps");
        assert!(find(&parts, "risk").is_some() && find(&parts, "danger").is_none());
        assert!(old.parts_in(3, &[(1, rename)]).is_err(), "a step is missing");
        assert!(old.parts_in(2, &[(1, refuse)]).is_err());
        assert!(other(9).parts_in(3, &[(9, rename)]).is_err(), "a later one is never read");
        old.parts.remove(0);
        assert!(old.parts_in(1, &[]).is_err(), "it names none");
    }

    #[test]
    fn parts_that_do_not_belong_together_are_not_restored() {
        let mut snapshot = other(LAYOUT);
        let mut engine = Engine::new(Arc::new(Registry::builtin()));
        engine.restore(&snapshot, true).expect("its own");
        let at = snapshot.parts.iter().position(|(name, _)| name == "markets").expect("there");
        snapshot.parts[at].1.push(0);
        let error = Engine::new(Arc::new(Registry::builtin())).restore(&snapshot, true).expect_err("refused");
        assert!(error.reason.contains("not what was written"), "{error}");
        // With a hash that fits, the state itself is compared.
        snapshot.parts.last_mut().expect("the hash").1 = hash_parts(&snapshot.parts).to_le_bytes().to_vec();
        assert!(Engine::new(Arc::new(Registry::builtin())).restore(&snapshot, true).is_err());
    }
}
