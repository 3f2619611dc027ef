//! Cancels orders over REST without session, lane and engine, from whatever thread calls: for when the trading thread hangs.
//!
//! Connections, runtime and clock offset are its own. It blocks its thread, for no longer than it is told.
//! Tests: `tests/hung.rs`, at the simulated exchange.

use crate::clock::Clock;
use crate::net::NetError;
use crate::net::http::{HttpAnswer, HttpClient};
use crate::net::tls::Connector;
use crate::seat::target;
use crate::shell::Credentials;
use futures_util::StreamExt;
use futures_util::stream::iter;
use qcat_core::binance::decode::rest;
use qcat_core::binance::encode::{self, Stamp};
use qcat_core::binance::error::{Meaning, meaning};
use qcat_core::binance::proto::ClockOffset;
use qcat_core::command::CommandKind;
use qcat_core::id::AccountIx;
use qcat_core::instrument::Universe;
use qcat_core::order::desk::OpenEntry;
use qcat_core::time::Span;
use secrecy::ExposeSecret;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// Requests under way at the same time, each on a connection of its own.
const AT_ONCE: usize = 8;
/// How long one request may take.
const REQUEST: Duration = Duration::from_millis(1_500);
/// Between two rounds over what is not cancelled yet.
const PAUSE: Duration = Duration::from_millis(200);
/// An order that the exchange does not know may still be on its way to it, and a slow exchange takes seconds: it is gone when this
/// many rounds have not found it.
const ROUNDS_UNKNOWN: u32 = 12;

/// The way to the exchange.
#[derive(Debug, Clone)]
pub struct Access {
    /// Opens connections.
    pub connector: Connector,
    /// Where.
    pub rest_url: String,
    /// How much later than its stamp the exchange may receive a request.
    pub recv_window: Span,
    /// Keys by account.
    pub credentials: Vec<Credentials>,
    /// Stamps requests.
    pub clock: Arc<dyn Clock>,
}

/// What became of the orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Canceled {
    /// The exchange cancelled them.
    pub canceled: usize,
    /// The exchange does not have them.
    pub gone: usize,
    /// Nobody knows: each by its id, with the last error.
    pub left: Vec<String>,
}

#[derive(Debug, Clone)]
enum Fate {
    /// Not there in so many rounds; and what was said last.
    Open(u32, String),
    Canceled,
    Gone,
    Refused(String),
}

struct Run<'a> {
    access: &'a Access,
    universe: &'a Universe,
    http: HttpClient,
    offset: Cell<ClockOffset>,
    orders: &'a [(AccountIx, OpenEntry)],
    fates: RefCell<Vec<Fate>>,
}

/// Cancels `orders`, as far as that is possible `within` this time. `Err`: nothing could be tried.
pub fn cancel(
    access: &Access,
    universe: &Universe,
    orders: &[(AccountIx, OpenEntry)],
    within: Duration,
) -> Result<Canceled, NetError> {
    if orders.is_empty() {
        return Ok(Canceled::default());
    }
    let no_runtime = |source| NetError::Connect { address: access.rest_url.clone(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_runtime)?;
    let http = HttpClient::new(access.connector.clone(), &access.rest_url)?;
    let fates = RefCell::new(vec![Fate::Open(0, "not asked in time".to_owned()); orders.len()]);
    let run = Run { access, universe, http, offset: Cell::default(), orders, fates };
    tokio::task::LocalSet::new().block_on(&runtime, async {
        // What is not done by then is left as it is.
        let _ = tokio::time::timeout(within, run.rounds()).await;
    });
    let done = run.result();
    // A name that is still being looked up must not keep the caller.
    runtime.shutdown_background();
    Ok(done)
}

impl Run<'_> {
    async fn rounds(&self) {
        loop {
            let open = |at: &usize| matches!(self.fates.borrow()[*at], Fate::Open(..));
            let open: Vec<usize> = (0..self.orders.len()).filter(open).collect();
            if open.is_empty() {
                return;
            }
            iter(open).for_each_concurrent(AT_ONCE, |at| self.one(at)).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn one(&self, at: usize) {
        let (account, order) = &self.orders[at];
        let before = match &self.fates.borrow()[at] {
            Fate::Open(unknown, _) => *unknown,
            _ => 0,
        };
        let fate = match self.ask(*account, order).await {
            Ok(answer) => self.fate(&answer, before).await,
            Err(fate) => fate.unwrap_or_else(|why| Fate::Open(before, why)),
        };
        self.fates.borrow_mut()[at] = fate;
    }

    /// `Err(Ok)`: it cannot be asked for at all. `Err(Err)`: no answer this time.
    async fn ask(&self, account: AccountIx, order: &OpenEntry) -> Result<HttpAnswer, Result<Fate, String>> {
        let refused = |why: String| Ok(Fate::Refused(why));
        let stamp =
            Stamp { at: self.offset.get().exchange_time(self.access.clock.wall()), window: self.access.recv_window };
        let &OpenEntry { symbol, key, conditional, .. } = order;
        let kind = CommandKind::Cancel { symbol, key, conditional };
        let request = encode::command(&kind, self.universe, stamp).map_err(|error| refused(error.to_string()))?;
        let credentials = self.access.credentials.get(account.ix());
        let credentials = credentials.ok_or_else(|| refused("the account has no API key".to_owned()))?;
        let target = target(request.path, request.query, request.auth, Some(&credentials.signer));
        let target = target.ok_or_else(|| refused("the request cannot be signed".to_owned()))?;
        let key = Some(credentials.key.expose_secret());
        let answer = self.http.send(request.method.as_str(), &target, key, REQUEST, true, || {}).await;
        answer.map_err(|failure| Err(failure.error.to_string()))
    }

    async fn fate(&self, answer: &HttpAnswer, unknown: u32) -> Fate {
        if answer.status == 200 {
            return Fate::Canceled;
        }
        let error = rest::error(answer.status, &answer.body);
        let text = format!("{} {}: {}", answer.status, error.code, error.message);
        match meaning(answer.status, error.code, &error.message) {
            // No such order.
            _ if matches!(error.code, -2011 | -2013) => match unknown + 1 {
                ROUNDS_UNKNOWN => Fate::Gone,
                times => Fate::Open(times, text),
            },
            Meaning::Credentials => Fate::Refused(text),
            Meaning::Clock => {
                self.measure().await;
                Fate::Open(unknown, text)
            }
            Meaning::RateLimited => {
                let pause = answer.reply_headers().retry_after.unwrap_or(Span::from_secs(1));
                tokio::time::sleep(Duration::from_nanos(pause.nanos().unsigned_abs())).await;
                Fate::Open(unknown, text)
            }
            _ => Fate::Open(unknown, text),
        }
    }

    /// Asks the exchange for its time; what cannot be learnt stays as it is.
    async fn measure(&self) {
        let sent = self.access.clock.wall();
        let Ok(answer) = self.http.send("GET", "/fapi/v1/time", None, REQUEST, true, || {}).await else { return };
        if let Ok(server) = rest::time(&answer.body) {
            self.offset.set(ClockOffset::measured(sent, self.access.clock.wall(), server));
        }
    }

    fn result(self) -> Canceled {
        let mut result = Canceled::default();
        for ((_, order), fate) in self.orders.iter().zip(self.fates.into_inner()) {
            match fate {
                Fate::Canceled => result.canceled += 1,
                Fate::Gone => result.gone += 1,
                Fate::Open(_, why) | Fate::Refused(why) => result.left.push(format!("{} ({why})", order.key)),
            }
        }
        result
    }
}
