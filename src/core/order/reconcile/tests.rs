//! Scripted runs of the reconciliation: what is asked in which order, what is found, when the account is trusted.

use super::*;
use crate::book::Markets;
use crate::command::{AccountSettings, MarginType, SymbolSettings, VenueError};
use crate::config::{EngineConfig, OnStop, StrategyConfig};
use crate::event::StreamFault;
use crate::id::{AssetIx, Seq, TradeId, VenueOrderId};
use crate::instrument::Universe;
use crate::num::{Money, NetQuantity, Price, Quantity, Side};
use crate::order::desk::test_account;
use crate::order::{PositionMode, PositionSide, ReportedFill};
use std::cell::Cell;

mod race;

const ACCOUNT: AccountIx = AccountIx(0);
const BTC: SymbolIx = SymbolIx(0);
const ETH: SymbolIx = SymbolIx(1);

struct World {
    node: Reconciler,
    config: EngineConfig,
    markets: Markets,
    universe: Universe,
    commands: Cell<u64>,
    now: Ts,
    seq: u64,
    timers: BTreeMap<u64, Ts>,
    sent: Vec<(CommandId, Query)>,
    findings: Vec<Finding>,
    alerts: Vec<AlertCode>,
    untrusted: usize,
    reconciled: usize,
    /// What the venue has.
    leverage: u16,
    trades: Vec<i64>,
    position_in: SymbolIx,
    /// How many looks of the ledger find a difference.
    unequal: u32,
    repairs: usize,
    gap: u64,
    eth_leverage: Option<u16>,
    /// The venue does not know ETH any more.
    gone: bool,
    /// When all trades were made, by the venue's clock; a page by time has seven days.
    traded_at: Ts,
}

impl World {
    fn new() -> World {
        let strategy = StrategyConfig {
            name: "one".into(),
            kind: "one".into(),
            account: ACCOUNT,
            symbols: vec![BTC],
            params: BTreeMap::new(),
            on_stop: OnStop::Leave,
            enabled: true,
        };
        World {
            node: Reconciler::new(ACCOUNT),
            config: EngineConfig {
                accounts: vec![test_account()],
                strategies: vec![strategy],
                ..EngineConfig::default()
            },
            markets: Markets::default(),
            universe: Universe::default(),
            commands: Cell::new(0),
            now: Ts::from_millis(1_000_000_000),
            seq: 0,
            timers: BTreeMap::new(),
            sent: Vec::new(),
            findings: Vec::new(),
            alerts: Vec::new(),
            untrusted: 0,
            reconciled: 0,
            leverage: 5,
            trades: Vec::new(),
            position_in: BTC,
            unequal: 0,
            repairs: 0,
            gap: 0,
            eth_leverage: None,
            gone: false,
            traded_at: Ts::MAX,
        }
    }

    /// Admits an input; what the node says of trust comes back to it, and the ledger answers, as in the engine.
    fn input(&mut self, input: Input) {
        self.event(Event::Input(input));
    }

    fn event(&mut self, event: Event) {
        self.seq += 1;
        let mut agenda = vec![event];
        while !agenda.is_empty() {
            let event = agenda.remove(0);
            let mut out = Outbox::new(100);
            let context = Context {
                now: self.now,
                seq: Seq(self.seq),
                epoch: 1,
                markets: &self.markets,
                universe: &self.universe,
                config: &self.config,
                commands: &self.commands,
            };
            self.node.on(&event, &context, &mut out);
            agenda.extend(out.drain().filter_map(|event| self.sort(event)));
        }
    }

