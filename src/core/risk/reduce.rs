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
//! Where it does not, the exit can open a position of the account, so it is **new risk** and passes only what new risk passes:
//! halts, trust, budget, limits. And it may only give back what other strategies hold against it. What is gone from the account
//! otherwise (liquidated, deleveraged, closed by a person, repaired: the reserved strategy has it with the opposite sign) is not
//! opened again by an exit; a person has to settle it.
//!
//! The desk's own order that closes a position whose stop got stuck may be as large as the position, whatever else is open.
//!
//! An exit that the exchange enforces is never refused for the account's limits. That is the one way in which held exposure can
//! come to exceed them: it lets plain orders resting on its side go further beyond zero. What is held says so honestly, and
//! everything else is refused until it is below again.
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

    /// A position, positive if the wish's side closes it.
    fn toward(&self, position: i128) -> i128 {
        if self.side == Side::Sell { position } else { position.saturating_neg() }
    }

    /// How much of a position the wish's side can close.
    fn closable(&self, position: i64) -> i128 {
        self.toward(position as i128).max(0)
    }

    /// How much of the account's position is left to close beside the orders whose reduction the exchange enforces.
    fn cover(&self, holds: &Holds) -> i128 {
        let book = holds.book(self.symbol());
        // The desk's closing order does not wait for what else rests: see above.
        let taken = if self.emergency { 0 } else { book.side(self.side).enforced };
        self.toward(book.position) - taken
    }

    fn too_large(&self, available: i128, position: i64) -> Refusal {
        Refusal::ReduceOnlyTooLarge {
            quantity: Decimal::quantity(self.instrument, self.open),
            available: self.decimal(available),
            position: self.decimal(position as i128),
        }
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
        return Err(wish.too_large(available, lane.position));
    }
    Ok((enforced && !wish.emergency) || wish.cover(holds) >= open)
}

/// Checks an exit that the exchange does not enforce: with it and all others like it filled, the account is not further on the
/// other side than the other strategies are.
pub(super) fn check_owed(holds: &Holds, wish: &Wish<'_>) -> Result<(), Refusal> {
    let symbol = wish.symbol();
    let book = holds.book(symbol);
    let side = book.side(wish.side);
    let account = wish.toward(book.position);
    // What the exchange enforces takes the account to zero at most.
    let enforced = if side.closing > 0 { i128::MAX } else { side.enforced };
    let left = account.min(account.saturating_sub(enforced).max(0));
    let (mut owed, mut exits) = (0i128, -(wish.replaces.mantissa() as i128));
    for (strategy, lane) in holds.lanes(symbol) {
        let own = strategy == wish.strategy;
        if !own && strategy != StrategyIx::EXTERNAL {
            owed += wish.toward(-(lane.position as i128)).max(0);
        }
        // The stuck order that the desk's closing order stands in for is being cancelled.
        exits += if own && wish.emergency { 0 } else { lane.side(wish.side).unenforced };
    }
    let available = (left + owed - exits).max(0);
    if wish.open.mantissa() as i128 <= available {
        return Ok(());
    }
    Err(wish.too_large(available, holds.lane(symbol, wish.strategy).position))
}

/// The refusal of an exit of which the account's position covers a part: that part, if there is one.
pub(super) fn covered_part(holds: &Holds, wish: &Wish<'_>) -> Option<Refusal> {
    let cover = wish.cover(holds);
    (cover > 0).then(|| wish.too_large(cover, holds.lane(wish.symbol(), wish.strategy).position))
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
