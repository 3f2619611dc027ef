//! The exchange's rules for orders, each with its error code and text.
//!
//! Text beyond the precision of a symbol (-1111) cannot arrive here: typed prices and quantities are on the instrument's scale.

use super::Venue;
use super::account::{Account, MarginUse, notional};
use super::market::Symbol;
use super::request::PlaceOrder;
use crate::command::VenueError;
use crate::id::{AccountIx, AssetIx, SymbolIx};
use crate::instrument::{ContractStatus, Instrument, LotFilter};
use crate::num::{Money, Price, Rate, Rounding, Side};
use crate::order::{PositionMode, PositionSide, Terms, TimeInForce};

/// Larger orders than this many units of the quote asset are refused, so that sums stay far inside their type.
const ORDER_NOTIONAL_MAX: i128 = 1_000_000_000_000 * Money::UNIT;

/// The exchange's error with this code.
pub(super) fn error(code: i32) -> VenueError {
    let message = match code {
        -1007 => "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        -1008 => {
            "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
        }
        -1020 => "This operation is not supported.",
        -1102 => "A mandatory parameter was not sent, was empty/null, or malformed.",
        -1106 => "A parameter was sent when not required.",
        -1121 => "Invalid symbol.",
        -2011 => "Unknown order sent.",
        -2013 => "Order does not exist.",
        -2015 => "Invalid API-key, IP, or permissions for action.",
        -2019 => "Margin is insufficient.",
        -2021 => "Order would immediately trigger.",
        -2022 => "ReduceOnly Order is rejected.",
        -2025 => "Reach max open order limit.",
        -2027 => "Exceeded the maximum allowable position at current leverage.",
        -2028 => "Leverage is smaller than permitted: insufficient margin balance.",
        -4001 => "Price less than 0.",
        -4002 => "Price greater than max price.",
        -4003 => "Quantity less than or equal to zero.",
        -4004 => "Quantity less than min quantity.",
        -4005 => "Quantity greater than max quantity.",
        -4006 => "Stop price less than zero.",
        -4013 => "Price less than min price.",
        -4014 => "Price not increased by tick size.",
        -4016 => "Limit price can't be higher than the price filter's multiplier allows.",
        -4023 => "Quantity not increased by step size.",
        -4024 => "Limit price can't be lower than the price filter's multiplier allows.",
        -4028 => "Leverage is not valid.",
        -4045 => "Reach max stop order limit.",
        -4046 => "No need to change margin type.",
        -4047 => "Margin type cannot be changed if there exists open orders.",
        -4048 => "Margin type cannot be changed if there exists position.",
        -4059 => "No need to change position side.",
        -4061 => "Order's position side does not match user's setting.",
        -4067 => "Position side cannot be changed if there exists open orders.",
        -4068 => "Position side cannot be changed if there exists position.",
        -4116 => "ClientOrderId is duplicated.",
        -4130 => "An open stop or take profit order with GTE and closePosition in the direction is existing.",
        -4131 => "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
        -4140 => "Invalid symbol status for opening position.",
        -4164 => "Order's notional must be no smaller than the minimum (unless you choose reduce only).",
        -5021 => "Due to the order could not be filled immediately, the FOK order has been rejected.",
        -5022 => "Due to the order could not be executed as maker, the Post Only order will be rejected.",
        -5025 => "Only limit order is supported.",
        -5026 => "Exceed maximum modify order limit.",
        -5027 => "No need to modify the order.",
        _ => "An unknown error occurred while processing the request.",
    };
    VenueError { code, message: message.into() }
}

/// Something typed that this venue does not simulate.
fn unsupported(what: &str) -> VenueError {
    VenueError { code: -1020, message: format!("This operation is not supported: {what} is not simulated.").into() }
}

fn refuse_if(condition: bool, code: i32) -> Result<(), VenueError> {
    if condition { Err(error(code)) } else { Ok(()) }
}

/// PRICE_FILTER.
pub(super) fn check_price(instrument: &Instrument, price: Price) -> Result<(), VenueError> {
    let filter = &instrument.filters.price;
    refuse_if(price.mantissa() <= 0, -4001)?;
    refuse_if(!filter.max.is_zero() && price > filter.max || price.mantissa() >= 1 << 60, -4002)?;
    refuse_if(price < filter.min, -4013)?;
    let tick = filter.tick.mantissa();
    refuse_if(tick > 0 && (price.mantissa() - filter.min.mantissa()) % tick != 0, -4014)
}

