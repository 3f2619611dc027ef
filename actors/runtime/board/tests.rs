#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::testkit::*;
use qcat_core::event::HaltReason;
use qcat_io::journal::Durability;

fn order(world: &World) -> OrderRow {
    for _ in 0..4 {
        if let Some(order) = Board::take(&world.lane).orders.first() {
            return order.clone();
        }
        world.quote();
        world.settle();
    }
    panic!("the strategy keeps an order on the book");
}

#[test]
fn a_trading_account_is_shown_with_exact_texts() {
    let world = World::running(&["steady"], Durability::Async, None);
    let order = order(&world);
    let board = Board::take(&world.lane);
    assert!(board.trading_ready, "{:?}", board.not_ready);
    assert_eq!(board.seq, world.lane.view().seq);
    assert!(board.at.ends_with('Z'), "{}", board.at);

    assert_eq!((order.side, order.quantity.as_str(), order.state), ("buy", "0.01", "working"));
    assert_eq!((order.filled.as_str(), order.open.as_str()), ("0", "0.01"));
    assert_eq!(order.strategy, "steady0");
    // A thousand cents below the best bid, by the contract's own scale.
    let price: f64 = order.price.as_deref().unwrap().parse().unwrap();
    assert!((49_990.0..50_000.0).contains(&price), "{price}");

    let account = &board.accounts[0];
    let shown = (account.reconciled, account.trading, account.wallet.as_deref(), account.equity.as_deref());
    assert_eq!(shown, (true, true, Some("100000"), Some("100000")));
    assert_eq!((account.asset.as_str(), account.balances[0].wallet.as_str()), ("USDT", "100000"));
    assert_eq!(account.balances[0].transfers, "100000");

    let [steady] = &board.strategies[..] else { panic!("one strategy") };
    assert_eq!((steady.state, steady.account.as_str()), (Some("running"), account.name.as_str()));
    assert!(board.risk[0].ready && board.risk[0].budget_version.is_some());
    assert_eq!(board.risk[0].exposures[0].symbol, steady.symbols[0]);
    // What goes to other threads holds nothing of this one.
    fn free<T: Send + Sync + 'static>(_: &T) {}
    free(&board);
}

#[test]
fn what_is_not_known_is_null_and_the_reasons_are_named() {
    let world = World::new(&["steady", "trend_follower"], Durability::Async, None);
    let board = Board::take(&world.lane);
    let [_, trend] = &board.strategies[..] else { panic!("two strategies") };
    assert_eq!((trend.state, trend.reason), (Some("paused"), Some("not_reconciled")));
    assert!(trend.params.as_ref().is_some_and(|params| !params.is_empty()), "{:?}", trend.params);
    assert!(!board.trading_ready);
    assert!(board.not_ready.iter().any(|why| why.contains("not reconciled")), "{:?}", board.not_ready);
    assert!(board.not_ready.iter().any(|why| why.contains("budget")), "{:?}", board.not_ready);
    assert_eq!((board.positions.len(), board.orders.len()), (0, 0));
    assert_eq!(board.accounts[0].margin_ratio, None);
}

#[test]
fn a_halt_is_shown_where_it_stands_and_why() {
    let world = World::running(&["steady"], Durability::Async, None);
    world.lane.latch().set(HaltReason::KillSwitch);
    world.settle();
    let board = Board::take(&world.lane);
    assert_eq!(board.halts, [HaltRow { scope: "all", name: None, reason: "kill_switch" }]);
    let halted = |why: &String| why.ends_with("everything is halted: kill_switch");
    assert!(!board.trading_ready && board.not_ready.iter().any(halted), "{:?}", board.not_ready);
    assert_eq!((board.strategies[0].state, board.strategies[0].reason), (Some("paused"), Some("kill_switch")));
}

#[test]
fn many_readers_cost_one_copy_and_none_reads_an_old_one() {
    let world = World::running(&["steady"], Durability::Async, None);
    let mut boards = Boards::default();
    let first = boards.get(&world.lane);
    world.quote();
    world.settle();
    assert!(Arc::ptr_eq(&first, &boards.get(&world.lane)));
    world.clock.advance(BOARD_AGE_MAX);
    let second = boards.get(&world.lane);
    assert!(second.seq > first.seq);
    assert_eq!(second.seq, world.lane.view().seq);
}
