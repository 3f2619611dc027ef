//! Reports of ordinary orders: to whom they belong, and what follows.
#![deny(clippy::float_arithmetic)]

use super::Desk;
use super::table::Entry;
use crate::event::{AlertCode, Event, HaltReason, Scope};
use crate::id::{OrderKey, SymbolIx};
use crate::node::{Context, Outbox};
use crate::num::Quantity;
use crate::order::OrderReport;
use crate::order::state::{Order, OrderRef, Step};
use crate::time::Ts;

/// How the exchange's own client order ids begin: liquidation, auto-deleveraging, delisting or delivery.
const FORCED: [&str; 3] = ["autoclose-", "adl_autoclose", "settlement_autoclose-"];

impl Desk {
    /// A report by stream, by listing or by a late answer. `asked_at`: when it was asked for, if it was.
    pub(super) fn on_order_report(
        &mut self,
        report: &OrderReport,
        asked_at: Option<Ts>,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        match self.state.locate(report.symbol, report.key, report.venue_id) {
            Some(id) => self.apply(id, report, asked_at, context, out),
            None if self.may_be_triggered(report) => self.hold_report(report, context),
            None => self.adopt(report, context, out),
        }
    }

    /// Whether a stranger may be what one of the conditional orders became, whose report has not come yet.
    fn may_be_triggered(&self, report: &OrderReport) -> bool {
        if report.key.ours().is_some() || is_forced(report.key) {
            return false;
        }
        self.state.held.contains_key(&(report.symbol, report.venue_id))
            || self.state.candidates(report.symbol, true).any(|id| self.is_side(id, report.side))
    }

    /// Applies a report to the order that it belongs to, and books its fill.
    pub(super) fn apply(
        &mut self,
        id: OrderRef,
        report: &OrderReport,
        asked_at: Option<Ts>,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let Some(mut entry) = self.state.take(id) else { return };
        let order = &mut entry.order;
        let ended = order.has_ended();
        let missing = order.ask.is_some_and(|ask| ask.missing);
        let fill = report
            .fill
            .as_ref()
            .filter(|fill| !fill.quantity.is_zero() && !self.is_booked(report.symbol, fill.trade_id));
        let fits = fill.map_or(Step::Moved, |fill| order.check_fill(fill.quantity, Some(report.filled)));
        let step = match fits {
            Step::Impossible(_) => fits,
            _ => order.on_report(report, context.now, asked_at),
        };
        if let Step::Impossible(why) = step {
            self.impossible(order, why, asked_at.is_none(), context, out);
            self.put(id, entry, context, out);
            return;
        }
        if ended && !order.has_ended() {
            self.alert(AlertCode::OrderRepaired, Some(order), format!("order {} lives after all", order.key), out);
        } else if missing && !ended && order.has_ended() {
            let text = format!("order {} ended unreported: {:?}", order.key, order.phase);
            self.alert(AlertCode::OrderRepaired, Some(order), text, out);
        }
        if let Some(fill) = fill {
            self.book(order, report.venue_id, (report.side, report.position_side), fill, out);
        }
        self.put(id, entry, context, out);
    }

    /// Takes in an order that nobody here placed: a person's, another program's, the exchange's own, or one of ours of which
    /// every record is lost.
    pub(super) fn adopt(&mut self, report: &OrderReport, context: &Context<'_>, out: &mut Outbox) {
        let fresh = report.fill.as_ref().filter(|fill| !self.is_booked(report.symbol, fill.trade_id));
        let carried = fresh.map_or(Quantity::ZERO, |fill| fill.quantity);
        if report.status.is_final() && report.filled.is_zero() {
            return;
        }
        let id = match report.key {
            OrderKey::Ours(id) => OrderRef::Ours(id),
            OrderKey::Foreign(_) => OrderRef::Foreign(report.symbol, report.venue_id),
        };
        let entry = Entry::new(Order::adopted(report, carried, context.now));
        let (code, what) = if is_forced(report.key) {
            (AlertCode::ForcedClose, "forced close by the exchange")
        } else {
            (AlertCode::ForeignOrder, "an order that is not ours")
        };
        self.alert(code, Some(&entry.order), format!("{what}: {} {}", report.key, report.side.as_str()), out);
        self.file(id, entry, context);
        if code == AlertCode::ForcedClose {
            self.forced(report.symbol, context, out);
        }
        if report.filled > carried {
            self.look_at_trades(report.symbol, context);
        }
        self.apply(id, report, None, context, out);
    }

    /// The exchange closes a position by force. What strategies hold is not what the account holds from here on, so the symbol
    /// is halted until a person has settled it, and exits that the exchange does not enforce go with the entries: they would
    /// open the opposite position.
    fn forced(&mut self, symbol: SymbolIx, context: &Context<'_>, out: &mut Outbox) {
        out.push(Event::Halted { scope: Scope::Symbol(symbol), reason: HaltReason::ControlLost });
        for id in self.orders_where(|order| order.symbol == symbol && !order.enforced && !order.adopted) {
            self.want_cancel(id, context, out);
        }
    }
}

fn is_forced(key: OrderKey) -> bool {
    match key {
        OrderKey::Ours(_) => false,
        OrderKey::Foreign(id) => {
            let text = id.to_string();
            FORCED.iter().any(|special| text.starts_with(special))
        }
    }
}
