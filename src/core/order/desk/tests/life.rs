//! Worked examples of the desk: one way of an order each, with what must be said and sent.

use super::venue::Venue;
use super::world::*;
use crate::command::{
    Answer, CommandId, CommandKind, Outcome, Query, QueryAnswer, Report, RequestOutcome, VenueCommand, VenueError,
};
use crate::config::OnFault;
use crate::event::{AlertCode, Decision, Event, HaltReason, Input, Scope};
use crate::id::{ForeignId, OrderKey, StrategyIx, TradeId};
use crate::node::Node;
use crate::num::Side;
use crate::order::desk::OpenEntry;
use crate::order::reconcile::Finding;
use crate::order::{End, ExecutionType, Intent, NewOrder, OrderReport, OrderState, Terms, TimeInForce};
use crate::risk::gate::Grant;
use crate::time::Span;

fn outcome(command: &VenueCommand, outcome: Outcome) -> Input {
    Input::Outcome(RequestOutcome { command: command.id, account: ACCOUNT, outcome })
}

fn answer(command: &VenueCommand, answer: Answer) -> Input {
    Input::Answer(QueryAnswer { command: command.id, account: ACCOUNT, result: Ok(answer) })
}

fn error(code: i32) -> VenueError {
    VenueError { code, message: "".into() }
}

fn report(report: OrderReport) -> Input {
    Input::Report(Report::Order(Box::new(report)))
}

/// A world with one limit order that the venue has confirmed.
fn working(size: i64) -> (World, Venue) {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(limit(1, size));
    for command in world.take_sent() {
        venue.execute(&command).into_iter().for_each(|message| world.input(message));
    }
    assert_eq!(world.state(id(1)), Some(OrderState::Working));
    (world, venue)
}

#[test]
fn an_order_is_sent_once_and_told_at_each_step() {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(limit(1, 2));
    let place = world.one_sent();
    assert_eq!(world.state(id(1)), Some(OrderState::InFlight));
    world.place(limit(1, 2));
    assert_eq!((world.take_sent().len(), world.refused), (0, 1), "an id is used once");

    venue.execute(&place).into_iter().for_each(|message| world.input(message));
    for _ in 0..2 {
        venue.fill(0, quantity(1)).into_iter().for_each(|message| world.input(message));
    }
    let states: Vec<_> = world.updates.iter().map(|update| (update.state, update.filled.mantissa())).collect();
    let expected = [
        (OrderState::InFlight, 0),
        (OrderState::Working, 0),
        (OrderState::Working, 1),
        (OrderState::Done(End::Filled), 2),
    ];
    assert_eq!(states, expected);
    assert_eq!(world.fills.len(), 2);
    assert_eq!(world.next_timer(), None, "nothing is waited for");
    assert_eq!(world.desk.orders().count(), 0);
}

#[test]
fn refused_limited_and_unsent_orders_are_over_at_once() {
    let cases = [
        (Outcome::Rejected(error(-2019)), End::Rejected(-2019)),
        (Outcome::NotSent, End::NeverArrived),
        (Outcome::Limited(crate::time::Ts::MAX), End::NeverArrived),
    ];
    for (what, end) in cases {
        let mut world = World::new();
        world.place(limit(1, 2));
        let place = world.one_sent();
        world.input(outcome(&place, what));
        assert_eq!(world.state(id(1)), Some(OrderState::Done(end)));
        world.pass(Span::from_secs(600));
        assert!(world.sent.is_empty(), "nothing is sent again");
    }
}

#[test]
fn a_silent_order_is_asked_for_with_growing_pauses_and_never_sent_again() {
    let mut world = World::new();
    world.place(limit(1, 2));
    let sent_at = world.now;
    let place = world.one_sent();
    world.input(outcome(&place, Outcome::Written));
    let mut asked = Vec::new();
    while world.state(id(1)) != Some(OrderState::Done(End::NeverArrived)) {
        world.fire();
        for command in world.take_sent() {
            assert!(is_question(&command), "{command:?}");
            asked.push(world.now.since(sent_at).millis());
            world.input(answer(&command, Answer::NoSuchOrder));
        }
    }
    assert_eq!(asked, [5_000, 5_500, 6_500, 8_001], "absence proves nothing before eight seconds have passed");
    assert_eq!(world.desk.unknown_count(), 0);
}

