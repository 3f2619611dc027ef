//! The bounded queue in front of an engine. What may conflate does so here, *before* admission, so what is journaled is what decided.
//!
//! * Quotes and marks: only the newest of a symbol waits. * Book deltas of a symbol are merged level by level (first `U` and
//!   `pu`, last `u`). * Trades, candles, reports, answers, commands never conflate: market data that finds the queue full
//!   is refused and its symbol marked down until the queue has drained; everything else has a reserve of its own.

use crate::event::{Input, StreamFault, StreamState};
use crate::id::SymbolIx;
use crate::market::{BookLevels, Level, MarketEvent, MarketInput};
use crate::num::{Price, Quantity};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What became of an offered input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It waits.
    Accepted,
    /// It took the place of, or was merged with, one that waited.
    Conflated,
    /// It was refused. For market data the symbol is told to be down; for anything else the caller must stop reading.
    Full,
}

/// Where the newest conflatable inputs of a symbol wait, as absolute positions.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    quote: Option<u64>,
    mark: Option<u64>,
    delta: Option<u64>,
}

/// The queue. See the module's text.
#[derive(Debug)]
pub struct Inbox {
    queue: VecDeque<Option<Input>>,
    /// Absolute position of the front.
    front: u64,
    waiting: usize,
    newest: Vec<Newest>,
    capacity: usize,
    /// Symbols whose market data was refused; they are told to be up again once the queue has drained.
    overflowed: BTreeSet<SymbolIx>,
    conflated: u64,
    refused: u64,
}

impl Inbox {
    /// A queue for `capacity` market inputs and as many others.
    pub fn new(capacity: usize) -> Inbox {
        Inbox {
            queue: VecDeque::with_capacity(capacity.min(4096)),
            front: 0,
            waiting: 0,
            newest: Vec::new(),
            capacity: capacity.max(16),
            overflowed: BTreeSet::new(),
            conflated: 0,
            refused: 0,
        }
    }

    /// Inputs that wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Inputs that were conflated away, and inputs that were refused, since the beginning.
    pub fn counts(&self) -> (u64, u64) {
        (self.conflated, self.refused)
    }

    /// Takes an input.
    pub fn offer(&mut self, input: Input) -> Offered {
        match input {
            Input::Market(market) => self.offer_market(market),
            other if self.waiting >= 2 * self.capacity => {
                drop(other);
                self.refused += 1;
                Offered::Full
            }
            other => {
                self.push(other);
                Offered::Accepted
            }
        }
    }

    /// Gives out the oldest input.
    pub fn pop(&mut self) -> Option<Input> {
        while let Some(slot) = self.queue.pop_front() {
            let at = self.front;
            self.front += 1;
            if let Some(input) = slot {
                self.waiting -= 1;
                self.forget(&input, at);
                return Some(input);
            }
        }
        // Drained: what was refused may flow again.
        let symbol = self.overflowed.pop_first()?;
        Some(Input::Stream(StreamState::MarketUp(symbol)))
    }

    fn offer_market(&mut self, input: MarketInput) -> Offered {
        let symbol = input.symbol;
        if self.newest.len() <= symbol.ix() {
            self.newest.resize(symbol.ix() + 1, Newest::default());
        }
        if let Some(merged) = self.conflate(&input) {
            self.conflated += 1;
            self.push_market(merged);
            return Offered::Conflated;
        }
        if self.waiting >= self.capacity {
            self.refused += 1;
            if self.overflowed.insert(symbol) {
                self.push(Input::Stream(StreamState::MarketDown(symbol, StreamFault::Overflow)));
            }
            if matches!(input.event, MarketEvent::BookDelta(_) | MarketEvent::BookReset(_)) {
                // The chain is broken from here on; the book says so itself at the next delta.
                self.newest[symbol.ix()].delta = None;
            }
            return Offered::Full;
        }
        self.push_market(input);
        Offered::Accepted
    }

