//! What the trading thread and the sync thread share: how far the journal is written, how far it is durable, which files
//! lie between, and a spare segment made ready in advance.

use super::segment::SEGMENT_HEADER;
use crate::disk::{Disk, DiskError, DiskFile};
use qcat_core::id::Seq;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Called after the durable mark moved or a sync failed; from the sync thread, so it must only wake somebody up.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// The name of the spare segment.
pub(super) const SPARE: &str = "spare.seg";
/// The spare is filled with zeros in steps of this size, so that a sync that is asked for meanwhile waits for one step only.
const FILL: usize = 1 << 20;
/// A spare that could not be made for want of space is tried again after this time.
const SPARE_RETRY: Duration = Duration::from_secs(1);

/// Tells any thread how far the journal survives a loss of power, and the journal how far a reader is.
#[derive(Debug, Clone)]
pub struct DurableSeq(Arc<Shared>);

impl DurableSeq {
    pub(super) fn new(shared: Arc<Shared>) -> DurableSeq {
        DurableSeq(shared)
    }

    /// The last input that is durable with all of its decisions.
    pub fn get(&self) -> Seq {
        Seq(self.0.durable_seq.load(Ordering::Acquire))
    }

    /// Says up to which input a reader has the journal: what is newer is kept for him, within the bytes that are kept at most.
    pub fn has(&self, seq: Seq) {
        self.0.needed.store(seq.0, Ordering::Release);
    }

    /// What a reader said of it last; `None`: there is none.
    pub fn needed(&self) -> Option<Seq> {
        Some(self.0.needed.load(Ordering::Acquire)).filter(|seq| *seq != u64::MAX).map(Seq)
    }
}

pub(super) struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Newest record written.
    pub appended: AtomicU64,
    /// Newest input whose records are all up to `appended`; stored after it, loaded before it.
    pub complete_seq: AtomicU64,
    /// Newest record that is durable.
    pub durable: AtomicU64,
    /// Newest input whose records are all durable.
    pub durable_seq: AtomicU64,
    /// Up to where whoever reads the journal beside recovery has it; above all numbers: nobody does.
    pub needed: AtomicU64,
    /// A sync failed; only the trading thread can go on from that.
    pub failed: AtomicBool,
    files: Mutex<Files>,
    moved: Condvar,
    waker: OnceLock<Waker>,
    requested: AtomicBool,
    stopping: AtomicBool,
    spare_wanted: AtomicBool,
    pub spare_ready: AtomicBool,
    spare: Mutex<Option<Arc<dyn DiskFile>>>,
}

#[derive(Default)]
struct Files {
    /// Counts the times that the list was thrown away.
    generation: u64,
    /// Files with unsynced records, oldest first; the last one is being written.
    list: Vec<Unsynced>,
    error: Option<DiskError>,
}

#[derive(Clone)]
struct Unsynced {
    file: Arc<dyn DiskFile>,
    /// The file's name is not durable.
    new: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = (&self.appended, &self.durable, &self.failed);
        f.debug_tuple("Shared").field(&state).finish()
    }
}

