//! A disk in memory that fails as disks do.
//!
//! What is written lands in the page cache; only a sync moves it to the platter. A crash keeps, of each 512-byte sector with
//! unsynced writes, any state that it went through, and of unsynced creations, renames and removals a prefix. A failed sync
//! drops the dirty pages, as Linux does: they still read back, and no later sync writes them.

use super::{DirLock, Disk, DiskError, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

const SECTOR: usize = 512;

/// A fault that the disk has in store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every call from this one on (counted from 1) fails: the machine is down.
    CrashAt(u64),
    /// The n-th sync of a file from now on (counted from 1) fails and its dirty pages are lost, except for a random part.
    FailSync(u64),
    /// The n-th write from now on (counted from 1) is acknowledged and never reaches the platter, synced or not.
    LoseWrite(u64),
    /// The n-th write from now on (counted from 1) fails.
    FailWrite(u64),
    /// All files together may hold this many bytes.
    Capacity(u64),
    /// Nothing can be changed.
    ReadOnly,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Names as running programs see them.
    names: BTreeMap<PathBuf, usize>,
    /// Names on the platter.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not synced, in order.
    pending: Vec<NameChange>,
    files: Vec<Content>,
    locks: BTreeMap<PathBuf, Weak<()>>,
    faults: Vec<Fault>,
    calls: u64,
    syncs: u64,
    dice: u64,
    crashed: bool,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Remove(PathBuf),
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// What programs read.
    cached: Vec<u8>,
    /// What is on the platter.
    durable: Vec<u8>,
    /// Unsynced writes in order; offset and bytes, within one sector each.
    dirty: Vec<(usize, Vec<u8>)>,
}

