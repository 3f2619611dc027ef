//! What every request passes, before any handler and after it.
//!
//! On the way in: a request id, the client's address, the size and encoding of the head, CORS, the token, the limit. On the way
//! out: a panic becomes an error without detail, every error a problem, every answer gets its headers, the access log its line.

use super::auth::{Principal, bearer};
use super::body::is_utf8;
use super::error::{Code, Problem};
use super::limit::{Key, Limiter, take_shared};
use super::login::too_many;
use super::server::METRICS;
use super::state::{Answered, ApiState};
use super::{client, cors};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};
use futures_util::FutureExt;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Characters of a request id that a trusted proxy may give.
const ID_MAX: usize = 64;
/// The header of a request's id.
const REQUEST_ID: &str = "x-request-id";

/// What is known of a request besides itself.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Its id.
    pub id: Arc<str>,
    /// The client's address.
    pub remote: Option<IpAddr>,
    /// Whose token it shows: `Ok(None)` none, `Err` one that is not good.
    pub principal: Result<Option<Principal>, Problem>,
}

/// What is told of a request after its handler took it away.
struct Asked {
    time: SystemTime,
    began: Instant,
    method: Method,
    path: String,
    origin: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    id: Arc<str>,
    remote: Option<IpAddr>,
    user: Option<Arc<str>>,
}

/// The middleware.
pub async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (time, began) = (SystemTime::now(), Instant::now());
    let state = request.app_data::<web::Data<ApiState>>().expect("every server has its state").clone();
    let visit = visit(&request, &state).await;
    let header = |name| request.headers().get(name).cloned();
    let asked = Asked {
        time,
        began,
        method: request.method().clone(),
        path: request.path().to_owned(),
        origin: header(header::ORIGIN),
        user_agent: header(header::USER_AGENT),
        id: visit.id.clone(),
        remote: visit.remote,
        user: visit.principal.as_ref().ok().and_then(|who| who.as_ref()).map(|who| who.name.clone()),
    };
    let admitted = admit(&request, &state, &visit).await;
    request.extensions_mut().insert(visit);
    let handled = match admitted {
        Ok(()) => handled(request, next, &asked).await,
        Err(Early::Preflight(answer)) => Ok(request.into_response(*answer)),
        Err(Early::Problem(problem)) => Ok(request.into_response(problem.answer(&asked.id))),
    };
    match handled {
        Ok(mut response) => {
            let route = response.request().match_pattern();
            finish(&asked, response.response_mut(), route.as_deref(), &state);
            Ok(response)
        }
        Err(mut answer) => {
            finish(&asked, &mut answer, None, &state);
            Err(InternalError::from_response("no handler answered", answer).into())
        }
    }
}

/// Headers, and the line of the access log.
fn finish(asked: &Asked, answer: &mut HttpResponse, route: Option<&str>, state: &ApiState) {
    dress(answer.headers_mut(), &asked.id, &asked.path, state);
    cors::dress(answer.headers_mut(), asked.origin.as_ref(), state.options.cors_origins.as_deref());
    let bytes = match answer.body().size() {
        BodySize::Sized(bytes) => bytes,
        BodySize::None | BodySize::Stream => 0,
    };
    state.watch.answered(&Answered {
        time: asked.time,
        request_id: &asked.id,
        remote: asked.remote,
        user: asked.user.as_deref(),
        method: asked.method.as_str(),
        path: &asked.path,
        route,
        status: answer.status().as_u16(),
        bytes,
        user_agent: asked.user_agent.as_ref().and_then(|value| value.to_str().ok()),
        took: asked.began.elapsed(),
    });
}

/// An answer without a handler.
enum Early {
    Preflight(Box<HttpResponse>),
    Problem(Problem),
}

impl From<Problem> for Early {
    fn from(problem: Problem) -> Early {
        Early::Problem(problem)
    }
}

