//! What waits for one client: a bounded queue of ready frames, filled by the hub and the session, emptied by the connection.
//!
//! Frames are encoded once and shared by all clients, framing included. Of a market only the newest frame waits: a client that is
//! slow sees fewer of them, with a mark. Everything else is complete or the client is cut.

use actix_http::ws::{CloseCode, CloseReason, OpCode, Parser};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// Updates that may wait for a client.
pub const MESSAGES_MAX: usize = 512;
/// Bytes of updates that may wait for a client; they are shared with the other clients.
pub const BYTES_MAX: usize = 256 << 10;
/// Bytes of snapshots and resumed updates that may wait for a client: what it asked for itself.
pub const SNAPSHOTS_MAX: usize = 8 << 20;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The client closed it.
    Goodbye,
    /// It did not take what it subscribed to.
    SlowConsumer,
    /// It showed no token in time.
    AuthTimeout,
    /// Its token is not good, or not any more.
    TokenInvalid,
    /// Its token's time is over.
    TokenExpired,
    /// It sent too much in a short time.
    TooManyRequests,
    /// It sent too much that was wrong.
    TooManyErrors,
    /// It did not answer.
    DeadPeer,
    /// A frame that is not text.
    NotText,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A message that is too large.
    TooLarge,
    /// It does not speak the protocol.
    ProtocolError,
    /// The daemon stops.
    Shutdown,
    /// The push sessions begin anew.
    Restart,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 14] = [
        Reason::Goodbye,
        Reason::SlowConsumer,
        Reason::AuthTimeout,
        Reason::TokenInvalid,
        Reason::TokenExpired,
        Reason::TooManyRequests,
        Reason::TooManyErrors,
        Reason::DeadPeer,
        Reason::NotText,
        Reason::NotUtf8,
        Reason::TooLarge,
        Reason::ProtocolError,
        Reason::Shutdown,
        Reason::Restart,
    ];

    /// The word in the close frame, in metrics and in logs. Never changes.
    pub const fn word(self) -> &'static str {
        match self {
            Reason::Goodbye => "goodbye",
            Reason::SlowConsumer => "slow_consumer",
            Reason::AuthTimeout => "auth_timeout",
            Reason::TokenInvalid => "token_invalid",
            Reason::TokenExpired => "token_expired",
            Reason::TooManyRequests => "too_many_requests",
            Reason::TooManyErrors => "too_many_errors",
            Reason::DeadPeer => "dead_peer",
            Reason::NotText => "not_text",
            Reason::NotUtf8 => "not_utf8",
            Reason::TooLarge => "too_large",
            Reason::ProtocolError => "protocol_error",
            Reason::Shutdown => "shutdown",
            Reason::Restart => "restart",
        }
    }

    /// The code of the close frame (RFC 6455).
    pub const fn code(self) -> u16 {
        match self {
            Reason::Goodbye => 1000,
            Reason::Shutdown => 1001,
            Reason::ProtocolError => 1002,
            Reason::NotText => 1003,
            Reason::NotUtf8 => 1007,
            Reason::TooLarge => 1009,
            Reason::Restart => 1012,
            _ => 1008,
        }
    }
}

/// A text as a frame.
pub fn text(text: impl AsRef<[u8]>) -> Bytes {
    frame(OpCode::Text, text)
}

/// A frame, as servers send it.
pub fn frame(code: OpCode, payload: impl AsRef<[u8]>) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.as_ref().len() + 10);
    Parser::write_message(&mut bytes, payload, code, true, false);
    bytes.freeze()
}

fn close(reason: Reason) -> Bytes {
    let mut bytes = BytesMut::new();
    let reason = CloseReason { code: CloseCode::from(reason.code()), description: Some(reason.word().to_owned()) };
    Parser::write_close(&mut bytes, Some(reason), false);
    bytes.freeze()
}

/// More waits than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

enum Waiting {
    Frame(Bytes),
    Snapshot(Bytes),
    /// Of this market.
    Market(u32, Bytes),
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    updates: usize,
    bytes: usize,
    snapshots: usize,
    waker: Option<Waker>,
    ended: Option<Reason>,
    /// The connection is gone.
    gone: bool,
}

