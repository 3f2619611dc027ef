//! Reads of what the engine believes: from the board, a copy at most 100 ms old.

use super::auth::Viewer;
use super::body::Query;
use super::error::{Code, Problem};
use super::openapi::Problems;
use super::page::{self, Page, PageQuery};
use super::state::{ApiState, Away};
use actix_web::{HttpResponse, web};
use qcat_actors::runtime::board::{AccountRow, Board, HaltRow, PositionRow, RiskRow, StrategyRow};
use qcat_actors::runtime::lane::LaneView;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// How long the trading thread may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// A page of what the engine believed at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct BoardPage<T> {
    /// The last input that is in it.
    pub seq: u64,
    /// When: RFC 3339, UTC.
    pub at: String,
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; null when this is the last.
    pub next: Option<String>,
}

/// One item of what the engine believed at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct BoardItem<T> {
    /// The last input that is in it.
    pub seq: u64,
    /// When: RFC 3339, UTC.
    pub at: String,
    /// The item.
    pub item: T,
}

/// What may be risked, how much of it is used, and what is halted.
#[derive(Debug, Serialize, ToSchema)]
pub struct RiskBody {
    /// The last input that is in it.
    seq: u64,
    /// When: RFC 3339, UTC.
    at: String,
    /// Whether every account that trades may add risk now.
    trading_ready: bool,
    /// Why not, one sentence each.
    not_ready: Vec<String>,
    /// Halts in force.
    halts: Vec<HaltRow>,
    /// Each account.
    accounts: Vec<RiskRow>,
}

/// Where the journal is.
#[derive(Debug, Serialize, ToSchema)]
pub struct JournalBody {
    /// When: RFC 3339, UTC.
    at: String,
    /// The lane that writes it.
    lane: LaneView,
}

/// Which positions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PositionsQuery {
    /// Of this account.
    account: Option<String>,
    /// In this symbol.
    symbol: Option<String>,
    /// Items of the page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(max_length = 1024)]
    cursor: Option<String>,
}

/// No query at all.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NoQuery {}

/// The trading thread does not answer.
pub fn system_away(away: &Away) -> Problem {
    Problem::new(Code::SystemUnavailable, away.0.clone()).retry_after(1)
}

/// The newest board.
pub async fn board(state: &ApiState) -> Result<Arc<Board>, Problem> {
    let late = |_| Away("the trading thread does not answer".to_owned());
    let board = tokio::time::timeout(ANSWER, state.system.board()).await.map_err(late).and_then(|board| board);
    board.map_err(|away| system_away(&away))
}

/// A page of a board's rows.
pub fn page_of<T>(board: &Board, page: Page<T>) -> BoardPage<T> {
    BoardPage { seq: board.seq, at: board.at.clone(), items: page.items, next: page.next }
}

/// Whether a filter lets a value through.
pub fn fits(filter: Option<&String>, value: &str) -> bool {
    filter.is_none_or(|filter| filter == value)
}

/// Lists the strategy instances.
#[utoipa::path(get, path = "/api/v1/strategies", tag = "trading", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, description = "a page of strategies", body = BoardPage<StrategyRow>), Problems))]
pub async fn strategies(
    _: Viewer,
    state: web::Data<ApiState>,
    Query(query): Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    let page = page::of("strategies", board.strategies.iter(), |row| row.name.clone(), &query)?;
    Ok(HttpResponse::Ok().json(page_of(&board, page)))
}

/// Shows one strategy instance.
#[utoipa::path(get, path = "/api/v1/strategies/{id}", tag = "trading", security(("bearer" = [])),
    params(("id" = String, Path, description = "its name in the configuration")),
    responses((status = 200, description = "the strategy", body = BoardItem<StrategyRow>), Problems))]
pub async fn strategy(
    _: Viewer,
    state: web::Data<ApiState>,
    id: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    let item = board.strategies.iter().find(|row| row.name == *id);
    let item = item.ok_or_else(|| Problem::not_found("there is no such strategy"))?;
    Ok(HttpResponse::Ok().json(BoardItem { seq: board.seq, at: board.at.clone(), item }))
}

/// Lists the open positions of the accounts.
#[utoipa::path(get, path = "/api/v1/positions", tag = "trading", security(("bearer" = [])), params(PositionsQuery),
    responses((status = 200, description = "a page of positions", body = BoardPage<PositionRow>), Problems))]
pub async fn positions(
    _: Viewer,
    state: web::Data<ApiState>,
    Query(query): Query<PositionsQuery>,
) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    let wanted =
        |row: &&PositionRow| fits(query.account.as_ref(), &row.account) && fits(query.symbol.as_ref(), &row.symbol);
    let key = |row: &PositionRow| format!("{}\t{}\t{}", row.account, row.symbol, row.side);
    let which = PageQuery { limit: query.limit, cursor: query.cursor.clone() };
    let page = page::of("positions", board.positions.iter().filter(wanted), key, &which)?;
    Ok(HttpResponse::Ok().json(page_of(&board, page)))
}

/// Lists the accounts with their balances.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "trading", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, description = "a page of accounts", body = BoardPage<AccountRow>), Problems))]
pub async fn accounts(
    _: Viewer,
    state: web::Data<ApiState>,
    Query(query): Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    let page = page::of("accounts", board.accounts.iter(), |row| row.name.clone(), &query)?;
    Ok(HttpResponse::Ok().json(page_of(&board, page)))
}

/// Shows one account.
#[utoipa::path(get, path = "/api/v1/accounts/{name}", tag = "trading", security(("bearer" = [])),
    params(("name" = String, Path, description = "its name in the configuration")),
    responses((status = 200, description = "the account", body = BoardItem<AccountRow>), Problems))]
pub async fn account(
    _: Viewer,
    state: web::Data<ApiState>,
    name: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    let item = board.accounts.iter().find(|row| row.name == *name);
    let item = item.ok_or_else(|| Problem::not_found("there is no such account"))?;
    Ok(HttpResponse::Ok().json(BoardItem { seq: board.seq, at: board.at.clone(), item }))
}

/// Shows what may be risked, how much of it is used, and what is halted.
#[utoipa::path(get, path = "/api/v1/risk", tag = "trading", security(("bearer" = [])),
    responses((status = 200, description = "limits, budgets, halts", body = RiskBody), Problems))]
pub async fn risk(_: Viewer, state: web::Data<ApiState>, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    Ok(HttpResponse::Ok().json(RiskBody {
        seq: board.seq,
        at: board.at.clone(),
        trading_ready: board.trading_ready,
        not_ready: board.not_ready.clone(),
        halts: board.halts.clone(),
        accounts: board.risk.clone(),
    }))
}

/// Shows how far the journal is written and durable.
#[utoipa::path(get, path = "/api/v1/journal", tag = "system", security(("bearer" = [])),
    responses((status = 200, description = "the journal", body = JournalBody), Problems))]
pub async fn journal(_: Viewer, state: web::Data<ApiState>, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let board = board(&state).await?;
    Ok(HttpResponse::Ok().json(JournalBody { at: board.at.clone(), lane: board.lane.clone() }))
}
