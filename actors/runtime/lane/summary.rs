//! What the engine holds, for the metrics: read once a second, when the lane has nothing else to do.

use super::meter::{Meter, PUBLISH_EVERY};
use super::{Core, Inner};
use qcat_core::engine::Engine;
use qcat_core::event::{AlertCode, RunnerState};
use qcat_core::id::StrategyIx;
use qcat_core::order::OrderState;
use qcat_core::time::Ts;
use qcat_io::metrics::Samples;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Alerts that tell of a difference between our books and the exchange's.
const DIFFERENCES: [AlertCode; 5] = [
    AlertCode::ForeignOrder,
    AlertCode::MissedFill,
    AlertCode::PositionRepaired,
    AlertCode::BalanceRepaired,
    AlertCode::OrderRepaired,
];

impl Inner {
    /// Publishes a summary if it is time. The lane is idle.
    pub(super) fn meter_publish(&self, now: Ts) {
        let mut meter = self.meter.borrow_mut();
        let Some(meter) = meter.as_mut().filter(|meter| now.since(meter.published) >= PUBLISH_EVERY) else { return };
        meter.published = now;
        let mut all = Samples::default();
        let core = self.core.borrow();
        self.lane_values(&core, &mut all);
        strategies(&core.engine, &mut all);
        accounts(&core.engine, &mut all);
        streams(&core.engine, meter, now, &mut all);
        alerts(meter, &mut all);
        meter.also.iter().for_each(|also| also(&mut all, now));
        meter.publish(all);
    }

    fn lane_values(&self, core: &Core, all: &mut Samples) {
        let queue = self.queue.borrow();
        let (conflated, refused) = queue.counts();
        let seq = core.engine.seq().0;
        let durable = core.journal.as_ref().map_or(seq, |journal| journal.durable_seq().0);
        let halts = core.engine.risk().view().halts.len();
        let gauges = [
            ("lane_queue_depth", "Inputs that wait for the engine", queue.len() as f64),
            ("lane_commands_held", "Commands that wait for the journal", core.held.len() as f64),
            ("journal_seq", "Number of the last admitted input", seq as f64),
            (
                "journal_lag_inputs",
                "Admitted inputs that a loss of power would lose",
                seq.saturating_sub(durable) as f64,
            ),
            ("journal_disk_full", "1 while the disk takes no record", f64::from(u8::from(core.full))),
            ("trading_halts", "Halts in force", halts as f64),
        ];
        gauges.into_iter().for_each(|(name, help, value)| all.gauge(name, help, &[], value));
        let counters = [
            ("lane_inputs_conflated_total", "Inputs merged into one that waited", conflated),
            ("lane_inputs_refused_total", "Inputs refused because the queue was full", refused),
            ("lane_inputs_dropped_total", "Inputs that the journal could not take", core.dropped),
            ("commands_not_sent_total", "Commands that did not leave", self.not_sent.get()),
        ];
        counters.into_iter().for_each(|(name, help, count)| all.counter(name, help, &[], count));
    }
}

fn strategies(engine: &Engine, all: &mut Samples) {
    let mut states = ["warming_up", "running", "paused", "faulted", "stopped"].map(|state| (state, 0_u32));
    for at in 0..engine.config().strategies.len() {
        let strategy = u16::try_from(at + 1).ok().map(StrategyIx);
        let Some(runner) = strategy.and_then(|strategy| engine.runner(strategy)) else { continue };
        let state = match runner.state() {
            RunnerState::WarmingUp => 0,
            RunnerState::Running => 1,
            RunnerState::Paused(_) => 2,
            RunnerState::Faulted => 3,
            RunnerState::Stopped(_) => 4,
        };
        states[state].1 += 1;
    }
    for (state, count) in states {
        let labels = [("state", state.to_owned())];
        all.gauge("strategies_total", "Configured strategies by state", &labels, f64::from(count));
    }
}

