//! A small world for tests: the simulated venue behind a lane on a simulated disk, in one thread and without sockets.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/support/account.rs"]
mod account;

use super::lane::{Lane, LaneEvent, LaneOptions, LaneOwner, Recovering, RecoveryReport, Released, VenueWriter};
use super::latch::HaltLatch;
use qcat_core::binance::instruments;
use qcat_core::command::{CommandKind, VenueCommand};
use qcat_core::config::EngineConfig;
use qcat_core::engine::Observer;
use qcat_core::engine::driver::{Counterparty, Delivery};
use qcat_core::event::{Input, RunnerState, StreamState};
use qcat_core::id::{AccountIx, StrategyIx, SymbolIx, TradeId};
use qcat_core::instrument::Universe;
use qcat_core::market::{Mark, MarketEvent, MarketInput, Quote, Trade};
use qcat_core::num::{Money, Price, Quantity, Rate, Rounding, Side};
use qcat_core::strategy::param::{ParamError, Params};
use qcat_core::strategy::registry::{Registry, StrategySpec};
use qcat_core::strategy::{CandleNeed, Needs, Strategy, StrategyContext, StrategyEvent};
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{AccountSpec, Fees, Latency, Venue, VenueConfig};
use qcat_io::clock::SimClock;
use qcat_io::disk::SimDisk;
use qcat_io::journal::{Durability, Options, SyncBy};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) const ACCOUNT: AccountIx = AccountIx(0);
pub(crate) const SYMBOL: SymbolIx = SymbolIx(0);
/// When tests begin.
pub(crate) const START: Ts = Ts::from_millis(1_800_000_000_000);
/// A hundredth of the quote asset as a price mantissa.
const CENT: i64 = 1_000_000;
/// Quotes that an instance of `flaky` lives for.
const LIFE: u32 = 10;

/// Keeps one limit order below the market, and moves it with every quote; `life`: panics after so many quotes.
struct Nudger {
    life: Option<u32>,
}

impl Strategy for Nudger {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        let StrategyEvent::Quote { symbol, quote } = event else { return };
        if let Some(life) = &mut self.life {
            assert!(*life > 0, "its life is over");
            *life -= 1;
        }
        if let Some(open) = ctx.orders().first() {
            let key = open.update.key;
            ctx.cancel(key);
        } else if ctx.can_trade() {
            let quantity = ctx.instrument(*symbol).unwrap().quantity_from(0.01, Rounding::Down).unwrap();
            ctx.limit(*symbol, Side::Buy, Price::from_mantissa(quote.bid.mantissa() - 1_000 * CENT), quantity);
        }
    }
}

fn steady(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    Ok(Box::new(Nudger { life: None }))
}

fn flaky(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    Ok(Box::new(Nudger { life: Some(LIFE) }))
}

