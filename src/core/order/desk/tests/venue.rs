//! A small honest venue: it keeps orders, answers every request from what it has, and tells by reports what it did. What it
//! does by itself (filling, cancelling, triggering) is the caller's choice; so is what the network makes of the messages.

use super::world::{ACCOUNT, BTC};
use crate::command::{
    Answer, CommandKind, Outcome, Query, QueryAnswer, Report, RequestOutcome, TradeCursor, VenueCommand, VenueError,
};
use crate::event::Input;
use crate::id::{ForeignId, OrderKey, TradeId, VenueOrderId};
use crate::num::{Money, Price, Quantity};
use crate::order::{
    Conditional, ConditionalReport, ConditionalStatus, ExecutionType, NewOrder, OrderReport, OrderStatus, PositionSide,
    ReportedFill, Terms, TimeInForce, TradeRecord,
};
use crate::time::Ts;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    pub new: NewOrder,
    pub service: Option<ConditionalStatus>,
    /// The ordinary order, if there is one (yet).
    pub status: Option<OrderStatus>,
    pub filled: Quantity,
    pub price: Price,
    pub quantity: Quantity,
    number: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Venue {
    pub orders: Vec<Held>,
    pub trades: Vec<TradeRecord>,
    /// How far the clock goes with each thing that happens; 0: everything in the same millisecond.
    pub tick: i64,
    /// Triggered orders have a client id of their own.
    pub foreign_children: bool,
    pub clock: i64,
    pub numbers: i64,
}

impl Venue {
    fn time(&mut self) -> Ts {
        self.clock += self.tick;
        Ts::from_millis(5_000 + self.clock)
    }

    fn at(&self, key: OrderKey) -> Option<usize> {
        let found = self.orders.iter().position(|held| OrderKey::Ours(held.new.intent.id) == key);
        found.or_else(|| (0..self.orders.len()).find(|&at| self.child_key(at) == key))
    }

    /// The client id of the ordinary order.
    pub fn child_key(&self, at: usize) -> OrderKey {
        let held = &self.orders[at];
        if self.foreign_children && held.service.is_some() {
            OrderKey::Foreign(ForeignId::new(&format!("x-{}", held.number)))
        } else {
            OrderKey::Ours(held.new.intent.id)
        }
    }

    pub fn report(&mut self, at: usize, execution: ExecutionType) -> OrderReport {
        let exchange_time = self.time();
        let held = &self.orders[at];
        let terms = match held.new.intent.terms {
            Terms::Market | Terms::Conditional(Conditional { limit: None, .. }) => Terms::Market,
            _ => Terms::Limit { price: held.price, time_in_force: TimeInForce::Gtc },
        };
        OrderReport {
            account: ACCOUNT,
            symbol: BTC,
            key: self.child_key(at),
            venue_id: VenueOrderId(1000 + held.number),
            side: held.new.intent.side,
            position_side: PositionSide::Both,
            terms,
            reduce_only: held.new.send_reduce_only,
            execution,
            status: held.status.expect("there is an ordinary order"),
            quantity: held.quantity,
            filled: held.filled,
            fill: None,
            expiry_reason: 0,
            exchange_time,
        }
    }

    pub fn conditional_report(&mut self, at: usize) -> ConditionalReport {
        let exchange_time = self.time();
        let held = &self.orders[at];
        let Terms::Conditional(terms) = held.new.intent.terms else { panic!("not conditional") };
        let status = held.service.expect("conditional");
        let named = matches!(status, ConditionalStatus::Triggered | ConditionalStatus::Finished);
        ConditionalReport {
            account: ACCOUNT,
            symbol: BTC,
            key: OrderKey::Ours(held.new.intent.id),
            venue_id: VenueOrderId(2000 + held.number),
            side: held.new.intent.side,
            position_side: PositionSide::Both,
            terms,
            quantity: held.new.intent.quantity,
            reduce_only: held.new.send_reduce_only,
            status,
            became: named.then_some(VenueOrderId(1000 + held.number)),
            reason: "".into(),
            exchange_time,
        }
    }

    fn stream(&mut self, at: usize, execution: ExecutionType) -> Input {
        Input::Report(Report::Order(Box::new(self.report(at, execution))))
    }

    fn stream_conditional(&mut self, at: usize) -> Input {
        Input::Report(Report::Conditional(Box::new(self.conditional_report(at))))
    }

