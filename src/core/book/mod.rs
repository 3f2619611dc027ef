//! What is known of the markets: depth books, quotes, last trades and marks of all symbols.
//!
//! In: [`MarketInput`]s in the order admitted. Out: one typed [`MarketOutcome`] each, and the state that every node reads.
//! Newest means newest at the exchange, not last received: update and trade ids decide within and across streams, event times
//! where there are no ids. Candles pass through to the strategies and are not kept here.
//! Tests: worked examples of every rule, snapshot and restore; the books have theirs.

use crate::id::SymbolIx;
use crate::market::{AggTrade, Mark, MarketEvent, MarketInput, Quote, Trade};
use crate::node::{SnapshotError, decode_state, encode_state, hash_bytes};
use crate::num::Price;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

pub mod depth;
mod ladder;
pub mod naive;
#[cfg(test)]
mod tests;

pub use depth::{BookOutcome, BookStatus, DepthBook, GapReason};

/// An event with a lower id than the newest but later by this much at the exchange means that ids were restarted there.
const ID_RESTART: Span = Span::from_secs(10);

/// What became of a market event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarketOutcome {
    /// The state is up to it.
    Applied,
    /// Older than what is known: nothing changed.
    Stale,
    /// The depth book became void by it: a snapshot is needed. Told once, not for what follows.
    Gap(GapReason),
    /// A diff for a book that is void already, or has no snapshot yet: nothing changed.
    Void,
    /// The event cannot be true (a price that is not positive, a crossed quote): nothing changed.
    Impossible,
}

/// Books, quotes, last trades and marks of all symbols.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markets {
    markets: Vec<Market>,
}

/// One symbol's market state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Market {
    /// The depth book.
    pub book: DepthBook,
    /// Newest best bid and ask: of the quote stream or of the depth book, whichever has the higher update id. It outlives a
    /// gap of the book; [`Market::quote_time`] tells its age.
    pub quote: Option<Quote>,
    /// Exchange time of the quote.
    pub quote_time: Ts,
    /// Newest trade on the book; of aggregated trades, the whole aggregate under its last trade id.
    pub last: Option<Trade>,
    /// Exchange time of the last trade.
    pub last_time: Ts,
    /// Newest mark price.
    pub mark: Option<Mark>,
    /// Exchange time of the mark price.
    pub mark_time: Ts,
    /// Exchange time of the newest event.
    pub updated: Ts,
    /// When the quote, the last trade and the mark price were heard, by our clock.
    heard: [Ts; 3],
}

/// The places of [`Market`]'s times.
const QUOTE: usize = 0;
const LAST: usize = 1;
const MARK: usize = 2;

static UNKNOWN: Market = Market::new();

impl Market {
    /// A market of which nothing is known.
    pub const fn new() -> Market {
        Market {
            book: DepthBook::new(),
            quote: None,
            quote_time: Ts::ZERO,
            last: None,
            last_time: Ts::ZERO,
            mark: None,
            mark_time: Ts::ZERO,
            updated: Ts::ZERO,
            heard: [Ts::ZERO; 3],
        }
    }

    /// The reference price for limits, however old: mark price, else the middle of the quote, else the last trade.
    #[inline]
    pub fn reference_price(&self) -> Option<Price> {
        self.reference_since(Ts::ZERO)
    }

    /// The same of what was heard at this time or later, by our clock: a stream that fell silent, or a snapshot from before a
    /// long pause, does not tell what a price is.
    #[inline]
    pub fn reference_since(&self, time: Ts) -> Option<Price> {
        let fresh = |what: usize| self.heard[what] >= time;
        let mark = self.mark.filter(|_| fresh(MARK)).map(|mark| mark.mark_price);
        let last = self.last.filter(|_| fresh(LAST)).map(|trade| trade.price);
        mark.or_else(|| self.mid_price().filter(|_| fresh(QUOTE))).or(last)
    }

    /// The middle of the quote, rounded down to a mantissa (not to a tick); `None` when a side is empty.
    #[inline]
    pub fn mid_price(&self) -> Option<Price> {
        let quote = self.quote.filter(|quote| !quote.bid.is_zero() && !quote.ask.is_zero())?;
        let (bid, ask) = (quote.bid.mantissa(), quote.ask.mantissa());
        // Both are positive and the bid is lower, so the difference cannot overflow.
        Some(Price::from_mantissa(bid + (ask - bid) / 2))
    }

    /// Applies one event of this symbol: its exchange time, and when it was heard by our clock.
    #[inline]
    pub fn apply(&mut self, event: &MarketEvent, time: Ts, heard: Ts) -> MarketOutcome {
        self.updated = self.updated.max(time);
        match event {
            MarketEvent::Quote(quote) => self.on_quote(quote, time, heard),
            MarketEvent::Trade(trade) => self.on_trade(trade, time, heard),
            MarketEvent::AggTrade(trade) => self.on_trade(&whole(trade), time, heard),
            MarketEvent::BookDelta(diff) => {
                let outcome = self.book.apply_delta(diff);
                self.on_book(outcome, time, heard)
            }
            MarketEvent::BookReset(snapshot) => {
                let outcome = self.book.apply_reset(snapshot);
                self.on_book(outcome, time, heard)
            }
            MarketEvent::BookGap => self.on_gap(),
            MarketEvent::Mark(mark) => self.on_mark(mark, time, heard),
            MarketEvent::Candle(_) => MarketOutcome::Applied,
        }
    }

