//! A batch of rows on its way into the store, and the rule of what becomes of it.
//!
//! Tests: merging of rows with the same key; the contract suite has the rest.

use super::StoreError;
use super::rows::{AuditRow, DecisionRow, EquityRow, FillRow, OrderRow, PositionRow};
use super::table::{Row, Table};
use super::value::Value;

/// Rows of a batch at most.
pub const BATCH_MAX: usize = 50_000;

/// Everything that the inputs `first..=last` of one engine changed. It becomes visible as a whole or not at all, together with
/// the checkpoint `last`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The engine.
    pub engine: i64,
    /// The first input, 1 at least.
    pub first: i64,
    /// The last input.
    pub last: i64,
    /// Orders that changed, oldest first; of the same order the last one counts.
    pub orders: Vec<OrderRow>,
    /// Fills.
    pub fills: Vec<FillRow>,
    /// Positions that changed, oldest first; of the same position the last one counts.
    pub positions: Vec<PositionRow>,
    /// Samples of what accounts are worth.
    pub equity: Vec<EquityRow>,
    /// Decisions.
    pub decisions: Vec<DecisionRow>,
    /// Commands.
    pub audit: Vec<AuditRow>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// Its rows beyond the checkpoint are in; the checkpoint is its last input.
    Done {
        /// Rows that were written or left because they were there.
        rows: usize,
    },
    /// All of it had been told before: the checkpoint is this.
    Known(i64),
}

/// Rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct TableRows {
    pub table: &'static Table,
    pub rows: Vec<Vec<Value>>,
}

/// A checked batch.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub engine: i64,
    pub first: i64,
    pub last: i64,
    pub tables: Vec<TableRows>,
}

/// The tables that a journal fills.
pub(crate) const PROJECTIONS: [&str; 6] = ["checkpoints", "orders", "fills", "positions", "equity", "decisions"];

impl Batch {
    /// The number of its rows.
    pub fn rows(&self) -> usize {
        let Batch { orders, fills, positions, equity, decisions, audit, .. } = self;
        orders.len() + fills.len() + positions.len() + equity.len() + decisions.len() + audit.len()
    }

    pub(crate) fn check(self) -> Result<Checked, StoreError> {
        let (engine, first, last) = (self.engine, self.first, self.last);
        if first < 1 || last < first || self.rows() > BATCH_MAX {
            let rows = self.rows();
            return Err(StoreError::Invalid(format!("a batch of {rows} rows from input {first} to {last}")));
        }
        let mut tables = Vec::with_capacity(6);
        add(&mut tables, self.orders, first, last)?;
        add(&mut tables, self.fills, first, last)?;
        add(&mut tables, self.positions, first, last)?;
        add(&mut tables, self.equity, first, last)?;
        add(&mut tables, self.decisions, first, last)?;
        add(&mut tables, self.audit, first, last)?;
        for TableRows { table, rows } in &tables {
            let at = table.places(&["engine"])[0];
            if rows.iter().any(|row| row[at] != Value::Int(engine)) {
                return Err(StoreError::Invalid(format!("a row of {} is of another engine than {engine}", table.name)));
            }
        }
        Ok(Checked { engine, first, last, tables })
    }
}

fn add<R: Row>(tables: &mut Vec<TableRows>, rows: Vec<R>, first: i64, last: i64) -> Result<(), StoreError> {
    let table = const { &R::TABLE };
    if let Some(row) = rows.iter().find(|row| !(first..=last).contains(&row.seq())) {
        let (name, seq) = (table.name, row.seq());
        return Err(StoreError::Invalid(format!("a row of {name} is of input {seq}, outside {first} to {last}")));
    }
    if !rows.is_empty() {
        let rows = rows.into_iter().map(Row::into_values).collect();
        tables.push(TableRows { table, rows });
    }
    Ok(())
}

impl Checked {
    /// What is new beyond a checkpoint, one row of each key; `None`: nothing is.
    pub(crate) fn beyond(self, checkpoint: i64) -> Result<Option<Vec<TableRows>>, StoreError> {
        let Checked { engine, first, last, tables } = self;
        if last <= checkpoint {
            return Ok(None);
        }
        if first > checkpoint + 1 {
            return Err(StoreError::Gap { engine, checkpoint, first });
        }
        let fresh = |TableRows { table, mut rows }: TableRows| {
            let seq = table.places(&["seq"])[0];
            rows.retain(|row| matches!(row[seq], Value::Int(seq) if seq > checkpoint));
            TableRows { table, rows: table.merge(rows) }
        };
        Ok(Some(tables.into_iter().map(fresh).filter(|table| !table.rows.is_empty()).collect()))
    }
}