fn accounts(engine: &Engine, all: &mut Samples) {
    for config in &engine.config().accounts {
        let Some(ix) = engine.config().accounts.iter().position(|a| a.name == config.name) else { continue };
        let Ok(ix) = u16::try_from(ix).map(qcat_core::id::AccountIx) else { continue };
        let account = ("account", config.name.to_string());
        if let Some(desk) = engine.desk(ix) {
            let mut states = ["in_flight", "unknown", "working", "triggering"].map(|state| (state, 0_u32));
            for order in desk.orders() {
                let state = match order.state {
                    OrderState::InFlight => 0,
                    OrderState::Unknown => 1,
                    OrderState::Working => 2,
                    OrderState::Triggering => 3,
                    OrderState::Done(_) => continue,
                };
                states[state].1 += 1;
            }
            for (state, count) in states {
                let labels = [account.clone(), ("state", state.to_owned())];
                all.gauge("orders_open", "Orders that are not over, by state", &labels, f64::from(count));
            }
        }
        if let Some(ledger) = engine.ledger(ix) {
            money(&ledger.view(engine.universe(), engine.config()), engine, &account, all);
        }
    }
}

fn money(
    view: &qcat_core::position::ledger::LedgerView,
    engine: &Engine,
    account: &(&'static str, String),
    all: &mut Samples,
) {
    if let Some(equity) = &view.equity {
        let labels = [account.clone(), ("asset", engine.universe().asset_name(equity.wallet.asset).to_owned())];
        let values = [
            ("account_wallet_balance", "Wallet balance, without what is open", equity.wallet),
            ("account_unrealized_profit", "Profit of open positions at mark prices", equity.unrealized),
            ("account_exposure", "Sum of the values of open positions at mark prices", equity.exposure),
            ("account_day_profit", "Profit since 00:00 UTC", equity.day_profit),
        ];
        values.into_iter().for_each(|(name, help, money)| all.gauge(name, help, &labels, money.to_f64()));
    }
    let mut quantities: BTreeMap<&str, f64> = BTreeMap::new();
    for position in &view.positions {
        let Some(instrument) = engine.universe().instrument(position.symbol) else { continue };
        let scale = 10_f64.powi(i32::from(instrument.quantity_scale));
        *quantities.entry(&instrument.name).or_default() += position.position.quantity.mantissa() as f64 / scale;
    }
    for (symbol, quantity) in quantities {
        let labels = [account.clone(), ("symbol", symbol.to_owned())];
        all.gauge("position_quantity", "Signed quantity of the account's position", &labels, quantity);
    }
}

fn streams(engine: &Engine, meter: &Meter, now: Ts, all: &mut Samples) {
    let at = |heard: Ts| {
        let ago = Duration::from_nanos(now.since(heard).nanos().max(0).unsigned_abs());
        Instant::now().checked_sub(ago)
    };
    for (symbol, heard) in &meter.market_heard {
        if let (Some(instrument), Some(at)) = (engine.universe().instrument(*symbol), at(*heard)) {
            let labels = [("symbol", instrument.name.to_string())];
            all.since("market_stream_age_seconds", "Time since market data of a symbol came", &labels, at);
        }
    }
    for (account, heard) in &meter.user_heard {
        if let (Some(config), Some(at)) = (engine.config().account(*account), at(*heard)) {
            let labels = [("account", config.name.to_string())];
            all.since("user_stream_age_seconds", "Time since the user stream told something", &labels, at);
        }
    }
}

fn alerts(meter: &Meter, all: &mut Samples) {
    for (code, count) in &meter.alerts {
        let labels = [("code", code.as_str().to_owned())];
        all.counter("alerts_total", "Alerts by code", &labels, *count);
    }
    for code in DIFFERENCES {
        let labels = [("kind", code.as_str().to_owned())];
        let help = "Differences between our books and the exchange's that were found";
        all.counter("reconcile_differences_total", help, &labels, meter.alerts.get(&code).copied().unwrap_or(0));
    }
}