#[test]
fn a_lost_answer_is_found_by_query_and_the_fill_by_the_trade_history() {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(limit(1, 2));
    let place = world.one_sent();
    venue.execute(&place);
    venue.fill(0, quantity(2));
    world.input(outcome(&place, Outcome::TimedOut));
    assert_eq!((world.state(id(1)), world.desk.unknown_count()), (Some(OrderState::Unknown), 1));

    let ask = world.one_sent();
    venue.execute(&ask).into_iter().for_each(|message| world.input(message));
    assert_eq!(world.state(id(1)), Some(OrderState::Working), "it is filled, but its fill is not booked yet");
    assert!(world.fills.is_empty());
    world.pass(Span::from_secs(1));
    let trades = world.one_sent();
    assert!(matches!(trades.kind, CommandKind::Query(Query::Trades { .. })));
    venue.execute(&trades).into_iter().for_each(|message| world.input(message));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Filled)));
    assert_eq!((world.fills.len(), world.count(AlertCode::MissedFill)), (1, 1));
}

#[test]
fn an_order_given_up_comes_back_when_the_venue_reports_it() {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(limit(1, 2));
    let place = world.one_sent();
    world.input(outcome(&place, Outcome::NotSent));
    let messages = venue.execute(&place);
    world.input(messages[0].clone());
    assert_eq!(world.state(id(1)), Some(OrderState::Working));
    assert_eq!(world.count(AlertCode::OrderRepaired), 1);
    venue.fill(0, quantity(2)).into_iter().for_each(|message| world.input(message));
    assert_eq!((world.state(id(1)), world.fills[0].strategy), (Some(OrderState::Done(End::Filled)), STRATEGY));
}

#[test]
fn late_duplicates_of_a_finished_order_change_nothing() {
    let (mut world, mut venue) = working(2);
    let messages = [venue.fill(0, quantity(1)), venue.fill(0, quantity(1))].concat();
    messages.iter().for_each(|message| world.input(message.clone()));
    let updates = world.updates.len();
    for message in messages.iter().rev() {
        world.input(message.clone());
    }
    assert_eq!((world.fills.len(), world.updates.len(), world.alerts.len()), (2, updates, 0));
}

#[test]
fn impossible_reports_alarm_and_are_not_applied() {
    let wrong: [fn(&mut OrderReport); 4] = [
        |r| r.side = Side::Sell,
        |r| r.filled = quantity(3),
        |r| (r.filled, r.quantity) = (quantity(5), quantity(9)),
        |r| r.venue_id.0 += 1,
    ];
    for spoil in wrong {
        let (mut world, mut venue) = working(2);
        let mut bad = venue.report(0, ExecutionType::Trade);
        spoil(&mut bad);
        world.input(report(bad));
        assert_eq!((world.count(AlertCode::ImpossibleReport), world.untrusted), (1, 1));
        assert_eq!(world.state(id(1)), Some(OrderState::Working));
        assert!(is_question(&world.one_sent()), "the venue is asked what is true");
    }
}

#[test]
fn a_cancellation_waits_for_its_order_and_is_sent_once() {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(limit(1, 2));
    let place = world.one_sent();
    world.cancel(id(1));
    world.cancel(id(1));
    assert!(world.sent.is_empty());
    world.input(venue.execute(&place).remove(0));
    let cancel = world.one_sent();
    assert!(matches!(cancel.kind, CommandKind::Cancel { conditional: false, .. }));
    venue.execute(&cancel).into_iter().for_each(|message| world.input(message));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Canceled)));
}

