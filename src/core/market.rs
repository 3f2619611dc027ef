//! Market events: what a venue says about a symbol, normalised.

use crate::id::{SymbolIx, TradeId};
use crate::num::{Money, Price, Quantity, Rate, Side};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};

/// One market event of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketInput {
    /// The symbol.
    pub symbol: SymbolIx,
    /// The exchange's event time (`E`); the transaction time where a stream has no event time.
    pub exchange_time: Ts,
    /// When the frame was received here.
    pub receive_time: Ts,
    /// Computed from other recorded events because the recording lacks the real stream.
    pub derived: bool,
    /// What happened.
    pub event: MarketEvent,
}

/// What happened on the market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarketEvent {
    /// Best bid and ask (bookTicker).
    Quote(Quote),
    /// One trade.
    Trade(Trade),
    /// Trades of one taker order at one price.
    AggTrade(AggTrade),
    /// The whole book, from a snapshot: earlier levels are void.
    BookReset(Box<BookLevels>),
    /// Changed levels; quantity zero removes a level.
    BookDelta(Box<BookLevels>),
    /// The sequence broke: the book is void until the next reset.
    BookGap,
    /// Mark price, index price and funding.
    Mark(Mark),
    /// A candle, closed or still growing.
    Candle(Box<Candle>),
}

/// Best bid and ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The book's update id (`u`).
    pub update_id: u64,
    /// Best bid, zero when that side is empty.
    pub bid: Price,
    /// Quantity at the best bid.
    pub bid_quantity: Quantity,
    /// Best ask, zero when that side is empty.
    pub ask: Price,
    /// Quantity at the best ask.
    pub ask_quantity: Quantity,
}

/// One trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The exchange's trade id.
    pub id: TradeId,
    /// Price.
    pub price: Price,
    /// Quantity.
    pub quantity: Quantity,
    /// The taker's side (`m` true means that the buyer was the maker, so the taker sold).
    pub aggressor: Side,
    /// False for trades of the insurance fund, auto-deleveraging and the like (`X` other than MARKET): they set no price.
    pub on_book: bool,
}

/// Trades of one taker order at one price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggTrade {
    /// The exchange's aggregate id.
    pub id: i64,
    /// First trade id.
    pub first: TradeId,
    /// Last trade id.
    pub last: TradeId,
    /// Price.
    pub price: Price,
    /// Quantity, all trades.
    pub quantity: Quantity,
    /// The taker's side.
    pub aggressor: Side,
}

/// One price level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Price.
    pub price: Price,
    /// Quantity; zero removes the level.
    pub quantity: Quantity,
}

/// Levels of a snapshot or a diff, in the order of the wire, with the exchange's sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BookLevels {
    /// First update id (`U`); for a snapshot `lastUpdateId`.
    pub first_id: u64,
    /// Last update id (`u`); for a snapshot `lastUpdateId`.
    pub last_id: u64,
    /// Last update id of the previous diff (`pu`); zero for a snapshot.
    pub previous_id: u64,
    /// Bids.
    pub bids: Vec<Level>,
    /// Asks.
    pub asks: Vec<Level>,
}

/// Mark price, index price and funding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Mark price.
    pub mark_price: Price,
    /// Index price, zero when unknown.
    pub index_price: Price,
    /// Funding rate of the running period.
    pub funding_rate: Rate,
    /// When funding is paid next; zero when unknown.
    pub next_funding: Ts,
}

/// Open, high, low, close over an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candle {
    /// Length of the interval.
    pub interval: Span,
    /// Start of the interval, included.
    pub open_time: Ts,
    /// First price.
    pub open: Price,
    /// Highest price.
    pub high: Price,
    /// Lowest price.
    pub low: Price,
    /// Last price.
    pub close: Price,
    /// Traded quantity.
    pub volume: Quantity,
    /// Traded notional value.
    pub quote_volume: Money,
    /// Quantity bought by takers.
    pub taker_buy_volume: Quantity,
    /// Number of trades.
    pub trades: u32,
    /// Whether the interval is over.
    pub closed: bool,
}

impl Candle {
    /// The end of the interval, excluded.
    pub fn close_time(&self) -> Ts {
        self.open_time.plus(self.interval)
    }
}
