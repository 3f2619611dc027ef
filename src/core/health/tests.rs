use super::*;
use proptest::prelude::*;

const THRESHOLDS: Thresholds = Thresholds { degraded: 0.8, unhealthy: 0.5 };
const RULES: CheckRules = CheckRules {
    interval: Span::from_secs(30),
    retry_count: 3,
    retry_interval: Span::from_secs(5),
    alert_threshold: 3,
    alert_cooldown: Span::from_secs(300),
};

fn at(second: i64) -> Ts {
    Ts::from_millis(second * 1_000)
}

fn spec(name: &str, critical: bool, rules: CheckRules) -> CheckSpec {
    CheckSpec { name: name.into(), critical, rules }
}

fn bad() -> Probe {
    Probe::Failed("refused".into())
}

/// Checks without retries, all probed once.
fn judged(probes: &[(bool, Probe)]) -> HealthStatus {
    let rules = CheckRules { retry_count: 0, ..RULES };
    let names: Vec<String> = (0..probes.len()).map(|n| n.to_string()).collect();
    let specs: Vec<CheckSpec> =
        names.iter().zip(probes).map(|(name, (critical, _))| spec(name, *critical, rules)).collect();
    let mut health = Health::new(&specs, THRESHOLDS, at(0)).unwrap();
    for check in health.start(at(0)) {
        health.finished(check, at(0), Span::ZERO, probes[check].1.clone());
    }
    health.status()
}

#[test]
fn the_whole_is_worth_its_share_of_configured_checks() {
    use HealthStatus::{Degraded, Healthy, Unhealthy};
    use Probe::{NotConfigured as Absent, Passed as Good};
    let some = |good: usize, bad_ones: usize, absent: usize| {
        let probes = [vec![Good; good], vec![bad(); bad_ones], vec![Absent; absent]].concat();
        judged(&probes.into_iter().map(|probe| (false, probe)).collect::<Vec<_>>())
    };
    assert_eq!(some(0, 0, 0), Healthy, "nothing to check");
    assert_eq!(some(0, 0, 3), Healthy, "nothing is configured");
    assert_eq!((some(4, 1, 0), some(3, 1, 0)), (Healthy, Degraded), "0.8 and 0.75");
    assert_eq!((some(1, 1, 0), some(1, 2, 0)), (Degraded, Unhealthy), "0.5 and 0.33");
    assert_eq!((some(4, 1, 9), some(1, 2, 9)), (Healthy, Unhealthy), "what is not configured does not count");
    assert_eq!(judged(&[(true, bad()), (false, Good), (false, Good), (false, Good), (false, Good)]), Unhealthy);
    assert_eq!(judged(&[(true, Absent), (false, Good)]), Healthy, "critical, but not configured");
}

#[test]
fn nothing_is_said_before_the_first_check_has_ended() {
    let mut health = Health::new(&[spec("a", true, RULES)], THRESHOLDS, at(0)).unwrap();
    assert_eq!(health.status(), HealthStatus::Unknown);
    assert_eq!(health.start(at(0)), [0]);
    assert_eq!((health.start(at(100)), health.next_start()), (vec![], None), "one probe of a check at a time");
    assert_eq!(health.finished(0, at(1), Span::from_secs(1), bad()), None);
    let report = health.report();
    assert_eq!((report.status, report.counted), (HealthStatus::Unknown, 0));
    assert!(report.checks[0].retrying && report.checks[0].since.is_none());
    assert_eq!(report.checks[0].latency, Some(Span::from_secs(1)));
    assert_eq!(health.finished(0, at(2), Span::ZERO, bad()), None, "nobody started that");
    assert_eq!(health.next_start(), Some(at(6)));
}

#[test]
fn a_check_fails_after_its_retries_is_alerted_after_its_threshold_and_recovers_aloud() {
    let mut health = Health::new(&[spec("db", false, RULES)], THRESHOLDS, at(0)).unwrap();
    let mut alerts = Vec::new();
    let mut failed_at = Vec::new();
    let mut probes = 0;
    for second in 0..1_000 {
        for check in health.start(at(second)) {
            probes += 1;
            let probe = if second < 800 { bad() } else { Probe::Passed };
            let before = health.report().checks[0].failures;
            alerts.extend(health.finished(check, at(second), Span::ZERO, probe).map(|alert| (second, alert)));
            if health.report().checks[0].failures > before {
                failed_at.push(second);
            }
        }
    }
    // Four probes at 0, 5, 10, 15 make one failed check; the next begins at 30.
    assert_eq!(failed_at[..4], [15, 45, 75, 105]);
    let seconds: Vec<i64> = alerts.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds, [75, 375, 675, 810], "the third in a row, then one per cool-down, then the recovery");
    let failures = |n: usize| match &alerts[n].1 {
        HealthAlert::Failed { failures, error, .. } => (*failures, error.to_string()),
        HealthAlert::Recovered { .. } => (0, String::new()),
    };
    assert_eq!((failures(0), failures(1).0), ((3, "refused".to_owned()), 13));
    assert_eq!(alerts[3].1, HealthAlert::Recovered { check: "db".into(), critical: false });
    assert_eq!(probes, 27 * 4 + 7, "one probe every 30 s when all is well");
    assert_eq!(health.report().since, at(810));
}

