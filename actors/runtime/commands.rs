//! Commands of people on their way to the engine: the edge that offers them and hears what became of them.
//!
//! In: an [`Asking`] and a closure that makes the command from what the engine knows, both run on the trading thread between two
//! steps. Out: an [`Outcome`], once the command is admitted and journaled at the configured durability. A repeat under the same
//! idempotency key is never offered again: it gets the answer of the first. Ids of placed orders are given out here, in the name of
//! the account's reserved strategy.
//! What waits is bounded, in number and in time. The mutex is taken on the trading thread only, so nobody ever waits for it.
//! Tests: `tests/api_commands.rs`, over HTTP with a daemon that trades.

use super::component::Component;
use super::console::{Console, ConsoleError};
use super::lane::{Lane, LaneState, Step, Tap};
use qcat_core::engine::facts::Cause;
use qcat_core::engine::inbox::Offered;
use qcat_core::engine::{Engine, Fault};
use qcat_core::event::{Asked, Decision, HaltReason, IdempotencyKey, Input, OperatorCommand, Origin, Scope};
use qcat_core::id::{AccountIx, ClientOrderId, OrderKey, Seq, StrategyIx, SymbolIx};
use qcat_core::order::{Intent, OrderState, Terms, TimeInForce};
use qcat_core::risk::gate::Refusal;
use qcat_core::strategy::registry::Registry;
use qcat_io::journal::{Durability, DurableSeq};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Commands that may wait to be admitted, and orders whose fate may be waited for.
const WAITING_MAX: usize = 1_024;
/// Refusals that are remembered for repeats.
const REFUSALS_MAX: usize = 1_024;
/// How long a command may take until it is admitted, and then until it is durable.
const WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether a command is durable.
const LOOK: Duration = Duration::from_millis(1);

/// Who asks, and how.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Who.
    pub by: Origin,
    /// With it, a repeat of the same does nothing.
    pub key: Option<IdempotencyKey>,
    /// Wait this long for what the exchange says of the order that the command is about.
    pub wait: Option<Duration>,
}

/// What the makers of commands may look at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The engine between two steps.
    pub engine: &'a Engine,
    /// The kinds of strategies.
    pub registry: &'a Registry,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The input that it was.
    pub seq: Seq,
    /// The order that it placed, cancels or changes.
    pub order: Option<OrderKey>,
    /// Why it was refused, if it was.
    pub refused: Option<Refusal>,
    /// It was asked before, under the same key: this is what became of the first.
    pub repeated: bool,
    /// What the exchange said of the order within the time that was given; `None`: nothing, or nobody waited.
    pub fate: Option<Fate>,
}

/// An order of which the exchange has said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Where it is.
    pub state: OrderState,
    /// Filled so far, as decimal text.
    pub filled: String,
    /// The exchange's number of it, once known.
    pub venue_id: Option<i64>,
}

/// Why a command was not carried out, or why nobody can tell. `E`: what the maker of the command found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError<E> {
    /// There is no such command in the state that the engine is in.
    #[error("the command cannot be made")]
    Wrong(E),
    /// The key stands for something else that was asked before.
    #[error("the idempotency key was used for another request, which became input {}", .0.0)]
    KeyTaken(Seq),
    /// The same, and that request still waits.
    #[error("the idempotency key is in use for another request that still waits")]
    KeyWaits,
    /// Too much waits already. It was not taken.
    #[error("too many inputs wait: try again")]
    Full,
    /// The lane takes nothing in its state. It was not taken.
    #[error("the engine takes no commands: {0}")]
    Closed(&'static str),
    /// The disk is full. It was not carried out.
    #[error("the disk is full: what adds risk is not taken until there is room")]
    DiskFull,
    /// A node broke at it: the engine is rebuilt without it.
    #[error("the engine broke at this command and is rebuilt without it")]
    Broken,
    /// It waits still, or is not durable yet: it may be carried out.
    #[error(
        "the command was not confirmed within {WITHIN:?}; it may still be carried out: repeat it under the same idempotency key"
    )]
    Late,
    /// There is no engine to ask.
    #[error(transparent)]
    Away(#[from] ConsoleError),
}

/// What the trading thread could not do with an offered command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    DiskFull,
    Broken,
}

/// What the trading thread said at once.
enum Begun {
    Known(Outcome),
    Waits,
}

/// The edge. Clones are the same.
#[derive(Debug, Clone)]
pub struct Commands {
    console: Console,
    edge: Arc<Mutex<Edge>>,
}

