//! Start and stop of a strategy, and what becomes of its orders and position.
//!
//! `Leave` does nothing, `Cancel` cancels entries, `Flatten` cancels everything, waits until that is settled and closes the position
//! by reduce-only market orders; it repeats both until nothing is left but what is too small for an order. All of it acts only on timers, which are inputs of their
//! own: only then are orders and position known to agree.

use super::{FLATTEN_TIMER, Runner};
use crate::config::OnStop;
use crate::event::{AlertCode, Event, Refused, StopReason, VirtualPosition};
use crate::id::SymbolIx;
use crate::node::{Context, Outbox};
use crate::num::Quantity;
use crate::order::{Intent, OrderState, OrderUpdate};
use crate::risk::gate::Refusal;
use crate::risk::refusal::Bound;
use crate::strategy::context::{Actor, OrderSpec};
use crate::strategy::{Permit, StrategyContext, StrategyEvent};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// First pause between two attempts to flatten; doubles up to sixteen times this.
const FLATTEN_PAUSE: Span = Span::from_secs(2);

/// Attempts after which the position is closed even though orders are still open: their cancellation may hang for long.
const PATIENCE: u32 = 5;

/// Attempts after which a person is told.
const ALERT_AFTER: u32 = 8;

/// How far the closing of a position is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Flatten {
    /// How often something was asked for.
    attempts: u32,
    /// Closing orders were sent, and the position has not changed since.
    closing: bool,
    /// When to ask again.
    pub(super) next: Ts,
    /// What of a position the account covers, as the gate said: no more is asked for at once.
    covered: Option<(SymbolIx, Quantity)>,
    /// Positions that are too small for an order: they stay.
    dust: Vec<SymbolIx>,
}

impl Runner {
    /// Runs the strategy (again): a stopped or faulted one as a fresh instance, a slow one at once.
    pub(super) fn start(&mut self, context: &Context<'_>, out: &mut Outbox) {
        self.end_slow_pause(out);
        if self.state.life.stopped.is_some() || self.state.life.faulted {
            self.state.life.stopped = None;
            self.end_flatten(out);
            self.renew(context, out);
        }
        self.announce(out);
    }

    /// Stops the strategy and applies its policy. Stopping a stopped one applies the policy again.
    pub(super) fn stop(&mut self, reason: StopReason, context: &Context<'_>, out: &mut Outbox) {
        self.lay_down(reason, context, out);
        match self.setup.on_stop {
            OnStop::Leave => {}
            OnStop::Cancel => self.cancel_unwanted(out),
            OnStop::Flatten => self.begin_flatten(context, out),
        }
        self.announce(out);
    }

    /// The restart budget is used up: entries are cancelled whatever the policy, protective orders and position stay.
    pub(super) fn give_up(&mut self, context: &Context<'_>, out: &mut Outbox) {
        self.lay_down(StopReason::Faults, context, out);
        self.cancel_unwanted(out);
        let position = if self.state.own.is_idle() { "it is flat" } else { "its position stays" };
        let text = format!("strategy {} faulted too often and is stopped; {position}", self.setup.name);
        self.alert(AlertCode::StrategyStopped, text, out);
        self.announce(out);
    }

    /// Whether an open order is an entry that must not rest now: nobody looks after it, or at prices that nobody here can see.
    /// After the last fault that is so whatever the policy.
    fn is_unwanted(&self, update: &OrderUpdate) -> bool {
        let life = &self.state.life;
        if update.protective || matches!(update.state, OrderState::Done(_)) {
            return false;
        }
        if life.stopped == Some(StopReason::Faults) {
            return true;
        }
        let blind = || self.state.slots.iter().any(|s| s.symbol == update.symbol && s.fault.is_some());
        let of_before = || update.key.ours().is_some_and(|id| id.epoch < life.unwanted_before);
        self.setup.on_stop != OnStop::Leave && (life.stopped.is_some() || life.faulted || blind() || of_before())
    }

    /// Asks to cancel an entry that must not rest. Asking again costs nothing; an order that is not confirmed yet, or comes back
    /// from an unknown fate, is asked about whenever it changes: no wish has to outlive a crash.
    pub(super) fn cancel_if_unwanted(&self, update: &OrderUpdate, out: &mut Outbox) {
        if self.is_unwanted(update) {
            let (account, strategy) = (self.setup.account, self.ix);
            let (symbol, key) = (update.symbol, update.key);
            out.push(Event::Intent(Intent::Cancel { account, strategy, symbol, key }));
        }
    }

    /// The same for every open order.
    pub(super) fn cancel_unwanted(&self, out: &mut Outbox) {
        self.state.own.orders().iter().for_each(|order| self.cancel_if_unwanted(&order.update, out));
    }

    fn lay_down(&mut self, reason: StopReason, context: &Context<'_>, out: &mut Outbox) {
        self.call(&StrategyEvent::Stop, Permit::Watch, context, out);
        self.strategy = None;
        self.state.begun = false;
        self.state.own.drop_held();
        self.state.own.disarm_all(self.ix, out);
        self.end_slow_pause(out);
        self.state.life.faulted = false;
        self.state.life.stopped.get_or_insert(reason);
    }