impl Shared {
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, durable: u64, durable_seq: u64) -> Shared {
        Shared {
            disk,
            dir: dir.to_owned(),
            appended: AtomicU64::new(durable),
            complete_seq: AtomicU64::new(durable_seq),
            durable: AtomicU64::new(durable),
            durable_seq: AtomicU64::new(durable_seq),
            needed: AtomicU64::new(u64::MAX),
            failed: AtomicBool::new(false),
            files: Mutex::default(),
            moved: Condvar::new(),
            waker: OnceLock::new(),
            requested: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            spare_wanted: AtomicBool::new(false),
            spare_ready: AtomicBool::new(false),
            spare: Mutex::new(None),
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sets the waker; the first one stays.
    pub fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker();
        }
    }

    /// From here on records go to this file.
    pub fn push(&self, file: Arc<dyn DiskFile>, new: bool) {
        self.files().list.push(Unsynced { file, new });
    }

    /// After a failed sync: everything that is not durable has been written again to this file.
    pub fn replace(&self, file: Arc<dyn DiskFile>) {
        let mut files = self.files();
        files.generation += 1;
        files.list = vec![Unsynced { file, new: true }];
        files.error = None;
        self.failed.store(false, Ordering::Release);
    }

    /// Why the last sync failed.
    pub fn take_error(&self) -> Option<DiskError> {
        self.files().error.take()
    }

    /// Makes durable what is written now. On a failure `failed` is set, and nothing is synced until [`Shared::replace`].
    pub fn sync(&self) {
        if self.failed.load(Ordering::Acquire) {
            return;
        }
        // The sequence first: records up to it are then among those up to the mark, and the mark's files in the list.
        let seq = self.complete_seq.load(Ordering::Acquire);
        let mark = self.appended.load(Ordering::Acquire);
        let (generation, list) = {
            let files = self.files();
            (files.generation, files.list.clone())
        };
        if mark == self.durable.load(Ordering::Acquire) && list.iter().all(|f| !f.new) {
            self.durable_seq.fetch_max(seq, Ordering::AcqRel);
            return;
        }
        let result = self.sync_files(&list);
        let mut files = self.files();
        if files.generation != generation {
            return;
        }
        match result {
            Ok(()) => {
                // All but the newest are complete: they were synced after the next one had been begun.
                files.list.drain(..list.len().saturating_sub(1));
                if let Some(file) = files.list.first_mut() {
                    file.new = false;
                }
                self.durable.fetch_max(mark, Ordering::AcqRel);
                self.durable_seq.fetch_max(seq, Ordering::AcqRel);
            }
            Err(error) => {
                files.error = Some(error);
                self.failed.store(true, Ordering::Release);
            }
        }
        self.moved.notify_all();
        drop(files);
        self.wake();
    }

    fn sync_files(&self, list: &[Unsynced]) -> Result<(), DiskError> {
        list.iter().try_for_each(|f| f.file.sync_data())?;
        if list.iter().any(|f| f.new) { self.disk.sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Waits until the durable mark is at least `mark`, a sync failed, or `patience` is over.
    pub fn wait(&self, mark: u64, patience: Duration) {
        let files = self.files();
        let open = |_: &mut Files| self.durable.load(Ordering::Acquire) < mark && !self.failed.load(Ordering::Acquire);
        drop(self.moved.wait_timeout_while(files, patience, open));
    }

    /// Takes the spare segment, if one is ready.
    pub fn take_spare(&self) -> Option<Arc<dyn DiskFile>> {
        if !self.spare_ready.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.spare_wanted.store(true, Ordering::Release);
        self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

/// The sync thread, as the trading thread knows it.
#[derive(Debug)]
pub(super) struct SyncThread {
    thread: Thread,
    join: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What the sync thread does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Duties {
    /// How long records may stay undurable; `None`: syncing is not its business.
    pub interval: Option<Duration>,
    /// Size of a spare segment.
    pub spare_size: u64,
}

impl SyncThread {
    pub fn start(shared: Arc<Shared>, duties: Duties) -> std::io::Result<SyncThread> {
        shared.spare_wanted.store(true, Ordering::Release);
        let inner = shared.clone();
        let join = std::thread::Builder::new().name("journal-sync".into()).spawn(move || run(&inner, duties))?;
        Ok(SyncThread { thread: join.thread().clone(), join: Some(join), shared })
    }

    /// Asks for a sync; returns at once.
    pub fn request(&self) {
        if !self.shared.requested.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.thread.unpark();
        if let Some(join) = self.join.take() {
            // A panic there has nothing more to tell: what was not durable is not reported so.
            let _ = join.join();
        }
    }
}

fn run(shared: &Shared, duties: Duties) {
    let mut filling: Option<(Arc<dyn DiskFile>, u64)> = None;
    let mut spare_after = Instant::now();
    let mut last_sync = Instant::now();
    let idle = duties.interval.unwrap_or(SPARE_RETRY);
    while !shared.stopping.load(Ordering::Acquire) {
        let asked = shared.requested.swap(false, Ordering::AcqRel);
        let due = duties.interval.is_some_and(|every| last_sync.elapsed() >= every);
        if asked || due {
            shared.sync();
            last_sync = Instant::now();
        }
        let now = Instant::now();
        if shared.spare_wanted.load(Ordering::Acquire) && now >= spare_after {
            match fill_spare(shared, duties.spare_size, &mut filling) {
                Ok(()) => continue,
                // Not a fault yet: the next segment is then made when it is needed, or the emergency one is used.
                Err(_) => {
                    filling = None;
                    spare_after = now + SPARE_RETRY;
                }
            }
        }
        if !shared.requested.load(Ordering::Acquire) {
            std::thread::park_timeout(idle);
        }
    }
}

/// One step towards a spare segment.
fn fill_spare(shared: &Shared, size: u64, filling: &mut Option<(Arc<dyn DiskFile>, u64)>) -> Result<(), DiskError> {
    let path = shared.dir.join(SPARE);
    let Some((file, filled)) = filling else {
        match shared.disk.remove(&path) {
            Err(e) if !e.is_missing() => return Err(e),
            _ => {}
        }
        *filling = Some((shared.disk.create(&path, size.max(SEGMENT_HEADER as u64))?, 0));
        return Ok(());
    };
    if *filled < size {
        let step = FILL.min((size - *filled) as usize);
        // Written zeros, so that later syncs have no extents to convert: fdatasync of a hole costs a journal commit.
        file.write_at(*filled, &vec![0; step])?;
        file.sync_data()?;
        *filled += step as u64;
        return Ok(());
    }
    *shared.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = filling.take().map(|(file, _)| file);
    shared.spare_wanted.store(false, Ordering::Release);
    shared.spare_ready.store(true, Ordering::Release);
    Ok(())
}