    #[inline]
    fn on_quote(&mut self, quote: &Quote, time: Ts, heard: Ts) -> MarketOutcome {
        let (bid, ask) = (quote.bid.mantissa(), quote.ask.mantissa());
        if bid < 0 || ask < 0 || (bid > 0 && ask > 0 && bid >= ask) {
            return MarketOutcome::Impossible;
        }
        let known = self.quote.map(|known| known.update_id);
        if !is_newer(known, self.quote_time, quote.update_id, time, true) {
            return MarketOutcome::Stale;
        }
        (self.quote, self.quote_time, self.heard[QUOTE]) = (Some(*quote), time, heard);
        MarketOutcome::Applied
    }

    #[inline]
    fn on_trade(&mut self, trade: &Trade, time: Ts, heard: Ts) -> MarketOutcome {
        if !trade.on_book {
            return MarketOutcome::Applied;
        }
        if trade.price.mantissa() <= 0 {
            return MarketOutcome::Impossible;
        }
        let known = self.last.map(|known| known.id);
        if !is_newer(known, self.last_time, trade.id, time, false) {
            return MarketOutcome::Stale;
        }
        (self.last, self.last_time, self.heard[LAST]) = (Some(*trade), time, heard);
        MarketOutcome::Applied
    }

    fn on_book(&mut self, outcome: BookOutcome, time: Ts, heard: Ts) -> MarketOutcome {
        match outcome {
            BookOutcome::Applied => {
                // A book without levels and one behind the quote stream have nothing to add.
                if let Some(quote) = self.book.quote() {
                    self.on_quote(&quote, time, heard);
                }
                MarketOutcome::Applied
            }
            BookOutcome::Stale => MarketOutcome::Stale,
            BookOutcome::Void => MarketOutcome::Void,
            BookOutcome::Gap(reason) => MarketOutcome::Gap(reason),
        }
    }

    fn on_gap(&mut self) -> MarketOutcome {
        if self.book.status() == BookStatus::Gap {
            return MarketOutcome::Void;
        }
        self.book.void();
        MarketOutcome::Gap(GapReason::Announced)
    }

    fn on_mark(&mut self, mark: &Mark, time: Ts, heard: Ts) -> MarketOutcome {
        if mark.mark_price.mantissa() <= 0 || mark.index_price.mantissa() < 0 {
            return MarketOutcome::Impossible;
        }
        if time < self.mark_time {
            return MarketOutcome::Stale;
        }
        (self.mark, self.mark_time, self.heard[MARK]) = (Some(*mark), time, heard);
        MarketOutcome::Applied
    }
}

impl Markets {
    /// The state of a symbol; an empty one when nothing is known.
    #[inline]
    pub fn market(&self, symbol: SymbolIx) -> &Market {
        self.markets.get(symbol.ix()).unwrap_or(&UNKNOWN)
    }

    /// Applies one market event and tells what became of it.
    #[inline]
    pub fn apply(&mut self, input: &MarketInput) -> MarketOutcome {
        let ix = input.symbol.ix();
        if ix >= self.markets.len() {
            // Bounded by the width of the index.
            self.markets.resize_with(ix + 1, Market::new);
        }
        self.markets[ix].apply(&input.event, input.exchange_time, input.receive_time)
    }

    /// The whole state, in a form that [`Markets::restore`] of the same program version reads.
    pub fn snapshot(&self) -> Vec<u8> {
        encode_state(&self.markets)
    }

    /// Takes the state of an earlier [`Markets::snapshot`].
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        let markets: Vec<Market> = decode_state("markets", snapshot)?;
        if markets.iter().any(|market| !market.book.is_uncrossed()) {
            return Err(SnapshotError { part: "markets", reason: "a depth book is crossed".to_owned() });
        }
        self.markets = markets;
        Ok(())
    }

    /// A hash of the whole state: equal states have equal hashes.
    pub fn state_hash(&self) -> u64 {
        hash_bytes(&self.snapshot())
    }
}

/// Whether an event is newer than the known one: by id, unless ids were restarted at the exchange.
#[inline]
fn is_newer<Id: Ord>(known: Option<Id>, known_time: Ts, id: Id, time: Ts, equal_counts: bool) -> bool {
    match known {
        None => true,
        Some(known) if id > known || (equal_counts && id == known) => true,
        Some(_) => time > known_time.plus(ID_RESTART),
    }
}

/// An aggregate as one trade.
fn whole(trade: &AggTrade) -> Trade {
    Trade { id: trade.last, price: trade.price, quantity: trade.quantity, aggressor: trade.aggressor, on_book: true }
}
