//! Instruments: what can be traded, with every filter of the exchange typed, and the only way from price and quantity to money.
//!
//! A symbol's scales are fixed at its first definition, with headroom for mark and index prices (8 decimals at least).
//! Later definitions of the same symbol raise `version`; one that needs a finer scale is listed under a new index.
//! Tests: tables, properties of rounding.

mod universe;

pub use universe::{Definition, DefinitionError, InstrumentSpec, Universe};

use crate::id::{AssetIx, SymbolIx};
use crate::num::{
    Money, NetQuantity, NumError, Price, Quantity, Rate, Rounding, div_round, mantissa_to_string, parse_i64, pow10,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a contract is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContractStatus {
    /// Announced, not open yet.
    PendingTrading,
    /// Open.
    Trading,
    /// About to be delivered.
    PreDelivering,
    /// Being delivered.
    Delivering,
    /// Delivered.
    Delivered,
    /// About to be settled.
    PreSettle,
    /// Being settled.
    Settling,
    /// Closed.
    Close,
    /// The engine itself refuses it: a definition could not be followed.
    Halted,
    /// A status that this version does not know; treated as not tradable.
    Other,
}

/// The kind of contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContractType {
    /// A perpetual future.
    Perpetual,
    /// A perpetual on a traditional asset; it has trading sessions.
    TradifiPerpetual,
    /// A future with a delivery date.
    Delivery,
    /// A type that this version does not know; treated as not tradable.
    Other,
}

/// PRICE_FILTER. A bound of zero is switched off, as the exchange defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PriceFilter {
    /// Lowest price, zero if none.
    pub min: Price,
    /// Highest price, zero if none.
    pub max: Price,
    /// Step of the price, zero if none.
    pub tick: Price,
}

/// LOT_SIZE or MARKET_LOT_SIZE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LotFilter {
    /// Smallest quantity.
    pub min: Quantity,
    /// Largest quantity, zero if none.
    pub max: Quantity,
    /// Step of the quantity, zero if none.
    pub step: Quantity,
}

/// PERCENT_PRICE: a limit price is at most `up` × mark price for a buy and at least `down` × mark price for a sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PercentPrice {
    /// Multiplier for buys, above 1.
    pub up: Rate,
    /// Multiplier for sells, below 1.
    pub down: Rate,
}

/// One leverage bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// Position notional from which the bracket holds.
    pub notional_floor: Money,
    /// Position notional up to which the bracket holds.
    pub notional_cap: Money,
    /// Highest leverage allowed.
    pub max_leverage: u16,
    /// Maintenance margin rate.
    pub maintenance_rate: Rate,
    /// Maintenance amount ("cum"): margin = notional × rate − cum.
    pub maintenance_amount: Money,
}

/// The exchange's filters of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    /// PRICE_FILTER.
    pub price: PriceFilter,
    /// LOT_SIZE.
    pub lot: LotFilter,
    /// MARKET_LOT_SIZE.
    pub market_lot: LotFilter,
    /// MAX_NUM_ORDERS: open ordinary orders, `None` if not limited.
    pub max_orders: Option<u32>,
    /// MAX_NUM_ALGO_ORDERS: open conditional orders of the symbol, `None` if not limited.
    pub max_conditional_orders: Option<u32>,
    /// MIN_NOTIONAL, in the quote asset; not applied to reduce-only orders.
    pub min_notional: Option<Money>,
    /// PERCENT_PRICE.
    pub percent_price: Option<PercentPrice>,
    /// `triggerProtect`: how far mark and contract price may be apart for a protected trigger.
    pub trigger_protect: Option<Rate>,
    /// `marketTakeBound`: how far from the mark price a market order may take.
    pub market_take_bound: Option<Rate>,
    /// Filters by their name that this version does not know.
    pub unknown: Vec<Box<str>>,
}

/// One tradable contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// Its index.
    pub symbol: SymbolIx,
    /// The exchange's name, upper case.
    pub name: Arc<str>,
    /// Counts the definitions of this index, from 1.
    pub version: u32,
    /// Where it is in its life.
    pub status: ContractStatus,
    /// Its kind.
    pub contract: ContractType,
    /// Base asset.
    pub base: AssetIx,
    /// Quote asset: prices and notional values.
    pub quote: AssetIx,
    /// Margin asset: profit, fees unless paid otherwise, funding.
    pub margin: AssetIx,
    /// Decimals of a [`Price`].
    pub price_scale: u8,
    /// Decimals of a [`Quantity`].
    pub quantity_scale: u8,
    /// The filters.
    pub filters: Filters,
    /// Liquidation fee rate.
    pub liquidation_fee: Rate,
    /// Leverage brackets by rising notional; empty when not known.
    pub brackets: Vec<Bracket>,
}

impl Instrument {
    /// Whether orders are taken: the contract is open and of a kind that this version knows.
    pub const fn is_tradable(&self) -> bool {
        matches!(self.status, ContractStatus::Trading) && !matches!(self.contract, ContractType::Other)
    }

    /// The factor from (price mantissa × quantity mantissa) to a [`Money`] mantissa.
    #[inline]
    const fn notional_factor(&self) -> i128 {
        pow10(Money::SCALE - self.price_scale - self.quantity_scale)
    }

