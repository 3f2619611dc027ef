//! Opens a lane: start and recovery are one path. Snapshot, recorded tail, then what is new, then `Input::Start`.

use super::watch::{SlowSteps, StepWatch};
use super::{Core, Inner, Lane, LaneEvent, LaneOptions, LaneOwner, LaneState, Pace, Queue, Unpublished, hung};
use crate::runtime::latch::HaltLatch;
use crate::runtime::watchdog::Pulse;
use qcat_core::config::EngineConfig;
use qcat_core::engine::fold::{FoldError, Quarantine, Record};
use qcat_core::engine::snapshot::Snapshot;
use qcat_core::engine::{Engine, Observer};
use qcat_core::event::Input;
use qcat_core::id::Seq;
use qcat_core::instrument::Definition;
use qcat_core::node::SnapshotError;
use qcat_core::strategy::registry::Registry;
use qcat_core::time::{Span, Ts};
use qcat_io::clock::Clock;
use qcat_io::disk::Disk;
use qcat_io::journal::marks::Hung;
use qcat_io::journal::{self, AppendError, Entry, Journal, OpenError, ReadError, Recovered, State, TornTail};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// Why a lane cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Open(OpenError),
    /// The first records are gone, and none of the snapshots that stand for them can be restored.
    #[error(
        "{0}. Nothing was changed: start the version that wrote the snapshots, or restore the directory from a backup of a version \
         that this one reads; or cancel and close everything at the exchange and move the directory away, to begin anew"
    )]
    NoBeginning(OpenError),
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The snapshot does not fit this program.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The records do not fold.
    #[error("recovery failed: {0}")]
    Fold(#[from] FoldError),
    /// The journal takes nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The journal took less than the start needs.
    #[error("the engine cannot start: {0}")]
    Start(String),
}

impl From<OpenError> for LaneError {
    fn from(error: OpenError) -> LaneError {
        match error {
            OpenError::NoBeginning { .. } => LaneError::NoBeginning(error),
            other => LaneError::Open(other),
        }
    }
}

/// What recovery found.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// The last input of the snapshot that was restored.
    pub snapshot: Option<Seq>,
    /// Snapshots that could not be used, with the reason.
    pub skipped: Vec<String>,
    /// The last input.
    pub last_seq: Seq,
    /// Inputs that were folded.
    pub folded: u64,
    /// Nodes that were not stepped with an input, now and before.
    pub quarantined: Vec<Quarantine>,
    /// What the watchdog left behind.
    pub hung: Option<Hung>,
    /// The unfinished end that was cut off.
    pub torn: Option<TornTail>,
    /// Whether the journal was closed in order.
    pub closed: bool,
}

/// A lane whose past is restored and that has not begun: definitions and configuration are compared with it first.
#[derive(Debug)]
pub struct Recovering {
    options: LaneOptions,
    registry: Arc<Registry>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    latch: Arc<HaltLatch>,
    pulse: Arc<Pulse>,
    engine: Engine,
    journal: Journal,
    base: Option<Rc<Snapshot>>,
    last_at: Ts,
    report: RecoveryReport,
}

