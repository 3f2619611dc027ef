//! What one step told the outside, complete in itself: the same from a step in life and from the fold of its records.
//!
//! Projections, push feeds and the order log drink from these. Ids are dense; text and scales come from the [`Names`] of that time.
//! In: an engine between two steps. It has no part in any decision.
//! Tests: `tests/facts_driver.rs` (life and fold tell the same, step by step).

use super::{Engine, Happened};
use crate::command::{CommandKind, VenueCommand};
use crate::config::EngineConfig;
use crate::event::{Asked, Decision, Equity, HaltReason, Input, OperatorCommand, Scope, Station, VirtualPosition};
use crate::id::{Seq, VenueOrderId};
use crate::instrument::{Definition, Universe};
use crate::num::Money;
use crate::order::{Fill, OrderUpdate, Terms};
use crate::time::Ts;
use std::sync::Arc;

/// What one step told. Nothing in it changes any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The input's number.
    pub seq: Seq,
    /// The input's time.
    pub at: Ts,
    /// The input, where it tells something by itself.
    pub cause: Option<Cause>,
    /// Orders that changed, each as it is after the step, by account, symbol and key.
    pub orders: Vec<OrderFact>,
    /// Fills, each told once, in the order of their booking.
    pub fills: Vec<Fill>,
    /// Virtual positions that changed, each as it is after the step, by account, strategy and symbol.
    pub positions: Vec<PositionFact>,
    /// Accounts whose worth was computed anew, each once, by account.
    pub equities: Vec<Equity>,
    /// What was decided, in order, without questions to the venue.
    pub decisions: Vec<Decision>,
}

/// An input that tells something by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// Somebody asked for something.
    Command(OperatorCommand),
    /// The same, of somebody who is named.
    Asked(Box<Asked>),
    /// New risk was stopped from outside.
    Halt { scope: Scope, reason: HaltReason },
    /// A node is built anew.
    Rebuild(Station),
    /// The engine starts.
    Start { epoch: u32 },
    /// The configuration from here on.
    Configuration(Arc<EngineConfig>),
    /// An asset or instrument from here on.
    Definition(Box<Definition>),
}

impl Cause {
    /// Of an input; `None` for what moves the market, answers, or only wakes somebody up.
    #[inline]
    pub fn of(input: &Input) -> Option<Cause> {
        Some(match input {
            Input::Command(command) => Cause::Command(command.clone()),
            Input::Asked(asked) => Cause::Asked(asked.clone()),
            Input::Halt { scope, reason } => Cause::Halt { scope: *scope, reason: *reason },
            Input::Rebuild(station) => Cause::Rebuild(*station),
            Input::Start { epoch } => Cause::Start { epoch: *epoch },
            Input::Configuration(config) => Cause::Configuration(Arc::new((**config).clone())),
            Input::Definition(definition) => Cause::Definition(Box::new(definition.clone())),
            _ => return None,
        })
    }

    /// Whether names and scales are others from here on.
    pub fn renames(&self) -> bool {
        matches!(self, Cause::Configuration(_) | Cause::Definition(_))
    }
}

/// An order after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderFact {
    /// How others see it.
    pub update: OrderUpdate,
    /// The terms that it was placed with; `None`: somebody else's order that is over, and not kept by its key any more.
    pub terms: Option<Terms>,
    /// The exchange's number, of the matching engine where it has one, else of the conditional-order service.
    pub venue_id: Option<VenueOrderId>,
}

/// A strategy's position after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionFact {
    /// The position.
    pub position: VirtualPosition,
    /// Profit of what was closed, by average cost, before fees and funding; `None`: the ledger has no such position.
    pub realized: Option<Money>,
}

/// What turns dense ids into text, as of one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names {
    /// Assets and instruments.
    pub universe: Universe,
    /// Accounts and strategies.
    pub config: Arc<EngineConfig>,
}

impl Names {
    /// As of the engine's last step.
    pub fn of(engine: &Engine) -> Names {
        Names { universe: engine.universe().clone(), config: Arc::new(engine.config().clone()) }
    }

    /// Goes on with a step: facts are read with the names after their own step.
    pub fn follow(&mut self, facts: &Facts) {
        match &facts.cause {
            Some(Cause::Configuration(config)) => self.config = config.clone(),
            // One that cannot be followed left the engine's universe alone too.
            Some(Cause::Definition(definition)) => drop(self.universe.define(definition)),
            _ => {}
        }
    }
}

impl Facts {
    /// What the engine's last step told; `None` when that is nothing. With `valued` false what depends on mark prices is left
    /// out: the journal does not hold them, so a fold would tell something else.
    pub fn of(
        engine: &Engine,
        cause: Option<Cause>,
        happened: &Happened,
        decisions: &[Decision],
        valued: bool,
    ) -> Option<Facts> {
        let tells = |decision: &&Decision| !is_question(decision);
        let equities = if valued { last(&happened.equities, |equity| equity.account) } else { Vec::new() };
        let decided = decisions.iter().any(|decision| tells(&decision));
        let quiet = happened.orders.is_empty() && happened.fills.is_empty() && happened.positions.is_empty();
        if quiet && equities.is_empty() && cause.is_none() && !decided {
            return None;
        }
        let positions = last(&happened.positions, |p| (p.account, p.strategy, p.symbol));
        let orders = last(&happened.orders, |order| (order.account, order.symbol, order.key));
        Some(Facts {
            seq: engine.seq(),
            at: engine.now(),
            cause,
            orders: orders.into_iter().map(|update| OrderFact::of(engine, update)).collect(),
            fills: happened.fills.clone(),
            positions: positions.into_iter().map(|position| PositionFact::of(engine, position)).collect(),
            equities,
            decisions: if decided { decisions.iter().filter(tells).cloned().collect() } else { Vec::new() },
        })
    }
}

impl OrderFact {
    fn of(engine: &Engine, update: OrderUpdate) -> OrderFact {
        let known = engine.desk(update.account).and_then(|desk| desk.order(update.symbol, update.key));
        OrderFact {
            update,
            terms: known.map(|order| order.terms),
            venue_id: known.and_then(|order| order.venue_id.or(order.algo_id)),
        }
    }
}

impl PositionFact {
    fn of(engine: &Engine, position: VirtualPosition) -> PositionFact {
        let ledger = engine.ledger(position.account);
        PositionFact { position, realized: ledger.and_then(|l| l.virtual_realized(position.strategy, position.symbol)) }
    }
}

/// Questions change nothing; their answers do.
fn is_question(decision: &Decision) -> bool {
    matches!(decision, Decision::Command(VenueCommand { kind: CommandKind::Query(_), .. }))
}

/// The last item of each key, by key.
fn last<T: Copy, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    match items {
        [] => Vec::new(),
        [only] => vec![*only],
        _ => {
            // Stable, so the last of equal keys is the last one told.
            let mut items = items.to_vec();
            items.reverse();
            items.sort_by_key(|item| key(item));
            items.dedup_by_key(|item| key(item));
            items
        }
    }
}
