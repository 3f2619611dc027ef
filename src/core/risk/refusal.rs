//! Why an intent is refused: a value, never an error. Each text names what was wrong, the value and the bound.
#![deny(clippy::float_arithmetic)]

use crate::event::{HaltReason, Scope};
use crate::id::{AccountIx, ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use crate::instrument::{ContractStatus, Instrument};
use crate::num::{Money, NetQuantity, Price, Quantity, Rate, mantissa_to_string};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A number as people write it, with the scale of its instrument, so that a refusal can be read without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimal {
    mantissa: i64,
    scale: u8,
}

impl Decimal {
    /// From a mantissa at a scale, both as stored earlier.
    pub const fn new(mantissa: i64, scale: u8) -> Decimal {
        Decimal { mantissa, scale }
    }

    /// Mantissa and scale, to be stored.
    pub const fn parts(self) -> (i64, u8) {
        (self.mantissa, self.scale)
    }

    /// A price of an instrument.
    pub fn price(instrument: &Instrument, price: Price) -> Decimal {
        Decimal { mantissa: price.mantissa(), scale: instrument.price_scale }
    }

    /// A quantity of an instrument.
    pub fn quantity(instrument: &Instrument, quantity: Quantity) -> Decimal {
        Decimal { mantissa: quantity.mantissa(), scale: instrument.quantity_scale }
    }

    /// A position in an instrument.
    pub fn net(instrument: &Instrument, quantity: NetQuantity) -> Decimal {
        Decimal { mantissa: quantity.mantissa(), scale: instrument.quantity_scale }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mantissa_to_string(self.mantissa as i128, self.scale))
    }
}

/// Which bound of a filter was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Below the smallest.
    Min,
    /// Above the largest.
    Max,
    /// Not a multiple of the step.
    Step,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Min => "below the smallest allowed",
            Bound::Max => "above the largest allowed",
            Bound::Step => "not a multiple of the step",
        })
    }
}

/// A price of an order, by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PriceRole {
    /// The limit price.
    Limit,
    /// The trigger price.
    Trigger,
}

impl fmt::Display for PriceRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PriceRole::Limit => "limit price",
            PriceRole::Trigger => "trigger price",
        })
    }
}

/// A limit on an amount that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoneyLimit {
    /// Notional value of the order.
    Order,
    /// Notional value of the symbol's position with the working orders of the worse side.
    Position,
    /// Sum of the above over all symbols.
    Exposure,
    /// Exposure granted by the risk node.
    Budget,
}

impl fmt::Display for MoneyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MoneyLimit::Order => "order notional",
            MoneyLimit::Position => "position notional",
            MoneyLimit::Exposure => "account exposure",
            MoneyLimit::Budget => "account exposure under the risk budget",
        })
    }
}

