//! The model check: every interleaving, up to a depth, of what the venue does, what the strategy wants, and what the network
//! does to the messages: any order of delivery, duplicates, losses of reports, answers and requests, delays. States are
//! visited once. From every state where the search ends, the network turns fair and time passes; then nothing may be lost,
//! doubled, misattributed or unknown.

use super::venue::Venue;
use super::world::{ACCOUNT, STRATEGY, World, id, is_question, limit, price, quantity, stop};
use crate::command::{Answer, CommandKind, Outcome, Query, RequestOutcome, VenueCommand};
use crate::event::{AlertCode, Event, Input};
use crate::id::{OrderKey, TradeId};
use crate::node::{Node, encode_state, hash_bytes};
use crate::order::reconcile::Finding;
use crate::order::{ConditionalReport, ConditionalStatus, OrderReport, OrderState, OrderUpdate};
use crate::time::{Span, Ts};
use std::collections::BTreeSet;

/// What is being explored.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    /// What has happened before the search begins.
    before: &'static [Action],
    depth: u32,
    /// How often the network may misbehave on one path.
    faults: u32,
    conditional: bool,
    foreign_child: bool,
    /// Whether the venue's clock moves between two things.
    tick: i64,
    cancel: bool,
    modify: bool,
    /// Whether a reconciliation asks for the lists of open orders at any moment.
    list: bool,
}

#[derive(Debug, Clone)]
struct Model {
    world: World,
    venue: Venue,
    /// Requests on their way, with the time when they were sent.
    requests: Vec<(Ts, VenueCommand)>,
    /// Messages on their way to us.
    inbox: Vec<Input>,
    faults: u32,
    may_cancel: bool,
    may_modify: bool,
    may_list: bool,
    /// Lists of open orders on their way to us, with the time when they were asked for.
    listing: Option<Listing>,
    placed: BTreeSet<OrderKey>,
}

type Listing = (Ts, Vec<OrderReport>, Vec<ConditionalReport>);

#[derive(Debug, Clone, Copy)]
enum Action {
    Deliver(usize),
    Duplicate(usize),
    Lose(usize),
    Arrive(usize),
    LoseRequest(usize),
    NotSent(usize),
    LinkLost(usize),
    Fill,
    Expire,
    Trigger,
    RefuseTrigger,
    Cancel,
    Modify,
    List,
    DeliverList,
    Timer,
    Restart,
}

impl Model {
    fn new(scenario: Scenario) -> Model {
        let mut model = Model {
            world: World::new(),
            venue: Venue { tick: scenario.tick, foreign_children: scenario.foreign_child, ..Venue::default() },
            requests: Vec::new(),
            inbox: Vec::new(),
            faults: scenario.faults,
            may_cancel: scenario.cancel,
            may_modify: scenario.modify,
            may_list: scenario.list,
            listing: None,
            placed: BTreeSet::new(),
        };
        model.world.place(if scenario.conditional { stop(1, 2) } else { limit(1, 2) });
        model.collect();
        model
    }

    /// Puts new commands on their way, and checks what must hold at every moment.
    fn collect(&mut self) {
        for command in self.world.take_sent() {
            if let CommandKind::Place(new) = &command.kind {
                assert!(self.placed.insert(OrderKey::Ours(new.intent.id)), "an order was sent twice");
            }
            self.requests.push((self.world.now, command));
        }
        let booked: BTreeSet<TradeId> = self.world.fills.iter().map(|fill| fill.trade_id).collect();
        assert_eq!(booked.len(), self.world.fills.len(), "a fill was booked twice");
        assert!(self.world.fills.iter().all(|fill| fill.strategy == STRATEGY), "a fill went to a stranger");
        assert_eq!(self.world.count(AlertCode::ImpossibleReport), 0, "{:?}", self.world.alerts);
        self.check_exposure();
    }

