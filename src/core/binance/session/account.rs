//! The account session: one account's user stream, commands and queries.
//!
//! Start: measure the clock offset, get a listen key, open the private link. Commands come in *released* form and leave as
//! signed requests; each gets exactly one [`Outcome`] (besides `Written`) or one [`QueryAnswer`], whatever happens to it.
//! Rate limits are held here, before anything is written.

use super::link::{Link, LinkState};
use super::{Session, World, note};
use crate::binance::decode::{self, Frame, Problem};
use crate::binance::encode::{self, Encoded, Stamp};
use crate::binance::error::{self, Meaning};
use crate::binance::limits::{OrderLimit, WeightLimit};
use crate::binance::proto::{
    Action, Auth, ClockOffset, HttpRequest, Incoming, LinkId, Method, ReplyHeaders, RequestId,
};
use crate::command::{
    AccountSettings, Answer, CommandId, CommandKind, Outcome, Query, QueryAnswer, RequestOutcome, SymbolSettings,
    VenueCommand, VenueError,
};
use crate::event::{Input, StreamFault, StreamState};
use crate::id::{AccountIx, SymbolIx};
use crate::order::PositionMode;
use crate::time::{Span, Ts};
use confirm::Confirmations;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

mod answers;
mod confirm;
mod start;
#[cfg(test)]
mod tests;

/// What an account session needs to know.
#[derive(Debug, Clone)]
pub struct AccountOptions {
    /// The account.
    pub account: AccountIx,
    /// What its strategies trade: nothing else keeps it from being reconciled.
    pub symbols: Vec<SymbolIx>,
    /// Base of the private route, e.g. `wss://fstream.binance.com/private`.
    pub ws_private_url: String,
    /// `recvWindow` of signed requests.
    pub recv_window: Span,
    /// What was acknowledged has to be heard of on the user stream within this time.
    pub report_timeout: Span,
    /// Our clock may differ from the exchange's by this much; beyond it the account is not trusted.
    pub clock_offset_max: Span,
    /// Seed of the jitter.
    pub seed: u64,
}

const PRIVATE: LinkId = LinkId(0);
const REQUEST_TIMEOUT: Span = Span::from_secs(10);
/// The listen key lives 60 minutes; it is extended at half of that.
const KEY_EXTEND: Span = Span::from_secs(30 * 60);
/// The clock offset is measured anew this often.
const OFFSET_EVERY: Span = Span::from_secs(60);
/// The same while it is beyond its bound.
const OFFSET_AGAIN: Span = Span::from_secs(5);
/// Pause before a failed start-up request is tried again.
const RETRY: Span = Span::from_secs(2);
/// Events that tell of one order each.
const ORDER_EVENTS: [&str; 2] = ["ORDER_TRADE_UPDATE", "ALGO_UPDATE"];
const LISTEN_KEY: &str = "/fapi/v1/listenKey";
/// The account has placed too many orders in a window.
const TOO_MANY_ORDERS: i32 = -1015;

/// What a request is for.
#[derive(Debug)]
enum Pending {
    Command {
        id: CommandId,
        kind: CommandKind,
    },
    /// The state of a conditional order after its cancellation was accepted: the acceptance itself has none.
    AfterCancel {
        id: CommandId,
    },
    Settings {
        id: CommandId,
        part: usize,
    },
    Time {
        sent: Ts,
    },
    Key,
    ExtendKey,
}

/// The answer to `Query::Settings` while its three parts come in.
#[derive(Debug, Default)]
struct SettingsParts {
    mode: Option<PositionMode>,
    multi_assets: Option<bool>,
    symbols: Option<Vec<SymbolSettings>>,
}

/// The session. See the module's text.
#[derive(Debug)]
pub struct AccountSession {
    options: AccountOptions,
    weight: Rc<RefCell<WeightLimit>>,
    orders: OrderLimit,
    link: Link,
    key: Option<String>,
    /// The next start-up step: measure time, then get a key. `None` while one is under way or nothing is due.
    start_at: Option<Ts>,
    extend_at: Option<Ts>,
    measure_at: Option<Ts>,
    offset: Option<ClockOffset>,
    /// The clocks differ by more than they may.
    clock_off: bool,
    pending: BTreeMap<RequestId, Pending>,
    settings: BTreeMap<CommandId, SettingsParts>,
    confirmations: Confirmations,
    next_request: u64,
    unknown_frames: u64,
    malformed_frames: u64,
}

