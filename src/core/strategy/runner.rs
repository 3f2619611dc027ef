//! The node that runs one strategy.
//!
//! It owns the strategy's life (warm-up, running, pauses, faults, stop), gives out client order ids, keeps the strategy's position
//! and open orders over every instance of it, builds candles, and calls the strategy only for what it asked for.
//!
//! While warming up or paused the strategy is still told everything, so that its indicators stay warm, but may only reduce
//! risk: cancel, and place reduce-only orders. Past candles it may only watch. When the market data of a symbol cannot be
//! trusted, and when the strategy faults, its entries are cancelled unless `on_stop` says `Leave`.

use crate::candle::CandleEvent;
use crate::config::StrategyConfig;
use crate::event::{
    Alert, AlertCode, Event, HaltReason, Input, OperatorCommand, PauseReason, RunnerState, Scope, Station, StopReason,
    StreamFault,
};
use crate::id::{StrategyIx, SymbolIx};
use crate::market::Quote;
use crate::node::{Context, Node, Outbox, SnapshotError, decode_state, encode_state, hash_bytes};
use crate::strategy::context::{Actions, Actor};
use crate::strategy::own::Own;
use crate::strategy::series::Series;
use crate::strategy::{Needs, Permit, Registry, Strategy, StrategyContext, StrategyEvent};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

mod life;
mod market;
mod recovery;
mod stop;
#[cfg(test)]
mod tests;

/// First pause after a step that took too long; doubles with each further one, up to [`SLOW_PAUSE_MAX`].
pub const SLOW_PAUSE: Span = Span::from_secs(1);

/// Longest pause after a step that took too long.
pub const SLOW_PAUSE_MAX: Span = Span::from_secs(256);

/// Timer keys of the runner itself lie above the strategy's (`u32`).
const SLOW_TIMER: u64 = 1 << 32;
const FLATTEN_TIMER: u64 = SLOW_TIMER + 1;

/// Runs one strategy.
pub struct Runner {
    ix: StrategyIx,
    setup: StrategyConfig,
    registry: Arc<Registry>,
    strategy: Option<Box<dyn Strategy>>,
    /// Why there is no strategy, if its kind or parameters are wrong.
    invalid: Option<String>,
    needs: Needs,
    actions: Actions,
    /// Candles that closed in this step; empty between steps.
    closed: Vec<CandleEvent>,
    /// What the strategy may do, as follows from the state.
    permit: Permit,
    /// The instance was not told everything: it is built anew at the next start.
    missed: bool,
    state: State,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    own: Own,
    life: Life,
    slots: Vec<Slot>,
    /// Candle series, ordered by slot.
    series: Vec<Series>,
    /// Whether the present instance had its first event.
    begun: bool,
    announced: Option<RunnerState>,
}

/// What decides the runner's state.
#[derive(Debug, Serialize, Deserialize)]
struct Life {
    stopped: Option<StopReason>,
    faulted: bool,
    untrusted: bool,
    halts: Vec<(Scope, HaltReason)>,
    /// Paused until then because of a slow step.
    slow_until: Option<Ts>,
    slow_steps: u32,
    /// Attempts to close the position after a stop.
    flatten: Option<stop::Flatten>,
    /// Entries of epochs before this one are unwanted: their life ended while they were to be cancelled.
    unwanted_before: u32,
}

/// One symbol of the strategy.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Slot {
    symbol: SymbolIx,
    fault: Option<StreamFault>,
    /// Nothing was heard of the market since the engine started.
    awaiting: bool,
    /// Single trades are given: aggregated ones are then not looked at.
    single_trades: bool,
    /// The quote that the strategy was told last.
    quote: Option<Quote>,
}

impl Runner {
    /// The runner of a configured strategy. Wrong parameters do not fail here: the runner stops as `Invalid` and says why.
    pub fn new(ix: StrategyIx, setup: &StrategyConfig, registry: Arc<Registry>) -> Runner {
        let stopped = (!setup.enabled).then_some(StopReason::Asked);
        let life = Life {
            stopped,
            faulted: false,
            untrusted: true,
            halts: Vec::new(),
            slow_until: None,
            slow_steps: 0,
            flatten: None,
            unwanted_before: 0,
        };
        let state =
            State { own: Own::default(), life, slots: Vec::new(), series: Vec::new(), begun: false, announced: None };
        let mut runner = Runner {
            ix,
            setup: setup.clone(),
            registry,
            strategy: None,
            invalid: None,
            needs: Needs::default(),
            actions: Actions::default(),
            closed: Vec::new(),
            permit: Permit::Watch,
            missed: false,
            state,
        };
        runner.build();
        runner
    }

