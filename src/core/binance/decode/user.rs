//! Events of the user stream become reports.

use super::cursor::Cursor;
use super::fields::{Place, Value, Wire, object, wire};
use super::orders::{self, TermsWire};
use super::wire::{Reader, Scalar, Text};
use super::{DecodeError, Frame, Problem, parse};
use crate::command::{AccountReason, AccountReport, Report, VenueBalance, VenuePosition};
use crate::id::{AccountIx, OrderKey, TradeId, VenueOrderId};
use crate::instrument::{Instrument, Universe};
use crate::order::{ConditionalReport, ExecutionType, OrderReport, ReportedFill};
use serde::Deserialize;

/// Decodes an event of the user stream, or tells that its kind is unknown.
pub(super) fn decode(
    kind: &str,
    body: &str,
    universe: &Universe,
    account: Option<AccountIx>,
) -> Result<Frame, DecodeError> {
    let known = KINDS.iter().find(|known| **known == kind);
    let Some(&kind) = known else {
        let cut: String = kind.chars().take(64).collect();
        return Ok(Frame::Unknown(cut.into()));
    };
    let r = Reader { kind, universe };
    let account = account.ok_or_else(|| r.error("e", kind, Problem::NoAccount))?;
    match kind {
        "listenKeyExpired" => Ok(Frame::ListenKeyExpired),
        "ORDER_TRADE_UPDATE" => order_update(r, &parse(kind, body)?, account).map(Frame::User),
        "ALGO_UPDATE" => algo_update(r, &parse(kind, body)?, account).map(Frame::User),
        "ACCOUNT_UPDATE" => known_of_account_update(r, &parse(kind, body)?, account),
        "MARGIN_CALL" => margin_call(r, body, account),
        _ => config_update(r, body, account).map(Frame::User),
    }
}

/// Decodes an event that is nothing unusual, of the kinds that trading sees all the time.
pub(super) fn event_at(
    kind: &[u8],
    place: Place<'_>,
    universe: &Universe,
    account: Option<AccountIx>,
) -> Option<Frame> {
    let account = account?;
    let r = |kind| Reader { kind, universe };
    let report = match kind {
        b"ORDER_TRADE_UPDATE" => read(place, |event| order_update(r("ORDER_TRADE_UPDATE"), event, account)),
        b"ALGO_UPDATE" => read(place, |event| algo_update(r("ALGO_UPDATE"), event, account)),
        b"ACCOUNT_UPDATE" => read(place, |event| account_update(r("ACCOUNT_UPDATE"), event, account)),
        _ => None,
    };
    report?.ok().map(Frame::User)
}

const KINDS: [&str; 6] =
    ["ORDER_TRADE_UPDATE", "ALGO_UPDATE", "ACCOUNT_UPDATE", "MARGIN_CALL", "listenKeyExpired", "ACCOUNT_CONFIG_UPDATE"];

/// An event with its transaction time and its body. Field names as on the wire.
#[derive(Deserialize, Default)]
#[allow(non_snake_case)]
#[serde(bound(deserialize = "O: Deserialize<'de>, 'de: 'a"))]
struct Event<'a, O> {
    #[serde(borrow, default)]
    T: Scalar<'a>,
    #[serde(alias = "a")]
    o: O,
}

/// An [`Event`] that is read field by field.
#[derive(Default)]
struct Begun<'a, O> {
    event: Event<'a, O>,
    has_time: bool,
    has_body: bool,
}

impl<'a, O: Wire<'a>> Wire<'a> for Begun<'a, O> {
    fn field(&mut self, _seen: &mut u64, key: &[u8], cursor: &mut Cursor<'a>) -> Option<()> {
        match key {
            b"T" if !std::mem::replace(&mut self.has_time, true) => self.event.T.read_into(cursor),
            b"o" | b"a" if !std::mem::replace(&mut self.has_body, true) => object(&mut self.event.o, cursor),
            b"T" | b"o" | b"a" => None,
            _ => cursor.skip(),
        }
    }
}

