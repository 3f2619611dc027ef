//! The gate of one account: every intent passes here, is checked, and its exposure is *held*, before anything is sent.
//!
//! In: intents; orders, fills and positions; equity and budgets; halts; trust. Out: `Approved` or `Refused`, alerts, `Untrusted`
//! when its own positions and the ledger's stay different. It never sends anything and never asks anybody: what it needs to
//! know has been told before.
//!
//! Every state change that goes with a decision is one idempotent function, called when it is decided and by [`Gate::fold`].
//! Budgets and trust do not outlive a start: after it nothing adds risk until the account is reconciled and granted anew.
//! Tests: `risk/tests`.
#![deny(clippy::float_arithmetic)]

use super::halts::Halts;
use super::holds::{Hold, Holds};
use super::modify::Change;
use super::rate::{Runaway, Window};
pub use super::refusal::Refusal;
use crate::command::{CommandKind, VenueCommand};
use crate::config::AccountConfig;
use crate::event::{
    Alert, AlertCode, Budget, Decision, Equity, Event, HaltReason, Input, Refused, Scope, Station, StreamState,
    TimerId, VirtualPosition,
};
use crate::id::{AccountIx, ClientOrderId, OrderKey, Seq, StrategyIx, SymbolIx};
use crate::node::{Context, Node, Outbox, SnapshotError, decode_state, encode_state};
use crate::num::{Money, NetQuantity};
use crate::order::{Intent, NewOrder};
use crate::strategy::COUNTER_END;
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Proof that the gate checked an intent and holds its exposure. Only the gate can build one.
#[derive(Debug)]
pub struct Approved(Grant);

/// What the gate passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grant {
    /// Place this.
    Place(NewOrder),
    /// Anything else as it was wanted: cancel, cancel all, modify.
    Other(Intent),
}

impl Approved {
    /// What was passed.
    pub fn grant(&self) -> &Grant {
        &self.0
    }

    /// The account that it concerns.
    pub fn account(&self) -> AccountIx {
        match &self.0 {
            Grant::Place(order) => order.intent.id.account,
            Grant::Other(intent) => intent.account(),
        }
    }
}

/// Builds the gate's proof for tests of the nodes behind the gate.
#[cfg(test)]
pub(crate) fn approve_for_test(grant: Grant) -> Approved {
    Approved(grant)
}

/// The gate's only timer: the comparison with the ledger.
const HEARTBEAT: u64 = 0;

/// Heartbeats in a row with a difference to the ledger before it is acted upon: one is a moment within a cascade at most.
const MISMATCHES_MAX: u8 = 2;

/// The gate node of one account.
#[derive(Debug)]
pub struct Gate {
    pub(super) account: AccountIx,
    pub(super) state: State,
}

/// Everything that the gate knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub holds: Holds,
    pub trusted: bool,
    pub halts: Halts,
    pub budget: Option<Budget>,
    /// The newest budget ever taken: an older one never replaces it.
    version: u64,
    pub equity: Option<Equity>,
    pub rate: Window,
    pub runaway: Runaway,
    /// The newest order id (epoch, counter) of each series.
    pub ids: BTreeMap<(StrategyIx, Series), (u32, u32)>,
    /// Orders with a modification that was passed at this input and of which the desk has not told yet.
    pub modifying: (Seq, BTreeSet<OrderKey>),
    /// Positions as the ledger tells them: by strategy, with their cost, and of the account.
    pub told: BTreeMap<(SymbolIx, StrategyIx), (NetQuantity, Money)>,
    told_account: BTreeMap<SymbolIx, NetQuantity>,
    /// Heartbeats in a row that found a difference.
    mismatches: u8,
}

/// Who counts the ids of a strategy's orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Series {
    /// The runner, or the edge for the reserved strategy.
    Own,
    /// The desk, which closes a position whose stop got stuck: the upper half of the counters.
    Closing,
}

