//! Signals that end the process, and the guard that ends it when its own stop does not.
//!
//! The guard is a thread of its own, because the trading thread may be blocked for good: in a sync of a dead disk, in a write to
//! a standard error that nobody reads. Tests: `tests/forced.rs`, with a daemon that is blocked.

use qcat_actors::runtime::stop::Unstopped;
use std::io::Write;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// A second signal within this time is the same wish, told to the process and to its group.
const SAME_WISH: Duration = Duration::from_millis(500);
/// How long the last words may take: standard error may be what blocks.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Waits for SIGINT or SIGTERM.
pub async fn stop() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers the signal ends the process by itself.
        _ => std::future::pending().await,
    }
}

/// Waits for the signal that forces, after the first one.
pub async fn stop_again() {
    tokio::time::sleep(SAME_WISH).await;
    stop().await;
}

/// Waits for a signal that is heeded: without `heed` none is, but taken, so that it does not end the process either.
async fn heeded(heed: bool) {
    loop {
        stop().await;
        if heed {
            return;
        }
        tracing::warn!(code = "signal_ignored", "SIGINT or SIGTERM: shutdown.enable_signal_handling is false");
    }
}

async fn heeded_again(heed: bool) {
    tokio::time::sleep(SAME_WISH).await;
    heeded(heed).await;
}

/// Ends the process from outside of the trading thread. Clones are the same guard.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Told to stop by a signal.
    asked: Notify,
    armed: Notify,
    /// Told to force by the program itself.
    forced: Notify,
    unstopped: OnceLock<Unstopped>,
}

impl Guard {
    /// Starts the thread. From the first signal on, or from [`Guard::arm`], the process has `within` to end by itself; then, or at
    /// a second signal, the guard writes to standard error what is not stopped, and ends the process with `code`. Without `signals`
    /// SIGINT and SIGTERM do nothing: only the program itself arms it, and forces.
    pub fn start(within: Duration, code: u8, signals: bool) -> std::io::Result<Guard> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared::default());
        let guard = Guard(shared.clone());
        std::thread::Builder::new().name("stop-guard".to_owned()).spawn(move || {
            let why = runtime.block_on(async {
                tokio::select! {
                    () = heeded(signals) => shared.asked.notify_one(),
                    () = shared.armed.notified() => {}
                    () = shared.forced.notified() => shared.forced.notify_one(),
                }
                tokio::select! {
                    () = heeded_again(signals) => "told to stop again".to_owned(),
                    () = shared.forced.notified() => "told to force".to_owned(),
                    () = tokio::time::sleep(within) => format!("the stop took longer than {within:?}"),
                }
            });
            let left = shared.unstopped.get().map_or_else(|| "the start was not done".to_owned(), Unstopped::text);
            say(format!("forced: {why}; {left}\n"));
            qcat_io::logs::flush_before_exit();
            std::process::exit(i32::from(code));
        })?;
        Ok(guard)
    }

    /// Waits for the first signal, also one that came before. For one who waits at a time.
    pub async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// Names what is not stopped from here on.
    pub fn watch(&self, unstopped: Unstopped) {
        // A second daemon in the same process would not be named; there is none.
        let _ = self.0.unstopped.set(unstopped);
    }

    /// Forces, as a second signal does. From any thread.
    pub fn force(&self) {
        self.0.forced.notify_one();
    }

    /// The stop begins without a signal.
    pub fn arm(&self) {
        self.0.armed.notify_one();
    }
}

/// Writes to standard error, as far as that takes it.
fn say(text: String) {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stderr().write_all(text.as_bytes());
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(LAST_WORDS);
}
