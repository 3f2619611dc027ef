//! A run of the driver beside the simulated venue, with every input and decision in a journal on a simulated disk. Commands leave
//! when the journal lets them; a life ends where the disk does, and the next one recovers from what is left.
#![allow(dead_code)]

#[path = "account.rs"]
mod account;

use qcat_core::command::{Answer, CommandKind, Query, TradeCursor, VenueCommand};
use qcat_core::config::{EngineConfig, RiskConfig, Timing};
use qcat_core::engine::driver::{Counterparty, Delivery, Driver, DriverError, DriverOptions, Recorder};
use qcat_core::engine::{Engine, Observer};
use qcat_core::event::{Admitted, Decision, Input, OperatorCommand, StreamState};
use qcat_core::id::{AccountIx, ClientOrderId, Seq, StrategyIx, SymbolIx, TradeId};
use qcat_core::instrument::{Instrument, Universe};
use qcat_core::market::{Mark, MarketEvent, MarketInput, Quote, Trade};
use qcat_core::node::{SnapshotError, decode_state, encode_state};
use qcat_core::num::{Money, Price, Rate, Rounding, Side};
use qcat_core::strategy::param::{ParamError, Params};
use qcat_core::strategy::registry::{Registry, StrategySpec};
use qcat_core::strategy::{Needs, OrderSpec, Strategy, StrategyContext, StrategyEvent};
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{
    AccountSpec, Fees, Latency, OutputKind, RequestKind, Venue, VenueConfig, VenueOutput, VenueRequest,
};
use qcat_io::disk::{Disk, SimDisk};
use qcat_io::journal::{Durability, Entry, Journal, MarketData, Options, Priority, Reader, SyncBy};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

pub const ACCOUNT: AccountIx = AccountIx(0);
pub const SYMBOL: SymbolIx = SymbolIx(0);
pub const STRATEGY: StrategyIx = StrategyIx(1);
pub const START: Ts = Ts::from_millis(1_800_000_000_000);
/// How long nobody runs between two lives.
const DOWN: Span = Span::from_millis(700);
const DIR: &str = "data";

pub fn dir() -> &'static Path {
    Path::new(DIR)
}

/// Does a bit of everything, by turns: takes, rests, changes, cancels, protects. Its position stays small.
struct Churner {
    turn: u32,
    size: f64,
}

impl Strategy for Churner {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        let StrategyEvent::Quote { symbol, quote } = *event else { return };
        if !ctx.can_trade() {
            return;
        }
        self.turn += 1;
        let Some(instrument) = ctx.instrument(symbol) else { return };
        let Some(size) = instrument.quantity_from(self.size, Rounding::Down) else { return };
        let tick = instrument.filters.price.tick.mantissa();
        let away = |price: Price, ticks: i64| Price::from_mantissa(price.mantissa() + ticks * tick);
        let long = ctx.position(symbol).mantissa() > 0;
        let first = ctx.orders().first().map(|open| open.update);
        match (self.turn % 8, first) {
            (1, _) => drop(ctx.market_order(symbol, if long { Side::Sell } else { Side::Buy }, size)),
            (2, _) => drop(ctx.limit(symbol, Side::Buy, quote.bid, size)),
            (3, _) => drop(ctx.limit(symbol, Side::Sell, quote.ask, size)),
            (4, _) if long => drop(ctx.place(OrderSpec::stop(symbol, Side::Sell, away(quote.bid, -300), size))),
            (5, Some(open)) if !open.conditional => {
                if let Some(id) = open.key.ours() {
                    ctx.modify(id, away(open.price, if open.side == Side::Buy { -5 } else { 5 }), size);
                }
            }
            (6, Some(open)) => drop(ctx.cancel(open.key)),
            (7, _) if self.turn % 24 == 7 => drop(ctx.cancel_all(None)),
            _ => {}
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(encode_state(&self.turn))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.turn = decode_state("churner", snapshot)?;
        Ok(())
    }
}

fn small(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    Ok(Box::new(Churner { turn: 0, size: 0.01 }))
}

fn large(_: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    Ok(Box::new(Churner { turn: 0, size: 0.02 }))
}

pub fn registry() -> Arc<Registry> {
    let mut registry = Registry::builtin();
    for (name, factory) in [("small", small as fn(&Params) -> _), ("large", large)] {
        registry.register(StrategySpec { name, doc: "", params: &[], factory }).expect("a new name");
    }
    Arc::new(registry)
}

pub fn universe() -> Universe {
    qcat_core::binance::instruments::builtin_universe().expect("embedded")
}

