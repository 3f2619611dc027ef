//! The simulated world: an engine with its queue and its sessions on one side, the exchange behind its protocol on the other,
//! joined frame by frame on a virtual clock, without sockets. One seed is one run.
//!
//! What the shells do over real sockets is done here: connections keep their order, requests may overtake each other and have a
//! patience, signatures are taken as valid. [`NetFaults`] says what goes wrong on the way. The client's clock may be off.

mod wire;

use super::faults::{Chance, NetFaults, TROUBLES, Trouble};
use crate::binance::proto::{Action, Incoming, Note, ServerIn, ServerOut};
use crate::binance::server::SimExchange;
use crate::binance::session::account::AccountSession;
use crate::binance::session::market::MarketSession;
use crate::binance::session::{self, Session};
use crate::command::{CommandKind, VenueCommand};
use crate::config::EngineConfig;
use crate::engine::inbox::{Inbox, Offered};
use crate::engine::{Engine, Fault};
use crate::event::{Alert, Decision, Input};
use crate::id::{ClientOrderId, SymbolIx};
use crate::instrument::Definition;
use crate::market::MarketEvent;
use crate::node::{encode_state, hash_bytes};
use crate::order::Fill;
use crate::strategy::registry::Registry;
use crate::time::{Span, Ts};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use wire::{Parcel, Wire};

/// How a world runs.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Seed of the faults.
    pub seed: u64,
    /// The exchange's time at the start.
    pub start: Ts,
    /// How far the client's clock is ahead of the exchange's.
    pub clock_ahead: Span,
    /// One way between client and exchange.
    pub latency: Span,
    /// What goes wrong.
    pub faults: NetFaults,
    /// Inputs that may wait in front of the engine.
    pub inbox: usize,
}

/// The client's sessions.
#[derive(Debug)]
pub struct Sessions {
    /// The public streams.
    pub market: MarketSession,
    /// By account index: the session and its API key.
    pub accounts: Vec<(AccountSession, String)>,
}

/// A run that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// A node panicked or emitted more than its bound.
    #[error("{0:?}")]
    Fault(Fault),
    /// Something asks for time again and again without time going on.
    #[error("no progress at {0:?}: {1}")]
    Stuck(Ts, String),
}

/// Which session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Market,
    Account(usize),
}

/// What a run has shown so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every fill that was booked, in order.
    pub fills: Vec<Fill>,
    /// The id of every order that was sent.
    pub placed: Vec<ClientOrderId>,
    /// Every alert.
    pub alerts: Vec<Alert>,
    /// Every note of the sessions.
    pub notes: Vec<Note>,
    /// A hash of every decision in order.
    pub trail: u64,
    /// Inputs that were admitted.
    pub inputs: u64,
}

/// The world. See the module's text.
pub struct World {
    engine: Engine,
    inbox: Inbox,
    sessions: Sessions,
    exchange: SimExchange,
    wire: Wire,
    /// The exchange's time.
    now: Ts,
    clock_ahead: Span,
    /// The trading thread does nothing until then.
    stalled_until: Ts,
    released: VecDeque<VenueCommand>,
    overflowed: Vec<SymbolIx>,
    seen: Seen,
    server_out: Vec<ServerOut>,
    at_once: u32,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// Steps without time going on that mean that something is stuck.
const STEPS_AT_ONCE: u32 = 100_000;

/// What is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Wire,
    Exchange,
    Session(Who),
    Timer,
    Wake,
}

