//! A symbol's book: its snapshot is asked for over REST, within the weight of the address, and joined to the diffs.

use super::*;

/// Levels a side of a depth snapshot; its weight is 20.
const SNAPSHOT_LEVELS: u32 = 1000;
const SNAPSHOT_WEIGHT: u32 = 20;
const SNAPSHOT_TIMEOUT: Span = Span::from_secs(10);
/// Pause before a snapshot is asked for again.
const SNAPSHOT_PAUSE: Span = Span::from_secs(1);

/// Hands market events on as inputs for the lane.
struct Offers<'a>(&'a mut Vec<Action>);

impl Extend<MarketInput> for Offers<'_> {
    fn extend<I: IntoIterator<Item = MarketInput>>(&mut self, inputs: I) {
        self.0.extend(inputs.into_iter().map(|input| Action::Offer(Input::Market(input))));
    }
}

impl Symbol {
    /// When a snapshot has to be asked for: diffs wait for one, and none is on its way.
    pub(super) fn snapshot_due(&self) -> Option<Ts> {
        (self.bridge.needs_snapshot() && self.bridge.has_held() && self.asked.is_none()).then_some(self.ask_at)
    }
}

impl MarketSession {
    pub(super) fn void_book(&mut self, at: usize, now: Ts, out: &mut Vec<Action>) {
        let symbol = &mut self.symbols[at];
        let (exchange_time, receive_time, event) = (now, now, MarketEvent::BookGap);
        let gap = MarketInput { symbol: symbol.symbol, exchange_time, receive_time, derived: false, event };
        symbol.bridge.reset(gap, &mut Offers(out));
        (symbol.asked, symbol.ask_at) = (None, now);
    }

    pub(super) fn diff(&mut self, at: usize, input: MarketInput, world: &World<'_>, out: &mut Vec<Action>) {
        let symbol = &mut self.symbols[at];
        let (waited, flowed) = (symbol.bridge.needs_snapshot(), symbol.bridge.is_live());
        symbol.bridge.on_delta(input, &mut Offers(out));
        if symbol.bridge.is_live() {
            if !flowed {
                self.maybe_up(at, out);
            }
            return;
        }
        if symbol.bridge.needs_snapshot() && !waited {
            (symbol.asked, symbol.ask_at) = (None, world.now);
            self.symbol_down(at, StreamFault::Gap, out);
        }
        if self.symbols[at].snapshot_due().is_some_and(|due| due <= world.now) {
            self.ask_snapshot(at, world, out);
        }
    }

    pub(super) fn ask_snapshot(&mut self, at: usize, world: &World<'_>, out: &mut Vec<Action>) {
        let Some(instrument) = world.universe.instrument(self.symbols[at].symbol) else { return };
        if let Err(until) = self.weight.borrow_mut().take(SNAPSHOT_WEIGHT, false, world.now) {
            self.symbols[at].ask_at = until;
            return;
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.symbols[at].asked = Some(id);
        let mut query = String::from("symbol=");
        percent_encode(&mut query, &instrument.name);
        query.push_str(&format!("&limit={SNAPSHOT_LEVELS}"));
        let (method, path) = (Method::Get, "/fapi/v1/depth");
        let (auth, timeout) = (Auth::None, SNAPSHOT_TIMEOUT);
        out.push(Action::Http(HttpRequest { id, method, path, query, auth, timeout, urgent: false }));
    }

    /// Which symbol's snapshot a request asked for.
    pub(super) fn asked_by(&self, id: RequestId) -> Option<usize> {
        self.symbols.iter().position(|s| s.asked == Some(id))
    }

    pub(super) fn snapshot_failed(&mut self, at: usize, now: Ts) {
        let symbol = &mut self.symbols[at];
        (symbol.asked, symbol.ask_at) = (None, now.plus(SNAPSHOT_PAUSE));
    }

    pub(super) fn reply(
        &mut self,
        id: RequestId,
        status: u16,
        headers: &ReplyHeaders,
        body: &[u8],
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        self.weight.borrow_mut().learn(status, headers, world.now);
        let Some(at) = self.asked_by(id) else { return };
        let symbol = self.symbols[at].symbol;
        let Some(instrument) = world.universe.instrument(symbol) else { return };
        match decode::rest::depth(body, instrument) {
            Ok((levels, exchange_time)) if status == 200 => {
                let (receive_time, event) = (world.now, MarketEvent::BookReset(Box::new(levels)));
                let snapshot = MarketInput { symbol, exchange_time, receive_time, derived: false, event };
                self.snapshot(at, snapshot, world.now, out);
            }
            result => {
                self.snapshot_failed(at, world.now);
                match result {
                    Err(error) => note(out, "snapshot_malformed", format!("status {status}: {error}"), body),
                    Ok(_) => note(out, "snapshot_refused", format!("status {status}"), body),
                }
            }
        }
    }

    fn snapshot(&mut self, at: usize, snapshot: MarketInput, now: Ts, out: &mut Vec<Action>) {
        let symbol = &mut self.symbols[at];
        symbol.asked = None;
        if !symbol.bridge.on_snapshot(snapshot, &mut Offers(out)) {
            // It is older than the diffs that wait: ask again.
            symbol.ask_at = now.plus(SNAPSHOT_PAUSE);
        }
        self.maybe_up(at, out);
    }
}