impl Lane {
    /// Opens the journal and folds what it holds, on the newest snapshot that this program restores. Nodes that panic in the
    /// fold are quarantined for that input, and it begins anew.
    pub fn open(
        options: LaneOptions,
        registry: Arc<Registry>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        latch: Arc<HaltLatch>,
    ) -> Result<Recovering, LaneError> {
        let mut fits = |snapshot: &journal::Snapshot| restores(&registry, &snapshot.state);
        let (mut journal, mut recovered) =
            Journal::open_with(disk.clone(), &options.dir, options.journal.clone(), &mut fits)?;
        for skipped in &recovered.skipped {
            tracing::warn!(code = "snapshot_unused", path = %skipped.path.display(), reason = %skipped.reason, "a snapshot was not used");
        }
        let begins_with = recovered.snapshot.as_ref().map_or(0, |s| s.record);
        let base = recovered.snapshot.take().map(|s| from_journal(s.state));
        let base = base.map(Rc::new);
        let gaps = recovered.replayable().is_err();
        let mut report = RecoveryReport {
            snapshot: base.as_ref().map(|s| s.seq),
            skipped: recovered.skipped.iter().map(|s| format!("{}: {}", s.path.display(), s.reason)).collect(),
            last_seq: recovered.last_seq,
            hung: recovered.hung,
            torn: recovered.torn.clone(),
            closed: recovered.closed,
            ..RecoveryReport::default()
        };
        let (mut engine, folded) = match fold(&registry, base.as_deref(), &mut recovered, &journal, gaps) {
            Err(LaneError::Fold(FoldError::Fault { station, seq })) => {
                journal.quarantine(seq, station, recovered.last_at)?;
                super::rebuild::fold_again(&options, &registry, &disk, &mut journal, base.as_deref(), clock.wall())?
            }
            other => other?,
        };
        if let Some(found) = recovered.hung {
            hung::settle(&mut journal, &mut engine, found, clock.wall())?;
        }
        // A replay begins this life with the same snapshot; it may be one that the last life could not note any more.
        match journal.note_snapshot(begins_with, recovered.last_at) {
            Err(AppendError::DiskFull) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        report.folded = folded;
        report.quarantined = marks(&journal);
        report.last_seq = engine.seq().max(report.last_seq);
        let last_at = recovered.last_at.max(engine.now());
        let pulse = Arc::new(Pulse::default());
        pulse.publish(&engine, true);
        Ok(Recovering { options, registry, disk, clock, latch, pulse, engine, journal, base, last_at, report })
    }
}

/// Whether this program restores a snapshot, with the reason why not.
fn restores(registry: &Arc<Registry>, state: &State) -> Result<(), String> {
    let restore = AssertUnwindSafe(|| Engine::new(registry.clone()).restore(state, true));
    match catch_unwind(restore) {
        Ok(restored) => restored.map_err(|error| error.to_string()),
        Err(_) => Err("a node panics at it".to_owned()),
    }
}

/// A fresh engine with the snapshot's state and the records after it.
fn fold(
    registry: &Arc<Registry>,
    base: Option<&Snapshot>,
    recovered: &mut Recovered,
    journal: &Journal,
    gaps: bool,
) -> Result<(Engine, u64), LaneError> {
    fold_entries(registry, base, recovered.entries(), &marks(journal), gaps)
}

/// What must never be stepped again.
pub(super) fn marks(journal: &Journal) -> Vec<Quarantine> {
    journal.head().quarantine.iter().map(|m| Quarantine { station: m.station, seq: m.seq }).collect()
}

fn from_journal(state: State) -> Snapshot {
    Snapshot { seq: state.seq, at: state.at, parts: state.parts }
}

pub(super) fn to_journal(snapshot: &Snapshot) -> State {
    State { seq: snapshot.seq, at: snapshot.at, parts: snapshot.parts.clone() }
}

/// A fresh engine with the base's state and what the entries hold beyond it, and how many inputs those are.
pub(super) fn fold_entries(
    registry: &Arc<Registry>,
    base: Option<&Snapshot>,
    entries: impl Iterator<Item = Result<Entry, ReadError>>,
    marks: &[Quarantine],
    gaps: bool,
) -> Result<(Engine, u64), LaneError> {
    let mut engine = Engine::new(registry.clone());
    if let Some(base) = base {
        engine.restore(base, true)?;
    }
    let mut folded = 0;
    for entry in entries {
        let record = match entry? {
            // Records at the seam of snapshot and tail that the snapshot holds already.
            Entry::Input(admitted) if admitted.seq <= engine.seq() => continue,
            Entry::Input(admitted) => {
                folded += 1;
                Record::Input(admitted)
            }
            Entry::Decisions { seq, at, decisions } => Record::Decisions(seq, at, decisions),
            Entry::Epoch(_) | Entry::Quarantine(_) | Entry::Snapshot | Entry::Close => continue,
        };
        engine.fold(record, marks, gaps)?;
    }
    Ok((engine, folded))
}

impl Recovering {
    /// The engine as it was: its universe numbers symbols and assets, so definitions are made with it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The halt latch.
    pub fn latch(&self) -> &Arc<HaltLatch> {
        &self.latch
    }

