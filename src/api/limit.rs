//! Limits of requests per user or address, as a leaky bucket (GCRA): a window's worth at once, then evenly.
//!
//! The limit is this process's own; with Redis configured all nodes together give no more than it in a window.

use super::options::Rate;
use arc_swap::ArcSwapOption;
use qcat_io::cache::Cache;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered at a time; what comes beyond shares one budget.
const KEYS_MAX: usize = 20_000;
/// How long a request waits for the shared counter.
const SHARED_WAIT: Duration = Duration::from_millis(100);

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

/// The limit of requests, which may be changed while the server runs. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct RateLimit(Arc<ArcSwapOption<(Rate, Limiter)>>);

impl RateLimit {
    /// With this limit; `None`: there is none.
    pub fn new(rate: Option<Rate>) -> RateLimit {
        let limit = RateLimit::default();
        limit.set(rate);
        limit
    }

    /// Another limit from here on. The same one goes on counting; a different one begins anew.
    pub fn set(&self, rate: Option<Rate>) {
        if self.get().as_ref().map(|known| known.0) != rate {
            self.0.store(rate.map(|rate| Arc::new((rate, Limiter::new(rate.requests, rate.window)))));
        }
    }

    /// The limit, if there is one.
    pub fn get(&self) -> Option<Arc<(Rate, Limiter)>> {
        self.0.load_full()
    }
}

/// Counts a request where all nodes count theirs. A shared counter that does not answer at once, or is away, limits nobody: each
/// node's own limit holds as before.
pub async fn take_shared(cache: &Cache, key: &Key, rate: Rate) -> Result<(), Duration> {
    let name = match key {
        Key::Name(name) => format!("rate:user:{name}"),
        Key::Address(address) => format!("rate:address:{address}"),
        Key::Rest => return Ok(()),
    };
    match tokio::time::timeout(SHARED_WAIT, cache.count(&name, rate.window)).await {
        Ok(counted) if counted.shared && counted.count > u64::from(rate.requests) => Err(counted.ends_in),
        Ok(_) | Err(_) => Ok(()),
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
