//! Tests of the venue through its public door. The order of liquidity is tested against a naive twin in `queue`.

use super::*;
use crate::command::{CommandId, Outcome, Query, VenueError};
use crate::id::{AssetIx, ForeignId, OrderKey};
use crate::instrument::{ContractStatus, ContractType, InstrumentSpec};
use crate::market::{BookLevels, Candle, Level, MarketEvent, Quote, Trade};
use crate::num::{NetQuantity, Rate};
use crate::order::{
    Conditional, ConditionalReport, ConditionalStatus, OrderReport, PositionSide, TimeInForce, Trigger,
};

mod accounts;
mod conditionals;
mod feeds;
mod orders;
mod random;

const BTC: SymbolIx = SymbolIx(0);
const USDT: AssetIx = AssetIx(1);
const A: AccountIx = AccountIx(0);
const B: AccountIx = AccountIx(1);

/// Tick 0.1, step 0.001, notional 5 at least, percent price ±10 %, market orders within 5 % of the mark price.
fn spec(brackets: &[(&str, &str, u16, &str, &str)]) -> InstrumentSpec {
    let three = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
    InstrumentSpec {
        name: "BTCUSDT".into(),
        status: ContractStatus::Trading,
        contract: ContractType::Perpetual,
        base: "BTC".into(),
        quote: "USDT".into(),
        margin: "USDT".into(),
        price_decimals: 1,
        quantity_decimals: 3,
        price: three("0.1", "100000", "0.1"),
        lot: three("0.001", "1000", "0.001"),
        market_lot: three("0.001", "100", "0.001"),
        max_orders: Some(50),
        max_conditional_orders: None,
        min_notional: Some("5".into()),
        percent_price: Some(["1.1".into(), "0.9".into()]),
        trigger_protect: Some(Rate::from_bps(500)),
        market_take_bound: Some(Rate::from_bps(500)),
        liquidation_fee: Rate::ZERO,
        unknown_filters: vec![],
        brackets: brackets
            .iter()
            .map(|&(floor, cap, leverage, rate, amount)| {
                let rate = Rate::parse(rate.as_bytes()).expect("a rate");
                (floor.into(), cap.into(), leverage, rate, amount.into())
            })
            .collect(),
    }
}

/// A venue with its clock and all that it said.
struct World {
    venue: Venue,
    now: Ts,
    out: Vec<VenueOutput>,
    commands: u64,
}

impl World {
    /// One symbol and two accounts with 1,000 USDT, leverage 10 and the default fees.
    fn new() -> World {
        World::with(VenueConfig::default(), &[("0", "1000000", 125, "0.004", "0")])
    }

    fn with(config: VenueConfig, brackets: &[(&str, &str, u16, &str, &str)]) -> World {
        let mut universe = Universe::default();
        for definition in universe.plan(&spec(brackets)).expect("a good definition") {
            universe.define(&definition).expect("in order");
        }
        let mut venue = Venue::new(config, universe);
        for account in [A, B] {
            let balances = vec![Money::units(USDT, 1_000)];
            venue.add_account(account, &AccountSpec { balances, leverage: 10, ..AccountSpec::default() });
        }
        World { venue, now: Ts::from_millis(1_000), out: Vec::new(), commands: 0 }
    }

    fn price(&self, text: &str) -> Price {
        self.venue.instrument(BTC).expect("defined").parse_price(text).expect("a price")
    }

    fn quantity(&self, text: &str) -> Quantity {
        self.venue.instrument(BTC).expect("defined").parse_quantity(text).expect("a quantity")
    }

    fn pass(&mut self, millis: i64) {
        self.now = self.now.plus(Span::from_millis(millis));
        self.venue.on_time(self.now, &mut self.out);
    }

    fn feed(&mut self, event: MarketEvent) {
        self.pass(1);
        let input = MarketInput { symbol: BTC, exchange_time: self.now, receive_time: self.now, derived: false, event };
        self.venue.on_market(&input, self.now, &mut self.out);
    }

    fn quote(&mut self, bid: &str, bid_quantity: &str, ask: &str, ask_quantity: &str) {
        let quote = Quote {
            update_id: self.now.millis() as u64,
            bid: self.price(bid),
            bid_quantity: self.quantity(bid_quantity),
            ask: self.price(ask),
            ask_quantity: self.quantity(ask_quantity),
        };
        self.feed(MarketEvent::Quote(quote));
    }

