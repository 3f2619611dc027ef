//! What a ledger remembers, and the sums over it.

use super::DAY;
use crate::event::Equity;
use crate::id::{AccountIx, AssetIx, StrategyIx, SymbolIx};
use crate::instrument::{Instrument, Universe};
use crate::node::Context;
use crate::num::{Money, NetQuantity, NumError, Price};
use crate::order::PositionSide;
use crate::position::{Position, Purse};
use crate::time::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Why something could not be booked or valued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// A number does not fit, or assets were mixed.
    #[error(transparent)]
    Number(#[from] NumError),
    /// The symbol was never defined.
    #[error("symbol {0:?} is not defined")]
    UnknownSymbol(SymbolIx),
    /// The venue holds a position but names no entry price, and neither is there one here.
    #[error("symbol {0:?}: the venue's position has no entry price")]
    NoEntryPrice(SymbolIx),
}

/// A strategy's own ledger of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    pub position: Position,
    pub fees: Purse,
    pub funding: Purse,
}

impl Book {
    pub fn new(quote: AssetIx) -> Book {
        Book { position: Position::flat(quote), fees: Purse::default(), funding: Purse::default() }
    }
}

/// Where the running day began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Day {
    /// 00:00 UTC.
    pub start: Ts,
    /// Realised profit, less fees, plus funding, in the margin asset, as it was then.
    pub earned: Money,
    /// Unrealised profit as it was then, as far as mark prices were known, and of what reconciliation added since.
    pub unrealized: Money,
    /// Quantity and cost that count in full as of the first mark price of their symbol: it was not known then.
    pub unpriced: BTreeMap<SymbolIx, (NetQuantity, Money)>,
}

/// The state of a ledger. At all times, per asset: wallet = realised − fees + funding + transfers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub wallet: Purse,
    pub realized: Purse,
    pub fees: Purse,
    pub funding: Purse,
    pub transfers: Purse,
    /// Funding that is not known to belong to one symbol; it counts as the reserved strategy's.
    pub unassigned: Purse,
    pub positions: BTreeMap<(SymbolIx, PositionSide), Position>,
    pub books: BTreeMap<(StrategyIx, SymbolIx), Book>,
    /// Fees of other assets as valued in the margin asset, by margin asset; not part of `fees` nor of the wallet.
    pub valued: Purse,
    /// Fees that wait for a price to be valued with, by their own asset.
    pub waiting: Purse,
    /// Newest mark prices.
    pub marks: BTreeMap<SymbolIx, Price>,
    /// The exchange's newest word on positions.
    pub told: BTreeMap<(SymbolIx, PositionSide), NetQuantity>,
    /// When a symbol's position last changed.
    pub touched: BTreeMap<SymbolIx, Ts>,
    /// When a balance last changed.
    pub wallet_touched: Option<Ts>,
    pub day: Option<Day>,
    /// Bookings so far.
    pub booked: u64,
    /// Symbols whose position was set to the venue's and not found equal since: a fill may be in it already.
    pub repaired: BTreeSet<SymbolIx>,
    /// Whether the account was ever found equal to the venue, or made so.
    pub adopted: bool,
    /// Whether the last valuation failed.
    pub failing: bool,
}

pub(super) fn instrument(universe: &Universe, symbol: SymbolIx) -> Result<&Instrument, BookError> {
    universe.instrument(symbol).ok_or(BookError::UnknownSymbol(symbol))
}

impl State {
    /// Signed quantity of a symbol over both sides of hedge mode.
    pub fn quantity(&self, symbol: SymbolIx) -> Result<NetQuantity, NumError> {
        let mut sum = NetQuantity::ZERO;
        for (_, position) in self.sides(symbol) {
            sum = sum.checked_add(position.quantity).ok_or(NumError::Overflow)?;
        }
        Ok(sum)
    }

    /// The account's positions in a symbol.
    pub fn sides(&self, symbol: SymbolIx) -> impl Iterator<Item = (PositionSide, &Position)> {
        let range = (symbol, PositionSide::Both)..=(symbol, PositionSide::Short);
        self.positions.range(range).map(|(&(_, side), position)| (side, position))
    }

    /// The strategies' books of a symbol, by strategy.
    pub fn books_of(&self, symbol: SymbolIx) -> impl Iterator<Item = (StrategyIx, &Book)> {
        self.books.iter().filter(move |((_, s), _)| *s == symbol).map(|(&(strategy, _), book)| (strategy, book))
    }

    pub fn unconfirmed(&self) -> usize {
        let ours = |key| self.positions.get(key).map_or(NetQuantity::ZERO, |p| p.quantity);
        self.told.iter().filter(|(key, told)| ours(key) != **told).count()
    }

