//! The venue's memory of ordinary orders, open and done.

use crate::id::{AccountIx, OrderKey, SymbolIx, VenueOrderId};
use crate::num::{Price, Quantity, Side};
use crate::order::{ExecutionType, OrderReport, OrderStatus, PositionSide, ReportedFill, Terms, TimeInForce};
use crate::time::Ts;
use crate::venue::queue::key_of;
use crate::venue::request::OrderRef;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Expiry reasons (`er`) of the exchange.
pub(super) mod expiry {
    pub const SELF_TRADE: u8 = 1;
    pub const IOC: u8 = 2;
    pub const REDUCE_ONLY: u8 = 4;
    pub const LIQUIDATION: u8 = 5;
    pub const MARKET: u8 = 9;
}

/// One ordinary order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Order {
    pub id: VenueOrderId,
    pub account: AccountIx,
    pub key: OrderKey,
    pub symbol: SymbolIx,
    pub side: Side,
    pub terms: Terms,
    pub reduce_only: bool,
    pub quantity: i64,
    pub filled: i64,
    pub status: OrderStatus,
    /// The conditional order that it came from.
    pub parent: Option<VenueOrderId>,
    pub modifications: u32,
    pub expiry_reason: u8,
    /// Whether it is on the book.
    pub resting: bool,
    pub updated: Ts,
}

impl Order {
    pub fn remaining(&self) -> i64 {
        self.quantity - self.filled
    }

    pub fn is_open(&self) -> bool {
        !self.status.is_final()
    }

    /// Limit price, zero for a market order.
    pub fn price(&self) -> Price {
        self.terms.limit_price().unwrap_or(Price::ZERO)
    }

    pub fn time_in_force(&self) -> Option<TimeInForce> {
        match self.terms {
            Terms::Limit { time_in_force, .. } => Some(time_in_force),
            _ => None,
        }
    }

    /// Its key among the makers of its side.
    pub fn book_key(&self) -> i64 {
        key_of(self.side, self.price())
    }

    pub fn report(&self, execution: ExecutionType, fill: Option<ReportedFill>) -> OrderReport {
        OrderReport {
            account: self.account,
            symbol: self.symbol,
            key: self.key,
            venue_id: self.id,
            side: self.side,
            position_side: PositionSide::Both,
            terms: self.terms,
            reduce_only: self.reduce_only,
            execution,
            status: self.status,
            quantity: Quantity::from_mantissa(self.quantity).unwrap_or_default(),
            filled: Quantity::from_mantissa(self.filled).unwrap_or_default(),
            fill,
            expiry_reason: self.expiry_reason,
            exchange_time: self.updated,
        }
    }
}

/// All orders, the newest done ones among them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Orders {
    map: BTreeMap<VenueOrderId, Order>,
    /// The newest order of each client id.
    keys: BTreeMap<(AccountIx, SymbolIx, OrderKey), VenueOrderId>,
    open: BTreeSet<(AccountIx, SymbolIx, VenueOrderId)>,
    /// How many of them an account has in a symbol. Follows from `open`, like the next.
    #[serde(skip)]
    counts: BTreeMap<(AccountIx, SymbolIx), usize>,
    /// Those of them that are reduce-only.
    #[serde(skip)]
    reducing: BTreeSet<(AccountIx, SymbolIx, VenueOrderId)>,
    done: VecDeque<VenueOrderId>,
    history_max: usize,
}

impl Orders {
    pub fn new(history_max: usize) -> Orders {
        Orders {
            map: BTreeMap::new(),
            keys: BTreeMap::new(),
            open: BTreeSet::new(),
            counts: BTreeMap::new(),
            reducing: BTreeSet::new(),
            done: VecDeque::new(),
            history_max,
        }
    }

    pub fn insert(&mut self, order: Order) {
        self.keys.insert((order.account, order.symbol, order.key), order.id);
        if self.open.insert((order.account, order.symbol, order.id)) {
            *self.counts.entry((order.account, order.symbol)).or_default() += 1;
        }
        if order.reduce_only {
            self.reducing.insert((order.account, order.symbol, order.id));
        }
        self.map.insert(order.id, order);
    }

    pub fn get(&self, id: VenueOrderId) -> Option<&Order> {
        self.map.get(&id)
    }

    pub fn get_mut(&mut self, id: VenueOrderId) -> Option<&mut Order> {
        self.map.get_mut(&id)
    }

    /// An order of this account and symbol, open or not. By client id it is the newest.
    pub fn find(&self, account: AccountIx, symbol: SymbolIx, order: OrderRef) -> Option<&Order> {
        let id = match order {
            OrderRef::Id(id) => id,
            OrderRef::Key(key) => *self.keys.get(&(account, symbol, key))?,
        };
        self.map.get(&id).filter(|o| o.account == account && o.symbol == symbol)
    }

    /// Open orders of an account, in one symbol or in all, by symbol and age.
    pub fn open_of(&self, account: AccountIx, symbol: Option<SymbolIx>) -> impl Iterator<Item = &Order> {
        let (first, last) = match symbol {
            Some(symbol) => (symbol, symbol),
            None => (SymbolIx(0), SymbolIx(u16::MAX)),
        };
        let range = (account, first, VenueOrderId(i64::MIN))..=(account, last, VenueOrderId(i64::MAX));
        self.open.range(range).filter_map(|(_, _, id)| self.map.get(id))
    }

    /// How many orders of an account are open in a symbol.
    pub fn open_count(&self, account: AccountIx, symbol: SymbolIx) -> usize {
        self.counts.get(&(account, symbol)).copied().unwrap_or(0)
    }

    /// Open reduce-only orders of an account in a symbol, by age.
    pub fn reducing_of(&self, account: AccountIx, symbol: SymbolIx) -> impl Iterator<Item = &Order> {
        let range = (account, symbol, VenueOrderId(i64::MIN))..=(account, symbol, VenueOrderId(i64::MAX));
        self.reducing.range(range).filter_map(|(_, _, id)| self.map.get(id))
    }

    /// Takes an order that is over from the open ones and forgets the oldest that are over.
    pub fn finish(&mut self, id: VenueOrderId) {
        let Some(order) = self.map.get(&id) else { return };
        let (account, symbol) = (order.account, order.symbol);
        if self.open.remove(&(account, symbol, id)) {
            self.reducing.remove(&(account, symbol, id));
            if let Some(count) = self.counts.get_mut(&(account, symbol)) {
                *count = count.saturating_sub(1);
            }
            self.done.push_back(id);
        }
        while self.done.len() > self.history_max {
            let Some(order) = self.done.pop_front().and_then(|id| self.map.remove(&id)) else { break };
            let key = (order.account, order.symbol, order.key);
            if self.keys.get(&key) == Some(&order.id) {
                self.keys.remove(&key);
            }
        }
    }
}
