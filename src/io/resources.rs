//! What this process uses and what the machine has: memory, processor time, disk space. Read from `/proc`, cgroups and the file system.
//!
//! Tests: a made-up `/proc` and cgroup tree of both versions; this process itself.

use qcat_core::time::Span;
use std::io;
use std::path::{Path, PathBuf};

/// A limit that no machine has: a cgroup of the first version writes it for "none".
const NO_LIMIT: u64 = 1 << 60;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// A file or file system cannot be read.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// A file is not written as expected.
    #[error("{path}: no {what} in it")]
    Format { path: PathBuf, what: &'static str },
}

/// Memory of this process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Resident: in the machine's memory now.
    pub resident: u64,
    /// Mapped, used or not.
    pub mapped: u64,
}

/// Space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Its size.
    pub total: u64,
    /// What a process without privileges can still write.
    pub available: u64,
    /// It takes no writes.
    pub read_only: bool,
}

/// Where the machine tells about itself.
#[derive(Debug, Clone)]
pub struct Machine {
    proc: PathBuf,
    cgroups: PathBuf,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::at("/proc", "/sys/fs/cgroup")
    }
}

impl Machine {
    /// A machine whose `/proc` and cgroup file system stand elsewhere.
    pub fn at(proc: impl Into<PathBuf>, cgroups: impl Into<PathBuf>) -> Machine {
        Machine { proc: proc.into(), cgroups: cgroups.into() }
    }

    /// Memory of this process.
    pub fn process_memory(&self) -> Result<ProcessMemory, ResourceError> {
        let path = self.proc.join("self/status");
        let text = read(&path)?;
        let bytes = |key| kilobytes(&text, key).ok_or_else(|| ResourceError::Format { path: path.clone(), what: key });
        Ok(ProcessMemory { resident: bytes("VmRSS:")?, mapped: bytes("VmSize:")? })
    }

    /// Memory of the machine.
    pub fn total_memory(&self) -> Result<u64, ResourceError> {
        let path = self.proc.join("meminfo");
        kilobytes(&read(&path)?, "MemTotal:").ok_or(ResourceError::Format { path, what: "MemTotal" })
    }

    /// The most that this process may use: the machine's memory, or the tightest limit of a cgroup that it is in.
    pub fn memory_limit(&self) -> Result<u64, ResourceError> {
        let total = self.total_memory()?;
        let groups = read(&self.proc.join("self/cgroup")).unwrap_or_default();
        let limits = groups.lines().filter_map(|line| self.cgroup_limit(line));
        Ok(limits.fold(total, u64::min))
    }

    /// The limit of one line of `/proc/self/cgroup`: `number:controllers:path`.
    fn cgroup_limit(&self, line: &str) -> Option<u64> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        // The second version has no list of controllers; beside the first it stands in `unified`.
        let (roots, file) = match controllers {
            "" => ([self.cgroups.clone(), self.cgroups.join("unified")], "memory.max"),
            list if list.split(',').any(|controller| controller == "memory") => {
                ([self.cgroups.join("memory"), self.cgroups.join(list)], "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container the path may be the host's: what is not there is passed over, up to the root.
        let path = Path::new(path.trim_start_matches('/'));
        let limits = roots.iter().flat_map(|root| path.ancestors().map(|group| root.join(group).join(file)));
        let limits = limits.filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
        limits.filter(|limit| *limit < NO_LIMIT).min()
    }

    /// Processor time of this process since its start, all threads, user and system.
    pub fn cpu_time(&self) -> Result<Span, ResourceError> {
        let path = self.proc.join("self/stat");
        let text = read(&path)?;
        let ticks = || {
            // The name in parentheses may hold anything, also spaces and parentheses.
            let (_, fields) = text.rsplit_once(')')?;
            let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
            fields.next()?.ok()?.checked_add(fields.next()?.ok()?)
        };
        let ticks = ticks().ok_or(ResourceError::Format { path, what: "processor time" })?;
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(rustix::param::clock_ticks_per_second().max(1));
        Ok(Span::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)))
    }

    /// File descriptors that this process has open.
    pub fn open_files(&self) -> Result<usize, ResourceError> {
        let path = self.proc.join("self/fd");
        let entries = std::fs::read_dir(&path).map_err(|source| ResourceError::Io { path, source })?;
        // One of them reads the directory.
        Ok(entries.count().saturating_sub(1))
    }
}

