//! A small world around one gate: two contracts at 100, three strategies, roomy limits.

use crate::book::Markets;
use crate::command::MarginType;
use crate::config::{AccountConfig, AccountLimits, EngineConfig, OnFault, OnStop, OnStuckTrigger, StrategyConfig};
use crate::event::{Budget, Equity, Event, Input};
use crate::id::{AccountIx, AssetIx, ClientOrderId, OrderKey, Seq, StrategyIx, SymbolIx, TradeId, VenueOrderId};
use crate::instrument::{
    ContractStatus, ContractType, Definition, Filters, Instrument, LotFilter, PercentPrice, PriceFilter, Universe,
};
use crate::market::{Mark, MarketEvent, MarketInput, Quote};
use crate::node::{Context, Node, Outbox};
use crate::num::{Money, NetQuantity, Price, Quantity, Rate, Side};
use crate::order::{
    Fill, Intent, NewOrder, OrderIntent, OrderState, OrderUpdate, PositionMode, PositionSide, Terms, TimeInForce,
};
use crate::risk::gate::{Gate, Grant, Refusal};
use crate::time::{Span, Ts};
use std::cell::Cell;

pub const ACCOUNT: AccountIx = AccountIx(0);
pub const USDT: AssetIx = AssetIx(0);
/// Shared by strategies 1 and 2.
pub const SHARED: SymbolIx = SymbolIx(0);
/// Strategy 3 alone.
pub const OWN: SymbolIx = SymbolIx(1);
/// Nobody's.
pub const FREE: SymbolIx = SymbolIx(2);

/// Dollars and cents.
pub const fn price(cents: i64) -> Price {
    Price::from_mantissa(cents)
}

/// Thousandths of a contract.
pub fn quantity(thousandths: i64) -> Quantity {
    Quantity::from_mantissa(thousandths).expect("not negative")
}

pub fn limit(cents: i64) -> Terms {
    Terms::Limit { price: price(cents), time_in_force: TimeInForce::Gtc }
}

fn instrument(symbol: SymbolIx, name: &str) -> Instrument {
    Instrument {
        symbol,
        name: name.into(),
        version: 1,
        status: ContractStatus::Trading,
        contract: ContractType::Perpetual,
        base: AssetIx(1),
        quote: USDT,
        margin: USDT,
        price_scale: 2,
        quantity_scale: 3,
        filters: Filters {
            price: PriceFilter { min: price(1_000), max: price(100_000), tick: price(10) },
            lot: LotFilter { min: quantity(2), max: quantity(100_000), step: quantity(2) },
            market_lot: LotFilter { min: quantity(4), max: quantity(50_000), step: quantity(4) },
            max_orders: Some(60),
            max_conditional_orders: Some(15),
            min_notional: Some(Money::units(USDT, 10)),
            percent_price: Some(PercentPrice { up: Rate::from_bps(11_000), down: Rate::from_bps(9_000) }),
            trigger_protect: None,
            market_take_bound: Some(Rate::from_bps(200)),
            unknown: Vec::new(),
        },
        liquidation_fee: Rate::ZERO,
        brackets: Vec::new(),
    }
}

pub fn limits() -> AccountLimits {
    let usd = |units| Money::units(USDT, units);
    AccountLimits {
        order_notional_max: usd(5_000),
        position_notional_max: usd(6_000),
        exposure_max: usd(8_000),
        leverage_max: Rate::from_bps(50_000),
        price_band: Rate::from_bps(500),
        reference_age_max: crate::config::REFERENCE_AGE_MAX,
        order_rate_max: 1_000,
        order_rate_window: Span::from_secs(10),
        open_orders_max: 50,
        open_conditionals_max: 20,
        daily_loss_max: usd(500),
        runaway_orders_max: 500,
        runaway_window: Span::from_secs(60),
    }
}

fn strategy(symbols: &[SymbolIx]) -> StrategyConfig {
    StrategyConfig {
        name: "s".into(),
        kind: "k".into(),
        account: ACCOUNT,
        symbols: symbols.to_vec(),
        params: Default::default(),
        on_stop: OnStop::Cancel,
        enabled: true,
    }
}

/// What a context is made of.
pub struct Env {
    pub universe: Universe,
    pub config: EngineConfig,
    pub markets: Markets,
    pub commands: Cell<u64>,
    pub now: Ts,
    pub seq: u64,
}