/// LOT_SIZE or MARKET_LOT_SIZE.
pub(super) fn check_quantity(filter: &LotFilter, quantity: i64) -> Result<(), VenueError> {
    refuse_if(quantity <= 0, -4003)?;
    refuse_if(quantity < filter.min.mantissa(), -4004)?;
    refuse_if(!filter.max.is_zero() && quantity > filter.max.mantissa() || quantity >= 1 << 60, -4005)?;
    let step = filter.step.mantissa();
    refuse_if(step > 0 && (quantity - filter.min.mantissa()) % step != 0, -4023)
}

/// A price times a rate, rounded to the nearest mantissa and saturated.
pub(super) fn scaled(price: Price, rate: Rate) -> Price {
    let product = price.mantissa() as i128 * rate.mantissa() as i128;
    let value = crate::num::div_round(product, Rate::ONE.mantissa() as i128, Rounding::Nearest);
    Price::from_mantissa(i64::try_from(value).unwrap_or(i64::MAX))
}

/// PERCENT_PRICE of a limit price, against the reference price.
pub(super) fn check_percent(
    instrument: &Instrument,
    side: Side,
    price: Price,
    reference: Price,
) -> Result<(), VenueError> {
    let Some(percent) = instrument.filters.percent_price.filter(|_| !reference.is_zero()) else { return Ok(()) };
    match side {
        Side::Buy => refuse_if(price > scaled(reference, percent.up), -4016),
        Side::Sell => refuse_if(price < scaled(reference, percent.down), -4024),
    }
}

impl Venue {
    pub(super) fn instrument(&self, symbol: SymbolIx) -> Result<&Instrument, VenueError> {
        self.universe.instrument(symbol).ok_or_else(|| error(-1121))
    }

    pub(super) fn symbol(&self, symbol: SymbolIx) -> Result<&Symbol, VenueError> {
        self.symbols.get(symbol.ix()).ok_or_else(|| error(-1121))
    }

    /// What every order must satisfy, ordinary or conditional.
    pub(super) fn check_account(&self, account: AccountIx, order: &PlaceOrder) -> Result<(), VenueError> {
        let holder = self.account(account)?;
        let instrument = self.instrument(order.symbol)?;
        if holder.mode == PositionMode::Hedge {
            return Err(unsupported("hedge mode"));
        }
        if holder.multi_assets {
            return Err(unsupported("multi-assets margin"));
        }
        if holder.isolated.contains(&order.symbol) {
            return Err(unsupported("isolated margin"));
        }
        refuse_if(order.position_side != PositionSide::Both, -4061)?;
        refuse_if(instrument.status != ContractStatus::Trading && !order.reduce_only, -4140)
    }

    /// All rules for an ordinary order. Returns its quantity: a reduce-only order is cut to the position.
    pub(super) fn admit(&self, account: AccountIx, order: &PlaceOrder) -> Result<i64, VenueError> {
        self.check_account(account, order)?;
        let instrument = self.instrument(order.symbol)?;
        let symbol = self.symbol(order.symbol)?;
        let quantity = order.quantity.mantissa();
        let reference = symbol.reference();
        let price = match order.terms {
            Terms::Market => {
                check_quantity(&instrument.filters.market_lot, quantity)?;
                self.market_price(instrument, symbol, order.side)?
            }
            Terms::Limit { time_in_force: TimeInForce::Gtd(_), .. } => return Err(unsupported("good till date")),
            Terms::Limit { price, .. } => {
                check_price(instrument, price)?;
                check_quantity(&instrument.filters.lot, quantity)?;
                check_percent(instrument, order.side, price, reference)?;
                price
            }
            Terms::Conditional(_) => return Err(error(-1020)),
        };
        let value = notional(instrument, price, quantity);
        refuse_if(value > ORDER_NOTIONAL_MAX, -4005)?;
        let holder = self.account(account)?;
        let quantity = match order.reduce_only {
            true => quantity.min(holder.reducible(order.symbol, order.side)),
            false => quantity,
        };
        refuse_if(quantity == 0, -2022)?;
        if !order.reduce_only {
            let min = instrument.filters.min_notional.map_or(0, Money::mantissa);
            // A market order is measured at the reference price, as the exchange measures it at the mark price.
            let measured = if order.terms == Terms::Market { notional(instrument, reference, quantity) } else { value };
            // Without any price there is nothing to measure with, and nothing to fill against either.
            refuse_if(measured < min && !reference.is_zero(), -4164)?;
            self.check_margin(holder, instrument, order.side, price, quantity)?;
        }
        let limit = instrument.filters.max_orders.map_or(usize::MAX, |n| n as usize);
        refuse_if(self.orders.open_count(account, order.symbol) >= limit, -2025)?;
        let named = super::request::OrderRef::Key(order.key);
        refuse_if(self.orders.find(account, order.symbol, named).is_some_and(|o| o.is_open()), -4116)?;
        self.check_time_in_force(account, order, quantity)?;
        Ok(quantity)
    }

