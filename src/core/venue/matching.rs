//! The life of ordinary orders: placing, matching, filling, changing, ending.
//!
//! Price-time priority against the recorded liquidity and among the simulated orders; see [`super::queue`] for the queue model.
//! A maker fills at its own price. Self-trade prevention is EXPIRE_MAKER. Reduce-only orders are cut to the position when they
//! are placed, fill at most what the position is by then, and expire (reason 4) as soon as there is nothing left to reduce.

use super::account::{notional, quantity};
use super::orders::{Order, expiry};
use super::queue::{Match, key_of, price_of};
use super::request::{OrderRef, PlaceOrder};
use super::rules::{check_price, check_quantity, error, scaled};
use super::{Out, Venue};
use crate::command::{AccountReason, AccountReport, Report, VenueBalance, VenueError};
use crate::id::{AccountIx, OrderKey, SymbolIx, TradeId, VenueOrderId};
use crate::num::{Money, Price, Quantity, Rate, Side};
use crate::order::{
    ExecutionType, OrderReport, OrderStatus, PositionSide, ReportedFill, Terms, TimeInForce, TradeRecord,
};

/// Modifications of one order that the exchange allows.
const MODIFICATIONS_MAX: u32 = 10_000;

/// One fill of one order.
struct Execution {
    order: VenueOrderId,
    price: Price,
    quantity: i64,
    maker: bool,
    trade: TradeId,
    kind: ExecutionType,
}

impl Venue {
    /// Places an ordinary order and matches it. The report is its state afterwards.
    pub(super) fn place(
        &mut self,
        account: AccountIx,
        order: &PlaceOrder,
        parent: Option<VenueOrderId>,
        out: Out<'_>,
    ) -> Result<OrderReport, VenueError> {
        let quantity = self.admit(account, order)?;
        let id = self.insert_order(account, order, quantity, parent);
        if let Some(parent) = parent {
            self.conditional_became(parent, id, out);
        }
        self.report_order(id, ExecutionType::New, None, out);
        self.match_taker(id, out);
        self.settle_rest(id, out);
        self.orders.get(id).map(|o| o.report(ExecutionType::Status, None)).ok_or_else(|| error(-2013))
    }

    pub(super) fn insert_order(
        &mut self,
        account: AccountIx,
        order: &PlaceOrder,
        quantity: i64,
        parent: Option<VenueOrderId>,
    ) -> VenueOrderId {
        self.counters.order += 1;
        let id = VenueOrderId(self.counters.order);
        self.orders.insert(Order {
            id,
            account,
            key: order.key,
            symbol: order.symbol,
            side: order.side,
            terms: order.terms,
            reduce_only: order.reduce_only,
            quantity,
            filled: 0,
            status: OrderStatus::New,
            parent,
            modifications: 0,
            expiry_reason: 0,
            resting: false,
            updated: self.clock,
        });
        id
    }

    /// The worst key that a taker accepts: its limit, or for a market order the exchange's bound around the mark price.
    fn taker_limit(&self, order: &Order) -> i64 {
        let makers = order.side.opposite();
        if let Some(price) = order.terms.limit_price() {
            return key_of(makers, price);
        }
        let bound = self.universe.instrument(order.symbol).and_then(|i| i.filters.market_take_bound);
        let reference = self.symbols.get(order.symbol.ix()).map_or(Price::ZERO, |s| s.reference());
        let Some(bound) = bound.filter(|_| !reference.is_zero()) else { return i64::MIN / 2 };
        let share = match order.side {
            Side::Buy => Rate::ONE.mantissa().saturating_add(bound.mantissa()),
            Side::Sell => Rate::ONE.mantissa().saturating_sub(bound.mantissa()).max(0),
        };
        key_of(makers, scaled(reference, Rate::from_mantissa(share)))
    }

