//! REST answers.

use super::market::level_list;
use super::user::{OrderFacts, conditional_status_word, status_word};
use super::{Object, TermsText, decimal, side_word, time_in_force_word, working_word};
use crate::binance::decode::definitions::{ExchangeInfo, RateLimitKind};
use crate::command::{MarginType, SymbolSettings, VenueBalance, VenueError, VenuePosition};
use crate::instrument::{ContractStatus, ContractType, Instrument, InstrumentSpec, Universe};
use crate::market::{BookLevels, Mark};
use crate::num::{Money, Rate, mantissa_to_string};
use crate::order::{ConditionalReport, OrderReport, TradeRecord};
use crate::time::Ts;

/// Prints a list, each element by `print`; elements for which it returns `false` print nothing and are left out.
pub fn list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut print: impl FnMut(&mut String, T) -> bool) {
    out.push('[');
    let mut element = String::new();
    let mut first = true;
    for item in items {
        element.clear();
        if print(&mut element, item) {
            out.push_str(if std::mem::take(&mut first) { "" } else { "," });
            out.push_str(&element);
        }
    }
    out.push(']');
}

/// `{"code":…,"msg":…}`.
pub fn error(out: &mut String, error: &VenueError) {
    let mut o = Object::begin(out);
    o.int("code", error.code).text("msg", &error.message);
    o.end();
}

/// An ordinary order as placing, cancelling and querying answer. `false`: its symbol has no definition.
pub fn order(out: &mut String, report: &OrderReport, facts: &OrderFacts, universe: &Universe) -> bool {
    let Some(i) = universe.instrument(report.symbol) else { return false };
    let terms = TermsText::of(&report.terms);
    let mut o = Object::begin(out);
    o.int("orderId", report.venue_id.0).text("symbol", &i.name).word("status", status_word(report.status));
    o.text("clientOrderId", &report.key.to_string()).price("price", i, terms.price);
    o.price("avgPrice", i, facts.average_price).quantity("origQty", i, report.quantity);
    o.quantity("executedQty", i, report.filled).quantity("cumQty", i, report.filled);
    o.money("cumQuote", facts.quote_filled.unwrap_or(Money::zero(i.quote)));
    o.word("timeInForce", time_in_force_word(terms.time_in_force)).word("type", terms.kind);
    o.flag("reduceOnly", report.reduce_only).flag("closePosition", terms.close_position);
    o.word("side", report.side.as_str()).word("positionSide", side_word(report.position_side));
    o.price("stopPrice", i, terms.trigger_price).word("workingType", working_word(terms.working_type));
    o.flag("priceProtect", terms.price_protect).word("origType", terms.kind);
    if let Some((percent, activation)) = terms.trailing {
        o.price("activatePrice", i, activation.unwrap_or_default()).decimal("priceRate", percent.into(), 10);
    }
    o.word("priceMatch", "NONE").word("selfTradePreventionMode", "EXPIRE_MAKER");
    o.time("goodTillDate", terms.good_till()).time("time", facts.created).time("updateTime", report.exchange_time);
    o.end();
    true
}

/// A conditional order as placing and querying answer. `false`: its symbol has no definition.
pub fn algo_order(out: &mut String, report: &ConditionalReport, created: Ts, universe: &Universe) -> bool {
    let Some(i) = universe.instrument(report.symbol) else { return false };
    let terms = TermsText::of_conditional(&report.terms);
    let mut o = Object::begin(out);
    o.int("algoId", report.venue_id.0).text("clientAlgoId", &report.key.to_string()).word("algoType", "CONDITIONAL");
    o.word("orderType", terms.kind).text("symbol", &i.name).word("side", report.side.as_str());
    o.word("positionSide", side_word(report.position_side));
    o.word("timeInForce", time_in_force_word(terms.time_in_force)).quantity("quantity", i, report.quantity);
    o.word("algoStatus", conditional_status_word(report.status));
    o.word("actualOrderId", &report.became.map_or(String::new(), |id| id.0.to_string()));
    o.price("triggerPrice", i, terms.trigger_price).price("price", i, terms.price);
    if let Some((percent, activation)) = terms.trailing {
        o.price("activatePrice", i, activation.unwrap_or_default()).decimal("callbackRate", percent.into(), 10);
    }
    o.word("selfTradePreventionMode", "EXPIRE_MAKER").word("workingType", working_word(terms.working_type));
    o.word("priceMatch", "NONE").flag("closePosition", terms.close_position);
    o.flag("priceProtect", terms.price_protect).flag("reduceOnly", report.reduce_only);
    o.time("createTime", created).time("updateTime", report.exchange_time).int("triggerTime", 0);
    o.time("goodTillDate", terms.good_till());
    o.end();
    true
}

