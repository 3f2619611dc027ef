//! Logging in: a name and a password for a token.
//!
//! Who does not exist, is disabled or has another password gets the same answer after the same work. Attempts are limited per
//! address and per name, whatever `security.rate_limit_enabled` says; so the other limit of a name cannot be used up by reads.
//! Comparing a password takes tens of milliseconds of a core: it happens on threads of its own, and only so many at a time.

use super::auth::{Viewer, store_away};
use super::body::Json;
use super::edge::Visit;
use super::error::{Code, Problem};
use super::limit::{Key, Limiter};
use super::openapi::Problems;
use super::state::{ApiState, Users};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::secret::password;
use qcat_io::store::{AuditRow, User};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

/// Logins of one address in a minute.
const PER_ADDRESS: u32 = 20;
/// Logins of one name in a minute.
const PER_NAME: u32 = 10;
/// Passwords that are compared at a time.
const AT_A_TIME: usize = 2;
/// How long a login waits for its turn.
const TURN: Duration = Duration::from_secs(3);

/// Checks names and passwords.
pub struct Logins {
    users: Arc<dyn Users>,
    addresses: Limiter,
    names: Limiter,
    turns: Arc<Semaphore>,
}

/// A name and a password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's name.
    name: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    #[serde(deserialize_with = "secret")]
    password: SecretString,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

/// A token.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// To be sent as `Authorization: Bearer TOKEN`.
    token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Until when it is good: RFC 3339, UTC.
    expires_at: String,
    /// What the user may do: `viewer`, `trader` or `admin`.
    role: &'static str,
}

/// The user of a token.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The name.
    name: String,
    /// What the user may do: `viewer`, `trader` or `admin`.
    role: &'static str,
    /// Until when the token is good: RFC 3339, UTC.
    expires_at: String,
}

impl Logins {
    /// Checks the users of this store.
    pub fn new(users: Arc<dyn Users>) -> Logins {
        let minute = Duration::from_secs(60);
        let (addresses, names) = (Limiter::new(PER_ADDRESS, minute), Limiter::new(PER_NAME, minute));
        Logins { users, addresses, names, turns: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    async fn check(&self, login: &Login, remote: Key) -> Result<User, Problem> {
        let now = Instant::now();
        let name: Key = Key::Name(login.name.to_lowercase().chars().take(64).collect::<String>().into());
        self.addresses.take(remote, now).and_then(|()| self.names.take(name, now)).map_err(too_many)?;
        let user = self.users.find(&login.name).await.map_err(|away| store_away(&away))?;
        let busy = || Problem::new(Code::LoginBusy, "too many logins at once").retry_after(1);
        let turn = tokio::time::timeout(TURN, self.turns.clone().acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        let hash = user.as_ref().filter(|user| !user.disabled).map(|user| user.hash.clone());
        let password = login.password.clone();
        let compared = web::block(move || {
            let fits = password::verify(&password, hash.as_ref());
            drop(turn);
            fits
        });
        let fits = compared.await.map_err(|_| busy())?;
        let failed = || Problem::new(Code::LoginFailed, "name and password do not fit");
        user.filter(|user| fits && !user.disabled).ok_or_else(failed)
    }
}

/// Too many requests; welcome again after this time.
pub fn too_many(after: Duration) -> Problem {
    let seconds = after.as_secs().saturating_add(1);
    Problem::new(Code::TooManyRequests, "too many requests").retry_after(seconds)
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX / 1_000);
    qcat_io::clock::text(qcat_core::time::Ts::from_millis(seconds.saturating_mul(1_000)))
}

/// Puts a login into the audit log.
async fn record(state: &ApiState, user: &User, request: &str, address: Option<IpAddr>) {
    let Ok(store) = state.store() else { return };
    let row = AuditRow {
        id: format!("login-{request}").into(),
        actor: user.name.clone(),
        role: user.role.word().into(),
        source: address.map_or_else(|| "unknown".into(), |address| address.to_string().into()),
        command: "login".into(),
        arguments: "{}".into(),
        idempotency_key: None,
        outcome: "accepted".into(),
        at: SystemClock::new().wall().into(),
        engine: None,
        seq: 0,
    };
    if let Err(error) = store.record_audit(vec![row]).await {
        tracing::warn!(code = "login_not_recorded", user = %user.name, %error, "a login is not in the audit log");
    }
}

/// Gives a token for a name and a password.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = Login,
    responses((status = 200, description = "a token", body = Token), Problems))]
pub async fn login(
    request: HttpRequest,
    state: web::Data<ApiState>,
    Json(login): Json<Login>,
) -> Result<HttpResponse, Problem> {
    let visit = request.extensions().get::<Visit>().map(|visit| (visit.id.clone(), visit.remote));
    let (id, address) = visit.ok_or_else(|| Problem::new(Code::Internal, "the request has no origin"))?;
    let remote = address.map_or(Key::Rest, Key::address);
    let user = match state.logins.check(&login, remote).await {
        Ok(user) => user,
        Err(problem) => {
            tracing::warn!(code = problem.code.word(), "a login was refused");
            return Err(problem);
        }
    };
    record(&state, &user, &id, address).await;
    let (token, expires) = state.authority.issue(&user.name, user.role, user.token_version);
    let token = Token {
        token: token.expose_secret().to_owned(),
        token_type: "Bearer",
        expires_at: time(expires),
        role: user.role.word(),
    };
    Ok(HttpResponse::Ok().json(token))
}

/// Tells whose token is shown.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth", security(("bearer" = [])),
    responses((status = 200, description = "the user of the token", body = Me), Problems))]
pub async fn me(Viewer(principal): Viewer) -> HttpResponse {
    let (name, expires_at) = (principal.name.to_string(), time(principal.expires));
    HttpResponse::Ok().json(Me { name, role: principal.role.word(), expires_at })
}
