//! Orders in REST answers, and what they share with the user stream.

use super::list::{LeftOut, Rows};
use super::wire::{Reader, Scalar, Text};
use super::{DecodeError, Problem, parse, text_of};
use crate::id::{AccountIx, OrderKey, TradeId, VenueOrderId};
use crate::instrument::{Instrument, Universe};
use crate::num::{Price, Quantity, Rate};
use crate::order::{
    Conditional, ConditionalReport, ConditionalStatus, ExecutionType, OrderReport, OrderStatus, ReportedFill, Terms,
    TradeRecord, Trigger,
};
use serde::Deserialize;

/// The answer to placing, modifying, cancelling or querying one order.
pub fn order(bytes: &[u8], universe: &Universe, account: AccountIx) -> Result<OrderReport, DecodeError> {
    let r = Reader { kind: "order", universe };
    order_report(r, &parse(r.kind, text_of(r.kind, bytes)?)?, account)
}

/// The answer to `GET openOrders` (and `allOrders`).
pub fn orders(bytes: &[u8], universe: &Universe, account: AccountIx) -> Result<Rows<OrderReport>, DecodeError> {
    let r = Reader { kind: "openOrders", universe };
    let rows: Vec<OrderWire<'_>> = parse(r.kind, text_of(r.kind, bytes)?)?;
    Ok(Rows::read(&rows, |row| {
        order_report(r, row, account).map(Some).map_err(|e| left_out(r, &row.symbol, &row.client_order_id, e))
    }))
}

fn left_out(r: Reader<'_>, symbol: &Text<'_>, client_id: &Text<'_>, error: DecodeError) -> LeftOut {
    let ours = OrderKey::parse(client_id.as_deref().unwrap_or_default()).ours().is_some();
    let foreign_in = r.instrument("symbol", symbol).ok().map(|i| i.symbol).filter(|_| !ours);
    LeftOut { error, foreign_in, ours }
}

/// The answer to placing or querying one conditional order.
pub fn algo_order(bytes: &[u8], universe: &Universe, account: AccountIx) -> Result<ConditionalReport, DecodeError> {
    let r = Reader { kind: "algoOrder", universe };
    conditional_report(r, &parse(r.kind, text_of(r.kind, bytes)?)?, account)
}

/// The answer to `GET openAlgoOrders` (and `allAlgoOrders`).
pub fn algo_orders(
    bytes: &[u8],
    universe: &Universe,
    account: AccountIx,
) -> Result<Rows<ConditionalReport>, DecodeError> {
    let r = Reader { kind: "openAlgoOrders", universe };
    let rows: Vec<AlgoWire<'_>> = parse(r.kind, text_of(r.kind, bytes)?)?;
    Ok(Rows::read(&rows, |row| {
        conditional_report(r, row, account).map(Some).map_err(|e| left_out(r, &row.symbol, &row.client_algo_id, e))
    }))
}

/// The answer to cancelling a conditional order: it only names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlgoCanceled {
    /// The client's id.
    pub key: OrderKey,
    /// The exchange's id.
    pub venue_id: VenueOrderId,
}

/// The answer to `DELETE algoOrder`.
pub fn algo_canceled(bytes: &[u8], universe: &Universe) -> Result<AlgoCanceled, DecodeError> {
    let r = Reader { kind: "algoOrder cancel", universe };
    let w: AlgoWire<'_> = parse(r.kind, text_of(r.kind, bytes)?)?;
    let key = OrderKey::parse(w.client_algo_id.as_deref().unwrap_or_default());
    Ok(AlgoCanceled { key, venue_id: VenueOrderId(r.integer("algoId", w.algo_id)?) })
}

/// The answer to `GET userTrades`.
pub fn user_trades(bytes: &[u8], universe: &Universe) -> Result<Vec<TradeRecord>, DecodeError> {
    let r = Reader { kind: "userTrades", universe };
    let rows: Vec<TradeWire<'_>> = parse(r.kind, text_of(r.kind, bytes)?)?;
    rows.iter().map(|row| trade_record(r, row)).collect()
}

