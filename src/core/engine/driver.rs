//! Runs an engine beside a simulated venue on a virtual clock: backtest, replay of recordings, simulation.
//!
//! Every source of inputs is merged by time; equal times go in this order: what the venue does by itself, what it sends, market
//! data on its way to the engine, the engine's timers, the next market event at the venue. So a run is a function of its inputs.

use super::budget::{RestartBudget, RestartRule};
use super::fold::{FoldError, Quarantine, Record};
use super::{Engine, Fault};
use crate::command::VenueCommand;
use crate::config::EngineConfig;
use crate::event::{Admitted, Decision, Input, Station};
use crate::id::{Seq, StrategyIx};
use crate::instrument::Definition;
use crate::market::MarketInput;
use crate::node::{hash_bytes, hash_state};
use crate::strategy::registry::Registry;
use crate::time::{Span, Ts};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Nodes that may panic one after the other in one rebuild before it is given up.
const FOLDS_MAX: usize = 16;

/// Something that a venue sends, and when it arrives at the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// When it arrives.
    pub at: Ts,
    /// What arrives.
    pub input: Input,
}

/// The venue as the driver needs it: `core::venue` behind its typed interface.
pub trait Counterparty {
    /// The market moved at `now`, the venue's own time.
    fn market(&mut self, input: &MarketInput, now: Ts, out: &mut Vec<Delivery>);
    /// A command was sent at `now`; its latency is the venue's to add.
    fn command(&mut self, command: &VenueCommand, now: Ts, out: &mut Vec<Delivery>);
    /// When [`Counterparty::wake`] wants to be called next.
    fn next_wakeup(&self) -> Option<Ts>;
    /// Does what is due.
    fn wake(&mut self, now: Ts, out: &mut Vec<Delivery>);
}

/// Keeps what a run admits and decides before anything leaves it, as the journal does in the daemon. An error ends the run
/// where it stands, like the death of the process.
pub trait Recorder {
    /// An input was admitted and is not stepped yet.
    fn input(&mut self, admitted: &Admitted) -> Result<(), String>;
    /// What was decided from it, perhaps nothing. The answer is the mark of these decisions; marks never decrease.
    fn decisions(&mut self, seq: Seq, at: Ts, decisions: &[Decision]) -> Result<u64, String>;
    /// Commands up to which mark may leave; asked after each input.
    fn released(&mut self) -> Result<u64, String>;
}

/// How a driver runs.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    /// From the venue to the engine, for market data.
    pub feed_latency: Span,
    /// Restarts of a strategy that panics.
    pub restart: RestartRule,
    /// Keep every input and decision: needed to rebuild after a fault of a deciding node and to compare two runs.
    pub keep_log: bool,
}

impl Default for DriverOptions {
    fn default() -> DriverOptions {
        DriverOptions { feed_latency: Span::from_millis(5), restart: RestartRule::default(), keep_log: false }
    }
}

/// A run that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// A deciding node panicked and there is no log to rebuild it from.
    #[error("{station:?} panicked at input {seq:?}; the run keeps no log to rebuild it from")]
    Fault { station: Station, seq: Seq },
    /// The rebuild failed.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The recorder takes nothing more.
    #[error("the recorder failed: {0}")]
    Recorder(String),
}

/// An engine, a venue, and everything on its way between them.
pub struct Driver<V> {
    engine: Engine,
    venue: V,
    registry: Arc<Registry>,
    options: DriverOptions,
    /// On the way to the engine.
    deliveries: BTreeMap<(Ts, u64), Input>,
    next_parcel: u64,
    /// Market data on the way to the engine; the latency is constant, so it stays in order.
    feed: VecDeque<(Ts, MarketInput)>,
    venue_time: Ts,
    budgets: BTreeMap<StrategyIx, RestartBudget>,
    log: Vec<Record>,
    quarantine: Vec<Quarantine>,
    trail: u64,
    decisions: u64,
    inputs: u64,
    out: Vec<Delivery>,
    recorder: Option<Box<dyn Recorder>>,
    /// Decided, with the mark that must be released first.
    held: VecDeque<(u64, VenueCommand)>,
}

impl<V> std::fmt::Debug for Driver<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("engine", &self.engine).field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

impl<V: Counterparty> Driver<V> {
    /// A driver at time `start`, with definitions, configuration and the first epoch admitted.
    pub fn new(
        registry: Arc<Registry>,
        venue: V,
        options: DriverOptions,
        start: Ts,
        definitions: impl IntoIterator<Item = Definition>,
        config: EngineConfig,
    ) -> Result<Driver<V>, DriverError> {
        let engine = Engine::new(registry.clone());
        let mut driver = Driver::around(engine, registry, venue, options, start);
        for definition in definitions {
            driver.admit(start, Input::Definition(definition), &mut |_| {})?;
        }
        driver.admit(start, Input::Configuration(Box::new(config)), &mut |_| {})?;
        let epoch = crate::id::next_epoch(None, start);
        driver.admit(start, Input::Start { epoch }, &mut |_| {})?;
        Ok(driver)
    }