thread_local! {
    /// When the candles opened that the newest instance of `minutes` was told, in minutes after the beginning.
    pub(crate) static MINUTES: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// Only looks at candles of a minute.
struct Minutes;

impl Strategy for Minutes {
    fn needs(&self) -> Needs {
        let candles = vec![CandleNeed { interval: Span::from_secs(60), warm_up: 3 }];
        Needs { candles, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, _: &mut StrategyContext<'_>) {
        MINUTES.with_borrow_mut(|seen| match event {
            StrategyEvent::Start => seen.clear(),
            StrategyEvent::Candle { candle, .. } => {
                seen.push((candle.open_time.seconds() - START.seconds()).div_euclid(60))
            }
            _ => {}
        });
    }
}

fn minutes(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    Ok(Box::new(Minutes))
}

pub(crate) fn registry() -> Arc<Registry> {
    let mut registry = Registry::builtin();
    registry.register(StrategySpec { name: "steady", doc: "", params: &[], factory: steady }).unwrap();
    registry.register(StrategySpec { name: "flaky", doc: "", params: &[], factory: flaky }).unwrap();
    registry.register(StrategySpec { name: "minutes", doc: "", params: &[], factory: minutes }).unwrap();
    Arc::new(registry)
}

pub(crate) fn universe() -> Universe {
    instruments::builtin_universe().unwrap()
}

/// One account and strategies of the given kinds.
pub(crate) fn config(kinds: &[&str]) -> EngineConfig {
    let margin = universe().instrument(SYMBOL).unwrap().margin;
    let strategy = |(at, kind): (usize, &&str)| account::strategy(&format!("{kind}{at}"), kind, SYMBOL);
    EngineConfig {
        accounts: vec![account::account(Money::units(margin, 1_000_000))],
        strategies: kinds.iter().enumerate().map(strategy).collect(),
        ..EngineConfig::default()
    }
}

/// The venue at the end of the lane; what it answers is offered at once.
pub(crate) struct Wire {
    pub(crate) sent: RefCell<Vec<VenueCommand>>,
    pub(crate) venue: RefCell<Venue>,
    lane: RefCell<Option<Lane>>,
    clock: Arc<SimClock>,
    /// Commands are remembered and go nowhere.
    pub(crate) cut: Cell<bool>,
}

impl Wire {
    pub(crate) fn deliver(&self, out: Vec<Delivery>) {
        let lane = self.lane.borrow().clone();
        for delivery in out {
            lane.as_ref().unwrap().offer(delivery.input);
        }
    }

    /// Orders that were sent.
    pub(crate) fn places(&self) -> usize {
        self.sent.borrow().iter().filter(|c| matches!(c.kind, CommandKind::Place(_))).count()
    }

    /// Orders that were sent for one strategy.
    pub(crate) fn places_of(&self, strategy: StrategyIx) -> usize {
        let own = |c: &&VenueCommand| matches!(&c.kind, CommandKind::Place(o) if o.intent.id.strategy == strategy);
        self.sent.borrow().iter().filter(own).count()
    }
}

impl VenueWriter for Wire {
    fn send(&self, command: Released) {
        let command = command.into_command();
        self.sent.borrow_mut().push(command.clone());
        if !self.cut.get() {
            let mut out = Vec::new();
            self.venue.borrow_mut().command(&command, qcat_io::clock::Clock::wall(&*self.clock), &mut out);
            self.deliver(out);
        }
    }
}

/// What the lane told its owner.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    pub(crate) heard: RefCell<Vec<LaneEvent>>,
    pub(crate) resyncs: RefCell<Vec<SymbolIx>>,
}

impl LaneOwner for Ear {
    fn told(&self, event: LaneEvent) {
        self.heard.borrow_mut().push(event);
    }

    fn resync(&self, symbol: SymbolIx) {
        self.resyncs.borrow_mut().push(symbol);
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) lane: Lane,
    pub(crate) report: RecoveryReport,
    pub(crate) wire: Rc<Wire>,
    pub(crate) ear: Rc<Ear>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) disk: SimDisk,
    quotes: Rc<Cell<u64>>,
}

pub(crate) fn options(durability: Durability) -> LaneOptions {
    let sync_by = SyncBy::Caller;
    let journal = Options { durability, sync_by, segment_size: 1 << 20, emergency_size: 1 << 16, ..Options::default() };
    LaneOptions {
        dir: PathBuf::from("/data/engine-0"),
        journal,
        queue: 1024,
        batch: 64,
        step_budget: Span::from_secs(3600),
        snapshot_every: Span::from_secs(60),
    }
}

pub(crate) fn recover(disk: &SimDisk, clock: &Arc<SimClock>, options: LaneOptions) -> Recovering {
    Lane::open(options, registry(), Arc::new(disk.clone()), clock.clone(), HaltLatch::new()).unwrap()
}

impl World {
    pub(crate) fn new(kinds: &[&str], durability: Durability, observer: Option<Box<dyn Observer>>) -> World {
        let (disk, clock) = (SimDisk::new(7), Arc::new(SimClock::new(START)));
        World::on(disk, clock, kinds, options(durability), observer)
    }

    pub(crate) fn on(
        disk: SimDisk,
        clock: Arc<SimClock>,
        kinds: &[&str],
        options: LaneOptions,
        observer: Option<Box<dyn Observer>>,
    ) -> World {
        let config = config(kinds);
        let balance = Money::parse(config.accounts[0].limits.exposure_max.asset, b"100000").unwrap();
        let latency = Latency { entry: Span::ZERO, answer: Span::ZERO, report: Span::ZERO };
        let mut venue = Venue::new(VenueConfig { latency, ..VenueConfig::default() }, universe());
        venue.add_account(ACCOUNT, &AccountSpec { balances: vec![balance], fees: Fees::default(), leverage: 20 });
        let (lane, report) = recover(&disk, &clock, options).begin(universe().definitions(), config, observer).unwrap();
        let wire = Wire {
            sent: RefCell::default(),
            venue: RefCell::new(venue),
            lane: RefCell::new(Some(lane.clone())),
            clock: clock.clone(),
            cut: Cell::new(false),
        };
        let (wire, ear) = (Rc::new(wire), Rc::new(Ear::default()));
        lane.set_writer(ACCOUNT, Some(wire.clone()));
        lane.set_owner(ear.clone());
        World { lane, report, wire, ear, clock, disk, quotes: Rc::default() }
    }