/// The fields that say what kind of order it is, whatever they are called.
pub(super) struct TermsWire<'a> {
    pub kind: Scalar<'a>,
    pub price: Scalar<'a>,
    pub trigger_price: Scalar<'a>,
    pub time_in_force: Scalar<'a>,
    pub good_till: Scalar<'a>,
    pub working_type: Scalar<'a>,
    pub close_position: Scalar<'a>,
    pub price_protect: Scalar<'a>,
    pub activation: Scalar<'a>,
    pub callback: Scalar<'a>,
}

pub(super) fn terms(r: Reader<'_>, i: &Instrument, w: &TermsWire<'_>) -> Result<Terms, DecodeError> {
    match w.kind.text() {
        Some("MARKET") => Ok(Terms::Market),
        // The exchange's own liquidation orders are limit orders of another name.
        Some("LIMIT" | "LIQUIDATION") => Ok(Terms::Limit {
            price: r.price_or_zero(i, "price", w.price)?,
            time_in_force: r.time_in_force(w.time_in_force, w.good_till)?,
        }),
        _ => conditional_terms(r, i, w).map(Terms::Conditional),
    }
}

pub(super) fn conditional_terms(r: Reader<'_>, i: &Instrument, w: &TermsWire<'_>) -> Result<Conditional, DecodeError> {
    let (trigger, is_limit) = match w.kind.text() {
        Some("STOP") => (Trigger::Stop, true),
        Some("STOP_MARKET") => (Trigger::Stop, false),
        Some("TAKE_PROFIT") => (Trigger::TakeProfit, true),
        Some("TAKE_PROFIT_MARKET") => (Trigger::TakeProfit, false),
        Some("TRAILING_STOP_MARKET") => {
            let activation = Some(r.price_or_zero(i, "activatePrice", w.activation)?).filter(|p| *p != Price::ZERO);
            // On the wire in per cent.
            let percent = r.rate_or_zero("callbackRate", w.callback)?;
            let callback_rate = Rate::from_mantissa(percent.mantissa() / 100);
            (Trigger::Trailing { callback_rate, activation }, false)
        }
        Some(other) => return Err(r.error("type", other, Problem::Word)),
        None => return Err(r.error("type", "", Problem::Missing)),
    };
    let limit = match is_limit {
        true => Some((r.price_or_zero(i, "price", w.price)?, r.time_in_force(w.time_in_force, w.good_till)?)),
        false => None,
    };
    Ok(Conditional {
        trigger,
        trigger_price: r.price_or_zero(i, "triggerPrice", w.trigger_price)?,
        working_type: r.working_type("workingType", w.working_type)?,
        limit,
        close_position: r.flag("closePosition", w.close_position)?,
        price_protect: r.flag("priceProtect", w.price_protect)?,
    })
}

pub(super) fn status(
    r: Reader<'_>,
    field: &'static str,
    word: Scalar<'_>,
    quantity: Quantity,
    filled: Quantity,
) -> Result<OrderStatus, DecodeError> {
    match word.text() {
        Some("NEW") => Ok(OrderStatus::New),
        Some("PARTIALLY_FILLED") => Ok(OrderStatus::PartiallyFilled),
        Some("FILLED") => Ok(OrderStatus::Filled),
        Some("CANCELED") => Ok(OrderStatus::Canceled),
        Some("REJECTED") => Ok(OrderStatus::Rejected),
        Some("EXPIRED") => Ok(OrderStatus::Expired),
        Some("EXPIRED_IN_MATCH") => Ok(OrderStatus::ExpiredInMatch),
        // Liquidation by the insurance fund, auto-deleveraging: the quantities say how far it got.
        Some("NEW_INSURANCE" | "NEW_ADL") => Ok(match (filled.is_zero(), filled >= quantity) {
            (true, _) => OrderStatus::New,
            (false, true) => OrderStatus::Filled,
            (false, false) => OrderStatus::PartiallyFilled,
        }),
        Some(other) => Err(r.error(field, other, Problem::Word)),
        None => Err(r.error(field, "", Problem::Missing)),
    }
}

