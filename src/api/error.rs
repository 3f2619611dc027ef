//! Errors as programs read them: `application/problem+json` (RFC 9457) with a stable code and the request's id.

pub use super::refusal::RefusalBody;
use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use utoipa::ToSchema;

/// The media type of errors.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The stable codes. A code never changes its meaning; new ones may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not understood.
    BadRequest,
    /// The path or the query is not UTF-8.
    BadEncoding,
    /// The body is not JSON, or not what is expected: a wrong type, an unknown member, a missing one.
    BadJson,
    /// The query is not what is expected.
    BadQuery,
    /// A member or header has a value that is not allowed; the detail names it, and what is.
    BadValue,
    /// The cursor was not given out for this list.
    BadCursor,
    /// There is no bearer token.
    TokenMissing,
    /// The token is not ours, was altered, or its user may not do anything any more.
    TokenInvalid,
    /// The token's time is over.
    TokenExpired,
    /// Name and password do not fit.
    LoginFailed,
    /// The user's role does not allow it.
    Forbidden,
    /// The origin is not one of `security.cors_origins`.
    OriginNotAllowed,
    /// There is no such thing.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// It cannot be done in this state.
    Conflict,
    /// The idempotency key stands for something else that was asked before.
    IdempotencyConflict,
    /// The body is larger than `server.body_max`.
    BodyTooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The engine's checks refused it; `refusal` says why.
    Refused,
    /// Too many requests; `Retry-After` says when the next one is welcome.
    TooManyRequests,
    /// The head is too large.
    HeadersTooLarge,
    /// A fault of this program; it is in its log under the request's id.
    Internal,
    /// The database does not answer.
    StoreUnavailable,
    /// The trading thread does not answer, or has not begun.
    SystemUnavailable,
    /// Too many logins at once.
    LoginBusy,
    /// Too much waits for the engine: it was not taken.
    QueueFull,
    /// The journal has no room: it was not carried out.
    JournalUnavailable,
    /// It was not confirmed in time and may still be carried out: repeat it under the same idempotency key.
    NotConfirmed,
}

impl Code {
    /// The status that goes with it.
    pub const fn status(self) -> StatusCode {
        use Code::*;
        match self {
            BadRequest | BadEncoding | BadJson | BadQuery | BadCursor | BadValue => StatusCode::BAD_REQUEST,
            TokenMissing | TokenInvalid | TokenExpired | LoginFailed => StatusCode::UNAUTHORIZED,
            Forbidden | OriginNotAllowed => StatusCode::FORBIDDEN,
            NotFound => StatusCode::NOT_FOUND,
            MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Conflict | IdempotencyConflict => StatusCode::CONFLICT,
            Refused => StatusCode::UNPROCESSABLE_ENTITY,
            BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Internal => StatusCode::INTERNAL_SERVER_ERROR,
            StoreUnavailable | SystemUnavailable | LoginBusy | QueueFull | JournalUnavailable | NotConfirmed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        use Code::*;
        match self {
            BadRequest => "bad_request",
            BadEncoding => "bad_encoding",
            BadJson => "bad_json",
            BadQuery => "bad_query",
            BadValue => "bad_value",
            BadCursor => "bad_cursor",
            TokenMissing => "token_missing",
            TokenInvalid => "token_invalid",
            TokenExpired => "token_expired",
            LoginFailed => "login_failed",
            Forbidden => "forbidden",
            OriginNotAllowed => "origin_not_allowed",
            NotFound => "not_found",
            MethodNotAllowed => "method_not_allowed",
            RequestTimeout => "request_timeout",
            Conflict => "conflict",
            IdempotencyConflict => "idempotency_conflict",
            Refused => "refused",
            BodyTooLarge => "body_too_large",
            UnsupportedMediaType => "unsupported_media_type",
            TooManyRequests => "too_many_requests",
            HeadersTooLarge => "headers_too_large",
            Internal => "internal",
            StoreUnavailable => "store_unavailable",
            SystemUnavailable => "system_unavailable",
            LoginBusy => "login_busy",
            QueueFull => "queue_full",
            JournalUnavailable => "journal_unavailable",
            NotConfirmed => "not_confirmed",
        }
    }
}

/// An error, as it is sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemBody {
    /// `urn:qcat:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong here, and how to mend it; for people.
    pub detail: String,
    /// What is wrong; for programs.
    pub code: Code,
    /// The request's id, as in `X-Request-Id` and in the logs.
    pub request_id: String,
    /// With the code `refused`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalBody>,
}

/// An error on its way out; the request's id joins it at the edge.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What is wrong; for programs.
    pub code: Code,
    /// What is wrong here; for people. Never a secret.
    pub detail: Cow<'static, str>,
    /// Seconds until the next attempt makes sense.
    pub retry_after: Option<u64>,
    /// The methods that the path has.
    pub allow: Option<&'static str>,
    /// Why the engine refused it.
    pub refusal: Option<Box<RefusalBody>>,
}

impl Problem {
    /// A problem.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { code, detail: detail.into(), retry_after: None, allow: None, refusal: None }
    }

    /// With the word when to try again.
    pub fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..self }
    }

    /// There is no such thing.
    pub fn not_found(what: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(Code::NotFound, what)
    }

    /// What a status without a problem of ours means: answers of the framework.
    pub fn of_status(status: StatusCode) -> Problem {
        match status {
            StatusCode::NOT_FOUND => Problem::not_found("there is no such path"),
            StatusCode::METHOD_NOT_ALLOWED => Problem::new(Code::MethodNotAllowed, "the path has no such method"),
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge, "the body is too large"),
            StatusCode::REQUEST_TIMEOUT => Problem::new(Code::RequestTimeout, "the request did not come in time"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Problem::new(Code::UnsupportedMediaType, "the body must be application/json")
            }
            status if status.is_client_error() => Problem::new(Code::BadRequest, "the request is not understood"),
            _ => Problem::new(Code::Internal, "an error of the server; its log has it under this request's id"),
        }
    }

    /// The answer, whole.
    pub fn answer(&self, request_id: &str) -> HttpResponse {
        let status = self.code.status();
        let body = ProblemBody {
            kind: format!("urn:qcat:error:{}", self.code.word()),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone().into_owned(),
            code: self.code,
            request_id: request_id.to_owned(),
            refusal: self.refusal.as_deref().cloned(),
        };
        let mut answer = HttpResponse::build(status);
        if let Some(seconds) = self.retry_after {
            answer.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(methods) = self.allow {
            answer.insert_header((header::ALLOW, methods));
        }
        if status == StatusCode::UNAUTHORIZED {
            answer.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"qcat\""));
        }
        let text = serde_json::to_string(&body).unwrap_or_default();
        answer.content_type(PROBLEM_JSON).body(text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.answer("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_code_is_what_is_sent() {
        for code in [
            Code::NotConfirmed,
            Code::BadValue,
            Code::IdempotencyConflict,
            Code::BadRequest,
            Code::TokenMissing,
            Code::OriginNotAllowed,
            Code::LoginBusy,
            Code::HeadersTooLarge,
        ] {
            assert_eq!(serde_json::to_value(code).ok(), Some(serde_json::Value::from(code.word())));
        }
    }
}
