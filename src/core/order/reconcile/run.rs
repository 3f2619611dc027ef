//! One run of the reconciliation: its stages, one question at a time.
#![deny(clippy::float_arithmetic)]

use super::*;
use crate::id::Seq;
use crate::order::state::backoff;

/// Looks at positions and balances before a difference is repaired.
const LOOKS: u32 = 2;
/// Looks after which a run is begun anew.
const LOOKS_MAX: u32 = 10;

/// A run under way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    /// The input with which it began, or that it knows to have made the account untrusted.
    pub(super) began: Seq,
    began_at: Ts,
    pub(super) stage: Stage,
    /// The question under way.
    pub(super) command: Option<CommandId>,
    /// When it was asked.
    asked_at: Ts,
    /// How often, without an answer.
    attempts: u32,
    /// What it found does not count: it ends without `Reconciled`, and another begins.
    pub(super) void: bool,
    /// Symbols whose trades are complete.
    covered: BTreeSet<SymbolIx>,
    /// Where their trades are asked from next.
    cursors: BTreeMap<SymbolIx, TradeCursor>,
    /// Symbols with an open order.
    listed: BTreeSet<SymbolIx>,
    /// Symbols that the venue does not know any more.
    gone: BTreeSet<SymbolIx>,
    positions: Vec<VenuePosition>,
    /// When the positions were asked for.
    holdings_at: Ts,
    balances: Vec<VenueBalance>,
    /// How often positions and balances were compared.
    looks: u32,
    /// The difference that the last look found.
    gap: Option<u64>,
    /// The ledger was told to repair.
    repair: bool,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    Settings,
    OpenOrders,
    OpenConditionals,
    Trades {
        symbol: SymbolIx,
        from: TradeCursor,
    },
    Positions,
    Balances,
    /// The ledger compares.
    Comparing,
    /// Before looking again at what is unequal.
    Pause,
    /// Before beginning anew.
    Restart,
}

impl Stage {
    pub(super) fn query(self) -> Option<Query> {
        match self {
            Stage::Settings => Some(Query::Settings),
            Stage::OpenOrders => Some(Query::OpenOrders),
            Stage::OpenConditionals => Some(Query::OpenConditionals),
            Stage::Trades { symbol, from } => Some(Query::Trades { symbol, from }),
            Stage::Positions => Some(Query::Positions),
            Stage::Balances => Some(Query::Balances),
            Stage::Comparing | Stage::Pause | Stage::Restart => None,
        }
    }
}

impl Reconciler {
    /// Begins a run; one that is under way is dropped.
    pub(super) fn begin(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let checked = self.state.settings == Some(true);
        self.state.run = Some(Run {
            began: context.seq,
            began_at: context.now,
            stage: Stage::Settings,
            command: None,
            asked_at: context.now,
            attempts: 0,
            void: false,
            covered: BTreeSet::new(),
            cursors: BTreeMap::new(),
            listed: BTreeSet::new(),
            gone: BTreeSet::new(),
            positions: Vec::new(),
            holdings_at: context.now,
            balances: Vec::new(),
            looks: 0,
            gap: None,
            repair: false,
        });
        self.enter(if checked { Stage::OpenOrders } else { Stage::Settings }, context, out);
    }

    pub(super) fn begin_unless_running(&mut self, context: &Context<'_>, out: &mut Outbox) {
        if self.state.run.is_none() {
            self.begin(context, out);
        }
    }

    fn enter(&mut self, stage: Stage, context: &Context<'_>, out: &mut Outbox) {
        if let Some(run) = &mut self.state.run {
            run.stage = stage;
            run.attempts = 0;
            self.ask(context, out);
        }
    }

    /// Asks the stage's question; its answer is awaited until the deadline.
    fn ask(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let Some(run) = &mut self.state.run else { return };
        run.asked_at = context.now;
        run.command = None;
        if let Some(query) = run.stage.query() {
            run.attempts = run.attempts.saturating_add(1);
            let id = context.next_command();
            run.command = Some(id);
            out.push(Event::Command(VenueCommand { id, account: self.account, kind: CommandKind::Query(query) }));
        }
        self.arm(STEP, context.now.plus(context.config.timing.reconcile_timeout), out);
    }

    /// The question was not answered: it is asked again at `at` or after a pause that doubles.
    pub(super) fn try_again(&mut self, at: Option<Ts>, context: &Context<'_>, out: &mut Outbox) {
        let Some(run) = &mut self.state.run else { return };
        run.command = None;
        let pause = context.now.plus(backoff(&context.config.timing, run.attempts));
        self.arm(STEP, at.map_or(pause, |at| at.max(context.now)), out);
    }

