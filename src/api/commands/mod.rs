//! Commands: what traders and admins ask of the running system.
//!
//! Each names its role among its arguments, becomes a journaled input that says who asked, from where and in which request, and is
//! in the audit log by that. An answer comes once the journal has it at the configured durability. With an `Idempotency-Key` a
//! repeat does nothing and gets the answer of the first; it is not required, but only with it may a client try again after an
//! answer was lost.
//! Here: what they share. Tests: `tests/api_commands.rs`, with a daemon that trades.

pub mod control;
pub mod orders;
mod read;
pub mod strategies;

use super::auth::Principal;
use super::edge::Visit;
use super::error::{Code, Problem, RefusalBody};
use super::state::ApiState;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use qcat_actors::runtime::commands::{AskError, Asking, Commands, Fate, Look, Outcome};
use qcat_actors::runtime::console::ConsoleError;
use qcat_core::event::{IdempotencyKey, OperatorCommand, Origin};
use qcat_core::order::{End, OrderState};
use qcat_io::store::rows::words::order_state;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// The header that names a request, so that repeating it is harmless.
const KEY: &str = "idempotency-key";
/// Characters of a key at most.
const KEY_MAX: usize = 64;
/// How long `wait=ack` waits for the exchange.
const ACK: Duration = Duration::from_secs(5);

/// A command that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandBody {
    /// The input that it became: its place in the journal and in the audit log.
    seq: u64,
    /// It was asked before under the same idempotency key; this is the answer to that.
    repeated: bool,
    /// The order that it is about; null when it is about none, or that is not known any more.
    client_order_id: Option<String>,
    /// With `wait=ack`: what the exchange said of the order; else null.
    order: Option<FateBody>,
}

/// What the exchange said of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct FateBody {
    /// `working`, `triggering`, `filled`, `canceled`, `rejected`, `expired`, `never_arrived`; `unknown`: it said nothing in time.
    state: &'static str,
    /// The exchange's code of why it was rejected or expired; null when there is none.
    exchange_code: Option<String>,
    /// Filled so far; null when it is not known.
    filled: Option<String>,
    /// The exchange's number of it; null when it is not known.
    venue_order_id: Option<i64>,
}

impl FateBody {
    fn of(fate: Option<Fate>) -> FateBody {
        let Some(fate) = fate else {
            return FateBody { state: "unknown", exchange_code: None, filled: None, venue_order_id: None };
        };
        let (state, reason) = order_state(fate.state);
        let code = reason.filter(|_| matches!(fate.state, OrderState::Done(End::Rejected(_) | End::Expired(_))));
        FateBody {
            state,
            exchange_code: code.map(|code| code.to_string()),
            filled: Some(fate.filled),
            venue_order_id: fate.venue_id,
        }
    }
}

/// A request on its way to the engine.
pub struct Caller {
    asking: Asking,
}

impl Caller {
    /// Who asks in this request for `what` (an operation with all of its arguments).
    fn of(request: &HttpRequest, principal: &Principal, what: &impl Serialize) -> Result<Caller, Problem> {
        let extensions = request.extensions();
        let visit = extensions.get::<Visit>();
        let visit = visit.ok_or_else(|| Problem::new(Code::Internal, "the request has no origin"))?;
        let by = Origin {
            user: principal.name.clone(),
            role: principal.role.word().into(),
            remote: visit.remote.map_or_else(|| Arc::from("unknown"), |address| address.to_string().into()),
            request: visit.id.clone(),
        };
        let key = key(request)?.map(|key| IdempotencyKey { key, fingerprint: fingerprint(request, what) });
        Ok(Caller { asking: Asking { by, key, wait: None } })
    }

    /// Waits for the exchange's word about the order, where the query says so.
    fn waiting(mut self, wait: Option<&str>) -> Result<Caller, Problem> {
        self.asking.wait = match wait {
            None => None,
            Some("ack") => Some(ACK),
            Some(_) => return Err(Problem::new(Code::BadQuery, "wait: allowed is only `ack`")),
        };
        Ok(self)
    }

    /// Asks.
    async fn ask(
        self,
        state: &ApiState,
        make: impl FnOnce(Look<'_>) -> Result<OperatorCommand, Problem> + Send + 'static,
    ) -> Result<Outcome, Problem> {
        commands(state)?.ask(self.asking, make).await.map_err(problem)
    }

    /// Asks, and answers.
    async fn answer(
        self,
        state: &ApiState,
        make: impl FnOnce(Look<'_>) -> Result<OperatorCommand, Problem> + Send + 'static,
    ) -> Result<HttpResponse, Problem> {
        let waits = self.asking.wait.is_some();
        answer(self.ask(state, make).await?, waits)
    }
}

/// The way to the engine.
fn commands(state: &ApiState) -> Result<&Commands, Problem> {
    let none = || Problem::new(Code::SystemUnavailable, "there is no system to command").retry_after(5);
    state.system.commands().ok_or_else(none)
}

/// The answer to a command that was taken, or why it was refused.
fn answer(outcome: Outcome, waits: bool) -> Result<HttpResponse, Problem> {
    let Outcome { seq, order, refused, repeated, fate } = outcome;
    let client_order_id = order.map(|key| key.to_string());
    if let Some(refusal) = refused {
        let mut problem = Problem::new(Code::Refused, refusal.to_string());
        problem.refusal = Some(Box::new(RefusalBody::of(&refusal, seq, client_order_id)));
        return Err(problem);
    }
    let mut response = if fate.is_some() { HttpResponse::Ok() } else { HttpResponse::Accepted() };
    let order = waits.then(|| FateBody::of(fate));
    Ok(response.json(CommandBody { seq: seq.0, repeated, client_order_id, order }))
}

fn problem(error: AskError<Problem>) -> Problem {
    let text = error.to_string();
    match error {
        AskError::Wrong(problem) => problem,
        AskError::KeyTaken(_) | AskError::KeyWaits => Problem::new(Code::IdempotencyConflict, text),
        AskError::Full => Problem::new(Code::QueueFull, text).retry_after(1),
        AskError::DiskFull => Problem::new(Code::JournalUnavailable, text).retry_after(30),
        AskError::Closed(_) | AskError::Broken => Problem::new(Code::SystemUnavailable, text).retry_after(5),
        AskError::Late => Problem::new(Code::NotConfirmed, text).retry_after(1),
        AskError::Away(ConsoleError::NotRestarted(_) | ConsoleError::NoAnswer) => {
            Problem::new(Code::NotConfirmed, text).retry_after(1)
        }
        AskError::Away(ConsoleError::NoLane) => Problem::new(Code::SystemUnavailable, text).retry_after(5),
    }
}

/// The request's idempotency key.
fn key(request: &HttpRequest) -> Result<Option<Arc<str>>, Problem> {
    let mut given = request.headers().get_all(KEY);
    let Some(value) = given.next() else { return Ok(None) };
    let wrong = || {
        let allowed = format!("Idempotency-Key: one, of 1 to {KEY_MAX} printable ASCII characters without spaces");
        Problem::new(Code::BadValue, allowed)
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let good = (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good && given.next().is_none() { Ok(Some(text.into())) } else { Err(wrong()) }
}

/// A hash of what is asked (64-bit FNV-1a). It is journaled, so it never changes; it only tells a repeat from a client's mistake.
fn fingerprint(request: &HttpRequest, what: &impl Serialize) -> u64 {
    let what = serde_json::to_string(what).unwrap_or_default();
    let parts = [request.method().as_str(), request.path(), &what];
    parts
        .join("\n")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
