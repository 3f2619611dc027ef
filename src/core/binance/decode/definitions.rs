//! `exchangeInfo` and `leverageBracket`: what can be traded, by which rules, within which limits.

use super::wire::{Reader, Scalar};
use super::{DecodeError, Problem, parse, text_of};
use crate::instrument::{ContractStatus, ContractType, InstrumentSpec, Universe};
use crate::num::Rate;
use crate::time::{Span, Ts};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What `exchangeInfo` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeInfo {
    /// The exchange's time (only `GET time` is exact).
    pub server_time: Ts,
    /// Assets that can be margin or pay fees.
    pub assets: Vec<String>,
    /// All contracts, without brackets.
    pub instruments: Vec<InstrumentSpec>,
    /// Limits on requests and orders.
    pub rate_limits: Vec<RateLimit>,
}

/// One limit on requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// What is counted.
    pub kind: RateLimitKind,
    /// In which window.
    pub interval: Span,
    /// How much is allowed.
    pub limit: u32,
}

/// What a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitKind {
    /// Request weight, by address.
    RequestWeight,
    /// Orders placed and modified, by account.
    Orders,
    /// Requests, by address.
    RawRequests,
}

/// One bracket: floor, cap, leverage, maintenance rate, maintenance amount; amounts as text.
type BracketRow = (String, String, u16, Rate, String);
/// Brackets by symbol name.
pub type Brackets = BTreeMap<String, Vec<BracketRow>>;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct InfoWire<'a> {
    #[serde(borrow)]
    server_time: Scalar<'a>,
    rate_limits: Vec<LimitWire<'a>>,
    assets: Vec<AssetWire>,
    symbols: Vec<SymbolWire<'a>>,
}

#[derive(Deserialize)]
struct AssetWire {
    asset: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct LimitWire<'a> {
    #[serde(borrow)]
    rate_limit_type: Scalar<'a>,
    interval: Scalar<'a>,
    interval_num: Scalar<'a>,
    limit: Scalar<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SymbolWire<'a> {
    symbol: String,
    #[serde(borrow)]
    contract_type: Scalar<'a>,
    status: Scalar<'a>,
    contract_status: Scalar<'a>,
    base_asset: String,
    quote_asset: String,
    margin_asset: String,
    price_precision: Scalar<'a>,
    quantity_precision: Scalar<'a>,
    trigger_protect: Scalar<'a>,
    liquidation_fee: Scalar<'a>,
    market_take_bound: Scalar<'a>,
    filters: Vec<FilterWire<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct FilterWire<'a> {
    filter_type: String,
    #[serde(borrow)]
    min_price: Scalar<'a>,
    max_price: Scalar<'a>,
    tick_size: Scalar<'a>,
    min_qty: Scalar<'a>,
    max_qty: Scalar<'a>,
    step_size: Scalar<'a>,
    limit: Scalar<'a>,
    notional: Scalar<'a>,
    multiplier_up: Scalar<'a>,
    multiplier_down: Scalar<'a>,
}

/// The answer to `GET exchangeInfo`.
pub fn exchange_info(bytes: &[u8]) -> Result<ExchangeInfo, DecodeError> {
    let universe = Universe::default();
    let r = Reader { kind: "exchangeInfo", universe: &universe };
    let info: InfoWire<'_> = parse(r.kind, text_of(r.kind, bytes)?)?;
    Ok(ExchangeInfo {
        server_time: if info.server_time.text().is_some() { r.time("serverTime", info.server_time)? } else { Ts::ZERO },
        assets: info.assets.into_iter().map(|a| a.asset).collect(),
        instruments: info.symbols.iter().map(|s| instrument(r, s)).collect::<Result<_, _>>()?,
        rate_limits: info.rate_limits.iter().filter_map(|l| rate_limit(r, l).transpose()).collect::<Result<_, _>>()?,
    })
}

/// `None` for a kind of limit that this version does not know.
fn rate_limit(r: Reader<'_>, w: &LimitWire<'_>) -> Result<Option<RateLimit>, DecodeError> {
    let kind = match w.rate_limit_type.text() {
        Some("REQUEST_WEIGHT") => RateLimitKind::RequestWeight,
        Some("ORDERS") => RateLimitKind::Orders,
        Some("RAW_REQUESTS") => RateLimitKind::RawRequests,
        _ => return Ok(None),
    };
    let unit = match w.interval.text() {
        Some("SECOND") => 1,
        Some("MINUTE") => 60,
        Some("HOUR") => 3_600,
        Some("DAY") => 86_400,
        other => return Err(r.error("interval", other.unwrap_or_default(), Problem::Word)),
    };
    let count: u32 = r.unsigned("intervalNum", w.interval_num)?;
    let interval = Span::from_secs(unit * i64::from(count));
    Ok(Some(RateLimit { kind, interval, limit: r.unsigned("limit", w.limit)? }))
}

