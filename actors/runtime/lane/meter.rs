//! Times and counts what passes through a lane, for the metrics. It costs the trading thread no clock of its own, no lock and no
//! memory for an input; what has to be read from the engine is read once a second, when the lane has nothing else to do.

use super::{Inner, Lane};
use qcat_core::command::{CommandId, CommandKind, Outcome, Report, RequestOutcome, VenueCommand};
use qcat_core::engine::Engine;
use qcat_core::event::{Admitted, AlertCode, Decision, Input};
use qcat_core::id::{AccountIx, SymbolIx};
use qcat_core::num::NumError;
use qcat_core::position::ledger::Ledger;
use qcat_core::time::{Span, Ts};
use qcat_io::metrics::{AccountMeter, Samples, Stage, Trading};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Requests that are followed until they are answered; the oldest are let go beyond.
const FLIGHTS_MAX: usize = 1_024;
/// How often the summary is published.
pub(super) const PUBLISH_EVERY: Span = Span::from_secs(1);

/// A request on its way.
struct Flight {
    command: CommandId,
    account: AccountIx,
    /// When the frame came that caused it.
    received: Option<Ts>,
    released: Ts,
    written: Option<Ts>,
}

/// Adds to the summary what stands elsewhere on the lane's thread.
pub type Publish = Box<dyn Fn(&mut Samples, Ts)>;

pub(super) struct Meter {
    trading: Arc<Trading>,
    pub(super) accounts: Arc<[AccountMeter]>,
    flights: VecDeque<Flight>,
    /// When the input under way was admitted.
    current: Option<Ts>,
    /// When its first command left.
    left: Option<Ts>,
    pub(super) market_heard: BTreeMap<SymbolIx, Ts>,
    pub(super) user_heard: BTreeMap<AccountIx, Ts>,
    pub(super) alerts: BTreeMap<AlertCode, u64>,
    pub(super) published: Ts,
    pub(super) also: Vec<Publish>,
}

impl Lane {
    /// Has what passes through measured from here on. The accounts must be configured.
    pub fn measure(&self, trading: Arc<Trading>) {
        let meter = |(account, asset): (&str, &str)| AccountMeter::new(account, asset);
        let accounts = self.read(|engine| {
            let accounts = engine.config().accounts.iter();
            let named = accounts.map(|a| (&*a.name, engine.universe().asset_name(a.limits.exposure_max.asset)));
            trading.accounts(|| named.map(meter).collect())
        });
        *self.0.meter.borrow_mut() = Some(Meter::of(trading, accounts));
        self.0.work.notify_one();
    }

    /// Has more told with the lane's summary, once a second on the lane's thread. Nothing happens while nothing is measured.
    pub fn publish_also(&self, also: Publish) {
        if let Some(meter) = &mut *self.0.meter.borrow_mut() {
            meter.also.push(also);
        }
    }
}

/// When the frame came that told of this; `None` when it was no frame of the market.
pub(super) fn received(input: &Input) -> Option<Ts> {
    match input {
        Input::Market(market) if !market.derived => Some(market.receive_time),
        _ => None,
    }
}

impl Inner {
    /// An input was admitted and its step begins.
    pub(super) fn meter_admitted(&self, admitted: &Admitted) {
        if let Some(meter) = &mut *self.meter.borrow_mut() {
            meter.admitted(admitted);
        }
    }

    /// A command left, or came back unsent.
    pub(super) fn meter_left(&self, left: (CommandId, AccountIx, Way), received: Option<Ts>, at: Ts, now: Ts) {
        if let Some(meter) = &mut *self.meter.borrow_mut() {
            meter.left(left, received, at, now);
        }
    }

    /// The step is over.
    pub(super) fn meter_stepped(&self, now: Ts) {
        if let Some(meter) = &mut *self.meter.borrow_mut() {
            meter.stepped(&self.core.borrow().engine, now);
        }
    }
}

/// What a command does to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Place,
    Modify,
    Cancel,
    Ask,
}

impl Way {
    pub fn of(command: &VenueCommand) -> Way {
        match command.kind {
            CommandKind::Place(_) => Way::Place,
            CommandKind::Modify { .. } => Way::Modify,
            CommandKind::Cancel { .. } => Way::Cancel,
            CommandKind::Query(_) => Way::Ask,
        }
    }
}

