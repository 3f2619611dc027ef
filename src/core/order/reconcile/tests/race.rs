//! A fill races with the reconciliation: it happens before or after each answer is taken at the exchange, its report comes before
//! or after each answer, or never, and the trade history shows it at once or late. Reconciliation and ledger are the real ones.
//! In the end the ledger must be what the exchange has, in every interleaving.

use super::*;
use crate::command::VenueBalance;
use crate::id::{ForeignId, OrderKey, StrategyIx};
use crate::instrument::{Definition, Instrument};
use crate::order::Fill;
use crate::position::ledger::Ledger;

const USDT: AssetIx = AssetIx(1);
const NEVER: usize = usize::MAX;
const WALLET: i64 = 1_000;

/// When things happen, in steps.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The fill happens at the exchange.
    fill: usize,
    /// Its report arrives.
    report: usize,
    /// The trade history shows it.
    history: usize,
}

struct Race {
    world: World,
    ledger: Ledger,
    times: Times,
    step: usize,
    booked: BTreeSet<TradeId>,
    repaired: usize,
    /// An answer that is taken and on its way.
    on_its_way: Option<(CommandId, Answer)>,
}

fn universe() -> Universe {
    let mut universe = Universe::default();
    for (at, name) in ["BTC", "USDT"].into_iter().enumerate() {
        universe.define(&Definition::Asset { asset: AssetIx(at as u16), name: name.into() }).expect("in order");
    }
    let brackets = [("0", "50000", 125, "0.004", "0"), ("50000", "250000", 100, "0.005", "50")];
    let instrument = Instrument { symbol: BTC, ..crate::position::margin::tests::instrument(&brackets) };
    universe.define(&Definition::Instrument(Box::new(instrument))).expect("in order");
    universe
}

fn the_trade() -> TradeRecord {
    let mut trade = trade(7);
    trade.fill.fee = Some(Money::units(USDT, 1));
    trade.fill.realized = Money::zero(USDT);
    trade
}

impl Race {
    fn new(times: Times) -> Race {
        let world = World { universe: universe(), ..World::new() };
        let (booked, ledger) = (BTreeSet::new(), Ledger::new(ACCOUNT, USDT));
        Race { world, ledger, times, step: 0, booked, repaired: 0, on_its_way: None }
    }

    fn happened(&self) -> bool {
        self.step >= self.times.fill
    }

    fn position(&self) -> NetQuantity {
        NetQuantity::from_mantissa(i64::from(self.happened()))
    }

    fn wallet(&self) -> Money {
        Money::units(USDT, WALLET - i64::from(self.happened()))
    }

    fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Trades { symbol, .. } => {
                let shown = self.happened() && self.step >= self.times.history;
                Answer::Trades { symbol: *symbol, trades: shown.then(the_trade).into_iter().collect(), complete: true }
            }
            Query::Positions => Answer::Positions(vec![VenuePosition {
                symbol: BTC,
                position_side: PositionSide::Both,
                quantity: self.position(),
                entry_price: Price::from_mantissa(100),
            }]),
            Query::Balances => Answer::Balances(vec![VenueBalance { wallet: self.wallet() }]),
            other => self.world.answer(other),
        }
    }

    /// What the desk does with a trade: each once.
    fn fill(&mut self, trade: &TradeRecord) -> Option<Event> {
        self.booked.insert(trade.fill.trade_id).then(|| {
            Event::Fill(Fill {
                account: ACCOUNT,
                strategy: StrategyIx::EXTERNAL,
                symbol: trade.symbol,
                key: OrderKey::Foreign(ForeignId::new("web")),
                venue_order: trade.venue_id,
                trade_id: trade.fill.trade_id,
                side: trade.side,
                position_side: trade.position_side,
                price: trade.fill.price,
                quantity: trade.fill.quantity,
                maker: trade.fill.maker,
                fee: trade.fill.fee,
                realized: trade.fill.realized,
                exchange_time: trade.fill.exchange_time,
            })
        })
    }

    /// Runs a cascade through ledger and reconciliation.
    fn event(&mut self, first: Event) {
        self.world.seq += 1;
        let mut agenda = vec![first];
        while !agenda.is_empty() {
            let event = agenda.remove(0);
            let mut out = Outbox::new(100);
            let w = &mut self.world;
            let context = Context {
                now: w.now,
                seq: Seq(w.seq),
                epoch: 1,
                markets: &w.markets,
                universe: &w.universe,
                config: &w.config,
                commands: &w.commands,
            };
            self.ledger.on(&event, &context, &mut out);
            w.node.on(&event, &context, &mut out);
            for event in out.drain().collect::<Vec<_>>() {
                agenda.extend(self.sort(event));
            }
        }
    }

    fn sort(&mut self, event: Event) -> Vec<Event> {
        match event {
            Event::Finding(Finding::Trades { trades, .. }) => trades.iter().filter_map(|t| self.fill(t)).collect(),
            Event::Finding(Finding::OpenOrders { .. } | Finding::OpenConditionals { .. }) => Vec::new(),
            Event::Finding(_) => vec![event],
            Event::Reconciled(_) => {
                self.world.reconciled += 1;
                vec![event]
            }
            Event::Alert(alert) => {
                self.repaired += usize::from(alert.code == AlertCode::PositionRepaired);
                Vec::new()
            }
            Event::Position(_) | Event::Equity(_) => Vec::new(),
            event => self.world.sort(event).into_iter().collect(),
        }
    }

    /// One thing happens: an answer is taken at the exchange, an answer arrives, or time passes to the next timer.
    fn step(&mut self) {
        if self.step == self.times.report
            && let Some(fill) = self.fill(&the_trade())
        {
            self.event(fill);
        }
        self.world.now = self.world.now.plus(Span::from_millis(20));
        if let Some((command, answer)) = self.on_its_way.take() {
            self.event(Event::Input(Input::Answer(QueryAnswer { command, account: ACCOUNT, result: Ok(answer) })));
        } else if !self.world.sent.is_empty() {
            let (command, query) = self.world.sent.remove(0);
            self.on_its_way = Some((command, self.answer(&query)));
        } else if let Some((&key, &at)) = self.world.timers.iter().min_by_key(|(_, at)| **at) {
            self.world.timers.remove(&key);
            self.world.now = self.world.now.max(at);
            self.event(Event::Input(Input::Timer(TimerId { station: Station::Reconciler(ACCOUNT), key })));
        }
        self.step += 1;
    }
}

#[test]
fn a_fill_that_races_with_the_answers_is_counted_once() {
    let mut taken_back = 0;
    for fill in 0..45 {
        for report in [0, 1, 2, 3, 5, 8, 14, 25, 60].map(|delay| fill + delay).into_iter().chain([NEVER]) {
            for history in [0, 3, 30].map(|lag| fill + lag) {
                let times = Times { fill, report, history };
                let mut race = Race::new(times);
                race.event(Event::Input(Input::Start { epoch: 1 }));
                (0..300).for_each(|_| race.step());
                assert_eq!(race.ledger.account_quantity(BTC), race.position(), "{times:?}");
                assert_eq!(race.ledger.balances().get(USDT), race.wallet(), "{times:?}");
                assert!(race.world.reconciled > 0, "{times:?}");
                taken_back += race.repaired;
            }
        }
    }
    assert!(taken_back > 0, "some fills came after they had been taken over");
}

#[test]
fn the_first_fill_behind_a_repair_has_the_account_compared_again() {
    let mut race = Race::new(Times { fill: 0, report: NEVER, history: NEVER });
    race.event(Event::Input(Input::Start { epoch: 1 }));
    (0..20).for_each(|_| race.step());
    assert_eq!(
        (race.world.reconciled, race.ledger.account_quantity(BTC)),
        (1, race.position()),
        "taken as it was found"
    );
    let before = race.world.untrusted;
    for id in [7, 8] {
        let mut trade = the_trade();
        trade.fill.trade_id = TradeId(id);
        let fill = race.fill(&trade).expect("a new one");
        race.event(fill);
    }
    assert_eq!(race.world.untrusted - before, 1);
}
