//! The strategy of the bench: it follows the market with market orders, rests one order at the touch, and before that brings as
//! many orders as it is told into the world, far from the market: to stay, or to end.

use qcat_core::event::RunnerState;
use qcat_core::id::{ClientOrderId, OrderKey, SymbolIx};
use qcat_core::market::Quote;
use qcat_core::num::{Quantity, Side};
use qcat_core::strategy::{
    Needs, OrderSpec, ParamError, ParamKind, ParamSpec, Params, Strategy, StrategyContext, StrategyEvent, StrategySpec,
};

/// Quotes between two orders at the touch.
const PULSE: u64 = 100;
/// Orders placed at one quote while the past is made.
const BATCH: u32 = 12;
/// The nearest of the orders that stay is this many ticks away: 2,000 dollars.
const FAR: i64 = 20_000;

const COUNT: ParamKind = ParamKind::Int { min: 0, max: 1_000_000, default: 0 };

/// For the registry.
pub const SPEC: StrategySpec = StrategySpec {
    name: "trader",
    doc: "Crosses of two averages, an order at the touch, and a past.",
    params: &[
        ParamSpec { name: "resting", kind: COUNT, doc: "Orders that rest far away." },
        ParamSpec { name: "ended", kind: COUNT, doc: "Orders that were cancelled before." },
    ],
    factory: build,
};

fn build(params: &Params) -> Result<Box<dyn Strategy>, ParamError> {
    let (resting, ended) = (params.int("resting")? as u32, params.int("ended")? as u32);
    Ok(Box::new(Trader { resting, ended, ..Trader::default() }))
}

#[derive(Default)]
struct Trader {
    resting: u32,
    ended: u32,
    placed: u32,
    batch: Vec<ClientOrderId>,
    fast: f64,
    slow: f64,
    above: bool,
    quotes: u64,
    passive: Option<ClientOrderId>,
    /// The quantity of an order, once it was looked up.
    size: Option<Quantity>,
}

impl Strategy for Trader {
    fn needs(&self) -> Needs {
        Needs { quotes: true, trades: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        match event {
            StrategyEvent::Quote { symbol, quote } if ctx.can_trade() => {
                if self.placed < self.resting + self.ended || !self.batch.is_empty() {
                    self.make_past(*symbol, quote, ctx);
                } else {
                    self.trade(*symbol, quote, ctx);
                }
            }
            StrategyEvent::Trade { trade, .. } => self.follow(trade.price.mantissa() as f64),
            _ => {}
        }
    }
}

impl Trader {
    fn size(&mut self, ctx: &StrategyContext<'_>, symbol: SymbolIx) -> Quantity {
        let look = || ctx.instrument(symbol).and_then(|i| i.parse_quantity("0.002").ok()).unwrap_or_default();
        *self.size.get_or_insert_with(look)
    }

    fn follow(&mut self, price: f64) {
        if self.slow == 0.0 {
            (self.fast, self.slow) = (price, price);
        }
        self.fast += (price - self.fast) * 0.1;
        self.slow += (price - self.slow) * 0.02;
    }

    fn make_past(&mut self, symbol: SymbolIx, quote: &Quote, ctx: &mut StrategyContext<'_>) {
        for id in self.batch.drain(..) {
            ctx.cancel(OrderKey::Ours(id));
        }
        let Some(tick) = ctx.instrument(symbol).map(|i| i.offset(quote.bid, 1).mantissa() - quote.bid.mantissa())
        else {
            return;
        };
        for _ in 0..BATCH.min(self.resting + self.ended - self.placed) {
            let buys = self.placed.is_multiple_of(2);
            let away = (FAR + i64::from(self.placed / 2)) * tick;
            let (side, price) = match buys {
                true => (Side::Buy, quote.bid.mantissa() - away),
                false => (Side::Sell, quote.ask.mantissa() + away),
            };
            let price = qcat_core::num::Price::from_mantissa(price);
            let Some(id) = ctx.place(OrderSpec::post_only(symbol, side, price, self.size(ctx, symbol))) else { return };
            if self.placed >= self.resting {
                self.batch.push(id);
            }
            self.placed += 1;
        }
    }

    fn trade(&mut self, symbol: SymbolIx, quote: &Quote, ctx: &mut StrategyContext<'_>) {
        self.quotes += 1;
        self.follow((quote.bid.mantissa() + quote.ask.mantissa()) as f64 / 2.0);
        let size = self.size(ctx, symbol);
        let position = ctx.position(symbol).mantissa();
        let above = self.fast > self.slow;
        if above != self.above {
            self.above = above;
            let target = if above { 5 * size.mantissa() } else { -5 * size.mantissa() };
            let side = if target > position { Side::Buy } else { Side::Sell };
            if let Some(quantity) = Quantity::from_mantissa((target - position).abs())
                && !quantity.is_zero()
            {
                ctx.market_order(symbol, side, quantity);
            }
        }
        if self.quotes.is_multiple_of(PULSE) {
            if let Some(id) = self.passive.take() {
                ctx.cancel(OrderKey::Ours(id));
            }
            let (side, price) = if position > 0 { (Side::Sell, quote.ask) } else { (Side::Buy, quote.bid) };
            self.passive = ctx.post_only(symbol, side, price, size);
        }
    }
}

/// Whether the strategy runs.
pub fn runs(state: RunnerState) -> bool {
    state == RunnerState::Running
}
