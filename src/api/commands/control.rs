//! Commands to the machinery: kill switch, reconciliation, restarts, the stop.

use super::orders::KeyHeader;
use super::read::{Faults, account, strategy, symbol};
use super::{Caller, CommandBody, answer, commands};
use crate::api::auth::{Admin, Trader};
use crate::api::body::{Json, Query};
use crate::api::error::{Code, Problem};
use crate::api::openapi::Problems;
use crate::api::reads::NoQuery;
use crate::api::state::ApiState;
use crate::api::system::{Mode, Shutdown, ShutdownBody, stop_body};
use actix_web::{HttpRequest, HttpResponse, web};
use qcat_actors::runtime::commands::Look;
use qcat_actors::runtime::component::Component;
use qcat_actors::runtime::console::ConsoleError;
use qcat_actors::runtime::supervise::NotRestarted;
use qcat_core::event::{OperatorCommand, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// How long a stop waits for its record in the journal.
const NOTED: Duration = Duration::from_secs(2);

/// How far the kill switch reaches.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillSwitch {
    /// `all`, `account`, `symbol` or `strategy`.
    #[schema(value_type = String, pattern = "^(all|account|symbol|strategy)$")]
    scope: Option<Value>,
    /// The account's, symbol's or strategy's name; not with `all`.
    #[schema(value_type = Option<String>)]
    name: Option<Value>,
}

/// Which kill switch is lifted.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KillSwitchQuery {
    /// `all`, `account`, `symbol` or `strategy`: as it was set.
    #[param(pattern = "^(all|account|symbol|strategy)$")]
    scope: String,
    /// The account's, symbol's or strategy's name; not with `all`.
    name: Option<String>,
}

/// Which part of a component.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PartQuery {
    /// Its name; all parts when nothing is said.
    part: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    All,
    Account,
    Symbol,
    Strategy,
}

const REACHES: [(&str, Reach); 4] =
    [("all", Reach::All), ("account", Reach::Account), ("symbol", Reach::Symbol), ("strategy", Reach::Strategy)];

impl KillSwitch {
    fn read(self) -> Result<(Reach, String), Problem> {
        let mut faults = Faults::default();
        faults.only_with("scope", self.scope.is_some(), true, "the kill switch");
        let reach = faults.choice("scope", self.scope, &REACHES);
        if let Some(reach) = reach {
            faults.only_with(
                "name",
                self.name.is_some(),
                reach != Reach::All,
                "the scopes account, symbol and strategy",
            );
        }
        let name = faults.text("name", self.name).unwrap_or_default();
        faults.or(reach.map(|reach| (reach, name)))
    }
}

fn scope(look: Look<'_>, reach: Reach, name: &str) -> Result<Scope, Problem> {
    Ok(match reach {
        Reach::All => Scope::All,
        Reach::Account => Scope::Account(account(look, name)?),
        Reach::Symbol => Scope::Symbol(symbol(look, name)?.symbol),
        Reach::Strategy => Scope::Strategy(strategy(look, name)?),
    })
}

/// Throws the kill switch: from here on nothing leaves that adds risk, and entries are cancelled; protective orders stay. It stays
/// over restarts until an admin lifts it.
#[utoipa::path(post, path = "/api/v1/risk/kill-switch", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.", params(KeyHeader), request_body = KillSwitch,
    responses((status = 202, description = "it is in force and journaled", body = CommandBody), Problems))]
pub async fn kill(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    _: Query<NoQuery>,
    Json(switch): Json<KillSwitch>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &trader, &switch)?;
    let (reach, name) = switch.read()?;
    tracing::warn!(code = "kill_switch_thrown", user = %trader.name, "the kill switch is thrown over HTTP");
    caller.answer(&state, move |look| Ok(OperatorCommand::Halt(scope(look, reach, &name)?))).await
}

/// Lifts a halt, whatever set it; the same scope as it was set with.
#[utoipa::path(delete, path = "/api/v1/risk/kill-switch", tag = "commands", security(("bearer" = [])),
    description = "Needs the role admin.", params(KillSwitchQuery, KeyHeader),
    responses((status = 202, description = "it is lifted and journaled", body = CommandBody), Problems))]
pub async fn resume(
    Admin(admin): Admin,
    request: HttpRequest,
    state: web::Data<ApiState>,
    Query(query): Query<KillSwitchQuery>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &admin, &query)?;
    let switch = KillSwitch { scope: Some(Value::from(query.scope)), name: query.name.map(Value::from) };
    let (reach, name) = switch.read()?;
    let make = move |look: Look<'_>| {
        let scope = scope(look, reach, &name)?;
        let in_force = look.engine.risk().view().halts;
        if !in_force.iter().any(|(halted, _)| *halted == scope) {
            return Err(Problem::new(
                Code::Conflict,
                "nothing is halted with this scope; GET /api/v1/risk lists what is",
            ));
        }
        Ok(OperatorCommand::Resume(scope))
    };
    caller.answer(&state, make).await
}

