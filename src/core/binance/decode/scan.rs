//! The fast way for the hot market frames: one pass over the bytes, no allocation but for levels.
//!
//! The scanner accepts a strict subset of JSON: an object of scalars (texts in ASCII without escapes) besides the level lists
//! of a diff. At anything else it returns `None` and serde decides, so a doubt costs
//! time, never a wrong event. A property test holds it equal to serde.

use super::cursor::Cursor;
use super::market::aggressor;
use crate::id::TradeId;
use crate::instrument::{Instrument, Universe};
use crate::market::{AggTrade, BookLevels, Level, Mark, MarketEvent, MarketInput, Quote, Trade};
use crate::num::{Price, Quantity, Rate, parse_i64};
use crate::time::Ts;

/// Decodes a hot frame, or `None` when the frame is of another kind or in any way unusual.
pub fn scan(bytes: &[u8], universe: &Universe, receive_time: Ts) -> Option<MarketInput> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.expect(b'{')?;
    let key = cursor.key()?;
    let combined = key == b"stream";
    if combined {
        cursor.string()?;
        cursor.expect(b',')?;
        if cursor.key()? != b"data" {
            return None;
        }
        cursor.expect(b'{')?;
    } else {
        cursor.at = 0;
        cursor.expect(b'{')?;
    }
    let input = event(&mut cursor, universe, receive_time)?;
    if combined {
        cursor.expect(b'}')?;
    }
    cursor.at_end()?;
    super::possible::is_possible(&input).then_some(input)
}

/// Which event it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    BookTicker,
    Trade,
    AggTrade,
    Depth,
    Mark,
}

/// The values of fields with a name of one letter, by that letter; `pu` and `st` besides.
struct Fields<'a> {
    by_letter: [&'a [u8]; 64],
    previous: &'a [u8],
    margin: &'a [u8],
    bids: Option<Vec<Level>>,
    asks: Option<Vec<Level>>,
}

impl<'a> Fields<'a> {
    /// The text of a field that must be there.
    #[inline]
    fn get(&self, letter: u8) -> Option<&'a [u8]> {
        let text = self.by_letter[(letter - b'A') as usize];
        if text.is_empty() { None } else { Some(text) }
    }

    fn integer(&self, letter: u8) -> Option<i64> {
        parse_i64(self.get(letter)?, 0).ok()
    }

    fn unsigned(&self, letter: u8) -> Option<u64> {
        u64::try_from(self.integer(letter)?).ok()
    }

    fn time(&self, letter: u8) -> Option<Ts> {
        self.integer(letter).map(Ts::from_millis)
    }

    fn price(&self, i: &Instrument, letter: u8) -> Option<Price> {
        parse_i64(self.get(letter)?, i.price_scale).ok().map(Price::from_mantissa)
    }

    fn quantity(&self, i: &Instrument, letter: u8) -> Option<Quantity> {
        Quantity::from_mantissa(parse_i64(self.get(letter)?, i.quantity_scale).ok()?)
    }
}

