//! What leaves the engine for a venue, and what comes back about it.

use crate::id::{AccountIx, ClientOrderId, OrderKey, SymbolIx, TradeId};
use crate::num::{Money, NetQuantity, Price, Quantity};
use crate::order::{ConditionalReport, NewOrder, OrderReport, PositionMode, PositionSide, TradeRecord};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// The number of a command, counted by the engine and never used twice by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct CommandId(pub u64);

/// One request to a venue. It is a decision: journaled before it is sent, and folded on recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueCommand {
    /// Its number; outcomes and answers name it.
    pub id: CommandId,
    /// The account that signs it.
    pub account: AccountIx,
    /// What to do.
    pub kind: CommandKind,
}

/// What to do at the venue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandKind {
    /// Place an order; a conditional one goes to the conditional-order service.
    Place(NewOrder),
    /// Change price and quantity of a limit order. `side` must be sent too.
    Modify { symbol: SymbolIx, id: ClientOrderId, side: crate::num::Side, price: Price, quantity: Quantity },
    /// Cancel one order.
    Cancel { symbol: SymbolIx, key: OrderKey, conditional: bool },
    /// Ask.
    Query(Query),
}

impl CommandKind {
    /// Whether exposure can grow by it; anything else passes when entries are refused.
    pub fn adds_risk(&self) -> bool {
        match self {
            CommandKind::Place(order) => order.adds_risk(),
            CommandKind::Modify { .. } => true,
            CommandKind::Cancel { .. } | CommandKind::Query(_) => false,
        }
    }
}

/// A question to the venue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// One order by client order id.
    Order { symbol: SymbolIx, key: OrderKey, conditional: bool },
    /// All open ordinary orders.
    OpenOrders,
    /// All open conditional orders.
    OpenConditionals,
    /// Trades of a symbol, oldest first, one page.
    Trades { symbol: SymbolIx, from: TradeCursor },
    /// Positions, entry prices, leverage.
    Positions,
    /// Wallet balances.
    Balances,
    /// Position mode, multi-assets mode, margin type and leverage of the configured symbols.
    Settings,
}

/// Where a page of trades begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TradeCursor {
    /// From this trade id on, included.
    Id(TradeId),
    /// From this time on, included.
    Time(Ts),
}

impl TradeCursor {
    /// A question by time reaches this far: the exchange's window is seven days, less an hour for clocks that differ.
    const WINDOW: Span = Span::from_secs(7 * 86_400 - 3_600);

    /// Where the next page of the history begins after the one from here, in which `newest` is the last trade; `None` when the
    /// history is complete up to `asked_at`. A page that is not full ends the history where ids are asked for; where a
    /// time is, it ends the window.
    pub fn next(self, newest: Option<TradeId>, complete: bool, asked_at: Ts) -> Option<TradeCursor> {
        let window_end = match self {
            TradeCursor::Id(_) => None,
            TradeCursor::Time(from) => Some(from.plus(TradeCursor::WINDOW)).filter(|end| *end < asked_at),
        };
        match newest {
            Some(newest) if !complete || window_end.is_some() => {
                Some(TradeCursor::Id(TradeId(newest.0.saturating_add(1))))
            }
            Some(_) => None,
            None => window_end.map(TradeCursor::Time),
        }
    }
}

