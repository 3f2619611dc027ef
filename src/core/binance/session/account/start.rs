//! The start and the user stream's life: clock offset, listen key, link, and all of it again.

use super::*;

impl AccountSession {
    /// Does the next step of the start: time, key, link. What is under way already is waited for.
    pub(super) fn proceed(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        self.start_at = None;
        if self.offset.is_none() {
            self.measure(world.now, out);
        } else if self.key.is_some() {
            self.connect(world.now, out);
        } else if !self.pending.values().any(|p| matches!(p, Pending::Key)) {
            match self.weight.borrow_mut().take(1, true, world.now) {
                Ok(()) => {}
                Err(until) => return self.start_at = Some(until),
            }
            let encoded = Encoded { method: Method::Post, path: LISTEN_KEY, query: String::new(), auth: Auth::Key };
            self.request(encoded, Pending::Key, false, out);
        }
    }

    /// Asks for the exchange's time, unless that is under way.
    pub(super) fn measure(&mut self, now: Ts, out: &mut Vec<Action>) {
        self.measure_at = None;
        if self.pending.values().any(|p| matches!(p, Pending::Time { .. })) {
            return;
        }
        match self.weight.borrow_mut().take(1, true, now) {
            Ok(()) => {}
            Err(until) => return self.measure_at = Some(until),
        }
        let encoded = Encoded { method: Method::Get, path: "/fapi/v1/time", query: String::new(), auth: Auth::None };
        self.request(encoded, Pending::Time { sent: now }, false, out);
    }

    pub(super) fn measured(&mut self, offset: ClockOffset, took: Span, world: &World<'_>, out: &mut Vec<Action>) {
        self.offset = Some(offset);
        self.weight.borrow_mut().set_offset(offset.span());
        self.judge_clock(offset, took, out);
        self.measure_at = Some(world.now.plus(if self.clock_off { OFFSET_AGAIN } else { OFFSET_EVERY }));
        // The start waited for this, unless it waits for its own time.
        if self.key.is_none() && self.start_at.is_none() {
            self.proceed(world, out);
        }
    }

    /// Adds no new risk while the clocks differ by more than they may, whatever the way of the question took.
    fn judge_clock(&mut self, offset: ClockOffset, took: Span, out: &mut Vec<Action>) {
        let off = offset.exceeds(self.options.clock_offset_max, took);
        if std::mem::replace(&mut self.clock_off, off) == off {
            return;
        }
        let (by, bound) = (offset.span().millis(), self.options.clock_offset_max.millis());
        if off {
            let text = format!(
                "our clock differs from the exchange's by {by} ms, allowed are {bound} ms: no new risk until it agrees; set the \
                 machine's clock and restart"
            );
            note(out, "clock_off", text, &[]);
        } else {
            note(out, "clock_agrees", format!("our clock agrees with the exchange's again ({by} ms)"), &[]);
        }
        match (self.link.is_up(), off) {
            (false, _) => {}
            (true, true) => {
                let down = StreamState::UserDown(self.options.account, StreamFault::Gap);
                out.push(Action::Offer(Input::Stream(down)));
            }
            (true, false) => self.say_up(out),
        }
    }

    /// Extends the listen key.
    pub(super) fn extend_key(&mut self, now: Ts, out: &mut Vec<Action>) {
        match self.weight.borrow_mut().take(1, true, now) {
            Ok(()) => {}
            Err(until) => return self.extend_at = Some(until),
        }
        self.extend_at = Some(now.plus(KEY_EXTEND));
        let encoded = Encoded { method: Method::Put, path: LISTEN_KEY, query: String::new(), auth: Auth::Key };
        self.request(encoded, Pending::ExtendKey, false, out);
    }

    pub(super) fn connect(&mut self, now: Ts, out: &mut Vec<Action>) {
        let Some(key) = self.key.as_ref().filter(|_| matches!(self.link.state(), LinkState::Down { .. })) else {
            return;
        };
        let mut url = format!("{}/ws?listenKey=", self.options.ws_private_url.trim_end_matches('/'));
        encode::percent_encode(&mut url, key);
        self.link.connecting(now);
        out.push(Action::Connect { link: PRIVATE, url });
    }

    /// The user stream is gone, or its key is void: after the link's pause the start is gone through from the key on. The key
    /// may be what was refused, and POST returns the live one or makes a new one.
    pub(super) fn restart(&mut self, fault: StreamFault, close: bool, now: Ts, out: &mut Vec<Action>) {
        self.confirmations.clear();
        let down = matches!(self.link.state(), LinkState::Down { .. });
        if down && self.key.is_none() {
            return;
        }
        if close && !down {
            out.push(Action::Close { link: PRIVATE });
        }
        if self.link.is_up() {
            out.push(Action::Offer(Input::Stream(StreamState::UserDown(self.options.account, fault))));
        }
        self.link.down(now);
        self.start_at = self.link.next_timeout();
        self.link.rest();
        (self.key, self.extend_at) = (None, None);
    }
}
