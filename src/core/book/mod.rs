//! Market state.

use crate::id::SymbolIx;
use crate::market::{Mark, MarketInput, Quote, Trade};
use crate::num::Price;
use crate::time::Ts;

pub mod depth;
pub use depth::DepthBook;

/// Books, quotes, last trades and marks of all symbols.
#[derive(Debug, Default)]
pub struct Markets {
    markets: Vec<Market>,
}

/// One symbol's market state.
#[derive(Debug, Default)]
pub struct Market {
    /// The depth book.
    pub book: DepthBook,
    /// Newest best bid and ask: of the quote stream or of the depth book, whichever has the higher update id.
    pub quote: Option<Quote>,
    /// Newest trade on the book.
    pub last: Option<Trade>,
    /// Newest mark price.
    pub mark: Option<Mark>,
    /// Exchange time of the newest event.
    pub updated: Ts,
}

impl Market {
    /// The reference price for limits: mark price, else the middle of the quote, else the last trade.
    pub fn reference_price(&self) -> Option<Price> {
        None
    }
}

impl Markets {
    /// The state of a symbol; an empty one when nothing is known.
    pub fn market(&self, _symbol: SymbolIx) -> &Market {
        unreachable!()
    }

    /// Applies one market event. Returns what the engine tells outside: sequence faults of the book.
    pub fn apply(&mut self, _input: &MarketInput) {}
}