    /// Where the runner is.
    pub fn state(&self) -> RunnerState {
        let life = &self.state.life;
        if let Some(reason) = life.stopped {
            return RunnerState::Stopped(reason);
        }
        if life.faulted {
            return RunnerState::Faulted;
        }
        if let Some((_, reason)) = life.halts.first() {
            return RunnerState::Paused(PauseReason::Halt(*reason));
        }
        if life.untrusted {
            return RunnerState::Paused(PauseReason::Untrusted);
        }
        if let Some(fault) = self.state.slots.iter().find_map(|s| s.fault) {
            return RunnerState::Paused(PauseReason::Stream(fault));
        }
        if life.slow_until.is_some() {
            return RunnerState::Paused(PauseReason::SlowStep);
        }
        let warm = self.state.series.iter().all(Series::is_warm) && self.state.slots.iter().all(|s| !s.awaiting);
        if warm && self.state.begun { RunnerState::Running } else { RunnerState::WarmingUp }
    }

    /// The strategy's index.
    pub fn index(&self) -> StrategyIx {
        self.ix
    }

    /// The strategy's name, kind and account.
    pub fn setup(&self) -> &StrategyConfig {
        &self.setup
    }

    /// The engine caught a panic in this runner's step: nothing is asked of the strategy any more until it is rebuilt. What was
    /// half done in that step is forgotten; entries are cancelled unless `on_stop` is `Leave`.
    pub fn mark_faulted(&mut self, out: &mut Outbox) {
        self.strategy = None;
        self.state.life.faulted = true;
        self.state.begun = false;
        self.state.own.drop_held();
        self.state.own.drop_unconfirmed();
        self.state.own.disarm_all(self.ix, out);
        self.state.series.iter_mut().for_each(Series::interrupt);
        if self.state.life.stopped.is_none() {
            self.cancel_unwanted(out);
        }
        self.announce(out);
    }

    fn input(&mut self, input: &Input, context: &Context<'_>, out: &mut Outbox) {
        match input {
            Input::Market(market) => self.market(market, context, out),
            Input::History(history) => self.history(history, context, out),
            Input::Stream(state) => self.stream(*state, out),
            Input::Timer(id) if id.station == Station::Runner(self.ix) => self.timer(id.key, context, out),
            Input::SlowStep { strategy, .. } if *strategy == self.ix => self.slow_step(context, out),
            Input::Rebuild(Station::Runner(ix)) if *ix == self.ix && self.state.life.stopped.is_none() => {
                self.renew(context, out);
            }
            Input::GiveUp(ix) if *ix == self.ix => self.give_up(context, out),
            Input::Command(OperatorCommand::StartStrategy(ix)) if *ix == self.ix => self.start(context, out),
            Input::Command(OperatorCommand::StopStrategy(ix)) if *ix == self.ix => {
                let stopping = self.state.life.halts.iter().any(|(_, reason)| *reason == HaltReason::Stopping);
                let reason = if stopping { StopReason::Stopping } else { StopReason::Asked };
                self.stop(reason, context, out);
            }
            Input::Configuration(config) => self.configure(config, context, out),
            Input::Start { epoch } => self.engine_starts(*epoch, context, out),
            _ => {}
        }
    }

    /// Events of other nodes: the books are kept first, so that the strategy sees them.
    fn told(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        self.keep_books(event);
        match event {
            Event::Order(update) | Event::OrderAgain(update) if update.strategy == self.ix => {
                self.call(&StrategyEvent::Order(update), self.permit, context, out);
                self.cancel_if_unwanted(update, out);
                self.flatten_on_progress(false, context, out);
            }
            Event::Fill(fill) if fill.strategy == self.ix => {
                self.call(&StrategyEvent::Fill(fill), self.permit, context, out);
            }
            Event::Position(position) if position.strategy == self.ix => {
                self.call(&StrategyEvent::Position(position), self.permit, context, out);
                self.flatten_on_progress(true, context, out);
            }
            Event::Refused(refused) if refused.intent.strategy() == self.ix => {
                self.call_holding(&StrategyEvent::Refused(refused), context, out);
                self.flatten_on_refusal(refused, context, out);
            }
            Event::Halted { scope, reason } => {
                self.halted(*scope, *reason);
                self.announce(out);
            }
            Event::Resumed { scope } => self.resumed(*scope, out),
            Event::Untrusted(_) => self.announce(out),
            Event::Reconciled(_) => {
                self.cancel_unwanted(out);
                self.announce(out);
            }
            _ => {}
        }
    }

