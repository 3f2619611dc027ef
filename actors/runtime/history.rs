//! Past candles for strategies to warm up with, from the exchange's REST service.

use super::component::Component;
use super::lane::Lane;
use crate::network_manager::Network;
use qcat_core::binance::decode::rest;
use qcat_core::binance::encode::percent_encode;
use qcat_core::engine::Engine;
use qcat_core::engine::inbox::Offered;
use qcat_core::event::{History, Input, RunnerState};
use qcat_core::id::{StrategyIx, SymbolIx};
use qcat_core::market::Candle;
use qcat_core::time::{Span, Ts};
use std::time::Duration;

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
/// Attempts to see a candle closed that should be; a contract that does not trade may have none.
const ATTEMPTS_MAX: u32 = 6;
/// The exchange takes this long to close a candle.
const CLOSE_GRACE: Span = Span::from_secs(1);
/// The lane's time is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// One series of past candles.
pub(crate) struct Series {
    symbol: SymbolIx,
    interval: Span,
    word: &'static str,
    count: u32,
}

/// The series that a strategy warms up with, as far as the exchange keeps them.
pub(crate) fn wants(engine: &Engine, strategy: StrategyIx, lane: &Lane) -> Vec<Series> {
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

/// Fetches each series until it has it, and once more when the candle under way is closed: of that one the trades were seen only in
/// part, so nobody else tells it whole. A failure is noted and tried again, longer and longer apart.
pub(crate) async fn fetch_all(wanted: Vec<Series>, network: Network, lane: Lane) {
    let mut rest = Vec::with_capacity(wanted.len());
    for series in wanted {
        let closed = fetch_up_to(&series, None, &network, &lane).await;
        rest.push((closed.unwrap_or_else(|| lane.now()).plus(series.interval), series));
    }
    rest.sort_by_key(|(due, _)| *due);
    for (due, series) in rest {
        while lane.now() < due.plus(CLOSE_GRACE) {
            let wait = due.plus(CLOSE_GRACE).since(lane.now()).nanos().unsigned_abs();
            tokio::time::sleep(Duration::from_nanos(wait).min(LOOK)).await;
        }
        fetch_up_to(&series, Some(due), &network, &lane).await;
    }
}

/// Fetches a series until it reaches `end`, or for so many attempts if it must. Returns the end of its newest closed candle.
async fn fetch_up_to(series: &Series, end: Option<Ts>, network: &Network, lane: &Lane) -> Option<Ts> {
    let (mut pause, mut attempts) = (RETRY, 0);
    loop {
        let error = match fetch(series, network, lane).await {
            Ok(closed) if end.is_none_or(|end| closed.is_some_and(|closed| closed >= end)) => return closed,
            Ok(closed) if attempts >= ATTEMPTS_MAX => return closed,
            Ok(_) => "the newest candle is not closed at the exchange yet".to_owned(),
            Err(error) => error,
        };
        attempts += 1;
        network.notes.note(Component::StrategyRunners, "no_history", &error, lane.now());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Fetches and offers a series. Returns the end of its newest closed candle.
async fn fetch(series: &Series, network: &Network, lane: &Lane) -> Result<Option<Ts>, String> {
    let universe = lane.universe();
    let instrument = universe.instrument(series.symbol).ok_or("the symbol is not defined")?;
    let weight = match series.count {
        ..100 => 1,
        100..500 => 2,
        500..=1000 => 5,
        _ => 10,
    };
    let mut path = String::from("/fapi/v1/klines?symbol=");
    percent_encode(&mut path, &instrument.name);
    path.push_str(&format!("&interval={}&limit={}", series.word, series.count));
    let answer = network.asker(lane).get(&path, weight, None, TIMEOUT).await.map_err(|e| e.to_string())?;
    // Whether a candle is closed is a matter of the exchange's clock.
    let now = network.weight.borrow().exchange_time(lane.now());
    let candles = rest::klines(&answer, instrument, series.interval, now).map_err(|e| e.to_string())?;
    let candles: Vec<_> = candles.into_iter().filter(|candle| candle.closed).collect();
    let closed = candles.last().map(Candle::close_time);
    match lane.offer(Input::History(History { symbol: series.symbol, candles })) {
        Offered::Full => Err("the lane is full".to_owned()),
        Offered::Accepted | Offered::Conflated => Ok(closed),
    }
}
