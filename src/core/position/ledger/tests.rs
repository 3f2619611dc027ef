//! Tests of the ledger: worked examples of every booking; `model` plays random ones against a plain recomputation.

use super::*;
use crate::book::Markets;
use crate::command::{AccountReason, AccountReport, MarginType, Report, VenueBalance, VenuePosition};
use crate::config::{AccountConfig, AccountLimits, EngineConfig, OnFault, OnStuckTrigger};
use crate::event::Equity;
use crate::id::{ClientOrderId, OrderKey, Seq, TradeId, VenueOrderId};
use crate::instrument::{Definition, Instrument};
use crate::market::Mark;
use crate::num::{Price, Quantity, Rate, Side};
use crate::order::{Fill, PositionMode};
use crate::position::margin::tests::instrument;
use std::cell::Cell;
use std::sync::Arc;

mod fees;
mod gaps;
mod model;

const ACCOUNT: AccountIx = AccountIx(0);
const USDT: AssetIx = AssetIx(1);
const BNB: AssetIx = AssetIx(2);
const BTC: SymbolIx = SymbolIx(0);
const ETH: SymbolIx = SymbolIx(1);
const BNBUSDT: SymbolIx = SymbolIx(2);
const A: StrategyIx = StrategyIx(1);
const B: StrategyIx = StrategyIx(2);
/// 2026-11-23 12:00 UTC.
const NOON: Ts = Ts::from_millis(1_795_435_200_000);

fn universe() -> Universe {
    let mut universe = Universe::default();
    for (at, name) in ["BTC", "USDT", "BNB", "ETH"].into_iter().enumerate() {
        universe.define(&Definition::Asset { asset: AssetIx(at as u16), name: name.into() }).expect("in order");
    }
    for (symbol, name, base) in [(BTC, "BTCUSDT", AssetIx(0)), (ETH, "ETHUSDT", AssetIx(3)), (BNBUSDT, "BNBUSDT", BNB)]
    {
        let brackets = [("0", "50000", 125, "0.004", "0"), ("50000", "250000", 100, "0.005", "50")];
        let instrument = Instrument { symbol, name: name.into(), base, ..instrument(&brackets) };
        universe.define(&Definition::Instrument(Box::new(instrument))).expect("in order");
    }
    universe
}

fn money(asset: AssetIx, text: &str) -> Money {
    Money::parse(asset, text.as_bytes()).expect("a number")
}

/// A ledger with all that it reads.
struct Desk {
    ledger: Ledger,
    universe: Universe,
    markets: Markets,
    config: EngineConfig,
    commands: Cell<u64>,
    now: Ts,
}

impl Desk {
    fn new() -> Desk {
        let (markets, config, commands) = (Markets::default(), EngineConfig::default(), Cell::new(0));
        Desk { ledger: Ledger::new(ACCOUNT, USDT), universe: universe(), markets, config, commands, now: NOON }
    }

    /// Adopted with 1,000 USDT and 1 BNB, flat.
    fn funded() -> Desk {
        let mut desk = Desk::new();
        let events = desk.holdings(&[], &[(USDT, "1000"), (BNB, "1")], true);
        assert!(!events.iter().any(|e| matches!(e, Event::Alert(_))), "the first look is silent");
        assert!(events.iter().any(|e| matches!(e, Event::Finding(Finding::Compared { equal: true, .. }))));
        desk
    }

    fn send(&mut self, event: Event) -> Vec<Event> {
        let context = Context {
            now: self.now,
            seq: Seq(1),
            epoch: 1,
            markets: &self.markets,
            universe: &self.universe,
            config: &self.config,
            commands: &self.commands,
        };
        let mut out = Outbox::new(100);
        self.ledger.on(&event, &context, &mut out);
        out.drain().collect()
    }

    fn fill(&mut self, fill: Fill) -> Vec<Event> {
        self.send(Event::Fill(fill))
    }

    fn mark(&mut self, symbol: SymbolIx, price: &str) -> Vec<Event> {
        let mark_price = self.price(price);
        let mark = Mark { mark_price, index_price: mark_price, funding_rate: Rate::ZERO, next_funding: Ts::ZERO };
        let (exchange_time, receive_time) = (self.now, self.now);
        let event = MarketEvent::Mark(mark);
        let input = MarketInput { symbol, exchange_time, receive_time, derived: false, event };
        self.send(Event::Input(Input::Market(input)))
    }

