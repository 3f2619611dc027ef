//! `qcat journal`: looks through a journal. Nothing is locked and nothing is changed, also while a daemon writes it.

use super::exit;
use qcat_io::disk::{Disk, DiskError, RealDisk};
use qcat_io::journal::ReadError;
use qcat_io::journal::verify::{Report, Tail, verify};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often a followed journal is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Check or read a journal. It is only read; a daemon may be writing it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check every record.
    ///
    /// Exit code 0: sound (an unfinished end, as a crash leaves it, is told and no error); 65: damaged.
    Verify {
        /// The journal's directory.
        dir: PathBuf,
    },
    /// Print the last records as lines of JSON.
    Tail {
        /// The journal's directory.
        dir: PathBuf,
        /// How many records.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
        lines: usize,
        /// Go on with what is written from now on.
        #[arg(short, long)]
        follow: bool,
    },
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    match &arguments.what {
        What::Verify { dir } => check(&disk, dir),
        What::Tail { dir, lines, follow } => tail(disk, dir, *lines, *follow),
    }
}

fn check(disk: &Arc<dyn Disk>, dir: &Path) -> u8 {
    let report = match look(disk, dir) {
        Ok(report) => report,
        Err(error) => return unreadable(&error),
    };
    if report.segments.is_empty() {
        eprintln!("error: {} holds no journal", dir.display());
        return exit::DATA;
    }
    print!("{report}");
    if report.is_sound() { exit::OK } else { exit::DATA }
}

/// What a daemon writes during the look can seem to be damage: only damage that is there again is damage.
fn look(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Report, DiskError> {
    let report = verify(disk.clone(), dir)?;
    if report.corruption.is_some() { verify(disk.clone(), dir) } else { Ok(report) }
}

fn unreadable(error: &dyn std::error::Error) -> u8 {
    eprintln!("error: {error}");
    exit::DATA
}

fn tail(disk: Arc<dyn Disk>, dir: &Path, count: usize, follow: bool) -> u8 {
    let (lines, mut tail) = match Tail::open(disk, dir, count) {
        Ok(open) => open,
        Err(error) => return unreadable(&error),
    };
    if lines.is_empty() && !follow && count > 0 {
        eprintln!("error: {} holds no journal", dir.display());
        return exit::DATA;
    }
    if !print(&lines) || !follow {
        return exit::OK;
    }
    loop {
        std::thread::sleep(LOOK);
        match more(&mut tail) {
            Ok(lines) if print(&lines) => {}
            Ok(_) => return exit::OK,
            Err(error) => return unreadable(&error),
        }
    }
}

/// As for `verify`: only what is wrong twice is wrong.
fn more(tail: &mut Tail) -> Result<Vec<String>, ReadError> {
    match tail.more() {
        Err(ReadError::Corrupt(_)) => {
            std::thread::sleep(LOOK);
            tail.more()
        }
        other => other,
    }
}

/// False: nobody reads any more.
fn print(lines: &[String]) -> bool {
    let mut out = std::io::stdout().lock();
    lines.iter().all(|line| writeln!(out, "{line}").is_ok()) && out.flush().is_ok()
}
