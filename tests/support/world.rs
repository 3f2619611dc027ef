//! A market, a venue and an engine in the driver, for tests of the whole engine, and a strategy that does a bit of everything.
#![allow(dead_code, clippy::unwrap_used)]

use qcat_core::binance::instruments;
use qcat_core::command::{Answer, CommandId, CommandKind, MarginType, Query, VenueCommand};
use qcat_core::config::{AccountConfig, AccountLimits, EngineConfig, OnFault, OnStop, OnStuckTrigger, StrategyConfig};
use qcat_core::engine::Engine;
use qcat_core::engine::driver::{Counterparty, Delivery, Driver, DriverOptions};
use qcat_core::engine::fold::Record;
use qcat_core::event::{AlertCode, Decision, Input, StreamState};
use qcat_core::id::{AccountIx, ClientOrderId, OrderKey, SymbolIx};
use qcat_core::instrument::Universe;
use qcat_core::market::MarketInput;
use qcat_core::node::hash_bytes;
use qcat_core::num::{Money, NetQuantity, Quantity, Rate, Side};
use qcat_core::order::PositionMode;
use qcat_core::sim::market::{Generator, GeneratorParams};
use qcat_core::strategy::{Needs, OrderSpec, Params, Registry, Strategy, StrategyContext, StrategyEvent, StrategySpec};
use qcat_core::time::{Span, Ts};
use qcat_core::venue::{AccountSpec, FaultConfig, Fees, Latency, Venue, VenueConfig};
use std::collections::BTreeSet;
use std::sync::Arc;

/// 2024-08-08 00:00:01 UTC.
pub const START: Ts = Ts::from_millis(1_723_075_201_000);
pub const A: AccountIx = AccountIx(0);

/// What a test wants.
#[derive(Clone)]
pub struct Setup {
    pub accounts: usize,
    /// Kind, account, symbol.
    pub strategies: Vec<(&'static str, u16, &'static str)>,
    pub registry: Arc<Registry>,
    pub faults: FaultConfig,
    pub seed: u64,
    pub options: DriverOptions,
    pub trigger_delay: Span,
}

impl Setup {
    pub fn new(strategies: &[(&'static str, u16, &'static str)]) -> Setup {
        let mut registry = Registry::builtin();
        registry.register(CHURNER).unwrap();
        Setup {
            accounts: 1,
            strategies: strategies.to_vec(),
            registry: Arc::new(registry),
            faults: FaultConfig::default(),
            seed: 1,
            options: DriverOptions { keep_log: true, ..DriverOptions::default() },
            trigger_delay: Span::ZERO,
        }
    }

    pub fn universe(&self) -> Universe {
        instruments::builtin_universe().unwrap()
    }

    pub fn config(&self) -> EngineConfig {
        let universe = self.universe();
        let usdt = universe.asset("USDT").unwrap();
        let usd = |units| Money::units(usdt, units);
        let account = |n: usize| AccountConfig {
            name: format!("account{n}").into(),
            trading: true,
            position_mode: PositionMode::OneWay,
            multi_assets: false,
            margin_type: MarginType::Cross,
            leverage: 20,
            limits: AccountLimits {
                order_notional_max: usd(50_000),
                position_notional_max: usd(200_000),
                exposure_max: usd(500_000),
                leverage_max: Rate::from_bps(200_000),
                price_band: Rate::from_bps(2_000),
                reference_age_max: qcat_core::config::REFERENCE_AGE_MAX,
                order_rate_max: 100_000,
                order_rate_window: Span::from_secs(10),
                open_orders_max: 100,
                open_conditionals_max: 50,
                daily_loss_max: usd(90_000),
                runaway_orders_max: 100_000,
                runaway_window: Span::from_secs(60),
            },
            on_fault: OnFault::CancelEntries,
            triggering_bound: Span::from_secs(5),
            on_stuck_trigger: OnStuckTrigger::Close,
        };
        let strategy = |&(kind, account, symbol): &(&'static str, u16, &'static str)| StrategyConfig {
            name: format!("{kind}-{account}-{symbol}").into(),
            kind: kind.into(),
            account: AccountIx(account),
            symbols: vec![universe.by_name(symbol).unwrap().symbol],
            params: Default::default(),
            on_stop: OnStop::Cancel,
            enabled: true,
        };
        EngineConfig {
            accounts: (0..self.accounts).map(account).collect(),
            strategies: self.strategies.iter().map(strategy).collect(),
            ..EngineConfig::default()
        }
    }