/// Reads an event and what it says, in one place.
fn read<'a, O: Wire<'a>>(
    place: Place<'a>,
    report: impl FnOnce(&Event<'a, O>) -> Result<Report, DecodeError>,
) -> Option<Result<Report, DecodeError>> {
    let mut begun = Begun::<O>::default();
    place.event(&mut begun)?;
    begun.has_body.then(|| report(&begun.event))
}

wire! {
    struct OrderWire<'a> {
        s: Text<'a>,
        c: Text<'a>,
        S: Scalar<'a>,
        o: Scalar<'a>,
        f: Scalar<'a>,
        q: Scalar<'a>,
        p: Scalar<'a>,
        sp: Scalar<'a>,
        x: Scalar<'a>,
        X: Scalar<'a>,
        i: Scalar<'a>,
        l: Scalar<'a>,
        z: Scalar<'a>,
        L: Scalar<'a>,
        N: Scalar<'a>,
        n: Scalar<'a>,
        T: Scalar<'a>,
        t: Scalar<'a>,
        m: Scalar<'a>,
        R: Scalar<'a>,
        wt: Scalar<'a>,
        ps: Scalar<'a>,
        cp: Scalar<'a>,
        AP: Scalar<'a>,
        cr: Scalar<'a>,
        pP: Scalar<'a>,
        rp: Scalar<'a>,
        gtd: Scalar<'a>,
        er: Scalar<'a>,
    }
}

fn order_update(r: Reader<'_>, event: &Event<'_, OrderWire<'_>>, account: AccountIx) -> Result<Report, DecodeError> {
    let w = &event.o;
    let i = r.instrument("s", &w.s)?;
    let execution = execution_type(r, w.x)?;
    let terms = orders::terms(
        r,
        i,
        &TermsWire {
            kind: w.o,
            price: w.p,
            trigger_price: w.sp,
            time_in_force: w.f,
            good_till: w.gtd,
            working_type: w.wt,
            close_position: w.cp,
            price_protect: w.pP,
            activation: w.AP,
            callback: w.cr,
        },
    )?;
    let (quantity, filled) = (r.quantity(i, "q", w.q)?, r.quantity(i, "z", w.z)?);
    let report = OrderReport {
        account,
        symbol: i.symbol,
        key: OrderKey::parse(w.c.as_deref().unwrap_or_default()),
        venue_id: VenueOrderId(r.integer("i", w.i)?),
        side: r.side("S", w.S)?,
        position_side: r.position_side("ps", w.ps)?,
        terms,
        reduce_only: r.flag("R", w.R)?,
        execution,
        status: orders::status(r, "X", w.X, quantity, filled)?,
        quantity,
        filled,
        fill: fill(r, i, w, execution)?,
        expiry_reason: if w.er.text().is_some() { r.unsigned("er", w.er)? } else { 0 },
        exchange_time: r.time("T", event.T)?,
    };
    Ok(Report::Order(Box::new(report)))
}

fn execution_type(r: Reader<'_>, word: Scalar<'_>) -> Result<ExecutionType, DecodeError> {
    match word.text() {
        Some("NEW") => Ok(ExecutionType::New),
        Some("CANCELED") => Ok(ExecutionType::Canceled),
        Some("CALCULATED") => Ok(ExecutionType::Calculated),
        Some("EXPIRED") => Ok(ExecutionType::Expired),
        Some("TRADE") => Ok(ExecutionType::Trade),
        Some("AMENDMENT") => Ok(ExecutionType::Amendment),
        // A refusal after acceptance carries its state in `X`.
        Some("REJECTED") => Ok(ExecutionType::Status),
        Some(other) => Err(r.error("x", other, Problem::Word)),
        None => Err(r.error("x", "", Problem::Missing)),
    }
}

/// The fill of a report: only trades and liquidations have one, and a liquidation may be told before it has a quantity.
fn fill(
    r: Reader<'_>,
    i: &Instrument,
    w: &OrderWire<'_>,
    execution: ExecutionType,
) -> Result<Option<ReportedFill>, DecodeError> {
    let quantity = r.quantity_or_zero(i, "l", w.l)?;
    if !matches!(execution, ExecutionType::Trade | ExecutionType::Calculated) || quantity.is_zero() {
        return Ok(None);
    }
    let fee = match w.N.text() {
        Some(_) => Some(r.money(r.asset("N", w.N)?, "n", w.n)?),
        None => None,
    };
    Ok(Some(ReportedFill {
        trade_id: TradeId(r.integer("t", w.t)?),
        price: r.computed_price(i, "L", w.L)?,
        quantity,
        maker: r.flag("m", w.m)?,
        fee,
        realized: r.money(i.margin, "rp", w.rp)?,
        exchange_time: r.time("T", w.T)?,
    }))
}

