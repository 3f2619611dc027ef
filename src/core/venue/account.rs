//! The exchange's books of one account: wallets, positions, settings, trades. They are independent of the daemon's own ledger, so
//! that each can be checked against the other.
//!
//! Assumptions: one-way mode, cross margin, single-asset mode (each margin asset stands alone). The cost of a position is kept as
//! an exact sum; a reduction takes its share of it. Realised profit is rounded to the **nearest** 8th decimal per fill and the
//! difference stays in the cost of what is left, so no money appears or vanishes before a position is flat. Money saturates far
//! beyond any balance (1e20 units); it never wraps.

use super::fees::{BOOKED_DECIMALS, Fees};
use crate::command::VenuePosition;
use crate::id::{AssetIx, SymbolIx};
use crate::instrument::Instrument;
use crate::num::{Money, NetQuantity, Price, Quantity, Rate, Rounding, Side, div_round, pow10};
use crate::order::{PositionMode, PositionSide, TradeRecord};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How an account begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountSpec {
    /// Wallet balances.
    pub balances: Vec<Money>,
    /// Fee rates.
    pub fees: Fees,
    /// Leverage of every symbol until set otherwise; 0 is the venue's default.
    pub leverage: u16,
}

/// Position and open orders of an account in one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Holding {
    /// Signed quantity.
    pub quantity: i64,
    /// What the position cost, never negative: entry price × quantity. A [`Money`] mantissa.
    pub cost: i128,
    /// Limit notional of the resting buys that are not reduce-only.
    pub open_buys: i128,
    /// The same for sells.
    pub open_sells: i128,
}

/// One account.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Account {
    pub wallets: BTreeMap<AssetIx, i128>,
    pub fees: Fees,
    pub leverage: u16,
    pub leverages: BTreeMap<SymbolIx, u16>,
    pub isolated: BTreeSet<SymbolIx>,
    pub mode: PositionMode,
    pub multi_assets: bool,
    pub holdings: BTreeMap<SymbolIx, Holding>,
    pub trades: BTreeMap<SymbolIx, VecDeque<TradeRecord>>,
}

/// What one margin asset of an account must carry, and what carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarginSummary {
    /// Wallet balance.
    pub wallet: Money,
    /// Unrealised profit at reference prices.
    pub unrealized: Money,
    /// Initial margin of positions and open orders.
    pub initial: Money,
    /// Maintenance margin of the positions.
    pub maintenance: Money,
    /// What is left for new risk, zero at least.
    pub available: Money,
}

/// What an account's margin asset must carry and what carries it. [`Money`] mantissas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MarginUse {
    pub wallet: i128,
    pub unrealized: i128,
    pub initial: i128,
    pub maintenance: i128,
}

impl MarginUse {
    pub fn summary(&self, asset: AssetIx) -> MarginSummary {
        let money = |amount| Money::new(asset, amount);
        MarginSummary {
            wallet: money(self.wallet),
            unrealized: money(self.unrealized),
            initial: money(self.initial),
            maintenance: money(self.maintenance),
            available: money(self.available().max(0)),
        }
    }

    /// What is left for new risk; may be negative.
    pub fn available(&self) -> i128 {
        self.wallet.saturating_add(self.unrealized).saturating_sub(self.initial)
    }
}

/// A signed notional value as a mantissa, saturated.
pub(super) fn notional(instrument: &Instrument, price: Price, quantity: i64) -> i128 {
    let far = i128::MAX / 1_000_000;
    let value = instrument.signed_notional(price, NetQuantity::from_mantissa(quantity)).map(Money::mantissa);
    let limit = if (price.mantissa() < 0) != (quantity < 0) { -far } else { far };
    value.unwrap_or(limit).clamp(-far, far)
}

fn booked(amount: i128, rounding: Rounding) -> i128 {
    Money::new(AssetIx(0), amount).round_to(BOOKED_DECIMALS, rounding).mantissa()
}

impl Holding {
    /// Books a fill; returns the realised profit as booked.
    pub fn fill(&mut self, instrument: &Instrument, side: Side, price: Price, quantity: i64) -> i128 {
        let opens = self.quantity == 0 || (self.quantity > 0) == (side == Side::Buy);
        let closed = if opens { 0 } else { quantity.min(self.quantity.abs()) };
        let mut realized = 0;
        if closed > 0 {
            let size = self.quantity.abs() as i128;
            // cost × closed / size without leaving the range.
            let rest = div_round((self.cost % size) * closed as i128, size, Rounding::Nearest);
            let share = (self.cost / size).saturating_mul(closed as i128).saturating_add(rest);
            let value = notional(instrument, price, closed);
            let sign = if self.quantity > 0 { 1 } else { -1 };
            realized = booked(value.saturating_sub(share).saturating_mul(sign), Rounding::Nearest);
            self.quantity -= closed * sign as i64;
            self.cost = match self.quantity {
                0 => 0,
                _ => self.cost.saturating_sub(value.saturating_sub(realized.saturating_mul(sign))).max(0),
            };
        }
        let opened = quantity - closed;
        if opened > 0 {
            let signed = if side == Side::Buy { opened } else { -opened };
            self.quantity = self.quantity.saturating_add(signed);
            self.cost = self.cost.saturating_add(notional(instrument, price, opened));
        }
        realized
    }

