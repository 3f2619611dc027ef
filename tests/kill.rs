//! The real daemon under SIGKILL at random moments, against the simulated exchange over real sockets.
//!
//! Kills come while the daemon starts and recovers, while it trades, and while it stops. After each of them it is started again,
//! settles, trades, and is stopped in order, which must end with exit code 0 and no order unknown. Then its journal is folded
//! from the first record: orders, fills, positions and balances must equal the exchange's, no client order id may be used twice,
//! and no order may be at the exchange whose decision is not in the journal.
//!
//! `QCAT_KILLS` says how many kills (20 by default, `make soak` does a thousand), `QCAT_KILL_SEED` with which seed to begin,
//! `QCAT_KILL_WORKERS` how many daemons are tormented at the same time, each with an exchange and a journal of its own (a
//! daemon that starts twenty times a minute spends half of it waiting for its request weight). A failure prints the seed and the
//! kill, and keeps the directory with journal and logs.

use qcat::compare;
use qcat::sim::RunningSim;
use qcat_core::command::{Answer, Query};
use qcat_core::id::{AccountIx, OrderKey};
use qcat_core::sim::dice::Dice;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[path = "support/daemon.rs"]
mod daemon;

const ACCOUNT: AccountIx = AccountIx(0);

/// Kills that one journal sees: what is folded after each of them stays short.
const KILLS_PER_ERA: u32 = 20;

/// How long a daemon may take until its strategies trade, on the most crowded machine.
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u32>().ok());
    let kills = number("QCAT_KILLS").unwrap_or(20).max(1);
    let workers = number("QCAT_KILL_WORKERS").unwrap_or(7).clamp(1, kills);
    let first_seed = u64::from(number("QCAT_KILL_SEED").unwrap_or(1));
    let per_era = KILLS_PER_ERA.min(kills.div_ceil(workers));
    let eras: Vec<(u64, u32)> = (0..kills)
        .step_by(per_era as usize)
        .zip(first_seed..)
        .map(|(at, seed)| (seed, per_era.min(kills - at)))
        .collect();
    let (queue, done, begun) = (Mutex::new(eras.into_iter()), AtomicU32::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((seed, kills)) = { queue.lock().expect("not poisoned").next() } {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                    tokio::task::LocalSet::new().block_on(&runtime, Era::new(seed).run(kills));
                    let done = done.fetch_add(kills, Ordering::Relaxed) + kills;
                    println!("seed {seed}: done; {done} kills in {:.0?}", begun.elapsed());
                }
            });
        }
    });
}

/// When a kill comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// After the process began: in start and recovery.
    Starting(Duration),
    /// After its strategies began to trade.
    Trading(Duration),
    /// After it was told to stop.
    Stopping(Duration),
}

fn moment(dice: &mut Dice) -> Moment {
    let mut millis = |bound| Duration::from_millis(dice.below(bound));
    let (early, trading, stopping) = (millis(1_500), millis(1_000), millis(60));
    match dice.below(10) {
        0..=2 => Moment::Starting(early),
        3..=7 => Moment::Trading(trading),
        _ => Moment::Stopping(stopping),
    }
}

/// A child that does not outlive the test.
struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One exchange and one journal, and the lives of the daemon on them.
struct Era {
    seed: u64,
    directory: PathBuf,
    lives: u32,
    /// What is being done, for the message of a failure.
    now: String,
    dice: Dice,
}

