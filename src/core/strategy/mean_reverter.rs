//! Trades back to a fair value: buys below it and sells above it with orders that only make.
//!
//! The fair value is an exponential average of the microprice (the middle of best bid and ask, weighted by the quantity on the other
//! side), sampled at a fixed pace; its spread is the standard deviation of the same samples. At each sample:
//! - an *entry* rests at the best price or beyond while the microprice is further from fair than a threshold, and is withdrawn when
//!   it came half the way back. Position and open entry together never exceed the inventory bound;
//! - an *exit*, reduce-only, rests at fair, or at the best price where fair would take;
//! - a position whose loss reaches the bound is closed at market, followed by a rest.
//!
//! At most one order of each kind is open; where its price is off by some ticks it is changed in place or cancelled and placed anew.

use crate::event::Refused;
use crate::id::SymbolIx;
use crate::indicator::{Ema, StandardDeviation};
use crate::instrument::Instrument;
use crate::market::Quote;
use crate::node::{SnapshotError, decode_state, encode_state};
use crate::num::{NetQuantity, Price, Quantity, Rounding, Side};
use crate::order::{End, Intent, OrderState, OrderUpdate};
use crate::strategy::context::{OrderSpec, quantity_for};
use crate::strategy::param::{ParamError, ParamKind, ParamSpec, Params, refused_period};
use crate::strategy::registry::StrategySpec;
use crate::strategy::{Needs, OpenOrder, Strategy, StrategyContext, StrategyEvent};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// How the strategy is listed.
pub const SPEC: StrategySpec = StrategySpec {
    name: "mean_reverter",
    doc: "Rests post-only orders away from a fair value when the price strays from it, and exits at fair value.",
    params: PARAMS,
    factory: |params| Ok(Box::new(MeanReverter::new(params)?)),
};

const PARAMS: &[ParamSpec] = &[
    ParamSpec {
        name: "sample_millis",
        kind: ParamKind::Int { min: 10, max: 60_000, default: 250 },
        doc: "Time between two samples of the microprice in milliseconds; also the pace of decisions.",
    },
    ParamSpec {
        name: "fair_samples",
        kind: ParamKind::Int { min: 4, max: 10_000, default: 80 },
        doc: "Samples in the average that is the fair value, and in its standard deviation.",
    },
    ParamSpec {
        name: "entry_sigmas",
        kind: ParamKind::Float { min: 0.0, max: 20.0, default: 1.0 },
        doc: "How far the price must be from fair for an entry, in standard deviations.",
    },
    ParamSpec {
        name: "entry_ticks_min",
        kind: ParamKind::Int { min: 1, max: 100_000, default: 5 },
        doc: "How far the price must be from fair at least, in ticks. To earn anything it has to be worth more than two maker fees.",
    },
    ParamSpec {
        name: "notional",
        kind: ParamKind::Float { min: 1.0, max: 1e9, default: 500.0 },
        doc: "Value of one entry in the quote asset; rounded down to the lot step.",
    },
    ParamSpec {
        name: "position_notional_max",
        kind: ParamKind::Float { min: 1.0, max: 1e9, default: 2_000.0 },
        doc: "Inventory bound: value of the position with the open entry in the quote asset; at least notional.",
    },
    ParamSpec {
        name: "requote_ticks",
        kind: ParamKind::Int { min: 1, max: 100_000, default: 5 },
        doc: "An order whose price is off by this many ticks is quoted anew.",
    },
    ParamSpec {
        name: "requote",
        kind: ParamKind::Choice { allowed: &["modify", "cancel"], default: "modify" },
        doc: "How an order is quoted anew: changed in place, or cancelled and placed again.",
    },
    ParamSpec {
        name: "loss_bps_max",
        kind: ParamKind::Float { min: 1.0, max: 5_000.0, default: 30.0 },
        doc: "Loss from the average entry price at which the position is closed at market, in hundredths of a percent.",
    },
    ParamSpec {
        name: "rest_secs",
        kind: ParamKind::Int { min: 0, max: 86_400, default: 30 },
        doc: "No entries for this many seconds after a position was closed for its loss.",
    },
];

/// Pause after an order was refused for another reason than that it would have taken.
const RETRY: Span = Span::from_secs(2);

/// The exchange's code for a post-only order that would take.
const WOULD_TAKE: i32 = -5022;

/// See the module.
#[derive(Debug)]
pub struct MeanReverter {
    sample: Span,
    samples: usize,
    entry_sigmas: f64,
    entry_ticks_min: i64,
    notional: f64,
    position_notional_max: f64,
    requote_ticks: i64,
    modify: bool,
    loss_share_max: f64,
    rest: Span,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    average: Ema,
    spread: StandardDeviation,
    /// When the last sample was taken.
    sampled: Option<Ts>,
    /// The last sample.
    micro: f64,
    /// No entries before then.
    enter_after: Ts,
    /// No orders at all before then.
    order_after: Ts,
    /// The position is being closed for its loss.
    get_out: bool,
}

/// What is known at a sample.
#[derive(Debug, Clone, Copy)]
struct View {
    bid: Price,
    ask: Price,
    micro: f64,
    fair: f64,
    threshold: f64,
}

