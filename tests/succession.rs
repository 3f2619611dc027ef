//! A journal stays with its exchange, and a name in it with what it holds.
#![allow(clippy::unwrap_used)]

#[path = "support/daemon.rs"]
mod daemon;

#[test]
fn a_journal_keeps_its_exchange_and_a_strategy_its_orders_whatever_the_file_says() {
    daemon::on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let (exchange, other) = (daemon::exchange(3).await, daemon::exchange(3).await);
        let (journal, config) = (folder.path().join("journal"), folder.path().join("config.yaml"));
        let write = |text: &str| std::fs::write(&config, text).unwrap();
        let log = || std::fs::read_to_string(folder.path().join("daemon.log")).unwrap();
        let text = daemon::configuration(&exchange, &journal);
        write(&text);
        let trades = || daemon::trades(&exchange).len();

        let mut running = daemon::spawn(&config, folder.path());
        daemon::until("nothing was traded", || trades() >= 4).await;
        assert_eq!(daemon::stop(&mut running).await.code(), Some(0), "{}", log());

        write(&daemon::configuration(&other, &journal));
        assert_eq!(daemon::ended(&mut daemon::spawn(&config, folder.path())).await.code(), Some(78), "{}", log());
        assert!(log().contains("belongs to the exchange at") && log().contains("exchange.rest_url"), "{}", log());
        assert!(daemon::trades(&other).is_empty());

        write(&text.replace("name: sim,", "name: another,"));
        assert_eq!(daemon::ended(&mut daemon::spawn(&config, folder.path())).await.code(), Some(78), "{}", log());
        assert!(log().contains("account 1 was `sim` in this journal"), "{}", log());

        // The strategies in the other order: each goes on with its own.
        let (head, strategies) = text.split_once("strategies:\n").unwrap();
        let (first, second) = strategies.split_at(strategies.find("- { name: trend").unwrap());
        write(&format!("{head}strategies:\n{second}{first}"));
        let (before, mut running) = (trades(), daemon::spawn(&config, folder.path()));
        daemon::until("nothing was traded", || trades() >= before + 4).await;
        assert_eq!(daemon::stop(&mut running).await.code(), Some(0), "{}", log());
        let past = daemon::fold(&journal);
        let names: Vec<&str> = past.engine.config().strategies.iter().map(|s| &*s.name).collect();
        assert_eq!(names, ["quick", "trend"]);
    });
}
