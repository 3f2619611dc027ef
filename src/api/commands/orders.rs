//! Commands about orders, in the name of the account's reserved strategy `external`.

use super::read::{Faults, account, not_decimal, symbol};
use super::{Caller, CommandBody};
use crate::api::auth::Trader;
use crate::api::body::{Json, Query};
use crate::api::error::{Code, Problem};
use crate::api::openapi::Problems;
use crate::api::reads::NoQuery;
use crate::api::state::ApiState;
use actix_web::{HttpRequest, HttpResponse, web};
use qcat_actors::runtime::commands::Look;
use qcat_core::event::OperatorCommand;
use qcat_core::id::{AccountIx, ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use qcat_core::instrument::Instrument;
use qcat_core::num::{Price, Quantity, Side};
use qcat_core::order::{
    Conditional, Intent, OrderIntent, OrderState, OrderUpdate, PositionSide, Terms, TimeInForce, Trigger, WorkingType,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// The header that makes a repeat harmless.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // Read by hand; this describes it.
pub struct KeyHeader {
    /// The client's own name of this request, known for a day: a repeat under it does nothing and gets the first's answer, the
    /// same name for something else gets 409. Recommended wherever a lost answer would be tried again.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 64, pattern = "^[!-~]+$", required = false)]
    idempotency_key: Option<String>,
}

/// An order to be placed. Numbers are decimal texts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// The account's name in the configuration.
    #[schema(value_type = String)]
    account: Option<Value>,
    /// The exchange's name of the contract, upper case.
    #[schema(value_type = String)]
    symbol: Option<Value>,
    /// `BUY` or `SELL`.
    #[schema(value_type = String, pattern = "^(BUY|SELL)$")]
    side: Option<Value>,
    /// `LIMIT`, `MARKET`, and with a trigger: `STOP`, `TAKE_PROFIT` (limit orders), `STOP_MARKET`, `TAKE_PROFIT_MARKET`.
    #[serde(rename = "type")]
    #[schema(value_type = String, pattern = "^(LIMIT|MARKET|(STOP|TAKE_PROFIT)(_MARKET)?)$")]
    kind: Option<Value>,
    /// How much; not with `close_position`.
    #[schema(value_type = Option<String>)]
    quantity: Option<Value>,
    /// The limit price of `LIMIT`, `STOP`, `TAKE_PROFIT`.
    #[schema(value_type = Option<String>)]
    price: Option<Value>,
    /// The trigger price of `STOP`, `TAKE_PROFIT` and their `_MARKET` forms.
    #[schema(value_type = Option<String>)]
    stop_price: Option<Value>,
    /// `GTC` (when nothing is said), `IOC`, `FOK`, `GTX` (post only); of orders with a limit price.
    #[schema(value_type = Option<String>, pattern = "^(GTC|IOC|FOK|GTX)$")]
    time_in_force: Option<Value>,
    /// Must not grow or flip the position of `external`.
    #[schema(value_type = Option<bool>)]
    reduce_only: Option<Value>,
    /// Closes the account's whole position at the trigger; with `STOP_MARKET` and `TAKE_PROFIT_MARKET`.
    #[schema(value_type = Option<bool>)]
    close_position: Option<Value>,
    /// Refuses the trigger while mark and contract price are too far apart; with the `_MARKET` forms.
    #[schema(value_type = Option<bool>)]
    price_protect: Option<Value>,
    /// What the trigger watches: `CONTRACT_PRICE` (when nothing is said) or `MARK_PRICE`.
    #[schema(value_type = Option<String>, pattern = "^(CONTRACT_PRICE|MARK_PRICE)$")]
    working_type: Option<Value>,
}

/// What changes of a limit order; what is missing stays as it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderChange {
    /// The new limit price.
    #[schema(value_type = Option<String>)]
    price: Option<Value>,
    /// The new quantity, with what is filled already.
    #[schema(value_type = Option<String>)]
    quantity: Option<Value>,
}

