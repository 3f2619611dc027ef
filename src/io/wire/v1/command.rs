//! Commands to the venue and what comes back, version 1.

use super::market::Side;
use super::order::{
    ClientOrderId, ConditionalReport, NewOrder, OrderKey, OrderReport, PositionMode, PositionSide, TradeRecord,
};
use crate::wire::frozen::{Amount, Frozen, Invalid, View, frozen};
use serde::ser::{SerializeStruct, SerializeTupleVariant};
use serde::{Deserialize, Serialize, Serializer};

frozen! {
    struct VenueCommand for command::VenueCommand { id: u64, account: u16, kind: CommandKind }

    enum CommandKind for command::CommandKind {
        Place(order: NewOrder),
        Modify { symbol: u16, id: ClientOrderId, side: Side, price: i64, quantity: i64 },
        Cancel { symbol: u16, key: OrderKey, conditional: bool },
        Query(query: Query),
    }

    enum Query for command::Query {
        Order { symbol: u16, key: OrderKey, conditional: bool },
        OpenOrders,
        OpenConditionals,
        Trades { symbol: u16, from: TradeCursor },
        Positions,
        Balances,
        Settings,
    }

    enum TradeCursor for command::TradeCursor { Id(id: i64), Time(at: i64) }

    struct RequestOutcome for command::RequestOutcome { command: u64, account: u16, outcome: Outcome }

    enum Outcome for command::Outcome {
        Written,
        Order(report: OrderReport),
        Conditional(report: ConditionalReport),
        Rejected(error: VenueError),
        Unknown(error: VenueError),
        TimedOut,
        Limited(until: i64),
        NotSent,
        LinkLost,
    }

    struct VenueError for command::VenueError { code: i32, message: String }

    struct QueryAnswer for command::QueryAnswer { command: u64, account: u16, result: Result<Answer, VenueError> }

    enum Answer for command::Answer {
        Order(report: OrderReport),
        Conditional(report: ConditionalReport),
        NoSuchOrder,
        OpenOrders(orders: Vec<OrderReport>),
        OpenConditionals(orders: Vec<ConditionalReport>),
        Trades { symbol: u16, trades: Vec<TradeRecord>, complete: bool },
        Positions(positions: Vec<VenuePosition>),
        Balances(balances: Vec<VenueBalance>),
        Settings(settings: AccountSettings),
    }

    struct VenuePosition for command::VenuePosition {
        symbol: u16, position_side: PositionSide, quantity: i64, entry_price: i64,
    }

    struct VenueBalance for command::VenueBalance { wallet: Amount }

    struct AccountSettings for command::AccountSettings {
        position_mode: PositionMode, multi_assets: bool, symbols: Vec<SymbolSettings>,
    }

    struct SymbolSettings for command::SymbolSettings { symbol: u16, margin_type: MarginType, leverage: u16 }

    enum MarginType for command::MarginType { Cross, Isolated }

    enum Report for command::Report {
        Order(report: OrderReport),
        Conditional(report: ConditionalReport),
        Account(report: AccountReport),
        Leverage { account: u16, symbol: u16, leverage: u16 },
        MultiAssets { account: u16, multi_assets: bool },
        MarginCall { account: u16, symbol: u16, exchange_time: i64 },
    }

    struct AccountReport for command::AccountReport {
        account: u16, reason: AccountReason, balances: Vec<(VenueBalance, Amount)>, positions: Vec<VenuePosition>,
        exchange_time: i64,
    }

    enum AccountReason for command::AccountReason { Order, Funding, Transfer, Other }
}