fn event(cursor: &mut Cursor<'_>, universe: &Universe, receive_time: Ts) -> Option<MarketInput> {
    let mut fields = Fields { by_letter: [&[]; 64], previous: &[], margin: &[], bids: None, asks: None };
    let mut instrument: Option<&Instrument> = None;
    let mut kind: Option<Kind> = None;
    loop {
        let key = cursor.key()?;
        if cursor.peek()? == b'[' {
            // The scales must be known already: the exchange sends the symbol first.
            if kind != Some(Kind::Depth) {
                return None;
            }
            let target = match key {
                b"b" if fields.bids.is_none() => &mut fields.bids,
                b"a" if fields.asks.is_none() => &mut fields.asks,
                _ => return None,
            };
            *target = Some(cursor.levels(instrument?)?);
        } else {
            let value = cursor.scalar()?;
            match key {
                // Empty texts, repeated fields and the fields around events are left to serde.
                _ if value.is_empty() => return None,
                [letter @ (b'A'..=b'Z' | b'a'..=b'z')] => {
                    let place = &mut fields.by_letter[(letter - b'A') as usize];
                    if !place.is_empty() {
                        return None;
                    }
                    *place = value;
                    match letter {
                        b'e' => kind = Some(kind_of(value)?),
                        b's' => instrument = Some(universe.by_name(std::str::from_utf8(value).ok()?)?),
                        _ => {}
                    }
                }
                b"pu" if fields.previous.is_empty() => fields.previous = value,
                b"st" if fields.margin.is_empty() => fields.margin = value,
                [_] | b"pu" | b"st" | b"data" | b"id" | b"result" | b"error" | b"code" | b"msg" => return None,
                _ => {}
            }
        }
        match cursor.next_token()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    // COIN-M is filtered by the slow path.
    if fields.margin == b"2" {
        return None;
    }
    build(kind?, instrument?, fields, receive_time)
}

fn kind_of(word: &[u8]) -> Option<Kind> {
    Some(match word {
        b"bookTicker" => Kind::BookTicker,
        b"trade" => Kind::Trade,
        b"aggTrade" => Kind::AggTrade,
        b"depthUpdate" => Kind::Depth,
        b"markPriceUpdate" => Kind::Mark,
        _ => return None,
    })
}

fn build(kind: Kind, i: &Instrument, mut fields: Fields<'_>, receive_time: Ts) -> Option<MarketInput> {
    let f = &mut fields;
    let event = match kind {
        Kind::BookTicker => MarketEvent::Quote(Quote {
            update_id: f.unsigned(b'u')?,
            bid: f.price(i, b'b')?,
            bid_quantity: f.quantity(i, b'B')?,
            ask: f.price(i, b'a')?,
            ask_quantity: f.quantity(i, b'A')?,
        }),
        Kind::Trade => MarketEvent::Trade(Trade {
            id: TradeId(f.integer(b't')?),
            price: f.price(i, b'p')?,
            quantity: f.quantity(i, b'q')?,
            aggressor: aggressor(flag(f.get(b'm')?)?),
            on_book: f.get(b'X').is_none_or(|word| word == b"MARKET"),
        }),
        Kind::AggTrade => MarketEvent::AggTrade(AggTrade {
            id: f.integer(b'a')?,
            first: TradeId(f.integer(b'f')?),
            last: TradeId(f.integer(b'l')?),
            price: f.price(i, b'p')?,
            quantity: f.quantity(i, b'q')?,
            aggressor: aggressor(flag(f.get(b'm')?)?),
        }),
        Kind::Depth => {
            if f.get(b'b').or(f.get(b'a')).is_some() {
                return None;
            }
            let previous = if f.previous.is_empty() { None } else { parse_i64(f.previous, 0).ok() };
            MarketEvent::BookDelta(Box::new(BookLevels {
                first_id: f.unsigned(b'U')?,
                last_id: f.unsigned(b'u')?,
                previous_id: u64::try_from(previous?).ok()?,
                bids: f.bids.take()?,
                asks: f.asks.take()?,
            }))
        }
        Kind::Mark => MarketEvent::Mark(Mark {
            mark_price: f.price(i, b'p')?,
            index_price: f.price(i, b'i')?,
            funding_rate: Rate::parse(f.get(b'r')?).ok()?,
            next_funding: f.time(b'T')?,
        }),
    };
    let exchange_time = f.time(b'E')?;
    Some(MarketInput { symbol: i.symbol, exchange_time, receive_time, derived: false, event })
}

fn flag(word: &[u8]) -> Option<bool> {
    match word {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Decodes a depth snapshot, or `None` when it is in any way unusual.
pub(super) fn snapshot(bytes: &[u8], i: &Instrument) -> Option<(BookLevels, Ts)> {
    let mut cursor = Cursor { bytes, at: 0 };
    let (mut id, mut time, mut bids, mut asks) = (None, None, None, None);
    cursor.object(|cursor, key| {
        match key {
            b"lastUpdateId" if id.is_none() => id = Some(u64::try_from(parse_i64(cursor.scalar()?, 0).ok()?).ok()?),
            b"E" if time.is_none() => time = Some(Ts::from_millis(parse_i64(cursor.scalar()?, 0).ok()?)),
            b"bids" if bids.is_none() => bids = Some(cursor.levels(i)?),
            b"asks" if asks.is_none() => asks = Some(cursor.levels(i)?),
            b"lastUpdateId" | b"E" | b"bids" | b"asks" => return None,
            _ => cursor.skip()?,
        }
        Some(())
    })?;
    cursor.at_end()?;
    let id = id?;
    Some((BookLevels { first_id: id, last_id: id, previous_id: 0, bids: bids?, asks: asks? }, time?))
}
