//! Market events by serde: the judge of what is right, and the way of the kinds that are not hot.

use super::fields::{Place, wire};
use super::possible::{is_possible, refuse};
use super::wire::{Reader, Scalar, Text};
use super::{DecodeError, Frame, Problem, parse};
use crate::id::TradeId;
use crate::instrument::{Instrument, Universe};
use crate::market::{AggTrade, BookLevels, Candle, Level, Mark, MarketEvent, MarketInput, Quote, Trade};
use crate::num::Side;
use crate::time::{Span, Ts};
use serde::Deserialize;

/// Decodes a market event; `None` when the kind is none of the market's.
pub(super) fn decode(
    kind: &str,
    body: &str,
    universe: &Universe,
    receive_time: Ts,
) -> Option<Result<Frame, DecodeError>> {
    let reader = |kind| Reader { kind, universe };
    let result = match kind {
        "bookTicker" => book_ticker(reader("bookTicker"), body),
        "trade" => trade(reader("trade"), body),
        "aggTrade" => agg_trade(reader("aggTrade"), body),
        "depthUpdate" => depth_update(reader("depthUpdate"), body),
        "markPriceUpdate" => mark_price(reader("markPriceUpdate"), body),
        "kline" => match parse("kline", body).and_then(|event| kline(reader("kline"), &event)) {
            Ok(None) => return Some(Ok(Frame::Unused("kline of a month"))),
            Ok(Some(parts)) => Ok(parts),
            Err(error) => Err(error),
        },
        _ => return None,
    };
    Some(result.and_then(|parts| frame(kind, parts, receive_time)))
}

fn frame(kind: &str, parts: Parts<'_>, receive_time: Ts) -> Result<Frame, DecodeError> {
    let (instrument, exchange_time, event) = parts;
    let symbol = instrument.symbol;
    let input = MarketInput { symbol, exchange_time, receive_time, derived: false, event };
    if is_possible(&input) { Ok(Frame::Market(input)) } else { Err(refuse(kind, instrument, &input)) }
}

type Parts<'u> = (&'u Instrument, Ts, MarketEvent);

/// The side of the taker, from "the buyer is the maker".
pub(super) const fn aggressor(buyer_is_maker: bool) -> Side {
    if buyer_is_maker { Side::Sell } else { Side::Buy }
}

/// Field names as on the wire.
#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(non_snake_case)]
struct BookTicker<'a> {
    #[serde(borrow)]
    u: Scalar<'a>,
    E: Scalar<'a>,
    T: Scalar<'a>,
    s: Text<'a>,
    b: Scalar<'a>,
    B: Scalar<'a>,
    a: Scalar<'a>,
    A: Scalar<'a>,
}

fn book_ticker<'u>(r: Reader<'u>, body: &str) -> Result<Parts<'u>, DecodeError> {
    let w: BookTicker<'_> = parse(r.kind, body)?;
    let i = r.instrument("s", &w.s)?;
    let quote = Quote {
        update_id: r.unsigned("u", w.u)?,
        bid: r.price(i, "b", w.b)?,
        bid_quantity: r.quantity(i, "B", w.B)?,
        ask: r.price(i, "a", w.a)?,
        ask_quantity: r.quantity(i, "A", w.A)?,
    };
    let time = if w.E.text().is_some() { r.time("E", w.E)? } else { r.time("T", w.T)? };
    Ok((i, time, MarketEvent::Quote(quote)))
}

/// Field names as on the wire.
#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(non_snake_case)]
struct TradeWire<'a> {
    #[serde(borrow)]
    E: Scalar<'a>,
    s: Text<'a>,
    t: Scalar<'a>,
    p: Scalar<'a>,
    q: Scalar<'a>,
    X: Scalar<'a>,
    m: Scalar<'a>,
    a: Scalar<'a>,
    f: Scalar<'a>,
    l: Scalar<'a>,
}

fn trade<'u>(r: Reader<'u>, body: &str) -> Result<Parts<'u>, DecodeError> {
    let w: TradeWire<'_> = parse(r.kind, body)?;
    let i = r.instrument("s", &w.s)?;
    let trade = Trade {
        id: TradeId(r.integer("t", w.t)?),
        price: r.price(i, "p", w.p)?,
        quantity: r.quantity(i, "q", w.q)?,
        aggressor: aggressor(r.flag("m", w.m)?),
        on_book: matches!(w.X.text(), None | Some("MARKET")),
    };
    Ok((i, r.time("E", w.E)?, MarketEvent::Trade(trade)))
}

fn agg_trade<'u>(r: Reader<'u>, body: &str) -> Result<Parts<'u>, DecodeError> {
    let w: TradeWire<'_> = parse(r.kind, body)?;
    let i = r.instrument("s", &w.s)?;
    let trade = AggTrade {
        id: r.integer("a", w.a)?,
        first: TradeId(r.integer("f", w.f)?),
        last: TradeId(r.integer("l", w.l)?),
        price: r.price(i, "p", w.p)?,
        quantity: r.quantity(i, "q", w.q)?,
        aggressor: aggressor(r.flag("m", w.m)?),
    };
    Ok((i, r.time("E", w.E)?, MarketEvent::AggTrade(trade)))
}

/// Field names as on the wire.
#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(non_snake_case)]
struct DepthUpdate<'a> {
    #[serde(borrow)]
    E: Scalar<'a>,
    s: Text<'a>,
    U: Scalar<'a>,
    u: Scalar<'a>,
    pu: Scalar<'a>,
    b: Vec<(Scalar<'a>, Scalar<'a>)>,
    a: Vec<(Scalar<'a>, Scalar<'a>)>,
}

