//! Market data, version 1.

use crate::wire::frozen::{Amount, Frozen, Invalid, View, frozen};
use serde::ser::{SerializeStruct, SerializeTupleVariant};
use serde::{Deserialize, Serialize, Serializer};

frozen! {
    enum Side for num::Side { Buy, Sell }

    struct MarketInput for market::MarketInput {
        symbol: u16, exchange_time: i64, receive_time: i64, derived: bool, event: MarketEvent,
    }

    enum MarketEvent for market::MarketEvent {
        Quote(quote: Quote),
        Trade(trade: Trade),
        AggTrade(trade: AggTrade),
        BookReset(levels: BookLevels),
        BookDelta(levels: BookLevels),
        BookGap,
        Mark(mark: Mark),
        Candle(candle: Candle),
    }

    struct Quote for market::Quote { update_id: u64, bid: i64, bid_quantity: i64, ask: i64, ask_quantity: i64 }

    struct Trade for market::Trade { id: i64, price: i64, quantity: i64, aggressor: Side, on_book: bool }

    struct AggTrade for market::AggTrade {
        id: i64, first: i64, last: i64, price: i64, quantity: i64, aggressor: Side,
    }

    struct Level for market::Level { price: i64, quantity: i64 }

    struct BookLevels for market::BookLevels {
        first_id: u64, last_id: u64, previous_id: u64, bids: Vec<Level>, asks: Vec<Level>,
    }

    struct Mark for market::Mark { mark_price: i64, index_price: i64, funding_rate: i64, next_funding: i64 }

    struct Candle for market::Candle {
        interval: i64, open_time: i64, open: i64, high: i64, low: i64, close: i64,
        volume: i64, quote_volume: Amount, taker_buy_volume: i64, trades: u32, closed: bool,
    }

    struct History for event::History { symbol: u16, candles: Vec<Candle> }
}
