//! A seeded market: quotes, trades, a book with the exchange's sequence rules, mark prices and funding, in virtual time.
//!
//! A latent fair price walks through regimes ([`path`]); makers rest around it ([`liquidity`]) and takers hit
//! them. Prices are on the tick, quantities on the lot step; the same seed gives the same events on every platform.
//! Tests: properties over seeds (book never crossed, `U`/`u`/`pu` chain, quote = top of the book at equal id, determinism).

use super::dice::Dice;
use crate::id::{SymbolIx, TradeId};
use crate::instrument::Instrument;
use crate::market::{BookLevels, Candle, Mark, MarketEvent, MarketInput, Trade};
use crate::num::{Money, Price, Quantity, Rate, Rounding, Side, pow10};
use crate::time::{Span, Ts};
use std::collections::VecDeque;

mod liquidity;
mod path;
mod warmup;

use liquidity::Liquidity;
use path::Path;
pub use path::Regime;

/// How a generated market behaves. [`GeneratorParams::at`] has values like those of a liquid perpetual.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorParams {
    /// The price at the start.
    pub start_price: Price,
    /// Standard deviation of the price per square root of a second, in basis points.
    pub volatility_bps: f64,
    /// Drift in trends, in basis points a minute.
    pub trend_bps_per_minute: f64,
    /// How fast a range draws the price back: the time constant in seconds.
    pub range_seconds: f64,
    /// Mean size of a jump in basis points.
    pub jump_bps: f64,
    /// Jumps a minute while there are jumps.
    pub jumps_per_minute: f64,
    /// Mean length of a regime.
    pub regime: Span,
    /// Mean time between two changes of the book.
    pub step: Span,
    /// Levels per side, 1 to 1,000.
    pub levels: usize,
    /// Mean notional value of a level, in units of the quote asset.
    pub level_notional: f64,
    /// Chance that a step has a taker.
    pub trade_chance: f64,
    /// Mean notional value of a taker's order, in units of the quote asset.
    pub trade_notional: f64,
    /// Widest usual spread in ticks, 1 at least; mostly it is 1.
    pub spread_ticks: i64,
    /// Time between two diffs of the book.
    pub depth_interval: Span,
    /// Time between two mark prices.
    pub mark_interval: Span,
    /// Time between two payments of funding, aligned to the epoch.
    pub funding_interval: Span,
}

impl GeneratorParams {
    /// The defaults, from this price on.
    pub fn at(start_price: Price) -> GeneratorParams {
        GeneratorParams {
            start_price,
            volatility_bps: 0.9,
            trend_bps_per_minute: 12.0,
            range_seconds: 30.0,
            jump_bps: 20.0,
            jumps_per_minute: 2.0,
            regime: Span::from_secs(120),
            step: Span::from_millis(20),
            levels: 50,
            level_notional: 100_000.0,
            trade_chance: 0.25,
            trade_notional: 4_000.0,
            spread_ticks: 3,
            depth_interval: Span::from_millis(100),
            mark_interval: Span::from_secs(1),
            funding_interval: Span::from_secs(8 * 3600),
        }
    }
}

/// Parameters that no market can be made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeneratorError {
    /// The instrument has no tick or no lot step.
    #[error("{0} has no price tick or no lot step: it cannot be generated")]
    NoStep(String),
    /// A parameter is out of its range.
    #[error("generator parameter {name} is {found}, allowed: {allowed}")]
    Parameter { name: &'static str, found: String, allowed: &'static str },
}

/// The market of one symbol. An endless iterator in time order: [`Iterator::next`] never returns `None`.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    symbol: SymbolIx,
    start: Ts,
    tick: i64,
    step: i64,
    params: GeneratorParams,
    scales: (u8, u8),
    quote: crate::id::AssetIx,
    path: Path,
    book: Liquidity,
    flow: Dice,
    timing: Dice,
    marks: Dice,
    now: Ts,
    next_step: Ts,
    next_flush: Ts,
    next_mark: Ts,
    next_funding: Ts,
    funding_rate: Rate,
    /// Index price in ticks, and the premium of the mark price over it as a share.
    index: (f64, f64),
    trade_id: i64,
    /// The best bid and ask (tick, lots) of the last quote.
    told: [Option<(i64, i64)>; 2],
    queue: VecDeque<MarketInput>,
}

