//! Commands to requests of the exchange's REST API. The query is complete but for the signature.
//!
//! Sources: the exchange's reference as gathered in the operations documents; parameter names as in its own SDK.
//! A command that cannot be encoded (unknown symbol, typed-only terms) is an error, never a guess.

use super::proto::{Auth, Method};
use crate::command::{CommandKind, Query, TradeCursor};
use crate::id::{ClientOrderId, OrderKey, SymbolIx};
use crate::instrument::{Instrument, Universe};
use crate::num::{Price, Quantity, Rate, write_mantissa};
use crate::order::{Conditional, NewOrder, PositionSide, Terms, TimeInForce, Trigger, WorkingType};
use crate::time::{Span, Ts};
use std::fmt::Write;

/// A request without its number: what goes to which path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
    /// The query, percent-encoded, without signature.
    pub query: String,
    /// What it has to prove.
    pub auth: Auth,
}

/// A command that has no form on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The symbol has no definition.
    #[error("symbol {0:?} is not defined")]
    UnknownSymbol(SymbolIx),
    /// The terms are typed only.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

/// Time stamp and validity of signed requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The exchange's time as we know it.
    pub at: Ts,
    /// `recvWindow`: how much later the exchange may receive it; at most 60 s.
    pub window: Span,
}

/// The order path.
pub const ORDER: &str = "/fapi/v1/order";
/// The conditional-order path.
pub const ALGO_ORDER: &str = "/fapi/v1/algoOrder";
/// Trades asked for in one page. The exchange gives up to 1,000, but every fill is followed by its cascade (ledger, gate, risk,
/// strategies), which is bounded: a full page must be far from that.
pub const TRADES_PAGE: usize = 250;

/// Encodes a command to the venue. `Query::Settings` takes several requests: see [`settings`].
pub fn command(kind: &CommandKind, universe: &Universe, stamp: Stamp) -> Result<Encoded, EncodeError> {
    match kind {
        CommandKind::Place(order) => place(order, universe, stamp),
        CommandKind::Modify { symbol, id, side, price, quantity } => {
            let instrument = instrument(universe, *symbol)?;
            let mut q = QueryText::new(instrument);
            q.id("origClientOrderId", *id);
            q.pair("side", side.as_str());
            q.quantity(*quantity);
            q.price("price", *price);
            Ok(q.signed(Method::Put, ORDER, stamp))
        }
        CommandKind::Cancel { symbol, key, conditional } => {
            Ok(by_key(Method::Delete, instrument(universe, *symbol)?, *key, *conditional, stamp))
        }
        CommandKind::Query(query) => ask(query, universe, stamp),
    }
}

fn ask(query: &Query, universe: &Universe, stamp: Stamp) -> Result<Encoded, EncodeError> {
    let plain = |path| Ok(QueryText::empty().signed(Method::Get, path, stamp));
    match query {
        Query::Order { symbol, key, conditional } => {
            Ok(by_key(Method::Get, instrument(universe, *symbol)?, *key, *conditional, stamp))
        }
        Query::OpenOrders => plain("/fapi/v1/openOrders"),
        Query::OpenConditionals => plain("/fapi/v1/openAlgoOrders"),
        Query::Trades { symbol, from } => {
            let mut q = QueryText::new(instrument(universe, *symbol)?);
            match from {
                TradeCursor::Id(id) => q.number("fromId", id.0),
                // Windows are 7 days at most; without an end the exchange gives the 7 days after the start.
                TradeCursor::Time(at) => q.number("startTime", at.millis()),
            }
            q.number("limit", TRADES_PAGE as i64);
            Ok(q.signed(Method::Get, "/fapi/v1/userTrades", stamp))
        }
        Query::Positions => plain("/fapi/v3/positionRisk"),
        Query::Balances => plain("/fapi/v3/balance"),
        Query::Settings => Err(EncodeError::Unsupported("settings in one request")),
    }
}

/// The three requests that answer [`Query::Settings`]: position mode, multi-assets mode, symbol settings.
pub fn settings(stamp: Stamp) -> [Encoded; 3] {
    ["/fapi/v1/positionSide/dual", "/fapi/v1/multiAssetsMargin", "/fapi/v1/symbolConfig"]
        .map(|path| QueryText::empty().signed(Method::Get, path, stamp))
}

fn place(order: &NewOrder, universe: &Universe, stamp: Stamp) -> Result<Encoded, EncodeError> {
    let intent = &order.intent;
    let instrument = instrument(universe, intent.symbol)?;
    if intent.position_side != PositionSide::Both {
        return Err(EncodeError::Unsupported("hedge mode"));
    }
    let mut q = QueryText::new(instrument);
    q.pair("side", intent.side.as_str());
    match intent.terms {
        Terms::Market => {
            q.pair("type", "MARKET");
            q.quantity(intent.quantity);
        }
        Terms::Limit { price, time_in_force } => {
            q.pair("type", "LIMIT");
            q.pair("timeInForce", time_in_force_text(time_in_force)?);
            q.quantity(intent.quantity);
            q.price("price", price);
        }
        Terms::Conditional(terms) => {
            conditional(&mut q, &terms, intent.quantity)?;
            if order.send_reduce_only && !terms.close_position {
                q.pair("reduceOnly", "true");
            }
            q.id("clientAlgoId", intent.id);
            return Ok(q.signed(Method::Post, ALGO_ORDER, stamp));
        }
    }
    if order.send_reduce_only {
        q.pair("reduceOnly", "true");
    }
    q.id("newClientOrderId", intent.id);
    // RESULT tells of fills and of the end in the answer itself, should the user stream be late.
    q.pair("newOrderRespType", "RESULT");
    Ok(q.signed(Method::Post, ORDER, stamp))
}

