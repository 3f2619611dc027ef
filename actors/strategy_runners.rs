//! `strategy_runners`: one part per strategy. Its node runs in the engine; this is who rebuilds it after a fault, by budget, who gives
//! up on it, who fetches the candles that it warms up with, and who stops it with the daemon.

use crate::network_manager::Network;
use crate::runtime::component::Component;
use crate::runtime::history::{fetch_all, wants};
use crate::runtime::lane::{Lane, LaneState, Step, Tap};
use crate::runtime::supervise::{Base, Cause, Line, Part};
use qcat_core::config::OnStop;
use qcat_core::engine::Engine;
use qcat_core::engine::inbox::Offered;
use qcat_core::event::{Decision, HaltReason, Input, OperatorCommand, RunnerState, Scope, Station, StreamState};
use qcat_core::id::{StrategyIx, SymbolIx};
use qcat_core::num::NetQuantity;
use qcat_core::order::{OrderState, OrderUpdate};
use std::collections::BTreeSet;
use tokio::task::JoinHandle;

/// A strategy wants past candles.
#[derive(Debug, Clone, Copy)]
pub struct Warm(pub StrategyIx);

/// The component.
pub struct StrategyRunners {
    names: Vec<String>,
    network: Network,
    fetching: Vec<Option<JoinHandle<()>>>,
}

/// Sees strategies that begin to warm up, after the start or a rebuild, and those whose market was down and is up again: what they
/// did not see is missing in their candles.
struct WarmTap {
    line: Line<StrategyRunners>,
    down: BTreeSet<SymbolIx>,
}

impl Tap for WarmTap {
    fn after_step(&mut self, step: &Step<'_>) {
        match step.stream {
            Some(StreamState::MarketDown(symbol, _)) => {
                self.down.insert(symbol);
            }
            Some(StreamState::MarketUp(symbol)) if self.down.remove(&symbol) => {
                let concerned = step.engine.config().strategies().filter(|(_, setup)| setup.symbols.contains(&symbol));
                concerned.for_each(|(strategy, _)| self.line.tell(Warm(strategy)));
            }
            _ => {}
        }
        for decision in step.decisions {
            if let Decision::Runner { strategy, state: RunnerState::WarmingUp } = decision {
                self.line.tell(Warm(*strategy));
            }
        }
    }
}

impl StrategyRunners {
    /// Of the strategies that the lane's engine is configured with.
    pub fn new(network: Network, lane: &Lane, line: &Line<StrategyRunners>) -> StrategyRunners {
        let names: Vec<String> = lane.read(|e| e.config().strategies.iter().map(|s| s.name.to_string()).collect());
        lane.tap(Box::new(WarmTap { line: line.clone(), down: BTreeSet::new() }));
        let fetching = names.iter().map(|_| None).collect();
        StrategyRunners { names, network, fetching }
    }

    fn warm(&mut self, strategy: StrategyIx, base: &Base<Self>) {
        let Some(slot) = strategy.ix().checked_sub(1).and_then(|at| self.fetching.get_mut(at)) else { return };
        let wanted = base.lane().read(|engine| wants(engine, strategy, base.lane()));
        slot.take().inspect(JoinHandle::abort);
        if !wanted.is_empty() {
            *slot = Some(tokio::task::spawn_local(fetch_all(wanted, self.network.clone(), base.lane().clone())));
        }
    }
}

/// What a stopping strategy still has at the venue that it must not leave there, or of which nobody knows whether it is there.
fn left_of(engine: &Engine) -> Option<String> {
    let (mut entries, mut positions, mut running, mut unknown) = (0, 0, 0, Vec::new());
    for (ix, setup) in engine.config().strategies() {
        let stopped = engine.runner(ix).is_none_or(|runner| matches!(runner.state(), RunnerState::Stopped(_)));
        running += usize::from(!stopped);
        let (Some(desk), Some(ledger)) = (engine.desk(setup.account), engine.ledger(setup.account)) else { continue };
        let own = desk.entries().filter(|e| e.key.ours().is_some_and(|id| id.strategy == ix));
        entries += match setup.on_stop {
            OnStop::Leave => 0,
            OnStop::Cancel => own.filter(|entry| !entry.protective).count(),
            OnStop::Flatten => own.count(),
        };
        let unconfirmed = |o: &OrderUpdate| matches!(o.state, OrderState::InFlight | OrderState::Unknown);
        unknown.extend(desk.orders().filter(|o| o.strategy == ix && unconfirmed(o)).map(|o| o.key.to_string()));
        if setup.on_stop == OnStop::Flatten {
            positions += ledger.virtual_positions(ix).filter(|p| p.quantity != NetQuantity::ZERO).count();
        }
    }
    if running + entries + positions + unknown.len() == 0 {
        return None;
    }
    let mut left = format!("{running} strategies not stopped, {entries} orders open, {positions} positions not closed");
    if !unknown.is_empty() {
        // The next start asks for them again.
        left += &format!(", {} orders of unknown fate: {}", unknown.len(), unknown.join(" "));
    }
    Some(left)
}

impl Part for StrategyRunners {
    const COMPONENT: Component = Component::StrategyRunners;
    type Ground = Lane;
    type Word = Warm;

    fn children(&self) -> Vec<String> {
        self.names.clone()
    }

    fn start(&mut self, child: usize, base: &Base<Self>) {
        self.warm(StrategyIx(child as u16 + 1), base);
    }

    fn restart(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        let strategy = StrategyIx(child as u16 + 1);
        match base.lane().offer(Input::Rebuild(Station::Runner(strategy))) {
            Offered::Full => return Err("the lane is full".to_owned()),
            Offered::Accepted | Offered::Conflated => self.warm(strategy, base),
        }
        Ok(())
    }

    fn give_up(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) {
        self.fetching[child].take().inspect(JoinHandle::abort);
        base.lane().offer(Input::GiveUp(StrategyIx(child as u16 + 1)));
    }

    fn scope(&self, child: usize) -> Scope {
        Scope::Strategy(StrategyIx(child as u16 + 1))
    }

    fn word(&mut self, Warm(strategy): Warm, base: &Base<Self>) {
        self.warm(strategy, base);
    }

    fn begin_stop(&mut self, base: &Base<Self>) {
        self.end(base);
        // The halt first: what is stopped under it runs again with the next start.
        base.lane().offer(Input::Halt { scope: Scope::All, reason: HaltReason::Stopping });
        for strategy in 1..=self.names.len() as u16 {
            base.lane().offer(Input::Command(OperatorCommand::StopStrategy(StrategyIx(strategy))));
        }
    }

    fn left(&self, base: &Base<Self>) -> Option<String> {
        match base.lane().state() {
            LaneState::Running => base.lane().read(left_of),
            state => Some(format!("the engine is {state:?}")),
        }
    }

    fn end(&mut self, _base: &Base<Self>) {
        self.fetching.iter_mut().filter_map(Option::take).for_each(|task| task.abort());
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let fetching = self.fetching.iter().flatten().filter(|task| !task.is_finished()).count();
        vec![("fetching_history", fetching.to_string())]
    }
}

#[cfg(test)]
mod tests;
