//! The machine and this process, looked at every few seconds on a thread of its own.

use super::samples::Samples;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use sysinfo::{MemoryRefreshKind, Networks, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// A look older than so many intervals is not told any more.
const STALE: u32 = 6;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// How often; at least 200 ms, below which use of the CPU cannot be told.
    pub every: Duration,
    /// Directories whose file systems matter, by a name for people: `data`, `logs`.
    pub directories: Vec<(&'static str, PathBuf)>,
}

/// The newest look. The thread ends with it.
pub(super) struct Host {
    seen: Arc<Mutex<Option<(Instant, Samples)>>>,
    every: Duration,
    _alive: SyncSender<()>,
}

impl Host {
    /// Starts the thread.
    pub fn start(options: HostOptions) -> io::Result<Host> {
        let every = options.every.max(Duration::from_millis(200));
        let (alive, ended) = sync_channel::<()>(1);
        let seen = Arc::new(Mutex::new(None));
        let to = seen.clone();
        let mut eyes = Eyes::new(options.directories)?;
        let look = move || {
            loop {
                let looked = (Instant::now(), eyes.look());
                *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
                if ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("qcat-host".to_owned()).spawn(look)?;
        Ok(Host { seen, every, _alive: alive })
    }

    pub fn collect(&self, all: &mut Samples) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, samples)) = &*seen
            && at.elapsed() < self.every * STALE
        {
            all.merge(samples.clone());
        }
    }
}

struct Eyes {
    system: System,
    networks: Networks,
    pid: Option<Pid>,
    /// Use of the CPU is the difference of two looks.
    looks: u32,
    directories: Vec<(&'static str, PathBuf)>,
}

impl Eyes {
    fn new(directories: Vec<(&'static str, PathBuf)>) -> io::Result<Eyes> {
        let system = System::new().map_err(|error| io::Error::other(error.to_string()))?;
        let networks = Networks::new_with_refreshed_list().map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Eyes { system, networks, pid: sysinfo::get_current_pid().ok(), looks: 0, directories })
    }

    fn look(&mut self) -> Samples {
        let mut all = Samples::default();
        self.machine(&mut all);
        self.disks(&mut all);
        self.process(&mut all);
        all
    }

    fn machine(&mut self, all: &mut Samples) {
        self.system.refresh_cpu_usage();
        self.looks = self.looks.saturating_add(1);
        if self.looks > 1 {
            let used = f64::from(self.system.global_cpu_usage());
            all.gauge("cpu_usage_percent", "Use of all CPUs of the machine since the last look", &[], used);
        }
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (total, available) = (self.system.total_memory(), self.system.available_memory());
        let used = total.saturating_sub(available) as f64 / total as f64 * 100.0;
        all.gauge("memory_usage_percent", "Memory of the machine that is not available", &[], used);
        self.networks.refresh(true);
        for (device, data) in &self.networks {
            for (direction, bytes) in [("receive", data.total_received()), ("transmit", data.total_transmitted())] {
                let labels = [("device", device.to_string_lossy().into_owned()), ("direction", direction.to_owned())];
                let help = "Bytes through a network device since the machine's start";
                all.gauge("network_io_bytes", help, &labels, bytes as f64);
            }
        }
    }

    fn disks(&self, all: &mut Samples) {
        for (name, path) in &self.directories {
            let Ok(disk) = rustix::fs::statvfs(path) else { continue };
            // As df computes it: what only root may use is neither.
            let used = disk.f_blocks.saturating_sub(disk.f_bfree);
            let percent = used as f64 / (used + disk.f_bavail) as f64 * 100.0;
            let labels = [("directory", (*name).to_owned())];
            all.gauge("disk_usage_percent", "Used part of the file system that holds a directory", &labels, percent);
            let free = disk.f_bavail as f64 * disk.f_frsize as f64;
            all.gauge("disk_free_bytes", "What may still be written to the file system of a directory", &labels, free);
        }
    }

    fn process(&mut self, all: &mut Samples) {
        let Some(pid) = self.pid else { return };
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        let Some(process) = self.system.process(pid) else { return };
        let resident = process.memory() as f64;
        all.gauge("process_resident_memory_bytes", "Memory of this process that is in RAM", &[], resident);
        let virtual_memory = process.virtual_memory() as f64;
        all.gauge("process_virtual_memory_bytes", "Address space of this process", &[], virtual_memory);
        let cpu = process.accumulated_cpu_time() as f64 / 1e3;
        all.counter_f64("process_cpu_seconds_total", "CPU time of this process", &[], cpu);
        let started = process.start_time() as f64;
        all.gauge("process_start_time_seconds", "Start of this process since the Unix epoch", &[], started);
        if let Some(open) = process.open_files() {
            all.gauge("process_open_fds", "Open file descriptors of this process", &[], open as f64);
        }
        if let Some(max) = process.open_files_limit() {
            all.gauge("process_max_fds", "File descriptors that this process may open", &[], max as f64);
        }
        if let Ok(threads) = std::fs::read_dir("/proc/self/task") {
            all.gauge("process_threads", "Threads of this process", &[], threads.count() as f64);
        }
    }
}
