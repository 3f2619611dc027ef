//! The same inputs give the same decisions and the same state, in the driver and in the daemon over sockets; another parameter
//! gives other ones, and the first is named.
#![allow(clippy::unwrap_used)]

use qcat::backtest::{self, Data, Options, Outcome};
use qcat::{config, replay};
use qcat_core::engine::parity::{first_difference, report};
use qcat_core::strategy::registry::Registry;
use qcat_core::time::{Span, Ts};
use qcat_io::disk::RealDisk;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

#[path = "support/daemon.rs"]
mod daemon;

const BOTH: &str = "strategies:\n  - name: trend\n    kind: trend_follower\n    symbols: [BTCUSDT]\n  - name: reversion\n    \
                    kind: mean_reverter\n    symbols: [BTCUSDT]\n";

fn run(strategies: &str, data: Data) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("strategies.yaml");
    std::fs::write(&file, strategies).unwrap();
    let config = config::load_offline(&file).unwrap();
    let options = Options {
        data,
        balance: "10000".to_owned(),
        fees: backtest::fees(2.0, 5.0).unwrap(),
        latency: Span::from_millis(5),
        keep_log: true,
        stop: Arc::default(),
    };
    backtest::run(&config, Arc::new(Registry::builtin()), &options).unwrap()
}

fn generated() -> Data {
    Data::Generated { seed: 7, start: Ts::from_millis(1_723_075_200_000), length: Span::from_secs(90) }
}

fn assert_same(data: &Data, trades: bool) {
    let (first, second) = (run(BOTH, data.clone()), run(BOTH, data.clone()));
    assert_eq!(report(&first.log, &second.log), format!("both runs made the same {} decisions", first.decisions));
    assert_eq!((first.trail, first.state_hash), (second.trail, second.state_hash));
    assert_eq!((first.inputs, first.fills.len()), (second.inputs, second.fills.len()));
    assert!(first.decisions > 0 && first.inputs > 500, "{} inputs, {} decisions", first.inputs, first.decisions);
    if trades {
        assert!(first.by_strategy.iter().all(|(_, fills)| *fills > 0), "{:?}", first.by_strategy);
    }
}

#[test]
fn a_generated_market_gives_the_same_decisions_twice() {
    assert_same(&generated(), true);
}

/// Equity, fees and the curve of two accounts are those of both: with one strategy each they earn what they earn alone.
#[test]
fn accounts_of_a_backtest_are_added_up() {
    let accounts = "accounts:\n  - {name: a, leverage: 7}\n  - {name: b}\n";
    let one = |kind: &str, account: &str| {
        format!("  - {{name: {kind}, kind: {kind}, account: {account}, symbols: [BTCUSDT]}}\n")
    };
    let (trend, reversion) = (one("trend_follower", "a"), one("mean_reverter", "b"));
    let of = |strategies: &str| run(&format!("{accounts}strategies:\n{strategies}"), generated());
    let (both, first, second) = (of(&(trend.clone() + &reversion)), of(&trend), of(&reversion));
    assert!(both.by_strategy.iter().all(|(_, fills)| *fills > 0), "{:?} {:?}", both.by_strategy, both.alerts);
    assert_eq!(both.fills.len(), first.fills.len() + second.fills.len());
    assert_eq!(both.summary.initial_equity.to_string(), "20000");
    let net = |outcome: &Outcome| outcome.summary.net_profit;
    assert_eq!(net(&both), net(&first).checked_add(net(&second)).unwrap());
    assert!(!net(&first).is_zero() && !net(&second).is_zero() && both.alerts.is_empty());
}

#[test]
fn a_recording_gives_the_same_decisions_twice() {
    let slice = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recorded/usdm_btcusdt_20240808_head.gz");
    assert_same(&Data::File(slice), false);
    match std::env::var_os("QCAT_TEST_DATA") {
        Some(folder) => {
            let whole = PathBuf::from(folder).join("recorded/usdm_btcusdt_20240808.gz");
            assert_same(&Data::File(whole), false);
        }
        None => eprintln!("SKIPPED: QCAT_TEST_DATA is not set, the whole recording is not run"),
    }
}

