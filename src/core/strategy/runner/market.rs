//! What the runner does with market data: streams, trades to candles, and only what the strategy asked for.

use super::Runner;
use crate::candle::CandleEvent;
use crate::event::{History, RunnerState, StreamState};
use crate::market::{Candle, MarketEvent, MarketInput, Trade};
use crate::node::{Context, Outbox};
use crate::strategy::series::{Series, Taken};
use crate::strategy::{Permit, StrategyEvent};
use crate::time::Ts;

impl Runner {
    #[inline]
    pub(super) fn market(&mut self, input: &MarketInput, context: &Context<'_>, out: &mut Outbox) {
        let symbol = input.symbol;
        let Some(slot) = self.state.slots.iter().position(|s| s.symbol == symbol) else { return };
        if self.state.slots[slot].awaiting {
            self.state.slots[slot].awaiting = false;
            self.announce(out);
        }
        if self.state.life.faulted {
            return;
        }
        let at = input.exchange_time;
        if self.state.series.iter().any(|s| s.slot() == slot && s.is_due(at)) {
            let make = |s: &mut Series, out: &mut Vec<CandleEvent>| s.on_time(at, out);
            self.candles(slot, make, context, out);
        }
        match &input.event {
            MarketEvent::Quote(_) => self.quote(slot, context, out),
            MarketEvent::BookReset(_) | MarketEvent::BookDelta(_) | MarketEvent::BookGap => {
                self.quote(slot, context, out);
                if self.needs.depth {
                    self.call(&StrategyEvent::Depth { symbol }, self.permit, context, out);
                }
            }
            MarketEvent::Trade(trade) => {
                self.state.slots[slot].single_trades = true;
                self.trade(slot, trade, input.exchange_time, context, out);
            }
            MarketEvent::AggTrade(agg) => {
                if !self.state.slots[slot].single_trades {
                    let (price, quantity, aggressor) = (agg.price, agg.quantity, agg.aggressor);
                    let trade = Trade { id: agg.last, price, quantity, aggressor, on_book: true };
                    self.trade(slot, &trade, input.exchange_time, context, out);
                }
            }
            MarketEvent::Mark(mark) => {
                if self.needs.marks {
                    self.call(&StrategyEvent::Mark { symbol, mark }, self.permit, context, out);
                }
            }
            MarketEvent::Candle(candle) => {
                let make = |s: &mut Series, out: &mut Vec<CandleEvent>| s.on_kline(candle, out);
                self.candles(slot, make, context, out);
            }
        }
    }

    /// Best bid and ask may come from the quote stream or from the book; the strategy is told once of each change.
    #[inline]
    fn quote(&mut self, slot: usize, context: &Context<'_>, out: &mut Outbox) {
        if !self.needs.quotes {
            return;
        }
        let slot = &mut self.state.slots[slot];
        let Some(quote) = context.markets.market(slot.symbol).quote else { return };
        let same = slot.quote.is_some_and(|q| {
            (q.bid, q.bid_quantity, q.ask, q.ask_quantity)
                == (quote.bid, quote.bid_quantity, quote.ask, quote.ask_quantity)
        });
        if !same {
            slot.quote = Some(quote);
            let symbol = slot.symbol;
            self.call(&StrategyEvent::Quote { symbol, quote: &quote }, self.permit, context, out);
        }
    }

    fn trade(&mut self, slot: usize, trade: &Trade, at: Ts, context: &Context<'_>, out: &mut Outbox) {
        // Trades of the insurance fund and the like set no price; a price that is not positive is no price.
        if !trade.on_book || trade.price.mantissa() <= 0 {
            return;
        }
        let symbol = self.state.slots[slot].symbol;
        if !self.state.series.is_empty()
            && let Some(instrument) = context.universe.instrument(symbol)
        {
            let make = |s: &mut Series, out: &mut Vec<CandleEvent>| s.on_trade(trade, at, instrument, out);
            self.candles(slot, make, context, out);
        }
        if self.needs.trades {
            self.call(&StrategyEvent::Trade { symbol, trade }, self.permit, context, out);
        }
    }

