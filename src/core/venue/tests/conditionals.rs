use super::*;

fn stop(w: &World, name: &str, side: Side, quantity: &str, trigger: &str) -> PlaceOrder {
    let terms = Conditional {
        trigger: Trigger::Stop,
        trigger_price: w.price(trigger),
        working_type: WorkingType::ContractPrice,
        limit: None,
        close_position: false,
        price_protect: false,
    };
    w.new_order(name, side, quantity, Terms::Conditional(terms))
}

fn with_terms(mut order: PlaceOrder, change: impl FnOnce(&mut Conditional)) -> PlaceOrder {
    if let Terms::Conditional(terms) = &mut order.terms {
        change(terms);
    }
    order
}

fn place(w: &mut World, order: PlaceOrder) -> Result<ConditionalReport, i32> {
    match w.ask(A, RequestKind::Place(order)) {
        Outcome::Conditional(report) => Ok(*report),
        Outcome::Rejected(error) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

/// Reports of both kinds since the last call, in order.
fn told(w: &mut World) -> Vec<String> {
    let out = std::mem::take(&mut w.out);
    let text = |o: VenueOutput| match o.kind {
        OutputKind::Report(Report::Order(r)) => Some(format!("{} order {:?}", r.key, r.status)),
        OutputKind::Report(Report::Conditional(r)) => {
            Some(format!("{} {:?}{}", r.key, r.status, if r.became.is_some() { "+" } else { "" }))
        }
        _ => None,
    };
    out.into_iter().filter_map(text).collect()
}

fn long() -> World {
    let mut w = World::new();
    w.quote("99.9", "50", "100", "50");
    w.trade(Side::Buy, "100", "1");
    w.market(A, Side::Buy, "2").expect("long 2");
    w.out.clear();
    w
}

#[test]
fn a_stop_lives_through_all_its_states() {
    let mut w = long();
    let order = PlaceOrder { reduce_only: true, ..stop(&w, "s", Side::Sell, "2", "98") };
    let accepted = place(&mut w, order).expect("waits");
    w.trade(Side::Sell, "98.1", "1");
    w.mark("97");
    assert_eq!(told(&mut w), ["s New"]);
    w.quote("97.9", "50", "98.1", "50");
    w.trade(Side::Sell, "98", "1");
    assert_eq!(told(&mut w), ["s Triggering", "s Triggered+", "s order New", "s order Filled", "s Finished+",]);
    assert_eq!(w.net(A), "0");
    let order = OrderRef::Id(accepted.venue_id);
    let crate::command::Answer::Conditional(now) = w.venue.find(A, BTC, order, true) else { panic!("known") };
    let child = now.became.expect("became an order");
    let crate::command::Answer::Order(child) = w.venue.find(A, BTC, OrderRef::Id(child), false) else {
        panic!("known")
    };
    assert_eq!((child.key, child.status), (now.key, OrderStatus::Filled));
}

#[test]
fn each_trigger_has_its_direction_and_its_price() {
    // (trigger, side, waits at 100, set off by)
    let table = [
        (Trigger::Stop, Side::Buy, "102", "102"),
        (Trigger::Stop, Side::Sell, "98", "97"),
        (Trigger::TakeProfit, Side::Buy, "98", "98"),
        (Trigger::TakeProfit, Side::Sell, "102", "103"),
    ];
    for (trigger, side, at, price) in table {
        for working_type in [WorkingType::ContractPrice, WorkingType::MarkPrice] {
            let mut w = long();
            w.mark("100");
            let order = stop(&w, "s", side, "1", at);
            let order = with_terms(order, |t| (t.trigger, t.working_type) = (trigger, working_type));
            place(&mut w, order).expect("waits");
            let wrong_way = if price > "100" { "99" } else { "101" };
            let other = if working_type == WorkingType::MarkPrice { "trade" } else { "mark" };
            for (kind, price, triggered) in [("both", wrong_way, false), (other, price, false), ("both", price, true)] {
                w.out.clear();
                if kind != "mark" {
                    w.trade(Side::Buy, price, "1");
                }
                if kind != "trade" {
                    w.mark(price);
                }
                let set_off = told(&mut w).contains(&"s Triggering".to_owned());
                assert_eq!(set_off, triggered, "{trigger:?} {side:?} {working_type:?} {kind} {price}");
            }
        }
    }
}

#[test]
fn what_cannot_wait_is_refused() {
    let mut w = long();
    let order = stop(&w, "s", Side::Sell, "2", "98");
    let refusals = [
        (stop(&w, "s", Side::Sell, "2", "100"), -2021),
        (stop(&w, "s", Side::Buy, "2", "99"), -2021),
        (stop(&w, "s", Side::Sell, "2", "98.05"), -4014),
        (stop(&w, "s", Side::Sell, "0", "98"), -4003),
        (with_terms(order, |t| t.trigger_price = Price::ZERO), -4006),
        (with_terms(order, |t| t.close_position = true), -1106),
        (
            with_terms(order, |t| {
                t.trigger = Trigger::Trailing { callback_rate: Rate::from_bps(100), activation: None }
            }),
            -1020,
        ),
    ];
    for (order, code) in refusals {
        assert_eq!(place(&mut w, order).map(|r| r.status), Err(code), "{order:?}");
    }
    place(&mut w, order).expect("waits");
    assert_eq!(place(&mut w, order), Err(-4116));
    let close = with_terms(stop(&w, "c", Side::Sell, "0", "97"), |t| t.close_position = true);
    place(&mut w, close).expect("waits");
    assert_eq!(place(&mut w, PlaceOrder { key: OrderKey::parse("c2"), ..close }), Err(-4130));
    for n in 2..200 {
        let order = stop(&w, &format!("n{n}"), Side::Sell, "1", "90");
        place(&mut w, order).expect("no margin is held");
    }
    let order = stop(&w, "n200", Side::Sell, "1", "90");
    assert_eq!(place(&mut w, order), Err(-4045));
}

#[test]
fn a_refusal_at_the_trigger_says_why() {
    let mut w = long();
    let reduce = PlaceOrder { reduce_only: true, ..stop(&w, "s", Side::Sell, "2", "98") };
    let close = with_terms(stop(&w, "c", Side::Sell, "0", "98"), |t| t.close_position = true);
    let large = stop(&w, "l", Side::Sell, "99", "98");
    for order in [reduce, close, large] {
        place(&mut w, order).expect("waits");
    }
    w.market(A, Side::Sell, "2").expect("flat");
    // Too little is left to carry 99.
    w.venue.transfer(A, Money::units(USDT, -900), w.now, &mut w.out);
    w.out.clear();
    w.trade(Side::Sell, "98", "1");
    let reasons: Vec<(ConditionalStatus, String)> = w
        .out
        .iter()
        .filter_map(|o| match &o.kind {
            OutputKind::Report(Report::Conditional(r)) if r.status != ConditionalStatus::Triggering => {
                Some((r.status, r.reason.to_string()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (ConditionalStatus::Rejected, "Margin is insufficient.".into()),
            (ConditionalStatus::Expired, String::new()),
            (ConditionalStatus::Rejected, "ReduceOnly Order is rejected.".into()),
        ]
    );
}

#[test]
fn close_position_closes_what_is_there_then() {
    let mut w = long();
    let close = with_terms(stop(&w, "c", Side::Sell, "0", "98"), |t| t.close_position = true);
    place(&mut w, close).expect("waits");
    w.market(A, Side::Buy, "1").expect("long 3");
    w.trade(Side::Sell, "98", "1");
    assert_eq!(w.net(A), "0");
}

#[test]
fn a_protected_stop_waits_while_the_prices_are_apart() {
    let mut w = long();
    w.mark("104");
    let order = with_terms(stop(&w, "s", Side::Sell, "2", "98"), |t| t.price_protect = true);
    place(&mut w, order).expect("waits");
    w.trade(Side::Sell, "98", "1");
    assert_eq!(told(&mut w), ["s New"]);
    w.mark("102");
    w.trade(Side::Sell, "97.9", "1");
    assert_eq!(told(&mut w)[0], "s Triggering");
}

#[test]
fn one_that_hangs_in_triggering_protects_nothing_and_can_be_cancelled() {
    let mut w = long();
    w.venue.set_faults(FaultConfig { stuck_trigger: Rate::ONE, ..FaultConfig::default() });
    let order = stop(&w, "s", Side::Sell, "2", "98");
    place(&mut w, order).expect("waits");
    w.trade(Side::Sell, "98", "1");
    w.trade(Side::Sell, "90", "1");
    assert_eq!((told(&mut w), w.net(A)), (vec!["s New".into(), "s Triggering".into()], "2".into()));
    let cancel = RequestKind::Cancel { symbol: BTC, order: OrderRef::Key(OrderKey::parse("s")), conditional: true };
    assert!(matches!(w.ask(A, cancel.clone()), Outcome::Conditional(r) if r.status == ConditionalStatus::Canceled));
    assert!(matches!(w.ask(A, cancel), Outcome::Rejected(e) if e.code == -2011));
}

#[test]
fn a_trigger_takes_its_time_and_can_lose_the_race_to_a_cancel() {
    let config = VenueConfig { trigger_delay: Span::from_millis(50), ..VenueConfig::default() };
    let mut w = World::with(config, &[]);
    w.quote("99.9", "50", "100", "50");
    for name in ["s", "t"] {
        let order = stop(&w, name, Side::Sell, "1", "98");
        place(&mut w, order).expect("waits");
    }
    w.trade(Side::Sell, "98", "1");
    assert!(w.venue.next_wakeup().is_some());
    w.ask(A, RequestKind::Cancel { symbol: BTC, order: OrderRef::Key(OrderKey::parse("t")), conditional: true });
    w.out.clear();
    w.pass(50);
    assert_eq!(told(&mut w)[..2], ["s Triggered+", "s order New"]);
    assert_eq!(w.net(A), "-1");
}
