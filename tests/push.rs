//! Push sessions of a daemon that trades at a simulator, over real sockets.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;
#[path = "support/push.rs"]
mod push;

use inside::{World, run};
use push::Client;
use qcat::daemon::Stopped;
use qcat_actors::runtime::board::Board;
use qcat_actors::runtime::component::Component;
use qcat_core::strategy::registry::Registry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "a key of the tests, longer than 32 bytes";

async fn world(seed: u64) -> (World, SocketAddr) {
    let keyed =
        |text: String| format!("{text}jwt: {{ secret_key: \"{KEY}\" }}\nsecurity: {{ rate_limit_enabled: false }}\n");
    let exchange = daemon::exchange(seed).await;
    let world = World::configured(exchange, keyed, Arc::new(Registry::builtin()).into()).await;
    for _ in 0..200 {
        let view = world.component(Component::HttpServer).await;
        if let Some((_, address)) = view.facts.iter().find(|(name, _)| *name == "listen") {
            return (world, address.parse().unwrap());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the API does not listen");
}

/// Orders and positions as a client has them.
#[derive(Default)]
struct Copy {
    seq: u64,
    orders: BTreeMap<String, Value>,
    /// The account's quantity by symbol.
    positions: BTreeMap<String, String>,
}

const OVER: [&str; 6] = ["filled", "canceled", "rejected", "expired", "never_arrived", "settling"];

impl Copy {
    fn take(&mut self, message: &Value) {
        let seq = message["seq"].as_u64().unwrap();
        let data = &message["data"];
        match (message["topic"].as_str(), message["type"].as_str()) {
            (Some("orders"), Some(kind)) => {
                if kind == "snapshot" {
                    self.orders.clear();
                }
                for row in data.as_array().unwrap() {
                    self.order(row);
                }
            }
            (Some("positions"), Some("snapshot")) => {
                let row = |row: &Value| (text(row, "symbol"), text(row, "quantity"));
                self.positions = data["accounts"].as_array().unwrap().iter().map(row).collect();
            }
            (Some("positions"), Some("update")) => {
                for row in data.as_array().unwrap() {
                    self.positions.insert(text(row, "symbol"), text(row, "account_quantity"));
                }
            }
            other => panic!("{other:?}: {message}"),
        }
        self.seq = self.seq.max(seq);
    }

    fn order(&mut self, row: &Value) {
        let id = text(row, "client_order_id");
        if OVER.contains(&row["state"].as_str().unwrap()) {
            self.orders.remove(&id);
        } else {
            let names =
                ["account", "strategy", "symbol", "side", "price", "quantity", "filled", "state", "reduce_only"];
            let kept = names.map(|name| (name.to_owned(), number(&row[name])));
            self.orders.insert(id, Value::Object(kept.into_iter().collect()));
        }
    }

    /// What the board would make of it.
    fn of(board: &Board) -> Copy {
        let mut copy = Copy { seq: board.seq, ..Copy::default() };
        for row in &board.orders {
            copy.order(&serde_json::to_value(row).unwrap());
        }
        copy.positions = board.positions.iter().map(|row| (row.symbol.clone(), row.quantity.clone())).collect();
        copy
    }
}

/// Decimals are compared as numbers.
fn number(value: &Value) -> Value {
    value.as_str().and_then(|text| text.parse::<f64>().ok()).map_or(value.clone(), Value::from)
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_else(|| panic!("{name} in {row}")).to_owned()
}

fn open(positions: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let numbers = positions.iter().map(|(symbol, quantity)| (symbol.clone(), number(&json!(quantity))));
    numbers.filter(|(_, quantity)| *quantity != json!(0.0)).collect()
}

#[test]
fn snapshots_and_updates_come_to_what_the_board_says_also_over_a_reconnect() {
    run(async {
        let (world, at) = world(21).await;
        world.trades_on().await;
        let mut client = Client::start(at, KEY).await;
        let answer = client.subscribe(&["orders", "positions"], None).await;
        assert_eq!(answer["topics"], json!(["orders", "positions"]));
        let mut copy = Copy::default();
        let mut seen: BTreeMap<(String, u64), Value> = BTreeMap::new();
        let mut snapshots = 0;
        while snapshots < 2 || seen.len() < 60 {
            let message = client.next().await;
            copy.take(&message);
            if message["type"] == "snapshot" {
                snapshots += 1;
            } else {
                let (topic, seq) = (text(&message, "topic"), message["seq"].as_u64().unwrap());
                assert!(seen.insert((topic, seq), message).is_none(), "a message came twice");
            }
        }
        // A second one sees the same messages; it goes away and comes back.
        let first = *seen.keys().find(|(topic, _)| topic == "orders").map(|(_, seq)| seq).unwrap();
        let mut other = Client::start(at, KEY).await;
        other.subscribe(&["orders"], Some(first)).await;
        let again = other.next().await;
        assert_eq!((&again["type"], again["seq"].as_u64().unwrap() > first), (&json!("update"), true), "{again}");
        let expected = seen.range(("orders".to_owned(), first + 1)..).next().unwrap().1;
        assert_eq!(&again, expected, "it resumes with the very next one");

        drop(client);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut client = Client::start(at, KEY).await;
        client.subscribe(&["orders", "positions"], Some(copy.seq)).await;
        // Both topics go on from the same input; a board is taken in the middle.
        let board = Board::take(world.daemon.lane());
        let after = |message: &Value| message["seq"].as_u64().unwrap() > board.seq;
        let mut passed = [false; 2];
        while passed != [true; 2] {
            let message = client.next().await;
            assert_eq!(message["type"], "update", "{message}");
            passed[usize::from(message["topic"] == "orders")] |= after(&message);
            if !after(&message) {
                copy.take(&message);
            }
        }
        let truth = Copy::of(&board);
        assert_eq!(copy.orders, truth.orders);
        assert_eq!(open(&copy.positions), open(&truth.positions));

        let answer = client.subscribe(&["orders"], Some(1 << 60)).await;
        assert_eq!(answer["op"], "subscribed");
        let resync = client.until(|message| message["op"] == "resync").await;
        assert_eq!(resync, json!({"op": "resync", "topic": "orders", "reason": "unknown_seq"}));
        client.until(|message| message["topic"] == "orders" && message["type"] == "snapshot").await;
        world.stop_and_compare().await;
    });
}

#[test]
fn every_topic_tells_its_own_and_a_stop_is_announced() {
    run(async {
        let (world, at) = world(22).await;
        world.trades_on().await;
        let mut client = Client::start(at, KEY).await;
        let topics = ["market:BTCUSDT", "strategy:quick", "risk", "alerts", "system"];
        client.subscribe(&topics, None).await;
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut told: BTreeMap<(String, String), Value> = BTreeMap::new();
        let wanted: Vec<(String, String)> = topics
            .iter()
            .flat_map(|topic| ["snapshot", "update"].map(|kind| ((*topic).to_owned(), kind.to_owned())))
            // Nothing alarming happens, and components do not change.
            .filter(|(topic, kind)| kind == "snapshot" || !["alerts", "system"].contains(&topic.as_str()))
            .collect();
        while !wanted.iter().all(|key| told.contains_key(key)) {
            let message = client.next().await;
            let (topic, kind) = (text(&message, "topic"), text(&message, "type"));
            let seq = message["seq"].as_u64().unwrap();
            let before = last.insert(topic.clone(), seq);
            assert_eq!(before.is_none(), kind == "snapshot", "a snapshot comes first, and once: {message}");
            assert!(before.is_none_or(|before| before < seq), "{message}");
            assert_eq!(message.get("engine").is_some(), !topic.starts_with("market") && topic != "system", "{message}");
            told.insert((topic, kind), message);
        }
        let of = |topic: &str, kind: &str| &told[&(topic.to_owned(), kind.to_owned())]["data"];
        let market = of("market:BTCUSDT", "update");
        assert!(market["bid_price"].as_str() < market["ask_price"].as_str(), "{market}");
        assert_eq!(of("strategy:quick", "snapshot")["strategy"]["name"], "quick");
        assert_eq!(of("risk", "snapshot")["trading_ready"], true);
        assert_eq!(of("system", "snapshot")["phase"], "running");

        for (topic, code) in [("strategy:nobody", "unknown_topic"), ("market:NOSUCH", "unknown_topic")] {
            let answer = client.subscribe(&["orders", topic], None).await;
            assert_eq!((&answer["code"], &answer["topic"]), (&json!(code), &json!(topic)), "{answer}");
        }
        client.send(json!({"op": "unsubscribe", "topics": ["risk"], "id": 5})).await;
        let answer = client.until(|message| message["op"] == "unsubscribed").await;
        assert_eq!((&answer["topics"], &answer["id"]), (&json!(["risk"]), &json!(5)));
        // Operators see new numbers each second.
        let mut counted = false;
        for _ in 0..200 {
            let view = world.component(Component::WebsocketConnections).await;
            counted = view.facts.iter().any(|(name, value)| *name == "messages" && value != "0");
            if counted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(counted);

        let stopped = world.daemon.stop();
        let farewell = async {
            let bye = client.until(|message| message["op"] == "bye").await;
            assert_eq!(bye["reason"], "shutdown");
            let close = client.next().await;
            assert_eq!(close, json!({"closed": 1001, "reason": "shutdown"}));
        };
        assert_eq!(tokio::join!(stopped, farewell).0, Stopped::InTime);
    });
}

/// The end of a session.
async fn end(client: &mut Client) -> Value {
    loop {
        let message = client.next().await;
        if message.get("closed").is_some() || message.get("gone").is_some() {
            return message;
        }
    }
}

#[test]
fn a_client_that_takes_nothing_is_dropped_with_the_reason_and_the_others_lose_nothing() {
    run(async {
        let (world, at) = world(23).await;
        world.trades_on().await;
        let topics = ["orders", "positions", "risk", "strategy:quick", "strategy:trend", "system"];
        let mut good = [Client::start(at, KEY).await, Client::start(at, KEY).await];
        for client in &mut good {
            client.subscribe(&["orders", "positions"], None).await;
        }
        // Its side takes little before it pushes back.
        let mut slow = Client::start_small(at, KEY).await;
        slow.subscribe(&topics, None).await;
        let mut seen: [Vec<Value>; 2] = Default::default();
        let dropped = async {
            for _ in 0..1_200 {
                let view = world.component(Component::WebsocketConnections).await;
                if view.facts.iter().any(|(name, value)| *name == "clients" && value == "2") {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("the slow client is not dropped");
        };
        let [first, second] = &mut good;
        let [first_seen, second_seen] = &mut seen;
        let read = async |client: &mut Client, seen: &mut Vec<Value>| loop {
            seen.push(client.next().await);
        };
        tokio::select! {
            () = dropped => {}
            () = read(first, first_seen) => {}
            () = read(second, second_seen) => {}
        }
        assert_eq!(end(&mut slow).await, json!({"closed": 1008, "reason": "slow_consumer"}));
        // Both got the same, without a hole: updates of one topic are those of the other client's.
        let updates = |seen: &[Value]| -> Vec<Value> {
            seen.iter().filter(|message| message["type"] == "update").cloned().collect()
        };
        let [one, two] = seen.map(|seen| updates(&seen));
        let from = one.first().unwrap()["seq"].as_u64().max(two.first().unwrap()["seq"].as_u64());
        let until = one.last().unwrap()["seq"].as_u64().min(two.last().unwrap()["seq"].as_u64());
        let within = |all: &[Value]| -> Vec<Value> {
            all.iter().filter(|m| m["seq"].as_u64() > from && m["seq"].as_u64() < until).cloned().collect()
        };
        assert!(within(&one).len() > 100, "{}", within(&one).len());
        assert_eq!(within(&one), within(&two));
        assert_eq!(world.daemon.stop().await, Stopped::InTime);
    });
}

#[test]
fn who_shows_no_good_token_is_shown_out() {
    run(async {
        let (world, at) = world(24).await;
        let refused = |answer: &Value, code: &str| assert_eq!(answer["code"], code, "{answer}");
        let mut silent = Client::open(at).await;
        let mut forged = Client::open(at).await;
        let other = push::token("another key that nobody here knows of", Duration::from_secs(60));
        forged.send(json!({"op": "auth", "token": other})).await;
        refused(&forged.next().await, "token_invalid");
        assert_eq!(end(&mut forged).await, json!({"closed": 1008, "reason": "token_invalid"}));
        let mut early = Client::open(at).await;
        early.send(json!({"op": "subscribe", "topics": ["orders"]})).await;
        refused(&early.next().await, "unauthenticated");
        early.send(json!({"op": "ping", "id": 3})).await;
        assert_eq!(early.next().await, json!({"op": "pong", "id": 3}));
        early.send(json!({"op": "auth", "token": push::token(KEY, Duration::from_secs(2))})).await;
        assert_eq!(early.next().await["op"], "authenticated");
        early.subscribe(&["system"], None).await;
        assert_eq!(end(&mut early).await, json!({"closed": 1008, "reason": "token_expired"}));
        assert_eq!(end(&mut silent).await, json!({"closed": 1008, "reason": "auth_timeout"}));
        assert_eq!(world.daemon.stop().await, Stopped::InTime);
    });
}

#[test]
fn what_is_wrong_is_answered_clearly_and_bounded() {
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    run(async {
        let (world, at) = world(25).await;
        let mut client = Client::start(at, KEY).await;
        for (text, code) in [
            ("{", "bad_message"),
            ("[1]", "bad_message"),
            (r#"{"op":"dance"}"#, "bad_message"),
            (r#"{"op":"subscribe","topics":["orders"],"speed":9}"#, "bad_message"),
            (r#"{"op":"subscribe","topics":[7]}"#, "bad_message"),
            (r#"{"op":"subscribe","topics":["orders"],"from_seq":"1"}"#, "bad_message"),
            (r#"{"op":"subscribe","topics":["everything"]}"#, "unknown_topic"),
            (r#"{"op":"auth","token":"x"}"#, "already_authenticated"),
        ] {
            client.text(text).await;
            let answer = client.next().await;
            assert_eq!((&answer["op"], &answer["code"]), (&json!("error"), &json!(code)), "{text}: {answer}");
        }
        let names = |count: usize| (0..count).map(|n| format!("\"strategy:{n}\"")).collect::<Vec<_>>().join(",");
        client.text(&format!(r#"{{"op":"subscribe","topics":[{}]}}"#, names(65))).await;
        assert_eq!(client.next().await["code"], "too_many_topics");
        for _ in 0..8 {
            client.text("{").await;
        }
        assert_eq!(end(&mut client).await, json!({"closed": 1008, "reason": "too_many_errors"}));

        let broken = Frame::message(vec![b'"', 0xff, 0xfe, b'"'], OpCode::Data(Data::Text), true);
        let large = Message::text("x".repeat((64 << 10) + 1));
        for (message, code, reason) in [
            (Message::binary(vec![1, 2, 3]), 1003, "not_text"),
            (Message::Frame(broken), 1007, "not_utf8"),
            (large, 1009, "too_large"),
        ] {
            let mut client = Client::start(at, KEY).await;
            client.message(message).await;
            assert_eq!(end(&mut client).await, json!({"closed": code, "reason": reason}));
        }
        let mut flood = Client::start(at, KEY).await;
        for _ in 0..220 {
            flood.text(r#"{"op":"ping"}"#).await;
        }
        assert_eq!(end(&mut flood).await, json!({"closed": 1008, "reason": "too_many_requests"}));
        let connector = qcat_io::net::tls::Connector::new(None).unwrap();
        let in_url = qcat_io::net::ws::connect(&connector, &format!("ws://{at}/ws?token=x")).await;
        assert!(in_url.unwrap_err().to_string().contains("400"), "a token in the URL is refused");
        assert_eq!(world.daemon.stop().await, Stopped::InTime);
    });
}
