//! The ledger as people and programs see it.

use super::Ledger;
use super::state::instrument;
use crate::command::MarginType;
use crate::config::EngineConfig;
use crate::event::Equity;
use crate::id::{AccountIx, AssetIx, StrategyIx, SymbolIx};
use crate::instrument::{Instrument, Universe};
use crate::num::{Money, Price, Rate};
use crate::order::{PositionMode, PositionSide};
use crate::position::margin::{Backing, initial_margin, liquidation_price, maintenance_margin, margin_ratio};
use crate::position::{Position, Purse};
use crate::time::Ts;
use serde::Serialize;

/// A ledger at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerView {
    /// The account.
    pub account: AccountIx,
    /// What the account is worth; `None` when it cannot be computed (alerted).
    pub equity: Option<Equity>,
    /// Maintenance margin of all positions; `None` when brackets are missing or it cannot be computed.
    pub maintenance_margin: Option<Money>,
    /// Maintenance margin over wallet plus unrealised profit; at 1 the exchange liquidates.
    pub margin_ratio: Option<Rate>,
    /// What fees of other assets came to in the margin asset, at the prices of when they were booked: part of the day's profit.
    pub fees_valued: Money,
    /// Sums by asset.
    pub balances: Vec<BalanceView>,
    /// The account's positions, flat ones with a past included.
    pub positions: Vec<PositionView>,
    /// The strategies' own positions, flat ones with a past included.
    pub strategies: Vec<StrategyView>,
    /// Positions in which the exchange's newest account report differs.
    pub unconfirmed: usize,
    /// Start of the running day; `None` before the first input.
    pub day_start: Option<Ts>,
    /// Whether the account was ever found equal to the venue, or made so.
    pub adopted: bool,
}

/// The sums of one asset: wallet = realised − fees + funding + transfers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BalanceView {
    /// The asset.
    pub asset: AssetIx,
    /// Wallet balance.
    pub wallet: Money,
    /// The exchange's realised profit, before fees.
    pub realized: Money,
    /// Fees, positive when paid.
    pub fees: Money,
    /// The part of `fees` that is missing in the day's profit because no price of this asset is known; zero in the margin asset.
    pub fees_unvalued: Money,
    /// Funding, positive when received.
    pub funding: Money,
    /// Funding of which no symbol is known; a part of `funding` that belongs to the reserved strategy.
    pub funding_unassigned: Money,
    /// Deposits, withdrawals, adjustments and repairs.
    pub transfers: Money,
}

/// A position of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PositionView {
    /// The symbol.
    pub symbol: SymbolIx,
    /// Which position.
    pub side: PositionSide,
    /// Quantity, cost and our own realised profit.
    pub position: Position,
    /// Average entry price, rounded to the price scale.
    pub entry_price: Option<Price>,
    /// Newest mark price.
    pub mark_price: Option<Price>,
    /// Profit at the mark price.
    pub unrealized: Option<Money>,
    /// Initial margin at the mark price and the configured leverage.
    pub initial_margin: Option<Money>,
    /// Maintenance margin at the mark price.
    pub maintenance_margin: Option<Money>,
    /// Where it would be liquidated if nothing else moved; only for cross margin in one-way mode.
    pub liquidation_price: Option<Price>,
}

/// A strategy's own position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StrategyView {
    /// The strategy.
    pub strategy: StrategyIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// Quantity, cost and realised profit by average cost, before fees and funding.
    pub position: Position,
    /// Average entry price, rounded to the price scale.
    pub entry_price: Option<Price>,
    /// Profit at the mark price.
    pub unrealized: Option<Money>,
    /// Fees by asset, positive when paid.
    pub fees: Purse,
    /// Funding by asset, positive when received.
    pub funding: Purse,
}

impl Ledger {
    /// The ledger at this moment.
    pub fn view(&self, universe: &Universe, config: &EngineConfig) -> LedgerView {
        let equity = self.equity(universe).ok();
        let maintenance_margin = self.maintenance(universe);
        let balance = equity.and_then(|e| e.wallet.checked_add(e.unrealized).ok());
        let ratio = maintenance_margin.zip(balance).and_then(|(m, b)| margin_ratio(m, b).ok().flatten());
        let positions = self.state.positions.iter();
        LedgerView {
            account: self.account,
            equity,
            maintenance_margin,
            margin_ratio: ratio,
            fees_valued: self.fees_valued(),
            balances: self.balance_views(),
            positions: positions.map(|(&key, p)| self.position_view(key, p, equity, universe, config)).collect(),
            strategies: self.strategy_views(universe),
            unconfirmed: self.unconfirmed(),
            day_start: self.state.day.as_ref().map(|day| day.start),
            adopted: self.state.adopted,
        }
    }

