//! The booking of fills: each trade once, by whatever way it is learnt, and the search for those that no report told of.
#![deny(clippy::float_arithmetic)]

use super::table::{Pending, Task};
use super::{Desk, ROOM};
use crate::command::{Answer, CommandId, CommandKind, Outcome, Query, TradeCursor, VenueCommand, VenueError};
use crate::event::{AlertCode, Event};
use crate::id::{ForeignId, OrderKey, StrategyIx, SymbolIx, TradeId, VenueOrderId};
use crate::node::{Context, Outbox};
use crate::num::{NetQuantity, Side};
use crate::order::reconcile::Finding;
use crate::order::state::{Order, OrderRef, Step, backoff};
use crate::order::{Fill, PositionSide, ReportedFill, TradeRecord};
use crate::time::{Span, Ts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Our clock and the venue's may differ by this much at most where a time is the only handle on the trade history.
const CLOCK_MARGIN: Span = Span::from_secs(60);

/// After so many searches in vain a person is told.
const SEARCHES: u32 = 6;

/// The trades of one symbol that were booked. What lies at or below the watermark is booked by definition; it follows the
/// reconciliations, one behind, because the venue's trade history may show a trade late.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Booked {
    watermark: Option<TradeId>,
    /// The next watermark: newest trade of the last completed reconciliation.
    next: Option<TradeId>,
    /// Newest trade in the pages of the reconciliation under way.
    page_max: Option<TradeId>,
    above: BTreeSet<TradeId>,
}

/// A search in the trade history of one symbol.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TradesAsk {
    /// When to do something: ask, or ask again.
    due: Ts,
    command: Option<CommandId>,
    /// Where the page that was asked for begins.
    from: TradeCursor,
    /// When the first page was asked for.
    began_at: Ts,
    attempts: u32,
    /// Wanted once even if no known order is owed a fill.
    once: bool,
}

impl Desk {
    pub(super) fn is_booked(&self, symbol: SymbolIx, trade: TradeId) -> bool {
        let booked = self.state.booked.get(&symbol);
        booked.is_some_and(|booked| booked.watermark.is_some_and(|mark| trade <= mark) || booked.above.contains(&trade))
    }

    /// Books a fill of an order. The caller has made sure that it was not booked before and that it fits.
    pub(super) fn book(
        &mut self,
        order: &mut Order,
        venue_order: VenueOrderId,
        (side, position_side): (Side, PositionSide),
        fill: &ReportedFill,
        out: &mut Outbox,
    ) {
        order.book(fill.quantity);
        let owner = (order.strategy, order.symbol, order.key);
        self.emit_fill(owner, venue_order, (side, position_side), fill, out);
    }

    fn emit_fill(
        &mut self,
        (strategy, symbol, key): (StrategyIx, SymbolIx, OrderKey),
        venue_order: VenueOrderId,
        (side, position_side): (Side, PositionSide),
        fill: &ReportedFill,
        out: &mut Outbox,
    ) {
        self.state.booked.entry(symbol).or_default().above.insert(fill.trade_id);
        let net = self.state.nets.entry((strategy, symbol)).or_insert(NetQuantity::ZERO);
        *net = net.checked_add(fill.quantity.signed(side)).unwrap_or(*net);
        self.note_closed((strategy, symbol), key, side, fill.quantity);
        out.push(Event::Fill(Fill {
            account: self.account,
            strategy,
            symbol,
            key,
            venue_order,
            trade_id: fill.trade_id,
            side,
            position_side,
            price: fill.price,
            quantity: fill.quantity,
            maker: fill.maker,
            fee: fill.fee,
            realized: fill.realized,
            exchange_time: fill.exchange_time,
        }));
    }

    /// Books the rows of the trade history that no report told of. What finds no room comes again; says whether all had room.
    /// `may_hold`: a stranger's trade may wait for its owner to be found.
    pub(super) fn book_trades(
        &mut self,
        trades: &[TradeRecord],
        may_hold: bool,
        context: &Context<'_>,
        out: &mut Outbox,
    ) -> bool {
        let (mut found, mut rest) = (0, trades.iter());
        while out.room() >= ROOM
            && let Some(trade) = rest.next()
        {
            found += usize::from(self.book_trade(trade, may_hold, context, out));
        }
        if found > 0 {
            self.alert(
                AlertCode::MissedFill,
                None,
                format!("{found} fills were found that no report had told of"),
                out,
            );
        }
        let trades = rest.as_slice().to_vec();
        let whole = trades.is_empty();
        if !whole {
            out.push(Event::Finding(Finding::Trades { account: self.account, trades }));
        }
        whole
    }

