//! What a client may ask of the venue, and what the venue says.

use crate::command::{Answer, CommandId, CommandKind, MarginType, Outcome, Query, QueryAnswer, Report, RequestOutcome};
use crate::command::{VenueCommand, VenueError};
use crate::event::Input;
use crate::id::{AccountIx, OrderKey, SymbolIx, VenueOrderId};
use crate::num::{Price, Quantity, Side};
use crate::order::{NewOrder, PositionMode, PositionSide, Terms};
use crate::time::Ts;
use serde::{Deserialize, Serialize};

/// A request of an account. The number comes back with the answer; the venue gives it no meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueRequest {
    /// The client's number of it.
    pub command: CommandId,
    /// What is wanted.
    pub kind: RequestKind,
}

/// How an order is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderRef {
    /// By the client's id.
    Key(OrderKey),
    /// By the venue's id.
    Id(VenueOrderId),
}

/// An order to place, as the exchange's interface knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceOrder {
    /// The client's id.
    pub key: OrderKey,
    /// The symbol.
    pub symbol: SymbolIx,
    /// Buy or sell.
    pub side: Side,
    /// How much; zero with `closePosition`.
    pub quantity: Quantity,
    /// The terms; conditional ones go to the conditional-order service.
    pub terms: Terms,
    /// `reduceOnly`.
    pub reduce_only: bool,
    /// `positionSide`.
    pub position_side: PositionSide,
}

impl From<&NewOrder> for PlaceOrder {
    fn from(order: &NewOrder) -> PlaceOrder {
        let intent = &order.intent;
        PlaceOrder {
            key: OrderKey::Ours(intent.id),
            symbol: intent.symbol,
            side: intent.side,
            quantity: intent.quantity,
            terms: intent.terms,
            reduce_only: order.send_reduce_only,
            position_side: intent.position_side,
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKind {
    /// Place an order. Answer: [`Outcome::Order`] with the state after matching, or [`Outcome::Conditional`].
    Place(PlaceOrder),
    /// Change price and quantity of a limit order; it loses its place in the queue.
    Modify { symbol: SymbolIx, order: OrderRef, side: Side, price: Price, quantity: Quantity },
    /// Cancel one order.
    Cancel { symbol: SymbolIx, order: OrderRef, conditional: bool },
    /// Cancel all ordinary or all conditional orders of a symbol. Answer: [`OutputKind::Acknowledged`].
    CancelAll { symbol: SymbolIx, conditional: bool },
    /// One order by either id, open or not. Answer: [`OutputKind::Answer`].
    Find { symbol: SymbolIx, order: OrderRef, conditional: bool },
    /// Any other question. Answer: [`OutputKind::Answer`].
    Query(Query),
    /// Set a symbol's leverage. Answer: [`OutputKind::Acknowledged`].
    SetLeverage { symbol: SymbolIx, leverage: u16 },
    /// Set a symbol's margin type. Orders in isolated symbols are refused: only cross margin is simulated.
    SetMarginType { symbol: SymbolIx, margin_type: MarginType },
    /// Set the position mode. Orders in hedge mode are refused: only one-way mode is simulated.
    SetPositionMode(PositionMode),
    /// Set multi-assets margin. Orders in it are refused: only single-asset margin is simulated.
    SetMultiAssets(bool),
}

impl From<&VenueCommand> for VenueRequest {
    fn from(command: &VenueCommand) -> VenueRequest {
        let kind = match &command.kind {
            CommandKind::Place(order) => RequestKind::Place(order.into()),
            &CommandKind::Modify { symbol, id, side, price, quantity } => {
                let order = OrderRef::Key(OrderKey::Ours(id));
                RequestKind::Modify { symbol, order, side, price, quantity }
            }
            &CommandKind::Cancel { symbol, key, conditional } => {
                RequestKind::Cancel { symbol, order: OrderRef::Key(key), conditional }
            }
            CommandKind::Query(query) => RequestKind::Query(query.clone()),
        };
        VenueRequest { command: command.id, kind }
    }
}

/// Something that reaches a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VenueOutput {
    /// When it reaches the client. Outputs are pushed in the order of the venue's doing, not of this time.
    pub at: Ts,
    /// Whose it is.
    pub account: AccountIx,
    /// What it is.
    pub kind: OutputKind,
}

/// What reaches a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputKind {
    /// What became of a place, modify or cancel.
    Outcome(RequestOutcome),
    /// The answer to a query.
    Answer(QueryAnswer),
    /// The answer to a request that no engine command makes.
    Acknowledged { command: CommandId, result: Result<(), VenueError> },
    /// The user stream.
    Report(Report),
}

impl VenueOutput {
    /// The engine's input that it is; `None` for answers to requests that no engine makes.
    pub fn into_input(self) -> Option<Input> {
        match self.kind {
            OutputKind::Outcome(outcome) => Some(Input::Outcome(outcome)),
            OutputKind::Answer(answer) => Some(Input::Answer(answer)),
            OutputKind::Report(report) => Some(Input::Report(report)),
            OutputKind::Acknowledged { .. } => None,
        }
    }
}

/// How a request was answered, before latency and faults.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Outcome(Outcome),
    Answer(Result<Answer, VenueError>),
    Acknowledged(Result<(), VenueError>),
}

impl Reply {
    /// The answer of this kind that says: nobody knows.
    pub fn unknown(kind: &RequestKind, error: VenueError) -> Reply {
        match kind {
            RequestKind::Place(_) | RequestKind::Modify { .. } | RequestKind::Cancel { .. } => {
                Reply::Outcome(Outcome::Unknown(error))
            }
            RequestKind::Find { .. } | RequestKind::Query(_) => Reply::Answer(Err(error)),
            _ => Reply::Acknowledged(Err(error)),
        }
    }

    /// The answer of this kind that says no.
    pub fn refused(kind: &RequestKind, error: VenueError) -> Reply {
        match Reply::unknown(kind, error.clone()) {
            Reply::Outcome(_) => Reply::Outcome(Outcome::Rejected(error)),
            other => other,
        }
    }

    pub fn into_kind(self, command: CommandId, account: AccountIx) -> OutputKind {
        match self {
            Reply::Outcome(outcome) => OutputKind::Outcome(RequestOutcome { command, account, outcome }),
            Reply::Answer(result) => OutputKind::Answer(QueryAnswer { command, account, result }),
            Reply::Acknowledged(result) => OutputKind::Acknowledged { command, result },
        }
    }
}
