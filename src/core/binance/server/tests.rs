//! The exchange's side as clients see it: status, code, and what reaches which stream.

use super::*;
use crate::binance::instruments;
use crate::num::{Money, Rate, Rounding};
use crate::sim::derive::DeriveParams;
use crate::sim::market::{Generator, GeneratorParams};
use crate::venue::{AccountSpec, Fees, Latency, VenueConfig};
use proptest::prelude::*;
use serde_json::Value;

const START: Ts = Ts::from_millis(1_790_000_000_000);

struct Client {
    exchange: SimExchange,
    now: Ts,
    peers: u64,
    out: Vec<ServerOut>,
}

impl Client {
    fn new(market: Span) -> Client {
        let info = instruments::builtin().expect("sound");
        let universe = instruments::universe_of(&info).expect("sound");
        let usdt = universe.asset("USDT").expect("listed");
        let latency = Latency { entry: Span::from_millis(1), ..Latency::default() };
        let mut venue = Venue::new(VenueConfig { latency, ..VenueConfig::default() }, universe.clone());
        let fees = Fees { maker: Rate::from_bps(2), taker: Rate::from_bps(5) };
        for account in 0..2 {
            let spec = AccountSpec { balances: vec![Money::units(usdt, 10_000)], fees, leverage: 20 };
            venue.add_account(AccountIx(account), &spec);
        }
        let instrument = universe.by_name("BTCUSDT").expect("listed");
        let price = instrument.price_from(61_800.0, Rounding::Nearest).expect("a price");
        let params = GeneratorParams { levels: 10, ..GeneratorParams::at(price) };
        let end = START.plus(market);
        let source = Generator::new(1, instrument, START, params).expect("a market");
        let source = source.take_while(move |event| event.exchange_time < end);
        let feed = Feed::new(source, START, 1000, DeriveParams::NOTHING).expect("sound");
        let keys = BTreeMap::from([("one".to_owned(), AccountIx(0)), ("two".to_owned(), AccountIx(1))]);
        let exchange = SimExchange::new(venue, info, keys, feed, []);
        let mut client = Client { exchange, now: START, peers: 0, out: Vec::new() };
        client.pass(Span::from_secs(1));
        client
    }

    fn pass(&mut self, span: Span) {
        let until = self.now.plus(span);
        while let Some(at) = self.exchange.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.exchange.on_time(self.now, &mut self.out);
        }
        self.now = until;
    }

    fn send(&mut self, method: &str, path: &str, query: &str, api_key: Option<&str>, signature_valid: bool) -> PeerId {
        self.peers += 1;
        let peer = PeerId(self.peers);
        let call = ServerIn::Http { peer, method, path, query, api_key, signature_valid };
        self.exchange.handle(call, self.now, &mut self.out);
        self.pass(Span::from_millis(10));
        peer
    }

    /// Sends a request and takes its one answer.
    fn call(&mut self, method: &str, path: &str, query: &str, key: Option<&str>, signed: bool) -> (u16, Value) {
        let peer = self.send(method, path, query, key, signed);
        let mut replies = self.out.iter().filter_map(|out| match out {
            ServerOut::Reply { peer: to, status, body, .. } if *to == peer => Some((*status, body.clone())),
            _ => None,
        });
        let (status, body) = replies.next().expect("an answer");
        assert!(replies.next().is_none(), "one answer");
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// A signed request of account 0 at the right time.
    fn signed(&mut self, method: &str, path: &str, query: &str) -> (u16, Value) {
        let join = if query.is_empty() { "" } else { "&" };
        let query = format!("{query}{join}timestamp={}", self.now.millis());
        self.call(method, path, &query, Some("one"), true)
    }

    fn code(&mut self, method: &str, path: &str, query: &str) -> (u16, i64) {
        let (status, body) = self.signed(method, path, query);
        (status, body["code"].as_i64().unwrap_or(0))
    }

    fn open(&mut self, path: &str, query: &str) -> Result<PeerId, u16> {
        self.peers += 1;
        let peer = PeerId(self.peers);
        self.exchange.handle(ServerIn::Open { peer, path, query }, self.now, &mut self.out);
        let answer = self.out.iter().find_map(|out| match out {
            ServerOut::Accept { peer: to } if *to == peer => Some(Ok(peer)),
            ServerOut::Refuse { peer: to, status, .. } if *to == peer => Some(Err(*status)),
            _ => None,
        });
        answer.expect("accepted or refused")
    }

    /// Kinds of the events that a connection got.
    fn kinds(&self, peer: PeerId) -> Vec<String> {
        let text = |out: &ServerOut| match out {
            ServerOut::Send { peer: to, text } if *to == peer => Some(text.clone()),
            ServerOut::Close { peer: to } if *to == peer => Some("{\"e\":\"closed\"}".into()),
            _ => None,
        };
        let kind = |text: std::sync::Arc<str>| {
            let value: Value = serde_json::from_str(&text).expect("JSON");
            let event = value.get("data").unwrap_or(&value);
            event["e"].as_str().unwrap_or("?").to_owned()
        };
        self.out.iter().filter_map(text).map(kind).collect()
    }
}

