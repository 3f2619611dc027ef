//! Requests: which path wants what.

use super::answers::{Shape, error_body, status_of};
use super::limits::Excess;
use super::params::{Params, refuse};
use super::{KEY_LIFE, Key, SimExchange, Waiting};
use crate::binance::decode::definitions::ExchangeInfo;
use crate::binance::decode::market::interval;
use crate::binance::print;
use crate::binance::proto::{PeerId, ReplyHeaders, ServerOut};
use crate::command::{MarginType, Query, TradeCursor, VenueError};
use crate::id::{AccountIx, SymbolIx, TradeId};
use crate::market::BookLevels;
use crate::order::PositionMode;
use crate::time::Ts;
use crate::venue::RequestKind;

/// One HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub peer: PeerId,
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub api_key: Option<&'a str>,
    pub signature_valid: bool,
}

/// What a request comes to at once, or what the venue is asked.
enum Step {
    Body(String),
    Ask(RequestKind, Waiting),
}

type Stepped = Result<Step, VenueError>;

impl SimExchange {
    /// Takes a request: answers at once, or sends it on to the venue.
    pub(super) fn http(&mut self, call: &Call<'_>, now: Ts, out: &mut Vec<ServerOut>) {
        let reply = |status, headers, body| ServerOut::Reply { peer: call.peer, status, headers, body };
        if let Err(excess) = self.limits.weigh(weight(call), now) {
            let (status, wait, text) = match excess {
                Excess::Limited(wait) => {
                    (429, wait, "Too many requests; current limit of IP is 2400 requests per minute.")
                }
                Excess::Banned(wait) => {
                    (418, wait, "Way too many requests; IP banned. Please use the websocket to avoid bans.")
                }
            };
            let headers = ReplyHeaders { retry_after: Some(wait), ..ReplyHeaders::default() };
            return out.push(reply(status, headers, error_body(&refuse(-1003, text))));
        }
        let account = call.api_key.and_then(|key| self.accounts.get(key)).copied();
        let step = Params::read(call.query).and_then(|params| match public(call) {
            true => self.public_call(call, &params, now),
            false => {
                let account = self.authorize(call, account, &params, now)?;
                self.private_call(call, account, &params, now)
            }
        });
        let headers = self.limits.headers(account.unwrap_or(AccountIx(u16::MAX)), now);
        match (step, account) {
            (Ok(Step::Body(body)), _) => out.push(reply(200, headers, body)),
            (Ok(Step::Ask(kind, waiting)), Some(account)) => self.request(call.peer, account, kind, waiting, now),
            (Ok(Step::Ask(..)), None) => {
                out.push(reply(401, headers, error_body(&refuse(-2014, "API-key format invalid."))))
            }
            (Err(error), _) => out.push(reply(status_of(&error), headers, error_body(&error))),
        }
    }

