//! A backtest: strategies of a file run through recorded or generated market data, beside the simulated venue.

use crate::config::{Config, Fault};
use qcat_core::binance::instruments;
use qcat_core::config::{AccountConfig, EngineConfig};
use qcat_core::engine::Engine;
use qcat_core::engine::driver::{Driver, DriverError, DriverOptions};
use qcat_core::engine::fold::Record;
use qcat_core::event::{Alert, Decision, Input, StreamState};
use qcat_core::id::AccountIx;
use qcat_core::instrument::Universe;
use qcat_core::market::MarketInput;
use qcat_core::num::{Money, NumError, Rate};
use qcat_core::order::Fill;
use qcat_core::sim::derive::DeriveParams;
use qcat_core::sim::market::{Generator, GeneratorParams};
use qcat_core::stats::{EquityPoint, Summary};
use qcat_core::strategy::registry::Registry;
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{AccountSpec, Fees, Latency, Venue, VenueConfig};
use qcat_io::history;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where market data comes from.
#[derive(Debug, Clone)]
pub enum Data {
    /// A recording or a candle file.
    File(PathBuf),
    /// The seeded generator.
    Generated { seed: u64, start: Ts, length: Span },
}

/// How a backtest runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Market data.
    pub data: Data,
    /// Wallet at the start, in the margin asset, as decimal text.
    pub balance: String,
    /// Fee rates.
    pub fees: Fees,
    /// From the engine to the venue, and back, each; market data takes as long.
    pub latency: Span,
    /// Keep inputs and decisions, to compare two runs.
    pub keep_log: bool,
    /// Ends the run early when it is set.
    pub stop: Arc<AtomicBool>,
}