/// The answer to the cancellation of a conditional order.
pub fn algo_canceled(out: &mut String, report: &ConditionalReport) {
    let mut o = Object::begin(out);
    o.int("algoId", report.venue_id.0).text("clientAlgoId", &report.key.to_string());
    o.word("code", "200").word("msg", "success");
    o.end();
}

/// One row of `userTrades`. `false`: its symbol has no definition.
pub fn user_trade(out: &mut String, record: &TradeRecord, universe: &Universe) -> bool {
    let Some(i) = universe.instrument(record.symbol) else { return false };
    let fill = &record.fill;
    let value = i.notional(fill.price, fill.quantity).unwrap_or(Money::zero(i.quote));
    let mut o = Object::begin(out);
    o.text("symbol", &i.name).int("id", fill.trade_id.0).int("orderId", record.venue_id.0);
    o.word("side", record.side.as_str()).price("price", i, fill.price).quantity("qty", i, fill.quantity);
    o.money("realizedPnl", fill.realized).text("marginAsset", universe.asset_name(i.margin)).money("quoteQty", value);
    if let Some(fee) = fill.fee {
        o.money("commission", fee).text("commissionAsset", universe.asset_name(fee.asset));
    }
    o.time("time", fill.exchange_time).word("positionSide", side_word(record.position_side));
    o.flag("buyer", record.side == crate::num::Side::Buy).flag("maker", fill.maker);
    o.end();
    true
}

/// One row of `positionRisk`. `false`: its symbol has no definition.
pub fn position(out: &mut String, position: &VenuePosition, mark: &Mark, universe: &Universe, time: Ts) -> bool {
    let Some(i) = universe.instrument(position.symbol) else { return false };
    let zero = Money::zero(i.margin);
    let value = |price| i.signed_notional(price, position.quantity).unwrap_or(zero);
    let notional = value(mark.mark_price);
    let profit = notional.checked_sub(value(position.entry_price)).unwrap_or(zero);
    let mut o = Object::begin(out);
    o.text("symbol", &i.name).word("positionSide", side_word(position.position_side));
    o.net("positionAmt", i, position.quantity.mantissa()).price("entryPrice", i, position.entry_price);
    o.price("breakEvenPrice", i, position.entry_price).computed("markPrice", i, mark.mark_price);
    o.money("unRealizedProfit", profit).word("liquidationPrice", "0").word("isolatedMargin", "0");
    o.money("notional", notional).text("marginAsset", universe.asset_name(i.margin)).word("isolatedWallet", "0");
    o.int("adl", 0).word("bidNotional", "0").word("askNotional", "0").time("updateTime", time);
    o.end();
    true
}

/// One row of `balance`. `available` is what new orders may use.
pub fn balance(out: &mut String, balance: &VenueBalance, available: Money, universe: &Universe, time: Ts) {
    let mut o = Object::begin(out);
    o.word("accountAlias", "sim").text("asset", universe.asset_name(balance.wallet.asset));
    o.money("balance", balance.wallet).money("crossWalletBalance", balance.wallet).word("crossUnPnl", "0");
    o.money("availableBalance", available).money("maxWithdrawAmount", available).flag("marginAvailable", true);
    o.time("updateTime", time);
    o.end();
}

/// One row of `symbolConfig`. `false`: its symbol has no definition.
pub fn symbol_settings(out: &mut String, settings: &SymbolSettings, universe: &Universe) -> bool {
    let Some(i) = universe.instrument(settings.symbol) else { return false };
    let margin = match settings.margin_type {
        MarginType::Cross => "CROSSED",
        MarginType::Isolated => "ISOLATED",
    };
    let top = i.brackets.iter().filter(|b| b.max_leverage >= settings.leverage).map(|b| b.notional_cap).next_back();
    let mut o = Object::begin(out);
    o.text("symbol", &i.name).word("marginType", margin).flag("isAutoAddMargin", false);
    o.int("leverage", settings.leverage).decimal("maxNotionalValue", top.map_or(0, Money::mantissa), Money::SCALE);
    o.end();
    true
}

