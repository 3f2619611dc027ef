//! Follows the trend of closed candles: long while the fast average is above the slow one, short while it is below.
//!
//! On each closed candle: averages and average true range (ATR) are updated; the signal turns only when the averages are apart by a
//! share of the ATR, so that it does not flicker in a range. Then position and open orders are compared with the signal:
//! - flat: enters at market with a fixed notional value;
//! - on the wrong side: takes the stop away and closes at market, reduce-only; once flat, enters the other side (a flip in two orders,
//!   so that the first of them passes even where new risk is refused);
//! - any position is covered by a protective stop, a conditional order some ATRs away from where the price is when it is placed.
//!
//! A side on which the stop was hit is not entered again until the signal turns. A refused entry is tried again after a pause.
//! A stop that the exchange refuses means that the price is beyond it already: the position is closed at market.

use crate::event::Refused;
use crate::id::{ClientOrderId, SymbolIx};
use crate::indicator::{Atr, Ema};
use crate::instrument::Instrument;
use crate::market::Candle;
use crate::node::{SnapshotError, decode_state, encode_state};
use crate::num::{Price, Quantity, Rounding, Side};
use crate::order::{End, Intent, OrderState, OrderUpdate};
use crate::strategy::context::quantity_for;
use crate::strategy::param::{ParamError, ParamKind, ParamSpec, Params, refused_period};
use crate::strategy::registry::StrategySpec;
use crate::strategy::{CandleNeed, Needs, Strategy, StrategyContext, StrategyEvent};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// How the strategy is listed.
pub const SPEC: StrategySpec = StrategySpec {
    name: "trend_follower",
    doc: "Holds a position in the direction of a moving-average cross on candles, protected by a stop at a multiple of the \
          average true range.",
    params: PARAMS,
    factory: |params| Ok(Box::new(TrendFollower::new(params)?)),
};

const PARAMS: &[ParamSpec] = &[
    ParamSpec {
        name: "interval_secs",
        kind: ParamKind::Int { min: 1, max: 86_400, default: 1 },
        doc: "Length of a candle in seconds. Lengths of a whole minute that the exchange keeps (1m, 3m, 5m, 15m, 30m, 1h, …) are warmed up, and mended after a lost stream, from its history; others, as 1 s, have none there and warm up from live trades.",
    },
    ParamSpec {
        name: "fast_periods",
        kind: ParamKind::Int { min: 1, max: 1_000, default: 8 },
        doc: "Periods of the fast exponential average of closes; below slow_periods.",
    },
    ParamSpec {
        name: "slow_periods",
        kind: ParamKind::Int { min: 2, max: 5_000, default: 21 },
        doc: "Periods of the slow exponential average of closes.",
    },
    ParamSpec {
        name: "atr_periods",
        kind: ParamKind::Int { min: 1, max: 1_000, default: 14 },
        doc: "Periods of the average true range.",
    },
    ParamSpec {
        name: "band_atr",
        kind: ParamKind::Float { min: 0.0, max: 10.0, default: 0.1 },
        doc: "How far the averages must be apart for the signal to turn, in average true ranges.",
    },
    ParamSpec {
        name: "stop_atr",
        kind: ParamKind::Float { min: 0.1, max: 100.0, default: 4.0 },
        doc: "Distance of the protective stop in average true ranges.",
    },
    ParamSpec {
        name: "stop_bps_min",
        kind: ParamKind::Float { min: 1.0, max: 5_000.0, default: 10.0 },
        doc: "Least distance of the protective stop in hundredths of a percent of the price.",
    },
    ParamSpec {
        name: "notional",
        kind: ParamKind::Float { min: 1.0, max: 1e9, default: 1_000.0 },
        doc: "Value of a position in the quote asset at its entry; rounded down to the lot step.",
    },
    ParamSpec {
        name: "side",
        kind: ParamKind::Choice { allowed: &["both", "long", "short"], default: "both" },
        doc: "Which sides may be entered.",
    },
];

/// A refused or rejected entry is tried again after this many candles.
const RETRY_CANDLES: i64 = 10;

