//! The exchange's side of the wire: domain types printed as its JSON, for the simulated exchange and for round-trip tests.
//!
//! Prices and quantities are printed with the decimals of tick and lot step at least, mark prices with eight, as the exchange
//! does; numbers are exact. What the domain does not keep (balances of isolated margin, price-match modes …) is printed as
//! the neutral value that the exchange uses, or left out; [`OrderFacts`] carries the rest of what clients expect.

use crate::instrument::{Instrument, Universe};
use crate::num::{Money, Price, Quantity, write_mantissa};
use crate::order::{Conditional, PositionSide, Terms, TimeInForce, Trigger, WorkingType};
use crate::time::Ts;
use std::fmt::Write;

mod market;
mod rest;
#[cfg(test)]
mod tests;
mod user;

pub use market::{combined, kline_row, market_event};
pub use rest::*;
pub use user::{OrderFacts, account_update, algo_update, config_update, listen_key_expired, margin_call, order_update};

/// A JSON object under construction at the end of a text.
struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut String) -> Object<'a> {
        out.push('{');
        Object { out, first: true }
    }

    fn end(self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
        self.out
    }

    /// A word that needs no escapes.
    fn word(&mut self, key: &str, value: &str) -> &mut Self {
        let out = self.key(key);
        out.push('"');
        out.push_str(value);
        out.push('"');
        self
    }

    /// Any text.
    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        quote_text(self.key(key), value);
        self
    }

    fn int(&mut self, key: &str, value: impl Into<i128>) -> &mut Self {
        let value: i128 = value.into();
        // Writing to a String cannot fail.
        let _ = write!(self.key(key), "{value}");
        self
    }

    fn time(&mut self, key: &str, time: Ts) -> &mut Self {
        self.int(key, time.millis())
    }

    fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key).push_str(if value { "true" } else { "false" });
        self
    }

    fn price(&mut self, key: &str, i: &Instrument, price: Price) -> &mut Self {
        price_text(self.key(key), i, price);
        self
    }

    /// A price that the exchange computes: eight decimals.
    fn computed(&mut self, key: &str, i: &Instrument, price: Price) -> &mut Self {
        decimal(self.key(key), price.mantissa().into(), i.price_scale, 8);
        self
    }

    fn quantity(&mut self, key: &str, i: &Instrument, quantity: Quantity) -> &mut Self {
        quantity_text(self.key(key), i, quantity.mantissa());
        self
    }

    fn net(&mut self, key: &str, i: &Instrument, mantissa: i64) -> &mut Self {
        quantity_text(self.key(key), i, mantissa);
        self
    }

    fn money(&mut self, key: &str, money: Money) -> &mut Self {
        decimal(self.key(key), money.mantissa(), Money::SCALE, 8);
        self
    }

    /// A decimal in quotes, without trailing zeros.
    fn decimal(&mut self, key: &str, mantissa: i128, scale: u8) -> &mut Self {
        decimal(self.key(key), mantissa, scale, 0);
        self
    }
}

fn quote_text(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn decimal(out: &mut String, mantissa: i128, scale: u8, decimals: u8) {
    out.push('"');
    // Written apart, because the writer looks for a point in all of its text.
    let mut number = String::with_capacity(24);
    write_mantissa(&mut number, mantissa, scale, decimals);
    out.push_str(&number);
    out.push('"');
}

fn price_text(out: &mut String, i: &Instrument, price: Price) {
    let decimals = decimals_of(i.filters.price.tick.mantissa(), i.price_scale);
    decimal(out, price.mantissa().into(), i.price_scale, decimals);
}

fn quantity_text(out: &mut String, i: &Instrument, mantissa: i64) {
    let decimals = decimals_of(i.filters.lot.step.mantissa(), i.quantity_scale);
    decimal(out, mantissa.into(), i.quantity_scale, decimals);
}

/// Decimals that a step needs.
pub fn decimals_of(mut step: i64, scale: u8) -> u8 {
    let mut decimals = scale;
    while decimals > 0 && step % 10 == 0 && step != 0 {
        step /= 10;
        decimals -= 1;
    }
    if step == 0 { 0 } else { decimals }
}

fn name_of(universe: &Universe, symbol: crate::id::SymbolIx) -> &str {
    universe.instrument(symbol).map_or("?", |i| &i.name)
}

fn side_word(side: PositionSide) -> &'static str {
    match side {
        PositionSide::Both => "BOTH",
        PositionSide::Long => "LONG",
        PositionSide::Short => "SHORT",
    }
}

fn time_in_force_word(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Gtc => "GTC",
        TimeInForce::Ioc => "IOC",
        TimeInForce::Fok => "FOK",
        TimeInForce::PostOnly => "GTX",
        TimeInForce::Gtd(_) => "GTD",
    }
}

fn working_word(working_type: WorkingType) -> &'static str {
    match working_type {
        WorkingType::ContractPrice => "CONTRACT_PRICE",
        WorkingType::MarkPrice => "MARK_PRICE",
    }
}

fn conditional_word(terms: &Conditional) -> &'static str {
    match (terms.trigger, terms.limit.is_some()) {
        (Trigger::Stop, true) => "STOP",
        (Trigger::Stop, false) => "STOP_MARKET",
        (Trigger::TakeProfit, true) => "TAKE_PROFIT",
        (Trigger::TakeProfit, false) => "TAKE_PROFIT_MARKET",
        (Trigger::Trailing { .. }, _) => "TRAILING_STOP_MARKET",
    }
}

/// What of an order's terms stands in several fields, with the neutral value where a kind of order has none.
struct TermsText {
    kind: &'static str,
    price: Price,
    trigger_price: Price,
    time_in_force: TimeInForce,
    working_type: WorkingType,
    close_position: bool,
    price_protect: bool,
    /// Callback rate in per cent with ten decimals, and activation price.
    trailing: Option<(i64, Option<Price>)>,
}

impl TermsText {
    fn of(terms: &Terms) -> TermsText {
        let plain = |kind, price, time_in_force| TermsText {
            kind,
            price,
            trigger_price: Price::ZERO,
            time_in_force,
            working_type: WorkingType::ContractPrice,
            close_position: false,
            price_protect: false,
            trailing: None,
        };
        match terms {
            Terms::Market => plain("MARKET", Price::ZERO, TimeInForce::Gtc),
            Terms::Limit { price, time_in_force } => plain("LIMIT", *price, *time_in_force),
            Terms::Conditional(terms) => TermsText::of_conditional(terms),
        }
    }

    fn of_conditional(terms: &Conditional) -> TermsText {
        let (price, time_in_force) = terms.limit.unwrap_or((Price::ZERO, TimeInForce::Gtc));
        let trailing = match terms.trigger {
            Trigger::Trailing { callback_rate, activation } => {
                Some((callback_rate.mantissa().saturating_mul(100), activation))
            }
            Trigger::Stop | Trigger::TakeProfit => None,
        };
        TermsText {
            kind: conditional_word(terms),
            price,
            trigger_price: terms.trigger_price,
            time_in_force,
            working_type: terms.working_type,
            close_position: terms.close_position,
            price_protect: terms.price_protect,
            trailing,
        }
    }

    fn good_till(&self) -> Ts {
        match self.time_in_force {
            TimeInForce::Gtd(until) => until,
            _ => Ts::ZERO,
        }
    }
}