/// What became of a command on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOutcome {
    /// The command.
    pub command: CommandId,
    /// The account.
    pub account: AccountIx,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a command. Answers to queries come as [`QueryAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The bytes were handed to the socket; from here on its fate is unknown until an answer.
    Written,
    /// The venue accepted an ordinary order, its change or its cancellation.
    Order(Box<OrderReport>),
    /// The venue accepted a conditional order or its cancellation.
    Conditional(Box<ConditionalReport>),
    /// The venue refused it for certain: it had no effect.
    Rejected(VenueError),
    /// The venue or the network left it open: it may or may not have had effect.
    Unknown(VenueError),
    /// No answer in time after it was written.
    TimedOut,
    /// Held back by our own rate limiter; never written. May be tried again at the given time.
    Limited(Ts),
    /// The connection broke before it was written: it had no effect.
    NotSent,
    /// The connection broke after it was written: its fate is unknown.
    LinkLost,
}

/// An error of the venue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code} {message}")]
pub struct VenueError {
    /// The exchange's code (negative), or the negated HTTP status when there was none.
    pub code: i32,
    /// Its text.
    pub message: Box<str>,
}

impl VenueError {
    /// The order does not exist (-2013), or cannot be cancelled because it is unknown (-2011).
    pub const UNKNOWN_ORDER: [i32; 2] = [-2013, -2011];

    /// The symbol does not exist (-1121), or is closed (-1122, -4141).
    pub const UNKNOWN_SYMBOL: [i32; 3] = [-1121, -1122, -4141];

    /// Whether the venue says that it knows no such symbol (any more).
    pub fn is_unknown_symbol(&self) -> bool {
        Self::UNKNOWN_SYMBOL.contains(&self.code)
    }

    /// Whether the venue says that it knows no such (open) order.
    pub fn is_unknown_order(&self) -> bool {
        Self::UNKNOWN_ORDER.contains(&self.code)
    }
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAnswer {
    /// The command that asked.
    pub command: CommandId,
    /// The account.
    pub account: AccountIx,
    /// The answer, or why there is none.
    pub result: Result<Answer, VenueError>,
}

/// What the venue answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The ordinary order asked for.
    Order(Box<OrderReport>),
    /// The conditional order asked for.
    Conditional(Box<ConditionalReport>),
    /// The venue knows no such order.
    NoSuchOrder,
    /// All open ordinary orders.
    OpenOrders(Vec<OrderReport>),
    /// All open conditional orders.
    OpenConditionals(Vec<ConditionalReport>),
    /// A page of trades; `complete` when it was the last one.
    Trades { symbol: SymbolIx, trades: Vec<TradeRecord>, complete: bool },
    /// All positions that are not flat.
    Positions(Vec<VenuePosition>),
    /// All balances that are not zero.
    Balances(Vec<VenueBalance>),
    /// The account's settings.
    Settings(AccountSettings),
}

/// A position as the venue reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenuePosition {
    /// The symbol.
    pub symbol: SymbolIx,
    /// Which position.
    pub position_side: PositionSide,
    /// Signed quantity.
    pub quantity: NetQuantity,
    /// The venue's average entry price, as it prints it (rounded to the price scale).
    pub entry_price: Price,
}

/// A wallet balance as the venue reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueBalance {
    /// The wallet balance: deposits, realised profit, fees and funding, without unrealised profit.
    pub wallet: Money,
}

/// The settings of an account that trading depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettings {
    /// One-way or hedge.
    pub position_mode: PositionMode,
    /// Multi-assets margin.
    pub multi_assets: bool,
    /// Margin type and leverage of symbols.
    pub symbols: Vec<SymbolSettings>,
}

/// Margin type and leverage of one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolSettings {
    /// The symbol.
    pub symbol: SymbolIx,
    /// Cross or isolated.
    pub margin_type: MarginType,
    /// Leverage, 1 to 125.
    pub leverage: u16,
}

/// Cross or isolated margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MarginType {
    /// The whole wallet backs the position.
    #[default]
    Cross,
    /// Only the margin put aside backs it.
    Isolated,
}

/// What the user stream says, or the venue's own doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// An ordinary order changed.
    Order(Box<OrderReport>),
    /// A conditional order changed.
    Conditional(Box<ConditionalReport>),
    /// Balances or positions changed.
    Account(Box<AccountReport>),
    /// Leverage of a symbol was changed at the venue.
    Leverage { account: AccountIx, symbol: SymbolIx, leverage: u16 },
    /// Multi-assets mode was changed at the venue.
    MultiAssets { account: AccountIx, multi_assets: bool },
    /// The venue warns that margin is short.
    MarginCall { account: AccountIx, symbol: SymbolIx, exchange_time: Ts },
}

/// A change of balances and positions (`ACCOUNT_UPDATE`): only what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    /// The account.
    pub account: AccountIx,
    /// Why.
    pub reason: AccountReason,
    /// New wallet balances, and by how much the venue says they changed other than by profit and fees (`bc`).
    pub balances: Vec<(VenueBalance, Money)>,
    /// New positions.
    pub positions: Vec<VenuePosition>,
    /// The exchange's transaction time.
    pub exchange_time: Ts,
}

/// Why balances or positions changed (`m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountReason {
    /// An order was filled: the fills are booked from order reports, this only confirms.
    Order,
    /// Funding was paid or received.
    Funding,
    /// Deposit, withdrawal, transfer and the like.
    Transfer,
    /// Anything else (insurance clear, adjustment, auction …): booked as a transfer and alerted.
    Other,
}

impl AccountReport {
    /// Whether the balance change has to be booked from this report because no order report carries it.
    pub fn books_balance(&self) -> bool {
        !matches!(self.reason, AccountReason::Order)
    }
}