    /// Exposure held by the order's last view is always enough for what the venue may still fill.
    fn check_exposure(&self) {
        let Some(order) = self.venue.orders.first().filter(|_| self.venue.is_alive(0)) else { return };
        let view = self.world.updates.last().expect("the placement was told");
        let covered = view.quantity >= order.quantity && view.price >= order.price && view.filled <= order.filled;
        assert!(covered && !matches!(view.state, OrderState::Done(_)), "{view:?} does not cover {order:?}");
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, message) in self.inbox.iter().enumerate() {
            // Two equal messages are one choice.
            if self.inbox[..at].contains(message) {
                continue;
            }
            actions.push(Action::Deliver(at));
            if self.faults > 0 {
                actions.extend([Action::Duplicate(at), Action::Lose(at)]);
            }
        }
        for (at, (_, command)) in self.requests.iter().enumerate() {
            actions.push(Action::Arrive(at));
            if self.faults > 0 {
                actions.push(Action::LoseRequest(at));
                if !matches!(command.kind, CommandKind::Query(_)) {
                    actions.extend([Action::NotSent(at), Action::LinkLost(at)]);
                }
            }
        }
        if !self.venue.orders.is_empty() {
            if self.venue.is_working(0) {
                actions.extend([Action::Fill, Action::Expire]);
            }
            if self.venue.orders[0].service.is_some() && self.venue.is_alive(0) {
                actions.extend([Action::Trigger, Action::RefuseTrigger]);
            }
        }
        if self.may_cancel {
            actions.push(Action::Cancel);
        }
        if self.may_modify {
            actions.push(Action::Modify);
        }
        if self.may_list {
            actions.push(Action::List);
        }
        if self.listing.is_some() {
            actions.push(Action::DeliverList);
        }
        if self.may_wait() {
            actions.push(Action::Timer);
        }
        if self.faults > 0 {
            actions.push(Action::Restart);
        }
        actions
    }

    /// A request arrives within `absent_after` or not at all: that is what the proof of absence rests on.
    fn may_wait(&self) -> bool {
        let late = crate::config::Timing::default().absent_after;
        self.world
            .next_timer()
            .is_some_and(|at| self.requests.iter().all(|(sent, command)| is_question(command) || at <= sent.plus(late)))
    }

    fn act(&mut self, action: Action) {
        use Action::*;
        match action {
            Deliver(at) => {
                let message = self.inbox.remove(at);
                self.world.input(message);
            }
            Duplicate(at) => self.world.input(self.inbox[at].clone()),
            Lose(at) => drop(self.inbox.remove(at)),
            Arrive(at) => {
                let (_, command) = self.requests.remove(at);
                self.inbox.extend(self.venue.execute(&command));
            }
            LoseRequest(at) => drop(self.requests.remove(at)),
            NotSent(at) | LinkLost(at) => {
                let (_, command) = self.requests[at].clone();
                let outcome = if let NotSent(_) = action { Outcome::NotSent } else { Outcome::LinkLost };
                // Written and then lost: it may arrive nevertheless.
                if let NotSent(_) = action {
                    self.requests.remove(at);
                }
                self.inbox.push(Input::Outcome(RequestOutcome {
                    command: command.id,
                    account: command.account,
                    outcome,
                }));
            }
            Fill => self.inbox.extend(self.venue.fill(0, quantity(1))),
            Expire => self.inbox.extend(self.venue.expire(0)),
            Trigger => self.inbox.extend(self.venue.trigger(0)),
            RefuseTrigger => self.inbox.extend(self.venue.refuse_trigger(0)),
            Cancel => {
                self.may_cancel = false;
                self.world.cancel(id(1));
            }
            Modify => {
                self.may_modify = false;
                self.world.modify(id(1), price(101), quantity(3));
            }
            List => {
                self.may_list = false;
                self.list();
            }
            DeliverList => self.deliver_list(),
            Timer => self.world.fire(),
            Restart => self.restart(),
        }
        if matches!(action, Duplicate(_) | Lose(_) | LoseRequest(_) | NotSent(_) | LinkLost(_) | Restart) {
            self.faults -= 1;
        }
        self.collect();
    }

    fn list(&mut self) {
        self.world.now = self.world.now.plus(Span::from_millis(1));
        let (orders, conditionals) =
            (self.venue.answer(&Query::OpenOrders), self.venue.answer(&Query::OpenConditionals));
        let (Answer::OpenOrders(orders), Answer::OpenConditionals(conditionals)) = (orders, conditionals) else {
            panic!("lists are answered by lists")
        };
        self.listing = Some((self.world.now, orders, conditionals));
        self.world.now = self.world.now.plus(Span::from_millis(1));
    }

    fn deliver_list(&mut self) {
        let Some((asked_at, orders, conditionals)) = self.listing.take() else { return };
        self.world.event(&Event::Finding(Finding::OpenOrders { account: ACCOUNT, asked_at, orders }));
        let found = Finding::OpenConditionals { account: ACCOUNT, asked_at, orders: conditionals };
        self.world.event(&Event::Finding(found));
    }

    /// A reconciliation as the reconciler does it: lists, then trades.
    fn reconcile(&mut self) {
        self.list();
        self.deliver_list();
        let trades = self.venue.trades.clone();
        self.world.event(&Event::Finding(Finding::Trades { account: ACCOUNT, trades }));
        self.world.event(&Event::Reconciled(ACCOUNT));
        self.collect();
    }

    /// The process dies and comes back from its snapshot: answers to its requests are lost, reports that were not read too.
    fn restart(&mut self) {
        let snapshot = self.world.desk.snapshot();
        self.world.desk.restore(&snapshot).expect("own snapshot");
        self.inbox.clear();
        self.listing = None;
        self.world.timers.clear();
        self.world.input(Input::Start { epoch: super::world::EPOCH });
    }

    fn hash(&self) -> u64 {
        let desk = self.world.desk.snapshot();
        let rest = encode_state(&(
            &self.venue,
            &self.requests,
            &self.inbox,
            self.faults,
            self.may_cancel,
            self.may_modify,
            &self.listing,
        ));
        hash_bytes(&desk)
            ^ hash_bytes(&rest).rotate_left(17)
            ^ (self.world.now.nanos() as u64).wrapping_mul(0x9e37_79b9)
    }

    /// From here on everything arrives, in order, time passes, and reconciliations run.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.run_out();
            self.reconcile();
        }
        self.run_out();
    }

    fn run_out(&mut self) {
        let until = self.world.now.plus(Span::from_secs(100));
        for _ in 0..1000 {
            if !self.requests.is_empty() {
                self.act(Action::Arrive(0));
            } else if !self.inbox.is_empty() {
                self.act(Action::Deliver(0));
            } else if self.is_settled() || self.world.next_timer().is_none_or(|at| at > until) {
                return;
            } else {
                self.act(Action::Timer);
            }
        }
        panic!("it never comes to rest");
    }

    fn is_settled(&self) -> bool {
        let (desk, venue) = (&self.world.desk, &self.venue);
        let open: Vec<_> = desk.orders().collect();
        let booked = self.world.fills.len() == venue.trades.len();
        let Some(order) = venue.orders.first() else { return booked && open.is_empty() };
        if !venue.is_alive(0) {
            return booked && open.is_empty();
        }
        let state = match order.service {
            Some(ConditionalStatus::Triggering) => OrderState::Triggering,
            _ => OrderState::Working,
        };
        let same = |o: &OrderUpdate| {
            o.state == state && o.filled == order.filled && o.price == order.price && o.quantity == order.quantity
        };
        booked && open.len() == 1 && open.iter().all(same)
    }
}

