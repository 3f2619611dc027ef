//! The ledger of one account: wallet balances, the account's positions, and each strategy's virtual ones.
//!
//! In: fills, account reports, mark prices, findings of reconciliation, the roll of the day. Out: `Position` of the strategy whose
//! position changed, `Equity` of the account, `Compared`, alerts. It never reads a quote and decides nothing about orders.
//!
//! Two views of profit stand side by side. The wallet is booked from what the *exchange* says (fee and realised profit of each
//! fill, funding, transfers), so it agrees with the exchange to the last digit. Positions, of the account and of strategies, are
//! computed *here*, exactly: over all strategies (the reserved one included) quantities add up to the account's, and so
//! do realised plus unrealised profit, at any price; realised profit alone need not.
//!
//! All state but mark prices, and what fees of other assets came to at them, follows from inputs that are always journaled. What cannot be booked is booked not at all: an alert
//! goes out, the account is untrusted, and reconciliation repairs it.
//! Tests: model checks over random fills, worked examples (`ledger/tests.rs`).
#![deny(clippy::float_arithmetic)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod booking;
mod compare;
mod state;
mod valued;
mod view;

#[cfg(test)]
mod tests;

pub use state::BookError;
pub use view::{BalanceView, LedgerView, PositionView, StrategyView};

use crate::event::{Alert, AlertCode, Decision, Event, Input, Station, TimerId, VirtualPosition};
use crate::id::{AccountIx, AssetIx, StrategyIx, SymbolIx};
use crate::instrument::Universe;
use crate::market::{MarketEvent, MarketInput};
use crate::node::{Context, Node, Outbox, SnapshotError, decode_state, encode_state};
use crate::num::{Money, NetQuantity};
use crate::order::PositionSide;
use crate::order::reconcile::Finding;
use crate::position::{Position, Purse};
use crate::time::{Span, Ts};
use state::State;

/// Length of the day over which [`crate::event::Equity::day_profit`] runs; days begin at 00:00 UTC.
pub const DAY: Span = Span::from_secs(86_400);

/// The ledger's only timer: the roll of the day.
const DAY_TIMER: u64 = 0;

/// The ledger node of one account.
#[derive(Debug)]
pub struct Ledger {
    account: AccountIx,
    margin: AssetIx,
    state: State,
}

impl Ledger {
    /// An empty ledger. `margin` is the account's margin asset, that of its configured limits; it is taken anew from each
    /// configuration that is admitted.
    pub fn new(account: AccountIx, margin: AssetIx) -> Ledger {
        Ledger { account, margin, state: State::default() }
    }

