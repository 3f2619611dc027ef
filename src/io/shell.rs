//! Runs a sans-I/O session over real sockets, on the thread that owns the lane.
//!
//! Every socket task calls the session directly: no queue between a frame and the decision about it. Nothing here decides.
//! Dropping the [`Shell`] ends its tasks and closes its sockets.

use crate::net::http::{HttpClient, HttpFailure};
use crate::net::{tls::Connector, ws};
use crate::sign::Signer;
use qcat_core::binance::proto::{Action, Auth, HttpRequest, Incoming, LinkId, ReplyHeaders};
use qcat_core::binance::session::{Session, World};
use qcat_core::event::Input;
use qcat_core::instrument::Universe;
use qcat_core::time::{Span, Ts};
use secrecy::{ExposeSecret, SecretString};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// What a shell needs of its surroundings.
pub trait Host {
    /// The wall time; never decreases.
    fn now(&self) -> Ts;
    /// Instruments as the engine knows them.
    fn universe(&self) -> Rc<Universe>;
    /// Takes an input for the lane.
    fn offer(&self, input: Input);
    /// Takes something that an operator should read.
    fn note(&self, code: &'static str, text: &str);
}

/// An API key with its signer.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The key, as it stands in the header.
    pub key: SecretString,
    /// Signs with the key's secret.
    pub signer: Signer,
}

/// A session with its sockets.
pub struct Shell<S: Session + 'static> {
    session: RefCell<S>,
    host: Rc<dyn Host>,
    connector: Connector,
    http: Rc<HttpClient>,
    credentials: Option<Credentials>,
    links: RefCell<BTreeMap<LinkId, LinkTask>>,
    timer: RefCell<Option<JoinHandle<()>>>,
    timer_moved: Notify,
    tasks_started: RefCell<u64>,
}

struct LinkTask {
    number: u64,
    send: mpsc::Sender<String>,
    task: JoinHandle<()>,
}

impl<S: Session> std::fmt::Debug for Shell<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shell")
    }
}