/// Compares an account with the exchange now.
#[utoipa::path(post, path = "/api/v1/accounts/{name}/reconcile", tag = "commands", security(("bearer" = [])),
    description = "Needs the role trader.",
    params(("name" = String, Path, description = "its name in the configuration"), KeyHeader),
    responses((status = 202, description = "it is journaled, and begins", body = CommandBody), Problems))]
pub async fn reconcile(
    Trader(trader): Trader,
    request: HttpRequest,
    state: web::Data<ApiState>,
    name: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    let caller = Caller::of(&request, &trader, &())?;
    let name = name.into_inner();
    let make = move |look: Look<'_>| {
        let known = account(look, &name).map_err(|_| Problem::not_found("there is no such account"))?;
        Ok(OperatorCommand::Reconcile(known))
    };
    caller.answer(&state, make).await
}

/// Restarts a component or one of its parts, with a fresh restart budget. It is in the journal before it happens.
#[utoipa::path(post, path = "/api/v1/components/{name}/restart", tag = "commands", security(("bearer" = [])),
    description = "Needs the role admin.",
    params(("name" = String, Path, description = "one of the names of `shutdown_order`"), PartQuery, KeyHeader),
    responses((status = 202, description = "it is journaled, and restarts", body = CommandBody), Problems))]
pub async fn restart(
    Admin(admin): Admin,
    request: HttpRequest,
    state: web::Data<ApiState>,
    name: web::Path<String>,
    Query(query): Query<PartQuery>,
) -> Result<HttpResponse, Problem> {
    let component: Component = name.parse().map_err(|_| Problem::not_found("there is no such component"))?;
    let caller = Caller::of(&request, &admin, &query)?;
    let target = match &query.part {
        Some(part) => format!("{component}/{part}"),
        None => component.to_string(),
    };
    let note = OperatorCommand::Note { what: "component_restart".into(), target: target.into() };
    let outcome = caller.ask(&state, move |_| Ok(note)).await?;
    if !outcome.repeated {
        let restarted = commands(&state)?.component_restart(component, query.part).await;
        restarted.map_err(|error| match error {
            ConsoleError::NotRestarted(NotRestarted::NoSuchPart(_)) => {
                Problem::not_found("the component has no such part")
            }
            ConsoleError::NotRestarted(refused) => Problem::new(Code::Conflict, refused.to_string()),
            away => Problem::new(Code::SystemUnavailable, away.to_string()).retry_after(1),
        })?;
    }
    answer(outcome, false)
}

/// Stops the daemon. A repeat is harmless; `force` only cuts short a stop that has begun.
#[utoipa::path(post, path = "/api/v1/shutdown", tag = "commands", security(("bearer" = [])),
    description = "Needs the role admin.", params(KeyHeader), request_body = Shutdown,
    responses((status = 202, description = "it stops", body = ShutdownBody), Problems))]
pub async fn shutdown(
    Admin(admin): Admin,
    request: HttpRequest,
    state: web::Data<ApiState>,
    _: Query<NoQuery>,
    Json(shutdown): Json<Shutdown>,
) -> Result<HttpResponse, Problem> {
    let force = shutdown.mode == Mode::Force;
    if force && state.system.stop_report().is_none() {
        return Err(Problem::new(Code::Conflict, "there is no stop to cut short: ask for a graceful one first"));
    }
    tracing::warn!(code = "stop_asked", user = %admin.name, mode = ?shutdown.mode, "a stop is asked for over HTTP");
    let caller = Caller::of(&request, &admin, &shutdown)?;
    let mode = if force { "force" } else { "graceful" };
    let note = OperatorCommand::Note { what: "shutdown".into(), target: mode.into() };
    // A daemon without an engine, or with one that hangs, can be stopped all the same.
    match tokio::time::timeout(NOTED, caller.ask(&state, move |_| Ok(note))).await {
        Ok(Ok(_)) => {}
        Ok(Err(problem)) if problem.code == Code::IdempotencyConflict => return Err(problem),
        Ok(Err(problem)) => tracing::warn!(code = "stop_not_journaled", %problem, "the stop is not in the journal"),
        Err(_) => tracing::warn!(code = "stop_not_journaled", "the stop is not in the journal: it took too long"),
    }
    state.system.stop(&format!("asked for by {} over HTTP", admin.name), force);
    Ok(HttpResponse::Accepted().json(stop_body(&state)))
}
