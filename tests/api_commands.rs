//! Commands over HTTP to a daemon that trades at a simulator: what is asked happens once, is refused with its reason, outlives
//! restarts, and is in the audit log.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;

use daemon::until;
use futures_util::future::join_all;
use qcat::api::auth::{LOCAL, now};
use qcat::config;
use qcat::daemon::{Daemon, Stopped};
use qcat::sim::RunningSim;
use qcat::wire::Composition;
use qcat_actors::runtime::component::Component;
use qcat_core::config::ParamValue;
use qcat_core::event::{RunnerState, Scope};
use qcat_core::id::{AccountIx, StrategyIx, SymbolIx};
use qcat_core::num::Rounding;
use qcat_core::strategy::registry::Registry;
use qcat_io::net::call::call;
use qcat_io::net::tls::Connector;
use qcat_io::net::url::Url;
use qcat_io::secret::jwt::Tokens;
use qcat_io::secret::password;
use qcat_io::store::{self, Filter, Micros, NoObserver, Page, Role, SqliteOptions, Store, StoreOptions};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "a key of the tests, longer than 32 bytes";
const ACCOUNT: AccountIx = AccountIx(0);
const BTC: SymbolIx = SymbolIx(0);

/// One life of a daemon, and who asks it.
struct Life {
    daemon: Daemon,
    url: Url,
    connector: Connector,
}

impl Life {
    async fn start(exchange: &RunningSim, folder: &Path) -> Life {
        let journal = folder.join("journal");
        let text = format!("{}jwt: {{ secret_key: \"{KEY}\" }}\n", daemon::configuration(exchange, &journal));
        let config = config::parse("test", &text, &[]).unwrap_or_else(|faults| panic!("{faults:?}"));
        let composition = Composition { keep_fills: true, ..Arc::new(Registry::builtin()).into() };
        let daemon = Daemon::start(&config, composition).await.unwrap();
        let life = Life {
            url: Url::parse(&format!("http://{}", address(&daemon).await), ["http", "https"]).unwrap(),
            connector: Connector::new(None).unwrap(),
            daemon,
        };
        until("it does not trust its account", || life.is_trusted()).await;
        life
    }

    fn is_trusted(&self) -> bool {
        self.daemon.lane().read(|engine| engine.gate(ACCOUNT).unwrap().is_trusted())
    }

