//! HTTP/1.1 requests over connections that we keep ourselves: pre-warmed, one request at a time on each, so that an order never
//! waits behind a question, and so that it is known whether a failed request may have been seen by the peer.

use super::{NetError, tls::Connector, url::Url};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use qcat_core::binance::proto::ReplyHeaders;
use qcat_core::time::Span;
use std::cell::RefCell;
use std::time::Duration;

/// Largest answer taken: the whole `exchangeInfo` is about 1 MB.
const BODY_MAX: usize = 32 << 20;
/// Idle connections kept.
const IDLE_MAX: usize = 4;

/// One HTTP endpoint with its idle connections. For one thread.
#[derive(Debug)]
pub struct HttpClient {
    connector: Connector,
    base: Url,
    idle: RefCell<Vec<SendRequest<Empty<Bytes>>>>,
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
        Ok(HttpClient { connector, base: Url::parse(base, ["http", "https"])?, idle: RefCell::new(Vec::new()) })
    }

    /// Opens a connection ahead of need.
    pub async fn warm(&self) -> Result<(), NetError> {
        let sender = self.open().await?;
        self.keep(sender);
        Ok(())
    }

    /// Sends a request and waits for its answer. `on_written` is called when the bytes are on their way.
    pub async fn send(
        &self,
        method: &str,
        path_and_query: &str,
        api_key: Option<&str>,
        timeout: Duration,
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
            let reused = self.take_idle();
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
        // The connection ends by itself when the sender is dropped or the peer closes it.
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn broken(&self, error: &hyper::Error) -> NetError {
        NetError::Broken { address: self.base.address(), reason: error.to_string() }
    }

    fn take_idle(&self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().rposition(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn keep(&self, sender: SendRequest<Empty<Bytes>>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push(sender);
        }
    }
}
