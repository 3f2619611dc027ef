//! Market frames.

use super::{Object, decimal, price_text, quantity_text, quote_text};
use crate::binance::decode::market::interval_word;
use crate::instrument::Instrument;
use crate::market::{AggTrade, BookLevels, Candle, Level, Mark, MarketEvent, MarketInput, Quote, Trade};
use crate::num::{Money, Rate, Side};
use crate::time::{Span, Ts};
use std::fmt::Write;

/// Wraps a raw event as a combined stream does.
pub fn combined(stream: &str, event: &str) -> String {
    let mut out = String::with_capacity(stream.len() + event.len() + 24);
    out.push_str("{\"stream\":");
    quote_text(&mut out, stream);
    out.push_str(",\"data\":");
    out.push_str(event);
    out.push('}');
    out
}

/// Prints the raw frame of a market event. `false`: the event has none (snapshots are REST answers, gaps are not told).
pub fn market_event(out: &mut String, input: &MarketInput, i: &Instrument) -> bool {
    let time = input.exchange_time;
    match &input.event {
        MarketEvent::Quote(quote) => book_ticker(out, quote, i, time),
        MarketEvent::Trade(trade) => self::trade(out, trade, i, time),
        MarketEvent::AggTrade(trade) => agg_trade(out, trade, i, time),
        MarketEvent::BookDelta(levels) => depth_update(out, levels, i, time),
        MarketEvent::Mark(mark) => mark_price(out, mark, i, time),
        MarketEvent::Candle(candle) => kline(out, candle, i, time),
        MarketEvent::BookReset(_) | MarketEvent::BookGap => return false,
    }
    true
}

fn event<'a>(out: &'a mut String, kind: &str, time: Ts, i: &Instrument) -> Object<'a> {
    let mut o = Object::begin(out);
    o.word("e", kind).time("E", time).text("s", &i.name).text("ps", &i.name).int("st", 1);
    o
}

fn book_ticker(out: &mut String, quote: &Quote, i: &Instrument, time: Ts) {
    let mut o = event(out, "bookTicker", time, i);
    o.int("u", quote.update_id).time("T", time);
    o.price("b", i, quote.bid).quantity("B", i, quote.bid_quantity);
    o.price("a", i, quote.ask).quantity("A", i, quote.ask_quantity);
    o.end();
}

fn trade(out: &mut String, trade: &Trade, i: &Instrument, time: Ts) {
    let mut o = event(out, "trade", time, i);
    o.time("T", time).int("t", trade.id.0).price("p", i, trade.price).quantity("q", i, trade.quantity);
    o.word("X", if trade.on_book { "MARKET" } else { "NA" }).flag("m", trade.aggressor == Side::Sell);
    o.end();
}

fn agg_trade(out: &mut String, trade: &AggTrade, i: &Instrument, time: Ts) {
    let mut o = event(out, "aggTrade", time, i);
    o.int("a", trade.id).price("p", i, trade.price).quantity("q", i, trade.quantity);
    o.int("f", trade.first.0).int("l", trade.last.0).time("T", time).flag("m", trade.aggressor == Side::Sell);
    o.end();
}

fn depth_update(out: &mut String, levels: &BookLevels, i: &Instrument, time: Ts) {
    let mut o = event(out, "depthUpdate", time, i);
    o.time("T", time).int("U", levels.first_id).int("u", levels.last_id).int("pu", levels.previous_id);
    level_list(o.key("b"), &levels.bids, i);
    level_list(o.key("a"), &levels.asks, i);
    o.end();
}

/// A list of price and quantity.
pub(super) fn level_list(out: &mut String, levels: &[Level], i: &Instrument) {
    out.push('[');
    for (at, level) in levels.iter().enumerate() {
        out.push_str(if at == 0 { "[" } else { ",[" });
        price_text(out, i, level.price);
        out.push(',');
        quantity_text(out, i, level.quantity.mantissa());
        out.push(']');
    }
    out.push(']');
}

fn mark_price(out: &mut String, mark: &Mark, i: &Instrument, time: Ts) {
    let mut o = event(out, "markPriceUpdate", time, i);
    o.computed("p", i, mark.mark_price).computed("i", i, mark.index_price).computed("P", i, mark.mark_price);
    decimal(o.key("r"), mark.funding_rate.mantissa().into(), Rate::SCALE, 8);
    o.time("T", mark.next_funding);
    o.end();
}

fn kline(out: &mut String, candle: &Candle, i: &Instrument, time: Ts) {
    let mut o = event(out, "kline", time, i);
    let mut k = Object::begin(o.key("k"));
    k.time("t", candle.open_time).time("T", last_moment(candle)).text("s", &i.name);
    k.word("i", interval_word(candle.interval).unwrap_or("?")).int("f", -1).int("L", -1);
    k.price("o", i, candle.open).price("c", i, candle.close).price("h", i, candle.high).price("l", i, candle.low);
    k.quantity("v", i, candle.volume).int("n", candle.trades).flag("x", candle.closed).money("q", candle.quote_volume);
    k.quantity("V", i, candle.taker_buy_volume).money("Q", taker_value(candle)).word("B", "0");
    k.end();
    o.end();
}

/// One row of the answer to `klines`.
pub fn kline_row(out: &mut String, candle: &Candle, i: &Instrument) {
    let _ = write!(out, "[{}", candle.open_time.millis());
    for price in [candle.open, candle.high, candle.low, candle.close] {
        out.push(',');
        price_text(out, i, price);
    }
    out.push(',');
    quantity_text(out, i, candle.volume.mantissa());
    let _ = write!(out, ",{},", last_moment(candle).millis());
    decimal(out, candle.quote_volume.mantissa(), Money::SCALE, 8);
    let _ = write!(out, ",{},", candle.trades);
    quantity_text(out, i, candle.taker_buy_volume.mantissa());
    out.push(',');
    decimal(out, taker_value(candle).mantissa(), Money::SCALE, 8);
    out.push_str(",\"0\"]");
}

/// The last millisecond of the interval, which the exchange gives as its end.
fn last_moment(candle: &Candle) -> Ts {
    candle.close_time().plus(Span::from_millis(-1))
}

/// The takers' part of the traded value, in proportion: candles keep its quantity only.
fn taker_value(candle: &Candle) -> Money {
    let (part, whole) = (candle.taker_buy_volume.mantissa(), candle.volume.mantissa());
    let value = candle.quote_volume;
    let exact = value.mantissa().checked_mul(part.into()).and_then(|product| product.checked_div(whole.into()));
    Money::new(value.asset, exact.unwrap_or(0)).round_to(8, crate::num::Rounding::Down)
}