    /// Takes what there is within the order's limit.
    fn match_taker(&mut self, id: VenueOrderId, out: Out<'_>) {
        let Some(order) = self.orders.get(id) else { return };
        let (account, symbol, side) = (order.account, order.symbol, order.side);
        let limit = self.taker_limit(order);
        let makers = side.opposite();
        while let Some(rest) = self.orders.get(id).filter(|o| o.is_open()).map(|o| self.fillable(o)) {
            let Some(book) = self.symbols.get_mut(symbol.ix()).map(|s| s.side_mut(makers)) else { return };
            match book.take(limit, account, rest) {
                None => return,
                Some(Match::SelfTrade { id: maker }) => {
                    self.end(maker, OrderStatus::ExpiredInMatch, expiry::SELF_TRADE, out);
                }
                Some(Match::External { key, quantity }) => {
                    let (price, trade) = (price_of(makers, key), self.next_trade());
                    let kind = ExecutionType::Trade;
                    self.execute(Execution { order: id, price, quantity, maker: false, trade, kind }, out);
                }
                Some(Match::Own { id: maker, key, quantity }) => {
                    let (price, trade) = (price_of(makers, key), self.next_trade());
                    let kind = ExecutionType::Trade;
                    self.execute(Execution { order: id, price, quantity, maker: false, trade, kind }, out);
                    self.execute(Execution { order: maker, price, quantity, maker: true, trade, kind }, out);
                }
            }
        }
    }

    /// What of an order may fill now: its rest, for a reduce-only order at most what it reduces.
    fn fillable(&self, order: &Order) -> i64 {
        if !order.reduce_only {
            return order.remaining();
        }
        let reducible = self.accounts.get(&order.account).map_or(0, |a| a.reducible(order.symbol, order.side));
        order.remaining().min(reducible)
    }

    /// What becomes of the rest of an order that has taken what it could.
    fn settle_rest(&mut self, id: VenueOrderId, out: Out<'_>) {
        let Some(order) = self.orders.get(id).filter(|o| o.is_open()) else { return };
        match order.time_in_force() {
            _ if self.fillable(order) == 0 => self.end(id, OrderStatus::Expired, expiry::REDUCE_ONLY, out),
            None => self.end(id, OrderStatus::Expired, expiry::MARKET, out),
            Some(TimeInForce::Ioc | TimeInForce::Fok) => self.end(id, OrderStatus::Expired, expiry::IOC, out),
            Some(TimeInForce::Gtc | TimeInForce::PostOnly | TimeInForce::Gtd(_)) => self.rest(id),
        }
    }

    /// Puts an order on the book, at the end of its level's queue.
    fn rest(&mut self, id: VenueOrderId) {
        let Some(order) = self.orders.get(id) else { return };
        let (account, symbol, side, key) = (order.account, order.symbol, order.side, order.book_key());
        let fillable = self.fillable(order);
        if let Some(market) = self.symbols.get_mut(symbol.ix()) {
            market.side_mut(side).join(key, id, account, fillable);
        }
        self.add_open_notional(id, 1);
        if let Some(order) = self.orders.get_mut(id) {
            order.resting = true;
        }
    }

    /// Takes an order off the book.
    pub(super) fn unrest(&mut self, id: VenueOrderId) {
        let Some(order) = self.orders.get(id).filter(|o| o.resting) else { return };
        let (symbol, side, key) = (order.symbol, order.side, order.book_key());
        if let Some(market) = self.symbols.get_mut(symbol.ix()) {
            market.side_mut(side).leave(key, id);
        }
        self.add_open_notional(id, -1);
        if let Some(order) = self.orders.get_mut(id) {
            order.resting = false;
        }
    }

    /// Adds (1) or removes (-1) an order's rest to what its account's margin must cover. Reduce-only orders need no margin.
    fn add_open_notional(&mut self, id: VenueOrderId, sign: i128) {
        let Some(order) = self.orders.get(id).filter(|o| !o.reduce_only) else { return };
        let Some(instrument) = self.universe.instrument(order.symbol) else { return };
        let value = notional(instrument, order.price(), order.remaining()).saturating_mul(sign);
        if let Some(account) = self.accounts.get_mut(&order.account) {
            let open = account.holdings.entry(order.symbol).or_default().open_notional_mut(order.side);
            *open = open.saturating_add(value);
        }
    }

