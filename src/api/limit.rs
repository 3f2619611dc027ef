//! Limits of requests per user or address, as a leaky bucket (GCRA): a window's worth at once, then evenly.
//!
//! The limit is this process's own: two servers behind one balancer give twice of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered at a time; what comes beyond shares one budget.
const KEYS_MAX: usize = 20_000;

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A user who showed a good token, or the name of a login.
    Name(Arc<str>),
    /// An address; of IPv6 the network that one customer has.
    Address(IpAddr),
    /// Everybody beyond [`KEYS_MAX`].
    Rest,
}

impl Key {
    /// The key of an address.
    pub fn address(address: IpAddr) -> Key {
        Key::Address(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
            v4 => v4,
        })
    }
}

/// A limit.
#[derive(Debug)]
pub struct Limiter {
    /// Between two requests at the steady rate.
    step: Duration,
    window: Duration,
    /// When each key's bucket is empty again.
    empty_at: Mutex<HashMap<Key, Instant>>,
}

impl Limiter {
    /// So many requests in a window.
    pub fn new(requests: u32, window: Duration) -> Limiter {
        Limiter { step: window / requests.max(1), window, empty_at: Mutex::default() }
    }

    /// Counts a request. `Err`: too many; welcome again after this time.
    pub fn take(&self, key: Key, now: Instant) -> Result<(), Duration> {
        let mut keys = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX && !keys.contains_key(&key) {
            keys.retain(|_, empty_at| *empty_at > now);
        }
        let key = if keys.len() >= KEYS_MAX && !keys.contains_key(&key) { Key::Rest } else { key };
        let empty_at = keys.entry(key).or_insert(now);
        let next = (*empty_at).max(now) + self.step;
        let ahead = next.saturating_duration_since(now);
        if ahead > self.window {
            return Err(ahead - self.window);
        }
        *empty_at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Key {
        Key::Name(name.into())
    }

    #[test]
    fn a_window_at_once_then_evenly_and_each_for_itself() {
        let (limiter, start) = (Limiter::new(10, Duration::from_secs(60)), Instant::now());
        for _ in 0..10 {
            assert_eq!(limiter.take(name("ann"), start), Ok(()));
        }
        assert_eq!(limiter.take(name("ann"), start), Err(Duration::from_secs(6)));
        assert_eq!(limiter.take(name("bob"), start), Ok(()));
        let later = start + Duration::from_secs(6);
        assert_eq!(limiter.take(name("ann"), later), Ok(()));
        assert!(limiter.take(name("ann"), later).is_err());
        let full = later + Duration::from_secs(600);
        assert_eq!((0..20).filter(|_| limiter.take(name("ann"), full).is_ok()).count(), 10, "never more than a window");
    }

    #[test]
    fn memory_is_bound_and_strangers_share_what_is_left() {
        let (limiter, now) = (Limiter::new(2, Duration::from_secs(60)), Instant::now());
        for n in 0..KEYS_MAX as u32 {
            let _ = limiter.take(Key::address(IpAddr::from(n.to_be_bytes())), now);
        }
        assert_eq!(limiter.take(name("known"), now), Ok(()));
        assert_eq!(limiter.take(name("other"), now), Ok(()));
        assert!(limiter.take(name("third"), now).is_err());
        let later = now + Duration::from_secs(61);
        assert_eq!(limiter.take(name("third"), later), Ok(()));
        assert_eq!(limiter.empty_at.lock().expect("free").len(), 1, "what is empty is forgotten");
    }

    #[test]
    fn one_customer_of_ipv6_is_one_key() {
        let key = |text: &str| Key::address(text.parse().expect("an address"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
