//! Model check: random intents against a small exchange that fills, loses, delays, modifies and refuses at will.
//!
//! After every step what the gate holds equals a recomputation from the model's own list of orders; no symbol's exposure is over
//! its limit, nor is the real position; a reduce-only order never flips the position of its strategy. Somebody else (a person, a
//! liquidation) closes the account's position at any moment: an exit never opens on the other side what only that left
//! there, and nothing that is passed during a halt makes the account's position larger. At the end a second gate that
//! folds decisions and reports, without any market data, is equal to the first.

use super::world::*;
use crate::book::Markets;
use crate::command::{CommandId, CommandKind, VenueCommand};
use crate::event::{Budget, Decision, Event, HaltReason, Input, Scope};
use crate::id::{OrderKey, StrategyIx, SymbolIx};
use crate::node::Node;
use crate::num::{Money, Price, Side};
use crate::order::{
    Conditional, End, Fill, Intent, NewOrder, OrderIntent, OrderState, OrderUpdate, Terms, TimeInForce, Trigger,
    WorkingType,
};
use crate::risk::gate::{Gate, Grant};
use crate::risk::holds::{Book, BookSide, LaneSide};
use crate::time::{Span, Ts};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeMap;

/// An order, as the model knows it.
#[derive(Debug, Clone)]
struct Live {
    sent: NewOrder,
    price: i64,
    quantity: i64,
    /// At the exchange.
    filled: i64,
    /// Told to the gate as a fill.
    booked: i64,
    waiting: bool,
    modify: Option<(i64, i64)>,
    end: Option<End>,
    /// Passed while the account was halted.
    halted: bool,
    /// The reserved strategy's position when it was passed.
    outside: i64,
}

impl Live {
    fn intent(&self) -> &OrderIntent {
        &self.sent.intent
    }

    /// The desk's view: the larger of old and new, booked fills only, done when all of them are booked.
    fn update(&self) -> OrderUpdate {
        let (price, quantity) = self.modify.unwrap_or((0, 0));
        let state = match self.end {
            Some(end) if self.booked == self.filled => OrderState::Done(end),
            _ => OrderState::Working,
        };
        OrderUpdate {
            price: Price::from_mantissa(self.price.max(price)),
            quantity: self::quantity(self.quantity.max(quantity)),
            conditional: self.waiting,
            ..update(&self.sent, self.booked, state)
        }
    }

    fn open(&self) -> i64 {
        match self.end {
            // Until its fills are booked the desk does not say that it is over.
            Some(_) if self.booked == self.filled => 0,
            _ => (self.quantity.max(self.modify.map_or(0, |m| m.1)) - self.booked).max(0),
        }
    }

    fn held_price(&self) -> i64 {
        let limit = self.intent().terms.limit_price().map_or(0, Price::mantissa);
        let held = self.sent.held_price.mantissa();
        let floor = if held > limit { held } else { 0 };
        self.price.max(floor).max(self.modify.map_or(0, |m| m.0))
    }
}

/// What a gate was told or decided, for the fold.
#[derive(Debug)]
enum Step {
    Order(OrderUpdate),
    Fill(Fill),
    Decision(Decision),
}

struct Model {
    world: World,
    orders: Vec<Live>,
    /// By fills told to the gate.
    booked: BTreeMap<(SymbolIx, StrategyIx), i64>,
    /// At the exchange.
    real: BTreeMap<(SymbolIx, StrategyIx), i64>,
    late: Vec<(usize, i64)>,
    log: Vec<(Ts, Step)>,
    /// A reduction raised the exposure: reductions pass the limits.
    raised: bool,
    /// The rate counts a modification that was never sent.
    miscounted: bool,
    halted: bool,
    refused: BTreeMap<&'static str, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Op {
    kind: u8,
    strategy: u16,
    sell: bool,
    size: i64,
    offset: i64,
    pick: usize,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (0u8..22, 0u16..4, any::<bool>(), 1i64..60, 0i64..20, 0usize..64);
    let op = op.prop_map(|(kind, strategy, sell, size, offset, pick)| Op {
        kind,
        strategy,
        sell,
        size: size * 400,
        offset: offset * 10,
        pick,
    });
    proptest::collection::vec(op, 1..120)
}

impl Model {
    fn new() -> Model {
        Model {
            world: World::new(),
            orders: Vec::new(),
            booked: BTreeMap::new(),
            real: BTreeMap::new(),
            late: Vec::new(),
            log: Vec::new(),
            raised: false,
            miscounted: false,
            halted: false,
            refused: BTreeMap::new(),
        }
    }