struct Search {
    seen: BTreeSet<(u64, u32)>,
    states: usize,
    leaves: usize,
}

impl Search {
    fn explore(&mut self, model: &Model, depth: u32, path: &mut Vec<Action>) {
        self.states += 1;
        let actions = model.actions();
        if depth == 0 || actions.is_empty() {
            self.leaves += 1;
            let mut end = model.clone();
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| end.settle())).is_err() {
                panic!("while settling after {path:?}");
            }
            assert!(
                end.is_settled(),
                "not settled after {path:?}\nvenue {:?}\ndesk {:?}\nfills {:?}",
                end.venue,
                end.world.desk,
                end.world.fills
            );
            return;
        }
        for action in actions {
            path.push(action);
            let mut next = model.clone();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| next.act(action)));
            if result.is_err() {
                panic!("after {path:?}");
            }
            // A state is explored again only with more steps left.
            let hash = next.hash();
            let before = self.seen.range((hash, 0)..=(hash, u32::MAX)).next_back().map(|(_, left)| *left);
            if before.is_none_or(|left| left < depth - 1) {
                self.seen.insert((hash, depth - 1));
                self.explore(&next, depth - 1, path);
            }
            path.pop();
        }
    }
}

fn check(scenario: Scenario) {
    let mut search = Search { seen: BTreeSet::new(), states: 0, leaves: 0 };
    let mut model = Model::new(scenario);
    for action in scenario.before {
        model.act(*action);
    }
    search.explore(&model, scenario.depth, &mut Vec::new());
    println!("{scenario:?}: {} states, {} ends", search.states, search.leaves);
}

