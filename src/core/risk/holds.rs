//! What the gate holds: every order from before it is sent until it is over, and the positions by fills.
//!
//! A hold is open for its quantity less what *fills* have booked, not less what reports claim, so exposure moves from order to
//! position in one step, in whatever order reports and fills arrive. While a modification is on its way the larger of old and
//! new is held: the desk's view of the order says so, and until the desk has spoken, within the same input, the hold does. Sums per symbol and per strategy are kept beside the holds; an event costs the same however many orders are open.
#![deny(clippy::float_arithmetic)]

use crate::id::{OrderKey, StrategyIx, SymbolIx};
use crate::num::{NetQuantity, Price, Quantity, Side};
use crate::order::{Fill, NewOrder, OrderState, OrderUpdate, Terms};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is held for one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The strategy that owns it.
    pub strategy: StrategyIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// Buy or sell.
    pub side: Side,
    /// Whole quantity, after modification; zero for an order that closes the position.
    pub quantity: Quantity,
    /// What fills have booked of it.
    pub booked: Quantity,
    /// What the desk said was filled of it.
    pub filled: Quantity,
    /// Limit price, zero if it has none.
    pub price: Price,
    /// Exposure is held at this price at least; zero if the limit price alone decides.
    pub floor: Price,
    /// A modification that the gate passed and the desk has not told of: its price and quantity.
    pub pending: Option<(Price, Quantity)>,
    /// Reduce-only or closing, by intent.
    pub reduces: bool,
    /// Whether the exchange enforces it: `reduceOnly` or `closePosition` was sent.
    pub enforced: bool,
    /// Relies on its strategy being the symbol's only owner.
    pub exclusive: bool,
    /// Waits for a trigger.
    pub conditional: bool,
    /// A plain limit order: can be modified.
    pub limit: bool,
    /// The order is over, having filled this much, but not all of it has been booked.
    pub over: Option<Quantity>,
}

impl Hold {
    /// The hold of an order that the gate passed. `exclusive` as in the field.
    pub fn of(order: &NewOrder, exclusive: bool) -> Hold {
        let intent = &order.intent;
        let price = intent.terms.limit_price().unwrap_or(Price::ZERO);
        Hold {
            strategy: intent.id.strategy,
            symbol: intent.symbol,
            side: intent.side,
            quantity: intent.quantity,
            booked: Quantity::ZERO,
            filled: Quantity::ZERO,
            price,
            floor: if order.held_price > price { order.held_price } else { Price::ZERO },
            pending: None,
            reduces: intent.reduces(),
            enforced: order.is_enforced(),
            exclusive,
            conditional: intent.terms.is_conditional(),
            limit: matches!(intent.terms, Terms::Limit { .. }),
            over: None,
        }
    }

    /// The hold of an order that did not pass this gate: a foreign one, or one found by reconciliation.
    fn found(update: &OrderUpdate) -> Hold {
        Hold {
            strategy: update.strategy,
            symbol: update.symbol,
            side: update.side,
            quantity: update.quantity,
            booked: Quantity::ZERO,
            filled: Quantity::ZERO,
            price: update.price,
            floor: Price::ZERO,
            pending: None,
            reduces: update.protective,
            // Of an order of ours only the intent is known, not what was sent.
            enforced: update.reduce_only && update.key.ours().is_none(),
            exclusive: false,
            conditional: update.conditional,
            limit: !update.conditional && !update.price.is_zero(),
            over: None,
        }
    }

    /// The hold with a modification that was passed; the same if the modification asks for no more.
    pub fn modified(self, price: Price, quantity: Quantity) -> Hold {
        let (before_price, before_quantity) = self.pending.unwrap_or((self.price, self.quantity));
        let (price, quantity) = (price.max(before_price), quantity.max(before_quantity));
        let raises = price > self.price || quantity > self.quantity;
        Hold { pending: raises.then_some((price, quantity)), ..self }
    }

    /// What may still become position.
    pub fn open(&self) -> Quantity {
        let whole = match (self.over, self.pending) {
            (Some(filled), _) => filled,
            (None, Some((_, quantity))) => self.quantity.max(quantity).max(self.filled),
            (None, None) => self.quantity.max(self.filled),
        };
        whole.saturating_sub(self.booked)
    }

    /// Whether it closes the whole position, whatever it is.
    fn closes(&self) -> bool {
        self.reduces && self.quantity.is_zero() && self.over.is_none()
    }

