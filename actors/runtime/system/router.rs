//! What the lane tells goes to the components that it concerns; what operators must see goes to the log.

use super::{ControlLost, SystemActor};
use crate::market_data_streams::{MarketDataStreams, Resync};
use crate::order_managers::{OrderManagers, OrderWord};
use crate::position_managers::PositionManagers;
use crate::risk_engine::RiskEngine;
use crate::runtime::lane::{LaneEvent, LaneOwner, Step, Tap};
use crate::runtime::supervise::{Cause, Line};
use crate::strategy_runners::StrategyRunners;
use actix::prelude::*;
use qcat_core::engine::Fault;
use qcat_core::event::{Decision, Station};
use qcat_core::id::SymbolIx;

/// Passes on what the lane tells.
pub(super) struct Router {
    pub(super) system: Addr<SystemActor>,
    pub(super) strategies: Line<StrategyRunners>,
    pub(super) markets: Line<MarketDataStreams>,
    pub(super) orders: Line<OrderManagers>,
    pub(super) positions: Line<PositionManagers>,
    pub(super) risk: Line<RiskEngine>,
}

impl Router {
    fn fault(&self, fault: Fault) {
        tracing::error!(code = "node_faulted", station = ?fault.station, seq = fault.seq.0, kind = ?fault.kind, "a node faulted");
        let cause = Cause::Node(fault);
        match fault.station {
            Station::Runner(strategy) => self.strategies.ended(strategy.ix().saturating_sub(1), cause),
            _ if !fault.is_deciding() => {}
            Station::Gate(account) | Station::Desk(account) | Station::Reconciler(account) => {
                self.orders.ended(account.ix(), cause);
            }
            Station::Ledger(account) => self.positions.ended(account.ix(), cause),
            Station::Risk | Station::Markets => self.risk.ended(0, cause),
        }
    }

    #[allow(clippy::disallowed_methods)] // Comes once, and must arrive.
    fn lost(&self, reason: String) {
        self.system.do_send(ControlLost(reason));
    }
}

impl LaneOwner for Router {
    fn told(&self, event: LaneEvent) {
        match event {
            LaneEvent::Faulted(fault) => self.fault(fault),
            LaneEvent::DiskFull => {
                tracing::error!(
                    code = "disk_full",
                    "the disk is full: no new risk; free space; then `qcat run --resume` trades on"
                )
            }
            LaneEvent::DiskFree => {
                tracing::warn!(code = "disk_free", "the disk has room again; halted until `qcat run --resume`")
            }
            LaneEvent::ClockSet(by) => {
                let (by, way) = (by.millis(), if by.nanos() < 0 { "back" } else { "forward" });
                tracing::error!(
                    code = "clock_set",
                    by_ms = by,
                    "the machine's clock was set {way}; timers go on without it until a restart"
                );
            }
            LaneEvent::SnapshotFailed(error) => {
                tracing::error!(code = "snapshot_failed", %error, "no snapshot was written")
            }
            LaneEvent::GivenUp => {
                tracing::error!(
                    code = "engine_broken",
                    "the engine stays broken: entries are cancelled, a person has to restart the daemon"
                );
                self.orders.tell(OrderWord::CancelEntries);
            }
            LaneEvent::JournalFailed(error) => self.lost(format!("the journal failed: {error}")),
            LaneEvent::Ended(error) => self.lost(error),
        }
    }

    fn resync(&self, symbol: SymbolIx) {
        self.markets.tell(Resync(symbol));
    }
}

/// Logs what operators must see of decisions.
pub(super) struct LogTap;

impl Tap for LogTap {
    fn after_step(&mut self, step: &Step<'_>) {
        for decision in step.decisions {
            match decision {
                Decision::Alert(alert) => {
                    let (account, symbol, order) = (alert.account, alert.symbol, alert.order);
                    tracing::error!(
                        code = alert.code.as_str(),
                        ?account,
                        ?symbol,
                        ?order,
                        seq = step.seq.0,
                        "{}",
                        alert.text
                    );
                }
                Decision::Runner { strategy, state } => tracing::info!(strategy = strategy.0, ?state, "strategy"),
                Decision::Halted { scope, reason } => tracing::warn!(code = "halt_in_force", ?scope, ?reason, "halted"),
                Decision::Resumed { scope } => tracing::info!(?scope, "resumed"),
                Decision::Command(_) | Decision::Refused(_) => {}
            }
        }
    }
}
