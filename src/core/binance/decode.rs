//! Frames and answers of the exchange become domain types: text goes to integers once, without a float.
//!
//! Hot market frames go through a hand-written scanner ([`scan`]), klines and the user stream's usual events through a reader of
//! fields; whatever looks unusual to them goes through serde, which decides what is right. Unknown fields are ignored, fields may come in any order, unknown kinds are values, not errors.
//! No input panics. Tests: every sample message, properties over mutated and arbitrary bytes, scanner against serde.

use crate::command::{Report, VenueError};
use crate::id::AccountIx;
use crate::instrument::Universe;
use crate::market::MarketInput;
use crate::num::NumError;
use crate::time::Ts;
use serde::Deserialize;
use serde_json::value::RawValue;

mod cursor;
pub mod definitions;
mod fields;
pub mod list;
pub mod market;
pub mod orders;
mod possible;
pub mod rest;
pub mod scan;
pub mod user;
mod wire;

use wire::{Scalar, Text};

/// One frame of a stream connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A market event.
    Market(MarketInput),
    /// An event of the user stream.
    User(Report),
    /// An event of the user stream without the rows of symbols and assets that have no definition here.
    Partly(Report, Vec<DecodeError>),
    /// The venue warns that margin is short in several positions: one [`Report::MarginCall`] each. (A warning about a single
    /// one comes as [`Frame::User`].)
    MarginCalls(Vec<Report>),
    /// The listen key of the user stream is not valid any more: a new one is needed.
    ListenKeyExpired,
    /// The answer to SUBSCRIBE, UNSUBSCRIBE or LIST_SUBSCRIPTIONS.
    Reply(Reply),
    /// A kind of message that is known and not used.
    Unused(&'static str),
    /// A kind of message that this version does not know.
    Unknown(Box<str>),
}

/// The answer to a request on a stream connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's id; `None` when the exchange could not read it.
    pub id: Option<i64>,
    /// The list asked for (empty for SUBSCRIBE and UNSUBSCRIBE), or the error.
    pub result: Result<Vec<String>, VenueError>,
}

/// A message that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: field `{field}`, value `{value}`: {problem}")]
pub struct DecodeError {
    /// The kind of message, or the call whose answer it is.
    pub kind: Box<str>,
    /// The field, as on the wire; empty when the message as a whole is wrong.
    pub field: &'static str,
    /// The value found, cut to 64 bytes.
    pub value: Box<str>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not JSON of the expected shape.
    #[error("{0}")]
    Json(String),
    /// A field that must be there is not.
    #[error("is missing")]
    Missing,
    /// Not a number that fits.
    #[error(transparent)]
    Number(#[from] NumError),
    /// Not a word that this version knows.
    #[error("is not known here")]
    Word,
    /// A symbol without a definition.
    #[error("is a symbol without a definition")]
    Symbol,
    /// An asset without a definition.
    #[error("is an asset without a definition")]
    Asset,
    /// A price that must be above 0.
    #[error("is not above 0")]
    NotPositive,
    /// A time that cannot have come yet.
    #[error("is more than a day ahead of this machine's clock; one of the two clocks is wrong")]
    Ahead,
    /// An event of an account on a connection that has none.
    #[error("came on a connection without an account")]
    NoAccount,
}

impl DecodeError {
    fn new(kind: &str, field: &'static str, value: &str, problem: Problem) -> DecodeError {
        let mut end = value.len().min(64);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        DecodeError { kind: kind.into(), field, value: value[..end].into(), problem }
    }

    /// Whether it is about a symbol or an asset without a definition: nothing that is traded here.
    pub fn is_undefined(&self) -> bool {
        matches!(self.problem, Problem::Symbol | Problem::Asset)
    }

    fn json(kind: &str, text: &str, error: &serde_json::Error) -> DecodeError {
        DecodeError::new(kind, "", text, Problem::Json(error.to_string()))
    }
}

/// What surrounds every frame.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    e: Scalar<'a>,
    #[serde(borrow, default)]
    st: Scalar<'a>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    code: Scalar<'a>,
    #[serde(borrow, default)]
    msg: Text<'a>,
}

/// Decodes one frame of a stream, combined (`{"stream":…,"data":…}`) or raw. `account` is the account of a user stream's
/// connection; `receive_time` is stamped on market events.
pub fn decode_frame(
    bytes: &[u8],
    universe: &Universe,
    account: Option<AccountIx>,
    receive_time: Ts,
) -> Result<Frame, DecodeError> {
    if let Some(input) = scan::scan(bytes, universe, receive_time) {
        return Ok(Frame::Market(input));
    }
    if let Some(frame) = decode_direct(bytes, universe, account, receive_time) {
        return Ok(frame);
    }
    decode_slow(bytes, universe, account, receive_time)
}

