//! Compares the daemon's books with the simulated exchange's: the exchange's are the truth, and they must agree to the last digit.

use qcat_core::command::{Answer, Query, TradeCursor};
use qcat_core::engine::Engine;
use qcat_core::id::{AccountIx, OrderKey, StrategyIx};
use qcat_core::num::Money;
use qcat_core::order::{Fill, OrderState, TradeRecord};
use qcat_core::time::Ts;
use qcat_core::venue::Venue;
use std::collections::{BTreeMap, BTreeSet};

/// Every difference, one sentence each; empty when the books agree. `fills` are all that the daemon booked since it first started.
pub fn differences(engine: &Engine, fills: &[Fill], venue: &Venue, account: AccountIx) -> Vec<String> {
    let mut found = Vec::new();
    open_orders(engine, venue, account, &mut found);
    trades(engine, fills, venue, account, &mut found);
    holdings(engine, venue, account, &mut found);
    found
}

/// A number of both books, as text to the last digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub what: String,
    /// Here.
    pub here: String,
    /// At the exchange.
    pub there: String,
}

/// The numbers that people compare: open orders, fills, fees, positions, balances.
pub fn lines(engine: &Engine, fills: &[Fill], venue: &Venue, account: AccountIx) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |what: String, here: String, there: String| lines.push(Line { what, here, there });
    let open = |query: Query| match venue.look(account, &query) {
        Ok(Answer::OpenOrders(orders)) => orders.len(),
        Ok(Answer::OpenConditionals(orders)) => orders.len(),
        _ => 0,
    };
    let ours = engine.desk(account).map_or(0, |desk| desk.entries().count());
    line("open orders".into(), ours.to_string(), (open(Query::OpenOrders) + open(Query::OpenConditionals)).to_string());
    let (own, theirs) = (fills.iter().filter(|fill| fill.account == account), venue_trades(engine, venue, account));
    line("fills".into(), own.count().to_string(), theirs.len().to_string());
    let Some(ledger) = engine.ledger(account) else { return lines };
    for instrument in engine.universe().instruments() {
        let here = ledger.account_quantity(instrument.symbol);
        let there = venue.position(account, instrument.symbol).map_or(Default::default(), |p| p.quantity);
        if !here.is_zero() || !there.is_zero() || theirs.iter().any(|trade| trade.symbol == instrument.symbol) {
            let text = |quantity| instrument.net_text(quantity);
            line(format!("position {}", instrument.name), text(here), text(there));
        }
    }
    for (asset, name) in engine.universe().assets() {
        let sum = |sum: Option<Money>, fee: Money| sum?.checked_add(fee).ok();
        let fees = theirs.iter().filter_map(|trade| trade.fill.fee).filter(|fee| fee.asset == asset);
        let (here, there) = (ledger.fees().get(asset), fees.fold(Some(Money::zero(asset)), sum));
        let there = there.map_or("too large".to_owned(), |fees| fees.to_string());
        if !here.is_zero() || there != here.to_string() {
            line(format!("fees {name}"), here.to_string(), there);
        }
        let (here, there) = (ledger.balances().get(asset), venue.balance(account, asset).map(|b| b.wallet));
        let there = there.unwrap_or(Money::zero(asset));
        if !here.is_zero() || !there.is_zero() {
            line(format!("wallet {name}"), here.to_string(), there.to_string());
        }
    }
    lines
}

fn look(venue: &Venue, account: AccountIx, query: &Query, found: &mut Vec<String>) -> Option<Answer> {
    match venue.look(account, query) {
        Ok(answer) => Some(answer),
        Err(error) => {
            found.push(format!("the exchange does not answer {query:?}: {} {}", error.code, error.message));
            None
        }
    }
}

