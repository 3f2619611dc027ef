//! The resting liquidity of a generated market: levels in ticks and lots, with the exchange's update ids.

use super::GeneratorParams;
use crate::market::{BookLevels, Level, Quote};
use crate::num::{Price, Quantity, Side};
use crate::sim::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};

/// Ticks next to the touch that all have a level; farther out only every [`COARSE`]th has one.
const NEAR: i64 = 10;
const COARSE: i64 = 5;

/// One generated book. Prices are in ticks, quantities in lots.
#[derive(Debug, Clone)]
pub(super) struct Liquidity {
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    changed_bids: BTreeSet<i64>,
    changed_asks: BTreeSet<i64>,
    /// The newest update id.
    update_id: u64,
    /// The id of the first change since the last diff.
    first_id: Option<u64>,
    /// The last id of the last diff.
    flushed_id: u64,
    tick: i64,
    step: i64,
    levels: i64,
    mean_lots: f64,
    dice: Dice,
}

impl Liquidity {
    /// A full book around `bid`. `tick` and `step` are the mantissas of one tick and one lot.
    pub fn new(
        seed: u64,
        bid: i64,
        spread: i64,
        (tick, step): (i64, i64),
        mean_lots: f64,
        p: &GeneratorParams,
    ) -> Self {
        let dice = Dice::new(seed, "liquidity");
        let mut book = Liquidity {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            changed_bids: BTreeSet::new(),
            changed_asks: BTreeSet::new(),
            update_id: 1_000_000,
            first_id: None,
            flushed_id: 1_000_000,
            tick,
            step,
            levels: p.levels as i64,
            mean_lots,
            dice,
        };
        book.requote(bid, bid + spread);
        book
    }

    pub fn best(&self, side: Side) -> Option<(i64, i64)> {
        let level = match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        };
        level.map(|(&tick, &lots)| (tick, lots))
    }

    /// How many levels rest on a side.
    pub fn len(&self, side: Side) -> usize {
        self.side(side).len()
    }

    /// A taker of `side` takes up to `lots` at `limit` or better. Returns what traded, best price first.
    pub fn take(&mut self, side: Side, mut lots: i64, limit: i64) -> Vec<(i64, i64)> {
        let maker = side.opposite();
        let mut trades = Vec::new();
        while lots > 0 {
            let Some((tick, resting)) = self.best(maker) else { break };
            let beyond = if side == Side::Buy { tick > limit } else { tick < limit };
            // The last level of a side is never taken whole: a market without a price on one side is out of scope here.
            let available = if self.len(maker) == 1 { resting - 1 } else { resting };
            let traded = lots.min(available);
            if beyond || traded <= 0 {
                break;
            }
            self.set(maker, tick, resting - traded);
            trades.push((tick, traded));
            lots -= traded;
        }
        trades
    }

    /// Moves the makers: best bid and ask stand at these ticks afterwards, and each side has all its levels.
    pub fn requote(&mut self, bid: i64, ask: i64) {
        let reach = NEAR + (self.levels - NEAR).max(0) * COARSE;
        let wanted = |distance: i64, tick: i64| {
            (0..self.levels.min(NEAR)).contains(&distance)
                || (NEAR..reach).contains(&distance) && tick.rem_euclid(COARSE) == 0
        };
        let mut changes = Vec::new();
        for (side, best, sign) in [(Side::Buy, bid, -1), (Side::Sell, ask, 1)] {
            let stale = self.side(side).keys().filter(|&&tick| !wanted((tick - best) * sign, tick));
            changes.extend(stale.map(|&tick| (side, tick, 0)));
            let ticks = (0..reach).map(|distance| (distance, best + distance * sign));
            let missing =
                ticks.filter(|&(d, tick)| tick > 0 && wanted(d, tick) && !self.side(side).contains_key(&tick));
            changes.extend(missing.map(|(_, tick)| (side, tick, -1)));
        }
        // Removals first, so that the sides never overlap in between.
        changes.sort_by_key(|&(_, _, lots)| lots != 0);
        for (side, tick, lots) in changes {
            let lots = if lots == 0 { 0 } else { self.draw_lots() };
            self.set(side, tick, lots);
        }
    }

    /// Makers add and cancel quantity on a few levels.
    pub fn stir(&mut self, count: u64) {
        for _ in 0..count {
            let side = if self.dice.chance(0.5) { Side::Buy } else { Side::Sell };
            // Mostly near the touch.
            let depth = libm::floor(self.dice.exponential(4.0)) as usize;
            let tick = match side {
                Side::Buy => self.bids.keys().rev().nth(depth).copied(),
                Side::Sell => self.asks.keys().nth(depth).copied(),
            };
            if let Some(tick) = tick {
                let lots = self.draw_lots();
                self.set(side, tick, lots);
            }
        }
    }

    /// The changes since the last diff, or `None` when there are none.
    pub fn flush(&mut self) -> Option<BookLevels> {
        let first_id = self.first_id.take()?;
        let (bids, asks) = (std::mem::take(&mut self.changed_bids), std::mem::take(&mut self.changed_asks));
        let levels = BookLevels {
            first_id,
            last_id: self.update_id,
            previous_id: self.flushed_id,
            bids: bids.iter().map(|&tick| self.level(tick, self.bids.get(&tick))).collect(),
            asks: asks.iter().map(|&tick| self.level(tick, self.asks.get(&tick))).collect(),
        };
        self.flushed_id = self.update_id;
        Some(levels)
    }

    /// The whole book, best prices first, with the newest update id.
    pub fn snapshot(&self) -> BookLevels {
        BookLevels {
            first_id: self.update_id,
            last_id: self.update_id,
            previous_id: 0,
            bids: self.bids.iter().rev().map(|(&tick, lots)| self.level(tick, Some(lots))).collect(),
            asks: self.asks.iter().map(|(&tick, lots)| self.level(tick, Some(lots))).collect(),
        }
    }

    /// Best bid and ask with the newest update id.
    pub fn quote(&self) -> Quote {
        let level = |side| {
            let (tick, lots) = self.best(side).unwrap_or((0, 0));
            self.level(tick, Some(&lots))
        };
        let (bid, ask) = (level(Side::Buy), level(Side::Sell));
        Quote {
            update_id: self.update_id,
            bid: bid.price,
            bid_quantity: bid.quantity,
            ask: ask.price,
            ask_quantity: ask.quantity,
        }
    }

    fn side(&self, side: Side) -> &BTreeMap<i64, i64> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn set(&mut self, side: Side, tick: i64, lots: i64) {
        let (levels, changed) = match side {
            Side::Buy => (&mut self.bids, &mut self.changed_bids),
            Side::Sell => (&mut self.asks, &mut self.changed_asks),
        };
        if lots > 0 {
            levels.insert(tick, lots);
        } else {
            levels.remove(&tick);
        }
        changed.insert(tick);
        // Ids are the exchange's over all symbols, so one book sees holes between them.
        self.update_id += 1 + self.dice.below(20);
        self.first_id.get_or_insert(self.update_id);
    }

    fn draw_lots(&mut self) -> i64 {
        let lots = self.mean_lots * (0.05 + self.dice.exponential(0.95));
        (lots as i64).clamp(1, i64::MAX / 1_000_000 / self.step.max(1))
    }

    fn level(&self, tick: i64, lots: Option<&i64>) -> Level {
        let quantity = lots.copied().unwrap_or(0).saturating_mul(self.step);
        Level {
            price: Price::from_mantissa(tick.saturating_mul(self.tick)),
            quantity: Quantity::from_mantissa(quantity).expect("lots and step are never negative"),
        }
    }
}