impl AccountSession {
    /// A session that waits for [`Session::start`]. `weight` is shared by all sessions of the address.
    pub fn new(options: AccountOptions, weight: Rc<RefCell<WeightLimit>>) -> AccountSession {
        let link = Link::new(PRIVATE, ChaCha8Rng::seed_from_u64(options.seed ^ 0x7072_6976));
        AccountSession {
            options,
            weight,
            orders: OrderLimit::new(),
            link,
            key: None,
            start_at: None,
            extend_at: None,
            measure_at: None,
            offset: None,
            clock_off: false,
            pending: BTreeMap::new(),
            settings: BTreeMap::new(),
            confirmations: Confirmations::default(),
            next_request: 0,
            unknown_frames: 0,
            malformed_frames: 0,
        }
    }

    /// Takes the exchange's limits of orders.
    pub fn set_order_limit(&mut self, window: Span, max: u32) {
        self.orders.set_limit(window, max);
    }

    /// The measured clock offset, if there is one.
    pub fn offset(&self) -> Option<ClockOffset> {
        self.offset
    }

    /// Whether the user stream is open.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Commands that have no outcome yet.
    pub fn open_requests(&self) -> usize {
        self.pending.len()
    }

    /// What the lane has to be told when this session is given up: its stream is down, and what was asked and not answered may
    /// or may not have had effect.
    pub fn lost(&self) -> Vec<Input> {
        let account = self.options.account;
        let mut out = vec![Action::Offer(Input::Stream(StreamState::UserDown(account, StreamFault::LinkLost)))];
        let error = || VenueError { code: 0, message: "the session was given up".into() };
        for pending in self.pending.values() {
            match pending {
                Pending::Command { id, kind: CommandKind::Query(_) } => self.answer(*id, Err(error()), &mut out),
                Pending::Command { id, .. } | Pending::AfterCancel { id } => {
                    self.outcome(*id, Outcome::LinkLost, &mut out)
                }
                Pending::Settings { .. } | Pending::Time { .. } | Pending::Key | Pending::ExtendKey => {}
            }
        }
        self.settings.keys().for_each(|id| self.answer(*id, Err(error()), &mut out));
        let input = |action| if let Action::Offer(input) = action { Some(input) } else { None };
        out.into_iter().filter_map(input).collect()
    }

    /// Sends a released command.
    pub fn command(&mut self, command: VenueCommand, world: &World<'_>, out: &mut Vec<Action>) {
        let stamp = Stamp { at: self.exchange_now(world.now), window: self.options.recv_window };
        let id = command.id;
        if let Err(until) = self.take_limits(&command.kind, world.now) {
            return self.not_sent(id, &command.kind, Outcome::Limited(until), out);
        }
        if let CommandKind::Query(Query::Settings) = command.kind {
            self.settings.insert(id, SettingsParts::default());
            for (part, encoded) in encode::settings(stamp).into_iter().enumerate() {
                self.request(encoded, Pending::Settings { id, part }, false, out);
            }
            return;
        }
        match encode::command(&command.kind, world.universe, stamp) {
            Ok(encoded) => {
                let urgent = !matches!(command.kind, CommandKind::Query(_));
                if self.link.is_up() {
                    self.confirmations.sent(id, &command.kind);
                }
                self.request(encoded, Pending::Command { id, kind: command.kind }, urgent, out);
            }
            Err(error) => {
                let refused = VenueError { code: 0, message: error.to_string().into() };
                self.not_sent(id, &command.kind, Outcome::Rejected(refused), out);
            }
        }
    }