    /// The price at which margin is asked for a market order: the best opposite price, 0.05 % worse for a buy; the mark price
    /// for a sell if that is higher.
    fn market_price(&self, instrument: &Instrument, symbol: &Symbol, side: Side) -> Result<Price, VenueError> {
        let reference = symbol.reference();
        let best = symbol.side(side.opposite()).best_price();
        if let (Some(best), Some(percent)) = (best, instrument.filters.percent_price)
            && !reference.is_zero()
        {
            let out_of_band = match side {
                Side::Buy => best > scaled(reference, percent.up),
                Side::Sell => best < scaled(reference, percent.down),
            };
            refuse_if(out_of_band, -4131)?;
        }
        let best = best.unwrap_or(reference);
        Ok(match side {
            Side::Buy => scaled(best, Rate::from_bps(10_005)),
            Side::Sell => best.max(reference),
        })
    }

    /// Initial margin of everything with this order added, against the margin balance; a buy above the reference price or a
    /// sell below it must cover the loss that it opens with. Orders that do not raise the initial margin always pass.
    pub(super) fn check_margin(
        &self,
        holder: &Account,
        instrument: &Instrument,
        side: Side,
        price: Price,
        quantity: i64,
    ) -> Result<(), VenueError> {
        let value = notional(instrument, price, quantity);
        let before = self.margin_use(holder, instrument.margin, None);
        let after = self.margin_use(holder, instrument.margin, Some((instrument.symbol, side, value)));
        if after.initial <= before.initial {
            return Ok(());
        }
        let reference = self.symbol(instrument.symbol)?.reference();
        let mut holding = holder.holdings.get(&instrument.symbol).cloned().unwrap_or_default();
        let open = holding.open_notional_mut(side);
        *open = open.saturating_add(value);
        let leverage = holder.leverage_of(instrument.symbol);
        let allowed = instrument.brackets.iter().filter(|b| b.max_leverage >= leverage);
        let cap = allowed.map(|b| b.notional_cap.mantissa()).max();
        refuse_if(
            !instrument.brackets.is_empty() && holding.worst_notional(instrument, reference) > cap.unwrap_or(0),
            -2027,
        )?;
        let at_reference = notional(instrument, reference, quantity);
        let opening_loss = match side {
            _ if reference.is_zero() => 0,
            Side::Buy => value.saturating_sub(at_reference).max(0),
            Side::Sell => at_reference.saturating_sub(value).max(0),
        };
        refuse_if(after.available() < opening_loss, -2019)
    }

    /// The use of one margin asset by an account, with a further open order if given.
    pub(super) fn margin_use(
        &self,
        holder: &Account,
        asset: AssetIx,
        more: Option<(SymbolIx, Side, i128)>,
    ) -> MarginUse {
        let mut total = MarginUse { wallet: holder.wallet(asset).mantissa(), ..MarginUse::default() };
        let extra = more.map(|(symbol, _, _)| symbol).filter(|s| !holder.holdings.contains_key(s));
        for symbol in holder.holdings.keys().copied().chain(extra) {
            let (Ok(instrument), Ok(market)) = (self.instrument(symbol), self.symbol(symbol)) else { continue };
            if instrument.margin != asset {
                continue;
            }
            let mut holding = holder.holdings.get(&symbol).cloned().unwrap_or_default();
            if let Some((_, side, value)) = more.filter(|m| m.0 == symbol) {
                let open = holding.open_notional_mut(side);
                *open = open.saturating_add(value);
            }
            holder.add_use(&mut total, &holding, instrument, market.reference());
        }
        total
    }

    /// Post-only orders that would take and fill-or-kill orders that cannot fill are refused before they exist.
    fn check_time_in_force(&self, account: AccountIx, order: &PlaceOrder, quantity: i64) -> Result<(), VenueError> {
        let Terms::Limit { price, time_in_force } = order.terms else { return Ok(()) };
        let makers = order.side.opposite();
        let book = self.symbol(order.symbol)?.side(makers);
        let limit = super::queue::key_of(makers, price);
        match time_in_force {
            TimeInForce::PostOnly => refuse_if(book.crosses(limit), -5022),
            TimeInForce::Fok => refuse_if(book.reachable(limit, account, quantity) < quantity, -5021),
            _ => Ok(()),
        }
    }
}
