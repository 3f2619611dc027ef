//! The risk node: budgets, the daily loss latch, halts; and the gate's comparison with the ledger.

use super::world::*;
use crate::command::Report;
use crate::event::{
    Alert, AlertCode, Budget, Decision, Event, HaltReason, Input, OperatorCommand, Scope, Station, TimerId,
};
use crate::instrument::{ContractStatus, Definition};
use crate::node::Node;
use crate::num::{Money, Side};
use crate::order::{OrderIntent, Terms};
use crate::risk::gate::Gate;
use crate::risk::watch::Risk;
use crate::time::Span;

const BEAT: Input = Input::Timer(TimerId { station: Station::Risk, key: 0 });

fn budgets(events: &[Event]) -> Vec<Budget> {
    events.iter().filter_map(|e| if let Event::Budget(budget) = e { Some(*budget) } else { None }).collect()
}

fn halts(events: &[Event]) -> Vec<(Scope, HaltReason)> {
    let halted = |e: &Event| if let Event::Halted { scope, reason } = e { Some((*scope, *reason)) } else { None };
    events.iter().filter_map(halted).collect()
}

fn alerts(events: &[Event]) -> Vec<AlertCode> {
    events.iter().filter_map(|e| if let Event::Alert(Alert { code, .. }) = e { Some(*code) } else { None }).collect()
}

struct Watch {
    env: Env,
    risk: Risk,
}

impl Watch {
    fn new() -> Watch {
        Watch { env: Env::new(), risk: Risk::new() }
    }

    fn tell(&mut self, event: Event) -> Vec<Event> {
        self.env.seq += 1;
        self.env.step(&mut self.risk, &event)
    }

    fn input(&mut self, input: Input) -> Vec<Event> {
        self.tell(Event::Input(input))
    }
}

#[test]
fn budgets_follow_limits_and_equity_and_expire() {
    let mut watch = Watch::new();
    let start = watch.input(Input::Start { epoch: 1 });
    assert!(!budgets(&start)[0].new_risk, "nothing is granted on an unknown equity");
    let armed = start.iter().find_map(|e| if let Event::Arm { at, .. } = e { Some(*at) } else { None });
    assert_eq!(armed, Some(watch.env.now.plus(Span::from_secs(1))));
    let granted = budgets(&watch.tell(Event::Equity(equity(10_000, 0))));
    assert_eq!((granted.len(), granted[0].new_risk), (1, true), "granted as soon as equity is known");
    assert_eq!(granted[0].exposure_max, Money::units(USDT, 8_000), "the exposure limit");
    assert_eq!(granted[0].expires, watch.env.now.plus(Span::from_secs(5)));
    assert!(watch.tell(Event::Equity(equity(1_000, 0))).is_empty(), "then with the heartbeat");
    let next = budgets(&watch.input(BEAT))[0];
    assert_eq!(next.exposure_max, Money::units(USDT, 5_000), "five times the equity");
    assert!(next.version > granted[0].version);
    watch.tell(Event::Equity(equity(-10, 0)));
    assert_eq!(budgets(&watch.input(BEAT))[0].exposure_max, Money::zero(USDT));
    // A node that lost its state still grants newer versions.
    let mut fresh = Risk::new();
    let granted = watch.env.step(&mut fresh, &Event::Input(BEAT));
    assert!(budgets(&granted)[0].version >= watch.env.seq);
}

#[test]
fn the_daily_loss_latches_until_a_person_resumes() {
    let account = Scope::Account(ACCOUNT);
    let mut watch = Watch::new();
    watch.input(Input::Start { epoch: 1 });
    assert!(halts(&watch.tell(Event::Equity(equity(10_000, -499)))).is_empty());
    let events = watch.tell(Event::Equity(equity(10_000, -500)));
    assert_eq!(halts(&events), [(account, HaltReason::DailyLoss)]);
    assert_eq!(alerts(&events), [AlertCode::DailyLoss]);
    assert!(!budgets(&events)[0].new_risk);
    assert!(halts(&watch.tell(Event::Equity(equity(10_000, -600)))).is_empty(), "said once");
    // The next day begins without a loss: the latch stays, over a restart too.
    watch.tell(Event::Equity(equity(10_000, 0)));
    assert!(!budgets(&watch.input(BEAT))[0].new_risk);
    let snapshot = watch.risk.snapshot();
    watch.risk = Risk::new();
    watch.risk.restore(&snapshot).expect("its own snapshot");
    assert!(!budgets(&watch.input(Input::Start { epoch: 2 }))[0].new_risk);
    let events = watch.input(Input::Command(OperatorCommand::Resume(account)));
    assert!(matches!(events[0], Event::Resumed { scope } if scope == account));
    assert!(budgets(&events)[0].new_risk);
    // Resumed while the loss stands: halted again with the next heartbeat.
    watch.tell(Event::Equity(equity(10_000, -700)));
    watch.input(Input::Command(OperatorCommand::Resume(account)));
    assert_eq!(halts(&watch.input(BEAT)), [(account, HaltReason::DailyLoss)]);
}

