//! The gate's checks of a new order, in the order in which they answer: shape, who, what, filters, then what a reduction needs,
//! what new risk needs (an exit that the account's position does not cover is new risk too), then rates.
#![deny(clippy::float_arithmetic)]

use super::exposure::{Prices, exposure};
use super::gate::{Gate, Series, is_good};
use super::holds::Hold;
use super::reduce::{self, Wish};
use super::refusal::{Decimal, MoneyLimit, Refusal};
use super::{filters, shape};
use crate::config::AccountConfig;
use crate::id::{OrderKey, StrategyIx, SymbolIx};
use crate::instrument::Instrument;
use crate::node::Context;
use crate::num::{Money, NumError, Price, Quantity, Rate, Rounding};
use crate::order::{NewOrder, OrderIntent, Terms, TimeInForce};

impl Gate {
    /// Checks a new order. Returns it as it is to be sent.
    pub(super) fn check_place(&self, order: &OrderIntent, context: &Context<'_>) -> Result<NewOrder, Refusal> {
        let settings = self.settings(context)?;
        shape::check(order, settings.position_mode)?;
        self.check_owner(order.id.strategy, order.symbol, context)?;
        let instrument = tradable(order.symbol, context)?;
        self.check_id(order)?;
        let prices = Prices::of(context, self.account, order.symbol);
        filters::check(order, instrument, &prices)?;
        let held_price = prices.held(order, instrument).ok_or(Refusal::Overflow)?;
        let mut passed = NewOrder { intent: *order, send_reduce_only: false, held_price };
        let wish = self.wish(order, instrument, context);
        if order.reduce_only {
            passed.send_reduce_only = reduce::check_reduce_only(&self.state.holds, &wish)?;
        } else if order.reduces() {
            reduce::check_close(&self.state.holds, &wish)?;
        }
        if passed.adds_risk() {
            filters::check_min_notional(order, instrument, &prices)?;
        }
        if passed.adds_risk() && order.reduces() {
            self.check_uncovered(&wish, None, &Hold::of(&passed, false), settings, context)?;
        } else if passed.adds_risk() {
            self.check_new_risk(order.id.strategy, order.symbol, settings, context)?;
            reduce::check_plain(&self.state.holds, &wish)?;
            let reference = prices.fresh.ok_or(Refusal::NoReferencePrice(order.symbol))?;
            check_band(order, reference, instrument, settings)?;
            order_notional(held_price, order.quantity, instrument, settings)?;
            self.check_amounts(None, &Hold::of(&passed, false), instrument, settings, context)?;
        }
        self.check_open(order, instrument, settings)?;
        // What reduces is bounded by the exchange's limit only: whoever quotes too much must not stand in the way of an exit.
        if !order.reduces() {
            self.check_rate(settings, context)?;
            self.check_runaway(order.id.strategy, settings, context)?;
        }
        Ok(passed)
    }

    fn wish<'a>(&self, order: &OrderIntent, instrument: &'a Instrument, context: &Context<'a>) -> Wish<'a> {
        Wish {
            account: self.account,
            strategy: order.id.strategy,
            side: order.side,
            open: order.quantity,
            replaces: Quantity::ZERO,
            conditional: order.terms.is_conditional(),
            emergency: Series::of(order.id) == Series::Closing,
            instrument,
            config: context.config,
        }
    }

    /// An exit that the exchange does not enforce, to be held as `new` in place of `old`: for the account it is new risk. A
    /// refusal names the part of it that the account's position covers, if there is one: that much would pass.
    pub(super) fn check_uncovered(
        &self,
        wish: &Wish<'_>,
        old: Option<&Hold>,
        new: &Hold,
        settings: &AccountConfig,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        let symbol = wish.instrument.symbol;
        let verdict = (|| {
            if let Some((scope, reason)) = self.state.halts.blocking_exit(self.account, symbol, wish.strategy) {
                return Err(Refusal::Halted { scope, reason });
            }
            self.check_granted(symbol, settings, context)?;
            reduce::check_owed(&self.state.holds, wish)?;
            if Prices::of(context, self.account, symbol).fresh.is_none() {
                return Err(Refusal::NoReferencePrice(symbol));
            }
            self.check_amounts(old, new, wish.instrument, settings, context)
        })();
        verdict.map_err(|refusal| reduce::covered_part(&self.state.holds, wish).unwrap_or(refusal))
    }

