//! What the writing threads write to.

use super::outlet::{Losses, Sink, Targets};
use super::rolling::Rolling;
use super::tidy::Tidy;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Files that share a thread.
pub(super) struct Files {
    files: Vec<Rolling>,
    tidy: Tidy,
    looked: Instant,
}

/// How often it is looked whether a file is still in its place.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Files {
    /// Of these files.
    pub fn new(files: Vec<Rolling>, tidy: Tidy) -> Files {
        Files { files, tidy, looked: Instant::now() }
    }
}

impl Sink for Files {
    fn take(&mut self, to: Targets, line: &[u8], losses: &Losses) {
        for (at, file) in self.files.iter_mut().enumerate() {
            if to.has(at) && !file.push(line) {
                losses.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn settle(&mut self, now: Instant, losses: &Losses) -> bool {
        let mut flows = true;
        let look = now.duration_since(self.looked) >= LOOK_EVERY;
        for file in &mut self.files {
            if look {
                file.look();
            }
            let settled = file.settle(now);
            if settled.put_aside {
                self.tidy.soon();
            }
            if let Some(error) = settled.failed {
                losses.write_failures.fetch_add(1, Ordering::Relaxed);
                if settled.first {
                    let file = file.path().display().to_string();
                    tracing::error!(code = "log_write_failed", file, %error, "a log file takes nothing; lines wait");
                }
            }
            flows &= settled.empty;
        }
        if look {
            self.looked = now;
        }
        flows
    }

    fn reopen(&mut self) {
        self.files.iter_mut().for_each(Rolling::reopen);
    }
}

/// Standard error: what it does not take is lost.
#[derive(Debug, Default)]
pub(super) struct Stderr {
    waiting: Vec<u8>,
    lines: u64,
    /// The last write failed.
    broken: bool,
}

impl Stderr {
    /// Nothing waits.
    pub fn new() -> Stderr {
        Stderr::default()
    }
}

impl Sink for Stderr {
    fn take(&mut self, _to: Targets, line: &[u8], _losses: &Losses) {
        self.waiting.extend_from_slice(line);
        self.lines += 1;
    }

    fn settle(&mut self, _now: Instant, losses: &Losses) -> bool {
        let lines = std::mem::take(&mut self.lines);
        if lines > 0 {
            self.broken = io::stderr().lock().write_all(&self.waiting).is_err();
            if self.broken {
                losses.write_failures.fetch_add(1, Ordering::Relaxed);
                losses.dropped.fetch_add(lines, Ordering::Relaxed);
            }
        }
        self.waiting.clear();
        !self.broken
    }

    fn reopen(&mut self) {}
}
