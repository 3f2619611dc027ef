//! The metrics' page, in the classic text format or as OpenMetrics, whichever the scraper asks for.

use super::error::Problem;
use super::openapi::Limited;
use super::state::ApiState;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

/// Tells the metrics.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "the metrics", content_type = "text/plain", body = String),
    (status = 404, description = "they are not measured"), Limited))]
pub async fn metrics(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let metrics = state.watch.metrics(accept).await;
    let (kind, text) = metrics.ok_or_else(|| Problem::not_found("metrics are not measured"))?;
    Ok(HttpResponse::Ok().content_type(kind).insert_header((header::VARY, "Accept")).body(text))
}