/// The queue of a client.
#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, add: impl FnOnce(&mut Inner) -> Result<(), Full>) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.ended.is_some() || inner.gone {
            return Ok(());
        }
        add(&mut inner)?;
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Queues a frame that must not be missed. Once the end is decided nothing is queued.
    pub fn push(&self, frame: Bytes) -> Result<(), Full> {
        self.add(|inner| {
            if inner.updates >= MESSAGES_MAX || inner.bytes + frame.len() > BYTES_MAX {
                return Err(Full);
            }
            inner.updates += 1;
            inner.bytes += frame.len();
            inner.waiting.push_back(Waiting::Frame(frame));
            Ok(())
        })
    }

    /// Queues a snapshot, which the client asked for. One is always taken, however large it is.
    pub fn push_snapshot(&self, frame: Bytes) -> Result<(), Full> {
        self.add(|inner| {
            if inner.snapshots > 0 && inner.snapshots + frame.len() > SNAPSHOTS_MAX {
                return Err(Full);
            }
            inner.snapshots += frame.len();
            inner.waiting.push_back(Waiting::Snapshot(frame));
            Ok(())
        })
    }

    /// Bytes that it may still ask for.
    pub fn room(&self) -> usize {
        SNAPSHOTS_MAX.saturating_sub(self.lock().snapshots)
    }

    /// Queues the newest frame of a market, in the place of one that waits; then it is the one that tells of a gap.
    pub fn push_market(&self, market: u32, frame: &Bytes, with_gap: impl FnOnce() -> Bytes) {
        let queued = self.add(|inner| {
            let own = inner.waiting.iter_mut().find_map(|waiting| match waiting {
                Waiting::Market(known, frame) if *known == market => Some(frame),
                _ => None,
            });
            match own {
                Some(place) => *place = with_gap(),
                // At most one for each subscription.
                None => inner.waiting.push_back(Waiting::Market(market, frame.clone())),
            }
            Ok(())
        });
        debug_assert!(queued.is_ok(), "a market's frame is always taken");
    }

    /// Ends it after what waits. The first reason counts.
    pub fn finish(&self, reason: Reason) {
        self.end(reason, false);
    }

    /// Ends it in the place of what waits.
    pub fn cut(&self, reason: Reason) {
        self.end(reason, true);
    }

    fn end(&self, reason: Reason, at_once: bool) {
        let mut inner = self.lock();
        if inner.ended.is_some() || inner.gone {
            return;
        }
        inner.ended = Some(reason);
        if at_once {
            inner.waiting = VecDeque::new();
        }
        if reason != Reason::Goodbye {
            let word = reason.word();
            inner.waiting.push_back(Waiting::Snapshot(text(format!("{{\"op\":\"bye\",\"reason\":\"{word}\"}}"))));
        }
        inner.waiting.push_back(Waiting::Snapshot(close(reason)));
        let waker = inner.waker.take();
        drop(inner);
        self.changed.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it ends, once that is decided.
    pub fn ended(&self) -> Option<Reason> {
        self.lock().ended
    }

    /// Whether the connection is gone, or has taken all there was to take.
    pub fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Waits until the end is decided, or the connection gone.
    pub async fn ending(&self) {
        self.until(|inner| inner.gone || inner.ended.is_some()).await;
    }

    /// Waits until the connection is gone.
    pub async fn going(&self) {
        self.until(|inner| inner.gone).await;
    }

    async fn until(&self, so: impl Fn(&Inner) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look: a change between the two must not be missed.
            changed.as_mut().enable();
            if so(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// The connection is gone.
    pub fn leave(&self) {
        let mut inner = self.lock();
        inner.gone = true;
        (inner.waiting, inner.waker) = (VecDeque::new(), None);
        drop(inner);
        self.changed.notify_waiters();
    }
}

/// The queue as the body of an answer.
pub struct Outgoing(pub Arc<Outbox>);

impl Stream for Outgoing {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut inner = self.0.lock();
        match inner.waiting.pop_front() {
            Some(Waiting::Frame(frame)) => {
                inner.updates -= 1;
                inner.bytes -= frame.len();
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Waiting::Snapshot(frame)) => {
                inner.snapshots = inner.snapshots.saturating_sub(frame.len());
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Waiting::Market(_, frame)) => Poll::Ready(Some(Ok(frame))),
            None if inner.ended.is_some() => Poll::Ready(None),
            None => {
                // A burst may have left much room behind.
                if inner.waiting.capacity() > 64 {
                    inner.waiting.shrink_to(8);
                }
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::StreamExt;

    fn next(outgoing: &mut Outgoing) -> Option<Bytes> {
        outgoing.next().now_or_never().flatten().map(|frame| match frame {
            Ok(frame) => frame,
        })
    }

    #[test]
    fn updates_are_bounded_and_complete_and_markets_conflate() {
        let outbox = Arc::new(Outbox::default());
        let mut outgoing = Outgoing(outbox.clone());
        let big = Bytes::from(vec![0; BYTES_MAX / 4]);
        assert!((0..4).all(|_| outbox.push(big.clone()).is_ok()));
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Err(Full));
        for n in ["1", "2", "3"] {
            outbox.push_market(7, &Bytes::from(n), || Bytes::from(format!("{n} after a gap")));
        }
        assert_eq!(outbox.push_snapshot(Bytes::from(vec![1; SNAPSHOTS_MAX + 1])), Ok(()));
        assert_eq!(outbox.push_snapshot(Bytes::from_static(b"another")), Err(Full));
        assert_eq!(outbox.room(), 0);
        assert!((0..4).all(|_| next(&mut outgoing).is_some_and(|frame| frame == big)));
        assert_eq!(next(&mut outgoing), Some(Bytes::from_static(b"3 after a gap")));
        assert!(next(&mut outgoing).is_some_and(|snapshot| snapshot.len() > SNAPSHOTS_MAX));
        assert!((0..MESSAGES_MAX).all(|_| outbox.push(Bytes::from_static(b"x")).is_ok()));
        assert_eq!(outbox.push(Bytes::from_static(b"x")), Err(Full));
        outbox.cut(Reason::SlowConsumer);
        outbox.finish(Reason::Shutdown);
        assert_eq!((outbox.push(big), outbox.ended()), (Ok(()), Some(Reason::SlowConsumer)));
        assert!(next(&mut outgoing).is_some_and(|bye| bye.ends_with(b"\"reason\":\"slow_consumer\"}")));
        assert!(next(&mut outgoing).is_some_and(|close| close.ends_with(b"slow_consumer") && close[0] == 0x88));
        assert_eq!(outgoing.next().now_or_never(), Some(None));
        drop(outgoing);
        assert!(outbox.is_gone() && outbox.going().now_or_never().is_some());
    }
}
