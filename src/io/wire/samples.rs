//! The values of the stored samples, one at least of every variant of inputs and decisions and of what they hold.

use qcat_core::command::*;
use qcat_core::config::*;
use qcat_core::event::*;
use qcat_core::id::*;
use qcat_core::instrument::*;
use qcat_core::market::*;
use qcat_core::num::*;
use qcat_core::order::*;
use qcat_core::risk::refusal::*;
use qcat_core::time::{Span, Ts};

const ACCOUNT: AccountIx = AccountIx(1);
const SYMBOL: SymbolIx = SymbolIx(2);
const STRATEGY: StrategyIx = StrategyIx(3);
const ASSET: AssetIx = AssetIx(4);

fn at(millis: i64) -> Ts {
    Ts::from_millis(1_723_161_255_000 + millis)
}

fn price(mantissa: i64) -> Price {
    Price::from_mantissa(mantissa)
}

fn quantity(mantissa: i64) -> Quantity {
    Quantity::from_mantissa(mantissa).expect("not negative")
}

fn money(units: i64) -> Money {
    Money::units(ASSET, units)
}

fn id() -> ClientOrderId {
    ClientOrderId { epoch: 1_723_161_255, account: ACCOUNT, strategy: STRATEGY, counter: 77 }
}

fn foreign() -> OrderKey {
    OrderKey::Foreign(ForeignId::new("web_AbCdEf0123456789AbCdEf0123456789"))
}

fn asked(command: OperatorCommand, key: Option<&str>) -> Input {
    let by = Origin { user: "ada".into(), role: "trader".into(), remote: "192.0.2.7".into(), request: "r-17".into() };
    let key = key.map(|key| IdempotencyKey { key: key.into(), fingerprint: 0xfeed_beef });
    Input::Asked(Box::new(Asked { by, key, command }))
}

fn params() -> std::collections::BTreeMap<std::sync::Arc<str>, ParamValue> {
    [("fast", ParamValue::Int(5)), ("size", ParamValue::Float(0.5)), ("side", ParamValue::Text("both".into()))]
        .map(|(name, value)| (name.into(), value))
        .into()
}

fn market(event: MarketEvent) -> Input {
    Input::Market(MarketInput { symbol: SYMBOL, exchange_time: at(0), receive_time: at(3), derived: true, event })
}

fn candle() -> Candle {
    Candle {
        interval: Span::from_secs(60),
        open_time: at(0),
        open: price(100),
        high: price(120),
        low: price(-90),
        close: price(110),
        volume: quantity(5_000),
        quote_volume: money(550),
        taker_buy_volume: quantity(2_000),
        trades: 17,
        closed: true,
    }
}

fn levels() -> Box<BookLevels> {
    let level = |p, q| Level { price: price(p), quantity: quantity(q) };
    Box::new(BookLevels {
        first_id: 10,
        last_id: 1 << 40,
        previous_id: 9,
        bids: vec![level(99, 1), level(98, 0)],
        asks: vec![level(101, 300)],
    })
}

fn conditional(trigger: Trigger) -> Conditional {
    Conditional {
        trigger,
        trigger_price: price(95),
        working_type: WorkingType::MarkPrice,
        limit: Some((price(94), TimeInForce::Gtd(at(9)))),
        close_position: true,
        price_protect: true,
    }
}

fn order(terms: Terms) -> OrderIntent {
    OrderIntent {
        id: id(),
        symbol: SYMBOL,
        side: Side::Sell,
        quantity: quantity(12),
        terms,
        reduce_only: true,
        position_side: PositionSide::Short,
    }
}

fn fill() -> ReportedFill {
    ReportedFill {
        trade_id: TradeId(5_555),
        price: price(101),
        quantity: quantity(3),
        maker: true,
        fee: Some(Money::new(AssetIx(9), -12_345_678_901_234_567_890)),
        realized: money(-4),
        exchange_time: at(1),
    }
}

fn order_report() -> OrderReport {
    OrderReport {
        account: ACCOUNT,
        symbol: SYMBOL,
        key: OrderKey::Ours(id()),
        venue_id: VenueOrderId(8_886_774),
        side: Side::Buy,
        position_side: PositionSide::Both,
        terms: Terms::Limit { price: price(101), time_in_force: TimeInForce::PostOnly },
        reduce_only: false,
        execution: ExecutionType::Trade,
        status: OrderStatus::PartiallyFilled,
        quantity: quantity(12),
        filled: quantity(3),
        fill: Some(fill()),
        expiry_reason: 7,
        exchange_time: at(2),
    }
}