fn conditional(q: &mut QueryText<'_>, terms: &Conditional, quantity: Quantity) -> Result<(), EncodeError> {
    q.pair("algoType", "CONDITIONAL");
    let kind = match (terms.trigger, terms.limit.is_some()) {
        (Trigger::Stop, true) => "STOP",
        (Trigger::Stop, false) => "STOP_MARKET",
        (Trigger::TakeProfit, true) => "TAKE_PROFIT",
        (Trigger::TakeProfit, false) => "TAKE_PROFIT_MARKET",
        (Trigger::Trailing { .. }, _) => "TRAILING_STOP_MARKET",
    };
    q.pair("type", kind);
    match terms.trigger {
        Trigger::Trailing { callback_rate, activation } => {
            // The wire counts the rate in percent.
            let percent = Rate::from_mantissa(callback_rate.mantissa().saturating_mul(100));
            q.pair("callbackRate", &percent.to_string());
            if let Some(price) = activation {
                q.price("activatePrice", price);
            }
        }
        Trigger::Stop | Trigger::TakeProfit => q.price("triggerPrice", terms.trigger_price),
    }
    q.pair("workingType", if terms.working_type == WorkingType::MarkPrice { "MARK_PRICE" } else { "CONTRACT_PRICE" });
    if terms.close_position {
        q.pair("closePosition", "true");
    } else {
        q.quantity(quantity);
    }
    if let Some((price, time_in_force)) = terms.limit {
        q.price("price", price);
        q.pair("timeInForce", time_in_force_text(time_in_force)?);
    }
    if terms.price_protect {
        q.pair("priceProtect", "TRUE");
    }
    Ok(())
}

fn by_key(method: Method, instrument: &Instrument, key: OrderKey, conditional: bool, stamp: Stamp) -> Encoded {
    let mut q = QueryText::new(instrument);
    let (name, path) = if conditional { ("clientAlgoId", ALGO_ORDER) } else { ("origClientOrderId", ORDER) };
    match key {
        OrderKey::Ours(id) => q.id(name, id),
        OrderKey::Foreign(id) => q.text(name, &id.to_string()),
    }
    q.signed(method, path, stamp)
}

fn time_in_force_text(time_in_force: TimeInForce) -> Result<&'static str, EncodeError> {
    match time_in_force {
        TimeInForce::Gtc => Ok("GTC"),
        TimeInForce::Ioc => Ok("IOC"),
        TimeInForce::Fok => Ok("FOK"),
        TimeInForce::PostOnly => Ok("GTX"),
        TimeInForce::Gtd(_) => Err(EncodeError::Unsupported("GTD")),
    }
}

fn instrument(universe: &Universe, symbol: SymbolIx) -> Result<&Instrument, EncodeError> {
    universe.instrument(symbol).ok_or(EncodeError::UnknownSymbol(symbol))
}

/// A query under construction.
struct QueryText<'a> {
    text: String,
    instrument: Option<&'a Instrument>,
}

impl<'a> QueryText<'a> {
    fn empty() -> QueryText<'a> {
        QueryText { text: String::with_capacity(64), instrument: None }
    }

    fn new(instrument: &'a Instrument) -> QueryText<'a> {
        // Room for path and signature too, which come to it in place.
        let mut q = QueryText { text: String::with_capacity(384), instrument: Some(instrument) };
        q.text("symbol", &instrument.name);
        q
    }

    fn name(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.text.push_str(name);
        self.text.push('=');
    }

    /// A value that needs no percent-encoding.
    fn pair(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text.push_str(value);
    }

    /// A value that may need percent-encoding: what is signed is what is sent.
    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        percent_encode(&mut self.text, value);
    }

    fn id(&mut self, name: &str, id: ClientOrderId) {
        self.name(name);
        id.write(&mut self.text);
    }

    fn number(&mut self, name: &str, value: i64) {
        self.name(name);
        write_mantissa(&mut self.text, value.into(), 0, 0);
    }

    fn price(&mut self, name: &str, price: Price) {
        let scale = self.instrument.map_or(0, |i| i.price_scale);
        self.name(name);
        write_mantissa(&mut self.text, price.mantissa().into(), scale, 0);
    }

    fn quantity(&mut self, quantity: Quantity) {
        let scale = self.instrument.map_or(0, |i| i.quantity_scale);
        self.name("quantity");
        write_mantissa(&mut self.text, quantity.mantissa().into(), scale, 0);
    }

    fn signed(mut self, method: Method, path: &'static str, stamp: Stamp) -> Encoded {
        self.number("recvWindow", stamp.window.millis());
        self.number("timestamp", stamp.at.millis());
        Encoded { method, path, query: self.text, auth: Auth::Signed }
    }
}

/// Appends `value` with everything but RFC 3986's unreserved characters percent-encoded.
pub fn percent_encode(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Undoes percent-encoding; `None` when it is malformed or not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            // Two digits and nothing else: the parser would take a sign too.
            let digits = bytes.get(at + 1..at + 3).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
            out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}
