//! The exchange's request limits as it counts them: weight per address and minute, orders per account and window.
//!
//! Counted here when sent, corrected by the headers of every answer. Limits come from `exchangeInfo.rateLimits`.
//! Windows are the exchange's: aligned to its clock.

use super::proto::ReplyHeaders;
use crate::time::{Span, Ts};

/// The request weight that one address may use in a minute. Shared by every session of the address.
#[derive(Debug, Clone)]
pub struct WeightLimit {
    per_minute: u32,
    used: u32,
    /// Start of the minute, in the exchange's time.
    minute: Ts,
    /// In our time.
    banned_until: Ts,
    /// By how much the exchange's clock is ahead.
    offset: Span,
}

/// A window begins this much later here than at the exchange. Clocks are never quite together: a count of the exchange's old
/// window that came just after our new one began would close the whole new window.
pub const GUARD: Span = Span::from_millis(500);

/// Share of the weight that ordinary questions may use; the rest is kept for orders, cancels and reconciliation.
const ORDINARY_SHARE_PERCENT: u32 = 80;

impl WeightLimit {
    /// A limit before the exchange has told its own: 2,400 a minute.
    pub fn new() -> WeightLimit {
        WeightLimit { per_minute: 2400, used: 0, minute: Ts::ZERO, banned_until: Ts::ZERO, offset: Span::ZERO }
    }

    /// Takes the exchange's limit.
    pub fn set_limit(&mut self, per_minute: u32) {
        self.per_minute = per_minute.max(1);
    }

    /// Takes the measured difference of the clocks: minutes are the exchange's, all times here are ours.
    pub fn set_offset(&mut self, exchange_ahead: Span) {
        self.offset = exchange_ahead;
    }

    /// The exchange's time, by the measured difference.
    pub fn exchange_time(&self, now: Ts) -> Ts {
        now.plus(self.offset)
    }

    /// Takes `weight` if it is left. `Err`: when to try again.
    pub fn take(&mut self, weight: u32, urgent: bool, now: Ts) -> Result<(), Ts> {
        if now < self.banned_until {
            return Err(self.banned_until);
        }
        self.roll(now);
        let share = if urgent { 100 } else { ORDINARY_SHARE_PERCENT };
        let bound = u64::from(self.per_minute) * u64::from(share) / 100;
        if u64::from(self.used) + u64::from(weight) > bound {
            let back = Span::from_nanos(self.offset.nanos().saturating_neg());
            return Err(self.minute.plus(Span::from_secs(60)).plus(GUARD).plus(back));
        }
        self.used += weight;
        Ok(())
    }

    /// Learns from an answer. 429 and 418 close the address until `Retry-After` (a minute when it is missing).
    pub fn learn(&mut self, status: u16, headers: &ReplyHeaders, now: Ts) {
        self.roll(now);
        if let Some(used) = headers.used_weight_1m {
            // Answers come out of order: within a minute the count only grows.
            self.used = self.used.max(used);
        }
        if status == 429 || status == 418 {
            let pause = headers.retry_after.unwrap_or(Span::from_secs(60)).max(Span::from_secs(1));
            self.banned_until = self.banned_until.max(now.plus(pause));
        }
    }

    /// Weight left in this minute.
    pub fn left(&self) -> u32 {
        self.per_minute.saturating_sub(self.used)
    }

    /// Weight left in the minute of `now`, which may have begun since the last request.
    pub fn left_at(&self, now: Ts) -> u32 {
        let minute = begun(now.plus(self.offset), Span::from_secs(60));
        if minute > self.minute { self.per_minute } else { self.left() }
    }

    /// Weight that may be used in a minute.
    pub fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Until when the exchange refuses everything from this address.
    pub fn banned_until(&self) -> Ts {
        self.banned_until
    }

    fn roll(&mut self, now: Ts) {
        let minute = begun(now.plus(self.offset), Span::from_secs(60));
        if minute > self.minute {
            (self.minute, self.used) = (minute, 0);
        }
    }
}

impl Default for WeightLimit {
    fn default() -> WeightLimit {
        WeightLimit::new()
    }
}

/// Orders that one account may send: 300 in 10 s and 1,200 in a minute until the exchange tells its own.
#[derive(Debug, Clone)]
pub struct OrderLimit {
    windows: [Window; 2],
}

/// The start of the exchange's window that counts here at `now`, the exchange's time.
fn begun(now: Ts, length: Span) -> Ts {
    Ts::from_nanos(now.nanos().saturating_sub(GUARD.nanos())).floor(length)
}

#[derive(Debug, Clone)]
struct Window {
    length: Span,
    max: u32,
    used: u32,
    start: Ts,
}

impl Window {
    fn roll(&mut self, now: Ts) {
        let start = begun(now, self.length);
        if start > self.start {
            (self.start, self.used) = (start, 0);
        }
    }
}

