//! One line of the log for each decision about an order and for what became of it: placed, refused with the reason, modified,
//! cancelled, filled, over.
//!
//! On the trading thread an event is only copied into a bounded queue; a thread of this module makes the text. What the queue has
//! no room for is counted and told.

use super::lane::{Step, Tap};
use qcat_core::command::{CommandKind, VenueCommand};
use qcat_core::engine::Engine;
use qcat_core::event::{Decision, Refused};
use qcat_core::id::{AccountIx, ClientOrderId, OrderKey, StrategyIx, SymbolIx};
use qcat_core::num::{Price, Quantity, Side, mantissa_to_string};
use qcat_core::order::{End, Fill, Intent, NewOrder, OrderState, OrderUpdate, Terms};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// Events that may wait.
const WAITING_MAX: usize = 4_096;
/// How often the thread looks.
const EVERY: Duration = Duration::from_millis(20);

/// What happened.
enum What {
    Placed(NewOrder),
    Modified { id: ClientOrderId, side: Side, price: Price, quantity: Quantity },
    Cancelled { key: OrderKey, conditional: bool },
    Refused(Refused),
    Changed(OrderUpdate),
    Filled(Fill),
}

/// An event with what its numbers need to be read.
struct Event {
    seq: u64,
    account: Arc<str>,
    /// `None`: the reserved strategy.
    strategy: Option<Arc<str>>,
    symbol: Option<Symbol>,
    what: What,
}

#[derive(Clone)]
struct Symbol {
    name: Arc<str>,
    price_scale: u8,
    quantity_scale: u8,
}

/// The tap.
pub struct OrderLog {
    events: SyncSender<Event>,
    dropped: Arc<AtomicU64>,
}

impl OrderLog {
    /// Starts the thread; it ends with the tap.
    pub fn start() -> io::Result<OrderLog> {
        let (events, waiting) = sync_channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        std::thread::Builder::new().name("qcat-order-log".to_owned()).spawn(move || write(&waiting, &lost))?;
        Ok(OrderLog { events, dropped })
    }

