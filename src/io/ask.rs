//! Questions over REST outside of any session, within the request weight of the address; what the answers tell of it is learnt.

use crate::net::NetError;
use crate::net::http::HttpClient;
use crate::shell::Credentials;
use bytes::Bytes;
use qcat_core::binance::decode::rest;
use qcat_core::binance::limits::WeightLimit;
use qcat_core::time::Ts;
use secrecy::ExposeSecret;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Held back by our own limiter until the given time.
    #[error("the request weight of the address is used up until {0:?}")]
    Limited(Ts),
    /// The exchange could not be reached or did not answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The exchange refused.
    #[error("the exchange answered {status} {code}: {message}")]
    Refused { status: u16, code: i32, message: Box<str> },
}

/// Asks, in the time that the clock tells.
#[derive(Clone)]
pub struct Asker {
    /// The way there.
    pub http: Rc<HttpClient>,
    /// The request weight of the address.
    pub weight: Rc<RefCell<WeightLimit>>,
    /// The wall time.
    pub now: Rc<dyn Fn() -> Ts>,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("weight", &self.weight).finish_non_exhaustive()
    }
}

impl Asker {
    /// Sends `GET target`, which costs `weight`; with the key of `credentials` if there are any. Only status 200 is an answer.
    pub async fn get(
        &self,
        target: &str,
        weight: u32,
        credentials: Option<&Credentials>,
        timeout: Duration,
    ) -> Result<Bytes, AskError> {
        let taken = self.weight.borrow_mut().take(weight, false, (self.now)());
        taken.map_err(AskError::Limited)?;
        let key = credentials.map(|credentials| credentials.key.expose_secret());
        let answer =
            self.http.send("GET", target, key, timeout, false, || {}).await.map_err(|failure| failure.error)?;
        self.weight.borrow_mut().learn(answer.status, &answer.reply_headers(), (self.now)());
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let error = rest::error(answer.status, &answer.body);
        Err(AskError::Refused { status: answer.status, code: error.code, message: error.message })
    }
}