    /// Whether it can make the account's position grow or flip.
    fn counts(&self) -> bool {
        !self.enforced && !self.open().is_zero()
    }

    /// The price per unit at which it is held; zero if it has none (a foreign market or stop order).
    pub fn held_price(&self) -> Price {
        let pending = self.pending.map_or(Price::ZERO, |(price, _)| price);
        self.price.max(self.floor).max(pending)
    }
}

/// Sums over the orders of one side of a symbol that can make the account's position grow or flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BookSide {
    /// Open quantity of orders whose reduction the exchange does not enforce.
    pub quantity: i128,
    /// Their held price times quantity, in mantissas.
    pub value: i128,
    /// The part of the quantity that has no held price.
    pub unpriced: i128,
    /// Open quantity of orders whose reduction the exchange enforces.
    pub enforced: i128,
    /// Orders that close the whole position, whatever it is.
    pub closing: u32,
    /// Highest held price of the orders in `quantity`; kept beside the sums, see [`Holds::book`].
    pub highest: Price,
}

/// One symbol: position and orders of the whole account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Book {
    /// Signed quantity by fills.
    pub position: i128,
    /// Buys.
    pub buys: BookSide,
    /// Sells.
    pub sells: BookSide,
    /// Open ordinary orders.
    pub orders: u32,
    /// Open conditional orders.
    pub conditionals: u32,
}

/// Sums over the orders of one side of one strategy in a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneSide {
    /// Open quantity that may grow or flip the position.
    pub plain: i128,
    /// Open quantity of working reduce-only orders.
    pub reducing: i128,
    /// Open quantity of reduce-only orders that wait for a trigger.
    pub waiting: i128,
    /// The part of the two above that the exchange does not enforce.
    pub unenforced: i128,
}

/// One strategy in one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lane {
    /// Its signed quantity by fills.
    pub position: i64,
    /// Buys.
    pub buys: LaneSide,
    /// Sells.
    pub sells: LaneSide,
    /// Open orders of any kind.
    pub orders: u32,
    /// Those that rely on the strategy being the only owner.
    pub exclusive: u32,
}

impl Book {
    /// One side.
    pub fn side(&self, side: Side) -> &BookSide {
        if side == Side::Buy { &self.buys } else { &self.sells }
    }

    fn is_empty(&self) -> bool {
        *self == Book::default()
    }

    /// The sums with `old` replaced by `new`, which is held at the price of `old` at least.
    pub fn replaced(mut self, old: Option<&Hold>, new: &Hold) -> Book {
        if let Some(old) = old {
            self.apply(old, -1);
        }
        self.apply(new, 1);
        let side = if new.side == Side::Buy { &mut self.buys } else { &mut self.sells };
        if new.counts() {
            side.highest = side.highest.max(new.held_price());
        }
        self
    }

    /// Adds (`sign` 1) or takes away (`sign` −1) a hold.
    fn apply(&mut self, hold: &Hold, sign: i128) {
        let open = hold.open().mantissa() as i128;
        let side = if hold.side == Side::Buy { &mut self.buys } else { &mut self.sells };
        if hold.closes() {
            side.closing = side.closing.saturating_add_signed(sign as i32);
        }
        if hold.enforced {
            side.enforced += sign * open;
        } else {
            // Bounded, so that 2^16 orders with impossible numbers from outside cannot overflow the sum.
            let value = (open * hold.held_price().mantissa() as i128).min(1 << 110);
            side.quantity += sign * open;
            side.value += sign * value;
            side.unpriced += if hold.held_price().is_zero() && !hold.reduces { sign * open } else { 0 };
        }
        if hold.over.is_none() {
            let count = if hold.conditional { &mut self.conditionals } else { &mut self.orders };
            *count = count.saturating_add_signed(sign as i32);
        }
    }
}

impl Lane {
    /// One side.
    pub fn side(&self, side: Side) -> &LaneSide {
        if side == Side::Buy { &self.buys } else { &self.sells }
    }

    /// Flat and without orders.
    pub fn is_empty(&self) -> bool {
        *self == Lane::default()
    }

    fn apply(&mut self, hold: &Hold, sign: i128) {
        let open = sign * hold.open().mantissa() as i128;
        let side = if hold.side == Side::Buy { &mut self.buys } else { &mut self.sells };
        match (hold.reduces, hold.conditional) {
            (false, _) => side.plain += open,
            (true, false) => side.reducing += open,
            (true, true) => side.waiting += open,
        }
        if hold.reduces && !hold.enforced {
            side.unenforced += open;
        }
        if hold.over.is_none() {
            self.orders = self.orders.saturating_add_signed(sign as i32);
            self.exclusive = self.exclusive.saturating_add_signed(if hold.exclusive { sign as i32 } else { 0 });
        }
    }
}