/// See the module.
#[derive(Debug)]
pub struct TrendFollower {
    interval: Span,
    warm_up: u32,
    band_atr: f64,
    stop_atr: f64,
    stop_share_min: f64,
    notional: f64,
    only: Option<Side>,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    fast: Ema,
    slow: Ema,
    atr: Atr,
    /// Newest average true range, once it is known.
    range: Option<f64>,
    /// Newest close.
    close: f64,
    /// Where the trend goes.
    signal: Option<Side>,
    /// The side on which the stop was hit; not entered until the signal turns.
    stopped_out: Option<Side>,
    /// The stops that were placed and are not over.
    stops: Vec<ClientOrderId>,
    /// No entry before then.
    enter_after: Ts,
    /// The position has to go whatever the signal says: it cannot be protected.
    get_out: bool,
}

impl TrendFollower {
    fn new(params: &Params) -> Result<TrendFollower, ParamError> {
        let (fast, slow) = (params.int("fast_periods")?, params.int("slow_periods")?);
        let atr = params.int("atr_periods")?;
        if fast >= slow {
            let reason = "it must be below slow_periods";
            return Err(ParamError::Inconsistent { name: "fast_periods", found: fast.to_string(), reason });
        }
        let only = match params.text("side")? {
            "long" => Some(Side::Buy),
            "short" => Some(Side::Sell),
            _ => None,
        };
        let state = State {
            fast: Ema::new(fast as usize).map_err(|e| refused_period("fast_periods", e))?,
            slow: Ema::new(slow as usize).map_err(|e| refused_period("slow_periods", e))?,
            atr: Atr::new(atr as usize).map_err(|e| refused_period("atr_periods", e))?,
            range: None,
            close: 0.0,
            signal: None,
            stopped_out: None,
            stops: Vec::new(),
            enter_after: Ts::ZERO,
            get_out: false,
        };
        Ok(TrendFollower {
            interval: Span::from_secs(params.int("interval_secs")?),
            // The ranges were checked, so both fit. One candle more, because a true range needs the candle before.
            warm_up: slow.max(atr + 1) as u32,
            band_atr: params.float("band_atr")?,
            stop_atr: params.float("stop_atr")?,
            stop_share_min: params.float("stop_bps_min")? / 10_000.0,
            notional: params.float("notional")?,
            only,
            state,
        })
    }

    fn on_candle(&mut self, candle: &Candle, instrument: &Instrument) {
        let state = &mut self.state;
        let price = |p: Price| instrument.price_f64(p);
        state.close = price(candle.close);
        let (fast, slow) = (state.fast.update(state.close), state.slow.update(state.close));
        state.range = state.atr.update(price(candle.high), price(candle.low), state.close);
        if let (Some(fast), Some(slow), Some(range)) = (fast, slow, state.range) {
            let (apart, band) = (fast - slow, self.band_atr * range);
            let turned = if apart > band {
                Some(Side::Buy)
            } else if apart < -band {
                Some(Side::Sell)
            } else {
                state.signal
            };
            if turned != state.signal {
                (state.signal, state.stopped_out) = (turned, None);
            }
        }
    }

    /// Compares position and orders with what is wanted, and asks for the difference.
    fn pursue(&mut self, ctx: &mut StrategyContext<'_>) {
        if !ctx.can_reduce() {
            return;
        }
        let symbol = ctx.symbol();
        let position = ctx.position(symbol);
        let Some(held) = position.side() else {
            self.state.get_out = false;
            // A stop of a position that is gone would hit the next one.
            self.cancel_stops(ctx);
            self.enter(symbol, ctx);
            return;
        };
        let wrong = self.state.signal.is_some_and(|signal| signal != held);
        if wrong || self.state.get_out {
            self.leave(symbol, ctx);
        } else {
            self.protect(symbol, held, position.abs(), ctx);
        }
    }

    /// First the stop goes, then the position: where others trade the symbol too, both together would promise more than the
    /// position has.
    fn leave(&self, symbol: SymbolIx, ctx: &mut StrategyContext<'_>) {
        self.cancel_stops(ctx);
        if ctx.orders().is_empty() {
            ctx.close(symbol);
        }
    }

    fn enter(&mut self, symbol: SymbolIx, ctx: &mut StrategyContext<'_>) {
        let Some(side) = self.state.signal else { return };
        let forbidden = self.only.is_some_and(|only| only != side) || self.state.stopped_out == Some(side);
        if forbidden || !ctx.can_trade() || ctx.now() < self.state.enter_after || !ctx.orders().is_empty() {
            return;
        }
        if let Some(quantity) = ctx.instrument(symbol).and_then(|i| quantity_for(i, self.notional, self.state.close)) {
            ctx.market_order(symbol, side, quantity);
        }
    }

