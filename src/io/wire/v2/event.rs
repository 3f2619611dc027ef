//! Inputs, version 2.

use super::setup::EngineConfig;
use crate::wire::frozen::{Frozen, Invalid, View, frozen};
use crate::wire::v1::command::{QueryAnswer, Report, RequestOutcome};
use crate::wire::v1::event::{HaltReason, OperatorCommand, Scope, Station, StreamState, TimerId};
use crate::wire::v1::market::{History, MarketInput};
use crate::wire::v1::setup::Definition;
use serde::ser::SerializeTupleVariant;
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
}
