//! Orders: the words that strategies, gate, order machine, session and simulated venue share.

use crate::id::{AccountIx, ClientOrderId, OrderKey, StrategyIx, SymbolIx, TradeId, VenueOrderId};
use crate::num::{Money, Price, Quantity, Rate, Side};
use crate::time::Ts;
use serde::{Deserialize, Serialize};

pub mod desk;
pub mod reconcile;
pub mod state;

/// How long an order may rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeInForce {
    /// Good till cancelled.
    Gtc,
    /// Immediate or cancel: the rest expires.
    Ioc,
    /// Fill or kill: all at once or nothing.
    Fok,
    /// Post only (GTX): refused if it would take.
    PostOnly,
    /// Good till a date. Typed, refused by the gate.
    Gtd(Ts),
}

/// What sets off a conditional order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// Stop: price rises to the trigger for a buy, falls to it for a sell.
    Stop,
    /// Take profit: price falls to the trigger for a buy, rises to it for a sell.
    TakeProfit,
    /// Trailing stop; `callback_rate` is a share of the best price (0.001 to 0.2). Typed, refused by the gate.
    Trailing { callback_rate: Rate, activation: Option<Price> },
}

/// The price that a trigger watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkingType {
    /// Last trade.
    ContractPrice,
    /// Mark price.
    MarkPrice,
}

/// The terms of a conditional order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditional {
    /// What sets it off.
    pub trigger: Trigger,
    /// At which price; not used by a trailing stop.
    pub trigger_price: Price,
    /// Which price is watched.
    pub working_type: WorkingType,
    /// `Some`: it becomes a limit order; `None`: a market order.
    pub limit: Option<(Price, TimeInForce)>,
    /// Close the whole position (`closePosition`): excludes a quantity and `reduce_only`.
    pub close_position: bool,
    /// Refuse the trigger while mark and contract price are too far apart.
    pub price_protect: bool,
}

/// The terms of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terms {
    /// Take what is there.
    Market,
    /// A limit order.
    Limit { price: Price, time_in_force: TimeInForce },
    /// An order that waits for a trigger, at the exchange's conditional-order service.
    Conditional(Conditional),
}

impl Terms {
    /// Whether the order lives at the conditional-order service until it triggers.
    pub const fn is_conditional(&self) -> bool {
        matches!(self, Terms::Conditional(_))
    }

    /// Whether an order with these terms can only shrink a position: it is `reduce_only`, or it closes the position. This is
    /// the one rule of what is *protective*: what stays when entries are cancelled. A conditional order that is neither opens
    /// a position at its trigger, so it is an entry like any other.
    pub const fn reduces(&self, reduce_only: bool) -> bool {
        reduce_only || matches!(self, Terms::Conditional(Conditional { close_position: true, .. }))
    }

    /// The limit price, if there is one.
    pub const fn limit_price(&self) -> Option<Price> {
        match self {
            Terms::Limit { price, .. } | Terms::Conditional(Conditional { limit: Some((price, _)), .. }) => {
                Some(*price)
            }
            _ => None,
        }
    }
}

/// One net position per symbol, or a long and a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PositionMode {
    /// One net position per symbol.
    #[default]
    OneWay,
    /// Long and short apart. Typed, refused by the gate.
    Hedge,
}

/// Which position an order belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum PositionSide {
    /// The net position of one-way mode.
    #[default]
    Both,
    /// The long position of hedge mode.
    Long,
    /// The short position of hedge mode.
    Short,
}

/// What a strategy or a person wants placed. The gate may refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderIntent {
    /// The order's id, given out by the runner.
    pub id: ClientOrderId,
    /// The symbol.
    pub symbol: SymbolIx,
    /// Buy or sell.
    pub side: Side,
    /// How much; zero only with `close_position`.
    pub quantity: Quantity,
    /// The terms.
    pub terms: Terms,
    /// Must not grow or flip the strategy's (virtual) position.
    pub reduce_only: bool,
    /// Which position; `Both` in one-way mode.
    pub position_side: PositionSide,
}

impl OrderIntent {
    /// Whether it can only shrink the strategy's position: see [`Terms::reduces`].
    pub const fn reduces(&self) -> bool {
        self.terms.reduces(self.reduce_only)
    }
}

/// An order that passed the gate, as it is sent and as it is folded on recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// What was wanted.
    pub intent: OrderIntent,
    /// Whether `reduceOnly` goes on the wire: only where the real position covers it.
    pub send_reduce_only: bool,
    /// The price per unit at which the gate holds exposure for this order.
    pub held_price: Price,
}

