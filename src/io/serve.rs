//! Serves the simulated exchange over real sockets: HTTP and WebSocket on one port, with or without TLS.
//!
//! The exchange itself is a sans-I/O state machine behind [`Exchange`]; here are only sockets, signatures and timers.

use crate::net::tls::Stream;
use crate::sign::Signer;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use qcat_core::binance::proto::{PeerId, ReplyHeaders, ServerIn, ServerOut};
use qcat_core::time::Ts;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

/// The exchange's side of the protocol, sans-I/O.
pub trait Exchange {
    /// Takes what a client did.
    fn handle(&mut self, incoming: ServerIn<'_>, now: Ts, out: &mut Vec<ServerOut>);
    /// When [`Exchange::on_time`] wants to be called next.
    fn next_timeout(&self) -> Option<Ts>;
    /// Does what is due.
    fn on_time(&mut self, now: Ts, out: &mut Vec<ServerOut>);
}

/// Frames that may wait for a slow client before it is cut off, as the exchange does.
const CLIENT_QUEUE: usize = 16_384;
/// Largest request body taken; the protocol's requests have none.
const BODY_MAX: usize = 64 << 10;

type Answer = (u16, ReplyHeaders, String);

enum Peer {
    /// Waits for the answer to an HTTP request.
    Http(oneshot::Sender<Answer>),
    /// Waits for the word on a WebSocket: `None` is accepted.
    Opening(oneshot::Sender<Option<(u16, String)>>),
    /// An open WebSocket.
    Open(mpsc::Sender<Arc<str>>),
}

/// A running server. Dropping it ends all tasks.
pub struct Server<X> {
    exchange: RefCell<X>,
    peers: RefCell<BTreeMap<PeerId, Peer>>,
    next_peer: RefCell<u64>,
    signers: BTreeMap<String, Signer>,
    clock: Box<dyn Fn() -> Ts>,
}

impl<X> std::fmt::Debug for Server<X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl<X: Exchange + 'static> Server<X> {
    /// A server for an exchange. `signers` verifies signatures by API key.
    pub fn new(exchange: X, signers: BTreeMap<String, Signer>, clock: impl Fn() -> Ts + 'static) -> Rc<Server<X>> {
        Rc::new(Server {
            exchange: RefCell::new(exchange),
            peers: RefCell::new(BTreeMap::new()),
            next_peer: RefCell::new(0),
            signers,
            clock: Box::new(clock),
        })
    }

    /// Reads or changes the exchange itself, e.g. to compare its books; what it then wants sent is sent.
    pub fn exchange<T>(&self, call: impl FnOnce(&mut X, Ts, &mut Vec<ServerOut>) -> T) -> T {
        let mut out = Vec::new();
        let result = call(&mut self.exchange.borrow_mut(), (self.clock)(), &mut out);
        self.send(out);
        result
    }

