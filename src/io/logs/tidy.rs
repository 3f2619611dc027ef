//! Sees to the files that were put aside: compresses them, keeps so many for so long. On a thread of its own, because a large
//! file takes seconds. A kill at any point leaves either the plain file or the whole compressed one; rests of a broken
//! compression are taken away with the next look.

use super::rolling::STAMP;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How often it looks, besides after each file that was put aside: files grow old.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// So many; 0: all.
    pub max_backups: u32,
    /// For so long; zero: without end.
    pub max_age: Duration,
    /// Compressed.
    pub compress: bool,
}

/// The way to the thread. It ends with the last of these.
#[derive(Debug, Clone)]
pub(super) struct Tidy(SyncSender<()>);

impl Tidy {
    /// Starts the thread, which looks at once.
    pub fn start(dir: PathBuf, stems: Vec<&'static str>, keep: Retention) -> io::Result<Tidy> {
        let (asks, asked) = sync_channel(1);
        let run = move || run(&dir, &stems, keep, &asked);
        std::thread::Builder::new().name("qcat-log-tidy".to_owned()).spawn(run)?;
        Ok(Tidy(asks))
    }

    /// Asks for a look; one that is asked for already is enough.
    pub fn soon(&self) {
        let _ = self.0.try_send(());
    }
}

fn run(dir: &Path, stems: &[&'static str], keep: Retention, asked: &Receiver<()>) {
    loop {
        for stem in stems {
            if let Err(error) = tidy(dir, stem, keep, jiff::Timestamp::now()) {
                let dir = dir.display().to_string();
                tracing::warn!(code = "log_tidy_failed", dir, log = stem, %error, "old log files could not be seen to");
            }
        }
        if let Err(RecvTimeoutError::Disconnected) = asked.recv_timeout(LOOK_EVERY) {
            return;
        }
    }
}

/// A file that was put aside.
struct Aside {
    at: jiff::Timestamp,
    path: PathBuf,
    packed: bool,
}

/// Sees to the files of one log at this time.
pub(super) fn tidy(dir: &Path, stem: &str, keep: Retention, now: jiff::Timestamp) -> io::Result<()> {
    let mut files = list(dir, stem)?;
    // The newest first; of the same time the compressed one, which is whole if it is there.
    files.sort_by(|a, b| b.at.cmp(&a.at).then(b.packed.cmp(&a.packed)));
    let twice = |pair: &[Aside]| pair[0].at == pair[1].at;
    for at in
        files.windows(2).enumerate().filter(|(_, pair)| twice(pair)).map(|(at, _)| at + 1).rev().collect::<Vec<_>>()
    {
        fs::remove_file(files.remove(at).path)?;
    }
    let young = |file: &Aside| keep.max_age.is_zero() || now.duration_since(file.at).unsigned_abs() <= keep.max_age;
    let count = if keep.max_backups == 0 { usize::MAX } else { keep.max_backups as usize };
    for (at, file) in files.into_iter().enumerate() {
        if at >= count || file.at < now && !young(&file) {
            fs::remove_file(&file.path)?;
        } else if keep.compress && !file.packed {
            pack(&file.path)?;
        }
    }
    Ok(())
}

fn list(dir: &Path, stem: &str) -> io::Result<Vec<Aside>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(rest) = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-')) else { continue };
        if let Some(stamp) = rest.strip_suffix(".log.gz.tmp") {
            if parse(stamp).is_some() {
                fs::remove_file(&path)?;
            }
            continue;
        }
        let plain = rest.strip_suffix(".log").map(|stamp| (stamp, false));
        let Some((stamp, packed)) = rest.strip_suffix(".log.gz").map(|stamp| (stamp, true)).or(plain) else { continue };
        if let Some(at) = parse(stamp) {
            found.push(Aside { at, path, packed });
        }
    }
    Ok(found)
}

fn parse(stamp: &str) -> Option<jiff::Timestamp> {
    let time = DateTime::strptime(STAMP, stamp).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

fn pack(plain: &Path) -> io::Result<()> {
    let (packed, part) = (plain.with_extension("log.gz"), plain.with_extension("log.gz.tmp"));
    let to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&part)?;
    let mut to = GzEncoder::new(to, Compression::default());
    let done = io::copy(&mut File::open(plain)?, &mut to).and_then(|_| to.finish()?.sync_all());
    if let Err(error) = done {
        // A disk that is full: the plain file stays, its half copy does not.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, &packed)?;
    fs::remove_file(plain)
}
