use super::*;
use crate::book::Markets;
use crate::id::TradeId;
use crate::market::{Quote, Trade};
use crate::num::Side;
use crate::time::Ts;
use proptest::prelude::*;

fn market(event: MarketEvent) -> Input {
    Input::Market(MarketInput {
        symbol: SymbolIx(0),
        exchange_time: Ts::ZERO,
        receive_time: Ts::ZERO,
        derived: false,
        event,
    })
}

fn quote(update_id: u64) -> Input {
    let (bid, ask) = (Price::from_mantissa(10), Price::from_mantissa(11));
    let quantity = Quantity::from_mantissa(1).expect("positive");
    market(MarketEvent::Quote(Quote { update_id, bid, bid_quantity: quantity, ask, ask_quantity: quantity }))
}

fn trade(id: i64) -> Input {
    let (price, quantity) = (Price::from_mantissa(10), Quantity::from_mantissa(1).expect("positive"));
    market(MarketEvent::Trade(Trade { id: TradeId(id), price, quantity, aggressor: Side::Buy, on_book: true }))
}

fn delta(id: u64, changes: &[(bool, i64, i64)]) -> Input {
    let side = |bid: bool| {
        let mine = changes.iter().filter(|(b, ..)| *b == bid);
        let level = |(_, p, q): &(bool, i64, i64)| Level {
            price: Price::from_mantissa(if bid { 100 - p } else { 101 + p }),
            quantity: Quantity::from_mantissa(*q).expect("positive"),
        };
        mine.map(level).collect()
    };
    let (bids, asks) = (side(true), side(false));
    market(MarketEvent::BookDelta(Box::new(BookLevels { first_id: id, last_id: id, previous_id: id - 1, bids, asks })))
}

#[test]
fn only_the_newest_quote_waits_and_no_trade_is_lost() {
    let mut inbox = Inbox::new(100);
    assert_eq!(inbox.offer(quote(1)), Offered::Accepted);
    assert_eq!(inbox.offer(trade(1)), Offered::Accepted);
    assert_eq!(inbox.offer(quote(2)), Offered::Conflated);
    assert_eq!(inbox.offer(trade(2)), Offered::Accepted);
    let out: Vec<Input> = std::iter::from_fn(|| inbox.pop()).collect();
    assert_eq!(out, [trade(1), quote(2), trade(2)]);
    assert_eq!(inbox.offer(quote(3)), Offered::Accepted);
}

#[test]
fn a_full_queue_tells_that_the_symbol_is_down_and_later_up_again() {
    let mut inbox = Inbox::new(16);
    for id in 0..16 {
        assert_eq!(inbox.offer(trade(id)), Offered::Accepted);
    }
    assert_eq!(inbox.offer(trade(16)), Offered::Full);
    assert_eq!(inbox.offer(trade(17)), Offered::Full);
    assert_eq!(inbox.offer(Input::Start { epoch: 1 }), Offered::Accepted);
    let out: Vec<Input> = std::iter::from_fn(|| inbox.pop()).collect();
    assert_eq!(out.len(), 19);
    assert_eq!(out[16], Input::Stream(StreamState::MarketDown(SymbolIx(0), StreamFault::Overflow)));
    assert_eq!(out[17], Input::Start { epoch: 1 });
    assert_eq!(out[18], Input::Stream(StreamState::MarketUp(SymbolIx(0))));
}

fn reset(id: u64) -> Input {
    market(MarketEvent::BookReset(Box::new(BookLevels {
        first_id: id,
        last_id: id,
        previous_id: 0,
        bids: Vec::new(),
        asks: Vec::new(),
    })))
}

const UP: Input = Input::Stream(StreamState::MarketUp(SymbolIx(0)));

fn down(fault: StreamFault) -> Input {
    Input::Stream(StreamState::MarketDown(SymbolIx(0), fault))
}

fn drained(inbox: &mut Inbox) -> Vec<Input> {
    std::iter::from_fn(|| inbox.pop()).collect()
}

/// A queue that is full of trades.
fn full() -> Inbox {
    let mut inbox = Inbox::new(16);
    (0..16).for_each(|id| assert_eq!(inbox.offer(trade(id)), Offered::Accepted));
    inbox
}

#[test]
fn while_nobody_pops_the_queue_stays_small() {
    let mut inbox = Inbox::new(16);
    inbox.offer(trade(1));
    inbox.offer(reset(1));
    for id in 0..1_000_000u64 {
        inbox.offer(quote(id));
        if id.is_multiple_of(100) {
            inbox.offer(delta(1 + id / 100, &[(id % 200 == 0, (id % 50) as i64, 1)]));
        }
        assert!(inbox.queue.len() <= 33, "{} slots for {} inputs", inbox.queue.len(), inbox.len());
    }
    let out = drained(&mut inbox);
    assert_eq!((out.len(), &out[3]), (4, &quote(999_999)));
    let Input::Market(MarketInput { event: MarketEvent::BookDelta(levels), .. }) = &out[2] else { panic!("{out:?}") };
    assert_eq!((levels.first_id, levels.last_id), (1, 10_000));
}

