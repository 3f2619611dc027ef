//! Tests of all three sources of candles.

use super::*;
use crate::id::{AssetIx, SymbolIx, TradeId};
use crate::instrument::{ContractStatus, ContractType, Filters, Instrument, LotFilter, PriceFilter};
use crate::market::{AggTrade, Trade};
use crate::num::{Money, Price, Quantity, Rate, Side};
use proptest::prelude::*;
use std::collections::BTreeMap;

const MINUTE: Span = Span::from_secs(60);
const QUOTE: AssetIx = AssetIx(1);

fn instrument() -> Instrument {
    Instrument {
        symbol: SymbolIx(0),
        name: "BTCUSDT".into(),
        version: 1,
        status: ContractStatus::Trading,
        contract: ContractType::Perpetual,
        base: AssetIx(0),
        quote: QUOTE,
        margin: QUOTE,
        price_scale: 2,
        quantity_scale: 3,
        filters: Filters {
            price: PriceFilter::default(),
            lot: LotFilter::default(),
            market_lot: LotFilter::default(),
            max_orders: None,
            max_conditional_orders: None,
            min_notional: None,
            percent_price: None,
            trigger_protect: None,
            market_take_bound: None,
            unknown: Vec::new(),
        },
        liquidation_fee: Rate::ZERO,
        brackets: Vec::new(),
    }
}

fn quantity(mantissa: i64) -> Quantity {
    Quantity::from_mantissa(mantissa).expect("not negative")
}

fn trade(price: i64, size: i64, aggressor: Side) -> Trade {
    Trade { id: TradeId(1), price: Price::from_mantissa(price), quantity: quantity(size), aggressor, on_book: true }
}

fn seconds(seconds: i64) -> Ts {
    Ts::from_millis(seconds * 1_000)
}

/// A candle of a kline stream.
fn kline(open: i64, closed: bool, trades: u32) -> Candle {
    let price = Price::from_mantissa(10_000);
    Candle {
        interval: MINUTE,
        open_time: seconds(open),
        open: price,
        high: price,
        low: price,
        close: price,
        volume: quantity(5),
        quote_volume: Money::units(QUOTE, 1),
        taker_buy_volume: quantity(2),
        trades,
        closed,
    }
}

/// Takes trades of (second, price, size) and returns what is emitted.
fn feed(builder: &mut CandleBuilder, trades: &[(i64, i64, i64)]) -> Vec<CandleEvent> {
    let mut out = Vec::new();
    for &(at, price, size) in trades {
        let taken = builder.on_trade(&instrument(), seconds(at), &trade(price, size, Side::Buy), &mut out);
        assert_eq!(taken, Ok(TradeOutcome::Taken), "{at}");
    }
    out
}

/// Open time in seconds and close price; holes as (from, -to).
fn outline(events: &[CandleEvent]) -> Vec<(i64, i64)> {
    let line = |event: &CandleEvent| match event {
        CandleEvent::Closed(candle) => (candle.open_time.seconds(), candle.close.mantissa()),
        CandleEvent::Hole { from, to } => (from.seconds(), -to.seconds()),
    };
    events.iter().map(line).collect()
}

#[test]
fn a_candle_is_exact() {
    let mut builder = CandleBuilder::new(&instrument(), MINUTE).expect("a minute");
    builder.complete_from(seconds(60));
    let mut out = Vec::new();
    for (at, price, size, side) in
        [(61, 10_050, 1, Side::Buy), (75, 9_990, 20, Side::Sell), (119, 10_010, 300, Side::Buy)]
    {
        let taken = builder.on_trade(&instrument(), seconds(at), &trade(price, size, side), &mut out);
        assert_eq!(taken, Ok(TradeOutcome::Taken));
    }
    let aggregate = AggTrade {
        id: 1,
        first: TradeId(7),
        last: TradeId(9),
        price: Price::from_mantissa(10_000),
        quantity: quantity(4_000),
        aggressor: Side::Sell,
    };
    assert_eq!(builder.on_agg_trade(&instrument(), seconds(119), &aggregate, &mut out), Ok(TradeOutcome::Taken));
    assert_eq!((out.len(), builder.growing().map(|candle| candle.trades)), (0, Some(6)));
    builder.close_until(Ts::from_millis(119_999), &mut out);
    assert_eq!(out, []);
    builder.close_until(seconds(120), &mut out);
    let expected = Candle {
        interval: MINUTE,
        open_time: seconds(60),
        open: Price::from_mantissa(10_050),
        high: Price::from_mantissa(10_050),
        low: Price::from_mantissa(9_990),
        close: Price::from_mantissa(10_000),
        volume: quantity(4_321),
        // 100.50 × 0.001 + 99.90 × 0.020 + 100.10 × 0.300 + 100.00 × 4.000
        quote_volume: Money::parse(QUOTE, b"432.1285").expect("a number"),
        taker_buy_volume: quantity(301),
        trades: 6,
        closed: true,
    };
    assert_eq!(out, [CandleEvent::Closed(expected)]);
    assert_eq!(builder.growing(), None);
}

