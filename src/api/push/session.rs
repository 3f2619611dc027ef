//! One client: its token, its requests, its signs of life. On the server's threads.

use super::Push;
use super::hub::Command;
use super::message::{ErrorCode, REQUEST_MAX, Refusal, Reply, Request, encode, read};
use super::outbox::{Outbox, Outgoing, Reason, frame};
use super::topic::Topic;
use crate::api::auth::{Principal, now};
use crate::api::error::{Code, Problem};
use crate::api::openapi::Limited;
use crate::api::state::ApiState;
use actix_http::body::{BodyStream, MessageBody};
use actix_http::ws::{OpCode, Parser, ProtocolError, handshake};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval, timeout};

/// How long a client may take to show its token.
const AUTH: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// Without a sign of life for this long it is dead.
const DEAD: Duration = Duration::from_secs(60);
/// How often its token is looked at again: its user may have been disabled.
const RECHECK: u32 = 2;
/// How long a connection may take to end.
const LINGER: Duration = Duration::from_secs(5);
/// Wrong messages before the connection ends.
const ERRORS_MAX: u32 = 16;
/// Frames in [`WINDOW`].
const FRAMES_MAX: u32 = 200;
const WINDOW: Duration = Duration::from_secs(10);

/// Opens a push session: a WebSocket whose messages `docs/push.md` describes. The token comes in the first message, never in the
/// URL: `{"op":"auth","token":"…"}`, then `{"op":"subscribe","topics":["orders","positions","risk","alerts","system",
/// "strategy:NAME","market:SYMBOL"],"from_seq":123}`. Each topic begins with a snapshot or resumes after `from_seq`; every update
/// has its `seq`. A client that does not take its updates is dropped with the reason `slow_consumer`.
#[utoipa::path(get, path = "/ws", tag = "push", responses(
    (status = 101, description = "a WebSocket"),
    (status = 503, description = "system_unavailable: no push sessions are served now"), Limited))]
pub async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    if !request.query_string().is_empty() {
        let detail = "this path has no query: the token comes in the first message";
        return Err(Problem::new(Code::BadQuery, detail));
    }
    let wrong = |error| Problem::new(Code::BadRequest, format!("this path is a WebSocket: {error}"));
    let mut answer = handshake(request.head()).map_err(wrong)?;
    let away = || Problem::new(Code::SystemUnavailable, "no push sessions are served now").retry_after(5);
    let commands = state.push.commands().ok_or_else(away)?;
    let outbox = Arc::new(Outbox::default());
    let session = Session {
        state: state.clone(),
        commands,
        client: state.push.next_client(),
        outbox: outbox.clone(),
        incoming: Incoming { payload, buffer: BytesMut::new(), partial: None },
        errors: 0,
        frames: (Instant::now(), 0),
    };
    let broken = |_| Problem::new(Code::Internal, "the answer cannot be made");
    let answer = answer.message_body(BodyStream::new(Outgoing(outbox)).boxed()).map_err(broken)?;
    actix_web::rt::spawn(session.run());
    Ok(answer.into())
}

/// What a client sent.
enum Got {
    Text(Bytes),
    /// A sign of life.
    Alive(Option<Bytes>),
}

struct Incoming {
    payload: web::Payload,
    buffer: BytesMut,
    /// The beginning of a message in several frames.
    partial: Option<BytesMut>,
}