fn conditional_report() -> ConditionalReport {
    ConditionalReport {
        account: ACCOUNT,
        symbol: SYMBOL,
        key: foreign(),
        venue_id: VenueOrderId(-1),
        side: Side::Sell,
        position_side: PositionSide::Long,
        terms: conditional(Trigger::TakeProfit),
        quantity: quantity(0),
        reduce_only: true,
        status: ConditionalStatus::Rejected,
        became: Some(VenueOrderId(3)),
        reason: "Order would immediately trigger.".into(),
        exchange_time: at(4),
    }
}

fn position() -> VenuePosition {
    VenuePosition {
        symbol: SYMBOL,
        position_side: PositionSide::Both,
        quantity: NetQuantity::from_mantissa(-9),
        entry_price: price(100),
    }
}

fn venue_error() -> VenueError {
    VenueError { code: -2_013, message: "Order does not exist.".into() }
}

fn answer(result: Result<Answer, VenueError>) -> Input {
    Input::Answer(QueryAnswer { command: CommandId(400), account: ACCOUNT, result })
}

fn outcome(outcome: Outcome) -> Input {
    Input::Outcome(RequestOutcome { command: CommandId(401), account: ACCOUNT, outcome })
}

/// Inputs by the name of their file.
pub fn input_samples() -> Vec<(&'static str, Input)> {
    let mut all = market_samples();
    all.extend(venue_samples());
    all.extend(state_samples());
    all.extend(operator_samples());
    all.extend(setup_samples());
    all
}

fn market_samples() -> Vec<(&'static str, Input)> {
    let quote = Quote {
        update_id: 1 << 60,
        bid: price(99),
        bid_quantity: quantity(1),
        ask: price(0),
        ask_quantity: quantity(0),
    };
    let trade = Trade {
        id: TradeId(5),
        price: price(i64::MAX),
        quantity: quantity(i64::MAX),
        aggressor: Side::Sell,
        on_book: false,
    };
    let agg = AggTrade {
        id: 6,
        first: TradeId(5),
        last: TradeId(7),
        price: price(100),
        quantity: quantity(8),
        aggressor: Side::Buy,
    };
    let mark =
        Mark { mark_price: price(100), index_price: price(0), funding_rate: Rate::from_bps(-1), next_funding: at(5) };
    vec![
        ("market-quote", market(MarketEvent::Quote(quote))),
        ("market-trade", market(MarketEvent::Trade(trade))),
        ("market-agg-trade", market(MarketEvent::AggTrade(agg))),
        ("market-book-reset", market(MarketEvent::BookReset(levels()))),
        ("market-book-delta", market(MarketEvent::BookDelta(levels()))),
        ("market-book-gap", market(MarketEvent::BookGap)),
        ("market-mark", market(MarketEvent::Mark(mark))),
        ("market-candle", market(MarketEvent::Candle(Box::new(candle())))),
        ("history", Input::History(History { symbol: SYMBOL, candles: vec![candle(), candle()] })),
    ]
}

