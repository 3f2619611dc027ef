use super::*;
use crate::net::tls::Connector;
use crate::shell::{Credentials, Host, Shell};
use crate::sign::Signer;
use qcat_core::binance::proto::{Action, Auth, HttpRequest, Incoming, Method, RequestId};
use qcat_core::binance::session::{Session, World};
use qcat_core::event::Input;
use qcat_core::instrument::Universe;
use qcat_core::time::Ts;
use std::cell::Cell;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, LocalSet, spawn_local};

/// Answers each request with the number of its connection, `/slow` only when told to.
#[derive(Default)]
struct Peer {
    connections: RefCell<Vec<AbortHandle>>,
    slow_asked: Cell<u32>,
    let_go: Notify,
}

impl Peer {
    async fn listen() -> (Rc<Peer>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let peer = Rc::new(Peer::default());
        let accepting = peer.clone();
        spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let number = accepting.connections.borrow().len();
                let task = spawn_local(accepting.clone().answer(tcp, number));
                accepting.connections.borrow_mut().push(task.abort_handle());
            }
        });
        (peer, address)
    }

    async fn answer(self: Rc<Self>, tcp: TcpStream, number: usize) {
        let mut tcp = BufReader::new(tcp);
        let (mut line, mut slow) = (String::new(), false);
        while tcp.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            slow |= line.contains("/slow");
            if line == "\r\n" {
                if std::mem::take(&mut slow) {
                    self.slow_asked.set(self.slow_asked.get() + 1);
                    self.let_go.notified().await;
                }
                let body = number.to_string();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                tcp.write_all(answer.as_bytes()).await.unwrap();
            }
            line.clear();
        }
    }

    fn connections(&self) -> usize {
        self.connections.borrow().len()
    }

    fn close(&self, number: usize) {
        self.connections.borrow()[number].abort();
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let seen = tokio::time::timeout(Duration::from_secs(60), async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(seen.await.is_ok(), "never: {what}");
}

fn ready(http: &HttpClient) -> usize {
    http.idle.borrow().iter().filter(|sender| sender.is_ready()).count()
}

/// Where the numbers of the connections that answered are written down.
type Heard = Rc<RefCell<Vec<(u64, String)>>>;

struct Listener(Heard);

impl Session for Listener {
    fn start(&mut self, _world: &World<'_>, _out: &mut Vec<Action>) {}
    fn handle(&mut self, incoming: Incoming<'_>, _world: &World<'_>, _out: &mut Vec<Action>) {
        if let Incoming::Reply { id, body, .. } = incoming {
            self.0.borrow_mut().push((id.0, String::from_utf8_lossy(body).into_owned()));
        }
    }
    fn next_timeout(&self) -> Option<Ts> {
        None
    }
    fn on_time(&mut self, _world: &World<'_>, _out: &mut Vec<Action>) {}
}

struct Nobody;

impl Host for Nobody {
    fn now(&self) -> Ts {
        Ts::ZERO
    }
    fn universe(&self) -> Rc<Universe> {
        Rc::default()
    }
    fn offer(&self, _input: Input) {}
    fn note(&self, code: &'static str, text: &str) {
        panic!("{code}: {text}");
    }
    fn learn_definitions(&self) {}
    fn keep(&self, _code: &'static str, _frame: &[u8]) {}
    fn failed(&self, reason: &str) {
        panic!("{reason}");
    }
}

fn request(id: u64, path: &'static str, urgent: bool) -> Action {
    let (method, timeout) = (Method::Get, qcat_core::time::Span::from_secs(60));
    Action::Http(HttpRequest {
        id: RequestId(id),
        method,
        path,
        query: String::new(),
        auth: Auth::None,
        timeout,
        urgent,
    })
}

#[tokio::test(flavor = "current_thread")]
async fn an_order_has_an_open_connection_while_a_query_is_unanswered() {
    let order_during_query = async {
        let (peer, address) = Peer::listen().await;
        let http = Rc::new(HttpClient::new(Connector::new(None).unwrap(), &address).unwrap());
        let credentials =
            Credentials { key: "key".to_owned().into(), signer: Signer::new(&"secret".to_owned().into()) };
        let (heard, connector) = (Heard::default(), Connector::new(None).unwrap());
        let session = Listener(heard.clone());
        let shell = Shell::start(session, Rc::new(Nobody), connector, http.clone(), Some(credentials));
        until("a connection before any request", || ready(&http) == 1).await;
        shell.with(|_, _, out| out.push(request(1, "/slow", false)));
        until("the query with the peer", || peer.slow_asked.get() == 1).await;
        shell.with(|_, _, out| out.push(request(2, "/order", true)));
        until("an answer to the order", || !heard.borrow().is_empty()).await;
        assert_eq!(*heard.borrow(), [(2, "0".to_owned())]);
        peer.let_go.notify_one();
        until("an answer to the query", || heard.borrow().len() == 2).await;
        assert_eq!(heard.borrow()[1], (1, "1".to_owned()));
    };
    LocalSet::new().run_until(order_during_query).await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_reserved_connection_comes_again_when_it_is_closed_or_taken() {
    let closed_then_taken = async {
        let (peer, address) = Peer::listen().await;
        let http = Rc::new(HttpClient::new(Connector::new(None).unwrap(), &address).unwrap());
        let keeper = http.clone();
        spawn_local(async move { keeper.keep_warm(|error| panic!("{error}")).await });
        until("a connection", || ready(&http) == 1).await;
        peer.close(0);
        until("another connection", || peer.connections() == 2 && ready(&http) == 1).await;
        let (asking, patience) = (http.clone(), Duration::from_secs(60));
        let order = spawn_local(async move { asking.send("GET", "/slow", None, patience, true, || {}).await });
        until("the order with the peer", || peer.slow_asked.get() == 1).await;
        until("one more for the next order", || peer.connections() == 3 && ready(&http) == 1).await;
        peer.let_go.notify_one();
        assert_eq!(order.await.unwrap().unwrap().body, "1");
    };
    LocalSet::new().run_until(closed_then_taken).await;
}
