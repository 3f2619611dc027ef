//! WebSocket connections over our own streams. Pings of the peer are answered by the library. A peer that vanished without a
//! word is found by pings of our own: the exchange's come only every three minutes, and it gives a client ten.
//! Tests: `tests`, against a peer that takes the connection and then says nothing, and one that only answers pings.

use super::{NetError, tls::Connector, tls::Stream, url::Url};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};

/// How long a peer may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Nothing was received for this long: it is asked by a ping.
    pub ping_after: Duration,
    /// Nothing, no pong either, was received for this long after the ping: it is gone.
    pub answer_within: Duration,
}

impl Default for Patience {
    /// 15 s and 10 s: far from the exchange's bound of ten messages a second.
    fn default() -> Patience {
        Patience { ping_after: Duration::from_secs(15), answer_within: Duration::from_secs(10) }
    }
}

/// Largest message taken: a depth snapshot of all levels is far below.
const MESSAGE_MAX: usize = 16 << 20;
/// Text frames that may wait to be sent.
pub const SEND_QUEUE: usize = 64;

/// Opens a WebSocket.
pub async fn connect(connector: &Connector, text: &str) -> Result<WebSocketStream<Stream>, NetError> {
    let url = Url::parse(text, ["ws", "wss"])?;
    let address = url.address();
    let stream = connector.connect(&url).await?;
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    let opened = tokio_tungstenite::client_async_with_config(text, stream, Some(config)).await;
    match opened {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let reason = format!("the WebSocket was refused with HTTP status {}", response.status().as_u16());
            Err(NetError::Broken { address, reason })
        }
        Err(error) => Err(NetError::Broken { address, reason: error.to_string() }),
    }
}

/// Runs an open WebSocket until it ends: hands each text frame to `on_frame`, sends what comes through `send`.
/// Returns why it ended.
pub async fn run(
    mut socket: WebSocketStream<Stream>,
    patience: Patience,
    mut send: mpsc::Receiver<String>,
    mut on_frame: impl FnMut(&[u8]),
) -> String {
    let mut heard = Instant::now();
    let mut pinged: Option<Instant> = None;
    let look = tokio::time::sleep(patience.ping_after);
    tokio::pin!(look);
    loop {
        tokio::select! {
            message = socket.next() => {
                heard = Instant::now();
                match message {
                    None => return "closed by the peer".to_owned(),
                    Some(Err(error)) => return error.to_string(),
                    Some(Ok(Message::Text(text))) => on_frame(text.as_bytes()),
                    Some(Ok(Message::Binary(bytes))) => on_frame(&bytes),
                    Some(Ok(Message::Close(frame))) => {
                        return frame.map_or_else(|| "closed by the peer".to_owned(), |f| format!("closed by the peer: {f}"));
                    }
                    Some(Ok(Message::Pong(_))) => look.as_mut().reset(heard + patience.ping_after),
                    Some(Ok(Message::Ping(_) | Message::Frame(_))) => {}
                }
            }
            text = send.recv() => match text {
                Some(text) => {
                    if let Err(reason) = deliver(&mut socket, Message::text(text), patience).await {
                        return reason;
                    }
                }
                None => {
                    // Our own side let go of it.
                    let _ = tokio::time::timeout(patience.answer_within, socket.close(None)).await;
                    return "closed by us".to_owned();
                }
            },
            // Looked at when the time may have come, so that a frame costs no timer.
            () = &mut look => {
                let now = Instant::now();
                match pinged.filter(|at| heard < *at) {
                    Some(at) if now >= at + patience.answer_within => {
                        return format!("nothing received for {:?}, no pong either", now - heard);
                    }
                    Some(at) => look.as_mut().reset(at + patience.answer_within),
                    None if now >= heard + patience.ping_after => {
                        if let Err(reason) = deliver(&mut socket, Message::Ping(Bytes::new()), patience).await {
                            return reason;
                        }
                        pinged = Some(now);
                        look.as_mut().reset(now + patience.answer_within);
                    }
                    None => look.as_mut().reset(heard + patience.ping_after),
                }
            }
        }
    }
}

/// Sends one message; a peer that takes nothing any more is gone.
async fn deliver(socket: &mut WebSocketStream<Stream>, message: Message, patience: Patience) -> Result<(), String> {
    match tokio::time::timeout(patience.answer_within, socket.send(message)).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the peer took nothing for {:?}", patience.answer_within)),
    }
}

#[cfg(test)]
mod tests;
