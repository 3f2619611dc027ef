//! One side of one symbol's book: the liquidity that the feed shows, and the simulated orders that rest beside it.
//!
//! Prices are kept as *keys*: the price of a bid, the negated price of an ask. A larger key is always the better one for a taker,
//! so both sides share this code.
//!
//! The queue model and its limits:
//! * An order that joins a level stands behind everything that the feed shows there (less what simulated takers took of it).
//!   Inside the spread, or on a side that the feed says is empty there, nothing is ahead. At a price that the feed does not
//!   show (behind the last known level) what is ahead is unknown: it counts as endless until the feed shows the level.
//! * Recorded trades at the price use up what is ahead first, then fill simulated orders in time order.
//! * A level that shrinks without a trade moves an order forward only when it becomes smaller than what is ahead of the order:
//!   cancellations are taken to come from behind. This is the pessimistic end of the queue models in use.
//! * What simulated takers took of a level stays taken until the feed shows another quantity at that level.
//! * Recorded orders do not react to simulated ones: there is no market impact beyond that.

use crate::id::{AccountIx, VenueOrderId};
use crate::num::{Price, Side};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// No price: worse than any key, and far enough from the ends that two of them can be added.
pub(super) const NONE: i64 = i64::MIN / 4;
/// What is ahead is not known.
const UNKNOWN: i64 = i64::MAX;

/// The key of a price on the side of the makers.
pub(super) const fn key_of(makers: Side, price: Price) -> i64 {
    match makers {
        Side::Buy => price.mantissa(),
        Side::Sell => -price.mantissa(),
    }
}

/// The price of a key.
pub(super) const fn price_of(makers: Side, key: i64) -> Price {
    match makers {
        Side::Buy => Price::from_mantissa(key),
        Side::Sell => Price::from_mantissa(-key),
    }
}

/// A level as the feed shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Level {
    key: i64,
    shown: i64,
    /// What simulated takers took of `shown`.
    taken: i64,
}

impl Level {
    fn available(&self) -> i64 {
        (self.shown - self.taken).max(0)
    }
}

/// A simulated order at its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Resting {
    pub id: VenueOrderId,
    pub account: AccountIx,
    /// What may still fill: the order's rest, for a reduce-only order at most the position.
    pub remaining: i64,
    /// Recorded quantity ahead of it.
    ahead: i64,
}

/// What a taker or a trade meets next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Recorded liquidity.
    External { key: i64, quantity: i64 },
    /// A simulated order.
    Own { id: VenueOrderId, key: i64, quantity: i64 },
    /// A simulated order of the taker's own account: it expires (EXPIRE_MAKER).
    SelfTrade { id: VenueOrderId },
}

/// One side of a book.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SideBook {
    side: Side,
    /// By rising key: the best level is the last.
    levels: Vec<Level>,
    /// Whether the feed has said anything about this side since it was last void.
    known: bool,
    /// Best key with something available, or [`NONE`].
    best: i64,
    resting: BTreeMap<i64, VecDeque<Resting>>,
    /// Best key of `resting`, or [`NONE`].
    best_resting: i64,
}

impl SideBook {
    pub fn new(side: Side) -> SideBook {
        SideBook { side, levels: Vec::new(), known: false, best: NONE, resting: BTreeMap::new(), best_resting: NONE }
    }

    /// Best price of recorded liquidity.
    pub fn best_price(&self) -> Option<Price> {
        (self.best != NONE).then(|| price_of(self.side, self.best))
    }

    /// Best price that the feed shows, taken or not.
    pub fn shown_price(&self) -> Option<Price> {
        self.levels.last().map(|l| price_of(self.side, l.key))
    }

    /// Sum of what simulated takers took of the levels as they stand.
    pub fn taken(&self) -> i64 {
        self.levels.iter().map(|l| l.taken).fold(0, i64::saturating_add)
    }

    /// The feed's best level when no depth is known: it is the only level.
    #[inline]
    pub fn set_only(&mut self, key: i64, quantity: i64) {
        if let [level] = self.levels.as_mut_slice()
            && level.key == key
        {
            if level.shown != quantity {
                *level = Level { key, shown: quantity, taken: 0 };
                self.after_best_change(key);
            }
            return;
        }
        self.levels.clear();
        self.known = true;
        if quantity > 0 && key != NONE {
            self.levels.push(Level { key, shown: quantity, taken: 0 });
        }
        self.after_best_change(key);
    }

    /// The feed's best level when depth is known: better levels are gone.
    pub fn set_best(&mut self, key: i64, quantity: i64) {
        while self.levels.last().is_some_and(|l| l.key > key) {
            self.levels.pop();
        }
        if key != NONE {
            self.set(key, quantity);
        }
        self.after_best_change(key);
    }

