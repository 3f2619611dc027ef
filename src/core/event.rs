//! Everything that travels inside the engine: the inputs that are admitted, the events that nodes tell each other, and the
//! decisions that leave it. `engine::flow::route` says who receives what.

use crate::command::{QueryAnswer, Report, RequestOutcome, VenueCommand};
use crate::config::{EngineConfig, ParamValue};
use crate::id::{AccountIx, ClientOrderId, Seq, StrategyIx, SymbolIx};
use crate::instrument::Definition;
use crate::market::{Candle, MarketInput};
use crate::num::{Money, NetQuantity};
use crate::order::{Fill, Intent, OrderUpdate};
use crate::risk::gate::{Approved, Refusal};
use crate::time::Ts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An input with its number and time: what the journal holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    /// Counted from 1.
    pub seq: Seq,
    /// When it was admitted; never decreases.
    pub at: Ts,
    /// The input.
    pub input: Input,
}

/// The whole list of inputs. A node reads nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The market moved.
    Market(MarketInput),
    /// Past candles to warm up with, oldest first.
    History(History),
    /// The user stream spoke.
    Report(Report),
    /// A query was answered.
    Answer(QueryAnswer),
    /// A command went well, badly or nowhere.
    Outcome(RequestOutcome),
    /// A stream came up, fell silent, broke, or overflowed.
    Stream(StreamState),
    /// A strategy's step took longer than its budget.
    SlowStep { strategy: StrategyIx, nanos: i64 },
    /// Stop adding risk.
    Halt { scope: Scope, reason: HaltReason },
    /// Build a faulted station anew.
    Rebuild(Station),
    /// A faulted strategy is past its restart budget: it stops.
    GiveUp(StrategyIx),
    /// An armed timer is due.
    Timer(TimerId),
    /// A person or a program wants something.
    Command(OperatorCommand),
    /// The configuration, at the start or changed.
    Configuration(Box<EngineConfig>),
    /// An asset or instrument.
    Definition(Definition),
    /// The engine starts, or comes back: a new epoch of client order ids. Nothing is trusted until reconciled.
    Start { epoch: u32 },
    /// A command of somebody who is named. Nodes are told what it comes to: see `engine::asked`.
    Asked(Box<Asked>),
}

/// A command, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who.
    pub by: Origin,
    /// With it, a repeat of the same does nothing.
    pub key: Option<IdempotencyKey>,
    /// What.
    pub command: OperatorCommand,
}

/// Who asked for something, for the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The user's name.
    pub user: Arc<str>,
    /// The role in which he asked.
    pub role: Arc<str>,
    /// The address that he asked from.
    pub remote: Arc<str>,
    /// The number of his request, as the access log has it.
    pub request: Arc<str>,
}

/// What a client names his request by, so that repeating it is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The client's word, unique for the user.
    pub key: Arc<str>,
    /// A hash of what was asked: the same word for something else is a mistake of the client.
    pub fingerprint: u64,
}

/// Past candles of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The symbol.
    pub symbol: SymbolIx,
    /// Closed candles of one interval, oldest first.
    pub candles: Vec<Candle>,
}

/// The state of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamState {
    /// Market data of a symbol flows.
    MarketUp(SymbolIx),
    /// Market data of a symbol cannot be trusted.
    MarketDown(SymbolIx, StreamFault),
    /// The account's user stream flows: reconcile.
    UserUp(AccountIx),
    /// The account's user stream is down: reports may be missing.
    UserDown(AccountIx, StreamFault),
}

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamFault {
    /// The connection is lost.
    LinkLost,
    /// Silent for longer than its period allows.
    Silent,
    /// Events were lost.
    Gap,
    /// Our own queue was full.
    Overflow,
    /// The recording or the venue ended.
    Ended,
}

/// How far a halt reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Everything.
    All,
    /// One account.
    Account(AccountIx),
    /// One symbol of all accounts.
    Symbol(SymbolIx),
    /// One strategy.
    Strategy(StrategyIx),
}

/// Why something is halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HaltReason {
    /// A person's kill switch.
    KillSwitch,
    /// The daily loss limit.
    DailyLoss,
    /// A node of the account faulted.
    Fault,
    /// An order did something impossible.
    ImpossibleReport,
    /// Account settings differ from the configuration.
    Settings,
    /// Held exposure and booked exposure disagree.
    ExposureMismatch,
    /// The daemon stops.
    Stopping,
    /// The instrument is not tradable or its definition cannot be followed.
    Instrument,
    /// The trading thread hung or control was lost otherwise: the exchange closed a position by force, too.
    ControlLost,
    /// The runaway guard.
    Runaway,
}

/// A node of the engine, by role and index: where events go and what can fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Station {
    /// Books, quotes and marks of all symbols.
    Markets,
    /// A strategy's runner.
    Runner(StrategyIx),
    /// An account's gate.
    Gate(AccountIx),
    /// An account's order desk.
    Desk(AccountIx),
    /// An account's ledger.
    Ledger(AccountIx),
    /// An account's reconciliation.
    Reconciler(AccountIx),
    /// The risk node.
    Risk,
}

