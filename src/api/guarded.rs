//! A connection whose answers have a deadline.
//!
//! The HTTP library bounds how long a request may take to come, but not how long an answer may take to leave: a client that reads
//! one byte a minute would hold its connection, and the answer, for ever. Here the clock starts when the first byte of an answer
//! is to be written and stops when all that was buffered has been taken by the operating system; past the deadline the write
//! fails, and the library drops the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A guarded connection.
#[derive(Debug)]
pub struct Guarded<S, H> {
    stream: S,
    /// Dropped with the connection.
    _held: H,
    allowed: Duration,
    /// Until when what is being written must be gone.
    deadline: Option<Pin<Box<Sleep>>>,
    writing: bool,
}

impl<S, H> Guarded<S, H> {
    /// An answer may take this long. `held` is dropped with the connection.
    pub fn new(stream: S, allowed: Duration, held: H) -> Guarded<S, H> {
        Guarded { stream, _held: held, allowed, deadline: None, writing: false }
    }

    /// Whether the deadline has passed; when not, the task is woken then.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let at = Instant::now() + self.allowed;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if !self.writing {
            self.writing = true;
            deadline.as_mut().reset(at);
        }
        deadline.as_mut().poll(cx).is_ready()
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client did not take the answer in time")
}

impl<S: AsyncRead + Unpin, H: Unpin> AsyncRead for Guarded<S, H> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, H: Unpin> AsyncWrite for Guarded<S, H> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, buf) {
            // The timer is made only when the client is slow: most answers fit the socket's buffer.
            Poll::Ready(Ok(written)) if written == buf.len() && !self.writing => Poll::Ready(Ok(written)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            ready if self.is_late(cx) => {
                drop(ready);
                Poll::Ready(Err(late()))
            }
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(flushed) => {
                // Called when the library's buffer is empty: nothing of an answer is left.
                self.writing = false;
                Poll::Ready(flushed)
            }
            Poll::Pending if self.is_late(cx) => Poll::Ready(Err(late())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Pending if self.is_late(cx) => Poll::Ready(Err(late())),
            other => other,
        }
    }
}
