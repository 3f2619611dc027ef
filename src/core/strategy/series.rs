//! The candles of one symbol and interval as a runner keeps them: made from trades until the venue's own klines come, each once and
//! in rising order of time, the newest of them at hand to warm up a fresh instance with.

use crate::candle::{CandleBuilder, CandleEvent, CandleFeed};
use crate::id::SymbolIx;
use crate::instrument::Instrument;
use crate::market::{Candle, Trade};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Trades may come this long after other events of the same time: only then is an interval closed without a later trade.
const GRACE: Span = Span::from_millis(500);

/// One series of candles.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Series {
    symbol: SymbolIx,
    slot: usize,
    interval: Span,
    warm_up: usize,
    /// Newest candles, oldest first: `warm_up` of them, one at least.
    kept: VecDeque<Candle>,
    /// End of the newest candle.
    end: Option<Ts>,
    /// Makes candles from trades; there from the first trade on.
    builder: Option<CandleBuilder>,
    /// The venue's klines; there from the first one on, and then trades are not looked at.
    feed: Option<CandleFeed>,
}

/// What became of a closed candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is the next one.
    Next,
    /// It is the first one after a hole as long as the whole warm-up: what was known before is forgotten.
    AfterHole,
    /// It is known already, or of another interval.
    Stale,
}

impl Series {
    pub(super) fn new(symbol: SymbolIx, interval: Span) -> Series {
        Series { symbol, slot: 0, interval, warm_up: 0, kept: VecDeque::new(), end: None, builder: None, feed: None }
    }

    /// The runner's number of the symbol, and how many candles a warm-up takes.
    pub(super) fn assign(&mut self, slot: usize, warm_up: u32) {
        (self.slot, self.warm_up) = (slot, warm_up as usize);
        self.forget_oldest();
        self.kept.reserve_exact(self.room() + 1 - self.kept.len());
    }

    pub(super) fn symbol(&self) -> SymbolIx {
        self.symbol
    }

    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    pub(super) fn interval(&self) -> Span {
        self.interval
    }

    pub(super) fn is_warm(&self) -> bool {
        self.kept.len() >= self.warm_up
    }