/// Whether to wait.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// `ack`: answer when the exchange has, or after five seconds.
    #[param(pattern = "^ack$")]
    wait: Option<String>,
}

/// Which orders are cancelled.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CancelQuery {
    /// Of this account.
    account: String,
    /// In this symbol; all when nothing is said.
    symbol: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    trigger: Option<Trigger>,
    limited: bool,
}

const SIDES: [(&str, Side); 2] = [("BUY", Side::Buy), ("SELL", Side::Sell)];
const KINDS: [(&str, Kind); 6] = [
    ("LIMIT", Kind { trigger: None, limited: true }),
    ("MARKET", Kind { trigger: None, limited: false }),
    ("STOP", Kind { trigger: Some(Trigger::Stop), limited: true }),
    ("STOP_MARKET", Kind { trigger: Some(Trigger::Stop), limited: false }),
    ("TAKE_PROFIT", Kind { trigger: Some(Trigger::TakeProfit), limited: true }),
    ("TAKE_PROFIT_MARKET", Kind { trigger: Some(Trigger::TakeProfit), limited: false }),
];
const TIMES: [(&str, TimeInForce); 4] =
    [("GTC", TimeInForce::Gtc), ("IOC", TimeInForce::Ioc), ("FOK", TimeInForce::Fok), ("GTX", TimeInForce::PostOnly)];
const WORKING: [(&str, WorkingType); 2] =
    [("CONTRACT_PRICE", WorkingType::ContractPrice), ("MARK_PRICE", WorkingType::MarkPrice)];

/// An order as it was asked for, its numbers still texts.
struct Wish {
    account: String,
    symbol: String,
    side: Side,
    kind: Kind,
    quantity: Option<String>,
    price: Option<String>,
    stop_price: Option<String>,
    time_in_force: TimeInForce,
    working_type: WorkingType,
    reduce_only: bool,
    close_position: bool,
    price_protect: bool,
}

impl NewOrder {
    fn read(self) -> Result<Wish, Problem> {
        let mut faults = Faults::default();
        let (account, symbol) = (faults.needed("account", self.account), faults.needed("symbol", self.symbol));
        faults.only_with("side", self.side.is_some(), true, "every order");
        faults.only_with("type", self.kind.is_some(), true, "every order");
        let side = faults.choice("side", self.side, &SIDES);
        let kind = faults.choice("type", self.kind, &KINDS);
        let close_position = faults.flag("close_position", self.close_position);
        let (priced, stopped) = (self.price.is_some(), self.stop_price.is_some());
        let (timed, watched) = (self.time_in_force.is_some(), self.working_type.is_some());
        let price_protect = faults.flag("price_protect", self.price_protect);
        if let Some(kind) = kind {
            let triggered = kind.trigger.is_some();
            faults.only_with("price", priced, kind.limited, "LIMIT, STOP and TAKE_PROFIT");
            faults.only_with("stop_price", stopped, triggered, "STOP, TAKE_PROFIT and their _MARKET forms");
            faults.only_with("time_in_force", timed, timed && kind.limited, "LIMIT, STOP and TAKE_PROFIT");
            faults.only_with("working_type", watched, watched && triggered, "a stop_price");
            let market = triggered && !kind.limited;
            faults.only_with("close_position", close_position, close_position && market, "the _MARKET forms");
            faults.only_with("price_protect", price_protect, price_protect && market, "the _MARKET forms");
            let sized = self.quantity.is_some();
            faults.only_with("quantity", sized, !close_position, "orders that do not say close_position");
        }
        let wish = Wish {
            account,
            symbol,
            side: side.unwrap_or(Side::Buy),
            kind: kind.unwrap_or(KINDS[0].1),
            quantity: faults.text("quantity", self.quantity),
            price: faults.text("price", self.price),
            stop_price: faults.text("stop_price", self.stop_price),
            time_in_force: faults.choice("time_in_force", self.time_in_force, &TIMES).unwrap_or(TimeInForce::Gtc),
            working_type: faults.choice("working_type", self.working_type, &WORKING).unwrap_or(WORKING[0].1),
            reduce_only: faults.flag("reduce_only", self.reduce_only),
            close_position,
            price_protect,
        };
        faults.or(side.and(kind).map(|_| wish))
    }
}