impl Generator {
    /// The market of `instrument` from `start` on. It begins with a whole book, a quote and a mark price.
    pub fn new(
        seed: u64,
        instrument: &Instrument,
        start: Ts,
        params: GeneratorParams,
    ) -> Result<Generator, GeneratorError> {
        let (tick, step) = (instrument.filters.price.tick.mantissa(), instrument.filters.lot.step.mantissa());
        if tick <= 0 || step <= 0 {
            return Err(GeneratorError::NoStep(instrument.name.to_string()));
        }
        check(&params, tick)?;
        let start_tick = params.start_price.mantissa() / tick;
        let unit = pow10(instrument.price_scale + instrument.quantity_scale) as f64;
        let lot_value = start_tick as f64 * tick as f64 * step as f64 / unit;
        let mean_lots = (params.level_notional / lot_value).max(2.0);
        // Room below for all levels, above for arithmetic.
        let bounds = ((params.levels as f64 * 5.0 + 100.0).min(start_tick as f64), (i64::MAX / 1_000 / tick) as f64);
        let book = Liquidity::new(seed, start_tick, 1, (tick, step), mean_lots, &params);
        let mut generator = Generator {
            seed,
            symbol: instrument.symbol,
            start,
            tick,
            step,
            scales: (instrument.price_scale, instrument.quantity_scale),
            quote: instrument.quote,
            path: Path::new(seed, start_tick as f64, bounds, start, params.clone()),
            book,
            flow: Dice::new(seed, "flow"),
            timing: Dice::new(seed, "timing"),
            marks: Dice::new(seed, "marks"),
            now: start,
            next_step: start,
            next_flush: start.plus(params.depth_interval),
            next_mark: start.floor(params.mark_interval).plus(params.mark_interval),
            next_funding: start.floor(params.funding_interval).plus(params.funding_interval),
            funding_rate: Rate::from_mantissa(1_000_000),
            index: (start_tick as f64, 0.0),
            trade_id: 1_000_000,
            told: [None, None],
            queue: VecDeque::new(),
            params,
        };
        let snapshot = generator.book.snapshot();
        generator.emit(MarketEvent::BookReset(Box::new(snapshot)));
        generator.tell_quote();
        generator.tell_mark();
        Ok(generator)
    }

    /// The whole book as a REST snapshot taken after the last event shows it.
    pub fn snapshot(&self) -> BookLevels {
        self.book.snapshot()
    }

    /// The time of the newest event made so far.
    pub fn now(&self) -> Ts {
        self.now
    }

    /// What the market is doing: for displays and tests; nothing that trades may look at it.
    pub fn regime(&self) -> Regime {
        self.path.regime()
    }

    /// Closed candles before the start, oldest first, the last one ending at or before the start at the first price.
    /// Longer intervals are made of minutes, so candles of several intervals agree. At most a million minutes back.
    pub fn klines_before(&self, interval: Span, count: usize) -> Vec<Candle> {
        warmup::candles(self, interval, count)
    }

    fn advance(&mut self) {
        self.now = self.next_step.min(self.next_flush).min(self.next_mark);
        if self.now == self.next_step {
            self.take_step();
        } else if self.now == self.next_flush {
            self.next_flush = self.now.plus(self.params.depth_interval);
            if let Some(levels) = self.book.flush() {
                self.emit(MarketEvent::BookDelta(Box::new(levels)));
            }
        } else {
            self.next_mark = self.now.plus(self.params.mark_interval);
            self.tell_mark();
        }
    }