    /// Realised profit, less fees (those of other assets as they were valued in this one), plus funding, of one asset.
    pub fn earned(&self, asset: AssetIx) -> Result<Money, NumError> {
        let fees = self.fees.get(asset).checked_add(self.valued.get(asset))?;
        self.realized.get(asset).checked_sub(fees)?.checked_add(self.funding.get(asset))
    }

    /// Unrealised profit and exposure of all positions whose quote asset is `asset`. Without a mark price the cost counts.
    pub fn valuation(&self, asset: AssetIx, universe: &Universe) -> Result<(Money, Money), BookError> {
        let (mut unrealized, mut exposure) = (Money::zero(asset), Money::zero(asset));
        for (&(symbol, _), position) in self.positions.iter().filter(|(_, p)| !p.is_flat() && p.cost.asset == asset) {
            let value = match self.marks.get(&symbol) {
                Some(&mark) => position.value(instrument(universe, symbol)?, mark)?,
                None => position.cost,
            };
            unrealized = unrealized.checked_add(value)?.checked_sub(position.cost)?;
            exposure = exposure.checked_add(value.abs())?;
        }
        Ok((unrealized, exposure))
    }

    pub fn equity(&self, account: AccountIx, asset: AssetIx, universe: &Universe) -> Result<Equity, BookError> {
        let (unrealized, exposure) = self.valuation(asset, universe)?;
        let mut day_profit = self.earned(asset)?.checked_add(unrealized)?;
        if let Some(day) = &self.day {
            day_profit = day_profit.checked_sub(day.earned)?.checked_sub(day.unrealized)?;
        }
        Ok(Equity { account, wallet: self.wallet.get(asset), unrealized, day_profit, exposure })
    }

    /// Begins a new day when the time has come, or when the margin asset changed.
    pub fn roll(&mut self, asset: AssetIx, context: &Context<'_>) {
        let start = context.now.floor(DAY);
        if self.day.as_ref().is_some_and(|day| day.start >= start && day.earned.asset == asset) {
            return;
        }
        // What cannot be added up counts as zero here: the valuation that follows fails too, and alerts.
        let earned = self.earned(asset).unwrap_or(Money::zero(asset));
        let unrealized = self.valuation(asset, context.universe).map_or(Money::zero(asset), |(sum, _)| sum);
        let mut day = Day { start, earned, unrealized, unpriced: BTreeMap::new() };
        for (&(symbol, _), position) in &self.positions {
            if position.cost.asset == asset && !self.marks.contains_key(&symbol) {
                let _ = day.unpriced(symbol, position.quantity, position.cost);
            }
        }
        self.day = Some(day);
    }

    /// Takes a mark price. Says whether equity changed by it.
    pub fn mark(
        &mut self,
        asset: AssetIx,
        symbol: SymbolIx,
        price: Price,
        universe: &Universe,
    ) -> Result<bool, BookError> {
        if self.marks.insert(symbol, price) == Some(price) {
            return Ok(false);
        }
        if let Some(day) = &mut self.day
            && let Some((quantity, cost)) = day.unpriced.remove(&symbol)
        {
            let worth = instrument(universe, symbol)?.signed_notional(price, quantity)?;
            day.unrealized = day.unrealized.checked_add(worth)?.checked_sub(cost)?;
        }
        let open = self.sides(symbol).any(|(_, p)| !p.is_flat() && p.cost.asset == asset);
        Ok(open)
    }

    /// Keeps a change of a position that no fill explains out of the day's profit.
    pub fn rebase(
        &mut self,
        symbol: SymbolIx,
        quantity: NetQuantity,
        cost: Money,
        instrument: &Instrument,
    ) -> Result<(), NumError> {
        let Some(day) = self.day.as_mut().filter(|day| day.unrealized.asset == cost.asset) else { return Ok(()) };
        match self.marks.get(&symbol) {
            Some(&mark) => {
                let worth = instrument.signed_notional(mark, quantity)?;
                day.unrealized = day.unrealized.checked_add(worth)?.checked_sub(cost)?;
                Ok(())
            }
            None => day.unpriced(symbol, quantity, cost),
        }
    }
}

impl Day {
    fn unpriced(&mut self, symbol: SymbolIx, quantity: NetQuantity, cost: Money) -> Result<(), NumError> {
        let entry = self.unpriced.entry(symbol).or_insert((NetQuantity::ZERO, Money::zero(cost.asset)));
        let sum = entry.0.checked_add(quantity).ok_or(NumError::Overflow)?;
        *entry = (sum, entry.1.checked_add(cost)?);
        Ok(())
    }
}
