//! A client of push sessions over a real socket.
#![allow(dead_code)] // Each test uses a part of it.

use futures_util::{SinkExt, StreamExt};
use qcat_io::net::tls::{Connector, Stream};
use qcat_io::net::ws;
use qcat_io::secret::jwt::Tokens;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A token of the command line's own subject, which needs no database.
pub fn token(key: &str, lifetime: Duration) -> String {
    let tokens = Tokens::new(&SecretString::from(key)).expect("a long key");
    let (subject, now) = (qcat::api::auth::LOCAL, qcat::api::auth::now());
    tokens.issue(subject, "viewer", 0, now, lifetime).0.expose_secret().to_owned()
}

pub struct Client {
    pub socket: WebSocketStream<Stream>,
}

impl Client {
    /// Opens a session without a token.
    pub async fn open(at: SocketAddr) -> Client {
        let connector = Connector::new(None).expect("made");
        Client { socket: ws::connect(&connector, &format!("ws://{at}/ws")).await.expect("opened") }
    }

    /// Opens a session and shows a token.
    pub async fn start(at: SocketAddr, key: &str) -> Client {
        Client::open(at).await.shown(key).await
    }

    async fn shown(mut self, key: &str) -> Client {
        let token = token(key, Duration::from_secs(250));
        self.send(json!({"op": "auth", "token": token, "id": 1})).await;
        let answer = self.next().await;
        assert_eq!((&answer["op"], &answer["id"]), (&json!("authenticated"), &json!(1)), "{answer}");
        self
    }

    /// The same over a socket that takes little before somebody reads.
    pub async fn start_small(at: SocketAddr, key: &str) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("set");
        let stream = Stream::Plain(socket.connect(at).await.expect("connected"));
        let opened = tokio_tungstenite::client_async(format!("ws://{at}/ws"), stream).await;
        Client { socket: opened.expect("opened").0 }.shown(key).await
    }

    pub async fn send(&mut self, value: Value) {
        self.text(&value.to_string()).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.message(Message::text(text)).await;
    }

    pub async fn message(&mut self, message: Message) {
        // The other side may have closed already, and said why.
        let _ = self.socket.send(message).await;
    }

    /// The next message, or the end as `{"closed": code, "reason": word}`.
    pub async fn next(&mut self) -> Value {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return serde_json::from_str(&text).expect("JSON");
                    }
                    Some(Ok(Message::Close(Some(frame)))) => {
                        return json!({"closed": u16::from(frame.code), "reason": frame.reason.as_str()});
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => return json!({ "gone": format!("{other:?}") }),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), next).await.expect("a message within 20 s")
    }

    /// The next message that is such.
    pub async fn until(&mut self, is_such: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next().await;
            assert!(message.get("gone").is_none(), "{message}");
            if is_such(&message) {
                return message;
            }
            assert!(message.get("closed").is_none(), "{message}");
        }
    }

    /// Subscribes and gives back what the answer is.
    pub async fn subscribe(&mut self, topics: &[&str], from_seq: Option<u64>) -> Value {
        let mut request = json!({"op": "subscribe", "topics": topics});
        if let Some(from) = from_seq {
            request["from_seq"] = json!(from);
        }
        self.send(request).await;
        self.until(|message| message["op"] == "subscribed" || message["op"] == "error").await
    }
}
