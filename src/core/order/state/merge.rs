//! How reports, answers and outcomes change an order. Everything is checked before anything is changed.
#![deny(clippy::float_arithmetic)]

use super::{Cancel, CancelStage, Leg, Order, Phase, Step, backoff};
use crate::command::CommandId;
use crate::config::Timing;
use crate::num::{Price, Quantity};
use crate::order::{ConditionalReport, ConditionalStatus, End, ExecutionType, OrderReport, OrderStatus};
use crate::time::{Span, Ts};
use std::cmp::Ordering;

/// What is compared to tell whether a report moved anything.
type Shape = (Phase, Leg, Price, Quantity, Quantity, bool, bool, bool);

/// The answer of the venue that it knows no such order, weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Too early to tell, or asked once only: ask again.
    Unproven,
    /// It never arrived: the order is over.
    NeverArrived,
    /// It existed and is gone without a trace, so it ended without a fill: the order is over.
    Gone,
    /// The ordinary order that a conditional one became goes by another client id: the trade history has to tell.
    AskTrades,
}

impl Order {
    fn shape(&self) -> Shape {
        let (venue, algo) = (self.venue_id.is_some(), self.algo_id.is_some());
        (self.phase, self.leg, self.price, self.quantity, self.reported, self.accepted, venue, algo)
    }

    fn moved_since(&mut self, before: Shape, now: Ts) -> Step {
        if self.shape() == before {
            return Step::Stale;
        }
        self.changed_at = now;
        if let Some(ask) = &mut self.ask {
            ask.absents = 0;
        }
        Step::Moved
    }

    /// Whether the end was our own conclusion, which the venue may refute by a report.
    fn ended_unseen(&self) -> bool {
        matches!(self.phase, Phase::Ended(End::NeverArrived | End::Rejected(_))) && !self.accepted
    }

    /// Takes the state of an ordinary order: this one, or the one that this conditional order became. `asked_at`: when it was
    /// asked for, if the report is an answer; one that was asked for after the newest change is as new as anything known.
    /// Its fill is counted apart, by [`Order::book`].
    pub fn on_report(&mut self, report: &OrderReport, now: Ts, asked_at: Option<Ts>) -> Step {
        if let Some(why) = self.contradiction(report, asked_at) {
            return Step::Impossible(why);
        }
        if self.has_ended() {
            // A refused order is reported over as well by some paths; only a sign of life refutes us.
            let refuted = self.ended_unseen() && (!report.status.is_final() || !report.filled.is_zero());
            if !refuted {
                return Step::Stale;
            }
            self.phase = Phase::Unknown;
        }
        let before = self.shape();
        let newest = match report.exchange_time.cmp(&self.venue_time) {
            _ if !self.accepted => true,
            Ordering::Greater => true,
            Ordering::Less => false,
            // In the same millisecond: what the modification under way was to bring, or what was asked for since.
            Ordering::Equal => self.shows_modify(report) || asked_at.is_some_and(|at| at > self.changed_at),
        };
        self.accepted = true;
        self.settle = false;
        self.venue_id = Some(report.venue_id);
        if report.key != self.key {
            self.child_key = Some(report.key);
        }
        self.leg = match self.leg {
            Leg::Plain => Leg::Plain,
            Leg::Waiting => Leg::Became { seen: true, over: false },
            Leg::Became { over, .. } => Leg::Became { seen: true, over },
        };
        self.reported = self.reported.max(report.filled);
        if newest {
            self.quantity = report.quantity;
            self.price = report.terms.limit_price().unwrap_or(Price::ZERO);
        }
        self.venue_time = self.venue_time.max(report.exchange_time);
        self.venue_born.get_or_insert(report.exchange_time);
        if let Some(end) = end_of(report) {
            self.end(end);
        } else {
            self.phase = Phase::Working;
            self.settle_modify();
        }
        self.moved_since(before, now)
    }

    fn shows_modify(&self, report: &OrderReport) -> bool {
        let terms = (report.terms.limit_price().unwrap_or(Price::ZERO), report.quantity);
        self.modify.is_some_and(|modify| terms == (modify.price, modify.quantity))
    }

    /// A modification is done when the order has its terms; a late report of an earlier one proves nothing.
    fn settle_modify(&mut self) {
        if self.modify.is_some_and(|modify| self.price == modify.price && self.quantity == modify.quantity) {
            self.modify = None;
        }
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Ended(end);
        self.settle = false;
        self.cancel = None;
        self.modify = None;
        self.ask = None;
    }