    /// A driver at time `start` around an engine as recovery left it. Nothing is admitted: what a start needs goes through [`Driver::admit_first`].
    /// Only faults of strategies are mended, because the log, if there is one, begins here.
    pub fn around(engine: Engine, registry: Arc<Registry>, venue: V, options: DriverOptions, start: Ts) -> Driver<V> {
        Driver {
            engine,
            venue,
            registry,
            options,
            deliveries: BTreeMap::new(),
            next_parcel: 0,
            feed: VecDeque::new(),
            venue_time: start,
            budgets: BTreeMap::new(),
            log: Vec::new(),
            quarantine: Vec::new(),
            trail: hash_bytes(b"qcat decisions"),
            decisions: 0,
            inputs: 0,
            out: Vec::new(),
            recorder: None,
            held: VecDeque::new(),
        }
    }

    /// Records everything from here on; commands wait until the recorder releases them.
    pub fn record(&mut self, recorder: Box<dyn Recorder>) {
        self.recorder = Some(recorder);
    }

    /// The engine and the venue, without what was on its way between them.
    pub fn into_parts(self) -> (Engine, V) {
        (self.engine, self.venue)
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, to have somebody watch it.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Ends the run; the engine goes on elsewhere.
    pub fn into_engine(self) -> Engine {
        self.engine
    }

    /// The venue.
    pub fn venue(&self) -> &V {
        &self.venue
    }

    /// The venue, to change its faults in the middle of a run.
    pub fn venue_mut(&mut self) -> &mut V {
        &mut self.venue
    }

    /// All records, if the options say so.
    pub fn log(&self) -> &[Record] {
        &self.log
    }

    /// A hash of every decision so far, in order.
    pub fn trail(&self) -> u64 {
        self.trail
    }

    /// Inputs admitted so far.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Decisions made so far.
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Brings an input to the engine at `at`, as a person or a stream would.
    pub fn deliver(&mut self, at: Ts, input: Input) {
        let parcel = self.next_parcel;
        self.next_parcel += 1;
        self.deliveries.insert((at, parcel), input);
    }

    /// What a crash of the process does: all that is on its way to the engine is lost, while the venue goes on. `engine` and `log`
    /// are what recovery made of the journal; they go on in a new epoch at `at`.
    pub fn restart(&mut self, engine: Engine, log: Vec<Record>, at: Ts) -> Result<(), DriverError> {
        self.engine = engine;
        self.log = log;
        self.deliveries.clear();
        self.feed.clear();
        self.held.clear();
        self.budgets.clear();
        self.venue_time = self.venue_time.max(at);
        let epoch = crate::id::next_epoch(Some(self.engine.epoch()), at);
        self.admit(at, Input::Start { epoch }, &mut |_| {})
    }

    /// Admits an input before anything else that is due, as a start does with what it needs.
    pub fn admit_first(&mut self, at: Ts, input: Input) -> Result<(), DriverError> {
        self.admit(at, input, &mut |_| {})
    }

    /// Runs through a source of market events by their exchange time. `seen` looks at the engine after each input.
    pub fn run(
        &mut self,
        source: impl IntoIterator<Item = MarketInput>,
        seen: &mut dyn FnMut(&Engine),
    ) -> Result<(), DriverError> {
        for event in source {
            // Streams of a recording overtake each other by milliseconds; time itself does not go back.
            let at = event.exchange_time.max(self.venue_time);
            self.advance(at, seen)?;
            self.market(event, at);
        }
        Ok(())
    }

    /// Goes on without new market events until `until`.
    pub fn run_until(&mut self, until: Ts, seen: &mut dyn FnMut(&Engine)) -> Result<(), DriverError> {
        self.advance(until, seen)
    }

    fn market(&mut self, event: MarketInput, at: Ts) {
        self.venue.market(&event, at, &mut self.out);
        self.take_out();
        let arrives = at.plus(self.options.feed_latency);
        self.feed.push_back((arrives, MarketInput { receive_time: arrives, ..event }));
    }

    /// Does everything that is due up to and including `until`.
    #[inline]
    fn advance(&mut self, until: Ts, seen: &mut dyn FnMut(&Engine)) -> Result<(), DriverError> {
        loop {
            let wake = self.venue.next_wakeup().unwrap_or(Ts::MAX);
            let delivery = self.deliveries.first_key_value().map_or(Ts::MAX, |((at, _), _)| *at);
            let feed = self.feed.front().map_or(Ts::MAX, |(at, _)| *at);
            let timer = self.engine.next_timer().map_or(Ts::MAX, |(at, _)| at);
            let next = wake.min(delivery).min(feed).min(timer);
            if next > until || next == Ts::MAX {
                self.venue_time = self.venue_time.max(until);
                return Ok(());
            }
            self.venue_time = self.venue_time.max(next);
            if wake == next {
                self.venue.wake(next, &mut self.out);
                self.take_out();
            } else if delivery == next {
                if let Some(((at, _), input)) = self.deliveries.pop_first() {
                    self.admit(at, input, seen)?;
                }
            } else if feed == next {
                if let Some((at, event)) = self.feed.pop_front() {
                    self.admit(at, Input::Market(event), seen)?;
                }
            } else if let Some((at, timer)) = self.engine.next_timer() {
                self.admit(at, Input::Timer(timer), seen)?;
            }
        }
    }

    #[inline]
    fn take_out(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        for delivery in out.drain(..) {
            self.deliver(delivery.at, delivery.input);
        }
        self.out = out;
    }

    fn admit(&mut self, at: Ts, input: Input, seen: &mut dyn FnMut(&Engine)) -> Result<(), DriverError> {
        let admitted = self.engine.admit(at, input);
        let (seq, at) = (admitted.seq, admitted.at);
        if self.options.keep_log {
            self.log.push(Record::Input(admitted.clone()));
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.input(&admitted).map_err(DriverError::Recorder)?;
        }
        self.engine.step(admitted);
        self.inputs += 1;
        seen(&self.engine);
        let mark = match &mut self.recorder {
            Some(recorder) => {
                let mark = recorder.decisions(seq, at, self.engine.decisions());
                Some(mark.map_err(DriverError::Recorder)?)
            }
            None => None,
        };
        if !self.engine.decisions().is_empty() {
            self.decided(seq, at, mark);
        }
        self.release(at)?;
        if self.engine.faults().is_empty() {
            return Ok(());
        }
        let faults = self.engine.faults().to_vec();
        faults.into_iter().try_for_each(|fault| self.fault(fault, at))
    }

    /// Sends what the recorder lets go.
    fn release(&mut self, now: Ts) -> Result<(), DriverError> {
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        let released = recorder.released().map_err(DriverError::Recorder)?;
        while self.held.front().is_some_and(|(mark, _)| *mark <= released) {
            if let Some((_, command)) = self.held.pop_front() {
                self.venue.command(&command, now, &mut self.out);
            }
        }
        self.take_out();
        Ok(())
    }

    fn decided(&mut self, seq: Seq, at: Ts, mark: Option<u64>) {
        let decisions = self.engine.take_decisions();
        self.decisions += decisions.len() as u64;
        self.trail = hash_state(&(self.trail, seq, &decisions));
        for decision in &decisions {
            if let Decision::Command(command) = decision {
                match mark {
                    Some(mark) => self.held.push_back((mark, command.clone())),
                    None => self.venue.command(command, at, &mut self.out),
                }
            }
        }
        self.take_out();
        if self.options.keep_log {
            self.log.push(Record::Decisions(seq, at, decisions));
        } else {
            self.engine.recycle(decisions);
        }
    }

    /// What the actors do in the daemon: a strategy is rebuilt after its pause, within its budget; deciding nodes at once.
    fn fault(&mut self, fault: Fault, at: Ts) -> Result<(), DriverError> {
        if let Station::Runner(strategy) = fault.station {
            let rule = self.options.restart;
            let budget = self.budgets.entry(strategy).or_insert_with(|| RestartBudget::new(rule));
            match budget.take(at) {
                Some(pause) => self.deliver(at.plus(pause), Input::Rebuild(fault.station)),
                None => self.deliver(at, Input::GiveUp(strategy)),
            }
            return Ok(());
        }
        if !fault.is_deciding() {
            return Ok(());
        }
        if !self.options.keep_log {
            return Err(DriverError::Fault { station: fault.station, seq: fault.seq });
        }
        let mut rebuilt = self.fold_log()?;
        rebuilt.adopt_runners(&mut self.engine);
        self.engine = rebuilt;
        self.deliver(at, Input::Rebuild(fault.station));
        Ok(())
    }

    /// Folds the log into a fresh engine, as often as it takes to quarantine every node that panics in it.
    fn fold_log(&mut self) -> Result<Engine, FoldError> {
        for _ in 0..FOLDS_MAX {
            match Engine::folded(&self.registry, &self.log, &self.quarantine) {
                Err(FoldError::Fault { station, seq }) => self.quarantine.push(Quarantine { station, seq }),
                other => return other,
            }
        }
        Engine::folded(&self.registry, &self.log, &self.quarantine)
    }
}
