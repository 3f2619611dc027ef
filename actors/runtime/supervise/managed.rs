//! What a component's actor is asked, and the component as the system sees it.

use super::{Cause, Line, Part, Supervised};
use crate::runtime::component::{Component, ComponentState, ComponentView};
use actix::prelude::*;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Why a part was not restarted when a person wanted it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRestarted {
    /// The component has not started, or stops.
    #[error("the component does not run")]
    NotRunning,
    /// It has no part of this name.
    #[error("the component has no part `{0}`")]
    NoSuchPart(String),
    /// It cannot be, or not like this.
    #[error("{0}")]
    Refused(String),
}

/// What reaches a component's actor on its line.
pub(super) enum Told<P: Part> {
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
        self.stopping = true;
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

#[derive(Message)]
#[rtype(result = "Result<(), NotRestarted>")]
struct Restart(Option<String>);

impl<P: Part> Handler<Restart> for Supervised<P> {
    type Result = Result<(), NotRestarted>;

    fn handle(&mut self, Restart(child): Restart, _: &mut Context<Self>) -> Result<(), NotRestarted> {
        self.restart_asked(child.as_deref())
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
    /// Restarts one of its parts, or all of them.
    fn restart(&self, child: Option<String>) -> Answer<Result<(), NotRestarted>>;
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

    fn restart(&self, child: Option<String>) -> Answer<Result<(), NotRestarted>> {
        let request = self.to.send(Restart(child));
        Box::pin(async move { request.await.unwrap_or(Err(NotRestarted::NotRunning)) })
    }

    fn is_alive(&self) -> bool {
        self.to.connected()
    }
}