/// An order that should be open.
#[derive(Debug, Clone, Copy)]
struct Want {
    side: Side,
    price: Price,
    quantity: Quantity,
}

impl MeanReverter {
    fn new(params: &Params) -> Result<MeanReverter, ParamError> {
        let (notional, bound) = (params.float("notional")?, params.float("position_notional_max")?);
        if bound < notional {
            let reason = "it must be at least notional";
            return Err(ParamError::Inconsistent { name: "position_notional_max", found: bound.to_string(), reason });
        }
        let samples = params.int("fair_samples")? as usize;
        Ok(MeanReverter {
            sample: Span::from_millis(params.int("sample_millis")?),
            samples,
            entry_sigmas: params.float("entry_sigmas")?,
            entry_ticks_min: params.int("entry_ticks_min")?,
            notional,
            position_notional_max: bound,
            requote_ticks: params.int("requote_ticks")?,
            modify: params.text("requote")? == "modify",
            loss_share_max: params.float("loss_bps_max")? / 10_000.0,
            rest: Span::from_secs(params.int("rest_secs")?),
            state: State {
                average: Ema::new(samples).map_err(|e| refused_period("fair_samples", e))?,
                spread: StandardDeviation::new(samples).map_err(|e| refused_period("fair_samples", e))?,
                sampled: None,
                micro: 0.0,
                enter_after: Ts::ZERO,
                order_after: Ts::ZERO,
                get_out: false,
            },
        })
    }

    /// Takes a sample if one is due and everything is known.
    fn look(&mut self, quote: &Quote, now: Ts, instrument: &Instrument) -> Option<View> {
        if quote.bid.is_zero() || quote.ask.is_zero() {
            return None;
        }
        if !self.advance(now) {
            return None;
        }
        let (bid, ask) = (instrument.price_f64(quote.bid), instrument.price_f64(quote.ask));
        let (bid_quantity, ask_quantity) =
            (instrument.quantity_f64(quote.bid_quantity), instrument.quantity_f64(quote.ask_quantity));
        let depth = bid_quantity + ask_quantity;
        let micro = if depth > 0.0 { (bid * ask_quantity + ask * bid_quantity) / depth } else { (bid + ask) / 2.0 };
        self.state.micro = micro;
        let (fair, sigma) = (self.state.average.update(micro), self.state.spread.update(micro));
        let tick = instrument.price_f64(instrument.filters.price.tick);
        let threshold = (self.entry_sigmas * sigma?).max(self.entry_ticks_min as f64 * tick);
        Some(View { bid: quote.bid, ask: quote.ask, micro, fair: fair?, threshold })
    }

    /// Whether a sample is due. Samples that nobody took because no quote changed are made up for with the price that held.
    fn advance(&mut self, now: Ts) -> bool {
        let due = now.floor(self.sample);
        if let Some(sampled) = self.state.sampled {
            let passed = due.since(sampled).nanos() / self.sample.nanos();
            if passed < 1 {
                return false;
            }
            if passed > self.samples as i64 {
                // After a whole window without a quote the old samples say nothing about the present.
                self.state.average.reset();
                self.state.spread.reset();
            } else {
                for _ in 1..passed {
                    self.state.average.update(self.state.micro);
                    self.state.spread.update(self.state.micro);
                }
            }
        }
        self.state.sampled = Some(due);
        true
    }

    fn pursue(&mut self, symbol: SymbolIx, view: View, ctx: &mut StrategyContext<'_>) {
        let position = ctx.position(symbol);
        if position.is_zero() {
            self.state.get_out = false;
        } else if !self.state.get_out && self.lost_too_much(symbol, position, view, ctx) {
            self.state.get_out = true;
            self.state.enter_after = ctx.now().plus(self.rest);
        }
        if self.state.get_out {
            self.close(symbol, ctx);
            return;
        }
        let Some(instrument) = ctx.instrument(symbol) else { return };
        let entry = self.entry(position, view, instrument, ctx);
        let exit = exit(position, view, instrument);
        self.keep(symbol, false, entry, ctx);
        self.keep(symbol, true, exit, ctx);
    }

    fn lost_too_much(&self, symbol: SymbolIx, position: NetQuantity, view: View, ctx: &StrategyContext<'_>) -> bool {
        let Some(entry) = ctx.average_entry(symbol) else { return false };
        let gain = if position.side() == Some(Side::Buy) { view.micro - entry } else { entry - view.micro };
        gain < -self.loss_share_max * entry
    }

    /// First everything else goes, then the position.
    fn close(&mut self, symbol: SymbolIx, ctx: &mut StrategyContext<'_>) {
        if ctx.orders().is_empty() {
            if ctx.now() >= self.state.order_after {
                ctx.close(symbol);
            }
            return;
        }
        let resting = |o: &&OpenOrder| !o.is_changing() && !o.update.price.is_zero();
        while let Some(key) = ctx.orders().iter().find(resting).map(|o| o.update.key) {
            if !ctx.cancel(key) {
                break;
            }
        }
    }

