use super::*;
use crate::command::{AccountReport, Answer, MarginType, TradeCursor};
use crate::order::PositionMode;

fn account_reports(w: &mut World) -> Vec<AccountReport> {
    let out = std::mem::take(&mut w.out);
    let reports = out.into_iter().filter_map(|o| match o.kind {
        OutputKind::Report(Report::Account(report)) => Some(*report),
        _ => None,
    });
    reports.collect()
}

#[test]
fn initial_margin_worked_example() {
    let mut w = World::new();
    w.quote("99.9", "500", "100", "500");
    w.mark("100");
    // 1,000 USDT at leverage 10 carry 10,000 USDT of position: 100 at 100.
    assert_eq!(w.limit(A, "a", Side::Buy, "100.001", "99.9").map(|r| r.status), Ok(OrderStatus::New));
    w.ask(A, RequestKind::CancelAll { symbol: BTC, conditional: false });
    // A buy above the mark price must cover the loss that it opens with: 95 × 0.5 beside the margin of 954.75.
    assert_eq!(w.limit(A, "b", Side::Buy, "95", "100.5"), Err(-2019));
    assert_eq!(w.limit(A, "c", Side::Buy, "60", "99").map(|r| r.status), Ok(OrderStatus::New));
    // Open orders of one side add up (5,940 + 4,158 > 10,000); of both sides only the worse side counts.
    assert_eq!(w.limit(A, "d", Side::Buy, "42", "99"), Err(-2019));
    assert_eq!(w.limit(A, "e", Side::Sell, "90", "101").map(|r| r.status), Ok(OrderStatus::New));
    w.ask(A, RequestKind::CancelAll { symbol: BTC, conditional: false });
    // A position of 90 bought at 100: fee 4.5, margin 900. Selling 180 leaves 90 short: no more than before.
    w.market(A, Side::Buy, "90").expect("accepted");
    assert_eq!(w.wallet(A), "995.5");
    assert_eq!(w.limit(A, "f", Side::Buy, "10", "99"), Err(-2019));
    assert_eq!(w.limit(A, "g", Side::Sell, "180", "100.5").map(|r| r.status), Ok(OrderStatus::New));
    assert_eq!(w.limit(A, "h", Side::Sell, "40", "100.5"), Err(-2019));
    // Unrealised loss counts: at 99 the account is worth 905.5.
    w.ask(A, RequestKind::CancelAll { symbol: BTC, conditional: false });
    w.mark("99");
    let margin = w.venue.margin(A, USDT).expect("known");
    let texts = [margin.wallet, margin.unrealized, margin.initial, margin.maintenance, margin.available];
    assert_eq!(texts.map(|m| m.to_string()), ["995.5", "-90", "891", "35.64", "14.5"]);
    assert_eq!(w.limit(A, "i", Side::Buy, "2", "98"), Err(-2019));
    assert_eq!(w.limit(A, "j", Side::Buy, "1", "98").map(|r| r.status), Ok(OrderStatus::New));
}

#[test]
fn profit_and_fees_worked_example() {
    let mut w = World::new();
    w.quote("99.9", "500", "100", "1");
    w.market(A, Side::Buy, "1").expect("bought at 100");
    w.quote("99.9", "500", "103", "2");
    w.market(A, Side::Buy, "2").expect("bought at 103");
    let held = w.venue.position(A, BTC).expect("held");
    assert_eq!((held.quantity.mantissa(), held.entry_price), (3_000, w.price("102")));
    // 1,000 − 0.05 − 0.103; selling 4 at 99.9 realises 3 × (99.9 − 102) = −6.3, pays 0.1998 and opens a short of 1.
    w.told();
    w.market(A, Side::Sell, "4").expect("sold");
    let fill = w.out.iter().find_map(|o| match &o.kind {
        OutputKind::Report(Report::Order(r)) => r.fill.clone(),
        _ => None,
    });
    let fill = fill.expect("filled");
    assert_eq!((fill.realized.to_string(), fill.fee.map(|f| f.to_string())), ("-6.3".into(), Some("0.1998".into())));
    assert_eq!(w.wallet(A), "993.3472");
    let held = w.venue.position(A, BTC).expect("held");
    assert_eq!((held.quantity.mantissa(), held.entry_price), (-1_000, w.price("99.9")));
    let reports = account_reports(&mut w);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].balances[0].0.wallet.to_string(), "993.3472");
    assert!(reports[0].balances[0].1.is_zero() && reports[0].positions == [held]);
}

