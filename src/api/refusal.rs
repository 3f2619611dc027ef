//! A refusal of the engine's checks as programs read it.

use qcat_core::id::Seq;
use qcat_core::risk::gate::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

/// Why the engine's checks refused a command.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefusalBody {
    /// Its stable code.
    pub code: &'static str,
    /// What was too much, too little or off the step, as decimal text; null when it is not about an amount.
    pub value: Option<String>,
    /// What is allowed, as decimal text; null when it is not about an amount.
    pub bound: Option<String>,
    /// The input that the command became.
    pub seq: u64,
    /// The order that it was about; null when it was about none.
    pub client_order_id: Option<String>,
}

impl RefusalBody {
    /// Of a refusal.
    pub fn of(refusal: &Refusal, seq: Seq, client_order_id: Option<String>) -> RefusalBody {
        let (value, bound) = numbers(refusal).unzip();
        RefusalBody { code: refusal.code(), value, bound, seq: seq.0, client_order_id }
    }
}

/// The value and its bound, where it is about an amount.
fn numbers(refusal: &Refusal) -> Option<(String, String)> {
    Some(match refusal {
        Refusal::PriceFilter { price, bound, .. } => (price.to_string(), bound.to_string()),
        Refusal::PercentPrice { price, bound } => (price.to_string(), bound.to_string()),
        Refusal::LotFilter { quantity, bound, .. } => (quantity.to_string(), bound.to_string()),
        Refusal::MinNotional { notional, bound } => (notional.to_string(), bound.to_string()),
        Refusal::PriceBand { price, reference, .. } => (price.to_string(), reference.to_string()),
        Refusal::WouldTrigger { trigger, price } => (trigger.to_string(), price.to_string()),
        Refusal::TooLarge { value, bound, .. } => (value.to_string(), bound.to_string()),
        Refusal::Leverage { exposure, bound, .. } => (exposure.to_string(), bound.to_string()),
        Refusal::DailyLoss { loss, bound } => (loss.to_string(), bound.to_string()),
        Refusal::OrderRate { sent, bound, .. } => (sent.to_string(), bound.to_string()),
        Refusal::Runaway { placed, bound, .. } => (placed.to_string(), bound.to_string()),
        Refusal::OpenOrders { open, bound } => (open.to_string(), bound.to_string()),
        Refusal::OpenConditionals { open, bound } => (open.to_string(), bound.to_string()),
        Refusal::ReduceOnlyTooLarge { quantity, available, .. } => (quantity.to_string(), available.to_string()),
        _ => return None,
    })
}
