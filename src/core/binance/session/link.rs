//! One WebSocket connection: when to connect, when to give up on it, when to try again.

use crate::binance::proto::LinkId;
use crate::time::{Span, Ts};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// A connection lives 24 h at most; it is renewed before the exchange ends it.
const LIFETIME: Span = Span::from_secs(23 * 3600 + 1800);
/// A connection attempt that is not answered for this long is given up.
const CONNECT_TIMEOUT: Span = Span::from_secs(10);
/// First pause before trying again; doubles up to `BACKOFF_MAX`, and half of it is chance.
const BACKOFF: Span = Span::from_millis(250);
/// The longest pause: far below the exchange's bound of 300 attempts in five minutes, and short enough to be back soon.
const BACKOFF_MAX: Span = Span::from_secs(10);
/// A connection that lived this long has proved itself: the next failure begins with the first pause.
const PROVED: Span = Span::from_secs(30);

/// Where a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected; try at the given time, `None`: when somebody says so.
    Down { retry_at: Option<Ts> },
    /// Asked for at the given time.
    Connecting { since: Ts },
    /// Open since the given time.
    Up { since: Ts },
}

/// What is to be done about a link when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkDue {
    /// Connect.
    Connect,
    /// The attempt hangs: close and count as down.
    AttemptHangs,
    /// Its life is over: close and connect anew.
    Renew,
}

/// A link with its back-off.
#[derive(Debug)]
pub struct Link {
    /// Its number.
    pub id: LinkId,
    state: LinkState,
    failures: u32,
    dice: ChaCha8Rng,
}

impl Link {
    /// A link that is down and waits for [`Link::connecting`].
    pub fn new(id: LinkId, dice: ChaCha8Rng) -> Link {
        Link { id, state: LinkState::Down { retry_at: None }, failures: 0, dice }
    }

    /// Where it is.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Whether it is open.
    pub fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Up { .. })
    }

    /// A connection was asked for.
    pub fn connecting(&mut self, now: Ts) {
        self.state = LinkState::Connecting { since: now };
    }

    /// It is open. False when nobody asked (a late word of a closed attempt).
    pub fn up(&mut self, now: Ts) -> bool {
        let asked = matches!(self.state, LinkState::Connecting { .. });
        if asked {
            self.state = LinkState::Up { since: now };
        }
        asked
    }

    /// It is closed: tries again after the pause.
    pub fn down(&mut self, now: Ts) {
        if let LinkState::Up { since } = self.state
            && now.since(since) >= PROVED
        {
            self.failures = 0;
        }
        let pause = self.pause();
        self.failures = self.failures.saturating_add(1);
        self.state = LinkState::Down { retry_at: Some(now.plus(pause)) };
    }

    /// It is closed on purpose and waits for [`Link::connecting`].
    pub fn rest(&mut self) {
        self.state = LinkState::Down { retry_at: None };
    }

    fn pause(&mut self) -> Span {
        let doubled = BACKOFF.nanos().saturating_mul(1 << self.failures.min(20)).min(BACKOFF_MAX.nanos());
        let half = doubled / 2;
        Span::from_nanos(half + (self.dice.next_u64() % (half.max(1) as u64)) as i64)
    }

    /// When something is due.
    pub fn next_timeout(&self) -> Option<Ts> {
        match self.state {
            LinkState::Down { retry_at } => retry_at,
            LinkState::Connecting { since } => Some(since.plus(CONNECT_TIMEOUT)),
            LinkState::Up { since } => Some(since.plus(LIFETIME)),
        }
    }

    /// What is due at `now`, if anything.
    pub fn due(&self, now: Ts) -> Option<LinkDue> {
        if self.next_timeout().is_none_or(|at| at > now) {
            return None;
        }
        Some(match self.state {
            LinkState::Down { .. } => LinkDue::Connect,
            LinkState::Connecting { .. } => LinkDue::AttemptHangs,
            LinkState::Up { .. } => LinkDue::Renew,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    #[test]
    fn pauses_grow_with_failures_and_fall_back_after_a_good_life() {
        let mut link = Link::new(LinkId(0), ChaCha8Rng::seed_from_u64(7));
        let mut now = Ts::from_millis(0);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            link.connecting(now);
            link.down(now);
            let LinkState::Down { retry_at: Some(at) } = link.state() else { panic!("down") };
            pauses.push(at.since(now));
            now = at;
            assert_eq!(link.due(now), Some(LinkDue::Connect));
        }
        for (n, pause) in pauses.iter().enumerate() {
            let full = BACKOFF.nanos().saturating_mul(1 << n).min(BACKOFF_MAX.nanos());
            assert!(pause.nanos() >= full / 2 && pause.nanos() <= full, "{n}: {pause:?}");
        }
        link.connecting(now);
        assert!(link.up(now) && link.is_up());
        assert_eq!(link.due(now.plus(LIFETIME)), Some(LinkDue::Renew));
        now = now.plus(PROVED);
        link.down(now);
        assert!(link.next_timeout().expect("a retry").since(now) <= BACKOFF);
    }

    #[test]
    fn an_attempt_that_hangs_is_given_up_and_late_words_of_it_are_ignored() {
        let mut link = Link::new(LinkId(0), ChaCha8Rng::seed_from_u64(7));
        let now = Ts::from_millis(5);
        link.connecting(now);
        assert_eq!(link.due(now.plus(CONNECT_TIMEOUT)), Some(LinkDue::AttemptHangs));
        link.down(now.plus(CONNECT_TIMEOUT));
        assert!(!link.up(now.plus(CONNECT_TIMEOUT)));
    }
}