#[test]
fn halts_are_remembered_and_lifted_by_scope() {
    let mut watch = Watch::new();
    watch.tell(Event::Equity(equity(10_000, 0)));
    let all = Input::Halt { scope: Scope::All, reason: HaltReason::KillSwitch };
    let events = watch.input(all.clone());
    assert_eq!((halts(&events).len(), alerts(&events).len()), (1, 1));
    assert!(!budgets(&events)[0].new_risk);
    let again = watch.input(all);
    assert_eq!((halts(&again).len(), alerts(&again).len()), (1, 0), "a second try is passed on, not alerted");
    watch.input(Input::Halt { scope: Scope::Account(ACCOUNT), reason: HaltReason::Fault });
    let events = watch.input(Input::Command(OperatorCommand::Resume(Scope::All)));
    assert!(!budgets(&events)[0].new_risk, "the account is still halted for itself");
    // Recovery folds decisions to the same latches, twice is once.
    let mut folded = Risk::new();
    for _ in 0..2 {
        let decision = Decision::Halted { scope: Scope::Account(ACCOUNT), reason: HaltReason::Fault };
        folded.fold(&decision, &watch.env.context());
    }
    assert_eq!(folded.view().halts, watch.risk.view().halts);
    folded.fold(&Decision::Resumed { scope: Scope::Account(ACCOUNT) }, &watch.env.context());
    assert!(folded.view().halts.is_empty());
}

#[test]
fn a_start_ends_the_stop_before_it() {
    let mut watch = Watch::new();
    watch.input(Input::Halt { scope: Scope::All, reason: HaltReason::Stopping });
    let events = watch.input(Input::Start { epoch: 2 });
    assert!(events.iter().any(|e| matches!(e, Event::Resumed { scope: Scope::All })));
    watch.input(Input::Halt { scope: Scope::All, reason: HaltReason::Stopping });
    watch.input(Input::Halt { scope: Scope::All, reason: HaltReason::KillSwitch });
    let events = watch.input(Input::Start { epoch: 3 });
    assert!(!events.iter().any(|e| matches!(e, Event::Resumed { .. })), "the kill switch stays");
}

#[test]
fn a_contract_that_stops_trading_is_halted() {
    let mut watch = Watch::new();
    let mut define = |status| {
        let mut instrument = watch.env.universe.instrument(OWN).expect("defined").clone();
        instrument.status = status;
        halts(&watch.input(Input::Definition(Definition::Instrument(Box::new(instrument)))))
    };
    assert!(define(ContractStatus::PendingTrading).is_empty(), "it never traded: the gate refuses by its status");
    assert!(define(ContractStatus::Trading).is_empty());
    assert_eq!(define(ContractStatus::Settling), [(Scope::Symbol(OWN), HaltReason::Instrument)]);
    assert!(define(ContractStatus::Close).is_empty(), "said once");
}

#[test]
fn a_margin_call_is_an_alert() {
    let mut watch = Watch::new();
    let exchange_time = watch.env.now;
    let report = Report::MarginCall { account: ACCOUNT, symbol: OWN, exchange_time };
    assert_eq!(alerts(&watch.input(Input::Report(report))), [AlertCode::MarginCall]);
}

/// The pair assertion: a difference of one heartbeat is none, one that stays untrusts the account once.
#[test]
fn a_lasting_difference_to_the_ledger_untrusts_the_account() {
    let beat = Event::Input(Input::Timer(TimerId { station: Station::Gate(ACCOUNT), key: 0 }));
    let mut world = World::new();
    world.position(1, SHARED, 1_000);
    world.tell(&told(1, SHARED, 1_000, 1_000));
    for _ in 0..5 {
        assert!(alerts(&world.tell(&beat)).is_empty());
    }
    world.position(2, SHARED, -400);
    assert!(alerts(&world.tell(&beat)).is_empty());
    world.tell(&told(2, SHARED, -400, 600));
    assert!(alerts(&world.tell(&beat)).is_empty(), "the ledger followed");
    world.tell(&told(2, SHARED, -300, 700));
    assert!(alerts(&world.tell(&beat)).is_empty());
    let events = world.tell(&beat);
    assert_eq!(alerts(&events), [AlertCode::ExposureMismatch]);
    assert!(events.iter().any(|e| matches!(e, Event::Untrusted(ACCOUNT))));
    assert!(!world.gate.is_trusted() && alerts(&world.tell(&beat)).is_empty(), "said once");
    // Reconciliation settles it: the ledger was repaired, the gate follows.
    world.tell(&Event::Reconciled(ACCOUNT));
    assert!(world.gate.is_trusted());
    for _ in 0..3 {
        assert!(alerts(&world.tell(&beat)).is_empty());
    }
    let order = world.order(2, Side::Buy, 304, Terms::Market);
    assert_eq!(world.code(OrderIntent { reduce_only: true, ..order }), "reduce_only_too_large");
}

#[test]
fn a_snapshot_brings_everything_back() {
    let mut world = World::new();
    world.position(3, OWN, 1_000);
    world.tell(&told(3, OWN, 1_000, 1_000));
    world.buy(1, 400);
    world.tell(&Event::Halted { scope: Scope::Symbol(SHARED), reason: HaltReason::KillSwitch });
    let mut restored = Gate::new(ACCOUNT);
    restored.restore(&world.gate.snapshot()).expect("its own snapshot");
    assert_eq!(restored.state, world.gate.state, "sums included, which are computed anew");
    assert_eq!(restored.state_hash(), world.gate.state_hash());
    assert!(restored.restore(&[1, 2, 3]).is_err());
}
