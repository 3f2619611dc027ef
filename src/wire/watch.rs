//! The watchdog of a daemon.

use crate::cli::exit;
use crate::config::Config;
use qcat_actors::runtime::latch::HaltLatch;
use qcat_actors::runtime::watchdog::{Heart, Pulse, Watchdog, WatchdogOptions};
use qcat_core::time::Span;
use qcat_io::clock::Clock;
use qcat_io::disk::RealDisk;
use qcat_io::last_resort::Access;
use qcat_io::logs;
use qcat_io::net::tls::Connector;
use qcat_io::shell::Credentials;
use qcat_io::systemd::{self, Notifier};
use std::sync::Arc;
use std::time::Duration;

/// What it watches, and how it reaches the exchange.
pub struct Watched<'a> {
    /// The lane's pulse.
    pub pulse: &'a Arc<Pulse>,
    /// The lane's latch.
    pub latch: &'a Arc<HaltLatch>,
    /// Threads besides the trading one.
    pub hearts: Vec<(&'static str, Heart)>,
    /// Opens connections.
    pub connector: &'a Connector,
    /// Keys by account.
    pub credentials: &'a [Credentials],
    /// Tells the time.
    pub clock: &'a Arc<dyn Clock>,
}

/// Starts the watchdog of a daemon of this configuration.
pub fn start(config: &Config, watched: Watched<'_>) -> std::io::Result<Watchdog> {
    let time = |span: Span| Duration::from_nanos(span.nanos().unsigned_abs());
    let notifier = Notifier::from_environment().unwrap_or_else(|error| {
        tracing::warn!(code = "notify_failed", %error, "NOTIFY_SOCKET cannot be used: the service manager hears nothing");
        Notifier::default()
    });
    Watchdog::start(WatchdogOptions {
        step_timeout: time(config.step_timeout),
        pulse: watched.pulse.clone(),
        latch: watched.latch.clone(),
        hearts: watched.hearts,
        dir: config.journal.dir.clone(),
        disk: Arc::new(RealDisk),
        clock: watched.clock.clone(),
        access: Access {
            connector: watched.connector.clone(),
            rest_url: config.exchange.rest_url.clone(),
            recv_window: config.exchange.recv_window,
            credentials: watched.credentials.to_vec(),
            clock: watched.clock.clone(),
        },
        alive_every: systemd::watchdog_period().filter(|_| notifier.is_heard()),
        notifier,
        end: || {
            logs::flush_before_exit();
            std::process::exit(i32::from(exit::SOFTWARE))
        },
    })
}