/// All holds and positions of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Holds {
    orders: BTreeMap<OrderKey, Hold>,
    books: BTreeMap<SymbolIx, Book>,
    lanes: BTreeMap<(SymbolIx, StrategyIx), Lane>,
    /// How many orders are held at each price.
    prices: BTreeMap<(SymbolIx, Side, Price), u32>,
    conditionals: u32,
}

/// What a snapshot keeps: the sums are computed anew.
#[derive(Serialize, Deserialize)]
struct Kept {
    orders: BTreeMap<OrderKey, Hold>,
    positions: BTreeMap<(SymbolIx, StrategyIx), i64>,
}

impl From<Holds> for Kept {
    fn from(holds: Holds) -> Kept {
        let positions = holds.positions().map(|(key, quantity)| (key, quantity.mantissa())).collect();
        Kept { orders: holds.orders, positions }
    }
}

impl From<Kept> for Holds {
    fn from(kept: Kept) -> Holds {
        let mut holds = Holds::default();
        for ((symbol, strategy), quantity) in kept.positions {
            holds.move_position(symbol, strategy, quantity);
        }
        for (key, hold) in kept.orders {
            holds.put(key, hold);
        }
        holds
    }
}

impl Holds {
    /// What is held for an order.
    pub fn get(&self, key: OrderKey) -> Option<&Hold> {
        self.orders.get(&key)
    }

    /// All holds by key.
    pub fn iter(&self) -> impl Iterator<Item = (&OrderKey, &Hold)> {
        self.orders.iter()
    }

    /// A symbol's sums.
    pub fn book(&self, symbol: SymbolIx) -> Book {
        let mut book = self.books.get(&symbol).copied().unwrap_or_default();
        book.buys.highest = self.highest(symbol, Side::Buy);
        book.sells.highest = self.highest(symbol, Side::Sell);
        book
    }

    fn highest(&self, symbol: SymbolIx, side: Side) -> Price {
        let range = (symbol, side, Price::ZERO)..=(symbol, side, Price::from_mantissa(i64::MAX));
        self.prices.range(range).next_back().map_or(Price::ZERO, |((_, _, price), _)| *price)
    }

    /// All symbols with a position or an order.
    pub fn symbols(&self) -> impl Iterator<Item = SymbolIx> {
        self.books.keys().copied()
    }

    /// A strategy's sums in a symbol.
    pub fn lane(&self, symbol: SymbolIx, strategy: StrategyIx) -> Lane {
        self.lanes.get(&(symbol, strategy)).copied().unwrap_or_default()
    }

    /// Every strategy with a position or an order in a symbol.
    pub fn lanes(&self, symbol: SymbolIx) -> impl Iterator<Item = (StrategyIx, &Lane)> {
        let range = (symbol, StrategyIx(0))..=(symbol, StrategyIx(u16::MAX));
        self.lanes.range(range).map(|((_, strategy), lane)| (*strategy, lane))
    }

    /// All positions that are not flat, by fills.
    pub fn positions(&self) -> impl Iterator<Item = ((SymbolIx, StrategyIx), NetQuantity)> {
        self.lanes
            .iter()
            .filter(|(_, lane)| lane.position != 0)
            .map(|(k, l)| (*k, NetQuantity::from_mantissa(l.position)))
    }

    /// Open conditional orders over all symbols.
    pub fn conditionals(&self) -> u32 {
        self.conditionals
    }

    /// Holds an order; once per key.
    pub fn hold(&mut self, key: OrderKey, hold: Hold) {
        if !self.orders.contains_key(&key) {
            self.put(key, hold);
        }
    }

    /// Holds the larger of old and new for a modification that was passed. False if that changes nothing.
    pub fn modify(&mut self, key: OrderKey, price: Price, quantity: Quantity) -> bool {
        self.change(key, |hold| hold.modified(price, quantity))
    }

    /// The desk is not going to tell of a modification that was passed: it refused it.
    pub fn drop_modification(&mut self, key: OrderKey) {
        self.change(key, |hold| Hold { pending: None, ..hold });
    }

    /// Holds the larger of old and new for a modification that was sent, as the desk's view of the order has it.
    pub fn cover(&mut self, key: OrderKey, price: Price, quantity: Quantity) {
        self.change(key, |hold| Hold { price: hold.price.max(price), quantity: hold.quantity.max(quantity), ..hold });
    }