impl Series {
    pub fn of(id: ClientOrderId) -> Series {
        if id.counter < COUNTER_END { Series::Own } else { Series::Closing }
    }
}

impl State {
    /// The desk told of an order: a modification that its view covers is settled, so nothing of it outlives its input.
    fn answered(&mut self, key: OrderKey) {
        if self.modifying.1.contains(&key) && self.holds.get(key).is_none_or(|hold| hold.pending.is_none()) {
            self.modifying.1.remove(&key);
            if self.modifying.1.is_empty() {
                self.modifying.0 = Seq(0);
            }
        }
    }
}

impl Gate {
    /// A gate that trusts nothing and passes nothing but cancels and reductions.
    pub fn new(account: AccountIx) -> Gate {
        Gate { account, state: State::default() }
    }

    /// Checks an intent and, if it passes, holds its exposure, in one step.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal is a value that is journaled whole, not an error that is passed up"
    )]
    pub fn check_and_hold(&mut self, intent: Intent, context: &Context<'_>) -> Result<Approved, Refused> {
        let verdict = match &intent {
            Intent::Place(order) => self.check_place(order, context).map(|order| {
                self.hold_place(&order, context);
                Grant::Place(order)
            }),
            Intent::Modify { strategy, symbol, id, price, quantity } => {
                let (strategy, symbol, id) = (*strategy, *symbol, *id);
                let change = Change { strategy, symbol, id, price: *price, quantity: *quantity };
                self.check_modify(&change, context).map(|()| {
                    self.hold_modify(&change, context);
                    Grant::Other(intent)
                })
            }
            Intent::Cancel { .. } | Intent::CancelAll { .. } => self.settings(context).map(|_| Grant::Other(intent)),
        };
        verdict.map(Approved).map_err(|reason| Refused { intent, reason })
    }

    /// The account's settings, if orders may be sent for it at all.
    pub(super) fn settings<'a>(&self, context: &Context<'a>) -> Result<&'a AccountConfig, Refusal> {
        let settings = context.config.account(self.account).ok_or(Refusal::UnknownAccount(self.account))?;
        if settings.trading { Ok(settings) } else { Err(Refusal::WatchOnly(self.account)) }
    }

    /// Holds a placed order: its exposure, its id, its share of the rate. Idempotent.
    fn hold_place(&mut self, order: &NewOrder, context: &Context<'_>) {
        let id = order.intent.id;
        let newest = self.state.ids.entry((id.strategy, Series::of(id))).or_default();
        if (id.epoch, id.counter) <= *newest {
            return;
        }
        *newest = (id.epoch, id.counter);
        let alone = super::reduce::is_sole_owner(
            &self.state.holds,
            self.account,
            id.strategy,
            order.intent.symbol,
            context.config,
        );
        self.state.holds.hold(OrderKey::Ours(id), Hold::of(order, order.intent.reduces() && alone));
        self.count(context);
        let (_, window) = windows(context.config.account(self.account));
        self.state.runaway.placed(id.strategy, context.now, window);
        if !order.intent.reduces() {
            self.state.runaway.passed(id.strategy);
        }
    }

    /// Holds a modification that was passed: the larger of old and new, until the desk tells of the order.
    fn hold_modify(&mut self, change: &Change, context: &Context<'_>) {
        let key = OrderKey::Ours(change.id);
        if self.state.holds.modify(key, change.price, change.quantity) {
            self.state.modifying.0 = context.seq;
            self.state.modifying.1.insert(key);
        }
        self.count(context);
    }

    /// Counts an order or a modification.
    fn count(&mut self, context: &Context<'_>) {
        let (window, _) = windows(context.config.account(self.account));
        self.state.rate.record(context.now, window);
    }

    /// The desk answers a modification within its input, with a view that covers it. What it did not cover, it refused.
    fn settle_modifications(&mut self, context: &Context<'_>) {
        if !self.state.modifying.1.is_empty() && self.state.modifying.0 != context.seq {
            for key in std::mem::take(&mut self.state.modifying).1 {
                self.state.holds.drop_modification(key);
            }
        }
    }

    /// Takes a recorded decision during recovery.
    pub fn fold(&mut self, decision: &Decision, context: &Context<'_>) {
        match decision {
            Decision::Command(VenueCommand { account, kind, .. }) if *account == self.account => match kind {
                CommandKind::Place(order) => self.hold_place(order, context),
                CommandKind::Modify { id, price, quantity, .. } => {
                    // It was sent, so the desk's view covers it: as if it had been told.
                    self.state.holds.cover(OrderKey::Ours(*id), *price, *quantity);
                    self.count(context);
                }
                CommandKind::Cancel { .. } | CommandKind::Query(_) => {}
            },
            Decision::Refused(refused) if refused.intent.account() == self.account => {
                if let Refusal::Runaway { strategy, .. } = refused.reason {
                    self.state.runaway.tell(strategy);
                }
            }
            Decision::Halted { scope, reason } => self.halt(*scope, *reason),
            Decision::Resumed { scope } => self.resume(*scope),
            _ => {}
        }
    }

    fn halt(&mut self, scope: Scope, reason: HaltReason) {
        if !matches!(scope, Scope::Account(account) if account != self.account) {
            self.state.halts.add(scope, reason);
        }
    }

    fn resume(&mut self, scope: Scope) {
        self.state.halts.lift(scope);
    }

    fn on_intent(&mut self, intent: Intent, context: &Context<'_>, out: &mut Outbox) {
        match self.check_and_hold(intent, context) {
            Ok(approved) => out.push(Event::Approved(approved)),
            Err(refused) => {
                if let Refusal::Runaway { strategy, .. } = refused.reason
                    && self.state.runaway.tell(strategy)
                {
                    let text = refused.reason.to_string();
                    out.push(self.alert(AlertCode::Runaway, None, text));
                }
                out.push(Event::Refused(refused));
            }
        }
    }

    fn on_input(&mut self, input: &Input, context: &Context<'_>, out: &mut Outbox) {
        match input {
            Input::Start { .. } => {
                self.state.trusted = false;
                self.state.budget = None;
                self.state.mismatches = 0;
                // The stop that was under way is over.
                self.state.halts.retract(HaltReason::Stopping);
                self.arm(context, out);
            }
            // An account that was added to a running engine gets no start.
            Input::Configuration(_) => self.arm(context, out),
            Input::Stream(StreamState::UserDown(account, _)) if *account == self.account => self.state.trusted = false,
            Input::Timer(TimerId { station: Station::Gate(account), key: HEARTBEAT }) if *account == self.account => {
                self.heartbeat(out);
                self.arm(context, out);
            }
            _ => {}
        }
    }

    fn arm(&self, context: &Context<'_>, out: &mut Outbox) {
        let timer = TimerId { station: Station::Gate(self.account), key: HEARTBEAT };
        let period = context.config.risk.heartbeat.max(Span::from_millis(1));
        out.push(Event::Arm { timer, at: context.now.plus(period) });
    }

    /// The pair assertion: positions by fills and positions by the ledger are derived apart and must agree.
    fn heartbeat(&mut self, out: &mut Outbox) {
        let Some((symbol, text)) = self.difference() else {
            self.state.mismatches = 0;
            return;
        };
        self.state.mismatches = self.state.mismatches.saturating_add(1);
        if self.state.mismatches == MISMATCHES_MAX {
            out.push(self.alert(AlertCode::ExposureMismatch, Some(symbol), text));
            self.state.trusted = false;
            out.push(Event::Untrusted(self.account));
        }
    }

    /// The first symbol in which the gate and the ledger hold different positions, in mantissas.
    fn difference(&self) -> Option<(SymbolIx, String)> {
        let held: BTreeMap<_, _> = self.state.holds.positions().collect();
        let told = self.state.told.iter().map(|(key, (quantity, _))| (*key, *quantity));
        let told: BTreeMap<_, _> = told.filter(|(_, quantity)| !quantity.is_zero()).collect();
        let differs = held.iter().find(|(key, quantity)| told.get(key) != Some(quantity));
        let missing = told.iter().find(|(key, _)| !held.contains_key(key));
        if let Some((&(symbol, strategy), _)) = differs.or(missing) {
            let of = |map: &BTreeMap<_, NetQuantity>| map.get(&(symbol, strategy)).map_or(0, |q| q.mantissa());
            let text = format!(
                "position of strategy {} in symbol {}: {} by fills, {} in the ledger (mantissas)",
                strategy.0,
                symbol.0,
                of(&held),
                of(&told)
            );
            return Some((symbol, text));
        }
        let (symbol, quantity) = self
            .state
            .told_account
            .iter()
            .find(|(symbol, quantity)| self.state.holds.book(**symbol).position != quantity.mantissa() as i128)?;
        let held = self.state.holds.book(*symbol).position;
        let text = format!(
            "position of the account in symbol {}: {held} by fills, {} in the ledger (mantissas)",
            symbol.0,
            quantity.mantissa()
        );
        Some((*symbol, text))
    }

    /// The account was compared with the venue and repaired: the ledger's positions are the true ones.
    fn on_reconciled(&mut self) {
        let told = self.state.told.iter().map(|(key, (quantity, _))| (*key, *quantity));
        self.state.holds.adopt(told);
        self.state.mismatches = 0;
        self.state.trusted = true;
    }

    fn on_position(&mut self, position: &VirtualPosition) {
        let key = (position.symbol, position.strategy);
        self.state.told.insert(key, (position.quantity, position.cost));
        self.state.told_account.insert(position.symbol, position.account_quantity);
    }

    fn on_budget(&mut self, budget: &Budget) {
        if budget.version > self.state.version {
            self.state.version = budget.version;
            self.state.budget = Some(*budget);
        }
    }

    fn alert(&self, code: AlertCode, symbol: Option<SymbolIx>, text: String) -> Event {
        Event::Alert(Alert { code, account: Some(self.account), symbol, order: None, text: text.into() })
    }
}