    /// Takes out the waiting input that `input` conflates with; returns what waits instead.
    fn conflate(&mut self, input: &MarketInput) -> Option<MarketInput> {
        let newest = self.newest[input.symbol.ix()];
        let at = match &input.event {
            MarketEvent::Quote(_) => newest.quote?,
            MarketEvent::Mark(_) => newest.mark?,
            MarketEvent::BookDelta(_) => newest.delta?,
            _ => return None,
        };
        let slot = usize::try_from(at.checked_sub(self.front)?).ok()?;
        let old = self.queue.get_mut(slot)?.take()?;
        self.waiting -= 1;
        let (Input::Market(old), MarketEvent::BookDelta(new)) = (old, &input.event) else { return Some(input.clone()) };
        match old.event {
            MarketEvent::BookDelta(mut levels) => {
                merge(&mut levels, new);
                Some(MarketInput { event: MarketEvent::BookDelta(levels), ..input.clone() })
            }
            _ => Some(input.clone()),
        }
    }

    fn push_market(&mut self, input: MarketInput) {
        let at = self.front + self.queue.len() as u64;
        let newest = &mut self.newest[input.symbol.ix()];
        match &input.event {
            MarketEvent::Quote(_) => newest.quote = Some(at),
            MarketEvent::Mark(_) => newest.mark = Some(at),
            MarketEvent::BookDelta(_) => newest.delta = Some(at),
            // A delta after a reset or a gap belongs to another chain than one before it.
            MarketEvent::BookReset(_) | MarketEvent::BookGap => newest.delta = None,
            MarketEvent::Trade(_) | MarketEvent::AggTrade(_) | MarketEvent::Candle(_) => {}
        }
        self.push(Input::Market(input));
    }

    fn push(&mut self, input: Input) {
        self.queue.push_back(Some(input));
        self.waiting += 1;
    }

    fn forget(&mut self, input: &Input, at: u64) {
        let Input::Market(market) = input else { return };
        let Some(newest) = self.newest.get_mut(market.symbol.ix()) else { return };
        let slot = match &market.event {
            MarketEvent::Quote(_) => &mut newest.quote,
            MarketEvent::Mark(_) => &mut newest.mark,
            MarketEvent::BookDelta(_) => &mut newest.delta,
            _ => return,
        };
        if *slot == Some(at) {
            *slot = None;
        }
    }
}

/// Merges a later diff into an earlier one of the same chain.
fn merge(levels: &mut BookLevels, later: &BookLevels) {
    levels.last_id = later.last_id;
    merge_side(&mut levels.bids, &later.bids);
    merge_side(&mut levels.asks, &later.asks);
}

