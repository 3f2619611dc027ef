//! A small world around one runner, for tests: it keeps the market, carries events back and forth in one agenda as the engine
//! does, and plays gate, desk, venue and ledger in the simplest way that is true to their order of events.
#![allow(clippy::unwrap_used)]

use crate::binance::instruments;
use crate::book::Markets;
use crate::candle::check_interval;
use crate::config::{EngineConfig, OnStop, ParamValue, StrategyConfig};
use crate::event::{Alert, Event, Input, Refused, RunnerState, VirtualPosition};
use crate::id::{AccountIx, AssetIx, ClientOrderId, OrderKey, Seq, StrategyIx, SymbolIx, TradeId, VenueOrderId};
use crate::instrument::{Definition, Instrument, InstrumentSpec, Universe};
use crate::market::{Candle, MarketEvent, MarketInput, Quote, Trade};
use crate::node::{Context, Node, Outbox};
use crate::num::{Money, NetQuantity, Price, Quantity, Rounding, Side};
use crate::order::{End, Fill, Intent, OrderIntent, OrderState, OrderUpdate, PositionSide, Terms, TimeInForce};
use crate::risk::gate::Refusal;
use crate::strategy::{Registry, Runner};
use crate::time::{Span, Ts};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(crate) const IX: StrategyIx = StrategyIx(1);
pub(crate) const ACCOUNT: AccountIx = AccountIx(0);
pub(crate) const SYMBOL: SymbolIx = SymbolIx(0);

/// The embedded BTCUSDT with market orders of one coin at most.
pub(crate) fn universe() -> Universe {
    let listed = instruments::builtin().unwrap().instruments.swap_remove(0);
    let market_lot = ["0.001", "1", "0.001"].map(Into::into);
    let spec = InstrumentSpec { market_lot, brackets: vec![], ..listed };
    let mut universe = Universe::default();
    for definition in universe.plan(&spec).unwrap() {
        universe.define(&definition).unwrap();
    }
    universe
}

pub(crate) fn instrument() -> Instrument {
    universe().instrument(SYMBOL).unwrap().clone()
}

/// A closed one-second candle that opens at `second`, flat at `price`.
pub(crate) fn candle(second: i64, price: f64) -> Candle {
    let interval = Span::from_secs(1);
    check_interval(interval).unwrap();
    let price = instrument().price_from(price, Rounding::Nearest).unwrap();
    Candle {
        interval,
        open_time: Ts::from_millis(second * 1000),
        open: price,
        high: price,
        low: price,
        close: price,
        volume: Quantity::ZERO,
        quote_volume: Money::zero(AssetIx(1)),
        taker_buy_volume: Quantity::ZERO,
        trades: 0,
        closed: true,
    }
}

/// What the world's gate does with orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Passes them to the venue.
    Pass,
    /// Refuses every order.
    Refuse,
    /// Refuses exits as too small.
    Dust,
    /// Refuses exits of more than this: the account covers no more.
    Covers(Quantity),
    /// Keeps them: nothing is heard of them.
    Swallow,
}

pub(crate) struct World {
    pub(crate) runner: Runner,
    pub(crate) config: EngineConfig,
    pub(crate) gate: Gate,
    pub(crate) now: Ts,
    pub(crate) epoch: u32,
    /// Everything that the runner wanted, since the last [`World::take_intents`].
    pub(crate) intents: Vec<Intent>,
    pub(crate) states: Vec<RunnerState>,
    pub(crate) alerts: Vec<Alert>,
    pub(crate) timers: BTreeMap<u64, Ts>,
    /// Orders at the venue.
    pub(crate) open: Vec<(OrderIntent, OrderUpdate)>,
    pub(crate) fills: Vec<Fill>,
    /// Mantissa at the quantity scale.
    pub(crate) position: i64,
    cost: i128,
    universe: Universe,
    markets: Markets,
    commands: Cell<u64>,
    agenda: VecDeque<Event>,
    ids: u64,
}