    fn book_trade(&mut self, trade: &TradeRecord, may_hold: bool, context: &Context<'_>, out: &mut Outbox) -> bool {
        let (symbol, fill) = (trade.symbol, &trade.fill);
        if fill.quantity.is_zero() || self.is_booked(symbol, fill.trade_id) {
            return false;
        }
        let sides = (trade.side, trade.position_side);
        if let Some(id) = self.state.by_venue(symbol, trade.venue_id)
            && let Some(mut entry) = self.state.take(id)
        {
            // The trade history is the venue's last word: what does not fit is booked too, and looked into.
            if trade.side != entry.order.side {
                self.impossible(&mut entry.order, "a trade on the other side", true, context, out);
            } else if let Step::Impossible(why) = entry.order.check_fill(fill.quantity, None) {
                self.impossible(&mut entry.order, why, true, context, out);
            }
            self.book(&mut entry.order, trade.venue_id, sides, fill, out);
            self.put(id, entry, context, out);
            return true;
        }
        if may_hold && self.state.candidates(symbol, false).any(|id| self.is_side(id, trade.side)) {
            self.hold_trade(trade, context);
            return false;
        }
        // Its order was never reported: known by the venue's number only.
        let key = OrderKey::Foreign(ForeignId::new(&format!("venue-{}", trade.venue_id.0)));
        self.emit_fill((StrategyIx::EXTERNAL, symbol, key), trade.venue_id, sides, fill, out);
        true
    }

    /// An order of the symbol is owed fills: they are searched for, after a grace, because the reports may be on their way.
    pub(super) fn expect_trades(&mut self, symbol: SymbolIx, context: &Context<'_>) {
        self.search(symbol, false, context.now.plus(context.config.timing.query_backoff));
    }

    /// Searches the trade history once, for fills of which nothing else would tell.
    pub(super) fn look_at_trades(&mut self, symbol: SymbolIx, context: &Context<'_>) {
        self.search(symbol, true, context.now.plus(context.config.timing.query_backoff));
    }

    fn search(&mut self, symbol: SymbolIx, once: bool, due: Ts) {
        if let Some(ask) = self.state.trades.get_mut(&symbol) {
            ask.once |= once;
            return;
        }
        let from = TradeCursor::Time(Ts::ZERO);
        let ask = TradesAsk { due, command: None, from, began_at: Ts::ZERO, attempts: 0, once };
        self.state.trades.insert(symbol, ask);
        self.state.reschedule(Task::Trades(symbol), None, Some(due));
    }

    /// After a start no search of before is under way.
    pub(super) fn restart_trades(&mut self, context: &Context<'_>) {
        let symbols: Vec<SymbolIx> = self.state.trades.keys().copied().collect();
        for symbol in symbols {
            self.move_search(symbol, context.now);
        }
    }

    /// Ends the question under way, if any, and moves the next to `due`.
    fn move_search(&mut self, symbol: SymbolIx, due: Ts) {
        if let Some(ask) = self.state.trades.get_mut(&symbol) {
            let old = ask.due;
            ask.command = None;
            ask.due = due;
            self.state.reschedule(Task::Trades(symbol), Some(old), Some(due));
        }
    }

    pub(super) fn wake_trades(&mut self, symbol: SymbolIx, context: &Context<'_>, out: &mut Outbox) {
        let owed = self.state.owed_of(symbol).next().is_some();
        let Some(ask) = self.state.trades.get_mut(&symbol) else { return };
        if !owed && !ask.once {
            self.state.trades.remove(&symbol);
            return;
        }
        ask.began_at = context.now;
        ask.attempts = ask.attempts.saturating_add(1);
        let attempts = ask.attempts;
        if attempts == SEARCHES {
            self.alert(AlertCode::MissedFill, None, "fills that were reported are not in the trade history", out);
        }
        let from = self.first_cursor(symbol, context);
        self.ask_trades(symbol, from, context, out);
    }

    /// Where the search begins: after the watermark, else shortly before the oldest order that is owed something, by our clock
    /// or by the venue's, whichever is earlier.
    fn first_cursor(&self, symbol: SymbolIx, context: &Context<'_>) -> TradeCursor {
        if let Some(mark) = self.state.booked.get(&symbol).and_then(|booked| booked.watermark) {
            return TradeCursor::Id(TradeId(mark.0.saturating_add(1)));
        }
        let born = |id: OrderRef| {
            let order = &self.state.entry(id)?.order;
            Some(order.venue_born.map_or(order.sent_at, |born| born.min(order.sent_at)))
        };
        let oldest = self.state.owed_of(symbol).filter_map(born).min().unwrap_or(context.now);
        TradeCursor::Time(Ts::from_nanos(oldest.nanos().saturating_sub(CLOCK_MARGIN.nanos())))
    }

    fn ask_trades(&mut self, symbol: SymbolIx, from: TradeCursor, context: &Context<'_>, out: &mut Outbox) {
        let kind = CommandKind::Query(Query::Trades { symbol, from });
        let command = VenueCommand { id: context.next_command(), account: self.account, kind };
        self.trades_sent(symbol, from, command.id, context, false);
        out.push(Event::Command(command));
    }