    /// Lets `make` close candles of each series of a symbol, and tells the strategy of them.
    #[inline]
    fn candles(
        &mut self,
        slot: usize,
        make: impl Fn(&mut Series, &mut Vec<CandleEvent>),
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        for ix in 0..self.state.series.len() {
            if self.state.series[ix].slot() != slot {
                continue;
            }
            let mut closed = std::mem::take(&mut self.closed);
            make(&mut self.state.series[ix], &mut closed);
            for event in closed.drain(..) {
                if let CandleEvent::Closed(candle) = event {
                    self.candle(ix, &candle, context, out);
                }
            }
            // Given back, so that the steady path does not allocate.
            self.closed = closed;
        }
    }

    fn candle(&mut self, series: usize, candle: &Candle, context: &Context<'_>, out: &mut Outbox) {
        match self.state.series[series].take(candle) {
            Taken::Stale => {}
            // What the instance knows is older than its whole warm-up: it starts again from what is at hand.
            Taken::AfterHole => self.renew_if_listening(context, out),
            Taken::Next => {
                // The candle that completes the warm-up may already be acted upon.
                if self.state.announced == Some(RunnerState::WarmingUp) {
                    self.announce(out);
                }
                let symbol = self.state.series[series].symbol();
                self.call(&StrategyEvent::Candle { symbol, candle }, self.permit, context, out);
            }
        }
    }

    fn renew_if_listening(&mut self, context: &Context<'_>, out: &mut Outbox) {
        if self.listens() {
            self.renew(context, out);
        }
    }

    /// Past candles. While the series is not warm they are put in order with what came live, and a fresh instance is warmed up
    /// with all of it; later they only fill what is missing at the end, or what a loss of the stream left out before it.
    pub(super) fn history(&mut self, history: &History, context: &Context<'_>, out: &mut Outbox) {
        let Some(interval) = history.candles.first().map(|c| c.interval) else { return };
        let wanted = |s: &Series| s.symbol() == history.symbol && s.interval() == interval;
        let Some(ix) = self.state.series.iter().position(wanted) else { return };
        // What belongs between candles that were told already can only be told to a fresh instance.
        if !self.state.series[ix].is_warm() || self.state.series[ix].misses(&history.candles) {
            self.state.series[ix].merge(&history.candles);
            self.renew_if_listening(context, out);
            return;
        }
        let mut hole = false;
        for candle in &history.candles {
            match self.state.series[ix].take(candle) {
                Taken::Stale => {}
                Taken::AfterHole => hole = true,
                Taken::Next if hole => {}
                Taken::Next => {
                    let symbol = history.symbol;
                    self.call(&StrategyEvent::Candle { symbol, candle }, Permit::Watch, context, out);
                }
            }
        }
        if hole {
            self.renew_if_listening(context, out);
        }
    }

    pub(super) fn stream(&mut self, state: StreamState, out: &mut Outbox) {
        if self.book_stream(state) {
            self.cancel_unwanted(out);
        }
        self.announce(out);
    }

    /// Notes whether the market data of a symbol can be trusted. Says whether it cannot any more.
    pub(super) fn book_stream(&mut self, state: StreamState) -> bool {
        let (symbol, fault) = match state {
            StreamState::MarketUp(symbol) => (symbol, None),
            StreamState::MarketDown(symbol, fault) => (symbol, Some(fault)),
            StreamState::UserUp(_) | StreamState::UserDown(..) => return false,
        };
        let Some(slot) = self.state.slots.iter_mut().find(|s| s.symbol == symbol) else { return false };
        (slot.fault, slot.awaiting) = (fault, slot.awaiting && fault.is_some());
        if fault.is_some() {
            self.state.series.iter_mut().filter(|s| s.symbol() == symbol).for_each(Series::interrupt);
        }
        fault.is_some()
    }
}
