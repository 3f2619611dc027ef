//! Facts as rows: dense ids become texts, mantissas decimals, with the names and scales of their own time.
//!
//! In: facts in order. Out: batches whose `first..=last` follow each other without a hole.
//! Equity is sampled: at fills, and the first one of each minute.

mod audit;

use super::words;
use qcat_core::engine::facts::{Cause, Facts, Names, OrderFact, PositionFact};
use qcat_core::event::{Decision, Equity, Scope};
use qcat_core::id::{AccountIx, Seq, StrategyIx, SymbolIx};
use qcat_core::instrument::Instrument;
use qcat_core::num::Money;
use qcat_core::order::{Conditional, Fill, Intent, Terms, Trigger};
use qcat_core::time::{Span, Ts};
use qcat_io::store::rows::words::{decimal, order_state, order_type, side, time_in_force};
use qcat_io::store::{Batch, Decimal, DecisionRow, EquityRow, FillRow, Micros, OrderRow, PositionRow, Text};
use std::collections::BTreeMap;

/// How often an account's worth is kept besides at fills.
pub const SAMPLE: Span = Span::from_secs(60);

/// A fact that names what was never defined: a fault of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input {} tells of symbol {}, which is not defined or has an impossible scale", .seq.0, .symbol.0)]
pub struct RowError {
    seq: Seq,
    symbol: SymbolIx,
}

/// Makes batches.
#[derive(Debug)]
pub struct Builder {
    batch: Batch,
    /// The minute of each account's newest sample.
    sampled: BTreeMap<Text, i64>,
}

/// Where a row comes from.
struct From<'a> {
    engine: i64,
    seq: Seq,
    at: Ts,
    names: &'a Names,
}

impl Builder {
    /// For the inputs of `engine` after `after`. `sampled`: when each account was last sampled.
    pub fn new(engine: u16, after: Seq, sampled: impl IntoIterator<Item = (Text, Micros)>) -> Builder {
        let minute = |at: Micros| at.get().saturating_mul(1_000).div_euclid(SAMPLE.nanos());
        Builder {
            batch: fresh(i64::from(engine), number(after)),
            sampled: sampled.into_iter().map(|(account, at)| (account, minute(at))).collect(),
        }
    }

    /// Everything up to here is in this batch or an earlier one.
    pub fn seq(&self) -> Seq {
        Seq(self.batch.last.unsigned_abs())
    }

    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.batch.rows()
    }

    /// Whether there is anything to write: rows, or inputs that told nothing.
    pub fn is_empty(&self) -> bool {
        self.batch.last < self.batch.first
    }

    /// Takes what waits.
    pub fn take(&mut self) -> Batch {
        let next = fresh(self.batch.engine, self.batch.last);
        std::mem::replace(&mut self.batch, next)
    }

    /// The inputs up to `seq` told nothing more.
    pub fn pass(&mut self, seq: Seq) {
        self.batch.last = self.batch.last.max(number(seq));
    }

    /// Adds a step's facts, read with the names after it.
    pub fn add(&mut self, facts: &Facts, names: &Names) -> Result<(), RowError> {
        let from = From { engine: self.batch.engine, seq: facts.seq, at: facts.at, names };
        for order in &facts.orders {
            self.batch.orders.push(from.order(order)?);
        }
        for fill in &facts.fills {
            self.batch.fills.push(from.fill(fill)?);
        }
        for position in &facts.positions {
            self.batch.positions.push(from.position(position)?);
        }
        for equity in &facts.equities {
            let minute = facts.at.nanos().div_euclid(SAMPLE.nanos());
            let account = from.account(equity.account);
            let filled = facts.fills.iter().any(|fill| fill.account == equity.account);
            let before = self.sampled.insert(account.clone(), minute);
            if filled || before != Some(minute) {
                self.batch.equity.push(from.equity(account, equity));
            }
        }
        let decided = facts.decisions.iter().enumerate().filter_map(|(ix, decision)| from.decision(ix, decision));
        self.batch.decisions.extend(decided);
        if let Some(Cause::Asked(asked)) = &facts.cause {
            self.batch.audit.push(from.audit(asked, &facts.decisions));
        }
        self.pass(facts.seq);
        Ok(())
    }
}