#[test]
fn a_cancellation_that_fails_is_looked_into_and_repeated() {
    // (what becomes of the cancellation, whether the order is asked for first)
    let cases = [
        (Outcome::TimedOut, true),
        (Outcome::Rejected(error(-2011)), true),
        (Outcome::Rejected(error(-1008)), true),
        (Outcome::NotSent, false),
    ];
    for (what, asks) in cases {
        let (mut world, mut venue) = working(2);
        world.cancel(id(1));
        let first = world.one_sent();
        world.input(outcome(&first, what));
        if asks {
            let ask = world.one_sent();
            assert!(is_question(&ask));
            venue.execute(&ask).into_iter().for_each(|message| world.input(message));
        }
        world.pass(Span::from_secs(1));
        let again = world.one_sent();
        assert!(matches!(again.kind, CommandKind::Cancel { .. }) && again.id != first.id);
        venue.execute(&again).into_iter().for_each(|message| world.input(message));
        assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Canceled)));
    }
}

#[test]
fn a_limited_cancellation_is_sent_at_the_time_given() {
    let (mut world, _) = working(2);
    world.cancel(id(1));
    let cancel = world.one_sent();
    world.input(outcome(&cancel, Outcome::Limited(world.now.plus(Span::from_secs(3)))));
    world.pass(Span::from_millis(2_900));
    assert!(world.sent.is_empty());
    world.pass(Span::from_millis(200));
    assert!(matches!(world.one_sent().kind, CommandKind::Cancel { .. }));
}

#[test]
fn a_modification_is_shown_at_the_larger_of_old_and_new_until_it_is_settled() {
    let last = |world: &World| {
        let update = world.updates.last().expect("told");
        (update.price.mantissa(), update.quantity.mantissa())
    };
    // Down in price, up in quantity: the held exposure covers both.
    let (mut world, mut venue) = working(2);
    world.modify(id(1), price(90), quantity(3));
    assert_eq!(last(&world), (100, 3));
    let modify = world.one_sent();
    venue.execute(&modify).into_iter().for_each(|message| world.input(message));
    assert_eq!(last(&world), (90, 3));

    // Refused: as before.
    world.modify(id(1), price(120), quantity(1));
    assert_eq!(last(&world), (120, 3));
    let modify = world.one_sent();
    world.input(outcome(&modify, Outcome::Rejected(error(-5027))));
    assert_eq!((last(&world), world.sent.len()), ((90, 3), 0));

    // Not above what is filled: the venue cancels.
    venue.fill(0, quantity(2)).into_iter().for_each(|message| world.input(message));
    world.modify(id(1), price(90), quantity(2));
    let modify = world.one_sent();
    venue.execute(&modify).into_iter().for_each(|message| world.input(message));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Canceled)));
}

#[test]
fn a_modification_of_unknown_fate_keeps_its_exposure_until_it_cannot_come_true() {
    let (mut world, mut venue) = working(2);
    world.modify(id(1), price(110), quantity(2));
    let modify = world.one_sent();
    world.input(outcome(&modify, Outcome::LinkLost));
    for _ in 0..3 {
        let ask = world.one_sent();
        venue.execute(&ask).into_iter().for_each(|message| world.input(message));
        assert_eq!(world.updates.last().map(|update| update.price), Some(price(110)));
        world.fire();
    }
    // It arrives after all.
    venue.execute(&modify).into_iter().for_each(|message| world.input(message));
    assert_eq!(world.desk.orders().next().map(|order| order.price), Some(price(110)));
}

#[test]
fn only_a_working_limit_order_can_be_modified() {
    let mut world = World::new();
    world.place(limit(1, 2));
    world.take_sent();
    world.modify(id(1), price(90), quantity(2));
    world.modify(id(9), price(90), quantity(2));
    assert_eq!((world.refused, world.sent.len()), (2, 0));
}

