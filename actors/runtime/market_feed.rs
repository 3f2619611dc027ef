//! The newest quote, last trade and mark price of symbols that somebody on another thread watches.
//!
//! In: the lane's steps, through its tap. Out: a place for each watched symbol, overwritten in place: the trading thread neither
//! waits nor allocates nor wakes anybody, and pays nothing for a symbol that nobody watches. A reader who meets a half-written
//! place looks again; what came between two looks is conflated. Tests: `tests`, with a reader that races the writer.

use super::lane::{Lane, Step, Tap};
use arc_swap::ArcSwap;
use qcat_core::book::Market;
use qcat_core::id::SymbolIx;
use qcat_core::market::Level;
use qcat_core::num::{Price, Quantity, Side};
use qcat_core::time::Ts;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// Looks at a place that is being written before giving up until the next time.
const LOOKS: usize = 64;

/// What is known of a market; times are the exchange's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MarketView {
    /// Best bid; `None`: the side is empty, or nothing is known.
    pub bid: Option<Level>,
    /// Best ask; `None`: the side is empty, or nothing is known.
    pub ask: Option<Level>,
    /// When the quote was so.
    pub quote_time: Ts,
    /// The last trade: price, quantity, the taker's side.
    pub last: Option<(Price, Quantity, Side)>,
    /// When it was.
    pub last_time: Ts,
    /// The mark price.
    pub mark: Option<Price>,
    /// The index price.
    pub index: Option<Price>,
    /// When they were so.
    pub mark_time: Ts,
}

impl MarketView {
    /// Of a market's state.
    pub fn of(market: &Market) -> MarketView {
        let level = |price: Price, quantity| (!price.is_zero()).then_some(Level { price, quantity });
        MarketView {
            bid: market.quote.and_then(|quote| level(quote.bid, quote.bid_quantity)),
            ask: market.quote.and_then(|quote| level(quote.ask, quote.ask_quantity)),
            quote_time: market.quote_time,
            last: market.last.map(|trade| (trade.price, trade.quantity, trade.aggressor)),
            last_time: market.last_time,
            mark: market.mark.map(|mark| mark.mark_price),
            index: market.mark.map(|mark| mark.index_price).filter(|price| !price.is_zero()),
            mark_time: market.mark_time,
        }
    }
}

const WORDS: usize = 12;
const BID: u64 = 1;
const ASK: u64 = 2;
const LAST: u64 = 4;
const SOLD: u64 = 8;
const MARK: u64 = 16;
const INDEX: u64 = 32;

impl MarketView {
    fn words(&self) -> [u64; WORDS] {
        let level = |level: Option<Level>, bit: u64| match level {
            Some(level) => (bit, level.price.mantissa(), level.quantity.mantissa()),
            None => (0, 0, 0),
        };
        let ((bid, bid_price, bid_quantity), (ask, ask_price, ask_quantity)) =
            (level(self.bid, BID), level(self.ask, ASK));
        let (last, price, quantity) = match self.last {
            Some((price, quantity, Side::Buy)) => (LAST, price.mantissa(), quantity.mantissa()),
            Some((price, quantity, Side::Sell)) => (LAST | SOLD, price.mantissa(), quantity.mantissa()),
            None => (0, 0, 0),
        };
        let (mark, index) = (self.mark.map_or(0, |_| MARK), self.index.map_or(0, |_| INDEX));
        let numbers = [
            bid_price,
            bid_quantity,
            ask_price,
            ask_quantity,
            self.quote_time.nanos(),
            price,
            quantity,
            self.last_time.nanos(),
            self.mark.map_or(0, Price::mantissa),
            self.index.map_or(0, Price::mantissa),
            self.mark_time.nanos(),
        ];
        let mut words = [bid | ask | last | mark | index; WORDS];
        for (word, number) in words[1..].iter_mut().zip(numbers) {
            *word = number.cast_unsigned();
        }
        words
    }

    fn from_words(words: [u64; WORDS]) -> MarketView {
        let has = |bit: u64| words[0] & bit != 0;
        let price = |at: usize| Price::from_mantissa(words[at].cast_signed());
        // It was a quantity's, so it is one.
        let quantity = |at: usize| Quantity::from_mantissa(words[at].cast_signed()).unwrap_or(Quantity::ZERO);
        let time = |at: usize| Ts::from_nanos(words[at].cast_signed());
        let level = |at: usize| Level { price: price(at), quantity: quantity(at + 1) };
        let side = if has(SOLD) { Side::Sell } else { Side::Buy };
        MarketView {
            bid: has(BID).then(|| level(1)),
            ask: has(ASK).then(|| level(3)),
            quote_time: time(5),
            last: has(LAST).then(|| (price(6), quantity(7), side)),
            last_time: time(8),
            mark: has(MARK).then(|| price(9)),
            index: has(INDEX).then(|| price(10)),
            mark_time: time(11),
        }
    }
}

