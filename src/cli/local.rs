//! The daemon on this machine, asked over its own API: for `qcat status` and `qcat stop`.
//!
//! Who can read the configuration can read the key that signs tokens; so the command makes itself a token that is good for a
//! minute. Where the configuration has no key (tokens end with the process), a person gives one.

use crate::api::auth::{LOCAL, now};
use crate::api::compose;
use crate::config::Config;
use qcat_io::net::call::call;
use qcat_io::net::tls::Connector;
use qcat_io::net::url::Url;
use qcat_io::secret::{jwt::Tokens, prompt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long the token is good.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);
/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Which daemon.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The daemon's configuration file.
    #[arg(long, value_name = "FILE", env = "QCAT_CONFIG", default_value = "/etc/qcat/config.yaml")]
    pub config: PathBuf,
    /// The address of its API, where it is not the configured one.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Trust these certificates (PEM) beside the public ones.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A daemon that can be asked.
pub struct Local {
    connector: Connector,
    url: Url,
    config: Config,
}

impl Local {
    /// Of these arguments. `Err`: what is wrong with them, for people.
    pub fn new(which: &Where, config: Config) -> Result<Local, String> {
        let url = match &which.url {
            Some(url) => url.clone(),
            None => configured(&config)?,
        };
        let connector = Connector::new(which.ca_file.as_deref()).map_err(|error| error.to_string())?;
        let url = Url::parse(&url, ["http", "https"]).map_err(|error| error.to_string())?;
        Ok(Local { connector, url, config })
    }

    /// A token of this role for a minute.
    fn token(&self, role: &str) -> Result<SecretString, String> {
        if self.config.jwt.secret_key.is_none() {
            return prompt::secret("token of a user (jwt.secret_key is not set)").map_err(|error| error.to_string());
        }
        let key = compose::key(&self.config).map_err(|error| error.to_string())?;
        let tokens = Tokens::new(&key).map_err(|error| format!("jwt.secret_key: {error}"))?;
        Ok(tokens.issue(LOCAL, role, 0, now(), TOKEN_LIFETIME).0)
    }

    /// Asks as this role. `Err`: why there is no answer, for people.
    pub async fn ask(&self, role: &str, method: &str, path: &str, body: Option<&str>) -> Result<Value, String> {
        let token = self.token(role)?;
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(body.map(|_| ("content-type", "application/json")));
        let body = body.unwrap_or_default().to_owned();
        let answer = call(&self.connector, &self.url, (method, path), &headers, body, ANSWER).await;
        let answer = answer.map_err(|error| format!("the daemon does not answer: {error}"))?;
        let value: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| format!("what answers there is no qcat: status {}", answer.status))?;
        match value.get("detail").and_then(Value::as_str) {
            Some(detail) if answer.status >= 400 => Err(detail.to_owned()),
            _ => Ok(value),
        }
    }
}

fn configured(config: &Config) -> Result<String, String> {
    if config.server.port == 0 {
        return Err("server.port is 0: give the address that the daemon's log names, with --url".to_owned());
    }
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let host = match config.server.host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => config.server.host.clone(),
    };
    Ok(format!("{scheme}://{host}:{}", config.server.port))
}