fn instrument(r: Reader<'_>, w: &SymbolWire<'_>) -> Result<InstrumentSpec, DecodeError> {
    if w.symbol.is_empty() {
        return Err(r.error("symbol", "", Problem::Missing));
    }
    let zero = || "0".to_owned();
    let text = |value: Scalar<'_>| value.text().unwrap_or("0").to_owned();
    let rate = |field, value: Scalar<'_>| value.text().map(|_| r.rate_or_zero(field, value)).transpose();
    let mut spec = InstrumentSpec {
        name: w.symbol.clone(),
        status: contract_status(w.status.text().or(w.contract_status.text())),
        contract: contract_type(w.contract_type.text()),
        base: w.base_asset.clone(),
        quote: w.quote_asset.clone(),
        margin: w.margin_asset.clone(),
        price_decimals: r.unsigned("pricePrecision", w.price_precision)?,
        quantity_decimals: r.unsigned("quantityPrecision", w.quantity_precision)?,
        price: [zero(), zero(), zero()],
        lot: [zero(), zero(), zero()],
        market_lot: [zero(), zero(), zero()],
        max_orders: None,
        max_conditional_orders: None,
        min_notional: None,
        percent_price: None,
        trigger_protect: rate("triggerProtect", w.trigger_protect)?,
        market_take_bound: rate("marketTakeBound", w.market_take_bound)?,
        liquidation_fee: r.rate_or_zero("liquidationFee", w.liquidation_fee)?,
        unknown_filters: Vec::new(),
        brackets: Vec::new(),
    };
    for f in &w.filters {
        match f.filter_type.as_str() {
            "PRICE_FILTER" => spec.price = [text(f.min_price), text(f.max_price), text(f.tick_size)],
            "LOT_SIZE" => spec.lot = [text(f.min_qty), text(f.max_qty), text(f.step_size)],
            "MARKET_LOT_SIZE" => spec.market_lot = [text(f.min_qty), text(f.max_qty), text(f.step_size)],
            "MAX_NUM_ORDERS" => spec.max_orders = Some(r.unsigned("limit", f.limit)?),
            "MAX_NUM_ALGO_ORDERS" => spec.max_conditional_orders = Some(r.unsigned("limit", f.limit)?),
            "MIN_NOTIONAL" => spec.min_notional = f.notional.text().map(str::to_owned),
            "PERCENT_PRICE" => spec.percent_price = Some([text(f.multiplier_up), text(f.multiplier_down)]),
            _ => spec.unknown_filters.push(f.filter_type.clone()),
        }
    }
    let finest = |texts: &[String]| texts.iter().map(|t| decimals(t)).max().unwrap_or(0);
    spec.price_decimals = spec.price_decimals.max(finest(&spec.price));
    spec.quantity_decimals = spec.quantity_decimals.max(finest(&spec.lot)).max(finest(&spec.market_lot));
    Ok(spec)
}

/// Decimals that are not trailing zeros.
fn decimals(text: &str) -> u8 {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
    u8::try_from(fraction.len()).unwrap_or(u8::MAX)
}

fn contract_status(word: Option<&str>) -> ContractStatus {
    match word {
        Some("PENDING_TRADING") => ContractStatus::PendingTrading,
        Some("TRADING") => ContractStatus::Trading,
        Some("PRE_DELIVERING") => ContractStatus::PreDelivering,
        Some("DELIVERING") => ContractStatus::Delivering,
        Some("DELIVERED") => ContractStatus::Delivered,
        Some("PRE_SETTLE") => ContractStatus::PreSettle,
        Some("SETTLING") => ContractStatus::Settling,
        Some("CLOSE") => ContractStatus::Close,
        _ => ContractStatus::Other,
    }
}

fn contract_type(word: Option<&str>) -> ContractType {
    match word {
        Some("PERPETUAL") => ContractType::Perpetual,
        Some("TRADIFI_PERPETUAL") => ContractType::TradifiPerpetual,
        Some("CURRENT_MONTH" | "NEXT_MONTH" | "CURRENT_QUARTER" | "NEXT_QUARTER") => ContractType::Delivery,
        Some(other) if other.starts_with("CURRENT_QUARTER") => ContractType::Delivery,
        _ => ContractType::Other,
    }
}

#[derive(Deserialize)]
struct SymbolBrackets<'a> {
    symbol: String,
    #[serde(borrow)]
    brackets: Vec<BracketWire<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct BracketWire<'a> {
    #[serde(borrow)]
    initial_leverage: Scalar<'a>,
    notional_cap: Scalar<'a>,
    notional_floor: Scalar<'a>,
    maint_margin_ratio: Scalar<'a>,
    cum: Scalar<'a>,
}

/// The answer to `GET leverageBracket`, for one symbol (an object or a list of one) or all.
pub fn leverage_brackets(bytes: &[u8]) -> Result<Brackets, DecodeError> {
    let universe = Universe::default();
    let r = Reader { kind: "leverageBracket", universe: &universe };
    let text = text_of(r.kind, bytes)?;
    let rows: Vec<SymbolBrackets<'_>> =
        if text.trim_start().starts_with('[') { parse(r.kind, text)? } else { vec![parse(r.kind, text)?] };
    let bracket = |w: &BracketWire<'_>| {
        let amount = |field, value: Scalar<'_>| {
            value.text().map(str::to_owned).ok_or_else(|| r.error(field, "", Problem::Missing))
        };
        Ok((
            amount("notionalFloor", w.notional_floor)?,
            amount("notionalCap", w.notional_cap)?,
            r.unsigned("initialLeverage", w.initial_leverage)?,
            r.rate_or_zero("maintMarginRatio", w.maint_margin_ratio)?,
            amount("cum", w.cum)?,
        ))
    };
    let of_symbol = |row: &SymbolBrackets<'_>| {
        Ok((row.symbol.clone(), row.brackets.iter().map(bracket).collect::<Result<Vec<_>, DecodeError>>()?))
    };
    rows.iter().map(of_symbol).collect()
}