impl NewOrder {
    /// Whether the exchange itself keeps it from growing or flipping the account's position: `reduceOnly` or `closePosition`
    /// is sent.
    pub const fn is_enforced(&self) -> bool {
        self.send_reduce_only || self.intent.terms.reduces(false)
    }

    /// Whether the account's exposure can grow by it. That is so for an exit too, where the exchange does not enforce it:
    /// the strategy's position shrinks then, but the account may have no such position.
    pub const fn adds_risk(&self) -> bool {
        !self.is_enforced()
    }
}

/// Something that a strategy or a person wants done. What it is about follows from the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Place an order.
    Place(OrderIntent),
    /// Cancel an order.
    Cancel { account: AccountIx, strategy: StrategyIx, symbol: SymbolIx, key: OrderKey },
    /// Change price and quantity of a limit order (loses its place in the queue).
    Modify { strategy: StrategyIx, symbol: SymbolIx, id: ClientOrderId, price: Price, quantity: Quantity },
    /// Cancel every open order of a strategy, in one symbol or in all.
    CancelAll { account: AccountIx, strategy: StrategyIx, symbol: Option<SymbolIx> },
}

impl Intent {
    /// The account that it concerns.
    pub fn account(&self) -> AccountIx {
        match self {
            Intent::Place(order) => order.id.account,
            Intent::Modify { id, .. } => id.account,
            Intent::Cancel { account, .. } | Intent::CancelAll { account, .. } => *account,
        }
    }

    /// The strategy that wants it.
    pub fn strategy(&self) -> StrategyIx {
        match self {
            Intent::Place(order) => order.id.strategy,
            Intent::Modify { strategy, .. } | Intent::Cancel { strategy, .. } | Intent::CancelAll { strategy, .. } => {
                *strategy
            }
        }
    }
}

/// The exchange's states of an ordinary order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStatus {
    /// Accepted, nothing filled.
    New,
    /// Partly filled, still working.
    PartiallyFilled,
    /// Filled.
    Filled,
    /// Cancelled.
    Canceled,
    /// Refused.
    Rejected,
    /// Expired (the rest of an IOC, a failed FOK, a post-only that would take, liquidation …).
    Expired,
    /// Expired by self-trade prevention.
    ExpiredInMatch,
}

impl OrderStatus {
    /// Whether nothing more can happen.
    pub const fn is_final(self) -> bool {
        !matches!(self, OrderStatus::New | OrderStatus::PartiallyFilled)
    }
}

/// Why a report was sent (`x`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutionType {
    /// Accepted.
    New,
    /// Cancelled.
    Canceled,
    /// Liquidation or auto-deleveraging.
    Calculated,
    /// Expired.
    Expired,
    /// A fill.
    Trade,
    /// Modified.
    Amendment,
    /// The report is the state itself: the answer to a request or a query.
    Status,
}

/// The exchange's states of a conditional order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionalStatus {
    /// Waiting for its trigger.
    New,
    /// The trigger price was reached; the order is on its way into the book.
    Triggering,
    /// It became an ordinary order.
    Triggered,
    /// The order that it became is done.
    Finished,
    /// Cancelled.
    Canceled,
    /// Refused, at the trigger too.
    Rejected,
    /// Expired.
    Expired,
}

/// The state of an ordinary order as the exchange reports it: by stream, answer or query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReport {
    /// The account.
    pub account: AccountIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// The client order id.
    pub key: OrderKey,
    /// The exchange's order id.
    pub venue_id: VenueOrderId,
    /// Buy or sell.
    pub side: Side,
    /// Which position.
    pub position_side: PositionSide,
    /// Market, or the limit terms.
    pub terms: Terms,
    /// The reduce-only flag on the exchange.
    pub reduce_only: bool,
    /// Why it was sent.
    pub execution: ExecutionType,
    /// The state after it.
    pub status: OrderStatus,
    /// Original quantity.
    pub quantity: Quantity,
    /// Filled so far, this fill included.
    pub filled: Quantity,
    /// The fill, for [`ExecutionType::Trade`] and [`ExecutionType::Calculated`] with a quantity.
    pub fill: Option<ReportedFill>,
    /// Expiry reason (`er`), 0 when none.
    pub expiry_reason: u8,
    /// The exchange's transaction time.
    pub exchange_time: Ts,
}