impl Meter {
    fn of(trading: Arc<Trading>, accounts: Arc<[AccountMeter]>) -> Meter {
        Meter {
            trading,
            accounts,
            flights: VecDeque::with_capacity(FLIGHTS_MAX),
            current: None,
            left: None,
            market_heard: BTreeMap::new(),
            user_heard: BTreeMap::new(),
            alerts: BTreeMap::new(),
            published: Ts::ZERO,
            also: Vec::new(),
        }
    }

    fn admitted(&mut self, admitted: &Admitted) {
        self.current = Some(admitted.at);
        self.left = None;
        match &admitted.input {
            Input::Market(market) if !market.derived => {
                self.trading.record(Stage::Admit, admitted.at.since(market.receive_time).nanos());
                self.market_heard.insert(market.symbol, market.receive_time);
            }
            Input::Outcome(outcome) => self.answered(outcome, admitted.at),
            Input::Report(Report::Order(order)) => self.heard(order.account, admitted.at),
            Input::Report(Report::Conditional(order)) => self.heard(order.account, admitted.at),
            Input::Report(Report::Account(account)) => self.heard(account.account, admitted.at),
            _ => {}
        }
    }

    fn heard(&mut self, account: AccountIx, at: Ts) {
        self.user_heard.insert(account, at);
    }

    fn answered(&mut self, RequestOutcome { command, account, outcome }: &RequestOutcome, at: Ts) {
        let same = |flight: &Flight| flight.command == *command && flight.account == *account;
        let Some(place) = self.flights.iter().rposition(same) else { return };
        let flight = &mut self.flights[place];
        match outcome {
            Outcome::Written => {
                flight.written = Some(at);
                self.trading.record(Stage::Write, at.since(flight.released).nanos());
                if let Some(received) = flight.received {
                    self.trading.record(Stage::Order, at.since(received).nanos());
                }
                return;
            }
            Outcome::Order(_) | Outcome::Conditional(_) | Outcome::Rejected(_) => {
                if let Some(written) = flight.written {
                    self.trading.record(Stage::Acknowledge, at.since(written).nanos());
                }
            }
            _ => {}
        }
        self.flights.remove(place);
    }

    fn left(&mut self, (command, account, way): (CommandId, AccountIx, Way), received: Option<Ts>, at: Ts, now: Ts) {
        self.left.get_or_insert(now);
        self.trading.record(Stage::Release, now.since(at).nanos());
        let count = self.accounts.get(account.ix()).and_then(|meter| match way {
            Way::Place => Some(&meter.placed),
            Way::Modify => Some(&meter.modified),
            Way::Cancel => Some(&meter.cancelled),
            Way::Ask => None,
        });
        let Some(count) = count else { return };
        count.fetch_add(1, Ordering::Relaxed);
        if self.flights.len() == FLIGHTS_MAX {
            self.flights.pop_front();
        }
        self.flights.push_back(Flight { command, account, received, released: now, written: None });
    }