    /// Notes a question for trades, when it is asked and when its record is folded. Idempotent. The reconciliation asks such
    /// questions too: a folded one counts as the desk's only where the desk has asked at the same time.
    pub(super) fn trades_sent(
        &mut self,
        symbol: SymbolIx,
        from: TradeCursor,
        id: CommandId,
        context: &Context<'_>,
        folded: bool,
    ) {
        let next = context.now.plus(context.config.timing.order_timeout.max(Span::from_millis(1)));
        let Some(ask) = self.state.trades.get_mut(&symbol) else { return };
        if folded && !(ask.command.is_some() && ask.due == next) {
            return;
        }
        ask.from = from;
        let old = ask.command.replace(id);
        let due = std::mem::replace(&mut ask.due, next);
        self.state.reschedule(Task::Trades(symbol), Some(due), Some(next));
        self.state.replace_command(old.filter(|old| *old != id), id, Pending::Trades(symbol));
    }

    pub(super) fn on_trades_answer(
        &mut self,
        symbol: SymbolIx,
        command: CommandId,
        result: &Result<Answer, VenueError>,
        context: &Context<'_>,
        out: &mut Outbox,
    ) {
        let current = self.state.trades.get(&symbol).is_some_and(|ask| ask.command == Some(command));
        let Ok(Answer::Trades { trades, complete, .. }) = result else {
            if current {
                self.search_failed(symbol, None, context);
            }
            return;
        };
        let whole = self.book_trades(trades, true, context, out);
        if !current {
            return;
        }
        if !whole {
            // The rest is booked behind this step: the search ends when it finds nothing new.
            self.move_search(symbol, context.now.plus(Span::from_millis(1)));
            return;
        }
        let newest = trades.iter().map(|trade| trade.fill.trade_id).max();
        let next = self.state.trades.get(&symbol).and_then(|ask| ask.from.next(newest, *complete, ask.began_at));
        match next {
            Some(from) => self.ask_trades(symbol, from, context, out),
            None => self.search_complete(symbol, context, out),
        }
    }

    /// All pages are in: orders that only the trade history could end are ended, and what is still owed is searched again.
    fn search_complete(&mut self, symbol: SymbolIx, context: &Context<'_>, out: &mut Outbox) {
        let Some(ask) = self.state.trades.get_mut(&symbol) else { return };
        ask.once = false;
        let (began_at, attempts) = (ask.began_at, ask.attempts);
        let owed: Vec<OrderRef> = self.state.owed_of(symbol).collect();
        for id in owed {
            let Some(mut entry) = self.state.take(id) else { continue };
            if began_at >= entry.order.changed_at {
                entry.order.on_history(context.now);
            }
            self.put(id, entry, context, out);
        }
        if self.state.owed_of(symbol).next().is_some() {
            self.move_search(symbol, context.now.plus(backoff(&context.config.timing, attempts)));
        } else if let Some(ask) = self.state.trades.remove(&symbol) {
            self.state.reschedule(Task::Trades(symbol), Some(ask.due), None);
        }
    }

    fn search_failed(&mut self, symbol: SymbolIx, retry_at: Option<Ts>, context: &Context<'_>) {
        let attempts = self.state.trades.get(&symbol).map_or(1, |ask| ask.attempts);
        let pause = context.now.plus(backoff(&context.config.timing, attempts));
        self.move_search(symbol, retry_at.map_or(pause, |at| at.max(context.now)));
    }

    pub(super) fn on_trades_failed(
        &mut self,
        symbol: SymbolIx,
        command: CommandId,
        outcome: &Outcome,
        context: &Context<'_>,
    ) {
        if self.state.trades.get(&symbol).is_none_or(|ask| ask.command != Some(command)) {
            return;
        }
        match outcome {
            Outcome::Limited(at) => self.search_failed(symbol, Some(*at), context),
            _ => self.search_failed(symbol, None, context),
        }
    }

    /// Notes how far a page of the reconciliation reaches.
    pub(super) fn note_page(&mut self, trades: &[TradeRecord]) {
        for trade in trades {
            let booked = self.state.booked.entry(trade.symbol).or_default();
            booked.page_max = booked.page_max.max(Some(trade.fill.trade_id));
        }
    }

    /// A reconciliation is complete: the memory of booked trades is cut, except where a fill is still being looked for.
    pub(super) fn on_reconciled(&mut self) {
        let unsettled: BTreeSet<SymbolIx> = (self.state.owed.iter().map(|(symbol, _)| *symbol))
            .chain(self.state.held.keys().map(|(symbol, _)| *symbol))
            .collect();
        for (symbol, booked) in &mut self.state.booked {
            if unsettled.contains(symbol) {
                continue;
            }
            booked.watermark = booked.watermark.max(booked.next);
            booked.next = booked.next.max(booked.page_max);
            if let Some(mark) = booked.watermark {
                booked.above = booked.above.split_off(&TradeId(mark.0.saturating_add(1)));
            }
        }
    }
}