    fn step(&mut self, op: Op) {
        self.world.env.seq += 1;
        self.world.env.now = self.world.env.now.plus(Span::from_millis(1));
        let live: Vec<usize> = (0..self.orders.len()).filter(|at| self.orders[*at].end.is_none()).collect();
        let picked = (!live.is_empty()).then(|| live[op.pick % live.len()]);
        match (op.kind, picked) {
            (0..=8, _) => self.place(op),
            // Rarely, and not for long: what is not halted is the larger part.
            (20, _) if self.halted || op.pick.is_multiple_of(4) => self.halt(),
            (21, _) => self.somebody_closes(op),
            (_, None) => {}
            (9..=12, Some(at)) => self.fill(at, op),
            (13, Some(at)) => self.finish(at, End::Canceled),
            (14, Some(at)) => self.modify(at, op),
            (15 | 16, Some(at)) => self.answer(at, op.kind == 15),
            (17, Some(at)) if self.orders[at].waiting => {
                self.orders[at].waiting = false;
                self.report(at);
            }
            (18, _) => {
                for (at, amount) in std::mem::take(&mut self.late) {
                    self.book(at, amount, false);
                }
            }
            (19, Some(at)) if self.orders[at].filled == 0 => self.finish(at, End::NeverArrived),
            _ => {}
        }
    }

    fn place(&mut self, op: Op) {
        let side = if op.sell { Side::Sell } else { Side::Buy };
        let stop = |close_position| {
            let rises = side == Side::Buy;
            Terms::Conditional(Conditional {
                trigger: Trigger::Stop,
                trigger_price: price(if rises { 10_010 + op.offset } else { 9_990 - op.offset }),
                working_type: WorkingType::MarkPrice,
                limit: None,
                close_position,
                price_protect: false,
            })
        };
        let cents = if op.pick.is_multiple_of(2) { 10_000 + op.offset } else { 10_000 - op.offset };
        let resting = Terms::Limit { price: price(cents), time_in_force: TimeInForce::Gtc };
        let (terms, reduce_only) = match op.kind {
            0..=2 => (resting, false),
            3 => (Terms::Market, false),
            4 => (stop(false), false),
            5 => (resting, true),
            6 => (Terms::Market, true),
            7 => (stop(false), true),
            _ => (stop(true), false),
        };
        let size = if op.kind == 8 { 0 } else { op.size };
        let order = OrderIntent { reduce_only, ..self.world.order(op.strategy, side, size, terms) };
        let before = self.exposure(order.symbol);
        match self.world.place(order) {
            Ok(sent) => {
                self.raised |= sent.is_enforced() && self.exposure(order.symbol) > before;
                let price = terms.limit_price().map_or(0, Price::mantissa);
                let waiting = terms.is_conditional();
                let quantity = order.quantity.mantissa();
                self.decide(CommandKind::Place(sent));
                let (halted, outside) = (self.halted, self.outside(order.symbol));
                let (modify, end) = (None, None);
                let live = Live { sent, price, quantity, filled: 0, booked: 0, waiting, modify, end, halted, outside };
                self.orders.push(live);
            }
            Err(refusal) => *self.refused.entry(refusal.code()).or_default() += 1,
        }
    }

    fn outside(&self, symbol: SymbolIx) -> i64 {
        self.real.get(&(symbol, StrategyIx::EXTERNAL)).copied().unwrap_or(0)
    }

    fn account(&self, symbol: SymbolIx) -> i64 {
        self.real.iter().filter(|((other, _), _)| *other == symbol).map(|(_, quantity)| quantity).sum()
    }

    /// The kill switch is pressed, or released.
    fn halt(&mut self) {
        self.halted = !self.halted;
        let (scope, reason) = (Scope::All, HaltReason::KillSwitch);
        let (event, decision) = match self.halted {
            true => (Event::Halted { scope, reason }, Decision::Halted { scope, reason }),
            false => (Event::Resumed { scope }, Decision::Resumed { scope }),
        };
        self.world.tell(&event);
        self.log.push((self.world.env.now, Step::Decision(decision)));
    }

