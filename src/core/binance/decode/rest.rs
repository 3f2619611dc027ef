//! REST answers: market data, account, errors; orders and trades from [`super::orders`].

pub use super::orders::{AlgoCanceled, algo_canceled, algo_order, algo_orders, order, orders, user_trades};

use super::list::Rows;
use super::wire::{Reader, Scalar, Text};
use super::{DecodeError, Problem, parse, scan, text_of};
use crate::command::{MarginType, SymbolSettings, VenueBalance, VenueError, VenuePosition};
use crate::id::SymbolIx;
use crate::instrument::{Instrument, Universe};
use crate::market::{BookLevels, Candle, Level, Mark};
use crate::num::{NetQuantity, Rate};
use crate::order::PositionMode;
use crate::time::{Span, Ts};
use serde::Deserialize;

/// The error in an answer whose status is not 200. When the body is none of the exchange's order system (an HTML page of a
/// proxy, say) the code is the negated status and the text the beginning of the body.
pub fn error(status: u16, body: &[u8]) -> VenueError {
    error_body(body).unwrap_or_else(|_| {
        let message = String::from_utf8_lossy(&body[..body.len().min(256)]).into();
        VenueError { code: -i32::from(status), message }
    })
}

/// The error body `{"code":…,"msg":…}`.
pub fn error_body(bytes: &[u8]) -> Result<VenueError, DecodeError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        code: Scalar<'a>,
        #[serde(borrow, default)]
        msg: Text<'a>,
    }
    let body: Body<'_> = parse("error", text_of("error", bytes)?)?;
    let code = body.code.text().unwrap_or_default();
    let code = code.parse().map_err(|_| DecodeError::new("error", "code", code, Problem::Word))?;
    Ok(VenueError { code, message: body.msg.as_deref().unwrap_or_default().into() })
}

/// The answer to `GET time`.
pub fn time(bytes: &[u8]) -> Result<Ts, DecodeError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "serverTime")]
        server_time: i64,
    }
    let body: Body = parse("time", text_of("time", bytes)?)?;
    Ok(Ts::from_millis(body.server_time))
}

/// The answer to `POST listenKey` and `PUT listenKey`.
pub fn listen_key(bytes: &[u8]) -> Result<String, DecodeError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "listenKey")]
        listen_key: String,
    }
    let text = text_of("listenKey", bytes)?;
    let body: Body = serde_json::from_str(text).map_err(|e| {
        // A key is a secret: it is not shown in errors.
        DecodeError::new("listenKey", "listenKey", "", Problem::Json(format!("{:?} error", e.classify())))
    })?;
    Ok(body.listen_key)
}

/// A level of a snapshot.
type Row<'a> = (Scalar<'a>, Scalar<'a>);

/// A REST snapshot of the book, with its event time. The answer does not name its symbol.
pub fn depth(bytes: &[u8], instrument: &Instrument) -> Result<(BookLevels, Ts), DecodeError> {
    if let Some(snapshot) = scan::snapshot(bytes, instrument) {
        return Ok(snapshot);
    }
    depth_slow(bytes, instrument)
}

/// The same as [`depth`] without its short cut: the judge of what is right.
pub(super) fn depth_slow(bytes: &[u8], instrument: &Instrument) -> Result<(BookLevels, Ts), DecodeError> {
    #[derive(Deserialize)]
    #[allow(non_snake_case)]
    struct Body<'a> {
        #[serde(borrow, default)]
        lastUpdateId: Scalar<'a>,
        #[serde(borrow, default)]
        E: Scalar<'a>,
        #[serde(borrow)]
        bids: Vec<Row<'a>>,
        #[serde(borrow)]
        asks: Vec<Row<'a>>,
    }
    let universe = Universe::default();
    let r = Reader { kind: "depth", universe: &universe };
    let body: Body<'_> = parse(r.kind, text_of(r.kind, bytes)?)?;
    let id = r.unsigned("lastUpdateId", body.lastUpdateId)?;
    let levels = |field, rows: &[Row<'_>]| {
        let level = |&(price, quantity): &Row<'_>| {
            let (price, quantity) = (r.price(instrument, field, price)?, r.quantity(instrument, field, quantity)?);
            Ok(Level { price, quantity })
        };
        rows.iter().map(level).collect::<Result<Vec<_>, DecodeError>>()
    };
    let (bids, asks) = (levels("bids", &body.bids)?, levels("asks", &body.asks)?);
    Ok((BookLevels { first_id: id, last_id: id, previous_id: 0, bids, asks }, r.time("E", body.E)?))
}