#[test]
fn funding_worked_example() {
    let mut w = World::new();
    w.quote("99.9", "500", "100", "500");
    w.market(A, Side::Buy, "10").expect("long");
    w.market(B, Side::Sell, "20").expect("short");
    let before = (w.wallet(A), w.wallet(B));
    assert_eq!(before, ("999.5".into(), "999.001".into()));
    let due = w.now.plus(Span::from_millis(100));
    w.mark_with("101", "0.0001", due);
    w.mark_with("102", "0.0002", due);
    assert_eq!(w.venue.next_wakeup(), Some(due));
    w.told();
    w.pass(200);
    // Longs pay 10 × 102 × 0.0002, shorts receive twice that; once.
    let reports = account_reports(&mut w);
    let told: Vec<(AccountIx, String)> = reports.iter().map(|r| (r.account, r.balances[0].1.to_string())).collect();
    assert_eq!(told, [(A, "-0.204".into()), (B, "0.408".into())]);
    assert!(reports.iter().all(|r| r.reason == AccountReason::Funding && r.exchange_time == due));
    w.mark_with("102", "0.0002", due);
    w.pass(200);
    assert_eq!((w.wallet(A), w.wallet(B)), ("999.296".into(), "999.409".into()));
}

#[test]
fn an_account_below_maintenance_margin_is_liquidated() {
    let mut w = World::new();
    w.quote("99.9", "500", "100", "500");
    w.mark("100");
    w.market(A, Side::Buy, "90").expect("long");
    w.limit(A, "a", Side::Buy, "0.1", "91").expect("rests");
    w.told();
    // Worth 995.5 − 90 × 10.6 = 41.5 at 89.4; maintenance is 90 × 89.4 × 0.4 % = 32.184.
    w.mark("89.4");
    assert_eq!(w.told(), Vec::<String>::new());
    // 995.5 − 90 × 10.7 = 32.5 stands above 32.148; a tick lower 23.5 does not reach 32.112.
    w.mark("89.3");
    assert_eq!(w.told(), Vec::<String>::new());
    w.mark("89.2");
    assert_eq!(
        w.told(),
        [
            "a Expired Expired er5",
            &format!("autoclose-{} New New", w.now.millis()),
            &format!("autoclose-{} Calculated Filled 90@89.2 taker", w.now.millis()),
        ]
    );
    // 995.5 − 972 − fee 4.014.
    assert_eq!((w.wallet(A), w.net(A)), ("19.486".into(), "0".into()));
}

#[test]
fn the_insurance_fund_pays_what_a_gap_leaves() {
    let mut w = World::new();
    w.quote("99.9", "500", "100", "500");
    w.market(A, Side::Buy, "90").expect("long");
    w.out.clear();
    w.mark("50");
    let last = account_reports(&mut w).pop().expect("told");
    assert_eq!((last.reason, last.balances[0].1.to_string()), (AccountReason::Other, "3506.75".into()));
    assert_eq!((w.wallet(A), w.net(A)), ("0".into(), "0".into()));
}