fn instrument(universe: &Universe) -> &Instrument {
    universe.instrument(SYMBOL).expect("embedded")
}

pub fn config(kind: &str) -> EngineConfig {
    let margin = instrument(&universe()).margin;
    EngineConfig {
        accounts: vec![account::account(Money::units(margin, 1_000_000))],
        strategies: vec![account::strategy("one", kind, SYMBOL)],
        risk: RiskConfig::default(),
        // Short enough that everything is known before the quiet end.
        timing: Timing {
            reconcile_every: Span::from_secs(6),
            absent_after: Span::from_secs(3),
            query_backoff_max: Span::from_secs(2),
            ..Timing::default()
        },
    }
}

/// A market of `seconds` seconds: a quote each tenth of a second, trades that eat what rests, marks.
pub fn market(seed: u64, seconds: i64) -> Vec<MarketInput> {
    let universe = universe();
    let instrument = instrument(&universe);
    let tick = instrument.filters.price.tick.mantissa();
    let middle = instrument.price_from(60_000.0, Rounding::Nearest).expect("in range").mantissa() / tick;
    let quantity = instrument.quantity_from(3.0, Rounding::Down).expect("in range");
    let (mut events, mut dice, mut level) = (Vec::new(), seed, middle);
    for step in 0..seconds * 10 {
        let now = START.plus(Span::from_millis(1_000 + step * 100));
        level += roll(&mut dice, 41) as i64 - 20;
        let price = |ticks: i64| Price::from_mantissa((level + ticks) * tick);
        let mut push = |event| {
            events.push(MarketInput { symbol: SYMBOL, exchange_time: now, receive_time: now, derived: false, event });
        };
        let (bid, ask) = (price(-2), price(2));
        let update_id = step as u64 + 1;
        push(MarketEvent::Quote(Quote { update_id, bid, bid_quantity: quantity, ask, ask_quantity: quantity }));
        if step % 10 == 0 {
            let (mark_price, funding_rate) = (price(0), Rate::ZERO);
            push(MarketEvent::Mark(Mark { mark_price, index_price: mark_price, funding_rate, next_funding: Ts::ZERO }));
        }
        if step % 3 == 0 {
            let aggressor = if roll(&mut dice, 2) == 0 { Side::Buy } else { Side::Sell };
            let price = price(if aggressor == Side::Buy { 2 } else { -2 });
            push(MarketEvent::Trade(Trade { id: TradeId(step + 1), price, quantity, aggressor, on_book: true }));
        }
    }
    events
}

/// A number below `bound` (SplitMix64).
pub fn roll(dice: &mut u64, bound: u64) -> u64 {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % bound
}

/// The venue, and everything that was ever sent to it.
pub struct Watched {
    pub venue: Venue,
    pub sent: Vec<VenueCommand>,
}

impl Watched {
    pub fn new() -> Watched {
        let universe = universe();
        let balance = Money::parse(instrument(&universe).margin, b"100000").expect("a number");
        let ms = Span::from_millis;
        let latency = Latency { entry: ms(20), answer: ms(30), report: ms(25) };
        let mut venue = Venue::new(VenueConfig { latency, ..VenueConfig::default() }, universe);
        venue.add_account(ACCOUNT, &AccountSpec { balances: vec![balance], fees: Fees::default(), leverage: 20 });
        Watched { venue, sent: Vec::new() }
    }

    /// Asks without latency, on a copy.
    pub fn ask(&self, query: Query, now: Ts) -> Answer {
        let mut copy = self.venue.clone();
        let (mut out, command) = (Vec::new(), qcat_core::command::CommandId(u64::MAX));
        copy.on_request(ACCOUNT, VenueRequest { command, kind: RequestKind::Query(query) }, now, &mut out);
        copy.on_time(now.plus(Span::from_secs(1)), &mut out);
        let answer = |o: VenueOutput| match o.kind {
            OutputKind::Answer(answer) if answer.command == command => answer.result.ok(),
            _ => None,
        };
        out.into_iter().find_map(answer).expect("an answer")
    }

    pub fn trades(&self, now: Ts) -> Vec<qcat_core::order::TradeRecord> {
        let from = TradeCursor::Time(Ts::ZERO);
        let Answer::Trades { trades, complete, .. } = self.ask(Query::Trades { symbol: SYMBOL, from }, now) else {
            panic!("trades")
        };
        assert!(complete);
        trades
    }
}

