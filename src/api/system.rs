//! The daemon itself: its version, its components, its stop.

use super::auth::Viewer;
use super::body::Query;
use super::error::Problem;
use super::openapi::{Limited, Problems};
use super::reads::{NoQuery, system_away};
use super::state::ApiState;
use actix_web::{HttpResponse, web};
use qcat_actors::runtime::component::ComponentView;
use qcat_actors::runtime::stop::StopReport;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the binary.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Version {
    /// The program's version.
    pub version: &'static str,
    /// The commit that it was built from; null when that is not known.
    pub commit: Option<&'static str>,
    /// The compiler; null when that is not known.
    pub rust: Option<&'static str>,
}

/// What this binary is.
pub const VERSION: Version =
    Version { version: env!("CARGO_PKG_VERSION"), commit: option_env!("QCAT_COMMIT"), rust: option_env!("QCAT_RUSTC") };

/// The components in the order in which they stop.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComponentsBody {
    /// Each component.
    #[schema(value_type = Vec<Object>)]
    items: Vec<ComponentView>,
}

/// How far the stop is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShutdownBody {
    /// How far the daemon is.
    phase: String,
    /// What it waits for, or why it stops.
    reason: Option<String>,
    /// Each component's part in the stop; null when it has not begun.
    #[schema(value_type = Option<Object>)]
    report: Option<StopReport>,
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// In order, each component within its time.
    Graceful,
    /// At once, as a second signal does: what has not stopped is named, and the exit code says so.
    Force,
}

/// Asks for a stop.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// How.
    pub mode: Mode,
}

/// Tells which version this is.
#[utoipa::path(get, path = "/api/v1/version", tag = "system", responses(
    (status = 200, description = "the version", body = Version), Limited))]
pub async fn version() -> HttpResponse {
    HttpResponse::Ok().json(VERSION)
}

/// Lists the components: state, restarts, parts, faults.
#[utoipa::path(get, path = "/api/v1/components", tag = "system", security(("bearer" = [])),
    responses((status = 200, description = "all components", body = ComponentsBody), Problems))]
pub async fn components(_: Viewer, state: web::Data<ApiState>, _: Query<NoQuery>) -> Result<HttpResponse, Problem> {
    let tree = state.system.tree().await.map_err(|away| system_away(&away))?;
    Ok(HttpResponse::Ok().json(ComponentsBody { items: tree.components.clone() }))
}

/// Shows one component.
#[utoipa::path(get, path = "/api/v1/components/{name}", tag = "system", security(("bearer" = [])),
    params(("name" = String, Path, description = "one of the names of `shutdown_order`")),
    responses((status = 200, description = "the component", body = Object), Problems))]
pub async fn component(
    _: Viewer,
    state: web::Data<ApiState>,
    name: web::Path<String>,
    _: Query<NoQuery>,
) -> Result<HttpResponse, Problem> {
    let tree = state.system.tree().await.map_err(|away| system_away(&away))?;
    let found = tree.components.iter().find(|component| component.name.name() == name.as_str());
    let found = found.ok_or_else(|| Problem::not_found("there is no such component"))?;
    Ok(HttpResponse::Ok().json(found))
}

/// Shows how far the stop is.
#[utoipa::path(get, path = "/api/v1/shutdown", tag = "system", security(("bearer" = [])),
    responses((status = 200, description = "the stop", body = ShutdownBody), Problems))]
pub async fn shutdown(_: Viewer, state: web::Data<ApiState>, _: Query<NoQuery>) -> HttpResponse {
    HttpResponse::Ok().json(stop_body(&state))
}

/// How far the stop is now.
pub fn stop_body(state: &ApiState) -> ShutdownBody {
    let (phase, reason) = state.system.phase();
    ShutdownBody { phase, reason, report: state.system.stop_report() }
}