/// A place with one writer. The version is odd while it is written, and zero before the first time.
#[derive(Debug, Default)]
struct Cell {
    version: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Cell {
    #[inline]
    fn write(&self, view: &MarketView) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // No word may be seen before the odd version.
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(view.words()) {
            place.store(word, Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    fn read(&self) -> Option<(u64, MarketView)> {
        for _ in 0..LOOKS {
            let before = self.version.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            if before.is_multiple_of(2) {
                let words = std::array::from_fn(|at| self.words[at].load(Ordering::Relaxed));
                // The words were read before the version is read again.
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return Some((before, MarketView::from_words(words)));
                }
            }
            std::hint::spin_loop();
        }
        None
    }
}

#[derive(Debug, Default)]
struct Shared {
    /// By symbol.
    cells: ArcSwap<Vec<Option<Arc<Cell>>>>,
    watched: AtomicUsize,
    /// A symbol is watched that has not been written yet.
    fresh: AtomicBool,
}

/// Watches markets from other threads. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct MarketFeed(Arc<Shared>);

/// A symbol that is watched until this is dropped.
#[derive(Debug)]
pub struct Watched {
    feed: MarketFeed,
    symbol: SymbolIx,
    cell: Arc<Cell>,
    seen: u64,
}

impl MarketFeed {
    /// Of everything that the lane does from here on.
    pub fn of(lane: &Lane) -> MarketFeed {
        let feed = MarketFeed::default();
        lane.tap(Box::new(MarketTap(feed.0.clone())));
        feed
    }

    /// Watches a symbol. To be called by one thread, once for a symbol at a time. What the engine knows is seen after its next step.
    pub fn watch(&self, symbol: SymbolIx) -> Watched {
        let cell = Arc::new(Cell::default());
        self.place(symbol, Some(cell.clone()));
        self.0.watched.fetch_add(1, Ordering::Release);
        self.0.fresh.store(true, Ordering::Release);
        Watched { feed: self.clone(), symbol, cell, seen: 0 }
    }

    fn place(&self, symbol: SymbolIx, cell: Option<Arc<Cell>>) {
        self.0.cells.rcu(|cells| {
            let mut cells = (**cells).clone();
            if cells.len() <= symbol.ix() {
                cells.resize(symbol.ix() + 1, None);
            }
            cells[symbol.ix()] = cell.clone();
            cells
        });
    }
}

impl Watched {
    /// The market, if it was written since the last look.
    pub fn changed(&mut self) -> Option<MarketView> {
        let (version, view) = self.cell.read()?;
        (std::mem::replace(&mut self.seen, version) != version).then_some(view)
    }

    /// The market now; `None`: nothing is known yet.
    pub fn now(&self) -> Option<MarketView> {
        self.cell.read().map(|(_, view)| view)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.feed.place(self.symbol, None);
        self.feed.0.watched.fetch_sub(1, Ordering::Release);
    }
}

struct MarketTap(Arc<Shared>);

impl Tap for MarketTap {
    #[inline]
    fn after_step(&mut self, step: &Step<'_>) {
        if self.0.watched.load(Ordering::Relaxed) == 0 {
            return;
        }
        let markets = step.engine.markets();
        let view = |symbol| MarketView::of(markets.market(symbol));
        if let Some(symbol) = step.market
            && let Some(Some(cell)) = self.0.cells.load().get(symbol.ix())
        {
            cell.write(&view(symbol));
        }
        if self.0.fresh.swap(false, Ordering::AcqRel) {
            let cells = self.0.cells.load();
            let cells = cells.iter().enumerate().filter_map(|(at, cell)| Some((at, cell.as_ref()?)));
            for (at, cell) in cells.filter(|(_, cell)| cell.version.load(Ordering::Relaxed) == 0) {
                // Places are made by index, so it fits.
                cell.write(&view(SymbolIx(at as _)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(n: i64) -> MarketView {
        let quantity = |n| Quantity::from_mantissa(n).expect("positive");
        let level = |n| Some(Level { price: Price::from_mantissa(n), quantity: quantity(n) });
        MarketView {
            bid: level(n),
            ask: if n % 2 == 0 { level(n + 1) } else { None },
            quote_time: Ts::from_nanos(n),
            last: Some((Price::from_mantissa(n), quantity(n), Side::Sell)),
            last_time: Ts::from_nanos(n),
            mark: Some(Price::from_mantissa(n)),
            index: None,
            mark_time: Ts::from_nanos(n),
        }
    }

    #[test]
    fn a_reader_never_sees_half_of_a_write() {
        let cell = Arc::new(Cell::default());
        assert_eq!(cell.read(), None);
        let writer = std::thread::spawn({
            let cell = cell.clone();
            move || (1..200_000).for_each(|n| cell.write(&view(n)))
        });
        let mut newest = 0;
        while !writer.is_finished() {
            let Some((version, seen)) = cell.read() else { continue };
            let n = seen.quote_time.nanos();
            assert_eq!(seen, view(n));
            assert!(version >= newest, "it goes back");
            newest = version;
        }
        writer.join().expect("it wrote");
        assert_eq!(cell.read().map(|(_, view)| view), Some(view(199_999)));
    }

    #[test]
    fn a_symbol_is_watched_until_it_is_dropped() {
        let feed = MarketFeed::default();
        let mut watched = feed.watch(SymbolIx(3));
        assert_eq!((watched.changed(), feed.0.watched.load(Ordering::Relaxed)), (None, 1));
        let cells = feed.0.cells.load_full();
        cells[3].as_ref().expect("watched").write(&view(7));
        assert_eq!(watched.changed(), Some(view(7)));
        assert_eq!((watched.changed(), watched.now()), (None, Some(view(7))));
        drop(watched);
        assert!(feed.0.cells.load()[3].is_none() && feed.0.watched.load(Ordering::Relaxed) == 0);
    }
}
