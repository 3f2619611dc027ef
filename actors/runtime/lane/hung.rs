//! What a start does about the mark that the watchdog left: the strategy that hung is stopped until a person starts it.
//!
//! It is journaled as the give-up of that strategy before anything is stepped, as recovery folds it: the instance that would hang
//! again is never called. The mark's file goes only when that is durable; a crash before it does all of this once more, which
//! changes nothing. A deciding node that hung is left out of the input by its quarantine mark alone, as after a panic.

use super::LaneError;
use qcat_core::engine::Engine;
use qcat_core::engine::fold::{Quarantine, Record};
use qcat_core::event::{Admitted, Alert, AlertCode, Decision, Input, RunnerState, Station, StopReason};
use qcat_core::id::{Seq, StrategyIx};
use qcat_core::time::Ts;
use qcat_io::journal::marks::Hung;
use qcat_io::journal::{Journal, Priority};
use std::sync::Arc;

/// Takes the mark over into journal and engine, durably, and retires its file.
pub(super) fn settle(journal: &mut Journal, engine: &mut Engine, hung: Hung, now: Ts) -> Result<(), LaneError> {
    match hung {
        Hung::Station(Quarantine { station: Station::Runner(strategy), seq }) => {
            stop(journal, engine, strategy, &format!("hung at input {}", seq.0), now)?;
        }
        Hung::Station(Quarantine { station, seq }) => {
            tracing::error!(
                code = "node_quarantined",
                ?station,
                seq = seq.0,
                "a deciding node hung in the last life; it is not stepped with that input again"
            );
        }
        Hung::Damaged => {
            let strategies: Vec<StrategyIx> = engine.config().strategies().map(|(ix, _)| ix).collect();
            for strategy in strategies {
                stop(journal, engine, strategy, "may have hung: the watchdog's mark is damaged", now)?;
            }
        }
    }
    journal.retire_hung().map_err(|error| LaneError::Open(error.into()))?;
    Ok(())
}

fn stop(journal: &mut Journal, engine: &mut Engine, strategy: StrategyIx, why: &str, now: Ts) -> Result<(), LaneError> {
    let setup = engine.config().strategy(strategy);
    let name = setup.map_or_else(|| strategy.0.to_string(), |setup| setup.name.to_string());
    let account = setup.map(|setup| setup.account);
    let text = format!("strategy {name} {why}; it is stopped until a person starts it");
    tracing::error!(code = "step_hung", strategy = strategy.0, "{text}");
    let (seq, at) = (Seq(journal.last_seq().0.max(engine.seq().0) + 1), now.max(engine.now()));
    // First: a replay must know that the input was not stepped either.
    let mark = Quarantine { station: Station::Runner(strategy), seq };
    journal.quarantine(mark.seq, mark.station, at)?;
    let admitted = Admitted { seq, at, input: Input::GiveUp(strategy) };
    let alert = Alert { code: AlertCode::StrategyStopped, account, symbol: None, order: None, text: Arc::from(text) };
    let state = RunnerState::Stopped(StopReason::Faults);
    let decisions = vec![Decision::Alert(alert), Decision::Runner { strategy, state }];
    journal.append_input(&admitted, Priority::Emergency)?;
    journal.append_decisions(seq, at, &decisions, Priority::Emergency)?;
    journal.sync_now()?;
    engine.fold(Record::Input(admitted), &[mark], true)?;
    engine.fold(Record::Decisions(seq, at, decisions), &[mark], true)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::runtime::lane::Lane;
    use crate::runtime::latch::HaltLatch;
    use crate::runtime::testkit::*;
    use qcat_core::engine::fold::Quarantine;
    use qcat_core::event::{Input, OperatorCommand, RunnerState, Station, StopReason};
    use qcat_core::id::StrategyIx;
    use qcat_core::time::Ts;
    use qcat_io::disk::{Disk, Fault, SimDisk};
    use qcat_io::journal::marks::{RETIRED, read_hung, write_hung};
    use qcat_io::journal::{Durability, Entry, Reader};
    use std::sync::Arc;

    const HUNG: StrategyIx = StrategyIx(1);

    fn open(
        disk: &SimDisk,
        world: &World,
    ) -> Result<crate::runtime::lane::Recovering, crate::runtime::lane::LaneError> {
        let latch = Arc::new(HaltLatch::default());
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Lane::open(options(Durability::Group), registry(), disk, world.clock.clone(), latch)
    }

    fn state(engine: &qcat_core::engine::Engine, strategy: StrategyIx) -> RunnerState {
        engine.runner(strategy).unwrap().state()
    }

    #[test]
    fn the_strategy_stays_stopped_wherever_the_start_breaks_off() {
        let world = World::running(&["steady", "steady"], Durability::Group, None);
        (0..6).for_each(|_| (world.quote(), world.settle()).1);
        world.lane.sync().unwrap();
        let seq = world.lane.read(|engine| engine.seq());
        let dir = options(Durability::Group).dir;
        let mark = Quarantine { station: Station::Runner(HUNG), seq };
        let dead = world.disk.after_kill();
        write_hung(&dead, &dir, mark, Ts::ZERO).unwrap();
        let (mut broken_off, mut whole) = (0, 0);
        for call in 1.. {
            let disk = dead.after_kill();
            disk.plan(Fault::CrashAt(call));
            let first = open(&disk, &world).is_ok();
            whole += u32::from(first);
            broken_off += u32::from(!first);
            let disk = disk.reboot(call);
            let recovered = open(&disk, &world).unwrap();
            assert_eq!(state(recovered.engine(), HUNG), RunnerState::Stopped(StopReason::Faults), "crash at {call}");
            assert!(recovered.report().quarantined.contains(&mark), "crash at {call}");
            assert!(read_hung(&disk, &dir).unwrap().is_none() && disk.open_read(&dir.join(RETIRED)).is_ok());
            if whole == 3 {
                break;
            }
        }
        assert!(broken_off > 5, "{broken_off}");
    }

    #[test]
    fn it_is_journaled_with_an_alert_and_a_person_starts_it_again() {
        let world = World::running(&["steady", "steady"], Durability::Group, None);
        (0..6).for_each(|_| (world.quote(), world.settle()).1);
        let seq = world.lane.read(|engine| engine.seq());
        let disk = world.disk.after_kill();
        let dir = options(Durability::Group).dir;
        write_hung(&disk, &dir, Quarantine { station: Station::Runner(HUNG), seq }, Ts::ZERO).unwrap();
        let recovered = open(&disk, &world).unwrap();
        let (lane, _) = recovered.begin(universe().definitions(), config(&["steady", "steady"]), None).unwrap();
        let states = || lane.read(|engine| (state(engine, HUNG), state(engine, StrategyIx(2))));
        assert_eq!(states().0, RunnerState::Stopped(StopReason::Faults));
        assert!(!matches!(states().1, RunnerState::Stopped(_)));
        lane.offer(Input::Command(OperatorCommand::StartStrategy(HUNG)));
        while lane.turn() {}
        assert!(!matches!(states().0, RunnerState::Stopped(_)), "{:?}", states().0);
        lane.sync().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let told = Reader::open(disk, &dir).unwrap().map(Result::unwrap).filter(|entry| {
            let text = format!("{entry:?}");
            matches!(entry, Entry::Decisions { .. }) && text.contains(&format!("hung at input {}", seq.0))
        });
        assert_eq!(told.count(), 1);
    }
}