    pub fn venue(&self) -> Mortal {
        let ms = Span::from_millis;
        let config = VenueConfig {
            latency: Latency { entry: ms(5), answer: ms(6), report: ms(4) },
            faults: self.faults,
            seed: self.seed,
            trigger_delay: self.trigger_delay,
            ..VenueConfig::default()
        };
        let universe = self.universe();
        let balance = Money::units(universe.asset("USDT").unwrap(), 100_000);
        let mut venue = Venue::new(config, universe);
        for account in 0..self.accounts {
            let spec = AccountSpec { balances: vec![balance], fees: Fees::default(), leverage: 20 };
            venue.add_account(AccountIx(account as u16), &spec);
        }
        Mortal { venue, cut: Cut::Never, received: 0, dead: None, placed: Vec::new() }
    }

    pub fn driver(&self) -> Driver<Mortal> {
        self.driver_with(self.config())
    }

    pub fn driver_with(&self, config: EngineConfig) -> Driver<Mortal> {
        let (universe, registry) = (self.universe(), self.registry.clone());
        let mut driver =
            Driver::new(registry, self.venue(), self.options.clone(), START, universe.definitions(), config).unwrap();
        for symbol in self.symbols() {
            driver.deliver(START, Input::Stream(StreamState::MarketUp(symbol)));
            let instrument = universe.instrument(symbol).unwrap();
            let generator = generator(self.seed, instrument);
            for interval in [Span::from_secs(1), Span::from_secs(60)] {
                let candles = generator.klines_before(interval, 100);
                driver.deliver(START, Input::History(qcat_core::event::History { symbol, candles }));
            }
        }
        driver
    }

    pub fn symbols(&self) -> BTreeSet<SymbolIx> {
        let universe = self.universe();
        self.strategies.iter().map(|(_, _, name)| universe.by_name(name).unwrap().symbol).collect()
    }

    /// Generated market of all symbols.
    pub fn market(&self, length: Span) -> Vec<MarketInput> {
        let universe = self.universe();
        let end = START.plus(length);
        let one = |symbol| generator(self.seed, universe.instrument(symbol).unwrap());
        let mut events: Vec<MarketInput> = self
            .symbols()
            .into_iter()
            .flat_map(|symbol| one(symbol).take_while(|event| event.exchange_time < end).collect::<Vec<_>>())
            .collect();
        events.sort_by_key(|event| event.exchange_time);
        events
    }
}

fn generator(seed: u64, instrument: &qcat_core::instrument::Instrument) -> Generator {
    let params =
        GeneratorParams { levels: 10, volatility_bps: 2.0, ..GeneratorParams::at(qcat::start_price(instrument)) };
    Generator::new(seed, instrument, START, params).unwrap()
}

/// The faults of a bad day, without those that only a reconciliation can see.
pub fn bad_day() -> FaultConfig {
    let percent = |n: i64| Rate::from_bps(n * 100);
    FaultConfig {
        reject: percent(4),
        swallow_request: percent(2),
        lose_answer: percent(4),
        lose_report: percent(3),
        duplicate_report: percent(10),
        delay_report: percent(15),
        delay_max: Span::from_millis(400),
        stuck_trigger: Rate::ZERO,
    }
}

/// When the daemon dies, as the venue sees it: nothing arrives from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Never,
    /// From this time on.
    Time(Ts),
    /// Before this many commands (from 1) were sent.
    Command(u64),
}

/// The venue, and the death of the daemon beside it.
pub struct Mortal {
    pub venue: Venue,
    pub cut: Cut,
    received: u64,
    /// The first command that was never sent, or the time of death.
    pub dead: Option<(Ts, CommandId)>,
    /// Every order that the venue was sent.
    pub placed: Vec<ClientOrderId>,
}