/// Space of the file system that `path`, which must exist, is on.
pub fn disk_space(path: &Path) -> Result<DiskSpace, ResourceError> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|error| ResourceError::Io { path: path.to_owned(), source: io::Error::from(error) })?;
    Ok(DiskSpace {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
        read_only: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

/// Lowers the priority of the calling thread, and of threads that it starts, to the least: it runs when nothing else wants to.
pub fn run_last() -> io::Result<()> {
    // On Linux a thread's own, though POSIX speaks of the process; not relative to what the process was started with.
    rustix::process::setpriority_process(None, 19)?;
    Ok(())
}

fn read(path: &Path) -> Result<String, ResourceError> {
    std::fs::read_to_string(path).map_err(|source| ResourceError::Io { path: path.to_owned(), source })
}

/// `Key:   123 kB`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let machine = Machine::at(dir.path().join("proc"), dir.path().join("cg"));
        (dir, machine)
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_holds() {
        let info = ("proc/meminfo", "MemTotal:       8000000 kB\nMemFree: 1 kB\n");
        let total = 8_000_000 * 1_024;
        let limit = |files: &[(&str, &str)]| machine(&[&[info], files].concat()).1.memory_limit().unwrap();
        let second = ("proc/self/cgroup", "0::/system.slice/qcat.service\n");
        assert_eq!(limit(&[]), total, "no cgroups at all");
        assert_eq!(limit(&[second, ("cg/system.slice/qcat.service/memory.max", "max\n")]), total);
        let service = ("cg/system.slice/qcat.service/memory.max", "1000000\n");
        assert_eq!(limit(&[second, service]), 1_000_000);
        assert_eq!(limit(&[second, service, ("cg/system.slice/memory.max", "500000\n")]), 500_000);
        assert_eq!(limit(&[second, ("cg/memory.max", "700000\n")]), 700_000, "a container sees its own root only");
        let first = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/\n");
        assert_eq!(limit(&[first, ("cg/memory/x/memory.limit_in_bytes", "300000\n")]), 300_000);
        assert_eq!(limit(&[first, ("cg/memory/memory.limit_in_bytes", "9223372036854771712\n")]), total, "none");
    }

    #[test]
    fn what_is_missing_is_an_error_with_its_file() {
        let (_dir, machine) = machine(&[("proc/self/status", "Name: qcat\n"), ("proc/self/stat", "1 (qcat) S 1")]);
        assert!(machine.process_memory().unwrap_err().to_string().ends_with("self/status: no VmRSS: in it"));
        assert!(machine.cpu_time().unwrap_err().to_string().contains("no processor time"));
        assert!(machine.total_memory().unwrap_err().to_string().contains("meminfo"));
        assert!(disk_space(Path::new("/no/such/place")).unwrap_err().to_string().starts_with("/no/such/place"));
    }

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let fields = "S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        let (_dir, machine) = machine(&[("proc/self/stat", &format!("7 (q) cat ((x) {fields}"))]);
        let ticks = i64::try_from(rustix::param::clock_ticks_per_second()).unwrap();
        assert_eq!(machine.cpu_time().unwrap(), Span::from_nanos(300 * 1_000_000_000 / ticks));
    }

    #[test]
    fn this_process_uses_something_of_this_machine() {
        let machine = Machine::default();
        let memory = machine.process_memory().unwrap();
        let held = vec![1u8; 64 << 20];
        let more = machine.process_memory().unwrap();
        assert!(more.resident >= memory.resident + (48 << 20), "{memory:?} {more:?}");
        assert_eq!(held.iter().map(|b| u64::from(*b)).sum::<u64>(), 64 << 20);
        assert!(more.resident < more.mapped && more.resident < machine.memory_limit().unwrap());
        assert!(machine.open_files().unwrap() >= 3 && machine.cpu_time().unwrap() >= Span::ZERO);
        let space = disk_space(Path::new("/proc/..")).unwrap();
        assert!(space.available <= space.total && space.total > 0);
        assert!(disk_space(Path::new("/sys")).unwrap().total < space.total);
    }

    #[test]
    fn a_thread_can_run_last() {
        let (own, other) = std::thread::scope(|scope| {
            let own = scope.spawn(|| {
                run_last().unwrap();
                rustix::process::getpriority_process(None).unwrap()
            });
            let own = own.join().unwrap();
            (own, rustix::process::getpriority_process(None).unwrap())
        });
        assert_eq!(own, 19);
        assert!(other < 19, "other threads keep their priority");
    }
}
