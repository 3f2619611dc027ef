//! A file that is put aside when it has grown to its size.
//!
//! Lines gather in memory, within a bound, until they are written; a write that fails is tried again from where it stopped, so
//! that no line is torn. The file is put aside under a name with the time, as lumberjack does it: `qcat-2026-11-24T01-02-03.123.log`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes that wait for a file that takes nothing.
const WAITING_MAX: usize = 1 << 20;
/// Time until a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time until a file that could not be put aside is tried again.
const RETRY_ASIDE: Duration = Duration::from_secs(60);
/// The time in names of files that were put aside; UTC.
pub(super) const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// The file.
#[derive(Debug)]
pub(super) struct Rolling {
    path: PathBuf,
    stem: &'static str,
    max_size: u64,
    /// `None` after it could not be opened.
    file: Option<File>,
    size: u64,
    waiting: Vec<u8>,
    /// The last line was written in part.
    torn: bool,
    retry_at: Option<Instant>,
    aside_again: Option<Instant>,
}

/// How a settling went.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Nothing waits any more.
    pub empty: bool,
    /// A file was put aside.
    pub put_aside: bool,
    /// What went wrong.
    pub failed: Option<io::Error>,
    /// It had gone well before.
    pub first: bool,
}

impl Rolling {
    /// Opens `stem.log` in a directory, which is made when it is missing. `max_size` in bytes; 0: it grows without end.
    pub fn open(dir: &Path, stem: &'static str, max_size: u64) -> io::Result<Rolling> {
        let path = dir.join(format!("{stem}.log"));
        let (file, size) = open(&path)?;
        let (waiting, torn, retry_at, aside_again) = (Vec::new(), false, None, None);
        Ok(Rolling { path, stem, max_size, file: Some(file), size, waiting, torn, retry_at, aside_again })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a line; false when too much waits.
    pub fn push(&mut self, line: &[u8]) -> bool {
        let room = self.waiting.len() + line.len() <= WAITING_MAX;
        if room {
            self.waiting.extend_from_slice(line);
        }
        room
    }

    /// Writes what waits.
    pub fn settle(&mut self, now: Instant) -> Settled {
        let mut settled = Settled::default();
        if self.waiting.is_empty() || self.retry_at.is_some_and(|at| now < at) {
            settled.empty = self.waiting.is_empty();
            return settled;
        }
        match self.write(now, &mut settled) {
            Ok(()) => (self.retry_at, settled.empty) = (None, true),
            Err(error) => {
                settled.first = self.retry_at.is_none();
                (self.retry_at, settled.failed) = (Some(now + RETRY), Some(error));
            }
        }
        settled
    }

    fn write(&mut self, now: Instant, settled: &mut Settled) -> io::Result<()> {
        let full = self.max_size > 0 && self.size > 0 && self.size + self.waiting.len() as u64 > self.max_size;
        if full && !self.torn && self.aside_again.is_none_or(|at| now >= at) {
            match self.put_aside() {
                Ok(()) => (settled.put_aside, self.aside_again) = (true, None),
                Err(error) => {
                    self.aside_again = Some(now + RETRY_ASIDE);
                    let file = self.path.display().to_string();
                    tracing::error!(code = "log_rotation_failed", file, %error, "a log file could not be put aside");
                }
            }
        }
        if self.file.is_none() {
            let (file, size) = open(&self.path)?;
            (self.file, self.size) = (Some(file), size);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let (mut written, mut ended) = (0, Ok(()));
        while written < self.waiting.len() && ended.is_ok() {
            match file.write(&self.waiting[written..]) {
                Ok(0) => ended = Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => ended = Err(error),
            }
        }
        self.size += written as u64;
        if written > 0 {
            self.torn = self.waiting[written - 1] != b'\n';
        }
        self.waiting.drain(..written);
        ended
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let now = jiff::Timestamp::now().as_millisecond();
        // Two within a millisecond: the later one is given the next.
        let free = (now..now + 1_000).map(|at| self.aside_name(at)).find(|path| !taken(path));
        let to = free.ok_or(ErrorKind::AlreadyExists)?;
        fs::rename(&self.path, to)?;
        self.file = None;
        Ok(())
    }

    fn aside_name(&self, millis: i64) -> PathBuf {
        let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
        self.path.with_file_name(format!("{}-{}.log", self.stem, at.strftime(STAMP)))
    }

    /// Opens it anew: it was moved away. When that fails, the next write tries again.
    pub fn reopen(&mut self) {
        if let Ok((file, size)) = open(&self.path) {
            (self.file, self.size, self.torn) = (Some(file), size, false);
        } else {
            self.file = None;
        }
        self.retry_at = None;
    }

    /// Looks whether it was deleted; then the next line makes a new one.
    pub fn look(&mut self) {
        if self.file.as_ref().and_then(|file| file.metadata().ok()).is_some_and(|meta| meta.nlink() == 0) {
            self.reopen();
        }
    }
}

fn taken(path: &Path) -> bool {
    path.exists() || path.with_extension("log.gz").exists()
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
