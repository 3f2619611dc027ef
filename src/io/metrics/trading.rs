//! What the trading thread measures. It records into atomics, and publishes a summary when it has nothing else to do.

use super::histogram::{Histogram, STAGE_BOUNDS};
use super::samples::Samples;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// A stage on the way from a frame to the exchange's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the receipt of a frame to the admission of what it told.
    Admit,
    /// From the admission of an input to the end of its step, its decisions in the journal.
    Decide,
    /// From a decision to its release: the wait for the journal's durability.
    Release,
    /// From the release to the word that the request was written to the socket.
    Write,
    /// From the receipt of a frame to the word that the request which it caused was written.
    Order,
    /// From the word that it was written to the exchange's answer.
    Acknowledge,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Stage; 6] =
        [Stage::Admit, Stage::Decide, Stage::Release, Stage::Write, Stage::Order, Stage::Acknowledge];

    /// As the label says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Admit => "admit",
            Stage::Decide => "decide",
            Stage::Release => "release",
            Stage::Write => "write",
            Stage::Order => "frame_to_written",
            Stage::Acknowledge => "acknowledge",
        }
    }
}

/// Sums of one account. Written by one thread alone, read by any.
#[derive(Debug)]
pub struct AccountMeter {
    account: String,
    asset: String,
    /// Orders sent on their way.
    pub placed: AtomicU64,
    /// Changes of orders sent on their way.
    pub modified: AtomicU64,
    /// Cancellations sent on their way.
    pub cancelled: AtomicU64,
    /// Intents refused by the gate or the desk.
    pub refused: AtomicU64,
    /// Fills booked.
    pub fills: AtomicU64,
    /// Sum of the fills' values, an `f64` as bits.
    volume: AtomicU64,
    /// Profit, an `f64` as bits; not a number: not known.
    profit: AtomicU64,
}

impl AccountMeter {
    /// For an account and the asset that it counts in.
    pub fn new(account: &str, asset: &str) -> AccountMeter {
        let zero = || AtomicU64::new(0);
        AccountMeter {
            account: account.to_owned(),
            asset: asset.to_owned(),
            placed: zero(),
            modified: zero(),
            cancelled: zero(),
            refused: zero(),
            fills: zero(),
            volume: AtomicU64::new(0.0_f64.to_bits()),
            profit: AtomicU64::new(f64::NAN.to_bits()),
        }
    }

    /// A fill of this value.
    pub fn filled(&self, value: f64) {
        self.fills.fetch_add(1, Ordering::Relaxed);
        let volume = f64::from_bits(self.volume.load(Ordering::Relaxed)) + value.abs();
        self.volume.store(volume.to_bits(), Ordering::Relaxed);
    }

    /// The account's profit since its beginning: realised less fees, funding, and what is open at mark prices. `None`: it cannot
    /// be computed.
    pub fn set_profit(&self, profit: Option<f64>) {
        self.profit.store(profit.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
    }

    fn collect(&self, all: &mut Samples) {
        let account = ("account", self.account.clone());
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let labels = std::slice::from_ref(&account);
        all.counter("orders_total", "Orders sent on their way to the exchange", labels, read(&self.placed));
        let help = "Changes of orders sent on their way to the exchange";
        all.counter("orders_modified_total", help, labels, read(&self.modified));
        let help = "Cancellations sent on their way to the exchange";
        all.counter("orders_cancelled_total", help, labels, read(&self.cancelled));
        all.counter("orders_refused_total", "Intents refused before they were sent", labels, read(&self.refused));
        all.counter("fills_total", "Fills booked", labels, read(&self.fills));
        let labels = [account, ("asset", self.asset.clone())];
        let volume = f64::from_bits(read(&self.volume));
        all.gauge("trades_volume", "Sum of the values of all fills since the start of the program", &labels, volume);
        let help = "Profit of the account: realised less fees, funding, and what is open at mark prices";
        all.gauge("pnl_total", help, &labels, f64::from_bits(read(&self.profit)));
    }
}

/// What the trading thread tells.
#[derive(Debug)]
pub struct Trading {
    stages: [Histogram; Stage::ALL.len()],
    accounts: OnceLock<Arc<[AccountMeter]>>,
    published: Mutex<Option<(Instant, Samples)>>,
}

impl Default for Trading {
    fn default() -> Trading {
        let stages = Stage::ALL.map(|_| Histogram::new(STAGE_BOUNDS));
        Trading { stages, accounts: OnceLock::new(), published: Mutex::default() }
    }
}

impl Trading {
    /// Records the time of a stage in nanoseconds. Neither waits nor allocates.
    #[inline]
    pub fn record(&self, stage: Stage, nanos: i64) {
        self.stages[stage as usize].record(nanos.max(0).unsigned_abs());
    }

    /// The sums of the accounts, by index. Only the first call says which there are.
    pub fn accounts(&self, accounts: impl FnOnce() -> Vec<AccountMeter>) -> Arc<[AccountMeter]> {
        self.accounts.get_or_init(|| accounts().into()).clone()
    }

    /// Publishes what only the trading thread can read. Does not wait for a scrape that is under way: then the last one stays.
    pub fn publish(&self, samples: Samples) {
        if let Ok(mut published) = self.published.try_lock() {
            *published = Some((Instant::now(), samples));
        }
    }

    /// Adds everything recorded and published so far.
    pub fn collect(&self, all: &mut Samples) {
        for stage in Stage::ALL {
            let labels = [("stage", stage.as_str().to_owned())];
            let help = "Time of the stages from a frame of the exchange to its answer to our order";
            all.histogram("trading_stage_duration_seconds", help, &labels, self.stages[stage as usize].read());
        }
        self.accounts.get().iter().flat_map(|accounts| accounts.iter()).for_each(|account| account.collect(all));
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, samples)) = published {
            all.since("lane_report_age_seconds", "Time since the trading thread last told of itself", &[], at);
            all.merge(samples);
        }
    }
}
