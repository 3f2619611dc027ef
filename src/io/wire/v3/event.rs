//! Inputs, version 3.

use crate::wire::frozen::{Frozen, Invalid, View, frozen};
use crate::wire::v1::command::{QueryAnswer, Report, RequestOutcome};
use crate::wire::v1::event::{HaltReason, Scope, Station, StreamState, TimerId};
use crate::wire::v1::market::{History, MarketInput};
use crate::wire::v1::order::Intent;
use crate::wire::v1::setup::{Definition, ParamValue};
use crate::wire::v2::setup::EngineConfig;
use serde::ser::{SerializeStruct, SerializeTupleVariant};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

frozen! {
    enum Input for event::Input {
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
        Asked(asked: Asked),
    }

    struct Asked for event::Asked { by: Origin, key: Option<IdempotencyKey>, command: OperatorCommand }

    struct Origin for event::Origin { user: String, role: String, remote: String, request: String }

    struct IdempotencyKey for event::IdempotencyKey { key: String, fingerprint: u64 }

    enum OperatorCommand for event::OperatorCommand {
        Intent(intent: Intent),
        StartStrategy(strategy: u16),
        StopStrategy(strategy: u16),
        Resume(scope: Scope),
        Reconcile(account: u16),
        Halt(scope: Scope),
        CancelAll { account: u16, symbol: Option<u16> },
        SetParams { strategy: u16, params: BTreeMap<String, ParamValue> },
        Note { what: String, target: String },
    }
}
