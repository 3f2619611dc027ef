//! Booking of fills and account reports. Each is booked whole or not at all: everything is computed first, then stored.

use super::Ledger;
use super::state::{Book, BookError, State, instrument};
use crate::command::{AccountReason, AccountReport};
use crate::event::{AlertCode, Event};
use crate::id::{AssetIx, StrategyIx, SymbolIx};
use crate::node::{Context, Outbox};
use crate::num::{Money, NetQuantity, NumError};
use crate::order::Fill;
use crate::position::{Position, Purse, funding};
use crate::time::Ts;

impl Ledger {
    pub(super) fn filled(&mut self, fill: &Fill, context: &Context<'_>, out: &mut Outbox) {
        self.state.roll(self.margin, context);
        match self.state.book_fill(fill, self.margin, context) {
            Ok(Booked { opened, unknown_fee }) => {
                if opened {
                    self.warn_of_other_asset(fill.symbol, context, out);
                }
                self.emit_position(fill.strategy, fill.symbol, out);
                self.emit_equity(context, out);
                if let Some(asset) = unknown_fee {
                    self.warn_of_fees(asset, context, out);
                }
                if self.state.repaired.remove(&fill.symbol) {
                    // The position that was taken over may have had this fill: it is compared again before it is believed.
                    out.push(Event::Untrusted(self.account));
                }
            }
            Err(error) => {
                let what = format!("trade {} could not be booked", fill.trade_id.0);
                self.fail(Some(fill.symbol), &what, &error, out);
            }
        }
    }

    /// Equity is counted in one asset. A position that is valued in another one is kept and shown, but a person must know.
    fn warn_of_other_asset(&self, symbol: SymbolIx, context: &Context<'_>, out: &mut Outbox) {
        if let Some(instrument) = context.universe.instrument(symbol).filter(|i| i.quote != self.margin) {
            let (quote, margin) =
                (context.universe.asset_name(instrument.quote), context.universe.asset_name(self.margin));
            let name = &instrument.name;
            let text =
                format!("the position in {name} is valued in {quote} and not part of the account's equity in {margin}");
            self.alert(AlertCode::SettingsDiffer, Some(symbol), text, out);
        }
    }

    pub(super) fn reported(&mut self, report: &AccountReport, context: &Context<'_>, out: &mut Outbox) {
        for position in &report.positions {
            self.state.told.insert((position.symbol, position.position_side), position.quantity);
        }
        if !report.books_balance() {
            return;
        }
        self.state.roll(self.margin, context);
        let mut changed = false;
        for (after, change) in &report.balances {
            let booked = match report.reason {
                AccountReason::Funding => {
                    let symbol = self.state.funded_symbol(report, *change);
                    self.state.book_funding(symbol, *change, after.wallet, context.now)
                }
                _ => self.state.book_transfer(*change, after.wallet, context.now),
            };
            changed |= !change.is_zero();
            if let Err(error) = booked {
                let what = format!("a balance change of {} could not be booked", self.amount(*change, context));
                self.fail(None, &what, &error, out);
            } else if report.reason == AccountReason::Other && !change.is_zero() {
                let text = format!("the venue adjusted a balance by {}", self.amount(*change, context));
                self.alert(AlertCode::BalanceAdjusted, None, text, out);
            }
        }
        if changed {
            self.emit_equity(context, out);
        }
    }
}

/// The sums of one asset kind that a booking changes, computed aside.
struct Sums {
    wallet: Purse,
    other: Purse,
}

/// What a person may have to be told of a booking.
struct Booked {
    /// The account's position was opened by it.
    opened: bool,
    /// The asset of its fee, when that is the first of it that cannot be valued.
    unknown_fee: Option<AssetIx>,
}

impl State {
    fn book_fill(&mut self, fill: &Fill, margin: AssetIx, context: &Context<'_>) -> Result<Booked, BookError> {
        let instrument = instrument(context.universe, fill.symbol)?;
        let key = (fill.symbol, fill.position_side);
        let before = self.positions.get(&key).copied().unwrap_or(Position::flat(instrument.quote));
        let after = before.traded(instrument, fill.side, fill.price, fill.quantity)?;
        // The sum over both sides must fit too; it is told to strategies and gate.
        let change = fill.quantity.signed(fill.side);
        self.quantity(fill.symbol)?.checked_add(change).ok_or(NumError::Overflow)?;

        let own = (fill.strategy, fill.symbol);
        let mut book = self.books.get(&own).cloned().unwrap_or(Book::new(instrument.quote));
        book.position = book.position.traded(instrument, fill.side, fill.price, fill.quantity)?;
        let (mut wallet, mut realized, mut fees) = (self.wallet.clone(), self.realized.clone(), self.fees.clone());
        wallet.add(fill.realized)?;
        realized.add(fill.realized)?;
        let mut other = None;
        if let Some(fee) = fill.fee {
            other = Some(self.other_fee(fee, margin, context.universe)?);
            wallet.take(fee)?;
            fees.add(fee)?;
            book.fees.add(fee)?;
        }

        (self.wallet, self.realized, self.fees) = (wallet, realized, fees);
        self.positions.insert(key, after);
        self.books.insert(own, book);
        self.touched.insert(fill.symbol, context.now);
        self.note_booking(context.now);
        let unknown_fee = other.and_then(|other| {
            (self.valued, self.waiting) = (other.valued, other.waiting);
            other.unknown
        });
        Ok(Booked { opened: before.is_flat() && !after.is_flat(), unknown_fee })
    }

