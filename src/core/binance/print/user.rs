//! Events of the user stream.

use super::{Object, TermsText, name_of, side_word, time_in_force_word, working_word};
use crate::command::{AccountReason, AccountReport, Report};
use crate::id::SymbolIx;
use crate::instrument::Universe;
use crate::num::{Money, Price};
use crate::order::{ConditionalReport, ConditionalStatus, ExecutionType, OrderReport, OrderStatus};
use crate::time::Ts;

/// What clients expect of an order and [`OrderReport`] does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderFacts {
    /// Average price of all fills, zero without one.
    pub average_price: Price,
    /// Value of all fills in the quote asset, `None` without one.
    pub quote_filled: Option<Money>,
    /// When the order was made.
    pub created: Ts,
}

pub(super) fn status_word(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::New => "NEW",
        OrderStatus::PartiallyFilled => "PARTIALLY_FILLED",
        OrderStatus::Filled => "FILLED",
        OrderStatus::Canceled => "CANCELED",
        OrderStatus::Rejected => "REJECTED",
        OrderStatus::Expired => "EXPIRED",
        OrderStatus::ExpiredInMatch => "EXPIRED_IN_MATCH",
    }
}

pub(super) fn conditional_status_word(status: ConditionalStatus) -> &'static str {
    match status {
        ConditionalStatus::New => "NEW",
        ConditionalStatus::Triggering => "TRIGGERING",
        ConditionalStatus::Triggered => "TRIGGERED",
        ConditionalStatus::Finished => "FINISHED",
        ConditionalStatus::Canceled => "CANCELED",
        ConditionalStatus::Rejected => "REJECTED",
        ConditionalStatus::Expired => "EXPIRED",
    }
}

/// A status report has no execution of its own on the stream: it is told by the state.
fn execution_word(execution: ExecutionType, status: OrderStatus) -> &'static str {
    match execution {
        ExecutionType::New => "NEW",
        ExecutionType::Canceled => "CANCELED",
        ExecutionType::Calculated => "CALCULATED",
        ExecutionType::Expired => "EXPIRED",
        ExecutionType::Trade => "TRADE",
        ExecutionType::Amendment => "AMENDMENT",
        ExecutionType::Status => match status {
            OrderStatus::Canceled => "CANCELED",
            OrderStatus::Expired | OrderStatus::ExpiredInMatch => "EXPIRED",
            OrderStatus::Rejected => "REJECTED",
            _ => "NEW",
        },
    }
}

/// `ORDER_TRADE_UPDATE`. `false`: the symbol has no definition, nothing was printed.
pub fn order_update(
    out: &mut String,
    report: &OrderReport,
    facts: &OrderFacts,
    universe: &Universe,
    event_time: Ts,
) -> bool {
    let Some(i) = universe.instrument(report.symbol) else { return false };
    let mut event = Object::begin(out);
    event.word("e", "ORDER_TRADE_UPDATE").time("E", event_time).time("T", report.exchange_time);
    let terms = TermsText::of(&report.terms);
    let mut o = Object::begin(event.key("o"));
    o.text("s", &i.name).text("c", &report.key.to_string()).word("S", report.side.as_str());
    o.word("o", terms.kind).word("f", time_in_force_word(terms.time_in_force));
    o.quantity("q", i, report.quantity).price("p", i, terms.price).price("ap", i, facts.average_price);
    o.price("sp", i, terms.trigger_price).word("x", execution_word(report.execution, report.status));
    o.word("X", status_word(report.status)).int("i", report.venue_id.0);
    let fill = report.fill.as_ref();
    o.quantity("l", i, fill.map(|f| f.quantity).unwrap_or_default()).quantity("z", i, report.filled);
    o.price("L", i, fill.map(|f| f.price).unwrap_or_default());
    if let Some(fee) = fill.and_then(|f| f.fee) {
        o.text("N", universe.asset_name(fee.asset)).money("n", fee);
    }
    o.time("T", fill.map_or(report.exchange_time, |f| f.exchange_time)).int("t", fill.map_or(0, |f| f.trade_id.0));
    o.word("b", "0").word("a", "0").flag("m", fill.is_some_and(|f| f.maker)).flag("R", report.reduce_only);
    o.word("wt", working_word(terms.working_type)).word("ot", terms.kind).word("ps", side_word(report.position_side));
    o.flag("cp", terms.close_position);
    if let Some((percent, activation)) = terms.trailing {
        o.price("AP", i, activation.unwrap_or_default()).decimal("cr", percent.into(), 10);
    }
    o.flag("pP", terms.price_protect).int("si", 0).int("ss", 0);
    o.money("rp", fill.map_or(Money::zero(i.margin), |f| f.realized));
    o.word("V", "EXPIRE_MAKER")
        .word("pm", "NONE")
        .time("gtd", terms.good_till())
        .word("er", &report.expiry_reason.to_string());
    o.end();
    event.end();
    true
}