    fn begin_flatten(&mut self, context: &Context<'_>, out: &mut Outbox) {
        if self.state.own.is_idle() {
            return;
        }
        let (next, dust) = (context.now, Vec::new());
        self.state.life.flatten = Some(Flatten { attempts: 0, closing: false, next, covered: None, dust });
        self.flatten_on_timer(context, out);
    }

    pub(super) fn end_flatten(&mut self, out: &mut Outbox) {
        if self.state.life.flatten.take().is_some() {
            out.push(Event::Disarm(self.own_timer(FLATTEN_TIMER)));
        }
    }

    /// An order or the position changed while flattening: looks at it as soon as this cascade is over.
    pub(super) fn flatten_on_progress(&mut self, position: bool, context: &Context<'_>, out: &mut Outbox) {
        if let Some(flatten) = &mut self.state.life.flatten {
            if position {
                flatten.closing = false;
                flatten.covered = None;
                flatten.dust.clear();
            }
            self.arm_flatten(context.now, out);
        }
    }

    /// A closing order was refused: what the account covers of the position is asked for next, and what is too small for an
    /// order stays.
    pub(super) fn flatten_on_refusal(&mut self, refused: &Refused, context: &Context<'_>, out: &mut Outbox) {
        let Some(flatten) = &mut self.state.life.flatten else { return };
        let Intent::Place(order) = &refused.intent else { return };
        match refused.reason {
            Refusal::ReduceOnlyTooLarge { available, .. } => {
                let available = Quantity::from_mantissa(available.parts().0).unwrap_or_default();
                flatten.covered = (!available.is_zero()).then_some((order.symbol, available));
            }
            Refusal::MinNotional { .. } | Refusal::LotFilter { broken: Bound::Min | Bound::Step, .. } => {
                flatten.dust.push(order.symbol);
                let name = &self.setup.name;
                let text = format!("strategy {name} is stopped; what is left of a position stays: {}", refused.reason);
                self.alert(AlertCode::StrategyStopped, text, out);
                self.arm_flatten(context.now, out);
            }
            _ => {}
        }
    }

    pub(super) fn flatten_on_timer(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let Some(mut flatten) = self.state.life.flatten.clone() else { return };
        let open = |p: &VirtualPosition| !p.quantity.is_zero() && !flatten.dust.contains(&p.symbol);
        if self.state.own.orders().is_empty() && !self.state.own.positions().iter().any(open) {
            self.state.life.flatten = None;
            return;
        }
        let due = context.now >= flatten.next;
        let settled = self.state.own.orders().is_empty();
        let close_open = self.state.own.orders().iter().any(|o| is_close(&o.update));
        let close = (settled && !flatten.closing) || (due && !close_open && (settled || flatten.attempts >= PATIENCE));
        if close {
            self.close_positions(&flatten, context, out);
        } else if due && !close_open {
            self.cancel_everything(out);
        }
        if close || due {
            let pause = FLATTEN_PAUSE.nanos() * (1 << flatten.attempts.min(4));
            flatten.next = context.now.plus(Span::from_nanos(pause));
            flatten.attempts = flatten.attempts.saturating_add(1);
            flatten.closing = close;
            if flatten.attempts == ALERT_AFTER {
                let text = format!("strategy {} is stopped but its position is not closed yet", self.setup.name);
                self.alert(AlertCode::StrategyStopped, text, out);
            }
        }
        let next = flatten.next;
        self.state.life.flatten = Some(flatten);
        self.arm_flatten(next, out);
    }

    pub(super) fn arm_flatten(&mut self, at: Ts, out: &mut Outbox) {
        out.push(Event::Arm { timer: self.own_timer(FLATTEN_TIMER), at });
    }

    fn cancel_everything(&mut self, out: &mut Outbox) {
        let (account, strategy) = (self.setup.account, self.ix);
        out.push(Event::Intent(Intent::CancelAll { account, strategy, symbol: None }));
    }

    /// One reduce-only market order for each position, as large as the exchange takes at once.
    fn close_positions(&mut self, flatten: &Flatten, context: &Context<'_>, out: &mut Outbox) {
        let closes: Vec<OrderSpec> = self
            .state
            .own
            .positions()
            .iter()
            .filter(|p| !flatten.dust.contains(&p.symbol))
            .filter_map(|p| {
                let instrument = context.universe.instrument(p.symbol)?;
                let covered = flatten.covered.filter(|(symbol, _)| *symbol == p.symbol).map(|(_, quantity)| quantity);
                let quantity = covered.map_or(p.quantity.abs(), |covered| covered.min(p.quantity.abs()));
                OrderSpec::close(instrument, quantity.signed(p.quantity.side()?))
            })
            .collect();
        let symbols: Vec<_> = closes.iter().map(|c| c.symbol).collect();
        let actor = Actor { strategy: self.ix, account: self.setup.account, symbols: &symbols };
        let (own, actions, permit) = (&mut self.state.own, &mut self.actions, Permit::Reduce);
        let mut ctx = StrategyContext { engine: context, actor, own, actions, out, permit, hold: false };
        for close in closes {
            // Bounded by the number of symbols; what does not fit is tried again at the next timer.
            let _ = ctx.place(close);
        }
    }
}

/// Whether an order is a reduce-only market order.
fn is_close(update: &OrderUpdate) -> bool {
    update.reduce_only && !update.conditional && update.price.is_zero()
}