wire! {
    struct AlgoWire<'a> {
        caid: Text<'a>,
        aid: Scalar<'a>,
        o: Scalar<'a>,
        s: Text<'a>,
        S: Scalar<'a>,
        ps: Scalar<'a>,
        f: Scalar<'a>,
        q: Scalar<'a>,
        X: Scalar<'a>,
        ai: Scalar<'a>,
        tp: Scalar<'a>,
        p: Scalar<'a>,
        wt: Scalar<'a>,
        cp: Scalar<'a>,
        pP: Scalar<'a>,
        R: Scalar<'a>,
        gtd: Scalar<'a>,
        rm: Text<'a>,
        AP: Scalar<'a>,
        cr: Scalar<'a>,
    }
}

fn algo_update(r: Reader<'_>, event: &Event<'_, AlgoWire<'_>>, account: AccountIx) -> Result<Report, DecodeError> {
    let w = &event.o;
    let i = r.instrument("s", &w.s)?;
    let wire = TermsWire {
        kind: w.o,
        price: w.p,
        trigger_price: w.tp,
        time_in_force: w.f,
        good_till: w.gtd,
        working_type: w.wt,
        close_position: w.cp,
        price_protect: w.pP,
        activation: w.AP,
        callback: w.cr,
    };
    let report = ConditionalReport {
        account,
        symbol: i.symbol,
        key: OrderKey::parse(w.caid.as_deref().unwrap_or_default()),
        venue_id: VenueOrderId(r.integer("aid", w.aid)?),
        side: r.side("S", w.S)?,
        position_side: r.position_side("ps", w.ps)?,
        terms: orders::conditional_terms(r, i, &wire)?,
        quantity: r.quantity_or_zero(i, "q", w.q)?,
        reduce_only: r.flag("R", w.R)?,
        status: orders::conditional_status(r, "X", w.X)?,
        became: orders::became(r, "ai", w.ai)?,
        reason: w.rm.as_deref().unwrap_or_default().into(),
        exchange_time: r.time("T", event.T)?,
    };
    Ok(Report::Conditional(Box::new(report)))
}

wire! {
    struct AccountWire<'a> {
        m: Scalar<'a>,
        B: Vec<BalanceWire<'a>>,
        P: Vec<PositionWire<'a>>,
    }
}

wire! {
    struct BalanceWire<'a> {
        a: Scalar<'a>,
        wb: Scalar<'a>,
        bc: Scalar<'a>,
    }
}

wire! {
    struct PositionWire<'a> {
        s: Text<'a>,
        pa: Scalar<'a>,
        ep: Scalar<'a>,
        ps: Scalar<'a>,
    }
}

/// Rows of symbols and assets without a definition are left out, and told.
fn known_of_account_update(
    r: Reader<'_>,
    event: &Event<'_, AccountWire<'_>>,
    account: AccountIx,
) -> Result<Frame, DecodeError> {
    let mut left_out = Vec::new();
    let report = account_rows(r, event, account, |error| {
        if error.is_undefined() {
            left_out.push(error);
            Ok(())
        } else {
            Err(error)
        }
    })?;
    Ok(if left_out.is_empty() { Frame::User(report) } else { Frame::Partly(report, left_out) })
}

fn account_update(
    r: Reader<'_>,
    event: &Event<'_, AccountWire<'_>>,
    account: AccountIx,
) -> Result<Report, DecodeError> {
    account_rows(r, event, account, Err)
}

