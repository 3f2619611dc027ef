//! Random bookings, played against sums and a recomputation.

use super::*;
use proptest::prelude::*;

/// Only the first look at an account without bookings of our own is silent.
#[test]
fn a_first_look_after_a_booking_is_a_repair() {
    let mut desk = Desk::new();
    let fill = desk.trade(A, BTC, Side::Buy, 1_000, "9");
    desk.fill(fill);
    desk.wait(10);
    let events = desk.holdings(&[(BTC, 2_000, "9")], &[], true);
    assert!(equal(&events));
    assert_eq!(alerts(&events), [AlertCode::PositionRepaired]);
}

#[derive(Debug, Clone)]
enum Step {
    Fill {
        strategy: u16,
        symbol: bool,
        side: bool,
        hedge: u8,
        price: i64,
        size: i64,
        fee: i64,
        bnb: bool,
        realized: i64,
    },
    Funding {
        change: i64,
        named: bool,
    },
    Mark {
        symbol: bool,
        price: i64,
    },
    Repair {
        quantity: i64,
        price: i64,
        wallet: i64,
    },
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let fill = (0u16..4, any::<bool>(), any::<bool>(), 0u8..8, 1i64..100_000_000_000, 0i64..5_000);
    let money = (-1_000i64..1_000, any::<bool>(), -100_000i64..100_000);
    prop_oneof![
        10 => (fill, money).prop_map(|((strategy, symbol, side, hedge, price, size), (fee, bnb, realized))| {
            Step::Fill { strategy, symbol, side, hedge, price, size, fee, bnb, realized }
        }),
        2 => (-1_000_000i64..1_000_000, any::<bool>()).prop_map(|(change, named)| Step::Funding { change, named }),
        2 => (any::<bool>(), 1i64..100_000_000_000).prop_map(|(symbol, price)| Step::Mark { symbol, price }),
        1 => (-5_000i64..5_000, 1i64..100_000_000_000, 0i64..1_000_000)
            .prop_map(|(quantity, price, wallet)| Step::Repair { quantity, price, wallet }),
        1 => Just(Step::Wait),
    ]
}

fn symbol(second: bool) -> SymbolIx {
    if second { ETH } else { BTC }
}

