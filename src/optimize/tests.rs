use super::*;
use crate::backtest::{self, Data};
use qcat_core::optimize::Measures;
use qcat_core::strategy::{Needs, ParamKind, ParamSpec, Strategy, StrategyContext, StrategyEvent, StrategySpec};
use qcat_core::time::{Span, Ts};
use qcat_io::clock::SystemClock;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Ends what hangs.
static RELEASE: AtomicBool = AtomicBool::new(false);

/// Takes `n`: 1 panics when it is built, 2 hangs at its first event, others do nothing.
struct Odd(i64);

impl Strategy for Odd {
    fn needs(&self) -> Needs {
        Needs { quotes: true, ..Needs::default() }
    }

    fn on(&mut self, _event: &StrategyEvent<'_>, _ctx: &mut StrategyContext<'_>) {
        while self.0 == 2 && !RELEASE.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

const ODD: StrategySpec = StrategySpec {
    name: "odd",
    doc: "Fails.",
    params: &[ParamSpec { name: "n", kind: ParamKind::Int { min: 0, max: 3, default: 0 }, doc: "How." }],
    factory: |params| {
        let n = params.int("n")?;
        assert_ne!(n, 1, "of its own");
        Ok(Box::new(Odd(n)))
    },
};

struct Bench {
    folder: tempfile::TempDir,
    handle: OptimizerHandle,
}

fn open(folder: &Path, workers: usize, admit: Admit) -> OptimizerHandle {
    let options = Options {
        data_dir: folder.join("data"),
        results_dir: folder.join("results"),
        workers,
        timeout: Duration::from_secs(600),
        trials_max: 50,
        queue_max: 2,
        keep: 3,
        grace: Duration::from_millis(300),
    };
    let mut registry = Registry::builtin();
    registry.register(ODD).expect("new");
    let daemon = crate::config::parse_offline(
        "daemon",
        "strategies:\n  - name: trend\n    kind: trend_follower\n    symbols: [BTCUSDT]\n    params: { slow_periods: 13 }\n",
    );
    let daemon = Some(daemon.expect("valid"));
    OptimizerHandle::open(options, Arc::new(registry), daemon, admit, Arc::new(SystemClock::new())).expect("opened")
}

fn bench(workers: usize) -> Bench {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("made");
    let handle = open(folder.path(), workers, Arc::new(|| Ok(())));
    Bench { folder, handle }
}

impl Bench {
    /// Serves until `wanted` is true.
    fn until(&self, wanted: impl Fn(&OptimizerHandle) -> bool) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let server = scope.spawn(|| self.handle.serve(&stop, &mut || {}));
            while !wanted(&self.handle) {
                assert!(!server.is_finished(), "it serves until it is told to stop");
                std::thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::SeqCst);
        });
    }

    fn over(&self, id: Uuid) -> JobRecord {
        self.until(|handle| handle.get(id).is_some_and(|record| record.state.is_over()));
        self.handle.get(id).expect("kept")
    }

    fn invalid(&self, job: serde_json::Value) -> String {
        self.handle.submit(read(job)).expect_err("refused").to_string()
    }
}

fn read(job: serde_json::Value) -> Job {
    serde_json::from_value(job).expect("a job")
}

fn trend(minutes: u32) -> serde_json::Value {
    serde_json::json!({
        "strategy": "trend",
        "space": { "fast_periods": { "from": 3, "to": 9, "step": 3 }, "side": { "values": ["long", "short"] } },
        "data": { "generated": { "seed": 3, "minutes": minutes } },
        "metric": "total_return",
    })
}

fn odd(values: &[i64]) -> serde_json::Value {
    serde_json::json!({
        "kind": "odd", "symbols": ["BTCUSDT"], "space": { "n": { "values": values } }, "trades_min": 0,
        "data": { "generated": { "seed": 3, "minutes": 1 } }, "metric": "round_trips",
    })
}

