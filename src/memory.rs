//! The memory manager: resident memory against its limit, queue depths, and what is done when memory gets short.
//!
//! From the high threshold on, whatever registered for it gives memory back (caches, retained buffers); from the alert threshold on,
//! an alert is raised besides and work that can wait (searches, backtests) is refused. Each is left only below nine tenths
//! of its threshold, so that a share that wavers does not switch it on and off. It belongs on the system arbiter.
//! Tests: a made-up meter.

use arc_swap::ArcSwap;
use qcat_core::time::Ts;
use qcat_io::clock::Clock;
use qcat_io::resources::Machine;
use qcat_io::shell::panic_text;
use serde::Serialize;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A level is left below this share of its threshold.
const RELEASE: f64 = 0.9;
/// The loop turns at least this often, so that whoever watches it sees it alive.
const TURN: Duration = Duration::from_secs(1);

/// `memory.*` of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How often it is measured.
    pub check_interval: Duration,
    /// Bytes that the process may use; `None`: the limit of its control group, or the machine's memory.
    pub limit: Option<u64>,
    /// Share of the limit from which memory is given back.
    pub high_threshold: f64,
    /// Share from which an alert is raised and work that can wait is refused.
    pub alert_threshold: f64,
}

impl From<&crate::config::model::Memory> for Options {
    fn from(memory: &crate::config::model::Memory) -> Options {
        Options {
            check_interval: memory.check_interval,
            limit: memory.limit_mb.map(|megabytes| megabytes.saturating_mul(1 << 20)),
            high_threshold: memory.high_threshold,
            alert_threshold: memory.alert_threshold,
        }
    }
}

/// How short memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// There is enough.
    Normal,
    /// Memory is given back.
    High,
    /// Besides, an alert is raised and work that can wait is refused.
    Alert,
}

/// What is known of memory. Bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MemoryFacts {
    /// How short it is.
    pub level: Level,
    /// Since when.
    pub since: Ts,
    /// When it was measured; `None`: not yet.
    pub measured: Option<Ts>,
    /// Resident memory of this process.
    pub resident: Option<u64>,
    /// What it may use.
    pub limit: Option<u64>,
    /// How full each queue is; `None`: it does not say.
    pub queues: Vec<(&'static str, Option<u64>)>,
    /// How often memory was given back.
    pub trims: u64,
    /// Resident memory before and after the newest time.
    pub trimmed: Option<(u64, u64)>,
    /// Why it could not be measured the last time.
    pub error: Option<String>,
}

/// What a person should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryAlert {
    /// The alert threshold was passed.
    Short { resident: u64, limit: u64 },
    /// It was left.
    Released { resident: u64, limit: u64 },
}

/// The newest facts, and the options in force, for any thread; reading never waits. It outlives the manager, which may be rebuilt.
#[derive(Debug, Clone)]
pub struct MemoryBoard {
    facts: Arc<ArcSwap<MemoryFacts>>,
    options: Arc<ArcSwap<Options>>,
}

impl MemoryBoard {
    /// A board before the first measurement.
    pub fn new(options: Options, now: Ts) -> MemoryBoard {
        let facts = MemoryFacts {
            level: Level::Normal,
            since: now,
            measured: None,
            resident: None,
            limit: None,
            queues: Vec::new(),
            trims: 0,
            trimmed: None,
            error: None,
        };
        MemoryBoard { facts: Arc::new(ArcSwap::from_pointee(facts)), options: Arc::new(ArcSwap::from_pointee(options)) }
    }

    /// The newest facts.
    pub fn facts(&self) -> Arc<MemoryFacts> {
        self.facts.load_full()
    }

    /// Other options, from the next measurement on.
    pub fn tune(&self, options: Options) {
        self.options.store(Arc::new(options));
    }

    /// Whether work that can wait may begin; if not, why.
    pub fn admit(&self) -> Result<(), String> {
        let facts = self.facts.load();
        let mebibytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| (bytes >> 20).to_string());
        match facts.level {
            Level::Normal | Level::High => Ok(()),
            Level::Alert => Err(format!(
                "memory is short: {} of {} MiB are used",
                mebibytes(facts.resident),
                mebibytes(facts.limit)
            )),
        }
    }
}

/// Measures memory.
pub trait Meter: Send {
    /// Resident memory of this process, in bytes.
    fn resident(&self) -> Result<u64, String>;
    /// What the process may use unless configured, in bytes.
    fn limit(&self) -> Result<u64, String>;
}

impl Meter for Machine {
    fn resident(&self) -> Result<u64, String> {
        self.process_memory().map(|memory| memory.resident).map_err(|error| error.to_string())
    }

    fn limit(&self) -> Result<u64, String> {
        self.memory_limit().map_err(|error| error.to_string())
    }
}

type Trim = Box<dyn FnMut() + Send>;
type Depth = Box<dyn Fn() -> Option<u64> + Send>;