    fn report(&mut self, reason: AccountReason, changes: &[(AssetIx, &str, &str)], named: &[SymbolIx]) -> Vec<Event> {
        let balances = changes.iter().map(|&(a, w, c)| (VenueBalance { wallet: money(a, w) }, money(a, c))).collect();
        let positions = named.iter().map(|&symbol| VenuePosition {
            symbol,
            position_side: PositionSide::Both,
            quantity: self.ledger.account_quantity(symbol),
            entry_price: Price::ZERO,
        });
        let positions = positions.collect();
        let report = AccountReport { account: ACCOUNT, reason, balances, positions, exchange_time: self.now };
        self.send(Event::Input(Input::Report(Report::Account(Box::new(report)))))
    }

    /// The answer to a question asked one second ago.
    fn holdings(
        &mut self,
        positions: &[(SymbolIx, i64, &str)],
        balances: &[(AssetIx, &str)],
        repair: bool,
    ) -> Vec<Event> {
        let positions = positions.iter().map(|&(symbol, quantity, price)| VenuePosition {
            symbol,
            position_side: PositionSide::Both,
            quantity: NetQuantity::from_mantissa(quantity),
            entry_price: self.price(price),
        });
        let positions = positions.collect();
        let balances = balances.iter().map(|&(asset, text)| VenueBalance { wallet: money(asset, text) }).collect();
        let asked_at = self.now.plus(Span::from_secs(-1));
        self.send(Event::Finding(Finding::Holdings { account: ACCOUNT, asked_at, positions, balances, repair }))
    }

    fn price(&self, text: &str) -> Price {
        self.universe.instrument(BTC).expect("defined").parse_price(text).expect("price")
    }

    fn wait(&mut self, seconds: i64) {
        self.now = self.now.plus(Span::from_secs(seconds));
    }

    fn wallet(&self, asset: AssetIx) -> String {
        self.ledger.balances().get(asset).to_string()
    }

    fn trade(&self, strategy: StrategyIx, symbol: SymbolIx, side: Side, quantity: i64, price: &str) -> Fill {
        let key = OrderKey::Ours(ClientOrderId { epoch: 1, account: ACCOUNT, strategy, counter: 1 });
        Fill {
            account: ACCOUNT,
            strategy,
            symbol,
            key,
            venue_order: VenueOrderId(1),
            trade_id: TradeId(1),
            side,
            position_side: PositionSide::Both,
            price: self.price(price),
            quantity: Quantity::from_mantissa(quantity).expect("positive"),
            maker: false,
            fee: None,
            realized: Money::zero(USDT),
            exchange_time: self.now,
        }
    }
}

fn equity(events: &[Event]) -> Option<Equity> {
    events.iter().rev().find_map(|e| if let Event::Equity(equity) = e { Some(*equity) } else { None })
}

fn day_profit(events: &[Event]) -> String {
    equity(events).expect("equity is told").day_profit.to_string()
}

fn alerts(events: &[Event]) -> Vec<AlertCode> {
    events.iter().filter_map(|e| if let Event::Alert(alert) = e { Some(alert.code) } else { None }).collect()
}

fn alert_text(events: &[Event]) -> Arc<str> {
    let mut texts =
        events.iter().filter_map(|e| if let Event::Alert(alert) = e { Some(alert.text.clone()) } else { None });
    texts.next().expect("an alert")
}

fn equal(events: &[Event]) -> bool {
    let verdict = |e: &Event| if let Event::Finding(Finding::Compared { equal, .. }) = e { Some(*equal) } else { None };
    events.iter().find_map(verdict).expect("a verdict")
}

fn quantity(desk: &Desk, strategy: StrategyIx, symbol: SymbolIx) -> i64 {
    desk.ledger.virtual_position(strategy, symbol).map_or(0, |p| p.quantity.mantissa())
}

