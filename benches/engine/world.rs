//! The tape, the world that it is played to, and what a run did.

#[path = "../../tests/support/account.rs"]
mod account;

use crate::{is_market, trader};
use flate2::read::GzDecoder;
use qcat_core::binance::decode::{Frame, decode_frame};
use qcat_core::binance::instruments;
use qcat_core::config::{
    AccountConfig, AccountLimits, EngineConfig, OnStop, ParamValue, RiskConfig, StrategyConfig, Timing,
};
use qcat_core::engine::Engine;
use qcat_core::engine::driver::{Driver, DriverOptions};
use qcat_core::event::{Admitted, Input, StreamState};
use qcat_core::id::{AccountIx, StrategyIx, SymbolIx};
use qcat_core::instrument::{Definition, Universe};
use qcat_core::market::{MarketEvent, MarketInput};
use qcat_core::num::{Money, Rate};
use qcat_core::order::ExecutionType;
use qcat_core::strategy::Registry;
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{AccountSpec, Fees, Venue, VenueConfig};
use std::io::{BufRead, BufReader};
use std::sync::Arc;

/// The only account.
pub const ACCOUNT: AccountIx = AccountIx(0);

/// Orders that exist before the clock runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Past {
    /// They rest far away, at venue, desk and gate.
    pub resting: u32,
    /// They were placed and cancelled.
    pub ended: u32,
}

/// Quotes and trades of the recording, decoded once.
pub struct Tape {
    events: Vec<MarketInput>,
    length: Span,
}

impl Tape {
    pub fn load() -> Tape {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recorded/usdm_btcusdt_20240808_head.gz");
        let file = std::fs::File::open(path).expect("the slice is in the repository");
        let universe = universe();
        let mut events = Vec::new();
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let line = line.expect("readable");
            let frame = line.split_once(' ').map_or("", |(_, frame)| frame);
            if (frame.contains("@bookTicker") || frame.contains("@trade"))
                && let Ok(Frame::Market(input)) = decode_frame(frame.as_bytes(), &universe, None, Ts::ZERO)
            {
                events.push(input);
            }
        }
        let (first, last) = (events[0].exchange_time, events[events.len() - 1].exchange_time);
        Tape { length: last.since(first).max(Span::from_millis(1)), events }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// The event at a place of the endless tape: each round's ids and times follow those of the one before.
    fn at(&self, place: usize) -> MarketInput {
        let (round, at) = (place / self.events.len(), place % self.events.len());
        let mut input = self.events[at].clone();
        let later = Span::from_nanos(self.length.nanos() * round as i64);
        input.exchange_time = input.exchange_time.plus(later);
        match &mut input.event {
            MarketEvent::Quote(quote) => quote.update_id += round as u64 * 1_000_000_000,
            MarketEvent::Trade(trade) => trade.id.0 += round as i64 * 1_000_000,
            _ => {}
        }
        input
    }
}

/// A driver and where it is on the tape.
pub struct World {
    pub driver: Driver<Venue>,
    past: Past,
    place: usize,
}

impl World {
    pub fn new(tape: &Tape, past: Past, keep_log: bool) -> World {
        let universe = universe();
        let usdt = universe.asset("USDT").expect("embedded");
        let mut venue = Venue::new(VenueConfig::default(), universe.clone());
        let balances = vec![Money::units(usdt, 100_000_000)];
        venue.add_account(ACCOUNT, &AccountSpec { balances, fees: Fees::default(), leverage: 5 });
        let options = DriverOptions { keep_log, ..DriverOptions::default() };
        let start = Ts::from_nanos(tape.events[0].exchange_time.nanos() - 10_000_000_000);
        let config = config(Money::units(usdt, 50_000_000), past);
        let mut driver =
            Driver::new(registry(), venue, options, start, universe.definitions(), config).expect("starts");
        driver.deliver(start, Input::Stream(StreamState::MarketUp(SymbolIx(0))));
        driver.run_until(start.plus(Span::from_secs(5)), &mut |_| {}).expect("runs");
        World { driver, past, place: 0 }
    }

    /// Plays until the orders of the past are there, and a while longer.
    pub fn make_past(&mut self, tape: &Tape) {
        let quotes = (self.past.resting + self.past.ended) as usize / 4 + 2_000;
        self.run(tape, 2 * quotes);
        let open = self.driver.engine().desk(ACCOUNT).map_or(0, |desk| desk.orders().count());
        assert!(open >= self.past.resting as usize && open < self.past.resting as usize + 9, "{open} orders are open");
    }

    pub fn run(&mut self, tape: &Tape, events: usize) {
        let from = self.place;
        self.place += events;
        self.driver.run((from..from + events).map(|place| tape.at(place)), &mut |_| {}).expect("runs");
    }
}

/// The embedded instruments without the exchange's bound of open orders, which would end the growth series at 200.
fn universe() -> Universe {
    let embedded = instruments::builtin_universe().expect("embedded");
    let mut universe = Universe::default();
    for mut definition in embedded.definitions() {
        if let Definition::Instrument(instrument) = &mut definition {
            instrument.filters.max_orders = None;
        }
        universe.define(&definition).expect("as embedded");
    }
    universe
}

pub fn registry() -> Arc<Registry> {
    let mut registry = Registry::builtin();
    registry.register(trader::SPEC).expect("a new name");
    Arc::new(registry)
}

fn config(most: Money, past: Past) -> EngineConfig {
    let usual = account::account(most);
    let limits = AccountLimits { leverage_max: Rate::from_bps(50_000), open_orders_max: 1_000_000, ..usual.limits };
    let account = AccountConfig { leverage: 5, limits, ..usual };
    let count = |n: u32| ParamValue::Int(i64::from(n));
    let params = [("resting".into(), count(past.resting)), ("ended".into(), count(past.ended))].into();
    let usual = account::strategy("t", trader::SPEC.name, SymbolIx(0));
    let strategy = StrategyConfig { params, on_stop: OnStop::Leave, ..usual };
    // A reconciliation compares every open order and a year passes on the tape: that is another measure.
    let timing = Timing { reconcile_every: Span::from_secs(10 * 365 * 86_400), ..Timing::default() };
    EngineConfig { accounts: vec![account], strategies: vec![strategy], risk: RiskConfig::default(), timing }
}

/// What a run did, so that nobody has to believe that it traded.
pub fn summary(before: &[Admitted], timed: &[Admitted], engine: &Engine) -> String {
    use qcat_core::command::{Outcome, Report};
    let market = timed.iter().filter(|a| is_market(&a.input).is_some()).count();
    let reports = timed.iter().filter_map(|a| match &a.input {
        Input::Report(Report::Order(report)) => Some(report.execution),
        _ => None,
    });
    let executions: Vec<ExecutionType> = reports.collect();
    let count = |wanted: ExecutionType| executions.iter().filter(|e| **e == wanted).count();
    let answers =
        timed.iter().filter(|a| matches!(&a.input, Input::Outcome(o) if matches!(o.outcome, Outcome::Order(_))));
    let timers = timed.iter().filter(|a| matches!(a.input, Input::Timer(_))).count();
    let state = engine.runner(StrategyIx(1)).map(|runner| runner.state());
    format!(
        "{} inputs ({} before): {market} market, {timers} timers; orders new {}, fills {}, cancelled {}, answers {}; strategy {}",
        timed.len(),
        before.len(),
        count(ExecutionType::New),
        count(ExecutionType::Trade),
        count(ExecutionType::Canceled),
        answers.count(),
        if state.is_some_and(trader::runs) { "runs".to_owned() } else { format!("{state:?}") },
    )
}
