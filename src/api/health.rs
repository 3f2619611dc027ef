//! Health: for people and load balancers (`/health`), for the supervisor of the process (`/health/live`), and whether requests can
//! be served (`/health/ready`), with the word beside it whether orders may leave.

use super::openapi::Limited;
use super::state::ApiState;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use qcat_actors::runtime::component::ComponentState;
use qcat_actors::runtime::lane::LaneState;
use qcat_actors::runtime::system::Tree;
use qcat_core::health::{CheckStatus, HealthStatus, Report};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// How long the parts behind may take to answer a probe.
const ANSWER: Duration = Duration::from_secs(2);

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It has not been looked at yet.
    Starting,
    /// As it should be.
    Healthy,
    /// It works, with something missing.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// What.
    pub name: String,
    /// How well it is.
    pub status: Health,
    /// What is wrong; null when nothing is.
    pub detail: Option<String>,
}

/// The health of the daemon.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HealthBody {
    /// The worst of the checks.
    pub status: Health,
    /// How far the daemon is: `starting`, `recovered`, `waiting_for_exchange`, `running`, `stopping`, `stopped`.
    pub phase: String,
    /// What it waits for, or why it stops.
    pub reason: Option<String>,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// Alive: the process serves.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveBody {
    /// `alive`.
    status: &'static str,
}

/// Ready or not.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyBody {
    /// Whether the API can be served.
    ready: bool,
    /// How far the daemon is.
    phase: String,
    /// Why it is not ready; null when it is.
    reason: Option<String>,
    /// Whether every account that trades may add risk; null when that cannot be told now.
    trading_ready: Option<bool>,
    /// Why not, one sentence each.
    not_ready: Vec<String>,
}

fn check(name: &str, status: Health, detail: Option<String>) -> Check {
    Check { name: name.to_owned(), status, detail }
}

/// What a look at the components tells.
pub fn checks(tree: &Tree) -> Vec<Check> {
    let lane = match tree.lane.as_ref().map(|lane| (lane.state, lane.disk_full)) {
        None => check("lane", Health::Degraded, Some("the journal is not recovered yet".to_owned())),
        Some((LaneState::Running, true)) => {
            check("lane", Health::Degraded, Some("the journal's disk is full: no new risk".to_owned()))
        }
        Some((LaneState::Running, false)) => check("lane", Health::Healthy, None),
        Some((LaneState::Broken, _)) => {
            check("lane", Health::Unhealthy, Some("the engine waits to be rebuilt".to_owned()))
        }
        Some((LaneState::Dead, _)) => {
            check("lane", Health::Unhealthy, Some("the journal takes nothing more".to_owned()))
        }
        Some((LaneState::Closed, _)) => check("lane", Health::Unhealthy, Some("the journal is closed".to_owned())),
    };
    let components = tree.components.iter().map(|component| {
        let status = match component.state {
            ComponentState::Running => Health::Healthy,
            ComponentState::Failed | ComponentState::Stopped => Health::Unhealthy,
            _ => Health::Degraded,
        };
        let word = serde_json::to_value(component.state).ok().and_then(|word| word.as_str().map(str::to_owned));
        let detail = (status != Health::Healthy).then(|| match (&component.last_fault, word) {
            (Some(fault), Some(word)) => format!("{word}: {fault}"),
            (Some(fault), None) => fault.clone(),
            (None, word) => word.unwrap_or_default(),
        });
        check(component.name.name(), status, detail)
    });
    std::iter::once(lane).chain(components).collect()
}

/// What the health checks found, and what of the daemon's own parts is so bad that nobody should wait for the next check.
fn with_report(report: &Report, seen: Vec<Check>, phase: &str) -> (Vec<Check>, Health) {
    let bad: Vec<Check> = seen.into_iter().filter(|check| check.status == Health::Unhealthy).collect();
    let found = report.checks.iter().filter_map(|found| {
        let status = match found.status {
            CheckStatus::NotConfigured => return None,
            CheckStatus::Unknown => Health::Starting,
            CheckStatus::Healthy => Health::Healthy,
            CheckStatus::Failed if found.critical => Health::Unhealthy,
            CheckStatus::Failed => Health::Degraded,
        };
        let detail = found.last_error.as_ref().map(|(_, error)| error.to_string());
        Some(check(&found.name, status, detail.filter(|_| found.status == CheckStatus::Failed)))
    });
    let status = match report.status {
        _ if phase == "starting" => Health::Starting,
        _ if !bad.is_empty() => Health::Unhealthy,
        HealthStatus::Unknown => Health::Starting,
        HealthStatus::Healthy => Health::Healthy,
        HealthStatus::Degraded => Health::Degraded,
        HealthStatus::Unhealthy => Health::Unhealthy,
    };
    let found: Vec<Check> = found.collect();
    let rest = bad.into_iter().filter(|check| found.iter().all(|found| found.name != check.name)).collect::<Vec<_>>();
    (found.into_iter().chain(rest).collect(), status)
}

/// How well the daemon is. 200 when healthy or degraded, 503 when unhealthy.
#[utoipa::path(get, path = "/health", tag = "health", responses(
    (status = 200, description = "healthy or degraded", body = HealthBody),
    (status = 503, description = "unhealthy, or not started yet", body = HealthBody), Limited))]
pub async fn health(state: web::Data<ApiState>) -> HttpResponse {
    let (phase, reason) = state.system.phase();
    let checks = match tokio::time::timeout(ANSWER, state.system.tree()).await {
        Ok(Ok(tree)) => checks(&tree),
        Ok(Err(away)) => vec![check("system", Health::Unhealthy, Some(away.0))],
        Err(_) => vec![check("system", Health::Unhealthy, Some("the trading thread does not answer".to_owned()))],
    };
    let status = checks.iter().map(|check| check.status).max().unwrap_or(Health::Unhealthy);
    let (checks, status) = match &state.health {
        Some(board) => with_report(&board.report(), checks, &phase),
        None => (checks, status),
    };
    let code = if matches!(status, Health::Unhealthy | Health::Starting) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    HttpResponse::build(code).json(HealthBody { status, phase, reason, checks })
}

/// Answers as long as the process serves at all.
#[utoipa::path(get, path = "/health/live", tag = "health", responses(
    (status = 200, description = "alive", body = LiveBody), Limited))]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(LiveBody { status: "alive" })
}

/// Whether requests can be served; beside it, whether orders may leave.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = 200, description = "ready", body = ReadyBody),
    (status = 503, description = "not ready", body = ReadyBody), Limited))]
pub async fn ready(state: web::Data<ApiState>) -> HttpResponse {
    let (phase, waits) = state.system.phase();
    // Once the stop has begun, balancers send their requests elsewhere.
    let starting = phase == "starting";
    let ready = !starting && !phase.starts_with("stop");
    let reason = (!ready).then(|| match (&waits, starting) {
        (Some(why), _) => why.clone(),
        (None, true) => "the journal is being recovered".to_owned(),
        (None, false) => "the daemon stops".to_owned(),
    });
    let board = match tokio::time::timeout(ANSWER, state.system.board()).await {
        Ok(board) => board.map_err(|away| away.0),
        Err(_) => Err("the trading thread does not answer".to_owned()),
    };
    let (trading_ready, not_ready) = match board {
        Ok(board) => (Some(board.trading_ready), board.not_ready.clone()),
        Err(why) => (None, vec![why]),
    };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(code).json(ReadyBody { ready, phase, reason, trading_ready, not_ready })
}
