//! The desk's tables: orders, their indices, the tasks that time brings, and the commands under way.
#![deny(clippy::float_arithmetic)]

use super::close::Closing;
use super::fills::{Booked, TradesAsk};
use super::held::Held;
use crate::command::{CommandId, CommandKind};
use crate::id::{ClientOrderId, OrderKey, StrategyIx, SymbolIx, VenueOrderId};
use crate::num::NetQuantity;
use crate::order::OrderUpdate;
use crate::order::state::{Leg, Order, OrderRef};
use crate::time::Ts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many finished orders are remembered, so that late duplicates are known for what they are.
const HISTORY: usize = 1024;

/// How many commands may await their outcome.
const COMMANDS: usize = 8192;

/// Ids of closing orders that the desk itself asks for begin here, so that they never meet a runner's.
const CLOSE_IDS: u32 = 0x8000_0000;

/// An order in its table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) order: Order,
    /// The view that was emitted last.
    pub(super) told: Option<OrderUpdate>,
    /// The task that is filed for it.
    wake: Option<Ts>,
    /// Whether it stands in the history's queue.
    finished: bool,
    /// The client ids under which it stands in [`State::aliases`].
    aliases: [Option<OrderKey>; 2],
}

impl Entry {
    pub(super) fn new(order: Order) -> Box<Entry> {
        Box::new(Entry { order, told: None, wake: None, finished: false, aliases: [None; 2] })
    }
}

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Pending {
    Place(OrderRef),
    Modify(OrderRef),
    Cancel(OrderRef),
    Ask(OrderRef),
    Trades(SymbolIx),
    /// A cancellation of an order that nobody here knows.
    Blind,
}

impl Pending {
    pub(super) fn of(kind: &CommandKind, id: OrderRef) -> Pending {
        match kind {
            CommandKind::Place(_) => Pending::Place(id),
            CommandKind::Modify { .. } => Pending::Modify(id),
            CommandKind::Cancel { .. } => Pending::Cancel(id),
            CommandKind::Query(_) => Pending::Ask(id),
        }
    }
}

/// What time brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Task {
    Order(OrderRef),
    Trades(SymbolIx),
    Held(SymbolIx, VenueOrderId),
    Close(StrategyIx, SymbolIx),
}

/// Everything that the desk remembers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Orders that are not over. Boxed, because every change takes an order out and files it again.
    pub(super) open: BTreeMap<OrderRef, Box<Entry>>,
    /// The last orders that are over.
    finished: BTreeMap<OrderRef, Box<Entry>>,
    /// The same, oldest first.
    finished_queue: VecDeque<OrderRef>,
    /// Orders of both tables by the matching engine's number.
    by_venue: BTreeMap<(SymbolIx, VenueOrderId), OrderRef>,
    /// Open orders by a client id that is not the one that we gave them: foreign orders, and what a conditional order became.
    aliases: BTreeSet<(SymbolIx, OrderKey, OrderRef)>,
    /// Open orders without such a number: a stranger may turn out to be theirs.
    pub(super) unlinked: BTreeSet<(SymbolIx, OrderRef)>,
    /// Open orders with fills to be booked.
    pub(super) owed: BTreeSet<(SymbolIx, OrderRef)>,
    /// Commands whose outcome is awaited.
    pub(super) commands: BTreeMap<CommandId, Pending>,
    /// Trades that were booked.
    pub(super) booked: BTreeMap<SymbolIx, Booked>,
    /// Questions for the trade history.
    pub(super) trades: BTreeMap<SymbolIx, TradesAsk>,
    /// Strangers whose owner is being looked for.
    pub(super) held: BTreeMap<(SymbolIx, VenueOrderId), Held>,
    /// What time brings, earliest first.
    pub(super) tasks: BTreeSet<(Ts, Task)>,
    /// When the engine's timer is set.
    pub(super) armed: Option<Ts>,
    /// Net quantity of each strategy by symbol: as the ledger told, else the sum of the fills booked.
    pub(super) nets: BTreeMap<(StrategyIx, SymbolIx), NetQuantity>,
    close_ids: u32,
    /// What is closed in the place of stuck stops.
    pub(super) closing: BTreeMap<(StrategyIx, SymbolIx), Closing>,
}

impl State {
    /// An order of either table.
    pub(super) fn entry(&self, id: OrderRef) -> Option<&Entry> {
        self.open.get(&id).or_else(|| self.finished.get(&id)).map(|entry| &**entry)
    }

    /// Takes an order out of its table; it has to be filed again.
    pub(super) fn take(&mut self, id: OrderRef) -> Option<Box<Entry>> {
        self.open.remove(&id).or_else(|| self.finished.remove(&id))
    }

    /// Takes an order out for good.
    pub(super) fn remove(&mut self, id: OrderRef) -> Option<Box<Entry>> {
        let mut entry = self.take(id)?;
        let symbol = entry.order.symbol;
        self.set_aliases(id, &mut entry, [None; 2]);
        self.unlinked.remove(&(symbol, id));
        self.owed.remove(&(symbol, id));
        if let Some(wake) = entry.wake {
            self.tasks.remove(&(wake, Task::Order(id)));
        }
        if entry.finished {
            self.finished_queue.retain(|other| *other != id);
        }
        Some(entry)
    }

    /// The order that a report of the matching engine is about.
    pub(super) fn locate(&self, symbol: SymbolIx, key: OrderKey, venue: VenueOrderId) -> Option<OrderRef> {
        let ours = key.ours().map(OrderRef::Ours).filter(|id| self.entry(*id).is_some());
        ours.or_else(|| self.by_venue(symbol, venue))
    }

