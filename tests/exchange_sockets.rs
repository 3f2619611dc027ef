//! The simulated exchange as a client meets it over real sockets: routes, listen keys, conditional orders, and its limits, with the
//! headers that tell of them.
#![allow(clippy::unwrap_used)]

use qcat::sim::{self, Market, RunningSim, SimAccount, SimOptions};
use qcat_core::binance::limits::WeightLimit;
use qcat_core::binance::proto::ReplyHeaders;
use qcat_core::time::{Span, Ts};
use qcat_io::clock::{Clock, SystemClock};
use qcat_io::net::http::{HttpAnswer, HttpClient};
use qcat_io::net::tls::Connector;
use qcat_io::net::ws::{self, Patience};
use qcat_io::sign::Signer;
use secrecy::SecretString;
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};

struct Client {
    exchange: RunningSim,
    http: HttpClient,
    connector: Connector,
}

/// A stream that is open, with all its frames so far.
struct Stream {
    frames: Rc<RefCell<Vec<Value>>>,
    _send: mpsc::Sender<String>,
    end: JoinHandle<String>,
}

impl Stream {
    async fn until(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) {
        for _ in 0..6_000 {
            if is_so(&self.frames.borrow()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what}: {:?}", self.frames.borrow());
    }

    fn kinds(&self) -> Vec<String> {
        let kind = |frame: &Value| frame.get("data").unwrap_or(frame)["e"].as_str().unwrap_or("?").to_owned();
        self.frames.borrow().iter().map(kind).collect()
    }
}

fn account(name: &str) -> SimAccount {
    let (key, secret) = (format!("{name}-key"), SecretString::from(format!("{name}-secret")));
    SimAccount { key, secret, balance: "10000".to_owned(), leverage: 20 }
}

impl Client {
    async fn new() -> Client {
        let options = SimOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            tls: false,
            market: Market::Generated { seed: 3, symbols: vec!["BTCUSDT".to_owned()] },
            accounts: vec![account("one"), account("two")],
            latency: Span::from_millis(1),
            fees: qcat_core::venue::Fees::default(),
        };
        let exchange = sim::start(&options).await.unwrap();
        let connector = Connector::new(None).unwrap();
        let http = HttpClient::new(connector.clone(), &format!("http://{}", exchange.address)).unwrap();
        Client { exchange, http, connector }
    }

    async fn ask(&self, method: &str, target: &str, who: Option<&str>) -> HttpAnswer {
        let key = who.map(|who| format!("{who}-key"));
        self.http.send(method, target, key.as_deref(), Duration::from_secs(20), false, || {}).await.unwrap()
    }

    /// A signed request: status, code or nothing, body.
    async fn signed(&self, who: &str, method: &str, path: &str, query: &str) -> (HttpAnswer, Value) {
        let mut query = format!("{query}&timestamp={}", SystemClock::new().wall().millis());
        query = query.trim_start_matches('&').to_owned();
        Signer::new(&SecretString::from(format!("{who}-secret"))).sign(&mut query);
        let answer = self.ask(method, &format!("{path}?{query}"), Some(who)).await;
        let body = serde_json::from_slice(&answer.body).unwrap();
        (answer, body)
    }

    async fn listen_key(&self, who: &str, method: &str) -> Value {
        serde_json::from_slice(&self.ask(method, "/fapi/v1/listenKey", Some(who)).await.body).unwrap()
    }