    #[inline]
    fn after_best_change(&mut self, key: i64) {
        self.refresh();
        if self.best_resting >= key {
            self.cap_from(key);
        }
    }

    /// One level changed; zero removes it. [`SideBook::refresh`] must follow.
    pub fn set(&mut self, key: i64, quantity: i64) {
        match self.levels.binary_search_by(|l| l.key.cmp(&key)) {
            Ok(at) if quantity <= 0 => {
                self.levels.remove(at);
            }
            Ok(at) if self.levels[at].shown != quantity => self.levels[at] = Level { key, shown: quantity, taken: 0 },
            Ok(_) => {}
            Err(at) if quantity > 0 => self.levels.insert(at, Level { key, shown: quantity, taken: 0 }),
            Err(_) => {}
        }
        if self.best_resting != NONE {
            self.cap(key);
        }
    }

    /// All levels anew. What simulated takers took of a level that did not change stays taken.
    pub fn reset(&mut self, levels: impl Iterator<Item = (i64, i64)>) {
        let old = std::mem::take(&mut self.levels);
        let taken = |key: i64, shown: i64| {
            let at = old.binary_search_by(|l| l.key.cmp(&key)).ok();
            at.map(|at| old[at]).filter(|l| l.shown == shown).map_or(0, |l| l.taken)
        };
        let level = |(key, shown)| Level { key, shown, taken: taken(key, shown) };
        self.levels = levels.filter(|&(_, quantity)| quantity > 0).map(level).collect();
        self.levels.sort_unstable_by_key(|l| l.key);
        self.levels.dedup_by_key(|l| l.key);
        self.known = true;
        self.refresh();
        let worst = self.levels.first().map_or(NONE, |l| l.key);
        if self.best_resting >= worst {
            self.cap_from(worst);
        }
    }

    /// The feed lost track: nothing is known.
    pub fn void(&mut self) {
        self.levels.clear();
        self.known = false;
        self.best = NONE;
    }

    /// Finds the best level again after changes.
    #[inline]
    pub fn refresh(&mut self) {
        self.best = self.levels.iter().rev().find(|l| l.available() > 0).map_or(NONE, |l| l.key);
    }

    fn available_at(&self, key: i64) -> i64 {
        level(&self.levels, key).map_or(0, Level::available)
    }

    /// What an order that joins at `key` finds ahead of it.
    fn ahead_at(&self, key: i64) -> i64 {
        ahead_at(&self.levels, self.known, key)
    }

    fn cap(&mut self, key: i64) {
        if let Some(queue) = self.resting.get_mut(&key) {
            cap(queue, ahead_at(&self.levels, self.known, key));
        }
    }

    fn cap_from(&mut self, key: i64) {
        for (&key, queue) in self.resting.range_mut(key..) {
            cap(queue, ahead_at(&self.levels, self.known, key));
        }
    }

    /// A simulated order joins the end of its level.
    pub fn join(&mut self, key: i64, id: VenueOrderId, account: AccountIx, remaining: i64) {
        let ahead = self.ahead_at(key);
        self.resting.entry(key).or_default().push_back(Resting { id, account, remaining, ahead });
        self.best_resting = self.best_resting.max(key);
    }

    /// A simulated order leaves; no matter if it is not there.
    pub fn leave(&mut self, key: i64, id: VenueOrderId) {
        if let Some(queue) = self.resting.get_mut(&key) {
            if let Some(at) = queue.iter().position(|r| r.id == id) {
                queue.remove(at);
            }
            if queue.is_empty() {
                self.drop_level(key);
            }
        }
    }

    fn drop_level(&mut self, key: i64) {
        self.resting.remove(&key);
        if key == self.best_resting {
            self.best_resting = self.resting.last_key_value().map_or(NONE, |(&k, _)| k);
        }
    }

    /// Sets what of a simulated order may still fill.
    pub fn limit_remaining(&mut self, key: i64, id: VenueOrderId, remaining: i64) {
        let queue = self.resting.get_mut(&key).into_iter().flatten();
        queue.filter(|r| r.id == id).for_each(|r| r.remaining = remaining);
    }

    /// Whether a taker with this limit key meets anything.
    pub fn crosses(&self, limit: i64) -> bool {
        let best = self.best.max(self.best_resting);
        best != NONE && best >= limit
    }