    fn take_step(&mut self) {
        let mean = self.params.step.nanos() as f64;
        let pause = self.timing.exponential(mean).clamp(1_000.0, 20.0 * mean);
        let fair = self.path.advance(self.now, pause / 1e9);
        self.next_step = self.now.plus(Span::from_nanos(pause as i64));
        self.book.stir(1 + self.timing.below(3));
        let (Some((bid, _)), Some((ask, _))) = (self.book.best(Side::Buy), self.book.best(Side::Sell)) else {
            // Sides are never taken whole; were one empty, the makers would come back.
            let bid = libm::floor(fair) as i64;
            return self.book.requote(bid, bid + 1);
        };
        // Makers follow only when the fair price has left the spread by more than they can tell from noise.
        let band = (fair * 0.2e-4).max(1.0);
        if fair > ask as f64 + band {
            self.reprice(Side::Buy, fair);
        } else if fair < bid as f64 - band {
            self.reprice(Side::Sell, fair);
        } else {
            self.trade_at_touch(fair, (bid, ask), band);
        }
        self.tell_quote();
    }

    /// The price moves: takers of `side` trade through a few levels, the makers behind them cancel and quote anew.
    fn reprice(&mut self, side: Side, fair: f64) {
        let spread = self.draw_spread();
        let bid = libm::floor(fair - spread as f64 / 2.0) as i64;
        let limit = if side == Side::Buy { bid } else { bid + spread };
        for _ in 0..1 + self.flow.below(4) {
            if let Some((tick, lots)) = self.book.best(side.opposite())
                && (tick - limit) * if side == Side::Buy { 1 } else { -1 } <= 0
            {
                // Some of the level is cancelled before the taker arrives.
                let lots = 1 + (lots as f64 * self.flow.uniform() * 0.7) as i64;
                self.hit(side, lots, limit);
            }
        }
        self.book.requote(bid, bid + spread);
    }

    fn trade_at_touch(&mut self, fair: f64, (bid, ask): (i64, i64), band: f64) {
        if self.flow.chance(self.params.trade_chance) {
            let middle = (bid + ask) as f64 / 2.0;
            let up = 0.5 + ((fair - middle) / (4.0 * band)).clamp(-0.4, 0.4);
            let side = if self.flow.chance(up) { Side::Buy } else { Side::Sell };
            let price = ask as f64 * self.tick as f64 / pow10(self.scales.0) as f64;
            let lot = price * self.step as f64 / pow10(self.scales.1) as f64;
            let lots = 1 + (self.flow.exponential(self.params.trade_notional) / lot) as i64;
            let limit = if side == Side::Buy { ask + 3 } else { bid - 3 };
            self.hit(side, lots, limit);
        }
        let gap = match (self.book.best(Side::Buy), self.book.best(Side::Sell)) {
            (Some((bid, _)), Some((ask, _))) => ask - bid,
            _ => i64::MAX,
        };
        let thin = [Side::Buy, Side::Sell].iter().any(|&side| self.book.len(side) < self.params.levels / 2);
        if gap > self.params.spread_ticks || thin || (gap > 1 && self.flow.chance(0.3)) {
            let spread = self.draw_spread();
            let bid = libm::floor(fair - spread as f64 / 2.0) as i64;
            self.book.requote(bid, bid + spread);
        }
    }

    fn draw_spread(&mut self) -> i64 {
        if self.flow.chance(0.9) { 1 } else { 1 + self.flow.below(self.params.spread_ticks.max(1) as u64) as i64 }
    }

    fn hit(&mut self, side: Side, lots: i64, limit: i64) {
        for (tick, lots) in self.book.take(side, lots, limit) {
            self.trade_id += 1;
            let trade = Trade {
                id: TradeId(self.trade_id),
                price: Price::from_mantissa(tick * self.tick),
                quantity: Quantity::from_mantissa(lots.saturating_mul(self.step)).expect("lots are positive"),
                aggressor: side,
                on_book: true,
            };
            self.emit(MarketEvent::Trade(trade));
        }
    }

    fn tell_quote(&mut self) {
        let top = [self.book.best(Side::Buy), self.book.best(Side::Sell)];
        if top != self.told {
            self.told = top;
            let quote = self.book.quote();
            self.emit(MarketEvent::Quote(quote));
        }
    }

