//! What the trading thread publishes of itself: what it steps, that it goes on, and the orders that are cancelled when it does not.

use qcat_core::engine::Engine;
use qcat_core::engine::fold::Quarantine;
use qcat_core::event::Station;
use qcat_core::id::{AccountIx, Seq, StrategyIx};
use qcat_core::instrument::Universe;
use qcat_core::order::desk::OpenEntry;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Written by the trading thread, read by the watchdog. A step costs three plain stores.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Grows with every step and every turn of the drain.
    beats: AtomicU64,
    /// The station that is being stepped, as [`pack`] makes it; 0: none.
    station: AtomicU64,
    /// The input that it is stepped with.
    seq: AtomicU64,
    phase: AtomicU8,
    orders: Mutex<Orders>,
}

/// What the trading thread is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The drain does not run: only steps are watched.
    Quiet = 0,
    /// The drain runs and looks around at least once a second.
    Drains = 1,
    /// It does something that takes long by its nature: a fold of the journal, the last snapshot.
    Works = 2,
}

/// One look at the trading thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Differs from every earlier one if the thread went on.
    pub count: u64,
    /// What is being stepped with which input.
    pub step: Option<Quarantine>,
    /// What the thread is about.
    pub phase: Phase,
}

/// The orders that are cancelled when the trading thread hangs.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// The instruments that they are of.
    pub universe: Arc<Universe>,
    /// Those that go, by account: see [`Desk::lost_control`](qcat_core::order::desk::Desk::lost_control).
    pub entries: Vec<(AccountIx, OpenEntry)>,
    /// Protective orders that stay.
    pub staying: usize,
}

impl Pulse {
    /// A station is about to be stepped.
    #[inline]
    pub(crate) fn step(&self, station: Station, seq: Seq) {
        self.seq.store(seq.0, Ordering::Relaxed);
        self.station.store(pack(station), Ordering::Relaxed);
        self.beat();
    }

    /// No station is being stepped any more.
    #[inline]
    pub(crate) fn stepped(&self) {
        self.station.store(0, Ordering::Relaxed);
        self.beat();
    }

    /// The thread goes on. It is the only one that writes, so nothing is lost between load and store.
    #[inline]
    pub(crate) fn beat(&self) {
        self.beats.store(self.beats.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// What the thread is about from here on; returns what it was about.
    pub(crate) fn enter(&self, phase: Phase) -> Phase {
        let before = self.phase.swap(phase as u8, Ordering::Relaxed);
        self.beat();
        phase_of(before)
    }

    /// Replaces the orders. `defined`: instruments were added or changed since the last time.
    pub(crate) fn publish(&self, engine: &Engine, defined: bool) {
        // Nobody else takes it but a watchdog that is about to end the process.
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if defined {
            orders.universe = Arc::new(engine.universe().clone());
        }
        orders.entries.clear();
        orders.staying = 0;
        for (account, config) in (0..).map(AccountIx).zip(&engine.config().accounts) {
            let Some(desk) = engine.desk(account) else { continue };
            orders.entries.extend(desk.lost_control(config).map(|entry| (account, entry)));
            orders.staying += desk.entries().filter(|entry| entry.protective).count();
        }
        let going = orders.entries.iter().filter(|(_, entry)| entry.protective).count();
        orders.staying -= going;
    }

    /// One look.
    pub fn look(&self) -> Beat {
        let count = self.beats.load(Ordering::Acquire);
        let station = unpack(self.station.load(Ordering::Relaxed));
        let seq = Seq(self.seq.load(Ordering::Relaxed));
        let phase = phase_of(self.phase.load(Ordering::Relaxed));
        Beat { count, step: station.map(|station| Quarantine { station, seq }), phase }
    }

    /// A copy of the orders; `None`: the thread hangs while it publishes them, for longer than `within`.
    pub fn orders(&self, within: Duration) -> Option<Orders> {
        let begun = Instant::now();
        loop {
            match self.orders.try_lock() {
                Ok(orders) => return Some(orders.clone()),
                Err(TryLockError::Poisoned(orders)) => return Some(orders.into_inner().clone()),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= within => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

fn phase_of(code: u8) -> Phase {
    match code {
        1 => Phase::Drains,
        2 => Phase::Works,
        _ => Phase::Quiet,
    }
}

/// A station as a number that is not 0: its kind above its index.
#[inline]
fn pack(station: Station) -> u64 {
    let (kind, index) = match station {
        Station::Markets => (1, 0),
        Station::Runner(strategy) => (2, strategy.0),
        Station::Gate(account) => (3, account.0),
        Station::Desk(account) => (4, account.0),
        Station::Ledger(account) => (5, account.0),
        Station::Reconciler(account) => (6, account.0),
        Station::Risk => (7, 0),
    };
    kind << 16 | u64::from(index)
}

fn unpack(packed: u64) -> Option<Station> {
    let index = (packed & 0xffff) as u16;
    match packed >> 16 {
        1 => Some(Station::Markets),
        2 => Some(Station::Runner(StrategyIx(index))),
        3 => Some(Station::Gate(AccountIx(index))),
        4 => Some(Station::Desk(AccountIx(index))),
        5 => Some(Station::Ledger(AccountIx(index))),
        6 => Some(Station::Reconciler(AccountIx(index))),
        7 => Some(Station::Risk),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_what_is_stepped_and_whether_the_thread_went_on() {
        let pulse = Pulse::default();
        assert_eq!(pulse.look(), Beat { count: 0, step: None, phase: Phase::Quiet });
        let account = AccountIx(u16::MAX);
        let stations = [
            Station::Markets,
            Station::Runner(StrategyIx(3)),
            Station::Gate(account),
            Station::Desk(account),
            Station::Ledger(account),
            Station::Reconciler(AccountIx(0)),
            Station::Risk,
        ];
        for (at, station) in stations.into_iter().enumerate() {
            let (before, seq) = (pulse.look().count, Seq(at as u64));
            pulse.step(station, seq);
            let look = pulse.look();
            assert_eq!(look.step, Some(Quarantine { station, seq }));
            assert_ne!(look.count, before);
        }
        pulse.stepped();
        assert_eq!(pulse.look().step, None);
        assert_eq!(pulse.enter(Phase::Works), Phase::Quiet);
        assert_eq!((pulse.enter(Phase::Drains), pulse.look().phase), (Phase::Works, Phase::Drains));
    }
}
