//! The disk dies at any of its calls in the middle of trading. The next life recovers what is on it, finds out at the venue what
//! happened meanwhile, and goes on: nothing lost, nothing twice, nothing at the venue that the journal does not know.

#[path = "support/journaled.rs"]
mod journaled;

use journaled::*;
use qcat::replay;
use qcat_core::command::{Answer, Query};
use qcat_core::engine::Engine;
use qcat_core::event::{AlertCode, Decision};
use qcat_core::id::OrderKey;
use qcat_core::num::Money;
use qcat_core::order::OrderState;
use qcat_io::disk::{Fault, SimDisk};
use qcat_io::journal::{Durability, Entry};
use std::collections::BTreeSet;
use std::sync::Arc;

const SECONDS: i64 = 12;

/// After a quiet end: the engine and the venue agree, and the journal knows everything that was sent.
fn check(disk: &SimDisk, outside: &Outside, engine: &Engine, what: &str) {
    let (watched, now) = (&outside.watched, engine.now());
    let desk = engine.desk(ACCOUNT).expect("an account");
    let ours: BTreeSet<OrderKey> = desk.orders().map(|order| order.key).collect();
    assert!(desk.orders().all(|o| o.state == OrderState::Working), "{what}: {:?}", desk.orders().collect::<Vec<_>>());
    let Answer::OpenOrders(open) = watched.ask(Query::OpenOrders, now) else { panic!("open orders") };
    let Answer::OpenConditionals(waiting) = watched.ask(Query::OpenConditionals, now) else { panic!("conditionals") };
    let theirs: BTreeSet<OrderKey> = open.iter().map(|o| o.key).chain(waiting.iter().map(|o| o.key)).collect();
    assert_eq!(ours, theirs, "{what}: open orders");
    assert_eq!((desk.unknown_count(), desk.owed_count()), (0, 0), "{what}");

    let ledger = engine.ledger(ACCOUNT).expect("an account");
    let position = watched.venue.position(ACCOUNT, SYMBOL).map_or(0, |p| p.quantity.mantissa());
    assert_eq!(ledger.account_quantity(SYMBOL).mantissa(), position, "{what}: position");
    let own = ledger.virtual_position(STRATEGY, SYMBOL).map_or(0, |p| p.quantity.mantissa());
    assert_eq!(own, position, "{what}: all of it is the strategy's");
    let margin = ledger.margin_asset();
    let wallet = watched.venue.balance(ACCOUNT, margin).expect("a wallet").wallet;
    assert_eq!(ledger.balances().get(margin), wallet, "{what}: balance");
    // Every fill once: fees and profits are sums over fills, and neither was repaired.
    let (mut fees, mut realized) = (Money::zero(margin), Money::zero(margin));
    for trade in watched.trades(now) {
        fees = fees.checked_add(trade.fill.fee.expect("a fee")).expect("small");
        realized = realized.checked_add(trade.fill.realized).expect("small");
    }
    assert_eq!(ledger.fees().get(margin), fees, "{what}: fees");
    assert_eq!(ledger.realized().get(margin), realized, "{what}: profit");

    let mut decided = BTreeSet::new();
    for entry in entries(disk) {
        let Entry::Decisions { decisions, .. } = entry else { continue };
        for decision in decisions {
            match decision {
                Decision::Command(command) => decided.extend(placed([&command].into_iter())),
                Decision::Alert(alert) => {
                    let bad = [
                        AlertCode::PositionRepaired,
                        AlertCode::BookingFailed,
                        AlertCode::ForeignOrder,
                        AlertCode::ImpossibleReport,
                        AlertCode::NodeFault,
                    ];
                    assert!(!bad.contains(&alert.code), "{what}: {alert:?}");
                }
                _ => {}
            }
        }
    }
    let sent = placed(watched.sent.iter());
    let once: BTreeSet<_> = sent.iter().copied().collect();
    assert_eq!(once.len(), sent.len(), "{what}: an id was used twice");
    assert!(once.is_subset(&decided), "{what}: sent without a record: {:?}", once.difference(&decided));
}

fn check_replay(disk: &SimDisk, engine: &Engine, what: &str) {
    let replayed = replay::run(Arc::new(disk.clone()), dir(), registry(), None).expect("replayable");
    assert!(replayed.is_same(), "{what}: {replayed:?}");
    assert_eq!(replayed.state_hash, engine.state_hash(), "{what}: state");
}

/// One run with a crash at a call of the disk, and the life after it.
fn crash_at(call: u64, plan: &Plan, power: bool) {
    let what = format!("{:?}, crash at call {call}, loss of power {power}", plan.durability);
    let disk = SimDisk::new(call);
    disk.plan(Fault::CrashAt(call));
    let first = live(&disk, Outside::new(3, SECONDS), plan, None);
    assert!(first.died.is_some() && disk.crashed(), "{what}: it lived on");
    let survivor = if power { disk.reboot(call ^ 0x5eed) } else { disk.after_kill() };
    let second = live(&survivor, first.outside, plan, None);
    assert_eq!(second.died, None, "{what}");
    let engine = second.engine.expect("it lived");
    check(&survivor, &second.outside, &engine, &what);
    if call.is_multiple_of(5) {
        check_replay(&survivor, &engine, &what);
    }
}

/// Disk calls of a life without a crash, which must be a busy one.
fn calls(plan: &Plan) -> u64 {
    let disk = SimDisk::new(1);
    let end = live(&disk, Outside::new(3, SECONDS), plan, None);
    assert_eq!(end.died, None);
    let calls = disk.calls();
    let engine = end.engine.expect("it lived");
    check(&disk, &end.outside, &engine, "no crash");
    check_replay(&disk, &engine, "no crash");
    let (orders, fills) =
        (placed(end.outside.watched.sent.iter()).len(), end.outside.watched.trades(engine.now()).len());
    assert!(orders > 30 && fills > 15, "{orders} orders and {fills} fills are too few to prove anything");
    calls
}

/// Crashes at calls spread over the whole run, `stride + 1` apart on average: 0 for every call.
fn crashes(durability: Durability, stride: u64, power: bool) {
    let plan = Plan::new(durability);
    let (all, mut dice) = (calls(&plan), stride);
    let mut call = 1;
    while call <= all {
        crash_at(call, &plan, power);
        call += 1 + roll(&mut dice, 2 * stride + 1);
    }
}

#[test]
fn a_loss_of_power_at_any_call_loses_and_doubles_nothing_under_group() {
    crashes(Durability::Group, 1, true);
}

#[test]
fn a_loss_of_power_at_any_call_loses_and_doubles_nothing_under_each() {
    crashes(Durability::Each, 6, true);
}

#[test]
fn the_death_of_the_process_at_any_call_loses_and_doubles_nothing_under_async() {
    crashes(Durability::Async, 3, false);
}