    /// Places a stop for what is not covered by one; where too much or the wrong side is covered, begins anew.
    fn protect(&mut self, symbol: SymbolIx, held: Side, quantity: Quantity, ctx: &mut StrategyContext<'_>) {
        let mut covered = Quantity::ZERO;
        let mut wrong_side = false;
        for order in ctx.orders().iter().filter(|o| self.is_stop(&o.update)) {
            wrong_side |= order.update.side == held;
            covered = covered.checked_add(order.update.open_quantity()).unwrap_or(covered);
        }
        if wrong_side || covered > quantity {
            self.cancel_stops(ctx);
        } else if covered < quantity
            && let Some(instrument) = ctx.instrument(symbol)
            && let Some(trigger) = self.stop_price(instrument, held)
            // A larger position has several.
            && let part = instrument.market_part(quantity.saturating_sub(covered))
            && let Some(id) = ctx.stop(symbol, held.opposite(), trigger, part)
        {
            self.state.stops.push(id);
        }
    }

    fn cancel_stops(&self, ctx: &mut StrategyContext<'_>) {
        while let Some(key) =
            ctx.orders().iter().find(|o| self.is_stop(&o.update) && !o.is_changing()).map(|o| o.update.key)
        {
            if !ctx.cancel(key) {
                break;
            }
        }
    }

    /// Some ATRs from the last close, but not nearer than the least distance.
    fn stop_price(&self, instrument: &Instrument, held: Side) -> Option<Price> {
        let distance = (self.stop_atr * self.state.range?).max(self.stop_share_min * self.state.close);
        match held {
            Side::Buy => instrument.price_from(self.state.close - distance, Rounding::Down),
            Side::Sell => instrument.price_from(self.state.close + distance, Rounding::Up),
        }
    }

    /// Once it is triggered a stop is an ordinary order, under the same id.
    fn is_stop(&self, update: &OrderUpdate) -> bool {
        update.conditional || update.key.ours().is_some_and(|id| self.state.stops.contains(&id))
    }

    fn on_order(&mut self, update: &OrderUpdate, ctx: &mut StrategyContext<'_>) {
        let OrderState::Done(end) = update.state else { return };
        let stop = self.is_stop(update);
        self.state.stops.retain(|id| update.key.ours() != Some(*id));
        match end {
            End::Filled if stop => self.state.stopped_out = Some(update.side.opposite()),
            // With a fill under way the position is not up to date: it tells when it is.
            End::Canceled if update.filled.is_zero() => self.pursue(ctx),
            End::Filled | End::Canceled => {}
            End::Rejected(_) | End::Expired(_) | End::NeverArrived if stop => self.state.get_out = true,
            End::Rejected(_) | End::Expired(_) | End::NeverArrived => {
                if !update.reduce_only {
                    self.pause_entries(ctx.now());
                }
            }
        }
    }

    fn on_refused(&mut self, refused: &Refused, ctx: &mut StrategyContext<'_>) {
        let Intent::Place(order) = refused.intent else { return };
        self.state.stops.retain(|id| *id != order.id);
        if order.terms.is_conditional() {
            self.state.get_out = true;
            self.pursue(ctx);
        } else if !order.reduce_only {
            // A close is tried again with the next candle.
            self.pause_entries(ctx.now());
        }
    }

    fn pause_entries(&mut self, now: Ts) {
        self.state.enter_after = now.plus(Span::from_nanos(self.interval.nanos().saturating_mul(RETRY_CANDLES)));
    }
}

impl Strategy for TrendFollower {
    fn needs(&self) -> Needs {
        let candles = vec![CandleNeed { interval: self.interval, warm_up: self.warm_up }];
        Needs { candles, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        match event {
            StrategyEvent::Start => {
                // Stops of an earlier instance go on protecting.
                let stops = ctx.orders().iter().filter(|o| o.update.conditional);
                self.state.stops = stops.filter_map(|o| o.id()).collect();
            }
            StrategyEvent::Candle { symbol, candle } if *symbol == ctx.symbol() => {
                if let Some(instrument) = ctx.instrument(*symbol) {
                    self.on_candle(candle, instrument);
                    self.pursue(ctx);
                }
            }
            StrategyEvent::Position(position) if position.symbol == ctx.symbol() => self.pursue(ctx),
            StrategyEvent::Order(update) => self.on_order(update, ctx),
            StrategyEvent::Refused(refused) => self.on_refused(refused, ctx),
            _ => {}
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(encode_state(&self.state))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.state = decode_state("trend_follower", snapshot)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