/// Watches memory.
pub struct Manager {
    meter: Box<dyn Meter>,
    trims: Vec<(&'static str, Trim)>,
    queues: Vec<(&'static str, Depth)>,
    clock: Arc<dyn Clock>,
    board: MemoryBoard,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("board", &self.board).finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager that writes on a board and takes its options from there.
    pub fn new(meter: impl Meter + 'static, clock: Arc<dyn Clock>, board: MemoryBoard) -> Manager {
        Manager { meter: Box::new(meter), trims: Vec::new(), queues: Vec::new(), clock, board }
    }

    /// Something that can give memory back, called when it gets short. It must not block.
    #[must_use]
    pub fn trims(mut self, name: &'static str, trim: impl FnMut() + Send + 'static) -> Manager {
        self.trims.push((name, Box::new(trim)));
        self
    }

    /// A queue whose depth is shown.
    #[must_use]
    pub fn queue(mut self, name: &'static str, depth: impl Fn() -> Option<u64> + Send + 'static) -> Manager {
        self.queues.push((name, Box::new(depth)));
        self
    }

    /// Measures for ever. `alert` takes what a person should hear of, `beat` is called at every turn.
    pub async fn run(mut self, mut alert: impl FnMut(MemoryAlert), mut beat: impl FnMut()) -> Infallible {
        loop {
            if let Some(told) = self.look() {
                alert(told);
            }
            let begun = self.clock.monotonic();
            loop {
                beat();
                // Read anew at every turn: the interval may have been shortened meanwhile.
                let interval = self.board.options.load().check_interval;
                let passed = self.clock.monotonic().nanos().saturating_sub(begun.nanos()).max(0);
                let left = interval.saturating_sub(Duration::from_nanos(passed.unsigned_abs()));
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left.min(TURN)).await;
            }
        }
    }

    /// Measures once and does what is needed.
    pub fn look(&mut self) -> Option<MemoryAlert> {
        let (options, now) = (self.board.options.load_full(), self.clock.wall());
        let mut facts = MemoryFacts::clone(&self.board.facts.load());
        facts.queues = self.queues.iter().map(|(name, depth)| (*name, depth())).collect();
        let measured = self.meter.resident().and_then(|resident| match options.limit {
            Some(limit) => Ok((resident, limit)),
            None => Ok((resident, self.meter.limit()?)),
        });
        let alert = match measured {
            Ok((resident, limit)) => {
                (facts.resident, facts.limit, facts.measured, facts.error) =
                    (Some(resident), Some(limit), Some(now), None);
                self.judge(&mut facts, &options, (resident, limit), now)
            }
            Err(error) => {
                // What is not known changes nothing: a level once reached stays.
                if facts.error.as_ref() != Some(&error) {
                    tracing::error!(code = "memory_unmeasured", %error, "memory cannot be measured");
                }
                (facts.resident, facts.error) = (None, Some(error));
                None
            }
        };
        self.board.facts.store(Arc::new(facts));
        alert
    }

    fn judge(
        &mut self,
        facts: &mut MemoryFacts,
        options: &Options,
        (resident, limit): (u64, u64),
        now: Ts,
    ) -> Option<MemoryAlert> {
        // A limit of nothing is passed by anything.
        let share = resident as f64 / limit.max(1) as f64;
        let before = facts.level;
        let level = next_level(before, share, options);
        if level != before {
            (facts.level, facts.since) = (level, now);
            let [resident, limit] = [resident, limit].map(|bytes| bytes >> 20);
            match level > before {
                true => tracing::warn!(
                    code = "memory_short",
                    ?level,
                    resident_mib = resident,
                    limit_mib = limit,
                    "memory gets short"
                ),
                false => tracing::info!(?level, resident_mib = resident, limit_mib = limit, "memory is released"),
            }
        }
        if level >= Level::High && !self.trims.is_empty() {
            for (name, trim) in &mut self.trims {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(trim)) {
                    tracing::error!(
                        code = "memory_action_panicked",
                        name,
                        panic = panic_text(&*panic),
                        "giving memory back panicked"
                    );
                }
            }
            facts.trims += 1;
            facts.trimmed = self.meter.resident().ok().map(|after| (resident, after));
        }
        match (before, level) {
            (Level::Normal | Level::High, Level::Alert) => Some(MemoryAlert::Short { resident, limit }),
            (Level::Alert, Level::Normal | Level::High) => Some(MemoryAlert::Released { resident, limit }),
            _ => None,
        }
    }
}