    fn authorize(
        &self,
        call: &Call<'_>,
        account: Option<AccountIx>,
        params: &Params,
        now: Ts,
    ) -> Result<AccountIx, VenueError> {
        if call.api_key.is_none() {
            return Err(refuse(-2014, "API-key format invalid."));
        }
        let account = account.ok_or_else(|| refuse(-2015, "Invalid API-key, IP, or permissions for action."))?;
        if call.path == "/fapi/v1/listenKey" {
            return Ok(account);
        }
        let timestamp = params.number("timestamp")?.ok_or_else(|| {
            refuse(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
        })?;
        let window = params.number("recvWindow")?.unwrap_or(5000);
        if !(0..=60_000).contains(&window) {
            return Err(refuse(-1131, "Invalid recvWindow."));
        }
        let age = now.millis().saturating_sub(timestamp);
        if age > window || age < -1000 {
            return Err(refuse(-1021, "Timestamp for this request is outside of the recvWindow."));
        }
        if !call.signature_valid {
            return Err(refuse(-1022, "Signature for this request is not valid."));
        }
        Ok(account)
    }

    fn public_call(&mut self, call: &Call<'_>, params: &Params, now: Ts) -> Stepped {
        let universe = self.venue.universe();
        let mut body = String::new();
        match call.path {
            "/fapi/v1/ping" => body.push_str("{}"),
            "/fapi/v1/time" => print::single::time(&mut body, now),
            "/fapi/v1/exchangeInfo" => {
                self.info_asked += 1;
                print::exchange_info(&mut body, &ExchangeInfo { server_time: now, ..self.info.clone() })
            }
            "/fapi/v1/depth" => {
                let instrument = params.instrument(universe)?;
                let limit = params.number("limit")?.unwrap_or(500);
                if ![5, 10, 20, 50, 100, 500, 1000].contains(&limit) {
                    return Err(refuse(-4021, format!("{limit} is not valid depth limit.")));
                }
                let market = self.markets.market(instrument.symbol);
                let id = market.book.last_update_id().unwrap_or(0);
                let take = usize::try_from(limit).unwrap_or(0);
                let levels = BookLevels {
                    first_id: id,
                    last_id: id,
                    previous_id: 0,
                    bids: market.book.bids().take(take).collect(),
                    asks: market.book.asks().take(take).collect(),
                };
                print::depth(&mut body, &levels, instrument, market.updated);
            }
            "/fapi/v1/klines" => {
                let instrument = params.instrument(universe)?;
                let interval = interval(params.need("interval")?).ok_or_else(|| refuse(-1120, "Invalid interval."))?;
                let limit = usize::try_from(params.number("limit")?.unwrap_or(500).clamp(1, 1500)).unwrap_or(500);
                let empty = std::collections::VecDeque::new();
                let candles = self.candles.get(&(instrument.symbol, interval)).unwrap_or(&empty);
                let newest = candles.iter().skip(candles.len().saturating_sub(limit));
                print::list(&mut body, newest, |out, candle| {
                    print::kline_row(out, candle, instrument);
                    true
                });
            }
            "/fapi/v1/premiumIndex" => {
                let instrument = params.instrument(universe)?;
                let mark = self.markets.market(instrument.symbol).mark;
                let mark = mark.ok_or_else(|| refuse(-1000, "No mark price is known yet."))?;
                print::premium_index(&mut body, &mark, instrument, now);
            }
            path => return Err(refuse(-5000, format!("Path {path}, Method {} is invalid", call.method))),
        }
        Ok(Step::Body(body))
    }

    fn private_call(&mut self, call: &Call<'_>, account: AccountIx, params: &Params, now: Ts) -> Stepped {
        match (call.method, call.path) {
            (method, "/fapi/v1/listenKey") => self.listen_key(method, account, now),
            (_, "/fapi/v1/order" | "/fapi/v1/openOrder" | "/fapi/v1/algoOrder")
            | ("DELETE", "/fapi/v1/allOpenOrders" | "/fapi/v1/algoOpenOrders") => {
                self.order_call(call, account, params, now)
            }
            ("GET", path) => self.query_call(path, params),
            ("POST", path) => self.settings_call(path, params),
            (method, path) => Err(refuse(-5000, format!("Path {path}, Method {method} is invalid"))),
        }
    }

    fn order_call(&mut self, call: &Call<'_>, account: AccountIx, params: &Params, now: Ts) -> Stepped {
        let ask = |kind, waiting| Ok(Step::Ask(kind, waiting));
        let universe = self.venue.universe();
        match (call.method, call.path) {
            ("POST", "/fapi/v1/order") => {
                let order = params.order(universe, self.next_command)?;
                self.count_order(account, now)?;
                ask(RequestKind::Place(order), Waiting::Order { cancel: false })
            }
            ("POST", "/fapi/v1/algoOrder") => {
                let order = params.algo_order(universe, self.next_command)?;
                self.count_order(account, now)?;
                ask(RequestKind::Place(order), Waiting::Order { cancel: false })
            }
            ("PUT", "/fapi/v1/order") => {
                let instrument = params.instrument(universe)?;
                let order = params.order_ref("orderId", "origClientOrderId")?;
                let (side, price, quantity) = params.change(instrument)?;
                let symbol = instrument.symbol;
                self.count_order(account, now)?;
                let kind = RequestKind::Modify { symbol, order, side, price, quantity };
                ask(kind, Waiting::Order { cancel: false })
            }
            ("DELETE", "/fapi/v1/order") => {
                let (symbol, order) =
                    (params.instrument(universe)?.symbol, params.order_ref("orderId", "origClientOrderId")?);
                let kind = RequestKind::Cancel { symbol, order, conditional: false };
                ask(kind, Waiting::Order { cancel: true })
            }
            ("GET", path @ ("/fapi/v1/order" | "/fapi/v1/openOrder")) => {
                let open_only = path.ends_with("openOrder");
                let (symbol, order) =
                    (params.instrument(universe)?.symbol, params.order_ref("orderId", "origClientOrderId")?);
                ask(RequestKind::Find { symbol, order, conditional: false }, Waiting::Query(Shape::Order { open_only }))
            }
            ("DELETE", "/fapi/v1/algoOrder") => {
                let order = params.order_ref("algoId", "clientAlgoId")?;
                let symbol = self.algo_symbol(account, params)?;
                let kind = RequestKind::Cancel { symbol, order, conditional: true };
                ask(kind, Waiting::Order { cancel: true })
            }
            ("GET", "/fapi/v1/algoOrder") => {
                let order = params.order_ref("algoId", "clientAlgoId")?;
                let symbol = self.algo_symbol(account, params)?;
                ask(
                    RequestKind::Find { symbol, order, conditional: true },
                    Waiting::Query(Shape::Order { open_only: false }),
                )
            }
            ("DELETE", path @ ("/fapi/v1/allOpenOrders" | "/fapi/v1/algoOpenOrders")) => {
                let conditional = path.ends_with("algoOpenOrders");
                let symbol = params.instrument(universe)?.symbol;
                let done = r#"{"code":200,"msg":"The operation of cancel all open order is done."}"#;
                ask(RequestKind::CancelAll { symbol, conditional }, Waiting::Acknowledge(done.to_owned()))
            }
            (method, path) => Err(refuse(-5000, format!("Path {path}, Method {method} is invalid"))),
        }
    }

    fn query_call(&self, path: &str, params: &Params) -> Stepped {
        let query = |query, shape| Ok(Step::Ask(RequestKind::Query(query), Waiting::Query(shape)));
        let universe = self.venue.universe();
        let symbol = || params.get("symbol").map(|_| params.instrument(universe).map(|i| i.symbol)).transpose();
        match path {
            "/fapi/v1/openOrders" => query(Query::OpenOrders, Shape::OpenOrders(symbol()?)),
            "/fapi/v1/openAlgoOrders" => query(Query::OpenConditionals, Shape::OpenConditionals(symbol()?)),
            "/fapi/v1/userTrades" => {
                let symbol = params.instrument(universe)?.symbol;
                let from = match (params.number("fromId")?, params.time("startTime")?) {
                    (Some(id), _) => TradeCursor::Id(TradeId(id)),
                    (None, start) => TradeCursor::Time(start.unwrap_or(Ts::ZERO)),
                };
                let limit = match params.number("limit")?.unwrap_or(500) {
                    limit @ 1..=1000 => limit as usize,
                    limit => {
                        return Err(refuse(-1130, format!("Data sent for parameter 'limit' is not valid: {limit}.")));
                    }
                };
                query(Query::Trades { symbol, from }, Shape::Trades { limit, until: params.time("endTime")? })
            }
            "/fapi/v3/positionRisk" | "/fapi/v2/positionRisk" => query(Query::Positions, Shape::Positions(symbol()?)),
            "/fapi/v3/balance" | "/fapi/v2/balance" => query(Query::Balances, Shape::Balances),
            "/fapi/v1/positionSide/dual" => query(Query::Settings, Shape::PositionMode),
            "/fapi/v1/multiAssetsMargin" => query(Query::Settings, Shape::MultiAssets),
            "/fapi/v1/symbolConfig" => query(Query::Settings, Shape::SymbolConfig(symbol()?)),
            "/fapi/v1/accountConfig" => query(Query::Settings, Shape::AccountConfig),
            "/fapi/v1/leverageBracket" => {
                let mut body = String::new();
                let wanted = symbol()?;
                let listed = universe.instruments().iter().filter(|i| wanted.is_none_or(|w| w == i.symbol));
                print::list(&mut body, listed, |out, instrument| {
                    print::leverage_bracket(out, instrument);
                    true
                });
                Ok(Step::Body(body))
            }
            path => Err(refuse(-5000, format!("Path {path}, Method GET is invalid"))),
        }
    }

    fn settings_call(&mut self, path: &str, params: &Params) -> Stepped {
        let universe = self.venue.universe();
        let success = || Waiting::Acknowledge(r#"{"code":200,"msg":"success"}"#.to_owned());
        Ok(match path {
            "/fapi/v1/leverage" => {
                let instrument = params.instrument(universe)?;
                let wanted = params.number("leverage")?.ok_or_else(|| {
                    refuse(-1102, "Mandatory parameter 'leverage' was not sent, was empty/null, or malformed.")
                })?;
                let leverage =
                    u16::try_from(wanted).map_err(|_| refuse(-4028, format!("Leverage {wanted} is not valid")))?;
                let body =
                    format!(r#"{{"leverage":{leverage},"maxNotionalValue":"0","symbol":"{}"}}"#, instrument.name);
                Step::Ask(RequestKind::SetLeverage { symbol: instrument.symbol, leverage }, Waiting::Acknowledge(body))
            }
            "/fapi/v1/marginType" => {
                let symbol = params.instrument(universe)?.symbol;
                let margin_type = match params.need("marginType")? {
                    "ISOLATED" => MarginType::Isolated,
                    "CROSSED" => MarginType::Cross,
                    _ => return Err(refuse(-1130, "Data sent for parameter 'marginType' is not valid.")),
                };
                Step::Ask(RequestKind::SetMarginType { symbol, margin_type }, success())
            }
            "/fapi/v1/positionSide/dual" => {
                let mode = if params.flag("dualSidePosition")? { PositionMode::Hedge } else { PositionMode::OneWay };
                Step::Ask(RequestKind::SetPositionMode(mode), success())
            }
            "/fapi/v1/multiAssetsMargin" => {
                Step::Ask(RequestKind::SetMultiAssets(params.flag("multiAssetsMargin")?), success())
            }
            path => return Err(refuse(-5000, format!("Path {path}, Method POST is invalid"))),
        })
    }

    /// The symbol of a conditional order, which requests about it need not name.
    fn algo_symbol(&self, account: AccountIx, params: &Params) -> Result<SymbolIx, VenueError> {
        if params.get("symbol").is_some() {
            return params.instrument(self.venue.universe()).map(|i| i.symbol);
        }
        let order = params.order_ref("algoId", "clientAlgoId")?;
        self.venue.conditional_symbol(account, order).ok_or_else(|| refuse(-2013, "Order does not exist."))
    }

    fn count_order(&mut self, account: AccountIx, now: Ts) -> Result<(), VenueError> {
        self.limits.order(account, now).map_err(|_| refuse(-1015, "Too many new orders."))
    }

    fn listen_key(&mut self, method: &str, account: AccountIx, now: Ts) -> Stepped {
        let live = |key: &Key| key.account == account && key.expires > now;
        let mine = self.keys.iter().find(|(_, key)| live(key)).map(|(text, _)| text.clone());
        let missing = || refuse(-1125, "This listenKey does not exist.");
        let text = match method {
            "POST" => mine.unwrap_or_else(|| {
                self.next_key += 1;
                format!(
                    "simListenKey{:04}x{:08x}",
                    self.next_key,
                    crate::node::hash_bytes(&self.next_key.to_le_bytes()) as u32
                )
            }),
            "PUT" => mine.ok_or_else(missing)?,
            "DELETE" => {
                // It ends like one that expires: its streams are told and closed.
                if let Some(key) = self.keys.get_mut(&mine.ok_or_else(missing)?) {
                    key.expires = now;
                }
                return Ok(Step::Body("{}".to_owned()));
            }
            method => return Err(refuse(-5000, format!("Path /fapi/v1/listenKey, Method {method} is invalid"))),
        };
        self.keys.insert(text.clone(), Key { account, expires: now.plus(KEY_LIFE) });
        let mut body = String::new();
        print::single::listen_key(&mut body, &text);
        Ok(Step::Body(body))
    }
}

/// Calls that need no key.
fn public(call: &Call<'_>) -> bool {
    let open = ["ping", "time", "exchangeInfo", "depth", "klines", "premiumIndex"];
    call.path.strip_prefix("/fapi/v1/").is_some_and(|name| open.contains(&name))
}

/// The weight of a call, as the exchange's reference gives it.
fn weight(call: &Call<'_>) -> u32 {
    let has_symbol = call.query.contains("symbol=");
    let limit = |default: u32| {
        let told = call.query.split('&').find_map(|pair| pair.strip_prefix("limit="));
        told.and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let Some(name) = call.path.strip_prefix("/fapi/").and_then(|path| path.get(3..)) else { return 1 };
    match (call.method, name) {
        ("POST" | "PUT", "order" | "algoOrder") => 0,
        ("GET", "openOrders" | "openAlgoOrders") if !has_symbol => 40,
        ("GET", "positionSide/dual" | "multiAssetsMargin") => 30,
        ("GET", "depth") => match limit(500) {
            0..=50 => 2,
            51..=100 => 5,
            101..=500 => 10,
            _ => 20,
        },
        ("GET", "klines") => match limit(500) {
            0..=99 => 1,
            100..=499 => 2,
            500..=1000 => 5,
            _ => 10,
        },
        ("GET", "premiumIndex") if !has_symbol => 10,
        ("GET", "userTrades" | "balance" | "positionRisk" | "symbolConfig" | "accountConfig") => 5,
        _ => 1,
    }
}
