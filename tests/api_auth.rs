//! Who may ask for what, over real sockets.

#[path = "support/api.rs"]
mod api;

use api::{Api, KEY, PASSWORD, board, now, options, tokens};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn me(api: &Api, token: &str) -> (u16, String) {
    let reply = api.get("/api/v1/auth/me", &[&bearer(token)]);
    let said = if reply.status == 200 { reply.json()["role"].clone() } else { Value::from(reply.problem()) };
    (reply.status, said.as_str().expect("a word").to_owned())
}

fn login(api: &Api, name: &str, password: &str) -> api::Reply {
    api.post("/api/v1/auth/login", &[], &json!({ "name": name, "password": password }).to_string())
}

#[test]
fn a_login_gives_a_token_that_works() {
    let api = Api::start(options());
    let reply = login(&api, "trader", PASSWORD);
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = reply.json();
    assert_eq!((&body["role"], &body["token_type"]), (&json!("trader"), &json!("Bearer")));
    let token = body["token"].as_str().expect("a token");
    assert_eq!(me(&api, token), (200, "trader".to_owned()));
    // It is what the issue says: signed with the configured key, with every claim.
    let claims = tokens(KEY).read(token, now()).expect("good");
    assert_eq!((claims.sub.as_str(), claims.iss.as_str(), claims.exp - claims.iat), ("trader", "qcat", 24 * 3_600));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[test]
fn a_failed_login_does_not_tell_why() {
    let api = Api::start(options());
    api.users.change("admin", |user| user.disabled = true);
    let wrong =
        [("trader", "another password"), ("nobody", PASSWORD), ("admin", PASSWORD), ("", ""), ("a\u{0}b", PASSWORD)];
    let mut said = wrong.map(|(name, password)| {
        let reply = login(&api, name, password);
        assert_eq!((reply.status, reply.problem().as_str()), (401, "login_failed"));
        let mut body = reply.json();
        body["request_id"] = Value::Null;
        body.to_string()
    });
    said.sort();
    assert_eq!(said.first(), said.last(), "all the same");
    api.users.away.store(true, Ordering::Relaxed);
    let reply = login(&api, "trader", PASSWORD);
    assert_eq!((reply.status, reply.problem().as_str()), (503, "store_unavailable"));
}

#[test]
fn logins_are_limited_even_where_nothing_else_is() {
    let api = Api::start(options());
    let statuses: Vec<u16> = (0..12).map(|_| login(&api, "nobody", "a wrong password").status).collect();
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    let reply = login(&api, "nobody", "a wrong password");
    assert_eq!(reply.problem(), "too_many_requests");
    assert!(reply.header("retry-after").and_then(|s| s.parse::<u64>().ok()).is_some_and(|s| s > 0), "{reply:?}");
}

#[test]
fn tokens_that_are_not_ours_are_refused() {
    let api = Api::start(options());
    let issue = |key: &str, name: &str, role: &str, version: i64, at: u64, life: Duration| {
        tokens(key).issue(name, role, version, at, life).0.expose_secret().to_owned()
    };
    let good = issue(KEY, "admin", "admin", 1, now(), HOUR);
    assert_eq!(me(&api, &good), (200, "admin".to_owned()));
    let foreign = issue("another key that has more than 32 bytes", "admin", "admin", 1, now(), HOUR);
    let old = issue(KEY, "admin", "admin", 1, now() - 7_200, HOUR);
    let none = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).expect("claims"));
    let stranger = issue(KEY, "stranger", "admin", 1, now(), HOUR);
    let before = issue(KEY, "admin", "admin", 0, now(), HOUR);
    // One that says to be made on this machine, but for longer than those are.
    let local = issue(KEY, ":local", "admin", 0, now(), HOUR);
    for (token, code) in [
        (&foreign, "token_invalid"),
        (&old, "token_expired"),
        (&none, "token_invalid"),
        (&stranger, "token_invalid"),
        (&before, "token_invalid"),
        (&local, "token_invalid"),
        (&"nonsense".to_owned(), "token_invalid"),
    ] {
        assert_eq!(me(&api, token), (401, code.to_owned()), "{token}");
    }
    let local = issue(KEY, ":local", "viewer", 0, now(), Duration::from_secs(60));
    assert_eq!(me(&api, &local), (200, "viewer".to_owned()));
    for header in ["Authorization: Basic YTpi", "Authorization: Bearer", "Authorization: Bearer  "] {
        let reply = api.get("/api/v1/auth/me", &[header]);
        assert_eq!((reply.status, reply.problem().as_str()), (401, "token_invalid"));
    }
    let reply = api.get("/api/v1/auth/me", &[]);
    assert_eq!((reply.status, reply.problem().as_str()), (401, "token_missing"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"qcat\""));
    // The role is the one that the user has now, not the one that the token remembers.
    let raised = issue(KEY, "viewer", "admin", 1, now(), HOUR);
    assert_eq!(me(&api, &raised), (200, "viewer".to_owned()));
}

