//! Conditional orders from a strategy to the venue and back, in the driver: placed, triggered, refused at the trigger, cancelled,
//! reconciled after a restart in between, and stuck in TRIGGERING.
#![allow(clippy::unwrap_used)]

#[path = "support/world.rs"]
mod world;

use qcat_core::command::CommandId;
use qcat_core::engine::Engine;
use qcat_core::engine::driver::Driver;
use qcat_core::event::{AlertCode, Decision, Input, StreamState};
use qcat_core::id::{OrderKey, StrategyIx, SymbolIx, TradeId};
use qcat_core::market::{Mark, MarketEvent, MarketInput, Quote, Trade};
use qcat_core::num::{NetQuantity, Quantity, Rate, Side};
use qcat_core::order::{OrderState, PositionSide, Terms};
use qcat_core::strategy::{Needs, OrderSpec, Params, Registry, Strategy, StrategyContext, StrategyEvent, StrategySpec};
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{FaultConfig, PlaceOrder, RequestKind, VenueRequest};
use std::sync::Arc;
use world::{Mortal, Setup};

/// Buys at 61,800 and protects what it has by one stop at 61,200. From 62,500 on it takes the stop back.
const PROTECTED: StrategySpec = StrategySpec {
    name: "protected",
    doc: "Buys at one price and protects it by a stop.",
    params: &[],
    factory: |_: &Params| Ok(Box::new(Protected) as Box<dyn Strategy>),
};

struct Protected;

impl Strategy for Protected {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        if !matches!(event, StrategyEvent::Quote { .. } | StrategyEvent::Position(_)) {
            return;
        }
        let symbol = ctx.symbol();
        let Some(quote) = ctx.quote(symbol) else { return };
        let instrument = ctx.instrument(symbol).unwrap().clone();
        let position = ctx.position(symbol);
        let dear = quote.bid >= instrument.parse_price("62500").unwrap();
        let wanted = instrument.parse_price("61800").unwrap();
        let stop = ctx.orders().iter().find(|o| o.update.conditional).map(|o| o.update.key);
        match (position.is_zero(), stop) {
            (true, None) if quote.bid == wanted && ctx.can_trade() && ctx.orders().is_empty() => {
                let quantity = instrument.parse_quantity("0.010").unwrap();
                ctx.place(OrderSpec::market(symbol, Side::Buy, quantity));
            }
            (false, None) if !dear && ctx.orders().is_empty() => {
                let trigger = instrument.parse_price("61200").unwrap();
                ctx.stop(symbol, Side::Sell, trigger, position.abs());
            }
            (false, Some(key)) if dear => drop(ctx.cancel(key)),
            _ => {}
        }
    }
}

const IX: StrategyIx = StrategyIx(1);

struct Scene {
    setup: Setup,
    driver: Driver<Mortal>,
    symbol: SymbolIx,
    at: Ts,
    trades: i64,
}

impl Scene {
    /// A strategy that has bought at 61,800 and whose stop at 61,200 waits at the venue.
    fn new(faults: FaultConfig) -> Scene {
        let mut setup = Setup::new(&[("protected", 0, "BTCUSDT")]);
        let mut registry = Registry::builtin();
        registry.register(PROTECTED).unwrap();
        setup.registry = Arc::new(registry);
        setup.faults = faults;
        let driver = setup.driver();
        let symbol = *setup.symbols().first().unwrap();
        let mut scene = Scene { setup, driver, symbol, at: world::START.plus(Span::from_secs(1)), trades: 0 };
        (0..5).for_each(|_| scene.price("61800"));
        assert_eq!(scene.position(), 10);
        assert_eq!(scene.stops(), [OrderState::Working]);
        assert_eq!(scene.driver.venue().open_orders(world::A, scene.at).len(), 1);
        scene
    }

    fn send(&mut self, event: MarketEvent) {
        let (exchange_time, receive_time) = (self.at, self.at);
        let input = MarketInput { symbol: self.symbol, exchange_time, receive_time, derived: false, event };
        self.driver.run([input], &mut |_| {}).unwrap();
    }

    /// The market stands at a price: mark, quote, trade, and 300 ms for the answers.
    fn price(&mut self, text: &str) {
        let instrument = self.driver.engine().universe().instrument(self.symbol).unwrap().clone();
        let price = instrument.parse_price(text).unwrap();
        let big = instrument.parse_quantity("50").unwrap();
        self.trades += 1;
        let (id, update_id) = (TradeId(self.trades), self.trades as u64);
        let mark = Mark { mark_price: price, index_price: price, funding_rate: Rate::ZERO, next_funding: Ts::ZERO };
        self.send(MarketEvent::Mark(mark));
        let ask = instrument.offset(price, 1);
        let quote = Quote { update_id, bid: price, bid_quantity: big, ask, ask_quantity: big };
        self.send(MarketEvent::Quote(quote));
        self.send(MarketEvent::Trade(Trade { id, price, quantity: big, aggressor: Side::Sell, on_book: true }));
        self.wait(300);
    }

    fn wait(&mut self, millis: i64) {
        self.at = self.at.plus(Span::from_millis(millis));
        self.driver.run_until(self.at, &mut |_| {}).unwrap();
    }

    fn engine(&self) -> &Engine {
        self.driver.engine()
    }

    fn position(&self) -> i64 {
        let ledger = self.engine().ledger(world::A).unwrap();
        ledger.virtual_position(IX, self.symbol).map_or(0, |p| p.quantity.mantissa())
    }