/// `beyond` judges the error of a row that cannot be read.
fn account_rows(
    r: Reader<'_>,
    event: &Event<'_, AccountWire<'_>>,
    account: AccountIx,
    mut beyond: impl FnMut(DecodeError) -> Result<(), DecodeError>,
) -> Result<Report, DecodeError> {
    let balance = |w: &BalanceWire<'_>| {
        let asset = r.asset("a", w.a)?;
        let change = if w.bc.text().is_some() { w.bc } else { Scalar::ZERO };
        Ok((VenueBalance { wallet: r.money(asset, "wb", w.wb)? }, r.money(asset, "bc", change)?))
    };
    let position = |w: &PositionWire<'_>| {
        let i = r.instrument("s", &w.s)?;
        let entry = if w.ep.text().is_some() { w.ep } else { Scalar::ZERO };
        Ok(VenuePosition {
            symbol: i.symbol,
            position_side: r.position_side("ps", w.ps)?,
            quantity: r.net(i, "pa", w.pa)?,
            entry_price: r.computed_price(i, "ep", entry)?,
        })
    };
    let reason = match event.o.m.text() {
        Some("ORDER") => AccountReason::Order,
        Some("FUNDING_FEE") => AccountReason::Funding,
        Some(
            "DEPOSIT" | "WITHDRAW" | "WITHDRAW_REJECT" | "MARGIN_TRANSFER" | "ASSET_TRANSFER" | "ADMIN_DEPOSIT"
            | "ADMIN_WITHDRAW" | "COIN_SWAP_DEPOSIT" | "COIN_SWAP_WITHDRAW",
        ) => AccountReason::Transfer,
        Some(_) => AccountReason::Other,
        None => return Err(r.error("m", "", Problem::Missing)),
    };
    let mut balances = Vec::with_capacity(event.o.B.len());
    for row in &event.o.B {
        balance(row).map(|row| balances.push(row)).or_else(&mut beyond)?;
    }
    let mut positions = Vec::with_capacity(event.o.P.len());
    for row in &event.o.P {
        position(row).map(|row| positions.push(row)).or_else(&mut beyond)?;
    }
    let report = AccountReport { account, reason, balances, positions, exchange_time: r.time("T", event.T)? };
    Ok(Report::Account(Box::new(report)))
}

/// Field names as on the wire.
#[derive(Deserialize, Default)]
#[serde(default)]
#[allow(non_snake_case)]
struct MarginCall<'a> {
    #[serde(borrow)]
    E: Scalar<'a>,
    p: Vec<PositionWire<'a>>,
}

fn margin_call(r: Reader<'_>, body: &str, account: AccountIx) -> Result<Frame, DecodeError> {
    let event: MarginCall<'_> = parse(r.kind, body)?;
    let exchange_time = r.time("E", event.E)?;
    let report = |w: &PositionWire<'_>| {
        let symbol = r.instrument("s", &w.s)?.symbol;
        Ok(Report::MarginCall { account, symbol, exchange_time })
    };
    let mut calls = event.p.iter().map(report).collect::<Result<Vec<_>, _>>()?;
    match calls.pop() {
        Some(only) if calls.is_empty() => Ok(Frame::User(only)),
        Some(last) => {
            calls.push(last);
            Ok(Frame::MarginCalls(calls))
        }
        None => Err(r.error("p", "[]", Problem::Missing)),
    }
}

/// Field names as on the wire.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ConfigUpdate<'a> {
    #[serde(borrow)]
    ac: Option<LeverageWire<'a>>,
    #[serde(borrow)]
    ai: Option<MultiAssetsWire<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LeverageWire<'a> {
    #[serde(borrow)]
    s: Text<'a>,
    l: Scalar<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MultiAssetsWire<'a> {
    #[serde(borrow)]
    j: Scalar<'a>,
}

fn config_update(r: Reader<'_>, body: &str, account: AccountIx) -> Result<Report, DecodeError> {
    let event: ConfigUpdate<'_> = parse(r.kind, body)?;
    match (event.ac, event.ai) {
        (Some(change), _) => {
            let symbol = r.instrument("s", &change.s)?.symbol;
            Ok(Report::Leverage { account, symbol, leverage: r.unsigned("l", change.l)? })
        }
        (None, Some(change)) => Ok(Report::MultiAssets { account, multi_assets: r.flag("j", change.j)? }),
        (None, None) => Err(r.error("ac", "", Problem::Missing)),
    }
}