/// The answer to `depth`: a snapshot of the book.
pub fn depth(out: &mut String, levels: &BookLevels, i: &Instrument, time: Ts) {
    let mut o = Object::begin(out);
    o.int("lastUpdateId", levels.last_id).time("E", time).time("T", time);
    level_list(o.key("bids"), &levels.bids, i);
    level_list(o.key("asks"), &levels.asks, i);
    o.end();
}

/// The answer to `premiumIndex` for one symbol.
pub fn premium_index(out: &mut String, mark: &Mark, i: &Instrument, time: Ts) {
    let mut o = Object::begin(out);
    o.text("symbol", &i.name).computed("markPrice", i, mark.mark_price).computed("indexPrice", i, mark.index_price);
    o.computed("estimatedSettlePrice", i, mark.index_price);
    decimal(o.key("lastFundingRate"), mark.funding_rate.mantissa().into(), Rate::SCALE, 8);
    o.word("interestRate", "0.00010000").time("nextFundingTime", mark.next_funding).time("time", time);
    o.end();
}

/// The answer to `commissionRate`.
pub fn commission_rate(out: &mut String, i: &Instrument, maker: Rate, taker: Rate) {
    let mut o = Object::begin(out);
    o.text("symbol", &i.name).decimal("makerCommissionRate", maker.mantissa().into(), Rate::SCALE);
    o.decimal("takerCommissionRate", taker.mantissa().into(), Rate::SCALE);
    o.end();
}

/// The answer to `exchangeInfo`.
pub fn exchange_info(out: &mut String, info: &ExchangeInfo) {
    let mut o = Object::begin(out);
    o.word("timezone", "UTC").time("serverTime", info.server_time).word("futuresType", "U_MARGINED");
    list(o.key("rateLimits"), &info.rate_limits, |out, limit| {
        let kind = match limit.kind {
            RateLimitKind::RequestWeight => "REQUEST_WEIGHT",
            RateLimitKind::Orders => "ORDERS",
            RateLimitKind::RawRequests => "RAW_REQUESTS",
        };
        let seconds = limit.interval.nanos() / 1_000_000_000;
        let units = [("DAY", 86_400), ("HOUR", 3_600), ("MINUTE", 60), ("SECOND", 1)];
        let (unit, length) = units.into_iter().find(|(_, length)| seconds % length == 0).unwrap_or(("SECOND", 1));
        let mut o = Object::begin(out);
        o.word("rateLimitType", kind)
            .word("interval", unit)
            .int("intervalNum", seconds / length)
            .int("limit", limit.limit);
        o.end();
        true
    });
    o.key("exchangeFilters").push_str("[]");
    list(o.key("assets"), &info.assets, |out, asset| {
        let mut o = Object::begin(out);
        o.text("asset", asset).flag("marginAvailable", true).word("autoAssetExchange", "0");
        o.end();
        true
    });
    list(o.key("symbols"), &info.instruments, |out, spec| {
        symbol(out, spec);
        true
    });
    o.end();
}

fn symbol(out: &mut String, spec: &InstrumentSpec) {
    let rate = |rate: Rate| mantissa_to_string(rate.mantissa().into(), Rate::SCALE);
    let mut o = Object::begin(out);
    o.text("symbol", &spec.name).text("pair", &spec.name).word("contractType", contract_word(spec.contract));
    o.word("status", contract_status_word(spec.status)).text("baseAsset", &spec.base).text("quoteAsset", &spec.quote);
    o.text("marginAsset", &spec.margin).int("pricePrecision", spec.price_decimals);
    o.int("quantityPrecision", spec.quantity_decimals).word("underlyingType", "COIN");
    if let Some(share) = spec.trigger_protect {
        o.word("triggerProtect", &rate(share));
    }
    o.word("liquidationFee", &rate(spec.liquidation_fee));
    if let Some(share) = spec.market_take_bound {
        o.word("marketTakeBound", &rate(share));
    }
    let filters = o.key("filters");
    filters.push('[');
    filter(filters, "PRICE_FILTER", |f| {
        f.text("minPrice", &spec.price[0]).text("maxPrice", &spec.price[1]).text("tickSize", &spec.price[2]);
    });
    for (kind, lot) in [("LOT_SIZE", &spec.lot), ("MARKET_LOT_SIZE", &spec.market_lot)] {
        filters.push(',');
        filter(filters, kind, |f| {
            f.text("minQty", &lot[0]).text("maxQty", &lot[1]).text("stepSize", &lot[2]);
        });
    }
    for (kind, limit) in [("MAX_NUM_ORDERS", spec.max_orders), ("MAX_NUM_ALGO_ORDERS", spec.max_conditional_orders)] {
        if let Some(limit) = limit {
            filters.push(',');
            filter(filters, kind, |f| {
                f.int("limit", limit);
            });
        }
    }
    if let Some(notional) = &spec.min_notional {
        filters.push(',');
        filter(filters, "MIN_NOTIONAL", |f| {
            f.text("notional", notional);
        });
    }
    if let Some([up, down]) = &spec.percent_price {
        filters.push(',');
        filter(filters, "PERCENT_PRICE", |f| {
            f.text("multiplierUp", up).text("multiplierDown", down);
        });
    }
    filters.push(']');
    o.key("orderTypes").push_str(
        "[\"LIMIT\",\"MARKET\",\"STOP\",\"STOP_MARKET\",\"TAKE_PROFIT\",\"TAKE_PROFIT_MARKET\",\"TRAILING_STOP_MARKET\"]",
    );
    o.key("timeInForce").push_str("[\"GTC\",\"IOC\",\"FOK\",\"GTX\",\"GTD\"]");
    o.end();
}

