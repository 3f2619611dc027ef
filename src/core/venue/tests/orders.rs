use super::*;

fn quoted() -> World {
    let mut w = World::new();
    w.quote("99.9", "2", "100", "3");
    w
}

#[test]
fn a_market_order_takes_what_the_feed_shows_once() {
    let mut w = quoted();
    let report = w.market(A, Side::Buy, "2").expect("accepted");
    assert_eq!((report.status, report.filled), (OrderStatus::Filled, w.quantity("2")));
    assert_eq!(w.told(), ["m0 New New", "m0 Trade Filled 2@100 taker"]);
    // One is left; the rest expires.
    w.market(B, Side::Buy, "2").expect("accepted");
    assert_eq!(w.told(), ["m1 New New", "m1 Trade PartiallyFilled 1@100 taker", "m1 Expired Expired er9"]);
    w.market(B, Side::Buy, "1").expect("accepted");
    assert_eq!(w.told(), ["m2 New New", "m2 Expired Expired er9"]);
    assert_eq!((w.net(A), w.net(B)), ("2".into(), "1".into()));
}

#[test]
fn a_market_order_walks_the_depth_within_its_bound() {
    let mut w = World::new();
    let levels = |w: &World, all: &[(&str, &str)]| -> Vec<Level> {
        all.iter().map(|(p, q)| Level { price: w.price(p), quantity: w.quantity(q) }).collect()
    };
    let bids = levels(&w, &[("99.9", "5"), ("99", "5")]);
    let asks = levels(&w, &[("100", "1"), ("101", "1"), ("104.9", "1"), ("105.1", "5")]);
    w.feed(MarketEvent::BookReset(Box::new(BookLevels { first_id: 10, last_id: 10, previous_id: 0, bids, asks })));
    w.mark("100");
    w.market(A, Side::Buy, "10").expect("accepted");
    assert_eq!(
        w.told(),
        [
            "m0 New New",
            "m0 Trade PartiallyFilled 1@100 taker",
            "m0 Trade PartiallyFilled 1@101 taker",
            "m0 Trade PartiallyFilled 1@104.9 taker",
            "m0 Expired Expired er9"
        ]
    );
}

#[test]
fn time_in_force_is_exact() {
    let mut w = quoted();
    let mut try_it = |name: &str, quantity: &str, price: &str, tif| {
        let terms = w.limit_terms(price, tif);
        let order = w.new_order(name, Side::Buy, quantity, terms);
        let result = w.place(A, order);
        (result.map(|r| r.status), w.told())
    };
    assert_eq!(try_it("fok", "3.001", "100", TimeInForce::Fok), (Err(-5021), vec![]));
    assert_eq!(try_it("gtx", "1", "100", TimeInForce::PostOnly), (Err(-5022), vec![]));
    let (status, told) = try_it("ioc1", "1", "99.9", TimeInForce::Ioc);
    assert_eq!(
        (status, told),
        (Ok(OrderStatus::Expired), vec!["ioc1 New New".into(), "ioc1 Expired Expired er2".into()])
    );
    let (status, told) = try_it("fok2", "2", "100", TimeInForce::Fok);
    assert_eq!((status, told.len()), (Ok(OrderStatus::Filled), 2));
    let (status, told) = try_it("ioc2", "2", "100.5", TimeInForce::Ioc);
    assert_eq!(status, Ok(OrderStatus::Expired));
    assert_eq!(told[1..], ["ioc2 Trade PartiallyFilled 1@100 taker", "ioc2 Expired Expired er2"]);
    // All asks are taken: a post-only order at that price rests.
    assert_eq!(try_it("gtx2", "1", "99.8", TimeInForce::PostOnly).0, Ok(OrderStatus::New));
}

#[test]
fn a_resting_order_fills_by_queue_by_trade_through_and_by_a_crossing_quote() {
    let mut w = quoted();
    w.limit(A, "a", Side::Buy, "1", "99.9").expect("rests");
    w.told();
    w.trade(Side::Sell, "99.9", "2");
    assert_eq!(w.told(), Vec::<String>::new());
    w.trade(Side::Sell, "99.9", "0.4");
    assert_eq!(w.told(), ["a Trade PartiallyFilled 0.4@99.9 maker"]);
    w.trade(Side::Sell, "99.5", "0.1");
    assert_eq!(w.told(), ["a Trade PartiallyFilled 0.1@99.9 maker"]);
    w.quote("99.5", "5", "99.7", "0.2");
    assert_eq!(w.told(), ["a Trade PartiallyFilled 0.2@99.9 maker"]);
    // The same liquidity is not met twice, new liquidity is.
    w.quote("99.6", "5", "99.7", "0.2");
    assert_eq!(w.told(), Vec::<String>::new());
    w.quote("99.6", "5", "99.7", "7");
    assert_eq!(w.told(), ["a Trade Filled 0.3@99.9 maker"]);
    // Trades of buyers never fill a bid.
    w.limit(A, "b", Side::Buy, "1", "99.6").expect("rests");
    w.told();
    w.trade(Side::Buy, "99.5", "50");
    assert_eq!(w.told(), Vec::<String>::new());
}