    async fn stream(&self, path: &str) -> Result<Stream, String> {
        let url = format!("ws://{}{path}", self.exchange.address);
        let socket = ws::connect(&self.connector, &url).await.map_err(|error| error.to_string())?;
        let frames = Rc::new(RefCell::new(Vec::new()));
        let (send, receive) = mpsc::channel(1);
        let into = frames.clone();
        let end = tokio::task::spawn_local(async move {
            let take = |bytes: &[u8]| into.borrow_mut().push(serde_json::from_slice(bytes).unwrap());
            ws::run(socket, Patience::default(), receive, take).await
        });
        Ok(Stream { frames, _send: send, end })
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=59000.0";

#[test]
fn each_stream_is_told_on_its_own_route_only_and_diffs_at_every_speed() {
    run(async {
        let client = Client::new().await;
        let all = "btcusdt@depth@100ms/btcusdt@depth@500ms/btcusdt@trade/btcusdt@bookTicker/btcusdt@markPrice@1s/btcusdt@aggTrade";
        let public = client.stream(&format!("/public/stream?streams={all}")).await.unwrap();
        let market = client.stream(&format!("/market/stream?streams={all}")).await.unwrap();
        let unrouted = client.stream(&format!("/stream?streams={all}")).await.unwrap();
        let has = |frames: &[Value], kind: &str| frames.iter().any(|frame| frame["data"]["e"] == kind);
        public.until("no public stream", |f| has(f, "trade") && has(f, "bookTicker") && f.len() > 200).await;
        market.until("no market stream", |f| has(f, "markPriceUpdate") && has(f, "aggTrade")).await;
        let allowed = [&["depthUpdate", "trade", "bookTicker"][..], &["markPriceUpdate", "aggTrade"]];
        for (stream, kinds) in [(&public, allowed[0]), (&market, allowed[1]), (&unrouted, allowed[0])] {
            let seen = stream.kinds();
            assert!(!seen.is_empty() && seen.iter().all(|kind| kinds.contains(&kind.as_str())), "{seen:?}");
        }
        // Diffs pass one by one, whatever speed was asked for.
        let of = |name: &str| {
            let frames = public.frames.borrow();
            let mine = frames.iter().filter(|frame| frame["stream"] == name);
            mine.map(|frame| frame["data"]["u"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        let (fast, slow) = (of("btcusdt@depth@100ms"), of("btcusdt@depth@500ms"));
        assert!(
            slow.len() > 3 && fast.len().abs_diff(slow.len()) <= 1 && fast[..slow.len() - 1] == slow[..slow.len() - 1]
        );
    });
}

#[test]
fn conditional_orders_have_a_path_of_their_own() {
    run(async {
        let client = Client::new().await;
        let stop = "symbol=BTCUSDT&side=SELL&type=STOP_MARKET&quantity=0.010";
        for kind in ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"] {
            let query = format!("symbol=BTCUSDT&side=SELL&type={kind}&quantity=0.010&stopPrice=59000.0&price=59000.0");
            let (answer, body) = client.signed("one", "POST", "/fapi/v1/order", &query).await;
            assert_eq!((answer.status, body["code"].as_i64()), (400, Some(-4120)), "{kind}");
        }
        let query = format!("{stop}&algoType=CONDITIONAL&triggerPrice=59000.0&clientAlgoId=mine");
        let (answer, body) = client.signed("one", "POST", "/fapi/v1/algoOrder", &query).await;
        assert_eq!((answer.status, body["algoStatus"].as_str()), (200, Some("NEW")), "{body}");
        let lists = [("/fapi/v1/openAlgoOrders", 1), ("/fapi/v1/openOrders", 0)];
        for (path, count) in lists {
            assert_eq!(client.signed("one", "GET", path, "").await.1.as_array().map(Vec::len), Some(count), "{path}");
        }
        // Cancelling all ordinary orders leaves it; it takes the second call.
        client.signed("one", "DELETE", "/fapi/v1/allOpenOrders", "symbol=BTCUSDT").await;
        assert_eq!(client.signed("one", "GET", lists[0].0, "").await.1.as_array().map(Vec::len), Some(1));
        client.signed("one", "DELETE", "/fapi/v1/algoOpenOrders", "symbol=BTCUSDT").await;
        assert_eq!(client.signed("one", "GET", lists[0].0, "").await.1.as_array().map(Vec::len), Some(0));
    });
}

#[test]
fn a_listen_key_carries_its_own_account_and_ends_with_a_word() {
    run(async {
        let client = Client::new().await;
        assert_eq!(client.listen_key("one", "PUT").await["code"], -1125);
        assert!(client.stream("/private/ws/nobody").await.is_err_and(|error| error.contains("401")));
        let key = client.listen_key("one", "POST").await["listenKey"].as_str().unwrap().to_owned();
        assert_eq!(client.listen_key("one", "POST").await["listenKey"], key.as_str(), "the live one");
        assert_eq!(client.listen_key("two", "PUT").await["code"], -1125, "it is another account's");
        let other = client.listen_key("two", "POST").await["listenKey"].as_str().unwrap().to_owned();
        assert_ne!(other, key);
        let mine = client.stream(&format!("/private/ws?listenKey={key}")).await.unwrap();
        let same = client.stream(&format!("/private/ws/{key}")).await.unwrap();
        let theirs = client.stream(&format!("/private/ws?listenKey={other}")).await.unwrap();
        let (answer, _) = client.signed("one", "POST", "/fapi/v1/order", LIMIT).await;
        assert_eq!(answer.status, 200);
        for stream in [&mine, &same] {
            stream.until("no report", |f| f.iter().any(|frame| frame["e"] == "ORDER_TRADE_UPDATE")).await;
        }
        assert!(theirs.frames.borrow().is_empty(), "orders of somebody else");
        // Sixty minutes later.
        client.exchange.server.exchange(|exchange, now, out| exchange.expire_listen_keys(now, out));
        for (stream, key) in [(mine, &key), (same, &key), (theirs, &other)] {
            stream.until("no last word", |f| f.last().is_some_and(|frame| frame["e"] == "listenKeyExpired")).await;
            assert_eq!(stream.frames.borrow().last().unwrap()["listenKey"], key.as_str());
            assert!(stream.end.await.unwrap().contains("closed by the peer"));
        }
        assert_eq!(client.listen_key("one", "PUT").await["code"], -1125);
        assert!(client.stream(&format!("/private/ws/{key}")).await.is_err());
        assert_ne!(client.listen_key("one", "POST").await["listenKey"], key.as_str(), "a new one");
    });
}

#[test]
fn weight_is_counted_by_address_and_orders_by_account_and_the_headers_say_so() {
    run(async {
        let client = Client::new().await;
        // What is compared must not fall into two minutes, nor two windows of orders.
        let now = SystemClock::new().wall();
        let window = Span::from_secs(10);
        tokio::time::sleep(Duration::from_nanos(now.floor(window).plus(window).since(now).nanos().unsigned_abs()))
            .await;
        let used = |answer: &HttpAnswer| answer.reply_headers();
        let first = used(&client.ask("GET", "/fapi/v1/ping", None).await).used_weight_1m.unwrap();
        let (answer, _) = client.signed("one", "GET", "/fapi/v3/balance", "").await;
        assert_eq!(used(&answer).used_weight_1m, Some(first + 5), "of whoever asks from this address");
        let (answer, _) = client.signed("one", "POST", "/fapi/v1/order", LIMIT).await;
        let headers = used(&answer);
        assert_eq!(
            (headers.used_weight_1m, headers.order_count_10s, headers.order_count_1m),
            (Some(first + 5), Some(1), Some(1))
        );
        let (answer, _) = client.signed("one", "POST", "/fapi/v1/order", LIMIT).await;
        assert_eq!(used(&answer).order_count_10s, Some(2));
        let (answer, _) = client.signed("two", "POST", "/fapi/v1/order", LIMIT).await;
        assert_eq!(used(&answer).order_count_10s, Some(1), "another account's");
        // Our own limiter takes over what the exchange counted, and closes the address for as long as it is told.
        let mut limit = WeightLimit::new();
        let mut refused = (429, ReplyHeaders::default());
        let mut statuses = Vec::new();
        while refused.0 != 418 {
            let answer = client.ask("GET", "/fapi/v1/depth?symbol=BTCUSDT&limit=1000", None).await;
            refused = (answer.status, used(&answer));
            limit.learn(answer.status, &refused.1, Ts::from_millis(0));
            statuses.push(answer.status);
            assert!(statuses.len() < 400, "no end to it");
            if answer.status != 200 {
                let wait = refused.1.retry_after.unwrap();
                assert!(wait >= Span::from_secs(1) && wait <= Span::from_secs(120), "{wait:?}");
                assert!(
                    limit.banned_until() >= Ts::from_millis(0).plus(wait)
                        && limit.take(0, true, Ts::from_millis(1)).is_err()
                );
            }
        }
        statuses.dedup();
        assert_eq!(statuses, [200, 429, 418]);
        assert_eq!(
            client.signed("two", "GET", "/fapi/v3/balance", "").await.0.status,
            418,
            "the address, not the account"
        );
    });
}