/// The windows of order rate and runaway guard.
pub(super) fn windows(settings: Option<&AccountConfig>) -> (Span, Span) {
    settings.map_or((Span::ZERO, Span::ZERO), |s| (s.limits.order_rate_window, s.limits.runaway_window))
}

/// Whether a budget is good at a time: it expires at its end.
pub(super) fn is_good(budget: &Budget, now: Ts) -> bool {
    now < budget.expires
}

impl Node for Gate {
    fn on(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        self.settle_modifications(context);
        match event {
            Event::Intent(intent) if intent.account() == self.account => self.on_intent(*intent, context, out),
            Event::Order(update) | Event::OrderAgain(update) if update.account == self.account => {
                self.state.holds.update(update);
                self.state.answered(update.key);
            }
            Event::Fill(fill) if fill.account == self.account => {
                self.state.holds.fill(fill);
                self.state.runaway.filled(fill.strategy);
            }
            Event::Position(position) if position.account == self.account => self.on_position(position),
            Event::Equity(equity) if equity.account == self.account => self.state.equity = Some(*equity),
            Event::Budget(budget) if budget.account == self.account => self.on_budget(budget),
            Event::Halted { scope, reason } => self.halt(*scope, *reason),
            Event::Resumed { scope } => self.resume(*scope),
            Event::Reconciled(account) if *account == self.account => self.on_reconciled(),
            Event::Untrusted(account) if *account == self.account => self.state.trusted = false,
            Event::Input(input) => self.on_input(input, context, out),
            _ => {}
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&self.state)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.state = decode_state("gate", snapshot)?;
        Ok(())
    }
}
