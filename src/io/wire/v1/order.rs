//! Orders, version 1.

use super::market::Side;
use crate::wire::frozen::{Amount, Frozen, Invalid, View, frozen};
use serde::ser::{SerializeStruct, SerializeTupleVariant};
use serde::{Deserialize, Serialize, Serializer};

frozen! {
    struct ClientOrderId for id::ClientOrderId { epoch: u32, account: u16, strategy: u16, counter: u32 }

    enum OrderKey for id::OrderKey { Ours(id: ClientOrderId), Foreign(text: String) }

    enum TimeInForce for order::TimeInForce { Gtc, Ioc, Fok, PostOnly, Gtd(until: i64) }

    enum Trigger for order::Trigger {
        Stop, TakeProfit, Trailing { callback_rate: i64, activation: Option<i64> },
    }

    enum WorkingType for order::WorkingType { ContractPrice, MarkPrice }

    struct Conditional for order::Conditional {
        trigger: Trigger, trigger_price: i64, working_type: WorkingType, limit: Option<(i64, TimeInForce)>,
        close_position: bool, price_protect: bool,
    }

    enum Terms for order::Terms {
        Market, Limit { price: i64, time_in_force: TimeInForce }, Conditional(terms: Conditional),
    }

    enum PositionMode for order::PositionMode { OneWay, Hedge }

    enum PositionSide for order::PositionSide { Both, Long, Short }

    struct OrderIntent for order::OrderIntent {
        id: ClientOrderId, symbol: u16, side: Side, quantity: i64, terms: Terms, reduce_only: bool,
        position_side: PositionSide,
    }

    struct NewOrder for order::NewOrder { intent: OrderIntent, send_reduce_only: bool, held_price: i64 }

    enum Intent for order::Intent {
        Place(order: OrderIntent),
        Cancel { account: u16, strategy: u16, symbol: u16, key: OrderKey },
        Modify { strategy: u16, symbol: u16, id: ClientOrderId, price: i64, quantity: i64 },
        CancelAll { account: u16, strategy: u16, symbol: Option<u16> },
    }

    enum OrderStatus for order::OrderStatus {
        New, PartiallyFilled, Filled, Canceled, Rejected, Expired, ExpiredInMatch,
    }

    enum ExecutionType for order::ExecutionType { New, Canceled, Calculated, Expired, Trade, Amendment, Status }

    enum ConditionalStatus for order::ConditionalStatus {
        New, Triggering, Triggered, Finished, Canceled, Rejected, Expired,
    }

    struct OrderReport for order::OrderReport {
        account: u16, symbol: u16, key: OrderKey, venue_id: i64, side: Side, position_side: PositionSide, terms: Terms,
        reduce_only: bool, execution: ExecutionType, status: OrderStatus, quantity: i64, filled: i64,
        fill: Option<ReportedFill>, expiry_reason: u8, exchange_time: i64,
    }

    struct ReportedFill for order::ReportedFill {
        trade_id: i64, price: i64, quantity: i64, maker: bool, fee: Option<Amount>, realized: Amount, exchange_time: i64,
    }

    struct TradeRecord for order::TradeRecord {
        symbol: u16, venue_id: i64, side: Side, position_side: PositionSide, fill: ReportedFill,
    }

    struct ConditionalReport for order::ConditionalReport {
        account: u16, symbol: u16, key: OrderKey, venue_id: i64, side: Side, position_side: PositionSide,
        terms: Conditional, quantity: i64, reduce_only: bool, status: ConditionalStatus, became: Option<i64>,
        reason: String, exchange_time: i64,
    }
}