    /// The order with this number of the matching engine.
    pub(super) fn by_venue(&self, symbol: SymbolIx, venue: VenueOrderId) -> Option<OrderRef> {
        self.by_venue.get(&(symbol, venue)).copied()
    }

    /// An open order by the client id that a person or a strategy knows.
    pub(super) fn find_open(&self, symbol: SymbolIx, key: OrderKey) -> Option<OrderRef> {
        if let OrderKey::Ours(id) = key
            && self.open.contains_key(&OrderRef::Ours(id))
        {
            return Some(OrderRef::Ours(id));
        }
        let first = self.aliases.range((symbol, key, OrderRef::MIN)..).next()?;
        (first.0 == symbol && first.1 == key).then_some(first.2)
    }

    /// Changes the client ids under which an order is found besides the one that we gave it.
    fn set_aliases(&mut self, id: OrderRef, entry: &mut Entry, aliases: [Option<OrderKey>; 2]) {
        if entry.aliases == aliases {
            return;
        }
        let symbol = entry.order.symbol;
        for old in entry.aliases.into_iter().flatten() {
            self.aliases.remove(&(symbol, old, id));
        }
        self.aliases.extend(aliases.into_iter().flatten().map(|new| (symbol, new, id)));
        entry.aliases = aliases;
    }

    /// Files an order with its indices and its next waking.
    pub(super) fn file(&mut self, id: OrderRef, mut entry: Box<Entry>, wake: Option<Ts>) {
        let order = &entry.order;
        let symbol = order.symbol;
        if let Some(venue) = order.venue_id {
            self.by_venue.insert((symbol, venue), id);
        }
        let over = order.is_over();
        set(&mut self.unlinked, (symbol, id), !order.has_ended() && order.venue_id.is_none());
        set(&mut self.owed, (symbol, id), order.owes());
        let foreign = Some(order.key).filter(|key| key.ours().map(OrderRef::Ours) != Some(id));
        let aliases = if over { [None; 2] } else { [foreign, order.child_key] };
        self.set_aliases(id, &mut entry, aliases);
        if entry.wake != wake {
            if let Some(old) = entry.wake {
                self.tasks.remove(&(old, Task::Order(id)));
            }
            if let Some(new) = wake {
                self.tasks.insert((new, Task::Order(id)));
            }
            entry.wake = wake;
        }
        if !over {
            if entry.finished {
                self.finished_queue.retain(|other| *other != id);
                entry.finished = false;
            }
            self.open.insert(id, entry);
            return;
        }
        if !entry.finished {
            entry.finished = true;
            self.finished_queue.push_back(id);
        }
        self.finished.insert(id, entry);
        if self.finished_queue.len() > HISTORY {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(id) = self.finished_queue.pop_front() else { return };
        if let Some(entry) = self.finished.remove(&id)
            && let Some(venue) = entry.order.venue_id
            && self.by_venue.get(&(entry.order.symbol, venue)) == Some(&id)
        {
            self.by_venue.remove(&(entry.order.symbol, venue));
        }
    }

    /// Notes a command under its number, in place of the one that it repeats.
    pub(super) fn replace_command(&mut self, old: Option<CommandId>, id: CommandId, pending: Pending) {
        if let Some(old) = old
            && self.commands.get(&old) == Some(&pending)
        {
            self.commands.remove(&old);
        }
        self.commands.insert(id, pending);
        if self.commands.len() > COMMANDS {
            // Outcomes that never came; whatever they were about has been asked for since.
            self.commands.pop_first();
        }
    }

    /// The next task that is due, taken out.
    pub(super) fn due(&mut self, now: Ts) -> Option<Task> {
        let (at, task) = *self.tasks.first()?;
        if at > now {
            return None;
        }
        self.tasks.pop_first();
        if let Task::Order(id) = task
            && let Some(entry) = self.open.get_mut(&id)
        {
            entry.wake = None;
        }
        Some(task)
    }

    /// Moves a task.
    pub(super) fn reschedule(&mut self, task: Task, old: Option<Ts>, new: Option<Ts>) {
        if let Some(old) = old {
            self.tasks.remove(&(old, task));
        }
        if let Some(new) = new {
            self.tasks.insert((new, task));
        }
    }

    /// Open orders of a symbol that may turn out to be the owner of a stranger: those without a number of the matching engine.
    pub(super) fn candidates(&self, symbol: SymbolIx, waiting_only: bool) -> impl Iterator<Item = OrderRef> + '_ {
        let of_symbol = self.unlinked.range((symbol, OrderRef::MIN)..).take_while(move |(other, _)| *other == symbol);
        of_symbol
            .map(|(_, id)| *id)
            .filter(move |id| !waiting_only || self.open.get(id).is_some_and(|entry| entry.order.leg == Leg::Waiting))
    }

    /// Orders of a symbol with fills to be booked.
    pub(super) fn owed_of(&self, symbol: SymbolIx) -> impl Iterator<Item = OrderRef> + '_ {
        let of_symbol = self.owed.range((symbol, OrderRef::MIN)..).take_while(move |(other, _)| *other == symbol);
        of_symbol.map(|(_, id)| *id)
    }

    /// The counter of the next closing order.
    pub(super) fn next_close_id(&mut self) -> u32 {
        self.close_ids = self.close_ids.wrapping_add(1) & !CLOSE_IDS;
        CLOSE_IDS | self.close_ids
    }

    /// A closing order of this epoch was sent: its counter is used up.
    pub(super) fn note_close_id(&mut self, id: ClientOrderId, epoch: u32) {
        if id.epoch == epoch && id.counter & CLOSE_IDS != 0 {
            self.close_ids = self.close_ids.max(id.counter & !CLOSE_IDS);
        }
    }
}

fn set<T: Ord>(set: &mut BTreeSet<T>, item: T, member: bool) {
    if member {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}