impl Env {
    pub fn new() -> Env {
        let mut universe = Universe::default();
        let assets = ["USDT", "X"].iter().enumerate();
        let assets = assets.map(|(ix, name)| Definition::Asset { asset: AssetIx(ix as u16), name: (*name).into() });
        let instruments = [(SHARED, "SHARED"), (OWN, "OWN"), (FREE, "FREE")];
        let instruments = instruments.map(|(s, n)| Definition::Instrument(Box::new(instrument(s, n))));
        for definition in assets.chain(instruments) {
            universe.define(&definition).expect("in order");
        }
        let account = AccountConfig {
            name: "a".into(),
            trading: true,
            position_mode: PositionMode::OneWay,
            multi_assets: false,
            margin_type: MarginType::Cross,
            leverage: 10,
            limits: limits(),
            on_fault: OnFault::CancelEntries,
            triggering_bound: Span::from_secs(5),
            on_stuck_trigger: OnStuckTrigger::Alert,
        };
        let config = EngineConfig {
            accounts: vec![account],
            strategies: vec![strategy(&[SHARED]), strategy(&[SHARED]), strategy(&[OWN])],
            ..EngineConfig::default()
        };
        let now = Ts::from_millis(1_000_000);
        let mut env = Env { universe, config, markets: Markets::default(), commands: Cell::new(0), now, seq: 0 };
        for symbol in [SHARED, OWN, FREE] {
            env.mark(symbol, 10_000);
            let (bid, ask) = (price(9_990), price(10_010));
            env.market(
                symbol,
                MarketEvent::Quote(Quote {
                    update_id: 1,
                    bid,
                    bid_quantity: quantity(1),
                    ask,
                    ask_quantity: quantity(1),
                }),
            );
        }
        env
    }

    pub fn market(&mut self, symbol: SymbolIx, event: MarketEvent) {
        let (exchange_time, receive_time) = (self.now, self.now);
        self.markets.apply(&MarketInput { symbol, exchange_time, receive_time, derived: false, event });
    }

    pub fn mark(&mut self, symbol: SymbolIx, cents: i64) {
        let mark = Mark {
            mark_price: price(cents),
            index_price: Price::ZERO,
            funding_rate: Rate::ZERO,
            next_funding: Ts::ZERO,
        };
        self.market(symbol, MarketEvent::Mark(mark));
    }

    pub fn context(&self) -> Context<'_> {
        Context {
            now: self.now,
            seq: Seq(self.seq),
            epoch: 1,
            markets: &self.markets,
            universe: &self.universe,
            config: &self.config,
            commands: &self.commands,
        }
    }

    pub fn limits(&mut self) -> &mut AccountLimits {
        &mut self.config.accounts[0].limits
    }

    pub fn edit(&mut self, symbol: SymbolIx, change: impl FnOnce(&mut Instrument)) {
        let mut instrument = self.universe.instrument(symbol).expect("defined").clone();
        change(&mut instrument);
        self.universe.define(&Definition::Instrument(Box::new(instrument))).expect("the same index");
    }

    /// One step of a node, with what it emitted.
    pub fn step(&self, node: &mut impl Node, event: &Event) -> Vec<Event> {
        let mut out = Outbox::new(64);
        node.on(event, &self.context(), &mut out);
        assert_eq!(out.take_overrun(), 0);
        out.drain().collect()
    }
}

pub fn equity(wallet: i64, day_profit: i64) -> Equity {
    Equity {
        account: ACCOUNT,
        wallet: Money::units(USDT, wallet),
        unrealized: Money::zero(USDT),
        day_profit: Money::units(USDT, day_profit),
        exposure: Money::zero(USDT),
    }
}

/// A gate that trusts, with a budget and an equity of 10,000.
pub struct World {
    pub env: Env,
    pub gate: Gate,
    pub counter: u32,
}

impl World {
    pub fn new() -> World {
        let mut world = World { env: Env::new(), gate: Gate::new(ACCOUNT), counter: 0 };
        world.tell(&Event::Input(Input::Start { epoch: 1 }));
        world.tell(&Event::Equity(equity(10_000, 0)));
        world.budget(1, 1_000_000);
        world.tell(&Event::Reconciled(ACCOUNT));
        world
    }

    pub fn tell(&mut self, event: &Event) -> Vec<Event> {
        self.env.step(&mut self.gate, event)
    }