    fn change(&mut self, key: OrderKey, change: impl FnOnce(Hold) -> Hold) -> bool {
        let Some(hold) = self.take(key) else { return false };
        let changed = change(hold);
        self.put(key, changed);
        changed != hold
    }

    /// Takes what the desk says of an order. `booked` fills decide what is open, not the update's.
    pub fn update(&mut self, update: &OrderUpdate) {
        let done = matches!(update.state, OrderState::Done(_));
        let before = self.orders.get(&update.key).copied();
        let mut hold = match before {
            Some(hold) => hold,
            None if done => return,
            None => Hold::found(update),
        };
        hold.quantity = update.quantity;
        hold.filled = update.filled;
        hold.price = update.price;
        // An order that was triggered is plain from here on.
        hold.conditional = update.conditional;
        // The desk's view is the larger of old and new while it modifies: once it covers ours, it takes over.
        hold.pending = hold.pending.filter(|(price, quantity)| update.price < *price || update.quantity < *quantity);
        hold.over = done.then_some(update.filled);
        let kept = !done || hold.booked < update.filled;
        if kept && before == Some(hold) {
            return;
        }
        self.take(update.key);
        if kept {
            self.put(update.key, hold);
        }
    }

    /// Moves a fill from its order to the position.
    pub fn fill(&mut self, fill: &Fill) {
        if let Some(mut hold) = self.take(fill.key) {
            hold.booked = hold.booked.checked_add(fill.quantity).unwrap_or(hold.booked);
            if hold.over.is_none_or(|filled| hold.booked < filled) {
                self.put(fill.key, hold);
            }
        }
        self.move_position(fill.symbol, fill.strategy, fill.quantity.signed(fill.side).mantissa());
    }

    /// After a reconciliation: positions are the ledger's, and every order is booked as far as it is filled.
    pub fn adopt(&mut self, positions: impl Iterator<Item = ((SymbolIx, StrategyIx), NetQuantity)>) {
        let old: Vec<_> = self.positions().collect();
        for ((symbol, strategy), quantity) in old {
            self.move_position(symbol, strategy, quantity.negate().mantissa());
        }
        for ((symbol, strategy), quantity) in positions {
            self.move_position(symbol, strategy, quantity.mantissa());
        }
        for key in self.orders.keys().copied().collect::<Vec<_>>() {
            if let Some(hold) = self.take(key)
                && hold.over.is_none()
            {
                self.put(key, Hold { booked: hold.booked.max(hold.filled), ..hold });
            }
        }
    }

    /// Takes an order out, with its share of the sums.
    fn take(&mut self, key: OrderKey) -> Option<Hold> {
        let hold = self.orders.remove(&key)?;
        self.apply(&hold, -1);
        Some(hold)
    }

    fn put(&mut self, key: OrderKey, hold: Hold) {
        self.apply(&hold, 1);
        self.orders.insert(key, hold);
    }

    fn apply(&mut self, hold: &Hold, sign: i128) {
        if hold.conditional && hold.over.is_none() {
            self.conditionals = self.conditionals.saturating_add_signed(sign as i32);
        }
        if hold.counts() {
            let at = (hold.symbol, hold.side, hold.held_price());
            let count = self.prices.entry(at).or_default();
            *count = count.saturating_add_signed(sign as i32);
            if *count == 0 {
                self.prices.remove(&at);
            }
        }
        let book = self.books.entry(hold.symbol).or_default();
        book.apply(hold, sign);
        if book.is_empty() {
            self.books.remove(&hold.symbol);
        }
        let at = (hold.symbol, hold.strategy);
        let lane = self.lanes.entry(at).or_default();
        lane.apply(hold, sign);
        if lane.is_empty() {
            self.lanes.remove(&at);
        }
    }

    fn move_position(&mut self, symbol: SymbolIx, strategy: StrategyIx, by: i64) {
        let lane = self.lanes.entry((symbol, strategy)).or_default();
        let before = lane.position;
        // A position beyond the type cannot be; if it were, the comparison with the ledger would tell.
        lane.position = before.saturating_add(by);
        let moved = lane.position as i128 - before as i128;
        if lane.is_empty() {
            self.lanes.remove(&(symbol, strategy));
        }
        let book = self.books.entry(symbol).or_default();
        book.position += moved;
        if book.is_empty() {
            self.books.remove(&symbol);
        }
    }
}