fn price(instrument: &Instrument, name: &str, text: Option<&String>) -> Result<Price, Problem> {
    let text = text.ok_or_else(|| Problem::new(Code::BadValue, format!("{name}: missing")))?;
    let tick = || instrument.price_text(instrument.filters.price.tick);
    instrument.parse_price(text).map_err(|error| not_decimal(name, &error, &tick()))
}

fn quantity(instrument: &Instrument, text: &str) -> Result<Quantity, Problem> {
    let step = || instrument.quantity_text(instrument.filters.lot.step);
    instrument.parse_quantity(text).map_err(|error| not_decimal("quantity", &error, &step()))
}

impl Wish {
    fn terms(&self, instrument: &Instrument) -> Result<Terms, Problem> {
        let limit = self.kind.limited.then(|| price(instrument, "price", self.price.as_ref())).transpose()?;
        Ok(match (self.kind.trigger, limit) {
            (None, None) => Terms::Market,
            (None, Some(price)) => Terms::Limit { price, time_in_force: self.time_in_force },
            (Some(trigger), limit) => Terms::Conditional(Conditional {
                trigger,
                trigger_price: price(instrument, "stop_price", self.stop_price.as_ref())?,
                working_type: self.working_type,
                limit: limit.map(|price| (price, self.time_in_force)),
                close_position: self.close_position,
                price_protect: self.price_protect,
            }),
        })
    }

    fn command(&self, look: Look<'_>) -> Result<OperatorCommand, Problem> {
        let (account, instrument) = (account(look, &self.account)?, symbol(look, &self.symbol)?);
        let quantity = self.quantity.as_ref().map(|text| quantity(instrument, text)).transpose()?;
        Ok(OperatorCommand::Intent(Intent::Place(OrderIntent {
            // Epoch and counter are given out where it is offered.
            id: ClientOrderId { epoch: 0, account, strategy: StrategyIx::EXTERNAL, counter: 0 },
            symbol: instrument.symbol,
            side: self.side,
            quantity: quantity.unwrap_or(Quantity::ZERO),
            terms: self.terms(instrument)?,
            reduce_only: self.reduce_only,
            position_side: PositionSide::Both,
        })))
    }
}

/// Places an order for an account, in the name of its reserved strategy `external`. The answer comes when the order is journaled,
/// or with `wait=ack` when the exchange has said what became of it.
#[utoipa::path(post, path = "/api/v1/orders", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.", params(WaitQuery, KeyHeader), request_body = NewOrder,
    responses((status = 200, description = "with `wait=ack`: the exchange answered", body = CommandBody),
        (status = 202, description = "it is journaled and on its way", body = CommandBody), Problems))]
pub async fn place(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    Query(query): Query<WaitQuery>,
    Json(order): Json<NewOrder>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &trader, &order)?.waiting(query.wait.as_deref())?;
    let wish = order.read()?;
    caller.answer(&state, move |look| wish.command(look)).await
}

/// An open order by the text of its client order id.
fn open(look: Look<'_>, id: &str) -> Result<(AccountIx, OrderUpdate), Problem> {
    let accounts = (0..look.engine.config().accounts.len()).filter_map(|at| u16::try_from(at).ok()).map(AccountIx);
    let all = accounts.filter_map(|account| Some((account, look.engine.desk(account)?)));
    let mut found = all.flat_map(|(account, desk)| desk.orders().map(move |order| (account, order)));
    if let Some(found) = found.find(|(_, order)| order.key.to_string() == id) {
        return Ok(found);
    }
    let over = OrderKey::parse(id).ours().and_then(|ours| {
        look.engine.desk(ours.account)?.order(SymbolIx::default(), OrderKey::Ours(ours)).map(|order| order.view().state)
    });
    Err(match over {
        Some(_) => Problem::new(Code::Conflict, "the order is over"),
        None => Problem::not_found("there is no such open order"),
    })
}