    fn next_trade(&mut self) -> TradeId {
        self.counters.trade += 1;
        TradeId(self.counters.trade)
    }

    /// A maker fill from recorded liquidity or a recorded trade.
    pub(super) fn fill_maker(&mut self, matched: Match, side: Side, out: Out<'_>) {
        if let Match::Own { id, key, quantity } = matched {
            let (price, trade) = (price_of(side, key), self.next_trade());
            let kind = ExecutionType::Trade;
            self.execute(Execution { order: id, price, quantity, maker: true, trade, kind }, out);
        }
    }

    /// A forced fill (liquidation): outside the book, reported as CALCULATED.
    pub(super) fn fill_forced(&mut self, order: VenueOrderId, price: Price, quantity: i64, out: Out<'_>) {
        let trade = self.next_trade();
        let kind = ExecutionType::Calculated;
        self.execute(Execution { order, price, quantity, maker: false, trade, kind }, out);
    }

    /// Books one fill of one order and reports it.
    fn execute(&mut self, execution: Execution, out: Out<'_>) {
        let Execution { order: id, price, quantity: filled, maker, trade, kind } = execution;
        // The rest counts against margin until it is filled: take all of it out, put what remains back.
        let resting = self.orders.get(id).is_some_and(|o| o.resting);
        if resting {
            self.add_open_notional(id, -1);
        }
        let clock = self.clock;
        let Some(order) = self.orders.get_mut(id) else { return };
        order.filled += filled;
        order.updated = clock;
        order.status = if order.remaining() == 0 { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        let (account, symbol, side) = (order.account, order.symbol, order.side);
        if resting {
            self.add_open_notional(id, 1);
        }
        let Some(fill) = self.book_fill(account, symbol, side, price, filled, maker, trade) else { return };
        let venue_id = id;
        let record = TradeRecord { symbol, venue_id, side, position_side: PositionSide::Both, fill: fill.clone() };
        let history_max = self.config.history_max;
        if let Some(holder) = self.accounts.get_mut(&account) {
            let trades = holder.trades.entry(symbol).or_default();
            trades.push_back(record);
            if trades.len() > history_max {
                trades.pop_front();
            }
        }
        self.report_order(id, kind, Some(fill), out);
        self.report_account(account, symbol, AccountReason::Order, Money::zero, out);
        self.end_if_filled(id, out);
        self.trim_reduce_only(account, symbol, out);
    }

    /// Moves wallet and position.
    #[allow(clippy::too_many_arguments, reason = "the facts of one fill, named where they come from")]
    fn book_fill(
        &mut self,
        account: AccountIx,
        symbol: SymbolIx,
        side: Side,
        price: Price,
        filled: i64,
        maker: bool,
        trade: TradeId,
    ) -> Option<ReportedFill> {
        let instrument = self.universe.instrument(symbol)?;
        let holder = self.accounts.get_mut(&account)?;
        let value = Money::new(instrument.margin, notional(instrument, price, filled));
        let fee = holder.fees.of(value, maker).unwrap_or(Money::zero(instrument.margin));
        let holding = holder.holdings.entry(symbol).or_default();
        let realized = holding.fill(instrument, side, price, filled);
        let flat = holding.quantity == 0;
        holder.credit(instrument.margin, realized.saturating_sub(fee.mantissa()));
        if let Some(market) = self.symbols.get_mut(symbol.ix()) {
            if flat {
                market.holders.remove(&account);
            } else {
                market.holders.insert(account);
            }
        }
        Some(ReportedFill {
            trade_id: trade,
            price,
            quantity: quantity(filled),
            maker,
            fee: Some(fee).filter(|f| !f.is_zero()),
            realized: Money::new(instrument.margin, realized),
            exchange_time: self.clock,
        })
    }

    fn end_if_filled(&mut self, id: VenueOrderId, out: Out<'_>) {
        let Some(order) = self.orders.get(id).filter(|o| !o.is_open()) else { return };
        let parent = order.parent;
        self.unrest(id);
        self.orders.finish(id);
        if let Some(parent) = parent {
            self.conditional_finished(parent, out);
        }
    }

    /// Ends an open order other than by a fill.
    pub(super) fn end(&mut self, id: VenueOrderId, status: OrderStatus, reason: u8, out: Out<'_>) {
        if !self.orders.get(id).is_some_and(|o| o.is_open()) {
            return;
        }
        self.unrest(id);
        let clock = self.clock;
        let Some(order) = self.orders.get_mut(id) else { return };
        (order.status, order.expiry_reason, order.updated) = (status, reason, clock);
        let execution = if status == OrderStatus::Canceled { ExecutionType::Canceled } else { ExecutionType::Expired };
        self.report_order(id, execution, None, out);
        self.end_if_filled(id, out);
    }

    /// After a position changed: resting reduce-only orders expire when nothing is left to reduce, else they may fill at most
    /// what is left.
    fn trim_reduce_only(&mut self, account: AccountIx, symbol: SymbolIx, out: Out<'_>) {
        let open = self.orders.reducing_of(account, symbol).filter(|o| o.resting);
        let orders: Vec<VenueOrderId> = open.map(|o| o.id).collect();
        for id in orders {
            let Some(order) = self.orders.get(id).filter(|o| o.is_open()) else { continue };
            let (side, key, fillable) = (order.side, order.book_key(), self.fillable(order));
            if fillable == 0 {
                self.end(id, OrderStatus::Expired, expiry::REDUCE_ONLY, out);
            } else if let Some(market) = self.symbols.get_mut(symbol.ix()) {
                market.side_mut(side).limit_remaining(key, id, fillable);
            }
        }
    }

    /// Cancels one open order.
    pub(super) fn cancel(
        &mut self,
        account: AccountIx,
        symbol: SymbolIx,
        order: OrderRef,
        out: Out<'_>,
    ) -> Result<OrderReport, VenueError> {
        let open = self.orders.find(account, symbol, order).filter(|o| o.is_open());
        let id = open.map(|o| o.id).ok_or_else(|| error(-2011))?;
        self.end(id, OrderStatus::Canceled, 0, out);
        self.orders.get(id).map(|o| o.report(ExecutionType::Status, None)).ok_or_else(|| error(-2011))
    }

    /// Cancels all open ordinary orders, of one symbol or of all.
    pub(super) fn cancel_all(
        &mut self,
        account: AccountIx,
        symbol: Option<SymbolIx>,
        status: OrderStatus,
        reason: u8,
        out: Out<'_>,
    ) {
        let open: Vec<VenueOrderId> = self.orders.open_of(account, symbol).map(|o| o.id).collect();
        open.into_iter().for_each(|id| self.end(id, status, reason, out));
    }

    /// Changes price and quantity of a limit order: it goes to the end of the queue, and may take. A post-only order that
    /// would take, or a quantity that is filled already, cancels it.
    pub(super) fn modify(
        &mut self,
        account: AccountIx,
        symbol: SymbolIx,
        named: OrderRef,
        (side, price, quantity): (Side, Price, Quantity),
        out: Out<'_>,
    ) -> Result<OrderReport, VenueError> {
        let open = self.orders.find(account, symbol, named).filter(|o| o.is_open());
        let order = open.ok_or_else(|| error(-2013))?;
        let id = order.id;
        let Terms::Limit { price: old_price, time_in_force } = order.terms else { return Err(error(-5025)) };
        if order.side != side {
            return Err(error(-1102));
        }
        let wanted = quantity.mantissa();
        if (old_price, order.quantity) == (price, wanted) {
            return Err(error(-5027));
        }
        if order.modifications >= MODIFICATIONS_MAX {
            return Err(error(-5026));
        }
        self.check_modification(order, price, wanted)?;
        let makers = side.opposite();
        let would_take =
            time_in_force == TimeInForce::PostOnly && self.symbol(symbol)?.side(makers).crosses(key_of(makers, price));
        if would_take || wanted <= order.filled {
            self.end(id, OrderStatus::Canceled, 0, out);
        } else {
            self.unrest(id);
            let clock = self.clock;
            if let Some(order) = self.orders.get_mut(id) {
                order.terms = Terms::Limit { price, time_in_force };
                (order.quantity, order.updated) = (wanted, clock);
                order.modifications += 1;
            }
            self.report_order(id, ExecutionType::Amendment, None, out);
            self.match_taker(id, out);
            self.settle_rest(id, out);
        }
        self.orders.get(id).map(|o| o.report(ExecutionType::Status, None)).ok_or_else(|| error(-2013))
    }

    /// The rules of a modification: filters and, for what is added, margin.
    fn check_modification(&self, order: &Order, price: Price, wanted: i64) -> Result<(), VenueError> {
        let instrument = self.instrument(order.symbol)?;
        let reference = self.symbol(order.symbol)?.reference();
        check_price(instrument, price)?;
        check_quantity(&instrument.filters.lot, wanted)?;
        super::rules::check_percent(instrument, order.side, price, reference)?;
        if order.reduce_only {
            return Ok(());
        }
        let min = instrument.filters.min_notional.map_or(0, Money::mantissa);
        if notional(instrument, price, wanted) < min {
            return Err(error(-4164));
        }
        let mut holder = self.account(order.account)?.clone_without_trades();
        let old = notional(instrument, order.price(), order.remaining());
        let open = holder.holdings.entry(order.symbol).or_default().open_notional_mut(order.side);
        *open = open.saturating_sub(old);
        let added = (wanted - order.filled).max(0);
        // Compared with the order as it was: less or equal needs no further margin.
        if notional(instrument, price, added) <= old {
            return Ok(());
        }
        self.check_margin(&holder, instrument, order.side, price, added)
    }

    /// Sends an order report.
    pub(super) fn report_order(
        &mut self,
        id: VenueOrderId,
        execution: ExecutionType,
        fill: Option<ReportedFill>,
        out: Out<'_>,
    ) {
        if let Some(order) = self.orders.get(id) {
            let (account, report) = (order.account, order.report(execution, fill));
            self.report(account, Report::Order(Box::new(report)), out);
        }
    }

    /// Sends wallet and position of an account after a change in `symbol`.
    pub(super) fn report_account(
        &mut self,
        account: AccountIx,
        symbol: SymbolIx,
        reason: AccountReason,
        other_change: impl FnOnce(crate::id::AssetIx) -> Money,
        out: Out<'_>,
    ) {
        let Some(instrument) = self.universe.instrument(symbol) else { return };
        let Some(holder) = self.accounts.get(&account) else { return };
        let balance = VenueBalance { wallet: holder.wallet(instrument.margin) };
        // Funding of a cross position reports the balance alone.
        let positions = match (reason, holder.holdings.get(&symbol)) {
            (AccountReason::Order, Some(holding)) => vec![holding.position(instrument)],
            _ => Vec::new(),
        };
        let balances = vec![(balance, other_change(instrument.margin))];
        let exchange_time = self.clock;
        let report = AccountReport { account, reason, balances, positions, exchange_time };
        self.report(account, Report::Account(Box::new(report)), out);
    }

    /// The exchange's client id of a liquidation order.
    pub(super) fn autoclose_key(&self) -> OrderKey {
        OrderKey::parse(&format!("autoclose-{}", self.clock.millis()))
    }
}