fn filter(out: &mut String, kind: &str, fields: impl FnOnce(&mut Object<'_>)) {
    let mut f = Object::begin(out);
    f.word("filterType", kind);
    fields(&mut f);
    f.end();
}

fn contract_word(contract: ContractType) -> &'static str {
    match contract {
        ContractType::Perpetual => "PERPETUAL",
        ContractType::TradifiPerpetual => "TRADIFI_PERPETUAL",
        ContractType::Delivery => "CURRENT_QUARTER",
        ContractType::Other => "",
    }
}

fn contract_status_word(status: ContractStatus) -> &'static str {
    match status {
        ContractStatus::PendingTrading => "PENDING_TRADING",
        ContractStatus::Trading => "TRADING",
        ContractStatus::PreDelivering => "PRE_DELIVERING",
        ContractStatus::Delivering => "DELIVERING",
        ContractStatus::Delivered => "DELIVERED",
        ContractStatus::PreSettle => "PRE_SETTLE",
        ContractStatus::Settling => "SETTLING",
        ContractStatus::Close | ContractStatus::Halted | ContractStatus::Other => "CLOSE",
    }
}

/// The answer to `leverageBracket` for one symbol, as an element of its list.
pub fn leverage_bracket(out: &mut String, i: &Instrument) {
    let mut o = Object::begin(out);
    o.text("symbol", &i.name).key("notionalCoef").push_str("1.0");
    let mut number = 0;
    list(o.key("brackets"), &i.brackets, |out, bracket| {
        number += 1;
        let money = |money: Money| mantissa_to_string(money.mantissa(), Money::SCALE);
        let rate = mantissa_to_string(bracket.maintenance_rate.mantissa().into(), Rate::SCALE);
        let mut b = Object::begin(out);
        b.int("bracket", number).int("initialLeverage", bracket.max_leverage);
        // Plain numbers here, unlike anywhere else.
        b.key("notionalCap").push_str(&money(bracket.notional_cap));
        b.key("notionalFloor").push_str(&money(bracket.notional_floor));
        b.key("maintMarginRatio").push_str(&rate);
        b.key("cum").push_str(&money(bracket.maintenance_amount));
        b.end();
        true
    });
    o.end();
}

/// Answers of one field.
pub mod single {
    use super::Object;
    use crate::order::PositionMode;
    use crate::time::Ts;

    /// The answer to `time`.
    pub fn time(out: &mut String, time: Ts) {
        let mut o = Object::begin(out);
        o.time("serverTime", time);
        o.end();
    }

    /// The answer to `listenKey`.
    pub fn listen_key(out: &mut String, key: &str) {
        let mut o = Object::begin(out);
        o.text("listenKey", key);
        o.end();
    }

    /// The answer to `positionSide/dual`.
    pub fn position_mode(out: &mut String, mode: PositionMode) {
        let mut o = Object::begin(out);
        o.flag("dualSidePosition", mode == PositionMode::Hedge);
        o.end();
    }

    /// The answer to `multiAssetsMargin`.
    pub fn multi_assets(out: &mut String, multi_assets: bool) {
        let mut o = Object::begin(out);
        o.flag("multiAssetsMargin", multi_assets);
        o.end();
    }
}