impl OrderLimit {
    /// Limits before the exchange has told its own.
    pub fn new() -> OrderLimit {
        let window = |secs, max| Window { length: Span::from_secs(secs), max, used: 0, start: Ts::ZERO };
        OrderLimit { windows: [window(10, 300), window(60, 1200)] }
    }

    /// Takes the exchange's limit of one window (10 s or 60 s; others are not known today and ignored).
    pub fn set_limit(&mut self, length: Span, max: u32) {
        self.windows.iter_mut().filter(|w| w.length == length).for_each(|w| w.max = max.max(1));
    }

    /// Takes one order. `Err`: when to try again. `now` is the exchange's time.
    pub fn take(&mut self, now: Ts) -> Result<(), Ts> {
        self.windows.iter_mut().for_each(|w| w.roll(now));
        let full = self.windows.iter().filter(|w| w.used >= w.max).map(|w| w.start.plus(w.length).plus(GUARD)).max();
        match full {
            Some(until) => Err(until),
            None => {
                self.windows.iter_mut().for_each(|w| w.used += 1);
                Ok(())
            }
        }
    }

    /// The exchange says that it takes no more: nothing is left in the shorter window.
    pub fn exhausted(&mut self, now: Ts) {
        if let Some(window) = self.windows.iter_mut().min_by_key(|w| w.length) {
            window.roll(now);
            window.used = window.used.max(window.max);
        }
    }

    /// Learns from an answer.
    pub fn learn(&mut self, headers: &ReplyHeaders, now: Ts) {
        let counts = [headers.order_count_10s, headers.order_count_1m];
        for (window, count) in self.windows.iter_mut().zip(counts) {
            window.roll(now);
            window.used = window.used.max(count.unwrap_or(0));
        }
    }
}

impl Default for OrderLimit {
    fn default() -> OrderLimit {
        OrderLimit::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Ts {
        Ts::from_millis(secs * 1000)
    }

    /// When a window that the exchange begins at `secs` begins here.
    fn begins(secs: i64) -> Ts {
        at(secs).plus(GUARD)
    }

    #[test]
    fn ordinary_questions_leave_room_for_urgent_ones() {
        let mut limit = WeightLimit::new();
        limit.set_limit(100);
        assert_eq!(limit.take(80, false, at(0)), Ok(()));
        assert_eq!(limit.take(1, false, at(1)), Err(begins(60)));
        assert_eq!(limit.take(20, true, at(1)), Ok(()));
        assert_eq!(limit.take(1, true, at(59)), Err(begins(60)));
        assert_eq!(limit.take(1, false, begins(60)), Ok(()));
    }

    #[test]
    fn the_exchange_counts_what_others_behind_the_address_used() {
        let mut limit = WeightLimit::new();
        limit.learn(200, &ReplyHeaders { used_weight_1m: Some(2400), ..ReplyHeaders::default() }, at(5));
        assert_eq!(limit.take(1, true, at(6)), Err(begins(60)));
        // A late answer of less does not give anything back.
        limit.learn(200, &ReplyHeaders { used_weight_1m: Some(7), ..ReplyHeaders::default() }, at(7));
        assert_eq!(limit.left(), 0);
    }

    #[test]
    fn a_ban_closes_the_address_for_as_long_as_it_says() {
        let mut limit = WeightLimit::new();
        limit.learn(418, &ReplyHeaders { retry_after: Some(Span::from_secs(120)), ..ReplyHeaders::default() }, at(0));
        assert_eq!(limit.take(1, true, at(119)), Err(at(120)));
        assert_eq!(limit.take(1, true, at(120)), Ok(()));
    }

    #[test]
    fn orders_are_counted_in_both_windows() {
        let mut limit = OrderLimit::new();
        limit.set_limit(Span::from_secs(10), 2);
        limit.set_limit(Span::from_secs(60), 3);
        assert_eq!((limit.take(at(0)), limit.take(at(1))), (Ok(()), Ok(())));
        assert_eq!(limit.take(at(2)), Err(begins(10)));
        assert_eq!(limit.take(begins(10)), Ok(()));
        assert_eq!(limit.take(at(21)), Err(begins(60)));
    }

    #[test]
    fn a_count_of_the_exchanges_old_window_does_not_close_the_new_one() {
        let full = ReplyHeaders {
            used_weight_1m: Some(2400),
            order_count_10s: Some(300),
            order_count_1m: Some(1200),
            ..ReplyHeaders::default()
        };
        let (mut weight, mut orders) = (WeightLimit::new(), OrderLimit::new());
        // The exchange's clock is a little behind what was measured: by its own, this answer is of the first minute.
        weight.learn(200, &full, at(60));
        orders.learn(&full, at(60));
        assert_eq!((weight.take(1, true, at(60)), orders.take(at(60))), (Err(begins(60)), Err(begins(60))));
        assert_eq!((weight.take(1, true, begins(60)), orders.take(begins(60))), (Ok(()), Ok(())));
    }
}