    /// Nothing: all that the ledger does follows from inputs, which are recomputed on recovery.
    pub fn fold(&mut self, _decision: &Decision, _context: &Context<'_>) {}

    /// The account.
    pub fn account(&self) -> AccountIx {
        self.account
    }

    /// The asset in which equity is counted.
    pub fn margin_asset(&self) -> AssetIx {
        self.margin
    }

    /// The account's position; flat when there never was one.
    pub fn position(&self, symbol: SymbolIx, side: PositionSide) -> Option<&Position> {
        self.state.positions.get(&(symbol, side))
    }

    /// The account's signed quantity in a symbol, over both sides of hedge mode.
    pub fn account_quantity(&self, symbol: SymbolIx) -> NetQuantity {
        // Each booking checked the sum.
        self.state.quantity(symbol).unwrap_or_default()
    }

    /// A strategy's own position, as it is told to its runner and the gate. `None` when it never traded the symbol.
    pub fn virtual_position(&self, strategy: StrategyIx, symbol: SymbolIx) -> Option<VirtualPosition> {
        let book = self.state.books.get(&(strategy, symbol))?;
        Some(VirtualPosition {
            account: self.account,
            strategy,
            symbol,
            quantity: book.position.quantity,
            cost: book.position.cost,
            account_quantity: self.account_quantity(symbol),
        })
    }

    /// What a strategy realised in a symbol, before fees and funding. `None` when it never traded the symbol.
    pub fn virtual_realized(&self, strategy: StrategyIx, symbol: SymbolIx) -> Option<Money> {
        self.state.books.get(&(strategy, symbol)).map(|book| book.position.realized)
    }

    /// The virtual positions of a strategy, by symbol.
    pub fn virtual_positions(&self, strategy: StrategyIx) -> impl Iterator<Item = VirtualPosition> {
        let range = (strategy, SymbolIx(0))..=(strategy, SymbolIx(u16::MAX));
        self.state.books.range(range).filter_map(|(&(strategy, symbol), _)| self.virtual_position(strategy, symbol))
    }

    /// Wallet balances by asset.
    pub fn balances(&self) -> &Purse {
        &self.state.wallet
    }

    /// The exchange's realised profit by asset, before fees.
    pub fn realized(&self) -> &Purse {
        &self.state.realized
    }

    /// Fees by asset, positive when paid.
    pub fn fees(&self) -> &Purse {
        &self.state.fees
    }

    /// What fees of other assets came to in the margin asset, at the prices of when they were booked.
    pub fn fees_valued(&self) -> Money {
        self.state.valued.get(self.margin)
    }

    /// Fees of other assets that are missing in the day's profit because no price of them is known, by asset.
    pub fn fees_unvalued(&self) -> impl Iterator<Item = Money> {
        self.state.waiting.iter().filter(|fee| !fee.is_zero())
    }

    /// Funding by asset, positive when received.
    pub fn funding(&self) -> &Purse {
        &self.state.funding
    }

    /// Deposits, withdrawals, adjustments, and what reconciliation added: all that changed a balance and is not profit.
    pub fn transfers(&self) -> &Purse {
        &self.state.transfers
    }

    /// Positions (symbol and side) in which the exchange's newest account report and this ledger differ. For moments that is
    /// normal, because the report of the account comes before that of the order.
    pub fn unconfirmed(&self) -> usize {
        self.state.unconfirmed()
    }

    /// What the account is worth at the newest mark prices; an open position without a mark price counts at its cost.
    pub fn equity(&self, universe: &Universe) -> Result<crate::event::Equity, BookError> {
        self.state.equity(self.account, self.margin, universe)
    }

    fn marked(&mut self, input: &MarketInput, context: &Context<'_>, out: &mut Outbox) {
        let MarketEvent::Mark(mark) = &input.event else { return };
        // The day ends with the prices before this one.
        self.state.roll(self.margin, context);
        match self.state.mark(self.margin, input.symbol, mark.mark_price, context.universe) {
            Ok(open) => match self.state.value_waiting(self.margin, context.universe) {
                Ok(valued) if open || valued => self.emit_equity(context, out),
                Ok(_) => {}
                Err(error) => self.fail_once(Some(input.symbol), &error.into(), out),
            },
            Err(error) => self.fail_once(Some(input.symbol), &error, out),
        }
    }

    fn arm(&self, now: Ts, out: &mut Outbox) {
        let timer = TimerId { station: Station::Ledger(self.account), key: DAY_TIMER };
        out.push(Event::Arm { timer, at: now.floor(DAY).plus(DAY) });
    }

    fn emit_equity(&mut self, context: &Context<'_>, out: &mut Outbox) {
        match self.equity(context.universe) {
            Ok(equity) => {
                self.state.failing = false;
                out.push(Event::Equity(equity));
            }
            Err(error) => self.fail_once(None, &error, out),
        }
    }

    fn emit_position(&self, strategy: StrategyIx, symbol: SymbolIx, out: &mut Outbox) {
        if let Some(position) = self.virtual_position(strategy, symbol) {
            out.push(Event::Position(position));
        }
    }

    fn alert(&self, code: AlertCode, symbol: Option<SymbolIx>, text: String, out: &mut Outbox) {
        let text = text.into();
        out.push(Event::Alert(Alert { code, account: Some(self.account), symbol, order: None, text }));
    }

    /// Says that something could not be booked; the account has to be compared with the venue.
    fn fail(&self, symbol: Option<SymbolIx>, what: &str, error: &BookError, out: &mut Outbox) {
        self.alert(AlertCode::BookingFailed, symbol, format!("{what}: {error}"), out);
        out.push(Event::Untrusted(self.account));
    }

    /// The same for a valuation: said once until one succeeds again, because prices come every second.
    fn fail_once(&mut self, symbol: Option<SymbolIx>, error: &BookError, out: &mut Outbox) {
        if !self.state.failing {
            self.state.failing = true;
            self.fail(symbol, "the account's equity could not be computed", error, out);
        }
    }

    fn amount(&self, money: Money, context: &Context<'_>) -> String {
        format!("{money} {}", context.universe.asset_name(money.asset))
    }
}

impl Node for Ledger {
    fn on(&mut self, event: &Event, context: &Context<'_>, out: &mut Outbox) {
        match event {
            Event::Fill(fill) if fill.account == self.account => self.filled(fill, context, out),
            Event::Input(Input::Market(input)) => self.marked(input, context, out),
            Event::Input(Input::Report(crate::command::Report::Account(report))) if report.account == self.account => {
                self.reported(report, context, out);
            }
            Event::Finding(Finding::Holdings { account, asked_at, positions, balances, repair })
                if *account == self.account =>
            {
                let holdings = compare::Holdings { asked_at: *asked_at, positions, balances };
                self.compare(&holdings, *repair, context, out);
            }
            Event::Input(Input::Start { .. }) => {
                self.state.roll(self.margin, context);
                self.arm(context.now, out);
            }
            Event::Input(Input::Timer(timer))
                if timer.station == Station::Ledger(self.account) && timer.key == DAY_TIMER =>
            {
                self.state.roll(self.margin, context);
                self.arm(context.now, out);
                self.emit_equity(context, out);
            }
            Event::Input(Input::Configuration(config)) => {
                if let Some(account) = config.account(self.account) {
                    self.margin = account.limits.exposure_max.asset;
                }
            }
            _ => {}
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        encode_state(&self.state)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), SnapshotError> {
        self.state = decode_state("ledger", snapshot)?;
        Ok(())
    }
}