    /// The user stream is open. With a clock that is off the account stays untrusted: what expires and what proves absence
    /// could not be relied on.
    fn say_up(&self, out: &mut Vec<Action>) {
        if !self.clock_off {
            out.push(Action::Offer(Input::Stream(StreamState::UserUp(self.options.account))));
        }
    }

    fn exchange_now(&self, now: Ts) -> Ts {
        self.offset.unwrap_or_default().exchange_time(now)
    }

    /// Takes what a command costs. `Err`: when to try again, in our time.
    fn take_limits(&mut self, kind: &CommandKind, now: Ts) -> Result<(), Ts> {
        self.weight.borrow_mut().take(weight(kind), !matches!(kind, CommandKind::Query(_)), now)?;
        if matches!(kind, CommandKind::Place(_) | CommandKind::Modify { .. }) {
            // Orders are counted in the exchange's time; who waits for them counts in ours.
            let exchange_now = self.exchange_now(now);
            return self.orders.take(exchange_now).map_err(|until| now.plus(until.since(exchange_now)));
        }
        Ok(())
    }

    fn not_sent(&self, id: CommandId, kind: &CommandKind, outcome: Outcome, out: &mut Vec<Action>) {
        match (kind, &outcome) {
            (CommandKind::Query(_), Outcome::Rejected(error)) => self.answer(id, Err(error.clone()), out),
            _ => self.outcome(id, outcome, out),
        }
    }

    fn outcome(&self, command: CommandId, outcome: Outcome, out: &mut Vec<Action>) {
        let account = self.options.account;
        out.push(Action::Offer(Input::Outcome(RequestOutcome { command, account, outcome })));
    }

    fn answer(&self, command: CommandId, result: Result<Answer, VenueError>, out: &mut Vec<Action>) {
        let account = self.options.account;
        out.push(Action::Offer(Input::Answer(QueryAnswer { command, account, result })));
    }

    fn request(&mut self, encoded: Encoded, pending: Pending, urgent: bool, out: &mut Vec<Action>) {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.pending.insert(id, pending);
        let Encoded { method, path, query, auth } = encoded;
        out.push(Action::Http(HttpRequest { id, method, path, query, auth, timeout: REQUEST_TIMEOUT, urgent }));
    }

    fn frame(&mut self, bytes: &[u8], world: &World<'_>, out: &mut Vec<Action>) {
        match decode::decode_frame(bytes, world.universe, Some(self.options.account), world.now) {
            Ok(Frame::User(report)) => {
                self.confirmations.heard(&report);
                out.push(Action::Offer(Input::Report(report)));
            }
            Ok(Frame::Partly(report, left_out)) => {
                left_out.into_iter().for_each(|error| note(out, "row_left_out", error, &[]));
                out.push(Action::Offer(Input::Report(report)));
            }
            Ok(Frame::MarginCalls(calls)) => {
                out.extend(calls.into_iter().map(|call| Action::Offer(Input::Report(call))));
            }
            Ok(Frame::ListenKeyExpired) => self.restart(StreamFault::LinkLost, true, world.now, out),
            Ok(Frame::Unknown(kind)) => {
                self.unknown_frames += 1;
                note(out, "frame_unknown", format!("unknown kind of message `{kind}`"), bytes);
            }
            Ok(_) => {}
            // An order in a symbol that nobody here can trade or book.
            Err(error) if ORDER_EVENTS.contains(&&*error.kind) && error.problem == Problem::Symbol => {
                note(out, "row_left_out", error, &[]);
            }
            Err(error) => {
                // A report that cannot be read may have been a fill: only a reconciliation can tell.
                self.malformed_frames += 1;
                note(out, "frame_malformed", error, bytes);
                if !self.link.is_up() {
                    return;
                }
                let account = self.options.account;
                out.push(Action::Offer(Input::Stream(StreamState::UserDown(account, StreamFault::Gap))));
                self.say_up(out);
            }
        }
    }

