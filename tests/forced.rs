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
fn a_daemon_blocked_by_its_own_log_ends_at_a_second_signal_and_at_its_deadline() {
    on_local_set(async {
        for again in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let exchange = daemon::exchange(9).await;
            let (config, log) = (folder.path().join("config.yaml"), folder.path().join("log"));
            let mut text = daemon::configuration(&exchange, &folder.path().join("journal"));
            if !again {
                text += "shutdown: { signal_timeout: 1s, component_timeout: 4s, shutdown_timeout: 4s, force_shutdown_after: 4s }\n";
            }
            std::fs::write(&config, text).unwrap();
            let pipe = pipe(&log);
            let mut running = daemon::spawn_with_log(&config, &log);
            until("nothing was traded", || daemon::trades(&exchange).len() >= 2).await;
            fill(&pipe);
            // It says that it was told to stop, and comes no further.
            terminate(&running);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(running.try_wait().unwrap().is_none(), "it was not blocked");
            if again {
                terminate(&running);
            }
            assert_eq!(ended(&mut running).await.code(), Some(75));
        }
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
    let guard = Guard::start(Duration::from_secs(600), 75).unwrap();
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

#[test]
fn what_is_not_stopped_is_named_although_the_trading_thread_is_blocked() {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "blocked_child"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.by_ref().any(|line| line == "blocked"), "it was not blocked");
    let words = loop {
        // Again and again: how soon the first one is taken in is not known.
        terminate(&child);
        std::thread::sleep(Duration::from_millis(700));
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(75));
            break said.collect::<Vec<_>>().join("\n");
        }
    };
    let all = qcat_actors::runtime::component::Component::ALL.map(|component| component.name()).join(", ");
    assert!(words.contains(&format!("forced: told to stop again; not stopped: {all}")), "{words}");
}