impl Commands {
    /// Asks through this console. Must be made once for a console: it gives out ids.
    pub fn new(console: Console) -> Commands {
        Commands { console, edge: Arc::default() }
    }

    /// Asks for what `make` makes of the engine's present state; it must be short, as everything on the trading thread, and is not
    /// called for a repeat. A placed order's id is filled in here.
    pub async fn ask<E: Send + 'static>(
        &self,
        asking: Asking,
        make: impl FnOnce(Look<'_>) -> Result<OperatorCommand, E> + Send + 'static,
    ) -> Result<Outcome, AskError<E>> {
        let (tell, told) = oneshot::channel();
        let (tell_fate, fate) = oneshot::channel();
        let (edge, wait) = (self.edge.clone(), asking.wait);
        let waiter = Waiter { tell, fate: wait.map(|_| tell_fate) };
        let begin = move |lane: &Lane| {
            let begun = begin(lane, &edge, asking, make, waiter);
            (begun, lane.durability(), lane.durable())
        };
        let (begun, durability, durable) = self.console.on_lane(begin).await?;
        let mut outcome = match begun? {
            Begun::Known(outcome) => outcome,
            Begun::Waits => match tokio::time::timeout(WITHIN, told).await {
                Ok(Ok(Ok(outcome))) => outcome,
                Ok(Ok(Err(Lost::DiskFull))) => return Err(AskError::DiskFull),
                Ok(Ok(Err(Lost::Broken))) => return Err(AskError::Broken),
                Ok(Err(_)) | Err(_) => return Err(AskError::Late),
            },
        };
        if durability != Durability::Async {
            let written = until_durable(&durable, outcome.seq);
            tokio::time::timeout(WITHIN, written).await.map_err(|_| AskError::Late)?;
        }
        if let Some(wait) = wait
            && outcome.refused.is_none()
        {
            outcome.fate = tokio::time::timeout(wait, fate).await.ok().and_then(Result::ok);
        }
        Ok(outcome)
    }

    /// Restarts a component or one of its parts. Whoever asks has journaled it.
    pub async fn component_restart(&self, component: Component, part: Option<String>) -> Result<(), ConsoleError> {
        self.console.component_restart(component, part).await
    }
}

async fn until_durable(durable: &DurableSeq, seq: Seq) {
    while durable.get() < seq {
        tokio::time::sleep(LOOK).await;
    }
}

/// What waits on the trading thread.
#[derive(Debug, Default)]
struct Edge {
    tapped: bool,
    /// The last id of each account's reserved strategy: epoch and counter.
    ids: BTreeMap<AccountIx, (u32, u32)>,
    /// Offered and not yet admitted, oldest first.
    offered: VecDeque<Waiting>,
    /// Orders whose fate is waited for.
    followed: Vec<Followed>,
    /// Of the commands with a key that were refused, why.
    refusals: BTreeMap<Seq, Refusal>,
}

#[derive(Debug)]
struct Waiting {
    asked: Box<Asked>,
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    tell: oneshot::Sender<Result<Outcome, Lost>>,
    fate: Option<oneshot::Sender<Fate>>,
}

#[derive(Debug)]
struct Followed {
    order: Target,
    tell: oneshot::Sender<Fate>,
}

/// An order that a command is about, and what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    account: AccountIx,
    symbol: SymbolIx,
    key: OrderKey,
    /// Until it is over, as an order that does not rest always is; else until the exchange has confirmed it.
    until_over: bool,
}

impl Target {
    fn of(command: &OperatorCommand) -> Option<Target> {
        match *command {
            OperatorCommand::Intent(Intent::Place(order)) => Some(Target::placed(order.id, order.symbol)),
            OperatorCommand::Intent(Intent::Cancel { account, symbol, key, .. }) => {
                Some(Target { account, symbol, key, until_over: true })
            }
            OperatorCommand::Intent(Intent::Modify { symbol, id, .. }) => Some(Target::placed(id, symbol)),
            _ => None,
        }
    }

    fn placed(id: ClientOrderId, symbol: SymbolIx) -> Target {
        Target { account: id.account, symbol, key: OrderKey::Ours(id), until_over: false }
    }

    fn is_settled(&self, state: OrderState, terms: &Terms) -> bool {
        use TimeInForce::{Fok, Ioc};
        let passes = matches!(terms, Terms::Market | Terms::Limit { time_in_force: Ioc | Fok, .. });
        match state {
            OrderState::InFlight | OrderState::Unknown => false,
            OrderState::Working | OrderState::Triggering => !(self.until_over || passes),
            OrderState::Done(_) => true,
        }
    }