    fn sort(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Command(VenueCommand { id, kind: CommandKind::Query(query), .. }) => self.sent.push((id, query)),
            Event::Arm { timer, at } => drop(self.timers.insert(timer.key, at)),
            Event::Disarm(timer) => drop(self.timers.remove(&timer.key)),
            Event::Alert(alert) => self.alerts.push(alert.code),
            Event::Reconciled(_) => self.reconciled += 1,
            Event::Untrusted(_) => {
                self.untrusted += 1;
                return Some(event);
            }
            Event::Finding(Finding::Holdings { account, repair, .. }) => {
                self.repairs += usize::from(repair);
                let equal = self.unequal == 0 || repair;
                self.unequal = self.unequal.saturating_sub(1);
                return Some(Event::Finding(Finding::Compared { account, equal, gap: self.gap }));
            }
            Event::Finding(finding) => self.findings.push(finding),
            other => panic!("a reconciliation does not emit {other:?}"),
        }
        None
    }

    fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Settings => Answer::Settings(AccountSettings {
                position_mode: PositionMode::OneWay,
                multi_assets: false,
                symbols: [(BTC, Some(self.leverage)), (ETH, self.eth_leverage)]
                    .into_iter()
                    .filter_map(|(symbol, leverage)| {
                        Some(SymbolSettings { symbol, margin_type: MarginType::Cross, leverage: leverage? })
                    })
                    .collect(),
            }),
            Query::OpenOrders => Answer::OpenOrders(Vec::new()),
            Query::OpenConditionals => Answer::OpenConditionals(Vec::new()),
            Query::Trades { symbol, from } => {
                let in_window = |time: Ts| {
                    self.traded_at == Ts::MAX
                        || (time <= self.traded_at && self.traded_at < time.plus(Span::from_secs(7 * 86_400)))
                };
                let from = match from {
                    TradeCursor::Id(id) => id.0,
                    TradeCursor::Time(time) if in_window(*time) => 0,
                    TradeCursor::Time(_) => i64::MAX,
                };
                // Pages of two.
                let ids = self.trades.iter().copied().filter(|id| *symbol == BTC && *id >= from);
                let trades: Vec<TradeRecord> = ids.clone().take(2).map(trade).collect();
                Answer::Trades { symbol: *symbol, trades, complete: ids.count() <= 2 }
            }
            Query::Positions => Answer::Positions(vec![VenuePosition {
                symbol: self.position_in,
                position_side: PositionSide::Both,
                quantity: NetQuantity::from_mantissa(1),
                entry_price: Price::from_mantissa(100),
            }]),
            Query::Balances => Answer::Balances(Vec::new()),
            Query::Order { .. } => panic!("single orders are the desk's"),
        }
    }

    /// Answers everything until nothing is asked; returns the questions.
    fn run(&mut self) -> Vec<Query> {
        let mut asked = Vec::new();
        while !self.sent.is_empty() {
            let (command, query) = self.sent.remove(0);
            self.now = self.now.plus(Span::from_millis(20));
            let unknown = self.gone && matches!(query, Query::Trades { symbol: ETH, .. });
            let error = VenueError { code: -1121, message: "Invalid symbol.".into() };
            let result = if unknown { Err(error) } else { Ok(self.answer(&query)) };
            asked.push(query);
            self.input(Input::Answer(QueryAnswer { command, account: ACCOUNT, result }));
        }
        asked
    }

    fn fire(&mut self, key: u64) {
        let at = self.timers.remove(&key).expect("the timer is armed");
        self.now = self.now.max(at);
        self.input(Input::Timer(TimerId { station: Station::Reconciler(ACCOUNT), key }));
    }

    fn booked(&self) -> Vec<i64> {
        let pages = self.findings.iter().filter_map(|finding| match finding {
            Finding::Trades { trades, .. } => Some(trades.iter().map(|trade| trade.fill.trade_id.0)),
            _ => None,
        });
        pages.flatten().collect()
    }
}

fn trade(id: i64) -> TradeRecord {
    TradeRecord {
        symbol: BTC,
        venue_id: VenueOrderId(1),
        side: Side::Buy,
        position_side: PositionSide::Both,
        fill: ReportedFill {
            trade_id: TradeId(id),
            price: Price::from_mantissa(100),
            quantity: Quantity::from_mantissa(1).expect("positive"),
            maker: true,
            fee: None,
            realized: Money::zero(AssetIx(0)),
            exchange_time: Ts::ZERO,
        },
    }
}

/// A started world that is reconciled.
fn reconciled() -> World {
    let mut world = World::new();
    world.input(Input::Start { epoch: 1 });
    world.run();
    assert_eq!(world.reconciled, 1);
    world
}

