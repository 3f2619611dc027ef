//! How the account is set up at the exchange is read at the start: where it differs from the configuration nothing is traded, and a
//! person is told what was found, what is wanted and how to mend it. Over real sockets.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;
#[path = "support/proxy.rs"]
mod proxy;

use daemon::until;
use inside::{ACCOUNT, World, run};
use proxy::Proxy;
use qcat_core::event::{Input, OperatorCommand};
use qcat_core::strategy::registry::Registry;
use std::sync::Arc;

/// The exchange's word, what the daemon hears instead, and what it has to tell.
struct Case(&'static str, &'static str, &'static str);

const CASES: [Case; 4] = [
    Case(
        r#""dualSidePosition":false"#,
        r#""dualSidePosition":true "#,
        "position mode is hedge, wanted is one_way (change it at the exchange while the account has no position and no open order, or set `position_mode: hedge`)",
    ),
    Case(
        r#""multiAssetsMargin":false"#,
        r#""multiAssetsMargin":true "#,
        "multi-assets mode is true, wanted is false (change it at the exchange, or set `multi_assets: true`)",
    ),
    Case(
        r#""marginType":"CROSSED","isAutoAddMargin":false"#,
        r#""marginType":"ISOLATED","isAutoAddMargin":true"#,
        "margin type of BTCUSDT is isolated, wanted is cross (change it at the exchange while the symbol has no position and no open order, or set `margin_type: isolated`)",
    ),
    Case(
        r#""leverage":20"#,
        r#""leverage":50"#,
        "leverage of BTCUSDT is 50, wanted is 20 (change it at the exchange, or set `leverage: 50`)",
    ),
];

async fn refuses(cases: &[&Case]) {
    let exchange = daemon::exchange(15).await;
    let proxy = Proxy::start(exchange.address).await;
    proxy.rewrite(&cases.iter().map(|case| (case.0, case.1)).collect::<Vec<_>>());
    let world = World::start(exchange, proxy.address, "", Arc::new(Registry::builtin()).into()).await;
    until("nobody was told", || world.seen.count("SettingsDiffer") > 0).await;
    // Asked again it finds the same, and says it once.
    world.daemon.lane().offer(Input::Command(OperatorCommand::Reconcile(ACCOUNT)));
    until("it is not asked again", || world.daemon.lane().read(|e| e.reconciler(ACCOUNT).unwrap().is_running())).await;
    until("it hangs", || world.daemon.lane().read(|e| !e.reconciler(ACCOUNT).unwrap().is_running())).await;
    assert!(!world.is_trusted());
    assert_eq!(daemon::trades(&world.exchange).len() as u64 + world.daemon.recent().orders, 0);
    let told =
        world.seen.0.borrow().iter().filter(|seen| seen.starts_with("SettingsDiffer")).cloned().collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{told:?}");
    let wanted = cases.iter().map(|case| case.2).collect::<Vec<_>>().join("; ");
    let whole = format!(
        "SettingsDiffer: the account does not trade: it is not set up at the exchange as the configuration wants it: {wanted}"
    );
    assert_eq!(told[0], whole);
    // Mended, it trades.
    proxy.rewrite(&[]);
    world.daemon.lane().offer(Input::Command(OperatorCommand::Reconcile(ACCOUNT)));
    world.trades_on().await;
    world.stop_and_compare().await;
}

#[test]
fn the_position_mode_is_read_at_the_start() {
    run(refuses(&[&CASES[0]]));
}

#[test]
fn the_multi_assets_mode_is_read_at_the_start() {
    run(refuses(&[&CASES[1]]));
}

#[test]
fn the_margin_type_is_read_at_the_start() {
    run(refuses(&[&CASES[2]]));
}

#[test]
fn the_leverage_is_read_at_the_start() {
    run(refuses(&[&CASES[3]]));
}

#[test]
fn all_differences_are_told_at_once() {
    run(refuses(&[&CASES[0], &CASES[1], &CASES[2], &CASES[3]]));
}