fn venue_samples() -> Vec<(&'static str, Input)> {
    let account = AccountReport {
        account: ACCOUNT,
        reason: AccountReason::Funding,
        balances: vec![(VenueBalance { wallet: money(1_000) }, money(-1))],
        positions: vec![position()],
        exchange_time: at(6),
    };
    let settings = AccountSettings {
        position_mode: PositionMode::Hedge,
        multi_assets: true,
        symbols: vec![SymbolSettings { symbol: SYMBOL, margin_type: MarginType::Isolated, leverage: 125 }],
    };
    let row = TradeRecord {
        symbol: SYMBOL,
        venue_id: VenueOrderId(8),
        side: Side::Buy,
        position_side: PositionSide::Both,
        fill: fill(),
    };
    let trades = Answer::Trades { symbol: SYMBOL, trades: vec![row], complete: false };
    let multi_assets = Report::MultiAssets { account: ACCOUNT, multi_assets: true };
    let margin_call = Report::MarginCall { account: ACCOUNT, symbol: SYMBOL, exchange_time: at(7) };
    vec![
        ("report-order", Input::Report(Report::Order(Box::new(order_report())))),
        ("report-conditional", Input::Report(Report::Conditional(Box::new(conditional_report())))),
        ("report-account", Input::Report(Report::Account(Box::new(account)))),
        ("report-leverage", Input::Report(Report::Leverage { account: ACCOUNT, symbol: SYMBOL, leverage: 20 })),
        ("report-multi-assets", Input::Report(multi_assets)),
        ("report-margin-call", Input::Report(margin_call)),
        ("answer-error", answer(Err(venue_error()))),
        ("answer-order", answer(Ok(Answer::Order(Box::new(order_report()))))),
        ("answer-conditional", answer(Ok(Answer::Conditional(Box::new(conditional_report()))))),
        ("answer-no-such-order", answer(Ok(Answer::NoSuchOrder))),
        ("answer-open-orders", answer(Ok(Answer::OpenOrders(vec![order_report()])))),
        ("answer-open-conditionals", answer(Ok(Answer::OpenConditionals(vec![conditional_report()])))),
        ("answer-trades", answer(Ok(trades))),
        ("answer-positions", answer(Ok(Answer::Positions(vec![position()])))),
        ("answer-balances", answer(Ok(Answer::Balances(vec![VenueBalance { wallet: money(7) }])))),
        ("answer-settings", answer(Ok(Answer::Settings(settings)))),
        ("outcome-written", outcome(Outcome::Written)),
        ("outcome-order", outcome(Outcome::Order(Box::new(order_report())))),
        ("outcome-conditional", outcome(Outcome::Conditional(Box::new(conditional_report())))),
        ("outcome-rejected", outcome(Outcome::Rejected(venue_error()))),
        ("outcome-unknown", outcome(Outcome::Unknown(venue_error()))),
        ("outcome-timed-out", outcome(Outcome::TimedOut)),
        ("outcome-limited", outcome(Outcome::Limited(at(8)))),
        ("outcome-not-sent", outcome(Outcome::NotSent)),
        ("outcome-link-lost", outcome(Outcome::LinkLost)),
    ]
}

fn state_samples() -> Vec<(&'static str, Input)> {
    let timer = TimerId { station: Station::Reconciler(ACCOUNT), key: u64::MAX };
    vec![
        ("stream-market-up", Input::Stream(StreamState::MarketUp(SYMBOL))),
        ("stream-market-down", Input::Stream(StreamState::MarketDown(SYMBOL, StreamFault::Overflow))),
        ("stream-user-up", Input::Stream(StreamState::UserUp(ACCOUNT))),
        ("stream-user-down", Input::Stream(StreamState::UserDown(ACCOUNT, StreamFault::Silent))),
        ("slow-step", Input::SlowStep { strategy: STRATEGY, nanos: 5_000_000 }),
        ("halt", Input::Halt { scope: Scope::Symbol(SYMBOL), reason: HaltReason::ControlLost }),
        ("rebuild", Input::Rebuild(Station::Ledger(ACCOUNT))),
        ("give-up", Input::GiveUp(STRATEGY)),
        ("timer", Input::Timer(timer)),
        ("start", Input::Start { epoch: 1_723_161_255 }),
    ]
}

fn operator_samples() -> Vec<(&'static str, Input)> {
    let command = Input::Command;
    let intent = |intent| command(OperatorCommand::Intent(intent));
    let modify =
        Intent::Modify { strategy: STRATEGY, symbol: SYMBOL, id: id(), price: price(5), quantity: quantity(6) };
    let cancel = Intent::Cancel { account: ACCOUNT, strategy: STRATEGY, symbol: SYMBOL, key: foreign() };
    let trailing = Trigger::Trailing { callback_rate: Rate::from_bps(50), activation: Some(price(3)) };
    vec![
        ("command-place-market", intent(Intent::Place(order(Terms::Market)))),
        ("command-place-stop", intent(Intent::Place(order(Terms::Conditional(conditional(Trigger::Stop)))))),
        ("command-place-trailing", intent(Intent::Place(order(Terms::Conditional(conditional(trailing)))))),
        ("command-cancel", intent(cancel)),
        ("command-modify", intent(modify)),
        ("command-cancel-all", intent(Intent::CancelAll { account: ACCOUNT, strategy: STRATEGY, symbol: None })),
        ("command-start", command(OperatorCommand::StartStrategy(STRATEGY))),
        ("command-stop", command(OperatorCommand::StopStrategy(STRATEGY))),
        ("command-resume", command(OperatorCommand::Resume(Scope::All))),
        ("command-reconcile", command(OperatorCommand::Reconcile(ACCOUNT))),
        ("asked-halt", asked(OperatorCommand::Halt(Scope::Account(ACCOUNT)), None)),
        ("asked-cancel-all", asked(OperatorCommand::CancelAll { account: ACCOUNT, symbol: Some(SYMBOL) }, Some("k-1"))),
        ("asked-set-params", asked(OperatorCommand::SetParams { strategy: STRATEGY, params: params() }, None)),
        ("asked-note", asked(OperatorCommand::Note { what: "shutdown".into(), target: "graceful".into() }, None)),
    ]
}

