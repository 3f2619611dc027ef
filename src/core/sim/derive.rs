//! What a recording lacks, derived from its trades and marked `derived`: mark prices and closed candles.
//!
//! Mark price = index price = last trade on the book, funding rate zero, next funding unknown: a stand-in for equity and
//! triggers, not for funding. Where real marks or real candles of the same interval appear, deriving them stops.

use crate::candle::{CandleBuilder, CandleError, CandleEvent, check_interval};
use crate::id::SymbolIx;
use crate::instrument::{Instrument, Universe};
use crate::market::{Mark, MarketEvent, MarketInput};
use crate::num::{Price, Rate};
use crate::time::{Span, Ts};
use std::collections::BTreeMap;

/// What to derive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeriveParams {
    /// Time between two mark prices; `None`: no mark prices.
    pub marks: Option<Span>,
    /// Intervals of the candles: whole seconds that divide a day.
    pub candles: Vec<Span>,
}

impl DeriveParams {
    /// Nothing.
    pub const NOTHING: DeriveParams = DeriveParams { marks: None, candles: Vec::new() };
}

/// A trade may be told this much later than other events of its time; candles wait for it.
const GRACE: Span = Span::from_millis(250);

/// Derives events of any number of symbols.
#[derive(Debug, Clone)]
pub struct Deriver {
    params: DeriveParams,
    symbols: BTreeMap<SymbolIx, Symbol>,
}

#[derive(Debug, Clone)]
struct Symbol {
    /// Price of the last trade on the book.
    last: Option<Price>,
    /// Real mark prices exist.
    real_marks: bool,
    next_mark: Ts,
    builders: Vec<CandleBuilder>,
}

impl Deriver {
    /// A deriver that has seen nothing.
    pub fn new(params: DeriveParams) -> Result<Deriver, CandleError> {
        params.candles.iter().try_for_each(|&interval| check_interval(interval))?;
        Ok(Deriver { params, symbols: BTreeMap::new() })
    }

    /// Takes the next event of the recording and hands on, in order, what became due before it, then the event itself.
    pub fn admit(&mut self, input: MarketInput, universe: &Universe, out: &mut impl Extend<MarketInput>) {
        let Some(instrument) = universe.instrument(input.symbol) else {
            return out.extend([input]);
        };
        let params = &self.params;
        let symbol = self.symbols.entry(input.symbol).or_insert_with(|| Symbol::new(params, instrument, &input));
        symbol.note_real(&input);
        let derived = |exchange_time, event| MarketInput { exchange_time, derived: true, event, ..input.clone() };
        let due = symbol.due(&input, instrument, params.marks);
        out.extend(due.into_iter().map(|(time, event)| derived(time, event)));
        if let MarketEvent::Trade(trade) = &input.event
            && trade.on_book
        {
            symbol.last = Some(trade.price);
        }
        out.extend([input]);
    }
}

impl Symbol {
    fn new(params: &DeriveParams, instrument: &Instrument, first: &MarketInput) -> Symbol {
        // The intervals were checked; one that cannot be built has no builder.
        let mut builders: Vec<CandleBuilder> =
            params.candles.iter().filter_map(|&interval| CandleBuilder::new(instrument, interval).ok()).collect();
        builders.iter_mut().for_each(|builder| builder.complete_from(first.exchange_time));
        Symbol { last: None, real_marks: false, next_mark: Ts::ZERO, builders }
    }

    fn note_real(&mut self, input: &MarketInput) {
        match &input.event {
            MarketEvent::Mark(_) if !input.derived => self.real_marks = true,
            MarketEvent::Candle(candle) if !input.derived => self.builders.retain(|b| b.interval() != candle.interval),
            _ => {}
        }
    }