#[test]
fn a_halt_is_never_refused() {
    let mut inbox = full();
    let start = || Input::Start { epoch: 1 };
    while inbox.offer(start()) != Offered::Full {}
    let halt = Input::Halt { scope: crate::event::Scope::All, reason: crate::event::HaltReason::Fault };
    assert_eq!(inbox.offer(halt.clone()), Offered::Accepted);
    let all: Vec<Input> = std::iter::from_fn(|| inbox.pop()).collect();
    assert!(all.contains(&halt));
}

#[test]
fn a_delta_is_not_merged_over_one_that_was_refused() {
    let mut inbox = Inbox::new(16);
    inbox.offer(delta(1, &[]));
    (0..15).for_each(|id| assert_eq!(inbox.offer(trade(id)), Offered::Accepted));
    // A delta that found no room before, and slots that are taken out after it.
    inbox.newest[0].delta = None;
    assert_eq!(inbox.offer(delta(2, &[])), Offered::Full);
    (0..100).for_each(|_| inbox.compact());
    assert_eq!(inbox.offer(delta(3, &[])), Offered::Full);
    let Some(Input::Market(first)) = inbox.pop() else { panic!("nothing waits") };
    assert!(matches!(first.event, MarketEvent::BookDelta(levels) if levels.last_id == 1));
}

#[test]
fn a_merged_delta_does_not_grow_for_ever() {
    let mut inbox = Inbox::new(16);
    let wide = |id: u64| {
        let from = id as i64 * 1_000;
        delta(id, &(from..from + 1_000).map(|p| (false, p, 1)).collect::<Vec<_>>())
    };
    (1..=5).for_each(|id| assert_ne!(inbox.offer(wide(id)), Offered::Full));
    assert_eq!(inbox.offer(wide(6)), Offered::Accepted);
    assert_eq!(inbox.offer(wide(7)), Offered::Conflated);
    assert_eq!(inbox.len(), 2);
}

#[test]
fn a_link_that_dropped_after_an_overflow_is_not_told_to_be_up() {
    let mut inbox = full();
    assert_eq!(inbox.offer(trade(16)), Offered::Full);
    inbox.offer(down(StreamFault::LinkLost));
    let out = drained(&mut inbox);
    assert_eq!(out[16..], [down(StreamFault::Overflow), down(StreamFault::LinkLost)]);
    inbox.offer(UP);
    assert_eq!(drained(&mut inbox), [UP]);
}

#[test]
fn after_book_data_was_refused_only_the_session_says_up() {
    let mut inbox = full();
    assert_eq!(inbox.offer(delta(1, &[])), Offered::Full);
    // Bridged before it heard of the refusal.
    inbox.offer(UP);
    assert_eq!(drained(&mut inbox)[16..], [down(StreamFault::Overflow)]);
    // It starts over; in between the queue is empty.
    inbox.offer(reset(5));
    assert_eq!(drained(&mut inbox), [reset(5)]);
    inbox.offer(delta(5, &[]));
    inbox.offer(UP);
    assert_eq!(drained(&mut inbox), [delta(5, &[]), UP]);
    // From here on it is as if nothing had been.
    (0..16).for_each(|id| assert_eq!(inbox.offer(trade(id)), Offered::Accepted));
    assert_eq!(inbox.offer(trade(16)), Offered::Full);
    assert_eq!(drained(&mut inbox)[16..], [down(StreamFault::Overflow), UP]);
}

#[test]
fn the_last_word_of_a_session_that_found_no_room_is_said_later() {
    let mut inbox = full();
    (0..16).for_each(|_| assert_eq!(inbox.offer(Input::Start { epoch: 1 }), Offered::Accepted));
    assert_eq!(inbox.offer(down(StreamFault::Silent)), Offered::Full);
    assert_eq!(inbox.offer(UP), Offered::Full);
    assert_eq!(inbox.offer(down(StreamFault::LinkLost)), Offered::Full);
    assert_eq!(drained(&mut inbox)[32..], [down(StreamFault::LinkLost)]);
}

proptest! {
    /// Whatever is merged, the book ends up the same.
    #[test]
    fn merged_deltas_make_the_same_book(
        diffs in prop::collection::vec(prop::collection::vec((any::<bool>(), 0i64..30, 0i64..5), 0..8), 1..40),
        pops in prop::collection::vec(any::<bool>(), 40),
    ) {
        let reset = BookLevels { first_id: 100, last_id: 100, previous_id: 0, bids: Vec::new(), asks: Vec::new() };
        let reset = market(MarketEvent::BookReset(Box::new(reset)));
        let (mut plain, mut merged) = (Markets::default(), Markets::default());
        let apply = |markets: &mut Markets, input: &Input| {
            if let Input::Market(market) = input { markets.apply(market); }
        };
        let mut inbox = Inbox::new(1000);
        inbox.offer(reset.clone());
        apply(&mut plain, &reset);
        for (at, changes) in diffs.iter().enumerate() {
            // The first diff spans the snapshot's id.
            let input = delta(100 + at as u64, changes);
            apply(&mut plain, &input);
            inbox.offer(input);
            if pops[at] && let Some(input) = inbox.pop() {
                apply(&mut merged, &input);
            }
        }
        while let Some(input) = inbox.pop() {
            apply(&mut merged, &input);
        }
        let book = |markets: &Markets| {
            let book = &markets.market(SymbolIx(0)).book;
            (book.bids().collect::<Vec<_>>(), book.asks().collect::<Vec<_>>(), book.last_update_id())
        };
        prop_assert_eq!(book(&plain), book(&merged));
    }
}
