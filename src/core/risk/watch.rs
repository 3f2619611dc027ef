//! The risk node: watches the equity of all accounts, grants budgets that expire, and keeps the halts.
//!
//! In: equity, halts and resumes, margin calls, definitions, its heartbeat. Out: `Budget` to each gate, `Halted`, `Resumed`, alerts.
//! It is fail-closed: if it faults or is not stepped, budgets run out within their time and the gates refuse new risk.
//!
//! The daily loss is a **latch**: at the limit the account is halted, and stays halted over midnight and restarts until an
//! operator resumes it. A resume while the day's loss is still at the limit holds until the next heartbeat only: then
//! the account is halted again; to go on the same day the limit has to be raised. A symbol that stops being tradable is
//! halted until an operator resumes it.
#![deny(clippy::float_arithmetic)]

use super::halts::Halts;
use crate::command::Report;
use crate::config::{AccountConfig, EngineConfig};
use crate::event::{
    Alert, AlertCode, Budget, Decision, Equity, Event, HaltReason, Input, OperatorCommand, Scope, Station, TimerId,
};
use crate::id::{AccountIx, SymbolIx};
use crate::instrument::Definition;
use crate::node::{Context, Node, Outbox, SnapshotError, decode_state, encode_state};
use crate::num::{Money, Rounding};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The risk node's only timer.
const HEARTBEAT: u64 = 0;

/// The risk node.
#[derive(Debug, Default)]
pub struct Risk {
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct State {
    halts: Halts,
    accounts: BTreeMap<AccountIx, Watched>,
    /// Symbols that were tradable when last defined.
    tradable: BTreeSet<SymbolIx>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Watched {
    equity: Option<Equity>,
    budget: Option<Budget>,
}

/// The risk node, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RiskView {
    /// Halts in force.
    pub halts: Vec<(Scope, HaltReason)>,
    /// Newest equity and budget of each account.
    pub accounts: Vec<(AccountIx, Option<Equity>, Option<Budget>)>,
}

impl Risk {
    /// A risk node that has granted nothing.
    pub fn new() -> Risk {
        Risk::default()
    }

    /// The whole view.
    pub fn view(&self) -> RiskView {
        RiskView {
            halts: self.state.halts.iter().collect(),
            accounts: self.state.accounts.iter().map(|(ix, a)| (*ix, a.equity, a.budget)).collect(),
        }
    }

    /// Takes a recorded decision during recovery: latches come back.
    pub fn fold(&mut self, decision: &Decision, _context: &Context<'_>) {
        match decision {
            Decision::Halted { scope, reason } => {
                self.state.halts.add(*scope, *reason);
            }
            Decision::Resumed { scope } => {
                self.state.halts.lift(*scope);
            }
            _ => {}
        }
    }

    fn on_input(&mut self, input: &Input, context: &Context<'_>, out: &mut Outbox) {
        match input {
            Input::Start { .. } => {
                // The stop that was under way is over.
                for scope in self.state.halts.retract(HaltReason::Stopping) {
                    out.push(Event::Resumed { scope });
                }
                self.repeat_halts(out);
                self.beat(context, out);
            }
            Input::Rebuild(_) => {
                self.repeat_halts(out);
                self.beat(context, out);
            }
            Input::Timer(TimerId { station: Station::Risk, key: HEARTBEAT }) => self.beat(context, out),
            Input::Configuration(config) => {
                self.state.accounts.retain(|account, _| config.account(*account).is_some());
            }
            Input::Halt { scope, reason } => {
                self.halt(*scope, *reason, format!("{scope:?} is halted: {reason:?}"), AlertCode::Halted, out);
                self.grant_all(context, out);
            }
            Input::Command(OperatorCommand::Resume(scope)) => {
                // Said even if not known here: other nodes halt too, and every gate must hear it.
                self.state.halts.lift(*scope);
                out.push(Event::Resumed { scope: *scope });
                self.grant_all(context, out);
            }
            Input::Report(Report::MarginCall { account, symbol, .. }) => {
                let text = "the venue warns that the margin is short".into();
                let (account, symbol) = (Some(*account), Some(*symbol));
                out.push(Event::Alert(Alert { code: AlertCode::MarginCall, account, symbol, order: None, text }));
            }
            Input::Definition(Definition::Instrument(instrument)) => {
                self.defined(instrument.symbol, instrument.is_tradable(), out);
            }
            _ => {}
        }
    }

    /// A definition: halts a symbol that was tradable and is not. The reverse is for a person to decide.
    fn defined(&mut self, symbol: SymbolIx, tradable: bool, out: &mut Outbox) {
        if tradable {
            self.state.tradable.insert(symbol);
        } else if self.state.tradable.remove(&symbol) {
            let text = format!("symbol {} is not tradable any more", symbol.0);
            self.halt(Scope::Symbol(symbol), HaltReason::Instrument, text, AlertCode::Halted, out);
        }
    }

    /// Halts and remembers it. Said again when asked again, so that a second try cancels what the first one missed.
    fn halt(&mut self, scope: Scope, reason: HaltReason, text: String, code: AlertCode, out: &mut Outbox) {
        let new = self.state.halts.add(scope, reason);
        out.push(Event::Halted { scope, reason });
        // A stop that somebody asked for needs nobody to look.
        if new && reason != HaltReason::Stopping {
            let account = if let Scope::Account(account) = scope { Some(account) } else { None };
            let symbol = if let Scope::Symbol(symbol) = scope { Some(symbol) } else { None };
            out.push(Event::Alert(Alert { code, account, symbol, order: None, text: text.into() }));
        }
    }