#[test]
fn a_start_asks_for_everything_in_order_and_is_then_trusted() {
    let mut world = World::new();
    let since = world.now;
    world.trades = vec![1, 2, 3];
    world.input(Input::Start { epoch: 1 });
    assert_eq!((world.untrusted, world.reconciled), (1, 0));
    let id = |id| TradeCursor::Id(TradeId(id));
    assert_eq!(
        world.run(),
        [
            Query::Settings,
            Query::OpenOrders,
            Query::OpenConditionals,
            Query::Trades { symbol: BTC, from: TradeCursor::Time(since) },
            Query::Trades { symbol: BTC, from: id(3) },
            Query::Positions,
            Query::Balances
        ]
    );
    assert_eq!((world.booked(), world.reconciled, world.repairs), (vec![1, 2, 3], 1, 0));

    // The next run begins where this one ended and checks the settings no more.
    world.trades.push(4);
    world.fire(EVERY);
    let asked = world.run();
    assert_eq!(asked[0], Query::OpenOrders);
    assert_eq!(asked[2], Query::Trades { symbol: BTC, from: id(3) });
    assert_eq!((world.untrusted, world.reconciled), (1, 2), "a run by the clock takes no trust away");
}

#[test]
fn a_stream_that_comes_back_is_reconciled_and_one_that_is_down_is_not() {
    let mut world = reconciled();
    world.input(Input::Stream(StreamState::UserDown(ACCOUNT, StreamFault::LinkLost)));
    assert_eq!((world.untrusted, world.sent.len()), (2, 0));
    world.fire(EVERY);
    world.run();
    assert_eq!(world.reconciled, 1, "reports may be missing until the stream is up");
    world.input(Input::Stream(StreamState::UserUp(ACCOUNT)));
    assert_eq!(world.run()[0], Query::Settings);
    assert_eq!((world.untrusted, world.reconciled), (3, 2));
}

#[test]
fn settings_that_differ_refuse_trust_until_they_agree() {
    let mut world = World::new();
    world.leverage = 20;
    world.input(Input::Start { epoch: 1 });
    world.run();
    world.fire(EVERY);
    world.run();
    assert_eq!((world.reconciled, world.alerts.as_slice()), (0, &[AlertCode::SettingsDiffer][..]), "told once");
    world.leverage = 5;
    world.fire(EVERY);
    assert_eq!(world.run()[0], Query::Settings);
    assert_eq!(world.reconciled, 1);

    // Changed at the venue while we trade.
    world.leverage = 7;
    world.input(Input::Report(Report::Leverage { account: ACCOUNT, symbol: BTC, leverage: 7 }));
    world.run();
    assert_eq!((world.untrusted, world.reconciled, world.alerts.len()), (2, 1, 2));
    world.leverage = 5;
    world.input(Input::Report(Report::Leverage { account: ACCOUNT, symbol: BTC, leverage: 5 }));
    world.run();
    assert_eq!(world.reconciled, 2);
}

#[test]
fn a_difference_is_looked_at_twice_more_before_it_is_repaired() {
    let mut world = reconciled();
    world.unequal = 1;
    world.fire(EVERY);
    world.run();
    assert_eq!((world.reconciled, world.repairs), (1, 0));
    world.fire(STEP);
    let asked = world.run();
    assert!(matches!(asked[0], Query::Trades { .. }), "a fill may have been on its way: {asked:?}");
    assert_eq!((world.reconciled, world.repairs), (2, 0));

    world.unequal = 10;
    world.fire(EVERY);
    world.run();
    for _ in 0..2 {
        world.fire(STEP);
        world.run();
    }
    assert_eq!((world.reconciled, world.repairs), (3, 1));
}

#[test]
fn a_difference_that_moves_is_not_repaired() {
    let mut world = reconciled();
    world.unequal = 100;
    world.fire(EVERY);
    for look in 0..30 {
        world.gap = look;
        world.run();
        world.fire(STEP);
    }
    assert_eq!((world.reconciled, world.repairs), (1, 0), "fills keep coming");
    for _ in 0..8 {
        world.run();
        if world.reconciled == 1 {
            world.fire(STEP);
        }
    }
    assert_eq!((world.reconciled, world.repairs), (2, 1), "now it stays");
}