fn merge_side(levels: &mut Vec<Level>, later: &[Level]) {
    let mut by_price: BTreeMap<Price, Quantity> = levels.drain(..).map(|l| (l.price, l.quantity)).collect();
    by_price.extend(later.iter().map(|l| (l.price, l.quantity)));
    levels.extend(by_price.into_iter().map(|(price, quantity)| Level { price, quantity }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Markets;
    use crate::id::TradeId;
    use crate::market::{Quote, Trade};
    use crate::num::Side;
    use crate::time::Ts;
    use proptest::prelude::*;

    fn market(event: MarketEvent) -> Input {
        Input::Market(MarketInput {
            symbol: SymbolIx(0),
            exchange_time: Ts::ZERO,
            receive_time: Ts::ZERO,
            derived: false,
            event,
        })
    }

    fn quote(update_id: u64) -> Input {
        let (bid, ask) = (Price::from_mantissa(10), Price::from_mantissa(11));
        let quantity = Quantity::from_mantissa(1).expect("positive");
        market(MarketEvent::Quote(Quote { update_id, bid, bid_quantity: quantity, ask, ask_quantity: quantity }))
    }

    fn trade(id: i64) -> Input {
        let (price, quantity) = (Price::from_mantissa(10), Quantity::from_mantissa(1).expect("positive"));
        market(MarketEvent::Trade(Trade { id: TradeId(id), price, quantity, aggressor: Side::Buy, on_book: true }))
    }

    fn delta(id: u64, changes: &[(bool, i64, i64)]) -> Input {
        let side = |bid: bool| {
            let mine = changes.iter().filter(|(b, ..)| *b == bid);
            let level = |(_, p, q): &(bool, i64, i64)| Level {
                price: Price::from_mantissa(if bid { 100 - p } else { 101 + p }),
                quantity: Quantity::from_mantissa(*q).expect("positive"),
            };
            mine.map(level).collect()
        };
        let (bids, asks) = (side(true), side(false));
        market(MarketEvent::BookDelta(Box::new(BookLevels {
            first_id: id,
            last_id: id,
            previous_id: id - 1,
            bids,
            asks,
        })))
    }

    #[test]
    fn only_the_newest_quote_waits_and_no_trade_is_lost() {
        let mut inbox = Inbox::new(100);
        assert_eq!(inbox.offer(quote(1)), Offered::Accepted);
        assert_eq!(inbox.offer(trade(1)), Offered::Accepted);
        assert_eq!(inbox.offer(quote(2)), Offered::Conflated);
        assert_eq!(inbox.offer(trade(2)), Offered::Accepted);
        let out: Vec<Input> = std::iter::from_fn(|| inbox.pop()).collect();
        assert_eq!(out, [trade(1), quote(2), trade(2)]);
        assert_eq!(inbox.offer(quote(3)), Offered::Accepted);
    }

    #[test]
    fn a_full_queue_tells_that_the_symbol_is_down_and_later_up_again() {
        let mut inbox = Inbox::new(16);
        for id in 0..16 {
            assert_eq!(inbox.offer(trade(id)), Offered::Accepted);
        }
        assert_eq!(inbox.offer(trade(16)), Offered::Full);
        assert_eq!(inbox.offer(trade(17)), Offered::Full);
        assert_eq!(inbox.offer(Input::Start { epoch: 1 }), Offered::Accepted);
        let out: Vec<Input> = std::iter::from_fn(|| inbox.pop()).collect();
        assert_eq!(out.len(), 19);
        assert_eq!(out[16], Input::Stream(StreamState::MarketDown(SymbolIx(0), StreamFault::Overflow)));
        assert_eq!(out[17], Input::Start { epoch: 1 });
        assert_eq!(out[18], Input::Stream(StreamState::MarketUp(SymbolIx(0))));
    }

    proptest! {
        /// Whatever is merged, the book ends up the same.
        #[test]
        fn merged_deltas_make_the_same_book(
            diffs in prop::collection::vec(prop::collection::vec((any::<bool>(), 0i64..30, 0i64..5), 0..8), 1..40),
            pops in prop::collection::vec(any::<bool>(), 40),
        ) {
            let reset = BookLevels { first_id: 100, last_id: 100, previous_id: 0, bids: Vec::new(), asks: Vec::new() };
            let reset = market(MarketEvent::BookReset(Box::new(reset)));
            let (mut plain, mut merged) = (Markets::default(), Markets::default());
            let apply = |markets: &mut Markets, input: &Input| {
                if let Input::Market(market) = input { markets.apply(market); }
            };
            let mut inbox = Inbox::new(1000);
            inbox.offer(reset.clone());
            apply(&mut plain, &reset);
            for (at, changes) in diffs.iter().enumerate() {
                // The first diff spans the snapshot's id.
                let input = delta(100 + at as u64, changes);
                apply(&mut plain, &input);
                inbox.offer(input);
                if pops[at] && let Some(input) = inbox.pop() {
                    apply(&mut merged, &input);
                }
            }
            while let Some(input) = inbox.pop() {
                apply(&mut merged, &input);
            }
            let book = |markets: &Markets| {
                let book = &markets.market(SymbolIx(0)).book;
                (book.bids().collect::<Vec<_>>(), book.asks().collect::<Vec<_>>(), book.last_update_id())
            };
            prop_assert_eq!(book(&plain), book(&merged));
        }
    }
}
