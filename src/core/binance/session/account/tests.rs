//! Scripted exchanges: what comes in, what goes out.

use super::*;
use crate::binance::instruments;
use crate::id::{ClientOrderId, OrderKey, SymbolIx};
use crate::instrument::Universe;
use crate::num::{Price, Quantity, Side};
use crate::order::{Conditional, NewOrder, OrderIntent, PositionSide, Terms, TimeInForce, Trigger, WorkingType};
use proptest::prelude::*;

mod clock;
mod mute;

const ACCOUNT: AccountIx = AccountIx(0);

/// A session at a time, with everything that it wanted since the last look.
struct Script {
    session: AccountSession,
    weight: Rc<RefCell<WeightLimit>>,
    universe: Universe,
    now: Ts,
    out: Vec<Action>,
}

impl Script {
    fn new() -> Script {
        let options = AccountOptions {
            account: ACCOUNT,
            symbols: vec![SymbolIx(0)],
            ws_private_url: "wss://x/private".into(),
            recv_window: Span::from_secs(5),
            report_timeout: Span::from_secs(3),
            clock_offset_max: Span::from_secs(5),
            seed: 1,
        };
        let weight = Rc::new(RefCell::new(WeightLimit::new()));
        let session = AccountSession::new(options, weight.clone());
        let universe = instruments::builtin_universe().expect("sound");
        Script { session, weight, universe, now: Ts::from_millis(1_790_000_000_000), out: Vec::new() }
    }

    /// After the start: offset measured, key there, link open.
    fn up() -> Script {
        let mut script = Script::new();
        script.start();
        script.answer_time(0);
        script.answer_key();
        script.give(Incoming::LinkUp(PRIVATE));
        script.out.clear();
        script
    }

    fn start(&mut self) {
        let world = World { now: self.now, universe: &self.universe };
        self.session.start(&world, &mut self.out);
    }

    fn give(&mut self, incoming: Incoming<'_>) {
        let world = World { now: self.now, universe: &self.universe };
        self.session.handle(incoming, &world, &mut self.out);
    }

    fn command(&mut self, id: u64, kind: CommandKind) {
        let world = World { now: self.now, universe: &self.universe };
        let command = VenueCommand { id: CommandId(id), account: ACCOUNT, kind };
        self.session.command(command, &world, &mut self.out);
    }

    fn reply(&mut self, id: RequestId, status: u16, body: &str) {
        let headers = ReplyHeaders::default();
        self.give(Incoming::Reply { id, status, headers, body: body.as_bytes() });
    }

    /// Goes on to the next thing that is due.
    fn pass(&mut self) {
        self.now = self.session.next_timeout().expect("something is due").max(self.now);
        let world = World { now: self.now, universe: &self.universe };
        self.session.on_time(&world, &mut self.out);
    }

    /// The requests since the last look.
    fn requests(&mut self) -> Vec<HttpRequest> {
        let out = std::mem::take(&mut self.out);
        let (requests, rest) = out.into_iter().partition(|a| matches!(a, Action::Http(_)));
        self.out = rest;
        let request = |a| if let Action::Http(request) = a { Some(request) } else { None };
        Vec::<Action>::into_iter(requests).filter_map(request).collect()
    }

