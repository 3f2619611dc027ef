//! The exchange's errors, mapped to what is to be done about them.

use crate::command::{Outcome, VenueError};
use crate::time::{Span, Ts};

/// What an error of the exchange means for the request that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It had no effect, for certain.
    Refused,
    /// It may have had effect: ask before anything else.
    Unknown,
    /// Too many requests; it had no effect. Nothing may be sent until the pause is over.
    RateLimited,
    /// Our clock is off: measure the offset anew; it had no effect.
    Clock,
    /// Key, signature or permission: no order will pass until a person mends it; it had no effect.
    Credentials,
    /// The listen key does not exist: make a new one.
    ListenKey,
}

/// The meaning of an HTTP status and the exchange's code (0 when the body had none) and text.
///
/// 503 has three forms: "Unknown error…" leaves it open, "Service Unavailable" and -1008 mean that it was not executed.
pub fn meaning(status: u16, code: i32, message: &str) -> Meaning {
    match (status, code) {
        (_, -1006 | -1007) => Meaning::Unknown,
        (_, -1021) => Meaning::Clock,
        (_, -1022 | -2014 | -2015 | -1002) => Meaning::Credentials,
        (_, -1125) => Meaning::ListenKey,
        (429 | 418, _) | (_, -1003 | -1015) => Meaning::RateLimited,
        (_, -1008) => Meaning::Refused,
        (503, _) if message.contains("Service Unavailable") => Meaning::Refused,
        // -1000 UNKNOWN and -1001 DISCONNECTED say themselves that they do not know.
        (500..=599, _) | (_, -1000 | -1001) => Meaning::Unknown,
        (403, 0) => Meaning::Refused,
        (400..=499, _) => Meaning::Refused,
        // Anything else was not made by the exchange's order system; assume the worse.
        _ => Meaning::Unknown,
    }
}

/// The outcome of a command that was answered with an error.
pub fn outcome(status: u16, error: VenueError, retry_after: Option<Span>, now: Ts) -> Outcome {
    match meaning(status, error.code, &error.message) {
        Meaning::Unknown => Outcome::Unknown(error),
        Meaning::RateLimited => Outcome::Limited(now.plus(retry_after.unwrap_or(Span::from_secs(1)))),
        Meaning::Refused | Meaning::Clock | Meaning::Credentials | Meaning::ListenKey => Outcome::Rejected(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened_is_never_taken_as_refused() {
        for (status, code, text, expected) in [
            (503, 0, "Unknown error, please check your request or try again later.", Meaning::Unknown),
            (503, 0, "Service Unavailable.", Meaning::Refused),
            (503, -1008, "Request throttled by system-level protection.", Meaning::Refused),
            (408, -1007, "Timeout waiting for response from backend server.", Meaning::Unknown),
            (400, -1006, "An unexpected response was received from the message bus.", Meaning::Unknown),
            (504, 0, "", Meaning::Unknown),
            (400, -2019, "Margin is insufficient.", Meaning::Refused),
            (400, -1021, "Timestamp for this request is outside of the recvWindow.", Meaning::Clock),
            (401, -2015, "Invalid API-key, IP, or permissions for action.", Meaning::Credentials),
            (429, -1003, "Too many requests.", Meaning::RateLimited),
            (418, 0, "banned", Meaning::RateLimited),
            (400, -1125, "This listenKey does not exist.", Meaning::ListenKey),
            (302, 0, "", Meaning::Unknown),
        ] {
            assert_eq!(meaning(status, code, text), expected, "{status} {code} {text}");
        }
    }
}
