//! Properties over random histories: what must hold whatever happens.

use super::*;
use crate::id::TradeId;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Quote { bid: i64, spread: i64, bid_quantity: i64, ask_quantity: i64 },
    Trade { price: i64, quantity: i64, sell: bool },
    Mark { price: i64, rate: i64 },
    Place { account: u16, buy: bool, price: Option<i64>, quantity: i64, tif: u8, reduce_only: bool },
    Stop { account: u16, buy: bool, price: i64, quantity: i64 },
    Modify { nth: usize, price: i64, quantity: i64 },
    Cancel { nth: usize },
    CancelAll { account: u16 },
    Pass,
}

fn step() -> impl Strategy<Value = Step> {
    let price = 960i64..1_040;
    let quantity = 1i64..3_000;
    prop_oneof![
        4 => (price.clone(), 1i64..8, 0i64..4_000, 0i64..4_000)
            .prop_map(|(bid, spread, bid_quantity, ask_quantity)| Step::Quote { bid, spread, bid_quantity, ask_quantity }),
        3 => (price.clone(), quantity.clone(), any::<bool>())
            .prop_map(|(price, quantity, sell)| Step::Trade { price, quantity, sell }),
        1 => (price.clone(), -300i64..300).prop_map(|(price, rate)| Step::Mark { price, rate }),
        5 => (0u16..2, any::<bool>(), prop::option::weighted(0.8, price.clone()), quantity.clone(), 0u8..4, any::<bool>())
            .prop_map(|(account, buy, price, quantity, tif, reduce_only)| Step::Place {
                account, buy, price, quantity, tif, reduce_only,
            }),
        1 => (0u16..2, any::<bool>(), price.clone(), quantity.clone())
            .prop_map(|(account, buy, price, quantity)| Step::Stop { account, buy, price, quantity }),
        2 => (0usize..30, price, quantity).prop_map(|(nth, price, quantity)| Step::Modify { nth, price, quantity }),
        1 => (0usize..30).prop_map(|nth| Step::Cancel { nth }),
        1 => (0u16..2).prop_map(|account| Step::CancelAll { account }),
        1 => Just(Step::Pass),
    ]
}

/// Tenths and thousandths, as the texts of the other tests have them.
fn price(tenths: i64) -> Price {
    Price::from_mantissa(tenths * 10_000_000)
}

fn side(buy: bool) -> Side {
    if buy { Side::Buy } else { Side::Sell }
}

fn quantity(thousandths: i64) -> Quantity {
    Quantity::from_mantissa(thousandths).expect("not negative")
}

fn market_event(w: &World, step: &Step) -> Option<MarketEvent> {
    Some(match *step {
        Step::Quote { bid, spread, bid_quantity, ask_quantity } => MarketEvent::Quote(Quote {
            update_id: w.now.millis() as u64,
            bid: price(bid),
            bid_quantity: quantity(bid_quantity),
            ask: price(bid + spread),
            ask_quantity: quantity(ask_quantity),
        }),
        Step::Trade { price: p, quantity: q, sell } => MarketEvent::Trade(Trade {
            id: TradeId(w.now.millis()),
            price: price(p),
            quantity: quantity(q),
            aggressor: side(!sell),
            on_book: true,
        }),
        Step::Mark { price: p, rate } => MarketEvent::Mark(Mark {
            mark_price: price(p),
            index_price: Price::ZERO,
            funding_rate: Rate::from_mantissa(rate * 100_000),
            next_funding: w.now.plus(Span::from_millis(5)),
        }),
        _ => return None,
    })
}

