//! Candles before a generated market's start: the walk continued backwards from the first price.

use super::Generator;
use crate::market::Candle;
use crate::num::{Quantity, Rounding};
use crate::sim::dice::Dice;
use crate::time::{Span, Ts};

const MINUTE: Span = Span::from_secs(60);
/// Base candles that are walked back at most.
const BASE_MAX: i64 = 1_000_000;

pub(super) fn candles(market: &Generator, interval: Span, count: usize) -> Vec<Candle> {
    let length = interval.nanos();
    if length <= 0 || count == 0 {
        return Vec::new();
    }
    let base = if length % MINUTE.nanos() == 0 { MINUTE } else { interval };
    let per_candle = length / base.nanos();
    // The base candles end where the last whole one does; those of the running interval are walked but not returned.
    let (end, end_base) = (market.start.floor(interval), market.start.floor(base));
    let running = end_base.since(end).nanos() / base.nanos();
    let wanted = (count as i64).saturating_mul(per_candle).saturating_add(running).min(BASE_MAX);
    let walked = walk_back(market, base, end_base, wanted);
    let mut whole: Vec<Candle> = Vec::new();
    for candle in walked.iter().rev().filter(|c| c.close_time() <= end) {
        let open_time = candle.open_time.floor(interval);
        match whole.last_mut() {
            Some(last) if last.open_time == open_time => merge(last, candle),
            // The oldest interval may lack its beginning.
            _ if candle.open_time != open_time => {}
            _ => whole.push(Candle { interval, open_time, ..*candle }),
        }
    }
    let surplus = whole.len().saturating_sub(count);
    whole.split_off(surplus)
}

/// Base candles, newest first.
fn walk_back(market: &Generator, base: Span, end: Ts, count: i64) -> Vec<Candle> {
    let mut dice = Dice::new(market.seed, if base == MINUTE { "before.minute" } else { "before.other" });
    let params = &market.params;
    let seconds = base.nanos() as f64 / 1e9;
    let sigma = params.volatility_bps * 1e-4 * libm::sqrt(seconds);
    let drift_max = params.trend_bps_per_minute * 1e-4 * seconds / 60.0;
    let switch = (seconds * 1e9 / params.regime.nanos() as f64).min(0.5);
    let mut close = market.params.start_price.mantissa() as f64 / market.tick as f64;
    let anchor = close;
    let mut drift = 0.0;
    let mut candles = Vec::with_capacity(count.clamp(0, BASE_MAX) as usize);
    for back in 1..=count {
        if dice.chance(switch) {
            // Far from the start the walk turns back, so that a long history stays near the price.
            let lean = (libm::log(close / anchor) * 2.0).clamp(-0.9, 0.9);
            drift = drift_max * (dice.uniform() * 2.0 - 1.0 + lean).clamp(-1.0, 1.0);
        }
        let open = (close * (1.0 - (drift + sigma * dice.normal()).clamp(-0.2, 0.2))).max(200.0);
        let (top, bottom) = (open.max(close), open.min(close));
        let high = top * (1.0 + (sigma * dice.exponential(0.4)).min(0.1));
        let low = (bottom * (1.0 - (sigma * dice.exponential(0.4)).min(0.1))).max(100.0);
        let lots = volume(market, close, seconds, &mut dice);
        let taker = (lots as f64 * (0.3 + 0.4 * dice.uniform())) as i64;
        let quantity = |lots: i64| Quantity::from_mantissa(lots * market.step).unwrap_or(Quantity::ZERO);
        // Rounding outwards keeps high and low around open and close.
        let (open_price, close_price) =
            (market.round_to_tick(open, Rounding::Nearest), market.round_to_tick(close, Rounding::Nearest));
        candles.push(Candle {
            interval: base,
            open_time: Ts::from_nanos(end.nanos() - back * base.nanos()),
            open: open_price,
            high: market.round_to_tick(high, Rounding::Up).max(open_price).max(close_price),
            low: market.round_to_tick(low, Rounding::Down).min(open_price).min(close_price),
            close: close_price,
            volume: quantity(lots),
            quote_volume: market
                .notional(market.round_to_tick((open + close) / 2.0, Rounding::Nearest), quantity(lots)),
            taker_buy_volume: quantity(taker),
            trades: (seconds * params.trade_chance * 1e9 / params.step.nanos() as f64) as u32 + 1,
            closed: true,
        });
        close = open;
    }
    candles
}

fn volume(market: &Generator, close: f64, seconds: f64, dice: &mut Dice) -> i64 {
    let params = &market.params;
    let steps = seconds * 1e9 / params.step.nanos() as f64;
    let notional = steps * params.trade_chance * params.trade_notional * (0.3 + dice.exponential(0.7));
    let price = close * market.tick as f64 / crate::num::pow10(market.scales.0) as f64;
    let lots = notional / (price * market.step as f64 / crate::num::pow10(market.scales.1) as f64);
    (lots as i64).clamp(1, i64::MAX / 1_000_000 / market.step)
}

fn merge(whole: &mut Candle, part: &Candle) {
    whole.high = whole.high.max(part.high);
    whole.low = whole.low.min(part.low);
    whole.close = part.close;
    whole.volume = whole.volume.checked_add(part.volume).unwrap_or(whole.volume);
    whole.taker_buy_volume =
        whole.taker_buy_volume.checked_add(part.taker_buy_volume).unwrap_or(whole.taker_buy_volume);
    whole.quote_volume = whole.quote_volume.checked_add(part.quote_volume).unwrap_or(whole.quote_volume);
    whole.trades = whole.trades.saturating_add(part.trades);
}
