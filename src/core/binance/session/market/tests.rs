//! Scripted exchanges: what comes in, what goes out.

use super::*;
use crate::binance::instruments;
use crate::instrument::Universe;

struct Script {
    session: MarketSession,
    weight: Rc<RefCell<WeightLimit>>,
    universe: Universe,
    now: Ts,
    out: Vec<Action>,
}

const START: i64 = 1_790_000_000_000;

impl Script {
    fn new(symbols: u16) -> Script {
        Script::made(symbols, vec![])
    }

    fn made(symbols: u16, marks_only: Vec<SymbolIx>) -> Script {
        let options = MarketOptions {
            ws_public_url: "wss://x/public/".into(),
            ws_market_url: "wss://x/market".into(),
            symbols: (0..symbols).map(SymbolIx).collect(),
            marks_only,
            depth_millis: 100,
            aggregate_trades: false,
            kline_intervals: vec!["1m".into()],
            silence: Span::from_secs(5),
            silence_trades: Span::from_secs(50),
            seed: 1,
        };
        let weight = Rc::new(RefCell::new(WeightLimit::new()));
        let session = MarketSession::new(options, weight.clone());
        let universe = instruments::builtin_universe().expect("sound");
        let mut script = Script { session, weight, universe, now: Ts::from_millis(START), out: Vec::new() };
        let world = World { now: script.now, universe: &script.universe };
        script.session.start(&world, &mut script.out);
        script
    }

    /// Both links open, the book of the first symbol bridged up to 20.
    fn up() -> Script {
        let mut script = Script::new(1);
        script.give(Incoming::LinkUp(PUBLIC));
        script.give(Incoming::LinkUp(MARKET));
        script.depth(11, 20, 9);
        script.out.clear();
        script.snapshot(RequestId(0), 15);
        script.out.clear();
        assert!(script.session.is_up());
        script
    }

    fn give(&mut self, incoming: Incoming<'_>) {
        let world = World { now: self.now, universe: &self.universe };
        self.session.handle(incoming, &world, &mut self.out);
    }

    fn depth(&mut self, first: u64, last: u64, previous: u64) {
        let text = format!(
            r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{START},"T":{START},"s":"BTCUSDT","U":{first},"u":{last},"pu":{previous},"b":[["61000.0","1.000"]],"a":[]}}}}"#
        );
        self.give(Incoming::Frame { link: PUBLIC, bytes: text.as_bytes() });
    }

    fn mark(&mut self) {
        let text = format!(
            r#"{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{START},"s":"BTCUSDT","p":"61000.00000000","i":"61000.00000000","P":"61000.0","r":"0.00010000","T":{START}}}}}"#
        );
        self.give(Incoming::Frame { link: MARKET, bytes: text.as_bytes() });
    }

    fn snapshot(&mut self, id: RequestId, last: u64) {
        let body = format!(
            r#"{{"lastUpdateId":{last},"E":{START},"T":{START},"bids":[["60999.9","1.000"]],"asks":[["61001.0","2.000"]]}}"#
        );
        let headers = ReplyHeaders::default();
        self.give(Incoming::Reply { id, status: 200, headers, body: body.as_bytes() });
    }

    fn pass(&mut self) {
        self.now = self.session.next_timeout().expect("something is due").max(self.now);
        let world = World { now: self.now, universe: &self.universe };
        self.session.on_time(&world, &mut self.out);
    }

    /// Everything since the last look, in short.
    fn told(&mut self) -> Vec<String> {
        let short = |action: &Action| match action {
            Action::Connect { url, .. } => format!("connect {url}"),
            Action::Close { link } => format!("close {}", link.0),
            Action::Http(request) => format!("ask {} {}?{}", request.id.0, request.path, request.query),
            Action::Offer(Input::Stream(StreamState::MarketUp(s))) => format!("up {}", s.0),
            Action::Offer(Input::Stream(StreamState::MarketDown(s, fault))) => format!("down {} {fault:?}", s.0),
            Action::Offer(Input::Market(input)) => match &input.event {
                MarketEvent::BookReset(levels) => format!("reset {}", levels.last_id),
                MarketEvent::BookDelta(levels) => format!("delta {}", levels.last_id),
                MarketEvent::BookGap => "gap".to_owned(),
                MarketEvent::Mark(_) => "mark".to_owned(),
                other => format!("{other:?}"),
            },
            Action::Note(note) => format!("note {}", note.code),
            other => format!("{other:?}"),
        };
        std::mem::take(&mut self.out).iter().map(short).collect()
    }
}

