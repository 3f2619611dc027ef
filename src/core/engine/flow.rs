//! The one wiring table: who receives what. It depends on an event's variant and the indices in it, on nothing else.

use crate::command::Report;
use crate::config::EngineConfig;
use crate::event::{Event, Input, OperatorCommand, Scope, Station, StreamState};
use crate::id::{AccountIx, StrategyIx, SymbolIx};
use crate::market::MarketEvent;
use crate::order::Intent;
use crate::order::reconcile::Finding;
use crate::strategy::COUNTER_END;

/// What routing needs to know of the configuration.
#[derive(Debug, Default)]
pub struct Wiring {
    accounts: u16,
    strategies: u16,
    /// Strategies by symbol.
    by_symbol: Vec<Vec<StrategyIx>>,
    /// Strategies by account.
    by_account: Vec<Vec<StrategyIx>>,
}

impl Wiring {
    /// The wiring of a configuration.
    pub fn new(config: &EngineConfig) -> Wiring {
        let mut wiring = Wiring {
            accounts: config.accounts.len() as u16,
            strategies: config.strategies.len() as u16,
            by_symbol: Vec::new(),
            by_account: vec![Vec::new(); config.accounts.len()],
        };
        for (ix, strategy) in config.strategies() {
            for symbol in &strategy.symbols {
                if wiring.by_symbol.len() <= symbol.ix() {
                    wiring.by_symbol.resize(symbol.ix() + 1, Vec::new());
                }
                if !wiring.by_symbol[symbol.ix()].contains(&ix) {
                    wiring.by_symbol[symbol.ix()].push(ix);
                }
            }
            if let Some(strategies) = wiring.by_account.get_mut(strategy.account.ix()) {
                strategies.push(ix);
            }
        }
        wiring
    }

    fn accounts(&self) -> impl Iterator<Item = AccountIx> + use<> {
        (0..self.accounts).map(AccountIx)
    }

    fn strategies(&self) -> impl Iterator<Item = StrategyIx> + use<> {
        (1..=self.strategies).map(StrategyIx)
    }

    #[inline]
    fn on_symbol(&self, symbol: SymbolIx) -> &[StrategyIx] {
        self.by_symbol.get(symbol.ix()).map_or(&[], |s| s)
    }

    fn on_account(&self, account: AccountIx) -> &[StrategyIx] {
        self.by_account.get(account.ix()).map_or(&[], |s| s)
    }
}

/// Appends the stations that receive `event`, in the order in which they receive it. Nothing is appended for an event that
/// only concerns the outside or the engine itself.
#[inline]
pub fn route(event: &Event, wiring: &Wiring, to: &mut Vec<Station>) {
    let runner = |to: &mut Vec<Station>, strategy: StrategyIx| {
        if strategy != StrategyIx::EXTERNAL {
            to.push(Station::Runner(strategy));
        }
    };
    match event {
        Event::Input(input) => route_input(input, wiring, to),
        Event::Intent(intent) => to.push(Station::Gate(intent.account())),
        Event::Approved(approved) => to.push(Station::Desk(approved.account())),
        Event::Refused(refused) => {
            // The desk asks for orders too: in a strategy's name, with counters of its own.
            if let Intent::Place(order) = &refused.intent
                && order.id.counter >= COUNTER_END
            {
                to.push(Station::Desk(order.id.account));
            }
            runner(to, refused.intent.strategy());
        }
        Event::Order(update) | Event::OrderAgain(update) => {
            to.push(Station::Gate(update.account));
            runner(to, update.strategy);
        }
        Event::Fill(fill) => {
            let account = fill.account;
            to.extend([Station::Ledger(account), Station::Gate(account), Station::Reconciler(account)]);
            runner(to, fill.strategy);
        }
        Event::Position(position) => {
            to.extend([Station::Gate(position.account), Station::Desk(position.account)]);
            runner(to, position.strategy);
        }
        Event::Equity(equity) => to.extend([Station::Risk, Station::Gate(equity.account)]),
        Event::Budget(budget) => to.push(Station::Gate(budget.account)),
        Event::Halted { scope, .. } => {
            // Not only the risk node halts, but it keeps what is in force.
            to.push(Station::Risk);
            to.extend(wiring.accounts().map(Station::Gate));
            to.extend(wiring.accounts().map(Station::Desk));
            route_scope(*scope, wiring, to);
        }
        Event::Resumed { scope } => {
            to.extend(wiring.accounts().map(Station::Gate));
            route_scope(*scope, wiring, to);
        }
        Event::Reconciled(account) => {
            to.extend([Station::Desk(*account), Station::Ledger(*account), Station::Gate(*account), Station::Risk]);
            to.extend(wiring.on_account(*account).iter().map(|s| Station::Runner(*s)));
        }
        Event::Untrusted(account) => {
            let account = *account;
            to.extend([Station::Gate(account), Station::Desk(account), Station::Ledger(account), Station::Risk]);
            to.push(Station::Reconciler(account));
            to.extend(wiring.on_account(account).iter().map(|s| Station::Runner(*s)));
        }
        Event::Finding(finding) => to.push(match finding {
            Finding::OpenOrders { account, .. }
            | Finding::OpenConditionals { account, .. }
            | Finding::Listed { account, .. }
            | Finding::Trades { account, .. } => Station::Desk(*account),
            Finding::Holdings { account, .. } => Station::Ledger(*account),
            Finding::Compared { account, .. } => Station::Reconciler(*account),
        }),
        Event::Runner { .. } | Event::Command(_) | Event::Arm { .. } | Event::Disarm(_) | Event::Alert(_) => {}
    }
}

