//! Reads of what has happened, from the database: orders that ended, trades, decisions, the audit log. Newest first, by cursor.
//!
//! `/api/v1/orders` is what the engine believes to be open now; `/api/v1/history/orders` is every order that the database has, in
//! the state in which it was last written there.

use super::auth::{Admin, Viewer};
use super::body::Query;
use super::error::{Code, Problem};
use super::openapi::Problems;
use super::page::{self, Page};
use super::state::ApiState;
use actix_web::{HttpResponse, web};
use qcat_io::store::{self, Filter, Micros, Rows, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

macro_rules! query {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            $($(#[$field_doc])* $field: Option<String>,)*
            /// Not before this time: RFC 3339.
            #[param(format = DateTime)]
            from: Option<String>,
            /// Before this time: RFC 3339.
            #[param(format = DateTime)]
            until: Option<String>,
            /// Items of the page.
            #[param(minimum = 1, maximum = 500, default = 100)]
            limit: Option<u32>,
            /// `next` of the page before.
            #[param(max_length = 1024)]
            cursor: Option<String>,
        }

        impl $name {
            fn read(self) -> Result<(Filter, store::Page), Problem> {
                let filter = Filter {
                    $($field: self.$field.map(Into::into),)*
                    from: time("from", self.from)?,
                    until: time("until", self.until)?,
                    ..Filter::default()
                };
                let limit = u32::try_from(page::limit(self.limit)?).unwrap_or(page::LIMIT);
                Ok((filter, store::Page { limit, cursor: self.cursor }))
            }
        }
    };
}

query!(
    /// Which orders.
    OrderHistoryQuery {
        /// Of this account.
        account,
        /// Of this strategy; `external` for orders that are not ours.
        strategy,
        /// In this symbol.
        symbol,
        /// With this client order id.
        client_order_id,
        /// In this state: `working`, `filled`, `canceled`, `rejected`, `expired` and so on.
        state
    }
);
query!(
    /// Which trades.
    TradesQuery {
        /// Of this account.
        account,
        /// Of this strategy; `external` for orders that are not ours.
        strategy,
        /// In this symbol.
        symbol,
        /// Of this order.
        client_order_id
    }
);
query!(
    /// Which decisions.
    DecisionsQuery {
        /// Of this account.
        account,
        /// Of this strategy.
        strategy,
        /// In this symbol.
        symbol,
        /// About this order.
        client_order_id,
        /// `refused`, `halted`, `resumed`, `runner`, `alert`.
        kind
    }
);
query!(
    /// Which lines of the audit log.
    AuditQuery {
        /// Of this user.
        actor
    }
);

fn time(name: &str, text: Option<String>) -> Result<Option<Micros>, Problem> {
    let Some(text) = text else { return Ok(None) };
    // In a query a plus sign means a space.
    let at = qcat_io::clock::parse(&text.replace(' ', "+"));
    let wrong = || Problem::new(Code::BadQuery, format!("{name} is not a time like 2026-11-24T02:00:00Z"));
    at.map(|at| Some(Micros::from(at))).ok_or_else(wrong)
}

/// What a failure of the database means to who asked.
pub fn store_problem(error: &StoreError, cursor: bool) -> Problem {
    match error {
        StoreError::Invalid(_) if cursor => Problem::new(Code::BadCursor, "the cursor was not given out for this list"),
        StoreError::Invalid(reason) => Problem::new(Code::BadQuery, reason.clone()),
        error => {
            tracing::warn!(code = "database_read_failed", %error, "a read of the database failed");
            Problem::new(Code::StoreUnavailable, "the database does not answer").retry_after(5)
        }
    }
}

fn answer<T: Serialize>(rows: Result<Rows<T>, StoreError>, cursor: bool) -> Result<HttpResponse, Problem> {
    let rows = rows.map_err(|error| store_problem(&error, cursor))?;
    Ok(HttpResponse::Ok().json(Page { items: rows.rows, next: rows.next }))
}

/// Lists the orders that the database has, newest first.
#[utoipa::path(get, path = "/api/v1/history/orders", tag = "history", security(("bearer" = [])), params(OrderHistoryQuery),
    responses((status = 200, description = "a page of orders", body = Page<Object>), Problems))]
pub async fn orders(
    _: Viewer,
    state: web::Data<ApiState>,
    Query(query): Query<OrderHistoryQuery>,
) -> Result<HttpResponse, Problem> {
    let (filter, page) = query.read()?;
    let cursor = page.cursor.is_some();
    answer(state.store()?.orders(filter, page).await, cursor)
}

/// Lists the trades (fills), newest first.
#[utoipa::path(get, path = "/api/v1/trades", tag = "history", security(("bearer" = [])), params(TradesQuery),
    responses((status = 200, description = "a page of trades", body = Page<Object>), Problems))]
pub async fn trades(
    _: Viewer,
    state: web::Data<ApiState>,
    Query(query): Query<TradesQuery>,
) -> Result<HttpResponse, Problem> {
    let (filter, page) = query.read()?;
    let cursor = page.cursor.is_some();
    answer(state.store()?.fills(filter, page).await, cursor)
}

/// Lists what was decided besides orders: refusals, halts, states of strategies, alerts; newest first.
#[utoipa::path(get, path = "/api/v1/decisions", tag = "history", security(("bearer" = [])), params(DecisionsQuery),
    responses((status = 200, description = "a page of decisions", body = Page<Object>), Problems))]
pub async fn decisions(
    _: Viewer,
    state: web::Data<ApiState>,
    Query(query): Query<DecisionsQuery>,
) -> Result<HttpResponse, Problem> {
    let (filter, page) = query.read()?;
    let cursor = page.cursor.is_some();
    answer(state.store()?.decisions(filter, page).await, cursor)
}

/// Lists who asked for what, from where, and what came of it; newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "history", security(("bearer" = [])), params(AuditQuery),
    responses((status = 200, description = "a page of the audit log", body = Page<Object>), Problems))]
pub async fn audit(
    _: Admin,
    state: web::Data<ApiState>,
    Query(query): Query<AuditQuery>,
) -> Result<HttpResponse, Problem> {
    let (filter, page) = query.read()?;
    let cursor = page.cursor.is_some();
    answer(state.store()?.audit(filter, page).await, cursor)
}
