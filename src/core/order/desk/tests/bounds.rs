//! Legal inputs of any size are never more than a step may emit.

use super::venue::Venue;
use super::world::{ACCOUNT, BTC, World, id, limit, price, quantity};
use crate::command::{Answer, CommandKind, Outcome, Query, QueryAnswer, RequestOutcome};
use crate::event::{Event, HaltReason, Input, Scope};
use crate::id::{ForeignId, OrderKey, TradeId, VenueOrderId};
use crate::num::{Money, Side};
use crate::order::reconcile::Finding;
use crate::order::{
    ExecutionType, OrderReport, OrderState, OrderStatus, PositionSide, ReportedFill, Terms, TimeInForce, TradeRecord,
};
use crate::time::{Span, Ts};
use std::collections::BTreeSet;

/// The most rows that the exchange gives at once.
const PAGE: i64 = 1000;

fn rows(venue_id: VenueOrderId) -> Vec<TradeRecord> {
    let row = |n| TradeRecord {
        symbol: BTC,
        venue_id,
        side: Side::Buy,
        position_side: PositionSide::Both,
        fill: ReportedFill {
            trade_id: TradeId(n),
            price: price(100),
            quantity: quantity(1),
            maker: true,
            fee: None,
            realized: Money::zero(crate::id::AssetIx(0)),
            exchange_time: Ts::from_millis(n),
        },
    };
    (1..=PAGE).map(row).collect()
}

/// A world with an order at the venue, and its number there.
fn working() -> (World, Venue, VenueOrderId) {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    world.place(limit(1, PAGE));
    let place = world.one_sent();
    let messages = venue.execute(&place);
    let number = messages.iter().find_map(|message| match message {
        Input::Report(crate::command::Report::Order(report)) => Some(report.venue_id),
        _ => None,
    });
    messages.into_iter().for_each(|message| world.input(message));
    assert_eq!(world.state(id(1)), Some(OrderState::Working));
    (world, venue, number.expect("a report"))
}

fn booked_once(world: &World) {
    let ids: BTreeSet<TradeId> = world.fills.iter().map(|fill| fill.trade_id).collect();
    assert_eq!((ids.len(), world.fills.len()), (PAGE as usize, PAGE as usize));
}

#[test]
fn a_full_page_of_new_trades_is_booked_whole() {
    for stranger in [false, true] {
        let (mut world, _, number) = working();
        let trades = rows(if stranger { VenueOrderId(999_999) } else { number });
        world.event(&Event::Finding(Finding::Trades { account: ACCOUNT, trades }));
        booked_once(&world);
    }
}

#[test]
fn a_full_page_that_a_search_brings_is_booked_whole_before_the_search_ends() {
    let (mut world, mut venue, number) = working();
    // The order is reported filled; the fills themselves were lost.
    let filled = venue.fill(0, quantity(PAGE));
    for message in filled {
        if let Input::Report(crate::command::Report::Order(mut report)) = message {
            report.fill = None;
            world.input(Input::Report(crate::command::Report::Order(report)));
        }
    }
    world.take_sent();
    world.pass(Span::from_secs(1));
    let mut pages = vec![rows(number)];
    while world.desk.owed_count() > 0 {
        for command in world.take_sent() {
            let CommandKind::Query(Query::Trades { symbol, .. }) = command.kind else { continue };
            let trades = pages.pop().unwrap_or_default();
            let result = Ok(Answer::Trades { symbol, trades, complete: true });
            world.input(Input::Answer(QueryAnswer { command: command.id, account: ACCOUNT, result }));
        }
        world.fire();
    }
    booked_once(&world);
}

#[test]
fn a_thousand_foreign_orders_are_listed_at_once() {
    let (mut world, _, _) = working();
    let foreign = |n: i64| OrderReport {
        account: ACCOUNT,
        symbol: BTC,
        key: OrderKey::Foreign(ForeignId::new(&format!("web-{n}"))),
        venue_id: VenueOrderId(1_000_000 + n),
        side: Side::Sell,
        position_side: PositionSide::Both,
        terms: Terms::Limit { price: price(200), time_in_force: TimeInForce::Gtc },
        quantity: quantity(1),
        reduce_only: false,
        execution: ExecutionType::Status,
        status: OrderStatus::New,
        filled: quantity(0),
        fill: None,
        expiry_reason: 0,
        exchange_time: Ts::from_millis(n),
    };
    let orders: Vec<OrderReport> = (0..PAGE).map(foreign).collect();
    world.pass(Span::from_secs(1));
    let asked_at = world.now;
    world.event(&Event::Finding(Finding::OpenOrders { account: ACCOUNT, asked_at, orders }));
    assert_eq!(world.desk.orders().count(), 1 + PAGE as usize);
    let questions = world.take_sent();
    assert_eq!(questions.len(), 1, "ours is not in the list: {questions:?}");
}

#[test]
fn a_halt_cancels_any_number_of_entries() {
    let (mut world, mut venue) = (World::new(), Venue { tick: 1, ..Venue::default() });
    const ORDERS: u32 = 1500;
    for counter in 1..=ORDERS {
        world.place(limit(counter, 1));
        let place = world.one_sent();
        venue.execute(&place).into_iter().for_each(|message| world.input(message));
    }
    world.event(&Event::Halted { scope: Scope::All, reason: HaltReason::KillSwitch });
    world.pass(Span::from_millis(10));
    let sent = world.take_sent();
    let keys: BTreeSet<OrderKey> = sent
        .iter()
        .filter_map(|c| if let CommandKind::Cancel { key, .. } = c.kind { Some(key) } else { None })
        .collect();
    assert_eq!((keys.len(), sent.len()), (ORDERS as usize, ORDERS as usize), "each once");
    for command in sent {
        let outcome = Outcome::LinkLost;
        world.input(Input::Outcome(RequestOutcome { command: command.id, account: ACCOUNT, outcome }));
    }
}
