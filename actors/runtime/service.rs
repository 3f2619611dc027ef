//! Services: components whose work is an asynchronous loop that the composition root gives, away from the lane.
//!
//! For each of its children a [`Work`] has a name, a bound and a function that builds its future; the future gets a
//! [`ServiceContext`] with its [`Beat`], the word to stop, and a place for what operators should see. Supervision is that of every
//! part: an error, a panic, an end that nobody asked for, or no progress within the bound ends the future and builds another one, by
//! budget. Blocking work runs on threads of its own ([`ServiceContext::block`]); one that does not come back is abandoned with its
//! future, counted, and only so many may be abandoned at a time.
//! Tests: `tests`, with futures that fail in every way.

use super::component::Component;
use super::supervise::{Base, Beat, Cause, Exit, Part, SystemGround, watch};
use qcat_core::event::Scope;
use qcat_io::shell::panic_text;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch as flag};
use tokio::task::JoinHandle;

/// Blocked threads that a child may leave behind; with more it is not built again until one came back.
pub const ABANDONED_MAX: usize = 4;

/// A child's loop. `Ok`: it ended, which is only right after the word to stop.
pub type ServiceFuture = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// Builds a child's loop, at the start and after each end.
pub type Build = Box<dyn FnMut(ServiceContext) -> ServiceFuture + Send>;

/// One loop of a service.
pub struct Child {
    /// Its name.
    pub name: String,
    /// Without progress for this long it is stalled.
    pub bound: Duration,
    /// Builds it.
    pub build: Build,
}

/// The work of one service: its children, or why it has none.
pub struct Work {
    idle: &'static str,
    children: Vec<Child>,
}

impl Default for Work {
    fn default() -> Work {
        Work::idle("not configured")
    }
}

impl Work {
    /// The configuration gives it nothing to do: it is shown as running, with this as its fact `work`.
    pub fn idle(why: &'static str) -> Work {
        Work { idle: why, children: Vec::new() }
    }

    /// With one more child. `bound`: without a [`Beat::beat`] for this long it counts as stalled.
    #[must_use]
    pub fn child<F>(
        mut self,
        name: impl Into<String>,
        bound: Duration,
        mut build: impl FnMut(ServiceContext) -> F + Send + 'static,
    ) -> Work
    where
        F: Future<Output = Result<(), String>> + 'static,
    {
        let build: Build = Box::new(move |context| Box::pin(build(context)));
        self.children.push(Child { name: name.into(), bound, build });
        self
    }

    /// Its children, for whoever wraps them.
    pub fn children_mut(&mut self) -> &mut Vec<Child> {
        &mut self.children
    }
}

/// The work of every service.
#[derive(Default)]
pub struct Services {
    /// Push sessions.
    pub websocket_connections: Work,
    /// Searches over parameters.
    pub optimizer: Work,
    /// Checks.
    pub health_checker: Work,
    /// Looks at memory.
    pub memory_manager: Work,
    /// The shared cache.
    pub redis_cache: Work,
    /// Projections and reads.
    pub database: Work,
    /// The HTTP server.
    pub http_server: Work,
}

impl Services {
    /// The work of a component; `None`: it is no service.
    pub fn get_mut(&mut self, component: Component) -> Option<&mut Work> {
        Some(match component {
            Component::WebsocketConnections => &mut self.websocket_connections,
            Component::Optimizer => &mut self.optimizer,
            Component::HealthChecker => &mut self.health_checker,
            Component::MemoryManager => &mut self.memory_manager,
            Component::RedisCache => &mut self.redis_cache,
            Component::Database => &mut self.database,
            Component::HttpServer => &mut self.http_server,
            _ => return None,
        })
    }
}

/// The word to stop. Clones are the same.
#[derive(Debug, Clone)]
pub struct StopSignal(flag::Receiver<bool>);

impl StopSignal {
    /// Whether it was given.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it.
    pub async fn wanted(&self) {
        let mut word = self.0.clone();
        // Whoever gives it is gone: there is nothing left to run for either.
        let _ = word.wait_for(|stop| *stop).await;
    }
}

/// What operators see of a service. Clones are the same; any thread may write.
#[derive(Debug, Clone, Default)]
pub struct Facts(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Facts {
    /// Says something.
    pub fn set(&self, name: &'static str, value: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, value.into());
    }

    /// It is not known any more.
    pub fn remove(&self, name: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn all(&self) -> Vec<(&'static str, String)> {
        let facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.iter().map(|(name, value)| (*name, value.clone())).collect()
    }
}

/// What a child's future has of its supervision.
#[derive(Debug, Clone)]
pub struct ServiceContext {
    /// Its progress.
    pub beat: Beat,
    /// The word to stop: it finishes what is under way and ends with `Ok`.
    pub stop: StopSignal,
    /// What operators see; shared by all children of the component, and outlives them.
    pub facts: Facts,
    threads: Arc<AtomicUsize>,
}

impl ServiceContext {
    /// Runs blocking work on a thread of its own and waits for it, without a beat: work that may take longer than the child's
    /// bound tells its progress by a clone of the beat. `Err`: it panicked, or there is no thread.
    pub async fn block<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let (done, answer) = oneshot::channel();
        let alive = Alive::new(&self.threads);
        std::thread::Builder::new()
            .name("qcat-blocking".to_owned())
            .spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(work));
                drop(alive);
                // Whoever asked may be gone.
                let _ = done.send(ended.map_err(|panic| panic_text(&*panic).to_owned()));
            })
            .map_err(|error| format!("no thread: {error}"))?;
        let answer = answer.await.map_err(|_| "its thread ended without an answer".to_owned());
        self.beat.beat();
        answer?.map_err(|panic| format!("panicked: {panic}"))
    }
}