const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=50000.0";

#[test]
fn who_asks_is_checked_as_the_exchange_does() {
    let mut client = Client::new(Span::from_secs(60));
    let now = client.now.millis();
    let path = "/fapi/v3/balance";
    for (query, key, signed, expected) in [
        (format!("timestamp={now}"), None, true, (401, -2014)),
        (format!("timestamp={now}"), Some("nobody"), true, (401, -2015)),
        (format!("timestamp={now}"), Some("one"), false, (400, -1022)),
        (String::new(), Some("one"), true, (400, -1102)),
        (format!("timestamp={}", now - 6_000), Some("one"), true, (400, -1021)),
        (format!("timestamp={}", now + 3_000), Some("one"), true, (400, -1021)),
        (format!("timestamp={now}&recvWindow=70000"), Some("one"), true, (400, -1131)),
        (format!("timestamp={now}&timestamp={now}"), Some("one"), true, (400, -1101)),
        (format!("timestamp={now}&x=%zz"), Some("one"), true, (400, -1100)),
        (format!("timestamp={now}&x=%+1"), Some("one"), true, (400, -1100)),
    ] {
        let (status, body) = client.call("GET", path, &query, key, signed);
        assert_eq!((status, body["code"].as_i64()), (expected.0, Some(expected.1)), "{query} {key:?} {signed}");
    }
    let (status, body) = client.signed("GET", path, "");
    assert_eq!((status, body[0]["balance"].as_str()), (200, Some("10000.00000000")));
    // A client five seconds late is within a wider window.
    let query = format!("recvWindow=10000&timestamp={}", client.now.millis() - 6_000);
    assert_eq!(client.call("GET", path, &query, Some("one"), true).0, 200);
}

#[test]
fn orders_are_refused_with_the_exchanges_codes() {
    let mut client = Client::new(Span::from_secs(60));
    let order = "/fapi/v1/order";
    for (method, path, query, expected) in [
        ("POST", order, "symbol=BTCUSDT&side=SELL&type=STOP_MARKET&stopPrice=50000&quantity=0.01", (400, -4120)),
        ("POST", order, "symbol=BTCUSDT&side=SELL&type=TRAILING_STOP_MARKET&quantity=0.01", (400, -4120)),
        ("POST", order, "symbol=NOPE&side=BUY&type=MARKET&quantity=1", (400, -1121)),
        ("POST", order, "symbol=BTCUSDT&side=UP&type=MARKET&quantity=1", (400, -1117)),
        ("POST", order, "symbol=BTCUSDT&side=BUY&type=MARKET", (400, -1102)),
        ("POST", order, "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&price=1", (400, -1106)),
        ("POST", order, "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=x", (400, -1100)),
        ("POST", order, "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=a%20b", (400, -1100)),
        ("GET", order, "symbol=BTCUSDT&origClientOrderId=never", (400, -2013)),
        ("DELETE", order, "symbol=BTCUSDT&origClientOrderId=never", (400, -2011)),
        ("DELETE", order, "symbol=BTCUSDT", (400, -1102)),
        ("GET", "/fapi/v1/nothing", "", (404, -5000)),
        ("POST", "/fapi/v1/nothing", "", (404, -5000)),
        ("PATCH", order, "", (404, -5000)),
    ] {
        assert_eq!(client.code(method, path, query), expected, "{method} {path}?{query}");
    }
}