impl Counterparty for Mortal {
    fn market(&mut self, input: &MarketInput, now: Ts, out: &mut Vec<Delivery>) {
        self.venue.market(input, now, out);
    }

    fn command(&mut self, command: &VenueCommand, now: Ts, out: &mut Vec<Delivery>) {
        self.received += 1;
        let dies = match self.cut {
            Cut::Never => false,
            Cut::Time(at) => now >= at,
            Cut::Command(n) => self.received >= n,
        };
        if dies {
            self.dead.get_or_insert((now, command.id));
        }
        if self.dead.is_some() {
            return;
        }
        if let CommandKind::Place(order) = &command.kind {
            self.placed.push(order.intent.id);
        }
        self.venue.command(command, now, out);
    }

    fn next_wakeup(&self) -> Option<Ts> {
        self.venue.next_wakeup()
    }

    fn wake(&mut self, now: Ts, out: &mut Vec<Delivery>) {
        self.venue.wake(now, out);
    }
}

impl Mortal {
    /// Commands that were sent or would have been.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// A new daemon connects.
    pub fn revive(&mut self) {
        (self.cut, self.dead) = (Cut::Never, None);
    }

    fn ask(&self, account: AccountIx, query: Query, now: Ts) -> Answer {
        let mut venue = self.venue.clone();
        venue.set_faults(FaultConfig::default());
        let id = CommandId(u64::MAX);
        let command = VenueCommand { id, account, kind: CommandKind::Query(query) };
        let mut out = Vec::new();
        venue.command(&command, now, &mut out);
        venue.wake(now.plus(Span::from_secs(1)), &mut out);
        let answer = out.into_iter().find_map(|delivery| match delivery.input {
            Input::Answer(answer) if answer.command == id => Some(answer.result),
            _ => None,
        });
        answer.unwrap().unwrap()
    }

    /// Open orders of both kinds, with what is filled of them.
    pub fn open_orders(&self, account: AccountIx, now: Ts) -> BTreeSet<(OrderKey, bool, Quantity)> {
        let Answer::OpenOrders(orders) = self.ask(account, Query::OpenOrders, now) else { panic!("open orders") };
        let Answer::OpenConditionals(waiting) = self.ask(account, Query::OpenConditionals, now) else {
            panic!("open conditional orders")
        };
        let ordinary = orders.into_iter().map(|o| (o.key, false, o.filled));
        ordinary.chain(waiting.into_iter().map(|o| (o.key, true, Quantity::ZERO))).collect()
    }
}

/// Fails unless daemon and venue agree on everything of every account.
pub fn assert_agree(driver: &Driver<Mortal>, setup: &Setup, what: &str) {
    let (engine, venue) = (driver.engine(), driver.venue());
    let usdt = engine.universe().asset("USDT").unwrap();
    for account in (0..setup.accounts as u16).map(AccountIx) {
        let desk = engine.desk(account).unwrap();
        assert_eq!(
            (desk.unknown_count(), desk.owed_count()),
            (0, 0),
            "{what}: {:?}",
            desk.orders().collect::<Vec<_>>()
        );
        let known: BTreeSet<_> = desk.orders().map(|o| (o.key, o.conditional, o.filled)).collect();
        assert_eq!(known, venue.open_orders(account, engine.now()), "{what}: open orders");
        let ledger = engine.ledger(account).unwrap();
        for symbol in setup.symbols() {
            let position = venue.venue.position(account, symbol).map_or(NetQuantity::ZERO, |p| p.quantity);
            assert_eq!(ledger.account_quantity(symbol), position, "{what}: position");
        }
        let wallet = venue.venue.balance(account, usdt).unwrap().wallet;
        assert_eq!(ledger.balances().get(usdt), wallet, "{what}: balance");
        assert!(engine.gate(account).unwrap().is_trusted(), "{what}: not trusted");
    }
}