fn request(w: &World, n: usize, step: &Step) -> Option<(AccountIx, RequestKind)> {
    let order = |account: u16, buy, q, terms, reduce_only| {
        let name = format!("o{n}");
        let new = w.new_order(&name, side(buy), "1", terms);
        (AccountIx(account), RequestKind::Place(PlaceOrder { quantity: quantity(q), reduce_only, ..new }))
    };
    let symbol = BTC;
    Some(match *step {
        Step::Place { account, buy, price: None, quantity, reduce_only, .. } => {
            order(account, buy, quantity, Terms::Market, reduce_only)
        }
        Step::Place { account, buy, price: Some(p), quantity, tif, reduce_only } => {
            use TimeInForce::{Fok, Gtc, Ioc, PostOnly};
            let time_in_force = [Gtc, Ioc, Fok, PostOnly][tif as usize];
            order(account, buy, quantity, Terms::Limit { price: price(p), time_in_force }, reduce_only)
        }
        Step::Stop { account, buy, price: p, quantity } => {
            let terms = Conditional {
                trigger: Trigger::Stop,
                trigger_price: price(p),
                working_type: WorkingType::ContractPrice,
                limit: None,
                close_position: false,
                price_protect: false,
            };
            order(account, buy, quantity, Terms::Conditional(terms), false)
        }
        Step::Modify { nth, price: p, quantity: q } => {
            let open = open_orders(w).nth(nth)?;
            let change = (price(p), quantity(q));
            let kind = RequestKind::Modify {
                symbol,
                order: OrderRef::Id(open.id),
                side: open.side,
                price: change.0,
                quantity: change.1,
            };
            (open.account, kind)
        }
        Step::Cancel { nth } => {
            let open = open_orders(w).nth(nth)?;
            (open.account, RequestKind::Cancel { symbol, order: OrderRef::Id(open.id), conditional: false })
        }
        Step::CancelAll { account } => (AccountIx(account), RequestKind::CancelAll { symbol, conditional: false }),
        _ => return None,
    })
}

fn open_orders(w: &World) -> impl Iterator<Item = &super::super::orders::Order> {
    [A, B].into_iter().flat_map(|account| w.venue.orders.open_of(account, None))
}

/// What the reports of one account add up to, without any of the venue's own books.
#[derive(Debug, Clone, Default, PartialEq)]
struct Tally {
    position: i64,
    /// Money paid for what was bought less money got for what was sold.
    paid: i128,
    fees: i128,
    realized: i128,
    other: i128,
    last_wallet: Option<i128>,
}

/// Books the reports and checks each fill on its own.
fn tally(w: &mut World, tallies: &mut [Tally; 2]) -> Result<(), TestCaseError> {
    let instrument = w.venue.instrument(BTC).expect("defined").clone();
    for output in std::mem::take(&mut w.out) {
        let tally = &mut tallies[output.account.ix()];
        match output.kind {
            OutputKind::Report(Report::Order(r)) => {
                prop_assert!(r.filled <= r.quantity);
                let Some(fill) = &r.fill else { continue };
                let before = tally.position;
                tally.position += fill.quantity.signed(r.side).mantissa();
                let value = instrument.signed_notional(fill.price, fill.quantity.signed(r.side)).expect("small");
                tally.paid += value.mantissa();
                tally.fees += fill.fee.map_or(0, Money::mantissa);
                tally.realized += fill.realized.mantissa();
                prop_assert!(fill.quantity > Quantity::ZERO);
                if let Some(limit) = r.terms.limit_price() {
                    let fair = if r.side == Side::Buy { fill.price <= limit } else { fill.price >= limit };
                    prop_assert!(fair, "worse than the limit: {r:?}");
                    prop_assert!(!fill.maker || fill.price == limit);
                }
                if r.reduce_only {
                    prop_assert!(tally.position.abs() < before.abs() && tally.position * before >= 0, "flipped: {r:?}");
                }
            }
            OutputKind::Report(Report::Account(r)) => {
                tally.other += r.balances[0].1.mantissa();
                tally.last_wallet = Some(r.balances[0].0.wallet.mantissa());
            }
            _ => {}
        }
    }
    Ok(())
}