/// Reads the event field by field, without serde. `None`: of another kind, or in doubt.
fn decode_direct(bytes: &[u8], universe: &Universe, account: Option<AccountIx>, receive_time: Ts) -> Option<Frame> {
    match fields::begin(bytes)? {
        (b"kline", place) => market::kline_at(place, universe, receive_time),
        (kind, place) => user::event_at(kind, place, universe, account),
    }
}

/// The same as [`decode_frame`] without its short cuts: slower, for every kind, and the judge of what is right.
pub fn decode_slow(
    bytes: &[u8],
    universe: &Universe,
    account: Option<AccountIx>,
    receive_time: Ts,
) -> Result<Frame, DecodeError> {
    let text = text_of("frame", bytes)?;
    let envelope = match parse_object::<Envelope<'_>>("frame", text)? {
        Shape::Array => return Ok(Frame::Unused("array of events")),
        Shape::Object(envelope) => envelope,
    };
    let (body, event) = match envelope.data {
        None => (text, envelope),
        Some(data) => match parse_object::<Envelope<'_>>("frame", data.get())? {
            Shape::Array => return Ok(Frame::Unused("array of events")),
            Shape::Object(inner) => (data.get(), inner),
        },
    };
    let Some(kind) = event.e.text() else {
        return reply(text, &event);
    };
    // COIN-M events share connections since the merger of the two margin types.
    if event.st.text() == Some("2") {
        return Ok(Frame::Unused("COIN-M"));
    }
    if let Some(market) = market::decode(kind, body, universe, receive_time) {
        return market;
    }
    if let Some(unused) = UNUSED.iter().find(|known| **known == kind) {
        return Ok(Frame::Unused(unused));
    }
    user::decode(kind, body, universe, account)
}

/// Kinds that are known and not used.
const UNUSED: [&str; 12] = [
    "TRADE_LITE",
    "STRATEGY_UPDATE",
    "GRID_UPDATE",
    "CONDITIONAL_ORDER_TRIGGER_REJECT",
    "24hrTicker",
    "24hrMiniTicker",
    "forceOrder",
    "compositeIndex",
    "assetIndexUpdate",
    "contractInfo",
    "continuous_kline",
    "tradingSession",
];

fn reply(text: &str, envelope: &Envelope<'_>) -> Result<Frame, DecodeError> {
    let id = envelope.id.and_then(|raw| raw.get().trim_matches('"').parse().ok());
    if let Some(error) = envelope.error {
        return Ok(Frame::Reply(Reply { id, result: Err(rest::error_body(error.get().as_bytes())?) }));
    }
    if let Some(code) = envelope.code.text() {
        let code = code.parse().map_err(|_| DecodeError::new("reply", "code", code, Problem::Word))?;
        let message = envelope.msg.as_deref().unwrap_or_default().into();
        return Ok(Frame::Reply(Reply { id, result: Err(VenueError { code, message }) }));
    }
    if envelope.id.is_none() {
        return Err(DecodeError::new("frame", "e", text, Problem::Missing));
    }
    let list = match envelope.result {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|e| DecodeError::json("reply", raw.get(), &e))?,
        None => Vec::new(),
    };
    Ok(Frame::Reply(Reply { id, result: Ok(list) }))
}

enum Shape<T> {
    Object(T),
    Array,
}

/// Serde would read a struct from an array too, field by field; on the wire an array is a list of events.
fn parse_object<'a, T: Deserialize<'a>>(kind: &str, text: &'a str) -> Result<Shape<T>, DecodeError> {
    if text.trim_start().starts_with('[') {
        // Checked, so that broken text is not passed over as a known array.
        serde_json::from_str::<&RawValue>(text).map_err(|e| DecodeError::json(kind, text, &e))?;
        return Ok(Shape::Array);
    }
    serde_json::from_str(text).map(Shape::Object).map_err(|e| DecodeError::json(kind, text, &e))
}

/// Reads an object of one kind.
fn parse<'a, T: Deserialize<'a>>(kind: &str, text: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|e| DecodeError::json(kind, text, &e))
}

fn text_of<'a>(kind: &str, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|e| {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]);
        DecodeError::new(kind, "", &shown, Problem::Json(format!("not UTF-8: {e}")))
    })
}

#[cfg(test)]
mod tests;
