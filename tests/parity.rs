//! The same inputs give the same decisions and the same state; another parameter gives other ones, and the first is named.
#![allow(clippy::unwrap_used)]

use qcat::backtest::{self, Data, Options, Outcome};
use qcat::config;
use qcat_core::engine::parity::{first_difference, report};
use qcat_core::strategy::registry::Registry;
use qcat_core::time::{Span, Ts};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
