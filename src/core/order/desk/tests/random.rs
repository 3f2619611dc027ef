//! Long random lives of many orders, of all kinds, over a network that loses, doubles, reorders and delays, with restarts and
//! reconciliations at any time. In the end the network is fair; then desk and venue agree, every fill was booked once, and after
//! a halt no entry is left at the venue.

use super::venue::Venue;
use super::world::*;
use crate::command::{Answer, CommandKind, Outcome, Query, RequestOutcome, VenueCommand};
use crate::event::{AlertCode, Event, HaltReason, Input, Scope};
use crate::id::{OrderKey, TradeId};
use crate::node::Node;
use crate::order::reconcile::Finding;
use crate::order::{ConditionalStatus, OrderState, OrderUpdate};
use crate::time::{Span, Ts};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

struct Life {
    world: World,
    venue: Venue,
    requests: Vec<(Ts, VenueCommand)>,
    inbox: Vec<Input>,
    placed: BTreeSet<OrderKey>,
    next: u32,
    halted: bool,
}

impl Life {
    fn new(tick: i64, foreign_children: bool) -> Life {
        Life {
            world: World::new(),
            venue: Venue { tick, foreign_children, ..Venue::default() },
            requests: Vec::new(),
            inbox: Vec::new(),
            placed: BTreeSet::new(),
            next: 1,
            halted: false,
        }
    }

    fn collect(&mut self) {
        for command in self.world.take_sent() {
            if let CommandKind::Place(new) = &command.kind {
                assert!(self.placed.insert(OrderKey::Ours(new.intent.id)), "an order was sent twice");
            }
            self.requests.push((self.world.now, command));
        }
    }

