//! The timers that nodes armed. A timer that is armed again moves; equal times fire in the order of their ids.

use crate::event::TimerId;
use crate::time::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// All armed timers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    by_id: BTreeMap<TimerId, Ts>,
    by_time: BTreeSet<(Ts, TimerId)>,
}

impl Timers {
    /// Arms or moves a timer.
    pub fn arm(&mut self, timer: TimerId, at: Ts) {
        if let Some(before) = self.by_id.insert(timer, at) {
            self.by_time.remove(&(before, timer));
        }
        self.by_time.insert((at, timer));
    }

    /// Takes a timer away, armed or not.
    pub fn disarm(&mut self, timer: TimerId) {
        if let Some(at) = self.by_id.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    /// The timer that is due first.
    pub fn next(&self) -> Option<(Ts, TimerId)> {
        self.by_time.first().copied()
    }

    /// All armed timers by time.
    pub fn armed(&self) -> impl Iterator<Item = (Ts, TimerId)> {
        self.by_time.iter().copied()
    }

    /// The number of armed timers.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Station;

    #[test]
    fn a_timer_moves_and_ties_keep_their_order() {
        let id = |key| TimerId { station: Station::Risk, key };
        let mut timers = Timers::default();
        timers.arm(id(2), Ts::from_millis(5));
        timers.arm(id(1), Ts::from_millis(5));
        timers.arm(id(3), Ts::from_millis(1));
        timers.arm(id(3), Ts::from_millis(9));
        assert_eq!(timers.next(), Some((Ts::from_millis(5), id(1))));
        timers.disarm(id(1));
        timers.disarm(id(1));
        assert_eq!(timers.next(), Some((Ts::from_millis(5), id(2))));
        timers.disarm(id(2));
        assert_eq!((timers.next(), timers.len()), (Some((Ts::from_millis(9), id(3))), 1));
    }
}
