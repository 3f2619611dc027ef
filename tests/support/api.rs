//! A server of the API on a free port, what stands behind it, and a client that writes bytes to a socket.
#![allow(dead_code)] // Each test uses a part of it.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use qcat::api::options::ServerOptions;
use qcat::api::server::Sockets;
use qcat::api::state::{Answered, ApiParts, Away, System, Users, Watch};
use qcat::api::store::StoreSlot;
use qcat_actors::runtime::board::{Board, OrderRow};
use qcat_actors::runtime::lane::{LaneState, LaneView};
use qcat_actors::runtime::stop::StopReport;
use qcat_actors::runtime::system::Tree;
use qcat_io::secret::jwt::Tokens;
use qcat_io::secret::password;
use qcat_io::store::{Micros, Role, User};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::any::Any;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The key of every test.
pub const KEY: &str = "a key of the tests, longer than 32 bytes";
/// The password of every user.
pub const PASSWORD: &str = "correct horse battery";

/// Users in memory; `away`: the database does not answer.
#[derive(Default)]
pub struct Known {
    pub users: Mutex<BTreeMap<String, User>>,
    pub away: AtomicBool,
}

impl Known {
    pub fn change(&self, name: &str, change: impl FnOnce(&mut User)) {
        change(self.users.lock().expect("free").get_mut(name).expect("a user"));
    }
}

impl Users for Known {
    fn find<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<User>, Away>> {
        let found = self.users.lock().expect("free").get(name).cloned();
        let away = self.away.load(Ordering::Relaxed);
        async move { if away { Err(Away("connection refused".to_owned())) } else { Ok(found) } }.boxed()
    }
}

/// A system without one.
#[derive(Default)]
pub struct Stage {
    pub board: Mutex<Option<Board>>,
    pub panics: AtomicBool,
    pub stops: Mutex<Vec<(String, bool)>>,
}

impl System for Stage {
    fn board(&self) -> BoxFuture<'_, Result<Arc<Board>, Away>> {
        assert!(!self.panics.load(Ordering::Relaxed), "a secret detail");
        let board = self.board.lock().expect("free").clone();
        async move { board.map(Arc::new).ok_or_else(|| Away("the daemon is still starting".to_owned())) }.boxed()
    }

    fn tree(&self) -> BoxFuture<'_, Result<Arc<Tree>, Away>> {
        async move { Err(Away("the trading thread does not answer".to_owned())) }.boxed()
    }

    fn stop_report(&self) -> Option<StopReport> {
        None
    }

    fn phase(&self) -> (String, Option<String>) {
        ("running".to_owned(), None)
    }

    fn stop(&self, why: &str, force: bool) {
        self.stops.lock().expect("free").push((why.to_owned(), force));
    }
}

/// What was answered: method, path, route, status, user, address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub line: String,
    pub route: Option<String>,
    pub status: u16,
    pub user: Option<String>,
    pub remote: String,
    pub request_id: String,
}

/// Remembers what the server did.
#[derive(Default)]
pub struct Ear {
    pub seen: Mutex<Vec<Seen>>,
    pub connections: Arc<AtomicI64>,
}

/// Counts a connection until it is dropped.
struct Open(Arc<AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch for Ear {
    fn answered(&self, request: &Answered<'_>) {
        self.seen.lock().expect("free").push(Seen {
            line: format!("{} {}", request.method, request.path),
            route: request.route.map(str::to_owned),
            status: request.status,
            user: request.user.map(str::to_owned),
            remote: request.remote.map(|address| address.to_string()).unwrap_or_default(),
            request_id: request.request_id.to_owned(),
        });
    }

    fn connected(&self) -> Box<dyn Any> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Box::new(Open(self.connections.clone()))
    }

    fn metrics<'a>(&'a self, accept: Option<&'a str>) -> BoxFuture<'a, Option<(&'static str, String)>> {
        let openmetrics = accept.is_some_and(|accept| accept.contains("openmetrics"));
        let kind =
            if openmetrics { "application/openmetrics-text; version=1.0.0" } else { "text/plain; version=0.0.4" };
        async move { Some((kind, "# one\n".to_owned())) }.boxed()
    }
}