#[test]
fn a_halt_cancels_entries_and_leaves_protection() {
    let protective = order(2, Side::Sell, 2, Terms::Limit { price: price(120), time_in_force: TimeInForce::Gtc }, true);
    for (on_fault, reason, cancels) in [
        (OnFault::CancelEntries, HaltReason::KillSwitch, 2),
        (OnFault::CancelAll, HaltReason::ControlLost, 5),
        (OnFault::CancelAll, HaltReason::Stopping, 0),
    ] {
        let mut world = World::with(crate::config::AccountConfig { on_fault, ..account_config() });
        let mut venue = Venue { tick: 1, ..Venue::default() };
        for new in [limit(1, 2), protective, stop(3, 2), breakout(4, 2), closing_stop(5)] {
            world.place(new);
            let place = world.one_sent();
            venue.execute(&place).into_iter().for_each(|message| world.input(message));
        }
        world.event(&Event::Halted { scope: Scope::Strategy(StrategyIx(9)), reason });
        assert!(world.sent.is_empty(), "another strategy's halt");
        world.event(&Event::Halted { scope: Scope::Account(ACCOUNT), reason });
        let sent = world.take_sent();
        assert_eq!(sent.len(), cancels);
        if cancels == 2 {
            // A conditional order that opens a position is an entry: at its trigger it would trade in spite of the halt.
            for (cancel, (entry, at_service)) in sent.iter().zip([(1, false), (4, true)]) {
                let CommandKind::Cancel { key, conditional, .. } = cancel.kind else { panic!("{cancel:?}") };
                assert_eq!((key, conditional), (OrderKey::Ours(id(entry)), at_service));
            }
        }
        let open: Vec<_> = world.desk.orders().map(|order| order.protective).collect();
        assert_eq!(open, [false, true, true, false, true]);
        let protective: Vec<_> = world.desk.entries().map(|entry| entry.protective).collect();
        assert_eq!(protective, open);
    }
}

#[test]
fn cancel_all_reaches_every_order_of_the_strategy() {
    let (mut world, mut venue) = working(2);
    world.place(stop(2, 2));
    let place = world.one_sent();
    venue.execute(&place).into_iter().for_each(|message| world.input(message));
    world.place(limit(3, 1));
    world.take_sent();
    world.grant(Grant::Other(Intent::CancelAll { account: ACCOUNT, strategy: STRATEGY, symbol: None }));
    let kinds: Vec<bool> = (world.take_sent().iter())
        .map(|command| matches!(command.kind, CommandKind::Cancel { conditional: true, .. }))
        .collect();
    assert_eq!(kinds, [false, true], "the one in flight waits for its confirmation");
}

/// A report of an order that somebody else placed.
fn foreign(key: &str, fill: bool) -> OrderReport {
    let mut venue = Venue { tick: 1, ..Venue::default() };
    let mut world = World::new();
    world.place(limit(1, 2));
    venue.execute(&world.one_sent());
    let messages = if fill { venue.fill(0, quantity(2)) } else { Vec::new() };
    let mut found = match messages.into_iter().next() {
        Some(Input::Report(Report::Order(report))) => *report,
        _ => venue.report(0, ExecutionType::New),
    };
    found.key = OrderKey::Foreign(ForeignId::new(key));
    found.venue_id.0 = 77;
    found
}

#[test]
fn foreign_orders_are_tracked_and_booked_as_external() {
    for (key, code) in [
        ("web_abc", AlertCode::ForeignOrder),
        ("autoclose-123", AlertCode::ForcedClose),
        ("adl_autoclose", AlertCode::ForcedClose),
        ("settlement_autoclose-9", AlertCode::ForcedClose),
    ] {
        let mut world = World::new();
        world.input(report(foreign(key, true)));
        assert_eq!((world.fills.len(), world.fills[0].strategy), (1, StrategyIx::EXTERNAL));
        assert_eq!(world.count(code), 1);
        world.input(report(foreign(key, true)));
        assert_eq!((world.fills.len(), world.alerts.len()), (1, 1), "once");
        let halt = (Scope::Symbol(BTC), HaltReason::ControlLost);
        assert_eq!(world.halts, if code == AlertCode::ForcedClose { vec![halt] } else { vec![] });
    }
    let mut world = World::new();
    world.input(report(foreign("web_abc", false)));
    assert_eq!(world.desk.orders().count(), 1);
    world.event(&Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch });
    assert!(world.sent.is_empty(), "others' orders are left to their owners");
    let key = OrderKey::Foreign(ForeignId::new("web_abc"));
    let cancel = Intent::Cancel { account: ACCOUNT, strategy: StrategyIx::EXTERNAL, symbol: BTC, key };
    world.grant(Grant::Other(cancel));
    assert!(matches!(world.one_sent().kind, CommandKind::Cancel { key: sent, .. } if sent == key));
}

