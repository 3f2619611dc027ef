//! The exchange counts too: weight of everybody in a minute, orders of each account.

use crate::binance::proto::ReplyHeaders;
use crate::id::AccountIx;
use crate::time::{Span, Ts};
use std::collections::BTreeMap;

/// Weight in a minute.
pub const WEIGHT_MAX: u32 = 2400;
/// Orders in ten seconds and in a minute.
pub const ORDERS_MAX: [u32; 2] = [300, 1200];

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    start: Ts,
    used: u32,
}

impl Window {
    fn add(&mut self, amount: u32, length: Span, now: Ts) -> u32 {
        let start = now.floor(length);
        if start > self.start {
            *self = Window { start, used: 0 };
        }
        self.used = self.used.saturating_add(amount);
        self.used
    }
}

/// Requests that are refused with 429 before the address is banned: who does not wait does not read.
const PATIENCE: u32 = 20;
/// The first ban; each further one is twice as long, up to [`BAN_MAX`].
const BAN: Span = Span::from_secs(120);
const BAN_MAX: Span = Span::from_secs(3 * 86_400);

/// Why a request is refused, and how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// The minute's weight is used up: 429.
    Limited(Span),
    /// The address is banned: 418.
    Banned(Span),
}

/// All counts.
#[derive(Debug, Default)]
pub struct Limits {
    weight: Window,
    /// Refusals since the last request that was answered, bans so far, and the end of the last one.
    refused: u32,
    bans: u32,
    banned_until: Ts,
    orders: BTreeMap<AccountIx, [Window; 2]>,
}

const MINUTE: Span = Span::from_secs(60);
const LENGTHS: [Span; 2] = [Span::from_secs(10), MINUTE];

impl Limits {
    /// Counts a request.
    pub fn weigh(&mut self, weight: u32, now: Ts) -> Result<(), Excess> {
        if now < self.banned_until {
            return Err(Excess::Banned(whole_seconds(self.banned_until.since(now))));
        }
        if self.weight.add(weight, MINUTE, now) <= WEIGHT_MAX {
            self.refused = 0;
            return Ok(());
        }
        self.refused += 1;
        if self.refused <= PATIENCE {
            return Err(Excess::Limited(whole_seconds(rest_of(MINUTE, now))));
        }
        let ban = Span::from_nanos(BAN.nanos().saturating_mul(1 << self.bans.min(20)).min(BAN_MAX.nanos()));
        (self.refused, self.bans, self.banned_until) = (0, self.bans + 1, now.plus(ban));
        Err(Excess::Banned(ban))
    }

    /// Counts an order. `Err`: too many, try again after this long.
    pub fn order(&mut self, account: AccountIx, now: Ts) -> Result<(), Span> {
        let windows = self.orders.entry(account).or_default();
        let mut result = Ok(());
        for ((window, length), max) in windows.iter_mut().zip(LENGTHS).zip(ORDERS_MAX) {
            if window.add(1, length, now) > max {
                result = Err(rest_of(length, now));
            }
        }
        result
    }

    /// The headers of an answer.
    pub fn headers(&mut self, account: AccountIx, now: Ts) -> ReplyHeaders {
        let used_weight_1m = Some(self.weight.add(0, MINUTE, now));
        let counts = self.orders.get_mut(&account).map(|windows| {
            let [ten, minute] = windows;
            (ten.add(0, LENGTHS[0], now), minute.add(0, LENGTHS[1], now))
        });
        let (order_count_10s, order_count_1m) = (counts.map(|c| c.0), counts.map(|c| c.1));
        ReplyHeaders { used_weight_1m, order_count_10s, order_count_1m, retry_after: None }
    }
}

/// `Retry-After` has whole seconds: a part of one counts as one.
fn whole_seconds(span: Span) -> Span {
    Span::from_secs(span.nanos().div_euclid(1_000_000_000) + i64::from(span.nanos() % 1_000_000_000 > 0))
}

fn rest_of(length: Span, now: Ts) -> Span {
    now.floor(length).plus(length).since(now)
}