    fn balance_views(&self) -> Vec<BalanceView> {
        let state = &self.state;
        let view = |wallet: Money| BalanceView {
            asset: wallet.asset,
            wallet,
            realized: state.realized.get(wallet.asset),
            fees: state.fees.get(wallet.asset),
            fees_unvalued: state.waiting.get(wallet.asset),
            funding: state.funding.get(wallet.asset),
            funding_unassigned: state.unassigned.get(wallet.asset),
            transfers: state.transfers.get(wallet.asset),
        };
        state.wallet.iter().map(view).collect()
    }

    fn strategy_views(&self, universe: &Universe) -> Vec<StrategyView> {
        let view = |(&(strategy, symbol), book): (&(StrategyIx, SymbolIx), &super::state::Book)| {
            let (instrument, mark) = (universe.instrument(symbol), self.state.marks.get(&symbol));
            StrategyView {
                strategy,
                symbol,
                position: book.position,
                entry_price: instrument.and_then(|i| book.position.entry_price(i)),
                unrealized: instrument.zip(mark).and_then(|(i, mark)| book.position.unrealized(i, *mark).ok()),
                fees: book.fees.clone(),
                funding: book.funding.clone(),
            }
        };
        self.state.books.iter().map(view).collect()
    }

    /// A position's value: at the mark price, else its cost.
    fn value(&self, symbol: SymbolIx, position: &Position, instrument: &Instrument) -> Option<Money> {
        match self.state.marks.get(&symbol) {
            Some(&mark) => position.value(instrument, mark).ok(),
            None => Some(position.cost),
        }
    }

    /// Maintenance margin of all positions in the margin asset.
    fn maintenance(&self, universe: &Universe) -> Option<Money> {
        let mut sum = Money::zero(self.margin);
        for (&(symbol, _), position) in &self.state.positions {
            if !position.is_flat() && position.cost.asset == self.margin {
                let instrument = instrument(universe, symbol).ok()?;
                let value = self.value(symbol, position, instrument)?;
                sum = sum.checked_add(maintenance_margin(instrument, value).ok()?).ok()?;
            }
        }
        Some(sum)
    }

    fn position_view(
        &self,
        (symbol, side): (SymbolIx, PositionSide),
        position: &Position,
        equity: Option<Equity>,
        universe: &Universe,
        config: &EngineConfig,
    ) -> PositionView {
        let instrument = universe.instrument(symbol);
        let mark_price = self.state.marks.get(&symbol).copied();
        let value = instrument.and_then(|i| self.value(symbol, position, i));
        let account = config.account(self.account);
        let cross = |a: &&crate::config::AccountConfig| {
            a.margin_type == MarginType::Cross && a.position_mode == PositionMode::OneWay
        };
        PositionView {
            symbol,
            side,
            position: *position,
            entry_price: instrument.and_then(|i| position.entry_price(i)),
            mark_price,
            unrealized: instrument.zip(mark_price).and_then(|(i, mark)| position.unrealized(i, mark).ok()),
            initial_margin: value.zip(account).and_then(|(value, a)| initial_margin(value, a.leverage).ok()),
            maintenance_margin: instrument.zip(value).and_then(|(i, value)| maintenance_margin(i, value).ok()),
            liquidation_price: account
                .filter(cross)
                .and_then(|_| self.liquidation(position, value?, instrument?, equity?, universe)),
        }
    }

    fn liquidation(
        &self,
        position: &Position,
        value: Money,
        instrument: &Instrument,
        equity: Equity,
        universe: &Universe,
    ) -> Option<Price> {
        let own = value.checked_sub(position.cost).ok()?;
        let margin = maintenance_margin(instrument, value).ok()?;
        let backing = Backing {
            wallet: equity.wallet,
            other_maintenance: self.maintenance(universe)?.checked_sub(margin).ok()?,
            other_unrealized: equity.unrealized.checked_sub(own).ok()?,
        };
        liquidation_price(instrument, position.quantity, position.cost, backing).ok().flatten()
    }
}
