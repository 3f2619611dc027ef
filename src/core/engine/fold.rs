//! Recovery: folds recorded inputs and recorded decisions into a fresh engine. Nothing is decided anew, nothing is sent.
//!
//! Strategies are not stepped: their runners keep position, open orders and ids, the strategies themselves start fresh and
//! warm up, unless their snapshot is still good.
//! What a fold leaves in flight is made *unknown* by the `Input::Start` that follows it.

use super::Engine;
use super::cascade::Nodes;
use crate::event::{Admitted, Decision, Event, Input, Station};
use crate::id::{AccountIx, Seq};
use crate::node::Context;
use crate::strategy::registry::Registry;
use crate::time::{Span, Ts};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// After how long a timer comes again whose node was not stepped with it.
const MISSED_TIMER: Span = Span::from_secs(1);

/// A (node, input) pair that is never stepped again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarantine {
    /// The node.
    pub station: Station,
    /// The input.
    pub seq: Seq,
}

/// One record of the journal, as recovery reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// An admitted input.
    Input(Admitted),
    /// What the engine decided from the input with this number and time, which itself may not be recorded.
    Decisions(Seq, Ts, Vec<Decision>),
}

/// A fold that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A number is missing.
    #[error("input {found:?} follows {last:?}: the journal has a hole")]
    Hole { last: Seq, found: Seq },
    /// A node panicked in the fold and is not quarantined for that input.
    #[error("{station:?} panics at input {seq:?} during recovery")]
    Fault { station: Station, seq: Seq },
}

impl Engine {
    /// A fresh engine with a whole log folded into it.
    pub fn folded(registry: &Arc<Registry>, log: &[Record], quarantine: &[Quarantine]) -> Result<Engine, FoldError> {
        let mut engine = Engine::new(registry.clone());
        log.iter().try_for_each(|record| engine.fold(record.clone(), quarantine, false))?;
        Ok(engine)
    }

    /// Folds one record. `quarantine` lists what is skipped; market inputs may be missing from the journal, so numbers may
    /// have gaps where `gaps_allowed`.
    pub fn fold(&mut self, record: Record, quarantine: &[Quarantine], gaps_allowed: bool) -> Result<(), FoldError> {
        match record {
            Record::Input(admitted) => {
                let next = Seq(self.seq.0 + 1);
                if admitted.seq < next || (admitted.seq > next && !gaps_allowed) {
                    return Err(FoldError::Hole { last: self.seq, found: admitted.seq });
                }
                self.fold_input(admitted, quarantine)
            }
            Record::Decisions(seq, at, decisions) => {
                if seq > self.seq {
                    if !gaps_allowed {
                        return Err(FoldError::Hole { last: self.seq, found: seq });
                    }
                    // Decided from an input that is left out: orders and questions are as old as that, not as the one before.
                    self.skip_to(seq, at);
                    self.happened.clear();
                }
                let skipped = skipped(quarantine, seq);
                decisions.iter().try_for_each(|decision| self.fold_decision(decision, &skipped))
            }
        }
    }

    fn fold_input(&mut self, admitted: Admitted, quarantine: &[Quarantine]) -> Result<(), FoldError> {
        // Command ids that nodes draw in the fold are thrown away with their commands.
        let commands = self.commands.get();
        let skipped = skipped(quarantine, admitted.seq);
        self.decisions.clear();
        self.faults.clear();
        self.happened.clear();
        self.folding = true;
        let missed = match admitted.input {
            Input::Timer(timer) if skipped.contains(&timer.station) => Some(timer),
            _ => None,
        };
        if let Some(first) = self.begin(admitted) {
            self.agenda.push_front((None, first));
        }
        let folded = self.fold_cascade(&skipped);
        if let Some(timer) = missed {
            // Its node believes it armed, or would have armed it again: left out, it would never come again.
            self.timers.arm(timer, self.now.plus(MISSED_TIMER));
        }
        self.folding = false;
        self.decisions.clear();
        self.commands.set(commands);
        folded?;
        match self.faults.iter().find(|fault| fault.is_deciding()) {
            Some(fault) => Err(FoldError::Fault { station: fault.station, seq: fault.seq }),
            None => Ok(()),
        }
    }