    /// The entry that should be open. One that is open stays until the price came half the way back.
    fn entry(
        &self,
        position: NetQuantity,
        view: View,
        instrument: &Instrument,
        ctx: &StrategyContext<'_>,
    ) -> Option<Want> {
        let open = ctx.orders().iter().find(|o| !o.update.reduce_only);
        let strayed = view.micro - view.fair;
        let side = if strayed < 0.0 { Side::Buy } else { Side::Sell };
        let far = if open.is_some() { view.threshold / 2.0 } else { view.threshold };
        if strayed.abs() <= far
            || !ctx.can_trade()
            || ctx.now() < self.state.enter_after
            || position.side().is_some_and(|held| held != side)
        {
            return None;
        }
        let price = match side {
            Side::Buy => view.bid.min(instrument.price_from(view.fair - far, Rounding::Down)?),
            Side::Sell => view.ask.max(instrument.price_from(view.fair + far, Rounding::Up)?),
        };
        let at = instrument.price_f64(price);
        let (quantity, working) = match open {
            Some(order) => (order.update.quantity, order.update.open_quantity()),
            None => quantity_for(instrument, self.notional, at).map(|q| (q, q))?,
        };
        // The bound is looked at from the dearer of the two prices, so that a fill cannot exceed it.
        let dear = at.max(view.micro);
        let bound = instrument.quantity_from(self.position_notional_max / dear, Rounding::Down)?;
        let filled = position.abs().checked_add(working)?;
        (filled <= bound).then_some(Want { side, price, quantity })
    }

    /// Brings the one order of a kind to what it should be. More than one of a kind, from an earlier instance, are cancelled.
    fn keep(&mut self, symbol: SymbolIx, reduce_only: bool, want: Option<Want>, ctx: &mut StrategyContext<'_>) {
        let mut of_kind = ctx.orders().iter().filter(|o| o.update.reduce_only == reduce_only);
        let first = of_kind.next().copied();
        if let Some(extra) = of_kind.next().map(|o| o.update.key) {
            ctx.cancel(extra);
            return;
        }
        match (first, want) {
            (None, Some(want)) if ctx.now() >= self.state.order_after => {
                let order = OrderSpec::post_only(symbol, want.side, want.price, want.quantity);
                ctx.place(OrderSpec { reduce_only, ..order });
            }
            (Some(order), want) if order.update.state == OrderState::Working && !order.is_changing() => {
                self.adjust(symbol, &order, want, ctx);
            }
            _ => {}
        }
    }

    fn adjust(&self, symbol: SymbolIx, order: &OpenOrder, want: Option<Want>, ctx: &mut StrategyContext<'_>) {
        let update = &order.update;
        let Some(want) = want.filter(|w| w.side == update.side && covers(update, w)) else {
            ctx.cancel(update.key);
            return;
        };
        let tick = ctx.instrument(symbol).map_or(1, |i| i.filters.price.tick.mantissa().max(1));
        let off = want.price.mantissa().abs_diff(update.price.mantissa());
        if off < self.requote_ticks.unsigned_abs().saturating_mul(tick.unsigned_abs()) {
            return;
        }
        match order.id() {
            Some(id) if self.modify => ctx.modify(id, want.price, update.quantity),
            _ => ctx.cancel(update.key),
        };
    }

    fn on_order(&mut self, update: &OrderUpdate, now: Ts) {
        if let OrderState::Done(End::Rejected(code)) = update.state
            && code != WOULD_TAKE
        {
            self.state.order_after = now.plus(RETRY);
        }
    }

    fn on_refused(&mut self, refused: &Refused, now: Ts) {
        if matches!(refused.intent, Intent::Place(_) | Intent::Modify { .. }) {
            self.state.order_after = now.plus(RETRY);
        }
    }
}

/// An exit must be open for exactly what is wanted; an entry keeps its quantity.
fn covers(update: &OrderUpdate, want: &Want) -> bool {
    !update.reduce_only || update.open_quantity() == want.quantity
}

/// The exit that should be open: for the position, as far as one order takes it.
fn exit(position: NetQuantity, view: View, instrument: &Instrument) -> Option<Want> {
    let side = position.side()?.opposite();
    let price = match side {
        Side::Buy => view.bid.min(instrument.price_from(view.fair, Rounding::Down)?),
        Side::Sell => view.ask.max(instrument.price_from(view.fair, Rounding::Up)?),
    };
    let (quantity, most) = (position.abs(), instrument.filters.lot.max);
    Some(Want { side, price, quantity: if most.is_zero() { quantity } else { quantity.min(most) } })
}

impl Strategy for MeanReverter {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        match event {
            StrategyEvent::Quote { symbol, quote } if *symbol == ctx.symbol() => {
                let Some(instrument) = ctx.instrument(*symbol) else { return };
                if let Some(view) = self.look(quote, ctx.now(), instrument)
                    && ctx.can_reduce()
                {
                    self.pursue(*symbol, view, ctx);
                }
            }
            StrategyEvent::Order(update) => self.on_order(update, ctx.now()),
            StrategyEvent::Refused(refused) => self.on_refused(refused, ctx.now()),
            _ => {}
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(encode_state(&self.state))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.state = decode_state("mean_reverter", snapshot)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
