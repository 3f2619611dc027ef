//! The machine's file system.

use super::{DirLock, Disk, DiskError, DiskFile};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// Name of the lock file in a locked directory; it holds the owner's process id.
const LOCK: &str = "lock";

impl Disk for RealDisk {
    fn lock(&self, dir: &Path) -> Result<Box<dyn DirLock>, DiskError> {
        fs::create_dir_all(dir).map_err(DiskError::io("create", dir))?;
        let path = dir.join(LOCK);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(DiskError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(DiskError::Locked { dir: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(DiskError::io("lock", &path)(e)),
        }
        // The process id is a help for people; on a full disk the lock holds without it.
        let _ = file.set_len(0).and_then(|()| (&file).write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Box::new(RealLock { _file: file }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let entries = fs::read_dir(dir).map_err(DiskError::io("list", dir))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(DiskError::io("list", dir))?;
            // Names that are not UTF-8 are not ours.
            names.extend(entry.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, path: &Path, size: u64) -> Result<Arc<dyn DiskFile>, DiskError> {
        let open = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = open.map_err(DiskError::io("create", path))?;
        if let Err(e) = reserve(&file, size) {
            // A file without its space must not be taken for a segment later.
            let _ = fs::remove_file(path);
            return Err(DiskError::io("reserve space for", path)(e));
        }
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(DiskError::io("open", path))?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn open_read(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = File::open(path).map_err(DiskError::io("open", path))?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::rename(from, to).map_err(DiskError::io("rename", from))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        fs::remove_file(path).map_err(DiskError::io("remove", path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        File::open(dir).and_then(|d| d.sync_all()).map_err(DiskError::io("sync", dir))
    }

    fn free_space(&self, dir: &Path) -> Result<u64, DiskError> {
        let stat = rustix::fs::statvfs(dir).map_err(|e| DiskError::io("ask for free space of", dir)(e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Reserves space, so that later writes cannot run out of it where the file system can promise that.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(size),
        Err(e) => Err(e.into()),
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(DiskError::io("write", &self.path))
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<usize, DiskError> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(DiskError::io("read", &self.path)(e)),
            }
        }
        Ok(done)
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|m| m.len()).map_err(DiskError::io("ask for the size of", &self.path))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(DiskError::io("sync", &self.path))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// The lock ends with the open file.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DirLock for RealLock {}
