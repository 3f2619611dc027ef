//! The exchange's filters, checked before it would: nothing passes them, not even what reduces.
#![deny(clippy::float_arithmetic)]

use super::exposure::{Prices, times};
use super::refusal::{Bound, Decimal, PriceRole, Refusal};
use crate::instrument::{Instrument, LotFilter};
use crate::num::{Price, Quantity, Rate, Side};
use crate::order::{Conditional, OrderIntent, Terms, Trigger};

/// All filters for a new order.
pub(super) fn check(order: &OrderIntent, instrument: &Instrument, prices: &Prices) -> Result<(), Refusal> {
    match &order.terms {
        Terms::Market => lot(order.quantity, instrument, true)?,
        Terms::Limit { price: limit, .. } => {
            price(*limit, PriceRole::Limit, instrument)?;
            lot(order.quantity, instrument, false)?;
            percent_price(order.side, *limit, instrument, prices)?;
        }
        Terms::Conditional(terms) => {
            price(terms.trigger_price, PriceRole::Trigger, instrument)?;
            if let Some((limit, _)) = terms.limit {
                price(limit, PriceRole::Limit, instrument)?;
            }
            if !terms.close_position {
                lot(order.quantity, instrument, terms.limit.is_none())?;
            }
            would_trigger(order.side, terms, instrument, prices)?;
        }
    }
    Ok(())
}

/// MIN_NOTIONAL of a new order. The exchange asks it of all but orders with `reduceOnly` or `closePosition`: an exit that is sent
/// without is refused here as it would be there (-4164). What is too small to be closed so is *dust*: it can be closed
/// once the account's position covers it, or a person closes it.
pub(super) fn check_min_notional(order: &OrderIntent, instrument: &Instrument, prices: &Prices) -> Result<(), Refusal> {
    let price = match &order.terms {
        Terms::Market => prices.reference,
        Terms::Limit { price, .. } => Some(*price),
        Terms::Conditional(terms) => Some(terms.limit.map_or(terms.trigger_price, |(price, _)| price)),
    };
    price.map_or(Ok(()), |price| min_notional(price, order.quantity, instrument))
}

/// PRICE_FILTER.
pub(super) fn price(price: Price, role: PriceRole, instrument: &Instrument) -> Result<(), Refusal> {
    let filter = &instrument.filters.price;
    let broken = if !filter.min.is_zero() && price < filter.min {
        (Bound::Min, filter.min)
    } else if !filter.max.is_zero() && price > filter.max {
        (Bound::Max, filter.max)
    } else if filter.tick.mantissa() > 0 && price.mantissa() % filter.tick.mantissa() != 0 {
        (Bound::Step, filter.tick)
    } else {
        return Ok(());
    };
    let (broken, bound) = (broken.0, Decimal::price(instrument, broken.1));
    Err(Refusal::PriceFilter { role, price: Decimal::price(instrument, price), broken, bound })
}

/// LOT_SIZE, or MARKET_LOT_SIZE for what will be a market order.
pub(super) fn lot(quantity: Quantity, instrument: &Instrument, market: bool) -> Result<(), Refusal> {
    let LotFilter { min, max, step } = if market { instrument.filters.market_lot } else { instrument.filters.lot };
    // A market step of zero is switched off; the quantity still has to be one that the contract knows.
    let step = if step.is_zero() { instrument.filters.lot.step } else { step };
    let broken = if quantity < min {
        (Bound::Min, min)
    } else if !max.is_zero() && quantity > max {
        (Bound::Max, max)
    } else if !step.is_zero() && quantity.mantissa() % step.mantissa() != 0 {
        (Bound::Step, step)
    } else {
        return Ok(());
    };
    let (broken, bound) = (broken.0, Decimal::quantity(instrument, broken.1));
    Err(Refusal::LotFilter { quantity: Decimal::quantity(instrument, quantity), broken, bound, market })
}

/// MIN_NOTIONAL.
pub(super) fn min_notional(price: Price, quantity: Quantity, instrument: &Instrument) -> Result<(), Refusal> {
    let Some(bound) = instrument.filters.min_notional else { return Ok(()) };
    let notional = instrument.notional(price, quantity).map_err(|_| Refusal::Overflow)?;
    if notional.mantissa() < bound.mantissa() { Err(Refusal::MinNotional { notional, bound }) } else { Ok(()) }
}

/// PERCENT_PRICE; not judged while no mark price is known (the exchange then does).
pub(super) fn percent_price(side: Side, price: Price, instrument: &Instrument, prices: &Prices) -> Result<(), Refusal> {
    let (Some(filter), Some(mark)) = (instrument.filters.percent_price, prices.mark) else { return Ok(()) };
    let rate = if side == Side::Buy { filter.up } else { filter.down };
    let bound = mark.mantissa() as i128 * rate.mantissa() as i128;
    let scaled = price.mantissa() as i128 * Rate::ONE.mantissa() as i128;
    let beyond = if side == Side::Buy { scaled > bound } else { scaled < bound };
    if !beyond {
        return Ok(());
    }
    let bound = times(mark, rate).ok_or(Refusal::Overflow)?;
    Err(Refusal::PercentPrice { price: Decimal::price(instrument, price), bound: Decimal::price(instrument, bound) })
}

/// A trigger that has been passed would set the order off at once (-2021); the exchange triggers at equality too.
fn would_trigger(side: Side, terms: &Conditional, instrument: &Instrument, prices: &Prices) -> Result<(), Refusal> {
    let Some(price) = prices.watched(terms.working_type) else { return Ok(()) };
    let rises = match terms.trigger {
        Trigger::Stop => side == Side::Buy,
        Trigger::TakeProfit | Trigger::Trailing { .. } => side == Side::Sell,
    };
    let passed = if rises { price >= terms.trigger_price } else { price <= terms.trigger_price };
    if !passed {
        return Ok(());
    }
    Err(Refusal::WouldTrigger {
        trigger: Decimal::price(instrument, terms.trigger_price),
        price: Decimal::price(instrument, price),
    })
}
