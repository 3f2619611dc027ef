//! Secrets are used, and never shown.

use super::*;
use qcat_io::secret::enc::EncryptionKey;
use secrecy::ExposeSecret;

const PASSPHRASE: &str = "your_encryption_key_here";
/// What must stand in no text, wherever it was given.
const PLANTED: [&str; 7] = [
    "hunter-api-key",
    "hunter-api-secret",
    "hunter-database",
    "hunter-redis",
    "hunter-token-key-of-32-bytes-and-more",
    "hunter-encryption-key",
    "hunter-wrong",
];

fn sealed(text: &str) -> String {
    EncryptionKey::parse(PASSPHRASE).expect("a key").encrypt(&text.into()).expect("encrypted")
}

fn clean(what: &str, text: &str) {
    for secret in PLANTED.iter().chain(&["hunter", PASSPHRASE]) {
        assert!(!text.contains(secret), "{what} holds {secret}:\n{text}");
    }
}

fn config(text: &str, key: &str) -> Result<Config, Vec<Fault>> {
    parse("c.yaml", text, &[("QCAT_ENCRYPTION_KEY".to_owned(), key.to_owned())])
}

#[test]
fn an_encrypted_secret_is_read_and_what_cannot_be_opened_is_named() {
    let text = format!("{MINIMAL}database:\n  password: \"{}\"\n", sealed("secret"));
    let password = config(&text, PASSPHRASE).expect("valid").database.password.expect("set");
    assert_eq!(password.expose_secret(), "secret");
    let told = |text: &str, key| config(text, key).err().map(|faults| faults[0].to_string()).unwrap_or_default();
    let wrong = told(&text, "another_encryption_key");
    assert_eq!(
        wrong,
        "c.yaml:13:13: database.password: it cannot be decrypted: it was made with another key, or is damaged"
    );
    let short = told(&text, "short");
    assert!(short.starts_with("environment QCAT_ENCRYPTION_KEY: QCAT_ENCRYPTION_KEY: it is neither"), "{short}");
    let without = parse("c.yaml", &text, &[]).expect_err("no key")[0].to_string();
    assert_eq!(without, "c.yaml:13:13: database.password: is encrypted, and QCAT_ENCRYPTION_KEY is not set");
    let form = told(&format!("{MINIMAL}redis:\n  password: ENC:encrypted_password\n"), PASSPHRASE);
    assert!(form.starts_with("c.yaml:13:13: redis.password: it does not have the form ENC:v1:BASE64"), "{form}");
    let short_key = format!("{MINIMAL}jwt:\n  secret_key: \"{}\"\n", sealed("hunter-too-short"));
    let told_short = told(&short_key, PASSPHRASE);
    assert_eq!(told_short, "c.yaml:13:15: jwt.secret_key: found 16 bytes, allowed: text of 32 bytes or more");
    let name = told(&format!("{MINIMAL}app:\n  name: \"{}\"\n", sealed("QCAT")), PASSPHRASE);
    assert!(name.contains("app.name: found an encrypted value, which only secrets may be"), "{name}");
}

#[test]
fn a_run_without_an_exchange_needs_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, format!("{MINIMAL}redis:\n  password: \"{}\"\n", sealed("x"))).expect("written");
    assert!(load_offline(&path).expect("valid").redis.password.is_none());
}