#[test]
fn accounts_meet_each_other_at_the_makers_price_but_never_themselves() {
    let mut w = quoted();
    w.limit(A, "a1", Side::Sell, "1", "99.95").expect_err("not on the tick");
    w.quote("99.5", "2", "100", "3");
    w.limit(A, "a1", Side::Sell, "1", "99.8").expect("rests");
    w.limit(B, "b1", Side::Sell, "1", "99.8").expect("rests");
    w.told();
    w.limit(B, "b2", Side::Buy, "1.5", "99.9").expect("takes and rests");
    assert_eq!(
        w.told(),
        [
            "b2 New New",
            "b2 Trade PartiallyFilled 1@99.8 taker",
            "a1 Trade Filled 1@99.8 maker",
            "b1 Expired ExpiredInMatch er1",
        ]
    );
    assert_eq!((w.net(A), w.net(B)), ("-1".into(), "1".into()));
}

#[test]
fn filters_have_their_codes() {
    let mut w = quoted();
    w.mark("100");
    let mut code = |side, quantity: &str, price: &str| w.limit(A, "x", side, quantity, price).expect_err("refused");
    assert_eq!(code(Side::Buy, "0", "90"), -4003);
    assert_eq!(code(Side::Buy, "0.0", "90"), -4003);
    assert_eq!(code(Side::Buy, "1001", "90"), -4005);
    assert_eq!(code(Side::Buy, "1", "0"), -4001);
    assert_eq!(code(Side::Buy, "1", "100000.1"), -4002);
    assert_eq!(code(Side::Buy, "1", "90.05"), -4014);
    assert_eq!(code(Side::Buy, "1", "110.1"), -4016);
    assert_eq!(code(Side::Sell, "1", "89.9"), -4024);
    assert_eq!(code(Side::Buy, "0.05", "99.9"), -4164);
    assert_eq!(w.market(A, Side::Buy, "100.001"), Err(-4005));
    // A reduce-only order may be small, but needs something to reduce.
    let terms = w.limit_terms("100", TimeInForce::Gtc);
    let order = PlaceOrder { reduce_only: true, ..w.new_order("r", Side::Sell, "0.001", terms) };
    assert_eq!(w.place(A, order), Err(-2022));
    assert_eq!(w.place(A, PlaceOrder { position_side: PositionSide::Long, ..order }), Err(-4061));
    assert_eq!(w.place(A, PlaceOrder { symbol: SymbolIx(9), ..order }), Err(-1121));
    assert_eq!(w.place(AccountIx(9), order), Err(-2015));
}

#[test]
fn the_counterparty_must_be_within_the_band() {
    let mut w = quoted();
    w.mark("85");
    assert_eq!(w.market(A, Side::Buy, "1"), Err(-4131));
    assert_eq!(w.market(A, Side::Sell, "1").map(|r| r.status), Ok(OrderStatus::Filled));
}

#[test]
fn a_client_id_is_unique_among_open_orders_only() {
    let mut w = quoted();
    w.limit(A, "a", Side::Buy, "1", "99").expect("rests");
    assert_eq!(w.limit(A, "a", Side::Buy, "1", "99"), Err(-4116));
    w.limit(B, "a", Side::Buy, "1", "99").expect("another account's");
    let order = OrderRef::Key(OrderKey::Foreign(ForeignId::new("a")));
    let cancel = RequestKind::Cancel { symbol: BTC, order, conditional: false };
    assert!(matches!(w.ask(A, cancel.clone()), Outcome::Order(r) if r.status == OrderStatus::Canceled));
    assert!(matches!(w.ask(A, cancel), Outcome::Rejected(e) if e.code == -2011));
    w.limit(A, "a", Side::Buy, "1", "99").expect("free again");
    for n in 0..49 {
        w.limit(A, &format!("n{n}"), Side::Buy, "0.1", "99").expect("rests");
    }
    assert_eq!(w.limit(A, "last", Side::Buy, "0.1", "99"), Err(-2025));
}

