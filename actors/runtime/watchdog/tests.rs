use super::*;
use qcat_core::event::Station;
use qcat_core::id::{Seq, StrategyIx};

const BOUND: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(250);

fn looks(still: &mut Stillness, beat: Beat, count: u32) -> Option<Trouble> {
    (0..count).find_map(|_| still.look(beat, LOOK, 2 * LOOK, BOUND))
}

#[test]
fn a_step_is_a_hang_when_the_thread_was_seen_in_it_for_longer_than_the_bound() {
    let step = Quarantine { station: Station::Runner(StrategyIx(1)), seq: Seq(7) };
    let stepping = Beat { count: 3, step: Some(step), phase: Phase::Drains };
    let mut still = Stillness::new(Beat { count: 2, ..stepping });
    // The first look at it begins to count.
    assert_eq!(looks(&mut still, stepping, 21), None);
    assert_eq!(looks(&mut still, Beat { count: 4, ..stepping }, 21), None, "it went on to the next step");
    assert_eq!(looks(&mut still, Beat { count: 4, ..stepping }, 1), Some(Trouble::Step(step)));
}

#[test]
fn a_drain_may_idle_for_its_second_and_long_work_may_take_long() {
    let beat = |phase| Beat { count: 1, step: None, phase };
    for (phase, most) in [(Phase::Drains, Some(24)), (Phase::Works, Some(240)), (Phase::Quiet, None)] {
        let mut still = Stillness::new(beat(phase));
        assert_eq!(looks(&mut still, beat(phase), most.unwrap_or(10_000)), None, "{phase:?}");
        assert_eq!(looks(&mut still, beat(phase), 1), most.map(|_| Trouble::Thread), "{phase:?}");
    }
}

#[test]
fn a_pause_in_which_the_watchdog_did_not_run_either_is_not_the_threads() {
    let beat = Beat { count: 1, step: None, phase: Phase::Drains };
    let mut still = Stillness::new(beat);
    for _ in 0..5 {
        assert_eq!(still.look(beat, Duration::from_secs(3_600), 2 * LOOK, BOUND), None);
    }
}