/// Runners that a halt or its end concerns; each filters once more by its own symbols.
fn route_scope(scope: Scope, wiring: &Wiring, to: &mut Vec<Station>) {
    match scope {
        Scope::All => to.extend(wiring.strategies().map(Station::Runner)),
        Scope::Account(account) => to.extend(wiring.on_account(account).iter().map(|s| Station::Runner(*s))),
        Scope::Symbol(symbol) => to.extend(wiring.on_symbol(symbol).iter().map(|s| Station::Runner(*s))),
        Scope::Strategy(strategy) => to.extend((strategy != StrategyIx::EXTERNAL).then_some(Station::Runner(strategy))),
    }
}

fn route_input(input: &Input, wiring: &Wiring, to: &mut Vec<Station>) {
    match input {
        Input::Market(market) => {
            if let MarketEvent::Mark(_) = market.event {
                to.extend(wiring.accounts().map(Station::Ledger));
            }
            to.extend(wiring.on_symbol(market.symbol).iter().map(|s| Station::Runner(*s)));
        }
        Input::History(history) => to.extend(wiring.on_symbol(history.symbol).iter().map(|s| Station::Runner(*s))),
        Input::Report(report) => to.push(match report {
            Report::Order(order) => Station::Desk(order.account),
            Report::Conditional(order) => Station::Desk(order.account),
            Report::Account(account) => Station::Ledger(account.account),
            Report::Leverage { account, .. } | Report::MultiAssets { account, .. } => Station::Reconciler(*account),
            Report::MarginCall { .. } => Station::Risk,
        }),
        Input::Answer(answer) => to.extend([Station::Desk(answer.account), Station::Reconciler(answer.account)]),
        Input::Outcome(outcome) => to.extend([Station::Desk(outcome.account), Station::Reconciler(outcome.account)]),
        Input::Stream(StreamState::MarketUp(symbol) | StreamState::MarketDown(symbol, _)) => {
            to.extend(wiring.on_symbol(*symbol).iter().map(|s| Station::Runner(*s)));
        }
        Input::Stream(StreamState::UserUp(account) | StreamState::UserDown(account, _)) => {
            to.extend([Station::Gate(*account), Station::Reconciler(*account)]);
        }
        Input::SlowStep { strategy, .. } | Input::GiveUp(strategy) => to.push(Station::Runner(*strategy)),
        Input::Rebuild(station @ Station::Runner(_)) => to.push(*station),
        Input::Halt { .. } => to.push(Station::Risk),
        // Deciding nodes were rebuilt by a fold before this input; the engine puts `Event::Untrusted` before it.
        Input::Rebuild(_) => to.push(Station::Risk),
        Input::Timer(timer) => to.push(timer.station),
        Input::Command(command) => match command {
            // The engine turns it into `Event::Intent`.
            OperatorCommand::Intent(_) => {}
            OperatorCommand::StartStrategy(strategy) | OperatorCommand::StopStrategy(strategy) => {
                to.push(Station::Runner(*strategy));
            }
            OperatorCommand::Resume(_) => to.push(Station::Risk),
            OperatorCommand::Reconcile(account) => to.push(Station::Reconciler(*account)),
            OperatorCommand::CancelAll { account, .. } => to.push(Station::Desk(*account)),
            // The engine turns them into other inputs, or they are not its business.
            OperatorCommand::Halt(_) | OperatorCommand::SetParams { .. } | OperatorCommand::Note { .. } => {}
        },
        // The engine turns it into the command.
        Input::Asked(_) => {}
        Input::Definition(_) => {
            to.extend(wiring.accounts().map(Station::Gate));
            to.push(Station::Risk);
        }
        Input::Configuration(_) | Input::Start { .. } => {
            for account in wiring.accounts() {
                to.extend([Station::Desk(account), Station::Ledger(account), Station::Gate(account)]);
            }
            to.push(Station::Risk);
            to.extend(wiring.accounts().map(Station::Reconciler));
            to.extend(wiring.strategies().map(Station::Runner));
        }
    }
}
