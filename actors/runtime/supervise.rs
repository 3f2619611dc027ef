//! Supervision: a component's actor, its parts, their restart budgets, their typed ends.
//!
//! actix itself never restarts a panicked actor, and on a restart it keeps the same struct; so parts are built by their
//! [`Part`] anew, behind the same address, and what ends is told by a message ([`Line::ended`]) to the actor, which alone decides
//! on pause and budget. A graceful stop is a message too: it is answered when nothing is left to finish.
//! Tests: `tests` here for a part of its own, and those of `system`.

use super::component::{ChildView, Component, ComponentState, ComponentView, Exhausted};
use super::lane::{Lane, LaneState};
use actix::prelude::*;
use qcat_core::engine::Fault;
use qcat_core::engine::budget::RestartBudget;
use qcat_core::event::{HaltReason, Input, Scope};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a draining component is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It had nothing more to do.
    Done,
    /// It was asked to.
    Quit,
    /// What it depends on is gone.
    PeerGone(Component),
    /// It was aborted.
    Killed,
    /// An error.
    Failed(Arc<str>),
    /// A panic.
    Panicked(Arc<str>),
}

/// Why a part of a component has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Its loop ended.
    Loop(Exit),
    /// A node of the engine that it answers for faulted.
    Node(Fault),
}

impl Cause {
    /// The word under which it is counted.
    pub fn word(&self) -> &'static str {
        match self {
            Cause::Loop(Exit::Done) => "done",
            Cause::Loop(Exit::Quit) => "quit",
            Cause::Loop(Exit::PeerGone(_)) => "peer_gone",
            Cause::Loop(Exit::Killed) => "killed",
            Cause::Loop(Exit::Failed(_)) => "failed",
            Cause::Loop(Exit::Panicked(_)) => "panicked",
            Cause::Node(_) => "node_fault",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Loop(Exit::Failed(text) | Exit::Panicked(text)) => f.write_str(text),
            Cause::Loop(Exit::PeerGone(component)) => write!(f, "{component} is gone"),
            Cause::Loop(_) => f.write_str(self.word()),
            Cause::Node(Fault { station, seq, kind }) => write!(f, "{station:?} {kind:?} at input {}", seq.0),
        }
    }
}

/// What a component is made of. Calls are synchronous; what takes time runs in tasks that report by a [`Line`].
pub trait Part: Unpin + Sized + 'static {
    /// Which component.
    const COMPONENT: Component;
    /// What its own tasks tell it.
    type Word: Send + 'static;

    /// Names of its parts; their number never changes.
    fn children(&self) -> Vec<String>;
    /// Starts a part for the first time.
    fn start(&mut self, child: usize, base: &Base<Self>);
    /// Builds a part anew after its pause. An error counts as another end of it.
    fn restart(&mut self, child: usize, cause: &Cause, base: &Base<Self>) -> Result<(), String>;
    /// The part's budget is used up.
    fn give_up(&mut self, child: usize, cause: &Cause, base: &Base<Self>);
    /// What a halt by the policy table reaches.
    fn scope(&self, child: usize) -> Scope;
    /// Takes a word of one of its tasks.
    fn word(&mut self, word: Self::Word, base: &Base<Self>);
    /// Begins to stop.
    fn begin_stop(&mut self, base: &Base<Self>);
    /// What is left to finish before it has stopped; `None`: nothing.
    fn left(&self, base: &Base<Self>) -> Option<String>;
    /// Ends everything at once.
    fn end(&mut self, base: &Base<Self>);
    /// Numbers and short words for operators.
    fn facts(&self) -> Vec<(&'static str, String)>;
}

/// What every part may use.
pub struct Base<P: Part> {
    /// The lane.
    pub lane: Lane,
    /// The way to the part's own actor.
    pub line: Line<P>,
}

/// The way to a component's actor. The queue behind it is unbounded, but what goes through it is rare (ends, control) or
/// counted by its sender; more than the policy's bound waiting is told in the view.
pub struct Line<P: Part> {
    to: Addr<Supervised<P>>,
    waiting: Arc<AtomicUsize>,
}

impl<P: Part> Clone for Line<P> {
    fn clone(&self) -> Line<P> {
        Line { to: self.to.clone(), waiting: self.waiting.clone() }
    }
}

impl<P: Part> fmt::Debug for Line<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&P::COMPONENT).finish()
    }
}

impl<P: Part> Line<P> {
    /// Tells the part something.
    pub fn tell(&self, word: P::Word) {
        self.send(Told::Word(word));
    }

    /// Tells that one of its parts ended or one of its nodes faulted.
    pub fn ended(&self, child: usize, cause: Cause) {
        self.send(Told::Ended(child, cause));
    }

    #[allow(clippy::disallowed_methods)] // Control must not be refused; `waiting` shows what waits.
    fn send(&self, told: Told<P>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.to.do_send(told);
    }
}