#[test]
fn a_fill_books_fee_in_any_asset_and_the_exchanges_profit() {
    let mut desk = Desk::funded();
    let fee = Some(money(BNB, "0.00012345"));
    let open = Fill { fee, ..desk.trade(A, BTC, Side::Buy, 1_000, "100") };
    assert!(desk.fill(Fill { account: AccountIx(1), ..open }).is_empty(), "another account's");
    let events = desk.fill(open);
    let Some(Event::Position(told)) = events.first() else { panic!("the strategy is told first") };
    assert_eq!((told.strategy, told.quantity.mantissa(), told.cost.to_string().as_str()), (A, 1_000, "100"));
    assert_eq!(told.account_quantity.mantissa(), 1_000);
    let close = Fill {
        fee: Some(money(USDT, "0.05")),
        realized: money(USDT, "9.99999999"),
        ..desk.trade(A, BTC, Side::Sell, 1_000, "110")
    };
    let events = desk.fill(close);
    assert_eq!((desk.wallet(USDT), desk.wallet(BNB)), ("1009.94999999".into(), "0.99987655".into()));
    assert_eq!(desk.ledger.fees().get(BNB).to_string(), "0.00012345");
    assert_eq!(desk.ledger.realized().get(USDT).to_string(), "9.99999999");
    assert_eq!(day_profit(&events), "9.94999999");
    // The strategy's own sum is exact, whatever the exchange rounded.
    let view = desk.ledger.view(&desk.universe, &desk.config);
    assert_eq!(view.strategies[0].position.realized.to_string(), "10");
    assert_eq!(view.strategies[0].fees.get(USDT).to_string(), "0.05");
}

#[test]
fn marks_move_unrealised_profit_and_are_told_only_with_a_position() {
    let mut desk = Desk::funded();
    assert!(desk.mark(BTC, "90").is_empty());
    let fill = desk.trade(A, BTC, Side::Sell, 2_000, "100");
    let told = equity(&desk.fill(fill)).expect("after a fill");
    assert_eq!((told.unrealized.to_string(), told.exposure.to_string()), ("20".into(), "180".into()));
    assert!(desk.mark(ETH, "5").is_empty());
    let told = equity(&desk.mark(BTC, "105")).expect("with a position");
    assert_eq!((told.unrealized.to_string(), told.exposure.to_string()), ("-10".into(), "210".into()));
    assert_eq!((told.wallet.to_string(), told.day_profit.to_string()), ("1000".into(), "-10".into()));
    assert!(desk.mark(BTC, "105").is_empty(), "nothing changed");
}

#[test]
fn the_day_begins_anew_at_midnight() {
    let mut desk = Desk::funded();
    let events = desk.send(Event::Input(Input::Start { epoch: 2 }));
    let [Event::Arm { timer, at }] = events[..] else { panic!("one timer: {events:?}") };
    assert_eq!(at, NOON.plus(Span::from_secs(43_200)));
    let fill = desk.trade(A, BTC, Side::Buy, 1_000, "100");
    desk.fill(fill);
    assert_eq!(day_profit(&desk.mark(BTC, "130")), "30");
    desk.wait(43_200);
    let events = desk.send(Event::Input(Input::Timer(timer)));
    assert!(matches!(events[0], Event::Arm { at: next, .. } if next == at.plus(DAY)));
    assert_eq!(day_profit(&events), "0");
    assert_eq!(day_profit(&desk.mark(BTC, "125")), "-5");
    // Even when the timer is late the first input of the next day begins it, at the prices before it.
    desk.wait(86_400);
    assert_eq!(day_profit(&desk.mark(BTC, "120")), "-5");
}

