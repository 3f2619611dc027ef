//! The log as the operations manual reads it: its own grep and awk lines over files of a process that logs.

use qcat_io::logs::{AccessRecord, Format, Level, LogError, LogOptions, Logs, Output};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn shell(dir: &Path, line: &str) -> String {
    let line = line.replace("/var/log/qcat", &dir.display().to_string());
    let output = Command::new("sh").arg("-c").arg(&line).output().expect("a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn request(seconds: u64, path: &str, micros: u64) -> AccessRecord<'static> {
    AccessRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        request_id: "r",
        remote: None,
        user: None,
        method: "GET",
        path: path.to_owned().leak(),
        status: 200,
        bytes: 2,
        user_agent: None,
        response_time: Duration::from_micros(micros),
    }
}

#[test]
fn the_manuals_lines_find_errors_days_and_response_times_and_a_panic_is_logged() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LogOptions {
        level: Level::Info,
        format: Format::Json,
        output: Output::File,
        max_size: 100 << 20,
        max_backups: 10,
        max_age: Duration::from_secs(30 * 86_400),
        compress: true,
        log_dir: dir.path().join("logs"),
    };
    let logs = Logs::start(options.clone()).expect("logs");
    assert!(matches!(Logs::start(options), Err(LogError::Started)));
    tracing::info!("all is well");
    tracing::error!(code = "one", "broken");
    let died = std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(|| panic!("lost password=hunter2"))
        .expect("a thread");
    assert!(died.join().is_err());
    let access = logs.access();
    access.write(&request(1_704_067_200, "/health", 1_000));
    access.write(&request(1_704_067_201, "/health?x=hunter2", 3_000));
    assert!(logs.flush(Duration::from_secs(20)));

    let dir = dir.path().join("logs");
    assert_eq!(shell(&dir, "grep -c \"ERROR\" /var/log/qcat/qcat.log").trim(), "2");
    let errors = shell(&dir, "grep \"ERROR\" /var/log/qcat/qcat.log");
    assert_eq!(errors, shell(&dir, "cat /var/log/qcat/error.log"));
    let panic = errors.lines().nth(1).expect("the panic");
    for part in ["\"code\":\"panic\"", "tests/logs.rs:", "\"thread\":\"worker\"", "lost password=***"] {
        assert!(panic.contains(part), "{part} in {panic}");
    }
    assert_eq!(shell(&dir, "grep \"2024-01-01\" /var/log/qcat/access.log | wc -l").trim(), "2");
    assert_eq!(shell(&dir, "grep \"2024-01-01\" /var/log/qcat/qcat.log | wc -l").trim(), "2");
    for file in ["access.log", "qcat.log"] {
        let average = format!(
            "awk '/response_time/ {{sum+=$NF; count++}} END {{print \"Average response time:\", sum/count}}' /var/log/qcat/{file}"
        );
        assert_eq!(shell(&dir, &average).trim(), "Average response time: 0.002");
    }
    assert_eq!(shell(&dir, "cat /var/log/qcat/*.log | grep -c hunter2 || true").trim(), "0");
}