/// Why an intent was refused. The texts are English; [`Refusal::code`] is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Something typed but not supported.
    #[error("{0} is not supported")]
    Unsupported(Cow<'static, str>),
    /// A combination that the exchange does not know.
    #[error("invalid order: {0}")]
    InvalidShape(Cow<'static, str>),
    /// The account is not configured here.
    #[error("account {} is not configured", .0.0)]
    UnknownAccount(AccountIx),
    /// The account is only watched.
    #[error("account {} is only watched: trading is switched off in its configuration", .0.0)]
    WatchOnly(AccountIx),
    /// The strategy is not configured, or for another account.
    #[error("strategy {} is not configured for account {}", strategy.0, account.0)]
    UnknownStrategy { strategy: StrategyIx, account: AccountIx },
    /// The strategy is not configured for the symbol.
    #[error("strategy {} is not configured for symbol {}", strategy.0, symbol.0)]
    ForeignSymbol { strategy: StrategyIx, symbol: SymbolIx },
    /// No definition of the symbol.
    #[error("symbol {} is not defined", .0.0)]
    UnknownSymbol(SymbolIx),
    /// The contract is not open for trading.
    #[error("symbol {} is not tradable: its status is {status:?}", symbol.0)]
    NotTradable { symbol: SymbolIx, status: ContractStatus },
    /// The contract's prices are not in the asset of the account's limits.
    #[error("amounts of symbol {} are not in the asset of the account's limits", symbol.0)]
    AssetMismatch { symbol: SymbolIx },
    /// Halted; orders that reduce and cancels pass.
    #[error("{scope:?} is halted: {reason:?}")]
    Halted { scope: Scope, reason: HaltReason },
    /// The account is not reconciled with the venue.
    #[error("account {} is not reconciled with the venue: only orders that reduce pass", .0.0)]
    Untrusted(AccountIx),
    /// The risk node granted no budget.
    #[error("the risk node has granted account {} no budget for new risk", .0.0)]
    NoBudget(AccountIx),
    /// The risk node's grant ran out.
    #[error("the risk budget of account {} expired at {expired:?}", account.0)]
    BudgetExpired { account: AccountIx, expired: Ts },
    /// The account's equity is not known.
    #[error("the equity of account {} is not known", .0.0)]
    NoEquity(AccountIx),
    /// PRICE_FILTER.
    #[error("{role} {price} is {broken} {bound}")]
    PriceFilter { role: PriceRole, price: Decimal, broken: Bound, bound: Decimal },
    /// PERCENT_PRICE.
    #[error("limit price {price} is beyond {bound}, the exchange's bound around the mark price")]
    PercentPrice { price: Decimal, bound: Decimal },
    /// LOT_SIZE or MARKET_LOT_SIZE.
    #[error("quantity {quantity} is {broken} {bound} ({})", if *market { "market orders" } else { "limit orders" })]
    LotFilter { quantity: Decimal, broken: Bound, bound: Decimal, market: bool },
    /// MIN_NOTIONAL.
    #[error("notional {notional} is below the exchange's smallest, {bound}")]
    MinNotional { notional: Money, bound: Money },
    /// Our own price band.
    #[error("limit price {price} is more than {band} (as a share) away from {reference}")]
    PriceBand { price: Decimal, reference: Decimal, band: Rate },
    /// No price to judge by, or none that is fresh enough.
    #[error("no fresh reference price of symbol {} is known", .0.0)]
    NoReferencePrice(SymbolIx),
    /// The trigger would set the order off at once.
    #[error("trigger price {trigger} has been passed already: the watched price is {price}")]
    WouldTrigger { trigger: Decimal, price: Decimal },
    /// An amount over its limit.
    #[error("{limit} would be {value}, allowed is {bound}")]
    TooLarge { limit: MoneyLimit, value: Money, bound: Money },
    /// Exposure over equity.
    #[error("exposure would be {exposure} on an equity of {equity}, allowed is a leverage of {bound}")]
    Leverage { exposure: Money, equity: Money, bound: Rate },
    /// The day's loss.
    #[error("the loss since 00:00 UTC is {loss}, allowed is less than {bound}")]
    DailyLoss { loss: Money, bound: Money },
    /// Orders and modifications in the window.
    #[error("{sent} orders were sent in the last {window:?}, allowed are {bound}")]
    OrderRate { sent: u32, bound: u32, window: Span },
    /// Orders of a strategy without a fill.
    #[error("strategy {} placed {placed} orders in {window:?} without a fill, allowed are {bound}", strategy.0)]
    Runaway { strategy: StrategyIx, placed: u32, bound: u32, window: Span },
    /// Open ordinary orders of the symbol.
    #[error("{open} orders of the symbol are open, allowed are {bound}")]
    OpenOrders { open: u32, bound: u32 },
    /// Open conditional orders.
    #[error("{open} conditional orders are open, allowed are {bound}")]
    OpenConditionals { open: u32, bound: u32 },
    /// The id was used before, or does not rise.
    #[error("client order id {0} was used before: the ids of a strategy must rise")]
    DuplicateId(ClientOrderId),
    /// No such working order.
    #[error("order {0} is not known as working")]
    UnknownOrder(OrderKey),
    /// The order cannot be modified as it is.
    #[error("order {key} cannot be modified: {reason}")]
    NotModifiable { key: OrderKey, reason: Cow<'static, str> },
    /// Reduce-only without a position to reduce.
    #[error("reduce-only, but the strategy's position is {position}: there is nothing to reduce on this side")]
    NothingToReduce { position: Decimal },
    /// Reduce-only beyond the position, or beyond what the account still has of it.
    #[error(
        "reduce-only quantity {quantity} exceeds {available}, what the account and working orders leave of the position {position}"
    )]
    ReduceOnlyTooLarge { quantity: Decimal, available: Decimal, position: Decimal },
    /// A plain order would take the position that working reduce-only orders rely on.
    #[error("working reduce-only orders rely on the position {position}: cancel them before closing it otherwise")]
    ReduceOnlyConflict { position: Decimal },
    /// `close_position` by one of several owners.
    #[error("close_position closes the account's whole position, but strategy {} is not its only owner", .0.0)]
    NotSoleOwner(StrategyIx),
    /// Another strategy's reduce-only or closing orders rely on being alone in the symbol.
    #[error("strategy {} has orders in the symbol that rely on being its only owner", .0.0)]
    Exclusive(StrategyIx),
    /// A number does not fit.
    #[error("the order's value is too large to compute")]
    Overflow,
}