impl Drop for Era {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let end = log.lines().rev().take(40).collect::<Vec<_>>();
            let end = end.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("seed {}, {}: failed; kept: {}\n{end}", self.seed, self.now, self.directory.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

impl Era {
    fn new(seed: u64) -> Era {
        let directory = tempfile::Builder::new().prefix("qcat-kill-").tempdir().expect("a directory").keep();
        Era { seed, directory, lives: 0, now: String::new(), dice: Dice::new(seed, "kill") }
    }

    /// Whether one strategy trades, which is flattened at the end, or two.
    fn alone(&self) -> bool {
        self.seed.is_multiple_of(2)
    }

    fn log(&self) -> PathBuf {
        self.directory.join(format!("daemon-{}.log", self.lives))
    }

    fn config(&self) -> PathBuf {
        self.directory.join("config.yaml")
    }

    async fn run(mut self, kills: u32) {
        let exchange = daemon::exchange(self.seed).await;
        let mut text = daemon::configuration(&exchange, &self.directory.join("journal"));
        if self.alone() {
            // A stop that has more to do, so that more of it is cut off. Alone, because another strategy may hold the other side.
            text = text.replace("kind: mean_reverter,", "kind: mean_reverter, on_stop: flatten,");
            text.truncate(text.find("- { name: trend").expect("two strategies"));
        }
        std::fs::write(self.config(), text).expect("written");
        let mut fills = 0;
        for kill in 1..=kills {
            let moment = moment(&mut self.dice);
            self.now = format!("kill {kill}: {moment:?}");
            self.kill(moment).await;
            self.now = format!("after kill {kill}: {moment:?}");
            let begun = Instant::now();
            fills = self.check(&exchange).await;
            println!(
                "seed {}, kill {kill}, {moment:?}: {fills} fills, books agree ({:.1?})",
                self.seed,
                begun.elapsed()
            );
        }
        assert!(fills > 0, "the kills hit a daemon that trades");
    }

    fn start(&mut self) -> Life {
        self.lives += 1;
        Life(daemon::spawn_with_log(&self.config(), &self.log()))
    }

    /// Waits until the strategies trade.
    async fn until_it_trades(&self, life: &mut Life) {
        let begun = Instant::now();
        let strategies = if self.alone() { 1 } else { 2 };
        while !all_trade(strategies, &std::fs::read_to_string(self.log()).unwrap_or_default()) {
            assert_eq!(life.0.try_wait().expect("a child"), None, "it ended by itself");
            assert!(begun.elapsed() < PATIENCE, "the strategies do not trade");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kill(&mut self, moment: Moment) {
        let mut life = self.start();
        let pause = match moment {
            Moment::Starting(pause) => pause,
            Moment::Trading(pause) => {
                self.until_it_trades(&mut life).await;
                pause
            }
            Moment::Stopping(pause) => {
                self.until_it_trades(&mut life).await;
                tokio::time::sleep(Duration::from_millis(self.dice.below(500))).await;
                daemon::terminate(&life.0);
                pause
            }
        };
        tokio::time::sleep(pause).await;
        life.0.kill().expect("killed");
        life.0.wait().expect("gone");
    }

    /// Starts the daemon once more, lets it settle and trade, stops it in order, and compares.
    async fn check(&mut self, exchange: &RunningSim) -> usize {
        let mut life = self.start();
        self.until_it_trades(&mut life).await;
        tokio::time::sleep(Duration::from_millis(200 + self.dice.below(600))).await;
        // Protective orders stay at the exchange: nothing may fill them between the stop and the comparison.
        exchange.server.exchange(|exchange, _, _| exchange.hold_market(true));
        let status = daemon::stop(&mut life.0).await;
        assert_eq!(status.code(), Some(0), "a stop in order");
        let past = daemon::fold(&self.directory.join("journal"));
        assert_eq!(past.engine.desk(ACCOUNT).map_or(0, |desk| desk.unknown_count()), 0, "orders unknown");
        exchange.server.exchange(|exchange, _, _| {
            exchange.hold_market(false);
            let venue = exchange.venue();
            let differences = compare::differences(&past.engine, &past.fills, venue, ACCOUNT);
            assert!(differences.is_empty(), "{differences:#?}");
            let recorded = |key: OrderKey| key.ours().is_some_and(|id| past.placed.contains(&id));
            for query in [Query::OpenOrders, Query::OpenConditionals] {
                let keys: Vec<OrderKey> = match venue.look(ACCOUNT, &query) {
                    Ok(Answer::OpenOrders(orders)) => orders.iter().map(|o| o.key).collect(),
                    Ok(Answer::OpenConditionals(orders)) => orders.iter().map(|o| o.key).collect(),
                    other => panic!("{other:?}"),
                };
                let strange: Vec<_> = keys.into_iter().filter(|key| !recorded(*key)).collect();
                assert!(strange.is_empty(), "at the exchange and not decided in the journal: {strange:?}");
            }
            let mut orders = BTreeMap::new();
            for fill in &past.fills {
                assert!(recorded(fill.key), "a fill of {} whose decision is not in the journal", fill.key);
                let order = orders.insert(fill.key, fill.venue_order);
                assert!(order.is_none_or(|order| order == fill.venue_order), "{} was two orders", fill.key);
            }
        });
        past.fills.len()
    }
}

fn all_trade(strategies: u32, log: &str) -> bool {
    (1..=strategies).all(|strategy| {
        let own = format!("strategy={strategy} state=");
        log.lines().rev().find(|line| line.contains(&own)).is_some_and(|line| line.contains("state=Running"))
    })
}