fn setup_samples() -> Vec<(&'static str, Input)> {
    let limits = AccountLimits {
        order_notional_max: money(1),
        position_notional_max: money(2),
        exposure_max: money(3),
        leverage_max: Rate::ONE,
        price_band: Rate::from_bps(100),
        // What version 1 is read with.
        reference_age_max: qcat_core::config::REFERENCE_AGE_MAX,
        order_rate_max: 4,
        order_rate_window: Span::from_secs(10),
        open_orders_max: 5,
        open_conditionals_max: 6,
        daily_loss_max: money(7),
        runaway_orders_max: 8,
        runaway_window: Span::from_secs(11),
    };
    let account = AccountConfig {
        name: "main".into(),
        trading: true,
        position_mode: PositionMode::OneWay,
        multi_assets: false,
        margin_type: MarginType::Cross,
        leverage: 10,
        limits,
        on_fault: OnFault::CancelAll,
        triggering_bound: Span::from_secs(30),
        on_stuck_trigger: OnStuckTrigger::Alert,
    };
    let params = [
        ("fast", ParamValue::Int(-12)),
        ("width", ParamValue::Float(0.1)),
        ("long", ParamValue::Bool(true)),
        ("mode", ParamValue::Text("slow".into())),
    ];
    let strategy = StrategyConfig {
        name: "trend-1".into(),
        kind: "trend".into(),
        account: ACCOUNT,
        symbols: vec![SYMBOL],
        params: params.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        on_stop: OnStop::Flatten,
        enabled: true,
    };
    let config = EngineConfig {
        accounts: vec![account],
        strategies: vec![strategy],
        risk: RiskConfig::default(),
        timing: Timing {
            order_timeout: Span::from_secs(5),
            query_backoff: Span::from_millis(500),
            query_backoff_max: Span::from_secs(30),
            absent_after: Span::from_secs(10),
            reconcile_every: Span::from_secs(60),
            reconcile_timeout: Span::from_secs(15),
        },
    };
    vec![
        ("configuration", Input::Configuration(Box::new(config))),
        ("definition-asset", Input::Definition(Definition::Asset { asset: ASSET, name: "USDT".into() })),
        ("definition-instrument", Input::Definition(Definition::Instrument(Box::new(instrument())))),
    ]
}

fn instrument() -> Instrument {
    let lot = LotFilter { min: quantity(1), max: quantity(1_000), step: quantity(1) };
    Instrument {
        symbol: SYMBOL,
        name: "BTCUSDT".into(),
        version: 3,
        status: ContractStatus::Trading,
        contract: ContractType::Perpetual,
        base: AssetIx(0),
        quote: ASSET,
        margin: ASSET,
        price_scale: 8,
        quantity_scale: 3,
        filters: Filters {
            price: PriceFilter { min: price(1), max: price(0), tick: price(10) },
            lot,
            market_lot: lot,
            max_orders: Some(200),
            max_conditional_orders: None,
            min_notional: Some(money(100)),
            percent_price: Some(PercentPrice { up: Rate::from_bps(10_500), down: Rate::from_bps(9_500) }),
            trigger_protect: Some(Rate::from_bps(500)),
            market_take_bound: None,
            unknown: vec!["POSITION_RISK_CONTROL".into()],
        },
        liquidation_fee: Rate::from_bps(125),
        brackets: vec![Bracket {
            notional_floor: money(0),
            notional_cap: money(50_000),
            max_leverage: 125,
            maintenance_rate: Rate::from_bps(40),
            maintenance_amount: money(0),
        }],
    }
}

