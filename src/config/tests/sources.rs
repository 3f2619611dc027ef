//! Where values come from: their order, and what is told of each.

use super::*;
use inputs::DotEnv;

fn inputs(text: &str, dotenv: &str, environment: &[(&str, &str)], sets: &[&str]) -> Inputs {
    Inputs {
        file: ["c.yaml".to_owned(), text.to_owned()],
        dotenv: Some(DotEnv { source: ".env".to_owned(), text: dotenv.to_owned(), open_to_others: false }),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        offline: None,
    }
}

fn told(inputs: &Inputs) -> Vec<String> {
    let faults = examine(inputs).and_then(Examined::finish).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn each_source_overrides_those_before_it() {
    let text = format!("{MINIMAL}server: {{ port: 1 }}\n");
    let port = |dotenv, environment: &[(&str, &str)], sets: &[&str]| {
        let config = examine(&inputs(&text, dotenv, environment, sets)).and_then(Examined::finish).expect("valid");
        let origin = config.values.told(&config.values.settings["server.port"].origin);
        (config.server.port, origin)
    };
    let env = [("QCAT_SERVER_PORT", "3")];
    assert_eq!(port("", &[], &[]), (1, "c.yaml:12:17".to_owned()));
    assert_eq!(port("# one\nQCAT_SERVER_PORT=2\n", &[], &[]), (2, ".env:2".to_owned()));
    assert_eq!(port("QCAT_SERVER_PORT=2\n", &env, &[]), (3, "QCAT_SERVER_PORT".to_owned()));
    assert_eq!(port("QCAT_SERVER_PORT=2\n", &env, &["server.port=4"]), (4, "command line".to_owned()));
}

#[test]
fn every_source_tells_its_faults_with_their_place() {
    let found = told(&inputs(
        MINIMAL,
        "QCAT_SERVER_PORT=x\nQCAT_SERVRE_PORT=1\nPATH=/bin\nbroken\n",
        &[("QCAT_APP_NAM", "x"), ("QCAT_HEALTH_TIMEOUT", "1")],
        &["server.pot=1", "server.port", "jwt.secret_key=hunter2", "accounts.main.leverage=0", "accounts[0].live=yes"],
    ));
    let expected = [
        ".env:1:1: server.port: found `x`, allowed: a whole number from 0 to 65535",
        ".env:2:1: QCAT_SERVRE_PORT: unknown key; did you mean `QCAT_SERVER_PORT`?",
        ".env:4:1: found no `=`, allowed: NAME=VALUE, or a comment beginning with #",
        "environment: QCAT_APP_NAM: unknown key; did you mean `QCAT_APP_NAME`?",
        "environment QCAT_HEALTH_TIMEOUT: health.timeout: found `1`, allowed",
        "command line: server.pot: unknown key; did you mean `server.port`?",
        "command line: found no `=`, allowed: --set KEY=VALUE",
        "command line: jwt.secret_key: is a secret: everybody on the machine can read a command line",
        "command line: accounts[0].leverage: found `0`, allowed: a whole number from 1 to 125",
        "command line: accounts[0].live: found `yes`, allowed: true, false",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for line in expected {
        assert!(found.iter().any(|found| found.starts_with(line)), "missing: {line}\nfound: {found:#?}");
    }
}

#[test]
fn what_spans_several_keys_is_told_where_one_of_them_was_set() {
    let found = told(&inputs(MINIMAL, "\nQCAT_DATABASE_MAX_OPEN_CONNS=2\n", &[], &[]));
    assert_eq!(found, [".env:2:1: database.max_idle_conns: found 5, allowed: database.max_open_conns (2) at most"]);
    let found = told(&inputs(MINIMAL, "", &[("QCAT_SERVER_HOST", "0.0.0.0")], &[]));
    assert!(found[0].starts_with("environment QCAT_SERVER_HOST: server.host: found `0.0.0.0`"), "{found:?}");
}

#[test]
fn a_variable_that_two_accounts_share_is_refused() {
    let text = "accounts:\n  - {name: a-b, api_key: k, api_secret: s}\n  - {name: a_b, api_key: k, api_secret: s}\n";
    let found = told(&inputs(text, "", &[], &[]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("c.yaml:3:12: accounts[1].name: shares the variable QCAT_ACCOUNTS_A_B_"), "{found:?}");
}

#[test]
fn a_file_of_secrets_belongs_to_its_owner_alone() {
    let open = |dotenv: &str| {
        let mut inputs = inputs(MINIMAL, dotenv, &[], &[]);
        inputs.dotenv.as_mut().expect("given").open_to_others = true;
        inputs
    };
    for (text, line) in [("QCAT_APP_NAME=x\nQCAT_ENCRYPTION_KEY=0123456789abcdef\n", 2), ("QCAT_REDIS_PASSWORD=x\n", 1)]
    {
        let found = told(&open(text));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!(".env:{line}:1: found a file that others")), "{found:?}");
    }
    let examined = examine(&open("QCAT_APP_NAME=x\n")).expect("YAML");
    assert!(examined.warnings.iter().any(|warning| warning.source == ".env"), "{:?}", examined.warnings);
    assert_eq!(examined.finish().expect("valid").app.name, "x");
}

#[test]
fn the_file_beside_the_configuration_is_found_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let (file, dotenv) = (folder.path().join("config.yaml"), folder.path().join(".env"));
    std::fs::write(&file, MINIMAL).expect("written");
    std::fs::write(&dotenv, "QCAT_REDIS_PASSWORD=hunter2\n").expect("written");
    for (mode, open) in [(0o640, true), (0o600, false)] {
        std::fs::set_permissions(&dotenv, std::fs::Permissions::from_mode(mode)).expect("set");
        let inputs = Inputs::gather(&file, Vec::new()).expect("read");
        assert_eq!(inputs.dotenv.map(|file| file.open_to_others), Some(open));
    }
    let missing = Inputs::gather(&folder.path().join("none.yaml"), Vec::new()).err().expect("a fault");
    assert!(missing[0].to_string().contains("none.yaml: cannot be read"), "{missing:?}");
}

#[test]
fn what_is_read_anew_takes_effect_or_waits() {
    let config = |more: &str| parse("c.yaml", &format!("{MINIMAL}{more}"), &[]).expect("valid");
    let old = config("redis: { password: one }\nlogging: { level: info }\nserver: { port: 1 }\n");
    assert_eq!(reload(&old, &old), Reload::default());
    let new = config("redis: { password: two }\nlogging: { level: debug }\nhealth: { timeout: 3s }\n  \n");
    let found = reload(&old, &new);
    let now: Vec<(&str, &str)> = found.changed_now.iter().map(|c| (c.key.as_str(), c.value.as_str())).collect();
    assert_eq!(now, [("logging.level", "debug"), ("health.timeout", "3s")]);
    assert_eq!(found.needs_restart, ["server.port", "redis.password"]);
    let renamed = parse("c.yaml", &MINIMAL.replace("name: trend", "name: other"), &[]).expect("valid");
    assert!(reload(&config(""), &renamed).needs_restart.contains(&"strategies.other.kind".to_owned()));
}