    fn stepped(&mut self, engine: &Engine, now: Ts) {
        let Some(at) = self.current.take() else { return };
        self.trading.record(Stage::Decide, self.left.take().unwrap_or(now).since(at).nanos());
        for decision in engine.decisions() {
            match decision {
                Decision::Refused(refused) => {
                    if let Some(meter) = self.accounts.get(refused.intent.account().ix()) {
                        meter.refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Decision::Alert(alert) => *self.alerts.entry(alert.code).or_default() += 1,
                _ => {}
            }
        }
        let happened = engine.happened();
        for fill in &happened.fills {
            let value = engine.universe().instrument(fill.symbol).map(|i| i.notional(fill.price, fill.quantity));
            if let (Some(Ok(value)), Some(meter)) = (value, self.accounts.get(fill.account.ix())) {
                meter.filled(value.to_f64());
            }
        }
        for equity in &happened.equities {
            let ledger = engine.ledger(equity.account);
            if let (Some(ledger), Some(meter)) = (ledger, self.accounts.get(equity.account.ix())) {
                meter.set_profit(profit(ledger, equity.unrealized).ok());
            }
        }
    }

    pub fn publish(&self, samples: Samples) {
        self.trading.publish(samples);
    }
}

/// Realised profit, less fees, plus funding, and what is open, in the margin asset.
fn profit(ledger: &Ledger, unrealized: qcat_core::num::Money) -> Result<f64, NumError> {
    let asset = ledger.margin_asset();
    let fees = ledger.fees().get(asset).checked_add(ledger.fees_valued())?;
    let earned = ledger.realized().get(asset).checked_sub(fees)?.checked_add(ledger.funding().get(asset))?;
    Ok(earned.checked_add(unrealized)?.to_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::runtime::testkit::{ACCOUNT, World};
    use qcat_io::journal::Durability;
    use qcat_io::metrics::Value;

    fn value(trading: &Trading, name: &str, labels: &[(&'static str, &str)]) -> f64 {
        let mut all = Samples::default();
        trading.collect(&mut all);
        match all.get(name, labels) {
            Some(Value::Count(count)) => *count as f64,
            Some(Value::Number(number)) => *number,
            Some(Value::Since(at)) => at.elapsed().as_secs_f64(),
            Some(Value::Durations(recorded)) => recorded.sum,
            None => panic!("{name} {labels:?} is absent: {all:?}"),
        }
    }

    #[test]
    fn what_is_measured_is_what_happened() {
        let world = World::running(&["steady"], Durability::Group, None);
        let trading = Arc::new(Trading::default());
        world.lane.measure(trading.clone());
        let name = world.lane.read(|engine| engine.config().accounts[0].name.to_string());
        let account = ("account", name.as_str());
        let (places, sent) = (world.wire.places(), world.wire.sent.borrow().len());
        for _ in 0..10 {
            world.quote();
            // The frame waits for 3 ms before it is admitted, what it caused for 2 ms of the disk.
            world.clock.advance(Span::from_millis(3));
            world.lane.turn();
            world.clock.advance(Span::from_millis(2));
            world.settle();
        }
        let orders = (world.wire.places() - places) as f64;
        let all = (world.wire.sent.borrow().len() - sent) as f64;
        assert!(orders >= 3.0 && all > orders);
        assert_eq!(value(&trading, "orders_total", &[account]), orders);
        assert_eq!(value(&trading, "orders_cancelled_total", &[account]), all - orders);
        let stage = |stage| value(&trading, "trading_stage_duration_seconds", &[("stage", stage)]);
        assert!((stage("admit") - 0.030).abs() < 1e-9, "{}", stage("admit"));
        assert!((stage("release") - 0.002 * all).abs() < 1e-9, "{} for {all}", stage("release"));

        world.pass(Span::from_secs(3));
        world.lane.turn();
        let open = world.lane.read(|engine| engine.desk(ACCOUNT).unwrap().orders().count()) as f64;
        let states = ["in_flight", "unknown", "working", "triggering"];
        let told: f64 = states.iter().map(|s| value(&trading, "orders_open", &[account, ("state", s)])).sum();
        assert_eq!(told, open);
        assert_eq!(value(&trading, "strategies_total", &[("state", "running")]), 1.0);
        assert_eq!(value(&trading, "journal_seq", &[]), world.lane.view().seq as f64);
        assert!(value(&trading, "market_stream_age_seconds", &[("symbol", "BTCUSDT")]) >= 3.0);
        assert_eq!(value(&trading, "reconcile_differences_total", &[("kind", "missed_fill")]), 0.0);
    }

    #[test]
    fn a_request_is_timed_from_its_frame_to_its_answer() {
        let trading = Arc::new(Trading::default());
        let mut meter = Meter::of(trading.clone(), trading.accounts(Vec::new));
        let (received, at) = (Ts::from_millis(1_000), |millis: i64| Ts::from_millis(1_000 + millis));
        let outcome = |outcome| RequestOutcome { command: CommandId(7), account: ACCOUNT, outcome };
        meter.accounts = vec![AccountMeter::new("a", "USDT")].into();
        meter.left((CommandId(7), ACCOUNT, Way::Place), Some(received), at(1), at(2));
        meter.answered(&outcome(Outcome::Written), at(5));
        let error = qcat_core::command::VenueError { code: -2019, message: "no margin".into() };
        meter.answered(&outcome(Outcome::Rejected(error)), at(25));
        meter.answered(&outcome(Outcome::Written), at(99));
        let stage = |stage| value(&trading, "trading_stage_duration_seconds", &[("stage", stage)]);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(stage("release"), 0.001);
        near(stage("write"), 0.003);
        near(stage("frame_to_written"), 0.005);
        near(stage("acknowledge"), 0.020);
        (0..3_000).for_each(|id| meter.left((CommandId(id), ACCOUNT, Way::Place), None, at(1), at(2)));
        assert_eq!(meter.flights.len(), FLIGHTS_MAX);
    }
}
