//! Paces a source of market events: their time is shifted to now and run through at a speed factor.
//!
//! Diffs pass as they are, unbatched, whatever depth speed was subscribed to. What the source lacks (mark prices, candles) is
//! derived from its trades and marked.

use crate::candle::CandleError;
use crate::instrument::Universe;
use crate::market::{MarketEvent, MarketInput};
use crate::sim::derive::{DeriveParams, Deriver};
use crate::time::{Span, Ts};
use std::collections::VecDeque;

/// A paced source.
pub struct Feed {
    source: Box<dyn Iterator<Item = MarketInput>>,
    deriver: Deriver,
    ready: VecDeque<MarketInput>,
    /// Where the source's time began, and what time that is here.
    origin: Option<(Ts, Ts)>,
    start: Ts,
    /// Thousandths: 1000 is the source's own speed.
    speed_permille: i64,
    last: Ts,
    ended: bool,
    held: bool,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("last", &self.last).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Feed {
    /// A source whose first event happens at `start`; `speed_permille` 1000 is its own speed, at least 1.
    pub fn new(
        source: impl Iterator<Item = MarketInput> + 'static,
        start: Ts,
        speed_permille: i64,
        derive: DeriveParams,
    ) -> Result<Feed, CandleError> {
        Ok(Feed {
            source: Box::new(source),
            deriver: Deriver::new(derive)?,
            ready: VecDeque::new(),
            origin: None,
            start,
            speed_permille: speed_permille.max(1),
            last: start,
            ended: false,
            held: false,
        })
    }

    /// Whether nothing will come any more.
    pub fn ended(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    /// Holds the market still, or lets it go on: what would have happened meanwhile then happens at once.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// When the next event happens, as far as it is known.
    pub fn next_time(&self) -> Option<Ts> {
        if self.held {
            return None;
        }
        match self.ready.front() {
            Some(event) => Some(event.exchange_time),
            None if self.ended => None,
            // Not read yet: look at once.
            None => Some(self.last),
        }
    }

    /// The next event that happens by `now`.
    pub fn next_until(&mut self, now: Ts, universe: &Universe) -> Option<MarketInput> {
        if self.held {
            return None;
        }
        while self.ready.is_empty() && !self.ended {
            match self.source.next() {
                None => self.ended = true,
                Some(event) => {
                    let event = self.shift(event);
                    self.deriver.admit(event, universe, &mut self.ready);
                }
            }
        }
        if self.ready.front()?.exchange_time > now {
            return None;
        }
        let event = self.ready.pop_front()?;
        self.last = self.last.max(event.exchange_time);
        Some(event)
    }

    fn shift(&mut self, mut event: MarketInput) -> MarketInput {
        let (theirs, ours) = *self.origin.get_or_insert((event.exchange_time, self.start));
        let speed = i128::from(self.speed_permille);
        let map = |at: Ts| {
            let nanos = i128::from(at.since(theirs).nanos()) * 1000 / speed;
            ours.plus(Span::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)))
        };
        // Whole milliseconds, as the wire has them; streams that overtake each other never go back in time.
        let at = Ts::from_millis(map(event.exchange_time).millis()).max(self.last);
        event.exchange_time = at;
        event.receive_time = at;
        self.last = at;
        match &mut event.event {
            MarketEvent::Mark(mark) if mark.next_funding > Ts::ZERO => mark.next_funding = map(mark.next_funding),
            MarketEvent::Candle(candle) => candle.open_time = map(candle.open_time),
            _ => {}
        }
        event
    }
}
