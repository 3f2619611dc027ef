//! What is elsewhere: the exchange, its clock, API keys, stores.

use super::{Config, Finding, Said, said};
use crate::config::model::{self, DatabaseKind};
use crate::projector;
use qcat_core::binance::decode::definitions;
use qcat_core::binance::decode::rest;
use qcat_core::binance::instruments;
use qcat_core::binance::proto::ClockOffset;
use qcat_core::config::AccountConfig;
use qcat_core::order::PositionMode;
use qcat_core::time::Span;
use qcat_io::ask::{AskError, Asker};
use qcat_io::clock::{Clock, SystemClock, text};
use qcat_io::definitions::{self as ask, DefinitionsError};
use qcat_io::net::http::HttpClient;
use qcat_io::net::tls::Connector;
use qcat_io::shell::Credentials;
use qcat_io::sign::Signer;
use qcat_io::store::{self, Schema};
use secrecy::ExposeSecret;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);
const INFO_TIMEOUT: Duration = Duration::from_secs(20);
/// The daemon refuses to start beyond this difference.
const ABSURD: Span = Span::from_secs(60);

/// The exchange: whether it answers, its clock, the symbols, every account's key.
pub(super) async fn exchange(config: &Config, print: &mut impl FnMut(Finding)) {
    let clock = Arc::new(SystemClock::new());
    let http = Connector::new(config.exchange.ca_file.as_deref())
        .and_then(|connector| HttpClient::new(connector, &config.exchange.rest_url));
    let http = match http {
        Ok(http) => http,
        Err(error) => {
            return print(Finding::fail(
                "exchange",
                said(error.to_string(), error.to_string()),
                said("mend exchange.rest_url or exchange.ca_file", "请修正 exchange.rest_url 或 exchange.ca_file"),
            ));
        }
    };
    let wall = clock.clone();
    let asker = Asker { http: Rc::new(http), weight: Rc::default(), now: Rc::new(move || wall.wall()) };
    match reach(&asker, &*clock, config).await {
        Ok(findings) => findings.into_iter().for_each(&mut *print),
        // Nothing that is asked there could be answered.
        Err(finding) => return print(finding),
    }
    let accounts = match contracts(&asker, config).await {
        Ok(accounts) => {
            let count: usize = config.strategies.iter().map(|strategy| strategy.symbols.len()).sum();
            print(Finding::ok(
                "symbols",
                said(
                    format!("the exchange lists all {count} symbols of the strategies"),
                    format!("策略使用的 {count} 个交易对均存在"),
                ),
            ));
            Some(accounts)
        }
        Err(findings) => {
            findings.into_iter().for_each(&mut *print);
            None
        }
    };
    for (at, account) in config.accounts.iter().enumerate() {
        let credentials = Credentials { key: account.api_key.clone(), signer: Signer::new(&account.api_secret) };
        let wanted = accounts.as_ref().map(|accounts| &accounts[at]);
        let subject = format!("account {}", account.name);
        match ask::account_flags(&asker, &credentials).await {
            Ok(flags) => flags_of(&subject, flags, wanted).into_iter().for_each(&mut *print),
            Err(error) => print(refusal(&subject, &error)),
        }
    }
}

/// Asks for the time.
async fn reach(asker: &Asker, clock: &dyn Clock, config: &Config) -> Result<Vec<Finding>, Finding> {
    let url = &config.exchange.rest_url;
    let sent = clock.machine();
    let answer = asker.get("/fapi/v1/time", 1, None, TIMEOUT).await;
    let received = clock.machine();
    let away = |error: String| {
        Finding::fail(
            "exchange",
            said(format!("{url} does not answer: {error}"), format!("{url} 无响应：{error}")),
            said(
                "look at the network, DNS, a proxy or firewall, and exchange.rest_url; some countries are blocked by the exchange",
                "请检查网络、DNS、代理、防火墙以及 exchange.rest_url；交易所会屏蔽部分地区",
            ),
        )
    };
    let body = answer.map_err(|error| away(error.to_string()))?;
    let theirs = rest::time(&body).map_err(|error| away(error.to_string()))?;
    let took = received.since(sent);
    let reached = Finding::ok(
        "exchange",
        said(format!("{url} answers in {} ms", took.millis()), format!("{url} 在 {} 毫秒内响应", took.millis())),
    );
    let offset = ClockOffset::measured(sent, received, theirs);
    let millis = offset.span().millis();
    let found = said(
        format!("the exchange's clock is {millis} ms ahead of this machine's (± {} ms)", took.millis() / 2),
        format!("交易所时钟比本机快 {millis} 毫秒（± {} 毫秒）", took.millis() / 2),
    );
    let mend = said(
        format!("set it and keep it (chrony or systemd-timesyncd); it shows {}", text(received)),
        format!("请校准并保持同步（chrony 或 systemd-timesyncd）；当前显示 {}", text(received)),
    );
    let most = config.exchange.clock_offset_max;
    let clock = match () {
        () if offset.exceeds(ABSURD.min(most), took) => Finding::fail("clock", found, mend),
        () if offset.exceeds(Span::from_nanos(most.nanos() / 2), took) => Finding::warn("clock", found, mend),
        () => Finding::ok("clock", found),
    };
    Ok(vec![reached, clock])
}

