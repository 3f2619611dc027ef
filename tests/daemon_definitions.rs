//! The exchange changes its contracts while the daemon runs: the daemon learns of it on a timer, and at once when an order is refused
//! by a rule that it does not know so. Over real sockets.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;

use daemon::until;
use inside::{World, run};
use qcat_core::event::{HaltReason, PauseReason, RunnerState};
use qcat_core::id::SymbolIx;
use qcat_core::instrument::{ContractStatus, Instrument, InstrumentSpec};
use qcat_core::strategy::registry::Registry;
use std::sync::Arc;

fn instrument(world: &World, symbol: u16) -> Instrument {
    world.daemon.lane().read(|engine| engine.universe().instrument(SymbolIx(symbol)).unwrap().clone())
}

fn redefine(world: &World, name: &str, change: impl FnOnce(&mut InstrumentSpec)) {
    assert_eq!(world.exchange.server.exchange(|exchange, _, _| exchange.redefine(name, change)), Ok(true));
}

fn asked(world: &World) -> u64 {
    world.exchange.server.exchange(|exchange, _, _| exchange.info_asked())
}

#[test]
fn an_order_refused_by_a_rule_that_changed_has_the_contracts_learnt_at_once() {
    run(async {
        let exchange = daemon::exchange(21).await;
        // The timer would take an hour.
        let world = World::configured(exchange, |text| text, Arc::new(Registry::builtin()).into()).await;
        world.trades_on().await;
        assert_eq!((asked(&world), instrument(&world, 0).version), (1, 1));
        redefine(&world, "BTCUSDT", |spec| {
            spec.price[0] = "0.70".to_owned();
            spec.price[2] = "0.70".to_owned();
        });
        until("the new tick is not learnt", || instrument(&world, 0).version == 2).await;
        let learnt = instrument(&world, 0);
        assert_eq!(learnt.price_text(learnt.filters.price.tick), "0.7");
        assert_eq!(asked(&world), 2);
        world.stop_and_compare().await;
    });
}

#[test]
fn what_changed_is_learnt_on_a_timer_and_what_cannot_be_traded_any_more_halts() {
    run(async {
        let exchange = daemon::exchange(22).await;
        let often = |text: String| text.replace("exchange:\n", "exchange:\n  definitions_every: 1s\n");
        let world = World::configured(exchange, often, Arc::new(Registry::builtin()).into()).await;
        world.trades_on().await;
        redefine(&world, "ETHUSDT", |spec| spec.status = ContractStatus::Settling);
        // Finer than its scale: the index ends, and the contract goes on under a new one.
        redefine(&world, "BTCUSDT", |spec| {
            spec.quantity_decimals = 4;
            (spec.lot[0], spec.lot[2]) = ("0.0001".to_owned(), "0.0001".to_owned());
            (spec.market_lot[0], spec.market_lot[2]) = ("0.0001".to_owned(), "0.0001".to_owned());
        });
        until("it is not learnt", || world.daemon.lane().read(|e| e.universe().instruments().len() == 3)).await;
        assert_eq!(instrument(&world, 0).status, ContractStatus::Halted);
        assert_eq!(instrument(&world, 1).status, ContractStatus::Settling);
        assert_eq!((instrument(&world, 2).name.as_ref(), instrument(&world, 2).quantity_scale), ("BTCUSDT", 4));
        let halted = RunnerState::Paused(PauseReason::Halt(HaltReason::Instrument));
        until("a strategy goes on", || world.runner(1) == halted && world.runner(2) == halted).await;
        until("nobody is told", || world.seen.count("Halted: symbol 0") == 1).await;
        assert_eq!(world.seen.count("Halted: symbol 1"), 1);
    });
}
