//! A thread with a runtime of its own for sockets of databases: no caller's thread does their work, and a caller that goes away
//! does not cut a transaction in two.

use std::future::Future;
use std::io;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    handle: Handle,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Background {
    /// Starts the thread.
    pub(crate) fn start(name: &str) -> io::Result<Background> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel::<()>());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Either way of ending means the same.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Background { handle, _stop: stop })
    }

    /// Runs a future there, to its end even if nobody waits any more. `Err`: it panicked, or the thread is gone.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send + 'static {
        let task = self.handle.spawn(work);
        async move {
            task.await
                .map_err(|e| if e.is_panic() { "its task panicked".to_owned() } else { "it is closed".to_owned() })
        }
    }

    /// Leaves a future there.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(work));
    }

    /// Does something that wants a runtime around it.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _inside = self.handle.enter();
        work()
    }
}
