//! Reads by page: filters, keyset cursors, limits. Values from outside are parameters, never part of a statement.
//!
//! Tests: cursors that were altered, of another table, of other filters.

use super::StoreError;
use super::table::{Row, Table};
use super::value::{Kind, Micros, Text, Value};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Rows of a page at most.
pub const LIMIT_MAX: u32 = 1_000;

/// What the rows of a page have in common. Every part that is set must be a column of what is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The account.
    pub account: Option<Text>,
    /// The strategy.
    pub strategy: Option<Text>,
    /// The symbol.
    pub symbol: Option<Text>,
    /// The order.
    pub client_order_id: Option<Text>,
    /// The state of an order.
    pub state: Option<Text>,
    /// The kind of a decision.
    pub kind: Option<Text>,
    /// Who asked (audit).
    pub actor: Option<Text>,
    /// Not before this time, by the column that the rows are ordered by.
    pub from: Option<Micros>,
    /// Before this time.
    pub until: Option<Micros>,
}

/// Which page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Rows, 1 to [`LIMIT_MAX`].
    pub limit: u32,
    /// [`Rows::next`] of the page before; `None` for the first.
    pub cursor: Option<String>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows<T> {
    /// The rows, newest first where they have a time.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<String>,
}

/// A statement with its parameters (`$1`, …) and the types of the columns that it answers with. It may hold a password's
/// hash, so it is not shown.
#[derive(Clone)]
pub(crate) struct Statement {
    pub sql: String,
    pub params: Vec<Value>,
    pub kinds: Vec<Kind>,
}

impl Statement {
    /// A statement that answers with no rows.
    pub(crate) fn new(sql: impl Into<String>, params: Vec<Value>) -> Statement {
        Statement { sql: sql.into(), params, kinds: Vec::new() }
    }
}

impl Filter {
    fn parts(&self) -> [(&'static str, &Option<Text>); 7] {
        [
            ("account", &self.account),
            ("strategy", &self.strategy),
            ("symbol", &self.symbol),
            ("client_order_id", &self.client_order_id),
            ("state", &self.state),
            ("kind", &self.kind),
            ("actor", &self.actor),
        ]
    }

    /// A check sum: a cursor belongs to the filter that it came from.
    fn checksum(&self) -> u32 {
        crc32fast::hash(format!("{self:?}").as_bytes())
    }
}

/// The statement of a page. It asks for one row more, to know whether there is another page.
pub(crate) fn select(table: &Table, filter: &Filter, page: &Page) -> Result<Statement, StoreError> {
    if page.limit == 0 || page.limit > LIMIT_MAX {
        return Err(StoreError::Invalid(format!("limit {} is not between 1 and {LIMIT_MAX}", page.limit)));
    }
    let (mut conditions, mut params) = (Vec::new(), Vec::new());
    for (name, value) in filter.parts() {
        let Some(value) = value else { continue };
        let column = table.column(name);
        let column = column.ok_or_else(|| StoreError::Invalid(format!("{} have no {name}", table.name)))?;
        params.push(Value::Text(value.clone()));
        conditions.push(format!("{} = ${}", column.name, params.len()));
    }
    for (bound, sign) in [(filter.from, ">="), (filter.until, "<")] {
        let Some(at) = bound else { continue };
        let time = table.column(table.order[0]).filter(|column| column.kind == Kind::Time);
        let time = time.ok_or_else(|| StoreError::Invalid(format!("{} are not ordered by time", table.name)))?;
        params.push(Value::Time(at));
        conditions.push(format!("{} {sign} ${}", time.name, params.len()));
    }
    if let Some(cursor) = &page.cursor {
        let places: Vec<String> = (1..=table.order.len()).map(|n| format!("${}", params.len() + n)).collect();
        params.extend(read_cursor(table, filter, cursor)?);
        let sign = if table.descending { "<" } else { ">" };
        conditions.push(format!("({}) {sign} ({})", table.order.join(", "), places.join(", ")));
    }
    let direction = if table.descending { " DESC" } else { "" };
    let order = table.order.iter().map(|name| format!("{name}{direction}")).collect::<Vec<_>>().join(", ");
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    params.push(Value::Int(i64::from(page.limit) + 1));
    let (names, from, last) = (table.names(), table.name, params.len());
    let sql = format!("SELECT {names} FROM {from}{condition} ORDER BY {order} LIMIT ${last}");
    Ok(Statement { sql, params, kinds: table.kinds() })
}

/// The page that the answer to [`select`] is.
pub(crate) fn page<R: Row>(filter: &Filter, page: &Page, mut found: Vec<Vec<Value>>) -> Result<Rows<R>, StoreError> {
    let limit = page.limit as usize;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| write_cursor(&R::TABLE, filter, last));
    let rows = found.into_iter().map(|values| R::from_values(values)).collect::<Option<Vec<R>>>();
    let rows = rows.ok_or_else(|| StoreError::Bug(format!("a row of {} does not fit its type", R::TABLE.name)))?;
    Ok(Rows { rows, next })
}

