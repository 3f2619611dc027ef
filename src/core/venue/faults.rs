//! Faults of the venue from a seed: what a real exchange and network do to a client. All off by default.
//!
//! Each kind has its own stream of chance (ChaCha8 from the seed and the kind's number), drawn from only while the kind is switched
//! on: switching one on or off leaves the others' sequence as it was.

use crate::num::Rate;
use crate::time::Span;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// How often each fault happens: rates from 0 (never) to 1 (always).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FaultConfig {
    /// An order or modification is refused with -1008 (reduce-only and close-position orders are exempt).
    pub reject: Rate,
    /// A request has no effect, and its answer is -1007: unknown.
    pub swallow_request: Rate,
    /// A request has its effect, but its answer is -1007: unknown.
    pub lose_answer: Rate,
    /// A report of the user stream never arrives.
    pub lose_report: Rate,
    /// A report of the user stream arrives twice.
    pub duplicate_report: Rate,
    /// A report of the user stream is late by up to `delay_max`, so others overtake it.
    pub delay_report: Rate,
    /// Longest delay.
    pub delay_max: Span,
    /// A triggered conditional order stays in TRIGGERING for good.
    pub stuck_trigger: Rate,
}

/// The kinds of chance. The numbers are part of the meaning of a seed: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chance {
    Reject = 0,
    Swallow = 1,
    LoseAnswer = 2,
    LoseReport = 3,
    Duplicate = 4,
    Delay = 5,
    Stuck = 6,
}

const KINDS: usize = 7;

/// The faults of one venue.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    pub config: FaultConfig,
    streams: [ChaCha8Rng; KINDS],
    /// Draws of each stream: with the seed they are its state.
    draws: [u64; KINDS],
}

impl Faults {
    pub fn new(seed: u64, config: FaultConfig) -> Faults {
        let stream = |kind: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(kind as u64);
            rng
        };
        Faults { config, streams: std::array::from_fn(stream), draws: [0; KINDS] }
    }

    pub fn draws(&self) -> [u64; KINDS] {
        self.draws
    }

    fn draw(&mut self, chance: Chance) -> u64 {
        self.draws[chance as usize] += 1;
        self.streams[chance as usize].next_u64()
    }

    /// Whether it happens.
    pub fn happens(&mut self, chance: Chance) -> bool {
        let rate = match chance {
            Chance::Reject => self.config.reject,
            Chance::Swallow => self.config.swallow_request,
            Chance::LoseAnswer => self.config.lose_answer,
            Chance::LoseReport => self.config.lose_report,
            Chance::Duplicate => self.config.duplicate_report,
            Chance::Delay => self.config.delay_report,
            Chance::Stuck => self.config.stuck_trigger,
        };
        // The bias of the remainder is below 1e-9.
        rate.mantissa() > 0 && self.draw(chance) % (Rate::ONE.mantissa() as u64) < rate.mantissa() as u64
    }

    /// How late a report is.
    pub fn delay(&mut self) -> Span {
        if !self.happens(Chance::Delay) {
            return Span::ZERO;
        }
        let most = self.config.delay_max.nanos().max(0) as u64;
        Span::from_nanos((self.draw(Chance::Delay) % most.saturating_add(1)) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_do_not_disturb_each_other() {
        let half = Rate::from_bps(5_000);
        let config = FaultConfig { reject: half, ..FaultConfig::default() };
        let mut alone = Faults::new(7, config);
        let mut beside = Faults::new(7, FaultConfig { duplicate_report: half, ..config });
        let (mut hits, mut differ) = (0, 0);
        for _ in 0..1_000 {
            let duplicate = beside.happens(Chance::Duplicate);
            let rejected = alone.happens(Chance::Reject);
            assert_eq!(rejected, beside.happens(Chance::Reject));
            hits += rejected as u32;
            differ += (duplicate != rejected) as u32;
        }
        assert!((400..600).contains(&hits) && (400..600).contains(&differ), "{hits} {differ}");
        assert_eq!(alone.draws(), [1_000, 0, 0, 0, 0, 0, 0]);
    }
}
