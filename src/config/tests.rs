use super::*;

mod secrets;
mod sources;
mod twelve;
mod written;

const MINIMAL: &str = "
accounts:
  - name: main
    api_key: k
    api_secret: s
strategies:
  - name: trend
    kind: trend_follower
    account: main
    symbols: [BTCUSDT]
    params: { fast: 5, size: 0.5, side: both }
";

fn faults(text: &str) -> Vec<String> {
    match parse("c.yaml", text, &[]) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_small_file_is_enough_and_the_rest_has_defaults() {
    let config = parse("c.yaml", MINIMAL, &[]).expect("valid");
    assert_eq!(config.exchange.rest_url, "https://fapi.binance.com");
    assert_eq!(config.strategies[0].params["size"], qcat_core::config::ParamValue::Float(0.5));
    assert_eq!(config.shutdown.order.len(), model::COMPONENT_NAMES.len());
    assert!(!config.is_loopback());
}

#[test]
fn the_table_names_every_strategy() {
    let row = schema::rows().find(|row| row.path == "strategies[].kind").expect("a row");
    for spec in qcat_core::strategy::Registry::builtin().iter() {
        assert!(row.doc.contains(&format!("`{}`", spec.name)), "{} is missing in: {}", spec.name, row.doc);
    }
}

#[test]
fn every_fault_is_told_in_one_run_with_its_place() {
    let text = "
exchnge:
  rest_url: x
exchange:
  rest_url: ftp://a
  recv_window: 30
accounts:
  - name: main
    api_key: k
    api_secret: s
    leverage: 200
    leverage: 3
    limits:
      daily_loss_max: -5
strategies:
  - name: a
    kind: trend_follower
    account: other
    symbols: []
risk:
  heartbeat: yes
";
    let found = faults(text);
    let expect = [
        "c.yaml:2:1: exchnge: unknown key; did you mean `exchange`?",
        "c.yaml:5:13: exchange.rest_url: `ftp://a` is not a usable URL",
        "c.yaml:6:16: exchange.recv_window: found `30`",
        "c.yaml:11:15: accounts[0].leverage: found `200`, allowed: a whole number from 1 to 125",
        "c.yaml:12:5: accounts[0].leverage: stands twice; the first is in line 11",
        "c.yaml:14:23: accounts[0].limits.daily_loss_max: found `-5`",
        "c.yaml:18:14: strategies[0].account: no account is named `other`; there are: main",
        "c.yaml:19:14: strategies[0].symbols: found an empty list",
        "c.yaml:21:14: risk.heartbeat: found `yes`",
    ];
    for line in expect {
        assert!(found.iter().any(|f| f.starts_with(line)), "missing: {line}\nfound: {found:#?}");
    }
    assert_eq!(found.len(), expect.len(), "{found:#?}");
}

#[test]
fn what_spans_several_keys_is_checked_too() {
    let text = MINIMAL.replace("account: main", "account: mine") + "risk: { heartbeat: 5s, budget_ttl: 5s }\n";
    let found = faults(&text);
    assert!(found[0].starts_with("c.yaml:9:14: strategies[0].account: no account is named `mine`"), "{found:#?}");
    assert!(found[1].contains("risk.budget_ttl: must be longer"), "{found:#?}");
    let found = faults(&format!("{MINIMAL}orders: {{ absent_after: 9500ms }}\n"));
    let told = "c.yaml:12:25: shutdown.component_timeout: must be longer than orders.absent_after";
    assert!(found[0].starts_with(told), "{found:#?}");
}

#[test]
fn an_order_is_never_given_up_while_the_exchange_may_still_take_it() {
    let told = faults(&format!("{MINIMAL}exchange: {{recv_window: 5s}}\norders: {{absent_after: 5900ms}}\n"));
    assert!(
        told[0].starts_with("c.yaml:13:24: orders.absent_after: must be longer than exchange.recv_window"),
        "{told:?}"
    );
    assert!(faults(&format!("{MINIMAL}orders: {{absent_after: 6s}}\n")).is_empty());
}

#[test]
fn a_key_never_leaves_the_machine_in_clear() {
    let told = faults(&format!(
        "{MINIMAL}exchange:\n  rest_url: http://example.com\n  ws_public_url: ws://127.0.0.1:1/public\n"
    ));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("c.yaml:13:13: exchange.rest_url: `example.com` is on another machine"), "{told:?}");
}

#[test]
fn what_cannot_be_traded_yet_is_refused_with_its_place() {
    let settings = "    position_mode: hedge\n    multi_assets: true\n    margin_type: isolated\n";
    let found = faults(&MINIMAL.replace("    api_key: k\n", &format!("    api_key: k\n{settings}")));
    let expect = [
        "c.yaml:5:20: accounts[0].position_mode: found `hedge`, which is not supported yet; allowed: one_way",
        "c.yaml:6:19: accounts[0].multi_assets: found `true`, which is not supported yet; allowed: false",
        "c.yaml:7:18: accounts[0].margin_type: found `isolated`, which is not supported yet; allowed: cross",
    ];
    assert_eq!(found, expect);
}

#[test]
fn strategies_of_one_account_share_its_margin_asset() {
    use qcat_core::binance::instruments;
    let file = include_str!("../../configs/instruments.json");
    let (first, second) = file.split_at(file.find("\"ETHUSDT\"").expect("listed"));
    let file = format!("{first}{}", second.replacen("\"marginAsset\": \"USDT\"", "\"marginAsset\": \"BNB\"", 1));
    let info = instruments::from_json(file.as_bytes()).expect("definitions");
    let universe = instruments::universe_of(&info).expect("a universe");
    let text = format!("{MINIMAL}  - {{name: other, kind: trend_follower, symbols: [ETHUSDT]}}\n");
    let found = parse("c.yaml", &text, &[]).expect("valid alone").engine(&universe).expect_err("two assets");
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expect = "strategies[1].symbols: ETHUSDT margins in BNB, its account in USDT: it needs its own";
    assert!(told.len() == 1 && told[0].starts_with("c.yaml:12:") && told[0].ends_with(expect), "{told:?}");
}

