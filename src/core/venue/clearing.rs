//! What the exchange does to accounts by itself: funding and liquidation; and transfers.
//!
//! Funding is paid at the time that the mark-price stream announced, with the rate and mark price known by then.
//! Liquidation happens when the margin balance of an asset falls below its maintenance margin, looked at with every mark price
//! (without a mark-price feed: with every candle). The model is plain: all orders of the account expire (reason 5), conditional ones are cancelled, each position
//! in that asset is closed in full at the reference price by an order named `autoclose-…` with a CALCULATED fill at the taker's
//! fee, and what is missing is paid by the insurance fund (ACCOUNT_UPDATE for another reason). The real exchange reduces step by
//! step and charges the liquidation fee. Margin calls are not sent. Without leverage brackets there is no maintenance margin:
//! liquidation then begins below zero.

use super::account::{Account, funding_payment, quantity};
use super::latency::Due;
use super::market::NextFunding;
use super::orders::expiry;
use super::request::PlaceOrder;
use super::{Out, Venue};
use crate::command::{AccountReason, AccountReport, Report, VenueBalance, VenueError};
use crate::id::{AccountIx, AssetIx, SymbolIx};
use crate::market::Mark;
use crate::num::{Money, Side};
use crate::order::{ExecutionType, OrderStatus, PositionSide, Terms};

impl Venue {
    /// Remembers the announced funding and schedules it.
    pub(super) fn note_funding(&mut self, symbol: SymbolIx, mark: &Mark) {
        let clock = self.clock;
        let Some(market) = self.symbols.get_mut(symbol.ix()) else { return };
        let at = mark.next_funding;
        if at <= market.funded || at < clock {
            return;
        }
        let known = market.funding.is_some_and(|f| f.at == at);
        market.funding = Some(NextFunding { at, rate: mark.funding_rate });
        if !known {
            self.schedule(at, Due::Funding(symbol));
        }
    }

    /// Pays funding, if what is due is still what was announced.
    pub(super) fn pay_funding(&mut self, symbol: SymbolIx, out: Out<'_>) {
        let clock = self.clock;
        let Some(market) = self.symbols.get_mut(symbol.ix()) else { return };
        let Some(funding) = market.funding.filter(|f| f.at <= clock) else { return };
        (market.funding, market.funded) = (None, funding.at);
        let mark = market.reference();
        let holders: Vec<AccountIx> = market.holders.iter().copied().collect();
        for account in holders {
            let Some(instrument) = self.universe.instrument(symbol) else { return };
            let asset = instrument.margin;
            let Some(holder) = self.accounts.get_mut(&account) else { continue };
            let payment = funding_payment(instrument, holder.position(symbol), mark, funding.rate);
            holder.credit(asset, payment);
            let change = |asset| Money::new(asset, payment);
            self.report_account(account, symbol, AccountReason::Funding, change, out);
        }
    }

    /// Moves money into (or, negative, out of) a wallet.
    pub(super) fn move_money(&mut self, account: AccountIx, amount: Money, reason: AccountReason, out: Out<'_>) {
        let Some(holder) = self.accounts.get_mut(&account) else { return };
        holder.credit(amount.asset, amount.mantissa());
        let balance = VenueBalance { wallet: holder.wallet(amount.asset) };
        let exchange_time = self.clock;
        let balances = vec![(balance, amount)];
        let report = AccountReport { account, reason, balances, positions: Vec::new(), exchange_time };
        self.report(account, Report::Account(Box::new(report)), out);
    }

    /// Liquidates every holder of a symbol whose margin no longer carries its positions.
    pub(super) fn check_liquidations(&mut self, symbol: SymbolIx, out: Out<'_>) {
        let Some(market) = self.symbols.get(symbol.ix()) else { return };
        if market.holders.is_empty() {
            return;
        }
        let Some(asset) = self.universe.instrument(symbol).map(|i| i.margin) else { return };
        let broken = |account: &&AccountIx| {
            let margin = self.accounts.get(account).map(|holder| self.margin_use(holder, asset, None));
            margin.is_some_and(|m| m.wallet.saturating_add(m.unrealized) < m.maintenance)
        };
        let accounts: Vec<AccountIx> = market.holders.iter().filter(broken).copied().collect();
        accounts.into_iter().for_each(|account| self.liquidate(account, asset, out));
    }

    fn liquidate(&mut self, account: AccountIx, asset: AssetIx, out: Out<'_>) {
        self.cancel_all(account, None, OrderStatus::Expired, expiry::LIQUIDATION, out);
        self.cancel_all_conditionals(account, None, out);
        let Some(holder) = self.accounts.get(&account) else { return };
        let held: Vec<(SymbolIx, i64)> = holder.holdings.iter().map(|(&s, h)| (s, h.quantity)).collect();
        for (symbol, net) in held {
            let margin = self.universe.instrument(symbol).map(|i| i.margin);
            let Some(price) = self.symbols.get(symbol.ix()).map(|m| m.reference()) else { continue };
            if net == 0 || margin != Some(asset) {
                continue;
            }
            let close = PlaceOrder {
                key: self.autoclose_key(),
                symbol,
                side: if net > 0 { Side::Sell } else { Side::Buy },
                quantity: quantity(net.saturating_abs()),
                terms: Terms::Market,
                reduce_only: true,
                position_side: PositionSide::Both,
            };
            let id = self.insert_order(account, &close, net.saturating_abs(), None);
            self.report_order(id, ExecutionType::New, None, out);
            self.fill_forced(id, price, net.saturating_abs(), out);
        }
        let missing = self.accounts.get(&account).map_or(0, |a| a.wallet(asset).mantissa()).min(0);
        if missing < 0 {
            self.move_money(account, Money::new(asset, -missing), AccountReason::Other, out);
        }
    }

    pub(super) fn account(&self, account: AccountIx) -> Result<&Account, VenueError> {
        self.accounts.get(&account).ok_or_else(|| super::rules::error(-2015))
    }
}