#[test]
fn streams_are_asked_for_on_their_own_route() {
    let mut script = Script::new(2);
    assert_eq!(
        script.told(),
        [
            "connect wss://x/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade/ethusdt@depth@100ms/ethusdt@bookTicker/ethusdt@trade",
            "connect wss://x/market/stream?streams=btcusdt@markPrice@1s/btcusdt@kline_1m/ethusdt@markPrice@1s/ethusdt@kline_1m",
        ]
    );
}

/// A price to value fees with is passed on, and nothing waits for it.
#[test]
fn aggregate_trades_come_by_the_market_route_and_are_held_against_the_bound_of_trades() {
    let mut script = Script::new(1);
    script.session.options.aggregate_trades = true;
    script.told();
    let world = World { now: script.now, universe: &script.universe };
    script.session.start(&world, &mut script.out);
    let asked = script.told();
    assert!(asked[0].ends_with("public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"), "{asked:?}");
    assert!(asked[1].contains("market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s"), "{asked:?}");
    script.give(Incoming::LinkUp(MARKET));
    let frame = format!(
        r#"{{"e":"aggTrade","E":{START},"s":"BTCUSDT","a":1,"p":"61000.0","q":"1","f":1,"l":2,"T":{START},"m":true}}"#
    );
    let deadline = Ts::from_millis(START + 50_000);
    while script.now < deadline.plus(Span::from_secs(-1)) {
        script.now = script.now.plus(Span::from_secs(1));
        script.mark();
    }
    script.give(Incoming::Frame { link: MARKET, bytes: frame.as_bytes() });
    assert_eq!(script.session.counts().agg_trades, 1);
    script.told();
    for _ in 0..10 {
        script.now = script.now.plus(Span::from_secs(1));
        script.mark();
        let world = World { now: script.now, universe: &script.universe };
        script.session.on_time(&world, &mut script.out);
    }
    let told = script.told();
    assert!(told.iter().all(|t| !t.contains("silent")), "a trade was heard within the bound: {told:?}");
}

#[test]
fn a_mark_price_alone_can_be_asked_for() {
    let mut script = Script::made(1, vec![SymbolIx(1)]);
    let asked = script.told();
    assert!(asked[0].ends_with("/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"), "{asked:?}");
    assert!(asked[1].ends_with("btcusdt@markPrice@1s/btcusdt@kline_1m/ethusdt@markPrice@1s"), "{asked:?}");
    let mark = format!(
        r#"{{"stream":"ethusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{START},"s":"ETHUSDT","p":"2500.00000000","i":"2500.00000000","P":"2500.0","r":"0.00010000","T":{START}}}}}"#
    );
    script.give(Incoming::Frame { link: MARKET, bytes: mark.as_bytes() });
    assert_eq!(script.told(), ["mark"]);
    let trade = format!(
        r#"{{"stream":"ethusdt@trade","data":{{"e":"trade","E":{START},"T":{START},"s":"ETHUSDT","t":7,"p":"2500.0","q":"0.5","X":"MARKET","m":true}}}}"#
    );
    script.give(Incoming::Frame { link: PUBLIC, bytes: trade.as_bytes() });
    assert_eq!(script.told(), Vec::<String>::new());
}