/// Why a backtest cannot run.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The configuration is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Fault>),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] history::HistoryError),
    /// The embedded instruments are wrong.
    #[error(transparent)]
    Instruments(#[from] instruments::InstrumentsError),
    /// The market cannot be generated.
    #[error(transparent)]
    Generator(#[from] qcat_core::sim::market::GeneratorError),
    /// The run failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A number is wrong.
    #[error("{0}")]
    Number(String),
    /// It was told to stop.
    #[error("stopped before the end of its data")]
    Stopped,
}

/// What came of a backtest.
#[derive(Debug)]
pub struct Outcome {
    /// Trades, profit, fees, drawdown.
    pub summary: Summary,
    /// Every fill.
    pub fills: Vec<Fill>,
    /// A hash of the engine's state at the end.
    pub state_hash: u64,
    /// A hash of every decision in order.
    pub trail: u64,
    /// Inputs admitted.
    pub inputs: u64,
    /// Decisions made.
    pub decisions: u64,
    /// What a person should look at, in order; at most [`ALERTS_KEPT`].
    pub alerts: Vec<Alert>,
    /// How many intents of each strategy were refused, by the reason's text.
    pub refusals: BTreeMap<String, u64>,
    /// Inputs and decisions, if kept.
    pub log: Vec<Record>,
    /// The instruments of the run.
    pub universe: Universe,
    /// Fills by strategy name.
    pub by_strategy: Vec<(String, usize)>,
}

/// Alerts kept of a run.
const ALERTS_KEPT: usize = 100;

/// Closed candles given to strategies before the start.
const WARM_UP_CANDLES: usize = 600;

/// Runs a backtest.
pub fn run(config: &Config, registry: Arc<Registry>, options: &Options) -> Result<Outcome, BacktestError> {
    let info = instruments::builtin()?;
    let universe = instruments::universe_of(&info)?;
    let mut engine_config = config.engine(&universe).map_err(BacktestError::Config)?;
    // The venue is our own: nothing is watched only.
    engine_config.accounts.iter_mut().for_each(|account| account.trading = true);
    crate::check_strategies(config, &registry).map_err(BacktestError::Config)?;
    let margin = engine_config.accounts[0].limits.exposure_max.asset;
    one_margin_asset(config, &engine_config, &universe)?;
    let balance =
        Money::parse(margin, options.balance.as_bytes()).ok().filter(|m| !m.is_negative() && !m.is_zero()).ok_or_else(
            || BacktestError::Number(format!("balance `{}`: a decimal number above 0 is expected", options.balance)),
        )?;
    let latency = Latency { entry: options.latency, answer: options.latency, report: options.latency };
    let mut venue = Venue::new(VenueConfig { latency, ..VenueConfig::default() }, universe.clone());
    for (at, account) in engine_config.accounts.iter().enumerate() {
        let spec = AccountSpec { balances: vec![balance], fees: options.fees, leverage: account.leverage };
        venue.add_account(AccountIx(at as u16), &spec);
    }
    let mut source = open(config, &universe, options)?;
    let driver_options =
        DriverOptions { feed_latency: options.latency, keep_log: options.keep_log, ..DriverOptions::default() };
    let mut watch = Watch::new(source.start, vec![balance; engine_config.accounts.len()])
        .map_err(|error| BacktestError::Number(error.to_string()))?;
    let mut driver = Driver::new(registry, venue, driver_options, source.start, universe.definitions(), engine_config)?;
    for input in source.before.drain(..) {
        driver.deliver(source.start, input);
    }
    let mut failed = None;
    let mut end = source.start;
    let going = |_: &_| !options.stop.load(Ordering::Relaxed);
    let events = source.events.take_while(going).map_while(|event| match event {
        Ok(event) => {
            end = end.max(event.exchange_time);
            Some(event)
        }
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    driver.run(events, &mut |engine| watch.see(engine))?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if options.stop.load(Ordering::Relaxed) {
        return Err(BacktestError::Stopped);
    }
    // What is still on its way arrives.
    driver.run_until(end.plus(Span::from_secs(2)), &mut |engine| watch.see(engine))?;
    let summary = Summary::new(&watch.curve, &watch.fills, &universe, Span::from_secs(86_400));
    let summary = summary.map_err(|e| BacktestError::Number(e.to_string()))?;
    let by_strategy = fills_of(config, &watch.fills);
    Ok(Outcome {
        summary,
        by_strategy,
        state_hash: driver.engine().state_hash(),
        trail: driver.trail(),
        inputs: driver.inputs(),
        decisions: driver.decisions(),
        log: driver.log().to_vec(),
        fills: watch.fills,
        alerts: watch.alerts,
        refusals: watch.refusals,
        universe,
    })
}

/// How many fills each strategy had.
fn fills_of(config: &Config, fills: &[Fill]) -> Vec<(String, usize)> {
    let count = |at: usize| fills.iter().filter(|fill| fill.strategy.ix() == at + 1).count();
    config.strategies.iter().enumerate().map(|(at, strategy)| (strategy.name.clone(), count(at))).collect()
}

/// One curve is drawn for all accounts, so their equities must have a sum.
fn one_margin_asset(config: &Config, engine: &EngineConfig, universe: &Universe) -> Result<(), BacktestError> {
    let margin = |account: &AccountConfig| account.limits.exposure_max.asset;
    let first = margin(&engine.accounts[0]);
    let Some(n) = engine.accounts.iter().position(|account| margin(account) != first) else { return Ok(()) };
    let [other, first] = [margin(&engine.accounts[n]), first].map(|asset| universe.asset_name(asset));
    let problem = format!("margin is in {other}, that of the first account in {first}: run a backtest for each");
    Err(BacktestError::Config(vec![Fault {
        source: config.source.clone(),
        pos: None,
        key: format!("accounts[{n}]"),
        problem,
    }]))
}

struct Watch {
    /// The newest worth of each account.
    equities: Vec<Money>,
    curve: Vec<EquityPoint>,
    fills: Vec<Fill>,
    alerts: Vec<Alert>,
    refusals: BTreeMap<String, u64>,
}

impl Watch {
    fn new(start: Ts, equities: Vec<Money>) -> Result<Watch, NumError> {
        let (fills, alerts, refusals) = Default::default();
        let first = EquityPoint { at: start, equity: sum(&equities)? };
        Ok(Watch { equities, curve: vec![first], fills, alerts, refusals })
    }

    fn see(&mut self, engine: &Engine) {
        let happened = engine.happened();
        self.fills.extend(&happened.fills);
        for decision in engine.decisions() {
            match decision {
                Decision::Alert(alert) if self.alerts.len() < ALERTS_KEPT => self.alerts.push(alert.clone()),
                Decision::Refused(refused) => *self.refusals.entry(refused.reason.to_string()).or_default() += 1,
                _ => {}
            }
        }
        if happened.equities.is_empty() {
            return;
        }
        for equity in &happened.equities {
            if let Ok(total) = equity.wallet.checked_add(equity.unrealized) {
                self.equities[equity.account.ix()] = total;
            }
        }
        if let Ok(equity) = sum(&self.equities) {
            self.curve.push(EquityPoint { at: engine.now(), equity });
        }
    }
}

fn sum(equities: &[Money]) -> Result<Money, NumError> {
    let zero = Money::zero(equities[0].asset);
    equities.iter().try_fold(zero, |sum, equity| sum.checked_add(*equity))
}

struct Source {
    start: Ts,
    before: Vec<Input>,
    events: Box<dyn Iterator<Item = Result<MarketInput, history::HistoryError>>>,
}

fn open(config: &Config, universe: &Universe, options: &Options) -> Result<Source, BacktestError> {
    let mut names: Vec<&str> = config.strategies.iter().flat_map(|s| s.symbols.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let symbols: Vec<_> = names.iter().filter_map(|name| universe.by_name(name)).collect();
    let mut before: Vec<Input> = symbols.iter().map(|i| Input::Stream(StreamState::MarketUp(i.symbol))).collect();
    match &options.data {
        Data::File(path) => {
            let derive = DeriveParams { marks: Some(Span::from_secs(1)), candles: Vec::new() };
            let symbol = match names.as_slice() {
                [one] => Some((*one).to_owned()),
                _ => None,
            };
            let open = history::OpenOptions { symbol, derive, ..history::OpenOptions::default() };
            let mut events = history::open(path, universe, &open)?.peekable();
            let start = match events.peek() {
                Some(Ok(first)) => first.exchange_time,
                _ => Ts::ZERO,
            };
            Ok(Source { start, before, events: Box::new(events) })
        }
        Data::Generated { seed, start, length } => {
            let end = start.plus(*length);
            let mut generators = Vec::new();
            for instrument in symbols {
                let price = crate::start_price(instrument);
                let generator = Generator::new(*seed, instrument, *start, GeneratorParams::at(price))?;
                for interval in [Span::from_secs(1), Span::from_secs(60)] {
                    let candles = generator.klines_before(interval, WARM_UP_CANDLES);
                    let history = qcat_core::event::History { symbol: instrument.symbol, candles };
                    before.push(Input::History(history));
                }
                generators.push(generator);
            }
            let merged = crate::sim::merge(generators).take_while(move |event| event.exchange_time < end).map(Ok);
            Ok(Source { start: *start, before, events: Box::new(merged) })
        }
    }
}

/// Fee rates from basis points.
pub fn fees(maker_bps: f64, taker_bps: f64) -> Option<Fees> {
    let rate =
        |bps: f64| (bps.is_finite() && bps.abs() <= 1_000.0).then(|| Rate::from_mantissa((bps * 1e6).round() as i64));
    Some(Fees { maker: rate(maker_bps)?, taker: rate(taker_bps)? })
}