    /// What a taker of this account could get at `limit` or better, counted up to `enough`.
    pub fn reachable(&self, limit: i64, taker: AccountIx, enough: i64) -> i64 {
        let mut sum = 0i64;
        for level in self.levels.iter().rev().take_while(|l| l.key >= limit) {
            sum = sum.saturating_add(level.available());
            if sum >= enough {
                return sum;
            }
        }
        for resting in self.resting.range(limit..).flat_map(|(_, queue)| queue).filter(|r| r.account != taker) {
            sum = sum.saturating_add(resting.remaining);
        }
        sum
    }

    /// The next thing that a taker meets at `limit` or better, at most `quantity`; it is consumed. Price first; at one price
    /// what is ahead of the first simulated order, then that order.
    pub fn take(&mut self, limit: i64, taker: AccountIx, quantity: i64) -> Option<Match> {
        let key = self.best.max(self.best_resting);
        if key == NONE || key < limit || quantity <= 0 {
            return None;
        }
        let available = self.available_at(key);
        let first = self.resting.get(&key).and_then(|queue| queue.front()).copied();
        let external = first.map_or(available, |r| available.min(r.ahead)).min(quantity);
        if external > 0 {
            self.consume(key, external);
            return Some(Match::External { key, quantity: external });
        }
        match first {
            Some(r) if r.account == taker => {
                self.leave(key, r.id);
                Some(Match::SelfTrade { id: r.id })
            }
            Some(_) => self.fill_front(key, quantity),
            None => None,
        }
    }

    /// Takes recorded liquidity of one level away.
    pub fn consume(&mut self, key: i64, quantity: i64) {
        if let Ok(at) = self.levels.binary_search_by(|l| l.key.cmp(&key)) {
            self.levels[at].taken = self.levels[at].taken.saturating_add(quantity);
        }
        self.pass_queue(key, quantity);
        self.refresh();
    }

    fn pass_queue(&mut self, key: i64, quantity: i64) {
        let queue = self.resting.get_mut(&key).into_iter().flatten();
        queue.filter(|r| r.ahead != UNKNOWN).for_each(|r| r.ahead = r.ahead.saturating_sub(quantity).max(0));
    }

    /// Fills the first simulated order of a level.
    fn fill_front(&mut self, key: i64, quantity: i64) -> Option<Match> {
        let queue = self.resting.get_mut(&key)?;
        let front = queue.front_mut()?;
        let filled = front.remaining.min(quantity);
        let id = front.id;
        front.remaining -= filled;
        // Whatever filled it has come past what was ahead.
        front.ahead = 0;
        if front.remaining <= 0 {
            queue.pop_front();
        }
        if queue.is_empty() {
            self.drop_level(key);
        }
        Some(Match::Own { id, key, quantity: filled })
    }

    /// One step of a recorded trade that hit this side at `key` with `quantity`: the simulated order that it fills next.
    /// Orders at better prices come first, because the trade's taker would have met them first; then the queue at the price.
    pub fn trade(&mut self, key: i64, quantity: &mut i64) -> Option<Match> {
        if self.best_resting == NONE || self.best_resting < key || *quantity <= 0 {
            return None;
        }
        let best = self.best_resting;
        if best == key {
            let ahead = self.resting.get(&key)?.front()?.ahead.min(*quantity);
            self.pass_queue(key, ahead);
            *quantity -= ahead;
            if *quantity <= 0 {
                return None;
            }
        }
        let filled = self.fill_front(best, *quantity)?;
        if let Match::Own { quantity: used, .. } = filled {
            *quantity -= used;
        }
        Some(filled)
    }

    /// The first simulated order of this side that recorded liquidity of `opposite` has come to meet, filled at its own price.
    #[inline]
    pub fn meet(&mut self, opposite: &mut SideBook) -> Option<Match> {
        if self.best_resting + opposite.best < 0 || self.best_resting == NONE || opposite.best == NONE {
            return None;
        }
        let key = opposite.best;
        let filled = self.fill_front(self.best_resting, opposite.available_at(key))?;
        if let Match::Own { quantity, .. } = filled {
            opposite.consume(key, quantity);
        }
        Some(filled)
    }
}

fn level(levels: &[Level], key: i64) -> Option<&Level> {
    levels.binary_search_by(|l| l.key.cmp(&key)).ok().map(|at| &levels[at])
}

/// What the feed shows ahead of an order that joins at `key`, of a side with these levels.
fn ahead_at(levels: &[Level], known: bool, key: i64) -> i64 {
    match level(levels, key) {
        Some(level) => level.available(),
        None if !known || levels.first().is_some_and(|worst| key < worst.key) => UNKNOWN,
        None => 0,
    }
}

/// Nothing in the queue has more ahead of it than `most`.
fn cap(queue: &mut VecDeque<Resting>, most: i64) {
    queue.iter_mut().for_each(|r| r.ahead = r.ahead.min(most));
}

#[cfg(test)]
mod tests;
