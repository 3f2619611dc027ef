//! Errors, limits, headers, lists, addresses, slow clients: the edge of the API over real sockets.

#[path = "support/api.rs"]
mod api;

use api::{Api, Reply, board, options};
use qcat::api::options::{Rate, ServerOptions};
use qcat::api::server::{BindError, Sockets};
use qcat::config::model::Network;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn with_board(orders: usize) -> Api {
    let api = Api::start(options());
    *api.stage.board.lock().expect("free") = Some(board(orders));
    api
}

#[test]
fn every_error_is_a_problem() {
    let api = with_board(1);
    let login = "/api/v1/auth/login";
    let auth = format!("Authorization: Bearer {}", api.token("viewer", "viewer"));
    let get = |path: &str| api.get(path, &[&auth]);
    let body = |text: &str| api.post(login, &[], text);
    let long = format!("X-Long: {}", "x".repeat(20_000));
    let big = format!("{{\"name\":\"{}\"}}", "x".repeat(2 << 20));
    for (reply, status, code) in [
        (get("/nothing"), 404, "not_found"),
        (get("/api/v1/orders/nothing"), 404, "not_found"),
        (get("/api/v1/strategies/nothing"), 404, "not_found"),
        (get("/swagger-ui/nothing"), 404, "not_found"),
        (api.ask("DELETE", "/api/v1/positions", &[&auth], None), 405, "method_not_allowed"),
        (api.ask("GET", login, &[], None), 405, "method_not_allowed"),
        (api.ask("POST", login, &[], Some(b"{}")), 415, "unsupported_media_type"),
        (body("{"), 400, "bad_json"),
        (body("[]"), 400, "bad_json"),
        (body(r#"{"name":"a","password":"b","role":"admin"}"#), 400, "bad_json"),
        (body(r#"{"name":7,"password":"b"}"#), 400, "bad_json"),
        (
            api.ask(
                "POST",
                login,
                &["Content-Type: application/json"],
                Some(b"{\"name\":\"\xff\",\"password\":\"b\"}"),
            ),
            400,
            "bad_json",
        ),
        (body(&big), 413, "body_too_large"),
        (get("/api/v1/orders?limit=0"), 400, "bad_query"),
        (get("/api/v1/orders?limit=501"), 400, "bad_query"),
        (get("/api/v1/orders?limit=-1"), 400, "bad_query"),
        (get("/api/v1/orders?colour=red"), 400, "bad_query"),
        (get("/api/v1/risk?colour=red"), 400, "bad_query"),
        (get("/api/v1/orders?cursor=nonsense"), 400, "bad_cursor"),
        (get("/api/v1/orders?symbol=%ff"), 400, "bad_encoding"),
        (get("/api/v1/orders/%c3%28"), 400, "bad_encoding"),
        (api.get("/health/live", &[&long]), 431, "headers_too_large"),
        (get("/api/v1/components"), 503, "system_unavailable"),
    ] {
        assert_eq!((reply.status, reply.problem().as_str()), (status, code), "{reply:?}");
    }
    let reply = api.ask("DELETE", "/api/v1/positions", &[&auth], None);
    assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    let reply = api.ask("PUT", "/api/v1/orders", &[&auth], None);
    assert_eq!(reply.header("allow"), Some("GET, HEAD, POST, DELETE"));
    *api.stage.board.lock().expect("free") = None;
    assert_eq!(get("/api/v1/orders").problem(), "system_unavailable");
}

#[test]
fn what_was_sent_is_not_repeated() {
    let api = Api::start(options());
    for body in [r#"{"name":"a","password":12345678901}"#, r#"{"name":"a","password":"geheim"#, r#"{"name":"geheim"}"#]
    {
        let reply = api.post("/api/v1/auth/login", &[], body);
        assert_eq!(reply.problem(), "bad_json");
        assert!(!reply.body.contains("geheim") && !reply.body.contains("12345678901"), "{reply:?}");
    }
}

#[test]
fn a_panic_is_an_answer_without_detail_and_the_server_goes_on() {
    let api = with_board(1);
    api.stage.panics.store(true, Ordering::Relaxed);
    let reply = api.read("/api/v1/orders");
    assert_eq!((reply.status, reply.problem().as_str()), (500, "internal"));
    assert!(!reply.body.contains("secret"), "{reply:?}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    api.stage.panics.store(false, Ordering::Relaxed);
    assert_eq!(api.read("/api/v1/orders").status, 200);
    let seen: Vec<u16> = api.ear.seen.lock().expect("free").iter().map(|seen| seen.status).collect();
    assert_eq!(seen, [500, 200]);
}

#[test]
fn every_answer_has_its_headers_and_its_line() {
    let api = with_board(1);
    let replies =
        [api.read("/api/v1/orders/q1-00000?"), api.get("/nothing?secret=1", &[]), api.get("/health/live", &[])];
    let mut ids = BTreeSet::new();
    for reply in &replies {
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
        ids.insert(reply.header("x-request-id").expect("an id").to_owned());
    }
    assert_eq!(ids.len(), 3);
    let seen = api.ear.seen.lock().expect("free").clone();
    let lines: Vec<_> =
        seen.iter().map(|s| (s.line.as_str(), s.route.as_deref(), s.status, s.user.as_deref())).collect();
    assert_eq!(
        lines,
        [
            ("GET /api/v1/orders/q1-00000", Some("/api/v1/orders/{client_order_id}"), 200, Some("viewer")),
            ("GET /nothing", None, 404, None),
            ("GET /health/live", Some("/health/live"), 200, None),
        ]
    );
    assert!(seen.iter().all(|s| s.remote == "127.0.0.1" && ids.contains(&s.request_id)));
}

#[test]
fn lists_come_by_page() {
    let api = with_board(250);
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let reply = api.read(&format!("/api/v1/orders?limit=60{cursor}"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        assert_eq!((&body["seq"], &body["at"]), (&json!(7), &json!("2026-11-24T02:00:00.000Z")));
        found.extend(body["items"].as_array().expect("items").iter().map(|o| o["client_order_id"].clone()));
        pages += 1;
        match &body["next"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    let expected: Vec<Value> = (0..250).map(|n| Value::from(format!("q1-{n:05}"))).collect();
    assert_eq!((found, pages), (expected, 5));
    let odd = api.read("/api/v1/orders?strategy=odd&limit=500").json();
    assert_eq!(odd["items"].as_array().map(Vec::len), Some(125));
    assert_eq!(odd["items"][0]["price"], "50000.1", "amounts are texts");
    let other = api.read(&format!("/api/v1/positions?{}", cursor.trim_start_matches('&')));
    assert_eq!(other.problem(), "bad_cursor", "a cursor of another list");
}

#[test]
fn head_is_get_without_a_body() {
    let api = with_board(1);
    let reply = api.ask("HEAD", "/health/live", &[], None);
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert!(reply.header("content-length").is_some_and(|length| length != "0"), "{reply:?}");
}

#[test]
fn each_caller_has_its_own_limit_and_probes_another() {
    let rate = Some(Rate { requests: 5, window: Duration::from_secs(600) });
    let api = Api::start(ServerOptions {
        rate,
        trusted_proxies: vec![Network::parse("127.0.0.1").expect("a network")],
        ..options()
    });
    let from = |address: &str| api.get("/api/v1/version", &[&format!("X-Forwarded-For: {address}")]).status;
    let first: Vec<u16> = (0..7).map(|_| from("203.0.113.1")).collect();
    assert_eq!(first, [200, 200, 200, 200, 200, 429, 429]);
    assert_eq!(from("203.0.113.2"), 200);
    // A user is counted by name, wherever from; another one is not.
    let auth = |role: &str| format!("Authorization: Bearer {}", api.token(role, role));
    let me = |role: &str| api.get("/api/v1/auth/me", &[&auth(role), "X-Forwarded-For: 203.0.113.1"]);
    let own: Vec<u16> = (0..6).map(|_| me("viewer").status).collect();
    assert_eq!(own, [200, 200, 200, 200, 200, 429]);
    assert_eq!(me("trader").status, 200);
    assert!(me("viewer").header("retry-after").is_some());
    for path in ["/health/live", "/metrics"] {
        assert!((0..20).all(|_| api.get(path, &["X-Forwarded-For: 203.0.113.1"]).status == 200), "{path}");
    }
    let seen = api.ear.seen.lock().expect("free").clone();
    assert_eq!(seen.first().map(|seen| seen.remote.as_str()), Some("203.0.113.1"));
}

#[test]
fn nobody_but_a_trusted_proxy_names_the_client() {
    let rate = Some(Rate { requests: 3, window: Duration::from_secs(600) });
    let api = Api::start(ServerOptions { rate, ..options() });
    let statuses: Vec<u16> = (0..5)
        .map(|n| api.get("/api/v1/version", &[&format!("X-Forwarded-For: 203.0.113.{n}"), "X-Request-Id: mine"]))
        .map(|reply| {
            assert_ne!(reply.header("x-request-id"), Some("mine"));
            reply.status
        })
        .collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[test]
fn pages_of_the_configured_origins_may_read_and_no_others() {
    let api = Api::start(ServerOptions { cors_origins: Some(vec!["https://desk.example".to_owned()]), ..options() });
    let preflight = |origin: &str| {
        let origin = format!("Origin: {origin}");
        api.ask("OPTIONS", "/api/v1/orders", &[&origin, "Access-Control-Request-Method: GET"], None)
    };
    let reply = preflight("https://desk.example");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("https://desk.example")));
    assert!(reply.header("access-control-allow-headers").is_some_and(|names| names.contains("authorization")));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    for origin in ["https://evil.example", "https://desk.example.evil.example", "http://desk.example", "null"] {
        let reply = preflight(origin);
        assert_eq!((reply.status, reply.problem().as_str()), (403, "origin_not_allowed"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
        let reply = api.get("/api/v1/version", &[&format!("Origin: {origin}")]);
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None));
    }
    let reply = api.get("/nothing", &["Origin: https://desk.example"]);
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://desk.example"), "errors can be read too");
    assert_eq!(reply.header("vary"), Some("Origin"));
    let off = Api::start(options());
    let reply = off.get("/api/v1/version", &["Origin: https://desk.example"]);
    assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), (None, None));
}

#[test]
fn metrics_are_served_on_both_ports_in_the_format_that_is_asked_for() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let api = Api::start(ServerOptions { metrics_listen: Some(any), metrics_path: "/m".to_owned(), ..options() });
    let classic = api.get("/metrics", &["Accept: text/plain"]);
    assert_eq!((classic.status, classic.header("content-type")), (200, Some("text/plain; version=0.0.4")));
    let open = api.get("/metrics", &["Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"]);
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0"));
    assert_eq!(api.get("/m", &[]).status, 404);
    let mut stream = std::net::TcpStream::connect(api.metrics.expect("a second port")).expect("connected");
    stream.write_all(b"GET /m HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    assert_eq!(Reply::read(&mut stream).body, "# one\n");
    let mut stream = std::net::TcpStream::connect(api.metrics.expect("a second port")).expect("connected");
    stream.write_all(b"GET /api/v1/version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    assert_eq!(Reply::read(&mut stream).status, 404, "the API is not there");
}

/// Reads until the other side closes; how long that took.
fn closed_after(stream: &mut std::net::TcpStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    began.elapsed()
}

#[test]
fn a_slow_sender_is_cut_off() {
    let api = Api::start(ServerOptions { read_timeout: Duration::from_millis(500), ..options() });
    let mut head = api.connect();
    head.write_all(b"GET /health/live HTTP/1.1\r\nHost").expect("sent");
    assert!(closed_after(&mut head) < Duration::from_secs(15), "half a head");
    let mut stream = api.connect();
    let text = "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
    stream.write_all(text.as_bytes()).expect("sent");
    let reply = Reply::read(&mut stream);
    assert_eq!((reply.status, reply.problem().as_str()), (408, "request_timeout"));
}

/// A client that asks for megabytes and reads none of them does not keep its connection.
#[test]
fn a_slow_reader_is_cut_off() {
    let api = Api::start(ServerOptions { write_timeout: Duration::from_millis(500), ..options() });
    *api.stage.board.lock().expect("free") = Some(board(500));
    let auth = api.token("viewer", "viewer");
    let ask = format!("GET /api/v1/orders?limit=500 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {auth}\r\n\r\n");
    let mut slow = api.connect();
    // Pipelined until the answers fill every buffer on the way.
    slow.set_nonblocking(true).expect("set");
    let until = Instant::now() + Duration::from_secs(20);
    while api.ear.connections.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    while api.ear.connections.load(Ordering::Relaxed) > 0 {
        assert!(Instant::now() < until, "the connection is still there");
        if slow.write(ask.as_bytes()).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // Others are served all the while, and one that reads is not cut.
    assert_eq!(api.read("/api/v1/orders?limit=500").json()["items"].as_array().map(Vec::len), Some(500));
}

#[test]
fn the_description_has_every_path_and_the_page_needs_nothing_from_elsewhere() {
    let api = Api::start(options());
    let document = api.get("/api/v1/openapi.json", &[]).json();
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"), "{}", document["openapi"]);
    for path in ["/api/v1/orders", "/api/v1/auth/login", "/health", "/metrics", "/api/v1/shutdown"] {
        assert!(document["paths"].get(path).is_some(), "{path}");
    }
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let answers = operation["responses"].as_object().expect("answers");
            for status in ["400", "405", "429", "500"] {
                let kind = &answers[status]["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(kind, "#/components/schemas/ProblemBody", "{method} {path} {status}");
            }
            // Described means served.
            let filled = path.replace(['{', '}'], "");
            let reply = api.ask(&method.to_uppercase(), &filled, &[], None);
            assert!(![404, 405].contains(&reply.status), "{method} {path}: {reply:?}");
        }
    }
    let references: BTreeSet<String> = references(&document).into_iter().collect();
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let page = api.get("/swagger-ui/", &[]);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html")));
    assert!(!page.body.contains("https://") && !page.body.contains("http://"), "{}", page.body);
    assert_eq!(api.get("/swagger-ui/swagger-ui-bundle.js", &[]).status, 200);
    assert!(api.get("/swagger-ui/swagger-initializer.js", &[]).body.contains("/api/v1/openapi.json"));
    assert_eq!(api.get("/swagger-ui", &[]).header("location"), Some("/swagger-ui/"));
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(to)) => vec![to.clone()],
                (_, value) => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_port_that_is_taken_and_an_open_address_are_refused_with_the_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("bound");
    let error = Sockets::bind(ServerOptions { listen: address, ..options() }).expect_err("taken").to_string();
    let port = address.port();
    assert!(error.contains(&format!("server.port: port {port}")) && error.contains("another qcat"), "{error}");
    let open = ServerOptions { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..options() };
    assert!(matches!(Sockets::bind(open.clone()), Err(BindError::Open(_))));
    let proxied = ServerOptions { trusted_proxies: vec![Network::parse("10.0.0.1").expect("a network")], ..open };
    assert!(Sockets::bind(proxied).is_ok());
}