#[test]
fn another_parameter_is_seen_at_the_first_decision_that_it_changes() {
    let changed = BOTH.replace("kind: mean_reverter\n", "kind: mean_reverter\n    params:\n      notional: 333\n");
    let (first, second) = (run(BOTH, generated()), run(&changed, generated()));
    let difference = first_difference(&first.log, &second.log).unwrap();
    let text = report(&first.log, &second.log);
    assert!(text.starts_with(&format!("decision {} is the first that differs", difference.position)), "{text}");
    let (first, second) = (format!("{:?}", difference.first.unwrap().1), format!("{:?}", difference.second.unwrap().1));
    // Everything before was the same, so it is the first order of the changed strategy, and only its size differs.
    assert!(first.starts_with("Command(") && first.contains("Place(") && second.contains("Place("), "{text}");
    assert!(text.contains(&first) && text.contains(&second), "{text}");
}

/// The hash of its last state, as the daemon tells it when it stops.
fn told_hash(directory: &Path) -> u64 {
    let log = std::fs::read_to_string(directory.join("daemon.log")).unwrap();
    let line = log.lines().find(|line| line.contains("the last state")).unwrap_or_else(|| panic!("{log}"));
    let (_, hash) = line.split_once("state_hash=").unwrap();
    u64::from_str_radix(hash.trim(), 16).unwrap()
}

fn qcat(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_qcat")).args(arguments.iter().map(|a| a.as_ref())).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_daemon_over_sockets_and_the_replay_of_its_journal_agree() {
    daemon::on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let (journal, config) = (folder.path().join("journal"), folder.path().join("config.yaml"));
        let exchange = daemon::exchange(11).await;
        std::fs::write(&config, daemon::configuration(&exchange, &journal)).unwrap();
        let trades = || daemon::trades(&exchange).len();
        // The second life ends by a kill.
        for (life, killed) in [false, true, false, false].into_iter().enumerate() {
            let (before, mut running) = (trades(), daemon::spawn(&config, folder.path()));
            daemon::until("nothing was traded", || trades() >= before + 4).await;
            if killed {
                running.kill().unwrap();
                running.wait().unwrap();
                continue;
            }
            let status = daemon::stop(&mut running).await;
            assert_eq!(status.code(), Some(0), "life {life}");
            let replayed = replay::run(Arc::new(RealDisk), &journal, Arc::new(Registry::builtin()), None).unwrap();
            assert!(replayed.is_same(), "life {life}: {:?} {:?}", replayed.difference, replayed.fault);
            assert_eq!(replayed.starts, life as u64 + 1);
            assert!(replayed.decisions >= 4 && replayed.inputs > 20, "{replayed:?}");
            assert_eq!(format!("{:016x}", replayed.state_hash), format!("{:016x}", told_hash(folder.path())));
        }
        first_difference_is_printed(&journal, folder.path());
    });
}

fn first_difference_is_printed(journal: &Path, folder: &Path) {
    let (code, same) = qcat(&[&"replay", &journal]);
    assert!(code == Some(0) && same.contains("\nsame decisions\n"), "{code:?} {same}");
    assert!(same.contains(&format!("\nstate_hash        {:016x}\n", told_hash(folder))), "{same}");
    let changed = folder.join("changed.yaml");
    std::fs::write(&changed, daemon::STRATEGIES.replace("rest_secs: 0", "rest_secs: 0, notional: 333")).unwrap();
    let (code, text) = qcat(&[&"replay", &journal, &"--strategy", &changed]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" is the first that differs\n  recorded:   input "), "{text}");
    // Everything before was the same, so it is the first order of the changed strategy, and only its size differs.
    let sides: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("rec")).collect();
    assert!(sides.len() == 2 && sides.iter().all(|side| side.contains("Place(")), "{text}");
    assert_ne!(sides[0], sides[1]);
}