    /// The agenda as in life, without strategies and without quarantined nodes.
    fn fold_cascade(&mut self, skipped: &[Station]) -> Result<(), FoldError> {
        let seq = self.seq;
        while let Some((_, event)) = self.agenda.pop_front() {
            let mut stations = std::mem::take(&mut self.stations);
            stations.clear();
            super::flow::route(&event, &self.wiring, &mut stations);
            for station in &stations {
                match station {
                    // A strategy is told nothing; its runner keeps its books.
                    Station::Runner(strategy) => {
                        if let Some(runner) = self.nodes.runner_mut(*strategy) {
                            guarded(*station, seq, skipped, || runner.miss(&event))?;
                        }
                    }
                    _ if skipped.contains(station) => {}
                    _ => {
                        self.dispatch(*station, &event);
                    }
                }
            }
            self.stations = stations;
            // Timers, and what is told to the outside; decisions do not survive a fold.
            if let Event::Arm { .. }
            | Event::Disarm(_)
            | Event::Order(_)
            | Event::Fill(_)
            | Event::Position(_)
            | Event::Equity(_) = event
            {
                self.keep(event);
            }
        }
        Ok(())
    }

    /// Hands a recorded decision to every node. One that is quarantined for the input is handed it too: what it broke at is the
    /// input, and without its decisions it would not know of orders that were sent.
    fn fold_decision(&mut self, decision: &Decision, skipped: &[Station]) -> Result<(), FoldError> {
        if let Decision::Command(command) = decision {
            self.commands.set(self.commands.get().max(command.id.0));
        }
        let seq = self.seq;
        let Engine { nodes, markets, universe, config, commands, outbox, timers, happened, .. } = self;
        let context = Context { now: self.now, seq, epoch: self.epoch, markets, universe, config, commands };
        let Nodes { runners, gates, desks, ledgers, reconcilers, risk } = nodes;
        for (account, desk) in (0..).map(AccountIx).zip(desks) {
            let folded = guarded(Station::Desk(account), seq, skipped, || {
                desk.fold(decision, &context, outbox);
                // Live, its step ends so; a rebuilt desk wakes at the same times.
                desk.rearm(outbox);
            });
            for event in outbox.drain() {
                match event {
                    Event::Arm { timer, at } => timers.arm(timer, at),
                    Event::Disarm(timer) => timers.disarm(timer),
                    // The other nodes learn it from the decision itself.
                    Event::Order(update) => happened.orders.push(update),
                    _ => {}
                }
            }
            folded?;
        }
        for (account, node) in (0..).map(AccountIx).zip(gates) {
            guarded(Station::Gate(account), seq, skipped, || node.fold(decision, &context))?;
        }
        for (account, node) in (0..).map(AccountIx).zip(ledgers) {
            guarded(Station::Ledger(account), seq, skipped, || node.fold(decision, &context))?;
        }
        for (account, node) in (0..).map(AccountIx).zip(reconcilers) {
            guarded(Station::Reconciler(account), seq, skipped, || node.fold(decision, &context))?;
        }
        for node in runners {
            guarded(Station::Runner(node.index()), seq, skipped, || node.fold(decision, &context))?;
        }
        guarded(Station::Risk, seq, skipped, || risk.fold(decision, &context))
    }

    /// After a fold: goes on behind inputs that have numbers and were not journaled.
    pub fn skip_to(&mut self, seq: Seq, at: Ts) {
        self.seq = self.seq.max(seq);
        self.now = self.now.max(at);
    }

    /// Takes the runners of the engine whose deciding nodes broke: strategies live on beside the rebuilt nodes, with the open
    /// orders and positions that the rebuilt nodes have, because the broken cascade may not have reached them.
    pub fn adopt_runners(&mut self, broken: &mut Engine) {
        self.nodes.runners = std::mem::take(&mut broken.nodes.runners);
        let Nodes { runners, desks, ledgers, .. } = &mut self.nodes;
        for runner in runners.iter_mut() {
            let account = runner.setup().account.ix();
            if let (Some(desk), Some(ledger)) = (desks.get(account), ledgers.get(account)) {
                runner.take_books(desk.orders(), ledger.virtual_positions(runner.index()));
            }
        }
        self.observer = broken.observer.take();
        // Runner timers were armed by steps that the fold does not repeat.
        for (at, timer) in broken.timers.armed().filter(|(_, timer)| matches!(timer.station, Station::Runner(_))) {
            self.timers.arm(timer, at);
        }
        self.markets = std::mem::take(&mut broken.markets);
    }
}

/// The stations that are not stepped with an input.
fn skipped(quarantine: &[Quarantine], seq: Seq) -> Vec<Station> {
    quarantine.iter().filter(|q| q.seq == seq).map(|q| q.station).collect()
}

/// Lets a node keep its books. A panic is its fault and ends the fold; it is passed over where the node is quarantined for
/// the input, so that no record can keep the engine from ever starting again.
fn guarded(station: Station, seq: Seq, skipped: &[Station], work: impl FnOnce()) -> Result<(), FoldError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Err(_) if !skipped.contains(&station) => Err(FoldError::Fault { station, seq }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether an input belongs into a journal that leaves out market data.
pub fn is_market_data(input: &Input) -> bool {
    matches!(input, Input::Market(_) | Input::History(_))
}
