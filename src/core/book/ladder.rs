//! One side of a depth book: price levels in sorted slots, the best at the end.
//!
//! Recorded books of a busy contract change all over: half of the updates lie more than two hundred levels from the best,
//! four in ten add or remove a level, and a removed price mostly comes back soon. So removing a level only marks its slot
//! vacant, a level that comes back takes its old slot, and a new price shifts the few slots up to the nearest vacant one.
//! Vacant slots are bounded by the number of levels. Asks are kept under negated prices, so both sides are the same code.
//! Tests: a model check against [`super::naive`], worked examples.

use crate::market::Level;
use crate::num::{Price, Quantity};
use serde::{Deserialize, Serialize};

/// Most levels that a side keeps; beyond it the farthest are dropped.
pub const LEVELS_MAX: usize = 8_192;
/// How many of the best levels stay when a side is cut.
const LEVELS_KEPT: usize = LEVELS_MAX / 4 * 3;
/// A snapshot side this long was probably cut by the exchange, which sends at most as many.
const SNAPSHOT_LEVELS: usize = 1_000;
/// How far from the place of the last update the next one is looked for first, and a vacant slot at all.
const REACH: usize = 64;
/// Vacant slots that are kept whatever the number of levels.
const VACANT_FREE: usize = 64;

/// Whether keys are prices or negated prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The highest price is best.
    Bids,
    /// The lowest price is best.
    Asks,
}

impl Order {
    #[inline]
    pub(super) const fn key(self, price: Price) -> i64 {
        match self {
            Order::Bids => price.mantissa(),
            Order::Asks => -price.mantissa(),
        }
    }

    #[inline]
    const fn price(self, key: i64) -> Price {
        match self {
            Order::Bids => Price::from_mantissa(key),
            Order::Asks => Price::from_mantissa(-key),
        }
    }
}

/// One side of a book.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(into = "Image", try_from = "Image")]
pub(super) struct Ladder {
    /// Strictly rising; the best is last.
    keys: Vec<i64>,
    /// Quantity of each key; zero marks a vacant slot. The last slot is never vacant between two updates.
    quantities: Vec<i64>,
    /// How many slots are vacant.
    vacant: usize,
    /// The key from which on every level is known; `None` when all are.
    floor: Option<i64>,
}

