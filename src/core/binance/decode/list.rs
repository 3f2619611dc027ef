//! Lists of which single rows may be beyond us: the rest is read all the same, and what is left out is told.

use super::DecodeError;
use crate::id::SymbolIx;

/// The rows of a list, and those that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<T> {
    /// What was read, in order.
    pub rows: Vec<T>,
    /// What was not.
    pub left_out: Vec<LeftOut>,
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Why.
    pub error: DecodeError,
    /// It is an order of somebody else, in this symbol: whoever does not trade the symbol can do without the row.
    pub foreign_in: Option<SymbolIx>,
    /// It is an order that this program sent.
    pub ours: bool,
}

impl LeftOut {
    /// Whether the rest of the list must not be relied upon without it, where `traded` symbols are traded.
    pub fn blocks(&self, traded: &[SymbolIx]) -> bool {
        let elsewhere = self.foreign_in.is_some_and(|symbol| !traded.contains(&symbol));
        self.ours || !(elsewhere || self.error.is_undefined())
    }
}

impl<T> Rows<T> {
    /// Reads each row; `None` for one that says nothing.
    pub(super) fn read<R>(rows: &[R], mut read: impl FnMut(&R) -> Result<Option<T>, LeftOut>) -> Rows<T> {
        let mut list = Rows { rows: Vec::with_capacity(rows.len()), left_out: Vec::new() };
        for row in rows {
            match read(row) {
                Ok(row) => list.rows.extend(row),
                Err(left_out) => list.left_out.push(left_out),
            }
        }
        list
    }

    /// All rows, or the first one's error that could not be read.
    pub fn all(self) -> Result<Vec<T>, DecodeError> {
        self.left_out.into_iter().next().map_or(Ok(self.rows), |row| Err(row.error))
    }
}

impl From<DecodeError> for LeftOut {
    fn from(error: DecodeError) -> LeftOut {
        LeftOut { error, foreign_in: None, ours: false }
    }
}
