//! Every fault of one file in one run, each with its line and column.

use super::*;

const PLANTED: &str = "\
app:
  name: QCAT
  nmae: QCAT
server:
  host: 0.0.0.0
  port: eighty
  read_timeout: 30
  trusted_proxie: []
database:
  max_open_conns: 5
  max_idle_conns: 9
  password: ENC:v1:bm90IHJlYWxseSBlbmNyeXB0ZWQgYnV0IGxvbmcgZW5vdWdoIHRvIGJlIHRyaWVkIGF0IGFsbA==
  port: 70000
redis:
  addr: localhost
jwt:
  secret_key: short-hunter2
logging:
  level: loud
  level: info
accounts:
  - name: main
    api_key: k
    api_secret: s
strategies:
  - name: trend
    kind: trend_folower
    account: other
    symbols: [BTCUSDT]
shutdown:
  shutdown_order: [strategy_runners, order_managers]
";

const EXPECTED: [&str; 14] = [
    "c.yaml:3:3: app.nmae: unknown key; did you mean `name`?",
    "c.yaml:5:9: server.host: found `0.0.0.0`, which others can reach",
    "c.yaml:6:9: server.port: found `eighty`, allowed: a whole number from 0 to 65535",
    "c.yaml:7:17: server.read_timeout: found `30`, allowed: a duration with unit from 100ms to 1h",
    "c.yaml:8:3: server.trusted_proxie: unknown key; did you mean `trusted_proxies`?",
    "c.yaml:11:19: database.max_idle_conns: found 9, allowed: database.max_open_conns (5) at most",
    "c.yaml:12:13: database.password: it cannot be decrypted: it was made with another key, or is damaged",
    "c.yaml:13:9: database.port: found `70000`, allowed: a whole number from 1 to 65535",
    "c.yaml:15:9: redis.addr: found `localhost`, allowed: host:port",
    "c.yaml:17:15: jwt.secret_key: found 13 bytes, allowed: text of 32 bytes or more",
    "c.yaml:19:10: logging.level: found `loud`, allowed: error, warn, info, debug, trace",
    "c.yaml:20:3: logging.level: stands twice; the first is in line 19",
    "c.yaml:28:14: strategies[0].account: no account is named `other`; there are: main",
    "c.yaml:31:19: shutdown.shutdown_order: `",
];

fn lines(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

fn compare(found: &[String], expected: &[&str]) {
    let mut missing: Vec<&str> = expected.to_vec();
    let more: Vec<&String> = found
        .iter()
        .filter(|line| match missing.iter().position(|expected| line.starts_with(expected)) {
            Some(at) => {
                missing.remove(at);
                false
            }
            None => true,
        })
        .collect();
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\nmore: {more:#?}");
}

fn planted(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let file = ["c.yaml".to_owned(), text.to_owned()];
    let mut examined = examine(&Inputs { file, environment, ..Inputs::default() }).expect("YAML");
    let checked = crate::check_strategies(examined.config(), &qcat_core::strategy::Registry::builtin());
    examined.also(checked);
    lines(&examined.finish().err().unwrap_or_default())
}

#[test]
fn every_planted_fault_is_told_once_with_its_line_and_column() {
    let found = planted(
        PLANTED,
        &[("QCAT_ENCRYPTION_KEY", "a passphrase of some length"), ("QCAT_SERVER_PROT", "1"), ("QCAT_REDIS_DB", "x")],
    );
    let mut expected = EXPECTED.to_vec();
    expected.push("environment: QCAT_SERVER_PROT: unknown key; did you mean `QCAT_SERVER_PORT`?");
    expected.push("environment QCAT_REDIS_DB: redis.db: found `x`, allowed: a whole number from 0 to 65535");
    expected.push("c.yaml:27:11: strategies[0].kind: ");
    compare(&found, &expected);
    // In the order of the file, then of the environment.
    let places: Vec<usize> = found.iter().filter_map(|line| line.split(':').nth(1)?.parse().ok()).collect();
    assert!(places.is_sorted() && places.len() == 15, "{places:?}");
    assert!(!found.join("\n").contains("hunter"), "{found:#?}");
}

#[test]
fn a_file_that_is_not_yaml_is_the_only_fault() {
    let found = planted_syntax("app:\n  name: [QCAT\n  nmae: x\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("c.yaml:3:") && found[0].contains("not valid YAML"), "{found:?}");
}

fn planted_syntax(text: &str) -> Vec<String> {
    let file = ["c.yaml".to_owned(), text.to_owned()];
    lines(&examine(&Inputs { file, ..Inputs::default() }).err().unwrap_or_default())
}

#[test]
fn what_is_missing_is_told_at_its_section() {
    let found = planted("app: {name: x}\naccounts:\n  - {api_key: k, api_secret: s}\nstrategies:\n  - name: a\n", &[]);
    let expected = [
        "c.yaml:3:5: accounts[0].name: is missing and has no default",
        "c.yaml:5:5: strategies[0].kind: is missing and has no default",
        "c.yaml:5:5: strategies[0].symbols: is missing and has no default",
    ];
    compare(&found, &expected);
    compare(&planted("app: {name: x}\n", &[]), &["c.yaml:1:1: accounts: at least one account is needed"]);
}