/// The answer to `GET klines`: candles of `interval`, oldest first. One that ends after `now` is not closed yet.
pub fn klines(bytes: &[u8], i: &Instrument, interval: Span, now: Ts) -> Result<Vec<Candle>, DecodeError> {
    let universe = Universe::default();
    let r = Reader { kind: "klines", universe: &universe };
    let rows: Vec<Vec<Scalar<'_>>> = parse(r.kind, text_of(r.kind, bytes)?)?;
    let candle = |row: &Vec<Scalar<'_>>| {
        let at = |column: usize| row.get(column).copied().unwrap_or_default();
        let open_time = r.time("openTime", at(0))?;
        Ok(Candle {
            interval,
            open_time,
            open: r.price(i, "open", at(1))?,
            high: r.price(i, "high", at(2))?,
            low: r.price(i, "low", at(3))?,
            close: r.price(i, "close", at(4))?,
            volume: r.quantity(i, "volume", at(5))?,
            quote_volume: r.money(i.quote, "quoteVolume", at(7))?,
            trades: r.unsigned("trades", at(8))?,
            taker_buy_volume: r.quantity(i, "takerBuyVolume", at(9))?,
            closed: open_time.plus(interval) <= now,
        })
    };
    rows.iter().map(candle).collect()
}

/// The answer to `GET premiumIndex` for one symbol or all; symbols without a definition are left out.
pub fn premium_index(bytes: &[u8], universe: &Universe) -> Result<Vec<(SymbolIx, Ts, Mark)>, DecodeError> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Row<'a> {
        #[serde(borrow)]
        symbol: Text<'a>,
        mark_price: Scalar<'a>,
        index_price: Scalar<'a>,
        last_funding_rate: Scalar<'a>,
        next_funding_time: Scalar<'a>,
        time: Scalar<'a>,
    }
    let r = Reader { kind: "premiumIndex", universe };
    let rows: Vec<Row<'_>> = one_or_many(r.kind, text_of(r.kind, bytes)?)?;
    let known = rows.iter().filter_map(|row| Some((row, universe.by_name(row.symbol.as_deref()?)?)));
    let mark = |(row, i): (&Row<'_>, &Instrument)| {
        let mark = Mark {
            mark_price: r.computed_price(i, "markPrice", row.mark_price)?,
            index_price: r.computed_price(i, "indexPrice", row.index_price)?,
            funding_rate: r.rate_or_zero("lastFundingRate", row.last_funding_rate)?,
            next_funding: r.time("nextFundingTime", row.next_funding_time)?,
        };
        Ok((i.symbol, r.time("time", row.time)?, mark))
    };
    known.map(mark).collect()
}

/// The answer to `GET positionRisk` (v3 and v2): positions that are not flat.
pub fn positions(bytes: &[u8], universe: &Universe) -> Result<Rows<VenuePosition>, DecodeError> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Row<'a> {
        #[serde(borrow)]
        symbol: Text<'a>,
        position_side: Scalar<'a>,
        position_amt: Scalar<'a>,
        entry_price: Scalar<'a>,
    }
    let r = Reader { kind: "positionRisk", universe };
    let rows: Vec<Row<'_>> = parse(r.kind, text_of(r.kind, bytes)?)?;
    Ok(Rows::read(&rows, |row| {
        if is_zero(row.position_amt) {
            return Ok(None);
        }
        let i = r.instrument("symbol", &row.symbol)?;
        let quantity = r.net(i, "positionAmt", row.position_amt)?;
        if quantity == NetQuantity::ZERO {
            return Ok(None);
        }
        Ok(Some(VenuePosition {
            symbol: i.symbol,
            position_side: r.position_side("positionSide", row.position_side)?,
            quantity,
            entry_price: r.computed_price(i, "entryPrice", row.entry_price)?,
        }))
    }))
}

/// The answer to `GET balance` (v3 and v2): wallets that are not empty.
pub fn balances(bytes: &[u8], universe: &Universe) -> Result<Rows<VenueBalance>, DecodeError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Row<'a> {
        #[serde(borrow)]
        asset: Scalar<'a>,
        balance: Scalar<'a>,
    }
    let r = Reader { kind: "balance", universe };
    let rows: Vec<Row<'_>> = parse(r.kind, text_of(r.kind, bytes)?)?;
    Ok(Rows::read(&rows, |row| {
        if is_zero(row.balance) {
            return Ok(None);
        }
        Ok(Some(VenueBalance { wallet: r.money(r.asset("asset", row.asset)?, "balance", row.balance)? }))
    }))
}

fn is_zero(number: Scalar<'_>) -> bool {
    let text = number.text().unwrap_or_default();
    !text.is_empty() && text.bytes().all(|b| matches!(b, b'0' | b'.' | b'-'))
}

/// The answer to `GET positionSide/dual`, or the same field of `GET accountConfig`.
pub fn position_mode(bytes: &[u8]) -> Result<PositionMode, DecodeError> {
    let hedge = account_flags("positionSide/dual", bytes)?.0;
    let hedge = hedge.ok_or_else(|| DecodeError::new("positionSide/dual", "dualSidePosition", "", Problem::Missing))?;
    Ok(if hedge { PositionMode::Hedge } else { PositionMode::OneWay })
}

