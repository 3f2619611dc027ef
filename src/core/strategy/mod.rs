//! Strategies: what they are told, what they may do, and the node that runs them.
//!
//! A [`Strategy`] is a synchronous state machine like every node: no clock, no I/O, no chance. It is told [`StrategyEvent`]s and acts
//! through its [`StrategyContext`]. It never talks to the exchange: every order is an intent that the gate may refuse.
//!
//! Write a strategy so that it *converges*: on each event look at position and open orders of the context, compare with what is
//! wanted, and ask for the difference. Then restarts, refusals, partial fills and pauses need no code of their own.
//! The two built-in strategies are written this way: start reading at [`trend_follower`].

use crate::event::{Refused, VirtualPosition};
use crate::id::SymbolIx;
use crate::market::{Candle, Mark, Quote, Trade};
use crate::node::{SnapshotError, hash_bytes};
use crate::order::{Fill, OrderUpdate};
use crate::time::Span;

pub mod context;
pub mod mean_reverter;
mod own;
pub mod param;
pub mod registry;
pub mod runner;
mod series;
#[cfg(test)]
pub(crate) mod testkit;
pub mod trend_follower;

pub use context::{OrderSpec, Permit, StrategyContext};
pub use own::{COUNTER_END, OpenOrder, OpenOrders};
pub use param::{ParamError, ParamKind, ParamSpec, Params};
pub use registry::{BuildError, Registry, StrategySpec};
pub use runner::Runner;

/// A trading strategy.
pub trait Strategy: Send {
    /// What it wants to be told; asked once per instance, before anything else.
    fn needs(&self) -> Needs;

    /// Takes one event. A panic is caught by the engine; the instance is thrown away and built anew.
    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>);

    /// Its whole state for [`Strategy::restore`], or `None` when it rather starts fresh and warms up.
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    /// Takes the state of an earlier snapshot of the same program version and the same parameters.
    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), SnapshotError> {
        Ok(())
    }

    /// A hash of its whole state: equal states have equal hashes. A strategy without snapshots should write one of its own.
    fn state_hash(&self) -> u64 {
        self.snapshot().map_or(0, |bytes| hash_bytes(&bytes))
    }
}

/// What a strategy wants to be told of the market, for each of its symbols. What it does not ask for costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Changes of best bid and ask.
    pub quotes: bool,
    /// Trades.
    pub trades: bool,
    /// Changes of the depth book.
    pub depth: bool,
    /// Mark prices.
    pub marks: bool,
    /// Closed candles.
    pub candles: Vec<CandleNeed>,
}

/// One series of candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleNeed {
    /// Length of a candle; positive.
    pub interval: Span,
    /// How many closed candles must have been seen before the strategy may trade.
    pub warm_up: u32,
}

/// What a strategy is told.
///
/// Of one fill come [`StrategyEvent::Order`] and [`StrategyEvent::Fill`] first and [`StrategyEvent::Position`] last: until then the
/// position of the context is the one before the fill. Decide on `Position` and on market events, where orders and position agree.
#[derive(Debug, Clone, Copy)]
pub enum StrategyEvent<'a> {
    /// The first event of every instance.
    Start,
    /// Best bid or ask changed, by whichever stream.
    Quote { symbol: SymbolIx, quote: &'a Quote },
    /// A trade on the book. Where a venue gives no single trades, the trades of one taker order at one price come as one.
    Trade { symbol: SymbolIx, trade: &'a Trade },
    /// The depth book changed, or became void: read it from the context.
    Depth { symbol: SymbolIx },
    /// A candle closed: a past one in warm-up, where nothing may be done, or a live one.
    Candle { symbol: SymbolIx, candle: &'a Candle },
    /// A mark price.
    Mark { symbol: SymbolIx, mark: &'a Mark },
    /// One of its orders changed.
    Order(&'a OrderUpdate),
    /// One of its orders was filled; the position follows.
    Fill(&'a Fill),
    /// Its position changed, by a fill or a repair.
    Position(&'a VirtualPosition),
    /// The gate or the desk refused an intent. What is done in answer leaves with the next input.
    Refused(&'a Refused),
    /// An armed timer is due.
    Timer(u32),
    /// It is being stopped; the runner deals with orders and position by the configured policy. The last event.
    Stop,
}