    fn note_booking(&mut self, now: Ts) {
        self.wallet_touched = Some(now);
        self.booked = self.booked.saturating_add(1);
    }

    /// The one symbol that a funding payment is for: the one that the report names, else the only open one of that asset.
    fn funded_symbol(&self, report: &AccountReport, change: Money) -> Option<SymbolIx> {
        let mut named: Vec<SymbolIx> = report.positions.iter().map(|p| p.symbol).collect();
        if named.is_empty() {
            let open = self.positions.iter().filter(|(_, p)| !p.is_flat() && p.cost.asset == change.asset);
            named.extend(open.map(|((symbol, _), _)| *symbol));
        }
        named.sort_unstable();
        named.dedup();
        if let [only] = named[..] { Some(only) } else { None }
    }

    /// Books funding and shares it among the strategies that hold the symbol, by size; what cannot be shared stays unassigned.
    fn book_funding(
        &mut self,
        symbol: Option<SymbolIx>,
        change: Money,
        after: Money,
        now: Ts,
    ) -> Result<(), BookError> {
        let mut sums = self.balance_sums(change, after, &self.funding)?;
        let (mut transfers, mut unassigned) = (self.transfers.clone(), self.unassigned.clone());
        if self.is_included(change, after) {
            // Reconciliation has set the balance before this report came: only whose it was is learnt now.
            if self.was_taken_for_funding(change) {
                sums.other.take(change)?;
                unassigned.take(change)?;
            } else {
                transfers.take(change)?;
            }
        }
        let mut shares = Vec::new();
        if let Some(symbol) = symbol {
            let holders: Vec<(StrategyIx, NetQuantity)> =
                self.books_of(symbol).map(|(strategy, book)| (strategy, book.position.quantity)).collect();
            let quantities: Vec<NetQuantity> = holders.iter().map(|(_, quantity)| *quantity).collect();
            for ((strategy, _), part) in holders.iter().zip(funding::share(change, &quantities)?.into_iter().flatten())
            {
                let mut purse = self.books.get(&(*strategy, symbol)).map(|b| b.funding.clone()).unwrap_or_default();
                purse.add(part)?;
                shares.push(((*strategy, symbol), purse));
            }
        }
        if shares.is_empty() {
            unassigned.add(change)?;
        }
        (self.wallet, self.funding) = (sums.wallet, sums.other);
        (self.transfers, self.unassigned) = (transfers, unassigned);
        for (key, purse) in shares {
            if let Some(book) = self.books.get_mut(&key) {
                book.funding = purse;
            }
        }
        self.note_booking(now);
        Ok(())
    }

    fn book_transfer(&mut self, change: Money, after: Money, now: Ts) -> Result<(), BookError> {
        if self.is_included(change, after) {
            if self.was_taken_for_funding(change) {
                let (mut funding, mut unassigned) = (self.funding.clone(), self.unassigned.clone());
                let mut transfers = self.transfers.clone();
                funding.take(change)?;
                unassigned.take(change)?;
                transfers.add(change)?;
                (self.funding, self.unassigned, self.transfers) = (funding, unassigned, transfers);
            }
            return Ok(());
        }
        let sums = self.balance_sums(change, after, &self.transfers)?;
        (self.wallet, self.transfers) = (sums.wallet, sums.other);
        self.note_booking(now);
        Ok(())
    }

    /// The wallet and another sum after a change, neither stored yet.
    fn balance_sums(&self, change: Money, after: Money, other: &Purse) -> Result<Sums, NumError> {
        let mut sums = Sums { wallet: self.wallet.clone(), other: other.clone() };
        if !self.is_included(change, after) {
            sums.wallet.add(change)?;
        }
        sums.other.add(change)?;
        Ok(sums)
    }

    /// Whether a change that reconciliation made before its report came was booked as a loss; see `State::set_balance`.
    fn was_taken_for_funding(&self, change: Money) -> bool {
        change.mantissa() < 0 && self.unassigned.get(change.asset).mantissa() < 0
    }

    /// Whether our balance is what the venue says it is *after* the change: reconciliation was quicker than the report.
    fn is_included(&self, change: Money, after: Money) -> bool {
        self.adopted && !change.is_zero() && self.wallet.get(after.asset) == after
    }
}