/// A level that no book can hold: a price that is not positive, or a negative quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Ladder {
    pub(super) const fn new() -> Ladder {
        Ladder { keys: Vec::new(), quantities: Vec::new(), vacant: 0, floor: None }
    }

    /// Forgets all levels; the memory stays.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.quantities.clear();
        self.vacant = 0;
        self.floor = None;
    }

    /// Takes the levels of a snapshot in place of all others. The exchange sends the best first; any order is accepted.
    pub(super) fn reset(&mut self, order: Order, levels: &[Level]) -> Result<(), Malformed> {
        self.clear();
        let mut sorted: Vec<(i64, i64)> = Vec::with_capacity(levels.len());
        for level in levels {
            sorted.push(checked(order, level)?);
        }
        sorted.reverse();
        if !sorted.is_sorted_by(|a, b| a.0 < b.0) {
            // Of two levels with one price the later one on the wire wins, as it would in a diff: it comes first here.
            sorted.sort_by_key(|level| level.0);
            sorted.dedup_by_key(|level| level.0);
        }
        sorted.retain(|level| level.1 != 0);
        self.keys.extend(sorted.iter().map(|level| level.0));
        self.quantities.extend(sorted.iter().map(|level| level.1));
        if levels.len() >= SNAPSHOT_LEVELS {
            self.floor = self.keys.first().copied();
        }
        self.tidy();
        Ok(())
    }

    /// Takes the changed levels of a diff; a quantity of zero removes a level.
    pub(super) fn update(&mut self, order: Order, levels: &[Level]) -> Result<(), Malformed> {
        // Levels of a diff are sorted, so each is near the one before.
        let mut place = self.keys.len();
        for level in levels {
            let (key, quantity) = checked(order, level)?;
            place = self.set(key, quantity, place);
        }
        self.tidy();
        Ok(())
    }

    /// Number of levels.
    pub(super) fn len(&self) -> usize {
        self.keys.len() - self.vacant
    }

    #[inline]
    pub(super) fn best(&self, order: Order) -> Option<Level> {
        let (&key, &quantity) = (self.keys.last()?, self.quantities.last()?);
        Some(level(order, key, quantity))
    }

    /// The levels, best first.
    pub(super) fn levels(&self, order: Order) -> impl Iterator<Item = Level> + '_ {
        self.slots().rev().map(move |(key, quantity)| level(order, key, quantity))
    }

    /// The quantity at exactly this price.
    pub(super) fn quantity_at(&self, order: Order, price: Price) -> Quantity {
        let found = self.keys.binary_search(&order.key(price)).map_or(0, |slot| self.quantities[slot]);
        Quantity::from_mantissa(found).unwrap_or(Quantity::ZERO)
    }

    /// The quantity at this price and better ones; saturates.
    pub(super) fn depth(&self, order: Order, price: Price) -> Quantity {
        let from = self.keys.partition_point(|&key| key < order.key(price));
        let sum = self.quantities[from..].iter().fold(0i64, |sum, &quantity| sum.saturating_add(quantity));
        Quantity::from_mantissa(sum).unwrap_or(Quantity::ZERO)
    }

    /// The price down (bids) or up (asks) to which every level is known; `None` when all are.
    pub(super) fn complete_to(&self, order: Order) -> Option<Price> {
        self.floor.map(|key| order.price(key))
    }

    /// Occupied slots, worst first.
    fn slots(&self) -> impl DoubleEndedIterator<Item = (i64, i64)> + '_ {
        self.keys.iter().copied().zip(self.quantities.iter().copied()).filter(|slot| slot.1 != 0)
    }

    /// Sets the quantity of a key and returns its place, from which the next search starts.
    #[inline]
    fn set(&mut self, key: i64, quantity: i64, near: usize) -> usize {
        let place = self.locate(key, near);
        match self.keys.get(place) {
            Some(&found) if found == key => {
                let old = std::mem::replace(&mut self.quantities[place], quantity);
                self.vacant += (quantity == 0 && old != 0) as usize;
                self.vacant -= (quantity != 0 && old == 0) as usize;
                place
            }
            _ if quantity == 0 => place,
            _ => self.insert(place, key, quantity),
        }
    }

    /// How many keys are lower than `key`. `near` is where it probably is.
    #[inline]
    fn locate(&self, key: i64, near: usize) -> usize {
        let keys = &self.keys[..];
        let (mut low, mut high) = (0, keys.len());
        if near < high && keys[near] < key {
            low = near + 1;
            match keys.get(near + REACH) {
                Some(&probe) if probe < key => low = near + REACH + 1,
                Some(_) => high = near + REACH,
                None => {}
            }
        } else {
            high = high.min(near);
            if let Some(probe) = high.checked_sub(REACH) {
                if keys[probe] < key {
                    low = probe + 1;
                } else {
                    high = probe;
                }
            }
        }
        low + keys[low..high].partition_point(|&other| other < key)
    }

    /// Adds a key that is not there before the slot `place`; returns where it went.
    fn insert(&mut self, place: usize, key: i64, quantity: i64) -> usize {
        let end = self.keys.len();
        if end - place > REACH {
            let is_vacant = |quantity: &i64| *quantity == 0;
            if let Some(distance) = self.quantities[place..place + REACH].iter().position(is_vacant) {
                let hole = place + distance;
                self.keys.copy_within(place..hole, place + 1);
                self.quantities.copy_within(place..hole, place + 1);
                return self.fill(place, key, quantity);
            }
            let low = place.saturating_sub(REACH);
            if let Some(distance) = self.quantities[low..place].iter().rposition(is_vacant) {
                let hole = low + distance;
                self.keys.copy_within(hole + 1..place, hole);
                self.quantities.copy_within(hole + 1..place, hole);
                return self.fill(place - 1, key, quantity);
            }
        }
        self.keys.insert(place, key);
        self.quantities.insert(place, quantity);
        place
    }

    /// Writes a new level over a slot that was vacant or has been moved onto a vacant one.
    #[inline]
    fn fill(&mut self, place: usize, key: i64, quantity: i64) -> usize {
        self.keys[place] = key;
        self.quantities[place] = quantity;
        self.vacant -= 1;
        place
    }

    /// Restores the bounds: the best level is last, vacant slots and levels are not too many.
    #[inline]
    fn tidy(&mut self) {
        while self.quantities.last() == Some(&0) {
            self.quantities.pop();
            self.keys.pop();
            self.vacant -= 1;
        }
        if self.vacant > VACANT_FREE + self.len() || self.len() > LEVELS_MAX {
            self.compact();
        }
    }

    /// Drops the vacant slots, and the farthest levels when there are too many.
    #[cold]
    fn compact(&mut self) {
        let cut = match self.len() {
            levels if levels > LEVELS_MAX => levels - LEVELS_KEPT,
            _ => 0,
        };
        let kept: Vec<(i64, i64)> = self.slots().skip(cut).collect();
        self.keys.clear();
        self.quantities.clear();
        self.keys.extend(kept.iter().map(|slot| slot.0));
        self.quantities.extend(kept.iter().map(|slot| slot.1));
        self.vacant = 0;
        if cut > 0 {
            // `None` is lower than any key.
            self.floor = self.floor.max(self.keys.first().copied());
        }
    }
}

