use super::*;
use flate2::read::GzDecoder;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        level: Level::Info,
        format: Format::Json,
        output: Output::File,
        max_size: 0,
        max_backups: 0,
        max_age: Duration::ZERO,
        compress: false,
        log_dir: dir.to_owned(),
    }
}

fn lines_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn written(logs: &Logs) {
    assert!(logs.flush(Duration::from_secs(20)));
}

#[test]
fn lines_are_json_with_upper_case_levels_and_utc_times_and_errors_stand_apart_too() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(options(dir.path())).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || {
        tracing::info!(symbol = "BTCUSDT", "started");
        tracing::debug!("not wanted");
        tracing::error!(code = "x", "broke\nin two");
        logs.set_level(Level::Debug);
        tracing::debug!("wanted");
        tracing::debug!(target: "hyper::proto", "a header");
    });
    written(&logs);
    let all = lines_of(&dir.path().join("qcat.log"));
    let shown: Vec<_> =
        all.iter().map(|line| (line["level"].as_str().unwrap(), line["message"].as_str().unwrap())).collect();
    assert_eq!(shown, [("INFO", "started"), ("ERROR", "broke\nin two"), ("DEBUG", "wanted")]);
    assert_eq!((&all[0]["symbol"], &all[1]["code"]), (&Value::from("BTCUSDT"), &Value::from("x")));
    let text = fs::read_to_string(dir.path().join("qcat.log")).unwrap();
    let today = jiff::Timestamp::now().strftime("%Y-%m-%dT").to_string();
    assert!(text.lines().all(|line| line.starts_with(&format!("{{\"timestamp\":\"{today}")) && line.contains("Z\"")));
    assert_eq!(lines_of(&dir.path().join("error.log")), all[1..2]);
    let mode = fs::metadata(dir.path().join("qcat.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "mode {mode:o}");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("logs");
    let error = Logs::open(options(&below)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("logging.log_dir {}: ", below.display())), "{error}");
}

#[test]
fn a_file_is_put_aside_at_its_size_and_no_line_is_lost_or_torn() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(LogOptions { max_size: 2_000, compress: true, ..options(dir.path()) }).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || {
        for number in 0..60 {
            tracing::info!(number, "a line of some length, so that files fill");
            if number % 6 == 0 {
                written(&logs);
            }
        }
    });
    written(&logs);
    let asides = |end: &str| {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<PathBuf> = names.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
        names.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("qcat-"));
        names.sort();
        names
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !asides(".log").is_empty() || !asides(".tmp").is_empty() || asides(".gz").is_empty() {
        assert!(Instant::now() < until, "not compressed: {:?}", asides(""));
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut text = String::new();
    for path in asides(".gz") {
        let before = text.len();
        GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        assert!(text.len() - before <= 2_000);
    }
    text += &fs::read_to_string(dir.path().join("qcat.log")).unwrap();
    let numbers: Vec<u64> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line)["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..60).collect::<Vec<_>>());
}

#[test]
fn old_files_go_by_count_and_age_and_rests_of_a_crash_are_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let now: jiff::Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let files = [
        "qcat-2026-11-23T00-00-00.000.log",
        "qcat-2026-11-22T00-00-00.000.log.gz",
        // Killed between the name of the compressed file and the end of the plain one.
        "qcat-2026-11-22T00-00-00.000.log",
        // Killed while compressing.
        "qcat-2026-11-21T00-00-00.000.log.gz.tmp",
        "qcat-2026-11-21T00-00-00.000.log",
        "qcat-2026-11-20T00-00-00.000.log.gz",
        "qcat-2026-10-01T00-00-00.000.log.gz",
        "qcat.log",
        "qcat.log.1.gz",
        "qcat-notes.log",
        "error-2026-10-01T00-00-00.000.log",
    ];
    let fill = || files.iter().for_each(|name| fs::write(dir.path().join(name), name).unwrap());
    let left = |max_backups, days: u64, compress| {
        fill();
        let keep = tidy::Retention { max_backups, max_age: Duration::from_secs(days * 86_400), compress };
        tidy::tidy(dir.path(), "qcat", keep, now).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.retain(|name| name.starts_with("qcat-20"));
        names.iter().map(|name| name["qcat-2026-".len()..].replace("T00-00-00.000.log", "")).collect::<Vec<_>>()
    };
    assert_eq!(left(0, 0, false), ["10-01.gz", "11-20.gz", "11-21", "11-22.gz", "11-23"]);
    assert_eq!(left(0, 30, false), ["11-20.gz", "11-21", "11-22.gz", "11-23"]);
    assert_eq!(left(2, 0, false), ["11-22.gz", "11-23"]);
    assert_eq!(left(3, 0, true), ["11-21.gz", "11-22.gz", "11-23.gz"]);
    let mut text = String::new();
    let packed = fs::File::open(dir.path().join("qcat-2026-11-21T00-00-00.000.log.gz")).unwrap();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    assert_eq!(text, "qcat-2026-11-21T00-00-00.000.log");
    for untouched in ["qcat.log", "qcat.log.1.gz", "qcat-notes.log", "error-2026-10-01T00-00-00.000.log"] {
        assert!(dir.path().join(untouched).exists(), "{untouched}");
    }
}