    /// The account's position is closed, all of it or some, by a person or by force. Reports of the symbol come in order.
    fn somebody_closes(&mut self, op: Op) {
        let symbol = [FREE, SHARED, SHARED, OWN][op.strategy as usize];
        let account = self.account(symbol);
        if account == 0 || self.late.iter().any(|(at, _)| self.orders[*at].intent().symbol == symbol) {
            return;
        }
        let before = self.exposure(symbol);
        let amount = if op.sell { account.abs() } else { account.abs().min(op.size) };
        let (side, signed) = if account > 0 { (Side::Sell, -amount) } else { (Side::Buy, amount) };
        for positions in [&mut self.real, &mut self.booked] {
            *positions.entry((symbol, StrategyIx::EXTERNAL)).or_default() += signed;
        }
        let fill = fill(0, symbol, OrderKey::parse("autoclose-1"), side, amount, 10_000);
        self.log.push((self.world.env.now, Step::Fill(fill)));
        self.world.tell(&Event::Fill(fill));
        // Orders that were to close the position may now open one.
        self.raised |= self.exposure(symbol) > before;
    }

    /// What a fill of an order must not do to the account. `signed` is about to be booked.
    fn check_account(&self, order: &Live, signed: i64) {
        let intent = order.intent();
        let (symbol, toward) = (intent.symbol, if intent.side == Side::Sell { 1 } else { -1 });
        let account = self.account(symbol);
        if order.halted {
            assert!((account + signed).abs() <= account.abs(), "passed in a halt: {account} by {signed}: {order:?}");
        }
        if !intent.reduces() {
            return;
        }
        let owed = |((other, strategy), quantity): (&(SymbolIx, StrategyIx), &i64)| {
            let counts = *other == symbol && *strategy != intent.id.strategy && *strategy != StrategyIx::EXTERNAL;
            if counts { (-toward * quantity).max(0) } else { 0 }
        };
        let owed: i64 = self.real.iter().map(owed).sum();
        // What somebody closed since it was passed is not its fault.
        let closed = (toward * (order.outside - self.outside(symbol))).max(0);
        let opens = -toward * (account + signed);
        assert!(opens <= owed + closed, "an exit opens {opens}, others have {owed}: {order:?}");
    }

    fn decide(&mut self, kind: CommandKind) {
        let command = VenueCommand { id: CommandId(1), account: ACCOUNT, kind };
        self.log.push((self.world.env.now, Step::Decision(Decision::Command(command))));
    }

    fn report(&mut self, at: usize) {
        let update = self.orders[at].update();
        self.log.push((self.world.env.now, Step::Order(update)));
        self.world.tell(&Event::Order(update));
    }

    fn finish(&mut self, at: usize, end: End) {
        self.orders[at].end = Some(end);
        self.report(at);
    }

    /// The exchange fills some of an order, within what `reduceOnly` and `closePosition` allow.
    fn fill(&mut self, at: usize, op: Op) {
        let order = self.orders[at].clone();
        if order.waiting {
            return;
        }
        let intent = *order.intent();
        let closes = intent.reduces() && !intent.reduce_only;
        let key = (intent.symbol, intent.id.strategy);
        let account = self.account(intent.symbol);
        let against = if intent.side == Side::Sell { account } else { -account }.max(0);
        let amount = match (closes, order.sent.send_reduce_only) {
            (true, _) => against,
            (false, true) => op.size.min(order.quantity - order.filled).min(against),
            (false, false) => op.size.min(order.quantity - order.filled),
        };
        if amount <= 0 {
            self.finish(at, End::Expired(0));
            return;
        }
        let signed = if intent.side == Side::Buy { amount } else { -amount };
        self.check_account(&order, signed);
        let real = self.real.entry(key).or_default();
        if intent.reduces() {
            let before = *real;
            assert!(
                before.signum() == -signed.signum() && before.abs() >= amount,
                "{before} flips by {signed}: {order:?}"
            );
        }
        *real += signed;
        let live = &mut self.orders[at];
        live.filled += amount;
        if closes || live.filled >= live.quantity {
            live.end = Some(End::Filled);
        }
        // Reports of a symbol may come late, but in order.
        let behind = self.late.iter().any(|(other, _)| self.orders[*other].intent().symbol == intent.symbol);
        if op.kind == 12 || behind {
            self.late.push((at, amount));
        } else {
            self.book(at, amount, op.kind == 10);
        }
    }