#[test]
fn no_secret_is_shown_wherever_it_was_given() {
    let text = MINIMAL.replace("api_key: k", "api_key: hunter-api-key")
        + "jwt: { secret_key: hunter-token-key-of-32-bytes-and-more }\n";
    let good = Inputs {
        file: ["c.yaml".to_owned(), text.clone()],
        dotenv: Some(inputs::DotEnv {
            source: ".env".to_owned(),
            text: "QCAT_DATABASE_PASSWORD=hunter-database\nQCAT_ENCRYPTION_KEY=hunter-encryption-key\n".to_owned(),
            open_to_others: false,
        }),
        environment: vec![
            ("QCAT_REDIS_PASSWORD".to_owned(), "hunter-redis".to_owned()),
            ("QCAT_ACCOUNTS_MAIN_API_SECRET".to_owned(), "hunter-api-secret".to_owned()),
        ],
        ..Inputs::default()
    };
    let examined = examine(&good).expect("YAML");
    clean("a warning", &examined.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let config = examined.finish().expect("valid");
    assert_eq!(config.accounts[0].api_secret.expose_secret(), "hunter-api-secret");
    clean("Debug", &format!("{config:#?}"));
    let printed = print::effective(&config);
    clean("--print-config", &printed);
    assert_eq!(printed.matches("\"***\"").count(), 5, "{printed}");
}

#[test]
fn no_secret_is_shown_in_a_fault_of_its_value() {
    let wrong = |yaml: &str, dotenv: &str, name: &str, value: &str, set: &str| {
        let inputs = Inputs {
            file: ["c.yaml".to_owned(), format!("{MINIMAL}{yaml}\n")],
            dotenv: Some(inputs::DotEnv { source: ".env".to_owned(), text: dotenv.to_owned(), open_to_others: true }),
            environment: vec![(name.to_owned(), value.to_owned())],
            sets: vec![set.to_owned()],
            offline: None,
        };
        let faults = examine(&inputs).and_then(Examined::finish).err().unwrap_or_default();
        assert!(!faults.is_empty(), "{yaml} {dotenv} {name} {set}");
        clean("a fault", &faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    };
    let name = "QCAT_APP_NAME";
    wrong("jwt: { secret_key: hunter-wrong }", "", name, "x", "app.name=x");
    wrong("jwt: { secret_key: [hunter-wrong] }", "", name, "x", "app.name=x");
    wrong("jwt: { secret_key: { hunter: hunter-wrong } }", "", name, "x", "app.name=x");
    wrong("jwt: hunter-wrong", "", name, "x", "app.name=x");
    wrong("redis: { password: \"ENC:hunter-wrong\" }", "", name, "x", "app.name=x");
    wrong("redis: { passwrd: hunter-wrong }", "", name, "x", "app.name=x");
    wrong("redis: { addr: \"redis://:hunter-wrong@localhost:6379\" }", "", name, "x", "app.name=x");
    wrong("server: { host: \"user:hunter-wrong@localhost\" }", "", name, "x", "app.name=x");
    wrong("exchange: { rest_url: \"https://user:hunter-wrong@example.com\" }", "", name, "x", "app.name=x");
    wrong("security: { cors_origins: [\"https://u:hunter-wrong@example.com\"] }", "", name, "x", "app.name=x");
    wrong("", "QCAT_JWT_SECRET_KEY=hunter-wrong\n", name, "x", "app.name=x");
    wrong("", "QCAT_JWT_SECRET_KEY=\"hunter-wrong\n", name, "x", "app.name=x");
    wrong("", "QCAT_JWT_SECRETKEY=hunter-wrong\nQCAT_REDIS_PASSWORD hunter-wrong\n", name, "x", "app.name=x");
    wrong("", "", "QCAT_JWT_SECRET_KEY", "hunter-wrong", "app.name=x");
    wrong("", "", "QCAT_ENCRYPTION_KEY", "hunter", "app.name=x");
    wrong("", "", name, "x", "jwt.secret_key=hunter-wrong");
    wrong("", "", name, "x", "redis.passwrd=hunter-wrong");
}

#[test]
fn a_secret_in_clear_is_warned_of_in_production_alone() {
    let warned = |environment: &str| {
        let file = ["c.yaml".to_owned(), format!("{MINIMAL}app: {{ environment: {environment} }}\n")];
        let examined = examine(&Inputs { file, ..Inputs::default() }).expect("YAML");
        examined.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = "c.yaml:4:14: accounts[0].api_key: a secret in clear in a production file: encrypt it (`qcat encrypt`)";
    assert_eq!(warned("production").len(), 2);
    assert_eq!(warned("production")[0], told);
    assert!(warned("simulation").is_empty());
}