    /// A strategy has one account and the symbols that it is configured for. The reserved one may trade all of them.
    pub(super) fn check_owner(
        &self,
        strategy: StrategyIx,
        symbol: SymbolIx,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        if strategy == StrategyIx::EXTERNAL {
            return Ok(());
        }
        match context.config.strategy(strategy) {
            Some(settings) if settings.account == self.account => match settings.symbols.contains(&symbol) {
                true => Ok(()),
                false => Err(Refusal::ForeignSymbol { strategy, symbol }),
            },
            _ => Err(Refusal::UnknownStrategy { strategy, account: self.account }),
        }
    }

    /// The exchange remembers ids of open orders only, so an id that was ever used is refused here: ids of a strategy rise.
    fn check_id(&self, order: &OrderIntent) -> Result<(), Refusal> {
        let newest = self.state.ids.get(&(order.id.strategy, Series::of(order.id))).copied().unwrap_or_default();
        let known = self.state.holds.get(OrderKey::Ours(order.id)).is_some();
        if known || (order.id.epoch, order.id.counter) <= newest {
            return Err(Refusal::DuplicateId(order.id));
        }
        Ok(())
    }

    /// What has to stand before anything adds risk.
    pub(super) fn check_new_risk(
        &self,
        strategy: StrategyIx,
        symbol: SymbolIx,
        settings: &AccountConfig,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        if let Some((scope, reason)) = self.state.halts.blocking(self.account, symbol, strategy) {
            return Err(Refusal::Halted { scope, reason });
        }
        self.check_granted(symbol, settings, context)
    }

    /// Trust, budget and the day's loss.
    fn check_granted(&self, symbol: SymbolIx, settings: &AccountConfig, context: &Context<'_>) -> Result<(), Refusal> {
        let account = self.account;
        if !self.state.trusted {
            return Err(Refusal::Untrusted(account));
        }
        match &self.state.budget {
            None => return Err(Refusal::NoBudget(account)),
            Some(budget) if !is_good(budget, context.now) => {
                return Err(Refusal::BudgetExpired { account, expired: budget.expires });
            }
            Some(budget) if !budget.new_risk => return Err(Refusal::NoBudget(account)),
            Some(_) => {}
        }
        let equity = self.state.equity.as_ref().ok_or(Refusal::NoEquity(account))?;
        let (loss, bound) = (equity.day_profit.negate(), settings.limits.daily_loss_max);
        if !loss.is_zero() && at_least(loss, bound, symbol)? {
            return Err(Refusal::DailyLoss { loss, bound });
        }
        Ok(())
    }