    /// A question was not answered for a reason that a person may have to look at: it is asked again.
    pub(super) fn failed(&mut self, why: &str, at: Option<Ts>, context: &Context<'_>, out: &mut Outbox) {
        let Some(run) = &self.state.run else { return };
        let stage = run.stage;
        self.state.failures = self.state.failures.saturating_add(1);
        let failures = self.state.failures;
        if failures == FAILURES || failures.is_multiple_of(FAILURES_MORE) {
            let text =
                format!("the account is not reconciled: {stage:?} failed {failures} times in a row, last: {why}");
            self.alert(AlertCode::BookingFailed, None, text, out);
        }
        self.try_again(at, context, out);
    }

    /// The venue does not know the symbol that it was asked for any more: without an order it has no trades to book, and if it
    /// has no position either it is left out of the run. False when that is not what was asked.
    pub(super) fn leave_out(&mut self, context: &Context<'_>, out: &mut Outbox) -> bool {
        let Some(run) = &mut self.state.run else { return false };
        match run.stage {
            Stage::Trades { symbol, .. } if !run.listed.contains(&symbol) => {
                run.covered.insert(symbol);
                run.gone.insert(symbol);
                self.next_trades(context, out);
                true
            }
            _ => false,
        }
    }

    /// A deadline has passed, or a pause is over.
    pub(super) fn on_step_timer(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let Some(run) = &mut self.state.run else { return };
        match run.stage {
            Stage::Pause => {
                run.covered.clear();
                self.next_trades(context, out);
            }
            Stage::Comparing | Stage::Restart => self.begin(context, out),
            _ if run.command.is_some() => {
                self.failed("no answer", None, context, out);
                self.begin(context, out);
            }
            _ => self.ask(context, out),
        }
    }

    pub(super) fn on_answer(&mut self, answer: &Answer, context: &Context<'_>, out: &mut Outbox) {
        let account = self.account;
        let Some(run) = &mut self.state.run else { return };
        let asked_at = run.asked_at;
        match (run.stage, answer) {
            (Stage::Settings, Answer::Settings(settings)) => {
                self.check_settings(settings, context, out);
                self.enter(Stage::OpenOrders, context, out);
            }
            (Stage::OpenOrders, Answer::OpenOrders(orders)) => {
                self.list(orders.iter().map(|order| order.symbol));
                out.push(Event::Finding(Finding::OpenOrders { account, asked_at, orders: orders.clone() }));
                self.enter(Stage::OpenConditionals, context, out);
            }
            (Stage::OpenConditionals, Answer::OpenConditionals(orders)) => {
                self.list(orders.iter().map(|order| order.symbol));
                out.push(Event::Finding(Finding::OpenConditionals { account, asked_at, orders: orders.clone() }));
                self.next_trades(context, out);
            }
            (Stage::Trades { symbol, from }, Answer::Trades { symbol: answered, trades, complete })
                if symbol == *answered =>
            {
                self.on_trades(symbol, from, (trades, *complete), context, out);
            }
            (Stage::Positions, Answer::Positions(positions)) => {
                run.positions = positions.clone();
                run.holdings_at = asked_at;
                let symbols: BTreeSet<SymbolIx> = positions.iter().map(|position| position.symbol).collect();
                if let Some(symbol) = symbols.intersection(&run.gone).next() {
                    let why = format!("the venue knows no symbol {}, but a position in it", symbol.0);
                    run.covered.retain(|symbol| !run.gone.contains(symbol));
                    run.gone.clear();
                    return self.failed(&why, None, context, out);
                }
                let covered = symbols.is_subset(&run.covered);
                self.state.symbols.extend(symbols);
                if covered {
                    self.enter(Stage::Balances, context, out);
                } else {
                    self.next_trades(context, out);
                }
            }
            (Stage::Balances, Answer::Balances(balances)) => {
                run.balances = balances.clone();
                let repair = run.repair;
                self.compare(repair, context, out);
            }
            _ => self.failed("an answer to another question", None, context, out),
        }
    }

    /// Takes notice of symbols with open orders.
    fn list(&mut self, symbols: impl Iterator<Item = SymbolIx>) {
        if let Some(run) = &mut self.state.run {
            run.listed.extend(symbols);
            self.state.symbols.extend(run.listed.iter().copied());
        }
    }

    /// Goes on with the next symbol whose trades are not complete; with the positions when there is none.
    fn next_trades(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let Some(run) = &self.state.run else { return };
        let configured = context.config.strategies.iter().filter(|strategy| strategy.account == self.account);
        let symbols: BTreeSet<SymbolIx> = configured
            .flat_map(|strategy| strategy.symbols.iter().copied())
            .chain(self.state.symbols.iter().copied())
            .collect();
        let stage = match symbols.difference(&run.covered).next() {
            Some(&symbol) => Stage::Trades { symbol, from: self.cursor(symbol, context) },
            None => Stage::Positions,
        };
        self.enter(stage, context, out);
    }