#[test]
fn a_book_is_bridged_by_the_exchanges_rule_and_up_needs_both_links() {
    let mut script = Script::new(1);
    script.told();
    script.give(Incoming::LinkUp(PUBLIC));
    script.depth(5, 9, 4);
    assert_eq!(script.told(), ["ask 0 /fapi/v1/depth?symbol=BTCUSDT&limit=1000"]);
    script.depth(11, 20, 9);
    script.depth(23, 30, 20);
    assert!(script.told().is_empty(), "buffered");
    script.snapshot(RequestId(0), 15);
    assert_eq!(script.told(), ["reset 15", "delta 20", "delta 30"]);
    script.give(Incoming::LinkUp(MARKET));
    assert_eq!(script.told(), ["up 0"]);
    script.depth(31, 40, 30);
    script.depth(31, 40, 30);
    assert_eq!(script.told(), ["delta 40"], "twice is once");
}

#[test]
fn a_snapshot_newer_than_all_diffs_waits_for_the_one_that_spans_it() {
    let mut script = Script::new(1);
    script.give(Incoming::LinkUp(PUBLIC));
    script.give(Incoming::LinkUp(MARKET));
    script.depth(5, 9, 4);
    script.told();
    script.snapshot(RequestId(0), 30);
    assert_eq!(script.told(), ["reset 30"]);
    script.depth(11, 20, 9);
    assert!(script.told().is_empty(), "older than the snapshot");
    script.depth(21, 35, 20);
    assert_eq!(script.told(), ["delta 35", "up 0"]);
}

#[test]
fn a_diff_that_follows_the_snapshot_exactly_goes_on_from_it() {
    for before in [true, false] {
        let mut script = Script::new(1);
        script.give(Incoming::LinkUp(PUBLIC));
        script.give(Incoming::LinkUp(MARKET));
        script.depth(5, 9, 4);
        script.depth(11, 20, 9);
        if before {
            script.depth(24, 30, 20);
        }
        script.told();
        script.snapshot(RequestId(0), 20);
        if !before {
            script.depth(24, 30, 20);
        }
        let told = script.told();
        assert_eq!(
            (told[0].as_str(), told.last().map(String::as_str)),
            ("reset 20", Some(if before { "up 0" } else { "delta 30" }))
        );
        assert!(script.session.is_up());
    }
}

#[test]
fn a_snapshot_older_than_the_buffer_is_asked_for_again() {
    let mut script = Script::new(1);
    script.give(Incoming::LinkUp(PUBLIC));
    script.give(Incoming::LinkUp(MARKET));
    script.depth(21, 30, 19);
    script.told();
    script.snapshot(RequestId(0), 15);
    assert!(script.told().is_empty());
    script.pass();
    assert_eq!(script.told(), ["ask 1 /fapi/v1/depth?symbol=BTCUSDT&limit=1000"]);
    script.give(Incoming::Failed { id: RequestId(1), written: true, timed_out: true });
    script.pass();
    assert_eq!(script.told(), ["ask 2 /fapi/v1/depth?symbol=BTCUSDT&limit=1000"]);
    script.give(Incoming::Reply { id: RequestId(2), status: 200, headers: ReplyHeaders::default(), body: b"<html>" });
    assert_eq!(script.told(), ["note snapshot_malformed"]);
    script.pass();
    script.told();
    script.snapshot(RequestId(3), 25);
    assert_eq!(script.told(), ["reset 25", "delta 30", "up 0"]);
    script.snapshot(RequestId(2), 90);
    assert!(script.told().is_empty(), "an answer that nobody waits for");
}

#[test]
fn a_hole_voids_the_book_and_starts_over() {
    let mut script = Script::up();
    script.depth(50, 60, 49);
    assert_eq!(script.told(), ["gap", "down 0 Gap", "ask 1 /fapi/v1/depth?symbol=BTCUSDT&limit=1000"]);
    script.depth(61, 70, 60);
    script.snapshot(RequestId(1), 65);
    assert_eq!(script.told(), ["reset 65", "delta 70", "up 0"]);
}

