//! Where an order comes from: placed by us, or found at the venue.

use super::{Leg, Order, Phase};
use crate::id::{AccountIx, OrderKey, StrategyIx, SymbolIx};
use crate::num::{Price, Quantity, Side};
use crate::order::{ConditionalReport, NewOrder, OrderReport, PositionSide, Terms};
use crate::time::Ts;

/// What is known of every order from its first moment.
struct Facts {
    account: AccountIx,
    strategy: StrategyIx,
    symbol: SymbolIx,
    key: OrderKey,
    side: Side,
    position_side: PositionSide,
    terms: Terms,
    quantity: Quantity,
    reduce_only: bool,
}

impl Facts {
    /// An ordinary order about to be sent, of which the venue has said nothing.
    fn order(self, now: Ts) -> Order {
        Order {
            account: self.account,
            strategy: self.strategy,
            symbol: self.symbol,
            key: self.key,
            side: self.side,
            position_side: self.position_side,
            reduce_only: self.reduce_only,
            enforced: self.reduce_only,
            terms: self.terms,
            price: self.terms.limit_price().unwrap_or(Price::ZERO),
            quantity: self.quantity,
            phase: Phase::InFlight,
            leg: Leg::Plain,
            algo_id: None,
            venue_id: None,
            child_key: None,
            reported: Quantity::ZERO,
            booked: Quantity::ZERO,
            adopted: false,
            accepted: false,
            settle: false,
            stuck: false,
            sent_at: now,
            changed_at: now,
            answered_at: Ts::ZERO,
            venue_time: Ts::ZERO,
            venue_born: None,
            place: None,
            cancel: None,
            modify: None,
            ask: None,
        }
    }
}

impl Order {
    /// An order that the gate passed and that is about to be sent.
    pub fn placed(order: &NewOrder, now: Ts) -> Order {
        let intent = &order.intent;
        let facts = Facts {
            account: intent.id.account,
            strategy: intent.id.strategy,
            symbol: intent.symbol,
            key: OrderKey::Ours(intent.id),
            side: intent.side,
            position_side: intent.position_side,
            terms: intent.terms,
            quantity: intent.quantity,
            reduce_only: intent.reduce_only,
        };
        let leg = if intent.terms.is_conditional() { Leg::Waiting } else { Leg::Plain };
        Order { enforced: order.is_enforced(), leg, ..facts.order(now) }
    }

    /// An ordinary order that nobody here placed. Of the fills that the report counts, `carried` is still to be booked; the
    /// others are taken as booked: they precede us, or the trade history brings them.
    pub fn adopted(report: &OrderReport, carried: Quantity, now: Ts) -> Order {
        let facts = Facts {
            account: report.account,
            strategy: StrategyIx::EXTERNAL,
            symbol: report.symbol,
            key: report.key,
            side: report.side,
            position_side: report.position_side,
            terms: report.terms,
            quantity: report.quantity,
            reduce_only: report.reduce_only,
        };
        let before = report.filled.saturating_sub(carried);
        Order {
            phase: Phase::Unknown,
            adopted: true,
            venue_id: Some(report.venue_id),
            reported: before,
            booked: before,
            ..facts.order(now)
        }
    }

    /// A conditional order that nobody here placed.
    pub fn adopted_conditional(report: &ConditionalReport, now: Ts) -> Order {
        let facts = Facts {
            account: report.account,
            strategy: StrategyIx::EXTERNAL,
            symbol: report.symbol,
            key: report.key,
            side: report.side,
            position_side: report.position_side,
            terms: Terms::Conditional(report.terms),
            quantity: report.quantity,
            reduce_only: report.reduce_only || report.terms.close_position,
        };
        Order {
            phase: Phase::Unknown,
            adopted: true,
            leg: Leg::Waiting,
            algo_id: Some(report.venue_id),
            ..facts.order(now)
        }
    }
}
