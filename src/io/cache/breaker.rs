//! The breaker before Redis, and the keys whose value there is not to be believed.

use super::RedisState;
use super::redis::Failed;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The breaker.
pub(super) struct Breaker {
    state: Mutex<State>,
    failures: AtomicU64,
    trips: AtomicU64,
}

struct State {
    /// Why it is open; `None`: it is closed.
    open: Option<String>,
    /// Failed attempts in a row while it is closed, good probes in a row while it is open.
    streak: u32,
    /// It was never closed: the first good probe closes it.
    fresh: bool,
    /// The last mark that was given out.
    mark: u64,
    dirty: HashMap<Arc<str>, u64>,
}

impl Breaker {
    /// Failed attempts in a row that open it.
    pub(super) const FAILURES: u32 = 3;
    /// Good probes in a row that close it.
    pub(super) const ANSWERS: u32 = 3;
    /// Time between two probes.
    pub(super) const PROBE_EVERY: Duration = Duration::from_millis(250);
    /// Keys that are remembered as dirty; beyond that one is forgotten, and its old value may come back until its time is over.
    const DIRTY_MAX: usize = 50_000;

    pub(super) fn new() -> Breaker {
        let open = Some("it has not answered yet".to_owned());
        let state = State { open, streak: 0, fresh: true, mark: 0, dirty: HashMap::new() };
        Breaker { state: Mutex::new(state), failures: AtomicU64::new(0), trips: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().open.is_none()
    }

    pub(super) fn state(&self) -> RedisState {
        self.lock().open.clone().map_or(RedisState::Up, RedisState::Down)
    }

    /// Failures, trips, dirty keys.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let dirty = self.lock().dirty.len() as u64;
        (self.failures.load(Ordering::Relaxed), self.trips.load(Ordering::Relaxed), dirty)
    }

    /// Takes note of how a call went.
    pub(super) fn watch<T>(&self, outcome: Result<T, Failed>) -> Option<T> {
        match outcome {
            Ok(value) => {
                let mut state = self.lock();
                if state.open.is_none() {
                    state.streak = 0;
                }
                Some(value)
            }
            Err(failed) => {
                for _ in 0..failed.attempts.max(1) {
                    self.failed(&failed.reason);
                }
                None
            }
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&self, reason: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        if state.open.is_some() {
            (state.streak, state.open) = (0, Some(reason.to_owned()));
            return;
        }
        state.streak += 1;
        if state.streak >= Self::FAILURES {
            (state.streak, state.open) = (0, Some(reason.to_owned()));
            self.trips.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A probe was answered.
    pub(super) fn answered(&self) {
        let mut state = self.lock();
        if state.open.is_some() {
            state.streak += 1;
            if state.fresh || state.streak >= Self::ANSWERS {
                (state.streak, state.open, state.fresh) = (0, None, false);
            }
        }
    }

    /// Whether there is anything to probe for.
    pub(super) fn wants_probe(&self) -> bool {
        let state = self.lock();
        state.open.is_some() || !state.dirty.is_empty()
    }

    /// A change of a key begins.
    pub(super) fn mark(&self, key: &str) -> u64 {
        let mut state = self.lock();
        state.mark += 1;
        let mark = state.mark;
        if state.dirty.len() >= Self::DIRTY_MAX && !state.dirty.contains_key(key) {
            let any = state.dirty.keys().next().cloned();
            any.map(|any| state.dirty.remove(&any));
        }
        state.dirty.insert(key.into(), mark);
        mark
    }

    /// Redis has what belongs there, unless another change began meanwhile.
    pub(super) fn unmark(&self, key: &str, mark: u64) {
        let mut state = self.lock();
        if state.dirty.get(key) == Some(&mark) {
            state.dirty.remove(key);
        }
    }

    pub(super) fn is_dirty(&self, key: &str) -> bool {
        self.lock().dirty.contains_key(key)
    }

    /// The dirty keys, with their marks; some of them when there are many.
    pub(super) fn dirty(&self) -> Vec<(Arc<str>, u64)> {
        self.lock().dirty.iter().take(1_000).map(|(key, mark)| (key.clone(), *mark)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_answers_in_a_row() {
        let breaker = Breaker::new();
        assert!(!breaker.is_closed(), "not before Redis was heard");
        breaker.answered();
        assert!(breaker.is_closed());
        let failed = |attempts| breaker.watch::<()>(Err(Failed { reason: "gone".to_owned(), attempts }));
        failed(2);
        breaker.watch(Ok(()));
        failed(2);
        assert!(breaker.is_closed(), "a success in between");
        failed(1);
        assert_eq!(breaker.state(), RedisState::Down("gone".to_owned()));
        // A call that was on its way when it opened does not close it.
        breaker.watch(Ok(()));
        breaker.answered();
        breaker.answered();
        breaker.failed("again");
        breaker.answered();
        breaker.answered();
        assert!(!breaker.is_closed(), "not before three in a row");
        breaker.answered();
        assert!(breaker.is_closed());
        assert_eq!(breaker.counts(), (6, 1, 0));
    }

    #[test]
    fn a_key_stays_dirty_until_its_last_change_is_through() {
        let breaker = Breaker::new();
        let (one, two) = (breaker.mark("k"), breaker.mark("k"));
        breaker.unmark("k", one);
        assert!(breaker.is_dirty("k"));
        breaker.unmark("k", two);
        assert!(!breaker.is_dirty("k"));
    }
}