#[test]
fn the_best_of_the_grid_is_the_best_of_as_many_backtests() {
    let bench = bench(2);
    let record = bench.over(bench.handle.submit(read(trend(2))).expect("taken").id);
    assert_eq!((record.state, record.done, record.total, &record.error), (JobState::Finished, 6, 6, &None));
    let mut expected = Vec::new();
    for fast in [3, 6, 9] {
        for side in ["long", "short"] {
            let text = format!(
                "strategies:\n  - name: trend\n    kind: trend_follower\n    symbols: [BTCUSDT]\n    params: {{ \
                 slow_periods: 13, fast_periods: {fast}, side: {side} }}\n"
            );
            let config = crate::config::parse_offline("test", &text).expect("valid");
            let start = Ts::from_millis(1_723_075_200_000);
            let options = backtest::Options {
                data: Data::Generated { seed: 3, start, length: Span::from_secs(120) },
                balance: "10000".to_owned(),
                fees: backtest::fees(2.0, 5.0).expect("rates"),
                latency: Span::from_millis(5),
                keep_log: false,
                stop: Arc::default(),
            };
            let outcome = backtest::run(&config, Arc::new(Registry::builtin()), &options).expect("it runs");
            expected.push(Measures::of(&outcome.summary));
        }
    }
    let found: Vec<Measures> = record.trials.iter().filter_map(|trial| trial.measures.clone()).collect();
    assert_eq!(found, expected, "the trials are the backtests, in the order of the grid");
    let traded = expected.iter().filter(|measures| measures.round_trips > 0);
    let best = traded.filter_map(|measures| measures.total_return).max_by(f64::total_cmp).expect("one trades");
    assert_eq!(record.best.as_ref().and_then(|trial| trial.score), Some(best));
    assert!(expected.iter().any(|measures| measures.total_return != Some(best)), "parameters make a difference");
    // The same job has the same result, and after a restart it is still there.
    let again = bench.over(bench.handle.submit(read(trend(2))).expect("taken").id);
    assert_eq!((&again.trials, &again.best), (&record.trials, &record.best));
    let reopened = open(bench.folder.path(), 1, Arc::new(|| Ok(())));
    assert_eq!(reopened.get(record.id), Some(record));
    assert_eq!(reopened.list().iter().map(|r| (r.id, r.trials.len())).collect::<Vec<_>>()[0], (again.id, 0));
}

#[test]
fn a_job_is_cancelled_while_it_runs_and_while_it_waits() {
    let bench = bench(1);
    let [running, waiting] = [500_000, 1].map(|minutes| bench.handle.submit(read(trend(minutes))).expect("taken").id);
    bench.handle.cancel(waiting).expect("it waits");
    bench.until(|handle| {
        if handle.get(running).is_some_and(|record| record.state == JobState::Running) {
            let _ = handle.cancel(running);
        }
        handle.load() == (0, 0, 0)
    });
    let states = [running, waiting].map(|id| bench.handle.get(id).map(|record| record.state));
    assert_eq!(states, [Some(JobState::Cancelled); 2]);
    assert_eq!(bench.handle.cancel(running), Err(CancelError::Over));
    assert_eq!(bench.handle.cancel(Uuid::nil()), Err(CancelError::Unknown));
}

#[test]
fn a_job_ends_at_its_deadline_and_a_stop_interrupts_it() {
    let bench = bench(1);
    let mut job = trend(500_000);
    job["timeout_seconds"] = 1.into();
    let record = bench.over(bench.handle.submit(read(job)).expect("taken").id);
    assert_eq!((record.state, record.done), (JobState::TimedOut, 0));
    let id = bench.handle.submit(read(trend(500_000))).expect("taken").id;
    bench.until(|handle| handle.load().0 == 1);
    assert_eq!(bench.handle.get(id).map(|record| record.state), Some(JobState::Interrupted));
    // As if the process had been killed in the middle.
    let path = bench.folder.path().join(format!("results/{id}.json"));
    let text = std::fs::read_to_string(&path).expect("kept");
    std::fs::write(&path, text.replace("\"interrupted\"", "\"running\"")).expect("written");
    std::fs::write(bench.folder.path().join("results/broken.json"), "{").expect("written");
    let reopened = open(bench.folder.path(), 1, Arc::new(|| Ok(())));
    assert_eq!(
        reopened.list().iter().map(|r| r.state).collect::<Vec<_>>(),
        [JobState::Interrupted, JobState::TimedOut]
    );
}

