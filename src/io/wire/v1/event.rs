//! Inputs and decisions, version 1.

use super::command::{QueryAnswer, Report, RequestOutcome, VenueCommand};
use super::market::{History, MarketInput};
use super::order::{ClientOrderId, Intent};
use super::refusal::Refusal;
use super::setup::{Definition, EngineConfig};
use crate::wire::frozen::{Frozen, Invalid, View, frozen};
use serde::ser::{SerializeStruct, SerializeTupleVariant};
use serde::{Deserialize, Serialize, Serializer};

frozen! {
    earlier enum Input for event::Input {
        Market(market: MarketInput),
        History(history: History),
        Report(report: Report),
        Answer(answer: QueryAnswer),
        Outcome(outcome: RequestOutcome),
        Stream(state: StreamState),
        SlowStep { strategy: u16, nanos: i64 },
        Halt { scope: Scope, reason: HaltReason },
        Rebuild(station: Station),
        GiveUp(strategy: u16),
        Timer(id: TimerId),
        Command(command: OperatorCommand),
        Configuration(config: EngineConfig),
        Definition(definition: Definition),
        Start { epoch: u32 },
    }

    enum StreamState for event::StreamState {
        MarketUp(symbol: u16),
        MarketDown(symbol: u16, fault: StreamFault),
        UserUp(account: u16),
        UserDown(account: u16, fault: StreamFault),
    }

    enum StreamFault for event::StreamFault { LinkLost, Silent, Gap, Overflow, Ended }

    enum Scope for event::Scope { All, Account(account: u16), Symbol(symbol: u16), Strategy(strategy: u16) }

    enum HaltReason for event::HaltReason {
        KillSwitch, DailyLoss, Fault, ImpossibleReport, Settings, ExposureMismatch, Stopping, Instrument, ControlLost,
        Runaway,
    }

    enum Station for event::Station {
        Markets, Runner(strategy: u16), Gate(account: u16), Desk(account: u16), Ledger(account: u16),
        Reconciler(account: u16), Risk,
    }

    struct TimerId for event::TimerId { station: Station, key: u64 }

    earlier enum OperatorCommand for event::OperatorCommand {
        Intent(intent: Intent),
        StartStrategy(strategy: u16),
        StopStrategy(strategy: u16),
        Resume(scope: Scope),
        Reconcile(account: u16),
    }

    enum Decision for event::Decision {
        Command(command: VenueCommand),
        Refused(refused: Refused),
        Halted { scope: Scope, reason: HaltReason },
        Resumed { scope: Scope },
        Runner { strategy: u16, state: RunnerState },
        Alert(alert: Alert),
    }

    struct Refused for event::Refused { intent: Intent, reason: Refusal }

    enum RunnerState for event::RunnerState {
        WarmingUp, Running, Paused(reason: PauseReason), Faulted, Stopped(reason: StopReason),
    }

    enum PauseReason for event::PauseReason { Stream(fault: StreamFault), SlowStep, Halt(reason: HaltReason), Untrusted }

    enum StopReason for event::StopReason { Asked, Faults, Invalid, Stopping }

    struct Alert for event::Alert {
        code: AlertCode, account: Option<u16>, symbol: Option<u16>, order: Option<ClientOrderId>, text: String,
    }

    enum AlertCode for event::AlertCode {
        ImpossibleReport, ForeignOrder, ForcedClose, MissedFill, PositionRepaired, BalanceRepaired, OrderRepaired,
        StuckTrigger, TriggerRejected, SettingsDiffer, NodeFault, StrategyStopped, Halted, DailyLoss, MarginCall,
        ExposureMismatch, Overrun, Runaway, BookingFailed, BalanceAdjusted,
    }
}
