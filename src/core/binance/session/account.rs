//! The account session: one account's user stream, commands and queries.
//!
//! Start: measure the clock offset, get a listen key, open the private link. Commands come in *released* form and leave as
//! signed requests; each gets exactly one [`Outcome`] (besides `Written`) or one [`QueryAnswer`], whatever happens to it.
//! Rate limits are held here, before anything is written.

use super::link::{Link, LinkDue};
use super::{Session, World, note};
use crate::binance::decode::{self, Frame};
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
use crate::id::AccountIx;
use crate::order::PositionMode;
use crate::time::{Span, Ts};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What an account session needs to know.
#[derive(Debug, Clone)]
pub struct AccountOptions {
    /// The account.
    pub account: AccountIx,
    /// Base of the private route, e.g. `wss://fstream.binance.com/private`.
    pub ws_private_url: String,
    /// `recvWindow` of signed requests.
    pub recv_window: Span,
    /// Seed of the jitter.
    pub seed: u64,
}

const PRIVATE: LinkId = LinkId(0);
const REQUEST_TIMEOUT: Span = Span::from_secs(10);
/// The listen key lives 60 minutes; it is extended at half of that.
const KEY_EXTEND: Span = Span::from_secs(30 * 60);
/// The clock offset is measured anew this often.
const OFFSET_EVERY: Span = Span::from_secs(10 * 60);
/// Pause before a failed start-up request is tried again.
const RETRY: Span = Span::from_secs(2);
const LISTEN_KEY: &str = "/fapi/v1/listenKey";

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
    pending: BTreeMap<RequestId, Pending>,
    settings: BTreeMap<CommandId, SettingsParts>,
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
            pending: BTreeMap::new(),
            settings: BTreeMap::new(),
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
        let exchange_now = self.exchange_now(world.now);
        let stamp = Stamp { at: exchange_now, window: self.options.recv_window };
        let id = command.id;
        let limited = self.take_limits(&command.kind, exchange_now);
        if let Err(until) = limited {
            // Limits are counted in the exchange's time; who waits for them counts in ours.
            let until = world.now.plus(until.since(exchange_now));
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
                self.request(encoded, Pending::Command { id, kind: command.kind }, urgent, out);
            }
            Err(error) => {
                let refused = VenueError { code: 0, message: error.to_string().into() };
                self.not_sent(id, &command.kind, Outcome::Rejected(refused), out);
            }
        }
    }

    fn exchange_now(&self, now: Ts) -> Ts {
        self.offset.unwrap_or_default().exchange_time(now)
    }

    fn take_limits(&mut self, kind: &CommandKind, exchange_now: Ts) -> Result<(), Ts> {
        let is_order = matches!(kind, CommandKind::Place(_) | CommandKind::Modify { .. });
        self.weight.borrow_mut().take(weight(kind), !matches!(kind, CommandKind::Query(_)), exchange_now)?;
        if is_order { self.orders.take(exchange_now) } else { Ok(()) }
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

    /// Does the next step of the start: time, key, link.
    fn proceed(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        self.start_at = None;
        if self.offset.is_none() {
            self.measure(world.now, out);
        } else if self.key.is_none() {
            let encoded = Encoded { method: Method::Post, path: LISTEN_KEY, query: String::new(), auth: Auth::Key };
            self.request(encoded, Pending::Key, false, out);
        } else {
            self.connect(world.now, out);
        }
    }

    fn measure(&mut self, now: Ts, out: &mut Vec<Action>) {
        self.measure_at = None;
        let encoded = Encoded { method: Method::Get, path: "/fapi/v1/time", query: String::new(), auth: Auth::None };
        self.request(encoded, Pending::Time { sent: now }, false, out);
    }

    fn connect(&mut self, now: Ts, out: &mut Vec<Action>) {
        let Some(key) = &self.key else { return };
        let mut url = format!("{}/ws?listenKey=", self.options.ws_private_url.trim_end_matches('/'));
        encode::percent_encode(&mut url, key);
        self.link.connecting(now);
        out.push(Action::Connect { link: PRIVATE, url });
    }

    fn link_down(&mut self, fault: StreamFault, now: Ts, out: &mut Vec<Action>) {
        if self.link.is_up() {
            out.push(Action::Offer(Input::Stream(StreamState::UserDown(self.options.account, fault))));
        }
        self.link.down(now);
    }

    /// The key is void: make a new one, and connect with it.
    fn key_lost(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        (self.key, self.extend_at) = (None, None);
        if !matches!(self.link.state(), super::link::LinkState::Down { .. }) {
            out.push(Action::Close { link: PRIVATE });
            self.link_down(StreamFault::LinkLost, world.now, out);
        }
        self.link.rest();
        self.start_at = Some(world.now);
    }

    fn frame(&mut self, bytes: &[u8], world: &World<'_>, out: &mut Vec<Action>) {
        match decode::decode_frame(bytes, world.universe, Some(self.options.account), world.now) {
            Ok(Frame::User(report)) => out.push(Action::Offer(Input::Report(report))),
            Ok(Frame::MarginCalls(calls)) => {
                out.extend(calls.into_iter().map(|call| Action::Offer(Input::Report(call))));
            }
            Ok(Frame::ListenKeyExpired) => self.key_lost(world, out),
            Ok(Frame::Unknown(kind)) => {
                self.unknown_frames += 1;
                note(out, "frame_unknown", format!("unknown kind of message `{kind}`"), bytes);
            }
            Ok(_) => {}
            Err(error) => {
                // A report that cannot be read may have been a fill: only a reconciliation can tell.
                self.malformed_frames += 1;
                note(out, "frame_malformed", error, bytes);
                let account = self.options.account;
                out.push(Action::Offer(Input::Stream(StreamState::UserDown(account, StreamFault::Gap))));
                out.push(Action::Offer(Input::Stream(StreamState::UserUp(account))));
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
        self.weight.borrow_mut().learn(status, headers, exchange_now);
        self.orders.learn(headers, exchange_now);
        let Some(pending) = self.pending.remove(&id) else { return };
        if status == 200 {
            return self.accepted(pending, body, world, out);
        }
        let error = decode::rest::error(status, body);
        match error::meaning(status, error.code, &error.message) {
            Meaning::Clock => self.measure_at = Some(world.now),
            Meaning::Credentials => note(out, "credentials_refused", format!("{}: {}", error.code, error.message), &[]),
            Meaning::ListenKey => self.key_lost(world, out),
            Meaning::Refused | Meaning::Unknown | Meaning::RateLimited => {}
        }
        self.refused(pending, status, error, headers.retry_after, world, out);
    }

    fn accepted(&mut self, pending: Pending, body: &[u8], world: &World<'_>, out: &mut Vec<Action>) {
        match pending {
            Pending::Command { id, kind } => match kind {
                CommandKind::Query(query) => {
                    let result = answer(&query, body, world, self.options.account).map_err(|e| unreadable(&e));
                    self.answer(id, result, out);
                }
                kind => self.executed(id, &kind, body, world, out),
            },
            Pending::AfterCancel { id } => {
                let outcome = match decode::rest::algo_order(body, world.universe, self.options.account) {
                    Ok(report) => Outcome::Conditional(Box::new(report)),
                    Err(error) => Outcome::Unknown(unreadable(&error)),
                };
                self.outcome(id, outcome, out);
            }
            Pending::Settings { id, part } => self.settings_part(id, part, body, world, out),
            Pending::Time { sent } => match decode::rest::time(body) {
                Ok(server) => {
                    self.offset = Some(ClockOffset::measured(sent, world.now, server));
                    self.measure_at = Some(world.now.plus(OFFSET_EVERY));
                    if self.key.is_none() {
                        self.proceed(world, out);
                    }
                }
                Err(error) => {
                    note(out, "answer_malformed", error, body);
                    self.measure_at = Some(world.now.plus(RETRY));
                }
            },
            Pending::Key => match decode::rest::listen_key(body) {
                Ok(key) => {
                    self.key = Some(key);
                    self.extend_at = Some(world.now.plus(KEY_EXTEND));
                    self.connect(world.now, out);
                }
                Err(error) => {
                    note(out, "answer_malformed", error, &[]);
                    self.start_at = Some(world.now.plus(RETRY));
                }
            },
            Pending::ExtendKey => self.extend_at = Some(world.now.plus(KEY_EXTEND)),
        }
    }

    /// An order was placed, changed or cancelled.
    fn executed(&mut self, id: CommandId, kind: &CommandKind, body: &[u8], world: &World<'_>, out: &mut Vec<Action>) {
        let account = self.options.account;
        let outcome = match kind {
            CommandKind::Cancel { symbol, key, conditional: true } => {
                let query = CommandKind::Query(Query::Order { symbol: *symbol, key: *key, conditional: true });
                let stamp = Stamp { at: self.exchange_now(world.now), window: self.options.recv_window };
                match encode::command(&query, world.universe, stamp) {
                    Ok(encoded) => return self.request(encoded, Pending::AfterCancel { id }, true, out),
                    Err(error) => Outcome::Unknown(unreadable(&error)),
                }
            }
            CommandKind::Place(order) if order.intent.terms.is_conditional() => {
                match decode::rest::algo_order(body, world.universe, account) {
                    Ok(report) => Outcome::Conditional(Box::new(report)),
                    Err(error) => Outcome::Unknown(unreadable(&error)),
                }
            }
            _ => match decode::rest::order(body, world.universe, account) {
                Ok(report) => Outcome::Order(Box::new(report)),
                Err(error) => Outcome::Unknown(unreadable(&error)),
            },
        };
        self.outcome(id, outcome, out);
    }

    fn settings_part(&mut self, id: CommandId, part: usize, body: &[u8], world: &World<'_>, out: &mut Vec<Action>) {
        let Some(parts) = self.settings.get_mut(&id) else { return };
        let taken = match part {
            0 => decode::rest::position_mode(body).map(|mode| parts.mode = Some(mode)),
            1 => decode::rest::multi_assets(body).map(|multi| parts.multi_assets = Some(multi)),
            _ => decode::rest::symbol_config(body, world.universe).map(|symbols| parts.symbols = Some(symbols)),
        };
        if let Err(error) = taken {
            self.settings.remove(&id);
            return self.answer(id, Err(unreadable(&error)), out);
        }
        if let SettingsParts { mode: Some(position_mode), multi_assets: Some(multi_assets), symbols: Some(_) } = *parts
        {
            let symbols = self.settings.remove(&id).and_then(|parts| parts.symbols).unwrap_or_default();
            let settings = AccountSettings { position_mode, multi_assets, symbols };
            self.answer(id, Ok(Answer::Settings(settings)), out);
        }
    }

    /// The exchange answered with an error.
    fn refused(
        &mut self,
        pending: Pending,
        status: u16,
        error: VenueError,
        retry_after: Option<Span>,
        world: &World<'_>,
        out: &mut Vec<Action>,
    ) {
        match pending {
            Pending::Command { id, kind: CommandKind::Query(query) } => {
                let unknown = matches!(query, Query::Order { .. }) && error.is_unknown_order();
                self.answer(id, if unknown { Ok(Answer::NoSuchOrder) } else { Err(error) }, out);
            }
            Pending::Command { id, .. } => self.outcome(id, error::outcome(status, error, retry_after, world.now), out),
            Pending::AfterCancel { id } => self.outcome(id, Outcome::Unknown(error), out),
            Pending::Settings { id, .. } => {
                // The first failed part answers for all.
                if self.settings.remove(&id).is_some() {
                    self.answer(id, Err(error), out);
                }
            }
            Pending::Time { .. } => self.measure_at = Some(world.now.plus(retry_after.unwrap_or(RETRY))),
            Pending::Key => {
                note(out, "listen_key_refused", format!("{}: {}", error.code, error.message), &[]);
                self.start_at = Some(world.now.plus(retry_after.unwrap_or(RETRY)));
            }
            Pending::ExtendKey => self.extend_at = self.extend_at.map(|_| world.now.plus(RETRY)),
        }
    }

    /// No answer came.
    fn failed(&mut self, id: RequestId, written: bool, timed_out: bool, world: &World<'_>, out: &mut Vec<Action>) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let outcome = match (written, timed_out) {
            (false, _) => Outcome::NotSent,
            (true, true) => Outcome::TimedOut,
            (true, false) => Outcome::LinkLost,
        };
        match pending {
            Pending::Command { id, kind: CommandKind::Query(_) } => {
                let message = format!("no answer ({outcome:?})").into();
                self.answer(id, Err(VenueError { code: 0, message }), out);
            }
            Pending::Command { id, .. } => self.outcome(id, outcome, out),
            pending => {
                let error = VenueError { code: 0, message: format!("no answer ({outcome:?})").into() };
                self.refused(pending, 0, error, None, world, out);
            }
        }
    }
}

impl Session for AccountSession {
    fn start(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        self.proceed(world, out);
    }

    fn handle(&mut self, incoming: Incoming<'_>, world: &World<'_>, out: &mut Vec<Action>) {
        match incoming {
            Incoming::Frame { bytes, .. } => self.frame(bytes, world, out),
            Incoming::LinkUp(_) => {
                if self.link.up(world.now) {
                    out.push(Action::Offer(Input::Stream(StreamState::UserUp(self.options.account))));
                }
            }
            Incoming::LinkDown { reason, .. } => {
                note(out, "link_down", format!("private link: {reason}"), &[]);
                self.link_down(StreamFault::LinkLost, world.now, out);
                // The key may be what was refused: POST returns the live one or makes a new one.
                (self.key, self.extend_at) = (None, None);
                self.start_at = self.link.next_timeout();
                self.link.rest();
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
        [self.start_at, self.extend_at, self.measure_at, self.link.next_timeout()].into_iter().flatten().min()
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
            self.extend_at = Some(world.now.plus(KEY_EXTEND));
            let encoded = Encoded { method: Method::Put, path: LISTEN_KEY, query: String::new(), auth: Auth::Key };
            self.request(encoded, Pending::ExtendKey, false, out);
        }
        match self.link.due(world.now) {
            None => {}
            Some(LinkDue::Connect) => self.connect(world.now, out),
            Some(LinkDue::AttemptHangs | LinkDue::Renew) => {
                out.push(Action::Close { link: PRIVATE });
                self.link_down(StreamFault::LinkLost, world.now, out);
            }
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

fn answer(query: &Query, body: &[u8], world: &World<'_>, account: AccountIx) -> Result<Answer, decode::DecodeError> {
    let universe = world.universe;
    Ok(match query {
        Query::Order { conditional: false, .. } => {
            Answer::Order(Box::new(decode::rest::order(body, universe, account)?))
        }
        Query::Order { conditional: true, .. } => {
            Answer::Conditional(Box::new(decode::rest::algo_order(body, universe, account)?))
        }
        Query::OpenOrders => Answer::OpenOrders(decode::rest::orders(body, universe, account)?),
        Query::OpenConditionals => Answer::OpenConditionals(decode::rest::algo_orders(body, universe, account)?),
        Query::Trades { symbol, .. } => {
            let trades = decode::rest::user_trades(body, universe)?;
            let complete = trades.len() < encode::TRADES_PAGE;
            Answer::Trades { symbol: *symbol, trades, complete }
        }
        Query::Positions => Answer::Positions(decode::rest::positions(body, universe)?),
        Query::Balances => Answer::Balances(decode::rest::balances(body, universe)?),
        // Settings come in three parts and never here.
        Query::Settings => Answer::NoSuchOrder,
    })
}

fn unreadable(error: &dyn std::error::Error) -> VenueError {
    VenueError { code: 0, message: format!("the answer could not be read: {error}").into() }
}
