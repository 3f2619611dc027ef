//! One HTTP request over a connection of its own: for commands that ask now and then, not for the exchange.

use super::http::HttpAnswer;
use super::{NetError, tls::Connector, url::Url};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// Largest answer taken.
const BODY_MAX: usize = 32 << 20;

/// Sends a request and waits for its answer, connecting included. Header values are marked as sensitive: nothing prints them.
pub async fn call(
    connector: &Connector,
    base: &Url,
    (method, path): (&str, &str),
    headers: &[(&'static str, &str)],
    body: String,
    within: Duration,
) -> Result<HttpAnswer, NetError> {
    let exchange = exchange(connector, base, (method, path), headers, body);
    let late = |_| NetError::TimedOut { address: base.address() };
    tokio::time::timeout(within, exchange).await.map_err(late)?
}

async fn exchange(
    connector: &Connector,
    base: &Url,
    (method, path): (&str, &str),
    headers: &[(&'static str, &str)],
    body: String,
) -> Result<HttpAnswer, NetError> {
    let broken = |reason: String| NetError::Broken { address: base.address(), reason };
    let mut request = Request::builder().method(method).uri(path).header("host", base.address());
    for (name, value) in headers {
        let mut value = hyper::header::HeaderValue::from_str(value).map_err(|e| broken(e.to_string()))?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|e| broken(e.to_string()))?;
    let stream = connector.connect(base).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(e.to_string()))?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| broken(e.to_string()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await.map_err(|e| broken(e.to_string()))?.to_bytes();
        Ok(HttpAnswer { status: head.status.as_u16(), headers: head.headers, body })
    };
    let answer = answer.await;
    connection.abort();
    answer
}