impl World {
    /// A runner of a kind with whole-number, number or word parameters, before any input.
    pub(crate) fn new(registry: Registry, kind: &str, params: &[(&str, ParamValue)], on_stop: OnStop) -> World {
        let setup = StrategyConfig {
            name: "one".into(),
            kind: kind.into(),
            account: ACCOUNT,
            symbols: vec![SYMBOL],
            params: params.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
            on_stop,
            enabled: true,
        };
        let runner = Runner::new(IX, &setup, Arc::new(registry));
        let config = EngineConfig { strategies: vec![setup], ..EngineConfig::default() };
        World {
            runner,
            config,
            gate: Gate::Pass,
            now: Ts::from_millis(1_000_000),
            epoch: 7,
            intents: Vec::new(),
            states: Vec::new(),
            alerts: Vec::new(),
            timers: BTreeMap::new(),
            open: Vec::new(),
            fills: Vec::new(),
            position: 0,
            cost: 0,
            universe: universe(),
            markets: Markets::default(),
            commands: Cell::new(0),
            agenda: VecDeque::new(),
            ids: 0,
        }
    }

    /// The same, started and reconciled.
    pub(crate) fn started(registry: Registry, kind: &str, params: &[(&str, ParamValue)], on_stop: OnStop) -> World {
        let mut world = World::new(registry, kind, params, on_stop);
        world.input(Input::Configuration(Box::new(world.config.clone())));
        world.input(Input::Start { epoch: world.epoch });
        world.event(Event::Reconciled(ACCOUNT));
        world
    }

    /// Changes the instrument.
    pub(crate) fn redefine(&mut self, change: impl FnOnce(&mut Instrument)) {
        let mut changed = instrument();
        change(&mut changed);
        self.universe.define(&Definition::Instrument(Box::new(changed))).unwrap();
    }

    /// Admits an input and lets its cascade run to its end.
    pub(crate) fn input(&mut self, input: Input) {
        if let Input::Market(market) = &input {
            self.markets.apply(market);
        }
        self.event(Event::Input(input));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.agenda.push_back(event);
        while let Some(event) = self.agenda.pop_front() {
            match event {
                Event::Intent(intent) => {
                    self.intents.push(intent);
                    self.gate(intent);
                }
                Event::Runner { state, .. } => self.states.push(state),
                Event::Alert(alert) => self.alerts.push(alert),
                Event::Arm { timer, at } => drop(self.timers.insert(timer.key, at)),
                Event::Disarm(timer) => drop(self.timers.remove(&timer.key)),
                other => {
                    self.step(&other);
                    if let Event::Fill(fill) = other {
                        self.book(&fill);
                    }
                }
            }
        }
    }

    fn step(&mut self, event: &Event) {
        let mut out = Outbox::new(256);
        let context = Context {
            now: self.now,
            seq: Seq(1),
            epoch: self.epoch,
            markets: &self.markets,
            universe: &self.universe,
            config: &self.config,
            commands: &self.commands,
        };
        self.runner.on(event, &context, &mut out);
        assert_eq!(out.take_overrun(), 0);
        self.agenda.extend(out.drain());
    }

    /// What the engine does after it caught a panic.
    pub(crate) fn fault(&mut self) {
        let mut out = Outbox::new(256);
        self.runner.mark_faulted(&mut out);
        self.agenda.extend(out.drain());
        self.event(Event::Resumed { scope: crate::event::Scope::Strategy(StrategyIx(99)) });
    }

    pub(crate) fn runner_snapshot(&self) -> Vec<u8> {
        self.runner.snapshot()
    }

    pub(crate) fn runner_hash(&self) -> u64 {
        self.runner.state_hash()
    }

    /// A new runner with that state.
    pub(crate) fn restore(&mut self, snapshot: &[u8]) {
        let registry = Arc::new(Registry::builtin());
        self.runner = Runner::new(IX, &self.config.strategies[0], registry);
        self.runner.restore(snapshot).unwrap();
    }

