//! Which market streams the daemon takes, over real sockets: what the journal holds of them.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;

use inside::{World, run};
use qcat_core::event::Input;
use qcat_core::market::MarketEvent;
use qcat_core::strategy::registry::Registry;
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Entry, Reader};
use std::sync::Arc;

/// Trades and aggregate trades that were admitted.
fn admitted(world: &World) -> (u64, u64) {
    let mut reader = Reader::open(Arc::new(RealDisk), &world.journal).unwrap();
    let (mut single, mut aggregate) = (0, 0);
    while let Some(entry) = reader.next_entry().unwrap() {
        let Entry::Input(admitted) = entry else { continue };
        let Input::Market(input) = admitted.input else { continue };
        match input.event {
            MarketEvent::Trade(_) => single += 1,
            MarketEvent::AggTrade(_) => aggregate += 1,
            _ => {}
        }
    }
    (single, aggregate)
}

#[test]
fn strategies_trade_on_aggregate_trades_as_on_single_ones() {
    for (trades, aggregate) in [("single", false), ("aggregate", true)] {
        run(async {
            let exchange = daemon::exchange(31).await;
            let more = |text: String| text + &format!("market_data: {{ trades: {trades} }}\n");
            let world = World::configured(exchange, more, Arc::new(Registry::builtin()).into()).await;
            world.trades_on().await;
            world.stop_and_compare().await;
            let (single, aggregated) = admitted(&world);
            assert_eq!(
                (single > 0, aggregated > 0),
                (!aggregate, aggregate),
                "{single} single, {aggregated} aggregate"
            );
        });
    }
}
