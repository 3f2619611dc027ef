//! The order machine: the life of one order, pure and without effects.
//!
//! It takes what the venue says in any sequence (twice, late, out of order, not at all) and answers with a [`Step`]. What it
//! knows only grows: the cumulative filled quantity is a maximum, an end is final, price and quantity follow the venue's own
//! time. So every sequence of the same facts ends in the same state. Overlays (cancel, modify, question) lie beside the phase,
//! because each of them may be under way in any phase. The desk owns the orders and turns steps into effects.
//! Tests: with the desk, in `desk/tests`: worked examples, random lives, the model check.
#![deny(clippy::float_arithmetic)]

use crate::command::{CommandId, CommandKind, Query};
use crate::config::Timing;
use crate::id::{AccountIx, ClientOrderId, OrderKey, StrategyIx, SymbolIx, VenueOrderId};
use crate::num::{Price, Quantity, Side};
use crate::order::{End, OrderState, OrderUpdate, PositionSide, Terms};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

mod merge;
mod origin;
pub use merge::Absence;

/// What a report did to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something is known that was not known before.
    Moved,
    /// Nothing new: a duplicate, or it was overtaken.
    Stale,
    /// It contradicts what is known for certain; nothing was changed. The reason is for people.
    Impossible(&'static str),
}

/// Which order it is, for good. Our ids are never used twice; others' client ids are, so those go by the venue's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderRef {
    /// Sent by this program.
    Ours(ClientOrderId),
    /// Somebody else's ordinary order.
    Foreign(SymbolIx, VenueOrderId),
    /// Somebody else's conditional order, by the number of the conditional-order service.
    ForeignConditional(SymbolIx, VenueOrderId),
}

impl OrderRef {
    /// The first in the order of references.
    pub const MIN: OrderRef =
        OrderRef::Ours(ClientOrderId { epoch: 0, account: AccountIx(0), strategy: StrategyIx(0), counter: 0 });
}

/// Where an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// On its way; not confirmed.
    InFlight,
    /// It may or may not exist; it is being asked for.
    Unknown,
    /// Confirmed: on the book, or waiting for its trigger.
    Working,
    /// Its trigger was reached; told to us at this time.
    Triggering { since: Ts },
    /// Over at the venue. Fills may still be owed to us.
    Ended(End),
}

/// At which of the venue's two services the order lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leg {
    /// An ordinary order from the start.
    Plain,
    /// At the conditional-order service.
    Waiting,
    /// A conditional order that became an ordinary one. `seen`: the ordinary order itself was reported.
    /// `over`: the conditional-order service says that it is done.
    Became { seen: bool, over: bool },
}

/// A cancellation that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// How far it is.
    pub stage: CancelStage,
    /// How often it was sent.
    pub attempts: u32,
}

/// How far a cancellation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelStage {
    /// Sent as soon as the order is confirmed: a cancellation must not overtake its order.
    Queued,
    /// Sent at that time.
    Sent { command: CommandId, at: Ts },
    /// Held back by our limiter or the link; sent again then.
    Retry { at: Ts },
    /// Its fate is unknown: the order is asked for, and if it still works the cancellation is sent again.
    Asked,
}

/// A modification under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modify {
    /// The new price.
    pub price: Price,
    /// The new quantity.
    pub quantity: Quantity,
    /// The request; `None` when its fate is unknown and the order is asked for.
    pub command: Option<CommandId>,
    /// When it was sent: written, as far as that is known, else decided.
    pub sent_at: Ts,
}

/// A question about an order, repeated until answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The query that is under way.
    pub command: Option<CommandId>,
    /// When it was asked last.
    pub asked_at: Ts,
    /// How often it was asked.
    pub attempts: u32,
    /// How often the venue knew no such order.
    pub absents: u32,
    /// When to ask again.
    pub next_at: Ts,
    /// A reconciliation missed the order: what comes out is told to a person.
    pub missing: bool,
}

