//! What must be known of the exchange before the engine can start: its contracts, leverage brackets and rate limits.

use qcat_core::binance::decode::{self, definitions};
use qcat_core::binance::proto::ClockOffset;
use qcat_core::time::Ts;
use qcat_io::clock::Clock;
use qcat_io::net::http::HttpClient;
use qcat_io::shell::Credentials;
use secrecy::ExposeSecret;
use std::time::Duration;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The exchange could not be reached or did not answer.
    #[error("{what}: {error}")]
    Net { what: &'static str, error: qcat_io::net::NetError },
    /// The exchange refused.
    #[error("{what}: the exchange answered {status} {code}: {message}")]
    Refused { what: &'static str, status: u16, code: i32, message: String },
    /// The answer could not be read.
    #[error("{what}: {error}")]
    Answer { what: &'static str, error: decode::DecodeError },
}

impl BootstrapError {
    /// Whether trying again later cannot help: the key or signature was refused.
    pub fn is_final(&self) -> bool {
        matches!(self, BootstrapError::Refused { code: -2014 | -2015 | -1022 | -1002, .. })
    }
}

const TIMEOUT: Duration = Duration::from_secs(20);

/// Asks for contracts and, with the key, for leverage brackets.
pub async fn exchange_info(
    http: &HttpClient,
    clock: &dyn Clock,
    credentials: &Credentials,
) -> Result<definitions::ExchangeInfo, BootstrapError> {
    let sent = clock.wall();
    let body = get(http, "/fapi/v1/time", None).await?;
    let server = decode::rest::time(&body).map_err(|error| BootstrapError::Answer { what: "time", error })?;
    let offset = ClockOffset::measured(sent, clock.wall(), server);
    let body = get(http, "/fapi/v1/exchangeInfo", None).await?;
    let wrong = |error| BootstrapError::Answer { what: "exchangeInfo", error };
    let mut info = definitions::exchange_info(&body).map_err(wrong)?;
    let target = signed("/fapi/v1/leverageBracket", offset.exchange_time(clock.wall()), credentials);
    let body = get(http, &target, Some(credentials)).await?;
    let wrong = |error| BootstrapError::Answer { what: "leverageBracket", error };
    let mut brackets = definitions::leverage_brackets(&body).map_err(wrong)?;
    for spec in &mut info.instruments {
        spec.brackets = brackets.remove(&spec.name).unwrap_or_default();
    }
    Ok(info)
}

fn signed(path: &str, at: Ts, credentials: &Credentials) -> String {
    let mut query = format!("recvWindow=10000&timestamp={}", at.millis());
    credentials.signer.sign(&mut query);
    format!("{path}?{query}")
}

async fn get(
    http: &HttpClient,
    target: &str,
    credentials: Option<&Credentials>,
) -> Result<bytes::Bytes, BootstrapError> {
    // The signature stays out of messages.
    let what = match target {
        t if t.starts_with("/fapi/v1/time") => "time",
        t if t.starts_with("/fapi/v1/exchangeInfo") => "exchangeInfo",
        _ => "leverageBracket",
    };
    let key = credentials.map(|c| c.key.expose_secret());
    let answer = http.send("GET", target, key, TIMEOUT, || {}).await;
    let answer = answer.map_err(|failure| BootstrapError::Net { what, error: failure.error })?;
    if answer.status == 200 {
        return Ok(answer.body);
    }
    let error = decode::rest::error(answer.status, &answer.body);
    Err(BootstrapError::Refused { what, status: answer.status, code: error.code, message: error.message.into() })
}