    /// The desk books a fill: report and fill reach the gate in either order.
    fn book(&mut self, at: usize, amount: i64, report_first: bool) {
        self.orders[at].booked += amount;
        let intent = *self.orders[at].intent();
        let signed = if intent.side == Side::Buy { amount } else { -amount };
        *self.booked.entry((intent.symbol, intent.id.strategy)).or_default() += signed;
        let key = OrderKey::Ours(intent.id);
        let fill = fill(intent.id.strategy.0, intent.symbol, key, intent.side, amount, 10_000);
        if report_first {
            self.report(at);
        }
        self.log.push((self.world.env.now, Step::Fill(fill)));
        self.world.tell(&Event::Fill(fill));
        if !report_first {
            self.report(at);
        }
    }

    fn modify(&mut self, at: usize, op: Op) {
        let order = &self.orders[at];
        if order.modify.is_some() {
            return;
        }
        let intent = *order.intent();
        let (price, quantity) = (Price::from_mantissa(10_000 + op.offset), quantity(op.size));
        let (strategy, symbol, id, side) = (intent.id.strategy, intent.symbol, intent.id, intent.side);
        let before = self.exposure(symbol);
        match self.world.ask(Intent::Modify { strategy, symbol, id, price, quantity }) {
            Ok(Grant::Other(_)) => {
                self.raised |= self.orders[at].sent.is_enforced() && self.exposure(symbol) > before;
                if price.mantissa() != self.orders[at].price || quantity.mantissa() > self.orders[at].quantity {
                    self.orders[at].halted |= self.halted;
                    self.orders[at].outside = self.outside(symbol);
                }
                if op.pick.is_multiple_of(3) {
                    // The desk refuses it, and says what the order is. The gate has counted it all the same.
                    self.report(at);
                    self.world.env.seq += 1;
                    self.world.tell(&Event::Equity(equity(10_000, 0)));
                    self.miscounted = true;
                    return;
                }
                self.decide(CommandKind::Modify { symbol, id, side, price, quantity });
                self.orders[at].modify = Some((price.mantissa(), quantity.mantissa()));
                // Told in life; in a fold the gate learns it from the record of the decision.
                self.report(at);
                self.log.pop();
            }
            Ok(grant) => panic!("a modification became {grant:?}"),
            Err(refusal) => *self.refused.entry(refusal.code()).or_default() += 1,
        }
    }

    /// The exchange takes a modification or refuses it.
    fn answer(&mut self, at: usize, takes: bool) {
        let live = &mut self.orders[at];
        if live.modify.is_none() {
            return;
        }
        if let Some((price, quantity)) = live.modify.take()
            && takes
        {
            // "A quantity ≤ what is filled cancels the order."
            match live.filled >= quantity {
                true => live.end = Some(End::Canceled),
                false => (live.price, live.quantity) = (price, quantity),
            }
        }
        self.report(at);
    }

    fn exposure(&self, symbol: SymbolIx) -> i128 {
        self.world.gate.exposure(symbol, &self.world.env.context()).expect("prices are known").mantissa()
    }

    fn naive_book(&self, symbol: SymbolIx) -> Book {
        let position = self.booked.iter().filter(|((s, _), _)| *s == symbol).map(|(_, q)| *q as i128).sum();
        let mut book = Book { position, ..Book::default() };
        for order in self.orders.iter().filter(|order| order.intent().symbol == symbol) {
            let intent = order.intent();
            let side: &mut BookSide = if intent.side == Side::Buy { &mut book.buys } else { &mut book.sells };
            let open = order.open() as i128;
            let over = matches!(order.update().state, OrderState::Done(_));
            side.closing += (intent.reduces() && intent.quantity.is_zero() && !over) as u32;
            if order.sent.is_enforced() {
                side.enforced += open;
            } else {
                side.quantity += open;
                side.value += open * order.held_price() as i128;
                if open > 0 {
                    side.highest = side.highest.max(Price::from_mantissa(order.held_price()));
                }
            }
            if !over {
                *(if order.waiting { &mut book.conditionals } else { &mut book.orders }) += 1;
            }
        }
        book
    }

    fn naive_side(&self, symbol: SymbolIx, strategy: StrategyIx, side: Side) -> LaneSide {
        let mut sums = LaneSide::default();
        let owned = |order: &&Live| {
            let intent = order.intent();
            (intent.symbol, intent.id.strategy, intent.side) == (symbol, strategy, side)
        };
        for order in self.orders.iter().filter(owned) {
            let open = order.open() as i128;
            match (order.intent().reduces(), order.waiting) {
                (false, _) => sums.plain += open,
                (true, false) => sums.reducing += open,
                (true, true) => sums.waiting += open,
            }
            if order.intent().reduce_only && !order.sent.send_reduce_only {
                sums.unenforced += open;
            }
        }
        sums
    }

