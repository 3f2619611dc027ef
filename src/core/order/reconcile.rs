//! Reconciliation of an account with its venue.
//!
//! In: the start, the state of the user stream, timers, a person's wish, the word that the account is not to be trusted; and
//! the venue's answers. Out: one question at a time, [`Finding`]s for the nodes that own the matter, `Untrusted` when it begins
//! because reports may be missing, and `Reconciled` when venue, desk and ledger agree. A run is: settings (where they have to
//! be checked), open orders, open conditional orders, the trades of every symbol since the last complete run, positions and
//! balances. What the ledger finds unequal is looked at again, because fills race with the answers, and then repaired.
//! It decides nothing about orders, fills or positions itself.
//! Tests: scripted runs in `tests`.
#![deny(clippy::float_arithmetic)]

use crate::command::{
    Answer, CommandId, CommandKind, Outcome, Query, QueryAnswer, Report, RequestOutcome, TradeCursor,
};
use crate::command::{VenueBalance, VenueCommand, VenuePosition};
use crate::event::{Alert, AlertCode, Decision, Event, Input, OperatorCommand, Station, StreamState, TimerId};
use crate::id::{AccountIx, SymbolIx};
use crate::node::{Context, Node, Outbox, SnapshotError, decode_state, encode_state};
use crate::order::{ConditionalReport, OrderReport, TradeRecord};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod run;
mod settings;
#[cfg(test)]
mod tests;

use run::Run;

/// What a reconciliation learnt, for the node that owns the matter; and that node's verdict.
#[derive(Debug, Clone)]
pub enum Finding {
    /// The venue's open ordinary orders; the desk compares. Orders of ours that changed after `asked_at` are left alone.
    OpenOrders { account: AccountIx, asked_at: Ts, orders: Vec<OrderReport> },
    /// The venue's open conditional orders; the desk compares.
    OpenConditionals { account: AccountIx, asked_at: Ts, orders: Vec<ConditionalReport> },
    /// The rest of such lists, of which the desk has looked already what they lack.
    Listed { account: AccountIx, asked_at: Ts, orders: Vec<OrderReport>, conditionals: Vec<ConditionalReport> },
    /// A page of the venue's trades; the desk books those that it has not booked.
    Trades { account: AccountIx, trades: Vec<TradeRecord> },
    /// The venue's positions and balances; the ledger compares, repairs if told to, and answers with `Compared`.
    Holdings {
        account: AccountIx,
        asked_at: Ts,
        positions: Vec<VenuePosition>,
        balances: Vec<VenueBalance>,
        repair: bool,
    },
    /// The ledger's verdict. `gap`: equal for equal differences, as far as a hash can tell.
    Compared { account: AccountIx, equal: bool, gap: u64 },
}

impl Finding {
    /// The account that it concerns.
    pub fn account(&self) -> AccountIx {
        match self {
            Finding::OpenOrders { account, .. }
            | Finding::OpenConditionals { account, .. }
            | Finding::Listed { account, .. }
            | Finding::Trades { account, .. }
            | Finding::Holdings { account, .. }
            | Finding::Compared { account, .. } => *account,
        }
    }
}

/// The timer of the run's next step: a deadline, a second try, a pause.
const STEP: u64 = 0;
/// The timer of the next run.
const EVERY: u64 = 1;

/// How far our clock may be ahead of the venue's, and how late the trade history may show a trade, where a symbol without any
/// trade is asked for by time. Such a page is empty, so it costs nothing to be generous.
const HISTORY_MARGIN: Span = Span::from_secs(86_400);

/// Questions in vain, without a complete run between, after which a person is told; and after how many more again.
const FAILURES: u32 = 5;
const FAILURES_MORE: u32 = 60;

/// The node Reconciler of one account.
#[derive(Debug)]
pub struct Reconciler {
    account: AccountIx,
    state: State,
}

/// Everything that it remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// The first start ever: trades before it are not ours to book.
    since: Option<Ts>,
    /// When the last complete run began.
    completed: Option<Ts>,
    /// Where the trades of a symbol are asked from, as of the last complete run.
    cursors: BTreeMap<SymbolIx, TradeCursor>,
    /// Symbols besides the configured ones that had fills, orders or positions, until the venue does not know them any more.
    symbols: BTreeSet<SymbolIx>,
    /// Those with an order or a position at the last complete run, or a fill since: their settings have to agree too.
    active: BTreeSet<SymbolIx>,
    /// Questions in vain since the last complete run.
    failures: u32,
    /// Whether the settings agree with the configuration; `None` when that has to be checked.
    settings: Option<bool>,
    /// That has to be checked because of a symbol that is new: the account may be trusted meanwhile.
    suspected: bool,
    /// What was last said about differing settings.
    told: Option<String>,
    /// The user stream is down: reports may be missing, so nothing is reconciled.
    down: bool,
    /// The run under way.
    run: Option<Run>,
}

impl Reconciler {
    /// A reconciliation that has not begun.
    pub fn new(account: AccountIx) -> Reconciler {
        Reconciler { account, state: State::default() }
    }