    /// One step, chosen by a number; `pick` chooses among orders and messages.
    fn step(&mut self, action: u8, pick: usize) {
        let orders = self.venue.orders.len();
        self.world.now = self.world.now.plus(Span::from_millis((pick % 3) as i64));
        match action {
            0..=9 if !self.requests.is_empty() => self.arrive(pick),
            10..=19 if !self.inbox.is_empty() => {
                let message = self.inbox.remove(pick % self.inbox.len());
                self.world.input(message);
            }
            20..=21 if !self.inbox.is_empty() => self.world.input(self.inbox[pick % self.inbox.len()].clone()),
            22..=23 if !self.inbox.is_empty() => drop(self.inbox.remove(pick % self.inbox.len())),
            24..=25 if !self.requests.is_empty() => self.lose_request(pick),
            26..=29 => {
                let new = match pick % 4 {
                    0 => stop(self.next, 3),
                    1 => breakout(self.next, 3),
                    _ => limit(self.next, 3),
                };
                // The gate passes no entry during a halt.
                if !self.halted || new.is_enforced() {
                    self.next += 1;
                    self.world.place(new);
                }
            }
            30..=34 if orders > 0 => self.inbox.extend(self.venue.fill(pick % orders, quantity(1 + (pick % 2) as i64))),
            35 if orders > 0 => self.inbox.extend(self.venue.expire(pick % orders)),
            36..=38 if orders > 0 => self.inbox.extend(self.venue.trigger(pick % orders)),
            39 if orders > 0 => self.inbox.extend(self.venue.refuse_trigger(pick % orders)),
            40..=41 => self.world.cancel(id(1 + pick as u32 % self.next)),
            42 => {
                let client = id(1 + pick as u32 % self.next);
                self.world.modify(client, price(90 + (pick % 20) as i64), quantity(1 + (pick % 5) as i64));
            }
            43..=45 => self.wait(),
            46 => self.reconcile(),
            47 => self.restart(),
            48 => {
                self.halted = true;
                self.world.event(&Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch });
            }
            _ => {}
        }
        self.collect();
    }

    fn arrive(&mut self, pick: usize) {
        let (_, command) = self.requests.remove(pick % self.requests.len());
        self.inbox.extend(self.venue.execute(&command));
    }

    fn lose_request(&mut self, pick: usize) {
        let (_, command) = self.requests.remove(pick % self.requests.len());
        let outcome = match pick % 4 {
            0 => Outcome::NotSent,
            1 => Outcome::LinkLost,
            2 => Outcome::Limited(self.world.now.plus(Span::from_secs(1))),
            _ => return,
        };
        self.inbox.push(Input::Outcome(RequestOutcome { command: command.id, account: ACCOUNT, outcome }));
    }

    /// Time passes; requests that are too old arrive before.
    fn wait(&mut self) {
        let Some(at) = self.world.next_timer() else { return };
        while let Some(old) = self.requests.iter().position(|(sent, _)| at >= sent.plus(Span::from_secs(9))) {
            let (_, command) = self.requests.remove(old);
            self.inbox.extend(self.venue.execute(&command));
        }
        self.world.fire();
    }

    fn reconcile(&mut self) {
        let step = Span::from_millis(1);
        self.world.now = self.world.now.plus(step);
        let asked_at = self.world.now;
        self.world.now = asked_at.plus(step);
        if let Answer::OpenOrders(orders) = self.venue.answer(&Query::OpenOrders) {
            self.world.event(&Event::Finding(Finding::OpenOrders { account: ACCOUNT, asked_at, orders }));
        }
        if let Answer::OpenConditionals(orders) = self.venue.answer(&Query::OpenConditionals) {
            self.world.event(&Event::Finding(Finding::OpenConditionals { account: ACCOUNT, asked_at, orders }));
        }
        let trades = self.venue.trades.clone();
        self.world.event(&Event::Finding(Finding::Trades { account: ACCOUNT, trades }));
        self.world.event(&Event::Reconciled(ACCOUNT));
    }

    fn restart(&mut self) {
        let snapshot = self.world.desk.snapshot();
        self.world.desk.restore(&snapshot).expect("own snapshot");
        self.inbox.clear();
        self.world.timers.clear();
        self.world.input(Input::Start { epoch: EPOCH });
    }

    fn settle(&mut self) {
        for _ in 0..5 {
            let until = self.world.now.plus(Span::from_secs(120));
            for _ in 0..20_000 {
                if !self.requests.is_empty() {
                    self.arrive(0);
                } else if !self.inbox.is_empty() {
                    let message = self.inbox.remove(0);
                    self.world.input(message);
                } else if self.world.next_timer().is_some_and(|at| at <= until) {
                    self.world.fire();
                } else {
                    break;
                }
                self.collect();
            }
            // What hung on its way into the book arrives: by then its cancellation is wanted for long.
            for at in (0..self.venue.orders.len()).filter(|_| self.halted) {
                if self.venue.orders[at].service == Some(ConditionalStatus::Triggering) {
                    self.inbox.extend(self.venue.trigger(at));
                }
            }
            self.reconcile();
            self.collect();
        }
    }

    fn check(&self) {
        let world = &self.world;
        let booked: BTreeSet<TradeId> = world.fills.iter().map(|fill| fill.trade_id).collect();
        assert_eq!(booked.len(), world.fills.len(), "a fill was booked twice");
        let traded: BTreeSet<TradeId> = self.venue.trades.iter().map(|trade| trade.fill.trade_id).collect();
        assert_eq!(booked, traded, "a fill was lost");
        let open: BTreeMap<OrderKey, OrderUpdate> = world.desk.orders().map(|order| (order.key, order)).collect();
        for (at, order) in self.venue.orders.iter().enumerate() {
            let key = OrderKey::Ours(order.new.intent.id);
            assert!(world.fills.iter().filter(|fill| fill.key == key).all(|fill| fill.strategy == STRATEGY));
            let filled: i64 = world.fills.iter().filter(|f| f.key == key).map(|f| f.quantity.mantissa()).sum();
            assert_eq!(filled, order.filled.mantissa(), "fills of {key}");
            match open.get(&key) {
                Some(ours) => {
                    assert!(!self.halted || order.new.is_enforced(), "an entry outlives the halt: {order:?}");
                    assert!(self.venue.is_alive(at), "{key} is over: {order:?}");
                    assert!(matches!(ours.state, OrderState::Working | OrderState::Triggering), "{ours:?}");
                    assert_eq!((ours.price, ours.quantity, ours.filled), (order.price, order.quantity, order.filled));
                }
                None => assert!(!self.venue.is_alive(at), "{key} works at the venue: {order:?}"),
            }
        }
        assert_eq!(open.len(), (0..self.venue.orders.len()).filter(|&at| self.venue.is_alive(at)).count());
        assert_eq!((world.desk.unknown_count(), world.desk.owed_count()), (0, 0));
        assert_eq!(world.count(AlertCode::ImpossibleReport), 0, "{:?}", world.alerts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn long_lives_end_in_agreement(
        steps in prop::collection::vec((0u8..49, any::<u16>()), 1..250),
        tick in 0i64..2,
        foreign_children: bool,
    ) {
        let mut life = Life::new(tick, foreign_children);
        for (action, pick) in steps {
            life.step(action, pick as usize);
        }
        life.settle();
        life.check();
    }
}
