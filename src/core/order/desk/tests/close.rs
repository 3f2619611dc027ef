//! The close in the place of a stuck stop: whatever becomes of its parts, in the end as much is closed as the stop should have,
//! and a desk that folds inputs and recorded decisions goes the same way.

use super::venue::Venue;
use super::world::*;
use crate::command::{CommandKind, Outcome, RequestOutcome, VenueCommand, VenueError};
use crate::event::{AlertCode, Decision, Event, Input, Refused};
use crate::node::Node;
use crate::num::{Money, Quantity, Side};
use crate::order::{Intent, NewOrder, OrderIntent};
use crate::risk::gate::Refusal;
use crate::time::Span;
use proptest::prelude::*;

/// MARKET_LOT_SIZE of the instrument.
const LARGEST: i64 = 1_000;

/// What becomes of a part.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// By the gate.
    Refused,
    /// By the venue.
    Rejected,
    NotSent,
    Limited,
    /// Written, and lost with the link.
    Lost,
    /// The process ends before the decision is stored, and starts again.
    Restart,
    /// Some of it fills, the rest expires.
    Expires,
    /// Meanwhile the stuck stop trades after all.
    StopTrades,
    Fills,
}

/// A desk, its twin that only folds, and their venue.
struct Twins {
    live: World,
    folded: World,
    venue: Venue,
}

impl Twins {
    /// A long position of `held` behind a stop for `size`, which is stuck. `size` 0: it closes the position.
    fn stuck(held: i64, size: i64) -> Twins {
        let venue = Venue { tick: 1, ..Venue::default() };
        let mut twins = Twins { live: World::listed(), folded: World::listed(), venue };
        twins.place(limit(1, held));
        let filled = twins.venue.fill(0, quantity(held));
        twins.deliver(filled);
        twins.place(if size == 0 { closing_stop(2) } else { stop(2, size) });
        let triggering = twins.venue.trigger(1);
        twins.deliver(triggering);
        twins
    }

    fn input(&mut self, input: Input) {
        // As the engine does it: ids drawn in a fold are thrown away.
        let commands = self.folded.commands.get();
        self.folded.now = self.live.now;
        self.folded.input(input.clone());
        self.folded.commands.set(commands);
        self.live.input(input);
        self.decided();
    }

    fn decided(&mut self) {
        for command in self.live.take_sent() {
            self.folded.commands.set(command.id.0);
            self.folded.fold(&Decision::Command(command.clone()));
            if !matches!(&command.kind, CommandKind::Place(new) if new.intent.id.counter >= 0x8000_0000) {
                let messages = self.venue.execute(&command);
                self.deliver(messages);
            } else {
                self.live.sent.push(command);
                return;
            }
        }
    }

    fn deliver(&mut self, messages: Vec<Input>) {
        messages.into_iter().for_each(|message| self.input(message));
    }

    fn place(&mut self, new: NewOrder) {
        self.live.place(new);
        self.decided();
    }

    fn outcome(&mut self, command: &VenueCommand, outcome: Outcome) {
        self.input(Input::Outcome(RequestOutcome { command: command.id, account: ACCOUNT, outcome }));
    }

    /// The next part that the desk asks for, within the given time.
    fn next_part(&mut self, within: Span) -> Option<OrderIntent> {
        let until = self.live.now.plus(within);
        while self.live.intents.is_empty() {
            let (&timer, &at) = self.live.timers.iter().min_by_key(|(_, at)| **at).filter(|(_, at)| **at <= until)?;
            self.live.timers.remove(&timer);
            self.live.now = self.live.now.max(at);
            self.input(Input::Timer(timer));
        }
        assert_eq!(self.live.intents.len(), 1, "one part at a time");
        match self.live.intents.remove(0) {
            Intent::Place(order) => Some(order),
            other => panic!("{other:?}"),
        }
    }

    fn meet(&mut self, part: OrderIntent, fate: Fate) {
        if let Fate::Refused | Fate::StopTrades = fate {
            let reason = Refusal::OrderRate { sent: 1, bound: 1, window: Span::from_secs(1) };
            let refused = Refused { intent: Intent::Place(part), reason };
            self.live.event(&Event::Refused(refused.clone()));
            self.folded.fold(&Decision::Refused(refused));
            if fate == Fate::StopTrades && self.venue.orders[1].status.is_none() {
                let working = self.venue.trigger(1);
                let traded = self.venue.fill(1, quantity(1));
                self.deliver(working.into_iter().chain(traded).collect());
            }
            return;
        }
        if fate == Fate::Restart {
            self.live.timers.clear();
            self.input(Input::Start { epoch: EPOCH });
            return;
        }
        self.place(NewOrder { intent: part, send_reduce_only: true, held_price: price(100) });
        let command = self.live.one_sent();
        match fate {
            Fate::Rejected => {
                let error = VenueError { code: -2022, message: "ReduceOnly Order is rejected.".into() };
                self.outcome(&command, Outcome::Rejected(error));
            }
            Fate::NotSent => self.outcome(&command, Outcome::NotSent),
            Fate::Limited => self.outcome(&command, Outcome::Limited(self.live.now.plus(Span::from_secs(1)))),
            Fate::Lost => self.outcome(&command, Outcome::LinkLost),
            _ => {
                let accepted = self.venue.execute(&command);
                self.deliver(accepted);
                let at = self.venue.orders.len() - 1;
                let most = if fate == Fate::Expires { 1 } else { part.quantity.mantissa() };
                let mut filled = self.venue.fill(at, quantity(most));
                if fate == Fate::Expires {
                    filled.extend(self.venue.expire(at));
                }
                self.deliver(filled);
            }
        }
    }