#[test]
fn what_goes_when_control_is_lost_is_never_a_persons_order_nor_of_a_watched_account() {
    let ours = |entries: Vec<OpenEntry>| entries.iter().filter(|entry| entry.key.ours().is_some()).count();
    for (trading, on_fault, expect) in [
        (true, OnFault::CancelEntries, (1, 1)),
        (true, OnFault::CancelAll, (2, 1)),
        (false, OnFault::CancelEntries, (0, 0)),
        (false, OnFault::CancelAll, (0, 0)),
    ] {
        let account = crate::config::AccountConfig { trading, on_fault, ..account_config() };
        let mut world = World::with(account.clone());
        let mut venue = Venue { tick: 1, ..Venue::default() };
        world.place(limit(1, 2));
        let place = world.one_sent();
        venue.execute(&place).into_iter().for_each(|message| world.input(message));
        world.input(report(foreign("web_abc", false)));
        assert_eq!(world.desk.entries().count(), 2);
        let without_engine: Vec<OpenEntry> = world.desk.lost_control(&account).collect();
        world.event(&Event::Halted { scope: Scope::All, reason: HaltReason::ControlLost });
        assert_eq!((without_engine.len(), ours(without_engine.clone())), expect);
        assert_eq!(world.take_sent().len(), expect.0, "a halt and the loss of the engine cancel the same");
    }
}

/// What is left of a strategy's exits after a forced close would open the opposite position, unless the exchange keeps it from that.
#[test]
fn a_forced_close_cancels_what_could_open_the_opposite() {
    let mut world = World::new();
    let mut venue = Venue { tick: 1, ..Venue::default() };
    let unenforced = NewOrder { send_reduce_only: false, ..stop(2, 2) };
    for new in [stop(1, 2), unenforced, closing_stop(3)] {
        world.place(new);
        let place = world.one_sent();
        venue.execute(&place).into_iter().for_each(|message| world.input(message));
    }
    world.input(report(foreign("adl_autoclose", true)));
    let cancel = world.one_sent();
    assert!(matches!(cancel.kind, CommandKind::Cancel { key, .. } if key == OrderKey::Ours(id(2))), "{cancel:?}");
}

#[test]
fn a_forced_close_never_waits_for_an_owner() {
    let mut world = World::new();
    world.place(order(1, Side::Buy, 2, stop(1, 2).intent.terms, true));
    world.input(report(foreign("autoclose-1", true)));
    assert_eq!(world.fills.len(), 1);
    world.input(report(OrderReport { venue_id: crate::id::VenueOrderId(78), ..foreign("web", false) }));
    assert_eq!(world.desk.orders().count(), 1, "a stranger does, while a conditional order could be it");
}

#[test]
fn an_open_order_that_the_list_lacks_is_asked_for() {
    let (mut world, mut venue) = working(2);
    venue.expire(0);
    let asked_at = world.now;
    world.event(&Event::Finding(Finding::OpenOrders { account: ACCOUNT, asked_at, orders: Vec::new() }));
    assert!(world.sent.is_empty(), "it changed when the list was asked for: the list may be older");
    let asked_at = world.now.plus(Span::from_millis(5));
    world.event(&Event::Finding(Finding::OpenOrders { account: ACCOUNT, asked_at, orders: Vec::new() }));
    let ask = world.one_sent();
    venue.execute(&ask).into_iter().for_each(|message| world.input(message));
    assert_eq!(world.state(id(1)), Some(OrderState::Done(End::Expired(0))));
    assert_eq!(world.count(AlertCode::OrderRepaired), 1);
}

