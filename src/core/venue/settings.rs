//! Questions and account settings.

use super::request::{OrderRef, RequestKind};
use super::rules::error;
use super::{Out, Venue};
use crate::command::{
    AccountSettings, Answer, MarginType, Query, Report, SymbolSettings, TradeCursor, VenueBalance, VenueError,
};
use crate::id::{AccountIx, SymbolIx};
use crate::order::{ExecutionType, PositionMode, TradeRecord};

/// Trades of one page.
pub const TRADES_PAGE: usize = 1000;

impl Venue {
    /// Answers a question.
    pub(super) fn answer(&self, account: AccountIx, query: &Query) -> Result<Answer, VenueError> {
        let holder = self.account(account)?;
        let report = |o: &super::orders::Order| o.report(ExecutionType::Status, None);
        Ok(match query {
            &Query::Order { symbol, key, conditional } => self.find(account, symbol, OrderRef::Key(key), conditional),
            Query::OpenOrders => Answer::OpenOrders(self.orders.open_of(account, None).map(report).collect()),
            Query::OpenConditionals => {
                Answer::OpenConditionals(self.conditionals.open_of(account).map(|o| o.report()).collect())
            }
            &Query::Trades { symbol, from } => {
                let all = holder.trades.get(&symbol);
                let wanted = |t: &&TradeRecord| match from {
                    TradeCursor::Id(id) => t.fill.trade_id >= id,
                    TradeCursor::Time(time) => t.fill.exchange_time >= time,
                };
                // Trades are in the order of their ids and times.
                let first = all.map_or(0, |trades| trades.partition_point(|t| !wanted(&t)));
                let rest = all.into_iter().flat_map(|trades| trades.range(first..));
                let trades: Vec<TradeRecord> = rest.take(TRADES_PAGE + 1).cloned().collect();
                let complete = trades.len() <= TRADES_PAGE;
                Answer::Trades { symbol, trades: trades.into_iter().take(TRADES_PAGE).collect(), complete }
            }
            Query::Positions => {
                let held = holder.holdings.iter().filter(|(_, h)| h.quantity != 0);
                let position = |(&s, h): (&SymbolIx, &super::account::Holding)| {
                    self.universe.instrument(s).map(|instrument| h.position(instrument))
                };
                Answer::Positions(held.filter_map(position).collect())
            }
            Query::Balances => {
                let wallets = holder.wallets.keys().map(|&asset| VenueBalance { wallet: holder.wallet(asset) });
                Answer::Balances(wallets.filter(|b| !b.wallet.is_zero()).collect())
            }
            Query::Settings => Answer::Settings(self.settings(account)?),
        })
    }

    /// An order by either id, open or not.
    pub(super) fn find(&self, account: AccountIx, symbol: SymbolIx, order: OrderRef, conditional: bool) -> Answer {
        if conditional {
            let found = self.conditionals.find(account, symbol, order);
            found.map_or(Answer::NoSuchOrder, |o| Answer::Conditional(Box::new(o.report())))
        } else {
            let found = self.orders.find(account, symbol, order);
            found.map_or(Answer::NoSuchOrder, |o| Answer::Order(Box::new(o.report(ExecutionType::Status, None))))
        }
    }

    fn settings(&self, account: AccountIx) -> Result<AccountSettings, VenueError> {
        let holder = self.account(account)?;
        let symbols = self.universe.instruments().iter().map(|i| SymbolSettings {
            symbol: i.symbol,
            margin_type: match holder.isolated.contains(&i.symbol) {
                true => MarginType::Isolated,
                false => MarginType::Cross,
            },
            leverage: holder.leverage_of(i.symbol),
        });
        Ok(AccountSettings {
            position_mode: holder.mode,
            multi_assets: holder.multi_assets,
            symbols: symbols.collect(),
        })
    }

    /// Changes a setting.
    pub(super) fn set(&mut self, account: AccountIx, kind: &RequestKind, out: Out<'_>) -> Result<(), VenueError> {
        match *kind {
            RequestKind::SetLeverage { symbol, leverage } => self.set_leverage(account, symbol, leverage, out),
            RequestKind::SetMarginType { symbol, margin_type } => self.set_margin_type(account, symbol, margin_type),
            RequestKind::SetPositionMode(mode) => self.set_position_mode(account, mode),
            RequestKind::SetMultiAssets(multi_assets) => {
                self.account(account)?;
                if let Some(holder) = self.accounts.get_mut(&account) {
                    holder.multi_assets = multi_assets;
                }
                self.report(account, Report::MultiAssets { account, multi_assets }, out);
                Ok(())
            }
            _ => Err(error(-1020)),
        }
    }

    fn set_leverage(
        &mut self,
        account: AccountIx,
        symbol: SymbolIx,
        leverage: u16,
        out: Out<'_>,
    ) -> Result<(), VenueError> {
        let instrument = self.instrument(symbol)?;
        let most = instrument.brackets.iter().map(|b| b.max_leverage).max().unwrap_or(125);
        if !(1..=most).contains(&leverage) {
            return Err(error(-4028));
        }
        let holder = self.account(account)?;
        let mut changed = holder.clone_without_trades();
        changed.leverages.insert(symbol, leverage);
        let holding = holder.holdings.get(&symbol).cloned().unwrap_or_default();
        let worst = holding.worst_notional(instrument, self.symbol(symbol)?.reference());
        let allowed = instrument.brackets.iter().filter(|b| b.max_leverage >= leverage);
        let cap = allowed.map(|b| b.notional_cap.mantissa()).max().unwrap_or(i128::MAX);
        if worst > cap {
            return Err(error(-2027));
        }
        let before = self.margin_use(holder, instrument.margin, None);
        let after = self.margin_use(&changed, instrument.margin, None);
        if after.initial > before.initial && after.available() < 0 {
            return Err(error(-2028));
        }
        if let Some(holder) = self.accounts.get_mut(&account) {
            holder.leverages.insert(symbol, leverage);
        }
        self.report(account, Report::Leverage { account, symbol, leverage }, out);
        Ok(())
    }

    fn set_margin_type(&mut self, account: AccountIx, symbol: SymbolIx, to: MarginType) -> Result<(), VenueError> {
        self.instrument(symbol)?;
        let holder = self.account(account)?;
        let isolate = to == MarginType::Isolated;
        if holder.isolated.contains(&symbol) == isolate {
            return Err(error(-4046));
        }
        let waits = self.conditionals.open_of(account).any(|o| o.symbol == symbol);
        if waits || self.orders.open_of(account, Some(symbol)).next().is_some() {
            return Err(error(-4047));
        }
        if holder.position(symbol) != 0 {
            return Err(error(-4048));
        }
        if let Some(holder) = self.accounts.get_mut(&account) {
            if isolate {
                holder.isolated.insert(symbol);
            } else {
                holder.isolated.remove(&symbol);
            }
        }
        Ok(())
    }

    fn set_position_mode(&mut self, account: AccountIx, mode: PositionMode) -> Result<(), VenueError> {
        let holder = self.account(account)?;
        if holder.mode == mode {
            return Err(error(-4059));
        }
        let waits = self.conditionals.open_of(account).next().is_some();
        if waits || self.orders.open_of(account, None).next().is_some() {
            return Err(error(-4067));
        }
        if holder.holdings.values().any(|h| h.quantity != 0) {
            return Err(error(-4068));
        }
        if let Some(holder) = self.accounts.get_mut(&account) {
            holder.mode = mode;
        }
        Ok(())
    }
}