    fn trade(&mut self, aggressor: Side, price: &str, quantity: &str) {
        let (price, quantity) = (self.price(price), self.quantity(quantity));
        let id = crate::id::TradeId(self.now.millis());
        self.feed(MarketEvent::Trade(Trade { id, price, quantity, aggressor, on_book: true }));
    }

    fn mark(&mut self, price: &str) {
        self.mark_with(price, "0", Ts::ZERO);
    }

    fn mark_with(&mut self, price: &str, rate: &str, next_funding: Ts) {
        let funding_rate = Rate::parse(rate.as_bytes()).expect("a rate");
        let mark_price = self.price(price);
        self.feed(MarketEvent::Mark(Mark { mark_price, index_price: Price::ZERO, funding_rate, next_funding }));
    }

    /// Sends a request and waits for nothing; returns its number.
    fn send(&mut self, account: AccountIx, kind: RequestKind) -> CommandId {
        self.commands += 1;
        let command = CommandId(self.commands);
        self.venue.on_request(account, VenueRequest { command, kind }, self.now, &mut self.out);
        command
    }

    /// Sends a request to a venue without latency and returns the outcome.
    fn ask(&mut self, account: AccountIx, kind: RequestKind) -> Outcome {
        let sent = self.send(account, kind);
        let outcome = self.out.iter().rev().find_map(|o| match &o.kind {
            OutputKind::Outcome(outcome) if outcome.command == sent => Some(outcome.outcome.clone()),
            OutputKind::Acknowledged { command, result: Err(error) } if *command == sent => {
                Some(Outcome::Rejected(error.clone()))
            }
            OutputKind::Acknowledged { command, result: Ok(()) } if *command == sent => Some(Outcome::Written),
            _ => None,
        });
        outcome.expect("answered at once")
    }

    fn new_order(&self, name: &str, side: Side, quantity: &str, terms: Terms) -> PlaceOrder {
        PlaceOrder {
            key: OrderKey::Foreign(ForeignId::new(name)),
            symbol: BTC,
            side,
            quantity: self.quantity(quantity),
            terms,
            reduce_only: false,
            position_side: PositionSide::Both,
        }
    }

    fn limit_terms(&self, price: &str, time_in_force: TimeInForce) -> Terms {
        Terms::Limit { price: self.price(price), time_in_force }
    }

    /// Places an order: the report of its state afterwards, or the error's code.
    fn place(&mut self, account: AccountIx, order: PlaceOrder) -> Result<OrderReport, i32> {
        match self.ask(account, RequestKind::Place(order)) {
            Outcome::Order(report) => Ok(*report),
            Outcome::Rejected(VenueError { code, .. }) => Err(code),
            other => panic!("{other:?}"),
        }
    }

    fn limit(
        &mut self,
        account: AccountIx,
        name: &str,
        side: Side,
        quantity: &str,
        price: &str,
    ) -> Result<OrderReport, i32> {
        let terms = self.limit_terms(price, TimeInForce::Gtc);
        let order = self.new_order(name, side, quantity, terms);
        self.place(account, order)
    }

    fn market(&mut self, account: AccountIx, side: Side, quantity: &str) -> Result<OrderReport, i32> {
        let name = format!("m{}", self.commands);
        let order = self.new_order(&name, side, quantity, Terms::Market);
        self.place(account, order)
    }

    /// All reports of ordinary orders since the last call, as "name execution status quantity@price".
    fn told(&mut self) -> Vec<String> {
        let instrument = self.venue.instrument(BTC).expect("defined").clone();
        let out = std::mem::take(&mut self.out);
        let reports = out.into_iter().filter_map(|o| match o.kind {
            OutputKind::Report(Report::Order(report)) => Some(report),
            _ => None,
        });
        let text = |r: Box<OrderReport>| {
            let fill = r.fill.as_ref().map(|f| {
                let role = if f.maker { "maker" } else { "taker" };
                format!(" {}@{} {role}", instrument.quantity_text(f.quantity), instrument.price_text(f.price))
            });
            let reason = if r.expiry_reason == 0 { String::new() } else { format!(" er{}", r.expiry_reason) };
            format!("{} {:?} {:?}{}{reason}", r.key, r.execution, r.status, fill.unwrap_or_default())
        };
        reports.map(text).collect()
    }

    fn net(&self, account: AccountIx) -> String {
        let held = self.venue.position(account, BTC).map_or(NetQuantity::ZERO, |p| p.quantity);
        self.venue.instrument(BTC).expect("defined").net_text(held)
    }

    fn wallet(&self, account: AccountIx) -> String {
        self.venue.balance(account, USDT).expect("known").wallet.to_string()
    }
}