    /// The candles at hand, oldest first.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Candle> {
        self.kept.iter()
    }

    /// Trades were lost.
    pub(super) fn interrupt(&mut self) {
        if let Some(builder) = &mut self.builder {
            builder.interrupt();
        }
    }

    /// Takes a trade; what closes by it is pushed to `out`.
    pub(super) fn on_trade(&mut self, trade: &Trade, at: Ts, instrument: &Instrument, out: &mut Vec<CandleEvent>) {
        if self.feed.is_some() {
            return;
        }
        if self.builder.is_none() {
            // An interval that cannot be built from trades is waited for as klines.
            self.builder = CandleBuilder::new(instrument, self.interval).ok();
        }
        if let Some(builder) = &mut self.builder {
            // An error gives up the growing candle: a hole is told then.
            let _ = builder.on_trade(instrument, at, trade, out);
        }
    }

    /// Whether an interval is over for long enough to be closed without a trade.
    #[inline]
    pub(super) fn is_due(&self, at: Ts) -> bool {
        self.builder.is_some() && self.end.is_some_and(|end| at >= end.plus(self.interval).plus(GRACE))
    }

    /// Time passes, as any event of the symbol tells; what closes by it is pushed to `out`.
    pub(super) fn on_time(&mut self, at: Ts, out: &mut Vec<CandleEvent>) {
        if let Some(builder) = &mut self.builder {
            builder.close_until(Ts::from_nanos(at.nanos().saturating_sub(GRACE.nanos())), out);
        }
    }

    /// Takes a kline of the venue; what closes by it is pushed to `out`.
    pub(super) fn on_kline(&mut self, candle: &Candle, out: &mut Vec<CandleEvent>) {
        if candle.interval != self.interval {
            return;
        }
        if self.feed.is_none() {
            self.feed = CandleFeed::new(self.interval).ok();
            self.builder = None;
        }
        if let Some(feed) = &mut self.feed {
            feed.on_candle(candle, out);
        }
    }

    /// Takes a closed candle, live or past, that should be the next one.
    pub(super) fn take(&mut self, candle: &Candle) -> Taken {
        if !candle.closed || candle.interval != self.interval || self.end.is_some_and(|end| candle.open_time < end) {
            return Taken::Stale;
        }
        let after_hole = self.end.is_some_and(|end| self.is_hole(end, candle.open_time));
        if after_hole {
            self.kept.clear();
        }
        self.end = Some(candle.close_time());
        self.kept.push_back(*candle);
        self.forget_oldest();
        if after_hole { Taken::AfterHole } else { Taken::Next }
    }

    /// Puts past candles in order with those at hand.
    pub(super) fn merge(&mut self, past: &[Candle]) {
        let mut all: Vec<Candle> = self.kept.drain(..).collect();
        all.extend(past.iter().filter(|c| c.closed && c.interval == self.interval));
        // Stable: of two candles of one time the live one stays.
        all.sort_by_key(|c| c.open_time);
        all.dedup_by_key(|c| c.open_time);
        self.end = None;
        for candle in &all {
            self.take(candle);
        }
    }

    /// Whether one of these belongs into a hole between the candles at hand.
    pub(super) fn misses(&self, past: &[Candle]) -> bool {
        let Some(first) = self.kept.front() else { return false };
        let within = |c: &&Candle| c.open_time > first.open_time && self.end.is_some_and(|end| c.open_time < end);
        let known = |c: &Candle| self.kept.iter().any(|kept| kept.open_time == c.open_time);
        past.iter().filter(within).any(|c| c.closed && c.interval == self.interval && !known(c))
    }

    fn is_hole(&self, end: Ts, open: Ts) -> bool {
        let warm_up = i64::try_from(self.room()).unwrap_or(i64::MAX);
        open.since(end).nanos() >= self.interval.nanos().saturating_mul(warm_up)
    }

    fn room(&self) -> usize {
        self.warm_up.max(1)
    }

    fn forget_oldest(&mut self) {
        while self.kept.len() > self.room() {
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::testkit::candle;
    use proptest::prelude::*;

    const SECOND: Span = Span::from_secs(1);

    fn opens(series: &Series) -> Vec<i64> {
        series.kept().map(|c| c.open_time.seconds()).collect()
    }

    #[test]
    fn live_candles_before_history_are_put_in_order_with_it() {
        let mut series = Series::new(SymbolIx(0), SECOND);
        series.assign(0, 4);
        for second in [10, 11] {
            assert_eq!(series.take(&candle(second, 100.0)), Taken::Next);
        }
        assert!(!series.is_warm());
        series.merge(&[7, 8, 9, 10].map(|s| candle(s, 50.0)));
        assert_eq!((opens(&series), series.is_warm()), (vec![8, 9, 10, 11], true));
        let closes: Vec<_> = series.kept().map(|c| c.close).collect();
        assert_eq!(closes[2], candle(10, 100.0).close, "the live candle wins");
    }

    #[test]
    fn a_hole_as_long_as_the_warm_up_makes_it_cold() {
        let mut series = Series::new(SymbolIx(0), SECOND);
        series.assign(0, 3);
        for second in 0..3 {
            series.take(&candle(second, 100.0));
        }
        assert_eq!(series.take(&candle(5, 100.0)), Taken::Next, "two candles are missing");
        assert_eq!(series.take(&candle(9, 100.0)), Taken::AfterHole);
        assert_eq!((opens(&series), series.is_warm()), (vec![9], false));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_comes_is_kept_once_and_in_order(
            times in prop::collection::vec(0i64..40, 0..60),
            past in prop::collection::vec(0i64..40, 0..40),
            warm_up in 0u32..10,
        ) {
            let mut series = Series::new(SymbolIx(0), SECOND);
            series.assign(0, warm_up);
            let mut last = None;
            for time in times {
                let taken = series.take(&candle(time, 100.0));
                prop_assert_eq!(taken == Taken::Stale, last.is_some_and(|last| time <= last));
                last = last.max(Some(time));
            }
            series.merge(&past.iter().map(|s| candle(*s, 100.0)).collect::<Vec<_>>());
            let kept = opens(&series);
            prop_assert!(kept.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(kept.len() <= warm_up.max(1) as usize);
            prop_assert_eq!(kept.last().copied(), last.max(past.iter().max().copied()));
        }
    }
}