    /// Lets time pass; due timers fire.
    pub(crate) fn pass(&mut self, span: Span) {
        let until = self.now.plus(span);
        while let Some((&key, &at)) = self.timers.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| **at <= until) {
            self.timers.remove(&key);
            self.now = self.now.max(at);
            let station = crate::event::Station::Runner(IX);
            self.input(Input::Timer(crate::event::TimerId { station, key }));
        }
        self.now = until;
    }

    pub(crate) fn market(&mut self, event: MarketEvent) {
        let (exchange_time, receive_time) = (self.now, self.now);
        self.input(Input::Market(MarketInput { symbol: SYMBOL, exchange_time, receive_time, derived: false, event }));
    }

    /// Best bid and ask one tick apart, one coin each; the venue matches before the runner hears of it.
    pub(crate) fn quote(&mut self, bid: f64) {
        let i = instrument();
        let bid = i.price_from(bid, Rounding::Nearest).unwrap();
        let one = i.parse_quantity("1").unwrap();
        self.ids += 1;
        let quote = Quote { update_id: self.ids, bid, bid_quantity: one, ask: i.offset(bid, 1), ask_quantity: one };
        let (exchange_time, receive_time, event) = (self.now, self.now, MarketEvent::Quote(quote));
        self.markets.apply(&MarketInput { symbol: SYMBOL, exchange_time, receive_time, derived: false, event });
        self.match_all();
        self.market(MarketEvent::Quote(quote));
    }

    pub(crate) fn trade(&mut self, price: f64) {
        let i = instrument();
        self.ids += 1;
        let price = i.price_from(price, Rounding::Nearest).unwrap();
        let quantity = i.parse_quantity("0.01").unwrap();
        let id = TradeId(self.ids as i64);
        self.market(MarketEvent::Trade(Trade { id, price, quantity, aggressor: Side::Buy, on_book: true }));
        self.match_all();
    }

    pub(crate) fn take_intents(&mut self) -> Vec<Intent> {
        std::mem::take(&mut self.intents)
    }

    /// The placed orders among the intents, taken out.
    pub(crate) fn take_orders(&mut self) -> Vec<OrderIntent> {
        let intents = self.take_intents();
        intents.into_iter().filter_map(|i| if let Intent::Place(order) = i { Some(order) } else { None }).collect()
    }

    fn gate(&mut self, intent: Intent) {
        match (self.gate, intent) {
            (Gate::Swallow, _) => {}
            (Gate::Refuse, Intent::Place(_)) => {
                self.agenda.push_back(Event::Refused(Refused { intent, reason: Refusal::Unsupported("this".into()) }));
            }
            (Gate::Dust, Intent::Place(order)) if order.reduce_only => {
                let (notional, bound) = (Money::zero(AssetIx(1)), Money::units(AssetIx(1), 5));
                let reason = Refusal::MinNotional { notional, bound };
                self.agenda.push_back(Event::Refused(Refused { intent, reason }));
            }
            (Gate::Covers(most), Intent::Place(order)) if order.reduce_only && order.quantity > most => {
                let decimal = |quantity| crate::risk::refusal::Decimal::quantity(&instrument(), quantity);
                let (quantity, available, position) = (decimal(order.quantity), decimal(most), decimal(order.quantity));
                let reason = Refusal::ReduceOnlyTooLarge { quantity, available, position };
                self.agenda.push_back(Event::Refused(Refused { intent, reason }));
            }
            (_, Intent::Place(order)) => self.place(order),
            (_, Intent::Cancel { key, .. }) => self.end(|u| u.key == key),
            (_, Intent::CancelAll { .. }) => self.end(|_| true),
            (_, Intent::Modify { id, price, quantity, .. }) => {
                let Some((intent, update)) = self.open.iter_mut().find(|(o, _)| o.id == id) else { return };
                if let Terms::Limit { price: old, .. } = &mut intent.terms {
                    *old = price;
                }
                (update.price, update.quantity, intent.quantity) = (price, quantity, quantity);
                self.agenda.push_back(Event::Order(*update));
            }
        }
    }

    fn place(&mut self, order: OrderIntent) {
        let mut update = OrderUpdate {
            account: ACCOUNT,
            strategy: IX,
            symbol: order.symbol,
            key: OrderKey::Ours(order.id),
            side: order.side,
            price: order.terms.limit_price().unwrap_or(Price::ZERO),
            quantity: order.quantity,
            filled: Quantity::ZERO,
            reduce_only: order.reduce_only,
            protective: order.reduces(),
            conditional: order.terms.is_conditional(),
            state: OrderState::InFlight,
        };
        self.agenda.push_back(Event::Order(update));
        let takes = matches!(order.terms, Terms::Limit { time_in_force: TimeInForce::PostOnly, .. })
            && self.fill_price(&order).is_some();
        update.state = if takes { OrderState::Done(End::Rejected(-5022)) } else { OrderState::Working };
        self.agenda.push_back(Event::Order(update));
        if !takes {
            self.open.push((order, update));
        }
        if matches!(order.terms, Terms::Market) {
            self.match_all_later();
        }
    }

    fn end(&mut self, which: impl Fn(&OrderUpdate) -> bool) {
        let (ended, open) = std::mem::take(&mut self.open).into_iter().partition(|(_, u)| which(u));
        self.open = open;
        for (_, update) in ended {
            let state = OrderState::Done(End::Canceled);
            self.agenda.push_back(Event::Order(OrderUpdate { state, ..update }));
        }
    }

    /// The price at which the order would be filled at the present quote, if it would.
    fn fill_price(&self, order: &OrderIntent) -> Option<Price> {
        let quote = self.markets.market(SYMBOL).quote?;
        let last = self.markets.market(SYMBOL).last.map_or(quote.bid, |t| t.price);
        let take = if order.side == Side::Buy { quote.ask } else { quote.bid };
        match order.terms {
            Terms::Market => Some(take),
            Terms::Limit { price, .. } if order.side == Side::Buy => (price >= quote.ask).then_some(price),
            Terms::Limit { price, .. } => (price <= quote.bid).then_some(price),
            Terms::Conditional(c) if order.side == Side::Buy => (last >= c.trigger_price).then_some(take),
            Terms::Conditional(c) => (last <= c.trigger_price).then_some(take),
        }
    }

    /// Fills what the market reached, each in a cascade of its own.
    fn match_all(&mut self) {
        while self.match_all_later() {
            self.event(Event::Resumed { scope: crate::event::Scope::Strategy(StrategyIx(99)) });
        }
    }

    fn match_all_later(&mut self) -> bool {
        let found = self.open.iter().enumerate().find_map(|(at, (o, _))| self.fill_price(o).map(|p| (at, p)));
        let Some((at, price)) = found else { return false };
        let (order, update) = self.open.remove(at);
        let mut quantity = update.open_quantity();
        if order.reduce_only {
            let room = if order.side == Side::Buy { -self.position } else { self.position };
            quantity = quantity.min(Quantity::from_mantissa(room.max(0)).unwrap());
        }
        if quantity.is_zero() {
            let state = OrderState::Done(End::Rejected(-2022));
            self.agenda.push_back(Event::Order(OrderUpdate { state, ..update }));
            return true;
        }
        self.ids += 1;
        let fill = Fill {
            account: ACCOUNT,
            strategy: IX,
            symbol: SYMBOL,
            key: update.key,
            venue_order: VenueOrderId(1),
            trade_id: TradeId(self.ids as i64),
            side: order.side,
            position_side: PositionSide::Both,
            price,
            quantity,
            maker: false,
            fee: None,
            realized: Money::zero(AssetIx(1)),
            exchange_time: self.now,
        };
        let state = OrderState::Done(End::Filled);
        let conditional = false;
        self.agenda.push_back(Event::Order(OrderUpdate { state, filled: quantity, conditional, ..update }));
        self.agenda.push_back(Event::Fill(fill));
        self.fills.push(fill);
        true
    }

    /// The ledger: tells the position after the fill.
    fn book(&mut self, fill: &Fill) {
        let i = instrument();
        let signed = fill.quantity.signed(fill.side);
        let value = i.signed_notional(fill.price, signed).unwrap().mantissa();
        let after = self.position + signed.mantissa();
        let kept = self.position.signum() == after.signum() && after != 0;
        self.cost = match kept {
            true if after.abs() > self.position.abs() => self.cost + value,
            true => self.cost * i128::from(after) / i128::from(self.position),
            false => i.signed_notional(fill.price, NetQuantity::from_mantissa(after)).unwrap().mantissa(),
        };
        self.position = after;
        let quantity = NetQuantity::from_mantissa(after);
        self.agenda.push_back(Event::Position(VirtualPosition {
            account: ACCOUNT,
            strategy: IX,
            symbol: SYMBOL,
            quantity,
            cost: Money::new(AssetIx(1), self.cost),
            account_quantity: quantity,
        }));
    }
}

/// The counter of an order's id.
pub(crate) fn counter(id: ClientOrderId) -> u32 {
    id.counter
}