fn check(w: &World, tallies: &[Tally; 2]) -> Result<(), TestCaseError> {
    let instrument = w.venue.instrument(BTC).expect("defined");
    for (account, tally) in [A, B].into_iter().zip(tallies) {
        let holder = w.venue.account(account).expect("known");
        let holding = holder.holdings.get(&BTC).cloned().unwrap_or_default();
        let wallet = holder.wallet(USDT).mantissa();
        // The position is the sum of the fills; the wallet moved by profit, fees, funding and the insurance fund.
        prop_assert_eq!(holding.quantity, tally.position);
        let start = Money::units(USDT, 1_000).mantissa();
        prop_assert_eq!(wallet, start + tally.realized - tally.fees + tally.other);
        prop_assert_eq!(tally.last_wallet.unwrap_or(wallet), wallet);
        // No money appears: what was paid and did not come back is the cost of what is held.
        let cost = if holding.quantity < 0 { -holding.cost } else { holding.cost };
        prop_assert_eq!(tally.realized + tally.paid, cost);
        // What counts against margin is what rests on the book.
        for (side, booked) in [(Side::Buy, holding.open_buys), (Side::Sell, holding.open_sells)] {
            let open = w.venue.orders.open_of(account, None).filter(|o| o.side == side && !o.reduce_only);
            let sum: i128 = open.map(|o| super::super::account::notional(instrument, o.price(), o.remaining())).sum();
            prop_assert_eq!(booked, sum);
        }
        prop_assert_eq!(w.venue.symbols[0].holders.contains(&account), holding.quantity != 0);
    }
    prop_assert!(open_orders(w).all(|o| o.resting && o.remaining() > 0), "an open order is on the book");
    Ok(())
}

/// Runs a history; `quiet` feeds no market at all.
fn run(steps: &[Step], quiet: bool) -> Result<World, TestCaseError> {
    let mut w = World::new();
    let mut tallies = [Tally::default(), Tally::default()];
    for (n, step) in steps.iter().enumerate() {
        w.pass(1);
        if let Some(event) = market_event(&w, step).filter(|_| !quiet) {
            w.feed(event);
        } else if let Some((account, kind)) = request(&w, n, step) {
            w.send(account, kind);
        }
        tally(&mut w, &mut tallies)?;
        check(&w, &tallies)?;
    }
    Ok(w)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn books_balance_whatever_happens(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps, false)?;
    }

    #[test]
    fn without_a_market_accounts_only_trade_with_each_other(steps in prop::collection::vec(step(), 1..80)) {
        let w = run(&steps, true)?;
        let net = |account| w.venue.account(account).expect("known").position(BTC);
        prop_assert_eq!(net(A) + net(B), 0);
    }

    #[test]
    fn equal_histories_have_equal_hashes(steps in prop::collection::vec(step(), 1..60)) {
        let (one, two) = (run(&steps, false)?, run(&steps, false)?);
        prop_assert_eq!(one.venue.state_hash(), two.venue.state_hash());
        let mut other = two;
        other.limit(A, "further", Side::Buy, "0.1", "90").ok();
        prop_assert_ne!(one.venue.state_hash(), other.venue.state_hash());
    }
}

#[test]
fn faults_touch_the_messages_but_never_the_books() {
    let half = Rate::from_bps(5_000);
    let faults = FaultConfig {
        lose_answer: half,
        lose_report: half,
        duplicate_report: half,
        delay_report: half,
        delay_max: Span::from_millis(100),
        ..FaultConfig::default()
    };
    let play = |faults| {
        let mut w = World::with(VenueConfig { faults, seed: 3, ..VenueConfig::default() }, &[]);
        w.quote("99.9", "500", "100", "500");
        let mut outcomes = Vec::new();
        for n in 0..40 {
            let side = if n % 3 == 0 { Side::Sell } else { Side::Buy };
            let order = w.new_order(&format!("o{n}"), side, "0.1", Terms::Market);
            outcomes.push(w.ask(A, RequestKind::Place(order)));
        }
        (w, outcomes)
    };
    let (calm, _) = play(FaultConfig::default());
    let (wild, outcomes) = play(faults);
    assert_eq!((calm.wallet(A), calm.net(A)), (wild.wallet(A), wild.net(A)));
    let unknown = outcomes.iter().filter(|o| matches!(o, Outcome::Unknown(e) if e.code == -1007)).count();
    assert!((8..32).contains(&unknown), "{unknown}");
    assert!(wild.out.iter().any(|o| o.at > wild.now) && wild.out.len() != calm.out.len());
    // The same seed gives the same faults.
    assert_eq!(play(faults).0.out, wild.out);
    // A request that is swallowed has no effect.
    let (gone, _) = play(FaultConfig { swallow_request: Rate::ONE, ..FaultConfig::default() });
    assert_eq!((gone.wallet(A), gone.net(A)), ("1000".into(), "0".into()));
    let (refused, outcomes) = play(FaultConfig { reject: Rate::ONE, ..FaultConfig::default() });
    assert_eq!(refused.net(A), "0");
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Rejected(e) if e.code == -1008)));
}
