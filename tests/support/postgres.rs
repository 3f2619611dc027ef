//! A PostgreSQL server of our own: a cluster in a temporary directory, a free port, gone with the test.
#![allow(dead_code)]

use qcat_io::store::{PostgresOptions, SslMode};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The role that the product uses, and its password.
pub const USER: &str = "qcat_user";
pub const PASSWORD: &str = "planted-sec'ret";

/// The server.
pub struct Postgres {
    dir: TempDir,
    bin: PathBuf,
    pub port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("read");
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

fn bin() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    found.retain(|bin| bin.join("initdb").exists());
    found.sort();
    found.pop().expect("a PostgreSQL server is installed: apt-get install postgresql")
}

/// A command as the user `postgres` when we are root (the server refuses root), that ends when this process does.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT"]).arg(program).current_dir("/").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

fn signal(pid: u32, signal: &str) {
    run(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]));
}

impl Postgres {
    /// A server with these settings besides the usual ones.
    pub fn start(settings: &[&str]) -> Postgres {
        let dir = tempfile::Builder::new().prefix("qcat-pg-").tempdir().expect("a directory");
        let bin = bin();
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(dir.path()));
        }
        let data = dir.path().join("data");
        run(command(&bin.join("initdb"))
            .args(["-U", "postgres", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8"])
            .args(["--locale=C", "-D"])
            .arg(&data));
        let port = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Postgres { dir, bin, port, settings, child: None };
        server.resume();
        server.sql("postgres", &format!("CREATE ROLE {USER} LOGIN PASSWORD '{}'", PASSWORD.replace('\'', "''")));
        server
    }

    /// Settings for the next start, instead of those of this one.
    pub fn configure(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    }

    /// Writes a file that the server can read, for nobody else.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).expect("written");
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(&path));
        }
        run(Command::new("chmod").arg("600").arg(&path));
        path
    }

    /// Starts it (again) on the same data.
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if self.child.is_none() {
                self.child = Some(self.spawn());
            }
            let child = self.child.as_mut().expect("it was started");
            // It may find the memory of the one before still in use.
            if child.try_wait().expect("waited").is_some() {
                self.child = None;
            } else if self.is_ready() {
                return;
            }
            assert!(Instant::now() < deadline, "{}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(self.bin.join("pg_isready"));
        command.args(self.address()).args(["-t", "1", "-q"]).status().expect("started").success()
    }

    fn spawn(&self) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        let mut command = command(&self.bin.join("postgres"));
        command.arg("-D").arg(self.dir.path().join("data")).arg("-k").arg(self.dir.path());
        command.args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=32MB", "max_connections=40"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("started")
    }

    fn address(&self) -> [String; 4] {
        ["-h".to_owned(), self.dir.path().display().to_string(), "-p".to_owned(), self.port.to_string()]
    }

    /// What the server wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Runs SQL as the superuser; the answer without decoration.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(self.address()).args([
            "-U",
            "postgres",
            "-d",
            database,
            "-qAtX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]);
        run(&mut command).trim_end().to_owned()
    }

    /// A new database that our role owns, and how to reach it.
    pub fn database(&self, name: &str) -> PostgresOptions {
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {USER}"));
        self.options(name)
    }

    /// How to reach a database.
    pub fn options(&self, name: &str) -> PostgresOptions {
        PostgresOptions {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: USER.to_owned(),
            password: Some(PASSWORD.to_owned().into()),
            name: name.to_owned(),
            ssl_mode: SslMode::Disable,
            max_open_conns: 4,
            max_idle_conns: 2,
            conn_max_lifetime: Duration::from_secs(60),
            conn_max_idle_time: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(20),
        }
    }

    /// The directory of its Unix socket.
    pub fn socket_dir(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// The postmaster and its children.
    fn processes(&self) -> Vec<u32> {
        let pid = self.child.as_ref().expect("it runs").id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("read");
        let mut all: Vec<u32> = children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
        all.push(pid);
        all
    }

    /// Stops every process of it, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        for pid in self.processes() {
            // A child may be gone by now.
            let sign = if frozen { "-STOP" } else { "-CONT" };
            Command::new("kill").args([sign, &pid.to_string()]).stderr(Stdio::null()).status().expect("started");
        }
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Its sessions, too: those of a server whose first process is gone answer on while they are busy.
        let sessions = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        signal(child.id(), "KILL");
        child.wait().expect("waited");
        // Some are gone by now.
        let _ = Command::new("kill").arg("-KILL").args(sessions.split_whitespace()).stderr(Stdio::null()).status();
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), "INT");
        child.wait().expect("waited");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            let _ = Command::new("kill").args(["-CONT", &pid]).status();
            let _ = Command::new("kill").args(["-QUIT", &pid]).status();
            let _ = child.wait();
        }
    }
}