#[test]
fn a_change_of_a_user_voids_the_tokens_within_seconds() {
    let api = Api::start(options());
    let (viewer, trader) = (api.token("viewer", "viewer"), api.token("trader", "trader"));
    assert_eq!([me(&api, &viewer).0, me(&api, &trader).0], [200, 200]);
    api.users.change("viewer", |user| user.disabled = true);
    api.users.change("trader", |user| user.token_version += 1);
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while [me(&api, &viewer).0, me(&api, &trader).0] != [401, 401] {
        assert!(std::time::Instant::now() < until, "the tokens live on");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn without_the_database_what_was_known_last_holds() {
    let api = Api::start(options());
    let (known, unknown) = (api.token("viewer", "viewer"), api.token("trader", "trader"));
    assert_eq!(me(&api, &known).0, 200);
    api.users.away.store(true, Ordering::Relaxed);
    std::thread::sleep(qcat::api::auth::FRESH);
    assert_eq!(me(&api, &known).0, 200);
    assert_eq!(me(&api, &unknown), (503, "store_unavailable".to_owned()));
}

/// Every path against every role: what is open, what needs a token, what needs more.
#[test]
fn every_path_asks_for_the_role_that_it_should() {
    let api = Api::start(options());
    *api.stage.board.lock().expect("free") = Some(board(1));
    let open = ["/health", "/health/live", "/health/ready", "/metrics", "/api/v1/version", "/api/v1/auth/login"];
    let document = api.get("/api/v1/openapi.json", &[]).json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 15, "{paths:?}");
    let mut commands = 0;
    // A push session shows its token in its first message: `tests/push.rs`.
    for (path, methods) in paths.iter().filter(|(path, _)| *path != "/ws") {
        for (method, operation) in methods.as_object().expect("methods") {
            let (method, filled) = (method.to_uppercase(), path.replace(['{', '}'], ""));
            let body = ["POST", "PUT", "PATCH"].contains(&method.as_str()).then_some(&b"{}"[..]);
            let ask = |headers: &[&str]| {
                api.ask(&method, &filled, &[&["Content-Type: application/json"], headers].concat(), body)
            };
            let secured = operation.get("security").is_some();
            assert_eq!(secured, !open.contains(&path.as_str()), "{path}");
            let statuses: Vec<u16> = std::iter::once(ask(&[]))
                .chain(["viewer", "trader", "admin"].map(|role| ask(&[&bearer(&api.token(role, role))])))
                .map(|reply| reply.status)
                .collect();
            let told = operation["description"].as_str().unwrap_or_default();
            let admin = path == "/api/v1/audit" || told.starts_with("Needs the role admin");
            // Without a token, and as each role.
            let refused = match (secured, admin, told.starts_with("Needs the role trader")) {
                (false, ..) => [false; 4],
                (_, true, _) => [true, true, true, false],
                (_, _, true) => [true, true, false, false],
                _ => [true, false, false, false],
            };
            let expected = |at: usize| if at == 0 { 401 } else { 403 };
            for (at, (status, refused)) in statuses.iter().zip(refused).enumerate() {
                let role_refused = [401, 403].contains(status);
                assert!(
                    role_refused == refused && (!refused || *status == expected(at)),
                    "{method} {path}: {statuses:?}"
                );
            }
            commands += usize::from(refused[1]);
        }
    }
    assert_eq!(commands, 13, "commands and the audit log");
}

#[test]
fn only_an_admin_stops_the_daemon() {
    let api = Api::start(options());
    let ask = |role: &str, body: &str| api.post("/api/v1/shutdown", &[&bearer(&api.token(role, role))], body);
    assert_eq!(ask("trader", r#"{"mode":"graceful"}"#).problem(), "forbidden");
    assert_eq!(ask("admin", r#"{"mode":"force"}"#).problem(), "conflict");
    assert_eq!(ask("admin", r#"{"mode":"quick"}"#).problem(), "bad_json");
    assert!(api.stage.stops.lock().expect("free").is_empty());
    assert_eq!(ask("admin", r#"{"mode":"graceful"}"#).status, 202);
    let stops = api.stage.stops.lock().expect("free").clone();
    assert_eq!(stops, [("asked for by admin over HTTP".to_owned(), false)]);
}