    /// Whether a run is under way.
    pub fn is_running(&self) -> bool {
        self.state.run.is_some()
    }

    /// When the last complete run began.
    pub fn completed(&self) -> Option<Ts> {
        self.state.completed
    }

    /// Takes a recorded decision on recovery: the number under which its question was sent.
    pub fn fold(&mut self, decision: &Decision, _context: &Context<'_>) {
        if let Decision::Command(VenueCommand { id, account, kind: CommandKind::Query(query) }) = decision
            && *account == self.account
            && let Some(run) = &mut self.state.run
            && run.command.is_some()
            && run.stage.query().as_ref() == Some(query)
        {
            run.command = Some(*id);
        }
    }

    fn on_input(&mut self, input: &Input, context: &Context<'_>, out: &mut Outbox) {
        match input {
            Input::Start { .. } => {
                self.state.since.get_or_insert(context.now);
                self.state.down = false;
                self.arm(EVERY, context.now.plus(context.config.timing.reconcile_every), out);
                self.distrust(context, out);
                self.begin(context, out);
            }
            Input::Stream(StreamState::UserUp(account)) if *account == self.account => {
                self.state.down = false;
                self.distrust(context, out);
                self.begin(context, out);
            }
            Input::Stream(StreamState::UserDown(account, _)) if *account == self.account => {
                self.state.down = true;
                self.distrust(context, out);
            }
            Input::Timer(timer) if timer.station == Station::Reconciler(self.account) => match timer.key {
                STEP => self.on_step_timer(context, out),
                _ => {
                    self.arm(EVERY, context.now.plus(context.config.timing.reconcile_every), out);
                    self.begin_unless_running(context, out);
                }
            },
            Input::Command(OperatorCommand::Reconcile(account))
                if *account == self.account && self.state.run.is_none() =>
            {
                self.state.settings = None;
                self.begin(context, out);
            }
            // What the venue is set to may be right or wrong now: the next run checks.
            Input::Configuration(_) if self.state.run.is_none() => self.state.settings = None,
            Input::Answer(QueryAnswer { command, result, .. }) if self.is_awaited(*command) => match result {
                Ok(answer) => self.on_answer(answer, context, out),
                Err(error) if error.is_unknown_symbol() && self.leave_out(context, out) => {}
                Err(error) => self.failed(&error.to_string(), None, context, out),
            },
            Input::Outcome(RequestOutcome { command, outcome, .. }) if self.is_awaited(*command) => match outcome {
                Outcome::Written => {}
                Outcome::Limited(at) => self.try_again(Some(*at), context, out),
                outcome => self.failed(&format!("{outcome:?}"), None, context, out),
            },
            Input::Report(Report::Leverage { account, symbol, leverage }) if *account == self.account => {
                self.on_leverage(*symbol, *leverage, context, out);
            }
            Input::Report(Report::MultiAssets { account, multi_assets }) if *account == self.account => {
                self.on_multi_assets(*multi_assets, context, out);
            }
            _ => {}
        }
    }

    /// Reports may be missing: settings too may have changed unseen.
    fn distrust(&mut self, context: &Context<'_>, out: &mut Outbox) {
        self.state.settings = None;
        if let Some(run) = &mut self.state.run {
            run.began = context.seq;
        }
        out.push(Event::Untrusted(self.account));
    }

    /// Somebody says that the account is not to be trusted: what was found so far in a run does not count.
    fn on_untrusted(&mut self, context: &Context<'_>, out: &mut Outbox) {
        match &mut self.state.run {
            Some(run) if run.began == context.seq => {}
            Some(run) => run.void = true,
            None if self.state.down => {}
            None => self.begin(context, out),
        }
    }

    fn is_awaited(&self, command: CommandId) -> bool {
        self.state.run.as_ref().is_some_and(|run| run.command == Some(command))
    }

    fn arm(&self, key: u64, at: Ts, out: &mut Outbox) {
        out.push(Event::Arm { timer: TimerId { station: Station::Reconciler(self.account), key }, at });
    }

    fn alert(&self, code: AlertCode, symbol: Option<SymbolIx>, text: String, out: &mut Outbox) {
        out.push(Event::Alert(Alert { code, account: Some(self.account), symbol, order: None, text: text.into() }));
    }
}

impl Node for Reconciler {
    fn on(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        match event {
            Event::Input(input) => self.on_input(input, context, out),
            Event::Untrusted(account) if *account == self.account => self.on_untrusted(context, out),
            Event::Fill(fill) if fill.account == self.account => {
                self.state.symbols.insert(fill.symbol);
                if self.state.active.insert(fill.symbol) && self.suspect(fill.symbol, context) {
                    self.begin_unless_running(context, out);
                }
            }
            Event::Finding(Finding::Compared { account, equal, gap }) if *account == self.account => {
                self.on_compared(*equal, *gap, context, out);
            }
            _ => {}
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&self.state)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.state = decode_state("reconciler", snapshot)?;
        Ok(())
    }
}
