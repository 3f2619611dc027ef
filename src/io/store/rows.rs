//! The rows of the projections. Names of accounts, strategies, symbols and assets are texts; words of closed lists (sides,
//! types, states) are those of [`words`].
//!
//! Every row carries the pair (engine, sequence) of the input that it comes from.

use super::table::row;
use super::value::{Decimal, Micros, Text};

pub mod words;

row! {
    /// An order as it was last seen.
    OrderRow in "orders" key ["account", "symbol", "client_order_id"],
    order ["created_at", "account", "symbol", "client_order_id"], descending true, again Merges {
        /// The account.
        account: Text,
        /// The strategy that owns it; `external` for orders that are not ours.
        strategy: Text,
        /// The symbol.
        symbol: Text,
        /// The client order id, ours or foreign.
        client_order_id: Text,
        /// The exchange's order id, once it is known.
        venue_id: Option<i64>,
        /// `buy` or `sell`.
        side: Text,
        /// `market`, `limit`, `stop`, `take_profit`, `trailing`; null for an order of which only reports are known.
        order_type: Option<Text>,
        /// `gtc`, `ioc`, `fok`, `post_only`, `gtd`.
        time_in_force: Option<Text>,
        /// Reduce-only by intent.
        reduce_only: bool,
        /// Can only shrink its owner's position: it stays when entries are cancelled.
        protective: bool,
        /// It is (still) at the conditional-order service.
        conditional: bool,
        /// Limit price.
        price: Option<Decimal>,
        /// Trigger price.
        stop_price: Option<Decimal>,
        /// Original quantity after any modification.
        quantity: Decimal,
        /// Filled so far.
        filled: Decimal,
        /// Sum of price × quantity of its fills in the quote asset; over `filled` it is the average price.
        cost: Option<Decimal>,
        /// `in_flight`, `unknown`, `working`, `triggering`, `filled`, `canceled`, `rejected`, `expired`, `never_arrived`.
        state: Text,
        /// Why it ended, in the exchange's code or our words.
        reason: Option<Text>,
        /// When it was first seen.
        created_at: Micros,
        /// When it last changed.
        updated_at: Micros,
        /// The engine.
        engine: i64,
        /// The input that changed it last.
        seq: i64,
    }
}

row! {
    /// A fill, once.
    FillRow in "fills" key ["account", "symbol", "trade_id"],
    order ["at", "account", "symbol", "trade_id"], descending true, again Stays {
        /// The account.
        account: Text,
        /// The strategy that owns the order; `external` for orders that are not ours.
        strategy: Text,
        /// The symbol.
        symbol: Text,
        /// The exchange's number of the trade, unique per account and symbol.
        trade_id: i64,
        /// The order.
        client_order_id: Text,
        /// The exchange's order id.
        venue_id: i64,
        /// `buy` or `sell`.
        side: Text,
        /// Price.
        price: Decimal,
        /// Quantity.
        quantity: Decimal,
        /// Whether the order was the maker.
        maker: bool,
        /// The fee, positive when paid.
        fee: Option<Decimal>,
        /// The asset of the fee.
        fee_asset: Option<Text>,
        /// The exchange's realised profit, before fees.
        realized: Decimal,
        /// The asset of the profit.
        asset: Text,
        /// The exchange's transaction time.
        at: Micros,
        /// The engine.
        engine: i64,
        /// The input that told of it.
        seq: i64,
    }
}

row! {
    /// A strategy's own position as it was last seen; flat ones stay, with what they realised.
    PositionRow in "positions" key ["account", "strategy", "symbol"],
    order ["account", "strategy", "symbol"], descending false, again Replaces {
        /// The account.
        account: Text,
        /// The strategy.
        strategy: Text,
        /// The symbol.
        symbol: Text,
        /// Signed quantity: positive is long.
        quantity: Decimal,
        /// Signed sum of price × quantity of what is open; over the quantity it is the average entry price.
        cost: Decimal,
        /// Profit of what was closed, before fees and funding; null when it is not known.
        realized: Option<Decimal>,
        /// The asset of cost and profit.
        asset: Text,
        /// The whole account's signed quantity in the symbol.
        account_quantity: Decimal,
        /// When it last changed.
        updated_at: Micros,
        /// The engine.
        engine: i64,
        /// The input that changed it last.
        seq: i64,
    }
}

row! {
    /// What an account was worth at a moment.
    EquityRow in "equity" key ["engine", "seq", "account"],
    order ["at", "engine", "seq", "account"], descending true, again Stays {
        /// The account.
        account: Text,
        /// The margin asset.
        asset: Text,
        /// Wallet balance.
        wallet: Decimal,
        /// Unrealised profit at mark prices.
        unrealized: Decimal,
        /// Profit since 00:00 UTC, transfers excluded.
        day_profit: Decimal,
        /// Sum of the notional values of the positions at mark prices.
        exposure: Decimal,
        /// When.
        at: Micros,
        /// The engine.
        engine: i64,
        /// The input after which it was so.
        seq: i64,
    }
}

row! {
    /// Something that was decided, or that a person should look at.
    DecisionRow in "decisions" key ["engine", "seq", "ix"],
    order ["at", "engine", "seq", "ix"], descending true, again Stays {
        /// `refused`, `halted`, `resumed`, `runner`, `alert`.
        kind: Text,
        /// The account, if it concerns one.
        account: Option<Text>,
        /// The strategy, if it concerns one.
        strategy: Option<Text>,
        /// The symbol, if it concerns one.
        symbol: Option<Text>,
        /// The order, if it concerns one.
        client_order_id: Option<Text>,
        /// A stable code.
        reason: Text,
        /// One sentence with the facts.
        text: Text,
        /// When.
        at: Micros,
        /// The engine.
        engine: i64,
        /// The input that it was decided from.
        seq: i64,
        /// Its place among the decisions of that input.
        ix: i64,
    }
}

row! {
    /// What somebody asked for, and what came of it. Not a projection alone: it also has what never reached an engine.
    AuditRow in "audit" key ["id"], order ["at", "id"], descending true, again Stays {
        /// Unique; the same command has the same id however often it is told.
        id: Text,
        /// Who.
        actor: Text,
        /// In which role.
        role: Text,
        /// From which address.
        source: Text,
        /// The command.
        command: Text,
        /// Its arguments, as JSON without secrets.
        arguments: Text,
        /// The idempotency key, if there was one.
        idempotency_key: Option<Text>,
        /// `accepted`, or the stable code of the refusal.
        outcome: Text,
        /// When.
        at: Micros,
        /// The engine, if the command reached one.
        engine: Option<i64>,
        /// The input that it became, or 0.
        seq: i64,
    }
}