    /// Serves until the future is dropped. Must run inside a `LocalSet`.
    pub async fn run(self: Rc<Self>, listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) {
        let acceptor = tls.map(TlsAcceptor::from);
        let mut connections = tokio::task::JoinSet::new();
        let timers = self.clone().run_timers();
        tokio::pin!(timers);
        loop {
            tokio::select! {
                () = &mut timers => {}
                accepted = listener.accept() => {
                    let Ok((tcp, _)) = accepted else {
                        // Out of file descriptors: wait for some to come back.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    let _ = tcp.set_nodelay(true);
                    connections.spawn_local(self.clone().connection(tcp, acceptor.clone()));
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }

    async fn run_timers(self: Rc<Self>) {
        loop {
            let now = (self.clock)();
            let next = self.exchange.borrow().next_timeout();
            match next {
                Some(at) if at <= now => {
                    self.exchange(|exchange, now, out| exchange.on_time(now, out));
                    tokio::task::yield_now().await;
                }
                // A request may bring the next time forward, so never sleep long.
                Some(at) => {
                    let wait = Duration::from_nanos(at.since(now).nanos().unsigned_abs());
                    tokio::time::sleep(wait.min(Duration::from_millis(5))).await;
                }
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn connection(self: Rc<Self>, tcp: tokio::net::TcpStream, acceptor: Option<TlsAcceptor>) {
        let stream = match acceptor {
            None => Stream::Plain(tcp),
            Some(acceptor) => match acceptor.accept(tcp).await {
                Ok(stream) => Stream::Server(Box::new(stream)),
                Err(_) => return,
            },
        };
        let service = service_fn(move |request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.serve(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await;
    }

    fn peer(&self, peer: Peer) -> PeerId {
        let mut next = self.next_peer.borrow_mut();
        *next += 1;
        let id = PeerId(*next);
        self.peers.borrow_mut().insert(id, peer);
        id
    }

    async fn serve(self: Rc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let wants_upgrade =
            request.headers().get("upgrade").is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if wants_upgrade { self.upgrade(request).await } else { self.answer(request).await }
    }

    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
            return reply((
                413,
                ReplyHeaders::default(),
                r#"{"code":-1100,"msg":"Request body is too large."}"#.to_owned(),
            ));
        };
        let body = body.to_bytes();
        let mut query = head.uri.query().unwrap_or("").to_owned();
        // Parameters of POST, PUT and DELETE may come in the body as well.
        if let Ok(body) = std::str::from_utf8(&body)
            && !body.is_empty()
        {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(body);
        }
        let api_key = head.headers.get("x-mbx-apikey").and_then(|v| v.to_str().ok());
        let signer = api_key.and_then(|key| self.signers.get(key));
        let signature_valid = signer.is_some_and(|signer| signer.verify(&query));
        let (sender, receiver) = oneshot::channel();
        let peer = self.peer(Peer::Http(sender));
        let (method, path) = (head.method.as_str(), head.uri.path());
        let incoming = ServerIn::Http { peer, method, path, query: &query, api_key, signature_valid };
        self.exchange(|exchange, now, out| exchange.handle(incoming, now, out));
        match receiver.await {
            Ok(answer) => reply(answer),
            Err(_) => reply((503, ReplyHeaders::default(), String::new())),
        }
    }

    async fn upgrade(self: Rc<Self>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let key = request.headers().get("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
        let Some(accept) = key else {
            return reply((400, ReplyHeaders::default(), "Sec-WebSocket-Key is missing".to_owned()));
        };
        let (sender, receiver) = oneshot::channel();
        let peer = self.peer(Peer::Opening(sender));
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or("").to_owned();
        // The queue stands before the exchange speaks, so that nothing it sends at once is lost.
        let (send, receive) = mpsc::channel(CLIENT_QUEUE);
        self.exchange(|exchange, now, out| {
            exchange.handle(ServerIn::Open { peer, path: &path, query: &query }, now, out);
            if out.iter().any(|o| matches!(o, ServerOut::Accept { peer: p } if *p == peer)) {
                let opening = self.peers.borrow_mut().insert(peer, Peer::Open(send));
                if let Some(Peer::Opening(sender)) = opening {
                    let _ = sender.send(None);
                }
            }
        });
        if let Ok(Some((status, body))) | Err((status, body)) = receiver.await.map_err(|_| (503, String::new())) {
            return reply((status, ReplyHeaders::default(), body));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let server = self.clone();
        tokio::task::spawn_local(async move {
            if let Ok(upgraded) = upgrade.await {
                server.clone().websocket(peer, upgraded, receive).await;
            }
            server.peers.borrow_mut().remove(&peer);
            server.exchange(|exchange, now, out| exchange.handle(ServerIn::Closed { peer }, now, out));
        });
        let response = Response::builder()
            .status(101)
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .header("sec-websocket-accept", accept);
        response.body(Full::new(Bytes::new())).unwrap_or_else(|_| Response::new(Full::new(Bytes::new())))
    }

    async fn websocket(self: Rc<Self>, peer: PeerId, upgraded: Upgraded, mut receive: mpsc::Receiver<Arc<str>>) {
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.exchange(|exchange, now, out| exchange.handle(ServerIn::Text { peer, text: &text }, now, out));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                text = receive.recv() => match text {
                    Some(text) => {
                        if socket.send(Message::text(&*text)).await.is_err() {
                            return;
                        }
                    }
                    // The exchange closed it, or the client was too slow.
                    None => {
                        let _ = socket.close(None).await;
                        return;
                    }
                },
            }
        }
    }

    fn send(&self, out: Vec<ServerOut>) {
        let mut peers = self.peers.borrow_mut();
        for item in out {
            match item {
                ServerOut::Reply { peer, status, headers, body } => {
                    if let Some(Peer::Http(sender)) = peers.remove(&peer) {
                        let _ = sender.send((status, headers, body));
                    }
                }
                // Handled where the WebSocket was asked for.
                ServerOut::Accept { .. } => {}
                ServerOut::Refuse { peer, status, body } => {
                    if let Some(Peer::Opening(sender)) = peers.remove(&peer) {
                        let _ = sender.send(Some((status, body)));
                    }
                }
                ServerOut::Send { peer, text } => {
                    let slow = matches!(peers.get(&peer), Some(Peer::Open(send)) if send.try_send(text).is_err());
                    if slow {
                        peers.remove(&peer);
                    }
                }
                ServerOut::Close { peer } => {
                    peers.remove(&peer);
                }
            }
        }
    }
}

fn reply((status, headers, body): Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header("content-type", "application/json;charset=UTF-8");
    let counts = [
        ("x-mbx-used-weight-1m", headers.used_weight_1m),
        ("x-mbx-order-count-10s", headers.order_count_10s),
        ("x-mbx-order-count-1m", headers.order_count_1m),
        ("retry-after", headers.retry_after.and_then(|s| u32::try_from(s.nanos() / 1_000_000_000).ok())),
    ];
    for (name, value) in counts {
        if let Some(value) = value {
            response = response.header(name, value);
        }
    }
    response.body(Full::new(Bytes::from(body))).unwrap_or_else(|_| Response::new(Full::new(Bytes::new())))
}

impl Exchange for qcat_core::binance::server::SimExchange {
    fn handle(&mut self, incoming: ServerIn<'_>, now: Ts, out: &mut Vec<ServerOut>) {
        Self::handle(self, incoming, now, out);
    }

    fn next_timeout(&self) -> Option<Ts> {
        Self::next_timeout(self)
    }

    fn on_time(&mut self, now: Ts, out: &mut Vec<ServerOut>) {
        Self::on_time(self, now, out);
    }
}
