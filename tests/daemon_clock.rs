//! A clock that is absurdly wrong is found before its time is written to the journal. Over real sockets, by the real process.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/proxy.rs"]
mod proxy;

use proxy::Proxy;

#[test]
fn a_start_with_an_absurd_clock_is_refused() {
    daemon::on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let exchange = daemon::exchange(15).await;
        let proxy = Proxy::start(exchange.address).await;
        let text = daemon::configuration(&exchange, &folder.path().join("journal"));
        let config = folder.path().join("config.yaml");
        std::fs::write(&config, text.replace(&exchange.address.to_string(), &proxy.address.to_string())).unwrap();
        // Some thirty years ahead.
        proxy.rewrite(&[(r#""serverTime":1"#, r#""serverTime":2"#)]);
        let mut running = daemon::spawn(&config, folder.path());
        let mut status = None;
        daemon::until("it neither starts nor ends", || {
            status = running.try_wait().unwrap();
            status.is_some()
        })
        .await;
        let log = std::fs::read_to_string(folder.path().join("daemon.log")).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(69), "{log}");
        let told = log.lines().find(|line| line.contains("this machine's clock shows 20")).unwrap();
        assert!(told.contains("the exchange's 20"), "{told}");
        // With a clock that is right it starts on the same journal.
        proxy.rewrite(&[]);
        let mut running = daemon::spawn(&config, folder.path());
        daemon::until("nothing was traded", || daemon::trades(&exchange).len() >= 2).await;
        assert_eq!(daemon::stop(&mut running).await.code(), Some(0));
    });
}