impl Refusal {
    /// A stable code for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Unsupported(_) => "unsupported",
            Refusal::InvalidShape(_) => "invalid_shape",
            Refusal::UnknownAccount(_) => "unknown_account",
            Refusal::WatchOnly(_) => "watch_only",
            Refusal::UnknownStrategy { .. } => "unknown_strategy",
            Refusal::ForeignSymbol { .. } => "foreign_symbol",
            Refusal::UnknownSymbol(_) => "unknown_symbol",
            Refusal::NotTradable { .. } => "not_tradable",
            Refusal::AssetMismatch { .. } => "asset_mismatch",
            Refusal::Halted { .. } => "halted",
            Refusal::Untrusted(_) => "untrusted",
            Refusal::NoBudget(_) => "no_budget",
            Refusal::BudgetExpired { .. } => "budget_expired",
            Refusal::NoEquity(_) => "no_equity",
            Refusal::PriceFilter { .. } => "price_filter",
            Refusal::PercentPrice { .. } => "percent_price",
            Refusal::LotFilter { .. } => "lot_filter",
            Refusal::MinNotional { .. } => "min_notional",
            Refusal::PriceBand { .. } => "price_band",
            Refusal::NoReferencePrice(_) => "no_reference_price",
            Refusal::WouldTrigger { .. } => "would_trigger",
            Refusal::TooLarge { limit: MoneyLimit::Order, .. } => "order_notional",
            Refusal::TooLarge { limit: MoneyLimit::Position, .. } => "position_notional",
            Refusal::TooLarge { limit: MoneyLimit::Exposure, .. } => "exposure",
            Refusal::TooLarge { limit: MoneyLimit::Budget, .. } => "budget_exposure",
            Refusal::Leverage { .. } => "leverage",
            Refusal::DailyLoss { .. } => "daily_loss",
            Refusal::OrderRate { .. } => "order_rate",
            Refusal::Runaway { .. } => "runaway",
            Refusal::OpenOrders { .. } => "open_orders",
            Refusal::OpenConditionals { .. } => "open_conditionals",
            Refusal::DuplicateId(_) => "duplicate_id",
            Refusal::UnknownOrder(_) => "unknown_order",
            Refusal::NotModifiable { .. } => "not_modifiable",
            Refusal::NothingToReduce { .. } => "nothing_to_reduce",
            Refusal::ReduceOnlyTooLarge { .. } => "reduce_only_too_large",
            Refusal::ReduceOnlyConflict { .. } => "reduce_only_conflict",
            Refusal::NotSoleOwner(_) => "not_sole_owner",
            Refusal::Exclusive(_) => "exclusive",
            Refusal::Overflow => "overflow",
        }
    }
}