impl Counterparty for Watched {
    fn market(&mut self, input: &MarketInput, now: Ts, out: &mut Vec<Delivery>) {
        self.venue.market(input, now, out);
    }

    fn command(&mut self, command: &VenueCommand, now: Ts, out: &mut Vec<Delivery>) {
        self.sent.push(command.clone());
        self.venue.command(command, now, out);
    }

    fn next_wakeup(&self) -> Option<Ts> {
        self.venue.next_wakeup()
    }

    fn wake(&mut self, now: Ts, out: &mut Vec<Delivery>) {
        self.venue.wake(now, out);
    }
}

/// The journal as the driver's recorder; syncs at every third input unless the journal does so itself.
struct Keeper {
    journal: Rc<RefCell<Journal>>,
    durability: Durability,
    inputs: u32,
}

impl Recorder for Keeper {
    fn input(&mut self, admitted: &Admitted) -> Result<(), String> {
        let mut journal = self.journal.borrow_mut();
        journal.append_input(admitted, Priority::of_input(&admitted.input)).map(drop).map_err(|e| e.to_string())
    }

    fn decisions(&mut self, seq: Seq, at: Ts, decisions: &[Decision]) -> Result<u64, String> {
        let mut journal = self.journal.borrow_mut();
        let priority = Priority::of_decisions(decisions);
        journal.append_decisions(seq, at, decisions, priority).map(|mark| mark.0).map_err(|e| e.to_string())
    }

    fn released(&mut self) -> Result<u64, String> {
        let mut journal = self.journal.borrow_mut();
        self.inputs += 1;
        if self.inputs.is_multiple_of(3) && self.durability == Durability::Group {
            journal.sync_now().map_err(|e| e.to_string())?;
        }
        Ok(if self.durability == Durability::Async { journal.appended().0 } else { journal.durable().0 })
    }
}

fn options(plan: &Plan) -> Options {
    Options {
        durability: plan.durability,
        market_data: plan.market_data,
        segment_size: 24 << 10,
        emergency_size: 4 << 10,
        sync_by: SyncBy::Caller,
        keep_snapshots: 2,
        keep: plan.keep,
        ..Options::default()
    }
}

/// The world outside, which lives on when the daemon does not.
pub struct Outside {
    pub watched: Watched,
    pub events: Vec<MarketInput>,
    /// Events that the venue has had.
    pub had: usize,
    pub now: Ts,
}

impl Outside {
    pub fn new(seed: u64, seconds: i64) -> Outside {
        Outside { watched: Watched::new(), events: market(seed, seconds), had: 0, now: START }
    }

    /// Nobody listens for a while: reports and market data are lost.
    pub fn pass(&mut self, span: Span) {
        let (until, mut lost) = (self.now.plus(span), Vec::new());
        while let Some(event) = self.events.get(self.had).filter(|event| event.exchange_time <= until) {
            self.watched.venue.market(event, event.exchange_time, &mut lost);
            self.had += 1;
        }
        self.watched.venue.wake(until, &mut lost);
        self.now = until;
    }
}

/// What a life does besides living.
#[derive(Clone)]
pub struct Plan {
    pub durability: Durability,
    pub kind: &'static str,
    /// A configuration that is admitted with the n-th market event, and after which the disk may end the life.
    pub reload: Option<(usize, EngineConfig)>,
    pub snapshots: bool,
    pub market_data: MarketData,
    /// How long segments are kept that no recovery needs.
    pub keep: Span,
}

impl Plan {
    pub fn new(durability: Durability) -> Plan {
        Plan {
            durability,
            kind: "small",
            reload: None,
            snapshots: true,
            market_data: MarketData::All,
            keep: Options::default().keep,
        }
    }
}

/// How a life ended.
pub struct End {
    pub outside: Outside,
    /// The engine at the end; `None`: the life ended before there was one.
    pub engine: Option<Engine>,
    pub trail: u64,
    /// Why it ended early.
    pub died: Option<String>,
}

