//! Joins the diffs of a book to a REST snapshot, by the exchange's rules: a session and the readers of recordings use it.
//!
//! Diffs are held back until the snapshot is there; those with `u < lastUpdateId` are dropped; the first that passes has
//! `U ≤ lastUpdateId ≤ u`; from then on each `pu` equals the `u` before, else the book has a gap and needs a new snapshot.

use crate::market::{MarketEvent, MarketInput};
use std::collections::VecDeque;

/// Diffs that are held back at most while there is no snapshot; older ones are dropped (the snapshot will be newer).
const HELD_MAX: usize = 4_096;

/// The state of one symbol's book stream.
#[derive(Debug, Clone, Default)]
pub struct Bridge {
    state: State,
    held: VecDeque<MarketInput>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// No snapshot yet, or a gap.
    #[default]
    Waiting,
    /// The snapshot with this id was handed on; the first diff that fits is awaited.
    Bridging(u64),
    /// The last diff handed on ended with this id.
    Live(u64),
}

impl Bridge {
    /// Whether a snapshot has to be fetched: nothing was handed on yet, or there was a gap.
    pub fn needs_snapshot(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether diffs wait for a snapshot: before the first one nothing is gained by fetching it.
    pub fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether diffs flow.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// Forgets everything, as after the loss of the connection. Pushes a [`MarketEvent::BookGap`] when a book was handed on.
    pub fn reset(&mut self, gap: MarketInput, out: &mut impl Extend<MarketInput>) {
        if self.state != State::Waiting {
            out.extend([MarketInput { event: MarketEvent::BookGap, ..gap }]);
        }
        *self = Bridge::default();
    }

    /// Takes a diff ([`MarketEvent::BookDelta`]; other events are handed on as they are).
    pub fn on_delta(&mut self, input: MarketInput, out: &mut impl Extend<MarketInput>) {
        let MarketEvent::BookDelta(levels) = &input.event else { return out.extend([input]) };
        let (first, last, previous) = (levels.first_id, levels.last_id, levels.previous_id);
        let fits = match self.state {
            State::Waiting => return self.hold(input),
            State::Bridging(snapshot) if last < snapshot => return,
            State::Bridging(snapshot) => first <= snapshot || previous == snapshot,
            // Told twice.
            State::Live(known) if last <= known => return,
            State::Live(known) => previous == known,
        };
        if fits {
            self.state = State::Live(last);
            out.extend([input]);
        } else {
            self.state = State::Waiting;
            let gap = MarketInput { event: MarketEvent::BookGap, ..input.clone() };
            out.extend([gap]);
            self.hold(input);
        }
    }

    /// Takes a snapshot ([`MarketEvent::BookReset`]). Returns whether it was of use; when not, and a snapshot is still
    /// needed, it was older than the diffs held: fetch another.
    pub fn on_snapshot(&mut self, input: MarketInput, out: &mut impl Extend<MarketInput>) -> bool {
        let MarketEvent::BookReset(levels) = &input.event else { return false };
        if self.state != State::Waiting {
            return false;
        }
        let snapshot = levels.last_id;
        let ids = |held: &MarketInput| match &held.event {
            MarketEvent::BookDelta(levels) => (levels.first_id, levels.last_id, levels.previous_id),
            _ => (0, 0, 0),
        };
        while self.held.front().is_some_and(|held| ids(held).1 < snapshot) {
            self.held.pop_front();
        }
        if let Some(held) = self.held.front()
            && ids(held).0 > snapshot
            && ids(held).2 != snapshot
        {
            return false;
        }
        self.state = State::Bridging(snapshot);
        let receive_time = input.receive_time;
        out.extend([input]);
        for held in std::mem::take(&mut self.held) {
            // Handed on now: time never goes back for who receives it.
            self.on_delta(MarketInput { receive_time: held.receive_time.max(receive_time), ..held }, out);
        }
        true
    }

    fn hold(&mut self, input: MarketInput) {
        let ids = |held: &MarketInput| match &held.event {
            MarketEvent::BookDelta(levels) => (levels.last_id, levels.previous_id),
            _ => (0, 0),
        };
        // A hole cannot be bridged: what came before it is of no use.
        if self.held.back().is_some_and(|last| ids(last).0 != ids(&input).1) {
            self.held.clear();
        }
        if self.held.len() == HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back(input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SymbolIx;
    use crate::market::BookLevels;
    use crate::time::Ts;

    fn input(at: i64, event: MarketEvent) -> MarketInput {
        let time = Ts::from_millis(at);
        MarketInput { symbol: SymbolIx(0), exchange_time: time, receive_time: time, derived: false, event }
    }

    fn delta(at: i64, first_id: u64, last_id: u64, previous_id: u64) -> MarketInput {
        let levels = BookLevels { first_id, last_id, previous_id, ..BookLevels::default() };
        input(at, MarketEvent::BookDelta(Box::new(levels)))
    }

    fn snapshot(at: i64, id: u64) -> MarketInput {
        let levels = BookLevels { first_id: id, last_id: id, ..BookLevels::default() };
        input(at, MarketEvent::BookReset(Box::new(levels)))
    }

    fn told(out: &[MarketInput]) -> Vec<(i64, i64)> {
        let id = |i: &MarketInput| match &i.event {
            MarketEvent::BookDelta(l) => l.last_id as i64,
            MarketEvent::BookReset(l) => -(l.last_id as i64),
            _ => 0,
        };
        out.iter().map(|i| (i.receive_time.millis(), id(i))).collect()
    }

    #[test]
    fn diffs_before_the_snapshot_are_dropped_or_handed_on_after_it() {
        let (mut bridge, mut out) = (Bridge::default(), Vec::new());
        bridge.on_delta(delta(1, 5, 9, 4), &mut out);
        bridge.on_delta(delta(2, 11, 20, 9), &mut out);
        bridge.on_delta(delta(3, 23, 30, 20), &mut out);
        assert!(out.is_empty() && bridge.needs_snapshot());
        assert!(bridge.on_snapshot(snapshot(7, 15), &mut out));
        bridge.on_delta(delta(8, 31, 40, 30), &mut out);
        assert_eq!(told(&out), [(7, -15), (7, 20), (7, 30), (8, 40)]);
        assert!(bridge.is_live());
    }

    #[test]
    fn a_snapshot_older_than_the_diffs_is_of_no_use() {
        let (mut bridge, mut out) = (Bridge::default(), Vec::new());
        bridge.on_delta(delta(2, 11, 20, 9), &mut out);
        assert!(!bridge.on_snapshot(snapshot(3, 7), &mut out));
        assert!(out.is_empty() && bridge.needs_snapshot());
        assert!(bridge.on_snapshot(snapshot(4, 9), &mut out), "its id is the one that the diff follows");
        assert_eq!(told(&out), [(4, -9), (4, 20)]);
    }

    #[test]
    fn a_hole_is_a_gap_until_the_next_snapshot() {
        let (mut bridge, mut out) = (Bridge::default(), Vec::new());
        assert!(bridge.on_snapshot(snapshot(1, 10), &mut out));
        bridge.on_delta(delta(2, 8, 12, 7), &mut out);
        bridge.on_delta(delta(2, 8, 12, 7), &mut out);
        bridge.on_delta(delta(3, 20, 22, 19), &mut out);
        bridge.on_delta(delta(4, 23, 24, 22), &mut out);
        assert_eq!(told(&out), [(1, -10), (2, 12), (3, 0)]);
        assert!(bridge.needs_snapshot());
        assert!(bridge.on_snapshot(snapshot(5, 23), &mut out));
        assert_eq!(told(&out)[3..], [(5, -23), (5, 24)]);
    }

    #[test]
    fn a_hole_in_what_is_held_drops_what_came_before_it() {
        let (mut bridge, mut out) = (Bridge::default(), Vec::new());
        bridge.on_delta(delta(1, 5, 9, 4), &mut out);
        bridge.on_delta(delta(2, 20, 29, 19), &mut out);
        assert!(!bridge.on_snapshot(snapshot(3, 7), &mut out), "older than the chain that is left");
        assert!(bridge.on_snapshot(snapshot(4, 25), &mut out));
        assert_eq!(told(&out), [(4, -25), (4, 29)]);
    }

    #[test]
    fn a_lost_connection_voids_the_book_once() {
        let (mut bridge, mut out) = (Bridge::default(), Vec::new());
        bridge.reset(delta(1, 0, 0, 0), &mut out);
        assert!(out.is_empty());
        bridge.on_snapshot(snapshot(2, 10), &mut out);
        bridge.reset(delta(3, 0, 0, 0), &mut out);
        assert_eq!(told(&out), [(2, -10), (3, 0)]);
    }
}
