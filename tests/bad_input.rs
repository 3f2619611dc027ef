//! What a person or a machine can hand in wrong, through the real binary: one clear error that names what is wrong, the exit code
//! that says whose fault it is, nothing changed, no panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/mount.rs"]
mod mount;

const USAGE: i32 = 64;
const DATA: i32 = 65;
const UNAVAILABLE: i32 = 69;
const CONFIG: i32 = 78;

/// Longer than any of these may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the binary, without what its own surroundings would configure.
fn clean(mut command: Command) -> Command {
    std::env::vars().filter(|(name, _)| name.starts_with("QCAT_")).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command
}

/// Runs it to its end; exit code and what it says on standard error.
fn ends(command: Command) -> (Option<i32>, String) {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut child = clean(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.reopen().expect("a file"))
        .spawn()
        .expect("the binary runs");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("killed");
            panic!("it does not end: {}", fs::read_to_string(log.path()).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    (status.code(), fs::read_to_string(log.path()).expect("text"))
}

/// One error, and no more, with all of these words in it.
fn check(what: &str, (code, said): (Option<i32>, String), expected: i32, words: &[&str]) {
    assert!(!said.contains("panicked"), "{what}: {said}");
    let errors: Vec<&str> = said.lines().filter(|l| l.starts_with("error:") || l.contains(" ERROR ")).collect();
    assert_eq!((code, errors.len()), (Some(expected), 1), "{what}: {said}");
    // Usage errors of the command line name what is allowed in the lines below.
    let told = if expected == USAGE { said.as_str() } else { errors[0] };
    for word in words {
        assert!(told.contains(word), "{what}: `{word}` is missing: {said}");
    }
}

fn qcat(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qcat"));
    command.args(arguments);
    command
}

fn refused(arguments: &[&str], expected: i32, words: &[&str]) {
    check(&arguments.join(" "), ends(qcat(arguments)), expected, words);
}

/// A directory with files.
fn files(contents: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, bytes) in contents {
        fs::write(directory.path().join(name), bytes).expect("written");
    }
    directory
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

const STRATEGY: &str = "strategies: [{ name: q, kind: mean_reverter, symbols: [BTCUSDT] }]\n";

/// A configuration against an exchange that is not there.
fn offline(journal: &Path) -> String {
    format!(
        "exchange: {{ rest_url: \"http://127.0.0.1:1\", ws_public_url: \"ws://127.0.0.1:1/public\", ws_market_url: \
         \"ws://127.0.0.1:1/market\", ws_private_url: \"ws://127.0.0.1:1/private\", ws_api_url: \"ws://127.0.0.1:1/ws\" }}\n\
         journal: {{ dir: {0}, segment_size: 65536 }}\n\
         accounts: [{{ name: sim, api_key: sim-key, api_secret: sim-secret, leverage: 20 }}]\n{STRATEGY}\
         database: {{ path: {0}.db }}\n\
         logging: {{ output: stderr, format: text }}\n\
         server: {{ port: 0 }}\n\
         monitoring: {{ prometheus_enabled: false }}\n",
        journal.display()
    )
}

#[test]
fn command_lines() {
    refused(&["run", "--nonsense"], USAGE, &["--nonsense", "Usage: qcat run"]);
    refused(&["backtest", "--generate", "1", "--minutes", "0", "--strategy", "s"], USAGE, &["--minutes", "1..=525600"]);
    refused(&["backtest", "--generate", "x", "--strategy", "s"], USAGE, &["--generate", "x"]);
    refused(&["sim", "--listen", "here"], USAGE, &["--listen", "socket address"]);
    refused(&["sim", "--listen", "0.0.0.0:0"], USAGE, &["0.0.0.0:0", "loopback"]);
    refused(&["sim", "--account", "bad"], USAGE, &["--account", "key:secret:balance"]);
    for balance in ["-5", "0", "1e9", "NaN", "", "99999999999999999999999999999999999999999999"] {
        let account = format!("k:s:{balance}");
        refused(&["sim", "--listen", "127.0.0.1:0", "--account", &account], USAGE, &["balance", "above 0"]);
    }
    refused(&["sim", "--symbols", "NOPEUSDT"], USAGE, &["NOPEUSDT", "known: BTCUSDT"]);
    refused(&["sim", "--replay", "x", "--speed", "nan"], USAGE, &["--speed", "0.001 to 1000"]);
    refused(&["replay"], USAGE, &["<DIR>"]);
}

#[test]
fn configurations() {
    let journal = tempfile::tempdir().expect("a directory");
    let valid = offline(journal.path());
    let with = |from: &str, to: &str| {
        assert!(valid.contains(from), "{from}");
        valid.replace(from, to).into_bytes()
    };
    let limit = |number: &str| with("leverage: 20", &format!("limits: {{ order_notional_max: {number} }}"));
    let allowed = ["order_notional_max", ":3:", "allowed: a decimal number from 0 to 1000000000000"];
    let mut cases: Vec<(Vec<u8>, Vec<&str>)> = vec![
        (b"\xff\xfe".to_vec(), vec!["cannot be read", "UTF-8"]),
        (b"a: [".to_vec(), vec!["not valid YAML", ":2:1"]),
        (Vec::new(), vec!["accounts", "at least one"]),
        (with("dir:", "dirr:"), vec!["journal.dirr", ":2:", "unknown key", "`dir`"]),
        (with("65536", "5"), vec!["journal.segment_size", "`5`", ":2:", "65536 to"]),
        (with("leverage: 20", "leverage: 126"), vec!["leverage", "`126`", "from 1 to 125"]),
        (with("api_key: sim-key, ", ""), vec!["accounts[0].api_key", "is missing"]),
        (
            with("mean_reverter", "mean_reverterr"),
            vec!["strategies[0].kind", ":4:", "mean_reverterr", "known: mean_reverter"],
        ),
        (with("[BTCUSDT] }", "[BTCUSDT], params: { nope: 3 } }"), vec!["params", ":4:", "nope"]),
        (
            with("[BTCUSDT] }", "[BTCUSDT], params: { sample_millis: 99999999999999999999 } }"),
            vec!["params", ":4:", "sample_millis", "from 10 to 60000"],
        ),
    ];
    cases.extend(
        ["NaN", "1e400", "-1", "99999999999999999999999999", "0x10", "''", "1_000"]
            .map(|n| (limit(n), allowed.to_vec())),
    );
    for (bytes, words) in cases {
        let directory = files(&[("c.yaml", &bytes)]);
        refused(&["run", "--config", &path(&directory, "c.yaml")], CONFIG, &words);
    }
    let nothing = tempfile::tempdir().expect("a directory");
    refused(
        &["run", "--config", &path(&nothing, "none.yaml")],
        CONFIG,
        &["none.yaml", "cannot be read", "No such file"],
    );
    refused(&["run", "--config", &nothing.path().display().to_string()], CONFIG, &["Is a directory"]);
    assert_eq!(
        fs::read_dir(journal.path()).expect("listed").count(),
        0,
        "a refused configuration leaves nothing behind"
    );
}

#[test]
fn recordings() {
    const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723075201000,"T":1723075201000,"s":"BTCUSDT","t":1,"p":"61800.00","q":"0.010","X":"MARKET","m":false}}"#;
    let line = |second: u64, frame: &str| format!("{}000000000 {frame}\n", 1_723_075_200 + second);
    let strategies = "strategies:\n- { name: q, kind: mean_reverter, symbols: [BTCUSDT] }\n- { name: t, kind: trend_follower, symbols: [BTCUSDT] }\n";
    let run = |bytes: &[u8], words: &[&str]| {
        let directory = files(&[("data", bytes), ("s.yaml", strategies.as_bytes())]);
        let (data, strategy) = (path(&directory, "data"), path(&directory, "s.yaml"));
        refused(&["backtest", "--data", &data, "--strategy", &strategy], DATA, words);
    };
    run(b"", &["is empty"]);
    run(b"hello\nworld\n", &["data:1", "<nanoseconds> <JSON>"]);
    run(b"\x1f\x8b\x08\x00garbage", &["data:1", "is the file whole"]);
    run(b"\xff\xfe\n", &["data:1", "UTF-8"]);
    run(b"99999999999999999999 {}\n", &["data:1", "nanoseconds since 1970"]);
    for (from, to, words) in [
        (r#""p":"61800.00""#, r#""p":"NaN""#, ["`p`", "NaN"]),
        (r#""p":"61800.00""#, r#""p":"1e400""#, ["`p`", "1e400"]),
        (r#""p":"61800.00""#, r#""p":"99999999999999999999999999""#, ["`p`", "too large"]),
        (r#""p":"61800.00""#, r#""p":"0""#, ["`p`", "not above 0"]),
        (r#""p":"61800.00""#, r#""p":"-5.00""#, ["`p`", "not above 0"]),
        (r#""q":"0.010""#, r#""q":"-1""#, ["`q`", "negative"]),
        (r#""q":"0.010""#, r#""q":"0.0000000000000000001""#, ["`q`", "more than 3 decimals"]),
        (r#""s":"BTCUSDT""#, r#""s":"NOPE""#, ["NOPE", "symbol without a definition"]),
        (r#""E":1723075201000"#, r#""E":4102444800000"#, ["`E`", "more than a day ahead"]),
        (r#""E":1723075201000"#, r#""E":9007199254740991"#, ["`E`", "more than a day ahead"]),
    ] {
        assert!(TRADE.contains(from), "{from}");
        let text = line(0, TRADE) + &line(1, &TRADE.replace(from, to)) + &line(2, TRADE);
        run(text.as_bytes(), &[&["data:2"], &words[..]].concat());
    }
    let directory = files(&[("s.yaml", strategies.as_bytes())]);
    let (here, strategy) = (directory.path().display().to_string(), path(&directory, "s.yaml"));
    let none = path(&directory, "none");
    refused(&["backtest", "--data", &none, "--strategy", &strategy], DATA, &[&none, "No such file"]);
    refused(&["backtest", "--data", &here, "--strategy", &strategy], DATA, &[&here, "Is a directory"]);
    refused(&["backtest", "--generate", "1", "--strategy", &none], CONFIG, &[&none, "cannot be read"]);
    refused(&["sim", "--listen", "127.0.0.1:0", "--replay", &none], DATA, &[&none, "No such file"]);
    fs::write(&strategy, STRATEGY.replace("BTCUSDT", "NOPE")).expect("written");
    refused(&["backtest", "--generate", "1", "--strategy", &strategy], CONFIG, &["s.yaml:1:", "`NOPE`"]);
}

#[test]
fn journals() {
    let directory = files(&[("file", b"x")]);
    let (here, file, none) =
        (directory.path().display().to_string(), path(&directory, "file"), path(&directory, "none"));
    for command in [&["journal", "verify"][..], &["journal", "tail"], &["replay"]] {
        let on = |dir: &str| [command, &[dir]].concat().iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let refused = |dir: &str, words: &[&str]| {
            let arguments = on(dir);
            refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), DATA, words);
        };
        refused(&none, &[&none, "No such file"]);
        refused(&file, &[&file, "Not a directory"]);
        refused(&here, &[&here, "holds no journal"]);
    }
}

#[test]
fn a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    refused(&["sim", "--listen", &address], UNAVAILABLE, &["cannot listen on", &address, "in use"]);
}

/// The daemon with this configuration does not start.
fn no_start(what: &str, command: Command, config: &str, expected: i32, words: &[&str]) {
    let directory = files(&[("c.yaml", config.as_bytes())]);
    let mut command = command;
    command.args(["run", "--config"]).arg(directory.path().join("c.yaml"));
    check(what, ends(command), expected, words);
}

/// What is in a directory, with the bytes of each file.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(directory)
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.clone(), fs::read(&path).expect("read")))
        .collect();
    all.sort();
    all
}

#[test]
fn a_data_directory_that_is_in_use_or_is_none() {
    let journal = tempfile::tempdir().expect("a directory");
    let dir = journal.path().join("j");
    let config = offline(&dir);
    let disk = std::sync::Arc::new(qcat_io::disk::RealDisk);
    let options = qcat_io::journal::Options {
        segment_size: 65_536,
        sync_by: qcat_io::journal::SyncBy::Caller,
        ..qcat_io::journal::Options::default()
    };
    let (held, _) = qcat_io::journal::Journal::open(disk, &dir, options).expect("opened");
    let before = contents(&dir);
    let pid = std::process::id().to_string();
    no_start(
        "in use",
        qcat(&[]),
        &config,
        UNAVAILABLE,
        &["journal.dir", &dir.display().to_string(), "in use by process", &pid],
    );
    assert!(contents(&dir) == before, "the second process changed something");
    drop(held);
    let file = journal.path().join("file");
    fs::write(&file, b"x").expect("written");
    no_start("a file", qcat(&[]), &offline(&file), UNAVAILABLE, &["journal.dir", "file", "exists"]);
}

#[test]
fn a_disk_that_is_read_only_or_full_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(mount) = mount::Mount::new(directory.path(), "2m") else { return };
    let dir = directory.path().join("j");
    let enter = || mount.enter(env!("CARGO_BIN_EXE_qcat"));
    // The history is elsewhere: this is about the journal.
    let history = tempfile::tempdir().expect("a directory");
    let config =
        offline(&dir).replace(&format!("{}.db", dir.display()), &history.path().join("h.db").display().to_string());
    mount.fill();
    no_start("full", enter(), &config, UNAVAILABLE, &["journal.dir", "the disk is full", "65536 bytes", "free space"]);
    mount.free();
    mount.make_read_only();
    no_start("read-only", enter(), &config, UNAVAILABLE, &["journal.dir", "Read-only file system"]);
    no_start("a history", enter(), &offline(&dir), UNAVAILABLE, &["database", "j.db", "Read-only file system"]);
}

#[test]
fn a_key_that_the_exchange_refuses() {
    daemon::on_local_set(async {
        let exchange = daemon::exchange(1).await;
        let journal = tempfile::tempdir().expect("a directory");
        let valid = daemon::configuration(&exchange, &journal.path().join("j"));
        let second = "accounts: [{ name: other, api_key: nobody, api_secret: s }, {";
        for (from, to, words) in [
            ("api_key: sim-key", "api_key: nobody", ["accounts[0] `sim`", "-2015"]),
            ("api_secret: sim-secret", "api_secret: wrong", ["accounts[0] `sim`", "-1022"]),
            ("accounts: [{", second, ["accounts[0] `other`", "-2015"]),
            (
                "}]\norders",
                "}, { name: third, api_key: nobody, api_secret: s }]\norders",
                ["accounts[1] `third`", "-2015"],
            ),
        ] {
            assert!(valid.contains(from), "{from}");
            let config = valid.replacen(from, to, 1);
            let words = [&words[..], &["api_key", "api_secret", "permissions"]].concat();
            let refused = tokio::task::spawn_blocking(move || {
                no_start(to, qcat(&[]), &config, UNAVAILABLE, &words);
            });
            refused.await.expect("refused");
        }
        let config = valid.replace("[BTCUSDT]", "[NOPEUSDT]").replace("- { name: trend", "# ");
        let unknown = tokio::task::spawn_blocking(move || {
            no_start("unknown symbol", qcat(&[]), &config, CONFIG, &["strategies[0].symbols", "`NOPEUSDT`"]);
        });
        unknown.await.expect("refused");
    });
}
