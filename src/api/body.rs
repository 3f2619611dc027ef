//! What comes from outside: JSON bodies and queries, bounded in size and time, read strictly.

use super::error::{Code, Problem};
use super::state::ApiState;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

/// A JSON body. Its type must refuse unknown members.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Json<T>, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let state = request.app_data::<web::Data<ApiState>>();
            let state = state.ok_or_else(|| Problem::new(Code::Internal, "the server has no state"))?;
            if !is_json(&request) {
                return Err(Problem::new(Code::UnsupportedMediaType, "the body must be application/json"));
            }
            let allowed = state.options.read_timeout;
            let read = tokio::time::timeout(allowed, collect(&request, payload, state.options.body_max)).await;
            let late = |_| Problem::new(Code::RequestTimeout, format!("the body did not come within {allowed:?}"));
            let body = read.map_err(late)??;
            let parsed = serde_json::from_slice(&body);
            parsed.map(Json).map_err(|error| Problem::new(Code::BadJson, json_error(&error)))
        })
    }
}

/// What is wrong, without what was sent: that may be a password.
pub(super) fn json_error(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Eof => format!("the JSON ends too early: {place}"),
        Category::Data => {
            let text = error.to_string();
            let named = text.split(" at line ").next().filter(|text| {
                text.starts_with("unknown field") || text.starts_with("missing field") || text.starts_with("duplicate")
            });
            format!("the JSON is not what is expected: {} ({place})", named.unwrap_or("a value of another type"))
        }
        Category::Syntax | Category::Io => format!("this is not JSON: {place}"),
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

async fn collect(request: &HttpRequest, mut payload: Payload, most: usize) -> Result<web::BytesMut, Problem> {
    let large = || Problem::new(Code::BodyTooLarge, format!("a body has at most {most} bytes"));
    let told = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if told.is_some_and(|told: u64| told > most as u64) {
        return Err(large());
    }
    let mut body = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::BadRequest, "the body breaks off"))?;
        if body.len() + chunk.len() > most {
            return Err(large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A query. Its type must refuse unknown members.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Query<T>, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = web::Query::<T>::from_query(request.query_string());
        ready(query.map(|query| Query(query.into_inner())).map_err(|error| {
            let text = error.to_string();
            let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
            Problem::new(Code::BadQuery, format!("the query is not what is expected: {reason}"))
        }))
    }
}

/// Whether a path or query is UTF-8 after its percent signs are taken for what they mean.
pub fn is_utf8(text: &str) -> bool {
    if !text.contains('%') {
        return true;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = match (first, tail) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        bytes.push(pair.unwrap_or(*first));
        rest = if pair.is_some() { &rest[3..] } else { tail };
    }
    std::str::from_utf8(&bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_utf8;

    #[test]
    fn percent_signs_are_taken_for_what_they_mean() {
        for good in ["/a/b", "a=%C3%BC", "%", "%2", "%zz", "100%25"] {
            assert!(is_utf8(good), "{good}");
        }
        for bad in ["%ff", "a=%C3", "%C3%28", "/x/%80"] {
            assert!(!is_utf8(bad), "{bad}");
        }
    }
}
