//! What clients ask and what they are answered, apart from the topics' own messages.

use super::outbox::text;
use super::topic::Topic;
use bytes::Bytes;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// Bytes of a message from a client.
pub const REQUEST_MAX: usize = 64 << 10;
/// Topics of one client.
pub const TOPICS_MAX: usize = 64;

/// A request.
#[derive(Debug)]
pub enum Request {
    /// Shows a token.
    Auth(SecretString),
    /// Wants topics; those with the journal's numbers from after this one.
    Subscribe { topics: Vec<Topic>, from_seq: Option<u64> },
    /// Does not want them any more.
    Unsubscribe(Vec<Topic>),
    /// Asks whether anybody is there.
    Ping,
}

/// The stable codes of errors that leave the connection open. None ever changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The message is not JSON, or not what is expected.
    BadMessage,
    /// A token was shown already.
    AlreadyAuthenticated,
    /// A token must be shown first.
    Unauthenticated,
    /// The token is not good. The connection closes.
    TokenInvalid,
    /// The token's time is over. The connection closes.
    TokenExpired,
    /// The role does not allow it.
    Forbidden,
    /// There is no such topic, strategy or symbol.
    UnknownTopic,
    /// More topics than a client may have.
    TooManyTopics,
    /// The daemon has no engine yet, or the users cannot be looked up: later.
    NotReady,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Auth,
    Subscribe,
    Unsubscribe,
    Ping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    op: Op,
    id: Option<u64>,
    token: Option<String>,
    topics: Option<Vec<String>>,
    from_seq: Option<u64>,
}

/// An error as it is sent.
#[derive(Debug, Serialize)]
pub struct Refusal {
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    code: ErrorCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    detail: String,
}

impl Refusal {
    /// With this code.
    pub fn new(id: Option<u64>, code: ErrorCode, detail: impl Into<String>) -> Refusal {
        Refusal { op: "error", id, code, topic: None, detail: detail.into() }
    }

    /// About this topic.
    pub fn of(self, topic: impl Into<String>) -> Refusal {
        Refusal { topic: Some(topic.into()), ..self }
    }

    /// As a frame.
    pub fn frame(&self) -> Bytes {
        encode(self)
    }
}

/// An answer as it is sent.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Reply<'a> {
    /// The token is good until then.
    Authenticated { user: &'a str, role: &'a str, expires: u64, id: Option<u64> },
    /// Snapshots or updates follow.
    Subscribed { topics: &'a [Topic], id: Option<u64> },
    /// Nothing follows any more.
    Unsubscribed { topics: &'a [Topic], id: Option<u64> },
    /// Somebody is there.
    Pong { id: Option<u64> },
    /// Updates are missing; a snapshot follows.
    Resync { topic: &'a Topic, reason: &'static str },
}

/// Plain data as a frame of text.
pub fn encode(value: &impl Serialize) -> Bytes {
    text(serde_json::to_vec(value).expect("it is plain data"))
}

/// Reads a request. The error never repeats what was sent: that may be a token.
pub fn read(bytes: &[u8]) -> Result<(Option<u64>, Request), Refusal> {
    let raw: Raw = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::new(None, ErrorCode::BadMessage, crate::api::body::json_error(&error)))?;
    let id = raw.id;
    let bad = |detail: &str| Refusal::new(id, ErrorCode::BadMessage, detail);
    let request = match (raw.op, raw.token, raw.topics, raw.from_seq) {
        (Op::Auth, Some(token), None, None) => Request::Auth(SecretString::from(token)),
        (Op::Auth, ..) => return Err(bad("`auth` has a `token` and nothing else")),
        (Op::Subscribe, None, Some(names), from_seq) => Request::Subscribe { topics: topics(id, &names)?, from_seq },
        (Op::Subscribe, ..) => return Err(bad("`subscribe` has `topics`, and may have `from_seq`")),
        (Op::Unsubscribe, None, Some(names), None) => Request::Unsubscribe(topics(id, &names)?),
        (Op::Unsubscribe, ..) => return Err(bad("`unsubscribe` has `topics` and nothing else")),
        (Op::Ping, None, None, None) => Request::Ping,
        (Op::Ping, ..) => return Err(bad("`ping` has nothing else")),
    };
    Ok((id, request))
}

fn topics(id: Option<u64>, names: &[String]) -> Result<Vec<Topic>, Refusal> {
    if names.is_empty() {
        return Err(Refusal::new(id, ErrorCode::BadMessage, "`topics` is empty"));
    }
    if names.len() > TOPICS_MAX {
        return Err(too_many(id));
    }
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        let topic = Topic::parse(name);
        let shown: String = name.chars().take(64).collect();
        let unknown = || Refusal::new(id, ErrorCode::UnknownTopic, "there is no such topic").of(shown);
        let topic = topic.ok_or_else(unknown)?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    Ok(topics)
}

/// A client has its bound of topics.
pub fn too_many(id: Option<u64>) -> Refusal {
    Refusal::new(id, ErrorCode::TooManyTopics, format!("a client has at most {TOPICS_MAX} topics"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_strictly_and_errors_repeat_no_secret() {
        let good = |text: &str| read(text.as_bytes()).map(|(id, _)| id).map_err(|refusal| format!("{refusal:?}"));
        assert_eq!(good(r#"{"op":"auth","token":"t","id":7}"#), Ok(Some(7)));
        assert_eq!(good(r#"{"op":"subscribe","topics":["orders","orders"],"from_seq":1}"#), Ok(None));
        assert_eq!(good(r#"{"op":"ping"}"#), Ok(None));
        for (text, code) in [
            ("", "BadMessage"),
            ("[]", "BadMessage"),
            (r#"{"op":"auth"}"#, "BadMessage"),
            (r#"{"op":"auth","token":"hush","x":1}"#, "BadMessage"),
            (r#"{"op":"ping","token":"hush"}"#, "BadMessage"),
            (r#"{"op":"ping","id":"hush"}"#, "BadMessage"),
            (r#"{"op":"auth","op":"auth","token":"hush"}"#, "BadMessage"),
            (r#"{"op":"hush"}"#, "BadMessage"),
            (r#"{"op":"subscribe","topics":[]}"#, "BadMessage"),
            (r#"{"op":"subscribe","topics":"orders"}"#, "BadMessage"),
            (r#"{"op":"subscribe","topics":["orders"],"from_seq":-1}"#, "BadMessage"),
            (r#"{"op":"subscribe","topics":["order"]}"#, "UnknownTopic"),
        ] {
            let refusal = good(text).expect_err(text);
            assert!(refusal.contains(code) && !refusal.contains("hush"), "{text}: {refusal}");
        }
        let many = format!(r#"{{"op":"subscribe","topics":[{}"orders"]}}"#, "\"orders\",".repeat(TOPICS_MAX));
        assert!(good(&many).expect_err("too many").contains("TooManyTopics"));
    }
}