#[test]
fn lines_wait_for_a_full_disk_and_come_whole_when_it_has_room() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("qcat.log");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let logs = Logs::open(options(dir.path())).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || {
        (0..20).for_each(|number| tracing::error!(code = "x", number, "late"));
    });
    written(&logs);
    assert_eq!(lines_of(&dir.path().join("error.log")).len(), 20, "another file of the same thread");
    assert!(logs.counts()[0].1.write_failures > 0);
    fs::remove_file(&file).unwrap();
    logs.reopen();
    written(&logs);
    let until = Instant::now() + Duration::from_secs(20);
    while lines_of(&file).len() < 20 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(logs.counts()[0].1.dropped, 0);
}

#[test]
fn after_the_files_were_moved_and_opened_anew_lines_go_to_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let logs = Logs::open(options(dir.path())).unwrap();
    tracing::subscriber::with_default(logs.subscriber(), || {
        tracing::info!("before");
        written(&logs);
        fs::rename(at("qcat.log"), at("qcat.log.1")).unwrap();
        tracing::info!("between");
        logs.reopen();
        written(&logs);
        tracing::info!("after");
        written(&logs);
    });
    let messages =
        |name| lines_of(&at(name)).iter().map(|l| l["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (messages("qcat.log.1"), messages("qcat.log")),
        (vec!["before".into(), "between".into()], vec!["after".into()])
    );
}

#[test]
fn a_request_is_a_line_whose_last_word_is_its_time_and_holds_no_query() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(options(dir.path())).unwrap();
    let access = logs.access();
    let long = "a".repeat(5_000);
    let mut record = AccessRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_704_104_430_123_456),
        request_id: "r-1",
        remote: Some("127.0.0.1".parse().unwrap()),
        user: None,
        method: "GET",
        path: "/api/v1/orders?token=hunter2",
        status: 200,
        bytes: 17,
        user_agent: Some("curl \"8\"\n"),
        response_time: Duration::from_micros(1_500),
    };
    access.write(&record);
    (record.path, record.user) = (&long, Some("ann"));
    access.write(&record);
    written(&logs);
    let text = fs::read_to_string(dir.path().join("access.log")).unwrap();
    assert_eq!(
        text.lines().next().unwrap(),
        "{\"time\":\"2024-01-01T10:20:30.123456Z\",\"level\":\"INFO\",\"request_id\":\"r-1\",\"remote\":\"127.0.0.1\",\
         \"user\":null,\"method\":\"GET\",\"path\":\"/api/v1/orders\",\"status\":200,\"bytes\":17,\
         \"user_agent\":\"curl \\\"8\\\"\\n\",\"response_time\": 0.001500}"
    );
    let lines = lines_of(&dir.path().join("access.log"));
    assert_eq!((lines.len(), lines[1]["path"].as_str().unwrap().len()), (2, 512));
    assert_eq!(lines_of(&dir.path().join("qcat.log")), lines[..1], "one of each second");
}

#[test]
fn the_levels_of_the_configuration_are_known() {
    assert_eq!("WARN".parse::<Level>().unwrap(), Level::Warn);
    assert!("loud".parse::<Level>().unwrap_err().to_string().contains("loud"));
    assert_eq!(Level::Trace.filter().to_string().split(',').filter(|part| *part == "info").count(), 1);
    assert!(Level::Error.filter().to_string().contains("qcat=error"));
}
