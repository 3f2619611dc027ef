//! Everything that the journal does to files, as a trait: the real form, and a simulated one with faults.
//!
//! All calls block. Errors name the operation and the path. Tests: the simulated disk against its own rules, the real lock.

mod real;
mod sim;
#[cfg(test)]
mod tests;

pub use real::RealDisk;
pub use sim::{Fault, SimDisk};

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system, as far as the journal uses one.
pub trait Disk: Send + Sync + Debug {
    /// Creates the directory if need be and locks it exclusively, until the answer is dropped or the process ends.
    fn lock(&self, dir: &Path) -> Result<Box<dyn DirLock>, DiskError>;

    /// Names of the files in a directory, sorted.
    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError>;

    /// Creates a file that must not exist, with `size` bytes of space reserved that read as zeros.
    fn create(&self, path: &Path, size: u64) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Opens a file to read and write.
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Opens a file to read.
    fn open_read(&self, path: &Path) -> Result<Arc<dyn DiskFile>, DiskError>;

    /// Gives a file another name, replacing any file of that name.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<(), DiskError>;

    /// Makes creations, renames and removals in the directory durable.
    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError>;

    /// Bytes that this user may still write.
    fn free_space(&self, dir: &Path) -> Result<u64, DiskError>;
}

/// An open file. Offsets are explicit, so threads can share it.
pub trait DiskFile: Send + Sync + Debug {
    /// Writes all bytes at an offset.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Reads up to `bytes.len()` bytes at an offset; fewer only at the end of the file.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<usize, DiskError>;

    /// Size in bytes.
    fn size(&self) -> Result<u64, DiskError>;

    /// Makes what was written durable. After an error nothing is known of what was written since the last success, and a
    /// second call may lie: Linux marks the lost pages clean.
    fn sync_data(&self) -> Result<(), DiskError>;

    /// Where the file is, or was when opened.
    fn path(&self) -> &Path;
}

/// Holds a directory.
pub trait DirLock: Send + Sync + Debug {}

/// What a disk could not do.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process holds the directory.
    #[error("{} is in use by {}", .dir.display(), .pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, if it says so.
        pid: Option<u32>,
    },
    /// The operating system refused.
    #[error("cannot {op} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl DiskError {
    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
        move |source| DiskError::Io { op, path: path.to_owned(), source }
    }

    fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            DiskError::Locked { .. } => None,
            DiskError::Io { source, .. } => Some(source.kind()),
        }
    }

    /// Whether there is no space (or quota) left.
    pub fn is_full(&self) -> bool {
        matches!(self.kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether writing is not allowed here.
    pub fn is_read_only(&self) -> bool {
        matches!(self.kind(), Some(io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied))
    }

    /// Whether the file or directory does not exist.
    pub fn is_missing(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }
}