#[test]
fn silent_intervals_are_flat_and_a_very_long_silence_is_a_hole() {
    let mut builder = CandleBuilder::new(&instrument(), MINUTE).expect("a minute");
    builder.complete_from(seconds(0));
    let mut out = feed(&mut builder, &[(10, 100, 1), (200, 105, 2)]);
    assert_eq!(outline(&out), [(0, 100), (60, 100), (120, 100)]);
    let CandleEvent::Closed(flat) = out[1] else { panic!("a hole") };
    assert_eq!(
        (flat.open, flat.high, flat.low, flat.trades, flat.volume),
        (flat.close, flat.close, flat.close, 0, quantity(0))
    );
    assert_eq!(flat.quote_volume, Money::zero(QUOTE));
    out.clear();
    builder.close_until(seconds(360), &mut out);
    assert_eq!(outline(&out), [(180, 105), (240, 105), (300, 105)], "and by time alone");
    out.clear();
    builder.close_until(seconds(330), &mut out);
    assert_eq!(out, [], "time does not run backward");
    let later = 86_400 * 3;
    let out = feed(&mut builder, &[(later, 110, 1), (later + 60, 111, 1)]);
    assert_eq!(outline(&out), [(360, -later), (later, 110)]);
}

#[test]
fn an_interval_of_which_a_part_may_be_missing_is_not_emitted() {
    let mut builder = CandleBuilder::new(&instrument(), MINUTE).expect("a minute");
    let out = feed(&mut builder, &[(60, 100, 1), (61, 101, 1), (130, 102, 1), (185, 103, 1)]);
    assert_eq!(outline(&out), [(120, 102)], "the first trade may not be the interval's first");
    builder.interrupt();
    let out = feed(&mut builder, &[(186, 104, 1), (245, 105, 1), (300, 106, 1)]);
    assert_eq!(outline(&out), [(180, -240), (240, 105)]);
    // Interrupted and complete again, but silent: the newest price before is not known to be the newest.
    builder.interrupt();
    builder.complete_from(seconds(330));
    let out = feed(&mut builder, &[(430, 107, 1), (480, 108, 1)]);
    assert_eq!(outline(&out), [(300, -420), (420, 107)]);
}

#[test]
fn late_foreign_and_impossible_trades_make_no_candle() {
    let mut builder = CandleBuilder::new(&instrument(), MINUTE).expect("a minute");
    let mut out = feed(&mut builder, &[(60, 100, 1), (120, 101, 1)]);
    let mut outcome = |at: Ts, trade: &Trade| builder.on_trade(&instrument(), at, trade, &mut out);
    assert_eq!(outcome(seconds(119), &trade(100, 1, Side::Buy)), Ok(TradeOutcome::Late));
    assert_eq!(outcome(Ts::from_nanos(i64::MIN), &trade(100, 1, Side::Buy)), Ok(TradeOutcome::Late));
    let insurance = Trade { on_book: false, ..trade(100, 1, Side::Buy) };
    assert_eq!(outcome(seconds(500), &insurance), Ok(TradeOutcome::NotOnBook));
    assert_eq!(outcome(seconds(121), &trade(0, 1, Side::Buy)), Ok(TradeOutcome::NotOnBook));
    let huge = trade(1, i64::MAX, Side::Buy);
    assert_eq!(outcome(seconds(122), &huge), Err(CandleError::Number(NumError::Overflow)));
    assert_eq!(builder.growing(), None, "a candle that lacks a trade is given up");
    assert_eq!(out, []);
}

#[test]
fn a_warm_up_is_continued_without_a_gap_or_with_a_hole_told() {
    let warm = Candle { closed: true, ..kline(60, true, 3) };
    let mut builder = CandleBuilder::new(&instrument(), MINUTE).expect("a minute");
    builder.complete_from(seconds(100));
    builder.continue_after(&warm);
    let mut out = feed(&mut builder, &[(200, 111, 1)]);
    assert_eq!(outline(&out), [(120, 10_000)], "no trade in the interval after the warm-up");
    builder.continue_after(&kline(60, true, 3));
    builder.close_until(seconds(240), &mut out);
    assert_eq!(outline(&out[1..]), [(180, 111)], "an old warm-up changes nothing");

    let mut late = CandleBuilder::new(&instrument(), MINUTE).expect("a minute");
    late.continue_after(&warm);
    let out = feed(&mut late, &[(130, 111, 1), (185, 112, 1), (240, 113, 1)]);
    assert_eq!(outline(&out), [(120, -180), (180, 112)]);
}