impl SimDisk {
    /// An empty disk without faults; `seed` decides what faults and crashes leave behind.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(State { dice: seed, ..State::default() })) }
    }

    /// Plans a fault. Counts of writes and syncs begin now.
    pub fn plan(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Cancels all planned faults, `Capacity` and `ReadOnly` too.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many syncs of files were tried.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Whether a planned crash came.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// The disk after a loss of power now: a new disk with what survives by the seed, without locks and faults.
    pub fn reboot(&self, seed: u64) -> SimDisk {
        let old = self.state();
        let mut new = State { dice: seed, ..State::default() };
        new.names = old.durable_names.clone();
        let kept = roll(&mut new.dice, old.pending.len() + 1);
        old.pending[..kept].iter().for_each(|change| change.apply(&mut new.names));
        new.durable_names = new.names.clone();
        // One disk in three writes nothing back by itself, one everything, one anything.
        let mode = roll(&mut new.dice, 3);
        for content in &old.files {
            let mut survivor = content.clone();
            survivor.settle(&mut new.dice, mode);
            new.files.push(survivor);
        }
        SimDisk { state: Arc::new(Mutex::new(new)) }
    }

    /// The disk after the process was killed: the page cache survives.
    pub fn after_kill(&self) -> SimDisk {
        let old = self.state();
        let state = State {
            names: old.names.clone(),
            durable_names: old.durable_names.clone(),
            pending: old.pending.clone(),
            files: old.files.clone(),
            dice: old.dice,
            ..State::default()
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// A file's bytes as a program reads them, or `None`. Not counted as a call.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|&ix| state.files[ix].cached.clone())
    }

    /// Puts a file on the platter, as if it had been there before. Not counted as a call.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let ix = state.files.len();
        state.files.push(Content { cached: bytes.clone(), durable: bytes, dirty: Vec::new() });
        state.names.insert(path.to_owned(), ix);
        state.durable_names.insert(path.to_owned(), ix);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts a call and lets it fail if the machine is down, or if it changes a read-only disk.
    fn call(&self, op: &'static str, path: &Path, changes: bool) -> Result<MutexGuard<'_, State>, DiskError> {
        let mut state = self.state();
        state.calls += 1;
        let calls = state.calls;
        if state.faults.iter().any(|f| matches!(f, Fault::CrashAt(at) if calls >= *at)) {
            state.crashed = true;
        }
        let refused = if state.crashed {
            Some(io::Error::other("crashed"))
        } else if changes && state.faults.contains(&Fault::ReadOnly) {
            Some(io::ErrorKind::ReadOnlyFilesystem.into())
        } else {
            None
        };
        match refused {
            Some(source) => Err(DiskError::Io { op, path: path.to_owned(), source }),
            None => Ok(state),
        }
    }
}

impl State {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// Counts down the faults that `pick` finds; true when one of them is due.
    fn due(&mut self, pick: impl Fn(&mut Fault) -> Option<&mut u64>) -> bool {
        let mut due = false;
        self.faults.retain_mut(|fault| match pick(fault) {
            Some(left) => {
                *left = left.saturating_sub(1);
                due |= *left == 0;
                *left > 0
            }
            None => true,
        });
        due
    }

    fn used(&self) -> u64 {
        self.names.values().map(|&ix| self.files[ix].cached.len() as u64).sum()
    }

    fn capacity(&self) -> u64 {
        self.faults
            .iter()
            .filter_map(|f| if let Fault::Capacity(n) = f { Some(*n) } else { None })
            .min()
            .unwrap_or(1 << 40)
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Set(path, ix) => {
                // A rename is one change: the old name goes with it.
                names.retain(|_, old| old != ix);
                names.insert(path.clone(), *ix);
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Content {
    /// Leaves of the dirty sectors what survives: nothing (mode 0), everything (1) or any state of each sector (2).
    fn settle(&mut self, dice: &mut u64, mode: usize) {
        self.durable.resize(self.cached.len(), 0);
        let mut sectors: BTreeMap<usize, Vec<(usize, Vec<u8>)>> = BTreeMap::new();
        for (offset, bytes) in self.dirty.drain(..) {
            sectors.entry(offset / SECTOR).or_default().push((offset, bytes));
        }
        for writes in sectors.into_values() {
            let kept = match mode {
                0 => 0,
                1 => writes.len(),
                _ => roll(dice, writes.len() + 1),
            };
            for (offset, bytes) in &writes[..kept] {
                self.durable[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
        self.cached = self.durable.clone();
    }
}

/// A number below `bound` (SplitMix64).
fn roll(dice: &mut u64, bound: usize) -> usize {
    *dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
}

impl Disk for SimDisk {
    fn lock(&self, dir: &Path) -> Result<Box<dyn DirLock>, DiskError> {
        let mut state = self.call("lock", dir, true)?;
        if state.locks.get(dir).is_some_and(|held| held.strong_count() > 0) {
            return Err(DiskError::Locked { dir: dir.to_owned(), pid: Some(1) });
        }
        let held = Arc::new(());
        state.locks.insert(dir.to_owned(), Arc::downgrade(&held));
        Ok(Box::new(SimLock { _held: held }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let state = self.call("list", dir, false)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path, size: u64) -> Result<Arc<dyn DiskFile>, DiskError> {
        let mut state = self.call("create", path, true)?;
        let refused = if state.names.contains_key(path) {
            Some(io::ErrorKind::AlreadyExists)
        } else if state.used() + size > state.capacity() {
            Some(io::ErrorKind::StorageFull)
        } else {
            None
        };
        if let Some(kind) = refused {
            return Err(DiskError::io("create", path)(kind.into()));
        }
        let ix = state.files.len();
        let zeros = vec![0; size as usize];
        state.files.push(Content { cached: zeros.clone(), durable: zeros, dirty: Vec::new() });
        state.change(NameChange::Set(path.to_owned(), ix));
        drop(state);
        Ok(Arc::new(SimFile { disk: self.clone(), ix, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let state = self.call("open", path, true)?;
        self.open_found(state, path)
    }

    fn open_read(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let state = self.call("open", path, false)?;
        self.open_found(state, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let mut state = self.call("rename", from, true)?;
        let found = state.names.get(from).copied();
        let ix = found.ok_or_else(|| DiskError::io("rename", from)(io::ErrorKind::NotFound.into()))?;
        state.change(NameChange::Set(to.to_owned(), ix));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        let mut state = self.call("remove", path, true)?;
        if !state.names.contains_key(path) {
            return Err(DiskError::io("remove", path)(io::ErrorKind::NotFound.into()));
        }
        state.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut state = self.call("sync", dir, false)?;
        state.durable_names = state.names.clone();
        state.pending.clear();
        Ok(())
    }

    fn free_space(&self, dir: &Path) -> Result<u64, DiskError> {
        let state = self.call("ask for free space of", dir, false)?;
        Ok(state.capacity().saturating_sub(state.used()))
    }
}

impl SimDisk {
    fn open_found(&self, state: MutexGuard<'_, State>, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        match state.names.get(path) {
            Some(&ix) => Ok(Arc::new(SimFile { disk: self.clone(), ix, path: path.to_owned() })),
            None => Err(DiskError::io("open", path)(io::ErrorKind::NotFound.into())),
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    ix: usize,
    path: PathBuf,
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.disk.call("write", &self.path, true)?;
        if state.due(|f| if let Fault::FailWrite(left) = f { Some(left) } else { None }) {
            return Err(DiskError::io("write", &self.path)(io::Error::other("input/output error")));
        }
        let lost = state.due(|f| if let Fault::LoseWrite(left) = f { Some(left) } else { None });
        let start = offset as usize;
        let grows = (start + bytes.len()).saturating_sub(state.files[self.ix].cached.len()) as u64;
        if grows > 0 && state.used() + grows > state.capacity() {
            return Err(DiskError::io("write", &self.path)(io::ErrorKind::StorageFull.into()));
        }
        let file = &mut state.files[self.ix];
        let end = file.cached.len().max(start + bytes.len());
        file.cached.resize(end, 0);
        file.cached[start..start + bytes.len()].copy_from_slice(bytes);
        if lost {
            return Ok(());
        }
        let mut at = start;
        while at < start + bytes.len() {
            let stop = ((at / SECTOR + 1) * SECTOR).min(start + bytes.len());
            file.dirty.push((at, bytes[at - start..stop - start].to_vec()));
            at = stop;
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<usize, DiskError> {
        let state = self.disk.call("read", &self.path, false)?;
        let rest = state.files[self.ix].cached.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size(&self) -> Result<u64, DiskError> {
        let state = self.disk.call("ask for the size of", &self.path, false)?;
        Ok(state.files[self.ix].cached.len() as u64)
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let mut state = self.disk.call("sync", &self.path, false)?;
        state.syncs += 1;
        let fails = state.due(|f| if let Fault::FailSync(left) = f { Some(left) } else { None });
        let mut dice = state.dice;
        let file = &mut state.files[self.ix];
        let cached = file.cached.clone();
        file.settle(&mut dice, if fails { 2 } else { 1 });
        // Pages that a failed sync dropped still read back.
        file.cached = cached;
        state.dice = dice;
        if fails {
            return Err(DiskError::io("sync", &self.path)(io::Error::other("input/output error")));
        }
        Ok(())
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug)]
struct SimLock {
    _held: Arc<()>,
}

impl DirLock for SimLock {}
