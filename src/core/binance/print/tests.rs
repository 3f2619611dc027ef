//! What is printed is read back as it was.

use super::*;
use crate::binance::decode::list::Rows;
use crate::binance::decode::{self, Frame, rest};
use crate::binance::instruments;
use crate::command::{AccountReason, AccountReport, Report, VenueBalance, VenuePosition};
use crate::id::{AccountIx, AssetIx, ClientOrderId, ForeignId, OrderKey, StrategyIx, SymbolIx, TradeId, VenueOrderId};
use crate::market::{AggTrade, BookLevels, Candle, Level, Mark, MarketEvent, MarketInput, Quote, Trade};
use crate::num::{NetQuantity, Rate, Side};
use crate::order::{
    ConditionalReport, ConditionalStatus, ExecutionType, OrderReport, OrderStatus, ReportedFill, TradeRecord,
};
use crate::time::Span;
use proptest::prelude::*;

const ACCOUNT: AccountIx = AccountIx(1);

fn universe() -> Universe {
    instruments::builtin_universe().expect("embedded")
}

fn price() -> impl Strategy<Value = Price> {
    (1i64..10_000_000).prop_map(|ticks| Price::from_mantissa(ticks * 1_000_000))
}

fn quantity() -> impl Strategy<Value = Quantity> {
    (0i64..10_000_000).prop_map(|lots| Quantity::from_mantissa(lots).expect("not negative"))
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn time() -> impl Strategy<Value = Ts> {
    (0i64..4_000_000_000_000).prop_map(Ts::from_millis)
}

fn money() -> impl Strategy<Value = Money> {
    any::<i64>().prop_map(|amount| Money::new(AssetIx(0), i128::from(amount) * 10_000_000_000))
}

fn book_levels() -> impl Strategy<Value = Vec<Level>> {
    proptest::collection::vec((price(), quantity()).prop_map(|(price, quantity)| Level { price, quantity }), 0..5)
}

fn event() -> impl Strategy<Value = MarketEvent> {
    let ids = (0u64..1 << 50, 0u64..1 << 50, 0u64..1 << 50);
    prop_oneof![
        (0u64..1 << 50, price(), quantity(), price(), quantity()).prop_map(
            |(update_id, bid, bid_quantity, ask, ask_quantity)| {
                MarketEvent::Quote(Quote { update_id, bid, bid_quantity, ask, ask_quantity })
            }
        ),
        (0i64..1 << 50, price(), quantity(), side(), any::<bool>()).prop_map(
            |(id, price, quantity, aggressor, on_book)| {
                MarketEvent::Trade(Trade { id: TradeId(id), price, quantity, aggressor, on_book })
            }
        ),
        (0i64..1 << 50, price(), quantity(), side()).prop_map(|(id, price, quantity, aggressor)| {
            let (first, last) = (TradeId(id), TradeId(id + 3));
            MarketEvent::AggTrade(AggTrade { id, first, last, price, quantity, aggressor })
        }),
        (ids, book_levels(), book_levels()).prop_map(|((first_id, last_id, previous_id), bids, asks)| {
            MarketEvent::BookDelta(Box::new(BookLevels { first_id, last_id, previous_id, bids, asks }))
        }),
        (0i64..1 << 50, 0i64..1 << 50, -100_000i64..100_000, time()).prop_map(|(mark, index, rate, next_funding)| {
            MarketEvent::Mark(Mark {
                mark_price: Price::from_mantissa(mark),
                index_price: Price::from_mantissa(index),
                funding_rate: Rate::from_mantissa(rate * 100),
                next_funding,
            })
        }),
        (proptest::array::uniform4(price()), quantity(), quantity(), money(), time(), any::<bool>(), any::<u32>())
            .prop_map(
                |([open, high, low, close], volume, taker_buy_volume, quote_volume, open_time, closed, trades)| {
                    let interval = Span::from_secs(300);
                    MarketEvent::Candle(Box::new(Candle {
                        interval,
                        open_time,
                        open,
                        high,
                        low,
                        close,
                        volume,
                        quote_volume,
                        taker_buy_volume,
                        trades,
                        closed,
                    }))
                }
            ),
    ]
}

fn key() -> impl Strategy<Value = OrderKey> {
    let ours = any::<(u32, u16, u16, u32)>().prop_map(|(epoch, account, strategy, counter)| {
        let (account, strategy) = (AccountIx(account), StrategyIx(strategy));
        OrderKey::Ours(ClientOrderId { epoch, account, strategy, counter })
    });
    prop_oneof![ours, "[.A-Z:/a-z0-9_-]{1,36}".prop_map(|t| OrderKey::Foreign(ForeignId::new(&format!(".{t}"))))]
}

fn limit_terms() -> impl Strategy<Value = (Price, TimeInForce)> {
    let plain = [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::PostOnly];
    (price(), prop_oneof![4 => prop::sample::select(plain.to_vec()), 1 => time().prop_map(TimeInForce::Gtd)])
}

fn conditional() -> impl Strategy<Value = Conditional> {
    let stop = (any::<bool>(), price(), prop::option::of(limit_terms()));
    let stop = stop.prop_map(|(up, trigger_price, limit)| {
        (if up { Trigger::Stop } else { Trigger::TakeProfit }, trigger_price, limit)
    });
    let trailing = (1i64..200, prop::option::of(price())).prop_map(|(permille, activation)| {
        let callback_rate = Rate::from_mantissa(permille * 10_000_000);
        (Trigger::Trailing { callback_rate, activation }, Price::ZERO, None)
    });
    (prop_oneof![3 => stop, 1 => trailing], any::<(bool, bool, bool)>()).prop_map(
        |((trigger, trigger_price, limit), (mark, close_position, price_protect))| {
            let working_type = if mark { WorkingType::MarkPrice } else { WorkingType::ContractPrice };
            Conditional { trigger, trigger_price, working_type, limit, close_position, price_protect }
        },
    )
}

fn position_side() -> impl Strategy<Value = PositionSide> {
    prop::sample::select(vec![PositionSide::Both, PositionSide::Long, PositionSide::Short])
}

fn fill() -> impl Strategy<Value = ReportedFill> {
    (0i64..1 << 50, price(), 1i64..1_000_000, any::<bool>(), prop::option::of(money()), money(), time()).prop_map(
        |(id, price, lots, maker, fee, realized, exchange_time)| ReportedFill {
            trade_id: TradeId(id),
            price,
            quantity: Quantity::from_mantissa(lots).expect("positive"),
            maker,
            fee,
            realized,
            exchange_time,
        },
    )
}

fn report() -> impl Strategy<Value = OrderReport> {
    let terms = prop_oneof![
        Just(Terms::Market),
        limit_terms().prop_map(|(price, time_in_force)| Terms::Limit { price, time_in_force }),
        conditional().prop_map(Terms::Conditional),
    ];
    let statuses = vec![
        OrderStatus::New,
        OrderStatus::PartiallyFilled,
        OrderStatus::Filled,
        OrderStatus::Canceled,
        OrderStatus::Rejected,
        OrderStatus::Expired,
        OrderStatus::ExpiredInMatch,
    ];
    let executions =
        vec![ExecutionType::New, ExecutionType::Canceled, ExecutionType::Expired, ExecutionType::Amendment];
    let execution = prop_oneof![
        prop::sample::select(executions).prop_map(|execution| (execution, None)),
        fill().prop_map(|fill| (ExecutionType::Trade, Some(fill))),
        prop::option::of(fill()).prop_map(|fill| (ExecutionType::Calculated, fill)),
    ];
    let what = (key(), 0i64..1 << 60, side(), position_side(), terms, any::<bool>());
    let state = (execution, prop::sample::select(statuses), quantity(), quantity(), 0u8..10, time());
    (what, state).prop_map(
        |(
            (key, id, side, position_side, terms, reduce_only),
            ((execution, fill), status, quantity, filled, expiry_reason, exchange_time),
        )| OrderReport {
            account: ACCOUNT,
            symbol: SymbolIx(0),
            key,
            venue_id: VenueOrderId(id),
            side,
            position_side,
            terms,
            reduce_only,
            execution,
            status,
            quantity,
            filled,
            fill,
            expiry_reason,
            exchange_time,
        },
    )
}

fn conditional_report() -> impl Strategy<Value = ConditionalReport> {
    let statuses = vec![
        ConditionalStatus::New,
        ConditionalStatus::Triggering,
        ConditionalStatus::Triggered,
        ConditionalStatus::Finished,
        ConditionalStatus::Canceled,
        ConditionalStatus::Rejected,
        ConditionalStatus::Expired,
    ];
    let what = (key(), 0i64..1 << 60, side(), position_side(), conditional(), quantity(), any::<bool>());
    let state = (prop::sample::select(statuses), prop::option::of(1i64..1 << 60), "\\PC{0,20}", time());
    (what, state).prop_map(
        |((key, id, side, position_side, terms, quantity, reduce_only), (status, became, reason, exchange_time))| {
            ConditionalReport {
                account: ACCOUNT,
                symbol: SymbolIx(1),
                key,
                venue_id: VenueOrderId(id),
                side,
                position_side,
                terms,
                quantity,
                reduce_only,
                status,
                became: became.map(VenueOrderId),
                reason: reason.into(),
                exchange_time,
            }
        },
    )
}

fn read(text: &str) -> Frame {
    decode::decode_frame(text.as_bytes(), &universe(), Some(ACCOUNT), Ts::from_nanos(5))
        .unwrap_or_else(|e| panic!("{e}: {text}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn market_events_survive_the_wire(event in event(), exchange_time in time(), symbol in 0u16..2) {
        let symbol = SymbolIx(symbol);
        let input = MarketInput { symbol, exchange_time, receive_time: Ts::from_nanos(5), derived: false, event };
        let mut text = String::new();
        prop_assert!(market_event(&mut text, &input, universe().instrument(symbol).expect("embedded")));
        prop_assert_eq!(read(&text), Frame::Market(input.clone()));
        prop_assert_eq!(read(&combined("a@b", &text)), Frame::Market(input));
    }

    #[test]
    fn order_reports_survive_the_wire(report in report()) {
        let mut text = String::new();
        prop_assert!(order_update(&mut text, &report, &OrderFacts::default(), &universe(), Ts::from_millis(9)));
        prop_assert_eq!(read(&text), Frame::User(Report::Order(Box::new(report.clone()))));
        // An answer tells the state alone.
        let mut text = String::new();
        prop_assert!(order(&mut text, &report, &OrderFacts::default(), &universe()));
        let state = OrderReport { execution: ExecutionType::Status, fill: None, expiry_reason: 0, ..report };
        prop_assert_eq!(rest::order(text.as_bytes(), &universe(), ACCOUNT), Ok(state));
    }

    #[test]
    fn conditional_reports_survive_the_wire(report in conditional_report()) {
        let mut text = String::new();
        prop_assert!(algo_update(&mut text, &report, &universe(), Ts::from_millis(9)));
        prop_assert_eq!(read(&text), Frame::User(Report::Conditional(Box::new(report.clone()))));
        let mut text = String::new();
        prop_assert!(algo_order(&mut text, &report, Ts::ZERO, &universe()));
        let state = ConditionalReport { reason: "".into(), ..report.clone() };
        prop_assert_eq!(rest::algo_order(text.as_bytes(), &universe(), ACCOUNT), Ok(state));
        let mut text = String::new();
        algo_canceled(&mut text, &report);
        let canceled = rest::algo_canceled(text.as_bytes(), &universe()).expect("valid");
        prop_assert_eq!((canceled.key, canceled.venue_id), (report.key, report.venue_id));
    }

    #[test]
    fn accounts_survive_the_wire(
        wallet in money(), change in money(), entry_price in price(), net in 1i64..1 << 40, long: bool,
        reason in 0usize..4, exchange_time in time(), side in position_side(), fill in fill(), taker in side(),
    ) {
        let universe = universe();
        let quantity = NetQuantity::from_mantissa(if long { net } else { -net });
        let position = VenuePosition { symbol: SymbolIx(0), position_side: side, quantity, entry_price };
        let reasons = [AccountReason::Order, AccountReason::Funding, AccountReason::Transfer, AccountReason::Other];
        let report = AccountReport {
            account: ACCOUNT,
            reason: reasons[reason],
            balances: vec![(VenueBalance { wallet }, change)],
            positions: vec![position.clone()],
            exchange_time,
        };
        let mut text = String::new();
        account_update(&mut text, &report, &universe, exchange_time);
        prop_assert_eq!(read(&text), Frame::User(Report::Account(Box::new(report))));

        let zero = Mark { mark_price: entry_price, index_price: entry_price, funding_rate: Rate::ZERO, next_funding: Ts::ZERO };
        let mut text = String::new();
        list(&mut text, [&position], |out, p| super::position(out, p, &zero, &universe, exchange_time));
        prop_assert_eq!(rest::positions(text.as_bytes(), &universe).and_then(Rows::all), Ok(vec![position]));
        let mut text = String::new();
        list(&mut text, [VenueBalance { wallet }], |out, b| {
            balance(out, &b, wallet, &universe, exchange_time);
            true
        });
        let expected = if wallet.is_zero() { Vec::new() } else { vec![VenueBalance { wallet }] };
        prop_assert_eq!(rest::balances(text.as_bytes(), &universe).and_then(Rows::all), Ok(expected));
        let record = TradeRecord { symbol: SymbolIx(0), venue_id: VenueOrderId(net), side: taker, position_side: side, fill };
        let mut text = String::new();
        list(&mut text, [&record], |out, r| user_trade(out, r, &universe));
        prop_assert_eq!(rest::user_trades(text.as_bytes(), &universe), Ok(vec![record]));
    }
}

#[test]
fn definitions_survive_the_wire() {
    let info = instruments::builtin().expect("embedded");
    let universe = universe();
    let (mut text, mut brackets) = (String::new(), String::new());
    exchange_info(&mut text, &info);
    list(&mut brackets, universe.instruments(), |out, i| {
        leverage_bracket(out, i);
        true
    });
    let text = format!("{},\"leverageBrackets\":{brackets}}}", text.strip_suffix('}').expect("an object"));
    let read = instruments::from_json(text.as_bytes()).expect("valid");
    assert_eq!(instruments::plan(&universe, &read), instruments::Plan::default(), "nothing changed");
    assert_eq!(read.rate_limits, info.rate_limits);
}

#[test]
fn single_answers_survive_the_wire() {
    let universe = universe();
    let print = |print: &dyn Fn(&mut String)| {
        let mut text = String::new();
        print(&mut text);
        text.into_bytes()
    };
    assert_eq!(rest::time(&print(&|out| single::time(out, Ts::from_millis(5)))), Ok(Ts::from_millis(5)));
    let key = "a\"\\\u{1}é";
    assert_eq!(rest::listen_key(&print(&|out| single::listen_key(out, key))).as_deref(), Ok(key));
    let hedge = crate::order::PositionMode::Hedge;
    assert_eq!(rest::position_mode(&print(&|out| single::position_mode(out, hedge))), Ok(hedge));
    assert_eq!(rest::multi_assets(&print(&|out| single::multi_assets(out, true))), Ok(true));
    let refused = crate::command::VenueError { code: -2013, message: "Order does not exist.".into() };
    assert_eq!(rest::error(400, &print(&|out| error(out, &refused))), refused);
    let call = print(&|out| margin_call(out, &[SymbolIx(1)], &universe, Ts::from_millis(3)));
    let expected = Report::MarginCall { account: ACCOUNT, symbol: SymbolIx(1), exchange_time: Ts::from_millis(3) };
    assert_eq!(read(std::str::from_utf8(&call).expect("text")), Frame::User(expected));
    for report in [
        Report::Leverage { account: ACCOUNT, symbol: SymbolIx(0), leverage: 20 },
        Report::MultiAssets { account: ACCOUNT, multi_assets: false },
    ] {
        let text = print(&|out| assert!(config_update(out, &report, &universe, Ts::ZERO)));
        assert_eq!(read(std::str::from_utf8(&text).expect("text")), Frame::User(report));
    }
    let i = universe.instrument(SymbolIx(0)).expect("embedded");
    let levels = BookLevels { first_id: 7, last_id: 7, ..BookLevels::default() };
    let text = print(&|out| depth(out, &levels, i, Ts::from_millis(4)));
    assert_eq!(rest::depth(&text, i), Ok((levels, Ts::from_millis(4))));
}
