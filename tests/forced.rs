//! A stop that cannot go on, because the trading thread is blocked, is ended from outside of it.
#![allow(clippy::unwrap_used)]

use daemon::{ended, on_local_set, terminate, until};
use qcat::signals::Guard;
use qcat_core::engine::Observer;
use qcat_core::event::{Event, Station};
use qcat_core::id::Seq;
use qcat_core::strategy::registry::Registry;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/inside.rs"]
mod inside;

/// Seconds that the child's guard gives a stop.
const WITHIN: &str = "FORCED_WITHIN";
/// Of Linux.
const O_NONBLOCK: i32 = 0o4000;

/// A pipe that takes nothing more once it is filled; whoever writes to it then waits for good.
fn pipe(path: &Path) -> File {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    File::options().read(true).write(true).custom_flags(O_NONBLOCK).open(path).unwrap()
}

fn fill(mut pipe: &File) {
    loop {
        match pipe.write(&[b'.'; 512]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_standard_error_that_takes_nothing_neither_holds_up_trading_nor_the_stop() {
    on_local_set(async {
        let folder = tempfile::tempdir().unwrap();
        let exchange = daemon::exchange(9).await;
        let (config, log) = (folder.path().join("config.yaml"), folder.path().join("log"));
        std::fs::write(&config, daemon::configuration(&exchange, &folder.path().join("journal"))).unwrap();
        let pipe = pipe(&log);
        let mut running = daemon::spawn_with_log(&config, &log);
        until("nothing was traded", || daemon::trades(&exchange).len() >= 2).await;
        fill(&pipe);
        let before = daemon::trades(&exchange).len();
        until("it trades no more", || daemon::trades(&exchange).len() >= before + 4).await;
        terminate(&running);
        assert_eq!(ended(&mut running).await.code(), Some(0));
    });
}

/// Blocks the trading thread for good once orders flow.
struct Blocks(u32);

impl Observer for Blocks {
    fn before_step(&mut self, station: Station, _seq: Seq, _event: &Event) {
        if matches!(station, Station::Desk(_)) {
            self.0 += 1;
        }
        if self.0 == 50 {
            std::io::stderr().write_all(b"blocked\n").unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

/// A child of the test below: a whole daemon of which a node never returns.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn blocked_child() {
    let within = std::env::var(WITHIN).unwrap().parse().unwrap();
    let guard = Guard::start(Duration::from_secs(within), 75, true).unwrap();
    inside::run(async {
        let exchange = daemon::exchange(9).await;
        let at = exchange.address;
        let mut composition = qcat::wire::Composition::from(Arc::new(Registry::builtin()));
        composition.observer = Some(Box::new(Blocks(0)));
        let world = inside::World::start(exchange, at, "", composition).await;
        guard.watch(world.daemon.system().unstopped());
        guard.asked().await;
    });
}

/// Ends a blocked daemon that has `within` seconds for its stop; `again`: by one signal after another. Its last words.
fn forced(within: &str, again: bool) -> String {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "blocked_child"])
        .env(WITHIN, within)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.by_ref().any(|line| line == "blocked"), "it was not blocked");
    terminate(&child);
    let status = loop {
        // Again and again: how soon the first one is taken in is not known.
        std::thread::sleep(Duration::from_millis(700));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if again {
            terminate(&child);
        }
    };
    assert_eq!(status.code(), Some(75));
    said.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_not_stopped_is_named_although_the_trading_thread_is_blocked() {
    let all = qcat_actors::runtime::component::Component::ALL.map(|component| component.name()).join(", ");
    let words = forced("600", true);
    assert!(words.contains(&format!("forced: told to stop again; not stopped: {all}")), "{words}");
    let words = forced("2", false);
    assert!(words.contains(&format!("forced: the stop took longer than 2s; not stopped: {all}")), "{words}");
}