impl Incoming {
    /// The next frame or message. May be dropped while it waits. `Err(None)`: the connection is gone.
    async fn next(&mut self) -> Result<Got, Option<Reason>> {
        loop {
            if let Some(got) = self.parse()? {
                return Ok(got);
            }
            match self.payload.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Got>, Option<Reason>> {
        let parsed = Parser::parse(&mut self.buffer, true, REQUEST_MAX).map_err(|error| match error {
            ProtocolError::Overflow => Some(Reason::TooLarge),
            _ => Some(Reason::ProtocolError),
        })?;
        let Some((last, code, payload)) = parsed else { return Ok(None) };
        let payload = payload.unwrap_or_default();
        let whole = match (code, self.partial.take()) {
            (OpCode::Text, None) => payload,
            (OpCode::Continue, Some(mut partial)) => {
                if partial.len() + payload.len() > REQUEST_MAX {
                    return Err(Some(Reason::TooLarge));
                }
                partial.extend_from_slice(&payload);
                partial
            }
            (OpCode::Ping | OpCode::Pong, partial) => {
                self.partial = partial;
                return Ok(Some(Got::Alive((code == OpCode::Ping).then(|| payload.freeze()))));
            }
            (OpCode::Close, _) => return Err(Some(Reason::Goodbye)),
            (OpCode::Binary, _) => return Err(Some(Reason::NotText)),
            (OpCode::Text | OpCode::Continue | OpCode::Bad, _) => return Err(Some(Reason::ProtocolError)),
        };
        if last {
            return Ok(Some(Got::Text(whole.freeze())));
        }
        self.partial = Some(whole);
        Ok(Some(Got::Alive(None)))
    }
}

struct Session {
    state: web::Data<ApiState>,
    commands: mpsc::Sender<Command>,
    client: u64,
    outbox: Arc<Outbox>,
    incoming: Incoming,
    errors: u32,
    /// When the window began, and frames since.
    frames: (Instant, u32),
}

/// Whoever has shown a token.
struct Known {
    token: SecretString,
    principal: Principal,
}

impl Session {
    async fn run(mut self) {
        let ended = match timeout(AUTH, self.authenticate()).await {
            Ok(Ok(known)) => self.serve(known).await,
            Ok(Err(reason)) => reason,
            Err(_) => Some(Reason::AuthTimeout),
        };
        if let Some(reason) = ended {
            self.outbox.finish(reason);
        }
        // The hub may be gone.
        let _ = self.commands.send(Command::Leave(self.client)).await;
        // What it still sends is read, so that what it is told reaches it.
        let drain = async { while self.incoming.payload.next().await.is_some_and(|bytes| bytes.is_ok()) {} };
        let _ = timeout(LINGER, async { tokio::join!(self.outbox.going(), drain) }).await;
        self.state.push.stats().ended(self.outbox.ended().unwrap_or(Reason::Goodbye));
    }

    /// Reads until a good token was shown.
    async fn authenticate(&mut self) -> Result<Known, Option<Reason>> {
        loop {
            let Got::Text(text) = self.receive().await? else { continue };
            match self.request(&text)? {
                Some((id, Request::Auth(token))) => {
                    let principal = match self.state.authority.principal(token.expose_secret()).await {
                        Ok(principal) => principal,
                        Err(problem) => {
                            self.refuse_token(id, &problem)?;
                            continue;
                        }
                    };
                    let (user, role) = (&*principal.name, principal.role.word());
                    let reply = Reply::Authenticated { user, role, expires: principal.expires, id };
                    self.send(encode(&reply))?;
                    let join = Command::Join { client: self.client, outbox: self.outbox.clone() };
                    self.tell(join).await?;
                    return Ok(Known { token, principal });
                }
                Some((id, Request::Ping)) => self.send(encode(&Reply::Pong { id }))?,
                Some((id, _)) => self.refuse(&Refusal::new(id, ErrorCode::Unauthenticated, "send `auth` first"))?,
                None => {}
            }
        }
    }

    fn refuse_token(&mut self, id: Option<u64>, problem: &Problem) -> Result<(), Option<Reason>> {
        let (code, reason) = match problem.code {
            Code::TokenExpired => (ErrorCode::TokenExpired, Some(Reason::TokenExpired)),
            Code::StoreUnavailable => (ErrorCode::NotReady, None),
            _ => (ErrorCode::TokenInvalid, Some(Reason::TokenInvalid)),
        };
        self.refuse(&Refusal::new(id, code, problem.detail.clone()))?;
        reason.map_or(Ok(()), |reason| Err(Some(reason)))
    }

    /// Serves a known client to its end.
    async fn serve(&mut self, mut known: Known) -> Option<Reason> {
        let (outbox, mut pings) = (self.outbox.clone(), pings());
        let (mut heard, mut ticks) = (Instant::now(), 0_u32);
        loop {
            let left = Duration::from_secs(known.principal.expires.saturating_sub(now()));
            tokio::select! {
                () = outbox.ending() => return outbox.ended(),
                () = tokio::time::sleep(left) => return Some(Reason::TokenExpired),
                _ = pings.tick() => {
                    ticks = ticks.wrapping_add(1);
                    if heard.elapsed() > DEAD {
                        return Some(Reason::DeadPeer);
                    }
                    if ticks.is_multiple_of(RECHECK)
                        && let Err(reason) = self.recheck(&mut known).await
                    {
                        return Some(reason);
                    }
                    if let Err(reason) = self.send(frame(OpCode::Ping, b"")) {
                        return reason;
                    }
                }
                got = self.receive() => {
                    heard = Instant::now();
                    let done = match got {
                        Ok(Got::Text(text)) => self.handle(&text, &known.principal).await,
                        Ok(Got::Alive(None)) => Ok(()),
                        Ok(Got::Alive(Some(payload))) => self.send(frame(OpCode::Pong, payload)),
                        Err(reason) => Err(reason),
                    };
                    if let Err(reason) = done {
                        return reason;
                    }
                }
            }
        }
    }

    /// Whether the token is still good. While users cannot be looked up, it is.
    async fn recheck(&self, known: &mut Known) -> Result<(), Reason> {
        match self.state.authority.principal(known.token.expose_secret()).await {
            Ok(principal) => known.principal = principal,
            Err(problem) if problem.code == Code::StoreUnavailable => {}
            Err(problem) if problem.code == Code::TokenExpired => return Err(Reason::TokenExpired),
            Err(_) => return Err(Reason::TokenInvalid),
        }
        Ok(())
    }

    async fn handle(&mut self, text: &[u8], principal: &Principal) -> Result<(), Option<Reason>> {
        let Some((id, request)) = self.request(text)? else { return Ok(()) };
        let client = self.client;
        match request {
            Request::Ping => self.send(encode(&Reply::Pong { id })),
            Request::Auth(_) => {
                self.refuse(&Refusal::new(id, ErrorCode::AlreadyAuthenticated, "a token was shown already"))
            }
            Request::Unsubscribe(topics) => self.tell(Command::Unsubscribe { client, id, topics }).await,
            Request::Subscribe { topics, from_seq } => {
                let forbidden = |topic: &&Topic| principal.role < topic.least_role();
                if let Some(topic) = topics.iter().find(forbidden) {
                    let detail = format!("this needs the role {}", topic.least_role());
                    return self.refuse(&Refusal::new(id, ErrorCode::Forbidden, detail).of(topic.to_string()));
                }
                self.tell(Command::Subscribe { client, id, topics, from_seq }).await
            }
        }
    }

    /// Understands a message; `None`: the client was told what is wrong with it.
    fn request(&mut self, text: &[u8]) -> Result<Option<(Option<u64>, Request)>, Option<Reason>> {
        if std::str::from_utf8(text).is_err() {
            return Err(Some(Reason::NotUtf8));
        }
        match read(text) {
            Ok(request) => Ok(Some(request)),
            Err(refusal) => self.refuse(&refusal).map(|()| None),
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> Result<(), Option<Reason>> {
        self.errors += 1;
        self.send(refusal.frame())?;
        if self.errors > ERRORS_MAX { Err(Some(Reason::TooManyErrors)) } else { Ok(()) }
    }

    async fn receive(&mut self) -> Result<Got, Option<Reason>> {
        let got = self.incoming.next().await?;
        let (began, count) = &mut self.frames;
        if began.elapsed() > WINDOW {
            (*began, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count > FRAMES_MAX { Err(Some(Reason::TooManyRequests)) } else { Ok(got) }
    }

    fn send(&self, frame: Bytes) -> Result<(), Option<Reason>> {
        self.outbox.push(frame).map_err(|_| {
            self.outbox.cut(Reason::SlowConsumer);
            Some(Reason::SlowConsumer)
        })
    }

    async fn tell(&self, command: Command) -> Result<(), Option<Reason>> {
        self.commands.send(command).await.map_err(|_| Some(Reason::Restart))
    }
}

fn pings() -> Interval {
    let mut pings = interval(PING);
    // A thread that was busy needs no burst of them.
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pings.reset();
    pings
}

impl Push {
    /// The way to the hub; `None`: there is none now.
    fn commands(&self) -> Option<mpsc::Sender<Command>> {
        self.sender().filter(|commands| !commands.is_closed())
    }
}