#[test]
fn an_order_lives_through_rest_and_the_user_stream() {
    let mut client = Client::new(Span::from_secs(60));
    let (status, body) = client.call("POST", "/fapi/v1/listenKey", "", Some("one"), true);
    let key = body["listenKey"].as_str().expect("a key").to_owned();
    assert_eq!(status, 200);
    let mine = client.open("/private/ws", &format!("listenKey={key}")).expect("accepted");
    let public = client.open("/public/stream", "streams=btcusdt@depth@100ms/btcusdt@markPrice@1s").expect("accepted");
    assert_eq!(client.open("/private/ws/nokey", ""), Err(401));
    let id = "newClientOrderId=a%3Ab";
    let (status, body) = client.signed("POST", "/fapi/v1/order", &format!("{LIMIT}&{id}"));
    assert_eq!((status, body["status"].as_str(), body["clientOrderId"].as_str()), (200, Some("NEW"), Some("a:b")));
    let (_, body) = client.signed("GET", "/fapi/v1/openOrders", "");
    assert_eq!(body.as_array().map(Vec::len), Some(1));
    // The other account has none of it.
    let query = format!("timestamp={}", client.now.millis());
    let (_, body) = client.call("GET", "/fapi/v1/openOrders", &query, Some("two"), true);
    assert_eq!(body.as_array().map(Vec::len), Some(0));
    let (status, body) = client.signed("DELETE", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=a%3Ab");
    assert_eq!((status, body["status"].as_str()), (200, Some("CANCELED")));
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&newOrderRespType=RESULT";
    let (_, body) = client.signed("POST", "/fapi/v1/order", market);
    assert_eq!((body["status"].as_str(), body["executedQty"].as_str()), (Some("FILLED"), Some("0.010")));
    let (_, trades) = client.signed("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT&limit=1");
    assert_eq!(trades.as_array().map(Vec::len), Some(1));
    let kinds = client.kinds(mine);
    let count = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    assert!(count("ORDER_TRADE_UPDATE") >= 4 && count("ACCOUNT_UPDATE") >= 1, "{kinds:?}");
    client.pass(Span::from_secs(3));
    let kinds = client.kinds(public);
    assert!(kinds.iter().any(|k| k == "depthUpdate"));
    assert!(kinds.iter().all(|k| k == "depthUpdate"), "mark prices are not on this route: {kinds:?}");
}

#[test]
fn an_order_tells_its_average_price_and_is_open_or_not() {
    let mut client = Client::new(Span::from_secs(60));
    // Large enough to go through several levels.
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=3.000&newOrderRespType=RESULT&newClientOrderId=big";
    let (_, placed) = client.signed("POST", "/fapi/v1/order", market);
    assert_eq!(placed["status"], "FILLED", "{placed}");
    let (_, asked) = client.signed("GET", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=big");
    let (_, trades) = client.signed("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT&limit=1000");
    let trades = trades.as_array().expect("a list");
    let sum = |name: &str| -> f64 {
        let number = |t: &Value| t[name].as_str().expect("text").parse::<f64>().expect("a number");
        trades.iter().map(number).sum()
    };
    assert!(trades.len() > 1, "one price would prove nothing");
    let expected = format!("{:.5}", sum("quoteQty") / sum("qty"));
    for order in [&placed, &asked] {
        let text = |name: &str| order[name].as_str().expect("text").trim_end_matches('0').to_owned();
        assert_eq!(text("avgPrice"), expected.trim_end_matches('0'), "{order}");
        assert!(
            (order["cumQuote"].as_str().expect("text").parse::<f64>().expect("a number") - sum("quoteQty")).abs()
                < 1e-6
        );
    }
    let mut code = |path, id: &str| client.code("GET", path, &format!("symbol=BTCUSDT&origClientOrderId={id}"));
    assert_eq!(code("/fapi/v1/openOrder", "big"), (400, -2013), "it is over");
    let (_, open) = client.signed("POST", "/fapi/v1/order", &format!("{LIMIT}&newClientOrderId=small"));
    assert_eq!((open["status"].as_str(), open["avgPrice"].as_str()), (Some("NEW"), Some("0.0")));
    assert_eq!(client.signed("GET", "/fapi/v1/openOrder", "symbol=BTCUSDT&origClientOrderId=small").0, 200);
    client.signed("DELETE", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=small");
    assert_eq!(client.code("GET", "/fapi/v1/openOrder", "symbol=BTCUSDT&origClientOrderId=small"), (400, -2013));
    assert_eq!(client.signed("GET", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=small").0, 200);
}

#[test]
fn a_contract_changes_while_the_exchange_runs() {
    let mut client = Client::new(Span::from_secs(60));
    assert_eq!(client.signed("POST", "/fapi/v1/order", &LIMIT.replace("50000.0", "50000.1")).0, 200);
    let coarse = |spec: &mut InstrumentSpec| {
        spec.price[0] = "0.50".to_owned();
        spec.price[2] = "0.50".to_owned();
    };
    assert_eq!(client.exchange.redefine("BTCUSDT", coarse), Ok(true));
    assert_eq!(client.code("POST", "/fapi/v1/order", &LIMIT.replace("50000.0", "50000.1")), (400, -4014));
    assert_eq!(client.signed("POST", "/fapi/v1/order", &LIMIT.replace("50000.0", "50000.5")).0, 200);
    let settles = |spec: &mut InstrumentSpec| spec.status = ContractStatus::Settling;
    assert_eq!(client.exchange.redefine("BTCUSDT", settles), Ok(true));
    assert_ne!(client.signed("POST", "/fapi/v1/order", LIMIT).0, 200);
    let (_, info) = client.call("GET", "/fapi/v1/exchangeInfo", "", None, false);
    let told = info["symbols"].as_array().and_then(|s| s.iter().find(|s| s["symbol"] == "BTCUSDT")).expect("listed");
    assert_eq!(told["status"], "SETTLING");
    let tick = told["filters"].as_array().and_then(|f| f.iter().find(|f| f["filterType"] == "PRICE_FILTER"));
    assert_eq!(tick.expect("a filter")["tickSize"], "0.50");
    assert_eq!((client.exchange.info_asked(), client.exchange.redefine("NOPE", |_| {})), (1, Ok(false)));
}

#[test]
fn a_listen_key_lives_an_hour_and_ends_with_a_word() {
    let mut client = Client::new(Span::from_secs(2));
    let path = "/fapi/v1/listenKey";
    let call = |client: &mut Client, method| client.call(method, path, "", Some("one"), true);
    assert_eq!(call(&mut client, "PUT").1["code"].as_i64(), Some(-1125));
    let key = call(&mut client, "POST").1["listenKey"].as_str().expect("a key").to_owned();
    assert_eq!(call(&mut client, "POST").1["listenKey"].as_str(), Some(key.as_str()), "POST returns the live one");
    let peer = client.open("/private/ws", &format!("listenKey={key}")).expect("accepted");
    client.pass(Span::from_secs(3_500));
    assert_eq!(call(&mut client, "PUT").0, 200);
    client.pass(Span::from_secs(3_500));
    assert!(client.kinds(peer).is_empty());
    client.pass(Span::from_secs(200));
    assert_eq!(client.kinds(peer), ["listenKeyExpired", "closed"]);
    assert_eq!(call(&mut client, "PUT").1["code"].as_i64(), Some(-1125));
    assert_eq!(client.open("/private/ws", &format!("listenKey={key}")), Err(401));
    let fresh = call(&mut client, "POST").1["listenKey"].as_str().expect("a key").to_owned();
    assert_ne!(fresh, key);
    assert_eq!(call(&mut client, "DELETE").0, 200);
    assert_eq!(call(&mut client, "PUT").1["code"].as_i64(), Some(-1125));
}

#[test]
fn weight_and_orders_are_counted_and_bounded() {
    let mut client = Client::new(Span::from_secs(60));
    client.now = client.now.floor(Span::from_secs(60)).plus(Span::from_secs(60));
    let mut refused = None;
    for n in 0..200 {
        let peer = client.send("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=1000", None, false);
        let reply = client.out.iter().find_map(|out| match out {
            ServerOut::Reply { peer: to, status: 429, headers, .. } if *to == peer => Some(headers.retry_after),
            _ => None,
        });
        if let Some(wait) = reply {
            refused = Some((n, wait));
            break;
        }
    }
    let (n, wait) = refused.expect("it is refused in the end");
    assert_eq!(n, 2400 / 20);
    assert!(wait.is_some_and(|w| w > Span::ZERO && w <= Span::from_secs(60)), "{wait:?}");
    // Who goes on all the same is banned, and longer the second time.
    let status = |client: &mut Client| {
        let peer = client.send("GET", "/fapi/v1/ping", "", None, false);
        let reply = client.out.iter().find_map(|out| match out {
            ServerOut::Reply { peer: to, status, headers, .. } if *to == peer => Some((*status, headers.retry_after)),
            _ => None,
        });
        reply.expect("an answer")
    };
    for ban in [120, 240] {
        let mut refused = (429, None);
        while refused.0 == 429 {
            client.send("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=1000", None, false);
            refused = status(&mut client);
        }
        assert!(refused.0 == 418 && refused.1.is_some_and(|w| w.nanos() > (ban - 2) * 1_000_000_000), "{refused:?}");
        client.now = client.now.plus(Span::from_secs(ban - 10));
        assert_eq!(status(&mut client).0, 418, "until it is over");
        client.now = client.now.plus(Span::from_secs(11));
        assert_eq!(status(&mut client).0, 200);
        while status(&mut client).0 == 200 {
            client.send("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=1000", None, false);
        }
    }
    client.now = client.now.floor(Span::from_secs(60)).plus(Span::from_secs(60));
    let codes: Vec<i64> =
        (0..400).map(|_| client.code("POST", "/fapi/v1/order", LIMIT).1).take_while(|c| *c != -1015).collect();
    assert_eq!(codes.len(), 300, "orders of one account in ten seconds");
}

#[test]
fn a_replay_ends_cleanly() {
    let mut client = Client::new(Span::from_secs(5));
    client.pass(Span::from_secs(10));
    assert!(client.exchange.ended());
    // Nothing is left to do before the next funding.
    assert!(client.exchange.next_timeout().is_none_or(|at| at > client.now.plus(Span::from_secs(60))));
    let (status, body) = client.signed("POST", "/fapi/v1/order", LIMIT);
    assert_eq!((status, body["status"].as_str()), (200, Some("NEW")), "the exchange itself goes on");
}

fn nonsense() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "symbol",
        "side",
        "type",
        "quantity",
        "price",
        "timeInForce",
        "timestamp",
        "recvWindow",
        "orderId",
        "limit",
        "origClientOrderId",
        "newClientOrderId",
        "algoType",
        "triggerPrice",
        "callbackRate",
        "leverage",
        "fromId",
        "startTime",
        "endTime",
        "closePosition",
        "interval",
        "goodTillDate",
        "algoId",
        "clientAlgoId",
        "marginType",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "BTCUSDT",
            "BUY",
            "LIMIT",
            "MARKET",
            "GTC",
            "GTD",
            "0.01",
            "60000",
            "1",
            "0",
            "-1",
            "true",
            "CONDITIONAL",
            "STOP",
            "TRAILING_STOP_MARKET",
            "9223372036854775807",
            "-9223372036854775808",
            "1e400",
            "1790000001000",
            "99999999999999999999",
            "0.000000000000000000001",
            "1m",
            "%",
            "%f",
            "%ff",
            "%00",
            "=",
            "",
            "CROSSED",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    prop::collection::vec((name, value), 0..9)
        .prop_map(|pairs| pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is asked, there is exactly one answer, in JSON, and the exchange lives on.
    #[test]
    fn malformed_requests_are_answered(
        calls in prop::collection::vec((0usize..5, 0usize..16, nonsense(), any::<bool>()), 40),
        texts in prop::collection::vec(".{0,40}", 4),
    ) {
        let paths = [
            "order", "algoOrder", "openOrders", "openAlgoOrders", "userTrades", "leverage", "marginType", "klines", "depth",
            "listenKey", "allOpenOrders", "positionSide/dual", "premiumIndex", "symbolConfig", "leverageBracket", "openOrder",
        ];
        let mut client = Client::new(Span::from_secs(60));
        let peer = client.open("/public/ws", "").expect("accepted");
        for text in &texts {
            client.exchange.handle(ServerIn::Text { peer, text }, client.now, &mut client.out);
            client.exchange.handle(ServerIn::Open { peer: PeerId(u64::MAX), path: text, query: text }, client.now, &mut client.out);
        }
        for (method, path, query, stamped) in &calls {
            let method = ["GET", "POST", "PUT", "DELETE", "X"][*method];
            let path = format!("/fapi/v1/{}", paths[*path]);
            let query = if *stamped { format!("{query}&timestamp={}", client.now.millis()) } else { query.clone() };
            client.call(method, &path, &query, Some("one"), true);
        }
        prop_assert_eq!(client.signed("GET", "/fapi/v3/balance", "").0, 200);
    }
}
