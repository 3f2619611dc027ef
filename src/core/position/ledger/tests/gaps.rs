//! Balances that differ from the venue's without an explanation.

use super::*;

#[test]
fn a_loss_that_nothing_explains_counts_into_the_day_until_its_report_comes() {
    let mut desk = Desk::funded();
    for (strategy, side, size) in [(A, Side::Buy, 5_000), (B, Side::Sell, 2_000)] {
        let fill = desk.trade(strategy, BTC, side, size, "100");
        desk.fill(fill);
    }
    let held = [(BTC, 3_000, "100")];
    desk.wait(10);
    let events = desk.holdings(&held, &[(USDT, "970"), (BNB, "1")], true);
    assert_eq!((alerts(&events), day_profit(&events)), (vec![AlertCode::BalanceRepaired], "-30".into()));
    assert!(alert_text(&events).contains("counts as a loss"));
    // The late report says whose it was: shared once, counted once.
    let events = desk.report(AccountReason::Funding, &[(USDT, "970", "-30")], &[]);
    assert_eq!((desk.wallet(USDT), day_profit(&events)), ("970".into(), "-30".into()));
    let view = desk.ledger.view(&desk.universe, &desk.config);
    let shares: Vec<String> = view.strategies.iter().map(|s| s.funding.get(USDT).to_string()).collect();
    let usdt = view.balances.iter().find(|b| b.asset == USDT).expect("held");
    assert_eq!((shares, usdt.funding_unassigned.to_string()), (vec!["-50".into(), "20".into()], "0".into()));
    // It was a withdrawal: then it was no loss.
    desk.wait(10);
    let events = desk.holdings(&held, &[(USDT, "870"), (BNB, "1")], true);
    assert_eq!(day_profit(&events), "-130");
    let events = desk.report(AccountReason::Transfer, &[(USDT, "870", "-100")], &[]);
    assert_eq!((desk.wallet(USDT), day_profit(&events)), ("870".into(), "-30".into()));
    // What is too much is never a profit.
    desk.wait(10);
    assert_eq!(day_profit(&desk.holdings(&held, &[(USDT, "900"), (BNB, "1")], true)), "-30");
    assert_sums(&desk, &[100]);
}