    fn reply(
        &mut self,
        id: RequestId,
        status: u16,
        headers: &ReplyHeaders,
        body: &[u8],
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        let exchange_now = self.exchange_now(world.now);
        self.orders.learn(headers, exchange_now);
        let error = (status != 200).then(|| decode::rest::error(status, body));
        let orders_full = error.as_ref().is_some_and(|error| error.code == TOO_MANY_ORDERS);
        if orders_full {
            // It closes orders, not the address: cancels and questions still pass.
            self.orders.exhausted(exchange_now);
        }
        self.weight.borrow_mut().learn(if orders_full { 400 } else { status }, headers, world.now);
        let Some(pending) = self.pending.remove(&id) else { return };
        let Some(error) = error else { return self.accepted(pending, body, world, out) };
        match error::meaning(status, error.code, &error.message) {
            Meaning::Clock => self.measure_at = Some(world.now),
            Meaning::Credentials => note(out, "credentials_refused", format!("{}: {}", error.code, error.message), &[]),
            Meaning::ListenKey if matches!(pending, Pending::ExtendKey) => {
                self.restart(StreamFault::LinkLost, true, world.now, out);
            }
            Meaning::Definition => out.push(Action::LearnDefinitions),
            Meaning::ListenKey | Meaning::Refused | Meaning::Unknown | Meaning::RateLimited => {}
        }
        self.refused(pending, status, error, headers.retry_after, world, out);
    }
}

impl Session for AccountSession {
    fn start(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        // Until the user stream is open, reports may be missing.
        let down = StreamState::UserDown(self.options.account, StreamFault::LinkLost);
        out.push(Action::Offer(Input::Stream(down)));
        self.proceed(world, out);
    }

    fn handle(&mut self, incoming: Incoming<'_>, world: &World<'_>, out: &mut Vec<Action>) {
        match incoming {
            Incoming::Frame { bytes, .. } => self.frame(bytes, world, out),
            Incoming::LinkUp(_) => {
                if self.link.up(world.now) {
                    self.say_up(out);
                }
            }
            Incoming::LinkDown { reason, .. } => {
                note(out, "link_down", format!("private link: {reason}"), &[]);
                self.restart(StreamFault::LinkLost, false, world.now, out);
            }
            Incoming::Written(id) => {
                if let Some(Pending::Command { id, kind }) = self.pending.get(&id)
                    && !matches!(kind, CommandKind::Query(_))
                {
                    self.outcome(*id, Outcome::Written, out);
                }
            }
            Incoming::Reply { id, status, headers, body } => self.reply(id, status, &headers, body, world, out),
            Incoming::Failed { id, written, timed_out } => self.failed(id, written, timed_out, world, out),
        }
    }

    fn next_timeout(&self) -> Option<Ts> {
        let mute = self.confirmations.next_due();
        [self.start_at, self.extend_at, self.measure_at, self.link.next_timeout(), mute].into_iter().flatten().min()
    }

    fn on_time(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        let due = |at: Option<Ts>| at.is_some_and(|at| at <= world.now);
        if due(self.measure_at) {
            self.measure(world.now, out);
        }
        if due(self.start_at) {
            self.proceed(world, out);
        }
        if due(self.extend_at) {
            self.extend_key(world.now, out);
        }
        if let Some(order) = self.confirmations.overdue(world.now) {
            note(out, "user_stream_mute", format!("nothing was heard of {order}, which REST acknowledged"), &[]);
            self.restart(StreamFault::Silent, true, world.now, out);
        }
        // A link that is down is brought back by the start.
        if self.link.due(world.now).is_some() {
            self.restart(StreamFault::LinkLost, true, world.now, out);
        }
    }
}

/// The request weight of a command, as the exchange's reference gives it.
fn weight(kind: &CommandKind) -> u32 {
    match kind {
        CommandKind::Place(_) | CommandKind::Modify { .. } => 0,
        // A conditional order's cancellation is followed by a question.
        CommandKind::Cancel { conditional, .. } => 1 + u32::from(*conditional),
        CommandKind::Query(query) => match query {
            Query::Order { .. } => 1,
            Query::OpenOrders | Query::OpenConditionals => 40,
            Query::Trades { .. } | Query::Positions | Query::Balances => 5,
            Query::Settings => 30 + 30 + 5,
        },
    }
}