    /// What the engine knows of it, once that is what is waited for.
    fn fate(&self, engine: &Engine) -> Option<Fate> {
        let order = engine.desk(self.account)?.order(self.symbol, self.key)?;
        let view = order.view();
        let instrument = engine.universe().instrument(view.symbol)?;
        self.is_settled(view.state, &order.terms).then(|| Fate {
            state: view.state,
            filled: instrument.quantity_text(view.filled),
            venue_id: order.venue_id.or(order.algo_id).map(|id| id.0),
        })
    }
}

fn locked(edge: &Mutex<Edge>) -> MutexGuard<'_, Edge> {
    edge.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On the trading thread: looks whether it is a repeat, makes the command and offers it.
fn begin<E>(
    lane: &Lane,
    shared: &Arc<Mutex<Edge>>,
    asking: Asking,
    make: impl FnOnce(Look<'_>) -> Result<OperatorCommand, E>,
    waiter: Waiter,
) -> Result<Begun, AskError<E>> {
    let mut edge = locked(shared);
    if !std::mem::replace(&mut edge.tapped, true) {
        lane.tap(Box::new(EdgeTap(shared.clone())));
    }
    let Asking { by, key, .. } = asking;
    let waiter = match &key {
        Some(key) => match edge.repeat(lane, &by, key, waiter)? {
            Repeat::Begun(begun) => return Ok(begun),
            Repeat::New(waiter) => waiter,
        },
        None => waiter,
    };
    match lane.state() {
        LaneState::Running => {}
        LaneState::Broken => return Err(AskError::Closed("a node broke, and it waits to be rebuilt")),
        LaneState::Dead => return Err(AskError::Closed("the journal takes nothing more")),
        LaneState::Closed => return Err(AskError::Closed("it has stopped")),
    }
    let registry = lane.registry().clone();
    let mut command = lane.read(|engine| make(Look { engine, registry: &registry })).map_err(AskError::Wrong)?;
    if edge.offered.len() >= WAITING_MAX {
        return Err(AskError::Full);
    }
    if let OperatorCommand::Intent(Intent::Place(order)) = &mut command {
        order.id = edge.next_id(lane.read(Engine::epoch), order.id.account).ok_or(AskError::Full)?;
    }
    at_once(lane, &command);
    let asked = Box::new(Asked { by, key, command });
    if lane.offer(Input::Asked(asked.clone())) == Offered::Full {
        return Err(AskError::Full);
    }
    edge.offered.push_back(Waiting { asked, waiters: vec![waiter] });
    Ok(Begun::Waits)
}

/// The kill switch does not wait for its turn: the latch comes before everything that is queued.
fn at_once(lane: &Lane, command: &OperatorCommand) {
    match command {
        OperatorCommand::Halt(Scope::All) => lane.latch().set(HaltReason::KillSwitch),
        // What else set it (a stop, a lost connection to the journal) is not a person's to take back.
        OperatorCommand::Resume(Scope::All)
            if lane.latch().get().is_some_and(|(_, reason)| reason == HaltReason::KillSwitch) =>
        {
            lane.latch().clear();
        }
        _ => {}
    }
}

enum Repeat {
    Begun(Begun),
    New(Waiter),
}

impl Edge {
    /// Whether this key was given before, and what became of it.
    fn repeat<E>(
        &mut self,
        lane: &Lane,
        by: &Origin,
        key: &IdempotencyKey,
        waiter: Waiter,
    ) -> Result<Repeat, AskError<E>> {
        let same = |asked: &Asked| asked.by.user == by.user && asked.key.as_ref().is_some_and(|k| k.key == key.key);
        if let Some(waiting) = self.offered.iter_mut().find(|waiting| same(&waiting.asked)) {
            if waiting.asked.key.as_ref() != Some(key) {
                return Err(AskError::KeyWaits);
            }
            if waiting.waiters.len() >= WAITING_MAX {
                return Err(AskError::Full);
            }
            waiting.waiters.push(waiter);
            return Ok(Repeat::Begun(Begun::Waits));
        }
        let Some(answered) = lane.read(|engine| engine.answered(&by.user, &key.key)) else {
            return Ok(Repeat::New(waiter));
        };
        if answered.fingerprint != key.fingerprint {
            return Err(AskError::KeyTaken(answered.seq));
        }
        let refused = self.refusals.get(&answered.seq).cloned();
        // The desk knows our own orders by id alone.
        let target = answered.order.map(|id| Target::placed(id, SymbolIx::default()));
        if let (Some(target), Some(tell), None) = (target, waiter.fate, &refused) {
            lane.read(|engine| self.follow(engine, target, tell));
        }
        let order = answered.order.map(OrderKey::Ours);
        let outcome = Outcome { seq: answered.seq, order, refused, repeated: true, fate: None };
        Ok(Repeat::Begun(Begun::Known(outcome)))
    }

    /// The next id of an account's reserved strategy; `None`: there is none left.
    fn next_id(&mut self, epoch: u32, account: AccountIx) -> Option<ClientOrderId> {
        let last = self.ids.entry(account).or_default();
        let counter = if last.0 == epoch { last.1.checked_add(1)? } else { 1 };
        // From there on the desk counts.
        if counter >= qcat_core::strategy::COUNTER_END {
            return None;
        }
        *last = (epoch, counter);
        Some(ClientOrderId { epoch, account, strategy: StrategyIx::EXTERNAL, counter })
    }

    /// Tells of an order now, when there is something to tell, or later.
    fn follow(&mut self, engine: &Engine, order: Target, tell: oneshot::Sender<Fate>) {
        match order.fate(engine) {
            // Whoever asked may be gone.
            Some(fate) => drop(tell.send(fate)),
            None => {
                self.followed.retain(|followed| !followed.tell.is_closed());
                if self.followed.len() < WAITING_MAX {
                    self.followed.push(Followed { order, tell });
                }
            }
        }
    }

    /// A command was admitted and its decisions are in the journal.
    fn admitted(&mut self, asked: &Asked, step: &Step<'_>) {
        let Some(at) = self.offered.iter().position(|waiting| *waiting.asked == *asked) else { return };
        let Some(Waiting { waiters, .. }) = self.offered.remove(at) else { return };
        let lost = if step.engine.faults().iter().any(Fault::is_deciding) {
            Some(Lost::Broken)
        } else {
            (!step.journaled).then_some(Lost::DiskFull)
        };
        let refused = refusal(&asked.command, step.decisions);
        if let (Some(reason), Some(_)) = (&refused, &asked.key) {
            if self.refusals.len() >= REFUSALS_MAX {
                self.refusals.pop_first();
            }
            self.refusals.insert(step.seq, reason.clone());
        }
        let target = Target::of(&asked.command);
        let order = target.map(|target| target.key);
        for (nth, waiter) in waiters.into_iter().enumerate() {
            if let (Some(target), Some(tell), None) = (target, waiter.fate, &refused) {
                self.follow(step.engine, target, tell);
            }
            let (seq, refused, repeated) = (step.seq, refused.clone(), nth > 0);
            let outcome = Outcome { seq, order, refused, repeated, fate: None };
            // Whoever asked may be gone.
            let _ = waiter.tell.send(lost.map_or(Ok(outcome), Err));
        }
    }

    /// A command was not admitted.
    fn dropped(&mut self, asked: &Asked) {
        let Some(at) = self.offered.iter().position(|waiting| *waiting.asked == *asked) else { return };
        let waiting = self.offered.remove(at);
        for waiter in waiting.into_iter().flat_map(|waiting| waiting.waiters) {
            let _ = waiter.tell.send(Err(Lost::DiskFull));
        }
    }

    /// Orders changed.
    fn changed(&mut self, step: &Step<'_>) {
        let mut at = 0;
        while let Some(followed) = self.followed.get(at) {
            let about = |key: OrderKey| key == followed.order.key;
            let changed = step.happened.orders.iter().any(|update| about(update.key));
            match changed.then(|| followed.order.fate(step.engine)).flatten() {
                Some(fate) => drop(self.followed.swap_remove(at).tell.send(fate)),
                None => at += 1,
            }
        }
    }
}

/// Why the command itself was refused.
fn refusal(command: &OperatorCommand, decisions: &[Decision]) -> Option<Refusal> {
    let OperatorCommand::Intent(intent) = command else { return None };
    decisions.iter().find_map(|decision| match decision {
        Decision::Refused(refused) if refused.intent == *intent => Some(refused.reason.clone()),
        _ => None,
    })
}

struct EdgeTap(Arc<Mutex<Edge>>);

impl Tap for EdgeTap {
    #[inline]
    fn after_step(&mut self, step: &Step<'_>) {
        if let Some(Cause::Asked(asked)) = step.cause {
            locked(&self.0).admitted(asked, step);
        }
        if !step.happened.orders.is_empty() {
            locked(&self.0).changed(step);
        }
    }

    fn not_admitted(&mut self, input: &Input) {
        if let Input::Asked(asked) = input {
            locked(&self.0).dropped(asked);
        }
    }
}