fn open_orders(engine: &Engine, venue: &Venue, account: AccountIx, found: &mut Vec<String>) {
    let mut theirs: BTreeSet<(OrderKey, bool)> = BTreeSet::new();
    if let Some(Answer::OpenOrders(orders)) = look(venue, account, &Query::OpenOrders, found) {
        theirs.extend(orders.iter().map(|o| (o.key, false)));
    }
    if let Some(Answer::OpenConditionals(orders)) = look(venue, account, &Query::OpenConditionals, found) {
        theirs.extend(orders.iter().map(|o| (o.key, true)));
    }
    let desk = engine.desk(account);
    let ours = desk.iter().flat_map(|desk| desk.orders()).filter(|o| !matches!(o.state, OrderState::Done(_)));
    let ours: BTreeSet<(OrderKey, bool)> = ours.map(|o| (o.key, o.conditional)).collect();
    found.extend(ours.difference(&theirs).map(|(key, _)| format!("order {key} is open here and not at the exchange")));
    found.extend(theirs.difference(&ours).map(|(key, _)| format!("order {key} is open at the exchange and not here")));
}

/// All trades of the account at the exchange.
pub fn venue_trades(engine: &Engine, venue: &Venue, account: AccountIx) -> Vec<TradeRecord> {
    let mut all = Vec::new();
    for instrument in engine.universe().instruments() {
        let mut from = TradeCursor::Time(Ts::ZERO);
        while let Ok(Answer::Trades { trades, complete, .. }) =
            venue.look(account, &Query::Trades { symbol: instrument.symbol, from })
        {
            let Some(last) = trades.last() else { break };
            from = TradeCursor::Id(qcat_core::id::TradeId(last.fill.trade_id.0 + 1));
            all.extend(trades);
            if complete {
                break;
            }
        }
    }
    all
}

fn trades(engine: &Engine, fills: &[Fill], venue: &Venue, account: AccountIx, found: &mut Vec<String>) {
    let mut ours = BTreeMap::new();
    for fill in fills.iter().filter(|f| f.account == account) {
        if ours.insert((fill.symbol, fill.trade_id), fill).is_some() {
            found.push(format!("trade {} was booked twice", fill.trade_id.0));
        }
    }
    for trade in venue_trades(engine, venue, account) {
        let theirs = &trade.fill;
        match ours.remove(&(trade.symbol, theirs.trade_id)) {
            None => found.push(format!("trade {} of the exchange was never booked", theirs.trade_id.0)),
            Some(fill) => {
                let here =
                    (fill.side, fill.price, fill.quantity, fill.maker, fill.fee, fill.realized, fill.venue_order);
                let there = (
                    trade.side,
                    theirs.price,
                    theirs.quantity,
                    theirs.maker,
                    theirs.fee,
                    theirs.realized,
                    trade.venue_id,
                );
                if here != there {
                    found.push(format!("trade {}: here {here:?}, at the exchange {there:?}", theirs.trade_id.0));
                }
            }
        }
    }
    found.extend(ours.keys().map(|(_, id)| format!("trade {} was booked and is not at the exchange", id.0)));
}

fn holdings(engine: &Engine, venue: &Venue, account: AccountIx, found: &mut Vec<String>) {
    let Some(ledger) = engine.ledger(account) else { return found.push("the account has no ledger".to_owned()) };
    for instrument in engine.universe().instruments() {
        let here = ledger.account_quantity(instrument.symbol);
        let there = venue.position(account, instrument.symbol).map_or(Default::default(), |p| p.quantity);
        if here != there {
            let (here, there) = (instrument.net_text(here), instrument.net_text(there));
            found.push(format!("position {}: here {here}, at the exchange {there}", instrument.name));
        }
        let owners = (0..=engine.config().strategies.len()).map(|at| StrategyIx(at as u16));
        let sum: i64 =
            owners.map(|s| ledger.virtual_position(s, instrument.symbol).map_or(0, |p| p.quantity.mantissa())).sum();
        if sum != here.mantissa() {
            found.push(format!("position {}: the strategies' parts do not add up to the account's", instrument.name));
        }
    }
    for (asset, name) in engine.universe().assets() {
        let here = ledger.balances().get(asset);
        let there = venue.balance(account, asset).map_or(Money::zero(asset), |b| b.wallet);
        if here != there {
            found.push(format!("wallet {name}: here {here}, at the exchange {there}"));
        }
    }
}