#[test]
fn klines_are_emitted_once_forward_and_with_holes_told() {
    let mut feed = CandleFeed::new(MINUTE).expect("a minute");
    let mut out = Vec::new();
    let mut take = |open, closed, trades| feed.on_candle(&kline(open, closed, trades), &mut out);
    assert_eq!(take(60, false, 3), FeedOutcome::Growing);
    assert_eq!(take(60, false, 2), FeedOutcome::Stale);
    assert_eq!(take(60, true, 4), FeedOutcome::Closed);
    assert_eq!(take(60, true, 4), FeedOutcome::Stale);
    assert_eq!(take(60, false, 5), FeedOutcome::Stale);
    assert_eq!(take(0, true, 5), FeedOutcome::Stale);
    assert_eq!(take(130, true, 5), FeedOutcome::Impossible, "out of step");
    assert_eq!(take(180, false, 1), FeedOutcome::Growing, "the one before may still come");
    assert_eq!(take(120, true, 1), FeedOutcome::Closed);
    assert_eq!(feed.growing().map(|candle| candle.open_time), Some(seconds(180)));
    let mut take = |candle: Candle| feed.on_candle(&candle, &mut out);
    assert_eq!(take(kline(300, true, 9)), FeedOutcome::Closed);
    assert_eq!(take(Candle { interval: Span::from_secs(300), ..kline(360, true, 1) }), FeedOutcome::OtherInterval);
    assert_eq!(take(Candle { low: Price::from_mantissa(10_001), ..kline(360, true, 1) }), FeedOutcome::Impossible);
    assert_eq!(take(Candle { high: Price::from_mantissa(9_999), ..kline(360, true, 1) }), FeedOutcome::Impossible);
    feed.continue_after(&kline(360, true, 1));
    assert_eq!(feed.on_candle(&kline(360, true, 1), &mut out), FeedOutcome::Stale);
    assert_eq!((feed.on_candle(&kline(480, true, 1), &mut out), feed.growing()), (FeedOutcome::Closed, None));
    let expected = [(60, 10_000), (120, 10_000), (180, -300), (300, 10_000), (420, -480), (480, 10_000)];
    assert_eq!(outline(&out), expected);
}

#[test]
fn intervals_that_do_not_divide_a_day_are_refused() {
    for nanos in [0, -1, 999_999_999, 1_500_000_000, 7_000_000_000, 86_400_000_000_000 * 2] {
        assert!(CandleBuilder::new(&instrument(), Span::from_nanos(nanos)).is_err(), "{nanos}");
    }
    assert!(CandleFeed::new(Span::ZERO).is_err());
    for (small, large) in [(60, 60), (120, 60), (40, 60), (60, 0)] {
        assert!(CandleAggregator::new(Span::from_secs(small), Span::from_secs(large)).is_err());
    }
}

#[test]
fn a_big_candle_with_a_part_missing_is_not_emitted() {
    let mut aggregator = CandleAggregator::new(MINUTE, Span::from_secs(180)).expect("three to one");
    let mut out = Vec::new();
    for open in [60, 120, 180, 240, 300, 300, 360, 480, 540, 600, 660] {
        assert_eq!(aggregator.on_closed(&kline(open, true, 2), &mut out), Ok(()));
    }
    assert_eq!(outline(&out), [(180, 10_000), (360, -540), (540, 10_000)]);
    let CandleEvent::Closed(candle) = out[0] else { panic!("a hole") };
    assert_eq!((candle.trades, candle.volume, candle.interval), (6, quantity(15), Span::from_secs(180)));
    assert_eq!(candle.quote_volume, Money::units(QUOTE, 3));
}

/// Trades as (milliseconds since the one before, price, size, buy).
fn trades() -> impl Strategy<Value = Vec<(i64, i64, i64, bool)>> {
    let pause = prop_oneof![8 => 0i64..700, 1 => 0i64..9_000];
    prop::collection::vec((pause, 1i64..50, 1i64..1_000, any::<bool>()), 1..150)
}

