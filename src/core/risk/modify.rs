//! The gate's checks of a modification: the release of the old order and the hold of the new one, in one step.
#![deny(clippy::float_arithmetic)]

use super::exposure::Prices;
use super::filters;
use super::gate::{Gate, Refusal};
use super::holds::Hold;
use super::place::{band, order_notional, tradable};
use super::reduce::{self, Wish};
use super::refusal::PriceRole;
use crate::config::AccountConfig;
use crate::id::{ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use crate::instrument::Instrument;
use crate::node::Context;
use crate::num::{Price, Quantity};

/// A modification that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub strategy: StrategyIx,
    pub symbol: SymbolIx,
    pub id: ClientOrderId,
    pub price: Price,
    pub quantity: Quantity,
}

impl Gate {
    /// Checks a modification. One that only lowers the quantity of an order passes like a reduction.
    pub(super) fn check_modify(&self, change: &Change, context: &Context<'_>) -> Result<(), Refusal> {
        let settings = self.settings(context)?;
        let old = self.modifiable(change)?;
        let instrument = tradable(change.symbol, context)?;
        let prices = Prices::of(context, self.account, change.symbol);
        filters::price(change.price, PriceRole::Limit, instrument)?;
        filters::lot(change.quantity, instrument, false)?;
        filters::percent_price(old.side, change.price, instrument, &prices)?;
        if !old.enforced {
            filters::min_notional(change.price, change.quantity, instrument)?;
        }
        let wish = Wish {
            account: self.account,
            strategy: old.strategy,
            side: old.side,
            open: change.quantity.saturating_sub(old.booked),
            replaces: old.open(),
            conditional: false,
            emergency: false,
            instrument,
            config: context.config,
        };
        let raises = change.price != old.price || change.quantity > old.quantity;
        if old.reduces {
            reduce::check_reduce_only(&self.state.holds, &wish)?;
            if !old.enforced && raises {
                let new = old.modified(change.price, change.quantity);
                self.check_uncovered(&wish, Some(&old), &new, settings, context)?;
            }
        } else if raises {
            self.check_changed_risk(change, &old, &wish, settings, context)?;
        }
        self.check_rate(settings, context)
    }

    fn check_changed_risk(
        &self,
        change: &Change,
        old: &Hold,
        wish: &Wish<'_>,
        settings: &AccountConfig,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        let instrument: &Instrument = wish.instrument;
        self.check_new_risk(old.strategy, change.symbol, settings, context)?;
        reduce::check_plain(&self.state.holds, wish)?;
        let prices = Prices::of(context, self.account, change.symbol);
        let reference = prices.fresh.ok_or(Refusal::NoReferencePrice(change.symbol))?;
        band(change.price, reference, instrument, settings)?;
        let new = old.modified(change.price, change.quantity);
        order_notional(change.price.max(reference), change.quantity, instrument, settings)?;
        self.check_amounts(Some(old), &new, instrument, settings, context)
    }

    /// The hold of an order that the exchange would modify: a working limit order, to more than what is filled.
    fn modifiable(&self, change: &Change) -> Result<Hold, Refusal> {
        let key = OrderKey::Ours(change.id);
        let refuse = |reason: &'static str| Err(Refusal::NotModifiable { key, reason: reason.into() });
        let hold = match self.state.holds.get(key) {
            Some(hold) if hold.strategy == change.strategy && hold.symbol == change.symbol => *hold,
            _ => return Err(Refusal::UnknownOrder(key)),
        };
        if hold.over.is_some() {
            return Err(Refusal::UnknownOrder(key));
        }
        if !hold.limit {
            return refuse("only limit orders can be");
        }
        if change.price.mantissa() <= 0 || change.quantity.is_zero() {
            return Err(Refusal::InvalidShape("price and quantity must be above zero".into()));
        }
        if change.quantity <= hold.booked.max(hold.filled) {
            return refuse("the quantity is not above what is filled: the exchange would cancel it");
        }
        Ok(hold)
    }
}