    pub fn is_working(&self, at: usize) -> bool {
        self.orders[at].status.is_some_and(|status| !status.is_final())
    }

    /// Does what a request asks for; returns what it sends, the answer last.
    pub fn execute(&mut self, command: &VenueCommand) -> Vec<Input> {
        let mut messages = Vec::new();
        let outcome = match &command.kind {
            CommandKind::Place(new) => self.place(new, &mut messages),
            CommandKind::Cancel { key, conditional, .. } => self.cancel(*key, *conditional, &mut messages),
            CommandKind::Modify { id, price, quantity, .. } => {
                self.modify(OrderKey::Ours(*id), *price, *quantity, &mut messages)
            }
            CommandKind::Query(query) => {
                let result = Ok(self.answer(query));
                messages.push(Input::Answer(QueryAnswer { command: command.id, account: ACCOUNT, result }));
                return messages;
            }
        };
        messages.push(Input::Outcome(RequestOutcome { command: command.id, account: ACCOUNT, outcome }));
        messages
    }

    fn place(&mut self, new: &NewOrder, messages: &mut Vec<Input>) -> Outcome {
        assert!(self.at(OrderKey::Ours(new.intent.id)).is_none(), "an id was sent twice");
        self.numbers += 1;
        let conditional = new.intent.terms.is_conditional();
        let price = new.intent.terms.limit_price().unwrap_or(Price::ZERO);
        self.orders.push(Held {
            new: *new,
            service: conditional.then_some(ConditionalStatus::New),
            status: (!conditional).then_some(OrderStatus::New),
            filled: Quantity::ZERO,
            price,
            quantity: new.intent.quantity,
            number: self.numbers,
        });
        let at = self.orders.len() - 1;
        if conditional {
            messages.push(self.stream_conditional(at));
            Outcome::Conditional(Box::new(self.conditional_report(at)))
        } else {
            messages.push(self.stream(at, ExecutionType::New));
            Outcome::Order(Box::new(self.report(at, ExecutionType::Status)))
        }
    }

    fn cancel(&mut self, key: OrderKey, conditional: bool, messages: &mut Vec<Input>) -> Outcome {
        let unknown = Outcome::Rejected(VenueError { code: -2011, message: "Unknown order sent.".into() });
        let Some(at) = self.at(key) else { return unknown };
        if conditional {
            if self.orders[at].service != Some(ConditionalStatus::New) {
                return unknown;
            }
            self.orders[at].service = Some(ConditionalStatus::Canceled);
            messages.push(self.stream_conditional(at));
            return Outcome::Conditional(Box::new(self.conditional_report(at)));
        }
        if !self.is_working(at) {
            return unknown;
        }
        messages.extend(self.end(at, OrderStatus::Canceled, ExecutionType::Canceled));
        Outcome::Order(Box::new(self.report(at, ExecutionType::Status)))
    }

    fn modify(&mut self, key: OrderKey, price: Price, quantity: Quantity, messages: &mut Vec<Input>) -> Outcome {
        let Some(at) = self.at(key).filter(|at| self.is_working(*at)) else {
            return Outcome::Rejected(VenueError { code: -2013, message: "Order does not exist.".into() });
        };
        if quantity <= self.orders[at].filled {
            messages.extend(self.end(at, OrderStatus::Canceled, ExecutionType::Canceled));
        } else {
            self.orders[at].price = price;
            self.orders[at].quantity = quantity;
            messages.push(self.stream(at, ExecutionType::Amendment));
        }
        Outcome::Order(Box::new(self.report(at, ExecutionType::Status)))
    }

