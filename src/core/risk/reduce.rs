//! Reduce-only and closing orders: what a strategy may close, and who else is in the symbol.
//!
//! `reduce_only` is a promise about the strategy's *virtual* position; the exchange knows only the account's. A strategy that is
//! its symbol's **sole owner** (no other is configured for it, none has a position or order in it) has the account's position for
//! its own: `reduceOnly` is always sent, the exchange keeps the promise itself, and a stop, a take-profit and an exit may
//! rest side by side, each as large as the position; whichever comes second is knocked out there. While such orders rest,
//! nobody else may open in the symbol.
//!
//! In a **shared** symbol the exchange cannot keep it. There all open orders of the strategy on the closing side, plain and
//! reducing, triggered or not, fit into the position together, as long as one of them is reduce-only; so whatever
//! fills in whatever order, the position never flips. `reduceOnly` is then sent only where the account's position covers it.
//!
//! The desk's own order that closes a position whose stop got stuck may be as large as the position, whatever else is open.
//!
//! An exit is never refused for the account's limits. That is the one way in which held exposure can come to exceed them: by an
//! exit that the exchange does not enforce, or one that lets plain orders resting on its side go further beyond zero. What is
//! held says so honestly, and everything else is refused until it is below again.
#![deny(clippy::float_arithmetic)]

use super::holds::{Holds, Lane};
use super::refusal::{Decimal, Refusal};
use crate::config::EngineConfig;
use crate::id::{AccountIx, StrategyIx, SymbolIx};
use crate::instrument::Instrument;
use crate::num::{NetQuantity, Quantity, Side};

/// Who wants to place or modify what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    pub account: AccountIx,
    pub strategy: StrategyIx,
    pub side: Side,
    /// What would be open.
    pub open: Quantity,
    /// What is open of it already, when it is modified.
    pub replaces: Quantity,
    /// Waits for a trigger.
    pub conditional: bool,
    /// The desk closes a position whose stop got stuck.
    pub emergency: bool,
    pub instrument: &'a Instrument,
    pub config: &'a EngineConfig,
}

impl Wish<'_> {
    fn symbol(&self) -> SymbolIx {
        self.instrument.symbol
    }

    /// How much of a position the wish's side can close.
    fn closable(&self, position: i64) -> i128 {
        let position = if self.side == Side::Sell { position as i128 } else { -(position as i128) };
        position.max(0)
    }

    /// Whether the exchange keeps every promise of this strategy on this side.
    fn enforced(&self, holds: &Holds, lane: &Lane) -> bool {
        lane.side(self.side).unenforced == 0
            && is_sole_owner(holds, self.account, self.strategy, self.symbol(), self.config)
    }

    fn decimal(&self, quantity: i128) -> Decimal {
        let bounded = i64::try_from(quantity).unwrap_or(i64::MAX);
        Decimal::net(self.instrument, NetQuantity::from_mantissa(bounded))
    }
}

/// Whether a strategy is alone in a symbol of the account.
pub(super) fn is_sole_owner(
    holds: &Holds,
    account: AccountIx,
    strategy: StrategyIx,
    symbol: SymbolIx,
    config: &EngineConfig,
) -> bool {
    let configured = config.strategies().any(|(other, settings)| {
        other != strategy && settings.account == account && settings.symbols.contains(&symbol)
    });
    !configured && holds.lanes(symbol).all(|(other, _)| other == strategy)
}

/// Checks an order that closes the whole position at its trigger.
pub(super) fn check_close(holds: &Holds, wish: &Wish<'_>) -> Result<(), Refusal> {
    let lane = holds.lane(wish.symbol(), wish.strategy);
    if wish.closable(lane.position) == 0 {
        return Err(Refusal::NothingToReduce { position: wish.decimal(lane.position as i128) });
    }
    if !is_sole_owner(holds, wish.account, wish.strategy, wish.symbol(), wish.config) {
        return Err(Refusal::NotSoleOwner(wish.strategy));
    }
    Ok(())
}

/// Checks a reduce-only order. Returns whether `reduceOnly` is sent.
pub(super) fn check_reduce_only(holds: &Holds, wish: &Wish<'_>) -> Result<bool, Refusal> {
    let lane = holds.lane(wish.symbol(), wish.strategy);
    let position = wish.closable(lane.position);
    if position == 0 {
        return Err(Refusal::NothingToReduce { position: wish.decimal(lane.position as i128) });
    }
    let enforced = wish.enforced(holds, &lane);
    let working = lane.side(wish.side);
    let taken = match (enforced, wish.conditional) {
        // The stuck stop must not stand in the way, nor anything else: the position is unprotected.
        _ if wish.emergency => 0,
        (true, true) => 0,
        (true, false) => working.reducing,
        (false, _) => working.reducing + working.waiting + working.plain,
    };
    // What is modified does not stand in its own way.
    let replaced = if enforced && wish.conditional { 0 } else { wish.replaces.mantissa() as i128 };
    let available = (position - taken + replaced).max(0);
    let open = wish.open.mantissa() as i128;
    if open > available {
        return Err(Refusal::ReduceOnlyTooLarge {
            quantity: Decimal::quantity(wish.instrument, wish.open),
            available: wish.decimal(available),
            position: wish.decimal(lane.position as i128),
        });
    }
    let book = holds.book(wish.symbol());
    let account = if wish.side == Side::Sell { book.position } else { -book.position };
    if wish.emergency {
        return Ok(account >= open);
    }
    Ok(enforced || account - book.side(wish.side).enforced >= open)
}

/// Checks an order that may grow the position: it must not take what others rely on.
pub(super) fn check_plain(holds: &Holds, wish: &Wish<'_>) -> Result<(), Refusal> {
    let owner = holds.lanes(wish.symbol()).find(|(other, lane)| *other != wish.strategy && lane.exclusive > 0);
    if let Some((owner, _)) = owner {
        return Err(Refusal::Exclusive(owner));
    }
    let lane = holds.lane(wish.symbol(), wish.strategy);
    let working = lane.side(wish.side);
    let relying = working.reducing + working.waiting;
    if relying == 0 || wish.enforced(holds, &lane) {
        return Ok(());
    }
    let plain = working.plain - wish.replaces.mantissa() as i128 + wish.open.mantissa() as i128;
    if relying + plain > wish.closable(lane.position) {
        return Err(Refusal::ReduceOnlyConflict { position: wish.decimal(lane.position as i128) });
    }
    Ok(())
}