    fn tell_mark(&mut self) {
        let middle = match (self.book.best(Side::Buy), self.book.best(Side::Sell)) {
            (Some((bid, _)), Some((ask, _))) => (bid + ask) as f64 / 2.0,
            _ => self.path.price,
        };
        let (mut index, mut premium) = self.index;
        index += (middle - index) * 0.5;
        index *= 1.0 + self.marks.normal() * 0.05e-4;
        premium = premium * 0.98 + self.marks.normal() * 0.1e-4;
        self.index = (index, premium);
        if self.now >= self.next_funding {
            let interval = self.params.funding_interval;
            self.next_funding = self.now.floor(interval).plus(interval);
        }
        // The exchange's rate: the premium with the interest of 0.01 %, clamped. It prints 8 decimals.
        let rate = (premium + 1e-4).clamp(-0.003, 0.003);
        self.funding_rate = Rate::from_mantissa(libm::round(rate * 1e8) as i64 * 100);
        let price = |ticks: f64| Price::from_mantissa(libm::round(ticks * self.tick as f64) as i64);
        let mark = Mark {
            mark_price: price(index * (1.0 + premium)),
            index_price: price(index),
            funding_rate: self.funding_rate,
            next_funding: self.next_funding,
        };
        self.emit(MarketEvent::Mark(mark));
    }

    fn emit(&mut self, event: MarketEvent) {
        self.queue.push_back(MarketInput {
            symbol: self.symbol,
            exchange_time: Ts::from_millis(self.now.millis()),
            receive_time: self.now,
            derived: false,
            event,
        });
    }

    fn notional(&self, price: Price, quantity: Quantity) -> Money {
        let factor = pow10(Money::SCALE - self.scales.0 - self.scales.1);
        Money::new(self.quote, price.mantissa() as i128 * quantity.mantissa() as i128 * factor)
    }

    fn round_to_tick(&self, ticks: f64, rounding: Rounding) -> Price {
        let ticks = match rounding {
            Rounding::Down => libm::floor(ticks),
            Rounding::Up => libm::ceil(ticks),
            Rounding::Nearest => libm::round(ticks),
        };
        Price::from_mantissa((ticks as i64).max(1).saturating_mul(self.tick))
    }
}

impl Iterator for Generator {
    type Item = MarketInput;

    fn next(&mut self) -> Option<MarketInput> {
        while self.queue.is_empty() {
            self.advance();
        }
        self.queue.pop_front()
    }
}

fn check(params: &GeneratorParams, tick: i64) -> Result<(), GeneratorError> {
    let wrong = |name, found: String, allowed| Err(GeneratorError::Parameter { name, found, allowed });
    if params.start_price.mantissa() / tick < 200 || params.start_price.mantissa() > i64::MAX / 10_000 {
        return wrong("start_price", format!("{:?}", params.start_price), "200 ticks at least");
    }
    if !(1..=1_000).contains(&params.levels) {
        return wrong("levels", params.levels.to_string(), "1 to 1000");
    }
    if !(1..=1_000).contains(&params.spread_ticks) {
        return wrong("spread_ticks", params.spread_ticks.to_string(), "1 to 1000");
    }
    let spans = [
        ("regime", params.regime),
        ("step", params.step),
        ("depth_interval", params.depth_interval),
        ("mark_interval", params.mark_interval),
        ("funding_interval", params.funding_interval),
    ];
    if let Some((name, span)) = spans.into_iter().find(|(_, span)| span.nanos() < 1_000) {
        return wrong(name, format!("{span:?}"), "one microsecond at least");
    }
    let numbers = [
        ("volatility_bps", params.volatility_bps, 1_000.0),
        ("trend_bps_per_minute", params.trend_bps_per_minute, 1_000.0),
        ("range_seconds", params.range_seconds, 1e9),
        ("jump_bps", params.jump_bps, 2_000.0),
        ("jumps_per_minute", params.jumps_per_minute, 1e6),
        ("level_notional", params.level_notional, 1e12),
        ("trade_chance", params.trade_chance, 1.0),
        ("trade_notional", params.trade_notional, 1e12),
    ];
    match numbers.into_iter().find(|&(_, value, max)| !(0.0..=max).contains(&value)) {
        Some((name, value, _)) => {
            wrong(name, value.to_string(), "zero up to a bound of 1 for chances, 1e3 bps for moves")
        }
        None if params.range_seconds == 0.0 => wrong("range_seconds", "0".to_owned(), "more than zero"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
