//! WebSocket connections over our own streams. Pings are answered by the library; a connection that says nothing at all,
//! no ping either, for ten minutes is dead by the exchange's own rule.

use super::{NetError, tls::Connector, tls::Stream, url::Url};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};

/// Longest silence on a connection, pings included.
const DEAD_AFTER: Duration = Duration::from_secs(600);
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
    mut send: mpsc::Receiver<String>,
    mut on_frame: impl FnMut(&[u8]),
) -> String {
    loop {
        tokio::select! {
            message = tokio::time::timeout(DEAD_AFTER, socket.next()) => match message {
                Err(_) => return "nothing received for ten minutes, not even a ping".to_owned(),
                Ok(None) => return "closed by the peer".to_owned(),
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(Some(Ok(Message::Text(text)))) => on_frame(text.as_bytes()),
                Ok(Some(Ok(Message::Binary(bytes)))) => on_frame(&bytes),
                Ok(Some(Ok(Message::Close(frame)))) => {
                    return frame.map_or_else(|| "closed by the peer".to_owned(), |f| format!("closed by the peer: {f}"));
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
            },
            text = send.recv() => match text {
                Some(text) => {
                    if let Err(error) = socket.send(Message::text(text)).await {
                        return error.to_string();
                    }
                }
                None => {
                    // Our own side let go of it.
                    let _ = socket.close(None).await;
                    return "closed by us".to_owned();
                }
            },
        }
    }
}
