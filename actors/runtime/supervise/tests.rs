use super::*;
use crate::runtime::testkit::World;
use qcat_io::journal::Durability;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::task::{JoinHandle, LocalSet};

/// Writes down what happens to it; its loop panics after 10 ms.
struct Fragile {
    told: Rc<RefCell<Vec<String>>>,
    task: Option<JoinHandle<()>>,
    stuck: bool,
}

impl Fragile {
    fn run(&mut self, child: usize, base: &Base<Self>) {
        let fragile = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            panic!("too fragile");
        };
        self.task = Some(watch(&base.line, child, (Beat::default(), Duration::from_secs(60)), fragile));
    }

    fn write(&self, line: String) {
        self.told.borrow_mut().push(line);
    }
}

impl Part for Fragile {
    const COMPONENT: Component = Component::RiskEngine;
    type Ground = Lane;
    type Word = &'static str;

    fn children(&self) -> Vec<String> {
        vec!["one".to_owned()]
    }
    fn start(&mut self, child: usize, base: &Base<Self>) {
        self.write("start".to_owned());
        self.run(child, base);
    }
    fn restart(&mut self, child: usize, cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        self.write(format!("restart: {cause}"));
        self.run(child, base);
        Ok(())
    }
    fn give_up(&mut self, _child: usize, cause: &Cause, _base: &Base<Self>) {
        self.write(format!("give up: {}", cause.word()));
    }
    fn scope(&self, _child: usize) -> Scope {
        Scope::All
    }
    fn word(&mut self, word: &'static str, _base: &Base<Self>) {
        self.write(word.to_owned());
    }
    fn begin_stop(&mut self, _base: &Base<Self>) {
        self.write("stop".to_owned());
    }
    fn left(&self, _base: &Base<Self>) -> Option<String> {
        self.stuck.then(|| "everything".to_owned())
    }
    fn end(&mut self, _base: &Base<Self>) {
        self.task.take().inspect(JoinHandle::abort);
        self.write("end".to_owned());
    }
    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

fn fragile(world: &World, stuck: bool) -> (Rc<RefCell<Vec<String>>>, Line<Fragile>) {
    let told = Rc::new(RefCell::new(Vec::new()));
    let line = supervise(world.lane.clone(), |_| Fragile { told: told.clone(), task: None, stuck });
    (told, line)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_panicked_loop_is_restarted_by_budget_and_then_the_table_decides() {
    let test = async {
        let world = World::running(&["steady"], Durability::Async, None);
        world.run();
        let (told, line) = fragile(&world, false);
        line.begin().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let restart = "restart: too fragile";
        assert_eq!(*told.borrow(), ["start", restart, restart, restart, "give up: panicked"]);
        let view = line.view().await.expect("alive");
        assert_eq!((view.state, view.restarts), (ComponentState::Failed, 3));
        assert_eq!((view.exits, view.last_fault.as_deref()), (vec![("panicked", 4)], Some("too fragile")));
        // Its row says: halt new risk. The lane steps, so that is an input.
        let halted = world.lane.read(|e| e.risk().view().halts);
        assert_eq!(halted, [(Scope::All, HaltReason::Fault)]);
        assert!(!world.lane.latch().is_set());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_stop_is_a_message_that_comes_after_what_was_said_before_it() {
    let test = async {
        let world = World::running(&["steady"], Durability::Async, None);
        let (told, line) = fragile(&world, false);
        line.begin().await;
        (0..50).for_each(|_| line.tell("word"));
        let drained = line.drain();
        assert!(line.view().await.is_some_and(|view| view.mailbox_bound == 64));
        drained.await;
        let told = told.take();
        assert_eq!((told.len(), told[50].as_str()), (53, "word"));
        assert_eq!(told[51..], ["stop", "end"]);
        assert_eq!(line.view().await.map(|view| view.state), Some(ComponentState::Stopped));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_does_not_drain_is_aborted_and_says_what_is_left() {
    let test = async {
        let world = World::running(&["steady"], Durability::Async, None);
        let (_, line) = fragile(&world, true);
        line.begin().await;
        assert!(tokio::time::timeout(Duration::from_secs(3), line.drain()).await.is_err());
        assert_eq!(line.abort().await.as_deref(), Some("everything"));
        assert_eq!(line.view().await.map(|view| view.state), Some(ComponentState::Failed));
    };
    LocalSet::new().run_until(test).await;
}
