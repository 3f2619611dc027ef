//! SIGHUP: the log files are opened anew and the configuration is read again. It never ends a daemon.
//!
//! It runs on a thread of its own: files are slow, and the trading thread waits for nothing. What is done is a list of named
//! actions; one that fails or panics is told in the log and keeps no other from its turn. Tests: `tests`, `tests/systemd.rs`.

use qcat_io::shell::panic_text;
use qcat_io::systemd::Notifier;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a reload does: `Ok`, what came of it, for the log; `Err`, what is wrong, a line for each fault. Nothing has changed then.
pub type Act = Box<dyn FnMut() -> Result<String, Vec<String>> + Send>;

/// The actions of a reload, in order.
#[derive(Default)]
pub struct Reload(Vec<(&'static str, Act)>);

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Reload {
    /// The same with one more action at the end.
    #[must_use]
    pub fn with(mut self, name: &'static str, act: Act) -> Reload {
        self.0.push((name, act));
        self
    }

    /// Starts the thread that waits for SIGHUP. From here on the signal does not end the process any more.
    pub fn start(mut self, notifier: Notifier) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut hangup = {
            let _inside = runtime.enter();
            signal(SignalKind::hangup())?
        };
        let wait = move |hangup: &mut Signal| runtime.block_on(hangup.recv());
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            while wait(&mut hangup).is_some() {
                notifier.reloading();
                self.run();
                notifier.reloaded();
            }
        })?;
        Ok(())
    }

    /// Does everything once; whether all of it went well.
    pub fn run(&mut self) -> bool {
        tracing::info!("reloading");
        let mut well = true;
        for (name, act) in &mut self.0 {
            let errors = match catch_unwind(AssertUnwindSafe(act)) {
                Ok(Ok(done)) => {
                    tracing::info!(what = name, "reloaded: {done}");
                    continue;
                }
                Ok(Err(errors)) => errors,
                Err(panic) => vec![format!("panicked: {}", panic_text(&*panic))],
            };
            well = false;
            errors
                .iter()
                .for_each(|error| tracing::error!(code = "reload_refused", what = name, "not reloaded: {error}"));
        }
        well
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn an_action_that_fails_or_panics_keeps_no_other_from_its_turn() {
        let done = Arc::new(AtomicU32::new(0));
        let counts = |done: &Arc<AtomicU32>| {
            let done = done.clone();
            Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                Ok("counted".to_owned())
            })
        };
        let mut reload = Reload::default()
            .with("fails", Box::new(|| Err(vec!["one".to_owned(), "two".to_owned()])))
            .with("panics", Box::new(|| std::panic::resume_unwind(Box::new("on purpose"))))
            .with("counts", counts(&done));
        assert_eq!([reload.run(), reload.run()], [false, false]);
        assert!(Reload::default().with("counts", counts(&done)).run());
        assert_eq!(done.load(Ordering::Relaxed), 3);
    }
}