impl Desk {
    fn play(&mut self, step: &Step) -> Option<Fill> {
        match *step {
            Step::Fill { strategy, symbol: second, side, hedge, price, size, fee, bnb, realized } => {
                let side = if side { Side::Buy } else { Side::Sell };
                let fill = Fill {
                    price: Price::from_mantissa(price),
                    fee: (fee != 0).then_some(Money::new(if bnb { BNB } else { USDT }, fee as i128 * 10_000_000_000)),
                    realized: Money::new(USDT, realized as i128 * 10_000_000_000),
                    position_side: match hedge {
                        0 => PositionSide::Long,
                        1 => PositionSide::Short,
                        _ => PositionSide::Both,
                    },
                    ..self.trade(StrategyIx(strategy), symbol(second), side, size, "1")
                };
                let events = self.fill(fill);
                assert!(matches!(events[..2], [Event::Position(_), Event::Equity(_)]), "{events:?}");
                // A fee that is worth nobody knows what is told; behind a repair the account is compared again.
                let more = |event: &Event| matches!(event, Event::Alert(_) | Event::Untrusted(_));
                assert!(events[2..].iter().all(more), "{events:?}");
                return Some(fill);
            }
            Step::Funding { change, named } => {
                let named: &[SymbolIx] = if named { &[ETH] } else { &[] };
                let change = Money::new(USDT, change as i128 * 10_000_000_000).to_string();
                self.report(AccountReason::Funding, &[(USDT, "0.123", &change)], named);
            }
            Step::Mark { symbol: second, price } => {
                let text = crate::num::mantissa_to_string(price as i128, 8);
                self.mark(symbol(second), &text);
            }
            Step::Repair { quantity, price, wallet } => {
                let text = crate::num::mantissa_to_string(price as i128, 8);
                self.wait(5);
                let venue = [(BTC, quantity, text.as_str())];
                assert!(equal(&self.holdings(&venue, &[(USDT, &wallet.to_string())], true)));
            }
            Step::Wait => self.wait(20_000),
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// After every step all sums agree, and a ledger restored from a snapshot goes on as if nothing had happened.
    #[test]
    fn sums_agree_at_every_step(steps in prop::collection::vec(step(), 0..40), cut in 0usize..40) {
        let mut desk = Desk::funded();
        let mut twin: Option<Desk> = None;
        for (at, step) in steps.iter().enumerate() {
            if at == cut {
                let mut restored = Desk::new();
                restored.ledger.restore(&desk.ledger.snapshot()).expect("readable");
                restored.now = desk.now;
                twin = Some(restored);
            }
            desk.play(step);
            assert_sums(&desk, &[1, 77, 999]);
            if let Some(twin) = &mut twin {
                twin.play(step);
                prop_assert_eq!(twin.ledger.state_hash(), desk.ledger.state_hash());
            }
        }
    }

    /// The incremental ledger is what a recomputation from the list of all fills gives.
    #[test]
    fn the_ledger_is_the_sum_of_its_fills(steps in prop::collection::vec(step(), 0..40)) {
        let mut desk = Desk::funded();
        let kept = |s: &&Step| matches!(s, Step::Fill { .. } | Step::Mark { .. });
        let fills: Vec<Fill> = steps.iter().filter(kept).filter_map(|s| desk.play(s)).collect();
        let sum = |pick: &dyn Fn(&Fill) -> bool, what: &dyn Fn(&Fill) -> i128| -> i128 {
            fills.iter().filter(|f| pick(f)).map(what).sum()
        };
        let (realized, fee) = (|f: &Fill| f.realized.mantissa(), |f: &Fill| f.fee.map_or(0, Money::mantissa));
        let paid_in = |asset| move |f: &Fill| f.fee.is_some_and(|fee| fee.asset == asset);
        let start = Money::units(USDT, 1_000).mantissa();
        let usdt = start + sum(&|_| true, &realized) - sum(&paid_in(USDT), &fee);
        prop_assert_eq!(desk.ledger.balances().get(USDT).mantissa(), usdt);
        let bnb = Money::UNIT - sum(&paid_in(BNB), &fee);
        prop_assert_eq!(desk.ledger.balances().get(BNB).mantissa(), bnb);
        for strategy in (0..4).map(StrategyIx) {
            for symbol in [BTC, ETH] {
                let own = |f: &Fill| f.strategy == strategy && f.symbol == symbol;
                let instrument = desk.universe.instrument(symbol).expect("defined");
                let signed = |f: &Fill| f.quantity.signed(f.side);
                let spent = sum(&own, &|f| instrument.signed_notional(f.price, signed(f)).expect("fits").mantissa());
                let size = sum(&own, &|f| signed(f).mantissa() as i128);
                let book = desk.ledger.state.books.get(&(strategy, symbol));
                prop_assert_eq!(book.map_or(0, |b| b.position.quantity.mantissa() as i128), size);
                prop_assert_eq!(book.map_or(0, |b| b.position.balance().expect("fits").mantissa()), -spent);
            }
        }
    }

    /// Without mark prices, as after a recovery whose journal has none, everything but the value of open positions is the same.
    #[test]
    fn bookings_do_not_depend_on_the_market(steps in prop::collection::vec(step(), 0..40)) {
        let (mut desk, mut blind) = (Desk::funded(), Desk::funded());
        for step in &steps {
            desk.play(step);
            if !matches!(step, Step::Mark { .. }) {
                blind.play(step);
            }
        }
        let booked = |desk: &Desk| State { marks: Default::default(), day: None, ..desk.ledger.state.clone() };
        prop_assert_eq!(booked(&desk), booked(&blind));
    }
}