#[test]
fn the_environment_overrides_and_unknown_variables_are_faults() {
    let env =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let set = env(&[("QCAT_ACCOUNTS_MAIN_LEVERAGE", "7"), ("QCAT_JOURNAL_DIR", "/tmp/j")]);
    let config = parse("c.yaml", MINIMAL, &set).expect("valid");
    assert_eq!(config.journal.dir, std::path::PathBuf::from("/tmp/j"));
    let found = parse("c.yaml", MINIMAL, &env(&[("QCAT_JOURNAL_DIRR", "x"), ("QCAT_RISK_HEARTBEAT", "9")]))
        .expect_err("faults");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found[0].contains("did you mean `QCAT_JOURNAL_DIR`?"), "{found:?}");
    assert!(found[1].starts_with("environment QCAT_RISK_HEARTBEAT: risk.heartbeat: found `9`"), "{found:?}");
}

#[test]
fn secrets_stand_in_no_fault_and_no_debug_text() {
    let text = MINIMAL.replace("api_secret: s", "api_secret: [hunter2]").replace("api_key: k", "api_key: hunter3");
    assert!(!faults(&text).join("\n").contains("hunter"));
    let config = parse("c.yaml", &MINIMAL.replace("api_secret: s", "api_secret: hunter2"), &[]).expect("valid");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn no_two_keys_share_a_variable_and_defaults_satisfy_their_rows() {
    let mut names: Vec<String> = schema::rows().map(|row| values::variable(&row.path.replace("[]", ".x"))).collect();
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    parse("c.yaml", MINIMAL, &[]).expect("defaults are valid");
}

#[test]
fn every_section_is_described_and_has_its_keys_together() {
    let mut sections: Vec<&str> = schema::rows().filter_map(|row| row.path.split(['.', '[']).next()).collect();
    sections.dedup();
    let mut described: Vec<&str> = schema::SECTIONS.iter().map(|(name, _)| *name).collect();
    sections.sort();
    described.sort();
    assert_eq!(sections, described);
}

#[test]
fn durations_need_a_unit() {
    let millis = |text| value::parse_duration(text).map(|s| s.millis());
    assert_eq!(
        [millis("30s"), millis("5m"), millis("1m30s"), millis("250ms"), millis("2h")].map(Option::unwrap),
        [30_000, 300_000, 90_000, 250, 7_200_000]
    );
    assert!(["30", "", "s", "-5s", "5 s", "1d", "99999999999999999999s"].iter().all(|t| millis(t).is_none()));
}

#[test]
fn a_public_address_needs_tls_or_a_proxy_that_is_trusted() {
    let told = |server: &str| faults(&format!("{MINIMAL}server: {server}\n"));
    let refused = told("{ host: 0.0.0.0 }");
    assert!(refused.len() == 1 && refused[0].starts_with("c.yaml:12:17: server.host: found `0.0.0.0`"), "{refused:?}");
    assert_eq!(told("{ host: 0.0.0.0, trusted_proxies: [10.0.0.0/8, 192.0.2.1] }"), [] as [&str; 0]);
    assert_eq!(told("{ host: qcat.example.com, tls_cert_file: c.pem, tls_key_file: k.pem }"), [] as [&str; 0]);
    assert_eq!(told("{ host: \"::1\" }"), [] as [&str; 0]);
    let half = told("{ tls_cert_file: c.pem }");
    assert!(half.len() == 1 && half[0].contains("server.tls_cert_file: needs server.tls_key_file"), "{half:?}");
    let network = told("{ trusted_proxies: [10.0.0.1/8] }");
    assert!(network[0].contains("server.trusted_proxies: found `10.0.0.1/8`, allowed: a list of IP"), "{network:?}");
}

#[test]
fn the_database_is_the_one_that_is_described() {
    let kind = |text: &str| parse("c.yaml", &format!("{MINIMAL}{text}\n"), &[]).expect("valid").database.kind;
    assert_eq!(kind(""), model::DatabaseKind::Sqlite);
    assert_eq!(kind("database: { host: db.example.com }"), model::DatabaseKind::Postgres);
    assert_eq!(kind("database: { kind: postgres }"), model::DatabaseKind::Postgres);
    assert_eq!(kind("database: { kind: sqlite, host: db.example.com }"), model::DatabaseKind::Sqlite);
}

#[test]
fn single_components_may_have_their_own_time_to_stop() {
    let told = |times: &str| parse("c.yaml", &format!("{MINIMAL}shutdown: {{ component_timeouts: {times} }}\n"), &[]);
    let shutdown = told("{ strategy_runners: 3s }").expect("valid").shutdown;
    assert_eq!(shutdown.timeout_of("strategy_runners").millis(), 3_000);
    assert_eq!(shutdown.timeout_of("order_managers").millis(), 10_000);
    let text = |times| told(times).expect_err("a fault")[0].to_string();
    assert!(text("{ order_managers: 3s }").contains("must be longer than orders.absent_after"));
    assert!(text("{ strategy_runner: 3s }").contains("did you mean `strategy_runners`?"));
    assert!(text("{ strategy_runners: 3 }").contains("found `strategy_runners: 3`"));
}
