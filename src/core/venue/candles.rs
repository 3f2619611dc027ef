//! Markets known by candles alone.
//!
//! Only closed candles of the shortest interval fed count, and only while nothing finer was ever fed for the symbol. The price is
//! taken to walk from open over the extreme *against* the candle's direction first (a rising candle: open, low, high, close; a
//! falling one: open, high, low, close), stopping at every trigger on the way. At each stop the market is one bid a tick below
//! and one ask a tick above the price, with the candle's volume to be had once in all. So a resting order fills only when the
//! price went *through* it by a tick, at its own price; a stop fills a tick worse than its trigger, or than the open after a gap; a
//! market order placed between two candles fills a tick worse than the last close. Limits: the true order of high and low is not
//! known, and the volume at a price is not either.

use super::market::is_sane;
use super::{Out, Venue};
use crate::id::SymbolIx;
use crate::market::{Candle, Quote};
use crate::num::Price;
use crate::order::WorkingType;

impl Venue {
    /// A candle of a symbol without finer data.
    pub(super) fn on_candle(&mut self, symbol: SymbolIx, candle: &Candle, out: Out<'_>) {
        let Some(market) = self.symbols.get_mut(symbol.ix()).filter(|m| !m.fine && candle.closed) else { return };
        let prices = [candle.open, candle.high, candle.low, candle.close];
        if !prices.into_iter().all(is_sane) {
            return;
        }
        if let Some((interval, until)) = market.candle
            && (candle.interval > interval || candle.open_time < until)
        {
            return;
        }
        market.candle = Some((candle.interval, candle.close_time()));
        let path = match candle.close >= candle.open {
            true => [candle.open, candle.low, candle.high, candle.close],
            false => [candle.open, candle.high, candle.low, candle.close],
        };
        let mut left = candle.volume.mantissa();
        let mut at = candle.open;
        for target in path {
            while let Some(stop) = self.symbols.get(symbol.ix()).and_then(|m| m.triggers.on_the_way(at, target)) {
                at = stop;
                self.stand_at(symbol, at, &mut left, out);
            }
            at = target;
            self.stand_at(symbol, at, &mut left, out);
        }
        // What is left of the volume is there until the next candle.
        self.show(symbol, at, left);
    }

    /// The price is here for a moment.
    fn stand_at(&mut self, symbol: SymbolIx, price: Price, left: &mut i64, out: Out<'_>) {
        self.show(symbol, price, *left);
        self.meet(symbol, out);
        let Some(market) = self.symbols.get_mut(symbol.ix()) else { return };
        market.last = price;
        let marked = !market.mark.is_zero();
        self.watch(symbol, WorkingType::ContractPrice, price, out);
        if !marked {
            self.watch(symbol, WorkingType::MarkPrice, price, out);
            self.check_liquidations(symbol, out);
        }
        if let Some(market) = self.symbols.get(symbol.ix()) {
            *left = left.saturating_sub(market.bids.taken().saturating_add(market.asks.taken())).max(0);
        }
    }

    fn show(&mut self, symbol: SymbolIx, price: Price, volume: i64) {
        let tick = self.universe.instrument(symbol).map_or(1, |i| i.filters.price.tick.mantissa().max(1));
        let quantity = super::account::quantity(volume);
        let quote = Quote {
            update_id: 0,
            bid: Price::from_mantissa(price.mantissa().saturating_sub(tick)),
            bid_quantity: quantity,
            ask: Price::from_mantissa(price.mantissa().saturating_add(tick)),
            ask_quantity: quantity,
        };
        if let Some(market) = self.symbols.get_mut(symbol.ix()) {
            // Cleared first: a level that stands as before would keep what was taken of it, which `left` counts already.
            market.on_gap();
            market.on_quote(&quote);
            market.fine = false;
        }
    }
}
