//! Shapes of orders: which combinations are sent, whatever their numbers. Everything else is refused by name.
#![deny(clippy::float_arithmetic)]

use super::refusal::Refusal;
use crate::order::{Conditional, OrderIntent, PositionMode, PositionSide, Terms, TimeInForce, Trigger};

/// Refuses what is only typed so far, and what the exchange does not know.
pub(super) fn check(order: &OrderIntent, mode: PositionMode) -> Result<(), Refusal> {
    if mode == PositionMode::Hedge {
        return Err(Refusal::Unsupported("hedge mode".into()));
    }
    if order.position_side != PositionSide::Both {
        return Err(Refusal::Unsupported("a position side other than BOTH".into()));
    }
    let closes = match &order.terms {
        Terms::Market => false,
        Terms::Limit { price, time_in_force } => {
            if price.mantissa() <= 0 {
                return Err(Refusal::InvalidShape("the limit price must be above zero".into()));
            }
            rests(*time_in_force)?;
            false
        }
        Terms::Conditional(terms) => conditional(terms)?,
    };
    if !closes {
        return match order.quantity.is_zero() {
            true => Err(Refusal::InvalidShape("the quantity must be above zero".into())),
            false => Ok(()),
        };
    }
    if !order.quantity.is_zero() {
        return Err(Refusal::InvalidShape("close_position excludes a quantity".into()));
    }
    if order.reduce_only {
        return Err(Refusal::InvalidShape("close_position excludes reduce_only".into()));
    }
    Ok(())
}

/// Checks conditional terms. Returns whether they close the position.
fn conditional(terms: &Conditional) -> Result<bool, Refusal> {
    if let Trigger::Trailing { .. } = terms.trigger {
        return Err(Refusal::Unsupported("a trailing stop".into()));
    }
    if terms.trigger_price.mantissa() <= 0 {
        return Err(Refusal::InvalidShape("the trigger price must be above zero".into()));
    }
    if let Some((price, time_in_force)) = terms.limit {
        if price.mantissa() <= 0 {
            return Err(Refusal::InvalidShape("the limit price must be above zero".into()));
        }
        rests(time_in_force)?;
        if terms.close_position {
            return Err(Refusal::InvalidShape("close_position goes with a market order only".into()));
        }
        if terms.price_protect {
            return Err(Refusal::InvalidShape("price_protect goes with a market order only".into()));
        }
    }
    Ok(terms.close_position)
}

fn rests(time_in_force: TimeInForce) -> Result<(), Refusal> {
    match time_in_force {
        TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok | TimeInForce::PostOnly => Ok(()),
        TimeInForce::Gtd(_) => Err(Refusal::Unsupported("good till date".into())),
    }
}