#[test]
fn settings_are_guarded() {
    let mut w = World::new();
    w.quote("99.9", "500", "100", "500");
    let code = |w: &mut World, kind| match w.ask(A, kind) {
        Outcome::Written => 0,
        Outcome::Rejected(error) => error.code,
        other => panic!("{other:?}"),
    };
    let isolated = RequestKind::SetMarginType { symbol: BTC, margin_type: MarginType::Isolated };
    let cross = RequestKind::SetMarginType { symbol: BTC, margin_type: MarginType::Cross };
    let hedge = RequestKind::SetPositionMode(PositionMode::Hedge);
    assert_eq!(code(&mut w, cross.clone()), -4046);
    assert_eq!(code(&mut w, RequestKind::SetPositionMode(PositionMode::OneWay)), -4059);
    w.limit(A, "a", Side::Buy, "1", "99").expect("rests");
    assert_eq!((code(&mut w, isolated.clone()), code(&mut w, hedge.clone())), (-4047, -4067));
    w.ask(A, RequestKind::CancelAll { symbol: BTC, conditional: false });
    w.market(A, Side::Buy, "1").expect("long");
    assert_eq!((code(&mut w, isolated.clone()), code(&mut w, hedge.clone())), (-4048, -4068));
    assert_eq!(code(&mut w, RequestKind::SetLeverage { symbol: BTC, leverage: 126 }), -4028);
    assert_eq!(code(&mut w, RequestKind::SetLeverage { symbol: BTC, leverage: 0 }), -4028);
    assert_eq!(code(&mut w, RequestKind::SetLeverage { symbol: BTC, leverage: 5 }), 0);
    assert!(w.out.iter().any(|o| matches!(o.kind, OutputKind::Report(Report::Leverage { leverage: 5, .. }))));
    w.market(A, Side::Sell, "1").expect("flat");
    // What is not simulated is refused, not ignored.
    assert_eq!(code(&mut w, isolated), 0);
    assert_eq!(w.limit(A, "b", Side::Buy, "1", "99"), Err(-1020));
    assert_eq!(code(&mut w, cross), 0);
    assert_eq!(code(&mut w, hedge), 0);
    assert_eq!(w.limit(A, "b", Side::Buy, "1", "99"), Err(-1020));
}

#[test]
fn leverage_brackets_bound_the_position() {
    let brackets = [("0", "500", 50, "0.004", "0"), ("500", "5000", 5, "0.01", "3")];
    let mut w = World::with(VenueConfig::default(), &brackets);
    w.quote("99.9", "500", "100", "500");
    assert_eq!(w.limit(A, "a", Side::Buy, "5.5", "99"), Err(-2027));
    let five = RequestKind::SetLeverage { symbol: BTC, leverage: 5 };
    w.ask(A, five);
    w.limit(A, "a", Side::Buy, "5.5", "99").expect("rests");
    let refused = w.ask(A, RequestKind::SetLeverage { symbol: BTC, leverage: 50 });
    assert!(matches!(refused, Outcome::Rejected(e) if e.code == -2027));
}

#[test]
fn trades_come_in_pages() {
    let mut w = World::new();
    w.quote("99.9", "50000", "100", "50000");
    for n in 0..1_201 {
        let side = if n % 2 == 0 { Side::Buy } else { Side::Sell };
        w.market(A, side, "0.1").expect("accepted");
    }
    let mut page = |from| {
        let sent = w.send(A, RequestKind::Query(Query::Trades { symbol: BTC, from }));
        match w.out.pop().map(|o| o.kind) {
            Some(OutputKind::Answer(answer)) if answer.command == sent => match answer.result {
                Ok(Answer::Trades { trades, complete, .. }) => (trades, complete),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let (first, complete) = page(TradeCursor::Time(Ts::ZERO));
    assert_eq!((first.len(), complete), (TRADES_PAGE, false));
    let next = first.last().expect("not empty").fill.trade_id;
    let (rest, complete) = page(TradeCursor::Id(next));
    assert_eq!((rest.len(), complete), (202, true));
    assert_eq!(rest[0].fill.trade_id, next);
}

#[test]
fn a_transfer_moves_the_wallet() {
    let mut w = World::new();
    w.venue.transfer(A, Money::units(USDT, -300), w.now, &mut w.out);
    let report = account_reports(&mut w).pop().expect("told");
    assert_eq!((report.reason, report.balances[0].0.wallet), (AccountReason::Transfer, Money::units(USDT, 700)));
}