/// Runs a task for a part: when it ends, by a panic too, the part's actor is told. Aborting it tells nothing.
pub fn watch<P: Part>(
    line: &Line<P>,
    child: usize,
    task: impl Future<Output = Exit> + 'static,
) -> tokio::task::JoinHandle<()> {
    let line = line.clone();
    let task = tokio::task::spawn_local(task);
    let inner = task.abort_handle();
    tokio::task::spawn_local(async move {
        let _abort = AbortOnDrop(inner);
        let exit = match task.await {
            Ok(exit) => exit,
            Err(error) if error.is_panic() => Exit::Panicked(qcat_io::shell::panic_text(&*error.into_panic()).into()),
            Err(_) => return,
        };
        line.ended(child, Cause::Loop(exit));
    })
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Child {
    name: String,
    budget: RestartBudget,
    state: ComponentState,
    last_fault: Option<String>,
    /// A restart of its loop is on its way.
    restarting: bool,
}

/// A component's actor.
pub struct Supervised<P: Part> {
    part: P,
    base: Base<P>,
    state: ComponentState,
    children: Vec<Child>,
    exits: BTreeMap<&'static str, u64>,
    last_fault: Option<String>,
    drained: Vec<oneshot::Sender<()>>,
}

/// Starts the actor of a component, which does nothing until [`Managed::begin`]. The thread must run a `LocalSet`.
pub fn supervise<P: Part>(lane: Lane, make: impl FnOnce(&Line<P>) -> P) -> Line<P> {
    let mut made = None;
    Supervised::create(|context: &mut Context<Supervised<P>>| {
        let line = Line { to: context.address(), waiting: Arc::default() };
        made = Some(line.clone());
        let part = make(&line);
        let rule = P::COMPONENT.policy().restart;
        let child = |name| Child {
            name,
            budget: RestartBudget::new(rule),
            state: ComponentState::Pending,
            last_fault: None,
            restarting: false,
        };
        let children = part.children().into_iter().map(child).collect();
        Supervised {
            part,
            base: Base { lane, line },
            state: ComponentState::Pending,
            children,
            exits: BTreeMap::new(),
            last_fault: None,
            drained: Vec::new(),
        }
    });
    made.expect("create calls its closure before it returns")
}

impl<P: Part> Actor for Supervised<P> {
    type Context = Context<Self>;
}

impl<P: Part> Supervised<P> {
    fn is_stopping(&self) -> bool {
        matches!(self.state, ComponentState::Stopping | ComponentState::Stopped | ComponentState::Failed)
    }

    fn ended(&mut self, at: usize, cause: Cause, context: &mut Context<Self>) {
        *self.exits.entry(cause.word()).or_default() += 1;
        let text = cause.to_string();
        self.last_fault = Some(text.clone());
        let is_loop = matches!(cause, Cause::Loop(_));
        let stopping = self.is_stopping();
        let Some(child) = self.children.get_mut(at) else {
            return self.base.lane.lose(format!("{} has no part {at}, but it is at fault: {text}", P::COMPONENT));
        };
        child.last_fault = Some(text);
        if is_loop && (stopping || child.restarting) {
            return;
        }
        match child.budget.take(self.base.lane.now()) {
            Some(pause) => {
                tracing::warn!(component = %P::COMPONENT, part = %child.name, fault = %cause, ?pause, "restarts");
                child.restarting |= is_loop;
                child.state = ComponentState::Restarting;
                let pause = Duration::from_nanos(pause.nanos().unsigned_abs());
                context.run_later(pause, move |me, context| me.restart(at, &cause, context));
            }
            None => self.give_up(at, &cause),
        }
    }

    fn restart(&mut self, at: usize, cause: &Cause, context: &mut Context<Self>) {
        let is_loop = matches!(cause, Cause::Loop(_));
        self.children[at].restarting &= !is_loop;
        if is_loop && self.is_stopping() {
            return;
        }
        match self.part.restart(at, cause, &self.base) {
            Ok(()) => self.children[at].state = ComponentState::Running,
            Err(why) => {
                tracing::warn!(component = %P::COMPONENT, part = %self.children[at].name, %why, "cannot restart");
                self.ended(at, cause.clone(), context);
                self.last_fault = Some(why);
            }
        }
    }

    /// What the policy table says, and what the part itself knows to do.
    fn give_up(&mut self, at: usize, cause: &Cause) {
        let policy = P::COMPONENT.policy();
        let name = &self.children[at].name;
        tracing::error!(component = %P::COMPONENT, part = %name, fault = %cause, then = ?policy.exhausted, "given up");
        self.children[at].state = ComponentState::Failed;
        if !self.is_stopping() {
            let all = self.children.iter().all(|child| child.state == ComponentState::Failed);
            self.state = if all { ComponentState::Failed } else { ComponentState::Degraded };
        }
        let (lane, reason) = (&self.base.lane, HaltReason::Fault);
        match policy.exhausted {
            Exhausted::Degrade | Exhausted::PauseStrategies => {}
            Exhausted::HaltTrading | Exhausted::HaltNewRisk if lane.state() == LaneState::Running => {
                lane.offer(Input::Halt { scope: self.part.scope(at), reason });
            }
            // An engine that does not step any more cannot halt by itself, nor cancel.
            Exhausted::HaltTrading | Exhausted::HaltNewRisk => {
                lane.latch().set(reason);
                lane.give_up();
            }
            Exhausted::StopProcess => lane.lose(format!("{} is past its restart budget", P::COMPONENT)),
        }
        self.part.give_up(at, cause, &self.base);
    }

    fn view(&self) -> ComponentView {
        let restarting = self.children.iter().any(|child| child.state == ComponentState::Restarting);
        let running = self.state == ComponentState::Running;
        let view = |child: &Child| ChildView {
            name: child.name.clone(),
            state: child.state,
            restarts: child.budget.total(),
            last_fault: child.last_fault.clone(),
        };
        ComponentView {
            name: P::COMPONENT,
            state: if running && restarting { ComponentState::Restarting } else { self.state },
            restarts: self.children.iter().map(|child| child.budget.total()).sum(),
            mailbox: self.base.line.waiting.load(Ordering::Relaxed),
            mailbox_bound: P::COMPONENT.policy().mailbox,
            exits: self.exits.iter().map(|(word, count)| (*word, *count)).collect(),
            last_fault: self.last_fault.clone(),
            children: self.children.iter().map(view).collect(),
            facts: self.part.facts(),
        }
    }

    fn over(&mut self, state: ComponentState) {
        self.part.end(&self.base);
        self.state = state;
        self.children.iter_mut().filter(|c| c.state != ComponentState::Failed).for_each(|c| c.state = state);
        for waiter in self.drained.drain(..) {
            // Whoever asked may have given up waiting.
            let _ = waiter.send(());
        }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        if self.state != ComponentState::Stopping {
            return;
        }
        if self.part.left(&self.base).is_none() {
            self.over(ComponentState::Stopped);
        } else {
            context.run_later(LOOK_EVERY, Self::look);
        }
    }
}

/// What reaches a component's actor on its line.
enum Told<P: Part> {
    Word(P::Word),
    Ended(usize, Cause),
}

impl<P: Part> Message for Told<P> {
    type Result = ();
}

impl<P: Part> Handler<Told<P>> for Supervised<P> {
    type Result = ();

    fn handle(&mut self, told: Told<P>, context: &mut Context<Self>) {
        self.base.line.waiting.fetch_sub(1, Ordering::Relaxed);
        match told {
            Told::Word(word) => self.part.word(word, &self.base),
            Told::Ended(child, cause) => self.ended(child, cause, context),
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Begin;

impl<P: Part> Handler<Begin> for Supervised<P> {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Context<Self>) {
        self.state = ComponentState::Running;
        for child in 0..self.children.len() {
            self.part.start(child, &self.base);
            self.children[child].state = ComponentState::Running;
        }
    }
}

#[derive(Message)]
#[rtype(result = "ComponentView")]
struct Look;

impl<P: Part> Handler<Look> for Supervised<P> {
    type Result = MessageResult<Look>;

    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> MessageResult<Look> {
        MessageResult(self.view())
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Drain;

impl<P: Part> Handler<Drain> for Supervised<P> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, context: &mut Context<Self>) -> ResponseFuture<()> {
        let (sender, answer) = oneshot::channel();
        self.drained.push(sender);
        self.state = ComponentState::Stopping;
        self.part.begin_stop(&self.base);
        self.look(context);
        Box::pin(async move {
            let _ = answer.await;
        })
    }
}

#[derive(Message)]
#[rtype(result = "Option<String>")]
struct Abort;

impl<P: Part> Handler<Abort> for Supervised<P> {
    type Result = Option<String>;

    fn handle(&mut self, _: Abort, _: &mut Context<Self>) -> Option<String> {
        let left = self.part.left(&self.base);
        self.over(ComponentState::Failed);
        left
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = T>>>;

/// A component as the system sees it.
pub trait Managed {
    /// Which one.
    fn component(&self) -> Component;
    /// Starts its parts.
    fn begin(&self) -> Answer<()>;
    /// Stops it; answers when nothing is left to finish.
    fn drain(&self) -> Answer<()>;
    /// Ends it at once; tells what it still had to finish.
    fn abort(&self) -> Answer<Option<String>>;
    /// Looks at it; `None` when its actor is dead.
    fn view(&self) -> Answer<Option<ComponentView>>;
    /// Whether its actor lives.
    fn is_alive(&self) -> bool;
}

impl<P: Part> Managed for Line<P> {
    fn component(&self) -> Component {
        P::COMPONENT
    }

    fn begin(&self) -> Answer<()> {
        let request = self.to.send(Begin);
        Box::pin(async move { request.await.unwrap_or_default() })
    }

    fn drain(&self) -> Answer<()> {
        let request = self.to.send(Drain);
        Box::pin(async move { request.await.unwrap_or_default() })
    }

    fn abort(&self) -> Answer<Option<String>> {
        let request = self.to.send(Abort);
        Box::pin(async move { request.await.unwrap_or_else(|error| Some(error.to_string())) })
    }

    fn view(&self) -> Answer<Option<ComponentView>> {
        let request = self.to.send(Look);
        Box::pin(async move { request.await.ok() })
    }

    fn is_alive(&self) -> bool {
        self.to.connected()
    }
}

#[cfg(test)]
mod tests;