    /// Says every halt in force again: a crash or a fault may have come between the halt and those who cancel for it.
    fn repeat_halts(&self, out: &mut Outbox) {
        for (scope, reason) in self.state.halts.iter() {
            out.push(Event::Halted { scope, reason });
        }
    }

    /// The heartbeat.
    fn beat(&mut self, context: &Context<'_>, out: &mut Outbox) {
        for account in accounts(context.config) {
            self.check_loss(account, context, out);
        }
        self.grant_all(context, out);
        let timer = TimerId { station: Station::Risk, key: HEARTBEAT };
        let period = context.config.risk.heartbeat.max(Span::from_millis(1));
        out.push(Event::Arm { timer, at: context.now.plus(period) });
    }

    fn on_equity(&mut self, equity: &Equity, context: &Context<'_>, out: &mut Outbox) {
        let watched = self.state.accounts.entry(equity.account).or_default();
        watched.equity = Some(*equity);
        let waits = watched.budget.is_none_or(|budget| !budget.new_risk);
        if self.check_loss(equity.account, context, out) || (waits && self.may_add(equity.account, context)) {
            self.grant(equity.account, context, out);
        }
    }

    /// Halts an account at its daily loss limit. True when it did so now.
    fn check_loss(&mut self, account: AccountIx, context: &Context<'_>, out: &mut Outbox) -> bool {
        let Some(settings) = context.config.account(account) else { return false };
        let Some((loss, bound)) = self.loss(account, settings) else { return false };
        let scope = Scope::Account(account);
        if self.state.halts.contains(scope, HaltReason::DailyLoss) {
            return false;
        }
        let text = format!("account {}: the loss since 00:00 UTC is {loss}, allowed is less than {bound}", account.0);
        self.halt(scope, HaltReason::DailyLoss, text, AlertCode::DailyLoss, out);
        true
    }

    /// The day's loss and its limit, when the limit is reached.
    fn loss(&self, account: AccountIx, settings: &AccountConfig) -> Option<(Money, Money)> {
        let equity = self.state.accounts.get(&account)?.equity?;
        let (loss, bound) = (equity.day_profit.negate(), settings.limits.daily_loss_max);
        let reached = loss.mantissa() > 0 && loss.mantissa() >= bound.mantissa();
        (loss.asset == bound.asset && reached).then_some((loss, bound))
    }

    fn grant_all(&mut self, context: &Context<'_>, out: &mut Outbox) {
        for account in accounts(context.config) {
            self.grant(account, context, out);
        }
    }

    /// Whether an account may add risk at all.
    fn may_add(&self, account: AccountIx, context: &Context<'_>) -> bool {
        let Some(settings) = context.config.account(account) else { return false };
        // In a stop of the daemon the gate refuses what is new, but strategies may leave the market.
        let halted =
            [Scope::All, Scope::Account(account)].iter().any(|scope| self.state.halts.lasting(*scope).is_some());
        settings.trading && !halted && self.affordable(account, settings).is_some()
    }

    /// Exposure that the limits and the equity allow; `None` while the equity is not known or in another asset.
    fn affordable(&self, account: AccountIx, settings: &AccountConfig) -> Option<Money> {
        let equity = self.state.accounts.get(&account)?.equity?;
        let worth = equity.wallet.checked_add(equity.unrealized).ok()?;
        let bound = settings.limits.exposure_max;
        if worth.asset != bound.asset {
            return None;
        }
        let by_leverage = worth.times(settings.limits.leverage_max, Rounding::Down).ok()?.mantissa().max(0);
        Some(Money::new(bound.asset, by_leverage.min(bound.mantissa())))
    }

    fn grant(&mut self, account: AccountIx, context: &Context<'_>, out: &mut Outbox) {
        let Some(settings) = context.config.account(account) else { return };
        let new_risk = self.may_add(account, context);
        let exposure_max =
            self.affordable(account, settings).unwrap_or(Money::zero(settings.limits.exposure_max.asset));
        let watched = self.state.accounts.entry(account).or_default();
        // Never below the number of the input: even a node that lost its state grants newer versions than before.
        let last = watched.budget.map_or(0, |budget| budget.version);
        let version = last.saturating_add(1).max(context.seq.0);
        let expires = context.now.plus(context.config.risk.budget_ttl);
        let budget = Budget { account, version, expires, exposure_max, new_risk };
        watched.budget = Some(budget);
        out.push(Event::Budget(budget));
    }
}

fn accounts(config: &EngineConfig) -> impl Iterator<Item = AccountIx> + use<> {
    let count = u16::try_from(config.accounts.len()).unwrap_or(u16::MAX);
    (0..count).map(AccountIx)
}

impl Node for Risk {
    fn on(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        match event {
            Event::Input(input) => self.on_input(input, context, out),
            Event::Equity(equity) => self.on_equity(equity, context, out),
            // Other nodes halt and resume too; what is known already stays as it is.
            Event::Halted { scope, reason } => {
                self.state.halts.add(*scope, *reason);
            }
            Event::Resumed { scope } => {
                self.state.halts.lift(*scope);
            }
            Event::Reconciled(account) => self.grant(*account, context, out),
            _ => {}
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&self.state)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.state = decode_state("risk", snapshot)?;
        Ok(())
    }
}