#[test]
fn an_account_with_a_past_is_taken_as_it_is_found_at_first() {
    let mut world = World::new();
    world.unequal = 1;
    world.input(Input::Start { epoch: 1 });
    world.run();
    assert_eq!((world.reconciled, world.repairs), (1, 1));
}

#[test]
fn a_position_in_another_symbol_has_its_trades_asked_for() {
    let mut world = World::new();
    world.position_in = ETH;
    world.input(Input::Start { epoch: 1 });
    let asked = world.run();
    let eth = asked.iter().position(|query| matches!(query, Query::Trades { symbol: ETH, .. }));
    let positions = asked.iter().filter(|query| **query == Query::Positions).count();
    assert!(eth.is_some() && positions == 2, "{asked:?}");
    // Its settings were not looked at: another run does that first.
    assert_eq!(world.reconciled, 0);
    world.fire(STEP);
    assert_eq!(world.run()[0], Query::Settings);
    assert_eq!(world.reconciled, 1);
}

/// Leverage and margin type count wherever the account trades, not only where a strategy is configured to.
#[test]
fn the_settings_of_every_symbol_that_is_traded_are_checked() {
    let mut world = reconciled();
    world.eth_leverage = Some(20);
    let fill = || crate::order::Fill {
        account: ACCOUNT,
        strategy: crate::id::StrategyIx::EXTERNAL,
        symbol: ETH,
        key: crate::id::OrderKey::parse("somebody"),
        venue_order: VenueOrderId(1),
        trade_id: TradeId(1),
        side: Side::Buy,
        position_side: PositionSide::Both,
        price: Price::from_mantissa(100),
        quantity: Quantity::from_mantissa(1).expect("positive"),
        maker: true,
        fee: None,
        realized: Money::zero(AssetIx(0)),
        exchange_time: Ts::ZERO,
    };
    world.position_in = ETH;
    world.event(Event::Fill(fill()));
    assert_eq!(world.run()[0], Query::Settings, "at once");
    assert_eq!((world.untrusted, world.reconciled, &world.alerts[..]), (2, 1, &[AlertCode::SettingsDiffer][..]));
    world.event(Event::Fill(fill()));
    assert!(world.sent.is_empty(), "once");
    world.eth_leverage = Some(5);
    world.fire(EVERY);
    world.run();
    assert_eq!(world.reconciled, 2);
}

/// A symbol that was delisted is left out, once nothing is held or ordered in it; what fails otherwise is told.
#[test]
fn a_symbol_that_is_gone_does_not_keep_the_account_untrusted() {
    let mut world = World::new();
    world.position_in = ETH;
    world.input(Input::Start { epoch: 1 });
    world.run();
    world.fire(STEP);
    world.run();
    assert_eq!(world.reconciled, 1);
    // Gone, they say, but there is a position: that cannot be.
    world.gone = true;
    world.fire(EVERY);
    for _ in 0..6 {
        world.run();
        world.fire(STEP);
    }
    assert_eq!((world.reconciled, &world.alerts[..]), (1, &[AlertCode::BookingFailed][..]), "told once");
    world.position_in = BTC;
    world.run();
    assert_eq!(world.reconciled, 2);
    let eth = |asked: &[Query]| asked.iter().any(|query| matches!(query, Query::Trades { symbol: ETH, .. }));
    for asks in [true, false] {
        world.fire(EVERY);
        assert_eq!(eth(&world.run()), asks, "asked for once more, then forgotten");
    }
    assert_eq!((world.reconciled, world.alerts.len()), (4, 1));
}

/// A page by time covers seven days at most, though it is not full.
#[test]
fn the_history_of_a_long_absence_is_walked_to_its_end() {
    let mut world = reconciled();
    world.now = world.now.plus(Span::from_secs(20 * 86_400));
    // Nine days in.
    world.trades = vec![1, 2, 3];
    world.traded_at = Ts::from_millis(1_000_000_000).plus(Span::from_secs(9 * 86_400));
    world.findings.clear();
    world.input(Input::Start { epoch: 2 });
    let asked = world.run();
    assert_eq!((world.booked(), world.reconciled), (vec![1, 2, 3], 2), "{asked:?}");
}