    /// Where a symbol's trades are asked from: as far as this run or the last complete one has come. A symbol that neither
    /// knows had nothing to book before.
    fn cursor(&self, symbol: SymbolIx, context: &Context<'_>) -> TradeCursor {
        let this_run = self.state.run.as_ref().and_then(|run| run.cursors.get(&symbol));
        if let Some(cursor) = this_run.or_else(|| self.state.cursors.get(&symbol)) {
            return *cursor;
        }
        let since = self.state.since.unwrap_or(context.now);
        TradeCursor::Time(self.state.completed.map_or(since, |completed| since.max(margin_before(completed))))
    }

    fn on_trades(
        &mut self,
        symbol: SymbolIx,
        from: TradeCursor,
        (trades, complete): (&[TradeRecord], bool),
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let account = self.account;
        if !trades.is_empty() {
            out.push(Event::Finding(Finding::Trades { account, trades: trades.to_vec() }));
        }
        let Some(run) = &mut self.state.run else { return };
        let last = trades.iter().map(|trade| trade.fill.trade_id).max();
        let reached = match (last, from) {
            // The last one is asked for once more: the page joins the one before it.
            (Some(last), _) => TradeCursor::Id(last),
            (None, TradeCursor::Time(time)) => TradeCursor::Time(time.max(margin_before(run.asked_at))),
            (None, id) => id,
        };
        // A page that only has what was asked for once more brings nothing new, whatever it says of itself.
        let next = from.next(last.filter(|last| TradeCursor::Id(*last) != from), complete, run.asked_at);
        match next {
            Some(from) => {
                if last.is_some() {
                    run.cursors.insert(symbol, reached);
                }
                self.enter(Stage::Trades { symbol, from }, context, out);
            }
            None => {
                run.cursors.insert(symbol, reached);
                run.covered.insert(symbol);
                self.next_trades(context, out);
            }
        }
    }

    fn compare(&mut self, repair: bool, context: &Context<'_>, out: &mut Outbox) {
        let account = self.account;
        let Some(run) = &mut self.state.run else { return };
        run.repair = repair;
        run.looks = run.looks.saturating_add(1);
        let (positions, balances) = (run.positions.clone(), run.balances.clone());
        let asked_at = run.holdings_at;
        out.push(Event::Finding(Finding::Holdings { account, asked_at, positions, balances, repair }));
        self.enter(Stage::Comparing, context, out);
    }

    /// The ledger's verdict. A difference may be a fill on its way, so it is looked at again before it is repaired; an account
    /// that was never reconciled has nothing on its way. A difference that is another one at each look is fills on their way: only
    /// one that stays is repaired. What changed under the repair is looked at again too.
    pub(super) fn on_compared(&mut self, equal: bool, gap: u64, context: &Context<'_>, out: &mut Outbox) {
        let Some(run) = self.state.run.as_mut().filter(|run| run.stage == Stage::Comparing) else { return };
        if equal {
            self.complete(context, out);
            return;
        }
        let moves = run.gap.replace(gap) != Some(gap);
        let look_again = run.repair || (self.state.completed.is_some() && (run.looks <= LOOKS || moves));
        if !look_again {
            self.compare(true, context, out);
            return;
        }
        let looks = run.looks;
        run.stage = if looks >= LOOKS_MAX { Stage::Restart } else { Stage::Pause };
        run.command = None;
        self.arm(STEP, context.now.plus(backoff(&context.config.timing, looks.saturating_add(1))), out);
    }

    /// Venue, desk and ledger agree.
    fn complete(&mut self, context: &Context<'_>, out: &mut Outbox) {
        let Some(mut run) = self.state.run.take() else { return };
        self.state.cursors.append(&mut run.cursors);
        self.state.failures = 0;
        self.state.symbols.retain(|symbol| !run.gone.contains(symbol));
        self.state.cursors.retain(|symbol, _| !run.gone.contains(symbol));
        let held = run.positions.iter().map(|position| position.symbol);
        let active: BTreeSet<SymbolIx> = run.listed.iter().copied().chain(held).collect();
        let before = std::mem::replace(&mut self.state.active, active.clone());
        for symbol in active.difference(&before) {
            self.suspect(*symbol, context);
        }
        // A symbol whose settings were not checked: another run does that.
        run.void |= self.state.settings.is_none() && !self.state.down;
        if run.void {
            // Not at once, so that a venue that keeps contradicting itself is not stormed.
            (run.stage, run.command) = (Stage::Restart, None);
            self.state.run = Some(run);
            self.arm(STEP, context.now.plus(backoff(&context.config.timing, 1)), out);
            return;
        }
        out.push(Event::Disarm(TimerId { station: Station::Reconciler(self.account), key: STEP }));
        self.state.completed = Some(run.began_at);
        if !self.state.down && self.state.settings == Some(true) {
            out.push(Event::Reconciled(self.account));
        }
    }
}

/// A time before which the trade history is complete.
fn margin_before(time: Ts) -> Ts {
    Ts::from_nanos(time.nanos().saturating_sub(HISTORY_MARGIN.nanos()))
}