    /// Price times quantity, exact (price and quantity scales add up to 18 at most).
    #[inline]
    pub fn notional(&self, price: Price, quantity: Quantity) -> Result<Money, NumError> {
        self.signed_notional(price, NetQuantity::from_mantissa(quantity.mantissa()))
    }

    /// Price times a signed quantity, exact.
    #[inline]
    pub fn signed_notional(&self, price: Price, quantity: NetQuantity) -> Result<Money, NumError> {
        let product = price.mantissa() as i128 * quantity.mantissa() as i128;
        let amount = product.checked_mul(self.notional_factor()).ok_or(NumError::Overflow)?;
        Ok(Money::new(self.quote, amount))
    }

    /// Reads a price of this instrument.
    pub fn parse_price(&self, text: &str) -> Result<Price, NumError> {
        parse_i64(text.as_bytes(), self.price_scale).map(Price::from_mantissa)
    }

    /// Reads a quantity of this instrument.
    pub fn parse_quantity(&self, text: &str) -> Result<Quantity, NumError> {
        let mantissa = parse_i64(text.as_bytes(), self.quantity_scale)?;
        Quantity::from_mantissa(mantissa).ok_or_else(|| NumError::Negative(text.to_owned()))
    }

    /// Decimal text of a price without trailing zeros.
    pub fn price_text(&self, price: Price) -> String {
        mantissa_to_string(price.mantissa() as i128, self.price_scale)
    }

    /// Decimal text of a quantity without trailing zeros.
    pub fn quantity_text(&self, quantity: Quantity) -> String {
        mantissa_to_string(quantity.mantissa() as i128, self.quantity_scale)
    }

    /// Decimal text of a position without trailing zeros.
    pub fn net_text(&self, quantity: NetQuantity) -> String {
        mantissa_to_string(quantity.mantissa() as i128, self.quantity_scale)
    }

    /// The nearest `f64` to a price, for indicators.
    #[inline]
    pub fn price_f64(&self, price: Price) -> f64 {
        price.mantissa() as f64 / pow10(self.price_scale) as f64
    }

    /// The nearest `f64` to a quantity, for indicators.
    #[inline]
    pub fn quantity_f64(&self, quantity: Quantity) -> f64 {
        quantity.mantissa() as f64 / pow10(self.quantity_scale) as f64
    }

    /// From an indicator's value to a price on the tick. `None` when it is not finite, not positive or too large.
    pub fn price_from(&self, value: f64, rounding: Rounding) -> Option<Price> {
        let mantissa = to_mantissa(value, self.price_scale)?;
        Some(self.round_price(Price::from_mantissa(mantissa), rounding)).filter(|p| p.mantissa() > 0)
    }

    /// From an indicator's value to a quantity on the lot step. `None` when it is not finite, negative or too large.
    pub fn quantity_from(&self, value: f64, rounding: Rounding) -> Option<Quantity> {
        let mantissa = to_mantissa(value, self.quantity_scale)?;
        Quantity::from_mantissa(mantissa).map(|q| self.round_quantity(q, rounding))
    }

    /// The price rounded to the tick.
    pub fn round_price(&self, price: Price, rounding: Rounding) -> Price {
        let tick = self.filters.price.tick.mantissa();
        Price::from_mantissa(round_to(price.mantissa(), tick, rounding))
    }

    /// The quantity rounded to the lot step.
    pub fn round_quantity(&self, quantity: Quantity, rounding: Rounding) -> Quantity {
        let step = self.filters.lot.step.mantissa();
        Quantity::from_mantissa(round_to(quantity.mantissa(), step, rounding)).unwrap_or(Quantity::ZERO)
    }

    /// The largest part of a quantity that one market order takes: within LOT_SIZE and MARKET_LOT_SIZE, on the step, rounded
    /// down. Zero when not even one step is left.
    pub fn market_part(&self, quantity: Quantity) -> Quantity {
        let (lot, market) = (self.filters.lot, self.filters.market_lot);
        let bounds = [lot.max, market.max].into_iter().filter(|max| !max.is_zero());
        let quantity = bounds.fold(quantity, Quantity::min);
        let step = if market.step.is_zero() { lot.step } else { market.step };
        Quantity::from_mantissa(round_to(quantity.mantissa(), step.mantissa(), Rounding::Down))
            .unwrap_or(Quantity::ZERO)
    }

    /// A price moved by `ticks` steps, never below one tick.
    pub fn offset(&self, price: Price, ticks: i64) -> Price {
        let tick = self.filters.price.tick.mantissa().max(1);
        Price::from_mantissa(price.mantissa().saturating_add(ticks.saturating_mul(tick)).max(tick))
    }

    /// The bracket that holds for a position of this notional value.
    pub fn bracket(&self, notional: Money) -> Option<&Bracket> {
        let size = notional.abs().mantissa();
        self.brackets.iter().find(|b| size <= b.notional_cap.mantissa()).or(self.brackets.last())
    }
}

fn to_mantissa(value: f64, scale: u8) -> Option<i64> {
    let scaled = value * pow10(scale) as f64;
    // 2^62 leaves room for rounding to a step.
    (scaled.is_finite() && scaled.abs() < 4.6e18).then(|| libm::round(scaled) as i64)
}

fn round_to(value: i64, step: i64, rounding: Rounding) -> i64 {
    if step <= 0 {
        return value;
    }
    let steps = div_round(value as i128, step as i128, rounding) * step as i128;
    i64::try_from(steps).unwrap_or(value)
}
