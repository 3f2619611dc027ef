//! The configuration on the command line: what is printed, and the exit codes.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const GOOD: &str = "accounts:\n  - {name: main, api_key: hunter-key, api_secret: hunter-secret}\n";

fn qcat(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qcat"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The output of a command that is given a text on its standard input.
fn piped(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_configuration_is_validated_with_or_without_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let good = file(folder.path(), "good.yaml", GOOD);
    let bad = file(folder.path(), "bad.yaml", &format!("{GOOD}server:\n  prot: 1\n  port: x\n"));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for words in [&["--config", good, "--validate"][..], &["run", "--config", good, "--validate"]] {
        let output = qcat(words).output().unwrap();
        assert_eq!((code(&output), text(&output.stdout)), (0, format!("{good}: valid\n")));
        assert!(text(&output.stderr).contains("warning: "), "the secrets stand in clear");
    }
    let output = qcat(&["--config", bad, "--validate"]).env("QCAT_SERVER_HSOT", "x").output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(code(&output), 78, "{told}");
    for fault in
        ["bad.yaml:4:3: server.prot: ", "bad.yaml:5:9: server.port: found `x`", "environment: QCAT_SERVER_HSOT: "]
    {
        assert!(told.contains(fault), "{told}");
    }
    assert!(!told.contains("hunter"), "{told}");
    let output = qcat(&["--validate"]).env("QCAT_CONFIG", bad).output().unwrap();
    assert_eq!(code(&output), 78, "QCAT_CONFIG names the file");
    assert_eq!(code(&qcat(&["--config", bad]).output().unwrap()), 78, "the daemon does not start with it");
    assert_eq!(code(&qcat(&["--valdate"]).output().unwrap()), 64);
}

#[test]
fn twelve_faults_of_twelve_kinds_are_told_in_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let planted = "app:\n  nmae: x\nserver:\n  host: 0.0.0.0\n  port: eighty\n  workers: 65\n  workers: 2\n  trusted_proxies: 1.2.3\n\
                   redis:\n  password: ENC:v1:hunter\n  addr: localhost\ndatabase: [sqlite]\nhealth:\n  timeout: 3\n\
                   accounts:\n  - {api_key: k, api_secret: s}\n";
    let config = file(folder.path(), "config.yaml", planted);
    file(folder.path(), ".env", "QCAT_SERVER_PROT=1\nbroken\n");
    let mut command = qcat(&["--validate", "--config", config.to_str().unwrap()]);
    let output = command.env("QCAT_ENCRYPTION_KEY", "hunter of some length").output().unwrap();
    let told = text(&output.stderr);
    let expected = [
        "config.yaml:2:3: app.nmae: unknown key",
        "config.yaml:5:9: server.port: found `eighty`",
        "config.yaml:6:12: server.workers: found `65`",
        "config.yaml:7:3: server.workers: stands twice",
        "config.yaml:8:20: server.trusted_proxies: found `1.2.3`",
        "config.yaml:10:13: redis.password: it does not have the form",
        "config.yaml:11:9: redis.addr: found `localhost`",
        "config.yaml:12:11: database: found a single value or a list",
        "config.yaml:14:12: health.timeout: found `3`",
        "config.yaml:16:5: accounts[0].name: is missing",
        ".env:1:1: QCAT_SERVER_PROT: unknown key",
        ".env:2:1: found no `=`",
    ];
    let missing: Vec<&str> = expected.into_iter().filter(|fault| !told.contains(fault)).collect();
    assert!(missing.is_empty(), "missing: {missing:#?}\n{told}");
    // Nothing follows from a fault: whether the address may be public depends on the proxies that could not be read.
    assert_eq!((code(&output), told.matches("error: ").count()), (78, 12), "{told}");
    assert!(!told.contains("hunter"), "{told}");
}

#[test]
fn the_sample_is_valid_and_the_values_in_force_are_printed() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/config.yaml");
    let output = qcat(&["--validate", "--config"]).arg(&sample).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let folder = tempfile::tempdir().unwrap();
    let good = file(folder.path(), "good.yaml", GOOD);
    let words = ["--print-config", "--set", "server.port=81", "--config", good.to_str().unwrap()];
    let output = qcat(&words).env("QCAT_LOGGING_LEVEL", "warn").output().unwrap();
    let printed = text(&output.stdout);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let has = |start: &str, end: &str| printed.lines().any(|l| l.trim_start().starts_with(start) && l.ends_with(end));
    assert!(has("port: 81 ", "# command line") && has("level: warn ", "# QCAT_LOGGING_LEVEL"), "{printed}");
    assert!(has("api_key: \"***\" ", "good.yaml:2:27") && !printed.contains("hunter"), "{printed}");
}

#[test]
fn a_value_is_encrypted_and_decrypted_with_the_key_that_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let made = qcat(&["keygen"]).output().unwrap();
    assert_eq!(code(&made), 0);
    let key = text(&made.stdout);
    let key_file = file(folder.path(), "key", &key);
    let key_file = key_file.to_str().unwrap();
    let sealed = piped(qcat(&["encrypt", "--key-file", key_file]), "hunter 2 密码\n");
    assert_eq!((code(&sealed), text(&sealed.stderr)), (0, String::new()));
    let sealed = text(&sealed.stdout);
    assert!(sealed.starts_with("ENC:v1:") && !sealed.contains("hunter"), "{sealed}");
    let mut decrypt = qcat(&["decrypt"]);
    decrypt.env("QCAT_ENCRYPTION_KEY", key.trim());
    assert_eq!(text(&piped(decrypt, &sealed).stdout), "hunter 2 密码\n");

    // It opens in the file; with another key the key's name is told, and no value.
    let config = file(folder.path(), "config.yaml", &format!("{GOOD}redis: {{ password: \"{}\" }}\n", sealed.trim()));
    let words = ["--validate", "--config", config.to_str().unwrap()];
    assert_eq!(code(&qcat(&words).env("QCAT_ENCRYPTION_KEY", key.trim()).output().unwrap()), 0);
    let output = qcat(&words).env("QCAT_ENCRYPTION_KEY", "hunter with another key").output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(code(&output), 78, "{told}");
    assert!(told.contains("redis.password: it cannot be decrypted") && !told.contains("hunter"), "{told}");

    let without = piped(qcat(&["encrypt"]), "hunter");
    assert_eq!((code(&without), text(&without.stdout)), (64, String::new()));
    let wrong = piped(qcat(&["decrypt", "--key-file", key_file]), "ENC:v1:hunter");
    assert_eq!(code(&wrong), 65);
    assert!(!text(&wrong.stderr).contains("hunter"), "{}", text(&wrong.stderr));
}
