//! What is written from the table: documentation, sample file, the values in force.

use super::*;
use std::path::PathBuf;

/// Rewrites a file of the repository when asked to, and compares it.
fn is_written(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("QCAT_WRITE_SAMPLE").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{name} is not what the table says; write it: QCAT_WRITE_SAMPLE=1 cargo nextest run --lib config::tests::written"
    );
}

#[test]
fn the_documentation_and_the_sample_are_what_the_table_says() {
    is_written("docs/configuration.md", &docs::markdown());
    is_written("configs/config.yaml", &docs::sample());
}

#[test]
fn the_sample_holds_every_default_and_is_valid() {
    let sample = parse("configs/config.yaml", &docs::sample(), &[]).unwrap_or_else(|faults| panic!("{faults:#?}"));
    sample.check_credentials().expect("they stand in it");
    let registry = qcat_core::strategy::Registry::builtin();
    crate::check_strategies(&sample, &registry).expect("its strategy is known");
    crate::daemon::stop_plan(&sample).expect("its order is allowed");
    let text = "accounts:\n  - {name: main, api_key: replace-me, api_secret: replace-me}\nstrategies:\n  \
                - {name: trend, kind: trend_follower, account: main, symbols: [BTCUSDT]}\n";
    let small = parse("c.yaml", text, &[]).expect("valid");
    // They differ in what has no default but an example in the sample.
    let Reload { changed_now, mut needs_restart } = reload(&small, &sample);
    needs_restart.retain(|key| !matches!(sample.values.get(key), Some(value::Leaf::Texts(list)) if list.is_empty()));
    assert!(changed_now.is_empty(), "{changed_now:?}");
    let examples = ["app.version", "shutdown.component_timeouts", "shutdown.shutdown_order", "strategies.trend.params"];
    needs_restart.sort();
    assert_eq!(needs_restart, examples);
}

#[test]
fn the_values_in_force_are_printed_with_where_they_came_from_and_can_be_read_again() {
    let text = format!("{MINIMAL}server: {{ port: 81 }}\nsecurity:\n  cors_origins: [\"https://a.example.com\"]\n");
    let environment = [("QCAT_APP_NAME".to_owned(), "night shift: 1".to_owned())];
    let config = parse("c.yaml", &text, &environment).expect("valid");
    let printed = print::effective(&config);
    let line = |start: &str| {
        let mut lines = printed.lines().map(str::trim_start);
        lines.find(|line| line.starts_with(start)).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("name:"), "name: \"night shift: 1\" # QCAT_APP_NAME");
    assert_eq!(line("port:"), "port: 81 # c.yaml:12:17");
    assert_eq!(line("read_timeout:"), "read_timeout: 30s # default");
    assert_eq!(line("# addr:"), "# addr: # unset");
    assert_eq!(line("params:"), "params: { fast: 5, size: 0.5, side: both } # c.yaml:11:13");
    let again = parse("printed", &printed, &[]).unwrap_or_else(|faults| panic!("{faults:#?}\n{printed}"));
    let differing = reload(&config, &again);
    assert!(differing.changed_now.is_empty(), "{differing:?}");
    assert_eq!(differing.needs_restart, ["accounts.main.api_key", "accounts.main.api_secret"], "only the masked");
}

/// The manual's file and variables, as they stand there but for what had to be encrypted, and what its program did not have.
#[test]
fn the_files_of_the_operations_manual_are_valid() {
    let key = qcat_io::secret::enc::EncryptionKey::parse("your_encryption_key_here").expect("a key");
    let sealed = |text: &str| key.encrypt(&text.into()).expect("encrypted");
    let (password, token) = (sealed("secure_password"), sealed("a key for tokens that is long enough"));
    let text = include_str!("data/manual.yaml")
        .replace("ENC:encrypted_password", &password)
        .replace("ENC:encrypted_secret_key", &token)
        + "accounts:\n  - name: main\n    api_key: k\n    api_secret: s\n";
    let dotenv = include_str!("data/manual.env")
        .replace("ENC:your_encrypted_password", &password)
        .replace("ENC:your_encrypted_jwt_secret", &token);
    let inputs = Inputs {
        file: ["config.yaml".to_owned(), text],
        dotenv: Some(inputs::DotEnv { source: ".env".to_owned(), text: dotenv, open_to_others: false }),
        ..Inputs::default()
    };
    let config = examine(&inputs).and_then(Examined::finish).unwrap_or_else(|faults| panic!("{faults:#?}"));
    crate::daemon::stop_plan(&config).expect("its order is allowed");
    assert_eq!(config.database.kind, model::DatabaseKind::Postgres);
    assert_eq!((config.redis.addr.as_deref(), config.jwt.expiration.as_secs()), (Some("localhost:6379"), 86_400));
    assert_eq!(
        config.database.password.map(|p| secrecy::ExposeSecret::expose_secret(&p).to_owned()).as_deref(),
        Some("secure_password")
    );
}