/// The contracts, and what each account must be set to.
async fn contracts(asker: &Asker, config: &Config) -> Result<Vec<AccountConfig>, Vec<Finding>> {
    let unreadable = |error: String| {
        vec![Finding::fail(
            "symbols",
            said(format!("the exchange's contracts cannot be read: {error}"), format!("无法读取交易所合约：{error}")),
            said("check that exchange.rest_url is of USDⓈ-M futures", "请确认 exchange.rest_url 为 U 本位合约接口"),
        )]
    };
    let body =
        asker.get("/fapi/v1/exchangeInfo", 1, None, INFO_TIMEOUT).await.map_err(|e| unreadable(e.to_string()))?;
    let info = definitions::exchange_info(&body).map_err(|error| unreadable(error.to_string()))?;
    // One contract that cannot be followed keeps no other from trading, as at the start.
    let plan = instruments::plan(&Default::default(), &info);
    let mut universe = qcat_core::instrument::Universe::default();
    let defined = plan.definitions.iter().try_for_each(|definition| universe.define(definition));
    defined.map_err(|error| unreadable(error.to_string()))?;
    let engine = config.engine(&universe).map_err(|faults| {
        let fault = |fault: crate::config::Fault| {
            Finding::fail(
                "symbols",
                said(fault.to_string(), fault.to_string()),
                said("correct the strategy's symbols or its account", "请修正策略的交易对或账户"),
            )
        };
        faults.into_iter().map(fault).collect::<Vec<_>>()
    })?;
    Ok(engine.accounts)
}

/// What the account is, beside what it must be.
fn flags_of(subject: &str, flags: rest::AccountFlags, wanted: Option<&AccountConfig>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !flags.can_trade {
        findings.push(Finding::fail(
            subject,
            said("the exchange says that this account may not trade", "交易所显示该账户不可交易"),
            said("look for a notice or a restriction in the account at the exchange", "请在交易所查看账户通知或限制"),
        ));
    }
    let key = ("the key works", "密钥有效");
    let Some(wanted) = wanted else {
        // How it must be set is not known, but this much is.
        if findings.is_empty() {
            findings.push(Finding::ok(subject, said(key.0, key.1)));
        }
        return findings;
    };
    if flags.position_mode != wanted.position_mode {
        let name = |mode| match mode {
            PositionMode::OneWay => ("one-way", "单向"),
            PositionMode::Hedge => ("hedge", "双向"),
        };
        let ((is, is_zh), (must, must_zh)) = (name(flags.position_mode), name(wanted.position_mode));
        findings.push(Finding::fail(
            subject,
            said(
                format!("its position mode is {is}, the configuration says {must}"),
                format!("持仓模式为{is_zh}，配置为{must_zh}"),
            ),
            said(
                format!("without open positions and orders, set it to {must} at the exchange (futures preferences)"),
                format!("在无持仓和挂单时，于交易所合约偏好设置中改为{must_zh}"),
            ),
        ));
    }
    if flags.multi_assets != wanted.multi_assets {
        findings.push(Finding::fail(
            subject,
            said(
                format!(
                    "multi-assets margin is {}, the configuration says {}",
                    flags.multi_assets, wanted.multi_assets
                ),
                format!("联合保证金模式为 {}，配置为 {}", flags.multi_assets, wanted.multi_assets),
            ),
            said("set it at the exchange (futures preferences)", "请在交易所合约偏好设置中修改"),
        ));
    }
    if !findings.is_empty() {
        return findings;
    }
    vec![match wanted.trading {
        true => Finding::ok(subject, said(format!("{}; orders are sent", key.0), format!("{}；将发送订单", key.1))),
        false => Finding::warn(
            subject,
            said(
                format!("{}; it is watched only: its orders are refused", key.0),
                format!("{}；仅监视，订单会被拒绝", key.1),
            ),
            said("set accounts[].live: true to trade real money", "如需实盘交易，请设置 accounts[].live: true"),
        ),
    }]
}

/// Why the signed question was not answered.
fn refusal(subject: &str, error: &DefinitionsError) -> Finding {
    let found = said(error.to_string(), error.to_string());
    let DefinitionsError::Ask { error: AskError::Refused { status, code, .. }, .. } = error else {
        return Finding::fail(subject, found, said("try again; look at the network", "请重试，并检查网络"));
    };
    Finding::fail(subject, found, key_advice(*status, *code))
}

