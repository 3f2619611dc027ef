//! What the exchange tells of its contracts, leverage brackets and limits: asked for before the engine can start, and again while
//! it runs.

use crate::ask::{AskError, Asker};
use crate::shell::Credentials;
use bytes::Bytes;
use qcat_core::binance::decode::definitions::ExchangeInfo;
use qcat_core::binance::decode::rest::AccountFlags;
use qcat_core::binance::decode::{self, DecodeError, definitions};
use qcat_core::binance::error::{Meaning, meaning};
use qcat_core::binance::proto::ClockOffset;
use qcat_core::time::Ts;
use std::time::Duration;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The exchange refused an account's key or signature.
    #[error(
        "accounts[{account}] `{name}`: the exchange refuses its API key ({status} {code}: {message}); check `api_key` and \
         `api_secret`, the key's permissions and the addresses that it allows, and that the key is of {url}"
    )]
    Key { account: usize, name: String, status: u16, code: i32, message: String, url: String },
    /// There is no answer.
    #[error("{what}: {error}")]
    Ask { what: &'static str, error: AskError },
    /// The answer could not be read.
    #[error("{what}: {error}")]
    Answer { what: &'static str, error: DecodeError },
}

impl DefinitionsError {
    /// Whether trying again later cannot help: a key or signature was refused.
    pub fn is_final(&self) -> bool {
        matches!(self, DefinitionsError::Key { .. })
    }

    /// The same, named as what it is when the key of an account was refused.
    fn of_key(self, account: usize, name: &str, url: &str) -> DefinitionsError {
        match self {
            DefinitionsError::Ask { error: AskError::Refused { status, code, message }, .. }
                if status == 401 || meaning(status, code, &message) == Meaning::Credentials =>
            {
                let (name, message, url) = (name.to_owned(), message.to_string(), url.to_owned());
                DefinitionsError::Key { account, name, status, code, message, url }
            }
            other => other,
        }
    }
}

const BRACKETS: &str = "leverageBracket";
const TIMEOUT: Duration = Duration::from_secs(20);
/// Weight of each question.
const WEIGHT: u32 = 1;
const ACCOUNT: &str = "accountConfig";
const ACCOUNT_WEIGHT: u32 = 5;

/// Asks for contracts and limits and, with the key, for leverage brackets.
pub async fn exchange_info(asker: &Asker, credentials: &Credentials) -> Result<ExchangeInfo, DefinitionsError> {
    let offset = offset(asker).await?;
    let body = get(asker, "exchangeInfo", "/fapi/v1/exchangeInfo", None).await?;
    let wrong = |error| DefinitionsError::Answer { what: "exchangeInfo", error };
    let mut info = definitions::exchange_info(&body).map_err(wrong)?;
    let body = brackets(asker, offset, credentials).await?;
    let wrong = |error| DefinitionsError::Answer { what: BRACKETS, error };
    let mut brackets = definitions::leverage_brackets(&body).map_err(wrong)?;
    for spec in &mut info.instruments {
        spec.brackets = brackets.remove(&spec.name).unwrap_or_default();
    }
    Ok(info)
}

/// Asks something with the key of each account, so that one that is refused is found before anything trades. `accounts` are
/// names and keys by index, `url` is the exchange's, for people.
pub async fn check_keys(asker: &Asker, accounts: &[(&str, &Credentials)], url: &str) -> Result<(), DefinitionsError> {
    let offset = offset(asker).await?;
    for (account, (name, credentials)) in accounts.iter().enumerate() {
        let asked = brackets(asker, offset, credentials).await;
        asked.map_err(|error| error.of_key(account, name, url))?;
    }
    Ok(())
}

/// Asks how an account is set at the exchange and whether it may trade.
pub async fn account_flags(asker: &Asker, credentials: &Credentials) -> Result<AccountFlags, DefinitionsError> {
    let offset = offset(asker).await?;
    let target = signed("/fapi/v1/accountConfig", offset.exchange_time((asker.now)()), credentials);
    let answer = asker.get(&target, ACCOUNT_WEIGHT, Some(credentials), TIMEOUT).await;
    let body = answer.map_err(|error| DefinitionsError::Ask { what: ACCOUNT, error })?;
    decode::rest::account_config(&body).map_err(|error| DefinitionsError::Answer { what: ACCOUNT, error })
}

async fn offset(asker: &Asker) -> Result<ClockOffset, DefinitionsError> {
    let sent = (asker.now)();
    let body = get(asker, "time", "/fapi/v1/time", None).await?;
    let server = decode::rest::time(&body).map_err(|error| DefinitionsError::Answer { what: "time", error })?;
    Ok(ClockOffset::measured(sent, (asker.now)(), server))
}

async fn brackets(asker: &Asker, offset: ClockOffset, credentials: &Credentials) -> Result<Bytes, DefinitionsError> {
    let target = signed("/fapi/v1/leverageBracket", offset.exchange_time((asker.now)()), credentials);
    get(asker, BRACKETS, &target, Some(credentials)).await
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
