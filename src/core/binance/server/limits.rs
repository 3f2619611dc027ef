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

/// All counts.
#[derive(Debug, Default)]
pub struct Limits {
    weight: Window,
    orders: BTreeMap<AccountIx, [Window; 2]>,
}

const MINUTE: Span = Span::from_secs(60);
const LENGTHS: [Span; 2] = [Span::from_secs(10), MINUTE];

impl Limits {
    /// Counts a request. `Err`: too much, try again after this long.
    pub fn weigh(&mut self, weight: u32, now: Ts) -> Result<(), Span> {
        let used = self.weight.add(weight, MINUTE, now);
        if used > WEIGHT_MAX { Err(rest_of(MINUTE, now)) } else { Ok(()) }
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

fn rest_of(length: Span, now: Ts) -> Span {
    now.floor(length).plus(length).since(now)
}