async fn visit(request: &ServiceRequest, state: &ApiState) -> Visit {
    let trusted = &state.options.trusted_proxies;
    let peer = request.peer_addr().map(|peer| peer.ip());
    let remote = peer.map(|peer| client::address(peer, request.headers(), trusted));
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let by_proxy = peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(peer)));
    let good = |id: &&str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(known)
    };
    let id = given.filter(|_| by_proxy).filter(good).map_or_else(new_id, Arc::from);
    let principal = match bearer(request.headers().get(header::AUTHORIZATION)) {
        Ok(Some(token)) => state.authority.principal(token).await.map(Some),
        Ok(None) => Ok(None),
        Err(problem) => Err(problem),
    };
    Visit { id, remote, principal }
}

/// Unique in this process; two processes differ by when they began.
fn new_id() -> Arc<str> {
    static BEGAN: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_micros() as u64
    });
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:x}-{:x}", *BEGAN, NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

async fn admit(request: &ServiceRequest, state: &ApiState, visit: &Visit) -> Result<(), Early> {
    let headers = request.headers();
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if size + request.uri().path().len() + request.query_string().len() > state.options.header_max {
        let detail = format!("the head of a request has at most {} bytes", state.options.header_max);
        return Err(Problem::new(Code::HeadersTooLarge, detail).into());
    }
    if !is_utf8(request.uri().path()) || !is_utf8(request.query_string()) {
        return Err(Problem::new(Code::BadEncoding, "the path or the query is not UTF-8").into());
    }
    if request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return Err(match cors::preflight(headers, state.options.cors_origins.as_deref()) {
            Ok(answer) => Early::Preflight(Box::new(answer)),
            Err(problem) => problem.into(),
        });
    }
    let Some(limit) = state.rate.get() else { return Ok(()) };
    let (limiter, by_user) = budget(request.path(), state, &limit.1);
    let user = visit.principal.as_ref().ok().and_then(|who| who.as_ref()).filter(|_| by_user);
    let key = match (user, visit.remote) {
        (Some(user), _) => Key::Name(user.name.clone()),
        (None, Some(address)) => Key::address(address),
        (None, None) => Key::Rest,
    };
    limiter.take(key.clone(), Instant::now()).map_err(too_many)?;
    match state.shared.as_ref().filter(|_| by_user) {
        Some(cache) => Ok(take_shared(cache, &key, limit.0).await.map_err(too_many)?),
        None => Ok(()),
    }
}

/// Which budget a path counts against, and whether by user.
fn budget<'a>(path: &str, state: &'a ApiState, requests: &'a Limiter) -> (&'a Limiter, bool) {
    if path == "/health" || path.starts_with("/health/") {
        (&state.probes, false)
    } else if path == METRICS || path == state.options.metrics_path {
        (&state.scrapes, false)
    } else {
        (requests, true)
    }
}

/// Runs the handler. `Err`: the answer to a request that is gone with its handler.
async fn handled(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    asked: &Asked,
) -> Result<ServiceResponse<BoxBody>, HttpResponse> {
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => Ok(with_problem(response.map_into_boxed_body(), &asked.id)),
        Ok(Err(error)) => {
            let status = error.as_response_error().status_code();
            Err(problem_of(&error).unwrap_or_else(|| Problem::of_status(status)).answer(&asked.id))
        }
        Err(panic) => {
            let text = qcat_io::shell::panic_text(&*panic);
            tracing::error!(code = "handler_panicked", request_id = %asked.id, path = asked.path, panic = %text, "a handler panicked");
            Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR).answer(&asked.id))
        }
    }
}

fn problem_of(error: &Error) -> Option<Problem> {
    error.as_error::<Problem>().cloned()
}

/// An error of a handler or of the framework becomes a problem with the request's id.
fn with_problem(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.response().error().and_then(problem_of);
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if problem.is_none() && ours {
        // Health says in its own words what is wrong.
        return response;
    }
    let problem = problem.unwrap_or_else(|| Problem::of_status(status));
    let (head, _) = response.into_parts();
    ServiceResponse::new(head, problem.answer(id))
}

/// The headers of every answer.
fn dress(headers: &mut HeaderMap, id: &str, path: &str, state: &ApiState) {
    let page = path.starts_with("/swagger-ui/");
    let policy = if page {
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
    } else {
        "default-src 'none'; frame-ancestors 'none'"
    };
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CONTENT_SECURITY_POLICY, policy);
    if !page {
        set(header::CACHE_CONTROL, "no-store");
    }
    if state.options.tls.is_some() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
    }
}
