//! What a runner keeps of its strategy over every instance of it: ids given out, positions, open orders, timers, held intents.

use crate::event::{Event, Refused, Station, TimerId, VirtualPosition};
use crate::id::{AccountIx, ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use crate::node::Outbox;
use crate::num::NetQuantity;
use crate::order::{Intent, OrderState, OrderUpdate};
use crate::risk::gate::Refusal;
use crate::strategy::Permit;
use crate::time::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counters from here on belong to orders that the desk makes itself.
pub const COUNTER_END: u32 = 0x8000_0000;

/// One of the strategy's orders that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrder {
    /// Its newest state; [`OrderState::InFlight`] from the moment that it was placed.
    pub update: OrderUpdate,
    /// Since when a cancel or a change is under way.
    pub(super) asked: Option<Ts>,
    /// Whether the desk told of it: until then it can still be refused, or be lost with a fault of another node.
    pub(super) confirmed: bool,
}

impl OpenOrder {
    /// Its id, if this program placed it.
    pub fn id(&self) -> Option<ClientOrderId> {
        self.update.key.ours()
    }

    /// Whether a cancel or a change is under way: its outcome should be waited for.
    pub fn is_changing(&self) -> bool {
        self.asked.is_some()
    }
}

/// The open orders of a strategy, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct OpenOrders<'a>(&'a BTreeMap<OrderKey, OpenOrder>);

impl<'a> OpenOrders<'a> {
    /// All of them.
    pub fn iter(self) -> std::collections::btree_map::Values<'a, OrderKey, OpenOrder> {
        self.0.values()
    }

    /// The oldest.
    pub fn first(self) -> Option<&'a OpenOrder> {
        self.0.first_key_value().map(|(_, order)| order)
    }

    /// The one with this key.
    pub fn get(self, key: OrderKey) -> Option<&'a OpenOrder> {
        self.0.get(&key)
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// What the runner keeps of one strategy over every instance of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Own {
    pub(super) epoch: u32,
    pub(super) counter: u32,
    pub(super) positions: Vec<VirtualPosition>,
    /// By key, so by age: ids of a strategy rise.
    pub(super) orders: BTreeMap<OrderKey, OpenOrder>,
    pub(super) timers: Vec<u32>,
    /// Answers to refusals, until the next input.
    pub(super) held: Vec<Intent>,
}

impl Own {
    pub(super) fn next_id(&mut self, epoch: u32, account: AccountIx, strategy: StrategyIx) -> Option<ClientOrderId> {
        if self.epoch != epoch {
            (self.epoch, self.counter) = (epoch, 0);
        }
        let counter = self.counter.checked_add(1).filter(|&next| next < COUNTER_END)?;
        self.counter = counter;
        Some(ClientOrderId { epoch, account, strategy, counter })
    }

    /// Takes notice of an id that was given out earlier: the counter never falls behind it.
    pub(super) fn used(&mut self, id: ClientOrderId) {
        if id.counter >= COUNTER_END {
            return;
        }
        if id.epoch > self.epoch {
            (self.epoch, self.counter) = (id.epoch, id.counter);
        } else if id.epoch == self.epoch {
            self.counter = self.counter.max(id.counter);
        }
    }

