//! A Redis server of our own on a free port, gone with the test.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The server.
pub struct Redis {
    pub port: u16,
    password: Option<&'static str>,
    child: Option<Child>,
}

impl Redis {
    pub fn start(password: Option<&'static str>) -> Redis {
        let port = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound").port();
        let mut server = Redis { port, password, child: None };
        server.resume();
        server
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it (again), empty.
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server", "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        command.args(["--port", &self.port.to_string()]);
        if let Some(password) = self.password {
            command.args(["--requirepass", password]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("redis-server is installed: apt-get install redis-server"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.addr()).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen");
            sleep(Duration::from_millis(10));
        }
    }

    /// One command over a connection of its own; the raw answer.
    pub fn command(&self, words: &[&str]) -> String {
        let mut socket = TcpStream::connect(self.addr()).expect("connected");
        let mut send = |words: &[&str]| {
            let mut text = format!("*{}\r\n", words.len());
            words.iter().for_each(|word| text.push_str(&format!("${}\r\n{word}\r\n", word.len())));
            socket.write_all(text.as_bytes()).expect("sent");
        };
        if let Some(password) = self.password {
            send(&["AUTH", password]);
        }
        send(words);
        send(&["QUIT"]);
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("answered");
        answer
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("started").success());
    }

    /// Stops its process, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.signal(if frozen { "-STOP" } else { "-CONT" });
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("waited");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