/// The number of an input as a column holds it.
pub fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn fresh(engine: i64, last: i64) -> Batch {
    Batch { engine, first: last.saturating_add(1), last, ..Batch::default() }
}

impl From<'_> {
    fn account(&self, account: AccountIx) -> Text {
        let config = self.names.config.account(account);
        config.map_or_else(|| format!("#{}", account.0).into(), |config| config.name.clone())
    }

    fn strategy(&self, strategy: StrategyIx) -> Text {
        if strategy == StrategyIx::EXTERNAL {
            return "external".into();
        }
        let config = self.names.config.strategy(strategy);
        config.map_or_else(|| format!("#{}", strategy.0).into(), |config| config.name.clone())
    }

    fn instrument(&self, symbol: SymbolIx) -> Result<&Instrument, RowError> {
        self.names.universe.instrument(symbol).ok_or(RowError { seq: self.seq, symbol })
    }

    fn asset(&self, money: Money) -> Text {
        self.names.universe.asset_name(money.asset).into()
    }

    fn scaled(&self, symbol: SymbolIx, mantissa: i64, scale: u8) -> Result<Decimal, RowError> {
        decimal(mantissa, scale).ok_or(RowError { seq: self.seq, symbol })
    }

    fn order(&self, fact: &OrderFact) -> Result<OrderRow, RowError> {
        let (update, terms) = (&fact.update, fact.terms.as_ref());
        let instrument = self.instrument(update.symbol)?;
        let (prices, quantities) = (instrument.price_scale, instrument.quantity_scale);
        let price = |price: qcat_core::num::Price| self.scaled(update.symbol, price.mantissa(), prices);
        let limited = terms.map_or(!update.price.is_zero(), |terms| terms.limit_price().is_some());
        let stop = match terms {
            Some(Terms::Conditional(Conditional { trigger: Trigger::Trailing { activation, .. }, .. })) => *activation,
            Some(Terms::Conditional(conditional)) => Some(conditional.trigger_price),
            _ => None,
        };
        let (state, reason) = order_state(update.state);
        Ok(OrderRow {
            account: self.account(update.account),
            strategy: self.strategy(update.strategy),
            symbol: instrument.name.clone(),
            client_order_id: update.key.to_string().into(),
            venue_id: fact.venue_id.map(|id| id.0),
            side: side(update.side).into(),
            order_type: terms.map(|terms| order_type(terms).into()),
            time_in_force: terms.and_then(time_in_force).map(Text::from),
            reduce_only: update.reduce_only,
            protective: update.protective,
            conditional: update.conditional,
            price: limited.then(|| price(update.price)).transpose()?,
            stop_price: stop.map(price).transpose()?,
            quantity: self.scaled(update.symbol, update.quantity.mantissa(), quantities)?,
            filled: self.scaled(update.symbol, update.filled.mantissa(), quantities)?,
            // The fills have it; an order does not keep it.
            cost: None,
            state: state.into(),
            reason,
            created_at: self.at.into(),
            updated_at: self.at.into(),
            engine: self.engine,
            seq: number(self.seq),
        })
    }

    fn fill(&self, fill: &Fill) -> Result<FillRow, RowError> {
        let instrument = self.instrument(fill.symbol)?;
        Ok(FillRow {
            account: self.account(fill.account),
            strategy: self.strategy(fill.strategy),
            symbol: instrument.name.clone(),
            trade_id: fill.trade_id.0,
            client_order_id: fill.key.to_string().into(),
            venue_id: fill.venue_order.0,
            side: side(fill.side).into(),
            price: self.scaled(fill.symbol, fill.price.mantissa(), instrument.price_scale)?,
            quantity: self.scaled(fill.symbol, fill.quantity.mantissa(), instrument.quantity_scale)?,
            maker: fill.maker,
            fee: fill.fee.map(Decimal::from),
            fee_asset: fill.fee.map(|fee| self.asset(fee)),
            realized: fill.realized.into(),
            asset: self.asset(fill.realized),
            at: fill.exchange_time.into(),
            engine: self.engine,
            seq: number(self.seq),
        })
    }

    fn position(&self, fact: &PositionFact) -> Result<PositionRow, RowError> {
        let position = &fact.position;
        let instrument = self.instrument(position.symbol)?;
        let quantity = |mantissa| self.scaled(position.symbol, mantissa, instrument.quantity_scale);
        Ok(PositionRow {
            account: self.account(position.account),
            strategy: self.strategy(position.strategy),
            symbol: instrument.name.clone(),
            quantity: quantity(position.quantity.mantissa())?,
            cost: position.cost.into(),
            realized: fact.realized.map(Decimal::from),
            asset: self.asset(position.cost),
            account_quantity: quantity(position.account_quantity.mantissa())?,
            updated_at: self.at.into(),
            engine: self.engine,
            seq: number(self.seq),
        })
    }

    fn equity(&self, account: Text, equity: &Equity) -> EquityRow {
        EquityRow {
            account,
            asset: self.asset(equity.wallet),
            wallet: equity.wallet.into(),
            unrealized: equity.unrealized.into(),
            day_profit: equity.day_profit.into(),
            exposure: equity.exposure.into(),
            at: self.at.into(),
            engine: self.engine,
            seq: number(self.seq),
        }
    }

    /// `None` for commands: the orders tell of them.
    fn decision(&self, ix: usize, decision: &Decision) -> Option<DecisionRow> {
        let row = |kind: &str, reason: &str, text: String| DecisionRow {
            kind: kind.into(),
            account: None,
            strategy: None,
            symbol: None,
            client_order_id: None,
            reason: reason.into(),
            text: text.into(),
            at: self.at.into(),
            engine: self.engine,
            seq: number(self.seq),
            ix: ix as i64,
        };
        Some(match decision {
            Decision::Command(_) => return None,
            Decision::Refused(refused) => {
                let (symbol, key) = match &refused.intent {
                    Intent::Place(order) => (Some(order.symbol), Some(order.id.to_string())),
                    Intent::Modify { symbol, id, .. } => (Some(*symbol), Some(id.to_string())),
                    Intent::Cancel { symbol, key, .. } => (Some(*symbol), Some(key.to_string())),
                    Intent::CancelAll { symbol, .. } => (*symbol, None),
                };
                DecisionRow {
                    account: Some(self.account(refused.intent.account())),
                    strategy: Some(self.strategy(refused.intent.strategy())),
                    symbol: symbol.map(|symbol| self.symbol(symbol)),
                    client_order_id: key.map(Text::from),
                    ..row("refused", refused.reason.code(), refused.reason.to_string())
                }
            }
            Decision::Halted { scope, reason } => {
                let text = format!("no new risk: {}", words::halt(*reason));
                self.scoped(*scope, row("halted", words::halt(*reason), text))
            }
            Decision::Resumed { scope } => {
                self.scoped(*scope, row("resumed", "resumed", "new risk is allowed again".to_owned()))
            }
            Decision::Runner { strategy, state } => {
                let (word, why) = words::runner(*state);
                let name = self.strategy(*strategy);
                let text = why.map_or_else(|| format!("{name} is {word}"), |why| format!("{name} is {word}: {why}"));
                let config = self.names.config.strategy(*strategy);
                let account = config.map(|config| self.account(config.account));
                DecisionRow { account, strategy: Some(name), ..row("runner", word, text) }
            }
            Decision::Alert(alert) => DecisionRow {
                account: alert.account.map(|account| self.account(account)),
                symbol: alert.symbol.map(|symbol| self.symbol(symbol)),
                strategy: alert.order.map(|id| self.strategy(id.strategy)),
                client_order_id: alert.order.map(|id| id.to_string().into()),
                text: alert.text.clone(),
                ..row("alert", alert.code.as_str(), String::new())
            },
        })
    }

    fn scoped(&self, scope: Scope, row: DecisionRow) -> DecisionRow {
        match scope {
            Scope::All => row,
            Scope::Account(account) => DecisionRow { account: Some(self.account(account)), ..row },
            Scope::Symbol(symbol) => DecisionRow { symbol: Some(self.symbol(symbol)), ..row },
            Scope::Strategy(strategy) => DecisionRow { strategy: Some(self.strategy(strategy)), ..row },
        }
    }

    fn symbol(&self, symbol: SymbolIx) -> Text {
        let instrument = self.names.universe.instrument(symbol);
        instrument.map_or_else(|| format!("#{}", symbol.0).into(), |instrument| instrument.name.clone())
    }
}
