//! A hang-up and a standard error that is gone must not end a daemon that trades, nor keep it from an orderly stop.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command};

#[path = "support/daemon.rs"]
mod daemon;

fn hang_up(child: &Child) {
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
}

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
