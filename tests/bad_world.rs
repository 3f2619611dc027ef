//! The daemon in a world that goes wrong while it trades: frames that cannot be, a clock that is off, a key that is taken away, a
//! disk that fills. It tells what is wrong, loses nothing, and in the end its books are the exchange's.

use qcat::compare;
use qcat::sim::RunningSim;
use qcat_core::command::CommandKind;
use qcat_core::event::{Decision, HaltReason};
use qcat_core::id::AccountIx;
use qcat_core::time::Ts;
use qcat_io::disk::RealDisk;
use qcat_io::journal::{Entry, Reader};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use tempfile::TempDir;

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/mount.rs"]
mod mount;
#[path = "support/proxy.rs"]
mod proxy;

use proxy::Proxy;

/// A daemon at a simulator.
struct World {
    exchange: RunningSim,
    proxy: Rc<Proxy>,
    directory: TempDir,
    journal: PathBuf,
}

impl World {
    /// The journal in this place of the world's directory.
    async fn new(seed: u64, journal: &str, more: &str) -> World {
        let exchange = daemon::exchange(seed).await;
        let proxy = Proxy::start(exchange.address).await;
        let directory = tempfile::tempdir().expect("a directory");
        let journal = directory.path().join(journal);
        let config = daemon::configuration(&exchange, &journal)
            .replace(&exchange.address.to_string(), &proxy.address.to_string())
            .replace("16777216", &format!("65536{more}"));
        fs::write(directory.path().join("config.yaml"), config).expect("written");
        World { exchange, proxy, directory, journal }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("daemon.log")).unwrap_or_default()
    }

    /// Starts the daemon by this command.
    fn start(&self, mut command: Command, more: &[&str]) -> Child {
        let log = fs::File::create(self.directory.path().join("daemon.log")).expect("a log file");
        std::env::vars().filter(|(name, _)| name.starts_with("QCAT_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.args(["run", "--config"]).arg(self.config()).args(more).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("the daemon starts")
    }

    /// Waits until the exchange has seen `more` trades more than now.
    async fn trades(&self, more: usize) {
        let before = daemon::trades(&self.exchange).len();
        let log = || self.log();
        for _ in 0..9_000 {
            if daemon::trades(&self.exchange).len() >= before + more {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it does not trade on\n{}", log());
    }

    async fn says(&self, what: &str) {
        let log = || self.log();
        for _ in 0..9_000 {
            if log().contains(what) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it does not say `{what}`\n{}", log());
    }

    /// Stops the daemon in order and compares the books; `journal` is where the journal is seen from here.
    async fn stop(&self, daemon: &mut Child, journal: &Path) {
        let status = daemon::stop(daemon).await;
        let log = self.log();
        assert!(status.code() == Some(0) && !log.contains("panicked"), "stopped with {status}\n{log}");
        let past = daemon::fold(journal);
        self.exchange.server.exchange(|exchange, _, _| {
            let differences = compare::differences(&past.engine, &past.fills, exchange.venue(), AccountIx(0));
            assert!(differences.is_empty(), "{differences:#?}\n{log}");
        });
    }
}

fn qcat() -> Command {
    Command::new(env!("CARGO_BIN_EXE_qcat"))
}

#[test]
fn frames_that_cannot_be_are_counted_kept_and_change_nothing() {
    daemon::on_local_set(async {
        let world = World::new(21, "journal", "").await;
        let wrap = |data: &str| format!(r#"{{"stream":"btcusdt@trade","data":{data}}}"#);
        let far = wrap(
            r#"{"e":"trade","E":4102444800000,"T":1,"s":"BTCUSDT","t":9,"p":"61800.00","q":"0.010","X":"MARKET","m":false}"#,
        );
        let free = wrap(
            r#"{"e":"trade","E":1723075201000,"T":1,"s":"BTCUSDT","t":9,"p":"-0.50","q":"0.010","X":"MARKET","m":false}"#,
        );
        let huge = wrap(
            r#"{"e":"trade","E":1723075201000,"T":1,"s":"BTCUSDT","t":9,"p":"1e400","q":"0.010","X":"MARKET","m":false}"#,
        );
        let stranger = wrap(
            r#"{"e":"trade","E":1723075201000,"T":1,"s":"NOPEUSDT","t":9,"p":"1.00","q":"0.010","X":"MARKET","m":false}"#,
        );
        let public = [
            r#"{"e":"brandNew","x":1}"#,
            r#"{"e":"otherNew"}"#,
            "not JSON",
            "{",
            "[]",
            "",
            &far,
            &free,
            &huge,
            &stranger,
        ];
        let private =
            [r#"{"e":"PRIVATE_NEWS","E":1}"#, r#"{"e":"ORDER_TRADE_UPDATE","E":1,"T":1,"o":{"s":"BTCUSDT","X":"?"}}"#];
        world.proxy.inject("GET /public", &public.map(str::as_bytes));
        world.proxy.inject("GET /private", &private.map(str::as_bytes));
        let mut child = world.start(qcat(), &[]);
        world.trades(10).await;
        world.stop(&mut child, &world.journal).await;
        let kept = fs::read_to_string(world.journal.join(qcat_io::kept::FILE)).expect("kept");
        let kept: Vec<serde_json::Value> = kept.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let has = |code: &str, frame: &str| kept.iter().any(|k| k["code"] == code && k["frame"] == frame);
        for frame in [public[0], public[1], private[0]] {
            assert!(has("frame_unknown", frame), "{frame} is not kept: {kept:#?}");
        }
        for frame in [public[2], public[3], &far, &free, &huge, &stranger, private[1]] {
            assert!(has("frame_malformed", frame), "{frame} is not kept: {kept:#?}");
        }
        let log = world.log();
        for said in
            ["code=\"frame_unknown\"", "brandNew", "PRIVATE_NEWS", "code=\"frame_malformed\"", "ORDER_TRADE_UPDATE"]
        {
            assert!(log.contains(said), "`{said}` is missing\n{log}");
        }
    });
}

#[test]
fn a_key_that_is_refused_while_it_trades_is_told_and_loses_nothing() {
    daemon::on_local_set(async {
        let world = World::new(22, "journal", "").await;
        let mut child = world.start(qcat(), &[]);
        world.trades(5).await;
        world.proxy.rewrite_up(&[("sim-key", "no-key!")]);
        world.says("credentials_refused").await;
        world.proxy.rewrite_up(&[]);
        world.trades(5).await;
        world.stop(&mut child, &world.journal).await;
        assert!(world.log().contains("-2015"), "{}", world.log());
    });
}

/// The machine's clock as a test sets it; `None`: there is no C compiler to make it of.
struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    fn new(directory: &Path) -> Option<Clock> {
        let (file, library) = (directory.join("clock"), directory.join("clock.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");
        let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no C compiler, so the daemon's clock cannot be set");
            return None;
        }
        let clock = Clock { file, library };
        clock.set(0);
        Some(clock)
    }

    /// From here on the daemon's wall clock is off by so many seconds.
    fn set(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.file).expect("a file");
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("written");
    }
}

#[test]
fn a_clock_that_is_off_and_jumps_both_ways_costs_no_order() {
    daemon::on_local_set(async {
        let world = World::new(23, "journal", "").await;
        let Some(clock) = Clock::new(world.directory.path()) else { return };
        let start = || {
            let mut command = qcat();
            command.env("LD_PRELOAD", &clock.library).env("CLOCK_OFF_FILE", &clock.file);
            world.start(command, &[])
        };
        // An hour off it does not start: what it writes down could never be taken back.
        clock.set(-3_600);
        let status = daemon::ended(&mut start()).await;
        assert!(status.code() == Some(69) && world.log().contains("this machine's clock shows"), "{}", world.log());
        clock.set(0);
        let mut child = start();
        world.trades(5).await;
        // Forward by two hours, then back by three: far beyond every window of the exchange.
        for off in [7_200, -3_600] {
            clock.set(off);
            world.trades(5).await;
        }
        world.stop(&mut child, &world.journal).await;
        // Recorded time never goes back.
        let mut last = Ts::ZERO;
        for entry in Reader::open(Arc::new(RealDisk), &world.journal).expect("opens") {
            if let Entry::Input(input) = entry.expect("whole") {
                assert!(input.at >= last, "input {} goes back in time", input.seq.0);
                last = input.at;
            }
        }
        // The jumps are not in the journal: with a clock that is right the next start trades.
        let mut child = world.start(qcat(), &[]);
        world.trades(5).await;
        world.stop(&mut child, &world.journal).await;
    });
}

/// What was decided to be placed or changed between the halt for the full disk and the resume, and adds risk.
fn risk_while_halted(journal: &Path) -> Vec<CommandKind> {
    let (mut halted, mut found) = (false, Vec::new());
    for entry in Reader::open(Arc::new(RealDisk), journal).expect("opens") {
        let Entry::Decisions { decisions, .. } = entry.expect("whole") else { continue };
        for decision in decisions {
            match decision {
                Decision::Halted { reason: HaltReason::ControlLost, .. } => halted = true,
                Decision::Resumed { .. } => halted = false,
                Decision::Command(command) if halted && command.kind.adds_risk() => found.push(command.kind),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn a_disk_that_fills_halts_new_risk_and_loses_nothing() {
    daemon::on_local_set(async {
        let world = World::new(24, "small/journal", ", snapshot_every: 2s").await;
        let small = world.directory.path().join("small");
        fs::create_dir(&small).expect("created");
        let Some(mount) = mount::Mount::new(&small, "24m") else { return };
        let journal = mount.inside(&world.journal);
        let enter = || mount.enter(env!("CARGO_BIN_EXE_qcat"));
        let mut child = world.start(enter(), &[]);
        world.trades(5).await;
        mount.fill();
        world.says("the disk is full: no new risk").await;
        world.says("reason=ControlLost").await;
        mount.free();
        world.says("the disk has room again").await;
        world.says("--resume").await;
        world.stop(&mut child, &journal).await;
        assert_eq!(risk_while_halted(&journal), []);
        let verify = enter().args(["journal", "verify"]).arg(&world.journal).output().expect("runs");
        assert!(verify.status.success() && String::from_utf8_lossy(&verify.stdout).contains("sound, closed in order"));

        // After a restart too nothing adds risk, and it is told how to trade on.
        let mut child = world.start(enter(), &[]);
        world.says("halted from before").await;
        world.says("--resume lifts it").await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        world.stop(&mut child, &journal).await;
        assert_eq!(risk_while_halted(&journal), []);

        // Resumed it does; and a stop on a full disk is in order.
        let mut child = world.start(enter(), &["--resume"]);
        world.trades(3).await;
        mount.fill();
        world.stop(&mut child, &journal).await;
        let verify = enter().args(["journal", "verify"]).arg(&world.journal).output().expect("runs");
        assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    });
}
