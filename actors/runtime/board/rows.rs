//! The rows of a board, as programs read them. Amounts are decimal texts; `asset` says of what.

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

/// A strategy instance.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StrategyRow {
    /// Its name in the configuration.
    pub name: String,
    /// Which strategy it is an instance of.
    pub kind: String,
    /// Its account.
    pub account: String,
    /// Its symbols; the first is the main one.
    pub symbols: Vec<String>,
    /// `warming_up`, `running`, `paused`, `faulted`, `stopped`; null when its runner is being rebuilt.
    pub state: Option<&'static str>,
    /// Why it is paused or stopped.
    pub reason: Option<&'static str>,
    /// Whether it runs from the start.
    pub enabled: bool,
    /// What a stop does with its orders and position: `leave`, `cancel`, `flatten`.
    pub on_stop: &'static str,
    /// Parameters with their defaults; null when they are not valid.
    pub params: Option<BTreeMap<&'static str, ParamCell>>,
    /// Its own positions; flat ones with a past included.
    pub positions: Vec<OwnPositionRow>,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ParamCell {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A word.
    Text(String),
}

impl ToSchema for ParamCell {}

impl PartialSchema for ParamCell {
    /// A list of types. The derived choice of exactly one of them would refuse whole numbers, which are numbers, too.
    fn schema() -> RefOr<Schema> {
        let types = [Type::Number, Type::Boolean, Type::String];
        let object = ObjectBuilder::new().schema_type(SchemaType::from_iter(types));
        object.description(Some("The value of a parameter.")).into()
    }
}

/// A strategy's own position in a symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OwnPositionRow {
    /// The symbol.
    pub symbol: String,
    /// Signed quantity: positive is long.
    pub quantity: String,
    /// Average entry price.
    pub entry_price: Option<String>,
    /// Profit at the mark price.
    pub unrealized: Option<String>,
    /// Profit of what was closed, by average cost, before fees and funding.
    pub realized: String,
    /// The asset of both profits.
    pub asset: String,
}

/// An open order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OrderRow {
    /// Its client order id.
    pub client_order_id: String,
    /// The account.
    pub account: String,
    /// The strategy that owns it; `external` for orders that are not ours.
    pub strategy: String,
    /// The symbol.
    pub symbol: String,
    /// `buy` or `sell`.
    pub side: &'static str,
    /// The limit price; null when it has none.
    pub price: Option<String>,
    /// The quantity after any modification.
    pub quantity: String,
    /// Filled so far.
    pub filled: String,
    /// What may still be filled.
    pub open: String,
    /// Reduce-only by intent.
    pub reduce_only: bool,
    /// It can only shrink its owner's position, and stays when entries are cancelled.
    pub protective: bool,
    /// It waits for a trigger.
    pub conditional: bool,
    /// `in_flight`, `unknown`, `working`, `triggering`, or `settling`: over at the exchange, with fills still to be booked.
    pub state: &'static str,
}

/// A position of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PositionRow {
    /// The account.
    pub account: String,
    /// The symbol.
    pub symbol: String,
    /// `both`, `long` or `short`.
    pub side: &'static str,
    /// Signed quantity: positive is long.
    pub quantity: String,
    /// Average entry price.
    pub entry_price: Option<String>,
    /// The newest mark price.
    pub mark_price: Option<String>,
    /// Profit at the mark price.
    pub unrealized: Option<String>,
    /// Profit of what was closed, before fees and funding.
    pub realized: String,
    /// Initial margin at the mark price.
    pub initial_margin: Option<String>,
    /// Maintenance margin at the mark price.
    pub maintenance_margin: Option<String>,
    /// Where it is liquidated if nothing else moves.
    pub liquidation_price: Option<String>,
    /// The asset of profits and margins.
    pub asset: String,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountRow {
    /// Its name in the configuration.
    pub name: String,
    /// Whether orders may be sent at all; else it is only watched.
    pub trading: bool,
    /// Whether it is reconciled with the exchange.
    pub reconciled: bool,
    /// The asset of all amounts that name none.
    pub asset: String,
    /// Wallet balance.
    pub wallet: Option<String>,
    /// Profit of the open positions at mark prices.
    pub unrealized: Option<String>,
    /// Wallet and unrealised profit.
    pub equity: Option<String>,
    /// Profit since 00:00 UTC: realised, fees, funding and change of unrealised; transfers excluded.
    pub day_profit: Option<String>,
    /// Sum of the notional values of the positions at mark prices.
    pub exposure: Option<String>,
    /// Maintenance margin of all positions.
    pub maintenance_margin: Option<String>,
    /// Maintenance margin over equity; at 1 the exchange liquidates.
    pub margin_ratio: Option<String>,
    /// Positions in which the exchange's newest report differs.
    pub unconfirmed: usize,
    /// Sums by asset.
    pub balances: Vec<BalanceRow>,
}

/// The sums of one asset: wallet = realised − fees + funding + transfers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BalanceRow {
    /// The asset.
    pub asset: String,
    /// Wallet balance.
    pub wallet: String,
    /// The exchange's realised profit, before fees.
    pub realized: String,
    /// Fees, positive when paid.
    pub fees: String,
    /// Funding, positive when received.
    pub funding: String,
    /// Deposits, withdrawals, adjustments and repairs.
    pub transfers: String,
}

/// A halt in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HaltRow {
    /// `all`, `account`, `symbol` or `strategy`.
    pub scope: &'static str,
    /// Which one; null for `all`.
    pub name: Option<String>,
    /// Why.
    pub reason: &'static str,
}

/// What an account may risk, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RiskRow {
    /// The account.
    pub account: String,
    /// Whether it may add risk now.
    pub ready: bool,
    /// Why not, one sentence each.
    pub not_ready: Vec<String>,
    /// The asset of all amounts.
    pub asset: String,
    /// The version of the newest budget; null when none was granted.
    pub budget_version: Option<u64>,
    /// When it expires: RFC 3339, UTC.
    pub budget_expires: Option<String>,
    /// Exposure up to which orders may add risk by that budget.
    pub budget_exposure_max: Option<String>,
    /// Exposure by symbol with all working orders of the worse side filled.
    pub exposures: Vec<ExposureRow>,
    /// Orders and modifications in the window of the order rate.
    pub sent_in_window: u32,
    /// Open conditional orders.
    pub open_conditionals: u32,
    /// The configured limits.
    pub limits: LimitsRow,
}

/// The exposure of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExposureRow {
    /// The symbol.
    pub symbol: String,
    /// Notional value; null where it cannot be computed (no price, no definition).
    pub exposure: Option<String>,
}

/// The limits of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitsRow {
    /// Largest notional value of one order.
    pub order_notional_max: String,
    /// Largest notional value of one symbol's position.
    pub position_notional_max: String,
    /// Largest sum of the above over all symbols.
    pub exposure_max: String,
    /// Exposure over equity.
    pub leverage_max: String,
    /// Loss since 00:00 UTC at which the account is halted.
    pub daily_loss_max: String,
    /// Orders and modifications in a window of the order rate.
    pub order_rate_max: u32,
    /// Open ordinary orders of one symbol.
    pub open_orders_max: u32,
    /// Open conditional orders over all symbols.
    pub open_conditionals_max: u32,
}
