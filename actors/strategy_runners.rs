//! `strategy_runners`: one part per strategy. Its node runs in the engine; this is who rebuilds it after a fault, by budget, who gives
//! up on it, who fetches the candles that it warms up with, and who stops it with the daemon.

use crate::network_manager::Network;
use crate::runtime::component::Component;
use crate::runtime::lane::{Lane, LaneState, Step, Tap};
use crate::runtime::supervise::{Base, Cause, Line, Part};
use qcat_core::binance::decode::rest;
use qcat_core::binance::encode::percent_encode;
use qcat_core::config::OnStop;
use qcat_core::engine::Engine;
use qcat_core::engine::inbox::Offered;
use qcat_core::event::{Decision, HaltReason, History, Input, OperatorCommand, RunnerState, Scope, Station};
use qcat_core::id::{StrategyIx, SymbolIx};
use qcat_core::num::NetQuantity;
use qcat_core::time::Span;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The exchange's intervals of candles, in minutes and in its words.
const INTERVALS: [(i64, &str); 14] = [
    (1, "1m"),
    (3, "3m"),
    (5, "5m"),
    (15, "15m"),
    (30, "30m"),
    (60, "1h"),
    (120, "2h"),
    (240, "4h"),
    (360, "6h"),
    (480, "8h"),
    (720, "12h"),
    (1_440, "1d"),
    (4_320, "3d"),
    (10_080, "1w"),
];
/// Candles of one answer.
const CANDLES_MAX: u32 = 1500;
const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A strategy wants past candles.
#[derive(Debug, Clone, Copy)]
pub struct Warm(pub StrategyIx);

/// The component.
pub struct StrategyRunners {
    names: Vec<String>,
    network: Network,
    fetching: Vec<Option<JoinHandle<()>>>,
}

/// Sees strategies that begin to warm up: after the start, after a rebuild, after their stream was down.
struct WarmTap(Line<StrategyRunners>);

impl Tap for WarmTap {
    fn after_step(&mut self, step: &Step<'_>) {
        for decision in step.decisions {
            if let Decision::Runner { strategy, state: RunnerState::WarmingUp } = decision {
                self.0.tell(Warm(*strategy));
            }
        }
    }
}

impl StrategyRunners {
    /// Of the strategies that the lane's engine is configured with.
    pub fn new(network: Network, lane: &Lane, line: &Line<StrategyRunners>) -> StrategyRunners {
        let names: Vec<String> = lane.read(|e| e.config().strategies.iter().map(|s| s.name.to_string()).collect());
        lane.tap(Box::new(WarmTap(line.clone())));
        let fetching = names.iter().map(|_| None).collect();
        StrategyRunners { names, network, fetching }
    }

    fn warm(&mut self, strategy: StrategyIx, base: &Base<Self>) {
        let Some(slot) = strategy.ix().checked_sub(1).and_then(|at| self.fetching.get_mut(at)) else { return };
        let wanted = base.lane.read(|engine| wants(engine, strategy, &base.lane));
        slot.take().inspect(JoinHandle::abort);
        if !wanted.is_empty() {
            *slot = Some(tokio::task::spawn_local(fetch_all(wanted, self.network.clone(), base.lane.clone())));
        }
    }
}

/// One series of past candles.
struct Series {
    symbol: SymbolIx,
    interval: Span,
    word: &'static str,
    count: u32,
}

fn wants(engine: &Engine, strategy: StrategyIx, lane: &Lane) -> Vec<Series> {
    let Some(setup) = engine.config().strategy(strategy) else { return Vec::new() };
    let stopped = engine.runner(strategy).is_none_or(|runner| matches!(runner.state(), RunnerState::Stopped(_)));
    let Ok(instance) = lane.registry().build(&setup.kind, &setup.params) else { return Vec::new() };
    let mut wanted = Vec::new();
    for need in instance.needs().candles.iter().filter(|need| need.warm_up > 0 && !stopped) {
        // Candles that the exchange does not keep are made from trades as they come.
        let word = INTERVALS.iter().find(|(minutes, _)| Span::from_secs(minutes * 60) == need.interval);
        for symbol in word.iter().flat_map(|_| &setup.symbols) {
            let (interval, count) = (need.interval, need.warm_up.saturating_add(1).min(CANDLES_MAX));
            wanted.extend(word.map(|(_, word)| Series { symbol: *symbol, interval, word, count }));
        }
    }
    wanted
}

