//! What an operator does to a running daemon, and between two runs.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command};

#[path = "support/daemon.rs"]
mod daemon;

fn hang_up(child: &Child) {
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
}

/// A halt outlives the process: only a person lifts it.
#[test]
fn a_halt_holds_over_restarts_until_it_is_resumed() {
    daemon::on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let exchange = daemon::exchange(5).await;
        let (config, log) = (folder.path().join("config.yaml"), folder.path().join("log"));
        let text = daemon::configuration(&exchange, &folder.path().join("journal"));
        let told = || std::fs::read_to_string(&log).unwrap();
        let trades = || daemon::trades(&exchange).len();
        let write = |text: &str| std::fs::write(&config, text).unwrap();

        // Any loss at all halts the account.
        write(&text.replace("limits: {", "limits: { daily_loss_max: 0,"));
        let mut running = daemon::spawn_with(&config, &log, &[]);
        daemon::until("no loss halted it", || told().contains("DailyLoss")).await;
        assert_eq!(daemon::stop(&mut running).await.code(), Some(0), "{}", told());

        write(&text);
        let (before, mut running) = (trades(), daemon::spawn_with(&config, &log, &[]));
        daemon::until("it does not say why", || told().contains("halted from before")).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(daemon::stop(&mut running).await.code(), Some(0), "{}", told());
        let positions_closed_at_most = trades() - before;
        assert!(positions_closed_at_most <= 2, "{positions_closed_at_most} trades while halted");

        let (before, mut running) = (trades(), daemon::spawn_with(&config, &log, &["--resume"]));
        daemon::until("it does not trade on", || trades() >= before + 4).await;
        assert_eq!(daemon::stop(&mut running).await.code(), Some(0), "{}", told());
    });
}

/// Neither a hang-up nor a standard error that is gone may end it, or keep it from an orderly stop.
#[test]
fn the_daemon_outlives_its_terminal_and_stops_in_order_without_it() {
    daemon::on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let exchange = daemon::exchange(5).await;
        let config = folder.path().join("config.yaml");
        std::fs::write(&config, daemon::configuration(&exchange, &folder.path().join("journal"))).unwrap();
        let trades = || daemon::trades(&exchange).len();

        // A pipe that nobody reads any more.
        let pipe = folder.path().join("log");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
        let mut running = daemon::spawn_with_log(&config, &pipe);
        daemon::until("nothing was traded", || trades() >= 2).await;
        drop(reader);

        hang_up(&running);
        let before = trades();
        daemon::until("it does not trade on", || trades() >= before + 2).await;
        assert!(running.try_wait().unwrap().is_none(), "it ended");
        let status = daemon::stop(&mut running).await;
        assert_eq!(status.code(), Some(0));
    });
}