    fn check(&self) {
        let holds = &self.world.gate.state.holds;
        let mut total = 0;
        for symbol in [SHARED, OWN, FREE] {
            assert_eq!(holds.book(symbol), self.naive_book(symbol), "{symbol:?}");
            for strategy in (0..4).map(StrategyIx) {
                let lane = holds.lane(symbol, strategy);
                assert_eq!(lane.position, self.booked.get(&(symbol, strategy)).copied().unwrap_or(0));
                assert_eq!(lane.buys, self.naive_side(symbol, strategy, Side::Buy), "{symbol:?} {strategy:?}");
                assert_eq!(lane.sells, self.naive_side(symbol, strategy, Side::Sell), "{symbol:?} {strategy:?}");
            }
            let exposure = self.exposure(symbol);
            let real: i64 = self.real.iter().filter(|((s, _), _)| *s == symbol).map(|(_, q)| q).sum();
            // Thousandths at 100 dollars.
            assert!(real.abs() as i128 * Money::UNIT / 10 <= exposure, "{symbol:?}: {real} is more than held");
            if !self.raised {
                assert!(exposure <= 6_000 * Money::UNIT, "{symbol:?}: {exposure}");
            }
            total += exposure;
        }
        assert!(self.raised || total <= 8_000 * Money::UNIT, "{total}");
        let waiting = self.orders.iter().filter(|o| o.waiting && o.end.is_none()).count();
        assert_eq!(holds.conditionals(), waiting as u32);
    }

    /// A gate that was told the reports and folds the decisions, knowing no market, is the same gate.
    fn check_fold(mut self) {
        let mut env = Env { markets: Markets::default(), ..Env::new() };
        let mut folded = Gate::new(ACCOUNT);
        let expires = env.now.plus(Span::from_secs(1_000));
        let exposure_max = Money::units(USDT, 1_000_000);
        for event in [
            Event::Input(Input::Start { epoch: 1 }),
            Event::Equity(equity(10_000, 0)),
            Event::Budget(Budget { account: ACCOUNT, version: 1, expires, exposure_max, new_risk: true }),
            Event::Reconciled(ACCOUNT),
        ] {
            env.step(&mut folded, &event);
        }
        for (at, step) in std::mem::take(&mut self.log) {
            env.now = at;
            match step {
                Step::Order(update) => drop(env.step(&mut folded, &Event::Order(update))),
                Step::Fill(fill) => drop(env.step(&mut folded, &Event::Fill(fill))),
                Step::Decision(decision) => {
                    folded.fold(&decision, &env.context());
                    if matches!(&decision, Decision::Command(VenueCommand { kind: CommandKind::Place(_), .. })) {
                        folded.fold(&decision, &env.context());
                    }
                }
            }
        }
        if self.miscounted {
            folded.state.rate = self.world.gate.state.rate.clone();
        }
        folded.state.modifying = self.world.gate.state.modifying.clone();
        assert_eq!(folded.state, self.world.gate.state);
        assert_eq!(folded.state_hash(), self.world.gate.state_hash());
        let mut restored = Gate::new(ACCOUNT);
        restored.restore(&self.world.gate.snapshot()).expect("its own snapshot");
        assert_eq!(restored.state, self.world.gate.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_is_right_after_every_step(ops in ops()) {
        let mut model = Model::new();
        for op in ops {
            model.step(op);
            model.check();
        }
        model.check_fold();
    }
}

/// The random runs do reach what they are about.
#[test]
fn the_model_reaches_every_kind_of_answer() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut refused, mut sent) = (BTreeMap::<&str, u32>::new(), 0);
    for _ in 0..150 {
        let ops = ops().new_tree(&mut runner).expect("no filter").current();
        let mut model = Model::new();
        ops.into_iter().for_each(|op| model.step(op));
        sent += model.orders.iter().filter(|order| order.filled > 0).count();
        for (code, count) in model.refused {
            *refused.entry(code).or_default() += count;
        }
    }
    assert!(sent > 100, "{sent}");
    for code in [
        "position_notional",
        "exposure",
        "nothing_to_reduce",
        "reduce_only_too_large",
        "reduce_only_conflict",
        "not_sole_owner",
        "not_modifiable",
    ] {
        assert!(refused.contains_key(code), "{code} is never seen: {refused:?}");
    }
}