impl<S: Session + 'static> Shell<S> {
    /// Starts a session. Must be called inside a `LocalSet` (an actix arbiter is one).
    pub fn start(
        session: S,
        host: Rc<dyn Host>,
        connector: Connector,
        http: Rc<HttpClient>,
        credentials: Option<Credentials>,
    ) -> Rc<Shell<S>> {
        let shell = Rc::new(Shell {
            session: RefCell::new(session),
            host,
            connector,
            http,
            credentials,
            links: RefCell::new(BTreeMap::new()),
            timer: RefCell::new(None),
            timer_moved: Notify::new(),
            tasks_started: RefCell::new(0),
        });
        let timer = tokio::task::spawn_local(run_timer(Rc::downgrade(&shell)));
        *shell.timer.borrow_mut() = Some(timer);
        shell.with(|session, world, out| session.start(world, out));
        shell
    }

    /// Reads the session.
    pub fn read<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.session.borrow())
    }

    /// Calls the session and does what it wants.
    pub fn with(self: &Rc<Self>, call: impl FnOnce(&mut S, &World<'_>, &mut Vec<Action>)) {
        let universe = self.host.universe();
        let world = World { now: self.host.now(), universe: &universe };
        let mut actions = Vec::new();
        let before = self.session.borrow().next_timeout();
        call(&mut self.session.borrow_mut(), &world, &mut actions);
        let after = self.session.borrow().next_timeout();
        if after != before {
            self.timer_moved.notify_one();
        }
        for action in actions {
            self.act(action);
        }
    }

    fn handle(self: &Rc<Self>, incoming: Incoming<'_>) {
        self.with(|session, world, out| session.handle(incoming, world, out));
    }

    fn act(self: &Rc<Self>, action: Action) {
        match action {
            Action::Offer(input) => self.host.offer(input),
            Action::Note(note) => self.host.note(note.code, &note.text),
            Action::Http(request) => self.request(request),
            Action::Connect { link, url } => self.connect(link, url),
            Action::Close { link } => {
                if let Some(task) = self.links.borrow_mut().remove(&link) {
                    task.task.abort();
                }
            }
            Action::Send { link, text } => {
                let full = self.links.borrow().get(&link).is_some_and(|task| task.send.try_send(text).is_err());
                if full {
                    self.host.note("send_queue_full", "a WebSocket takes no more text; the frame was dropped");
                }
            }
        }
    }

    fn connect(self: &Rc<Self>, link: LinkId, url: String) {
        let (send, receive) = mpsc::channel(ws::SEND_QUEUE);
        let mut started = self.tasks_started.borrow_mut();
        *started += 1;
        let number = *started;
        let shell = Rc::downgrade(self);
        let connector = self.connector.clone();
        let task = tokio::task::spawn_local(async move {
            let reason = match ws::connect(&connector, &url).await {
                Err(error) => error.to_string(),
                Ok(socket) => {
                    if let Some(shell) = shell.upgrade() {
                        shell.handle(Incoming::LinkUp(link));
                    }
                    let to = shell.clone();
                    ws::run(socket, receive, move |bytes| {
                        if let Some(shell) = to.upgrade() {
                            shell.handle(Incoming::Frame { link, bytes });
                        }
                    })
                    .await
                }
            };
            if let Some(shell) = shell.upgrade() {
                shell.link_ended(link, number, reason);
            }
        });
        if let Some(old) = self.links.borrow_mut().insert(link, LinkTask { number, send, task }) {
            old.task.abort();
        }
    }

    fn link_ended(self: &Rc<Self>, link: LinkId, number: u64, reason: String) {
        let current = self.links.borrow().get(&link).is_some_and(|task| task.number == number);
        if current {
            self.links.borrow_mut().remove(&link);
            self.handle(Incoming::LinkDown { link, reason });
        }
    }

    fn request(self: &Rc<Self>, request: HttpRequest) {
        let HttpRequest { id, method, path, mut query, auth, timeout, urgent: _ } = request;
        let key = match (auth, &self.credentials) {
            (Auth::None, _) => None,
            (_, Some(credentials)) => {
                if auth == Auth::Signed {
                    credentials.signer.sign(&mut query);
                }
                Some(credentials.key.clone())
            }
            (_, None) => {
                self.host.note("credentials_missing", "a signed request was asked for without an API key");
                return self.handle(Incoming::Failed { id, written: false, timed_out: false });
            }
        };
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let timeout = Duration::from_nanos(timeout.nanos().unsigned_abs());
        let shell = Rc::downgrade(self);
        let http = self.http.clone();
        tokio::task::spawn_local(async move {
            let written = || {
                if let Some(shell) = shell.upgrade() {
                    shell.handle(Incoming::Written(id));
                }
            };
            let key = key.as_ref().map(ExposeSecret::expose_secret);
            let answer = http.send(method.as_str(), &target, key, timeout, written).await;
            let Some(shell) = shell.upgrade() else { return };
            match answer {
                Ok(answer) => {
                    let headers = reply_headers(&answer.headers);
                    shell.handle(Incoming::Reply { id, status: answer.status, headers, body: &answer.body });
                }
                Err(HttpFailure { written, timed_out, error }) => {
                    shell.host.note("request_failed", &format!("{} {path}: {error}", method.as_str()));
                    shell.handle(Incoming::Failed { id, written, timed_out });
                }
            }
        });
    }
}

impl<S: Session> Drop for Shell<S> {
    fn drop(&mut self) {
        for task in self.links.borrow().values() {
            task.task.abort();
        }
        if let Some(timer) = self.timer.borrow_mut().take() {
            timer.abort();
        }
    }
}

/// Calls `on_time` when the session's next timeout is due.
async fn run_timer<S: Session + 'static>(shell: Weak<Shell<S>>) {
    loop {
        let Some(strong) = shell.upgrade() else { return };
        let (next, now) = (strong.session.borrow().next_timeout(), strong.host.now());
        let due_in = next.map(|at| at.since(now));
        if due_in.is_some_and(|span| span <= Span::ZERO) {
            strong.with(|session, world, out| session.on_time(world, out));
            drop(strong);
            // Whatever the session asks for next, others on this thread get their turn.
            tokio::task::yield_now().await;
            continue;
        }
        // The wait must not keep the shell alive: it holds nothing of it but the notification, for at most a second.
        let wait = due_in.map_or(Duration::from_secs(1), |span| Duration::from_nanos(span.nanos().unsigned_abs()));
        let wait = wait.min(Duration::from_secs(1));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = strong.timer_moved.notified() => {}
        }
    }
}

fn reply_headers(headers: &hyper::HeaderMap) -> ReplyHeaders {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
    ReplyHeaders {
        used_weight_1m: number("x-mbx-used-weight-1m"),
        order_count_10s: number("x-mbx-order-count-10s"),
        order_count_1m: number("x-mbx-order-count-1m"),
        retry_after: number("retry-after").map(|secs| Span::from_secs(i64::from(secs))),
    }
}