    /// What the watchdog sees of this lane, from its first step on.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// What recovery found.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Admits what changed of definitions and configuration, and a new epoch that is durable before its first use. `observer`
    /// watches the engine from here on. Commands wait until the lane runs.
    pub fn begin(
        self,
        definitions: impl IntoIterator<Item = Definition>,
        config: EngineConfig,
        observer: Option<Box<dyn Observer>>,
    ) -> Result<(Lane, RecoveryReport), LaneError> {
        let report = self.report.clone();
        let lane = self.into_lane(observer);
        let inner = &lane.0;
        let failure = Rc::new(Failure::default());
        lane.set_owner(failure.clone());
        for definition in definitions {
            let known = lane.read(|engine| engine.universe().definitions().any(|d| d == definition));
            if !known {
                inner.admit(inner.pace.now(), Input::Definition(definition));
            }
        }
        if lane.read(|engine| *engine.config() != config) {
            inner.admit(inner.pace.now(), Input::Configuration(Box::new(config)));
        }
        let now = inner.pace.now();
        let epoch = inner.core.borrow_mut().journal().begin_epoch(now)?;
        inner.admit(now, Input::Start { epoch });
        *inner.owner.borrow_mut() = None;
        inner.publish_orders();
        let full = inner.core.borrow().full;
        if let Some(reason) = failure.0.borrow_mut().take().or(full.then(|| "the disk is full".to_owned())) {
            return Err(LaneError::Start(reason));
        }
        Ok((lane, report))
    }

    fn into_lane(self, observer: Option<Box<dyn Observer>>) -> Lane {
        let Recovering { options, registry, disk, clock, latch, pulse, mut engine, journal, base, last_at, report: _ } =
            self;
        let work = Arc::new(Notify::new());
        latch.wakes(work.clone());
        let woken = work.clone();
        journal.set_waker(Box::new(move || woken.notify_one()));
        let pace = Pace::new(clock, last_at.max(engine.now()));
        let slow = Arc::new(SlowSteps::default());
        let (began, clock) = (Span::ZERO, pace.clock().clone());
        let watch = StepWatch {
            pulse: pulse.clone(),
            clock,
            budget: options.step_budget,
            slow: slow.clone(),
            began,
            inner: observer,
        };
        engine.observe(Some(Box::new(watch)));
        // Market inputs that were not journaled have numbers too.
        engine.skip_to(journal.last_seq(), last_at);
        let core = Core {
            snapshot_due: pace.now().plus(options.snapshot_every),
            engine,
            journal: Some(journal),
            held: VecDeque::new(),
            broken: None,
            latch_seen: 0,
            after_timer: false,
            base,
            pending: None,
            writing: false,
            full: false,
            missed: BTreeSet::new(),
            dropped: 0,
            unpublished: Unpublished::Instruments,
        };
        Lane(Rc::new_cyclic(|me| Inner {
            me: me.clone(),
            queue: RefCell::new(Queue::new(options.queue)),
            universe: RefCell::new(Rc::new(core.engine.universe().clone())),
            options,
            registry,
            disk,
            pace,
            latch,
            pulse,
            work,
            state: Cell::new(LaneState::Running),
            core: RefCell::new(core),
            writers: RefCell::new(BTreeMap::new()),
            taps: RefCell::new(Vec::new()),
            owner: RefCell::new(None),
            slow,
            meter: RefCell::new(None),
            not_sent: Cell::new(0),
            unasked: Cell::new(u64::MAX),
        }))
    }
}

/// What went wrong while the first inputs were admitted.
#[derive(Debug, Default)]
struct Failure(RefCell<Option<String>>);

impl LaneOwner for Failure {
    fn told(&self, event: LaneEvent) {
        self.0.borrow_mut().get_or_insert(format!("{event:?}"));
    }

    fn resync(&self, _symbol: qcat_core::id::SymbolIx) {}
}
