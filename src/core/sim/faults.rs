//! What the network and the exchange's front do to a client, from a seed. All off by default.
//!
//! Each purpose has its own stream of chance, so switching one fault on or off leaves the others' sequence as it was.

use super::dice::Dice;
use crate::time::Span;

/// How often each fault happens. Shares are chances from 0 (never) to 1 (always); `*_every` are mean times between two.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetFaults {
    /// A connection is lost, with everything that is on its way in it. The client hears of it up to two seconds later.
    pub lose_link_every: Option<Span>,
    /// The exchange cannot be reached at all.
    pub outage_every: Option<Span>,
    /// Longest outage.
    pub outage_max: Span,
    /// A connection stays open and says nothing any more.
    pub mute_every: Option<Span>,
    /// All listen keys expire.
    pub key_expiry_every: Option<Span>,
    /// The client's trading thread is held up: inputs wait in its queue.
    pub stall_every: Option<Span>,
    /// Longest hold-up.
    pub stall_max: Span,
    /// A request is not even written.
    pub request_not_sent: f64,
    /// A request is written and never arrives.
    pub request_lost: f64,
    /// A request has its effect, its answer is lost.
    pub answer_lost: f64,
    /// An answer is late by up to `delay_max`; beyond the request's own patience it counts as lost.
    pub answer_late: f64,
    /// Longest delay of an answer.
    pub delay_max: Span,
    /// A request is refused with 429 before it has any effect.
    pub limited: f64,
    /// A request is answered with 503 "Unknown error"; every second of these had its effect nevertheless.
    pub unavailable: f64,
    /// A frame arrives twice.
    pub frame_twice: f64,
    /// A frame never arrives though its connection lives.
    pub frame_lost: f64,
    /// Each way takes up to this much longer.
    pub jitter_max: Span,
}

impl NetFaults {
    /// Nothing goes wrong.
    pub fn none() -> NetFaults {
        NetFaults::default()
    }

    /// Everything goes wrong, often: minutes of it are worth weeks of a real network.
    pub fn storm() -> NetFaults {
        NetFaults {
            lose_link_every: Some(Span::from_secs(25)),
            outage_every: Some(Span::from_secs(60)),
            outage_max: Span::from_secs(6),
            mute_every: Some(Span::from_secs(70)),
            key_expiry_every: Some(Span::from_secs(70)),
            stall_every: Some(Span::from_secs(20)),
            stall_max: Span::from_millis(400),
            request_not_sent: 0.02,
            request_lost: 0.02,
            answer_lost: 0.03,
            answer_late: 0.03,
            delay_max: Span::from_secs(12),
            limited: 0.005,
            unavailable: 0.02,
            frame_twice: 0.01,
            frame_lost: 0.002,
            jitter_max: Span::from_millis(15),
        }
    }
}

/// What happens by itself, now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    LoseLink,
    Outage,
    Mute,
    KeyExpiry,
    Stall,
}

pub(super) const TROUBLES: [Trouble; 5] =
    [Trouble::LoseLink, Trouble::Outage, Trouble::Mute, Trouble::KeyExpiry, Trouble::Stall];

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Through,
    NotSent,
    Lost,
    AnswerLost,
    AnswerLate(Span),
    Limited,
    /// 503; whether it has its effect.
    Unavailable(bool),
}

/// What becomes of a frame: how many of it arrive.
pub(super) type Copies = usize;

/// The faults with their chance.
#[derive(Debug)]
pub(super) struct Chance {
    pub faults: NetFaults,
    requests: Dice,
    frames: Dice,
    delays: Dice,
    troubles: [Dice; TROUBLES.len()],
}

impl Chance {
    pub fn new(seed: u64, faults: NetFaults) -> Chance {
        let troubles = ["lose link", "outage", "mute", "key expiry", "stall"].map(|purpose| Dice::new(seed, purpose));
        Chance {
            faults,
            requests: Dice::new(seed, "requests"),
            frames: Dice::new(seed, "frames"),
            delays: Dice::new(seed, "delays"),
            troubles,
        }
    }

    /// Mean time between two of a kind; `None` when it is switched off.
    pub fn mean(&self, trouble: Trouble) -> Option<Span> {
        let faults = &self.faults;
        match trouble {
            Trouble::LoseLink => faults.lose_link_every,
            Trouble::Outage => faults.outage_every,
            Trouble::Mute => faults.mute_every,
            Trouble::KeyExpiry => faults.key_expiry_every,
            Trouble::Stall => faults.stall_every,
        }
    }

    /// Time until a trouble happens next; `None` when it is switched off.
    pub fn next(&mut self, trouble: Trouble) -> Option<Span> {
        let mean = self.mean(trouble)?;
        let nanos = self.troubles[trouble as usize].exponential(mean.nanos() as f64);
        Some(Span::from_nanos((nanos as i64).max(1_000_000)))
    }

    /// Any number below `bound`, for a trouble's details.
    pub fn pick(&mut self, trouble: Trouble, bound: usize) -> usize {
        self.troubles[trouble as usize].below(bound as u64) as usize
    }

    /// A length of up to `most`.
    pub fn length(&mut self, most: Span) -> Span {
        Span::from_nanos(self.delays.between(0, most.nanos().max(0)))
    }

    /// The extra time of one way.
    pub fn jitter(&mut self) -> Span {
        if self.faults.jitter_max == Span::ZERO { Span::ZERO } else { self.length(self.faults.jitter_max) }
    }

    pub fn request(&mut self) -> Fate {
        let f = &self.faults;
        let shares = [f.request_not_sent, f.request_lost, f.answer_lost, f.answer_late, f.limited, f.unavailable];
        let mut left = self.requests.uniform();
        for (at, share) in shares.into_iter().enumerate() {
            if left < share {
                return match at {
                    0 => Fate::NotSent,
                    1 => Fate::Lost,
                    2 => Fate::AnswerLost,
                    3 => Fate::AnswerLate(self.length(self.faults.delay_max)),
                    4 => Fate::Limited,
                    _ => Fate::Unavailable(self.requests.chance(0.5)),
                };
            }
            left -= share;
        }
        Fate::Through
    }

    pub fn frame(&mut self) -> Copies {
        let chance = self.frames.uniform();
        if chance < self.faults.frame_lost {
            0
        } else if chance < self.faults.frame_lost + self.faults.frame_twice {
            2
        } else {
            1
        }
    }
}
