//! Refusals, version 1.

use super::event::{HaltReason, Scope};
use super::order::{ClientOrderId, OrderKey};
use super::setup::ContractStatus;
use crate::wire::frozen::{Amount, Frozen, Invalid, View, frozen};
use qcat_core::risk::refusal::Decimal;
use serde::ser::SerializeTupleVariant;
use serde::{Deserialize, Serialize, Serializer};

/// A number with its scale: mantissa, decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaled(i64, u8);

impl Frozen<Decimal> for Scaled {
    fn write<S: Serializer>(domain: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        let (mantissa, scale) = domain.parts();
        Scaled(mantissa, scale).serialize(serializer)
    }

    fn thaw(self) -> Result<Decimal, Invalid> {
        Ok(Decimal::new(self.0, self.1))
    }
}

frozen! {
    enum Bound for risk::refusal::Bound { Min, Max, Step }

    enum PriceRole for risk::refusal::PriceRole { Limit, Trigger }

    enum MoneyLimit for risk::refusal::MoneyLimit { Order, Position, Exposure, Budget }

    enum Refusal for risk::refusal::Refusal {
        Unsupported(what: String),
        InvalidShape(what: String),
        UnknownAccount(account: u16),
        WatchOnly(account: u16),
        UnknownStrategy { strategy: u16, account: u16 },
        ForeignSymbol { strategy: u16, symbol: u16 },
        UnknownSymbol(symbol: u16),
        NotTradable { symbol: u16, status: ContractStatus },
        AssetMismatch { symbol: u16 },
        Halted { scope: Scope, reason: HaltReason },
        Untrusted(account: u16),
        NoBudget(account: u16),
        BudgetExpired { account: u16, expired: i64 },
        NoEquity(account: u16),
        PriceFilter { role: PriceRole, price: Scaled, broken: Bound, bound: Scaled },
        PercentPrice { price: Scaled, bound: Scaled },
        LotFilter { quantity: Scaled, broken: Bound, bound: Scaled, market: bool },
        MinNotional { notional: Amount, bound: Amount },
        PriceBand { price: Scaled, reference: Scaled, band: i64 },
        NoReferencePrice(symbol: u16),
        WouldTrigger { trigger: Scaled, price: Scaled },
        TooLarge { limit: MoneyLimit, value: Amount, bound: Amount },
        Leverage { exposure: Amount, equity: Amount, bound: i64 },
        DailyLoss { loss: Amount, bound: Amount },
        OrderRate { sent: u32, bound: u32, window: i64 },
        Runaway { strategy: u16, placed: u32, bound: u32, window: i64 },
        OpenOrders { open: u32, bound: u32 },
        OpenConditionals { open: u32, bound: u32 },
        DuplicateId(id: ClientOrderId),
        UnknownOrder(key: OrderKey),
        NotModifiable { key: OrderKey, reason: String },
        NothingToReduce { position: Scaled },
        ReduceOnlyTooLarge { quantity: Scaled, available: Scaled, position: Scaled },
        ReduceOnlyConflict { position: Scaled },
        NotSoleOwner(strategy: u16),
        Exclusive(strategy: u16),
        Overflow,
    }
}