    pub fn budget(&mut self, version: u64, exposure: i64) {
        let expires = self.env.now.plus(Span::from_secs(1_000));
        let exposure_max = Money::units(USDT, exposure);
        self.tell(&Event::Budget(Budget { account: ACCOUNT, version, expires, exposure_max, new_risk: true }));
    }

    pub fn id(&mut self, strategy: u16) -> ClientOrderId {
        self.counter += 1;
        ClientOrderId { epoch: 1, account: ACCOUNT, strategy: StrategyIx(strategy), counter: self.counter }
    }

    /// An order of a strategy in its symbol.
    pub fn order(&mut self, strategy: u16, side: Side, thousandths: i64, terms: Terms) -> OrderIntent {
        let symbol = match strategy {
            0 => FREE,
            3 => OWN,
            _ => SHARED,
        };
        OrderIntent {
            id: self.id(strategy),
            symbol,
            side,
            quantity: quantity(thousandths),
            terms,
            reduce_only: false,
            position_side: PositionSide::Both,
        }
    }

    /// What the gate says; a refusal's text must be a sentence.
    pub fn ask(&mut self, intent: Intent) -> Result<Grant, Refusal> {
        match self.gate.check_and_hold(intent, &self.env.context()) {
            Ok(approved) => Ok(*approved.grant()),
            Err(refused) => {
                assert!(refused.reason.to_string().len() > 10 && refused.intent == intent);
                Err(refused.reason)
            }
        }
    }

    pub fn place(&mut self, order: OrderIntent) -> Result<NewOrder, Refusal> {
        match self.ask(Intent::Place(order))? {
            Grant::Place(passed) => Ok(passed),
            Grant::Other(other) => panic!("a place became {other:?}"),
        }
    }

    /// The code of the refusal, or `sent`.
    pub fn code(&mut self, order: OrderIntent) -> &'static str {
        self.place(order).map_or_else(|refusal| refusal.code(), |_| "sent")
    }

    /// The same for a change of nothing but the side's size: a plain limit order at 100 of the strategy.
    pub fn buy(&mut self, strategy: u16, thousandths: i64) -> &'static str {
        let order = self.order(strategy, Side::Buy, thousandths, limit(10_000));
        self.code(order)
    }

    /// A fill out of nowhere gives a strategy a position; the ledger agrees.
    pub fn position(&mut self, strategy: u16, symbol: SymbolIx, thousandths: i64) {
        let side = if thousandths >= 0 { Side::Buy } else { Side::Sell };
        let key = OrderKey::parse("somebody");
        self.tell(&Event::Fill(fill(strategy, symbol, key, side, thousandths.abs(), 10_000)));
    }
}

pub fn fill(strategy: u16, symbol: SymbolIx, key: OrderKey, side: Side, thousandths: i64, cents: i64) -> Fill {
    Fill {
        account: ACCOUNT,
        strategy: StrategyIx(strategy),
        symbol,
        key,
        venue_order: VenueOrderId(1),
        trade_id: TradeId(1),
        side,
        position_side: PositionSide::Both,
        price: price(cents),
        quantity: quantity(thousandths),
        maker: false,
        fee: None,
        realized: Money::zero(USDT),
        exchange_time: Ts::ZERO,
    }
}

/// What the desk says of an order.
pub fn update(order: &NewOrder, filled: i64, state: OrderState) -> OrderUpdate {
    let intent = &order.intent;
    OrderUpdate {
        account: ACCOUNT,
        strategy: intent.id.strategy,
        symbol: intent.symbol,
        key: OrderKey::Ours(intent.id),
        side: intent.side,
        price: intent.terms.limit_price().unwrap_or(Price::ZERO),
        quantity: intent.quantity,
        filled: quantity(filled),
        reduce_only: intent.reduce_only,
        protective: intent.reduces(),
        conditional: intent.terms.is_conditional(),
        state,
    }
}

/// A position as the ledger tells it, at a cost of 100 per contract.
pub fn told(strategy: u16, symbol: SymbolIx, thousandths: i64, account: i64) -> Event {
    Event::Position(crate::event::VirtualPosition {
        account: ACCOUNT,
        strategy: StrategyIx(strategy),
        symbol,
        quantity: NetQuantity::from_mantissa(thousandths),
        cost: Money::new(USDT, thousandths as i128 * Money::UNIT / 10),
        account_quantity: NetQuantity::from_mantissa(account),
    })
}