    pub(super) fn orders(&self) -> OpenOrders<'_> {
        OpenOrders(&self.orders)
    }

    pub(super) fn positions(&self) -> &[VirtualPosition] {
        &self.positions
    }

    pub(super) fn position(&self, symbol: SymbolIx) -> NetQuantity {
        self.positions.iter().find(|p| p.symbol == symbol).map_or(NetQuantity::ZERO, |p| p.quantity)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.orders.is_empty() && self.positions.iter().all(|p| p.quantity.is_zero())
    }

    pub(super) fn book_order(&mut self, update: &OrderUpdate) {
        if let Some(id) = update.key.ours() {
            self.used(id);
        }
        if matches!(update.state, OrderState::Done(_)) {
            self.orders.remove(&update.key);
        } else {
            self.orders.insert(update.key, OpenOrder { update: *update, asked: None, confirmed: true });
        }
    }

    pub(super) fn book_position(&mut self, position: &VirtualPosition) {
        match self.positions.iter_mut().find(|p| p.symbol == position.symbol) {
            Some(known) => *known = *position,
            None => self.positions.push(*position),
        }
    }

    /// Takes over what desk and ledger have. A cancel or change that was asked for stays asked for.
    pub(super) fn take_books(
        &mut self,
        orders: impl Iterator<Item = OrderUpdate>,
        positions: impl Iterator<Item = VirtualPosition>,
    ) {
        let mut known = BTreeMap::new();
        for update in orders.filter(|update| !matches!(update.state, OrderState::Done(_))) {
            let asked = self.orders.get(&update.key).and_then(|before| before.asked);
            known.insert(update.key, OpenOrder { update, asked, confirmed: true });
        }
        for (key, order) in self.orders.iter().filter(|(_, order)| !order.confirmed) {
            known.entry(*key).or_insert(*order);
        }
        self.orders = known;
        for position in &mut self.positions {
            position.quantity = NetQuantity::ZERO;
        }
        positions.for_each(|position| self.book_position(&position));
    }

    pub(super) fn book_refusal(&mut self, refused: &Refused) {
        match refused.intent {
            Intent::Place(order) => self.forget(OrderKey::Ours(order.id)),
            // An order that nobody else knows is over, whatever became of the news.
            Intent::Cancel { key, .. } if matches!(refused.reason, Refusal::UnknownOrder(_)) => self.forget(key),
            Intent::Cancel { key, .. } => self.unask(key),
            Intent::Modify { id, .. } => self.unask(OrderKey::Ours(id)),
            Intent::CancelAll { symbol, .. } => {
                let of_symbol = |o: &&mut OpenOrder| symbol.is_none_or(|s| s == o.update.symbol);
                self.orders.values_mut().filter(of_symbol).for_each(|o| o.asked = None);
            }
        }
    }

    fn unask(&mut self, key: OrderKey) {
        if let Some(order) = self.orders.get_mut(&key) {
            order.asked = None;
        }
    }

    pub(super) fn forget(&mut self, key: OrderKey) {
        self.orders.remove(&key);
    }

    /// Forgets answers to refusals that have not left.
    pub(super) fn drop_held(&mut self) {
        for intent in std::mem::take(&mut self.held) {
            if let Intent::Place(order) = intent {
                self.forget(OrderKey::Ours(order.id));
            }
        }
    }

    /// Forgets orders that the desk never told of. One that is still on its way to the desk is told of later.
    pub(super) fn drop_unconfirmed(&mut self) {
        let held = &self.held;
        let waits = |key| held.iter().any(|i| matches!(i, Intent::Place(order) if OrderKey::Ours(order.id) == key));
        self.orders.retain(|key, o| o.confirmed || waits(*key));
    }

    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Emits what was held back, as far as `permit` still allows it; the rest never happened.
    pub(super) fn release(&mut self, permit: Permit, out: &mut Outbox) {
        for intent in std::mem::take(&mut self.held) {
            let needed = match intent {
                Intent::Place(order) if !order.reduces() => Permit::Trade,
                _ => Permit::Reduce,
            };
            match intent {
                _ if permit >= needed => out.push(Event::Intent(intent)),
                Intent::Place(order) => self.forget(OrderKey::Ours(order.id)),
                _ => {}
            }
        }
    }

    /// Disarms every timer of the strategy, in the order in which they were armed.
    pub(super) fn disarm_all(&mut self, strategy: StrategyIx, out: &mut Outbox) {
        for key in self.timers.drain(..) {
            out.push(Event::Disarm(TimerId { station: Station::Runner(strategy), key: u64::from(key) }));
        }
    }

    /// Whether the strategy armed this timer; it is not armed any more.
    pub(super) fn fired(&mut self, key: u32) -> bool {
        let at = self.timers.iter().position(|&k| k == key);
        at.map(|at| self.timers.remove(at)).is_some()
    }
}
