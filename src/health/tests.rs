use super::*;
use qcat_core::health::CheckStatus;
use qcat_io::clock::SimClock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

/// Short enough for a test, and without retries.
const OPTIONS: Options = Options {
    rules: CheckRules {
        interval: Span::from_millis(5),
        retry_count: 0,
        retry_interval: Span::ZERO,
        alert_threshold: 2,
        alert_cooldown: Span::from_secs(3_600),
    },
    timeout: Duration::from_millis(20),
    thresholds: Thresholds { degraded: 0.8, unhealthy: 0.5 },
};

fn checker(checks: Vec<Check>, options: Options) -> Checker {
    let clock = Arc::new(qcat_io::clock::SystemClock::new());
    let board = HealthBoard::new(options, clock.wall());
    Checker::new(checks, clock, board).expect("valid")
}

/// Runs a checker until its report is as wanted.
fn until(checker: Checker, wanted: impl Fn(&Report) -> bool) -> (Arc<Report>, Vec<HealthAlert>) {
    let (board, alerts) = (checker.board.clone(), Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let run = checker.run(|alert| alerts.lock().expect("whole").push(alert.clone()), || {});
        let look = async {
            while !wanted(&board.report()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! { never = run => match never {}, () = look => {} }
    });
    // A probe that blocks for ever must not hold the test.
    runtime.shutdown_background();
    (board.report(), alerts.into_inner().expect("whole"))
}

fn failures(report: &Report) -> Vec<u32> {
    report.checks.iter().map(|check| check.failures).collect()
}

#[test]
fn a_probe_that_hangs_panics_or_blocks_fails_alone() {
    let good = Arc::new(AtomicUsize::new(0));
    let count = good.clone();
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let begun = Arc::new(AtomicUsize::new(0));
    let begins = begun.clone();
    let checks = vec![
        Check::new("hangs", std::future::pending::<Probe>),
        Check::read("panics", || panic!("of its own")),
        Check::new("panics_later", || async { panic!("later") }),
        Check::blocking("blocks", move || {
            begins.fetch_add(1, Ordering::SeqCst);
            let _ = blocked.lock().map(|blocked| blocked.recv());
            Probe::Passed
        }),
        Check::read("good", move || {
            count.fetch_add(1, Ordering::SeqCst);
            Probe::Passed
        }),
    ];
    let all = |report: &Report| failures(report)[..4].iter().all(|failures| *failures >= 2);
    let (report, alerts) = until(checker(checks, OPTIONS), all);
    let error =
        |at: usize| report.checks[at].last_error.as_ref().map(|(_, error)| error.to_string()).unwrap_or_default();
    assert_eq!((error(0), error(1)), ("no answer within 20ms".into(), "the probe panicked: of its own".into()));
    assert_eq!(error(2), "the probe panicked: later");
    assert_eq!(error(3), "the probe before it has not come back");
    assert_eq!(begun.load(Ordering::SeqCst), 1, "threads that block do not pile up");
    assert_eq!((report.status, report.healthy, report.counted), (HealthStatus::Unhealthy, 1, 5));
    assert!(good.load(Ordering::SeqCst) >= 2, "the others went on");
    assert!(alerts.len() >= 4, "{alerts:?}");
    drop(release);
}

#[test]
fn a_check_that_recovers_is_told_once() {
    let left = AtomicU32::new(3);
    let check = Check::read("database", move || match left.load(Ordering::SeqCst) {
        0 => Probe::Passed,
        n => {
            left.store(n - 1, Ordering::SeqCst);
            Probe::Failed("refused".into())
        }
    });
    let (report, alerts) = until(checker(vec![check.critical()], OPTIONS), |r| r.status == HealthStatus::Healthy);
    let names = ["database".into(), "database".into()];
    let [check, again] = names;
    let failed = HealthAlert::Failed { check, critical: true, failures: 2, error: "refused".into() };
    assert_eq!(alerts, [failed, HealthAlert::Recovered { check: again, critical: true }]);
    assert_eq!(report.checks[0].status, CheckStatus::Healthy);
    assert!(report.checks[0].latency.is_some() && report.checks[0].last_error.is_some());
}

#[test]
fn without_checks_all_is_well_and_nothing_spins() {
    let checker = checker(Vec::new(), OPTIONS);
    assert_eq!(checker.board.report().status, HealthStatus::Healthy);
    let turns = std::cell::Cell::new(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let ended = runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(5), checker.run(|_| {}, || turns.set(turns.get() + 1))).await
    });
    assert!(ended.is_err() && turns.get() == 1);
}

#[test]
fn options_change_while_it_runs() {
    let checker = checker(vec![Check::read("a", || Probe::Passed), Check::read("b", || failed("refused"))], OPTIONS);
    let board = checker.board.clone();
    let lenient = Options { thresholds: Thresholds { degraded: 0.5, unhealthy: 0.1 }, ..OPTIONS };
    let told = std::cell::Cell::new(false);
    let (report, _) = until(checker, |report| {
        if report.status == HealthStatus::Degraded && !told.replace(true) {
            board.tune(lenient);
        }
        report.status == HealthStatus::Healthy && report.counted == 2
    });
    assert!(told.get() && report.healthy == 1);
}

#[test]
fn what_must_go_on_counting_fails_when_it_stands_still() {
    let clock = Arc::new(SimClock::new(Ts::from_millis(1_000_000)));
    let count = Arc::new(Mutex::new(None));
    let read = count.clone();
    let mut probe = progress(clock.clone(), Span::from_secs(10), move || *read.lock().expect("whole"));
    assert_eq!(probe(), Probe::NotConfigured);
    *count.lock().expect("whole") = Some(5);
    assert_eq!(probe(), Probe::Passed);
    clock.advance(Span::from_secs(10));
    assert_eq!(probe(), Probe::Passed, "10 s are allowed");
    clock.advance(Span::from_millis(1));
    assert_eq!(probe(), Probe::Failed("no progress for 10.001s (at 5)".into()));
    // A restart counts from anew.
    *count.lock().expect("whole") = Some(0);
    assert_eq!(probe(), Probe::Passed);
}

#[test]
fn bounds_and_space_say_what_was_found() {
    assert_eq!(at_most("records", 10, || Some(10))(), Probe::Passed);
    assert_eq!(at_most("records", 10, || Some(11))(), Probe::Failed("records: 11, at most 10 is expected".into()));
    assert_eq!(at_most("records", 10, || None)(), Probe::NotConfigured);
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(disk_space(folder.path().to_owned(), 1)(), Probe::Passed);
    let Probe::Failed(error) = disk_space(folder.path().to_owned(), u64::MAX)() else { panic!("so much is nowhere") };
    assert!(error.contains("MiB left, at least 17592186044415 MiB"), "{error}");
    assert!(matches!(disk_space(folder.path().join("gone"), 1)(), Probe::Failed(_)));
    assert!(matches!(disk_space("/sys".into(), 1)(), Probe::Failed(_)));
}