fn next_level(level: Level, share: f64, options: &Options) -> Level {
    let (high, alert) = (options.high_threshold, options.alert_threshold);
    let stays = |at: Level, threshold: f64| share >= threshold || level >= at && share >= threshold * RELEASE;
    if stays(Level::Alert, alert) {
        Level::Alert
    } else if stays(Level::High, high) {
        Level::High
    } else {
        Level::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qcat_io::clock::SimClock;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    const MIB: u64 = 1 << 20;

    #[derive(Debug, Clone, Default)]
    struct Fake {
        resident: Arc<Mutex<Option<u64>>>,
        /// What a cache gives back when asked.
        cached: Arc<AtomicU64>,
    }

    impl Fake {
        fn set(&self, mib: u64) {
            *self.resident.lock().expect("whole") = Some(mib * MIB);
        }
    }

    impl Meter for Fake {
        fn resident(&self) -> Result<u64, String> {
            let resident = self.resident.lock().expect("whole").ok_or("unreadable")?;
            Ok(resident + self.cached.load(Ordering::SeqCst))
        }

        fn limit(&self) -> Result<u64, String> {
            Ok(1_000 * MIB)
        }
    }

    fn options() -> Options {
        let check_interval = Duration::from_secs(30);
        Options { check_interval, limit: None, high_threshold: 0.8, alert_threshold: 0.9 }
    }

    fn manager(options: Options) -> (Fake, Manager, MemoryBoard) {
        let (meter, clock) = (Fake::default(), Arc::new(SimClock::new(Ts::from_millis(1))));
        let board = MemoryBoard::new(options, Ts::ZERO);
        let cached = meter.cached.clone();
        let manager = Manager::new(meter.clone(), clock, board.clone())
            .trims("broken", || panic!("of its own"))
            .trims("cache", move || cached.store(0, Ordering::SeqCst))
            .queue("lane", || Some(7))
            .queue("away", || None);
        (meter, manager, board)
    }

    #[test]
    fn levels_rise_at_their_thresholds_and_fall_well_below() {
        let (meter, mut manager, board) = manager(options());
        let mut walk = |mibs: &[u64]| {
            let step = |mib: &u64| {
                meter.set(*mib);
                let alert = manager.look();
                (board.facts().level, alert.is_some(), board.admit().is_ok())
            };
            mibs.iter().map(step).collect::<Vec<_>>()
        };
        use Level::{Alert, High, Normal};
        let calm = |level| (level, false, true);
        assert_eq!(
            walk(&[799, 800, 799, 721, 719, 799]),
            [calm(Normal), calm(High), calm(High), calm(High), calm(Normal), calm(Normal)]
        );
        assert_eq!(walk(&[900, 899, 811]), [(Alert, true, false), (Alert, false, false), (Alert, false, false)]);
        assert_eq!(walk(&[809, 899, 950]), [(High, true, true), calm(High), (Alert, true, false)]);
        assert_eq!(walk(&[100]), [(Normal, true, true)], "from alert to normal at once");
    }

    #[test]
    fn caches_are_emptied_when_memory_is_short_and_only_then() {
        let (meter, mut manager, board) = manager(options());
        meter.set(500);
        meter.cached.store(200 * MIB, Ordering::SeqCst);
        assert_eq!(manager.look(), None);
        assert_eq!((board.facts().trims, board.facts().trimmed), (0, None));
        meter.cached.store(450 * MIB, Ordering::SeqCst);
        assert_eq!(manager.look(), Some(MemoryAlert::Short { resident: 950 * MIB, limit: 1_000 * MIB }));
        let facts = board.facts();
        assert_eq!((facts.trims, facts.trimmed), (1, Some((950 * MIB, 500 * MIB))), "though another one panicked");
        assert_eq!(board.admit(), Err("memory is short: 950 of 1000 MiB are used".to_owned()));
        assert_eq!(manager.look(), Some(MemoryAlert::Released { resident: 500 * MIB, limit: 1_000 * MIB }));
        assert_eq!(board.facts().queues, [("lane", Some(7)), ("away", None)]);
    }

    #[test]
    fn what_cannot_be_measured_is_unknown_and_changes_nothing() {
        let (meter, mut manager, board) = manager(options());
        assert_eq!((manager.look(), board.facts().resident), (None, None));
        assert_eq!(board.facts().error.as_deref(), Some("unreadable"));
        meter.set(950);
        manager.look();
        *meter.resident.lock().expect("whole") = None;
        manager.look();
        assert_eq!((board.facts().level, board.facts().resident), (Level::Alert, None));
        assert!(board.admit().is_err_and(|text| text.contains("? of 1000")));
    }

    #[test]
    fn a_configured_limit_holds_and_options_change_while_it_runs() {
        let (meter, mut manager, board) = manager(Options { limit: Some(100 * MIB), ..options() });
        meter.set(95);
        manager.look();
        assert_eq!((board.facts().level, board.facts().limit), (Level::Alert, Some(100 * MIB)));
        board.tune(Options { limit: Some(1_000 * MIB), ..options() });
        manager.look();
        assert_eq!(board.facts().level, Level::Normal);
        assert!(Machine::default().resident().is_ok_and(|bytes| bytes > MIB));
    }
}