/// One order, ours or adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The account.
    pub account: AccountIx,
    /// The owner.
    pub strategy: StrategyIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// The client order id; of a conditional order its `clientAlgoId`.
    pub key: OrderKey,
    /// Buy or sell.
    pub side: Side,
    /// Which position.
    pub position_side: PositionSide,
    /// Reduce-only by intent.
    pub reduce_only: bool,
    /// The exchange itself keeps it from growing or flipping the account's position.
    pub enforced: bool,
    /// The terms that it was placed with.
    pub terms: Terms,
    /// Limit price or zero, as last confirmed.
    pub price: Price,
    /// Quantity as last confirmed.
    pub quantity: Quantity,
    /// Where it is.
    pub phase: Phase,
    /// At which service.
    pub leg: Leg,
    /// Number of the conditional-order service.
    pub algo_id: Option<VenueOrderId>,
    /// Number of the matching engine.
    pub venue_id: Option<VenueOrderId>,
    /// Client id of the triggered order where it differs from `key`.
    pub child_key: Option<OrderKey>,
    /// Highest cumulative filled quantity that the venue told of.
    pub reported: Quantity,
    /// Sum of the fills that were booked.
    pub booked: Quantity,
    /// Found, not placed by us: fills from before it was found are not ours to sum up.
    pub adopted: bool,
    /// The venue has confirmed it at some time.
    pub accepted: bool,
    /// To be ended by what the trade history says: no query finds the order that it became.
    pub settle: bool,
    /// The stuck-trigger alarm was given.
    pub stuck: bool,
    /// When it was placed (or found): written, as far as that is known, else decided.
    pub sent_at: Ts,
    /// When something new was last learnt of it, by our clock.
    pub changed_at: Ts,
    /// When the question that was last answered had been asked.
    pub answered_at: Ts,
    /// The venue's time of the newest report.
    pub venue_time: Ts,
    /// The venue's time of the first report.
    pub venue_born: Option<Ts>,
    /// The request that places it, until it was written or is over.
    pub place: Option<CommandId>,
    /// A cancellation that is wanted.
    pub cancel: Option<Cancel>,
    /// A modification under way.
    pub modify: Option<Modify>,
    /// A question under way.
    pub ask: Option<Ask>,
}