fn depth_update<'u>(r: Reader<'u>, body: &str) -> Result<Parts<'u>, DecodeError> {
    let w: DepthUpdate<'_> = parse(r.kind, body)?;
    let i = r.instrument("s", &w.s)?;
    let levels = BookLevels {
        first_id: r.unsigned("U", w.U)?,
        last_id: r.unsigned("u", w.u)?,
        previous_id: r.unsigned("pu", w.pu)?,
        bids: levels(r, i, "b", &w.b)?,
        asks: levels(r, i, "a", &w.a)?,
    };
    Ok((i, r.time("E", w.E)?, MarketEvent::BookDelta(Box::new(levels))))
}

fn levels(
    r: Reader<'_>,
    i: &Instrument,
    field: &'static str,
    rows: &[(Scalar<'_>, Scalar<'_>)],
) -> Result<Vec<Level>, DecodeError> {
    let level = |&(price, quantity): &(Scalar<'_>, Scalar<'_>)| {
        Ok(Level { price: r.price(i, field, price)?, quantity: r.quantity(i, field, quantity)? })
    };
    rows.iter().map(level).collect()
}

/// Field names as on the wire.
#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(non_snake_case)]
struct MarkPrice<'a> {
    #[serde(borrow)]
    E: Scalar<'a>,
    s: Text<'a>,
    p: Scalar<'a>,
    i: Scalar<'a>,
    r: Scalar<'a>,
    T: Scalar<'a>,
}

fn mark_price<'u>(r: Reader<'u>, body: &str) -> Result<Parts<'u>, DecodeError> {
    let w: MarkPrice<'_> = parse(r.kind, body)?;
    let i = r.instrument("s", &w.s)?;
    let index_known = w.i.text().is_some();
    let mark = Mark {
        mark_price: r.computed_price(i, "p", w.p)?,
        index_price: if index_known { r.computed_price(i, "i", w.i)? } else { crate::num::Price::ZERO },
        funding_rate: r.rate_or_zero("r", w.r)?,
        next_funding: r.time("T", w.T)?,
    };
    Ok((i, r.time("E", w.E)?, MarketEvent::Mark(mark)))
}

wire! {
    struct KlineEvent<'a> { E: Scalar<'a>, s: Text<'a>, k: Kline<'a> }

    struct Kline<'a> {
        t: Scalar<'a>,
        i: Scalar<'a>,
        o: Scalar<'a>,
        c: Scalar<'a>,
        h: Scalar<'a>,
        l: Scalar<'a>,
        v: Scalar<'a>,
        n: Scalar<'a>,
        x: Scalar<'a>,
        q: Scalar<'a>,
        V: Scalar<'a>,
    }
}

/// Decodes a kline that is nothing unusual.
pub(super) fn kline_at(place: Place<'_>, universe: &Universe, receive_time: Ts) -> Option<Frame> {
    let mut event = KlineEvent::default();
    place.event(&mut event)?;
    let parts = kline(Reader { kind: "kline", universe }, &event).ok()??;
    frame("kline", parts, receive_time).ok()
}

fn kline<'u>(r: Reader<'u>, w: &KlineEvent<'_>) -> Result<Option<Parts<'u>>, DecodeError> {
    let (i, k) = (r.instrument("s", &w.s)?, &w.k);
    let interval = match k.i.text() {
        // A month has no fixed length.
        Some("1M") => return Ok(None),
        Some(word) => interval(word).ok_or_else(|| r.error("i", word, Problem::Word))?,
        None => return Err(r.error("i", "", Problem::Missing)),
    };
    let candle = Candle {
        interval,
        open_time: r.time("t", k.t)?,
        open: r.price(i, "o", k.o)?,
        high: r.price(i, "h", k.h)?,
        low: r.price(i, "l", k.l)?,
        close: r.price(i, "c", k.c)?,
        volume: r.quantity(i, "v", k.v)?,
        quote_volume: r.money(i.quote, "q", k.q)?,
        taker_buy_volume: r.quantity(i, "V", k.V)?,
        trades: r.unsigned("n", k.n)?,
        closed: r.flag("x", k.x)?,
    };
    Ok(Some((i, r.time("E", w.E)?, MarketEvent::Candle(Box::new(candle)))))
}

/// The exchange's candle intervals with a fixed length.
const INTERVALS: [(&str, i64); 15] = [
    ("1s", 1),
    ("1m", 60),
    ("3m", 180),
    ("5m", 300),
    ("15m", 900),
    ("30m", 1_800),
    ("1h", 3_600),
    ("2h", 7_200),
    ("4h", 14_400),
    ("6h", 21_600),
    ("8h", 28_800),
    ("12h", 43_200),
    ("1d", 86_400),
    ("3d", 259_200),
    ("1w", 604_800),
];

/// The length of a candle interval as the exchange writes it; `None` for one that it does not have (or a month).
pub fn interval(word: &str) -> Option<Span> {
    INTERVALS.iter().find(|(known, _)| *known == word).map(|&(_, secs)| Span::from_secs(secs))
}

/// The exchange's word for a candle interval, `None` when it has no such interval.
pub fn interval_word(span: Span) -> Option<&'static str> {
    INTERVALS.iter().find(|&&(_, secs)| Span::from_secs(secs) == span).map(|&(word, _)| word)
}
