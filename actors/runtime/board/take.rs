//! Takes a board from the engine: indices become names, mantissas decimal texts.

use super::{
    AccountRow, BalanceRow, Board, ExposureRow, HaltRow, LimitsRow, OrderRow, OwnPositionRow, ParamCell, PositionRow,
    RiskRow, StrategyRow,
};
use crate::runtime::lane::{Lane, LaneState};
use qcat_core::config::{AccountConfig, OnStop, ParamValue, StrategyConfig};
use qcat_core::engine::Engine;
use qcat_core::event::{HaltReason, PauseReason, RunnerState, Scope, StopReason, StreamFault};
use qcat_core::id::{AccountIx, StrategyIx, SymbolIx};
use qcat_core::num::{Money, Price, Side};
use qcat_core::order::{OrderState, OrderUpdate, PositionSide};
use qcat_core::position::ledger::{LedgerView, PositionView, StrategyView};
use qcat_core::risk::view::GateView;
use qcat_core::strategy::param::Params;
use qcat_core::strategy::registry::Registry;
use qcat_io::clock;

pub(super) fn board(lane: &Lane) -> Board {
    let (view, now, registry) = (lane.view(), lane.now(), lane.registry().clone());
    lane.read(|engine| {
        let from = From { engine, registry: &registry, now };
        let accounts: Vec<(AccountIx, &AccountConfig)> =
            engine.config().accounts.iter().enumerate().map(|(at, a)| (AccountIx(at as u16), a)).collect();
        let ledgers: Vec<Option<LedgerView>> = accounts
            .iter()
            .map(|(ix, _)| engine.ledger(*ix).map(|ledger| ledger.view(engine.universe(), engine.config())))
            .collect();
        let risk: Vec<RiskRow> = accounts
            .iter()
            .filter_map(|(ix, account)| Some(from.risk(account, &engine.gate_view(*ix)?, view.state)))
            .collect();
        let mut not_ready: Vec<String> = Vec::new();
        for row in risk.iter().zip(&accounts).filter(|(_, (_, account))| account.trading).map(|(row, _)| row) {
            not_ready.extend(row.not_ready.iter().map(|why| format!("account {}: {why}", row.account)));
        }
        if !accounts.iter().any(|(_, account)| account.trading) {
            not_ready.push("no account trades".to_owned());
        }
        Board {
            seq: view.seq,
            at: clock::text(now),
            trading_ready: not_ready.is_empty(),
            not_ready,
            strategies: engine.config().strategies().map(|(ix, s)| from.strategy(ix, s, &ledgers)).collect(),
            orders: accounts.iter().flat_map(|(ix, account)| from.orders(*ix, account)).collect(),
            positions: accounts
                .iter()
                .zip(&ledgers)
                .flat_map(|((_, account), ledger)| from.positions(account, ledger.as_ref()))
                .collect(),
            accounts: accounts
                .iter()
                .zip(&ledgers)
                .map(|((ix, account), ledger)| from.account(*ix, account, ledger.as_ref()))
                .collect(),
            halts: engine.risk().view().halts.iter().map(|(scope, reason)| from.halt(*scope, *reason)).collect(),
            risk,
            lane: view,
        }
    })
}

struct From<'a> {
    engine: &'a Engine,
    registry: &'a Registry,
    now: qcat_core::time::Ts,
}

