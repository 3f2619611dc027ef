//! CORS: pages of the configured origins may read answers, pages of others may not. Never `*`, never credentials: tokens come in a
//! header that a page has to set itself.

use super::error::{Code, Problem};
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

const METHODS: &str = "GET, HEAD, POST, PATCH, PUT, DELETE";
const HEADERS: &str = "authorization, content-type, idempotency-key, x-request-id";
/// Seconds that a browser may remember it.
const MAX_AGE: u32 = 600;

/// Origins are compared as they are written: scheme, host and port, without a path.
fn allowed<'a>(origin: Option<&'a HeaderValue>, origins: &[String]) -> Option<&'a HeaderValue> {
    origin.filter(|origin| origins.iter().any(|known| known.trim_end_matches('/').as_bytes() == origin.as_bytes()))
}

/// The answer to a browser's question before the request.
pub fn preflight(headers: &HeaderMap, origins: Option<&[String]>) -> Result<HttpResponse, Problem> {
    let refused = || Problem::new(Code::OriginNotAllowed, "this origin is not one of security.cors_origins");
    // The origin itself is written by `dress`.
    allowed(headers.get(header::ORIGIN), origins.unwrap_or_default()).ok_or_else(refused)?;
    Ok(HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE))
        .finish())
}

/// The headers of every answer.
pub fn dress(headers: &mut HeaderMap, origin: Option<&HeaderValue>, origins: Option<&[String]>) {
    let Some(origins) = origins else { return };
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed(origin, origins) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id, retry-after"));
    }
}
