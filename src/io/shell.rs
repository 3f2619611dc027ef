//! Runs a sans-I/O session over real sockets, on the thread that owns the lane.
//!
//! Every socket task calls the session directly: no queue between a frame and the decision about it. Nothing here decides.
//! Dropping the [`Shell`] ends its tasks and closes its sockets. A panic of the session or of a socket task is told to the
//! [`Host`], once; the session is not called any more, because its state may be half changed.
//! Tests: a session that panics, in a call and in a task.

use crate::net::http::{HttpClient, HttpFailure};
use crate::net::{NetError, tls::Connector, ws};
pub use crate::seat::Host;
use crate::seat::{Seat, target};
use crate::sign::Signer;
use futures_util::FutureExt;
use qcat_core::binance::proto::{Action, Auth, HttpRequest, Incoming, LinkId};
use qcat_core::binance::session::{Session, World};
use qcat_core::time::Span;
use secrecy::{ExposeSecret, SecretString};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

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
    seat: Seat<S>,
    connector: Connector,
    http: Rc<HttpClient>,
    credentials: Option<Credentials>,
    links: RefCell<BTreeMap<LinkId, LinkTask>>,
    /// The timer, and what keeps a connection ready for orders.
    tasks: RefCell<Vec<JoinHandle<()>>>,
    timer_moved: Notify,
    tasks_started: RefCell<u64>,
    turns: Cell<u64>,
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
            seat: Seat::new(session, host),
            connector,
            http,
            credentials,
            links: RefCell::new(BTreeMap::new()),
            tasks: RefCell::default(),
            timer_moved: Notify::new(),
            tasks_started: RefCell::new(0),
            turns: Cell::new(0),
        });
        let mut tasks = vec![shell.spawn("timer", run_timer(Rc::downgrade(&shell)))];
        if shell.credentials.is_some() {
            let (http, weak) = (shell.http.clone(), Rc::downgrade(&shell));
            let failed = move |error: &NetError| {
                if let Some(shell) = weak.upgrade() {
                    shell.seat.host().note("no_connection", &error.to_string());
                }
            };
            tasks.push(shell.spawn("connection keeper", async move { match http.keep_warm(failed).await {} }));
        }
        *shell.tasks.borrow_mut() = tasks;
        shell.with(|session, world, out| session.start(world, out));
        shell
    }

    /// Reads the session.
    pub fn read<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.seat.session())
    }

    /// Calls the session and does what it wants.
    pub fn with(self: &Rc<Self>, call: impl FnOnce(&mut S, &World<'_>, &mut Vec<Action>)) {
        if self.seat.call(call, |action| self.act(action)) {
            self.timer_moved.notify_one();
        }
    }

    /// Turns of its timer: at least one a second while it is not stalled. Its sockets and requests are watched over by the session.
    pub fn turns(&self) -> u64 {
        self.turns.get()
    }

    /// Whether the session is not called any more: it panicked, or was ended.
    pub fn is_over(&self) -> bool {
        self.seat.is_over()
    }

    /// Closes the sockets and ends all tasks at once. What was asked of the session and not answered is lost.
    pub fn end(&self) {
        self.seat.end();
        self.abort_tasks();
    }

    fn abort_tasks(&self) {
        for task in std::mem::take(&mut *self.links.borrow_mut()).into_values() {
            task.task.abort();
        }
        for task in self.tasks.borrow_mut().drain(..) {
            task.abort();
        }
    }

    /// Runs a task of this shell; a panic in it is not silent.
    fn spawn(self: &Rc<Self>, what: &'static str, task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        let shell = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await
                && let Some(shell) = shell.upgrade()
            {
                shell.seat.fail(what, &*panic);
            }
        })
    }

    fn handle(self: &Rc<Self>, incoming: Incoming<'_>) {
        if self.seat.handle(incoming, |action| self.act(action)) {
            self.timer_moved.notify_one();
        }
    }

    fn act(self: &Rc<Self>, action: Action) {
        match action {
            // The seat gives these to the host.
            Action::Offer(_) | Action::Note(_) | Action::LearnDefinitions => {}
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
                    self.seat.host().note("send_queue_full", "a WebSocket takes no more text; the frame was dropped");
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
        let task = self.spawn("socket", async move {
            let reason = match ws::connect(&connector, &url).await {
                Err(error) => error.to_string(),
                Ok(socket) => {
                    if let Some(shell) = shell.upgrade() {
                        shell.handle(Incoming::LinkUp(link));
                    }
                    let to = shell.clone();
                    ws::run(socket, ws::Patience::default(), receive, move |bytes| {
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
        let signer = self.credentials.as_ref().map(|credentials| &credentials.signer);
        let HttpRequest { id, method, path, query, auth, timeout, urgent } = request;
        let Some(target) = target(path, query, auth, signer) else {
            self.seat.host().note("credentials_missing", "a signed request was asked for without an API key");
            return self.handle(Incoming::Failed { id, written: false, timed_out: false });
        };
        let key = self.credentials.as_ref().filter(|_| auth != Auth::None).map(|credentials| credentials.key.clone());
        let timeout = Duration::from_nanos(timeout.nanos().unsigned_abs());
        let shell = Rc::downgrade(self);
        let http = self.http.clone();
        self.spawn("request", async move {
            let written = || {
                if let Some(shell) = shell.upgrade() {
                    shell.handle(Incoming::Written(id));
                }
            };
            let key = key.as_ref().map(ExposeSecret::expose_secret);
            let answer = http.send(method.as_str(), &target, key, timeout, urgent, written).await;
            let Some(shell) = shell.upgrade() else { return };
            match answer {
                Ok(answer) => {
                    let headers = answer.reply_headers();
                    shell.handle(Incoming::Reply { id, status: answer.status, headers, body: &answer.body });
                }
                Err(HttpFailure { written, timed_out, error }) => {
                    shell.seat.host().note("request_failed", &format!("{} {path}: {error}", method.as_str()));
                    shell.handle(Incoming::Failed { id, written, timed_out });
                }
            }
        });
    }
}

impl<S: Session + 'static> Drop for Shell<S> {
    fn drop(&mut self) {
        self.abort_tasks();
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// Calls `on_time` when the session's next timeout is due.
async fn run_timer<S: Session + 'static>(shell: Weak<Shell<S>>) {
    loop {
        let Some(strong) = shell.upgrade() else { return };
        if strong.is_over() {
            return;
        }
        strong.turns.set(strong.turns.get().wrapping_add(1));
        if strong.seat.host().stands_still() {
            drop(strong);
            return std::future::pending().await;
        }
        let (next, now) = (strong.seat.session().next_timeout(), strong.seat.host().now());
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

#[cfg(test)]
mod tests {
    use super::*;
    use qcat_core::event::Input;
    use qcat_core::instrument::Universe;
    use qcat_core::time::Ts;

    /// Panics when told of a failed request, or at its timer.
    struct Bomb {
        at: Option<Ts>,
        calls: u32,
    }

    impl Session for Bomb {
        fn start(&mut self, _world: &World<'_>, _out: &mut Vec<Action>) {}
        fn handle(&mut self, _incoming: Incoming<'_>, _world: &World<'_>, _out: &mut Vec<Action>) {
            panic!("cannot take it");
        }
        fn next_timeout(&self) -> Option<Ts> {
            self.at
        }
        fn on_time(&mut self, _world: &World<'_>, _out: &mut Vec<Action>) {
            panic!("too late");
        }
    }

    #[derive(Default)]
    struct Ear {
        heard: RefCell<Vec<String>>,
    }

    impl Host for Ear {
        fn now(&self) -> Ts {
            Ts::from_millis(1_000)
        }
        fn universe(&self) -> Rc<Universe> {
            Rc::default()
        }
        fn offer(&self, _input: Input) {}
        fn note(&self, _code: &'static str, _text: &str) {}
        fn learn_definitions(&self) {}
        fn keep(&self, _code: &'static str, _frame: &[u8]) {}
        fn failed(&self, reason: &str) {
            self.heard.borrow_mut().push(reason.to_owned());
        }
    }

    fn shell(at: Option<Ts>) -> (Rc<Ear>, Rc<Shell<Bomb>>) {
        let ear = Rc::new(Ear::default());
        let connector = Connector::new(None).expect("built-in roots");
        let http = HttpClient::new(connector.clone(), "http://127.0.0.1:1").expect("a URL");
        let shell = Shell::start(Bomb { at, calls: 0 }, ear.clone(), connector, Rc::new(http), None);
        (ear, shell)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_in_a_call_is_told_once_and_the_session_is_left_alone() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (ear, shell) = shell(None);
                let link = LinkId(0);
                shell.handle(Incoming::LinkUp(link));
                shell.handle(Incoming::LinkUp(link));
                shell.with(|session, _, _| session.calls += 1);
                assert_eq!(*ear.heard.borrow(), ["session panicked: cannot take it"]);
                assert!(shell.is_over() && shell.read(|session| session.calls) == 0);
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_in_a_task_is_told_too() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let (ear, shell) = shell(Some(Ts::ZERO));
                tokio::task::yield_now().await;
                assert_eq!(*ear.heard.borrow(), ["session panicked: too late"]);
                let (ear, other) = self::shell(None);
                other.spawn("socket", async { panic!("{} of it", 7) });
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                assert_eq!(*ear.heard.borrow(), ["socket panicked: 7 of it"]);
                drop(shell);
            })
            .await;
    }
}
