//! Orders: open ones as the engine believes them to be.

use super::auth::Viewer;
use super::body::Query;
use super::error::Problem;
use super::openapi::Problems;
use super::page::{self, PageQuery};
use super::reads::{BoardItem, BoardPage, NoQuery, board, fits, page_of};
use super::state::ApiState;
use actix_web::{HttpResponse, web};
use qcat_actors::runtime::board::OrderRow;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which open orders.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    /// Of this account.
    account: Option<String>,
    /// Of this strategy; `external` for orders that are not ours.
    strategy: Option<String>,
    /// In this symbol.
    symbol: Option<String>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(max_length = 1024)]
    cursor: Option<String>,
}

/// Lists the open orders: what the engine believes now.
#[utoipa::path(get, path = "/api/v1/orders", tag = "trading", security(("bearer" = [])), params(OrdersQuery),
    responses((status = 200, description = "a page of open orders", body = BoardPage<OrderRow>), Problems))]
pub async fn orders(
    _: Viewer,
    state: web::Data<ApiState>,
    Query(query): Query<OrdersQuery>,
) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    let wanted = |row: &&OrderRow| {
        fits(query.account.as_ref(), &row.account)
            && fits(query.strategy.as_ref(), &row.strategy)
            && fits(query.symbol.as_ref(), &row.symbol)
    };
    let key = |row: &OrderRow| format!("{}\t{}\t{}", row.account, row.symbol, row.client_order_id);
    let which = PageQuery { limit: query.limit, cursor: query.cursor.clone() };
    let page = page::of("orders", board.orders.iter().filter(wanted), key, &which)?;
    Ok(HttpResponse::Ok().json(page_of(&board, page)))
}

/// Shows one open order.
#[utoipa::path(get, path = "/api/v1/orders/{client_order_id}", tag = "trading", security(("bearer" = [])),
    params(("client_order_id" = String, Path, description = "its client order id")),
    responses((status = 200, description = "the order", body = BoardItem<OrderRow>), Problems))]
pub async fn order(
    _: Viewer,
    state: web::Data<ApiState>,
    id: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    let item = board.orders.iter().find(|row| row.client_order_id == *id);
    let item = item.ok_or_else(|| Problem::not_found("there is no such open order"))?;
    Ok(HttpResponse::Ok().json(BoardItem { seq: board.seq, at: board.at.clone(), item }))
}