#[test]
fn a_modified_order_loses_its_place_and_may_take() {
    let mut w = quoted();
    w.quote("98", "2", "100", "3");
    w.limit(A, "a", Side::Buy, "1", "99").expect("rests");
    w.limit(B, "b", Side::Buy, "1", "99").expect("rests");
    w.told();
    let change = |w: &mut World, price: &str, quantity: &str| {
        let order = OrderRef::Key(OrderKey::Foreign(ForeignId::new("a")));
        let (price, quantity) = (w.price(price), w.quantity(quantity));
        match w.ask(A, RequestKind::Modify { symbol: BTC, order, side: Side::Buy, price, quantity }) {
            Outcome::Order(report) => Ok(report.status),
            Outcome::Rejected(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(change(&mut w, "99", "1"), Err(-5027));
    assert_eq!(change(&mut w, "99.05", "1"), Err(-4014));
    assert_eq!(change(&mut w, "99", "2"), Ok(OrderStatus::New));
    w.trade(Side::Sell, "99", "1.5");
    assert_eq!(w.told(), ["a Amendment New", "b Trade Filled 1@99 maker", "a Trade PartiallyFilled 0.5@99 maker"]);
    // It may take what it reaches, and rests again.
    assert_eq!(change(&mut w, "100", "4"), Ok(OrderStatus::PartiallyFilled));
    assert_eq!(w.told(), ["a Amendment PartiallyFilled", "a Trade PartiallyFilled 3@100 taker"]);
    // No more than is filled already: cancelled.
    assert_eq!(change(&mut w, "99", "3.5"), Ok(OrderStatus::Canceled));
    assert_eq!(change(&mut w, "99", "5"), Err(-2013));
}

#[test]
fn a_post_only_order_modified_to_take_is_cancelled() {
    let mut w = quoted();
    let terms = w.limit_terms("99", TimeInForce::PostOnly);
    let order = w.new_order("a", Side::Buy, "1", terms);
    let id = w.place(A, order).expect("rests").venue_id;
    let (price, quantity) = (w.price("100"), w.quantity("1"));
    let order = OrderRef::Id(id);
    let outcome = w.ask(A, RequestKind::Modify { symbol: BTC, order, side: Side::Buy, price, quantity });
    assert!(matches!(outcome, Outcome::Order(r) if r.status == OrderStatus::Canceled && r.filled.is_zero()));
}

#[test]
fn reduce_only_is_cut_to_the_position_and_expires_with_it() {
    let mut w = quoted();
    w.market(A, Side::Buy, "2").expect("long 2");
    w.told();
    for (name, price) in [("r1", "101"), ("r2", "102")] {
        let terms = w.limit_terms(price, TimeInForce::Gtc);
        let order = PlaceOrder { reduce_only: true, ..w.new_order(name, Side::Sell, "5", terms) };
        assert_eq!(w.place(A, order).expect("rests").quantity, w.quantity("2"));
    }
    w.told();
    // Through both: the first takes part of the position, the second may fill only what is left.
    w.trade(Side::Buy, "101.5", "1.5");
    w.trade(Side::Buy, "103", "10");
    assert_eq!(
        w.told(),
        ["r1 Trade PartiallyFilled 1.5@101 maker", "r1 Trade Filled 0.5@101 maker", "r2 Expired Expired er4",]
    );
    assert_eq!(w.net(A), "0");
}

#[test]
fn cancelling_all_of_one_kind_leaves_the_other() {
    let mut w = quoted();
    w.limit(A, "a", Side::Buy, "1", "99").expect("rests");
    w.limit(B, "b", Side::Buy, "1", "99").expect("rests");
    assert_eq!(w.ask(A, RequestKind::CancelAll { symbol: BTC, conditional: true }), Outcome::Written);
    assert_eq!(w.told(), ["a New New", "b New New"]);
    w.ask(A, RequestKind::CancelAll { symbol: BTC, conditional: false });
    assert_eq!(w.told(), ["a Canceled Canceled"]);
}

#[test]
fn latency_delays_the_effect_and_the_news_of_it() {
    let millis = Span::from_millis;
    let latency = Latency { entry: millis(10), answer: millis(20), report: millis(5) };
    let mut w = World::with(VenueConfig { latency, ..VenueConfig::default() }, &[]);
    w.quote("99.9", "2", "100", "3");
    let sent = w.now;
    let order = w.new_order("a", Side::Buy, "1", Terms::Market);
    w.send(A, RequestKind::Place(order));
    assert_eq!(w.venue.next_wakeup(), Some(sent.plus(millis(10))));
    // The price moves before the order arrives.
    w.quote("100.9", "2", "101", "3");
    assert!(w.out.is_empty());
    w.pass(100);
    let times: Vec<(bool, i64)> =
        w.out.iter().map(|o| (matches!(o.kind, OutputKind::Outcome(_)), o.at.since(sent).millis())).collect();
    assert_eq!(times, [(false, 15), (false, 15), (false, 15), (true, 30)]);
    assert_eq!(w.told()[1], "a Trade Filled 1@101 taker");
    assert_eq!(w.venue.next_wakeup(), None);
}