#[test]
fn other_rules_hold_from_the_next_probe_on() {
    let mut health = Health::new(&[spec("a", false, RULES)], THRESHOLDS, at(0)).unwrap();
    health.start(at(0));
    health.finished(0, at(1), Span::ZERO, Probe::Passed);
    assert_eq!(health.next_start(), Some(at(30)));
    let rules = CheckRules { interval: Span::from_secs(10), retry_count: 0, ..RULES };
    health.retune(rules, THRESHOLDS, at(2)).unwrap();
    assert_eq!(health.next_start(), Some(at(10)));
    assert!(health.retune(CheckRules { interval: Span::ZERO, ..rules }, THRESHOLDS, at(3)).is_err());
    health.start(at(10));
    health.finished(0, at(10), Span::ZERO, bad());
    assert_eq!(health.status(), HealthStatus::Unhealthy, "no retries any more");
    let lenient = Thresholds { degraded: 0.5, unhealthy: 0.0 };
    health.retune(rules, lenient, at(11)).unwrap();
    assert_eq!((health.status(), health.report().since), (HealthStatus::Degraded, at(11)));
}

#[test]
fn senseless_rules_are_refused() {
    let refused = |spec: CheckSpec, thresholds| Health::new(&[spec], thresholds, at(0)).unwrap_err().to_string();
    let one = |rules| refused(spec("a", false, rules), THRESHOLDS);
    assert!(one(CheckRules { interval: Span::ZERO, ..RULES }).contains("`a`: its interval"));
    assert!(one(CheckRules { alert_threshold: 0, ..RULES }).contains("alert_threshold"));
    assert!(one(CheckRules { retry_interval: Span::from_secs(-1), ..RULES }).contains("retry_interval"));
    for (degraded, unhealthy) in [(0.5, 0.8), (1.1, 0.5), (0.8, -0.1), (f64::NAN, 0.5), (0.8, f64::NAN)] {
        assert!(refused(spec("a", false, RULES), Thresholds { degraded, unhealthy }).contains("thresholds"));
    }
    let twice = [spec("a", false, RULES), spec("a", true, RULES)];
    assert_eq!(Health::new(&twice, THRESHOLDS, at(0)).unwrap_err(), HealthError::Name("a".into()));
}

proptest! {
    /// One check driven by any outcomes: alerts keep their threshold and their cool-down, and every one is closed by one recovery.
    #[test]
    fn alerts_never_flap(
        outcomes in prop::collection::vec(any::<bool>(), 1..300),
        retry_count in 0u32..3,
        alert_threshold in 1u32..5,
        cooldown in 0i64..400,
    ) {
        let rules = CheckRules {
            retry_count, alert_threshold, alert_cooldown: Span::from_secs(cooldown), ..RULES
        };
        let mut health = Health::new(&[spec("a", true, rules)], THRESHOLDS, at(0)).unwrap();
        let (mut run, mut alerts, mut open, mut last) = (0u32, 0, false, None::<Ts>);
        for good in outcomes {
            let now = health.next_start().unwrap();
            prop_assert_eq!(health.start(now), vec![0]);
            let probe = if good { Probe::Passed } else { bad() };
            let alert = health.finished(0, now, Span::ZERO, probe);
            run = if good { 0 } else { run + 1 };
            match alert {
                Some(HealthAlert::Failed { failures, .. }) => {
                    prop_assert!(failures >= alert_threshold);
                    prop_assert!(run >= alert_threshold * (retry_count + 1), "fewer probes failed than allowed");
                    prop_assert!(last.is_none_or(|last| now.since(last) >= Span::from_secs(cooldown)));
                    (open, last) = (true, Some(now));
                    alerts += 1;
                }
                Some(HealthAlert::Recovered { .. }) => {
                    prop_assert!(good && open, "recovered from nothing");
                    open = false;
                }
                None => prop_assert!(!(good && open), "a recovery was not told"),
            }
            let failed = health.report().checks[0].status == CheckStatus::Failed;
            prop_assert_eq!(health.status() == HealthStatus::Unhealthy, failed, "a critical check decides");
            prop_assert!(!failed || !good);
        }
        prop_assert!(alerts == 0 || last.is_some());
    }
}
