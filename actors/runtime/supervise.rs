//! Supervision: a component's actor, its parts, their restart budgets, their typed ends.
//!
//! actix itself never restarts a panicked actor, and on a restart it keeps the same struct; so parts are built by their
//! [`Part`] anew, behind the same address, and what ends is told by a message ([`Line::ended`]) to the actor, which alone decides
//! on pause and budget. A graceful stop is a message too: it is answered when nothing is left to finish.
//! Tests: `tests` here for a part of its own, and those of `system`.

mod exit;
mod ground;
mod managed;
mod watch;

pub use exit::{Cause, Exit};
pub use ground::{Ground, SystemGround};
use managed::Told;
pub use managed::{Managed, NotRestarted};
pub use watch::{AbortOnDrop, Beat, Waiting, watch, watch_progress};

use super::component::{ChildView, Component, ComponentState, ComponentView, Exhausted};
use super::lane::Lane;
use actix::prelude::*;
use qcat_core::engine::budget::RestartBudget;
use qcat_core::event::{HaltReason, Scope};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a draining component is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a component is made of. Calls are synchronous; what takes time runs in tasks that report by a [`Line`].
pub trait Part: Unpin + Sized + 'static {
    /// Which component.
    const COMPONENT: Component;
    /// The thread that it lives on.
    type Ground: Ground;
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
    /// Whether a person may have a part restarted that is not at fault. `Err`: why not.
    fn may_restart(&self, _child: usize) -> Result<(), &'static str> {
        Ok(())
    }
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
    /// The thread that it lives on.
    pub ground: P::Ground,
    /// The way to the part's own actor.
    pub line: Line<P>,
}

impl<P: Part<Ground = Lane>> Base<P> {
    /// The lane.
    pub fn lane(&self) -> &Lane {
        &self.ground
    }
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
    /// It was told to stop, or was ended.
    stopping: bool,
}

/// Starts the actor of a component, which does nothing until [`Managed::begin`]. The thread must run a `LocalSet`.
pub fn supervise<P: Part>(ground: P::Ground, make: impl FnOnce(&Line<P>) -> P) -> Line<P> {
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
            base: Base { ground, line },
            state: ComponentState::Pending,
            children,
            exits: BTreeMap::new(),
            last_fault: None,
            drained: Vec::new(),
            stopping: false,
        }
    });
    made.expect("create calls its closure before it returns")
}

impl<P: Part> Actor for Supervised<P> {
    type Context = Context<Self>;
}

impl<P: Part> Supervised<P> {
    fn ended(&mut self, at: usize, cause: Cause, context: &mut Context<Self>) {
        *self.exits.entry(cause.word()).or_default() += 1;
        let text = cause.to_string();
        self.last_fault = Some(text.clone());
        let is_loop = matches!(cause, Cause::Loop(_));
        let stopping = self.stopping;
        let Some(child) = self.children.get_mut(at) else {
            return self.base.ground.lose(format!("{} has no part {at}, but it is at fault: {text}", P::COMPONENT));
        };
        child.last_fault = Some(text);
        if is_loop && (stopping || child.restarting) {
            return;
        }
        match child.budget.take(self.base.ground.now()) {
            Some(pause) => {
                tracing::warn!(code = "part_restarts", component = %P::COMPONENT, part = %child.name, fault = %cause, ?pause, "restarts");
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
        // A person may have been faster.
        if is_loop && (!std::mem::take(&mut self.children[at].restarting) || self.stopping) {
            return;
        }
        match self.part.restart(at, cause, &self.base) {
            Ok(()) => self.children[at].state = ComponentState::Running,
            Err(why) => {
                tracing::warn!(code = "part_not_restarted", component = %P::COMPONENT, part = %self.children[at].name, %why, "cannot restart");
                self.ended(at, cause.clone(), context);
                self.last_fault = Some(why);
            }
        }
    }

    /// A person wants a part restarted: at once, with a fresh budget.
    fn restart_asked(&mut self, name: Option<&str>) -> Result<(), NotRestarted> {
        if self.state == ComponentState::Pending || self.stopping {
            return Err(NotRestarted::NotRunning);
        }
        let named = |child: &Child| name.is_none_or(|name| child.name == name);
        let wanted: Vec<usize> = (0..self.children.len()).filter(|at| named(&self.children[*at])).collect();
        if wanted.is_empty() {
            return Err(NotRestarted::NoSuchPart(name.unwrap_or_default().to_owned()));
        }
        for at in &wanted {
            self.part.may_restart(*at).map_err(|why| NotRestarted::Refused(why.to_owned()))?;
        }
        for at in wanted {
            *self.exits.entry(Cause::Asked.word()).or_default() += 1;
            self.part.restart(at, &Cause::Asked, &self.base).map_err(NotRestarted::Refused)?;
            let child = &mut self.children[at];
            tracing::warn!(code = "part_restarted_by_hand", component = %P::COMPONENT, part = %child.name, "restarted by a person");
            child.budget.refill();
            child.restarting = false;
            child.state = ComponentState::Running;
        }
        if self.children.iter().all(|child| child.state != ComponentState::Failed) {
            self.state = ComponentState::Running;
        }
        Ok(())
    }

    /// What the policy table says, and what the part itself knows to do.
    fn give_up(&mut self, at: usize, cause: &Cause) {
        let policy = P::COMPONENT.policy();
        let name = &self.children[at].name;
        tracing::error!(code = "part_given_up", component = %P::COMPONENT, part = %name, fault = %cause, then = ?policy.exhausted, "given up");
        self.children[at].state = ComponentState::Failed;
        if !self.stopping {
            let all = self.children.iter().all(|child| child.state == ComponentState::Failed);
            self.state = if all { ComponentState::Failed } else { ComponentState::Degraded };
        }
        let ground = &self.base.ground;
        match policy.exhausted {
            Exhausted::Degrade | Exhausted::PauseStrategies => {}
            Exhausted::HaltTrading | Exhausted::HaltNewRisk => ground.halt(self.part.scope(at), HaltReason::Fault),
            Exhausted::StopProcess => ground.lose(format!("{} is past its restart budget", P::COMPONENT)),
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
        let known = ComponentView::of(P::COMPONENT, self.state);
        ComponentView {
            state: if running && restarting { ComponentState::Restarting } else { self.state },
            restarts: self.children.iter().map(|child| child.budget.total()).sum(),
            mailbox: self.base.line.waiting.load(Ordering::Relaxed),
            exits: self.exits.iter().map(|(word, count)| (*word, *count)).collect(),
            last_fault: self.last_fault.clone(),
            children: self.children.iter().map(view).collect(),
            facts: self.part.facts(),
            ..known
        }
    }

    fn over(&mut self, state: ComponentState) {
        self.part.end(&self.base);
        self.stopping = true;
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

#[cfg(test)]
mod tests;
