//! What a sans-I/O session asks of its shell and what the shell tells it; the same for the other side, the simulated exchange.
//!
//! A session never sees a socket. `qcat-io` runs it over real ones; the simulated world joins both sides frame by frame.

use crate::event::Input;
use crate::time::{Span, Ts};

/// A WebSocket connection of one session, numbered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);

/// An HTTP request of one session, numbered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The HTTP methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Change.
    Put,
    /// Remove.
    Delete,
}

impl Method {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// What a request has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    None,
    /// The API key in the header.
    Key,
    /// The API key in the header, and the shell appends `&signature=` of the query as it is sent.
    Signed,
}

/// One HTTP request. The query is complete and percent-encoded, but for the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Its number; the answer names it.
    pub id: RequestId,
    /// The method.
    pub method: Method,
    /// The path, beginning with `/`.
    pub path: &'static str,
    /// The query without `?`; empty when there is none.
    pub query: String,
    /// What it has to prove.
    pub auth: Auth,
    /// No answer after this long: the shell gives up and says so.
    pub timeout: Span,
    /// Goes over the connection that is kept free for orders.
    pub urgent: bool,
}

/// What a session wants done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Open a WebSocket; the shell answers `LinkUp` or `LinkDown`.
    Connect { link: LinkId, url: String },
    /// Close a WebSocket; no more of it is told afterwards.
    Close { link: LinkId },
    /// Send a text frame.
    Send { link: LinkId, text: String },
    /// Send an HTTP request.
    Http(HttpRequest),
    /// Offer an input to the lane.
    Offer(Input),
    /// The exchange refused by a rule that we do not know so: have its definitions asked for anew.
    LearnDefinitions,
    /// Something that an operator should read, once per kind and minute.
    Note(Note),
}

/// Something worth a log line or a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// A stable code such as `frame_malformed`.
    pub code: &'static str,
    /// The facts.
    pub text: String,
    /// What was received and could not be used, to be kept; empty: nothing.
    pub frame: Box<[u8]>,
}

/// What the shell tells a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The WebSocket is open.
    LinkUp(LinkId),
    /// The WebSocket is closed or could not be opened.
    LinkDown { link: LinkId, reason: String },
    /// A text frame.
    Frame { link: LinkId, bytes: &'a [u8] },
    /// The request's bytes were handed to the socket.
    Written(RequestId),
    /// The request was answered.
    Reply { id: RequestId, status: u16, headers: ReplyHeaders, body: &'a [u8] },
    /// The request was not answered; `written`: whether the exchange may have seen it.
    Failed { id: RequestId, written: bool, timed_out: bool },
}

/// The headers of an answer that a session reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyHeaders {
    /// `X-MBX-USED-WEIGHT-1M`.
    pub used_weight_1m: Option<u32>,
    /// `X-MBX-ORDER-COUNT-10S`.
    pub order_count_10s: Option<u32>,
    /// `X-MBX-ORDER-COUNT-1M`.
    pub order_count_1m: Option<u32>,
    /// `Retry-After` of a 429 or 418.
    pub retry_after: Option<Span>,
}

/// A connection of a client to the simulated exchange, numbered by the server's shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// What the server's shell tells the simulated exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerIn<'a> {
    /// An HTTP request; exactly one `ServerOut::Reply` with the same peer follows, at once or later.
    Http {
        peer: PeerId,
        method: &'a str,
        path: &'a str,
        query: &'a str,
        api_key: Option<&'a str>,
        signature_valid: bool,
    },
    /// A client wants a WebSocket at this path and query; `Accept` or `Refuse` follows at once.
    Open { peer: PeerId, path: &'a str, query: &'a str },
    /// A text frame.
    Text { peer: PeerId, text: &'a str },
    /// The client is gone.
    Closed { peer: PeerId },
}

/// What the simulated exchange wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerOut {
    /// Answer an HTTP request.
    Reply { peer: PeerId, status: u16, headers: ReplyHeaders, body: String },
    /// Accept a WebSocket.
    Accept { peer: PeerId },
    /// Refuse a WebSocket with an HTTP status.
    Refuse { peer: PeerId, status: u16, body: String },
    /// Send a text frame.
    Send { peer: PeerId, text: std::sync::Arc<str> },
    /// Close a WebSocket.
    Close { peer: PeerId },
}

/// The client's clock against the exchange's: exchange = local + offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockOffset {
    nanos: i64,
}

impl ClockOffset {
    /// From one question: asked at `sent`, answered at `received`, the exchange said `server`. Half the round trip is taken
    /// as the way there, as NTP does.
    pub fn measured(sent: Ts, received: Ts, server: Ts) -> ClockOffset {
        let middle = sent.nanos() + received.since(sent).nanos() / 2;
        ClockOffset { nanos: server.nanos().saturating_sub(middle) }
    }

    /// The exchange's time.
    pub fn exchange_time(self, local: Ts) -> Ts {
        local.plus(Span::from_nanos(self.nanos))
    }

    /// Whether the clocks differ by more than `bound` for certain, when the question took `took`: half of that may be error.
    pub fn exceeds(self, bound: Span, took: Span) -> bool {
        self.nanos.saturating_abs() - took.nanos().max(0) / 2 > bound.nanos()
    }

    /// By how much the exchange is ahead.
    pub fn span(self) -> Span {
        Span::from_nanos(self.nanos)
    }
}