/// A timer: who armed it and which of his it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimerId {
    /// Who armed it.
    pub station: Station,
    /// Which of his timers.
    pub key: u64,
}

/// What a person or a program may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperatorCommand {
    /// An intent for an account's reserved strategy. Ids of placed orders are given out by the edge in `EXTERNAL`'s name.
    Intent(Intent),
    /// Run a strategy (again).
    StartStrategy(StrategyIx),
    /// Stop a strategy; orders and position by its `on_stop`.
    StopStrategy(StrategyIx),
    /// Lift a halt; the same scope as it was given with.
    Resume(Scope),
    /// Compare an account with the venue now.
    Reconcile(AccountIx),
    /// The kill switch: nothing that adds risk, entries are cancelled. Stays over restarts, until it is resumed.
    Halt(Scope),
    /// Cancel every order of an account that we know of, ordinary and conditional, protective or not, in one symbol or in all.
    CancelAll { account: AccountIx, symbol: Option<SymbolIx> },
    /// Give a strategy other parameters: it starts fresh with them. They stay over restarts until the configuration's own change.
    SetParams { strategy: StrategyIx, params: BTreeMap<Arc<str>, ParamValue> },
    /// Something that is done outside of the engine, for the record: what, and to whom.
    Note { what: Arc<str>, target: Arc<str> },
}

/// What one node tells others, and what it wants from outside.
#[derive(Debug)]
pub enum Event {
    /// An admitted input, on its way to the nodes that read it.
    Input(Input),
    /// A strategy or a person wants something; to the gate.
    Intent(Intent),
    /// The gate passed it; to the desk. Only the gate can build the token.
    Approved(Approved),
    /// The gate or the desk refused it; to the runner.
    Refused(Refused),
    /// An order changed; to runner, gate, reconciliation.
    Order(OrderUpdate),
    /// An order's view once more, unchanged: for those who already took a change for granted that does not happen.
    OrderAgain(OrderUpdate),
    /// A fill was booked for the first time; to ledger, gate, runner.
    Fill(Fill),
    /// A strategy's virtual position changed; to runner and gate.
    Position(VirtualPosition),
    /// An account's equity; to risk and gate.
    Equity(Equity),
    /// A grant of risk; to the gate.
    Budget(Budget),
    /// New risk is refused from here on, entries are cancelled; to gate, desk, runners.
    Halted { scope: Scope, reason: HaltReason },
    /// A halt is lifted; to gate, runners.
    Resumed { scope: Scope },
    /// The account was compared with the venue and repaired; to the gate, desk, ledger, runners.
    Reconciled(AccountIx),
    /// The account must be compared with the venue before it is trusted again; to gate and reconciliation.
    Untrusted(AccountIx),
    /// A reconciliation found something; to the desk or ledger, which repair it.
    Finding(crate::order::reconcile::Finding),
    /// A strategy changed its state; to the outside.
    Runner { strategy: StrategyIx, state: RunnerState },
    /// A command to the venue; to the outside.
    Command(VenueCommand),
    /// Wake me then; to the engine's timers. A timer that is armed again moves.
    Arm { timer: TimerId, at: Ts },
    /// Never mind; to the engine's timers.
    Disarm(TimerId),
    /// A person should look; to the outside.
    Alert(Alert),
}

/// A refused intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What was wanted.
    pub intent: Intent,
    /// Why not.
    pub reason: Refusal,
}

/// A strategy's own position in one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualPosition {
    /// The account.
    pub account: AccountIx,
    /// The strategy.
    pub strategy: StrategyIx,
    /// The symbol.
    pub symbol: SymbolIx,
    /// Its signed quantity.
    pub quantity: NetQuantity,
    /// Exact sum of its cost in the quote asset; divided by the quantity it is the average entry price.
    pub cost: Money,
    /// The whole account's signed quantity in the symbol.
    pub account_quantity: NetQuantity,
}

/// What an account is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equity {
    /// The account.
    pub account: AccountIx,
    /// Wallet balance in the margin asset.
    pub wallet: Money,
    /// Unrealised profit at mark prices.
    pub unrealized: Money,
    /// Profit since 00:00 UTC: realised, fees (of other assets too, as valued when they were paid), funding and change of
    /// unrealised; transfers excluded.
    pub day_profit: Money,
    /// Sum of the notional values of the positions at mark prices.
    pub exposure: Money,
}

/// A grant of risk by the risk node: no grant, no new risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// The account.
    pub account: AccountIx,
    /// Increases with each grant; an older one never replaces a newer.
    pub version: u64,
    /// Good until then.
    pub expires: Ts,
    /// Exposure up to which orders may add risk.
    pub exposure_max: Money,
    /// Whether orders may add risk at all.
    pub new_risk: bool,
}