    fn request(&mut self) -> HttpRequest {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    fn answer_time(&mut self, ahead: i64) {
        let request = self.request();
        assert_eq!(request.path, "/fapi/v1/time");
        let time = self.now.millis() + ahead;
        self.reply(request.id, 200, &format!(r#"{{"serverTime":{time}}}"#));
    }

    fn answer_key(&mut self) {
        let request = self.request();
        assert_eq!((request.method, request.path), (Method::Post, LISTEN_KEY));
        self.reply(request.id, 200, r#"{"listenKey":"abc"}"#);
    }

    /// Everything else since the last look, in short.
    fn told(&mut self) -> Vec<String> {
        let short = |action: &Action| match action {
            Action::Connect { url, .. } => format!("connect {url}"),
            Action::Close { .. } => "close".to_owned(),
            Action::Offer(Input::Stream(StreamState::UserUp(_))) => "up".to_owned(),
            Action::Offer(Input::Stream(StreamState::UserDown(..))) => "down".to_owned(),
            Action::Offer(Input::Outcome(outcome)) => format!("{} {:?}", outcome.command.0, outcome.outcome),
            Action::Offer(Input::Answer(answer)) => format!("{} answered {}", answer.command.0, answer.result.is_ok()),
            Action::Note(note) => format!("note {}", note.code),
            other => format!("{other:?}"),
        };
        std::mem::take(&mut self.out).iter().map(short).collect()
    }
}

fn price(text: &str, universe: &Universe) -> Price {
    universe.instruments()[0].parse_price(text).expect("a price")
}

fn order(n: u64, terms: Terms) -> CommandKind {
    let intent = OrderIntent {
        id: ClientOrderId { epoch: 1, account: ACCOUNT, strategy: crate::id::StrategyIx(1), counter: n as u32 },
        symbol: SymbolIx(0),
        side: Side::Buy,
        quantity: Quantity::from_mantissa(1_000_000).expect("positive"),
        terms,
        reduce_only: false,
        position_side: PositionSide::Both,
    };
    CommandKind::Place(NewOrder { intent, send_reduce_only: false, held_price: Price::from_mantissa(1) })
}

fn limit(universe: &Universe, n: u64) -> CommandKind {
    order(n, Terms::Limit { price: price("61000", universe), time_in_force: TimeInForce::Gtc })
}

#[test]
fn the_start_goes_on_however_often_its_requests_fail() {
    let mut script = Script::new();
    script.start();
    assert_eq!(script.request().path, "/fapi/v1/time");
    assert_eq!(script.told(), ["down"], "nothing is heard before the user stream is open");
    script.give(Incoming::Failed { id: RequestId(0), written: false, timed_out: false });
    script.pass();
    let request = script.request();
    script.reply(request.id, 500, "<html>");
    script.pass();
    script.answer_time(0);
    let request = script.request();
    assert_eq!(request.path, LISTEN_KEY);
    script.give(Incoming::Failed { id: request.id, written: true, timed_out: true });
    assert_eq!(script.told(), ["note listen_key_refused"]);
    script.pass();
    let request = script.request();
    script.reply(request.id, 200, "{}");
    assert_eq!(script.told(), ["note answer_malformed"]);
    script.pass();
    script.answer_key();
    assert_eq!(script.told(), ["connect wss://x/private/ws?listenKey=abc"]);
    script.give(Incoming::LinkUp(PRIVATE));
    assert_eq!(script.told(), ["up"]);
    script.give(Incoming::LinkUp(PRIVATE));
    assert!(script.told().is_empty(), "a second word of the same link is nothing new");
}

#[test]
fn a_lost_link_comes_back_with_a_new_key_after_growing_pauses() {
    let mut script = Script::up();
    let mut pauses = Vec::new();
    for n in 0..5 {
        let lost = script.now;
        script.give(Incoming::LinkDown { link: PRIVATE, reason: "reset".into() });
        let expected: &[&str] = if n == 0 { &["note link_down", "down"] } else { &["note link_down"] };
        assert_eq!(script.told(), expected, "down is told once");
        script.give(Incoming::LinkDown { link: PRIVATE, reason: "again".into() });
        script.told();
        script.pass();
        pauses.push(script.now.since(lost));
        script.answer_key();
        assert_eq!(script.told(), ["connect wss://x/private/ws?listenKey=abc"]);
    }
    assert!(pauses[0] <= Span::from_millis(250) && pauses[4] >= Span::from_secs(2), "{pauses:?}");
    assert!(pauses.windows(2).all(|p| p[0] < p[1]), "{pauses:?}");
}

#[test]
fn a_measurement_does_not_shorten_the_pause_nor_double_the_key() {
    let mut script = Script::up();
    script.give(Incoming::LinkDown { link: PRIVATE, reason: "reset".into() });
    let due = script.session.start_at.expect("the start waits");
    // A clock error asks for a measurement while the start waits, and another while the key is on its way.
    script.session.measure_at = Some(script.now);
    script.pass();
    script.answer_time(0);
    assert!(script.requests().is_empty() && script.session.start_at == Some(due));
    script.pass();
    assert_eq!(script.now, due);
    let key = script.request();
    script.session.measure_at = Some(script.now);
    script.pass();
    script.answer_time(0);
    assert!(script.requests().is_empty(), "one key at a time");
    script.reply(key.id, 200, r#"{"listenKey":"abc"}"#);
    script.told();
    script.give(Incoming::LinkUp(PRIVATE));
    assert_eq!(script.told(), ["up"]);
}

#[test]
fn the_key_is_extended_and_made_anew_when_it_is_gone() {
    let mut script = Script::up();
    while script.requests().is_empty() || script.now.since(Ts::from_millis(1_790_000_000_000)) < KEY_EXTEND {
        script.out.clear();
        script.pass();
    }
    // The pass that crossed the half hour asked for the extension: ask once more to see it.
    script.session.extend_at = Some(script.now);
    script.pass();
    let request = script.requests().into_iter().find(|r| r.path == LISTEN_KEY).expect("an extension");
    assert_eq!(request.method, Method::Put);
    script.reply(request.id, 400, r#"{"code":-1125,"msg":"This listenKey does not exist."}"#);
    assert_eq!(script.told().iter().filter(|t| *t == "down" || *t == "close").count(), 2);
    while script.session.start_at.is_some() {
        script.pass();
    }
    let request = script.requests().into_iter().find(|r| r.path == LISTEN_KEY).expect("a new key");
    assert_eq!(request.method, Method::Post);
    script.reply(request.id, 200, r#"{"listenKey":"def"}"#);
    assert_eq!(script.told(), ["connect wss://x/private/ws?listenKey=def"]);
    script.give(Incoming::LinkUp(PRIVATE));
    let frame = br#"{"e":"listenKeyExpired","E":1790000000000,"listenKey":"def"}"#;
    script.told();
    script.give(Incoming::Frame { link: PRIVATE, bytes: frame });
    assert_eq!(script.told(), ["close", "down"]);
    script.pass();
    assert!(script.session.link.state() == LinkState::Down { retry_at: None });
}

#[test]
fn an_attempt_that_hangs_is_closed_and_tried_again() {
    let mut script = Script::new();
    script.start();
    script.answer_time(0);
    script.answer_key();
    script.told();
    script.pass();
    assert_eq!(script.told(), ["close"]);
    script.pass();
    script.answer_key();
    assert_eq!(script.told(), ["connect wss://x/private/ws?listenKey=abc"]);
}

#[test]
fn a_report_that_cannot_be_read_calls_for_reconciliation() {
    let mut script = Script::up();
    script.give(Incoming::Frame { link: PRIVATE, bytes: br#"{"e":"ORDER_TRADE_UPDATE","E":"?"}"# });
    assert_eq!(script.told(), ["note frame_malformed", "down", "up"]);
    script.give(Incoming::Frame { link: PRIVATE, bytes: br#"{"e":"SOMETHING_NEW","E":1}"# });
    assert_eq!(script.told(), ["note frame_unknown"]);
}

#[test]
fn requests_carry_the_exchanges_time() {
    let mut script = Script::new();
    script.start();
    script.answer_time(3_000);
    script.command(1, CommandKind::Query(Query::Balances));
    let request = script.requests().pop().expect("a question");
    let stamp = format!("timestamp={}", script.now.millis() + 3_000);
    assert!(request.query.ends_with(&stamp), "{}", request.query);
}

#[test]
fn too_many_orders_close_orders_only() {
    let mut script = Script::up();
    script.command(1, limit(&script.universe, 1));
    let request = script.request();
    script.reply(request.id, 429, r#"{"code":-1015,"msg":"Too many new orders."}"#);
    assert!(script.told()[0].starts_with("1 Limited"));
    script.command(2, limit(&script.universe, 2));
    assert!(script.requests().is_empty() && script.told()[0].starts_with("2 Limited"));
    let key =
        OrderKey::Ours(ClientOrderId { epoch: 1, account: ACCOUNT, strategy: crate::id::StrategyIx(1), counter: 1 });
    script.command(3, CommandKind::Cancel { symbol: SymbolIx(0), key, conditional: false });
    assert_eq!(script.requests().len(), 1, "a cancel passes");
    script.now = script.now.plus(Span::from_secs(10));
    script.command(4, limit(&script.universe, 4));
    assert_eq!(script.requests().len(), 1, "and orders pass in the next window");
}

#[test]
fn a_ban_holds_everything_back_and_the_start_too() {
    let mut script = Script::up();
    script.command(1, CommandKind::Query(Query::Balances));
    let request = script.request();
    let headers = ReplyHeaders { retry_after: Some(Span::from_secs(120)), ..ReplyHeaders::default() };
    script.give(Incoming::Reply { id: request.id, status: 418, headers, body: b"" });
    assert_eq!(script.told(), ["1 answered false"]);
    script.give(Incoming::LinkDown { link: PRIVATE, reason: "reset".into() });
    script.command(2, limit(&script.universe, 1));
    let until = script.weight.borrow().banned_until();
    let told = script.told();
    assert!(told.last().is_some_and(|t| *t == format!("2 Limited({until:?})")), "{told:?}");
    while script.now < until {
        assert!(script.requests().is_empty(), "silent until the ban is over");
        script.pass();
    }
    // The clock's measurement, due meanwhile, waited too.
    let mut asked: Vec<_> = script.requests().iter().map(|request| request.path).collect();
    asked.sort_unstable();
    assert_eq!(asked, [LISTEN_KEY, "/fapi/v1/time"]);
}

#[test]
fn a_cancelled_conditional_order_is_asked_for() {
    let mut script = Script::up();
    let key =
        OrderKey::Ours(ClientOrderId { epoch: 1, account: ACCOUNT, strategy: crate::id::StrategyIx(1), counter: 1 });
    script.command(1, CommandKind::Cancel { symbol: SymbolIx(0), key, conditional: true });
    let request = script.request();
    assert_eq!((request.method, request.path), (Method::Delete, encode::ALGO_ORDER));
    script.give(Incoming::Written(request.id));
    assert_eq!(script.told(), ["1 Written"]);
    script.reply(request.id, 200, r#"{"algoId":1,"clientAlgoId":"x","code":"200","msg":"success"}"#);
    let request = script.request();
    assert_eq!((request.method, request.path), (Method::Get, encode::ALGO_ORDER));
    script.give(Incoming::Written(request.id));
    script.give(Incoming::Failed { id: request.id, written: true, timed_out: true });
    let told = script.told();
    assert!(told.len() == 1 && told[0].starts_with("1 Unknown"), "accepted, its state unknown: {told:?}");
}

fn settings_bodies() -> [String; 3] {
    [
        r#"{"dualSidePosition":false}"#.into(),
        r#"{"multiAssetsMargin":false}"#.into(),
        r#"[{"symbol":"BTCUSDT","marginType":"CROSSED","isAutoAddMargin":false,"leverage":20,"maxNotionalValue":"1"}]"#
            .into(),
    ]
}

#[test]
fn settings_are_one_answer_of_three_parts_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut script = Script::up();
        script.command(1, CommandKind::Query(Query::Settings));
        let requests = script.requests();
        for (n, part) in order.into_iter().enumerate() {
            assert!(script.out.is_empty());
            script.reply(requests[part].id, 200, &settings_bodies()[part]);
            assert_eq!(script.out.len(), usize::from(n == 2));
        }
        let [Action::Offer(Input::Answer(QueryAnswer { result: Ok(Answer::Settings(settings)), .. }))] =
            &script.out[..]
        else {
            panic!("{:?}", script.out)
        };
        assert_eq!((settings.symbols[0].leverage, settings.multi_assets), (20, false));
    }
}

#[derive(Debug, Clone)]
enum Fate {
    Ok,
    Error(u16, i32),
    Garbage,
    Failed(bool, bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    let codes = prop::sample::select(vec![
        (400, -2019),
        (400, -2013),
        (400, -2011),
        (400, -1021),
        (408, -1007),
        (503, 0),
        (429, -1003),
        (429, -1015),
        (401, -2015),
        (400, -1125),
    ]);
    prop_oneof![
        Just(Fate::Ok),
        codes.prop_map(|(status, code)| Fate::Error(status, code)),
        Just(Fate::Garbage),
        any::<(bool, bool)>().prop_map(|(written, late)| Fate::Failed(written, late)),
    ]
}

fn some_command(n: u64, which: u8, universe: &Universe) -> CommandKind {
    let key = OrderKey::Ours(ClientOrderId {
        epoch: 1,
        account: ACCOUNT,
        strategy: crate::id::StrategyIx(1),
        counter: n as u32,
    });
    let symbol = SymbolIx(0);
    let stop = Conditional {
        trigger: Trigger::Stop,
        trigger_price: price("60000", universe),
        working_type: WorkingType::MarkPrice,
        limit: None,
        close_position: false,
        price_protect: false,
    };
    match which % 8 {
        0 => limit(universe, n),
        1 => order(n, Terms::Conditional(stop)),
        2 => CommandKind::Cancel { symbol, key, conditional: false },
        3 => CommandKind::Cancel { symbol, key, conditional: true },
        4 => CommandKind::Query(Query::Settings),
        5 => CommandKind::Query(Query::Order { symbol, key, conditional: true }),
        6 => CommandKind::Query(Query::OpenOrders),
        // Nothing of this symbol is known: it cannot even be encoded.
        _ => CommandKind::Cancel { symbol: SymbolIx(99), key, conditional: false },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every command gets exactly one outcome besides `Written`, or one answer, whatever becomes of its requests.
    #[test]
    fn each_command_comes_to_exactly_one_end(
        commands in prop::collection::vec((0u8..8, prop::collection::vec(fate(), 4)), 1..12),
        down_at in 0usize..12,
    ) {
        let mut script = Script::up();
        let mut ends = std::collections::BTreeMap::<u64, usize>::new();
        let mut open: std::collections::VecDeque<(RequestId, Fate)> = Default::default();
        let count = |script: &mut Script, ends: &mut std::collections::BTreeMap<u64, usize>| {
            for action in &script.out {
                match action {
                    Action::Offer(Input::Outcome(o)) if o.outcome != Outcome::Written => *ends.entry(o.command.0).or_default() += 1,
                    Action::Offer(Input::Answer(a)) => *ends.entry(a.command.0).or_default() += 1,
                    _ => {}
                }
            }
            script.out.retain(|a| matches!(a, Action::Http(_)));
        };
        for (n, (which, fates)) in commands.iter().enumerate() {
            let kind = some_command(n as u64, *which, &script.universe);
            script.command(n as u64, kind);
            if n == down_at {
                script.give(Incoming::LinkDown { link: PRIVATE, reason: "reset".into() });
            }
            count(&mut script, &mut ends);
            let mut fates = fates.iter().cloned().cycle();
            open.extend(script.requests().into_iter().map(|r| (r.id, fates.next().expect("endless"))));
        }
        while let Some((id, fate)) = open.pop_front() {
            script.give(Incoming::Written(id));
            match &fate {
                Fate::Ok => script.reply(id, 200, r#"{"dualSidePosition":false,"multiAssetsMargin":false}"#),
                Fate::Error(status, code) => script.reply(id, *status, &format!(r#"{{"code":{code},"msg":"no"}}"#)),
                Fate::Garbage => script.reply(id, 200, "<html>"),
                Fate::Failed(written, timed_out) => {
                    script.give(Incoming::Failed { id, written: *written, timed_out: *timed_out });
                }
            }
            // A second word about the same request is nothing new.
            script.give(Incoming::Failed { id, written: true, timed_out: true });
            count(&mut script, &mut ends);
            open.extend(script.requests().into_iter().map(|r| (r.id, fate.clone())));
        }
        for n in 0..commands.len() as u64 {
            prop_assert_eq!(ends.get(&n), Some(&1), "command {}", n);
        }
        prop_assert_eq!(script.session.open_requests(), 0);
        prop_assert!(script.session.settings.is_empty());
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_told_and_a_row_of_no_concern_is_left_out() {
    let mut script = Script::up();
    let queries = [Query::Balances, Query::Positions, Query::OpenOrders, Query::OpenConditionals, Query::Settings];
    for (n, query) in queries.into_iter().enumerate() {
        script.command(n as u64, CommandKind::Query(query));
        for request in script.requests() {
            script.reply(request.id, 200, r#"{"new":"shape"}"#);
        }
        let told = script.told();
        assert!(told[0].starts_with("note ") && told[0].ends_with("_unreadable"), "{told:?}");
        assert!(told.contains(&format!("{n} answered false")), "{told:?}");
    }
    script.command(9, CommandKind::Query(Query::Balances));
    let id = script.request().id;
    script.reply(id, 200, r#"[{"asset":"LDUSDT","balance":"5.0"},{"asset":"USDT","balance":"7"}]"#);
    assert_eq!(script.told(), ["note row_left_out", "9 answered true"]);

    let foreign = |symbol: &str| {
        format!(
            r#"[{{"orderId":1,"symbol":"{symbol}","status":"NEW","clientOrderId":"web","price":"1","origQty":"2",
            "executedQty":"0","timeInForce":"GTC","type":"ICEBERG","side":"BUY","updateTime":4}}]"#
        )
    };
    for (symbol, told) in [
        ("ETHUSDT", ["note row_left_out", "9 answered true"]),
        ("BTCUSDT", ["note open_orders_unreadable", "9 answered false"]),
    ] {
        script.command(9, CommandKind::Query(Query::OpenOrders));
        let id = script.request().id;
        script.reply(id, 200, &foreign(symbol));
        assert_eq!(script.told(), told, "{symbol}");
    }
}

#[test]
fn an_event_about_what_has_no_definition_is_no_gap() {
    let mut script = Script::up();
    let update = |asset: &str| {
        format!(
            r#"{{"e":"ACCOUNT_UPDATE","E":1,"T":1,"a":{{"m":"DEPOSIT","B":[{{"a":"{asset}","wb":"5","cw":"5","bc":"5"}}],"P":[]}}}}"#
        )
    };
    script.give(Incoming::Frame { link: PRIVATE, bytes: update("LDUSDT").as_bytes() });
    let told = script.told();
    assert_eq!((told[0].as_str(), told.len()), ("note row_left_out", 2), "the rest of it is reported: {told:?}");
    assert!(told[1].contains("Report(Account"), "{told:?}");
    let order = r#"{"e":"ORDER_TRADE_UPDATE","E":1,"T":1,"o":{"s":"NEWUSDT","c":"web","X":"NEW","x":"NEW"}}"#;
    script.give(Incoming::Frame { link: PRIVATE, bytes: order.as_bytes() });
    assert_eq!(script.told(), ["note row_left_out"]);
    let order = order.replace("NEWUSDT", "BTCUSDT");
    script.give(Incoming::Frame { link: PRIVATE, bytes: order.as_bytes() });
    assert_eq!(script.told(), ["note frame_malformed", "down", "up"]);
}