    /// The same, reconciled and with a market: strategies run.
    pub(crate) fn running(kinds: &[&str], durability: Durability, observer: Option<Box<dyn Observer>>) -> World {
        let world = World::new(kinds, durability, observer);
        world.connect();
        for strategy in 1..=kinds.len() as u16 {
            assert_eq!(world.runner(strategy), RunnerState::Running);
        }
        world
    }

    /// Streams come up, the account is reconciled.
    pub(crate) fn connect(&self) {
        self.lane.offer(Input::Stream(StreamState::UserUp(ACCOUNT)));
        self.lane.offer(Input::Stream(StreamState::MarketUp(SYMBOL)));
        self.mark();
        self.settle();
        self.pass(Span::from_secs(2));
        self.quote();
        self.settle();
    }

    pub(crate) fn runner(&self, strategy: u16) -> RunnerState {
        self.lane.read(|engine| engine.runner(StrategyIx(strategy)).unwrap().state())
    }

    pub(crate) fn mark(&self) {
        let price = Price::from_mantissa(5_000_050 * CENT);
        let mark = Mark { mark_price: price, index_price: price, funding_rate: Rate::ZERO, next_funding: Ts::ZERO };
        self.market(MarketEvent::Mark(mark));
    }

    pub(crate) fn quote(&self) {
        self.quotes.set(self.quotes.get() + 1);
        let (bid, ask) = (5_000_000 + 10 * (self.quotes.get() as i64 % 7), 5_000_100);
        let (bid, ask) = (Price::from_mantissa(bid * CENT), Price::from_mantissa(ask * CENT));
        let quantity = Quantity::from_mantissa(1_000).unwrap();
        let quote = Quote { update_id: self.quotes.get(), bid, bid_quantity: quantity, ask, ask_quantity: quantity };
        self.market(MarketEvent::Quote(quote));
    }

    pub(crate) fn trade(&self) {
        self.quotes.set(self.quotes.get() + 1);
        let (id, price) = (TradeId(self.quotes.get() as i64), Price::from_mantissa(5_000_050 * CENT));
        let quantity = Quantity::from_mantissa(1).unwrap();
        self.market(MarketEvent::Trade(Trade { id, price, quantity, aggressor: Side::Buy, on_book: true }));
    }

    fn market(&self, event: MarketEvent) {
        let now = qcat_io::clock::Clock::wall(&*self.clock);
        let input = MarketInput { symbol: SYMBOL, exchange_time: now, receive_time: now, derived: false, event };
        let mut out = Vec::new();
        self.wire.venue.borrow_mut().market(&input, now, &mut out);
        self.wire.deliver(out);
        self.lane.offer(Input::Market(input));
    }

    /// Lets the lane do all that it can do now.
    pub(crate) fn settle(&self) {
        for _ in 0..10_000 {
            self.lane.sync().unwrap();
            if !self.lane.turn() && self.lane.is_idle() {
                return;
            }
        }
        panic!("the lane does not come to rest");
    }

    /// Runs the lane by its task.
    pub(crate) fn run(&self) {
        self.lane.run();
        self.go();
    }

    /// Lets the world's clock go with tokio's, and the market move, from here on.
    pub(crate) fn go(&self) {
        let world = self.clone();
        tokio::task::spawn_local(async move {
            for tick in 0u64.. {
                let step = Span::from_millis(10);
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                world.clock.advance(step);
                let mut out = Vec::new();
                world.wire.venue.borrow_mut().wake(qcat_io::clock::Clock::wall(&*world.clock), &mut out);
                world.wire.deliver(out);
                if tick % 20 == 0 {
                    world.quote();
                }
                if tick % 100 == 0 {
                    world.mark();
                }
            }
        });
    }

    /// The same for a lane that is broken.
    pub(crate) fn settle_broken(&self) {
        self.lane.sync().unwrap();
        for _ in 0..3 {
            self.lane.turn();
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, span: Span) {
        let step = Span::from_millis(100);
        for _ in 0..span.nanos() / step.nanos() {
            self.clock.advance(step);
            let mut out = Vec::new();
            let now = qcat_io::clock::Clock::wall(&*self.clock);
            self.wire.venue.borrow_mut().wake(now, &mut out);
            self.wire.deliver(out);
            self.settle();
        }
    }
}