#[test]
fn the_memory_of_booked_trades_is_cut_one_reconciliation_behind() {
    let (mut world, mut venue) = working(100);
    let mut messages = Vec::new();
    for _ in 0..3 {
        for _ in 0..10 {
            messages.extend(venue.fill(0, quantity(1)));
        }
        messages.iter().for_each(|message| world.input(message.clone()));
        let trades = venue.trades.clone();
        world.event(&Event::Finding(Finding::Trades { account: ACCOUNT, trades }));
        world.event(&Event::Reconciled(ACCOUNT));
    }
    assert_eq!(world.fills.len(), 30);
    let small = world.desk.snapshot().len();
    messages.iter().for_each(|message| world.input(message.clone()));
    let trades = venue.trades.clone();
    world.event(&Event::Finding(Finding::Trades { account: ACCOUNT, trades }));
    assert_eq!((world.fills.len(), world.desk.snapshot().len()), (30, small), "known below and above the watermark");
    assert!(world.fills.iter().map(|fill| fill.trade_id).eq((1..=30).map(TradeId)));
}

#[test]
fn a_fold_of_the_recorded_commands_is_the_same_desk() {
    let script = |world: &mut World, venue: &mut Venue| {
        let mut recorded: Vec<VenueCommand> = Vec::new();
        let record = |world: &mut World, recorded: &mut Vec<VenueCommand>, act: &dyn Fn(&mut World)| {
            act(world);
            recorded.append(&mut world.take_sent());
        };
        record(world, &mut recorded, &|w| w.place(limit(1, 4)));
        let place = recorded[0].clone();
        for message in venue.execute(&place) {
            record(world, &mut recorded, &|w| w.input(message.clone()));
        }
        record(world, &mut recorded, &|w| w.modify(id(1), price(101), quantity(5)));
        record(world, &mut recorded, &|w| w.cancel(id(1)));
        recorded
    };
    let (mut live, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    let recorded = script(&mut live, &mut venue);
    assert_eq!(recorded.len(), 3);

    let (mut folded, mut again) = (World::new(), Venue { tick: 1, ..Venue::default() });
    folded.fold(&Decision::Command(recorded[0].clone()));
    for message in again.execute(&recorded[0]) {
        folded.input(message);
    }
    for command in &recorded[1..] {
        folded.fold(&Decision::Command(command.clone()));
        folded.fold(&Decision::Command(command.clone()));
    }
    // Timers are armed by the first input after a fold.
    folded.input(Input::Timer(crate::event::TimerId { station: crate::event::Station::Desk(ACCOUNT), key: 9 }));
    live.input(Input::Timer(crate::event::TimerId { station: crate::event::Station::Desk(ACCOUNT), key: 9 }));
    assert_eq!(format!("{:?}", folded.desk), format!("{:?}", live.desk));
    assert_eq!(folded.desk.state_hash(), live.desk.state_hash());
    assert_eq!(recorded.last().map(|command| command.id), Some(CommandId(3)));
}

#[test]
fn after_a_start_everything_under_way_is_asked_for() {
    let (mut world, mut venue) = working(2);
    world.place(limit(2, 2));
    world.cancel(id(1));
    world.take_sent();
    let snapshot = world.desk.snapshot();
    world.desk.restore(&snapshot).expect("own snapshot");
    world.input(Input::Start { epoch: EPOCH + 1 });
    let sent = world.take_sent();
    assert!(sent.len() == 2 && sent.iter().all(is_question), "{sent:?}");
    assert_eq!(world.state(id(2)), Some(OrderState::Unknown));
    for command in sent {
        venue.execute(&command).into_iter().for_each(|message| world.input(message));
    }
    assert!(matches!(world.one_sent().kind, CommandKind::Cancel { .. }), "it still works, so it is cancelled again");
}

#[test]
fn a_halt_is_not_forgotten_by_a_fold() {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(limit(1, 2));
    let place = world.one_sent();
    let mut folded = World::new();
    folded.fold(&Decision::Command(place.clone()));
    folded.fold(&Decision::Halted { scope: Scope::All, reason: HaltReason::KillSwitch });
    folded.input(Input::Start { epoch: EPOCH + 1 });
    venue.execute(&place);
    let ask = folded.one_sent();
    venue.execute(&ask).into_iter().for_each(|message| folded.input(message));
    assert!(matches!(folded.one_sent().kind, CommandKind::Cancel { .. }), "it was in flight when the halt came");
}
