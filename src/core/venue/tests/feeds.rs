use super::*;
use crate::id::TradeId;
use crate::market::AggTrade;

fn candle(w: &World, minute: i64, prices: [&str; 4], volume: &str) -> MarketEvent {
    let [open, high, low, close] = prices.map(|p| w.price(p));
    let interval = Span::from_secs(60);
    MarketEvent::Candle(Box::new(Candle {
        interval,
        open_time: Ts::from_nanos(interval.nanos() * minute),
        open,
        high,
        low,
        close,
        volume: w.quantity(volume),
        quote_volume: Money::zero(USDT),
        taker_buy_volume: Quantity::ZERO,
        trades: 1,
        closed: true,
    }))
}

#[test]
fn candles_fill_only_what_the_price_went_through() {
    let mut w = World::new();
    let first = candle(&w, 1, ["100", "100", "100", "100"], "50");
    w.feed(first);
    w.market(A, Side::Buy, "1").expect("a tick worse than the close");
    w.limit(A, "touched", Side::Buy, "1", "98").expect("rests");
    w.limit(A, "through", Side::Buy, "1", "98.1").expect("rests");
    w.limit(A, "large", Side::Sell, "9", "101").expect("rests");
    assert_eq!(w.told()[1], "m0 Trade Filled 1@100.1 taker");
    let next = candle(&w, 2, ["100", "102", "98", "101"], "5");
    w.feed(next);
    // The volume is there once: one is taken at the low, four are left for the rest.
    assert_eq!(w.told(), ["through Trade Filled 1@98.1 maker", "large Trade PartiallyFilled 4@101 maker"]);
    // The same candle again, or a longer one over it, moves nothing.
    let again = candle(&w, 2, ["100", "103", "90", "101"], "50");
    w.feed(again);
    assert_eq!(w.told(), Vec::<String>::new());
}

#[test]
fn a_stop_in_a_candle_fills_at_its_trigger_or_at_the_gap() {
    for (prices, expected) in [
        (["100", "101", "90", "95"], "s Trade Filled 1@97.9 taker"),
        (["96", "97", "90", "95"], "s Trade Filled 1@95.9 taker"),
    ] {
        let mut w = World::new();
        let first = candle(&w, 1, ["100", "100", "100", "100"], "50");
        w.feed(first);
        let terms = Conditional {
            trigger: Trigger::Stop,
            trigger_price: w.price("98"),
            working_type: WorkingType::MarkPrice,
            limit: None,
            close_position: false,
            price_protect: false,
        };
        let order = w.new_order("s", Side::Sell, "1", Terms::Conditional(terms));
        w.ask(A, RequestKind::Place(order));
        let next = candle(&w, 2, prices, "50");
        w.feed(next);
        assert_eq!(w.told()[1], expected);
    }
}

#[test]
fn a_trade_counts_once_however_it_is_told() {
    let mut w = World::new();
    w.quote("98", "1", "100", "1");
    w.limit(A, "a", Side::Buy, "10", "99").expect("rests");
    let (price, quantity) = (w.price("99"), w.quantity("1"));
    let single = |id| {
        let aggressor = Side::Sell;
        MarketEvent::Trade(Trade { id: TradeId(id), price, quantity, aggressor, on_book: true })
    };
    let aggregated = |first, last| {
        let (first, last) = (TradeId(first), TradeId(last));
        MarketEvent::AggTrade(AggTrade { id: 1, first, last, price, quantity, aggressor: Side::Sell })
    };
    for event in [single(5), single(5), aggregated(4, 6), single(6), aggregated(7, 9), single(8), single(10)] {
        w.feed(event);
    }
    // 5, 6, 7 to 9, 10.
    assert_eq!(w.net(A), "4");
    // Trades off the book are not fills of the book.
    w.feed(MarketEvent::Trade(Trade {
        id: TradeId(11),
        price: w.price("90"),
        quantity,
        aggressor: Side::Sell,
        on_book: false,
    }));
    assert_eq!(w.net(A), "4");
}

#[test]
fn depth_is_followed_by_its_sequence() {
    let mut w = World::new();
    let level =
        |w: &World, price: &str, quantity: &str| Level { price: w.price(price), quantity: w.quantity(quantity) };
    let asks = vec![level(&w, "100", "1"), level(&w, "101", "2")];
    let bids = vec![level(&w, "99", "1")];
    let reset = BookLevels { first_id: 10, last_id: 10, previous_id: 0, bids, asks };
    w.feed(MarketEvent::BookReset(Box::new(reset.clone())));
    let delta = |w: &World, first_id, last_id, previous_id, price: &str, quantity: &str| {
        let asks = vec![level(w, price, quantity)];
        MarketEvent::BookDelta(Box::new(BookLevels { first_id, last_id, previous_id, bids: vec![], asks }))
    };
    let events = [
        delta(&w, 8, 9, 7, "100", "9"),    // older than the snapshot
        delta(&w, 9, 12, 8, "100", "0"),   // bridges it
        delta(&w, 13, 14, 12, "101", "3"), // follows
    ];
    events.into_iter().for_each(|event| w.feed(event));
    let first = w.market(A, Side::Buy, "1").expect("accepted");
    assert_eq!(first.status, OrderStatus::Filled);
    assert_eq!(w.told()[1], "m0 Trade Filled 1@101 taker");
    // A quote that is newer than the book cuts it; one that is older says nothing.
    let quote = |w: &World, update_id, ask: &str| {
        let (bid, ask) = (w.price("99"), w.price(ask));
        let one = w.quantity("1");
        MarketEvent::Quote(Quote { update_id, bid, bid_quantity: one, ask, ask_quantity: one })
    };
    let (newer, older) = (quote(&w, 20, "101.5"), quote(&w, 3, "95"));
    w.feed(newer);
    w.feed(older);
    w.market(A, Side::Buy, "1").expect("accepted");
    assert_eq!(w.told()[1], "m1 Trade Filled 1@101.5 taker");
    // A hole makes it void: nothing can be taken.
    let hole = delta(&w, 30, 31, 29, "101", "3");
    w.feed(hole);
    assert_eq!(w.market(A, Side::Buy, "1").map(|r| r.status), Ok(OrderStatus::Expired));
}

#[test]
fn impossible_prices_move_nothing() {
    let mut w = World::new();
    let far = Price::from_mantissa(i64::MAX);
    let much = Quantity::from_mantissa(i64::MAX).expect("positive");
    for price in [far, Price::ZERO, Price::from_mantissa(-5), Price::from_mantissa(i64::MIN)] {
        let quote = Quote { update_id: 1, bid: price, bid_quantity: much, ask: price, ask_quantity: much };
        w.feed(MarketEvent::Quote(quote));
        w.feed(MarketEvent::Mark(Mark {
            mark_price: price,
            index_price: price,
            funding_rate: Rate::from_mantissa(i64::MAX),
            next_funding: Ts::MAX,
        }));
        let id = TradeId(i64::MAX);
        w.feed(MarketEvent::Trade(Trade { id, price, quantity: much, aggressor: Side::Sell, on_book: true }));
        assert_eq!(w.market(A, Side::Buy, "1").map(|r| r.filled), Ok(Quantity::ZERO));
    }
}