/// The answer to `GET multiAssetsMargin`, or the same field of `GET accountConfig`.
pub fn multi_assets(bytes: &[u8]) -> Result<bool, DecodeError> {
    let multi = account_flags("multiAssetsMargin", bytes)?.1;
    multi.ok_or_else(|| DecodeError::new("multiAssetsMargin", "multiAssetsMargin", "", Problem::Missing))
}

/// What `GET accountConfig` says that trading depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountFlags {
    /// One-way or hedge.
    pub position_mode: PositionMode,
    /// Multi-assets margin.
    pub multi_assets: bool,
    /// Whether the account may trade at all; true when the answer does not say.
    pub can_trade: bool,
}

/// The answer to `GET accountConfig`.
pub fn account_config(bytes: &[u8]) -> Result<AccountFlags, DecodeError> {
    let kind = "accountConfig";
    let (hedge, multi, can_trade) = account_flags(kind, bytes)?;
    let hedge = hedge.ok_or_else(|| DecodeError::new(kind, "dualSidePosition", "", Problem::Missing))?;
    Ok(AccountFlags {
        position_mode: if hedge { PositionMode::Hedge } else { PositionMode::OneWay },
        multi_assets: multi.ok_or_else(|| DecodeError::new(kind, "multiAssetsMargin", "", Problem::Missing))?,
        can_trade: can_trade.unwrap_or(true),
    })
}

type Flags = (Option<bool>, Option<bool>, Option<bool>);

fn account_flags(kind: &'static str, bytes: &[u8]) -> Result<Flags, DecodeError> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Body<'a> {
        #[serde(borrow)]
        dual_side_position: Scalar<'a>,
        multi_assets_margin: Scalar<'a>,
        can_trade: Scalar<'a>,
    }
    let universe = Universe::default();
    let r = Reader { kind, universe: &universe };
    let body: Body<'_> = parse(kind, text_of(kind, bytes)?)?;
    let flag = |field, value: Scalar<'_>| value.text().map(|_| r.flag(field, value)).transpose();
    let hedge = flag("dualSidePosition", body.dual_side_position)?;
    let multi = flag("multiAssetsMargin", body.multi_assets_margin)?;
    Ok((hedge, multi, flag("canTrade", body.can_trade)?))
}

/// The answer to `GET symbolConfig`; symbols without a definition are left out.
pub fn symbol_config(bytes: &[u8], universe: &Universe) -> Result<Vec<SymbolSettings>, DecodeError> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Row<'a> {
        #[serde(borrow)]
        symbol: Text<'a>,
        margin_type: Scalar<'a>,
        leverage: Scalar<'a>,
    }
    let r = Reader { kind: "symbolConfig", universe };
    let rows: Vec<Row<'_>> = one_or_many(r.kind, text_of(r.kind, bytes)?)?;
    let known = rows.iter().filter_map(|row| Some((row, universe.by_name(row.symbol.as_deref()?)?)));
    let settings = |(row, i): (&Row<'_>, &Instrument)| {
        let margin_type = match row.margin_type.text() {
            Some("CROSSED" | "cross" | "CROSS") => MarginType::Cross,
            Some("ISOLATED" | "isolated") => MarginType::Isolated,
            other => return Err(r.error("marginType", other.unwrap_or_default(), Problem::Word)),
        };
        Ok(SymbolSettings { symbol: i.symbol, margin_type, leverage: r.unsigned("leverage", row.leverage)? })
    };
    known.map(settings).collect()
}

/// Fee rates of one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommissionRate {
    /// The symbol.
    pub symbol: SymbolIx,
    /// Maker fee rate; negative for a rebate.
    pub maker: Rate,
    /// Taker fee rate.
    pub taker: Rate,
}

/// The answer to `GET commissionRate`.
pub fn commission_rate(bytes: &[u8], universe: &Universe) -> Result<CommissionRate, DecodeError> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Body<'a> {
        #[serde(borrow)]
        symbol: Text<'a>,
        maker_commission_rate: Scalar<'a>,
        taker_commission_rate: Scalar<'a>,
    }
    let r = Reader { kind: "commissionRate", universe };
    let body: Body<'_> = parse(r.kind, text_of(r.kind, bytes)?)?;
    let rate = |field, value: Scalar<'_>| match value.text() {
        Some(_) => r.rate_or_zero(field, value),
        None => Err(r.error(field, "", Problem::Missing)),
    };
    Ok(CommissionRate {
        symbol: r.instrument("symbol", &body.symbol)?.symbol,
        maker: rate("makerCommissionRate", body.maker_commission_rate)?,
        taker: rate("takerCommissionRate", body.taker_commission_rate)?,
    })
}

/// Some answers are an object when a symbol was asked for and a list otherwise.
fn one_or_many<'a, T: Deserialize<'a>>(kind: &str, text: &'a str) -> Result<Vec<T>, DecodeError> {
    if text.trim_start().starts_with('[') { parse(kind, text) } else { parse(kind, text).map(|one| vec![one]) }
}