/// Counts a thread while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::AcqRel);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Which component a [`Service`] is.
pub trait Served: Unpin + 'static {
    /// The component.
    const COMPONENT: Component;
}

struct Running {
    child: Child,
    task: Option<JoinHandle<()>>,
    /// Threads of the future that runs, and of each that was given up while it had some.
    threads: Arc<AtomicUsize>,
    abandoned: Vec<Arc<AtomicUsize>>,
}

impl Running {
    fn abandoned(&self) -> usize {
        self.abandoned.iter().map(|threads| threads.load(Ordering::Acquire)).sum()
    }
}

/// A service as a part.
pub struct Service<S: Served> {
    idle: &'static str,
    children: Vec<Running>,
    facts: Facts,
    stop: flag::Sender<bool>,
    kind: std::marker::PhantomData<S>,
}

impl<S: Served> Service<S> {
    /// Of this work.
    pub fn new(work: Work) -> Service<S> {
        let Work { idle, children } = work;
        let running = |child| Running { child, task: None, threads: Arc::default(), abandoned: Vec::new() };
        let children = children.into_iter().map(running).collect();
        let (stop, kind) = (flag::Sender::new(false), std::marker::PhantomData);
        Service { idle, children, facts: Facts::default(), stop, kind }
    }

    fn build(&mut self, at: usize, base: &Base<Self>) -> Result<(), String> {
        let running = &mut self.children[at];
        running.task.take().inspect(JoinHandle::abort);
        let left = std::mem::take(&mut running.threads);
        running.abandoned.push(left);
        running.abandoned.retain(|threads| threads.load(Ordering::Acquire) > 0);
        let abandoned = running.abandoned();
        if abandoned > ABANDONED_MAX {
            return Err(format!("{abandoned} of its threads are blocked"));
        }
        let (beat, stop) = (Beat::default(), self.stop.clone());
        let context = ServiceContext {
            beat: beat.clone(),
            stop: StopSignal(stop.subscribe()),
            facts: self.facts.clone(),
            threads: running.threads.clone(),
        };
        let build = AssertUnwindSafe(|| (running.child.build)(context));
        let future = catch_unwind(build).map_err(|panic| panic_text(&*panic).to_owned())?;
        let task = async move {
            match future.await {
                Ok(()) if *stop.borrow() => Exit::Quit,
                Ok(()) => Exit::Done,
                Err(error) => Exit::Failed(error.into()),
            }
        };
        running.task = Some(watch(&base.line, at, (beat, running.child.bound), task));
        Ok(())
    }
}

impl<S: Served> Part for Service<S> {
    const COMPONENT: Component = S::COMPONENT;
    type Ground = SystemGround;
    type Word = ();

    fn children(&self) -> Vec<String> {
        self.children.iter().map(|running| running.child.name.clone()).collect()
    }

    fn start(&mut self, child: usize, base: &Base<Self>) {
        if let Err(why) = self.build(child, base) {
            base.line.ended(child, Cause::Loop(Exit::Panicked(why.into())));
        }
    }

    fn restart(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        self.build(child, base)
    }

    fn give_up(&mut self, _child: usize, _cause: &Cause, _base: &Base<Self>) {}

    fn scope(&self, _child: usize) -> Scope {
        Scope::All
    }

    fn word(&mut self, (): (), _base: &Base<Self>) {}

    fn begin_stop(&mut self, _base: &Base<Self>) {
        self.stop.send_replace(true);
    }

    fn left(&self, _base: &Base<Self>) -> Option<String> {
        let runs = |running: &&Running| running.task.as_ref().is_some_and(|task| !task.is_finished());
        let left: Vec<&str> = self.children.iter().filter(runs).map(|running| &*running.child.name).collect();
        (!left.is_empty()).then(|| format!("still at work: {}", left.join(", ")))
    }

    fn end(&mut self, _base: &Base<Self>) {
        self.children.iter_mut().filter_map(|running| running.task.take()).for_each(|task| task.abort());
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = self.facts.all();
        if self.children.is_empty() {
            facts.push(("work", self.idle.to_owned()));
        }
        let abandoned: usize = self.children.iter().map(Running::abandoned).sum();
        if abandoned > 0 {
            facts.push(("threads_abandoned", abandoned.to_string()));
        }
        facts
    }
}

#[cfg(test)]
mod tests;