    /// What is due before this event: closed candles by their end, then the newest mark price.
    fn due(&mut self, input: &MarketInput, instrument: &Instrument, marks: Option<Span>) -> Vec<(Ts, MarketEvent)> {
        let now = input.exchange_time;
        let mut closed = Vec::new();
        for builder in &mut self.builders {
            match &input.event {
                // A sum that does not fit interrupts the builder: the candle is missing, nothing else.
                MarketEvent::Trade(trade) => {
                    let _ = builder.on_trade(instrument, now, trade, &mut closed);
                }
                _ => builder.close_until(Ts::from_nanos(now.nanos().saturating_sub(GRACE.nanos())), &mut closed),
            }
        }
        let candle = |event| match event {
            CandleEvent::Closed(candle) => Some((candle.close_time(), MarketEvent::Candle(Box::new(candle)))),
            CandleEvent::Hole { .. } => None,
        };
        let mut due: Vec<(Ts, MarketEvent)> = closed.into_iter().filter_map(candle).collect();
        due.sort_by_key(|(time, _)| *time);
        if let (Some(interval), Some(price), false) = (marks, self.last, self.real_marks)
            && now >= self.next_mark
        {
            let boundary = now.floor(interval);
            self.next_mark = boundary.plus(interval);
            let (mark_price, index_price) = (price, price);
            let mark = Mark { mark_price, index_price, funding_rate: Rate::ZERO, next_funding: Ts::ZERO };
            due.push((boundary, MarketEvent::Mark(mark)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::instruments;
    use crate::id::TradeId;
    use crate::market::{Candle, Trade};
    use crate::num::{Quantity, Side};

    fn input(millis: i64, event: MarketEvent) -> MarketInput {
        let time = Ts::from_millis(millis);
        MarketInput { symbol: SymbolIx(0), exchange_time: time, receive_time: time, derived: false, event }
    }

    fn trade(millis: i64, price: i64, lots: i64, aggressor: Side) -> MarketInput {
        let trade = Trade {
            id: TradeId(millis),
            price: Price::from_mantissa(price * 100_000_000),
            quantity: Quantity::from_mantissa(lots).expect("positive"),
            aggressor,
            on_book: true,
        };
        input(millis, MarketEvent::Trade(trade))
    }

    fn run(events: Vec<MarketInput>) -> Vec<MarketInput> {
        let universe = instruments::builtin_universe().expect("embedded");
        let second = Span::from_secs(1);
        let mut deriver =
            Deriver::new(DeriveParams { marks: Some(second), candles: vec![second] }).expect("seconds divide a day");
        let mut out = Vec::new();
        events.into_iter().for_each(|e| deriver.admit(e, &universe, &mut out));
        out.retain(|i| i.derived);
        out
    }

    #[test]
    fn candles_close_with_the_next_second_and_the_first_part_is_dropped() {
        use Side::{Buy, Sell};
        let out = run(vec![
            trade(10_500, 100, 1, Buy),
            trade(11_000, 101, 2, Buy),
            trade(11_900, 99, 3, Sell),
            trade(14_100, 98, 1, Sell),
        ]);
        let candles: Vec<Candle> = out
            .iter()
            .filter_map(|i| match &i.event {
                MarketEvent::Candle(c) => Some(**c),
                _ => None,
            })
            .collect();
        let facts: Vec<_> = candles
            .iter()
            .map(|c| {
                let unit = 100_000_000;
                let prices = [c.open, c.high, c.low, c.close].map(|p| p.mantissa() / unit);
                (c.open_time.seconds(), prices, c.volume.mantissa(), c.taker_buy_volume.mantissa(), c.trades)
            })
            .collect();
        assert_eq!(
            facts,
            [(11, [101, 101, 99, 99], 5, 2, 2), (12, [99; 4], 0, 0, 0), (13, [99; 4], 0, 0, 0)],
            "10 is incomplete, 14 not over"
        );
        assert_eq!(candles[0].quote_volume.to_string(), "0.499");
    }

    #[test]
    fn marks_follow_the_last_trade_once_a_second_until_real_ones_come() {
        let mark = Mark {
            mark_price: Price::from_mantissa(7),
            index_price: Price::from_mantissa(7),
            funding_rate: Rate::ZERO,
            next_funding: Ts::ZERO,
        };
        let events = vec![
            trade(10_100, 100, 1, Side::Buy),
            trade(10_200, 101, 1, Side::Buy),
            trade(11_001, 102, 1, Side::Buy),
            trade(11_002, 103, 1, Side::Buy),
            input(12_000, MarketEvent::Mark(mark)),
            trade(13_002, 104, 1, Side::Buy),
        ];
        let marks: Vec<_> = run(events)
            .into_iter()
            .filter_map(|i| match i.event {
                MarketEvent::Mark(m) => Some((i.exchange_time.millis(), m.mark_price.mantissa() / 100_000_000)),
                _ => None,
            })
            .collect();
        assert_eq!(marks, [(10_000, 100), (11_000, 101)]);
    }
}
