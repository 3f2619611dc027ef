//! What positions and held orders are worth at worst, and the prices that this is judged by.
//!
//! A symbol's exposure is the largest notional value that its position can have once any of its open orders, in any order, has
//! filled: the position grown by all buys, or by all sells, or left as it is. The position counts at the reference price, an order
//! at its held price. Orders that first close the opposite position count only for what is left of them then, at the highest held
//! price of their side, since the cheaper ones may be the ones that close. Orders whose reduction the exchange enforces cannot grow a position: they only free room that other
//! orders of their side may then use to go beyond.
//!
//! This holds while fills of a symbol are booked in the order in which they happened, however late. If a report is lost and
//! later ones arrive, then until the lost fill is found the position can be larger than what is held, by that fill at most.
//!
//! Conditional orders count like working ones: the exchange holds no margin for them before the trigger, but when it comes,
//! nobody asks the gate again.
#![deny(clippy::float_arithmetic)]

use super::holds::{Book, BookSide};
use super::refusal::Refusal;
use crate::id::{AccountIx, SymbolIx};
use crate::instrument::Instrument;
use crate::node::Context;
use crate::num::{Money, Price, Quantity, Rate, Rounding, Side, div_round};
use crate::order::{Conditional, OrderIntent, Terms, WorkingType};
use crate::time::{Span, Ts};

/// Room kept above the quote for a market order where the exchange names no `marketTakeBound`.
const MARKET_MARGIN: Rate = Rate::from_bps(500);

/// What the gate reads of a market. Zero prices of one-sided quotes are left out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prices {
    /// Mark price, else the middle of the quote, else the last trade: what is fresh, else what there is.
    pub reference: Option<Price>,
    /// The same, if it is fresh enough to judge new risk by.
    pub fresh: Option<Price>,
    pub mark: Option<Price>,
    last: Option<Price>,
    bid: Option<Price>,
    ask: Option<Price>,
}

impl Prices {
    /// The prices of a symbol, as an account may take them.
    pub fn of(context: &Context<'_>, account: AccountIx, symbol: SymbolIx) -> Prices {
        let market = context.markets.market(symbol);
        let known = |price: Price| (price.mantissa() > 0).then_some(price);
        let limits = context.config.account(account).map(|account| &account.limits);
        let age = limits.map_or(Span::ZERO, |limits| limits.reference_age_max);
        let since = Ts::from_nanos(context.now.nanos().saturating_sub(age.nanos()));
        let fresh = market.reference_since(since).and_then(known);
        Prices {
            reference: fresh.or_else(|| market.reference_price().and_then(known)),
            fresh,
            mark: market.mark.and_then(|mark| known(mark.mark_price)),
            last: market.last.and_then(|trade| known(trade.price)),
            bid: market.quote.and_then(|quote| known(quote.bid)),
            ask: market.quote.and_then(|quote| known(quote.ask)),
        }
    }

    /// The price that a trigger watches.
    pub fn watched(&self, working_type: WorkingType) -> Option<Price> {
        match working_type {
            WorkingType::MarkPrice => self.mark.or(self.reference),
            WorkingType::ContractPrice => self.last.or(self.reference),
        }
    }

    /// The price per unit at which exposure is held for a new order, rounded up; zero if there is no price at all.
    ///
    /// A limit order counts at its limit price and at the reference price at least, because what fills is then a position at
    /// that price. A market buy counts at the higher of reference and ask plus the exchange's `marketTakeBound` (5 % where there
    /// is none), a market sell, which can only fill lower, at the higher of reference and bid. A conditional order counts
    /// as the order that it becomes, at its trigger price.
    pub fn held(&self, order: &OrderIntent, instrument: &Instrument) -> Option<Price> {
        let margin = instrument.filters.market_take_bound.unwrap_or(MARKET_MARGIN);
        let with_margin = |price: Price| match order.side {
            Side::Buy => times(price, Rate::from_mantissa(Rate::ONE.mantissa().checked_add(margin.mantissa())?)),
            Side::Sell => Some(price),
        };
        let reference = self.reference.unwrap_or(Price::ZERO);
        match order.terms {
            Terms::Limit { price, .. } => Some(price.max(reference)),
            Terms::Market => {
                let quote = if order.side == Side::Buy { self.ask } else { self.bid };
                with_margin(reference.max(quote.unwrap_or(Price::ZERO)))
            }
            Terms::Conditional(Conditional { limit: Some((price, _)), .. }) => Some(price.max(reference)),
            Terms::Conditional(Conditional { trigger_price, .. }) => {
                with_margin(trigger_price).map(|price| price.max(reference))
            }
        }
    }
}

/// A price times a share, rounded up.
pub(super) fn times(price: Price, rate: Rate) -> Option<Price> {
    let product = price.mantissa() as i128 * rate.mantissa() as i128;
    let mantissa = div_round(product, Rate::ONE.mantissa() as i128, Rounding::Up);
    i64::try_from(mantissa).ok().map(Price::from_mantissa)
}

/// The exposure of one symbol. `cost` is what the position cost: it counts where no reference price is known.
pub(super) fn exposure(
    book: &Book,
    instrument: &Instrument,
    reference: Option<Price>,
    cost: Money,
) -> Result<Money, Refusal> {
    // From (price mantissa × quantity mantissa) to money.
    let one = Quantity::from_mantissa(1).unwrap_or_default();
    let factor = instrument.notional(Price::from_mantissa(1), one).map_err(|_| Refusal::Overflow)?.mantissa();
    let money = |product: i128| product.checked_mul(factor).ok_or(Refusal::Overflow);
    let reference = reference.map(|price| price.mantissa() as i128);
    let position = match reference {
        Some(price) => money(book.position.abs().checked_mul(price).ok_or(Refusal::Overflow)?)?,
        None if book.position == 0 => 0,
        None if cost.asset == instrument.quote => cost.abs().mantissa(),
        None => return Err(Refusal::NoReferencePrice(instrument.symbol)),
    };
    let grown = |side: &BookSide, position_of_side: i128| -> Result<i128, Refusal> {
        let value = match (side.unpriced, reference) {
            (0, _) => side.value,
            (quantity, Some(price)) => {
                quantity.checked_mul(price).and_then(|v| v.checked_add(side.value)).ok_or(Refusal::Overflow)?
            }
            (_, None) => return Err(Refusal::NoReferencePrice(instrument.symbol)),
        };
        if position_of_side >= 0 {
            return position.checked_add(money(value)?).ok_or(Refusal::Overflow);
        }
        let freed = if side.closing > 0 { i128::MAX } else { side.enforced };
        let closes = position_of_side.saturating_neg().saturating_sub(freed).max(0);
        let excess = side.quantity.saturating_sub(closes);
        if excess <= 0 {
            return Ok(0);
        }
        let highest = (side.highest.mantissa() as i128).max(if side.unpriced > 0 { reference.unwrap_or(0) } else { 0 });
        money(highest.checked_mul(excess).ok_or(Refusal::Overflow)?.min(value))
    };
    let long = grown(&book.buys, book.position)?;
    let short = grown(&book.sells, book.position.saturating_neg())?;
    Ok(Money::new(instrument.quote, position.max(long).max(short)))
}