#[test]
fn funding_is_shared_by_size_and_transfers_are_no_profit() {
    let mut desk = Desk::funded();
    for (strategy, side, size) in [(A, Side::Buy, 5_000), (B, Side::Sell, 2_000)] {
        let fill = desk.trade(strategy, BTC, side, size, "100");
        desk.fill(fill);
    }
    let events = desk.report(AccountReason::Funding, &[(USDT, "970", "-30")], &[]);
    assert_eq!((desk.wallet(USDT), day_profit(&events)), ("970".into(), "-30".into()));
    let shares = |desk: &Desk| {
        let view = desk.ledger.view(&desk.universe, &desk.config);
        view.strategies.iter().map(|s| s.funding.get(USDT).to_string()).collect::<Vec<_>>()
    };
    assert_eq!(shares(&desk), ["-50", "20"]);
    let events = desk.report(AccountReason::Transfer, &[(USDT, "1170", "200")], &[]);
    assert_eq!((desk.wallet(USDT), day_profit(&events)), ("1170".into(), "-30".into()));
    assert!(alerts(&events).is_empty());
    let events = desk.report(AccountReason::Other, &[(USDT, "1171", "1")], &[]);
    assert_eq!((desk.wallet(USDT), day_profit(&events)), ("1171".into(), "-30".into()));
    assert_eq!(alerts(&events), [AlertCode::BalanceAdjusted]);
    // Two open symbols: the report says for which, or nobody knows.
    let fill = desk.trade(A, ETH, Side::Buy, 1_000, "10");
    desk.fill(fill);
    desk.report(AccountReason::Funding, &[(USDT, "1170", "-1")], &[ETH]);
    assert_eq!(shares(&desk), ["-50", "-1", "20"]);
    desk.report(AccountReason::Funding, &[(USDT, "1168", "-2")], &[]);
    assert_eq!(shares(&desk), ["-50", "-1", "20"]);
    let view = desk.ledger.view(&desk.universe, &desk.config);
    let usdt = view.balances.iter().find(|b| b.asset == USDT).expect("held");
    assert_eq!((usdt.funding.to_string(), usdt.funding_unassigned.to_string()), ("-33".into(), "-2".into()));
}

#[test]
fn reports_about_orders_only_confirm() {
    let mut desk = Desk::funded();
    let position = VenuePosition {
        symbol: BTC,
        position_side: PositionSide::Both,
        quantity: NetQuantity::from_mantissa(7),
        entry_price: desk.price("100"),
    };
    let balances = vec![(VenueBalance { wallet: money(USDT, "5") }, money(USDT, "0"))];
    let (reason, positions) = (AccountReason::Order, vec![position]);
    let report = AccountReport { account: ACCOUNT, reason, balances, positions, exchange_time: desk.now };
    assert!(desk.send(Event::Input(Input::Report(Report::Account(Box::new(report))))).is_empty());
    assert_eq!((desk.wallet(USDT), desk.ledger.unconfirmed()), ("1000".into(), 1));
    let fill = desk.trade(A, BTC, Side::Buy, 7, "100");
    desk.fill(fill);
    assert_eq!(desk.ledger.unconfirmed(), 0);
}

#[test]
fn the_first_look_adopts_what_is_there_in_silence() {
    let mut desk = Desk::new();
    let past = [(BTC, -3_000, "200.00000001")];
    let events = desk.holdings(&past, &[(USDT, "1000")], false);
    assert!(!equal(&events) && events.len() == 1, "without repair it only says so");
    let events = desk.holdings(&past, &[(USDT, "1000")], true);
    assert!(equal(&events) && alerts(&events).is_empty());
    assert_eq!(quantity(&desk, StrategyIx::EXTERNAL, BTC), -3_000);
    assert_eq!(day_profit(&events), "0");
    // What was lost before is not today's loss: the first price is where the day begins.
    assert_eq!(day_profit(&desk.mark(BTC, "300")), "0");
    let told = equity(&desk.mark(BTC, "301")).expect("with a position");
    assert_eq!((told.day_profit.to_string(), told.unrealized.to_string()), ("-3".into(), "-302.99999997".into()));
    assert!(equal(&desk.holdings(&past, &[(USDT, "1000")], false)));
}