impl From<'_> {
    fn symbol(&self, symbol: SymbolIx) -> String {
        let known = self.engine.universe().instrument(symbol);
        known.map_or_else(|| format!("symbol {}", symbol.0), |instrument| instrument.name.to_string())
    }

    fn asset(&self, amount: Money) -> String {
        self.engine.universe().asset_name(amount.asset).to_owned()
    }

    fn price(&self, symbol: SymbolIx, price: Option<Price>) -> Option<String> {
        Some(self.engine.universe().instrument(symbol)?.price_text(price?))
    }

    fn strategy_name(&self, ix: StrategyIx) -> Option<String> {
        self.engine.config().strategy(ix).map(|strategy| strategy.name.to_string())
    }

    fn account_name(&self, ix: AccountIx) -> Option<String> {
        self.engine.config().account(ix).map(|account| account.name.to_string())
    }

    fn strategy(&self, ix: StrategyIx, setup: &StrategyConfig, ledgers: &[Option<LedgerView>]) -> StrategyRow {
        let ledger = ledgers.get(setup.account.ix()).and_then(Option::as_ref);
        let own = ledger.iter().flat_map(|ledger| &ledger.strategies).filter(|row| row.strategy == ix);
        let state = self.engine.runner(ix).map(|runner| runner_state(runner.state()));
        StrategyRow {
            name: setup.name.to_string(),
            kind: setup.kind.to_string(),
            account: self.account_name(setup.account).unwrap_or_default(),
            symbols: setup.symbols.iter().map(|symbol| self.symbol(*symbol)).collect(),
            state: state.map(|(state, _)| state),
            reason: state.and_then(|(_, reason)| reason),
            enabled: setup.enabled,
            on_stop: match setup.on_stop {
                OnStop::Leave => "leave",
                OnStop::Cancel => "cancel",
                OnStop::Flatten => "flatten",
            },
            params: self
                .registry
                .get(&setup.kind)
                .and_then(|spec| Params::read(spec.params, &setup.params).ok())
                .map(|params| params.iter().map(|(name, value)| (name, cell(value))).collect()),
            positions: own.filter_map(|row| self.own_position(row)).collect(),
        }
    }

    fn own_position(&self, row: &StrategyView) -> Option<OwnPositionRow> {
        let instrument = self.engine.universe().instrument(row.symbol)?;
        Some(OwnPositionRow {
            symbol: instrument.name.to_string(),
            quantity: instrument.net_text(row.position.quantity),
            entry_price: self.price(row.symbol, row.entry_price),
            unrealized: row.unrealized.map(|amount| amount.to_string()),
            realized: row.position.realized.to_string(),
            asset: self.asset(row.position.realized),
        })
    }

    fn orders(&self, ix: AccountIx, account: &AccountConfig) -> Vec<OrderRow> {
        let desk = self.engine.desk(ix);
        desk.iter().flat_map(|desk| desk.orders()).filter_map(|order| self.order(&order, account)).collect()
    }

    fn order(&self, order: &OrderUpdate, account: &AccountConfig) -> Option<OrderRow> {
        let instrument = self.engine.universe().instrument(order.symbol)?;
        Some(OrderRow {
            client_order_id: order.key.to_string(),
            account: account.name.to_string(),
            strategy: self.strategy_name(order.strategy).unwrap_or_else(|| "external".to_owned()),
            symbol: instrument.name.to_string(),
            side: match order.side {
                Side::Buy => "buy",
                Side::Sell => "sell",
            },
            price: (!order.price.is_zero()).then(|| instrument.price_text(order.price)),
            quantity: instrument.quantity_text(order.quantity),
            filled: instrument.quantity_text(order.filled),
            open: instrument.quantity_text(order.open_quantity()),
            reduce_only: order.reduce_only,
            protective: order.protective,
            conditional: order.conditional,
            state: match order.state {
                OrderState::InFlight => "in_flight",
                OrderState::Unknown => "unknown",
                OrderState::Working => "working",
                OrderState::Triggering => "triggering",
                OrderState::Done(_) => "settling",
            },
        })
    }

    fn positions(&self, account: &AccountConfig, ledger: Option<&LedgerView>) -> Vec<PositionRow> {
        let open = ledger.into_iter().flat_map(|ledger| &ledger.positions).filter(|row| !row.position.is_flat());
        open.filter_map(|row| self.position(row, account)).collect()
    }

    fn position(&self, row: &PositionView, account: &AccountConfig) -> Option<PositionRow> {
        let instrument = self.engine.universe().instrument(row.symbol)?;
        let money = |amount: Option<Money>| amount.map(|amount| amount.to_string());
        Some(PositionRow {
            account: account.name.to_string(),
            symbol: instrument.name.to_string(),
            side: match row.side {
                PositionSide::Both => "both",
                PositionSide::Long => "long",
                PositionSide::Short => "short",
            },
            quantity: instrument.net_text(row.position.quantity),
            entry_price: self.price(row.symbol, row.entry_price),
            mark_price: self.price(row.symbol, row.mark_price),
            unrealized: money(row.unrealized),
            realized: row.position.realized.to_string(),
            initial_margin: money(row.initial_margin),
            maintenance_margin: money(row.maintenance_margin),
            liquidation_price: self.price(row.symbol, row.liquidation_price),
            asset: self.asset(row.position.realized),
        })
    }

    fn account(&self, ix: AccountIx, account: &AccountConfig, ledger: Option<&LedgerView>) -> AccountRow {
        let equity = ledger.and_then(|ledger| ledger.equity);
        let worth = equity.and_then(|e| e.wallet.checked_add(e.unrealized).ok());
        let balances = ledger.into_iter().flat_map(|ledger| &ledger.balances);
        AccountRow {
            name: account.name.to_string(),
            trading: account.trading,
            reconciled: self.engine.gate(ix).is_some_and(|gate| gate.is_trusted()),
            asset: self.asset(account.limits.exposure_max),
            wallet: equity.map(|e| e.wallet.to_string()),
            unrealized: equity.map(|e| e.unrealized.to_string()),
            equity: worth.map(|amount| amount.to_string()),
            day_profit: equity.map(|e| e.day_profit.to_string()),
            exposure: equity.map(|e| e.exposure.to_string()),
            maintenance_margin: ledger.and_then(|l| l.maintenance_margin).map(|amount| amount.to_string()),
            margin_ratio: ledger.and_then(|l| l.margin_ratio).map(|ratio| ratio.to_string()),
            unconfirmed: ledger.map_or(0, |ledger| ledger.unconfirmed),
            balances: balances
                .map(|b| BalanceRow {
                    asset: self.asset(b.wallet),
                    wallet: b.wallet.to_string(),
                    realized: b.realized.to_string(),
                    fees: b.fees.to_string(),
                    funding: b.funding.to_string(),
                    transfers: b.transfers.to_string(),
                })
                .collect(),
        }
    }

    fn halt(&self, scope: Scope, reason: HaltReason) -> HaltRow {
        let (scope, name) = match scope {
            Scope::All => ("all", None),
            Scope::Account(ix) => ("account", self.account_name(ix)),
            Scope::Symbol(ix) => ("symbol", Some(self.symbol(ix))),
            Scope::Strategy(ix) => ("strategy", self.strategy_name(ix)),
        };
        HaltRow { scope, name, reason: halt_reason(reason) }
    }

    fn risk(&self, account: &AccountConfig, gate: &GateView, lane: LaneState) -> RiskRow {
        let limits = &account.limits;
        let not_ready = self.not_ready(account, gate, lane);
        RiskRow {
            account: account.name.to_string(),
            ready: not_ready.is_empty(),
            not_ready,
            asset: self.asset(limits.exposure_max),
            budget_version: gate.budget.map(|budget| budget.version),
            budget_expires: gate.budget.map(|budget| clock::text(budget.expires)),
            budget_exposure_max: gate.budget.map(|budget| budget.exposure_max.to_string()),
            exposures: gate
                .exposures
                .iter()
                .map(|(symbol, exposure)| ExposureRow {
                    symbol: self.symbol(*symbol),
                    exposure: exposure.map(|amount| amount.to_string()),
                })
                .collect(),
            sent_in_window: gate.sent_in_window,
            open_conditionals: gate.conditionals,
            limits: LimitsRow {
                order_notional_max: limits.order_notional_max.to_string(),
                position_notional_max: limits.position_notional_max.to_string(),
                exposure_max: limits.exposure_max.to_string(),
                leverage_max: limits.leverage_max.to_string(),
                daily_loss_max: limits.daily_loss_max.to_string(),
                order_rate_max: limits.order_rate_max,
                open_orders_max: limits.open_orders_max,
                open_conditionals_max: limits.open_conditionals_max,
            },
        }
    }

    /// Why an account may not add risk: what the gate would refuse any entry for.
    fn not_ready(&self, account: &AccountConfig, gate: &GateView, lane: LaneState) -> Vec<String> {
        let mut why = Vec::new();
        if lane != LaneState::Running {
            why.push("the engine does not step".to_owned());
        }
        if !account.trading {
            why.push("the account is only watched".to_owned());
        }
        if !gate.trusted {
            why.push("the account is not reconciled with the exchange".to_owned());
        }
        let wide = |scope: &Scope| matches!(scope, Scope::All | Scope::Account(_));
        for (scope, reason) in gate.halts.iter().filter(|(scope, _)| wide(scope)) {
            let whose = if *scope == Scope::All { "everything" } else { "the account" };
            why.push(format!("{whose} is halted: {}", halt_reason(*reason)));
        }
        match gate.budget {
            None => why.push("no risk budget is granted".to_owned()),
            Some(budget) if budget.expires <= self.now => why.push("the risk budget has expired".to_owned()),
            Some(budget) if !budget.new_risk => why.push("the risk budget grants no new risk".to_owned()),
            Some(_) => {}
        }
        why
    }
}