/// One fill as the exchange reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedFill {
    /// The trade.
    pub trade_id: TradeId,
    /// Its price.
    pub price: Price,
    /// Its quantity.
    pub quantity: Quantity,
    /// Whether the order was the maker.
    pub maker: bool,
    /// The fee, positive when paid, in any asset; `None` when the exchange charged none.
    pub fee: Option<Money>,
    /// The exchange's realised profit of this fill, before fees.
    pub realized: Money,
    /// The exchange's transaction time.
    pub exchange_time: Ts,
}

/// A row of the account's trade history (`userTrades`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeRecord {
    /// The symbol.
    pub symbol: SymbolIx,
    /// The order that it belongs to.
    pub venue_id: VenueOrderId,
    /// Buy or sell.
    pub side: Side,
    /// Which position.
    pub position_side: PositionSide,
    /// The fill.
    pub fill: ReportedFill,
}

/// The state of a conditional order as the exchange reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionalReport {
    /// The account.
    pub account: AccountIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// The client's id (`clientAlgoId`).
    pub key: OrderKey,
    /// The exchange's id of the conditional order (`algoId`).
    pub venue_id: VenueOrderId,
    /// Buy or sell.
    pub side: Side,
    /// Which position.
    pub position_side: PositionSide,
    /// The terms.
    pub terms: Conditional,
    /// Quantity; zero with `close_position`.
    pub quantity: Quantity,
    /// The reduce-only flag.
    pub reduce_only: bool,
    /// The state.
    pub status: ConditionalStatus,
    /// The ordinary order that it became (`ai`).
    pub became: Option<VenueOrderId>,
    /// Why it was refused (`rm`), empty when it was not.
    pub reason: Box<str>,
    /// The exchange's transaction time.
    pub exchange_time: Ts,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Filled.
    Filled,
    /// Cancelled, with or without fills.
    Canceled,
    /// Refused by the exchange, with its error code (0 when the report had none).
    Rejected(i32),
    /// Expired, with the exchange's reason (0 when none).
    Expired(u8),
    /// Provably never reached the exchange.
    NeverArrived,
}

/// Where an order is, as other nodes and people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderState {
    /// Recorded and on its way; not confirmed.
    InFlight,
    /// Nobody knows: it is being asked for.
    Unknown,
    /// Working on the book; for a conditional order: waiting for its trigger.
    Working,
    /// A conditional order whose trigger was reached.
    Triggering,
    /// Over.
    Done(End),
}

/// A change of an order, told to its strategy, the gate and the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderUpdate {
    /// The account.
    pub account: AccountIx,
    /// The strategy that owns it.
    pub strategy: StrategyIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// The order.
    pub key: OrderKey,
    /// Buy or sell.
    pub side: Side,
    /// Limit price, or zero.
    pub price: Price,
    /// Original quantity after any modification.
    pub quantity: Quantity,
    /// Filled so far.
    pub filled: Quantity,
    /// Reduce-only by intent.
    pub reduce_only: bool,
    /// Can only shrink its owner's position ([`Terms::reduces`]): it stays when entries are cancelled.
    pub protective: bool,
    /// Whether it is (still) a conditional order.
    pub conditional: bool,
    /// Where it is.
    pub state: OrderState,
}

impl OrderUpdate {
    /// What may still be filled: zero once the order is over.
    pub fn open_quantity(&self) -> Quantity {
        match self.state {
            OrderState::Done(_) => Quantity::ZERO,
            _ => self.quantity.saturating_sub(self.filled),
        }
    }
}

/// A fill, booked exactly once by (account, symbol, trade id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The account.
    pub account: AccountIx,
    /// The strategy that owns the order; `EXTERNAL` for orders that are not ours.
    pub strategy: StrategyIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// The order.
    pub key: OrderKey,
    /// The exchange's order id.
    pub venue_order: VenueOrderId,
    /// The trade.
    pub trade_id: TradeId,
    /// Buy or sell.
    pub side: Side,
    /// Which position.
    pub position_side: PositionSide,
    /// Price.
    pub price: Price,
    /// Quantity.
    pub quantity: Quantity,
    /// Whether the order was the maker.
    pub maker: bool,
    /// The fee, positive when paid, in any asset.
    pub fee: Option<Money>,
    /// The exchange's realised profit of this fill, before fees, in the margin asset.
    pub realized: Money,
    /// The exchange's transaction time.
    pub exchange_time: Ts,
}