    fn tell(&self, step: &Step<'_>, about: (AccountIx, StrategyIx, Option<SymbolIx>), what: What) {
        let (account, strategy, symbol) = about;
        let engine = step.engine;
        let Some(account) = engine.config().account(account).map(|account| account.name.clone()) else { return };
        let strategy = name_of(engine, strategy);
        let symbol = symbol.and_then(|symbol| engine.universe().instrument(symbol)).map(|instrument| Symbol {
            name: instrument.name.clone(),
            price_scale: instrument.price_scale,
            quantity_scale: instrument.quantity_scale,
        });
        if self.events.try_send(Event { seq: step.seq.0, account, strategy, symbol, what }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn command(&self, step: &Step<'_>, command: &VenueCommand) {
        let (symbol, strategy, what) = match &command.kind {
            CommandKind::Place(order) => (order.intent.symbol, order.intent.id.strategy, What::Placed(*order)),
            CommandKind::Modify { symbol, id, side, price, quantity } => {
                let (id, side, price, quantity) = (*id, *side, *price, *quantity);
                (*symbol, id.strategy, What::Modified { id, side, price, quantity })
            }
            CommandKind::Cancel { symbol, key, conditional } => {
                let strategy = key.ours().map_or(StrategyIx::EXTERNAL, |id| id.strategy);
                (*symbol, strategy, What::Cancelled { key: *key, conditional: *conditional })
            }
            CommandKind::Query(_) => return,
        };
        self.tell(step, (command.account, strategy, Some(symbol)), what);
    }
}

fn name_of(engine: &Engine, strategy: StrategyIx) -> Option<Arc<str>> {
    let at = strategy.ix().checked_sub(1)?;
    engine.config().strategies.get(at).map(|strategy| strategy.name.clone())
}

impl Tap for OrderLog {
    fn after_step(&mut self, step: &Step<'_>) {
        for decision in step.decisions {
            match decision {
                Decision::Command(command) => self.command(step, command),
                Decision::Refused(refused) => {
                    let symbol = match refused.intent {
                        Intent::Place(order) => Some(order.symbol),
                        Intent::Cancel { symbol, .. } | Intent::Modify { symbol, .. } => Some(symbol),
                        Intent::CancelAll { symbol, .. } => symbol,
                    };
                    let about = (refused.intent.account(), refused.intent.strategy(), symbol);
                    self.tell(step, about, What::Refused(refused.clone()));
                }
                _ => {}
            }
        }
        for fill in &step.happened.fills {
            self.tell(step, (fill.account, fill.strategy, Some(fill.symbol)), What::Filled(*fill));
        }
        for order in &step.happened.orders {
            self.tell(step, (order.account, order.strategy, Some(order.symbol)), What::Changed(*order));
        }
    }
}

fn write(waiting: &Receiver<Event>, dropped: &AtomicU64) {
    loop {
        match waiting.try_recv() {
            Ok(event) => log(&event),
            Err(end) => {
                let missing = dropped.swap(0, Ordering::Relaxed);
                if missing > 0 {
                    tracing::warn!(code = "order_lines_dropped", missing, "lines about orders were dropped");
                }
                if end == TryRecvError::Disconnected {
                    return;
                }
                std::thread::sleep(EVERY);
            }
        }
    }
}

impl Event {
    fn price(&self, price: Price) -> Option<String> {
        let symbol = self.symbol.as_ref().filter(|_| price.mantissa() != 0)?;
        Some(mantissa_to_string(i128::from(price.mantissa()), symbol.price_scale))
    }

    fn quantity(&self, quantity: Quantity) -> Option<String> {
        let symbol = self.symbol.as_ref()?;
        Some(mantissa_to_string(i128::from(quantity.mantissa()), symbol.quantity_scale))
    }
}

/// A line about an order: the fields that all of them have, then its own.
macro_rules! line {
    ($level:ident, $event:expr, $id:expr, $text:literal $(, $($field:tt)+)?) => {
        tracing::$level!(
            seq = $event.seq,
            account = &*$event.account,
            strategy = $event.strategy.as_deref().unwrap_or("external"),
            symbol = $event.symbol.as_ref().map(|symbol| &*symbol.name),
            client_order_id = %$id,
            $($($field)+,)?
            $text
        )
    };
}

fn log(event: &Event) {
    match &event.what {
        What::Placed(order) => placed(event, order),
        What::Modified { id, side, price, quantity } => {
            let (price, quantity) = (event.price(*price), event.quantity(*quantity));
            line!(info, event, id, "order modified", code = "order_modified", ?side, price, quantity);
        }
        What::Cancelled { key, conditional } => {
            line!(info, event, key, "order cancelled", code = "order_cancelled", conditional);
        }
        What::Refused(refused) => self::refused(event, refused),
        What::Filled(fill) => {
            let (price, quantity) = (event.price(fill.price), event.quantity(fill.quantity));
            let (side, maker, trade) = (fill.side, fill.maker, fill.trade_id.0);
            line!(info, event, fill.key, "order filled", code = "order_filled", ?side, price, quantity, maker, trade);
        }
        What::Changed(order) => changed(event, order),
    }
}

fn placed(event: &Event, NewOrder { intent, .. }: &NewOrder) {
    let kind = match intent.terms {
        Terms::Market => "market",
        Terms::Limit { .. } => "limit",
        Terms::Conditional(_) => "conditional",
    };
    let trigger = if let Terms::Conditional(terms) = intent.terms { event.price(terms.trigger_price) } else { None };
    let price = intent.terms.limit_price().and_then(|price| event.price(price));
    let (side, quantity, reduces) = (intent.side, event.quantity(intent.quantity), intent.reduces());
    line!(
        info,
        event,
        intent.id,
        "order placed",
        code = "order_placed",
        ?side,
        kind,
        price,
        trigger,
        quantity,
        reduces
    );
}

/// A refusal is an answer, not a trouble of the program: its level is that of any decision.
fn refused(event: &Event, refused: &Refused) {
    let (reason, why) = (refused.reason.code(), &refused.reason);
    match &refused.intent {
        Intent::Place(order) => {
            let (side, quantity) = (order.side, event.quantity(order.quantity));
            let price = order.terms.limit_price().and_then(|price| event.price(price));
            let wanted = "place";
            line!(
                info, event, order.id, "order refused",
                code = "order_refused", wanted, reason, %why, ?side, price, quantity
            );
        }
        Intent::Modify { id, price, quantity, .. } => {
            let (wanted, price, quantity) = ("modify", event.price(*price), event.quantity(*quantity));
            line!(
                info, event, id, "order refused",
                code = "order_refused", wanted, reason, %why, price, quantity
            );
        }
        Intent::Cancel { key, .. } => {
            line!(info, event, key, "order refused", code = "order_refused", wanted = "cancel", reason, %why);
        }
        Intent::CancelAll { .. } => {
            line!(info, event, "all", "order refused", code = "order_refused", wanted = "cancel_all", reason, %why);
        }
    }
}

fn changed(event: &Event, order: &OrderUpdate) {
    let (filled, quantity) = (event.quantity(order.filled), event.quantity(order.quantity));
    let OrderState::Done(end) = order.state else {
        let state = order.state;
        line!(debug, event, order.key, "order changed", code = "order_changed", ?state, filled, quantity);
        return;
    };
    let (end, reason) = match end {
        End::Filled => ("filled", None),
        End::Canceled => ("cancelled", None),
        End::Rejected(code) => ("rejected", Some(code)),
        End::Expired(reason) => ("expired", Some(i32::from(reason))),
        End::NeverArrived => ("never_arrived", None),
    };
    line!(info, event, order.key, "order over", code = "order_over", end, reason, filled, quantity);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::runtime::testkit::{ACCOUNT, SYMBOL, World};
    use qcat_core::event::{Input, OperatorCommand};
    use qcat_io::journal::Durability;
    use qcat_io::logs::{Format, Level, LogOptions, Logs, Output};
    use serde_json::Value;

    #[test]
    fn every_decision_about_an_order_is_a_line_with_its_reason() {
        let dir = std::env::temp_dir().join(format!("qcat-order-log-{}", std::process::id()));
        let options = LogOptions {
            level: Level::Info,
            format: Format::Json,
            output: Output::File,
            max_size: 0,
            max_backups: 0,
            max_age: Duration::ZERO,
            compress: false,
            log_dir: dir.clone(),
        };
        let logs = Logs::start(options).unwrap();
        // What fails here is printed, not logged.
        let _ = std::panic::take_hook();
        let world = World::running(&["steady"], Durability::Async, None);
        world.lane.tap(Box::new(OrderLog::start().unwrap()));
        let sent = world.wire.sent.borrow().len();
        for _ in 0..6 {
            world.quote();
            world.settle();
        }
        let id = ClientOrderId { epoch: 1, account: ACCOUNT, strategy: StrategyIx::EXTERNAL, counter: 1 };
        let (price, quantity) = (Price::from_mantissa(1), Quantity::from_mantissa(1).unwrap());
        let intent = Intent::Modify { strategy: StrategyIx::EXTERNAL, symbol: SYMBOL, id, price, quantity };
        world.lane.offer(Input::Command(OperatorCommand::Intent(intent)));
        world.settle();
        let all = world.wire.sent.borrow().len() - sent;

        let lines = || {
            assert!(logs.flush(Duration::from_secs(20)));
            let text = std::fs::read_to_string(dir.join("qcat.log")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        let of = |code: &str| lines().into_iter().filter(|line| line["code"] == code).collect::<Vec<_>>();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while of("order_refused").is_empty() {
            assert!(std::time::Instant::now() < until, "{:?}", lines());
            std::thread::sleep(EVERY);
        }
        let (placed, cancelled, over) = (of("order_placed"), of("order_cancelled"), of("order_over"));
        assert_eq!(placed.len() + cancelled.len(), all);
        assert!(!placed.is_empty() && !cancelled.is_empty());
        for line in placed.iter().chain(&cancelled).chain(&over) {
            assert_eq!((&line["strategy"], &line["symbol"]), (&"steady0".into(), &"BTCUSDT".into()), "{line}");
            assert!(line["client_order_id"].as_str().unwrap().starts_with('q') && line["account"].is_string());
        }
        assert_eq!((&placed[0]["side"], &placed[0]["quantity"]), (&"Buy".into(), &"0.01".into()));
        assert!(over.iter().any(|line| line["end"] == "cancelled"));
        let refused = &of("order_refused")[0];
        assert_eq!((&refused["wanted"], &refused["client_order_id"]), (&"modify".into(), &"q1-0-0-1".into()));
        assert_eq!((&refused["reason"], &refused["strategy"]), (&"unknown_order".into(), &"external".into()));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