const PLAIN: Scenario = Scenario {
    before: &[],
    depth: 6,
    faults: 2,
    conditional: false,
    foreign_child: false,
    tick: 1,
    cancel: false,
    modify: false,
    list: false,
};

/// Accepted, the trigger is reached, and both is known.
const TRIGGERING: Scenario = Scenario {
    before: &[Action::Arrive(0), Action::Deliver(0), Action::Deliver(0), Action::Trigger, Action::Deliver(0)],
    conditional: true,
    ..PLAIN
};

#[test]
fn a_limit_order() {
    check(Scenario { depth: 7, ..PLAIN });
}

#[test]
fn a_limit_order_that_is_cancelled() {
    check(Scenario { cancel: true, ..PLAIN });
}

#[test]
fn a_limit_order_that_is_modified() {
    check(Scenario { modify: true, ..PLAIN });
}

#[test]
fn modified_and_cancelled_in_one_millisecond() {
    check(Scenario { modify: true, cancel: true, tick: 0, ..PLAIN });
}

#[test]
fn a_limit_order_and_lists_that_are_old() {
    check(Scenario { list: true, cancel: true, faults: 1, ..PLAIN });
}

#[test]
fn a_conditional_order() {
    check(Scenario { conditional: true, cancel: true, ..PLAIN });
}

#[test]
fn a_triggered_order() {
    check(Scenario { cancel: true, ..TRIGGERING });
}

#[test]
fn a_triggered_order_that_looks_like_a_strangers() {
    check(Scenario { foreign_child: true, ..TRIGGERING });
}

#[test]
fn a_triggered_order_and_lists_that_are_old() {
    check(Scenario { foreign_child: true, list: true, faults: 1, ..TRIGGERING });
}

// The same, deeper, minutes each: `cargo test -p qcat-core --lib -- --ignored deep`.

#[test]
#[ignore = "takes minutes"]
fn deep_limit() {
    check(Scenario { depth: 9, ..PLAIN });
}

#[test]
#[ignore = "takes minutes"]
fn deep_modified_and_cancelled() {
    check(Scenario { depth: 8, cancel: true, modify: true, tick: 0, ..PLAIN });
}

#[test]
#[ignore = "takes minutes"]
fn deep_lists() {
    check(Scenario { depth: 8, list: true, cancel: true, ..PLAIN });
}

#[test]
#[ignore = "takes minutes"]
fn deep_triggered() {
    check(Scenario { depth: 8, cancel: true, ..TRIGGERING });
}

#[test]
#[ignore = "takes minutes"]
fn deep_strangers() {
    check(Scenario { depth: 8, foreign_child: true, list: true, ..TRIGGERING });
}
