//! Candles from trades.

use super::{CandleError, CandleEvent, Series, check_interval};
use crate::id::AssetIx;
use crate::instrument::Instrument;
use crate::market::{AggTrade, Candle, Trade};
use crate::num::{Money, NumError, Price, Quantity, Side};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// The most flat candles made for one silence; a longer silence is a hole.
const FLAT_MAX: i64 = 1_440;

/// What became of a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TradeOutcome {
    /// It is in the growing candle.
    Taken,
    /// Its interval is over: dropped, candles are never reopened.
    Late,
    /// Not a trade of the book, or its price is not positive: it makes no candle.
    NotOnBook,
}

/// Builds the candles of one symbol and interval from its trades, by event time.
///
/// A candle closes when a trade of a later interval arrives, or by [`CandleBuilder::close_until`]. Only intervals
/// of which every trade was seen are emitted: those that open at [`CandleBuilder::complete_from`] or later; when that is never
/// said, those after the interval of the first trade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandleBuilder {
    interval: Span,
    quote: AssetIx,
    series: Series,
    /// The interval that trades fall into: its start. `None` before the first trade.
    running: Option<Ts>,
    /// From here on no trade was missed; `None` when that is not known.
    complete_from: Option<Ts>,
    /// Price of the newest trade, and when it was the newest: what flat candles carry forward.
    last: Option<(Ts, Price)>,
    growing: Option<Candle>,
}

impl CandleBuilder {
    /// A builder of candles of `interval` for one instrument.
    pub fn new(instrument: &Instrument, interval: Span) -> Result<CandleBuilder, CandleError> {
        check_interval(interval)?;
        Ok(CandleBuilder {
            interval,
            quote: instrument.quote,
            series: Series::default(),
            running: None,
            complete_from: None,
            last: None,
            growing: None,
        })
    }

    /// The interval.
    pub fn interval(&self) -> Span {
        self.interval
    }

    /// The growing candle: the trades seen so far of the running interval, `None` when there are none. Its beginning may be
    /// missing.
    pub fn growing(&self) -> Option<&Candle> {
        self.growing.as_ref()
    }

    /// Every trade from `at` on is seen: the stream came up.
    pub fn complete_from(&mut self, at: Ts) {
        self.complete_from = Some(at);
    }

    /// Trades were lost: the running interval is not emitted, and none until the stream is complete again, which
    /// [`CandleBuilder::complete_from`] or the next trade tells.
    pub fn interrupt(&mut self) {
        self.complete_from = None;
        self.growing = None;
        self.last = None;
    }

    /// Goes on after the newest candle of a warm-up: a hole after it is told, flat candles carry its close forward. Ignored
    /// when the builder is farther already.
    pub fn continue_after(&mut self, candle: &Candle) {
        let next = candle.close_time();
        if candle.interval != self.interval || self.series.is_past(candle.open_time) {
            return;
        }
        self.series.continue_after(candle);
        if self.running.is_none_or(|running| running < next) {
            self.running = Some(next);
            self.growing = None;
            self.last = Some((next, candle.close));
        }
    }

    /// Takes a trade with its event time.
    pub fn on_trade(
        &mut self,
        instrument: &Instrument,
        time: Ts,
        trade: &Trade,
        out: &mut Vec<CandleEvent>,
    ) -> Result<TradeOutcome, CandleError> {
        if !trade.on_book {
            return Ok(TradeOutcome::NotOnBook);
        }
        let part = Part { price: trade.price, quantity: trade.quantity, aggressor: trade.aggressor, trades: 1 };
        self.take(instrument, time, part, out)
    }

    /// Takes an aggregated trade with its event time.
    pub fn on_agg_trade(
        &mut self,
        instrument: &Instrument,
        time: Ts,
        trade: &AggTrade,
        out: &mut Vec<CandleEvent>,
    ) -> Result<TradeOutcome, CandleError> {
        let trades = trade.last.0.saturating_sub(trade.first.0).saturating_add(1);
        let trades = u32::try_from(trades.max(1)).unwrap_or(u32::MAX);
        let part = Part { price: trade.price, quantity: trade.quantity, aggressor: trade.aggressor, trades };
        self.take(instrument, time, part, out)
    }