#[test]
fn a_trial_that_panics_fails_and_one_that_hangs_is_left_behind() {
    let bench = bench(1);
    let record = bench.over(bench.handle.submit(read(odd(&[1, 0]))).expect("taken").id);
    assert_eq!(record.state, JobState::Finished);
    assert!(record.trials[0].error.as_ref().is_some_and(|error| error.contains("it panicked")), "{record:?}");
    assert_eq!(record.best.map(|trial| trial.number), Some(1));
    let record = bench.over(bench.handle.submit(read(odd(&[1]))).expect("taken").id);
    assert_eq!(record.state, JobState::Failed);
    assert!(record.error.is_some_and(|error| error.contains("no trial could run; the first: it panicked")));
    let mut job = odd(&[2]);
    job["timeout_seconds"] = 1.into();
    let record = bench.over(bench.handle.submit(read(job)).expect("taken").id);
    assert_eq!(record.error.as_deref(), Some("a trial hung and was left behind"));
    assert_eq!((record.state, bench.handle.load()), (JobState::TimedOut, (0, 0, 1)));
    // Others go on, and the oldest record made room.
    let record = bench.over(bench.handle.submit(read(odd(&[0]))).expect("taken").id);
    assert_eq!((record.state, bench.handle.list().len()), (JobState::Finished, 3));
    assert_eq!(std::fs::read_dir(bench.folder.path().join("results")).expect("listed").count(), 3);
    RELEASE.store(true, Ordering::SeqCst);
}

#[test]
fn data_that_is_missing_or_broken_is_told_and_nothing_outside_is_read() {
    let bench = bench(1);
    let dir = bench.folder.path().join("data");
    let with = |name: &str| {
        let mut job = trend(1);
        job["data"] = serde_json::json!({ "file": name });
        job
    };
    assert!(bench.invalid(with("btc.gz")).contains("no file `btc.gz` in optimizer.data_dir"));
    assert!(bench.invalid(with("btc.gz")).ends_with("it is empty"));
    std::fs::write(dir.join("a.txt"), "nonsense\n").expect("written");
    std::fs::write(bench.folder.path().join("secret"), "x").expect("written");
    std::os::unix::fs::symlink(bench.folder.path().join("secret"), dir.join("link")).expect("linked");
    let absolute = bench.folder.path().join("secret").display().to_string();
    for name in ["../secret", "link", &absolute, "", ".", "data/../../secret"] {
        assert!(bench.invalid(with(name)).contains("there are: a.txt, link"), "{name}");
    }
    let record = bench.over(bench.handle.submit(read(with("a.txt"))).expect("taken").id);
    assert_eq!(record.state, JobState::Failed);
    assert!(record.error.as_ref().is_some_and(|error| error.contains("a.txt")), "{:?}", record.error);
    std::fs::write(dir.join("gone"), "x").expect("written");
    let id = bench.handle.submit(read(with("gone"))).expect("taken").id;
    std::fs::remove_file(dir.join("gone")).expect("removed");
    let record = bench.over(id);
    assert!(record.state == JobState::Failed && record.error.is_some_and(|error| error.contains("gone")));
}

#[test]
fn what_cannot_run_is_refused_with_everything_that_is_wrong() {
    let bench = bench(1);
    let mut job = trend(1);
    job["space"]["fast_periods"]["to"] = 5_000.into();
    job["space"]["slwo_periods"] = serde_json::json!({ "values": [1] });
    job["params"] = serde_json::json!({ "side": "long", "notional": 0 });
    job["timeout_seconds"] = 601.into();
    let told = bench.invalid(job);
    for part in [
        "params.side: it stands in `space` too",
        "`slwo_periods` (did you mean `slow_periods`?)",
        "`fast_periods`: 5000 is out of range; allowed: a whole number from 1 to 1000",
        "`notional`: 0 is out of range",
        "timeout_seconds: found 601, allowed: 1 to 600",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let both = serde_json::json!({ "strategy": "trend", "kind": "odd", "space": {}, "data": { "file": "x" }, "metric": "sharpe" });
    assert!(bench.invalid(both).contains("either `strategy`, or `kind` and `symbols`"));
    let mut job = trend(1);
    job["strategy"] = "other".into();
    assert!(bench.invalid(job).contains("no strategy `other` is configured; configured: trend"));
    let mut job = odd(&[0]);
    job["kind"] = "ood".into();
    assert!(bench.invalid(job).contains("unknown strategy `ood`"));
    let mut job = trend(1);
    job["space"]["slow_periods"] = serde_json::json!({ "from": 2, "to": 90, "step": 1 });
    assert!(bench.invalid(job).contains("534 trials"), "bounded");
    assert!(serde_json::from_value::<Job>(serde_json::json!({ "strategy": "trend", "spcae": {} })).is_err());
    // The queue is bounded, and short memory keeps jobs away.
    for _ in 0..2 {
        bench.handle.submit(read(trend(1))).expect("taken");
    }
    assert_eq!(bench.handle.submit(read(trend(1))), Err(SubmitError::Full(2)));
    let short = open(bench.folder.path(), 1, Arc::new(|| Err("memory is short".to_owned())));
    assert_eq!(short.submit(read(trend(1))), Err(SubmitError::NotNow("memory is short".to_owned())));
}
