//! A daemon that runs with secrets everywhere says none of them anywhere.
#![allow(clippy::unwrap_used)]

use qcat::api::auth::LOCAL;
use qcat_io::secret::jwt::Tokens;
use secrecy::{ExposeSecret, SecretString};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[path = "support/daemon.rs"]
mod daemon;

const JWT: &str = "planted-jwt-key-longer-than-32-bytes";
const SECRETS: [&str; 5] = ["sim-key", "sim-secret", JWT, "planted-database-password", "planted-redis-password"];

fn get(port: u16, path: &str) -> Option<String> {
    let tokens = Tokens::new(&SecretString::from(JWT)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let token = tokens.issue(LOCAL, "viewer", 0, now, Duration::from_secs(60)).0;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let token = token.expose_secret();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// Every file below, but the configuration.
fn files(directory: &Path, look: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, look);
        } else if !path.ends_with("config.yaml") {
            look(&path, &std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn no_secret_is_in_a_log_an_answer_a_metric_or_a_file() {
    daemon::on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let (config, exchange) = (folder.path().join("config.yaml"), daemon::exchange(31).await);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let logs = format!("logging: {{ level: debug, log_dir: {} }}\n", folder.path().join("logs").display());
        let stores = format!(
            "database: {{ kind: postgres, host: 127.0.0.1, port: 1, user: qcat, name: qcat, ssl_mode: disable, password: {} }}\n\
             redis: {{ addr: \"127.0.0.1:1\", password: {} }}\njwt: {{ secret_key: {JWT} }}\n{logs}",
            SECRETS[3], SECRETS[4]
        );
        let text = daemon::configuration(&exchange, &folder.path().join("journal"));
        let kept = text.lines().filter(|line| !line.starts_with("database:") && !line.starts_with("logging:"));
        let text = format!("{}\n{stores}", kept.collect::<Vec<_>>().join("\n"));
        std::fs::write(&config, text.replacen("  port: 0", &format!("  port: {port}"), 1)).unwrap();

        let mut running = daemon::spawn(&config, folder.path());
        daemon::until("nothing was traded", || daemon::trades(&exchange).len() >= 2).await;
        let paths =
            ["/health", "/metrics", "/api/v1/components", "/api/v1/accounts", "/api/v1/journal", "/api/v1/orders"];
        let paths =
            paths.into_iter().chain(["/api/v1/trades", "/api/v1/risk", "/api/v1/strategies", "/api/v1/openapi.json"]);
        for path in paths {
            let answer = tokio::task::spawn_blocking(move || get(port, path)).await.unwrap().expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 ") && !answer.contains(" 401 "), "{path}: {answer}");
            for secret in SECRETS {
                assert!(!answer.contains(secret), "{path} tells {secret}: {answer}");
            }
        }
        assert_eq!(daemon::stop(&mut running).await.code(), Some(0));
        let print = ["run", "--print-config", "--config", config.to_str().unwrap()];
        let printed = Command::new(env!("CARGO_BIN_EXE_qcat")).env_clear().args(print).output().unwrap();
        let printed = [printed.stdout, printed.stderr].concat();
        assert!(holds(&printed, "secret_key") && SECRETS.iter().all(|secret| !holds(&printed, secret)));
        let mut names = String::new();
        files(folder.path(), &mut |path, bytes| {
            names += &format!("{} ({}) ", path.display(), bytes.len());
            for secret in SECRETS {
                assert!(!holds(bytes, secret), "{} holds {secret}", path.display());
            }
        });
        assert!(["qcat.log", "error.log", "access.log"].iter().all(|name| names.contains(name)), "{names}");
        let access = std::fs::read_to_string(folder.path().join("logs/access.log")).unwrap();
        assert!(access.contains("/api/v1/accounts"), "{access}");
    });
}