pub(super) fn conditional_status(
    r: Reader<'_>,
    field: &'static str,
    word: Scalar<'_>,
) -> Result<ConditionalStatus, DecodeError> {
    match word.text() {
        Some("NEW") => Ok(ConditionalStatus::New),
        Some("TRIGGERING") => Ok(ConditionalStatus::Triggering),
        Some("TRIGGERED") => Ok(ConditionalStatus::Triggered),
        Some("FINISHED") => Ok(ConditionalStatus::Finished),
        Some("CANCELED") => Ok(ConditionalStatus::Canceled),
        Some("REJECTED") => Ok(ConditionalStatus::Rejected),
        Some("EXPIRED") => Ok(ConditionalStatus::Expired),
        Some(other) => Err(r.error(field, other, Problem::Word)),
        None => Err(r.error(field, "", Problem::Missing)),
    }
}

/// The ordinary order that a conditional one became: none when empty or zero.
pub(super) fn became(r: Reader<'_>, field: &'static str, id: Scalar<'_>) -> Result<Option<VenueOrderId>, DecodeError> {
    match id.text() {
        None => Ok(None),
        Some(_) => Ok(Some(VenueOrderId(r.integer(field, id)?)).filter(|id| id.0 != 0)),
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct OrderWire<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    client_order_id: Text<'a>,
    order_id: Scalar<'a>,
    side: Scalar<'a>,
    position_side: Scalar<'a>,
    #[serde(rename = "type")]
    kind: Scalar<'a>,
    status: Scalar<'a>,
    price: Scalar<'a>,
    orig_qty: Scalar<'a>,
    executed_qty: Scalar<'a>,
    stop_price: Scalar<'a>,
    time_in_force: Scalar<'a>,
    good_till_date: Scalar<'a>,
    working_type: Scalar<'a>,
    close_position: Scalar<'a>,
    price_protect: Scalar<'a>,
    activate_price: Scalar<'a>,
    price_rate: Scalar<'a>,
    reduce_only: Scalar<'a>,
    update_time: Scalar<'a>,
}

fn order_report(r: Reader<'_>, w: &OrderWire<'_>, account: AccountIx) -> Result<OrderReport, DecodeError> {
    let i = r.instrument("symbol", &w.symbol)?;
    let wire = TermsWire {
        kind: w.kind,
        price: w.price,
        trigger_price: w.stop_price,
        time_in_force: w.time_in_force,
        good_till: w.good_till_date,
        working_type: w.working_type,
        close_position: w.close_position,
        price_protect: w.price_protect,
        activation: w.activate_price,
        callback: w.price_rate,
    };
    let (quantity, filled) = (r.quantity(i, "origQty", w.orig_qty)?, r.quantity(i, "executedQty", w.executed_qty)?);
    Ok(OrderReport {
        account,
        symbol: i.symbol,
        key: OrderKey::parse(w.client_order_id.as_deref().unwrap_or_default()),
        venue_id: VenueOrderId(r.integer("orderId", w.order_id)?),
        side: r.side("side", w.side)?,
        position_side: r.position_side("positionSide", w.position_side)?,
        terms: terms(r, i, &wire)?,
        reduce_only: r.flag("reduceOnly", w.reduce_only)?,
        execution: ExecutionType::Status,
        status: status(r, "status", w.status, quantity, filled)?,
        quantity,
        filled,
        fill: None,
        expiry_reason: 0,
        exchange_time: r.time("updateTime", w.update_time)?,
    })
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AlgoWire<'a> {
    #[serde(borrow)]
    algo_id: Scalar<'a>,
    client_algo_id: Text<'a>,
    #[serde(alias = "type")]
    order_type: Scalar<'a>,
    symbol: Text<'a>,
    side: Scalar<'a>,
    position_side: Scalar<'a>,
    time_in_force: Scalar<'a>,
    quantity: Scalar<'a>,
    algo_status: Scalar<'a>,
    actual_order_id: Scalar<'a>,
    trigger_price: Scalar<'a>,
    price: Scalar<'a>,
    working_type: Scalar<'a>,
    close_position: Scalar<'a>,
    price_protect: Scalar<'a>,
    reduce_only: Scalar<'a>,
    activate_price: Scalar<'a>,
    callback_rate: Scalar<'a>,
    good_till_date: Scalar<'a>,
    create_time: Scalar<'a>,
    update_time: Scalar<'a>,
}

fn conditional_report(r: Reader<'_>, w: &AlgoWire<'_>, account: AccountIx) -> Result<ConditionalReport, DecodeError> {
    let i = r.instrument("symbol", &w.symbol)?;
    let wire = TermsWire {
        kind: w.order_type,
        price: w.price,
        trigger_price: w.trigger_price,
        time_in_force: w.time_in_force,
        good_till: w.good_till_date,
        working_type: w.working_type,
        close_position: w.close_position,
        price_protect: w.price_protect,
        activation: w.activate_price,
        callback: w.callback_rate,
    };
    let time = if w.update_time.text().is_some() { w.update_time } else { w.create_time };
    Ok(ConditionalReport {
        account,
        symbol: i.symbol,
        key: OrderKey::parse(w.client_algo_id.as_deref().unwrap_or_default()),
        venue_id: VenueOrderId(r.integer("algoId", w.algo_id)?),
        side: r.side("side", w.side)?,
        position_side: r.position_side("positionSide", w.position_side)?,
        terms: conditional_terms(r, i, &wire)?,
        quantity: r.quantity_or_zero(i, "quantity", w.quantity)?,
        reduce_only: r.flag("reduceOnly", w.reduce_only)?,
        status: conditional_status(r, "algoStatus", w.algo_status)?,
        became: became(r, "actualOrderId", w.actual_order_id)?,
        reason: "".into(),
        exchange_time: r.time("updateTime", time)?,
    })
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct TradeWire<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    id: Scalar<'a>,
    order_id: Scalar<'a>,
    side: Scalar<'a>,
    position_side: Scalar<'a>,
    price: Scalar<'a>,
    qty: Scalar<'a>,
    maker: Scalar<'a>,
    commission: Scalar<'a>,
    commission_asset: Scalar<'a>,
    realized_pnl: Scalar<'a>,
    time: Scalar<'a>,
}

fn trade_record(r: Reader<'_>, w: &TradeWire<'_>) -> Result<TradeRecord, DecodeError> {
    let i = r.instrument("symbol", &w.symbol)?;
    let paid = match w.commission_asset.text() {
        Some(_) => Some(r.money(r.asset("commissionAsset", w.commission_asset)?, "commission", w.commission)?),
        None => None,
    };
    let fill = ReportedFill {
        trade_id: TradeId(r.integer("id", w.id)?),
        price: r.computed_price(i, "price", w.price)?,
        quantity: r.quantity(i, "qty", w.qty)?,
        maker: r.flag("maker", w.maker)?,
        // In this list the exchange prints what was paid, as in the stream.
        fee: paid,
        realized: r.money(i.margin, "realizedPnl", w.realized_pnl)?,
        exchange_time: r.time("time", w.time)?,
    };
    Ok(TradeRecord {
        symbol: i.symbol,
        venue_id: VenueOrderId(r.integer("orderId", w.order_id)?),
        side: r.side("side", w.side)?,
        position_side: r.position_side("positionSide", w.position_side)?,
        fill,
    })
}
