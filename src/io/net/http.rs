//! HTTP/1.1 requests over connections that we keep ourselves: one request at a time on each, and one idle connection left free for
//! urgent requests, so that an order waits neither behind a question nor for a handshake, and so that it is known whether a failed
//! request may have been seen by the peer.

use super::{NetError, tls::Connector, url::Url};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use qcat_core::binance::proto::ReplyHeaders;
use qcat_core::time::Span;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// Largest answer taken: the whole `exchangeInfo` is about 1 MB.
const BODY_MAX: usize = 32 << 20;
/// Idle connections kept.
const IDLE_MAX: usize = 4;
/// Idle connections that only urgent requests take.
const RESERVED: usize = 1;
/// A connection that is not open after this long never will be.
const WARM_WITHIN: Duration = Duration::from_secs(10);
/// Least and longest time between two connections opened ahead of need: a peer that closes or refuses each is not hammered.
const WARM_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// One HTTP endpoint with its idle connections. For one thread.
#[derive(Debug)]
pub struct HttpClient {
    connector: Connector,
    base: Url,
    idle: RefCell<Vec<SendRequest<Empty<Bytes>>>>,
    /// An idle connection was taken, or one was closed.
    fewer: Rc<Notify>,
}

/// An answer.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl HttpAnswer {
    /// The headers that tell of the exchange's limits.
    pub fn reply_headers(&self) -> ReplyHeaders {
        let number = |name: &str| self.headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
        ReplyHeaders {
            used_weight_1m: number("x-mbx-used-weight-1m"),
            order_count_10s: number("x-mbx-order-count-10s"),
            order_count_1m: number("x-mbx-order-count-1m"),
            retry_after: number("retry-after").map(|secs| Span::from_secs(i64::from(secs))),
        }
    }
}

/// A request without an answer.
#[derive(Debug)]
pub struct HttpFailure {
    /// Whether the peer may have seen it.
    pub written: bool,
    /// Whether it was given up because no answer came in time.
    pub timed_out: bool,
    /// Why.
    pub error: NetError,
}

impl HttpClient {
    /// A client of `base` (scheme, host, port; its path is ignored).
    pub fn new(connector: Connector, base: &str) -> Result<HttpClient, NetError> {
        let base = Url::parse(base, ["http", "https"])?;
        Ok(HttpClient { connector, base, idle: RefCell::default(), fewer: Rc::default() })
    }