    fn stops(&self) -> Vec<OrderState> {
        self.engine().desk(world::A).unwrap().orders().filter(|o| o.conditional).map(|o| o.state).collect()
    }

    fn alerts(&self, code: AlertCode) -> usize {
        world::alerts(self.driver.log(), code)
    }

    fn assert_agree(&mut self, what: &str) {
        self.wait(150_000);
        world::assert_agree(&self.driver, &self.setup, what);
    }

    /// The daemon dies and comes back from its log `down` later; meanwhile the market stands at a price.
    fn restart(&mut self, meanwhile: &str) {
        let log = self.driver.log().to_vec();
        self.driver.venue_mut().cut = world::Cut::Time(self.at);
        self.price(meanwhile);
        self.driver.venue_mut().revive();
        let engine = Engine::folded(&self.setup.registry, &log, &[]).unwrap();
        self.driver.restart(engine, log, self.at).unwrap();
        self.driver.deliver(self.at, Input::Stream(StreamState::MarketUp(self.symbol)));
        self.wait(3_000);
    }
}

#[test]
fn a_stop_that_is_triggered_closes_the_position() {
    let mut scene = Scene::new(FaultConfig::default());
    scene.price("61300");
    assert_eq!((scene.position(), scene.stops()), (10, vec![OrderState::Working]));
    scene.price("61190");
    scene.price("61190");
    assert_eq!((scene.position(), scene.stops()), (0, vec![]));
    scene.assert_agree("after the stop");
    assert_eq!(scene.engine().desk(world::A).unwrap().orders().count(), 0);
}

#[test]
fn a_stop_is_cancelled_and_placed_again() {
    let mut scene = Scene::new(FaultConfig::default());
    scene.price("62600");
    assert_eq!((scene.position(), scene.stops()), (10, vec![]));
    assert!(scene.driver.venue().open_orders(world::A, scene.at).is_empty());
    scene.price("61900");
    scene.price("61900");
    assert_eq!(scene.stops(), [OrderState::Working]);
    scene.assert_agree("after the second stop");
}

#[test]
fn a_stop_that_is_refused_at_its_trigger_is_told() {
    let mut scene = Scene::new(FaultConfig::default());
    // A person sells the account's whole position at the exchange: what the stop would reduce is gone.
    let (symbol, account) = (scene.symbol, world::A);
    let order = PlaceOrder {
        key: OrderKey::parse("web_1"),
        symbol,
        side: Side::Sell,
        quantity: Quantity::from_mantissa(10).unwrap(),
        terms: Terms::Market,
        reduce_only: false,
        position_side: PositionSide::Both,
    };
    let request = VenueRequest { command: CommandId(u64::MAX), kind: RequestKind::Place(order) };
    let (mut out, at) = (Vec::new(), scene.at);
    let venue = &mut scene.driver.venue_mut().venue;
    venue.on_request(account, request, at, &mut out);
    venue.on_time(at.plus(Span::from_millis(5)), &mut out);
    for output in out {
        let at = output.at;
        if let Some(input) = output.into_input() {
            scene.driver.deliver(at, input);
        }
    }
    scene.wait(300);
    assert_eq!(scene.engine().ledger(world::A).unwrap().account_quantity(symbol), NetQuantity::ZERO);
    scene.price("61190");
    assert_eq!(scene.alerts(AlertCode::TriggerRejected), 1);
    scene.assert_agree("after the refusal");
    assert_eq!(scene.position(), 10, "the strategy's own position is still there, and unprotected: a person is told");
}

#[test]
fn a_stop_that_waits_over_a_restart_is_known_again() {
    let mut scene = Scene::new(FaultConfig::default());
    scene.restart("61700");
    assert_eq!(scene.stops(), [OrderState::Working]);
    scene.assert_agree("after the restart");
    scene.price("61700");
    scene.price("61190");
    assert_eq!((scene.position(), scene.stops()), (0, vec![]));
    scene.assert_agree("after the stop");
}

#[test]
fn a_stop_that_is_triggered_while_the_daemon_is_away_is_booked_once() {
    let mut scene = Scene::new(FaultConfig::default());
    scene.restart("61190");
    assert_eq!((scene.position(), scene.stops()), (0, vec![]));
    for code in [AlertCode::PositionRepaired, AlertCode::BalanceRepaired] {
        assert_eq!(scene.alerts(code), 0, "{code:?}");
    }
    scene.assert_agree("after the restart");
}

#[test]
fn a_stop_that_is_stuck_in_triggering_raises_the_alarm_and_closes_the_position() {
    for restart in [false, true] {
        let mut scene = Scene::new(FaultConfig { stuck_trigger: Rate::ONE, ..FaultConfig::default() });
        scene.price("61190");
        assert_eq!((scene.position(), scene.stops()), (10, vec![OrderState::Triggering]));
        if restart {
            scene.restart("61190");
        }
        scene.wait(8_000);
        assert_eq!(scene.alerts(AlertCode::StuckTrigger), 1, "restart {restart}");
        assert_eq!((scene.position(), scene.stops()), (0, vec![]), "restart {restart}");
        let closes = world::decisions(scene.driver.log()).filter(|d| match d {
            Decision::Command(c) => matches!(&c.kind, qcat_core::command::CommandKind::Place(order)
                if order.intent.reduce_only && order.intent.terms == Terms::Market),
            _ => false,
        });
        assert_eq!(closes.count(), 1, "restart {restart}");
        scene.assert_agree("after the alarm");
    }
}
