//! A daemon process at a simulator, its API, and who asks it.
#![allow(dead_code)] // Each test uses a part of it.

use crate::daemon::{self, until};
use qcat::api::auth::{LOCAL, now};
use qcat_io::net::call::call;
use qcat_io::net::tls::Connector;
use qcat_io::net::url::Url;
use qcat_io::secret::jwt::Tokens;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

/// The key that signs tokens.
pub const KEY: &str = "a key of the tests, longer than 32 bytes";
/// The password of every user.
pub const PASSWORD: &str = "correct horse battery";
/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(20);
/// A free port for everything, a log to read, and as many requests as anybody likes.
const SETTINGS: [&str; 9] = [
    "server.port=0",
    "monitoring.prometheus_enabled=true",
    "monitoring.prometheus_port=0",
    "logging.output=stderr",
    "logging.format=text",
    "security.rate_limit_enabled=true",
    "security.rate_limit_requests=10000000",
    "security.rate_limit_window=1s",
    "health.check_interval=1s",
];

/// A daemon process; it ends with this value.
pub struct Running {
    pub child: Child,
    pub config: PathBuf,
    log: PathBuf,
    folder: tempfile::TempDir,
    connector: Connector,
    api: Option<Url>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// A daemon with this configuration in a directory of its own; `prepare` may do something with the configuration first.
    /// Returns when its API listens.
    pub async fn start(text: impl FnOnce(&Path) -> String, prepare: impl FnOnce(&Path)) -> Running {
        Running::with(text, prepare, &[]).await
    }

    /// The same, with more settings.
    pub async fn with(text: impl FnOnce(&Path) -> String, prepare: impl FnOnce(&Path), more: &[&str]) -> Running {
        let folder = tempfile::tempdir().expect("a directory");
        let (config, log) = (folder.path().join("config.yaml"), folder.path().join("daemon.log"));
        let journal = folder.path().join("journal");
        let text = format!("{}jwt: {{ secret_key: \"{KEY}\" }}\n", text(&journal));
        std::fs::write(&config, text).expect("written");
        prepare(&config);
        let logs = format!("logging.log_dir={}", folder.path().join("logs").display());
        let settings = SETTINGS.iter().copied().chain([logs.as_str()]).chain(more.iter().copied());
        let settings: Vec<&str> = settings.flat_map(|setting| ["--set", setting]).collect();
        let child = daemon::spawn_with(&config, &log, &settings);
        let connector = Connector::new(None).expect("no certificates are read");
        let mut running = Running { child, config, log, folder, connector, api: None };
        until("the API does not listen", || running.find_api()).await;
        running
    }

    /// The log says where the API listens.
    fn find_api(&mut self) -> bool {
        let log = self.log();
        assert!(self.child.try_wait().expect("a child").is_none(), "{log}");
        let line = log.lines().find(|line| line.contains("the API listens"));
        let port = line.and_then(|line| line.split("127.0.0.1:").nth(1)?.split(|c: char| !c.is_ascii_digit()).next());
        self.api = port.map(|port| Url::parse(&format!("http://127.0.0.1:{port}"), ["http", "https"]).expect("a URL"));
        self.api.is_some()
    }

    /// The API's address.
    pub fn address(&self) -> String {
        self.api.as_ref().expect("it listens").address()
    }

    /// Where metrics are served besides the API.
    pub async fn metrics_address(&self) -> String {
        let http = self.get("/api/v1/components/http_server").await;
        let text = http["facts"].to_string();
        let at = text.split("metrics_listen").nth(1).and_then(|rest| rest.split("127.0.0.1:").nth(1));
        let port = at.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        format!("127.0.0.1:{}", port.unwrap_or_else(|| panic!("no port for metrics: {http}")))
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// What it said to standard error, and then to its log file.
    pub fn log(&self) -> String {
        let file = self.folder.path().join("logs/qcat.log");
        [&self.log, &file].map(|path| std::fs::read_to_string(path).unwrap_or_default()).concat()
    }

    /// Asks; `None` when nobody answers.
    pub async fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> Option<(u16, String)> {
        let api = self.api.as_ref().expect("it listens");
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let headers = &headers[usize::from(token.is_empty())..if body.is_empty() { 1 } else { 2 }];
        let answer = call(&self.connector, api, (method, path), headers, body.to_owned(), WITHIN).await.ok()?;
        Some((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// Reads as a viewer; `None` when nobody answers.
    pub async fn look(&self, path: &str) -> Option<(u16, Value)> {
        let (status, text) = self.ask("GET", path, &token("viewer"), "").await?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Reads as a viewer, what must be there.
    pub async fn get(&self, path: &str) -> Value {
        match self.look(path).await {
            Some((200, value)) => value,
            other => panic!("{path}: {other:?}\n{}", self.log()),
        }
    }

    /// The token of a user who logs in.
    pub async fn login(&self, name: &str) -> String {
        let body = serde_json::json!({"name": name, "password": PASSWORD}).to_string();
        let (status, text) = self.ask("POST", "/api/v1/auth/login", "", &body).await.expect("an answer");
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Waits until every account may trade.
    pub async fn trades(&self) {
        for _ in 0..1_200 {
            if self.look("/health/ready").await.is_some_and(|(_, body)| body["trading_ready"] == true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not trade:\n{}", self.log());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        daemon::ended(&mut self.child).await
    }
}

/// A token as the command line makes it for itself.
pub fn token(role: &str) -> String {
    let tokens = Tokens::new(&SecretString::from(KEY)).expect("long enough");
    tokens.issue(LOCAL, role, 0, now(), Duration::from_secs(300)).0.expose_secret().to_owned()
}

/// Adds a user as a person would.
pub fn add_user(config: &Path, name: &str, role: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_qcat"))
        .args(["user", "add", name, "--role", role])
        .env_clear()
        .env("QCAT_CONFIG", config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(format!("{PASSWORD}\n").as_bytes()).expect("taken");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "{}", said(&output));
}

/// Runs a command to its end while everything else goes on.
pub async fn tool(mut command: Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let run = move || command.output();
    let output = tokio::task::spawn_blocking(run).await.expect("it does not panic");
    output.unwrap_or_else(|error| panic!("{name} cannot be run ({error}); `.ci/run` installs what the tests need"))
}

/// Where `.ci/run` keeps the tools of Python.
pub fn python(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("below the target directory");
    target.join("python/bin").join(name)
}

/// What a tool said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
