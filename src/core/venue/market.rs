//! What the venue knows of one symbol's market, and how the feed moves it.
//!
//! The venue keeps books of its own, apart from the engine's: it sees the market at the exchange's time and remembers what
//! simulated orders took. Depth is followed by snapshot and diffs; a quote newer than the book corrects its best levels; without
//! depth the quote is the whole book. Individual and aggregated trades may both be fed: each trade id counts once.

use super::conditional::Triggers;
use super::queue::{NONE, SideBook, key_of};
use crate::id::{AccountIx, SymbolIx};
use crate::market::{BookLevels, Level, Quote};
use crate::num::{Price, Rate, Side};
use crate::time::{Span, Ts};
use serde::Serialize;
use std::collections::BTreeSet;

/// Prices and quantities from a feed beyond this are ignored: keys must be addable.
const SANE_MAX: i64 = 1 << 60;

/// A funding payment that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct NextFunding {
    pub at: Ts,
    pub rate: Rate,
}

/// One symbol's market as the venue sees it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Symbol {
    pub ix: SymbolIx,
    pub bids: SideBook,
    pub asks: SideBook,
    /// Whether depth is followed.
    depth: bool,
    /// Last update id of the depth book.
    book_id: u64,
    quote: Option<Quote>,
    /// Price of the last trade on the book; zero before the first.
    pub last: Price,
    /// Mark price; zero before the first.
    pub mark: Price,
    /// The reference price when the book became void.
    before_void: Price,
    /// Highest trade id that was matched.
    trade_id: i64,
    /// Whether anything finer than candles was fed.
    pub fine: bool,
    /// Whether trades were fed.
    pub trades: bool,
    /// Shortest interval of the candles fed, and the end of the last candle used.
    pub candle: Option<(Span, Ts)>,
    pub triggers: Triggers,
    pub funding: Option<NextFunding>,
    /// Funding times up to this one are paid.
    pub funded: Ts,
    /// Accounts with a position.
    pub holders: BTreeSet<AccountIx>,
}

impl Symbol {
    pub fn new(ix: SymbolIx) -> Symbol {
        Symbol {
            ix,
            bids: SideBook::new(Side::Buy),
            asks: SideBook::new(Side::Sell),
            depth: false,
            book_id: 0,
            quote: None,
            last: Price::ZERO,
            mark: Price::ZERO,
            before_void: Price::ZERO,
            trade_id: 0,
            fine: false,
            trades: false,
            candle: None,
            triggers: Triggers::default(),
            funding: None,
            funded: Ts::ZERO,
            holders: BTreeSet::new(),
        }
    }

    /// The side where orders of `side` rest.
    #[inline]
    pub fn side_mut(&mut self, side: Side) -> &mut SideBook {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// The side where orders of `side` rest.
    pub fn side(&self, side: Side) -> &SideBook {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// The price that margin, filters and liquidation use: the mark price, else the middle of the best prices that the feed shows,
    /// whatever simulated orders took there (one side if the other is empty), else the last trade, else what it was before the
    /// book became void; zero when nothing was ever known.
    pub fn reference(&self) -> Price {
        if !self.mark.is_zero() {
            return self.mark;
        }
        match (self.bids.shown_price(), self.asks.shown_price()) {
            (Some(bid), Some(ask)) => Price::from_mantissa(bid.mantissa() + (ask.mantissa() - bid.mantissa()) / 2),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) if !self.last.is_zero() => self.last,
            (None, None) => self.before_void,
        }
    }

    /// Best bid and ask moved.
    #[inline]
    pub fn on_quote(&mut self, quote: &Quote) {
        self.fine = true;
        if self.depth {
            if quote.update_id > self.book_id {
                self.quote = Some(*quote);
                self.apply_quote(quote);
            }
        } else {
            self.bids.set_only(sane_key(Side::Buy, quote.bid), sane(quote.bid_quantity.mantissa()));
            self.asks.set_only(sane_key(Side::Sell, quote.ask), sane(quote.ask_quantity.mantissa()));
        }
    }

    fn apply_quote(&mut self, quote: &Quote) {
        self.bids.set_best(sane_key(Side::Buy, quote.bid), sane(quote.bid_quantity.mantissa()));
        self.asks.set_best(sane_key(Side::Sell, quote.ask), sane(quote.ask_quantity.mantissa()));
    }

    /// A snapshot.
    pub fn on_reset(&mut self, levels: &BookLevels) {
        (self.fine, self.depth, self.book_id) = (true, true, levels.last_id);
        self.bids.reset(keyed(Side::Buy, &levels.bids));
        self.asks.reset(keyed(Side::Sell, &levels.asks));
        self.reapply_newer_quote();
    }

    /// A diff. What is older than the book is dropped; a hole in the sequence makes the book void.
    pub fn on_delta(&mut self, levels: &BookLevels) {
        self.fine = true;
        if !self.depth || levels.last_id <= self.book_id {
            return;
        }
        let follows = levels.previous_id == self.book_id || levels.first_id <= self.book_id.saturating_add(1);
        if !follows {
            return self.on_gap();
        }
        self.book_id = levels.last_id;
        for (side, changed) in [(Side::Buy, &levels.bids), (Side::Sell, &levels.asks)] {
            let book = self.side_mut(side);
            keyed(side, changed).for_each(|(key, quantity)| book.set(key, quantity));
            book.refresh();
        }
        self.reapply_newer_quote();
    }

    // A diff that is older than the newest quote would bring levels back that the quote says are gone.
    fn reapply_newer_quote(&mut self) {
        if let Some(quote) = self.quote.filter(|q| q.update_id > self.book_id) {
            self.apply_quote(&quote);
        }
    }

    /// The sequence broke: nothing can be taken until the next snapshot or quote.
    pub fn on_gap(&mut self) {
        self.before_void = self.reference();
        (self.depth, self.quote) = (false, None);
        self.bids.void();
        self.asks.void();
    }

    /// Whether a trade with these ids is new; it is counted as seen. Ids of zero and below are always new.
    pub fn see_trades(&mut self, first: i64, last: i64) -> bool {
        (self.fine, self.trades) = (true, true);
        if last > 0 {
            if first <= self.trade_id {
                return false;
            }
            self.trade_id = last;
        }
        true
    }
}

fn sane(value: i64) -> i64 {
    value.clamp(0, SANE_MAX)
}

fn sane_key(side: Side, price: Price) -> i64 {
    if is_sane(price) { key_of(side, price) } else { NONE }
}

fn keyed(side: Side, levels: &[Level]) -> impl Iterator<Item = (i64, i64)> + '_ {
    let keyed = move |l: &Level| (sane_key(side, l.price), sane(l.quantity.mantissa()));
    levels.iter().map(keyed).filter(|&(key, _)| key != NONE)
}

/// Whether a price from a feed can be used at all.
pub(super) fn is_sane(price: Price) -> bool {
    (1..SANE_MAX).contains(&price.mantissa())
}
