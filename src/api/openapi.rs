//! The API's description, generated from the handlers, and the page that shows it. Nothing of it comes from elsewhere.

use super::error::{Code, PROBLEM_JSON, ProblemBody, RefusalBody};
use super::state::ApiState;
use super::{commands, health, history, login, metrics, orders, push, reads, system};
use actix_web::{HttpResponse, web};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi};

/// Where the description is served.
pub const PATH: &str = "/api/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(title = "QCAT", description = "A trading daemon for crypto derivatives. Amounts are decimal texts, times RFC 3339 in UTC; what is not known is null. Errors are problems (RFC 9457) with a stable code."),
    paths(
        health::health, health::live, health::ready, metrics::metrics,
        system::version, login::login, login::me,
        reads::strategies, reads::strategy, orders::orders, orders::order, reads::positions, reads::accounts,
        reads::account, reads::risk, reads::journal,
        history::orders, history::trades, history::decisions, history::audit,
        system::components, system::component, system::shutdown,
        commands::orders::place, commands::orders::modify, commands::orders::cancel, commands::orders::cancel_all,
        commands::strategies::start, commands::strategies::stop, commands::strategies::params,
        commands::control::kill, commands::control::resume, commands::control::reconcile, commands::control::restart,
        commands::control::shutdown,
        push::session::connect,
    ),
    components(schemas(ProblemBody, RefusalBody)),
    modifiers(&Bearer),
    tags(
        (name = "health", description = "For people, balancers and supervisors"),
        (name = "auth", description = "Tokens"),
        (name = "trading", description = "What the engine believes"),
        (name = "commands", description = "What traders and admins may ask for; each is journaled and audited"),
        (name = "history", description = "What the database has"),
        (name = "system", description = "The daemon"),
        (name = "push", description = "Snapshots and updates over a WebSocket"),
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

fn problems(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut words: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes {
        words.entry(code.status().as_u16()).or_default().push(code.word());
    }
    let answer = |words: Vec<&str>| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
        RefOr::T(ResponseBuilder::new().description(words.join(", ")).content(PROBLEM_JSON, content).build())
    };
    words.into_iter().map(|(status, words)| (status.to_string(), answer(words))).collect()
}

/// What any path may answer with.
const ANY: [Code; 7] = [
    Code::BadRequest,
    Code::BadEncoding,
    Code::MethodNotAllowed,
    Code::TooManyRequests,
    Code::HeadersTooLarge,
    Code::Internal,
    Code::OriginNotAllowed,
];

/// The errors of a path that asks for no token.
pub struct Limited;

impl IntoResponses for Limited {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&ANY)
    }
}

/// The errors of every other path.
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let own = [
            Code::BadJson,
            Code::BadQuery,
            Code::BadValue,
            Code::BadCursor,
            Code::TokenMissing,
            Code::TokenInvalid,
            Code::TokenExpired,
            Code::LoginFailed,
            Code::Forbidden,
            Code::NotFound,
            Code::RequestTimeout,
            Code::Conflict,
            Code::IdempotencyConflict,
            Code::Refused,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
            Code::StoreUnavailable,
            Code::SystemUnavailable,
            Code::LoginBusy,
            Code::QueueFull,
            Code::JournalUnavailable,
            Code::NotConfirmed,
        ];
        problems(&[&ANY[..], &own].concat())
    }
}

/// The description, as it is sent.
pub fn document() -> web::Bytes {
    let text = Document::openapi().to_json().expect("the description is plain data");
    web::Bytes::from(text)
}

/// Serves the description.
pub async fn serve(state: web::Data<ApiState>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(state.openapi.clone())
}

/// Serves the page that shows it.
pub async fn page(path: web::Path<String>) -> HttpResponse {
    static CONFIG: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> =
        LazyLock::new(|| Arc::new(utoipa_swagger_ui::Config::new([PATH])));
    match utoipa_swagger_ui::serve(&path, CONFIG.clone()) {
        Ok(Some(file)) => HttpResponse::Ok().content_type(file.content_type).body(file.bytes.into_owned()),
        Ok(None) | Err(_) => HttpResponse::NotFound().finish(),
    }
}