#[test]
fn each_link_comes_back_by_itself() {
    let mut script = Script::up();
    script.give(Incoming::LinkDown { link: MARKET, reason: "reset".into() });
    assert_eq!(script.told(), ["note link_down", "down 0 LinkLost"], "the book lives on");
    script.depth(21, 30, 20);
    assert_eq!(script.told(), ["delta 30"]);
    script.pass();
    assert!(script.told()[0].starts_with("connect wss://x/market/"));
    script.give(Incoming::LinkUp(MARKET));
    assert_eq!(script.told(), ["up 0"]);
    script.give(Incoming::LinkDown { link: PUBLIC, reason: "reset".into() });
    assert_eq!(script.told(), ["note link_down", "down 0 LinkLost", "gap"]);
    script.give(Incoming::LinkDown { link: MARKET, reason: "reset".into() });
    assert_eq!(script.told(), ["note link_down"], "down is told once");
    script.pass();
    script.pass();
    assert_eq!(script.told().iter().filter(|t| t.starts_with("connect")).count(), 2);
}

#[test]
fn a_silent_stream_is_a_fault_of_its_link() {
    let mut script = Script::up();
    // Mark prices go on, the public streams say nothing.
    for _ in 0..4 {
        script.now = script.now.plus(Span::from_secs(1));
        script.mark();
    }
    script.told();
    script.pass();
    assert_eq!(script.now, Ts::from_millis(START + 5_000));
    assert_eq!(script.told(), ["note stream_silent", "close 0", "down 0 Silent", "gap"]);
    let quiet = script.session.silence_deadline().expect("the market link is watched");
    assert_eq!(quiet, Ts::from_millis(START + 9_000));
}