/// A running server.
pub struct Api {
    pub address: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub users: Arc<Known>,
    pub stage: Arc<Stage>,
    pub ear: Arc<Ear>,
    pub tokens: Tokens,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub fn tokens(key: &str) -> Tokens {
    Tokens::new(&SecretString::from(key)).expect("a long key")
}

/// On free ports of the loopback address, without limits.
pub fn options() -> ServerOptions {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    ServerOptions { listen: any, workers: 1, rate: None, ..ServerOptions::default() }
}

impl Api {
    /// Starts a server with the users `viewer`, `trader` and `admin`.
    pub fn start(options: ServerOptions) -> Api {
        let (users, stage, ear) = (Arc::new(Known::default()), Arc::new(Stage::default()), Arc::new(Ear::default()));
        let hash = password::hash(&SecretString::from(PASSWORD)).expect("hashed");
        for role in [Role::Viewer, Role::Trader, Role::Admin] {
            let (name, hash) = (role.word().to_owned(), hash.clone());
            let (created_at, changed_at) = (Micros::new(0), Micros::new(0));
            let text = name.as_str().into();
            let user = User { name: text, hash, role, disabled: false, token_version: 1, created_at, changed_at };
            users.users.lock().expect("free").insert(name, user);
        }
        let (tokens, store) = (self::tokens(KEY), StoreSlot::default());
        let parts = ApiParts {
            system: stage.clone(),
            users: users.clone(),
            store,
            tokens,
            watch: ear.clone(),
            beside: Default::default(),
        };
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let bound = Sockets::bind(options).expect("bound").serve(parts).expect("serves");
                tell.send((bound.address, bound.metrics_address)).expect("heard");
                let handle = bound.handle();
                tokio::spawn(async move {
                    let _ = stopped.await;
                    handle.stop(false).await;
                });
                bound.run().await.expect("served");
            });
        });
        let (address, metrics) = told.recv().expect("the server begins");
        Api { address, metrics, users, stage, ear, tokens: self::tokens(KEY), stop: Some(stop), thread: Some(thread) }
    }

    /// A good token.
    pub fn token(&self, name: &str, role: &str) -> String {
        self.tokens.issue(name, role, 1, now(), Duration::from_secs(60)).0.expose_secret().to_owned()
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream
    }

    /// Asks by `GET`, with these header lines.
    pub fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, headers, None)
    }

    /// Asks by `GET` as a viewer.
    pub fn read(&self, path: &str) -> Reply {
        self.get(path, &[&format!("Authorization: Bearer {}", self.token("viewer", "viewer"))])
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, headers: &[&str], body: &str) -> Reply {
        self.ask("POST", path, &[&["Content-Type: application/json"], headers].concat(), Some(body.as_bytes()))
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: Option<&[u8]>) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if let Some(body) = body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.raw(&[head.as_bytes(), body.unwrap_or_default()].concat())
    }

    /// Sends bytes and reads to the end.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // A server that has answered already may have closed its side.
        let _ = stream.write_all(bytes);
        Reply::read(&mut stream)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn read(stream: &mut TcpStream) -> Reply {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let mut headers = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        Reply { status, headers, body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem's code, after a look at everything that a problem must have.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        let code = body["code"].as_str().expect("a code").to_owned();
        assert_eq!(body["type"], format!("urn:qcat:error:{code}"));
        assert!(!body["detail"].as_str().expect("a detail").is_empty() && body["title"].is_string());
        code
    }
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after the epoch").as_secs()
}

/// A board with this many open orders.
pub fn board(orders: usize) -> Board {
    let order = |n: usize| OrderRow {
        client_order_id: format!("q1-{n:05}"),
        account: "main".to_owned(),
        strategy: if n.is_multiple_of(2) { "even".to_owned() } else { "odd".to_owned() },
        symbol: "BTCUSDT".to_owned(),
        side: "buy",
        price: Some("50000.1".to_owned()),
        quantity: "0.01".to_owned(),
        filled: "0".to_owned(),
        open: "0.01".to_owned(),
        reduce_only: false,
        protective: false,
        conditional: false,
        state: "working",
    };
    Board {
        seq: 7,
        at: "2026-11-24T02:00:00.000Z".to_owned(),
        lane: LaneView {
            state: LaneState::Running,
            seq: 7,
            durable_seq: 7,
            queued: 0,
            conflated: 0,
            refused: 0,
            held: 0,
            not_sent: 0,
            disk_full: false,
            dropped: 0,
        },
        trading_ready: true,
        not_ready: Vec::new(),
        strategies: Vec::new(),
        orders: (0..orders).map(order).collect(),
        positions: Vec::new(),
        accounts: Vec::new(),
        halts: Vec::new(),
        risk: Vec::new(),
    }
}