/// Candles of whole trades from scratch: every interval from `from` to the last trade's, which is left open.
fn from_scratch(trades: &[(Ts, Trade)], interval: Span, from: Ts) -> Vec<CandleEvent> {
    let instrument = instrument();
    let mut by_interval: BTreeMap<Ts, Vec<&Trade>> = BTreeMap::new();
    for (time, trade) in trades {
        by_interval.entry(time.floor(interval)).or_default().push(trade);
    }
    let last = *by_interval.keys().next_back().expect("one trade at least");
    let mut open_time = by_interval.keys().next().copied().expect("one trade at least").max(from);
    let mut candles = Vec::new();
    while open_time < last {
        let none = Vec::new();
        let inside = by_interval.get(&open_time).unwrap_or(&none);
        let before = trades.iter().filter(|t| t.0 < open_time).map(|t| t.1.price).next_back();
        let price = |chosen: Option<Price>| chosen.or(before).expect("a trade inside or before");
        let sum = |side: Option<Side>| {
            let of_side = inside.iter().filter(|t| side.is_none_or(|side| side == t.aggressor));
            quantity(of_side.map(|t| t.quantity.mantissa()).sum())
        };
        let value = |t: &&Trade| instrument.notional(t.price, t.quantity).expect("small").mantissa();
        candles.push(CandleEvent::Closed(Candle {
            interval,
            open_time,
            open: price(inside.first().map(|t| t.price)),
            high: price(inside.iter().map(|t| t.price).max()),
            low: price(inside.iter().map(|t| t.price).min()),
            close: price(inside.last().map(|t| t.price)),
            volume: sum(None),
            quote_volume: Money::new(QUOTE, inside.iter().map(value).sum()),
            taker_buy_volume: sum(Some(Side::Buy)),
            trades: inside.len() as u32,
            closed: true,
        }));
        open_time = open_time.plus(interval);
    }
    candles
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn candles_of_trades_equal_those_from_scratch(list in trades(), closings in any::<u64>()) {
        let instrument = instrument();
        let (second, five) = (Span::from_secs(1), Span::from_secs(5));
        let mut small = CandleBuilder::new(&instrument, second).expect("a second");
        let mut large = CandleBuilder::new(&instrument, five).expect("five seconds");
        let mut aggregator = CandleAggregator::new(second, five).expect("five to one");
        small.complete_from(seconds(1_000));
        large.complete_from(seconds(1_000));
        let (mut of_seconds, mut of_five, mut aggregated) = (Vec::new(), Vec::new(), Vec::new());
        let mut time = seconds(1_000);
        let mut all = Vec::new();
        for (i, &(pause, price, size, buy)) in list.iter().enumerate() {
            if closings >> (i % 64) & 1 == 1 {
                // Time passes until just before the trade: it makes no difference.
                small.close_until(time.plus(Span::from_millis(pause)), &mut of_seconds);
            }
            time = time.plus(Span::from_millis(pause));
            let trade = trade(price, size, if buy { Side::Buy } else { Side::Sell });
            all.push((time, trade));
            prop_assert_eq!(small.on_trade(&instrument, time, &trade, &mut of_seconds), Ok(TradeOutcome::Taken));
            prop_assert_eq!(large.on_trade(&instrument, time, &trade, &mut of_five), Ok(TradeOutcome::Taken));
        }
        let from = seconds(1_000);
        prop_assert_eq!(&of_seconds, &from_scratch(&all, second, from));
        prop_assert_eq!(&of_five, &from_scratch(&all, five, from));
        // The same again from the seconds; the first five seconds are whole only if the first second has a candle.
        for event in &of_seconds {
            prop_assert_eq!(aggregator.on_event(event, &mut aggregated), Ok(()));
        }
        let whole = |event: &CandleEvent| match (event, of_seconds.first()) {
            (CandleEvent::Closed(big), Some(CandleEvent::Closed(first))) => big.open_time >= first.open_time,
            _ => false,
        };
        let expected: Vec<CandleEvent> = of_five.iter().copied().filter(whole).collect();
        prop_assert_eq!(&aggregated[..expected.len()], &expected[..]);
    }

    #[test]
    fn a_feed_never_repeats_never_goes_back_and_tells_every_hole(
        klines in prop::collection::vec((0i64..40, any::<bool>(), 0u32..5), 1..120),
    ) {
        let mut feed = CandleFeed::new(MINUTE).expect("a minute");
        let mut out = Vec::new();
        for (i, (ahead, closed, trades)) in klines.into_iter().enumerate() {
            let open = (i as i64 / 3 + ahead / 8) * 60;
            feed.on_candle(&kline(open, closed, trades), &mut out);
        }
        let mut next = None;
        for event in &out {
            let (from, to) = match event {
                CandleEvent::Closed(candle) => (candle.open_time, candle.close_time()),
                CandleEvent::Hole { from, to } => (*from, *to),
            };
            prop_assert!(next.is_none_or(|next| next == from) && from < to);
            next = Some(to);
        }
        if let (Some(growing), Some(next)) = (feed.growing(), next) {
            prop_assert!(growing.open_time >= next);
        }
    }
}