/// Fetches each series until it has it; a failure is noted and tried again, longer and longer apart.
async fn fetch_all(wanted: Vec<Series>, network: Network, lane: Lane) {
    for series in wanted {
        let mut pause = RETRY;
        while let Err(error) = fetch(&series, &network, &lane).await {
            network.notes.note(StrategyRunners::COMPONENT, "no_history", &error, lane.now());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

async fn fetch(series: &Series, network: &Network, lane: &Lane) -> Result<(), String> {
    let universe = lane.universe();
    let instrument = universe.instrument(series.symbol).ok_or("the symbol is not defined")?;
    let weight = match series.count {
        ..100 => 1,
        100..500 => 2,
        500..=1000 => 5,
        _ => 10,
    };
    let taken = network.weight.borrow_mut().take(weight, false, lane.now());
    taken.map_err(|until| format!("the request weight is used up until {until:?}"))?;
    let mut path = String::from("/fapi/v1/klines?symbol=");
    percent_encode(&mut path, &instrument.name);
    path.push_str(&format!("&interval={}&limit={}", series.word, series.count));
    let answer = network.http.send("GET", &path, None, TIMEOUT, || {}).await.map_err(|e| e.error.to_string())?;
    if answer.status != 200 {
        let error = rest::error(answer.status, &answer.body);
        return Err(format!("{}: {}", error.code, error.message));
    }
    let candles = rest::klines(&answer.body, instrument, series.interval, lane.now()).map_err(|e| e.to_string())?;
    let candles: Vec<_> = candles.into_iter().filter(|candle| candle.closed).collect();
    match lane.offer(Input::History(History { symbol: series.symbol, candles })) {
        Offered::Full => Err("the lane is full".to_owned()),
        Offered::Accepted | Offered::Conflated => Ok(()),
    }
}

/// What a stopping strategy still has at the venue that it must not leave there.
fn left_of(engine: &Engine) -> Option<String> {
    let (mut entries, mut positions, mut running) = (0, 0, 0);
    for (ix, setup) in engine.config().strategies() {
        let stopped = engine.runner(ix).is_none_or(|runner| matches!(runner.state(), RunnerState::Stopped(_)));
        running += usize::from(!stopped);
        let (Some(desk), Some(ledger)) = (engine.desk(setup.account), engine.ledger(setup.account)) else { continue };
        let own = desk.entries().filter(|e| e.key.ours().is_some_and(|id| id.strategy == ix));
        entries += match setup.on_stop {
            OnStop::Leave => 0,
            OnStop::Cancel => own.filter(|entry| !entry.protective).count(),
            OnStop::Flatten => own.count(),
        };
        if setup.on_stop == OnStop::Flatten {
            positions += ledger.virtual_positions(ix).filter(|p| p.quantity != NetQuantity::ZERO).count();
        }
    }
    let left = format!("{running} strategies not stopped, {entries} orders open, {positions} positions not closed");
    (running + entries + positions > 0).then_some(left)
}

impl Part for StrategyRunners {
    const COMPONENT: Component = Component::StrategyRunners;
    type Word = Warm;

    fn children(&self) -> Vec<String> {
        self.names.clone()
    }

    fn start(&mut self, child: usize, base: &Base<Self>) {
        self.warm(StrategyIx(child as u16 + 1), base);
    }

    fn restart(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        let strategy = StrategyIx(child as u16 + 1);
        match base.lane.offer(Input::Rebuild(Station::Runner(strategy))) {
            Offered::Full => return Err("the lane is full".to_owned()),
            Offered::Accepted | Offered::Conflated => self.warm(strategy, base),
        }
        Ok(())
    }

    fn give_up(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) {
        self.fetching[child].take().inspect(JoinHandle::abort);
        base.lane.offer(Input::GiveUp(StrategyIx(child as u16 + 1)));
    }

    fn scope(&self, child: usize) -> Scope {
        Scope::Strategy(StrategyIx(child as u16 + 1))
    }

    fn word(&mut self, Warm(strategy): Warm, base: &Base<Self>) {
        self.warm(strategy, base);
    }

    fn begin_stop(&mut self, base: &Base<Self>) {
        self.end(base);
        // The halt first: what is stopped under it runs again with the next start.
        base.lane.offer(Input::Halt { scope: Scope::All, reason: HaltReason::Stopping });
        for strategy in 1..=self.names.len() as u16 {
            base.lane.offer(Input::Command(OperatorCommand::StopStrategy(StrategyIx(strategy))));
        }
    }

    fn left(&self, base: &Base<Self>) -> Option<String> {
        match base.lane.state() {
            LaneState::Running => base.lane.read(left_of),
            state => Some(format!("the engine is {state:?}")),
        }
    }

    fn end(&mut self, _base: &Base<Self>) {
        self.fetching.iter_mut().filter_map(Option::take).for_each(|task| task.abort());
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let fetching = self.fetching.iter().flatten().filter(|task| !task.is_finished()).count();
        vec![("fetching_history", fetching.to_string())]
    }
}
