#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::component::{ComponentState, ComponentView};
use crate::runtime::supervise::{Line, Managed, supervise};
use std::sync::mpsc;
use tokio::task::LocalSet;

struct Kind;
impl Served for Kind {
    const COMPONENT: Component = Component::HttpServer;
}

type Lost = Arc<Mutex<Vec<String>>>;

fn service(work: Work) -> (Line<Service<Kind>>, Lost) {
    let lost = Lost::default();
    let told = lost.clone();
    let ground = SystemGround::new(Arc::new(move |reason| told.lock().unwrap().push(reason)));
    (supervise(ground, |_| Service::new(work)), lost)
}

const BOUND: Duration = Duration::from_secs(10);

/// A service whose only child does this each time, and how often it was built.
fn doing<F>(how: impl Fn(ServiceContext) -> F + Send + 'static) -> (Work, Arc<AtomicUsize>)
where
    F: Future<Output = Result<(), String>> + 'static,
{
    let built = Arc::new(AtomicUsize::new(0));
    let count = built.clone();
    let work = Work::default().child("loop", BOUND, move |context| {
        count.fetch_add(1, Ordering::Relaxed);
        how(context)
    });
    (work, built)
}

async fn past_budget(work: Work) -> (ComponentView, Vec<String>) {
    let (line, lost) = service(work);
    line.begin().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let lost = lost.lock().unwrap().clone();
    (line.view().await.unwrap(), lost)
}

/// The row of its component: five restarts, then the process stops.
async fn goes_as_the_table_says(word: &'static str, work: (Work, Arc<AtomicUsize>)) {
    let (view, lost) = past_budget(work.0).await;
    assert_eq!((view.state, view.restarts, view.exits), (ComponentState::Failed, 5, vec![(word, 6)]), "{word}");
    assert_eq!(lost, ["http_server is past its restart budget"]);
    assert_eq!(work.1.load(Ordering::Relaxed), 6, "{word}");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_error_a_panic_an_end_and_a_stall_are_restarted_by_budget_and_then_the_table_decides() {
    let test = async {
        goes_as_the_table_says("failed", doing(|_| async { Err("no".to_owned()) })).await;
        goes_as_the_table_says("panicked", doing(|_| async { panic!("sabotage") })).await;
        goes_as_the_table_says("done", doing(|_| async { Ok(()) })).await;
        goes_as_the_table_says("stalled", doing(|_| std::future::pending())).await;
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_factory_that_panics_is_no_more_than_a_failed_part() {
    let test = async {
        let factory = |context: ServiceContext| {
            assert!(context.stop.is_set(), "no such thing");
            async { Ok(()) }
        };
        let (view, lost) = past_budget(Work::default().child("loop", BOUND, factory)).await;
        assert_eq!((view.state, view.restarts, lost.len()), (ComponentState::Failed, 5, 1));
        assert_eq!(view.last_fault.as_deref(), Some("no such thing"));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waits_on_purpose_and_slow_progress_are_no_stall_and_the_stop_drains() {
    let test = async {
        let (work, built) = doing(|context| async move {
            for _ in 0..100 {
                context.beat.beat();
                tokio::time::sleep(BOUND / 2).await;
            }
            context.facts.set("phase", "waits");
            context.beat.waiting(context.stop.wanted()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            context.facts.set("phase", "drained");
            Ok(())
        });
        let (line, lost) = service(work);
        line.begin().await;
        tokio::time::sleep(200 * BOUND).await;
        let view = line.view().await.unwrap();
        assert_eq!((view.state, view.restarts, built.load(Ordering::Relaxed)), (ComponentState::Running, 0, 1));
        assert_eq!(view.facts, [("phase", "waits".to_owned())]);
        line.drain().await;
        let view = line.view().await.unwrap();
        assert_eq!((view.state, view.exits), (ComponentState::Stopped, vec![("quit", 1)]));
        assert_eq!(view.facts, [("phase", "drained".to_owned())]);
        assert!(lost.lock().unwrap().is_empty());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn one_without_work_runs_and_says_why_and_one_past_its_budget_runs_again_when_a_person_wants_it() {
    let test = async {
        let (line, _) = service(Work::default());
        line.begin().await;
        let view = line.view().await.unwrap();
        assert_eq!((view.state, view.children.len()), (ComponentState::Running, 0));
        assert_eq!(view.facts, [("work", "not configured".to_owned())]);
        let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let is_broken = broken.clone();
        let (work, _) = doing(move |context| {
            let broken = is_broken.load(Ordering::Relaxed);
            async move {
                assert!(!broken, "broken");
                context.beat.waiting(context.stop.wanted()).await;
                Ok(())
            }
        });
        let (line, _) = service(work);
        assert!(line.restart(None).await.is_err(), "it does not run yet");
        line.begin().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(line.view().await.unwrap().state, ComponentState::Failed);
        broken.store(false, Ordering::Relaxed);
        assert!(line.restart(Some("other".to_owned())).await.is_err());
        line.restart(Some("loop".to_owned())).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let view = line.view().await.unwrap();
        assert_eq!((view.state, view.children[0].state), (ComponentState::Running, ComponentState::Running));
        assert_eq!(view.exits, [("asked", 1), ("panicked", 6)]);
    };
    LocalSet::new().run_until(test).await;
}

/// Real time: nothing here waits for a timer.
#[tokio::test(flavor = "current_thread")]
async fn blocking_work_comes_back_and_its_panic_is_an_error() {
    let (_stop, word) = flag::channel(false);
    let (beat, facts, threads) = (Beat::default(), Facts::default(), Arc::default());
    let context = ServiceContext { beat, stop: StopSignal(word), facts, threads };
    assert_eq!(context.block(|| 7).await, Ok(7));
    assert_eq!(context.block(|| panic!("sabotage")).await, Err::<(), _>("panicked: sabotage".to_owned()));
    assert_eq!(context.threads.load(Ordering::Acquire), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_blocked_thread_is_abandoned_counted_and_replaced_within_bounds() {
    let test = async {
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let work = Work::default().child("loop", BOUND, move |context: ServiceContext| {
            let blocked = blocked.clone();
            async move { context.block(move || drop(blocked.lock().map(|blocked| blocked.recv()))).await }
        });
        let (view, lost) = past_budget(work).await;
        // With more than four left behind it is not built again, and that is a restart that failed, too.
        assert!(view.facts.contains(&("threads_abandoned", "5".to_owned())), "{view:?}");
        assert_eq!((view.state, view.exits, lost.len()), (ComponentState::Failed, vec![("stalled", 6)], 1));
        assert_eq!(view.last_fault.as_deref(), Some("5 of its threads are blocked"));
        drop(release);
    };
    LocalSet::new().run_until(test).await;
}