    /// Position, exposure, budget and leverage with `new` held, in place of `old`. What does not raise the symbol's exposure
    /// passes, so that what is over a limit by a move of the price can still be brought down.
    pub(super) fn check_amounts(
        &self,
        old: Option<&Hold>,
        new: &Hold,
        instrument: &Instrument,
        settings: &AccountConfig,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        let symbol = instrument.symbol;
        let book = self.state.holds.book(symbol);
        let reference = Prices::of(context, self.account, symbol).reference;
        let cost = self.cost(symbol, instrument);
        let before = exposure(&book, instrument, reference, cost)?;
        let after = exposure(&book.replaced(old, new), instrument, reference, cost)?;
        if after.mantissa() <= before.mantissa() {
            return Ok(());
        }
        let limits = &settings.limits;
        let check = |limit, value, bound| match exceeds(value, bound, symbol)? {
            true => Err(Refusal::TooLarge { limit, value, bound }),
            false => Ok(()),
        };
        check(MoneyLimit::Position, after, limits.position_notional_max)?;
        let mut total = after;
        for other in self.state.holds.symbols().filter(|other| *other != symbol) {
            total = sum(total, self.symbol_exposure(other, context)?, other)?;
        }
        check(MoneyLimit::Exposure, total, limits.exposure_max)?;
        if let Some(budget) = &self.state.budget {
            check(MoneyLimit::Budget, total, budget.exposure_max)?;
        }
        let equity = self.state.equity.as_ref().ok_or(Refusal::NoEquity(self.account))?;
        let equity = sum(equity.wallet, equity.unrealized, symbol)?;
        let bound = limits.leverage_max;
        let affordable = if equity.is_negative() { Money::zero(equity.asset) } else { leveraged(equity, bound)? };
        if exceeds(total, affordable, symbol)? {
            return Err(Refusal::Leverage { exposure: total, equity, bound });
        }
        Ok(())
    }

    /// The exposure of one symbol.
    pub(super) fn symbol_exposure(&self, symbol: SymbolIx, context: &Context<'_>) -> Result<Money, Refusal> {
        let instrument = context.universe.instrument(symbol).ok_or(Refusal::UnknownSymbol(symbol))?;
        let reference = Prices::of(context, self.account, symbol).reference;
        exposure(&self.state.holds.book(symbol), instrument, reference, self.cost(symbol, instrument))
    }

    /// What the positions in a symbol cost, by the ledger: their value where no price is known.
    fn cost(&self, symbol: SymbolIx, instrument: &Instrument) -> Money {
        let range = (symbol, StrategyIx(0))..=(symbol, StrategyIx(u16::MAX));
        let costs = self.state.told.range(range).map(|(_, (_, cost))| cost.mantissa().saturating_abs());
        Money::new(instrument.quote, costs.fold(0, i128::saturating_add))
    }

    /// Open orders: the exchange's bounds hold for all, ours for what adds risk.
    fn check_open(
        &self,
        order: &OrderIntent,
        instrument: &Instrument,
        settings: &AccountConfig,
    ) -> Result<(), Refusal> {
        let book = self.state.holds.book(order.symbol);
        let own = |limit: u32| if order.reduces() { u32::MAX } else { limit };
        if order.terms.is_conditional() {
            let (open, bound) = (self.state.holds.conditionals(), own(settings.limits.open_conditionals_max));
            if open >= bound {
                return Err(Refusal::OpenConditionals { open, bound });
            }
            let (open, bound) = (book.conditionals, instrument.filters.max_conditional_orders.unwrap_or(u32::MAX));
            return if open >= bound { Err(Refusal::OpenConditionals { open, bound }) } else { Ok(()) };
        }
        if !rests(&order.terms) {
            return Ok(());
        }
        let bound = own(settings.limits.open_orders_max).min(instrument.filters.max_orders.unwrap_or(u32::MAX));
        if book.orders >= bound { Err(Refusal::OpenOrders { open: book.orders, bound }) } else { Ok(()) }
    }

    /// Places and modifications in the window, those that reduce too; for what may not reduce.
    pub(super) fn check_rate(&self, settings: &AccountConfig, context: &Context<'_>) -> Result<(), Refusal> {
        let (bound, window) = (settings.limits.order_rate_max, settings.limits.order_rate_window);
        let sent = self.state.rate.count(context.now, window);
        if sent >= bound { Err(Refusal::OrderRate { sent, bound, window }) } else { Ok(()) }
    }

