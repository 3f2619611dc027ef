//! What the API stands on: the running system, the users, the history. Each is asked through a trait, from the server's threads.

use crate::health::HealthBoard;
use actix_web::web;
use futures_util::future::BoxFuture;
use qcat_actors::runtime::board::Board;
use qcat_actors::runtime::commands::Commands;
use qcat_actors::runtime::stop::StopReport;
use qcat_actors::runtime::system::Tree;
use qcat_io::cache::Cache;
use qcat_io::secret::jwt::Tokens;
use qcat_io::store::{Store, User};
use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::auth::Authority;
use super::error::{Code, Problem};
use super::limit::{Limiter, RateLimit};
use super::login::Logins;
use super::options::ServerOptions;
use super::push::Push;
use super::store::StoreSlot;

/// Why there is no answer from a part behind the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// The running system. Nothing here waits for the trading thread longer than the answer of a mailbox takes.
pub trait System: Send + Sync {
    /// What the engine believes; `Err` while there is none, or when it does not answer.
    fn board(&self) -> BoxFuture<'_, Result<Arc<Board>, Away>>;
    /// The components.
    fn tree(&self) -> BoxFuture<'_, Result<Arc<Tree>, Away>>;
    /// How far the stop is, once it has begun.
    fn stop_report(&self) -> Option<StopReport>;
    /// How far the daemon is, and why it is no further.
    fn phase(&self) -> (String, Option<String>);
    /// The way for commands; `None`: there is nothing to command.
    fn commands(&self) -> Option<&Commands> {
        None
    }
    /// Begins the stop; `force`: ends what is left of it at once.
    fn stop(&self, why: &str, force: bool);
}

/// Where users are kept.
pub trait Users: Send + Sync {
    /// A user by name; `None`: there is none.
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<User>, Away>>;
}

/// A request that was answered.
#[derive(Debug)]
pub struct Answered<'a> {
    /// When it came.
    pub time: SystemTime,
    /// Its id.
    pub request_id: &'a str,
    /// The client.
    pub remote: Option<IpAddr>,
    /// The user, when one was recognised.
    pub user: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The path without the query.
    pub path: &'a str,
    /// The route's pattern; `None`: no route took it. Bounded in number, unlike paths.
    pub route: Option<&'a str>,
    /// The status.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// What the client calls itself.
    pub user_agent: Option<&'a str>,
    /// From the head of the request to the answer.
    pub took: Duration,
}

/// Watches what the server does: metrics and the access log. Must not wait.
pub trait Watch: Send + Sync {
    /// A request was answered.
    fn answered(&self, request: &Answered<'_>);
    /// A connection is open until what is given back is dropped.
    fn connected(&self) -> Box<dyn Any>;
    /// The metrics' media type and text, in the format that an `Accept` header asks for; `None`: they are not measured.
    fn metrics<'a>(&'a self, accept: Option<&'a str>) -> BoxFuture<'a, Option<(&'static str, String)>>;
}

/// What the API stands on.
pub struct ApiParts {
    /// The running system.
    pub system: Arc<dyn System>,
    /// The users.
    pub users: Arc<dyn Users>,
    /// The history.
    pub store: StoreSlot,
    /// Signs tokens.
    pub tokens: Tokens,
    /// Metrics and the access log.
    pub watch: Arc<dyn Watch>,
    /// What else there is.
    pub beside: Beside,
}

/// What the server has besides where a whole daemon runs around it.
#[derive(Clone, Default)]
pub struct Beside {
    /// What the health checks found.
    pub health: Option<HealthBoard>,
    /// The limit of requests; `None`: that of the options.
    pub rate: Option<RateLimit>,
    /// Where all nodes count requests.
    pub cache: Option<Cache>,
    /// Push sessions.
    pub push: Push,
}

/// The state that all workers share.
pub struct ApiState {
    pub(super) system: Arc<dyn System>,
    pub(super) authority: Authority,
    pub(super) logins: Logins,
    pub(super) watch: Arc<dyn Watch>,
    store: StoreSlot,
    pub(super) push: Push,
    pub(super) options: ServerOptions,
    /// The limit of the API.
    pub(super) rate: RateLimit,
    /// Of health and metrics: so that a dashboard cannot starve a probe, nor a probe a dashboard.
    pub(super) probes: Limiter,
    pub(super) scrapes: Limiter,
    pub(super) health: Option<HealthBoard>,
    /// Where all nodes count requests.
    pub(super) shared: Option<Cache>,
    pub(super) openapi: web::Bytes,
}

/// Health probes of one address in a minute.
const PROBES: u32 = 1_200;
/// Scrapes of one address in a minute.
const SCRAPES: u32 = 600;

impl ApiState {
    /// The state of a server.
    pub fn new(parts: ApiParts, options: ServerOptions) -> ApiState {
        let minute = Duration::from_secs(60);
        let Beside { health, rate, cache: shared, push } = parts.beside;
        ApiState {
            system: parts.system,
            authority: Authority::new(parts.tokens, parts.users.clone(), options.token_lifetime),
            logins: Logins::new(parts.users),
            watch: parts.watch,
            push,
            store: parts.store,
            rate: rate.unwrap_or_else(|| RateLimit::new(options.rate)),
            probes: Limiter::new(PROBES, minute),
            scrapes: Limiter::new(SCRAPES, minute),
            health,
            shared,
            openapi: super::openapi::document(),
            options,
        }
    }
    /// The database; an error while there is none.
    pub(super) fn store(&self) -> Result<Arc<dyn Store>, Problem> {
        let away = || Problem::new(Code::StoreUnavailable, "the database is not open").retry_after(5);
        self.store.get().ok_or_else(away)
    }
}