fn key_advice(status: u16, code: i32) -> Said {
    match (status, code) {
        (_, -1021) => said("the machine's clock is wrong: see `clock` above", "本机时钟有误，见上面的 clock"),
        (_, -1022) => said(
            "api_secret does not belong to api_key: copy both anew (HMAC keys only)",
            "api_secret 与 api_key 不匹配：请重新复制（仅支持 HMAC 密钥）",
        ),
        (_, -2014) => said("api_key is no key: copy it anew, without blanks", "api_key 格式不对：请重新复制，勿带空格"),
        (401, _) | (_, -2015 | -1002 | -2017) => said(
            "one of: the key is of another exchange or of the test network, was deleted, does not allow this machine's \
             address, or has no permission for futures; look at the key's page at the exchange",
            "可能原因：密钥属于其他交易所或测试网、已删除、未放行本机 IP，或未开通合约权限；请查看交易所的 API 管理页面",
        ),
        (418 | 429, _) => {
            said("too many requests from this address: wait, then try again", "本机地址请求过多：请稍后再试")
        }
        _ => said("look the code up in the exchange's documentation", "请在交易所文档中查询该错误码"),
    }
}

/// The database and Redis: whether they answer. Nothing is written.
pub(super) async fn stores(config: &Config, print: &mut impl FnMut(Finding)) {
    print(database(config).await);
    match &config.redis.addr {
        None => print(Finding::ok(
            "redis",
            said("not configured: the cache is in the process alone", "未配置：仅使用进程内缓存"),
        )),
        Some(addr) => {
            let answer = tokio::time::timeout(TIMEOUT, ping(addr, config)).await;
            print(match answer.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(()) => Finding::ok("redis", said(format!("{addr} answers"), format!("{addr} 正常响应"))),
                Err(error) => Finding::warn(
                    "redis",
                    said(format!("{addr}: {error}"), format!("{addr}：{error}")),
                    said(
                        "start it, or mend redis.addr and redis.password; until then the cache is in the process alone",
                        "请启动 Redis，或修正 redis.addr 与 redis.password；在此之前仅使用进程内缓存",
                    ),
                ),
            });
        }
    }
}

async fn database(config: &Config) -> Finding {
    let database = &config.database;
    let place = match database.kind {
        DatabaseKind::Sqlite => database.path.display().to_string(),
        DatabaseKind::Postgres => format!("{}:{}/{}", database.host, database.port, database.name),
    };
    let one = model::Database { max_open_conns: 1, max_idle_conns: 1, ..database.clone() };
    let error = match store::look(projector::database::options(&one)).await {
        Ok(schema) => {
            let (en, zh) = match schema {
                Schema::Missing => {
                    ("no schema yet: it is made at the start".to_owned(), "尚无表结构，启动时创建".to_owned())
                }
                Schema::Current(version) => (format!("schema version {version}"), format!("表结构版本 {version}")),
                Schema::Older { found, newest } => (
                    format!("schema version {found}: brought to {newest} at the start"),
                    format!("表结构版本 {found}，启动时升级到 {newest}"),
                ),
            };
            return Finding::ok("database", said(format!("{place}: {en}"), format!("{place}：{zh}")));
        }
        Err(error) => error,
    };
    let found = said(format!("{place}: {error}"), format!("{place}：{error}"));
    if error.is_retryable() {
        let mend = said(
            "start it, or mend database.host and database.port; until then the journal keeps everything",
            "请启动数据库，或修正 database.host 与 database.port；在此之前数据保存在日志中",
        );
        return if database.required {
            Finding::fail("database", found, mend)
        } else {
            Finding::warn("database", found, mend)
        };
    }
    let mend = said(
        "mend database.user, password, name or ssl_mode; the user must own its database (CREATE DATABASE ... OWNER ...)",
        "请修正 database.user、password、name 或 ssl_mode；该用户须为数据库所有者（CREATE DATABASE ... OWNER ...）",
    );
    Finding::fail("database", found, mend)
}

/// Says AUTH, if there is a password, and PING.
async fn ping(addr: &str, config: &Config) -> Result<(), String> {
    let mut stream = TcpStream::connect(addr).await.map_err(|error| error.to_string())?;
    if let Some(password) = &config.redis.password {
        let password = password.expose_secret();
        let said = ask_redis(&mut stream, &["AUTH", password]).await?;
        if !said.starts_with('+') {
            return Err(format!("it refuses the password: {}", said.trim_start_matches('-')));
        }
    }
    match ask_redis(&mut stream, &["PING"]).await? {
        said if said.starts_with("+PONG") => Ok(()),
        said => Err(said.trim_start_matches('-').to_owned()),
    }
}

/// One command and the first line of its answer.
async fn ask_redis(stream: &mut TcpStream, words: &[&str]) -> Result<String, String> {
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut line = Vec::new();
    // Answers to these are short; what is not is not Redis.
    while line.len() < 512 {
        match stream.read_u8().await {
            Ok(b'\n') => return Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Ok(byte) => line.push(byte),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("it does not speak Redis's protocol".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_a_key_has_its_own_advice() {
        let codes = [(400, -1021), (400, -1022), (401, -2014), (401, -2015), (429, -1003), (400, -1)];
        let advice: std::collections::BTreeSet<String> = codes.map(|(status, code)| key_advice(status, code).en).into();
        assert_eq!(advice.len(), codes.len());
    }
}
