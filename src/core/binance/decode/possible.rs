//! Numbers that parse and cannot be: what they would do to books, candles and strategies is worse than a frame that is missing.

use super::{DecodeError, Problem};
use crate::instrument::Instrument;
use crate::market::{MarketEvent, MarketInput};
use crate::num::Price;
use crate::time::{Span, Ts};

/// Further ahead of our clock nothing of the exchange can be. What is behind is late, which the engine bears.
const AHEAD_MAX: Span = Span::from_secs(24 * 3600);
/// A time of receipt before this (2001) was never measured, and bounds nothing.
const MEASURED_FROM: Ts = Ts::from_millis(978_307_200_000);

/// Whether a time of the exchange can have come.
#[inline]
fn in_time(at: Ts, receive_time: Ts) -> bool {
    receive_time < MEASURED_FROM || at <= receive_time.plus(AHEAD_MAX)
}

/// Whether a market event can be.
#[inline]
pub(super) fn is_possible(input: &MarketInput) -> bool {
    let some = |price: Price| price.mantissa() > 0;
    in_time(input.exchange_time, input.receive_time)
        && match &input.event {
            // Trades beside the book (insurance fund, auto-deleveraging) come without price and quantity.
            MarketEvent::Trade(trade) => !trade.on_book || some(trade.price),
            MarketEvent::AggTrade(trade) => some(trade.price),
            // A side without orders has price 0.
            MarketEvent::Quote(quote) => quote.bid.mantissa() >= 0 && quote.ask.mantissa() >= 0,
            MarketEvent::BookDelta(levels) | MarketEvent::BookReset(levels) => {
                levels.bids.iter().chain(&levels.asks).all(|level| some(level.price))
            }
            MarketEvent::Mark(mark) => some(mark.mark_price),
            MarketEvent::Candle(candle) => {
                in_time(candle.open_time, input.receive_time)
                    && [candle.open, candle.high, candle.low, candle.close].into_iter().all(some)
            }
            MarketEvent::BookGap => true,
        }
}

/// Says what of an impossible event cannot be.
pub(super) fn refuse(kind: &str, instrument: &Instrument, input: &MarketInput) -> DecodeError {
    if !in_time(input.exchange_time, input.receive_time) {
        return DecodeError::new(kind, "E", &input.exchange_time.millis().to_string(), Problem::Ahead);
    }
    let price = match &input.event {
        MarketEvent::Trade(trade) => Some(("p", trade.price)),
        MarketEvent::AggTrade(trade) => Some(("p", trade.price)),
        MarketEvent::Mark(mark) => Some(("p", mark.mark_price)),
        MarketEvent::Quote(quote) if quote.bid.mantissa() < 0 => Some(("b", quote.bid)),
        MarketEvent::Quote(quote) => Some(("a", quote.ask)),
        MarketEvent::BookDelta(levels) | MarketEvent::BookReset(levels) => {
            let mut levels = levels.bids.iter().chain(&levels.asks);
            levels.find(|level| level.price.mantissa() <= 0).map(|level| ("b/a", level.price))
        }
        MarketEvent::Candle(_) | MarketEvent::BookGap => None,
    };
    match price {
        Some((field, price)) => DecodeError::new(kind, field, &instrument.price_text(price), Problem::NotPositive),
        None => DecodeError::new(kind, "k", "", Problem::NotPositive),
    }
}