    pub fn answer(&mut self, query: &Query) -> Answer {
        match query {
            Query::Order { key, conditional, .. } => match self.at(*key) {
                Some(at) if *conditional && self.orders[at].service.is_some() => {
                    Answer::Conditional(Box::new(self.conditional_report(at)))
                }
                Some(at) if !conditional && self.orders[at].status.is_some() && self.child_key(at) == *key => {
                    Answer::Order(Box::new(self.report(at, ExecutionType::Status)))
                }
                _ => Answer::NoSuchOrder,
            },
            Query::Trades { symbol, from } => {
                let after = |trade: &&TradeRecord| match from {
                    TradeCursor::Id(id) => trade.fill.trade_id >= *id,
                    TradeCursor::Time(_) => true,
                };
                // Pages of one, so that paging is always at work.
                let mut rest = self.trades.iter().filter(after);
                let trades: Vec<TradeRecord> = rest.next().cloned().into_iter().collect();
                Answer::Trades { symbol: *symbol, trades, complete: rest.next().is_none() }
            }
            Query::OpenOrders => {
                let working: Vec<usize> = (0..self.orders.len()).filter(|&at| self.is_working(at)).collect();
                Answer::OpenOrders(working.into_iter().map(|at| self.report(at, ExecutionType::Status)).collect())
            }
            Query::OpenConditionals => {
                let waits = |at: &usize| {
                    matches!(self.orders[*at].service, Some(ConditionalStatus::New | ConditionalStatus::Triggering))
                };
                let waiting: Vec<usize> = (0..self.orders.len()).filter(waits).collect();
                Answer::OpenConditionals(waiting.into_iter().map(|at| self.conditional_report(at)).collect())
            }
            Query::Positions | Query::Balances | Query::Settings => panic!("a desk does not ask {query:?}"),
        }
    }

    fn end(&mut self, at: usize, status: OrderStatus, execution: ExecutionType) -> Vec<Input> {
        self.orders[at].status = Some(status);
        let mut messages = vec![self.stream(at, execution)];
        if self.orders[at].service.is_some() {
            self.orders[at].service = Some(ConditionalStatus::Finished);
            messages.push(self.stream_conditional(at));
        }
        messages
    }

    /// The venue cancels by itself.
    pub fn expire(&mut self, at: usize) -> Vec<Input> {
        if self.is_working(at) { self.end(at, OrderStatus::Expired, ExecutionType::Expired) } else { Vec::new() }
    }

    /// Fills so much of a working order.
    pub fn fill(&mut self, at: usize, size: Quantity) -> Vec<Input> {
        let rest = self.orders[at].quantity.saturating_sub(self.orders[at].filled);
        let size = size.min(rest);
        if !self.is_working(at) || size.is_zero() {
            return Vec::new();
        }
        let held = &mut self.orders[at];
        held.filled = held.filled.checked_add(size).expect("small");
        let full = held.filled == held.quantity;
        held.status = Some(if full { OrderStatus::Filled } else { OrderStatus::PartiallyFilled });
        let mut report = self.report(at, ExecutionType::Trade);
        let fill = ReportedFill {
            trade_id: TradeId(self.trades.len() as i64 + 1),
            price: Price::from_mantissa(100),
            quantity: size,
            maker: true,
            fee: None,
            realized: Money::zero(crate::id::AssetIx(0)),
            exchange_time: report.exchange_time,
        };
        report.fill = Some(fill.clone());
        let (venue_id, side) = (report.venue_id, report.side);
        self.trades.push(TradeRecord { symbol: BTC, venue_id, side, position_side: PositionSide::Both, fill });
        let mut messages = vec![Input::Report(Report::Order(Box::new(report)))];
        if full && self.orders[at].service.is_some() {
            self.orders[at].service = Some(ConditionalStatus::Finished);
            messages.push(self.stream_conditional(at));
        }
        messages
    }

    /// The next step of a conditional order: its trigger is reached; it goes into the book.
    pub fn trigger(&mut self, at: usize) -> Vec<Input> {
        match self.orders[at].service {
            Some(ConditionalStatus::New) => {
                self.orders[at].service = Some(ConditionalStatus::Triggering);
                vec![self.stream_conditional(at)]
            }
            Some(ConditionalStatus::Triggering) => {
                self.orders[at].service = Some(ConditionalStatus::Triggered);
                self.orders[at].status = Some(OrderStatus::New);
                // The order in the book speaks first.
                vec![self.stream(at, ExecutionType::New), self.stream_conditional(at)]
            }
            _ => Vec::new(),
        }
    }

    /// The matching engine refuses the triggered order.
    pub fn refuse_trigger(&mut self, at: usize) -> Vec<Input> {
        if self.orders[at].service != Some(ConditionalStatus::Triggering) {
            return Vec::new();
        }
        self.orders[at].service = Some(ConditionalStatus::Rejected);
        let mut report = self.conditional_report(at);
        report.reason = "ReduceOnly Order is rejected".into();
        vec![Input::Report(Report::Conditional(Box::new(report)))]
    }

    /// Whether an order can still change at the venue.
    pub fn is_alive(&self, at: usize) -> bool {
        match self.orders[at].service {
            Some(ConditionalStatus::New | ConditionalStatus::Triggering) => true,
            _ => self.is_working(at),
        }
    }
}
