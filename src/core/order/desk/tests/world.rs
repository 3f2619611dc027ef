//! A desk with what it needs around it: time, timers, and lists of what it emitted.

use crate::book::Markets;
use crate::command::{CommandKind, MarginType, Query, VenueCommand};
use crate::config::{AccountConfig, AccountLimits, EngineConfig, OnFault, OnStuckTrigger};
use crate::event::{Alert, AlertCode, Event, HaltReason, Input, Scope, TimerId};
use crate::id::{AccountIx, AssetIx, ClientOrderId, OrderKey, Seq, StrategyIx, SymbolIx};
use crate::instrument::Universe;
use crate::node::{Context, Node, Outbox};
use crate::num::{Money, Price, Quantity, Rate, Side};
use crate::order::desk::Desk;
use crate::order::{
    Conditional, Fill, Intent, NewOrder, OrderIntent, OrderState, OrderUpdate, PositionMode, PositionSide, Terms,
    TimeInForce, Trigger, WorkingType,
};
use crate::risk::gate::{Grant, approve_for_test};
use crate::time::{Span, Ts};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub const ACCOUNT: AccountIx = AccountIx(0);
pub const STRATEGY: StrategyIx = StrategyIx(1);
pub const BTC: SymbolIx = SymbolIx(0);
pub const EPOCH: u32 = 7;

/// What never changes and is shared by all clones of a world.
#[derive(Debug)]
struct Surroundings {
    markets: Markets,
    universe: Universe,
    config: EngineConfig,
}

#[derive(Debug, Clone)]
pub struct World {
    pub desk: Desk,
    pub now: Ts,
    seq: u64,
    pub commands: Cell<u64>,
    surroundings: Rc<Surroundings>,
    pub timers: BTreeMap<TimerId, Ts>,
    /// Commands since they were last taken.
    pub sent: Vec<VenueCommand>,
    pub fills: Vec<Fill>,
    pub updates: Vec<OrderUpdate>,
    pub alerts: Vec<Alert>,
    pub intents: Vec<Intent>,
    pub refused: usize,
    pub untrusted: usize,
    pub halts: Vec<(Scope, HaltReason)>,
}

pub fn account_config() -> AccountConfig {
    let money = Money::units(AssetIx(0), 1_000_000);
    AccountConfig {
        name: "main".into(),
        trading: true,
        position_mode: PositionMode::OneWay,
        multi_assets: false,
        margin_type: MarginType::Cross,
        leverage: 5,
        limits: AccountLimits {
            order_notional_max: money,
            position_notional_max: money,
            exposure_max: money,
            leverage_max: Rate::ONE,
            price_band: Rate::ONE,
            reference_age_max: crate::config::REFERENCE_AGE_MAX,
            order_rate_max: 100,
            order_rate_window: Span::from_secs(1),
            open_orders_max: 100,
            open_conditionals_max: 100,
            daily_loss_max: money,
            runaway_orders_max: 100,
            runaway_window: Span::from_secs(1),
        },
        on_fault: OnFault::CancelEntries,
        triggering_bound: Span::from_secs(10),
        on_stuck_trigger: OnStuckTrigger::Close,
    }
}

impl World {
    pub fn new() -> World {
        World::with(account_config())
    }

    /// A world in which the symbol is listed: market orders take 1.000 at most.
    pub fn listed() -> World {
        World::over(account_config(), crate::strategy::testkit::universe())
    }

    pub fn with(account: AccountConfig) -> World {
        World::over(account, Universe::default())
    }

    fn over(account: AccountConfig, universe: Universe) -> World {
        let config = EngineConfig { accounts: vec![account], ..EngineConfig::default() };
        let surroundings = Surroundings { markets: Markets::default(), universe, config };
        World {
            desk: Desk::new(ACCOUNT),
            now: Ts::from_millis(1_000_000),
            seq: 0,
            commands: Cell::new(0),
            surroundings: Rc::new(surroundings),
            timers: BTreeMap::new(),
            sent: Vec::new(),
            fills: Vec::new(),
            updates: Vec::new(),
            alerts: Vec::new(),
            intents: Vec::new(),
            refused: 0,
            untrusted: 0,
            halts: Vec::new(),
        }
    }

    pub fn event(&mut self, event: &Event) {
        self.seq += 1;
        let surroundings = Rc::clone(&self.surroundings);
        let mut out = Outbox::new(crate::engine::OUTBOX_MAX);
        let context = context(&surroundings, self.now, self.seq, &self.commands);
        self.desk.on(event, &context, &mut out);
        assert_eq!(out.take_overrun(), 0, "what a legal input asks for has room");
        let mut rest = Vec::new();
        for event in out.drain() {
            match event {
                Event::Finding(_) => rest.push(event),
                event => self.sort(event),
            }
        }
        // What found no room in the step.
        rest.iter().for_each(|event| self.event(event));
    }

    fn sort(&mut self, event: Event) {
        match event {
            Event::Command(command) => self.sent.push(command),
            Event::Fill(fill) => self.fills.push(fill),
            Event::Order(update) | Event::OrderAgain(update) => self.updates.push(update),
            Event::Alert(alert) => self.alerts.push(alert),
            Event::Intent(intent) => self.intents.push(intent),
            Event::Refused(_) => self.refused += 1,
            Event::Untrusted(_) => self.untrusted += 1,
            Event::Halted { scope, reason } => self.halts.push((scope, reason)),
            Event::Arm { timer, at } => {
                self.timers.insert(timer, at);
            }
            Event::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            other => panic!("a desk does not emit {other:?}"),
        }
    }

