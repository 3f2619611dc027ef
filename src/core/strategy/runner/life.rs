//! What pauses, faults, restarts and reconfigures a strategy, and how an instance of it begins.

use super::{FLATTEN_TIMER, Runner, SLOW_PAUSE, SLOW_PAUSE_MAX, SLOW_TIMER, Slot};
use crate::config::EngineConfig;
use crate::event::{AlertCode, Event, HaltReason, Scope, StopReason};
use crate::node::{Context, Outbox};
use crate::strategy::series::Series;
use crate::strategy::{Permit, StrategyEvent};
use crate::time::Span;

impl Runner {
    fn covers(&self, scope: Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::Account(account) => account == self.setup.account,
            Scope::Symbol(symbol) => self.setup.symbols.contains(&symbol),
            Scope::Strategy(strategy) => strategy == self.ix,
        }
    }

    pub(super) fn halted(&mut self, scope: Scope, reason: HaltReason) {
        if self.covers(scope) && !self.state.life.halts.contains(&(scope, reason)) {
            self.state.life.halts.push((scope, reason));
        }
    }

    pub(super) fn resumed(&mut self, scope: Scope, out: &mut Outbox) {
        self.state.life.halts.retain(|(s, _)| *s != scope);
        if self.covers(scope) {
            self.end_slow_pause(out);
        }
        self.announce(out);
    }

    /// One step too slow is an accident and costs a short pause; the pauses of a strategy that stays slow grow.
    pub(super) fn slow_step(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let life = &mut self.state.life;
        if life.stopped.is_some() || life.faulted {
            return;
        }
        let pause = SLOW_PAUSE.nanos().saturating_mul(1 << life.slow_steps.min(8)).min(SLOW_PAUSE_MAX.nanos());
        let until = context.now.plus(Span::from_nanos(pause));
        (life.slow_steps, life.slow_until) = (life.slow_steps.saturating_add(1), Some(until));
        out.push(Event::Arm { timer: self.own_timer(SLOW_TIMER), at: until });
        self.announce(out);
    }

    pub(super) fn end_slow_pause(&mut self, out: &mut Outbox) {
        self.state.life.slow_steps = 0;
        if self.state.life.slow_until.take().is_some() {
            out.push(Event::Disarm(self.own_timer(SLOW_TIMER)));
        }
    }

    /// The engine starts or comes back: nothing is known of account and market until they speak.
    pub(super) fn engine_starts(&mut self, epoch: u32, context: &Context<'_>, out: &mut Outbox) {
        let stopped_with_the_daemon = self.state.life.stopped == Some(StopReason::Stopping);
        self.state.life.untrusted = true;
        self.begin_life(epoch);
        self.state.series.iter_mut().for_each(Series::interrupt);
        if let Some(at) = self.state.life.slow_until {
            out.push(Event::Arm { timer: self.own_timer(SLOW_TIMER), at });
        }
        match self.state.life.flatten.as_ref().map(|flatten| flatten.next.max(context.now)) {
            Some(next) => self.arm_flatten(next, out),
            None => out.push(Event::Disarm(self.own_timer(FLATTEN_TIMER))),
        }
        self.cancel_unwanted(out);
        if self.state.life.faulted || self.missed || stopped_with_the_daemon {
            self.renew(context, out);
        }
        self.announce(out);
    }

    pub(super) fn configure(&mut self, config: &EngineConfig, context: &Context<'_>, out: &mut Outbox) {
        let Some(setup) = config.strategy(self.ix) else {
            self.stop(StopReason::Asked, context, out);
            return;
        };
        if setup.account != self.setup.account && !self.state.own.is_idle() {
            self.stop(StopReason::Invalid, context, out);
            self.invalid = Some("its account cannot change while it has a position or open orders".to_owned());
        } else if *setup != self.setup {
            if self.setup.enabled && !setup.enabled {
                self.setup.on_stop = setup.on_stop;
                self.stop(StopReason::Asked, context, out);
            } else if setup.enabled && !self.setup.enabled && self.state.life.stopped == Some(StopReason::Asked) {
                self.state.life.stopped = None;
            }
            self.setup = setup.clone();
            self.renew(context, out);
        } else {
            self.check_symbols(context);
        }
        self.announce_invalid(out);
        self.announce(out);
    }

    /// Takes a recorded configuration over on recovery, as [`Runner::configure`] did.
    pub(super) fn book_setup(&mut self, config: &EngineConfig) {
        let Some(setup) = config.strategy(self.ix) else {
            self.miss_stop(StopReason::Asked);
            return;
        };
        if setup.account != self.setup.account && !self.state.own.is_idle() {
            self.miss_stop(StopReason::Invalid);
        } else if *setup != self.setup {
            let disabled = self.setup.enabled && !setup.enabled;
            if setup.enabled && !self.setup.enabled && self.state.life.stopped == Some(StopReason::Asked) {
                self.state.life.stopped = None;
            }
            self.setup = setup.clone();
            if disabled {
                self.miss_stop(StopReason::Asked);
            }
            self.build();
        }
    }

    fn check_symbols(&mut self, context: &Context<'_>) {
        if let Some(symbol) = self.setup.symbols.iter().find(|s| context.universe.instrument(**s).is_none()) {
            self.invalidate(format!("symbol {symbol:?} is not defined"));
        }
    }

    /// A fresh instance, warmed up with the candles that are at hand.
    pub(super) fn renew(&mut self, context: &Context<'_>, out: &mut Outbox) {
        self.state.own.drop_held();
        self.state.own.disarm_all(self.ix, out);
        self.state.life.faulted = false;
        self.build();
        self.check_symbols(context);
        self.announce_invalid(out);
        self.begin(context, out);
        self.announce(out);
    }

    /// Builds the strategy and lays out symbols and candle series for it; what is known of them is kept.
    pub(super) fn build(&mut self) {
        self.state.begun = false;
        self.missed = false;
        self.strategy = None;
        self.invalid = None;
        match self.registry.build(&self.setup.kind, &self.setup.params) {
            Ok(_) if self.setup.symbols.is_empty() => self.invalidate("it has no symbol".to_owned()),
            Ok(strategy) => {
                self.needs = strategy.needs();
                if self.needs.candles.iter().any(|need| need.interval <= Span::ZERO) {
                    self.invalidate("it wants candles without length".to_owned());
                    return;
                }
                if self.state.life.stopped == Some(StopReason::Invalid) {
                    self.state.life.stopped = (!self.setup.enabled).then_some(StopReason::Asked);
                }
                self.strategy = Some(strategy);
                self.lay_out();
            }
            Err(error) => self.invalidate(error.to_string()),
        }
    }

    fn lay_out(&mut self) {
        let mut slots = std::mem::take(&mut self.state.slots);
        let mut series = std::mem::take(&mut self.state.series);
        for (at, &symbol) in self.setup.symbols.iter().enumerate() {
            let known = slots.iter().position(|s| s.symbol == symbol);
            let slot = known.map_or_else(|| Slot { symbol, ..Slot::default() }, |at| slots.swap_remove(at));
            self.state.slots.push(slot);
            for need in &self.needs.candles {
                let known = series.iter().position(|s| s.symbol() == symbol && s.interval() == need.interval);
                let mut one = known.map_or_else(|| Series::new(symbol, need.interval), |at| series.swap_remove(at));
                one.assign(at, need.warm_up);
                self.state.series.push(one);
            }
        }
    }

    fn invalidate(&mut self, why: String) {
        self.strategy = None;
        self.invalid = Some(why);
        self.state.life.stopped = Some(StopReason::Invalid);
    }

    fn announce_invalid(&mut self, out: &mut Outbox) {
        if let Some(why) = self.invalid.take() {
            self.alert(AlertCode::StrategyStopped, format!("strategy {} is stopped: {why}", self.setup.name), out);
        }
    }

    /// The first events of an instance: `Start`, and the candles at hand in the order in which they closed.
    pub(super) fn begin(&mut self, context: &Context<'_>, out: &mut Outbox) {
        if !self.listens() {
            return;
        }
        self.state.begun = true;
        self.call(&StrategyEvent::Start, Permit::Watch, context, out);
        let kept = |(at, s): (usize, &Series)| s.kept().map(|c| (c.close_time(), at, *c)).collect::<Vec<_>>();
        let mut past: Vec<_> = self.state.series.iter().enumerate().flat_map(kept).collect();
        past.sort_by_key(|(closed, at, _)| (*closed, *at));
        for (_, at, candle) in past {
            let symbol = self.state.series[at].symbol();
            self.call(&StrategyEvent::Candle { symbol, candle: &candle }, Permit::Watch, context, out);
        }
    }
}