/// `ALGO_UPDATE`. `false`: the symbol has no definition, nothing was printed.
pub fn algo_update(out: &mut String, report: &ConditionalReport, universe: &Universe, event_time: Ts) -> bool {
    let Some(i) = universe.instrument(report.symbol) else { return false };
    let mut event = Object::begin(out);
    event.word("e", "ALGO_UPDATE").time("T", report.exchange_time).time("E", event_time);
    let terms = TermsText::of_conditional(&report.terms);
    let mut o = Object::begin(event.key("o"));
    o.text("caid", &report.key.to_string()).int("aid", report.venue_id.0).word("at", "CONDITIONAL");
    o.word("o", terms.kind).text("s", &i.name).word("S", report.side.as_str());
    o.word("ps", side_word(report.position_side)).word("f", time_in_force_word(terms.time_in_force));
    o.quantity("q", i, report.quantity).word("X", conditional_status_word(report.status));
    o.word("ai", &report.became.map_or(String::new(), |id| id.0.to_string())).word("ap", "0").word("aq", "0");
    o.word("act", "0").price("tp", i, terms.trigger_price).price("p", i, terms.price).word("V", "EXPIRE_MAKER");
    o.word("wt", working_word(terms.working_type)).word("pm", "NONE").flag("cp", terms.close_position);
    o.flag("pP", terms.price_protect).flag("R", report.reduce_only).int("tt", 0).time("gtd", terms.good_till());
    if !report.reason.is_empty() {
        o.text("rm", &report.reason);
    }
    if let Some((percent, activation)) = terms.trailing {
        o.price("AP", i, activation.unwrap_or_default()).decimal("cr", percent.into(), 10);
    }
    o.end();
    event.end();
    true
}

/// `ACCOUNT_UPDATE`. Positions in symbols without a definition are left out.
pub fn account_update(out: &mut String, report: &AccountReport, universe: &Universe, event_time: Ts) {
    let mut event = Object::begin(out);
    event.word("e", "ACCOUNT_UPDATE").time("T", report.exchange_time).time("E", event_time);
    let mut a = Object::begin(event.key("a"));
    a.word("m", reason_word(report.reason));
    let balances = a.key("B");
    balances.push('[');
    for (at, (balance, change)) in report.balances.iter().enumerate() {
        balances.push_str(if at == 0 { "" } else { "," });
        let mut b = Object::begin(balances);
        b.text("a", universe.asset_name(balance.wallet.asset)).money("wb", balance.wallet);
        b.money("cw", balance.wallet).money("bc", *change);
        b.end();
    }
    balances.push(']');
    let positions = a.key("P");
    positions.push('[');
    let known = report.positions.iter().filter_map(|p| Some((p, universe.instrument(p.symbol)?)));
    for (at, (position, i)) in known.enumerate() {
        positions.push_str(if at == 0 { "" } else { "," });
        let mut p = Object::begin(positions);
        p.text("s", &i.name).net("pa", i, position.quantity.mantissa()).price("ep", i, position.entry_price);
        p.word("cr", "0").word("up", "0").word("mt", "cross").word("iw", "0");
        p.word("ps", side_word(position.position_side));
        p.end();
    }
    positions.push(']');
    a.end();
    event.end();
}

fn reason_word(reason: AccountReason) -> &'static str {
    match reason {
        AccountReason::Order => "ORDER",
        AccountReason::Funding => "FUNDING_FEE",
        AccountReason::Transfer => "MARGIN_TRANSFER",
        AccountReason::Other => "ADJUSTMENT",
    }
}

/// `MARGIN_CALL` for the positions in these symbols.
pub fn margin_call(out: &mut String, symbols: &[SymbolIx], universe: &Universe, event_time: Ts) {
    let mut event = Object::begin(out);
    event.word("e", "MARGIN_CALL").time("E", event_time);
    let positions = event.key("p");
    positions.push('[');
    for (at, &symbol) in symbols.iter().enumerate() {
        positions.push_str(if at == 0 { "" } else { "," });
        let mut p = Object::begin(positions);
        p.text("s", name_of(universe, symbol)).word("ps", "BOTH");
        p.end();
    }
    positions.push(']');
    event.end();
}

/// `ACCOUNT_CONFIG_UPDATE`. `false`: the report is none of its kind, nothing was printed.
pub fn config_update(out: &mut String, report: &Report, universe: &Universe, event_time: Ts) -> bool {
    let (key, symbol, value) = match report {
        Report::Leverage { symbol, leverage, .. } => ("ac", Some(*symbol), i64::from(*leverage)),
        Report::MultiAssets { multi_assets, .. } => ("ai", None, i64::from(*multi_assets)),
        _ => return false,
    };
    let mut event = Object::begin(out);
    event.word("e", "ACCOUNT_CONFIG_UPDATE").time("E", event_time).time("T", event_time);
    let mut change = Object::begin(event.key(key));
    match symbol {
        Some(symbol) => change.text("s", name_of(universe, symbol)).int("l", value),
        None => change.flag("j", value != 0),
    };
    change.end();
    event.end();
    true
}

/// `listenKeyExpired`.
pub fn listen_key_expired(out: &mut String, listen_key: &str, event_time: Ts) {
    let mut event = Object::begin(out);
    event.word("e", "listenKeyExpired").time("E", event_time).text("listenKey", listen_key);
    event.end();
}
