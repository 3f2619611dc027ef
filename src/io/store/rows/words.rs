//! The words of closed lists as they stand in columns. They are part of the schema: none is ever renamed.

use super::super::value::{Decimal, Text};
use qcat_core::num::Side;
use qcat_core::order::{Conditional, End, OrderState, Terms, TimeInForce, Trigger};

/// `buy` or `sell`.
pub const fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// The kind of an order.
pub const fn order_type(terms: &Terms) -> &'static str {
    match terms {
        Terms::Market => "market",
        Terms::Limit { .. } => "limit",
        Terms::Conditional(Conditional { trigger: Trigger::Stop, .. }) => "stop",
        Terms::Conditional(Conditional { trigger: Trigger::TakeProfit, .. }) => "take_profit",
        Terms::Conditional(Conditional { trigger: Trigger::Trailing { .. }, .. }) => "trailing",
    }
}

/// How long an order may rest, where its terms say so.
pub const fn time_in_force(terms: &Terms) -> Option<&'static str> {
    let rests = match terms {
        Terms::Limit { time_in_force, .. } => time_in_force,
        Terms::Conditional(Conditional { limit: Some((_, time_in_force)), .. }) => time_in_force,
        Terms::Market | Terms::Conditional(_) => return None,
    };
    Some(match rests {
        TimeInForce::Gtc => "gtc",
        TimeInForce::Ioc => "ioc",
        TimeInForce::Fok => "fok",
        TimeInForce::PostOnly => "post_only",
        TimeInForce::Gtd(_) => "gtd",
    })
}

/// Where an order is, and the code of why it ended there when it has one.
pub fn order_state(state: OrderState) -> (&'static str, Option<Text>) {
    match state {
        OrderState::InFlight => ("in_flight", None),
        OrderState::Unknown => ("unknown", None),
        OrderState::Working => ("working", None),
        OrderState::Triggering => ("triggering", None),
        OrderState::Done(End::Filled) => ("filled", None),
        OrderState::Done(End::Canceled) => ("canceled", None),
        OrderState::Done(End::Rejected(code)) => ("rejected", (code != 0).then(|| code.to_string().into())),
        OrderState::Done(End::Expired(code)) => ("expired", (code != 0).then(|| code.to_string().into())),
        OrderState::Done(End::NeverArrived) => ("never_arrived", None),
    }
}

/// A mantissa at its scale; `None` when the scale is beyond what a column holds.
pub const fn decimal(mantissa: i64, scale: u8) -> Option<Decimal> {
    Decimal::new(mantissa as i128, scale)
}