/// Decisions by the name of their file.
pub fn decision_samples() -> Vec<(&'static str, Vec<Decision>)> {
    let placed = NewOrder { intent: order(Terms::Market), send_reduce_only: false, held_price: price(104) };
    let queries = vec![
        Query::Order { symbol: SYMBOL, key: foreign(), conditional: true },
        Query::OpenOrders,
        Query::OpenConditionals,
        Query::Trades { symbol: SYMBOL, from: TradeCursor::Id(TradeId(9)) },
        Query::Trades { symbol: SYMBOL, from: TradeCursor::Time(at(1)) },
        Query::Positions,
        Query::Balances,
        Query::Settings,
    ];
    let modify =
        CommandKind::Modify { symbol: SYMBOL, id: id(), side: Side::Buy, price: price(1), quantity: quantity(2) };
    let cancel = CommandKind::Cancel { symbol: SYMBOL, key: OrderKey::Ours(id()), conditional: false };
    let command = |kind| Decision::Command(VenueCommand { id: CommandId(900), account: ACCOUNT, kind });
    let runner = |state| Decision::Runner { strategy: STRATEGY, state };
    let alert = Alert {
        code: AlertCode::ForeignOrder,
        account: Some(ACCOUNT),
        symbol: None,
        order: Some(id()),
        text: "an order that is not ours was filled".into(),
    };
    vec![
        ("place", vec![command(CommandKind::Place(placed))]),
        ("modify-and-cancel", vec![command(modify), command(cancel)]),
        ("queries", queries.into_iter().map(|query| command(CommandKind::Query(query))).collect()),
        ("refused", refusals()),
        ("halted", vec![Decision::Halted { scope: Scope::Account(ACCOUNT), reason: HaltReason::DailyLoss }]),
        ("resumed", vec![Decision::Resumed { scope: Scope::Strategy(STRATEGY) }]),
        (
            "runner",
            vec![
                runner(RunnerState::WarmingUp),
                runner(RunnerState::Running),
                runner(RunnerState::Paused(PauseReason::Stream(StreamFault::Gap))),
                runner(RunnerState::Paused(PauseReason::Halt(HaltReason::Runaway))),
                runner(RunnerState::Faulted),
                runner(RunnerState::Stopped(StopReason::Faults)),
            ],
        ),
        ("alert", vec![Decision::Alert(alert)]),
    ]
}

fn refusals() -> Vec<Decision> {
    let decimal = Decimal::new(12_345, 2);
    let reasons = vec![
        Refusal::Unsupported("GTD".into()),
        Refusal::UnknownStrategy { strategy: STRATEGY, account: ACCOUNT },
        Refusal::NotTradable { symbol: SYMBOL, status: ContractStatus::Settling },
        Refusal::Halted { scope: Scope::All, reason: HaltReason::KillSwitch },
        Refusal::BudgetExpired { account: ACCOUNT, expired: at(1) },
        Refusal::PriceFilter { role: PriceRole::Trigger, price: decimal, broken: Bound::Step, bound: decimal },
        Refusal::LotFilter { quantity: decimal, broken: Bound::Min, bound: decimal, market: true },
        Refusal::PriceBand { price: decimal, reference: decimal, band: Rate::from_bps(10) },
        Refusal::TooLarge { limit: MoneyLimit::Exposure, value: money(9), bound: money(8) },
        Refusal::Leverage { exposure: money(9), equity: money(1), bound: Rate::ONE },
        Refusal::OrderRate { sent: 5, bound: 4, window: Span::from_secs(10) },
        Refusal::DuplicateId(id()),
        Refusal::UnknownOrder(foreign()),
        Refusal::NotModifiable { key: foreign(), reason: "it is conditional".into() },
        Refusal::ReduceOnlyTooLarge { quantity: decimal, available: decimal, position: decimal },
        Refusal::Overflow,
    ];
    let intent = Intent::Place(order(Terms::Market));
    reasons.into_iter().map(|reason| Decision::Refused(Refused { intent, reason })).collect()
}