    /// Closes every interval that is over at `now`. The caller subtracts what trades may still be on their way: a trade that
    /// comes after the close of its interval is lost to the candle.
    pub fn close_until(&mut self, now: Ts, out: &mut Vec<CandleEvent>) {
        let (Some(running), target) = (self.running, now.floor(self.interval)) else {
            return;
        };
        if running >= target {
            return;
        }
        let mut open = running;
        if let Some(candle) = self.growing.take() {
            if self.is_complete(open) {
                self.series.emit(Candle { closed: true, ..candle }, out);
            }
            open = candle.close_time();
        }
        if target.since(open).nanos() / self.interval.nanos() <= FLAT_MAX {
            while open < target {
                open = self.emit_flat(open, out);
            }
        }
        self.running = Some(target);
    }

    /// Emits the candle of an interval without trades, if it is known that there were none; returns its end.
    fn emit_flat(&mut self, open_time: Ts, out: &mut Vec<CandleEvent>) -> Ts {
        // A trade between the newest one known and the point from which all are seen would have set another price.
        let unbroken = |&(known_at, _): &(Ts, Price)| self.complete_from.is_some_and(|from| from <= known_at);
        if let Some((_, close)) = self.last.filter(unbroken).filter(|_| self.is_complete(open_time)) {
            let nothing = Part { price: close, quantity: Quantity::ZERO, aggressor: Side::Buy, trades: 0 };
            let flat = nothing.candle(self.interval, open_time, Money::zero(self.quote));
            self.series.emit(Candle { closed: true, ..flat }, out);
        }
        open_time.plus(self.interval)
    }

    fn is_complete(&self, open_time: Ts) -> bool {
        self.complete_from.is_some_and(|from| from <= open_time) && !self.series.is_past(open_time)
    }

    fn take(
        &mut self,
        instrument: &Instrument,
        time: Ts,
        part: Part,
        out: &mut Vec<CandleEvent>,
    ) -> Result<TradeOutcome, CandleError> {
        if part.price.mantissa() <= 0 {
            return Ok(TradeOutcome::NotOnBook);
        }
        let open_time = time.max(Ts::ZERO).floor(self.interval);
        if time < Ts::ZERO || self.running.is_some_and(|running| open_time < running) {
            return Ok(TradeOutcome::Late);
        }
        self.close_until(time, out);
        self.running = Some(open_time);
        // Before the first trade that is seen there may be others, even of the same time.
        let seen_at = if self.complete_from.is_some() { time } else { time.plus(Span::from_nanos(1)) };
        self.complete_from = self.complete_from.or(Some(seen_at));
        let value = instrument.notional(part.price, part.quantity)?;
        let grown = match &self.growing {
            Some(candle) => part.add_to(candle, value),
            None => Ok(part.candle(self.interval, open_time, value)),
        };
        match grown {
            Ok(candle) => {
                self.growing = Some(candle);
                self.last = Some((seen_at, part.price));
                Ok(TradeOutcome::Taken)
            }
            Err(error) => {
                self.interrupt();
                Err(error.into())
            }
        }
    }
}

/// What a candle takes from a trade.
struct Part {
    price: Price,
    quantity: Quantity,
    aggressor: Side,
    trades: u32,
}

impl Part {
    fn taker_buy(&self) -> Quantity {
        match self.aggressor {
            Side::Buy => self.quantity,
            Side::Sell => Quantity::ZERO,
        }
    }

    fn candle(&self, interval: Span, open_time: Ts, value: Money) -> Candle {
        Candle {
            interval,
            open_time,
            open: self.price,
            high: self.price,
            low: self.price,
            close: self.price,
            volume: self.quantity,
            quote_volume: value,
            taker_buy_volume: self.taker_buy(),
            trades: self.trades,
            closed: false,
        }
    }

    fn add_to(&self, candle: &Candle, value: Money) -> Result<Candle, NumError> {
        Ok(Candle {
            high: candle.high.max(self.price),
            low: candle.low.min(self.price),
            close: self.price,
            volume: candle.volume.checked_add(self.quantity).ok_or(NumError::Overflow)?,
            quote_volume: candle.quote_volume.checked_add(value)?,
            taker_buy_volume: candle.taker_buy_volume.checked_add(self.taker_buy()).ok_or(NumError::Overflow)?,
            trades: candle.trades.saturating_add(self.trades),
            ..*candle
        })
    }
}