/// The key and quantity of a level from outside.
#[inline]
fn checked(order: Order, level: &Level) -> Result<(i64, i64), Malformed> {
    let quantity = level.quantity.mantissa();
    if level.price.mantissa() <= 0 || quantity < 0 { Err(Malformed) } else { Ok((order.key(level.price), quantity)) }
}

#[inline]
fn level(order: Order, key: i64, quantity: i64) -> Level {
    // Quantities are checked to be positive when they come in.
    Level { price: order.price(key), quantity: Quantity::from_mantissa(quantity).unwrap_or(Quantity::ZERO) }
}

/// What is stored of a side: the same for every arrangement of vacant slots, so equal books have equal hashes.
#[derive(Serialize, Deserialize)]
struct Image {
    floor: Option<i64>,
    levels: Vec<(i64, i64)>,
}

impl From<Ladder> for Image {
    fn from(ladder: Ladder) -> Image {
        Image { floor: ladder.floor, levels: ladder.slots().collect() }
    }
}

impl TryFrom<Image> for Ladder {
    type Error = &'static str;

    fn try_from(image: Image) -> Result<Ladder, &'static str> {
        let levels = &image.levels;
        if !levels.is_sorted_by(|a, b| a.0 < b.0) || levels.iter().any(|l| l.1 <= 0) || levels.len() > LEVELS_MAX {
            return Err("levels of a depth book out of order or range");
        }
        Ok(Ladder {
            keys: levels.iter().map(|l| l.0).collect(),
            quantities: levels.iter().map(|l| l.1).collect(),
            vacant: 0,
            floor: image.floor,
        })
    }
}

impl PartialEq for Ladder {
    fn eq(&self, other: &Ladder) -> bool {
        self.floor == other.floor && self.slots().eq(other.slots())
    }
}

