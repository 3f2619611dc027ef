//! Who asks: bearer tokens, roles, and the users behind them.
//!
//! A token is good when we signed it, its time is not over, and its user still exists, is not disabled and has the same token
//! version. The user is looked up at most every [`FRESH`]; so a change reaches every request within seconds. While the database
//! is away, what was known last holds: nobody can change a user then either.
//!
//! A token of the subject [`LOCAL`] is made by the command line on this machine, which can read the signing key; its user is
//! nobody in the database, and it is good for minutes only.

use super::edge::Visit;
use super::error::{Code, Problem};
use super::state::Users;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use qcat_io::secret::jwt::{Claims, TokenError, Tokens};
use qcat_io::store::Role;
use secrecy::SecretString;
use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How old what is known of a user may be.
pub const FRESH: Duration = Duration::from_secs(3);
/// Users that are remembered.
const KNOWN_MAX: usize = 1_024;
/// The subject of tokens that the command line makes for itself; no user can have this name.
pub const LOCAL: &str = ":local";
/// How long such a token is good at most.
pub const LOCAL_LIFETIME: Duration = Duration::from_secs(300);

/// A user who showed a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name.
    pub name: Arc<str>,
    /// What the user may do now.
    pub role: Role,
    /// Until when the token is good, in seconds since the Unix epoch.
    pub expires: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    at: Instant,
    /// `None`: there is no such user, or it is disabled.
    user: Option<(Role, i64)>,
}

/// Makes and checks tokens.
pub struct Authority {
    tokens: Tokens,
    users: Arc<dyn Users>,
    lifetime: Duration,
    known: Mutex<HashMap<String, Known>>,
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Authority {
    /// Signs with these.
    pub fn new(tokens: Tokens, users: Arc<dyn Users>, lifetime: Duration) -> Authority {
        Authority { tokens, users, lifetime, known: Mutex::default() }
    }

    /// A token for a user who logged in, and when it ends.
    pub fn issue(&self, name: &str, role: Role, version: i64) -> (SecretString, u64) {
        self.tokens.issue(name, role.word(), version, now(), self.lifetime)
    }

    /// Who shows this token.
    pub async fn principal(&self, token: &str) -> Result<Principal, Problem> {
        let claims = self.tokens.read(token, now()).map_err(|error| match error {
            TokenError::Invalid => invalid(),
            TokenError::Expired => Problem::new(Code::TokenExpired, "the token has expired: log in again"),
        })?;
        let role = if claims.sub == LOCAL { local(&claims)? } else { self.role(&claims).await? };
        Ok(Principal { name: claims.sub.into(), role, expires: claims.exp })
    }

    async fn role(&self, claims: &Claims) -> Result<Role, Problem> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&claims.sub).copied();
        let user = match known {
            Some(known) if known.at.elapsed() < FRESH => known.user,
            stale => match self.users.find(&claims.sub).await {
                Ok(found) => {
                    let user = found.filter(|user| !user.disabled).map(|user| (user.role, user.token_version));
                    self.remember(&claims.sub, user);
                    user
                }
                Err(away) => stale.ok_or_else(|| store_away(&away))?.user,
            },
        };
        user.filter(|(_, version)| *version == claims.ver).map(|(role, _)| role).ok_or_else(invalid)
    }

    fn remember(&self, name: &str, user: Option<(Role, i64)>) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KNOWN_MAX {
            all.clear();
        }
        all.insert(name.to_owned(), Known { at: Instant::now(), user });
    }
}

fn local(claims: &Claims) -> Result<Role, Problem> {
    let short = claims.exp.saturating_sub(claims.iat) <= LOCAL_LIFETIME.as_secs();
    claims.role.parse().ok().filter(|_| short).ok_or_else(invalid)
}

fn invalid() -> Problem {
    Problem::new(Code::TokenInvalid, "the token is not valid, or not any more: log in again")
}

/// The database does not answer.
pub fn store_away(away: &super::state::Away) -> Problem {
    tracing::warn!(code = "database_away", error = %away, "a request cannot be answered without the database");
    Problem::new(Code::StoreUnavailable, "the database does not answer").retry_after(5)
}

/// The token of an `Authorization` header; `None`: there is no such header.
pub fn bearer(header: Option<&actix_web::http::header::HeaderValue>) -> Result<Option<&str>, Problem> {
    let Some(value) = header else { return Ok(None) };
    let wrong = || Problem::new(Code::TokenInvalid, "the Authorization header is not `Bearer TOKEN`");
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(wrong());
    }
    Ok(Some(token.trim()))
}

fn authorized(request: &HttpRequest, least: Role) -> Result<Principal, Problem> {
    let extensions = request.extensions();
    let visit = extensions.get::<Visit>();
    let principal = match visit.map(|visit| &visit.principal) {
        Some(Ok(Some(principal))) => principal.clone(),
        Some(Err(problem)) => return Err(problem.clone()),
        Some(Ok(None)) | None => {
            return Err(Problem::new(Code::TokenMissing, "this needs the header `Authorization: Bearer TOKEN`"));
        }
    };
    if principal.role < least {
        let detail = format!("this needs the role {least}; {} has the role {}", principal.name, principal.role);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(principal)
}

macro_rules! role {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub Principal);

        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<$name, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(authorized(request, $role).map($name))
            }
        }
    };
}

role!(
    /// May read.
    Viewer,
    Role::Viewer
);
role!(
    /// May trade.
    Trader,
    Role::Trader
);
role!(
    /// May do everything.
    Admin,
    Role::Admin
);