    /// What was sold so far.
    fn closed(&self) -> i64 {
        self.live.fills.iter().filter(|fill| fill.side == Side::Sell).map(|fill| fill.quantity.mantissa()).sum()
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    use Fate::*;
    let fate = prop::sample::select(vec![
        Refused, Rejected, NotSent, Limited, Lost, Restart, Expires, StopTrades, Fills, Fills,
    ]);
    prop::collection::vec(fate, 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_a_stuck_stop_should_have_closed_is_closed_in_the_end(
        fates in fates(),
        held in 1i64..3_500,
        size in 0i64..3_500,
    ) {
        let mut twins = Twins::stuck(held, size);
        let wanted = if size == 0 { held } else { size.min(held) };
        let failures = fates.iter().filter(|f| !matches!(f, Fate::Fills | Fate::Restart | Fate::Expires)).count();
        let mut fates = fates.into_iter();
        let (mut met, mut ids) = (0, std::collections::BTreeSet::new());
        while let Some(part) = twins.next_part(Span::from_secs(120)) {
            let left = wanted - twins.closed();
            prop_assert!(part.reduce_only && part.side == Side::Sell && ids.insert(part.id));
            prop_assert!(part.quantity.mantissa() <= left.min(LARGEST), "{part:?} of {left}");
            let fate = fates.next().unwrap_or(Fate::Fills);
            met += usize::from(!matches!(fate, Fate::Fills | Fate::Restart | Fate::Expires));
            twins.meet(part, fate);
        }
        prop_assert_eq!(twins.closed(), wanted);
        prop_assert!(met <= failures && twins.live.count(AlertCode::TriggerRejected) >= met, "each failure is told");
        prop_assert_eq!(twins.live.count(AlertCode::StuckTrigger), 1);
        prop_assert_eq!(twins.folded.desk.snapshot(), twins.live.desk.snapshot());
    }
}

#[test]
fn attempts_are_told_and_spaced_out_and_what_no_order_can_close_is_given_up() {
    let mut twins = Twins::stuck(10, 10);
    let mut asked = Vec::new();
    for _ in 0..12 {
        let part = twins.next_part(Span::from_secs(60)).expect("it goes on");
        asked.push(twins.live.now);
        twins.meet(part, Fate::Rejected);
    }
    assert_eq!(twins.live.count(AlertCode::TriggerRejected), 12);
    let pauses: Vec<i64> = asked.windows(2).map(|pair| pair[1].since(pair[0]).nanos() / 1_000_000).collect();
    assert_eq!(pauses[..4], [500, 1_000, 2_000, 4_000]);
    assert!(pauses[6..].iter().all(|pause| *pause == 30_000), "{pauses:?}");
    let part = twins.next_part(Span::from_secs(60)).expect("it goes on");
    let reason = Refusal::MinNotional {
        notional: Money::zero(crate::id::AssetIx(0)),
        bound: Money::zero(crate::id::AssetIx(0)),
    };
    twins.live.event(&Event::Refused(Refused { intent: Intent::Place(part), reason }));
    assert_eq!(twins.next_part(Span::from_secs(600)), None, "dust");
}

/// What the strategy opens after its position was closed is not the task's to close.
#[test]
fn a_task_ends_with_the_position() {
    let mut twins = Twins::stuck(10, 0);
    let part = twins.next_part(Span::from_secs(60)).expect("at the bound");
    twins.meet(part, Fate::Rejected);
    // The strategy's own exit.
    let exit = order(3, Side::Sell, 10, crate::order::Terms::Market, true);
    twins.place(exit);
    let at = twins.venue.orders.len() - 1;
    let filled = twins.venue.fill(at, quantity(10));
    twins.deliver(filled);
    twins.place(limit(4, 7));
    let filled = twins.venue.fill(at + 1, quantity(7));
    twins.deliver(filled);
    assert_eq!(twins.next_part(Span::from_secs(600)), None);
    assert_eq!(Quantity::from_mantissa(twins.closed()), Some(quantity(10)));
}
