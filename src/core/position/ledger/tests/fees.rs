//! What is in another asset than the margin asset. Fees: exact in the wallets, valued in the day's profit.

use super::*;

fn with_fee(desk: &Desk, fee: &str) -> Fill {
    Fill { fee: Some(money(BNB, fee)), ..desk.trade(A, BTC, Side::Buy, 1_000, "100") }
}

#[test]
fn a_fee_in_another_asset_counts_in_the_days_profit_at_the_price_of_its_booking() {
    let mut desk = Desk::funded();
    desk.mark(BTC, "100");
    desk.mark(BNBUSDT, "612.34");
    let events = desk.fill(with_fee(&desk, "0.00123457"));
    // 0.00123457 × 612.34 = 0.7559765938, a loss of the day; nobody has to be told.
    assert_eq!((day_profit(&events).as_str(), alerts(&events)), ("-0.7559765938", vec![]));
    assert_eq!((desk.wallet(USDT).as_str(), desk.wallet(BNB).as_str()), ("1000", "0.99876543"));
    assert_eq!(desk.ledger.fees_valued().to_string(), "0.7559765938");
    // A fee was paid once: a later price does not change it.
    desk.mark(BNBUSDT, "1");
    assert_eq!(desk.ledger.equity(&desk.universe).map(|e| e.day_profit.to_string()), Ok("-0.7559765938".into()));
    assert_sums(&desk, &[1, 77, 999]);
}

#[test]
fn what_does_not_divide_is_rounded_against_the_account() {
    let mut desk = Desk::funded();
    desk.mark(BNBUSDT, "0.00000007");
    let (paid, back) = ("0.000000000001000001", "-0.000000000001000001");
    assert_eq!(day_profit(&desk.fill(with_fee(&desk, paid))), "-0.000000000000000001");
    assert_eq!(day_profit(&desk.fill(with_fee(&desk, back))), "-0.000000000000000001", "a rebate is nothing");
}

#[test]
fn a_fee_without_a_price_is_told_once_shown_apart_and_valued_at_the_first_price() {
    let mut desk = Desk::funded();
    desk.mark(BTC, "100");
    let events = desk.fill(with_fee(&desk, "0.001"));
    assert_eq!((day_profit(&events).as_str(), alerts(&events)), ("0", vec![AlertCode::SettingsDiffer]));
    assert!(alert_text(&events).contains("no mark price of BNBUSDT is known"));
    assert!(alerts(&desk.fill(with_fee(&desk, "0.002"))).is_empty(), "told once");
    assert_eq!(desk.ledger.fees_unvalued().collect::<Vec<_>>(), [money(BNB, "0.003")]);
    let events = desk.mark(BNBUSDT, "600");
    assert_eq!(day_profit(&events), "-1.8");
    assert_eq!(desk.ledger.fees_unvalued().count(), 0);
    let view = desk.ledger.view(&desk.universe, &desk.config);
    assert_eq!(view.fees_valued, money(USDT, "1.8"));
    assert_eq!(desk.wallet(BNB), "0.997");
    assert_sums(&desk, &[1, 77, 999]);
}

#[test]
fn yesterdays_fee_does_not_count_today() {
    let mut desk = Desk::funded();
    desk.mark(BNBUSDT, "600");
    desk.fill(with_fee(&desk, "0.001"));
    desk.mark(BTC, "100");
    desk.wait(86_400);
    assert_eq!(day_profit(&desk.mark(BTC, "101")), "1");
}

#[test]
fn a_position_in_another_asset_is_kept_and_said() {
    let mut desk = Desk::funded();
    desk.config.accounts.push(account());
    desk.config.accounts[0].limits.exposure_max = Money::zero(BNB);
    let config = Box::new(desk.config.clone());
    desk.send(Event::Input(Input::Configuration(config)));
    let fill = desk.trade(A, BTC, Side::Buy, 1_000, "200");
    let events = desk.fill(fill);
    assert_eq!(alerts(&events), [AlertCode::SettingsDiffer]);
    let told = equity(&events).expect("told");
    assert_eq!((told.wallet, told.exposure), (money(BNB, "1"), Money::zero(BNB)));
    assert_eq!(quantity(&desk, A, BTC), 1_000);
}
