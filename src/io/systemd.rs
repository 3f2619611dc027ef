//! What the service manager is told, by the protocol of `sd_notify(3)`: every call does nothing where there is no service manager.
//!
//! The socket is our own: sd-notify's does not know names in the abstract namespace. A message that cannot be sent within its
//! bound is lost; the daemon goes on. Tests: `tests/systemd.rs`, with a real socket and the daemon as a process.

use sd_notify::NotifyState;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long a message may take to leave: the service manager's queue may be full.
const PATIENCE: Duration = Duration::from_millis(500);

/// The way to the service manager. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Notifier(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    socket: UnixDatagram,
    stage: AtomicU8,
}

/// Where the service is, as the manager was told.
const STARTING: u8 = 0;
const READY: u8 = 1;
const STOPPING: u8 = 2;

impl Notifier {
    /// Of the environment's `NOTIFY_SOCKET`; without one, nobody is told anything.
    pub fn from_environment() -> io::Result<Notifier> {
        match std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            Some(name) => Notifier::to(&name),
            None => Ok(Notifier::default()),
        }
    }

    /// To a socket of this name: a path, or `@` and a name in the abstract namespace.
    pub fn to(name: &OsStr) -> io::Result<Notifier> {
        let address = match name.as_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Notifier(Some(Arc::new(Link { socket, stage: AtomicU8::new(STARTING) }))))
    }

    /// Whether there is a service manager.
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// The start is done. Told once; after a stop began it is not told any more.
    pub fn ready(&self, status: &str) {
        if self.pass(STARTING, READY) {
            self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        }
    }

    /// A reload begins; [`Notifier::reloaded`] ends it. A reload while the service starts or stops is not the manager's concern.
    pub fn reloading(&self) {
        // A manager that wants the time takes no reload without it.
        if self.is_at(READY)
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            self.tell(&[NotifyState::Reloading, now]);
        }
    }

    /// A reload is over, however it went.
    pub fn reloaded(&self) {
        if self.is_at(READY) {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// The stop begins.
    pub fn stopping(&self, status: &str) {
        if self.pass(STARTING, STOPPING) || self.pass(READY, STOPPING) {
            self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
        }
    }

    fn is_at(&self, stage: u8) -> bool {
        self.0.as_ref().is_some_and(|link| link.stage.load(Ordering::Acquire) == stage)
    }

    fn pass(&self, from: u8, to: u8) -> bool {
        let change =
            |link: &Arc<Link>| link.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.0.as_ref().is_some_and(change)
    }

    /// One line for people.
    pub fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(text)]);
    }

    /// The daemon is alive.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(Link { socket, .. }) = self.0.as_deref() else { return };
        let lines: Vec<String> = states.iter().map(|state| state.to_string().replace('\n', " ")).collect();
        // Whoever is not heard by the manager can do nothing about it.
        let _ = socket.send(lines.join("\n").as_bytes());
    }
}

/// Within which time the service manager wants to hear that this process is alive; `None`: it does not care.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let read = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..read].to_vec()).unwrap()
    }

    #[test]
    fn sockets_with_a_path_and_abstract_ones_hear_what_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("qcat-notify-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let abstracted = SocketAddr::from_abstract_name(&name).unwrap();
        let abstracted = UnixDatagram::bind_addr(&abstracted).unwrap();
        for (socket, name) in [(at_path, path.into_os_string()), (abstracted, format!("@{name}").into())] {
            let notifier = Notifier::to(&name).unwrap();
            // Before it is ready a reload is nobody's concern.
            notifier.reloading();
            notifier.reloaded();
            (0..2).for_each(|_| notifier.ready("two\nlines"));
            assert_eq!(heard(&socket), "READY=1\nSTATUS=two lines");
            notifier.reloading();
            let reloading = heard(&socket);
            let since_boot = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            assert!(since_boot.parse::<u64>().unwrap() > 0);
            notifier.reloaded();
            notifier.alive();
            notifier.stopping("stops");
            let told = [heard(&socket), heard(&socket), heard(&socket)];
            assert_eq!(told, ["READY=1", "WATCHDOG=1", "STOPPING=1\nSTATUS=stops"]);
            notifier.ready("never");
            notifier.reloaded();
            // A manager that does not read blocks nobody for good.
            for _ in 0..64 {
                if notifier.0.as_ref().unwrap().socket.send(b"WATCHDOG=1").is_err() {
                    break;
                }
            }
            drop(socket);
            notifier.alive();
        }
        Notifier::default().ready("nobody");
        assert!(!Notifier::default().is_heard() && Notifier::to(OsStr::new("/nowhere/at/all")).is_err());
    }
}