    fn check_runaway(
        &self,
        strategy: StrategyIx,
        settings: &AccountConfig,
        context: &Context<'_>,
    ) -> Result<(), Refusal> {
        let (bound, window) = (settings.limits.runaway_orders_max, settings.limits.runaway_window);
        let placed = self.state.runaway.count(strategy, context.now, window);
        if placed >= bound { Err(Refusal::Runaway { strategy, placed, bound, window }) } else { Ok(()) }
    }
}

/// The instrument of a symbol that takes orders.
pub(super) fn tradable<'a>(symbol: SymbolIx, context: &Context<'a>) -> Result<&'a Instrument, Refusal> {
    let instrument = context.universe.instrument(symbol).ok_or(Refusal::UnknownSymbol(symbol))?;
    if instrument.is_tradable() {
        return Ok(instrument);
    }
    Err(Refusal::NotTradable { symbol, status: instrument.status })
}

/// The price band: a limit price around the reference price, that of a conditional order around its trigger.
fn check_band(
    order: &OrderIntent,
    reference: Price,
    instrument: &Instrument,
    settings: &AccountConfig,
) -> Result<(), Refusal> {
    let Some(price) = order.terms.limit_price() else { return Ok(()) };
    let around = match &order.terms {
        Terms::Conditional(terms) => terms.trigger_price,
        _ => reference,
    };
    band(price, around, instrument, settings)
}

/// Refuses a price that is further from the reference than the account's band.
pub(super) fn band(
    price: Price,
    reference: Price,
    instrument: &Instrument,
    settings: &AccountConfig,
) -> Result<(), Refusal> {
    let band = settings.limits.price_band;
    let away = (price.mantissa() as i128 - reference.mantissa() as i128).abs();
    if away * Rate::ONE.mantissa() as i128 <= reference.mantissa() as i128 * band.mantissa() as i128 {
        return Ok(());
    }
    let (price, reference) = (Decimal::price(instrument, price), Decimal::price(instrument, reference));
    Err(Refusal::PriceBand { price, reference, band })
}

/// The order's own notional value.
pub(super) fn order_notional(
    price: Price,
    quantity: Quantity,
    instrument: &Instrument,
    settings: &AccountConfig,
) -> Result<(), Refusal> {
    let bound = settings.limits.order_notional_max;
    let value = instrument.notional(price, quantity).map_err(|_| Refusal::Overflow)?;
    if value.asset != bound.asset {
        return Err(Refusal::AssetMismatch { symbol: instrument.symbol });
    }
    if value.mantissa() > bound.mantissa() {
        return Err(Refusal::TooLarge { limit: MoneyLimit::Order, value, bound });
    }
    Ok(())
}

/// Whether an order can rest on the book.
fn rests(terms: &Terms) -> bool {
    match terms {
        Terms::Limit { time_in_force, .. } => !matches!(time_in_force, TimeInForce::Ioc | TimeInForce::Fok),
        Terms::Market | Terms::Conditional(_) => false,
    }
}

/// Equity times the largest leverage, rounded down.
fn leveraged(equity: Money, bound: Rate) -> Result<Money, Refusal> {
    equity.times(bound, Rounding::Down).map_err(|_| Refusal::Overflow)
}

fn sum(a: Money, b: Money, symbol: SymbolIx) -> Result<Money, Refusal> {
    a.checked_add(b).map_err(|error| match error {
        NumError::AssetMismatch(..) => Refusal::AssetMismatch { symbol },
        _ => Refusal::Overflow,
    })
}

fn exceeds(value: Money, bound: Money, symbol: SymbolIx) -> Result<bool, Refusal> {
    if value.asset == bound.asset {
        Ok(value.mantissa() > bound.mantissa())
    } else {
        Err(Refusal::AssetMismatch { symbol })
    }
}

fn at_least(value: Money, bound: Money, symbol: SymbolIx) -> Result<bool, Refusal> {
    if value.asset == bound.asset {
        Ok(value.mantissa() >= bound.mantissa())
    } else {
        Err(Refusal::AssetMismatch { symbol })
    }
}