fn cell(value: &ParamValue) -> ParamCell {
    match value {
        ParamValue::Int(value) => ParamCell::Int(*value),
        ParamValue::Float(value) => ParamCell::Float(*value),
        ParamValue::Bool(value) => ParamCell::Bool(*value),
        ParamValue::Text(value) => ParamCell::Text(value.to_string()),
    }
}

fn runner_state(state: RunnerState) -> (&'static str, Option<&'static str>) {
    match state {
        RunnerState::WarmingUp => ("warming_up", None),
        RunnerState::Running => ("running", None),
        RunnerState::Paused(reason) => ("paused", Some(pause_reason(reason))),
        RunnerState::Faulted => ("faulted", None),
        RunnerState::Stopped(reason) => {
            let reason = match reason {
                StopReason::Asked => "asked",
                StopReason::Faults => "faults",
                StopReason::Invalid => "invalid",
                StopReason::Stopping => "stopping",
            };
            ("stopped", Some(reason))
        }
    }
}

fn pause_reason(reason: PauseReason) -> &'static str {
    match reason {
        PauseReason::Stream(StreamFault::LinkLost) => "stream_link_lost",
        PauseReason::Stream(StreamFault::Silent) => "stream_silent",
        PauseReason::Stream(StreamFault::Gap) => "stream_gap",
        PauseReason::Stream(StreamFault::Overflow) => "stream_overflow",
        PauseReason::Stream(StreamFault::Ended) => "stream_ended",
        PauseReason::SlowStep => "slow_step",
        PauseReason::Halt(reason) => halt_reason(reason),
        PauseReason::Untrusted => "not_reconciled",
    }
}

fn halt_reason(reason: HaltReason) -> &'static str {
    match reason {
        HaltReason::KillSwitch => "kill_switch",
        HaltReason::DailyLoss => "daily_loss",
        HaltReason::Fault => "fault",
        HaltReason::ImpossibleReport => "impossible_report",
        HaltReason::Settings => "settings",
        HaltReason::ExposureMismatch => "exposure_mismatch",
        HaltReason::Stopping => "stopping",
        HaltReason::Instrument => "instrument",
        HaltReason::ControlLost => "control_lost",
        HaltReason::Runaway => "runaway",
    }
}