impl Order {
    /// Over at the venue and everything booked: nothing is left to do.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended(_)) && !self.owes()
    }

    /// Whether the venue told of fills that were not booked, or the trade history has to tell how it ended.
    pub fn owes(&self) -> bool {
        self.settle || self.reported > self.booked
    }

    /// Whether it has ended at the venue.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether it is protective, so that it stays when entries are cancelled: see [`Terms::reduces`].
    pub fn is_protective(&self) -> bool {
        self.terms.reduces(self.reduce_only)
    }

    /// Whether a cancellation can be sent: the venue knows the order and has not ended it.
    pub fn can_cancel(&self) -> bool {
        matches!(self.phase, Phase::Working | Phase::Triggering { .. })
    }

    /// Whether a modification can be sent.
    pub fn can_modify(&self) -> bool {
        self.phase == Phase::Working
            && matches!(self.terms, Terms::Limit { .. })
            && self.cancel.is_none()
            && self.modify.is_none()
            && self.ask.is_none()
    }

    /// Whether a question goes to the conditional-order service. Of an order that became an ordinary one which nobody has
    /// seen yet, both services are asked in turn.
    pub fn asks_conditional(&self) -> bool {
        match self.leg {
            Leg::Plain => false,
            Leg::Waiting => true,
            Leg::Became { seen, over } => !seen && !over && self.ask.is_some_and(|ask| ask.attempts % 2 == 1),
        }
    }

    /// The client id under which the venue knows the ordinary order.
    pub fn wire_key(&self) -> OrderKey {
        if self.leg == Leg::Waiting { self.key } else { self.child_key.unwrap_or(self.key) }
    }

    /// How others see it. While a modification is under way price and quantity are the larger of old and new, so that exposure
    /// held by this view is enough whichever comes true. `filled` counts booked fills only, and an order is `Done` only when
    /// all its fills are booked: held exposure is never released before the position has grown by it.
    pub fn view(&self) -> OrderUpdate {
        let (mut price, mut quantity) = (self.price, self.quantity);
        if let Some(modify) = &self.modify {
            (price, quantity) = (price.max(modify.price), quantity.max(modify.quantity));
        }
        let state = match self.phase {
            Phase::InFlight => OrderState::InFlight,
            Phase::Unknown => OrderState::Unknown,
            Phase::Working => OrderState::Working,
            Phase::Triggering { .. } => OrderState::Triggering,
            Phase::Ended(_) if self.owes() => OrderState::Working,
            Phase::Ended(end) => OrderState::Done(end),
        };
        OrderUpdate {
            account: self.account,
            strategy: self.strategy,
            symbol: self.symbol,
            key: self.key,
            side: self.side,
            price,
            quantity,
            filled: self.booked,
            reduce_only: self.reduce_only,
            protective: self.is_protective(),
            conditional: self.leg == Leg::Waiting,
            state,
        }
    }

    /// Notes that a command about this order is (or was) sent. Idempotent: called when it is decided and again when a record
    /// of the decision is folded. Returns the number of the earlier command that it replaces.
    pub fn sent(&mut self, kind: &CommandKind, id: CommandId, now: Ts, timing: &Timing) -> Option<CommandId> {
        match kind {
            CommandKind::Place(_) => self.place.replace(id).filter(|old| *old != id),
            CommandKind::Modify { price, quantity, .. } => {
                let old = self.modify.and_then(|modify| modify.command);
                self.modify = Some(Modify { price: *price, quantity: *quantity, command: Some(id), sent_at: now });
                old.filter(|old| *old != id)
            }
            CommandKind::Cancel { .. } => {
                let before = self.cancel.unwrap_or(Cancel { stage: CancelStage::Queued, attempts: 0 });
                let (old, attempts) = match before.stage {
                    // The same sending, folded once more under its recorded number.
                    CancelStage::Sent { command, at } if at == now => (Some(command), before.attempts),
                    CancelStage::Sent { command, .. } => (Some(command), before.attempts.saturating_add(1)),
                    _ => (None, before.attempts.saturating_add(1)),
                };
                self.cancel = Some(Cancel { stage: CancelStage::Sent { command: id, at: now }, attempts });
                old.filter(|old| *old != id)
            }
            CommandKind::Query(Query::Order { .. }) => {
                let before = self.ask.unwrap_or(Ask::new(now, false));
                let again = before.command.is_some() && before.asked_at == now;
                let attempts = if again { before.attempts } else { before.attempts.saturating_add(1) };
                let next_at = now.plus(timing.order_timeout);
                self.ask = Some(Ask { command: Some(id), asked_at: now, attempts, next_at, ..before });
                before.command.filter(|old| *old != id)
            }
            CommandKind::Query(_) => None,
        }
    }

    /// Wants it cancelled: at once if the venue knows it, else as soon as it does.
    pub fn want_cancel(&mut self) {
        if !self.has_ended() && self.cancel.is_none() {
            self.cancel = Some(Cancel { stage: CancelStage::Queued, attempts: 0 });
        }
    }

    /// Begins to ask for the order, unless that is under way.
    pub fn start_asking(&mut self, now: Ts, missing: bool) {
        match &mut self.ask {
            Some(ask) => ask.missing |= missing,
            None => self.ask = Some(Ask::new(now, missing)),
        }
    }

    /// A question that waits for its time is asked at once: somebody needs the answer, or the venue answers again.
    pub fn hurry(&mut self, now: Ts) {
        if let Some(ask) = self.ask.as_mut().filter(|ask| ask.command.is_none()) {
            ask.next_at = ask.next_at.min(now);
        }
    }

    /// When time alone will change something.
    pub fn next_wake(&self, timing: &Timing, triggering_bound: Span) -> Option<Ts> {
        if self.has_ended() {
            return None;
        }
        let mut next: Option<Ts> = None;
        let mut at = |time: Ts| next = Some(next.map_or(time, |first| first.min(time)));
        if let Some(ask) = &self.ask {
            at(ask.next_at);
        }
        if self.phase == Phase::InFlight {
            at(self.sent_at.plus(timing.order_timeout));
        }
        match self.cancel.map(|cancel| cancel.stage) {
            Some(CancelStage::Sent { at: sent, .. }) => at(sent.plus(timing.order_timeout)),
            Some(CancelStage::Retry { at: then }) => at(then),
            // It had no room in its step.
            Some(CancelStage::Queued) if self.can_cancel() => at(self.changed_at),
            _ => {}
        }
        if let Some(Modify { command: Some(_), sent_at, .. }) = self.modify {
            at(sent_at.plus(timing.order_timeout));
        }
        if let Phase::Triggering { since } = self.phase
            && !self.stuck
        {
            at(since.plus(triggering_bound));
            if self.ask.is_none() && self.answered_at < since {
                at(since.plus(half(triggering_bound)));
            }
        }
        if self.ask.is_none()
            && let Some(due) = self.child_due(timing)
        {
            at(due);
        }
        next
    }

    /// When to ask for the ordinary order that a conditional one became, if reports do not tell of it first.
    pub fn child_due(&self, timing: &Timing) -> Option<Ts> {
        let again = self.answered_at > self.changed_at;
        match self.leg {
            _ if self.has_ended() || self.settle => None,
            Leg::Became { over: true, .. } if again => Some(self.answered_at.plus(timing.order_timeout)),
            Leg::Became { over: true, .. } => Some(self.changed_at.plus(timing.query_backoff)),
            Leg::Became { seen: false, .. } if again => Some(self.answered_at.plus(timing.query_backoff_max)),
            Leg::Became { seen: false, .. } => Some(self.changed_at.plus(timing.order_timeout)),
            _ => None,
        }
    }
}

impl Ask {
    fn new(now: Ts, missing: bool) -> Ask {
        Ask { command: None, asked_at: Ts::ZERO, attempts: 0, absents: 0, next_at: now, missing }
    }
}

/// Half of a span.
pub(super) fn half(span: Span) -> Span {
    Span::from_nanos(span.nanos() / 2)
}

/// The pause before question number `attempts` + 1: doubles from `query_backoff` up to `query_backoff_max`.
pub fn backoff(timing: &Timing, attempts: u32) -> Span {
    let first = timing.query_backoff.nanos().max(1_000_000);
    let doubled = first.saturating_mul(1i64 << attempts.saturating_sub(1).min(20));
    Span::from_nanos(doubled.min(timing.query_backoff_max.nanos().max(first)))
}