    fn contradiction(&self, report: &OrderReport, asked_at: Option<Ts>) -> Option<&'static str> {
        if report.symbol != self.symbol {
            return Some("the report names another symbol");
        }
        if report.side != self.side {
            return Some("the report names another side");
        }
        if self.venue_id.is_some_and(|id| id != report.venue_id) {
            return Some("the report names another exchange order id");
        }
        if report.key != self.key && self.leg == Leg::Plain {
            return Some("the report names another client order id");
        }
        if report.filled > report.quantity {
            return Some("more is filled than was ordered");
        }
        if report.fill.as_ref().is_some_and(|fill| fill.quantity > report.filled) {
            return Some("the fill is larger than all fills together");
        }
        if report.status.is_final() && report.filled < self.reported && !self.ended_unseen() {
            return Some("the order ended with less filled than was reported before");
        }
        if self.has_ended() && !self.ended_unseen() && report.filled > self.reported {
            return Some("the order was filled after its end");
        }
        // An answer or an amendment may bring a quantity that we did not send (a person at the exchange's own desk).
        let told = asked_at.is_some() || matches!(report.execution, ExecutionType::Amendment | ExecutionType::Status);
        let known = self.modify.map_or(self.quantity, |modify| self.quantity.max(modify.quantity));
        let just_found = self.adopted && !self.accepted;
        if !told && !just_found && self.leg == Leg::Plain && report.filled > known {
            return Some("more is filled than the order's quantity");
        }
        None
    }

    /// Whether a fill fits what was reported; to be asked before [`Order::book`]. `filled`: the cumulative quantity that came
    /// with it; `None` for a row of the trade history, which is the venue's last word and is bounded by the quantity only.
    pub fn check_fill(&self, quantity: Quantity, filled: Option<Quantity>) -> Step {
        let Some(sum) = self.booked.checked_add(quantity) else {
            return Step::Impossible("the sum of the fills does not fit");
        };
        let bound = match filled {
            Some(filled) => self.reported.max(filled),
            None => self.modify.map_or(self.quantity, |modify| self.quantity.max(modify.quantity)).max(self.reported),
        };
        // The quantity of a close-position order is not known before it triggers.
        if self.adopted || (filled.is_none() && bound.is_zero()) || sum <= bound {
            Step::Moved
        } else {
            Step::Impossible("the fills add up to more than was reported")
        }
    }

    /// Counts a fill that was booked for the first time.
    pub fn book(&mut self, quantity: Quantity) {
        let sum = self.booked.checked_add(quantity).unwrap_or(self.booked);
        if self.adopted {
            // What was filled before it was found is counted as booked already, so the sum stays below the reported one.
            self.booked = if self.reported.is_zero() { sum } else { sum.min(self.reported) };
            self.reported = self.reported.max(self.booked);
        } else {
            self.booked = sum;
            self.reported = self.reported.max(sum);
        }
    }

    /// Takes the state of a conditional order.
    pub fn on_conditional(&mut self, report: &ConditionalReport, now: Ts) -> Step {
        if let Some(why) = self.conditional_contradiction(report) {
            return Step::Impossible(why);
        }
        if self.has_ended() {
            let live = matches!(
                report.status,
                ConditionalStatus::New | ConditionalStatus::Triggering | ConditionalStatus::Triggered
            );
            if !(self.ended_unseen() && live) {
                return Step::Stale;
            }
            self.phase = Phase::Unknown;
        }
        let before = self.shape();
        self.accepted = true;
        self.algo_id = Some(report.venue_id);
        self.venue_time = self.venue_time.max(report.exchange_time);
        self.venue_born.get_or_insert(report.exchange_time);
        if let Some(child) = report.became {
            self.venue_id = Some(child);
            if self.leg == Leg::Waiting {
                self.leg = Leg::Became { seen: false, over: false };
            }
        }
        match report.status {
            ConditionalStatus::New if self.phase_unconfirmed() => self.phase = Phase::Working,
            ConditionalStatus::New => {}
            ConditionalStatus::Triggering | ConditionalStatus::Triggered if self.leg == Leg::Waiting => {
                if !matches!(self.phase, Phase::Triggering { .. }) {
                    self.phase = Phase::Triggering { since: now };
                }
            }
            ConditionalStatus::Triggering | ConditionalStatus::Triggered => self.phase = Phase::Working,
            ConditionalStatus::Finished => self.service_over(None),
            ConditionalStatus::Canceled => self.service_over(Some(End::Canceled)),
            ConditionalStatus::Rejected => self.service_over(Some(End::Rejected(0))),
            ConditionalStatus::Expired => self.service_over(Some(End::Expired(0))),
        }
        self.moved_since(before, now)
    }

    fn phase_unconfirmed(&self) -> bool {
        matches!(self.phase, Phase::InFlight | Phase::Unknown)
    }

    /// The conditional-order service is done with it: an end of its own, or the end of the order that it became.
    fn service_over(&mut self, end: Option<End>) {
        match (self.leg, end) {
            (Leg::Waiting, Some(end)) => self.end(end),
            (Leg::Waiting, None) => {
                self.leg = Leg::Became { seen: false, over: true };
                self.phase = Phase::Working;
            }
            (Leg::Became { seen, .. }, _) => {
                self.leg = Leg::Became { seen, over: true };
                self.phase = Phase::Working;
            }
            (Leg::Plain, _) => {}
        }
    }

    fn conditional_contradiction(&self, report: &ConditionalReport) -> Option<&'static str> {
        if self.leg == Leg::Plain {
            return Some("an ordinary order is reported as a conditional one");
        }
        if report.symbol != self.symbol {
            return Some("the report names another symbol");
        }
        if report.side != self.side {
            return Some("the report names another side");
        }
        if report.key != self.key {
            return Some("the report names another client order id");
        }
        if self.algo_id.is_some_and(|id| id != report.venue_id) {
            return Some("the report names another id of the conditional-order service");
        }
        if report.became.is_some() && self.venue_id.is_some() && report.became != self.venue_id {
            return Some("the conditional order became two orders");
        }
        None
    }

    /// The place request certainly had no effect.
    pub fn on_place_failed(&mut self, end: End, now: Ts) -> Step {
        if self.has_ended() {
            return Step::Stale;
        }
        if !self.phase_unconfirmed() || self.accepted {
            // Confirmed and refused: the venue itself has to tell.
            self.start_asking(now, false);
            return Step::Stale;
        }
        self.end(end);
        self.changed_at = now;
        Step::Moved
    }

    /// The place request was written, or will not be any more: what has not arrived yet was sent no later than now.
    pub fn on_request_over(&mut self, now: Ts) {
        if self.place.take().is_some() && self.phase_unconfirmed() && !self.accepted {
            self.sent_at = self.sent_at.max(now);
        }
    }

    /// The request that modifies it was written.
    pub fn on_modify_written(&mut self, command: CommandId, now: Ts) {
        if let Some(modify) = self.modify.as_mut().filter(|modify| modify.command.is_none_or(|known| known == command))
        {
            modify.sent_at = now;
        }
    }

    /// From when on an answer that the venue does not know it can prove that it never arrived. A request that nobody has heard
    /// to be written may be held back, but not for longer than an order may go without a sign of life.
    fn proof_from(&self, timing: &Timing) -> Ts {
        let held = if self.place.is_some() { timing.order_timeout } else { Span::ZERO };
        // Until `absent_after` has passed, and at that moment itself, the order may still arrive behind the question.
        self.sent_at.plus(held).plus(timing.absent_after).plus(Span::from_millis(1))
    }

    /// Nobody knows what became of the place request.
    pub fn on_place_unknown(&mut self, now: Ts) -> Step {
        if self.phase != Phase::InFlight {
            return Step::Stale;
        }
        self.phase = Phase::Unknown;
        self.start_asking(now, false);
        Step::Moved
    }

    /// Nobody knows what became of the cancellation, or it was refused: the order itself has to be asked for.
    pub fn on_cancel_unknown(&mut self, now: Ts) {
        if let Some(cancel) = &mut self.cancel {
            cancel.stage = CancelStage::Asked;
            self.start_asking(now, false);
        }
    }

    /// The cancellation was certainly not sent: it is, later.
    pub fn on_cancel_unsent(&mut self, retry_at: Ts) {
        if let Some(cancel) = &mut self.cancel {
            cancel.stage = CancelStage::Retry { at: retry_at };
        }
    }

    /// The modification certainly had no effect: the order is as it was.
    pub fn on_modify_failed(&mut self) {
        self.modify = None;
    }

    /// Nobody knows what became of the modification.
    pub fn on_modify_unknown(&mut self, now: Ts) {
        if let Some(modify) = &mut self.modify {
            modify.command = None;
            self.start_asking(now, false);
        }
    }

    /// The question was answered with a state, which has been taken already. A cancellation whose fate was unknown is sent
    /// again if the order still works. A modification whose fate was unknown is given up once it cannot come true any more.
    pub fn on_answered(&mut self, timing: &Timing, now: Ts) {
        let Some(mut ask) = self.ask.take() else { return };
        self.answered_at = ask.asked_at;
        if let Some(modify) = self.modify
            && modify.command.is_none()
        {
            // It may have been held back for as long as an order may go without a sign of life.
            if ask.asked_at >= modify.sent_at.plus(timing.order_timeout).plus(timing.absent_after) {
                self.modify = None;
            } else {
                ask.command = None;
                ask.next_at = now.plus(backoff(timing, ask.attempts));
                self.ask = Some(ask);
            }
        }
        if self.phase_unconfirmed() {
            // The answer said nothing usable.
            ask.command = None;
            ask.next_at = now.plus(backoff(timing, ask.attempts));
            self.ask = Some(ask);
            return;
        }
        if let Some(Cancel { stage: stage @ CancelStage::Asked, attempts }) = &mut self.cancel {
            *stage = if *attempts <= 1 {
                CancelStage::Retry { at: now }
            } else {
                CancelStage::Retry { at: now.plus(backoff(timing, *attempts)) }
            };
        }
    }

    /// The question was not answered: it is asked again, at `retry_at` or after a pause that doubles.
    pub fn on_unanswered(&mut self, timing: &Timing, now: Ts, retry_at: Option<Ts>) {
        if let Some(ask) = &mut self.ask {
            ask.command = None;
            let pause = now.plus(backoff(timing, ask.attempts));
            ask.next_at = retry_at.map_or(pause, |at| at.max(now));
        }
    }

    /// The venue knows no such order. That proves something only when the order had time to arrive and was asked for twice,
    /// because the venue forgets orders only after days.
    pub fn on_absent(&mut self, timing: &Timing, now: Ts) -> Absence {
        let proof_from = self.proof_from(timing);
        let Some(ask) = &mut self.ask else { return Absence::Unproven };
        // A question from before the newest change proves nothing: it may have been for another id.
        if ask.asked_at > self.changed_at {
            ask.absents = ask.absents.saturating_add(1);
        }
        ask.command = None;
        ask.next_at = now.plus(backoff(timing, ask.attempts));
        if now < proof_from {
            // The first question that proves something is not put off by a pause that has grown long.
            ask.next_at = ask.next_at.min(proof_from);
        }
        if ask.absents < 2 || ask.asked_at < proof_from {
            return Absence::Unproven;
        }
        self.answered_at = ask.asked_at;
        match self.leg {
            Leg::Became { over: true, .. } => {
                self.ask = None;
                self.settle = true;
                Absence::AskTrades
            }
            Leg::Became { seen: false, .. } => Absence::Unproven,
            _ if self.accepted => {
                self.end(End::Canceled);
                self.changed_at = now;
                Absence::Gone
            }
            _ => {
                self.end(End::NeverArrived);
                self.changed_at = now;
                Absence::NeverArrived
            }
        }
    }

    /// Takes over what is known of the ordinary order that this one became and that was taken for another's.
    pub fn absorb(&mut self, other: &Order) {
        self.child_key = Some(other.key).filter(|key| *key != self.key);
        self.leg = Leg::Became { seen: true, over: matches!(self.leg, Leg::Became { over: true, .. }) };
        self.adopted = true;
        self.reported = self.reported.max(other.reported);
        self.booked = self.booked.checked_add(other.booked).unwrap_or(self.booked).min(self.reported);
        self.venue_time = self.venue_time.max(other.venue_time);
        if let Phase::Ended(end) = other.phase {
            self.end(end);
        }
    }

    /// The trade history is complete: ends an order that only it could end.
    pub fn on_history(&mut self, now: Ts) {
        if self.adopted {
            self.booked = self.reported.max(self.booked);
        }
        if self.settle {
            self.reported = self.booked;
            let filled = !self.quantity.is_zero() && self.booked >= self.quantity;
            self.end(if filled { End::Filled } else { End::Canceled });
            self.changed_at = now;
        }
    }
}

/// The end that a report tells of, if it is one.
fn end_of(report: &OrderReport) -> Option<End> {
    match report.status {
        OrderStatus::New | OrderStatus::PartiallyFilled => None,
        OrderStatus::Filled => Some(End::Filled),
        OrderStatus::Canceled => Some(End::Canceled),
        OrderStatus::Rejected => Some(End::Rejected(0)),
        OrderStatus::Expired | OrderStatus::ExpiredInMatch => Some(End::Expired(report.expiry_reason)),
    }
}