impl World {
    /// A world in which definitions, configuration and the first epoch are admitted and the sessions started.
    pub fn new(
        options: WorldOptions,
        registry: Arc<Registry>,
        sessions: Sessions,
        exchange: SimExchange,
        definitions: impl IntoIterator<Item = Definition>,
        config: EngineConfig,
    ) -> Result<World, WorldError> {
        let chance = Chance::new(options.seed, options.faults);
        let keys = sessions.accounts.iter().map(|(_, key)| key.clone()).collect();
        let mut world = World {
            engine: Engine::new(registry),
            inbox: Inbox::new(options.inbox),
            sessions,
            exchange,
            wire: Wire::new(chance, options.latency, keys),
            now: options.start,
            clock_ahead: options.clock_ahead,
            stalled_until: options.start,
            released: VecDeque::new(),
            overflowed: Vec::new(),
            seen: Seen::default(),
            server_out: Vec::new(),
            at_once: 0,
        };
        for definition in definitions {
            world.admit(Input::Definition(definition))?;
        }
        world.admit(Input::Configuration(Box::new(config)))?;
        let epoch = crate::id::next_epoch(None, world.local());
        world.admit(Input::Start { epoch })?;
        world.send_released();
        world.call(Who::Market, |session, world, out| session.start(world, out));
        for at in 0..world.sessions.accounts.len() {
            world.call(Who::Account(at), |session, world, out| session.start(world, out));
        }
        for trouble in TROUBLES {
            world.wire.plan(trouble, world.now);
        }
        world.drain()?;
        Ok(world)
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The exchange: its books are the truth.
    pub fn exchange(&self) -> &SimExchange {
        &self.exchange
    }

    /// The exchange, to change its faults.
    pub fn exchange_mut(&mut self) -> &mut SimExchange {
        &mut self.exchange
    }

    /// The client's sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What the run has shown so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The exchange's time.
    pub fn now(&self) -> Ts {
        self.now
    }

    /// Changes what goes wrong from here on. Connections that say nothing end then: their owners hear of it.
    pub fn set_faults(&mut self, faults: NetFaults) {
        self.wire.set_faults(faults, self.now);
    }

    /// Brings an input to the engine, as a person would.
    pub fn offer(&mut self, input: Input) -> Result<(), WorldError> {
        self.take(input);
        self.drain()
    }

    /// Runs until `until`, the exchange's time.
    pub fn run_until(&mut self, until: Ts) -> Result<(), WorldError> {
        while let Some((at, due)) = self.next().filter(|(at, _)| *at <= until) {
            self.at_once = if at > self.now { 0 } else { self.at_once + 1 };
            if self.at_once > STEPS_AT_ONCE {
                return Err(WorldError::Stuck(self.now, format!("{due:?}")));
            }
            self.now = self.now.max(at);
            self.step(due)?;
            self.drain()?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// The client's time.
    fn local(&self) -> Ts {
        self.now.plus(self.clock_ahead)
    }

    /// What is due first; at equal times in the order of this list.
    fn next(&self) -> Option<(Ts, Due)> {
        let back = Span::from_nanos(-self.clock_ahead.nanos());
        let ours = |at: Option<Ts>| at.map(|at| at.plus(back));
        let stalled = (self.stalled_until > self.now).then_some(self.stalled_until);
        let mut due: Option<(Ts, Due)> = None;
        let mut consider = |at: Option<Ts>, what: Due| {
            if let Some(at) = at
                && due.is_none_or(|(first, _)| at < first)
            {
                due = Some((at, what));
            }
        };
        consider(stalled, Due::Wake);
        consider(self.wire.next(), Due::Wire);
        consider(self.exchange.next_timeout(), Due::Exchange);
        consider(ours(self.sessions.market.next_timeout()), Due::Session(Who::Market));
        for (at, (session, _)) in self.sessions.accounts.iter().enumerate() {
            consider(ours(session.next_timeout()), Due::Session(Who::Account(at)));
        }
        if stalled.is_none() {
            consider(ours(self.engine.next_timer().map(|(at, _)| at)), Due::Timer);
        }
        due
    }

    fn step(&mut self, due: Due) -> Result<(), WorldError> {
        match due {
            Due::Wake => {}
            Due::Wire => {
                if let Some(parcel) = self.wire.pop() {
                    self.arrive(parcel);
                }
            }
            Due::Exchange => self.serve(|exchange, now, out| exchange.on_time(now, out)),
            Due::Session(who) => self.call(who, |session, world, out| session.on_time(world, out)),
            Due::Timer => {
                if let Some((_, timer)) = self.engine.next_timer() {
                    self.admit(Input::Timer(timer))?;
                }
            }
        }
        Ok(())
    }

    /// Something has crossed the network.
    fn arrive(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Open { peer, path, query } => {
                self.serve(|exchange, now, out| {
                    exchange.handle(ServerIn::Open { peer, path: &path, query: &query }, now, out)
                });
            }
            Parcel::Text { peer, text } => {
                self.serve(|exchange, now, out| exchange.handle(ServerIn::Text { peer, text: &text }, now, out));
            }
            Parcel::Closed { peer } => {
                self.serve(|exchange, now, out| exchange.handle(ServerIn::Closed { peer }, now, out));
            }
            Parcel::Request { peer, method, path, query, api_key } => self.serve(|exchange, now, out| {
                let api_key = api_key.as_deref();
                let (query, signature_valid) = (query.as_str(), true);
                exchange.handle(ServerIn::Http { peer, method, path, query, api_key, signature_valid }, now, out);
            }),
            Parcel::Up { peer } => {
                if let Some((who, link)) = self.wire.opened(peer) {
                    self.tell(who, Incoming::LinkUp(link));
                }
            }
            Parcel::Down { peer, reason } => {
                if let Some((who, link)) = self.wire.ended(peer) {
                    self.tell(who, Incoming::LinkDown { link, reason });
                }
            }
            Parcel::Frame { peer, text } => {
                if let Some((who, link)) = self.wire.owner(peer) {
                    self.tell(who, Incoming::Frame { link, bytes: text.as_bytes() });
                }
            }
            Parcel::Written { peer } => {
                if let Some((who, id)) = self.wire.written(peer) {
                    self.tell(who, Incoming::Written(id));
                }
            }
            Parcel::Reply { peer, status, headers, body } => {
                if let Some((who, id)) = self.wire.answered(peer) {
                    self.tell(who, Incoming::Reply { id, status, headers, body: body.as_bytes() });
                }
            }
            Parcel::Failed { peer, timed_out } => {
                if let Some((who, id, written)) = self.wire.failed(peer) {
                    self.tell(who, Incoming::Failed { id, written, timed_out });
                }
            }
            Parcel::Trouble(trouble) => self.trouble(trouble),
        }
    }

    fn trouble(&mut self, trouble: Trouble) {
        if !self.wire.is_on(trouble) {
            return;
        }
        match trouble {
            Trouble::KeyExpiry => self.serve(|exchange, now, out| exchange.expire_listen_keys(now, out)),
            Trouble::Stall => self.stalled_until = self.stalled_until.max(self.now.plus(self.wire.stall())),
            Trouble::LoseLink | Trouble::Outage | Trouble::Mute => self.wire.trouble(trouble, self.now),
        }
        self.wire.plan(trouble, self.now);
    }

    fn serve(&mut self, call: impl FnOnce(&mut SimExchange, Ts, &mut Vec<ServerOut>)) {
        let mut out = std::mem::take(&mut self.server_out);
        call(&mut self.exchange, self.now, &mut out);
        for sent in out.drain(..) {
            self.wire.of_server(sent, self.now);
        }
        self.server_out = out;
    }

    fn tell(&mut self, who: Who, incoming: Incoming<'_>) {
        self.call(who, |session, world, out| session.handle(incoming, world, out));
    }

    fn call(&mut self, who: Who, call: impl FnOnce(&mut dyn Session, &session::World<'_>, &mut Vec<Action>)) {
        let mut out = Vec::new();
        let world = session::World { now: self.local(), universe: self.engine.universe() };
        match who {
            Who::Market => call(&mut self.sessions.market, &world, &mut out),
            Who::Account(at) => {
                if let Some((session, _)) = self.sessions.accounts.get_mut(at) {
                    call(session, &world, &mut out);
                }
            }
        }
        self.act(who, out);
    }

    fn act(&mut self, who: Who, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Offer(input) => self.take(input),
                Action::Note(note) => self.seen.notes.push(note),
                action => self.wire.of_client(who, action, self.now),
            }
        }
    }

    /// Puts an input into the queue; a book whose chain is cut by a full queue is asked for anew.
    fn take(&mut self, input: Input) {
        let book = match &input {
            Input::Market(market) => {
                matches!(market.event, MarketEvent::BookDelta(_) | MarketEvent::BookReset(_)).then_some(market.symbol)
            }
            _ => None,
        };
        if self.inbox.offer(input) == Offered::Full
            && let Some(symbol) = book
        {
            self.overflowed.push(symbol);
        }
    }

    /// Lets the engine take all that waits, unless it is held up.
    fn drain(&mut self) -> Result<(), WorldError> {
        if self.stalled_until > self.now {
            return Ok(());
        }
        loop {
            while let Some(input) = self.inbox.pop() {
                self.admit(input)?;
                self.send_released();
            }
            self.send_released();
            if self.overflowed.is_empty() && self.inbox.is_empty() {
                return Ok(());
            }
            for symbol in std::mem::take(&mut self.overflowed) {
                let mut out = Vec::new();
                let world = session::World { now: self.local(), universe: self.engine.universe() };
                self.sessions.market.resync(symbol, &world, &mut out);
                self.act(Who::Market, out);
            }
        }
    }

    fn admit(&mut self, input: Input) -> Result<(), WorldError> {
        let admitted = self.engine.admit(self.local(), input);
        let seq = admitted.seq;
        self.engine.step(admitted);
        self.seen.inputs += 1;
        self.seen.fills.extend(&self.engine.happened().fills);
        if !self.engine.decisions().is_empty() {
            let decisions = self.engine.take_decisions();
            let mut bytes = encode_state(&(self.seen.trail, seq));
            bytes.extend(encode_state(&decisions));
            self.seen.trail = hash_bytes(&bytes);
            for decision in decisions {
                self.decided(decision);
            }
        }
        match self.engine.faults().first() {
            Some(fault) => Err(WorldError::Fault(*fault)),
            None => Ok(()),
        }
    }

    fn decided(&mut self, decision: Decision) {
        match decision {
            Decision::Command(command) => {
                if let CommandKind::Place(order) = &command.kind {
                    self.seen.placed.push(order.intent.id);
                }
                self.released.push_back(command);
            }
            Decision::Alert(alert) => self.seen.alerts.push(alert),
            _ => {}
        }
    }

    fn send_released(&mut self) {
        while let Some(command) = self.released.pop_front() {
            let at = command.account.ix();
            let mut out = Vec::new();
            let world = session::World { now: self.local(), universe: self.engine.universe() };
            if let Some((session, _)) = self.sessions.accounts.get_mut(at) {
                session.command(command, &world, &mut out);
            }
            self.act(Who::Account(at), out);
        }
    }
}

impl World {
    /// How often each note was made.
    pub fn notes_by_code(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for note in &self.seen.notes {
            *counts.entry(note.code).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests;