#[test]
fn differences_are_repaired_and_named() {
    let mut desk = Desk::funded();
    let fill = desk.trade(A, BTC, Side::Buy, 3_000, "90");
    desk.fill(fill);
    desk.mark(BTC, "100");
    desk.wait(10);
    let venue = [(BTC, 5_000, "100")];
    let balances = [(USDT, "1000.00000001"), (BNB, "1")];
    assert!(!equal(&desk.holdings(&venue, &balances, false)));
    let events = desk.holdings(&venue, &balances, true);
    assert!(equal(&events));
    assert_eq!(alerts(&events), [AlertCode::PositionRepaired, AlertCode::BalanceRepaired]);
    let text = alert_text(&events);
    assert!(text.contains("was 3 here and 5 at the venue"), "{text}");
    assert_eq!((quantity(&desk, A, BTC), quantity(&desk, StrategyIx::EXTERNAL, BTC)), (3_000, 2_000));
    let account = desk.ledger.position(BTC, PositionSide::Both).copied().expect("open");
    assert_eq!(account.cost.to_string(), "500", "the account's position is the venue's");
    assert_eq!(desk.wallet(USDT), "1000.00000001");
    assert_eq!(day_profit(&events), "30", "a repair is neither profit nor loss");
    // Gone at the venue: the strategy keeps what it thinks, the reserved one has the opposite.
    desk.wait(10);
    let events = desk.holdings(&[], &balances, true);
    assert!(equal(&events));
    assert_eq!((quantity(&desk, A, BTC), quantity(&desk, StrategyIx::EXTERNAL, BTC)), (3_000, -3_000));
    assert_eq!(equity(&events).expect("told").exposure, Money::zero(USDT));
    assert_sums(&desk, &[100]);
}

#[test]
fn what_changed_since_the_question_is_not_repaired() {
    let mut desk = Desk::funded();
    let fill = Fill { realized: money(USDT, "1"), ..desk.trade(A, BTC, Side::Buy, 3_000, "90") };
    desk.fill(fill);
    let stale = desk.holdings(&[(ETH, 1_000, "5")], &[(USDT, "1000"), (BNB, "1")], true);
    assert!(!equal(&stale));
    assert_eq!(alerts(&stale), [AlertCode::PositionRepaired], "only the symbol that was at rest");
    assert_eq!((quantity(&desk, A, BTC), desk.wallet(USDT)), (3_000, "1001".into()));
    assert_eq!(desk.ledger.account_quantity(ETH).mantissa(), 1_000);
}

#[test]
fn a_report_that_comes_after_the_repair_is_not_booked_twice() {
    let mut desk = Desk::funded();
    desk.wait(10);
    desk.holdings(&[], &[(USDT, "990"), (BNB, "1")], true);
    let events = desk.report(AccountReason::Funding, &[(USDT, "990", "-10")], &[]);
    assert_eq!((desk.wallet(USDT), day_profit(&events)), ("990".into(), "-10".into()));
    assert_sums(&desk, &[1]);
}

#[test]
fn a_venue_position_without_entry_price_is_not_invented() {
    let mut desk = Desk::funded();
    let events = desk.holdings(&[(BTC, 5_000, "0")], &[(USDT, "1000"), (BNB, "1")], true);
    assert!(!equal(&events));
    assert_eq!(alerts(&events), [AlertCode::BookingFailed]);
    assert!(desk.ledger.account_quantity(BTC).is_zero());
}

#[test]
fn what_does_not_fit_is_not_booked_and_said() {
    let mut desk = Desk::funded();
    let before = desk.ledger.snapshot();
    let huge = desk.trade(A, BTC, Side::Buy, i64::MAX, "90000000000");
    let nowhere = desk.trade(A, SymbolIx(77), Side::Buy, 1, "9");
    let rich = Fill { realized: Money::new(USDT, i128::MAX), ..desk.trade(A, BTC, Side::Buy, 1, "9") };
    for fill in [huge, nowhere, rich] {
        let events = desk.fill(fill);
        assert!(matches!(events[..], [Event::Alert(_), Event::Untrusted(ACCOUNT)]), "{events:?}");
        assert_eq!(alerts(&events), [AlertCode::BookingFailed]);
        assert_eq!(desk.ledger.snapshot(), before, "nothing of it was booked");
    }
    let events = desk.report(AccountReason::Transfer, &[(USDT, "0", &(i128::MAX / Money::UNIT).to_string())], &[]);
    assert_eq!(alerts(&events), [AlertCode::BookingFailed]);
    assert_eq!(desk.wallet(USDT), "1000");
}

#[test]
fn a_valuation_that_overflows_is_said_once() {
    let mut desk = Desk::funded();
    let fill = desk.trade(A, BTC, Side::Buy, i64::MAX, "0.00000001");
    desk.fill(fill);
    let events = desk.mark(BTC, "90000000000");
    assert!(matches!(events[..], [Event::Alert(_), Event::Untrusted(ACCOUNT)]), "{events:?}");
    assert!(desk.mark(BTC, "90000000001").is_empty());
    assert!(equity(&desk.mark(BTC, "1")).is_some());
    assert!(!desk.mark(BTC, "90000000000").is_empty());
}