/// All decisions of a log.
pub fn decisions(log: &[Record]) -> impl Iterator<Item = &Decision> {
    log.iter().flat_map(|record| match record {
        Record::Decisions(_, _, decisions) => decisions.as_slice(),
        Record::Input(_) => &[],
    })
}

/// How many alerts of a kind.
pub fn alerts(log: &[Record], code: AlertCode) -> usize {
    decisions(log).filter(|decision| matches!(decision, Decision::Alert(alert) if alert.code == code)).count()
}

/// The state of the deciding nodes by name.
pub fn deciding_parts(engine: &Engine) -> Vec<(String, u64)> {
    engine.part_hashes().into_iter().filter(|(name, _)| !name.starts_with("runner")).collect()
}

/// A strategy that does a bit of everything, from a seed of its own state.
pub const CHURNER: StrategySpec = StrategySpec {
    name: "churner",
    doc: "Places, changes and cancels orders of all kinds at random.",
    params: &[],
    factory: churner,
};

fn churner(_: &Params) -> Result<Box<dyn Strategy>, qcat_core::strategy::ParamError> {
    Ok(Box::new(Churner { state: 0x9e37_79b9_7f4a_7c15 }))
}

struct Churner {
    state: u64,
}

impl Churner {
    fn draw(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % n
    }

    fn quote(&mut self, ctx: &mut StrategyContext<'_>) {
        if self.draw(4) != 0 {
            return;
        }
        let symbol = ctx.symbol();
        let Some(quote) = ctx.quote(symbol) else { return };
        let instrument = ctx.instrument(symbol).unwrap().clone();
        let lots = |n: i64| Quantity::from_mantissa(n * instrument.filters.lot.step.mantissa()).unwrap();
        let quantity = lots(3 + self.draw(4) as i64);
        let position = ctx.position(symbol);
        let long = position.mantissa() > 40 * instrument.filters.lot.step.mantissa();
        let short = position.mantissa() < -40 * instrument.filters.lot.step.mantissa();
        let side = if long || (!short && self.draw(2) == 0) { Side::Sell } else { Side::Buy };
        let away = self.draw(6) as i64;
        let near = match side {
            Side::Buy => instrument.offset(quote.bid, -away),
            Side::Sell => instrument.offset(quote.ask, away),
        };
        let open: Vec<_> = ctx.orders().iter().map(|o| (o.update.key, o.id(), o.update.conditional)).collect();
        let pick = (!open.is_empty()).then(|| open[self.draw(open.len() as u64) as usize]);
        match (self.draw(10), pick) {
            _ if open.len() > 8 => drop(ctx.cancel_all(None)),
            (0 | 1, _) => drop(ctx.place(OrderSpec::market(symbol, side, quantity))),
            (2 | 3, _) => drop(ctx.place(OrderSpec::post_only(symbol, side, near, quantity))),
            (4, _) => drop(ctx.place(OrderSpec::limit(symbol, side, near, quantity))),
            (5 | 6, Some((key, _, _))) => drop(ctx.cancel(key)),
            (7, Some((_, Some(id), false))) => drop(ctx.modify(id, near, quantity)),
            _ => self.protect(position, &instrument, ctx),
        }
    }

    fn protect(
        &mut self,
        position: NetQuantity,
        instrument: &qcat_core::instrument::Instrument,
        ctx: &mut StrategyContext<'_>,
    ) {
        let symbol = instrument.symbol;
        let (Some(side), Some(quote)) = (position.side(), ctx.quote(symbol)) else { return };
        let distance = 50 + self.draw(200) as i64;
        let trigger = match side {
            Side::Buy => instrument.offset(quote.bid, -distance),
            Side::Sell => instrument.offset(quote.ask, distance),
        };
        ctx.stop(symbol, side.opposite(), trigger, position.abs());
    }
}

impl Strategy for Churner {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        if let StrategyEvent::Quote { .. } = event {
            self.quote(ctx);
        }
    }

    fn state_hash(&self) -> u64 {
        hash_bytes(&self.state.to_le_bytes())
    }
}
