use super::*;
use crate::binance::instruments;
use crate::instrument::Universe;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn universe() -> Universe {
    instruments::builtin_universe().expect("the embedded definitions are valid")
}

fn generator(seed: u64, change: impl FnOnce(&mut GeneratorParams)) -> Generator {
    let universe = universe();
    let instrument = universe.by_name("BTCUSDT").expect("embedded");
    let mut params = GeneratorParams::at(instrument.parse_price("61800.30").expect("a price"));
    change(&mut params);
    Generator::new(seed, instrument, Ts::from_millis(1_700_000_000_123), params).expect("valid parameters")
}

#[derive(Default)]
struct Model {
    bids: BTreeMap<Price, Quantity>,
    asks: BTreeMap<Price, Quantity>,
    id: u64,
    bridged: bool,
}

impl Model {
    fn apply(&mut self, levels: &BookLevels) {
        for (side, changes) in [(&mut self.bids, &levels.bids), (&mut self.asks, &levels.asks)] {
            for level in changes {
                if level.quantity.is_zero() {
                    side.remove(&level.price);
                } else {
                    side.insert(level.price, level.quantity);
                }
            }
        }
        self.id = levels.last_id;
    }

    fn top(&self) -> (Price, Quantity, Price, Quantity) {
        let (bid, ask) = (self.bids.last_key_value().expect("bids"), self.asks.first_key_value().expect("asks"));
        (*bid.0, *bid.1, *ask.0, *ask.1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_generated_market_keeps_the_exchange_s_rules(seed: u64, wild in 0.0f64..20.0) {
        let market = generator(seed, |p| (p.volatility_bps, p.jumps_per_minute) = (wild, 30.0));
        let tick = market.tick;
        let (mut model, mut quotes) = (Model::default(), BTreeMap::new());
        let (mut last, mut compared, mut trades) = (Ts::ZERO, 0, 0);
        for input in market.take(6_000) {
            prop_assert!(input.receive_time >= last && input.exchange_time <= input.receive_time);
            last = input.receive_time;
            match input.event {
                MarketEvent::BookReset(levels) => model.apply(&levels),
                MarketEvent::BookDelta(levels) => {
                    prop_assert!(levels.first_id <= levels.last_id && levels.previous_id < levels.first_id);
                    if model.bridged {
                        prop_assert_eq!(levels.previous_id, model.id);
                    } else {
                        prop_assert!(levels.first_id <= model.id && model.id <= levels.last_id);
                    }
                    model.bridged = true;
                    model.apply(&levels);
                    let top = model.top();
                    prop_assert!(top.0 < top.2, "crossed: {top:?}");
                    prop_assert!(model.bids.len() >= 20 && model.asks.len() >= 20);
                    prop_assert!(levels.bids.iter().chain(&levels.asks).all(|l| l.price.mantissa() % tick == 0));
                    if let Some(quote) = quotes.get(&model.id) {
                        prop_assert_eq!(*quote, top);
                        compared += 1;
                    }
                }
                MarketEvent::Quote(q) => {
                    prop_assert!(q.bid < q.ask && !q.bid_quantity.is_zero() && !q.ask_quantity.is_zero());
                    quotes.insert(q.update_id, (q.bid, q.bid_quantity, q.ask, q.ask_quantity));
                }
                MarketEvent::Trade(t) => {
                    prop_assert!(t.price.mantissa() % tick == 0 && !t.quantity.is_zero());
                    trades += 1;
                }
                MarketEvent::Mark(m) => prop_assert!(m.mark_price.mantissa() > 0 && m.next_funding > last),
                other => prop_assert!(false, "unexpected {other:?}"),
            }
        }
        prop_assert!(compared >= 5 && trades >= 50, "{compared} quotes compared, {trades} trades");
    }

    #[test]
    fn warm_up_ends_at_the_first_price_and_agrees_between_intervals(seed: u64) {
        let market = generator(seed, |_| {});
        let minutes = market.klines_before(Span::from_secs(60), 120);
        prop_assert_eq!(minutes.len(), 120);
        for (at, candle) in minutes.iter().enumerate() {
            prop_assert!(candle.low <= candle.open && candle.low <= candle.close && candle.closed);
            prop_assert!(candle.high >= candle.open && candle.high >= candle.close);
            prop_assert!(candle.taker_buy_volume <= candle.volume && candle.low.mantissa() % market.tick == 0);
            if at > 0 {
                prop_assert_eq!(candle.open_time, minutes[at - 1].close_time());
                prop_assert_eq!(candle.open, minutes[at - 1].close);
            }
        }
        let last = minutes[119];
        prop_assert!(last.close_time() <= market.start && market.start.since(last.close_time()) < Span::from_secs(60));
        prop_assert_eq!(last.close, market.params.start_price);
        let fives = market.klines_before(Span::from_secs(300), 3);
        prop_assert_eq!(fives.len(), 3);
        for five in fives {
            let parts: Vec<_> = minutes.iter().filter(|m| m.open_time.floor(five.interval) == five.open_time).collect();
            prop_assert_eq!(parts.len(), 5);
            prop_assert_eq!((five.open, five.close), (parts[0].open, parts[4].close));
            prop_assert_eq!(Some(five.high), parts.iter().map(|m| m.high).max());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_market() {
    let run = |seed| generator(seed, |_| {}).take(3_000).collect::<Vec<_>>();
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn funding_comes_round_as_configured() {
    let market = generator(9, |p| p.funding_interval = Span::from_secs(10));
    let mut times: Vec<Ts> = Vec::new();
    for input in market.take(20_000) {
        if let MarketEvent::Mark(mark) = input.event {
            assert!(input.exchange_time < mark.next_funding);
            assert_eq!(mark.next_funding.nanos() % 10_000_000_000, 0);
            times.push(mark.next_funding);
        }
    }
    times.dedup();
    assert!(times.len() >= 3 && times.windows(2).all(|w| w[1].since(w[0]) == Span::from_secs(10)), "{times:?}");
}

#[test]
fn a_snapshot_in_mid_stream_is_bridged_by_the_next_diff() {
    let mut market = generator(11, |_| {});
    let mut bridged = 0;
    for _ in 0..300 {
        let _ = market.by_ref().take(17).count();
        let snapshot = market.snapshot();
        let next = market.by_ref().find_map(|i| match i.event {
            MarketEvent::BookDelta(levels) => Some(levels),
            _ => None,
        });
        let next = next.expect("diffs never end");
        assert!(next.last_id >= snapshot.last_id);
        assert!(next.first_id <= snapshot.last_id || next.previous_id == snapshot.last_id);
        bridged += (next.first_id <= snapshot.last_id) as u32;
    }
    assert!(bridged > 100);
}

#[test]
fn impossible_parameters_are_named() {
    let universe = universe();
    let instrument = universe.by_name("BTCUSDT").expect("embedded");
    let price = instrument.parse_price("61800.30").expect("a price");
    let build = |change: &dyn Fn(&mut GeneratorParams)| {
        let mut params = GeneratorParams::at(price);
        change(&mut params);
        Generator::new(1, instrument, Ts::ZERO, params).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(build(&|_| {}), "");
    assert!(build(&|p| p.levels = 0).contains("levels is 0"));
    assert!(build(&|p| p.start_price = Price::ZERO).contains("start_price"));
    assert!(build(&|p| p.volatility_bps = f64::NAN).contains("volatility_bps is NaN"));
    assert!(build(&|p| p.step = Span::ZERO).contains("step"));
}