    pub fn input(&mut self, input: Input) {
        self.event(&Event::Input(input));
    }

    pub fn grant(&mut self, grant: Grant) {
        self.event(&Event::Approved(approve_for_test(grant)));
    }

    pub fn place(&mut self, order: NewOrder) {
        self.grant(Grant::Place(order));
    }

    pub fn cancel(&mut self, id: ClientOrderId) {
        let key = OrderKey::Ours(id);
        self.grant(Grant::Other(Intent::Cancel { account: ACCOUNT, strategy: STRATEGY, symbol: BTC, key }));
    }

    pub fn modify(&mut self, id: ClientOrderId, price: Price, quantity: Quantity) {
        self.grant(Grant::Other(Intent::Modify { strategy: STRATEGY, symbol: BTC, id, price, quantity }));
    }

    /// Folds a recorded decision.
    pub fn fold(&mut self, decision: &crate::event::Decision) {
        let surroundings = Rc::clone(&self.surroundings);
        let context = context(&surroundings, self.now, self.seq, &self.commands);
        let mut out = Outbox::new(crate::engine::OUTBOX_MAX);
        self.desk.fold(decision, &context, &mut out);
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<Ts> {
        self.timers.values().min().copied()
    }

    /// Moves time to the next timer and fires it.
    pub fn fire(&mut self) {
        let Some((&timer, &at)) = self.timers.iter().min_by_key(|(_, at)| **at) else { return };
        self.timers.remove(&timer);
        self.now = self.now.max(at);
        self.input(Input::Timer(timer));
    }

    /// Lets time pass, firing what is due.
    pub fn pass(&mut self, span: Span) {
        let until = self.now.plus(span);
        while self.next_timer().is_some_and(|at| at <= until) {
            self.fire();
        }
        self.now = until;
    }

    pub fn take_sent(&mut self) -> Vec<VenueCommand> {
        std::mem::take(&mut self.sent)
    }

    /// The only command sent since the last look.
    pub fn one_sent(&mut self) -> VenueCommand {
        let mut sent = self.take_sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    pub fn state(&self, id: ClientOrderId) -> Option<OrderState> {
        self.updates.iter().rev().find(|update| update.key == OrderKey::Ours(id)).map(|update| update.state)
    }

    pub fn count(&self, code: AlertCode) -> usize {
        self.alerts.iter().filter(|alert| alert.code == code).count()
    }
}

fn context<'a>(surroundings: &'a Surroundings, now: Ts, seq: u64, commands: &'a Cell<u64>) -> Context<'a> {
    Context {
        now,
        seq: Seq(seq),
        epoch: EPOCH,
        markets: &surroundings.markets,
        universe: &surroundings.universe,
        config: &surroundings.config,
        commands,
    }
}

pub fn id(counter: u32) -> ClientOrderId {
    ClientOrderId { epoch: EPOCH, account: ACCOUNT, strategy: STRATEGY, counter }
}

pub fn quantity(mantissa: i64) -> Quantity {
    Quantity::from_mantissa(mantissa).expect("not negative")
}

pub fn price(mantissa: i64) -> Price {
    Price::from_mantissa(mantissa)
}

pub fn limit(counter: u32, size: i64) -> NewOrder {
    let terms = Terms::Limit { price: price(100), time_in_force: TimeInForce::Gtc };
    order(counter, Side::Buy, size, terms, false)
}

pub fn stop(counter: u32, size: i64) -> NewOrder {
    let terms = Terms::Conditional(Conditional {
        trigger: Trigger::Stop,
        trigger_price: price(90),
        working_type: WorkingType::MarkPrice,
        limit: None,
        close_position: false,
        price_protect: false,
    });
    order(counter, Side::Sell, size, terms, true)
}

/// A conditional order that opens a position once the price breaks out.
pub fn breakout(counter: u32, size: i64) -> NewOrder {
    let terms = Terms::Conditional(Conditional {
        trigger: Trigger::Stop,
        trigger_price: price(110),
        working_type: WorkingType::MarkPrice,
        limit: None,
        close_position: false,
        price_protect: false,
    });
    order(counter, Side::Buy, size, terms, false)
}

/// A stop that closes whatever the position is.
pub fn closing_stop(counter: u32) -> NewOrder {
    let mut new = stop(counter, 0);
    if let Terms::Conditional(terms) = &mut new.intent.terms {
        terms.close_position = true;
    }
    (new.intent.reduce_only, new.send_reduce_only) = (false, false);
    new
}

pub fn order(counter: u32, side: Side, size: i64, terms: Terms, reduce_only: bool) -> NewOrder {
    let intent = OrderIntent {
        id: id(counter),
        symbol: BTC,
        side,
        quantity: quantity(size),
        terms,
        reduce_only,
        position_side: PositionSide::Both,
    };
    NewOrder { intent, send_reduce_only: reduce_only, held_price: price(100) }
}

/// Whether a command asks for one order.
pub fn is_question(command: &VenueCommand) -> bool {
    matches!(command.kind, CommandKind::Query(Query::Order { .. }))
}