/// Changes price and quantity of a working limit order of `external`; it loses its place in the queue. Orders of strategies are
/// theirs to change.
#[utoipa::path(patch, path = "/api/v1/orders/{client_order_id}", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.",
    params(("client_order_id" = String, Path, description = "its client order id"), KeyHeader), request_body = OrderChange,
    responses((status = 202, description = "it is journaled", body = CommandBody), Problems))]
pub async fn modify(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    id: web::Path<String>,
    _: Query<NoQuery>,
    Json(change): Json<OrderChange>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &trader, &change)?;
    let mut faults = Faults::default();
    if change.price.is_none() && change.quantity.is_none() {
        faults.add("price, quantity", "one of them at least is needed");
    }
    let wanted = (faults.text("price", change.price), faults.text("quantity", change.quantity));
    let (new_price, new_quantity) = faults.or(Some(wanted))?;
    let id = id.into_inner();
    let make = move |look: Look<'_>| {
        let (_, order) = open(look, &id)?;
        let ours = order.key.ours().filter(|_| order.strategy == StrategyIx::EXTERNAL);
        let refused =
            || Problem::new(Code::Conflict, "the order belongs to a strategy, or to somebody else: cancel it");
        let ours = ours.ok_or_else(refused)?;
        let instrument = look.engine.universe().instrument(order.symbol);
        let instrument = instrument.ok_or_else(|| Problem::not_found("the order's symbol is not defined"))?;
        let price = new_price.map_or(Ok(order.price), |text| price(instrument, "price", Some(&text)))?;
        let quantity = new_quantity.map_or(Ok(order.quantity), |text| quantity(instrument, &text))?;
        let (strategy, symbol) = (StrategyIx::EXTERNAL, order.symbol);
        Ok(OperatorCommand::Intent(Intent::Modify { strategy, symbol, id: ours, price, quantity }))
    };
    caller.answer(&state, make).await
}

/// Cancels an open order, whoever placed it.
#[utoipa::path(delete, path = "/api/v1/orders/{client_order_id}", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.",
    params(("client_order_id" = String, Path, description = "its client order id"), WaitQuery, KeyHeader),
    responses((status = 200, description = "with `wait=ack`: the order is over", body = CommandBody),
        (status = 202, description = "it is journaled and on its way", body = CommandBody), Problems))]
pub async fn cancel(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    id: web::Path<String>,
    Query(query): Query<WaitQuery>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &trader, &())?.waiting(query.wait.as_deref())?;
    let id = id.into_inner();
    let make = move |look: Look<'_>| {
        let (account, OrderUpdate { symbol, key, state, .. }) = open(look, &id)?;
        if matches!(state, OrderState::Done(_)) {
            return Err(Problem::new(Code::Conflict, "the order is over"));
        }
        // In the reserved strategy's name, so that no strategy hears of a refusal of what it did not want.
        let strategy = StrategyIx::EXTERNAL;
        Ok(OperatorCommand::Intent(Intent::Cancel { account, strategy, symbol, key }))
    };
    caller.answer(&state, make).await
}

/// Cancels every order of an account, in one symbol or in all: ordinary and conditional, protective or not, whoever placed it.
#[utoipa::path(delete, path = "/api/v1/orders", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.", params(CancelQuery, KeyHeader),
    responses((status = 202, description = "it is journaled and on its way", body = CommandBody), Problems))]
pub async fn cancel_all(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    Query(query): Query<CancelQuery>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &trader, &query)?;
    let make = move |look: Look<'_>| {
        let account = account(look, &query.account)?;
        let symbol = query.symbol.map(|name| symbol(look, &name).map(|instrument| instrument.symbol)).transpose()?;
        Ok(OperatorCommand::CancelAll { account, symbol })
    };
    caller.answer(&state, make).await
}