/// Where a strategy's runner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunnerState {
    /// Waits for history.
    WarmingUp,
    /// Decides.
    Running,
    /// Holds still until the cause is gone.
    Paused(PauseReason),
    /// Panicked; waits to be rebuilt.
    Faulted,
    /// Stopped, by a person or for good.
    Stopped(StopReason),
}

/// Why a strategy holds still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PauseReason {
    /// Its market data cannot be trusted.
    Stream(StreamFault),
    /// Its step took too long.
    SlowStep,
    /// Halted.
    Halt(HaltReason),
    /// Its account is not reconciled.
    Untrusted,
}

/// Why a strategy stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// A person, or it is not enabled.
    Asked,
    /// Its restart budget is used up.
    Faults,
    /// Its parameters or kind are not valid.
    Invalid,
    /// The daemon stopped: it runs again with the next start.
    Stopping,
}

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// A stable code.
    pub code: AlertCode,
    /// The account, if it concerns one.
    pub account: Option<AccountIx>,
    /// The symbol, if it concerns one.
    pub symbol: Option<SymbolIx>,
    /// The order, if it concerns one.
    pub order: Option<ClientOrderId>,
    /// One sentence with the facts.
    pub text: Arc<str>,
}

/// The stable codes of alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertCode {
    /// A report that the order machine holds for impossible.
    ImpossibleReport,
    /// An order that is not ours was found or filled.
    ForeignOrder,
    /// Liquidation, auto-deleveraging or settlement.
    ForcedClose,
    /// A fill was found that no report had told of.
    MissedFill,
    /// A position differs from the venue's and was repaired.
    PositionRepaired,
    /// A balance differs from the venue's and was repaired.
    BalanceRepaired,
    /// An order that should be open is not, or the reverse.
    OrderRepaired,
    /// A conditional order stays in TRIGGERING.
    StuckTrigger,
    /// A conditional order was refused at its trigger, or what closes the position in its place was: the position may be
    /// unprotected.
    TriggerRejected,
    /// The account's settings differ from the configuration.
    SettingsDiffer,
    /// A node panicked.
    NodeFault,
    /// A strategy stopped for good.
    StrategyStopped,
    /// Halted.
    Halted,
    /// Daily loss limit reached.
    DailyLoss,
    /// The venue warns that margin is short.
    MarginCall,
    /// Held and booked exposure disagree.
    ExposureMismatch,
    /// A node emitted more than its bound and the rest was dropped.
    Overrun,
    /// A runaway strategy was stopped from sending.
    Runaway,
    /// The ledger could not book or value something: the account is not trusted until it is reconciled.
    BookingFailed,
    /// The venue changed a balance for a reason other than trades, funding and transfers.
    BalanceAdjusted,
}

/// What the engine decided from one input: journaled, and folded on recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// A command to the venue.
    Command(VenueCommand),
    /// An intent was refused.
    Refused(Refused),
    /// New risk is refused from here on.
    Halted { scope: Scope, reason: HaltReason },
    /// A halt was lifted.
    Resumed { scope: Scope },
    /// A strategy changed its state.
    Runner { strategy: StrategyIx, state: RunnerState },
    /// A person should look.
    Alert(Alert),
}

impl Station {
    /// The account of a station that belongs to one.
    pub fn account(self) -> Option<AccountIx> {
        match self {
            Station::Gate(account)
            | Station::Desk(account)
            | Station::Ledger(account)
            | Station::Reconciler(account) => Some(account),
            Station::Markets | Station::Runner(_) | Station::Risk => None,
        }
    }
}

impl AlertCode {
    /// As programs know it: in logs, metrics and the API. Never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertCode::ImpossibleReport => "impossible_report",
            AlertCode::ForeignOrder => "foreign_order",
            AlertCode::ForcedClose => "forced_close",
            AlertCode::MissedFill => "missed_fill",
            AlertCode::PositionRepaired => "position_repaired",
            AlertCode::BalanceRepaired => "balance_repaired",
            AlertCode::OrderRepaired => "order_repaired",
            AlertCode::StuckTrigger => "stuck_trigger",
            AlertCode::TriggerRejected => "trigger_rejected",
            AlertCode::SettingsDiffer => "settings_differ",
            AlertCode::NodeFault => "node_fault",
            AlertCode::StrategyStopped => "strategy_stopped",
            AlertCode::Halted => "halted",
            AlertCode::DailyLoss => "daily_loss",
            AlertCode::MarginCall => "margin_call",
            AlertCode::ExposureMismatch => "exposure_mismatch",
            AlertCode::Overrun => "overrun",
            AlertCode::Runaway => "runaway",
            AlertCode::BookingFailed => "booking_failed",
            AlertCode::BalanceAdjusted => "balance_adjusted",
        }
    }
}