/// Opens, recovers, starts, lives to a quiet end or to the end of the disk.
pub fn live(disk: &SimDisk, outside: Outside, plan: &Plan, observer: Option<Box<dyn Observer>>) -> End {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut journal, mut recovered) = match Journal::open(shared, dir(), options(plan)) {
        Ok(open) => open,
        Err(error) => return End { outside, engine: None, trail: 0, died: Some(error.to_string()) },
    };
    let marks = recovered.quarantine.clone();
    let mut engine = Engine::new(registry());
    let mut begins_with = 0;
    if let Some(snapshot) = recovered.snapshot.take() {
        begins_with = snapshot.record;
        engine.restore(&snapshot.state, true).expect("its own snapshot");
    }
    let entries: Result<Vec<Entry>, _> = recovered.entries().collect();
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => return End { outside, engine: None, trail: 0, died: Some(error.to_string()) },
    };
    for entry in entries {
        let Some(record) = entry.record() else { continue };
        engine.fold(record, &marks, false).expect("what was recorded folds");
    }
    if let Err(error) = journal.note_snapshot(begins_with, recovered.last_at) {
        return End { outside, engine: None, trail: 0, died: Some(error.to_string()) };
    }
    engine.skip_to(recovered.last_seq, recovered.last_at);
    engine.observe(observer);
    let start = outside.now.max(engine.now());
    let Outside { watched, events, had, now } = outside;
    let options = DriverOptions { feed_latency: Span::from_millis(10), ..DriverOptions::default() };
    let mut driver = Driver::around(engine, registry(), watched, options, start);
    let journal = Rc::new(RefCell::new(journal));
    driver.record(Box::new(Keeper { journal: journal.clone(), durability: plan.durability, inputs: 0 }));
    let mut life = Life { driver, journal, events, had, now, plan };
    let died = life.run(start).err().map(|error| error.to_string());
    life.end(died)
}

struct Life<'p> {
    driver: Driver<Watched>,
    journal: Rc<RefCell<Journal>>,
    events: Vec<MarketInput>,
    had: usize,
    now: Ts,
    plan: &'p Plan,
}

impl Life<'_> {
    fn run(&mut self, start: Ts) -> Result<(), DriverError> {
        let broken = |error: String| DriverError::Recorder(error);
        let known: Vec<_> = self.driver.engine().universe().definitions().collect();
        for definition in universe().definitions().filter(|d| !known.contains(d)) {
            self.driver.admit_first(start, Input::Definition(definition))?;
        }
        // A reloaded configuration is the file's from then on.
        let config = match &self.plan.reload {
            Some((at, config)) if self.had > *at => config.clone(),
            _ => config(self.plan.kind),
        };
        if *self.driver.engine().config() != config {
            self.driver.admit_first(start, Input::Configuration(Box::new(config)))?;
        }
        let epoch = self.journal.borrow_mut().begin_epoch(start).map_err(|e| broken(e.to_string()))?;
        self.driver.admit_first(start, Input::Start { epoch })?;
        self.driver.deliver(start, Input::Stream(StreamState::UserUp(ACCOUNT)));
        self.driver.deliver(start, Input::Stream(StreamState::MarketUp(SYMBOL)));
        self.until(start)?;
        while self.had < self.events.len() {
            if let Some((at, config)) = &self.plan.reload
                && *at == self.had
            {
                let now = self.driver.engine().now();
                self.driver.deliver(now, Input::Configuration(Box::new(config.clone())));
            }
            let event = self.events[self.had].clone();
            self.now = event.exchange_time;
            self.driver.run([event], &mut |_| {})?;
            self.had += 1;
            if self.plan.snapshots && self.had.is_multiple_of(60) {
                let written = self.journal.borrow_mut().write_snapshot(self.driver.engine().snapshot());
                written.map_err(|e| broken(e.to_string()))?;
            }
        }
        let end = self.driver.engine().now();
        self.driver.deliver(end, Input::Command(OperatorCommand::StopStrategy(STRATEGY)));
        self.until(end.plus(Span::from_secs(16)))
    }

    fn until(&mut self, until: Ts) -> Result<(), DriverError> {
        self.driver.run_until(until, &mut |_| {})
    }

    fn end(self, died: Option<String>) -> End {
        let trail = self.driver.trail();
        let (engine, watched) = self.driver.into_parts();
        let now = self.now.max(engine.now());
        let mut outside = Outside { watched, events: self.events, had: self.had, now };
        if died.is_some() {
            outside.pass(DOWN);
        }
        End { outside, engine: Some(engine), trail, died }
    }
}

pub fn entries(disk: &SimDisk) -> Vec<Entry> {
    let reader = Reader::open(Arc::new(disk.clone()), dir()).expect("readable");
    reader.map(|entry| entry.expect("whole")).collect()
}

/// Ids of the orders among commands.
pub fn placed<'c>(commands: impl Iterator<Item = &'c VenueCommand>) -> Vec<ClientOrderId> {
    let id = |command: &VenueCommand| match &command.kind {
        CommandKind::Place(order) => Some(order.intent.id),
        _ => None,
    };
    commands.filter_map(id).collect()
}