/// The invariants that hold after every booking, checked at some mark prices (whole numbers).
fn assert_sums(desk: &Desk, marks: &[i64]) {
    let state = &desk.ledger.state;
    for asset in [USDT, BNB] {
        let booked = state.earned(asset).and_then(|m| m.checked_add(state.valued.get(asset))).expect("fits");
        let booked = booked.checked_add(state.transfers.get(asset)).expect("fits");
        assert_eq!(state.wallet.get(asset), booked, "wallet = realised − fees + funding + transfers");
        let shares: i128 = state.books.values().map(|b| b.funding.get(asset).mantissa()).sum();
        assert_eq!(shares + state.unassigned.get(asset).mantissa(), state.funding.get(asset).mantissa());
    }
    for symbol in [BTC, ETH] {
        let instrument = desk.universe.instrument(symbol).expect("defined");
        let own: i64 = state.books_of(symbol).map(|(_, b)| b.position.quantity.mantissa()).sum();
        assert_eq!(own, desk.ledger.account_quantity(symbol).mantissa(), "quantities add up");
        for mark in marks {
            let mark = instrument.parse_price(&mark.to_string()).expect("price");
            let profit =
                |p: &Position| p.realized.mantissa() + p.unrealized(instrument, mark).expect("fits").mantissa();
            let account: i128 = state.sides(symbol).map(|(_, p)| profit(p)).sum();
            let strategies: i128 = state.books_of(symbol).map(|(_, b)| profit(&b.position)).sum();
            assert_eq!(account, strategies, "profit adds up");
        }
    }
}

#[test]
fn the_view_names_margin_and_liquidation_price() {
    let mut desk = Desk::funded();
    desk.config.accounts.push(account());
    for (symbol, size) in [(BTC, 10_000), (ETH, -5_000)] {
        let fill = desk.trade(A, symbol, if size > 0 { Side::Buy } else { Side::Sell }, i64::abs(size), "200");
        desk.fill(fill);
    }
    desk.mark(BTC, "220");
    desk.mark(ETH, "230");
    let view = desk.ledger.view(&desk.universe, &desk.config);
    let btc = &view.positions[0];
    assert_eq!(btc.entry_price, Some(desk.price("200")));
    assert_eq!(btc.unrealized, Some(money(USDT, "200")));
    assert_eq!(btc.initial_margin, Some(money(USDT, "220")));
    assert_eq!(btc.maintenance_margin, Some(money(USDT, "8.8")));
    assert_eq!(view.maintenance_margin, Some(money(USDT, "13.4")));
    // (1000 - 4.6 - 150 - 10 × 200) / (10 × 0.004 - 10), rounded up.
    assert_eq!(btc.liquidation_price, Some(desk.price("115.92369478")));
    // 13.4 / 1050, rounded up.
    assert_eq!(view.margin_ratio.map(|r| r.to_string()).as_deref(), Some("0.0127619048"));
    let json = serde_json::to_value(&view).expect("serialisable");
    assert_eq!(json["equity"]["unrealized"]["amount"], "50");
}

fn account() -> AccountConfig {
    let none = Money::zero(USDT);
    AccountConfig {
        name: "main".into(),
        trading: true,
        position_mode: PositionMode::OneWay,
        multi_assets: false,
        margin_type: MarginType::Cross,
        leverage: 10,
        limits: AccountLimits {
            order_notional_max: none,
            position_notional_max: none,
            exposure_max: none,
            leverage_max: Rate::ONE,
            price_band: Rate::ONE,
            reference_age_max: crate::config::REFERENCE_AGE_MAX,
            order_rate_max: 1,
            order_rate_window: DAY,
            open_orders_max: 1,
            open_conditionals_max: 1,
            daily_loss_max: none,
            runaway_orders_max: 1,
            runaway_window: DAY,
        },
        on_fault: OnFault::default(),
        triggering_bound: DAY,
        on_stuck_trigger: OnStuckTrigger::default(),
    }
}