impl Eq for Ladder {}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(price: i64, quantity: i64) -> Level {
        let quantity = Quantity::from_mantissa(quantity).expect("test quantities are positive");
        Level { price: Price::from_mantissa(price), quantity }
    }

    fn prices(ladder: &Ladder, order: Order) -> Vec<i64> {
        ladder.levels(order).map(|l| l.price.mantissa()).collect()
    }

    #[test]
    fn a_price_that_comes_back_takes_its_vacant_slot_and_a_new_one_the_nearest() {
        let mut bids = Ladder::new();
        let snapshot: Vec<Level> = (1..=500).rev().map(|i| level(i * 10, 1)).collect();
        assert_eq!(bids.reset(Order::Bids, &snapshot), Ok(()));
        assert_eq!(bids.update(Order::Bids, &[level(1_000, 0), level(1_200, 0)]), Ok(()));
        assert_eq!((bids.len(), bids.keys.len(), bids.vacant), (498, 500, 2));
        assert_eq!(bids.update(Order::Bids, &[level(1_005, 7), level(1_200, 8)]), Ok(()));
        assert_eq!((bids.len(), bids.keys.len(), bids.vacant), (500, 500, 0), "no slot was added");
        // A vacant slot above the new price is found as well.
        assert_eq!(bids.update(Order::Bids, &[level(2_000, 0), level(1_995, 9)]), Ok(()));
        assert_eq!((bids.len(), bids.keys.len()), (500, 500));
        let quantity_at = |price| bids.quantity_at(Order::Bids, Price::from_mantissa(price)).mantissa();
        assert_eq!([1_000, 1_005, 1_200, 1_995, 2_000, 2_010].map(quantity_at), [0, 7, 8, 9, 0, 1]);
        assert!(bids.keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn vacant_slots_stay_bounded_and_never_stand_at_the_best() {
        let mut asks = Ladder::new();
        let mut most = 0;
        for i in 0..5_000i64 {
            // A lone far ask, and one that wanders upwards and disappears behind itself.
            let step = [level(1_000_000, 5), level(100 + i, 1), level(99 + i, 0)];
            assert_eq!(asks.update(Order::Asks, &step), Ok(()));
            assert_eq!(asks.best(Order::Asks), Some(level(100 + i, 1)));
            most = most.max(asks.keys.len());
        }
        assert_eq!(prices(&asks, Order::Asks), [5_099, 1_000_000]);
        assert!(most <= 2 * (2 + VACANT_FREE), "{most} slots for two levels");
    }

    #[test]
    fn the_farthest_levels_are_cut_and_the_book_says_how_far_it_is_complete() {
        let mut asks = Ladder::new();
        assert_eq!(asks.complete_to(Order::Asks), None);
        let all = LEVELS_MAX as i64 + 1;
        for price in 1..=all {
            assert_eq!(asks.update(Order::Asks, &[level(price, price)]), Ok(()));
        }
        assert_eq!(asks.len(), LEVELS_KEPT);
        assert_eq!(prices(&asks, Order::Asks), (1..=LEVELS_KEPT as i64).collect::<Vec<_>>());
        assert_eq!(asks.complete_to(Order::Asks), Some(Price::from_mantissa(LEVELS_KEPT as i64)));
        assert_eq!(asks.depth(Order::Asks, Price::from_mantissa(4)).mantissa(), 10);
    }

    #[test]
    fn a_long_snapshot_is_held_to_be_cut_a_short_one_to_be_whole() {
        let mut bids = Ladder::new();
        let short: Vec<Level> = (1..1_000).map(|i| level(i, 1)).collect();
        assert_eq!(bids.reset(Order::Bids, &short), Ok(()));
        assert_eq!(bids.complete_to(Order::Bids), None);
        let long: Vec<Level> = (5..1_005).map(|i| level(i, 1)).collect();
        assert_eq!(bids.reset(Order::Bids, &long), Ok(()));
        assert_eq!(bids.complete_to(Order::Bids), Some(Price::from_mantissa(5)));
    }

    #[test]
    fn impossible_levels_are_refused() {
        let mut bids = Ladder::new();
        assert_eq!(bids.update(Order::Bids, &[level(0, 1)]), Err(Malformed));
        assert_eq!(bids.reset(Order::Bids, &[level(-1, 1)]), Err(Malformed));
    }

    #[test]
    fn of_two_levels_with_one_price_the_later_wins() {
        let mut bids = Ladder::new();
        assert_eq!(bids.reset(Order::Bids, &[level(5, 1), level(6, 2), level(5, 3)]), Ok(()));
        assert_eq!(bids.levels(Order::Bids).collect::<Vec<_>>(), [level(6, 2), level(5, 3)]);
        assert_eq!(bids.update(Order::Bids, &[level(5, 1), level(6, 0), level(5, 4)]), Ok(()));
        assert_eq!(bids.levels(Order::Bids).collect::<Vec<_>>(), [level(5, 4)]);
    }
}
