//! The bounded queue in front of an engine. What may conflate does so here, *before* admission, so what is journaled is what decided.
//!
//! * Quotes and marks: only the newest of a symbol waits. * Book deltas of a symbol are merged level by level (first `U` and
//!   `pu`, last `u`). * Trades, candles, reports, answers, commands never conflate: market data that finds the queue full
//!   is refused and its symbol marked down; everything else has a reserve of its own, and halts are never refused.
//!
//! Who says that such a symbol is up again: this queue once it has drained, unless its session said that it is down; but where
//! book data was refused, only the session, when its new snapshot is bridged.

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

/// Levels of a waiting delta's side beyond which another one waits beside it: merging costs as much as there are levels.
const MERGED_MAX: usize = 4096;

/// What was refused of a symbol that is told to be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    /// No book data: it is up again when the queue has drained.
    Events,
    /// Book data: its chain is cut, and until it begins anew nobody can say that the symbol is up.
    Chain,
    /// Book data, and the chain began anew: its session says when it is up.
    Begun,
}

/// Where the newest conflatable inputs of a symbol wait, as absolute positions.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    quote: Option<u64>,
    mark: Option<u64>,
    delta: Option<u64>,
}

impl Newest {
    /// Where the newest input of this kind waits; `None` for kinds that never conflate.
    fn of(&mut self, event: &MarketEvent) -> Option<&mut Option<u64>> {
        match event {
            MarketEvent::Quote(_) => Some(&mut self.quote),
            MarketEvent::Mark(_) => Some(&mut self.mark),
            MarketEvent::BookDelta(_) => Some(&mut self.delta),
            _ => None,
        }
    }

    /// Notes that an input waits at a position, behind all others.
    fn note(&mut self, event: &MarketEvent, at: u64) {
        if let Some(newest) = self.of(event) {
            *newest = Some(at);
        } else if matches!(event, MarketEvent::BookReset(_) | MarketEvent::BookGap) {
            // A delta after a reset or a gap belongs to another chain than one before it.
            self.delta = None;
        }
    }
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
    /// Symbols whose market data was refused.
    overflowed: BTreeMap<SymbolIx, Overflow>,
    /// Symbols that are down by the word of their session.
    down: BTreeSet<SymbolIx>,
    /// Last words of sessions that found no room.
    unsaid: BTreeMap<SymbolIx, StreamState>,
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
            overflowed: BTreeMap::new(),
            down: BTreeSet::new(),
            unsaid: BTreeMap::new(),
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
            Input::Stream(state) => self.offer_state(state),
            // Few, said once, and each lowers risk: they are never refused.
            word @ (Input::Halt { .. } | Input::GiveUp(_)) => {
                self.push(word);
                Offered::Accepted
            }
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

    /// Notes that a symbol is down by another word than one that waits here.
    pub fn note_down(&mut self, symbol: SymbolIx) {
        self.down.insert(symbol);
    }

    fn offer_state(&mut self, state: StreamState) -> Offered {
        let symbol = match state {
            StreamState::MarketUp(symbol) => {
                self.down.remove(&symbol);
                match self.overflowed.get(&symbol) {
                    // Said before the session heard that its book is cut, it will say it again; or the queue will, drained.
                    Some(Overflow::Chain | Overflow::Events) => return Offered::Conflated,
                    Some(Overflow::Begun) => self.overflowed.remove(&symbol),
                    None => None,
                };
                Some(symbol)
            }
            StreamState::MarketDown(symbol, _) => {
                self.down.insert(symbol);
                Some(symbol)
            }
            StreamState::UserUp(_) | StreamState::UserDown(..) => None,
        };
        if self.waiting >= 2 * self.capacity {
            self.unsaid.extend(symbol.map(|symbol| (symbol, state)));
            self.refused += 1;
            return Offered::Full;
        }
        if let Some(symbol) = symbol {
            self.unsaid.remove(&symbol);
        }
        self.push(Input::Stream(state));
        Offered::Accepted
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
        if let Some((_, state)) = self.unsaid.pop_first() {
            return Some(Input::Stream(state));
        }
        loop {
            let (&symbol, _) = self.overflowed.iter().find(|(_, overflow)| **overflow == Overflow::Events)?;
            self.overflowed.remove(&symbol);
            if !self.down.contains(&symbol) {
                return Some(Input::Stream(StreamState::MarketUp(symbol)));
            }
        }
    }

    /// Market data of a symbol finds no room.
    fn refuse(&mut self, input: &MarketInput) -> Offered {
        let symbol = input.symbol;
        self.refused += 1;
        let book = matches!(input.event, MarketEvent::BookDelta(_) | MarketEvent::BookReset(_) | MarketEvent::BookGap);
        if book {
            // The chain is broken from here on; the book says so itself at the next delta.
            self.newest[symbol.ix()].delta = None;
        }
        let before = self.overflowed.get(&symbol).copied();
        let overflow = if book { Overflow::Chain } else { before.unwrap_or(Overflow::Events) };
        self.overflowed.insert(symbol, overflow);
        if before.is_none() {
            self.push(Input::Stream(StreamState::MarketDown(symbol, StreamFault::Overflow)));
        }
        Offered::Full
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
            return self.refuse(&input);
        }
        if matches!(input.event, MarketEvent::BookReset(_))
            && let Some(overflow @ Overflow::Chain) = self.overflowed.get_mut(&symbol)
        {
            *overflow = Overflow::Begun;
        }
        self.push_market(input);
        Offered::Accepted
    }

    /// Takes out the waiting input that `input` conflates with; returns what waits instead.
    fn conflate(&mut self, input: &MarketInput) -> Option<MarketInput> {
        let at = (*self.newest[input.symbol.ix()].of(&input.event)?)?;
        let slot = self.queue.get_mut(usize::try_from(at.checked_sub(self.front)?).ok()?)?;
        if let Some(Input::Market(MarketInput { event: MarketEvent::BookDelta(levels), .. })) = slot
            && levels.bids.len().max(levels.asks.len()) >= MERGED_MAX
        {
            return None;
        }
        let old = slot.take()?;
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
        self.newest[input.symbol.ix()].note(&input.event, at);
        self.push(Input::Market(input));
    }

    fn push(&mut self, input: Input) {
        self.queue.push_back(Some(input));
        self.waiting += 1;
        // What was conflated leaves its slot empty; while nobody pops, these must not pile up.
        if self.queue.len() > 2 * self.waiting.max(self.capacity) {
            self.compact();
        }
    }

    /// Takes out the empty slots. What waits keeps its order, and what may conflate with it stays the same.
    fn compact(&mut self) {
        let Inbox { queue, newest, front, .. } = self;
        let (mut from, mut to) = (*front, *front);
        queue.retain(|slot| {
            let at = from;
            from += 1;
            let Some(input) = slot else { return false };
            if let Input::Market(market) = input
                && let Some(newest) = newest.get_mut(market.symbol.ix()).and_then(|n| n.of(&market.event))
                && *newest == Some(at)
            {
                *newest = Some(to);
            }
            to += 1;
            true
        });
    }

    fn forget(&mut self, input: &Input, at: u64) {
        let Input::Market(market) = input else { return };
        let newest = self.newest.get_mut(market.symbol.ix()).and_then(|n| n.of(&market.event));
        if let Some(newest) = newest
            && *newest == Some(at)
        {
            *newest = None;
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
mod tests;