/// Where a symbol has no trades the time is the only handle: our clock may be ahead of the venue's.
#[test]
fn a_clock_that_is_ahead_loses_no_trade() {
    let mut world = World::new();
    world.now = world.now.plus(Span::from_secs(86_400));
    world.input(Input::Start { epoch: 1 });
    world.run();
    world.now = world.now.plus(Span::from_secs(7_200));
    world.fire(EVERY);
    world.run();
    // Filled, by the venue's clock, ten minutes before we asked by ours; nobody told.
    world.trades = vec![1];
    world.traded_at = Ts::from_nanos(world.now.nanos() - 600 * 1_000_000_000);
    world.fire(EVERY);
    world.run();
    assert_eq!(world.booked(), [1]);
}

#[test]
fn the_next_page_of_a_history() {
    let (time, id) = (|s: i64| TradeCursor::Time(Ts::from_millis(s * 1000)), |id| TradeCursor::Id(TradeId(id)));
    let now = Ts::from_millis(20 * 86_400_000);
    let window = 7 * 86_400 - 3_600;
    for (from, newest, complete, next) in [
        (id(5), None, true, None),
        (id(5), Some(9), true, None),
        (id(5), Some(9), false, Some(id(10))),
        (time(0), None, true, Some(time(window))),
        (time(0), Some(9), true, Some(id(10))),
        (time(0), Some(9), false, Some(id(10))),
        (time(14 * 86_400), None, true, None),
        (time(14 * 86_400), Some(9), true, None),
        (time(14 * 86_400), Some(9), false, Some(id(10))),
    ] {
        assert_eq!(from.next(newest.map(TradeId), complete, now), next, "{from:?} {newest:?} {complete}");
    }
}

#[test]
fn errors_are_asked_again_and_silence_begins_anew() {
    let mut world = World::new();
    world.input(Input::Start { epoch: 1 });
    let (command, _) = world.sent.remove(0);
    let error = VenueError { code: -1001, message: "".into() };
    world.input(Input::Answer(QueryAnswer { command, account: ACCOUNT, result: Err(error) }));
    assert!(world.sent.is_empty(), "not at once");
    world.fire(STEP);
    assert_eq!(world.sent[0].1, Query::Settings);
    let (command, query) = world.sent.remove(0);
    let result = Ok(world.answer(&query));
    world.input(Input::Answer(QueryAnswer { command, account: ACCOUNT, result }));
    assert_eq!(world.sent.remove(0).1, Query::OpenOrders);
    // No answer: from the beginning, where the settings were checked already.
    let asked_at = world.now;
    world.fire(STEP);
    assert_eq!(world.now.since(asked_at), world.config.timing.reconcile_timeout);
    world.run();
    assert_eq!(world.reconciled, 1);
}

#[test]
fn distrust_in_the_middle_voids_the_run_and_another_follows() {
    let mut world = reconciled();
    world.fire(EVERY);
    world.seq += 1;
    let fill = Event::Untrusted(ACCOUNT);
    let context = Context {
        now: world.now,
        seq: Seq(world.seq),
        epoch: 1,
        markets: &world.markets,
        universe: &world.universe,
        config: &world.config,
        commands: &world.commands,
    };
    world.node.on(&fill, &context, &mut Outbox::new(10));
    world.run();
    assert_eq!(world.reconciled, 1);
    world.fire(STEP);
    world.run();
    assert_eq!(world.reconciled, 2);
}

#[test]
fn a_restored_reconciliation_goes_on_from_its_cursors() {
    let mut world = World::new();
    world.trades = vec![1, 2, 3];
    world.input(Input::Start { epoch: 1 });
    world.run();
    let snapshot = world.node.snapshot();
    world.node = Reconciler::new(ACCOUNT);
    world.node.restore(&snapshot).expect("own snapshot");
    world.trades = vec![1, 2, 3, 4];
    world.findings.clear();
    world.input(Input::Start { epoch: 2 });
    world.run();
    assert_eq!((world.booked(), world.reconciled), (vec![3, 4], 2));
    assert_eq!(world.node.state_hash(), {
        let mut copy = Reconciler::new(ACCOUNT);
        copy.restore(&world.node.snapshot()).expect("own snapshot");
        copy.state_hash()
    });
}