    /// Sees to it that an idle connection stands ready, until the future is dropped. Opens one when the last was taken or closed.
    /// Several may run for one client. `failed` is told of the first failure in a row: a request that needs a connection meanwhile
    /// finds out by itself.
    pub async fn keep_warm(&self, mut failed: impl FnMut(&NetError)) -> Infallible {
        let (least, longest) = WARM_EVERY;
        let (mut pause, mut told) = (least, false);
        loop {
            if self.lacks_idle() {
                let opened = tokio::time::timeout(WARM_WITHIN, self.open()).await;
                match opened.unwrap_or_else(|_| Err(NetError::TimedOut { address: self.base.address() })) {
                    Ok(sender) => {
                        self.keep(sender);
                        (pause, told) = (least, false);
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            failed(&error);
                        }
                        pause = (pause * 2).min(longest);
                    }
                }
                tokio::time::sleep(pause).await;
            } else {
                // Looks again without being woken too: another keeper may have been woken, and ended before it acted.
                let _ = tokio::time::timeout(longest, self.fewer.notified()).await;
            }
        }
    }

    /// Sends a request and waits for its answer. `on_written` is called when the bytes are on their way. Only an `urgent` one may
    /// take the last idle connection; any other opens a connection of its own instead.
    pub async fn send(
        &self,
        method: &str,
        path_and_query: &str,
        api_key: Option<&str>,
        timeout: Duration,
        urgent: bool,
        on_written: impl FnOnce(),
    ) -> Result<HttpAnswer, HttpFailure> {
        let deadline = tokio::time::Instant::now() + timeout;
        let not_written = |error| HttpFailure { written: false, timed_out: false, error };
        let timed_out = |written| {
            let error = NetError::TimedOut { address: self.base.address() };
            HttpFailure { written, timed_out: true, error }
        };
        let mut request = Some(self.request(method, path_and_query, api_key).map_err(not_written)?);
        let mut on_written = Some(on_written);
        loop {
            let reused = self.take_idle(urgent);
            let was_idle = reused.is_some();
            let mut sender = match reused {
                Some(sender) => sender,
                None => match tokio::time::timeout_at(deadline, self.open()).await {
                    Ok(opened) => opened.map_err(not_written)?,
                    Err(_) => return Err(timed_out(false)),
                },
            };
            let Some(this) = request.take() else { return Err(timed_out(false)) };
            let answer = sender.try_send_request(this);
            if let Some(on_written) = on_written.take() {
                on_written();
            }
            match tokio::time::timeout_at(deadline, answer).await {
                Err(_) => return Err(timed_out(true)),
                Ok(Ok(response)) => return self.finish(sender, response, deadline).await,
                Ok(Err(mut failed)) => {
                    // The peer closed an idle connection just now: nothing was sent, the request is still ours.
                    if let (true, Some(back)) = (was_idle, failed.take_message()) {
                        request = Some(back);
                        continue;
                    }
                    return Err(HttpFailure {
                        written: true,
                        timed_out: false,
                        error: self.broken(&failed.into_error()),
                    });
                }
            }
        }
    }

    async fn finish(
        &self,
        sender: SendRequest<Empty<Bytes>>,
        response: hyper::Response<hyper::body::Incoming>,
        deadline: tokio::time::Instant,
    ) -> Result<HttpAnswer, HttpFailure> {
        let (head, body) = response.into_parts();
        let body = tokio::time::timeout_at(deadline, Limited::new(body, BODY_MAX).collect()).await;
        let failure = |timed_out, error| HttpFailure { written: true, timed_out, error };
        match body {
            Err(_) => Err(failure(true, NetError::TimedOut { address: self.base.address() })),
            Ok(Err(error)) => {
                let reason = error.to_string();
                Err(failure(false, NetError::Broken { address: self.base.address(), reason }))
            }
            Ok(Ok(body)) => {
                self.keep(sender);
                Ok(HttpAnswer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
            }
        }
    }

    fn request(&self, method: &str, path: &str, api_key: Option<&str>) -> Result<Request<Empty<Bytes>>, NetError> {
        let mut request = Request::builder().method(method).uri(path).header("host", self.base.address());
        if let Some(key) = api_key {
            request = request.header("X-MBX-APIKEY", key);
        }
        let wrong =
            |_| NetError::Url { url: path.chars().take(64).collect(), reason: "it cannot be put into a request" };
        request.body(Empty::new()).map_err(wrong)
    }

    async fn open(&self) -> Result<SendRequest<Empty<Bytes>>, NetError> {
        let stream = self.connector.connect(&self.base).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        let fewer = self.fewer.clone();
        // The connection ends by itself when the sender is dropped or the peer closes it.
        tokio::task::spawn_local(async move {
            let _ = connection.await;
            fewer.notify_one();
        });
        Ok(sender)
    }

    fn broken(&self, error: &hyper::Error) -> NetError {
        NetError::Broken { address: self.base.address(), reason: error.to_string() }
    }

    fn take_idle(&self, urgent: bool) -> Option<SendRequest<Empty<Bytes>>> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|sender| !sender.is_closed());
        let reserved = if urgent { 0 } else { RESERVED };
        if idle.iter().filter(|sender| sender.is_ready()).count() <= reserved {
            return None;
        }
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        self.fewer.notify_one();
        Some(idle.swap_remove(ready))
    }

    fn lacks_idle(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|sender| !sender.is_closed());
        idle.len() < RESERVED
    }

    fn keep(&self, sender: SendRequest<Empty<Bytes>>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }
}

#[cfg(test)]
mod tests;