    /// Profit if it were closed at `price`.
    pub fn unrealized(&self, instrument: &Instrument, price: Price) -> i128 {
        let value = notional(instrument, price, self.quantity);
        if self.quantity >= 0 { value.saturating_sub(self.cost) } else { value.saturating_add(self.cost) }
    }

    /// The average entry price as the exchange prints it, rounded to the price scale; zero when flat.
    pub fn entry_price(&self, instrument: &Instrument) -> Price {
        if self.quantity == 0 {
            return Price::ZERO;
        }
        let factor = pow10(Money::SCALE - instrument.price_scale - instrument.quantity_scale);
        let entry = div_round(self.cost, self.quantity.abs() as i128 * factor, Rounding::Nearest);
        Price::from_mantissa(i64::try_from(entry).unwrap_or(i64::MAX))
    }

    /// The larger of the position's size and its sizes with all buys or all sells filled.
    pub fn worst_notional(&self, instrument: &Instrument, reference: Price) -> i128 {
        let position = notional(instrument, reference, self.quantity);
        let long = position.saturating_add(self.open_buys);
        let short = position.saturating_sub(self.open_sells);
        position.abs().max(long.abs()).max(short.abs())
    }

    /// How much of `side` only reduces the position.
    pub fn reducible(&self, side: Side) -> i64 {
        match side {
            Side::Buy => (-self.quantity).max(0),
            Side::Sell => self.quantity.max(0),
        }
    }

    pub fn open_notional_mut(&mut self, side: Side) -> &mut i128 {
        match side {
            Side::Buy => &mut self.open_buys,
            Side::Sell => &mut self.open_sells,
        }
    }

    pub fn position(&self, instrument: &Instrument) -> VenuePosition {
        VenuePosition {
            symbol: instrument.symbol,
            position_side: PositionSide::Both,
            quantity: NetQuantity::from_mantissa(self.quantity),
            entry_price: self.entry_price(instrument),
        }
    }

    /// Maintenance margin at `reference`: notional × rate − amount of its bracket; zero without brackets.
    pub fn maintenance(&self, instrument: &Instrument, reference: Price) -> i128 {
        let size = Money::new(instrument.quote, notional(instrument, reference, self.quantity).abs());
        let Some(bracket) = instrument.bracket(size) else { return 0 };
        let margin = size.times(bracket.maintenance_rate, Rounding::Up).map_or(i128::MAX, Money::mantissa);
        margin.saturating_sub(bracket.maintenance_amount.mantissa()).max(0)
    }
}

impl Account {
    pub fn new(spec: &AccountSpec, leverage: u16) -> Account {
        let mut account = Account {
            wallets: BTreeMap::new(),
            fees: spec.fees,
            leverage: if spec.leverage == 0 { leverage.max(1) } else { spec.leverage },
            leverages: BTreeMap::new(),
            isolated: BTreeSet::new(),
            mode: PositionMode::OneWay,
            multi_assets: false,
            holdings: BTreeMap::new(),
            trades: BTreeMap::new(),
        };
        spec.balances.iter().for_each(|b| account.credit(b.asset, b.mantissa()));
        account
    }

    /// A copy to try changes of margin on: everything but the trades.
    pub fn clone_without_trades(&self) -> Account {
        Account {
            wallets: self.wallets.clone(),
            leverages: self.leverages.clone(),
            isolated: self.isolated.clone(),
            holdings: self.holdings.clone(),
            trades: BTreeMap::new(),
            ..*self
        }
    }

    pub fn credit(&mut self, asset: AssetIx, amount: i128) {
        let wallet = self.wallets.entry(asset).or_default();
        *wallet = wallet.saturating_add(amount);
    }

    pub fn wallet(&self, asset: AssetIx) -> Money {
        Money::new(asset, self.wallets.get(&asset).copied().unwrap_or(0))
    }

    pub fn leverage_of(&self, symbol: SymbolIx) -> u16 {
        self.leverages.get(&symbol).copied().unwrap_or(self.leverage)
    }

    pub fn position(&self, symbol: SymbolIx) -> i64 {
        self.holdings.get(&symbol).map_or(0, |h| h.quantity)
    }

    pub fn reducible(&self, symbol: SymbolIx, side: Side) -> i64 {
        self.holdings.get(&symbol).map_or(0, |h| h.reducible(side))
    }

    /// Adds one holding to the use of margin.
    pub fn add_use(&self, total: &mut MarginUse, holding: &Holding, instrument: &Instrument, reference: Price) {
        let leverage = self.leverage_of(instrument.symbol).max(1) as i128;
        let initial = div_round(holding.worst_notional(instrument, reference), leverage, Rounding::Up);
        total.initial = total.initial.saturating_add(initial);
        total.unrealized = total.unrealized.saturating_add(holding.unrealized(instrument, reference));
        total.maintenance = total.maintenance.saturating_add(holding.maintenance(instrument, reference));
    }
}

/// The funding that a position receives (negative: pays): −quantity × mark price × rate, to the **nearest** 8th decimal.
pub(super) fn funding_payment(instrument: &Instrument, quantity: i64, mark: Price, rate: Rate) -> i128 {
    let value = Money::new(instrument.margin, notional(instrument, mark, quantity));
    let paid = value.times(rate, Rounding::Nearest).map_or(0, Money::mantissa);
    -booked(paid, Rounding::Nearest)
}

/// A quantity from a mantissa that is known not to be negative.
pub(super) fn quantity(mantissa: i64) -> Quantity {
    Quantity::from_mantissa(mantissa.max(0)).expect("clamped to zero at least")
}
