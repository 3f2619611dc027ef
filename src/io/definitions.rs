//! What the exchange tells of its contracts, leverage brackets and limits: asked for before the engine can start, and again while
//! it runs.

use crate::ask::{AskError, Asker};
use crate::shell::Credentials;
use bytes::Bytes;
use qcat_core::binance::decode::definitions::ExchangeInfo;
use qcat_core::binance::decode::{self, DecodeError, definitions};
use qcat_core::binance::error::{Meaning, meaning};
use qcat_core::binance::proto::ClockOffset;
use qcat_core::time::Ts;
use std::time::Duration;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// There is no answer.
    #[error("{what}: {error}")]
    Ask { what: &'static str, error: AskError },
    /// The answer could not be read.
    #[error("{what}: {error}")]
    Answer { what: &'static str, error: DecodeError },
}

impl DefinitionsError {
    /// Whether trying again later cannot help: the key or signature was refused.
    pub fn is_final(&self) -> bool {
        match self {
            DefinitionsError::Ask { error: AskError::Refused { status, code, message }, .. } => {
                meaning(*status, *code, message) == Meaning::Credentials
            }
            _ => false,
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(20);
/// Weight of each of the three questions.
const WEIGHT: u32 = 1;

/// Asks for contracts and limits and, with the key, for leverage brackets.
pub async fn exchange_info(asker: &Asker, credentials: &Credentials) -> Result<ExchangeInfo, DefinitionsError> {
    let sent = (asker.now)();
    let body = get(asker, "time", "/fapi/v1/time", None).await?;
    let server = decode::rest::time(&body).map_err(|error| DefinitionsError::Answer { what: "time", error })?;
    let offset = ClockOffset::measured(sent, (asker.now)(), server);
    let body = get(asker, "exchangeInfo", "/fapi/v1/exchangeInfo", None).await?;
    let wrong = |error| DefinitionsError::Answer { what: "exchangeInfo", error };
    let mut info = definitions::exchange_info(&body).map_err(wrong)?;
    let target = signed("/fapi/v1/leverageBracket", offset.exchange_time((asker.now)()), credentials);
    let body = get(asker, "leverageBracket", &target, Some(credentials)).await?;
    let wrong = |error| DefinitionsError::Answer { what: "leverageBracket", error };
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

/// `what` stands in messages instead of the target, which may hold a signature.
async fn get(
    asker: &Asker,
    what: &'static str,
    target: &str,
    credentials: Option<&Credentials>,
) -> Result<Bytes, DefinitionsError> {
    let answer = asker.get(target, WEIGHT, credentials, TIMEOUT).await;
    answer.map_err(|error| DefinitionsError::Ask { what, error })
}