    async fn ask(&self, role: &str, request: (&str, &str), key: Option<&str>, body: Value) -> (u16, Value) {
        let tokens = Tokens::new(&SecretString::from(KEY)).unwrap();
        let token = tokens.issue(LOCAL, role, 0, now(), Duration::from_secs(60)).0;
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let within = Duration::from_secs(30);
        let answer = call(&self.connector, &self.url, request, &headers, body, within).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        (answer.status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{request:?}: {error}: {text}")))
    }

    /// Asks as a trader; the answer must have this status.
    async fn trader(&self, status: u16, request: (&str, &str), key: Option<&str>, body: Value) -> Value {
        let (found, answer) = self.ask("trader", request, key, body).await;
        assert_eq!(found, status, "{request:?}: {answer}");
        answer
    }

    /// Until no strategy acts any more.
    async fn stop_strategies(&self) {
        for (at, name) in ["quick", "trend"].into_iter().enumerate() {
            self.trader(202, ("POST", &format!("/api/v1/strategies/{name}/stop")), None, Value::Null).await;
            let strategy = StrategyIx(at as u16 + 1);
            let state = || self.daemon.lane().read(|engine| engine.runner(strategy).unwrap().state());
            until("it does not stop", || matches!(state(), RunnerState::Stopped(_))).await;
        }
        until("orders stay", || self.open().is_empty()).await;
    }

    fn open(&self) -> Vec<String> {
        let own = |engine: &qcat_core::engine::Engine| {
            engine.desk(ACCOUNT).unwrap().orders().map(|order| order.key.to_string()).collect()
        };
        self.daemon.lane().read(own)
    }

    fn own_fills(&self) -> usize {
        self.daemon.fills().iter().filter(|fill| fill.strategy == StrategyIx::EXTERNAL).count()
    }

    /// What `external` holds, in lots of the instrument's own scale.
    fn held(&self) -> String {
        self.daemon.lane().read(|engine| {
            let position = engine.ledger(ACCOUNT).unwrap().virtual_position(StrategyIx::EXTERNAL, BTC);
            let instrument = engine.universe().instrument(BTC).unwrap();
            position.map_or_else(|| "0".to_owned(), |position| instrument.net_text(position.quantity))
        })
    }

    /// A price on the tick, this share of the last fill's.
    fn price(&self, share: f64) -> String {
        let last = self.daemon.fills().last().unwrap().price;
        self.daemon.lane().read(|engine| {
            let instrument = engine.universe().instrument(BTC).unwrap();
            let price = instrument.price_from(instrument.price_f64(last) * share, Rounding::Nearest).unwrap();
            instrument.price_text(price)
        })
    }

    /// Reads the audit log as an admin, page by page, until it has this many lines.
    async fn audit_by_page(&self, lines: usize) {
        for _ in 0..600 {
            let (mut seqs, mut path) = (Vec::new(), "/api/v1/audit?limit=5".to_owned());
            loop {
                let (status, page) = self.ask("admin", ("GET", &path), None, Value::Null).await;
                assert_eq!(status, 200, "{page}");
                seqs.extend(page["items"].as_array().unwrap().iter().map(|row| row["seq"].as_i64().unwrap()));
                let Some(next) = page["next"].as_str() else { break };
                path = format!("/api/v1/audit?limit=5&cursor={next}");
            }
            assert!(seqs.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {seqs:?}");
            if seqs.len() == lines {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the audit log does not get {lines} lines");
    }

    async fn end(self) {
        assert_eq!(self.daemon.stop().await, Stopped::InTime);
    }
}

async fn address(daemon: &Daemon) -> String {
    for _ in 0..200 {
        let tree = daemon.system().tree().await.unwrap();
        let view = tree.components.into_iter().find(|view| view.name == Component::HttpServer).unwrap();
        if let Some((_, address)) = view.facts.iter().find(|(name, _)| *name == "listen") {
            return address.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the API does not listen");
}

fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

fn market(side: &str, quantity: &str) -> Value {
    json!({ "account": "sim", "symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity })
}

fn limit(price: &str) -> Value {
    json!({ "account": "sim", "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": price })
}

const ORDERS: (&str, &str) = ("POST", "/api/v1/orders");
const ACKED: (&str, &str) = ("POST", "/api/v1/orders?wait=ack");

async fn database(folder: &Path) -> Arc<dyn Store> {
    let second = Duration::from_secs(5);
    let path = folder.join("journal.db");
    let options = SqliteOptions { path, readers: 1, acquire_timeout: second, statement_timeout: second };
    store::open(StoreOptions::Sqlite(options), Arc::new(NoObserver)).await.unwrap()
}

/// The audit log, oldest first.
async fn audit(folder: PathBuf) -> Vec<store::AuditRow> {
    let store = database(&folder).await;
    let mut rows = store.audit(Filter::default(), Page { limit: 500, cursor: None }).await.unwrap().rows;
    store.close().await.unwrap();
    rows.reverse();
    rows
}

#[test]
fn orders_are_placed_once_changed_and_cancelled_and_all_of_it_is_audited() {
    run(async {
        let (folder, exchange) = (tempfile::tempdir().unwrap(), daemon::exchange(15).await);
        let life = Life::start(&exchange, folder.path()).await;
        life.stop_strategies().await;

        let (first, again) = (market("BUY", "0.01"), market("BUY", "0.010"));
        let bought = life.trader(200, ACKED, Some("k1"), first.clone()).await;
        assert_eq!(
            (&bought["order"]["state"], &bought["order"]["filled"]),
            (&json!("filled"), &json!("0.01")),
            "{bought}"
        );
        assert!(bought["order"]["venue_order_id"].is_i64() && bought["repeated"] == json!(false), "{bought}");
        until("no position", || life.held() == "0.01").await;
        let repeat = life.trader(200, ACKED, Some("k1"), first.clone()).await;
        assert_eq!((&repeat["seq"], &repeat["client_order_id"]), (&bought["seq"], &bought["client_order_id"]));
        assert_eq!((&repeat["repeated"], &repeat["order"]["state"]), (&json!(true), &json!("filled")));
        let other = life.trader(409, ORDERS, Some("k1"), again).await;
        assert_eq!(other["code"], "idempotency_conflict");
        let many = join_all((0..8).map(|_| life.trader(200, ACKED, Some("k2"), first.clone()))).await;
        assert!(many.iter().all(|answer| answer["client_order_id"] == many[0]["client_order_id"]), "{many:?}");
        assert_eq!(many.iter().filter(|answer| answer["repeated"] == json!(false)).count(), 1);
        until("it bought not once more", || life.held() == "0.02").await;
        assert_eq!(life.own_fills(), 2);

        let off = limit(&format!("{}.05", life.price(0.98).split('.').next().unwrap()));
        let refused = life.trader(422, ORDERS, Some("k3"), off.clone()).await;
        let refusal = &refused["refusal"];
        assert_eq!((&refused["code"], &refusal["code"]), (&json!("refused"), &json!("price_filter")), "{refused}");
        assert_eq!((&refusal["value"], &refusal["bound"]), (&off["price"], &json!("0.1")), "{refused}");
        assert_eq!(&life.trader(422, ORDERS, Some("k3"), off).await["refusal"], refusal);

        let resting = life.trader(200, ACKED, None, limit(&life.price(0.98))).await;
        assert_eq!(resting["order"]["state"], "working", "{resting}");
        let id = resting["client_order_id"].as_str().unwrap().to_owned();
        let (path, lower) = (format!("/api/v1/orders/{id}"), life.price(0.97));
        life.trader(202, ("PATCH", &path), None, json!({ "price": lower })).await;
        let rests_at = |price: &str| {
            let orders = exchange.server.exchange(|exchange, _, _| {
                format!("{:?}", exchange.venue().look(ACCOUNT, &qcat_core::command::Query::OpenOrders))
            });
            let mantissa = life
                .daemon
                .lane()
                .read(|engine| engine.universe().instrument(BTC).unwrap().parse_price(price).unwrap());
            orders.contains(&format!("price: {mantissa:?}"))
        };
        until("the exchange does not change it", || rests_at(&lower)).await;
        let cancelled = life.trader(200, ("DELETE", &format!("{path}?wait=ack")), None, Value::Null).await;
        assert_eq!(cancelled["order"]["state"], "canceled", "{cancelled}");
        assert_eq!(life.trader(409, ("DELETE", &path), None, Value::Null).await["code"], "conflict");
        life.trader(404, ("DELETE", "/api/v1/orders/q1-0-0-1"), None, Value::Null).await;

        life.trader(200, ACKED, None, limit(&life.price(0.98))).await;
        let stop = json!({ "account": "sim", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
            "quantity": "0.01", "stop_price": life.price(0.95), "reduce_only": true });
        let stop = life.trader(200, ACKED, None, stop).await;
        assert_eq!(stop["order"]["state"], "working", "{stop}");
        assert_eq!(life.open().len(), 2);
        life.trader(202, ("DELETE", "/api/v1/orders?account=sim&symbol=BTCUSDT"), None, Value::Null).await;
        until("not all orders are cancelled", || life.open().is_empty()).await;
        life.trader(202, ("POST", "/api/v1/accounts/sim/reconcile"), None, Value::Null).await;
        life.end().await;

        let life = Life::start(&exchange, folder.path()).await;
        let repeat = life.trader(202, ORDERS, Some("k1"), first.clone()).await;
        assert_eq!((&repeat["seq"], &repeat["client_order_id"]), (&bought["seq"], &bought["client_order_id"]));
        assert_eq!(life.trader(409, ORDERS, Some("k1"), market("SELL", "0.01")).await["code"], "idempotency_conflict");
        assert_eq!((life.held().as_str(), life.own_fills()), ("0.02", 0));
        life.trader(200, ACKED, None, market("SELL", "0.02")).await;
        until("it is not sold", || life.held() == "0").await;
        life.audit_by_page(13).await;
        life.end().await;

        let rows = audit(folder.path().to_owned()).await;
        let told: Vec<(&str, &str)> = rows.iter().map(|row| (&*row.command, &*row.outcome)).collect();
        let accepted = |command| (command, "accepted");
        let expected = [
            accepted("strategy_stop"),
            accepted("strategy_stop"),
            accepted("order_place"),
            accepted("order_place"),
            ("order_place", "price_filter"),
            accepted("order_place"),
            accepted("order_modify"),
            accepted("order_cancel"),
            accepted("order_place"),
            accepted("order_place"),
            accepted("orders_cancel_all"),
            accepted("reconcile"),
            accepted("order_place"),
        ];
        assert_eq!(told, expected);
        assert!(rows.iter().all(|row| (&*row.actor, &*row.role, &*row.source) == (LOCAL, "trader", "127.0.0.1")));
        assert!(rows.windows(2).all(|pair| pair[0].seq < pair[1].seq && pair[0].at <= pair[1].at));
        let placed: Value = serde_json::from_str(&rows[2].arguments).unwrap();
        assert_eq!(
            placed,
            json!({ "account": "sim", "symbol": "BTCUSDT", "side": "buy", "type": "market",
            "quantity": "0.01", "reduce_only": false, "client_order_id": bought["client_order_id"] })
        );
        assert_eq!((rows[2].idempotency_key.as_deref(), rows[2].seq), (Some("k1"), bought["seq"].as_i64().unwrap()));
    });
}

#[test]
fn a_wrong_body_is_refused_with_the_names_of_what_is_wrong() {
    run(async {
        let (folder, exchange) = (tempfile::tempdir().unwrap(), daemon::exchange(16).await);
        let (store, secret) = (database(folder.path()).await, SecretString::from("correct horse battery"));
        store.add_user("ann", password::hash(&secret).unwrap(), Role::Trader, Micros::new(0)).await.unwrap();
        store.close().await.unwrap();
        let life = Life::start(&exchange, folder.path()).await;
        let with = |change: Value| {
            let mut order = market("BUY", "0.01");
            order.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            order
        };
        let (params, switch) = (("PUT", "/api/v1/strategies/quick/params"), ("POST", "/api/v1/risk/kill-switch"));
        for (request, body, names) in [
            (ORDERS, json!({}), "account: missing; symbol: missing; side: missing"),
            (ORDERS, with(json!({ "colour": "red" })), "unknown field `colour`"),
            (ORDERS, with(json!({ "quantity": 0.01 })), "quantity: a number in quotes"),
            (ORDERS, with(json!({ "quantity": "1e3" })), "quantity: a decimal text"),
            (ORDERS, with(json!({ "quantity": "-1" })), "quantity: it must not be below zero"),
            (ORDERS, with(json!({ "quantity": "0.0001" })), "quantity: multiples of 0.001 are allowed"),
            (ORDERS, with(json!({ "quantity": null })), "quantity: missing"),
            (ORDERS, with(json!({ "side": "LONG" })), "side: allowed are BUY, SELL"),
            (ORDERS, with(json!({ "type": "ICEBERG" })), "type: allowed are LIMIT, MARKET, STOP"),
            (ORDERS, with(json!({ "price": "1", "stop_price": "2" })), "price: only with LIMIT"),
            (ORDERS, with(json!({ "close_position": true })), "close_position: only with"),
            (ORDERS, with(json!({ "reduce_only": "yes" })), "reduce_only: true or false"),
            (ORDERS, with(json!({ "account": "other" })), "account: there is none named `other`; known: sim"),
            (ORDERS, with(json!({ "symbol": "btcusdt" })), "symbol: the exchange lists no `btcusdt`"),
            (("POST", "/api/v1/orders?wait=fill"), market("BUY", "0.01"), "wait: allowed is only `ack`"),
            (params, json!({ "sample_milis": 20 }), "unknown parameter `sample_milis` (did you mean `sample_millis`?)"),
            (params, json!({ "sample_millis": -1 }), "parameter `sample_millis`: -1 is out of range; allowed:"),
            (params, json!({ "sample_millis": [] }), "sample_millis: a number, a word"),
            (switch, json!({ "scope": "world" }), "scope: allowed are all, account, symbol, strategy"),
            (switch, json!({ "scope": "account" }), "name: missing"),
        ] {
            let answer = life.trader(400, request, None, body).await;
            let detail = answer["detail"].as_str().unwrap();
            assert!(detail.contains(names), "{request:?}: {detail}");
        }
        let long = "k".repeat(65);
        let answer = life.trader(400, ORDERS, Some(&long), market("BUY", "0.01")).await;
        assert!(answer["detail"].as_str().unwrap().starts_with("Idempotency-Key"), "{answer}");
        life.trader(404, ("POST", "/api/v1/strategies/slow/start"), None, Value::Null).await;
        for request in [
            ("DELETE", "/api/v1/risk/kill-switch?scope=all"),
            ("POST", "/api/v1/components/database/restart"),
            ("POST", "/api/v1/shutdown"),
        ] {
            assert_eq!(life.trader(403, request, None, json!({})).await["code"], "forbidden");
        }
        let (status, answer) = life.ask("viewer", ORDERS, None, market("BUY", "0.01")).await;
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")));
        assert_eq!(life.own_fills(), 0);
        for (password, status) in [("correct horse battery", 200), ("another horse battery", 401)] {
            let login = json!({ "name": "ann", "password": password });
            assert_eq!(life.ask("viewer", ("POST", "/api/v1/auth/login"), None, login).await.0, status);
        }
        life.end().await;
        let rows = audit(folder.path().to_owned()).await;
        let told: Vec<(&str, &str, &str)> = rows.iter().map(|r| (&*r.command, &*r.actor, &*r.role)).collect();
        assert_eq!(told, [("login", "ann", "trader")], "what is not understood reaches no engine");
    });
}

#[test]
fn the_kill_switch_and_parameters_outlive_a_restart_and_a_stop_is_noted() {
    run(async {
        let (folder, exchange) = (tempfile::tempdir().unwrap(), daemon::exchange(17).await);
        let life = Life::start(&exchange, folder.path()).await;
        let given = json!({ "sample_millis": 25, "fair_samples": 4, "entry_sigmas": 0.2, "entry_ticks_min": 1,
            "requote_ticks": 1, "rest_secs": 0, "requote": "modify" });
        life.trader(202, ("PUT", "/api/v1/strategies/quick/params"), None, given).await;
        let admin = |request: (&'static str, &'static str), body| life.ask("admin", request, None, body);
        let runs = || {
            let state = |ix| life.daemon.lane().read(|engine| engine.runner(StrategyIx(ix)).unwrap().state());
            state(1) == RunnerState::Running && state(2) == RunnerState::Running
        };
        until("it does not run", runs).await;
        let (status, answer) = admin(("POST", "/api/v1/components/strategy_runners/restart"), Value::Null).await;
        assert_eq!(status, 202, "{answer}");
        until("a healthy strategy does not come back", runs).await;
        let before = life.daemon.fills().len();
        until("it does not trade on", || life.is_trusted() && life.daemon.fills().len() > before).await;
        assert_eq!(admin(("POST", "/api/v1/components/risk_engine/restart"), Value::Null).await.0, 409);
        assert_eq!(admin(("POST", "/api/v1/components/strategy_runners/restart?part=no"), Value::Null).await.0, 404);
        assert_eq!(admin(("DELETE", "/api/v1/risk/kill-switch?scope=all"), Value::Null).await.0, 409);

        life.trader(202, ("POST", "/api/v1/risk/kill-switch"), Some("kill"), json!({ "scope": "all" })).await;
        assert!(life.daemon.lane().latch().is_set());
        let refused = life.trader(422, ORDERS, None, market("BUY", "0.01")).await;
        assert_eq!(refused["refusal"]["code"], "halted");
        life.end().await;

        let life = Life::start(&exchange, folder.path()).await;
        let halted = || life.daemon.lane().read(|engine| engine.risk().view().halts);
        assert!(halted().iter().any(|(scope, _)| *scope == Scope::All), "{:?}", halted());
        let param = life.daemon.lane().read(|e| e.config().strategies[0].params.get("sample_millis").cloned());
        assert_eq!(param, Some(ParamValue::Int(25)));
        let refused = life.trader(422, ORDERS, None, market("BUY", "0.01")).await;
        assert_eq!(refused["refusal"]["code"], "halted");
        let request = ("DELETE", "/api/v1/risk/kill-switch?scope=all");
        assert_eq!(life.ask("admin", request, None, Value::Null).await.0, 202);
        until("it stays halted", || halted().is_empty()).await;
        life.trader(200, ACKED, None, market("BUY", "0.01")).await;
        let (status, _) = life.ask("admin", ("POST", "/api/v1/shutdown"), None, json!({ "mode": "graceful" })).await;
        assert_eq!(status, 202);
        assert_eq!(life.daemon.system().stop_wanted().await, "asked for by :local over HTTP");
        life.end().await;
        let rows = audit(folder.path().to_owned()).await;
        let told: Vec<(&str, &str)> = rows.iter().map(|row| (&*row.command, &*row.role)).collect();
        let expected = [
            ("strategy_params", "trader"),
            ("component_restart", "admin"),
            ("component_restart", "admin"),
            ("component_restart", "admin"),
            ("kill_switch_on", "trader"),
            ("order_place", "trader"),
            ("order_place", "trader"),
            ("kill_switch_off", "admin"),
            ("order_place", "trader"),
            ("shutdown", "admin"),
        ];
        assert_eq!(told, expected);
        assert_eq!(&*rows[1].arguments, r#"{"target":"strategy_runners"}"#);
        assert_eq!(&*rows[4].arguments, r#"{"scope":"all"}"#);
    });
}
