//! Commands to strategies: start, stop, other parameters.

use super::read::{Faults, Members, strategy};
use super::{Caller, CommandBody};
use crate::api::auth::Trader;
use crate::api::body::{Json, Query};
use crate::api::error::{Code, Problem};
use crate::api::openapi::Problems;
use crate::api::reads::NoQuery;
use crate::api::state::ApiState;
use actix_web::{HttpRequest, HttpResponse, web};
use qcat_core::config::ParamValue;
use qcat_core::event::OperatorCommand;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

type Params = BTreeMap<Arc<str>, ParamValue>;

/// Starts a strategy, also one that was stopped for its faults. One that runs goes on.
#[utoipa::path(post, path = "/api/v1/strategies/{id}/start", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.",
    params(("id" = String, Path, description = "its name in the configuration"), super::orders::KeyHeader),
    responses((status = 202, description = "it is journaled", body = CommandBody), Problems))]
pub async fn start(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    id: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let make =
        move |look: qcat_actors::runtime::commands::Look<'_>| Ok(OperatorCommand::StartStrategy(strategy(look, &id)?));
    Caller::of(&request, &trader, &())?.answer(&state, make).await
}

/// Stops a strategy; its orders and position by its `on_stop`. It stays stopped over restarts.
#[utoipa::path(post, path = "/api/v1/strategies/{id}/stop", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.",
    params(("id" = String, Path, description = "its name in the configuration"), super::orders::KeyHeader),
    responses((status = 202, description = "it is journaled", body = CommandBody), Problems))]
pub async fn stop(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    id: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    let id = id.into_inner();
    let make =
        move |look: qcat_actors::runtime::commands::Look<'_>| Ok(OperatorCommand::StopStrategy(strategy(look, &id)?));
    Caller::of(&request, &trader, &())?.answer(&state, make).await
}

/// Gives a strategy other parameters: all of them, what is missing has its default. It starts fresh with them. They stay over
/// restarts until the configuration's own change.
#[utoipa::path(put, path = "/api/v1/strategies/{id}/params", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.",
    params(("id" = String, Path, description = "its name in the configuration"), super::orders::KeyHeader),
    request_body(content = Object, description = "parameters by name"),
    responses((status = 202, description = "they are journaled", body = CommandBody), Problems))]
pub async fn params(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    id: web::Path<String>,
    _: Query<NoQuery>,
    Json(members): Json<Members>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &trader, &members)?;
    let (id, params) = (id.into_inner(), read(members)?);
    let make = move |look: qcat_actors::runtime::commands::Look<'_>| {
        let ix = strategy(look, &id)?;
        let setup = look.engine.config().strategy(ix).ok_or_else(|| Problem::not_found("there is no such strategy"))?;
        let wrong = |error: qcat_core::strategy::registry::BuildError| Problem::new(Code::BadValue, error.to_string());
        look.registry.build(&setup.kind, &params).map_err(wrong)?;
        Ok(OperatorCommand::SetParams { strategy: ix, params })
    };
    caller.answer(&state, make).await
}

fn read(Members(members): Members) -> Result<Params, Problem> {
    let (mut faults, mut params) = (Faults::default(), Params::new());
    for (name, value) in members {
        let value = match value {
            Value::Bool(value) => Some(ParamValue::Bool(value)),
            Value::String(word) => Some(ParamValue::Text(word.into())),
            Value::Number(number) => {
                number.as_i64().map(ParamValue::Int).or_else(|| number.as_f64().map(ParamValue::Float))
            }
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        match value {
            Some(value) => drop(params.insert(name.into(), value)),
            None => faults.add(&name, "a number, a word, true or false is expected"),
        }
    }
    faults.or(Some(params))
}