#[test]
fn a_symbol_that_is_silent_alone_costs_the_others_nothing() {
    let mut script = Script::new(2);
    script.session.kline_silence = None;
    script.give(Incoming::LinkUp(PUBLIC));
    script.give(Incoming::LinkUp(MARKET));
    let began = script.now;
    // Everything of the first symbol speaks each second; of the second only mark prices and, for 20 s, its quotes.
    let second = |script: &mut Script, quotes: bool| {
        script.now = script.now.plus(Span::from_secs(1));
        let (update, now) = (script.now.nanos() / 1_000_000, script.now.millis());
        for (symbol, quotes) in [("BTCUSDT", true), ("ETHUSDT", quotes)] {
            let mark = format!(
                r#"{{"e":"markPriceUpdate","E":{now},"s":"{symbol}","p":"10.0","i":"10.0","P":"10.0","r":"0.0001","T":{now}}}"#
            );
            script.give(Incoming::Frame { link: MARKET, bytes: mark.as_bytes() });
            let rest = [
                format!(
                    r#"{{"e":"bookTicker","u":{update},"E":{now},"T":{now},"s":"{symbol}","b":"9.9","B":"1","a":"10.1","A":"1"}}"#
                ),
                format!(
                    r#"{{"e":"trade","E":{now},"T":{now},"s":"{symbol}","t":{update},"p":"10.0","q":"1","X":"MARKET","m":true}}"#
                ),
                format!(r#"{{"e":"depthUpdate","E":{now},"T":{now},"s":"{symbol}","U":1,"u":1,"pu":1,"b":[],"a":[]}}"#),
            ];
            let rest = rest.iter().filter(|_| quotes);
            rest.for_each(|frame| script.give(Incoming::Frame { link: PUBLIC, bytes: frame.as_bytes() }));
        }
        let world = World { now: script.now, universe: &script.universe };
        script.session.on_time(&world, &mut script.out);
        script
            .told()
            .into_iter()
            .filter(|t| !t.starts_with("ask") && (t.starts_with("close") || t.starts_with("note")))
            .collect::<Vec<_>>()
    };
    for _ in 0..20 {
        assert!(second(&mut script, true).is_empty());
    }
    let told: Vec<String> = (0..40).flat_map(|_| second(&mut script, false)).collect();
    assert_eq!(told, ["note symbol_silent", "note symbol_silent"], "its depth and its quotes");
    assert!(script.session.symbols[1].heard.is_silent() && !script.session.symbols[0].heard.is_silent());
    // It speaks again, and no word of it is missing.
    assert!(second(&mut script, true).is_empty());
    assert!(!script.session.symbols[1].heard.is_silent());
    // Silent for very long, it gets a new link, in case its stream is dead.
    let mut told = Vec::new();
    while told.iter().all(|t: &String| !t.starts_with("close")) {
        told.extend(second(&mut script, false));
    }
    assert!(told.ends_with(&["note stream_silent".to_owned(), "close 0".to_owned()]), "{told:?}");
    assert!(script.now.since(began) > Span::from_secs(1_800));
}

#[test]
fn a_symbol_that_is_closed_may_be_silent() {
    let mut script = Script::up();
    let mut closed = script.universe.instruments()[0].clone();
    (closed.version, closed.status) = (2, crate::instrument::ContractStatus::Settling);
    let closed = crate::instrument::Definition::Instrument(Box::new(closed));
    script.universe.define(&closed).expect("a new version");
    for _ in 0..20 {
        script.pass();
    }
    assert!(script.told().is_empty() && script.session.is_up(), "the others keep their links");
    assert!(script.now > Ts::from_millis(START).plus(Span::from_secs(50)));
}

#[test]
fn a_kline_stream_has_to_tell_the_end_of_its_interval() {
    let mut script = Script::up();
    let began = script.now;
    while script.told().iter().all(|t| !t.starts_with("note")) {
        script.now = script.now.plus(Span::from_secs(1));
        script.mark();
        let last = 20 + script.now.since(began).nanos() as u64 / 1_000_000_000;
        script.depth(last, last, last - 1);
        for frame in [
            format!(
                r#"{{"e":"bookTicker","u":1,"E":{START},"T":{START},"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}"#
            ),
            format!(
                r#"{{"e":"trade","E":{START},"T":{START},"s":"BTCUSDT","t":1,"p":"1","q":"1","X":"MARKET","m":true}}"#
            ),
        ] {
            script.give(Incoming::Frame { link: PUBLIC, bytes: frame.as_bytes() });
        }
        script.out.clear();
        let world = World { now: script.now, universe: &script.universe };
        script.session.on_time(&world, &mut script.out);
    }
    assert_eq!(script.now.since(began), Span::from_secs(110), "a minute, and what trades may be silent");
}

#[test]
fn snapshots_wait_for_their_weight() {
    let mut script = Script::new(1);
    script.give(Incoming::LinkUp(PUBLIC));
    script.told();
    let headers = ReplyHeaders { used_weight_1m: Some(2_399), ..ReplyHeaders::default() };
    script.weight.borrow_mut().learn(200, &headers, script.now);
    script.depth(5, 9, 4);
    assert!(script.told().is_empty());
    while !script.told().iter().any(|t| t.starts_with("ask")) {
        script.depth(11, 20, 9);
        script.pass();
    }
    let next_minute = Ts::from_millis(START).floor(Span::from_secs(60)).plus(Span::from_secs(60));
    assert_eq!(script.now, next_minute.plus(crate::binance::limits::GUARD));
}

#[test]
fn what_was_lost_on_our_side_is_asked_for_anew() {
    let mut script = Script::up();
    let world = World { now: script.now, universe: &script.universe };
    script.session.resync(SymbolIx(0), &world, &mut script.out);
    assert_eq!(script.told(), ["gap", "down 0 Overflow"]);
    script.depth(21, 30, 20);
    script.snapshot(RequestId(1), 25);
    assert_eq!(script.told()[1..], ["reset 25", "delta 30", "up 0"]);
}

#[test]
fn frames_that_nobody_asked_for_or_that_cannot_be_read_do_no_harm() {
    let mut script = Script::up();
    for text in
        ["", "{", "{}", "[]", r#"{"stream":"x","data":{}}"#, r#"{"e":"depthUpdate"}"#, r#"{"result":null,"id":1}"#]
    {
        script.give(Incoming::Frame { link: PUBLIC, bytes: text.as_bytes() });
    }
    script.give(Incoming::Frame { link: PUBLIC, bytes: &[0xff, 0xfe] });
    assert!(script.told().iter().all(|t| t.starts_with("note frame_")));
    let counts = script.session.counts();
    assert!(counts.malformed + counts.unknown >= 6, "{counts:?}");
    assert!(script.session.is_up());
}