    fn timer(&mut self, key: u64, context: &Context<'_>, out: &mut Outbox) {
        match (u32::try_from(key), key) {
            (Ok(key), _) if self.state.own.fired(key) => {
                self.call(&StrategyEvent::Timer(key), self.permit, context, out);
            }
            (_, SLOW_TIMER) => {
                self.state.life.slow_until = None;
                self.announce(out);
            }
            (_, FLATTEN_TIMER) => self.flatten_on_timer(context, out),
            _ => {}
        }
    }

    fn listens(&self) -> bool {
        self.strategy.is_some() && !self.state.life.faulted && self.state.life.stopped.is_none()
    }

    fn call(&mut self, event: &StrategyEvent<'_>, permit: Permit, context: &Context<'_>, out: &mut Outbox) {
        self.step(event, permit, false, context, out);
    }

    fn call_holding(&mut self, event: &StrategyEvent<'_>, context: &Context<'_>, out: &mut Outbox) {
        self.step(event, self.permit, true, context, out);
    }

    fn step(&mut self, event: &StrategyEvent<'_>, permit: Permit, hold: bool, context: &Context<'_>, out: &mut Outbox) {
        if !self.listens() {
            return;
        }
        let Some(strategy) = &mut self.strategy else { return };
        let actor = Actor { strategy: self.ix, account: self.setup.account, symbols: &self.setup.symbols };
        let (own, actions) = (&mut self.state.own, &mut self.actions);
        let mut ctx = StrategyContext { engine: context, actor, own, actions, out, permit, hold };
        strategy.on(event, &mut ctx);
    }

    /// Sets what the strategy may do, as follows from the state.
    fn find_permit(&mut self) -> RunnerState {
        let state = self.state();
        self.permit = match state {
            RunnerState::Running => Permit::Trade,
            RunnerState::WarmingUp | RunnerState::Paused(_) => Permit::Reduce,
            RunnerState::Faulted | RunnerState::Stopped(_) => Permit::Watch,
        };
        state
    }

    /// Tells outside when the state is another one, and sets what the strategy may do.
    fn announce(&mut self, out: &mut Outbox) {
        let state = self.find_permit();
        if self.state.announced != Some(state) {
            self.state.announced = Some(state);
            out.push(Event::Runner { strategy: self.ix, state });
        }
    }

    fn alert(&self, code: AlertCode, text: String, out: &mut Outbox) {
        let alert = Alert { code, account: Some(self.setup.account), symbol: None, order: None, text: text.into() };
        out.push(Event::Alert(alert));
    }

    fn own_timer(&self, key: u64) -> crate::event::TimerId {
        crate::event::TimerId { station: Station::Runner(self.ix), key }
    }

    #[cold]
    fn report_overrun(&mut self, out: &mut Outbox) {
        let text =
            format!("strategy {} did more than its bound: {} actions dropped", self.setup.name, self.actions.dropped);
        self.alert(AlertCode::Overrun, text, out);
        self.actions.dropped = 0;
    }
}

impl Node for Runner {
    fn on(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        self.actions.taken = 0;
        if !self.state.begun && self.listens() {
            self.begin(context, out);
        }
        match event {
            Event::Input(input) => {
                if self.state.own.has_held() {
                    self.state.own.release(self.permit, out);
                }
                self.input(input, context, out);
            }
            other => self.told(other, context, out),
        }
        if self.actions.dropped > 0 {
            self.report_overrun(out);
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&(&self.state, self.strategy.as_ref().and_then(|s| s.snapshot())))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        let (state, bytes): (State, Option<Vec<u8>>) = decode_state("runner", snapshot)?;
        let begun = state.begun;
        self.state = state;
        self.build();
        if let (Some(strategy), Some(bytes)) = (&mut self.strategy, bytes) {
            strategy.restore(&bytes)?;
            self.state.begun = begun;
        }
        self.find_permit();
        Ok(())
    }

    fn state_hash(&self) -> u64 {
        let strategy = self.strategy.as_ref().map_or(0, |s| s.state_hash());
        hash_bytes(&encode_state(&(&self.state, strategy)))
    }
}