fn write_cursor(table: &Table, filter: &Filter, row: &[Value]) -> String {
    let key = table.places(table.order).into_iter().map(|at| match &row[at] {
        Value::Text(text) => serde_json::Value::from(&**text),
        Value::Int(number) => serde_json::Value::from(*number),
        Value::Time(at) => serde_json::Value::from(at.get()),
        Value::Null | Value::Decimal(_) | Value::Bool(_) => serde_json::Value::Null,
    });
    let mut parts = vec![serde_json::Value::from(table.name), serde_json::Value::from(filter.checksum())];
    parts.extend(key);
    URL_SAFE_NO_PAD.encode(serde_json::Value::from(parts).to_string())
}

fn read_cursor(table: &Table, filter: &Filter, cursor: &str) -> Result<Vec<Value>, StoreError> {
    let wrong =
        || StoreError::Invalid("the cursor is not one that was given out for these rows and filters".to_owned());
    if cursor.len() > 1_024 {
        return Err(wrong());
    }
    let text = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let parts: Vec<serde_json::Value> = serde_json::from_slice(&text).map_err(|_| wrong())?;
    let (head, key) = parts.split_at_checked(2).ok_or_else(wrong)?;
    if head[0] != table.name || head[1] != filter.checksum() || key.len() != table.order.len() {
        return Err(wrong());
    }
    let read = |(at, part): (usize, &serde_json::Value)| match table.columns[at].kind {
        Kind::Text => part.as_str().filter(|text| !text.contains('\0')).map(Value::text),
        Kind::Int => part.as_i64().map(Value::Int),
        Kind::Time => part.as_i64().map(|at| Value::Time(Micros::new(at))),
        Kind::Decimal | Kind::Bool => None,
    };
    table.places(table.order).into_iter().zip(key).map(read).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::super::rows::{FillRow, PositionRow};
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_rows_and_filters_only() {
        let table = &FillRow::TABLE;
        let mut row = vec![Value::Null; table.columns.len()];
        let key = [Value::Time(Micros::new(5)), Value::text("a"), Value::text("BTCUSDT"), Value::Int(7)];
        for (at, value) in table.places(table.order).into_iter().zip(&key) {
            row[at] = value.clone();
        }
        let filter = Filter { account: Some("a".into()), ..Filter::default() };
        let cursor = write_cursor(table, &filter, &row);
        assert_eq!(read_cursor(table, &filter, &cursor), Ok(key.to_vec()));
        assert!(read_cursor(table, &Filter::default(), &cursor).is_err(), "other filters");
        assert!(read_cursor(&PositionRow::TABLE, &filter, &cursor).is_err(), "another table");
        for at in 0..cursor.len() {
            let mut altered = cursor.clone().into_bytes();
            altered[at] = b'!';
            assert!(read_cursor(table, &filter, std::str::from_utf8(&altered).unwrap()).is_err());
        }
        let typed = URL_SAFE_NO_PAD.encode(format!("[\"fills\",{},\"5\",\"a\",\"BTCUSDT\",7]", filter.checksum()));
        assert!(read_cursor(table, &filter, &typed).is_err(), "a time that is a text");
    }

    #[test]
    fn filters_are_parameters_and_must_be_columns() {
        let filter = Filter { symbol: Some("'; DROP TABLE fills; --".into()), ..Filter::default() };
        let page = Page { limit: 10, cursor: None };
        let statement = select(&FillRow::TABLE, &filter, &page).unwrap();
        assert!(!statement.sql.contains("DROP"), "{}", statement.sql);
        let filter = Filter { state: Some("filled".into()), ..Filter::default() };
        assert!(matches!(select(&FillRow::TABLE, &filter, &page), Err(StoreError::Invalid(_))));
        let filter = Filter { from: Some(Micros::new(0)), ..Filter::default() };
        assert!(matches!(select(&PositionRow::TABLE, &filter, &page), Err(StoreError::Invalid(_))));
        for limit in [0, LIMIT_MAX + 1] {
            assert!(select(&FillRow::TABLE, &Filter::default(), &Page { limit, cursor: None }).is_err());
        }
    }
}
